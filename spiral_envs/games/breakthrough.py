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
from typing import Final, NamedTuple, Protocol

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
        board: How players see the pieces. A step changes two characters of it, which is much faster than to draw it
            anew. It follows from the rest: it is not compared, and a state built by hand may leave it empty.
    """

    white: int
    black: int
    player: Player
    board: str = ""

    def __eq__(self, other: object) -> bool:
        """Returns whether both are the same position."""
        return isinstance(other, BreakthroughState) and self[:3] == other[:3]

    def __ne__(self, other: object) -> bool:
        """Returns whether they are different positions: a tuple's own answer would compare `board` as well."""
        return not self == other

    def __hash__(self) -> int:
        """Returns the hash of the position."""
        return hash(self[:3])


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
    """What a step does.

    Attributes:
        start: The bit of the square that the piece leaves.
        end: The bit of the square that it goes to.
        is_straight: Whether it goes straight ahead, which takes no piece.
        upper: The place of the higher of the two squares in `BreakthroughState.board`.
        lower: The place of the other.
    """

    start: int
    end: int
    is_straight: bool
    upper: int
    lower: int


class _StepsTo(dict[int, tuple[Step, ...]]):
    """The steps that end on some of eight squares, by the bits of these, in the order of the squares."""

    def __init__(self, steps: dict[int, Step], first: int) -> None:
        """Takes the steps by their ends, and the number of the first of the eight squares."""
        super().__init__()
        self._steps = steps
        self._first = first

    def __missing__(self, ends: int) -> tuple[Step, ...]:
        """Finds the steps when they are first asked for."""
        steps = self[ends] = tuple(self._steps[self._first + end] for end in range(8) if ends >> end & 1)
        return steps


