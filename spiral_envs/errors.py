"""The errors of `spiral_envs`; every one says what was expected, what came, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final


class MoveError(ValueError):
    """A reply that is no move here; the player who sent it is at fault, not the program."""


class MalformedMoveError(MoveError):
    """The text is not a move of this game in any position."""


class IllegalMoveError(MoveError):
    """The text is a move of this game, but not allowed in this position."""


class UnknownNameError(ValueError):
    """A game, agent, option or configuration key that does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Builds the one-line message `unknown KIND 'NAME': did you mean …?`.

        Args:
            kind: What was looked up, in words ("game", "agent", "option of kuhn_poker_v0").
            name: The name that was not found.
            known: Every valid name.
        """
        names = sorted(known)
        near = _nearest(name.lower(), names)
        more = f" and {len(names) - _MAX_KNOWN} more" if len(names) > _MAX_KNOWN else ""
        known_names = ", ".join(names[:_MAX_KNOWN]) or "none"
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {known_names}{more}"
        super().__init__(f"unknown {kind} {name!r}: {hint}")
        self.name = name
        self.near = tuple(near)


def _nearest(name: str, names: list[str]) -> list[str]:
    """Returns the most similar names, and none that are much less similar than the best."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    similarity = {other: difflib.SequenceMatcher(None, other, name).ratio() for other in near}
    return [other for other in near if similarity[other] > similarity[near[0]] - _MAX_GAP]


_MAX_GAP: Final = 0.15

_MAX_KNOWN: Final = 40
"""Of a longer list of names the first are told."""


class MissingExtraError(ImportError):
    """A feature whose optional dependencies are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        """Builds the message that names the command which installs `extra`."""
        super().__init__(f"{feature} needs packages that are not installed: pip install 'spiral-selfplay[{extra}]'")


class BrokenLawError(AssertionError):
    """A game that breaks one of the laws that `check_game` tests."""
