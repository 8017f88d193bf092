"""The terminal view of a run: a bar with the time left and the figures that matter."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


def make_progress(console: Console) -> Progress:
    """Returns a progress bar with counts, elapsed and remaining time and a column for live figures."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
    )


class ProgressCallback(TrainerCallback):
    """Shows the training as a bar with live figures, on the main process."""

    def __init__(self, console: Console) -> None:
        """Sets where to draw."""
        self._progress = make_progress(console)
        self._task = self._progress.add_task("self-play", total=None, figures="")

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Starts the bar at the step from which the run goes on."""
        if state.is_world_process_zero:
            self._progress.update(self._task, total=state.max_steps, completed=state.global_step)
            self._progress.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Moves the bar and shows the newest figures."""
        if state.is_world_process_zero and logs and "loss" in logs:
            self._progress.update(self._task, completed=state.global_step, figures=_figures(logs))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ends the bar."""
        self._progress.stop()

    def stop(self) -> None:
        """Ends the bar of a run that was interrupted."""
        self._progress.stop()


def _figures(logs: dict[str, Any]) -> str:
    """Returns the mean faults a game and reply length of a step, and its speed."""
    faults = [value for name, value in logs.items() if name.endswith("/faults")]
    lengths = [value for name, value in logs.items() if name.endswith("/reply_tokens")]
    parts = [
        f"{sum(faults) / len(faults):.1%} faults/game" if faults else "",
        f"{sum(lengths) / len(lengths):.0f} tokens/reply" if lengths else "",
        f"{logs['play_tokens_per_s']:.0f} tokens/s" if "play_tokens_per_s" in logs else "",
    ]
    return "  ".join(part for part in parts if part)
