"""The self-play trainer: TRL's GRPOTrainer with batches that come from games.

All contact with TRL's private parts is in this file and in `generation.py`; `tests/trl/test_seams.py` checks that they
are what they were in the version that `pyproject.toml` pins.
"""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import torch
from accelerate.utils import broadcast_object_list, gather_object, is_peft_model  # pyright: ignore[reportMissingTypeStubs]
from datasets import Dataset  # pyright: ignore[reportMissingTypeStubs]
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback
from transformers.trainer import TRAINING_ARGS_NAME
from trl import GRPOTrainer
from trl.trainer.utils import use_adapter

from spiral_envs.chance import bits64
from spiral_envs.episode import Episode
from spiral_envs.prompts import find_next, find_style
from spiral_trl.advantages import AdvantageEstimator, Estimator, GameResult, RoleBaseline
from spiral_trl.batching import RowUnit, TurnBatch, TurnRow, collate, rows_of
from spiral_trl.checkpoints import (
    STATE_FILE,
    RestoreError,
    begin,
    checkpoint_step,
    find_damage,
    finish,
    last_complete_checkpoint,
    read_state,
    rotate,
    set_aside_later,
    whole_checkpoints,
)
from spiral_trl.collapse import CollapseAction, CollapseCallback, CollapseDetector
from spiral_trl.config import SelfPlayConfig
from spiral_trl.generation import TrainerGeneration, TrainerSampler
from spiral_trl.league import League, steps_in
from spiral_trl.metrics import batch_metrics
from spiral_trl.micro_batches import cut_rows, score_completions_only, without_padding
from spiral_trl.playing import SharedPlay
from spiral_trl.records import JsonLines
from spiral_trl.rewards import Reward, seat_returns
from spiral_trl.sampling import Context, GenerationError, ModelAgent, PromptEncoder, SampledReply, Sampler, token_id
from spiral_trl.schedule import LEAGUE, GamePlan
from spiral_trl.serving import check_server

if TYPE_CHECKING:
    from spiral_trl.strength import ModelUnderTest

__all__ = [
    "STATE_FILE",
    "NonFiniteLossError",
    "SelfPlayTrainer",
    "TrainerSampler",
    "checkpoint_step",
    "last_complete_checkpoint",
]

_REFERENCE_FILE: Final = "ref_model.pt"

_logger = logging.getLogger(__name__)


class NonFiniteLossError(RuntimeError):
    """The loss is NaN or infinite; the message says where the batch was saved."""


class PlayedBatch(NamedTuple):
    """The games of a batch over all processes, in the order of their numbers.

    Attributes:
        plans: What was to be played.
        episodes: What was played.
        advantages: One a seat for every game; 0 for seats that are not the learner's.
        own: Which of them this process trains on.
        play_time: How long playing took, in seconds.
    """

    plans: list[GamePlan]
    episodes: list[Episode]
    advantages: list[tuple[float, ...]]
    own: slice
    play_time: float


