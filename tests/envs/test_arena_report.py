"""The report of a tournament: what is written, that nothing is written by halves, and clear errors."""

import csv
import json
import re
import tracemalloc

import pytest
from synthetic_arena import AGENTS, KUHN, LONG, TIC, record_of, turn, write_hostile, write_tournament

from spiral_envs.arena import report as report_module
from spiral_envs.arena.records import ABORTED_FILE, GAMES_FILE, TOURNAMENT_FILE
from spiral_envs.arena.report import ReportError, write_report
from spiral_envs.json_lines import JsonLines

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tournament(tmp_path_factory.mktemp("tournament"))


@pytest.fixture(scope="module")
def written(folder):
    return write_report(folder, resamples=50)


def pair_of(number, winner, *, agents=("a", "b"), game=TIC):
    """Returns the two games of a pair, both won by the same agent."""
    return [
        record_of(
            f"{game}-{number}-{place}",
            game=game,
            pair=number,
            agents=seats,
            turns=[turn(0), turn(1)],
            returns=(1.0, -1.0) if seats[0] == winner else (-1.0, 1.0),
        )
        for place, seats in enumerate((agents, agents[::-1]))
    ]


def test_all_files_are_there_and_whole(written, folder):
    assert written.folder == folder / "report"
    names = {path.name for path in written.folder.iterdir()}
    pictures = {"ratings.png", "seat_terms.png", "seats.png", "heatmap.png"}
    pictures |= {"heatmap_1_kuhn_poker_v0.png", "heatmap_2_tic_tac_toe_v0.png"}
    pictures |= {"ratings_1_kuhn_poker_v0.png", "ratings_2_tic_tac_toe_v0.png"}
    tables = {f"{name}.csv" for name in ("ratings", "ratings_by_game", "matchups", "seat_terms", "seats")}
    tables |= {"faults.csv", "differences.csv"}
    assert names == {"report.html", "report.md", "games.parquet", *pictures, *tables}
    assert {path.name for path in written.pictures} == pictures
    assert {path.name for path in written.tables} == {*tables, "games.parquet"}
    for path in written.pictures:
        assert path.read_bytes().startswith(PNG)


def test_the_report_counts_every_game(written):
    # 10 pairs of agents, 2 games, 6 pairs of games each.
    assert written.num_games == 240
    assert written.num_shown == 200
    assert written.num_unreadable == 0
    assert sum(rating.games for rating in written.standings.ratings) == 480


def test_the_markdown_has_the_tables_and_the_pictures(written):
    text = written.markdown.read_text(encoding="utf-8")
    assert "## Ratings" in text
    assert "![heatmap](heatmap.png)" in text
    assert all(f"]({path.name})" in text for path in written.pictures)


def test_the_csv_files_hold_the_figures_of_the_standings(written):
    with (written.folder / "ratings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["agent"] for row in rows] == [rating.agent for rating in written.standings.ratings]
    assert {row["agent"] for row in rows} == set(AGENTS)


@pytest.mark.slow
def test_the_same_folder_gives_the_same_tables(folder, written, tmp_path):
    again = write_report(folder, out=tmp_path / "again", resamples=50)
    assert again.standings == written.standings
    for table in written.tables:
        assert (tmp_path / "again" / table.name).read_bytes() == table.read_bytes()


@pytest.mark.slow
def test_the_anchor_is_at_zero(folder, tmp_path):
    files = write_report(folder, out=tmp_path, resamples=50, anchor=LONG)
    ratings = {rating.agent: rating.rating for rating in files.standings.ratings}
    assert ratings[LONG] == pytest.approx(0)
    assert "--anchor" in files.page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "nothing to report: games.jsonl in {} holds no finished game"),
        ("", "nothing to report: games.jsonl in {} holds no finished game"),
        ('{"id": 1}\nnot json\n[1]\n', "nothing to report: games.jsonl in {} holds 3 lines but no finished game"),
    ],
)
def test_a_folder_without_games_is_a_clear_error_and_nothing_is_written(tmp_path, lines, message):
    if lines is not None:
        (tmp_path / GAMES_FILE).write_text(lines, encoding="utf-8")
    with pytest.raises(ReportError) as caught:
        write_report(tmp_path)
    assert str(caught.value) == message.format(tmp_path)
    assert not (tmp_path / "report").exists()


