"""The random numbers of a match: SplitMix64, of which every number can be computed on its own.

A stream is its seed and nothing else, so it costs nothing to start, to copy and to store: `random.Random` takes longer
to seed than a short game takes to play. Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators,
OOPSLA 2014; the constants are those of its published C code, Vigna's splitmix64.c.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = 2**64 - 1

_GAMMA: Final = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: how far apart the numbers are before they are mixed."""


def uniform(seed: int, index: int) -> float:
    """Returns the number at `index`, from 0, of the stream of `seed`: from 0 up to but not including 1, in 53 bits.

    Args:
        seed: An integer from 0 of any size, of which SplitMix64 takes 64 bits: one below 2^64 as it is.
        index: How many numbers of the stream come before.
    """
    if seed > _MASK:
        seed = _fold(seed)
    # The lines of `bits64`: a call would take as long as they do.
    mixed = (seed + (index + 1) * _GAMMA) & _MASK
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ mixed >> 31) >> 11) * 2.0**-53


def bits64(seed: int, index: int) -> int:
    """Returns the number at `index` of SplitMix64 with `seed` below 2^64, as 64 bits."""
    mixed = (seed + (index + 1) * _GAMMA) & _MASK
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
    return mixed ^ mixed >> 31


def match_seed(seed: int, number: int) -> int:
    """Returns the seed of match `number` of a run or batch with `seed`; no two matches of any two share one."""
    return (seed << 40) + number


def _fold(seed: int) -> int:
    """Returns 64 bits for a larger seed, word by word."""
    while seed > _MASK:
        # Mixed before it is added, so that no sum or difference of words brings two seeds together.
        seed = (seed >> 64) ^ bits64(seed & _MASK, 0)
    return seed
