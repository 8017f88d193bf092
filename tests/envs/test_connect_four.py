"""Connect four by hand, by published counts and values, and against OpenSpiel."""

import pickle
import random

import pyspiel
import pytest

from spiral_envs import TERMINAL, IllegalMoveError, MalformedMoveError, check_game, find_game, make_match
from spiral_envs.agents.minimax import optimal_moves
from spiral_envs.games.connect_four import MARKS, SPEC, ConnectFourState, configure
from spiral_envs.tree import count_nodes

GAME, CODEC = SPEC.game, SPEC.codec


def after(*columns, spec=SPEC):
    """Returns the position after discs in `columns`, X first."""
    state = spec.game.initial_state()
    for column in columns:
        state = spec.game.next_state(state, column)
    return state


def drawn(*rows, player):
    """Returns the position of the standard board that `rows` draw, the highest first."""
    stones = [0, 0]
    for height, row in enumerate(reversed(rows)):
        for column, mark in enumerate(row):
            if mark != ".":
                stones[MARKS.index(mark)] |= 1 << (8 * height + column)
    return ConnectFourState(stones[0], stones[1], player)


@pytest.mark.parametrize(
    ("columns", "winner"),
    [
        ((0, 0, 1, 1, 2, 2, 3), 0),
        ((3, 3, 4, 4, 5, 5, 6), 0),
        ((6, 0, 6, 0, 6, 0, 5, 0), 1),
        ((2, 3, 2, 3, 2, 3, 2), 0),
        ((0, 1, 1, 2, 2, 3, 2, 3, 3, 6, 3), 0),
        ((6, 5, 5, 4, 4, 3, 4, 3, 3, 0, 3), 0),
        ((0, 6, 1, 6, 3, 6, 2), 0),
    ],
    ids=["row on the left", "row on the right", "column of O", "column", "diagonal up", "diagonal down", "filled gap"],
)
def test_four_in_a_row_win_at_once(columns, winner):
    assert GAME.to_move(after(*columns[:-1])) == winner
    state = after(*columns)
    assert GAME.to_move(state) == TERMINAL
    assert GAME.legal_moves(state) == ()
    assert GAME.returns(state) == ((1.0, -1.0), (-1.0, 1.0))[winner]


def test_a_position_can_be_drawn():
    assert drawn("...O...", "...XX..", player=1) == after(3, 3, 4)


def test_a_drawn_position_is_the_same_as_one_that_was_played_to():
    played, by_hand = after(3, 3, 4), drawn("...O...", "...XX..", player=1)
    assert not played != by_hand  # noqa: SIM202 - a tuple answers this apart from equality
    assert hash(played) == hash(by_hand)
    assert played != by_hand._replace(player=0)
    assert played != tuple(by_hand)
    assert pickle.loads(pickle.dumps(played)) == played
    for seat in range(2):
        assert CODEC.observe(by_hand, seat) == CODEC.observe(played, seat)
        following = GAME.next_state(by_hand, 6), GAME.next_state(played, 6)
        assert CODEC.observe(following[0], seat) == CODEC.observe(following[1], seat)


@pytest.mark.parametrize(
    "rows",
    [
        # X in the left corner of the second row goes on from where the first row ends.
        ("O...XXX",),
        # Four cells that lie on a diagonal when the board is wound around a cylinder.
        ("X......", "O.....X", "O....X.", "O...X.."),
    ],
)
def test_a_line_does_not_run_on_from_one_side_into_the_other(rows):
    assert GAME.to_move(GAME.next_state(drawn(*rows, player=0), 0)) == 1


def test_a_line_of_more_than_four_wins():
    # X fills the gap of three and three.
    state = after(0, 0, 1, 1, 2, 2, 4, 4, 5, 5, 6, 6, 3)
    assert GAME.returns(state) == (1.0, -1.0)


def test_a_full_board_without_a_line_is_a_draw():
    # Two columns of three rows: nothing can hold three in a row but a column, and none does.
    spec = configure(rows=3, columns=2, in_a_row=3)
    state = after(0, 0, 1, 1, 1, 0, spec=spec)
    assert spec.game.to_move(state) == TERMINAL
    assert spec.game.returns(state) == (0.0, 0.0)
    assert spec.codec.observe(state, 0) == "Board:\n 0 1\n O X\n O O\n X X\nYou play X. The game is a draw."


def test_a_line_with_the_last_disc_wins():
    spec = configure(rows=2, columns=3, in_a_row=3)
    # X X O below, X and O above the first two columns, and O to move.
    state = ConnectFourState(0b010011, 0b100100, 1)
    assert spec.codec.observe(state, 1).startswith("Board:\n 0 1 2\n X O .\n X X O\n")
    full = spec.game.next_state(state, 2)
    assert spec.game.to_move(full) == TERMINAL
    assert spec.game.returns(full) == (0.0, 0.0)
    # The same with O above the first two columns.
    state = ConnectFourState(0b000011, 0b110100, 1)
    assert spec.game.returns(spec.game.next_state(state, 2)) == (-1.0, 1.0)


