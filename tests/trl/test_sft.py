"""Games of experts as training data: who plays whom, the record, and the examples made of it."""

# Fakes and libraries are typed in part only.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import json
from collections import Counter

import pytest
from scripted import KUHN, TIC_TAC_TOE, ScriptedSampler, legal_reply, scripted_agent

from spiral_envs.agents import ScriptedAgent, make_agent
from spiral_envs.agents.scripted import first_legal_move
from spiral_envs.chance import match_seed
from spiral_envs.extraction import Rule
from spiral_envs.match import InvalidMove
from spiral_envs.play import play
from spiral_envs.prompts import find_style
from spiral_envs.registry import game_ids
from spiral_envs.sources import find_source
from spiral_trl.records import JsonLines
from spiral_trl.sampling import PromptEncoder
from spiral_trl.sft import (
    Keep,
    completion_of,
    examples_of,
    kept_seats,
    legal_share,
    make_row,
    plan_games,
    read_games,
    record_games,
    split_games,
)


def record(path, plans, **agents):
    """Records the plans by agents that go by the names in them."""
    record_games(JsonLines(path), plans, agents, concurrency=64, on_game=lambda: None)
    return read_games(path, plans)


def first_expert():
    return ScriptedAgent(first_legal_move, name="first")


def plain_encoder(tokenizer):
    return PromptEncoder(tokenizer, find_style("plain"), use_chat_template=False)


# -- who plays whom ----------------------------------------------------------------------------------------------------


def test_one_expert_plays_itself_and_the_games_are_taken_in_turn():
    plans = plan_games(["cfr"], [KUHN, TIC_TAC_TOE], num_games=4, seed=3)
    assert [plan.game for plan in plans] == [KUHN, TIC_TAC_TOE, KUHN, TIC_TAC_TOE]
    assert {plan.experts for plan in plans} == {("cfr", "cfr")}
    assert [plan.seed for plan in plans] == [match_seed(3, number) for number in range(4)]


def test_three_experts_meet_in_every_pair_and_seating_equally_often_in_every_game():
    plans = plan_games(["a", "b", "c"], [KUHN, TIC_TAC_TOE], num_games=24, seed=0)
    pairs = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")]
    assert Counter((plan.game, plan.experts) for plan in plans) == {
        (game, pair): 2 for game in (KUHN, TIC_TAC_TOE) for pair in pairs
    }
    assert [plan.experts for plan in plans[:12:2]] == pairs


def test_at_a_table_of_three_two_experts_both_sit():
    plans = plan_games(["a", "b"], ["kuhn_poker_v0(players=3)"], num_games=6, seed=0)
    # Of the eight ways to fill three seats, all but aaa and bbb.
    assert len({plan.experts for plan in plans}) == 6
    assert all(set(plan.experts) == {"a", "b"} for plan in plans)


def test_a_longer_plan_begins_as_a_shorter_one():
    short = plan_games(["a", "b"], [KUHN, TIC_TAC_TOE], num_games=5, seed=9)
    assert plan_games(["a", "b"], [KUHN, TIC_TAC_TOE], num_games=50, seed=9)[:5] == short


# -- whose turns are kept ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returns", "keep", "seats"),
    [
        ((1.0, -1.0), Keep.ALL, {0, 1}),
        ((1.0, -1.0), Keep.WINS, {0}),
        ((-2.0, 2.0), Keep.WINS_AND_DRAWS, {1}),
        ((0.0, 0.0), Keep.ALL, {0, 1}),
        ((0.0, 0.0), Keep.WINS, set()),
        ((0.0, 0.0), Keep.WINS_AND_DRAWS, {0, 1}),
        ((-1.0, 2.0, -1.0), Keep.WINS, {1}),
        ((1.0, 1.0, -2.0), Keep.WINS, {0, 1}),
    ],
)
def test_the_kept_seats(returns, keep, seats):
    assert kept_seats(returns, keep) == seats


def test_only_the_winners_turns_are_learned_from_and_a_fault_never_is(tmp_path):
    # `first` plays cells 0, 1, 2, ...; the other ends the game with a fault in its second turn.
    def third_turn(view):
        return "[8]" if view.turn < 3 else "I resign"

    plans = plan_games(["first", "quitter"], [TIC_TAC_TOE], num_games=1, seed=0)
    (game,) = record(tmp_path / "games", plans, first=first_expert(), quitter=ScriptedAgent(third_turn)).values()
    assert [turn.response for turn in game.turns] == ["[0]", "[8]", "[1]", "I resign"]
    assert game.returns == (1.0, -1.0)
    assert [(each.turn, each.completion) for each in examples_of(game, keep=Keep.WINS)] == [
        (0, "\\boxed{[0]}"),
        (2, "\\boxed{[1]}"),
    ]
    assert [each.turn for each in examples_of(game, keep=Keep.ALL)] == [0, 1, 2]


