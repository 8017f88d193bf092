"""Transfer to reasoning: reading and scoring replies, both suites, intervals and comparisons; made-up problems only."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_openai_server import completion, error, serving

from benchmarks.reasoning import main
from benchmarks.reasoning_answers import choice_prompt, is_cut, read_answer, score_choice
from benchmarks.reasoning_comparison import compare, notes
from benchmarks.reasoning_families import FAMILIES, GymProblem, GymSuite, make_problems
from benchmarks.reasoning_problems import MathProblem, ProblemFileError, read_problem_file
from benchmarks.reasoning_repliers import EndpointReplier, Sampling, check_agent, make_replier, sampling_of
from benchmarks.reasoning_results import (
    ProblemResult,
    Progressing,
    ResultsError,
    digest,
    problem_result,
    read_results,
    rows,
    write_results,
)
from benchmarks.reasoning_statistics import Estimate, holm, mean_estimate, sign_flip_p_value
from spiral_envs.agents import EndpointError
from spiral_envs.agents.openai import parse_endpoint
from spiral_envs.match import Fault, Reply

FIXTURES = Path(__file__).parent / "fixtures" / "reasoning"


class Scripted:
    """Replies by a function of the prompt and the number of the sample."""

    def __init__(self, reply, *, batch=4):
        self.answer = reply
        self.batch = batch
        self.asked = []
        self.seeds = []

    def reply(self, prompts, *, samples, seed):
        self.asked += prompts
        self.seeds.append(seed)
        return [[self.answer(prompt, number) for number in range(samples)] for prompt in prompts]


def result(identity, *scores, mark="d", family=None):
    return ProblemResult(identity, family or identity.split("/")[0], mark, scores, 0, 0, 0)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (r"So it is \boxed{12}.", "12"),
        (r"First \boxed{1}, no: \boxed{2}", "2"),
        (r"\boxed{\frac{1}{\sqrt{2}}} holds", r"\frac{1}{\sqrt{2}}"),
        (r"<think>\boxed{1}</think> \boxed{2}", "2"),
        (r"<think>\boxed{1}</think> I do not know", None),
        (r"\boxed{1}</think> the block was opened in the prompt", None),
        (r"\boxed{\text{Thursday}}", "Thursday"),
        (r"\boxed{\text{a} + \text{b}}", r"\text{a} + \text{b}"),
        (r"\boxed{1} and then \boxed{2", None),
        (r"\boxed{}", None),
        ("The answer is [4].", None),
        ("", None),
    ],
)
def test_the_last_closed_box_after_the_reasoning_is_the_answer(reply, answer):
    assert read_answer(reply) == answer


@pytest.mark.parametrize(
    ("boxed", "gold", "score"),
    [
        ("5/4", r"\frac{5}{4}", 1.0),
        (r"\frac{10}{8}", r"\frac{5}{4}", 1.0),
        ("1.25", r"\frac{5}{4}", 1.0),
        ("1.26", r"\frac{5}{4}", 0.0),
        ("(x+2)^2", "x^2+4x+4", 1.0),
        ("(x-2)^2", "x^2+4x+4", 0.0),
        (r"\{3, -3\}", r"\{-3, 3\}", 1.0),
        (r"\{3\}", r"\{-3, 3\}", 0.0),
        ("27", "27.0", 1.0),
        ("1,234", "1234", 1.0),
        ("(1,4]", "(1,4]", 1.0),
        ("[1,4]", "(1,4]", 0.0),
        ("2, 3", "2,3", 1.0),
        ("what is it", "4", 0.0),
        (r"\frac{1}{", "4", 0.0),
    ],
)
def test_answers_are_equal_as_mathematics_not_as_text(boxed, gold, score):
    pytest.importorskip("math_verify")
    assert MathProblem("?", gold).score(f"so \\boxed{{{boxed}}}") == score


def test_a_number_outside_the_box_earns_nothing():
    pytest.importorskip("math_verify")
    assert MathProblem("?", "7").score("It is 7, so 7.") == 0
    assert MathProblem("?", "7").score(r"It is 7, so \boxed{8}.") == 0


def test_answers_are_compared_in_a_thread_as_well():
    pytest.importorskip("math_verify")
    scores = []
    thread = threading.Thread(target=lambda: scores.append(MathProblem("?", "0.5").score(r"\boxed{\frac{3}{6}}")))
    thread.start()
    thread.join()
    assert scores == [1.0]


@pytest.mark.parametrize(
    ("boxed", "score"),
    [
        ("C", 1),
        ("c", 1),
        ("(C)", 1),
        ("C. a neutron", 1),
        (r"\text{C}", 1),
        ("D", 0),
        ("Cat", 0),
        ("A cat", 0),
        ("", 0),
    ],
)
def test_a_letter_is_chosen_with_or_without_what_it_stands_for(boxed, score):
    assert score_choice(f"\\boxed{{{boxed}}}", "C") == score


def test_options_are_listed_by_letter():
    assert choice_prompt("Which?", ["one", "two "]) == (
        "Which?\n\nA. one\nB. two\n\nReason step by step, then put the letter of the right option in \\boxed{}."
    )


def test_shuffled_options_keep_the_right_one_and_depend_on_the_seed_and_the_problem_alone():
    problem = MathProblem("Which?", "B", ("one", "two", "three", "four"))
    orders = {problem.shuffled(seed).options for seed in range(200)}
    assert len(orders) == 24
    for seed in range(20):
        shuffled = problem.shuffled(seed)
        assert shuffled.options["ABCD".index(shuffled.answer)] == "two"
        assert shuffled == problem.shuffled(seed)
    assert len({MathProblem(f"Which {n}?", "B", problem.options).shuffled(0).options for n in range(50)}) > 10


def test_replies_without_a_box_and_cut_replies_are_counted_apart():
    replies = [
        Reply(r"\boxed{1}"),
        Reply("I give up"),
        Reply("and so on and", Fault.TRUNCATED),
        Reply(r"\boxed{1} and so", Fault.TRUNCATED),
        Reply("", Fault.PROMPT_TOO_LONG),
    ]
    counted = problem_result(identity="f/0", family="f", digest="d", replies=replies, scores=[1, 0, 0, 1, 0])
    assert (counted.no_box, counted.cut, counted.too_long, counted.mean) == (1, 2, 1, 0.4)
    assert [is_cut(reply) for reply in replies] == [False, False, True, True, False]
    (row,) = rows([counted], seed=0)
    assert (row.solved, row.no_box, row.cut, row.too_long) == (0.4, 0.2, 0.4, 0.2)


def test_rows_weigh_families_equally_and_average_samples_within_a_problem():
    table = rows([result("a/0", 1, 0), result("a/1", 1, 1), result("b/0", 0, 0), result("b/1", 0, 0)], seed=0)
    assert [(row.family, row.problems, row.samples, row.score.mean) for row in table] == [
        ("a", 2, 2, 0.75),
        ("b", 2, 2, 0.0),
        ("overall", 4, 2, 0.375),
    ]
    table = rows([result("a/0", 1), result("b/0", 0, 0, 0), result("b/1", 0, 0, 0)], seed=0)
    assert (table[-1].score.mean, table[-1].solved, table[-1].samples) == (0.5, 0.5, 0)


# Statistics.


def test_where_all_scores_agree_the_interval_says_how_many_might_not():
    # 0.025 ** (1 / 4) = 0.39764 of all problems might be unsolved at most when 4 of 4 are solved.
    assert mean_estimate([np.ones(4)], seed=0) == pytest.approx(Estimate(1.0, 0.39764, 1.0), abs=1e-5)
    assert mean_estimate([np.zeros(4)], seed=0) == pytest.approx(Estimate(0.0, 0.0, 0.60236), abs=1e-5)
    # Two families of 4: 1 - 0.025 ** (1 / 8) = 0.36942.
    assert mean_estimate([np.zeros(4), np.zeros(6)], seed=0).high == pytest.approx(0.36942, abs=1e-5)
    # A difference can be -1, so both ends move.
    assert mean_estimate([np.zeros(4)], seed=0, lowest=-1).low == pytest.approx(-0.60236, abs=1e-5)


def test_the_bootstrap_interval_has_the_width_of_theory():
    scores = np.repeat([0.0, 1.0], 200)
    # The standard error of a share of 1/2 among 400 is 0.025; 1.96 of them to either side.
    estimate = mean_estimate([scores], seed=1)
    assert estimate.mean == 0.5
    assert estimate.low == pytest.approx(0.451, abs=0.003)
    assert estimate.high == pytest.approx(0.549, abs=0.003)
    # Two families of 200 each: the same number of problems, the same width.
    assert mean_estimate([scores[::2], scores[::2]], seed=1).low == pytest.approx(0.451, abs=0.003)


@pytest.mark.slow
def test_the_interval_of_no_difference_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(5)
    runs = 400
    covered = rejected = 0
    for seed in range(runs):
        # Problems differ in difficulty, and both agents are equally good at each.
        ability = rng.uniform(size=60)
        before, after = rng.binomial(4, ability) / 4, rng.binomial(4, ability) / 4
        estimate = mean_estimate([after - before], seed=seed, lowest=-1)
        covered += estimate.low <= 0 <= estimate.high
        rejected += sign_flip_p_value([after - before], seed=seed) < 0.05
    # 0.95 with three standard errors of 0.011, and a percentile bootstrap of 60 problems may lack 0.015.
    assert 0.9 <= covered / runs <= 0.983
    assert rejected / runs <= 0.083


def test_sign_flips_count_how_chance_would_do():
    # Of 16 ways to sign four equal differences, 2 are as extreme: 0.125. A bootstrap would call it certain.
    assert sign_flip_p_value([np.ones(4)], seed=0) == pytest.approx(0.125, abs=0.015)
    # Sizes 1, 2 and 3: only all up or all down reach 6 of 6: 2 of 8.
    assert sign_flip_p_value([np.array([1.0, 2.0, 3.0])], seed=0) == pytest.approx(0.25, abs=0.015)
    assert sign_flip_p_value([np.zeros(5)], seed=0) == 1
    # Two families of two, all +1: again all four must agree.
    assert sign_flip_p_value([np.ones(2), np.ones(2)], seed=0) == pytest.approx(0.125, abs=0.015)


def test_p_values_are_corrected_by_holm():
    # 3 x 0.01, then 2 x 0.02 = 0.04, then 0.3; never below the one before, never above 1.
    assert holm([0.02, 0.3, 0.01]) == pytest.approx([0.04, 0.3, 0.03])
    assert holm([0.04, 0.03, 0.9]) == pytest.approx([0.09, 0.09, 0.9])
    assert holm([0.7, 0.8]) == [1.0, 1.0]


# Comparison.


def run_of(family, scores, *, mark="d"):
    return [result(f"{family}/{number}", score, mark=f"{mark}{number}") for number, score in enumerate(scores)]


def test_a_known_difference_is_found_and_an_equal_one_is_not():
    before = run_of("better", [0, 1] * 40) + run_of("same", [0, 1] * 40)
    # 32 of the 40 unsolved problems are solved afterwards; in the other family 5 are gained and 5 lost.
    better = [1.0] * 64 + [0, 1] * 8
    same = [1, 1] * 5 + [0, 0] * 5 + [0, 1] * 30
    first, second, overall = compare(before, run_of("better", better) + run_of("same", same), seed=0)
    assert (first.family, first.before, first.after) == ("better", 0.5, 0.9)
    assert first.difference.mean == pytest.approx(0.4)
    # sqrt(0.4 x 0.6 / 80) = 0.0548; 1.96 of them to either side.
    assert first.difference.low == pytest.approx(0.29, abs=0.02)
    assert first.difference.high == pytest.approx(0.51, abs=0.02)
    assert first.is_significant
    assert first.p_value < 0.001
    assert second.difference.mean == 0
    assert not second.is_significant
    assert overall.family == "overall"
    assert overall.difference.mean == pytest.approx(0.2)
    assert overall.is_significant


def test_few_problems_never_make_a_difference_significant():
    (change,) = compare(run_of("f", [0] * 4), run_of("f", [1] * 4), seed=0)
    assert change.difference.mean == 1
    assert not change.is_significant
    runs = {"settings": {"agent": "a", "seed": 0}, "packages": {}}
    assert notes([change], runs, runs) == [
        "Fewer than 20 problems: f. Their intervals may be too narrow; the p-values hold."
    ]
    assert "The setting seed differs: 0 before, 1 after." in notes([], runs, runs | {"settings": {"seed": 1}})


def test_runs_of_other_problems_are_not_compared():
    with pytest.raises(ResultsError, match="not of the same problems: 2 before, 3 after, and f/2 is in only one"):
        compare(run_of("f", [0, 1]), run_of("f", [0, 1, 1]), seed=0)
    with pytest.raises(ResultsError, match="not of the same problems: 2 differ, the first is f/0; run both with"):
        compare(run_of("f", [0, 1]), run_of("f", [0, 1], mark="e"), seed=0)


def test_the_order_of_problems_does_not_matter():
    before, after = run_of("f", [0, 0, 1, 1] * 10), run_of("f", [0, 1, 1, 1] * 10)
    (change,) = compare(before, after[::-1], seed=0)
    assert change.difference.mean == pytest.approx(0.25)


# Families of reasoning-gym.


def test_the_right_answer_in_a_box_scores_1_in_every_default_family():
    gym = pytest.importorskip("reasoning_gym")
    problems = make_problems(list(FAMILIES), per_family=3, seed=11)
    for problem in problems:
        number = int(problem.id.rpartition("/")[2])
        answer = gym.create_dataset(problem.family, size=3, seed=11)[number]["answer"]
        assert problem.score(f"<think>\\boxed{{no}}</think>I say \\boxed{{{answer}}}.") == 1, problem.id
        assert problem.score(f"I say {answer}.") == 0
        assert problem.prompt.endswith("\n\nReason step by step, then put your final answer in \\boxed{}.")


def test_a_seed_decides_the_problems_whatever_their_number():
    pytest.importorskip("reasoning_gym")
    families = ["maze", "syllogism"]
    some = make_problems(families, per_family=3, seed=1)
    more = {problem.id: problem.digest for problem in make_problems(families, per_family=5, seed=1)}
    assert [more[problem.id] for problem in some] == [problem.digest for problem in some]
    other = make_problems(families, per_family=3, seed=2)
    assert all(one.digest != two.digest for one, two in zip(some, other, strict=True))


def made_up(number):
    """Returns problem `number`, of which the right answer is its number."""

    def score(reply):
        return float(read_answer(reply) == str(number))

    return GymProblem(f"f/{number}", "f", f"Say {number}.", digest(f"Say {number}.", str(number)), score)


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path):
    problems = [made_up(number) for number in range(10)]
    settings = {"samples": 2, "families": ("f",)}

    def right_at_first(prompt, number):
        return Reply(f"\\boxed{{{prompt[4:-1] if number == 0 else 'no'}}}")

    whole = Scripted(right_at_first)
    expected = GymSuite(problems, samples=2, seed=3).run(
        lambda: whole, Progressing(tmp_path / "whole.json", settings, keep_replies=False), lambda count: None
    )
    assert [each.scores for each in expected] == [(1.0, 0.0)] * 10

    class Failing(Scripted):
        def reply(self, prompts, *, samples, seed):
            if len(self.asked) == 4:
                raise EndpointError("gone")
            return super().reply(prompts, samples=samples, seed=seed)

    out = tmp_path / "cut.json"
    failing, rest = Failing(right_at_first), Scripted(right_at_first)
    with pytest.raises(EndpointError):
        GymSuite(problems, samples=2, seed=3).run(
            lambda: failing, Progressing(out, settings, keep_replies=True), lambda count: None
        )
    counted = []
    resumed = GymSuite(problems, samples=2, seed=3).run(
        lambda: rest, Progressing(out, settings, keep_replies=True), counted.append
    )
    assert resumed == expected
    assert failing.asked + rest.asked == whole.asked
    assert failing.seeds + rest.seeds == whole.seeds
    assert sum(counted) == 20
    lines = [json.loads(line) for line in (tmp_path / "cut.problems.jsonl").read_text().splitlines()]
    assert lines[1]["replies"] == ["\\boxed{0}", "\\boxed{no}"]
    assert "replies" not in (tmp_path / "whole.problems.jsonl").read_text()
    # Nothing is left, so that no model is needed.
    done = Progressing(out, settings, keep_replies=True)
    assert (
        GymSuite(problems, samples=2, seed=3).run(lambda: pytest.fail("a model was asked for"), done, counted.append)
        == expected
    )


def test_a_run_that_ended_before_its_first_problem_does_not_stand_in_the_way(tmp_path):
    out = tmp_path / "a.json"
    Progressing(out, {"seed": 0}, keep_replies=False)

    Progressing(out, {"seed": 1}, keep_replies=False).add([result("f/0", 1)], [["x"]])

    assert Progressing(out, {"seed": 1}, keep_replies=False).has("f/0", "d")
    settings, _ = (tmp_path / "a.problems.jsonl").read_text().splitlines()
    assert json.loads(settings) == {"settings": {"seed": 1}}


def test_a_run_with_other_settings_or_problems_is_never_mixed_in(tmp_path):
    out = tmp_path / "a.json"
    Progressing(out, {"seed": 0, "samples": 1}, keep_replies=False).add([result("f/0", 1)], [["x"]])
    with pytest.raises(
        ResultsError, match=r"a\.problems\.jsonl holds problems of a run with another seed: give another"
    ):
        Progressing(out, {"seed": 1, "samples": 1}, keep_replies=False)
    kept = Progressing(out, {"seed": 0, "samples": 1}, keep_replies=False)
    assert kept.has("f/0", "d")
    assert not kept.has("f/1", "d")
    with pytest.raises(ResultsError, match="holds another problem f/0, of other data or another version"):
        kept.has("f/0", "e")


def test_results_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "r.json"
    results = [result("a/0", 1, 0.5), result("b/0", 0, 0)]
    write_results(path, {"settings": {"agent": "hf:x"}}, results, rows(results, seed=0))
    run, read = read_results(path)
    assert read == results
    assert run["settings"] == {"agent": "hf:x"}
    assert run["summary"][0]["score"]["mean"] == 0.75


# The mathematical benchmarks.

RIGHT = {
    "math500": (r"\frac{5}{4}", "(x+2)^2", "(1,4]", r"\{3,-3\}", r"2 \cdot 2"),
    "aime24": ("10", "07", "29", "512", "48"),
    "aime25": ("120", "180", "100", "54", "820"),
    "amc23": ("12", "72", "42", "4", "9"),
    "olympiad_bench": ("3, 2", "31", "n^{2}", "9", r"\pm 4"),
    "minerva": ("9", "4.0", r"1.5 \times 10^{11}", "4", "4"),
    "mmlu_pro": ("J", "A", "B", "C", "C"),
}
"""Answers of our own to our own problems, not always written as in their files."""


def solver(name, *, right):
    """Returns what replies rightly to problem i in the first `right[i]` samples."""
    problems = read_problem_file(FIXTURES / f"{name}.jsonl", is_choice=name in {"gpqa_diamond", "mmlu_pro"})
    numbers = {problem.prompt: number for number, problem in enumerate(problems)}

    def reply(prompt, sample):
        number = numbers[prompt]
        answer = RIGHT[name][number] if sample < right[number] else "none of them"
        return Reply(f"<think>Is it \\boxed{{0}}?</think>It is \\boxed{{{answer}}}.")

    return Scripted(reply, batch=64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["math500", "olympiad_bench", "minerva", "mmlu_pro"])
def test_lm_eval_scores_one_reply_a_problem(name):
    pytest.importorskip("lm_eval")
    from benchmarks.reasoning_math import MathTask

    task = MathTask(name, data_dir=FIXTURES, samples=None, limit=None, seed=0)
    assert task.samples == 1
    for right, scores in (((1, 1, 1, 1, 1), [1.0] * 5), ((1, 0, 0, 1, 0), [1.0, 0.0, 0.0, 1.0, 0.0])):
        replier = solver(name, right=right)
        results, said = task.run(replier, seed=0, on_replies=lambda count: None)
        assert [each.mean for each in results] == scores
        assert [each.id for each in results] == [f"{name}/{number}" for number in range(5)]
        assert replier.asked == [problem.prompt for problem in task.problems]
        assert all(len(replies) == 1 for replies in said)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aime24", "aime25", "amc23"])
def test_lm_eval_averages_32_replies_a_problem(name):
    pytest.importorskip("lm_eval")
    from benchmarks.reasoning_math import MathTask

    task = MathTask(name, data_dir=FIXTURES, samples=None, limit=None, seed=0)
    replier = solver(name, right=(32, 8, 0, 1, 16))
    counted = []
    results, _ = task.run(replier, seed=0, on_replies=counted.append)
    assert [each.mean for each in results] == [1.0, 0.25, 0.0, 0.03125, 0.5]
    assert [len(each.scores) for each in results] == [32] * 5
    assert sum(counted) == 160
    # 64 replies at once are 2 problems, and no two batches draw the same.
    assert len(set(replier.seeds)) == 3
    assert len(replier.asked) == 5


@pytest.mark.slow
def test_options_of_gpqa_are_asked_in_an_order_of_their_own():
    pytest.importorskip("lm_eval")
    from benchmarks.reasoning_math import MathTask

    tasks = [MathTask("gpqa_diamond", data_dir=FIXTURES, samples=2, limit=4, seed=seed) for seed in (0, 0, 1)]
    digests = [[problem.digest for problem in task.problems] for task in tasks]
    assert digests[0] == digests[1] != digests[2]
    letters = {problem.prompt: problem.answer for problem in tasks[0].problems}
    right = ["neutron", "kinetic energy", "C-C", "the activation energy"]
    assert [problem.options["ABCD".index(problem.answer)] for problem in tasks[0].problems] == right
    replier = Scripted(lambda prompt, number: Reply(f"\\boxed{{{letters[prompt] if number else 'none'}}}"))
    results, _ = tasks[0].run(replier, seed=0, on_replies=lambda count: None)
    assert [each.scores for each in results] == [(0.0, 1.0)] * 4


@pytest.mark.slow
def test_every_task_has_its_file_and_samples_as_the_paper_does():
    pytest.importorskip("lm_eval")
    import yaml

    from benchmarks.reasoning_math import CHOICES, TASK_FOLDER, TASKS, MathTask

    assert {path.stem for path in TASK_FOLDER.glob("*.yaml")} == set(TASKS)
    assert {path.stem for path in FIXTURES.glob("*.jsonl")} == set(TASKS)
    assert set(TASKS) >= CHOICES
    many = {"aime24", "aime25", "amc23"}
    for name in TASKS:
        task = MathTask(name, data_dir=FIXTURES, samples=None, limit=None, seed=0)
        assert task.samples == (32 if name in many else 1)
    lines = (TASK_FOLDER / "_boxed_yaml").read_text(encoding="utf-8").splitlines()
    plain = yaml.safe_load("\n".join(line for line in lines if "!function" not in line))
    kwargs = plain["generation_kwargs"]
    assert (kwargs["temperature"], kwargs["top_p"], kwargs["do_sample"]) == (0.6, 0.95, True)
    assert (Sampling().temperature, Sampling().top_p) == (0.6, 0.95)


@pytest.mark.slow
def test_rows_of_the_hub_become_problems():
    pytest.importorskip("datasets")
    from benchmarks.reasoning_tasks import hub_rows

    def problems(rows: Any):
        return [hub_rows.of_document(row) for row in rows]

    plain: Any = hub_rows.with_problems([{"problem": "P?", "answer": "5", "level": 3}])
    assert problems(plain) == [MathProblem("P?", "5")]
    questions = hub_rows.with_questions([{"question": "Q?", "answer": 27.0}])
    assert problems(questions) == [MathProblem("Q?", "27.0")]
    olympiad = hub_rows.of_olympiad([{"question": "O?", "final_answer": ["$2$", "3"]}])
    assert problems(olympiad) == [MathProblem("O?", "$2$, 3")]
    row = {"question": "M?", "options": ["x", "y", "z"], "answer": "C", "answer_index": 2}
    assert problems(hub_rows.of_mmlu_pro([row])) == [MathProblem("M?", "C", ("x", "y", "z"))]
    wrong = {f"Incorrect Answer {number}": f"wrong {number}" for number in (1, 2, 3)}
    asked = [{"Question": f"G {number}?", "Correct Answer": "right", **wrong} for number in range(40)]
    gpqa = problems(hub_rows.of_gpqa(asked))
    assert all(each.options["ABCD".index(each.answer)] == "right" for each in gpqa)
    assert {each.answer for each in gpqa} == set("ABCD")
    assert hub_rows.score(plain[0], [["5"]]) == {"avg": 0.0, "no_box": 1.0}
    assert hub_rows.prompt(plain[0]) == "P?\n\nReason step by step, then put your final answer in \\boxed{}."


# What cannot be used is refused in one line.


@pytest.mark.parametrize(
    ("lines", "is_choice", "message"),
    [
        (['{"problem": "p", "answer": "1"}', "{"], False, "line 2: Expecting property name"),
        (["", "[1]"], False, r"line 2: expected a JSON object, got '\[1\]'"),
        (['{"problem": "p"}'], False, "line 1: no field answer: expected problem, answer$"),
        (['{"problem": "p", "answer": "A"}'], True, "line 1: no field options: expected problem, answer, options"),
        (['{"problem": " ", "answer": "1"}'], False, "line 1: problem ' ': expected a text"),
        (['{"problem": "p", "answer": null}'], False, "line 1: answer None: expected a text or a number"),
        (['{"problem": "p", "answer": "A", "options": "xy"}'], True, "line 1: options 'xy': expected a list of texts"),
        (['{"problem": "p", "answer": "A", "options": ["x"]}'], True, "line 1: 1 options: expected 2 to 10"),
        (['{"problem": "p", "answer": "C", "options": ["x", "y"]}'], True, "'C': expected a letter from A to B"),
        ([""], False, "holds no problem"),
    ],
)
def test_a_line_that_is_no_problem_is_named(tmp_path, lines, is_choice, message):
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ProblemFileError, match=message):
        read_problem_file(path, is_choice=is_choice)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--agent", "random"], "agent 'random' cannot be asked a problem: expected a language model, hf:PATH_OR_ID"),
        (["--agent", "minimax:3"], "agent 'minimax:3' cannot be asked a problem"),
        (["--agent", "hf:"], "agent 'hf' needs a model: hf:PATH_OR_ID"),
        (["--families", "mazes"], "unknown family of reasoning-gym 'mazes': did you mean maze"),
        (["--families", "maze", "maze"], "family 'maze' is named twice"),
        (["--agent", "openai:m?top_p=x"], "option top_p of agent 'openai:m?top_p=x' is 'x': expected a number"),
        (["--out", "results.txt"], "--out is results.txt: expected a name that ends in .json"),
        (["--temperature", "-1"], "--temperature is -1.0: expected from 0"),
        (["--top-p", "1.5"], "--top-p is 1.5: expected more than 0 and at most 1"),
        (["--samples", "0"], "argument --samples: '0': expected a whole number from 1"),
        pytest.param(
            ["--agent", "hf:no/such/folder", "--families", "maze"],
            "there is no folder 'no/such/folder'",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--agent", "hf:x?warmth=1", "--families", "maze"],
            "unknown option of the hf agent 'warmth'",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(tmp_path, monkeypatch, capsys, changes, message):
    pytest.importorskip("reasoning_gym")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    given = ["--agent", "openai:m@http://127.0.0.1:9/v1", "--suite", "reasoning_gym", "--out", "r.json"]
    with pytest.raises(SystemExit) as exit_of:
        main([*given, "--per-family", "2", *changes])
    assert exit_of.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert message in told[-1]
    assert "Traceback" not in "".join(told)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--tasks", "math50"], "unknown task of the suite math 'math50': did you mean math500?"),
        (["--tasks", "math500", "--data-dir", "nowhere"], "cannot read nowhere/math500.jsonl: No such file"),
    ],
)
def test_data_that_is_not_there_is_named(tmp_path, monkeypatch, capsys, changes, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_of:
        main(["--agent", "openai:m@http://127.0.0.1:9/v1", "--suite", "math", "--out", "r.json", *changes])
    assert exit_of.value.code == 2
    assert message in capsys.readouterr().err


def test_files_that_are_no_results_are_not_compared(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    for name, message in (("a.json", "is no file of results that --out"), ("b.json", "cannot read")):
        with pytest.raises(SystemExit) as exit_of:
            main(["compare", str(tmp_path / name), str(tmp_path / name)])
        assert exit_of.value.code == 2
        assert message in capsys.readouterr().err


# Endpoints, and the whole command.


def test_every_request_to_an_endpoint_has_a_seed_of_its_own():
    with serving(lambda request, number: completion("\\boxed{1}", "length" if number == 3 else "stop")) as stub:
        endpoint = parse_endpoint(f"m@{stub.url}?max_tokens=7&concurrency=1&temperature=0.5")
        replier = EndpointReplier(endpoint, Sampling(max_tokens=99), None)
        replies = replier.reply(["one", "two"], samples=3, seed=5)
        assert [list(map(is_cut, each)) for each in replies] == [[False] * 3, [True, False, False]]
        sent = [request for _, request in stub.requests]
        assert [request["messages"] for request in sent] == [
            [{"role": "user", "content": text}] for text in ["one"] * 3 + ["two"] * 3
        ]
        assert len({request["seed"] for request in sent}) == 6
        assert {(each["temperature"], each["top_p"], each["max_tokens"]) for each in sent} == {(0.5, 0.95, 7)}
        replier.reply(["one", "two"], samples=3, seed=5)
        assert [request["seed"] for _, request in stub.requests[6:]] == [request["seed"] for request in sent]


def test_an_endpoint_that_fails_is_an_error_and_a_prompt_too_long_is_not():
    too_long = error(400, "maximum context length is 10 tokens", code="context_length_exceeded")
    with serving([too_long]) as stub:
        ((reply,),) = make_replier(f"openai:m@{stub.url}", Sampling(), batch=None).reply(["x"], samples=1, seed=0)
        assert reply.fault is Fault.PROMPT_TOO_LONG
    for answer in (error(401), (200, {"choices": []}), (200, {"nothing": 1})):
        with serving([answer]) as stub, pytest.raises(EndpointError, match="model 'm' at http"):
            make_replier(f"openai:m@{stub.url}?retries=0", Sampling(), batch=None).reply(["x"], samples=1, seed=0)


@pytest.mark.slow
def test_a_model_replies_by_the_seed_of_the_call(tmp_path):
    from spiral_trl.embedded import build_model, build_tokenizer

    tokenizer = build_tokenizer(["Say something. Reason step by step, then put your final answer in \\boxed{}."])
    model = build_model(tokenizer, seed=0)
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    agent = f"hf:{tmp_path}?max_tokens=12"
    assert sampling_of(agent, Sampling()) == Sampling(max_tokens=12)
    replier = make_replier(agent, Sampling(), batch=3)
    assert replier.batch == 3
    one, two = replier.reply(["Say something.", "Say"], samples=4, seed=1)
    assert [len(one), len(two)] == [4, 4]
    assert len({*one, *two}) > 4
    assert replier.reply(["Say something.", "Say"], samples=4, seed=1) == [one, two]
    assert replier.reply(["Say something.", "Say"], samples=4, seed=2) != [one, two]
    assert any(map(is_cut, one))
    ((reply,),) = replier.reply(["Say something. " * 2000], samples=1, seed=1)
    assert reply.fault is Fault.PROMPT_TOO_LONG


def test_the_command_runs_both_ends_of_a_comparison(tmp_path, capsys):
    gym = pytest.importorskip("reasoning_gym")
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    families = ["basic_arithmetic", "maze"]
    solved = {
        f"{entry['question'].strip()}": entry["answer"]
        for family in families
        for entry in gym.create_dataset(family, size=25, seed=4)
    }

    def right(request, number):
        question = request["messages"][0]["content"].rpartition("\n\nReason step by step")[0]
        return completion(f"\\boxed{{{solved[question]}}}")

    for out, answer in ((before, [completion("I do not know.")]), (after, right)):
        with serving(answer) as stub:
            options = ["--families", *families, "--per-family", "25", "--seed", "4", "--out", str(out)]
            assert main(["--agent", f"openai:m@{stub.url}", "--suite", "reasoning_gym", *options]) == 0
            asked = len(stub.requests)
            assert asked == 50
    printed = capsys.readouterr().out
    assert "| overall " in printed
    table = tmp_path / "table.md"
    assert main(["compare", str(before), str(after), "--out", str(table)]) == 0
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.read_text().splitlines() if "|" in line]
    assert cells[0] == ["family", "problems", "before", "after", "difference", "95 % interval", "p", "significant"]
    assert [row[0:5] for row in cells[2:]] == [
        ["basic_arithmetic", "25", "0.0", "100.0", "+100.0"],
        ["maze", "25", "0.0", "100.0", "+100.0"],
        ["overall", "50", "0.0", "100.0", "+100.0"],
    ]
    assert {row[-1] for row in cells[2:]} == {"yes"}
    held = json.loads(after.read_text())
    assert held["settings"]["seed"] == 4
    assert {"command", "code", "python", "machine", "packages"} <= held.keys()
    assert len(held["problems"]) == 50
    check_agent(held["settings"]["agent"])
