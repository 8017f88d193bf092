"""Generating replies: the sampler seam, and the agent that plays through it."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol, Self

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from spiral_envs.chance import bits64
from spiral_envs.match import Fault, Reply, View
from spiral_envs.prompts import PromptStyle

_HOLE: Final = "\ue000"
"""Stands for a message while the chat template is rendered; a character that no template and no game uses."""


class Context(StrEnum):
    """What a model reads at its turn."""

    TURN = "turn"
    """A fresh prompt: the rules and what the player observes."""

    CONVERSATION = "conversation"
    """Its own earlier prompts and replies in this game, token by token, and then what it observes now."""


class Sample(NamedTuple):
    """One generated completion.

    Attributes:
        token_ids: The sampled ids, the end-of-sequence token included when there is one.
        logprobs: The sampler's own log-probability of each id; None when it does not report them.
        is_finished: Whether the model ended the reply itself, rather than the length limit.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    is_finished: bool


class Sampler(Protocol):
    """Whatever turns prompts into completions with the current weights."""

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt, in order."""
        ...


class RequestSampler(Protocol):
    """A backend that takes single requests and answers them as they finish, in any order."""

    def submit(self, key: int, prompt: Sequence[int]) -> None:
        """Asks for a completion; `key` comes back with it."""
        ...

    def finished(self, timeout_s: float | None = None) -> list[tuple[int, Sample]]:
        """Returns the completions since the last call; waits for one, but no longer than `timeout_s` seconds.

        Raises:
            GenerationError: The backend is gone.
        """
        ...


class GenerationError(RuntimeError):
    """The backend that generates is gone; the message says what was tried."""


class SampledReply(Reply):
    """A reply with the token ids that it was sampled as, so that training never re-tokenises text.

    Attributes:
        prompt_ids: What the model read.
        token_ids: What it wrote; empty when the prompt was too long to be answered.
        logprobs: The sampler's log-probability of each written id, or None.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None

    @classmethod
    def of(cls, text: str, fault: Fault | None, prompt_ids: Sequence[int], sample: Sample | None) -> Self:
        """Returns `text` as a reply that remembers how it was sampled."""
        reply = cls(text, fault)
        reply.prompt_ids = tuple(prompt_ids)
        reply.token_ids = sample.token_ids if sample else ()
        reply.logprobs = sample.logprobs if sample else None
        return reply


def token_id(tokenizer: PreTrainedTokenizerBase, name: str) -> int:
    """Returns the id of a special token, such as `eos_token`.

    Raises:
        ValueError: The tokenizer has no such token.
    """
    token = tokenizer.special_tokens_map.get(name)
    if token is None:
        raise ValueError(f"the tokenizer of {tokenizer.name_or_path!r} has no {name}")
    index = tokenizer.convert_tokens_to_ids(str(token))
    assert isinstance(index, int), "one token has one id"
    return index


