"""Pictures of a tournament as PNG.

Scores are a heatmap, ratings and seat terms forest plots, results by seat bars, and checkpoints lines over training.
"""

# Matplotlib is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spiral_envs.arena.checkpoints import trained_runs
from spiral_envs.arena.page_steps import apart, references, short_name
from spiral_envs.arena.standing_records import Matchup, Rating, SeatResult, SeatTerm
from spiral_envs.intervals import Interval
from spiral_envs.printable import one_line

WIN_COLOUR: Final = "#2166ac"

LOSS_COLOUR: Final = "#b35806"

DRAW_COLOUR: Final = "#8b929d"
"""Blue, orange and grey are told apart in every kind of colour blindness; grey paper keeps them apart by lightness."""

_RUN_COLOURS: Final = (WIN_COLOUR, LOSS_COLOUR, "#542788", "#4d4d4d")

_RUN_MARKERS: Final = "so^D"

_MAP: Final = LinearSegmentedColormap.from_list(
    "score", [LOSS_COLOUR, "#f1a340", "#fbe3c4", "#ffffff", "#cfe1f2", "#67a9cf", WIN_COLOUR]
)
"""Diverging, white at a score of one half."""

_NOTHING: Final = "#ececec"

_NAME_WIDTH: Final = 32

_NAME_LINES: Final = 3

_TITLE_WIDTH: Final = 64

_DPI: Final = 110

_BROADEST: Final = 0x24F
"""The last character of Latin Extended-B; matplotlib's own font has all up to it."""

_ALSO_DRAWN: Final = frozenset("‹›…–—−×")
"""Characters beyond, which the font has as well and `printable` or this file may write."""


@dataclass(frozen=True, slots=True)
class _Bar:
    """An estimate with its interval, as a forest plot shows it."""

    label: str
    value: float
    interval: Interval


def heatmap_picture(matchups: Sequence[Matchup], agents: Sequence[str], *, title: str) -> bytes:
    """Returns the scores of every agent against every other as PNG, the scoring agent in rows.

    Args:
        matchups: Those of one game, or those over all games. An agent that did not meet another has an empty cell.
        agents: Who is drawn, from top to bottom and from left to right.
        title: What the picture shows.

    Raises:
        ValueError: There are no agents.
    """
    if not agents:
        raise ValueError("a heatmap needs at least one agent")
    number = len(agents)
    names = [wrapped_name(agent) for agent in agents]
    height = sum(max(0.5, 0.19 * (name.count("\n") + 1)) for name in names)
    figure = _figure(0.72 * number + 3.9, height + 1.5)
    axis = figure.add_subplot()
    shares = [[math.nan] * number for _ in agents]
    position = {agent: index for index, agent in enumerate(agents)}
    small = number > 8
    for matchup in matchups:
        if matchup.first not in position or matchup.second not in position:
            continue
        row, column = position[matchup.first], position[matchup.second]
        shares[row][column] = matchup.score
        _cell_text(axis, row, column, matchup, size=6.3 if small else 7.5)
    axis.set_facecolor(_NOTHING)
    image = axis.imshow(shares, cmap=_MAP, vmin=0, vmax=1, aspect="auto")
    axis.set_yticks(range(number), [f"{name}   {index + 1}" for index, name in enumerate(names)], parse_math=False)
    axis.set_xticks(range(number), [str(index + 1) for index in range(number)])
    axis.xaxis.tick_top()
    axis.tick_params(length=0, labelsize=8.5)
    axis.set_xlabel("against number … of the rows", fontsize=8.5)
    axis.xaxis.set_label_position("top")
    _title(axis, title)
    for side in axis.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axis, fraction=0.05, pad=0.02, aspect=24)
    bar.set_label("score", fontsize=7.5)
    bar.ax.tick_params(labelsize=7.5)
    figure.supxlabel(
        "Score: 1 all won, 0.5 even, 0 all lost; below it the 95 % interval.\n"
        "Bold: the interval excludes 0.5. Grey: did not play each other.",
        fontsize=7.5,
    )
    return _png(figure)


def ratings_picture(ratings: Sequence[Rating], *, title: str = "Ratings") -> bytes:
    """Returns a forest plot of the ratings as PNG, in the order given.

    Raises:
        ValueError: There are no ratings.
    """
    has_groups = len({rating.group for rating in ratings}) > 1
    bars = [
        _Bar(
            f"{rating.agent} (group {rating.group + 1})" if has_groups else rating.agent, rating.rating, rating.interval
        )
        for rating in ratings
    ]
    return _forest(bars, title=f"{title}, with 95 % intervals", unit="Elo points")


