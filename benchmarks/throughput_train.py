"""Seconds, padding and memory of a training step beside TRL's GRPOTrainer, and where a step of self-play goes.

First the model plays and trains for some steps as in a run, which gives the table of where the time of a step goes, and
rows: token ids that a model sampled in games. Then `SelfPlayTrainer` and `GRPOTrainer` train on the same rows with the
same advantages, loss and micro-batches, one step each in turn. `SelfPlayTrainer` is handed the games and does all else
itself; `GRPOTrainer` is handed the rows, pads them all to the longest and deals them out at random, as it does with
what it generates. A step is forward, backward, clipping, AdamW, and the trainer's own work around them. A ratio is
taken within a round; the table gives its median and its range. Where the two do not compute the same loss and gradient,
the comparison is void and the exit status 1.

Memory is that of a process for each trainer, which takes two steps on the same rows.

On the CPU with one thread time is CPU time, so that what else the machine does counts less; else that of the clock on
the wall.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.throughput_envs import code_version
from benchmarks.throughput_rollout import EMBEDDED, make_embedded_model, show_progress, show_range

if TYPE_CHECKING:
    from benchmarks.trainer_pair import Comparison, Side
    from benchmarks.training_steps import StepSettings
    from spiral_envs.episode import Episode

RESULTS: Final = Path(__file__).parent / "results" / "throughput_train.json"

GAMES: Final = (
    *("tic_tac_toe_v0",) * 2,
    *("kuhn_poker_v0(hands=1,payoff=chips)",) * 5,
    *("simple_negotiation_v0(turns=6)",) * 2,
)
"""Those of the configuration `quickstart`."""

AIM: Final = 1.0
"""Of the time and of the memory of a step, ours to TRL's: at most."""

