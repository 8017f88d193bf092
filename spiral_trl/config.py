"""The settings of a self-play run: TRL's `GRPOConfig` with other defaults and a few fields of its own."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from trl import GRPOConfig

from spiral_envs.prompts import find_style
from spiral_envs.sources import find_source
from spiral_trl.advantages import RoleBaseline


@dataclass
class SelfPlayConfig(GRPOConfig):
    """Settings of `SelfPlayTrainer`.

    All fields of `GRPOConfig` and `TrainingArguments` are there as well. The ones that shape a batch:
    a batch holds at most `per_device_train_batch_size * gradient_accumulation_steps` turns a process; every game is
    played to its end and every one of its turns is a row, so the number of games is chosen such that the longest games
    fit. Unused rows cost nothing. The loss is a sum over tokens divided by the constant
    `rows of a full batch * max_completion_length`.

    Attributes:
        games: The games to play, equally often; a game named twice is played twice as often.
        games_per_batch: Games a process plays in a batch; None plays as many as surely fit. With more than that, turns
            beyond the rows of a batch are left out at random and the others weigh more, which keeps the gradient
            unbiased; the metric `turns_left_out` counts them.
        prompt_style: A name in `spiral_envs.prompts.STYLES`; `plain` is written without a chat template.
        hints: Whether prompts list the legal moves.
        max_prompt_length: Tokens; a longer prompt is a fault of its player. None allows what the context leaves beside
            `max_completion_length`.
        max_concurrent_games: Games in progress at once in a process, which bounds the memory of generation.
        baseline_decay: The decay of the role baselines.
        baseline_order: "before" scores a return against the baseline before updating it, "after" the other way round.
    """

    games: list[str] = field(
        default_factory=lambda: ["tic_tac_toe_v0", "kuhn_poker_v0", "simple_negotiation_v0"],
        metadata={"help": "Games to play, with options in parentheses: kuhn_poker_v0(hands=1,payoff=chips)."},
    )
    games_per_batch: int | None = field(
        default=None, metadata={"help": "Games a process plays in a batch; by default as many as surely fit."}
    )
    prompt_style: str = field(default="boxed_cot", metadata={"help": "How views become prompts: boxed_cot or plain."})
    hints: bool = field(default=False, metadata={"help": "Whether prompts list the legal moves."})
    max_prompt_length: int | None = field(
        default=None, metadata={"help": "Longest prompt in tokens; by default what the context leaves."}
    )
    max_concurrent_games: int = field(default=512, metadata={"help": "Games in progress at once in a process."})
    baseline_decay: float = field(default=0.95, metadata={"help": "Decay of the role baselines."})
    baseline_order: str = field(
        default="before", metadata={"help": "Score a return before or after it updates its baseline."}
    )

    # Defaults of GRPOConfig that self-play changes.
    loss_type: str = field(default="dr_grpo", metadata={"help": "Token sum over a constant; see GRPOConfig."})
    scale_rewards: str = field(default="none", metadata={"help": "Advantages are never normalised."})
    beta: float = field(default=0.0, metadata={"help": "Weight of the KL to the reference model; 0 loads none."})
    vllm_importance_sampling_mode: str = field(
        default="token_truncate", metadata={"help": "Only token_truncate: truncated importance sampling a token."}
    )
    max_completion_length: int | None = field(default=4096, metadata={"help": "Longest reply in tokens."})
    num_generations: int | None = field(default=2, metadata={"help": "Unused, but TRL checks that it divides a batch."})
    logging_steps: float = field(default=1, metadata={"help": "Steps between two lines of metrics."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints that are kept, at least 2."})
    max_steps: int = field(default=400, metadata={"help": "Optimizer steps of the run."})
    # The parser of TRL needs None first.
    report_to: None | str | list[str] = field(  # noqa: RUF036
        default="none", metadata={"help": "Loggers, beside metrics.jsonl."}
    )
    dataloader_pin_memory: bool = field(default=False, metadata={"help": "Unused: the loader's rows are placeholders."})
    shuffle_dataset: bool | None = field(default=False, metadata={"help": "Unused: there is no dataset."})

    def __post_init__(self) -> None:
        """Checks the settings once.

        Raises:
            UnknownNameError: A game, a style or an order that does not exist.
            ValueError: A value out of its range, or a field of GRPOConfig that self-play would ignore.
        """
        if self.bf16 is None and not self.fp16:
            # TRL would turn bf16 on, which on a CPU is slow and inexact.
            self.bf16 = torch.cuda.is_available()
        super().__post_init__()
        if not self.games:
            raise ValueError("games is empty: name at least one game")
        for game in self.games:
            source = find_source(game)
            if not source.zero_sum or len(source.roles) != 2:
                raise ValueError(f"game {game!r} is not a zero-sum game of two: self-play trains on those only")
        find_style(self.prompt_style)
        RoleBaseline(self.baseline_decay, self.baseline_order)
        for name in (
            "games_per_batch",
            "max_prompt_length",
            "max_concurrent_games",
            "max_steps",
            "max_completion_length",
        ):
            value = getattr(self, name)  # the message names the field
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value!r}: expected at least 1")
        self._refuse_ignored_settings()
        if self.games_per_batch is None:
            self.surely_fitting_games()
        steps_per_batch = max(1, self.num_iterations * self.parts_per_batch // self.gradient_accumulation_steps)
        if self.save_strategy == "steps" and self.save_steps % steps_per_batch:
            raise ValueError(
                f"save_steps is {self.save_steps!r}: expected a multiple of {steps_per_batch}, the optimizer steps"
                " on a batch of games, because a checkpoint within a batch would lose the rest of it"
            )

    def _refuse_ignored_settings(self) -> None:
        """Raises ValueError on settings of the base classes that self-play cannot honour."""
        if self.save_total_limit is not None and self.save_total_limit < 2:
            raise ValueError("save_total_limit must be at least 2: a run killed while saving needs the one before")
        if self.vllm_importance_sampling_mode != "token_truncate":
            raise ValueError(
                f"vllm_importance_sampling_mode is {self.vllm_importance_sampling_mode!r}: expected token_truncate"
            )
        if self.loss_type != "dr_grpo":
            raise ValueError(f"loss_type is {self.loss_type!r}: expected dr_grpo, the token sum over a constant")
        if self.mask_truncated_completions:
            raise ValueError("mask_truncated_completions is not supported: a truncated reply is a fault to learn from")
        if self.scale_rewards != "none":
            raise ValueError(f"scale_rewards {self.scale_rewards!r} is not supported: advantages are not normalised")

    @property
    def parts_per_batch(self) -> int:
        """The micro-batches that a batch is cut into."""
        assert self.steps_per_generation is not None, "GRPOConfig sets it"
        return self.steps_per_generation

    @property
    def rows_per_batch(self) -> int:
        """The most turns that a process trains on in a batch."""
        return self.per_device_train_batch_size * self.parts_per_batch

    @property
    def reply_limit(self) -> int:
        """The longest reply in tokens."""
        assert self.max_completion_length is not None, "checked in __post_init__"
        return self.max_completion_length

    def surely_fitting_games(self) -> int:
        """Returns how many games always fit into the rows of a batch, taking the games in turn.

        Raises:
            ValueError: Not even one of each game fits, or a bridge cannot tell how long a game can be.
        """
        longest: list[int] = []
        for game in self.games:
            spec = find_source(game).spec
            if spec is None:
                raise ValueError(f"how long a game of {game} can be is not known: set games_per_batch")
            longest.append(spec.game.max_plies)
        rounds = self.rows_per_batch // sum(longest)
        if rounds == 0:
            raise ValueError(
                f"one game of each needs up to {sum(longest)} rows, a batch has {self.rows_per_batch}:"
                " raise per_device_train_batch_size or gradient_accumulation_steps, or set games_per_batch"
            )
        return rounds * len(self.games)