def seat_terms_picture(terms: Sequence[SeatTerm]) -> bytes:
    """Returns a forest plot of what the first seat is worth, as PNG, a line a game.

    Raises:
        ValueError: There are no terms.
    """
    bars = [_Bar(f"{term.game}, as {term.first_role}", term.effect, term.interval) for term in terms]
    return _forest(bars, title="What the first seat is worth, with 95 % intervals", unit="Elo points")


def seats_picture(seats: Sequence[SeatResult]) -> bytes:
    """Returns shares of wins, draws and losses by seat as PNG, stacked bars in a panel a game.

    Raises:
        ValueError: There are no results.
    """
    if not seats:
        raise ValueError("a picture of results by seat needs at least one result")
    by_game: dict[str, list[SeatResult]] = {}
    for seat in seats:
        by_game.setdefault(seat.game, []).append(seat)
    heights = [0.75 + sum(_line_height(_seat_label(seat)) for seat in results) for results in by_game.values()]
    figure = _figure(8.2, sum(heights) + 0.5)
    axes = list(figure.subplots(len(by_game), 1, squeeze=False, height_ratios=heights).flat)
    for axis, (game, results) in zip(axes, by_game.items(), strict=True):
        _draw_seats(axis, game, results)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    return _png(figure)


def steps_picture(panels: Sequence[tuple[str, Sequence[Rating]]]) -> bytes:
    """Returns ratings of checkpoints over training steps as PNG, a panel for each title and its ratings.

    Other agents are dashed lines, as long as they are few enough to be told apart.

    Raises:
        ValueError: There is no run with two checkpoints in a panel.
    """
    figure = _figure(8.2, 3.1 * len(panels) + 0.4)
    axes = list(figure.subplots(max(1, len(panels)), 1, squeeze=False).flat)
    if not panels or not all(trained_runs(ratings) for _, ratings in panels):
        raise ValueError("a picture over training steps needs at least one run with two checkpoints")
    for axis, (title, ratings) in zip(axes, panels, strict=True):
        _draw_steps(axis, title, ratings)
    return _png(figure)


