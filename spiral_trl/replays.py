"""Games worth reading, chosen from the stream of all games of a run without holding more than the chosen ones."""

# Records come from JSON.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from spiral_trl.run_files import short_label
from spiral_trl.schedule import LEAGUE, SELF

GAMES_SHOWN: Final = 6
"""How many games of each kind are shown unless something else is asked for."""


@dataclass(frozen=True, slots=True)
class GameFilter:
    """Which games may be chosen; each condition is left out when it is None.

    Attributes:
        game: A game's label, or its name without options, or without version and options.
        first_step: The first step.
        last_step: The last step.
        against: A kind of opponent, or the name of an agent in a seat.
    """

    game: str | None = None
    first_step: int | None = None
    last_step: int | None = None
    against: str | None = None

    def accepts(self, record: Mapping[str, Any]) -> bool:
        """Returns whether a game's record meets all conditions."""
        label, step = record["game"], record["step"]
        return (
            (self.game is None or self.game in (label, label.partition("(")[0], short_label(label)))
            and (self.first_step is None or step >= self.first_step)
            and (self.last_step is None or step <= self.last_step)
            and (self.against is None or self.against in (opponent_of(record), *_others(record)))
        )


@dataclass(frozen=True, slots=True)
class SeatShown:
    """Who sat where in a chosen game.

    Attributes:
        role: What the rules gave the seat.
        agent: Who played it.
        learns: Whether the game's turns of this seat were trained on.
        episode_return: What the seat got; None when the record does not say.
        advantage: What its turns were weighted with; None when the record does not say, or for another's seat.
    """

    role: str
    agent: str
    learns: bool
    episode_return: float | None
    advantage: float | None


@dataclass(frozen=True, slots=True)
class TurnShown:
    """One turn of a chosen game.

    Attributes:
        seat: Who took it.
        observation: What the player saw.
        response: The whole reply.
        move: What was played; empty where the game ended on a fault.
        rule: How the move was found in the reply.
        fault: What was wrong with the reply; empty when nothing was.
        reason: The fault in words.
    """

    seat: SeatShown
    observation: str
    response: str
    move: str
    rule: str
    fault: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replay:
    """One chosen game.

    Attributes:
        step: The step that it was played for.
        number: Its position in the run.
        game: Its label.
        opponent: The kind of opponent.
        why: Why it was chosen.
        seats: Who played.
        termination: How it ended: finished, or by a forfeit.
        reason: The fault that ended it, in words; empty when none did.
        turns: What happened.
    """

    step: int
    number: int
    game: str
    opponent: str
    why: tuple[str, ...]
    seats: tuple[SeatShown, ...]
    termination: str
    reason: str
    turns: tuple[TurnShown, ...]


@dataclass(slots=True)
class Chosen:
    """What was found in the stream of games.

    Attributes:
        replays: The chosen games, by label in the order in which they came up, oldest first.
        games: How many games were played, by label and kind of opponent, whatever the filter.
        turns: How many turns they had.
        num_accepted: How many games the filter let through.
        num_unreadable: How many records were no games.
        last_step: The last step that has a game; None without games.
    """

    replays: list[Replay] = field(default_factory=list)
    games: Counter[tuple[str, str]] = field(default_factory=Counter)
    turns: Counter[tuple[str, str]] = field(default_factory=Counter)
    num_accepted: int = 0
    num_unreadable: int = 0
    last_step: int | None = None


def choose_games(
    records: Iterable[Mapping[str, Any]], *, games_shown: int = GAMES_SHOWN, accepted: GameFilter | None = None
) -> Chosen:
    """Returns games to read and counts of all games, in one pass.

    Of every label: the first and the last game, the newest with a fault of each kind, the longest, the newest against
    each kind of opponent, and then games spread evenly over the run, until there are `games_shown`.

    Args:
        records: The records of `games.jsonl`.
        games_shown: The most games of each label; 0 chooses none.
        accepted: Which games may be chosen.
    """
    accepted = accepted or GameFilter()
    chosen = Chosen()
    candidates: dict[str, _Candidates] = {}
    for record in records:
        if not _is_game(record):
            chosen.num_unreadable += 1
            continue
        kind = (record["game"], opponent_of(record))
        chosen.games[kind] += 1
        chosen.turns[kind] += len(record["turns"])
        chosen.last_step = max(chosen.last_step or 0, record["step"])
        if accepted.accepts(record):
            chosen.num_accepted += 1
            candidates.setdefault(record["game"], _Candidates(games_shown)).add(record)
    chosen.replays = [replay for each in candidates.values() for replay in each.replays()]
    return chosen


def opponent_of(record: Mapping[str, Any]) -> str:
    """Returns the kind of opponent of a game's record; one that says nothing is of the learner against itself."""
    opponent = record.get("opponent")
    if isinstance(opponent, str):
        return opponent
    others = _others(record)
    if not others:
        return SELF
    return LEAGUE if others[0].startswith(f"{LEAGUE}:") else others[0]


