"""One run of the training command, from its arguments to its report."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from safetensors import SafetensorError
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import ProgressCallback as TqdmCallback
from transformers.trainer_utils import IntervalStrategy
from trl import ModelConfig, get_peft_config

from spiral_envs.errors import MissingExtraError
from spiral_trl.checkpoints import RestoreError
from spiral_trl.command_line import (
    INTERRUPTED,
    STOPPED,
    BadInputError,
    checkpoint_to_resume,
    model_init_kwargs,
    one_line_errors,
    packaged_configs,
    parse_settings,
    quieten,
)
from spiral_trl.config import SelfPlayConfig
from spiral_trl.embedded import EMBEDDED
from spiral_trl.league import NoRoomError
from spiral_trl.progress import ProgressCallback, make_progress
from spiral_trl.records import JsonLines
from spiral_trl.report import Strength, compare, save_about, terminal_table, write_report
from spiral_trl.run_settings import HELP_PAGE, describe, save_settings
from spiral_trl.sampling import GenerationError
from spiral_trl.serving import check_server
from spiral_trl.strength import ModelUnderTest, pairings
from spiral_trl.trainer import NonFiniteLossError, SelfPlayTrainer, checkpoint_step, last_complete_checkpoint
from spiral_trl.warmup import WarmupSettings, make_warm_model


@dataclass
class RunArguments:
    """Arguments of the command beside those of the trainer and the model.

    Attributes:
        resume: Whether to go on from the last complete checkpoint of `output_dir`.
        eval_games: Games in each seat against each reference agent, before and after; 0 leaves the evaluation out.
        supervised_steps: Supervised steps of the embedded model before self-play, at least 1.
    """

    resume: bool = field(default=False, metadata={"help": "Go on from the last complete checkpoint of output_dir."})
    eval_games: int = field(
        default=0, metadata={"help": "Games a seat against each reference agent, before and after; 0: no evaluation."}
    )
    supervised_steps: int = field(
        default=WarmupSettings().steps, metadata={"help": "Supervised steps of the embedded model before self-play."}
    )

    def __post_init__(self) -> None:
        """Checks the settings once.

        Raises:
            ValueError: A value out of its range.
        """
        if self.eval_games < 0:
            raise ValueError(f"eval_games is {self.eval_games!r}: expected at least 0")
        if self.supervised_steps < 1:
            raise ValueError(
                f"supervised_steps is {self.supervised_steps!r}: expected at least 1, because the embedded model knows"
                " no move before its warm-up"
            )


_SECTIONS: Final[tuple[Any, ...]] = (RunArguments, SelfPlayConfig, ModelConfig)


def run(argv: Sequence[str]) -> int:
    """Trains as `argv` says and returns the exit code.

    Raises:
        BadInputError: Something in `argv`, the config file or the folder of the run does not fit.
    """
    console = Console()
    with one_line_errors():
        arguments, args, model_args = parse(argv)
        output = Path(str(args.output_dir))
        checkpoint = checkpoint_to_resume(output, last_complete_checkpoint, is_resuming=arguments.resume)
    quieten()
    try:
        stop_reason = _train(arguments, args, model_args, checkpoint, console)
    except KeyboardInterrupt:
        saved = last_complete_checkpoint(output)
        reached = f"the last checkpoint is {saved.name}" if saved else "there is no checkpoint yet"
        console.print(f"stopped; {reached}; the same command with --resume goes on")
        return INTERRUPTED
    except (RestoreError, NoRoomError) as error:
        raise BadInputError(" ".join(str(error).split())) from error
    except (GenerationError, NonFiniteLossError) as error:
        console.print(f"stopped: {error}", style="red", markup=False, highlight=False)
        return STOPPED
    if stop_reason:
        console.print(f"stopped: {stop_reason}", style="red", markup=False, highlight=False)
        return STOPPED
    return 0


def _train(
    arguments: RunArguments,
    args: SelfPlayConfig,
    model_args: ModelConfig,
    checkpoint: Path | None,
    console: Console,
) -> str | None:
    """Makes or loads the model, measures it, trains it, measures it again and writes the report.

    Returns:
        Why the run was stopped before its end, or None.
    """
    output = Path(str(args.output_dir))
    with one_line_errors():
        _check_output(output)
        _check_generation(args, console)
        path, sentence = _starting_model(model_args, arguments, args, output, console)
    with one_line_errors(f"cannot load model {path!r}: "):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, padding_side="left", revision=model_args.model_revision, trust_remote_code=args.trust_remote_code
        )
    args.model_init_kwargs = model_init_kwargs(model_args, args.model_init_kwargs)
    with one_line_errors():
        trainer = _make_trainer(path, args, model_args, tokenizer)
    tested = trainer.under_test
    is_evaluating = arguments.eval_games > 0 and trainer.accelerator.num_processes == 1
    if arguments.eval_games and not is_evaluating and trainer.is_world_process_zero():
        console.print("eval_games is left out: it measures in a single process only; name eval_agents instead")
    before = _measured(
        output / "before.json", tested, args, arguments, console, is_wanted=is_evaluating, is_kept=arguments.resume
    )

    metrics = JsonLines(output / "metrics.jsonl")
    if trainer.is_world_process_zero():
        metrics.rewind(checkpoint_step(checkpoint) if checkpoint else 0)
        save_about(output, [sentence, describe(args, model_args)])
        save_settings(output, (arguments, args, model_args))
    progress = ProgressCallback(console)
    # One bar is enough, and the figures are in the file.
    for plain_output in (PrinterCallback, TqdmCallback):
        trainer.remove_callback(plain_output)
    trainer.add_callback(MetricsCallback(metrics))
    trainer.add_callback(progress)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        progress.stop()
    trainer.save_model(str(output / "final"))

    after = _measured(output / "after.json", tested, args, arguments, console, is_wanted=is_evaluating, is_kept=False)
    if trainer.is_world_process_zero():
        rows = compare(before, after) if before and after else []
        write_report(output, rows=rows)
        if rows:
            console.print(terminal_table(rows))
        console.print(f"report: {output / 'report.html'}  curves: {output / 'curves.png'}  model: {output / 'final'}")
    return trainer.stop_reason


def parse(argv: Sequence[str]) -> tuple[RunArguments, SelfPlayConfig, ModelConfig]:
    """Returns the settings that `argv` and its config file say; the command line wins.

    Raises:
        UnknownNameError: An option, a config or a key in it does not exist.
        ValueError: A value does not fit.
    """
    if not {"--help", "-h", "--model_name_or_path"} & set(argv) and not any(
        word.startswith("--config") for word in argv
    ):
        raise ValueError(f"name a config, --config {' or '.join(config_names())}, or a model with --model_name_or_path")
    arguments, args, model_args = parse_settings(
        argv, _SECTIONS, prog="spiral-train", configs="configs", help_page=HELP_PAGE
    )
    if args.resume_from_checkpoint is not None:
        raise ValueError("resume_from_checkpoint is not read by this command: use --resume")
    if args.logging_strategy != "steps":
        raise ValueError(
            f"logging_strategy is {IntervalStrategy(args.logging_strategy).value!r}: expected 'steps', because the"
            " report is drawn from the lines of metrics"
        )
    if arguments.eval_games and find_spec("pyspiel") is None and any("kuhn_poker" in game for game in args.games):
        raise MissingExtraError("NashConv (eval_games with Kuhn poker)", "openspiel")
    return arguments, args, model_args


def config_names() -> tuple[str, ...]:
    """Returns the names of the packaged configs."""
    return packaged_configs("configs")


class MetricsCallback(TrainerCallback):
    """Writes the figures of every logged step to `metrics.jsonl`, on the main process."""

    def __init__(self, file: JsonLines) -> None:
        """Sets the file."""
        self._file = file

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Writes one line for a step or an evaluation; what is logged at the end of a run is neither."""
        is_figure = logs is not None and ("loss" in logs or any(name.startswith("eval_") for name in logs))
        if logs and is_figure and state.is_world_process_zero:
            # JSON has no NaN.
            finite = {name: value for name, value in logs.items() if value is not None and math.isfinite(value)}
            self._file.append([{"step": state.global_step, **finite}])


