"""The written result of a tournament: tables, pictures, and one page with the games to read.

Everything is made from the files of the tournament alone, so that a report can be made anew at any time, also of a
tournament that still runs or was killed.
"""

# A tournament's settings come from JSON.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from spiral_envs.arena.checkpoints import trained_runs
from spiral_envs.arena.coverage import coverage
from spiral_envs.arena.page import Page, render
from spiral_envs.arena.pictures import (
    heatmap_picture,
    ratings_picture,
    seat_terms_picture,
    seats_picture,
    steps_picture,
)
from spiral_envs.arena.records import ABORTED_FILE, GAMES_FILE, REPORT_FOLDER, TOURNAMENT_FILE
from spiral_envs.arena.replay_view import GAMES_SHOWN, GamesFile
from spiral_envs.arena.standing_records import Matchup, Standings
from spiral_envs.arena.standings import standings
from spiral_envs.arena.tables import markdown, write_csv, write_parquet
from spiral_envs.json_lines import JsonLines
from spiral_envs.printable import one_line

RESAMPLES: Final = 1000
"""How often pairs are drawn anew for the intervals unless something else is asked for."""


class ReportError(ValueError):
    """There is nothing to report; the message is one line."""


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """What a report was written to, and what it says.

    Attributes:
        folder: Where all of it is.
        page: The page, `report.html`.
        markdown: The tables to read, `report.md`.
        tables: The tables for programs: CSV files and `games.parquet`.
        pictures: PNG files.
        standings: The figures.
        num_games: How many games they are made of.
        num_shown: How many of them can be read on the page.
        num_unreadable: How many lines of `games.jsonl` hold no game.
    """

    folder: Path
    page: Path
    markdown: Path
    tables: tuple[Path, ...]
    pictures: tuple[Path, ...]
    standings: Standings
    num_games: int
    num_shown: int
    num_unreadable: int


def write_report(
    folder: Path,
    *,
    out: Path | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    anchor: str | None = None,
    games_shown: int = GAMES_SHOWN,
) -> ReportFiles:
    """Writes the report of a tournament, which may still be running.

    Every file is written whole or not at all, the page last. Pictures of an earlier report that this one has no use
    for are removed.

    Args:
        folder: The tournament's.
        out: Where to write; None for `report` in the folder.
        seed: Of the random numbers that draw pairs anew.
        resamples: How often they are drawn.
        anchor: The agent whose rating is 0; None for the mean of all.
        games_shown: The most games that can be read on the page.

    Raises:
        ReportError: There is no such folder, no finished game of two agents in it, or none of the anchor; or a
            number is out of range.
        OSError: A file cannot be read or written.
    """
    if games_shown < 0:
        raise ReportError(f"cannot show {games_shown} games: expected 0 or more")
    file = _games_file(folder)
    games = file.games
    aborted = JsonLines(folder / ABORTED_FILE).read()
    try:
        figures = standings(games, aborted=aborted, seed=seed, resamples=resamples, anchor=anchor)
    except ValueError as error:
        raise ReportError(one_line(str(error))) from error
    replays = file.replays(games_shown)
    settings = _settings(folder / TOURNAMENT_FILE)
    target = out or folder / REPORT_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".unfinished-", dir=target) as name:
        unfinished = Path(name)
        pictures = _write_pictures(unfinished, figures)
        tables = [*write_csv(figures, unfinished), write_parquet(games, unfinished)]
        report = _written(unfinished / "report.md", _markdown(figures, pictures).encode())
        page = Page(
            title=folder.resolve().name,
            standings=figures,
            replays=replays,
            coverage=coverage(games, settings),
            num_unreadable=file.num_unreadable,
            anchor=anchor,
            settings=settings,
            command=_command(folder, out=out, seed=seed, resamples=resamples, anchor=anchor, games_shown=games_shown),
            pictures=[path.name for path in pictures],
            last_change=datetime.fromtimestamp(file.path.stat().st_mtime, UTC),
            made=datetime.now(UTC),
        )
        html = _written(unfinished / "report.html", render(page).encode())
        # The page comes last: what it names is there when it is.
        moved = [_moved(path, target) for path in (*pictures, *tables, report, html)]
    _remove_old_pictures(target, moved)
    return ReportFiles(
        folder=target,
        page=target / html.name,
        markdown=target / report.name,
        tables=tuple(target / path.name for path in tables),
        pictures=tuple(target / path.name for path in pictures),
        standings=figures,
        num_games=len(games),
        num_shown=replays.num_shown,
        num_unreadable=file.num_unreadable,
    )


