"""Tic-tac-toe: three in a row on a board of three by three.

Rules: players place their mark in turn on an empty cell; the first with three of their own marks in a row, column
    or diagonal wins; a full board without such a line is a draw.
Players: X (seat 0, moves first) and O (seat 1).
Moves: the number of an empty cell, 0 to 8, row by row from the top left: `[4]`.
Returns: +1 for the winner, -1 for the loser, 0 each for a draw.
Length: 5 to 9 plies.
Known values: 5,478 reachable positions; two perfect players draw.
Source of the rules: Berlekamp, Conway and Guy, Winning Ways, volume 3, chapter 22.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import TERMINAL, GameSpec, Player

CELLS: Final = 9

LINES: Final = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
"""The rows, columns and diagonals."""


class Mark(IntEnum):
    """What a cell holds; the marks are numbered like the seats that play them."""

    X = 0
    O = 1  # noqa: E741 - the game's own name for the mark
    EMPTY = 2


@dataclass(frozen=True, slots=True)
class TicTacToeState:
    """A position.

    Attributes:
        board: The nine cells, row by row from the top left.
    """

    board: tuple[Mark, ...]


@lru_cache(maxsize=8192)
def _legal_moves(board: tuple[Mark, ...]) -> tuple[int, ...]:
    if _winner(board) is not Mark.EMPTY:
        return ()
    return _one_object(tuple(cell for cell in range(CELLS) if board[cell] is Mark.EMPTY))


@lru_cache(maxsize=2**CELLS)
def _one_object(cells: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the same object for equal tuples: a match knows the texts of the moves by the identity of their tuple."""
    return cells


@lru_cache(maxsize=8192)
def _winner(board: tuple[Mark, ...]) -> Mark:
    for first, second, third in LINES:
        if board[first] is board[second] is board[third] and board[first] is not Mark.EMPTY:
            return board[first]
    return Mark.EMPTY


@lru_cache(maxsize=8192)
def _mover(board: tuple[Mark, ...]) -> Mark:
    return Mark.X if board.count(Mark.EMPTY) % 2 else Mark.O


@lru_cache(maxsize=8192)
def _to_move(board: tuple[Mark, ...]) -> Player:
    return int(_mover(board)) if _legal_moves(board) else TERMINAL


class TicTacToe:
    """The rules."""

    num_players = 2
    max_plies = CELLS

    def initial_state(self) -> TicTacToeState:
        """Returns the empty board."""
        return _EMPTY_BOARD

    def to_move(self, state: TicTacToeState) -> Player:
        """Returns the seat to move: 0 plays X, 1 plays O."""
        return _to_move(state.board)

    def legal_moves(self, state: TicTacToeState) -> tuple[int, ...]:
        """Returns the empty cells in rising order; none once the game is won."""
        return _legal_moves(state.board)

    def chance_outcomes(self, state: TicTacToeState) -> tuple[tuple[int, float], ...]:
        """Returns nothing: there is no chance in the game."""
        return ()

    def next_state(self, state: TicTacToeState, move: int) -> TicTacToeState:
        """Returns the position after the seat to move marks cell `move`."""
        return _after(state.board, move)

    def returns(self, state: TicTacToeState) -> tuple[float, ...]:
        """Returns +1 to the winner and -1 to the loser, or zeros."""
        winner = _winner(state.board)
        if winner is Mark.EMPTY:
            return (0.0, 0.0)
        return (1.0, -1.0) if winner is Mark.X else (-1.0, 1.0)


class TicTacToeCodec:
    """The text."""

    def rules(self, seat: Player) -> str:
        """Returns the rules for X (seat 0) or O (seat 1)."""
        return _RULES[seat]

    def observe(self, state: TicTacToeState, seat: Player) -> str:
        """Returns the board; an empty cell shows its number."""
        return _observe(state.board, seat)

    def format_move(self, move: int) -> str:
        """Returns `[4]` for cell 4."""
        return f"[{move}]"

    def parse_move(self, state: TicTacToeState, text: str) -> int:
        """Returns the cell that `[4]` or `4` names."""
        digits = unbracketed(text)
        if not _NUMBER.fullmatch(digits):
            raise MalformedMoveError(f"malformed move {text[:60]!r} in tic_tac_toe: expected a cell such as [4]")
        cell = int(digits)
        if cell not in _legal_moves(state.board):
            raise _illegal(state.board, cell)
        return cell


@lru_cache(maxsize=16384)
def _after(board: tuple[Mark, ...], cell: int) -> TicTacToeState:
    if cell not in _legal_moves(board):
        raise _illegal(board, cell)
    return TicTacToeState((*board[:cell], _mover(board), *board[cell + 1 :]))


def _illegal(board: tuple[Mark, ...], cell: int) -> IllegalMoveError:
    if not 0 <= cell < CELLS:
        why = f"cells are 0 to {CELLS - 1}"
    elif board[cell] is not Mark.EMPTY:
        why = f"{board[cell].name} is there"
    else:
        why = "the game is over"
    return IllegalMoveError(f"illegal move [{cell}] in tic_tac_toe: {why}")


@lru_cache(maxsize=16384)
def _observe(board: tuple[Mark, ...], seat: Player) -> str:
    cells = [str(cell) if mark is Mark.EMPTY else mark.name for cell, mark in enumerate(board)]
    # Every cell has a space before it, so that tokenizers see the same token wherever a mark stands.
    rows = "\n".join(f" {' '.join(cells[start : start + 3])}" for start in range(0, CELLS, 3))
    me = Mark(seat)
    winner = _winner(board)
    if winner is not Mark.EMPTY:
        status = "You have won." if winner is me else "You have lost."
    elif not _legal_moves(board):
        status = "The game is a draw."
    elif _mover(board) is me:
        status = "It is your turn."
    else:
        status = f"{_mover(board).name} is to move."
    return f"Board:\n{rows}\nYou play {me.name}. {status}"


_EMPTY_BOARD: Final = TicTacToeState((Mark.EMPTY,) * CELLS)

_NUMBER: Final = re.compile("[0-9]{1,3}")

_RULES: Final = tuple(
    f"You play {me} in a game of tic-tac-toe against {other}. X moves first, so you move {order}.\n"
    f"The board has nine cells, numbered 0 to 8 row by row from the top left. Players take turns to put their mark"
    f" on an empty cell. You win with three {me} in a row, column or diagonal; you lose if {other} gets three first;"
    f" a full board without such a line is a draw.\n"
    f"Your move is the number of an empty cell in square brackets, such as [4]."
    for me, other, order in (("X", "O", "first"), ("O", "X", "second"))
)

SPEC: Final = GameSpec(
    name="tic_tac_toe",
    version=0,
    game=TicTacToe(),
    codec=TicTacToeCodec(),
    roles=("X", "O"),
    return_range=(-1.0, 1.0),
    perfect_information=True,
)
