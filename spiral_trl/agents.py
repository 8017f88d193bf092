"""Agents that need torch: `hf:PATH_OR_ID` plays by transformers, `vllm:PATH_OR_ID` by vLLM.

They reach `spiral_envs.make_agent` through the entry-point group `spiral_envs.agents`.
"""

# torch, transformers and TRL are typed in part only; vLLM may be missing.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false, reportMissingImports=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from spiral_envs.agents import Agent
from spiral_envs.errors import MissingExtraError
from spiral_envs.prompts import find_style
from spiral_trl.sampling import GenerateSampler, ModelAgent, PromptEncoder, Sample, Sampler

MAX_NEW_TOKENS: Final = 1024
"""The longest reply of an evaluated model, in tokens."""


def make_hf_agent(argument: str, *, seed: int) -> Agent:
    """Returns an agent that plays the model in a folder or on a hub, sampling at temperature 1 with transformers.

    Raises:
        ValueError: No model is named.
    """
    path = _required(argument, "hf")
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(path)
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu")).eval()  # pyright: ignore[reportArgumentType] - transformers wraps Module.to
    context = int(model.config.get_text_config().max_position_embeddings)
    max_new_tokens = min(MAX_NEW_TOKENS, context // 2)
    sampler = GenerateSampler(model, tokenizer, max_new_tokens=max_new_tokens, seed=seed)
    return model_agent(sampler, tokenizer, max_prompt_length=context - max_new_tokens, name=f"hf:{path}")


def make_vllm_agent(argument: str, *, seed: int) -> Agent:
    """Returns an agent that plays the model in a folder or on a hub, sampling at temperature 1 with vLLM.

    Raises:
        ValueError: No model is named.
        MissingExtraError: vLLM is not installed.
    """
    path = _required(argument, "vllm")
    try:
        from vllm import LLM, SamplingParams
    except ImportError as error:
        raise MissingExtraError("a vllm: agent", "vllm") from error
    engine = LLM(path, seed=seed)
    context = int(engine.llm_engine.model_config.max_model_len)
    max_new_tokens = min(MAX_NEW_TOKENS, context // 2)
    parameters = SamplingParams(temperature=1.0, max_tokens=max_new_tokens, logprobs=0)
    sampler = VllmSampler(engine, parameters)
    tokenizer = AutoTokenizer.from_pretrained(path)
    return model_agent(sampler, tokenizer, max_prompt_length=context - max_new_tokens, name=f"vllm:{path}")


def model_agent(
    sampler: Sampler, tokenizer: PreTrainedTokenizerBase, *, max_prompt_length: int, name: str
) -> ModelAgent:
    """Returns an agent that prompts a chat model in the style `boxed_cot`, one without a chat template in `plain`."""
    is_chat = bool(tokenizer.chat_template)
    encoder = PromptEncoder(tokenizer, find_style("boxed_cot" if is_chat else "plain"), use_chat_template=is_chat)
    return ModelAgent(sampler, encoder, tokenizer, max_prompt_length=max_prompt_length, name=name)


class VllmSampler:
    """Samples with a vLLM engine of its own."""

    def __init__(self, engine: object, parameters: object) -> None:
        """Sets the engine, a `vllm.LLM`, and its `vllm.SamplingParams`."""
        self._engine = engine
        self._parameters = parameters

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt, with vLLM's log-probabilities."""
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        # vLLM is optional and has no stubs here.
        results = self._engine.generate(requests, self._parameters, use_tqdm=False)  # pyright: ignore[reportAttributeAccessIssue]
        samples: list[Sample] = []
        for result in results:
            output = result.outputs[0]
            logprobs = tuple(
                choices[token].logprob for token, choices in zip(output.token_ids, output.logprobs, strict=True)
            )
            samples.append(Sample(tuple(output.token_ids), logprobs, output.finish_reason == "stop"))
        return samples


def _required(argument: str, kind: str) -> str:
    if not argument:
        raise ValueError(f"agent {kind!r} needs a model: {kind}:PATH_OR_ID")
    return argument
