"""What moves give up: against theory, against exact search, and by hand."""

import random
from functools import reduce
from operator import xor

import pytest

from spiral_envs import find_game
from spiral_envs.agents.minimax import move_values
from spiral_envs.games.nim import NimState, Take
from spiral_envs.regret import Bounds, Judgement, MoveJudge, Verdict, judge

NIM = find_game("nim_v0")
TIC_TAC_TOE = find_game("tic_tac_toe_v0")
CONNECT_FOUR = find_game("connect_four_v0")


def after(spec, *moves):
    state = spec.game.initial_state()
    for move in moves:
        state = spec.game.next_state(state, spec.codec.parse_move(state, move))
    return state


def random_states(spec, number, *, seed):
    rng = random.Random(seed)
    while number:
        state = spec.game.initial_state()
        for _ in range(rng.randrange(spec.game.max_plies)):
            if spec.game.to_move(state) < 0:
                break
            state = spec.game.next_state(state, rng.choice(spec.game.legal_moves(state)))
        if spec.game.to_move(state) >= 0:
            number -= 1
            yield state


@pytest.mark.parametrize("depth", [None, 16])
def test_moves_of_nim_are_judged_as_bouton_does(depth):
    # Bouton 1901: a move wins exactly when it leaves piles whose exclusive or is 0.
    move_judge = MoveJudge(NIM, depth=depth)
    for piles in [(1, 3, 5, 7), (1, 3, 5, 6), (0, 2, 2, 3), (1, 1, 1, 0), (0, 0, 5, 5)]:
        state = NimState(piles, 1)
        for move, bounds in move_judge.bounds(state).items():
            left = NIM.game.next_state(state, move).piles
            value = 1.0 if reduce(xor, left) == 0 else -1.0
            assert bounds == Bounds(value, value), (piles, move)


def test_a_lost_position_has_no_mistakes_and_a_won_one_costs_the_whole_way():
    move_judge = MoveJudge(NIM)
    lost = move_judge.bounds(NimState((1, 3, 5, 7), 0))
    assert {judge(lost, move) for move in lost} == {Judgement(Verdict.OPTIMAL, 0.0)}
    won = move_judge.bounds(NimState((1, 3, 5, 6), 0))
    # 1, 3, 5 and 6 have the exclusive or 1: it takes one object from an odd pile.
    best = [move for move in won if judge(won, move).verdict is Verdict.OPTIMAL]
    assert best == [Take(0, 1), Take(1, 1), Take(2, 1)]
    assert judge(won, Take(3, 6)) == Judgement(Verdict.MISTAKE, 2.0)


def test_a_blunder_in_tic_tac_toe_costs_what_it_costs():
    move_judge = MoveJudge(TIC_TAC_TOE)
    # X in the centre: O draws in a corner and loses on an edge.
    bounds = move_judge.bounds(after(TIC_TAC_TOE, "[4]"))
    parse = {TIC_TAC_TOE.codec.format_move(move): move for move in bounds}
    assert judge(bounds, parse["[0]"]) == Judgement(Verdict.OPTIMAL, 0.0)
    assert judge(bounds, parse["[1]"]) == Judgement(Verdict.MISTAKE, 1.0)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_bounds_by_depth_hold_the_exact_value(depth):
    move_judge = MoveJudge(TIC_TAC_TOE, depth=depth)
    num_proven = 0
    for state in random_states(TIC_TAC_TOE, 60, seed=depth):
        bounds = move_judge.bounds(state)
        for move, value in move_values(TIC_TAC_TOE, state).items():
            assert bounds[move].low <= value <= bounds[move].high
            num_proven += bounds[move].low == bounds[move].high
    assert num_proven > 0


def test_a_search_to_the_end_is_exact():
    move_judge = MoveJudge(TIC_TAC_TOE, depth=9)
    for state in random_states(TIC_TAC_TOE, 40, seed=7):
        exact = {move: Bounds(value, value) for move, value in move_values(TIC_TAC_TOE, state).items()}
        assert move_judge.bounds(state) == exact


def test_what_the_horizon_hides_is_neither_right_nor_wrong():
    start = CONNECT_FOUR.game.initial_state()
    shallow = MoveJudge(CONNECT_FOUR, depth=2).bounds(start)
    assert set(shallow.values()) == {Bounds(-1.0, 1.0)}
    assert judge(shallow, 3) == Judgement(Verdict.UNPROVEN, None)

    # X has three in the bottom row with an open end on the right, and wins by column 3 at once.
    winning = after(CONNECT_FOUR, "[0]", "[0]", "[1]", "[1]", "[2]", "[2]")
    bounds = MoveJudge(CONNECT_FOUR, depth=1).bounds(winning)
    assert bounds[3] == Bounds(1.0, 1.0)
    assert judge(bounds, 3) == Judgement(Verdict.OPTIMAL, 0.0)
    assert judge(bounds, 6) == Judgement(Verdict.UNDECIDED, None)

    # O must block column 3: everything else loses in two plies, and what the block is worth is not seen.
    threatened = after(CONNECT_FOUR, "[0]", "[0]", "[1]", "[1]", "[2]")
    bounds = MoveJudge(CONNECT_FOUR, depth=2).bounds(threatened)
    assert {move: bound for move, bound in bounds.items() if move != 3} == dict.fromkeys(
        (0, 1, 2, 4, 5, 6), Bounds(-1.0, -1.0)
    )
    assert judge(bounds, 3) == judge(bounds, 4) == Judgement(Verdict.UNPROVEN, None)


@pytest.mark.slow
def test_small_connect_four_is_solved_whole():
    # John Tromp's table of board sizes: on 4x4 nobody wins.
    spec = find_game("connect_four_v0", rows=4, columns=4)
    bounds = MoveJudge(spec).bounds(spec.game.initial_state())
    assert max(bound.low for bound in bounds.values()) == max(bound.high for bound in bounds.values()) == 0.0


@pytest.mark.parametrize("game", ["kuhn_poker_v0", "rock_paper_scissors_v0"])
def test_games_of_another_kind_are_refused(game):
    with pytest.raises(ValueError, match="perfect information"):
        MoveJudge(find_game(game))


def test_chance_and_depths_below_one_are_refused():
    with pytest.raises(ValueError, match="expected an integer from 1"):
        MoveJudge(NIM, depth=0)
    spec = find_game("pig_dice_v0")
    state = spec.game.initial_state()
    with pytest.raises(ValueError, match="chance moves"):
        MoveJudge(spec, depth=3).bounds(state)
