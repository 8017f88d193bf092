"""Role-conditioned Advantage Estimation (SPIRAL, arXiv 2506.24119, section 3.3).

In a zero-sum game with shared weights the mean return over both seats is 0 whatever the policy does, and a seat with a
structural edge would look as if it played well. So every role of every game keeps its own baseline, an exponential
moving average of its returns, and a turn's advantage is the return of its player minus that baseline.

The other estimators are here to be compared with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import fmean
from typing import Any, Final, NamedTuple, TypeAlias

from spiral_envs.errors import UnknownNameError

Key: TypeAlias = tuple[str, ...]
"""What a baseline belongs to: (game, role, kind of opponent)."""

GLOBAL_KEY: Final[Key] = ("global",)
"""What the one baseline of `Estimator.GLOBAL` belongs to."""

_ORDERS: Final = ("before", "after")


class Estimator(StrEnum):
    """How a return becomes an advantage."""

    RAE = "rae"
    """The return minus the baseline of its game, role and kind of opponent (SPIRAL, arXiv 2506.24119)."""

    GLOBAL = "global"
    """The return minus one baseline for all games, roles and opponents."""

    NONE = "none"
    """The return itself."""

    GROUP = "group"
    """The return minus its mean over the replays of the same deal from the same seat (GRPO, arXiv 2402.03300), not
    divided by their standard deviation (Dr. GRPO, arXiv 2503.20783). There is no baseline."""


class GameResult(NamedTuple):
    """What an estimator knows of a finished game.

    Attributes:
        game: The game's label.
        roles: The role of every seat.
        opponent: The kind of opponent.
        learner_seats: The seats that learn.
        returns: What every seat earned.
        deal: Which deal was played: equal among replays of one, different among other games of the batch.
    """

    game: str
    roles: tuple[str, ...]
    opponent: str
    learner_seats: tuple[int, ...]
    returns: tuple[float, ...]
    deal: int


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


class AdvantageEstimator:
    """Maps the results of a batch to advantages.

    Attributes:
        estimator: How.
        baseline: The baselines of `Estimator.RAE` or `Estimator.GLOBAL`; the others leave it alone.
        replays: How often every deal is played; `Estimator.GROUP` alone looks at it.
    """

    def __init__(self, estimator: Estimator, baseline: RoleBaseline, replays: int) -> None:
        """Sets how advantages are estimated.

        Raises:
            ValueError: `replays` is below 1, or 1 with `Estimator.GROUP`, where every advantage would be 0.
        """
        fewest = 2 if estimator is Estimator.GROUP else 1
        if replays < fewest:
            raise ValueError(f"replays is {replays!r}: the estimator {estimator.value} needs at least {fewest}")
        self.estimator = estimator
        self.baseline = baseline
        self.replays = replays

    def score(self, results: Sequence[GameResult]) -> list[tuple[float, ...]]:
        """Returns an advantage a seat for every game, and updates the baselines; seats that do not learn have 0.0.

        Games are scored in the given order and the seats of a game in theirs: whoever scores the same results from the
        same baselines gets the same numbers to the last bit.

        Args:
            results: The whole batch, in the order of the games' numbers.

        Raises:
            ValueError: With `Estimator.GROUP`, a deal was not played `replays` times from the same seats.
        """
        means = self._group_means(results) if self.estimator is Estimator.GROUP else {}
        return [
            tuple(
                self._advantage(result, seat, means) if seat in result.learner_seats else 0.0
                for seat in range(len(result.returns))
            )
            for result in results
        ]

    def _advantage(self, result: GameResult, seat: int, means: Mapping[_Replayed, float]) -> float:
        episode_return = result.returns[seat]
        match self.estimator:
            case Estimator.RAE:
                return self.baseline.score((result.game, result.roles[seat], result.opponent), episode_return)
            case Estimator.GLOBAL:
                return self.baseline.score(GLOBAL_KEY, episode_return)
            case Estimator.NONE:
                return episode_return
            case Estimator.GROUP:
                return episode_return - means[_replayed(result, seat)]

    def _group_means(self, results: Sequence[GameResult]) -> dict[_Replayed, float]:
        """Returns the mean return of every seat in every deal."""
        groups: defaultdict[_Replayed, list[float]] = defaultdict(list)
        for result in results:
            for seat in result.learner_seats:
                groups[_replayed(result, seat)].append(result.returns[seat])
        for (game, opponent, deal, seat), returns in groups.items():
            if len(returns) != self.replays:
                raise ValueError(
                    f"deal {deal} of {game} against {opponent} was played {len(returns)} times from seat {seat}:"
                    f" expected {self.replays}"
                )
        return {replayed: fmean(returns) for replayed, returns in groups.items()}


_Replayed: TypeAlias = tuple[str, str, int, int]
"""Game, kind of opponent, deal and seat."""


def _replayed(result: GameResult, seat: int) -> _Replayed:
    return (result.game, result.opponent, result.deal, seat)
