"""The files of a tournament's folder, and its finished games as records.

| file | holds |
|---|---|
| `tournament.json` | what is played: agents, games, pairs, seed |
| `games.jsonl` | a finished game a line: `Episode.to_json()` with `id`, `pair`, `time_s` and `usage` |
| `aborted.jsonl` | an attempt a line that an error of the infrastructure ended, with its `reason` |
| `replies.jsonl` | the replies of paid agents, so that none is paid for twice |
| `report/` | what `spiral-arena report` writes |
"""

# Records come from JSON.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

TOURNAMENT_FILE: Final = "tournament.json"

GAMES_FILE: Final = "games.jsonl"

ABORTED_FILE: Final = "aborted.jsonl"

REPLIES_FILE: Final = "replies.jsonl"

REPORT_FOLDER: Final = "report"

LUCK_FILE: Final = "luck.md"
"""In the folder of the report, when it was asked for."""


class GameRecord(NamedTuple):
    """A finished game of two, as ratings need it.

    Attributes:
        id: Names the game in its tournament.
        game: The game's label, with its options.
        pair: The number of its pair among those of the same game and agents, from 0. The two games of a pair have the
            same seed and the agents in each other's seats.
        agents: Who played, by seat.
        roles: What the rules gave each seat.
        returns: What each seat got.
        offender: The seat whose fault ended the game, or None.
        fault: That fault (`malformed`, `illegal`, `truncated`, `prompt_too_long`); empty without one.
        num_turns: How many turns were taken.
        num_faults: How many of each seat's turns were faults; more than one where a fault costs a random move only.
        fault_kinds: What they were, turn by turn.
    """

    id: str
    game: str
    pair: int
    agents: tuple[str, str]
    roles: tuple[str, str]
    returns: tuple[float, float]
    offender: int | None
    fault: str
    num_turns: int
    num_faults: tuple[int, int]
    fault_kinds: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def score(self) -> float:
        """What the game counts for the agent in seat 0: 1 for a win, 0.5 for a draw, 0 for a loss."""
        first, second = self.returns
        return 0.5 if first == second else float(first > second)


def game_records(records: Iterable[Mapping[str, Any]]) -> list[GameRecord]:
    """Returns the games in the lines of `games.jsonl`, each id once; lines that are no games are left out."""
    games: dict[str, GameRecord] = {}
    for record in records:
        try:
            game = _game_record(record)
        except (KeyError, TypeError, ValueError):
            continue
        games.setdefault(game.id, game)
    return list(games.values())


def _game_record(record: Mapping[str, Any]) -> GameRecord:
    agents, roles, returns, turns = record["agents"], record["roles"], record["returns"], record["turns"]
    kinds: tuple[list[str], list[str]] = ([], [])
    for turn in turns:
        if turn["fault"]:
            kinds[turn["seat"]].append(str(turn["fault"]))
    first_agent, second_agent = agents
    first_role, second_role = roles
    first_return, second_return = returns
    return GameRecord(
        id=str(record["id"]),
        game=str(record["game"]),
        pair=int(record["pair"]),
        agents=(str(first_agent), str(second_agent)),
        roles=(str(first_role), str(second_role)),
        returns=(float(first_return), float(second_return)),
        offender=record["offender"],
        fault=record["fault"] or "",
        num_turns=len(turns),
        num_faults=(len(kinds[0]), len(kinds[1])),
        fault_kinds=(tuple(kinds[0]), tuple(kinds[1])),
    )
