"""The supervised baseline, `spiral-train sft`: it records games of experts and trains a model to imitate them."""

# torch, transformers and TRL are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset  # pyright: ignore[reportMissingTypeStubs]
from rich.console import Console
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PrinterCallback,
)
from transformers.trainer_callback import ProgressCallback as TqdmCallback
from trl import ModelConfig, SFTTrainer, get_peft_config

from spiral_envs.agents import EndpointError, make_agent
from spiral_envs.chance import bits64
from spiral_envs.prompts import find_style
from spiral_trl.checkpoints import checkpoint_step
from spiral_trl.command_line import (
    INTERRUPTED,
    BadInputError,
    checkpoint_to_resume,
    model_init_kwargs,
    one_line_errors,
    quieten,
)
from spiral_trl.embedded import EMBEDDED, build_model, build_tokenizer
from spiral_trl.progress import make_progress
from spiral_trl.records import JsonLines
from spiral_trl.sampling import PromptEncoder
from spiral_trl.sft import (
    Example,
    ExpertGame,
    Keep,
    RecordedGame,
    Row,
    examples_of,
    make_row,
    plan_games,
    read_games,
    record_games,
    split_games,
)
from spiral_trl.sft_config import ImitationConfig, SftArguments, parse_sft
from spiral_trl.sft_figures import FiguresFile, HeldOut, WatchCallback, figures_table
from spiral_trl.warmup import WarmupSettings, make_warm_model


class Data(NamedTuple):
    """What is learned and what is held out.

    Attributes:
        games: Recorded games.
        moves: Turns in them.
        kept: Games with at least one example.
        train: Examples to learn from.
        held_out: Examples of the games held out.
    """

    games: int
    moves: int
    kept: int
    train: list[Example]
    held_out: list[Example]


class Task(NamedTuple):
    """The examples as a model reads them.

    Attributes:
        tokenizer: The model's.
        encoder: Makes the prompts.
        train_rows: Examples to learn from.
        held_out: Examples of the games held out, those that are not too long.
        held_out_rows: The same as token ids.
        num_left_out: Examples that are too long.
        longest: Tokens that an example may have.
    """

    tokenizer: PreTrainedTokenizerBase
    encoder: PromptEncoder
    train_rows: list[Row]
    held_out: list[Example]
    held_out_rows: list[Row]
    num_left_out: int
    longest: int


def run_sft(argv: Sequence[str]) -> int:
    """Records, trains and measures as `argv` says and returns the exit code.

    Raises:
        BadInputError: Something in `argv`, the config file or the folder of the run does not fit.
    """
    console = Console()
    with one_line_errors():
        arguments, args, model_args = parse_sft(argv)
        output = Path(str(args.output_dir))
        checkpoint = checkpoint_to_resume(output, _last_checkpoint, is_resuming=arguments.resume)
    quieten()
    try:
        # Before hours of recording.
        _check_model(arguments, args, model_args)
        with one_line_errors():
            data = _record_and_read(arguments, args, output / "experts.jsonl", console)
        _train(arguments, args, model_args, data, checkpoint, console)
    except KeyboardInterrupt:
        console.print(_where_it_stopped(output))
        return INTERRUPTED
    return 0


def make_trainer(path: str, task: Task, args: ImitationConfig, model_args: ModelConfig) -> SFTTrainer:
    """Returns TRL's trainer of the model at `path` on the examples; it settles the fields of `args` on the model."""
    args.model_init_kwargs = model_init_kwargs(model_args, args.model_init_kwargs)
    # Longer examples are gone already, and none is cut.
    args.max_length = task.longest if args.packing else None
    trainer = SFTTrainer(
        model=path,
        args=args,
        train_dataset=_dataset(task.train_rows),
        eval_dataset=_dataset(task.held_out_rows) if task.held_out_rows else None,
        processing_class=task.tokenizer,
        peft_config=get_peft_config(model_args),
    )
    # One bar is enough, and the figures are in the file.
    for plain_output in (PrinterCallback, TqdmCallback):
        trainer.remove_callback(plain_output)
    return trainer


def _record_and_read(arguments: SftArguments, args: ImitationConfig, path: Path, console: Console) -> Data:
    """Records the games that are missing, on the main process, and returns what is to be learned from all of them."""
    plans = plan_games(arguments.experts, arguments.games, num_games=arguments.num_games, seed=args.seed)
    with args.main_process_first(local=False, desc="recording"):
        known = read_games(path, plans)
        if args.process_index == 0 and len(known) < len(plans):
            _record(path, plans, known, arguments, seed=args.seed, console=console)
            known = read_games(path, plans)
    if len(known) < len(plans):
        raise ValueError(
            f"{path} holds {len(known)} of {len(plans)} games: it is not complete, or not where the main process wrote"
        )
    return _select(known, Keep(arguments.keep), seed=args.seed)


