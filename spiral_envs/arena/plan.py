"""What a tournament plays: who enters it, which games every two of them play, and how each is named.

Every two agents play `pairs` pairs of each game. The two games of a pair have the same seed, and the agents sit in each
other's seats. The seed of a pair follows from the game, the number of the pair and the tournament's seed, and from
nothing else: all matchups meet the same deals. A game's id follows from what is played in it, so that a tournament that
is extended keeps the games it has.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from importlib.metadata import entry_points
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

from spiral_envs.agents.registry import ENTRY_POINT_GROUP, check_agent
from spiral_envs.match import InvalidMove, MatchSource
from spiral_envs.sources import find_source

_CHECKPOINT: Final = re.compile(r"checkpoint-([0-9]+)", re.ASCII)

_STEP_ALL: Final = "step=all"

_ENDPOINT_KIND: Final = "openai"

MODEL_KINDS: Final = frozenset({"hf", "vllm"})
"""The kinds of agents that take the memory of a model while they are loaded."""


class Asking(Enum):
    """How an agent is asked for its replies."""

    ALONE = "alone"
    """A view at a time, with draws that begin anew: the reply depends on nothing but the game and the ply."""

    IN_BATCHES = "in batches"
    """Everything that waits for it at once, as models on this machine like it."""

    BY_REQUEST = "by request"
    """Many requests at once to an endpoint, each on its own."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """An agent that takes part.

    Attributes:
        name: The agent string that names it in all records. Of an endpoint's options it has those only that its replies
            depend on, so that a tournament may go on with another concurrency, timeout or number of retries.
        agent_string: What it is made from.
        asking: How it is asked.
        concurrency: The most requests at once; 1 where it is not asked by request.
    """

    name: str
    agent_string: str
    asking: Asking
    concurrency: int = 1

    @property
    def is_model(self) -> bool:
        """Whether it takes the memory of a model."""
        return self.agent_string.partition(":")[0] in MODEL_KINDS


class PlannedGame(NamedTuple):
    """A game to be played.

    Attributes:
        id: Names it in its tournament.
        game: The game's label.
        pair: The number of its pair in its matchup, from 0.
        number: Its own number in its matchup: twice that of the pair, and one more for the second game of the pair.
        agents: The names of the agents, by seat.
        seed: The seed of its match, below 2^53, so that every reader of JSON has it exactly.
    """

    id: str
    game: str
    pair: int
    number: int
    agents: tuple[str, str]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is played.

    Attributes:
        entrants: Who takes part, by name.
        sources: The games, by label.
        players: By the label of a game, the names of those who play it.
        pairs: How many pairs of games every matchup plays.
        seed: The tournament's.
        invalid_move: What a fault costs.
        against: One of these is in every matchup; empty for all matchups.
    """

    entrants: Mapping[str, Entrant]
    sources: Mapping[str, MatchSource]
    players: Mapping[str, Sequence[str]]
    pairs: int
    seed: int
    invalid_move: InvalidMove
    against: frozenset[str] = frozenset()

    def games(self) -> Iterator[PlannedGame]:
        """Yields every game: by pair, so that a tournament that ends early has played its matchups equally far."""
        matchups = [
            (game, first, second)
            for game in self.sources
            for first, second in combinations(sorted(self.players[game]), 2)
            if not self.against or first in self.against or second in self.against
        ]
        for pair in range(self.pairs):
            for game, first, second in matchups:
                yield from games_of_pair(game, (first, second), pair=pair, seed=self.seed)


def games_of_pair(game: str, agents: tuple[str, str], *, pair: int, seed: int) -> tuple[PlannedGame, PlannedGame]:
    """Returns the two games of a pair: with `agents` in these seats, and in each other's."""
    first, second = agents
    deal = match_seed(game, pair=pair, seed=seed)
    return (
        PlannedGame(game_id(game, (first, second), pair=pair, seed=seed), game, pair, 2 * pair, (first, second), deal),
        PlannedGame(
            game_id(game, (second, first), pair=pair, seed=seed), game, pair, 2 * pair + 1, (second, first), deal
        ),
    )


def game_id(game: str, agents: tuple[str, str], *, pair: int, seed: int) -> str:
    """Returns the id of the game that `agents`, by seat, play as part of a pair: 64 bits in hexadecimal."""
    return _digest("game", game, *agents, pair, seed)[:16]


def match_seed(game: str, *, pair: int, seed: int) -> int:
    """Returns the seed of the matches of a pair, whoever plays them: an integer below 2^53."""
    return int(_digest("deal", game, pair, seed)[:16], 16) >> 11


