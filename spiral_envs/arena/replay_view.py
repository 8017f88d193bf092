"""Games of a tournament to read: which are chosen, and the form in which a page holds them.

A tournament has more text than a page should. The first pass over `games.jsonl` keeps of every game only its record
and where its line stands; the second reads the lines of the chosen games alone.
"""

# Records come from JSON.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

from spiral_envs.arena.final_views import final_views
from spiral_envs.arena.records import GameRecord, game_records
from spiral_envs.printable import one_line, printable

GAMES_SHOWN: Final = 200
"""How many games a page shows unless something else is asked for."""

DATA_LIMIT: Final = 4_000_000
"""The most bytes that the games may take on a page; no game is added that would pass it."""

_GAME_CHARACTERS: Final = 120_000
"""What the texts of one game are shortened towards: a share of it for every turn."""

_TEXT_CHARACTERS: Final = (400, 6_000)
"""The least and the most characters that are kept of a text."""

_NAME_CHARACTERS: Final = 300


class GameLine(NamedTuple):
    """A game and where it stands in its file.

    Attributes:
        game: The game.
        offset: The first byte of its line.
    """

    game: GameRecord
    offset: int


@dataclass(frozen=True, slots=True)
class GamesFile:
    """What `games.jsonl` holds, without the texts.

    Attributes:
        path: The file.
        lines: The games, each id once, in the order of the file.
        num_unreadable: How many lines hold no game; a line torn by a kill is one of them.
    """

    path: Path
    lines: tuple[GameLine, ...]
    num_unreadable: int

    @classmethod
    def read(cls, path: Path) -> GamesFile:
        """Returns what the file holds; nothing when there is none.

        Raises:
            OSError: The file cannot be read.
        """
        lines: dict[str, GameLine] = {}
        num_unreadable = 0
        for offset, record in _records(path):
            found = game_records([record]) if record is not None else []
            if not found:
                num_unreadable += 1
                continue
            lines.setdefault(found[0].id, GameLine(found[0], offset))
        return cls(path, tuple(lines.values()), num_unreadable)

    @property
    def games(self) -> list[GameRecord]:
        """The games in the order of the file."""
        return [line.game for line in self.lines]

    def replays(self, games_shown: int) -> Replays:
        """Returns the chosen games with their texts.

        Raises:
            OSError: The file cannot be read.
        """
        return _replays(self, choose_games(self.games, games_shown))


@dataclass(frozen=True, slots=True)
class Replays:
    """The games that a page shows.

    Attributes:
        data: JSON that can stand inside of a script element: it holds no `<`, and no character that acts.
        positions: Where the agents and games of the shown games stand in its list of names.
        matchups: The game and the two agents of every game in it.
        num_shown: How many games are in it.
        num_games: How many there were to choose from.
        num_cut: How many of the texts in it are shortened.
        is_full: Whether games were left out because the page would have become too large.
    """

    data: str
    positions: Mapping[str, int]
    matchups: frozenset[tuple[str, frozenset[str]]]
    num_shown: int
    num_games: int
    num_cut: int
    is_full: bool

    def link(self, first: str, second: str, game: str | None) -> Link | None:
        """Returns what leads to the games of two agents in a game, or in all; None when none of them are shown."""
        wanted = frozenset((first, second))
        if not any(agents == wanted and game in (None, label) for label, agents in self.matchups):
            return None
        return Link(self.positions[first], self.positions[second], None if game is None else self.positions[game])


class Link(NamedTuple):
    """What the viewer is to show, by places in its list of names.

    Attributes:
        first: The one agent.
        second: The other.
        game: The game; None for all.
    """

    first: int
    second: int
    game: int | None


class Choice(NamedTuple):
    """A chosen game.

    Attributes:
        place: Its position among all games.
        why: Why it was chosen; empty for those that are spread evenly over the tournament.
    """

    place: int
    why: str


