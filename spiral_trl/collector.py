"""Playing games at once: in lockstep waves, or in a pool that is refilled as replies come in.

Both play every game to its end, whoever sits in its seats, and give the same records for the same replies: stopping at
the first finished games would favour short ones. Waves hand an agent all turns that wait for it as one batch, and wait
for the longest reply of it. A pool hands each turn of the model to its backend on its own, so that one long reply holds
up nothing but its own game.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Final

from spiral_envs.agents import Agent
from spiral_envs.chance import match_seed
from spiral_envs.episode import Episode
from spiral_envs.match import InvalidMove, Match, View
from spiral_envs.sources import find_source
from spiral_trl.sampling import Context, ModelAgent, RequestSampler, SampledReply

_GLANCE_S: Final = 0.05
"""How long a pool waits for the model before it looks at the agents beside it."""


@dataclass(slots=True)
class Table:
    """A game and who sits at it.

    Attributes:
        number: Its position in the run.
        match: The game.
        agents: Who plays each seat.
    """

    number: int
    match: Match
    agents: tuple[Agent, ...]

    @property
    def waits_for(self) -> Agent | None:
        """Whose turn it is; None when the game is over."""
        seat = self.match.seat_to_move
        return None if seat is None else self.agents[seat]

    def episode(self) -> Episode:
        """Returns the record of the game, which is over."""
        return Episode.of(self.match, index=self.number, agents=tuple(agent.name for agent in self.agents))


def collect(
    games: Sequence[str],
    agents_by_seat: Sequence[Agent],
    *,
    num_games: int,
    seed: int,
    first_game: int = 0,
    concurrency: int = 512,
) -> list[Episode]:
    """Returns `num_games` finished games in the order of their numbers, always with the same agents in the seats.

    Args:
        games: Taken in turn: game number n of the run is a game of `games[n % len(games)]`.
        agents_by_seat: Who plays.
        num_games: How many games to play.
        seed: The seed of the run; every game number gives another seed.
        first_game: The number of the first game.
        concurrency: The most games in progress.
    """
    numbers = range(first_game, first_game + num_games)
    tables = (
        set_table(number - first_game, games[number % len(games)], match_seed(seed, number), agents_by_seat)
        for number in numbers
    )
    return in_order(play_waves(tables, concurrency=concurrency))


def set_table(number: int, game: str, seed: int, agents_by_seat: Sequence[Agent]) -> Table:
    """Returns a table with a new game, in which a fault forfeits.

    Raises:
        ValueError: The game has another number of seats.
    """
    match = find_source(game).start(seed=seed, invalid_move=InvalidMove.FORFEIT)
    if len(match.roles) != len(agents_by_seat):
        raise ValueError(f"{match.game} has {len(match.roles)} seats, but {len(agents_by_seat)} agents sit down")
    return Table(number, match, tuple(agents_by_seat))


def in_order(episodes: Iterable[Episode]) -> list[Episode]:
    """Returns the games in the order of their numbers."""
    return sorted(episodes, key=lambda episode: episode.index)


def play_waves(tables: Iterable[Table], *, concurrency: int = 512) -> Iterator[Episode]:
    """Yields every game as it ends; in every round each agent is handed all turns that wait for it, as one batch.

    Args:
        tables: Taken lazily; a game starts as soon as there is room for it.
        concurrency: The most games in progress.

    Raises:
        ValueError: An agent returns more or fewer replies than it got turns.
    """
    waiting = iter(tables)
    running = list(islice(waiting, concurrency))
    while running:
        for agent in _distinct(agent for table in running for agent in table.agents):
            pending = [table for table in running if table.waits_for is agent]
            if pending:
                for table, reply in zip(pending, _replies(agent, pending), strict=True):
                    table.match.submit(reply)
        over = [table for table in running if table.waits_for is None]
        if over:
            running = [table for table in running if table.waits_for is not None]
            running += islice(waiting, concurrency - len(running))
        for table in over:
            yield table.episode()


def play_pool(
    tables: Iterable[Table], model: ModelAgent, requests: RequestSampler, *, concurrency: int = 512
) -> Iterator[Episode]:
    """Yields every game as it ends; each turn of `model` is a request of its own.

    Other agents answer in threads beside it, each all turns that wait for it at once.

    Args:
        tables: Taken lazily; a game starts as soon as there is room for it.
        model: The agent whose turns go to the backend.
        requests: The backend.
        concurrency: The most games in progress.

    Raises:
        ValueError: An agent returns more or fewer replies than it got turns.
        GenerationError: The backend is gone.
    """
    waiting = iter(tables)
    with ThreadPoolExecutor() as threads:
        pool = _Pool(model, requests, threads)
        pool.serve(list(islice(waiting, concurrency)))
        while pool.is_busy:
            moved = pool.answered()
            over = [table for table in moved if table.waits_for is None]
            pool.serve([table for table in moved if table.waits_for is not None])
            pool.serve(list(islice(waiting, len(over))))
            for table in over:
                yield table.episode()


class _Pool:
    """The games in progress of `play_pool`, by what they wait for."""

    def __init__(self, model: ModelAgent, requests: RequestSampler, threads: ThreadPoolExecutor) -> None:
        self._model = model
        self._requests = requests
        self._threads = threads
        self._num_asked = 0
        # By the key of the request.
        self._asked: dict[int, tuple[Table, list[int]]] = {}
        self._queued: list[Table] = []
        self._acting: dict[Future[list[str]], list[Table]] = {}
        self._moved: list[Table] = []

    @property
    def is_busy(self) -> bool:
        """Whether any game waits for an answer."""
        return bool(self._asked or self._queued or self._acting or self._moved)

    def serve(self, tables: Sequence[Table]) -> None:
        """Asks whoever is to move in games that are not over."""
        for table in tables:
            if table.waits_for is not self._model:
                self._queued.append(table)
                continue
            prompt = _prompt(self._model, table)
            if self._model.fits(prompt):
                self._asked[self._num_asked] = (table, prompt)
                self._requests.submit(self._num_asked, prompt)
                self._num_asked += 1
            else:
                table.match.submit(self._model.replies([prompt], [None])[0])
                self._moved.append(table)

    def answered(self) -> list[Table]:
        """Waits for answers, submits them, and returns the games that moved on: at least one."""
        while not self._moved:
            self._start_agents()
            if self._asked:
                self._take_samples(timeout_s=_GLANCE_S if self._acting else None)
            else:
                wait(self._acting, return_when=FIRST_COMPLETED)
            self._take_replies()
        moved, self._moved = self._moved, []
        return moved

    def _start_agents(self) -> None:
        """Hands every agent that is not at work the turns that wait for it."""
        at_work = [tables[0].waits_for for tables in self._acting.values()]
        left: list[Table] = []
        for agent in _distinct(table.waits_for for table in self._queued):
            tables = [table for table in self._queued if table.waits_for is agent]
            if any(agent is other for other in at_work):
                left += tables
            else:
                self._acting[self._threads.submit(_replies, agent, tables)] = tables
        self._queued = left

    def _take_samples(self, *, timeout_s: float | None) -> None:
        finished = self._requests.finished(timeout_s)
        asked = [self._asked.pop(key) for key, _ in finished]
        replies = self._model.replies([prompt for _, prompt in asked], [sample for _, sample in finished])
        for (table, _), reply in zip(asked, replies, strict=True):
            table.match.submit(reply)
            self._moved.append(table)

    def _take_replies(self) -> None:
        for future in [each for each in self._acting if each.done()]:
            tables = self._acting.pop(future)
            for table, reply in zip(tables, future.result(), strict=True):
                table.match.submit(reply)
                self._moved.append(table)


def _distinct(agents: Iterable[Agent | None]) -> list[Agent]:
    """Returns every agent once, in the order in which they first appear; None is nobody."""
    return list({id(agent): agent for agent in agents if agent is not None}.values())


def _replies(agent: Agent, tables: Sequence[Table]) -> list[str]:
    """Returns the agent's reply for every table, all of which wait for it.

    Raises:
        ValueError: There are more or fewer replies than tables.
    """
    if isinstance(agent, ModelAgent):
        return agent.answer([_prompt(agent, table) for table in tables])
    replies = agent.act([_view(table) for table in tables])
    if len(replies) != len(tables):
        raise ValueError(f"agent {agent.name!r} returned {len(replies)} replies to {len(tables)} views")
    return replies


def _view(table: Table) -> View:
    seat = table.match.seat_to_move
    assert seat is not None, "only games that are not over are asked"
    return table.match.view(seat)


def _prompt(model: ModelAgent, table: Table) -> list[int]:
    """Returns what the model reads at its turn, after its own last reply in the game where it carries that on."""
    view = _view(table)
    if model.context is Context.TURN:
        return model.prompt(view, None)
    own = (turn.response for turn in reversed(table.match.turns) if turn.seat == view.seat)
    previous = next(own, None)
    return model.prompt(view, previous if isinstance(previous, SampledReply) else None)
