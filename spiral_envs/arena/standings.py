"""Who is stronger, by how much and how surely: every table of a tournament, from its games."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final, TypeAlias

from spiral_envs.arena.ratings import Fit, PairResult, estimate_interval, holm, p_value, rate
from spiral_envs.arena.records import GameRecord
from spiral_envs.arena.standing_records import (
    Aborted,
    Difference,
    FaultCount,
    GameRatings,
    Matchup,
    Rating,
    SeatResult,
    SeatTerm,
    Standings,
    Triple,
)
from spiral_envs.intervals import FEW_PAIRS, Interval, student_t
from spiral_envs.printable import one_line

SIGNIFICANCE: Final = 0.05
"""The level at which a difference counts, after Holm's correction."""

_UNEQUAL: Final = 3
"""From so many times as many pairs of one game as of another the few decide how sure the ratings are."""


def standings(
    games: Sequence[GameRecord],
    *,
    aborted: Iterable[Mapping[str, Any]] = (),
    seed: int = 0,
    resamples: int = 1000,
    anchor: str | None = None,
) -> Standings:
    """Returns all tables of a tournament; the order of the games does not matter.

    Games of an agent against itself are in no table.

    Args:
        games: The finished games.
        aborted: The lines of `aborted.jsonl`, in their order; those of games that were finished since do not count.
        seed: Decides the resamples behind the intervals.
        resamples: How many of them, at least 2.
        anchor: The agent whose rating is 0; by default the mean of the agents is.

    Raises:
        ValueError: There are no games of two agents, the anchor played none, or there are fewer than 2 resamples.
    """
    if resamples < 2:
        raise ValueError(f"intervals need at least 2 resamples, got {resamples}")
    rated = sorted((game for game in games if game.agents[0] != game.agents[1]), key=lambda game: game.id)
    if not rated:
        raise ValueError(f"standings need finished games of two different agents, got none among {len(games)} games")
    pairs = _pairs(rated)
    results = [_pair_result(key, pair) for key, pair in pairs.items()]
    fit = rate(results, resamples=resamples, seed=seed, anchor=anchor)
    matchups = _matchups(pairs)
    lost = _aborted({game.id for game in games}, aborted)
    ratings = _ratings(fit, rated)
    return Standings(
        ratings=ratings,
        game_ratings=_game_ratings(results, rated, resamples, seed, anchor),
        seat_terms=_seat_terms(fit, rated),
        matchups=matchups,
        seats=_seats(rated),
        faults=_faults(rated),
        aborted=lost,
        differences=_differences(fit),
        triples=_triples(matchups),
        notes=_notes(games, pairs, ratings, matchups, anchor),
    )


_PairKey: TypeAlias = tuple[str, str, str, int]
"""The game's label, its two agents by name, and the number of the pair."""

_Pairs: TypeAlias = dict[_PairKey, list[GameRecord]]


def _pairs(games: Iterable[GameRecord]) -> _Pairs:
    pairs: _Pairs = defaultdict(list)
    for game in games:
        low, high = sorted(game.agents)
        pairs[game.game, low, high, game.pair].append(game)
    return dict(sorted(pairs.items()))


def _points(game: GameRecord, agent: str) -> float:
    """Returns what an agent of the game won: 1, 0.5 or 0."""
    return game.score if game.agents[0] == agent else 1 - game.score


def _pair_result(key: _PairKey, games: Sequence[GameRecord]) -> PairResult:
    label, low, high, _ = key
    seatings = [[game for game in games if game.agents[seat] == low] for seat in (0, 1)]
    points = [math.fsum(_points(game, low) for game in seating) for seating in seatings]
    return PairResult(label, (low, high), (points[0], points[1]), (len(seatings[0]), len(seatings[1])))


@dataclass(frozen=True, slots=True)
class _Tally:
    """Games of one agent.

    Attributes:
        games: How many.
        wins: Games won.
        draws: Games drawn.
        losses: Games lost.
    """

    games: int
    wins: int
    draws: int
    losses: int


def _tally(games: Sequence[GameRecord], agent: str) -> _Tally:
    points = Counter(_points(game, agent) for game in games)
    return _Tally(len(games), points[1.0], points[0.5], points[0.0])


