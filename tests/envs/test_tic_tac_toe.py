"""Tic-tac-toe by hand and against OpenSpiel."""

from functools import cache

import pyspiel
import pytest

from spiral_envs import TERMINAL, IllegalMoveError, MalformedMoveError, find_game
from spiral_envs.games.tic_tac_toe import LINES
from spiral_envs.tree import count_nodes

SPEC = find_game("tic_tac_toe_v0")
GAME, CODEC = SPEC.game, SPEC.codec


def after(*cells):
    """Returns the position after marks in `cells`, X first."""
    state = GAME.initial_state()
    for cell in cells:
        state = GAME.next_state(state, cell)
    return state


@pytest.mark.parametrize("line", LINES)
def test_three_in_a_row_win_at_once(line):
    first, second, third = line
    others = [cell for cell in range(9) if cell not in line]
    # O's two marks make no line of their own.
    state = after(first, others[0], second, others[1], third)
    assert GAME.to_move(state) == TERMINAL
    assert GAME.legal_moves(state) == ()
    assert GAME.returns(state) == (1.0, -1.0)


def test_o_wins_with_three_in_a_row():
    state = after(0, 3, 1, 4, 8, 5)
    assert GAME.to_move(state) == TERMINAL
    assert GAME.returns(state) == (-1.0, 1.0)


def test_a_full_board_without_a_line_is_a_draw():
    # X O X / X O O / O X X
    state = after(0, 1, 2, 4, 3, 5, 7, 6, 8)
    assert GAME.to_move(state) == TERMINAL
    assert GAME.returns(state) == (0.0, 0.0)


def test_a_line_on_the_last_cell_wins():
    # X O X / O X O / O X _ and X completes the diagonal.
    state = after(0, 1, 2, 3, 4, 5, 7, 6)
    assert GAME.legal_moves(state) == (8,)
    assert GAME.returns(GAME.next_state(state, 8)) == (1.0, -1.0)


def test_x_moves_first_and_the_marks_alternate():
    assert [GAME.to_move(after(*range(plies))) for plies in range(6)] == [0, 1, 0, 1, 0, 1]


def test_openspiel_agrees_on_every_history():
    def compare(state, theirs):
        if theirs.is_terminal():
            assert GAME.to_move(state) == TERMINAL
            assert list(GAME.returns(state)) == theirs.returns()
            return 1
        legal = GAME.legal_moves(state)
        assert GAME.to_move(state) == theirs.current_player()
        assert list(legal) == theirs.legal_actions()
        nodes = 1
        for move in legal:
            nodes += compare(GAME.next_state(state, move), theirs.child(move))
        return nodes

    # 549,946 histories, of which 255,168 are finished games (OpenSpiel; a classic count).
    assert compare(GAME.initial_state(), pyspiel.load_game("tic_tac_toe").new_initial_state()) == 549_946


def test_the_tree_has_its_known_size():
    counts = count_nodes("tic_tac_toe_v0")
    assert counts.states == 5_478
    assert (counts.chance, counts.decision, counts.terminal) == (0, 294_778, 255_168)
    # 4,520 positions are not finished: 5,478 less 958.
    assert counts.information_sets == 4_520


def test_two_random_players_win_and_draw_as_often_as_known():
    @cache
    def chances(state):
        if GAME.to_move(state) == TERMINAL:
            result = GAME.returns(state)[0]
            return (float(result > 0), float(result < 0), float(result == 0))
        children = [chances(GAME.next_state(state, move)) for move in GAME.legal_moves(state)]
        return tuple(sum(values) / len(children) for values in zip(*children, strict=True))

    # Exact: 737/1260, 121/420 and 8/63.
    assert chances(GAME.initial_state()) == pytest.approx((737 / 1260, 121 / 420, 8 / 63), abs=1e-12)
    assert chances(GAME.initial_state()) == pytest.approx((0.5849, 0.2881, 0.1270), abs=5e-5)


def test_the_board_shows_marks_and_the_numbers_of_empty_cells():
    state = after(4, 0)
    assert CODEC.observe(state, 0) == "Board:\n O 1 2\n 3 X 5\n 6 7 8\nYou play X. It is your turn."
    assert CODEC.observe(state, 1) == "Board:\n O 1 2\n 3 X 5\n 6 7 8\nYou play O. X is to move."


def test_the_end_is_told_to_each_seat():
    won = after(0, 3, 1, 4, 2)
    assert CODEC.observe(won, 0).endswith("You play X. You have won.")
    assert CODEC.observe(won, 1).endswith("You play O. You have lost.")
    drawn = after(0, 1, 2, 4, 3, 5, 7, 6, 8)
    assert CODEC.observe(drawn, 0).endswith("The game is a draw.")


def test_the_rules_name_the_mark_and_who_moves_first():
    assert CODEC.rules(0).startswith("You play X in a game of tic-tac-toe against O. X moves first, so you move first.")
    assert CODEC.rules(1).startswith(
        "You play O in a game of tic-tac-toe against X. X moves first, so you move second."
    )


@pytest.mark.parametrize("text", ["[4]", "4", " [ 4 ] ", "[04]"])
def test_a_cell_is_read_with_or_without_brackets(text):
    assert CODEC.parse_move(after(), text) == 4


@pytest.mark.parametrize("text", ["", "[]", "[four]", "[-1]", "[4.0]", "[[4]]", "[4] [5]", "[１]", "[1000]", "centre"])
def test_what_is_no_number_is_malformed(text):
    with pytest.raises(MalformedMoveError, match="expected a cell such as"):
        CODEC.parse_move(after(), text)


@pytest.mark.parametrize(
    ("cells", "move", "why"),
    [((4,), "[4]", "X is there"), ((), "[9]", "cells are 0 to 8"), ((0, 3, 1, 4, 2), "[8]", "the game is over")],
)
def test_an_illegal_cell_says_why(cells, move, why):
    with pytest.raises(IllegalMoveError) as error:
        CODEC.parse_move(after(*cells), move)
    assert str(error.value) == f"illegal move {move} in tic_tac_toe: {why}"
    with pytest.raises(IllegalMoveError):
        GAME.next_state(after(*cells), int(move[1:-1]))


def test_the_game_has_no_options():
    with pytest.raises(ValueError, match="unknown option of tic_tac_toe_v0 'size'"):
        find_game("tic_tac_toe_v0", size=4)
