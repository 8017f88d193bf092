"""The written result of a run: a table for the terminal, curves as a picture, and one HTML page with games to read.

Everything is made from the files of the run alone, so that a report can be made anew at any time.
"""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from rich.table import Table
from rich.text import Text

from spiral_envs.printable import one_line, printable
from spiral_trl.curves import (
    COLOURS,
    DASHES,
    REFERENCE_COLOUR,
    REFERENCE_DASHES,
    SMOOTHED_FROM,
    Line,
    Panel,
    draw_curves,
    panel_picture,
    panels,
)
from spiral_trl.evaluation import SeatResult
from spiral_trl.replays import GAMES_SHOWN, Chosen, GameFilter, Replay, choose_games
from spiral_trl.report_tables import (
    PageTable,
    Progress,
    alarm_groups,
    checkpoints_table,
    evaluations_table,
    games_table,
    headline,
    league_table,
    recent_games_table,
    settings_table,
    time_table,
    with_both_seats,
)
from spiral_trl.run_files import Metrics, RunFiles, short_label

MATCHES: Final = (
    "faults in matches against itself; wins [95 % interval] / draws / losses against the named agent;"
    " matches at temperature 0.6 and top-p 0.95, NashConv from the probabilities at temperature 1"
)
"""How to read the comparison."""

_ABOUT: Final = "about.json"


class ReportError(ValueError):
    """There is nothing to report, or nothing of what was asked for; the message is one line."""


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong a model was at one time.

    Attributes:
        results: Matches against reference agents.
        nash_conv: NashConv in one-hand Kuhn poker of the model's own move probabilities; None when not measured.
        other_mass: The largest probability that the model gave to anything but a legal move there.
        faults: Faults a game in matches against itself, by game.
    """

    results: tuple[SeatResult, ...]
    nash_conv: float | None
    other_mass: float | None
    faults: Mapping[str, float]

    def save(self, path: Path) -> None:
        """Writes the figures as JSON, whole or not at all."""
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> Strength:
        """Returns what `save` wrote."""
        data = json.loads(path.read_text(encoding="utf-8"))
        results = tuple(SeatResult(**result) for result in data["results"])
        return cls(results, data["nash_conv"], data["other_mass"], data["faults"])


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison of before and after.

    Attributes:
        measure: What was measured.
        before: The figure at the start of self-play.
        after: The figure at its end.
        change: In words: better, worse, or within the intervals.
    """

    measure: str
    before: str
    after: str
    change: str


def compare(before: Strength, after: Strength) -> list[Row]:
    """Returns the lines of the table, in the order of the games: one for everything that both have.

    A difference of win rates counts as real only where the two 95 % intervals do not overlap.
    """
    rows = [
        Row(f"{short_label(game)}: faults a game", f"{old:.1%}", f"{after.faults[game]:.1%}", "")
        for game, old in before.faults.items()
        if game in after.faults
    ]
    results = {_pairing(result): result for result in with_both_seats(after.results)}
    for old in with_both_seats(before.results):
        new = results.get(_pairing(old))
        if new is not None:
            measure = f"{short_label(new.game)}: {new.role} v {new.opponent}"
            rows.append(Row(measure, _wdl(old), _wdl(new), _change(old, new)))
    if before.nash_conv is not None and after.nash_conv is not None:
        change = f"x {after.nash_conv / before.nash_conv:.2f}" if before.nash_conv else ""
        rows.append(Row("kuhn_poker, one hand: NashConv", f"{before.nash_conv:.3f}", f"{after.nash_conv:.3f}", change))
        rows.append(
            Row(
                "kuhn_poker: most mass off legal moves",
                f"{before.other_mass:.1%}",
                f"{after.other_mass:.1%}",
                "",
            )
        )
    return rows


def terminal_table(rows: Sequence[Row]) -> Table:
    """Returns the comparison for the terminal."""
    table = Table(title="Before and after self-play", caption=MATCHES)
    for name in ("measure", "before", "after", "change"):
        table.add_column(name, overflow="fold")
    for row in rows:
        # As Text: a label with brackets would be read as markup.
        table.add_row(*(Text(one_line(cell)) for cell in (row.measure, row.before, row.after, row.change)))
    return table


