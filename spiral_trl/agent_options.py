"""Options of the agents `hf:PATH?name=value&…` and `vllm:PATH?name=value&…`, and which folder a path stands for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Self

from spiral_envs.agents.options import BOOLEAN, INTEGER, NUMBER, TEXT, check_option, read_options, with_options
from spiral_envs.prompts import STYLES

FINAL: Final = "final"
"""The step that stands for the model which a training run ends with, and the name of its folder."""

DTYPES: Final = ("float32", "bfloat16", "float16")

MAX_NEW_TOKENS: Final = 1024
"""The longest reply of an evaluated model, in tokens, where its options say nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """A model, and how it is played with.

    Attributes:
        kind: What the agent string begins with.
        path: A folder with a model, the folder of a training run, or the id of a model on a hub.
        step: The step of the training run whose checkpoint is meant, or `final`; None for what `path` itself holds, or
            else the final model of the run there.
        temperature: Of sampling, a finite number from 0; 0 takes the most probable token.
        top_p: The nucleus to sample from, more than 0 and at most 1.
        top_k: From how many tokens to sample at most; 0 for all.
        max_tokens: The longest reply; None for `MAX_NEW_TOKENS`, but no more than half of the model's context.
        style: The prompt style; None for `boxed_cot` with a chat template and `plain` without one.
        hints: Whether legal moves are listed in the prompt.
        dtype: The numbers that the model computes with; None for those that it is kept in.
    """

    kind: ClassVar[str]

    path: str
    step: str | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int | None = None
    style: str | None = None
    hints: bool = False
    dtype: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the options in `PATH` or `PATH?name=value&…`.

        Raises:
            UnknownNameError: There is no such option.
            ValueError: A value cannot be read, or is out of its range.
        """
        path, _, query = text.partition("?")
        # Every option is read as its own type, which one dictionary cannot say.
        return cls(path=path, **read_options(cls.kind, query, _OPTIONS[cls.kind]))  # pyright: ignore[reportArgumentType]

    @property
    def name(self) -> str:
        """The agent string: the path as it was given, and the options that differ from their default."""
        return f"{self.kind}:{_label(self, _OPTIONS[self.kind])}"

    def _check(self) -> None:
        kind = self.kind
        check = partial(check_option, kind)
        if not self.path:
            raise ValueError(f"agent {kind!r} needs a model: {kind}:PATH_OR_ID")
        is_step = self.step is None or self.step == FINAL or _NUMBER.fullmatch(self.step) is not None
        check("step", self.step, is_step, "the number of a step, or final")
        # Written so that a NaN is refused.
        check("temperature", self.temperature, 0 <= self.temperature < math.inf, "a finite number from 0")
        check("top_p", self.top_p, 0 < self.top_p <= 1, "more than 0 and at most 1")
        check("top_k", self.top_k, self.top_k >= 0, "at least 0")
        check("max_tokens", self.max_tokens, self.max_tokens is None or self.max_tokens >= 1, "at least 1")
        check("style", self.style, self.style is None or self.style in STYLES, " or ".join(STYLES))
        check("dtype", self.dtype, self.dtype is None or self.dtype in DTYPES, " or ".join(DTYPES))


@dataclass(frozen=True, slots=True, kw_only=True)
class HfOptions(ModelOptions):
    """A model that transformers runs.

    Attributes:
        batch_size: The most prompts that are run at once.
    """

    kind: ClassVar[str] = "hf"

    batch_size: int = 64

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: One is out of its range.
        """
        self._check()
        check_option("hf", "batch_size", self.batch_size, self.batch_size >= 1, "at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmOptions(ModelOptions):
    """A model that vLLM runs.

    Attributes:
        gpu_memory_utilization: The share of the device's memory that the engine takes; None for vLLM's default.
        max_model_len: The longest prompt and reply together, in tokens; None for the model's context.
        tensor_parallel_size: Over how many devices the model is spread.
    """

    kind: ClassVar[str] = "vllm"

    gpu_memory_utilization: float | None = None
    max_model_len: int | None = None
    tensor_parallel_size: int = 1

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: One is out of its range.
        """
        self._check()
        check = partial(check_option, "vllm")
        share, length = self.gpu_memory_utilization, self.max_model_len
        check("gpu_memory_utilization", share, share is None or 0 < share <= 1, "more than 0 and at most 1")
        check("max_model_len", length, length is None or length >= 2, "at least 2")
        check("tensor_parallel_size", self.tensor_parallel_size, self.tensor_parallel_size >= 1, "at least 1")


def find_model(options: ModelOptions) -> str:
    """Returns the folder of the model that is meant, or its id on a hub where there is no such folder.

    Raises:
        ValueError: The folder holds no model, or none of that step, or `path` can be neither a folder nor an id.
    """
    folder = Path(options.path).expanduser()
    if not folder.is_dir():
        if options.step is not None or not _HUB_ID.fullmatch(options.path):
            raise ValueError(f"there is no folder {options.path!r}")
        return options.path
    if options.step is None:
        return str(folder if _holds_model(folder) else _in_run(folder, FINAL))
    return str(_in_run(folder, options.step))


def is_adapter(folder: str) -> bool:
    """Returns whether a folder holds LoRA adapters rather than a whole model."""
    return (Path(folder) / _ADAPTER_FILE).is_file()


def _in_run(folder: Path, step: str) -> Path:
    """Returns the model of a step in the folder of a training run."""
    chosen = folder / (FINAL if step == FINAL else f"{_CHECKPOINT}{step}")
    if _holds_model(chosen):
        return chosen
    numbers = (each.name.removeprefix(_CHECKPOINT) for each in folder.glob(f"{_CHECKPOINT}*") if _holds_model(each))
    steps = [str(number) for number in sorted(int(text) for text in numbers if _NUMBER.fullmatch(text))]
    if _holds_model(folder / FINAL):
        steps.append(FINAL)
    if not steps:
        raise ValueError(f"folder {str(folder)!r} holds no model, nor checkpoints of a training run")
    missing = "no final model" if step == FINAL else f"no checkpoint of step {step}"
    raise ValueError(f"folder {str(folder)!r} has {missing}: there is step={' or step='.join(steps)}")


def _holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / _ADAPTER_FILE).is_file()


def _label(options: ModelOptions, names: Iterable[str]) -> str:
    values = asdict(options)
    defaults = {field.name: field.default for field in fields(options)}
    return with_options(options.path, {name: values[name] for name in names}, defaults)


_CHECKPOINT: Final = "checkpoint-"

_ADAPTER_FILE: Final = "adapter_config.json"

_NUMBER: Final = re.compile("0|[1-9][0-9]*")

_HUB_ID: Final = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?", re.ASCII)

_MODEL: Final = {
    "step": TEXT,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "top_k": INTEGER,
    "max_tokens": INTEGER,
    "style": TEXT,
    "hints": BOOLEAN,
    "dtype": TEXT,
}

_HF: Final = {**_MODEL, "batch_size": INTEGER}
"""How each option of `hf:` is read."""

_VLLM: Final = {
    **_MODEL,
    "gpu_memory_utilization": NUMBER,
    "max_model_len": INTEGER,
    "tensor_parallel_size": INTEGER,
}
"""How each option of `vllm:` is read."""

_OPTIONS: Final = {"hf": _HF, "vllm": _VLLM}
"""By the kind of agent, how each option is read."""
