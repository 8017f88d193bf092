"""Role-conditioned Advantage Estimation (SPIRAL, arXiv 2506.24119, section 3.3).

In a zero-sum game with shared weights the mean return over both seats is 0 whatever the policy does, and a seat with a
structural edge would look as if it played well. So every role of every game keeps its own baseline, an exponential
moving average of its returns, and a turn's advantage is the return of its player minus that baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from spiral_envs.errors import UnknownNameError

Key: TypeAlias = tuple[str, ...]
"""What a baseline belongs to: (game, role, kind of opponent)."""

_ORDERS: Final = ("before", "after")


class RoleBaseline:
    """One exponential moving average of returns a key.

    `b ← decay · b + (1 - decay) · R`, starting at 0, and `A = R - b`.
    """

    def __init__(self, decay: float = 0.95, order: str = "before") -> None:
        """Starts with no baselines.

        Args:
            decay: The weight of the old value, at least 0 and below 1.
            order: "before" scores a return against the baseline before that return updates it, which keeps the
                advantage unbiased; "after" updates first, as the algorithm is printed in the paper, which shrinks every
                advantage by the factor `decay`.

        Raises:
            ValueError: `decay` is out of range.
            UnknownNameError: There is no such order.
        """
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay!r}: expected at least 0 and below 1")
        if order not in _ORDERS:
            raise UnknownNameError("order of the baseline update", order, _ORDERS)
        self.decay = decay
        self.order = order
        self._values: dict[Key, float] = {}
        self._counts: dict[Key, int] = {}

    def score(self, key: Key, episode_return: float) -> float:
        """Returns the advantage of `episode_return` and updates the baseline of `key` with it."""
        before = self.value(key)
        after = self.decay * before + (1 - self.decay) * episode_return
        self._values[key] = after
        self._counts[key] = self.count(key) + 1
        return episode_return - (before if self.order == "before" else after)

    def value(self, key: Key) -> float:
        """Returns the baseline of `key`; 0 for a key never scored."""
        return self._values.get(key, 0.0)

    def count(self, key: Key) -> int:
        """Returns how many returns the baseline of `key` has seen."""
        return self._counts.get(key, 0)

    def keys(self) -> tuple[Key, ...]:
        """Returns every key that was scored, in sorted order."""
        return tuple(sorted(self._values))

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole state as plain values; through JSON and back it is the same to the last bit."""
        return {
            "decay": self.decay,
            "order": self.order,
            "baselines": [[list(key), self._values[key], self._counts[key]] for key in self.keys()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned.

        Raises:
            ValueError: The state was made with another decay or order.
        """
        for name, own in (("decay", self.decay), ("order", self.order)):
            if state[name] != own:
                raise ValueError(f"the saved baselines have {name} {state[name]!r}, this run has {own!r}")
        self._values = {tuple(key): float(value) for key, value, _ in state["baselines"]}
        self._counts = {tuple(key): int(count) for key, _, count in state["baselines"]}


def score_returns(baseline: RoleBaseline, keyed_returns: Sequence[tuple[Key, float]]) -> list[float]:
    """Returns the advantage of every return, scored one after the other in the given order."""
    return [baseline.score(key, episode_return) for key, episode_return in keyed_returns]
