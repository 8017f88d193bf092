"""Tokens a second of self-play, beside the same backend without any game and beside one game at a time.

In every round, one after the other and in one process: self-play of many games; the prompts that occurred in it,
generated for once more as bare batches, without tokenising, reading or playing anything; and some games one at a time.
Replies are sampled anew each time, by the same weights from the same prompts, so their lengths differ by chance and
tokens a second are compared, not seconds. A ratio is taken within a round; the table gives its median and its range.

Self-play includes its beginning and its end, where few games are left. The bare batches come in three ways: all prompts
sorted by length and cut into full batches, which no game allows because a turn's prompt is not known before the turn;
full batches in the order in which the prompts occurred; and the very calls of self-play, which show what the waves of
games alone cost. No batch is larger than the largest that self-play could fill. A verdict is given for the first two.

A model on the CPU with one thread is timed by CPU time, so that what else the machine does counts less; others by the
clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from benchmarks.throughput_envs import code_version

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from spiral_envs.episode import Episode
    from spiral_envs.match import View
    from spiral_trl.sampling import ModelAgent, PromptEncoder, Sample, SampledReply, Sampler

RESULTS: Final = Path(__file__).parent / "results" / "throughput_rollout.json"

GAMES: Final = ("tic_tac_toe_v0", "kuhn_poker_v0(hands=1,payoff=chips)", "simple_negotiation_v0(turns=6)")
"""Those of the configuration `quickstart`."""

EMBEDDED: Final = "embedded"

WARMUP_TURNS_PER_PLY: Final = 500
WARMUP_STEPS: Final = 300
"""Enough for the embedded model to play legal moves most of the time; the report says how often it does not."""

SELF_PLAY: Final = "self-play"
SORTED_BATCHES: Final = "bare, all prompts sorted"
FULL_BATCHES: Final = "bare, as they occurred"
SAME_CALLS: Final = "bare, calls of self-play"
ONE_AT_A_TIME: Final = "one game at a time"

AIMS: Final = {SORTED_BATCHES: 0.95, FULL_BATCHES: 0.95, ONE_AT_A_TIME: 8.0}
"""How many times as fast self-play should be."""

COUNTS: Final = ("num_games", "num_single_games", "concurrency", "batch_size", "max_new_tokens", "rounds")
"""The options that are numbers of something."""


@dataclass(frozen=True, slots=True)
class Work:
    """What was generated, and how long it took.

    Attributes:
        calls: Calls of the sampler.
        replies: Completions.
        tokens: Tokens of the completions, end-of-sequence tokens included.
        seconds: Everything.
    """

    calls: int
    replies: int
    tokens: int
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of self-play went, in seconds.

    Attributes:
        generating: In the sampler.
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


@dataclass(frozen=True, slots=True)
class Backend:
    """A loaded model.

    Attributes:
        sampler: What generates.
        tokenizer: Its tokenizer.
        max_prompt_length: The longest prompt, in tokens.
        about: What it is, in words.
        clock: Returns the time in seconds.
        clock_name: What it measures, in words.
    """

    sampler: Sampler
    tokenizer: PreTrainedTokenizerBase
    max_prompt_length: int
    about: str
    clock: Callable[[], float] = time.perf_counter
    clock_name: str = "wall"


@dataclass(slots=True)
class RecordingSampler:
    """Passes prompts on to a sampler, and remembers them and the time that it took.

    Attributes:
        sampler: The backend's.
        clock: Returns the time in seconds.
        calls: The prompts of every call.
        replies: How many completions came back.
        tokens: Their tokens.
        seconds: The time in the sampler.
    """

    sampler: Sampler
    clock: Callable[[], float]
    calls: list[Sequence[Sequence[int]]] = field(default_factory=list)
    replies: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def sample(self, prompts: Sequence[Sequence[int]]) -> list[Sample]:
        """Returns one completion a prompt."""
        start_s = self.clock()
        samples = self.sampler.sample(prompts)
        self.seconds += self.clock() - start_s
        self.calls.append(prompts)
        self.replies += len(samples)
        self.tokens += sum(len(sample.token_ids) for sample in samples)
        return samples


@dataclass(slots=True)
class AgentTimes:
    """What an agent spent beside sampling, in seconds.

    Attributes:
        encoding: Turning views into token ids.
        decoding: Turning token ids into replies.
    """

    encoding: float = 0.0
    decoding: float = 0.0


class Bench:
    """A model and the games that it plays, as the trainer would play them."""

    def __init__(self, backend: Backend, options: argparse.Namespace) -> None:
        """Sets who plays what, and how many games and prompts run at once."""
        self._backend = backend
        self._games: list[str] = options.games
        self._concurrency: int = options.concurrency
        self._batch_size: int = options.batch_size
        self._seed: int = options.seed
        self._games_started = 0

    def round(self, *, num_games: int, num_single_games: int) -> Round:
        """Returns the measurements of one round; every round plays other games."""
        work: dict[str, Work] = {}
        work[SELF_PLAY], profile, episodes, calls = self._self_play(num_games, self._concurrency)
        prompts = [prompt for call in calls for prompt in call]
        size = min(self._batch_size, max(map(len, calls)))
        work[SORTED_BATCHES] = self._bare(batches_of(sorted(prompts, key=len), size))
        work[FULL_BATCHES] = self._bare(batches_of(prompts, size))
        work[SAME_CALLS] = self._bare(calls)
        work[ONE_AT_A_TIME] = self._self_play(num_single_games, 1)[0]
        turns = sum(len(episode.turns) for episode in episodes)
        faults = sum(episode.outcome.fault is not None for episode in episodes)
        return Round(work, profile, num_games, turns, faults)

    def _self_play(
        self, num_games: int, concurrency: int
    ) -> tuple[Work, Profile, list[Episode], list[Sequence[Sequence[int]]]]:
        """Returns what was generated, where the time went, the games, and the prompts of every call."""
        from spiral_trl.collector import collect

        recorder, timers, agent = self._timed_agent()
        clock = self._backend.clock
        start_s = clock()
        episodes = collect(
            self._games,
            (agent, agent),
            first_game=self._games_started,
            num_games=num_games,
            seed=self._seed,
            concurrency=concurrency,
        )
        seconds = clock() - start_s
        self._games_started += num_games
        playing = seconds - recorder.seconds - timers.encoding - timers.decoding
        profile = Profile(recorder.seconds, timers.encoding, timers.decoding, playing)
        work = Work(len(recorder.calls), recorder.replies, recorder.tokens, seconds)
        return work, profile, episodes, recorder.calls

    def _timed_agent(self) -> tuple[RecordingSampler, AgentTimes, ModelAgent]:
        """Returns the agent that the trainer plays with, last, and what times it."""
        from spiral_envs.prompts import find_style
        from spiral_trl.sampling import PromptEncoder

        backend = self._backend
        is_chat = bool(backend.tokenizer.chat_template)
        style = find_style("boxed_cot" if is_chat else "plain")
        recorder = RecordingSampler(backend.sampler, backend.clock)
        encoder = PromptEncoder(backend.tokenizer, style, use_chat_template=is_chat)
        return recorder, *timed_agent(
            recorder, encoder, backend.tokenizer, backend.clock, max_prompt_length=backend.max_prompt_length
        )

    def _bare(self, calls: Sequence[Sequence[Sequence[int]]]) -> Work:
        recorder = RecordingSampler(self._backend.sampler, self._backend.clock)
        for prompts in calls:
            recorder.sample(prompts)
        return Work(len(calls), recorder.replies, recorder.tokens, recorder.seconds)


def timed_agent(
    sampler: Sampler,
    encoder: PromptEncoder,
    tokenizer: PreTrainedTokenizerBase,
    clock: Callable[[], float],
    *,
    max_prompt_length: int,
) -> tuple[AgentTimes, ModelAgent]:
    """Returns an agent, last, and the times of what it does beside sampling."""
    # The extra `train` is needed only here.
    from spiral_trl.sampling import ModelAgent

    times = AgentTimes()

    class TimedAgent(ModelAgent):
        """Remembers how long turning views into token ids and token ids into replies takes."""

        def prompt(self, view: View, previous: SampledReply | None) -> list[int]:
            start_s = clock()
            ids = super().prompt(view, previous)
            times.encoding += clock() - start_s
            return ids

        def replies(self, prompts: Sequence[Sequence[int]], samples: Sequence[Sample | None]) -> list[str]:
            start_s = clock()
            replies = super().replies(prompts, samples)
            times.decoding += clock() - start_s
            return replies

    return times, TimedAgent(sampler, encoder, tokenizer, max_prompt_length=max_prompt_length)


def batches_of(prompts: Sequence[Sequence[int]], size: int) -> list[Sequence[Sequence[int]]]:
    """Returns `prompts` in their order, cut into batches of `size`, the last one of what is left."""
    return [prompts[start : start + size] for start in range(0, len(prompts), size)]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `rollout` to the measurements of `throughput.py`."""
    parser = commands.add_parser(
        "rollout", help="tokens a second of self-play, beside bare batches and one game at a time", description=__doc__
    )
    model_help = "a folder, a hub id, or embedded: built on the spot and warmed up briefly (embedded)"
    parser.add_argument("--model", default=EMBEDDED, help=model_help)
    parser.add_argument("--backend", choices=("transformers", "vllm"), default="transformers", help="(transformers)")
    parser.add_argument("--games", nargs="+", default=list(GAMES), metavar="GAME", help="(those of quickstart)")
    parser.add_argument("--num_games", type=int, default=1024, help="games of self-play in a round (1024)")
    parser.add_argument("--num_single_games", type=int, default=18, help="games one at a time in a round (18)")
    parser.add_argument("--concurrency", type=int, default=512, help="games in progress (512, as in training)")
    parser.add_argument("--batch_size", type=int, default=64, help="prompts that the backend runs at once (64)")
    parser.add_argument("--max_new_tokens", type=int, default=64, help="longest reply, in tokens (64)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the games and of sampling (0)")
    out_help = f"also write the numbers as JSON ({RESULTS.name} in benchmarks/results, or FILE)"
    parser.add_argument("--out", type=Path, nargs="?", const=RESULTS, metavar="FILE", help=out_help)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the table, writes `options.out` and returns the exit status."""
    chosen = vars(options)
    for name in COUNTS:
        if chosen[name] < 1:
            print(f"error: --{name} must be at least 1", file=sys.stderr)
            return 2
    try:
        backend = load_backend(options)
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: run pip install 'spiral-selfplay[train]'", file=sys.stderr)
        return 1
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    setting = describe_setting(backend, options)
    bench = Bench(backend, options)
    show_progress("a short round that is not counted")
    bench.round(num_games=options.batch_size, num_single_games=1)
    rounds: list[Round] = []
    for index in range(options.rounds):
        show_progress(f"round {index + 1} of {options.rounds}")
        rounds.append(bench.round(num_games=options.num_games, num_single_games=options.num_single_games))
    show_progress("")
    print_report(rounds, setting)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        report = {"setting": setting, "rounds": [asdict(each) for each in rounds]}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {options.out}")
    return 0


def load_backend(options: argparse.Namespace) -> Backend:
    """Returns the backend that `options` name, with the model loaded.

    Raises:
        ModuleNotFoundError: The packages of the extra `train` are not installed.
        MissingExtraError: vLLM is not installed.
        OSError: There is no such model.
        ValueError: There is no such game, or the embedded model cannot play it.
    """
    from transformers import set_seed

    from spiral_envs.registry import find_game

    for game in options.games:
        find_game(game)
    set_seed(options.seed)
    with ExitStack() as stack:
        model = options.model
        if model == EMBEDDED:
            model = make_embedded_model(Path(stack.enter_context(tempfile.TemporaryDirectory())), options)
        return load_vllm(model, options) if options.backend == "vllm" else load_transformers(model, options)


def make_embedded_model(folder: Path, options: argparse.Namespace) -> str:
    """Returns the folder, in `folder`, of an embedded model that was warmed up on the games for a few steps."""
    from spiral_trl.warmup import WarmupSettings, make_warm_model

    settings = WarmupSettings(turns_per_ply=WARMUP_TURNS_PER_PLY, steps=WARMUP_STEPS)
    make_warm_model(
        folder / "model",
        list(dict.fromkeys(options.games)),
        settings=settings,
        seed=options.seed,
        on_step=lambda step, loss: show_progress(f"warm-up: step {step} of {settings.steps}, loss {loss:.2f}"),
    )
    return str(folder / "model")


def load_transformers(model: str, options: argparse.Namespace) -> Backend:
    """Returns `model` with the sampler that evaluations use, on the GPU if there is one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from spiral_trl.sampling import GenerateSampler

    tokenizer: Any = AutoTokenizer.from_pretrained(model, padding_side="left")
    loaded: Any = AutoModelForCausalLM.from_pretrained(model)
    loaded.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    is_one_thread = loaded.device.type == "cpu" and torch.get_num_threads() == 1
    return Backend(
        GenerateSampler(loaded, tokenizer, max_new_tokens=options.max_new_tokens, batch_size=options.batch_size),
        tokenizer,
        max_prompt_length=loaded.config.get_text_config().max_position_embeddings - options.max_new_tokens,
        about=f"{type(loaded).__name__}, {loaded.num_parameters():,} parameters, {loaded.dtype}, {loaded.device}",
        clock=time.process_time if is_one_thread else time.perf_counter,
        clock_name="CPU time" if is_one_thread else "wall",
    )


