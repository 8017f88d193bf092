"""Problems of mathematical benchmarks: from rows of the hub's data sets, or of files of the user's own."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reasoning_answers import LETTERS, choice_prompt, problem_prompt, score_choice, score_math
from benchmarks.reasoning_results import digest


class ProblemFileError(ValueError):
    """A file of problems that is missing, or a line of it that is no problem."""


@dataclass(frozen=True, slots=True)
class MathProblem:
    """A problem with its answer.

    Attributes:
        problem: The text.
        answer: The right answer, in LaTeX or as a number; with options the letter of the right one.
        options: What there is to choose from; empty where the answer is free.
    """

    problem: str
    answer: str
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that the answer is one of the options.

        Raises:
            ValueError: It is not, or there are fewer than 2 options, or more than letters.
        """
        if self.options and not 2 <= len(self.options) <= len(LETTERS):
            raise ValueError(f"{len(self.options)} options: expected 2 to {len(LETTERS)}")
        if self.options and self.answer not in LETTERS[: len(self.options)]:
            raise ValueError(f"answer {self.answer!r}: expected a letter from A to {LETTERS[len(self.options) - 1]}")

    @property
    def prompt(self) -> str:
        """What a model is asked."""
        return choice_prompt(self.problem, self.options) if self.options else problem_prompt(self.problem)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that differ between problems, and between orders of options."""
        return digest(self.prompt, self.answer)

    def score(self, reply: str) -> float:
        """Returns 1.0 if a reply has the right answer, else 0.0."""
        return score_choice(reply, self.answer) if self.options else score_math(reply, self.answer)

    def shuffled(self, seed: int) -> MathProblem:
        """Returns the problem with its options in an order that its text and the seed decide."""
        order = list(range(len(self.options)))
        # A text seeds it the same in every process.
        random.Random(f"{seed} {self.problem}").shuffle(order)
        right = order.index(LETTERS.index(self.answer))
        return MathProblem(self.problem, LETTERS[right], tuple(self.options[index] for index in order))


def read_problem(row: Any, *, is_choice: bool) -> MathProblem:
    """Returns the problem in a row with the fields `problem`, `answer` and, where it is a choice, `options`.

    Raises:
        ValueError: It is no mapping, or a field is missing or of another type.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"expected a JSON object, got {str(row)[:40]!r}")  # noqa: TRY004 - what is read is wrong
    fields = ("problem", "answer", "options") if is_choice else ("problem", "answer")
    missing = [name for name in fields if name not in row]
    if missing:
        raise ValueError(f"no field {', '.join(missing)}: expected {', '.join(fields)}")
    problem, answer, options = row["problem"], row["answer"], row["options"] if is_choice else ()
    if not isinstance(problem, str) or not problem.strip():
        raise ValueError(f"problem {problem!r}: expected a text")
    if isinstance(answer, bool) or not isinstance(answer, str | int | float) or not str(answer).strip():
        raise ValueError(f"answer {answer!r}: expected a text or a number")
    if is_choice and not (isinstance(options, list) and options and all(isinstance(each, str) for each in options)):
        raise ValueError(f"options {options!r}: expected a list of texts")
    return MathProblem(problem, str(answer).strip(), tuple(options))


def read_problem_file(path: Path, *, is_choice: bool) -> list[MathProblem]:
    """Returns the problems in a file of one JSON object a line.

    Raises:
        ProblemFileError: The file is missing or empty, or a line is no problem; the message has its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ProblemFileError(f"cannot read {path}: {reason}") from error
    problems: list[MathProblem] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            problems.append(read_problem(json.loads(line), is_choice=is_choice))
        except ValueError as error:
            raise ProblemFileError(f"{path}, line {number}: {error}") from error
    if not problems:
        raise ProblemFileError(f"{path} holds no problem")
    return problems
