"""Agents that play by a function: `ScriptedAgent` by yours, `first` always the first legal move."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spiral_envs.match import View


class ScriptedAgent:
    """Replies with what a function says of each view."""

    def __init__(self, function: Callable[[View], str], *, name: str = "scripted") -> None:
        """Sets the function, from a view to a reply, and the name for records."""
        self.name = name
        self._function = function

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns what the function says, view by view."""
        return [self._function(view) for view in views]


def first_legal_move(view: View) -> str:
    """Returns the first move that `view` lists.

    Raises:
        ValueError: It lists none.
    """
    if not view.legal_moves:
        raise ValueError(f"the first agent needs a list of legal moves; {view.game} gave {view.legal_moves!r}")
    return view.legal_moves[0]
