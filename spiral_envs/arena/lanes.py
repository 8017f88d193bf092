"""How agents are asked while many games go on: each has a lane of its own, and none waits for another.

| the agent | is asked |
|---|---|
| computes its moves here | a view at a time in a thread, its draws begun anew from the game and the ply |
| is a model on this machine | with everything that waits for it as one batch, up to a bound |
| is behind an endpoint | in as many threads as it takes requests at once, a view each |

What the first kind replies depends on nothing but the game. A model's reply may depend on the batch that it was sampled
in, and an endpoint's on the endpoint. All models on this machine share one thread, in which they are loaded too: they
share the device, and while one is loaded, transformers changes settings that all threads see.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol, runtime_checkable

from spiral_envs.agents.base import Agent, EndpointError, SeededAgent
from spiral_envs.arena.budget import Budget
from spiral_envs.arena.plan import Asking, Entrant
from spiral_envs.arena.reply_cache import ReplyCache
from spiral_envs.chance import bits64
from spiral_envs.match import Reply, View

MakeAgent = Callable[[str], Agent]

_MAX_TIME_S: Final = 0.02
"""How long views are answered one after another before the first answers are handed back."""

_MAX_REASON_CHARS: Final = 500

_FAILURES: Final = (ImportError, MemoryError, OSError, RuntimeError, ValueError)
"""What agents and the libraries under them raise when they cannot play: nobody's fault in the game. `EndpointError` and
torch's out-of-memory error are RuntimeErrors. Anything else is a fault of the program, and ends it."""


class Request(NamedTuple):
    """What an agent is asked in a game.

    Attributes:
        game: The game's id.
        ply: How many turns were taken before, from 0.
        view: What the agent is shown.
    """

    game: str
    ply: int
    view: View

    @property
    def seed(self) -> int:
        """Decides the agent's draws: it follows from the game and the ply alone."""
        return bits64(int(self.game, 16), self.ply)


class AgentFailedError(Exception):
    """An agent gave no reply; the game can be tried again."""

    def __init__(self, agent: str, error: BaseException) -> None:
        """Takes the reason from `error`."""
        super().__init__(" ".join(str(error).split())[:_MAX_REASON_CHARS] or type(error).__name__)
        self.agent = agent


class NotAskedError(Exception):
    """A request was not made, because the tournament stops."""


@runtime_checkable
class AskedAgent(Protocol):
    """An agent that any number of threads may ask."""

    def ask(self, view: View, *, seed: int, stop: threading.Event | None = None) -> str:
        """Returns the reply to one view."""
        ...


class Lane(Protocol):
    """The way to an agent."""

    async def ask(self, request: Request) -> str:
        """Returns the agent's reply.

        Raises:
            AgentFailedError: It gave none.
            NotAskedError: The tournament stops.
        """
        ...

    def release(self) -> None:
        """Frees the agent, which is made again when it is asked again."""
        ...

    def close(self) -> None:
        """Waits for what is under way, and frees the agent."""
        ...


def make_lane(
    entrant: Entrant,
    make: MakeAgent,
    *,
    batch_size: int,
    models: ThreadPoolExecutor,
    cache: ReplyCache,
    budget: Budget,
    stop: threading.Event,
) -> Lane:
    """Returns the lane of an agent, which is made by `make` when it is first asked.

    Args:
        entrant: The agent.
        make: From an agent string to an agent.
        batch_size: The most views in a batch.
        models: The thread of all models on this machine.
        cache: Where the replies of endpoints are kept.
        budget: What endpoints may take.
        stop: Once it is set, no endpoint is asked any more.
    """
    if entrant.asking is Asking.BY_REQUEST:
        return EndpointLane(entrant, make, cache=cache, budget=budget, stop=stop)
    pool = models if entrant.asking is Asking.IN_BATCHES else _threads(1, entrant)
    return LocalLane(entrant, make, batch_size=batch_size, pool=pool)


