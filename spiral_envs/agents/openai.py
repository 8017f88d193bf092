"""The agent `openai:MODEL@URL`: a model behind any endpoint that speaks OpenAI's chat completions.

`openai:MODEL` alone asks OpenAI itself. Options, those of `Endpoint`, follow as a query:
`openai:Qwen/Qwen3-4B@http://127.0.0.1:8000/v1?temperature=0.6&max_tokens=2048&concurrency=64`. The key is read from
`OPENAI_API_KEY`; a server of your own needs none.

An endpoint that fails is never a lost game: after the retries are spent, `EndpointError` is raised. So it is where the
endpoint's own filter has cut the reply, and where `max_tokens` is more than the model's context holds. What the model
did is a fault of its own: a reply cut by the length limit, a prompt too long for its context, a refusal, no text at
all.

Reasoning that a server returns beside the reply (`reasoning_content` or `reasoning`, as vLLM, DeepSeek and OpenRouter
do) is put in front of it as a `<think>` block, for whoever reads the game later: no move is ever read from it.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import openai

from spiral_envs.agents.base import EndpointError
from spiral_envs.agents.options import BOOLEAN, INTEGER, NUMBER, SECONDS, check_option, read_options, with_options
from spiral_envs.chance import bits64, uniform
from spiral_envs.extraction import drop_reasoning
from spiral_envs.match import Fault, Reply, Usage, View
from spiral_envs.prompts import boxed_cot

FIRST_DELAY_S: Final = 0.5
"""The pause before the first retry, doubled before each further one."""

MAX_DELAY_S: Final = 30.0
"""The longest pause, also where the endpoint asks for a longer one."""

_MAX_REASON_CHARS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model behind a server, and how it is asked.

    Attributes:
        model: The name that the server knows it by.
        url: The server's base URL, such as `http://127.0.0.1:8000/v1`; None for OpenAI itself.
        temperature: A finite number from 0; None for the server's default.
        top_p: The nucleus to sample from, more than 0 and at most 1; None for the server's default.
        max_tokens: The longest reply; None for the server's default. OpenAI itself knows it as `max_completion_tokens`.
        concurrency: The most requests at once.
        timeout_s: How long the server may be silent before a request has failed.
        retries: How often a failed request is repeated.
        send_seed: Whether each request carries a seed of its own, so that a server that knows seeds repeats itself;
            `false` for a server that refuses them.
    """

    model: str
    url: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    concurrency: int = 32
    timeout_s: float = 120.0
    retries: int = 5
    send_seed: bool = True

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: One is out of its range.
        """
        if not self.model:
            raise ValueError("agent 'openai' needs a model: openai:MODEL or openai:MODEL@URL")
        if self.url is not None:
            _check_url(self.url)
        check = partial(check_option, "openai")
        # Written so that a NaN is refused; JSON has neither NaN nor infinity.
        is_warmth = self.temperature is None or 0 <= self.temperature < math.inf
        check("temperature", self.temperature, is_warmth, "a finite number from 0")
        check("top_p", self.top_p, self.top_p is None or 0 < self.top_p <= 1, "more than 0 and at most 1")
        check("max_tokens", self.max_tokens, self.max_tokens is None or self.max_tokens >= 1, "at least 1")
        check("concurrency", self.concurrency, 1 <= self.concurrency <= 1000, "1 to 1000")
        check("timeout_s", self.timeout_s, 0 < self.timeout_s <= 86_400, "more than 0 and at most 86400")
        check("retries", self.retries, 0 <= self.retries <= 100, "0 to 100")

    @property
    def label(self) -> str:
        """`MODEL@URL` with the options that differ from their default, as `parse_endpoint` reads it."""
        where = self.model if self.url is None else f"{self.model}@{self.url}"
        values = asdict(self)
        return with_options(
            where, {name: values[name] for name in _OPTIONS}, {field.name: field.default for field in fields(self)}
        )


def parse_endpoint(text: str) -> Endpoint:
    """Returns the endpoint that `MODEL`, `MODEL@URL` or either with `?option=value&…` names.

    Raises:
        UnknownNameError: There is no such option.
        ValueError: The URL or a value cannot be read, or is out of its range.
    """
    where, _, query = text.partition("?")
    # The model's own name may have an @, as in a revision.
    start = max((found.start() for found in _URL_START.finditer(where)), default=-1)
    model, url = (where, None) if start < 0 else (where[:start], where[start + 1 :])
    if url is None and ("@" in model or "://" in model):
        raise ValueError(f"cannot read agent 'openai:{text}': expected openai:MODEL@URL with URL http://… or https://…")
    options = read_options("openai", query, _OPTIONS)
    # Every option is read as its own type, which one dictionary cannot say.
    return Endpoint(model=model, url=url, **options)  # pyright: ignore[reportArgumentType]


class OpenAIAgent:
    """Replies with what a model says to the prompt `boxed_cot`, many views at once.

    Threads ask, rather than coroutines, so that it also works in a notebook, whose event loop is running already.
    """

    def __init__(self, endpoint: Endpoint, *, seed: int) -> None:
        """Opens the client.

        Raises:
            ValueError: OpenAI itself is asked, and there is no key.
        """
        key = os.environ.get("OPENAI_API_KEY")
        if not key and endpoint.url is None:
            raise ValueError(
                f"agent 'openai:{endpoint.model}' needs a key in OPENAI_API_KEY,"
                f" or a server of your own: openai:{endpoint.model}@URL"
            )
        self.name = f"openai:{endpoint.label}"
        self._endpoint = endpoint
        self._client = openai.OpenAI(
            base_url=endpoint.url, api_key=key or "none", timeout=endpoint.timeout_s, max_retries=0
        )
        # The garbage collector would drop the open connections first, and complain.
        weakref.finalize(self, self._client.close)
        self._seed = bits64(seed % 2**64, 0)
        self._num_requests = 0

    @property
    def concurrency(self) -> int:
        """The most requests at once that the endpoint is to be asked."""
        return self._endpoint.concurrency

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns the model's reply to every view.

        Raises:
            EndpointError: A request failed for good.
        """
        if not views:
            return []
        seeds = [bits64(self._seed, self._num_requests + index) for index in range(len(views))]
        self._num_requests += len(views)
        stop = threading.Event()
        pool = ThreadPoolExecutor(min(self.concurrency, len(views)), thread_name_prefix="openai-agent")
        try:
            replies = [
                pool.submit(self.ask, view, seed=seed, stop=stop) for view, seed in zip(views, seeds, strict=True)
            ]
            for each in replies:
                each.add_done_callback(partial(_cancel_after_failure, replies))
            wait(replies, return_when=FIRST_EXCEPTION)
            failed = next((error for each in replies if (error := _error_of(each))), None)
            if failed is not None:
                raise failed
            return [each.result() for each in replies]
        finally:
            # After a failure or Ctrl-C nobody waits for the other requests, and none is begun or repeated.
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def ask(self, view: View, *, seed: int, stop: threading.Event | None = None) -> Reply:
        """Returns the model's reply to one view, after as many attempts as it takes; any thread may ask.

        How many ask at once is the caller's business; see `concurrency`.

        Args:
            view: What the player to move is shown.
            seed: Decides the seed that is sent, and nothing else of the agent does: an integer of any size.
            stop: Once it is set no attempt is begun and no pause goes on; an attempt under way is waited for.

        Raises:
            EndpointError: It failed for good, or was stopped.
        """
        stop = stop or threading.Event()
        if stop.is_set():
            raise EndpointError(f"model {self._endpoint.model!r} at {self._where} was not asked: stopped")
        prompt = boxed_cot(view)[0]["content"]
        drawn = bits64(seed % 2**64, 0)
        # Answers of no use are charged for as well.
        wasted: Usage | None = None
        for attempt in range(self._endpoint.retries + 1):
            try:
                reply = _read_completion(self._request(prompt, drawn >> 33), view)
                # Where this answer is not counted, the sum is not known.
                return reply if reply.usage is None else _with_usage(reply, _sum(wasted, reply.usage))
            except (openai.APIError, _UnreadableAnswerError) as error:
                if isinstance(error, _UnreadableAnswerError):
                    wasted = _sum(wasted, error.usage)
                if _is_prompt_too_long(error, self._endpoint.max_tokens):
                    # It was turned away before anything was read.
                    return Reply("", Fault.PROMPT_TOO_LONG, usage=_sum(wasted, Usage(0, 0)))
                if attempt == self._endpoint.retries or not _is_passing(error):
                    self._fail(error, attempts=attempt + 1, usage=wasted)
                # Up to half of the pause is left to chance, so that the requests do not come back all at once.
                delay = _delay_s(error, attempt) * (1 - uniform(drawn, attempt) / 2)
                if stop.wait(delay):
                    self._fail(error, attempts=attempt + 1, usage=wasted)
        raise AssertionError("the last attempt returns or raises")

    @property
    def _where(self) -> str:
        return self._endpoint.url or str(self._client.base_url)

    def _request(self, prompt: str, seed: int) -> str:
        """Returns the endpoint's answer as it came: the client would pass on whatever is no completion."""
        endpoint = self._endpoint
        limit = openai.omit if endpoint.max_tokens is None else endpoint.max_tokens
        return self._client.chat.completions.with_raw_response.create(
            model=endpoint.model,
            messages=[{"role": "user", "content": prompt}],
            temperature=openai.omit if endpoint.temperature is None else endpoint.temperature,
            top_p=openai.omit if endpoint.top_p is None else endpoint.top_p,
            max_tokens=openai.omit if endpoint.url is None else limit,
            max_completion_tokens=limit if endpoint.url is None else openai.omit,
            seed=seed if endpoint.send_seed else openai.omit,
        ).text

    def _fail(self, error: Exception, *, attempts: int, usage: Usage | None) -> NoReturn:
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        reason = " ".join(str(error).split())[:_MAX_REASON_CHARS]
        raise EndpointError(
            f"model {self._endpoint.model!r} at {self._where} gave no reply after {tries}: {reason}", usage=usage
        ) from error


