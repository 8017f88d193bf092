"""What the page of a tournament shows of its figures: forest plots, heatmaps, bars and plain tables.

Figures are texts here, and places on an axis are in percent of its width, so that the template computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spiral_envs.arena.page_scale import Scale, Span, Tick, elo_text, interval_text, percent
from spiral_envs.arena.replay_view import Link, Replays
from spiral_envs.arena.standing_records import (
    Difference,
    FaultCount,
    Matchup,
    Rating,
    SeatResult,
    SeatTerm,
    Standings,
    Triple,
)
from spiral_envs.printable import one_line


class Estimate(NamedTuple):
    """An estimate with its interval, as text and as a line of a forest plot."""

    label: str
    value: str
    interval: str
    span: Span
    others: tuple[str, ...]


class Forest(NamedTuple):
    """A forest plot: an axis and its lines; `has_groups` where some of its agents never met, even through others."""

    ticks: tuple[Tick, ...]
    zero: str
    estimates: tuple[Estimate, ...]
    has_groups: bool = False


class Cell(NamedTuple):
    """A cell of a heatmap.

    Attributes:
        score: The score as text.
        interval: Its interval as text.
        side: `win`, `loss` or empty for even.
        strength: How strongly the cell is coloured, 0 to 1.
        is_clear: Whether the interval excludes one half.
        label: The cell in words.
        link: Leads to the games of the cell; None when none of them are on the page.
    """

    score: str
    interval: str
    side: str
    strength: str
    is_clear: bool
    label: str
    link: Link | None


class Heatmap(NamedTuple):
    """Scores of the agents of a game against each other; None where two did not meet."""

    title: str
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


class SeatRow(NamedTuple):
    """Results of an agent in one seat, with the widths of its bars in percent."""

    agent: str
    role: str
    games: int
    wins: int
    draws: int
    losses: int
    win_width: str
    draw_start: str
    draw_width: str
    loss_start: str
    loss_width: str


class PageTable(NamedTuple):
    """A plain table; its first `num_words` columns hold words, the others figures."""

    id: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    num_words: int
    empty: str


class RatingMatrix(NamedTuple):
    """The rating and its interval of every agent in every game; None where an agent did not play it."""

    games: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str] | None, ...]], ...]


def rating_matrix(standings: Standings) -> RatingMatrix:
    """Returns the ratings by game of all agents, in the order of their ratings over all games."""
    columns = [{rating.agent: rating for rating in each.ratings} for each in standings.game_ratings]
    return RatingMatrix(
        tuple(each.game for each in standings.game_ratings),
        tuple(
            (overall.agent, tuple(_rating_cell(column.get(overall.agent)) for column in columns))
            for overall in standings.ratings
        ),
    )


def ratings_forest(ratings: Sequence[Rating]) -> Forest:
    """Returns the ratings, in the order given."""
    scale = Scale([0.0, *(value for rating in ratings for value in (rating.rating, *rating.interval))])
    return Forest(
        scale.ticks(),
        scale.place(0),
        tuple(
            Estimate(
                rating.agent,
                elo_text(rating.rating),
                interval_text(rating.interval),
                scale.span(rating.rating, rating.interval),
                (
                    f"{rating.games:,}",
                    f"{rating.wins:,} / {rating.draws:,} / {rating.losses:,}",
                    f"{rating.score:.1%}",
                    f"{rating.faults:,}",
                    str(rating.group + 1),
                ),
            )
            for rating in ratings
        ),
        len({rating.group for rating in ratings}) > 1,
    )


def seat_terms_forest(terms: Sequence[SeatTerm]) -> Forest:
    """Returns what the first seat of every game is worth."""
    scale = Scale([0.0, *(value for term in terms for value in (term.effect, *term.interval))])
    return Forest(
        scale.ticks(),
        scale.place(0),
        tuple(
            Estimate(
                term.game,
                elo_text(term.effect),
                interval_text(term.interval),
                scale.span(term.effect, term.interval),
                (term.first_role,),
            )
            for term in terms
        ),
    )


def heatmaps(standings: Standings, replays: Replays) -> list[Heatmap]:
    """Returns the heatmap over all games and, with more than one game, one for each."""
    agents = [rating.agent for rating in standings.ratings]
    by_game: dict[str | None, list[Matchup]] = {}
    for matchup in standings.matchups:
        by_game.setdefault(matchup.game, []).append(matchup)
    labels = [game for game in by_game if game is not None]
    found = [(game, by_game[game]) for game in (None, *(labels if len(labels) > 1 else ())) if game in by_game]
    return [_heatmap(game, matchups, agents, replays) for game, matchups in found]


def seat_rows(seats: Sequence[SeatResult]) -> dict[str, list[SeatRow]]:
    """Returns the results by seat of every game."""
    by_game: dict[str, list[SeatRow]] = {}
    for seat in seats:
        win, draw, loss = (100 * count / max(1, seat.games) for count in (seat.wins, seat.draws, seat.losses))
        row = SeatRow(
            seat.agent,
            seat.role,
            seat.games,
            seat.wins,
            seat.draws,
            seat.losses,
            win_width=percent(win),
            draw_start=percent(win),
            draw_width=percent(draw),
            loss_start=percent(win + draw),
            loss_width=percent(loss),
        )
        by_game.setdefault(seat.game, []).append(row)
    return by_game


def page_tables(standings: Standings) -> dict[str, PageTable]:
    """Returns the plain tables, by the name that the template knows them under."""
    return {
        "differences": _differences_table(standings.differences),
        "faults": _faults_table(standings),
        "aborted": PageTable(
            "aborted",
            "Aborted games",
            ("agent", "reason of the last", "games"),
            tuple((each.agent, each.reason, f"{each.count:,}") for each in standings.aborted),
            "An error of the infrastructure ended these games, which says nothing about the players: they count for "
            "nobody, and a game stands here once for each of its two agents.",
            2,
            "None: no error of the infrastructure ended a game for good.",
        ),
        "triples": _triples_table(standings.triples),
    }


def probability_text(value: float) -> str:
    """Returns a p-value."""
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _rating_cell(rating: Rating | None) -> tuple[str, str] | None:
    return None if rating is None else (elo_text(rating.rating), interval_text(rating.interval))


def _heatmap(game: str | None, matchups: Sequence[Matchup], agents: Sequence[str], replays: Replays) -> Heatmap:
    cells = {(matchup.first, matchup.second): _cell(matchup, replays) for matchup in matchups}
    met = {agent for pair in cells for agent in pair}
    shown = [agent for agent in agents if agent in met]
    rows = tuple((first, tuple(cells.get((first, second)) for second in shown)) for first in shown)
    return Heatmap("All games, each counting the same" if game is None else game, rows)


def _cell(matchup: Matchup, replays: Replays) -> Cell:
    low, high = matchup.interval
    strength = min(1.0, abs(matchup.score - 0.5) * 2)
    counts = f"{matchup.wins} won, {matchup.draws} drawn, {matchup.losses} lost in {matchup.pairs} pairs"
    return Cell(
        score=f"{matchup.score:.2f}",
        interval=f"{low:.2f}–{high:.2f}",
        side="" if matchup.score == 0.5 else "win" if matchup.score > 0.5 else "loss",
        strength=f"{0.62 * strength:.3f}",
        is_clear=low > 0.5 or high < 0.5,
        label=f"{one_line(matchup.first)} against {one_line(matchup.second)}: {matchup.score:.3f}, {counts}",
        link=replays.link(matchup.first, matchup.second, matchup.game),
    )


def _differences_table(differences: Sequence[Difference]) -> PageTable:
    return PageTable(
        "differences",
        "Differences",
        ("stronger", "weaker", "Elo points", "95 % interval", "p", "p after correction", "significant"),
        tuple(
            (
                each.better,
                each.worse,
                elo_text(each.difference),
                interval_text(each.interval),
                probability_text(each.p_value),
                probability_text(each.corrected_p_value),
                "yes" if each.is_significant else "no",
            )
            for each in differences
        ),
        "Significant: p is at most 0.05 after Holm's correction for all these comparisons together. The interval is "
        "that of each comparison alone, so one that excludes 0 is not enough.",
        2,
        "There are no two agents to compare.",
    )


def _faults_table(standings: Standings) -> PageTable:
    return PageTable(
        "faults",
        "Faults",
        ("agent", "game", "fault", "games", "of its games", "turns"),
        tuple(
            (
                each.agent,
                each.game,
                _fault_text(each),
                f"{each.games:,} of {each.played:,}",
                f"{each.games / max(1, each.played):.1%}",
                f"{each.turns:,}",
            )
            for each in standings.faults
        ),
        "A fault is a reply that is no legal move, or that was cut by a length limit. Games that a fault ended are "
        "losses in the ratings and are counted here once more, because they say something else than a lost game.",
        3,
        "None: every reply was a legal move.",
    )


def _fault_text(count: FaultCount) -> str:
    if count.fault is not None:
        return count.fault.replace("_", " ")
    kinds = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in count.kinds)
    return f"a random move was played ({kinds})" if kinds else "a random move was played"


def _triples_table(triples: Sequence[Triple]) -> PageTable:
    return PageTable(
        "triples",
        "Intransitive triples",
        ("first", "beats", "which beats", "scores, the last against the first", "significant"),
        tuple(
            (*each.agents, ", ".join(f"{score:.2f}" for score in each.scores), "yes" if each.is_significant else "no")
            for each in triples
        ),
        "Each beats the next and the last beats the first, so no rating can order the three. Significant: every one of "
        "the three intervals excludes 0.5.",
        3,
        "None: no three agents beat each other in a circle.",
    )
