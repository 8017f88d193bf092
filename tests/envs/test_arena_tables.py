"""Tables read back, and names that try to act as markup."""

import csv
import subprocess
import sys

import pytest

from spiral_envs.arena.records import GameRecord
from spiral_envs.arena.standings import standings
from spiral_envs.arena.tables import markdown, write_csv, write_parquet

HOSTILE = "hf:a|b`c\n<script>_x_ **y** [z](w)\\|\u202e"


def game(number, agents, returns, **options):
    fields = {"offender": None, "fault": "", "num_turns": 4, "num_faults": (0, 0)}
    return GameRecord(
        id=f"game-{number}",
        game="kuhn_poker_v0",
        pair=number // 2,
        agents=agents,
        roles=("first", "second"),
        returns=returns,
        **{**fields, **options},
    )


GAMES = [
    game(0, (HOSTILE, "random"), (1.0, -1.0)),
    game(1, ("random", HOSTILE), (0.5, -0.5)),
    game(2, (HOSTILE, "random"), (-1.0, 1.0), offender=0, fault="malformed", num_faults=(1, 0)),
    game(3, ("random", HOSTILE), (0.0, 0.0)),
]


@pytest.fixture(scope="module")
def tables():
    lines = [{"id": "game-9", "game": "kuhn_poker_v0", "pair": 4, "agents": ["random", "x|y"], "reason": "time | out"}]
    return standings(GAMES, aborted=lines, resamples=50)


def section(text, title):
    (found,) = (part for part in text.split("## ") if part.startswith(f"{title}\n"))
    return [line for line in found.splitlines() if line.startswith("|")]


def test_markdown_has_every_section_that_has_something(tables):
    titles = [line.removeprefix("## ") for line in markdown(tables).splitlines() if line.startswith("## ")]
    assert titles == [
        "Ratings",
        "Differences",
        "Scores",
        "First seats",
        "By seat",
        "Faults",
        "Aborted games",
        "Notes",
    ]


def test_markdown_shows_the_figures(tables):
    text = markdown(tables)
    ratings = section(text, "Ratings")
    assert len(ratings) == 4
    assert ratings[0] == "| # | agent | Elo | 95 % interval | points | won / drawn / lost | lost by a fault |"
    # Of four games random won two and drew one.
    assert ratings[2].startswith(f"| 1 | random | {tables.ratings[0].rating:+.0f} |")
    assert ratings[2].endswith("| 62.5% | 2 / 1 / 1 | 0 |")
    assert ratings[3].endswith("| 37.5% | 1 / 1 / 2 | 1 |")
    scores = section(text, "Scores")
    # 0.625, of which Python writes the even neighbour.
    assert scores[2].startswith("| 1 | random |  | 0.62 (")
    assert section(text, "Faults")[2].endswith("| kuhn_poker_v0 | malformed | 1 | 1 of 4 |")
    assert section(text, "Aborted games")[2] == "| random | 1 | time &#124; out |"


def test_names_cannot_act_as_markup(tables):
    text = markdown(tables)
    assert "<script" not in text
    assert "`" not in text
    assert "\u202e" not in text
    for title in ("Ratings", "Differences", "Scores", "First seats", "By seat", "Faults", "Aborted games"):
        assert len({line.count("|") for line in section(text, title)}) == 1
    shown = "hf:a&#124;b&#96;c &#60;script&#62;&#95;x&#95; &#42;&#42;y&#42;&#42; &#91;z&#93;(w)&#92;&#124;‹U+202E›"
    assert f"| {shown} |" in section(text, "Ratings")[3]


def test_triples_and_groups_are_shown():
    wins = [
        game(100 * place + number, agents, returns)
        for place, (winner, loser) in enumerate(("rs", "sp", "pr", "xy"))
        for number in range(0, 20, 2)
        for agents, returns in (((winner, loser), (1.0, -1.0)), ((loser, winner), (-1.0, 1.0)))
    ]
    numbered = [each._replace(id=str(number)) for number, each in enumerate(wins)]
    text = markdown(standings(numbered, resamples=50))
    assert section(text, "Intransitive triples")[2:] == ["| p | r | s | 1.00, 1.00, 1.00 | shown |"]
    assert section(text, "Ratings")[0].endswith("| group |")
    assert [line.split(" | ")[-1] for line in section(text, "Ratings")[2:]] == ["1 |", "1 |", "1 |", "2 |", "2 |"]


