"""Intervals of mean scores, and of differences between two agents on the same problems.

A problem is what is drawn: the scores of its samples are averaged before anything is resampled. Families and tasks are
given, so each is resampled by itself, and the overall mean weighs them equally.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 10_000

LEVEL: Final = 0.95

FEW: Final = 20
"""With fewer problems a bootstrap interval is too narrow."""


class Estimate(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def mean_estimate(
    groups: Sequence[NDArray[np.float64]], *, seed: int, lowest: float = 0.0, highest: float = 1.0
) -> Estimate:
    """Returns the mean over groups of their means, with the percentile interval of a bootstrap over problems.

    Where all problems have the same value a bootstrap shows no spread at all. Then the interval says how many problems
    may have another value for all we know: exactly so for one group, and for groups of one size.

    Args:
        groups: The mean score of every problem, by family `[problems]`; none of them empty.
        seed: Of the resampling.
        lowest: The least value that a problem can have.
        highest: The greatest.
    """
    mean = float(np.mean([group.mean() for group in groups]))
    values = np.unique(np.concatenate(list(groups)))
    if len(values) == 1:
        problems = len(groups) * min(len(group) for group in groups)
        others = 1 - ((1 - LEVEL) / 2) ** (1 / problems)
        return Estimate(mean, mean - others * (mean - lowest), mean + others * (highest - mean))
    rng = np.random.default_rng(seed)
    means = np.mean([_resampled_means(group, rng) for group in groups], axis=0)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high))


def sign_flip_p_value(groups: Sequence[NDArray[np.float64]], *, seed: int) -> float:
    """Returns the two-sided p-value of differences against none at all, by flipping their signs problem by problem.

    It asks how often chance alone would make the mean over groups of their means as far from 0. Unlike a bootstrap it
    is exact where there are few problems, but for the error of its random draws.

    Args:
        groups: The difference of every problem, by family `[problems]`; none of them empty.
        seed: Of the flips.
    """
    rng = np.random.default_rng(seed)
    observed = abs(np.mean([group.mean() for group in groups]))
    flipped = np.abs(np.mean([_flipped_means(group, rng) for group in groups], axis=0))
    # Sums of the same numbers in another order differ in their last digits.
    return float((1 + np.count_nonzero(flipped >= observed - 1e-12)) / (RESAMPLES + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values corrected for there being several, in their order (Holm 1979)."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _resampled_means(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns the means of resamples `[resamples]`: of equal values only their number matters."""
    unique, counts = np.unique(values, return_counts=True)
    drawn = rng.multinomial(len(values), counts / len(values), size=RESAMPLES)
    return drawn @ unique / len(values)


def _flipped_means(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns the means with random signs `[resamples]`: of equal sizes only the number that stay positive matters."""
    unique, counts = np.unique(np.abs(values), return_counts=True)
    positive = rng.binomial(counts, 0.5, size=(RESAMPLES, len(unique)))
    return (2 * positive - counts) @ unique / len(values)
