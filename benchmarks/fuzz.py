"""Throws hostile replies at every game and tells what breaks: `python benchmarks/fuzz.py --replies 1000000`.

After every reply: it was a move or a fault and nothing else; a forfeit pays the offender the least and sums to 0; the
reply took no longer than `SLOWEST_S`; and no player is shown what surrounded the move, nor a control token of a chat
template. Then it plays matches to see whether the process grows. The tests run a small share of it.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import spiral_envs
from spiral_envs import InvalidMove, Match, Termination
from spiral_envs.hostile import CONTROL_TOKENS, random_hostile

SECRET: Final = "xqzsecret"
"""Surrounds every reply; nobody may ever see it."""

NEVER_SHOWN: Final = tuple(token for token in CONTROL_TOKENS if token.isprintable())
"""What nobody is shown, unless the game itself says it before any reply: those in several lines a game may write."""

SLOWEST_S: Final = 1.0
"""A reply that takes longer, in CPU time, counts as a hang."""


class BrokenPromiseError(AssertionError):
    """What should not have happened, and after which replies."""


@dataclass
class Tally:
    """What came of the replies to one game.

    Attributes:
        game: Its label.
        replies: How many there were.
        endings: How many were moves, and how many were faults of each kind.
        matches: How many matches they filled.
        slowest_s: The CPU time of the slowest.
    """

    game: str
    replies: int = 0
    endings: Counter[str] = field(default_factory=Counter[str])
    matches: int = 0
    slowest_s: float = 0.0


def fuzz(game: str, *, num_replies: int, seed: int) -> Iterator[Tally]:
    """Sends hostile replies to matches of `game` and yields the tally after every match.

    Raises:
        BrokenPromiseError: A reply did what no reply may do.
    """
    rng = random.Random(f"{game} {seed}")
    tally = Tally(game)
    # A random move can only take the place of a fault where legal moves are listed.
    can_replace = not game.startswith("textarena:")
    while tally.replies < num_replies:
        policy = rng.choice((InvalidMove.FORFEIT, InvalidMove.RANDOM)) if can_replace else InvalidMove.FORFEIT
        match = spiral_envs.make_match(game, seed=rng.randrange(2**32), invalid_move=policy)
        tally.matches += 1
        own_text = _shown(match)
        while match.seat_to_move is not None and tally.replies < num_replies:
            legal = match.view(match.seat_to_move).legal_moves or ()
            if legal and rng.random() < 0.3:
                match.submit(rng.choice(legal))
                continue
            _send(match, random_hostile(rng, legal), tally, own_text)
        yield tally


def _send(match: Match, hostile: str, tally: Tally, own_text: str) -> None:
    """Submits one hostile reply and checks what comes of it; `own_text` is what the game says before any reply."""
    # A fault that the reply brings along would be lost in a longer text.
    reply = hostile if type(hostile) is not str else f"{SECRET} {hostile} {SECRET}"
    started = time.process_time()
    try:
        match.submit(reply)
        after = _shown(match)
    except Exception as error:
        raise _broken(match, reply, f"raised {error!r}") from error
    took_s = time.process_time() - started
    turn = match.turns[-1]
    tally.replies += 1
    tally.slowest_s = max(tally.slowest_s, took_s)
    tally.endings[turn.fault.value if turn.fault else "move"] += 1
    if took_s > SLOWEST_S:
        raise _broken(match, reply, f"took {took_s:.2f} s")
    if turn.fault is None and turn.move is None:
        raise _broken(match, reply, "was neither a move nor a fault")
    if SECRET in after:
        raise _broken(match, reply, "is shown to the players")
    shown = [token for token in NEVER_SHOWN if token in after and token not in own_text]
    if shown:
        raise _broken(match, reply, f"shows {shown!r} to the players")
    _check_outcome(match, reply)


def _check_outcome(match: Match, reply: str) -> None:
    outcome = match.outcome
    if outcome is None:
        return
    if match.zero_sum and sum(outcome.returns) != 0:
        raise _broken(match, reply, f"led to returns {outcome.returns!r}, which do not sum to 0")
    if outcome.termination is Termination.FORFEIT:
        low, _ = spiral_envs.find_source(match.game).return_range
        assert outcome.offender is not None, "a forfeit has an offender"
        if outcome.returns[outcome.offender] > low:
            raise _broken(match, reply, f"forfeits for {outcome.returns!r}, more than {low!r}")


def _shown(match: Match) -> str:
    return "\n".join(match.view(seat).observation for seat in range(len(match.roles)))


def _broken(match: Match, reply: str, what: str) -> BrokenPromiseError:
    replies = [str(turn.response)[:200] for turn in match.turns]
    return BrokenPromiseError(f"{match.game}, seed {match.seed}: {str(reply)[:500]!r} {what}, after {replies!r}")


def bridged_games() -> list[str]:
    """Returns every game of the bridges that works; of TextArena's ids, the one that shows a game as it is meant."""
    from spiral_envs.bridges import openspiel, pettingzoo, textarena

    return [
        *(f"openspiel:{status.example}" for status in openspiel.game_statuses() if status.works),
        *(f"pettingzoo:{status.name}" for status in pettingzoo.game_statuses() if status.works),
        *(
            status.id
            for status in textarena.game_statuses()
            if status.works and not status.id.endswith(("-train", "-raw"))
        ),
    ]


