"""Tic-tac-toe by hand and against OpenSpiel."""

import copy
import pickle
import random
from functools import cache
from operator import itemgetter

import pyspiel
import pytest

from spiral_envs import TERMINAL, IllegalMoveError, MalformedMoveError, check_game, find_game, make_match
from spiral_envs.agents.minimax import optimal_moves
from spiral_envs.games.tic_tac_toe import LINES, Mark, TicTacToeState, configure
from spiral_envs.tree import count_nodes

SPEC = find_game("tic_tac_toe_v0")
GAME, CODEC = SPEC.game, SPEC.codec


def after(*cells, spec=SPEC):
    """Returns the position after marks in `cells`, X first."""
    state = spec.game.initial_state()
    for cell in cells:
        state = spec.game.next_state(state, cell)
    return state


def drawn(*rows):
    """Returns the position that `rows` draw, whoever could have played it."""
    marks = {"X": Mark.X, "O": Mark.O, ".": Mark.EMPTY}
    return TicTacToeState(tuple(marks[mark] for row in rows for mark in row))


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


def test_a_state_is_its_board_of_marks():
    assert after(4, 0) == TicTacToeState((Mark.O, *(Mark.EMPTY,) * 3, Mark.X, *(Mark.EMPTY,) * 4))


def test_equal_legal_moves_are_one_object():
    assert GAME.legal_moves(after(0, 1, 2)) is GAME.legal_moves(after(2, 1, 0))
    assert GAME.legal_moves(after(0, 1, 2)) is GAME.legal_moves(after(1, 0, 2))


FOUR_OF_FIVE = configure(rows=4, columns=5, in_a_row=4)


