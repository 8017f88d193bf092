"""Measures of one agent's policy in one game of hidden information, and the three ways to come by the policy."""

# torch, transformers and TRL are typed in part only.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np

from benchmarks.best_response_lines import Weakness, weaknesses
from benchmarks.sampled_policy import (
    Noise,
    SampledNashConv,
    estimate_nash_conv,
    given_legal,
    noise_floor,
    sample_policy,
    total_faults,
)
from spiral_envs import GameSpec, solve
from spiral_envs.agents import Agent
from spiral_envs.agents.cfr import CfrAgent
from spiral_envs.best_response import FloatArray, GameTree
from spiral_envs.games.kuhn_poker import KuhnPoker
from spiral_envs.games.leduc_poker import LeducPoker
from spiral_envs.match import View

_READ_AT_ONCE: Final = 256
"""Reasonings that a model samples between two signs of progress."""


class Method(StrEnum):
    """How a policy is come by."""

    AUTO = "auto"
    """The most exact way that there is for the agent."""

    EXACT = "exact"
    """The agent's probabilities are known: `random`, `first`, `cfr`."""

    LOGPROBS = "logprobs"
    """The log-probabilities of every legal move as the answer of an `hf:` model."""

    SAMPLES = "samples"
    """Replies are sampled and read as the game reads them: any agent."""


@dataclass(frozen=True, slots=True)
class SeatValue:
    """What a seat gets, in the units of the returns.

    Attributes:
        role: The seat's role.
        on_policy: What it gets while the agent plays every seat.
        best_response: What a best response in this seat gets while the agent plays the others.
    """

    role: str
    on_policy: float
    best_response: float


@dataclass(frozen=True, slots=True)
class Faults:
    """How often the agent does not make a legal move.

    Attributes:
        mean: The mean over all information sets.
        largest: The largest probability in an information set.
        of_turns: The share of the turns that are taken when the agent plays every seat by its legal moves.
        of_games: The share of games that end on a fault when the agent plays every seat, faults included.
        kinds: How many replies were which fault; empty where replies were not read.
        unanswered: In how many information sets no reply was a legal move; there the policy counts as uniform.
    """

    mean: float
    largest: float
    of_turns: float
    of_games: float
    kinds: Mapping[str, int]
    unanswered: int


