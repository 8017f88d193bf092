"""What is read from the folder of a run: whole lines, sensible values, names taken apart."""

import json

import pytest
from synthetic_run import KUHN, TIC, seat_result

from spiral_trl.checkpoints import finish
from spiral_trl.run_files import Alarm, GameFigure, Metrics, RunFiles, records, short_label, short_labels


def listed(curve):
    return None if curve is None else (list(curve.steps), list(curve.values))


def test_torn_lines_and_other_things_are_passed_over(tmp_path):
    path = tmp_path / "games.jsonl"
    digits = "9" * 5000
    path.write_bytes(b'{"step": 1}\n[2]\n3\n\n{"to\xff\n{"step": ' + digits.encode() + b'}\n{"step": 4}\n{"step": 5')
    assert list(records(path)) == [{"step": 1}, {"step": 4}]
    assert list(records(tmp_path / "none.jsonl")) == []


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    path = tmp_path / "games.jsonl"
    path.write_text('{"text": "a\u2028b\x85c"}\n', encoding="utf-8")
    assert list(records(path)) == [{"text": "a\u2028b\x85c"}]


def test_only_finite_numbers_become_curves():
    metrics = Metrics(
        [
            {"step": 1, "loss": 0.5, "kl": float("nan"), "note": "x", "flag": True},
            {"step": 2, "loss": None, "kl": 3, "huge": 10**400},
            {"step": "3", "loss": 9.0},
            {"loss": 9.0},
            {"step": 5, "loss": 0.25},
        ]
    )
    assert list(metrics.steps) == [1, 2, 5]
    assert metrics.names == ("loss", "kl")
    assert listed(metrics.curve("loss")) == ([1, 5], [0.5, 0.25])
    assert listed(metrics.curve("kl")) == ([2], [3.0])
    assert metrics.curve("note") is None
    assert metrics.last("loss") == 0.25
    assert metrics.spans() == [1, 1, 3]


def test_recent_means_are_over_the_last_logged_steps():
    metrics = Metrics([{"step": step, "loss": step, "rare": 7} if step < 5 else {"step": step} for step in range(1, 7)])
    # The last four logged steps are 3, 4, 5 and 6; two of them have a loss.
    assert metrics.recent("loss", num_steps=4) == 3.5
    assert metrics.recent("loss", num_steps=2) is None
    assert metrics.recent("none", num_steps=2) is None


def test_metrics_of_games_are_taken_apart():
    names = {
        f"{TIC}/turns": (TIC, None, None, "turns"),
        f"{KUHN}/turns": (KUHN, None, None, "turns"),
        f"{TIC}/faults/prompt_too_long": (TIC, None, None, "faults/prompt_too_long"),
        f"{TIC}/X/return": (TIC, "X", None, "return"),
        f"{KUHN}/Player 1/baseline_count": (KUHN, "Player 1", None, "baseline_count"),
        f"{TIC}/O/vs league/faults": (TIC, "O", "league", "faults"),
        f"{TIC}/O/vs openai:m@http://h/v1/return": (TIC, "O", "openai:m@http://h/v1", "return"),
    }
    others = ["turns", "loss", f"eval/{TIC} vs random/win_rate", "league/20/score", f"nash_conv/{KUHN}"]
    metrics = Metrics([{"step": 1, **dict.fromkeys([*names, *others], 0.5)}])
    assert metrics.games == (TIC, KUHN)
    found = {about: listed(curve) for about, curve in metrics.game_figures().items()}
    assert found == {GameFigure(*about): ([1], [0.5]) for about in names.values()}


def test_an_evaluation_logged_by_transformers_belongs_to_its_step():
    metrics = Metrics([{"step": 20, "loss": 1}, {"step": 20, f"eval_{TIC} vs random/win_rate": 0.5}])
    assert list(metrics.steps) == [20]
    assert listed(metrics.curve(f"eval/{TIC} vs random/win_rate")) == ([20], [0.5])


def test_evaluations_that_cannot_be_are_left_out(tmp_path):
    good = {"step": 20, **seat_result(30).to_json()}
    bad = [{**good, "games": 0}, {**good, "wins": 101}, {**good, "game": None}, {"step": 20}, {**good, "step": None}]
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(each) + "\n" for each in [*bad, good]))
    assert RunFiles(tmp_path).evaluations() == [(20, seat_result(30))]


def test_alarms_need_a_step_a_name_and_a_message(tmp_path):
    (tmp_path / "alarms.jsonl").write_text(
        '{"step": 3, "name": "n", "message": "m"}\n'
        '{"step": 4, "name": "n"}\n'
        '{"step": -1, "name": "n", "message": "m"}\n'
    )
    assert RunFiles(tmp_path).alarms() == [Alarm(3, "n", "m")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"max_steps": 40,\n "beta": 0.1}', {"max_steps": 40, "beta": 0.1}),
        (b'{"max_steps": 40', {}),
        (b"[1]", {}),
        (b'{"a": "\xff"}', {}),
        (b"", {}),
        (None, {}),
    ],
)
def test_settings_are_an_object_or_none(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "settings.json").write_bytes(content)
    assert RunFiles(tmp_path).settings() == expected


def test_checkpoints_are_listed_by_step_with_whether_they_are_whole(tmp_path):
    for step, size in ((100, 500), (20, 100)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "weights").write_bytes(b"x" * size)
    (tmp_path / "checkpoint-last").mkdir()
    finish(tmp_path / "checkpoint-20", {})
    found = RunFiles(tmp_path).checkpoints()
    assert [(each.step, each.is_whole) for each in found] == [(20, True), (100, False)]
    assert found[1].size_bytes == 500


def test_the_planned_steps_stand_in_the_newest_state_that_is_there(tmp_path):
    assert RunFiles(tmp_path).planned_steps() is None
    for step, planned in ((20, 100), (40, 400)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        state = {"log_history": ["x" * 1000] * 200, "max_steps": planned, "save_steps": 20}
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state, indent=2))
    (tmp_path / "checkpoint-60").mkdir()
    assert RunFiles(tmp_path).planned_steps() == 400


@pytest.mark.parametrize(
    ("label", "short"),
    [
        (TIC, "tic_tac_toe"),
        (KUHN, "kuhn_poker"),
        ("textarena:ConnectFour-v0", "textarena:ConnectFour"),
        ("openspiel:leduc_poker", "openspiel:leduc_poker"),
    ],
)
def test_short_labels_leave_version_and_options_out(label, short):
    assert short_label(label) == short


def test_labels_that_would_become_the_same_stay_long():
    one_hand, three_hands = KUHN, "kuhn_poker_v0(hands=3)"
    assert short_labels([one_hand, three_hands, TIC]) == {
        one_hand: one_hand,
        three_hands: three_hands,
        TIC: "tic_tac_toe",
    }
