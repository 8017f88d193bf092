"""The command `spiral-arena`: `run` plays a tournament into a folder, `report` makes ratings and a page of it."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from spiral_envs import __version__
from spiral_envs.agents import make_agent
from spiral_envs.arena.budget import Caps, Price, parse_price
from spiral_envs.arena.folder import FolderError
from spiral_envs.arena.plan import Asking, Plan, make_plan, read_entrant, read_entrants
from spiral_envs.arena.records import GAMES_FILE, LUCK_FILE, TOURNAMENT_FILE
from spiral_envs.arena.tournament import MAX_FAILURES, AbandonedError, Ending, Settings, play_tournament
from spiral_envs.errors import MissingExtraError
from spiral_envs.json_lines import JsonLines
from spiral_envs.match import InvalidMove
from spiral_envs.printable import one_line

if TYPE_CHECKING:
    from spiral_envs.arena.standing_records import Standings

DONE: Final = 0

UNFINISHED: Final = 1
"""Games are left that could not be played."""

BAD_INPUT: Final = 2

SPENT: Final = 3
"""A cap was reached."""

INTERRUPTED: Final = 130

_MAX_DIGITS: Final = 15

_EXAMPLES: Final = """\
examples:
  spiral-arena run --ladder --agents hf:runs/quickstart/final --games tic_tac_toe_v0 kuhn_poker_v0 --out arena
  spiral-arena run --agents random minimax mcts:100 --games tic_tac_toe_v0 --pairs 50 --out arena
  spiral-arena run --agents random openai:MODEL@URL --price openai:MODEL@URL=0.15,0.60 --max-cost 5 \\
      --games kuhn_poker_v0 --out arena
  spiral-arena report arena

