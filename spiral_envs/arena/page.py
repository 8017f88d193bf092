"""The page of a tournament: one HTML file that needs nothing else, with a viewer for its games."""

# jinja2 is typed in part only, and a tournament's settings come from JSON.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from statistics import median
from typing import Any, Final, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from spiral_envs.arena.coverage import Coverage
from spiral_envs.arena.page_figures import (
    heatmaps,
    page_tables,
    probability_text,
    rating_matrix,
    ratings_forest,
    seat_rows,
    seat_terms_forest,
)
from spiral_envs.arena.page_scale import elo_text, interval_text
from spiral_envs.arena.page_steps import step_plots
from spiral_envs.arena.replay_view import Replays
from spiral_envs.arena.standing_records import Difference, Rating, Standings
from spiral_envs.printable import one_line, printable

FOLDED_FROM: Final = 31
"""A table with so many rows shows its title only until a reader asks for more."""

_VALUE_CHARACTERS: Final = 2000

_GAMES_IN_VERDICT: Final = 4


@dataclass(frozen=True, slots=True)
class Page:
    """What a page is made of.

    Attributes:
        title: What the tournament is called.
        standings: All tables.
        replays: The games to read.
        coverage: How much of it is played.
        num_unreadable: How many lines of the games' file hold no game.
        anchor: The agent whose rating is 0; None where the mean of all is.
        settings: What `tournament.json` holds.
        command: What makes the page anew.
        pictures: The names of the pictures beside it.
        last_change: When the last game was written.
        made: When the page was made.
    """

    title: str
    standings: Standings
    replays: Replays
    coverage: Coverage
    num_unreadable: int
    anchor: str | None
    settings: Mapping[str, Any]
    command: str
    pictures: Sequence[str]
    last_change: datetime
    made: datetime


class _Fact(NamedTuple):
    """One figure of the headline."""

    name: str
    value: str
    note: str = ""


def render(page: Page) -> str:
    """Returns the HTML of a page, which can be encoded as UTF-8."""
    folder = files("spiral_envs.arena").joinpath("templates")
    source, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("arena.html.j2", "arena.js"))
    standings = page.standings
    # Every value passes `_shown` and is then escaped; nothing from a tournament reaches the page on another way.
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True)
    environment.filters["breakable"] = _breakable
    return environment.from_string(source).render(
        page=page,
        verdict=_verdict(standings),
        leaders=_leaders(standings),
        facts=_facts(page),
        notes=[*standings.notes, *_coverage_notes(page)],
        ratings=ratings_forest(standings.ratings),
        matrix=rating_matrix(standings),
        forests=[(each.game, ratings_forest(each.ratings)) for each in standings.game_ratings],
        partly=_partly(standings),
        step_plots=step_plots(standings),
        seat_terms=seat_terms_forest(standings.seat_terms),
        heatmaps=heatmaps(standings, page.replays),
        seats=seat_rows(standings.seats),
        tables=page_tables(standings),
        settings=_settings(page.settings),
        folded_from=FOLDED_FROM,
        # Only this script may run: its hash stands in the page's policy.
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(page.replays.data),
    )


def _verdict(standings: Standings) -> list[str]:
    """Returns who leads and how sure that is, in sentences."""
    ratings = standings.ratings
    if len({rating.group for rating in ratings}) > 1:
        return ["Nobody leads: the agents fall into groups that never met, so ratings of different groups say nothing."]
    first, second = ratings[:2]
    lead = _difference(standings.differences, first.agent, second.agent)
    rating = f"{elo_text(first.rating)} Elo points, 95 % interval {interval_text(first.interval)}"
    sentences = [f"{one_line(first.agent)} leads with {rating}."]
    if lead is not None:
        is_real = "is significant" if lead.is_significant else "is not significant, so who is best is open"
        size = f"{elo_text(lead.difference)} {interval_text(lead.interval)}"
        sentences.append(
            f"Its lead of {size} over {one_line(second.agent)} {is_real}"
            f" ({_p_value(lead.corrected_p_value)} after Holm's correction)."
        )
    if len(ratings) > 2:
        sentences.append(_beaten(standings, first.agent, second.agent))
    return sentences


def _leaders(standings: Standings) -> list[tuple[str, str]]:
    """Returns every game and who is first and second in it."""
    if len(standings.game_ratings) < 2:
        return []
    return [
        (each.game, ", then ".join(map(_placed, each.ratings[:2])))
        for each in standings.game_ratings[:_GAMES_IN_VERDICT]
        if len({rating.group for rating in each.ratings}) == 1
    ]


