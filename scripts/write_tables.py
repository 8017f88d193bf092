"""Writes the tables that the documents take from the package: `python scripts/write_tables.py`.

The games of the README come from the registry, those of docs/bridges.md from the bridges, as Python 3.11 sees them. A
table stands between two comments that name it, `<!-- games -->` and `<!-- /games -->`. The tests compare what stands
there with what is written.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import spiral_envs
from spiral_envs.bridges import openspiel, pettingzoo, textarena

ROOT: Final = Path(__file__).parent.parent


def games_table() -> str:
    """Returns the games: facts from the registry, moves from each game's own page."""
    return _table(
        ("id", "players", "moves", "options", "returns", "longest game", "hidden information", "actions"),
        map(_game_row, spiral_envs.game_ids()),
    )


def _game_row(game_id: str) -> tuple[str, ...]:
    spec = spiral_envs.find_game(game_id)
    page = inspect.getdoc(sys.modules[type(spec.game).__module__]) or ""
    section = page.partition("\nMoves:")[2].partition("\nReturns:")[0].partition("\nOptions:")[0]
    moves = dict.fromkeys(re.findall(r"`\[[^`]*\]`", section))
    options = inspect.signature(spec.configure).parameters.values() if spec.configure else ()
    low, high = spec.return_range
    return (
        f"`{game_id}`",
        ", ".join(spec.roles),
        ", ".join(moves),
        ", ".join(f"`{option.name}={option.default}`" for option in options) or "none",
        f"{low:+g} to {high:+g}".replace("-", "−"),
        f"{spec.game.max_plies} turns",
        "no" if spec.perfect_information else "yes",
        str(len(spec.discrete.moves)) if spec.discrete else "text only",
    )


def openspiel_works() -> str:
    """Returns the games of OpenSpiel that work."""
    rows = (
        (
            f"`openspiel:{status.example}`",
            str(status.players),
            _yes(status.zero_sum),
            _yes(status.hidden_information),
            _yes(status.simultaneous),
            status.untested,
        )
        for status in openspiel.game_statuses()
        if status.works
    )
    return _table(("game", "players", "zero-sum", "hidden information", "simultaneous", "not tested"), rows)


def openspiel_refused() -> str:
    """Returns the games of OpenSpiel that are refused."""
    rows = ((f"`openspiel:{status.name}`", status.reason) for status in openspiel.game_statuses() if not status.works)
    return _table(("game", "why it cannot work"), rows)


def pettingzoo_games() -> str:
    """Returns PettingZoo's classic environments."""
    rows = (
        (
            f"`pettingzoo:{status.name}`",
            str(status.players or ""),
            _yes(status.zero_sum) if status.works else "",
            _yes(status.hidden_information) if status.works else "",
            ", ".join(f"`{option}`" for option in status.options),
            status.reason or "works",
        )
        for status in pettingzoo.game_statuses()
    )
    return _table(("environment", "players", "zero-sum", "hidden information", "options", "status"), rows)


def textarena_works() -> str:
    """Returns the games of TextArena that work, a row a game with its ids."""
    games: dict[str, list[textarena.Status]] = {}
    for status in textarena.game_statuses():
        if status.works:
            games.setdefault(status.id.rpartition("-v0")[0], []).append(status)
    rows: list[tuple[str, ...]] = []
    for name, statuses in sorted(games.items()):
        ids = {status.id for status in statuses}
        # The text above the table says that every id has these two forms as well.
        others = {f"{game_id}-{form}" for game_id in ids for form in ("train", "raw")}
        variants = ", ".join(f"`{game_id.removeprefix(name)}`" for game_id in sorted(ids - others))
        if ids - others != {game_id for game_id in ids if {f"{game_id}-train", f"{game_id}-raw"} <= ids}:
            raise ValueError(f"{name} has ids without the forms -train and -raw: {sorted(ids)}")
        players = sorted({number for status in statuses for number in status.players})
        seats = str(players[0]) if len(players) == 1 else f"{players[0]} to {players[-1]}"
        rows.append((f"`{name}`", variants, seats, " ".join(dict.fromkeys(status.note for status in statuses)).strip()))
    return _table(("game", "ids", "players", "what is odd about it"), rows)