COUNTS: Final = ("rows", "parts", "max_new_tokens", "rounds", "steps")
"""The options that are numbers of something."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `train` to the measurements of `throughput.py`."""
    parser = commands.add_parser(
        "train", help="time and memory of a training step, beside TRL's GRPOTrainer", description=__doc__
    )
    model_help = "a folder, a hub id, or embedded: built on the spot and warmed up briefly (embedded)"
    parser.add_argument("--model", default=EMBEDDED, help=model_help)
    parser.add_argument("--games", nargs="+", default=list(GAMES), metavar="GAME", help="(those of quickstart)")
    games_help = "games of a batch (as many as surely fit)"
    parser.add_argument("--num_games", type=int, metavar="N", help=games_help)
    parser.add_argument("--rows", type=int, default=128, help="rows of a micro-batch of self-play (128)")
    parser.add_argument("--parts", type=int, default=6, help="micro-batches of a step (6)")
    parser.add_argument("--max_new_tokens", type=int, default=64, help="longest reply, in tokens (64)")
    parser.add_argument("--beta", type=float, default=0.0, help="weight of the KL to the model as it was (0)")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each trainer on the same rows (5)")
    parser.add_argument("--steps", type=int, default=3, help="steps of self-play (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the games and of sampling (0)")
    out_help = f"also write the numbers as JSON ({RESULTS.name} in benchmarks/results, or FILE)"
    parser.add_argument("--out", type=Path, nargs="?", const=RESULTS, metavar="FILE", help=out_help)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the tables, writes `options.out` and returns the exit status."""
    chosen = vars(options)
    for name in COUNTS:
        if chosen[name] < 1:
            print(f"error: --{name} must be at least 1", file=sys.stderr)
            return 2
    try:
        with ExitStack() as stack:
            model = options.model
            if model == EMBEDDED:
                model = make_embedded_model(Path(stack.enter_context(tempfile.TemporaryDirectory())), options)
            setting = describe_setting(options)
            parts, comparison = measure(model, options)
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: run pip install 'spiral-selfplay[train]'", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    show_progress("")
    print_report(parts, comparison, setting)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        report = {"setting": setting, "steps_of_self_play": parts, "comparison": asdict(comparison)}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {options.out}")
    return 0 if comparison.is_valid else 1


def measure(model: str, options: argparse.Namespace) -> tuple[list[dict[str, float]], Comparison]:
    """Returns the seconds of the parts of steps of self-play, and the comparison on the rows of the first of them.

    Raises:
        ModuleNotFoundError: The packages of the extra `train` are not installed.
        OSError: There is no such model.
        ValueError: There is no such game, or the batch is too small for the games.
    """
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from benchmarks.trainer_pair import compare
    from benchmarks.training_steps import StepSettings, self_play_steps

    set_seed(options.seed)
    disable_progress_bar()
    settings = StepSettings(
        model=model,
        games=options.games,
        rows=options.rows,
        parts=options.parts,
        max_new_tokens=options.max_new_tokens,
        beta=options.beta,
        seed=options.seed,
    )
    show_progress(f"{options.steps} steps of self-play, and one that is not counted")
    parts, batches = self_play_steps(settings, games_per_batch=options.num_games, steps=options.steps)
    show_progress(f"{options.rounds} steps of each trainer, and one that is not counted")
    return parts, compare(*comparable(batches[0], settings), rounds=options.rounds)


def comparable(episodes: list[Episode], settings: StepSettings) -> tuple[list[Episode], StepSettings]:
    """Returns as much of `episodes` as gives full micro-batches, with the settings that have such micro-batches.

    TRL needs full ones, and an even number of rows in all. The last few turns may be left out for that.

    Raises:
        ValueError: There are fewer rows than micro-batches.
    """
    from benchmarks.trainer_pair import num_rows, with_rows

    unit = math.lcm(settings.parts, 2)
    wanted = min(num_rows(episodes), settings.rows * settings.parts) // unit * unit
    if wanted == 0:
        raise ValueError(f"the games gave too few rows for {settings.parts} micro-batches: set --num_games")
    return with_rows(episodes, wanted), replace(settings, rows=wanted // settings.parts)


def describe_setting(options: argparse.Namespace) -> dict[str, str]:
    """Returns what one has to know in order to repeat the measurement."""
    import torch

    from benchmarks.training_steps import is_cpu_time

    chosen = vars(options)
    names = ("model", *(["num_games"] if options.num_games else []), *COUNTS, "beta", "seed")
    return {
        "command": "python benchmarks/throughput.py train " + " ".join(f"--{name} {chosen[name]}" for name in names),
        "games": ", ".join(options.games),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": str(torch.get_num_threads()),
        "clock": "CPU time" if is_cpu_time() else "wall",
        "code": code_version(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in ("torch", "transformers", "trl")},
    }


def print_report(parts: Sequence[dict[str, float]], comparison: Comparison, setting: dict[str, str]) -> None:
    """Prints both tables in Markdown, then the aims."""
    print_comparison(comparison)
    print()
    print_parts(parts)
    print("; ".join(f"{name}: {value}" for name, value in setting.items()))


def print_comparison(comparison: Comparison) -> None:
    """Prints both trainers beside each other, whether they did the same, and the aims."""
    from rich.box import MARKDOWN
    from rich.console import Console
    from rich.table import Table

    ours, theirs = comparison.ours, comparison.theirs
    table = Table(box=MARKDOWN)
    table.add_column("a step on the same rows", no_wrap=True)
    for heading in ("SelfPlayTrainer", "GRPOTrainer", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    ratios = show_range(comparison.ratios, "{:.2f}")
    table.add_row("seconds", *(show_range(side.seconds, "{:.3f}") for side in (ours, theirs)), ratios)
    micros = [[1e6 * seconds / comparison.tokens for seconds in side.seconds] for side in (ours, theirs)]
    table.add_row("microseconds a token", *(show_range(each, "{:.1f}") for each in micros), ratios)
    waste = [f"{1 - comparison.tokens / side.positions:.1%}" for side in (ours, theirs)]
    table.add_row("computed positions that are padding", *waste, "")
    table.add_row("peak memory, MiB", *_ratio_of([ours.peak_mib, theirs.peak_mib]))
    table.add_row("above what it held before, MiB", *_ratio_of([_growth(ours), _growth(theirs)]))
    # Wide enough for every column, so that the table can be copied whatever the width of the terminal.
    Console(width=140, highlight=False).print(table)
    print(f"{comparison.rows:,} rows, {comparison.tokens:,} tokens a step. {agreement(comparison)}")
    for what, reached in (
        ("time of a step", median(comparison.ratios)),
        ("peak memory", ours.peak_mib / theirs.peak_mib),
    ):
        verdict = "reached" if reached <= AIM else "missed"
        print(f"Aim: {what} at most {AIM:g} times that of GRPOTrainer; it is {reached:.2f}: {verdict}.")


def agreement(comparison: Comparison) -> str:
    """Returns a sentence on whether both trainers computed the same."""
    ours, theirs = comparison.ours, comparison.theirs
    verdict = "The same was computed" if comparison.is_valid else "VOID: not the same was computed"
    return (
        f"{verdict}: loss {ours.loss[0]:.6f} and {theirs.loss[0]:.6f},"
        f" gradient norm {ours.grad_norm[0]:.6f} and {theirs.grad_norm[0]:.6f},"
        f" the first gradients {comparison.gradient_distance:.1e} of their length apart."
    )


def print_parts(parts: Sequence[dict[str, float]]) -> None:
    """Prints where the time of a step of self-play goes, the largest part first."""
    from rich.box import MARKDOWN
    from rich.console import Console
    from rich.table import Table

    from benchmarks.training_steps import REST

    table = Table(box=MARKDOWN)
    table.add_column("a step of self-play", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("share", justify="right")
    names = dict.fromkeys(name for step in parts for name in step)
    means = {name: sum(step.get(name, 0.0) for step in parts) / len(parts) for name in names}
    total = sum(means.values())
    for name in sorted(means, key=lambda name: (name == REST, -means[name])):
        table.add_row(name, f"{means[name]:.3f}", f"{means[name] / total:.1%}")
    table.add_row("all", f"{total:.3f}", "")
    Console(width=140, highlight=False).print(table)


def _growth(side: Side) -> float:
    return side.peak_mib - side.idle_mib


def _ratio_of(pair: Sequence[float]) -> tuple[str, str, str]:
    return f"{pair[0]:,.0f}", f"{pair[1]:,.0f}", f"{pair[0] / pair[1]:.2f}"
