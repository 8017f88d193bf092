"""Connect four: discs dropped into columns, four in a row.

Rules: players drop a disc in turn into a column that is not full, where it falls to the lowest free cell; the first
    with four of their own discs next to each other in a row, column or diagonal wins; a full board without such a
    line is a draw.
Players: X (seat 0, moves first) and O (seat 1).
Moves: the number of a column, 0 to 6 from the left: `[3]`.
Options: `rows` (default 6) and `columns` (default 7), the size of the board, each 2 to 10, the longer one at
    least 3; `in_a_row` (default 4), the length of a line, from 3 to the longer side: where that is 3 it must be given.
    A longer line wins as well.
Returns: +1 for the winner, -1 for the loser, 0 each for a draw.
Length: 7 to 42 plies; from 2·in_a_row - 1 to rows·columns plies with other options.
Known values: the first player wins, with the middle column as the only winning first move (Allen 1988, Allis 1988). The
    number of positions after 0, 1, 2, ... plies is 1, 7, 49, 238, 1120, 4263, 16422, 54859, 184275, ... (OEIS A212693).
    Four in a row on other boards: 4 rows are a draw with 4, 5 and 7 columns and won by the second player with 6; more
    sizes, and numbers of positions, are in John Tromp's tables (John's Connect Four Playground).
Source of the rules: Allis, A knowledge-based approach of connect-four, 1988.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

MIN_SIDE: Final = 2
MAX_SIDE: Final = 10
MIN_LINE: Final = 3

LINE: Final = 4
"""How long a line is unless an option says otherwise."""

MARKS: Final = ("X", "O")
"""The discs, by seat."""


class ConnectFourState(NamedTuple):
    """A position.

    The cells are bits, row by row from the bottom left; after every row one bit stays 0, so that no line runs on from
    one side of the board into the other.

    Attributes:
        x: The cells with a disc of X.
        o: The cells with a disc of O.
        player: The seat to move, or `TERMINAL`.
        board: How players see the discs. A disc changes one character of it, which is much faster than to draw it
            anew. It follows from the rest: it is not compared, and a state built by hand may leave it empty.
    """

    x: int
    o: int
    player: Player
    board: str = ""

    def __eq__(self, other: object) -> bool:
        """Returns whether both are the same position."""
        return isinstance(other, ConnectFourState) and self[:3] == other[:3]

    def __ne__(self, other: object) -> bool:
        """Returns whether they are different positions: a tuple's own answer would compare `board` as well."""
        return not self == other

    def __hash__(self) -> int:
        """Returns the hash of the position."""
        return hash(self[:3])


class Size(NamedTuple):
    """What the options say.

    Attributes:
        rows: The number of rows.
        columns: The number of columns.
        in_a_row: The length of a line.
    """

    rows: int
    columns: int
    in_a_row: int


_Drop: TypeAlias = tuple[int, int, int, frozenset[int], int, frozenset[int], int, frozenset[int], int, frozenset[int]]
"""Where a disc comes to rest: its cell, its place in `ConnectFourState.board`, and then for each of the four directions
the cells that can be in a line with it, and which of them a player may have when the disc completes a line."""


class ConnectFour:
    """The rules."""

    num_players = 2

    def __init__(self, size: Size) -> None:
        """Sets the board."""
        rows, columns, _ = size
        self._width = columns
        self.max_plies = rows * columns
        self._columns = tuple(_drops(size, column) for column in range(columns))
        self._full = sum(cells for cells, _ in self._columns)
        self._row = (1 << columns) - 1
        self._starts = tuple(range((rows - 1) * (columns + 1), -1, -columns - 1))
        self._top = self._starts[0]
        self._open = tuple(_open_columns(top_row, columns) for top_row in range(1 << columns))
        self._row_features = tuple(_row_features(cells, columns) for cells in range(1 << columns))
        self._shifts = _shifts(size)
        self._start = ConnectFourState(0, 0, 0, _drawn(0, 0, size))
        self._size = size

    def initial_state(self) -> ConnectFourState:
        """Returns the empty board."""
        return self._start

    def to_move(self, state: ConnectFourState) -> Player:
        """Returns the seat to move: 0 plays X, 1 plays O."""
        return state[2]

    def legal_moves(self, state: ConnectFourState) -> tuple[int, ...]:
        """Returns the columns that are not full, from the left; none once the game is over."""
        x, o, player, _ = state
        return () if player < 0 else self._open[(x | o) >> self._top]

    def chance_outcomes(self, state: ConnectFourState) -> tuple[tuple[int, float], ...]:
        """Returns nothing: there is no chance in the game."""
        return ()

    def next_state(self, state: ConnectFourState, move: int) -> ConnectFourState:
        """Returns the position after the seat to move drops a disc into column `move`."""
        x, o, player, board = state
        if player < 0 or not 0 <= move < self._width:
            raise _illegal(state, move, self._width)
        taken = x | o
        column, drops = self._columns[move]
        drop = drops.get(taken & column)
        if drop is None:
            raise _illegal(state, move, self._width)
        cell, place, row, rows, upright, uprights, up, ups, down, downs = drop
        own = (o if player else x) | cell
        if own & row in rows or own & upright in uprights or own & up in ups or own & down in downs:
            following = TERMINAL
        else:
            following = TERMINAL if taken | cell == self._full else 1 - player
        if not board:
            board = _drawn(x, o, self._size)
        board = f"{board[:place]}{MARKS[player]}{board[place + 1 :]}"
        return new_tuple(ConnectFourState, (x, own, following, board) if player else (own, o, following, board))

    def returns(self, state: ConnectFourState) -> tuple[float, ...]:
        """Returns +1 to the winner and -1 to the loser, or zeros."""
        return _RETURNS[self.winner(state)]

    def winner(self, state: ConnectFourState) -> Player | None:
        """Returns the seat that has a line, if any."""
        x, o, player, _ = state
        if player >= 0:
            return None
        if self._has_line(x):
            return 0
        return 1 if self._has_line(o) else None

    def features(self, state: ConnectFourState, seat: Player) -> tuple[float, ...]:
        """Returns four planes of the board: the seat's discs, the other's, the empty cells, and whose turn it is.

        Rows run from the top, as in the text. The last plane is 1 everywhere when it is the seat's turn and 0
        otherwise; with the number of discs it also tells the seat.
        """
        x, o, player, _ = state
        planes: list[float] = []
        row, features, starts = self._row, self._row_features, self._starts
        for cells in (o, x, ~(x | o)) if seat else (x, o, ~(x | o)):
            for start in starts:
                planes += features[cells >> start & row]
        planes += (1.0 if player == seat else 0.0,) * self.max_plies
        return tuple(planes)

    def _has_line(self, cells: int) -> bool:
        for shifts in self._shifts:
            lines = cells
            for shift in shifts:
                lines &= lines >> shift
            if lines:
                return True
        return False


