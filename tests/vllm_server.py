"""Runs a real `vllm serve` on the CPU for tests, and lets TRL's `VLLMClient` send it weights through a file.

Everything between the trainer and the server is TRL's and vLLM's own, but for the transport of the weights: TRL's is
NCCL, which needs GPUs. The development endpoints let anyone who reaches them run code in the server, so it listens on
this machine only.
"""

# vLLM is installed for `make test-vllm` only, and this file is type-checked with and without it.
# pyright: reportMissingImports=false

import atexit
import functools
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest import mock

import torch
from requests.adapters import HTTPAdapter
from safetensors.torch import save_file
from trl.generation.vllm_client import VLLMClient

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Compiling the sampler's small helpers takes longer than the tests that use them.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # vLLM would otherwise report its use over the network.
    "VLLM_NO_USAGE_STATS": "1",
    # The endpoints that TRL sends weights through.
    "VLLM_SERVER_DEV_MODE": "1",
}

START_TIMEOUT_S = 300

POLL_S = 0.2


class ServerProcess:
    """A running server.

    Attributes:
        base_url: Where it answers.
    """

    def __init__(self, process: subprocess.Popen[bytes], base_url: str, log: Path) -> None:
        """Takes over a process that was started in a session of its own."""
        self.base_url = base_url
        self._process = process
        self._log = log

    def is_running(self) -> bool:
        """Returns whether its process has not ended."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Returns when the server answers.

        Raises:
            RuntimeError: It ended or was not ready in time; the message has the end of its log.
        """
        started = time.monotonic()
        while time.monotonic() - started < START_TIMEOUT_S and self.is_running():
            with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{self.base_url}/health"):
                return
            time.sleep(POLL_S)
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-4000:]
        raise RuntimeError(f"vllm serve was not ready after {time.monotonic() - started:.0f} s:\n{tail}")

    def ask_to_stop(self) -> None:
        """Has the server shut itself down, as whoever looks after it does."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the server and its workers at once, and waits for their end."""
        with suppress(ProcessLookupError):
            # Its workers are processes of the same session.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class ServerRow:
    """Servers of one model, one after the other: a context, for tests that share a server until one of them ends it."""

    def __init__(self, model: Path, *, max_model_len: int) -> None:
        """Sets what is served; nothing starts yet."""
        self._model = model
        self._max_model_len = max_model_len
        self._stack = ExitStack()
        self._current: ServerProcess | None = None
        self._next: ServerProcess | None = None

    def __enter__(self) -> Self:
        """Nothing to do before the first server is wanted."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kills all servers."""
        self._stack.close()

    def current(self) -> ServerProcess:
        """Returns the server in use when it is ready; the next one if that has ended.

        Raises:
            RuntimeError: It did not start.
        """
        if self._current is None or not self._current.is_running():
            self.prepare_next()
            self._current, self._next = self._next, None
        assert self._current is not None, "one has been prepared"
        self._current.wait_until_ready()
        return self._current

    def prepare_next(self) -> None:
        """Has the next server start while the one in use still runs, so that nobody waits for it later."""
        if self._next is None:
            self._next = self._stack.enter_context(launched_server(self._model, max_model_len=self._max_model_len))


@contextmanager
def running_server(model: Path, *, max_model_len: int = 128) -> Generator[ServerProcess]:
    """Context in which `vllm serve` serves the model in a folder in float32; on leaving it is killed.

    Raises:
        RuntimeError: The server did not start.
    """
    with launched_server(model, max_model_len=max_model_len) as server:
        server.wait_until_ready()
        yield server


@contextmanager
def launched_server(model: Path, *, max_model_len: int) -> Generator[ServerProcess]:
    """Context like `running_server`, whose server may still be starting."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        port = free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                serve_command(model, port, max_model_len),
                env=server_environment(name_distribution(Path(folder))),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = ServerProcess(process, f"http://127.0.0.1:{port}", log)
        try:
            yield server
        finally:
            server.kill()


def serve_command(model: Path, port: int, max_model_len: int) -> list[str]:
    """Returns the command line that TRL's documentation gives, with what a CPU and a tiny model need."""
    return [
        sys.executable,
        str(Path(sys.executable).with_name("vllm")),
        "serve",
        str(model),
        "--host=127.0.0.1",
        f"--port={port}",
        f"--weight-transfer-config={json.dumps({'backend': 'file'})}",
        "--logprobs-mode=processed_logprobs",
        "--max-logprobs=-1",
        "--worker-extension-cls=vllm_worker.FileWeights",
        # float32 is the trainer's type.
        "--dtype=float32",
        "--enforce-eager",
        # A worker process of its own would import everything a third time; "uni" means one all the same on a CPU.
        "--distributed-executor-backend=vllm.v1.executor.uniproc_executor.UniProcExecutor",
        f"--max-model-len={max_model_len}",
        "--max-num-seqs=64",
        f"--kv-cache-memory-bytes={256 * 2**20}",
    ]


def server_environment(distribution: Path) -> dict[str, str]:
    """Returns the environment of the server, whose workers find `vllm_worker` and the distribution's name."""
    path = f"{Path(__file__).parent}{os.pathsep}{distribution}"
    return {**os.environ, **ENVIRONMENT, **bytecode_settings(), "PYTHONPATH": path}


@functools.cache
def bytecode_settings() -> dict[str, str]:
    """Returns the variables by which servers share the bytecode of what they import, where nobody keeps it.

    Otherwise every process of every server compiles vLLM and all below it anew, half of the time that a start takes.
    """
    if not sys.dont_write_bytecode or Path(importlib.util.cache_from_source(torch.__file__)).exists():
        return {}
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    # Empty is as good as unset.
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder.name}


def name_distribution(folder: Path) -> Path:
    """Returns a folder in which Python finds a distribution `vllm`, whose version the command line looks up.

    The CPU build is a distribution of another name, `vllm-cpu`.
    """
    metadata = folder / "site" / "vllm-0.31.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.31.0+cpu\n", encoding="utf-8")
    return folder / "site"


def free_port() -> int:
    """Returns a port of this machine that nothing listens on."""
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return each.getsockname()[1]


@contextmanager
def weights_through_a_file(folder: Path) -> Generator[None]:
    """Context in which TRL's client hands its weights to a server of `running_server` through a file in `folder`.

    The server's endpoints, their order and the reset of its prefix cache are as ever. The client sends no request twice
    by itself: where a server is gone it would otherwise take a minute to say so.
    """
    path = folder / "weights.safetensors"

    def init_communicator(client: VLLMClient, device: Any = 0) -> None:
        assert client.get_server_info()["weight_transfer_config"] is not None
        client._post(f"{client.base_url}/init_weight_transfer_engine", json={"init_info": {}})
        client.session.mount("http://", HTTPAdapter())

    def update_named_params(
        client: VLLMClient,
        metadata: list[tuple[str, str, list[int]]],
        named_params: Iterator[tuple[str, torch.Tensor]],
    ) -> None:
        save_file({name: tensor.detach().cpu().clone() for name, tensor in named_params}, path)
        client._start_weight_update()
        client._post(f"{client.base_url}/update_weights", json={"update_info": {"path": str(path)}})
        client._finish_weight_update()

    with (
        mock.patch.object(VLLMClient, "init_communicator", init_communicator),
        mock.patch.object(VLLMClient, "update_named_params", update_named_params),
    ):
        yield
