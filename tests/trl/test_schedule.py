"""What is played next: shares, opponents and seats, against numbers worked by hand."""

import json
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spiral_envs.chance import match_seed, uniform
from spiral_envs.errors import UnknownNameError
from spiral_trl.schedule import GamePlan, Schedule

A, B, C = "kuhn_poker_v0", "tic_tac_toe_v0", "simple_negotiation_v0"
THREE_SEATS = "liars_dice_v0(players=3)"
MANY_GAMES = [B, *(f"kuhn_poker_v0(hands={hands})" for hands in range(6, 56))]


def schedule(games=(A, B, C), *, weights=None, mix_by="games", opponents=None, seed=7, replays=1):
    return Schedule(
        games, weights=weights, mix_by=mix_by, opponents=opponents or {"self": 1.0}, seed=seed, replays=replays
    )


def games_of(plans):
    return [plan.game for plan in plans]


def play(made, count, turns_of):
    """Plans and records a batch in which a game of G takes `turns_of[G]` turns of the learner."""
    plans = made.plan(made.num_recorded, count)
    made.record(plans, [turns_of[plan.game] for plan in plans])
    return plans


# -- which game ------------------------------------------------------------------------------------------------------


@given(
    games=st.lists(st.sampled_from([A, B, C]), min_size=1, max_size=6),
    batches=st.lists(st.integers(0, 12), max_size=6),
    is_explicit=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_with_equal_weights_the_games_come_in_turn_whatever_was_recorded_or_restored(games, batches, is_explicit):
    weights = [1 / len(games)] * len(games) if is_explicit else None
    made = schedule(games, weights=weights)
    for count in batches:
        first = made.num_recorded
        plans = made.plan(first, count)
        assert games_of(plans) == [games[number % len(games)] for number in range(first, first + count)]
        made.record(plans, [5] * count)
        restored = schedule(games, weights=weights)
        restored.load_state_dict(json.loads(json.dumps(made.state_dict())))
        made = restored


def test_the_order_of_a_weighted_mix_is_that_worked_by_hand():
    # Weights 1/2, 1/4, 1/4; whoever is ahead of its share waits, of the others the first to finish is next.
    # 1: finish 2, 4, 4           -> A     2: A has 1 > 1/2; 4 and 4 -> B     3: A 1 <= 1, finish 4; C 4 -> A
    # 4: A has 2 > 3/2, B 1 > 3/4 -> C     5: as at the start.
    made = schedule(weights=[0.5, 0.25, 0.25])
    assert games_of(made.plan(0, 8)) == [A, B, A, C, A, B, A, C]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=9).filter(any), st.lists(st.integers(1, 40), max_size=4))
@settings(max_examples=60, deadline=None)
def test_in_games_no_slot_is_ever_a_whole_game_away_from_its_share(weights, batches):
    games = MANY_GAMES[: len(weights)]
    total = sum(weights)
    made = schedule(games, weights=[weight / total for weight in weights])
    # The shares are those that were given, as decimals.
    exact = [Fraction(repr(weight / total)) for weight in weights]
    played = Counter()
    for count in [*batches, 100]:
        for plan in play(made, count, dict.fromkeys(games, 1)):
            played[plan.game] += 1
            for game, share in zip(games, exact, strict=True):
                assert abs(played[game] - share / sum(exact) * played.total()) < 1


def test_a_large_weight_does_not_run_ahead_of_many_small_ones():
    made = schedule(MANY_GAMES, weights=[0.5, *[0.01] * 50])
    # By finish times alone, the first fifty games would all be of the first slot: 50 / 0.5 = 1 / 0.01.
    assert games_of(made.plan(0, 50)).count(B) == 25


def jump_to(made, *, games_played, learner_turns):
    """Takes a schedule to where it would be after so many games."""
    state = made.state_dict()
    state["games_played"], state["learner_turns"] = games_played, learner_turns
    made.load_state_dict(state)


def test_after_ten_million_games_the_order_is_still_exact():
    made = schedule(weights=[0.2, 0.3, 0.5])
    fresh = games_of(made.plan(0, 1000))
    assert Counter(fresh) == {A: 200, B: 300, C: 500}
    jump_to(made, games_played=[2_000_000, 3_000_000, 5_000_000], learner_turns=[1, 2, 3])
    assert games_of(made.plan(10_000_000, 1000)) == fresh


