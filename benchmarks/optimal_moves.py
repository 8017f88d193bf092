"""How good an agent's moves are in games that can be searched: the share of optimal ones, and what the others give up.

The positions are those of games that the agent plays in both seats, against itself and against other agents. Every turn
of the agent counts, so that a position that comes up twice counts twice; how many different ones there were is told as
well. A game is the unit of chance: intervals come from a bootstrap over whole games.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from spiral_envs import find_game, make_agent, make_match, play
from spiral_envs.agents import Agent
from spiral_envs.chance import match_seed
from spiral_envs.episode import Episode
from spiral_envs.game import GameSpec
from spiral_envs.regret import MoveJudge, Verdict, judge

SEARCHED_WHOLE: Final = 16
"""A game of at most so many plies is searched whole; tic-tac-toe, Nim's 1-3-5-7 and Connect Four on 4x4 are."""

DEPTH: Final = 6
"""How many plies every move of a longer game is searched: some 10 ms a position of Connect Four, 8 plies some 60."""

RESAMPLES: Final = 1_000

Z_95: Final = 1.959963984540054


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Share(NamedTuple):
    """A mean over positions with its interval over games; None when there was no such position."""

    mean: float | None
    interval: Interval | None
    positions: int


@dataclass
class GameTally:
    """The agent's turns in one game.

    Attributes:
        verdicts: How many moves got which verdict.
        choices: How many of the decided ones were made where a proven mistake was possible.
        optimal_choices: How many of these were optimal.
        regret: What the decided moves gave up in all.
        chance_level: The sum over those positions of the share of the legal moves that is optimal.
        faults: Turns without a move, by fault.
        positions: The states in which the turns were taken.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter[Verdict])
    choices: int = 0
    optimal_choices: int = 0
    regret: float = 0.0
    chance_level: float = 0.0
    faults: Counter[str] = field(default_factory=Counter[str])
    positions: set[Any] = field(default_factory=set[Any])


@dataclass(frozen=True, slots=True)
class MoveQuality:
    """How good an agent's moves were against one opponent.

    Attributes:
        game: The game's label.
        opponent: The other agent's name, or `itself`.
        depth: How many plies every move was searched; None for the whole game.
        games: How many games there were, half of them with the agent in each seat.
        turns: How many moves the agent made; faults are not among them.
        distinct: How many different positions they were made in.
        proven: The share of moves made where the value of the position is proven, of all moves.
        optimal: The share of optimal moves, of those that are decided.
        choices: The share of optimal moves, of those made where a proven mistake was possible.
        chance_level: What `choices` would be for a random player in the same positions.
        regret: What a decided move gave up on average, in the units of the returns.
        undecided: How many moves were made where the value is proven, but is not that of the move.
        faults: Turns without a move, by fault.
    """

    game: str
    opponent: str
    depth: int | None
    games: int
    turns: int
    distinct: int
    proven: Share
    optimal: Share
    choices: Share
    chance_level: float | None
    regret: Share
    undecided: int
    faults: Counter[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as plain values."""
        return asdict(self)


def search_depth(spec: GameSpec, depth: int | None) -> int | None:
    """Returns how many plies moves are searched: as many as are asked for, or else the whole game where it is short."""
    if depth is not None:
        return depth
    return None if spec.game.max_plies <= SEARCHED_WHOLE else DEPTH


def measure_moves(
    game: str,
    agent: Agent,
    opponent: str,
    *,
    games_per_seat: int,
    seed: int,
    depth: int | None = None,
    on_game: Callable[[], None] = lambda: None,
) -> MoveQuality:
    """Returns how good the agent's moves were.

    Args:
        game: A game of two with perfect information and without chance.
        agent: Whom to judge.
        opponent: An agent string, or `itself`.
        games_per_seat: How many games the agent plays in each seat.
        seed: Of the opponent and of the matches.
        depth: See `search_depth`.
        on_game: Called after every game that is judged.

    Raises:
        ValueError: The game is of another kind.
    """
    spec = find_game(game)
    move_judge = MoveJudge(spec, depth=search_depth(spec, depth))
    tallies: list[GameTally] = []
    for seats, episode in _games(spec.label, agent, opponent, games_per_seat, seed):
        tallies.append(_tally(move_judge, episode, seats))
        on_game()
    return _quality(move_judge, opponent, tallies)


