"""Plays a tournament into its folder: many games at once, and nothing lost or played twice.

A game is written when it is over. One that a kill, Ctrl-C or a spent budget ends is played again from its start, where
the replies of endpoints come from the cache, and the draws of agents that compute their moves are the same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from spiral_envs.agents import make_agent
from spiral_envs.arena.budget import Budget, Caps, Price, Spending
from spiral_envs.arena.finished import WRITE_EVERY_S, FinishedGames, Score
from spiral_envs.arena.folder import open_folder
from spiral_envs.arena.lanes import AgentFailedError, MakeAgent, NotAskedError, Request, make_lane
from spiral_envs.arena.plan import Asking, Plan, PlannedGame
from spiral_envs.arena.records import ABORTED_FILE, GAMES_FILE, REPLIES_FILE
from spiral_envs.arena.reply_cache import ReplyCache
from spiral_envs.arena.schedule import Schedule
from spiral_envs.episode import Episode
from spiral_envs.json_lines import JsonLines
from spiral_envs.match import Reply

MAX_FAILURES: Final = 3
"""After how many aborted games in a row an agent is set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a tournament is played, which does not change what is played.

    Attributes:
        concurrency: The most games in progress.
        batch_size: The most views in a batch of a model on this machine.
        models_in_memory: The most models on this machine at once.
        caps: Where to stop.
        prices: What endpoints ask for, by the name of the agent.
        code: The version of the code, for the record.
    """

    concurrency: int = 64
    batch_size: int = 64
    models_in_memory: int = 2
    caps: Caps = field(default_factory=Caps)
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    code: str = ""


class Progress(NamedTuple):
    """How far a tournament is.

    Attributes:
        total: How many games are planned.
        done: How many of these are finished.
        played: How many of these this run has finished.
        forfeits: How many games in the folder a fault ended.
        aborted: How many games this run has aborted.
        tokens: What endpoints have read and written.
        cost: In US dollars; None where nothing has a price.
        is_stopping: Whether nothing more is begun, and only what is under way is waited for.
        set_aside: Why agents are asked no more, by agent.
    """

    total: int
    done: int
    played: int
    forfeits: int
    aborted: int
    tokens: int
    cost: float | None
    is_stopping: bool = False
    set_aside: Mapping[str, str] = MappingProxyType({})


class AbandonedError(KeyboardInterrupt):
    """A second Ctrl-C, while replies were still waited for."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run of a tournament ended.

    Attributes:
        progress: How far it came.
        scores: By agent, over every game in the folder.
        set_aside: Why agents were asked no more, by agent.
        why_stopped: Why it stopped before its last game, in words; None if it did not.
    """

    progress: Progress
    scores: Mapping[str, Score]
    set_aside: Mapping[str, str]
    why_stopped: str | None


def play_tournament(
    folder: Path,
    plan: Plan,
    settings: Settings,
    *,
    make: MakeAgent = make_agent,
    watch: Callable[[Progress], None] | None = None,
) -> Ending:
    """Plays until nothing is left that can be played, or a cap is reached.

    Args:
        folder: A new one, or that of a tournament which this one continues or extends.
        plan: What is played.
        settings: How.
        make: From an agent string to an agent.
        watch: Is told now and then how far it is, and at the end.

    Raises:
        AbandonedError: Another Ctrl-C, after which requests that are under way are not waited for.
        FolderError: The folder cannot take this tournament.
        KeyboardInterrupt: Ctrl-C; requests that were under way have been answered, and the replies are kept.
        OSError: The folder cannot be read or written.
    """
    with open_folder(folder, plan, code=settings.code):
        return _Run(folder, plan, settings, make, watch or _nobody_watches).play()


class _Run:
    """One run of the tournament in a folder that is open."""

    def __init__(
        self, folder: Path, plan: Plan, settings: Settings, make: MakeAgent, watch: Callable[[Progress], None]
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._watch = watch
        self._finished = FinishedGames(folder / GAMES_FILE)
        self._aborted = JsonLines(folder / ABORTED_FILE)
        self._cache = ReplyCache(folder / REPLIES_FILE, finished=self._finished.ids)
        self._budget = Budget(settings.caps, settings.prices)
        for paid in self._cache.paid():
            self._budget.charge(paid.agent, paid.usage)
        self._stop = threading.Event()
        models = ThreadPoolExecutor(1, thread_name_prefix="arena models")
        self._lanes = {
            name: make_lane(
                entrant,
                make,
                batch_size=settings.batch_size,
                models=models,
                cache=self._cache,
                budget=self._budget,
                stop=self._stop,
            )
            for name, entrant in plan.entrants.items()
        }
        games = list(plan.games())
        left = [game for game in games if game.id not in self._finished.ids]
        self._total, self._num_before = len(games), len(games) - len(left)
        self._num_played = self._num_aborted = 0
        self._schedule = Schedule(
            left, plan.entrants, models_in_memory=settings.models_in_memory, release=self._release
        )
        self._running: dict[asyncio.Task[dict[str, Any]], PlannedGame] = {}
        self._failures: Counter[str] = Counter()
        self._set_aside: dict[str, str] = {}

    def play(self) -> Ending:
        why_stopped = None
        try:
            if self._schedule.num_waiting:
                why_stopped = asyncio.run(self._play_all())
        finally:
            self._close()
        progress = self._progress()
        self._watch(progress)
        return Ending(progress, self._finished.scores, self._set_aside, why_stopped)

    def _close(self) -> None:
        """Waits for what is under way.

        Raises:
            AbandonedError: Ctrl-C.
        """
        self._stop.set()
        try:
            for lane in self._lanes.values():
                lane.close()
        except KeyboardInterrupt as error:
            raise AbandonedError from error

    async def _play_all(self) -> str | None:
        """Returns why it stopped before the last game; None if it did not."""
        try:
            while (why_stopped := self._budget.why_stop) is None:
                self._begin_games()
                if not self._running:
                    return None
                # Not longer than until the next look at the clock and the next write.
                ended, _ = await asyncio.wait(self._running, timeout=WRITE_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(ended, key=_is_broken):
                    self._end_game(task)
                self._finished.write_now_and_then()
                self._watch(self._progress())
            return why_stopped
        finally:
            # No request is begun from here on; those under way are kept when they are answered.
            self._stop.set()
            # A fault of the program ends every game that waited for the agent; one of them has told of it.
            ended = [task for task in self._running if task.done() and not _is_broken(task)]
            for task in ended:
                self._end_game(task)
            self._finished.write()
            if self._running:
                self._watch(self._progress()._replace(is_stopping=True))
            await _cancel(self._running)

    def _begin_games(self) -> None:
        while len(self._running) < self._settings.concurrency and (game := self._schedule.take()) is not None:
            self._running[asyncio.create_task(self._play_game(game))] = game

    def _end_game(self, task: asyncio.Task[dict[str, Any]]) -> None:
        game = self._running.pop(task)
        self._schedule.end(game)
        self._cache.forget(game.id)
        try:
            record = task.result()
        except AgentFailedError as failure:
            self._abort(game, failure)
        except (NotAskedError, asyncio.CancelledError):
            # The tournament stops, or an agent was set aside.
            return
        else:
            self._finished.add(record)
            self._num_played += 1
            for agent in game.agents:
                self._failures[agent] = 0

    def _abort(self, game: PlannedGame, failure: AgentFailedError) -> None:
        """Records a game that nobody has lost, and sets the agent aside if it happens again and again."""
        agent, reason = failure.agent, str(failure)
        self._aborted.append([game._asdict() | {"agent": agent, "reason": reason}])
        self._num_aborted += 1
        self._failures[agent] += 1
        if self._failures[agent] == MAX_FAILURES:
            self._set_aside[agent] = reason
            self._schedule.drop(agent)
            for task, other in self._running.items():
                if agent in other.agents:
                    task.cancel()

    async def _play_game(self, game: PlannedGame) -> dict[str, Any]:
        """Returns the record of a game.

        Raises:
            AgentFailedError: An agent gave no reply.
            NotAskedError: The tournament stops.
        """
        started_at = time.monotonic()
        match = self._plan.sources[game.game].start(seed=game.seed, invalid_move=self._plan.invalid_move)
        spent: dict[str, Spending] = {}
        ply = 0
        while (seat := match.seat_to_move) is not None:
            agent = game.agents[seat]
            reply = await self._lanes[agent].ask(Request(game.id, ply, match.view(seat)))
            usage = reply.usage if isinstance(reply, Reply) else None
            if usage is not None or self._plan.entrants[agent].asking is Asking.BY_REQUEST:
                spent.setdefault(agent, Spending()).add(usage, self._settings.prices.get(agent))
            match.submit(reply)
            ply += 1
        return {
            "id": game.id,
            "pair": game.pair,
            **Episode.of(match, index=game.number, agents=game.agents).to_json(),
            "time_s": round(time.monotonic() - started_at, 4),
            "usage": {agent: each.to_json() for agent, each in spent.items()},
        }

    def _release(self, agent: str) -> None:
        self._lanes[agent].release()

    def _progress(self) -> Progress:
        return Progress(
            total=self._total,
            done=self._num_before + self._num_played,
            played=self._num_played,
            forfeits=self._finished.num_forfeits,
            aborted=self._num_aborted,
            tokens=self._budget.tokens,
            cost=self._budget.cost,
            set_aside=self._set_aside,
        )


def _is_broken(task: asyncio.Task[dict[str, Any]]) -> bool:
    """Returns whether a task that is over was ended by a fault of the program."""
    error = None if task.cancelled() else task.exception()
    return error is not None and not isinstance(error, AgentFailedError | NotAskedError)


async def _cancel(tasks: Iterable[asyncio.Task[dict[str, Any]]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _nobody_watches(progress: Progress) -> None:
    """Does nothing."""
