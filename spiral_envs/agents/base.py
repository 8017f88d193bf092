"""What an agent is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from spiral_envs.match import Usage, View


class EndpointError(RuntimeError):
    """A server behind an agent that does not answer, or not as it should: nobody's fault in the game.

    Attributes:
        usage: What answers that were of no use took all the same; None as far as nobody counted.
    """

    def __init__(self, message: str, *, usage: Usage | None = None) -> None:
        """Takes what happened, and what it took."""
        super().__init__(message)
        self.usage = usage


class Agent(Protocol):
    """Whoever sits in a seat."""

    @property
    def name(self) -> str:
        """The agent string, for records and tables."""
        ...

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns one reply a view, in order; a `Reply` when there is more to say than the text."""
        ...


@runtime_checkable
class SeededAgent(Protocol):
    """An agent that draws, and can be told to begin its draws anew."""

    def reseed(self, seed: int) -> None:
        """Makes the agent draw as a new one with `seed` would."""
        ...