class SelfPlayTrainer(GRPOTrainer):
    """Trains one model that plays every seat of zero-sum games, by Role-conditioned Advantage Estimation.

    Use it as you would use `GRPOTrainer`, without a dataset and without reward functions:

        trainer = SelfPlayTrainer(model="Qwen/Qwen3-4B-Base", args=SelfPlayConfig(games=["kuhn_poker_v0"]))
        trainer.train()

    Model loading, generation (transformers, or vLLM with weight sync), the clipped loss, importance sampling,
    distribution, logging and checkpoints are TRL's. The reference is SPIRAL, arXiv 2506.24119.

    Attributes:
        baseline: The role baselines; saved and restored with checkpoints, like all that follows.
        games_started: How many games the run has played, over all processes.
        schedule: Which games are played against whom.
        league: The snapshots that the model plays against; None where `opponents` has no league.
    """

    _tag_names = ["trl", "spiral", "self-play"]  # noqa: RUF012 - the name and kind are TRL's
    _name = "SPIRAL self-play"
    _paper = {  # noqa: RUF012
        "title": "SPIRAL: Self-Play on Zero-Sum Games Incentivizes Reasoning via Multi-Agent Multi-Turn RL",
        "id": "2506.24119",
        "citation": (
            "@article{liu2025spiral,\n"
            "    title  = {{SPIRAL: Self-Play on Zero-Sum Games Incentivizes Reasoning via Multi-Agent Multi-Turn"
            " Reinforcement Learning}},\n"
            "    author = {Bo Liu and others},\n"
            "    year   = 2025,\n"
            "    eprint = {arXiv:2506.24119},\n"
            "}"
        ),
    }

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
        self._server_length: int | None = None
        if args.use_vllm and args.vllm_mode == "server" and sampler is None:
            self._server_length = check_server(args.vllm_server_url, timeout_s=args.vllm_server_timeout).max_model_len
        super().__init__(
            model=model,
            reward_funcs=_no_reward,  # pyright: ignore[reportArgumentType] - never called
            args=args,
            train_dataset=_placeholder_rows(args),
            eval_dataset=None if args.eval_strategy == "no" else _placeholder_rows(args),
            processing_class=processing_class,
            callbacks=callbacks,
            peft_config=peft_config,
        )
        if args.sync_ref_model and self.is_sharded:
            raise ValueError("sync_ref_model does not work with weights spread over processes: they cannot be resumed")
        if args.nash_conv_steps and self.is_sharded:
            raise ValueError("nash_conv_steps does not work with weights spread over processes: set it to 0")
        self._refuse_sharded_files()
        if self.accelerator.device.type == "cpu" and not is_peft_model(self.policy):
            models: list[Any] = [self.policy, self.ref_model]
            for scored in filter(None, models):
                score_completions_only(scored)
        self.baseline = RoleBaseline(args.baseline_decay, args.baseline_order)
        self.games_started = 0
        self.schedule = args.schedule(seed=args.seed)
        self.league: League | None = None
        if LEAGUE in args.opponent_weights:
            self.league = League(args.league_settings(), Path(str(args.output_dir)) / "league")
        self.max_prompt_length = self._longest_prompt()
        self._estimator = AdvantageEstimator(Estimator(args.advantage_estimator), self.baseline, args.replays)
        self._generation = TrainerGeneration(self, sampler)
        if args.context == Context.CONVERSATION:
            self._encoder().check_conversation()
        self._playing = SharedPlay(args, self.accelerator, self._generation, self.league, self._model_agent)
        self._games_file = JsonLines(Path(str(args.output_dir)) / "games.jsonl")
        self._evaluations_file = JsonLines(Path(str(args.output_dir)) / "evaluations.jsonl")
        self._alarms_file = JsonLines(Path(str(args.output_dir)) / "alarms.jsonl")
        self._collapse = CollapseCallback(CollapseDetector(), self._alarms_file, CollapseAction(args.collapse))
        self.add_callback(self._collapse)

    def train(  # pyright: ignore[reportIncompatibleMethodOverride] - the other arguments are passed on
        self, resume_from_checkpoint: str | Path | bool | None = None, **kwargs: Any
    ) -> Any:
        """Trains, and returns what transformers' `Trainer.train` returns.

        Args:
            resume_from_checkpoint: A checkpoint, or True for the newest whole one in `output_dir`, if there is any. The
                records of steps after it are moved aside, because these steps are played anew.
            kwargs: Passed on.

        Raises:
            RestoreError: The checkpoint is not whole, or is one of another run.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_checkpoint(str(self.args.output_dir))
        if not resume_from_checkpoint:
            self._rewind_records(0)
            return super().train(**kwargs)
        checkpoint = Path(resume_from_checkpoint)
        read_state(checkpoint)
        # All processes have chosen before one of them renames others.
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            set_aside_later(checkpoint.parent, checkpoint_step(checkpoint))
        return super().train(resume_from_checkpoint=str(resume_from_checkpoint), **kwargs)

    @property
    def stop_reason(self) -> str | None:
        """Why the run was stopped before its end, where a sign of collapse did it."""
        return self._collapse.reason

    @property
    def policy(self) -> PreTrainedModel:
        """The model that is trained, without the wrappers of distribution."""
        unwrapped: PreTrainedModel = self.accelerator.unwrap_model(self.model)
        return unwrapped

    @property
    def text_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, also where the model reads more than text."""
        tokenizer: PreTrainedTokenizerBase = self._tokenizer
        return tokenizer

    @property
    def is_sharded(self) -> bool:
        """Whether the weights are spread over the processes, by DeepSpeed ZeRO-3 or FSDP."""
        return self._dist.is_zero3 or self._dist.is_fsdp

    @cached_property
    def under_test(self) -> ModelUnderTest:
        """The model with what is needed to measure it outside of training."""
        from spiral_trl.strength import ModelUnderTest

        return ModelUnderTest(
            self.policy,
            self._tokenizer,
            self._encoder(),
            max_completion_length=self.args.reply_limit,
            max_prompt_length=self.max_prompt_length,
            context=Context(self.args.context),
        )

    @property
    def _steps_per_batch(self) -> int:
        """The optimizer steps on a batch of games."""
        return max(1, self.num_iterations * self.args.parts_per_batch // self.args.gradient_accumulation_steps)

    def _encoder(self) -> PromptEncoder:
        style, hints = self.args.prompt_style, self.args.hints
        template_options: Any = self.chat_template_kwargs
        return PromptEncoder(
            self._tokenizer,
            find_style(style, hints=hints),
            use_chat_template=style != "plain",
            following=find_next(style, hints=hints),
            template_options=template_options,
        )

    def _model_agent(self, sampler: Sampler, name: str) -> ModelAgent:
        """Returns an agent that plays as the trained model does, with another sampler."""
        return ModelAgent(
            sampler,
            self._encoder(),
            self._tokenizer,
            max_prompt_length=self.max_prompt_length,
            name=name,
            context=Context(self.args.context),
        )

    def _refuse_sharded_files(self) -> None:
        """Raises ValueError where checkpoints would hold no weights that transformers can load."""
        plugin: Any = self.accelerator.state.fsdp_plugin if self._dist.is_fsdp else None
        if plugin is not None and "SHARDED" in str(plugin.state_dict_type):
            raise ValueError(
                "fsdp_state_dict_type is SHARDED_STATE_DICT: expected FULL_STATE_DICT, of which snapshots and the final"
                " model are made"
            )

    def _longest_prompt(self) -> int:
        """Returns the most tokens that a prompt may have."""
        limits = [self.args.max_prompt_length] if self.args.max_prompt_length else []
        context = int(self.policy.config.get_text_config().max_position_embeddings)
        if self.args.use_vllm and self.args.vllm_max_model_length:
            context = min(context, self.args.vllm_max_model_length)
        if self._server_length:
            context = min(context, self._server_length)
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
                for rows in cut_rows(batch, num_parts, by_length=is_one_step)
            ]
        return self._buffered_inputs[self._step % num_parts]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Plays the games of a batch and returns its turns, in the form that TRL's loss reads.

        Replaces TRL's method of the same name, whose argument is a list of placeholder rows here.
        """
        self._take_snapshot()
        batch = self._play_batch()
        rows = [
            row
            for plan, episode, scores in zip(*(each[batch.own] for each in batch[:3]), strict=True)
            for row in rows_of(
                episode, scores, rows=RowUnit(self.args.rows), learner_seats=plan.learner_seats, gamma=self.args.gamma
            )
        ]
        self._log_games(batch)
        kept = self._fit(rows)
        tensors = collate(kept, num_rows=self.args.rows_per_batch, pad_token_id=token_id(self._tokenizer, "pad_token"))
        return self._loss_inputs(tensors, row_weight=len(rows) / len(kept) if kept else 1.0)

    def _play_batch(self) -> PlayedBatch:
        """Plays the games of the next batch and scores them, and counts them as played.

        All processes score the games of all of them, in the order of their numbers, so that the baselines, the shares
        of the games and the league are the same everywhere.
        """
        num_own = self.args.games_per_batch or self.args.surely_fitting_games()
        plans = self.schedule.plan(self.games_started, num_own * self.accelerator.num_processes)
        started = time.perf_counter()
        random_state = _random_state()
        try:
            episodes = self.play(plans)
        except GenerationError as error:
            # Games that were half played are played anew, with the same draws.
            _set_random_state(random_state)
            self._end_with_checkpoint(error)
        play_time = time.perf_counter() - started
        results = [self._result(plan, episode) for plan, episode in zip(plans, episodes, strict=True)]
        advantages = self._estimator.score(results)
        self.games_started += len(plans)
        self.schedule.record(
            plans,
            [
                sum(turn.seat in plan.learner_seats for turn in episode.turns)
                for plan, episode in zip(plans, episodes, strict=True)
            ],
        )
        if self.league:
            _record_results(self.league, plans, episodes)
        first = self.accelerator.process_index * num_own
        return PlayedBatch(plans, episodes, advantages, slice(first, first + num_own), play_time)

    def _result(self, plan: GamePlan, episode: Episode) -> GameResult:
        returns = seat_returns(episode, reward=Reward(self.args.reward), fault_penalty=self.args.fault_penalty)
        return GameResult(
            game=episode.game,
            roles=episode.roles,
            opponent=plan.opponent,
            learner_seats=plan.learner_seats,
            returns=returns,
            deal=plan.number // self.args.replays,
        )

    def play(self, plans: Sequence[GamePlan]) -> list[Episode]:
        """Plays games with the current weights, shared out over the processes; see `SharedPlay.play`."""
        return self._playing.play(plans)

    def _take_snapshot(self) -> None:
        """Adds the current weights to the league when it is time."""
        league, step = self.league, self.state.global_step
        if league is None or not league.is_due(step):
            return

        def save(folder: Path) -> None:
            # Gathers what is spread over the processes; only the main process writes.
            self.save_model(str(folder), _internal_call=True)
            # The settings of the run, with its paths: a snapshot is the same whatever its run is called.
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)

        num_bytes: list[Any] = [None]
        if self.accelerator.is_main_process:
            num_bytes = [league.write(step, save)]
        else:
            save(league.folder_of(step))
        broadcast_object_list(num_bytes)
        league.add(step, num_bytes[0])

    def _fit(self, rows: list[TurnRow]) -> list[TurnRow]:
        """Returns the rows that fit into the batch, drawn at random when there are too many."""
        capacity = self.args.rows_per_batch
        left_out = torch.tensor(max(0, len(rows) - capacity), device=self.accelerator.device)
        total: Any = self.accelerator.reduce(left_out, reduction="sum")
        self._metrics["train"]["turns_left_out"].append(total.item())
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
                inputs["ref_per_token_logps"] = self._reference_logprobs(inputs)
        if corrects_sampler:
            if batch.sampling_logprobs is None:
                raise RuntimeError(
                    "the sampler reported no log-probabilities: set vllm_importance_sampling_correction=False"
                )
            sampled = batch.sampling_logprobs.to(device)
            inputs["sampling_per_token_logps"] = sampled
            inputs["importance_sampling_ratio"] = self._sampler_ratio(inputs["old_per_token_logps"], sampled, inputs)
        return inputs

    def _reference_logprobs(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Returns the log-probabilities of the reference model, [B, T]: with an adapter, of the model without it."""
        if self.ref_model is not None:
            return self._logprobs(self.ref_model, inputs)
        adapted: Any = self.policy
        # TRL keeps a copy of an adapter that was trained before.
        with use_adapter(adapted, adapter_name="ref" if "ref" in adapted.peft_config else None):
            return self._logprobs(self.model, inputs)

    def _logprobs(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Returns the log-probability of every completion token under `model`, [B, T]."""
        num_rows, width = inputs["completion_ids"].shape
        logprobs = torch.zeros((num_rows, width), device=inputs["completion_ids"].device)
        for rows in cut_rows(inputs, self.args.parts_per_batch, by_length=True):
            part = without_padding({name: inputs[name][rows] for name in _ROW_TENSORS if name in inputs})
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
        sums = [gap.abs().sum(), (ratio * mask).sum(), (ratio != gap.exp()).sum(), mask.sum()]
        totals: Any = self.accelerator.reduce(torch.stack([each.float() for each in sums]), reduction="sum")
        largest: Any = self.accelerator.gather(gap.abs().max())
        num_tokens = totals[3].item()
        if num_tokens:
            metrics = self._metrics["train"]
            metrics["sampling/logprob_gap_mean"].append(totals[0].item() / num_tokens)
            metrics["sampling/logprob_gap_max"].append(largest.max().item())
            metrics["sampling/ratio_mean"].append(totals[1].item() / num_tokens)
            # Cut below or above.
            metrics["sampling/ratio_truncated"].append(totals[2].item() / num_tokens)
            self._watch_gap(metrics["sampling/logprob_gap_mean"][-1])
        return ratio

    def _watch_gap(self, gap: float) -> None:
        """Raises the alarm when the sampler gives other probabilities than the trainer."""
        limit = self.args.logprob_gap_alarm
        if gap <= limit:
            return
        message = (
            f"the sampler's log-probabilities are {gap:.3f} nats from the trainer's in the mean, more than {limit:g}:"
            " are its weights, its number format and its sampling settings those of the trainer?"
        )
        _logger.warning(message)
        if self.accelerator.is_main_process:
            alarm = {"name": "logprob_gap", "message": message, "figure": gap, "limit": limit}
            self._alarms_file.append([{"step": self.state.global_step + 1, **alarm}])

    def _compute_loss(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Returns TRL's loss of the rows that carry any, divided by the constant size of a full micro-batch.

        Padding rows and columns are cut off first, so that they cost nothing. TRL divides by the rows that it is given;
        the factor makes that the rows of a full micro-batch. Turns that stand for left-out ones weigh more.
        """
        weight = inputs["row_weight"].sum() / self.args.per_device_train_batch_size
        figures = self._metrics
        total_weight: Any = self.accelerator.reduce(weight.detach().clone(), reduction="sum")
        if total_weight == 0:
            # A part of padding alone: its figures would be no turn's.
            self._metrics = {mode: defaultdict(list) for mode in figures}
        with self._gathering_uneven_rows():
            loss = super()._compute_loss(model, without_padding(inputs)) * weight
        self._metrics = figures
        num_bad: Any = self.accelerator.reduce((~loss.isfinite()).float(), reduction="sum")
        if num_bad > 0:
            self._end_with_batch(loss, inputs)
        return loss

    @contextmanager
    def _gathering_uneven_rows(self) -> Generator[None]:
        """Context in which a figure of every row may be gathered from processes with different numbers of rows.

        TRL gathers such figures for its smallest and largest, and leaves NaN out, which is what is filled in.
        """
        gather = self.accelerator.gather

        def gather_padded(tensor: torch.Tensor) -> Any:
            return gather(self.accelerator.pad_across_processes(tensor, pad_index=math.nan) if tensor.dim() else tensor)  # pyright: ignore[reportArgumentType] - any number does

        self.accelerator.gather = gather_padded
        try:
            yield
        finally:
            del self.accelerator.gather

    def generate_ids(self, prompts: list[list[int]]) -> tuple[list[list[int]], list[list[float | None]] | None]:
        """Returns a completion a prompt with the current weights, and vLLM's log-probabilities where it generates."""
        try:
            # No images, no multimodal fields, one completion a prompt.
            return self._generate_single_turn(prompts, None, {}, 1)
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):
                raise
            step = self.state.global_step
            raise NonFiniteLossError(
                f"the model's probabilities are not finite after step {step}, its weights are spoilt:"
                " go on from an earlier checkpoint, with a smaller learning rate"
            ) from error

    def sync_generation(self, *, is_needed: bool) -> None:
        """Gives vLLM the current weights, if the step has moved since it got them or `is_needed` says so.

        All processes do it together, before they play at a pace of their own.
        """
        if is_needed or self._last_loaded_step != self.state.global_step:
            self.vllm_generation.sync_weights()
            self._last_loaded_step = self.state.global_step

    # -- measuring ---------------------------------------------------------------------------------------------------

    def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride] - there is no dataset to choose
        self, eval_dataset: None = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Plays the model against `eval_agents` in both seats of the same deals, and returns and logs the figures.

        The same deals at every evaluation of a run, sampled as in training; the run's own random numbers stay as they
        are. Every result is a line of `evaluations.jsonl`.
        """
        from spiral_trl.evaluation import evaluation_metrics, plan_evaluation, pooled_results, seat_results
        from spiral_trl.strength import own_random_state

        args = self.args
        plans = plan_evaluation(
            args.eval_on or args.games, args.eval_agents or [], pairs=args.eval_pairs, seed=args.seed
        )
        failure: GenerationError | None = None
        episodes: list[Episode] = []
        with own_random_state(self.model):  # pyright: ignore[reportArgumentType] - there is one
            # Other draws on every process: many games begin with the same prompt.
            torch.manual_seed(bits64(args.seed, self.accelerator.process_index) >> 1)
            try:
                episodes = self.play(plans)
            except GenerationError as error:
                failure = error
        if failure:
            # With the random numbers of the run.
            self._end_with_checkpoint(failure)
        results = seat_results(plans, episodes)
        if self.accelerator.is_main_process:
            self._evaluations_file.append({"step": self.state.global_step, **each.to_json()} for each in results)
        figures = evaluation_metrics(pooled_results(plans, episodes))
        metrics = {f"{metric_key_prefix}_{name.removeprefix('eval/')}": figure for name, figure in figures.items()}
        # Not TRL's: it would add the figures of training that wait for their own line.
        Trainer.log(self, dict(metrics))
        self.control = self.callback_handler.on_evaluate(args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs the figures of the last steps, with NashConv when its turn has come."""
        every = self.args.nash_conv_steps
        if every and "loss" in logs and self.state.global_step % every == 0:
            from spiral_trl.strength import ONE_HAND

            for name, figure in self.under_test.nash_conv(self.args.nash_conv_games or [ONE_HAND]).items():
                self._metrics["train"][name].append(figure)
        super().log(logs, start_time)
        if self._collapse.reason:
            # Within a batch of games a checkpoint would lose the rest of it.
            is_between = self.state.global_step % self._steps_per_batch == 0
            self.control.should_training_stop = is_between
            self.control.should_save = self.control.should_save or is_between

    # -- records and checkpoints -------------------------------------------------------------------------------------

    def _log_games(self, batch: PlayedBatch) -> None:
        """Writes every game to `games.jsonl` and the figures of the batch to TRL's metrics."""
        metrics = self._metrics["train"]
        figures = batch_metrics(
            batch.episodes, batch.plans, batch.advantages, self.baseline, estimator=self._estimator.estimator
        )
        if self.league:
            figures |= self.league.metrics()
        num_tokens = sum(
            len(turn.response.token_ids)
            for plan, episode in zip(batch.plans, batch.episodes, strict=True)
            for turn in episode.turns
            if turn.seat in plan.learner_seats and isinstance(turn.response, SampledReply)
        )
        figures["games"] = len(batch.episodes)
        figures["turns"] = sum(len(episode.turns) for episode in batch.episodes)
        figures["play_time_s"] = batch.play_time
        figures["play_tokens_per_s"] = num_tokens / batch.play_time
        for name, figure in figures.items():
            metrics[name].append(figure)
        if self.accelerator.is_main_process:
            step = self.state.global_step + 1
            self._games_file.append(
                {
                    "step": step,
                    "number": plan.number,
                    "opponent": plan.opponent,
                    "learner_seats": list(plan.learner_seats),
                    "advantages": list(scores),
                    **episode.to_json(),
                }
                for plan, episode, scores in zip(batch.plans, batch.episodes, batch.advantages, strict=True)
            )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Saves TRL's checkpoint, then our state, whose presence says that the checkpoint is whole."""
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        if self.accelerator.is_main_process:
            begin(folder)
        self.accelerator.wait_for_everyone()
        # transformers would make room before this checkpoint is whole, and count torn ones.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        if self.args.sync_ref_model and self.accelerator.is_main_process:
            torch.save(self.accelerator.unwrap_model(self.ref_model).state_dict(), folder / _REFERENCE_FILE)
        # Every process has written its random numbers, and its part of what is spread over them.
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            finish(folder, self._state())
            rotate(folder.parent, limit, kept=self.state.best_model_checkpoint)
            if self.league:
                self.league.prune(_needed_snapshots(Path(str(self.args.output_dir))))

    def _state(self) -> dict[str, Any]:
        """Returns what a resumed run needs beside the weights and TRL's own state."""
        return {
            "games_started": self.games_started,
            "baseline": self.baseline.state_dict(),
            "schedule": self.schedule.state_dict(),
            "league": self.league.state_dict() if self.league else None,
            "collapse": self._collapse.state_dict(),
            "settings": self._settings_to_keep(),
            # What was measured since the last line of metrics.
            "metrics": {name: list(values) for name, values in self._metrics["train"].items()},
        }

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Restores the optimizer, and with it all that `_state` holds and the records of a resumed run."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        # A resumed run saves, logs and evaluates when its own settings say so.
        self.state.compute_steps(self.args, self.state.max_steps)
        state = read_state(Path(checkpoint))
        try:
            self._restore(state)
        except RestoreError:
            raise
        except ValueError as error:
            raise RestoreError(f"cannot go on from {checkpoint}: {error}") from error
        if self.args.sync_ref_model:
            reference = torch.load(Path(checkpoint) / _REFERENCE_FILE, map_location="cpu", weights_only=True)
            self.accelerator.unwrap_model(self.ref_model).load_state_dict(reference)
        self._rewind_records(self.state.global_step)

    def _restore(self, state: dict[str, Any]) -> None:
        """Takes over what `_state` returned.

        Raises:
            ValueError: It is the state of a run with other games, baselines or snapshots.
        """
        self.baseline.load_state_dict(state["baseline"])
        self.games_started = state["games_started"]
        self.schedule.load_state_dict(state["schedule"])
        # A run may get a league later: the first snapshot is then taken at once.
        if self.league and state["league"]:
            self.league.load_state_dict(state["league"])
        self._collapse.load_state_dict(state["collapse"])
        self._metrics["train"].update({name: list(values) for name, values in state["metrics"].items()})
        for name, value in self._settings_to_keep().items():
            if state["settings"].get(name) != value:
                _logger.warning(
                    "%s is %r and was %r before the checkpoint: the run goes on with it, which is not the run that was",
                    name,
                    value,
                    state["settings"].get(name),
                )

    def _settings_to_keep(self) -> dict[str, Any]:
        """Returns the settings whose change would make a resumed run another one."""
        args = self.args
        return {
            "seed": args.seed,
            "opponents": args.opponent_weights,
            "games_per_batch": args.games_per_batch,
            "advantage_estimator": args.advantage_estimator,
            "reward": args.reward,
            "fault_penalty": args.fault_penalty,
            "gamma": args.gamma,
            "rows": args.rows,
            "context": args.context,
            "num_processes": self.accelerator.num_processes,
        }

    def _rewind_records(self, step: int) -> None:
        if self.accelerator.is_main_process:
            for file in (self._games_file, self._evaluations_file, self._alarms_file):
                file.rewind(step)

    def _end_with_checkpoint(self, error: GenerationError) -> NoReturn:
        """Saves what has been learned so far, and ends the run with what happened.

        The games of the batch were not counted, so that a resumed run plays them from the start.
        """
        step = self.state.global_step
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{step}"
        # One process decides, for each machine may see other files.
        is_saved: list[Any] = [find_damage(folder) is None]
        broadcast_object_list(is_saved)
        if not is_saved[0]:
            self._save_checkpoint(self.model, None)
        # The first process that ends takes the others with it, and the main one may still be writing.
        self.accelerator.wait_for_everyone()
        raise GenerationError(f"{error}; step {step} is saved in {folder.name}, from which the run can be resumed")

    def _end_with_batch(self, loss: torch.Tensor, inputs: dict[str, torch.Tensor]) -> NoReturn:
        """Saves the micro-batches whose loss is not finite, and ends the run before they can spoil the weights."""
        step, rank = self.state.global_step + 1, self.accelerator.process_index
        folder = Path(str(self.args.output_dir))
        name = f"nonfinite_loss_step-{step}_rank-{{}}.pt"
        if not loss.isfinite():
            folder.mkdir(parents=True, exist_ok=True)
            torch.save({name: tensor.cpu() for name, tensor in inputs.items()}, folder / name.format(rank))
        ranks: list[int] = gather_object([] if loss.isfinite() else [rank])
        saved = ", ".join(str(folder / name.format(each)) for each in ranks)
        raise NonFiniteLossError(f"the loss is not finite in step {step}: the micro-batch is saved in {saved}")


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Returns the state of torch's random numbers, on the CPU and on the GPUs in use."""
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