def test_in_turns_after_ten_million_games_the_order_is_still_exact():
    made = schedule([A, B], mix_by="turns")
    # Games of A took 3 turns each, those of B 6, and both are level. A ends first -> A; A is 3 ahead and waits -> B;
    # A has 3 of 9 and B is ahead -> A; 6 each is level again.
    jump_to(made, games_played=[20_000_000, 10_000_000], learner_turns=[60_000_000, 60_000_000])
    assert games_of(made.plan(30_000_000, 7)) == [A, B, A, A, B, A, A]
    # One turn in sixty million decides.
    jump_to(made, games_played=[20_000_000, 10_000_000], learner_turns=[60_000_001, 60_000_000])
    assert games_of(made.plan(30_000_000, 1)) == [B]


def test_in_turns_a_longer_game_is_played_less_often():
    made = schedule([A, B], mix_by="turns")
    turns = {A: 2, B: 8}
    # Nothing is known yet: in turn.
    assert games_of(play(made, 4, turns)) == [A, B, A, B]
    # A has 4 turns of 20, B 16. A finishes at 6, 8, ... and is within its share up to 16: six games. Then both have 16,
    # and A finishes first, at 18 against 24; then B.
    assert games_of(play(made, 8, turns)) == [A, A, A, A, A, A, A, B]
    assert made.shares() == {A: (9 / 12, 18 / 42), B: (3 / 12, 24 / 42)}


@given(
    lengths=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30)), min_size=40, max_size=40),
    weights=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)),
)
@settings(max_examples=40, deadline=None)
def test_in_turns_no_slot_is_ever_a_longest_game_ahead_of_its_share(lengths, weights):
    total = sum(weights)
    made = schedule(weights=[weight / total for weight in weights], mix_by="turns")
    longest = max(max(each) for each in lengths)
    turns = Counter()
    for each in lengths:
        length = dict(zip([A, B, C], each, strict=True))
        (plan,) = play(made, 1, length)
        turns[plan.game] += length[plan.game]
        for game, weight in zip((A, B, C), weights, strict=True):
            assert turns[game] - weight / total * turns.total() < longest + 1e-9


def missed_turns(made, shares):
    turns = made.state_dict()["learner_turns"]
    return max(abs(own - share * sum(turns)) for own, share in zip(turns, shares, strict=True))


