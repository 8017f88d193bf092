"""What a run of a reasoning suite leaves behind: one file of results, and one line a problem beside it.

The lines are written while the run goes on, so that an interrupted run can go on where it was. A run with other
settings never adds to them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.reasoning_answers import is_cut, is_too_long, read_answer
from benchmarks.reasoning_statistics import Estimate, mean_estimate
from spiral_envs.json_lines import JsonLines

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class ProblemResult:
    """How one problem was answered.

    Attributes:
        id: The family or task and the number of the problem in it.
        family: The family or task.
        digest: Of the prompt and the right answer; equal digests are the same problem.
        scores: Of each reply, 0 to 1.
        no_box: How many replies ended by themselves without an answer in a box.
        cut: How many the length limit cut, with an answer or without.
        too_long: How many were not sampled because the prompt left no room.
    """

    id: str
    family: str
    digest: str
    scores: tuple[float, ...]
    no_box: int
    cut: int
    too_long: int

    @property
    def mean(self) -> float:
        """The mean score of the replies."""
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True, slots=True)
class Row:
    """What a table says of one family or task, or of all of them.

    Attributes:
        family: Its name; "overall" for all, equally weighted.
        problems: Their number.
        samples: Replies to a problem; 0 where it differs by family.
        score: The mean over problems of the mean score of their replies.
        solved: The share of replies with the full score.
        no_box: The share of replies that ended by themselves without an answer in a box.
        cut: The share of replies that the length limit cut.
        too_long: The share of replies that were not sampled because the prompt left no room.
    """

    family: str
    problems: int
    samples: int
    score: Estimate
    solved: float
    no_box: float
    cut: float
    too_long: float


class ResultsError(ValueError):
    """A file of results that is missing, is none, or does not fit."""


def digest(prompt: str, answer: str) -> str:
    """Returns 16 hexadecimal digits that differ between problems."""
    return hashlib.sha256(json.dumps([prompt, answer]).encode()).hexdigest()[:16]


def problem_result(
    *, identity: str, family: str, digest: str, replies: Sequence[str], scores: Sequence[float]
) -> ProblemResult:
    """Returns the result of one problem from its replies and their scores."""
    ended = [reply for reply in replies if not is_cut(reply) and not is_too_long(reply)]
    return ProblemResult(
        id=identity,
        family=family,
        digest=digest,
        scores=tuple(scores),
        no_box=sum(read_answer(reply) is None for reply in ended),
        cut=sum(map(is_cut, replies)),
        too_long=sum(map(is_too_long, replies)),
    )


class Progressing:
    """The lines beside a file of results, which grow while a run goes on."""

    def __init__(self, out: Path, settings: Mapping[str, Any], *, keep_replies: bool) -> None:
        """Opens the lines of an interrupted run with these settings, or begins them.

        Raises:
            ResultsError: The lines there are of a run with other settings.
        """
        self.path = out.with_suffix(".problems.jsonl")
        self._lines = JsonLines(self.path)
        self._keep_replies = keep_replies
        self.results: dict[str, ProblemResult] = {}
        # As JSON gives them back, with lists for tuples.
        mine = json.loads(json.dumps(settings))
        kept = self._lines.read()
        if len(kept) <= 1:
            # A run that ended before its first problem leaves nothing to go on with, or to lose.
            self.path.unlink(missing_ok=True)
            self._lines.append([{"settings": mine}])
            return
        theirs = kept[0].get("settings")
        if theirs != mine:
            changed = sorted(key for key in mine if not isinstance(theirs, dict) or theirs.get(key) != mine[key])
            raise ResultsError(
                f"{self.path} holds problems of a run with another {', '.join(changed) or 'suite'}:"
                " give another --out, or delete that file"
            )
        for line in kept[1:]:
            result = _result(line)
            self.results[result.id] = result

    def has(self, identity: str, digest: str) -> bool:
        """Returns whether the problem was answered already.

        Raises:
            ResultsError: Another problem of that id was.
        """
        result = self.results.get(identity)
        if result is not None and result.digest != digest:
            raise ResultsError(
                f"{self.path} holds another problem {identity}, of other data or another version of its generator:"
                " give another --out, or delete that file"
            )
        return result is not None

    def add(self, results: Iterable[ProblemResult], replies: Iterable[Sequence[str]]) -> None:
        """Writes the results of some problems, with their replies if they are to be kept."""
        added = list(results)
        lines = [asdict(result) for result in added]
        if self._keep_replies:
            lines = [line | {"replies": list(said)} for line, said in zip(lines, replies, strict=True)]
        self._lines.append(lines)
        self.results |= {result.id: result for result in added}


def rows(results: Sequence[ProblemResult], *, seed: int) -> list[Row]:
    """Returns one row a family, in the order of the results, then one for all if there are several."""
    families = by_family(results)
    table = [_row(name, [of], seed) for name, of in families.items()]
    return table if len(families) == 1 else [*table, _row("overall", list(families.values()), seed)]


def by_family(results: Sequence[ProblemResult]) -> dict[str, list[ProblemResult]]:
    """Returns the results of every family, in their order."""
    families: dict[str, list[ProblemResult]] = {}
    for result in results:
        families.setdefault(result.family, []).append(result)
    return families


def means(results: Sequence[ProblemResult]) -> NDArray[np.float64]:
    """Returns the mean score of every problem `[problems]`."""
    return np.array([result.mean for result in results])


def write_results(path: Path, run: Mapping[str, Any], results: Sequence[ProblemResult], table: Sequence[Row]) -> None:
    """Writes a file of results: what was run, the table, and every problem."""
    summary = [asdict(row) | {"score": row.score._asdict()} for row in table]
    problems = [asdict(result) for result in results]
    text = json.dumps({"format": FORMAT, **run, "summary": summary, "problems": problems}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")


def read_results(path: Path) -> tuple[dict[str, Any], list[ProblemResult]]:
    """Returns what was run and the results of every problem, from a file of results.

    Raises:
        ResultsError: It is missing, or no file of results.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ResultsError(f"{path} is no file of results: {error}") from error
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        raise ResultsError(f"{path} is no file of results that --out of this command writes")
    return held, [_result(line) for line in held["problems"]]


def _result(line: Mapping[str, Any]) -> ProblemResult:
    values: dict[str, Any] = {field.name: line[field.name] for field in fields(ProblemResult)}
    return ProblemResult(**{**values, "scores": tuple(values["scores"])})


def _row(name: str, families: Sequence[Sequence[ProblemResult]], seed: int) -> Row:
    results = [result for of in families for result in of]
    replies = [len(result.scores) for result in results]

    def share(counts: Sequence[int]) -> float:
        """Returns the mean over families of the share of replies, so that it weighs as the score does."""
        shares = iter(counts)
        return float(np.mean([sum(next(shares) for _ in of) / sum(len(each.scores) for each in of) for of in families]))

    return Row(
        family=name,
        problems=len(results),
        samples=replies[0] if len(set(replies)) == 1 else 0,
        score=mean_estimate([means(of) for of in families], seed=seed),
        solved=share([sum(score >= 1 for score in result.scores) for result in results]),
        no_box=share([result.no_box for result in results]),
        cut=share([result.cut for result in results]),
        too_long=share([result.too_long for result in results]),
    )
