"""The curves of a run: which panels there are, which lines each has, and how they are drawn."""

# Matplotlib is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import io
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from spiral_envs.printable import one_line
from spiral_trl.run_files import (
    NASH_CONV_PREFIX,
    OTHER_MASS_SUFFIX,
    Curve,
    GameFigure,
    Metrics,
    short_label,
    short_labels,
)

_UNIFORM_NASH_CONV: Final = {
    # Against one who passes and bets equally often, the best answer earns -1/2, 1/2 and 3/2 chips with jack, queen and
    # king from the first seat, 1/2 on average, and -3/4, 1/4 and 7/4 from the second, 5/12: together 11/12.
    "kuhn_poker_v0(hands=1,payoff=chips)": 11 / 12,
}
"""NashConv of a player who takes every legal move with the same probability, for the games where it is known."""

COLOURS: Final = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc5fa0",
    "#b8860b",
    "#56a5d8",
    "#8c564b",
    "#6a3d9a",
    "#5f7a1f",
    "#7f7f7f",
)
"""Colours of lines that can be told apart on white and, inverted, on black."""

DASHES: Final = ("", "5 2", "1.5 2", "7 2 1.5 2")
"""Kinds of lines as dashes and gaps in points; the first is solid."""

SMOOTHED_FROM: Final = 40
"""From so many points on, a line is drawn thin, with its moving mean over a twentieth of them."""

REFERENCE_COLOUR: Final = "#7f7f7f"

REFERENCE_DASHES: Final = "2 2"

_MAX_THIN_LINES: Final = 8

_PANEL_INCHES: Final = (4.3, 2.5)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel.

    Attributes:
        label: What it shows.
        curve: Where it runs.
        colour: An index into `COLOURS`.
        dash: An index into `DASHES`.
        low: The lower end of the interval of every value; empty without intervals.
        high: The upper ends.
    """

    label: str
    curve: Curve
    colour: int
    dash: int = 0
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Reference(NamedTuple):
    """A value that the lines of a panel are compared with.

    Attributes:
        label: What has this value.
        value: The value.
    """

    label: str
    value: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: a subject and its lines.

    Attributes:
        title: The subject, with its unit.
        lines: At least one line.
        is_log: Whether the values are drawn on a logarithmic axis.
        starts_at_zero: Whether the axis of the values begins at 0, which none of them is below.
        reference: A value to compare with, drawn as a thin level line; None without one.
    """

    title: str
    lines: tuple[Line, ...]
    is_log: bool = False
    starts_at_zero: bool = False
    reference: Reference | None = None


def panels(metrics: Metrics) -> list[Panel]:
    """Returns the panels for which the run has figures."""
    found = metrics.game_figures()
    short = short_labels(metrics.games)
    drawn = [
        _nash_conv_panel(metrics),
        Panel("Wins against agents, with 95 % interval", _evaluation_lines(metrics)),
        Panel("Score against league snapshots, 0 to 1", _league_lines(metrics)),
        Panel("Return by role, against itself", _by_role(found, short, "return", is_self=True)),
        Panel("Baseline by role, against itself", _by_role(found, short, "baseline", is_self=True)),
        Panel("Return against other opponents", _by_role(found, short, "return", is_self=False)),
        Panel("Baseline against other opponents", _by_role(found, short, "baseline", is_self=False)),
        Panel("Baseline of all games together", _plain(metrics, {"baseline": "global/baseline"})),
        Panel("Draws against itself, share of games", _draw_lines(found, short)),
        Panel("Faults a game, by game", _by_game(found, short, "faults")),
        Panel("Faults a game, by reason", _reason_lines(metrics, found)),
        Panel("Reply length, tokens", _by_game(found, short, "reply_tokens")),
        Panel("Replies without reasoning, share", _by_game(found, short, "empty_reasoning")),
        Panel("Turns of each game, share of the batch", _by_game(found, short, "share_of_turns")),
        Panel("Entropy, nats a token", _plain(metrics, {"entropy": "entropy"})),
        Panel("KL to the reference, nats a token", _plain(metrics, {"KL": "kl"})),
        Panel(
            "Gap of sampler and trainer, nats a token",
            _plain(metrics, {"mean": "sampling/logprob_gap_mean", "largest": "sampling/logprob_gap_max"}),
            is_log=True,
        ),
        Panel(
            "Importance ratio",
            _plain(metrics, {"mean": "sampling/ratio_mean", "share truncated": "sampling/ratio_truncated"}),
        ),
        Panel("Most mass off legal moves", _nash_conv_lines(metrics, is_other_mass=True)),
        Panel("Loss", _plain(metrics, {"loss": "loss"})),
        Panel("Gradient norm", _plain(metrics, {"gradient norm": "grad_norm"})),
        Panel("Learning rate", _plain(metrics, {"learning rate": "learning_rate"})),
        Panel("Speed of play, tokens a second", _plain(metrics, {"tokens a second": "play_tokens_per_s"})),
        Panel("Time of a step, seconds", _plain(metrics, {"whole step": "step_time", "playing": "play_time_s"})),
    ]
    return [panel for panel in drawn if panel.lines]


