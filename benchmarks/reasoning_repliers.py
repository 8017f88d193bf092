"""Models that answer free text: `hf:PATH_OR_ID`, `vllm:PATH_OR_ID` and `openai:MODEL@URL`.

Each but vLLM, which draws from the seed of its engine, draws from the seed of the call alone, so that a run that was
interrupted goes on as it would have.
"""

# torch, transformers and TRL are typed in part only; vLLM may be missing.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, urlencode

from spiral_envs.agents import Agent, EndpointError
from spiral_envs.chance import bits64
from spiral_envs.errors import MissingExtraError
from spiral_envs.match import Fault, Reply, View
from spiral_envs.prompts import ChatMessage

if TYPE_CHECKING:
    from spiral_envs.agents.openai import Endpoint
    from spiral_trl.agent_options import ModelOptions
    from spiral_trl.sampling import ModelAgent, PromptEncoder

VLLM_BATCH: Final = 2048
"""vLLM shares its memory out among the requests by itself; the more of them it has, the better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How replies are sampled; the paper's temperature and nucleus by default (SPIRAL, arXiv 2506.24119).

    Attributes:
        temperature: From 0, where every reply is the likeliest one.
        top_p: The nucleus to sample from, more than 0 and at most 1.
        max_tokens: The longest reply.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 4096

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: One is out of its range.
        """
        for name, value, is_good, expected in (
            ("temperature", self.temperature, 0 <= self.temperature < 100, "from 0 to less than 100"),
            ("top-p", self.top_p, 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("max-tokens", self.max_tokens, self.max_tokens >= 1, "at least 1"),
        ):
            if not is_good:
                raise ValueError(f"--{name} is {value}: expected {expected}")


class Replier(Protocol):
    """Whatever turns prompts into replies.

    Attributes:
        batch: How many replies it is best asked for at once.
    """

    batch: int

    def reply(self, prompts: Sequence[str], *, samples: int, seed: int) -> list[list[Reply]]:
        """Returns `samples` replies to every prompt, in order; cut replies and prompts too long carry their fault.

        Raises:
            EndpointError: A server does not answer, or not as it should.
        """
        ...


def check_agent(agent: str) -> None:
    """Refuses an agent string that surely names nobody who replies, without loading anything.

    Raises:
        ValueError: The kind of agent answers no free text, or names no model.
    """
    kind, _, argument = agent.partition(":")
    if kind not in _KINDS:
        raise ValueError(
            f"agent {agent!r} cannot be asked a problem:"
            " expected a language model, hf:PATH_OR_ID, vllm:PATH_OR_ID or openai:MODEL@URL"
        )
    if not argument:
        raise ValueError(f"agent {kind!r} needs a model: {_KINDS[kind][0]}")


def sampling_of(agent: str, sampling: Sampling) -> Sampling:
    """Returns how an agent samples: by the options in its agent string, and by `sampling` where it has none.

    Raises:
        ValueError: An option is no number, or out of its range.
    """
    given = {name: text for name, text in parse_qsl(agent.partition("?")[2]) if name in asdict(sampling)}
    for name, text in given.items():
        try:
            value = int(text) if name == "max_tokens" else float(text)
        except ValueError:
            raise ValueError(f"option {name} of agent {agent!r} is {text!r}: expected a number") from None
        # Each is of its own type, which its name decides.
        sampling = replace(sampling, **{name: value})
    return sampling


def make_replier(agent: str, sampling: Sampling, *, batch: int | None) -> Replier:
    """Returns whoever replies for an agent string.

    Args:
        agent: `hf:PATH_OR_ID`, `vllm:PATH_OR_ID` or `openai:MODEL@URL`, whose own options win over `sampling`.
        sampling: How replies are sampled.
        batch: How many replies are sampled at once; None for what suits the kind.

    Raises:
        ValueError: The kind of agent answers no free text, or its model cannot be read.
        MissingExtraError: It needs packages that are not installed.
    """
    check_agent(agent)
    kind, _, argument = agent.partition(":")
    return _KINDS[kind][1](argument, sampling, batch)


class ModelReplier:
    """A model in this process, loaded as the agent that plays games with it, and asked in another way."""

    def __init__(self, agent: ModelAgent, encoder: PromptEncoder, batch: int) -> None:
        """Sets the agent, what makes token ids of a prompt, and how many replies are sampled at once."""
        self.batch = batch
        self._agent = agent
        self._encoder = encoder

    def reply(self, prompts: Sequence[str], *, samples: int, seed: int) -> list[list[Reply]]:
        """Returns `samples` replies to every prompt."""
        self._agent.reseed(seed)
        asked = [self._encoder.encode(_view(prompt)) for prompt in prompts]
        said = self._agent.answer([ids for ids in asked for _ in range(samples)])
        replies = [reply for reply in said if isinstance(reply, Reply)]
        assert len(replies) == len(said), "a model knows how its replies ended"
        return [replies[start : start + samples] for start in range(0, len(replies), samples)]


class EndpointReplier:
    """A model behind any endpoint that speaks OpenAI's chat completions."""

    def __init__(self, endpoint: Endpoint, sampling: Sampling, batch: int | None) -> None:
        """Opens the client, which repeats what fails by itself.

        Raises:
            ValueError: OpenAI itself is asked, and there is no key.
        """
        import os

        import openai

        key = os.environ.get("OPENAI_API_KEY")
        if not key and endpoint.url is None:
            raise ValueError(f"agent 'openai:{endpoint.model}' needs a key in OPENAI_API_KEY, or a server: MODEL@URL")
        self._sampling = sampling_of(f"openai:{endpoint.label}", sampling)
        self.batch = batch or 8 * endpoint.concurrency
        self._endpoint = endpoint
        self._client = openai.OpenAI(
            base_url=endpoint.url, api_key=key or "none", timeout=endpoint.timeout_s, max_retries=endpoint.retries
        )

    def reply(self, prompts: Sequence[str], *, samples: int, seed: int) -> list[list[Reply]]:
        """Returns `samples` replies to every prompt.

        Raises:
            EndpointError: A request failed for good; none is begun after it.
        """
        asked = [prompt for prompt in prompts for _ in range(samples)]
        with ThreadPoolExecutor(min(self._endpoint.concurrency, len(asked)) or 1) as pool:
            requests = [
                pool.submit(self._ask, prompt, bits64(seed % 2**64, index) >> 33) for index, prompt in enumerate(asked)
            ]
            try:
                said = [request.result() for request in requests]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [said[start : start + samples] for start in range(0, len(said), samples)]

    def _ask(self, prompt: str, seed: int) -> Reply:
        import openai

        endpoint, sampling = self._endpoint, self._sampling
        is_openai = endpoint.url is None
        try:
            answer = self._client.chat.completions.create(
                model=endpoint.model,
                messages=[{"role": "user", "content": prompt}],
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=openai.omit if is_openai else sampling.max_tokens,
                max_completion_tokens=sampling.max_tokens if is_openai else openai.omit,
                seed=seed if endpoint.send_seed else openai.omit,
            )
            choice = answer.choices[0]
            text, reason = choice.message.content or "", choice.finish_reason
        except openai.APIError as error:
            if isinstance(error, openai.BadRequestError) and _says_too_long(error):
                return Reply("", Fault.PROMPT_TOO_LONG)
            raise self._failure(error) from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            # A server may answer anything, and the client passes it on.
            raise self._failure(f"the answer is no chat completion ({error})") from error
        return Reply(text, Fault.TRUNCATED if reason == "length" else None)

    def _failure(self, reason: object) -> EndpointError:
        said = " ".join(str(reason).split())[:300]
        return EndpointError(f"model {self._endpoint.model!r} at {self._client.base_url} gave no reply: {said}")


def _says_too_long(error: Any) -> bool:
    said = str(error.message).lower()
    return error.code == "context_length_exceeded" or "context length" in said or "context size" in said


def _make_hf(argument: str, sampling: Sampling, batch: int | None) -> Replier:
    try:
        from spiral_trl.agent_options import HfOptions
        from spiral_trl.agents import make_hf_agent
    except ImportError as error:
        raise MissingExtraError(f"an hf: agent (no module {error.name})", "train") from error
    own = {} if batch is None else {"batch_size": batch}
    argument = _with_options(argument, {**asdict(sampling), **own})
    options = HfOptions.parse(argument)
    return _model_replier(make_hf_agent(argument, seed=0), options, options.batch_size)


def _make_vllm(argument: str, sampling: Sampling, batch: int | None) -> Replier:
    try:
        from spiral_trl.agent_options import VllmOptions
        from spiral_trl.agents import make_vllm_agent
    except ImportError as error:
        raise MissingExtraError(f"a vllm: agent (no module {error.name})", "train") from error
    argument = _with_options(argument, asdict(sampling))
    return _model_replier(make_vllm_agent(argument, seed=0), VllmOptions.parse(argument), batch or VLLM_BATCH)


def _make_openai(argument: str, sampling: Sampling, batch: int | None) -> Replier:
    try:
        from spiral_envs.agents.openai import parse_endpoint
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the openai agent (no module {error.name})", "agents") from error
    return EndpointReplier(parse_endpoint(argument), sampling, batch)


def _with_options(argument: str, values: Mapping[str, object]) -> str:
    """Returns the argument of an agent string with options that it does not give itself."""
    path, _, query = argument.partition("?")
    given = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    added = urlencode({name: value for name, value in values.items() if name not in given})
    return f"{path}?{'&'.join(part for part in (query, added) if part)}"


def _model_replier(agent: Agent, options: ModelOptions, batch: int) -> Replier:
    from transformers import AutoTokenizer

    from spiral_trl.agent_options import find_model
    from spiral_trl.sampling import ModelAgent, PromptEncoder

    assert isinstance(agent, ModelAgent), "these kinds of agents are models"
    # The library types none of its loaders.
    tokenizer: Any = AutoTokenizer.from_pretrained(find_model(options))
    encoder = PromptEncoder(tokenizer, _as_it_is, use_chat_template=bool(tokenizer.chat_template))
    return ModelReplier(agent, encoder, batch)


def _as_it_is(view: View) -> list[ChatMessage]:
    return [{"role": "user", "content": view.text}]


def _view(prompt: str) -> View:
    """Returns a view that shows a prompt: models are asked in the same way as in games."""
    return View(prompt, "", 0, None, 0, "", prompt, "")


_KINDS: Final = {
    "hf": ("hf:PATH_OR_ID", _make_hf),
    "vllm": ("vllm:PATH_OR_ID", _make_vllm),
    "openai": ("openai:MODEL@URL", _make_openai),
}