def choose_games(games: Sequence[GameRecord], games_shown: int) -> list[Choice]:
    """Returns at most `games_shown` games, the most wanted first.

    Of every game and pair of agents: the first, the first with each kind of fault of each agent, the longest, and then
    games spread evenly over the tournament. Each round takes one game of every game and pair of agents.
    """
    groups: dict[tuple[str, frozenset[str]], list[int]] = {}
    for index, game in enumerate(games):
        groups.setdefault((game.game, frozenset(game.agents)), []).append(index)
    orders = [_wanted(games, indices) for indices in groups.values()]
    chosen = [choice for in_round in zip_longest(*orders) for choice in in_round if choice is not None]
    return chosen[:games_shown]


def embedded_json(value: object) -> str:
    """Returns JSON that can stand inside of a script element of a page.

    No text in it can end the element or begin a comment, and U+2028 and U+2029, which end a line of a script, are
    written as escapes.

    Raises:
        ValueError: A number is not finite, which JSON cannot hold.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _wanted(games: Sequence[GameRecord], indices: Sequence[int]) -> Iterator[Choice]:
    """Yields the games of one group, each once, the most wanted first."""
    seen: set[int] = set()
    for choice in _candidates(games, indices):
        if choice.place not in seen:
            seen.add(choice.place)
            yield choice


def _candidates(games: Sequence[GameRecord], indices: Sequence[int]) -> Iterator[Choice]:
    yield Choice(indices[0], "first")
    faults: set[tuple[str, str]] = set()
    for index in indices:
        kinds = _fault_kinds(games[index])
        if kinds - faults:
            faults |= kinds
            yield Choice(index, "fault")
    yield Choice(max(indices, key=lambda index: (games[index].num_turns, -index)), "longest")
    for position in _spread(len(indices)):
        yield Choice(indices[position], "")


def _fault_kinds(game: GameRecord) -> set[tuple[str, str]]:
    """Returns who made which fault; one that cost a random move only has no name in a game's record."""
    kinds = {(game.agents[seat], "") for seat, count in enumerate(game.num_faults) if count}
    if game.offender in (0, 1):
        kinds = {kind for kind in kinds if kind[0] != game.agents[game.offender]}
        kinds.add((game.agents[game.offender], game.fault))
    return kinds


def _spread(length: int) -> Iterator[int]:
    """Yields the positions of a sequence in an order that halves the largest gaps first, from 0 and its middle on."""
    step = 1 << max(length - 1, 0).bit_length()
    yield from range(0, length, step)
    while step > 1:
        step //= 2
        yield from range(step, length, 2 * step)


def _records(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | None]]:
    """Yields the offset of every line that is not blank and the object in it, or None where there is none."""
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield offset, _object(line)
            offset += len(line)


def _object(line: bytes) -> Mapping[str, Any] | None:
    try:
        record = json.loads(line.decode("utf-8", errors="replace"))
    # A number with thousands of digits is a ValueError, brackets thousands deep are a RecursionError.
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _replays(file: GamesFile, choices: Sequence[Choice]) -> Replays:
    """Returns the chosen games until the page is full, in the order in which they were played."""
    budget = DATA_LIMIT
    names = _Names()
    shown: dict[int, str] = {}
    num_cut = 0
    is_full = False
    with file.path.open("rb") as opened:
        for choice in choices:
            line = file.lines[choice.place]
            opened.seek(line.offset)
            record = _object(opened.readline()) or {}
            replay = _Replay(line.game, record, choice.why, names)
            text = embedded_json(replay.values())
            size = len(text.encode())
            if size > budget:
                is_full = True
                continue
            budget -= size
            num_cut += replay.num_cut
            shown[choice.place] = text
    games = ",".join(shown[place] for place in sorted(shown))
    data = f'{{"names":{embedded_json(names.texts)},"games":[{games}]}}'
    games_shown = [file.lines[place].game for place in shown]
    return Replays(
        data=data,
        positions=names.positions,
        matchups=frozenset((game.game, frozenset(game.agents)) for game in games_shown),
        num_shown=len(shown),
        num_games=len(file.lines),
        num_cut=num_cut,
        is_full=is_full,
    )


