"""Breakthrough: pieces that only go forward, and a race to the other side.

Rules: each player starts with pieces on the two rows of its own side. In turn, players move one piece one square
    forward, straight or diagonally. A straight move needs an empty square; a diagonal one needs a square without a
    piece of one's own, and takes the piece of the other player that stands there. Taking is never compulsory. Whoever
    reaches the last row, or takes the last piece of the other player, wins.
Players: White (seat 0, moves first and up the board) and Black (seat 1).
Moves: the square that a piece leaves and the one that it goes to, columns a, b, ... from the left and rows 1, 2, ...
    from White's side: `[a2a3]`; a capture is written in the same way, `[a2b3]`.
Options: `rows` (default 8), 4 to 8, and `columns` (default 8), 2 to 8.
Returns: +1 for the winner, -1 for the loser. There are no draws: a player's foremost piece can always move.
Length: at least rows - 2 moves of the winner; at most 2·columns·(2·rows - 5) + 1 plies, which is all that all pieces
    can move short of the last row, and the winning move.
Known values: the second player wins on 4 by 4, in 14 plies when both play perfectly, and on 5 by 5, in 26
    (Breakthrough forum of Little Golem, topics "Breakthrough on small boards" and "5x5 solved", 2006).
Source of the rules: Troyka, Breakthrough, 2000; Handscomb, 8x8 Game Design Competition, Abstract Games 7, 2001.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

MIN_ROWS: Final = 4
MIN_COLUMNS: Final = 2
MAX_SIDE: Final = 8

ROLES: Final = ("White", "Black")
PIECES: Final = ("W", "B")
"""How the board shows the pieces, by seat."""


class BreakthroughState(NamedTuple):
    """A position.

    The squares are bits, row by row from a1; square `row * columns + column` is the bit of that number.

    Attributes:
        white: The squares with a piece of White.
        black: The squares with a piece of Black.
        player: The seat to move, or `TERMINAL`.
    """

    white: int
    black: int
    player: Player


class Step(NamedTuple):
    """A player's move.

    Attributes:
        start: The number of the square that the piece leaves.
        end: The number of the square that it goes to.
    """

    start: int
    end: int


class Size(NamedTuple):
    """What the options say.

    Attributes:
        rows: The number of rows.
        columns: The number of columns.
    """

    rows: int
    columns: int


class _Way(NamedTuple):
    """A step as bits.

    Attributes:
        step: The step.
        start: The bit of the square that the piece leaves.
        end: The bit of the square that it goes to.
        is_straight: Whether it goes straight ahead, which takes no piece.
    """

    step: Step
    start: int
    end: int
    is_straight: bool


class Breakthrough:
    """The rules."""

    num_players = 2

    def __init__(self, size: Size) -> None:
        """Sets the board."""
        rows, columns = size
        self._size = size
        self.max_plies = 2 * columns * (2 * rows - 5) + 1
        two_rows = (1 << 2 * columns) - 1
        self._start = BreakthroughState(two_rows, two_rows << (rows - 2) * columns, 0)
        last_row = (1 << columns) - 1
        self._goals = (last_row << (rows - 1) * columns, last_row)

    def initial_state(self) -> BreakthroughState:
        """Returns the position with two full rows on either side."""
        return self._start

    def to_move(self, state: BreakthroughState) -> Player:
        """Returns the seat to move: 0 is White, 1 is Black."""
        return state[2]

    def legal_moves(self, state: BreakthroughState) -> tuple[Step, ...]:
        """Returns the steps to the left, then those straight ahead, then those to the right, by their end from a1."""
        return _legal_moves(self._size, state)

    def chance_outcomes(self, state: BreakthroughState) -> tuple[tuple[Step, float], ...]:
        """Returns nothing: there is no chance in the game."""
        return ()

    def next_state(self, state: BreakthroughState, move: Step) -> BreakthroughState:
        """Returns the position after the seat to move makes the step `move`."""
        white, black, player = state
        way = _ways_of(self._size)[player].get(move) if player >= 0 else None
        if way is None:
            raise _illegal(self._size, state, move)
        own, other = (black, white) if player else (white, black)
        _, start, end, is_straight = way
        if not own & start or (own | other if is_straight else own) & end:
            raise _illegal(self._size, state, move)
        own ^= start | end
        other &= ~end
        following = 1 - player if other and not own & self._goals[player] else TERMINAL
        return new_tuple(BreakthroughState, (other, own, following) if player else (own, other, following))

    def returns(self, state: BreakthroughState) -> tuple[float, ...]:
        """Returns +1 to the winner and -1 to the loser; zeros before the end."""
        winner = self.winner(state)
        if winner is None:
            return (0.0, 0.0)
        return (-1.0, 1.0) if winner else (1.0, -1.0)

    def winner(self, state: BreakthroughState) -> Player | None:
        """Returns the seat that has won, if any."""
        white, black, player = state
        if player >= 0:
            return None
        return 0 if not black or white & self._goals[0] else 1

    def features(self, state: BreakthroughState, seat: Player) -> tuple[float, ...]:
        """Returns four planes of the board: the seat's pieces, the other's, whether it is White, and whose turn it is.

        Rows run from the top, as in the text. The third plane is 1 everywhere for White and 0 for Black, the fourth 1
        everywhere when it is the seat's turn and 0 otherwise.
        """
        white, black, player = state
        rows, columns = self._size
        own, other = (black, white) if seat else (white, black)
        planes: list[float] = []
        for pieces in (own, other):
            for row in range(rows - 1, -1, -1):
                planes += _row_features(pieces >> row * columns & self._goals[1], columns)
        is_white = (0.0 if seat else 1.0,) * (rows * columns)
        turn = (1.0 if player == seat else 0.0,) * (rows * columns)
        return (*planes, *is_white, *turn)


class BreakthroughCodec:
    """The text."""

    def __init__(self, game: Breakthrough, size: Size) -> None:
        """Sets the rules and the board that the text is about."""
        self._game = game
        self._size = size
        self._row = (1 << size.columns) - 1
        self._texts = {step: _text(size, step) for ways in _ways_of(size) for step in ways}
        self._rows = tuple((f"{row + 1}", row * size.columns) for row in range(size.rows - 1, -1, -1))
        self._footer = f"  {' '.join(_COLUMNS[: size.columns])}\n"
        self._rules = tuple(_rules(size, seat) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for White (seat 0) or Black (seat 1)."""
        return self._rules[seat]

    def observe(self, state: BreakthroughState, seat: Player) -> str:
        """Returns the board, the highest row first, with the names of rows and columns."""
        white, black, player = state
        full, columns = self._row, self._size.columns
        rows = [name + _row_text(white >> start & full, black >> start & full, columns) for name, start in self._rows]
        status = _TO_MOVE[seat][player] if player >= 0 else _OVER[seat][seat == self._game.winner(state)]
        return f"Board:\n{''.join(rows)}{self._footer}{status}"

    def format_move(self, move: Step) -> str:
        """Returns `[a2a3]` for the step from a2 to a3."""
        return self._texts[move]

    def parse_move(self, state: BreakthroughState, text: str) -> Step:
        """Returns the step that `[a2a3]` or `a2a3` names, in any case of letters."""
        found = _STEP.fullmatch(unbracketed(text).lower())
        if found is None:
            raise MalformedMoveError(f"malformed move {text[:60]!r} in breakthrough: expected a step such as [a2a3]")
        columns = self._size.columns
        start_column, start_row, end_column, end_row = found.groups()
        start, end = (
            (_COLUMNS.index(column), int(row) - 1) for column, row in ((start_column, start_row), (end_column, end_row))
        )
        for column, row in (start, end):
            if column >= columns or row >= self._size.rows:
                raise _off_the_board(self._size, found[0])
        move = Step(start[1] * columns + start[0], end[1] * columns + end[0])
        if move not in self._game.legal_moves(state):
            raise _illegal(self._size, state, move)
        return move


