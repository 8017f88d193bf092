"""Axes of the page of a tournament: places in percent, marks at round numbers, and figures as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from spiral_envs.intervals import Interval

_MOST_TICKS: Final = 6


class Tick(NamedTuple):
    """A mark of an axis: its text and its place in percent."""

    text: str
    place: str


class Span(NamedTuple):
    """An interval on an axis, its ends and its estimate in percent of the axis."""

    low: str
    high: str
    width: str
    value: str


class Scale:
    """An axis that holds all values, in percent of its length."""

    def __init__(self, values: Iterable[float]) -> None:
        """Makes an axis with a margin at both ends; values that are not finite stand at an end of it."""
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(finite), max(finite)
        margin = 0.06 * (high - low) or 1.0
        self._low, self._high = low - margin, high + margin

    def place(self, value: float) -> str:
        """Returns where a value stands; one beyond the axis stands at its end."""
        return percent(self.share(value))

    def span(self, value: float, interval: Interval) -> Span:
        """Returns where an estimate and its interval stand."""
        low, high = self.share(interval.low), self.share(interval.high)
        return Span(percent(low), percent(high), percent(high - low), self.place(value))

    def ticks(self) -> tuple[Tick, ...]:
        """Returns the marks of an axis of Elo points."""
        return tuple(Tick(elo_text(number), self.place(number)) for number in self.marks())

    def marks(self) -> list[float]:
        """Returns up to six round numbers on the axis, as many as fit."""
        low, high = (self._low + share * (self._high - self._low) for share in (0.04, 0.96))
        step = next(step for step in _round_steps((high - low) / _MOST_TICKS) if _count(low, high, step) <= _MOST_TICKS)
        return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]

    def share(self, value: float) -> float:
        """Returns where a value stands, 0 to 100."""
        if math.isnan(value):
            return self.share(0.0)
        return 100 * (min(self._high, max(self._low, value)) - self._low) / (self._high - self._low)


def elo_text(value: float) -> str:
    """Returns a figure in Elo points with its sign."""
    if not math.isfinite(value):
        return "unknown"
    # Without this a value just below 0 would read −0.
    text = f"{round(value):+d}"
    return "0" if round(value) == 0 else text.replace("-", "−")


def interval_text(interval: Interval) -> str:
    """Returns an interval in Elo points."""
    return f"[{elo_text(interval.low)}, {elo_text(interval.high)}]"


def percent(value: float) -> str:
    """Returns a length of the page."""
    return f"{value:.2f}%"


def _round_steps(least: float) -> Iterable[float]:
    """Yields 1, 2 and 5 times the powers of ten from the one that is not above `least` on; whole numbers only."""
    power = max(1.0, 10.0 ** math.floor(math.log10(least)))
    while True:
        yield from (factor * power for factor in (1, 2, 5))
        power *= 10


def _count(low: float, high: float, step: float) -> int:
    return math.floor(high / step) - math.ceil(low / step) + 1
