"""Mathematical benchmarks by lm-eval, as the task files beside this one describe them.

The model is asked through our own repliers rather than lm-eval's models: theirs say nothing about replies that were
cut, and the one for endpoints (0.4.13) sends one seed with every request, so that a server that knows seeds would
answer a problem 32 times with the same words.
"""

# lm-eval and datasets are optional, and untyped.
# pyright: reportMissingImports=false

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from benchmarks.reasoning_problems import MathProblem, read_problem_file
from benchmarks.reasoning_repliers import Replier
from benchmarks.reasoning_results import ProblemResult, Progressing, problem_result
from spiral_envs.chance import bits64
from spiral_envs.errors import MissingExtraError, UnknownNameError
from spiral_envs.match import Reply

TASKS: Final[dict[str, str]] = {
    "math500": "MATH-500, 500 problems of competitions",
    "aime24": "AIME 2024, 30 problems, answers 0 to 999",
    "aime25": "AIME 2025, 30 problems, answers 0 to 999",
    "amc23": "AMC 12 of 2023, 40 problems",
    "olympiad_bench": "OlympiadBench, open problems in English without pictures",
    "minerva": "Minerva, 272 problems of university courses",
    "gpqa_diamond": "GPQA Diamond, 198 questions of graduate science with 4 options",
    "mmlu_pro": "MMLU-Pro, 12,032 questions with up to 10 options",
}
"""The tasks and what they hold; each has a file in `TASK_FOLDER`."""

CHOICES: Final = frozenset({"gpqa_diamond", "mmlu_pro"})
"""Tasks whose problems have options."""

SHUFFLED: Final = frozenset({"gpqa_diamond"})
"""Tasks whose source says the right option first, or in an order that may be known by heart."""

TASK_FOLDER: Final = Path(__file__).parent / "reasoning_tasks"


class DataError(RuntimeError):
    """A data set that cannot be loaded."""


class MathTask:
    """One task with its problems, as lm-eval loads it.

    Attributes:
        name: A key of `TASKS`.
        samples: Replies to a problem.
        problems: The problems that are asked, in order.
    """

    def __init__(self, name: str, *, data_dir: Path | None, samples: int | None, limit: int | None, seed: int) -> None:
        """Loads the problems.

        Args:
            name: A key of `TASKS`.
            data_dir: Where `NAME.jsonl` is; None for the hub.
            samples: Replies to a problem; None for what the task file says.
            limit: Only the first so many problems; None for all.
            seed: Of the order of options.

        Raises:
            UnknownNameError: There is no such task.
            MissingExtraError: lm-eval is not installed.
            ProblemFileError: The file is missing, or a line of it is no problem.
            DataError: The hub does not give the data set.
        """
        if name not in TASKS:
            raise UnknownNameError("task of the suite math", name, TASKS)
        self.name = name
        changes = _changes(name, data_dir=data_dir, samples=samples, seed=seed)
        self._manager, self._task = _loaded({"task": f"spiral_{name}", **changes})
        self.samples = int(self._task.config.repeats)
        documents = list(self._task.eval_docs)
        self.problems = [_problem(document) for document in documents[:limit]]
        self._limit = limit

    def is_done(self, kept: Progressing) -> bool:
        """Returns whether every problem was answered already."""
        return all(kept.has(f"{self.name}/{number}", each.digest) for number, each in enumerate(self.problems))

    def run(
        self, replier: Replier, *, seed: int, on_replies: Callable[[int], None]
    ) -> tuple[list[ProblemResult], list[list[str]]]:
        """Returns the result of every problem, and the replies to it.

        Args:
            replier: Replies.
            seed: Of the sampling.
            on_replies: Is told how many replies have come since the last call.

        Raises:
            EndpointError: A server does not answer, or not as it should.
        """
        from lm_eval.evaluator import simple_evaluate

        # What comes back is typed as if every task had all kinds of samples.
        evaluation: Any = simple_evaluate(
            model=_language_model(replier, seed=seed, on_replies=on_replies),
            tasks=[self._task],
            task_manager=self._manager,
            limit=self._limit,
            bootstrap_iters=0,
            log_samples=True,
        )
        assert evaluation is not None, "there is one process"
        samples = sorted(evaluation["samples"][self._task.config.task], key=lambda sample: sample["doc_id"])
        said = [list(sample["resps"][0]) for sample in samples]
        return [
            problem_result(
                identity=f"{self.name}/{number}",
                family=self.name,
                digest=problem.digest,
                replies=replies,
                # lm-eval keeps the mean only; what was compared once is remembered.
                scores=[problem.score(reply) for reply in replies],
            )
            for number, (problem, replies) in enumerate(zip(self.problems, said, strict=True))
        ], said


