"""Global random numbers of a match's own, for environments that draw from those of the whole process."""

from __future__ import annotations

import random
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

_WORD_BITS: Final = 32

_LOCK: Final = threading.RLock()
"""Two threads that borrow the same global numbers would mix them up."""


class GlobalRandom:
    """The states that `random` and `numpy.random` have inside one match.

    A foreign environment may seed, read or change the global random numbers. Every call of it goes inside
    `with match_random.borrowed():`, so that it meets its own numbers and the rest of the process keeps theirs.
    It pickles and deep-copies with its states.
    """

    __slots__ = ("_numpy_state", "_python_state")

    def __init__(self, seed: int) -> None:
        """Sets both states as seeding with `seed` would, an integer from 0, without touching the global ones."""
        self._python_state: Any = random.Random(seed).getstate()
        # numpy takes a larger seed only as an array of words.
        words = [seed >> bit & (1 << _WORD_BITS) - 1 for bit in range(0, seed.bit_length(), _WORD_BITS)]
        numpy_seed = words if len(words) > 1 else seed
        self._numpy_state: Any = np.random.RandomState(numpy_seed).get_state(legacy=False)

    @contextmanager
    def borrowed(self) -> Generator[None]:
        """Returns a context in which the global random numbers are this match's; what is drawn there is remembered."""
        with _LOCK:
            outside = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
            random.setstate(self._python_state)
            np.random.set_state(self._numpy_state)  # noqa: NPY002
            try:
                yield
            finally:
                self._python_state, self._numpy_state = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
                random.setstate(outside[0])
                np.random.set_state(outside[1])  # noqa: NPY002
