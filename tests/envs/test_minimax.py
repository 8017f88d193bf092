"""The agent that searches: by depth, with chance, and where it gives up. Whole small games are in test_agents.py."""

import math
import random
from dataclasses import replace

import pytest

from spiral_envs import CHANCE, TERMINAL, GameSpec, find_game, make_agent, make_match, play
from spiral_envs.agents import minimax
from spiral_envs.agents.minimax import MinimaxAgent, best_moves, move_values, optimal_moves
from spiral_envs.games import breakthrough, connect_four, pig_dice
from spiral_envs.match import make_view

TIC_TAC_TOE = find_game("tic_tac_toe_v0")


def after(spec, *moves):
    state = spec.game.initial_state()
    for move in moves:
        state = spec.game.next_state(state, move)
    return state


def random_positions(spec, *, num_games, seed):
    rng, positions = random.Random(seed), []
    for _ in range(num_games):
        state = spec.game.initial_state()
        while spec.game.to_move(state) != TERMINAL:
            positions.append(state)
            state = spec.game.next_state(state, rng.choice(spec.game.legal_moves(state)))
    return positions


def brute_force(spec, state, plies, evaluate):
    """Returns the value to seat 0 by plain minimax: no bounds, no memory."""
    game = spec.game
    player = game.to_move(state)
    if player == TERMINAL:
        return game.returns(state)[0]
    if plies == 0:
        return evaluate(spec, state)
    values = [brute_force(spec, game.next_state(state, move), plies - 1, evaluate) for move in game.legal_moves(state)]
    return max(values) if player == 0 else min(values)


def test_a_search_to_the_end_finds_the_value_and_optimal_moves():
    opened = {state for state in random_positions(TIC_TAC_TOE, num_games=60, seed=1) if state != after(TIC_TAC_TOE)}
    replies = {after(TIC_TAC_TOE, cell) for cell in range(9)}
    for state in opened - replies:
        value, moves = optimal_moves(TIC_TAC_TOE, state)
        found, chosen = best_moves(TIC_TAC_TOE, state, depth=9)
        assert found == value
        assert set(chosen) <= set(moves)
        if value == 0:
            assert chosen == moves


@pytest.mark.parametrize("remembered", [minimax.MAX_REMEMBERED, 7])
def test_alpha_beta_agrees_with_plain_minimax_at_every_depth(monkeypatch, remembered):
    monkeypatch.setattr(minimax, "MAX_REMEMBERED", remembered)
    spec = connect_four.configure(rows=4, columns=4)

    def guess(spec, state):
        return (hash(str(spec.codec.observe(state, 0))[:40].count("X") * 7919 + len(state)) % 19 - 9) / 10

    for state in random_positions(spec, num_games=6, seed=2)[::3]:
        sign = 1 if spec.game.to_move(state) == 0 else -1
        for depth in (1, 2, 3, 4):
            value, moves = best_moves(spec, state, depth=depth, evaluate=guess)
            assert value == sign * brute_force(spec, state, depth, guess)
            if abs(value) < 1:
                successors = {move: spec.game.next_state(state, move) for move in spec.game.legal_moves(state)}
                assert moves == tuple(
                    move
                    for move, successor in successors.items()
                    if sign * brute_force(spec, successor, depth - 1, guess) == value
                )


def test_a_win_is_taken_at_once():
    # X has 0 and 4, O has 1 and 2: 8 wins at once, 3 and others win later.
    state = after(TIC_TAC_TOE, 0, 1, 4, 2)
    assert set(optimal_moves(TIC_TAC_TOE, state)[1]) > {8}
    assert best_moves(TIC_TAC_TOE, state, depth=5) == (1.0, (8,))


def test_a_lost_game_is_held_as_long_as_possible():
    # X has 0 and 4 and wins whatever O does, but only the block at 8 makes X wait.
    state = after(TIC_TAC_TOE, 0, 1, 4)
    assert len(optimal_moves(TIC_TAC_TOE, state)[1]) == 6
    assert best_moves(TIC_TAC_TOE, state, depth=6) == (-1.0, (8,))