def write_report(
    run: Path,
    *,
    rows: Sequence[Row] | None = None,
    about: Sequence[str] | None = None,
    page: Path | None = None,
    games_shown: int = GAMES_SHOWN,
    accepted: GameFilter | None = None,
) -> Chosen:
    """Writes the page of a run and, beside its metrics, `curves.png`; returns what was found among its games.

    Args:
        run: The folder with `metrics.jsonl`; all other files may be missing.
        rows: The comparison of before and after; None to make it of `before.json` and `after.json`.
        about: Sentences on how the run was made, which are kept in the folder; None to take those that were kept.
        page: The file to write; None for `report.html` in the folder.
        games_shown: The most games of each label on the page.
        accepted: Which games may be shown.

    Raises:
        ReportError: There is no such folder, or no metrics in it yet, or games but none that `accepted` lets through.
        OSError: A file cannot be read or written.
    """
    if not run.is_dir():
        raise ReportError(f"no such folder: {run}")
    run_files = RunFiles(run)
    metrics = run_files.metrics()
    if not metrics.steps:
        raise ReportError(f"there are no metrics to draw: the run in {run} has not logged a step")
    if about is not None:
        save_about(run, about)
    chosen = choose_games(run_files.games(), games_shown=games_shown, accepted=accepted)
    if chosen.games and not chosen.num_accepted:
        raise ReportError(_nothing_accepted(chosen))
    html = _page(
        run_files,
        metrics,
        chosen,
        rows=_saved_rows(run) if rows is None else rows,
        about=_saved_about(run) if about is None else about,
    )
    if page is None:
        draw_curves(metrics).savefig(run / "curves.png", dpi=100)
    _write_whole(page or run / "report.html", html.encode())
    return chosen


@dataclass(frozen=True, slots=True)
class _LegendEntry:
    """A line's name beside a piece of it, with its newest value."""

    label: str
    colour: str
    dashes: str
    value: str


@dataclass(frozen=True, slots=True)
class _Picture:
    """A panel as the page shows it."""

    title: str
    png: str
    legend: tuple[_LegendEntry, ...]


def _page(run_files: RunFiles, metrics: Metrics, chosen: Chosen, *, rows: Sequence[Row], about: Sequence[str]) -> str:
    """Returns the HTML of a run."""
    alarms = run_files.alarms()
    evaluations = run_files.evaluations()
    progress = Progress(
        run_files.planned_steps(),
        (run_files.folder / "final").is_dir(),
        datetime.fromtimestamp((run_files.folder / "metrics.jsonl").stat().st_mtime, UTC),
        datetime.now(UTC),
    )
    source = files("spiral_trl").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    # Every value passes `_shown` and is then escaped; nothing from a run reaches the page on another way.
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True)
    environment.filters["breakable"] = _breakable
    return environment.from_string(source).render(
        title=run_files.folder.resolve().name,
        about=about,
        facts=headline(metrics, chosen, alarms, progress),
        alarms=alarm_groups(alarms),
        pictures=[_picture(panel) for panel in panels(metrics)],
        smoothed_from=SMOOTHED_FROM,
        tables=_tables(metrics, chosen, evaluations, run_files, rows),
        games=_by_label(chosen.replays),
        num_unreadable=chosen.num_unreadable,
        made=f"{progress.now:%Y-%m-%d %H:%M} UTC",
    )


def _tables(
    metrics: Metrics,
    chosen: Chosen,
    evaluations: Sequence[tuple[int, SeatResult]],
    run_files: RunFiles,
    rows: Sequence[Row],
) -> list[PageTable]:
    """Returns the tables that have something in them."""
    compared = PageTable(
        "Before and after self-play",
        ("measure", "before", "after", "change"),
        tuple((row.measure, row.before, row.after, row.change) for row in rows),
        f"Read: {MATCHES}. A change counts only where the two intervals do not overlap.",
    )
    tables = [
        compared,
        evaluations_table(evaluations),
        league_table(metrics),
        games_table(chosen),
        recent_games_table(metrics),
        time_table(metrics),
        checkpoints_table(run_files.checkpoints()),
        settings_table(run_files.settings()),
    ]
    return [table for table in tables if table.rows]


