"""Snake: two snakes on one grid, which move at the same time.

Rules: both snakes start with one cell, in the middle row, one cell away from the left edge (seat 0) and from the right
    edge (seat 1). Before round 1 and after every round one apple falls on a random free cell, unless there are enough
    apples or no cell is free. In a round both players choose a direction in secret, then both snakes move:
    1. Each head moves one cell on. A snake whose head finds an apple keeps its tail, so that it grows; the tail of any
       other leaves its cell in the same moment, and that cell is free.
    2. A snake whose head leaves the grid dies. Two heads that meet in one cell, or that change places, both die. These
       snakes are off the grid at once and in nobody's way.
    3. Of the others, each whose head is now on a cell of a body, its own or the other's, dies; both can.
    4. A snake that lives and has found an apple has eaten it.
    A snake may turn back: one of two cells then takes the cell that its tail leaves, a longer one runs into itself.
    The game ends when a snake has died, or after the last round. If one snake lives, it wins. If both have died, or
    both live after the last round, whoever has eaten more apples wins.
Players: Player 0 and Player 1, whose positions mirror each other. Seat 0 is asked first, and seat 1 is not shown what
    it chose until it has chosen as well.
Moves: `[up]`, `[down]`, `[left]`, `[right]`; all four are always legal. Row 0 is at the top.
Options: `width` and `height` (default 7), from 4 to 15; `apples` (default 1), how many there can be at a time, from 1
    to 10; `rounds` (default 30), from 1 to 200.
Returns: +1 for the winner, -1 for the loser, 0 each when both have eaten the same and neither has outlived the other.
Length: 2 plies a round.
Known values: the position mirrors itself from left to right, so that the game is worth 0. A round changes the distance
    of the heads, in rows and columns, by 0, 2 or 4: on a grid of odd width they never change places, on one of even
    width they never meet in one cell.
Source of the rules: the arcade game Blockade (Gremlin, 1976) with the apples of later ones. Start, steps 1 to 3 and
    where apples fall as in OpenSpiel's `snake`, but for the seats being treated alike: there seat 1 can live when both
    would die by step 3, and two snakes of one cell can change places. Both are here as in TextArena's Snake, and so is
    who wins.

Version history:
    v0: first release.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple, Self, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

MIN_SIDE: Final = 4
MAX_SIDE: Final = 15

MAX_APPLES: Final = 10

MAX_ROUNDS: Final = 200


class Direction(IntEnum):
    """Where a snake can go."""

    UP = 0
    DOWN = 1
    LEFT = 2
    RIGHT = 3


class Fate(IntEnum):
    """What has become of a snake."""

    ALIVE = 0
    WALL = 1
    """Its head left the grid."""

    HEADS = 2
    """Its head met the other's."""

    BODY = 3
    """Its head ran into a body, its own or the other's."""


class Apple(NamedTuple):
    """An apple that falls: chance's move.

    Attributes:
        cell: Where, row by row from the top left.
    """

    cell: int


SnakeMove: TypeAlias = Direction | Apple

Body: TypeAlias = tuple[int, ...]
"""The cells of a snake, its head first; cells are numbered row by row from the top left."""


class _Fields(NamedTuple):
    bodies: tuple[Body, Body]
    apples: tuple[int, ...]
    moves: tuple[tuple[Direction, Direction], ...]
    falls: tuple[tuple[int, int], ...]
    chosen: Direction | None
    scores: tuple[int, int]
    fates: tuple[Fate, Fate]
    past: tuple[str, str]


class SnakeState(_Fields):
    """A game in progress.

    Attributes:
        bodies: The snake of each seat; a dead one has no cells.
        apples: The cells of the apples, in the order in which they fell.
        moves: The directions of the finished rounds, seat 0's first.
        falls: Every apple that fell: how many rounds were finished, and its cell.
        chosen: Seat 0's direction in the round in progress, which seat 1 may not see; None before it.
        scores: The apples that each seat has eaten.
        fates: What has become of each seat's snake.
        past: The words of `moves`, each after a space, seat 0's first: they grow by one a round, and would take long to
            write anew.
    """

    __slots__ = ()

    def __new__(  # noqa: PLR0917 - a pickle gives all fields by their places
        cls,
        bodies: tuple[Body, Body],
        apples: tuple[int, ...] = (),
        moves: tuple[tuple[Direction, Direction], ...] = (),
        falls: tuple[tuple[int, int], ...] = (),
        chosen: Direction | None = None,
        scores: tuple[int, int] = (0, 0),
        fates: tuple[Fate, Fate] = (Fate.ALIVE, Fate.ALIVE),
        past: tuple[str, str] | None = None,
    ) -> Self:
        """Returns a state; `past` follows from `moves` and need not be given."""
        if past is None:
            past = _words(first for first, _ in moves), _words(second for _, second in moves)
        return super().__new__(cls, bodies, apples, moves, falls, chosen, scores, fates, past)


