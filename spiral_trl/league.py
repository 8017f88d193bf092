"""A league: frozen snapshots of the model that learns, to play against.

Who is in it, how the learner does against each and which one is played next is kept here, the same on every process;
the files of a snapshot are written by one of them. What a snapshot consists of is the caller's affair.

The learner changes, so old results fade: each game against a snapshot makes its earlier games count 0.99 times as much,
as in the pseudocode of AlphaStar (Vinyals et al., Grandmaster level in StarCraft II using multi-agent reinforcement
learning, Nature 575, 2019, supplementary data). About the last hundred games matter; the results against a snapshot
that is not played stay as they are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple, TypedDict

from spiral_envs.chance import uniform
from spiral_envs.errors import UnknownNameError
from spiral_trl.checkpoints import RestoreError

DECAY: Final = 0.99
"""What each game against a snapshot leaves of the weight of the earlier ones."""

PRIOR_WINS: Final = 1.0
"""Wins that the learner is taken to have had against a snapshot before the first game, and losses as many.

Laplace's rule of succession: a new snapshot is even with the learner, and one never beaten or never lost to keeps some
chance to be drawn and to prove otherwise."""

_DRAWS: Final = int.from_bytes(b"snapshot")
"""Goes into the seed, so that the league's random numbers are neither those of a match nor of the schedule."""

_FILE_SIZES: Final = "files.json"
"""Within a snapshot, the size of each of its other files in bytes, by its path with slashes."""

_FOLDER_NAME: Final = re.compile(r"step-(0|[1-9][0-9]*)(\.tmp)?")


class NoRoomError(ValueError):
    """A snapshot alone is larger than all of them together may be; the message is one line."""


class Selection(StrEnum):
    """Which snapshots are kept and played."""

    LATEST = "latest"
    """The newest is played, and the newest are kept."""

    UNIFORM = "uniform"
    """All are played equally often; those kept cover the run evenly, from its first to its newest."""

    PRIORITISED = "prioritised"
    """Kept as in UNIFORM; those that the learner seldom beats are played more often, by `(1 - p)^2`."""


def find_selection(name: str) -> Selection:
    """Returns the selection called `name`.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in tuple(Selection):
        raise UnknownNameError("selection of the league", name, tuple(Selection))
    return Selection(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeagueSettings:
    """How large a league is and who plays in it.

    Attributes:
        snapshot_steps: Optimizer steps between two snapshots.
        size: The most snapshots.
        disk_bytes: The most that the files of all of them take together; None for no bound.
        selection: Which of them are kept and played.
    """

    snapshot_steps: int
    size: int
    disk_bytes: int | None = None
    selection: Selection = Selection.UNIFORM

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: One is out of its range.
        """
        if self.snapshot_steps < 1:
            raise ValueError(f"the league has snapshot_steps {self.snapshot_steps!r}: expected at least 1")
        if self.size < 1:
            raise ValueError(f"a league with no room: size is {self.size!r}, expected at least 1")
        if self.disk_bytes is not None and self.disk_bytes < 1:
            raise ValueError(f"a league with no room: disk_bytes is {self.disk_bytes!r}, expected at least 1")


class LeagueRow(NamedTuple):
    """One line of the league's table.

    Attributes:
        step: The step after which the snapshot was taken.
        games: Games that the learner played against it.
        score: The learner's mean score in them, 0 for a loss to 1 for a win, where old games count less; None before
            the first.
        weight: The probability that the snapshot is drawn.
    """

    step: int
    games: int
    score: float | None
    weight: float


class MemberState(TypedDict):
    """What is known of one snapshot, as JSON can hold it; the fields are those of `_Member`."""

    step: int
    num_bytes: int
    games: int
    faded_games: float
    faded_score: float


class LeagueState(TypedDict):
    """The snapshots of a league, oldest first."""

    members: list[MemberState]


@dataclass(slots=True)
class _Member:
    """One snapshot.

    Attributes:
        step: The step after which it was taken.
        num_bytes: What its files take.
        games: Games that the learner played against it.
        faded_games: Their sum, where old ones count less.
        faded_score: The sum of the learner's scores in them, likewise.
    """

    step: int
    num_bytes: int
    games: int = 0
    faded_games: float = 0.0
    faded_score: float = 0.0

    @property
    def win_probability(self) -> float:
        """How likely the learner is to win against it, a draw being half a win, smoothed by `PRIOR_WINS`."""
        return (self.faded_score + PRIOR_WINS) / (self.faded_games + 2 * PRIOR_WINS)