@pytest.mark.parametrize("batch", [1, 16, 128])
def test_in_turns_the_shares_hold_within_one_long_game(batch):
    shares = (0.5, 0.3, 0.2)
    made = schedule(weights=shares, mix_by="turns")
    for _ in range(max(20, 1024 // batch)):
        play(made, batch, {A: 2, B: 9, C: 20})
    assert missed_turns(made, shares) <= 20
    # Other lengths than those expected miss by part of a batch, which does not add up.
    for _ in range(max(60, 1024 // batch)):
        play(made, batch, {A: 6, B: 5, C: 1})
    assert missed_turns(made, shares) <= max(20, batch)


def test_a_game_without_a_turn_of_the_learner_takes_no_more_than_its_share_of_games():
    made = schedule([A, B], mix_by="turns")
    for _ in range(50):
        play(made, 8, {A: 0, B: 1})
    games, turns = zip(*made.shares().values(), strict=True)
    assert games == (0.5, 0.5)
    assert turns == (0.0, 1.0)


def test_a_game_named_twice_has_two_slots_also_in_turns():
    made = schedule([A, A, B], mix_by="turns")
    for _ in range(200):
        play(made, 9, {A: 3, B: 7})
    assert made.shares()[A][1] == pytest.approx(2 / 3, abs=14 / sum(made.state_dict()["learner_turns"]))
    assert made.state_dict()["learner_turns"][0] == pytest.approx(made.state_dict()["learner_turns"][1], abs=3)


def test_a_slot_of_weight_zero_is_never_played():
    made = schedule(weights=[0.5, 0, 0.5])
    assert games_of(play(made, 4, {A: 3, C: 3})) == [A, C, A, C]
    assert made.shares()[B] == (0.0, 0.0)
    with pytest.raises(ValueError, match=r"game 4 is tic_tac_toe_v0: expected kuhn_poker_v0 or simple_negotiation_v0"):
        made.record([GamePlan(4, B, 0, "self", (0, 1))], [3])


# -- planning and recording ------------------------------------------------------------------------------------------


def mixed(**arguments):
    """A schedule in which everything is drawn, some way into a run."""
    made = schedule(
        weights=[0.5, 0.3, 0.2], mix_by="turns", opponents={"self": 0.4, "random": 0.3, "league": 0.3}, **arguments
    )
    play(made, 30, {A: 2, B: 9, C: 20})
    return made


def test_planning_changes_nothing_and_depends_on_nothing_but_what_was_recorded():
    made = mixed()
    before = made.state_dict()
    plans = made.plan(30, 40)
    made.plan(30, 7)
    assert made.plan(30, 40) == plans
    assert mixed().plan(30, 40) == plans
    assert made.state_dict() == before
    assert [plan.number for plan in plans] == list(range(30, 70))


def test_a_batch_planned_ahead_is_the_second_half_of_a_longer_one():
    made = mixed()
    assert made.plan(30, 20) + made.plan(50, 20) == made.plan(30, 40)


def test_a_restored_schedule_goes_on_as_the_saved_one():
    made = mixed()
    restored = schedule(weights=[0.5, 0.3, 0.2], mix_by="turns", opponents={"self": 0.4, "random": 0.3, "league": 0.3})
    restored.load_state_dict(json.loads(json.dumps(made.state_dict())))
    for _ in range(5):
        turns = {A: 3, B: 6, C: 11}
        assert play(restored, 16, turns) == play(made, 16, turns)
    assert restored.state_dict() == made.state_dict()
    assert restored.shares() == made.shares()


def test_what_is_saved_does_not_change_when_more_is_recorded():
    made = mixed()
    saved = made.state_dict()
    text = json.dumps(saved)
    restored = mixed()
    restored.load_state_dict(saved)
    play(restored, 8, {A: 1, B: 1, C: 1})
    assert json.dumps(saved) == text


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"games": [A, C, B]}, r"has games \['kuhn_poker_v0', 'simple_negotiation_v0', 'tic_tac_toe_v0'\], this run"),
        ({"weights": [0.5, 0.25, 0.25]}, r"has weights \[0\.5, 0\.25, 0\.25\], this run has \[0\.33"),
        ({"mix_by": "turns"}, "has mix_by turns, this run has games"),
        ({"replays": 2}, "has replays 2, this run has 1"),
    ],
    ids=["games", "weights", "mix_by", "replays"],
)
def test_a_state_made_with_other_settings_is_refused_and_changes_nothing(other, message):
    made = schedule()
    play(made, 5, dict.fromkeys((A, B, C), 4))
    before = made.state_dict()
    with pytest.raises(ValueError, match=message):
        made.load_state_dict(schedule(**other).state_dict())
    assert made.state_dict() == before


def test_weights_that_say_the_same_are_the_same_setting():
    made = schedule(weights=[0.3333333, 0.3333333, 0.3333333])
    made.load_state_dict(schedule().state_dict())
    assert games_of(made.plan(0, 4)) == [A, B, C, A]


def test_weights_are_taken_by_their_digits():
    # As binary numbers 0.3 is not three times 0.1.
    assert schedule(weights=[0.1, 0.3, 0.6]).state_dict()["weights"] == [1, 3, 6]


@pytest.mark.parametrize(
    ("numbers", "turns", "message"),
    [
        ([1, 2], [3, 3], "game 1 was played where 0 is the next to record"),
        ([0, 2], [3, 3], "game 2 was played where 1 is the next to record"),
        ([0, 1], [3], "2 games were played, with turns of 1: expected as many"),
        ([0, 1], [3, -1], "game 1 has -1 turns of the learner: expected at least 0"),
    ],
)
def test_what_was_not_due_is_refused_and_nothing_is_counted(numbers, turns, message):
    made = schedule()
    plans = made.plan(0, 3)
    with pytest.raises(ValueError, match=message):
        made.record([plans[number] for number in numbers], turns)
    assert made.num_recorded == 0


def test_a_game_cannot_be_planned_again_after_it_was_recorded():
    made = mixed()
    with pytest.raises(ValueError, match="game 29 was recorded already: the next one is 30"):
        made.plan(29, 1)
    with pytest.raises(ValueError, match="count is -1"):
        made.plan(30, -1)
    assert made.plan(30, 0) == []


