"""A policy read off sampled replies: what was counted, how exploitable it looks, and how much of that is noise.

NashConv of the shares that were counted is too high on average, even for an equilibrium: best responses exploit the
noise as well. So three figures are given. The *plug-in* one is NashConv of the shares. The *held-out* one finds best
responses on one half of the replies and values them on the other: replies of different information sets are
independent, so it is an unbiased estimate of what those responses win, which is at most NashConv. The truth lies
between the two on average, and the 95 % interval reaches from the held-out figure less 1.96 standard errors to the
plug-in figure plus 1.96. The standard error is that of the responses' value under a parametric bootstrap, which draws
as many replies in every information set from the shares; so that a move that was never seen is not taken for
impossible, one reply more is spread over the legal moves. In simulations of Kuhn poker (five policies, from an
equilibrium to a NashConv of 1.4, with 8, 32 and 128 replies, 150 measurements each) it covered the truth in 93 to 100 %
of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np

from spiral_envs import GameSpec
from spiral_envs.agents import Agent
from spiral_envs.best_response import FloatArray, GameTree
from spiral_envs.match import GameMatch, Reply

Z_95: Final = 1.959963984540054

SPLITS: Final = 8
"""How often the replies are split in halves; the held-out figure is the mean over the splits, both ways."""

_BATCH: Final = 256
"""Views that an agent is handed at once."""


@dataclass(frozen=True, slots=True)
class SampledPolicy:
    """What an agent replied.

    Attributes:
        samples: How many replies there are in every information set.
        counts: How many of them were each legal move, in the order of a policy of `GameTree`.
        faults: The other replies of every information set, by fault.
        examples: One faulty reply of each kind and information set: its number, the fault, and the reply.
    """

    samples: int
    counts: FloatArray
    faults: list[Counter[str]]
    examples: list[tuple[int, str, str]]


class Noise(NamedTuple):
    """What NashConv looks like when it is measured on as many replies of an equilibrium.

    Attributes:
        mean: The mean over simulated measurements.
        low: The 2.5 % quantile.
        high: The 97.5 % quantile.
        replicates: How many measurements were simulated.
    """

    mean: float
    low: float
    high: float
    replicates: int


class SampledNashConv(NamedTuple):
    """NashConv estimated from replies, in the units of the game's returns.

    Attributes:
        plug_in: NashConv of the shares that were counted, which is too high on average.
        held_out: What responses to one half of the replies win from the other, which is too low on average.
        standard_error: Of what the best responses to the shares win.
        low: The lower end of the 95 % interval.
        high: Its upper end.
    """

    plug_in: float
    held_out: float
    standard_error: float
    low: float
    high: float


def sample_policy(
    tree: GameTree, agent: Agent, *, samples: int, on_replies: Callable[[int], None] = lambda number: None
) -> SampledPolicy:
    """Returns what `agent` replies in every information set.

    Args:
        tree: The game.
        agent: Whom to ask.
        samples: How many replies are sampled in every information set.
        on_replies: Called with the number of replies that have come in since the last call.

    Raises:
        ValueError: The agent returns more or fewer replies than it got views.
    """
    counts = np.zeros(tree.num_moves)
    faults = [Counter[str]() for _ in tree.views]
    examples: dict[tuple[int, str], str] = {}
    known: dict[tuple[int, str, object], ReadReply] = {}
    asked = [at for at in range(len(tree.views)) for _ in range(samples)]
    for begin in range(0, len(asked), _BATCH):
        batch = asked[begin : begin + _BATCH]
        replies = agent.act([tree.views[at] for at in batch])
        if len(replies) != len(batch):
            raise ValueError(f"agent {agent.name!r} returned {len(replies)} replies to {len(batch)} views")
        for at, reply in zip(batch, replies, strict=True):
            # The same few replies come again and again.
            key = (at, str(reply), reply.fault if isinstance(reply, Reply) else None)
            read = known.get(key) or known.setdefault(key, read_reply(tree.spec, tree.states[at], reply))
            if read.move is None:
                faults[at][read.fault] += 1
                examples.setdefault((at, read.fault), str(reply))
            else:
                counts[tree.first_move[at] + tree.texts(at).index(read.move)] += 1
        on_replies(len(batch))
    return SampledPolicy(samples, counts, faults, [(at, fault, reply) for (at, fault), reply in examples.items()])


class ReadReply(NamedTuple):
    """How a game reads a reply: the text of the move, or None and the fault."""

    move: str | None
    fault: str


def read_reply(spec: GameSpec, state: Any, reply: str) -> ReadReply:
    """Returns how a match in `state` reads `reply`: by the same rule as anywhere else."""
    match = GameMatch(replace(spec, game=_StartsAt(spec.game, state)), seed=0)
    match.submit(reply)
    turn = match.turns[0]
    return ReadReply(turn.move, turn.fault.value if turn.fault else "")


def given_legal(tree: GameTree, counts: FloatArray) -> FloatArray:
    """Returns the policy given that a reply is a legal move, of shape [..., moves]; uniform where none was.

    Args:
        tree: The game.
        counts: How often, or how likely, every move is.
    """
    sizes = np.diff(tree.first_move)
    totals = np.repeat(tree.per_set(counts), sizes, axis=-1)
    return np.where(totals > 0, counts / np.where(totals > 0, totals, 1), 1 / np.repeat(sizes, sizes))


def noise_floor(
    tree: GameTree, equilibrium: FloatArray, counts: FloatArray, *, replicates: int, rng: np.random.Generator
) -> Noise:
    """Returns what an equilibrium looks like when as many legal replies of it are counted in every information set."""
    measured = [
        float(tree.nash_conv(given_legal(tree, draw(tree, equilibrium, counts, rng))[None])[0])
        for _ in range(replicates)
    ]
    low, high = np.quantile(measured, [0.025, 0.975]).tolist()
    return Noise(float(np.mean(measured)), low, high, replicates)


def estimate_nash_conv(
    tree: GameTree, counts: FloatArray, *, replicates: int, rng: np.random.Generator
) -> SampledNashConv:
    """Returns NashConv of the policy that the replies were drawn from, given a legal move."""
    shares = given_legal(tree, counts)
    plug_in = float(tree.nash_conv(shares[None])[0])
    held_out = float(np.mean([_held_out(tree, counts, rng) for _ in range(SPLITS)]))
    sizes = np.diff(tree.first_move)
    smoothed = given_legal(tree, counts + 1 / np.repeat(sizes, sizes))
    moves = tree.best_responses(shares[None]).moves
    won = [_won(tree, moves, given_legal(tree, draw(tree, smoothed, counts, rng))[None]) for _ in range(replicates)]
    error = float(np.std(won, ddof=1))
    low, high = max(0.0, held_out - Z_95 * error), max(plug_in, held_out) + Z_95 * error
    return SampledNashConv(plug_in, held_out, error, low, high)


def draw(tree: GameTree, policy: FloatArray, counts: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Returns counts of as many replies as `counts` has in every information set, drawn from `policy`."""
    sizes = np.diff(tree.first_move)
    widest = int(sizes.max())
    # All information sets at once; what is missing to the widest is filled up in front, with moves that are never made.
    is_move = np.arange(widest) >= (widest - sizes)[:, None]
    chances = np.zeros((len(sizes), widest))
    chances[is_move] = policy / np.repeat(tree.per_set(policy), sizes)
    numbers = np.rint(tree.per_set(counts)).astype(np.int64)
    return rng.multinomial(numbers, chances)[is_move].astype(np.float64)