class _Names:
    """Texts that many games share, each once: agents, games, roles."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.positions: dict[str, int] = {}

    def index(self, text: str) -> int:
        """Returns the position of a text; different texts have different ones even where they look alike."""
        if text not in self.positions:
            self.positions[text] = len(self.texts)
            self.texts.append(_cut(one_line(text), _NAME_CHARACTERS)[0])
        return self.positions[text]


class _Replay:
    """One game as the page's script reads it."""

    def __init__(self, game: GameRecord, record: Mapping[str, Any], why: str, names: _Names) -> None:
        turns = record.get("turns")
        self._turns = [turn for turn in turns if _is_turn(turn)] if isinstance(turns, list) else []
        self._game, self._record, self._why, self._names = game, record, why, names
        least, most = _TEXT_CHARACTERS
        self._limit = min(most, max(least, _GAME_CHARACTERS // max(1, len(self._turns))))
        self.num_cut = 0

    def values(self) -> dict[str, object]:
        """Returns the game as values for JSON; agents, game and roles are positions in the list of names."""
        game, index = self._game, self._names.index
        faults = Counter(_text(turn.get("fault")) for turn in self._turns if turn.get("fault"))
        return {
            "id": self._short(game.id),
            "game": index(game.game),
            "pair": game.pair,
            "agents": [index(agent) for agent in game.agents],
            "roles": [index(role) for role in game.roles],
            "returns": [_number(value) for value in game.returns],
            "score": game.score,
            "seed": self._short(_text(self._record.get("seed"))),
            "termination": self._short(_text(self._record.get("termination"))),
            "reason": self._short(_text(self._record.get("reason"))),
            "offender": game.offender if game.offender in (0, 1) else None,
            "faults": [self._short(fault) for fault in faults],
            "why": self._why,
            "turns": [self._turn(turn) for turn in self._turns],
            "last_seen": [self._shortened(view)[0] for view in final_views(self._record)],
        }

    def _turn(self, turn: Mapping[str, Any]) -> dict[str, object]:
        observation, reply = _text(turn.get("observation")), _text(turn.get("response"))
        seen, is_seen_cut = self._shortened(observation)
        reply_shown, is_reply_cut = self._shortened(reply)
        return {
            "seat": turn["seat"],
            "seen": seen,
            "seen_length": len(observation),
            "seen_cut": is_seen_cut,
            "reply": reply_shown,
            "reply_length": len(reply),
            "reply_cut": is_reply_cut,
            "move": self._short(_text(turn.get("move"))),
            "rule": self._short(_text(turn.get("rule"))),
            "fault": self._short(_text(turn.get("fault"))),
            "reason": self._short(_text(turn.get("reason"))),
        }

    def _short(self, text: str) -> str:
        kept, is_cut = _cut(one_line(text), _NAME_CHARACTERS)
        self.num_cut += is_cut
        return kept

    def _shortened(self, text: str) -> tuple[str, bool]:
        """Returns what the page shows of a text, and whether that is less than the whole."""
        kept, is_cut = _cut(printable(text), self._limit)
        self.num_cut += is_cut
        return kept, is_cut


def _cut(text: str, limit: int) -> tuple[str, bool]:
    """Returns the text, its middle replaced by a note when it is longer than `limit`, and whether it was.

    The end is kept as well, because a reply's move stands there.
    """
    if len(text) <= limit:
        return text, False
    head, tail = limit * 2 // 3, limit - limit * 2 // 3
    left_out = f"{len(text) - limit:,} of {len(text):,} characters left out"
    gap = "\n" if "\n" in text or limit > _NAME_CHARACTERS else " "
    return f"{text[:head]}{gap}[… {left_out} …]{gap}{text[-tail:]}", True


def _is_turn(turn: object) -> bool:
    return isinstance(turn, dict) and turn.get("seat") in (0, 1)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
