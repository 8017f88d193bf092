"""Whether a `vllm serve` is what training needs, before TRL touches it and after its last reply.

TRL 1.16 trains with a server through vLLM's development endpoints. They move between vLLM's minor versions, and most of
what can be wrong shows late, as a status of some request in the middle of the first step. `check_server` asks first.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, TypedDict

from spiral_envs.errors import MissingExtraError
from spiral_trl.sampling import GenerationError

START_COMMAND: Final = (
    'VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config \'{"backend": "nccl"}\''
    " --logprobs-mode processed_logprobs --max-logprobs -1"
)
"""How to start a server that can be trained with."""

_POLL_S: Final = 1.0

_PROBE_TIMEOUT_S: Final = 5.0
"""The least time that a server has to say that it is well."""

_REQUEST_TIMEOUT_S: Final = 60.0
"""For one answer: the server describes itself in seconds, as it looks at the whole machine first."""

_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says about itself.

    Attributes:
        version: Of its vLLM.
        model: What it serves: a folder or a hub id.
        max_model_len: The most tokens that a prompt and its reply may have; it refuses longer requests.
    """

    version: str
    model: str
    max_model_len: int


def check_server(base_url: str, *, timeout_s: float, installed_version: str | None = None) -> ServerFacts:
    """Returns what the server at `base_url` is, when self-play can train with it.

    Args:
        base_url: Such as `http://localhost:8000`.
        timeout_s: How long to wait for a server that is still starting; 0 asks once.
        installed_version: Of vLLM here; None looks it up.

    Raises:
        ConnectionError: No server answers in time, or it went away while it was asked.
        ValueError: The server has another version of vLLM than this environment, or was started without an option that
            training needs.
        MissingExtraError: vLLM is not installed here.
    """
    base_url = base_url.rstrip("/")
    _wait_for(base_url, timeout_s)
    version = _version(base_url)
    _compare_versions(base_url, version, installed_version or _installed_version())
    config = _described(base_url)
    model_config = config["model_config"]
    if config["weight_transfer_config"] is None:
        raise ValueError(_start_again(base_url, "cannot take over new weights"))
    if model_config["logprobs_mode"] != "processed_logprobs":
        # Otherwise log-probabilities are those before temperature, top_p and the like: another distribution.
        raise ValueError(_start_again(base_url, f"reports log-probabilities as {model_config['logprobs_mode']}"))
    return ServerFacts(version, model_config["model"], model_config["max_model_len"])


class WeightMark:
    """A mark on the weights that a server has, which goes with them when it is restarted.

    A server that crashes is often started again at once, by whatever looks after it. It then answers with the weights
    that it was started with, and nothing in its replies says so.
    """

    def __init__(self, base_url: str) -> None:
        """Marks the server: TRL's weight updates leave the mark as it is.

        Raises:
            GenerationError: It does not answer.
        """
        self._base_url = base_url.rstrip("/")
        self._mark = secrets.token_hex(8)
        self._ask("/update_weight_version", {"new_version": self._mark})

    def check(self) -> None:
        """Returns when the server still has the mark.

        Raises:
            GenerationError: It does not answer, or it has been restarted.
        """
        found = self._ask("/weight_info")["weight_version"]
        if found != self._mark:
            raise GenerationError(
                f"the vLLM server at {self._base_url} was restarted and has lost the trained weights:"
                " resume from the last checkpoint"
            )

    def _ask(self, path: str, data: Mapping[str, object] | None = None) -> _Answer:
        try:
            return _asked(self._base_url, path, data)
        except ConnectionError as error:
            raise GenerationError(str(error)) from error


def _wait_for(base_url: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        remaining_s = deadline - time.monotonic()
        try:
            # Empty when the server is well.
            with urllib.request.urlopen(f"{base_url}/health", timeout=max(_PROBE_TIMEOUT_S, remaining_s)):
                return
        except OSError as error:
            if remaining_s <= _POLL_S:
                raise ConnectionError(
                    f"no vLLM server answers at {base_url} after {timeout_s:g} s ({_reason(error)}):"
                    f" start one with {START_COMMAND}"
                ) from error
        time.sleep(_POLL_S)


class _ModelConfig(TypedDict):
    model: str
    max_model_len: int
    logprobs_mode: str


class _VllmConfig(TypedDict):
    model_config: _ModelConfig
    weight_transfer_config: Mapping[str, object] | None


class _Answer(TypedDict):
    """The fields that are read, over all pages."""

    version: str
    weight_version: str
    vllm_config: _VllmConfig


def _version(base_url: str) -> str:
    """Returns the version of the server's vLLM.

    Raises:
        ValueError: What answers is another kind of server.
    """
    try:
        version = _asked(base_url, "/version")["version"]
    except _NoSuchPageError as error:
        raise ValueError(f"{error}: is it `vllm serve`?") from error
    except (KeyError, TypeError) as error:
        raise ValueError(_no_vllm(base_url, "/version")) from error
    if not str(version)[:1].isdigit():
        raise ValueError(_no_vllm(base_url, "/version"))
    return str(version)


def _no_vllm(base_url: str, path: str) -> str:
    return f"the server at {base_url} answers {path} as vLLM does not: is it `vllm serve`?"


def _described(base_url: str) -> _VllmConfig:
    """Returns the server's own configuration."""
    try:
        config = _asked(base_url, "/server_info?config_format=json")["vllm_config"]
        model = config["model_config"]
        # All that is read of it.
        _ = config["weight_transfer_config"], model["model"], model["max_model_len"], model["logprobs_mode"]
    except _NoSuchPageError as error:
        raise ValueError(_start_again(base_url, "runs without its development endpoints")) from error
    except (KeyError, TypeError) as error:
        raise ValueError(_no_vllm(base_url, "/server_info")) from error
    return config


def _asked(base_url: str, path: str, data: Mapping[str, object] | None = None) -> _Answer:
    """Returns the JSON that a page of the server answers, to a POST of `data` if there is any.

    Raises:
        ConnectionError: No answer, or one that is not JSON.
    """
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(f"{base_url}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_REQUEST_TIMEOUT_S) as answer:
            page: _Answer = json.load(answer)
            return page
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code == _NOT_FOUND:
            raise _NoSuchPageError(f"the vLLM server at {base_url} has no page {path}") from error
        raise ConnectionError(f"the vLLM server at {base_url} gave no answer to {path}: {_reason(error)}") from error


class _NoSuchPageError(ConnectionError):
    """The server answers, but knows no such page."""


def _reason(error: Exception) -> str:
    """Returns what an error says, without the name that urllib wraps around it."""
    return str(error.reason if isinstance(error, urllib.error.URLError) else error)


def _start_again(base_url: str, what: str) -> str:
    return f"the vLLM server at {base_url} {what}: start it with {START_COMMAND}"


def _compare_versions(base_url: str, served: str, installed: str) -> None:
    if _minor(served) != _minor(installed):
        raise ValueError(
            f"the vLLM server at {base_url} is version {served}, this environment has {installed}: weights are handed"
            f" over between equal minor versions only, so install vllm=={'.'.join(_minor(installed))}.* for the server"
        )


def _minor(version: str) -> tuple[str, ...]:
    """Returns major and minor version."""
    return tuple(version.split(".")[:2])


def _installed_version() -> str:
    try:
        # vLLM is optional and has no stubs here.
        vllm: Any = import_module("vllm")
    except ImportError as error:
        raise MissingExtraError("training with a vLLM server", "vllm") from error
    return str(vllm.__version__)
