"""The evidence: its plan, its measures worked out by hand, what is run again, and the page that is written of it."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.progress import Progress, TextColumn

import spiral_envs
from benchmarks import evidence, evidence_measures, evidence_page, evidence_runs
from benchmarks.evidence_comparisons import Comparison, Effect, Estimate, by_effect, comparison_table, p_value
from benchmarks.evidence_figures import Curve, Figure, Measured
from benchmarks.evidence_runs import FULL, KUHN, PARTS, QUICK, ROCK_PAPER_SCISSORS, TIC_TAC_TOE, Run
from spiral_envs.episode import Episode
from spiral_envs.intervals import student_t
from spiral_trl.advantages import Estimator
from spiral_trl.batching import TurnRow
from spiral_trl.sampling import Sample, SampledReply


class Bandit(torch.nn.Module):
    """Two tokens, whatever was read: log-probabilities are linear in the weights but for their normalisation."""

    def __init__(self):
        super().__init__()
        self.scores = torch.nn.Parameter(torch.zeros(2))

    def forward(self, input_ids):
        self.logits = self.scores.expand(*input_ids.shape, 2)
        return self


def row(token, advantage):
    return TurnRow((0,), (token,), None, (1,), (advantage,))


def bet_and_fold():
    """A hand of Kuhn poker in which Player 0 wins 1 chip by a bet."""
    match = spiral_envs.make_match(KUHN, seed=0)
    for reply in ("[bet]", "[fold]"):
        match.submit(SampledReply.of(reply, None, (1, 2), Sample((3,), None, True)))
    return Episode.of(match, index=0, agents=("self", "self"))


# -- measures ---------------------------------------------------------------------------------------------------------


def test_the_variance_is_the_trace_of_the_sample_covariance():
    # The mean is (2, 1); the squared distances from it are 2, 2 and 4, over n - 1 = 2.
    vectors = np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 3.0]])

    assert evidence_measures.covariance_trace(vectors @ vectors.T) == pytest.approx(4.0)


def test_a_gradient_twice_as_long_has_four_times_the_variance_in_every_resample():
    vectors = np.random.default_rng(0).normal(size=(6, 3))
    gram = vectors @ vectors.T

    assert evidence_measures.variance_ratio(4 * gram, gram, seed=0, resamples=50) == pytest.approx((4, 4, 4))


def test_policy_gradients_of_a_bandit_are_those_worked_out_by_hand():
    # At equal scores the gradient of the log-probability is (1/2, -1/2) for token 0 and (-1/2, 1/2) for token 1.
    first, second = evidence_measures.policy_gradients(
        Bandit(), [[row(0, 1.0), row(1, -1.0)], [row(0, 3.0), row(1, 2.0)]]
    )

    assert first == pytest.approx([1.0, -1.0])
    assert second == pytest.approx([0.5, -0.5])


def test_a_baseline_takes_the_variance_that_comes_from_a_return_that_is_always_the_same():
    # Batches of one turn that earns +1 whatever is done: (1/2, -1/2) and (-1/2, 1/2) without a baseline, whose squared
    # distances from their mean are 1/2 each, over n - 1 = 1; nothing with the baseline 1.
    none, baseline = zip(
        *(evidence_measures.policy_gradients(Bandit(), [[row(token, 1.0)], [row(token, 0.0)]]) for token in (0, 1)),
        strict=True,
    )

    for gradients, variance in ((none, 1.0), (baseline, 0.0)):
        stacked = np.stack(gradients)
        assert evidence_measures.covariance_trace(stacked @ stacked.T) == pytest.approx(variance)


@pytest.mark.parametrize(
    ("estimator", "winner", "loser"),
    [
        # One return moves a baseline of decay 0.95 from 0 to 0.05 of it.
        (Estimator.RAE, 0.95, -0.95),
        # 0 -> 0.05 -> 0.95 * 0.05 - 0.05 = -0.0025, against which +1 is scored; then 0.95 * -0.0025 + 0.05 = 0.047625.
        (Estimator.GLOBAL, 1.0025, -1.047625),
        (Estimator.NONE, 1.0, -1.0),
    ],
)
def test_games_before_the_batches_bring_the_baselines_to_their_values(estimator, winner, loser):
    batches = evidence_measures.scored_batches([bet_and_fold()] * 2, estimator, priming=1, batches=1)

    assert [[each.advantages[0] for each in rows] for rows in batches] == [
        [pytest.approx(winner), pytest.approx(loser)]
    ]


def test_batches_are_disjoint_equal_and_leave_out_what_is_over():
    batches = evidence_measures.scored_batches([bet_and_fold()] * 8, Estimator.NONE, priming=1, batches=3)

    assert [len(rows) for rows in batches] == [4, 4, 4]


def test_the_distance_of_policies_is_the_mean_total_variation_over_information_sets():
    first, second = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])

    assert evidence_measures.distance(first, second) == pytest.approx(0.5)
    assert evidence_measures.path_length([first, second, first]) == pytest.approx(1.0)


def test_a_path_from_rock_over_paper_and_scissors_to_rock_goes_around_once():
    rock, paper, scissors = np.eye(3)

    assert evidence_measures.turns_around([rock, paper, scissors, rock]) == pytest.approx(1.0)
    assert evidence_measures.turns_around([rock, scissors, paper, rock]) == pytest.approx(-1.0)
    assert evidence_measures.turns_around([rock, paper, rock]) == pytest.approx(0.0)


# -- the plan ---------------------------------------------------------------------------------------------------------


def test_every_run_comes_after_those_that_it_needs():
    seen = set()
    for run in evidence_runs.plan(FULL, "runs"):
        assert seen.issuperset(run.needs)
        assert run.name not in seen
        seen.add(run.name)


def test_every_part_is_measured_with_every_seed():
    names = {run.name for run in evidence_runs.plan(FULL, "runs")}

    assert {f"measures-{part}-{seed}" for part in PARTS for seed in (1, 2, 3)} <= names


def test_a_part_brings_what_it_needs_and_nothing_else():
    runs = evidence_runs.chosen(evidence_runs.plan(QUICK, "runs"), ["E"])

    assert [run.name for run in runs] == [
        "warm-1",
        "kuhn-self-1",
        "ttt-self-1",
        "negotiation-self-1",
        "three-self-1",
        "measures-E-1",
    ]


def test_trainings_of_a_seed_start_from_the_same_model():
    runs = [run for run in evidence_runs.plan(FULL, "runs") if run.seed == 2 and run.name.startswith(("kuhn", "ttt"))]

    assert {run.arguments[run.arguments.index("--model_name_or_path") + 1] for run in runs} == {"runs/warm-2"}
    assert {run.arguments[run.arguments.index("--seed") + 1] for run in runs} == {"2"}


def test_a_digest_follows_the_command_and_what_is_needed():
    first = Run("first", "A", "m", ("x",), 1)
    second = Run("second", "A", "m", ("y",), 1, ("first",))
    before = evidence_runs.digests([first, second])

    changed = evidence_runs.digests([replace(first, arguments=("z",)), second])
    renamed = evidence_runs.digests([first, replace(second, arguments=("z",))])

    assert before == evidence_runs.digests([first, second])
    assert changed["first"] != before["first"]
    assert changed["second"] != before["second"]
    assert renamed["first"] == before["first"]
    assert renamed["second"] != before["second"]


@pytest.mark.slow
def test_the_commands_of_the_plan_are_understood():
    from spiral_trl.run import parse
    from spiral_trl.sft_config import parse_sft

    for run in evidence_runs.plan(replace(FULL, seeds=(1,)), "runs"):
        if run.program == "spiral_trl.train":
            if run.arguments[0] == "sft":
                parse_sft(run.arguments[1:])
            else:
                parse(run.arguments)


# -- running ----------------------------------------------------------------------------------------------------------

PROGRAM = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
assert not folder.exists(), "what was there is gone"
with open(folder.parent / "order.txt", "a") as order:
    order.write(folder.name + "\\n")
if len(sys.argv) > 2:
    sys.exit("it went " + sys.argv[2])
folder.mkdir()
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A module that notes that it was run, and where its runs are."""
    (tmp_path / "noting.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def noted(folder, name, *arguments, needs=()):
    return Run(name, "A", "noting", (str(folder / name), *arguments), 1, needs)


def run_all(folder, runs):
    with Progress(TextColumn("")) as progress:
        evidence.Runner(folder, runs, jobs=2).run_all(progress)
    return (folder / "order.txt").read_text().split()


def test_what_is_finished_is_not_run_again_and_what_was_interrupted_is_begun_anew(program):
    runs = [noted(program, "one"), noted(program, "two", needs=("one",))]
    assert run_all(program, runs) == ["one", "two"]

    assert run_all(program, runs) == ["one", "two"]

    (program / "two" / evidence_runs.DONE).unlink()
    assert run_all(program, runs) == ["one", "two", "two"]


def test_a_run_of_other_settings_is_run_again_with_all_that_needs_it(program):
    runs = [noted(program, "one"), noted(program, "two", needs=("one",))]
    run_all(program, runs)

    assert run_all(program, [replace(runs[0], cost_s=1.0, arguments=(str(program / "one"),)), runs[1]]) == [
        "one",
        "two",
    ]
    (program / "one" / evidence_runs.DONE).write_text('{"digest": "of another version", "seconds": 1}')
    assert run_all(program, runs) == ["one", "two", "one"]


def test_a_failure_shows_the_command_and_the_end_of_the_log(program):
    with pytest.raises(evidence.FailedRunError) as error:
        run_all(program, [noted(program, "one", "wrong")])

    lines = str(error.value).splitlines()
    assert lines[0].startswith("run one failed with exit code 1: python noting.py ")
    assert lines[-1] == "  it went wrong"
    assert not (program / "one").exists()


def test_no_job_at_a_time_is_refused(capsys):
    assert evidence.main(["--jobs", "0"]) == 2
    assert capsys.readouterr().err == "evidence.py: --jobs is 0: expected at least 1\n"


# -- the page ---------------------------------------------------------------------------------------------------------


def test_an_estimate_is_the_mean_with_students_t():
    # The standard error of 1, 2, 3 is 1 / sqrt(3), and t for 2 degrees of freedom 4.302653.
    estimate = Estimate.of([1.0, 2.0, 3.0])

    assert estimate[:3] == pytest.approx((2.0, 2.0 - 2.484138, 2.0 + 2.484138), abs=1e-6)
    assert estimate.text(".1f") == "2.0 [-0.5, 4.5]"
    assert Estimate.of([0.5]).text(".2f") == "0.50"


@pytest.mark.parametrize(
    ("values", "effect"),
    [
        ([0.2, 0.2, 0.2], Effect.HIGHER),
        ([-0.2, -0.2, -0.2], Effect.LOWER),
        ([-1.0, 0.0, 1.0], Effect.NOT_SHOWN),
        # The interval of both is 0.4968 to either side: 4.302653 * 0.2 / sqrt(3).
        ([0.3, 0.5, 0.7], Effect.HIGHER),
        ([0.28, 0.48, 0.68], Effect.NOT_SHOWN),
        ([0.3], Effect.NOT_SHOWN),
    ],
)
def test_an_effect_is_shown_where_the_interval_of_the_difference_excludes_0(values, effect):
    assert Comparison("X", "a", "b", Estimate.of(values), "").effect is effect


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10])
def test_the_p_value_at_the_end_of_the_95_percent_interval_is_5_percent(freedom):
    values = np.linspace(-1, 1, freedom + 1)
    moved = values + student_t(freedom) * values.std(ddof=1) / np.sqrt(freedom + 1)

    assert p_value(moved.tolist()) == pytest.approx(0.05, abs=3e-4)
    assert p_value((-moved).tolist()) == pytest.approx(0.05, abs=3e-4)


