"""How far rules and a judge agree on which kinds of reasoning replies show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.trace_rules import Category
from spiral_envs.intervals import Interval


class Judged(NamedTuple):
    """A reply that rules and judge have both read.

    Attributes:
        game: Identifies the game it comes from; replies of one game depend on each other.
        by_rules: The categories that the rules find.
        by_judge: Those that the judge finds.
    """

    game: str
    by_rules: frozenset[Category]
    by_judge: frozenset[Category]


class Agreement(NamedTuple):
    """How far rules and judge agree on one category.

    Attributes:
        category: Which one.
        both: How many replies both say show it.
        rules_only: How many only the rules.
        judge_only: How many only the judge.
        neither: How many neither.
        kappa: Cohen's kappa (Cohen 1960): 1 for agreement, 0 for as much as chance gives. None where it is not
            defined, because both say the same of every reply.
        interval: Its 95 % interval, by bootstrap over games; None without kappa or with a single game.
    """

    category: Category
    both: int
    rules_only: int
    judge_only: int
    neither: int
    kappa: float | None
    interval: Interval | None

    @property
    def replies(self) -> int:
        """How many replies there are."""
        return self.both + self.rules_only + self.judge_only + self.neither


def agreements(judged: Iterable[Judged], *, seed: int, resamples: int = 1000) -> list[Agreement]:
    """Returns the agreement on each category."""
    replies = list(judged)
    return [_agreement(category, replies, np.random.default_rng([seed, 1]), resamples) for category in Category]


def cohens_kappa(both: int, rules_only: int, judge_only: int, neither: int) -> float | None:
    """Returns Cohen's kappa of a table of two by two, or None where it is not defined."""
    total = both + rules_only + judge_only + neither
    if total == 0:
        return None
    by_chance = (both + rules_only) * (both + judge_only) + (judge_only + neither) * (rules_only + neither)
    if by_chance == total**2:
        return None
    return (total * (both + neither) - by_chance) / (total**2 - by_chance)


def _agreement(category: Category, replies: Sequence[Judged], rng: np.random.Generator, resamples: int) -> Agreement:
    games: dict[str, Counter[tuple[bool, bool]]] = {}
    for each in replies:
        cell = (category in each.by_rules, category in each.by_judge)
        games.setdefault(each.game, Counter())[cell] += 1
    order = ((True, True), (True, False), (False, True), (False, False))
    counts = np.array([[cells[cell] for cell in order] for cells in games.values()], dtype=np.int64).reshape(-1, 4)
    total = [int(count) for count in counts.sum(axis=0)]
    kappa = cohens_kappa(*total)
    interval = None
    if kappa is not None and len(games) > 1:
        drawn = (counts[rng.integers(len(games), size=len(games))].sum(axis=0) for _ in range(resamples))
        # A sample of games may hold replies of one kind only.
        values = [value for each in drawn if (value := cohens_kappa(*map(int, each))) is not None]
        if values:
            low, high = np.quantile(values, [0.025, 0.975])
            interval = Interval(float(low), float(high))
    return Agreement(category, *total, kappa=kappa, interval=interval)
