"""How strong a model is: matches against reference agents by seat, and its distance from perfect play."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from spiral_envs.agents import Agent, make_agent
from spiral_envs.sources import find_source
from spiral_trl.collector import collect

_Z_95: Final = 1.959963984540054


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SeatResult:
    """What the evaluated agent reached in one seat of one game against one opponent.

    Attributes:
        game: The game's label.
        opponent: The opponent's name.
        seat: The seat of the evaluated agent.
        role: Its role.
        games: How many games were played.
        wins: Games with a positive return for the evaluated agent.
        draws: Games with return 0.
        losses: Games with a negative return.
        faults: Faults of the evaluated agent; a fault loses the game.
        mean_return: Its mean return.
    """

    game: str
    opponent: str
    seat: int
    role: str
    games: int
    wins: int
    draws: int
    losses: int
    faults: int
    mean_return: float

    @property
    def win_rate(self) -> float:
        """The share of games won."""
        return self.wins / self.games

    @property
    def win_interval(self) -> Interval:
        """The 95 % Wilson interval of the win rate."""
        return wilson_interval(self.wins, self.games)

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as plain values, with the interval of the win rate."""
        return {**asdict(self), "win_interval": list(self.win_interval)}


def wilson_interval(successes: int, trials: int) -> Interval:
    """Returns the 95 % Wilson score interval of a share (Wilson 1927).

    Raises:
        ValueError: There were no trials.
    """
    if trials < 1:
        raise ValueError("an interval needs at least one trial")
    share = successes / trials
    spread = _Z_95**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = _Z_95 / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def evaluate(
    agent: Agent, pairings: Sequence[tuple[str, str]], *, games_per_seat: int, seed: int
) -> Iterator[SeatResult]:
    """Yields the results of `agent` in every seat of every pairing, as they are known.

    Both seats play the same seeds, so that chance favours neither.

    Args:
        agent: The agent to evaluate.
        pairings: Pairs of a game and an agent string to play it against.
        games_per_seat: Games in every seat.
        seed: Decides chance and the opponents' choices.
    """
    for game, opponent_name in pairings:
        source = find_source(game)
        for seat, role in enumerate(source.roles):
            opponent = make_agent(opponent_name, seed=seed + seat)
            seating = [agent if each == seat else opponent for each in range(len(source.roles))]
            episodes = collect([game], seating, num_games=games_per_seat, seed=seed)
            returns = [episode.outcome.returns[seat] for episode in episodes]
            yield SeatResult(
                game=source.label,
                opponent=opponent_name,
                seat=seat,
                role=role,
                games=len(episodes),
                wins=sum(each > 0 for each in returns),
                draws=sum(each == 0 for each in returns),
                losses=sum(each < 0 for each in returns),
                faults=sum(
                    turn.fault is not None for episode in episodes for turn in episode.turns if turn.seat == seat
                ),
                mean_return=math.fsum(returns) / len(returns),
            )
