"""From agent strings to agents: `random`, `minimax`, `cfr`, and whatever other packages add.

A package adds kinds of agents through the entry-point group `spiral_envs.agents`: each entry is a function
`(argument: str, *, seed: int) -> Agent`, where `argument` is what follows the colon in `kind:argument`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final

from spiral_envs.agents.base import Agent
from spiral_envs.errors import UnknownNameError

AgentFactory = Callable[..., Agent]

ENTRY_POINT_GROUP: Final = "spiral_envs.agents"


def _random(argument: str, *, seed: int) -> Agent:
    from spiral_envs.agents.random import RandomAgent

    return RandomAgent(seed=seed)


def _minimax(argument: str, *, seed: int) -> Agent:
    from spiral_envs.agents.minimax import MinimaxAgent

    return MinimaxAgent(seed=seed)


def _cfr(argument: str, *, seed: int) -> Agent:
    from spiral_envs.agents.cfr import CfrAgent

    return CfrAgent(seed=seed)


_BUILT_IN: Final[dict[str, AgentFactory]] = {"random": _random, "minimax": _minimax, "cfr": _cfr}


def agent_names() -> tuple[str, ...]:
    """Returns every kind of agent that an agent string can begin with."""
    return (*_BUILT_IN, *sorted(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)))


def make_agent(agent_string: str, *, seed: int = 0) -> Agent:
    """Returns the agent that `agent_string` names.

    Args:
        agent_string: A kind, or `kind:argument` (`random`, `minimax`, `cfr`, `hf:PATH`).
        seed: Decides the agent's own random choices.

    Raises:
        UnknownNameError: No such kind of agent.
        ValueError: The kind takes no argument, or not this one.
    """
    kind, colon, argument = agent_string.partition(":")
    factory = _BUILT_IN.get(kind)
    if factory is not None:
        if colon:
            raise ValueError(f"agent {kind!r} takes no argument, got {agent_string!r}")
        return factory(argument, seed=seed)
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        plugin: AgentFactory = entry.load()
        return plugin(argument, seed=seed)
    raise UnknownNameError("agent", kind, agent_names())