class MathSuite:
    """Some tasks, one after the other.

    Attributes:
        num_replies: How many replies there will be.
    """

    def __init__(self, tasks: Sequence[MathTask], *, seed: int) -> None:
        """Sets the tasks and the seed of the sampling."""
        self._tasks = list(tasks)
        self._seed = seed
        self.num_replies = sum(len(task.problems) * task.samples for task in self._tasks)

    def run(
        self, replier: Callable[[], Replier], kept: Progressing, on_replies: Callable[[int], None]
    ) -> list[ProblemResult]:
        """Returns the result of every problem; tasks that an interrupted run left whole are not asked again.

        Args:
            replier: Returns who replies; called only if there is something to ask.
            kept: Gets the results of a task when it is done.
            on_replies: Is told how many replies have come since the last call.

        Raises:
            EndpointError: A server does not answer, or not as it should.
        """
        for task in self._tasks:
            if task.is_done(kept):
                on_replies(len(task.problems) * task.samples)
            else:
                kept.add(*task.run(replier(), seed=self._seed, on_replies=on_replies))
        return [kept.results[f"{task.name}/{number}"] for task in self._tasks for number in range(len(task.problems))]


def _changes(name: str, *, data_dir: Path | None, samples: int | None, seed: int) -> dict[str, Any]:
    """Returns what is different from the task file."""
    changes: dict[str, Any] = {} if samples is None else {"repeats": samples}
    if data_dir is not None:
        problems = read_problem_file(data_dir / f"{name}.jsonl", is_choice=name in CHOICES)
        if name in SHUFFLED:
            problems = [problem.shuffled(seed) for problem in problems]
        own = {"custom_dataset": partial(_own_rows, problems), "process_docs": _as_they_are}
        return changes | own | {"dataset_path": None, "dataset_name": None, "test_split": "test"}
    if name in SHUFFLED:
        from benchmarks.reasoning_tasks.hub_rows import of_gpqa

        changes["process_docs"] = partial(of_gpqa, seed=seed)
    return changes


def _own_rows(problems: Sequence[MathProblem], **_: Any) -> dict[str, Any]:
    from benchmarks.reasoning_tasks.hub_rows import as_dataset

    return {"test": as_dataset(problems)}


def _as_they_are(rows: Any) -> Any:
    return rows


def _problem(document: Mapping[str, Any]) -> MathProblem:
    from benchmarks.reasoning_tasks.hub_rows import of_document

    return of_document(document)


def _loaded(overrides: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns lm-eval's task manager and the task.

    Raises:
        MissingExtraError: lm-eval is not installed.
        DataError: The hub does not give the data set.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MissingExtraError("the suite math", "reasoning") from error
    # Its notes are about what the task files do on purpose.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=str(TASK_FOLDER), include_defaults=False)
    name = overrides["task"]
    try:
        # Only as a member of a group a task takes changes to its file.
        return manager, manager.load([{"group": "reasoning", "task": [dict(overrides)]}])["tasks"][name]
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"cannot load the data of {name.removeprefix('spiral_')} from the hub: {reason};"
            f" give --data-dir with {name.removeprefix('spiral_')}.jsonl for a file of your own"
        ) from error


def _language_model(replier: Replier, *, seed: int, on_replies: Callable[[int], None]) -> Any:
    """Returns a replier in the form of lm-eval's models."""
    # A class of an optional package can only be extended once that is there.
    from lm_eval.api.model import LM

    class ReplierModel(LM):
        def generate_until(self, requests: list[Any]) -> list[Reply]:
            # lm-eval repeats each request in place, one after the other.
            asked = [list(repeats) for _, repeats in groupby(requests, key=id)]
            samples = len(asked[0])
            size = max(1, replier.batch // samples)
            said: list[Reply] = []
            for number, start in enumerate(range(0, len(asked), size)):
                prompts = [repeats[0].args[0] for repeats in asked[start : start + size]]
                for replies in replier.reply(prompts, samples=samples, seed=bits64(seed, number)):
                    said += replies
                on_replies(len(prompts) * samples)
            return said

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            raise NotImplementedError("these tasks are answered in words")

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise NotImplementedError("these tasks are answered in words")

    return ReplierModel()
