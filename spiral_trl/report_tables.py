"""The tables of a report: where the run stands, games and turns, evaluations, the league, where a step's time goes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from spiral_trl.evaluation import SeatResult
from spiral_trl.league import DECAY
from spiral_trl.replays import Chosen
from spiral_trl.run_files import NASH_CONV_PREFIX, OTHER_MASS_SUFFIX, Alarm, Checkpoint, Metrics, short_labels

RECENT_STEPS: Final = 20
"""Over how many logged steps means of "now" are taken."""

STILL_GOING: Final = timedelta(minutes=10)
"""A run without an end that wrote something within this time counts as going on."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of the headline.

    Attributes:
        name: What it is.
        value: The figure.
        note: What more there is to say; may be empty.
    """

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table of the page.

    Attributes:
        title: What it shows.
        columns: The names of its columns; the first `num_words` hold words and the others figures.
        rows: Its cells.
        note: How to read it.
        num_words: How many columns hold words.
        is_folded: Whether only its title is seen until a reader asks for more.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    num_words: int = 1
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class AlarmGroup:
    """All alarms of one name.

    Attributes:
        name: What kind of thing it is.
        count: How often it was raised.
        first_step: When it was first raised.
        last: The newest of them.
    """

    name: str
    count: int
    first_step: int
    last: Alarm


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run got.

    Attributes:
        planned_steps: How many steps it is to have; None when no checkpoint says it.
        has_final_model: Whether the model was saved at the end.
        last_written: When the run last wrote a figure.
        now: When the report is made.
    """

    planned_steps: int | None
    has_final_model: bool
    last_written: datetime
    now: datetime


def headline(metrics: Metrics, chosen: Chosen, alarms: Sequence[Alarm], progress: Progress) -> list[Fact]:
    """Returns what a reader wants to know first."""
    last_step = metrics.steps[-1]
    planned = f"of {progress.planned_steps:,}" if progress.planned_steps else ""
    spans = dict(zip(metrics.steps, metrics.spans(), strict=True))
    tokens = _sum_of_products(metrics, ("play_tokens_per_s", "play_time_s"), spans)
    seconds = _sum_of_products(metrics, ("step_time",), spans)
    playing = _sum_of_products(metrics, ("play_time_s",), spans)
    facts = [
        _state(last_step, alarms, progress),
        Fact("steps", f"{last_step:,}", planned),
        Fact("games", f"{sum(chosen.games.values()):,}", "recorded"),
        Fact("turns", f"{sum(chosen.turns.values()):,}", "recorded"),
    ]
    if tokens:
        facts.append(Fact("tokens generated", f"{tokens:,.0f}", f"{tokens / playing:,.0f} a second of play"))
    if seconds:
        facts.append(Fact("time of all steps", _duration(seconds), f"{playing / seconds:.0%} of it play"))
    return facts + _nash_conv_facts(metrics)


def alarm_groups(alarms: Sequence[Alarm]) -> list[AlarmGroup]:
    """Returns the alarms by name, the newest first."""
    by_name: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        by_name.setdefault(alarm.name, []).append(alarm)
    groups = [AlarmGroup(name, len(each), each[0].step, each[-1]) for name, each in by_name.items()]
    return sorted(groups, key=lambda group: -group.last.step)


def games_table(chosen: Chosen) -> PageTable:
    """Returns how many games and turns there were of what kind over the run."""
    all_games, all_turns = sum(chosen.games.values()), sum(chosen.turns.values())
    rows: list[tuple[str, ...]] = []
    for (game, opponent), games in sorted(chosen.games.items()):
        turns = chosen.turns[game, opponent]
        rows.append(
            (
                game,
                opponent,
                f"{games:,}",
                f"{games / all_games:.1%}",
                f"{turns:,}",
                f"{turns / max(1, all_turns):.1%}",
                f"{turns / games:.1f}",
            )
        )
    return PageTable(
        "Games and turns",
        ("game", "against", "games", "share of games", "turns", "share of turns", "turns a game"),
        tuple(rows),
        "Turns are those of all seats.",
        num_words=2,
    )


