"""Returns to learn from are made of the facts of the episode."""

import pytest

from spiral_envs import Fault, InvalidMove, Reply, Termination, make_match
from spiral_envs.episode import Episode
from spiral_envs.match import Outcome
from spiral_trl.rewards import Reward, seat_returns


def finished(returns, offender=None):
    termination = Termination.FINISHED if offender is None else Termination.FORFEIT
    outcome = Outcome(returns, termination, offender, None if offender is None else Fault.ILLEGAL)
    return Episode(0, "game", 0, ("A", "B"), ("self", "self"), (), outcome)


def forfeited_kuhn():
    match = make_match("kuhn_poker_v0", seed=0, hands=1, payoff="chips")
    match.submit("[check]")
    match.submit(Reply("", Fault.TRUNCATED))
    return Episode.of(match, index=0, agents=("self", "self"))


def test_a_finished_game_earns_what_its_rules_say():
    match = make_match("tic_tac_toe_v0", seed=0)
    for cell in (0, 3, 1, 4, 2):
        match.submit(f"[{cell}]")
    episode = Episode.of(match, index=0, agents=("self", "self"))
    assert episode.outcome.termination is Termination.FINISHED
    assert seat_returns(episode) == (1.0, -1.0)


def test_a_fault_earns_the_worst_return_and_the_other_its_negative():
    assert seat_returns(forfeited_kuhn()) == (2.0, -2.0)


@pytest.mark.parametrize(
    ("returns", "signs"), [((2.0, -2.0), (1.0, -1.0)), ((-0.25, 0.25), (-1.0, 1.0)), ((0.0, 0.0), (0.0, 0.0))]
)
def test_a_win_is_worth_the_same_whatever_its_score(returns, signs):
    assert seat_returns(finished(returns), reward=Reward.WIN) == signs
    assert seat_returns(finished(returns), reward=Reward.SCORE) == returns


def test_the_penalty_is_charged_to_the_seat_whose_fault_ended_the_game():
    assert seat_returns(forfeited_kuhn(), fault_penalty=0.5) == (2.0, -2.5)


def test_the_penalty_comes_after_the_sign():
    assert seat_returns(forfeited_kuhn(), reward=Reward.WIN, fault_penalty=0.25) == (1.0, -1.25)
    # A sign taken afterwards would leave -1.
    assert seat_returns(finished((-1.0, 1.0), offender=0), reward=Reward.WIN, fault_penalty=3.0) == (-4.0, 1.0)


def test_a_game_that_its_rules_ended_pays_no_penalty():
    assert seat_returns(finished((-1.0, 1.0)), fault_penalty=0.5) == (-1.0, 1.0)


def test_a_fault_that_did_not_end_the_game_pays_no_penalty():
    match = make_match("kuhn_poker_v0", seed=0, invalid_move=InvalidMove.RANDOM, hands=1, payoff="chips")
    match.submit("no move at all")
    while match.seat_to_move is not None:
        legal = match.view(match.seat_to_move).legal_moves
        assert legal
        match.submit(legal[0])
    episode = Episode.of(match, index=0, agents=("self", "self"))
    assert episode.turns[0].fault is Fault.MALFORMED
    assert seat_returns(episode, fault_penalty=5.0) == episode.outcome.returns


@pytest.mark.parametrize("penalty", [-0.1, float("inf"), float("nan")])
def test_a_penalty_that_rewards_faults_or_is_no_number_is_refused(penalty):
    with pytest.raises(ValueError, match=r"fault_penalty is .*: expected a finite number, at least 0"):
        seat_returns(finished((1.0, -1.0)), fault_penalty=penalty)