def _cancel_after_failure(futures: Sequence[Future[Reply]], done: Future[Reply]) -> None:
    """Cancels what has not begun if `done` failed; called by its thread before that takes up another request."""
    if _error_of(done) is not None:
        for each in futures:
            each.cancel()


def _error_of(future: Future[Reply]) -> BaseException | None:
    return future.exception() if future.done() and not future.cancelled() else None


class _UnreadableAnswerError(ValueError):
    """An answer that is no chat completion, or none of the model.

    Attributes:
        usage: What it took; None where the answer does not say.
    """

    def __init__(self, message: str, *, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


def _read_completion(text: str, view: View) -> Reply:
    """Returns the reply to `view` in the JSON of a chat completion; other fields are ignored.

    Raises:
        _UnreadableAnswerError: It is no chat completion, or one that the endpoint's filter has cut.
    """
    usage = None
    try:
        # A server may answer anything.
        answer: Any = json.loads(text)
        usage = _read_usage(answer.get("usage"))
        choice: Any = answer["choices"][0]
        message: Any = choice["message"]
        content, finish_reason = message.get("content"), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _UnreadableAnswerError(f"the answer is no chat completion: {text!r}", usage=usage) from None
    # A refusal has no content, nor has a reply that is nothing but hidden reasoning.
    if not isinstance(content, str | None):
        raise _UnreadableAnswerError(f"the content of the answer is no text: {content!r}", usage=usage)
    if finish_reason == "content_filter":
        raise _UnreadableAnswerError("the endpoint's content filter has cut the reply", usage=usage)
    reasoning = next((said for name in _REASONING if isinstance(said := message.get(name), str) and said.strip()), None)
    written = content or "" if reasoning is None else _with_reasoning(reasoning, content or "", view)
    return Reply(written, Fault.TRUNCATED if finish_reason == "length" else None, usage=usage)


def _with_usage(reply: Reply, usage: Usage | None) -> Reply:
    return Reply(str(reply), reply.fault, usage=usage)


def _sum(known: Usage | None, more: Usage | None) -> Usage | None:
    """Returns what both took, as far as it was counted."""
    if known is None or more is None:
        return known or more
    return Usage(known.prompt_tokens + more.prompt_tokens, known.completion_tokens + more.completion_tokens)


def _read_usage(usage: Any) -> Usage | None:
    """Returns the counts in an answer; None where there are none to rely on."""
    try:
        counts = Usage(usage["prompt_tokens"], usage["completion_tokens"])
    except (LookupError, TypeError):
        return None
    # JSON's true is no count.
    return counts if all(type(count) is int and count >= 0 for count in counts) else None


def _with_reasoning(reasoning: str, content: str, view: View) -> str:
    """Returns `content` with the reasoning before it in a closed `<think>` block, if that leaves its move as it is.

    It would not where the content is a bare move without brackets, or closes a block that it has not opened.
    """
    # Hostile reasoning may try to end the block early, so that what follows would be read as the reply.
    hidden = reasoning.replace("</think>", "</ think>")
    written = f"<think>{hidden}</think>\n{content}"
    if drop_reasoning(written).strip() != drop_reasoning(content).strip():
        return content
    move = content.strip()
    is_own_text = move in (view.legal_moves or ())
    return content if is_own_text and not _ONE_TOKEN.fullmatch(move) else written


def _is_passing(error: Exception) -> bool:
    """Whether it may go well when it is tried again."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    return True


def _is_prompt_too_long(error: Exception, max_tokens: int | None) -> bool:
    """Whether the endpoint says that the prompt does not fit into the context of the model.

    A reply limit that leaves no room for any prompt is not the player's fault.
    """
    if not isinstance(error, openai.APIStatusError) or error.status_code not in (400, 413, 422):
        return False
    said = error.message.lower()
    found = _CONTEXT.search(said)
    if max_tokens is not None and found is not None and max_tokens >= int(found[1].replace(",", "")):
        return False
    return error.code == "context_length_exceeded" or "context length" in said or "context size" in said


def _delay_s(error: Exception, attempt: int) -> float:
    """Returns how long to wait: as long as the endpoint asks for, or twice as long as the last time."""
    delay = FIRST_DELAY_S * 2**attempt
    if isinstance(error, openai.APIStatusError):
        # The header may hold a date as well; the usual pause will do.
        with suppress(ValueError):
            delay = max(delay, float(error.response.headers.get("retry-after", "0")))
    return min(delay, MAX_DELAY_S)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    else:
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL of the openai agent holds a user or password: put the key into OPENAI_API_KEY")
    if not is_good:
        raise ValueError(f"cannot read the URL {url!r} of the openai agent: expected http://HOST:PORT/v1")


_URL_START: Final = re.compile("@https?://", re.ASCII | re.IGNORECASE)

_CONTEXT: Final = re.compile(r"context (?:length|size)\D{0,20}([0-9][0-9,]{0,14})", re.ASCII)
"""How servers say how long the context of a model is, in tokens."""

_ONE_TOKEN: Final = re.compile(r"\[[^\[\]]*\]")

_REASONING: Final = ("reasoning_content", "reasoning")
"""What servers call the reasoning that they return beside the reply."""

_OPTIONS: Final = {
    "temperature": NUMBER,
    "top_p": NUMBER,
    "max_tokens": INTEGER,
    "concurrency": INTEGER,
    "timeout_s": SECONDS,
    "retries": INTEGER,
    "send_seed": BOOLEAN,
}
"""How each option is read."""
