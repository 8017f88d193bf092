"""What is played next: which game, from which seed, against whom and from which seat."""

from __future__ import annotations

from typing import Final, NamedTuple

SELF: Final = "self"
"""The kind of opponent where every seat is the model that learns."""

LEAGUE: Final = "league"
"""The kind of opponent that is a snapshot of the model, taken earlier in the run."""


class GamePlan(NamedTuple):
    """One game to play.

    Attributes:
        number: Its position in the run, from 0.
        game: The game, as the settings name it.
        seed: The seed of the match.
        opponent: The kind of opponent: `SELF`, `LEAGUE` or an agent string.
        learner_seats: The seats of the model that learns: all of them against itself.
    """

    number: int
    game: str
    seed: int
    opponent: str
    learner_seats: tuple[int, ...]
