"""Which rows of a batch go together, so that little is computed on padding and the largest micro-batch is small.

The rows of a micro-batch are padded to the longest prompt and the longest completion among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SLACK: Final = 1.1
"""How much larger than with the most even cut the largest micro-batch may be, if that saves padding."""

_MAX_PIECES: Final = 256
"""Rows of a large batch are moved in groups: there are at most so many places for a cut."""


def cut_by_size(
    prompt_lengths: Sequence[int], completion_lengths: Sequence[int], num_parts: int
) -> list[tuple[int, int]]:
    """Returns where to cut rows that are sorted by length: the first row of every part and the one after its last.

    Among the cuts whose largest part is at most a tenth larger than it must be, and no larger than with parts of
    equally many rows, the one that computes the fewest positions. Only with fewer rows than parts are parts empty.

    Args:
        prompt_lengths: Tokens, of each row.
        completion_lengths: Tokens, of each row.
        num_parts: How many parts.
    """
    num_rows = len(prompt_lengths)
    if num_rows <= num_parts:
        return [(min(part, num_rows), min(part + 1, num_rows)) for part in range(num_parts)]
    equal = np.linspace(0, num_rows, num_parts + 1).round()
    places = np.unique(np.concatenate([equal, np.linspace(0, num_rows, min(num_rows, _MAX_PIECES) + 1).round()]))
    places = places.astype(int)
    positions = _positions(np.asarray(prompt_lengths), np.asarray(completion_lengths), places)
    steps = np.searchsorted(places, equal)
    largest_of_equal = positions[steps[:-1], steps[1:]].max()
    positions[positions > min(_SLACK * _smallest_peak(positions, num_parts), largest_of_equal)] = np.inf
    best = positions[0]
    starts: list[NDArray[Any]] = []
    for _ in range(num_parts - 1):
        totals = best[:, None] + positions
        starts.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    cuts = [len(places) - 1]
    for start in reversed(starts):
        cuts.append(int(start[cuts[-1]]))
    ends = [int(places[cut]) for cut in reversed(cuts)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _positions(prompts: NDArray[Any], completions: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """Returns the positions, padding included, of a part from every place to every later one; infinite elsewhere."""
    positions = np.full((len(places), len(places)), np.inf)
    longest_prompt = np.maximum.reduceat(prompts, places[:-1])
    longest_completion = np.maximum.reduceat(completions, places[:-1])
    for start in range(len(places) - 1):
        width = np.maximum.accumulate(longest_prompt[start:]) + np.maximum.accumulate(longest_completion[start:])
        positions[start, start + 1 :] = (places[start + 1 :] - places[start]) * width
    return positions


def _smallest_peak(positions: NDArray[Any], num_parts: int) -> float:
    """Returns the positions of the largest part where that is as small as it can be."""
    peaks = positions[0]
    for _ in range(num_parts - 1):
        peaks = np.maximum(peaks[:, None], positions).min(axis=0)
    return float(peaks[-1])
