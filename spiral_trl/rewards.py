"""From the facts of an episode to the returns that are learned from."""

from __future__ import annotations

import math
from enum import StrEnum

from spiral_envs.episode import Episode


class Reward(StrEnum):
    """What a game is worth to its players."""

    SCORE = "score"
    """The game's own returns, or those of the forfeit that ended it."""

    WIN = "win"
    """+1 for a positive return, -1 for a negative one, 0 for a draw: by how much does not count."""


def seat_returns(episode: Episode, *, reward: Reward = Reward.SCORE, fault_penalty: float = 0.0) -> tuple[float, ...]:
    """Returns what every seat earned.

    A penalty is shaping: with it the returns of a game that ended on a fault no longer sum to 0. It is charged for the
    fault that ended the game only. Where an invalid move is replaced by a random legal one and the game goes on, the
    turn records the fault but nobody is the offender, and no penalty is charged.

    Args:
        episode: A finished game.
        reward: What the game's returns count for.
        fault_penalty: Subtracted from the return of the seat whose fault ended the game, after `reward` is applied; in
            the unit of the returns, at least 0.

    Raises:
        ValueError: `fault_penalty` is negative or not finite.
    """
    if not 0 <= fault_penalty < math.inf:
        raise ValueError(f"fault_penalty is {fault_penalty!r}: expected a finite number, at least 0")
    outcome = episode.outcome
    earned = outcome.returns if reward is Reward.SCORE else tuple(map(_sign, outcome.returns))
    return tuple(each - fault_penalty if seat == outcome.offender else each for seat, each in enumerate(earned))


def _sign(episode_return: float) -> float:
    return float((episode_return > 0) - (episode_return < 0))
