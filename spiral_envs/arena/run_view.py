"""What a person sees of a running tournament: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from spiral_envs.arena.tournament import Progress as Played
from spiral_envs.printable import one_line

UPDATES_A_SECOND: Final = 2.0
"""How often the bar is drawn at most."""

LINE_EVERY_S: Final = 10.0
"""How often a plain line is printed at most."""

NARROW: Final = 80
"""Below this width, in characters, the bar is short and only the time left is shown."""

STOPPING: Final = "stopping: waits for replies that are under way (Ctrl-C again leaves them)"


class RunView:
    """Shows how far a tournament is; a context manager."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Sets where to draw, and the clock that times are taken from, in seconds."""
        self._console = console
        self._clock = clock
        self._started_at = self._shown_at = clock()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last: Played | None = None
        self._is_stopping = False
        self._known_aside: set[str] = set()

    def __enter__(self) -> Self:
        """Starts the hours."""
        self._started_at = self._shown_at = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the view with what was seen last."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif self._last is not None:
            self._print(self._line(self._last))

    def show(self, played: Played) -> None:
        """Takes in how far the tournament is, and shows it if it is time to."""
        self._last = played
        for agent in played.set_aside.keys() - self._known_aside:
            self._known_aside.add(agent)
            self._print(one_line(f"{agent} is set aside: {played.set_aside[agent]}"))
        if played.is_stopping and not self._is_stopping:
            self._is_stopping = True
            self._print(STOPPING)
        if self._console.is_terminal:
            self._draw(played)
        elif self._clock() - self._shown_at >= LINE_EVERY_S:
            self._shown_at = self._clock()
            self._print(self._line(played))

    def _draw(self, played: Played) -> None:
        if self._bar is None:
            self._bar = _make_bar(self._console)
            # Games of earlier runs count for the bar, not for the speed.
            self._task = self._bar.add_task("games", total=played.total, completed=played.done, figures="")
            self._bar.start()
        assert self._task is not None, "it was added with the bar"
        self._bar.update(self._task, completed=played.done, figures=self._figures(played))

    def _line(self, played: Played) -> str:
        speed = self._speed(played)
        parts = [f"games {played.done:,}/{played.total:,}", self._figures(played)]
        if speed:
            parts.append(f"left {_clock_time((played.total - played.done) / speed)}")
        return " | ".join(part for part in parts if part)

    def _figures(self, played: Played) -> str:
        """Returns what is known beyond the number of games."""
        speed = self._speed(played)
        parts = [
            f"{speed:,.1f} games/s" if speed else "",
            f"{played.forfeits:,} forfeits" if played.forfeits else "",
            f"{played.aborted:,} aborted" if played.aborted else "",
            f"{played.tokens:,} tokens" if played.tokens else "",
            "" if played.cost is None else f"${played.cost:.4f}",
        ]
        return " | ".join(part for part in parts if part)

    def _speed(self, played: Played) -> float:
        """Returns the games a second that this run has finished."""
        elapsed_s = self._clock() - self._started_at
        return played.played / elapsed_s if elapsed_s > 0 else 0.0

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def view_of_terminal() -> RunView:
    """Returns a view that draws where the command prints."""
    return RunView(Console())


def _make_bar(console: Console) -> Progress:
    is_narrow = console.width < NARROW
    times = [] if is_narrow else [TimeElapsedColumn(), TextColumn("left")]
    figures = [] if is_narrow else [TextColumn("{task.fields[figures]}", markup=False)]
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=8 if is_narrow else 24),
        MofNCompleteColumn(),
        *times,
        TimeRemainingColumn(),
        *figures,
        console=console,
        refresh_per_second=UPDATES_A_SECOND,
    )


def _clock_time(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
