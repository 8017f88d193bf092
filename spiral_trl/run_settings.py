"""What a run says about its settings: the help, sentences for the report, and a file of those that are not default."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Final

from trl import ModelConfig

from spiral_trl.advantages import Estimator
from spiral_trl.command_line import HelpPage
from spiral_trl.config import SelfPlayConfig
from spiral_trl.schedule import LEAGUE, SELF

SETTINGS_FILE: Final = "settings.json"
"""A JSON object: the name of every setting that is not its default, with its value."""

_EMPTY: Final = (None, "", "none")
"""What a default may say where transformers then writes an empty list."""

_ESTIMATORS: Final = {
    Estimator.RAE: "against the average of the role, with decay {decay:g}",
    Estimator.GLOBAL: "against one average for everything, with decay {decay:g}",
    Estimator.NONE: "as they are",
    Estimator.GROUP: "against the {replays} games of the same deal",
}


HELP_PAGE: Final = HelpPage(
    "Trains one model in self-play and writes a report:\n"
    "  spiral-train --config quickstart --output_dir runs/quickstart\n"
    "To imitate experts instead: spiral-train sft --help",
    {
        "The run": (
            "model_name_or_path",
            "output_dir",
            "resume",
            "max_steps",
            "save_steps",
            "eval_games",
            "supervised_steps",
            "seed",
            "report_to",
        ),
        "Games and opponents": (
            "games",
            "game_weights",
            "mix_by",
            "opponents",
            "league_snapshot_steps",
            "league_size",
            "league_disk_gb",
            "league_selection",
        ),
        "What is read and learned from": (
            "prompt_style",
            "hints",
            "context",
            "rows",
            "reward",
            "fault_penalty",
            "gamma",
            "advantage_estimator",
            "replays_per_deal",
            "baseline_decay",
            "baseline_order",
        ),
        "Batches and training": (
            "games_per_batch",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "num_iterations",
            "learning_rate",
            "beta",
            "use_peft",
            "use_cpu",
        ),
        "Generation": (
            "max_completion_length",
            "max_prompt_length",
            "temperature",
            "max_concurrent_games",
            "collector",
            "use_vllm",
            "vllm_mode",
            "logprob_gap_alarm",
        ),
        "Watching the run": (
            "eval_strategy",
            "eval_steps",
            "eval_agents",
            "eval_on",
            "eval_pairs",
            "nash_conv_steps",
            "nash_conv_games",
            "collapse",
        ),
    },
)
"""What `spiral-train --help` shows."""


def describe(args: SelfPlayConfig, model_args: ModelConfig) -> str:
    """Returns what is trained, on what, against whom and how, in a few sentences."""
    return " ".join(
        (
            _steps(args, model_args),
            f"Games: {_games(args)}.",
            f"Opponents: {_opponents(args)}.",
            _returns(args),
            _batch(args),
        )
    )


def changed_settings(sections: Iterable[Any]) -> dict[str, Any]:
    """Returns the settings in some dataclasses that are not their defaults, as JSON can hold them, without secrets."""
    changed: dict[str, Any] = {}
    for section in sections:
        for each in fields(section):
            value = getattr(section, each.name)  # the file names the field
            default = _default(each)
            is_unset = value == default or (not value and isinstance(value, list) and default in _EMPTY)
            if not is_unset and not each.name.endswith("token") and _is_plain(value):
                changed[each.name] = value
    return changed


def save_settings(folder: Path, sections: Iterable[Any]) -> None:
    """Writes `settings.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(changed_settings(sections), indent=1, sort_keys=True)
    (folder / SETTINGS_FILE).write_text(f"{text}\n", encoding="utf-8")


def _steps(args: SelfPlayConfig, model_args: ModelConfig) -> str:
    lora = f", LoRA of rank {model_args.lora_r} with alpha {model_args.lora_alpha}" if model_args.use_peft else ""
    return (
        f"Self-play: {args.max_steps} steps, seed {args.seed}, learning rate {args.learning_rate:g},"
        f" KL weight {args.beta:g}{lora}."
    )


def _games(args: SelfPlayConfig) -> str:
    if args.game_weights is None:
        counted = {game: args.games.count(game) for game in dict.fromkeys(args.games)}
        names = [game if count == 1 else f"{count} x {game}" for game, count in counted.items()]
    else:
        names = [f"{weight:g} {game}" for game, weight in zip(args.games, args.game_weights, strict=True)]
    return f"{', '.join(names)}, shares of the {args.mix_by}" if len(names) > 1 else names[0]


def _opponents(args: SelfPlayConfig) -> str:
    weights = args.opponent_weights
    if set(weights) == {SELF}:
        return "itself only"
    kinds = ", ".join(f"{weight:g} {'itself' if kind == SELF else kind}" for kind, weight in weights.items())
    if LEAGUE not in weights:
        return kinds
    disk = "" if args.league_disk_gb is None else f" and {args.league_disk_gb:g} GB"
    return (
        f"{kinds}; the league takes a snapshot every {args.league_snapshot_steps} steps, holds at most"
        f" {args.league_size}{disk}, and selects them as {args.league_selection}"
    )


def _returns(args: SelfPlayConfig) -> str:
    source = "the score of a game" if args.reward == "score" else "whether a game is won"
    compared = _ESTIMATORS[Estimator(args.advantage_estimator)].format(decay=args.baseline_decay, replays=args.replays)
    fault = f", a fault costs {args.fault_penalty:g} more" if args.fault_penalty else ""
    return f"It learns from {source}, taken {compared}; gamma {args.gamma:g}{fault}."


def _batch(args: SelfPlayConfig) -> str:
    games = args.games_per_batch or args.surely_fitting_games()
    read = "the whole conversation" if args.context == "conversation" else "a fresh prompt"
    row = "player and game" if args.rows == "episode" else "turn"
    return (
        f"A batch has {games} games and at most {args.rows_per_batch} rows a process, one a {row}; the model reads"
        f" {read} at its turn and replies with at most {args.reply_limit} tokens."
    )


def _default(each: Field[Any]) -> Any:
    if each.default is not MISSING:
        return each.default
    return None if each.default_factory is MISSING else each.default_factory()


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, str | int | float)