@pytest.mark.parametrize(
    ("cells", "is_line"),
    [
        ((0, 1, 2, 3), True),
        ((16, 17, 18, 19), True),
        # Over the edge: the last cells of a row and the first of the next.
        ((2, 3, 4, 5), False),
        ((4, 9, 14, 19), True),
        ((0, 6, 12, 18), True),
        ((1, 7, 13, 19), True),
        ((3, 7, 11, 15), True),
        ((4, 8, 12, 16), True),
        # Diagonals of a board that is wound around a cylinder.
        ((2, 8, 14, 15), False),
        ((2, 6, 10, 14), False),
        ((0, 1, 3, 4), False),
        ((0, 1, 2, 8), False),
    ],
)
def test_four_of_four_by_five_make_a_line(cells, is_line):
    board = [["."] * 5 for _ in range(4)]
    for cell in cells:
        board[cell // 5][cell % 5] = "O"
    state = drawn(*board)
    assert FOUR_OF_FIVE.game.returns(state) == ((-1.0, 1.0) if is_line else (0.0, 0.0))
    assert (FOUR_OF_FIVE.game.to_move(state) == TERMINAL) == is_line


def test_a_longer_line_wins_as_well():
    spec = configure(rows=3, columns=5)
    assert spec.game.returns(after(0, 10, 1, 11, 3, 13, 4, 14, 2, spec=spec)) == (1.0, -1.0)
    # Whoever has four in a row has three.
    assert spec.game.to_move(drawn("XXXX.", "OO.O.", ".....")) == TERMINAL


def test_a_line_can_be_as_long_as_the_longer_side():
    spec = configure(rows=3, columns=19, in_a_row=19)
    others = [cell for cell in range(19, 57) if cell % 2][:18]
    moves = [cell for pair in zip(range(18), others, strict=True) for cell in pair]
    assert spec.game.to_move(after(*moves, spec=spec)) == 0
    assert spec.game.returns(after(*moves, 18, spec=spec)) == (1.0, -1.0)


@pytest.mark.parametrize(
    "size", [(4, 4, 4), (3, 5, 3), (6, 3, 4), (10, 10, 5), (15, 15, 5)], ids=lambda size: "x".join(map(str, size))
)
def test_openspiel_agrees_on_random_games_of_other_sizes(size):
    rows, columns, in_a_row = size
    spec = configure(rows=rows, columns=columns, in_a_row=in_a_row)
    theirs_game = pyspiel.load_game(f"mnk(m={columns},n={rows},k={in_a_row})")
    rng = random.Random(0)
    for _ in range(2000 // (rows * columns)):
        state, theirs = spec.game.initial_state(), theirs_game.new_initial_state()
        while not theirs.is_terminal():
            assert spec.game.to_move(state) == theirs.current_player()
            assert list(spec.game.legal_moves(state)) == theirs.legal_actions()
            assert spec.game.returns(state) == (0.0, 0.0)
            move = rng.choice(theirs.legal_actions())
            state = spec.game.next_state(state, move)
            theirs.apply_action(move)
        assert spec.game.to_move(state) == TERMINAL
        assert list(spec.game.returns(state)) == theirs.returns()


# The values of m,n,k-games: Uiterwijk and van den Herik, The advantage of the initiative, 2000.


def test_the_first_player_wins_three_in_a_row_on_three_by_four():
    spec = find_game("tic_tac_toe_v0", rows=4, columns=3)
    value, moves = optimal_moves(spec, spec.game.initial_state())
    assert value == 1
    # The board is its own mirror image left to right and top to bottom, and so are its winning moves.
    assert {(3 - cell // 3) * 3 + cell % 3 for cell in moves} == set(moves)
    assert {cell // 3 * 3 + 2 - cell % 3 for cell in moves} == set(moves)


def can_force(spec, seat):
    """Whether `seat` can win whatever the other does."""
    game = spec.game

    @cache
    def wins(state):
        player = game.to_move(state)
        if player == TERMINAL:
            return game.returns(state)[seat] > 0
        return (any if player == seat else all)(wins(game.next_state(state, move)) for move in game.legal_moves(state))

    return wins(game.initial_state())


@pytest.mark.parametrize(("rows", "columns"), [(3, 4), (3, 5), (4, 4)])
def test_the_first_player_can_force_three_in_a_row_on_larger_boards(rows, columns):
    assert can_force(configure(rows=rows, columns=columns), 0)


@pytest.mark.parametrize("seat", [0, 1])
def test_nobody_can_force_four_in_a_row_on_three_by_four(seat):
    assert not can_force(configure(rows=3, columns=4, in_a_row=4), seat)


@pytest.mark.slow
@pytest.mark.parametrize("seat", [0, 1])
def test_four_by_four_by_four_is_a_draw(seat):
    game = configure(rows=4, columns=4, in_a_row=4).game
    rows = [list(range(start, start + 4)) for start in range(0, 16, 4)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    lines = [itemgetter(*line) for line in (*rows, *columns, (0, 5, 10, 15), (3, 6, 9, 12))]
    # The board turned and mirrored.
    images = [
        itemgetter(*(cell for row in image[::step] for cell in row[::other_step]))
        for image in (rows, columns)
        for step in (1, -1)
        for other_step in (1, -1)
    ]
    blocking = Mark(1 - seat)
    known = {}

    def wins(state):
        key = min(image(state.board) for image in images)
        if key not in known:
            player = game.to_move(state)
            if player == TERMINAL:
                known[key] = game.returns(state)[seat] > 0
            elif all(blocking in line(state.board) for line in lines):
                known[key] = False
            else:
                choose = any if player == seat else all
                known[key] = choose(wins(game.next_state(state, move)) for move in game.legal_moves(state))
        return known[key]

    assert not wins(game.initial_state())


def test_a_larger_board_is_drawn_with_aligned_numbers():
    spec = FOUR_OF_FIVE
    state = after(12, 0, 19, spec=spec)
    assert spec.codec.observe(state, 1) == (
        "Board:\n  O  1  2  3  4\n  5  6  7  8  9\n 10 11  X 13 14\n 15 16 17 18  X\nYou play O. It is your turn."
    )
    wide = configure(rows=11, columns=10, in_a_row=5)
    lines = wide.codec.observe(after(109, spec=wide), 0).splitlines()
    assert lines[1] == "   0   1   2   3   4   5   6   7   8   9"
    assert lines[11] == " 100 101 102 103 104 105 106 107 108   X"


def test_the_rules_of_a_larger_board_say_its_size():
    rules = FOUR_OF_FIVE.codec.rules(1)
    assert "The board has 4 rows of 5 cells, numbered 0 to 19 row by row" in rules
    assert "You win with 4 O side by side in a row, column or diagonal; you lose if X gets 4 first;" in rules


def test_the_rules_of_the_standard_board_are_the_same_text_as_ever():
    assert CODEC.rules(0) == (
        "You play X in a game of tic-tac-toe against O. X moves first, so you move first.\n"
        "The board has nine cells, numbered 0 to 8 row by row from the top left. Players take turns to put their mark"
        " on an empty cell. You win with three X in a row, column or diagonal; you lose if O gets three first; a full"
        " board without such a line is a draw.\n"
        "Your move is the number of an empty cell in square brackets, such as [4]."
    )
    assert find_game("tic_tac_toe_v0", rows=3, columns=3, in_a_row=3) is SPEC


def test_cells_of_a_larger_board_have_up_to_three_digits():
    spec = configure(rows=19, columns=19, in_a_row=5)
    assert spec.codec.parse_move(after(spec=spec), "[360]") == 360
    with pytest.raises(IllegalMoveError, match=r"illegal move \[361\] in tic_tac_toe: cells are 0 to 360"):
        spec.codec.parse_move(after(spec=spec), "[361]")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 2}, "option rows of tic_tac_toe is 2: expected an integer from 3 to 19"),
        ({"columns": 20}, "option columns of tic_tac_toe is 20: expected an integer from 3 to 19"),
        ({"rows": 4.0}, "option rows of tic_tac_toe is 4.0: expected an integer from 3 to 19"),
        ({"columns": True}, "option columns of tic_tac_toe is True: expected an integer from 3 to 19"),
        (
            {"in_a_row": 4},
            "option in_a_row of tic_tac_toe is 4: expected an integer from 3 to 3, the longer side of the board",
        ),
        (
            {"rows": 5, "in_a_row": 2},
            "option in_a_row of tic_tac_toe is 2: expected an integer from 3 to 5, the longer side of the board",
        ),
    ],
)
def test_an_option_out_of_range_says_the_range(options, message):
    with pytest.raises(ValueError, match="option") as error:
        find_game("tic_tac_toe_v0", **options)
    assert str(error.value) == message


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="unknown option of tic_tac_toe_v0 'size'"):
        find_game("tic_tac_toe_v0", size=4)


def test_another_board_breaks_no_law():
    check_game(configure(rows=4, columns=4, in_a_row=4), num_matches=3)


def test_a_match_on_another_board_can_be_copied():
    match = make_match("tic_tac_toe_v0(rows=4,columns=5,in_a_row=4)", seed=0)
    match.submit("[7]")
    for twin in (copy.deepcopy(match), pickle.loads(pickle.dumps(match))):
        assert twin.view(1) == match.view(1)
        twin.submit("[8]")
        assert twin.view(0).observation.splitlines()[2] == "  5  6  X  O  9"
    assert match.view(1).legal_moves == tuple(f"[{cell}]" for cell in range(20) if cell != 7)


def test_the_discrete_form_shows_the_planes_of_the_board():
    form = SPEC.discrete
    assert form is not None
    assert (form.moves, form.shape) == (tuple(range(9)), (4, 3, 3))
    state = after(4, 0, 8)
    x, o = (0, 0, 0, 0, 1, 0, 0, 0, 1), (1, 0, 0, 0, 0, 0, 0, 0, 0)
    empty = (0, 1, 1, 1, 0, 1, 1, 1, 0)
    assert form.features(state, 0) == (*x, *o, *empty, *(0,) * 9)
    assert form.features(state, 1) == (*o, *x, *empty, *(1,) * 9)
    larger = FOUR_OF_FIVE.discrete
    assert larger is not None
    assert (larger.moves, larger.shape) == (tuple(range(20)), (4, 4, 5))
    assert larger.features(after(7, spec=FOUR_OF_FIVE), 1)[20:40] == (*(0,) * 7, 1, *(0,) * 12)