def test_the_p_value_of_two_and_three_values_is_in_closed_form():
    # 1 degree of freedom: t = 2, p = 1 - 2 / pi * atan(t); 2 degrees: t² = 12, p = 1 - t / sqrt(2 + t²).
    assert p_value([1.0, 3.0]) == pytest.approx(1 - 2 / np.pi * np.arctan(2))
    assert p_value([1.0, 2.0, 3.0]) == pytest.approx(1 - np.sqrt(12 / 14))
    assert p_value([0.5, 0.5]) == 0.0
    assert p_value([0.0, 0.0]) == 1.0


def compared_as(*differences):
    return [Comparison("X", "a", "b", Estimate.of(values), f"{values[1]:+g}") for values in differences]


SURE, LIKELY, OPEN = [0.99, 1.0, 1.01], [0.3, 0.5, 0.7], [-1.0, 0.0, 1.0]
"""By 1 - t / sqrt(2 + t²) their p-values are 3.3e-5, 0.0494 and 1."""


def test_the_table_counts_what_is_shown_and_what_stands_after_correction():
    table = comparison_table(compared_as(SURE, LIKELY, OPEN, OPEN))

    assert table[2:5] == [
        "| X | a | b | +1 | higher, also corrected |",
        "| X | a | b | +0.5 | higher |",
        "| X | a | b | +0 | not shown |",
    ]
    assert table[-1] == (
        "2 of 4 differences are shown; about 0.2 would be by chance where nothing differs. 1 stand after Holm's"
        " correction."
    )