def _record(
    path: Path,
    plans: Sequence[ExpertGame],
    known: Mapping[int, RecordedGame],
    arguments: SftArguments,
    *,
    seed: int,
    console: Console,
) -> None:
    experts = sorted({expert for plan in plans for expert in plan.experts})
    # Other random numbers than those of the games that are recorded already. Some libraries take seeds of 32 bits only.
    agents = {
        expert: make_agent(expert, seed=bits64(seed, len(known) * len(experts) + at) >> 32)
        for at, expert in enumerate(experts)
    }
    missing = [plan for plan in plans if plan.number not in known]
    with make_progress(console) as progress:
        task = progress.add_task("recording", total=len(plans), completed=len(known), figures=" v ".join(experts))
        try:
            record_games(
                JsonLines(path),
                missing,
                agents,
                concurrency=arguments.max_concurrent_games,
                on_game=lambda: progress.advance(task),
            )
        except EndpointError as error:
            raise ValueError(f"{error}; the games recorded so far are kept, and the same command goes on") from error


def _select(games: Mapping[int, RecordedGame], keep: Keep, *, seed: int) -> Data:
    """Returns the examples of the kept seats, those of whole games held out."""
    by_game = {number: list(examples_of(game, keep=keep)) for number, game in sorted(games.items())}
    train, held_out = split_games((number for number, examples in by_game.items() if examples), seed=seed)
    if not train:
        raise ValueError(
            f"no example is left: none of the {len(games)} games has a turn to learn from with keep={keep}"
        )
    return Data(
        games=len(games),
        moves=sum(len(game.turns) for game in games.values()),
        kept=len(train) + len(held_out),
        train=[example for number in sorted(train) for example in by_game[number]],
        held_out=[example for number in sorted(held_out) for example in by_game[number]],
    )


def _train(
    arguments: SftArguments,
    args: ImitationConfig,
    model_args: ModelConfig,
    data: Data,
    checkpoint: Path | None,
    console: Console,
) -> None:
    """Makes or loads the model, trains it, and measures it before and after on the games held out."""
    output = Path(str(args.output_dir))
    figures_file = FiguresFile(output / "held_out.json", arguments.data_settings(args.seed))
    with one_line_errors():
        before = figures_file.before() if arguments.resume else None
        path = _starting_model(arguments, args, model_args, data, console)
    tokenizer, longest = _load_tokenizer(path, args, model_args)
    with one_line_errors():
        task = _tokenize(data, tokenizer, arguments, longest=longest)
        trainer = make_trainer(path, task, args, model_args)
    limit = arguments.max_completion_length or 2 * max(sum(row["completion_mask"]) for row in task.train_rows)
    measured = HeldOut(trainer, tokenizer, task.encoder, task.held_out, reply_limit=limit)
    before = before or measured.figures(is_trained=False)
    metrics = JsonLines(output / "metrics.jsonl")
    if trainer.is_world_process_zero():
        figures_file.save(before, None)
        metrics.rewind(checkpoint_step(checkpoint) if checkpoint else 0)
    progress = make_progress(console)
    trainer.add_callback(WatchCallback(metrics, progress))
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        progress.stop()
    after = measured.figures(is_trained=True)
    _save(trainer, output, tokenizer, is_adapted=model_args.use_peft)
    if trainer.is_world_process_zero():
        figures_file.save(before, after)
        about = (
            f"{data.games} games with {data.moves} moves, {data.kept} of them kept; {len(task.train_rows)} examples to"
            f" learn from, {len(task.held_out)} of games held out, {task.num_left_out} left out as too long"
        )
        console.print(figures_table(before, after, about=about))
        names = {"games": "experts.jsonl", "figures": "metrics.jsonl", "model": "final"}
        console.print("  ".join(f"{name}: {output / file}" for name, file in names.items()))


def _dataset(rows: Iterable[Row]) -> Dataset:
    return Dataset.from_list([dict(row) for row in rows])


def _last_checkpoint(output: Path) -> Path | None:
    """Returns the newest complete checkpoint in a folder: the trainer's state is written last."""
    complete = [path.parent for path in output.glob("checkpoint-*/trainer_state.json")]
    return max(complete, key=checkpoint_step, default=None)


def _where_it_stopped(output: Path) -> str:
    saved = _last_checkpoint(output)
    if saved is not None:
        return f"stopped; the last checkpoint is {saved.name}; the same command with --resume goes on"
    num_games = len(JsonLines(output / "experts.jsonl").read())
    resume = " with --resume" if (output / "metrics.jsonl").exists() else ""
    return f"stopped; {num_games} games are recorded, there is no checkpoint yet; the same command{resume} goes on"


