"""Tokens a second of self-play, beside the same backend without any game and beside one game at a time.

In every round, one after the other and in one process: self-play of many games; the prompts that occurred in it,
generated for once more as bare batches, without tokenising, reading or playing anything; and some games one at a time.
Replies are sampled anew each time, by the same weights from the same prompts, so their lengths differ by chance and
tokens a second are compared, not seconds. A ratio is taken within a round; the table gives its median and its range.

Self-play includes its beginning and its end, where few games are left. The bare batches are compared in two ways: all
prompts in full batches, which no game allows because a turn's prompt is not known before the turn; and in the very
batches of self-play, which shows what the batches alone cost. The aim is set against the first.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.throughput_envs import code_version

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from spiral_envs.match import View
    from spiral_trl.sampling import ModelAgent, PromptEncoder, Sample, Sampler

RESULTS: Final = Path(__file__).parent / "results" / "throughput_rollout.json"

GAMES: Final = ("tic_tac_toe_v0", "kuhn_poker_v0(hands=1,payoff=chips)", "simple_negotiation_v0(turns=6)")
"""Those of the configuration `quickstart`."""

EMBEDDED: Final = "embedded"

WARMUP_TURNS: Final = 3_000
WARMUP_STEPS: Final = 150
"""Enough for the embedded model to play legal moves most of the time; the report says how often it does not."""

SELF_PLAY: Final = "self-play"
FULL_BATCHES: Final = "bare, full batches"
SAME_BATCHES: Final = "bare, self-play's batches"
ONE_AT_A_TIME: Final = "one game at a time"

AIMS: Final = {FULL_BATCHES: 0.9, ONE_AT_A_TIME: 8.0}
"""How many times as fast self-play should be."""


@dataclass(frozen=True, slots=True)
class Work:
    """What was generated, and how long it took.

    Attributes:
        batches: Calls of the backend.
        replies: Completions.
        tokens: Tokens of the completions, end-of-sequence tokens included.
        seconds: Everything, by the clock on the wall.
        cpu_seconds: The same in CPU time of this process, all threads together.
    """

    batches: int
    replies: int
    tokens: int
    seconds: float
    cpu_seconds: float

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second by the clock on the wall."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of self-play went, in seconds by the clock on the wall.

    Attributes:
        generating: In the backend.
        encoding: Turning views into token ids.
        decoding: Turning token ids into replies.
        playing: The rest: matches, views, reading replies, records.
    """

    generating: float
    encoding: float
    decoding: float
    playing: float


@dataclass(frozen=True, slots=True)
class Round:
    """One round of measurements.

    Attributes:
        work: By what was measured.
        profile: Of self-play.
        games: Games of self-play.
        turns: Turns of self-play.
        faults: Games of self-play that ended on a fault.
    """

    work: dict[str, Work]
    profile: Profile
    games: int
    turns: int
    faults: int

    def ratio(self, other: str) -> float:
        """Returns how many times as fast self-play was as `other`, in tokens a second."""
        return self.work[SELF_PLAY].tokens_per_s / self.work[other].tokens_per_s


@dataclass(slots=True)
class RecordingSampler:
    """Passes prompts on to a sampler, and remembers them and the time that it took.

    Attributes:
        sampler: The backend.
        batches: The prompts of every call.
        replies: How many completions came back.
        tokens: Their tokens.
        seconds: The time in the backend.
    """

    sampler: Sampler
    batches: list[list[Sequence[int]]] = field(default_factory=list)
    replies: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt."""
        start_s = time.perf_counter()
        samples = self.sampler.sample(prompts)
        self.seconds += time.perf_counter() - start_s
        self.batches.append(list(prompts))
        self.replies += len(samples)
        self.tokens += sum(len(sample.token_ids) for sample in samples)
        return samples


@dataclass(slots=True)
class TimedEncoder:
    """An encoder of prompts that remembers the time it took.

    Attributes:
        encoder: The encoder.
        seconds: The time so far.
    """

    encoder: PromptEncoder
    seconds: float = 0.0

    def encode(self, view: View) -> list[int]:
        """Returns the token ids of the prompt for `view`."""
        start_s = time.perf_counter()
        ids = self.encoder.encode(view)
        self.seconds += time.perf_counter() - start_s
        return ids


@dataclass(slots=True)
class TimedAgent:
    """An agent that remembers the time it took.

    Attributes:
        agent: The agent.
        seconds: The time so far.
    """

    agent: ModelAgent
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.agent.name

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns one reply a view."""
        start_s = time.perf_counter()
        replies = self.agent.act(views)
        self.seconds += time.perf_counter() - start_s
        return replies


