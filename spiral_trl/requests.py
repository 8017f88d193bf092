"""Single requests to vLLM: what a pool of games that is refilled while it is played needs.

`ModelAgent` and TRL ask for many replies at once and wait for the longest. A pool of games submits each prompt when it
has it and takes each reply when it is done, so that the engine is never waiting for the longest reply of a wave.

Two backends: `EngineRequests` on an engine in this process (TRL's `vllm_mode="colocate"`), and `ServerRequests` on
TRL's client of a `vllm serve` (`vllm_mode="server"`).
"""

# TRL is typed in part only; vLLM may be missing, and requests has no types of its own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from spiral_trl.sampling import GenerationError, Sample

if TYPE_CHECKING:
    import requests
    from trl.generation.vllm_generation import VLLMGeneration

PAUSES_S: Final = (2.0, 5.0, 15.0)
"""Pauses before a request is sent anew, in seconds.

TRL's client retries a request itself before it fails: five times, with 60 s of pauses in all where nothing answers. A
server that is gone is thus given up after 4 * 60 + 22 seconds, some four and a half minutes.
"""

REPLY_TIMEOUT_S: Final = 1800.0
"""The longest wait for the next reply, in seconds; TRL's client itself would wait for ever."""

HEALTH_EVERY_S: Final = 30.0
"""How long no reply may come before the server is asked whether it is well, in seconds.

A server that is shut down may keep the connections of its requests open and never answer them.
"""

_HEALTH_TIMEOUT_S: Final = 10.0

NO_OPTIONS: Final = frozenset({"n", "max_tokens", "logprobs", "stop", "stop_token_ids"})
"""Generation options that change what a reply is: one, complete, and ended by the model or by its length."""


@dataclass(frozen=True, slots=True)
class ReplyParameters:
    """How replies are sampled: what TRL passes to vLLM, by the same names.

    Attributes:
        max_tokens: The longest reply in tokens.
        temperature: 1.0 samples from the model's own distribution.
        top_p: 1.0 for all tokens.
        top_k: 0 for all tokens.
        min_p: 0.0 for all tokens.
        repetition_penalty: 1.0 for none.
        regex: What a reply must match; None for anything.
        options: More fields of vLLM's `SamplingParams`, which win over the others.

    Raises:
        ValueError: An option that would change what a reply is.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    regex: str | None = None
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        """Checks the options once."""
        refused = sorted(NO_OPTIONS.intersection(self.options))
        if refused:
            raise ValueError(f"generation_kwargs has {', '.join(refused)}: self-play decides how a reply ends")

    @classmethod
    def of(cls, generation: VLLMGeneration) -> ReplyParameters:
        """Returns the parameters of the generation that a trainer of TRL's has set up.

        Raises:
            ValueError: `generation_kwargs` has an option that would change what a reply is.
        """
        return cls(
            max_tokens=generation.max_completion_length,
            temperature=generation.temperature,
            top_p=generation.top_p,
            top_k=generation.top_k,
            # Its type says float, but TRL's configuration passes None on.
            min_p=generation.min_p or 0.0,
            repetition_penalty=generation.repetition_penalty,
            regex=generation.structured_outputs_regex,
            options=generation.generation_kwargs,
        )

    def for_engine(self) -> object:
        """Returns them as vLLM's `SamplingParams`, asking for each sampled token's log-probability."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        # vLLM checks the options itself.
        fields: dict[str, Any] = {**self._common(), **self.options}
        structured = fields.get("structured_outputs")
        if self.regex is not None:
            fields["structured_outputs"] = StructuredOutputsParams(regex=self.regex)
        elif isinstance(structured, dict):
            fields["structured_outputs"] = StructuredOutputsParams(**structured)
        # Only the ids are read, so text would be made for nothing.
        return SamplingParams(**fields, output_kind=RequestOutputKind.FINAL_ONLY, detokenize=False)

    def for_client(self) -> dict[str, object]:
        """Returns them as arguments of `VLLMClient.generate`."""
        return {**self._common(), "structured_outputs_regex": self.regex, "generation_kwargs": dict(self.options)}

    def _common(self) -> dict[str, object]:
        return {
            "n": 1,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            # Of the sampled token alone.
            "logprobs": 0,
        }