def _picture(panel: Panel) -> _Picture:
    legend = [_legend_entry(line) for line in panel.lines]
    if panel.reference is not None:
        label, value = panel.reference
        legend.append(_LegendEntry(label, REFERENCE_COLOUR, REFERENCE_DASHES, f"{value:.4g}"))
    return _Picture(panel.title, base64.b64encode(panel_picture(panel)).decode(), tuple(legend))


def _legend_entry(line: Line) -> _LegendEntry:
    value = line.curve.values[-1]
    interval = f" [{line.low[-1]:.3g}, {line.high[-1]:.3g}]" if line.low else ""
    dashes = DASHES[line.dash % len(DASHES)]
    return _LegendEntry(line.label, COLOURS[line.colour % len(COLOURS)], dashes or "none", f"{value:.4g}{interval}")


def _by_label(replays: Sequence[Replay]) -> dict[str, list[Replay]]:
    by_label: dict[str, list[Replay]] = {}
    for replay in replays:
        by_label.setdefault(replay.game, []).append(replay)
    return by_label


def _shown(value: Any) -> Any:
    """Returns what a template writes for a value: texts of any origin without characters that act."""
    # Exactly str: what jinja2 has escaped already is of another class.
    return printable(value) if type(value) is str else value


def _breakable(label: str) -> Markup:
    """Returns a label, escaped, that a browser may break after an opening bracket and after a comma."""
    # No character reference holds either of the two, so none is torn. Before a space it may be broken anyway.
    return Markup(re.sub(r"[(,](?=\S)", r"\g<0><wbr>", str(escape(printable(label)))))


def save_about(run: Path, sentences: Sequence[str]) -> None:
    """Keeps sentences on how a run was made in its folder, for the page."""
    run.mkdir(parents=True, exist_ok=True)
    _write_whole(run / _ABOUT, json.dumps(list(sentences)).encode())


def _nothing_accepted(chosen: Chosen) -> str:
    labels = ", ".join(dict.fromkeys(one_line(game) for game, _ in chosen.games))
    opponents = ", ".join(dict.fromkeys(one_line(opponent) for _, opponent in chosen.games))
    return (
        f"no game is as asked for: the {sum(chosen.games.values())} games up to step {chosen.last_step} are of {labels}"
        f" against {opponents}"
    )


def _saved_about(run: Path) -> list[str]:
    data = _saved_json(run / _ABOUT)
    return [str(sentence) for sentence in data] if isinstance(data, list) else []


def _saved_rows(run: Path) -> list[Row]:
    """Returns the comparison of what was saved; before the end of a run, its first half."""
    before, after = (_saved_strength(run / name) for name in ("before.json", "after.json"))
    if before is None:
        return []
    if after is None:
        return [replace(row, after="not yet", change="") for row in compare(before, before)]
    return compare(before, after)


def _saved_strength(path: Path) -> Strength | None:
    """Returns the figures in a file, or None when it is missing or of another form."""
    try:
        return Strength.load(path)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _saved_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, so that a browser never reads half a page."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _wdl(result: SeatResult) -> str:
    low, high = result.win_interval
    draws, losses = result.draws / result.games, result.losses / result.games
    return f"{result.win_rate:.0%} [{low:.0%}, {high:.0%}] / {draws:.0%} / {losses:.0%}"


def _pairing(result: SeatResult) -> tuple[str, str, str]:
    return (result.game, result.opponent, result.role)


def _change(before: SeatResult, after: SeatResult) -> str:
    if after.win_interval.low > before.win_interval.high:
        return "wins more"
    if after.win_interval.high < before.win_interval.low:
        return "wins less"
    return "within the intervals"
