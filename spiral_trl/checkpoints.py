"""Whole and torn checkpoints of a run.

A checkpoint's files are written, then the list of them with their sizes, and last the state of self-play, all of it
flushed to the disk: a checkpoint that has its state, and every listed file in its size, is whole.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

STATE_FILE: Final = "self_play_state.json"
"""The state of self-play. It is written last, so that its presence says that the checkpoint is whole."""

MANIFEST_FILE: Final = "self_play_files.json"
"""The size of every other file of the checkpoint, in bytes."""

_logger = logging.getLogger(__name__)


class RestoreError(ValueError):
    """A run cannot go on from what was saved; the message says what does not fit."""


def begin(folder: Path) -> None:
    """Declares the checkpoint in `folder` unfinished, so that one written over an older one is torn till its end."""
    (folder / STATE_FILE).unlink(missing_ok=True)


def finish(folder: Path, state: Mapping[str, Any]) -> None:
    """Declares the checkpoint in `folder` whole: writes the sizes of its files, then `state`."""
    sizes: dict[str, int] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in {STATE_FILE, MANIFEST_FILE}:
            _flush(path)
            sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    _write(folder / MANIFEST_FILE, sizes)
    _write(folder / STATE_FILE, state)
    _flush(folder)


def read_state(folder: Path) -> dict[str, Any]:
    """Returns the state of self-play in a checkpoint.

    Raises:
        RestoreError: The checkpoint is torn.
    """
    damage = find_damage(folder)
    if damage:
        raise RestoreError(f"{folder} is no whole self-play checkpoint: {damage}")
    state: dict[str, Any] = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    return state


def find_damage(folder: Path) -> str | None:
    """Returns what is wrong with a checkpoint, in words, or None when it is whole."""
    for name in (STATE_FILE, MANIFEST_FILE):
        if not (folder / name).exists():
            return f"{name} is missing"
        try:
            json.loads((folder / name).read_text(encoding="utf-8"))
        except ValueError:
            return f"{name} is cut short"
    sizes: dict[str, int] = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    for name, size in sizes.items():
        path = folder / name
        if not path.exists():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes instead of {size:,}"
    return None


def last_complete_checkpoint(output_dir: str | Path) -> Path | None:
    """Returns the newest whole checkpoint under `output_dir`, or None; torn ones are skipped with a warning."""
    for folder in sorted(_checkpoints(Path(output_dir)), key=checkpoint_step, reverse=True):
        damage = find_damage(folder)
        if damage is None:
            return folder
        _logger.warning("%s is skipped, because it is torn: %s", folder, damage)
    return None


def whole_checkpoints(output_dir: str | Path) -> list[Path]:
    """Returns every whole checkpoint under `output_dir`."""
    return [folder for folder in _checkpoints(Path(output_dir)) if find_damage(folder) is None]


def rotate(output_dir: str | Path, limit: int | None, *, kept: str | None = None) -> None:
    """Deletes torn checkpoints, and whole ones but for the newest `limit`; `kept` is never deleted.

    To be called when a checkpoint has just become whole: then a torn one is what a kill has left.
    """
    whole = sorted(whole_checkpoints(output_dir), key=checkpoint_step)
    newest = whole if limit is None else whole[len(whole) - limit :] if limit < len(whole) else whole
    for folder in _checkpoints(Path(output_dir)):
        if folder not in newest and (kept is None or folder != Path(kept)):
            # Torn before it is half deleted.
            begin(folder)
            shutil.rmtree(folder)


def set_aside_later(output_dir: str | Path, step: int) -> None:
    """Renames the checkpoints after `step` to `abandoned-…`: a run that goes on from there trains these steps anew."""
    for folder in _checkpoints(Path(output_dir)):
        if checkpoint_step(folder) > step:
            aside = folder.with_name(f"abandoned-{folder.name}")
            if aside.exists():
                shutil.rmtree(aside)
            folder.rename(aside)


def checkpoint_step(folder: Path) -> int:
    """Returns the step after which a checkpoint was saved."""
    return int(folder.name.rpartition("-")[2])


def _checkpoints(output_dir: Path) -> list[Path]:
    return [folder for folder in output_dir.glob("checkpoint-*") if folder.name.rpartition("-")[2].isdigit()]


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `content` as JSON, whole or not at all."""
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _flush(path: Path) -> None:
    """Makes sure that what was written is on the disk; for a folder, which files it has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
