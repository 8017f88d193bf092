"""Which game is begun next.

Games that need a model on this machine are ordered so that few models are in memory at once and each is loaded as
seldom as that allows. Games with an endpoint are begun only as far as it takes requests, so that those of a slow one do
not keep all others waiting.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from spiral_envs.arena.plan import Asking, Entrant, PlannedGame


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
        needing_models: list[PlannedGame] = []
        # Games with the same endpoints wait for the same thing.
        self._others: dict[frozenset[str], deque[PlannedGame]] = {}
        for game in games:
            self._left.update(game.agents)
            if self._models_of(game):
                needing_models.append(game)
            else:
                self._others.setdefault(self._endpoints_of(game), deque()).append(game)
        self._needing_models = deque(_by_models(needing_models, self._models_of, models_in_memory))

    def take(self) -> PlannedGame | None:
        """Returns a game that can begin now, None if there is none as long as others go on."""
        for index, game in enumerate(self._needing_models):
            # While the first one waits for an endpoint, those play whose models are there as well.
            is_loaded = self._models_of(game) <= self._models
            if index and not is_loaded:
                break
            if self._can_ask(self._endpoints_of(game)) and (is_loaded or self._make_room(game)):
                del self._needing_models[index]
                return self._begin(game)
            if not is_loaded:
                break
        for endpoints, games in self._others.items():
            if games and self._can_ask(endpoints):
                # Those with other endpoints have their turn next.
                self._others[endpoints] = self._others.pop(endpoints)
                return self._begin(games.popleft())
        return None

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
        for games in (self._needing_models, *self._others.values()):
            kept = [game for game in games if agent not in game.agents]
            num_dropped += len(games) - len(kept)
            for game in games:
                if agent in game.agents:
                    self._left.subtract(game.agents)
            games.clear()
            games.extend(kept)
        return num_dropped

    @property
    def num_waiting(self) -> int:
        """How many games have not begun."""
        return len(self._needing_models) + sum(map(len, self._others.values()))

    def _begin(self, game: PlannedGame) -> PlannedGame:
        self._running.update(game.agents)
        self._models.update(self._models_of(game))
        return game

    def _make_room(self, game: PlannedGame) -> bool:
        """Returns whether the models of `game` can be loaded, after letting go of others, which do not play."""
        needed = self._models_of(game)
        num_over = len(self._models | needed) - self._limit
        if num_over <= 0:
            return True
        # Rather than let go of another one, it waits until those that are needed last have played.
        leaving = self._needed_last(self._models - needed)[:num_over]
        if any(self._running[name] for name in leaving):
            return False
        for name in leaving:
            self._let_go(name)
        return True

    def _needed_last(self, models: Iterable[str]) -> list[str]:
        """Returns `models` by when they are needed next, the latest first."""
        by_need: dict[str, None] = {}
        for game in self._needing_models:
            by_need.update(dict.fromkeys(game.agents))
        order = {name: number for number, name in enumerate(by_need)}
        return sorted(models, key=lambda name: (-order.get(name, len(order)), name))

    def _let_go(self, agent: str) -> None:
        self._models.discard(agent)
        self._release(agent)

    def _can_ask(self, endpoints: Iterable[str]) -> bool:
        return all(self._running[name] < self._entrants[name].concurrency for name in endpoints)

    def _models_of(self, game: PlannedGame) -> frozenset[str]:
        return frozenset(name for name in game.agents if self._entrants[name].is_model)

    def _endpoints_of(self, game: PlannedGame) -> frozenset[str]:
        return frozenset(name for name in game.agents if self._entrants[name].asking is Asking.BY_REQUEST)


def _by_models(
    games: Iterable[PlannedGame], models_of: Callable[[PlannedGame], frozenset[str]], limit: int
) -> list[PlannedGame]:
    """Returns the games in an order that loads models seldom.

    The models are cut into blocks of one less than fit. While a block is in memory all others pass by it one at a time,
    forwards and backwards in turn, so that the last of one pass is the first of the next.
    """
    games = list(games)
    # In the order in which the games name them.
    rank = {
        name: number for number, name in enumerate(dict.fromkeys(m for game in games for m in sorted(models_of(game))))
    }

    def key(game: PlannedGame) -> tuple[int, int]:
        ranks = sorted(rank[name] for name in models_of(game))
        block = ranks[0] // (limit - 1)
        return block, -ranks[-1] if block % 2 else ranks[-1]

    # Sorting is stable: within the same models the given order stays.
    return sorted(games, key=key)
