"""The evidence, from scratch: `python benchmarks/evidence.py` trains, measures and writes `docs/evidence.md`.

A finished run is not run again as long as its command and the code are the same; one that was interrupted is begun
anew. `--only A D` runs and shows some parts, `--quick` tries the whole chain in a few minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.evidence_page import write_page
from benchmarks.evidence_runs import (
    DONE,
    FULL,
    PARTS,
    QUICK,
    ROOT,
    Run,
    Scale,
    chosen,
    code_digest,
    digests,
    is_done,
    plan,
)

LOGS: Final = "logs"

_TAIL_LINES: Final = 20
_POLL_S: Final = 0.2

_ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "agg",
    "COLUMNS": "160",
}
"""Two processes with one thread each do more than one with two, and what is computed does not depend on the cores."""


class FailedRunError(RuntimeError):
    """A run ended with an error; the message has the end of its log."""


@dataclass(slots=True)
class Started:
    """A run in progress.

    Attributes:
        run: What it is.
        process: Its process.
        since_s: When it was started, by the monotonic clock.
    """

    run: Run
    process: subprocess.Popen[bytes]
    since_s: float


class Runner:
    """Runs what is not done, several at a time, each when all that it needs is there."""

    def __init__(self, folder: Path, runs: Sequence[Run], *, jobs: int) -> None:
        """Sets where the folders of the runs are, and how many run at a time."""
        self._folder = folder
        self._jobs = jobs
        self._digests = digests(runs)
        self._running: list[Started] = []
        self._done = {run.name for run in runs if is_done(folder / run.name, self._digests[run.name])}
        self._waiting = [run for run in runs if run.name not in self._done]

    @property
    def waiting(self) -> list[Run]:
        """What is neither done nor in progress, in order."""
        return list(self._waiting)

    def run_all(self, progress: Progress) -> None:
        """Runs everything that waits.

        Raises:
            FailedRunError: A run failed; those beside it are ended.
        """
        task = progress.add_task("evidence", total=sum(run.cost_s for run in self._waiting), now="")
        try:
            while self._waiting or self._running:
                self._start_ready()
                now = ", ".join(started.run.name for started in self._running)
                progress.update(task, now=f"{now}; {len(self._waiting)} wait")
                for run in self._finished():
                    progress.advance(task, run.cost_s)
                time.sleep(_POLL_S)
        finally:
            for started in self._running:
                started.process.terminate()
                started.process.wait()

    def _start_ready(self) -> None:
        ready = [run for run in self._waiting if self._done.issuperset(run.needs)]
        for run in ready[: self._jobs - len(self._running)]:
            self._waiting.remove(run)
            self._running.append(self._start(run))

    def _start(self, run: Run) -> Started:
        # What an interrupted run left, or one of other settings.
        shutil.rmtree(self._folder / run.name, ignore_errors=True)
        log = self._log(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with log.open("wb") as file:
            process = subprocess.Popen(
                run.command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
            )
        return Started(run, process, time.monotonic())

    def _finished(self) -> list[Run]:
        """Returns the runs that ended since the last call, after marking them as done.

        Raises:
            FailedRunError: One of them failed.
        """
        ended = [started for started in self._running if started.process.poll() is not None]
        for started in ended:
            self._running.remove(started)
            if started.process.returncode:
                raise FailedRunError(self._failure(started))
            record = {"digest": self._digests[started.run.name], "seconds": time.monotonic() - started.since_s}
            (self._folder / started.run.name / DONE).write_text(json.dumps(record), encoding="utf-8")
            self._done.add(started.run.name)
        return [started.run for started in ended]

    def _failure(self, started: Started) -> str:
        log = self._log(started.run)
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(
            [
                f"run {started.run.name} failed with exit code {started.process.returncode}: {started.run.shown}",
                f"the end of {log}:",
                *(f"  {line}" for line in tail),
            ]
        )

    def _log(self, run: Run) -> Path:
        return self._folder / LOGS / f"{run.name}.txt"


def collected(folder: Path, runs: Sequence[Run], parts: Sequence[str], scale: Scale, wall_s: float) -> dict[str, Any]:
    """Returns everything that was measured, with what it came from, as plain values."""
    seconds = {run.name: json.loads((folder / run.name / DONE).read_text(encoding="utf-8"))["seconds"] for run in runs}
    return {
        "about": {
            "commit": _git("rev-parse", "--short=10", "HEAD"),
            "is_changed": bool(_git("status", "--porcelain", "--", "spiral_envs", "spiral_trl", "benchmarks")),
            "code": code_digest(),
            "folder": folder.as_posix(),
            "scale": asdict(scale),
            "wall_s": wall_s,
            "seconds": {part: sum(seconds[run.name] for run in runs if _payer(run, parts) == part) for part in parts},
        },
        "runs": [
            {"name": run.name, "parts": run.parts, "seed": run.seed, "command": run.shown, "seconds": seconds[run.name]}
            for run in runs
        ],
        "parts": {
            part: [
                json.loads((folder / f"measures-{part}-{seed}" / "figures.json").read_text(encoding="utf-8"))
                for seed in scale.seeds
            ]
            for part in parts
        },
    }


def _payer(run: Run, parts: Sequence[str]) -> str:
    """Returns the first part of those shown that a run belongs to; what only others need goes with the first."""
    return next((part for part in run.parts if part in parts), parts[0])


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _write_stored(figures: Path, out: Path) -> int:
    """Writes the page of figures that were stored, and returns the exit code."""
    try:
        result = json.loads(figures.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"evidence.py: cannot read the figures in {figures}: {error}", file=sys.stderr)
        return 2
    print(f"page: {write_page(result, out)}")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Trains, measures and writes docs/evidence.md, from scratch, in under 90 minutes on 2 cores.",
        epilog="; ".join(f"{letter}: {title}" for letter, title in PARTS.items()),
    )
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), help="some parts instead of all")
    parser.add_argument("--quick", action="store_true", help="a few steps and games, to try the chain")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each with one thread (default 2)")
    parser.add_argument(
        "--runs", type=Path, help="where runs are kept (default runs/evidence, quick runs/evidence-quick)"
    )
    parser.add_argument("--figures", type=Path, help="write the page of these stored figures, and run nothing")
    parser.add_argument(
        "--out", type=Path, help="folder of the page, evidence.md (default docs; quick: that of the runs)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs everything that is not done and writes the page; returns the exit code."""
    options = make_parser().parse_args(argv)
    if options.jobs < 1:
        print(f"evidence.py: --jobs is {options.jobs}: expected at least 1", file=sys.stderr)
        return 2
    if options.figures:
        return _write_stored(options.figures, options.out or Path("docs"))
    folder = options.runs or Path("runs/evidence-quick" if options.quick else "runs/evidence")
    parts = tuple(sorted(set(options.only or PARTS)))
    is_whole = not options.quick and parts == tuple(PARTS)
    out = options.out or (Path("docs") if is_whole else folder)
    scale = QUICK if options.quick else FULL
    runs = chosen(plan(scale, folder.as_posix(), is_quick=options.quick), parts)
    console = Console()
    runner = Runner(folder, runs, jobs=options.jobs)
    console.print(
        f"{len(runner.waiting)} of {len(runs)} runs to do, {options.jobs} at a time, in {folder}", highlight=False
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # A polite kill ends the runs in progress, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started_s = time.monotonic()
    try:
        with Progress(*columns, TextColumn("{task.fields[now]}"), console=console) as progress:
            runner.run_all(progress)
    except FailedRunError as error:
        print(f"evidence.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("evidence.py: stopped; the same command goes on", file=sys.stderr)
        return 130
    result = collected(folder, runs, parts, scale, time.monotonic() - started_s)
    figures = Path("benchmarks/results/evidence.json") if is_whole and options.out is None else out / "evidence.json"
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    page = write_page(result, out)
    console.print(f"page: {page}  figures: {figures}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
