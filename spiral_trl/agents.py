"""Agents that need torch: `hf:PATH_OR_ID` plays by transformers, `vllm:PATH_OR_ID` by vLLM.

Options, those of `HfOptions` and `VllmOptions`, follow as a query:
`hf:runs/kuhn?step=40&temperature=0.6&top_p=0.95&max_tokens=512`. A path is a folder with a model, the folder of a
training run, or the id of a model on a hub. LoRA adapters are put on their base model.

The agents reach `spiral_envs.make_agent` through the entry-point group `spiral_envs.agents`.
"""

# torch, transformers, peft and TRL are typed in part only; vLLM may be missing.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false, reportMissingImports=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from spiral_envs.agents import Agent
from spiral_envs.errors import MissingExtraError
from spiral_envs.prompts import find_style
from spiral_trl.agent_options import MAX_NEW_TOKENS, HfOptions, ModelOptions, VllmOptions, find_model, is_adapter
from spiral_trl.sampling import GenerateSampler, GenerationError, ModelAgent, PromptEncoder, Sample

_MAX_REASON_CHARS: Final = 300

_UNLOADABLE: Final = (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError)
"""What transformers and safetensors raise at files that are missing, cut, or not what they should be."""


def make_hf_agent(argument: str, *, seed: int) -> Agent:
    """Returns an agent that plays the model in a folder or on a hub, sampling with transformers.

    Args:
        argument: `PATH_OR_ID`, or with options `PATH_OR_ID?name=value&…`; see `HfOptions`.
        seed: Of sampling.

    Raises:
        UnknownNameError: There is no such option.
        ValueError: No model is named, it cannot be loaded, or an option cannot be used.
    """
    loaded = load_hf(HfOptions.parse(argument), seed=seed)
    return ModelAgent(
        loaded.sampler,
        loaded.encoder,
        loaded.tokenizer,
        max_prompt_length=loaded.max_prompt_length,
        name=loaded.options.name,
    )


class LoadedModel(NamedTuple):
    """A model of transformers' with what it plays by.

    Attributes:
        options: How it was asked for.
        model: On the GPU if there is one, in evaluation mode.
        tokenizer: Its own.
        encoder: Makes its prompts.
        sampler: Writes its replies.
        max_prompt_length: The longest prompt that leaves room for a reply, in tokens.
    """

    options: HfOptions
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    encoder: PromptEncoder
    sampler: GenerateSampler
    max_prompt_length: int


def load_hf(options: HfOptions, *, seed: int) -> LoadedModel:
    """Returns the model that an agent string `hf:…` names.

    Args:
        options: What it names, with its options.
        seed: Of sampling.

    Raises:
        ValueError: It cannot be loaded, or an option cannot be used.
    """
    path = find_model(options)
    try:
        with _no_bars():
            tokenizer = _load_tokenizer(path)
            model = _load_model(path, options)
    except _UNLOADABLE as error:
        raise _unloadable(path, error) from error
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu")).eval()  # pyright: ignore[reportArgumentType] - transformers wraps Module.to
    lengths = _lengths(options, int(model.config.get_text_config().max_position_embeddings))
    sampler = GenerateSampler(
        model, tokenizer, max_new_tokens=lengths.reply, batch_size=options.batch_size, seed=seed, **_sampling(options)
    )
    encoder = prompt_encoder(tokenizer, style=options.style, hints=options.hints)
    return LoadedModel(options, model, tokenizer, encoder, sampler, lengths.prompt)


def make_vllm_agent(argument: str, *, seed: int) -> Agent:
    """Returns an agent that plays the model in a folder or on a hub, sampling with vLLM.

    Args:
        argument: `PATH_OR_ID`, or with options `PATH_OR_ID?name=value&…`; see `VllmOptions`.
        seed: Of the engine.

    Raises:
        UnknownNameError: There is no such option.
        ValueError: No model is named, it cannot be loaded, or an option cannot be used.
        MissingExtraError: vLLM is not installed.
    """
    options = VllmOptions.parse(argument)
    path = find_model(options)
    try:
        from vllm import LLM, SamplingParams
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError
    except ImportError as error:
        raise MissingExtraError("a vllm: agent", "vllm") from error
    try:
        tokenizer = _load_tokenizer(path)
        base = _base_of(path) if is_adapter(path) else None
        # An unreadable model would fail in another process, of which vLLM says little.
        AutoConfig.from_pretrained(base or path)
    except _UNLOADABLE as error:
        raise _unloadable(path, error) from error
    engine = LLM(**_engine_settings(path, options, base), seed=seed)
    lengths = _lengths(options, int(engine.llm_engine.model_config.max_model_len))
    parameters = SamplingParams(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        max_tokens=lengths.reply,
        logprobs=0,
    )
    adapter = None if base is None else LoRARequest("adapter", 1, path)
    sampler = VllmSampler(engine, parameters, adapter, failures=(EngineDeadError, EngineGenerateError))
    encoder = prompt_encoder(tokenizer, style=options.style, hints=options.hints)
    return ModelAgent(sampler, encoder, tokenizer, max_prompt_length=lengths.prompt, name=options.name)


def prompt_encoder(tokenizer: PreTrainedTokenizerBase, *, style: str | None, hints: bool) -> PromptEncoder:
    """Returns what makes the prompts of a model.

    Args:
        tokenizer: The model's.
        style: How it is prompted; None for `boxed_cot` if it has a chat template, and `plain` otherwise.
        hints: Whether to list the legal moves.

    Raises:
        UnknownNameError: There is no such style.
        ValueError: The style needs a chat template, and the model has none.
    """
    style = style or ("boxed_cot" if tokenizer.chat_template else "plain")
    # As in training: the plain style is written to the model as it is.
    return PromptEncoder(tokenizer, find_style(style, hints=hints), use_chat_template=style != "plain")


