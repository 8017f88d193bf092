"""What lies in the folder of a run, read as far as it is whole: while the run goes on, after its end, after a crash."""

# Records come from JSON.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeGuard

from spiral_trl.checkpoints import find_damage
from spiral_trl.evaluation import SeatResult

NASH_CONV_PREFIX: Final = "nash_conv/"
"""Before a game's label, the metric that holds NashConv of the model's own move probabilities in that game."""

OTHER_MASS_SUFFIX: Final = "/other"
"""After it, the metric of the most probability that the model gives to anything but a legal move there."""

_GAME_FIGURES: Final = frozenset(
    {"turns", "faults", "reply_tokens", "empty_reasoning", "share_of_games", "share_of_turns"}
)

_STATE_TAIL_BYTES: Final = 65_536
"""The settings stand at the end of a trainer's state, after a history of any length."""


class Curve(NamedTuple):
    """One figure over the steps of a run.

    Attributes:
        steps: The steps at which it was logged, in order.
        values: Its value at each of them; finite.
    """

    steps: Sequence[int]
    values: Sequence[float]


class GameFigure(NamedTuple):
    """What a metric of a game is about.

    Attributes:
        game: The game's label.
        role: The role, or None for a figure of the whole game.
        against: The kind of opponent, or None for games of the learner against itself.
        figure: What is measured, `return` or `faults/illegal`.
    """

    game: str
    role: str | None
    against: str | None
    figure: str


class Alarm(NamedTuple):
    """Something that went wrong in a run.

    Attributes:
        step: When it was noticed.
        name: What kind of thing it is.
        message: What was seen.
    """

    step: int
    name: str
    message: str


class Checkpoint(NamedTuple):
    """A folder from which a run can go on.

    Attributes:
        name: The name of the folder.
        step: After which step it was written.
        size_bytes: Of its files together.
        is_whole: Whether it was written to its end.
    """

    name: str
    step: int
    size_bytes: int
    is_whole: bool


class Metrics:
    """The figures of a run by name, held as columns: 16 bytes a value, however long the run is.

    Attributes:
        steps: Every logged step, in order.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        """Takes the records of `metrics.jsonl`; what is no finite number is left out."""
        self.steps = array("q")
        self._columns: dict[str, tuple[array[int], array[float]]] = {}
        for record in records:
            self._add(record)
        self._games = self._find_games()

    def _add(self, record: Mapping[str, Any]) -> None:
        step = record.get("step")
        if not _is_step(step):
            return
        # What is measured beside the training has a line of its own.
        if not self.steps or self.steps[-1] != step:
            self.steps.append(step)
        for name, value in record.items():
            if name != "step" and _is_finite(value):
                steps, values = self._columns.setdefault(metric_name(name), (array("q"), array("d")))
                steps.append(step)
                values.append(value)

    def _find_games(self) -> tuple[str, ...]:
        # Every game logs its number of turns; nothing else ends in this.
        return tuple(
            name.removesuffix("/turns")
            for name in self._columns
            if name.endswith("/turns") and not name.startswith(("eval/", "league/"))
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order in which they first came up."""
        return tuple(self._columns)

    @property
    def games(self) -> tuple[str, ...]:
        """The labels of the games, in the order in which they first came up."""
        return self._games

    def curve(self, name: str) -> Curve | None:
        """Returns a figure over the steps, or None when it was never logged."""
        column = self._columns.get(name)
        return Curve(*column) if column else None

    def last(self, name: str) -> float | None:
        """Returns the newest value of a figure, or None when it was never logged."""
        column = self._columns.get(name)
        return column[1][-1] if column else None

    def recent(self, name: str, *, num_steps: int) -> float | None:
        """Returns the mean of a figure over the last `num_steps` logged steps, or None when it is missing there."""
        column = self._columns.get(name)
        if column is None or not self.steps:
            return None
        first = self.steps[-num_steps:][0]
        values = [value for step, value in zip(*column, strict=True) if step >= first]
        return math.fsum(values) / len(values) if values else None

    def game_figures(self) -> dict[GameFigure, Curve]:
        """Returns the curves of the games by what they are about."""
        found: dict[GameFigure, Curve] = {}
        for name, column in self._columns.items():
            about = _game_figure(name, self._games)
            if about:
                found[about] = Curve(*column)
        return found

    def spans(self) -> list[int]:
        """Returns for every logged step how many steps its line stands for."""
        return [step - before for before, step in zip([0, *self.steps], self.steps, strict=False)]


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    def metrics(self) -> Metrics:
        """Returns the logged figures."""
        return Metrics(records(self.folder / "metrics.jsonl"))

    def games(self) -> Iterator[dict[str, Any]]:
        """Yields the records of the finished games, oldest first, without holding more than one."""
        return records(self.folder / "games.jsonl")

    def alarms(self) -> list[Alarm]:
        """Returns what went wrong, oldest first."""
        return [alarm for record in records(self.folder / "alarms.jsonl") if (alarm := alarm_of(record))]

    def evaluations(self) -> list[tuple[int, SeatResult]]:
        """Returns the results of the evaluations during training, each with its step."""
        names = {each.name for each in fields(SeatResult)}
        found: list[tuple[int, SeatResult]] = []
        for record in records(self.folder / "evaluations.jsonl"):
            result = {name: value for name, value in record.items() if name in names}
            if _is_step(record.get("step")) and result.keys() == names and _is_result(result):
                found.append((record["step"], SeatResult(**result)))
        return found

    def settings(self) -> dict[str, Any]:
        """Returns the settings of the run that are not the defaults; none when they were not kept, or torn."""
        try:
            text = (self.folder / "settings.json").read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return {}
        return parse_record(text) or {}

    def checkpoints(self) -> list[Checkpoint]:
        """Returns the checkpoints that are there, oldest first."""
        folders = [each for each in self.folder.glob("checkpoint-*") if each.name.rpartition("-")[2].isdecimal()]
        found = [
            Checkpoint(
                each.name,
                int(each.name.rpartition("-")[2]),
                sum(size for file in each.rglob("*") if (size := _size(file)) is not None),
                find_damage(each) is None,
            )
            for each in folders
        ]
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def planned_steps(self) -> int | None:
        """Returns how many steps the run is to have, as its newest checkpoint says; None when there is none."""
        for checkpoint in reversed(self.checkpoints()):
            path = self.folder / checkpoint.name / "trainer_state.json"
            if path.exists():
                with path.open("rb") as file:
                    file.seek(max(0, path.stat().st_size - _STATE_TAIL_BYTES))
                    match = re.search(rb'"max_steps": (\d{1,18})', file.read())
                if match:
                    return int(match[1])
        return None


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the JSON objects of a file of lines, one at a time.

    Lines that are torn or no JSON object are passed over. A file that is not there has none.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            record = parse_record(line)
            if record is not None:
                yield record