class Breakthrough:
    """The rules."""

    num_players = 2

    def __init__(self, size: Size) -> None:
        """Sets the board."""
        rows, columns = size
        self._size = size
        self.max_plies = 2 * columns * (2 * rows - 5) + 1
        two_rows = (1 << 2 * columns) - 1
        black = two_rows << (rows - 2) * columns
        self._start = BreakthroughState(two_rows, black, 0, _drawn(two_rows, black, size))
        last_row = (1 << columns) - 1
        self._goals = (last_row << (rows - 1) * columns, last_row)
        self._squares = (1 << rows * columns) - 1
        self._ways = _ways_of(size)
        self._num_bytes = -(-rows * columns // 8)
        self._starts = tuple(_starts(size, seat) for seat in range(2))
        self._steps_to = tuple(_steps_to(size, seat) for seat in range(2))
        self._known_moves: tuple[dict[int, tuple[Step, ...]], ...] = ({}, {})
        self._row_features = tuple(_row_features(pieces, columns) for pieces in range(1 << columns))

    def initial_state(self) -> BreakthroughState:
        """Returns the position with two full rows on either side."""
        return self._start

    def to_move(self, state: BreakthroughState) -> Player:
        """Returns the seat to move: 0 is White, 1 is Black."""
        return state[2]

    def legal_moves(self, state: BreakthroughState) -> tuple[Step, ...]:
        """Returns the steps to the left, then those straight ahead, then those to the right, by their end from a1."""
        white, black, player, _ = state
        if player < 0:
            return ()
        columns, (left, straight, right) = self._size.columns, self._starts[player]
        squares = self._squares
        if player:
            not_own, empty = squares ^ black, squares ^ (white | black)
            ends_left, ends_right = (black & left) >> columns + 1 & not_own, (black & right) >> columns - 1 & not_own
            ends = (black & straight) >> columns & empty
        else:
            not_own, empty = squares ^ white, squares ^ (white | black)
            ends_left, ends_right = (white & left) << columns - 1 & not_own, (white & right) << columns + 1 & not_own
            ends = (white & straight) << columns & empty
        num_bytes = self._num_bytes
        num_bits = 8 * num_bytes
        all_ends = ends_left | (ends | ends_right << num_bits) << num_bits
        known = self._known_moves[player]
        moves = known.get(all_ends)
        if moves is None:
            if len(known) >= _MAX_KNOWN:
                known.clear()
            found: list[Step] = []
            for eight_ends, steps in zip(
                all_ends.to_bytes(3 * num_bytes, "little"), self._steps_to[player], strict=True
            ):
                if eight_ends:
                    found += steps[eight_ends]
            moves = known[all_ends] = tuple(found)
        return moves

    def chance_outcomes(self, state: BreakthroughState) -> tuple[tuple[Step, float], ...]:
        """Returns nothing: there is no chance in the game."""
        return ()

    def next_state(self, state: BreakthroughState, move: Step) -> BreakthroughState:
        """Returns the position after the seat to move makes the step `move`."""
        white, black, player, board = state
        way = self._ways[player].get(move) if player >= 0 else None
        if way is None:
            raise _illegal(self._size, state, move)
        own, other = (black, white) if player else (white, black)
        start, end, is_straight, upper, lower = way
        if not own & start or (own | other if is_straight else own) & end:
            raise _illegal(self._size, state, move)
        if not board:
            board = _drawn(white, black, self._size)
        own ^= start | end
        other &= ~end
        following = 1 - player if other and not own & self._goals[player] else TERMINAL
        top, middle, bottom = board[:upper], board[upper + 1 : lower], board[lower + 1 :]
        if player:
            return new_tuple(BreakthroughState, (other, own, following, f"{top}.{middle}B{bottom}"))
        return new_tuple(BreakthroughState, (own, other, following, f"{top}W{middle}.{bottom}"))

    def returns(self, state: BreakthroughState) -> tuple[float, ...]:
        """Returns +1 to the winner and -1 to the loser; zeros before the end."""
        winner = self.winner(state)
        if winner is None:
            return (0.0, 0.0)
        return (-1.0, 1.0) if winner else (1.0, -1.0)

    def winner(self, state: BreakthroughState) -> Player | None:
        """Returns the seat that has won, if any."""
        white, black, player, _ = state
        if player >= 0:
            return None
        return 0 if not black or white & self._goals[0] else 1

    def features(self, state: BreakthroughState, seat: Player) -> tuple[float, ...]:
        """Returns four planes of the board: the seat's pieces, the other's, whether it is White, and whose turn it is.

        Rows run from the top, as in the text. The third plane is 1 everywhere for White and 0 for Black, the fourth 1
        everywhere when it is the seat's turn and 0 otherwise.
        """
        white, black, player, _ = state
        rows, columns = self._size
        full, features = self._goals[1], self._row_features
        planes: list[float] = []
        for pieces in (black, white) if seat else (white, black):
            for start in range((rows - 1) * columns, -1, -columns):
                planes += features[pieces >> start & full]
        planes += (0.0 if seat else 1.0,) * (rows * columns)
        planes += (1.0 if player == seat else 0.0,) * (rows * columns)
        return tuple(planes)


class _FormatMove(Protocol):
    def __call__(self, move: Step) -> str: ...


class BreakthroughCodec:
    """The text.

    Attributes:
        format_move: Returns `[a2a3]` for the step from a2 to a3. Every position needs the texts of some twenty moves,
            and most positions are seen once: a function in Python would take twice as long.
    """

    def __init__(self, game: Breakthrough, size: Size) -> None:
        """Sets the rules and the board that the text is about."""
        self._game = game
        self._size = size
        texts = {step: _text(size, step) for ways in _ways_of(size) for step in ways}
        self.format_move: _FormatMove = texts.__getitem__  # pyright: ignore[reportAttributeAccessIssue] - it takes no names
        self._rules = tuple(_rules(size, seat) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for White (seat 0) or Black (seat 1)."""
        return self._rules[seat]

    def observe(self, state: BreakthroughState, seat: Player) -> str:
        """Returns the board, the highest row first, with the names of rows and columns."""
        white, black, player, board = state
        status = _TO_MOVE[seat][player] if player >= 0 else _OVER[seat][seat == self._game.winner(state)]
        return (board or _drawn(white, black, self._size)) + status

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

_MAX_KNOWN: Final = 1024
"""How many sets of legal moves are remembered, so that equal ones near the start are one object."""

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


def _drawn(white: int, black: int, size: Size) -> str:
    """Returns the board as players see it, the highest row first, with the names of rows and columns."""
    rows, columns = size
    lines = ["Board:\n"]
    for row in range(rows - 1, -1, -1):
        squares = [1 << row * columns + column for column in range(columns)]
        # Every square has a space before it, so that tokenizers see the same token wherever a piece stands.
        pieces = " ".join(PIECES[0] if white & square else PIECES[1] if black & square else "." for square in squares)
        lines.append(f"{row + 1} {pieces}\n")
    return f"{''.join(lines)}  {' '.join(_COLUMNS[:columns])}\n"


def _place(size: Size, square: int) -> int:
    """Returns where a square stands in `BreakthroughState.board`."""
    row, column = divmod(square, size.columns)
    return len("Board:\n") + (size.rows - 1 - row) * (2 * size.columns + 2) + 2 * column + 2


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
                    end = start + forward * columns + aside
                    upper, lower = _place(size, max(start, end)), _place(size, min(start, end))
                    found[Step(start, end)] = _Way(1 << start, 1 << end, aside == 0, upper, lower)
    return ways


def _starts(size: Size, seat: Player) -> tuple[int, int, int]:
    """Returns the squares where steps to the left, straight ahead and to the right can start, as bits."""
    left, straight, right = (sum(1 << step.start for step in _steps(size, seat, aside)) for aside in (-1, 0, 1))
    return left, straight, right


def _steps_to(size: Size, seat: Player) -> tuple[_StepsTo, ...]:
    """Returns the steps to the left, straight ahead and to the right, eight squares that they end on at a time."""
    return tuple(
        _StepsTo({step.end: step for step in _steps(size, seat, aside)}, first)
        for aside in (-1, 0, 1)
        for first in range(0, size.rows * size.columns, 8)
    )


def _steps(size: Size, seat: Player, aside: int) -> list[Step]:
    columns = size.columns
    return [step for step in _ways_of(size)[seat] if step.end % columns - step.start % columns == aside]


def _row_features(pieces: int, columns: int) -> tuple[float, ...]:
    return tuple(float(pieces >> column & 1) for column in range(columns))


def _text(size: Size, move: Step) -> str:
    return f"[{_name(size, move.start)}{_name(size, move.end)}]"


def _name(size: Size, square: int) -> str:
    row, column = divmod(square, size.columns)
    return f"{_COLUMNS[column]}{row + 1}"


def _illegal(size: Size, state: BreakthroughState, move: Step) -> IllegalMoveError:
    white, black, player, _ = state
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
