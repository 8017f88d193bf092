"""Zero-sum text games with role-conditioned prompts, strict action parsing and exact rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spiral_envs.agents import Agent, make_agent
from spiral_envs.episode import Episode
from spiral_envs.errors import (
    BrokenLawError,
    IllegalMoveError,
    MalformedMoveError,
    MissingExtraError,
    MoveError,
    UnknownNameError,
)
from spiral_envs.game import CHANCE, TERMINAL, Codec, Game, GameSpec
from spiral_envs.match import Fault, GameMatch, InvalidMove, Match, Outcome, Reply, Termination, Turn, View
from spiral_envs.play import play
from spiral_envs.registry import find_game, game_ids, register

__version__ = "0.1.0"


def make_match(game_id: str, *, seed: int, invalid_move: str = "forfeit", **game_options: Any) -> Match:
    """Returns a new match of a game.

    Args:
        game_id: A registered id, with options in parentheses if you like: `kuhn_poker_v0(hands=1)`.
        seed: Decides every chance move.
        invalid_move: What a fault costs: "forfeit" or "random", see `InvalidMove`.
        game_options: The game's own options; its module docstring lists them.

    Raises:
        UnknownNameError: No such game, option or policy.
        ValueError: The value of an option is out of its range.
    """
    return GameMatch(find_game(game_id, **game_options), seed=seed, invalid_move=invalid_move)
