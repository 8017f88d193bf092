"""How strong a model is: matches against reference agents by seat, with intervals.

Before and after a run `evaluate` plays them. During a run the trainer plays what `plan_evaluation` lists, on all its
processes, and `pooled_results` sums up both seats. They are played in pairs: the same deal once with the model in
every seat, so that no deal favours it, and it is the pairs that an interval counts as independent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Final, TypeAlias

from spiral_envs.agents import Agent, make_agent
from spiral_envs.chance import match_seed
from spiral_envs.episode import Episode
from spiral_envs.intervals import Interval, mean_return_interval, wilson_interval, win_rate_interval
from spiral_envs.sources import find_source
from spiral_trl.collector import collect
from spiral_trl.schedule import GamePlan

_FIRST_PAIR: Final = 2**39
"""Where evaluation starts in the numbers of a run's matches, of which its seed has 2^40."""


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


@dataclass(frozen=True, slots=True)
class PooledResult:
    """What the evaluated agent reached over all seats of one game against one opponent.

    Attributes:
        game: The game's label.
        opponent: The opponent's name.
        pairs: How many deals were played, each once with the agent in every seat.
        games: How many games that were.
        wins: Games with a positive return for the evaluated agent.
        draws: Games with return 0.
        losses: Games with a negative return.
        faults: Faults of the evaluated agent; a fault loses the game.
        mean_return: Its mean return.
        win_interval: The 95 % interval of the share of games won.
        return_interval: The 95 % interval of the mean return; None after a single pair.
    """

    game: str
    opponent: str
    pairs: int
    games: int
    wins: int
    draws: int
    losses: int
    faults: int
    mean_return: float
    win_interval: Interval
    return_interval: Interval | None

    @property
    def win_rate(self) -> float:
        """The share of games won."""
        return self.wins / self.games


_Seating: TypeAlias = tuple[int, Episode]
"""The seat of the evaluated agent, and its game."""


def plan_evaluation(games: Iterable[str], agents: Iterable[str], *, pairs: int, seed: int) -> list[GamePlan]:
    """Returns the games of an evaluation during a run, numbered from 0.

    It is the same plan whenever it is made, so that two evaluations of a run differ by the model alone, and every
    opponent meets it on the same deals. Pair number k has the seed of the run's match number 2^39 + k: the training
    games of a run are numbered from 0, so they never have the seed of an evaluated one, nor do those of a run with
    another seed.

    Args:
        games: What to play; a game that is named twice is played once.
        agents: The agent strings of the opponents, against all of which every game is played.
        pairs: How many deals of each game against each agent, each played once with the learner in every seat.
        seed: The seed of the run.

    Raises:
        UnknownNameError: No such game.
        ValueError: There are no pairs.
    """
    if pairs < 1:
        raise ValueError(f"pairs is {pairs}: an evaluation needs at least 1")
    sources = {source.label: source for source in map(find_source, games)}
    opponents = list(dict.fromkeys(agents))
    seatings = [
        (label, match_seed(seed, _FIRST_PAIR + pair), agent, seat)
        for label, source in sources.items()
        for agent in opponents
        for pair in range(pairs)
        for seat in range(len(source.roles))
    ]
    return [
        GamePlan(number, label, match, agent, (seat,)) for number, (label, match, agent, seat) in enumerate(seatings)
    ]


def seat_results(plans: Sequence[GamePlan], episodes: Sequence[Episode]) -> list[SeatResult]:
    """Returns the results of the learner in every seat of every game against every opponent, in the order of the plan.

    Raises:
        ValueError: An episode is not that of its plan.
    """
    by_seat: dict[tuple[str, str, int], list[Episode]] = defaultdict(list)
    for plan, seat, episode in _seated(plans, episodes):
        by_seat[episode.game, plan.opponent, seat].append(episode)
    return [_seat_result(*key, played) for key, played in by_seat.items()]


