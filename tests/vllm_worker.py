"""What a worker of `vllm serve` needs on a CPU to take over new weights, for tests only.

`tests/vllm_server.py` names `FileWeights` as the worker extension of the server, so this module is imported in the
worker's process before the model is loaded. Importing it registers a weight-transfer engine named "file", and keeps
vLLM from repacking the weights, as `tests/vllm_cpu.py` does for an engine in the tests' own process.
"""

# vLLM is installed for `make test-vllm` only, and this file is type-checked with and without it.
# pyright: reportMissingImports=false, reportIncompatibleMethodOverride=false, reportCallIssue=false

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import vllm.model_executor.layers.utils as vllm_layers
from safetensors.torch import load_file
from vllm.distributed.weight_transfer.base import WeightTransferEngine, WeightTransferInitInfo, WeightTransferUpdateInfo
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

BACKEND = "file"
"""The name of the engine in `--weight-transfer-config`."""


class CpuLayer(Protocol):
    """A vLLM layer, as far as its multiplication on a CPU goes."""

    cpu_linear: Callable[..., torch.Tensor]


@dataclass
class FileInit(WeightTransferInitInfo):
    """What the trainer says once; a file needs nothing."""


@dataclass
class FileUpdate(WeightTransferUpdateInfo):
    """Where the trainer has put the weights.

    Attributes:
        path: A safetensors file; the names are those of the trainer's parameters.
    """

    path: str


class FileTransferEngine(WeightTransferEngine[FileInit, FileUpdate]):
    """Reads new weights from a file where vLLM's own engines receive them over NCCL, which a CPU has not."""

    init_info_cls = FileInit
    update_info_cls = FileUpdate

    def init_transfer_engine(self, init_info: FileInit) -> None:
        """Nothing to connect to."""

    def start_weight_update(self) -> None:
        """Nothing to prepare: the weights are written in place."""

    def finish_weight_update(self) -> None:
        """Nothing to complete: the weights were written in place."""

    def update_weights(self, update_info: dict[str, str]) -> None:
        """Loads a file; the base class would wait for an accelerator afterwards."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: FileUpdate) -> None:
        """Loads a file."""
        self.model.load_weights(load_file(update_info.path).items())

    def shutdown(self) -> None:
        """Nothing to close."""


class FileWeights:
    """The worker extension; it adds nothing, but naming it has this module imported."""


def keep_weights_unpacked(layer: CpuLayer, remove_weight: bool) -> None:
    """Makes a layer multiply by its own weight, so that a weight written later is the one used."""
    layer.cpu_linear = torch.nn.functional.linear


WeightTransferEngineFactory.register_engine(BACKEND, FileTransferEngine)
vllm_layers.dispatch_cpu_unquantized_gemm = keep_weights_unpacked
