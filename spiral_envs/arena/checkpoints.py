"""Which agents of a tournament are checkpoints of one training run: what a rating over training needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from spiral_envs.arena.plan import MODEL_KINDS
from spiral_envs.arena.standing_records import Rating

_FOLDER: Final = re.compile(r"(?P<run>.*)/checkpoint-(?P<step>[0-9]{1,15})/?", re.ASCII | re.DOTALL)

_OPTION: Final = re.compile(r"step=(?P<step>[0-9]{1,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """Checkpoints of a run with the same settings, which can be compared with each other.

    Attributes:
        name: The agent string that they share, without the step: `hf:RUN?temperature=0.6`.
        steps: The training step of each, ascending; at least two.
        ratings: The rating of each.
    """

    name: str
    steps: tuple[int, ...]
    ratings: tuple[Rating, ...]


def trained_runs(ratings: Sequence[Rating]) -> tuple[TrainedRun, ...]:
    """Returns the runs of which at least two checkpoints have ratings of the same group, by name."""
    found: dict[tuple[str, int], dict[int, Rating]] = {}
    for rating in ratings:
        checkpoint = checkpoint_of(rating.agent)
        if checkpoint is not None:
            name, step = checkpoint
            # The folder of a checkpoint and the run with its step are the same weights; the first one is kept.
            found.setdefault((name, rating.group), {}).setdefault(step, rating)
    return tuple(
        TrainedRun(name, tuple(sorted(by_step)), tuple(by_step[step] for step in sorted(by_step)))
        for (name, _), by_step in sorted(found.items())
        if len(by_step) > 1
    )


def checkpoint_of(agent: str) -> tuple[str, int] | None:
    """Returns the run that an agent string names, with the other settings, and the training step; None for any other.

    Both `hf:RUN?step=40&temperature=0.6` and `hf:RUN/checkpoint-40?temperature=0.6` are step 40 of
    `hf:RUN?temperature=0.6`.
    """
    kind, _, argument = agent.partition(":")
    if kind not in MODEL_KINDS:
        return None
    path, _, query = argument.partition("?")
    options = query.split("&") if query else []
    steps = [match for match in map(_OPTION.fullmatch, options) if match]
    if len(steps) == 1:
        options.remove(steps[0][0])
        return _name(kind, path, options), int(steps[0]["step"])
    folder = _FOLDER.fullmatch(path)
    if folder is None or steps:
        return None
    return _name(kind, folder["run"], options), int(folder["step"])


def _name(kind: str, path: str, options: Sequence[str]) -> str:
    return f"{kind}:{path.rstrip('/')}" + (f"?{'&'.join(options)}" if options else "")
