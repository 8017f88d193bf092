"""spiral-report: one page from a folder, and one line about what is wrong."""

import pytest
from synthetic_run import KUHN, TIC, game_record

from spiral_trl.records import JsonLines
from spiral_trl.report_command import main

STEP = {"step": 1, "loss": 0.5}


@pytest.fixture
def folder(tmp_path):
    JsonLines(tmp_path / "metrics.jsonl").append([STEP])
    games = [game_record(number, step=number, game=game) for number in range(1, 30) for game in (TIC, KUHN)]
    games += [game_record(99, step=29, opponent="league", agent="league:20")]
    JsonLines(tmp_path / "games.jsonl").append(games)
    return tmp_path


def refused(capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in argv])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_the_page_is_written_and_named(folder, capsys):
    main([str(folder)])
    out = capsys.readouterr().out
    assert out.startswith(f"report: {folder / 'report.html'} (")
    assert out.endswith("12 of 59 games)\n"), "six of each kind"
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--games", "0"], "0 of 59"),
        (["--games", "1000"], "59 of 59"),
        (["--game", "kuhn_poker", "--games", "3"], "3 of 29"),
        (["--game", KUHN, "--steps", "10-12"], "3 of 3"),
        (["--steps", "28-"], "5 of 5"),
        (["--steps=-2"], "4 of 4"),
        (["--steps", "7"], "2 of 2"),
        (["--against", "league"], "1 of 1"),
        (["--against", "league:20"], "1 of 1"),
    ],
)
def test_options_choose_the_games(folder, capsys, options, shown):
    main([str(folder), "--out", str(folder / "chosen.html"), *options])
    assert capsys.readouterr().out.endswith(f" {shown} games)\n")
    assert not (folder / "report.html").exists()


def test_a_missing_folder_is_one_line(tmp_path, capsys):
    assert refused(capsys, tmp_path / "none") == f"spiral-report: no such folder: {tmp_path / 'none'}\n"


def test_a_run_without_a_step_is_one_line(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1')
    err = refused(capsys, tmp_path)
    assert err.startswith("spiral-report: there are no metrics to draw")
    assert err.count("\n") == 1


def test_a_filter_that_lets_nothing_through_says_what_there_is(folder, capsys):
    err = refused(capsys, folder, "--game", "chess")
    assert f"up to step 29 are of {TIC}, {KUHN} against self, league\n" in err


def test_a_page_that_cannot_be_written_is_one_line(folder, capsys):
    err = refused(capsys, folder, "--out", folder / "none" / "page.html")
    assert err.startswith("spiral-report: cannot read or write ")
    assert err.endswith("No such file or directory\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--games", "-1"], "expected a number of games from 0, got '-1'"),
        (["--games", "x"], "expected a number of games from 0, got 'x'"),
        (["--steps", "a-b"], "expected steps as A-B, A- or A, got 'a-b'"),
        (["--steps", "-"], "expected steps as A-B, A- or A, got '-'"),
        (["--steps", "9-3"], "expected the first step before the last, got '9-3'"),
        (["--stepz", "3"], "unrecognized arguments"),
    ],
)
def test_a_bad_option_is_refused(folder, capsys, options, message):
    assert message in refused(capsys, folder, *options)
