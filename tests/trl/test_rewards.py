"""Returns to learn from are the facts of the episode."""

from spiral_envs import Fault, Reply, Termination, make_match
from spiral_envs.episode import Episode
from spiral_trl.rewards import seat_returns


def test_a_finished_game_earns_what_its_rules_say():
    match = make_match("tic_tac_toe_v0", seed=0)
    for cell in (0, 3, 1, 4, 2):
        match.submit(f"[{cell}]")
    episode = Episode.of(match, index=0, agents=("self", "self"))
    assert episode.outcome.termination is Termination.FINISHED
    assert seat_returns(episode) == (1.0, -1.0)


def test_a_fault_earns_the_worst_return_and_the_other_its_negative():
    match = make_match("kuhn_poker_v0", seed=0, hands=1, payoff="chips")
    match.submit("[check]")
    match.submit(Reply("", Fault.TRUNCATED))
    assert seat_returns(Episode.of(match, index=0, agents=("self", "self"))) == (2.0, -2.0)
