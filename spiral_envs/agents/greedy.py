"""The agent `greedy`: what can be had at once, without a plan.

With perfect information it looks two plies ahead, and values whatever lies beyond at the middle of the returns:

1. It takes the move that is worth most on average over chance when the next player at once takes the most that it can:
   a win at once, otherwise a move after which the other cannot win at once, if there is one.
2. Among equals it takes the one after which it could get most at once at its own next turn, on average over chance and
   over all replies, one of each other player: it makes threats, and two at a time if it can.
3. Among those it draws.

With hidden information it plays the best response to opponents that play uniformly at random, exactly: it has no idea
of what the others mean by their moves. Kuhn poker of several hands is taken hand by hand, as by `cfr`.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from spiral_envs.agents.kuhn_hands import OUTCOMES, continued_hand, place_in_hand
from spiral_envs.best_response import TIE as SMALLEST_GAIN
from spiral_envs.best_response import GameTree
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player
from spiral_envs.games.kuhn_poker import KuhnPoker, KuhnSituation
from spiral_envs.match import View
from spiral_envs.solve import InformationSet
from spiral_envs.sources import find_source
from spiral_envs.tree import walk

MAX_POSITIONS: Final = 20_000
"""How many positions are looked at for the threats of one move; where there are more, equals are drawn from."""

TIE: Final = 1e-9
"""Values closer than this are equal: expected values are rounded."""


class GreedyAgent:
    """Replies with a move drawn uniformly from those that its rules find equally good.

    It plays every game of perfect information, with any number of players, and those with hidden information whose
    tree can be walked.
    """

    name = "greedy"

    def __init__(self, *, seed: int) -> None:
        """Starts the agent's own random numbers."""
        self._rng = random.Random(seed)

    def reseed(self, seed: int) -> None:
        """Makes the agent draw as a new one with `seed` would."""
        self._rng = random.Random(seed)

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns a move a view.

        Raises:
            ValueError: The agent cannot play the game.
        """
        # Many matches of a batch are in the same position.
        known: dict[tuple[str, Player, str], tuple[str, ...]] = {}
        replies: list[str] = []
        for view in views:
            where = (view.game, view.seat, view.observation)
            if where not in known:
                known[where] = best_moves(view)
            replies.append(known[where][int(self._rng.random() * len(known[where]))])
        return replies


def best_moves(view: View) -> tuple[str, ...]:
    """Returns the texts of the moves that are equally good to a greedy player.

    Raises:
        ValueError: The agent cannot play the game.
    """
    spec = _rules(view.game)
    if spec.perfect_information:
        return tuple(map(spec.codec.format_move, look_ahead(spec, view.state)))
    if isinstance(view.state, KuhnSituation) and len(view.state.chips) == 2:
        return _kuhn_moves(spec, view.state)
    try:
        return _response(spec).moves[view.seat, view.observation]
    except KeyError:
        raise _unplayable(view.game, f"it has no such view: {view.observation!r}") from None


def check_playable(game: str) -> None:
    """Refuses a game that the agent cannot play.

    A tree is walked no further than it takes to know whether it is too large, a few seconds.

    Raises:
        MissingExtraError: The package of a bridge is not installed.
        UnknownNameError: No such game.
        ValueError: The agent cannot play it.
    """
    spec = _rules(game)
    is_by_hand = isinstance(spec.game, KuhnPoker) and spec.game.num_players == 2
    if not spec.perfect_information and not is_by_hand:
        _check_walkable(spec)


def look_ahead(spec: GameSpec, state: Any) -> tuple[Any, ...]:
    """Returns the moves in a state of perfect information that are equally good by the rules of this module.

    Raises:
        ValueError: No player is to move.
    """
    player = spec.game.to_move(state)
    if player < 0:
        raise ValueError(f"no player is to move in this state of {spec.label}")
    ahead = _Ahead(spec, player)
    moves = _best(spec.game.legal_moves(state), lambda move: ahead.safety(state, move))
    if len(moves) == 1:
        return moves
    try:
        return _best(moves, lambda move: ahead.threat(state, move))
    except _TooManyPositionsError:
        return moves


class _TooManyPositionsError(Exception):
    """The threats of a move take more than `MAX_POSITIONS` positions."""


class _Ahead:
    """What the next moves can bring to one player."""

    def __init__(self, spec: GameSpec, player: Player) -> None:
        """Sets the game and whose side is taken."""
        low, high = spec.return_range
        self._game = spec.game
        self._player = player
        self._beyond = 0.0 if spec.zero_sum else (low + high) / 2
        self._num_visited = 0

    def safety(self, state: Any, move: Any) -> float:
        """Returns what a move is worth when the next player takes the most that it can get at once."""
        return self._mean(state, move, self._after_own)

    def threat(self, state: Any, move: Any) -> float:
        """Returns what the player could get at its next turn after a move, if each other one replies once, at random.

        Raises:
            _TooManyPositionsError: It takes too many positions to say.
        """
        self._num_visited = 0
        return self._mean(state, move, lambda following: self._before_own(following, self._game.num_players - 1))

    def _after_own(self, state: Any) -> float:
        """Returns the safety of a state in which a player is to move, or nobody any more."""
        mover = self._game.to_move(state)
        if mover == TERMINAL:
            return self._game.returns(state)[self._player]
        if mover == self._player:
            return self._beyond
        replies = self._game.legal_moves(state)
        taken = {reply: self._at_once(state, reply, mover) for reply in replies}
        most = max(taken.values())
        # Which of several equal replies the other takes is unknown: the worst for this player.
        return min(self._at_once(state, reply, self._player) for reply in replies if taken[reply] >= most - TIE)

    def _before_own(self, state: Any, num_replies: int) -> float:
        """Returns the threat in a state in which a player is to move after no more replies, or nobody any more."""
        self._num_visited += 1
        if self._num_visited > MAX_POSITIONS:
            raise _TooManyPositionsError
        mover = self._game.to_move(state)
        if mover == TERMINAL:
            return self._game.returns(state)[self._player]
        moves = self._game.legal_moves(state)
        if mover != self._player:
            if num_replies == 0:
                return self._beyond
            threats = (
                self._mean(state, move, lambda after: self._before_own(after, num_replies - 1)) for move in moves
            )
            return math.fsum(threats) / len(moves)
        self._num_visited += len(moves)
        return max(self._at_once(state, move, mover) for move in moves)

    def _at_once(self, state: Any, move: Any, player: Player) -> float:
        """Returns what a move is worth to `player` if it ends the game, on average over chance."""
        return self._mean(state, move, lambda following: self._worth(following, player))

    def _worth(self, state: Any, player: Player) -> float:
        game = self._game
        return game.returns(state)[player] if game.to_move(state) == TERMINAL else self._beyond

    def _mean(self, state: Any, move: Any, value: Callable[[Any], float]) -> float:
        """Returns the mean of a value over the states that a move can lead to."""
        following = self._game.next_state(state, move)
        if self._game.to_move(following) != CHANCE:
            return value(following)
        return math.fsum(chance * value(outcome) for outcome, chance in self._outcomes(following, 1.0))

    def _outcomes(self, state: Any, likelihood: float) -> Iterator[tuple[Any, float]]:
        """Yields the states that chance can lead to, with their probabilities."""
        if self._game.to_move(state) != CHANCE:
            yield state, likelihood
            return
        for move, chance in self._game.chance_outcomes(state):
            yield from self._outcomes(self._game.next_state(state, move), likelihood * chance)


def _best(moves: Sequence[Any], value: Callable[[Any], float]) -> tuple[Any, ...]:
    """Returns the moves with the largest value."""
    values = [value(move) for move in moves]
    best = max(values)
    return tuple(move for move, each in zip(moves, values, strict=True) if each >= best - TIE)


def _rules(game: str) -> GameSpec:
    spec = find_source(game).spec
    if spec is None:
        raise _unplayable(game, "its rules are not here to look ahead with")
    if spec.talk:
        raise _unplayable(game, "players may say words of their own, which no list of moves has")
    return spec


class _Response(NamedTuple):
    """How to play best when the others play uniformly at random.

    Attributes:
        values: What it gets each seat.
        moves: The texts of all moves that are best, by the seat and what it observes.
    """

    values: tuple[float, ...]
    moves: Mapping[InformationSet, tuple[str, ...]]


@lru_cache(maxsize=64)
def _response(spec: GameSpec) -> _Response:
    _check_walkable(spec)
    return _response_of(spec)


def _response_of(spec: GameSpec) -> _Response:
    tree = GameTree(spec)
    counts = np.diff(tree.first_move)
    response = tree.best_responses(np.repeat(1 / counts, counts)[np.newaxis])
    moves: dict[InformationSet, tuple[str, ...]] = {}
    for at, where in enumerate(tree.information_sets):
        worth = response.move_values[0, tree.first_move[at] : tree.first_move[at + 1]].tolist()
        moves[where] = tuple(
            text for text, each in zip(tree.texts(at), worth, strict=True) if each >= max(worth) - SMALLEST_GAIN
        )
    return _Response(tuple(response.values[0].tolist()), moves)


@lru_cache(maxsize=64)
def _check_walkable(spec: GameSpec) -> None:
    try:
        deque(walk(spec), maxlen=0)
    except ValueError as error:
        raise _unplayable(spec.label, str(error)) from None


def _kuhn_moves(spec: GameSpec, situation: KuhnSituation) -> tuple[str, ...]:
    """Returns the best moves in the hand in progress for a player that goes on like this against a random one."""
    rules = spec.game
    assert isinstance(rules, KuhnPoker), "only Kuhn poker has such situations"
    where = place_in_hand(situation, num_cards=rules.num_cards)
    # The hand's first mover has seat 0 in the game of the hand.
    lead = situation.chips[situation.first_mover] * (1 if where[0] == 0 else -1)
    # Where chips are paid, each hand stands for itself.
    hands_left, lead = (1, 0) if rules.pays_chips else (situation.hands_left, lead)
    return _respond_in_hand(hands_left, lead, where[0], rules.pays_chips, rules.num_cards).moves[where]


@cache
def _respond_in_hand(hands_left: int, lead: int, seat: Player, pays_chips: bool, num_cards: int) -> _Response:
    """Returns the best response in the next hand of a player that leads by `lead` chips and has `seat` in it."""
    sign = 1 if seat == 0 else -1
    worth = {
        chips: sign * _value_after(hands_left - 1, lead + sign * chips, 1 - seat, pays_chips, num_cards)
        for chips in OUTCOMES
    }
    return _response_of(continued_hand(worth, num_cards=num_cards))


def _value_after(hands_left: int, lead: int, seat: Player, pays_chips: bool, num_cards: int) -> float:
    """Returns what the match is worth to a player that leads by `lead` chips and has `seat` in the next hand."""
    if hands_left > 0:
        return _respond_in_hand(hands_left, lead, seat, pays_chips, num_cards).values[seat]
    return float(lead if pays_chips else (lead > 0) - (lead < 0))


def _unplayable(game: str, reason: str) -> ValueError:
    return ValueError(f"the greedy agent cannot play {game}: {reason}")
