"""The report: hostile text stays text, whatever is in the folder is shown, and the table says what changed."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console
from synthetic_run import HOSTILE, KUHN, TIC, faulty_game, game_record, seat_result, write_run

from spiral_envs.printable import printable
from spiral_trl.records import JsonLines
from spiral_trl.replays import GameFilter
from spiral_trl.report import ReportError, Strength, compare, terminal_table, write_report

VOID = frozenset({"meta", "img", "br", "wbr"})
STEP = {"step": 1, "loss": 0.5}


def strength(wins, nash_conv=0.8, faults=0.2):
    return Strength((seat_result(wins),), nash_conv, 0.01, {TIC: faults})


class Page(HTMLParser):
    """Collects the tags, the attributes, the text and the text inside of every pre of a page."""

    def __init__(self, text):
        super().__init__()
        self.html, self.tags, self.attributes, self.text, self.pieces, self.pres = text, [], [], "", [], []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "pre":
            self.pres.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags are closed in the order in which they were opened"

    def handle_data(self, data):
        self.text += data
        self.pieces.append(data)
        if self.open and self.open[-1] == "pre":
            self.pres[-1] += data

    @property
    def words(self):
        """All text with single spaces, and one between any two elements."""
        return " ".join(" ".join(self.pieces).split())

    def values(self, name):
        return [value for each, value in self.attributes if each == name]


def page_of(folder, **arguments):
    write_report(folder, **arguments)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a run with every file, hostile texts in all of them, and torn last lines."""
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    write_report(folder, page=folder / "page.html")
    assert not (folder / "report.html").exists()
    assert not (folder / "curves.png").exists()
    return Page((folder / "page.html").read_text(encoding="utf-8"))


def small_run(folder, games, metrics=(STEP,)):
    JsonLines(folder / "metrics.jsonl").append(metrics)
    JsonLines(folder / "games.jsonl").append(games)
    return folder


def test_hostile_text_is_shown_as_text_and_nothing_else(page):
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert set(page.tags) & {"iframe", "object", "embed", "form", "link", "base"} == set()
    assert page.open == ["html"] or not page.open
    shown = printable(HOSTILE)
    assert "<script>alert(1)</script>" in shown
    # The reply, whole, after the line feed that it begins with.
    assert f"\n{shown}" in [pre.removeprefix("\n") for pre in page.pres]
    # In the about sentence, the message of an alarm, the opponent of an evaluation, the label of a game.
    assert page.text.count(shown) >= 6
    assert "49{%" not in page.text


def test_a_page_can_be_written_and_holds_no_character_that_acts(page):
    page.html.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", page.html)
    assert "‹U+001B›[2J‹U+0000›‹U+D800›" in page.text


def test_the_page_needs_nothing_from_elsewhere(page):
    sources = page.values("src")
    assert len(sources) > 10
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(target.startswith("#") for target in page.values("href"))
    assert "default-src 'none'" in page.html
    assert "url(" not in page.html
    assert "@import" not in page.html


def test_every_link_leads_to_a_place_on_the_page(page):
    places = page.values("id")
    assert len(places) == len(set(places))
    assert {target.removeprefix("#") for target in page.values("href")} <= set(places)


def test_the_page_says_how_the_run_stands_and_what_went_wrong(page):
    words = page.words
    assert "state stopped by alarm draw_flood" in words
    assert "steps 60 of 200" in words
    # 12 rounds of 5 games and one more; 2500 tokens a second, 12 s a step, 60 steps.
    assert "games 61 recorded" in words
    assert "tokens generated 1,800,000 2,500 a second of play" in words
    # 60 steps of 31 s.
    assert "time of all steps 31 min 0 s 39% of it play" in words
    assert "empty_reasoning , step 60, raised 2 times from step 59 on 14 % of the replies" in words


def test_every_subject_has_its_curve_and_table(page):
    for title in (
        "NashConv, 0 is perfect play",
        "Wins against agents",
        "Score against league snapshots",
        "Return by role, against itself",
        "Baseline by role",
        "Faults a game, by reason",
        "Reply length",
        "Replies without reasoning",
        "Entropy",
        "KL to the reference",
        "Gap of sampler and trainer",
        "Speed of play",
        "Before and after self-play",
        "Evaluations during training",
        "League at step 60",
        "Games and turns",
        "Where the time of a step goes",
        "Checkpoints",
    ):
        assert title in page.text


def test_a_replay_shows_the_board_the_reasoning_the_move_and_the_figures(page):
    words = page.words
    assert "1. X self plays [4] advantage -0.21" in words
    assert "<think>The free cells are 0, 1, 2, 3, 4, 5, 6, 7, 8. I take 4.</think>\\boxed{[4]}" in words
    assert "fault: illegal, the move is not allowed here" in words
    # The league's own seat has no advantage.
    assert "Player 0 self , learns +1 +0.75 Player 1 league:20 -1 " in words