def _placed(rating: Rating) -> str:
    return f"{one_line(rating.agent)} {elo_text(rating.rating)} {interval_text(rating.interval)}"


def _beaten(standings: Standings, first: str, second: str) -> str:
    """Returns how many of those behind the second the first one is surely stronger than."""
    num_others = len(standings.ratings) - 2
    num_beaten = sum(
        each.better == first and each.worse != second and each.is_significant for each in standings.differences
    )
    if num_beaten == num_others:
        return "It is significantly stronger than " + ("the third." if num_others == 1 else f"all {num_others} others.")
    return f"It is significantly stronger than {num_beaten or 'none'} of the {num_others} others."


def _p_value(value: float) -> str:
    text = probability_text(value)
    return f"p {text}" if text.startswith("below") else f"p = {text}"


def _partly(standings: Standings) -> list[str]:
    """Returns who has not played every game, with how many they have played."""
    num_games = len(standings.game_ratings)
    counts = Counter(rating.agent for each in standings.game_ratings for rating in each.ratings)
    return [
        f"{one_line(rating.agent)} ({counts[rating.agent]} of {num_games})"
        for rating in standings.ratings
        if counts[rating.agent] < num_games
    ]


def _coverage_notes(page: Page) -> list[str]:
    """Returns what is not played yet."""
    covered = page.coverage
    notes = []
    if covered.num_missing and covered.pairs is not None and covered.num_complete is not None:
        missing = "1 game is" if covered.num_missing == 1 else f"{covered.num_missing:,} games are"
        notes.append(
            f"The tournament is not complete: {missing} missing in {covered.num_matchups - covered.num_complete:,}"
            f" of {covered.num_matchups:,} matchups, each of {covered.pairs:,} pairs."
        )
    notes += [
        f"No game of {one_line(name)} is finished, so it is in none of the tables." for name in covered.without_games
    ]
    return notes


def _facts(page: Page) -> list[_Fact]:
    standings = page.standings
    ratings = standings.ratings
    num_games = page.replays.num_games
    half_widths = [(rating.interval.high - rating.interval.low) / 2 for rating in ratings]
    num_faults = sum(rating.faults for rating in ratings)
    labels = {seat.game for seat in standings.seats}
    num_aborted = max(0, round(sum(each.count for each in standings.aborted) / 2))
    num_clear = sum(each.is_significant for each in standings.differences)
    return [
        _Fact("agents", str(len(ratings)), f"in {len(labels)} {'game' if len(labels) == 1 else 'games'}"),
        _Fact("finished games", f"{num_games:,}", _of_planned(page.coverage)),
        _Fact("how sure", f"± {_finite(median(half_widths), '.0f')}", "Elo points, half of the median 95 % interval"),
        _Fact(
            "differences", f"{num_clear} of {len(standings.differences)}", "pairs of agents that differ significantly"
        ),
        _Fact("lost by a fault", f"{num_faults:,}", f"{num_faults / max(1, num_games):.1%} of the games"),
        _Fact("aborted", f"{num_aborted:,}", "counted for nobody"),
        _Fact("newest game", f"{page.last_change:%H:%M} UTC", f"{page.last_change:%Y-%m-%d}"),
    ]


def _of_planned(covered: Coverage) -> str:
    pairs = "1 pair" if covered.num_pairs == 1 else f"{covered.num_pairs:,} pairs"
    return f"of {covered.num_games + covered.num_missing:,}; {pairs}" if covered.num_missing else pairs


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns what the tournament was told to play, a line a setting; values that hold more are written as JSON."""
    rows = [
        (one_line(str(name)), value if isinstance(value, str) else _json(value)) for name, value in settings.items()
    ]
    return [(name, _limited(one_line(value))) for name, value in rows]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _limited(text: str) -> str:
    if len(text) <= _VALUE_CHARACTERS:
        return text
    return f"{text[:_VALUE_CHARACTERS]} [… the first {_VALUE_CHARACTERS:,} of {len(text):,} characters]"


def _difference(differences: Sequence[Difference], better: str, worse: str) -> Difference | None:
    return next((each for each in differences if (each.better, each.worse) == (better, worse)), None)


def _finite(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "unknown"


def _shown(value: Any) -> Any:
    """Returns what a template writes for a value: texts of any origin without characters that act."""
    # Exactly str: what jinja2 has escaped already is of another class.
    return printable(value) if type(value) is str else value


def _breakable(name: str) -> Markup:
    """Returns a name, escaped, that a browser may break after the characters that part it."""
    # No character reference holds one of these, so none is torn; & is left out for that reason.
    return Markup(re.sub(r"[(,/:?@=](?=\S)", r"\g<0><wbr>", str(escape(one_line(name)))))