def _set_random_state(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    """Puts back what `_random_state` returned."""
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def _record_results(league: League, plans: Sequence[GamePlan], episodes: Sequence[Episode]) -> None:
    """Counts the learner's results against snapshots."""
    for plan, episode in zip(plans, episodes, strict=True):
        if plan.opponent == LEAGUE:
            seat = plan.learner_seats[0]
            snapshot = next(name for each, name in enumerate(episode.agents) if each not in plan.learner_seats)
            earned = episode.outcome.returns[seat]
            league.record(int(snapshot.rpartition(":")[2]), 0.5 if earned == 0 else float(earned > 0))


def _needed_snapshots(output_dir: Path) -> set[int]:
    """Returns the steps of the snapshots that runs resumed from any whole checkpoint would need."""
    leagues = [read_state(folder)["league"] for folder in whole_checkpoints(output_dir)]
    return {step for league in leagues if league for step in steps_in(league)}


_ROW_TENSORS: Final = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "row_weight")


def _no_reward(**_: Any) -> list[float]:
    """Stands where TRL demands a reward source; returns come from the games."""
    raise AssertionError("self-play takes its returns from the games, never from a reward function")


def _placeholder_rows(args: SelfPlayConfig) -> Dataset:
    """Returns the dataset that TRL demands: as many empty rows as drive the whole run in one epoch."""
    assert args.generation_batch_size is not None, "GRPOConfig sets it"
    assert args.num_generations is not None, "GRPOConfig sets it"
    num_rows = args.max_steps * max(1, args.generation_batch_size // args.num_generations)
    return Dataset.from_dict({"prompt": [""] * num_rows})
