"""Which game is begun next.

Games that need a model on this machine are ordered so that few models are in memory at once and each is loaded as
seldom as that allows. Games with an endpoint are begun only as far as it takes requests, so that those of a slow one do
not keep all others waiting.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from spiral_envs.arena.plan import Asking, Entrant, PlannedGame

_Queues: TypeAlias = dict[frozenset[str], deque[PlannedGame]]
"""Games by the endpoints that they need, since games with the same endpoints wait for the same thing; none is empty."""


class Schedule:
    """The games that are left, and those that are played now."""

    def __init__(
        self,
        games: Iterable[PlannedGame],
        entrants: Mapping[str, Entrant],
        *,
        models_in_memory: int,
        release: Callable[[str], None],
    ) -> None:
        """Orders the games.

        Args:
            games: Those to be played, in the order in which they are to be begun where nothing speaks against it.
            entrants: Who plays, by name.
            models_in_memory: The most models at once, at least the 2 of a game.
            release: Is told the name of an agent that is not needed, for now or any more.
        """
        self._entrants = entrants
        self._limit = models_in_memory
        self._release = release
        self._models: set[str] = set()
        self._running: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        queues: dict[frozenset[str], _Queues] = {}
        for game in games:
            self._left.update(game.agents)
            of_models = queues.setdefault(self._models_of(game), {})
            of_models.setdefault(self._endpoints_of(game), deque()).append(game)
        self._others = queues.pop(frozenset(), {})
        self._needing_models = {models: queues[models] for models in _in_order(queues, models_in_memory)}

    def take(self) -> PlannedGame | None:
        """Returns a game that can begin now, None if there is none as long as others go on."""
        for index, (models, queues) in enumerate(self._needing_models.items()):
            # While the first ones wait for an endpoint, those play whose models are there as well.
            is_loaded = models <= self._models
            if index and not is_loaded:
                break
            if self._has_askable(queues) and (is_loaded or self._make_room(models)):
                return self._begin(queues, models)
            if not is_loaded:
                break
        return self._begin(self._others, frozenset()) if self._has_askable(self._others) else None

    def end(self, game: PlannedGame) -> None:
        """Says that a game is not played any more, finished or not."""
        self._running.subtract(game.agents)
        self._left.subtract(game.agents)
        for agent in game.agents:
            if not self._left[agent]:
                self._let_go(agent)

    def drop(self, agent: str) -> int:
        """Takes all games of `agent` that have not begun from the schedule, and returns how many these were."""
        num_dropped = 0
        for queues in (*self._needing_models.values(), self._others):
            for endpoints, games in list(queues.items()):
                kept = deque(game for game in games if agent not in game.agents)
                num_dropped += len(games) - len(kept)
                for game in games:
                    if agent in game.agents:
                        self._left.subtract(game.agents)
                queues[endpoints] = kept
                if not kept:
                    del queues[endpoints]
        self._needing_models = {models: queues for models, queues in self._needing_models.items() if queues}
        return num_dropped

    @property
    def num_waiting(self) -> int:
        """How many games have not begun."""
        return sum(len(games) for queues in (*self._needing_models.values(), self._others) for games in queues.values())

    def _begin(self, queues: _Queues, models: frozenset[str]) -> PlannedGame:
        """Takes a game that needs `models` from `queues`, in which there is one that can be asked."""
        endpoints = next(each for each in queues if self._can_ask(each))
        games = queues.pop(endpoints)
        game = games.popleft()
        if games:
            # Those with other endpoints have their turn next.
            queues[endpoints] = games
        elif models and not queues:
            del self._needing_models[models]
        self._running.update(game.agents)
        self._models.update(models)
        return game

    def _make_room(self, needed: frozenset[str]) -> bool:
        """Returns whether models can be loaded, after letting go of others, which do not play."""
        num_over = len(self._models | needed) - self._limit
        if num_over <= 0:
            return True
        # Rather than let go of another one, it waits until those that are needed last have played.
        leaving = self._needed_last(frozenset(self._models - needed))[:num_over]
        if any(self._running[name] for name in leaving):
            return False
        for name in leaving:
            self._let_go(name)
        return True

    def _needed_last(self, models: frozenset[str]) -> list[str]:
        """Returns `models` by when they are needed next, the latest first."""
        order: dict[str, int] = {}
        for number, needed in enumerate(self._needing_models):
            order.update((name, number) for name in needed & models if name not in order)
            if len(order) == len(models):
                break
        never = len(self._needing_models)
        return sorted(models, key=lambda name: (-order.get(name, never), name))

    def _let_go(self, agent: str) -> None:
        self._models.discard(agent)
        self._release(agent)

    def _has_askable(self, queues: _Queues) -> bool:
        return any(map(self._can_ask, queues))

    def _can_ask(self, endpoints: Iterable[str]) -> bool:
        return all(self._running[name] < self._entrants[name].concurrency for name in endpoints)

    def _models_of(self, game: PlannedGame) -> frozenset[str]:
        return frozenset(name for name in game.agents if self._entrants[name].is_model)

    def _endpoints_of(self, game: PlannedGame) -> frozenset[str]:
        return frozenset(name for name in game.agents if self._entrants[name].asking is Asking.BY_REQUEST)


def _in_order(needed: Iterable[frozenset[str]], limit: int) -> list[frozenset[str]]:
    """Returns which models games need together, in an order that loads models seldom.

    The models are cut into blocks of one less than fit. While a block is in memory all others pass by it one at a time,
    forwards and backwards in turn, so that the last of one pass is the first of the next.
    """
    needed = list(needed)
    # In the order in which the games name them.
    rank = {name: number for number, name in enumerate(dict.fromkeys(name for each in needed for name in sorted(each)))}

    def key(models: frozenset[str]) -> tuple[int, int]:
        ranks = sorted(rank[name] for name in models)
        block = ranks[0] // (limit - 1)
        return block, -ranks[-1] if block % 2 else ranks[-1]

    # Sorting is stable: where it does not matter the given order stays.
    return sorted(needed, key=key)