# -- what is imitated --------------------------------------------------------------------------------------------------


def test_a_bare_move_goes_into_a_box_and_a_written_reply_stays_as_it_is():
    assert completion_of("[4]", "[4]", Rule.OWN_TEXT) == "\\boxed{[4]}"
    assert completion_of(" [4]\n", "[4]", Rule.OWN_TEXT) == "\\boxed{[4]}"
    assert completion_of("It is free. \\boxed{4} ", "[4]", Rule.BOXED) == "It is free. \\boxed{4} "
    assert completion_of("I take [4].", "[4]", Rule.BRACKETED) == "I take [4]."


@pytest.mark.parametrize("move", ["[Say: a } b]", "[Say: { b]"])
def test_a_move_that_a_box_cannot_hold_stays_bare(move):
    assert completion_of(move, move, Rule.OWN_TEXT) == move


@pytest.mark.parametrize("game", [*game_ids(), "kuhn_poker_v0(players=3)"])
def test_every_completion_is_read_back_as_the_move_of_the_expert(tmp_path, game):
    plans = plan_games(["random"], [game], num_games=3, seed=4)
    for recorded in record(tmp_path / "games", plans, random=make_agent("random", seed=1)).values():
        examples = list(examples_of(recorded, keep=Keep.ALL))
        assert len(examples) == len(recorded.turns)
        match = find_source(game).start(seed=recorded.plan.seed)
        for example, turn in zip(examples, recorded.turns, strict=True):
            assert match.view(turn.seat) == example.view
            match.submit(example.completion)
            assert match.turns[-1].move == turn.move
            assert match.turns[-1].fault is None
        assert match.outcome is not None
        assert match.outcome.returns == recorded.returns


def test_a_row_has_the_token_ids_that_self_play_reads_and_writes(tmp_path, tokenizer):
    plans = plan_games(["self"], [KUHN, TIC_TAC_TOE], num_games=6, seed=2)
    matches = [find_source(plan.game).start(seed=plan.seed, invalid_move=InvalidMove.FORFEIT) for plan in plans]
    agent = scripted_agent(ScriptedSampler(tokenizer, legal_reply))
    played = sorted(play(matches, [agent, agent]), key=lambda episode: episode.index)
    recorded = record(tmp_path / "games", plans, self=scripted_agent(ScriptedSampler(tokenizer, legal_reply)))
    num_rows = 0
    for episode in played:
        examples = list(examples_of(recorded[episode.index], keep=Keep.ALL))
        for example, turn in zip(examples, episode.turns, strict=True):
            row = make_row(example, plain_encoder(tokenizer), tokenizer)
            prompt, written = list(turn.response.prompt_ids), list(turn.response.token_ids)
            assert row["input_ids"] == prompt + written
            assert row["completion_mask"] == [0] * len(prompt) + [1] * len(written)
            assert written[-1] == tokenizer.eos_token_id
            num_rows += 1
    assert num_rows == sum(len(episode.turns) for episode in played) > 12


# -- the record --------------------------------------------------------------------------------------------------------


class Interrupted:
    """An expert that is stopped with Ctrl-C after some rounds."""

    name = "first"

    def __init__(self, num_rounds):
        self.num_rounds = num_rounds

    def act(self, views):
        if self.num_rounds == 0:
            raise KeyboardInterrupt
        self.num_rounds -= 1
        return [first_legal_move(view) for view in views]


def test_an_interrupted_recording_goes_on_with_the_games_that_are_missing(tmp_path):
    path = tmp_path / "games"
    plans = plan_games(["first"], [KUHN, TIC_TAC_TOE], num_games=20, seed=0)
    # One game of each kind takes 7 rounds, the other eighteen as many: of these only poker has ended after 3.
    with pytest.raises(KeyboardInterrupt):
        record_games(JsonLines(path), plans, {"first": Interrupted(10)}, concurrency=64, on_game=lambda: None)
    known = read_games(path, plans)
    assert sorted(known) == [0, 1, *range(2, 20, 2)]
    with path.open("a") as file:
        file.write('{"number": 3, "gam')
    before = path.read_bytes()
    record_games(
        JsonLines(path),
        [plan for plan in plans if plan.number not in known],
        {"first": first_expert()},
        concurrency=3,
        on_game=list,
    )
    assert path.read_bytes().startswith(before)
    lines = JsonLines(path).read()
    assert sorted(line["number"] for line in lines) == list(range(20))
    assert all(line["index"] == line["number"] for line in lines)
    assert sorted(read_games(path, plans)) == list(range(20))


