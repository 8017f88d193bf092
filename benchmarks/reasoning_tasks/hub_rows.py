"""What the task files call: rows of the hub's data sets as problems, what a model is asked, and how it is scored."""

# lm-eval and datasets are optional, and untyped.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from datasets import Dataset

from benchmarks.reasoning_answers import LETTERS, read_answer
from benchmarks.reasoning_problems import MathProblem, read_problem


def as_dataset(problems: Iterable[MathProblem]) -> Dataset:
    """Returns problems as lm-eval wants them."""
    return Dataset.from_list([asdict(problem) | {"options": list(problem.options)} for problem in problems])


def of_document(document: Mapping[str, Any]) -> MathProblem:
    """Returns the problem in a row that `as_dataset` wrote."""
    return MathProblem(document["problem"], document["answer"], tuple(document["options"]))


def with_problems(rows: Iterable[Mapping[str, Any]]) -> Dataset:
    """Returns rows with `problem` and `answer` (MATH-500, AIME)."""
    return _renamed(rows, "problem", "answer")


def with_questions(rows: Iterable[Mapping[str, Any]]) -> Dataset:
    """Returns rows with `question` and `answer` (AMC, Minerva)."""
    return _renamed(rows, "question", "answer")


def of_olympiad(rows: Iterable[Mapping[str, Any]]) -> Dataset:
    """Returns rows with `question` and a list `final_answer` (OlympiadBench)."""
    return as_dataset(MathProblem(row["question"], ", ".join(row["final_answer"])) for row in rows)


def of_mmlu_pro(rows: Iterable[Mapping[str, Any]]) -> Dataset:
    """Returns rows with `question`, a list `options` and a letter `answer` (MMLU-Pro)."""
    return as_dataset(MathProblem(row["question"], row["answer"], tuple(row["options"])) for row in rows)


def of_gpqa(rows: Iterable[Mapping[str, Any]], *, seed: int = 0) -> Dataset:
    """Returns rows with the right answer and three wrong ones (GPQA), the options in an order of their own each."""
    wrong = [f"Incorrect Answer {number}" for number in (1, 2, 3)]
    problems = (
        MathProblem(row["Question"], LETTERS[0], (row["Correct Answer"], *(row[name] for name in wrong)))
        for row in rows
    )
    return as_dataset(problem.shuffled(seed) for problem in problems)


def prompt(document: Mapping[str, Any]) -> str:
    """Returns what a model is asked."""
    return of_document(document).prompt


def score(document: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """Returns the mean score of all replies to a problem, and the share of those without a box."""
    replies = results[0]
    problem = of_document(document)
    return {
        "avg": sum(problem.score(reply) for reply in replies) / len(replies),
        "no_box": sum(read_answer(reply) is None for reply in replies) / len(replies),
    }


def _renamed(rows: Iterable[Mapping[str, Any]], problem: str, answer: str) -> Dataset:
    return as_dataset(read_problem({"problem": row[problem], "answer": row[answer]}, is_choice=False) for row in rows)
