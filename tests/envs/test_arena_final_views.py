"""What the players saw at the end of a recorded game: from its rules, or not at all."""

import json

import pytest

import spiral_envs
from spiral_envs.arena.final_views import final_views
from spiral_envs.episode import Episode


def played(game, replies, **options):
    match = spiral_envs.make_match(game, seed=3, **options)
    for reply in replies:
        match.submit(reply)
    assert match.outcome is not None
    # As it is read from a file.
    return json.loads(json.dumps(Episode.of(match, index=0, agents=("a", "b")).to_json())), match


ROW = ("[0]", "[3]", "[1]", "[4]", "[2]")


def test_the_last_board_shows_the_winning_row():
    record, match = played("tic_tac_toe_v0", ROW)
    first, second = final_views(record)
    assert first.startswith("Board:\n X X X\n O O 5\n 6 7 8\n")
    assert (first, second) == tuple(match.view(seat).observation for seat in (0, 1))
    assert all("X X X" not in each["observation"] for each in record["turns"])


def test_a_forfeited_game_and_one_with_random_moves_replay_as_well():
    record, match = played("tic_tac_toe_v0", ("[0]", "[0]"))
    assert final_views(record) == tuple(match.view(seat).observation for seat in (0, 1))
    match = spiral_envs.make_match("tic_tac_toe_v0", seed=3, invalid_move="random")
    while match.seat_to_move is not None:
        match.submit("no move")
    record = Episode.of(match, index=0, agents=("a", "b")).to_json()
    assert final_views(record) == tuple(match.view(seat).observation for seat in (0, 1))


@pytest.mark.parametrize(
    "change",
    [
        {"game": "no_such_game"},
        {"game": "tic_tac_toe_v0(x=1"},
        {"game": 7},
        {"seed": None},
        {"seed": "1e9"},
        {"returns": [0, 0]},
        {"returns": 1},
        {"turns": []},
        {"turns": [{"seat": 0}]},
        {"turns": None},
        {"turns": [5]},
    ],
)
def test_a_record_that_does_not_replay_has_none(change):
    record, _ = played("tic_tac_toe_v0", ROW)
    assert final_views({**record, **change}) == ()


def test_a_turn_that_was_changed_has_none():
    for change in ({"observation": "Board"}, {"move": "[8]"}, {"seat": 1}, {"fault": "odd"}, {"move": "x" * 5000}):
        record, _ = played("tic_tac_toe_v0", ROW)
        record["turns"][0] |= change
        assert final_views(record) == ()