def load_vllm(model: str, options: argparse.Namespace) -> Backend:
    """Returns a vLLM engine with `model` loaded, which runs at most `batch_size` prompts at once.

    Raises:
        MissingExtraError: vLLM is not installed.
    """
    from transformers import AutoTokenizer

    from spiral_envs.errors import MissingExtraError
    from spiral_trl.agents import VllmSampler

    try:
        # vLLM is optional.
        vllm: Any = import_module("vllm")
    except ImportError as error:
        raise MissingExtraError("--backend vllm", "vllm") from error
    engine = vllm.LLM(model, seed=options.seed, max_num_seqs=options.batch_size)
    settings = engine.llm_engine.model_config
    parameters = vllm.SamplingParams(temperature=1.0, max_tokens=options.max_new_tokens, logprobs=0)
    return Backend(
        VllmSampler(engine, parameters),
        AutoTokenizer.from_pretrained(model),
        max_prompt_length=settings.max_model_len - options.max_new_tokens,
        about=f"vLLM {version('vllm')}, {settings.dtype}",
    )


def show_progress(what: str) -> None:
    """Rewrites one line on a terminal; elsewhere prints nothing."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def describe_setting(backend: Backend, options: argparse.Namespace) -> dict[str, str]:
    """Returns what one has to know in order to repeat the measurement."""
    import torch

    chosen = vars(options)
    words = " ".join(f"--{name} {chosen[name]}" for name in ("model", "backend", *COUNTS, "seed"))
    return {
        "command": f"python benchmarks/throughput.py rollout {words}",
        "games": ", ".join(options.games),
        "model": backend.about,
        "threads": str(torch.get_num_threads()),
        "clock": backend.clock_name,
        "code": code_version(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in ("torch", "transformers")},
    }


def print_report(rounds: Sequence[Round], setting: dict[str, str]) -> None:
    """Prints the numbers as a table in Markdown, then the aims."""
    from rich.box import MARKDOWN
    from rich.console import Console
    from rich.table import Table

    table = Table(box=MARKDOWN)
    table.add_column("what generates", no_wrap=True)
    for heading in ("replies", "a call", "tokens", "a reply", "tokens/s", "self-play is … times as fast"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in rounds[0].work:
        done = [each.work[name] for each in rounds]
        replies, tokens = sum(work.replies for work in done), sum(work.tokens for work in done)
        ratios = "" if name == SELF_PLAY else show_range([each.ratio(name) for each in rounds], "{:.2f}")
        speeds = show_range([work.tokens_per_s for work in done], "{:,.0f}")
        size = replies / sum(work.calls for work in done)
        table.add_row(name, f"{replies:,}", f"{size:,.0f}", f"{tokens:,}", f"{tokens / replies:.1f}", speeds, ratios)
    # Wide enough for every column, so that the table can be copied whatever the width of the terminal.
    Console(width=140, highlight=False).print(table)
    print("Replies and tokens are those of all rounds; speeds and ratios the median and the range of the rounds.")
    print(profile_line(rounds))
    for name, aim in AIMS.items():
        reached = median(each.ratio(name) for each in rounds)
        verdict = "reached" if reached >= aim else "missed"
        print(f"Aim: self-play at {aim:g} times the speed of {name!r}; it has {reached:.2f}: {verdict}.")
    print("; ".join(f"{name}: {value}" for name, value in setting.items()))


def profile_line(rounds: Sequence[Round]) -> str:
    """Returns a sentence on where the time of self-play went, and one on what was played."""
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
