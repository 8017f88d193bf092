"""Ratings over training: which agents are checkpoints of one run, and how they are drawn."""

import pytest
from synthetic_arena import TIC, record_of, turn

from spiral_envs.arena.checkpoints import checkpoint_of, trained_runs
from spiral_envs.arena.page_scale import Scale
from spiral_envs.arena.page_steps import apart, references, short_name, step_plots
from spiral_envs.arena.records import GAMES_FILE
from spiral_envs.arena.report import write_report
from spiral_envs.arena.standing_records import Rating
from spiral_envs.intervals import Interval
from spiral_envs.json_lines import JsonLines


def rating(agent, value=0.0, group=0):
    return Rating(agent, value, Interval(value - 50, value + 50), group, 20, 10, 0, 10, 0, 0.5)


@pytest.mark.parametrize(
    ("agent", "found"),
    [
        ("hf:run?step=40", ("hf:run", 40)),
        ("hf:run/?step=40&temperature=0.6", ("hf:run?temperature=0.6", 40)),
        ("vllm:run?top_p=0.9&step=7&temperature=1", ("vllm:run?top_p=0.9&temperature=1", 7)),
        ("hf:runs/a/checkpoint-150?temperature=0.6", ("hf:runs/a?temperature=0.6", 150)),
        ("hf:runs/a/final", None),
        ("hf:run?step=all", None),
        ("hf:run?steps=40", None),
        ("openai:gpt?step=40@https://example.org", None),
        ("random", None),
    ],
)
def test_the_step_of_an_agent_string(agent, found):
    assert checkpoint_of(agent) == found


def test_a_run_is_at_least_two_checkpoints_with_the_same_settings_in_one_group():
    ratings = [
        rating("hf:run?step=100", 30.0),
        rating("hf:run/checkpoint-20", -30.0),
        rating("hf:run?step=9", -10.0),
        rating("hf:run?step=9&temperature=0.6"),
        rating("hf:other?step=1"),
        rating("hf:other?step=2", group=1),
        rating("random"),
    ]
    (run,) = trained_runs(ratings)
    assert (run.name, run.steps) == ("hf:run", (9, 20, 100))
    assert [each.rating for each in run.ratings] == [-10.0, -30.0, 30.0]


def test_others_of_the_same_group_are_shown_for_comparison_unless_they_are_many():
    ratings = [rating("hf:r?step=1"), rating("hf:r?step=2"), rating("greedy", 50.0), rating("far", group=1)]
    assert [each.agent for each in references(ratings, trained_runs(ratings))] == ["greedy"]
    ratings += [rating(f"agent {number}") for number in range(6)]
    assert references(ratings, trained_runs(ratings)) == []


def test_labels_keep_their_distance_and_stay_below_the_highest_place():
    assert apart([0, 1, 50], 10) == [0, 10, 50]
    assert apart([80, 99, 100], 10) == [80, 90, 100]
    assert apart([100, 100, 100], 10) == [80, 90, 100]
    assert apart([], 10) == []


def test_a_label_is_the_end_of_a_long_name_without_its_settings():
    assert short_name("hf:/runs/quickstart/final?temperature=0.6") == "…/quickstart/final"
    assert short_name("random") == "random"


def test_marks_are_round_and_at_most_six():
    assert Scale([-115.0, 350.0]).marks() == [-100, 0, 100, 200, 300]
    assert Scale([140.0, 150.0]).marks() == [140, 142, 144, 146, 148, 150]
    for high in (0.1, 1.0, 7.0, 33.0, 480.0, 1e5, 1e12):
        assert 0 < len(Scale([0.0, high]).marks()) <= 6
    assert Scale([]).marks()


def test_a_report_of_checkpoints_has_the_plot_and_the_picture(tmp_path):
    agents = ("hf:run?step=10", "hf:run?step=20", "random")
    wins = {frozenset(agents[:2]): agents[1], frozenset(agents[1:]): agents[1], frozenset(agents[::2]): agents[0]}
    records = [
        record_of(f"{number}-{place}-{pair}", pair=pair, agents=seats, turns=[turn(0)], returns=returns)
        for number, (two, winner) in enumerate(wins.items())
        for pair in range(3)
        for place, seats in enumerate((sorted(two), sorted(two)[::-1]))
        for returns in [(1, -1) if seats[0] == winner else (-1, 1)]
    ]
    JsonLines(tmp_path / GAMES_FILE).append(records)
    files = write_report(tmp_path, resamples=20)
    assert "training.png" in {path.name for path in files.pictures}
    (plot,) = step_plots(files.standings)
    assert [[point.step for point in line.points] for line in plot.lines] == [["10", "20"]]
    # Step 20 won every game and stands higher, which is less from the top.
    lower, higher = plot.lines[0].points
    assert float(higher.y[:-1]) < float(lower.y[:-1])
    assert [reference.agent for reference in plot.references] == ["random"]
    page = files.page.read_text(encoding="utf-8")
    assert f"hf:run: step 10 {lower.rating} {lower.interval}, step 20 {higher.rating} {higher.interval}." in page
    assert TIC in page
