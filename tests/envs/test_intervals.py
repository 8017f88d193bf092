"""Intervals against published values, by hand, and by how often they hold the truth."""

import numpy as np
import pytest

from spiral_envs.intervals import mean_interval, mean_return_interval, student_t, wilson_interval, win_rate_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3 (score).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_of_one_half_by_hand():
    # 5 of 10: centre 1/2, half width z/(1 + z²/n) · sqrt(1/40 + z²/400) with z² = 3.841459.
    assert wilson_interval(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)


def test_the_interval_of_failures_mirrors_that_of_successes():
    low, high = wilson_interval(3, 40)
    assert wilson_interval(37, 40) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("successes", [0, 7])
def test_the_interval_stays_within_zero_and_one(successes):
    low, high = wilson_interval(successes, 7)
    assert 0.0 <= low < high <= 1.0


def test_an_interval_without_trials_is_refused():
    with pytest.raises(ValueError, match="at least one trial"):
        wilson_interval(0, 0)


def test_the_interval_of_a_mean_by_hand():
    # Mean 2, standard deviation 1, Student's t 4.302653 with 2 degrees of freedom; and 3.182446 with 3.
    assert mean_return_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert mean_return_interval([0.0, 0.0, 1.0, 1.0]) == pytest.approx(
        (0.5 - 3.182446 / 12**0.5, 0.5 + 3.182446 / 12**0.5), rel=5e-3
    )
    assert mean_return_interval([1.0]) is None


def test_the_interval_of_a_win_rate_by_hand():
    # With a pair won and a pair lost added: 0.5 twice, 0 and 1; standard deviation sqrt(1/6), t 3.182446.
    half = 3.182446 * (1 / 6) ** 0.5 / 2
    assert win_rate_interval([0.5, 0.5]) == pytest.approx((max(0, 0.5 - half), min(1, 0.5 + half)), rel=5e-3)
    with pytest.raises(ValueError, match="at least one pair"):
        win_rate_interval([])


def wins_of_pairs(kind, rng, pairs):
    """The share of two games won in each pair, and the true win rate."""
    if kind == "independent":
        return (rng.random((pairs, 2)) < 0.7).mean(1), 0.7
    if kind == "rarely won":
        return (rng.random((pairs, 2)) < 0.05).mean(1), 0.05
    if kind == "both seats see the same luck":
        luck = rng.choice([0.1, 0.9], size=(pairs, 1))
        return (rng.random((pairs, 2)) < luck).mean(1), 0.5
    deal = rng.choice([-0.4, 0.4], size=(pairs, 1))
    assert kind == "the deal favours a seat"
    return (rng.random((pairs, 2)) < 0.5 + deal * np.array([1, -1])).mean(1), 0.5


@pytest.mark.parametrize(
    "kind", ["independent", "rarely won", "both seats see the same luck", "the deal favours a seat"]
)
@pytest.mark.parametrize("pairs", [12, 40])
def test_the_interval_of_a_win_rate_covers_the_truth_as_often_as_it_says(kind, pairs):
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(400):
        shares, truth = wins_of_pairs(kind, rng, pairs)
        low, high = win_rate_interval(shares.tolist())
        covered += low <= truth <= high
    # 95 % of 400 is 380, with a standard deviation of 4.4.
    assert covered >= 367


def test_the_interval_is_narrower_where_pairing_takes_the_luck_out_and_wider_where_it_does_not():
    rng = np.random.default_rng(0)

    def width(kind):
        shares, _ = wins_of_pairs(kind, rng, 100)
        low, high = win_rate_interval(shares.tolist())
        return high - low

    # 200 independent games at one half: Wilson's interval is 0.137 wide.
    low, high = wilson_interval(100, 200)
    assert high - low == pytest.approx(0.137, abs=1e-3)
    assert width("the deal favours a seat") < 0.8 * (high - low)
    assert width("both seats see the same luck") > 1.2 * (high - low)


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (10, 2.2281), (30, 2.0423), (120, 1.9799)],
)
def test_students_t_is_the_published_one(freedom, expected):
    # Fisher and Yates, Statistical Tables, 1938, table III.
    assert student_t(freedom) == pytest.approx(expected, rel=2e-3)


def test_a_mean_of_one_value_has_no_interval():
    with pytest.raises(ValueError, match="at least two values, got 1"):
        mean_interval([1.0])
    with pytest.raises(ValueError, match="at least 1"):
        student_t(0)
