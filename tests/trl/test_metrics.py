"""The figures of a batch, by hand."""

import math

import pytest

from spiral_envs import Fault, Reply
from spiral_envs.episode import Episode
from spiral_envs.extraction import Rule
from spiral_envs.match import Outcome, Termination, Turn
from spiral_trl import RoleBaseline
from spiral_trl.metrics import batch_metrics
from spiral_trl.sampling import Sample, SampledReply


def turn(seat, num_tokens, fault=None):
    response = SampledReply.of("", fault, (1,), Sample(tuple(range(num_tokens)), None, True))
    return Turn(seat, "", response, None, Rule.NONE, fault, "")


def episode(index, returns, *turns, game="duel_v0"):
    return Episode(index, game, index, ("Red", "Blue"), ("self", "self"), turns, Outcome(returns, Termination.FINISHED))


EPISODES = [
    episode(0, (1.0, -1.0), turn(0, 4), turn(1, 8)),
    episode(1, (0.0, 0.0), turn(0, 2), turn(1, 2), turn(0, 2)),
    episode(2, (-1.0, 1.0), turn(0, 6, Fault.ILLEGAL)),
    episode(3, (-1.0, 1.0), turn(0, 4), turn(1, 4), turn(0, 4, Fault.TRUNCATED)),
    episode(4, (2.0, -2.0), turn(0, 10), game="other_v0"),
]
ADVANTAGES = [(1.0, -1.0), (0.0, 0.0), (-1.0, 3.0), (-2.0, 2.0), (2.5, -2.5)]

EXPECTED = {
    "duel_v0/turns": 9 / 4,
    "duel_v0/faults": 2 / 4,
    "duel_v0/faults/malformed": 0.0,
    "duel_v0/faults/illegal": 1 / 4,
    "duel_v0/faults/truncated": 1 / 4,
    "duel_v0/faults/prompt_too_long": 0.0,
    # 4 + 8 + 2 + 2 + 2 + 6 + 4 + 4 + 4 tokens in 9 turns.
    "duel_v0/reply_tokens": 4.0,
    "duel_v0/Red/return": -1 / 4,
    "duel_v0/Red/win": 1 / 4,
    "duel_v0/Red/draw": 1 / 4,
    "duel_v0/Red/loss": 2 / 4,
    # Mean -0.5, squared distances 2.25, 0.25, 0.25, 2.25.
    "duel_v0/Red/advantage_std": math.sqrt(1.25),
    "duel_v0/Red/baseline": 0.05,
    "duel_v0/Red/baseline_count": 1,
    "duel_v0/Blue/return": 1 / 4,
    "duel_v0/Blue/win": 2 / 4,
    "duel_v0/Blue/draw": 1 / 4,
    "duel_v0/Blue/loss": 1 / 4,
    # Mean 1, squared distances 4, 1, 4, 1.
    "duel_v0/Blue/advantage_std": math.sqrt(2.5),
    "duel_v0/Blue/baseline": -0.05,
    "duel_v0/Blue/baseline_count": 1,
    "other_v0/turns": 1.0,
    "other_v0/faults": 0.0,
    "other_v0/faults/malformed": 0.0,
    "other_v0/faults/illegal": 0.0,
    "other_v0/faults/truncated": 0.0,
    "other_v0/faults/prompt_too_long": 0.0,
    "other_v0/reply_tokens": 10.0,
    "other_v0/Red/return": 2.0,
    "other_v0/Red/win": 1.0,
    "other_v0/Red/draw": 0.0,
    "other_v0/Red/loss": 0.0,
    "other_v0/Red/advantage_std": 0.0,
    "other_v0/Red/baseline": 0.0,
    "other_v0/Red/baseline_count": 0,
    "other_v0/Blue/return": -2.0,
    "other_v0/Blue/win": 0.0,
    "other_v0/Blue/draw": 0.0,
    "other_v0/Blue/loss": 1.0,
    "other_v0/Blue/advantage_std": 0.0,
    "other_v0/Blue/baseline": 0.0,
    "other_v0/Blue/baseline_count": 0,
}


def figures(episodes=EPISODES, advantages=ADVANTAGES, opponent="self"):
    baseline = RoleBaseline()
    baseline.score(("duel_v0", "Red", "self"), 1.0)
    baseline.score(("duel_v0", "Blue", "self"), -1.0)
    return batch_metrics(episodes, advantages, baseline, opponent=opponent)


def test_every_figure_is_the_one_counted_by_hand():
    assert figures() == pytest.approx(EXPECTED)


def test_the_order_of_the_games_does_not_matter():
    assert figures(EPISODES[::-1], ADVANTAGES[::-1]) == pytest.approx(EXPECTED)


def test_the_baseline_is_that_of_the_named_kind_of_opponent():
    assert figures(opponent="league")["duel_v0/Red/baseline_count"] == 0


def test_games_of_scripted_agents_have_no_reply_length():
    plain = [episode(0, (1.0, -1.0), Turn(0, "", Reply("[4]"), "[4]", Rule.OWN_TEXT, None, ""))]
    assert not any("reply_tokens" in name for name in figures(plain, [(1.0, -1.0)]))


def test_a_prompt_that_was_too_long_is_counted_as_a_fault_and_as_a_reply_of_no_tokens():
    fault = Fault.PROMPT_TOO_LONG
    silent = Turn(0, "", SampledReply.of("", fault, (1,), None), None, Rule.NONE, fault, "")
    found = figures([episode(0, (-1.0, 1.0), silent)], [(-1.0, 1.0)])
    assert found["duel_v0/faults/prompt_too_long"] == 1.0
    assert found["duel_v0/reply_tokens"] == 0.0


def test_no_games_have_no_figures():
    assert figures([], []) == {}