@dataclass(frozen=True, slots=True)
class Backend:
    """A loaded model.

    Attributes:
        sampler: What generates.
        tokenizer: Its tokenizer.
        max_prompt_length: The longest prompt, in tokens.
        about: What it is, in words.
    """

    sampler: Sampler
    tokenizer: PreTrainedTokenizerBase
    max_prompt_length: int
    about: str


class Bench:
    """A model and the games that it plays, as the trainer would play them."""

    def __init__(self, backend: Backend, options: argparse.Namespace) -> None:
        """Sets who plays what, and how many games run at once."""
        self._backend = backend
        self._games: list[str] = options.games
        self._concurrency: int = options.concurrency
        self._seed: int = options.seed
        self._games_started = 0

    def round(self, *, num_games: int, num_single_games: int) -> Round:
        """Returns the measurements of one round; every round plays other games."""
        work: dict[str, Work] = {}
        work[SELF_PLAY], profile, turns, faults, batches = self._self_play(num_games, self._concurrency)
        prompts = [prompt for batch in batches for prompt in batch]
        full = [prompts[start : start + self._concurrency] for start in range(0, len(prompts), self._concurrency)]
        work[FULL_BATCHES] = self._bare(full)
        work[SAME_BATCHES] = self._bare(batches)
        work[ONE_AT_A_TIME] = self._self_play(num_single_games, 1)[0]
        return Round(work, profile, num_games, turns, faults)

    def _self_play(self, num_games: int, concurrency: int) -> tuple[Work, Profile, int, int, list[list[Sequence[int]]]]:
        from spiral_trl.collector import collect

        recorder = RecordingSampler(self._backend.sampler)
        agent, timed = self._agent(recorder)
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        episodes = collect(
            self._games,
            (timed, timed),
            first_game=self._games_started,
            num_games=num_games,
            seed=self._seed,
            concurrency=concurrency,
        )
        seconds, cpu_seconds = time.perf_counter() - start_s, time.process_time() - start_cpu_s
        self._games_started += num_games
        encoding = agent.seconds
        decoding = timed.seconds - recorder.seconds - encoding
        profile = Profile(recorder.seconds, encoding, decoding, seconds - timed.seconds)
        work = Work(len(recorder.batches), recorder.replies, recorder.tokens, seconds, cpu_seconds)
        turns = sum(len(episode.turns) for episode in episodes)
        faults = sum(episode.outcome.fault is not None for episode in episodes)
        return work, profile, turns, faults, recorder.batches

    def _agent(self, sampler: Sampler) -> tuple[TimedEncoder, TimedAgent]:
        """Returns what the trainer plays with, taking its time."""
        from spiral_envs.prompts import find_style
        from spiral_trl.sampling import ModelAgent, PromptEncoder

        is_chat = bool(self._backend.tokenizer.chat_template)
        style = find_style("boxed_cot" if is_chat else "plain")
        encoder = TimedEncoder(PromptEncoder(self._backend.tokenizer, style, use_chat_template=is_chat))
        agent = ModelAgent(
            sampler,
            encoder,  # pyright: ignore[reportArgumentType] - has the one method that an agent needs
            self._backend.tokenizer,
            max_prompt_length=self._backend.max_prompt_length,
        )
        return encoder, TimedAgent(agent)

    def _bare(self, batches: Sequence[Sequence[Sequence[int]]]) -> Work:
        recorder = RecordingSampler(self._backend.sampler)
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        for batch in batches:
            recorder.sample(batch)
        seconds, cpu_seconds = time.perf_counter() - start_s, time.process_time() - start_cpu_s
        return Work(len(batches), recorder.replies, recorder.tokens, seconds, cpu_seconds)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `rollout` to the measurements of `throughput.py`."""
    parser = commands.add_parser(
        "rollout", help="tokens a second of self-play, beside bare batches and one game at a time", description=__doc__
    )
    model_help = "a folder, a hub id, or embedded: built on the spot and warmed up briefly (embedded)"
    parser.add_argument("--model", default=EMBEDDED, help=model_help)
    parser.add_argument("--backend", choices=("transformers", "vllm"), default="transformers", help="(transformers)")
    parser.add_argument("--games", nargs="+", default=list(GAMES), metavar="GAME", help="(those of quickstart)")
    parser.add_argument("--num_games", type=int, default=768, help="games of self-play in a round (768)")
    parser.add_argument("--num_single_games", type=int, default=24, help="games one at a time in a round (24)")
    parser.add_argument("--concurrency", type=int, default=128, help="games in progress; the largest bare batch (128)")
    parser.add_argument("--max_new_tokens", type=int, default=64, help="longest reply, in tokens (64)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--seed", type=int, default=0, help="of the games and of sampling (0)")
    out_help = f"also write the numbers as JSON ({RESULTS.name} in benchmarks/results, or FILE)"
    parser.add_argument("--out", type=Path, nargs="?", const=RESULTS, metavar="FILE", help=out_help)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the table, writes `options.out` and returns the exit status."""
    for name in ("num_games", "num_single_games", "concurrency", "max_new_tokens", "rounds"):
        if getattr(options, name) < 1:
            print(f"error: --{name} must be at least 1", file=sys.stderr)
            return 2
    try:
        from transformers import set_seed

        from spiral_envs.registry import find_game
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: run pip install 'spiral-selfplay[train]'", file=sys.stderr)
        return 1
    try:
        for game in options.games:
            find_game(game)
        with ExitStack() as stack:
            model = options.model
            if model == EMBEDDED:
                model = make_embedded_model(Path(stack.enter_context(tempfile.TemporaryDirectory())), options)
            backend = load_backend(model, options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    set_seed(options.seed)
    bench = Bench(backend, options)
    # The first one fills every cache and is not counted.
    bench.round(num_games=2 * options.concurrency, num_single_games=1)
    rounds: list[Round] = []
    for index in range(options.rounds):
        show_progress(f"round {index + 1} of {options.rounds}")
        rounds.append(bench.round(num_games=options.num_games, num_single_games=options.num_single_games))
    show_progress("")
    setting = describe_setting(backend, options)
    print_report(rounds, setting)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        report = {"setting": setting, "rounds": [asdict(each) for each in rounds]}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {options.out}")
    return 0


def make_embedded_model(folder: Path, options: argparse.Namespace) -> str:
    """Returns the folder, in `folder`, of an embedded model that was warmed up on the games for a few steps."""
    from spiral_trl.warmup import WarmupSettings, make_warm_model

    settings = WarmupSettings(turns=WARMUP_TURNS, steps=WARMUP_STEPS)
    make_warm_model(
        folder / "model",
        list(dict.fromkeys(options.games)),
        settings=settings,
        seed=options.seed,
        on_step=lambda step, loss: show_progress(f"warm-up: step {step} of {settings.steps}, loss {loss:.2f}"),
    )
    show_progress("")
    return str(folder / "model")


def load_backend(model: str, options: argparse.Namespace) -> Backend:
    """Returns the backend that `options` name, with `model` loaded.

    Raises:
        OSError: There is no such model.
        MissingExtraError: vLLM is not installed.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    if options.backend == "vllm":
        return load_vllm(model, tokenizer, options)
    from spiral_trl.sampling import GenerateSampler

    loaded = AutoModelForCausalLM.from_pretrained(model)
    loaded.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    context = int(loaded.config.get_text_config().max_position_embeddings)
    return Backend(
        GenerateSampler(loaded, tokenizer, max_new_tokens=options.max_new_tokens, batch_size=options.concurrency),
        tokenizer,
        max_prompt_length=context - options.max_new_tokens,
        about=f"{type(loaded).__name__}, {loaded.num_parameters():,} parameters, {loaded.dtype}, {loaded.device}",
    )


def load_vllm(model: str, tokenizer: PreTrainedTokenizerBase, options: argparse.Namespace) -> Backend:
    """Returns a vLLM engine with `model` loaded.

    Raises:
        MissingExtraError: vLLM is not installed.
    """
    from spiral_envs.errors import MissingExtraError
    from spiral_trl.agents import _VllmSampler

    try:
        from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("--backend vllm", "vllm") from error
    engine = LLM(model, seed=options.seed, max_num_seqs=options.concurrency)
    context = int(engine.llm_engine.model_config.max_model_len)
    parameters = SamplingParams(temperature=1.0, max_tokens=options.max_new_tokens, logprobs=0)
    return Backend(
        _VllmSampler(engine, parameters),
        tokenizer,
        max_prompt_length=context - options.max_new_tokens,
        about=f"vLLM {version('vllm')}, {engine.llm_engine.model_config.dtype}",
    )


def show_progress(what: str) -> None:
    """Rewrites one line on a terminal; elsewhere prints nothing."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def describe_setting(backend: Backend, options: argparse.Namespace) -> dict[str, str]:
    """Returns what one has to know in order to repeat the measurement."""
    import torch

    names = ("model", "backend", "num_games", "num_single_games", "concurrency", "max_new_tokens", "rounds", "seed")
    chosen = " ".join(f"--{name} {getattr(options, name)}" for name in names)
    return {
        "command": f"python benchmarks/throughput.py rollout {chosen}",
        "games": ", ".join(options.games),
        "model": backend.about,
        "threads": str(torch.get_num_threads()),
        "code": code_version(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in ("torch", "transformers")},
    }


def print_report(rounds: Sequence[Round], setting: dict[str, str]) -> None:
    """Prints the numbers as tables in Markdown, then the aims."""
    from rich.box import MARKDOWN
    from rich.console import Console
    from rich.table import Table

    console = Console(width=132, highlight=False)
    table = Table(box=MARKDOWN)
    table.add_column("what generates", no_wrap=True)
    for heading in (
        "replies",
        "replies a batch",
        "tokens",
        "tokens a reply",
        "tokens/s",
        "self-play is … times as fast",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in rounds[0].work:
        done = [each.work[name] for each in rounds]
        replies, tokens = sum(work.replies for work in done), sum(work.tokens for work in done)
        ratios = "" if name == SELF_PLAY else show_range([each.ratio(name) for each in rounds], "{:.2f}")
        speeds = show_range([work.tokens_per_s for work in done], "{:,.0f}")
        size = replies / sum(work.batches for work in done)
        table.add_row(name, f"{replies:,}", f"{size:.1f}", f"{tokens:,}", f"{tokens / replies:.1f}", speeds, ratios)
    console.print(table)
    print("Replies and tokens are those of all rounds; speeds and ratios the median and the range of the rounds.")
    print(profile_line(rounds))
    for name, aim in AIMS.items():
        reached = median(each.ratio(name) for each in rounds)
        verdict = "reached" if reached >= aim else "missed"
        print(f"Aim: self-play at {aim:g} times the speed of {name}; it has {reached:.2f}: {verdict}.")
    print("; ".join(f"{name}: {value}" for name, value in setting.items()))


def profile_line(rounds: Sequence[Round]) -> str:
    """Returns a sentence on where the time of self-play went and what was played."""
    parts = {
        "generating": [each.profile.generating for each in rounds],
        "prompts to tokens": [each.profile.encoding for each in rounds],
        "tokens to replies": [each.profile.decoding for each in rounds],
        "games and records": [each.profile.playing for each in rounds],
    }
    total = sum(map(sum, parts.values()))
    shares = ", ".join(f"{name} {sum(seconds) / total:.1%}" for name, seconds in parts.items())
    games = sum(each.games for each in rounds)
    turns, faults = sum(each.turns for each in rounds), sum(each.faults for each in rounds)
    played = f"{games:,} games, {turns / games:.1f} turns a game, {faults / games:.0%} end on a fault"
    return f"Time of self-play: {shares}. {played}."


def show_range(values: Sequence[float], form: str) -> str:
    """Returns the median with the lowest and the highest value."""
    return f"{form} [{form}–{form}]".format(median(values), min(values), max(values))
