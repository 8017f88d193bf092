"""Does what was learned in games help with problems? Scores of a model on reasoning suites, and before against after.

`python benchmarks/reasoning.py --agent hf:PATH --suite reasoning_gym --out before.json` asks a model the problems of a
suite: families of reasoning-gym, which are generated from a seed, or mathematical benchmarks (`--suite math`) from the
hub or from files of your own. `python benchmarks/reasoning.py compare before.json after.json` compares two runs on the
same problems. The extra `reasoning` installs what the suites need.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks.reasoning_comparison import compare, notes
from benchmarks.reasoning_families import FAMILIES, GymSuite, make_problems
from benchmarks.reasoning_math import TASKS, DataError, MathSuite, MathTask
from benchmarks.reasoning_repliers import Replier, Sampling, check_agent, make_replier, sampling_of
from benchmarks.reasoning_results import ProblemResult, Progressing, ResultsError, read_results, rows, write_results
from benchmarks.reasoning_tables import COMPARED, change_table, markdown, print_rows, print_table
from benchmarks.throughput_envs import code_version
from spiral_envs.agents import EndpointError
from spiral_envs.errors import MissingExtraError

PACKAGES: Final = ("reasoning-gym", "lm-eval", "math-verify", "datasets", "torch", "transformers", "vllm", "openai")
"""Those whose version may change a score."""


class Suite(Protocol):
    """Problems that can be asked.

    Attributes:
        num_replies: How many replies there will be.
    """

    num_replies: int

    def run(
        self, replier: Callable[[], Replier], kept: Progressing, on_replies: Callable[[int], None]
    ) -> list[ProblemResult]:
        """Returns the result of every problem; what an interrupted run left is not asked again."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status of the command that `arguments` (default: the command line) name."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser, run = (compare_parser(), run_compare) if given[:1] == ["compare"] else (suite_parser(), run_suite)
    options = parser.parse_args(given[1:] if given[:1] == ["compare"] else given)
    try:
        run(options)
    except (ValueError, MissingExtraError, EndpointError, DataError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {' '.join(str(error).split())}\n")
    return 0


def suite_parser() -> argparse.ArgumentParser:
    """Returns the parser of a run."""
    parser = argparse.ArgumentParser(
        prog="reasoning.py",
        description="Asks a model the problems of a suite; `reasoning.py compare` compares two runs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--agent", required=True, help="hf:PATH_OR_ID, vllm:PATH_OR_ID or openai:MODEL@URL")
    parser.add_argument("--suite", required=True, choices=SUITES, help="which problems")
    parser.add_argument("--out", required=True, type=Path, help="the file of results, .json")
    parser.add_argument("--seed", type=whole_number, default=0, help="of problems, order of options and sampling")
    parser.add_argument("--samples", type=count, help="replies to a problem; unset, 1 or what the task file says")
    parser.add_argument("--temperature", type=float, default=0.6, help="of sampling")
    parser.add_argument("--top-p", type=float, default=0.95, help="of sampling")
    parser.add_argument("--max-tokens", type=count, default=4096, help="the longest reply")
    parser.add_argument("--batch-size", type=count, help="replies sampled at once; unset, what suits the agent")
    parser.add_argument("--keep-replies", action="store_true", help="write the replies beside the results")
    gym = parser.add_argument_group("suite reasoning_gym")
    gym.add_argument("--families", nargs="+", metavar="FAMILY", default=list(FAMILIES), help="which families")
    gym.add_argument("--per-family", type=count, default=50, help="problems of each family")
    math = parser.add_argument_group("suite math")
    math.add_argument("--tasks", nargs="+", metavar="TASK", default=list(TASKS), help="which benchmarks")
    math.add_argument(
        "--data-dir", type=Path, help="a folder with TASK.jsonl (problem, answer, options); unset, the hub"
    )
    math.add_argument("--limit", type=count, help="only the first so many problems of each task")
    return parser


def compare_parser() -> argparse.ArgumentParser:
    """Returns the parser of a comparison."""
    parser = argparse.ArgumentParser(prog="reasoning.py compare", description="Compares two runs on the same problems.")
    parser.add_argument("before", type=Path, help="results of the first run, .json")
    parser.add_argument("after", type=Path, help="results of the second run, .json")
    parser.add_argument("--out", type=Path, help="where the table goes as well, .md")
    parser.add_argument("--seed", type=whole_number, default=0, help="of the resampling")
    return parser


def run_suite(options: argparse.Namespace) -> None:
    """Runs a suite, writes its results and prints them.

    Raises:
        ValueError: An option, a file or an agent does not fit.
        MissingExtraError: Something has to be installed.
        EndpointError: A server does not answer; what was done is kept.
        DataError: A data set cannot be loaded.
    """
    sampling = Sampling(temperature=options.temperature, top_p=options.top_p, max_tokens=options.max_tokens)
    check_agent(options.agent)
    sampling = sampling_of(options.agent, sampling)
    if options.out.suffix != ".json":
        raise ResultsError(f"--out is {options.out}: expected a name that ends in .json")
    suite, settings = SUITES[options.suite](options)
    settings = {
        "agent": options.agent,
        "suite": options.suite,
        "seed": options.seed,
        **asdict(sampling),
        "batch_size": options.batch_size,
        **settings,
    }
    kept = Progressing(options.out, settings, keep_replies=options.keep_replies)
    # Loaded when it is first needed: a run that was done already needs no model.
    replier = cache(partial(make_replier, options.agent, sampling, batch=options.batch_size))
    with progress(suite.num_replies) as on_replies:
        results = suite.run(replier, kept, on_replies)
    table = rows(results, seed=options.seed)
    write_results(options.out, {"settings": settings, **describe_setting()}, results, table)
    print_rows(table)
    print(f"Results: {options.out}; one line a problem: {kept.path}.")


def gym_suite(options: argparse.Namespace) -> tuple[Suite, dict[str, Any]]:
    """Returns families of reasoning-gym as options name them, and the settings that are theirs alone.

    Raises:
        ValueError: A family is unknown or named twice.
        MissingExtraError: reasoning-gym is not installed.
    """
    check_once("family", options.families)
    samples = options.samples or 1
    problems = make_problems(options.families, per_family=options.per_family, seed=options.seed)
    settings = {"families": options.families, "per_family": options.per_family, "samples": samples}
    return GymSuite(problems, samples=samples, seed=options.seed), settings


def math_suite(options: argparse.Namespace) -> tuple[Suite, dict[str, Any]]:
    """Returns mathematical benchmarks as options name them, and the settings that are theirs alone.

    Raises:
        ValueError: A task is unknown or named twice, or a file does not fit.
        MissingExtraError: lm-eval is not installed.
        DataError: A data set cannot be loaded.
    """
    check_once("task", options.tasks)
    tasks = [
        MathTask(name, data_dir=options.data_dir, samples=options.samples, limit=options.limit, seed=options.seed)
        for name in options.tasks
    ]
    settings = {
        "tasks": options.tasks,
        "samples": {task.name: task.samples for task in tasks},
        "limit": options.limit,
        "data": "hub" if options.data_dir is None else "files",
    }
    return MathSuite(tasks, seed=options.seed), settings


def run_compare(options: argparse.Namespace) -> None:
    """Compares two files of results.

    Raises:
        ResultsError: A file is none of results, or the problems are not the same.
    """
    before, old = read_results(options.before)
    after, new = read_results(options.after)
    changes = compare(old, new, seed=options.seed)
    said = [f"Before: {before['settings']['agent']}; after: {after['settings']['agent']}.", COMPARED]
    said += notes(changes, before, after)
    table = change_table(changes)
    print_table(table)
    print("\n".join(said))
    if options.out is not None:
        text = f"{markdown(table)}\n" + "".join(f"\n{line}\n" for line in said)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


def check_once(kind: str, names: Sequence[str]) -> None:
    """Refuses a name that is given twice.

    Raises:
        ValueError: One is.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{kind} {twice!r} is named twice")


@contextmanager
def progress(num_replies: int) -> Generator[Callable[[int], None]]:
    """Context in which a bar shows how many replies there are, and the time that is left; nothing but on a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("replies"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("replies", total=num_replies)
        yield lambda count: bar.advance(task, count)


def describe_setting() -> dict[str, Any]:
    """Returns what one has to know in order to repeat the run, beside its settings."""
    return {
        "command": f"python benchmarks/reasoning.py {shlex.join(sys.argv[1:])}",
        "code": code_version(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: found for name in PACKAGES if (found := installed(name)) is not None},
    }


def installed(package: str) -> str | None:
    """Returns the version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def whole_number(text: str) -> int:
    """Returns the number that `text` writes, from 0.

    Raises:
        ArgumentTypeError: It writes none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0")
    return int(text)


def count(text: str) -> int:
    """Returns the number that `text` writes, from 1.

    Raises:
        ArgumentTypeError: It writes none.
    """
    number = whole_number(text)
    if number == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1")
    return number


SUITES: Final[dict[str, Callable[[argparse.Namespace], tuple[Suite, dict[str, Any]]]]] = {
    "reasoning_gym": gym_suite,
    "math": math_suite,
}
"""How each suite is made."""


if __name__ == "__main__":
    sys.exit(main())
