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
        case ["spiral-train", "sft", *arguments]:
            check_imitation_arguments(arguments)
        case ["spiral-train", *arguments]:
            check_training_arguments(arguments)
        case ["spiral-report", run, *options]:
            check_report_options(run, options)
        case ["spiral-arena", *arguments]:
            check_arena_arguments(arguments)
        case ["spiral-play", *arguments]:
            check_play_arguments(arguments)
        case ["accelerate", "launch", *arguments]:
            split = arguments.index("spiral_trl.train")
            check_launch_options(arguments[: split - 1])
            check_training_arguments(arguments[split + 1 :])
        case ["pip", "install", "-e", target]:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            assert target.startswith(".")
            assert set(re.findall(r"\w+", target)) <= set(project["optional-dependencies"])
        case ["python", script, *arguments]:
            assert (ROOT / script).is_file()
            check_benchmark_arguments(script, arguments)
        case _:
            pytest.fail(f"no test knows how to check the command {line!r}")


def check_training_arguments(arguments):
    from spiral_trl.run import parse

    parse([*arguments, "--use_cpu", "true", "--bf16", "false"])


def check_imitation_arguments(arguments):
    from spiral_trl.sft_config import parse_sft

    parse_sft([*arguments, "--use_cpu", "true", "--bf16", "false"])


def check_play_arguments(arguments):
    match arguments:
        case ["--list"]:
            pass
        case [game, "--opponent", opponent, *options]:
            find_source(game)
            make_agent(opponent)
            assert options in ([], ["--seat", "1"])
        case _:
            pytest.fail(f"no test knows how to check spiral-play {arguments!r}")


def check_arena_arguments(arguments):
    from spiral_envs.arena.command import make_parser
    from spiral_envs.arena.plan import read_entrant

    read = make_parser().parse_args(arguments)
    if read.command == "run":
        assert all(find_source(game) for game in read.games)
        for agent in read.agents:
            read_entrant(agent.replace("step=all", "step=1"))


def check_benchmark_arguments(script, arguments):
    if script == "benchmarks/reasoning.py":
        from benchmarks.reasoning import compare_parser, suite_parser

        is_comparison = arguments[0] == "compare"
        (compare_parser if is_comparison else suite_parser)().parse_args(arguments[is_comparison:])
    elif script == "benchmarks/exploitability.py":
        from benchmarks.exploitability import make_parser

        make_parser().parse_args(arguments)
    elif script == "benchmarks/traces.py":
        from benchmarks.traces import make_parser

        make_parser().parse_args(arguments)


def check_report_options(run, options):
    from spiral_trl.report_command import make_parser

    assert not Path(run).is_absolute()
    make_parser().parse_args([run, *options])


def check_launch_options(options):
    from accelerate.commands.launch import launch_command_parser

    from spiral_trl.launch import accelerate_config_path

    # The shell puts the path of the packaged settings here.
    text = " ".join(options)
    for name in re.findall(r"\$\(python -m spiral_trl\.launch (\w+)\)", text):
        assert accelerate_config_path(name).is_file()
    words = re.sub(r"\$\([^)]*\)", "settings.yaml", text).split()
    launch_command_parser().parse_args([*words, "script.py"])