_COLUMNS: Final = "abcdefgh"

_STEP: Final = re.compile("([a-h])([1-8])([a-h])([1-8])")

_TO_MOVE: Final = tuple(
    tuple(
        f"You play {me} ({piece}). {'It is your turn.' if me == mover else f'{mover} is to move.'}" for mover in ROLES
    )
    for me, piece in zip(ROLES, PIECES, strict=True)
)
"""By seat and by the seat to move, what an observation ends with."""

_OVER: Final = tuple(
    (f"You play {me} ({piece}). You have lost.", f"You play {me} ({piece}). You have won.")
    for me, piece in zip(ROLES, PIECES, strict=True)
)
"""By seat and by whether it has won, what the last observation ends with."""


@lru_cache(maxsize=64)
def _ways_of(size: Size) -> tuple[dict[Step, _Way], dict[Step, _Way]]:
    """Returns every step of White and of Black, square by square from a1, each from left to right."""
    rows, columns = size
    ways: tuple[dict[Step, _Way], dict[Step, _Way]] = ({}, {})
    for found, forward in zip(ways, (1, -1), strict=True):
        for start in range(rows * columns):
            row, column = divmod(start, columns)
            for aside in (-1, 0, 1):
                if 0 <= row + forward < rows and 0 <= column + aside < columns:
                    step = Step(start, start + forward * columns + aside)
                    found[step] = _Way(step, 1 << start, 1 << step.end, aside == 0)
    return ways


@lru_cache(maxsize=1024)
def _legal_moves(size: Size, state: BreakthroughState) -> tuple[Step, ...]:
    white, black, player = state
    if player < 0:
        return ()
    own, taken = (black if player else white), white | black
    moves: list[Step] = []
    for aside, (starts, steps) in zip((-1, 0, 1), _steps_to(size)[player], strict=True):
        pieces, shift = own & starts, size.columns - aside if player else size.columns + aside
        ends = (pieces >> shift if player else pieces << shift) & ~(own if aside else taken)
        while ends:
            end = ends & -ends
            ends ^= end
            moves.append(steps[end.bit_length() - 1])
    return tuple(moves)