def _held_out(tree: GameTree, counts: FloatArray, rng: np.random.Generator) -> float:
    """Returns what best responses to a random half of the replies win from the other half, both ways."""
    half = np.zeros_like(counts)
    for first, last in zip(tree.first_move, tree.first_move[1:], strict=False):
        there = np.rint(counts[first:last]).astype(np.int64)
        half[first:last] = rng.multivariate_hypergeometric(there, int(there.sum()) // 2)
    halves = given_legal(tree, np.stack([half, counts - half]))
    moves = tree.best_responses(halves).moves
    return (_won(tree, moves[:1], halves[1:]) + _won(tree, moves[1:], halves[:1])) / 2


def _won(tree: GameTree, moves: FloatArray, policy: FloatArray) -> float:
    """Returns what all seats gain by the given responses while `policy` plays the others; both of shape [1, moves]."""
    gained = [tree.values(np.where(tree.owner == seat, moves, policy))[0, seat] for seat in range(tree.num_seats)]
    return float(sum(gained) - tree.values(policy)[0].sum())


class _StartsAt:
    """A game that begins in a given state."""

    def __init__(self, game: Any, state: Any) -> None:
        self._state = state
        self.num_players, self.max_plies = game.num_players, game.max_plies
        self.to_move, self.legal_moves, self.chance_outcomes = game.to_move, game.legal_moves, game.chance_outcomes
        self.next_state, self.returns = game.next_state, game.returns

    def initial_state(self) -> Any:
        return self._state


def total_faults(faults: Sequence[Counter[str]]) -> Counter[str]:
    """Returns the faults of all information sets together."""
    return sum(faults, Counter[str]())