class SnakeGame:
    """The rules."""

    num_players = 2

    def __init__(self, *, width: int, height: int, apples: int, rounds: int) -> None:
        """Sets the size of the grid, the number of apples at a time and the number of rounds."""
        self.width = width
        self.height = height
        self.apples = apples
        self.rounds = rounds
        self.max_plies = 2 * rounds
        middle = height // 2 * width
        self._start = SnakeState(bodies=((middle + 1,), (middle + width - 2,)))
        self._steps = tuple(_steps(cell, width, height) for cell in range(width * height))
        num_cells = width * height
        self._apples = tuple(map(Apple, range(num_cells)))
        self._shares = tuple(1 - index / num_cells for index in range(num_cells))

    def initial_state(self) -> SnakeState:
        """Returns the state before the first apple."""
        return self._start

    def to_move(self, state: SnakeState) -> Player:
        """Returns `CHANCE` while an apple falls, seat 0 and then seat 1 in every round, `TERMINAL` at the end."""
        if state.fates != _BOTH_ALIVE or len(state.moves) == self.rounds:
            return TERMINAL
        if state.chosen is not None:
            return 1
        return CHANCE if len(state.apples) < self.apples and self._lacks_apple(state) else 0

    def legal_moves(self, state: SnakeState) -> tuple[SnakeMove, ...]:
        """Returns all four directions where a player is to move."""
        return _DIRECTIONS if self.to_move(state) >= 0 else _NOTHING

    def chance_outcomes(self, state: SnakeState) -> tuple[tuple[SnakeMove, float], ...]:
        """Returns the free cells on which the apple can fall, equally likely."""
        if self.to_move(state) != CHANCE:
            return ()
        taken = {*state.bodies[0], *state.bodies[1], *state.apples}
        num_cells = len(self._apples)
        outcomes = list(_equally_likely(num_cells, num_cells - len(taken)))
        # From the last cell to the first, so that those before stay in their places.
        for cell in sorted(taken, reverse=True):
            del outcomes[cell]
        return tuple(outcomes)

    def next_state(self, state: SnakeState, move: SnakeMove) -> SnakeState:
        """Returns the state after an apple falls or a player chooses; seat 1's choice moves both snakes."""
        if isinstance(move, Apple):
            if self.to_move(state) != CHANCE or not self._is_free(state, move.cell):
                raise IllegalMoveError(
                    f"illegal apple on cell {move.cell} in snake: expected a free cell, between rounds"
                )
            return _with_apple(state, move.cell)
        bodies, apples, moves, falls, chosen, scores, fates, past = state
        if fates != _BOTH_ALIVE or len(moves) == self.rounds or move not in _DIRECTIONS:
            raise _illegal(move)
        if chosen is not None:
            return self._after_round(state, move)
        if len(apples) < self.apples and self._lacks_apple(state):
            raise _illegal(move)
        return new_tuple(SnakeState, (bodies, apples, moves, falls, move, scores, fates, past))

    def returns(self, state: SnakeState) -> tuple[float, ...]:
        """Returns +1 to the winner and -1 to the loser, or zeros."""
        if self.to_move(state) != TERMINAL:
            return (0.0, 0.0)
        first, second = (fate == Fate.ALIVE for fate in state.fates)
        won = first - second or (state.scores[0] > state.scores[1]) - (state.scores[0] < state.scores[1])
        return (float(won), float(-won))

    def features(self, state: SnakeState, seat: Player) -> tuple[float, ...]:
        """Returns planes of the grid: own head and body, the other's head and body, apples, and the rounds left.

        A cell of a body is the greater, the sooner it follows the head; it is 1 at the head. The rounds left are their
        share of all, on every cell.
        """
        num_cells, shares = len(self._apples), self._shares
        numbers = [0.0] * (5 * num_cells)
        numbers += [1 - len(state.moves) / self.rounds] * num_cells
        for offset, body in ((0, state.bodies[seat]), (2 * num_cells, state.bodies[1 - seat])):
            if body:
                numbers[offset + body[0]] = 1.0
            for index, cell in enumerate(body):
                numbers[offset + num_cells + cell] = shares[index]
        for cell in state.apples:
            numbers[4 * num_cells + cell] = 1.0
        return tuple(numbers)

    def _is_free(self, state: SnakeState, cell: int) -> bool:
        bodies = state.bodies
        return 0 <= cell < len(self._apples) and not (cell in bodies[0] or cell in bodies[1] or cell in state.apples)

    def _lacks_apple(self, state: SnakeState) -> bool:
        """Returns whether an apple falls now, if nobody has chosen and there are too few: one does between rounds."""
        falls = state.falls
        if falls and falls[-1][0] == len(state.moves):
            return False
        first, second = state.bodies
        return len(first) + len(second) + len(state.apples) < len(self._apples)

    def _after_round(self, state: SnakeState, move: Direction) -> SnakeState:
        """Returns the state after seat 1 has chosen as well."""
        bodies, apples, moves, falls, chosen, scores, _, past = state
        assert chosen is not None, "seat 1 moves after seat 0"
        (first_body, second_body), steps = bodies, self._steps
        heads = first, second = steps[first_body[0]][chosen], steps[second_body[0]][move]
        eats = first in apples, second in apples
        kept = (
            first_body if eats[0] else first_body[:-1],
            second_body if eats[1] else second_body[:-1],
        )
        fates = _fates(bodies, heads, kept)
        if fates is _BOTH_ALIVE:
            bodies = (first, *kept[0]), (second, *kept[1])
        else:
            eats = eats[0] and not fates[0], eats[1] and not fates[1]
            bodies = () if fates[0] else (first, *kept[0]), () if fates[1] else (second, *kept[1])
        if eats[0] or eats[1]:
            scores = scores[0] + eats[0], scores[1] + eats[1]
            apples = tuple([cell for cell in apples if cell not in heads])
        moves = (*moves, (chosen, move))
        past = past[0] + _WORDS_AFTER[chosen], past[1] + _WORDS_AFTER[move]
        return new_tuple(SnakeState, (bodies, apples, moves, falls, None, scores, fates, past))


