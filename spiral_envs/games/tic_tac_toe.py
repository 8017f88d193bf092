"""Tic-tac-toe: three in a row on a board of three by three, or a longer row on a larger board.

Rules: players place their mark in turn on an empty cell; the first with three of their own marks in a row, column
    or diagonal wins; a full board without such a line is a draw. On larger boards `in_a_row` marks next to each other
    make a line, and a longer line wins as well.
Players: X (seat 0, moves first) and O (seat 1).
Moves: the number of an empty cell, 0 to 8, row by row from the top left: `[4]`.
Options: `rows` and `columns` (default 3), the size of the board, each 3 to 19; `in_a_row` (default 3), the length of a
    winning line, from 3 to the longer side. `rows=15, columns=15, in_a_row=5` is free-style gomoku.
Returns: +1 for the winner, -1 for the loser, 0 each for a draw.
Length: 5 to 9 plies; from 2·in_a_row - 1 to rows·columns plies with other options.
Known values: 5,478 reachable positions; two perfect players draw. As an m,n,k-game, k in a row on m by n: 3 in a row
    is won by the first player on 3 by 4 and every larger board; 4 in a row is a draw on 4 by 4 and 5 by 5.
Source of the rules: Berlekamp, Conway and Guy, Winning Ways, volume 3, chapter 22. Source of the values of m,n,k-games:
    Uiterwijk and van den Herik, The advantage of the initiative, Information Sciences 122, 2000.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache, partial
from itertools import compress
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import TERMINAL, DiscreteForm, GameSpec, Player

MIN_SIDE: Final = 3
MAX_SIDE: Final = 19

LINES: Final = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
"""The rows, columns and diagonals of the board of three by three."""


class Mark(IntEnum):
    """What a cell holds; the marks are numbered like the seats that play them."""

    X = 0
    O = 1  # noqa: E741 - the game's own name for the mark
    EMPTY = 2


Board: TypeAlias = tuple[Mark, ...]
"""The cells, row by row from the top left."""


@dataclass(frozen=True, slots=True)
class TicTacToeState:
    """A position.

    Attributes:
        board: The cells, row by row from the top left.
    """

    board: Board


class Size(NamedTuple):
    """What the options say.

    Attributes:
        rows: The number of rows.
        columns: The number of columns.
        in_a_row: The length of a winning line.
    """

    rows: int
    columns: int
    in_a_row: int

    @property
    def cells(self) -> int:
        """The number of cells."""
        return self.rows * self.columns


STANDARD: Final = Size(3, 3, 3)


class _Position(NamedTuple):
    """What follows from a board.

    Attributes:
        player: The seat to move, or `TERMINAL`.
        legal: The empty cells in rising order; none once the game is won.
        winner: Whose line there is; EMPTY without one.
    """

    player: Player
    legal: tuple[int, ...]
    winner: Mark


class TicTacToe:
    """The rules."""

    num_players = 2

    def __init__(self, size: Size = STANDARD) -> None:
        """Sets the board."""
        self.max_plies = size.cells
        self._empty_board = TicTacToeState((_EMPTY,) * size.cells)
        self._position = _position_of(size)
        self._after = _standard_after if size == STANDARD else partial(_after, size)
        self._features = _standard_features if size == STANDARD else partial(_features, size)

    def initial_state(self) -> TicTacToeState:
        """Returns the empty board."""
        return self._empty_board

    def to_move(self, state: TicTacToeState) -> Player:
        """Returns the seat to move: 0 plays X, 1 plays O."""
        return self._position(state.board).player

    def legal_moves(self, state: TicTacToeState) -> tuple[int, ...]:
        """Returns the empty cells in rising order; none once the game is won."""
        return self._position(state.board).legal

    def chance_outcomes(self, state: TicTacToeState) -> tuple[tuple[int, float], ...]:
        """Returns nothing: there is no chance in the game."""
        return ()

    def next_state(self, state: TicTacToeState, move: int) -> TicTacToeState:
        """Returns the position after the seat to move marks cell `move`."""
        return self._after(state.board, move)

    def returns(self, state: TicTacToeState) -> tuple[float, ...]:
        """Returns +1 to the winner and -1 to the loser, or zeros."""
        return _RETURNS[self._position(state.board).winner]

    def features(self, state: TicTacToeState, seat: Player) -> tuple[float, ...]:
        """Returns four planes of the board: the seat's marks, the other's, the empty cells, and whose turn it is.

        The last plane is 1 everywhere when it is the seat's turn and 0 otherwise. With the number of marks it also
        tells the seat.
        """
        return self._features(state.board, seat)


class TicTacToeCodec:
    """The text."""

    def __init__(self, size: Size = STANDARD) -> None:
        """Sets the board."""
        self._size = size
        self._position = _position_of(size)
        self._observe = _standard_observe if size == STANDARD else partial(_observe, size)
        self._rules = (_rules(size, "X", "O", "first"), _rules(size, "O", "X", "second"))

    def rules(self, seat: Player) -> str:
        """Returns the rules for X (seat 0) or O (seat 1)."""
        return self._rules[seat]

    def observe(self, state: TicTacToeState, seat: Player) -> str:
        """Returns the board; an empty cell shows its number."""
        return self._observe(state.board, seat)

    def format_move(self, move: int) -> str:
        """Returns `[4]` for cell 4."""
        return f"[{move}]"

    def parse_move(self, state: TicTacToeState, text: str) -> int:
        """Returns the cell that `[4]` or `4` names."""
        digits = unbracketed(text)
        if not _NUMBER.fullmatch(digits):
            raise MalformedMoveError(f"malformed move {text[:60]!r} in tic_tac_toe: expected a cell such as [4]")
        cell = int(digits)
        if cell not in self._position(state.board).legal:
            raise _illegal(state.board, cell)
        return cell


# Looking a member up in its enumeration takes longer than most tests of it.
_X: Final = Mark.X
_O: Final = Mark.O
_EMPTY: Final = Mark.EMPTY

_RETURNS: Final = {_X: (1.0, -1.0), _O: (-1.0, 1.0), _EMPTY: (0.0, 0.0)}

_NUMBER: Final = re.compile("[0-9]{1,3}")

_BITS: Final = tuple(bytes(b"1"[0] if value == mark else b"0"[0] for value in range(256)) for mark in (_X, _O))
"""By mark, the table that turns a board in bytes into the binary digits of the mark's cells."""

