"""From a view to what a language model reads: chat messages in a named style.

Every turn is a fresh prompt: earlier reasoning is not carried over, the game's own history is in the observation.
Whoever would rather carry a conversation on continues it with `find_next`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, TypedDict

from spiral_envs.errors import UnknownNameError
from spiral_envs.match import View

_MAX_HINTS: Final = 50

_HOW_TO_ANSWER: Final = "Reason step by step, then put your final move in \\boxed{}."


class ChatMessage(TypedDict):
    """One message of a conversation, as `tokenizer.apply_chat_template` takes it."""

    role: str
    content: str


PromptStyle: TypeAlias = Callable[[View], list[ChatMessage]]
"""Turns a view into the messages that a model answers."""


def boxed_cot(view: View, *, hints: bool = False) -> list[ChatMessage]:
    """Returns one user message that asks for step-by-step reasoning and a final move in a box (SPIRAL's style).

    Args:
        view: What the player is shown.
        hints: Whether to list the legal moves.
    """
    content = (
        f"You are playing a game. Your role is {view.role}. Make the move that is best for you.\n\n"
        f"{view.text}\n"
        f"{_hint(view) if hints else ''}\n"
        f"{_HOW_TO_ANSWER}"
    )
    return [{"role": "user", "content": content}]


def plain(view: View, *, hints: bool = False) -> list[ChatMessage]:
    """Returns one short message without the rules, for small models that were trained on the game's texts.

    It is written to the model as it is, without a chat template.

    Args:
        view: What the player is shown.
        hints: Whether to list the legal moves.
    """
    content = f"{view.game.partition('_v')[0]} {view.role}\n{view.observation}\n{_hint(view) if hints else ''}"
    return [{"role": "user", "content": content}]


def boxed_cot_next(view: View, *, hints: bool = False) -> str:
    """Returns what the player is told before its next move where the conversation goes on: rules and role are known."""
    return f"{view.observation}\n{_hint(view) if hints else ''}\n{_HOW_TO_ANSWER}"


def plain_next(view: View, *, hints: bool = False) -> str:
    """Returns what follows the last reply in the plain style."""
    return f"\n{view.observation}\n{_hint(view) if hints else ''}"


STYLES: Final = {"boxed_cot": boxed_cot, "plain": plain}
"""The named styles."""

_NEXT: Final = {"boxed_cot": boxed_cot_next, "plain": plain_next}
"""How a conversation in each of them goes on."""


def find_style(name: str, *, hints: bool = False) -> PromptStyle:
    """Returns the style of that name.

    Raises:
        UnknownNameError: There is no such style.
    """
    if name not in STYLES:
        raise UnknownNameError("prompt style", name, STYLES)
    style = STYLES[name]
    return lambda view: style(view, hints=hints)


def find_next(name: str, *, hints: bool = False) -> Callable[[View], str]:
    """Returns how a conversation in the style of that name goes on: from the view of a later turn to its message.

    Raises:
        UnknownNameError: There is no such style.
    """
    if name not in _NEXT:
        raise UnknownNameError("prompt style", name, _NEXT)
    following = _NEXT[name]
    return lambda view: following(view, hints=hints)


def _hint(view: View) -> str:
    """Returns the line that lists the legal moves, or samples of them; long lists are cut, and the cut is shown."""
    legal = view.legal_moves
    if not legal:
        return ""
    more = f" and {len(legal) - _MAX_HINTS} more" if len(legal) > _MAX_HINTS else ""
    kind = "Examples of moves" if view.talk else "Legal moves"
    return f"{kind}: {' '.join(legal[:_MAX_HINTS])}{more}\n"