class SnakeCodec:
    """The text."""

    def __init__(self, game: SnakeGame) -> None:
        """Takes the rules, and prepares the empty grid."""
        self._game = game
        width, height = game.width, game.height
        digits = len(str(max(width, height) - 1))
        self._rules = tuple(_rules(seat, game) for seat in range(2))
        self._names = tuple(_name(cell, width) for cell in range(width * height))
        self._openings = tuple(
            f"Round {number} of {game.rounds}. Apples eaten: you " for number in range(game.rounds + 1)
        )
        # Every column, the labels of the rows included, is as wide as the longest label.
        columns = "".join(f" {column:>{digits}}" for column in range(width))
        head = f"{' ' * digits}{columns}\n"
        free = f"{' ' * digits}." * width
        rows = [f"{row:>{digits}}{free}\n" for row in range(height)]
        self._grid = f"{head}{''.join(rows)}".encode()
        self._places = tuple(
            len(head) + row * len(rows[0]) + digits + (column + 1) * (digits + 1) - 1
            for row in range(height)
            for column in range(width)
        )

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player 0 or Player 1."""
        return self._rules[seat]

    def observe(self, state: SnakeState, seat: Player) -> str:
        """Returns the grid and the past; the other's choice only when the round is over."""
        bodies, apples, moves, falls, chosen, scores, fates, past = state
        other = 1 - seat
        number = len(moves)
        if fates != _BOTH_ALIVE or number == self._game.rounds:
            ending = _ending(state, seat)
        else:
            number += 1
            ending = _turn(chosen, seat)
        mine, theirs, names = bodies[seat], bodies[other], self._names
        # The text must tell the whole past of its reader.
        fallen = ", ".join([names[cell] + _BEFORE[finished] for finished, cell in falls]) or "none"
        chose = f"Moves so far: you{past[seat]}; the other{past[other]}.\n" if moves else ""
        return (
            f"{self._openings[number]}{scores[seat]}, the other {scores[other]}.\n"
            f"{self._drawing(mine, theirs, apples)}"
            f"Snakes from head to tail: you {self._cells(mine)}, the other {self._cells(theirs)}.\n"
            f"Apples fell: {fallen}.\n"
            f"{chose}{ending}"
        )

    def format_move(self, move: SnakeMove) -> str:
        """Returns `[up]`, `[down]`, `[left]` or `[right]`."""
        assert isinstance(move, Direction), "chance's moves have no text"
        return _TEXTS[move]

    def parse_move(self, state: SnakeState, text: str) -> SnakeMove:
        """Returns the direction that `[up]` or `up` names, in any case of letters."""
        move = _WORDS.get(unbracketed(text).lower())
        if move is None:
            raise MalformedMoveError(f"malformed move {text[:60]!r} in snake: expected {_EXPECTED}")
        if self._game.to_move(state) < 0:
            raise _illegal(move)
        return move

    def _drawing(self, mine: Body, theirs: Body, apples: tuple[int, ...]) -> str:
        """Returns the lines of the grid."""
        grid, places = bytearray(self._grid), self._places
        for cell in mine:
            grid[places[cell]] = _MY_BODY
        for cell in theirs:
            grid[places[cell]] = _OTHER_BODY
        if mine:
            grid[places[mine[0]]] = _MY_HEAD
        if theirs:
            grid[places[theirs[0]]] = _OTHER_HEAD
        for cell in apples:
            grid[places[cell]] = _APPLE
        return grid.decode()

    def _cells(self, body: Body) -> str:
        """Returns where a snake lies."""
        names = self._names
        if len(body) == 1:
            return names[body[0]]
        return "".join([names[cell] for cell in body]) or "gone"


