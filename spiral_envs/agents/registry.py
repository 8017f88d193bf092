"""From agent strings to agents: those of this package, and whatever other packages add.

| agent string | plays |
|---|---|
| `random` | a uniformly random legal move |
| `first` | the first legal move |
| `greedy` | what can be had at once: wins, blocks, threats; with hidden information the best response to random play |
| `minimax` | perfectly, games of two with perfect information that can be searched whole |
| `minimax:DEPTH` | the best move as far as DEPTH plies show, larger games of that kind |
| `mcts:N` | Monte-Carlo tree search with N random games a move, any game of perfect information; `mcts` takes 1000 |
| `cfr` | an equilibrium, games with hidden information that can be solved |
| `human` | what a person types in this terminal |
| `openai:MODEL@URL` | a model behind any OpenAI-compatible endpoint; see `spiral_envs.agents.openai` for its options |

A package adds kinds of agents through the entry-point group `spiral_envs.agents`: each entry is a function
`(argument: str, *, seed: int) -> Agent`, where `argument` is what follows the colon in `kind:argument`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Final

from spiral_envs.agents.base import Agent
from spiral_envs.errors import MissingExtraError, UnknownNameError
from spiral_envs.sources import find_source

AgentFactory = Callable[..., Agent]

ENTRY_POINT_GROUP: Final = "spiral_envs.agents"

MAX_SIMULATIONS: Final = 1_000_000

MAX_DEPTH: Final = 100


def agent_names() -> tuple[str, ...]:
    """Returns every kind of agent that an agent string can begin with."""
    return (*_BUILT_IN, *sorted(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)))


def make_agent(agent_string: str, *, seed: int = 0) -> Agent:
    """Returns the agent that `agent_string` names.

    Args:
        agent_string: A kind, or `kind:argument`: `random`, `minimax:4`, `mcts:500`, `openai:MODEL@URL`, `hf:PATH`.
        seed: Decides the agent's own random choices.

    Raises:
        UnknownNameError: No such kind of agent.
        ValueError: The kind takes no argument, or not this one.
        MissingExtraError: The agent needs packages that are not installed.
    """
    kind, colon, argument = agent_string.partition(":")
    if kind in _BUILT_IN:
        if colon and kind not in _WITH_ARGUMENT:
            raise ValueError(f"agent {kind!r} takes no argument, got {agent_string!r}")
        return _BUILT_IN[kind](argument if colon else None, seed)
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        plugin: AgentFactory = entry.load()
        return plugin(argument, seed=seed)
    raise UnknownNameError("agent", kind, agent_names())


def check_agent(agent_string: str, games: Iterable[str]) -> None:
    """Raises when `agent_string` surely names no agent for `games`, without what making one may cost.

    No model is loaded, no game is solved and nothing is asked of a network, so that an agent that passes may still
    fail. Kinds that other packages add are known by their name only.

    Args:
        agent_string: As in `make_agent`.
        games: Ids, with options in parentheses if you like.

    Raises:
        UnknownNameError: No such kind of agent, or game.
        ValueError: The kind takes no argument, or not this one; or it cannot play a game.
        MissingExtraError: The agent needs packages that are not installed.
    """
    kind, _, argument = agent_string.partition(":")
    if kind not in agent_names():
        raise UnknownNameError("agent", kind, agent_names())
    if kind == "openai":
        _check_openai(argument)
    elif kind in _BUILT_IN:
        make_agent(agent_string)
    if kind in _FIRST_MOVES:
        for game in games:
            _FIRST_MOVES[kind](game)


def _random(argument: str | None, seed: int) -> Agent:
    from spiral_envs.agents.random import RandomAgent

    return RandomAgent(seed=seed)


def _first(argument: str | None, seed: int) -> Agent:
    from spiral_envs.agents.scripted import ScriptedAgent, first_legal_move

    return ScriptedAgent(first_legal_move, name="first")


def _greedy(argument: str | None, seed: int) -> Agent:
    from spiral_envs.agents.greedy import GreedyAgent

    return GreedyAgent(seed=seed)


def _cfr(argument: str | None, seed: int) -> Agent:
    from spiral_envs.agents.cfr import CfrAgent

    return CfrAgent(seed=seed)


def _human(argument: str | None, seed: int) -> Agent:
    try:
        from spiral_envs.agents.human import HumanAgent
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the human agent (no module {error.name})", "agents") from error
    return HumanAgent()


def _minimax(argument: str | None, seed: int) -> Agent:
    from spiral_envs.agents.minimax import MinimaxAgent

    depth = None if argument is None else _whole_number("minimax", argument, "DEPTH", MAX_DEPTH)
    return MinimaxAgent(seed=seed, depth=depth)


def _mcts(argument: str | None, seed: int) -> Agent:
    from spiral_envs.agents.mcts import DEFAULT_SIMULATIONS, MctsAgent

    if argument is None:
        return MctsAgent(seed=seed, simulations=DEFAULT_SIMULATIONS)
    return MctsAgent(seed=seed, simulations=_whole_number("mcts", argument, "N", MAX_SIMULATIONS))


def _openai(argument: str | None, seed: int) -> Agent:
    try:
        from spiral_envs.agents.openai import OpenAIAgent, parse_endpoint
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the openai agent (no module {error.name})", "agents") from error
    return OpenAIAgent(parse_endpoint(argument or ""), seed=seed)


def _check_openai(argument: str) -> None:
    try:
        from spiral_envs.agents.openai import parse_endpoint
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the openai agent (no module {error.name})", "agents") from error
    parse_endpoint(argument)


def _try_minimax(game: str) -> None:
    """Lets a minimax agent of the least depth choose the first move of a game."""
    from spiral_envs.agents.minimax import MinimaxAgent

    _ask_once(MinimaxAgent(seed=0, depth=1), game)


def _try_mcts(game: str) -> None:
    """Lets an mcts agent with one simulation choose the first move of a game."""
    from spiral_envs.agents.mcts import MctsAgent

    _ask_once(MctsAgent(seed=0, simulations=1), game)


def _check_greedy(game: str) -> None:
    from spiral_envs.agents.greedy import check_playable

    check_playable(game)


def _ask_once(agent: Agent, game: str) -> None:
    match = find_source(game).start(seed=0)
    assert match.seat_to_move is not None, "no match is over before its first move"
    agent.act([match.view(match.seat_to_move)])


def _check_cfr(game: str) -> None:
    source = find_source(game)
    spec = source.spec
    if spec is None or spec.perfect_information or not spec.zero_sum or spec.talk or len(source.roles) != 2:
        raise ValueError(
            f"the cfr agent cannot play {source.label}: it needs two players, hidden information, returns that sum to 0"
            " and moves that can be listed"
        )
    if find_spec("pyspiel") is None:
        raise MissingExtraError("the cfr agent", "openspiel")


def _whole_number(kind: str, argument: str, name: str, largest: int) -> int:
    """Returns the number in `kind:argument`.

    Raises:
        ValueError: It is none from 1 to `largest`.
    """
    # int() would read "1_0", " 1" and digits of other scripts as well.
    if argument.isascii() and argument.isdigit() and 1 <= len(argument) <= 9 and 1 <= int(argument) <= largest:
        return int(argument)
    raise ValueError(
        f"cannot read agent '{kind}:{argument}': expected {kind}:{name} with {name} an integer from 1 to {largest:,}"
    )


_BUILT_IN: Final[dict[str, Callable[[str | None, int], Agent]]] = {
    "random": _random,
    "greedy": _greedy,
    "minimax": _minimax,
    "cfr": _cfr,
    "first": _first,
    "mcts": _mcts,
    "human": _human,
    "openai": _openai,
}
"""Each is made from its argument, None when the agent string has no colon, and a seed."""

_WITH_ARGUMENT: Final = frozenset({"minimax", "mcts", "openai"})

_FIRST_MOVES: Final[dict[str, Callable[[str], None]]] = {
    "greedy": _check_greedy,
    "minimax": _try_minimax,
    "mcts": _try_mcts,
    "cfr": _check_cfr,
}
"""How the kinds that do not play every game are tried on one."""