class PromptEncoder:
    """Turns views into token ids."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        style: PromptStyle,
        *,
        use_chat_template: bool,
        following: Callable[[View], str] | None = None,
        template_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Sets the text style and whether it goes through the tokenizer's chat template.

        Args:
            tokenizer: The model's.
            style: How a view becomes messages.
            use_chat_template: Whether the messages go through the tokenizer's chat template.
            following: How a later turn of a conversation becomes a message; see `spiral_envs.prompts.find_next`.
            template_options: What the chat template is told beside the messages, such as `enable_thinking`.

        Raises:
            ValueError: A chat template is asked for and the tokenizer has none.
        """
        if use_chat_template and not tokenizer.chat_template:
            raise ValueError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no chat template:"
                " use a chat model, or --prompt_style plain"
            )
        self._tokenizer = tokenizer
        self._style = style
        self._use_chat_template = use_chat_template
        self._following = following
        self._template_options = dict(template_options or {})

    def encode(self, view: View) -> list[int]:
        """Returns the token ids of the prompt for `view`.

        Only the chat template writes control tokens: the messages are tokenized apart from it, as plain text.
        """
        messages = self._style(view)
        if not self._use_chat_template:
            return self._ids("".join(message["content"] for message in messages), is_plain=True)
        chat = [{"role": message["role"], "content": _HOLE} for message in messages]
        first, *rest = self._frame(chat).split(_HOLE)
        ids = self._ids(first, is_plain=False)
        for message, following in zip(messages, rest, strict=True):
            ids += self._ids(message["content"], is_plain=True) + self._ids(following, is_plain=False)
        return ids

    def encode_next(self, view: View, previous: SampledReply) -> list[int]:
        """Returns the token ids of a conversation that goes on: those of `previous`, as sampled, then `view`.

        Raises:
            ValueError: The encoder was not told how conversations go on.
        """
        if self._following is None:
            raise ValueError("this encoder was made for single turns: pass following")
        message = self._ids(self._following(view), is_plain=True)
        said = [*previous.prompt_ids, *previous.token_ids]
        if not self._use_chat_template:
            return said + message
        before, after = self._seams
        # A finished reply ends with the token that the template puts after a reply.
        is_ended = bool(previous.token_ids) and bool(before) and previous.token_ids[-1] == before[0]
        return said + before[is_ended:] + message + after

    def check_conversation(self) -> None:
        """Checks that a conversation can be carried on.

        Raises:
            ValueError: The chat template leaves out earlier messages.
        """
        if self._use_chat_template:
            _ = self._seams

    def _frame(self, chat: list[dict[str, str]]) -> str:
        """Returns a chat as its template writes it, up to where the model goes on."""
        text = self._tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=False, **self._template_options
        )
        return str(text)

    @cached_property
    def _seams(self) -> tuple[list[int], list[int]]:
        """Returns what the chat template writes between a reply and the next message, and after that message."""
        chat = [{"role": role, "content": _HOLE} for role in ("user", "assistant", "user")]
        parts = self._frame(chat).split(_HOLE)
        if len(parts) != len(chat) + 1:
            raise ValueError(
                f"the chat template of {self._tokenizer.name_or_path!r} leaves out earlier messages of a conversation:"
                " use context='turn', or another template"
            )
        _, _, before, after = parts
        return self._ids(before, is_plain=False), self._ids(after, is_plain=False)

    def _ids(self, text: str, *, is_plain: bool) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=is_plain)["input_ids"]
        return ids


