"""`SelfPlayTrainer` and TRL's `GRPOTrainer` on the same rows, one step each in turn.

`python -m benchmarks.trainer_pair TRAINER FILE` trains a few steps in a process of its own and prints its memory.
"""

# torch, transformers and TRL are typed in part only.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import json
import logging
import math
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import Any, Final, NamedTuple

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad

from benchmarks.training_steps import StepSettings, clock
from spiral_envs.episode import Episode
from spiral_envs.match import Turn
from spiral_trl import SelfPlayConfig, SelfPlayTrainer
from spiral_trl.sampling import SampledReply, token_id
from spiral_trl.schedule import GamePlan

MEASURED_STEPS: Final = 2
"""Steps of the process whose memory is measured: from the second on the optimizer has its state."""

OURS: Final = "SelfPlayTrainer"
THEIRS: Final = "GRPOTrainer"


class Row(NamedTuple):
    """A reply as TRL knows it.

    Attributes:
        prompt_ids: What the model read.
        token_ids: What it wrote.
        advantage: Of every token that it wrote.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    advantage: float


class EpisodesTrainer(SelfPlayTrainer):
    """`SelfPlayTrainer` on games that were played before, with fresh baselines in every step.

    Attributes:
        episodes: The games of every batch.
        rows: What they were trained on as, known after the first batch.
    """

    episodes: list[Episode]
    rows: list[Row]
    _fresh: dict[str, Any]

    def play(self, plans: Sequence[GamePlan]) -> list[Episode]:
        """Returns the games that were played before."""
        self.baseline.load_state_dict(self._fresh)
        return self.episodes

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, torch.Tensor]:
        batch = super()._generate_and_score_completions(inputs)
        if not self.rows:
            self.rows = rows_of(batch)
        return batch

    @classmethod
    def on(cls, episodes: list[Episode], settings: StepSettings, folder: str, *, max_steps: int) -> EpisodesTrainer:
        """Returns the trainer, with the model loaded."""
        fields = settings.of_grpo(folder, max_steps=max_steps)
        trainer = cls(
            settings.model,
            SelfPlayConfig(games=settings.games, games_per_batch=len(episodes), prompt_style="plain", **fields),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.episodes, trainer.rows, trainer._fresh = episodes, [], trainer.baseline.state_dict()
        return trainer


class RowsTrainer(GRPOTrainer):
    """`GRPOTrainer` as it is, but for the generation: it gets its rows from elsewhere.

    Attributes:
        rows: The rows of every batch, as many as it holds.
    """

    rows: Sequence[Row]

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, torch.Tensor]:
        """Returns the rows as TRL lays out what it generated: all of them as wide as the longest."""
        device = self.accelerator.device
        padding = token_id(self._tokenizer, "pad_token")
        prompts = [torch.tensor(row.prompt_ids) for row in self.rows]
        completions = [torch.tensor(row.token_ids) for row in self.rows]
        prompt_masks, completion_masks = (list(map(torch.ones_like, each)) for each in (prompts, completions))
        batch = {
            "prompt_ids": pad(prompts, padding, "left").to(device),
            "prompt_mask": pad(prompt_masks, 0, "left").to(device),
            "completion_ids": pad(completions, padding, "right").to(device),
            "completion_mask": pad(completion_masks, 0, "right").to(device),
            "advantages": torch.tensor([row.advantage for row in self.rows], device=device),
        }
        batch["num_items_in_batch"] = batch["completion_mask"].sum()
        if self.beta:
            with torch.no_grad():
                batch["ref_per_token_logps"], _, _ = self._get_per_token_logps_and_entropies(
                    self.ref_model,
                    torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
                    torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
                    batch["completion_ids"].size(1),
                    batch_size=self.args.per_device_train_batch_size,
                )
        return batch

    @classmethod
    def on(cls, rows: Sequence[Row], settings: StepSettings, folder: str, *, max_steps: int) -> RowsTrainer:
        """Returns the trainer, with the model loaded."""
        placeholders = Dataset.from_dict({"prompt": [""] * (max_steps * settings.rows * settings.parts)})
        config = GRPOConfig(**settings.of_grpo(folder, max_steps=max_steps))
        trainer = cls(settings.model, _no_reward, config, train_dataset=placeholders)
        trainer.remove_callback(PrinterCallback)
        trainer.rows = rows
        return trainer


def rows_of(batch: dict[str, torch.Tensor]) -> list[Row]:
    """Returns the rows that carry loss of a batch as TRL's loss reads it, without their padding."""
    rows: list[Row] = []
    for index in (batch["completion_mask"] * batch["tool_mask"]).any(dim=1).nonzero().flatten().tolist():
        prompt = batch["prompt_ids"][index][batch["prompt_mask"][index] > 0].tolist()
        completion = batch["completion_ids"][index][batch["completion_mask"][index] > 0].tolist()
        # A row is one turn, so that its advantage stands on all of its tokens.
        rows.append(Row(tuple(prompt), tuple(completion), batch["advantages"][index, 0].item()))
    return rows


