"""The terminal view of a run: a bar with the time left, and under it the figures that matter, a line a game.

Where the output is no terminal, there is one plain line a logged step instead.
"""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spiral_envs.printable import one_line
from spiral_trl.run_files import Alarm, alarm_of, parse_record
from spiral_trl.run_view import (
    NARROW,
    RunView,
    Snapshot,
    alarm_text,
    game_lines,
    league_rows,
    number_in,
    plain_line,
    strength_texts,
)

UPDATES_A_SECOND: Final = 2.0
"""How often the view is drawn at most."""

_RECENT_LOGS: Final = 20
"""Over how many logged steps the speed is taken that the time left is reckoned from."""

_MAX_ALARMS: Final = 3


def make_progress(console: Console) -> Progress:
    """Returns a progress bar with counts, elapsed and remaining time and a column for live figures."""
    is_narrow = console.width < NARROW
    ahead = [TextColumn("{task.description}", markup=False), BarColumn(bar_width=8 if is_narrow else 24)]
    times = [] if is_narrow else [TimeElapsedColumn(), TextColumn("left")]
    return Progress(
        *ahead,
        MofNCompleteColumn(),
        *times,
        TimeRemainingColumn(),
        # The figures name games and agents, whose brackets are no markup.
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        refresh_per_second=UPDATES_A_SECOND,
    )


class ProgressCallback(TrainerCallback):
    """Shows the training on the main process: as a live view on a terminal, else as plain lines."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Sets where to draw, and the clock that times are taken from, in seconds."""
        self._console = console
        self._clock = clock
        self._live: Live | None = None
        self._started_at = clock()
        self._marks: deque[tuple[float, int]] = deque(maxlen=_RECENT_LOGS + 1)
        self._strength: dict[str, str] = {}
        self._league: tuple[tuple[str, str, str, str], ...] = ()
        self._alarms: list[Alarm] = []
        self._alarm_file: _NewAlarms | None = None
        self._snapshot = Snapshot(0, 0, 0.0, None)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Starts the view at the step from which the run goes on."""
        if not state.is_world_process_zero:
            return
        self._started_at = self._clock()
        self._marks.append((self._started_at, state.global_step))
        self._alarm_file = _NewAlarms(Path(str(args.output_dir)) / "alarms.jsonl")
        self._snapshot = Snapshot(state.global_step, state.max_steps, 0.0, None)
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._view, console=self._console, refresh_per_second=UPDATES_A_SECOND, transient=False
            )
            self._live.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Shows the figures of a step; what is measured now and then stays until it is measured anew."""
        if not state.is_world_process_zero or not logs:
            return
        measured = strength_texts(logs, state.global_step)
        self._strength |= measured
        self._league = league_rows(logs) or self._league
        new_alarms = self._alarm_file.read() if self._alarm_file else []
        self._alarms = (self._alarms + new_alarms)[-_MAX_ALARMS:]
        is_step = "loss" in logs
        # The drawing thread reads the snapshot: it is replaced, never changed.
        self._snapshot = replace(
            self._after_step(state, logs) if is_step else self._snapshot,
            league=self._league,
            strength=tuple(self._strength.values()),
            alarms=tuple(self._alarms),
        )
        if self._live is None:
            self._print([plain_line(self._snapshot)] if is_step else [])
            self._print([*measured.values(), *(alarm_text(alarm) for alarm in new_alarms)])

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ends the view."""
        self.stop()

    def stop(self) -> None:
        """Ends the view of a run, finished or interrupted; a second call does nothing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _left(self, num_steps: int) -> float | None:
        (first_time, first_step), (last_time, last_step) = self._marks[0], self._marks[-1]
        if last_step == first_step:
            return None
        return (last_time - first_time) / (last_step - first_step) * num_steps

    def _view(self) -> RunView:
        """Returns the newest snapshot with the times of now: a step may take minutes."""
        snapshot, now = self._snapshot, self._clock()
        left_s = None
        if snapshot.left_s is not None:
            left_s = max(0.0, snapshot.left_s - (now - self._started_at - snapshot.elapsed_s))
        return RunView(replace(snapshot, elapsed_s=now - self._started_at, left_s=left_s))

    def _after_step(self, state: TrainerState, logs: Mapping[str, Any]) -> Snapshot:
        """Returns what the log of a training step says."""
        self._marks.append((self._clock(), state.global_step))
        return Snapshot(
            step=state.global_step,
            num_steps=state.max_steps,
            elapsed_s=self._marks[-1][0] - self._started_at,
            left_s=self._left(state.max_steps - state.global_step),
            games=game_lines(logs),
            tokens_per_s=number_in(logs, "play_tokens_per_s"),
            step_time_s=number_in(logs, "step_time"),
        )

    def _print(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._console.print(one_line(line), markup=False, highlight=False, emoji=False, soft_wrap=True)


class _NewAlarms:
    """Reads what is added to a file of alarms; what it held at first, from before a resume, is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_to = path.stat().st_size if path.exists() else 0

    def read(self) -> list[Alarm]:
        """Returns the alarms of the whole lines that were added since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read_to += len(whole)
        found = [parse_record(line) for line in whole.decode(errors="replace").split("\n")]
        return [alarm for record in found if record and (alarm := alarm_of(record))]
