"""The figures of a batch, by hand."""

import math
import random

import pytest

from spiral_envs import Fault, InvalidMove, Reply, make_match
from spiral_envs.episode import Episode
from spiral_envs.extraction import Rule
from spiral_envs.match import Outcome, Termination, Turn
from spiral_trl import RoleBaseline
from spiral_trl.advantages import GLOBAL_KEY, Estimator
from spiral_trl.metrics import batch_metrics
from spiral_trl.sampling import Sample, SampledReply
from spiral_trl.schedule import SELF, GamePlan


def turn(seat, num_tokens, fault=None, *, text="I think. \\boxed{4}"):
    response = SampledReply.of(text, fault, (1,), Sample(tuple(range(num_tokens)), None, True))
    return Turn(seat, "", response, None, Rule.NONE, fault, "")


def episode(index, returns, *turns, game="duel_v0"):
    return Episode(index, game, index, ("Red", "Blue"), ("self", "self"), turns, Outcome(returns, Termination.FINISHED))


def plan(number, opponent=SELF, learner_seats=(0, 1), game="duel_v0"):
    return GamePlan(number, game, number, opponent, learner_seats)


BARE = "\\boxed{4}"

EPISODES = [
    episode(0, (1.0, -1.0), turn(0, 4), turn(1, 8)),
    episode(1, (0.0, 0.0), turn(0, 2, text=BARE), turn(1, 2), turn(0, 2)),
    episode(2, (-1.0, 1.0), turn(0, 6, Fault.ILLEGAL, text=BARE)),
    episode(3, (-1.0, 1.0), turn(0, 4), turn(1, 4), turn(0, 4, Fault.TRUNCATED)),
    episode(4, (2.0, -2.0), turn(0, 10), game="other_v0"),
]
PLANS = [plan(number) for number in range(5)]
ADVANTAGES = [(1.0, -1.0), (0.0, 0.0), (-1.0, 3.0), (-2.0, 2.0), (2.5, -2.5)]

EXPECTED = {
    "duel_v0/turns": 9 / 4,
    "duel_v0/faults": 2 / 4,
    "duel_v0/faults/malformed": 0.0,
    "duel_v0/faults/illegal": 1 / 4,
    "duel_v0/faults/truncated": 1 / 4,
    "duel_v0/faults/prompt_too_long": 0.0,
    # 4 + 8 + 2 + 2 + 2 + 6 + 4 + 4 + 4 tokens in 9 turns.
    "duel_v0/reply_tokens": 4.0,
    "duel_v0/empty_reasoning": 2 / 9,
    "duel_v0/share_of_games": 4 / 5,
    "duel_v0/share_of_turns": 9 / 10,
    "duel_v0/Red/return": -1 / 4,
    "duel_v0/Red/win": 1 / 4,
    "duel_v0/Red/draw": 1 / 4,
    "duel_v0/Red/loss": 2 / 4,
    # Mean -0.5, squared distances 2.25, 0.25, 0.25, 2.25.
    "duel_v0/Red/advantage_std": math.sqrt(1.25),
    "duel_v0/Red/baseline": 0.05,
    "duel_v0/Red/baseline_count": 1,
    "duel_v0/Blue/return": 1 / 4,
    "duel_v0/Blue/win": 2 / 4,
    "duel_v0/Blue/draw": 1 / 4,
    "duel_v0/Blue/loss": 1 / 4,
    # Mean 1, squared distances 4, 1, 4, 1.
    "duel_v0/Blue/advantage_std": math.sqrt(2.5),
    "duel_v0/Blue/baseline": -0.05,
    "duel_v0/Blue/baseline_count": 1,
    "other_v0/turns": 1.0,
    "other_v0/faults": 0.0,
    "other_v0/faults/malformed": 0.0,
    "other_v0/faults/illegal": 0.0,
    "other_v0/faults/truncated": 0.0,
    "other_v0/faults/prompt_too_long": 0.0,
    "other_v0/reply_tokens": 10.0,
    "other_v0/empty_reasoning": 0.0,
    "other_v0/share_of_games": 1 / 5,
    "other_v0/share_of_turns": 1 / 10,
    "other_v0/Red/return": 2.0,
    "other_v0/Red/win": 1.0,
    "other_v0/Red/draw": 0.0,
    "other_v0/Red/loss": 0.0,
    "other_v0/Red/advantage_std": 0.0,
    "other_v0/Red/baseline": 0.0,
    "other_v0/Red/baseline_count": 0,
    "other_v0/Blue/return": -2.0,
    "other_v0/Blue/win": 0.0,
    "other_v0/Blue/draw": 0.0,
    "other_v0/Blue/loss": 1.0,
    "other_v0/Blue/advantage_std": 0.0,
    "other_v0/Blue/baseline": 0.0,
    "other_v0/Blue/baseline_count": 0,
}

