"""Spaces of text for the PettingZoo and Gymnasium views of a match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from gymnasium.spaces import Text

MAX_CHARS: Final = 1_000_000
"""The longest text in a space, far above any prompt or reply."""


class PlainText(Text):
    """Every string of at most `MAX_CHARS` characters, of any alphabet.

    Gymnasium's own `Text` looks at every character of a string in order to say whether it contains it.
    """

    def __init__(self) -> None:
        """Builds the space."""
        # Vectorised environments fill their arrays with the first character of the alphabet.
        super().__init__(MAX_CHARS, min_length=0, charset=" ")

    def contains(self, x: Any) -> bool:
        """Returns whether `x` is a string that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Returns the empty text: no other is typical of a game."""
        return ""

    def character_index(self, char: str) -> np.int32:
        """Raises: texts of any alphabet are not made of numbers.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "texts of any alphabet cannot be flattened; asynchronous vectors of environments need"
            " vector_kwargs={'shared_memory': False}"
        )

    def __repr__(self) -> str:
        """Returns the constructor's call."""
        return f"{type(self).__name__}()"

    @property
    def is_np_flattenable(self) -> bool:
        """False: a text has no fixed length and no fixed alphabet."""
        return False


class MoveText(PlainText):
    """Every text; a sample is a legal move, so that random play gets somewhere.

    Attributes:
        legal_moves: The texts of the moves that are legal now, kept up to date by the environment.
    """

    def __init__(self) -> None:
        """Builds the space of a player who is not to move."""
        super().__init__()
        self.legal_moves: tuple[str, ...] = ()

    def sample(self, mask: Sequence[str] | None = None, probability: Any = None) -> str:
        """Returns a uniformly random legal move, or the empty text when there is none.

        Args:
            mask: The texts to choose from instead, such as `info["legal_moves"]`.
            probability: Not used.
        """
        texts = self.legal_moves if mask is None else mask
        return texts[int(self.np_random.integers(len(texts)))] if texts else ""


OBSERVATIONS: Final = PlainText()
"""The observation space of every player of every game."""