def draw_curves(metrics: Metrics) -> Figure:
    """Returns all panels of a run in one picture, for where a page is too much.

    Raises:
        ValueError: There is nothing to draw.
    """
    drawn = panels(metrics)
    if not drawn:
        raise ValueError("there are no metrics to draw: the run has not logged a step")
    num_rows = math.ceil(len(drawn) / 3)
    figure = Figure(figsize=(15, 3.3 * num_rows), layout="constrained")
    FigureCanvasAgg(figure)
    cells = list(figure.subplots(num_rows, 3, squeeze=False).flat)
    for axis, panel in zip(cells, drawn, strict=False):
        _draw(axis, panel)
        axis.set_title(panel.title, fontsize=10, parse_math=False)
        handles = [axis.lines[index] for index in _main_lines(panel)]
        labels = [_drawable(line.label) for line in panel.lines]
        if panel.reference is not None:
            handles.append(axis.lines[-1])
            labels.append(_drawable(panel.reference.label))
        legend = axis.legend(
            handles=handles,
            labels=labels,
            fontsize=6.5,
            framealpha=0.6,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    for axis in cells[len(drawn) :]:
        axis.set_axis_off()
    return figure


def panel_picture(panel: Panel) -> bytes:
    """Returns one panel as PNG, without title and legend, black on nothing."""
    figure = Figure(figsize=_PANEL_INCHES)
    FigureCanvasAgg(figure)
    # Margins by hand: matplotlib's own layout takes longer than the drawing.
    axis = figure.add_axes((0.135, 0.2, 0.845, 0.76))
    axis.patch.set_alpha(0)
    _draw(axis, panel)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=170, transparent=True)
    return picture.getvalue()


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """Returns for every value the mean over at most `width // 2` neighbours on each side, as many on both."""
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    count = len(values)
    means: list[float] = []
    for index in range(count):
        half = min(width // 2, index, count - 1 - index)
        means.append(float(sums[index + half + 1] - sums[index - half]) / (2 * half + 1))
    return means


def _draw(axis: Axes, panel: Panel) -> None:
    has_thin_lines = len(panel.lines) <= _MAX_THIN_LINES
    all_have_markers = max(len(line.curve.values) for line in panel.lines) < SMOOTHED_FROM
    if panel.is_log and all(min(line.curve.values) > 0 for line in panel.lines):
        axis.set_yscale("log")
    for line in panel.lines:
        colour = COLOURS[line.colour % len(COLOURS)]
        style = _style(DASHES[line.dash % len(DASHES)])
        steps, values = line.curve
        is_smoothed = len(values) >= SMOOTHED_FROM
        if line.low:
            axis.fill_between(steps, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
        if is_smoothed and has_thin_lines:
            axis.plot(steps, values, color=colour, linewidth=0.6, alpha=0.3)
        drawn = smoothed(values, len(values) // 20) if is_smoothed else values
        # A line through a single point is only its marker.
        marker = "o" if all_have_markers or len(values) == 1 else None
        axis.plot(steps, drawn, color=colour, linestyle=style, linewidth=1.5, marker=marker, markersize=2.8)
    if panel.reference is not None:
        axis.axhline(panel.reference.value, color=REFERENCE_COLOUR, linewidth=0.8, linestyle=_style(REFERENCE_DASHES))
    if panel.starts_at_zero:
        highest = float(axis.dataLim.y1)
        axis.set_ylim(0, 1.06 * highest if highest > 0 else 1)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    # Whole numbers at the ticks: a common factor would stand above the axis, where there is no room.
    axis.yaxis.set_major_formatter(FuncFormatter(_tick_label))
    axis.tick_params(labelsize=8.5)
    axis.set_xlabel("step", fontsize=8.5)
    axis.xaxis.set_label_coords(1.0, -0.15)
    axis.xaxis.label.set_horizontalalignment("right")
    axis.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _style(dashes: str) -> str | tuple[float, tuple[float, ...]]:
    """Returns a kind of line as matplotlib says it."""
    return (0, tuple(float(each) for each in dashes.split())) if dashes else "-"


def _tick_label(value: float, _: int) -> str:
    return f"{value:.4g}"


def _main_lines(panel: Panel) -> list[int]:
    """Returns which of the lines that `_draw` draws stand for the panel's lines; the others are thin."""
    indices: list[int] = []
    count = 0
    for line in panel.lines:
        if len(line.curve.values) >= SMOOTHED_FROM and len(panel.lines) <= _MAX_THIN_LINES:
            count += 1
        indices.append(count)
        count += 1
    return indices


def _drawable(label: str) -> str:
    """Returns a label with only those characters that matplotlib's own font has, and not too long."""
    plain = re.sub(r"[^\x20-\x7e\u00a0-\u024f‹›]", "?", one_line(label))
    return plain if len(plain) <= 60 else f"{plain[:57]}..."


def _by_game(found: Mapping[GameFigure, Curve], short: Mapping[str, str], figure: str) -> tuple[Line, ...]:
    return tuple(
        Line(name, found[about], colour)
        for colour, (game, name) in enumerate(short.items())
        if (about := GameFigure(game, None, None, figure)) in found
    )


def _by_role(
    found: Mapping[GameFigure, Curve], short: Mapping[str, str], figure: str, *, is_self: bool
) -> tuple[Line, ...]:
    """Returns a line for every role of every pairing: a colour a pairing, a kind of line a role."""
    wanted = [about for about in found if about.figure == figure and about.role is not None]
    wanted = [about for about in wanted if (about.against is None) == is_self]
    colour_of = _index([(about.game, about.against) for about in wanted])
    roles: dict[str, list[str]] = defaultdict(list)
    for about in found:
        if about.role is not None and about.role not in roles[about.game]:
            roles[about.game].append(about.role)
    return tuple(
        Line(
            f"{short[about.game]} {about.role}" + (f" vs {about.against}" if about.against else ""),
            found[about],
            colour_of[about.game, about.against],
            roles[about.game].index(about.role or ""),
        )
        for about in wanted
    )


def _draw_lines(found: Mapping[GameFigure, Curve], short: Mapping[str, str]) -> tuple[Line, ...]:
    """Returns the draws of every game, which are the same for all its roles."""
    lines: dict[str, Line] = {}
    games = list(short)
    for about, curve in found.items():
        if about.figure == "draw" and about.against is None and about.game not in lines:
            lines[about.game] = Line(short[about.game], curve, games.index(about.game))
    return tuple(lines.values())


def _reason_lines(metrics: Metrics, found: Mapping[GameFigure, Curve]) -> tuple[Line, ...]:
    """Returns faults a game by reason over all games, each weighted by its share of the games of the step."""
    reasons = dict.fromkeys(about.figure for about in found if about.figure.startswith("faults/"))
    lines: list[Line] = []
    for colour, reason in enumerate(reasons):
        sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for game in metrics.games:
            faults = found.get(GameFigure(game, None, None, reason))
            shares = found.get(GameFigure(game, None, None, "share_of_games"))
            weight_at = dict(zip(*shares, strict=True)) if shares else {}
            for step, value in zip(*faults, strict=True) if faults else ():
                weight = weight_at.get(step, 1.0)
                sums[step][0] += weight * value
                sums[step][1] += weight
        points = [(step, total / weight) for step, (total, weight) in sorted(sums.items()) if weight > 0]
        if any(value > 0 for _, value in points):
            steps, values = zip(*points, strict=True)
            lines.append(Line(reason.removeprefix("faults/").replace("_", " "), Curve(steps, values), colour))
    return tuple(lines)


def _plain(metrics: Metrics, series: Mapping[str, str]) -> tuple[Line, ...]:
    curves = {label: metrics.curve(name) for label, name in series.items()}
    return tuple(Line(label, curve, colour) for colour, (label, curve) in enumerate(curves.items()) if curve)


def _prefixed(
    metrics: Metrics, prefix: str, suffix: str, label_of: Callable[[Sequence[str]], Mapping[str, str]]
) -> tuple[Line, ...]:
    middles = [
        name.removeprefix(prefix).removesuffix(suffix)
        for name in metrics.names
        if name.startswith(prefix) and name.endswith(suffix)
    ]
    labels = label_of(middles)
    curves = {middle: metrics.curve(f"{prefix}{middle}{suffix}") for middle in middles}
    return tuple(Line(labels[middle], curve, colour) for colour, (middle, curve) in enumerate(curves.items()) if curve)


def _nash_conv_panel(metrics: Metrics) -> Panel:
    known = [value for game, value in _UNIFORM_NASH_CONV.items() if metrics.curve(f"{NASH_CONV_PREFIX}{game}")]
    return Panel(
        "NashConv, 0 is perfect play",
        _nash_conv_lines(metrics, is_other_mass=False),
        starts_at_zero=True,
        reference=Reference("kuhn_poker, uniform play", known[0]) if known else None,
    )


def _nash_conv_lines(metrics: Metrics, *, is_other_mass: bool) -> tuple[Line, ...]:
    if is_other_mass:
        return _prefixed(metrics, NASH_CONV_PREFIX, OTHER_MASS_SUFFIX, short_labels)
    lines = _prefixed(metrics, NASH_CONV_PREFIX, "", lambda names: {name: name for name in names})
    kept = [line for line in lines if not line.label.endswith(OTHER_MASS_SUFFIX)]
    labels = short_labels([line.label for line in kept])
    return tuple(Line(labels[line.label], line.curve, colour) for colour, line in enumerate(kept))


def _league_lines(metrics: Metrics) -> tuple[Line, ...]:
    return _prefixed(metrics, "league/", "/score", lambda names: {name: f"snapshot of step {name}" for name in names})


def _evaluation_lines(metrics: Metrics) -> tuple[Line, ...]:
    """Returns the share of wins over all seats, with its 95 % interval, for every pairing."""
    lines: list[Line] = []
    for line in _prefixed(metrics, "eval/", "/win_rate", lambda names: {name: name for name in names}):
        game, _, agent = line.label.partition(" vs ")
        low, high = (_values_at(metrics, f"eval/{line.label}/{end}", line.curve.steps) for end in ("low", "high"))
        if not (low and high):
            low = high = ()
        lines.append(replace(line, label=f"{short_label(game)} vs {agent}", low=low, high=high))
    return tuple(lines)


def _values_at(metrics: Metrics, name: str, steps: Sequence[int]) -> tuple[float, ...]:
    """Returns the values of a figure at exactly these steps; none when it was logged at others."""
    curve = metrics.curve(name)
    return tuple(curve.values) if curve and list(curve.steps) == list(steps) else ()


def _index(keys: Iterable[tuple[str, str | None]]) -> dict[tuple[str, str | None], int]:
    return {key: index for index, key in enumerate(dict.fromkeys(keys))}
