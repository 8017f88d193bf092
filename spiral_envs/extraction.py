r"""Reading a model's reply: one policy, used in training and evaluation alike.

1. Reasoning is dropped: every closed `<think>…</think>` block, and everything before the first `</think>`
   when its opening tag is missing (chat templates that open the block in the prompt).
2. The last `\boxed{…}` is the answer. A box that is never closed is malformed; no earlier box stands in for it.
3. Without any box, the last bracketed token `[…]` that is the game's move syntax is the answer. Brackets inside it are
   its own words.
4. Otherwise the reply is malformed.

Every step is a single scan, so the time is linear in the length of the reply, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from spiral_envs.game import new_tuple

MAX_MOVE_CHARS = 500
"""A longer answer is malformed: no game has a move of that length."""

_BOX = "\\boxed{"
_OPEN_THINK = "<think>"
_CLOSE_THINK = "</think>"
_BRACE = re.compile("[{}]")
_BRACKET = re.compile(r"[\[\]]")


class Rule(StrEnum):
    """Which part of a reply was read as the move."""

    OWN_TEXT = "own_text"
    """The whole reply was a legal move's own text."""

    BOXED = "boxed"
    """The last `\\boxed{…}`."""

    BRACKETED = "bracketed"
    """The last bracketed token in the game's move syntax."""

    NONE = "none"
    """Nothing: the reply is malformed."""


class Extraction(NamedTuple):
    """The answer in a reply.

    Attributes:
        rule: Which rule found it.
        text: The answer as written, without the box; empty when `rule` is NONE.
        reason: Why nothing was found; empty otherwise.
    """

    rule: Rule
    text: str
    reason: str


# Looking a member up in its enumeration takes as long as a scan of the reply.
_BOXED: Final = Rule.BOXED


def extract(reply: str, is_move_syntax: Callable[[str], bool]) -> Extraction:
    """Returns the answer in `reply`.

    Args:
        reply: Any text of any length.
        is_move_syntax: Says whether a bracketed token such as `[4]` is a move of the game in some position.
    """
    text = drop_reasoning(reply) if _CLOSE_THINK in reply else reply
    start = text.rfind(_BOX)
    if start >= 0:
        start += len(_BOX)
        end = _end_of_box(text, start)
        answer = text[start:end].strip() if 0 <= end - start <= MAX_MOVE_CHARS else ""
        return new_tuple(Extraction, (_BOXED, answer, "")) if answer else _no_answer(start, end)
    token = _last_bracketed(text, is_move_syntax)
    if token is not None:
        return Extraction(Rule.BRACKETED, token, "")
    if not reply.strip():
        return Extraction(Rule.NONE, "", "empty reply")
    if not text.strip():
        return Extraction(Rule.NONE, "", "no text after the reasoning")
    return Extraction(Rule.NONE, "", "no \\boxed{} and no bracketed move")


def drop_reasoning(reply: str) -> str:
    """Returns `reply` without its closed `<think>` blocks."""
    close = reply.find(_CLOSE_THINK)
    if close < 0:
        return reply
    kept: list[str] = []
    position = 0
    if reply.find(_OPEN_THINK, 0, close) < 0:
        position = close + len(_CLOSE_THINK)
    while True:
        start = reply.find(_OPEN_THINK, position)
        close = reply.find(_CLOSE_THINK, start) if start >= 0 else -1
        if close < 0:
            kept.append(reply[position:])
            return "".join(kept)
        kept.append(reply[position:start])
        position = close + len(_CLOSE_THINK)


def unbracketed(text: str) -> str:
    """Returns a move's text without surrounding space and its one pair of square brackets."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1].strip()
    return text


def _no_answer(start: int, end: int) -> Extraction:
    """Returns why a box, whose text goes from `start` to `end`, holds no answer."""
    if end < 0:
        return Extraction(Rule.NONE, "", "the last \\boxed{ is not closed")
    if end - start > MAX_MOVE_CHARS:
        return Extraction(Rule.NONE, "", "the last \\boxed{} is too long")
    return Extraction(Rule.NONE, "", "empty \\boxed{}")


def _end_of_box(text: str, start: int) -> int:
    """Returns where the brace closes that was opened just before `start`, or -1."""
    end = text.find("}", start)
    if end < 0 or text.find("{", start, end) < 0:
        return end
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return -1


def _last_bracketed(text: str, is_move_syntax: Callable[[str], bool]) -> str | None:
    """Returns the last token `[…]` in the move syntax: where brackets are nested, the outermost pair or an innermost.

    An outer pair wins over those inside it, which are words of its own: `[Say: is it [Fact 1]?]`. Pairs between the
    two are not tried, so that no character is looked at more than twice.
    """
    if "]" not in text:
        return None
    candidates = _bracketed(text)
    for start, end in reversed(candidates):
        if end - start < MAX_MOVE_CHARS:
            token = text[start : end + 1]
            if is_move_syntax(token):
                return token
    return None


def _bracketed(text: str) -> list[tuple[int, int]]:
    """Returns where the outermost and the innermost pairs of brackets stand, by their ends."""
    opened: list[int] = []
    pairs: list[tuple[int, int]] = []
    for bracket in _BRACKET.finditer(text):
        at = bracket.start()
        if bracket[0] == "[":
            opened.append(at)
        elif opened:
            pairs.append((opened.pop(), at))
    outermost: list[bool] = []
    covered_from = len(text)
    for start, _ in reversed(pairs):
        outermost.append(start < covered_from)
        covered_from = min(covered_from, start)
    # The pair before an inner one ends inside it only when it stands in it.
    is_innermost = [index == 0 or pairs[index - 1][1] < start for index, (start, _) in enumerate(pairs)]
    kept = zip(pairs, reversed(outermost), is_innermost, strict=True)
    return [pair for pair, is_outer, is_inner in kept if is_outer or is_inner]