def recent_games_table(metrics: Metrics) -> PageTable:
    """Returns how the games shared the batches of the last logged steps, as means over them."""
    rows: list[tuple[str, ...]] = []
    for game in metrics.games:
        shares = [metrics.recent(f"{game}/share_of_{what}", num_steps=RECENT_STEPS) for what in ("games", "turns")]
        if any(share is not None for share in shares):
            rows.append((game, *("" if share is None else f"{share:.1%}" for share in shares)))
    return PageTable(
        f"Games and turns, last {RECENT_STEPS} steps",
        ("game", "share of games", "share of turns"),
        tuple(rows),
        "Means over the logged steps; turns are those of the model that learns.",
    )


def league_table(metrics: Metrics) -> PageTable:
    """Returns the league as it was when it was last logged."""
    names = [name for name in metrics.names if name.startswith("league/") and name.count("/") == 2]
    curves = {name: curve for name in names if (curve := metrics.curve(name))}
    last_step = max((curve.steps[-1] for curve in curves.values()), default=0)
    now = {name: curve.values[-1] for name, curve in curves.items() if curve.steps[-1] == last_step}
    snapshots = sorted({name.split("/")[1] for name in now}, key=lambda each: (len(each), each))
    rows = tuple(
        (
            f"step {snapshot}",
            _figure(now, f"league/{snapshot}/games", "{:,.0f}"),
            _figure(now, f"league/{snapshot}/score", "{:.1%}"),
            _figure(now, f"league/{snapshot}/weight", "{:.1%}"),
        )
        for snapshot in snapshots
    )
    return PageTable(
        f"League at step {last_step:,}",
        ("snapshot", "games", "score", "chance to be drawn"),
        rows,
        "The score is that of the model that learns, from 0 (loses all) to 100 % (wins all), a draw counting half,"
        f" faded over about {round(1 / (1 - DECAY))} games: each game against a snapshot makes its earlier ones count"
        f" {DECAY} times as much. Games are all that were played.",
    )


def evaluations_table(evaluations: Sequence[tuple[int, SeatResult]]) -> PageTable:
    """Returns the newest result of every pairing and seat beside its first one."""
    by_seat: dict[tuple[str, str, int], list[tuple[int, SeatResult]]] = {}
    for step, result in evaluations:
        by_seat.setdefault((result.game, result.opponent, result.seat), []).append((step, result))
    rows: list[tuple[str, ...]] = []
    for results in by_seat.values():
        (first_step, first), (step, last) = results[0], results[-1]
        low, high = last.win_interval
        rows.append(
            (
                last.game,
                last.role,
                last.opponent,
                f"{step:,}",
                f"{last.win_rate:.0%} [{low:.0%}, {high:.0%}]",
                f"{last.draws / last.games:.0%}",
                f"{last.losses / last.games:.0%}",
                f"{last.mean_return:+.3f}",
                f"{last.faults / last.games:.2f}",
                f"{last.games:,}",
                f"{first.win_rate:.0%} (step {first_step:,})",
            )
        )
    return PageTable(
        "Evaluations during training",
        (
            "game",
            "role",
            "against",
            "step",
            "wins [95 % interval]",
            "draws",
            "losses",
            "mean return",
            "faults a game",
            "games",
            "wins at first",
        ),
        tuple(rows),
        num_words=3,
    )


def time_table(metrics: Metrics) -> PageTable:
    """Returns where the time of a step goes, as the mean of the last logged steps."""
    whole = metrics.recent("step_time", num_steps=RECENT_STEPS)
    parts = {
        name.removesuffix("_time_s").replace("_", " "): seconds
        for name in metrics.names
        if name.endswith("_time_s") and "/" not in name
        if (seconds := metrics.recent(name, num_steps=RECENT_STEPS)) is not None
    }
    rows: tuple[tuple[str, ...], ...] = ()
    if whole:
        parts["rest: scoring, loss, gradients, weights"] = max(0.0, whole - sum(parts.values()))
        parts["whole step"] = whole
        rows = tuple((name, f"{seconds:.2f}", f"{seconds / whole:.0%}") for name, seconds in parts.items())
    return PageTable(
        "Where the time of a step goes",
        ("part", "seconds", "share"),
        rows,
        f"Means over the last {RECENT_STEPS} logged steps.",
    )