def test_a_tournament_of_aborted_games_alone_says_why(tmp_path):
    attempts = [
        {"id": str(number), "game": TIC, "agents": ["a", "b"], "reason": f"HTTP 50{number}\n"} for number in (0, 3)
    ]
    JsonLines(tmp_path / ABORTED_FILE).append(attempts)
    with pytest.raises(ReportError) as caught:
        write_report(tmp_path)
    assert str(caught.value).endswith("holds no finished game; errors aborted 2 attempts, the last: HTTP 503")


def test_what_is_not_played_yet_is_said(tmp_path):
    # One pair of two, and half of the other; c and Kuhn poker have nothing.
    JsonLines(tmp_path / GAMES_FILE).append([*pair_of(0, "a"), pair_of(1, "b")[0]])
    settings = {"pairs": 3, "agents": ["a", "b", "c"], "games": [TIC, KUHN]}
    (tmp_path / TOURNAMENT_FILE).write_text(json.dumps(settings), encoding="utf-8")
    words = " ".join(re.sub("<.*?>", "", write_report(tmp_path, resamples=20).page.read_text("utf-8")).split())
    assert "finished games3of 6; 2 pairs" in words
    assert "not complete: 3 games are missing in 1 of 1 matchups, each of 3 pairs." in words
    assert "No game of c is finished" in words
    assert f"No game of {KUHN} is finished" in words
    assert "No game of a is" not in words


