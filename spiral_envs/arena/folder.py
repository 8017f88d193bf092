"""A tournament's folder: one process at a time, whole lines only, and no mixing of two tournaments."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from spiral_envs.arena.plan import Plan
from spiral_envs.arena.records import ABORTED_FILE, GAMES_FILE, REPLIES_FILE, TOURNAMENT_FILE

LOCK_FILE: Final = "tournament.lock"

_LINE_FILES: Final = (GAMES_FILE, ABORTED_FILE, REPLIES_FILE)


class FolderError(ValueError):
    """A folder that cannot take this tournament; the message says why."""


@contextmanager
def open_folder(folder: Path, plan: Plan, *, code: str) -> Generator[None]:
    """Holds the folder of a tournament, new or old, for this process alone.

    The last line of each file is mended if a kill tore it, and what is played is written to `tournament.json`, together
    with what was before: a tournament may be extended by agents, games and pairs.

    Args:
        folder: Is made if it is missing.
        plan: What is to be played.
        code: The version of the code, for the record.

    Raises:
        FolderError: The folder is in use, is no tournament's, or is one with another seed or policy.
        OSError: It cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        known = _read_settings(folder)
        _check_settings(folder, known, plan)
        for name in _LINE_FILES:
            mend_last_line(folder / name)
        _write_settings(folder / TOURNAMENT_FILE, _merged(known, plan, code))
        yield


def read_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yields the records of a file, one at a time, since those of a large tournament fill the memory."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record: Any = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(record, dict):
                yield record


def mend_last_line(path: Path) -> None:
    """Ends the last line of a file if it is whole but for its end, and cuts it off if it was torn."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        start = _start_of_last_line(file)
        file.seek(start)
        last = file.read()
        if not last or last.endswith(b"\n"):
            return
        try:
            json.loads(last)
        except ValueError:
            file.truncate(start)
        else:
            file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())


def _start_of_last_line(file: BinaryIO) -> int:
    """Returns where the text after the last line feed begins."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 2**16)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    try:
        import fcntl
    except ModuleNotFoundError as error:
        raise FolderError("a tournament needs a system that can lock files: Linux or macOS") from error
    with (folder / LOCK_FILE).open("w") as file:
        try:
            # The system lets go of it however the process ends.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(
                f"another process plays in {str(folder)!r}: wait for it, or choose another --out"
            ) from None
        yield


def _read_settings(folder: Path) -> Mapping[str, Any] | None:
    path = folder / TOURNAMENT_FILE
    if not path.exists():
        if any((folder / name).exists() for name in _LINE_FILES):
            raise FolderError(f"{str(folder)!r} holds games but no {TOURNAMENT_FILE}: choose another --out")
        return None
    try:
        known: Any = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"seed": int, "invalid_move": str, "pairs": int, "agents": list, "games": list}
        is_valid = all(isinstance(known[name], kind) for name, kind in kinds.items())
    except (ValueError, KeyError, TypeError):
        known, is_valid = None, False
    if not is_valid:
        raise FolderError(f"cannot read {str(path)!r}: expected the settings of a tournament")
    return known


def _check_settings(folder: Path, known: Mapping[str, Any] | None, plan: Plan) -> None:
    if known is None:
        return
    for option, name, value in (
        ("--seed", "seed", plan.seed),
        ("--invalid-move", "invalid_move", plan.invalid_move.value),
    ):
        if known[name] != value:
            raise FolderError(
                f"the tournament in {str(folder)!r} has {option} {known[name]}, got {value}: give the same, or choose"
                " another --out"
            )


def _merged(known: Mapping[str, Any] | None, plan: Plan, code: str) -> dict[str, Any]:
    """Returns the settings of a tournament that has what it had, and what `plan` adds."""
    before: Mapping[str, Any] = known or {"games": [], "agents": [], "pairs": 0}
    playing = {name for names in plan.players.values() for name in names}
    return {
        "seed": plan.seed,
        "invalid_move": plan.invalid_move.value,
        "games": _united(before["games"], plan.sources),
        "agents": _united(before["agents"], (name for name in plan.entrants if name in playing)),
        "pairs": max(before["pairs"], plan.pairs),
        "code": code,
    }


def _united(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    text = json.dumps(settings, indent=2) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    # Written aside first: a kill leaves the old file or the new one.
    aside = path.with_suffix(".new")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