def test_shares_are_by_label_and_zero_before_the_first_game():
    # Five hands are the default, so both are the same game.
    made = schedule([A, "kuhn_poker_v0(hands=5)", B])
    assert made.shares() == {A: (0.0, 0.0), B: (0.0, 0.0)}
    made.record(made.plan(0, 3), [2, 3, 5])
    assert made.shares() == {A: (2 / 3, 0.5), B: (1 / 3, 0.5)}


# -- against whom, and from which seat -------------------------------------------------------------------------------


def test_against_itself_the_learner_has_every_seat_and_the_seed_is_that_of_the_number():
    made = schedule([A, THREE_SEATS], seed=5)
    assert made.plan(0, 2) == [
        GamePlan(0, A, match_seed(5, 0), "self", (0, 1)),
        GamePlan(1, THREE_SEATS, match_seed(5, 1), "self", (0, 1, 2)),
    ]


def chi_square(counts, shares):
    total = sum(counts.values())
    assert set(counts) == set(shares)
    return sum((counts[each] - share * total) ** 2 / (share * total) for each, share in shares.items())


def test_opponents_are_drawn_with_their_weights_and_seats_uniformly():
    opponents = {"self": 0.5, "random": 0.125, "league": 0.375}
    plans = schedule([THREE_SEATS], opponents=opponents).plan(0, 20_000)
    # The 99.9 % quantiles for 2 and 5 degrees of freedom.
    assert chi_square(Counter(plan.opponent for plan in plans), opponents) < 13.82
    seats = Counter((plan.opponent, plan.learner_seats) for plan in plans if plan.opponent != "self")
    total = sum(seats.values())
    expected = {(kind, (seat,)): share / 3 for kind, share in (("random", 0.25), ("league", 0.75)) for seat in range(3)}
    assert total == pytest.approx(10_000, rel=0.03)
    assert chi_square(seats, expected) < 20.52


def test_draws_depend_neither_on_those_of_other_deals_and_seeds_nor_on_the_match():
    plans, others = (schedule([A], opponents={"self": 0.5, "random": 0.5}, seed=seed).plan(0, 8000) for seed in (0, 1))
    is_self, other_is_self = ([plan.opponent == "self" for plan in each] for each in (plans, others))
    starts_low = [uniform(plan.seed, 0) < 0.5 for plan in plans]
    # The match whose seed is nearest to that of the run.
    first_match = [uniform(plans[0].seed, 2 * deal) < 0.5 for deal in range(8000)]
    quarters = {(one, two): 0.25 for one in (False, True) for two in (False, True)}
    for pairs in (zip(is_self[::2], is_self[1::2], strict=True), zip(is_self, other_is_self, strict=True)):
        # The 99.9 % quantile for 3 degrees of freedom.
        assert chi_square(Counter(pairs), quarters) < 16.27
    for other in (starts_low, first_match):
        assert chi_square(Counter(zip(is_self, other, strict=True)), quarters) < 16.27


def test_the_order_in_which_opponents_are_named_does_not_matter():
    one = schedule(opponents={"self": 0.5, "mcts:100": 0.25, "league": 0.25})
    other = schedule(opponents={"league": 0.25, "self": 0.5, "mcts:100": 0.25})
    assert one.plan(0, 200) == other.plan(0, 200)
    assert one.kinds == ("league", "mcts:100", "self")


def test_an_opponent_of_weight_zero_is_never_drawn():
    made = schedule(opponents={"self": 0, "random": 1, "league": 0})
    assert made.kinds == ("random",)
    assert {plan.opponent for plan in made.plan(0, 500)} == {"random"}


def test_replays_of_a_deal_share_everything_but_their_number():
    made = schedule(opponents={"self": 0.3, "random": 0.7}, replays=4, seed=9)
    plans = made.plan(0, 120)
    deals = [plans[first : first + 4] for first in range(0, 120, 4)]
    for deal, group in enumerate(deals):
        assert len({plan[1:] for plan in group}) == 1
        assert [plan.number for plan in group] == list(range(4 * deal, 4 * deal + 4))
        assert group[0].seed == match_seed(9, deal)
        assert group[0].game == (A, B, C)[deal % 3]
    # Deal by deal they are those of a run without replays.
    single = schedule(opponents={"self": 0.3, "random": 0.7}, seed=9).plan(0, 30)
    assert [group[0][1:] for group in deals] == [plan[1:] for plan in single]


