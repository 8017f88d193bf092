"""Zero-sum text games with role-conditioned prompts, strict action parsing and exact rules.

Every registered game is also an attribute in the shape of a PettingZoo module: `spiral_envs.kuhn_poker_v0.env()`.
"""

from __future__ import annotations

from typing import Any

import gymnasium

from spiral_envs import solve
from spiral_envs.aec import DiscreteAECEnv, EnvModule, TextAECEnv, make, register_pettingzoo
from spiral_envs.agents import Agent, EndpointError, ScriptedAgent, make_agent
from spiral_envs.batch import BatchStep, DiscreteBatchStep, DiscreteMatchBatch, MatchBatch
from spiral_envs.check import check_game
from spiral_envs.episode import Episode
from spiral_envs.errors import (
    BrokenLawError,
    IllegalMoveError,
    MalformedMoveError,
    MissingExtraError,
    MoveError,
    UnknownNameError,
)
from spiral_envs.game import CHANCE, TERMINAL, Codec, DiscreteForm, Game, GameSpec
from spiral_envs.gym import SeatEnv, gymnasium_id, register_gymnasium
from spiral_envs.match import (
    Fault,
    GameMatch,
    InvalidMove,
    Match,
    MatchSource,
    Outcome,
    Reply,
    Termination,
    Turn,
    View,
)
from spiral_envs.play import play
from spiral_envs.registry import find_game, game_ids
from spiral_envs.registry import register as _register
from spiral_envs.sources import find_source

__version__ = "0.1.0"

__all__ = [
    "CHANCE",
    "TERMINAL",
    "Agent",
    "BatchStep",
    "BrokenLawError",
    "Codec",
    "DiscreteAECEnv",
    "DiscreteBatchStep",
    "DiscreteForm",
    "DiscreteMatchBatch",
    "EndpointError",
    "EnvModule",
    "Episode",
    "Fault",
    "Game",
    "GameMatch",
    "GameSpec",
    "IllegalMoveError",
    "InvalidMove",
    "MalformedMoveError",
    "Match",
    "MatchBatch",
    "MatchSource",
    "MissingExtraError",
    "MoveError",
    "Outcome",
    "Reply",
    "ScriptedAgent",
    "SeatEnv",
    "Termination",
    "TextAECEnv",
    "Turn",
    "UnknownNameError",
    "View",
    "__version__",
    "check_game",
    "find_game",
    "find_source",
    "game_ids",
    "make",
    "make_agent",
    "make_match",
    "play",
    "register",
    "solve",
]


def make_match(game_id: str, *, seed: int, invalid_move: str = "forfeit", **game_options: Any) -> Match:
    """Returns a new match of a game.

    Args:
        game_id: A registered id, with options in parentheses if you like: `kuhn_poker_v0(hands=1)`; or a game of a
            bridge: `openspiel:leduc_poker`, `textarena:ConnectFour-v0`, `pettingzoo:connect_four_v3`.
        seed: Decides every chance move.
        invalid_move: What a fault costs: "forfeit" or "random", see `InvalidMove`.
        game_options: The game's own options; its module docstring lists them.

    Raises:
        UnknownNameError: No such game, option or policy.
        ValueError: The value of an option is out of its range, or the bridged game cannot work here.
        MissingExtraError: The bridge's package is not installed.
    """
    return find_source(game_id, **game_options).start(seed=seed, invalid_move=invalid_move)


def register(spec: GameSpec) -> None:
    """Adds a game under `spec.id`, here and, as `spiral_envs/…`, in the registries of PettingZoo and Gymnasium.

    Raises:
        ValueError: Another game has that id.
    """
    _register(spec)
    _register_environments(spec.id)


def __getattr__(name: str) -> EnvModule:
    """Returns the environments of the game with the id `name`."""
    if name in game_ids():
        return EnvModule(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Returns what is exported, the games included."""
    return sorted([*__all__, *game_ids()])


def _register_environments(game_id: str) -> None:
    if gymnasium_id(game_id) not in gymnasium.registry:
        register_pettingzoo(game_id)
        register_gymnasium(game_id)


# Gymnasium and PettingZoo find an environment by its name when the import of its package has registered it.
for _game_id in game_ids():
    _register_environments(_game_id)
