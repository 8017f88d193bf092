"""What the terminal shows of a run at one time: the figures of a step, taken from its log, and how they are drawn."""

# Logs come from the trainer.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spiral_envs.printable import one_line
from spiral_trl.curves import NASH_CONV_PREFIX
from spiral_trl.run_files import Alarm, GameFigure, Metrics, metric_name, short_label, short_labels

NARROW: Final = 64
"""Below this width, in characters, only the most important columns are shown."""

_MAX_STRENGTHS: Final = 4

_MAX_ROWS: Final = 12
"""Of games, and of snapshots of the league; a view that is higher than the terminal cannot be drawn in place."""


@dataclass(frozen=True, slots=True)
class GameLine:
    """What is shown of one game.

    Attributes:
        label: Its short name.
        first_role: The role of its first seat; empty when no game was played against itself.
        first_return: The mean return of that role against itself.
        faults: Faults a game.
        reply_tokens: The mean length of a reply.
        share: The share of the learner's turns that were of this game.
    """

    label: str
    first_role: str
    first_return: float | None
    faults: float | None
    reply_tokens: float | None
    share: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the view shows at one time.

    Attributes:
        step: The last step that was logged.
        num_steps: The steps of the run.
        elapsed_s: The time since the run started or went on.
        left_s: The time that the rest will take; None before it can be told.
        games: A line a game.
        league: For every snapshot of the league its step, games, score and weight, as text.
        strength: The newest of every evaluation and NashConv, each with its step, as text.
        tokens_per_s: The speed of play.
        step_time_s: The time of a step.
        alarms: The newest alarms, oldest first.
    """

    step: int
    num_steps: int
    elapsed_s: float
    left_s: float | None
    games: tuple[GameLine, ...] = ()
    league: tuple[tuple[str, str, str, str], ...] = ()
    strength: tuple[str, ...] = ()
    tokens_per_s: float | None = None
    step_time_s: float | None = None
    alarms: tuple[Alarm, ...] = ()


@dataclass(frozen=True, slots=True)
class RunView:
    """Draws a snapshot in whatever width there is.

    Attributes:
        snapshot: What to draw.
    """

    snapshot: Snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the parts of the view from top to bottom."""
        is_narrow = options.max_width < NARROW
        snapshot = self.snapshot
        parts: list[RenderableType] = [_bar(snapshot, is_narrow=is_narrow)]
        if snapshot.games:
            # The bar, two headers, the lines on strength and alarms and the prompt take the rest.
            max_rows = max(1, min(_MAX_ROWS, (console.height - 10) // (2 if snapshot.league else 1)))
            parts.append(_games_table(snapshot.games, is_narrow=is_narrow, max_rows=max_rows))
            if snapshot.league:
                parts.append(_league_table(snapshot.league, max_rows=max_rows))
        parts += [_cut(text) for text in snapshot.strength[-_MAX_STRENGTHS:]]
        parts += [Text(one_line(alarm_text(alarm)), style="bold red") for alarm in snapshot.alarms]
        yield Group(*parts)


def plain_line(snapshot: Snapshot) -> str:
    """Returns the figures of a snapshot in one line without control codes."""
    parts = [f"step {snapshot.step}/{snapshot.num_steps}"]
    for game in snapshot.games:
        figures = [
            f"{game.first_role} {game.first_return:+.3f}" if game.first_return is not None else "",
            f"{game.faults:.2f} faults/game" if game.faults is not None else "",
            f"{game.reply_tokens:.0f} tokens" if game.reply_tokens is not None else "",
        ]
        parts.append(f"{game.label}: {' '.join(figure for figure in figures if figure)}")
    if snapshot.tokens_per_s is not None:
        parts.append(f"{snapshot.tokens_per_s:,.0f} tokens/s")
    parts.append(f"elapsed {_clock_time(snapshot.elapsed_s)}")
    if snapshot.left_s is not None:
        parts.append(f"left {_clock_time(snapshot.left_s)}")
    return one_line(" | ".join(parts))


def alarm_text(alarm: Alarm) -> str:
    """Returns an alarm as a sentence."""
    return f"alarm at step {alarm.step}: {alarm.name}: {alarm.message}"


def game_lines(logs: Mapping[str, Any]) -> tuple[GameLine, ...]:
    """Returns the line of every game in the log of a step."""
    metrics = Metrics([{**logs, "step": 0}])
    short = short_labels(metrics.games)
    first_roles: dict[str, str] = {}
    for about in metrics.game_figures():
        if about.figure == "return" and about.against is None and about.role is not None:
            first_roles.setdefault(about.game, about.role)
    figures = {about: curve.values[0] for about, curve in metrics.game_figures().items()}

    def figure(game: str, name: str, role: str | None = None) -> float | None:
        return figures.get(GameFigure(game, role, None, name))

    return tuple(
        GameLine(
            label,
            first_roles.get(game, ""),
            figure(game, "return", first_roles.get(game)),
            figure(game, "faults"),
            figure(game, "reply_tokens"),
            figure(game, "share_of_turns"),
        )
        for game, label in short.items()
    )


def league_rows(logs: Mapping[str, Any]) -> tuple[tuple[str, str, str, str], ...]:
    """Returns the step, games, score and weight of every snapshot in the log of a step, as text."""
    snapshots = [
        name.removeprefix("league/").removesuffix("/weight")
        for name in logs
        if name.startswith("league/") and name.endswith("/weight")
    ]
    return tuple(
        (
            f"step {snapshot}",
            _formatted(number_in(logs, f"league/{snapshot}/games"), ".0f"),
            _formatted(number_in(logs, f"league/{snapshot}/score"), ".0%"),
            _formatted(number_in(logs, f"league/{snapshot}/weight"), ".0%"),
        )
        for snapshot in snapshots
    )


def strength_texts(logs: Mapping[str, Any], step: int) -> dict[str, str]:
    """Returns the measurements in a log as sentences, by the name of the metric."""
    texts: dict[str, str] = {}
    logs = {metric_name(name): value for name, value in logs.items()}
    for name in logs:
        value = number_in(logs, name)
        if value is None:
            continue
        if name.startswith(NASH_CONV_PREFIX) and not name.endswith("/other"):
            game = short_label(name.removeprefix(NASH_CONV_PREFIX))
            texts[name] = f"NashConv {value:.3f} at step {step}: {game}"
        elif name.startswith("eval/") and name.endswith("/win_rate"):
            pairing = name.removeprefix("eval/").removesuffix("/win_rate")
            game, _, agent = pairing.partition(" vs ")
            low, high = (number_in(logs, f"eval/{pairing}/{end}") for end in ("low", "high"))
            interval = f" [{low:.0%}, {high:.0%}]" if low is not None and high is not None else ""
            texts[name] = f"wins {value:.0%}{interval} at step {step}: {short_label(game)} vs {agent}"
    return texts


def number_in(logs: Mapping[str, Any], name: str) -> float | None:
    """Returns a figure in the log of a step; None when it is missing or not finite."""
    value = logs.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _bar(snapshot: Snapshot, *, is_narrow: bool) -> RenderableType:
    left = "" if snapshot.left_s is None else f"left {_clock_time(snapshot.left_s)}"
    cells: list[RenderableType] = [
        ProgressBar(total=max(1, snapshot.num_steps), completed=snapshot.step, width=10 if is_narrow else 24),
        Text(f"{snapshot.step}/{snapshot.num_steps}", style="green"),
        Text(left, style="cyan"),
    ]
    if not is_narrow:
        cells.insert(0, Text("self-play"))
        speed = "" if snapshot.tokens_per_s is None else f"{snapshot.tokens_per_s:,.0f} tokens/s"
        step_time = "" if snapshot.step_time_s is None else f"{snapshot.step_time_s:.1f} s/step"
        cells += [Text(f"elapsed {_clock_time(snapshot.elapsed_s)}"), Text(speed), Text(step_time)]
    row = Table.grid(padding=(0, 1))
    for _ in cells:
        row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(*cells)
    return row


def _games_table(games: Sequence[GameLine], *, is_narrow: bool, max_rows: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    names = ("game",) if is_narrow else ("game", "role")
    for name in names:
        # Only columns that may wrap give room to the others; their cells are cut instead.
        table.add_column(name)
    for name in ("return", "faults") if is_narrow else ("return", "faults/game", "tokens/reply", "turns"):
        table.add_column(name, justify="right", no_wrap=True)
    for game in games[:max_rows]:
        figures = [_formatted(game.first_return, "+.3f"), _formatted(game.faults, ".2f")]
        if not is_narrow:
            figures += [_formatted(game.reply_tokens, ".0f"), _formatted(game.share, ".0%")]
        words = (game.label, game.first_role)[: len(names)]
        table.add_row(*(_cut(word) for word in words), *(Text(figure) for figure in figures))
    if len(games) > max_rows:
        table.add_row(Text(f"and {len(games) - max_rows} more", style="dim"))
    return table


def _league_table(league: Sequence[tuple[str, str, str, str]], *, max_rows: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("league", "games", "score", "weight"):
        table.add_column(name, justify="left" if name == "league" else "right", no_wrap=True)
    for row in league[-max_rows:]:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    return table


def _cut(text: str) -> Text:
    """Returns `text` for one line, at whose end it is cut."""
    return Text(one_line(text), no_wrap=True, overflow="ellipsis")


def _formatted(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _clock_time(seconds: float) -> str:
    """Returns a time as hours, minutes and seconds."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