def checkpoints_table(checkpoints: Sequence[Checkpoint]) -> PageTable:
    """Returns from where the run can go on."""
    rows = tuple(
        (each.name, f"{each.step:,}", f"{each.size_bytes / 1e6:,.1f} MB", "yes" if each.is_whole else "no")
        for each in checkpoints
    )
    return PageTable("Checkpoints", ("folder", "step", "size", "whole"), rows)


def settings_table(settings: Mapping[str, Any]) -> PageTable:
    """Returns the settings of a run, those of one value as they are and the others as JSON."""
    rows = tuple(
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in settings.items()
    )
    note = "Those that are not the defaults."
    return PageTable("Settings", ("setting", "value"), rows, note, num_words=2, is_folded=True)


def with_both_seats(results: Sequence[SeatResult]) -> list[SeatResult]:
    """Returns the results, and after the seats of every pairing one for all of them together."""
    pairings: dict[tuple[str, str], list[SeatResult]] = {}
    for result in results:
        pairings.setdefault((result.game, result.opponent), []).append(result)
    listed: list[SeatResult] = []
    for seats in pairings.values():
        games = sum(result.games for result in seats)
        both = replace(
            seats[0],
            role="all seats",
            games=games,
            wins=sum(result.wins for result in seats),
            draws=sum(result.draws for result in seats),
            losses=sum(result.losses for result in seats),
            faults=sum(result.faults for result in seats),
            mean_return=sum(result.mean_return * result.games for result in seats) / games,
        )
        listed += [*seats, both]
    return listed


def _nash_conv_facts(metrics: Metrics) -> list[Fact]:
    """Returns the newest NashConv of every game, with that of the start where it was measured."""
    games = [
        name.removeprefix(NASH_CONV_PREFIX)
        for name in metrics.names
        if name.startswith(NASH_CONV_PREFIX) and not name.endswith(OTHER_MASS_SUFFIX)
    ]
    short = short_labels(games)
    facts: list[Fact] = []
    for game in games:
        curve = metrics.curve(f"{NASH_CONV_PREFIX}{game}")
        if curve is None:
            continue
        note = f"NashConv at step {curve.steps[-1]:,}"
        if curve.steps[0] == 0 and curve.steps[-1] > 0:
            note += f"; NashConv at step 0: {curve.values[0]:.3f}"
        facts.append(Fact(short[game], f"{curve.values[-1]:.3f}", note))
    return facts


def _state(last_step: int, alarms: Sequence[Alarm], progress: Progress) -> Fact:
    written = f"last written {progress.last_written:%Y-%m-%d %H:%M} UTC"
    is_short = progress.planned_steps is not None and last_step < progress.planned_steps
    if progress.has_final_model and not is_short:
        return Fact("state", "finished", written)
    if progress.has_final_model and alarms and alarms[-1].step >= last_step:
        return Fact("state", "stopped", f"by alarm {alarms[-1].name}, {written}")
    if progress.now - progress.last_written <= STILL_GOING:
        return Fact("state", "going on", written)
    return Fact("state", "not finished", written)


def _sum_of_products(metrics: Metrics, names: Sequence[str], spans: Mapping[int, int]) -> float:
    """Returns the sum over all steps of the product of some figures; a line stands for all steps since the last."""
    curves = [metrics.curve(name) for name in names]
    products: dict[int, list[float]] = {}
    for curve in curves:
        for step, value in zip(*curve, strict=True) if curve else ():
            products.setdefault(step, []).append(value)
    return math.fsum(math.prod(values) * spans[step] for step, values in products.items() if len(values) == len(names))


def _figure(figures: Mapping[str, float], name: str, form: str) -> str:
    return form.format(figures[name]) if name in figures else ""


def _duration(seconds: float) -> str:
    """Returns a time in its two largest units, rounded down."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {minute} min" if hours else f"{minute} min {second} s"
