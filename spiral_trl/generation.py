"""How the model of a trainer generates: with transformers, or on vLLM, in its own processes or behind a server.

`trainer.py` and this file are where the parts of TRL that generate are touched.
"""

# torch, transformers and TRL are typed in part only; vLLM may be missing.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from accelerate.utils import gather_object  # pyright: ignore[reportMissingTypeStubs]
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.integrations import deepspeed as hf_deepspeed

from spiral_trl.requests import EngineRequests, ReplyParameters, ServerRequests, server_errors
from spiral_trl.sampling import GenerateSampler, RequestSampler, Sample, Sampler
from spiral_trl.serving import WeightMark

if TYPE_CHECKING:
    from spiral_trl.trainer import SelfPlayTrainer

_SNAPSHOT_BATCH: Final = 128
"""The most prompts that a snapshot is given at once with transformers."""

_READS_ONCE: Final = "FSDP_CPU_RAM_EFFICIENT_LOADING"
"""Set by `accelerate launch`: one process reads the weights for all."""

_CPU_BATCH: Final = 32
"""Prompts that a CPU runs at once with transformers: with more, padding costs more than larger batches save."""


class TrainerGeneration:
    """The model of a trainer as a backend of games.

    Attributes:
        sampler: Takes batches, with the current weights inside a phase.
        plays_on_main: Whether the main process alone plays, for all of them: a server answers it directly.
        takes_requests: Whether the backend takes single requests.
    """

    def __init__(self, trainer: SelfPlayTrainer, given: Sampler | None = None) -> None:
        """Finds out what the trainer generates with; `given` takes its place, where there is one."""
        self._trainer = trainer
        self._vllm: Any = trainer.vllm_generation if trainer.use_vllm and given is None else None
        is_server = self._vllm is not None and self._vllm.mode == "server"
        is_split = self._vllm is not None and not is_server and self._vllm.tensor_parallel_size > 1
        self.plays_on_main = is_server
        self.takes_requests = self._vllm is not None and not is_split
        self._is_sharded = trainer.is_sharded
        self._collective: CollectiveSampler | None = None
        is_cpu = self._vllm is None and given is None and trainer.accelerator.device.type == "cpu"
        self.sampler = given or TrainerSampler(trainer, batch_size=_CPU_BATCH if is_cpu else None)
        if given is None and (is_split or (self._vllm is None and self._is_sharded)):
            self._collective = CollectiveSampler(self.sampler, _sizes, [trainer.eos_token_ids[0]])
            self.sampler = self._collective

    @property
    def can_swap(self) -> bool:
        """Whether the engine can be given a snapshot's weights for a while without asking the other processes."""
        return self.takes_requests and not self.plays_on_main and not self._is_sharded

    @contextmanager
    def phase(self) -> Generator[None]:
        """Context in which the backend has the current weights; a vLLM engine that may sleep does so outside of it."""
        if self._vllm is None:
            yield
            return
        vllm = self._vllm
        sleeps = vllm.mode == "colocate" and vllm.enable_sleep_mode
        with server_errors(self._trainer.args.vllm_server_url) if self.plays_on_main else nullcontext():
            self._trainer.sync_generation(is_needed=sleeps)
        if not sleeps:
            yield
            return
        vllm.llm.wake_up(tags=["kv_cache"])
        # TRL would put the engine to sleep after every wave and send all weights again before the next one.
        vllm.enable_sleep_mode = False
        try:
            yield
        finally:
            vllm.enable_sleep_mode = True
            vllm.llm.sleep(level=2)
            vllm._llm_weights_sleeping = True  # noqa: SLF001 - TRL sends the weights again when this is set

    @contextmanager
    def requests(self) -> Generator[RequestSampler]:
        """Context with the backend as one for single requests."""
        parameters = ReplyParameters.of(self._vllm)
        if not self.plays_on_main:
            yield EngineRequests(self._vllm.llm, parameters.for_engine())
            return
        client = self._vllm.vllm_client
        with closing(
            ServerRequests(
                client,
                parameters,
                end_ids=self._trainer.eos_token_ids,
                max_in_flight=self._trainer.args.max_concurrent_games,
                check=WeightMark(client.base_url).check,
            )
        ) as requests:
            yield requests

    def finish(self) -> None:
        """Takes part in the calls of the other processes, until all of them have played their games."""
        if self._collective:
            self._collective.finish()

    def snapshot_sampler(self, folder: Path) -> Sampler:
        """Returns a sampler that generates with the weights in `folder`: on the trainer's own engine if that can be."""
        args = self._trainer.args
        device = torch.device("cpu") if self.can_swap else self._trainer.accelerator.device
        model = load_snapshot(folder, dtype=torch.bfloat16 if args.bf16 else self._trainer.policy.dtype, device=device)
        if self.can_swap:
            return _SwappedSampler(self._vllm, model, self.sampler)
        generation: dict[str, Any] = {
            "top_k": args.top_k,
            "min_p": args.min_p,
            "repetition_penalty": args.repetition_penalty,
        }
        if isinstance(args.generation_kwargs, dict):
            generation |= args.generation_kwargs
        return GenerateSampler(
            model,
            self._trainer.text_tokenizer,
            max_new_tokens=args.reply_limit,
            temperature=args.temperature,
            top_p=args.top_p,
            batch_size=_SNAPSHOT_BATCH,
            **generation,
        )


