"""How much of a tournament is played: finished games against planned ones, and who has none."""

# A tournament's settings come from JSON.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spiral_envs.arena.records import GameRecord


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is finished of what was planned.

    Which matchups were asked for is not recorded, so a matchup counts as planned once one of its games is finished.

    Attributes:
        num_games: How many games are finished.
        num_pairs: How many pairs have a finished game.
        num_matchups: In how many games any two agents met.
        num_complete: How many of those have all their pairs; None where the settings do not tell how many those are.
        num_missing: How many games the others lack; None where the settings do not tell.
        pairs: How many pairs a matchup has; None where the settings do not tell.
        without_games: The agents and games of the settings of which no game is finished.
    """

    num_games: int
    num_pairs: int
    num_matchups: int
    num_complete: int | None
    num_missing: int | None
    pairs: int | None
    without_games: tuple[str, ...]


def coverage(games: Sequence[GameRecord], settings: Mapping[str, Any]) -> Coverage:
    """Returns how much is played, by the settings in `tournament.json`."""
    matchups: dict[tuple[str, frozenset[str]], list[int]] = {}
    for game in games:
        matchups.setdefault((game.game, frozenset(game.agents)), []).append(game.pair)
    given = settings.get("pairs")
    pairs = given if isinstance(given, int) and given > 0 else None
    missing = None if pairs is None else [max(0, 2 * pairs - len(played)) for played in matchups.values()]
    seen = {game.game for game in games} | {agent for game in games for agent in game.agents}
    return Coverage(
        num_games=len(games),
        num_pairs=sum(len(set(played)) for played in matchups.values()),
        num_matchups=len(matchups),
        num_complete=None if missing is None else missing.count(0),
        num_missing=None if missing is None else sum(missing),
        pairs=pairs,
        without_games=tuple(
            name for key in ("agents", "games") for name in _texts(settings.get(key)) if name not in seen
        ),
    )


def _texts(value: object) -> Iterable[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
