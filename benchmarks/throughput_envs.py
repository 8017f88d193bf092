"""Turns a second of the games, beside TextArena on the same game and OpenSpiel with text.

One process plays all of them in turn, round after round, so that what else the machine does falls on all alike, and
times them by CPU time. A ratio is taken within a round; the table gives its median and its range over the rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.throughput_players import PlayGames

PACKAGES: Final = ("numpy", "gymnasium", "pettingzoo", "textarena", "open_spiel")

RESULTS: Final = Path(__file__).parent / "results" / "throughput_envs.json"

MATCH_LOOP: Final = "match loop"
RAW_ENV: Final = "raw_env"
TEXTARENA: Final = "TextArena"
OPEN_SPIEL: Final = "OpenSpiel with text"

AIMS: Final = {MATCH_LOOP: 4.0, RAW_ENV: 2.0}
"""How many times as fast as TextArena each should be."""


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


@dataclass(frozen=True, slots=True)
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
    out_help = f"also write the numbers as JSON ({RESULTS.name} in benchmarks/results, or FILE)"
    parser.add_argument("--out", type=Path, nargs="?", const=RESULTS, metavar="FILE", help=out_help)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the tables, writes `options.out` and returns the exit status."""
    if options.rounds < 1 or options.seconds <= 0:
        print("error: --rounds must be at least 1 and --seconds above 0", file=sys.stderr)
        return 2
    try:
        cases = list(all_cases())
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: run pip install 'spiral-selfplay[bench]'", file=sys.stderr)
        return 1
    rows = measure(cases, rounds=options.rounds, seconds=options.seconds)
    setting = describe_setting(rounds=options.rounds, seconds=options.seconds)
    print_report(rows, setting)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        report = {"setting": setting, "rows": [asdict(row) for row in rows]}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {options.out}")
    return 0


def all_cases() -> Iterator[Case]:
    """Yields every case, those of one game together.

    Raises:
        ModuleNotFoundError: TextArena or OpenSpiel is not installed.
    """
    from benchmarks import throughput_players as players
    from spiral_envs import kuhn_poker_v0, simple_negotiation_v0, tic_tac_toe_v0

    # TextArena's Kuhn poker has three hands, OpenSpiel's one.
    trios = (
        ("tic-tac-toe", "tic_tac_toe_v0", tic_tac_toe_v0.raw_env, "TicTacToe-v0", players.tic_tac_toe_move),
        (
            "Kuhn poker, 3 hands",
            "kuhn_poker_v0(hands=3)",
            lambda: kuhn_poker_v0.raw_env(hands=3),
            "KuhnPoker-v0",
            players.kuhn_poker_move,
        ),
        (
            "negotiation, 10 turns",
            "simple_negotiation_v0",
            simple_negotiation_v0.raw_env,
            "SimpleNegotiation-v0",
            players.negotiation_move,
        ),
    )
    bare = players.ReplyStyle.BARE
    for game, game_id, raw_env, env_id, choose_move in trios:
        for style in (bare, players.ReplyStyle.BOXED):
            yield Case(game, MATCH_LOOP, style, players.match_loop(game_id, style))
            yield Case(game, RAW_ENV, style, players.aec_env(raw_env(), style))
            yield Case(game, TEXTARENA, style, players.textarena_env(env_id, choose_move, style))
        if game_id == "tic_tac_toe_v0":
            yield Case(game, OPEN_SPIEL, bare, players.open_spiel_tic_tac_toe())
    single_hand = "kuhn_poker_v0(hands=1,payoff=chips)"
    yield Case("Kuhn poker, 1 hand", MATCH_LOOP, bare, players.match_loop(single_hand, bare))
    env = kuhn_poker_v0.raw_env(hands=1, payoff="chips")
    yield Case("Kuhn poker, 1 hand", RAW_ENV, bare, players.aec_env(env, bare))
    yield Case("Kuhn poker, 1 hand", OPEN_SPIEL, bare, players.open_spiel_kuhn_poker())


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
    """Returns the turns played in at least `seconds` of CPU time, and that time."""
    turns = 0
    start_s = time.process_time()
    while True:
        turns += play_games()
        elapsed_s = time.process_time() - start_s
        if elapsed_s >= seconds:
            return turns, elapsed_s


def ratios(
    case: Case, speed: tuple[float, ...], by_case: dict[tuple[str, str, str], tuple[float, ...]]
) -> dict[str, tuple[float, ...]]:
    """Returns how many times as fast `case` was as the others with the same game and replies, in every round."""
    if case.runner not in AIMS:
        return {}
    others = {other: by_case.get((case.game, other, case.reply)) for other in (TEXTARENA, OPEN_SPIEL)}
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


def print_report(rows: list[Row], setting: dict[str, str]) -> None:
    """Prints the numbers as a table in Markdown, then the aims."""
    from rich.box import MARKDOWN
    from rich.console import Console
    from rich.table import Table

    table = Table(box=MARKDOWN)
    table.add_column("game", no_wrap=True)
    table.add_column("played by", no_wrap=True)
    table.add_column("replies")
    for heading in ("turns", "turns/s", "µs a turn", "× TextArena", "× OpenSpiel"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        speed = median(row.turns_per_s)
        times = [show_range(row.times_as_fast.get(other)) for other in (TEXTARENA, OPEN_SPIEL)]
        table.add_row(row.game, row.runner, row.reply, f"{row.turns:,}", f"{speed:,.0f}", f"{1e6 / speed:.1f}", *times)
    # Wide enough for every column, so that the table can be copied whatever the width of the terminal.
    Console(width=132, highlight=False).print(table)
    print("Speeds are medians over the rounds, ratios the median and the range of the ratios in the rounds.")
    for runner, aim in AIMS.items():
        worst = min(median(row.times_as_fast[TEXTARENA]) for row in rows if is_compared(row, runner))
        verdict = "reached" if worst >= aim else "missed"
        print(f"Aim of {runner}: {aim:g} times TextArena in every game; slowest {worst:.1f}: {verdict}.")
    print(", ".join(f"{name} {value}" for name, value in setting.items()))


def is_compared(row: Row, runner: str) -> bool:
    """Returns whether `row` is of `runner` and has a ratio to TextArena."""
    return row.runner == runner and TEXTARENA in row.times_as_fast


def show_range(values: tuple[float, ...] | None) -> str:
    """Returns the median with the lowest and the highest value; nothing for no values."""
    if values is None:
        return ""
    return f"{median(values):.2f} [{min(values):.2f}–{max(values):.2f}]"