@lru_cache(maxsize=64)
def _steps_to(size: Size) -> tuple[tuple[tuple[int, dict[int, Step]], ...], ...]:
    """Returns, by seat and then for the steps to the left, straight ahead and to the right, where they start and end.

    The squares where they can start are bits; the steps are found by the square that they end on.
    """
    found: list[tuple[tuple[int, dict[int, Step]], ...]] = []
    for ways in _ways_of(size):
        asides: list[tuple[int, dict[int, Step]]] = []
        for aside in (-1, 0, 1):
            steps = [step for step in ways if step.end % size.columns - step.start % size.columns == aside]
            asides.append((sum(1 << step.start for step in steps), {step.end: step for step in steps}))
        found.append(tuple(asides))
    return tuple(found)


@lru_cache(maxsize=8192)
def _row_text(white: int, black: int, columns: int) -> str:
    # Every square has a space before it, so that tokenizers see the same token wherever a piece stands.
    squares = (
        PIECES[0] if white >> column & 1 else PIECES[1] if black >> column & 1 else "." for column in range(columns)
    )
    return f" {' '.join(squares)}\n"


@lru_cache(maxsize=1024)
def _row_features(pieces: int, columns: int) -> tuple[float, ...]:
    return tuple(float(pieces >> column & 1) for column in range(columns))


def _text(size: Size, move: Step) -> str:
    return f"[{_name(size, move.start)}{_name(size, move.end)}]"


def _name(size: Size, square: int) -> str:
    row, column = divmod(square, size.columns)
    return f"{_COLUMNS[column]}{row + 1}"


def _illegal(size: Size, state: BreakthroughState, move: Step) -> IllegalMoveError:
    white, black, player = state
    if player < 0:
        why = "the game is over"
    elif not (black if player else white) >> move.start & 1:
        why = f"{ROLES[player]} has no piece on {_name(size, move.start)}"
    elif move not in _ways_of(size)[player]:
        why = f"{ROLES[player]} moves one square {'down' if player else 'up'}, straight or diagonally"
    elif (black if player else white) >> move.end & 1:
        why = f"{ROLES[player]} has a piece on {_name(size, move.end)}"
    else:
        why = "a straight move takes no piece"
    return IllegalMoveError(f"illegal move {_text(size, move)} in breakthrough: {why}")


def _off_the_board(size: Size, step: str) -> IllegalMoveError:
    last = _name(size, size.rows * size.columns - 1)
    return IllegalMoveError(f"illegal move [{step}] in breakthrough: squares are a1 to {last}")


def _rules(size: Size, seat: Player) -> str:
    rows, columns = size
    me, other = ROLES[seat], ROLES[1 - seat]
    own_rows = (rows - 1, rows) if seat else (1, 2)
    towards, goal = ("down", 1) if seat else ("up", rows)
    example = f"[a{rows - 1}b{rows - 2}]" if seat else "[a2b3]"
    return (
        f"You play {me} ({PIECES[seat]}) in a game of breakthrough against {other} ({PIECES[1 - seat]}). White moves"
        f" first, so you move {'second' if seat else 'first'}.\n"
        f"The board has columns a to {_COLUMNS[columns - 1]} from the left and rows 1 to {rows} from the bottom. Your"
        f" pieces start on rows {own_rows[0]} and {own_rows[1]} and move {towards}. Players take turns to move one"
        f" piece one square forward, straight or diagonally. A straight move needs an empty square. A diagonal move"
        f" goes to any square without a piece of your own; a piece of the other player there is taken. You win when a"
        f" piece of yours reaches row {goal} or you take the last piece of {other}; you lose if {other} reaches row"
        f" {rows + 1 - goal} or takes your last piece.\n"
        f"Your move is the square that a piece leaves and the one that it goes to, in square brackets, such as"
        f" {example}."
    )


def configure(*, rows: int = 8, columns: int = 8) -> GameSpec:
    """Returns breakthrough on a board of `rows` by `columns`.

    Raises:
        ValueError: `rows` is not an integer from 4 to 8, or `columns` not one from 2 to 8.
    """
    # The values may come from a configuration file, where their type is not checked.
    for name, side, shortest in (("rows", rows, MIN_ROWS), ("columns", columns, MIN_COLUMNS)):
        if type(side) is not int or not shortest <= side <= MAX_SIDE:
            raise ValueError(
                f"option {name} of breakthrough is {side!r}: expected an integer from {shortest} to {MAX_SIDE}"
            )
    size = Size(rows, columns)
    game = Breakthrough(size)
    moves = tuple(step for ways in _ways_of(size) for step in ways)
    return GameSpec(
        name="breakthrough",
        version=0,
        game=game,
        codec=BreakthroughCodec(game, size),
        roles=ROLES,
        return_range=(-1.0, 1.0),
        perfect_information=True,
        discrete=DiscreteForm(moves=moves, shape=(4, rows, columns), features=game.features),
        configure=configure,
    )


SPEC: Final = configure()
