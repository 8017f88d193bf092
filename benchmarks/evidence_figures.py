"""The figures of the evidence, as they are measured, kept and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        measure: What was measured.
        condition: Of which training.
        game: In which game.
        against: Against whom, or in which state; empty where neither matters.
        seed: Of the models and all that follows from them.
        value: The number.
        low: The lower end of its own 95 % interval, where it has one.
        high: The upper end.
        games: How many games it is of, where it is of games.
    """

    measure: str
    condition: str
    game: str
    against: str
    seed: int
    value: float
    low: float | None = None
    high: float | None = None
    games: int | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """A number over the steps of a run; the other attributes are those of `Figure`."""

    measure: str
    condition: str
    game: str
    against: str
    seed: int
    steps: list[int]
    values: list[float]


@dataclass(slots=True)
class Measured:
    """What was measured in one part with one seed."""

    figures: list[Figure] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    @classmethod
    def of_json(cls, record: Mapping[str, Any]) -> Measured:
        """Returns what `to_json` returned."""
        return cls([Figure(**each) for each in record["figures"]], [Curve(**each) for each in record["curves"]])

    def to_json(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {"figures": [asdict(each) for each in self.figures], "curves": [asdict(each) for each in self.curves]}