# Red learns in the first two games, Blue in the third; each time the opponent's turns are long, empty or faulty.
MIXED = [
    episode(0, (2.0, -2.0), turn(0, 4), turn(1, 100, Fault.ILLEGAL, text=BARE)),
    episode(1, (-1.0, 1.0), turn(0, 6), turn(1, 100), turn(0, 2, Fault.MALFORMED, text=" ")),
    episode(2, (0.0, 0.0), turn(0, 100, text=BARE), turn(1, 8), turn(0, 100), turn(1, 4)),
    episode(3, (1.0, -1.0), turn(0, 6), turn(1, 6)),
]
MIXED_PLANS = [plan(0, "league", (0,)), plan(1, "league", (0,)), plan(2, "mcts:10", (1,)), plan(3)]
MIXED_ADVANTAGES = [(2.0, 0.0), (-1.0, 0.0), (0.0, 0.5), (1.0, -1.0)]

EXPECTED_MIXED = {
    "duel_v0/turns": 11 / 4,
    "duel_v0/faults": 1 / 4,
    "duel_v0/faults/malformed": 1 / 4,
    "duel_v0/faults/illegal": 0.0,
    "duel_v0/faults/truncated": 0.0,
    "duel_v0/faults/prompt_too_long": 0.0,
    # 4, 6 + 2, 8 + 4 and 6 + 6 tokens.
    "duel_v0/reply_tokens": 36 / 7,
    "duel_v0/empty_reasoning": 1 / 7,
    "duel_v0/share_of_games": 1.0,
    "duel_v0/share_of_turns": 1.0,
    "duel_v0/Red/return": 1.0,
    "duel_v0/Red/win": 1.0,
    "duel_v0/Red/draw": 0.0,
    "duel_v0/Red/loss": 0.0,
    "duel_v0/Red/advantage_std": 0.0,
    "duel_v0/Red/baseline": 0.05,
    "duel_v0/Red/baseline_count": 1,
    "duel_v0/Blue/return": -1.0,
    "duel_v0/Blue/win": 0.0,
    "duel_v0/Blue/draw": 0.0,
    "duel_v0/Blue/loss": 1.0,
    "duel_v0/Blue/advantage_std": 0.0,
    "duel_v0/Blue/baseline": -0.05,
    "duel_v0/Blue/baseline_count": 1,
    "duel_v0/Red/vs league/games": 2,
    "duel_v0/Red/vs league/return": 0.5,
    "duel_v0/Red/vs league/win": 0.5,
    "duel_v0/Red/vs league/draw": 0.0,
    "duel_v0/Red/vs league/loss": 0.5,
    "duel_v0/Red/vs league/faults": 0.5,
    "duel_v0/Red/vs league/baseline": 0.1,
    "duel_v0/Red/vs league/baseline_count": 1,
    "duel_v0/Blue/vs mcts:10/games": 1,
    "duel_v0/Blue/vs mcts:10/return": 0.0,
    "duel_v0/Blue/vs mcts:10/win": 0.0,
    "duel_v0/Blue/vs mcts:10/draw": 1.0,
    "duel_v0/Blue/vs mcts:10/loss": 0.0,
    "duel_v0/Blue/vs mcts:10/faults": 0.0,
    "duel_v0/Blue/vs mcts:10/baseline": 0.0,
    "duel_v0/Blue/vs mcts:10/baseline_count": 0,
}