def test_a_full_column_is_closed():
    state = after(3, 3, 3, 3, 3, 3)
    assert GAME.legal_moves(state) == (0, 1, 2, 4, 5, 6)
    with pytest.raises(IllegalMoveError, match="column 3 is full"):
        GAME.next_state(state, 3)


def test_equal_legal_moves_are_one_object():
    assert GAME.legal_moves(after(0)) is GAME.legal_moves(after(1, 2, 3))


def test_the_number_of_positions_after_each_ply_is_known():
    # OEIS A212693, John Tromp: legal 7 x 6 Connect-Four positions after n plies.
    known = (1, 7, 49, 238, 1120, 4263, 16422, 54859)
    states = {GAME.initial_state()}
    counts = [1]
    while len(counts) < len(known):
        states = {GAME.next_state(state, move) for state in states for move in GAME.legal_moves(state)}
        counts.append(len(states))
    assert tuple(counts) == known


@pytest.mark.parametrize(
    ("columns", "rows", "known"),
    # The table of John's Connect Four Playground, width by height.
    [(4, 2, 741), (5, 2, 4688), (6, 2, 29737), (4, 3, 12031), (2, 4, 179), (2, 5, 537), (3, 4, 6000), (3, 5, 38310)],
)
def test_small_boards_have_their_known_numbers_of_positions(columns, rows, known):
    game = configure(rows=rows, columns=columns).game
    found, waiting = {game.initial_state()}, [game.initial_state()]
    while waiting:
        state = waiting.pop()
        following = {game.next_state(state, move) for move in game.legal_moves(state)} - found
        found |= following
        waiting += following
    assert len(found) == known


def test_the_number_of_games_on_four_columns_of_three_is_known():
    # OEIS A342329, Robin Jehn: different games of Connect Four on an (n+1) x n board.
    assert count_nodes_at_the_end(configure(rows=3, columns=4).game) == 356_232


def count_nodes_at_the_end(game):
    """Returns how many games there are, counting every position's once."""
    known = {}

    def games(state):
        if game.to_move(state) == TERMINAL:
            return 1
        if state not in known:
            known[state] = sum(games(game.next_state(state, move)) for move in game.legal_moves(state))
        return known[state]

    return games(game.initial_state())


def test_the_tree_can_be_counted():
    counts = count_nodes("connect_four_v0", rows=2, columns=4)
    # A position is an information set of its own, and 741 positions are known (John Tromp).
    assert counts.states == 741
    assert counts.chance == 0


def test_four_by_four_is_a_draw():
    spec = find_game("connect_four_v0", rows=4, columns=4)
    value, moves = optimal_moves(spec, spec.game.initial_state())
    # The table of John's Connect Four Playground: a tie.
    assert value == 0
    # A board that is its own mirror image has moves that are.
    assert moves == tuple(3 - move for move in reversed(moves))


def can_force(game, state, seat, known):
    """Whether `seat` can win from `state` whatever the other does."""
    player = game.to_move(state)
    if player == TERMINAL:
        return game.returns(state)[seat] > 0
    if state not in known:
        choose = any if player == seat else all
        known[state] = choose(
            can_force(game, game.next_state(state, move), seat, known) for move in game.legal_moves(state)
        )
    return known[state]


@pytest.mark.parametrize("seat", [0, 1])
def test_nobody_can_force_a_win_on_four_rows_of_five(seat):
    # The table of John's Connect Four Playground: a tie.
    game = configure(rows=4, columns=5).game
    assert not can_force(game, game.initial_state(), seat, {})


@pytest.mark.parametrize("options", [{}, {"rows": 4, "columns": 5, "in_a_row": 3}, {"rows": 7, "columns": 9}])
def test_openspiel_agrees_on_random_games(options):
    spec = configure(**options)
    rows, columns, in_a_row = (options.get(name, size) for name, size in (("rows", 6), ("columns", 7), ("in_a_row", 4)))
    theirs_game = pyspiel.load_game(f"connect_four(rows={rows},columns={columns},x_in_row={in_a_row})")
    rng = random.Random(0)
    for _ in range(200):
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
        drawn = spec.codec.observe(state, 0).splitlines()[2:-1]
        assert [line.replace(" ", "").lower() for line in drawn] == str(theirs).split()


