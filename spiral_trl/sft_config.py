"""The settings of `spiral-train sft`: what is recorded, what is learned from it, and how TRL trains."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

import torch
from trl import ModelConfig, SFTConfig

from spiral_envs.agents import agent_names
from spiral_envs.errors import UnknownNameError
from spiral_envs.prompts import find_style
from spiral_envs.sources import find_source
from spiral_trl.command_line import HelpPage, packaged_configs, parse_settings
from spiral_trl.sft import Keep


@dataclass
class SftArguments:
    """Arguments of the command beside those of TRL's trainer and of the model.

    Attributes:
        experts: Agent strings: who plays the recorded games.
        games: The games.
        num_games: How many games are recorded.
        keep: Whose turns are learned from, a value of `Keep`.
        max_concurrent_games: Recorded games in progress at once. More suit an expert that answers many views together;
            with fewer, less is lost when a recording is stopped.
        prompt_style: A name in `spiral_envs.prompts.STYLES`; None is `boxed_cot` for a tokenizer with a chat template
            and `plain` for others, as the agent `hf:` prompts.
        hints: Whether prompts list the legal moves.
        max_completion_length: The longest reply of the measured model, in tokens; None is twice the longest example.
        supervised_steps: Steps of warm-up of the embedded model on games of weak players; 0 starts from random weights.
        resume: Whether to go on from the last complete checkpoint of `output_dir`.
    """

    experts: list[str] = field(
        default_factory=list,
        metadata={"help": "Agents that play the games: minimax, cfr, mcts:100, openai:MODEL@URL, hf:FOLDER, ..."},
    )
    games: list[str] = field(
        default_factory=list,
        metadata={"help": "Games to play, with options in parentheses: kuhn_poker_v0(hands=1,payoff=chips)."},
    )
    num_games: int = field(default=1000, metadata={"help": "Games to record."})
    keep: str = field(
        default=Keep.ALL.value, metadata={"help": "Whose turns are learned from: all, wins or wins_and_draws."}
    )
    max_concurrent_games: int = field(default=128, metadata={"help": "Recorded games in progress at once."})
    prompt_style: str | None = field(
        default=None,
        metadata={"help": "How views become prompts: boxed_cot or plain; by default as the tokenizer allows."},
    )
    hints: bool = field(default=False, metadata={"help": "Whether prompts list the legal moves."})
    max_completion_length: int | None = field(
        default=None,
        metadata={"help": "Longest reply in tokens when the model is measured; by default twice the longest example."},
    )
    supervised_steps: int = field(
        default=0, metadata={"help": "Warm-up steps of the embedded model; 0 starts from random weights."}
    )
    resume: bool = field(default=False, metadata={"help": "Go on from the last complete checkpoint of output_dir."})

    def __post_init__(self) -> None:
        """Checks the settings once.

        Raises:
            UnknownNameError: An agent, a game, a style or a rule of keeping that does not exist.
            ValueError: A value out of its range.
        """
        if not self.experts:
            raise ValueError("no expert is named: name who plays the games, as in --experts minimax")
        if not self.games:
            raise ValueError("no game is named: name what is played, as in --games tic_tac_toe_v0")
        for expert in self.experts:
            _check_expert(expert)
        for game in self.games:
            find_source(game)
        if self.keep not in set(Keep):
            raise UnknownNameError("value of keep", self.keep, [each.value for each in Keep])
        if self.prompt_style is not None:
            find_style(self.prompt_style)
        for name, value, lowest in (
            ("num_games", self.num_games, 1),
            ("max_concurrent_games", self.max_concurrent_games, 1),
            ("max_completion_length", self.max_completion_length, 1),
            ("supervised_steps", self.supervised_steps, 0),
        ):
            if value is not None and value < lowest:
                raise ValueError(f"{name} is {value!r}: expected at least {lowest}")

    def data_settings(self, seed: int) -> dict[str, Any]:
        """Returns the settings that decide what is learned; a run goes on with the same ones only."""
        settings = asdict(self)
        for name in ("max_concurrent_games", "max_completion_length", "supervised_steps", "resume"):
            del settings[name]
        return {**settings, "seed": seed}


@dataclass
class ImitationConfig(SFTConfig):
    """Settings of TRL's `SFTTrainer`, with other defaults.

    Attributes:
        completion_only_loss: Whether the loss is on the replies alone.
        max_length: Tokens of the longest example, prompt and reply; longer ones are left out, never cut. None allows
            what the model's context holds.
    """

    completion_only_loss: bool | None = field(
        default=True, metadata={"help": "Whether the loss is on the experts' replies alone."}
    )
    max_length: int | None = field(
        default=None,
        metadata={"help": "Longest example in tokens, longer ones are left out; by default the model's context."},
    )
    logging_steps: float = field(default=1, metadata={"help": "Steps between two lines of metrics."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints that are kept, at least 2."})
    # The parser of TRL needs None first.
    report_to: None | str | list[str] = field(  # noqa: RUF036
        default="none", metadata={"help": "Loggers, beside metrics.jsonl."}
    )
    dataloader_pin_memory: bool = field(
        default_factory=torch.cuda.is_available, metadata={"help": "Whether batches are put where a GPU reads fast."}
    )

    def __post_init__(self) -> None:
        """Checks the settings once.

        Raises:
            ValueError: A value out of its range.
        """
        if self.bf16 is None and not self.fp16:
            # TRL would turn bf16 on, which on a CPU is slow and inexact.
            self.bf16 = torch.cuda.is_available()
        super().__post_init__()
        if self.save_total_limit is not None and self.save_total_limit < 2:
            raise ValueError("save_total_limit must be at least 2: a run killed while saving needs the one before")
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length is {self.max_length!r}: expected at least 1")


def parse_sft(argv: Sequence[str]) -> tuple[SftArguments, ImitationConfig, ModelConfig]:
    """Returns the settings that `argv` and its config file say; the command line wins.

    Raises:
        UnknownNameError: An option, a config or a key in it does not exist.
        ValueError: A value does not fit.
    """
    arguments, args, model_args = parse_settings(
        argv, _SECTIONS, prog="spiral-train sft", configs=_CONFIGS, help_page=_HELP
    )
    return arguments, args, model_args


def sft_config_names() -> tuple[str, ...]:
    """Returns the names of the packaged configs of supervised runs."""
    return packaged_configs(_CONFIGS)


def _check_expert(expert: str) -> None:
    kind = expert.partition(":")[0]
    if kind not in agent_names():
        raise UnknownNameError("agent", kind, agent_names())
    if kind == "human":
        raise ValueError("a human cannot be recorded: hundreds of games are played at once")


_CONFIGS: Final = "configs/sft"

_SECTIONS: Final[tuple[Any, ...]] = (SftArguments, ImitationConfig, ModelConfig)

_HELP: Final = HelpPage(
    "Records games of experts and trains a model to imitate them:\n"
    "  spiral-train sft --experts minimax --games tic_tac_toe_v0 --model_name_or_path embedded --output_dir FOLDER",
    {
        "What is imitated": tuple(each.name for each in fields(SftArguments)),
        "How it is trained": (
            "model_name_or_path",
            "output_dir",
            "max_steps",
            "num_train_epochs",
            "learning_rate",
            "per_device_train_batch_size",
            "max_length",
            "save_steps",
            "seed",
            "use_cpu",
            "use_peft",
        ),
    },
)