def _check_output(output: Path) -> None:
    """Raises OSError when nothing can be written to the folder of the run; none is made yet."""
    there = next(each for each in (output.absolute(), *output.absolute().parents) if each.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"cannot write to output_dir {output}: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to output_dir {output}: {there} is not writable")


def _check_generation(args: SelfPlayConfig, console: Console) -> None:
    """Waits for the server that generates, if there is one.

    Raises:
        ConnectionError: It does not answer in time.
        ValueError: Self-play cannot train with it.
        MissingExtraError: vLLM is not installed here.
    """
    if not args.use_vllm:
        return
    if find_spec("vllm") is None:
        raise MissingExtraError("generation on vLLM", "vllm")
    if args.vllm_mode == "server":
        if args.process_index == 0:
            console.print(f"waiting for {args.vllm_server_url} (up to {args.vllm_server_timeout:g} s)", highlight=False)
        check_server(args.vllm_server_url, timeout_s=args.vllm_server_timeout)


def _make_trainer(
    path: str, args: SelfPlayConfig, model_args: ModelConfig, tokenizer: PreTrainedTokenizerBase
) -> SelfPlayTrainer:
    """Loads the weights; what is wrong with a setting keeps its own message.

    Raises:
        OSError: The weights cannot be loaded, or a server does not answer.
        ValueError: A setting does not fit the model.
    """
    try:
        return SelfPlayTrainer(
            model=path, args=args, processing_class=tokenizer, peft_config=get_peft_config(model_args)
        )
    except ConnectionError:
        raise
    except (OSError, SafetensorError) as error:
        raise OSError(f"cannot load model {path!r}: {error}") from error