def test_csv_reads_back_as_it_was(tables, tmp_path):
    paths = write_csv(tables, tmp_path / "report")
    assert [path.name for path in paths] == [
        "ratings.csv",
        "ratings_by_game.csv",
        "matchups.csv",
        "seat_terms.csv",
        "seats.csv",
        "faults.csv",
        "differences.csv",
    ]
    rows = {}
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            rows[path.stem] = list(csv.DictReader(file))
    best, worst = rows["ratings"]
    assert worst["agent"] == HOSTILE
    assert float(best["rating"]) == tables.ratings[0].rating
    assert (float(best["low"]), float(best["high"])) == tables.ratings[0].interval
    assert [row["game"] for row in rows["matchups"]] == ["kuhn_poker_v0", "", "kuhn_poker_v0", ""]
    assert [float(row["score"]) for row in rows["matchups"]] == [each.score for each in tables.matchups]
    assert rows["seats"][0] == {
        "agent": HOSTILE,
        "game": "kuhn_poker_v0",
        "seat": "0",
        "role": "first",
        "games": "2",
        "wins": "1",
        "draws": "0",
        "losses": "1",
    }
    assert rows["faults"][0]["fault"] == "malformed"
    assert float(rows["seat_terms"][0]["effect"]) == tables.seat_terms[0].effect
    assert rows["differences"][0]["is_significant"] == "False"
    assert float(rows["differences"][0]["p_value"]) == tables.differences[0].p_value


def test_ratings_by_game_are_shown_where_there_are_several_games(tables, tmp_path):
    assert "Ratings by game" not in markdown(tables)
    nim = [each._replace(id=f"nim-{each.id}", game="nim_v0") for each in GAMES[:2]]
    both = standings([*GAMES, *nim], resamples=50)
    shown = section(markdown(both), "Ratings by game")
    head = "| game | # | agent | Elo | 95 % interval | points | won / drawn / lost | lost by a fault |"
    assert shown[0] == head
    assert [line.split(" | ")[0] for line in shown[2:]] == ["| kuhn_poker_v0"] * 2 + ["| nim_v0"] * 2
    # One game each was won in Nim.
    assert shown[4].endswith("| 50.0% | 1 / 0 / 1 | 0 |")
    (path,) = (path for path in write_csv(both, tmp_path) if path.name == "ratings_by_game.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [(each.game, rating) for each in both.game_ratings for rating in each.ratings]
    assert [(row["game"], row["agent"], float(row["rating"]), int(row["games"])) for row in rows] == [
        (label, rating.agent, rating.rating, rating.games) for label, rating in expected
    ]
    assert [(float(row["low"]), float(row["high"])) for row in rows] == [rating.interval for _, rating in expected]


def test_faults_that_ended_no_game_are_shown_by_kind(tmp_path):
    replaced = GAMES[0]._replace(num_faults=(3, 0), fault_kinds=(("illegal", "malformed", "illegal"), ()))
    tables = standings([replaced, *GAMES[1:]], resamples=10)
    assert section(markdown(tables), "Faults")[3].endswith("| ended no game (2 illegal, 1 malformed) | 3 | 1 of 4 |")
    write_csv(tables, tmp_path)
    with (tmp_path / "faults.csv").open(encoding="utf-8", newline="") as file:
        assert [row["kinds"] for row in csv.DictReader(file)] == ["", "2 illegal, 1 malformed"]


def test_a_table_without_rows_is_its_head(tmp_path):
    clean = [each for each in GAMES if not each.fault]
    write_csv(standings(clean, resamples=10), tmp_path)
    assert (tmp_path / "faults.csv").read_text(encoding="utf-8") == "agent,game,fault,turns,games,played,kinds\n"


def test_parquet_reads_back_as_it_was(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = write_parquet(GAMES, tmp_path / "report")
    assert path == tmp_path / "report" / "games.parquet"
    rows = parquet.read_table(path).to_pylist()
    assert [row["id"] for row in rows] == ["game-0", "game-1", "game-2", "game-3"]
    assert [row["score"] for row in rows] == [1.0, 1.0, 0.0, 0.5]
    assert rows[2] == {
        "id": "game-2",
        "game": "kuhn_poker_v0",
        "pair": 1,
        "agent_0": HOSTILE.replace("\u202e", "‹U+202E›"),
        "agent_1": "random",
        "role_0": "first",
        "role_1": "second",
        "return_0": -1.0,
        "return_1": 1.0,
        "score": 0.0,
        "offender": 0,
        "fault": "malformed",
        "num_turns": 4,
        "num_faults_0": 1,
        "num_faults_1": 0,
    }
    assert (rows[0]["offender"], rows[0]["fault"]) == (None, None)


def test_parquet_holds_half_a_surrogate_pair_and_no_games_at_all(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = write_parquet([GAMES[0]._replace(agents=("\ud800", "b"))], tmp_path)
    assert parquet.read_table(path).to_pylist()[0]["agent_0"] == "‹U+D800›"
    assert parquet.read_table(write_parquet([], tmp_path)).num_rows == 0


def test_without_pyarrow_the_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\n"
        "from spiral_envs.arena.tables import write_parquet\n"
        "from spiral_envs.errors import MissingExtraError\n"
        "try:\n    write_parquet([], Path(sys.argv[1]))\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "spiral-selfplay[arena]" in done.stdout
    assert not list(tmp_path.iterdir())
