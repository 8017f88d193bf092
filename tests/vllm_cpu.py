"""Makes a real vLLM engine work on a CPU in TRL's colocate mode, for tests only: training uses GPUs.

TRL builds the engine itself and writes new weights straight into vLLM's modules. vLLM's CPU build
repacks those weights for its own kernels, so writing fails, and TRL offers no argument for what a CPU
needs. `vllm_on_cpu` supplies both and takes everything back afterwards.

Two variables are read while libraries are imported, so whoever calls pytest sets them: `HF_HUB_OFFLINE=1`
and `OMP_WAIT_POLICY=PASSIVE`. Without the latter waiting threads spin, and beside another busy process a
step takes six times as long.
"""

# vLLM is installed for `make test-vllm` only, and this file is type-checked with and without it.
# pyright: reportMissingImports=false

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol
from unittest import mock

import torch
import trl.generation.vllm_generation as trl_vllm
import vllm.model_executor.layers.utils as vllm_layers
from vllm import LLM
from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

ENVIRONMENT = {
    # vLLM would otherwise report its use over the network.
    "VLLM_NO_USAGE_STATS": "1",
    # Compiling the sampler's small helpers takes longer than the tests that use them.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}

KV_CACHE_BYTES = 512 * 2**20
"""Memory for keys and values: a million tokens of a tiny model, 11,000 of a 135M one."""


class CpuLayer(Protocol):
    """A vLLM layer, as far as its multiplication on a CPU goes."""

    cpu_linear: Callable[..., torch.Tensor]


@contextmanager
def vllm_on_cpu() -> Generator[None]:
    """Context in which a trainer with `vllm_mode="colocate"` gets a working CPU engine.

    Build the trainer, train and generate inside it. On leaving, the process group that the engine
    opened is closed, so the trainer's engine cannot be used any more and another one can be built.
    """
    # The engine also writes RANK, WORLD_SIZE, LD_PRELOAD and others, which would make a later trainer in
    # this process take itself for one of several, and replaces torch.set_num_threads by a no-op.
    with (
        mock.patch.dict(os.environ, ENVIRONMENT),
        mock.patch.object(torch, "set_num_threads", torch.set_num_threads),
        mock.patch.object(vllm_layers, "dispatch_cpu_unquantized_gemm", keep_weights_unpacked),
        mock.patch.object(trl_vllm, "LLM", build_cpu_engine),
    ):
        try:
            yield
        finally:
            cleanup_dist_env_and_memory()


def keep_weights_unpacked(layer: CpuLayer, remove_weight: bool) -> None:
    """Makes a layer multiply by its own weight, so that a weight written later is the one used.

    Stands for vLLM's function of the same arguments, which packs a copy and may drop the original.
    """
    layer.cpu_linear = torch.nn.functional.linear


def build_cpu_engine(*args: Any, **kwargs: Any) -> LLM:
    """Returns the engine that TRL asked for, in float32 and without compilation.

    float32 is the trainer's type and here the fastest; vLLM's own choice would be bfloat16.
    """
    return LLM(*args, **kwargs, dtype="float32", enforce_eager=True, kv_cache_memory_bytes=KV_CACHE_BYTES)
