"""How a policy is beaten: the situations in which a best response gains, with what the policy does there.

For every seat, what its best response gains is the sum over the seat's information sets of how often the policy itself
comes there, times how much its own move there is worth less than the best one when the best response goes on from
there. No term is negative, so that each is the share of one situation in NashConv.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from spiral_envs.best_response import BestResponses, FloatArray, GameTree
from spiral_envs.game import CHANCE, Player

MOST_READINGS: Final = 3
"""Situations of the agent that are told for one of the best responder's."""

MOST_STEPS: Final = 12
"""Moves of the best responder that are told in one line of play."""


@dataclass(frozen=True, slots=True)
class AgentSituation:
    """Where the agent is when the best responder is in some situation.

    Attributes:
        role: The agent's role.
        observation: What it sees.
        chance: The probability that it is there, given the best responder's situation and move.
        policy: The agent's probabilities of its moves.
    """

    role: str
    observation: str
    chance: float
    policy: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Weakness:
    """A situation in which a best response gains.

    Attributes:
        seat: The best responder's seat.
        role: Its role.
        observation: What it sees.
        move: Its move.
        policy: What the agent itself would do there.
        reach: How often the agent itself comes there, of all games in which it plays every seat.
        gain: What the best response gains over the agent's own policy each time, in the units of the returns.
        share: `reach` times `gain`: the situation's share in NashConv.
        replies: The moves that the agent in another seat makes next, all its situations together; empty where the game
            ends before.
        before: What the agent in another seat may hold or have seen at its last move, most likely first.
        after: How the agent in another seat goes on, most likely first.
        line: How the best responder goes on where the agent does what it does most often: what it sees, and its move.
    """

    seat: Player
    role: str
    observation: str
    move: str
    policy: Mapping[str, float]
    reach: float
    gain: float
    share: float
    replies: Mapping[str, float]
    before: tuple[AgentSituation, ...]
    after: tuple[AgentSituation, ...]
    line: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the situation as plain values."""
        return asdict(self)


def shares(tree: GameTree, policy: FloatArray, responses: BestResponses) -> tuple[FloatArray, FloatArray]:
    """Returns the share of every information set in NashConv of `policy`, and how often the policy comes there.

    The shares of a seat's information sets sum to what its best response gains.
    """
    visits = np.zeros(len(tree.views))
    given_up = np.zeros(len(tree.views))
    reached = tree.reach(policy[None])[0]
    is_turn = tree.sets >= 0
    np.add.at(visits, tree.sets[is_turn], reached[is_turn])
    worth = responses.move_values[0]
    lost = np.maximum.reduceat(worth, tree.first_move[:-1]) - tree.per_set(worth * policy)
    for seat in range(tree.num_seats):
        others = tree.reach(policy[None], without=seat)[0]
        mine = np.flatnonzero(is_turn & (tree.players == seat) & (others > 0))
        # Its own part is the same for all nodes of an information set: the seat remembers what it has done.
        given_up[tree.sets[mine]] = reached[mine] / others[mine]
    return given_up * lost, visits


def weaknesses(tree: GameTree, policy: FloatArray, *, most: int) -> list[Weakness]:
    """Returns the situations with the largest shares in NashConv of `policy`, the largest first.

    Args:
        tree: The game.
        policy: A whole distribution in every information set.
        most: How many situations of each seat.
    """
    responses = tree.best_responses(policy[None])
    gained, visits = shares(tree, policy, responses)
    owners = np.array([seat for seat, _ in tree.information_sets])
    found: list[Weakness] = []
    for seat in range(tree.num_seats):
        responder = _Responder(tree, policy, responses.moves[0], seat)
        mine = np.flatnonzero((owners == seat) & (gained > 1e-9))
        largest = mine[np.argsort(-gained[mine], kind="stable")][:most].tolist()
        found.extend(responder.weakness(at, float(gained[at]), float(visits[at])) for at in largest)
    return sorted(found, key=lambda weakness: -weakness.share)


class _Responder:
    """A best responder in one seat."""

    def __init__(self, tree: GameTree, policy: FloatArray, moves: FloatArray, seat: Player) -> None:
        self._tree, self._policy, self._moves, self._seat = tree, policy, moves, seat
        self._reached = tree.reach(policy[None], without=seat)[0]

    def weakness(self, at: int, share: float, visits: float) -> Weakness:
        tree = self._tree
        nodes = {node: float(self._reached[node]) for node in np.flatnonzero(tree.sets == at).tolist()}
        decisions, _ = self._go_on(nodes)
        return Weakness(
            seat=self._seat,
            role=tree.views[at].role,
            observation=tree.views[at].observation,
            move=self._move(at),
            policy=tree.probabilities(self._policy, at),
            reach=visits,
            gain=share / visits,
            share=share,
            replies=self._replies(decisions),
            before=self._situations(self._past(nodes)),
            after=self._situations(decisions),
            line=tuple(self._line(at, nodes)),
        )

    def _line(self, at: int, nodes: Mapping[int, float]) -> Iterable[tuple[str, str]]:
        for _ in range(MOST_STEPS):
            yield self._tree.views[at].observation, self._move(at)
            _, following = self._go_on(nodes)
            if not following:
                return
            at = max(following, key=lambda each: sum(following[each].values()))
            nodes = following[at]

    def _go_on(self, nodes: Mapping[int, float]) -> tuple[dict[int, float], dict[int, dict[int, float]]]:
        """Returns where the agent has to move next, and where the best responder moves next after that.

        Args:
            nodes: Those of an information set of the best responder, with their weights.
        """
        tree = self._tree
        pending = [
            (child, weight, False)
            for node, weight in nodes.items()
            for child in tree.children(node)
            if self._moves[tree.edge_moves[child]] > 0
        ]
        decisions: dict[int, float] = {}
        following: dict[int, dict[int, float]] = {}
        while pending:
            node, weight, is_later = pending.pop()
            player, at = int(tree.players[node]), int(tree.sets[node])
            if weight <= 0 or (player < 0 and player != CHANCE):
                continue
            if player == self._seat:
                there = following.setdefault(at, {})
                there[node] = there.get(node, 0.0) + weight
                continue
            if player >= 0 and not is_later:
                decisions[at] = decisions.get(at, 0.0) + weight
            for child in tree.children(node):
                edge = int(tree.edge_moves[child])
                chance = float(tree.edge_chances[child] if edge < 0 else self._policy[edge])
                pending.append((child, weight * chance, is_later or player >= 0))
        return decisions, following

    def _past(self, nodes: Mapping[int, float]) -> dict[int, float]:
        """Returns where another seat moved last."""
        tree = self._tree
        past: dict[int, float] = {}
        for reached, weight in nodes.items():
            node = int(tree.parents[reached])
            while node >= 0 and tree.players[node] in {CHANCE, self._seat}:
                node = int(tree.parents[node])
            if node >= 0 and weight > 0:
                past[int(tree.sets[node])] = past.get(int(tree.sets[node]), 0.0) + weight
        return past

    def _replies(self, weights: Mapping[int, float]) -> dict[str, float]:
        total = sum(weights.values())
        replies: dict[str, float] = {}
        for at, weight in weights.items():
            for move, probability in self._tree.probabilities(self._policy, at).items():
                replies[move] = replies.get(move, 0.0) + weight / total * probability
        return replies

    def _situations(self, weights: Mapping[int, float]) -> tuple[AgentSituation, ...]:
        tree, total = self._tree, sum(weights.values())
        likely = sorted(weights, key=lambda at: (-weights[at], at))[:MOST_READINGS]
        return tuple(
            AgentSituation(
                tree.views[at].role,
                tree.views[at].observation,
                weights[at] / total,
                tree.probabilities(self._policy, at),
            )
            for at in likely
        )

    def _move(self, at: int) -> str:
        first, last = self._tree.first_move[at], self._tree.first_move[at + 1]
        return self._tree.texts(at)[int(self._moves[first:last].argmax())]