# Looking a member up in its enumeration takes as long as moving a snake.
_ALIVE: Final = Fate.ALIVE
_WALL: Final = Fate.WALL
_BODY: Final = Fate.BODY

_BOTH_ALIVE: Final = (_ALIVE, _ALIVE)
_BOTH_MET: Final = (Fate.HEADS, Fate.HEADS)

_MY_HEAD, _MY_BODY, _OTHER_HEAD, _OTHER_BODY, _APPLE = b"HhOoA"

_DIRECTIONS: Final[tuple[SnakeMove, ...]] = tuple(Direction)
_NOTHING: Final[tuple[SnakeMove, ...]] = ()

_NAMES: Final = tuple(direction.name.lower() for direction in Direction)
"""By direction, which is its place."""

_WORDS_AFTER: Final = tuple(f" {name}" for name in _NAMES)

_TEXTS: Final = {direction: f"[{_NAMES[direction]}]" for direction in Direction}

_WORDS: Final = {_NAMES[direction]: direction for direction in Direction}

_EXPECTED: Final = "[up], [down], [left] or [right]"

_ENDS: Final = {
    Fate.ALIVE: "lived",
    Fate.WALL: "hit the wall",
    Fate.HEADS: "died head to head",
    Fate.BODY: "ran into a body",
}

_OUTSIDE: Final = -1
"""What is beyond the edge of the grid."""

_BEFORE: Final = tuple(f" before round {finished + 1}" for finished in range(MAX_ROUNDS))
"""By the number of finished rounds."""


