"""Which runs the evidence is made of: models to start from, trainings, and measurements of what came out of them.

Everything is a run of a command in a folder of its own. A run that needs others names them, and its digest covers its
command, the code and the digests of what it needs, so that nothing finished is run twice and nothing stale is kept.

`python benchmarks/evidence_runs.py FOLDER --seed N` makes one of the models that trainings start from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent

DONE: Final = "done.json"
"""In the folder of a run: its digest and how long it took. It is written last."""

TIC_TAC_TOE: Final = "tic_tac_toe_v0"
KUHN: Final = "kuhn_poker_v0(hands=1,payoff=chips)"
NEGOTIATION: Final = "simple_negotiation_v0(turns=6)"
ROCK_PAPER_SCISSORS: Final = "rock_paper_scissors_v0"

LEARNED: Final = (TIC_TAC_TOE, KUHN, NEGOTIATION)
"""What the embedded model is warmed up on."""

HARDER: Final = (
    "tic_tac_toe_v0(rows=5,columns=5,in_a_row=4)",
    "kuhn_poker_v0(hands=1,payoff=chips,cards=5)",
    "simple_negotiation_v0(turns=6,resources=8)",
    "kuhn_poker_v0(hands=5)",
    "simple_negotiation_v0(turns=10)",
)
"""Variants of what is learned, on which nothing is trained: larger ones, and longer ones."""

UNSEEN: Final = ("connect_four_v0", "pig_dice_v0(target=30)", "liars_dice_v0", "snake_v0", "truth_and_deception_v0")
"""Other games, on which nothing is trained."""

PARTS: Final = {
    "A": "the advantage estimator",
    "B": "self-play, fixed opponents, imitation",
    "C": "one game against three",
    "D": "mirror play against a league",
    "E": "harder and unseen games",
}

GAMES_PER_BATCH: Final = {TIC_TAC_TOE: 28, KUHN: 96, NEGOTIATION: 35, ROCK_PAPER_SCISSORS: 96}
"""Games of self-play that give about 210 turns, so that a step costs the same in each game; two turns in the last."""

MIXED_GAMES_PER_BATCH: Final = 53
"""A third of each of the three numbers above."""

_FILES: Final = {
    "benchmarks.evidence_runs": ("evidence_runs.py",),
    "benchmarks.evidence_measures": ("evidence_runs.py", "evidence_measures.py", "evidence_figures.py"),
}
"""The files of this folder that a program is made of."""

SFT_BATCH: Final = 64
"""Examples of a supervised step, as packaged with the config that trains on experts."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is run.

    Attributes:
        seeds: Of the models to start from and of everything that follows from them.
        warmup_steps: Supervised steps of the embedded model.
        warmup_turns: Demonstrated turns of each game, per ply of its longest match.
        steps: Optimizer steps of self-play, but for rock paper scissors.
        rps_steps: Those of rock paper scissors.
        kept_every: Steps between two models of part D that are kept, in poker.
        rps_kept_every: The same in rock paper scissors.
        league_every: Steps between two snapshots for a league.
        sft_games: Recorded games of experts.
        batches: Batches whose gradients are compared.
        pairs: Deals of a match, each played from both seats.
        far_pairs: The same in games that were not trained.
    """

    seeds: tuple[int, ...] = (1, 2, 3)
    warmup_steps: int = 400
    warmup_turns: int = 1000
    steps: int = 60
    rps_steps: int = 150
    kept_every: int = 3
    rps_kept_every: int = 3
    league_every: int = 10
    sft_games: int = 2000
    batches: int = 24
    pairs: int = 128
    far_pairs: int = 40

    @property
    def sft_steps(self) -> int:
        """Supervised steps that see about as many turns as self-play does."""
        return max(1, self.steps * 210 // SFT_BATCH)


FULL: Final = Scale()

QUICK: Final = Scale(
    seeds=(1,),
    warmup_steps=30,
    warmup_turns=30,
    steps=2,
    rps_steps=2,
    kept_every=1,
    rps_kept_every=1,
    league_every=1,
    sft_games=60,
    batches=3,
    pairs=4,
    far_pairs=2,
)
"""Enough to try the chain, and for nothing else."""


@dataclass(frozen=True, slots=True)
class Run:
    """A command with a folder of its own.

    Attributes:
        name: Also that of the folder.
        parts: The letters of the parts that show it; the first one pays for it.
        program: The module that is run.
        arguments: What it is told, the folder included.
        seed: Of everything random in it.
        needs: Names of runs that must be finished before.
        cost_s: About how long it takes on one idle core, for the progress bar.
    """

    name: str
    parts: str
    program: str
    arguments: tuple[str, ...]
    seed: int
    needs: tuple[str, ...] = ()
    cost_s: float = 60.0

    @property
    def command(self) -> list[str]:
        """The command, for this interpreter."""
        return [sys.executable, "-m", self.program, *self.arguments]

    @property
    def shown(self) -> str:
        """The command as a person would type it."""
        if self.program == "spiral_trl.train":
            return shlex.join(["spiral-train", *self.arguments])
        return shlex.join(["python", f"{self.program.replace('.', '/')}.py", *self.arguments])


def plan(scale: Scale, folder: str, *, is_quick: bool = False) -> tuple[Run, ...]:
    """Returns all runs, each after those that it needs.

    Args:
        scale: How much is run.
        folder: Where the folders of the runs are.
        is_quick: Whether `scale` is `QUICK`, which the commands that are told of it say.
    """
    quick = ("--quick",) if is_quick else ()
    return tuple(
        run
        for seed in scale.seeds
        for runs in (
            _starts(scale, folder, seed, quick),
            _estimators(scale, folder, seed),
            _opponents(scale, folder, seed),
            _mixes(scale, folder, seed),
            _leagues(scale, folder, seed),
        )
        for run in runs
    ) + tuple(run for seed in scale.seeds for run in _measures(scale, folder, seed, quick))


def chosen(runs: Sequence[Run], parts: Iterable[str]) -> tuple[Run, ...]:
    """Returns the runs of some parts, and those that these need."""
    by_name = {run.name: run for run in runs}
    wanted: set[str] = set()
    waiting = [run.name for run in runs if set(run.parts) & set(parts) and not run.name.startswith("measures-")]
    waiting += [f"measures-{part}-{seed}" for part in parts for seed in {run.seed for run in runs}]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += by_name[name].needs
    return tuple(run for run in runs if run.name in wanted)


def digests(runs: Sequence[Run]) -> dict[str, str]:
    """Returns the digest of every run: of its command, the code, and the digests of what it needs.

    The number of processors, the machine and the time are not in it.
    """
    found: dict[str, str] = {}
    for run in runs:
        parts = [run.program, *run.arguments, code_digest(), *(found[name] for name in run.needs)]
        parts += [_digest_of([ROOT / "benchmarks" / name for name in _FILES.get(run.program, ())])]
        found[run.name] = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return found


@cache
def code_digest() -> str:
    """Returns the digest of the sources of both packages."""
    sources = [
        path
        for name in ("spiral_envs", "spiral_trl")
        for kind in ("py", "yaml")
        for path in (ROOT / name).rglob(f"*.{kind}")
    ]
    return _digest_of(sorted(path for path in sources if "arena" not in path.parts))


def is_done(folder: Path, digest: str) -> bool:
    """Returns whether the run in `folder` was finished with this digest."""
    try:
        return json.loads((folder / DONE).read_text(encoding="utf-8"))["digest"] == digest
    except FileNotFoundError:
        return False


def _digest_of(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _starts(scale: Scale, folder: str, seed: int, quick: tuple[str, ...]) -> list[Run]:
    warm = f"warm-{seed}"
    novice = f"rps-start-{seed}"
    imitation = _sft(scale, folder, novice, seed, experts=("random",), game=ROCK_PAPER_SCISSORS, steps=60)
    return [
        Run(
            warm,
            "ABCDE",
            "benchmarks.evidence_runs",
            (f"{folder}/{warm}", "--seed", str(seed), *quick),
            seed,
            cost_s=80,
        ),
        Run(novice, "D", "spiral_trl.train", (*imitation, "--model_name_or_path", "embedded"), seed, cost_s=20),
    ]


def _estimators(scale: Scale, folder: str, seed: int) -> list[Run]:
    return [
        _training(
            scale,
            folder,
            f"{short}-{'self' if estimator == 'rae' else estimator}-{seed}",
            "ABCE" if estimator == "rae" else "A",
            seed,
            (game,),
            "--advantage_estimator",
            estimator,
        )
        for short, game in (("kuhn", KUHN), ("ttt", TIC_TAC_TOE))
        for estimator in ("rae", "global", "none")
    ]


def _opponents(scale: Scale, folder: str, seed: int) -> list[Run]:
    runs: list[Run] = []
    warm = f"warm-{seed}"
    for short, game, opponents, experts in (
        ("kuhn", KUHN, ("random", "cfr"), ("cfr",)),
        ("ttt", TIC_TAC_TOE, ("random", "minimax"), ("minimax", "mcts:16")),
    ):
        runs += [
            _training(
                scale,
                folder,
                f"{short}-{opponent}-{seed}",
                "B",
                seed,
                (game,),
                "--opponents",
                json.dumps({opponent: 1.0}),
                games_per_batch=2 * GAMES_PER_BATCH[game],
            )
            for opponent in opponents
        ]
        name = f"{short}-sft-{seed}"
        arguments = _sft(scale, folder, name, seed, experts=experts, game=game, steps=scale.sft_steps, keep="wins")
        arguments += ("--model_name_or_path", f"{folder}/{warm}")
        runs.append(Run(name, "B", "spiral_trl.train", arguments, seed, (warm,), cost_s=60))
    return runs


def _mixes(scale: Scale, folder: str, seed: int) -> list[Run]:
    return [
        _training(scale, folder, f"negotiation-self-{seed}", "CE", seed, (NEGOTIATION,)),
        _training(
            scale,
            folder,
            f"three-self-{seed}",
            "CE",
            seed,
            LEARNED,
            "--game_weights",
            "0.3333333",
            "0.3333333",
            "0.3333334",
            "--mix_by",
            "turns",
            games_per_batch=MIXED_GAMES_PER_BATCH,
        ),
    ]


def _leagues(scale: Scale, folder: str, seed: int) -> list[Run]:
    runs: list[Run] = []
    for short, game, start, steps, every in (
        ("kuhn", KUHN, "warm", scale.steps, scale.kept_every),
        ("rps", ROCK_PAPER_SCISSORS, "rps-start", scale.rps_steps, scale.rps_kept_every),
    ):
        for selection in ("mirror", "latest", "uniform"):
            options = ["--beta", "0", "--lr_scheduler_type", "constant"]
            options += ["--save_steps", str(every), "--save_total_limit", "1000"]
            if selection != "mirror":
                options += ["--opponents", '{"league": 1.0}', "--league_selection", selection]
                options += ["--league_snapshot_steps", str(scale.league_every)]
            runs.append(
                _training(
                    scale,
                    folder,
                    f"{short}-{selection}-{seed}",
                    "D",
                    seed,
                    (game,),
                    *options,
                    games_per_batch=GAMES_PER_BATCH[game] * (1 if selection == "mirror" else 2),
                    start=start,
                    steps=steps,
                )
            )
    return runs


def _training(
    scale: Scale,
    folder: str,
    name: str,
    parts: str,
    seed: int,
    games: tuple[str, ...],
    *options: str,
    games_per_batch: int | None = None,
    start: str = "warm",
    steps: int | None = None,
) -> Run:
    """Returns a run of self-play; `options` are told last, so that they win."""
    begun = f"{start}-{seed}"
    model = begun if start == "warm" else f"{begun}/final"
    steps = steps or scale.steps
    batch = games_per_batch or GAMES_PER_BATCH[games[0]]
    given = {
        "--model_name_or_path": f"{folder}/{model}",
        "--max_steps": steps,
        "--games_per_batch": batch,
        "--max_completion_length": 64,
        "--seed": seed,
        "--nash_conv_steps": 0,
        "--output_dir": f"{folder}/{name}",
    }
    if "--save_steps" not in options:
        given["--save_steps"] = steps
    words = [word for option, value in given.items() for word in (option, str(value))]
    arguments = ("--config", "kuhn", "--games", *games, *options, *words)
    return Run(
        name, parts, "spiral_trl.train", arguments, seed, (begun,), cost_s=12 + steps * (0.4 if "rps" in name else 0.95)
    )


def _sft(
    scale: Scale,
    folder: str,
    name: str,
    seed: int,
    *,
    experts: tuple[str, ...],
    game: str,
    steps: int,
    keep: str = "all",
) -> tuple[str, ...]:
    """Returns the arguments of imitation, but for the model to start from."""
    given = {
        "--num_games": scale.sft_games,
        "--keep": keep,
        "--max_steps": min(steps, scale.sft_steps),
        "--seed": seed,
        "--output_dir": f"{folder}/{name}",
    }
    words = [word for option, value in given.items() for word in (option, str(value))]
    return ("sft", "--config", "quickstart", "--experts", *experts, "--games", game, *words)


def _measures(scale: Scale, folder: str, seed: int, quick: tuple[str, ...]) -> list[Run]:
    estimators = [f"{short}-{name}-{seed}" for short in ("kuhn", "ttt") for name in ("self", "global", "none")]
    opponents = [f"kuhn-{name}-{seed}" for name in ("self", "random", "cfr", "sft")]
    opponents += [f"ttt-{name}-{seed}" for name in ("self", "random", "minimax", "sft")]
    mixes = [f"{name}-self-{seed}" for name in ("kuhn", "ttt", "negotiation", "three")]
    leagues = [f"{short}-{name}-{seed}" for short in ("kuhn", "rps") for name in ("mirror", "latest", "uniform")]
    warm = f"warm-{seed}"
    needed = {
        "A": (warm, *estimators),
        "B": (warm, *opponents),
        "C": (warm, *mixes),
        "D": (warm, f"rps-start-{seed}", *leagues),
        "E": (warm, *mixes),
    }
    return [
        Run(
            f"measures-{part}-{seed}",
            part,
            "benchmarks.evidence_measures",
            (part, "--seed", str(seed), "--runs", folder, *quick),
            seed,
            names,
        )
        for part, names in needed.items()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Makes a model to start from, and returns the exit code."""
    # Heavy.
    from spiral_trl.warmup import WarmupSettings, make_warm_model

    parser = argparse.ArgumentParser(description="Makes a warm model of the games that the evidence trains.")
    parser.add_argument("folder", type=Path, help="where it is saved")
    parser.add_argument("--seed", type=int, required=True, help="of its weights and its lessons")
    parser.add_argument("--quick", action="store_true", help="with a few steps, to try the chain")
    options = parser.parse_args(argv)
    scale = QUICK if options.quick else FULL
    sentence = make_warm_model(
        options.folder,
        LEARNED,
        settings=WarmupSettings(turns_per_ply=scale.warmup_turns, steps=scale.warmup_steps, batch_size=48),
        seed=options.seed,
        on_step=lambda step, loss: print(f"step {step}: loss {loss:.3f}"),
    )
    print(sentence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