@dataclass(frozen=True, slots=True)
class PolicyMeasure:
    """How far an agent is from perfect play in a game.

    Attributes:
        game: The game's label.
        unit: What the returns count.
        method: How the policy was come by.
        replies: How many replies, or reasonings, were sampled in every information set; None where none were.
        nash_conv: Of the policy given a legal move: what the seats gain in all by best responses.
        seats: By seat.
        faults: How often there is no legal move.
        forfeit_nash_conv: NashConv where a fault forfeits the game.
        forfeit_seats: By seat, where a fault forfeits the game.
        sampled: The estimate and its interval; None where the policy was not sampled.
        noise: What an equilibrium looks like from as many replies; None where the policy was not sampled.
        weaknesses: The situations in which best responses gain most.
        policy: The policy in every information set: `role`, `observation`, `moves` (shares that sum to 1 less the share
            of faults; times `replies` they are counts) and, where replies were sampled, the number of `faults` by kind.
        examples: A faulty reply of each kind and information set.
    """

    game: str
    unit: str
    method: Method
    replies: int | None
    nash_conv: float
    seats: tuple[SeatValue, ...]
    faults: Faults
    forfeit_nash_conv: float
    forfeit_seats: tuple[SeatValue, ...]
    sampled: SampledNashConv | None
    noise: Noise | None
    weaknesses: tuple[Weakness, ...]
    policy: tuple[Mapping[str, Any], ...]
    examples: tuple[Mapping[str, str], ...]

    @property
    def exploitability(self) -> float:
        """NashConv divided by the number of seats."""
        return self.nash_conv / len(self.seats)

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as plain values."""
        plain = asdict(self)
        for name in ("sampled", "noise"):
            value = plain[name]
            plain[name] = None if value is None else value._asdict()
        return plain | {"exploitability": self.exploitability}


UNITS: Final = {True: "chips", False: "points (a win is +1, a loss -1)"}
"""What returns count, by whether chips are paid."""


def unit_of(spec: GameSpec) -> str:
    """Returns what the returns of a game count."""
    rules = spec.game
    return UNITS[isinstance(rules, (KuhnPoker, LeducPoker)) and rules.pays_chips]


def exact_policy(agent: str) -> Callable[[View], Mapping[str, float]] | None:
    """Returns the policy of an agent that is known without asking it; None for another agent."""
    if agent == "cfr":
        return CfrAgent(seed=0).policy
    return {"random": _uniform, "first": _first}.get(agent)


def measure_known(tree: GameTree, row: FloatArray, *, method: Method, lines: int, replies: int | None) -> PolicyMeasure:
    """Returns the measures of a policy whose probabilities are known; what is missing to 1 is the share of faults."""
    return _measure(tree, row, method=method, lines=lines, replies=replies)


def measure_sampled(
    tree: GameTree,
    agent: Agent,
    *,
    samples: int,
    replicates: int,
    lines: int,
    seed: int,
    on_replies: Callable[[int], None] = lambda number: None,
) -> PolicyMeasure:
    """Returns the measures of the policy that an agent's replies show.

    Raises:
        MissingExtraError: The noise is that of an equilibrium, which needs OpenSpiel.
        ValueError: The game has no equilibrium that can be found, such as one of three players.
    """
    equilibrium = solve.equilibrium(tree.spec.label).policy
    perfect = tree.row(lambda view: equilibrium[view.seat, view.observation])
    sampled = sample_policy(tree, agent, samples=samples, on_replies=on_replies)
    rng = np.random.default_rng(seed)
    estimate = estimate_nash_conv(tree, sampled.counts, replicates=replicates, rng=rng)
    noise = noise_floor(tree, perfect, sampled.counts, replicates=replicates, rng=rng)
    measured = _measure(
        tree, sampled.counts / samples, method=Method.SAMPLES, lines=lines, replies=samples, faults=sampled.faults
    )
    examples = [
        {"role": tree.views[at].role, "observation": tree.views[at].observation, "fault": fault, "reply": reply}
        for at, fault, reply in sampled.examples
    ]
    return replace(measured, sampled=estimate, noise=noise, examples=tuple(examples))


def reads_logprobs(agent: str) -> bool:
    """Returns whether an agent plays by the log-probabilities: an `hf:` model at temperature 1, without top_p or top_k.

    Raises:
        UnknownNameError: It has an option that does not exist.
        ValueError: A value of its options cannot be read.
    """
    kind, _, argument = agent.partition(":")
    if kind != "hf":
        return False
    from spiral_trl.agent_options import HfOptions

    options = HfOptions.parse(argument)
    return (options.temperature, options.top_p, options.top_k) == (1.0, 1.0, 0)


def model_row(
    tree: GameTree,
    argument: str,
    *,
    reasonings: int,
    seed: int,
    on_replies: Callable[[int], None] = lambda number: None,
) -> FloatArray:
    """Returns the probabilities of legal moves of a model, by transformers, at temperature 1.

    Args:
        tree: The game.
        argument: What follows `hf:` in an agent string: a path or id with the options of `HfOptions`.
        reasonings: How many are sampled in every information set.
        seed: Of sampling.
        on_replies: Called with the number of reasonings that have been read since the last call.

    Raises:
        ValueError: There is no such model or step, or it cannot be loaded.
    """
    from spiral_trl.agent_options import HfOptions
    from spiral_trl.agents import load_hf
    from spiral_trl.policy_reading import read_policy

    # As the agent of this name plays.
    loaded = load_hf(HfOptions.parse(argument), seed=seed)
    each = max(1, _READ_AT_ONCE // reasonings)
    parts: list[list[float]] = []
    for first in range(0, len(tree.views), each):
        views = tree.views[first : first + each]
        read = read_policy(loaded.model, loaded.tokenizer, loaded.encoder, loaded.sampler, views, reasonings=reasonings)
        parts += [[policy.moves[move] for move in tree.texts(at)] for at, policy in enumerate(read, start=first)]
        on_replies(len(views) * reasonings)
    return np.concatenate(parts)


def _measure(
    tree: GameTree,
    row: FloatArray,
    *,
    method: Method,
    lines: int,
    replies: int | None,
    faults: list[Counter[str]] | None = None,
) -> PolicyMeasure:
    legal = given_legal(tree, row)
    missing = np.clip(1 - tree.per_set(row), 0, 1)
    seats, forfeit_seats = _seats(tree, legal), _seats(tree, row)
    return PolicyMeasure(
        game=tree.spec.label,
        unit=unit_of(tree.spec),
        method=method,
        replies=replies,
        nash_conv=_gains(seats),
        seats=seats,
        faults=_faults(tree, row, legal, missing, total_faults(faults or [])),
        forfeit_nash_conv=_gains(forfeit_seats),
        forfeit_seats=forfeit_seats,
        sampled=None,
        noise=None,
        weaknesses=tuple(weaknesses(tree, legal, most=lines)),
        policy=tuple(
            {
                "role": view.role,
                "observation": view.observation,
                "moves": tree.probabilities(row, at),
                **({"faults": dict(faults[at])} if faults is not None else {}),
            }
            for at, view in enumerate(tree.views)
        ),
        examples=(),
    )


def _faults(tree: GameTree, row: FloatArray, legal: FloatArray, missing: FloatArray, kinds: Counter[str]) -> Faults:
    is_turn = tree.sets >= 0
    sets = tree.sets[is_turn]
    turns = tree.reach(legal[None])[0][is_turn]
    return Faults(
        mean=float(missing.mean()),
        largest=float(missing.max()),
        of_turns=float((turns * missing[sets]).sum() / turns.sum()),
        of_games=float((tree.reach(row[None])[0][is_turn] * missing[sets]).sum()),
        kinds=dict(kinds),
        unanswered=int((tree.per_set(row) <= 0).sum()),
    )


def _seats(tree: GameTree, row: FloatArray) -> tuple[SeatValue, ...]:
    values, best = tree.values(row[None])[0].tolist(), tree.best_responses(row[None]).values[0].tolist()
    return tuple(SeatValue(role, *pair) for role, *pair in zip(tree.spec.roles, values, best, strict=True))


def _gains(seats: tuple[SeatValue, ...]) -> float:
    return sum(seat.best_response - seat.on_policy for seat in seats)


def _uniform(view: View) -> Mapping[str, float]:
    return {move: 1 / len(view.legal_moves or ()) for move in view.legal_moves or ()}


def _first(view: View) -> Mapping[str, float]:
    assert view.legal_moves, "a native game lists its moves"
    return {view.legal_moves[0]: 1.0}
