"""What the documents hold that a test can check: snippets, their output, and command lines."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from spiral_envs import find_source, make_agent

ROOT = Path(__file__).parent.parent

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(document):
    """Returns the fenced blocks of a document: the language and the text of each."""
    return [(match[1], match[2]) for match in FENCED.finditer(document)]


def commands_of(document):
    """Returns the command lines in a document."""
    blocks = [text for language, text in blocks_of(document) if language in {"bash", "console"}]
    return [line for text in blocks for line in text.splitlines() if line.strip()]


def check_command(line):
    """Raises unless every name in a command line exists."""
    words = shlex.split(line)
    match words:
        case ["make", target, *variables]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)
            assert all(
                re.search(rf"^{variable.partition('=')[0]} \?=", makefile, re.MULTILINE) for variable in variables
            )
        case ["spiral-train", *arguments]:
            check_training_arguments(arguments)
        case ["spiral-play", "--list"]:
            pass
        case ["spiral-play", game, "--opponent", opponent, *options]:
            find_source(game)
            make_agent(opponent)
            assert options in ([], ["--seat", "1"])
        case ["accelerate", "launch", *arguments]:
            check_training_arguments(arguments[arguments.index("spiral_trl.train") + 1 :])
        case ["pip", "install", "-e", target]:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            assert target.startswith(".")
            assert set(re.findall(r"\w+", target)) <= set(project["optional-dependencies"])
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case _:
            pytest.fail(f"no test knows how to check the command {line!r}")


def check_training_arguments(arguments):
    from spiral_trl.run import parse

    parse([*arguments, "--use_cpu", "true", "--bf16", "false"])
