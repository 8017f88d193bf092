"""Role-conditioned advantage estimation, against numbers worked by hand."""

import json
import random
from itertools import product

import pytest

from spiral_envs.errors import UnknownNameError
from spiral_trl import RoleBaseline
from spiral_trl.advantages import GLOBAL_KEY, AdvantageEstimator, Estimator, GameResult

X = ("tic_tac_toe_v0", "X", "self")
O = ("tic_tac_toe_v0", "O", "self")

# With decay 0.95 and returns +1, -1, +1 the baseline goes 0, 0.05, -0.0025, 0.047625:
# 0.95 * 0.05 - 0.05 = -0.0025, and 0.95 * -0.0025 + 0.05 = 0.047625.
BY_HAND = {"before": [1.0, -1.05, 1.0025], "after": [0.95, -0.9975, 0.952375]}


@pytest.mark.parametrize("order", ["before", "after"])
def test_advantages_are_those_worked_by_hand(order):
    baseline = RoleBaseline(decay=0.95, order=order)
    advantages = [baseline.score(X, episode_return) for episode_return in (1.0, -1.0, 1.0)]
    assert advantages == pytest.approx(BY_HAND[order], abs=1e-15)
    assert baseline.value(X) == pytest.approx(0.047625, abs=1e-15)


def test_scoring_before_the_update_is_the_default_with_decay_095():
    baseline = RoleBaseline()
    assert [baseline.score(X, 1.0), baseline.score(X, -1.0)] == pytest.approx([1.0, -1.05], abs=1e-15)


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_constant_return_is_approached_geometrically(order):
    baseline = RoleBaseline(decay=0.5, order=order)
    advantages = [baseline.score(X, 2.0) for _ in range(4)]
    # 2 - b with b = 0, 1, 1.5, 1.75 before an update and 1, 1.5, 1.75, 1.875 after it.
    assert advantages == ([2.0, 1.0, 0.5, 0.25] if order == "before" else [1.0, 0.5, 0.25, 0.125])


@pytest.mark.parametrize("order", ["before", "after"])
def test_decay_zero_forgets_everything_but_the_last_return(order):
    baseline = RoleBaseline(decay=0, order=order)
    advantages = [baseline.score(X, episode_return) for episode_return in (1.0, -1.0)]
    assert advantages == ([1.0, -2.0] if order == "before" else [0.0, 0.0])


@pytest.mark.parametrize(
    "other", [O, ("kuhn_poker_v0", "X", "self"), ("tic_tac_toe_v0", "X", "league")], ids=["role", "game", "opponent"]
)
def test_baselines_of_different_keys_never_touch_each_other(other):
    mixed, alone = RoleBaseline(), RoleBaseline()
    rng = random.Random(0)
    for _ in range(50):
        episode_return = rng.choice([-1.0, 0.0, 1.0])
        mixed.score(other, rng.uniform(-2, 2))
        assert mixed.score(X, episode_return) == alone.score(X, episode_return)
    assert mixed.value(X) == alone.value(X)


def test_a_key_never_scored_has_value_and_count_zero_and_reading_adds_no_key():
    baseline = RoleBaseline()
    assert baseline.value(X) == 0.0
    assert baseline.count(X) == 0
    assert baseline.keys() == ()


def test_counts_are_kept_by_key():
    baseline = RoleBaseline()
    for key, times in ((X, 3), (O, 2)):
        for _ in range(times):
            baseline.score(key, 1.0)
    assert (baseline.count(X), baseline.count(O)) == (3, 2)
    assert baseline.keys() == (O, X)


def test_the_order_of_returns_matters():
    rising, falling = RoleBaseline(), RoleBaseline()
    assert [rising.score(X, each) for each in (-1.0, 1.0)] == pytest.approx([-1.0, 1.05], abs=1e-15)
    assert [falling.score(X, each) for each in (1.0, -1.0)] == pytest.approx([1.0, -1.05], abs=1e-15)
    assert rising.value(X) == pytest.approx(0.0025, abs=1e-15)
    assert falling.value(X) == pytest.approx(-0.0025, abs=1e-15)


def test_before_is_unbiased_and_after_shrinks_by_the_decay():
    """The policy gradient is the mean of A times a score of mean zero; with returns of ±1, R itself is such a score.

    Without a baseline the mean of R·R is 1. Every sequence of four fair coins is enumerated, so the means are exact.
    """
    for order, expected in (("before", 1.0), ("after", 0.95)):
        products = []
        for returns in product((-1.0, 1.0), repeat=4):
            baseline = RoleBaseline(decay=0.95, order=order)
            advantages = [baseline.score(X, episode_return) for episode_return in returns]
            products.append(advantages[-1] * returns[-1])
        assert sum(products) / len(products) == pytest.approx(expected, abs=1e-12)