def _others(record: Mapping[str, Any]) -> list[str]:
    """Returns the names of the agents that are not the learner."""
    return [agent for agent in record.get("agents", ()) if isinstance(agent, str) and agent != SELF]


class _Candidates:
    """The games of one label that may be shown: a bounded number, however many there are."""

    def __init__(self, games_shown: int) -> None:
        self._games_shown = games_shown
        self._first: Mapping[str, Any] | None = None
        self._last: Mapping[str, Any] | None = None
        self._longest: Mapping[str, Any] | None = None
        self._by_fault: dict[str, Mapping[str, Any]] = {}
        self._by_opponent: dict[str, Mapping[str, Any]] = {}
        self._spread = _Spread(games_shown)

    def add(self, record: Mapping[str, Any]) -> None:
        self._first = self._first or record
        self._last = record
        if self._longest is None or len(record["turns"]) > len(self._longest["turns"]):
            self._longest = record
        for turn in record["turns"]:
            if isinstance(turn.get("fault"), str):
                self._by_fault[turn["fault"]] = record
        self._by_opponent[opponent_of(record)] = record
        self._spread.add(record)

    def replays(self) -> list[Replay]:
        """Returns the chosen games, oldest first."""
        reasons: dict[int, list[str]] = {}
        records: dict[int, Mapping[str, Any]] = {}
        for why, record in self._in_order():
            if id(record) not in records and len(records) == self._games_shown:
                continue
            records[id(record)] = record
            reasons.setdefault(id(record), []).append(why)
        replays = [_replay(record, tuple(filter(None, reasons[key]))) for key, record in records.items()]
        return sorted(replays, key=lambda replay: (replay.step, replay.number))

    def _in_order(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yields the candidates, the most wanted first, each with why it is wanted."""
        if self._first and self._last and self._longest:
            yield "first", self._first
            yield "last", self._last
            for fault, record in self._by_fault.items():
                yield f"last with fault {fault}", record
            yield "longest", self._longest
            if len(self._by_opponent) > 1:
                for opponent, record in self._by_opponent.items():
                    yield f"last against {opponent}", record
            for record in self._spread.even():
                yield "", record


class _Spread:
    """Records that stay evenly spread over a stream of unknown length."""

    def __init__(self, wanted: int) -> None:
        self._wanted = max(1, wanted)
        self._stride = 1
        self._seen = 0
        self._kept: list[Mapping[str, Any]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        if self._seen % self._stride == 0:
            self._kept.append(record)
            if len(self._kept) > 2 * self._wanted:
                self._kept = self._kept[::2]
                self._stride *= 2
        self._seen += 1

    def even(self) -> list[Mapping[str, Any]]:
        """Returns the records, those first that halve the largest gaps."""
        order: list[Mapping[str, Any]] = []
        step = 1
        while step < len(self._kept):
            step *= 2
        left = dict(enumerate(self._kept))
        while step >= 1:
            order += [left.pop(index) for index in range(0, len(self._kept), step) if index in left]
            step //= 2
        return order


def _is_game(record: Mapping[str, Any]) -> bool:
    """Returns whether a record has what every game's record has; the rest may be missing."""
    turns, roles = record.get("turns"), record.get("roles")
    return (
        isinstance(record.get("game"), str)
        and isinstance(record.get("step"), int)
        and isinstance(record.get("number"), int)
        and isinstance(record.get("agents", []), list)
        and isinstance(roles, list)
        and isinstance(turns, list)
        and all(
            isinstance(turn, dict) and isinstance(turn.get("seat"), int) and 0 <= turn["seat"] < len(roles)
            for turn in turns
        )
    )


def _replay(record: Mapping[str, Any], why: tuple[str, ...]) -> Replay:
    seats = tuple(_seat(record, seat) for seat in range(len(record["roles"])))
    return Replay(
        step=record["step"],
        number=record["number"],
        game=record["game"],
        opponent=opponent_of(record),
        why=why,
        seats=seats,
        termination=_text(record.get("termination")),
        reason=_text(record.get("reason")),
        turns=tuple(
            TurnShown(
                seat=seats[turn["seat"]],
                observation=_text(turn.get("observation")),
                response=_text(turn.get("response")),
                move=_text(turn.get("move")),
                rule=_text(turn.get("rule")),
                fault=_text(turn.get("fault")),
                reason=_text(turn.get("reason")),
            )
            for turn in record["turns"]
        ),
    )


def _seat(record: Mapping[str, Any], seat: int) -> SeatShown:
    learner_seats = record.get("learner_seats")
    learns = seat in learner_seats if isinstance(learner_seats, list) else opponent_of(record) == SELF
    return SeatShown(
        role=_text(record["roles"][seat]),
        agent=_text(_at(record.get("agents"), seat)) or SELF,
        learns=learns,
        episode_return=_number(_at(record.get("returns"), seat)),
        advantage=_number(_at(record.get("advantages"), seat)) if learns else None,
    )


def _at(values: object, index: int) -> object:
    return values[index] if isinstance(values, list) and index < len(values) else None


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None