def _games(
    game: str, agent: Agent, opponent: str, games_per_seat: int, seed: int
) -> Iterator[tuple[tuple[int, ...], Episode]]:
    """Yields games with the seats of the agent in them."""
    if opponent == "itself":
        matches = (make_match(game, seed=match_seed(seed, number)) for number in range(2 * games_per_seat))
        for episode in play(matches, (agent, agent)):
            yield (0, 1), episode
        return
    other = make_agent(opponent, seed=seed)
    for seat in (0, 1):
        numbers = range(seat * games_per_seat, (seat + 1) * games_per_seat)
        matches = (make_match(game, seed=match_seed(seed, number)) for number in numbers)
        for episode in play(matches, (agent, other) if seat == 0 else (other, agent)):
            yield (seat,), episode


def _tally(move_judge: MoveJudge, episode: Episode, seats: Sequence[int]) -> GameTally:
    spec, tally = move_judge.spec, GameTally()
    state = spec.game.initial_state()
    for turn in episode.turns:
        if turn.fault is not None and turn.seat in seats:
            tally.faults[turn.fault.value] += 1
        if turn.move is None:
            break
        move = spec.codec.parse_move(state, turn.move)
        if turn.fault is None and turn.seat in seats:
            _count(tally, move_judge, state, move)
        state = spec.game.next_state(state, move)
    return tally


def _count(tally: GameTally, move_judge: MoveJudge, state: Any, move: Any) -> None:
    bounds = move_judge.bounds(state)
    verdict, regret = judge(bounds, move)
    tally.verdicts[verdict] += 1
    tally.positions.add(state)
    if regret is None:
        return
    tally.regret += regret
    verdicts = [judge(bounds, other).verdict for other in bounds]
    if Verdict.MISTAKE in verdicts:
        tally.choices += 1
        tally.optimal_choices += verdict is Verdict.OPTIMAL
        tally.chance_level += verdicts.count(Verdict.OPTIMAL) / len(verdicts)


def _quality(move_judge: MoveJudge, opponent: str, tallies: Sequence[GameTally]) -> MoveQuality:
    def column(*verdicts: Verdict) -> list[float]:
        return [float(sum(tally.verdicts[each] for each in verdicts)) for tally in tallies]

    lowest, highest = move_judge.spec.return_range
    turns, decided = column(*Verdict), column(Verdict.OPTIMAL, Verdict.MISTAKE)
    proven = column(Verdict.OPTIMAL, Verdict.MISTAKE, Verdict.UNDECIDED)
    choices = [float(tally.choices) for tally in tallies]
    return MoveQuality(
        game=move_judge.spec.label,
        opponent=opponent,
        depth=move_judge.depth,
        games=len(tallies),
        turns=round(sum(turns)),
        distinct=len(set[Any]().union(*(tally.positions for tally in tallies))),
        proven=_share(proven, turns, most=1.0),
        optimal=_share(column(Verdict.OPTIMAL), decided, most=1.0),
        choices=_share([float(tally.optimal_choices) for tally in tallies], choices, most=1.0),
        chance_level=sum(tally.chance_level for tally in tallies) / sum(choices) if sum(choices) else None,
        regret=_share([tally.regret for tally in tallies], decided, most=highest - lowest),
        undecided=round(sum(column(Verdict.UNDECIDED))),
        faults=sum((tally.faults for tally in tallies), Counter[str]()),
    )


def _share(parts: Sequence[float], wholes: Sequence[float], *, most: float) -> Share:
    """Returns the ratio of two sums over games, with a bootstrap interval over the games.

    Where all of it or nothing was seen the bootstrap cannot tell how sure that is; Wilson's interval over the games
    that have a position then does, which takes each for one observation.

    Args:
        parts: The sum of every game.
        wholes: What it is divided by.
        most: The largest that the ratio can be; the smallest is 0.
    """
    positions = round(sum(wholes))
    if not positions:
        return Share(None, None, 0)
    part, whole = np.array(parts), np.array(wholes)
    mean = float(part.sum() / whole.sum())
    if mean in {0.0, most}:
        low, high = _wilson(mean / most, int(np.count_nonzero(whole)))
        return Share(mean, Interval(low * most, high * most), positions)
    if len(parts) < 2:
        return Share(mean, None, positions)
    # The same resamples for everybody, so that a figure does not depend on what was measured before it.
    drawn = np.random.default_rng(0).multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=RESAMPLES)
    sums = drawn @ whole
    low, high = np.quantile((drawn @ part)[sums > 0] / sums[sums > 0], [0.025, 0.975]).tolist()
    return Share(mean, Interval(low, high), positions)


def _wilson(rate: float, number: int) -> Interval:
    spread = Z_95**2 / number
    center, half = rate + spread / 2, Z_95 * math.sqrt(rate * (1 - rate) / number + spread / number / 4)
    return Interval(max(0.0, (center - half) / (1 + spread)), min(1.0, (center + half) / (1 + spread)))
