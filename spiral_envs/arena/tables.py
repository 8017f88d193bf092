"""The tables of a tournament as files: Markdown for people, CSV and parquet for programs."""

# pyarrow has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final, TypeAlias

from spiral_envs.arena.records import GameRecord
from spiral_envs.arena.standing_records import (
    Aborted,
    Difference,
    FaultCount,
    GameRatings,
    Matchup,
    Rating,
    SeatResult,
    SeatTerm,
    Standings,
    Triple,
)
from spiral_envs.errors import MissingExtraError
from spiral_envs.intervals import Interval
from spiral_envs.printable import one_line, printable

GAMES_TABLE: Final = "games.parquet"

_Record: TypeAlias = Rating | SeatTerm | Matchup | SeatResult | FaultCount | Difference


def markdown(standings: Standings) -> str:
    """Returns all tables as Markdown, in which no name of an agent can act as markup."""
    sections = [
        ("Ratings", _ratings(standings.ratings)),
        ("Ratings by game", _game_ratings(standings.game_ratings)),
        ("Differences", _differences(standings.differences)),
        ("Scores", _scores(standings.ratings, standings.matchups)),
        ("First seats", _seat_terms(standings.seat_terms)),
        ("By seat", _seats(standings.seats)),
        ("Faults", _faults(standings.faults)),
        ("Aborted games", _aborted(standings.aborted)),
        ("Intransitive triples", _triples(standings.triples)),
        ("Notes", [f"- {_shown(note)}" for note in standings.notes]),
    ]
    return "\n".join(f"## {title}\n\n" + "\n".join(lines) + "\n" for title, lines in sections if lines)


def write_csv(standings: Standings, folder: Path) -> list[Path]:
    """Writes a CSV file a table into the folder, with an interval as the columns low and high, and returns the files.

    The columns are the fields of the records in `standing_records.py`; no value is an empty field. A table without rows
    is its head.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write_csv(folder / "ratings.csv", Rating, standings.ratings),
        _write_ratings_by_game(folder / "ratings_by_game.csv", standings.game_ratings),
        _write_csv(folder / "matchups.csv", Matchup, standings.matchups),
        _write_csv(folder / "seat_terms.csv", SeatTerm, standings.seat_terms),
        _write_csv(folder / "seats.csv", SeatResult, standings.seats),
        _write_csv(folder / "faults.csv", FaultCount, standings.faults),
        _write_csv(folder / "differences.csv", Difference, standings.differences),
    ]


def write_parquet(games: Sequence[GameRecord], folder: Path) -> Path:
    """Writes `games.parquet` into the folder, a row a game, and returns the file.

    The columns are those of `GameRecord`, where what a seat has is two columns, such as agent_0 and agent_1, and no
    offender or fault is null.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("parquet", "arena") from error
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in _GAME_COLUMNS.items()])
    rows = [_game_row(game) for game in games]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / GAMES_TABLE
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


_GAME_COLUMNS: Final[dict[str, type[str | int | float]]] = {
    "id": str,
    "game": str,
    "pair": int,
    "agent_0": str,
    "agent_1": str,
    "role_0": str,
    "role_1": str,
    "return_0": float,
    "return_1": float,
    "score": float,
    "offender": int,
    "fault": str,
    "num_turns": int,
    "num_faults_0": int,
    "num_faults_1": int,
}


def _game_row(game: GameRecord) -> dict[str, str | int | float | None]:
    # The text is printable because a file cannot hold half a surrogate pair.
    return {
        "id": printable(game.id),
        "game": printable(game.game),
        "pair": game.pair,
        "agent_0": printable(game.agents[0]),
        "agent_1": printable(game.agents[1]),
        "role_0": printable(game.roles[0]),
        "role_1": printable(game.roles[1]),
        "return_0": game.returns[0],
        "return_1": game.returns[1],
        "score": game.score,
        "offender": game.offender,
        "fault": game.fault or None,
        "num_turns": game.num_turns,
        "num_faults_0": game.num_faults[0],
        "num_faults_1": game.num_faults[1],
    }


def _write_csv(path: Path, record_type: type[_Record], records: Iterable[_Record]) -> Path:
    return _write_rows(path, _columns(record_type), (_flat(asdict(record)) for record in records))


def _write_ratings_by_game(path: Path, game_ratings: Iterable[GameRatings]) -> Path:
    rows = ({"game": each.game, **_flat(asdict(rating))} for each in game_ratings for rating in each.ratings)
    return _write_rows(path, ["game", *_columns(Rating)], rows)


def _columns(record_type: type[_Record]) -> list[str]:
    names = [field.name for field in fields(record_type)]
    return [column for name in names for column in (("low", "high") if name == "interval" else (name,))]