class VllmSampler:
    """Samples with a vLLM engine of its own."""

    def __init__(
        self,
        engine: object,
        parameters: object,
        adapter: object | None = None,
        *,
        failures: tuple[type[Exception], ...] = (),
    ) -> None:
        """Sets the engine, a `vllm.LLM`, its `vllm.SamplingParams`, and the `LoRARequest` of adapters, if any.

        Args:
            engine: Generates.
            parameters: Of sampling.
            adapter: What is put on the engine's model.
            failures: What vLLM raises when its engine is gone, which is an error of no kind that others know.
        """
        self._engine = engine
        self._parameters = parameters
        self._adapter = adapter
        self._failures = failures

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt, with vLLM's log-probabilities.

        Raises:
            GenerationError: The engine is gone.
        """
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        # vLLM is optional and has no stubs here.
        try:
            results = self._engine.generate(requests, self._parameters, use_tqdm=False, lora_request=self._adapter)  # pyright: ignore[reportAttributeAccessIssue]
        except self._failures as error:
            raise GenerationError(f"the vLLM engine has failed: {error}") from error
        samples: list[Sample] = []
        for result in results:
            output = result.outputs[0]
            logprobs = tuple(
                choices[token].logprob for token, choices in zip(output.token_ids, output.logprobs, strict=True)
            )
            samples.append(Sample(tuple(output.token_ids), logprobs, output.finish_reason == "stop"))
        return samples


class _Lengths(NamedTuple):
    """How a model's context is shared out, in tokens.

    Attributes:
        prompt: The longest prompt.
        reply: The longest reply.
    """

    prompt: int
    reply: int


def _lengths(options: HfOptions | VllmOptions, context: int) -> _Lengths:
    reply = min(MAX_NEW_TOKENS, context // 2) if options.max_tokens is None else options.max_tokens
    if reply >= context:
        raise ValueError(
            f"max_tokens={reply} leaves agent {options.name!r} no room for a prompt: its context has {context} tokens"
        )
    return _Lengths(context - reply, reply)


def _sampling(options: ModelOptions) -> dict[str, Any]:
    """Returns the distribution that transformers samples from; at temperature 0 it takes the most probable token."""
    if options.temperature == 0:
        return {"do_sample": False, "top_k": None}
    return {"temperature": options.temperature, "top_p": options.top_p, "top_k": options.top_k}


@contextmanager
def _no_bars() -> Generator[None]:
    """Keeps transformers' bars and notes on loading out of the terminal, where the view of a tournament is."""
    had_bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


def _load_model(path: str, options: HfOptions) -> PreTrainedModel:
    kept: dict[str, Any] = {} if options.dtype is None else {"dtype": options.dtype}
    if not is_adapter(path):
        loaded: Any = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True, **kept)
        model, found = loaded
        # transformers would draw them at random and say so where nobody sees it.
        if missing := sorted(found["missing_keys"]):
            raise ValueError(f"its files lack {len(missing)} of its weights, such as {missing[0]}")
        return model
    from peft import AutoPeftModelForCausalLM

    adapted: Any = AutoPeftModelForCausalLM.from_pretrained(path, **kept)
    return adapted.merge_and_unload()


def _load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Returns the tokenizer of a model; adapters that were saved without one have that of their base model.

    Raises:
        ValueError: The files hold none.
    """
    try:
        return _whole_tokenizer(path)
    except (OSError, ValueError):
        if not is_adapter(path):
            raise
    return _whole_tokenizer(_base_of(path))


def _whole_tokenizer(path: str) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path, padding_side="left")
    # Without its files transformers makes an empty one of the kind that the model's family has.
    if not tokenizer("a b", add_special_tokens=False)["input_ids"]:
        raise ValueError("there are no files of a tokenizer")
    return tokenizer


def _base_of(path: str) -> str:
    """Returns the model that adapters are for.

    Raises:
        ValueError: They do not say.
    """
    from peft import PeftConfig

    base = PeftConfig.from_pretrained(path).base_model_name_or_path
    if not base:
        raise ValueError("its adapter_config.json names no base model")
    return base


def _engine_settings(path: str, options: VllmOptions, base: str | None) -> dict[str, Any]:
    """Returns what the engine is told; what an option leaves open is left to vLLM."""
    settings = {
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "max_model_len": options.max_model_len,
        "tensor_parallel_size": options.tensor_parallel_size,
        "dtype": options.dtype,
        "model": path,
    }
    if base is not None:
        from peft import PeftConfig

        rank: int = PeftConfig.from_pretrained(path).r  # pyright: ignore[reportAttributeAccessIssue] - only the configs of LoRA have it
        # vLLM sets aside room for one of a few ranks.
        room = next(size for size in (8, 16, 32, 64, 128, 256, 320, 512) if size >= rank)
        settings |= {
            "model": base,
            "tokenizer": path,
            "enable_lora": True,
            "max_lora_rank": room,
        }
    return {name: value for name, value in settings.items() if value is not None}


def _unloadable(path: str, error: Exception) -> ValueError:
    where = "" if Path(path).is_dir() else "there is no such folder, and of the hub it is said: "
    return ValueError(f"cannot load model {path!r}: {where}{' '.join(str(error).split())[:_MAX_REASON_CHARS]}")
