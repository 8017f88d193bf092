"""How good a move is in a game of two with perfect information: what it gives up, as far as a search proves it.

A game that can be searched whole has exact values. Elsewhere every move is searched a number of plies deep, twice: once
as if all that lies beyond were lost, once as if it were won. The two results are bounds that hold whatever lies beyond;
where they meet, the value is proven.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

from spiral_envs.agents.minimax import TIE, move_values
from spiral_envs.game import CHANCE, TERMINAL, GameSpec

MAX_REMEMBERED: Final = 1_000_000
"""How many bounds a search by depth remembers."""


class Verdict(StrEnum):
    """What a search says of a move."""

    OPTIMAL = "optimal"
    """It keeps the value of the position."""

    MISTAKE = "mistake"
    """It gives up part of the value."""

    UNDECIDED = "undecided"
    """The value of the position is proven, but not that of the move."""

    UNPROVEN = "unproven"
    """The value of the position is not proven."""


class Bounds(NamedTuple):
    """What a move is worth to the seat that makes it, when both play perfectly from then on: at least and at most."""

    low: float
    high: float


class Judgement(NamedTuple):
    """What a search says of a move.

    Attributes:
        verdict: Whether it is as good as any.
        regret: How much of the position's value it gives up, in the units of the returns; None unless it is decided.
    """

    verdict: Verdict
    regret: float | None


def judge(bounds: dict[Any, Bounds], move: Any) -> Judgement:
    """Returns what the bounds of all legal moves of a position say of one of them."""
    best = max(bound.low for bound in bounds.values())
    low, high = bounds[move]
    if max(bound.high for bound in bounds.values()) > best + TIE:
        return Judgement(Verdict.UNPROVEN, None)
    if low >= best - TIE:
        return Judgement(Verdict.OPTIMAL, 0.0)
    if high > low + TIE:
        return Judgement(Verdict.UNDECIDED, None)
    return Judgement(Verdict.MISTAKE, best - low)


class MoveJudge:
    """Says what the moves of a game are worth, and remembers it."""

    def __init__(self, spec: GameSpec, *, depth: int | None = None) -> None:
        """Sets the game.

        Args:
            spec: A game of two with perfect information, without chance, whose returns sum to 0.
            depth: How many plies every move is searched, itself included; None for the whole game.

        Raises:
            ValueError: The game is of another kind, or `depth` is below 1.
        """
        if not spec.perfect_information or not spec.zero_sum or spec.game.num_players != 2:
            raise ValueError(
                f"cannot tell optimal moves of {spec.label}: it needs two players, perfect information and returns that"
                " sum to 0"
            )
        if depth is not None and depth < 1:
            raise ValueError(f"the depth of a search is {depth!r}: expected an integer from 1")
        self.spec = spec
        self.depth = depth
        self._judged: dict[Any, dict[Any, Bounds]] = {}
        self._lower = _Search(spec, beyond=spec.return_range[0])
        self._upper = _Search(spec, beyond=spec.return_range[1])

    def bounds(self, state: Any) -> dict[Any, Bounds]:
        """Returns the bounds of every legal move.

        Raises:
            ValueError: The game cannot be searched whole, or by depth because chance moves; or no player is to move.
        """
        known = self._judged.get(state)
        if known is None:
            known = self._judged[state] = self._exact(state) if self.depth is None else self._proven(state, self.depth)
        return known

    def _exact(self, state: Any) -> dict[Any, Bounds]:
        return {move: Bounds(value, value) for move, value in move_values(self.spec, state).items()}

    def _proven(self, state: Any, depth: int) -> dict[Any, Bounds]:
        game, seat = self.spec.game, self.spec.game.to_move(state)
        if seat < 0:
            raise ValueError(f"no player is to move in this state of {self.spec.label}")
        found: dict[Any, Bounds] = {}
        for move in game.legal_moves(state):
            following = game.next_state(state, move)
            low, high = self._lower.value(following, depth - 1), self._upper.value(following, depth - 1)
            found[move] = Bounds(low, high) if seat == 0 else Bounds(-high, -low)
        return found


class _Search:
    """Alpha-beta (Knuth and Moore 1975) in which all that lies beyond the horizon is worth the same to seat 0."""

    def __init__(self, spec: GameSpec, *, beyond: float) -> None:
        self._spec, self._game = spec, spec.game
        self._low, self._high = spec.return_range
        self._beyond = beyond
        self._known: dict[tuple[Any, int], tuple[float, float]] = {}

    def value(self, state: Any, plies: int) -> float:
        """Returns the value of `state` to seat 0, `plies` deep."""
        return self._value(state, plies, self._low, self._high)

    def _value(self, state: Any, plies: int, alpha: float, beta: float) -> float:
        """Returns the value if it is between `alpha` and `beta`, otherwise a bound on its side."""
        player = self._game.to_move(state)
        if player == TERMINAL:
            return self._game.returns(state)[0]
        if player == CHANCE:
            raise ValueError(f"{self._spec.label} cannot be searched by depth: chance moves in it")
        if plies == 0:
            return self._beyond
        lower, upper = self._known.get((state, plies), (self._low, self._high))
        if lower >= beta or lower == upper:
            return lower
        if upper <= alpha:
            return upper
        value = self._best(state, plies, max(alpha, lower), min(beta, upper), is_max=player == 0)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[state, plies] = (lower if value <= alpha else value, upper if value >= beta else value)
        return value

    def _best(self, state: Any, plies: int, alpha: float, beta: float, *, is_max: bool) -> float:
        best = self._low if is_max else self._high
        for move in self._game.legal_moves(state):
            value = self._value(self._game.next_state(state, move), plies - 1, alpha, beta)
            if is_max:
                best, alpha = max(best, value), max(alpha, value)
            else:
                best, beta = min(best, value), min(beta, value)
            if alpha >= beta:
                break
        return best
