"""Role-conditioned advantage estimation, against numbers worked by hand."""

import json
import random
from itertools import product

import pytest

from spiral_envs.errors import UnknownNameError
from spiral_trl import RoleBaseline
from spiral_trl.advantages import score_returns

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
    assert score_returns(rising, [(X, -1.0), (X, 1.0)]) == pytest.approx([-1.0, 1.05], abs=1e-15)
    assert score_returns(falling, [(X, 1.0), (X, -1.0)]) == pytest.approx([1.0, -1.05], abs=1e-15)
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


def test_score_returns_scores_one_after_the_other():
    baseline = RoleBaseline(decay=0.5)
    # X: b = 0, then 0.5; O: b = 0, then -0.5.
    keyed = [(X, 1.0), (O, -1.0), (X, 1.0), (O, 1.0)]
    assert score_returns(baseline, keyed) == [1.0, -1.0, 0.5, 1.5]
    assert score_returns(baseline, []) == []