def test_of_many_comparisons_only_those_that_are_shown_have_a_row():
    table = comparison_table(compared_as(SURE, *[OPEN] * 20))

    assert table[2:4] == ["| X | a | b | +1 | higher, also corrected |", ""]
    assert table[4].startswith("1 of 21 differences are shown; about 1.1 would be by chance")


def test_names_are_told_by_their_effect():
    effects = {"a": Effect.LOWER, "b": Effect.NOT_SHOWN, "c": Effect.LOWER}
    words = {Effect.LOWER: "closer than", Effect.HIGHER: "farther than"}

    assert by_effect(effects, words, "no difference from") == "closer than a and c; no difference from b"
    assert by_effect(dict.fromkeys("abc", Effect.HIGHER), words, "", everybody="any") == "farther than any"


def test_an_interval_holds_no_value_that_cannot_be():
    assert Estimate.of([0.9, 1.0, 1.0]).within(0, 1).high == 1.0
    assert Estimate.of([0.1, 0.0, 0.0]).within(0, 1).low == 0.0


def test_a_ratio_is_averaged_by_its_logarithm():
    figures = evidence_page.PartFigures(
        [Measured([Figure("r", "c", KUHN, "before", seed, value)]) for seed, value in ((1, 0.5), (2, 2.0))]
    )

    assert figures.ratio("r", "c", KUHN, "before").mean == pytest.approx(1.0)


