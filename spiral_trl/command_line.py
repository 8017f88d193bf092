"""What the commands of this package share: reading their settings, and one-line answers to bad input."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml
from datasets.utils.logging import disable_progress_bar  # pyright: ignore[reportMissingTypeStubs]
from transformers.utils import logging as transformers_logging
from trl import ModelConfig, TrlParser

from spiral_envs.errors import UnknownNameError

INTERRUPTED: Final = 130
"""The exit code of a run that was stopped with Ctrl-C."""

STOPPED: Final = 1
"""The exit code of a run that could not go on, which it says in one line."""


class BadInputError(ValueError):
    """What the user gave cannot be run; the message is one line."""


@contextmanager
def one_line_errors(prefix: str = "") -> Generator[None]:
    """Turns errors about what the user gave into `BadInputError`, with `prefix` before their message."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        raise BadInputError(prefix + " ".join(str(error).split())) from error


def quieten() -> None:
    """Keeps the bars and notices of the libraries out of the way of ours."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    disable_progress_bar()


def parse_settings(argv: Sequence[str], sections: Sequence[Any], *, prog: str, configs: str) -> tuple[Any, ...]:
    """Returns one object a section, as `argv` and the config file that it names say; the command line wins.

    Args:
        argv: The words of the command line, without the command.
        sections: Dataclasses whose fields are the options.
        prog: The command.
        configs: The folder of packaged configs, within the package.

    Raises:
        UnknownNameError: An option, a config or a key in it does not exist.
        ValueError: A value does not fit.
    """
    known = {each.name for section in sections for each in fields(section) if each.init}
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    for word in words:
        if word.startswith("--"):
            name = word[2:].partition("=")[0].replace("-", "_")
            if name not in known | {"config", "help"} and name.removeprefix("no_") not in known:
                raise UnknownNameError("option", word.partition("=")[0], [f"--{each}" for each in known])
    if "--config" in words[:-1]:
        at = words.index("--config") + 1
        words[at] = str(_config_file(words[at], configs))
        _check_keys(Path(words[at]), known)
    return TrlParser(list(sections), prog=prog).parse_args_and_config(args=words)


def packaged_configs(configs: str) -> tuple[str, ...]:
    """Returns the names of the configs in a folder of the package."""
    folder = files("spiral_trl").joinpath(configs)
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def model_init_kwargs(model_args: ModelConfig, given: dict[str, Any] | str | None) -> dict[str, Any]:
    """Returns how the model is loaded; what is `given` as `model_init_kwargs` wins."""
    kwargs: dict[str, Any] = {
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
    }
    if isinstance(given, dict):
        kwargs.update(given)
    return kwargs


def _config_file(name: str, configs: str) -> Path:
    """Returns the file that `--config` names: a path, or the name of a packaged config."""
    if Path(name).is_file():
        return Path(name)
    if name in packaged_configs(configs):
        return Path(str(files("spiral_trl").joinpath(f"{configs}/{name}.yaml")))
    raise UnknownNameError("config", name, packaged_configs(configs))


def _check_keys(path: Path, known: Iterable[str]) -> None:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"cannot read config {path}: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ValueError(f"config {path} is not a mapping of options to values")  # noqa: TRY004 - the file is at fault
    names = {*known, "env"}
    for key in config:
        if key not in names:
            raise UnknownNameError(f"key of config {path.name}", str(key), names)