The same run command goes on with a tournament that was stopped, and with more agents, games or pairs it extends it.
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and exits.

    The exit code is 0 when everything is done, 1 when games are left that could not be played, 2 on bad input, 3 when a
    cap was reached, 130 on Ctrl-C.
    """
    arguments = make_parser().parse_args(argv)
    try:
        code = _report(arguments) if arguments.command == "report" else _run(arguments)
    except AbandonedError:
        # The threads that still wait for a reply would be waited for. All files are closed after each write.
        sys.stderr.write("\nspiral-arena: stopped without the replies that were under way\n")
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    except KeyboardInterrupt:
        sys.stderr.write("\nspiral-arena: stopped; the same command goes on\n")
        sys.exit(INTERRUPTED)
    except OSError as error:
        _fail(f"cannot read or write {error.filename or 'a file'}: {error.strerror or error}")
    except (FolderError, MissingExtraError, _BadInputError) as error:
        _fail(str(error))
    sys.exit(code)


class _BadInputError(Exception):
    """What was asked for cannot be done; the message says why."""


def _run(arguments: argparse.Namespace) -> int:
    """Plays a tournament and returns the exit code."""
    try:
        plan, notes = _plan(arguments)
        prices = _prices(arguments.price, plan)
        _check_caps(arguments, plan, prices)
        _check_endpoints(plan)
    except ValueError as error:
        raise _BadInputError(str(error)) from error
    for note in notes:
        _say(f"note: {note}")
    settings = Settings(
        concurrency=arguments.concurrency,
        batch_size=arguments.batch_size,
        models_in_memory=arguments.models_in_memory,
        caps=Caps(cost=arguments.max_cost, tokens=arguments.max_tokens, hours=arguments.max_hours),
        prices=prices,
        code=__version__,
    )
    folder: Path = arguments.out
    if arguments.quiet:
        ending = play_tournament(folder, plan, settings)
    else:
        ending = _play_in_view(folder, plan, settings)
        _write("\n".join(["", *score_lines(ending), ""]))
    return _finish(folder, ending, is_quiet=arguments.quiet)


def _play_in_view(folder: Path, plan: Plan, settings: Settings) -> Ending:
    try:
        from spiral_envs.arena.run_view import view_of_terminal
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the progress view (no module {error.name})", "arena") from error
    with view_of_terminal() as view:
        return play_tournament(folder, plan, settings, watch=view.show)


def _finish(folder: Path, ending: Ending, *, is_quiet: bool) -> int:
    """Says what is left and what to do next, and returns the exit code."""
    progress = ending.progress
    left = progress.total - progress.done
    for agent, reason in ending.set_aside.items():
        _say(f"{agent} was set aside after {MAX_FAILURES} games in a row that it could not play: {reason}")
    if ending.why_stopped is not None:
        _say(f"{left:,} of {progress.total:,} games are left: {ending.why_stopped}")
        return SPENT
    if left:
        _say(
            f"{left:,} of {progress.total:,} games are left, {progress.aborted:,} of them aborted;"
            " the same command tries them again"
        )
        return UNFINISHED
    if not is_quiet:
        _write(f"Next: spiral-arena report {shlex.quote(str(folder))}\n")
    return DONE


def _plan(arguments: argparse.Namespace) -> tuple[Plan, list[str]]:
    """Returns what is played, and the notes on who is left out of what."""
    ladder: Callable[[str], Iterable[str]] | None = None
    if arguments.ladder:
        from spiral_envs.arena.ladder import ladder
    return make_plan(
        read_entrants(arguments.agents),
        arguments.games,
        pairs=arguments.pairs,
        seed=arguments.seed,
        invalid_move=InvalidMove(arguments.invalid_move),
        against=arguments.against,
        ladder=ladder,
    )


def _prices(given: Iterable[str], plan: Plan) -> dict[str, Price]:
    """Returns what is in `AGENT=IN,OUT`, by the name of the agent.

    Raises:
        ValueError: One cannot be read, or is of an agent that does not take part.
    """
    prices: dict[str, Price] = {}
    for text in given:
        # An agent string may hold a = of its own.
        agent, equals, price = text.rpartition("=")
        if not equals:
            raise ValueError(f"cannot read --price {text!r}: expected AGENT=IN,OUT in US dollars a million tokens")
        name = read_entrant(agent).name
        if name not in plan.entrants:
            raise ValueError(f"--price names the agent {agent!r}, which does not take part")
        prices[name] = parse_price(price)
    return prices


def _check_caps(arguments: argparse.Namespace, plan: Plan, prices: Mapping[str, Price]) -> None:
    """Raises ValueError when there is a cap on the cost, but an endpoint has no price."""
    if arguments.max_cost is None:
        return
    for entrant in plan.entrants.values():
        if entrant.asking is Asking.BY_REQUEST and entrant.name not in prices:
            raise ValueError(f"--max-cost needs the price of every endpoint: --price {entrant.agent_string}=IN,OUT")


def _check_endpoints(plan: Plan) -> None:
    """Raises ValueError when an endpoint needs a key and there is none."""
    for entrant in plan.entrants.values():
        if entrant.asking is Asking.BY_REQUEST:
            make_agent(entrant.agent_string)


def score_lines(ending: Ending) -> list[str]:
    """Returns a table of who has won what share of its games, best first."""
    rows = [
        (
            one_line(agent),
            f"{score.share:.3f}",
            *map(str, (score.games, score.wins, score.draws, score.losses, score.forfeits)),
        )
        for agent, score in sorted(ending.scores.items(), key=lambda item: (-item[1].share, item[0]))
    ]
    return _table([("agent", "score", "games", "wins", "draws", "losses", "forfeits"), *rows])


def rating_lines(standings: Standings) -> list[str]:
    """Returns a table of the ratings with their intervals, best first, and the notes on them."""
    rows = [
        (
            one_line(each.agent),
            f"{each.rating:+.0f}",
            f"{each.interval.low:+.0f} to {each.interval.high:+.0f}",
            f"{each.games:,}",
        )
        for each in standings.ratings
    ]
    return [
        *_table([("agent", "Elo", "95 % interval", "games"), *rows]),
        *(f"note: {note}" for note in standings.notes),
    ]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table whose first column is text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _report(arguments: argparse.Namespace) -> int:
    """Makes the report and returns the exit code."""
    folder: Path = arguments.folder
    if not (folder / TOURNAMENT_FILE).is_file():
        raise _BadInputError(f"no tournament in {str(folder)!r}: expected a folder that spiral-arena run has written")
    try:
        from spiral_envs.arena.report import write_report
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"a report (no module {error.name})", "arena") from error
    try:
        files = write_report(
            folder,
            out=arguments.out,
            seed=arguments.seed,
            resamples=arguments.resamples,
            anchor=arguments.anchor,
            games_shown=arguments.games_shown,
        )
        luck = _write_luck(folder, files.page.parent) if arguments.aivat else []
    except ValueError as error:
        raise _BadInputError(str(error)) from error
    _write("\n".join([*rating_lines(files.standings), *luck, f"report: {one_line(str(files.page))}", ""]))
    return DONE


def _write_luck(folder: Path, out: Path) -> list[str]:
    """Writes the returns less the luck of the deals beside the report, and returns what to say of them.

    Raises:
        MissingExtraError: OpenSpiel is not installed.
        ValueError: A game does not replay, or there is none of a kind in which luck can be told.
    """
    from spiral_envs.arena.aivat import corrected_matchups, matchup_table

    matchups = corrected_matchups(JsonLines(folder / GAMES_FILE).read())
    if not matchups:
        raise ValueError("--aivat found no pair of games of cards or dice for two, small enough to be solved")
    path = out / LUCK_FILE
    path.write_text(matchup_table(matchups) + "\n", encoding="utf-8")
    return [f"less luck: {one_line(str(path))}"]


def make_parser() -> argparse.ArgumentParser:
    """Returns what reads the command line."""
    parser = _Parser(
        prog="spiral-arena",
        description="Rate agents against each other: who is stronger, by how much, and how sure that is.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="play a tournament into a folder",
        description="Play role-swapped pairs of games between every two agents, and go on where a run was stopped.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_what(run)
    _add_how(run)
    _add_caps(run)
    report = commands.add_parser("report", help="make ratings, tables and a page of a tournament")
    report.add_argument("folder", metavar="DIR", type=Path, help="a folder that spiral-arena run has written")
    report.add_argument("--out", metavar="DIR", type=Path, help="where the report goes; DIR/report if missing")
    report.add_argument("--anchor", metavar="AGENT", help="whose rating is 0; the mean of all if missing")
    report.add_argument(
        "--aivat",
        action="store_true",
        help="write luck.md as well: returns in games of cards and dice, less the luck of the deals",
    )
    report.add_argument(
        "--resamples", type=_two_or_more, default=1000, metavar="N", help="draws of the bootstrap (default: 1000)"
    )
    report.add_argument("--seed", type=_whole_number, default=0, metavar="N", help="of the bootstrap (default: 0)")
    report.add_argument(
        "--games-shown", type=_whole_number, default=200, metavar="N", help="most games on the page (default: 200)"
    )
    return parser


def _add_what(run: argparse.ArgumentParser) -> None:
    what = run.add_argument_group("what is played")
    what.add_argument(
        "--agents",
        nargs="+",
        metavar="AGENT",
        default=[],
        help="random, first, greedy, minimax, mcts:N, cfr, hf:PATH_OR_ID, vllm:PATH_OR_ID, openai:MODEL@URL, ...;"
        " hf:RUN?step=all stands for every checkpoint in the folder RUN",
    )
    what.add_argument("--ladder", action="store_true", help="add the reference agents of each game")
    what.add_argument("--games", nargs="+", metavar="GAME", required=True, help="such as kuhn_poker_v0(hands=3)")
    what.add_argument(
        "--pairs", type=_count, default=20, metavar="N", help="pairs of games a matchup and game plays (default: 20)"
    )
    what.add_argument("--out", metavar="DIR", type=Path, required=True, help="the tournament's folder")
    what.add_argument(
        "--against", nargs="+", metavar="AGENT", default=[], help="play only matchups in which one of these sits"
    )
    what.add_argument("--seed", type=_whole_number, default=0, metavar="N", help="decides all deals (default: 0)")
    what.add_argument(
        "--invalid-move",
        choices=[policy.value for policy in InvalidMove],
        default=InvalidMove.FORFEIT.value,
        help="what a fault costs: the game (default), or the choice of the move",
    )


def _add_how(run: argparse.ArgumentParser) -> None:
    how = run.add_argument_group("how it is played")
    usual = Settings()
    how.add_argument(
        "--concurrency", type=_count, default=usual.concurrency, metavar="N", help="games in progress (default: 64)"
    )
    how.add_argument(
        "--batch-size",
        type=_count,
        default=usual.batch_size,
        metavar="N",
        help="most replies that a model on this machine writes at once (default: 64)",
    )
    how.add_argument(
        "--models-in-memory",
        type=_two_or_more,
        default=usual.models_in_memory,
        metavar="N",
        help="most hf: and vllm: models loaded at once (default: 2)",
    )
    how.add_argument("--quiet", action="store_true", help="show neither progress nor scores")


def _add_caps(run: argparse.ArgumentParser) -> None:
    caps = run.add_argument_group("what it may cost", "Where a cap is reached the run stops with exit code 3.")
    caps.add_argument(
        "--price",
        action="append",
        default=[],
        metavar="AGENT=IN,OUT",
        help="what an endpoint asks for, in US dollars a million tokens read and written",
    )
    caps.add_argument("--max-cost", type=_amount, metavar="USD", help="of the whole tournament")
    caps.add_argument("--max-tokens", type=_count, metavar="N", help="read and written by endpoints, whole tournament")
    caps.add_argument("--max-hours", type=_amount, metavar="H", help="of this run of the command")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Exits with the message."""
        _fail(message)


def _whole_number(text: str) -> int:
    # int() would read "1_0", " 1" and digits of other scripts as well.
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise argparse.ArgumentTypeError(f"expected an integer from 0, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected an integer from 1, got {text!r}")
    return number


def _two_or_more(text: str) -> int:
    number = _count(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"expected an integer from 2, got {text!r}")
    return number


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def _write(text: str) -> None:
    # A name may hold half a surrogate pair, which no terminal can show.
    sys.stdout.write(text.encode(errors="backslashreplace").decode())


def _say(text: str) -> None:
    sys.stderr.write(f"spiral-arena: {one_line(text)}\n")


def _fail(message: str) -> NoReturn:
    _say(message)
    sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
