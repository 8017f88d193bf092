"""Turns a second of the games, beside TextArena on the same game and OpenSpiel with text.

One process plays all of them in turn, round after round, so that what else the machine does falls on all alike, and
times them by CPU time. A ratio is taken within a round; the table gives its median and its range over the rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.throughput_start import Start, measure_start

if TYPE_CHECKING:
    from benchmarks.throughput_players import PlayGames

PACKAGES: Final = ("numpy", "gymnasium", "pettingzoo", "textarena", "open_spiel")

RESULTS: Final = Path(__file__).parent / "results" / "throughput_envs.json"

MATCH_LOOP: Final = "match loop"
RAW_ENV: Final = "raw_env"
DISCRETE: Final = "raw_env, discrete"
TEXTARENA: Final = "TextArena"
OPEN_SPIEL: Final = "OpenSpiel with text"
PETTINGZOO: Final = "PettingZoo classic"

OTHERS: Final = (TEXTARENA, OPEN_SPIEL, PETTINGZOO)

NUMBER: Final = "number"
"""How a player says its move where no text is."""

AIMS: Final = {(MATCH_LOOP, TEXTARENA): 4.0, (MATCH_LOOP, OPEN_SPIEL): 1.0, (RAW_ENV, TEXTARENA): 2.5}
"""How many times as fast as another each should be, in every game that both have."""

IMPORT_AIM_S: Final = 0.8


@dataclass(frozen=True, slots=True)
class Comparison:
    """A game and where else it can be played, under rules as near as the other's options allow.

    Attributes:
        game: In words.
        ours: The id here, with options.
        textarena: The id there, and the name of the function in `throughput_textarena` that moves.
        open_spiel: The name there, with parameters.
        pettingzoo: The module in `pettingzoo.classic`.
    """

    game: str
    ours: str
    textarena: tuple[str, str] | None = None
    open_spiel: str | None = None
    pettingzoo: str | None = None


COMPARISONS: Final = (
    Comparison("tic-tac-toe", "tic_tac_toe_v0", ("TicTacToe-v0", "tic_tac_toe_move"), "tic_tac_toe", "tictactoe_v3"),
    Comparison(
        "connect four", "connect_four_v0", ("ConnectFour-v0", "connect_four_move"), "connect_four", "connect_four_v3"
    ),
    Comparison("breakthrough", "breakthrough_v0", ("Breakthrough-v0", "breakthrough_move"), "breakthrough"),
    Comparison("nim, piles 3 4 5", "nim_v0(piles=3-4-5)", ("Nim-v0", "nim_move"), "nim(pile_sizes=3;4;5)"),
    Comparison("Kuhn poker, 3 hands", "kuhn_poker_v0(hands=3)", ("KuhnPoker-v0", "kuhn_poker_move")),
    Comparison("Kuhn poker, 1 hand", "kuhn_poker_v0(hands=1,payoff=chips)", open_spiel="kuhn_poker"),
    Comparison("Leduc poker", "leduc_poker_v0", open_spiel="leduc_poker"),
    Comparison(
        "liar's dice, 3 dice",
        "liars_dice_v0(dice=3)",
        ("LiarsDice-v0-small", "liars_dice_move"),
        "liars_dice(numdice=3)",
    ),
    Comparison("pig", "pig_dice_v0", ("PigDice-v0", "pig_dice_move"), "pig"),
    Comparison(
        "Colonel Blotto, 9 rounds",
        "colonel_blotto_v0(rounds=9,units=20)",
        ("ColonelBlotto-v0", "colonel_blotto_move"),
    ),
    Comparison("Colonel Blotto, 1 round", "colonel_blotto_v0", open_spiel="blotto(coins=10)"),
    Comparison(
        "rock, paper, scissors, 5 rounds",
        "rock_paper_scissors_v0(rounds=5)",
        ("IteratedRockPaperScissors-v0", "rock_paper_scissors_move"),
    ),
    Comparison("rock, paper, scissors", "rock_paper_scissors_v0", open_spiel="matrix_rps", pettingzoo="rps_v2"),
    Comparison("snake", "snake_v0(width=5,height=5,apples=2)", ("Snake-v0", "snake_move")),
    Comparison(
        "truth and deception",
        "truth_and_deception_v0(turns=6)",
        ("TruthAndDeception-v0", "truth_and_deception_move"),
    ),
    Comparison("negotiation", "simple_negotiation_v0", ("SimpleNegotiation-v0", "negotiation_move")),
    Comparison("adversarial taboo", "adversarial_taboo_v0"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """Something to measure.

    Attributes:
        game: The game, in words; a ratio compares cases of one game.
        runner: What plays it.
        reply: How players say their moves.
        play_games: Plays some games and returns the number of turns.
    """

    game: str
    runner: str
    reply: str
    play_games: PlayGames


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What was measured of a case.

    Attributes:
        game: The game.
        runner: What plays it.
        reply: How players say their moves.
        turns: The turns played in all rounds.
        turns_per_s: Turns a second of CPU time, one number a round.
        times_as_fast: The same over that of the other runner, by its name, one number a round.
    """

    game: str
    runner: str
    reply: str
    turns: int
    turns_per_s: tuple[float, ...]
    times_as_fast: dict[str, tuple[float, ...]]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `envs` to the measurements of `throughput.py`."""
    parser = commands.add_parser("envs", help="turns a second, beside TextArena and OpenSpiel", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds over all cases (5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU time of a case in a round (0.5)")
    games_help = "only the games whose name contains one of these, such as poker (all)"
    parser.add_argument("--games", nargs="+", default=[], help=games_help)
    out_help = f"also write the numbers as JSON ({RESULTS.name} in benchmarks/results, or FILE)"
    parser.add_argument("--out", type=Path, nargs="?", const=RESULTS, metavar="FILE", help=out_help)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the tables, writes `options.out` and returns the exit status."""
    if options.rounds < 1 or options.seconds <= 0:
        print("error: --rounds must be at least 1 and --seconds above 0", file=sys.stderr)
        return 2
    try:
        cases = list(all_cases(options.games))
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: run pip install 'spiral-selfplay[bench]'", file=sys.stderr)
        return 1
    if not cases:
        print(f"error: no game's name contains {' or '.join(map(repr, options.games))}", file=sys.stderr)
        return 2
    rows = measure(cases, rounds=options.rounds, seconds=options.seconds)
    starts = list(all_starts(options.games, repeats=options.rounds))
    setting = describe_setting(rounds=options.rounds, seconds=options.seconds)
    print_speeds(rows)
    print_starts(starts)
    print(", ".join(f"{name} {value}" for name, value in setting.items()))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        report = {
            "setting": setting,
            "rows": [asdict(row) for row in rows],
            "starts": [{"game": game, "library": library, **asdict(start)} for game, library, start in starts],
        }
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {options.out}")
    return 0


