"""The written result of a run: tables for the terminal, curves as a picture, and one HTML page with games to read.

Everything is made from the files of the run alone, so that a report can be made anew at any time.
"""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from spiral_trl.evaluation import SeatResult
from spiral_trl.records import JsonLines

NASH_CONV: Final = "kuhn_nash_conv"
"""The metric that holds NashConv of one-hand Kuhn poker, measured now and then during a run."""

MATCHES: Final = (
    "faults in matches against itself; wins [95 % interval] / draws / losses against the named agent;"
    " matches at temperature 0.6 and top-p 0.95, NashConv from the probabilities at temperature 1"
)
"""How to read the comparison."""

_MAX_GAMES_SHOWN: Final = 2


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
    """Returns the lines of the table, in the order of the games.

    A difference of win rates counts as real only where the two 95 % intervals do not overlap.
    """
    rows = [
        Row(f"{_short(game)}: faults a game", f"{old:.1%}", f"{after.faults[game]:.1%}", "")
        for game, old in before.faults.items()
    ]
    for old, new in zip(_with_both_seats(before.results), _with_both_seats(after.results), strict=True):
        if new.win_interval.low > old.win_interval.high:
            change = "wins more"
        elif new.win_interval.high < old.win_interval.low:
            change = "wins less"
        else:
            change = "within the intervals"
        rows.append(Row(f"{_short(new.game)}: {new.role} v {new.opponent}", _wdl(old), _wdl(new), change))
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
        table.add_row(row.measure, row.before, row.after, row.change)
    return table


def draw_curves(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """Returns the curves of a run: faults, first-seat returns, reply length, entropy, NashConv and baselines.

    Args:
        metrics: The records of `metrics.jsonl`.

    Raises:
        ValueError: There are none.
    """
    if not metrics:
        raise ValueError("there are no metrics to draw: the run has not logged a step")
    games = [name.removesuffix("/faults") for name in metrics[0] if name.endswith("/faults")]
    figure = Figure(figsize=(13, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3).flat
    panels: list[tuple[str, dict[str, str]]] = [
        ("faults a game", {game: f"{game}/faults" for game in games}),
        ("return of the first seat", {game: _first_role(metrics[0], game, "return") for game in games}),
        ("baseline of the first seat", {game: _first_role(metrics[0], game, "baseline") for game in games}),
        ("reply length in tokens", {game: f"{game}/reply_tokens" for game in games}),
        ("entropy and KL, nats a token", {"entropy": "entropy", "KL to the reference": "kl"}),
        ("NashConv, one-hand Kuhn poker", {"self-play": NASH_CONV}),
    ]
    for axis, (title, series) in zip(axes, panels, strict=True):
        for label, name in series.items():
            points = [(record["step"], record[name]) for record in metrics if record.get(name) is not None]
            if points:
                steps, values = zip(*points, strict=True)
                style = "o-" if name == NASH_CONV else "-"
                axis.plot(steps, values, style, label=_short(label), linewidth=1.3, markersize=3.5)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7)
        else:
            axis.text(0.5, 0.5, "not measured in this run", ha="center", transform=axis.transAxes, color="grey")
    return figure


def write_report(run: Path, *, rows: Sequence[Row], about: Sequence[str]) -> None:
    """Writes `curves.png` and `report.html` into the folder of a run.

    Args:
        run: The folder with `metrics.jsonl` and `games.jsonl`.
        rows: The comparison of before and after; empty when nothing was evaluated.
        about: Sentences on how the run was made: the model, the warm-up, the settings.
    """
    metrics = JsonLines(run / "metrics.jsonl").read()
    figure = draw_curves(metrics)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    (run / "curves.png").write_bytes(picture.getvalue())
    source = files("spiral_trl").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    html = page.render(
        title=run.name,
        about=about,
        rows=rows,
        how_to_read=MATCHES,
        curves=base64.b64encode(picture.getvalue()).decode(),
        games=_games_to_read(JsonLines(run / "games.jsonl").read()),
    )
    (run / "report.html").write_text(html, encoding="utf-8")


def _games_to_read(games: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the first and the last games of every kind, oldest first."""
    by_game: dict[str, list[dict[str, Any]]] = {}
    for game in games:
        by_game.setdefault(game["game"], []).append(game)
    shown: list[dict[str, Any]] = []
    for played in by_game.values():
        half = _MAX_GAMES_SHOWN // 2
        shown.extend(played[:half] + played[max(half, len(played) - half) :])
    return shown


def _with_both_seats(results: Sequence[SeatResult]) -> list[SeatResult]:
    """Returns the results, and after the seats of every pairing one for all of them together."""
    pairings: dict[tuple[str, str], list[SeatResult]] = {}
    for result in results:
        pairings.setdefault((result.game, result.opponent), []).append(result)
    listed: list[SeatResult] = []
    for seats in pairings.values():
        games = sum(result.games for result in seats)
        both = replace(
            seats[0],
            role="all seats",
            games=games,
            wins=sum(result.wins for result in seats),
            draws=sum(result.draws for result in seats),
            losses=sum(result.losses for result in seats),
            faults=sum(result.faults for result in seats),
            mean_return=sum(result.mean_return * result.games for result in seats) / games,
        )
        listed += [*seats, both]
    return listed


def _wdl(result: SeatResult) -> str:
    low, high = result.win_interval
    draws, losses = result.draws / result.games, result.losses / result.games
    return f"{result.win_rate:.0%} [{low:.0%}, {high:.0%}] / {draws:.0%} / {losses:.0%}"


def _first_role(record: Mapping[str, Any], game: str, figure: str) -> str:
    return next(name for name in record if name.startswith(f"{game}/") and name.endswith(f"/{figure}"))


def _short(game: str) -> str:
    """Returns a game's name without its version and options."""
    return game.partition("_v")[0]