def test_an_expert_that_cannot_play_a_game_says_so_before_the_others_are_played(tmp_path):
    path = tmp_path / "games"
    plans = plan_games(["minimax"], [TIC_TAC_TOE, KUHN], num_games=400, seed=0)
    with pytest.raises(ValueError, match="the minimax agent cannot play kuhn_poker_v0"):
        record_games(JsonLines(path), plans, {"minimax": make_agent("minimax")}, concurrency=64, on_game=lambda: None)
    assert len(JsonLines(path).read()) <= 1


@pytest.mark.parametrize(
    ("experts", "games", "seed"),
    [(["b"], [KUHN], 0), (["a"], [TIC_TAC_TOE], 0), (["a"], [KUHN], 1)],
    ids=["experts", "games", "seed"],
)
def test_another_recording_is_refused(tmp_path, experts, games, seed):
    path = tmp_path / "games"
    record(path, plan_games(["a"], [KUHN], num_games=2, seed=0), a=first_expert())
    with pytest.raises(ValueError, match="holds another recording: its game 0 is kuhn_poker") as raised:
        read_games(path, plan_games(experts, games, num_games=2, seed=seed))
    assert "choose another output_dir" in str(raised.value)


def test_of_a_longer_recording_the_first_games_are_taken(tmp_path):
    recorded = record(tmp_path / "games", plan_games(["a"], [KUHN], num_games=6, seed=0), a=first_expert())
    assert sorted(recorded) == list(range(6))
    assert sorted(read_games(tmp_path / "games", plan_games(["a"], [KUHN], num_games=2, seed=0))) == [0, 1]


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "games").write_text('{"step": 1}\n')
    with pytest.raises(ValueError, match="is no recording of games"):
        read_games(tmp_path / "games", plan_games(["a"], [KUHN], num_games=2, seed=0))


def test_a_recording_under_other_rules_is_refused(tmp_path):
    path = tmp_path / "games"
    plans = plan_games(["a"], [KUHN], num_games=1, seed=0)
    record(path, plans, a=first_expert())
    line = json.loads(path.read_text())
    line["turns"][0]["observation"] += " It is your birthday."
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match="does not go as it did when it is played again"):
        list(examples_of(read_games(path, plans)[0], keep=Keep.ALL))


# -- held-out games ----------------------------------------------------------------------------------------------------


def test_one_game_in_twenty_is_held_out():
    train, held_out = split_games(range(100, 200), seed=0)
    assert len(held_out) == 5
    assert train | held_out == set(range(100, 200))
    assert not train & held_out
    assert split_games(reversed(range(100, 200)), seed=0) == (train, held_out)
    assert split_games(range(100, 200), seed=1) != (train, held_out)


def test_of_few_games_one_is_held_out_and_of_one_game_none():
    assert len(split_games(range(2), seed=0)[1]) == 1
    assert split_games([7], seed=0) == ({7}, set())


def test_the_share_of_legal_replies(tmp_path, tokenizer):
    plans = plan_games(["first"], [TIC_TAC_TOE], num_games=1, seed=0)
    (game,) = record(tmp_path / "games", plans, first=first_expert()).values()
    # X takes 0, 2, 4 and 6, O takes 1, 3 and 5: cell 4 is free in the first five of seven turns.
    examples = list(examples_of(game, keep=Keep.ALL))
    assert [turn.move for turn in game.turns] == [f"[{cell}]" for cell in range(7)]
    encoder = plain_encoder(tokenizer)
    always_four = ScriptedSampler(tokenizer, lambda prompt: "\\boxed{[4]}")
    assert legal_share(always_four, encoder, tokenizer, examples) == pytest.approx(5 / 7)
    cut = ScriptedSampler(tokenizer, lambda prompt: "\\boxed{[4]}", cut=("\\boxed{[4]}",))
    assert legal_share(cut, encoder, tokenizer, examples) == 0.0
    with pytest.raises(ValueError, match="at least one example"):
        legal_share(always_four, encoder, tokenizer, [])