class League:
    """The snapshots that are played, and how the learner does against them.

    After an optimizer step that `is_due`, one process calls `write`, which returns the snapshot's bytes, and then every
    process calls `add` with that number. Everything but `write` and `prune` touches no file that matters.
    """

    def __init__(self, settings: LeagueSettings, folder: Path) -> None:
        """Starts without snapshots.

        Args:
            settings: How large the league is and who plays.
            folder: Where the snapshots' folders are, `step-N` each; made when it is first needed.
        """
        self._settings = settings
        self._folder = folder
        self._members: list[_Member] = []

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps after which the snapshots were taken, oldest first."""
        return tuple(member.step for member in self._members)

    def folder_of(self, step: int) -> Path:
        """Returns where the files of the snapshot taken after `step` are."""
        return self._folder / f"step-{step}"

    # -- taking snapshots --------------------------------------------------------------------------------------------

    def is_due(self, step: int) -> bool:
        """Returns whether a snapshot is to be taken after `step` optimizer steps: always while there is none.

        It is whenever a multiple of `snapshot_steps` was reached since the newest, not only at that very step: whoever
        trains several steps on a batch asks between batches only.
        """
        if not self._members:
            return True
        interval = self._settings.snapshot_steps
        return step // interval > self._members[-1].step // interval

    def write(self, step: int, save: Callable[[Path], None]) -> int:
        """Saves a snapshot and returns the bytes of its files; it is not in the league before `add`.

        A folder `step-N` is whole whenever there is one, also after a kill or a power cut in the middle: the files are
        flushed to the disk under another name. Beside them stand their sizes, by which `load_state_dict` notices what
        happens to them later. A folder left over from steps that are trained anew is replaced.

        Args:
            step: The optimizer steps so far.
            save: Writes the files into the empty folder that it is given.
        """
        unfinished = self._folder / f"step-{step}.tmp"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(parents=True)
        save(unfinished)
        sizes = {
            path.relative_to(unfinished).as_posix(): path.stat().st_size
            for path in sorted(unfinished.rglob("*"))
            if path.is_file()
        }
        (unfinished / _FILE_SIZES).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
        for path in sorted(unfinished.rglob("*")):
            _flush(path)
        _flush(unfinished)
        folder = self.folder_of(step)
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
        _flush(self._folder)
        return sum(sizes.values())

    def add(self, step: int, num_bytes: int) -> None:
        """Takes a snapshot that was written into the league; others leave it where there is no room.

        With `Selection.LATEST` the oldest leave. Otherwise the first and the newest stay while there is room for two,
        and of the others that one leaves whose neighbours are closest to each other in steps, the older in a tie. The
        files of those that leave stay until `prune`.

        Args:
            step: The optimizer steps so far.
            num_bytes: What `write` returned.

        Raises:
            NoRoomError: The snapshot alone is larger than all may be together.
            ValueError: It is not newer than those in the league.
        """
        limit = self._settings.disk_bytes
        if limit is not None and num_bytes > limit:
            raise NoRoomError(
                f"a league with no room: the snapshot of step {step} alone takes {num_bytes:,} bytes, all together may"
                f" take {limit:,}"
            )
        if self._members and step <= self._members[-1].step:
            raise ValueError(f"the league has a snapshot of step {self._members[-1].step}: {step} is not after it")
        self._members.append(_Member(step, num_bytes))
        self._make_room()

    def prune(self, needed_steps: Iterable[int]) -> tuple[Path, ...]:
        """Deletes the folders of snapshots that nobody needs, and unfinished ones, and returns what they were.

        Only one process may call it, and none may be writing. Nothing but folders `step-N` and `step-N.tmp` in the
        league's own folder is ever deleted, and no link is followed.

        Args:
            needed_steps: Snapshots outside the league that are needed all the same: those of every checkpoint from
                which the run may be resumed, see `steps_in`.
        """
        if not self._folder.is_dir():
            return ()
        kept = {*self.steps, *needed_steps}
        deleted: list[Path] = []
        for path in sorted(self._folder.iterdir()):
            found = _FOLDER_NAME.fullmatch(path.name)
            if found is None or path.is_symlink() or not path.is_dir():
                continue
            is_unfinished = found[2] is not None
            if is_unfinished or int(found[1]) not in kept:
                shutil.rmtree(path)
                deleted.append(path)
        return tuple(deleted)

    # -- playing -----------------------------------------------------------------------------------------------------

    def weights(self) -> dict[int, float]:
        """Returns the probability that each snapshot is drawn, by step, oldest first.

        With `Selection.PRIORITISED` it is proportional to `(1 - p)^2`, p being the learner's probability to win against
        it: prioritised fictitious self-play as in AlphaStar (Nature 575, 2019), with p smoothed by `PRIOR_WINS` on each
        side, which also keeps every weight above 0.
        """
        if not self._members:
            return {}
        match self._settings.selection:
            case Selection.LATEST:
                weights = [*[0.0] * (len(self._members) - 1), 1.0]
            case Selection.UNIFORM:
                weights = [1.0] * len(self._members)
            case Selection.PRIORITISED:
                weights = [(1 - member.win_probability) ** 2 for member in self._members]
        total = sum(weights)
        return {member.step: weight / total for member, weight in zip(self._members, weights, strict=True)}

    def draw(self, seed: int, number: int) -> int:
        """Returns the step of the snapshot to play: the same for the same arguments and the same league.

        Args:
            seed: The seed of the run.
            number: What is drawn for: a game, or a deal that is played several times.

        Raises:
            ValueError: There is no snapshot.
        """
        if not self._members:
            raise ValueError("the league has no snapshot to play against: add one first")
        ends = list(accumulate(self.weights().values()))
        drawn = uniform((seed << 64) + _DRAWS, number) * ends[-1]
        # The bound is for a product that was rounded up to the last end.
        return self._members[bisect_right(ends, drawn, hi=len(ends) - 1)].step

    def record(self, step: int, score: float) -> None:
        """Counts a game of the learner against the snapshot of `step`; one that has left the league is not counted.

        Args:
            step: The snapshot.
            score: The learner's: 1 for a win, 0.5 for a draw, 0 for a loss.

        Raises:
            ValueError: `score` is not from 0 to 1.
        """
        if not 0 <= score <= 1:
            raise ValueError(f"the score against the snapshot of step {step} is {score!r}: expected 0 to 1")
        for member in self._members:
            if member.step == step:
                member.games += 1
                member.faded_games = DECAY * member.faded_games + 1
                member.faded_score = DECAY * member.faded_score + score

    def table(self) -> list[LeagueRow]:
        """Returns a row for every snapshot, the newest first."""
        weights = self.weights()
        return [
            LeagueRow(
                member.step,
                member.games,
                member.faded_score / member.faded_games if member.games else None,
                weights[member.step],
            )
            for member in reversed(self._members)
        ]

    def metrics(self) -> dict[str, float]:
        """Returns the table as figures by name: `league/STEP/games`, `league/STEP/score` and `league/STEP/weight`.

        A snapshot that was not played yet has no score.
        """
        figures: dict[str, float] = {}
        for row in self.table():
            figures[f"league/{row.step}/games"] = row.games
            if row.score is not None:
                figures[f"league/{row.step}/score"] = row.score
            figures[f"league/{row.step}/weight"] = row.weight
        return figures

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def state_dict(self) -> LeagueState:
        """Returns the whole state as plain values; through JSON and back it is the same to the last bit."""
        return {"members": [_state_of(member) for member in self._members]}

    def load_state_dict(self, state: LeagueState) -> None:
        """Restores what `state_dict` returned; with smaller bounds than it was made with, snapshots leave.

        Raises:
            RestoreError: The folder or a file of a snapshot is missing or of another size than it was written with. The
                league is as it was then.
        """
        for step in steps_in(state):
            folder = self.folder_of(step)
            if not folder.is_dir():
                raise RestoreError(f"snapshot {folder} of the saved league is missing")
            damage = _damage_of(folder)
            if damage is not None:
                raise RestoreError(f"snapshot {folder} of the saved league is damaged: {damage}")
        self._members = [_Member(**member) for member in state["members"]]
        self._make_room()

    def _make_room(self) -> None:
        """Lets snapshots leave until the others are within the bounds; the newest stays."""
        limit = self._settings.disk_bytes
        while len(self._members) > 1 and (
            len(self._members) > self._settings.size
            or (limit is not None and sum(member.num_bytes for member in self._members) > limit)
        ):
            del self._members[self._next_to_leave()]

    def _next_to_leave(self) -> int:
        """Returns the index of the snapshot that leaves first."""
        inner = range(1, len(self._members) - 1)
        if self._settings.selection is Selection.LATEST or not inner:
            return 0
        return min(inner, key=lambda index: self._members[index + 1].step - self._members[index - 1].step)


def steps_in(state: LeagueState) -> tuple[int, ...]:
    """Returns the steps of the snapshots in a saved state, oldest first."""
    return tuple(member["step"] for member in state["members"])


def _state_of(member: _Member) -> MemberState:
    return MemberState(
        step=member.step,
        num_bytes=member.num_bytes,
        games=member.games,
        faded_games=member.faded_games,
        faded_score=member.faded_score,
    )


def _damage_of(folder: Path) -> str | None:
    """Returns what is wrong with the files of a snapshot, in words, or None when they are as they were written."""
    try:
        sizes: dict[str, int] = json.loads((folder / _FILE_SIZES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{_FILE_SIZES} is missing"
    except ValueError:
        return f"{_FILE_SIZES} is cut short"
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes instead of {size:,}"
    return None


def _flush(path: Path) -> None:
    """Flushes a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name != "posix":
        return  # Windows has no such call for a folder.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