def test_the_state_survives_json_to_the_last_bit():
    rng = random.Random(1)
    original = RoleBaseline(decay=0.9, order="after")
    for _ in range(200):
        original.score(rng.choice([X, O]), rng.gauss(0, 1))
    restored = RoleBaseline(decay=0.9, order="after")
    restored.load_state_dict(json.loads(json.dumps(original.state_dict())))
    assert restored.state_dict() == original.state_dict()
    assert restored.value(X).hex() == original.value(X).hex()
    assert restored.count(O) == original.count(O)
    assert restored.score(X, 0.3).hex() == original.score(X, 0.3).hex()


def test_loading_replaces_what_was_there():
    baseline = RoleBaseline()
    baseline.score(X, 1.0)
    baseline.load_state_dict(RoleBaseline().state_dict())
    assert baseline.keys() == ()
    assert baseline.value(X) == 0.0
    assert baseline.count(X) == 0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (RoleBaseline(decay=0.9), r"have decay 0\.9, this run has 0\.95"),
        (RoleBaseline(order="after"), "have order 'after', this run has 'before'"),
    ],
)
def test_a_state_made_with_other_settings_is_refused_and_changes_nothing(other, message):
    baseline = RoleBaseline()
    baseline.score(X, 1.0)
    with pytest.raises(ValueError, match=message):
        baseline.load_state_dict(other.state_dict())
    assert baseline.count(X) == 1


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        RoleBaseline(decay=decay)


def test_an_unknown_order_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="'befor': did you mean before"):
        RoleBaseline(order="befor")


def test_each_key_has_a_baseline_of_its_own():
    baseline = RoleBaseline(decay=0.5)
    # X: b = 0, then 0.5; O: b = 0, then -0.5.
    keyed = [(X, 1.0), (O, -1.0), (X, 1.0), (O, 1.0)]
    assert [baseline.score(*each) for each in keyed] == [1.0, -1.0, 0.5, 1.5]


def result(returns, *, opponent="self", learner_seats=(0, 1), game="tic_tac_toe_v0", deal=0):
    return GameResult(game, ("X", "O"), opponent, learner_seats, returns, deal)


def estimator_of(estimator, *, decay=0.5, replays=2):
    return AdvantageEstimator(estimator, RoleBaseline(decay=decay), replays)


WON, LOST = (1.0, -1.0), (-1.0, 1.0)


def test_rae_scores_every_role_against_its_own_baseline():
    scored = estimator_of(Estimator.RAE)
    # X: b = 0, 0.5, -0.25; O: the same with the other sign.
    assert scored.score([result(WON), result(LOST), result(WON)]) == [(1.0, -1.0), (-1.5, 1.5), (1.25, -1.25)]
    # -0.25 / 2 + 1 / 2.
    assert (scored.baseline.value(X), scored.baseline.value(O)) == (0.375, -0.375)


def test_rae_goes_on_from_batch_to_batch():
    results = [result(WON), result((0.0, 0.0)), result(LOST), result(WON)]
    whole, halves = estimator_of(Estimator.RAE, decay=0.95), estimator_of(Estimator.RAE, decay=0.95)
    assert halves.score(results[:2]) + halves.score(results[2:]) == whole.score(results)


def test_games_against_others_leave_the_baselines_of_self_play_alone():
    mixed, alone = estimator_of(Estimator.RAE), estimator_of(Estimator.RAE)
    others = [
        result(LOST, opponent="league", learner_seats=(0,)),
        result(WON, opponent="random", learner_seats=(1,)),
        result(WON, opponent="random", learner_seats=(0,)),
    ]
    own = [result(WON), result(LOST)]
    advantages = mixed.score([others[0], own[0], others[1], others[2], own[1]])
    assert [advantages[1], advantages[4]] == alone.score(own)
    assert [advantages[0], advantages[2], advantages[3]] == [(-1.0, 0.0), (0.0, -1.0), (1.0, 0.0)]
    expected = {
        X: 0.25 - 0.5,
        O: -0.25 + 0.5,
        ("tic_tac_toe_v0", "X", "league"): -0.5,
        ("tic_tac_toe_v0", "X", "random"): 0.5,
        ("tic_tac_toe_v0", "O", "random"): -0.5,
    }
    assert mixed.baseline.keys() == tuple(sorted(expected))
    assert {key: mixed.baseline.value(key) for key in expected} == expected