class EngineRequests:
    """Single requests to an engine in this process, which runs while `finished` waits.

    Nobody else may use the engine while a request is outstanding.
    """

    def __init__(self, llm: _LLM, parameters: object) -> None:
        """Sets the engine, a `vllm.LLM`, and its `SamplingParams`: `ReplyParameters.for_engine`."""
        self._engine = llm.llm_engine
        self._parameters = parameters
        self._keys: dict[str, int] = {}
        self._num_submitted = 0

    def submit(self, key: int, prompt: Sequence[int]) -> None:
        """Queues a prompt in the engine.

        Raises:
            VLLMValidationError: vLLM's own, on a prompt that is empty or longer than the engine's context.
        """
        # A name of its own for every request: a key may come again.
        name = f"request-{self._num_submitted}"
        self._num_submitted += 1
        # In this form vLLM takes the ids as they are; other forms of a prompt are deprecated here.
        self._engine.add_request(name, {"type": "token", "prompt_token_ids": list(prompt)}, self._parameters)
        self._keys[name] = key

    def finished(self, timeout_s: float | None = None) -> list[tuple[int, Sample]]:
        """Returns the completions since the last call, after running the engine until there is one.

        Without a time limit the list is empty only when nothing is outstanding.

        Raises:
            GenerationError: The engine has died, or gave up a request.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        done: list[tuple[int, Sample]] = []
        while self._keys and not done:
            try:
                results = self._engine.step()
            except _engine_deaths() as error:
                raise GenerationError("the vLLM engine has died; what it printed says why") from error
            done = [(self._keys.pop(result.request_id), _whole_sample(result.outputs[0])) for result in results]
            if time.monotonic() >= deadline:
                break
        return done


class ServerRequests:
    """Single requests to a `vllm serve`, sent through TRL's client by threads that end when no prompt waits."""

    def __init__(
        self,
        client: _Client,
        parameters: ReplyParameters,
        *,
        end_ids: Sequence[int],
        max_in_flight: int,
        check: Callable[[], None] | None = None,
        pauses_s: Sequence[float] = PAUSES_S,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
        health_every_s: float = HEALTH_EVERY_S,
    ) -> None:
        """Makes room in the client's session for as many connections as there may be requests in flight.

        Args:
            client: TRL's `VLLMClient`.
            parameters: How replies are sampled.
            end_ids: The tokens that end a reply; TRL's client does not say why one ended.
            max_in_flight: The most requests that the server has at once.
            check: Called when nothing is outstanding any more, before the last replies are returned: raises
                `GenerationError` where the replies cannot be trusted. `WeightMark.check` finds a restarted server.
            pauses_s: Pauses between the times that a request is sent.
            reply_timeout_s: The longest wait for the next reply.
            health_every_s: How long no reply may come before the server is asked whether it is well.
        """
        self._client = client
        self._arguments = parameters.for_client()
        self._max_tokens = parameters.max_tokens
        self._end_ids = frozenset(end_ids)
        self._max_in_flight = max_in_flight
        self._check = check
        self._pauses_s = tuple(pauses_s)
        self._reply_timeout_s = reply_timeout_s
        self._health_every_s = health_every_s
        self._num_outstanding = 0
        self._answers: queue.SimpleQueue[tuple[int, Sample | Exception]] = queue.SimpleQueue()
        self._is_closed = threading.Event()
        # Both under the lock.
        self._lock = threading.Lock()
        self._prompts: deque[tuple[int, list[int]]] = deque()
        self._num_threads = 0
        _widen(client, max_in_flight)

    def submit(self, key: int, prompt: Sequence[int]) -> None:
        """Queues a prompt; it is sent as soon as fewer than `max_in_flight` are in flight."""
        self._num_outstanding += 1
        with self._lock:
            self._prompts.append((key, list(prompt)))
            if self._num_threads == self._max_in_flight:
                return
            self._num_threads += 1
        # A daemon: a request to a server that never answers must not keep the process from ending.
        threading.Thread(target=self._work, name="vllm-request", daemon=True).start()

    def finished(self, timeout_s: float | None = None) -> list[tuple[int, Sample]]:
        """Returns the completions since the last call; waits for one, but no longer than `timeout_s`.

        Without a time limit the list is empty only when nothing is outstanding.

        Raises:
            GenerationError: The server does not answer any more, refuses a request or has lost the weights; no request
                is sent any more.
        """
        try:
            return self._take(timeout_s)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Sends no request any more; threads end at once where they pause, else after the request in flight."""
        self._is_closed.set()
        with self._lock:
            self._prompts.clear()

    def _take(self, timeout_s: float | None) -> list[tuple[int, Sample]]:
        done: list[tuple[int, Sample]] = []
        while self._num_outstanding and (not done or not self._answers.empty()):
            try:
                key, answer = self._answers.get(timeout=timeout_s) if timeout_s is not None else self._next_answer()
            except queue.Empty:
                return []
            if isinstance(answer, Exception):
                raise answer
            self._num_outstanding -= 1
            done.append((key, answer))
        if done and not self._num_outstanding and self._check:
            self._check()
        return done

    def _next_answer(self) -> tuple[int, Sample | Exception]:
        deadline = time.monotonic() + self._reply_timeout_s
        while (remaining_s := deadline - time.monotonic()) > 0:
            with suppress(queue.Empty):
                return self._answers.get(timeout=min(remaining_s, self._health_every_s))
            if remaining_s > self._health_every_s:
                self._check_health()
        raise GenerationError(
            f"the vLLM server at {self._client.base_url} has sent no reply for {self._reply_timeout_s:g} s"
        )

    def _check_health(self) -> None:
        with server_errors(self._client.base_url):
            answer = self._client.session.get(f"{self._client.base_url}/health", timeout=_HEALTH_TIMEOUT_S)
            answer.raise_for_status()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._prompts or self._is_closed.is_set():
                    self._num_threads -= 1
                    return
                key, prompt = self._prompts.popleft()
            try:
                self._answers.put((key, self._sample(prompt)))
            except Exception as error:  # noqa: BLE001 - whatever it is, `finished` raises it
                self._answers.put((key, error))

    def _sample(self, prompt: list[int]) -> Sample:
        with server_errors(self._client.base_url):
            for pause_s in self._pauses_s:
                with suppress(OSError):
                    return self._ask(prompt)
                if self._is_closed.wait(pause_s):
                    raise ConnectionAbortedError("no reply is wanted any more")
            return self._ask(prompt)

    def _ask(self, prompt: list[int]) -> Sample:
        """Sends a prompt once.

        Raises:
            ConnectionAbortedError: The reply was broken off: a server that is shut down returns what it has.
        """
        reply = self._client.generate([prompt], **self._arguments)
        ids: Sequence[int] = reply["completion_ids"][0]
        is_finished = bool(ids) and ids[-1] in self._end_ids
        if not is_finished and len(ids) < self._max_tokens:
            raise ConnectionAbortedError(f"a reply was broken off after {len(ids)} of {self._max_tokens} tokens")
        # The sampled token's is the only one asked for; None where vLLM could not give it.
        logprobs = tuple(math.nan if each[0] is None else each[0] for each in reply["logprobs"][0])
        return Sample(tuple(ids), logprobs, is_finished)


@contextmanager
def server_errors(base_url: str) -> Generator[None]:
    """Context in which the errors of TRL's client become a `GenerationError` in one sentence.

    Raises:
        GenerationError: The server did not answer, or refused a request.
    """
    try:
        yield
    except OSError as error:
        # All errors of the package requests are among them.
        raise GenerationError(f"the vLLM server at {base_url} does not answer any more: {error}") from error
    except Exception as error:
        # TRL raises a bare Exception when the server refuses a request; any other error is not the server's.
        if type(error) is not Exception:
            raise
        raise GenerationError(f"the vLLM server at {base_url} refused a request: {error}") from error


# What is used of vLLM's and TRL's classes.


class _TokenLogprob(Protocol):
    logprob: float


class _Completion(Protocol):
    token_ids: Sequence[int]
    logprobs: Sequence[Mapping[int, _TokenLogprob]]
    finish_reason: str | None


class _Result(Protocol):
    request_id: str
    outputs: Sequence[_Completion]


class _Engine(Protocol):
    def add_request(self, request_id: str, prompt: Mapping[str, object], params: object, /) -> object: ...

    def step(self) -> Sequence[_Result]: ...


class _LLM(Protocol):
    @property
    def llm_engine(self) -> _Engine: ...


class _Client(Protocol):
    base_url: str
    session: requests.Session

    @property
    def generate(self) -> Callable[..., Mapping[str, Any]]: ...


def _whole_sample(output: _Completion) -> Sample:
    """Returns a completion of vLLM's.

    Raises:
        GenerationError: It was neither ended by the model nor by the length limit.
    """
    if output.finish_reason not in {"stop", "length"}:
        raise GenerationError(f"the vLLM engine gave up a request: its finish reason is {output.finish_reason!r}")
    logprobs = tuple(choices[token].logprob for token, choices in zip(output.token_ids, output.logprobs, strict=True))
    return Sample(tuple(output.token_ids), logprobs, output.finish_reason == "stop")


def _engine_deaths() -> tuple[type[Exception], ...]:
    """Returns the errors that vLLM raises when the process of its engine has ended; none without vLLM."""
    try:
        from vllm.v1.engine.exceptions import EngineDeadError
    except ImportError:
        return ()
    return (EngineDeadError,)


def _widen(client: _Client, num_connections: int) -> None:
    """Lets the client keep so many connections open; beyond TRL's 64 it would open one anew for every request."""
    from requests.adapters import HTTPAdapter

    adapter = client.session.get_adapter(client.base_url)
    assert isinstance(adapter, HTTPAdapter), "TRL mounts one that retries"
    client.session.mount(client.base_url, HTTPAdapter(max_retries=adapter.max_retries, pool_maxsize=num_connections))
