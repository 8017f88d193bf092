"""Intervals and results by seat."""

# Fakes and libraries are typed in part only.
# pyright: reportArgumentType=false, reportOptionalMemberAccess=false

from dataclasses import replace

import pytest

from spiral_envs import Fault, Reply, make_agent
from spiral_envs.chance import match_seed
from spiral_envs.play import play
from spiral_envs.sources import find_source
from spiral_trl.evaluation import (
    SeatResult,
    evaluate,
    evaluation_metrics,
    plan_evaluation,
    pooled_results,
    seat_results,
)


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


# -- during a run ------------------------------------------------------------------------------------------------------

THREE = "kuhn_poker_v0(hands=1,payoff=chips,players=3)"


def played(plans, learner):
    """The games of a plan, with every opponent made from its name and the number of the game."""
    episodes = []
    for plan in plans:
        source = find_source(plan.game)
        other = make_agent(plan.opponent, seed=plan.number)
        seating = [learner if seat in plan.learner_seats else other for seat in range(len(source.roles))]
        episodes += play([source.start(seed=plan.seed)], seating)
    return episodes


def test_a_plan_has_every_pair_once_from_every_seat_on_one_seed():
    plans = plan_evaluation([KUHN, "tic_tac_toe_v0"], iter(["random", "minimax"]), pairs=3, seed=7)
    assert [plan.number for plan in plans] == list(range(24))
    assert [plan.game for plan in plans] == [KUHN] * 12 + ["tic_tac_toe_v0"] * 12
    assert [plan.opponent for plan in plans] == (["random"] * 6 + ["minimax"] * 6) * 2
    assert [plan.learner_seats for plan in plans] == [(0,), (1,)] * 12
    first = (7 << 40) + 2**39
    assert [plan.seed for plan in plans] == [first, first, first + 1, first + 1, first + 2, first + 2] * 4


def test_a_pair_of_three_seats_is_three_games():
    plans = plan_evaluation([THREE], ["random"], pairs=2, seed=0)
    assert [plan.learner_seats for plan in plans] == [(0,), (1,), (2,)] * 2
    assert len({plan.seed for plan in plans}) == 2


def test_a_game_in_another_spelling_and_an_agent_named_twice_are_planned_once():
    again = "kuhn_poker_v0(payoff=chips,hands=1)"
    assert plan_evaluation([KUHN, again], ["random", "random"], pairs=2, seed=0) == plan_evaluation(
        [KUHN], ["random"], pairs=2, seed=0
    )


def test_no_evaluated_seed_is_one_of_training_of_this_run_or_of_its_neighbours():
    seeds = {plan.seed for plan in plan_evaluation([KUHN], ["random"], pairs=500, seed=3)}
    # A run of a hundred million games, with this seed and the next ones.
    for seed in (2, 3, 4):
        assert not seeds & {match_seed(seed, number) for number in range(1000)}
        assert all(each not in range(match_seed(seed, 0), match_seed(seed, 10**8)) for each in seeds)
    assert not seeds & {plan.seed for plan in plan_evaluation([KUHN], ["random"], pairs=500, seed=4)}


def test_an_evaluation_without_pairs_is_refused():
    with pytest.raises(ValueError, match="pairs is 0: an evaluation needs at least 1"):
        plan_evaluation([KUHN], ["random"], pairs=0, seed=0)


def test_an_agent_that_always_faults_loses_every_evaluated_game():
    plans = plan_evaluation(["tic_tac_toe_v0"], ["random"], pairs=4, seed=0)
    episodes = played(plans, Truncated())
    seats = seat_results(plans, episodes)
    assert [(each.seat, each.role, each.games, each.losses, each.faults) for each in seats] == [
        (0, "X", 4, 4, 4),
        (1, "O", 4, 4, 4),
    ]
    (pooled,) = pooled_results(plans, episodes)
    assert (pooled.pairs, pooled.games, pooled.wins, pooled.draws, pooled.losses, pooled.faults) == (4, 8, 0, 0, 8, 8)
    assert evaluation_metrics([pooled]) == {
        "eval/tic_tac_toe_v0 vs random/win_rate": 0.0,
        "eval/tic_tac_toe_v0 vs random/low": 0.0,
        # 0 four times, 0 and 1: mean 1/6, standard deviation sqrt(1/6), Student's t with 5 degrees of freedom 2.570582.
        "eval/tic_tac_toe_v0 vs random/high": pytest.approx(1 / 6 + 2.570582 / 6, rel=2e-4),
        "eval/tic_tac_toe_v0 vs random/mean_return": -1.0,
        "eval/tic_tac_toe_v0 vs random/faults": 1.0,
    }


def test_the_pooled_result_is_the_sum_of_the_seats():
    plans = plan_evaluation([KUHN, "tic_tac_toe_v0"], ["random"], pairs=25, seed=1)
    episodes = played(plans, make_agent("random", seed=9))
    seats, pooled = seat_results(plans, episodes), pooled_results(plans, episodes)
    assert [each.game for each in pooled] == [KUHN, "tic_tac_toe_v0"]
    for each in pooled:
        own = [seat for seat in seats if seat.game == each.game]
        assert [seat.seat for seat in own] == [0, 1]
        assert each.games == sum(seat.games for seat in own) == 50
        assert each.wins == sum(seat.wins for seat in own)
        assert each.draws == sum(seat.draws for seat in own)
        assert each.losses == sum(seat.losses for seat in own)
        assert each.mean_return == pytest.approx(sum(seat.mean_return for seat in own) / 2)
        assert each.win_interval.low < each.win_rate < each.win_interval.high
        assert each.return_interval.low < each.mean_return < each.return_interval.high


def test_naming_the_seats_the_other_way_round_leaves_the_pooled_result():
    plans = plan_evaluation(["tic_tac_toe_v0"], ["random"], pairs=12, seed=2)
    episodes = played(plans, make_agent("minimax", seed=0))

    def swapped(episode):
        return episode._replace(
            roles=episode.roles[::-1],
            outcome=replace(episode.outcome, returns=episode.outcome.returns[::-1]),
            turns=tuple(turn._replace(seat=1 - turn.seat) for turn in episode.turns),
        )

    other_plans = [plan._replace(learner_seats=(1 - plan.learner_seats[0],)) for plan in plans]
    assert pooled_results(other_plans, list(map(swapped, episodes))) == pooled_results(plans, episodes)
    assert seat_results(other_plans, list(map(swapped, episodes))) != seat_results(plans, episodes)


def test_the_order_of_the_pairs_does_not_matter():
    plans = plan_evaluation([KUHN], ["random"], pairs=6, seed=2)
    episodes = played(plans, Folder())
    assert pooled_results(plans[::-1], episodes[::-1]) == pooled_results(plans, episodes)


def test_episodes_that_are_not_the_plan_are_refused():
    plans = plan_evaluation([KUHN], ["random"], pairs=2, seed=2)
    episodes = played(plans, Folder())
    with pytest.raises(ValueError, match=r"game 0 of the evaluation is .* but the episode is"):
        seat_results(plans, episodes[::-1])
    with pytest.raises(ValueError, match="was not played once from every seat"):
        pooled_results(plans[:3], episodes[:3])
