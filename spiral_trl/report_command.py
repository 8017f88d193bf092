"""The command `spiral-report`: makes one offline page of a run, also while it goes on and after a crash."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from spiral_envs.errors import MissingExtraError

_EXAMPLES: Final = """\
examples:
  spiral-report runs/quickstart
  spiral-report runs/quickstart --game kuhn_poker --steps 100-150 --games 20 --out kuhn.html
  spiral-report runs/quickstart --against league
"""

_STEPS: Final = re.compile(r"(\d{1,18})?(-)?(\d{1,18})?", re.ASCII)


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the page and exits: 0 when it is written, 2 on bad input."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        # Heavy, and missing without the extra.
        from spiral_envs.printable import one_line
        from spiral_trl.replays import GAMES_SHOWN, GameFilter
        from spiral_trl.report import ReportError, write_report
    except ModuleNotFoundError as error:
        sys.exit(f"spiral-report: {MissingExtraError(f'a report (no module {error.name})', 'train')}")
    first_step, last_step = arguments.steps
    run: Path = arguments.run
    page: Path = arguments.out or run / "report.html"
    try:
        chosen = write_report(
            run,
            page=page,
            games_shown=GAMES_SHOWN if arguments.games is None else arguments.games,
            accepted=GameFilter(arguments.game, first_step, last_step, arguments.against),
        )
    except OSError as error:
        parser.exit(
            2, f"spiral-report: cannot read or write {one_line(str(error.filename or run))}: {error.strerror}\n"
        )
    except ReportError as error:
        parser.exit(2, f"spiral-report: {one_line(str(error))}\n")
    sys.stdout.write(
        f"report: {one_line(str(page))} ({page.stat().st_size / 1e6:.1f} MB,"
        f" {len(chosen.replays)} of {chosen.num_accepted:,} games)\n"
    )


def make_parser() -> argparse.ArgumentParser:
    """Returns what reads the command line."""
    parser = argparse.ArgumentParser(
        prog="spiral-report",
        description="Makes one HTML page of a run: how it stands, curves, tables and games to read. The page needs"
        " no network and no other file. It can be made at any time, also while the run goes on.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of the run, the output_dir of spiral-train")
    parser.add_argument("--out", metavar="FILE", type=Path, help="the page to write; by default RUN/report.html")
    parser.add_argument("--games", metavar="N", type=_count, help="most games of each kind on the page; by default 6")
    parser.add_argument("--game", metavar="NAME", help="only this game: its label, or its name without options")
    parser.add_argument(
        "--steps", metavar="A-B", type=_steps, default=(None, None), help="only games of these steps: 100-150, 100-, 7"
    )
    parser.add_argument(
        "--against",
        metavar="KIND",
        help="only games against this: self, league, league:STEP, or an agent such as random",
    )
    return parser


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected a number of games from 0, got {text!r}")
    return int(text)


def _steps(text: str) -> tuple[int | None, int | None]:
    """Returns the first and the last step of `A-B`, `A-`, `-B` or `A`; None where it is open."""
    match = _STEPS.fullmatch(text)
    if match is None or match[1] is match[3] is None:
        raise argparse.ArgumentTypeError(f"expected steps as A-B, A- or A, got {text!r}")
    first = int(match[1]) if match[1] else None
    last = int(match[3]) if match[3] else None
    if match[2] is None:
        last = first
    if first is not None and last is not None and first > last:
        raise argparse.ArgumentTypeError(f"expected the first step before the last, got {text!r}")
    return first, last


if __name__ == "__main__":
    main()