def _ratings(fit: Fit, games: Sequence[GameRecord]) -> tuple[Rating, ...]:
    ratings: list[Rating] = []
    for place, agent in enumerate(fit.agents):
        own = [game for game in games if agent in game.agents]
        by_label: dict[str, list[float]] = defaultdict(list)
        for game in own:
            by_label[game.game].append(_points(game, agent))
        tally = _tally(own, agent)
        rating = float(fit.skills[place])
        ratings.append(
            Rating(
                agent=agent,
                rating=rating,
                interval=estimate_interval(rating, fit.resampled_skills[:, place]),
                group=fit.groups[place],
                games=tally.games,
                wins=tally.wins,
                draws=tally.draws,
                losses=tally.losses,
                faults=sum(_ended_by(game, agent) for game in own),
                score=fmean(fmean(points) for points in by_label.values()),
            )
        )
    return tuple(sorted(ratings, key=lambda rating: (rating.group, -rating.rating, rating.agent)))


def _game_ratings(
    results: Sequence[PairResult], games: Sequence[GameRecord], resamples: int, seed: int, anchor: str | None
) -> tuple[GameRatings, ...]:
    """Returns the ratings of every game by itself, with the anchor at 0 where it played."""
    by_label: dict[str, list[PairResult]] = defaultdict(list)
    for result in results:
        by_label[result.game].append(result)
    found: list[GameRatings] = []
    for label, own in sorted(by_label.items()):
        played = any(anchor in result.agents for result in own)
        fit = rate(own, resamples=resamples, seed=seed, anchor=anchor if played else None)
        found.append(GameRatings(label, _ratings(fit, [game for game in games if game.game == label])))
    return tuple(found)


def _ended_by(game: GameRecord, agent: str) -> bool:
    """Returns whether a fault of the agent ended the game."""
    return game.offender is not None and game.agents[game.offender] == agent


def _seat_terms(fit: Fit, games: Sequence[GameRecord]) -> tuple[SeatTerm, ...]:
    roles = {game.game: game.roles[0] for game in games}
    return tuple(
        SeatTerm(
            game=label,
            first_role=roles[label],
            effect=float(fit.seat_terms[place]),
            interval=estimate_interval(float(fit.seat_terms[place]), fit.resampled_seat_terms[:, place]),
        )
        for place, label in enumerate(fit.games)
    )


def _matchups(pairs: _Pairs) -> tuple[Matchup, ...]:
    """Returns every two agents in both orders, in every game by label and then over all games."""
    cells: dict[tuple[str, str], dict[str, list[list[GameRecord]]]] = defaultdict(lambda: defaultdict(list))
    for (label, low, high, _), games in pairs.items():
        cells[low, high][label].append(games)
        cells[high, low][label].append(games)
    matchups: list[Matchup] = []
    for (first, second), by_label in sorted(cells.items()):
        matchups += [_matchup(first, second, label, {label: played}) for label, played in by_label.items()]
        matchups.append(_matchup(first, second, None, by_label))
    return tuple(matchups)


def _matchup(
    first: str, second: str, label: str | None, by_label: Mapping[str, Sequence[Sequence[GameRecord]]]
) -> Matchup:
    pairs = [pair for played in by_label.values() for pair in played]
    tally = _tally([game for pair in pairs for game in pair], first)
    scores = [[fmean(_points(game, first) for game in pair) for pair in played] for played in by_label.values()]
    return Matchup(
        first=first,
        second=second,
        game=label,
        pairs=len(pairs),
        games=tally.games,
        wins=tally.wins,
        draws=tally.draws,
        losses=tally.losses,
        score=fmean(fmean(each) for each in scores),
        interval=score_interval(scores),
    )