def synthetic(part, seed):
    """Everything that a part shows, with made-up values: mirror play and self-play do best by far."""
    good = ("self", "rae", "mirror", "all three", "none" if part == "A" else "all three")
    found = Measured()
    conditions = {
        "A": ("before", "rae", "global", "none"),
        "B": ("before", "self", "random", "cfr", "minimax", "sft"),
        "C": tuple(evidence_page._MIXES),
        "D": tuple(evidence_page._LEAGUES),
        "E": tuple(evidence_page._MIXES),
    }[part]
    games = evidence_page._GAME_NAMES
    for condition in conditions:
        value = (0.1 if condition in good else 0.6) + seed / 100
        for game in games:
            for against in ("", "random", "cfr", "minimax", "before", "after"):
                found.figures += [
                    Figure(measure, condition, game, against, seed, value, value - 0.05, value + 0.05, 10)
                    for measure in MEASURES
                ]
        found.figures.append(Figure("turns", condition, "", "", seed, 1234.0))
        for game in (ROCK_PAPER_SCISSORS, KUHN):
            found.curves.append(Curve("nash_conv", condition, game, "", seed, [0, 3], [1.0, value]))
        for move in ("[rock]", "[paper]", "[scissors]"):
            for player in ("Player 0", "Player 1"):
                curve = Curve(f"probability {move}", condition, ROCK_PAPER_SCISSORS, player, seed, [0, 3], [0.3, 0.4])
                found.curves.append(curve)
    for game in (KUHN, TIC_TAC_TOE):
        for role in spiral_envs.find_source(game).roles:
            for state in ("before", "after"):
                found.figures.append(Figure("mean_return", role, game, state, seed, 0.25))
    return found


