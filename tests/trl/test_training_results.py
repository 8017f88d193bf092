"""The table of results, from made-up runs whose figures are worked out by hand."""

import importlib.util
import os
import re

import pytest
from documents import ROOT
from synthetic_run import KUHN, TIC

from spiral_trl.records import JsonLines
from spiral_trl.serving import START_COMMAND

SCRIPT = importlib.util.spec_from_file_location("training_results", ROOT / "scripts" / "training_results.py")
assert SCRIPT is not None
assert SCRIPT.loader is not None
training_results = importlib.util.module_from_spec(SCRIPT)
SCRIPT.loader.exec_module(training_results)


CHAPTER = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def write(folder, records, *, began):
    JsonLines(folder / "metrics.jsonl").append(records)
    os.utime(folder / "metrics.jsonl", (began, began))


def games(tic_faults, kuhn_faults):
    """Three games of Kuhn poker for every one of tic-tac-toe."""
    return {
        f"{TIC}/turns": 7,
        f"{TIC}/faults": tic_faults,
        f"{TIC}/share_of_games": 0.25,
        f"{KUHN}/turns": 2,
        f"{KUHN}/faults": kuhn_faults,
        f"{KUHN}/share_of_games": 0.75,
    }


def test_a_row_says_how_a_run_ended(tmp_path, capsys):
    # Two lines at every other step: 2 steps of 1.5 s and 2 of 4 s. The last ten logged steps hold all four.
    records = [
        {"step": 0, f"nash_conv/{KUHN}": 0.65},
        {"step": 2, "step_time": 1.5, "play_time_s": 0.5, **games(0.4, 0.2)},
        {"step": 4, "step_time": 4.0, "play_time_s": 0.5, f"nash_conv/{KUHN}": 0.2468, **games(0.2, 0.0)},
    ]
    write(tmp_path / "z_first", records, began=1000)
    # Of twelve steps the first two, with 1 fault a game, do not count.
    plain = [
        {"step": step, f"{KUHN}/turns": 2, f"{KUHN}/faults": float(step <= 2), f"{KUHN}/share_of_games": 1.0}
        for step in range(1, 13)
    ]
    plain[4][f"nash_conv/{KUHN}"] = 0.5
    write(tmp_path / "a_second", plain, began=2000)
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "metrics.jsonl").write_text('{"step": 1, "lo')

    assert training_results.main([str(tmp_path)]) == 0

    # Faults: 0.25 * 0.3 + 0.75 * 0.1. Seconds: 2 * 1.5 + 2 * 4, of which play is a part.
    assert capsys.readouterr().out.splitlines() == [
        "| command | steps | NashConv at the end | faults a game, last 10 steps | seconds of self-play |",
        "| --- | --- | --- | --- | --- |",
        "| `z_first` | 4 | 0.247 | 0.150 | 11 |",
        "| `a_second` | 12 | 0.500 at step 5 | 0.000 | 0 |",
    ]


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_folder_without_runs_is_refused(tmp_path, name, capsys):
    assert training_results.main([str(tmp_path / name)]) == 2
    assert "there is no run with metrics in" in capsys.readouterr().err


def test_the_chapter_has_a_place_for_every_link_within_it_and_for_the_table():
    headings = re.findall(r"^##+ (.+)$", CHAPTER, re.MULTILINE)
    places = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]+)\)", CHAPTER))
    assert {"results-of-the-commands", "how-fast-it-is"} <= links <= places
    assert f"| {' | '.join(training_results.HEADINGS)} |" in CHAPTER


def test_the_chapter_starts_a_server_as_the_error_messages_say():
    assert START_COMMAND in CHAPTER
