"""A game of hidden information as arrays, in which best responses to many policies are found at once.

`spiral_envs.solve` measures one policy with OpenSpiel. A bootstrap measures hundreds, and whoever wants to see how a
policy is beaten needs to know what every move of a best response is worth; that is what this is for. The tests hold
its figures against OpenSpiel's.

A policy is one row of numbers: the probability of every legal move of every information set, in the order of
`GameTree.information_sets`. A row may hold less than a whole distribution in an information set: what is missing is a
fault, which ends the game as a forfeit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player
from spiral_envs.match import View, forfeit_returns, make_view
from spiral_envs.solve import InformationSet, Policy
from spiral_envs.tree import walk

FloatArray: TypeAlias = NDArray[np.float64]

IntArray: TypeAlias = NDArray[np.int64]

TIE: Final = 1e-12
"""Moves whose values differ by less are equally good; the first of them is the best response."""


@dataclass(frozen=True, slots=True)
class BestResponses:
    """What best responses to some policies get.

    Attributes:
        values: What each seat gets by its best response, of shape [policies, seats].
        moves: The best responses as policies: of shape [policies, moves], 1 for the move that is made in an information
            set. The rows of all seats stand in one array.
        move_values: What every move is worth to a best responder, times the probability that chance and the others let
            it come there, of shape [policies, moves].
    """

    values: FloatArray
    moves: FloatArray
    move_values: FloatArray


class GameTree:
    """All histories of a game of hidden information, level by level.

    Nodes are numbered from the root, level by level, so that the children of a node are neighbours. Attributes are
    arrays over nodes, unless they say otherwise.

    Attributes:
        spec: The game.
        information_sets: Where players may have to move, in the order of the tree.
        numbers: The place of every information set in that order.
        views: What the player to move is shown, by information set.
        states: A state of every information set.
        first_move: The place of the first legal move of every information set in a policy, and the number of all
            moves at the end: `policy[first_move[at]:first_move[at + 1]]` is the policy in information set `at`.
        owner: The seat that makes every move of a policy.
        players: Who moves: a seat, `CHANCE` or `TERMINAL`.
        sets: The information set; -1 where no player moves.
        parents: The node before; -1 for the root.
        edge_moves: The place in a policy of the move that leads here; -1 for a move of chance.
        edge_chances: The probability of the move of chance that leads here; 1 for a player's move.
        levels: The first node of every level, and the number of all nodes at the end.
    """

    def __init__(self, spec: GameSpec) -> None:
        """Writes the tree out.

        Raises:
            ValueError: The game is too large, has perfect information, or lets players say words of their own.
        """
        if spec.talk or spec.perfect_information:
            kind = "players may say words of their own" if spec.talk else "every player sees the whole state"
            raise ValueError(f"{spec.label} has no information sets to list: {kind}")
        self.spec = spec
        self.information_sets: list[InformationSet] = []
        self.views: list[View] = []
        self.states: list[Any] = []
        self.numbers: dict[InformationSet, int] = {}
        first_move = [0]
        rows = list(self._read(first_move))
        self.first_move: IntArray = np.array(first_move, dtype=np.int64)
        depth, players, sets, parents, moves, chances = (
            np.array(column) for column in list(zip(*rows, strict=True))[:6]
        )
        order = np.argsort(depth, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        self.players: IntArray = players[order].astype(np.int64)
        self.sets: IntArray = sets[order].astype(np.int64)
        self.parents: IntArray = np.where(parents[order] < 0, -1, places[parents[order]]).astype(np.int64)
        self.edge_moves: IntArray = moves[order].astype(np.int64)
        self.edge_chances: FloatArray = chances[order].astype(np.float64)
        self.levels: IntArray = np.searchsorted(depth[order], np.arange(int(depth.max()) + 2)).astype(np.int64)
        seats = spec.game.num_players
        self._returns: FloatArray = np.array([rows[at][6] for at in order], dtype=np.float64).reshape(-1, seats)
        owners = np.array([seat for seat, _ in self.information_sets], dtype=np.int64)
        self.owner: IntArray = np.repeat(owners, np.diff(self.first_move))
        self._forfeits: FloatArray = np.array(
            [
                forfeit_returns(seat, num_seats=seats, return_range=spec.return_range, zero_sum=spec.zero_sum)
                for seat in range(seats)
            ]
        )
        self._check_depths(depth[order])

    @property
    def num_seats(self) -> int:
        """The number of seats."""
        return self.spec.game.num_players

    @property
    def num_moves(self) -> int:
        """The length of a policy."""
        return int(self.first_move[-1])

    def children(self, node: int) -> range:
        """Returns the nodes that follow `node`."""
        # Nodes are numbered level by level, so that the array of parents is sorted.
        first, last = np.searchsorted(self.parents, (node, node + 1)).tolist()
        return range(first, last)

    def texts(self, at: int) -> tuple[str, ...]:
        """Returns the texts of the legal moves of information set `at`."""
        legal = self.views[at].legal_moves
        assert legal is not None, "a native game lists its moves"
        return legal

    def row(self, policy: Policy) -> FloatArray:
        """Returns a policy as a row; a move that is left out has probability 0.

        Raises:
            ValueError: It names a move that is not legal, or no probability.
        """
        row = np.zeros(self.num_moves)
        for at, view in enumerate(self.views):
            texts = self.texts(at)
            for move, probability in policy(view).items():
                # Written so that a NaN is refused.
                if move not in texts or not 0 <= probability <= 1 + TIE:
                    raise ValueError(f"policy of {view.game} at {view.observation!r}: {move!r} has {probability!r}")
                row[self.first_move[at] + texts.index(move)] = probability
        return row

    def probabilities(self, row: FloatArray, at: int) -> Mapping[str, float]:
        """Returns the part of a row that belongs to information set `at`, by the texts of the moves."""
        first, last = self.first_move[at], self.first_move[at + 1]
        return dict(zip(self.texts(at), row[first:last].tolist(), strict=True))

    def per_set(self, row: FloatArray) -> FloatArray:
        """Returns the sums over the moves of every information set, of shape [..., information sets]."""
        return np.add.reduceat(row, self.first_move[:-1], axis=-1)

    def reach(self, policies: FloatArray, *, without: Player | None = None) -> FloatArray:
        """Returns the probability of every node, of shape [policies, nodes].

        Args:
            policies: Of shape [policies, moves].
            without: A seat whose moves count as certain: what remains is up to chance and the others.
        """
        if without is not None:
            policies = np.where(self.owner == without, 1.0, policies)
        reached = np.ones((len(policies), len(self.players)))
        for first, last in self._spans(1):
            moves = self.edge_moves[first:last]
            edges = np.where(moves < 0, self.edge_chances[first:last], policies[:, np.maximum(moves, 0)])
            reached[:, first:last] = reached[:, self.parents[first:last]] * edges
        return reached

    def values(self, policies: FloatArray) -> FloatArray:
        """Returns what every seat gets while each policy plays all seats, of shape [policies, seats]."""
        reached = self.reach(policies)
        is_turn = self.sets >= 0
        forfeited = (reached[:, is_turn] * self._faults(policies)[:, self.sets[is_turn]]) @ self._forfeits[
            self.players[is_turn]
        ]
        return reached @ self._returns + forfeited

    def best_responses(self, policies: FloatArray) -> BestResponses:
        """Returns what the best response in each seat gets while each policy plays the others."""
        best = np.zeros((len(policies), self.num_seats))
        moves, worth = np.zeros_like(policies), np.zeros_like(policies)
        for seat in range(self.num_seats):
            best[:, seat] = self._respond(policies, seat, moves, worth)
        return BestResponses(best, moves, worth)

    def nash_conv(self, policies: FloatArray) -> FloatArray:
        """Returns what all seats could gain, each by its own best response, of shape [policies]."""
        gains: FloatArray = (self.best_responses(policies).values - self.values(policies)).sum(axis=1)
        return gains

    def _respond(self, policies: FloatArray, seat: Player, moves: FloatArray, worth: FloatArray) -> FloatArray:
        """Returns the value of the best response of `seat`, and writes it down in `moves` and `worth`.

        All values are weighted by the probability of their node as far as the others and chance decide it, so that
        those of an information set may be summed.
        """
        reached = self.reach(policies, without=seat)
        values = reached * self._returns[:, seat]
        others = (self.sets >= 0) & (self.players != seat)
        lost = self._faults(policies)[:, self.sets[others]] * self._forfeits[self.players[others], seat]
        values[:, others] = reached[:, others] * lost
        for first, last in reversed(list(self._spans(1))):
            children = values[:, first:last]
            parents, edges = self.parents[first:last], self.edge_moves[first:last]
            own = np.flatnonzero((edges >= 0) & (self.owner[np.maximum(edges, 0)] == seat))
            if own.size:
                self._choose(children[:, own], edges[own], moves, worth)
                children[:, own] *= moves[:, edges[own]]
            starts = np.flatnonzero(np.diff(parents, prepend=-1))
            values[:, parents[starts]] += np.add.reduceat(children, starts, axis=1)
        return values[:, 0]

    def _choose(self, children: FloatArray, edges: IntArray, moves: FloatArray, worth: FloatArray) -> None:
        """Sets the best of the moves whose nodes have these values, in every information set of a level."""
        order = np.argsort(edges, kind="stable")
        starts = np.flatnonzero(np.diff(edges[order], prepend=-1))
        places = edges[order][starts]
        worths = np.add.reduceat(children[:, order], starts, axis=1)
        sets = np.searchsorted(self.first_move, places, side="right")
        begins = np.flatnonzero(np.diff(sets, prepend=0))
        counts = np.diff(begins, append=len(places))
        best = np.repeat(np.maximum.reduceat(worths, begins, axis=1), counts, axis=1)
        is_best = worths >= best - TIE
        seen = np.cumsum(is_best, axis=1)
        before: IntArray = np.repeat(seen[:, begins] - is_best[:, begins], counts, axis=1)
        moves[:, places] = is_best & (seen - before == 1)
        worth[:, places] = worths

    def _faults(self, policies: FloatArray) -> FloatArray:
        """Returns the probability of a fault in every information set; rounding is none."""
        missing = 1 - self.per_set(policies)
        return np.where(missing > TIE, missing, 0.0)

    def _spans(self, first_level: int) -> Iterator[tuple[int, int]]:
        levels = self.levels.tolist()
        return zip(levels[first_level:-1], levels[first_level + 1 :], strict=True)

    def _read(self, first_move: list[int]) -> Iterator[tuple[Any, ...]]:
        """Yields the nodes in the order of `walk`, each as depth, player, information set, parent, edge, returns."""
        game, nobody = self.spec.game, (0.0,) * self.spec.game.num_players
        # The edges to the children that are still to come, of every node on the way to the next one.
        waiting: list[tuple[int, list[tuple[int, float]]]] = []
        for index, (state, player, turn) in enumerate(walk(self.spec)):
            while waiting and not waiting[-1][1]:
                waiting.pop()
            parent = waiting[-1][0] if waiting else -1
            move, chance = waiting[-1][1].pop() if waiting else (-1, 1.0)
            depth, at, returns = len(waiting), -1, nobody
            if player == TERMINAL:
                returns = game.returns(state)
            elif player == CHANCE:
                edges = [(-1, probability) for _, probability in game.chance_outcomes(state)]
                waiting.append((index, edges[::-1]))
            else:
                at = self._number(state, player, turn, first_move)
                places = range(first_move[at], first_move[at + 1])
                waiting.append((index, [(place, 1.0) for place in reversed(places)]))
            yield depth, player, at, parent, move, chance, returns

    def _number(self, state: Any, player: Player, turn: int, first_move: list[int]) -> int:
        """Returns the number of an information set; a new one is written down."""
        where = (player, self.spec.codec.observe(state, player))
        at = self.numbers.setdefault(where, len(self.information_sets))
        if at == len(self.information_sets):
            view = make_view(self.spec, state, player, turn=turn)
            self.information_sets.append(where)
            self.views.append(view)
            self.states.append(state)
            first_move.append(first_move[-1] + len(view.legal_moves or ()))
        return at

    def _check_depths(self, depths: IntArray) -> None:
        """Raises ValueError unless the nodes of every information set are on one level, as `_respond` needs it."""
        is_turn = self.sets >= 0
        lowest = np.full(len(self.information_sets), math.inf)
        highest = np.zeros(len(self.information_sets))
        np.minimum.at(lowest, self.sets[is_turn], depths[is_turn])
        np.maximum.at(highest, self.sets[is_turn], depths[is_turn])
        if (lowest != highest).any():
            at = int(np.flatnonzero(lowest != highest)[0])
            raise ValueError(
                f"{self.spec.label}: {self.views[at].observation!r} is seen after different numbers of moves"
            )
