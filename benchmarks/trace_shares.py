"""How often replies show each kind of reasoning: by agent, and over the steps of a training run, with intervals."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.trace_rules import Category, Trace
from spiral_envs.intervals import Interval, wilson_interval

FEW_GAMES: Final = 10
"""Below this many games an interval says little."""

OTHER: Final = "other text"
"""Text outside of the answer that shows none of the categories."""

NO_TEXT: Final = "no text"
"""Nothing outside of the answer."""

KINDS: Final = (*(category.value for category in Category), OTHER, NO_TEXT)
"""What a reply may show. The categories may come together; each of the last two stands alone."""

_MAX_DRAWN: Final = 2_000_000
"""How many weights of games are drawn at once."""


class Source(NamedTuple):
    """Whose replies are counted together.

    Attributes:
        name: The folder or file.
        agent: Who wrote them; `learner` for the model of a training run.
        game: The game's label, or `all games`.
    """

    name: str
    agent: str
    game: str


class Share(NamedTuple):
    """How many of the replies show something.

    Attributes:
        share: From 0 to 1.
        interval: Its 95 % interval, by bootstrap over games, whose replies depend on each other; where every reply
            says the same, Wilson's interval with games as trials; None for a single game.
    """

    share: float
    interval: Interval | None


class Cell(NamedTuple):
    """The replies of one agent, or those of one stretch of training.

    Attributes:
        source: Whose they are.
        steps: The first and the last step of the stretch; None outside of training.
        games: How many games they come from.
        replies: How many there are.
        median_words: Their median length outside of the answer.
        shares: How many show each of `KINDS`.
    """

    source: Source
    steps: tuple[int, int] | None
    games: int
    replies: int
    median_words: float
    shares: Mapping[str, Share]


@dataclass
class _Counts:
    """The replies of a source at one step: a row of counts for each game, and the length of every reply."""

    games: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    words: array[int] = field(default_factory=lambda: array("l"))


class Shares:
    """Counts the replies of games as they are read."""

    def __init__(self) -> None:
        """Starts from nothing."""
        self._counts: dict[tuple[Source, int | None], _Counts] = {}

    def add(self, source: Source, step: int | None, traces: Sequence[Trace]) -> None:
        """Counts the replies that one agent wrote in one game."""
        shown = [kinds_of(trace) for trace in traces]
        row = (len(traces), *(sum(kind in kinds for kinds in shown) for kind in KINDS))
        counts = self._counts.setdefault((source, step), _Counts())
        counts.games.append(row)
        counts.words.extend(trace.num_words for trace in traces)

    def cells(self, *, num_bins: int, seed: int, resamples: int = 1000) -> list[Cell]:
        """Returns the shares of every source, and of at most `num_bins` stretches of its training, in order."""
        cells: list[Cell] = []
        for source in dict.fromkeys(source for source, _ in self._counts):
            found = {step: counts for (owner, step), counts in self._counts.items() if owner == source}
            steps = sorted(step for step in found if step is not None)
            stretches = [([None], None)] if None in found else []
            stretches += [(list(part), (part[0], part[-1])) for part in _stretches(steps, num_bins)]
            for part, ends in stretches:
                merged = [found[step] for step in part]
                cells.append(_cell(source, ends, merged, np.random.default_rng(seed), resamples))
        return cells


def kinds_of(trace: Trace) -> frozenset[str]:
    """Returns which of `KINDS` a reply shows."""
    if not trace.text:
        return frozenset({NO_TEXT})
    return frozenset(category.value for category in trace.categories) or frozenset({OTHER})


def cluster_shares(
    counts: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    resamples: int,
) -> list[Share]:
    """Returns the share of each column but the first, which counts the replies, over the games in the rows.

    Args:
        counts: Counts by game and column, `[G, 1 + K]`, with at least one reply in every game.
        rng: Draws the games.
        resamples: How many times they are drawn.
    """
    num_games = len(counts)
    replies, *hits = (int(count) for count in counts.sum(axis=0))
    drawn: list[NDArray[np.float64]] = []
    if num_games > 1:
        at_once = max(1, _MAX_DRAWN // num_games)
        for start in range(0, resamples, at_once):
            size = min(at_once, resamples - start)
            weights = rng.multinomial(num_games, np.full(num_games, 1 / num_games), size=size)
            sums = weights @ counts
            drawn.append(sums[:, 1:] / sums[:, :1])
    lows_highs = np.quantile(np.concatenate(drawn), [0.025, 0.975], axis=0) if drawn else None
    shares: list[Share] = []
    for column, hit in enumerate(hits):
        interval = None
        if lows_highs is not None:
            interval = Interval(float(lows_highs[0, column]), float(lows_highs[1, column]))
            if hit in (0, replies):
                # Resampling the same answer gives it again, however few the games are.
                interval = wilson_interval(num_games if hit else 0, num_games)
        shares.append(Share(hit / replies, interval))
    return shares


def _cell(
    source: Source,
    steps: tuple[int, int] | None,
    merged: Sequence[_Counts],
    rng: np.random.Generator,
    resamples: int,
) -> Cell:
    rows = np.array([row for counts in merged for row in counts.games], dtype=np.int64)
    shares = cluster_shares(rows, rng, resamples=resamples)
    words = [length for counts in merged for length in counts.words]
    return Cell(source, steps, len(rows), int(rows[:, 0].sum()), median(words), dict(zip(KINDS, shares, strict=True)))


def _stretches(steps: Sequence[int], num_bins: int) -> list[Sequence[int]]:
    """Returns the steps in at most `num_bins` runs that are as long as each other, to within one."""
    num_bins = min(num_bins, len(steps))
    ends = [round(index * len(steps) / num_bins) for index in range(num_bins + 1)] if num_bins else []
    return [steps[start:end] for start, end in pairwise(ends)]