def wrapped_name(name: str, width: int = _NAME_WIDTH) -> str:
    """Returns a name over at most three lines of this many characters, all of which can be drawn.

    The middle of a longer name gives way to a note of how long the name is, so that both its ends, in which names
    differ, are seen.
    """
    plain = "".join(
        character if ord(character) <= _BROADEST or character in _ALSO_DRAWN else f"‹U+{ord(character):04X}›"
        for character in one_line(name)
    )
    most = width * _NAME_LINES
    if len(plain) > most:
        note = f" … [{len(plain)} characters] … "
        kept = most - len(note) - width // 2
        plain = plain[: kept * 2 // 3] + note + plain[-(kept - kept * 2 // 3) :]
    return "\n".join(textwrap.wrap(plain, width, break_on_hyphens=False)) or "(no name)"


def _cell_text(axis: Axes, row: int, column: int, matchup: Matchup, *, size: float) -> None:
    low, high = matchup.interval
    is_clear = low > 0.5 or high < 0.5
    colour = "white" if abs(matchup.score - 0.5) > 0.43 else "black"
    axis.text(
        column,
        row - 0.14,
        f"{matchup.score:.2f}",
        ha="center",
        va="center",
        fontsize=size + 1.5,
        color=colour,
        fontweight="bold" if is_clear else "normal",
    )
    axis.text(column, row + 0.22, f"{low:.2f}–{high:.2f}", ha="center", va="center", fontsize=size, color=colour)


def _forest(bars: Sequence[_Bar], *, title: str, unit: str) -> bytes:
    if not bars:
        raise ValueError("a forest plot needs at least one estimate")
    names = [wrapped_name(bar.label) for bar in bars]
    heights = [_line_height(name) for name in names]
    figure = _figure(8.2, sum(heights) + 1.1)
    axis = figure.add_subplot()
    positions = _positions(heights)
    for position, bar in zip(positions, bars, strict=True):
        low, high = bar.interval
        axis.plot([low, high], [position, position], color=WIN_COLOUR, linewidth=1.6, solid_capstyle="butt")
        axis.plot([bar.value], [position], color=WIN_COLOUR, marker="s", markersize=5.5)
    axis.axvline(0, color="#7f7f7f", linewidth=0.8, linestyle=(0, (3, 3)))
    axis.set_yticks(positions, names, parse_math=False)
    axis.set_ylim(sum(heights), 0)
    right = axis.secondary_yaxis("right")
    right.set_yticks(positions, [_estimate(bar) for bar in bars])
    right.tick_params(length=0, labelsize=8)
    right.spines["right"].set_visible(False)
    axis.xaxis.set_major_locator(MaxNLocator(7))
    axis.tick_params(labelsize=8.5)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(unit, fontsize=8.5)
    axis.grid(axis="x", alpha=0.25, linewidth=0.6)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    _title(axis, title)
    return _png(figure)


def _draw_seats(axis: Axes, game: str, results: Sequence[SeatResult]) -> None:
    labels = [wrapped_name(_seat_label(seat)) for seat in results]
    heights = [_line_height(_seat_label(seat)) for seat in results]
    positions = _positions(heights)
    left = [0.0] * len(results)
    parts = {
        "won": ([seat.wins for seat in results], WIN_COLOUR, "white"),
        "drawn": ([seat.draws for seat in results], DRAW_COLOUR, "black"),
        "lost": ([seat.losses for seat in results], LOSS_COLOUR, "white"),
    }
    for name, (counts, colour, ink) in parts.items():
        shares = [count / max(1, seat.games) for count, seat in zip(counts, results, strict=True)]
        axis.barh(positions, shares, left=left, height=0.24, color=colour, edgecolor="white", linewidth=0.6, label=name)
        for position, start, share, count in zip(positions, left, shares, counts, strict=True):
            if share >= 0.06:
                axis.text(start + share / 2, position, str(count), ha="center", va="center", fontsize=7.5, color=ink)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axis.set_yticks(positions, labels, parse_math=False)
    axis.set_ylim(sum(heights), 0)
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axis.tick_params(labelsize=8.5)
    axis.tick_params(axis="y", length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    _title(axis, game)


def _draw_steps(axis: Axes, title: str, ratings: Sequence[Rating]) -> None:
    runs = trained_runs(ratings)
    for number, run in enumerate(runs):
        colour, marker = _RUN_COLOURS[number % len(_RUN_COLOURS)], _RUN_MARKERS[number % len(_RUN_MARKERS)]
        values = [rating.rating for rating in run.ratings]
        below = [max(0.0, rating.rating - rating.interval.low) for rating in run.ratings]
        above = [max(0.0, rating.interval.high - rating.rating) for rating in run.ratings]
        label = wrapped_name(run.name, _TITLE_WIDTH)
        axis.errorbar(
            run.steps, values, (below, above), color=colour, marker=marker, markersize=5, linewidth=1.6, label=label
        )
    others = references(ratings, runs)
    for other in others:
        axis.axhline(other.rating, color="#7f7f7f", linewidth=0.8, linestyle=(0, (3, 3)), zorder=1)
    if others:
        _name_references(axis, others)
    axis.set_xlabel("training step", fontsize=8.5)
    axis.set_ylabel("Elo points", fontsize=8.5)
    axis.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axis.tick_params(labelsize=8.5)
    axis.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    _title(axis, title)
    legend = axis.legend(fontsize=7.5, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2))
    for text in legend.get_texts():
        text.set_parse_math(False)


def _name_references(axis: Axes, others: Sequence[Rating]) -> None:
    """Writes the names of the dashed lines at the right, far enough apart to be read."""
    lowest, highest = axis.get_ylim()
    values = sorted(other.rating for other in others)
    names = {place: other.agent for place, other in enumerate(sorted(others, key=lambda other: other.rating))}
    right = axis.secondary_yaxis("right")
    places = apart(values, 0.07 * (highest - lowest))
    right.set_yticks(places, [wrapped_name(short_name(names[place])) for place in range(len(places))], parse_math=False)
    right.tick_params(length=0, labelsize=8)
    right.spines["right"].set_visible(False)


def _seat_label(seat: SeatResult) -> str:
    return f"{seat.agent}, as {seat.role}"


def _line_height(name: str) -> float:
    """Returns the inches that a line of a picture takes with this label."""
    return max(0.34, 0.17 * (wrapped_name(name).count("\n") + 1) + 0.06)


def _positions(heights: Sequence[float]) -> list[float]:
    """Returns the middle of every line, from the top."""
    return [sum(heights[:index]) + height / 2 for index, height in enumerate(heights)]


def _estimate(bar: _Bar) -> str:
    low, high = bar.interval
    return f"{bar.value:+.0f}  [{low:+.0f}, {high:+.0f}]".replace("-", "−")


def _title(axis: Axes, title: str) -> None:
    axis.set_title(wrapped_name(title, _TITLE_WIDTH), fontsize=9.5, loc="left", fontweight="bold", parse_math=False)


def _figure(width: float, height: float) -> Figure:
    """Returns an empty figure of this size in inches, which no global state knows."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DPI)
    return picture.getvalue()