def _steps(cell: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Returns the cells to which the directions lead from `cell`."""
    row, column = divmod(cell, width)
    return (
        cell - width if row > 0 else _OUTSIDE,
        cell + width if row < height - 1 else _OUTSIDE,
        cell - 1 if column > 0 else _OUTSIDE,
        cell + 1 if column < width - 1 else _OUTSIDE,
    )


def _with_apple(state: SnakeState, cell: int) -> SnakeState:
    bodies, apples, moves, falls, chosen, scores, fates, past = state
    falls = (*falls, (len(moves), cell))
    return new_tuple(SnakeState, (bodies, (*apples, cell), moves, falls, chosen, scores, fates, past))


@lru_cache(maxsize=256)
def _equally_likely(num_cells: int, num_free: int) -> tuple[tuple[SnakeMove, float], ...]:
    """Returns an apple on every cell, taken ones included, each with the probability of a free one."""
    return tuple((Apple(cell), 1 / num_free) for cell in range(num_cells))


def _words(directions: Iterable[Direction]) -> str:
    return "".join(_WORDS_AFTER[direction] for direction in directions)


def _name(cell: int, width: int) -> str:
    return f"({cell // width},{cell % width})"


def _fates(bodies: tuple[Body, Body], heads: tuple[int, int], kept: tuple[Body, Body]) -> tuple[Fate, Fate]:
    """Returns what becomes of the snakes.

    Args:
        bodies: The snakes before the round.
        heads: The cells to which their heads move, or `_OUTSIDE`.
        kept: The cells of the old bodies that are not left in this round.
    """
    first, second = heads
    if first == second != _OUTSIDE or (first == bodies[1][0] and second == bodies[0][0]):
        return _BOTH_MET
    # Who has hit the wall is in nobody's way; who runs into a body still is in the way of the other.
    in_the_way = (() if first == _OUTSIDE else kept[0]) + (() if second == _OUTSIDE else kept[1])
    first_fate, second_fate = _fate(first, in_the_way), _fate(second, in_the_way)
    return (first_fate, second_fate) if first_fate or second_fate else _BOTH_ALIVE


def _fate(head: int, in_the_way: Body) -> Fate:
    if head == _OUTSIDE:
        return _WALL
    return _BODY if head in in_the_way else _ALIVE


def _illegal(move: SnakeMove) -> IllegalMoveError:
    if not isinstance(move, Direction):
        return IllegalMoveError(f"illegal move {move!r} in snake: expected {_EXPECTED}")
    return IllegalMoveError(f"illegal move {_TEXTS[move]} in snake with no player to move: expected no move")


def _turn(chosen: Direction | None, seat: Player) -> str:
    if chosen is None:
        return "It is your turn." if seat == 0 else "You wait."
    return f"You have chosen {_TEXTS[chosen]}. You wait." if seat == 0 else "It is your turn."


def _ending(state: SnakeState, seat: Player) -> str:
    mine, theirs = state.fates[seat], state.fates[1 - seat]
    lead = (mine == Fate.ALIVE) - (theirs == Fate.ALIVE) or state.scores[seat] - state.scores[1 - seat]
    result = "You have won." if lead > 0 else "You have lost." if lead < 0 else "It is a draw."
    return f"The game is over: you {_ENDS[mine]}, the other {_ENDS[theirs]}. {result}"


def _rules(seat: Player, game: SnakeGame) -> str:
    side = "left" if seat == 0 else "right"
    lacking = "no apple" if game.apples == 1 else f"fewer than {game.apples} apples"
    return (
        f"You are Player {seat} in a game of Snake against Player {1 - seat}, on a grid of {game.height} rows and"
        f" {game.width} columns. You start on the {side}.\n"
        f"In each round both players choose a direction in secret; then both snakes move one cell. A snake that finds"
        f" an apple eats it and grows by one cell; otherwise its tail leaves its cell, which is free at once. Before a"
        f" round that starts with {lacking} on the grid, one falls on a free cell at random.\n"
        f"A snake dies when its head leaves the grid, runs into its own body or the other's, or meets the other head in"
        f" one cell or by changing places. Whoever outlives the other wins. If both die in the same round, or both live"
        f" after round {game.rounds}, whoever has eaten more apples wins; equal is a draw.\n"
        f"In the grid H is your head, h your body, O the other's head, o its body, A an apple and . a free cell. Rows"
        f" are numbered from the top and columns from the left; (2,0) is row 2, column 0. Up leads to the row above.\n"
        f"Your move is [up], [down], [left] or [right]."
    )


def configure(*, width: int = 7, height: int = 7, apples: int = 1, rounds: int = 30) -> GameSpec:
    """Returns Snake on a grid of `width` by `height` with at most `apples` at a time, for at most `rounds` rounds.

    Raises:
        ValueError: A value is not an integer in its range.
    """
    for name, value, low, high in (
        ("width", width, MIN_SIDE, MAX_SIDE),
        ("height", height, MIN_SIDE, MAX_SIDE),
        ("apples", apples, 1, MAX_APPLES),
        ("rounds", rounds, 1, MAX_ROUNDS),
    ):
        # The value may come from a configuration file, where its type is not checked; True is an int as well.
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"option {name} of snake is {value!r}: expected an integer from {low} to {high}")
    game = SnakeGame(width=width, height=height, apples=apples, rounds=rounds)
    return GameSpec(
        name="snake",
        version=0,
        game=game,
        codec=SnakeCodec(game),
        roles=("Player 0", "Player 1"),
        return_range=(-1.0, 1.0),
        discrete=DiscreteForm(moves=_DIRECTIONS, shape=(6, height, width), features=game.features),
        configure=configure,
    )


SPEC: Final = configure()
