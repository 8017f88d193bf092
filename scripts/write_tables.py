"""Writes the tables that the documents take from the package: `python scripts/write_tables.py`.

The games of the README come from the registry, those of docs/bridges.md from the bridges. A table stands between two
comments that name it, `<!-- games -->` and `<!-- /games -->`. The tests compare what stands there with what is written.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import spiral_envs

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


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


TABLES: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "README.md": {"games": games_table},
}
"""The tables of every document, by their names."""


def with_tables(document: str) -> str:
    """Returns the text of a document with its tables as they should be.

    Raises:
        ValueError: A table has no place in it, or several.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    for name, build in TABLES[document].items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{document} needs one place for the table {name!r}: {begin.strip()} ... {end.strip()}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{build()}{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for document, tables in TABLES.items():
        written = with_tables(document)
        (ROOT / document).write_text(written, encoding="utf-8")
        print(f"wrote {', '.join(tables)} in {document}")