MEASURES = (
    *("nash_conv", "training_faults", "wins", "draws", "mean_return", "faults", "gradient_variance_ratio"),
    *("nash_conv_first", "nash_conv_late", "nash_conv_last", "nash_conv_of_mean", "path", "displacement"),
    "turns_around",
)


def result_of(parts, seeds):
    scale = {"seeds": seeds, "warmup_steps": 5, "steps": 6, "rps_steps": 7, "pairs": 8, "far_pairs": 9}
    runs = evidence_runs.plan(replace(FULL, seeds=tuple(seeds)), "runs/evidence")
    return {
        "about": {
            "commit": "abc",
            "is_changed": False,
            "code": "def",
            "folder": "runs/evidence",
            "scale": scale,
            "wall_s": 60.0,
            "seconds": dict.fromkeys(parts, 90.0),
        },
        "runs": [{"name": r.name, "parts": r.parts, "seed": r.seed, "command": r.shown, "seconds": 1.0} for r in runs],
        "parts": {part: [synthetic(part, seed).to_json() for seed in seeds] for part in parts},
    }


def test_the_page_has_every_part_with_its_commands_numbers_and_picture(tmp_path):
    page = evidence_page.write_page(json.loads(json.dumps(result_of("ABCDE", [1, 2, 3]))), tmp_path).read_text()

    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## In short",
        "## How to read it",
        "## A. The advantage estimator",
        "## B. Self-play, fixed opponents, imitation",
        "## C. One game against three",
        "## D. Mirror play against a league",
        "## E. Harder and unseen games",
    ]
    assert all((tmp_path / "evidence" / f"{part}.png").stat().st_size > 10_000 for part in "abcde")
    # 0.11, 0.12, 0.13: 0.12 ± 4.302653 * 0.01 / sqrt(3) = 0.0248.
    assert "| self-play | 0.120 [0.095, 0.145] |" in page
    assert "| all | 7.5 |" in page
    # By seed the difference is 0.5 each time: 0.1 against 0.6.
    row = "| NashConv in Kuhn poker | self-play | training against cfr | -0.500 [-0.500, -0.500] |"
    assert f"{row} lower, also corrected |" in page
    short = page.split("## In short")[1].split("## How to read it")[0]
    assert "at a NashConv of 0.12 [0.10, 0.14], from 0.62 [0.60, 0.64]: closer to equilibrium than any other" in short
    # In the made-up figures no baseline is as good as RAE, and what is called good has low returns as well.
    assert "closer to equilibrium than one global baseline; no difference shown from no baseline" in short
    assert "against random in tic-tac-toe worse than any other" in short
    assert "spiral-train --config kuhn --games 'kuhn_poker_v0(hands=1,payoff=chips)' --advantage_estimator rae" in page


def test_stored_figures_give_the_same_page_without_running_anything(tmp_path, capsys):
    result = result_of("C", [1, 2])
    (tmp_path / "figures.json").write_text(json.dumps(result))
    written = evidence_page.write_page(result, tmp_path / "first").read_text()

    assert evidence.main(["--figures", str(tmp_path / "figures.json"), "--out", str(tmp_path / "second")]) == 0
    assert (tmp_path / "second" / "evidence.md").read_text() == written

    assert evidence.main(["--figures", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.startswith("evidence.py: cannot read the figures in ")


def test_a_page_of_one_part_and_one_seed_claims_nothing(tmp_path):
    page = evidence_page.write_page(result_of("B", [1]), tmp_path).read_text()

    assert "One seed, 1: there are no intervals" in page
    assert "One seed shows nothing: there are no intervals." in page
    assert "| lower" not in page
    assert "closer" not in page


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_chain_runs_and_is_not_run_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert evidence.main(["--quick", "--only", "E"]) == 0
    assert "6 of 6 runs to do" in capsys.readouterr().out
    page = (tmp_path / "runs" / "evidence-quick" / "evidence.md").read_text()
    assert "| connect four |" in page

    assert evidence.main(["--quick", "--only", "E"]) == 0
    assert "0 of 6 runs to do" in capsys.readouterr().out
    assert sys.executable not in page
