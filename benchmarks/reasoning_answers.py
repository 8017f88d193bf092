r"""The answer in a reply to a problem, and whether it is right.

A reply is read as in training: closed `<think>` blocks are dropped, and the last `\boxed{…}` is the answer. Unlike in a
game there is no second way to answer, and a reply that the length limit cut counts by what it holds: the benchmarks of
the literature are scored in that way. How many replies were cut is counted apart.
"""

# math-verify is optional and untyped.
# pyright: reportMissingImports=false

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from spiral_envs.errors import MissingExtraError
from spiral_envs.extraction import Rule, extract
from spiral_envs.match import Fault, Reply

HOW_TO_ANSWER: Final = "Reason step by step, then put your final answer in \\boxed{}."

HOW_TO_CHOOSE: Final = "Reason step by step, then put the letter of the right option in \\boxed{}."

LETTERS: Final = "ABCDEFGHIJ"

TIMEOUT_S: Final = 5
"""How long one answer may be parsed, and compared: sympy does not come to an end on every expression."""


def problem_prompt(problem: str) -> str:
    """Returns what a model is asked."""
    return f"{problem.strip()}\n\n{HOW_TO_ANSWER}"


def choice_prompt(problem: str, options: Sequence[str]) -> str:
    """Returns what a model is asked where it chooses; the options get letters in their order."""
    listed = "\n".join(f"{letter}. {option.strip()}" for letter, option in zip(LETTERS, options, strict=False))
    return f"{problem.strip()}\n\n{listed}\n\n{HOW_TO_CHOOSE}"


def read_answer(reply: str) -> str | None:
    r"""Returns what is in the last box of `reply`, without a `\text{…}` around all of it; None without a box."""
    found = extract(reply, lambda _: False)
    if found.rule is not Rule.BOXED:
        return None
    wrapped = _TEXT.fullmatch(found.text)
    return wrapped[1].strip() if wrapped else found.text


def is_cut(reply: str) -> bool:
    """Returns whether the length limit ended the reply, as far as whoever sampled it says so."""
    return isinstance(reply, Reply) and reply.fault is Fault.TRUNCATED


def is_too_long(reply: str) -> bool:
    """Returns whether nothing was sampled because the prompt left no room for a reply."""
    return isinstance(reply, Reply) and reply.fault is Fault.PROMPT_TOO_LONG


def score_math(reply: str, gold: str) -> float:
    """Returns 1.0 if the answer in `reply` is mathematically equal to `gold`, else 0.0."""
    answer = read_answer(reply)
    return float(answer is not None and is_equal(answer, gold))


def score_choice(reply: str, gold: str) -> float:
    """Returns 1.0 if the answer in `reply` is the letter `gold`, else 0.0.

    `C`, `(C)` and `C. what option C says` are the letter C.
    """
    found = _LETTER.fullmatch(read_answer(reply) or "")
    return float(found is not None and found[1].upper() == gold)


@lru_cache(maxsize=100_000)
def is_equal(answer: str, gold: str) -> bool:
    """Returns whether two answers are equal by math-verify; LaTeX and plain numbers are both understood.

    Raises:
        MissingExtraError: math-verify is not installed.
    """
    try:
        import math_verify
    except ImportError as error:
        raise MissingExtraError("scoring of mathematical answers", "reasoning") from error
    if answer.split() == gold.split():
        return True
    # Its types leave out that None is a timeout.
    checker: Any = math_verify
    # Its timeouts are signals, which only the main thread gets.
    timeout_s = TIMEOUT_S if threading.current_thread() is threading.main_thread() else None
    # Bare LaTeX is no mathematics to math-verify, and a box with more than the answer would be.
    parsed_gold = checker.parse(gold if "$" in gold else f"${gold}$", parsing_timeout=timeout_s)
    parsed_answer = checker.parse(f"\\boxed{{{answer}}}", parsing_timeout=timeout_s)
    return bool(checker.verify(parsed_gold, parsed_answer, timeout_seconds=timeout_s))


_TEXT: Final = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf)\s*\{([^{}]*)\}")

_LETTER: Final = re.compile(rf"[(\[]?([{LETTERS}])[)\]]?(?:[.:)].*)?", re.IGNORECASE | re.DOTALL)
