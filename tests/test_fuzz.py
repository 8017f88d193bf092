"""A small share of what `benchmarks/fuzz.py` does."""

import random

import pytest

import spiral_envs
from benchmarks import fuzz

BRIDGED = ("openspiel:goofspiel(num_cards=4)", "pettingzoo:tictactoe_v3", "textarena:TruthAndDeception-v0")


@pytest.mark.parametrize("game", [*spiral_envs.game_ids(), *BRIDGED])
def test_hostile_replies_break_no_promise(game):
    *_, tally = fuzz.fuzz(game, num_replies=200, seed=random.randrange(2**32))

    assert tally.replies == 200
    assert sum(tally.endings.values()) == 200
    assert tally.endings["malformed"] > 0


def test_a_game_that_shows_a_reply_is_caught(monkeypatch):
    monkeypatch.setattr(fuzz, "_shown", lambda match: str([turn.response for turn in match.turns]))

    with pytest.raises(fuzz.BrokenPromiseError, match="is shown to the players"):
        list(fuzz.fuzz("tic_tac_toe_v0", num_replies=50, seed=0))


def test_memory_stays_as_it_is_once_the_caches_are_full():
    assert fuzz.memory_growth("kuhn_poker_v0(hands=1)", 500, seed=0) < 2