def _games_file(folder: Path) -> GamesFile:
    if not folder.is_dir():
        raise ReportError(f"no such folder: {folder}")
    file = GamesFile.read(folder / GAMES_FILE)
    if not file.lines:
        found = f"{file.num_unreadable} lines but no finished game" if file.num_unreadable else "no finished game"
        raise ReportError(f"nothing to report: {GAMES_FILE} in {folder} holds {found}{_why_none(folder)}")
    return file


def _why_none(folder: Path) -> str:
    """Returns how many attempts were aborted, and why the last one was; empty when none were."""
    attempts = JsonLines(folder / ABORTED_FILE).read()
    if not attempts:
        return ""
    reason = one_line(str(attempts[-1].get("reason", "unknown")))
    return f"; errors aborted {len(attempts):,} {'attempt' if len(attempts) == 1 else 'attempts'}, the last: {reason}"


def _write_pictures(folder: Path, figures: Standings) -> list[Path]:
    """Writes what there is to draw."""
    paths = [_written(folder / "ratings.png", ratings_picture(figures.ratings))]
    by_game = figures.game_ratings if len(figures.game_ratings) > 1 else figures.game_ratings[:0]
    for number, each in enumerate(by_game, start=1):
        picture = ratings_picture(each.ratings, title=f"Ratings in {each.game}")
        paths.append(_written(folder / f"ratings_{number}_{_file_name(each.game)}.png", picture))
    panels = [("Over training, all games", figures.ratings)]
    panels += [(f"Over training, {each.game}", each.ratings) for each in by_game]
    panels = [(title, ratings) for title, ratings in panels if trained_runs(ratings)]
    if panels:
        paths.append(_written(folder / "training.png", steps_picture(panels)))
    if figures.seat_terms:
        paths.append(_written(folder / "seat_terms.png", seat_terms_picture(figures.seat_terms)))
    if figures.seats:
        paths.append(_written(folder / "seats.png", seats_picture(figures.seats)))
    for name, title, matchups in _heatmaps(figures.matchups):
        picture = heatmap_picture(matchups, _agents_of(figures, matchups), title=title)
        paths.append(_written(folder / name, picture))
    return paths


def _heatmaps(matchups: Sequence[Matchup]) -> list[tuple[str, str, list[Matchup]]]:
    """Returns file name, title and scores of every heatmap: all games first, then each where there are several."""
    by_game: dict[str | None, list[Matchup]] = {}
    for matchup in matchups:
        by_game.setdefault(matchup.game, []).append(matchup)
    found: list[tuple[str, str, list[Matchup]]] = []
    if None in by_game:
        found.append(("heatmap.png", "All games, each counting the same", by_game[None]))
    labels = [game for game in by_game if game is not None]
    if len(labels) > 1:
        found += [
            (f"heatmap_{number}_{_file_name(game)}.png", game, by_game[game])
            for number, game in enumerate(labels, start=1)
        ]
    return found


def _agents_of(figures: Standings, matchups: Sequence[Matchup]) -> list[str]:
    """Returns those who play in these matchups, best first."""
    playing = {matchup.first for matchup in matchups} | {matchup.second for matchup in matchups}
    return [rating.agent for rating in figures.ratings if rating.agent in playing]


def _file_name(label: str) -> str:
    """Returns a part of a file name for a game's label; the number before it keeps two apart that look alike."""
    return re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_")[:60] or "game"


def _markdown(figures: Standings, pictures: Sequence[Path]) -> str:
    images = "\n\n".join(f"![{path.stem.replace('_', ' ')}]({path.name})" for path in pictures)
    return f"{markdown(figures).rstrip()}\n\n## Pictures\n\n{images}\n"


def _settings(path: Path) -> Mapping[str, Any]:
    """Returns what the file holds; nothing when it is missing or no object of JSON."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _command(folder: Path, *, out: Path | None, seed: int, resamples: int, anchor: str | None, games_shown: int) -> str:
    """Returns the command that makes the report anew, with the options that are not as they are without it."""
    words = ["spiral-arena", "report", str(folder)]
    if out is not None:
        words += ["--out", str(out)]
    if seed != 0:
        words += ["--seed", str(seed)]
    if resamples != RESAMPLES:
        words += ["--resamples", str(resamples)]
    if anchor is not None:
        words += ["--anchor", anchor]
    if games_shown != GAMES_SHOWN:
        words += ["--games-shown", str(games_shown)]
    return shlex.join(words)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _moved(path: Path, folder: Path) -> Path:
    """Moves a finished file to where it belongs, in the place of an older one."""
    return path.replace(folder / path.name)


def _remove_old_pictures(folder: Path, written: Sequence[Path]) -> None:
    """Removes the pictures of an earlier report that this one has no use for."""
    for pattern in ("heatmap*.png", "ratings_*.png", "training.png"):
        for old in folder.glob(pattern):
            if old not in written:
                old.unlink()