def _write_rows(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a record with the ends of its interval as two fields and numbers by kind as text."""
    if "kinds" in record:
        record["kinds"] = _by_kind(record["kinds"])
    interval = record.pop("interval", None)
    return record if interval is None else {**record, "low": interval.low, "high": interval.high}


_RATING_HEAD: Final = ("#", "agent", "Elo", "95 % interval", "points", "won / drawn / lost", "lost by a fault")


def _ratings(ratings: Sequence[Rating]) -> list[str]:
    has_groups = _has_groups(ratings)
    rows = [_rating_row(place, each, has_groups=has_groups) for place, each in enumerate(ratings, start=1)]
    return _table((*_RATING_HEAD, "group") if has_groups else _RATING_HEAD, rows, left=(1,))


def _rating_row(place: int, rating: Rating, *, has_groups: bool) -> tuple[str, ...]:
    return (
        str(place),
        _shown(rating.agent),
        f"{rating.rating:+.0f}",
        _elo_interval(rating.interval),
        f"{rating.score:.1%}",
        f"{rating.wins} / {rating.draws} / {rating.losses}",
        str(rating.faults),
        *((str(rating.group + 1),) if has_groups else ()),
    )


def _game_ratings(game_ratings: Sequence[GameRatings]) -> list[str]:
    """Returns the ratings of every game; none where there is a single game, whose ratings are those over all."""
    if len(game_ratings) < 2:
        return []
    has_groups = any(_has_groups(each.ratings) for each in game_ratings)
    rows = [
        (_shown(each.game), *_rating_row(place, rating, has_groups=has_groups))
        for each in game_ratings
        for place, rating in enumerate(each.ratings, start=1)
    ]
    head = ("game", *_RATING_HEAD, *(("group",) if has_groups else ()))
    return _table(head, rows, left=(0, 2))


def _has_groups(ratings: Iterable[Rating]) -> bool:
    return len({rating.group for rating in ratings}) > 1


def _differences(differences: Iterable[Difference]) -> list[str]:
    rows = [
        (
            _shown(each.better),
            _shown(each.worse),
            f"{each.difference:+.0f}",
            _elo_interval(each.interval),
            _probability(each.p_value),
            _probability(each.corrected_p_value),
            "better" if each.is_significant else "not shown",
        )
        for each in differences
    ]
    head = ("agent", "against", "Elo", "95 % interval", "p", "p after Holm", "verdict")
    return _table(head, rows, left=(0, 1, 6)) if rows else []


def _scores(ratings: Sequence[Rating], matchups: Iterable[Matchup]) -> list[str]:
    """Returns the points of the agent in the row against that in the column, over all games."""
    overall = {(each.first, each.second): each for each in matchups if each.game is None}
    places = [str(place) for place in range(1, len(ratings) + 1)]
    rows = [
        (place, _shown(row.agent), *(_score(overall.get((row.agent, column.agent))) for column in ratings))
        for place, row in zip(places, ratings, strict=True)
    ]
    return _table(("#", "agent", *(f"against {place}" for place in places)), rows, left=(1,))


def _score(matchup: Matchup | None) -> str:
    if matchup is None:
        return ""
    return f"{matchup.score:.2f} ({matchup.interval.low:.2f} to {matchup.interval.high:.2f})"


def _seat_terms(terms: Iterable[SeatTerm]) -> list[str]:
    rows = [
        (_shown(each.game), _shown(each.first_role), f"{each.effect:+.0f}", _elo_interval(each.interval))
        for each in terms
    ]
    return _table(("game", "first role", "Elo", "95 % interval"), rows, left=(0, 1))


def _seats(seats: Iterable[SeatResult]) -> list[str]:
    rows = [
        (
            _shown(each.agent),
            _shown(each.game),
            str(each.seat),
            _shown(each.role),
            str(each.games),
            str(each.wins),
            str(each.draws),
            str(each.losses),
        )
        for each in seats
    ]
    return _table(("agent", "game", "seat", "role", "games", "won", "drawn", "lost"), rows, left=(0, 1, 3))


def _faults(faults: Iterable[FaultCount]) -> list[str]:
    rows = [
        (
            _shown(each.agent),
            _shown(each.game),
            _shown(each.fault or _harmless(each)),
            str(each.turns),
            f"{each.games} of {each.played}",
        )
        for each in faults
    ]
    return _table(("agent", "game", "fault", "turns", "games"), rows, left=(0, 1, 2)) if rows else []


def _harmless(count: FaultCount) -> str:
    return f"ended no game ({_by_kind(count.kinds)})" if count.kinds else "ended no game"


def _by_kind(kinds: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in kinds)


def _aborted(aborted: Iterable[Aborted]) -> list[str]:
    rows = [(_shown(each.agent), str(each.count), _shown(each.reason)) for each in aborted]
    return _table(("agent", "games", "reason"), rows, left=(0, 2)) if rows else []


def _triples(triples: Iterable[Triple]) -> list[str]:
    rows = [
        (
            *(_shown(agent) for agent in each.agents),
            ", ".join(f"{score:.2f}" for score in each.scores),
            "shown" if each.is_significant else "within the intervals",
        )
        for each in triples
    ]
    head = ("agent", "beats", "which beats, though it beats the first", "scores", "verdict")
    return _table(head, rows, left=(0, 1, 2, 3, 4)) if rows else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[int]) -> list[str]:
    """Returns the lines of a table whose columns `left` are words, and the others numbers."""
    rule = ["---" if place in left else "---:" for place in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _elo_interval(interval: Interval) -> str:
    return f"{interval.low:+.0f} to {interval.high:+.0f}"


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


_MARKUP: Final = re.compile(r"[\\`*\[\]<>&|~$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What can act as Markdown or HTML inside a line; an underscore between letters cannot."""


def _shown(text: str) -> str:
    """Returns text as it stands in a cell: on one line, with entities for what Markdown would act on.

    Entities, since programs differ in what a backslash before `|` means in a table.
    """
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", one_line(text))