def resident_mib() -> float:
    """Returns the memory that the process holds now, in MiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


def memory_growth(game: str, num_matches: int, *, seed: int) -> float:
    """Returns how many MiB the process grows by over `num_matches` matches, after as many to fill its caches.

    A game whose moves are not listed is played by hostile replies, which end it soon.
    """
    before = 0.0
    for part in range(2):
        before = resident_mib()
        rng = random.Random(f"{game} {seed}")
        for number in range(num_matches):
            match = spiral_envs.make_match(game, seed=seed + part * num_matches + number)
            while match.seat_to_move is not None:
                legal = match.view(match.seat_to_move).legal_moves
                match.submit(rng.choice(legal) if legal else random_hostile(rng, ()))
    return resident_mib() - before


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the fuzzing and the measurement of memory; returns 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=1_000_000, help="hostile replies in all")
    parser.add_argument(
        "--matches",
        type=int,
        default=10_000,
        help="matches of each game over which memory is compared, after as many before",
    )
    parser.add_argument(
        "--games", nargs="+", default=list(spiral_envs.game_ids()), help="ids, with options if you like"
    )
    parser.add_argument("--bridges", action="store_true", help="also every game of the bridges that works")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    games = [*args.games, *(bridged_games() if args.bridges else ())]
    # Wide enough for every column, whatever the width of the terminal.
    console = Console(width=max(120, Console().width))
    # Before the replies, which leave room in the memory of the process where growth would not show.
    growth = {game: memory_growth(game, args.matches, seed=args.seed) for game in args.games}
    worst = max(growth, key=lambda game: growth[game])
    console.print(
        f"Memory: {args.matches:,} matches after the first {args.matches:,} of each game took at most"
        f" {growth[worst]:+.1f} MiB, in {worst}."
    )
    each = -(-args.replies // len(games))
    tallies: list[Tally] = []
    broken: list[BrokenPromiseError] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("hostile replies", total=each * len(games))
        for number, game in enumerate(games):
            tally = Tally(game)
            try:
                for tally in fuzz(game, num_replies=each, seed=args.seed):
                    progress.update(task, completed=number * each + tally.replies, description=game)
            except BrokenPromiseError as error:
                broken.append(error)
            tallies.append(tally)
    console.print(_table(tallies))
    for error in broken:
        console.print(f"broken promise: {error}", markup=False, style="red")
    console.print("A promise was broken." if broken else "No promise was broken.")
    return 1 if broken else 0


def _table(tallies: list[Tally]) -> Table:
    kinds = sorted({kind for tally in tallies for kind in tally.endings})
    table = Table("game", "replies", "matches", *kinds, "slowest, ms")
    for tally in tallies:
        counts = [f"{tally.endings[kind]:,}" for kind in kinds]
        table.add_row(tally.game, f"{tally.replies:,}", f"{tally.matches:,}", *counts, f"{1000 * tally.slowest_s:.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
