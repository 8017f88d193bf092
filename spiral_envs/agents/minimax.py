"""The agents that search: `minimax` knows the whole game, `minimax:DEPTH` looks so many plies ahead.

`minimax` computes the value of every position once and plays any move that keeps it. `minimax:DEPTH` is alpha-beta
(Knuth and Moore 1975) by iterative deepening, for games that are too large for that. Where chance moves, both take the
expected value.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from spiral_envs.game import CHANCE, TERMINAL, GameSpec
from spiral_envs.match import View
from spiral_envs.registry import find_game

MAX_POSITIONS: Final = 1_000_000
"""A game with more positions is not searched whole, and no move by depth visits more."""

MAX_REMEMBERED: Final = 200_000
"""How many positions a search by depth remembers at once."""

TIE: Final = 1e-9
"""Values closer than this are equal: expected values are rounded."""

Evaluation: TypeAlias = Callable[[GameSpec, Any], float]
"""Estimates the value of a state to seat 0, within the game's range of returns, whose ends are taken as certain."""


def zero(spec: GameSpec, state: Any) -> float:
    """Returns 0, the middle of the returns of a zero-sum game: beyond the horizon nothing is known."""
    return 0.0


class MinimaxAgent:
    """Replies with a best move, drawn uniformly from all that are equally good so that its games vary.

    It plays games of two with perfect information, with or without chance, whose returns sum to 0.
    """

    def __init__(self, *, seed: int, depth: int | None = None, evaluate: Evaluation = zero) -> None:
        """Starts the agent's own random numbers.

        Args:
            seed: Decides between equally good moves.
            depth: How many plies to look ahead, chance not counted; None for the whole game.
            evaluate: What a position at the horizon is worth; unused for the whole game.

        Raises:
            ValueError: `depth` is below 1.
        """
        if depth is not None and depth < 1:
            raise ValueError(f"the depth of a minimax agent is {depth!r}: expected an integer from 1")
        self.name = "minimax" if depth is None else f"minimax:{depth}"
        self._depth = depth
        self._evaluate = evaluate
        self._rng = random.Random(seed)

    def reseed(self, seed: int) -> None:
        """Makes the agent draw as a new one with `seed` would."""
        self._rng = random.Random(seed)

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns a best move a view.

        Raises:
            ValueError: The agent cannot play the game.
        """
        # Many matches of a batch are in the same position.
        known: dict[tuple[str, Any], tuple[Any, ...]] = {}
        return [self._choose(view, known) for view in views]

    def _choose(self, view: View, known: dict[tuple[str, Any], tuple[Any, ...]]) -> str:
        if view.state is None:
            raise _unplayable(view.game)
        spec = find_game(view.game)
        moves = known.get((view.game, view.state))
        if moves is None:
            moves = known[view.game, view.state] = self._best_moves(spec, view.state)
        return spec.codec.format_move(moves[int(self._rng.random() * len(moves))])

    def _best_moves(self, spec: GameSpec, state: Any) -> tuple[Any, ...]:
        if self._depth is None:
            return optimal_moves(spec, state)[1]
        _check_playable(spec, state)
        legal = spec.game.legal_moves(state)
        # Whatever the only move is worth, it is played.
        return legal if len(legal) == 1 else best_moves(spec, state, depth=self._depth, evaluate=self._evaluate)[1]


def optimal_moves(spec: GameSpec, state: Any) -> tuple[float, tuple[Any, ...]]:
    """Returns the value of `state` to the seat to move, and every move that keeps it.

    Raises:
        ValueError: The game cannot be searched, or no player is to move.
    """
    values = move_values(spec, state)
    best = max(values.values())
    return best, tuple(move for move, value in values.items() if value >= best - TIE)


def move_values(spec: GameSpec, state: Any) -> dict[Any, float]:
    """Returns what each legal move is worth to the seat to move when both play perfectly from then on.

    Raises:
        ValueError: The game cannot be searched, or no player is to move.
    """
    _check_playable(spec, state)
    if spec in _TOO_LARGE:
        raise _too_large(spec)
    game, sign = spec.game, 1.0 if spec.game.to_move(state) == 0 else -1.0
    known = _VALUES.setdefault(spec, {})
    return {move: sign * _value(spec, game.next_state(state, move), known) for move in game.legal_moves(state)}


def best_moves(spec: GameSpec, state: Any, *, depth: int, evaluate: Evaluation = zero) -> tuple[float, tuple[Any, ...]]:
    """Returns what `state` is worth to the seat to move as far as `depth` plies show, and all moves that are as good.

    A win is taken as early, and a loss put off as long, as the plies show. Where so many plies are more than
    `MAX_POSITIONS` positions, as many are searched as fit, at least one.

    Raises:
        ValueError: The game cannot be searched, or no player is to move.
    """
    _check_playable(spec, state)
    low, high = spec.return_range
    search = _AlphaBeta(spec, evaluate)
    best, moves = search.best_moves(state, 1)
    for plies in range(2, depth + 1):
        if best >= high - TIE or not search.met_horizon:
            break
        try:
            reached, reaching = search.best_moves(state, plies)
        except _OutOfBudgetError:
            break
        best = reached
        if best <= low + TIE:
            # Every move loses: those that looked best until now lose last.
            break
        moves = reaching
    return best, moves


class _OutOfBudgetError(Exception):
    """A search has visited `MAX_POSITIONS` positions."""


class _AlphaBeta:
    """A search of one position, deeper with every call.

    Attributes:
        met_horizon: Whether the last search was cut off anywhere; otherwise it saw every end of the game.
    """

    def __init__(self, spec: GameSpec, evaluate: Evaluation) -> None:
        """Sets the game and what a position at the horizon is worth to seat 0."""
        self.met_horizon = False
        self._spec = spec
        self._game = spec.game
        self._evaluate = evaluate
        self._num_visited = 0
        self._bounds: dict[tuple[Any, int], tuple[float, float]] = {}
        self._hints: dict[Any, Any] = {}

    def best_moves(self, state: Any, plies: int) -> tuple[float, tuple[Any, ...]]:
        """Returns the value of `state` to the seat to move, `plies` deep, and all moves that reach it.

        Raises:
            _OutOfBudgetError: The search is too large; one of a single ply never is.
        """
        # Values of an earlier search are not of this depth, and would hide that it met the horizon.
        self._bounds.clear()
        self.met_horizon = False
        sign = 1.0 if self._game.to_move(state) == 0 else -1.0
        best, values = -math.inf, dict[Any, float]()
        for move in self._ordered(state):
            # A move as good as the best so far is valued exactly, any other one only as worse.
            bound = best - 2 * TIE
            alpha, beta = (bound, math.inf) if sign > 0 else (-math.inf, -bound)
            values[move] = sign * self._value(self._game.next_state(state, move), plies - 1, alpha, beta)
            if values[move] > best:
                best = values[move]
                self._hints[state] = move
        return best, tuple(move for move in self._game.legal_moves(state) if values[move] >= best - TIE)

    def _value(self, state: Any, plies: int, alpha: float, beta: float) -> float:
        """Returns the value of `state` to seat 0 if it is between `alpha` and `beta`, otherwise a bound on its side."""
        game = self._game
        player = game.to_move(state)
        if player == TERMINAL:
            return game.returns(state)[0]
        if player == CHANCE:
            outcomes = game.chance_outcomes(state)
            # Every outcome counts, so none is searched with a narrower window.
            return math.fsum(
                probability * self._value(game.next_state(state, move), plies, -math.inf, math.inf)
                for move, probability in outcomes
            )
        if plies == 0:
            self.met_horizon = True
            return self._evaluate(self._spec, state)
        lower, upper = self._bounds.get((state, plies), _UNBOUNDED)
        if lower == upper or lower >= beta:
            return lower
        if upper <= alpha:
            return upper
        return self._value_of_moves(state, plies, alpha, beta)

    def _value_of_moves(self, state: Any, plies: int, alpha: float, beta: float) -> float:
        """Returns what `_value` does where a player is to move, and remembers it."""
        self._num_visited += 1
        if self._num_visited > MAX_POSITIONS:
            raise _OutOfBudgetError
        game = self._game
        is_max = game.to_move(state) == 0
        best, best_move = -math.inf if is_max else math.inf, None
        low, high = alpha, beta
        for move in self._ordered(state):
            value = self._value(game.next_state(state, move), plies - 1, low, high)
            if (value > best) if is_max else (value < best):
                best, best_move = value, move
                low, high = (max(low, best), high) if is_max else (low, min(high, best))
                if low >= high:
                    break
        for table in (self._bounds, self._hints):
            if len(table) >= MAX_REMEMBERED:
                table.clear()
        self._hints[state] = best_move
        self._bounds[state, plies] = (best if best > alpha else -math.inf, best if best < beta else math.inf)
        return best

    def _ordered(self, state: Any) -> Sequence[Any]:
        """Returns the legal moves, the one first that was best in a shallower search."""
        moves = self._game.legal_moves(state)
        hint = self._hints.get(state)
        return moves if hint is None else (hint, *(move for move in moves if move != hint))


def _check_playable(spec: GameSpec, state: Any) -> None:
    """Raises ValueError unless a player is to move in a game that can be searched."""
    if not spec.perfect_information or not spec.zero_sum or spec.game.num_players != 2:
        raise _unplayable(spec.label)
    if spec.game.to_move(state) < 0:
        raise ValueError(f"no player is to move in this state of {spec.label}")


def _value(spec: GameSpec, state: Any, known: dict[Any, float]) -> float:
    """Returns the value of `state` to seat 0, and remembers it and all that it follows from in `known`.

    It keeps the positions in progress on a list, since a long game is deeper than Python's stack.
    """
    pending: list[tuple[Any, tuple[Any, ...] | None]] = [(state, None)]
    while pending:
        position, successors = pending.pop()
        if position in known:
            continue
        if successors is None:
            if len(known) + len(pending) >= MAX_POSITIONS:
                known.clear()
                _TOO_LARGE.add(spec)
                raise _too_large(spec)
            successors = _successors(spec, position)
            pending.append((position, successors))
            pending.extend((successor, None) for successor in successors if successor not in known)
        else:
            known[position] = _combined(spec, position, [known[successor] for successor in successors])
    return known[state]


def _successors(spec: GameSpec, state: Any) -> tuple[Any, ...]:
    game = spec.game
    if game.to_move(state) == CHANCE:
        return tuple(game.next_state(state, move) for move, _ in game.chance_outcomes(state))
    return tuple(game.next_state(state, move) for move in game.legal_moves(state))


def _combined(spec: GameSpec, state: Any, values: Sequence[float]) -> float:
    """Returns the value of `state` to seat 0 from those of its successors."""
    game = spec.game
    player = game.to_move(state)
    if player == TERMINAL:
        return game.returns(state)[0]
    if player == CHANCE:
        chances = (probability for _, probability in game.chance_outcomes(state))
        return math.fsum(probability * value for probability, value in zip(chances, values, strict=True))
    return max(values) if player == 0 else min(values)


def _unplayable(game: str) -> ValueError:
    return ValueError(
        f"the minimax agent cannot play {game}: it needs two players, perfect information and returns that sum to 0"
    )


def _too_large(spec: GameSpec) -> ValueError:
    return ValueError(
        f"the minimax agent cannot search {spec.label} whole, which has more than {MAX_POSITIONS:,} positions:"
        " name a depth in plies, minimax:DEPTH, such as minimax:4"
    )


_UNBOUNDED: Final = (-math.inf, math.inf)

_VALUES: Final[WeakKeyDictionary[GameSpec, dict[Any, float]]] = WeakKeyDictionary()
"""The values to seat 0 of the positions searched so far, by game."""

_TOO_LARGE: Final[WeakSet[GameSpec]] = WeakSet()
"""The games that have more than `MAX_POSITIONS` positions."""
