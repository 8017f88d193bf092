"""The agent `mcts:N`: Monte-Carlo tree search with N random games a move.

UCT (Kocsis and Szepesvári 2006) for games of perfect information, with or without chance, of any number of players:
every player goes for its own return (max^n, Luckhardt and Irani 1986). Each simulation walks down the tree by UCB1,
adds one position, and plays on at random to the end. Chance draws its moves by their probability, in the tree too. A
tree of `MAX_NODES` positions stays as it is: the simulations from then on are random games from its leaves.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from spiral_envs.game import CHANCE, TERMINAL, Game, GameSpec, Player
from spiral_envs.match import View
from spiral_envs.registry import find_game

DEFAULT_SIMULATIONS: Final = 1000
"""What `mcts` without a number stands for."""

MAX_NODES: Final = 100_000
"""How many positions a tree may have. One takes 0.4 to 1.2 kB in the games of this package, all of them 120 MB."""

EXPLORATION: Final = 1.0
"""The weight of UCB1's second term, for returns that are scaled to 0..1."""


class MctsAgent:
    """Replies with the move that most simulations went through.

    Every move is searched anew, so a reply depends on nothing but the position, the seed and the replies before it.
    """

    def __init__(self, *, seed: int, simulations: int = DEFAULT_SIMULATIONS) -> None:
        """Starts the agent's own random numbers.

        Raises:
            ValueError: `simulations` is below 1.
        """
        if simulations < 1:
            raise ValueError(f"an mcts agent was given {simulations!r} simulations: expected an integer from 1")
        self.name = f"mcts:{simulations}"
        self._simulations = simulations
        self._rng = random.Random(seed)

    def reseed(self, seed: int) -> None:
        """Makes the agent draw as a new one with `seed` would."""
        self._rng = random.Random(seed)

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns a move a view.

        Raises:
            ValueError: The agent cannot play the game.
        """
        return [self._choose(view) for view in views]

    def _choose(self, view: View) -> str:
        spec = None if view.state is None else find_game(view.game)
        if spec is None or not spec.perfect_information:
            raise ValueError(
                f"the mcts agent cannot play {view.game}: it needs perfect information, since it makes no guesses of"
                " what is hidden"
            )
        return spec.codec.format_move(search(spec, view.state, simulations=self._simulations, rng=self._rng))


def search(spec: GameSpec, state: Any, *, simulations: int, rng: random.Random) -> Any:
    """Returns the move in `state` that most of `simulations` random games went through.

    Raises:
        ValueError: No player is to move.
    """
    game = spec.game
    if game.to_move(state) < 0:
        raise ValueError(f"no player is to move in this state of {spec.label}")
    moves = game.legal_moves(state)
    if len(moves) == 1:
        return moves[0]
    root = _Node(game, state, rng)
    low, high = spec.return_range
    scale = 1.0 / (high - low) if high > low else 0.0
    num_nodes = 0
    for _ in range(simulations):
        num_nodes += _simulate(game, root, rng, low=low, scale=scale, can_grow=num_nodes < MAX_NODES)
    return max(root.children, key=lambda child: (child.num_visits, child.total)).move


class _Node:
    """A position in the tree.

    Attributes:
        state: The position.
        player: Who moves there.
        move: The move that led here.
        num_visits: How many simulations went through it.
        total: The sum of their returns, scaled to 0..1, to the player who moved here.
        children: The positions after the moves tried so far.
        untried: The other moves, in random order.
        by_outcome: The positions after chance's moves so far.
    """

    __slots__ = ("by_outcome", "children", "move", "num_visits", "player", "state", "total", "untried")

    def __init__(self, game: Game[Any, Any], state: Any, rng: random.Random, move: Any = None) -> None:
        """Makes a leaf."""
        self.state = state
        self.player: Player = game.to_move(state)
        self.move = move
        self.num_visits = 0
        self.total = 0.0
        self.children: list[_Node] = []
        self.untried: list[Any] = list(game.legal_moves(state)) if self.player >= 0 else []
        self.by_outcome: dict[Any, _Node] = {}
        rng.shuffle(self.untried)


def _simulate(
    game: Game[Any, Any], root: _Node, rng: random.Random, *, low: float, scale: float, can_grow: bool
) -> int:
    """Plays one game from `root`, adds a position to the tree if it can grow, and counts the result on the way.

    Returns:
        How many positions on the way were new: more than one where chance led to another.
    """
    path = [root]
    while not path[-1].untried and (following := _follow(game, path[-1], rng, can_grow=can_grow)) is not None:
        path.append(following)
    if path[-1].untried and can_grow:
        parent = path[-1]
        path.append(_child(game, parent, parent.untried.pop(), rng))
        parent.children.append(path[-1])
    returns = _random_game(game, path[-1].state, rng)
    num_new = sum(not node.num_visits for node in path)
    root.num_visits += 1
    for parent, node in pairwise(path):
        node.num_visits += 1
        if parent.player != CHANCE:
            node.total += (returns[parent.player] - low) * scale
    return num_new


def _follow(game: Game[Any, Any], node: _Node, rng: random.Random, *, can_grow: bool) -> _Node | None:
    """Returns where a simulation goes on from a position whose moves have all been tried; None at the end."""
    if node.player != CHANCE:
        return _select(node) if node.children else None
    move = _draw(game, node.state, rng)
    following = node.by_outcome.get(move)
    if following is None:
        following = _child(game, node, move, rng)
        if can_grow:
            node.by_outcome[move] = following
    return following


def _child(game: Game[Any, Any], node: _Node, move: Any, rng: random.Random) -> _Node:
    return _Node(game, game.next_state(node.state, move), rng, move)


def _select(node: _Node) -> _Node:
    """Returns the child with the largest upper confidence bound (UCB1)."""
    explore = EXPLORATION * math.sqrt(math.log(node.num_visits))
    best, best_bound = node.children[0], -math.inf
    for child in node.children:
        bound = child.total / child.num_visits + explore / math.sqrt(child.num_visits)
        if bound > best_bound:
            best, best_bound = child, bound
    return best


def _random_game(game: Game[Any, Any], state: Any, rng: random.Random) -> tuple[float, ...]:
    """Returns the returns of a game played on from `state` at random."""
    draw = rng.random
    while (player := game.to_move(state)) != TERMINAL:
        if player == CHANCE:
            move = _draw(game, state, rng)
        else:
            moves = game.legal_moves(state)
            move = moves[int(draw() * len(moves))]
        state = game.next_state(state, move)
    return game.returns(state)


def _draw(game: Game[Any, Any], state: Any, rng: random.Random) -> Any:
    """Returns a move of chance, drawn by its probability."""
    outcomes = game.chance_outcomes(state)
    threshold = rng.random()
    for move, probability in outcomes:
        threshold -= probability
        if threshold < 0:
            return move
    return outcomes[-1][0]
