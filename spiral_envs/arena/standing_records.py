"""The tables of a tournament as records; `standings.py` computes them."""

from __future__ import annotations

from dataclasses import dataclass

from spiral_envs.intervals import Interval


@dataclass(frozen=True, slots=True)
class Rating:
    """How strong an agent is: over all games of a tournament, or in the one game of a `GameRatings`.

    Attributes:
        agent: Its agent string.
        rating: Its rating in Elo points, where the mean of its group is 0, or the anchor if it is in the group.
        interval: The 95 % interval of the rating, in Elo points.
        group: The number of its group, from 0. Agents of different groups never met, not even by way of others, so
            that their ratings cannot be compared.
        games: How many games it played.
        wins: Games it won.
        draws: Games it drew.
        losses: Games it lost.
        faults: Games that a fault of its own ended; each is a loss as well.
        score: The share of points it won, a draw being half of one; every game label counts the same.
    """

    agent: str
    rating: float
    interval: Interval
    group: int
    games: int
    wins: int
    draws: int
    losses: int
    faults: int
    score: float


@dataclass(frozen=True, slots=True)
class GameRatings:
    """How strong every agent is in one game, fitted to that game alone.

    Attributes:
        game: The game's label.
        ratings: Every agent that played it, best first, group by group. The figures and groups are those of this game.
            The mean of a group is 0, so that ratings of different games have different zeros.
    """

    game: str
    ratings: tuple[Rating, ...]


@dataclass(frozen=True, slots=True)
class SeatTerm:
    """What the first seat of a game is worth.

    Attributes:
        game: The game's label.
        first_role: The role of seat 0.
        effect: How many Elo points are added to the rating of whoever sits in seat 0; negative where seat 1 is the
            better one.
        interval: The 95 % interval of the effect, in Elo points.
    """

    game: str
    first_role: str
    effect: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Matchup:
    """How one agent did against another, over both seats. Each two that met are listed in both orders.

    Attributes:
        first: The agent whose score it is.
        second: Its opponent.
        game: The game's label; None for all games together, each of which counts the same.
        pairs: How many deals they played, each with the agents in both seats.
        games: How many games that were.
        wins: Games that `first` won.
        draws: Games that were drawn.
        losses: Games that `first` lost.
        score: The share of points that `first` won, 0 to 1, a draw being half a point.
        interval: The 95 % interval of the score, from the pairs.
    """

    first: str
    second: str
    game: str | None
    pairs: int
    games: int
    wins: int
    draws: int
    losses: int
    score: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class SeatResult:
    """What an agent reached in one seat of a game, against everybody.

    Attributes:
        agent: Its agent string.
        game: The game's label.
        seat: The seat, 0 or 1.
        role: The role that the rules give the seat.
        games: How many games it played there.
        wins: Games it won.
        draws: Games it drew.
        losses: Games it lost.
    """

    agent: str
    game: str
    seat: int
    role: str
    games: int
    wins: int
    draws: int
    losses: int


@dataclass(frozen=True, slots=True)
class FaultCount:
    """How often an agent made faults of one kind in a game; only what happened is listed.

    Attributes:
        agent: Its agent string.
        game: The game's label.
        fault: The kind of the fault that ended games (`malformed`, `illegal`, `truncated`, `prompt_too_long`); None for
            all faults that ended no game, in whose place a random move was played.
        turns: On how many turns.
        games: In how many games.
        played: How many games of this label the agent played.
        kinds: Of faults that ended no game: on how many of these turns each kind was made, by kind; otherwise empty.
    """

    agent: str
    game: str
    fault: str | None
    turns: int
    games: int
    played: int
    kinds: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Aborted:
    """Games of an agent that errors of the infrastructure ended and that were not played since; nobody lost them.

    Attributes:
        agent: The agent; a game is counted for both of its agents.
        count: How many games.
        reason: Why the last attempt at them ended, on one line.
    """

    agent: str
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Difference:
    """How far apart two agents of the same group are.

    Attributes:
        better: The agent with the higher rating.
        worse: The other one.
        difference: How much higher it is, in Elo points.
        interval: The 95 % interval of this difference alone, in Elo points.
        p_value: Two-sided, of the hypothesis that they are equally strong, before correction.
        corrected_p_value: The same after Holm's correction for all differences of the tournament together.
        is_significant: Whether the corrected one is at most 0.05; only then is the better agent called better.
    """

    better: str
    worse: str
    difference: float
    interval: Interval
    p_value: float
    corrected_p_value: float
    is_significant: bool


@dataclass(frozen=True, slots=True)
class Triple:
    """Three agents that no rating can order: each beats the next one, and the last beats the first.

    All three matchups are over the same games.

    Attributes:
        agents: The three, where the first beats the second, the second the third and the third the first.
        scores: The score of each against the next over all games, 0 to 1, all above 0.5.
        is_significant: Whether the interval of every one of the three scores excludes 0.5.
    """

    agents: tuple[str, str, str]
    scores: tuple[float, float, float]
    is_significant: bool


@dataclass(frozen=True, slots=True)
class Standings:
    """All tables of a tournament.

    Attributes:
        ratings: Every agent, best first, group by group.
        game_ratings: The same for every game by itself, by label.
        seat_terms: Every game, by label.
        matchups: Every two agents that met, in both orders, in every game and over all games.
        seats: Every agent in every seat of every game it played.
        faults: Faults of the agents.
        aborted: Games that no one lost, because an error ended them.
        differences: Every two agents of a group, the largest evidence first.
        triples: Intransitive triples over all games, the significant ones first.
        notes: What a reader should know before believing the figures, a sentence each.
    """

    ratings: tuple[Rating, ...]
    game_ratings: tuple[GameRatings, ...]
    seat_terms: tuple[SeatTerm, ...]
    matchups: tuple[Matchup, ...]
    seats: tuple[SeatResult, ...]
    faults: tuple[FaultCount, ...]
    aborted: tuple[Aborted, ...]
    differences: tuple[Difference, ...]
    triples: tuple[Triple, ...]
    notes: tuple[str, ...]