_IS_EMPTY: Final = bytes(value == _EMPTY for value in range(256))
"""The table that turns a board in bytes into bytes that are true where a cell is empty."""


@lru_cache(maxsize=256)
def _position_of(size: Size) -> Callable[[Board], _Position]:
    return _standard_position if size == STANDARD else partial(_recent_position, size)


@lru_cache(maxsize=8192)
def _standard_position(board: Board) -> _Position:
    """Returns the position; the game of three by three is remembered whole."""
    return _look(STANDARD, board)


@lru_cache(maxsize=512)
def _recent_position(size: Size, board: Board) -> _Position:
    """Returns the position; it is asked for several times in a turn, and positions of larger boards rarely recur."""
    return _look(size, board)


def _look(size: Size, board: Board) -> _Position:
    # The last cell stands first, so that cell 0 becomes the lowest bit.
    cells = bytes(board)[::-1]
    for mark in (_X, _O):
        if _has_line(size, int(cells.translate(_BITS[mark]), 2)):
            return _Position(TERMINAL, (), mark)
    legal = _one_object(tuple(compress(range(size.cells), bytes(board).translate(_IS_EMPTY))))
    if not legal:
        return _Position(TERMINAL, (), _EMPTY)
    return _Position(0 if (size.cells - len(legal)) % 2 == 0 else 1, legal, _EMPTY)


