"""The agent that plays a uniformly random legal move."""

from __future__ import annotations

import random
from collections.abc import Sequence

from spiral_envs.match import View


class RandomAgent:
    """Replies with the text of a uniformly random legal move."""

    name = "random"

    def __init__(self, *, seed: int) -> None:
        """Starts the agent's own random numbers."""
        self._rng = random.Random(seed)

    def reseed(self, seed: int) -> None:
        """Makes the agent draw as a new one with `seed` would."""
        self._rng = random.Random(seed)

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns a legal move a view.

        Raises:
            ValueError: A view lists no legal moves.
        """
        draw = self._rng.random
        replies: list[str] = []
        for view in views:
            legal = view.legal_moves
            if not legal:
                raise ValueError(f"the random agent needs a list of legal moves; {view.game} gave {legal!r}")
            replies.append(legal[int(draw() * len(legal))])
        return replies
