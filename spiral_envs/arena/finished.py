"""The games of a tournament that are finished: on the disk, and their scores in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spiral_envs.arena.folder import read_lines
from spiral_envs.json_lines import JsonLines

WRITE_EVERY_S: Final = 0.1
"""How long a finished game waits at most until it is on the disk: each write takes as long as many short games."""


@dataclass(slots=True)
class Score:
    """What one agent has reached.

    Attributes:
        games: How many it has played.
        wins: Games in which it got more than the other.
        draws: Games in which both got the same.
        forfeits: Games that its own fault ended.
    """

    games: int = 0
    wins: int = 0
    draws: int = 0
    forfeits: int = 0

    @property
    def losses(self) -> int:
        """Games in which it got less than the other."""
        return self.games - self.wins - self.draws

    @property
    def share(self) -> float:
        """The mean of 1 for a win, 0.5 for a draw and 0 for a loss; of at least one game."""
        return (self.wins + self.draws / 2) / self.games


class FinishedGames:
    """The file of finished games.

    Attributes:
        ids: Those that are finished.
        scores: By agent.
        num_forfeits: How many games a fault ended.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file; each id counts once, and lines that are no games not at all."""
        self.ids: set[str] = set()
        self.scores: dict[str, Score] = {}
        self.num_forfeits = 0
        self._file = JsonLines(path)
        self._unwritten: list[Mapping[str, Any]] = []
        self._written_at = 0.0
        for record in read_lines(path):
            try:
                self._count(record)
            except (KeyError, TypeError, ValueError):
                continue

    def add(self, record: Mapping[str, Any]) -> None:
        """Takes in a game, which is on the disk after the next `write`."""
        self._count(record)
        self._unwritten.append(record)

    def write(self) -> None:
        """Writes what was added to the disk."""
        if self._unwritten:
            self._file.append(self._unwritten)
            self._unwritten.clear()
        self._written_at = time.monotonic()

    def write_now_and_then(self) -> None:
        """Writes what was added unless something was written a moment ago."""
        if time.monotonic() - self._written_at >= WRITE_EVERY_S:
            self.write()

    def _count(self, record: Mapping[str, Any]) -> None:
        (first, second), (first_return, second_return) = record["agents"], record["returns"]
        number, offender = str(record["id"]), record["offender"]
        if number in self.ids:
            return
        self.ids.add(number)
        self.num_forfeits += offender is not None
        for seat, (agent, ahead) in enumerate(
            ((first, first_return - second_return), (second, second_return - first_return))
        ):
            score = self.scores.setdefault(agent, Score())
            score.games += 1
            score.wins += ahead > 0
            score.draws += ahead == 0
            score.forfeits += offender == seat