@lru_cache(maxsize=4096)
def _one_object(cells: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the same object for equal tuples: a match knows the texts of the moves by the identity of their tuple."""
    return cells


def _has_line(size: Size, cells: int) -> bool:
    """Whether the set bits of `cells` hold a line."""
    for starts, shifts in _directions(size):
        lines = cells
        for shift in shifts:
            lines &= lines >> shift
        if lines & starts:
            return True
    return False


@lru_cache(maxsize=256)
def _directions(size: Size) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Returns, for each direction that has lines, where they can start, as bits, and the shifts that find them.

    Every shift makes the runs that are known longer: from 1 cell to 2, to 4, up to the length of a line.
    """
    rows, columns, in_a_row = size
    found: list[tuple[int, tuple[int, ...]]] = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        starts = 0
        for row in range(rows - (in_a_row - 1) * down):
            for column in range(columns):
                if 0 <= column + (in_a_row - 1) * right < columns:
                    starts |= 1 << (row * columns + column)
        if starts:
            found.append((starts, _shifts(in_a_row, down * columns + right)))
    return tuple(found)


def _shifts(in_a_row: int, step: int) -> tuple[int, ...]:
    shifts: list[int] = []
    length = 1
    while length < in_a_row:
        longer = min(length, in_a_row - length)
        shifts.append(longer * step)
        length += longer
    return tuple(shifts)


@lru_cache(maxsize=16384)
def _standard_after(board: Board, cell: int) -> TicTacToeState:
    return _after(STANDARD, board, cell)


def _after(size: Size, board: Board, cell: int) -> TicTacToeState:
    position = _position_of(size)(board)
    if cell not in position.legal:
        raise _illegal(board, cell)
    return TicTacToeState((*board[:cell], _O if position.player else _X, *board[cell + 1 :]))


def _illegal(board: Board, cell: int) -> IllegalMoveError:
    if not 0 <= cell < len(board):
        why = f"cells are 0 to {len(board) - 1}"
    elif board[cell] is not _EMPTY:
        why = f"{board[cell].name} is there"
    else:
        why = "the game is over"
    return IllegalMoveError(f"illegal move [{cell}] in tic_tac_toe: {why}")


@lru_cache(maxsize=16384)
def _standard_observe(board: Board, seat: Player) -> str:
    return _observe(STANDARD, board, seat)


def _observe(size: Size, board: Board, seat: Player) -> str:
    rows = "".join([texts[mark] for texts, mark in zip(_cell_texts(size), board, strict=True)])
    position = _position_of(size)(board)
    me = Mark(seat)
    if position.winner is not _EMPTY:
        status = "You have won." if position.winner is me else "You have lost."
    elif not position.legal:
        status = "The game is a draw."
    elif position.player == seat:
        status = "It is your turn."
    else:
        status = f"{Mark(position.player).name} is to move."
    return f"Board:{rows}\nYou play {me.name}. {status}"


@lru_cache(maxsize=64)
def _cell_texts(size: Size) -> tuple[tuple[str, str, str], ...]:
    """Returns, by cell and then by mark, how the board shows it: an empty cell by its number."""
    width = len(str(size.cells - 1))
    found: list[tuple[str, str, str]] = []
    for cell in range(size.cells):
        # Every cell has a space before it, so that tokenizers see the same token wherever a mark stands.
        before = " " if cell % size.columns else "\n "
        found.append((f"{before}{'X':>{width}}", f"{before}{'O':>{width}}", f"{before}{cell:>{width}}"))
    return tuple(found)


@lru_cache(maxsize=16384)
def _standard_features(board: Board, seat: Player) -> tuple[float, ...]:
    return _features(STANDARD, board, seat)


def _features(size: Size, board: Board, seat: Player) -> tuple[float, ...]:
    own, other = (_O, _X) if seat else (_X, _O)
    turn = 1.0 if _position_of(size)(board).player == seat else 0.0
    planes = [1.0 if mark is shown else 0.0 for shown in (own, other, _EMPTY) for mark in board]
    return (*planes, *(turn,) * size.cells)


def _rules(size: Size, me: str, other: str, order: str) -> str:
    rows, columns, in_a_row = size
    if size == STANDARD:
        board, line, count = "nine cells", f"three {me} in a row", "three"
    else:
        board, line, count = f"{rows} rows of {columns} cells", f"{in_a_row} {me} side by side in a row", str(in_a_row)
    return (
        f"You play {me} in a game of tic-tac-toe against {other}. X moves first, so you move {order}.\n"
        f"The board has {board}, numbered 0 to {size.cells - 1} row by row from the top left. Players take turns to put"
        f" their mark on an empty cell. You win with {line}, column or diagonal; you lose if {other} gets {count}"
        f" first; a full board without such a line is a draw.\n"
        f"Your move is the number of an empty cell in square brackets, such as [4]."
    )


def configure(*, rows: int = 3, columns: int = 3, in_a_row: int = 3) -> GameSpec:
    """Returns tic-tac-toe with lines of `in_a_row` marks on a board of `rows` by `columns`.

    Raises:
        ValueError: A side is not an integer from 3 to 19, or `in_a_row` not one from 3 to the longer side.
    """
    # The values may come from a configuration file, where their type is not checked.
    for name, side in (("rows", rows), ("columns", columns)):
        if type(side) is not int or not MIN_SIDE <= side <= MAX_SIDE:
            raise ValueError(
                f"option {name} of tic_tac_toe is {side!r}: expected an integer from {MIN_SIDE} to {MAX_SIDE}"
            )
    longer = max(rows, columns)
    if type(in_a_row) is not int or not MIN_SIDE <= in_a_row <= longer:
        raise ValueError(
            f"option in_a_row of tic_tac_toe is {in_a_row!r}: expected an integer from {MIN_SIDE} to {longer},"
            " the longer side of the board"
        )
    size = Size(rows, columns, in_a_row)
    game = TicTacToe(size)
    return GameSpec(
        name="tic_tac_toe",
        version=0,
        game=game,
        codec=TicTacToeCodec(size),
        roles=("X", "O"),
        return_range=(-1.0, 1.0),
        perfect_information=True,
        discrete=DiscreteForm(moves=tuple(range(size.cells)), shape=(4, rows, columns), features=game.features),
        configure=configure,
    )


SPEC: Final = configure()
