"""Positions of a game for tests of it: all of them when they are few, otherwise those of random games."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player

MAX_POSITIONS: Final = 8000
"""A game with no more positions is visited whole."""

History: TypeAlias = tuple[tuple[Player, Any], ...]
"""The moves from the start, each with who made it."""


class PositionError(Exception):
    """The game raised an error where it should have told what a position is; the error is the cause.

    Attributes:
        history: The way to the position.
    """

    def __init__(self, history: History) -> None:
        """Keeps the way."""
        super().__init__(f"an error after {history!r}")
        self.history = history


class Position(NamedTuple):
    """A position that can be reached, with a way to it.

    Attributes:
        history: The way.
        state: The state.
        player: Who is to move.
        shown: By seat, every text that it could see on the way, up to now; repetitions are left out. Nobody looks
            while chance moves.
    """

    history: History
    state: Any
    player: Player
    shown: tuple[tuple[str, ...], ...]


def positions_of(spec: GameSpec, rng: random.Random, *, num_games: int) -> tuple[Position, ...]:
    """Returns every position, or those of `num_games` random games when there are more than `MAX_POSITIONS`.

    Two ways to the same state are one position where the whole state is seen; elsewhere the way matters. A way ends at
    the first position beyond `max_plies`.
    """
    return _all_positions(spec) or tuple(_random_positions(spec, rng, num_games))


def possible_moves(spec: GameSpec, position: Position) -> tuple[Any, ...]:
    """Returns the legal moves, or the outcomes of chance that have a probability."""
    if position.player == CHANCE:
        return tuple(move for move, probability in spec.game.chance_outcomes(position.state) if probability > 0)
    return spec.game.legal_moves(position.state)


def after(spec: GameSpec, position: Position, move: Any) -> Position:
    """Returns the position that `move` leads to."""
    history = (*position.history, (position.player, move))
    try:
        state = spec.game.next_state(position.state, move)
    except Exception as error:
        raise PositionError(history) from error
    return _look(spec, history, state, position.shown)


def start(spec: GameSpec) -> Position:
    """Returns the position before the first move."""
    return _look(spec, (), spec.game.initial_state(), ((),) * spec.game.num_players)


def replay(spec: GameSpec, moves: Sequence[Any]) -> Position | None:
    """Returns the position after `moves`, or None where one of them is not possible."""
    position = start(spec)
    for move in moves:
        if move not in possible_moves(spec, position):
            return None
        position = after(spec, position, move)
    return position


def num_plies(history: History) -> int:
    """Returns how many moves of players `history` has."""
    return sum(player >= 0 for player, _ in history)


def choose(rng: random.Random, texts: tuple[str, ...]) -> int:
    """Returns the index of a random move; kinds of moves, which differ in more than numbers, are equally likely."""
    return rng.choice(rng.choice(_kinds(texts)))


def _all_positions(spec: GameSpec) -> tuple[Position, ...]:
    """Returns every position, or nothing when there are too many."""
    first = start(spec)
    found: dict[object, Position] = {first.state if spec.perfect_information else (): first}
    waiting = [first]
    while waiting:
        position = waiting.pop()
        if num_plies(position.history) > spec.game.max_plies:
            continue
        for move in possible_moves(spec, position):
            following = after(spec, position, move)
            key = following.state if spec.perfect_information else following.history
            if key not in found:
                found[key] = following
                waiting.append(following)
            if len(found) > MAX_POSITIONS:
                return ()
    return tuple(found.values())


def _random_positions(spec: GameSpec, rng: random.Random, num_games: int) -> Iterator[Position]:
    """Yields the positions of random games, each outcome of chance as likely as any other."""
    for _ in range(num_games):
        position = start(spec)
        yield position
        while position.player != TERMINAL and num_plies(position.history) <= spec.game.max_plies:
            moves = possible_moves(spec, position)
            if not moves:
                break
            is_chance = position.player == CHANCE
            index = rng.randrange(len(moves)) if is_chance else choose(rng, tuple(map(spec.codec.format_move, moves)))
            position = after(spec, position, moves[index])
            yield position


def _look(spec: GameSpec, history: History, state: Any, shown: tuple[tuple[str, ...], ...]) -> Position:
    try:
        hash(state)
        player = spec.game.to_move(state)
        texts = () if player == CHANCE else tuple(spec.codec.observe(state, seat) for seat in range(len(shown)))
        # Raises unless they are texts.
        "".join(texts)
    except Exception as error:
        raise PositionError(history) from error
    if player != CHANCE:
        shown = tuple(
            past if past and past[-1] == text else (*past, text) for past, text in zip(shown, texts, strict=True)
        )
    return Position(history, state, player, shown)


@lru_cache(maxsize=1024)
def _kinds(texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    kinds: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        kinds.setdefault(re.sub(r"\d+", "0", text), []).append(index)
    return tuple(map(tuple, kinds.values()))
