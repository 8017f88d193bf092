"""Which games are chosen from the stream, and how little is held of it."""

import tracemalloc
from itertools import pairwise

import pytest
from synthetic_run import KUHN, TIC, faulty_game, game_record

from spiral_trl.replays import GameFilter, choose_games, opponent_of


def numbers(records, **arguments):
    return [replay.number for replay in choose_games(records, **arguments).replays]


def why(records, number, **arguments):
    return next(each.why for each in choose_games(records, **arguments).replays if each.number == number)


def long_game(number, length):
    turns = game_record(number)["turns"] * length
    return game_record(number, turns=turns)


def test_the_first_the_last_the_longest_and_the_last_with_each_fault_are_chosen():
    records = [game_record(number) for number in range(20)]
    records[3] = faulty_game(3, "illegal")
    records[5] = faulty_game(5, "illegal")
    records[8] = faulty_game(8, "truncated")
    records[11] = long_game(11, 4)
    records[12] = long_game(12, 4)
    assert numbers(records, games_shown=5) == [0, 5, 8, 11, 19]
    assert why(records, 11) == ("longest",)
    assert why(records, 5) == ("last with fault illegal",)
    # The most wanted come first.
    assert numbers(records, games_shown=2) == [0, 19]
    assert numbers(records, games_shown=1) == [0]
    assert numbers(records, games_shown=0) == []


def test_the_others_are_spread_evenly_over_the_run():
    chosen = numbers((game_record(number) for number in range(1000)), games_shown=10)
    assert len(chosen) == 10
    assert chosen[0] == 0
    assert chosen[-1] == 999
    gaps = [later - earlier for earlier, later in pairwise(chosen)]
    # Ten games over a thousand would be 111 apart; kept are every 2^k-th, halved as often as is needed.
    assert max(gaps) <= 256
    assert numbers((game_record(number) for number in range(7)), games_shown=10) == list(range(7))


def test_every_label_and_kind_of_opponent_has_its_games():
    records = [game_record(0), game_record(1, game=KUHN), game_record(2, opponent="random"), game_record(3)]
    assert numbers(records) == [0, 2, 3, 1], "by label, oldest first"
    assert why(records, 2) == ("last against random",)
    chosen = choose_games(records)
    assert chosen.games == {(TIC, "self"): 2, (TIC, "random"): 1, (KUHN, "self"): 1}
    assert chosen.turns == {(TIC, "self"): 2, (TIC, "random"): 1, (KUHN, "self"): 1}


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (GameFilter(game=TIC), [0, 1, 2]),
        (GameFilter(game="kuhn_poker"), [3]),
        (GameFilter(game="kuhn_poker_v0"), [3]),
        (GameFilter(game=KUHN), [3]),
        (GameFilter(game="kuhn"), []),
        (GameFilter(first_step=2, last_step=3), [1, 2]),
        (GameFilter(against="self"), [0, 3]),
        (GameFilter(against="league"), [1]),
        (GameFilter(against="league:20"), [1]),
        (GameFilter(against="random", last_step=2), []),
    ],
)
def test_a_filter_lets_through_what_it_says(accepted, chosen):
    records = [
        game_record(0, step=1),
        game_record(1, step=2, opponent="league", agent="league:20"),
        game_record(2, step=3, opponent="random"),
        game_record(3, step=4, game=KUHN),
    ]
    assert numbers(records, accepted=accepted) == chosen
    assert sum(choose_games(records, accepted=accepted).games.values()) == 4, "all games are counted"


def test_records_of_an_older_form_say_who_played():
    old = {
        key: value for key, value in game_record(0).items() if key not in ("opponent", "learner_seats", "advantages")
    }
    assert opponent_of(old) == "self"
    assert opponent_of({**old, "agents": ["random", "self"]}) == "random"
    assert opponent_of({**old, "agents": ["self", "league:3"]}) == "league"
    (replay,) = choose_games([old]).replays
    assert [seat.learns for seat in replay.seats] == [True, True]
    assert [seat.advantage for seat in replay.seats] == [None, None]


def test_only_the_learner_has_an_advantage():
    (replay,) = choose_games([game_record(0, opponent="random")]).replays
    assert [(seat.agent, seat.learns, seat.advantage) for seat in replay.seats] == [
        ("self", True, 0.75),
        ("random", False, None),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"game": 3},
        {"step": None},
        {"number": "x"},
        {"roles": None},
        {"turns": None},
        {"turns": [3]},
        {"turns": [{"seat": 2}]},
        {"agents": 7},
    ],
)
def test_records_that_are_no_games_are_counted_and_left_out(changed):
    chosen = choose_games([{**game_record(0), **changed}, game_record(1)])
    assert [replay.number for replay in chosen.replays] == [1]
    assert chosen.num_unreadable == 1


def test_what_is_missing_in_a_game_is_left_empty():
    bare = {"step": 1, "number": 0, "game": TIC, "roles": ["X", "O"], "turns": [{"seat": 1}], "returns": [float("nan")]}
    (replay,) = choose_games([bare]).replays
    assert replay.turns[0].response == ""
    assert [seat.episode_return for seat in replay.seats] == [None, None]


def test_a_stream_of_any_length_is_not_held():
    size, count = 20_000, 1500
    stream = (game_record(number, response=f"{number} " * (size // 5)) for number in range(count))
    tracemalloc.start()
    try:
        chosen = choose_games(stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(chosen.games.values()) == count
    assert peak < 40 * size, f"{peak:,} bytes for a stream of {count * size:,}"