def _starting_model(
    model_args: ModelConfig, arguments: RunArguments, args: SelfPlayConfig, output: Path, console: Console
) -> tuple[str, str]:
    """Returns the model to start from, as a folder or a hub id, and a sentence about it."""
    name = model_args.model_name_or_path
    if name is None:
        raise ValueError(f"name a model with --model_name_or_path: a folder, a hub id, or {EMBEDDED!r}")
    if name != EMBEDDED:
        return name, f"The model is {name}."
    folder = output / "warmup"
    games = list(dict.fromkeys(args.games))
    settings = WarmupSettings(steps=arguments.supervised_steps)
    with args.main_process_first(desc="warm-up"), make_progress(console) as progress:
        task = progress.add_task("warm-up", total=settings.steps, figures="")
        sentence = make_warm_model(
            folder,
            games,
            settings=settings,
            seed=args.seed,
            on_step=lambda step, loss: progress.update(task, completed=step, figures=f"loss {loss:.3f}"),
        )
        progress.update(task, completed=settings.steps)
    return str(folder), sentence


def _measured(
    path: Path,
    tested: ModelUnderTest,
    args: SelfPlayConfig,
    arguments: RunArguments,
    console: Console,
    *,
    is_wanted: bool,
    is_kept: bool,
) -> Strength | None:
    """Returns the model's strength and saves it; one that was saved earlier is taken where `is_kept`."""
    if not is_wanted:
        return None
    if is_kept and path.exists():
        return Strength.load(path)
    with make_progress(console) as progress:
        task = progress.add_task(f"evaluation {path.stem}", total=2 * len(pairings(args.games)), figures="")
        strength = tested.strength(
            args.games,
            games_per_seat=arguments.eval_games,
            on_result=lambda result: progress.update(
                task, advance=1, figures=f"{result.game} {result.role} v {result.opponent}: wins {result.win_rate:.0%}"
            ),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    strength.save(path)
    return strength
