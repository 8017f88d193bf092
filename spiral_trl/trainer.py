"""The self-play trainer: TRL's GRPOTrainer with batches that come from games.

All contact with TRL's private parts is in this file; `tests/trl/test_seams.py` checks that they are what they were in
the version that `pyproject.toml` pins.
"""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from accelerate.utils import gather_object  # pyright: ignore[reportMissingTypeStubs]
from datasets import Dataset  # pyright: ignore[reportMissingTypeStubs]
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOTrainer

from spiral_envs.episode import Episode
from spiral_envs.prompts import find_style
from spiral_trl.advantages import Key, RoleBaseline, score_returns
from spiral_trl.batching import TurnBatch, TurnRow, collate, turn_rows
from spiral_trl.collector import collect
from spiral_trl.config import SelfPlayConfig
from spiral_trl.metrics import batch_metrics
from spiral_trl.records import JsonLines
from spiral_trl.rewards import seat_returns
from spiral_trl.sampling import ModelAgent, PromptEncoder, Sample, Sampler, token_id

STATE_FILE: Final = "self_play_state.json"
"""Written last into every checkpoint, so that its presence says that the checkpoint is whole."""

SELF: Final = "self"
"""The kind of opponent in the key of a baseline when both seats are the current model."""


class SelfPlayTrainer(GRPOTrainer):
    """Trains one model that plays every seat of zero-sum games, by Role-conditioned Advantage Estimation.

    Use it as you would use `GRPOTrainer`, without a dataset and without reward functions:

        trainer = SelfPlayTrainer(model="Qwen/Qwen3-4B-Base", args=SelfPlayConfig(games=["kuhn_poker_v0"]))
        trainer.train()

    Model loading, generation (transformers, or vLLM with weight sync), the clipped loss, importance sampling,
    distribution, logging and checkpoints are TRL's. The reference is SPIRAL, arXiv 2506.24119.

    Attributes:
        baseline: The role baselines; saved and restored with checkpoints.
        games_started: How many games the run has played, over all processes.
    """

    _tag_names = ["trl", "spiral", "self-play"]  # noqa: RUF012 - the name and kind are TRL's
    _name = "SPIRAL self-play"

    args: SelfPlayConfig

    def __init__(
        self,
        model: str | PreTrainedModel,
        args: SelfPlayConfig | None = None,
        *,
        processing_class: PreTrainedTokenizerBase | None = None,
        callbacks: list[TrainerCallback] | None = None,
        sampler: Sampler | None = None,
        peft_config: Any = None,
    ) -> None:
        """Loads the model and prepares the run.

        Args:
            model: A hub id, a folder, or a loaded model.
            args: The settings.
            processing_class: The tokenizer; by default the model's own.
            callbacks: Added to TRL's.
            sampler: Where replies come from; by default the model, through TRL's generation. Tests pass scripts.
            peft_config: Trains an adapter instead of all parameters.

        Raises:
            ValueError: The context leaves no room for a prompt, or the tokenizer has no chat template.
        """
        args = args or SelfPlayConfig()
        super().__init__(
            model=model,
            reward_funcs=_no_reward,  # pyright: ignore[reportArgumentType] - never called
            args=args,
            train_dataset=_placeholder_rows(args),
            processing_class=processing_class,
            callbacks=callbacks,
            peft_config=peft_config,
        )
        self.baseline = RoleBaseline(args.baseline_decay, args.baseline_order)
        self.games_started = 0
        self.max_prompt_length = self._longest_prompt()
        encoder = PromptEncoder(
            self._tokenizer,
            find_style(args.prompt_style, hints=args.hints),
            use_chat_template=args.prompt_style != "plain",
        )
        self._agent = ModelAgent(
            sampler or _TrainerSampler(self),
            encoder,
            self._tokenizer,
            max_prompt_length=self.max_prompt_length,
            name=SELF,
        )
        self._games_file = JsonLines(Path(str(args.output_dir)) / "games.jsonl")

    def train(  # pyright: ignore[reportIncompatibleMethodOverride] - the other arguments are passed on
        self, resume_from_checkpoint: str | Path | bool | None = None, **kwargs: Any
    ) -> Any:
        """Trains, and returns what transformers' `Trainer.train` returns.

        Args:
            resume_from_checkpoint: A checkpoint, or True for the newest whole one in `output_dir`, if there is any. The
                records of steps after it are moved aside, because these steps are played anew.
            kwargs: Passed on.

        Raises:
            ValueError: The checkpoint is not whole.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_checkpoint(str(self.args.output_dir))
        if not resume_from_checkpoint:
            self._rewind_records(0)
            return super().train(**kwargs)
        if not (Path(resume_from_checkpoint) / STATE_FILE).exists():
            raise ValueError(f"{resume_from_checkpoint} is no whole self-play checkpoint: {STATE_FILE} is missing")
        return super().train(resume_from_checkpoint=str(resume_from_checkpoint), **kwargs)

    @property
    def policy(self) -> PreTrainedModel:
        """The model that is trained, without the wrappers of distribution."""
        unwrapped: PreTrainedModel = self.accelerator.unwrap_model(self.model)
        return unwrapped

    def _longest_prompt(self) -> int:
        """Returns the most tokens that a prompt may have."""
        limits = [self.args.max_prompt_length] if self.args.max_prompt_length else []
        context = int(self.policy.config.get_text_config().max_position_embeddings)
        if self.args.use_vllm and self.args.vllm_max_model_length:
            context = min(context, self.args.vllm_max_model_length)
        limits.append(context - self.args.reply_limit)
        if min(limits) < 1:
            raise ValueError(
                f"max_completion_length {self.args.reply_limit} leaves no room for a prompt in a context of {context}"
            )
        return min(limits)

    # -- one batch ---------------------------------------------------------------------------------------------------

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, torch.Tensor]:
        """Returns the next micro-batch, after playing the games of a new batch when the last one is used up.

        Replaces TRL's method of the same name, which deals rows out at random. Where one optimizer step uses the whole
        batch, the gradient does not depend on which rows go together, and rows of like length waste no padding.
        """
        num_parts = self.args.parts_per_batch
        # TRL starts with None.
        if self._step % (num_parts * self.num_iterations) == 0 or self._buffered_inputs is None:  # pyright: ignore[reportUnnecessaryComparison]
            batch = self._generate_and_score_completions(generation_batch)
            is_one_step = self.args.gradient_accumulation_steps % num_parts == 0
            self._buffered_inputs = [
                {name: tensor if tensor.dim() == 0 else tensor[rows] for name, tensor in batch.items()}
                for rows in _parts(batch, num_parts, by_length=is_one_step)
            ]
        return self._buffered_inputs[self._step % num_parts]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Plays the games of a batch and returns its turns, in the form that TRL's loss reads.

        Replaces TRL's method of the same name, whose argument is a list of placeholder rows here.
        """
        started = time.perf_counter()
        episodes = self._play_games()
        play_time = time.perf_counter() - started
        advantages = self._score(episodes)
        rows = [row for episode, scores in zip(episodes, advantages, strict=True) for row in turn_rows(episode, scores)]
        self._log_games(episodes, advantages, rows, play_time)
        kept = self._fit(rows)
        batch = collate(kept, num_rows=self.args.rows_per_batch, pad_token_id=token_id(self._tokenizer, "pad_token"))
        return self._loss_inputs(batch, row_weight=len(rows) / len(kept) if kept else 1.0)

    def _play_games(self) -> list[Episode]:
        """Returns the games of this process for the next batch."""
        num_games = self.args.games_per_batch or self.args.surely_fitting_games()
        first_game = self.games_started + self.accelerator.process_index * num_games
        self.games_started += num_games * self.accelerator.num_processes
        return collect(
            self.args.games,
            (self._agent, self._agent),
            first_game=first_game,
            num_games=num_games,
            seed=self.args.seed,
            concurrency=self.args.max_concurrent_games,
        )

    def _score(self, episodes: Sequence[Episode]) -> list[tuple[float, ...]]:
        """Returns an advantage a seat for every game of this process.

        All processes score the games of all of them, in the order of their ranks, so that the baselines are the same
        everywhere.
        """
        own: list[tuple[Key, float]] = [
            ((episode.game, role, SELF), episode_return)
            for episode in episodes
            for role, episode_return in zip(episode.roles, seat_returns(episode), strict=True)
        ]
        everyone: list[list[tuple[Key, float]]] = gather_object([own])
        scored = [score_returns(self.baseline, keyed) for keyed in everyone][self.accelerator.process_index]
        scores = iter(scored)
        return [tuple(next(scores) for _ in episode.roles) for episode in episodes]

    def _fit(self, rows: list[TurnRow]) -> list[TurnRow]:
        """Returns the rows that fit into the batch, drawn at random when there are too many."""
        capacity = self.args.rows_per_batch
        self._metrics["train"]["turns_left_out"].append(max(0, len(rows) - capacity))
        if len(rows) <= capacity:
            return rows
        kept = torch.randperm(len(rows))[:capacity].tolist()
        return [rows[index] for index in sorted(kept)]

    def _loss_inputs(self, batch: TurnBatch, *, row_weight: float) -> dict[str, torch.Tensor]:
        """Returns the dictionary that `_compute_loss` reads, with the old and reference log-probabilities it needs."""
        device = self.accelerator.device
        carries_loss = batch.loss_mask.any(dim=1)
        inputs = {
            "prompt_ids": batch.prompt_ids,
            "prompt_mask": batch.prompt_mask,
            "completion_ids": batch.completion_ids,
            "completion_mask": batch.completion_mask,
            "tool_mask": batch.loss_mask,
            "advantages": batch.advantages,
            "row_weight": carries_loss.float() * row_weight,
            "num_items_in_batch": batch.loss_mask.sum(),
        }
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        num_tokens: Any = self.accelerator.gather(inputs["num_items_in_batch"])
        inputs["num_items_in_batch"] = num_tokens.sum()
        corrects_sampler = self.use_vllm and self.vllm_importance_sampling_correction
        generate_every = self.args.parts_per_batch * self.num_iterations
        with torch.no_grad():
            if self.args.gradient_accumulation_steps % generate_every != 0 or corrects_sampler:
                inputs["old_per_token_logps"] = self._logprobs(self.model, inputs)
            if self.beta != 0.0:
                if self.ref_model is None:
                    raise NotImplementedError("beta > 0 with an adapter is not supported: set beta to 0")
                inputs["ref_per_token_logps"] = self._logprobs(self.ref_model, inputs)
        if corrects_sampler:
            if batch.sampling_logprobs is None:
                raise RuntimeError(
                    "the sampler reported no log-probabilities: set vllm_importance_sampling_correction=False"
                )
            sampled = batch.sampling_logprobs.to(device)
            inputs["sampling_per_token_logps"] = sampled
            inputs["importance_sampling_ratio"] = self._sampler_ratio(inputs["old_per_token_logps"], sampled, inputs)
        return inputs

    def _logprobs(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Returns the log-probability of every completion token under `model`, [B, T]."""
        num_rows, width = inputs["completion_ids"].shape
        logprobs = torch.zeros((num_rows, width), device=inputs["completion_ids"].device)
        for rows in _parts(inputs, self.args.parts_per_batch, by_length=True):
            part = _without_padding({name: inputs[name][rows] for name in _ROW_TENSORS if name in inputs})
            scored, _, _ = self._get_per_token_logps_and_entropies(
                model,
                torch.cat([part["prompt_ids"], part["completion_ids"]], dim=1),
                torch.cat([part["prompt_mask"], part["completion_mask"]], dim=1),
                part["completion_ids"].size(1),
            )
            logprobs[rows[: len(scored)], : scored.size(1)] = scored.to(logprobs.dtype)
        return logprobs

    def _sampler_ratio(
        self, trained: torch.Tensor, sampled: torch.Tensor, inputs: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Returns the truncated importance ratio of the trainer to the sampler, [B, T], and logs their gap."""
        mask = inputs["tool_mask"].bool()
        # A log-probability that the sampler could not give (NaN) gets no correction.
        gap = torch.where(mask, torch.nan_to_num(trained - sampled, nan=0.0), 0.0)
        ratio = gap.exp().clamp(self.vllm_importance_sampling_clip_min, self.vllm_importance_sampling_clip_max)
        if mask.any():
            metrics = self._metrics["train"]
            metrics["sampling/logprob_gap_mean"].append(gap[mask].abs().mean().item())
            metrics["sampling/logprob_gap_max"].append(gap[mask].abs().max().item())
            metrics["sampling/ratio_mean"].append(ratio[mask].mean().item())
        return ratio

    def _compute_loss(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Returns TRL's loss of the rows that carry any, divided by the constant size of a full micro-batch.

        Padding rows and columns are cut off first, so that they cost nothing. TRL divides by the rows that it is given;
        the factor makes that the rows of a full micro-batch. Turns that stand for left-out ones weigh more.
        """
        weight = inputs["row_weight"].sum() / self.args.per_device_train_batch_size
        if weight > 0:
            return super()._compute_loss(model, _without_padding(inputs)) * weight
        # A part of padding alone runs for the sake of the other processes; its figures would be no turn's.
        figures = self._metrics
        self._metrics = {mode: defaultdict(list) for mode in figures}
        loss = super()._compute_loss(model, _without_padding(inputs)) * weight
        self._metrics = figures
        return loss

    def generate_ids(self, prompts: list[list[int]]) -> tuple[list[list[int]], list[list[float | None]] | None]:
        """Returns a completion a prompt with the current weights, and vLLM's log-probabilities where it generates."""
        # No images, no multimodal fields, one completion a prompt.
        return self._generate_single_turn(prompts, None, {}, 1)

    # -- records and checkpoints -------------------------------------------------------------------------------------

    def _log_games(
        self,
        episodes: Sequence[Episode],
        advantages: Sequence[Sequence[float]],
        rows: Sequence[TurnRow],
        play_time: float,
    ) -> None:
        """Writes every game to `games.jsonl` and the figures of the batch to TRL's metrics."""
        num_own = len(episodes)
        all_episodes: list[Episode] = gather_object(list(episodes))
        all_advantages: list[Sequence[float]] = gather_object(list(advantages))
        metrics = self._metrics["train"]
        for name, figure in batch_metrics(all_episodes, all_advantages, self.baseline, opponent=SELF).items():
            metrics[name].append(figure)
        num_tokens = sum(len(row.token_ids) for row in rows)
        metrics["games"].append(len(all_episodes))
        metrics["turns"].append(sum(len(episode.turns) for episode in all_episodes))
        metrics["play_time_s"].append(play_time)
        metrics["play_tokens_per_s"].append(num_tokens / play_time)
        if not self.accelerator.is_main_process:
            return
        first = self.games_started - len(all_episodes)
        step = self.state.global_step + 1
        self._games_file.append(
            {"step": step, "number": first + rank * num_own + index, **episode.to_json()}
            for rank in range(self.accelerator.num_processes)
            for index, episode in enumerate(all_episodes[rank * num_own : (rank + 1) * num_own])
        )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Saves TRL's checkpoint, then our state, whose presence says that the checkpoint is whole."""
        super()._save_checkpoint(model, trial)
        if not self.accelerator.is_main_process:
            return
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        state = {"games_started": self.games_started, "baseline": self.baseline.state_dict()}
        unfinished = folder / f"{STATE_FILE}.tmp"
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(folder / STATE_FILE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Restores the optimizer, and with it the baselines, the game counter and the records of a resumed run."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        state = json.loads((Path(checkpoint) / STATE_FILE).read_text(encoding="utf-8"))
        self.baseline.load_state_dict(state["baseline"])
        self.games_started = state["games_started"]
        self._rewind_records(self.state.global_step)

    def _rewind_records(self, step: int) -> None:
        if self.accelerator.is_main_process:
            self._games_file.rewind(step)


class _TrainerSampler:
    """Samples with the trainer's current weights, through TRL's own generation."""

    def __init__(self, trainer: SelfPlayTrainer) -> None:
        self._trainer = trainer

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt."""
        trainer = self._trainer
        completions, logprobs = trainer.generate_ids([list(prompt) for prompt in prompts])
        end_ids = frozenset(trainer.eos_token_ids)
        return [
            Sample(
                tuple(ids),
                # TRL hands on None where vLLM could not give a log-probability.
                tuple(math.nan if each is None else each for each in logprobs[index]) if logprobs else None,
                bool(ids) and ids[-1] in end_ids,
            )
            for index, ids in enumerate(completions)
        ]


def last_complete_checkpoint(output_dir: str | Path) -> Path | None:
    """Returns the newest whole checkpoint under `output_dir`, or None; one torn by a kill is passed over."""
    folders = (folder for folder in Path(output_dir).glob("checkpoint-*") if folder.name.rpartition("-")[2].isdigit())
    return max((folder for folder in folders if (folder / STATE_FILE).exists()), key=checkpoint_step, default=None)


def checkpoint_step(folder: Path) -> int:
    """Returns the step after which a checkpoint was saved."""
    return int(folder.name.rpartition("-")[2])


_ROW_TENSORS: Final = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "row_weight")


def _parts(inputs: dict[str, torch.Tensor], num_parts: int, *, by_length: bool) -> list[torch.Tensor]:
    """Returns the indices of the rows that carry loss in `num_parts` parts of like size, no larger than a micro-batch.

    With more parts than such rows, some parts hold a padding row: every process must run the model as often.

    Args:
        inputs: The tensors of a batch.
        num_parts: How many parts.
        by_length: Whether rows of like length go together, the longest first; otherwise they are dealt out at random.
    """
    carries_loss = inputs["row_weight"] > 0
    rows = carries_loss.nonzero().flatten()
    if by_length:
        lengths = inputs["prompt_mask"].sum(dim=1) + inputs["completion_mask"].sum(dim=1)
        rows = rows[torch.argsort(lengths[rows], descending=True, stable=True)]
    else:
        rows = rows[torch.randperm(len(rows)).to(rows.device)]
    padding = (~carries_loss).nonzero().flatten()[:1]
    return [part if len(part) else padding for part in rows.tensor_split(num_parts)]


def _without_padding(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the rows that carry loss (at least one row), without the columns in which none of them has a token."""
    rows = inputs["row_weight"] > 0
    if not rows.any():
        rows[0] = True
    prompt_start = int(inputs["prompt_mask"][rows].any(dim=0).int().argmax())
    completion_end = int(inputs["completion_mask"][rows].sum(dim=1).max())
    columns = {"prompt": slice(prompt_start, None), "completion": slice(None, completion_end)}
    kept: dict[str, torch.Tensor] = {}
    for name, tensor in inputs.items():
        if tensor.dim() == 0:
            kept[name] = tensor
        elif tensor.dim() == 1:
            kept[name] = tensor[rows]
        else:
            kept[name] = tensor[rows][:, columns["prompt" if name.startswith("prompt") else "completion"]]
    return kept


def _no_reward(**_: Any) -> list[float]:
    """Stands where TRL demands a reward source; returns come from the games."""
    raise AssertionError("self-play takes its returns from the games, never from a reward function")


def _placeholder_rows(args: SelfPlayConfig) -> Dataset:
    """Returns the dataset that TRL demands: as many empty rows as drive the whole run in one epoch."""
    assert args.generation_batch_size is not None, "GRPOConfig sets it"
    assert args.num_generations is not None, "GRPOConfig sets it"
    num_rows = args.max_steps * max(1, args.generation_batch_size // args.num_generations)
    return Dataset.from_dict({"prompt": [""] * num_rows})
