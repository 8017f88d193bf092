"""From the facts of an episode to the returns that are learned from."""

from __future__ import annotations

from spiral_envs.episode import Episode


def seat_returns(episode: Episode) -> tuple[float, ...]:
    """Returns what every seat earned: the game's own returns, or those of the forfeit that ended it."""
    return episode.outcome.returns
