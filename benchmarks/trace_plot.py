"""Pictures of how often replies show each kind of reasoning."""

# Matplotlib is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from benchmarks.trace_shares import KINDS, Cell, Source
from spiral_envs.printable import one_line

_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#7f7f7f", "#cc5fa0")

_MARKERS: Final = ("o", "s", "^", "v", "D")

_MAX_TITLE_CHARS: Final = 60


def draw_shares(cells: Sequence[Cell]) -> Figure:
    """Returns one panel a source: lines over the steps of a training run, or the shares of an agent."""
    sources = list(dict.fromkeys(cell.source for cell in cells))
    num_columns = min(2, len(sources))
    num_rows = math.ceil(len(sources) / num_columns)
    figure = Figure(figsize=(6.5 * num_columns, 3.4 * num_rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(num_rows, num_columns, squeeze=False, sharey=True).flat)
    for axis, source in zip(axes, sources, strict=False):
        own = [cell for cell in cells if cell.source == source]
        if own[0].steps is None:
            _draw_points(axis, own[0])
        else:
            _draw_lines(axis, own)
        axis.set_title(_title(source, own), fontsize=9, parse_math=False)
        axis.set_ylim(-0.03, 1.03)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.grid(alpha=0.25, linewidth=0.6)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    for axis in axes[len(sources) :]:
        axis.set_axis_off()
    figure.suptitle("Kinds of reasoning: share of replies, with 95 % intervals", fontsize=11)
    return figure


def _draw_lines(axis: Axes, cells: Sequence[Cell]) -> None:
    """Draws a line for every kind through the middles of the stretches."""
    middles = [sum(cell.steps) / 2 for cell in cells if cell.steps is not None]
    for kind, colour, marker in zip(KINDS, _COLOURS, _MARKERS, strict=True):
        shares = [cell.shares[kind] for cell in cells]
        values = [share.share for share in shares]
        lows = [share.interval.low if share.interval else share.share for share in shares]
        highs = [share.interval.high if share.interval else share.share for share in shares]
        axis.fill_between(middles, lows, highs, color=colour, alpha=0.15, linewidth=0)
        axis.plot(middles, values, color=colour, marker=marker, markersize=4, linewidth=1.4, label=kind)
    axis.set_xlabel("step", fontsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.legend(fontsize=7.5, framealpha=0.6)


def _draw_points(axis: Axes, cell: Cell) -> None:
    for place, (kind, colour, marker) in enumerate(zip(KINDS, _COLOURS, _MARKERS, strict=True)):
        share = cell.shares[kind]
        if share.interval is not None:
            axis.vlines(place, share.interval.low, share.interval.high, color=colour, linewidth=2)
        axis.plot(place, share.share, marker=marker, color=colour, markersize=7)
    axis.set_xticks(range(len(KINDS)), KINDS, fontsize=8)
    axis.set_xlim(-0.5, len(KINDS) - 0.5)


def _title(source: Source, cells: Sequence[Cell]) -> str:
    name = one_line(", ".join(source))
    short = name if len(name) <= _MAX_TITLE_CHARS else f"{name[: _MAX_TITLE_CHARS - 1]}…"
    return f"{short}: {sum(cell.replies for cell in cells):,} replies"
