"""The report: hostile text stays text, curves draw what there is, and the table says what changed."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import io
import json
from html.parser import HTMLParser

import pytest
from rich.console import Console

from spiral_trl.evaluation import SeatResult
from spiral_trl.records import JsonLines
from spiral_trl.report import NASH_CONV, Strength, compare, draw_curves, terminal_table, write_report

GAME = "tic_tac_toe_v0"
HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}{% raw %}&amp; \u202e 🎲"


def step(number, **extra):
    figures = {"faults": 0.5, "reply_tokens": 9.0}
    by_role = {f"{GAME}/{role}/{figure}": 0.1 for role in ("X", "O") for figure in ("return", "baseline")}
    return {
        "step": number,
        "entropy": 1.0,
        **{f"{GAME}/{name}": value for name, value in figures.items()},
        **by_role,
        **extra,
    }


def game(number, response="[4]", *, reason="", fault=None, step_number=1):
    turn = {
        "seat": 0,
        "observation": f"Board {number}",
        "response": response,
        "move": "[4]",
        "fault": fault,
        "rule": "boxed",
    }
    turn["reason"] = reason
    return {
        "step": step_number,
        "number": number,
        "game": GAME,
        "roles": ["X", "O"],
        "returns": [1.0, -1.0],
        "reason": reason,
        "turns": [turn],
    }


def seat_result(wins, *, games=100, role="X", opponent="random"):
    return SeatResult(GAME, opponent, 0, role, games, wins, 0, games - wins, 0, 0.0)


def strength(wins, nash_conv=0.8, faults=0.2):
    return Strength((seat_result(wins),), nash_conv, 0.01, {GAME: faults})


@pytest.fixture
def folder(tmp_path):
    """A run of two steps and five games, one of them hostile."""
    JsonLines(tmp_path / "metrics.jsonl").append([step(1), step(2)])
    games = [game(0, HOSTILE, reason=HOSTILE, fault=HOSTILE), *(game(number) for number in range(1, 5))]
    JsonLines(tmp_path / "games.jsonl").append(games)
    return tmp_path


class Page(HTMLParser):
    """Collects the tags, the attributes and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.text += data


def page_of(folder, rows=(), about=()):
    write_report(folder, rows=rows, about=about)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_hostile_text_of_a_model_is_shown_as_text_and_nothing_else(folder):
    page = page_of(folder, about=[HOSTILE], rows=compare(strength(10), strength(60)))
    assert "script" not in page.tags
    assert page.tags.count("img") == 1, "the curves"
    assert "onerror" not in page.attributes
    # In the sentence, the reason, the fault and the reply.
    assert page.text.count("<script>alert(1)</script>") == 4
    assert "{{ 7*7 }}" in page.text
    assert "49{%" not in page.text


def test_the_page_shows_the_first_and_the_last_game_of_a_kind(folder):
    text = page_of(folder).text
    assert "Board 0" in text
    assert "Board 4" in text
    assert "Board 2" not in text


def test_the_page_needs_nothing_from_elsewhere(folder):
    page_of(folder)
    text = (folder / "report.html").read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert 'src="data:image/png;base64,' in text


def test_a_run_with_a_single_game_and_step_has_a_report(tmp_path):
    JsonLines(tmp_path / "metrics.jsonl").append([step(1)])
    JsonLines(tmp_path / "games.jsonl").append([game(0)])
    page = page_of(tmp_path)
    assert page.text.count("Board 0") == 1
    assert "table" not in page.tags, "nothing was evaluated"


def test_a_run_without_games_has_a_report_and_one_without_metrics_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no metrics to draw"):
        write_report(tmp_path, rows=[], about=[])
    JsonLines(tmp_path / "metrics.jsonl").append([step(1)])
    assert "Games to read" in page_of(tmp_path).text


def test_curves_are_drawn_where_there_are_figures_and_gaps_are_said(tmp_path):
    records = [step(1), {**step(2), NASH_CONV: 0.7}, step(3), {**step(4), NASH_CONV: 0.5, f"{GAME}/faults": None}]
    del records[2][f"{GAME}/reply_tokens"]
    axes = draw_curves(records).axes
    lines = {axis.get_title(): [line.get_xydata().tolist() for line in axis.lines] for axis in axes}
    by_word = {
        word: next(each for title, each in lines.items() if word in title) for word in ("NashConv", "faults", "length")
    }
    assert by_word["NashConv"] == [[[2, 0.7], [4, 0.5]]]
    assert by_word["faults"] == [[[1, 0.5], [2, 0.5], [3, 0.5]]]
    assert by_word["length"] == [[[1, 9.0], [2, 9.0], [4, 9.0]]]


def test_a_panel_without_figures_says_so():
    axes = draw_curves([step(1), step(2)]).axes
    nash_conv = next(axis for axis in axes if "NashConv" in axis.get_title())
    assert [text.get_text() for text in nash_conv.texts] == ["not measured in this run"]
    faults = next(axis for axis in axes if "faults" in axis.get_title())
    assert [list(line.get_ydata()) for line in faults.lines] == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        # Wilson: 50 of 100 is 40 to 60 %; 65 is 55 to 74; 75 is 66 to 82; 25 is 18 to 34.
        (50, 75, "wins more"),
        (50, 65, "within the intervals"),
        (50, 25, "wins less"),
        (50, 50, "within the intervals"),
    ],
)
def test_a_change_counts_only_beyond_the_intervals(before, after, change):
    rows = compare(strength(before), strength(after))
    row = next(row for row in rows if "random" in row.measure)
    assert row.change == change
    assert f"{before}%" in row.before
    assert f"{after}%" in row.after


def test_the_table_has_faults_nash_conv_and_their_change():
    rows = compare(strength(50, nash_conv=0.8, faults=0.25), strength(50, nash_conv=0.2, faults=0.01))
    faults = next(row for row in rows if "fault" in row.measure)
    assert (faults.before, faults.after) == ("25.0%", "1.0%")
    nash_conv = next(row for row in rows if "NashConv" in row.measure)
    assert (nash_conv.before, nash_conv.after) == ("0.800", "0.200")
    assert "0.25" in nash_conv.change


def test_a_run_without_poker_has_no_nash_conv():
    without = Strength((seat_result(5),), None, None, {GAME: 0.0})
    assert not any("NashConv" in row.measure for row in compare(without, without))


def test_a_policy_that_was_perfect_before_is_no_division_by_zero():
    rows = compare(strength(50, nash_conv=0.0), strength(50, nash_conv=0.1))
    assert any("NashConv" in row.measure for row in rows)


def test_the_terminal_table_shows_every_row():
    rows = compare(strength(10), strength(60))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(terminal_table(rows))
    text = console.export_text()
    for row in rows:
        assert row.measure in text


def test_a_saved_strength_is_loaded_as_it_was(tmp_path):
    saved = strength(33)
    saved.save(tmp_path / "before.json")
    assert Strength.load(tmp_path / "before.json") == saved
    assert json.loads((tmp_path / "before.json").read_text())["nash_conv"] == 0.8
    assert [path.name for path in tmp_path.iterdir()] == ["before.json"]
