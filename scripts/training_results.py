"""Prints how runs ended, as a Markdown table: `python scripts/training_results.py runs`.

The table "Results of the commands" of docs/training.md is what this prints after the commands of that chapter. Every
folder with a `metrics.jsonl` is a row, in the order in which the runs began.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from spiral_trl.run_files import NASH_CONV_PREFIX, Metrics, RunFiles

KUHN: Final = "kuhn_poker_v0(hands=1,payoff=chips)"
"""The game whose NashConv is shown."""

LAST_STEPS: Final = 10
"""Over how many logged steps faults are averaged."""

HEADINGS: Final = (
    "command",
    "steps",
    "NashConv at the end",
    f"faults a game, last {LAST_STEPS} steps",
    "seconds of self-play",
)


def results_table(runs: Path) -> str:
    """Returns the table of all runs in a folder.

    Raises:
        ValueError: There is none.
    """
    found = [RunFiles(path.parent) for path in sorted(runs.glob("*/metrics.jsonl"), key=_began)]
    rows = [(run.folder.name, metrics) for run in found if (metrics := run.metrics()).steps]
    if not rows:
        raise ValueError(f"there is no run with metrics in {runs}")
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(_row(name, metrics) for name, metrics in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _began(path: Path) -> tuple[float, str]:
    """Returns when a run wrote the first thing that it keeps, and its name."""
    return min(each.stat().st_mtime for each in path.parent.iterdir()), path.parent.name


def _row(name: str, metrics: Metrics) -> tuple[str, ...]:
    nash_conv = metrics.curve(f"{NASH_CONV_PREFIX}{KUHN}")
    return (
        f"`{name}`",
        str(metrics.steps[-1]),
        "" if nash_conv is None else _at(nash_conv.steps[-1], nash_conv.values[-1], metrics.steps[-1]),
        _faults(metrics),
        f"{_seconds(metrics):.0f}",
    )


def _at(step: int, value: float, last_step: int) -> str:
    return f"{value:.3f}" if step == last_step else f"{value:.3f} at step {step}"


def _faults(metrics: Metrics) -> str:
    """Returns the faults a game of all games of a run, each game weighed by its share of them."""
    sums = [0.0, 0.0]
    for game in metrics.games:
        faults = metrics.recent(f"{game}/faults", num_steps=LAST_STEPS)
        share = metrics.recent(f"{game}/share_of_games", num_steps=LAST_STEPS)
        if faults is not None and share is not None:
            sums[0] += share * faults
            sums[1] += share
    return f"{sums[0] / sums[1]:.3f}" if sums[1] else ""


def _seconds(metrics: Metrics) -> float:
    """Returns the sum of `step_time` over all steps: play and update, without measurements and checkpoints."""
    curve = metrics.curve("step_time")
    spans = dict(zip(metrics.steps, metrics.spans(), strict=True))
    return math.fsum(value * spans[step] for step, value in zip(*curve, strict=True)) if curve else 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table of the folder in `argv` and returns the exit code."""
    parser = argparse.ArgumentParser(description="Prints how the runs in a folder ended, as a Markdown table.")
    parser.add_argument("runs", type=Path, help="the folder that holds the folders of the runs")
    try:
        print(results_table(parser.parse_args(argv).runs))
    except ValueError as error:
        print(f"training_results.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
