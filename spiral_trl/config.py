"""The settings of a self-play run: TRL's `GRPOConfig` with other defaults and a few fields of its own."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import ClassVar, Final

import torch
from trl import GRPOConfig

from spiral_envs.errors import UnknownNameError
from spiral_envs.prompts import find_style
from spiral_envs.sources import find_source
from spiral_trl.advantages import AdvantageEstimator, Estimator, RoleBaseline
from spiral_trl.batching import RowUnit
from spiral_trl.collapse import CollapseAction
from spiral_trl.config_checks import (
    check_agents,
    check_generation_options,
    check_nash_conv,
    check_numbers,
    check_steps,
    checked_weights,
    num_generations_of,
    read_json,
)
from spiral_trl.league import LeagueSettings, Selection, find_selection
from spiral_trl.rewards import Reward
from spiral_trl.sampling import Context
from spiral_trl.schedule import LEAGUE, SELF, Schedule

COLLECTORS: Final = ("auto", "waves", "pool")

_CHOICES: Final = {
    "reward": tuple(Reward),
    "advantage_estimator": tuple(Estimator),
    "rows": tuple(RowUnit),
    "context": tuple(Context),
    "collector": COLLECTORS,
    "league_selection": tuple(Selection),
    "collapse": tuple(CollapseAction),
}
"""What a field may say."""


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
        game_weights: The share of every entry of `games`; None gives each the same.
        mix_by: Whether these are shares of the games played or of the turns trained on.
        opponents: The weight of every kind of opponent, summing to 1: `self`, `league`, or any agent string. Against
            anyone but itself the model sits in one seat, drawn at random, and only its own turns train.
        league_snapshot_steps: Optimizer steps between two snapshots of the model for the league.
        league_size: The most snapshots in the league.
        league_disk_gb: The most that they may take on the disk, in units of 10^9 bytes; None sets no bound.
        league_selection: Which snapshot plays: the latest, any (uniform), or rather those it loses to (prioritised).
        reward: What is learned from: a game's returns (score), or only their sign (win).
        fault_penalty: Subtracted from the return of a player whose fault ended the game, beside the loss of the game.
        gamma: A player's turn counts `gamma^k` as much as its last turn, k turns of its own later.
        advantage_estimator: What returns are compared with: the average of the role (rae), one average for everything
            (global), nothing (none), or the other games of the same deal (group).
        replays_per_deal: Games that share a deal, an opponent and its seat, with `group`.
        rows: A row a turn, or a row a player and game where the history is append-only (episode).
        context: What the model reads at its turn: a fresh prompt (turn), or all its prompts and replies of the game
            so far and then what is new (conversation).
        collector: How games are played at once: in lockstep waves, or in a pool of single requests, which vLLM takes;
            auto takes the pool where the backend allows it.
        logprob_gap_alarm: Warn when the sampler's and the trainer's log-probabilities differ more in the mean, in nats.
        eval_agents: Agent strings to play against every `eval_steps` steps, with `eval_strategy="steps"`.
        eval_on: The games of these evaluations; None takes `games`.
        eval_pairs: Pairs of games in an evaluation, for each agent and game: one deal, both seats in turn.
        nash_conv_games: Small games in which NashConv is measured every `nash_conv_steps` steps.
        nash_conv_steps: Steps between two measurements of NashConv; 0 leaves them out.
        collapse: What happens when a figure looks like collapse: warn, stop, or off.
        baseline_decay: The decay of the role baselines.
        baseline_order: "before" scores a return against the baseline before updating it, "after" the other way round.
    """

    _VALID_DICT_FIELDS: ClassVar[list[str]] = [*GRPOConfig._VALID_DICT_FIELDS, "opponents"]  # noqa: SLF001 - transformers reads JSON for them

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
    game_weights: list[float] | None = field(
        default=None, metadata={"help": "Share of every entry of games, summing to 1; by default all the same."}
    )
    mix_by: str = field(default="games", metadata={"help": "What is shared out: games or turns."})
    opponents: dict[str, float] | str | None = field(
        default=None,
        metadata={"help": 'Weights by kind of opponent, as JSON: {"self": 0.5, "league": 0.3, "random": 0.2}.'},
    )
    league_snapshot_steps: int = field(default=50, metadata={"help": "Steps between two snapshots for the league."})
    league_size: int = field(default=8, metadata={"help": "Most snapshots in the league."})
    league_disk_gb: float | None = field(default=None, metadata={"help": "Most disk space of the league, in GB."})
    league_selection: str = field(
        default="uniform", metadata={"help": "Which snapshots play: latest, uniform or prioritised."}
    )
    reward: str = field(default="score", metadata={"help": "What is learned from: score or win."})
    fault_penalty: float = field(default=0.0, metadata={"help": "Taken from whoever ends a game by a fault."})
    gamma: float = field(default=1.0, metadata={"help": "Discount a turn of the player's own."})
    advantage_estimator: str = field(
        default="rae", metadata={"help": "What returns are compared with: rae, global, none or group."}
    )
    replays_per_deal: int = field(default=4, metadata={"help": "Games of the same deal, with group."})
    rows: str = field(default="turn", metadata={"help": "A row a turn, or a player's whole game: turn or episode."})
    context: str = field(default="turn", metadata={"help": "What is read at a turn: turn or conversation."})
    collector: str = field(default="auto", metadata={"help": "How games run at once: auto, waves or pool."})
    logprob_gap_alarm: float = field(
        default=0.1, metadata={"help": "Warn above this mean gap between sampler and trainer, in nats."}
    )
    eval_agents: list[str] | None = field(
        default=None, metadata={"help": "Agents to play against every eval_steps, with --eval_strategy steps."}
    )
    eval_on: list[str] | None = field(default=None, metadata={"help": "Games of the evaluations; by default games."})
    eval_pairs: int = field(default=32, metadata={"help": "Pairs of games an evaluation, for each agent and game."})
    nash_conv_games: list[str] | None = field(
        default=None, metadata={"help": "Small games in which NashConv is measured; by default one-hand Kuhn poker."}
    )
    nash_conv_steps: int = field(default=0, metadata={"help": "Steps between measurements of NashConv; 0: none."})
    collapse: str = field(default="warn", metadata={"help": "At signs of collapse: warn, stop or off."})
    baseline_decay: float = field(default=0.95, metadata={"help": "Decay of the role baselines."})
    baseline_order: str = field(
        default="before", metadata={"help": "When a return is scored, before or after it updates its baseline."}
    )

    # Defaults of GRPOConfig that self-play changes.
    loss_type: str = field(default="dr_grpo", metadata={"help": "Token sum over a constant; see GRPOConfig."})
    scale_rewards: str = field(default="none", metadata={"help": "Advantages are never normalised."})
    beta: float = field(default=0.0, metadata={"help": "Weight of the KL to the reference model; 0 loads none."})
    vllm_importance_sampling_mode: str = field(
        default="token_truncate", metadata={"help": "Only token_truncate: truncated importance sampling a token."}
    )
    max_completion_length: int | None = field(default=4096, metadata={"help": "Longest reply in tokens."})
    num_generations: int | None = field(
        default=None, metadata={"help": "Unused; by default a number that TRL accepts for the batch."}
    )
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
        if self.use_cpu:
            # With several processes accelerate would name it cpu:0, onto which no checkpoint can be loaded.
            os.environ.setdefault("ACCELERATE_TORCH_DEVICE", "cpu")
        check_numbers(self)
        self._read_json()
        if self.num_generations is None:
            self.num_generations = num_generations_of(self)
            self.num_generations_eval = 1
        super().__post_init__()
        if not self.games:
            raise ValueError("games is empty: name at least one game")
        for game in self.games:
            source = find_source(game)
            if not source.zero_sum or len(source.roles) != 2:
                raise ValueError(f"game {game!r} is not a zero-sum game of two: self-play trains on those only")
        find_style(self.prompt_style)
        self._check_choices()
        self._check_opponents()
        self._check_watching()
        self._refuse_ignored_settings()
        self._check_batch()

    def _read_json(self) -> None:
        """Reads what the command line gives as JSON, and checks it.

        Raises:
            ValueError: It is no JSON, or not of the kind that is expected.
        """
        for name in self._VALID_DICT_FIELDS:
            value = getattr(self, name)  # the message names the field
            if isinstance(value, str) and value.startswith("{"):
                read_json(name, value)
        check_generation_options(self.generation_kwargs)
        if self.opponents is not None:
            self.opponents = checked_weights(self.opponents)

    def _check_choices(self) -> None:
        """Raises UnknownNameError on a word that is none of those expected."""
        for name, known in _CHOICES.items():
            value = getattr(self, name)  # the message names the field
            if value not in known:
                raise UnknownNameError(name, value, known)
        baseline = RoleBaseline(self.baseline_decay, self.baseline_order)
        AdvantageEstimator(Estimator(self.advantage_estimator), baseline, self.replays)
        if self.rows == RowUnit.EPISODE and self.context != Context.CONVERSATION:
            raise ValueError(
                "rows='episode' needs context='conversation': fresh prompts do not continue what was said before"
            )
        if self.collector == "pool" and not self.use_vllm:
            raise ValueError("collector='pool' needs use_vllm: transformers generates whole batches only")
        if self.collector == "pool" and self.vllm_mode == "colocate" and self.vllm_tensor_parallel_size > 1:
            raise ValueError("collector='pool' does not work with vllm_tensor_parallel_size > 1: use waves")

    def _check_opponents(self) -> None:
        """Raises ValueError on a mix of games or opponents, or a league, that cannot be played."""
        self.schedule(seed=0)
        agents = [each for each in self.opponent_weights if each not in (SELF, LEAGUE)]
        check_agents("opponents", agents, self.games)
        if LEAGUE not in self.opponent_weights:
            return
        self.league_settings()
        if self.collector == "pool" and self.vllm_mode == "colocate":
            raise ValueError(
                "collector='pool' does not work with a league on the same engine, which answers one model at a time:"
                " use auto or waves"
            )

    def _check_watching(self) -> None:
        """Raises ValueError on evaluations that could not be played."""
        is_evaluating = self.eval_strategy != "no"
        if self.eval_agents and not is_evaluating:
            raise ValueError("eval_agents are named but eval_strategy is 'no': set eval_strategy to 'steps'")
        if is_evaluating and not self.eval_agents:
            raise ValueError("eval_strategy is on but nobody is to be played against: name eval_agents")
        for game in (*(self.eval_on or ()), *(self.nash_conv_games or ())):
            find_source(game)
        check_agents("eval_agents", self.eval_agents or (), self.eval_on or self.games)
        if self.nash_conv_steps:
            check_nash_conv(self.nash_conv_games or ())

    def _check_batch(self) -> None:
        """Raises ValueError on sizes of a batch that do not go together."""
        games = self.games_per_batch or self.surely_fitting_games()
        if games % self.replays:
            raise ValueError(f"games_per_batch is {games}: expected a multiple of replays_per_deal, {self.replays}")
        check_steps(self)

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
        if self.save_only_model:
            raise ValueError("save_only_model is not supported: a run could not go on from its checkpoints")
        if self.scale_rewards != "none":
            raise ValueError(f"scale_rewards {self.scale_rewards!r} is not supported: advantages are not normalised")

    @property
    def opponent_weights(self) -> dict[str, float]:
        """The weight of every kind of opponent."""
        assert not isinstance(self.opponents, str), "read in __post_init__"
        return {SELF: 1.0} if self.opponents is None else dict(self.opponents)

    @property
    def vllm_server_url(self) -> str:
        """Where the vLLM server is, as TRL reads its settings."""
        return self.vllm_server_base_url or f"http://{self.vllm_server_host}:{self.vllm_server_port}"

    @property
    def replays(self) -> int:
        """How many games share a deal."""
        return self.replays_per_deal if self.advantage_estimator == Estimator.GROUP else 1

    def schedule(self, *, seed: int) -> Schedule:
        """Returns what decides which games are played against whom.

        Raises:
            ValueError: The weights do not go together.
        """
        return Schedule(
            self.games,
            weights=self.game_weights,
            mix_by=self.mix_by,
            opponents=self.opponent_weights,
            seed=seed,
            replays=self.replays,
        )

    def league_settings(self) -> LeagueSettings:
        """Returns the settings of the league.

        Raises:
            ValueError: The league has no room.
        """
        return LeagueSettings(
            snapshot_steps=self.league_snapshot_steps,
            size=self.league_size,
            disk_bytes=None if self.league_disk_gb is None else int(self.league_disk_gb * 1e9),
            selection=find_selection(self.league_selection),
        )

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
        """Returns how many games always fit into the rows of a batch.

        Raises:
            ValueError: Not even one of each game fits, or a bridge cannot tell how long a game can be.
        """
        longest: list[int] = []
        for game in self.games:
            spec = find_source(game).spec
            if spec is None:
                raise ValueError(f"how long a game of {game} can be is not known: set games_per_batch")
            longest.append(spec.game.max_plies)
        # Where shares differ a batch may hold games of the longest kind alone.
        is_in_turn = self.game_weights is None and self.mix_by == "games" and self.replays == 1
        group = longest if is_in_turn else [max(longest)] * self.replays
        fitting = self.rows_per_batch // sum(group) * len(group)
        if fitting == 0:
            kind = "of each" if is_in_turn else f"deal ({self.replays} games)"
            raise ValueError(
                f"one game {kind} needs up to {sum(group)} rows, a batch has {self.rows_per_batch}:"
                " raise per_device_train_batch_size or gradient_accumulation_steps, or set games_per_batch"
            )
        return fitting