def test_the_value_of_a_forced_move_is_searched_for():
    # White's only move lets Black capture and reach the last row: two plies later White has lost.
    spec = breakthrough.configure(rows=4, columns=2)
    state = breakthrough.BreakthroughState(9, 36, 0)
    (forced,) = spec.game.legal_moves(state)
    assert optimal_moves(spec, state) == (-1.0, (forced,))
    assert best_moves(spec, state, depth=1) == (0.0, (forced,))
    assert best_moves(spec, state, depth=60) == (-1.0, (forced,))


def test_the_agent_plays_a_forced_move_without_a_search(monkeypatch):
    spec = find_game("breakthrough_v0(rows=4,columns=2)")
    view = make_view(spec, breakthrough.BreakthroughState(9, 36, 0), 0, turn=0)
    monkeypatch.setattr(minimax, "best_moves", lambda *_, **__: pytest.fail("searched"))
    assert make_agent("minimax:60").act([view]) == list(view.legal_moves or ())
    with pytest.raises(ValueError, match="the minimax agent cannot play kuhn_poker_v0"):
        make_agent("minimax:60").act([view._replace(game="kuhn_poker_v0")])


def test_beyond_the_horizon_nothing_is_known():
    # X wins after 0 and 1, but not within two plies.
    state = after(TIC_TAC_TOE, 0, 1)
    assert best_moves(TIC_TAC_TOE, state, depth=2) == (0.0, (2, 3, 4, 5, 6, 7, 8))
    assert best_moves(TIC_TAC_TOE, state, depth=5) == (1.0, (3, 4, 6))


def test_an_evaluation_guides_where_the_plies_end():
    def likes_corner_8(spec, state):
        return 0.5 if "8" not in spec.codec.observe(state, 0) else 0.0

    assert best_moves(TIC_TAC_TOE, after(TIC_TAC_TOE), depth=1, evaluate=likes_corner_8) == (0.5, (8,))
    agent = MinimaxAgent(seed=0, depth=1, evaluate=likes_corner_8)
    assert agent.act([make_match("tic_tac_toe_v0", seed=0).view(0)]) == ["[8]"]


def test_a_search_by_depth_wins_at_connect_four():
    # Three in a row with both ends free wins in three plies.
    spec = connect_four.SPEC
    state = after(spec, 2, 2, 3, 3)
    assert best_moves(spec, state, depth=3) == (1.0, (1, 4))
    assert best_moves(spec, after(spec, 2, 2, 3, 3, 4), depth=4)[0] == -1.0


def test_pig_to_two_points_is_worth_what_hand_calculation_says():
    # The roller wins unless it rolls a 1: p = 5/6 + (1 - p)/6, so p = 6/7, and the return is 2p - 1.
    spec = pig_dice.configure(target=2, max_turns=60)
    roll, hold = spec.game.legal_moves(spec.game.initial_state())
    values = move_values(spec, spec.game.initial_state())
    assert values[roll] == pytest.approx(5 / 7)
    assert values[hold] == pytest.approx(-5 / 7)


# By hand: rolling and banking are two plies and win 5 times in 6; after a 1 the other side has one ply less left than
# before the roll. So v(1) = 0, v(2) = 5/6, and v(n) = 5/6 - v(n - 1)/6.
@pytest.mark.parametrize(("depth", "value"), [(1, 0.0), (2, 5 / 6), (3, 25 / 36), (4, 155 / 216)])
def test_chance_is_averaged_and_is_no_ply(depth, value):
    spec = pig_dice.configure(target=2, max_turns=60)
    assert best_moves(spec, spec.game.initial_state(), depth=depth)[0] == pytest.approx(value)


def test_too_many_positions_are_refused_and_name_the_way_out(monkeypatch):
    monkeypatch.setattr(minimax, "MAX_POSITIONS", 1000)
    # A copy, so that the game itself does not stay too large.
    spec, state = replace(TIC_TAC_TOE), after(TIC_TAC_TOE)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"cannot search tic_tac_toe_v0 whole.* 1,000 positions: .*minimax:DEPTH"):
            optimal_moves(spec, state)


def test_a_game_found_too_large_is_not_searched_again(monkeypatch):
    monkeypatch.setattr(minimax, "MAX_POSITIONS", 1000)
    spec, state = replace(TIC_TAC_TOE), after(TIC_TAC_TOE)
    with pytest.raises(ValueError, match="cannot search"):
        optimal_moves(spec, state)
    monkeypatch.setattr(minimax, "_value", lambda *_: pytest.fail("searched again"))
    with pytest.raises(ValueError, match="cannot search"):
        optimal_moves(spec, state)


