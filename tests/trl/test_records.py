"""Records that survive a kill: torn lines, rewinding, nothing lost."""

import json

import pytest

from spiral_trl.records import JsonLines


@pytest.fixture
def games(tmp_path):
    """Two games a step for three steps."""
    lines = JsonLines(tmp_path / "run" / "games.jsonl")
    for step in (1, 2, 3):
        lines.append({"number": 2 * (step - 1) + index, "step": step} for index in range(2))
    return lines


def numbers(lines):
    return [each["number"] for each in lines.read()]


def test_what_is_appended_is_read_back_in_order_from_a_folder_that_it_makes(tmp_path):
    lines = JsonLines(tmp_path / "a" / "b" / "games.jsonl")
    assert lines.read() == []
    assert not lines.path.parent.exists()
    lines.append([{"step": 1, "text": "tab\t, newline\n, line separator \u2028, die 🎲"}])
    lines.append([])
    lines.append([{"step": 2}, {"step": 3}])
    assert lines.read() == [
        {"step": 1, "text": "tab\t, newline\n, line separator \u2028, die 🎲"},
        {"step": 2},
        {"step": 3},
    ]
    assert lines.path.read_text(encoding="utf-8").count("\n") == 3


def test_a_lone_surrogate_in_a_reply_does_not_stop_the_run(tmp_path):
    lines = JsonLines(tmp_path / "games.jsonl")
    lines.append([{"step": 1, "text": "\ud800"}])
    assert [each["step"] for each in lines.read()] == [1]


@pytest.mark.parametrize(
    "torn", ['{"number": 6, "st', '{"number": 6, "step": 3, "text": "\udcf0\udc9f', "", "\x00\x00\x00", "12", "null"]
)
def test_a_torn_last_line_is_left_out(games, torn):
    with games.path.open("ab") as file:
        file.write(torn.encode("utf-8", errors="surrogateescape"))
    assert numbers(games) == [0, 1, 2, 3, 4, 5]


def test_what_is_appended_after_a_torn_line_is_not_lost(games):
    with games.path.open("a") as file:
        file.write('{"number": 6, "st')
    games.append([{"number": 6, "step": 4}, {"number": 7, "step": 4}])
    assert numbers(games) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_rewind_keeps_earlier_steps_and_moves_later_ones_aside(games):
    games.rewind(2)
    assert numbers(games) == [0, 1, 2, 3]
    abandoned = JsonLines(games.path.with_name("games.abandoned.jsonl"))
    assert numbers(abandoned) == [4, 5]
    assert sorted(path.name for path in games.path.parent.iterdir()) == ["games.abandoned.jsonl", "games.jsonl"]


def test_rewinding_twice_loses_nothing(games):
    games.rewind(2)
    games.append([{"number": 40, "step": 3}])
    games.rewind(1)
    assert numbers(games) == [0, 1]
    assert numbers(JsonLines(games.path.with_name("games.abandoned.jsonl"))) == [4, 5, 2, 3, 40]


def test_rewinding_to_the_last_step_changes_no_byte(games):
    before = games.path.read_bytes()
    games.rewind(3)
    assert games.path.read_bytes() == before
    assert len(list(games.path.parent.iterdir())) == 1


def test_rewinding_removes_a_torn_line(games):
    with games.path.open("a") as file:
        file.write('{"number": 6, "st')
    games.rewind(3)
    assert games.path.read_text().splitlines() == [json.dumps(each) for each in games.read()]


def test_rewinding_to_the_start_moves_everything(games):
    games.rewind(0)
    assert numbers(games) == []
    assert numbers(JsonLines(games.path.with_name("games.abandoned.jsonl"))) == [0, 1, 2, 3, 4, 5]


def test_rewinding_nothing_makes_no_file(tmp_path):
    JsonLines(tmp_path / "games.jsonl").rewind(5)
    assert list(tmp_path.iterdir()) == []


def test_a_rewind_that_was_killed_half_way_is_done_anew(games):
    games.path.with_suffix(".rewritten").write_text('{"number": 99, "step": 1}\n')
    games.rewind(1)
    assert numbers(games) == [0, 1]