def pooled_results(plans: Sequence[GamePlan], episodes: Sequence[Episode]) -> list[PooledResult]:
    """Returns the results of the learner over all seats, for every game and opponent in the order of the plan.

    Raises:
        ValueError: An episode is not that of its plan, or a deal was not played from every seat.
    """
    pairs: dict[tuple[str, str], dict[int, list[_Seating]]] = defaultdict(lambda: defaultdict(list))
    for plan, seat, episode in _seated(plans, episodes):
        pairs[episode.game, plan.opponent][plan.seed].append((seat, episode))
    return [_pooled(game, opponent, list(played.values())) for (game, opponent), played in pairs.items()]


def evaluation_metrics(results: Iterable[PooledResult]) -> dict[str, float]:
    """Returns the figures to log, by name: `eval/GAME vs AGENT/win_rate` and so on.

    `low` and `high` are the 95 % interval of the win rate, and `faults` is faults of the learner a game.
    """
    metrics: dict[str, float] = {}
    for result in results:
        prefix = f"eval/{result.game} vs {result.opponent}"
        metrics[f"{prefix}/win_rate"] = result.win_rate
        metrics[f"{prefix}/low"] = result.win_interval.low
        metrics[f"{prefix}/high"] = result.win_interval.high
        metrics[f"{prefix}/mean_return"] = result.mean_return
        metrics[f"{prefix}/faults"] = result.faults / result.games
    return metrics


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
        for seat in range(len(source.roles)):
            opponent = make_agent(opponent_name, seed=seed + seat)
            seating = [agent if each == seat else opponent for each in range(len(source.roles))]
            episodes = collect([game], seating, num_games=games_per_seat, seed=seed)
            yield _seat_result(source.label, opponent_name, seat, episodes)


def _seated(plans: Sequence[GamePlan], episodes: Sequence[Episode]) -> Iterator[tuple[GamePlan, int, Episode]]:
    """Yields every plan with the learner's seat and the episode.

    Raises:
        ValueError: An episode is not that of its plan.
    """
    for plan, episode in zip(plans, episodes, strict=True):
        if episode.seed != plan.seed or episode.game != find_source(plan.game).label:
            raise ValueError(
                f"game {plan.number} of the evaluation is {plan.game} from seed {plan.seed}, but the episode is"
                f" {episode.game} from seed {episode.seed}"
            )
        (seat,) = plan.learner_seats
        yield plan, seat, episode


def _seat_result(game: str, opponent: str, seat: int, episodes: Sequence[Episode]) -> SeatResult:
    returns = [episode.outcome.returns[seat] for episode in episodes]
    return SeatResult(
        game=game,
        opponent=opponent,
        seat=seat,
        role=episodes[0].roles[seat],
        games=len(episodes),
        wins=sum(each > 0 for each in returns),
        draws=sum(each == 0 for each in returns),
        losses=sum(each < 0 for each in returns),
        faults=sum(_num_faults(episode, seat) for episode in episodes),
        mean_return=fmean(returns),
    )


def _pooled(game: str, opponent: str, pairs: Sequence[Sequence[_Seating]]) -> PooledResult:
    """Returns the result of pairs, each with one game a seat.

    Raises:
        ValueError: A pair is not complete.
    """
    for pair in pairs:
        if sorted(seat for seat, _ in pair) != list(range(len(pair[0][1].roles))):
            raise ValueError(f"the deal of {game} from seed {pair[0][1].seed} was not played once from every seat")
    returns = [[episode.outcome.returns[seat] for seat, episode in pair] for pair in pairs]
    every = [each for pair in returns for each in pair]
    return PooledResult(
        game=game,
        opponent=opponent,
        pairs=len(pairs),
        games=len(every),
        wins=sum(each > 0 for each in every),
        draws=sum(each == 0 for each in every),
        losses=sum(each < 0 for each in every),
        faults=sum(_num_faults(episode, seat) for pair in pairs for seat, episode in pair),
        mean_return=fmean(every),
        win_interval=win_rate_interval([sum(each > 0 for each in pair) / len(pair) for pair in returns]),
        return_interval=mean_return_interval([fmean(pair) for pair in returns]),
    )


def _num_faults(episode: Episode, seat: int) -> int:
    return sum(turn.fault is not None for turn in episode.turns if turn.seat == seat)