def textarena_refused() -> str:
    """Returns why ids of TextArena are refused, with the games that it holds for."""
    reasons: dict[str, list[str]] = {}
    for status in textarena.game_statuses():
        if not status.works:
            name, _, reason = status.reason.partition(" cannot work here: ")
            reasons.setdefault(reason, []).append(name.removeprefix("textarena:").rpartition("-v0")[0])
    rows = (
        (reason, str(len(names)), ", ".join(f"`{name}`" for name in dict.fromkeys(names)))
        for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1]))
    )
    return _table(("why it cannot work", "ids", "games"), rows)


def speeds() -> str:
    """Returns the measured speed of every game, as ratios, from the last stored run of throughput.py envs."""
    rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in _measured()["rows"]:
        rows.setdefault((row["game"], row["reply"]), {})[row["runner"]] = row
    return _table(
        ("game", "replies", "µs a turn: match loop, raw_env", *(f"× {other}" for other in OTHERS)),
        (
            (
                game,
                reply,
                ", ".join(f"{1e6 / median(runners[ours]['turns_per_s']):.1f}" for ours in OURS if ours in runners),
                *(_ratios(runners, other) for other in OTHERS),
            )
            for (game, reply), runners in rows.items()
        ),
    )


def _ratios(runners: Mapping[str, Mapping[str, Any]], other: str) -> str:
    """Returns how many times as fast as another the match loop and the environment are, where it has the game."""
    ratios = [
        runners[ours]["times_as_fast"][other]
        for ours in OURS
        if ours in runners and other in runners[ours]["times_as_fast"]
    ]
    return ", ".join(f"{median(ratio):.2f} [{min(ratio):.2f}, {max(ratio):.2f}]" for ratio in ratios)


def starts() -> str:
    """Returns what every game costs before its first turn, from the same run."""
    libraries = ("spiral_envs", "textarena", "open_spiel", "pettingzoo")
    games: dict[str, dict[str, dict[str, float]]] = {}
    for start in _measured()["starts"]:
        games.setdefault(start["game"], {})[start["library"]] = start
    return _table(
        ("game", *(f"{library}: import s, first turn ms, MiB" for library in libraries)),
        (
            (game, *(_start(by_library[library]) if library in by_library else "" for library in libraries))
            for game, by_library in games.items()
        ),
    )


def _start(start: Mapping[str, float]) -> str:
    return f"{start['import_s']:.2f}, {1000 * start['first_turn_s']:.1f}, {start['mib_per_thousand']:.1f}"


def _measured() -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / "throughput_envs.json").read_text(encoding="utf-8"))


OURS: Final = ("match loop", "raw_env", "raw_env, discrete")

OTHERS: Final = ("TextArena", "OpenSpiel with text", "PettingZoo classic")


def untested_laws() -> str:
    """Returns what cannot be tested of a bridged game, bridge by bridge."""
    bridges = {"textarena": textarena, "openspiel": openspiel, "pettingzoo": pettingzoo}
    rows = (
        (f"`{name}:`", law, reason) for name, bridge in bridges.items() for law, reason in bridge.UNTESTED_LAWS.items()
    )
    return _table(("bridge", "law", "why it is not fully tested"), rows)


def _yes(claim: bool) -> str:
    return "yes" if claim else "no"


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


TABLES: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "README.md": {"games": games_table},
    "docs/bridges.md": {
        "untested laws": untested_laws,
        "textarena works": textarena_works,
        "textarena refused": textarena_refused,
        "openspiel works": openspiel_works,
        "openspiel refused": openspiel_refused,
        "pettingzoo": pettingzoo_games,
    },
    "docs/speed.md": {"speeds": speeds, "starts": starts},
}
"""The tables of every document, by their names."""


def with_tables(document: str) -> str:
    """Returns the text of a document with its tables as they should be.

    Raises:
        ValueError: A table has no place in it, or several.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    for name, build in TABLES[document].items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{document} needs one place for the table {name!r}: {begin.strip()} ... {end.strip()}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{build()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for document, tables in TABLES.items():
        written = with_tables(document)
        (ROOT / document).write_text(written, encoding="utf-8")
        print(f"wrote {', '.join(tables)} in {document}")