class TrainerSampler:
    """Samples with the trainer's current weights, through TRL's own generation."""

    def __init__(self, trainer: SelfPlayTrainer, *, batch_size: int | None = None) -> None:
        """Sets the trainer, and how many prompts are run at once; None runs all of them."""
        self._trainer = trainer
        self._batch_size = batch_size

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt; where batches are bounded, prompts of like length are run together."""
        if self._batch_size is None:
            return self._run(prompts)
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        samples: dict[int, Sample] = {}
        for start in range(0, len(order), self._batch_size):
            chosen = order[start : start + self._batch_size]
            samples |= zip(chosen, self._run([prompts[index] for index in chosen]), strict=True)
        return [samples[index] for index in range(len(prompts))]

    def _run(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        trainer = self._trainer
        completions, logprobs = trainer.generate_ids([list(prompt) for prompt in prompts])
        end_ids = frozenset(trainer.eos_token_ids)
        return [
            Sample(
                tuple(ids),
                # TRL hands on None where vLLM could not give a log-probability.
                tuple(math.nan if each is None else each for each in logprobs[index]) if logprobs else None,
                bool(ids) and ids[-1] in end_ids,
            )
            for index, ids in enumerate(completions)
        ]


class CollectiveSampler:
    """Lets every process call a sampler equally often and with equally many prompts.

    Where the weights or the engine are spread over processes, generating is something that all of them do together, but
    each of them plays games of other lengths. The missing prompts are filled up with one that is thrown away.
    """

    def __init__(self, sampler: Sampler, sizes: Callable[[int], list[int]], filler: Sequence[int]) -> None:
        """Sets the sampler, what gathers a number from every process, and the prompt that fills up."""
        self._sampler = sampler
        self._sizes = sizes
        self._filler = list(filler)

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt."""
        missing = max(self._sizes(len(prompts))) - len(prompts)
        return self._sampler.sample([*prompts, *[self._filler] * missing])[: len(prompts)]

    def finish(self) -> None:
        """Takes part in the calls of the other processes until none of them has a prompt left."""
        while size := max(self._sizes(0)):
            self._sampler.sample([self._filler] * size)


class _SwappedSampler:
    """Samples with a snapshot's weights on the engine of the model that learns, and puts back what was there."""

    def __init__(self, vllm: Any, snapshot: PreTrainedModel, sampler: Sampler) -> None:
        self._vllm = vllm
        self._snapshot = snapshot
        self._sampler = sampler

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt."""
        learner = self._vllm.model
        try:
            self._vllm.model = self._snapshot
            self._vllm.sync_weights()
            return self._sampler.sample(prompts)
        finally:
            self._vllm.model = learner
            self._vllm.sync_weights()


def load_snapshot(folder: Path, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """Returns the model that was saved in `folder`, adapter included, without touching the random numbers."""
    with torch.random.fork_rng(), whole_models():
        if (folder / "adapter_config.json").exists():
            from peft import AutoPeftModelForCausalLM

            adapted: Any = AutoPeftModelForCausalLM.from_pretrained(str(folder), dtype=dtype)
            model: Any = adapted.merge_and_unload()
        else:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.to(device).eval()


@contextmanager
def whole_models() -> Generator[None]:
    """Context in which transformers loads models whole, into this process alone.

    Where the weights of the trainer are spread over processes, transformers would spread those of every model that is
    loaded (ZeRO-3), or read them on the first process only and leave the others without (FSDP).
    """
    # There is no other way to put it back.
    zero3 = hf_deepspeed._hf_deepspeed_config_weak_ref  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    hf_deepspeed.unset_hf_deepspeed_config()
    reads_once = os.environ.pop(_READS_ONCE, None)
    try:
        yield
    finally:
        hf_deepspeed._hf_deepspeed_config_weak_ref = zero3  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if reads_once is not None:
            os.environ[_READS_ONCE] = reads_once


def _sizes(size: int) -> list[int]:
    """Returns the number that each process passed, in the order of their ranks."""
    sizes: list[int] = gather_object([size])
    return sizes
