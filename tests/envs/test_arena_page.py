"""The page of a tournament as a file: what it says, which games it holds, and that no text of others is markup."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from synthetic_arena import AGENTS, HOSTILE, HUGE, KUHN, LONG, TIC, record_of, turn, write_hostile, write_tournament

from spiral_envs.arena import replay_view
from spiral_envs.arena.records import GAMES_FILE, GameRecord
from spiral_envs.arena.replay_view import Choice, GamesFile, choose_games, embedded_json
from spiral_envs.arena.report import write_report
from spiral_envs.json_lines import JsonLines
from spiral_envs.printable import one_line, printable

VOID = frozenset({"meta", "wbr", "br", "line", "circle", "rect"})


class Page(HTMLParser):
    """Collects the tags, the attributes, the text and the scripts of a page."""

    def __init__(self, text):
        super().__init__()
        self.html, self.tags, self.attributes, self.text, self.scripts, self.open = text, [], [], "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, "tags are closed in the order in which they were opened"

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.text += data

    @property
    def words(self):
        return " ".join(self.text.split())

    def values(self, name):
        return [value for each, value in self.attributes if each == name]


def page_of(folder, **options):
    return Page(write_report(folder, resamples=50, **options).page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return page_of(write_tournament(tmp_path_factory.mktemp("plain")))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return page_of(write_hostile(tmp_path_factory.mktemp("hostile")))


def game(number, *, label=TIC, agents=("a", "b"), num_turns=5, offender=None, fault="", num_faults=(0, 0)):
    returns = (1.0, -1.0)
    return GameRecord(str(number), label, number, agents, ("X", "O"), returns, offender, fault, num_turns, num_faults)


def replays_of(folder, records, games_shown=200):
    JsonLines(folder / GAMES_FILE).append(records)
    replays = GamesFile.read(folder / GAMES_FILE).replays(games_shown)
    return replays, json.loads(replays.data)


def test_hostile_text_is_no_markup(hostile):
    assert hostile.tags.count("script") == 2
    assert set(hostile.tags) & {"img", "iframe", "object", "embed", "form", "link", "base"} == set()
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert hostile.open == []
    # Agents, reasons of aborted games and settings are written by the template.
    assert hostile.text.count("<script>window.hacked = 1; alert(1)</script>") >= 6
    assert "49{%" not in hostile.text
    assert all(target.startswith("#") for target in hostile.values("href"))
    assert "url(" not in hostile.html
    assert "@import" not in hostile.html


def test_hostile_text_is_data_in_the_script_element_and_comes_out_whole(hostile):
    data = json.loads(hostile.scripts[0])
    replay = next(each for each in data["games"] if each["id"] == "hostile")
    assert replay["turns"][0]["reply"] == printable(HOSTILE)
    assert replay["turns"][0]["reply_length"] == len(HOSTILE)
    assert replay["turns"][1]["reply_cut"]
    assert replay["turns"][1]["reply_length"] == len(HUGE) == 1_100_003
    assert "<" not in hostile.scripts[0]
    assert "\u2028" not in hostile.html


def test_a_page_holds_no_character_that_acts(hostile):
    hostile.html.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", hostile.html)


def test_only_the_script_of_the_page_may_run(hostile):
    policy = next(value for value in hostile.values("content") if "default-src" in value)
    digest = base64.b64encode(hashlib.sha256(hostile.scripts[1].encode()).digest()).decode()
    assert policy.split("; ")[:3] == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
    ]
    assert "innerHTML" not in hostile.scripts[1]
    assert "insertAdjacentHTML" not in hostile.scripts[1]


def test_every_link_leads_to_a_place_on_the_page(plain):
    places = plain.values("id")
    assert len(places) == len(set(places))
    assert {target.removeprefix("#") for target in plain.values("href")} <= set(places)


def test_the_headline_says_who_leads_and_how_sure_that_is(plain):
    assert re.search(r"steady leads with \+\d+ Elo points, 95 % interval \[\+\d+, \+\d+\]\.", plain.words)
    assert re.search(
        r"Its lead of \+\d+ \[[−+]?\d+, \+\d+\] over .+ is (not )?significant.* \(p (= |below )", plain.words
    )
    assert "finished games240120 pairs" in plain.words
    assert "aborted2counted for nobody" in plain.words


def test_tables_hold_faults_aborted_games_settings_and_the_command(plain):
    assert "Faults A fault is a reply" in plain.words
    assert "timeout <b>after</b> 60 s" in plain.text
    assert "Intransitive triples None: no three agents beat each other in a circle." in plain.words
    assert '["tic_tac_toe_v0", "kuhn_poker_v0"]' in plain.text
    assert "spiral-arena report" in plain.text
    assert "fewer than 10 pairs" in plain.text


def test_the_heatmaps_have_a_cell_for_every_two_agents(plain):
    cells = [value for value in plain.values("aria-label") if value.endswith("; to its games")]
    # 5 agents against 4 others, over all games and in each of two.
    assert len(cells) == 3 * 20
    assert len(plain.values("data-game")) == 2 * 20
    names = json.loads(plain.scripts[0])["names"]
    assert {names[int(index)] for index in plain.values("data-first")} == set(AGENTS)
    assert {names[int(index)] for index in plain.values("data-game")} == {TIC, KUHN}


@pytest.mark.slow
def test_cells_without_games_on_the_page_lead_nowhere(tmp_path):
    records = [
        record_of(f"{agents}{label}{seat}", game=label, agents=seats, turns=[turn(0)])
        for label in (TIC, KUHN)
        for agents in ("ab", "ac")
        for seat, seats in enumerate((tuple(agents), tuple(agents[::-1])))
    ]
    JsonLines(tmp_path / GAMES_FILE).append(records)
    page = page_of(tmp_path, games_shown=1)
    # The first game, of a and b: from their two cells over all games, and from their two in tic-tac-toe.
    links = [value for value in page.values("aria-label") if value.endswith("; to its games")]
    assert len(links) == 4
    assert all("a against b" in link or "b against a" in link for link in links)
    assert len(page.values("data-game")) == 2


def test_bars_and_intervals_have_the_lengths_of_the_figures(tmp_path):
    records = [
        record_of(f"{pair}-{seat}", pair=pair, agents=seats, turns=[turn(0)], returns=returns)
        for pair in range(4)
        for seat, seats in enumerate((("a", "b"), ("b", "a")))
        # In seat 0 a wins twice, draws once and loses once.
        for returns in [((1, -1), (1, -1), (0, 0), (-1, 1))[pair]]
    ]
    JsonLines(tmp_path / GAMES_FILE).append(records)
    page = page_of(tmp_path)
    widths = r'bar-win" x="0" width="(.*?)" .*?bar-draw" x="(.*?)" width="(.*?)" .*?bar-loss" x="(.*?)" width="(.*?)"'
    bars = re.findall(widths, page.html)
    assert ("50.00%", "50.00%", "25.00%", "75.00%", "25.00%") in bars


def test_games_are_chosen_first_then_faults_then_longest_then_spread():
    games = [game(number, num_turns=9 if number == 6 else 5) for number in range(9)]
    games[4] = game(4, offender=1, fault="illegal", num_faults=(0, 1))
    games[5] = game(5, offender=1, fault="illegal", num_faults=(0, 1))
    games[7] = game(7, offender=0, fault="illegal", num_faults=(1, 0))
    chosen = choose_games(games, 100)
    assert chosen[:4] == [Choice(0, "first"), Choice(4, "fault"), Choice(7, "fault"), Choice(6, "longest")]
    # The rest halves the gaps: 8, then 4 (there already), then 2 and 6 (there already), then the odd ones.
    assert [choice.place for choice in chosen[4:]] == [8, 2, 1, 3, 5]


def test_every_game_and_pair_of_agents_gets_its_share():
    many = [game(number) for number in range(50)]
    other_game = [game(100 + number, label=KUHN) for number in range(3)]
    # The same two agents in each other's seats are the same pair.
    swapped = [game(200, agents=("b", "a")), game(201, agents=("c", "a"))]
    games = [*many, *other_game, *swapped]
    chosen = [games[choice.place] for choice in choose_games(games, 7)]
    groups = [(each.game, frozenset(each.agents)) for each in chosen]
    assert groups.count((KUHN, frozenset("ab"))) == 3
    assert groups.count((TIC, frozenset("ac"))) == 1
    assert groups.count((TIC, frozenset("ab"))) == 3


@pytest.mark.parametrize("number", [0, 1, 2, 3, 17, 240])
def test_each_game_is_chosen_once_and_no_more_than_asked_for(number):
    games = [game(each, num_turns=each % 7) for each in range(number)]
    for limit in (0, 1, 5, 1000):
        chosen = [choice.place for choice in choose_games(games, limit)]
        assert len(chosen) == len(set(chosen)) == min(limit, number)


def test_chosen_games_are_spread_over_the_tournament():
    chosen = sorted(choice.place for choice in choose_games([game(each) for each in range(1000)], 33))
    assert max(later - earlier for earlier, later in pairwise([*chosen, 1000])) <= 64


def test_embedded_json_holds_nothing_that_ends_a_script():
    texts = ["</script>", "<!--", "-->", "]]>", "a\u2028b\u2029c", "&lt;", "\\", '"', "\\u003c"]
    text = embedded_json(texts)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == texts
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded_json(float("nan"))


def test_a_number_that_json_cannot_hold_does_not_break_the_page(tmp_path):
    JsonLines(tmp_path / GAMES_FILE).append([record_of("1", turns=[turn(0)], returns=(float("inf"), float("-inf")))])
    data = json.loads(GamesFile.read(tmp_path / GAMES_FILE).replays(1).data)
    assert data["games"][0]["returns"] == [None, None]


def test_the_text_of_the_chosen_games_is_read_from_their_lines(tmp_path):
    records = [record_of(f"g{each}", turns=[turn(0, response=f"reply ü{each} \u2028")]) for each in range(20)]
    replays, data = replays_of(tmp_path, records, games_shown=20)
    assert [each["turns"][0]["reply"] for each in data["games"]] == [f"reply ü{each} ‹U+2028›" for each in range(20)]
    assert (replays.num_shown, replays.num_games, replays.num_cut, replays.is_full) == (20, 20, 0, False)


def test_a_full_page_takes_no_more_games_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(replay_view, "DATA_LIMIT", 20_000)
    records = [record_of(f"g{each}", turns=[turn(0, response="x" * 5_000)]) for each in range(10)]
    replays, data = replays_of(tmp_path, records)
    assert replays.is_full
    assert replays.num_shown == len(data["games"]) == 3
    assert len(replays.data.encode()) < 20_500
    words = page_of(tmp_path).words
    assert "3 of 10 games" in words
    assert ", until the page was full." in words


def test_long_texts_are_shortened_more_in_games_of_many_turns(tmp_path):
    long = "a" * 50_000 + "[4]"
    records = [
        record_of("few", turns=[turn(0, response=long)]),
        record_of("many", turns=[turn(0, response=long)] * 100),
    ]
    replays, data = replays_of(tmp_path, records)
    # 6,000 characters a text, and 120,000 for all replies of a game.
    few, many = (each["turns"][0]["reply"] for each in data["games"])
    assert few.startswith("a" * 4_000 + "\n[… 44,003 of 50,003 characters left out …]\n")
    assert few.endswith("[4]")
    assert many.startswith("a" * 800 + "\n[… 48,803 of 50,003 characters left out …]\n")
    assert replays.num_cut == 101
    assert len(replays.data) < 300_000


def test_turns_that_are_none_are_left_out(tmp_path):
    record = record_of("odd", turns=[turn(0), {"seat": 7, "fault": None}, {"seat": 1, "fault": None}])
    _, data = replays_of(tmp_path, [record])
    assert [each["seat"] for each in data["games"][0]["turns"]] == [0, 1]
    assert data["games"][0]["turns"][1]["reply"] == ""


def test_agents_that_look_alike_stay_two(tmp_path):
    records = [record_of("1", agents=("a\x00", "a‹U+0000›"), turns=[turn(0)])]
    replays, data = replays_of(tmp_path, records)
    assert replays.positions["a\x00"] != replays.positions["a‹U+0000›"]
    first, second = data["games"][0]["agents"]
    assert data["names"][first] == data["names"][second] == "a‹U+0000›"


def test_a_name_is_shown_whole_in_the_tables(plain, hostile):
    assert LONG in plain.text
    assert one_line(f"evil{HOSTILE}") in hostile.words
