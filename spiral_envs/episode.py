"""The record of a finished match: what happened, from which rewards, tables and replays are made."""

from __future__ import annotations

from typing import Any, NamedTuple

from spiral_envs.game import new_tuple
from spiral_envs.match import Match, Outcome, Turn


class Episode(NamedTuple):
    """A finished match.

    Attributes:
        index: The position of the match in the order in which it was started, from 0.
        game: The game's label, with its options.
        seed: The seed of the match.
        roles: The role of every seat.
        agents: The name of the agent in every seat.
        turns: Every turn, in order.
        outcome: How it ended.
    """

    # Hides tuple.index, which nobody asks of a record.
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    game: str
    seed: int
    roles: tuple[str, ...]
    agents: tuple[str, ...]
    turns: tuple[Turn, ...]
    outcome: Outcome

    @classmethod
    def of(cls, match: Match, *, index: int, agents: tuple[str, ...]) -> Episode:
        """Returns the record of a match that is over.

        Raises:
            ValueError: The match is not over.
        """
        if match.outcome is None:
            raise ValueError(f"this match of {match.game} is not over")
        return new_tuple(cls, (index, match.game, match.seed, match.roles, agents, match.turns, match.outcome))

    def to_json(self) -> dict[str, Any]:
        """Returns the record as plain values for JSON; token ids and log-probabilities of replies are left out."""
        outcome = self.outcome
        return {
            "index": self.index,
            "game": self.game,
            "seed": self.seed,
            "roles": list(self.roles),
            "agents": list(self.agents),
            "returns": list(outcome.returns),
            "termination": outcome.termination.value,
            "offender": outcome.offender,
            "fault": outcome.fault and outcome.fault.value,
            "reason": outcome.reason,
            "turns": [
                {
                    "seat": turn.seat,
                    "observation": turn.observation,
                    "response": str(turn.response),
                    "move": turn.move,
                    "rule": turn.rule.value,
                    "fault": turn.fault and turn.fault.value,
                    "reason": turn.reason,
                }
                for turn in self.turns
            ],
        }