def make_plan(
    entrants: Sequence[Entrant],
    games: Sequence[str],
    *,
    pairs: int,
    seed: int,
    invalid_move: InvalidMove,
    against: Sequence[str] = (),
    ladder: Callable[[str], Iterable[str]] | None = None,
) -> tuple[Plan, list[str]]:
    """Returns the plan, and a note on each agent that does not play all games.

    Args:
        entrants: Who takes part in every game that it can play.
        games: Ids, with options in parentheses if you like.
        pairs: How many pairs every matchup plays, from 1.
        seed: The tournament's, from 0.
        invalid_move: What a fault costs.
        against: The agent strings of those of whom one is in every matchup; empty for all matchups.
        ladder: The reference agents to be added to a game, by its id or label.

    Raises:
        MissingExtraError: A game or an agent needs packages that are not installed.
        UnknownNameError: No such game, agent or option.
        ValueError: A game is not for two or is given twice, an agent of `against` does not take part, or there is
            nothing to play.
    """
    sources = _find_sources(games)
    notes: list[str] = []
    everyone = {entrant.name: entrant for entrant in entrants}
    players: dict[str, list[str]] = {}
    for label in sources:
        players[label] = [entrant.name for entrant in entrants if _can_play(entrant, label, notes)]
        for reference in map(read_entrant, ladder(label) if ladder else ()):
            everyone.setdefault(reference.name, reference)
            if reference.name not in players[label] and _can_play(reference, label, notes):
                players[label].append(reference.name)
    names = frozenset(read_entrant(agent).name for agent in against)
    for name in sorted(names - everyone.keys()):
        raise ValueError(f"agent {name!r} of --against does not take part: add it to --agents")
    plan = Plan(
        entrants=everyone,
        sources=sources,
        players=players,
        pairs=pairs,
        seed=seed,
        invalid_move=invalid_move,
        against=names,
    )
    if next(plan.games(), None) is None:
        raise ValueError("nothing to play: no two of the agents can play one of the games; see --ladder")
    return plan, notes


def read_entrants(agent_strings: Iterable[str]) -> tuple[Entrant, ...]:
    """Returns who takes part, with `?step=all` as one agent a checkpoint.

    Raises:
        MissingExtraError: An agent needs packages that are not installed.
        UnknownNameError: No such kind of agent, or option.
        ValueError: An agent cannot take part, or is given twice.
    """
    entrants: dict[str, Entrant] = {}
    for given in agent_strings:
        for agent_string in expand_steps(given):
            entrant = read_entrant(agent_string)
            if entrant.name in entrants:
                raise ValueError(f"agent {entrant.name!r} is given twice: each agent takes part once")
            entrants[entrant.name] = entrant
    return tuple(entrants.values())


def read_entrant(agent_string: str) -> Entrant:
    """Returns the agent that `agent_string` names.

    Raises:
        MissingExtraError: It needs packages that are not installed.
        UnknownNameError: No such kind of agent, or option.
        ValueError: It cannot take part.
    """
    kind, _, argument = agent_string.partition(":")
    check_agent(agent_string, [])
    if kind == "human":
        raise ValueError("agent 'human' cannot take part in a tournament: play with spiral-play")
    if kind == _ENDPOINT_KIND:
        from spiral_envs.agents.openai import Endpoint, parse_endpoint

        endpoint = parse_endpoint(argument)
        usual = Endpoint(model=endpoint.model)
        named = replace(endpoint, concurrency=usual.concurrency, timeout_s=usual.timeout_s, retries=usual.retries).label
        return Entrant(f"{kind}:{named}", agent_string, Asking.BY_REQUEST, endpoint.concurrency)
    is_added = kind in {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return Entrant(agent_string, agent_string, Asking.IN_BATCHES if is_added else Asking.ALONE)


def expand_steps(agent_string: str) -> tuple[str, ...]:
    """Returns `agent_string`, or for `hf:RUN?step=all` an agent for every checkpoint in the folder RUN, oldest first.

    Other options stay: `hf:RUN?step=all&temperature=0.6` gives `hf:RUN?step=100&temperature=0.6` and so on, and
    `hf:RUN/final?temperature=0.6` for the model that was saved at the end.

    Raises:
        ValueError: RUN is no folder with checkpoints.
    """
    kind, _, argument = agent_string.partition(":")
    path, _, query = argument.partition("?")
    options = query.split("&") if query else []
    if kind not in MODEL_KINDS or _STEP_ALL not in options:
        return (agent_string,)
    folder = Path(path)
    found = (_CHECKPOINT.fullmatch(each.name) for each in folder.glob("checkpoint-*") if each.is_dir())
    steps = sorted(int(match[1]) for match in found if match)
    others = [option for option in options if option != _STEP_ALL]
    agents = [f"{kind}:{path}?{'&'.join([f'step={step}', *others])}" for step in steps]
    if (folder / "final").is_dir():
        agents.append(f"{kind}:{folder / 'final'}" + (f"?{'&'.join(others)}" if others else ""))
    if not agents:
        raise ValueError(f"cannot expand {agent_string!r}: expected a folder with checkpoint-N or final, got {path!r}")
    return tuple(agents)


def _find_sources(games: Iterable[str]) -> dict[str, MatchSource]:
    sources: dict[str, MatchSource] = {}
    for game in games:
        source = find_source(game)
        if len(source.roles) != 2:
            raise ValueError(
                f"cannot rate agents at {source.label}: expected a game of 2, got {len(source.roles)} seats"
            )
        if source.label in sources:
            raise ValueError(f"game {source.label} is given twice")
        sources[source.label] = source
    return sources


def _can_play(entrant: Entrant, game: str, notes: list[str]) -> bool:
    """Returns whether `entrant` plays `game`, with a note if not."""
    try:
        check_agent(entrant.agent_string, [game])
    except ValueError as error:
        # It is known to exist, and so is the game.
        notes.append(f"{entrant.name} is left out: {error}")
        return False
    return True


def _digest(*parts: str | int) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
