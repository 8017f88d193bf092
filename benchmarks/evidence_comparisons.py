"""Which differences between trainings are shown, and how they are told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from statistics import fmean, stdev
from typing import Final, NamedTuple

from benchmarks.reasoning_statistics import holm
from spiral_envs.intervals import mean_interval

MOST_ROWS: Final = 20

_LEVEL: Final = 0.05


class Effect(Enum):
    """What the interval of a difference says."""

    HIGHER = auto()
    """It is above 0."""

    LOWER = auto()
    """It is below 0."""

    NOT_SHOWN = auto()
    """It holds 0, or there is none because there is one seed."""

    @property
    def reverse(self) -> Effect:
        """The effect on what is the less the higher this is."""
        return {Effect.HIGHER: Effect.LOWER, Effect.LOWER: Effect.HIGHER}.get(self, self)


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: Over the seeds.
        low: The lower end of its 95 % interval by Student's t; None with a single seed.
        high: The upper end.
        values: Those of the seeds.
    """

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Returns the mean of at least one value."""
        low, high = mean_interval(values) if len(values) > 1 else (None, None)
        return cls(fmean(values), low, high, tuple(values))

    def within(self, lowest: float, highest: float = math.inf) -> Estimate:
        """Returns the same with an interval that holds no value that cannot be."""
        low, high = (None if each is None else min(max(each, lowest), highest) for each in (self.low, self.high))
        return Estimate(self.mean, low, high, self.values)

    def text(self, form: str) -> str:
        """Returns the mean and its interval, each in the form of a format specification."""
        if self.low is None or self.high is None:
            return format(self.mean, form)
        return f"{self.mean:{form}} [{self.low:{form}}, {self.high:{form}}]"


class Comparison(NamedTuple):
    """A figure in two conditions.

    Attributes:
        what: The figure.
        first: The one condition.
        second: The other.
        difference: By how much it is higher in the first, or the logarithm of how many times it is.
        text: The difference as it is written.
    """

    what: str
    first: str
    second: str
    difference: Estimate
    text: str

    @property
    def effect(self) -> Effect:
        """What the interval says."""
        _, low, high, _ = self.difference
        if low is not None and low > 0:
            return Effect.HIGHER
        if high is not None and high < 0:
            return Effect.LOWER
        return Effect.NOT_SHOWN


def p_value(values: Sequence[float]) -> float:
    """Returns the two-sided p-value of Student's t-test of at least two values against a mean of 0.

    Source: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
    """
    freedom, mean, deviation = len(values) - 1, fmean(values), stdev(values)
    if deviation == 0:
        return 0.0 if mean else 1.0
    angle = math.atan(abs(mean) / deviation * math.sqrt(len(values) / freedom))
    odd = freedom % 2
    # The terms of a series in the cosine, whose exponent grows by two.
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for exponent in range(odd, freedom - 1, 2):
        total += term
        term *= (exponent + 1) / (exponent + 2) * math.cos(angle) ** 2
    inside = (angle + math.sin(angle) * total) * 2 / math.pi if odd else math.sin(angle) * total
    return max(0.0, 1 - inside)


def comparison_table(comparisons: Sequence[Comparison]) -> list[str]:
    """Returns the lines of a Markdown table of comparisons, and of a sentence on how many of them are shown.

    Of more than `MOST_ROWS` only those that are shown have a row.
    """
    if any(each.difference.low is None for each in comparisons):
        corrected = [1.0] * len(comparisons)
        counted = "One seed shows nothing: there are no intervals."
    else:
        corrected = holm([p_value(each.difference.values) for each in comparisons])
        shown = sum(each.effect is not Effect.NOT_SHOWN for each in comparisons)
        counted = (
            f"{shown} of {len(comparisons)} differences are shown; about {len(comparisons) * _LEVEL:.1f} would be by"
            f" chance where nothing differs. {sum(each < _LEVEL for each in corrected)} stand after Holm's correction."
        )
    words = {Effect.HIGHER: "higher", Effect.LOWER: "lower", Effect.NOT_SHOWN: "not shown"}
    rows = [
        f"| {each.what} | {each.first} | {each.second} | {each.text} |"
        f" {words[each.effect]}{', also corrected' if p < _LEVEL else ''} |"
        for each, p in zip(comparisons, corrected, strict=True)
        if len(comparisons) <= MOST_ROWS or each.effect is not Effect.NOT_SHOWN
    ]
    if not rows:
        return [counted]
    headings = ["| figure | of | compared with | by how much | which is |", "| --- | --- | --- | --- | --- |"]
    return [*headings, *rows, "", counted]


def by_effect(
    effects: Mapping[str, Effect],
    words: Mapping[Effect, str],
    not_shown: str,
    *,
    after: bool = False,
    everybody: str | None = None,
) -> str:
    """Returns names grouped by effect: `closer than A, B; no difference shown from C`.

    Args:
        effects: By name.
        words: How the effects that are shown are told.
        not_shown: How the others are told.
        after: Whether the words come after the names.
        everybody: What stands for all names together, where they are more than two; None to list them.
    """
    told = {**words, Effect.NOT_SHOWN: not_shown}
    groups = {how: [name for name, each in effects.items() if each is effect] for effect, how in told.items()}
    told_groups: list[str] = []
    for how, names in groups.items():
        if names:
            is_everybody = everybody is not None and 2 < len(names) == len(effects)
            listed = everybody if is_everybody else _listed(names)
            told_groups.append(f"{listed}: {how}" if after else f"{how} {listed}")
    return "; ".join(told_groups)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