def test_other_wrong_input_is_told_in_one_line(tmp_path, folder):
    for call, words in (
        (lambda: write_report(tmp_path / "nowhere"), "no such folder"),
        (lambda: write_report(folder, anchor="nobody\n"), "nobody"),
        (lambda: write_report(folder, resamples=0), "resamples"),
        (lambda: write_report(folder, games_shown=-1), "expected 0 or more"),
    ):
        with pytest.raises(ReportError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_only_games_of_an_agent_against_itself_are_a_clear_error(tmp_path):
    JsonLines(tmp_path / GAMES_FILE).append([record_of("1", agents=("a", "a"), turns=[turn(0)])])
    with pytest.raises(ReportError, match="two different agents"):
        write_report(tmp_path)


def test_a_tournament_that_was_killed_can_be_reported(tmp_path):
    records = [game for number in range(3) for game in pair_of(number, "a" if number else "b")]
    JsonLines(tmp_path / GAMES_FILE).append(records)
    with (tmp_path / GAMES_FILE).open("a", encoding="utf-8") as file:
        # A line that was written twice, one of another program, one that is too deep, and one torn by a kill.
        file.write(json.dumps(records[0]) + "\n")
        file.write('{"note": "no game"}\n')
        file.write("[" * 100_000 + "\n")
        file.write(json.dumps(records[0])[:60])
    (tmp_path / TOURNAMENT_FILE).write_text('{"seed": ', encoding="utf-8")
    (tmp_path / ABORTED_FILE).write_text('{"id": "x"}\n{"id"', encoding="utf-8")
    files = write_report(tmp_path, resamples=20)
    assert (files.num_games, files.num_unreadable) == (6, 3)
    page = files.page.read_text(encoding="utf-8")
    assert "3 lines of games.jsonl hold no finished game" in page
    assert "There is no readable tournament.json" in page
    # Two of three pairs were won by a: 4 wins and 2 losses.
    assert [(each.agent, each.wins, each.losses) for each in files.standings.ratings] == [("a", 4, 2), ("b", 2, 4)]


def test_two_agents_with_one_pair_are_enough(tmp_path):
    JsonLines(tmp_path / GAMES_FILE).append(pair_of(0, "a"))
    files = write_report(tmp_path, resamples=20, games_shown=0)
    assert files.num_shown == 0
    assert "0 of 2 games" in files.page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_agents_that_never_met_are_not_ranked_against_each_other(tmp_path):
    JsonLines(tmp_path / GAMES_FILE).append(
        [*pair_of(0, "a"), *pair_of(1, "b"), *pair_of(2, "c", agents=("c", "d")), *pair_of(3, "d", agents=("c", "d"))]
    )
    page = write_report(tmp_path, resamples=20).page.read_text(encoding="utf-8")
    assert "Nobody leads" in page
    assert 'class="figure">group</th>' in page


@pytest.mark.slow
def test_a_failure_half_way_leaves_the_old_report_as_it_was(tmp_path, monkeypatch):
    JsonLines(tmp_path / GAMES_FILE).append(pair_of(0, "a"))
    files = write_report(tmp_path, resamples=20)
    before = {path.name: path.read_bytes() for path in files.folder.iterdir()}
    JsonLines(tmp_path / GAMES_FILE).append(pair_of(1, "b"))

    def fail(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(report_module, "render", fail)
    with pytest.raises(OSError, match="no space"):
        write_report(tmp_path, resamples=20)
    assert {path.name: path.read_bytes() for path in files.folder.iterdir()} == before


@pytest.mark.slow
def test_heatmaps_of_games_that_are_gone_are_removed_and_other_files_stay(tmp_path):
    games = tmp_path / GAMES_FILE
    JsonLines(games).append([*pair_of(0, "a"), *pair_of(0, "b", game=KUHN)])
    folder = write_report(tmp_path, resamples=20).folder
    (folder / "mine.png").write_bytes(b"mine")
    assert len(list(folder.glob("heatmap*.png"))) == 3
    assert len(list(folder.glob("ratings_*.png"))) == 2
    (folder / "training.png").write_bytes(b"of a run that is gone")
    games.unlink()
    JsonLines(games).append(pair_of(0, "a"))
    write_report(tmp_path, resamples=20)
    assert [path.name for path in folder.glob("heatmap*.png")] == ["heatmap.png"]
    assert list(folder.glob("ratings_*.png")) == []
    assert not (folder / "training.png").exists()
    assert (folder / "mine.png").read_bytes() == b"mine"


def test_the_command_on_the_page_can_be_pasted_into_a_shell(tmp_path):
    folder = tmp_path / "a tournament"
    JsonLines(folder / GAMES_FILE).append(pair_of(0, "it's"[:1]))
    page = write_report(folder, resamples=20, seed=3, out=tmp_path / "out").page.read_text(encoding="utf-8")
    assert f"spiral-arena report &#39;{folder}&#39; --out {tmp_path / 'out'} --seed 3 --resamples 20" in page


@pytest.mark.slow
def test_a_hostile_tournament_is_written_like_any_other(tmp_path):
    files = write_report(write_hostile(tmp_path), resamples=20)
    assert files.page.read_bytes().decode("utf-8")
    assert files.markdown.read_bytes().decode("utf-8")
    # The reply of 1.1 million characters and what else is long is shortened.
    assert files.page.stat().st_size < 600_000


@pytest.mark.slow
def test_memory_grows_with_the_games_and_not_with_their_text(tmp_path):
    text = "x" * 20_000
    records = [game for number in range(300) for game in pair_of(number, "ab"[number % 2])]
    for record in records:
        record["turns"][0]["response"] = text
        JsonLines(tmp_path / GAMES_FILE).append([record])
    assert (tmp_path / GAMES_FILE).stat().st_size > 12_000_000
    write_report(tmp_path, resamples=20, games_shown=5)
    tracemalloc.start()
    file = report_module.GamesFile.read(tmp_path / GAMES_FILE)
    file.replays(5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(file.lines) == 600
    assert peak < 3_000_000