def figures(episodes=EPISODES, plans=None, advantages=ADVANTAGES, estimator=Estimator.RAE):
    baseline = RoleBaseline()
    baseline.score(("duel_v0", "Red", "self"), 1.0)
    baseline.score(("duel_v0", "Blue", "self"), -1.0)
    baseline.score(("duel_v0", "Red", "league"), 2.0)
    baseline.score(GLOBAL_KEY, 4.0)
    plans = plans or [plan(number) for number in range(len(episodes))]
    return batch_metrics(episodes, plans, advantages, baseline, estimator=estimator)


def test_every_figure_is_the_one_counted_by_hand():
    assert figures() == pytest.approx(EXPECTED)


def test_against_others_only_the_learners_turns_and_returns_count():
    assert figures(MIXED, MIXED_PLANS, MIXED_ADVANTAGES) == pytest.approx(EXPECTED_MIXED)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_games_does_not_matter(seed):
    order = random.Random(seed).sample(range(5), 5)
    episodes, plans = [EPISODES[at] for at in order], [PLANS[at] for at in order]
    assert figures(episodes, plans, [ADVANTAGES[at] for at in order]) == figures()


@pytest.mark.parametrize("estimator", [Estimator.NONE, Estimator.GROUP])
def test_where_there_is_no_baseline_none_is_logged(estimator):
    found = figures(MIXED, MIXED_PLANS, MIXED_ADVANTAGES, estimator)
    assert found == pytest.approx({name: each for name, each in EXPECTED_MIXED.items() if "baseline" not in name})


def test_the_global_baseline_is_logged_once():
    found = figures(MIXED, MIXED_PLANS, MIXED_ADVANTAGES, Estimator.GLOBAL)
    baselines = {name: each for name, each in found.items() if "baseline" in name}
    # 4 times 1 - 0.95.
    assert baselines == pytest.approx({"global/baseline": 0.2, "global/baseline_count": 1})


def test_a_game_spelled_in_two_ways_is_one():
    spellings = ["duel_v0", "duel_v0()"]
    plans = [plan(number, game=spellings[number % 2]) for number in range(5)]
    assert figures(plans=plans) == pytest.approx(EXPECTED)


def test_a_game_in_which_the_learner_had_no_turn_is_there_without_a_reply_length():
    found = figures([episode(0, (1.0, -1.0), turn(0, 5, Fault.ILLEGAL))], [plan(0, "random", (1,))], [(0.0, -1.0)])
    assert (found["duel_v0/turns"], found["duel_v0/faults"], found["duel_v0/share_of_turns"]) == (1.0, 0.0, 0.0)
    assert (found["duel_v0/share_of_games"], found["duel_v0/Blue/vs random/return"]) == (1.0, -1.0)
    assert not any("reply_tokens" in name or "empty_reasoning" in name for name in found)


def test_games_of_scripted_agents_have_no_reply_length():
    plain = [episode(0, (1.0, -1.0), Turn(0, "", Reply("[4]"), "[4]", Rule.OWN_TEXT, None, ""))]
    found = figures(plain, advantages=[(1.0, -1.0)])
    assert not any("reply_tokens" in name or "empty_reasoning" in name for name in found)


def test_a_prompt_that_was_too_long_is_a_fault_and_a_reply_of_no_tokens_but_says_nothing_about_reasoning():
    fault = Fault.PROMPT_TOO_LONG
    silent = Turn(0, "", SampledReply.of("", fault, (1,), None), None, Rule.NONE, fault, "")
    found = figures([episode(0, (-1.0, 1.0), turn(0, 4), turn(1, 4), silent)], advantages=[(-1.0, 1.0)])
    assert found["duel_v0/faults/prompt_too_long"] == 1.0
    assert found["duel_v0/reply_tokens"] == pytest.approx(8 / 3)
    assert found["duel_v0/empty_reasoning"] == 0.0


