"""Families of reasoning-gym: seeded problems with scorers, no data files.

Source: reasoning-gym, https://github.com/open-thought/reasoning-gym, Apache-2.0.
"""

# reasoning-gym is optional and untyped.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.reasoning_answers import problem_prompt, read_answer
from benchmarks.reasoning_repliers import Replier
from benchmarks.reasoning_results import ProblemResult, Progressing, digest, problem_result
from spiral_envs.chance import bits64
from spiral_envs.errors import MissingExtraError, UnknownNameError

FAMILIES: Final[dict[str, tuple[str, str]]] = {
    "basic_arithmetic": ("arithmetic", "bare calculation, which every other family needs"),
    "gsm_symbolic": ("arithmetic", "word problems of school, new numbers and names every time"),
    "simple_equations": ("algebra", "one unknown, few steps"),
    "polynomial_equations": ("algebra", "real roots, several steps"),
    "dice": ("probability", "the chance of a total, case by case"),
    "coin_flip": ("probability", "binomial chances, as in expected values of a bet"),
    "knights_knaves": ("logic", "who lies: case analysis over what others may be"),
    "zebra_puzzles": ("logic", "elimination by constraints"),
    "syllogism": ("logic", "what follows and what does not"),
    "list_functions": ("induction", "the rule behind examples"),
    "number_sequence": ("induction", "the rule behind a sequence"),
    "countdown": ("games", "search for a formula; many answers are right"),
    "mini_sudoku": ("games", "constraints on a board of 4 x 4"),
    "maze": ("games", "the shortest way on a board"),
    "shortest_path": ("graphs", "a way through a grid, as moves"),
    "course_schedule": ("graphs", "whether prerequisites have a cycle"),
    "family_relationships": ("graphs", "a relation over several steps"),
    "color_cube_rotation": ("cognition", "a state carried through a series of moves"),
}
"""The families that are run by default: their subject, and why they are there.

All are in English, checked by the library's own scorer, have a known answer that scores 1 when it is boxed, and are
generated in well under a second each.
"""


@dataclass(frozen=True, slots=True)
class GymProblem:
    """One problem of a family.

    Attributes:
        id: The family and the number of the problem.
        family: The family.
        prompt: What the model is asked.
        digest: Of the prompt and the answer that the library has for it.
        score: Returns the score of a reply, 0 to 1, by the library's scorer.
    """

    id: str
    family: str
    prompt: str
    digest: str
    score: Callable[[str], float]


def make_problems(families: Sequence[str], *, per_family: int, seed: int) -> list[GymProblem]:
    """Returns the problems that the seed decides, family by family; the first ones are the same for any number.

    Raises:
        UnknownNameError: reasoning-gym has no such family.
        MissingExtraError: reasoning-gym is not installed.
    """
    try:
        from reasoning_gym.factory import DATASETS, create_dataset
    except ImportError as error:
        raise MissingExtraError("the suite reasoning_gym", "reasoning") from error
    # It mixes other families, which have to be told.
    known = [name for name in DATASETS if name != "composite"]
    for family in families:
        if family not in known:
            raise UnknownNameError("family of reasoning-gym", family, known)
    problems: list[GymProblem] = []
    for family in families:
        dataset = create_dataset(family, size=per_family, seed=seed)
        problems += [_problem(dataset, family, number) for number in range(per_family)]
    return problems


def _problem(dataset: Any, family: str, number: int) -> GymProblem:
    entry = dataset[number]
    prompt = problem_prompt(entry["question"])

    def score(reply: str) -> float:
        answer = read_answer(reply)
        # Some scorers give a little for any answer, even none.
        return 0.0 if answer is None else min(1.0, max(0.0, float(dataset.score_answer(answer, entry))))

    return GymProblem(f"{family}/{number}", family, prompt, digest(prompt, str(entry["answer"])), score)


class GymSuite:
    """Families of reasoning-gym, asked one batch of problems after the other.

    Attributes:
        num_replies: How many replies there will be.
    """

    def __init__(self, problems: Sequence[GymProblem], *, samples: int, seed: int) -> None:
        """Sets the problems, the number of replies to each, and the seed of the sampling."""
        self._problems = list(problems)
        self._samples = samples
        self._seed = seed
        self.num_replies = len(self._problems) * samples

    def run(
        self, replier: Callable[[], Replier], kept: Progressing, on_replies: Callable[[int], None]
    ) -> list[ProblemResult]:
        """Returns the result of every problem; batches that an interrupted run left whole are not asked again.

        Args:
            replier: Returns who replies; called only if there is something to ask.
            kept: Gets the results as they come.
            on_replies: Is told how many replies have come since the last call.

        Raises:
            EndpointError: A server does not answer, or not as it should.
        """
        if all(self._is_done(problem, kept) for problem in self._problems):
            on_replies(self.num_replies)
            return [kept.results[problem.id] for problem in self._problems]
        size = max(1, replier().batch // self._samples)
        for start in range(0, len(self._problems), size):
            batch = self._problems[start : start + size]
            if not all(self._is_done(problem, kept) for problem in batch):
                prompts = [problem.prompt for problem in batch]
                # A batch draws the same whatever was done before it.
                said = replier().reply(prompts, samples=self._samples, seed=bits64(self._seed, start))
                kept.add([_result(problem, replies) for problem, replies in zip(batch, said, strict=True)], said)
            on_replies(len(batch) * self._samples)
        return [kept.results[problem.id] for problem in self._problems]

    def _is_done(self, problem: GymProblem, kept: Progressing) -> bool:
        return kept.has(problem.id, problem.digest)


def _result(problem: GymProblem, replies: Sequence[str]) -> ProblemResult:
    return problem_result(
        identity=problem.id,
        family=problem.family,
        digest=problem.digest,
        replies=replies,
        scores=[problem.score(reply) for reply in replies],
    )
