"""Steps of self-play as a run takes them, timed by their parts, and the settings that all measured trainers share."""

# torch, transformers and TRL are typed in part only.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from unittest.mock import patch

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback
from trl import GRPOTrainer

from spiral_envs.episode import Episode
from spiral_trl import SelfPlayConfig, SelfPlayTrainer
from spiral_trl.sampling import ModelAgent, PromptEncoder
from spiral_trl.schedule import GamePlan

GENERATION: Final = "play: generation"
ENCODING: Final = "play: prompts to tokens"
DECODING: Final = "play: tokens to replies"
GAMES: Final = "play: games and records"
OLD_LOGPROBS: Final = "old and reference log-probabilities"
FORWARD: Final = "forward"
BACKWARD: Final = "backward"
OPTIMIZER: Final = "clipping and optimizer"
LOGGING: Final = "logs and records"
REST: Final = "rest"

SEAMS: Final[tuple[tuple[type, str, str], ...]] = (
    (SelfPlayTrainer, "play", GAMES),
    (GRPOTrainer, "_generate_single_turn", GENERATION),
    (PromptEncoder, "encode", ENCODING),
    (ModelAgent, "replies", DECODING),
    (SelfPlayTrainer, "_logprobs", OLD_LOGPROBS),
    (GRPOTrainer, "compute_loss", FORWARD),
    (Accelerator, "backward", BACKWARD),
    (Accelerator, "clip_grad_norm_", OPTIMIZER),
    (AcceleratedOptimizer, "step", OPTIMIZER),
    (SelfPlayTrainer, "_log_games", LOGGING),
    (GRPOTrainer, "log", LOGGING),
)
"""What is timed in a step of self-play: a class, the name of its method, and the part of the step that it is."""


@dataclass(frozen=True, slots=True)
class StepSettings:
    """What both trainers are given.

    Attributes:
        model: A folder or a hub id.
        games: The games.
        rows: Rows of a micro-batch.
        parts: Micro-batches of an optimizer step.
        max_new_tokens: The longest reply, in tokens.
        beta: The weight of the KL to the model as it was.
        seed: Of everything.
    """

    model: str
    games: list[str]
    rows: int
    parts: int
    max_new_tokens: int
    beta: float
    seed: int

    def of_grpo(self, folder: str, *, max_steps: int) -> dict[str, Any]:
        """Returns the fields of a `GRPOConfig`, for a run in `folder`."""
        has_gpu = torch.cuda.is_available()
        return {
            "output_dir": folder,
            "per_device_train_batch_size": self.rows,
            "gradient_accumulation_steps": self.parts,
            "max_completion_length": self.max_new_tokens,
            "beta": self.beta,
            "seed": self.seed,
            "max_steps": max_steps,
            # Too small to take the weights of the two trainers apart, so that every step can be compared.
            "learning_rate": 1e-6,
            "num_generations": 2,
            "loss_type": "dr_grpo",
            "scale_rewards": "none",
            "gradient_checkpointing": False,
            "use_cpu": not has_gpu,
            "bf16": has_gpu,
            "save_strategy": "no",
            "report_to": "none",
            "logging_steps": 1,
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }


def clock() -> float:
    """Returns the time in seconds: of the wall, after all work of a GPU, or of the CPU where one thread computes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() if is_cpu_time() else time.perf_counter()


def is_cpu_time() -> bool:
    """Returns whether `clock` counts CPU time, which what else the machine does disturbs less."""
    return not torch.cuda.is_available() and torch.get_num_threads() == 1


@dataclass(slots=True)
class Timers:
    """Charges every second to the innermost part of a step that runs.

    Attributes:
        seconds: By part, of the step that runs.
        steps: Those of the steps before.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    steps: list[dict[str, float]] = field(default_factory=list)
    _running: list[str] = field(default_factory=lambda: [REST])
    _since_s: float | None = None

    def begin_step(self) -> None:
        """Starts a step; the one before, if there was one, ends."""
        if self._since_s is None:
            self._since_s = clock()
            return
        self._charge()
        self.steps.append(dict(self.seconds))
        self.seconds.clear()

    @contextmanager
    def part(self, name: str) -> Generator[None]:
        """Charges what runs within to `name`."""
        self._charge()
        self._running.append(name)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `function`, its time charged to `name`."""

        def run(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return run

    def _charge(self) -> None:
        if self._since_s is None:
            return
        now_s = clock()
        self.seconds[self._running[-1]] += now_s - self._since_s
        self._since_s = now_s


class StepBounds(TrainerCallback):
    """Tells timers where steps begin."""

    def __init__(self, timers: Timers) -> None:
        """Takes the timers."""
        self._timers = timers

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begins a step."""
        self._timers.begin_step()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ends the last step."""
        self._timers.begin_step()


class KeepingTrainer(SelfPlayTrainer):
    """`SelfPlayTrainer` that keeps the games of its batches.

    Attributes:
        played: The games of every batch.
    """

    played: list[list[Episode]]

    def play(self, plans: Sequence[GamePlan]) -> list[Episode]:
        """Plays the games, and keeps them."""
        episodes = super().play(plans)
        self.played.append(episodes)
        return episodes


def self_play_steps(
    settings: StepSettings, *, games_per_batch: int | None, steps: int
) -> tuple[list[dict[str, float]], list[list[Episode]]]:
    """Returns the seconds of every part of `steps` steps of self-play, after one that is not counted, and all games."""
    timers = Timers()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for owner, name, part in SEAMS:
            stack.enter_context(patch.object(owner, name, timers.timed(part, vars(owner)[name])))
        fields = settings.of_grpo(folder, max_steps=steps + 1)
        config = SelfPlayConfig(
            games=settings.games, games_per_batch=games_per_batch, prompt_style=style_of(settings), **fields
        )
        trainer = KeepingTrainer(settings.model, config, callbacks=[StepBounds(timers)])
        trainer.remove_callback(PrinterCallback)
        trainer.played = []
        trainer.train()
    return timers.steps[1:], trainer.played


def style_of(settings: StepSettings) -> str:
    """Returns the style of prompts that the model can read: that of chats, where it has a template for them."""
    return "boxed_cot" if AutoTokenizer.from_pretrained(settings.model).chat_template else "plain"
