"""The tables of a report, by hand from a few lines of metrics."""

from datetime import UTC, datetime, timedelta

import pytest
from synthetic_run import KUHN, TIC, game_record, seat_result

from spiral_trl.replays import Chosen, choose_games
from spiral_trl.report_tables import (
    Progress,
    alarm_groups,
    evaluations_table,
    games_table,
    headline,
    league_table,
    recent_games_table,
    settings_table,
    time_table,
)
from spiral_trl.run_files import Alarm, Metrics

WRITTEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def facts(records, *, alarms=(), planned=None, has_final_model=False, age=timedelta(0)):
    progress = Progress(planned, has_final_model, WRITTEN, WRITTEN + age)
    return {fact.name: (fact.value, fact.note) for fact in headline(Metrics(records), Chosen(), alarms, progress)}


def test_a_line_stands_for_all_steps_since_the_last_one():
    # Logged every 10 steps: 10 * 4 s * 100 tokens/s, then 10 * 6 s * 50 tokens/s.
    records = [
        {"step": 10, "play_tokens_per_s": 100, "play_time_s": 4, "step_time": 1000},
        {"step": 20, "play_tokens_per_s": 50, "play_time_s": 6, "step_time": 6000},
    ]
    found = facts(records)
    assert found["tokens generated"] == ("7,000", "70 a second of play")
    # 70,000 s are 19 h and 26 min and 40 s.
    assert found["time of all steps"] == ("19 h 26 min", "0% of it play")
    assert found["steps"] == ("20", "")


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        ({"planned": 20, "has_final_model": True}, "finished"),
        ({"has_final_model": True, "age": timedelta(days=9)}, "finished"),
        # The model is being saved.
        ({"planned": 20, "age": timedelta(minutes=9)}, "going on"),
        ({"planned": 40, "age": timedelta(minutes=9)}, "going on"),
        ({"planned": 40, "age": timedelta(minutes=11)}, "not finished"),
        # A folder that is left from an earlier, shorter run.
        ({"planned": 40, "has_final_model": True, "age": timedelta(minutes=11)}, "not finished"),
        ({"planned": 40, "has_final_model": True, "alarms": [Alarm(20, "collapse", "x")]}, "stopped"),
        ({"planned": 40, "has_final_model": True, "alarms": [Alarm(19, "collapse", "x")]}, "going on"),
        # An alarm that only warns.
        ({"planned": 40, "alarms": [Alarm(20, "collapse", "x")]}, "going on"),
        ({"planned": 20, "has_final_model": True, "alarms": [Alarm(20, "collapse", "x")]}, "finished"),
    ],
)
def test_the_state_of_a_run(arguments, state):
    assert facts([{"step": 20, "loss": 1}], **arguments)["state"][0] == state


def test_alarms_are_counted_by_name_the_newest_first():
    groups = alarm_groups([Alarm(1, "a", "x"), Alarm(2, "b", "y"), Alarm(5, "b", "z"), Alarm(3, "a", "w")])
    assert [(group.name, group.count, group.first_step, group.last.message) for group in groups] == [
        ("b", 2, 2, "z"),
        ("a", 2, 1, "w"),
    ]


def test_games_and_turns_are_shared_out():
    records = [game_record(0), game_record(1), game_record(2, opponent="random"), game_record(3, game=KUHN)]
    records[0]["turns"] *= 5
    assert games_table(choose_games(records)).rows == (
        (KUHN, "self", "1", "25.0%", "1", "12.5%", "1.0"),
        (TIC, "random", "1", "25.0%", "1", "12.5%", "1.0"),
        (TIC, "self", "2", "50.0%", "6", "75.0%", "3.0"),
    )


def test_the_shares_of_the_last_steps_are_means_over_them():
    # 22 steps, of which the first two, with a share of 0, are not among the last 20: ten of 0.5 and ten of 0.7.
    shares = [0.0] * 2 + [0.5, 0.7] * 10
    records = [
        {"step": step, f"{TIC}/turns": 1, f"{TIC}/share_of_turns": share, f"{KUHN}/turns": 1}
        for step, share in enumerate(shares, start=1)
    ]
    table = recent_games_table(Metrics(records))
    assert table.title == "Games and turns, last 20 steps"
    assert table.rows == ((TIC, "", "60.0%"),)
    assert len(set(table.columns)) == len(table.columns)


def test_nash_conv_stands_in_the_headline_with_its_start():
    name = f"nash_conv/{KUHN}"
    records = [{"step": 0, name: 0.6512, f"{name}/other": 0.1}, {"step": 1, "loss": 1}, {"step": 10, name: 0.25}]
    assert facts(records)["kuhn_poker"] == ("0.250", "NashConv at step 10; NashConv at step 0: 0.651")
    assert facts(records[:1])["kuhn_poker"] == ("0.651", "NashConv at step 0")
    assert facts(records[1:])["kuhn_poker"] == ("0.250", "NashConv at step 10")


def test_settings_are_listed_as_they_are_written():
    table = settings_table({"max_steps": 40, "opponents": {"self": 0.5}, "reward": "win", "bf16": False, "beta": None})
    assert table.rows == (
        ("max_steps", "40"),
        ("opponents", '{"self": 0.5}'),
        ("reward", "win"),
        ("bf16", "false"),
        ("beta", "null"),
    )
    assert table.is_folded


def test_the_league_is_that_of_its_newest_step():
    records = [
        {"step": 1, "league/0/games": 4, "league/0/score": 0.5, "league/0/weight": 1.0},
        {"step": 2, "league/100/games": 6, "league/100/score": 0.25, "league/100/weight": 0.4, "league/20/weight": 0.6},
        {"step": 3, "loss": 1},
    ]
    table = league_table(Metrics(records))
    assert table.title == "League at step 2"
    assert "faded over about 100 games" in table.note
    assert table.rows == (("step 20", "", "", "60.0%"), ("step 100", "6", "25.0%", "40.0%"))
    assert league_table(Metrics([])).rows == ()


def test_evaluations_show_the_newest_result_beside_the_first():
    rows = evaluations_table([(0, seat_result(20)), (50, seat_result(50)), (50, seat_result(5, seat=1))]).rows
    # Wilson: 50 of 100 is 40 to 60 %; 5 of 100 is 2 to 11 %.
    assert [row[:5] + row[-1:] for row in rows] == [
        (TIC, "X", "random", "50", "50% [40%, 60%]", "20% (step 0)"),
        (TIC, "O", "random", "50", "5% [2%, 11%]", "5% (step 50)"),
    ]


def test_the_parts_of_a_step_add_up_to_it():
    record = {"step": 1, "step_time": 20.0, "play_time_s": 5.0, "weight_sync_time_s": 1.0, "x/y_time_s": 9.0}
    assert time_table(Metrics([record])).rows == (
        ("play", "5.00", "25%"),
        ("weight sync", "1.00", "5%"),
        ("rest: scoring, loss, gradients, weights", "14.00", "70%"),
        ("whole step", "20.00", "100%"),
    )
    assert time_table(Metrics([{"step": 1}])).rows == ()