@pytest.mark.parametrize(("budget", "depth"), [(0, 1), (9, 2), (9 + 81, 3)])
def test_a_search_stops_at_the_depth_that_fits(monkeypatch, budget, depth):
    asked = []
    monkeypatch.setattr(minimax, "MAX_POSITIONS", budget)

    class Recorded(minimax._AlphaBeta):
        def best_moves(self, state, plies):
            found = super().best_moves(state, plies)
            asked.append(plies)
            return found

    monkeypatch.setattr(minimax, "_AlphaBeta", Recorded)
    assert best_moves(TIC_TAC_TOE, after(TIC_TAC_TOE), depth=9)[0] == 0.0
    # The root is not counted; one ply needs none, two need the nine replies.
    assert asked == list(range(1, depth + 1))


class Countdown:
    """A game of one line: the players count down, whoever says 0 wins."""

    num_players = 2
    max_plies = 5000

    def initial_state(self):
        return self.max_plies

    def to_move(self, state):
        return state % 2 if state else TERMINAL

    def legal_moves(self, state):
        return (1,) if state else ()

    def chance_outcomes(self, state):
        return ()

    def next_state(self, state, move):
        return state - move

    def returns(self, state):
        return (0.0, 0.0) if state else (-1.0, 1.0)


def test_a_game_longer_than_pythons_stack_is_searched():
    spec = GameSpec(
        name="countdown",
        version=0,
        game=Countdown(),
        codec=TIC_TAC_TOE.codec,
        roles=("Even", "Odd"),
        return_range=(-1.0, 1.0),
        perfect_information=True,
    )
    assert optimal_moves(spec, 5000) == (-1.0, (1,))


@pytest.mark.parametrize("depth", [None, 3])
def test_games_of_other_kinds_are_refused(depth):
    for spec in (replace(TIC_TAC_TOE, zero_sum=False), find_game("kuhn_poker_v0")):
        search = optimal_moves if depth is None else lambda *args: best_moves(*args, depth=3)
        with pytest.raises(ValueError, match=r"cannot play .*: it needs two players, perfect information and returns"):
            search(spec, spec.game.initial_state())


def test_a_view_without_a_state_is_refused():
    view = make_match("tic_tac_toe_v0", seed=0).view(0)._replace(state=None)
    with pytest.raises(ValueError, match="the minimax agent cannot play tic_tac_toe_v0"):
        make_agent("minimax:3").act([view])


def test_a_state_of_chance_has_no_best_move():
    spec = pig_dice.configure(target=2)
    rolled = after(spec, spec.game.legal_moves(spec.game.initial_state())[0])
    assert spec.game.to_move(rolled) == CHANCE
    with pytest.raises(ValueError, match="no player is to move"):
        best_moves(spec, rolled, depth=1)


def test_equal_seeds_play_equally_and_a_batch_as_its_views_one_by_one():
    views = [make_match("tic_tac_toe_v0", seed=0).view(0)] * 30
    one_by_one = make_agent("minimax:2", seed=4)
    replies = make_agent("minimax:2", seed=4).act(views)
    assert replies == [reply for view in views for reply in one_by_one.act([view])]
    assert replies != make_agent("minimax:2", seed=5).act(views)


def test_four_plies_beat_random_at_tic_tac_toe():
    agents = [make_agent("minimax:4", seed=1), make_agent("random", seed=2)]
    returns = [
        episode.outcome.returns[0]
        for episode in play((make_match("tic_tac_toe_v0", seed=seed) for seed in range(100)), agents)
    ]
    # A best response to random play gets 0.9948.
    assert math.fsum(returns) / 100 > 0.9


def test_the_depth_is_in_the_name():
    assert make_agent("minimax:4").name == "minimax:4"
    assert make_agent("minimax").name == "minimax"


@pytest.mark.parametrize("text", ["minimax:", "minimax:0", "minimax:-1", "minimax:x", "minimax:1.5", "minimax:101"])
def test_a_depth_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=f"cannot read agent '{text}': expected minimax:DEPTH with DEPTH an integer"):
        make_agent(text)
    with pytest.raises(ValueError, match="the depth of a minimax agent is 0: expected an integer from 1"):
        MinimaxAgent(seed=0, depth=0)