def all_cases(games: Sequence[str]) -> Iterator[Case]:
    """Yields every case, those of one game together.

    Args:
        games: The names of comparisons, or parts of them; none for all.

    Raises:
        ModuleNotFoundError: TextArena, OpenSpiel or pygame is not installed.
    """
    from pettingzoo import classic

    from benchmarks import throughput_players as players
    from benchmarks import throughput_textarena as textarena
    from spiral_envs import find_game
    from spiral_envs.aec import raw_env

    bare = players.ReplyStyle.BARE
    for comparison in COMPARISONS:
        game, ours = comparison.game, comparison.ours
        if games and not any(part in game for part in games):
            continue
        for style in (bare, players.ReplyStyle.BOXED):
            yield Case(game, MATCH_LOOP, style, players.match_loop(ours, style))
            yield Case(game, RAW_ENV, style, players.aec_env(raw_env(ours), style))
            if comparison.textarena:
                env_id, move = comparison.textarena
                yield Case(game, TEXTARENA, style, textarena.textarena_env(env_id, getattr(textarena, move), style))
        if comparison.open_spiel:
            yield Case(game, OPEN_SPIEL, bare, players.open_spiel(comparison.open_spiel))
        if find_game(ours).discrete is not None:
            yield Case(game, DISCRETE, NUMBER, players.masked_env(raw_env(ours, actions="discrete")))
        if comparison.pettingzoo:
            env = getattr(classic, comparison.pettingzoo).raw_env()
            yield Case(game, PETTINGZOO, NUMBER, players.masked_env(env))


def all_starts(games: Sequence[str], *, repeats: int) -> Iterator[tuple[str, str, Start]]:
    """Yields what every game costs before its first turn, with the game and the library."""
    for comparison in COMPARISONS:
        if games and not any(part in comparison.game for part in games):
            continue
        names = {
            "spiral_envs": comparison.ours,
            "textarena": comparison.textarena and ",".join(comparison.textarena),
            "open_spiel": comparison.open_spiel,
            "pettingzoo": comparison.pettingzoo,
        }
        for library, name in names.items():
            if name is not None:
                yield comparison.game, library, measure_start(library, name, repeats=repeats)


def measure(cases: list[Case], *, rounds: int, seconds: float) -> list[Row]:
    """Returns a row a case, after one unmeasured round that fills every cache."""
    for case in cases:
        case.play_games()
    turns = [0] * len(cases)
    speeds: list[list[float]] = [[] for _ in cases]
    for index in range(rounds):
        for position, case in enumerate(cases):
            show_progress(index * len(cases) + position, rounds * len(cases), case)
            played, elapsed_s = play_for(case.play_games, seconds=seconds)
            turns[position] += played
            speeds[position].append(played / elapsed_s)
    show_progress(1, 1, None)
    by_case = {(case.game, case.runner, case.reply): tuple(speed) for case, speed in zip(cases, speeds, strict=True)}
    return [
        Row(case.game, case.runner, case.reply, played, tuple(speed), ratios(case, tuple(speed), by_case))
        for case, played, speed in zip(cases, turns, speeds, strict=True)
    ]