def test_about_sentences_are_kept_for_the_next_report(tmp_path):
    small_run(tmp_path, [])
    assert "One sentence." in page_of(tmp_path, about=["One sentence."], rows=[]).text
    assert "One sentence." in page_of(tmp_path).text


def test_settings_are_folded_away_and_missing_where_they_are_torn(tmp_path):
    small_run(tmp_path, [])
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"games": [KUHN], HOSTILE: HOSTILE}))
    page = page_of(tmp_path)
    assert re.search(r"<details>\s*<summary><h2 [^>]*>Settings</h2></summary>", page.html)
    assert f'["{KUHN}"]' in page.text
    assert page.text.count(printable(HOSTILE)) == 2
    settings.write_text('{"games": [')
    assert "Settings" not in page_of(tmp_path).text


def test_labels_may_break_after_a_bracket_and_a_comma_only(tmp_path):
    label = "a_b(c=1,d=&lt;(2,3)>\"'"
    small_run(tmp_path, [game_record(1, game=label)], [{"step": 1, f"{label}/turns": 1, f"{label}/faults": 0.5}])
    page = page_of(tmp_path)
    assert "<bdi>a_b(<wbr>c=1,<wbr>d=&amp;lt;(<wbr>2,<wbr>3)&gt;&#34;&#39;</bdi>" in page.html
    assert label in page.text
    assert "overflow-wrap: anywhere" not in page.html


def test_before_the_end_of_a_run_its_start_is_shown(tmp_path):
    small_run(tmp_path, [])
    strength(10).save(tmp_path / "before.json")
    (tmp_path / "after.json").write_text('{"results": [')
    words = page_of(tmp_path).words
    assert "tic_tac_toe: X v random 10% [6%, 17%] / 0% / 90% not yet" in words
    strength(60).save(tmp_path / "after.json")
    assert "wins more" in page_of(tmp_path).text


def test_a_run_with_a_single_step_and_nothing_else_has_a_report(tmp_path):
    small_run(tmp_path, [])
    page = page_of(tmp_path)
    assert page.tags.count("img") == 1, "the loss"
    assert "There are none yet." in page.text
    assert "Before and after" not in page.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.png",
        "games.jsonl",
        "metrics.jsonl",
        "report.html",
    ]


def test_a_run_without_metrics_is_refused(tmp_path):
    with pytest.raises(ReportError, match="no metrics to draw"):
        write_report(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "lo')
    with pytest.raises(ReportError, match="no metrics to draw"):
        write_report(tmp_path)
    with pytest.raises(ReportError, match="no such folder"):
        write_report(tmp_path / "metrics.jsonl")


def test_only_games_that_were_asked_for_are_shown(tmp_path):
    games = [game_record(1), faulty_game(2, "illegal", step=2), game_record(3, step=3, game=KUHN)]
    small_run(tmp_path, games)
    text = page_of(tmp_path, accepted=GameFilter(first_step=2), games_shown=1).text
    assert "Board 1" not in text
    assert "Board 2" in text
    assert "Board 3" in text
    with pytest.raises(ReportError, match=r"the 3 games up to step 3 are of tic_tac_toe_v0, kuhn_poker_v0\(.* self"):
        write_report(tmp_path, accepted=GameFilter(against="league"))


def test_lines_that_hold_no_game_are_counted(tmp_path):
    small_run(tmp_path, [game_record(1), {"step": 1, "game": TIC, "turns": [{"seat": 7}]}])
    assert "1 lines of games.jsonl hold no game" in page_of(tmp_path).text


def test_an_old_page_stays_when_a_new_one_cannot_be_made(tmp_path):
    small_run(tmp_path, [game_record(1)])
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="folder"):
        write_report(tmp_path, page=target)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_strengths_in_different_games_are_compared_where_they_meet():
    after = Strength((seat_result(60), seat_result(5, game=KUHN)), None, None, {KUHN: 0.5})
    assert [row.measure for row in compare(strength(10), after)] == [
        "tic_tac_toe: X v random",
        "tic_tac_toe: all seats v random",
    ]


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
    without = Strength((seat_result(5),), None, None, {TIC: 0.0})
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


def test_brackets_and_control_codes_of_a_label_reach_the_terminal_as_text():
    rows = compare(*(Strength((seat_result(5, game="[red]x[/nope]\x1b[2J"),), None, None, {}) for _ in range(2)))
    file = io.StringIO()
    Console(width=200, file=file, force_terminal=True).print(terminal_table(rows))
    assert "[red]x[/nope]‹U+001B›[2J" in file.getvalue()
    assert "\x1b[2J" not in file.getvalue()