def _starting_model(
    arguments: SftArguments, args: ImitationConfig, model_args: ModelConfig, data: Data, console: Console
) -> str:
    """Returns the model to start from, as a folder or a hub id."""
    name = model_args.model_name_or_path
    assert name is not None, "checked at the start"
    if name != EMBEDDED:
        return name
    output = Path(str(args.output_dir))
    if not arguments.supervised_steps:
        folder = output / "start"
        with args.main_process_first(local=False, desc="the embedded model"):
            if args.process_index == 0 and not (arguments.resume and folder.exists()):
                _make_random_model(folder, data.train, hints=arguments.hints, seed=args.seed)
        return str(folder)
    folder = output / "warmup"
    settings = WarmupSettings(steps=arguments.supervised_steps)
    with args.main_process_first(local=False, desc="warm-up"), make_progress(console) as progress:
        task = progress.add_task("warm-up", total=settings.steps, figures="")
        make_warm_model(
            folder,
            list(dict.fromkeys(arguments.games)),
            settings=settings,
            seed=args.seed,
            on_step=lambda step, loss: progress.update(task, completed=step, figures=f"loss {loss:.3f}"),
        )
    return str(folder)


def _make_random_model(folder: Path, examples: Sequence[Example], *, hints: bool, seed: int) -> None:
    """Saves the embedded model with random weights; its tokenizer is made of the examples' texts."""
    style = find_style("plain", hints=hints)
    tokenizer = build_tokenizer(
        text for example in examples for text in (style(example.view)[0]["content"], example.completion)
    )
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    build_model(tokenizer, seed=seed).save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _check_model(arguments: SftArguments, args: ImitationConfig, model_args: ModelConfig) -> None:
    """Raises BadInputError where the model is missing or cannot be prompted as asked."""
    name = model_args.model_name_or_path
    if name is None:
        raise BadInputError(f"name a model with --model_name_or_path: a folder, a hub id, or {EMBEDDED!r}")
    if name != EMBEDDED:
        tokenizer, _ = _load_tokenizer(name, args, model_args)
        with one_line_errors():
            _encoder(tokenizer, arguments)
    elif arguments.prompt_style not in (None, "plain"):
        raise BadInputError("the embedded model has no chat template: leave out prompt_style, or set it to plain")


def _load_tokenizer(path: str, args: ImitationConfig, model_args: ModelConfig) -> tuple[PreTrainedTokenizerBase, int]:
    """Returns the tokenizer of the model at `path`, and how many tokens an example may have."""
    source = {"revision": model_args.model_revision, "trust_remote_code": args.trust_remote_code}
    with one_line_errors(f"cannot load model {path!r}: "):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path, padding_side="left", **source)
        config = AutoConfig.from_pretrained(path, **source)
    context = int(config.get_text_config().max_position_embeddings)
    return tokenizer, context if args.max_length is None else min(args.max_length, context)


def _encoder(tokenizer: PreTrainedTokenizerBase, arguments: SftArguments) -> PromptEncoder:
    style = arguments.prompt_style or ("boxed_cot" if tokenizer.chat_template else "plain")
    return PromptEncoder(tokenizer, find_style(style, hints=arguments.hints), use_chat_template=style != "plain")


def _tokenize(data: Data, tokenizer: PreTrainedTokenizerBase, arguments: SftArguments, *, longest: int) -> Task:
    """Returns the examples of at most `longest` tokens, as token ids."""
    encoder = _encoder(tokenizer, arguments)
    train_rows = [make_row(example, encoder, tokenizer) for example in data.train]
    held_out = [(example, make_row(example, encoder, tokenizer)) for example in data.held_out]
    fitting_rows = [row for row in train_rows if len(row["input_ids"]) <= longest]
    fitting_held_out = [(example, row) for example, row in held_out if len(row["input_ids"]) <= longest]
    if not fitting_rows:
        raise ValueError(f"no example is left: all {len(train_rows)} are longer than {longest} tokens")
    return Task(
        tokenizer,
        encoder,
        train_rows=fitting_rows,
        held_out=[example for example, _ in fitting_held_out],
        held_out_rows=[row for _, row in fitting_held_out],
        num_left_out=len(train_rows) + len(held_out) - len(fitting_rows) - len(fitting_held_out),
        longest=longest,
    )


def _save(trainer: SFTTrainer, output: Path, tokenizer: PreTrainedTokenizerBase, *, is_adapted: bool) -> None:
    """Saves the model into `final`; adapters go into `adapter`, and `final` is the model that they make."""
    if not is_adapted:
        trainer.save_model(str(output / "final"))
        return
    trainer.save_model(str(output / "adapter"))
    if trainer.is_world_process_zero():
        adapted: Any = trainer.accelerator.unwrap_model(trainer.model)
        adapted.merge_and_unload().save_pretrained(output / "final")
        tokenizer.save_pretrained(output / "final")
    trainer.accelerator.wait_for_everyone()
