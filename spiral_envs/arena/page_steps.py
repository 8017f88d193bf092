"""Ratings over training steps, as the page of a tournament draws them: places in percent, figures as text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from spiral_envs.arena.checkpoints import TrainedRun, trained_runs
from spiral_envs.arena.page_scale import Scale, Tick, elo_text, interval_text, percent
from spiral_envs.arena.standing_records import Rating, Standings
from spiral_envs.printable import one_line

MOST_REFERENCES: Final = 6
"""With more agents that are no checkpoints, a plot over training steps shows none of them."""

_APART: Final = 7.0
"""How far two labels at the edge of a plot are apart at least, in percent of its height."""

_LABEL_CHARACTERS: Final = 18


class Point(NamedTuple):
    """A checkpoint in a plot."""

    step: str
    rating: str
    interval: str
    x: str
    y: str
    low: str
    high: str


class Line(NamedTuple):
    """A run in a plot: its points, and between every two of them x and y of both."""

    name: str
    points: tuple[Point, ...]
    segments: tuple[tuple[str, str, str, str], ...]


class Reference(NamedTuple):
    """An agent that is no checkpoint: the height of its rating, and that of its label."""

    agent: str
    label: str
    y: str
    label_y: str


class StepPlot(NamedTuple):
    """Ratings over training steps.

    Attributes:
        game: The game's label; None for all games.
        heights: Marks of the axis of ratings, from 0 at the top.
        steps: Marks of the axis of steps.
        lines: The runs.
        references: Other agents of the tournament, for comparison.
    """

    game: str | None
    heights: tuple[Tick, ...]
    steps: tuple[Tick, ...]
    lines: tuple[Line, ...]
    references: tuple[Reference, ...]


def step_plots(standings: Standings) -> list[StepPlot]:
    """Returns the plot over all games and, with more than one game, one for each; none without a trained run."""
    by_game = standings.game_ratings if len(standings.game_ratings) > 1 else ()
    plots = [_plot(None, standings.ratings), *(_plot(each.game, each.ratings) for each in by_game)]
    return [plot for plot in plots if plot is not None]


def references(ratings: Sequence[Rating], runs: Sequence[TrainedRun]) -> list[Rating]:
    """Returns the agents that a plot of these runs shows for comparison, best first."""
    groups = {rating.group for run in runs for rating in run.ratings}
    in_runs = {rating.agent for run in runs for rating in run.ratings}
    # Ratings of another group have another zero.
    others = [rating for rating in ratings if rating.agent not in in_runs and {rating.group} == groups]
    return others if len(others) <= MOST_REFERENCES else []


def apart(heights: Sequence[float], distance: float) -> list[float]:
    """Returns where labels stand that belong at these ascending heights, at least this far apart."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + distance) if placed else height)
    # What was pushed below the edge pushes back.
    highest = max(heights, default=0.0)
    for place in reversed(range(len(placed))):
        highest = placed[place] = min(placed[place], highest)
        highest -= distance
    return placed


def short_name(agent: str) -> str:
    """Returns what tells an agent from others at a glance: the end of its name, without its settings."""
    plain = one_line(agent.partition("?")[0])
    return plain if len(plain) <= _LABEL_CHARACTERS else f"…{plain[1 - _LABEL_CHARACTERS :]}"


def _plot(game: str | None, ratings: Sequence[Rating]) -> StepPlot | None:
    runs = trained_runs(ratings)
    if not runs:
        return None
    others = references(ratings, runs)
    shown = [rating for run in runs for rating in run.ratings]
    values = [value for rating in shown for value in (rating.rating, *rating.interval)]
    height = Scale([*values, *(rating.rating for rating in others)])
    width = Scale([float(step) for run in runs for step in run.steps])
    return StepPlot(
        game,
        tuple(Tick(elo_text(mark), _top(height, mark)) for mark in height.marks()),
        tuple(Tick(f"{mark:,.0f}", width.place(mark)) for mark in width.marks() if mark >= 0),
        tuple(_line(run, width, height) for run in runs),
        _labelled(others, height),
    )


def _line(run: TrainedRun, width: Scale, height: Scale) -> Line:
    points = tuple(
        Point(
            str(step),
            elo_text(rating.rating),
            interval_text(rating.interval),
            width.place(step),
            _top(height, rating.rating),
            _top(height, rating.interval.low),
            _top(height, rating.interval.high),
        )
        for step, rating in zip(run.steps, run.ratings, strict=True)
    )
    return Line(run.name, points, tuple((one.x, one.y, two.x, two.y) for one, two in pairwise(points)))


def _labelled(others: Sequence[Rating], height: Scale) -> tuple[Reference, ...]:
    tops = sorted((100 - height.share(rating.rating), rating.agent) for rating in others)
    places = apart([top for top, _ in tops], _APART)
    return tuple(
        Reference(agent, short_name(agent), percent(top), percent(place))
        for (top, agent), place in zip(tops, places, strict=True)
    )


def _top(scale: Scale, value: float) -> str:
    return percent(100 - scale.share(value))
