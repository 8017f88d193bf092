"""The page of a tournament: one HTML file that needs nothing else, with a viewer for its games."""

# jinja2 is typed in part only, and a tournament's settings come from JSON.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from statistics import median
from typing import Any, Final, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from spiral_envs.arena.page_figures import (
    elo_text,
    heatmaps,
    interval_text,
    page_tables,
    probability_text,
    ratings_forest,
    seat_rows,
    seat_terms_forest,
)
from spiral_envs.arena.replay_view import Replays
from spiral_envs.arena.standing_records import Difference, Standings
from spiral_envs.printable import one_line, printable

FOLDED_FROM: Final = 31
"""A table with so many rows shows its title only until a reader asks for more."""

_VALUE_CHARACTERS: Final = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """What a page is made of.

    Attributes:
        title: What the tournament is called.
        standings: All tables.
        replays: The games to read.
        num_pairs: How many pairs have a finished game.
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
    num_pairs: int
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
        facts=_facts(page),
        ratings=ratings_forest(standings.ratings),
        has_groups=len({rating.group for rating in standings.ratings}) > 1,
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
    if len(ratings) < 2:
        return ["There is no one to compare with: only one agent has finished games."]
    first, second = ratings[:2]
    lead = _difference(standings.differences, first.agent, second.agent)
    sentences = [
        f"{one_line(first.agent)} leads with {elo_text(first.rating)} Elo points {interval_text(first.interval)}."
    ]
    if lead is not None:
        is_real = "is significant" if lead.is_significant else "is not significant"
        size = f"{elo_text(lead.difference)} {interval_text(lead.interval)}"
        sentences.append(
            f"Its lead of {size} over {one_line(second.agent)} {is_real}"
            f" (p = {probability_text(lead.corrected_p_value)} after Holm's correction)."
        )
    beaten = [
        each
        for each in standings.differences
        if each.better == first.agent and each.worse != second.agent and each.is_significant
    ]
    if len(ratings) > 2:
        sentences.append(f"Of the {len(ratings) - 2} others it is significantly stronger than {len(beaten)}.")
    return sentences


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
        _Fact("finished games", f"{num_games:,}", f"{page.num_pairs:,} pairs"),
        _Fact("how sure", f"± {_finite(median(half_widths), '.0f')}", "Elo points, half of the median 95 % interval"),
        _Fact(
            "differences", f"{num_clear} of {len(standings.differences)}", "pairs of agents that differ significantly"
        ),
        _Fact("lost by a fault", f"{num_faults:,}", f"{num_faults / max(1, num_games):.1%} of the games"),
        _Fact("aborted", f"{num_aborted:,}", "counted for nobody"),
        _Fact("newest game", f"{page.last_change:%H:%M} UTC", f"{page.last_change:%Y-%m-%d}"),
    ]


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