def parse_record(line: str) -> dict[str, Any] | None:
    """Returns the JSON object of a line, or None when the line is torn or something else."""
    try:
        record = json.loads(line)
    except ValueError:  # not only JSONDecodeError: an integer of too many digits as well
        return None
    return record if isinstance(record, dict) else None


def alarm_of(record: Mapping[str, Any]) -> Alarm | None:
    """Returns the alarm that a record of `alarms.jsonl` holds, or None."""
    step, name, message = record.get("step"), record.get("name"), record.get("message")
    if _is_step(step) and isinstance(name, str) and isinstance(message, str):
        return Alarm(step, name, message)
    return None


def metric_name(name: str) -> str:
    """Returns the name of a logged figure; an evaluation's `eval_NAME` is `eval/NAME`, as transformers' loggers say."""
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else name


def short_label(game: str) -> str:
    """Returns a game's name without its version and options."""
    return re.sub(r"[_-]v\d+(\(.*\))?$", "", game)


def short_labels(games: Sequence[str]) -> dict[str, str]:
    """Returns for every label its short form where that is not shared with another one, else the label."""
    short = {game: short_label(game) for game in games}
    taken = list(short.values())
    return {game: name if taken.count(name) == 1 else game for game, name in short.items()}


def _game_figure(name: str, games: Sequence[str]) -> GameFigure | None:
    owners = [game for game in games if name.startswith(f"{game}/")]
    if not owners:
        return None
    game = max(owners, key=len)
    rest = name[len(game) + 1 :]
    if rest in _GAME_FIGURES or rest.startswith("faults/"):
        return GameFigure(game, None, None, rest)
    # An opponent's name may hold slashes: openai:MODEL@http://host/v1.
    role, versus, tail = rest.partition("/vs ")
    if versus:
        against, _, figure = tail.rpartition("/")
        return GameFigure(game, role, against, figure)
    role, slash, figure = rest.rpartition("/")
    return GameFigure(game, role, None, figure) if slash else None


def _is_step(value: object) -> TypeGuard[int]:
    # Within the 64 bits of a column.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _is_finite(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # An integer may be too large for a float.
    return abs(value) < 2**1000 if isinstance(value, int) else math.isfinite(value)


def _is_result(result: Mapping[str, Any]) -> bool:
    texts = all(isinstance(result[name], str) for name in ("game", "opponent", "role"))
    counts = all(_is_step(result[name]) for name in ("seat", "games", "wins", "draws", "losses", "faults"))
    if not (texts and counts and _is_finite(result["mean_return"])):
        return False
    return 0 < result["games"] == result["wins"] + result["draws"] + result["losses"]


def _size(path: Path) -> int | None:
    """Returns the size of a file; None for a folder, and for a file that a run that goes on has just deleted."""
    try:
        return path.stat().st_size if path.is_file() else None
    except FileNotFoundError:
        return None