def test_in_turns_a_deal_is_expected_to_take_all_its_replays():
    made = schedule([A, B], mix_by="turns", replays=2)
    assert games_of(play(made, 4, {A: 1, B: 3})) == [A, A, B, B]
    # A has 2 turns, B 6, and a deal takes 2 or 6: A gets to 4, to 6 and, finishing first, to 8 before it is ahead.
    assert games_of(made.plan(4, 8)) == [A, A, A, A, A, A, B, B]


def test_replays_keep_the_shares_in_turns_within_one_deal():
    made = schedule([A, B], mix_by="turns", replays=3)
    for _ in range(100):
        play(made, 12, {A: 2, B: 7})
    counts = made.state_dict()["learner_turns"]
    assert abs(counts[0] - counts[1]) <= 3 * 7


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda made: made.plan(0, 3), "count is 3: expected a multiple of 2, the replays of a deal"),
        (lambda made: made.plan(1, 2), "first_number is 1: expected a multiple of 2"),
        (lambda made: made.record(made.plan(0, 2)[:1], [3]), "1 games are no whole deals: each is played 2 times"),
    ],
)
def test_a_deal_is_never_cut(act, message):
    with pytest.raises(ValueError, match=message):
        act(schedule(replays=2))


# -- bad settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"games": []}, "games is empty"),
        ({"games": ["kuhn_pokr_v0"]}, "unknown game 'kuhn_pokr_v0': did you mean kuhn_poker_v0?"),
        ({"weights": [0.5, 0.5]}, "there are 2 weights for 3 games: expected one each"),
        ({"weights": [0.5, 0.75, -0.25]}, "a weight of the games is -0.25: expected a finite number from 0"),
        ({"weights": [0.5, float("nan"), 0.5]}, "a weight of the games is nan"),
        ({"weights": [0.5, float("inf"), 0.5]}, "a weight of the games is inf"),
        ({"weights": [0.5, 0.3, 0.1]}, "the weights of the games sum to 0.9: expected 1"),
        ({"weights": [0.5, 0.3, 0.200002]}, "the weights of the games sum to 1.000002: expected 1"),
        ({"weights": [1, 1, 1]}, "the weights of the games sum to 3.0: expected 1"),
        ({"weights": [0, 0, 0]}, "all weights of the games are 0: expected shares that sum to 1"),
        ({"mix_by": "turn"}, "unknown way to mix games 'turn': did you mean turns?"),
        ({"opponents": {"self": 0.5, "random": 0.4}}, "the weights of the opponents sum to 0.9: expected 1"),
        ({"opponents": {"self": -1.0, "random": 2.0}}, "a weight of the opponents is -1.0"),
        ({"opponents": {"self": 0}}, "all weights of the opponents are 0"),
        ({"opponents": {"slef": 1.0}}, "unknown opponent 'slef': did you mean self?"),
        ({"opponents": {"mtcs:100": 1.0}}, "unknown opponent 'mtcs': did you mean mcts?"),
        ({"opponents": {"league:200": 1.0}}, "opponent 'league' takes no argument, got 'league:200'"),
        ({"seed": -1}, "seed is -1: expected an integer from 0"),
        ({"replays": 0}, "replays is 0: expected at least 1"),
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_in_one_line_that_names_it(settings, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is checked below, as plain text
        schedule(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_opponents_at_all_are_refused():
    with pytest.raises(ValueError, match="opponents is empty: name at least one kind with its weight"):
        Schedule([A], weights=None, mix_by="games", opponents={}, seed=0)


def test_names_that_do_not_exist_have_an_error_of_their_own():
    with pytest.raises(UnknownNameError):
        schedule(opponents={"slef": 1.0})
    with pytest.raises(UnknownNameError):
        schedule(mix_by="tokens")


def test_an_agent_is_known_by_its_kind_and_not_made():
    # Neither argument can be read: whoever makes the agents says so.
    assert schedule(opponents={"mcts:many": 0.5, "openai:": 0.5}).kinds == ("mcts:many", "openai:")
