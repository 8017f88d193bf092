"""Walking the whole tree of a game: every history, chance moves included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player
from spiral_envs.registry import find_game

MAX_NODES: Final = 600_000
"""A larger tree is not walked. Tic-tac-toe with its 549,946 histories just fits."""


class Node(NamedTuple):
    """One history.

    Attributes:
        state: The state that it leads to.
        player: Who moves there: a seat, `CHANCE` or `TERMINAL`.
        turn: How many turns the players have taken.
    """

    # The type of a state belongs to the game.
    state: Any
    player: Player
    turn: int


@dataclass(frozen=True, slots=True)
class NodeCounts:
    """The size of a game.

    Attributes:
        chance: Histories after which chance moves.
        decision: Histories after which a player moves.
        terminal: Finished games.
        information_sets: Different observations of a seat to move, counted seat by seat.
        states: Different states; histories that lead to the same state count once.
    """

    chance: int
    decision: int
    terminal: int
    information_sets: int
    states: int


def walk(spec: GameSpec) -> Iterator[Node]:
    """Yields every history once: a parent before its children, the children in the order of the game's moves.

    Raises:
        ValueError: The tree has more than `MAX_NODES` nodes.
    """
    game = spec.game
    pending = [(game.initial_state(), 0)]
    num_nodes = 0
    while pending:
        state, turn = pending.pop()
        num_nodes += 1
        if num_nodes > MAX_NODES:
            raise ValueError(
                f"{spec.label} is too large to walk: it has more than {MAX_NODES:,} nodes;"
                " choose smaller options, such as kuhn_poker_v0(hands=1)"
            )
        player = game.to_move(state)
        yield Node(state, player, turn)
        if player == CHANCE:
            moves = [move for move, _ in game.chance_outcomes(state)]
        else:
            moves = game.legal_moves(state)
            turn += 1
        pending.extend((game.next_state(state, move), turn) for move in reversed(moves))


def count_nodes(game_id: str, **options: object) -> NodeCounts:
    """Returns the size of a game's tree, of which published counts are known for many games.

    Raises:
        UnknownNameError: No such game or option.
        ValueError: The tree has more than `MAX_NODES` nodes.
    """
    spec = find_game(game_id, **options)
    players: Counter[Player] = Counter()
    observations: set[tuple[Player, str]] = set()
    states: set[object] = set()
    for state, player, _ in walk(spec):
        players[player] += 1
        states.add(state)
        if player >= 0:
            observations.add((player, spec.codec.observe(state, player)))
    chance, terminal = players[CHANCE], players[TERMINAL]
    return NodeCounts(chance, players.total() - chance - terminal, terminal, len(observations), len(states))
