"""What the commands of this package share: reading their settings, and one-line answers to bad input."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NoReturn

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


@dataclass(frozen=True, slots=True)
class HelpPage:
    """What `--help` shows; `--help all` shows every option.

    Attributes:
        summary: What the command does, with an example.
        groups: Options by the heading that they stand under.
    """

    summary: str
    groups: Mapping[str, Sequence[str]]


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


def parse_settings(
    argv: Sequence[str], sections: Sequence[Any], *, prog: str, configs: str, help_page: HelpPage
) -> tuple[Any, ...]:
    """Returns one object a section, as `argv` and the config file that it names say; the command line wins.

    Args:
        argv: The words of the command line, without the command.
        sections: Dataclasses whose fields are the options.
        prog: The command.
        configs: The folder of packaged configs, within the package.
        help_page: What `--help` shows.

    Raises:
        SystemExit: With code 0, after help.
        UnknownNameError: An option, a config or a key in it does not exist.
        ValueError: A value does not fit.
    """
    if {"--help", "-h"} & set(argv):
        _show_help(argv, sections, prog, configs, help_page)
    known = {each.name for section in sections for each in fields(section) if each.init}
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    for word in words:
        if word.startswith("--"):
            name = word[2:].partition("=")[0].replace("-", "_")
            if name not in known | {"config", "help"} and name.removeprefix("no_") not in known:
                raise UnknownNameError("option", word.partition("=")[0], [f"--{each}" for each in known])
    if words.count("--config") > 1:
        raise ValueError("--config is given twice: name one config, and change its values by options")
    if words[-1:] == ["--config"]:
        raise ValueError(f"--config names no config: expected a file or {' or '.join(packaged_configs(configs))}")
    if "--config" in words:
        at = words.index("--config") + 1
        words[at] = str(_config_file(words[at], configs))
        _check_keys(Path(words[at]), known)
    return _Parser(list(sections), prog=prog).parse_args_and_config(args=words)


def checkpoint_to_resume(output: Path, last: Callable[[Path], Path | None], *, is_resuming: bool) -> Path | None:
    """Returns the checkpoint to go on from, or None for a new run.

    Args:
        output: The folder of the run.
        last: Finds the newest whole checkpoint in a folder.
        is_resuming: Whether the run in the folder is to be gone on with.

    Raises:
        ValueError: The folder holds a run, and it is not to be resumed.
    """
    if is_resuming:
        return last(output)
    if (output / "metrics.jsonl").exists() or any(output.glob("checkpoint-*")):
        raise ValueError(f"{output} holds a run already: go on with --resume, or start another with --output_dir")
    return None


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


_SECOND_SPELLING: Final = re.compile(r"(--\w+)/--[\w/-]+:")


class _Parser(TrlParser):
    """Answers a bad value in one line, without the usage of some hundred options."""

    def error(self, message: str) -> NoReturn:
        """Raises ValueError with what is wrong."""
        # Every option can be written with dashes as well, which nobody has to be told twice.
        raise ValueError(_SECOND_SPELLING.sub(r"\1:", message))


def _show_help(argv: Sequence[str], sections: Sequence[Any], prog: str, configs: str, page: HelpPage) -> NoReturn:
    """Prints our own page, or all options after `all`, and exits."""
    if "all" in argv:
        _Parser(list(sections), prog=prog).print_help()
        raise SystemExit(0)
    options = {each.name: each for section in sections for each in fields(section)}
    lines = [
        f"usage: {prog} --config NAME_OR_FILE [--OPTION VALUE ...]",
        "",
        page.summary,
        "",
        _option_text("--config", f"A YAML file of options, or one of: {', '.join(packaged_configs(configs))}."),
    ]
    for heading, names in page.groups.items():
        lines += ["", f"{heading}:"]
        lines += [_option_text(f"--{name}", _help_of(options[name])) for name in names]
    lines += ["", f"{prog} --help all lists the options of TRL and transformers as well.", ""]
    sys.stdout.write("\n".join(lines))
    raise SystemExit(0)


def _help_of(option: Field[Any]) -> str:
    text = str(option.metadata.get("help", "")).replace("%%", "%")
    default = option.default if option.default_factory is MISSING else option.default_factory()
    if default in (None, MISSING, "", []):
        return text
    return f"{text} [{' '.join(map(str, default)) if isinstance(default, list) else default}]"


def _option_text(name: str, text: str) -> str:
    """Returns the lines of one option, its help in a column of its own."""
    lines = textwrap.wrap(text, width=88) or [""]
    first = f"  {name:<30}" if len(name) < 30 else f"  {name}\n{'':32}"
    return first + f"\n{'':32}".join(lines)


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
