"""The figures of supervised training: step by step, and before and after on games that were not learned from."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.progress import Progress
from rich.table import Table
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTTrainer

from spiral_trl.records import JsonLines
from spiral_trl.sampling import GenerateSampler, PromptEncoder
from spiral_trl.sft import Example, legal_share

MAX_MEASURED_VIEWS: Final = 256
"""Held-out views that the model answers before and after; of more, so many are drawn."""


class HeldOutFigures(NamedTuple):
    """How a model does on the games that were held out; None is what was not measured.

    Attributes:
        loss: Nats a token of the experts' replies, the mean over batches.
        token_accuracy: The share of those tokens that are the model's most likely ones, the mean over batches.
        legal_greedy: The share of the views that it answers with a legal move when it writes the most likely tokens.
        legal_sampled: The same when it samples at temperature 1.
    """

    loss: float | None
    token_accuracy: float | None
    legal_greedy: float | None
    legal_sampled: float | None


class WatchCallback(TrainerCallback):
    """Shows the training as a bar and writes the figures of every logged step to a file, on the main process."""

    def __init__(self, file: JsonLines, progress: Progress) -> None:
        """Sets where to write and where to draw."""
        self._file = file
        self._progress = progress
        self._task = progress.add_task("training", total=None, figures="", visible=False)
        self._is_training = False

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Starts the bar at the step from which the run goes on."""
        self._is_training = state.is_world_process_zero
        if self._is_training:
            self._progress.update(self._task, total=state.max_steps, completed=state.global_step, visible=True)
            self._progress.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Writes a line for what is logged while it trains: a step's figures, or an evaluation within the run."""
        if not self._is_training or not logs or not {"loss", "eval_loss"} & set(logs):
            return
        # JSON has no NaN.
        finite = {name: value for name, value in logs.items() if value is not None and math.isfinite(value)}
        self._file.append([{"step": state.global_step, **finite}])
        if "loss" in logs:
            figures = f"loss {logs['loss']:.3f}  accuracy {logs.get('mean_token_accuracy', math.nan):.1%}"
            self._progress.update(self._task, completed=state.global_step, figures=figures)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ends the bar."""
        self._is_training = False
        self._progress.stop()


class HeldOut:
    """Measures the model of a trainer on the games held out."""

    def __init__(
        self,
        trainer: SFTTrainer,
        tokenizer: PreTrainedTokenizerBase,
        encoder: PromptEncoder,
        held_out: Sequence[Example],
        *,
        reply_limit: int,
    ) -> None:
        """Sets the model, what it is measured on and its longest reply in tokens."""
        self._trainer = trainer
        self._tokenizer = tokenizer
        self._encoder = encoder
        num_views = min(MAX_MEASURED_VIEWS, len(held_out))
        self._views = random.Random(trainer.args.seed).sample(held_out, num_views)
        self._reply_limit = reply_limit

    def figures(self, *, is_trained: bool) -> HeldOutFigures:
        """Returns the figures; all processes must call it."""
        if not self._views:
            return HeldOutFigures(None, None, None, None)
        # With the weights on many devices, no process can generate alone, nor anything be computed before the training.
        is_sharded = self._trainer.is_deepspeed_enabled or self._trainer.is_fsdp_enabled
        if is_sharded and not is_trained:
            return HeldOutFigures(None, None, None, None)
        figures = self._trainer.evaluate()
        greedy = sampled = None
        if not is_sharded and self._trainer.is_world_process_zero():
            greedy, sampled = self._legal_share(top_k=1), self._legal_share()
        self._trainer.accelerator.wait_for_everyone()
        return HeldOutFigures(figures["eval_loss"], figures["eval_mean_token_accuracy"], greedy, sampled)

    def _legal_share(self, **generation: int) -> float:
        model: PreTrainedModel = self._trainer.accelerator.unwrap_model(self._trainer.model)
        sampler = GenerateSampler(
            model, self._tokenizer, max_new_tokens=self._reply_limit, seed=self._trainer.args.seed, **generation
        )
        was_training = model.training
        model.eval()
        share = legal_share(sampler, self._encoder, self._tokenizer, self._views)
        model.train(was_training)
        return share


class FiguresFile:
    """`held_out.json`: the figures before and after, with the settings that they are of."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Sets where the file is and the settings of this run."""
        self._path = path
        self._settings = dict(settings)

    def before(self) -> HeldOutFigures | None:
        """Returns the figures that the run was started with, or None if it was not.

        Raises:
            ValueError: The run was started with other settings.
        """
        if not self._path.exists():
            return None
        saved = json.loads(self._path.read_text(encoding="utf-8"))
        for name, value in self._settings.items():
            if saved["settings"][name] != value:
                raise ValueError(
                    f"cannot resume with {name} {value!r}: the run was started with {saved['settings'][name]!r}"
                )
        return HeldOutFigures(**saved["before"])

    def save(self, before: HeldOutFigures, after: HeldOutFigures | None) -> None:
        """Writes the figures; `after` is None until the training is done."""
        record = {
            "settings": self._settings,
            "before": before._asdict(),
            "after": after._asdict() if after else None,
        }
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(self._path)


def figures_table(before: HeldOutFigures, after: HeldOutFigures, *, about: str) -> Table:
    """Returns the figures for the terminal, with `about` below them."""
    table = Table(title="Supervised training on games of experts", caption=about)
    for name in ("on the games held out", "before", "after"):
        table.add_column(name)
    table.add_row("loss, nats a token", _figure(before.loss, ".3f"), _figure(after.loss, ".3f"))
    for name, old, new in (
        ("tokens right", before.token_accuracy, after.token_accuracy),
        ("legal replies, most likely tokens", before.legal_greedy, after.legal_greedy),
        ("legal replies, temperature 1", before.legal_sampled, after.legal_sampled),
    ):
        table.add_row(name, _figure(old, ".1%"), _figure(new, ".1%"))
    return table


def _figure(value: float | None, form: str) -> str:
    return "not measured" if value is None else format(value, form)