def test_no_games_have_no_figures():
    assert figures([], [], []) == {}
    assert figures([], [], [], Estimator.GLOBAL) == {}


def test_episodes_without_their_plans_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        figures(EPISODES, PLANS[:4])


def empty_share(text, *, fault=None, invalid_move=InvalidMove.FORFEIT):
    """Returns `empty_reasoning` of one reply to the start of a game of tic-tac-toe, as the match reads it."""
    match = make_match("tic_tac_toe_v0", seed=0, invalid_move=invalid_move)
    match.submit(SampledReply.of(text, fault, (1,), Sample((2, 3), None, True)))
    (first,) = match.turns
    outcome = Outcome((1.0, -1.0), Termination.FINISHED)
    played = Episode(0, match.game, 0, match.roles, ("self", "self"), (first,), outcome)
    return figures([played], advantages=[(1.0, -1.0)])["tic_tac_toe_v0/empty_reasoning"]


BARE_REPLIES = [
    "[4]",
    " [4]\n",
    "\\boxed{4}",
    "\\boxed{[4]}",
    "\n\\boxed{ [4] }\n",
    "$\\boxed{4}$.",
    "**\\boxed{\\text{4}}**",
    "<think>\n\n</think>\n\n\\boxed{4}",
    "</think>[4]",
    "<think></think> [4]",
    # Faults count by their text as well.
    "\\boxed{77}",
    "[77]",
    "\\boxed{nonsense}",
    "",
    "...",
]

REASONED_REPLIES = [
    "the centre \\boxed{4}",
    "\\boxed{4} is the centre",
    "<think>the centre</think>\\boxed{4}",
    "the centre</think>[4]",
    "中 \\boxed{4}",
    "[3] or [4]",
    "\\boxed{3} \\boxed{4}",
    "4 is best: [4]",
    "I give up",
    "the centre \\boxed{77}",
    "the centre \\boxed{4",
    # Nothing in it was read as an answer.
    "4",
]


@pytest.mark.parametrize("text", BARE_REPLIES)
def test_a_reply_of_nothing_but_an_answer_is_empty_of_reasoning(text):
    assert empty_share(text) == 1.0


@pytest.mark.parametrize("text", REASONED_REPLIES)
def test_words_before_or_after_the_answer_are_reasoning(text):
    assert empty_share(text) == 0.0


@pytest.mark.parametrize(("text", "share"), [("\\boxed{4}", 1.0), ("well, \\boxed{4}", 0.0), ("well", 0.0)])
def test_a_truncated_reply_counts_by_its_text(text, share):
    assert empty_share(text, fault=Fault.TRUNCATED) == share


def test_a_move_that_was_drawn_in_the_players_place_is_not_its_answer():
    # One of the nine is the cell that is drawn.
    assert {empty_share(str(cell), invalid_move=InvalidMove.RANDOM) for cell in range(9)} == {0.0}


def test_a_move_that_has_neither_box_nor_bracket_is_an_answer_as_well():
    replies = [("D4", 1.0), (" d4.\n", 1.0), ("good: d4", 0.0)]
    for text, share in replies:
        reply = SampledReply.of(text, None, (1,), Sample((2,), None, True))
        played = episode(0, (1.0, -1.0), Turn(0, "", reply, "d4", Rule.OWN_TEXT, None, ""))
        assert figures([played], advantages=[(1.0, -1.0)])["duel_v0/empty_reasoning"] == share


@pytest.mark.parametrize(
    ("text", "share"),
    [("[" * 200_000, 1.0), ("\\boxed{" * 50_000, 0.0), ("<think>" * 50_000, 1.0), ("a_" * 200_000 + "[4]", 0.0)],
    ids=["brackets", "boxes", "thoughts", "words"],
)
def test_long_hostile_replies_take_no_more_than_linear_time(text, share):
    # A quadratic scan would take minutes, past the time limit of a test.
    assert empty_share(text, fault=Fault.TRUNCATED) == share