def play_for(play_games: PlayGames, *, seconds: float) -> tuple[int, float]:
    """Returns the turns played in at least `seconds` of CPU time, and that time.

    What the process holds before, such as the packages of all the others, is kept out of garbage collection meanwhile.
    """
    gc.collect()
    gc.freeze()
    turns = 0
    start_s = time.process_time()
    while True:
        turns += play_games()
        elapsed_s = time.process_time() - start_s
        if elapsed_s >= seconds:
            gc.unfreeze()
            return turns, elapsed_s


def ratios(
    case: Case, speed: tuple[float, ...], by_case: dict[tuple[str, str, str], tuple[float, ...]]
) -> dict[str, tuple[float, ...]]:
    """Returns how many times as fast `case` was as the others with the same game and replies, in every round."""
    if case.runner in OTHERS:
        return {}
    others = {other: by_case.get((case.game, other, case.reply)) for other in OTHERS}
    return {
        other: tuple(mine / theirs for mine, theirs in zip(speed, speeds, strict=True))
        for other, speeds in others.items()
        if speeds is not None
    }


def show_progress(done: int, total: int, case: Case | None) -> None:
    """Rewrites one line on a terminal; elsewhere prints nothing."""
    if not sys.stderr.isatty():
        return
    what = f"{done}/{total} {case.game}: {case.runner}, {case.reply}" if case else ""
    print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def describe_setting(*, rounds: int, seconds: float) -> dict[str, str]:
    """Returns what one has to know in order to repeat the measurement."""
    return {
        "command": f"python benchmarks/throughput.py envs --rounds {rounds} --seconds {seconds:g}",
        "code": code_version(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in PACKAGES},
    }


def code_version() -> str:
    """Returns the commit of the checkout, marked when files have changed since, or the installed version."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        described = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return version("spiral-selfplay")
    return described.stdout.strip()


def print_speeds(rows: list[Row]) -> None:
    """Prints the speeds as a table in Markdown, then the aims."""
    from rich.box import MARKDOWN
    from rich.console import Console
    from rich.table import Table

    table = Table(box=MARKDOWN)
    table.add_column("game", no_wrap=True)
    table.add_column("played by", no_wrap=True)
    table.add_column("replies")
    for heading in ("turns", "turns/s", "µs a turn", "× TextArena", "× OpenSpiel", "× PettingZoo"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        speed = median(row.turns_per_s)
        times = [show_range(row.times_as_fast.get(other)) for other in OTHERS]
        table.add_row(row.game, row.runner, row.reply, f"{row.turns:,}", f"{speed:,.0f}", f"{1e6 / speed:.1f}", *times)
    # Wide enough for every column, so that the table can be copied whatever the width of the terminal.
    Console(width=160, highlight=False).print(table)
    print("Speeds are medians over the rounds, ratios the median and the range of the ratios in the rounds.")
    for (runner, other), aim in AIMS.items():
        compared = {row: median(row.times_as_fast[other]) for row in rows if is_compared(row, runner, other)}
        missed = [f"{row.game} {times:.2f} ({row.reply})" for row, times in compared.items() if times < aim]
        verdict = f"missed by {', '.join(missed)}" if missed else "reached"
        print(f"Aim of {runner}: {aim:g} times {other} in each of {len(compared)} comparisons: {verdict}.")


def print_starts(starts: list[tuple[str, str, Start]]) -> None:
    """Prints what it costs to start, as a table in Markdown, then the aim."""
    from rich.box import MARKDOWN
    from rich.console import Console
    from rich.table import Table

    table = Table(box=MARKDOWN)
    table.add_column("game", no_wrap=True)
    table.add_column("library", no_wrap=True)
    for heading in ("import, s", "first turn after that, ms", "1,000 matches, MiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for game, library, start in starts:
        numbers = (f"{start.import_s:.2f}", f"{1000 * start.first_turn_s:.1f}", f"{start.mib_per_thousand:.1f}")
        table.add_row(game, library, *numbers)
    Console(width=120, highlight=False).print(table)
    slowest = max(start.import_s for _, library, start in starts if library == "spiral_envs")
    verdict = "reached" if slowest < IMPORT_AIM_S else "missed"
    print(f"Aim of import spiral_envs: under {IMPORT_AIM_S:g} s of CPU time; slowest {slowest:.2f}: {verdict}.")


def is_compared(row: Row, runner: str, other: str) -> bool:
    """Returns whether `row` is of `runner` and has a ratio to `other`."""
    return row.runner == runner and other in row.times_as_fast


def show_range(values: tuple[float, ...] | None) -> str:
    """Returns the median with the lowest and the highest value; nothing for no values."""
    if values is None:
        return ""
    return f"{median(values):.2f} [{min(values):.2f}–{max(values):.2f}]"
