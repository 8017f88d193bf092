r"""Which kinds of reasoning replies show: `python benchmarks/traces.py RUN_OR_FILE [...]`.

Reads the games of training runs and tournaments (`games.jsonl`), finds case-by-case analysis, expected-value
calculation and pattern recognition in every reply by rules (`trace_rules.py` says which), and prints their shares with
95 % intervals: over the steps of a training run, by agent of a tournament. Of a training run, only the replies of the
learner count. `--judge openai:MODEL@URL` asks a model about a sample of the replies and prints how far it agrees.
`--out DIR` writes `traces.png`, `traces.json` and `traces.csv`, and keeps the judge's answers.
"""

# Records come from JSON.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import argparse
import csv
import hashlib
import heapq
import json
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from benchmarks.trace_agreement import Agreement, Judged, agreements
from benchmarks.trace_plot import draw_shares
from benchmarks.trace_rules import Category, Trace, read_trace
from benchmarks.trace_shares import FEW_GAMES, KINDS, NO_TEXT, Cell, Share, Shares, Source, kinds_of
from spiral_envs import MissingExtraError, __version__, make_match
from spiral_envs.arena.records import GAMES_FILE
from spiral_envs.extraction import Rule
from spiral_envs.intervals import Interval
from spiral_envs.json_lines import JsonLines
from spiral_envs.printable import one_line, printable

if TYPE_CHECKING:
    from benchmarks.trace_judge import Judge

LEARNER: Final = "learner"

ALL_GAMES: Final = "all games"

_SHOWN_CHARS: Final = 1000
"""How much of an example is printed."""


class Found(NamedTuple):
    """A reply that was read.

    Attributes:
        source: Whose it is.
        step: When it was written; None outside of training.
        game_key: Identifies its game.
        trace: What it holds.
    """

    source: Source
    step: int | None
    game_key: str
    trace: Trace


class Drawn:
    """A sample without replacement of items that come one by one; the same for the same keys and seed."""

    def __init__(self, size: int, *, seed: int) -> None:
        """Sets how many items are kept."""
        self._size, self._seed = size, seed
        self._heap: list[tuple[int, str, Found]] = []

    def offer(self, key: str, found: Found) -> None:
        """Keeps the item if its draw is among the smallest; `key` tells it from all others."""
        draw = int.from_bytes(hashlib.sha256(f"{self._seed} {key}".encode()).digest()[:8], "big")
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, (-draw, key, found))
        elif self._heap and -draw > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-draw, key, found))

    def items(self) -> list[Found]:
        """Returns what was kept, in the order of the draw."""
        return [found for _, _, found in sorted(self._heap, reverse=True, key=lambda each: each[:2])]


def games_file(path: Path) -> Path:
    """Returns the file of games that a run's or a tournament's folder, or a file, stands for.

    Raises:
        ValueError: There is none.
    """
    file = path / GAMES_FILE if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"no games in {str(path)!r}: expected a folder with {GAMES_FILE}, or such a file")
    return file


def read_replies(file: Path, name: str, *, by_game: bool) -> Iterator[list[Found]]:
    """Yields the replies of every game that count, agent by agent; lines that are no games are passed over."""
    with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines):
            try:
                record = json.loads(line)
                yield from _replies_of(record, f"{file} {number}", name, by_game=by_game)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                continue


def _replies_of(record: dict[str, Any], key: str, name: str, *, by_game: bool) -> list[list[Found]]:
    """Returns the replies of a game by their agents, those of scripted opponents of a training run left out."""
    game, step, turns = str(record["game"]), record.get("step"), record["turns"]
    learner_seats = record.get("learner_seats")
    found: dict[str, list[Found]] = {}
    for turn in turns:
        seat = int(turn["seat"])
        if learner_seats is not None and seat not in learner_seats:
            continue
        agent = LEARNER if learner_seats is not None else str(record["agents"][seat])
        prompt = f"{_rules(game, seat)}\n{turn['observation']}"
        # In a box the move is found where it stands; as the whole of a reply it is all there is.
        move = turn["move"] if turn["rule"] in (Rule.BRACKETED, Rule.OWN_TEXT) else None
        trace = Trace("", 0, frozenset()) if turn["rule"] == Rule.OWN_TEXT else None
        trace = trace or read_trace(str(turn["response"]), prompt, move=move)
        source = Source(name, agent, game if by_game else ALL_GAMES)
        found.setdefault(agent, []).append(Found(source, None if step is None else int(step), key, trace))
    return list(found.values())