class GenerateSampler:
    """Samples from a model with transformers' `generate`, outside of a trainer."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        batch_size: int = 64,
        seed: int | None = None,
        **generation: Any,
    ) -> None:
        """Sets the length limit in tokens, the sampling distribution, and how many prompts are run at once.

        Args:
            model: Generates; it stays where it is.
            tokenizer: Its tokenizer.
            max_new_tokens: The longest completion, in tokens.
            temperature: Of sampling.
            top_p: Of sampling.
            batch_size: The most prompts that are run at once.
            seed: Of draws of its own, which leave the global random numbers alone; None draws from those.
            generation: More fields of transformers' `GenerationConfig`.
        """
        self._model = model
        self._batch_size = batch_size
        self._seed = seed
        self._num_calls = 0
        end_ids = model.generation_config.eos_token_id
        declared = [end_ids] if isinstance(end_ids, int) else list(end_ids or [])
        self._end_ids = sorted({*declared, token_id(tokenizer, "eos_token")})
        self._pad_id = token_id(tokenizer, "eos_token" if tokenizer.pad_token is None else "pad_token")
        self._generation = GenerationConfig(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            eos_token_id=self._end_ids,
            pad_token_id=self._pad_id,
            **{"do_sample": True, "top_k": 0, **generation},
        )

    def reseed(self, seed: int) -> None:
        """Makes the sampler draw as a new one with `seed` would."""
        self._seed = seed
        self._num_calls = 0

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt, without log-probabilities. Prompts of like length are run together."""
        if self._seed is None:
            return self._sample(prompts)
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(bits64(self._seed % 2**64, self._num_calls) % 2**63)
            self._num_calls += 1
            return self._sample(prompts)

    @torch.no_grad()
    def _sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        samples: dict[int, Sample] = {}
        for start in range(0, len(order), self._batch_size):
            chosen = order[start : start + self._batch_size]
            width = max(len(prompts[index]) for index in chosen)
            input_ids = torch.full((len(chosen), width), self._pad_id)
            attention_mask = torch.zeros_like(input_ids)
            for row, index in enumerate(chosen):
                input_ids[row, width - len(prompts[index]) :] = torch.tensor(prompts[index])
                attention_mask[row, width - len(prompts[index]) :] = 1
            written: torch.Tensor = self._model.generate(  # pyright: ignore[reportCallIssue] - a mixin adds it
                input_ids=input_ids.to(self._model.device),
                attention_mask=attention_mask.to(self._model.device),
                generation_config=self._generation,
                # No other process takes part, whatever its weights are spread over.
                synced_gpus=False,
            )[:, width:]
            samples |= zip(chosen, map(self._cut, written.tolist()), strict=True)
        return [samples[index] for index in range(len(prompts))]

    def _cut(self, ids: list[int]) -> Sample:
        """Returns the completion up to and with its first end-of-sequence token."""
        length = next((at + 1 for at, token in enumerate(ids) if token in self._end_ids), None)
        return Sample(tuple(ids[:length]), None, length is not None)


class ModelAgent:
    """An agent that plays by sampling from a model."""

    def __init__(
        self,
        sampler: Sampler,
        encoder: PromptEncoder,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_prompt_length: int,
        name: str = "self",
        context: Context = Context.TURN,
    ) -> None:
        """Sets where replies come from, how long a prompt may be, in tokens, and what is read at a turn."""
        self.name = name
        self.context = context
        self._sampler = sampler
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._max_prompt_length = max_prompt_length

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns one sampled reply a view; prompts over the limit are faults and are not generated for."""
        return self.answer([self.prompt(view, None) for view in views])

    def reseed(self, seed: int) -> None:
        """Makes a model that draws on its own do so as a new one with `seed` would."""
        if isinstance(self._sampler, GenerateSampler):
            self._sampler.reseed(seed)

    def prompt(self, view: View, previous: SampledReply | None) -> list[int]:
        """Returns the prompt for `view`, after the player's previous reply in the game, if there is one."""
        if previous is None or self.context is Context.TURN:
            return self._encoder.encode(view)
        return self._encoder.encode_next(view, previous)

    def fits(self, prompt: Sequence[int]) -> bool:
        """Returns whether a prompt leaves room for a reply."""
        return len(prompt) <= self._max_prompt_length

    def answer(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        """Returns one sampled reply a prompt; those over the limit are faults and are not generated for."""
        answerable = [prompt for prompt in prompts if self.fits(prompt)]
        samples = iter(self._sampler.sample(answerable) if answerable else [])
        return self.replies(prompts, [next(samples) if self.fits(prompt) else None for prompt in prompts])

    def replies(self, prompts: Sequence[Sequence[int]], samples: Sequence[Sample | None]) -> list[str]:
        """Returns what was sampled for each prompt as a reply; a fault where nothing was."""
        written = [list(sample.token_ids) for sample in samples if sample]
        # An empty list would decode to one empty text.
        texts = iter(self._tokenizer.batch_decode(written, skip_special_tokens=True) if written else [])
        replies: list[str] = []
        for prompt, sample in zip(prompts, samples, strict=True):
            if sample is None:
                replies.append(SampledReply.of("", Fault.PROMPT_TOO_LONG, prompt, None))
            else:
                fault = None if sample.is_finished else Fault.TRUNCATED
                replies.append(SampledReply.of(next(texts), fault, prompt, sample))
        return replies
