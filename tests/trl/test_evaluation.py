"""Intervals and results by seat."""

# Fakes and libraries are typed in part only.
# pyright: reportArgumentType=false

import pytest

from spiral_envs import Fault, Reply, make_agent
from spiral_trl.evaluation import SeatResult, evaluate, wilson_interval


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


class Truncated:
    name = "truncated"

    def act(self, views):
        return [Reply("", Fault.TRUNCATED) for _ in views]


class Folder:
    """Checks, and folds to a bet: it wins only what nobody bets on."""

    name = "folder"

    def act(self, views):
        return ["[fold]" if "[fold]" in view.legal_moves else "[check]" for view in views]


KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"


def test_an_agent_that_always_faults_loses_every_game_in_both_seats():
    results = list(evaluate(Truncated(), [("tic_tac_toe_v0", "random")], games_per_seat=5, seed=0))
    assert [(each.seat, each.role) for each in results] == [(0, "X"), (1, "O")]
    for each in results:
        assert (each.games, each.wins, each.draws, each.losses, each.faults) == (5, 0, 0, 5, 5)
        assert each.mean_return == -1.0
        assert (each.game, each.opponent) == ("tic_tac_toe_v0", "random")


def test_two_perfect_players_draw_every_game():
    agent = make_agent("minimax", seed=3)
    for each in evaluate(agent, [("tic_tac_toe_v0", "minimax")], games_per_seat=6, seed=0):
        assert (each.wins, each.draws, each.losses, each.faults) == (0, 6, 0, 0)
        assert each.mean_return == 0.0


def test_results_add_up_and_returns_are_those_of_the_evaluated_seat():
    results = list(evaluate(Folder(), [(KUHN, "random"), (KUHN, "cfr")], games_per_seat=60, seed=1))
    assert [(each.opponent, each.seat) for each in results] == [("random", 0), ("random", 1), ("cfr", 0), ("cfr", 1)]
    for each in results:
        assert each.wins + each.draws + each.losses == each.games == 60
        assert each.draws == 0
        # Nobody calls, so that a game is one chip.
        assert each.mean_return == pytest.approx((each.wins - each.losses) / 60)
        assert each.losses > each.wins


def test_the_same_seed_gives_the_same_results_and_another_does_not():
    def results(seed):
        return list(evaluate(make_agent("random", seed=0), [(KUHN, "random")], games_per_seat=40, seed=seed))

    assert results(1) == results(1)
    assert results(1) != results(2)


def test_results_come_one_after_the_other():
    running = evaluate(Truncated(), [("tic_tac_toe_v0", "random")], games_per_seat=1, seed=0)
    assert next(running).seat == 0
    assert next(running).seat == 1


def test_a_result_says_its_win_rate_with_its_interval():
    result = SeatResult("g", "random", 0, "X", 10, 5, 1, 4, 0, 0.1)
    assert result.win_rate == 0.5
    assert result.win_interval == pytest.approx((0.236593, 0.763407), abs=1e-6)
    assert result.to_json()["win_interval"] == pytest.approx([0.236593, 0.763407], abs=1e-6)
    assert result.to_json()["role"] == "X"