@lru_cache(maxsize=256)
def _rules(game: str, seat: int) -> str:
    """Returns the rules that a seat is told; empty where the game cannot be had, so that quoted rules are not seen."""
    try:
        return make_match(game, seed=0).view(seat).rules
    except (ValueError, MissingExtraError):
        return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints and writes what the command line asks for; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        return _run(options)
    except (ValueError, MissingExtraError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """Returns what reads the command line."""
    parser = argparse.ArgumentParser(
        prog="traces.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="RUN_OR_FILE", help=f"a folder with {GAMES_FILE}, or it")
    parser.add_argument("--by-game", action="store_true", help="a row for every game")
    parser.add_argument("--bins", type=int, default=8, help="stretches of a training run (default 8)")
    parser.add_argument("--examples", type=int, default=0, metavar="N", help="print N replies of each kind")
    parser.add_argument("--judge", metavar="openai:MODEL@URL", help="a model to compare the rules with")
    parser.add_argument(
        "--judge-sample", type=int, default=200, metavar="N", help="replies with text that it reads (default 200)"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws examples, judged replies and intervals")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the plot, JSON, CSV and the judge's answers")
    return parser


def _check_options(options: argparse.Namespace) -> None:
    least = {
        "--bins": (options.bins, 1),
        "--judge-sample": (options.judge_sample, 1),
        "--examples": (options.examples, 0),
    }
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise ValueError(f"{name} is {value}: expected at least {minimum}")


def _open_judge(options: argparse.Namespace, run: Path) -> Judge:
    try:
        from benchmarks.trace_judge import ANSWERS_FILE, Judge, find_judge
    except ImportError as error:
        raise MissingExtraError("a judge", "agents") from error
    return Judge(find_judge(options.judge), JsonLines((options.out or run) / ANSWERS_FILE))


def _run(options: argparse.Namespace) -> int:
    _check_options(options)
    files = [(games_file(path), one_line(path.resolve().name)) for path in options.paths]
    judge = _open_judge(options, files[0][0].parent) if options.judge else None
    # Wide enough for every column, whatever the width of the terminal.
    console = Console(width=max(150, Console().width), highlight=False)
    shares = Shares()
    to_judge = Drawn(options.judge_sample if judge else 0, seed=options.seed)
    examples = {kind: Drawn(options.examples, seed=options.seed) for kind in KINDS}
    _read_all(files, options, console, shares, to_judge, examples)
    cells = shares.cells(num_bins=options.bins, seed=options.seed)
    if not cells:
        raise ValueError(
            "no replies in these games: expected lines with turns, as self-play and tournaments write them"
        )
    for name in dict.fromkeys(cell.source.name for cell in cells):
        console.print(shares_table([cell for cell in cells if cell.source.name == name]))
    notes = notes_on(cells)
    agreed: list[Agreement] = []
    if judge is not None:
        agreed, said = _judge(judge, to_judge.items(), options.seed, console)
        notes += said
        console.print(agreement_table(agreed))
    for note in notes:
        console.print(note, markup=False)
    _print_examples(console, examples)
    if options.out:
        _write(options, cells, agreed, notes)
        console.print(f"Wrote traces.png, traces.json and traces.csv to {options.out}.", markup=False)
    return 0


def _read_all(
    files: Sequence[tuple[Path, str]],
    options: argparse.Namespace,
    console: Console,
    shares: Shares,
    to_judge: Drawn,
    examples: dict[str, Drawn],
) -> None:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("reading replies", total=None)
        for file, name in files:
            for replies in read_replies(file, name, by_game=options.by_game):
                shares.add(replies[0].source, replies[0].step, [reply.trace for reply in replies])
                progress.advance(task, len(replies))
                for number, reply in enumerate(replies):
                    key = f"{reply.game_key} {reply.source.agent} {number}"
                    if reply.trace.text:
                        to_judge.offer(key, reply)
                    for kind in kinds_of(reply.trace):
                        examples[kind].offer(key, reply)


def _judge(judge: Judge, asked: Sequence[Found], seed: int, console: Console) -> tuple[list[Agreement], list[str]]:
    """Returns the agreement of rules and judge on these replies, and what is to be said about it."""
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("asking the judge", total=len(asked))
            answers = judge.judge([each.trace.text for each in asked], on_answer=lambda: progress.advance(task))
    finally:
        judge.close()
    judged = [
        Judged(each.game_key, each.trace.categories, answer)
        for each, answer in zip(asked, answers, strict=True)
        if isinstance(answer, frozenset)
    ]
    notes = [f"Judge {judge.name}: {len(judged)} replies judged, {judge.num_asked} of them asked now."]
    failed = [answer for answer in answers if not isinstance(answer, frozenset)]
    if failed:
        notes.append(f"{len(failed)} replies were left unjudged; the first because {one_line(str(failed[0]))}.")
    return agreements(judged, seed=seed), notes


def notes_on(cells: Sequence[Cell]) -> list[str]:
    """Returns what a reader of the shares has to know."""
    total = sum(cell.replies for cell in cells)
    notes = [
        f"{total:,} replies; words are their median length outside of the answer. A reply may show several kinds.",
        "Intervals are 95 %, by bootstrap over games.",
    ]
    if all(cell.shares[category.value].share == 0 for cell in cells for category in Category):
        silent = sum(round(cell.shares[NO_TEXT].share * cell.replies) for cell in cells)
        notes.append(
            f"No reply shows any of the three kinds: {total - silent:,} hold other words, such as a phrase that was"
            f" taught, and {silent:,} nothing but the move."
        )
    few = sum(cell.games < FEW_GAMES for cell in cells)
    if few:
        notes.append(f"{few} rows stand for fewer than {FEW_GAMES} games: their intervals say little.")
    return notes


def shares_table(cells: Sequence[Cell]) -> Table:
    """Returns the shares of one run or tournament as a table for the terminal."""
    table = Table(title=f"Kinds of reasoning in {escape(cells[0].source.name)}, % of replies")
    columns = {
        "agent": [one_line(cell.source.agent) for cell in cells],
        "game": [one_line(cell.source.game) for cell in cells],
        "steps": ["" if cell.steps is None else f"{cell.steps[0]}–{cell.steps[1]}" for cell in cells],
    }
    # What is the same in all rows is no column; a single row has its agent.
    shown = {name: texts for name, texts in columns.items() if len(set(texts)) > 1} or {"agent": columns["agent"]}
    for heading in shown:
        table.add_column(heading, overflow="fold")
    for heading in ("games", "replies", "words", *KINDS):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, cell in enumerate(cells):
        names = [escape(texts[index]) for texts in shown.values()]
        counts = [f"{cell.games:,}", f"{cell.replies:,}", f"{cell.median_words:g}"]
        table.add_row(*names, *counts, *(_percent(cell.shares[kind]) for kind in KINDS))
    return table


def agreement_table(agreed: Sequence[Agreement]) -> Table:
    """Returns the agreement of rules and judge as a table for the terminal."""
    table = Table("category", title="Rules against the judge, replies")
    for heading in ("both", "rules only", "judge only", "neither", "Cohen's kappa"):
        table.add_column(heading, justify="right")
    for each in agreed:
        kappa = "–" if each.kappa is None else f"{each.kappa:.2f}{_range(each.interval, 1, 2)}"
        counts = (each.both, each.rules_only, each.judge_only, each.neither)
        table.add_row(each.category.value, *(f"{count:,}" for count in counts), kappa)
    return table


def _percent(share: Share) -> str:
    return f"{100 * share.share:.1f}{_range(share.interval, 100, 1)}"


def _range(interval: Interval | None, scale: float, digits: int) -> str:
    # A square bracket would be markup of the terminal's.
    return "" if interval is None else f" \\[{scale * interval.low:.{digits}f}, {scale * interval.high:.{digits}f}]"


def _print_examples(console: Console, examples: dict[str, Drawn]) -> None:
    for kind, drawn in examples.items():
        for found in drawn.items() if kind != NO_TEXT else ():
            where = "" if found.step is None else f", step {found.step}"
            text = found.trace.text
            cut = text[:_SHOWN_CHARS] + (" …" if len(text) > _SHOWN_CHARS else "")
            console.rule(escape(f"{kind}: {one_line(found.source.agent)}{where}"))
            console.print(printable(cut), markup=False)


def _write(options: argparse.Namespace, cells: Sequence[Cell], agreed: Sequence[Agreement], notes: list[str]) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    draw_shares(cells).savefig(options.out / "traces.png", dpi=150)
    about = {"version": __version__, "seed": options.seed, "paths": [str(path) for path in options.paths]}
    content = {
        "about": about,
        "notes": notes,
        "cells": [_cell_record(cell) for cell in cells],
        "agreement": [{**each._asdict(), "category": each.category.value} for each in agreed],
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (options.out / "traces.json").write_text(text + "\n", encoding="utf-8")
    with (options.out / "traces.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            "run agent game first_step last_step games replies median_words kind share low high".split()  # noqa: SIM905
        )
        for cell in cells:
            steps = cell.steps or ("", "")
            for kind, share in cell.shares.items():
                ends = share.interval or ("", "")
                row = (*cell.source, *steps, cell.games, cell.replies, cell.median_words, kind, share.share, *ends)
                writer.writerow([printable(value) if isinstance(value, str) else value for value in row])


def _cell_record(cell: Cell) -> dict[str, Any]:
    shares = {kind: {"share": share.share, "interval": share.interval} for kind, share in cell.shares.items()}
    source = {name: printable(value) for name, value in cell.source._asdict().items()}
    counts = {"games": cell.games, "replies": cell.replies, "median_words": cell.median_words}
    return {**source, "steps": cell.steps, **counts, "shares": shares}


if __name__ == "__main__":
    sys.exit(main())