class ConnectFourCodec:
    """The text."""

    def __init__(self, game: ConnectFour, size: Size) -> None:
        """Sets the rules and the board that the text is about."""
        self._game = game
        self._size = size
        self._example = f"[{size.columns // 2}]"
        self._rules = tuple(_rules(size, seat, self._example) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for X (seat 0) or O (seat 1)."""
        return self._rules[seat]

    def observe(self, state: ConnectFourState, seat: Player) -> str:
        """Returns the board, the highest row first, below the numbers of the columns."""
        x, o, player, board = state
        status = _TO_MOVE[seat][player] if player >= 0 else _OVER[seat][self._game.winner(state)]
        return (board or _drawn(x, o, self._size)) + status

    def format_move(self, move: int) -> str:
        """Returns `[3]` for column 3."""
        return _TEXTS[move]

    def parse_move(self, state: ConnectFourState, text: str) -> int:
        """Returns the column that `[3]` or `3` names."""
        digits = unbracketed(text)
        if not _NUMBER.fullmatch(digits):
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in connect_four: expected a column such as {self._example}"
            )
        column = int(digits)
        if column not in self._game.legal_moves(state):
            raise _illegal(state, column, self._size.columns)
        return column


_RETURNS: Final[dict[Player | None, tuple[float, ...]]] = {0: (1.0, -1.0), 1: (-1.0, 1.0), None: (0.0, 0.0)}

_NUMBER: Final = re.compile("[0-9]{1,3}")

_TEXTS: Final = tuple(f"[{column}]" for column in range(MAX_SIDE))

_TO_MOVE: Final = tuple(
    tuple(f"You play {me}. {'It is your turn.' if me == mover else f'{mover} is to move.'}" for mover in MARKS)
    for me in MARKS
)
"""By seat and by the seat to move, what an observation ends with."""

_OVER: Final[tuple[dict[Player | None, str], ...]] = tuple(
    {
        seat: f"You play {me}. You have won.",
        1 - seat: f"You play {me}. You have lost.",
        None: f"You play {me}. The game is a draw.",
    }
    for seat, me in enumerate(MARKS)
)
"""By seat and by the winner, what the last observation ends with."""


def _drawn(x: int, o: int, size: Size) -> str:
    """Returns the board as players see it, the highest row first, below the numbers of the columns."""
    rows, columns, _ = size
    lines = [f"Board:\n {' '.join(map(str, range(columns)))}\n"]
    for row in range(rows - 1, -1, -1):
        cells = [1 << _cell(size, row, column) for column in range(columns)]
        # Every cell has a space before it, so that tokenizers see the same token wherever a disc lies.
        marks = " ".join(MARKS[0] if x & cell else MARKS[1] if o & cell else "." for cell in cells)
        lines.append(f" {marks}\n")
    return "".join(lines)


def _cell(size: Size, row: int, column: int) -> int:
    return row * (size.columns + 1) + column


def _drops(size: Size, column: int) -> tuple[int, dict[int, _Drop]]:
    """Returns all cells of a column, and by those that have a disc where the next one comes to rest."""
    board = _drawn(0, 0, size)
    line_length = 2 * size.columns + 1
    drops: dict[int, _Drop] = {}
    taken = 0
    for row in range(size.rows):
        place = len(board) - (row + 1) * line_length + 2 * column + 1
        directions = [_lines_through(size, row, column, *way) for way in ((0, 1), (1, 0), (1, 1), (-1, 1))]
        (across, rows), (upright, uprights), (up, ups), (down, downs) = directions
        cell = 1 << _cell(size, row, column)
        drops[taken] = (cell, place, across, rows, upright, uprights, up, ups, down, downs)
        taken |= cell
    return taken, drops


def _lines_through(size: Size, row: int, column: int, up: int, right: int) -> tuple[int, frozenset[int]]:
    """Returns the cells that can be in a line with a disc, one of the two ways there, and all that complete a line."""
    rows, columns, in_a_row = size
    reach = range(1 - in_a_row, in_a_row)
    steps = [step for step in reach if 0 <= row + step * up < rows and 0 <= column + step * right < columns]
    cells = [1 << _cell(size, row + step * up, column + step * right) for step in steps]
    winning: set[int] = set()
    for first in range(len(cells) - in_a_row + 1):
        lines = [sum(cells[first : first + in_a_row])]
        for cell in cells[:first] + cells[first + in_a_row :]:
            lines += [line | cell for line in lines]
        winning.update(lines)
    return sum(cells), frozenset(winning)


def _shifts(size: Size) -> tuple[tuple[int, ...], ...]:
    """Returns, for each direction, the shifts that find a line.

    Every shift makes the runs that are known longer: from 1 cell to 2, to 4, up to the length of a line.
    """
    found: list[tuple[int, ...]] = []
    for step in (1, size.columns, size.columns + 1, size.columns + 2):
        shifts: list[int] = []
        length = 1
        while length < size.in_a_row:
            longer = min(length, size.in_a_row - length)
            shifts.append(longer * step)
            length += longer
        found.append(tuple(shifts))
    return tuple(found)


def _open_columns(top_row: int, columns: int) -> tuple[int, ...]:
    """Returns the columns whose highest cell is free."""
    return tuple(column for column in range(columns) if not top_row >> column & 1)


def _row_features(cells: int, columns: int) -> tuple[float, ...]:
    return tuple(float(cells >> column & 1) for column in range(columns))


def _illegal(state: ConnectFourState, column: int, columns: int) -> IllegalMoveError:
    if not 0 <= column < columns:
        why = f"columns are 0 to {columns - 1}"
    elif state.player < 0:
        why = "the game is over"
    else:
        why = f"column {column} is full"
    return IllegalMoveError(f"illegal move [{column}] in connect_four: {why}")


def _rules(size: Size, seat: Player, example: str) -> str:
    me, other = MARKS[seat], MARKS[1 - seat]
    rows, columns, in_a_row = size
    return (
        f"You play {me} in a game of connect four against {other}. X moves first, so you move"
        f" {'second' if seat else 'first'}.\n"
        f"The board has {rows} rows and {columns} columns, numbered 0 to {columns - 1} from the left. Players take"
        f" turns to drop a disc with their mark into a column that is not full, where it falls to the lowest free cell."
        f" You win with {in_a_row} {me} side by side in a row, column or diagonal; you lose if {other} gets {in_a_row}"
        f" first; a full board without such a line is a draw.\n"
        f"Your move is the number of a column in square brackets, such as {example}."
    )


def configure(*, rows: int = 6, columns: int = 7, in_a_row: int = LINE) -> GameSpec:
    """Returns connect four with lines of `in_a_row` discs on a board of `rows` by `columns`.

    Raises:
        ValueError: A side is not an integer from 2 to 10, no side is 3 or more, or `in_a_row` is not an integer from 3
            to the longer side.
    """
    # The values may come from a configuration file, where their type is not checked.
    for name, side in (("rows", rows), ("columns", columns)):
        if type(side) is not int or not MIN_SIDE <= side <= MAX_SIDE:
            raise ValueError(
                f"option {name} of connect_four is {side!r}: expected an integer from {MIN_SIDE} to {MAX_SIDE}"
            )
    longer = max(rows, columns)
    if longer < MIN_LINE:
        raise ValueError(
            f"options rows and columns of connect_four are {rows} and {columns}: expected at least one from {MIN_LINE}"
            f" to {MAX_SIDE}, since a line has at least {MIN_LINE} discs"
        )
    if type(in_a_row) is not int or not MIN_LINE <= in_a_row <= longer:
        fitting = f"{MIN_LINE}" if longer == MIN_LINE else f"an integer from {MIN_LINE} to {longer}"
        raise ValueError(
            f"option in_a_row of connect_four is {in_a_row!r} (default {LINE}): expected {fitting}, since the longer"
            f" side of the board is {longer}"
        )
    size = Size(rows, columns, in_a_row)
    game = ConnectFour(size)
    return GameSpec(
        name="connect_four",
        version=0,
        game=game,
        codec=ConnectFourCodec(game, size),
        roles=MARKS,
        return_range=(-1.0, 1.0),
        perfect_information=True,
        discrete=DiscreteForm(moves=tuple(range(columns)), shape=(4, rows, columns), features=game.features),
        configure=configure,
    )


SPEC: Final = configure()