def test_the_board_is_drawn_below_the_numbers_of_the_columns():
    state = after(3, 3, 4)
    board = (
        "Board:\n 0 1 2 3 4 5 6\n . . . . . . .\n . . . . . . .\n . . . . . . .\n . . . . . . .\n"
        " . . . O . . .\n . . . X X . .\n"
    )
    assert CODEC.observe(state, 1) == f"{board}You play O. It is your turn."
    assert CODEC.observe(state, 0) == f"{board}You play X. O is to move."


def test_the_end_is_told_to_each_seat():
    won = after(0, 1, 0, 1, 0, 1, 0)
    assert CODEC.observe(won, 0).endswith("You play X. You have won.")
    assert CODEC.observe(won, 1).endswith("You play O. You have lost.")


def test_the_rules_name_the_mark_the_board_and_who_moves_first():
    assert CODEC.rules(0).startswith("You play X in a game of connect four against O. X moves first, so you move first")
    assert "so you move second." in CODEC.rules(1)
    assert "6 rows and 7 columns, numbered 0 to 6" in CODEC.rules(0)
    assert "You win with 4 X side by side" in CODEC.rules(0)
    assert CODEC.rules(0).endswith("such as [3].")
    assert "You win with 3 O side by side" in configure(rows=4, columns=2, in_a_row=3).codec.rules(1)
    assert configure(rows=4, columns=2).codec.rules(1).endswith("such as [1].")


@pytest.mark.parametrize("text", ["[3]", "3", " [ 3 ] ", "[03]"])
def test_a_column_is_read_with_or_without_brackets(text):
    assert CODEC.parse_move(after(), text) == 3


@pytest.mark.parametrize("text", ["", "[]", "[three]", "[-1]", "[3.0]", "[[3]]", "[3] [4]", "[３]", "[1000]", "x3"])
def test_what_is_no_number_is_malformed(text):
    with pytest.raises(MalformedMoveError, match=r"expected a column such as \[3\]"):
        CODEC.parse_move(after(), text)


@pytest.mark.parametrize(
    ("columns", "move", "why"),
    [
        ((2,) * 6, "[2]", "column 2 is full"),
        ((), "[7]", "columns are 0 to 6"),
        ((0, 1, 0, 1, 0, 1, 0), "[4]", "the game is over"),
    ],
)
def test_an_illegal_column_says_why(columns, move, why):
    with pytest.raises(IllegalMoveError) as error:
        CODEC.parse_move(after(*columns), move)
    assert str(error.value) == f"illegal move {move} in connect_four: {why}"
    with pytest.raises(IllegalMoveError) as error:
        GAME.next_state(after(*columns), int(move[1:-1]))
    assert str(error.value) == f"illegal move {move} in connect_four: {why}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 1}, "option rows of connect_four is 1: expected an integer from 2 to 10"),
        ({"columns": 11}, "option columns of connect_four is 11: expected an integer from 2 to 10"),
        ({"columns": "7"}, "option columns of connect_four is '7': expected an integer from 2 to 10"),
        ({"rows": True}, "option rows of connect_four is True: expected an integer from 2 to 10"),
        (
            {"in_a_row": 8},
            (
                "option in_a_row of connect_four is 8 (default 4): expected an integer from 3 to 7,"
                " since the longer side of the board is 7"
            ),
        ),
        (
            {"rows": 3, "columns": 2},
            "option in_a_row of connect_four is 4 (default 4): expected 3, since the longer side of the board is 3",
        ),
        (
            {"rows": 2, "columns": 2},
            (
                "options rows and columns of connect_four are 2 and 2: expected at least one from 3 to 10,"
                " since a line has at least 3 discs"
            ),
        ),
    ],
)
def test_an_option_out_of_range_says_the_range(options, message):
    with pytest.raises(ValueError, match="option") as error:
        find_game("connect_four_v0", **options)
    assert str(error.value) == message


def test_another_board_breaks_no_law():
    check_game(configure(rows=4, columns=5, in_a_row=3), num_matches=5)


def test_options_can_be_written_into_the_id():
    match = make_match("connect_four_v0(rows=4,columns=5)", seed=0)
    assert match.game == "connect_four_v0(columns=5,rows=4)"
    assert match.view(0).legal_moves == ("[0]", "[1]", "[2]", "[3]", "[4]")


def test_the_discrete_form_shows_the_board_from_above():
    spec = configure(rows=2, columns=3, in_a_row=3)
    form = spec.discrete
    assert form is not None
    assert (form.moves, form.shape) == ((0, 1, 2), (4, 2, 3))
    state = after(1, 1, 2, spec=spec)
    # . O . above . X X, with O to move.
    x, o, empty = (0, 0, 0, 0, 1, 1), (0, 1, 0, 0, 0, 0), (1, 0, 1, 1, 0, 0)
    assert form.features(state, 0) == (*x, *o, *empty, *(0,) * 6)
    assert form.features(state, 1) == (*o, *x, *empty, *(1,) * 6)