def num_rows(episodes: Sequence[Episode]) -> int:
    """Returns how many turns of `episodes` are rows."""
    return sum(_is_row(turn) for episode in episodes for turn in episode.turns)


def with_rows(episodes: Sequence[Episode], wanted: int) -> list[Episode]:
    """Returns the first games that give `wanted` rows, the last one without the turns that would be too many."""
    kept: list[Episode] = []
    for episode in episodes:
        turns: list[Turn] = []
        for turn in episode.turns:
            if wanted:
                turns.append(turn)
                wanted -= _is_row(turn)
        if turns:
            kept.append(episode._replace(turns=tuple(turns)))
    return kept


def _is_row(turn: Turn) -> bool:
    """Returns whether the model wrote something in `turn`."""
    return isinstance(turn.response, SampledReply) and bool(turn.response.token_ids)


def _no_reward(**_: Any) -> list[float | None]:
    raise AssertionError("the rows come with their advantages")


class EnoughError(Exception):
    """Ends a training whose steps were all measured."""


class TakeTurns(TrainerCallback):
    """Lets a trainer in a thread of its own take one step at a time, and times each.

    A step lasts from one `on_step_begin` to the next, so that everything a trainer does is in it.

    Attributes:
        seconds: The time of every step.
        positions: The positions that the model computed with a gradient, padding included.
        gradient: Of the first step, all parameters in one tensor.
    """

    def __init__(self, trainer: GRPOTrainer) -> None:
        """Joins `trainer`, which is to be started with `start`."""
        self.seconds: list[float] = []
        self.positions = 0
        self.gradient = torch.zeros(0)
        self._trainer = trainer
        self._started_s: float | None = None
        self._go, self._done = Semaphore(0), Semaphore(0)
        self._is_over = False
        self._training: Future[None] | None = None
        trainer.add_callback(self)
        model: Any = trainer.model
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def start(self, threads: ThreadPoolExecutor) -> None:
        """Starts the training, up to its first step."""
        self._training = threads.submit(self._train)
        self._wait()

    def step(self) -> None:
        """Takes one step."""
        self._go.release()
        self._wait()

    def stop(self) -> None:
        """Ends the training."""
        self._is_over = True
        self._go.release()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ends the time of the step before, and waits to be called for the next."""
        if self._started_s is not None:
            self.seconds.append(clock() - self._started_s)
        self._done.release()
        self._go.acquire()
        if self._is_over:
            raise EnoughError
        self._started_s = clock()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Keeps the first gradient."""
        if not len(self.gradient):
            self.gradient = torch.cat([each.grad.flatten().double().cpu() for each in model.parameters()])

    def _count(self, model: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self.positions += kwargs["input_ids"].numel() if torch.is_grad_enabled() else 0

    def _train(self) -> None:
        try:
            self._trainer.train()
        except EnoughError:
            pass
        finally:
            self._done.release()

    def _wait(self) -> None:
        self._done.acquire()
        assert self._training is not None, "start comes first"
        if self._training.done():
            self._training.result()


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two trainers did.

    Attributes:
        seconds: The time of every counted step.
        positions: The positions that the model computed in a step, padding included.
        loss: Of every step.
        grad_norm: Of every step.
        peak_mib: The most memory of a process that did nothing else.
        idle_mib: What the process held before its first step.
    """

    seconds: list[float]
    positions: int
    loss: list[float]
    grad_norm: list[float]
    peak_mib: float
    idle_mib: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both trainers on the same rows.

    Attributes:
        rows: The rows of a batch.
        tokens: Their tokens, prompts included.
        ours: `SelfPlayTrainer`.
        theirs: `GRPOTrainer`.
        gradient_distance: Of the two first gradients, as a share of the length of theirs.
    """

    rows: int
    tokens: int
    ours: Side
    theirs: Side
    gradient_distance: float

    @property
    def ratios(self) -> list[float]:
        """How much time ours took to theirs, in every round."""
        return [ours / theirs for ours, theirs in zip(self.ours.seconds, self.theirs.seconds, strict=True)]

    @property
    def is_valid(self) -> bool:
        """Whether both computed the same: a loss within 1e-5, a gradient norm within 1 %, a first gradient within 1 %.

        Half precision rounds in another order, so it agrees less: 5 %.
        """
        share = 0.05 if torch.cuda.is_available() else 0.01
        losses = zip(self.ours.loss, self.theirs.loss, strict=True)
        norms = zip(self.ours.grad_norm, self.theirs.grad_norm, strict=True)
        return (
            all(math.isclose(*pair, rel_tol=share, abs_tol=1e-5) for pair in losses)
            and all(math.isclose(*pair, rel_tol=share) for pair in norms)
            and self.gradient_distance < share
        )


def compare(episodes: list[Episode], settings: StepSettings, *, rounds: int) -> Comparison:
    """Returns what both trainers did in `rounds` steps each, in turn, after one that is not counted.

    `settings.rows * settings.parts` must be the rows that `episodes` give.
    """
    max_steps = rounds + 2
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as threads:
        ours = EpisodesTrainer.on(episodes, settings, f"{folder}/ours", max_steps=max_steps)
        theirs = RowsTrainer.on([], settings, f"{folder}/theirs", max_steps=max_steps)
        pair = (TakeTurns(ours), TakeTurns(theirs))
        try:
            for each in pair:
                each.start(threads)
            pair[0].step()
            theirs.rows = ours.rows
            pair[1].step()
            for index in range(rounds):
                for each in pair if index % 2 else reversed(pair):
                    each.step()
        finally:
            for each in pair:
                each.stop()
        first, second = (each.gradient for each in pair)
        memory = [measured_memory(kind, settings, given) for kind, given in ((OURS, episodes), (THEIRS, ours.rows))]
    sides = [
        Side(
            seconds=turns.seconds[1:],
            positions=turns.positions // (rounds + 1),
            loss=_logged(trainer, "loss"),
            grad_norm=_logged(trainer, "grad_norm"),
            peak_mib=peak,
            idle_mib=idle,
        )
        for turns, trainer, (peak, idle) in zip(pair, (ours, theirs), memory, strict=True)
    ]
    return Comparison(
        rows=len(ours.rows),
        tokens=sum(len(row.prompt_ids) + len(row.token_ids) for row in ours.rows),
        ours=sides[0],
        theirs=sides[1],
        gradient_distance=((first - second).norm() / second.norm()).item(),
    )


def _logged(trainer: GRPOTrainer, name: str) -> list[float]:
    return [line[name] for line in trainer.state.log_history if name in line]


def measured_memory(kind: str, settings: StepSettings, given: Sequence[Episode] | Sequence[Row]) -> tuple[float, float]:
    """Returns the most memory of a process that takes `MEASURED_STEPS` steps, and what it held before them, in MiB.

    Args:
        kind: `OURS` or `THEIRS`.
        settings: Of both.
        given: Games for ours, rows for theirs.
    """
    with tempfile.NamedTemporaryFile(suffix=".pkl") as file:
        pickle.dump((settings, given), file)
        file.flush()
        command = [sys.executable, "-m", "benchmarks.trainer_pair", kind, file.name]
        done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the process whose memory is measured failed: {done.stderr.strip()}")
    peak, idle = json.loads(done.stdout.splitlines()[-1])
    return peak, idle


def main(kind: str, path: str) -> None:
    """Trains in this process and prints the two numbers of `measured_memory`."""
    settings, given = pickle.loads(Path(path).read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        make = EpisodesTrainer.on if kind == OURS else RowsTrainer.on
        trainer = make(given, settings, folder, max_steps=MEASURED_STEPS)
        idle = _memory_mib("VmRSS")
        _forget_peak()
        trainer.train()
    print(json.dumps([_memory_mib("VmHWM"), idle]))


def _memory_mib(name: str) -> float:
    """Returns what PyTorch holds on the GPU, or where there is none what Linux says of the process under `name`."""
    if torch.cuda.is_available():
        is_peak = name == "VmHWM"
        return (torch.cuda.max_memory_allocated() if is_peak else torch.cuda.memory_allocated()) / 2**20
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(status[name].split()[0]) / 2**10


def _forget_peak() -> None:
    """Lets the peak start from what is held now: loading a model may have needed more."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


if __name__ == "__main__":
    logging.disable()
    main(*sys.argv[1:])
