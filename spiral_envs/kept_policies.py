"""Solved policies on disk, so that a large game is solved once a user rather than once a process.

A file is named for the game and for a digest of what was solved, so that a policy of other rules or other texts is
never found. Files may be deleted at any time. Whatever goes wrong with one, the game is solved anew.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """A policy as it is kept.

    Attributes:
        probabilities: Those of the legal moves, in the game's order, for every information set in the order of the
            tree.
        nash_conv: What the policy's NashConv was when it was kept, by which a damaged file is told.
    """

    probabilities: tuple[tuple[float, ...], ...]
    nash_conv: float


def policy_folder() -> Path | None:
    """Returns where this user's solved policies are kept; None where a user has no place for such files."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    if not chosen and sys.platform == "win32":
        chosen = os.environ.get("LOCALAPPDATA")
    try:
        caches = Path(chosen) if chosen else _home_caches(Path.home())
    except RuntimeError:
        return None
    return caches / "spiral_envs" / "policies"


def read_policy(folder: Path, name: str) -> KeptPolicy | None:
    """Returns the policy that is kept as `name`, or None where there is none that can be read."""
    try:
        kept: object = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not _is_mapping(kept):
        return None
    rows, nash_conv = kept.get("probabilities"), kept.get("nash_conv")
    if not _is_list(rows) or not isinstance(nash_conv, float):
        return None
    probabilities: list[tuple[float, ...]] = []
    for row in rows:
        if not _is_list(row):
            return None
        numbers = tuple(number for number in row if isinstance(number, float))
        if len(numbers) < len(row):
            return None
        probabilities.append(numbers)
    return KeptPolicy(tuple(probabilities), nash_conv)


def keep_policy(folder: Path, name: str, policy: KeptPolicy) -> None:
    """Writes `policy` to disk as `name`, whole or not at all; a disk that cannot be written to is left alone."""
    written = json.dumps({"nash_conv": policy.nash_conv, "probabilities": policy.probabilities})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=folder, prefix=f"{name}.", suffix=".unfinished")
    except OSError:
        return
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(written)
        # Another process that reads the name meanwhile finds the old file or the new one.
        Path(unfinished).replace(folder / f"{name}.json")
    except OSError:
        Path(unfinished).unlink(missing_ok=True)


def _home_caches(home: Path) -> Path:
    if sys.platform == "win32":
        return home / "AppData" / "Local"
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list)