def score_interval(pair_scores: Sequence[Sequence[float]]) -> Interval:
    """Returns the 95 % interval of the mean of the mean scores of several games, from the score of every pair.

    Of one game it is `win_rate_interval`: Student's t, with one pair more that was won and one that was lost. Of
    several games every pair has a weight, so that each game counts the same, and the two pairs more are added to the
    number of pairs whose mean would be as precise as the weighted one (Kish 1965). That the games differ counts as
    uncertainty as well, so that the interval is rather too wide: in simulations with 2 to 5 games and 1 to 100 pairs it
    held the true score at least 98 % of the time.

    Args:
        pair_scores: For every game the score of each pair, 0 to 1.

    Raises:
        ValueError: There are no games, or one without pairs.
    """
    if not pair_scores or not all(pair_scores):
        raise ValueError("an interval needs at least one game, and a pair of each")
    weighted = [(1 / (len(pair_scores) * len(scores)), score) for scores in pair_scores for score in scores]
    number = 1 / math.fsum(weight**2 for weight, _ in weighted)
    centre = (number * math.fsum(weight * score for weight, score in weighted) + 1) / (number + 2)
    squares = number * math.fsum(weight * (score - centre) ** 2 for weight, score in weighted)
    variance = (squares + centre**2 + (1 - centre) ** 2) / (number + 1)
    # Rounded first, because the number of equal weights may come out just below the integer that it is.
    half = student_t(math.floor(round(number, 6)) + 1) * math.sqrt(variance / (number + 2))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def _seats(games: Iterable[GameRecord]) -> tuple[SeatResult, ...]:
    by_seat: dict[tuple[str, str, int], list[GameRecord]] = defaultdict(list)
    for game in games:
        for seat, agent in enumerate(game.agents):
            by_seat[agent, game.game, seat].append(game)
    results: list[SeatResult] = []
    for (agent, label, seat), own in sorted(by_seat.items()):
        tally = _tally(own, agent)
        role = own[0].roles[seat]
        results.append(SeatResult(agent, label, seat, role, tally.games, tally.wins, tally.draws, tally.losses))
    return tuple(results)


def _faults(games: Iterable[GameRecord]) -> tuple[FaultCount, ...]:
    turns: Counter[tuple[str, str, str | None]] = Counter()
    in_games: Counter[tuple[str, str, str | None]] = Counter()
    played: Counter[tuple[str, str]] = Counter()
    kinds: dict[tuple[str, str, str | None], Counter[str]] = defaultdict(Counter)
    for game in games:
        for seat, agent in enumerate(game.agents):
            played[agent, game.game] += 1
            ended = game.offender == seat
            if ended:
                turns[agent, game.game, game.fault] += 1
                in_games[agent, game.game, game.fault] += 1
            others = game.num_faults[seat] - ended
            if others > 0:
                turns[agent, game.game, None] += others
                in_games[agent, game.game, None] += 1
                # The last fault is the one that ended the game.
                kinds[agent, game.game, None].update(game.fault_kinds[seat][:others])
    ordered = sorted(turns, key=lambda key: (key[0], key[1], key[2] is None, key[2] or ""))
    return tuple(
        FaultCount(
            agent, label, fault, turns[key], in_games[key], played[agent, label], tuple(sorted(kinds[key].items()))
        )
        for key in ordered
        for agent, label, fault in [key]
    )


def _aborted(finished: set[str], lines: Iterable[Mapping[str, Any]]) -> tuple[Aborted, ...]:
    """Returns what was not finished; a line that is no aborted game is left out, as `game_records` does."""
    last: dict[str, tuple[tuple[str, ...], str]] = {}
    for line in lines:
        try:
            game, agents, reason = str(line["id"]), line["agents"], str(line["reason"])
            last[game] = tuple(sorted({str(agent) for agent in agents})), one_line(reason)
        except (KeyError, TypeError):
            continue
    counts = Counter(
        (agent, reason) for game, (agents, reason) in last.items() if game not in finished for agent in agents
    )
    return tuple(Aborted(agent, count, reason) for (agent, reason), count in sorted(counts.items()))


def _differences(fit: Fit) -> tuple[Difference, ...]:
    found: list[tuple[str, str, float, Interval, float]] = []
    order = sorted(range(len(fit.agents)), key=lambda place: (-fit.skills[place], fit.agents[place]))
    for better, worse in itertools.combinations(order, 2):
        if fit.groups[better] != fit.groups[worse]:
            continue
        difference = float(fit.skills[better] - fit.skills[worse])
        resampled = fit.resampled_skills[:, better] - fit.resampled_skills[:, worse]
        interval = estimate_interval(difference, resampled)
        found.append((fit.agents[better], fit.agents[worse], difference, interval, p_value(difference, resampled)))
    corrected = holm([p for *_, p in found])
    differences = [
        Difference(*each, corrected_p_value=p, is_significant=p <= SIGNIFICANCE)
        for each, p in zip(found, corrected, strict=True)
    ]
    return tuple(sorted(differences, key=lambda each: (each.p_value, -each.difference, each.better, each.worse)))


