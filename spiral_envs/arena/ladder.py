"""The ladder: reference agents that can play a game, so that a rating means something without any API key.

| rung | plays | needs |
|---|---|---|
| `random` | uniformly at random | nothing; its rating is 0 by convention |
| `greedy` | wins, blocks and threats, or the best response to `random` | perfect information, or a tree to walk |
| `mcts:100`, `mcts:1000` | Monte-Carlo tree search | perfect information |
| `minimax` | perfectly | perfect information, two players, at most `MAX_POSITIONS` positions |
| `cfr` | an equilibrium | hidden information, two players, a tree to walk |

An equilibrium is the strongest rung by what it can lose, not by what it wins: `greedy` wins more from `random`, which
is all that it prepares for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from spiral_envs.agents.registry import check_agent
from spiral_envs.errors import MissingExtraError
from spiral_envs.game import CHANCE, TERMINAL, GameSpec
from spiral_envs.sources import find_source

MAX_POSITIONS: Final = 50_000
"""In a game with more positions `minimax` is no rung: to search it whole takes a minute or more."""

ANCHOR: Final = "random"
"""The agent whose rating is 0 by convention."""

RUNGS: Final = (ANCHOR, "greedy", "mcts:100", "mcts:1000", "minimax", "cfr")
"""All of them, weakest first."""


def ladder(game: str) -> tuple[str, ...]:
    """Returns the reference agents that can play `game`, weakest first; at least `random`.

    No game is solved and none is searched whole. The answer takes up to a few seconds where it depends on how large
    the game is, and none when it is asked for again.

    Args:
        game: An id, with options in parentheses if you like.

    Raises:
        MissingExtraError: The package of a bridge is not installed.
        UnknownNameError: No such game.
        ValueError: The game cannot work here.
    """
    return tuple(agent for agent in RUNGS if agent == ANCHOR or _can_play(agent, find_source(game).label))


@lru_cache(maxsize=1024)
def _can_play(agent: str, game: str) -> bool:
    source = find_source(game)
    spec = source.spec
    if spec is None:
        return False
    try:
        check_agent(agent, [game])
        if agent == "cfr":
            # What can be walked is solved within minutes, and so are the games that greedy takes apart hand by hand.
            check_agent("greedy", [game])
    except (ValueError, MissingExtraError):
        return False
    return agent != "minimax" or _is_small(spec)


def _is_small(spec: GameSpec) -> bool:
    """Returns whether a game has no more than `MAX_POSITIONS` positions."""
    game = spec.game
    start = game.initial_state()
    # The type of a state belongs to the game.
    known: set[Any] = {start}
    pending = [start]
    while pending:
        state = pending.pop()
        player = game.to_move(state)
        if player == TERMINAL:
            continue
        moves = [move for move, _ in game.chance_outcomes(state)] if player == CHANCE else game.legal_moves(state)
        following = {game.next_state(state, move) for move in moves} - known
        known |= following
        if len(known) > MAX_POSITIONS:
            return False
        pending.extend(following)
    return True
