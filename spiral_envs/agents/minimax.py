"""The agent that plays perfectly by searching the whole game, and exact values of positions and moves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from spiral_envs.game import CHANCE, TERMINAL, GameSpec
from spiral_envs.match import View
from spiral_envs.registry import find_game

MAX_POSITIONS: Final = 1_000_000
"""A game with more positions is not searched."""


class MinimaxAgent:
    """Replies with an optimal move, drawn uniformly from all optimal moves so that its games vary.

    It plays games of two with perfect information, without chance, whose returns sum to 0.
    """

    name = "minimax"

    def __init__(self, *, seed: int) -> None:
        """Starts the agent's own random numbers."""
        self._rng = random.Random(seed)

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns an optimal move a view.

        Raises:
            ValueError: The agent cannot play the game.
        """
        return [self._choose(view) for view in views]

    def _choose(self, view: View) -> str:
        if view.state is None:
            raise _unplayable(view.game)
        spec = find_game(view.game)
        _, moves = optimal_moves(spec, view.state)
        return spec.codec.format_move(moves[int(self._rng.random() * len(moves))])


def optimal_moves(spec: GameSpec, state: Any) -> tuple[float, tuple[Any, ...]]:
    """Returns the value of `state` to the seat to move, and every move that keeps it.

    Raises:
        ValueError: The game cannot be searched, or no player is to move.
    """
    values = move_values(spec, state)
    best = max(values.values())
    return best, tuple(move for move, value in values.items() if value == best)


def move_values(spec: GameSpec, state: Any) -> dict[Any, float]:
    """Returns what each legal move is worth to the seat to move when both play perfectly from then on.

    Raises:
        ValueError: The game cannot be searched, or no player is to move.
    """
    game = spec.game
    if not spec.perfect_information or not spec.zero_sum or game.num_players != 2:
        raise _unplayable(spec.label)
    player = game.to_move(state)
    if player < 0:
        raise ValueError(f"no player is to move in this state of {spec.label}")
    sign = 1.0 if player == 0 else -1.0
    known = _VALUES.setdefault(spec, {})
    return {move: sign * _value(spec, game.next_state(state, move), known) for move in game.legal_moves(state)}


def _value(spec: GameSpec, state: Any, known: dict[Any, float]) -> float:
    """Returns the value of `state` to seat 0, and remembers it in `known`."""
    value = known.get(state)
    if value is not None:
        return value
    game = spec.game
    player = game.to_move(state)
    if player == CHANCE or len(known) >= MAX_POSITIONS:
        raise _unplayable(spec.label)
    if player == TERMINAL:
        value = game.returns(state)[0]
    else:
        children = [_value(spec, game.next_state(state, move), known) for move in game.legal_moves(state)]
        value = max(children) if player == 0 else min(children)
    known[state] = value
    return value


def _unplayable(game: str) -> ValueError:
    return ValueError(
        f"the minimax agent cannot play {game}: it needs two players, perfect information, no chance,"
        f" returns that sum to 0 and at most {MAX_POSITIONS:,} positions"
    )


_VALUES: Final[WeakKeyDictionary[GameSpec, dict[Any, float]]] = WeakKeyDictionary()
"""The values to seat 0 of the positions searched so far, by game."""
