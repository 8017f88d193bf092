"""Many matches at once, for users who bring their own loop: every step takes one turn in every match.

Match number k of a batch, in the order in which they are started, has the seed `match_seed(seed, k)`, whatever the size
of the batch: `make_match(game_id, seed=episode.seed)` starts it again.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiral_envs.chance import match_seed
from spiral_envs.discrete import FloatArray, MaskArray, discrete_game_of
from spiral_envs.episode import Episode
from spiral_envs.match import GameMatch, Match, MatchSource, View
from spiral_envs.sources import find_source

AGENT: Final = "external"
"""The name, in the records, of whoever answers the views of a batch."""


class BatchStep(NamedTuple):
    """What a step of a batch of B running matches led to.

    Attributes:
        views: What the seat to move in every running match is shown, in the order in which replies are expected.
        finished: The records of the matches that the step ended, by the place of their last reply, 0..B-1.
    """

    views: list[View]
    finished: dict[int, Episode]


class DiscreteBatchStep(NamedTuple):
    """What a step of a batch of B matches in arrays led to; n is the number of actions.

    A match that ended has been replaced: its row holds the rewards of the match that ended and the rest of the new one.

    Attributes:
        observations: What the seat to move knows, float32 [B, *shape].
        action_masks: 1 for every action that it may take, else 0, int8 [B, n].
        seats: Which seat that is, int64 [B].
        rewards: The returns of the match that the step ended, by seat; else zeros, float32 [B, number of seats].
        dones: Whether the step ended the match, bool [B].
        finished: The records of the matches that the step ended, by row.
    """

    observations: FloatArray
    action_masks: MaskArray
    seats: NDArray[np.int64]
    rewards: FloatArray
    dones: NDArray[np.bool_]
    finished: dict[int, Episode]


class MatchBatch:
    """Matches of one game side by side, each of which goes on by one reply a step.

    A match that ends is reported and replaced by the next one at once, so that the batch keeps its size, until `limit`
    matches have been started; then the batch shrinks, and is over when `views` is empty.

    An error of the game's own code in a step leaves the same matches in `matches`, some of them one turn further on;
    `reset` is the way out.
    """

    def __init__(
        self,
        game_id: str,
        num_matches: int,
        *,
        seed: int,
        invalid_move: str = "forfeit",
        limit: int | None = None,
        **game_options: Any,
    ) -> None:
        """Sets up a batch; `reset` starts it.

        Args:
            game_id: A registered id, or a game of a bridge, as for `make_match`.
            num_matches: The size of the batch, at least 1.
            seed: Decides the seeds of all matches: an integer from 0.
            invalid_move: What a fault costs: "forfeit" or "random", see `InvalidMove`.
            limit: The most matches that are started after a reset; None for no end.
            game_options: The game's own options.

        Raises:
            UnknownNameError: No such game, option or policy.
            ValueError: An argument or an option is out of its range, or a match is over at its start.
        """
        self._starts = _Starts(find_source(game_id, **game_options), seed, invalid_move)
        if num_matches < 1:
            raise ValueError(f"num_matches is {num_matches!r}: expected at least 1")
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit!r}: expected at least 1, or None")
        self._num_matches = num_matches
        self._limit = limit
        self._left: int | None = None
        self._running: list[tuple[int, Match]] = []

    @property
    def matches(self) -> tuple[Match, ...]:
        """The running matches, in the order of their views."""
        return tuple(match for _, match in self._running)

    def reset(self, seed: int | None = None) -> list[View]:
        """Drops the running matches, starts new ones and returns their views, one a match.

        Args:
            seed: Starts the numbers of the matches from 0 again, with this seed; without it they go on.

        Raises:
            ValueError: `seed` is negative, or a match is over at its start.
        """
        self._starts.reset(seed)
        self._left = self._limit
        self._running = []
        self._running = self._next(self._num_matches)
        return self._views()

    def step(self, replies: Sequence[str]) -> BatchStep:
        """Plays one reply in every running match, in the order of the views.

        Raises:
            RuntimeError: No match is running.
            TypeError: A reply is not a text.
            ValueError: There are more or fewer replies than running matches, or a new match is over at its start.
        """
        if not self._running:
            raise RuntimeError("no match is running: call reset()")
        if len(replies) != len(self._running):
            raise ValueError(f"got {len(replies)} replies: expected {len(self._running)}, one for each running match")
        for place, reply in enumerate(replies):
            if not isinstance(reply, str):  # pyright: ignore[reportUnnecessaryIsInstance] - a user's loop is not typed
                raise TypeError(f"reply {place} is {reply!r}: expected a text such as '[move]'")
        finished: dict[int, Episode] = {}
        running: list[tuple[int, Match]] = []
        for place, ((number, match), reply) in enumerate(zip(self._running, replies, strict=True)):
            match.submit(reply)
            if match.seat_to_move is None:
                finished[place] = self._starts.record(number, match)
                running += self._next(1)
            else:
                running.append((number, match))
        self._running = running
        return BatchStep(self._views(), finished)

    def _next(self, count: int) -> list[tuple[int, Match]]:
        """Returns `count` new matches, or as many as the limit leaves."""
        if self._left is not None:
            count = min(count, self._left)
            self._left -= count
        return [self._starts.next() for _ in range(count)]

    def _views(self) -> list[View]:
        views: list[View] = []
        for _, match in self._running:
            seat = match.seat_to_move
            assert seat is not None, "matches that are over do not run"
            views.append(match.view(seat))
        return views


class DiscreteMatchBatch:
    """Matches of one game with a fixed list of moves side by side, as arrays: for learners that read no text.

    A match that ends is replaced by the next one at once, so that the batch keeps its size. After an error of the
    game's own code in a step, `reset` is the way out.

    Attributes:
        num_matches: The size of the batch, B.
        num_seats: The number of seats.
        num_actions: The number of actions, n: an action is the place of a move in the game's list.
        shape: The shape of one observation.
    """

    def __init__(
        self, game_id: str, num_matches: int, *, seed: int, invalid_move: str = "forfeit", **game_options: Any
    ) -> None:
        """Sets up a batch; `reset` starts it.

        Args:
            game_id: A registered id.
            num_matches: The size of the batch, at least 1.
            seed: Decides the seeds of all matches: an integer from 0.
            invalid_move: What an action that is not legal costs: "forfeit" or "random", see `InvalidMove`.
            game_options: The game's own options.

        Raises:
            UnknownNameError: No such game, option or policy.
            ValueError: An argument or an option is out of its range, the game has no fixed list of moves, or a match is
                over at its start.
        """
        source = find_source(game_id, **game_options)
        self._game = discrete_game_of(source)
        self._starts = _Starts(source, seed, invalid_move)
        if num_matches < 1:
            raise ValueError(f"num_matches is {num_matches!r}: expected at least 1")
        self.num_matches = num_matches
        self.num_seats = len(source.roles)
        self.num_actions = self._game.num_actions
        self.shape = self._game.shape
        self._running: list[tuple[int, GameMatch]] = []
        self._legal = [self._game.no_actions] * num_matches

    def reset(self, seed: int | None = None) -> DiscreteBatchStep:
        """Drops the running matches and starts new ones.

        Args:
            seed: Starts the numbers of the matches from 0 again, with this seed; without it they go on.

        Raises:
            ValueError: `seed` is negative, or a match is over at its start.
        """
        self._starts.reset(seed)
        self._running = []
        self._running = [self._start() for _ in range(self.num_matches)]
        return self._show({})

    def step(self, actions: NDArray[np.integer[Any]] | Sequence[int]) -> DiscreteBatchStep:
        """Plays one action in every match.

        Args:
            actions: The actions, integers [B]; one that is not legal is a fault of its seat.

        Raises:
            RuntimeError: No match is running.
            TypeError: The actions are not integers.
            ValueError: There are more or fewer actions than matches, or a new match is over at its start.
        """
        if not self._running:
            raise RuntimeError("no match is running: call reset()")
        numbers = np.asarray(actions)
        if numbers.shape != (self.num_matches,):
            raise ValueError(f"actions have the shape {numbers.shape}: expected ({self.num_matches},)")
        if not np.issubdtype(numbers.dtype, np.integer):
            raise TypeError(f"actions are of type {numbers.dtype}: expected integers")
        finished: dict[int, Episode] = {}
        game, running, legal = self._game, self._running.copy(), self._legal
        for row, action in enumerate(numbers.tolist()):
            number, match = running[row]
            match.submit(game.reply(action, legal[row]))
            if match.seat_to_move is None:
                finished[row] = self._starts.record(number, match)
                running[row] = self._start()
        self._running = running
        return self._show(finished)

    def _start(self) -> tuple[int, GameMatch]:
        number, match = self._starts.next()
        assert isinstance(match, GameMatch), "a game with a fixed list of moves has its rules here"
        return number, match

    def _show(self, finished: dict[int, Episode]) -> DiscreteBatchStep:
        size = self.num_matches
        observations = np.empty((size, *self.shape), np.float32)
        action_masks = np.empty((size, self.num_actions), np.int8)
        seats = np.empty(size, np.int64)
        rewards = np.zeros((size, self.num_seats), np.float32)
        dones = np.zeros(size, np.bool_)
        game = self._game
        for row, (_, match) in enumerate(self._running):
            seat = match.seat_to_move
            assert seat is not None, "matches that are over do not run"
            legal = self._legal[row] = game.legal(match)
            seats[row], action_masks[row], observations[row] = seat, legal.mask, game.features(match, seat)
        for row, episode in finished.items():
            rewards[row], dones[row] = episode.outcome.returns, True
        return DiscreteBatchStep(observations, action_masks, seats, rewards, dones, finished)


class _Starts:
    """Starts the matches of a batch, one after the other."""

    def __init__(self, source: MatchSource, seed: int, invalid_move: str) -> None:
        self._source = source
        self._invalid_move = invalid_move
        self._agents = (AGENT,) * len(source.roles)
        self.reset(seed)
        # A wrong policy, and a game in which nobody ever moves, are told now rather than at the first reset.
        self._start(0)

    def reset(self, seed: int | None) -> None:
        """Starts the numbers again with a seed; goes on without one."""
        if seed is None:
            return
        # numpy's integers are too short for the seeds of the matches.
        number = operator.index(seed)
        if number < 0:
            raise ValueError(f"seed is {number}: expected an integer from 0")
        self._seed, self._number = number, 0

    def next(self) -> tuple[int, Match]:
        """Returns the next match, with its number."""
        number = self._number
        self._number += 1
        return number, self._start(match_seed(self._seed, number))

    def record(self, number: int, match: Match) -> Episode:
        """Returns the record of a match that is over."""
        return Episode.of(match, index=number, agents=self._agents)

    def _start(self, seed: int) -> Match:
        """Returns a match in which a seat is to move: there is no reply of whose place its end could be told.

        Raises:
            ValueError: The match is over at its start.
        """
        match = self._source.start(seed=seed, invalid_move=self._invalid_move)
        if match.seat_to_move is None:
            raise ValueError(f"the match of {match.game} with seed {seed} is over at its start: a batch needs moves")
        return match