def _triples(matchups: Iterable[Matchup]) -> tuple[Triple, ...]:
    overall: dict[tuple[str, str], Matchup] = {}
    labels: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in matchups:
        if each.game is None:
            overall[each.first, each.second] = each
        else:
            labels[each.first, each.second].add(each.game)
    agents = sorted({agent for edge in overall for agent in edge})
    triples: list[Triple] = []
    for low, middle, high in itertools.combinations(agents, 3):
        for first, second, third in ((low, middle, high), (low, high, middle)):
            edges = ((first, second), (second, third), (third, first))
            # Who is better may differ from game to game, so that scores over different games form no circle.
            if any(labels[edge] != labels[edges[0]] for edge in edges):
                continue
            beaten = [overall[edge] for edge in edges if edge in overall and overall[edge].score > 0.5]
            if len(beaten) == 3:
                scores = (beaten[0].score, beaten[1].score, beaten[2].score)
                is_significant = all(edge.interval.low > 0.5 for edge in beaten)
                triples.append(Triple((first, second, third), scores, is_significant))
    return tuple(sorted(triples, key=lambda each: (not each.is_significant, -min(each.scores), each.agents)))


def _notes(
    games: Sequence[GameRecord],
    pairs: _Pairs,
    ratings: Sequence[Rating],
    matchups: Sequence[Matchup],
    anchor: str | None,
) -> tuple[str, ...]:
    rated = [game for pair in pairs.values() for game in pair]
    notes = [
        *_connection_notes(ratings, anchor),
        *_different_games_notes(rated),
        *_bound_notes(ratings),
        *_pair_notes(pairs, matchups),
        *_forfeit_notes(rated),
    ]
    itself = len(games) - len(rated)
    if itself:
        notes.append(f"{_count(itself, 'game')} of an agent against itself left out of all tables.")
    return tuple(notes)


def _connection_notes(ratings: Sequence[Rating], anchor: str | None) -> Iterable[str]:
    groups: dict[int, list[str]] = defaultdict(list)
    for rating in ratings:
        groups[rating.group].append(rating.agent)
    if len(groups) == 1:
        return
    listed = "; ".join(", ".join(members) for members in groups.values())
    yield f"not connected: no chain of games links these groups, whose ratings cannot be compared: {listed}."
    if anchor is not None:
        yield f"{anchor} is the 0 of its own group only; of the other groups the mean is."


def _different_games_notes(games: Iterable[GameRecord]) -> Iterable[str]:
    labels: dict[str, set[str]] = defaultdict(set)
    for game in games:
        for agent in game.agents:
            labels[agent].add(game.game)
    if len({frozenset(each) for each in labels.values()}) > 1:
        yield (
            "the overall rating compares agents that played different games, as if whoever is stronger in one were so"
            " in all: see the ratings by game."
        )


def _bound_notes(ratings: Iterable[Rating]) -> Iterable[str]:
    for rating in ratings:
        if rating.games in {rating.wins, rating.losses}:
            did, end = ("won", "stronger") if rating.wins else ("lost", "weaker")
            yield (
                f"{rating.agent} {did} every game: it may be {end} than its rating by any amount, which only agents"
                " closer to it can show."
            )


def _pair_notes(pairs: _Pairs, matchups: Iterable[Matchup]) -> Iterable[str]:
    cells = [each for each in matchups if each.game is not None and each.first < each.second]
    few = [each for each in cells if each.pairs < FEW_PAIRS]
    if few:
        yield (
            f"fewer than {FEW_PAIRS} pairs in {len(few)} of {len(cells)} matchups of two agents in a game, which say"
            " little by themselves."
        )
    numbers = Counter(key[0] for key in pairs)
    fewest, most = min(numbers.values()), max(numbers.values())
    if most >= _UNEQUAL * fewest:
        yield (
            f"games of unequal numbers count the same: {fewest} pairs of one and {most} of another"
            + ("; the intervals of ratings are too narrow then." if few else ".")
        )
    unpaired = sum(len({game.agents for game in pair}) == 1 for pair in pairs.values())
    if unpaired:
        yield (
            f"{_count(unpaired, 'pair')} without a game in the other seating, which count all the same: the deal may"
            " have favoured a seat there."
        )


def _forfeit_notes(games: Sequence[GameRecord]) -> Iterable[str]:
    forfeits = sum(game.offender is not None for game in games)
    if forfeits:
        yield (
            f"{forfeits} of {len(games)} games ({forfeits / len(games):.1%}) were decided by a fault: they show who"
            " keeps to the rules rather than who plays well."
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