class LocalLane:
    """The lane of an agent on this machine."""

    def __init__(self, entrant: Entrant, make: MakeAgent, *, batch_size: int, pool: ThreadPoolExecutor) -> None:
        """Sets who is asked; the agent is made and asked in a thread of `pool`."""
        self._entrant = entrant
        self._make = make
        self._agent: Agent | None = None
        self._batch_size = batch_size
        self._pool = pool
        self._waiting: deque[tuple[Request, asyncio.Future[str]]] = deque()
        self._server: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> str:
        """Returns the agent's reply.

        Raises:
            AgentFailedError: It gave none.
        """
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._server is None:
            # It begins after everything that is ready to ask has asked.
            self._server = asyncio.create_task(self._serve())
            self._server.add_done_callback(self._hand_on_error)
        return await future

    def release(self) -> None:
        """Frees the agent, which is made again when it is asked again."""
        # A batch holds the agent until it is done.
        self._agent = None
        if self._entrant.is_model:
            # A model is full of cycles, and the next one needs its memory.
            gc.collect()

    def close(self) -> None:
        """Waits for what is under way, and frees the agent."""
        self._pool.shutdown(cancel_futures=True)
        self.release()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
            # Games that were given up do not wait any more.
            batch = [each for each in batch if not each[1].done()]
            try:
                answers = await loop.run_in_executor(self._pool, self._answer, [request for request, _ in batch])
            except AgentFailedError as failure:
                answers = [failure] * len(batch)
            except BaseException:
                self._waiting.extendleft(reversed(batch))
                raise
            # Those that were not reached are first in the next batch.
            self._waiting.extendleft(reversed(batch[len(answers) :]))
            for (_, future), answer in zip(batch, answers, strict=False):
                _settle(future, answer)
            # Lets the games go on, so that their next turns are in the next batch.
            await asyncio.sleep(0)
        self._server = None

    def _hand_on_error(self, server: asyncio.Task[None]) -> None:
        """Lets those who wait raise what ended the server."""
        error = None if server.cancelled() else server.exception()
        while error is not None and self._waiting:
            _settle(self._waiting.popleft()[1], error)

    def _answer(self, requests: Sequence[Request]) -> Sequence[str | AgentFailedError]:
        """Returns the answers to the first of `requests`, at least one if there are any; runs in the lane's thread.

        Raises:
            AgentFailedError: There is no agent.
        """
        if not requests:
            return []
        agent = self._agent
        if agent is None:
            try:
                agent = self._agent = self._make(self._entrant.agent_string)
            except _FAILURES as error:
                raise AgentFailedError(self._entrant.name, error) from error
        if self._entrant.asking is Asking.IN_BATCHES:
            return self._answer_batch(agent, requests)
        answers: list[str | AgentFailedError] = []
        until = time.monotonic() + _MAX_TIME_S
        for request in requests:
            answers += self._answer_batch(agent, [request])
            if time.monotonic() > until:
                break
        return answers

    def _answer_batch(self, agent: Agent, requests: Sequence[Request]) -> list[str | AgentFailedError]:
        """Returns an answer a request; a batch that fails, as one too large for the memory, is tried in halves."""
        if isinstance(agent, SeededAgent):
            agent.reseed(requests[0].seed)
        try:
            replies = agent.act([request.view for request in requests])
            if len(replies) != len(requests):
                raise ValueError(f"{self._entrant.name} returned {len(replies)} replies to {len(requests)} views")
        except _FAILURES as error:
            if len(requests) == 1:
                return [AgentFailedError(self._entrant.name, error)]
            half = len(requests) // 2
        else:
            return list(replies)
        # Outside of the handler: an error in hand keeps the tensors of the failed call alive.
        self._batch_size = min(self._batch_size, max(1, half))
        return [*self._answer_batch(agent, requests[:half]), *self._answer_batch(agent, requests[half:])]


class EndpointLane:
    """The lane of an agent behind an endpoint, whose replies are kept as soon as they come."""

    def __init__(
        self, entrant: Entrant, make: MakeAgent, *, cache: ReplyCache, budget: Budget, stop: threading.Event
    ) -> None:
        """Sets who is asked; the agent is made when it is first asked."""
        self._entrant = entrant
        self._make = make
        self._cache = cache
        self._budget = budget
        self._stop = stop
        self._agent: AskedAgent | None = None
        self._making = threading.Lock()
        self._pool = _threads(entrant.concurrency, entrant)

    async def ask(self, request: Request) -> str:
        """Returns the agent's reply, the kept one if it was asked before.

        Raises:
            AgentFailedError: It gave none.
            NotAskedError: The tournament stops.
        """
        kept = self._cache.find(game=request.game, ply=request.ply, agent=self._entrant.name, text=request.view.text)
        if kept is not None:
            return kept
        # When the game is given up meanwhile, the thread goes on: what is paid for is kept.
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, request)

    def release(self) -> None:
        """Leaves the agent as it is: it takes next to nothing."""

    def close(self) -> None:
        """Waits for the requests that are under way; their replies are kept."""
        self._pool.shutdown(cancel_futures=True)
        self._agent = None

    def _ask(self, request: Request) -> str:
        """Asks the agent; runs in one of the lane's threads."""
        # Looked at here and not where the game waits, so that nothing is asked after the reply that spends the budget.
        if self._stop.is_set() or self._budget.why_stop is not None:
            raise NotAskedError
        name = self._entrant.name
        try:
            reply = self._made().ask(request.view, seed=request.seed, stop=self._stop)
        except EndpointError as error:
            if error.usage is not None:
                self._cache.pay(error.usage, game=request.game, ply=request.ply, agent=name)
                self._budget.charge(name, error.usage)
            if self._stop.is_set():
                raise NotAskedError from error
            raise AgentFailedError(name, error) from error
        except _FAILURES as error:
            raise AgentFailedError(name, error) from error
        self._cache.keep(reply, game=request.game, ply=request.ply, agent=name, text=request.view.text)
        self._budget.charge(name, reply.usage if isinstance(reply, Reply) else None)
        return reply

    def _made(self) -> AskedAgent:
        with self._making:
            if self._agent is None:
                agent = self._make(self._entrant.agent_string)
                if not isinstance(agent, AskedAgent):
                    raise ValueError(f"{self._entrant.name} cannot be asked one view at a time")
                self._agent = agent
            return self._agent


def _threads(number: int, entrant: Entrant) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix=f"arena {entrant.name}")


def _settle(future: asyncio.Future[str], answer: str | BaseException) -> None:
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