@pytest.mark.parametrize("estimator", Estimator)
def test_seats_that_do_not_learn_have_no_advantage_and_touch_no_baseline(estimator):
    scored = estimator_of(estimator)
    games = [result((2.0, -2.0), opponent="random", learner_seats=(1,)) for _ in range(2)]
    assert [advantages[0] for advantages in scored.score(games)] == [0.0, 0.0]
    touched = {Estimator.RAE: {("tic_tac_toe_v0", "O", "random"): 2}, Estimator.GLOBAL: {GLOBAL_KEY: 2}}
    expected = touched.get(estimator, {})
    assert scored.baseline.keys() == tuple(expected)
    assert {key: scored.baseline.count(key) for key in expected} == expected


def test_the_global_baseline_is_one_for_all_games_roles_and_opponents():
    scored = estimator_of(Estimator.GLOBAL)
    # b = 0, then 0.5, -0.25, and 0.875 after a return of 2.
    games = [result(WON), result((-3.0, 2.0), game="nim_v0", opponent="league", learner_seats=(1,)), result((0.0, 0.0))]
    assert scored.score(games) == [(1.0, -1.5), (0.0, 2.25), (-0.875, -0.4375)]
    assert scored.baseline.keys() == (GLOBAL_KEY,)
    assert scored.baseline.count(GLOBAL_KEY) == 5


def test_without_a_baseline_the_advantage_is_the_return():
    scored = estimator_of(Estimator.NONE)
    games = [result((2.0, -2.0)), result(LOST, opponent="random", learner_seats=(1,))]
    assert scored.score(games) == [(2.0, -2.0), (0.0, 1.0)]
    assert scored.baseline.keys() == ()


def test_the_group_advantage_is_the_distance_from_the_mean_of_the_replays_without_scaling():
    scored = estimator_of(Estimator.GROUP, replays=4)
    four = [result(returns, deal=3) for returns in (WON, WON, (0.0, 0.0), (2.0, -2.0))]
    # The mean is 1; its standard deviation, 0.71, divides nothing.
    assert scored.score(four) == [(0.0, 0.0), (0.0, 0.0), (-1.0, 1.0), (1.0, -1.0)]
    assert scored.baseline.keys() == ()


def test_groups_are_those_of_the_same_deal_in_whatever_order_they_come():
    scored = estimator_of(Estimator.GROUP)
    games = [
        result(WON, deal=1),
        result((3.0, -3.0), deal=2, opponent="random", learner_seats=(0,)),
        result((5.0, -5.0), deal=2, opponent="random", learner_seats=(0,)),
        result((2.0, -2.0), deal=1),
    ]
    assert scored.score(games) == [(-0.5, 0.5), (-1.0, 0.0), (1.0, 0.0), (0.5, -0.5)]


@pytest.mark.parametrize(
    ("games", "message"),
    [
        ([result(WON, deal=7)], "deal 7 of tic_tac_toe_v0 against self was played 1 times from seat 0: expected 2"),
        ([result(WON)] * 3, "was played 3 times from seat 0: expected 2"),
        (
            [result(WON, opponent="random", learner_seats=(seat,)) for seat in (0, 1)],
            "deal 0 of tic_tac_toe_v0 against random was played 1 times from seat 0",
        ),
        ([result(WON), result(WON, game="nim_v0")], "deal 0 of tic_tac_toe_v0 against self was played 1 times"),
    ],
    ids=["too few", "too many", "other seats", "other games"],
)
def test_a_deal_that_was_not_replayed_as_often_as_said_is_refused(games, message):
    with pytest.raises(ValueError, match=message):
        estimator_of(Estimator.GROUP).score(games)


@pytest.mark.parametrize(("estimator", "replays"), [(Estimator.GROUP, 1), (Estimator.RAE, 0), (Estimator.NONE, -1)])
def test_too_few_replays_are_refused(estimator, replays):
    with pytest.raises(ValueError, match=f"replays is {replays}: the estimator {estimator.value} needs at least"):
        estimator_of(estimator, replays=replays)


@pytest.mark.parametrize("estimator", Estimator)
def test_a_batch_without_games_has_no_advantages(estimator):
    assert estimator_of(estimator).score([]) == []
