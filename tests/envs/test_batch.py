"""Many matches at once, driven by the caller's own loop."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from stones import STONES_SPEC, Stones, Table

import spiral_envs
from spiral_envs import Fault, Termination, UnknownNameError
from spiral_envs.batch import DiscreteMatchBatch, MatchBatch
from spiral_envs.chance import match_seed
from spiral_envs.registry import _specs

GAMES = spiral_envs.game_ids()

DISCRETE_GAMES = tuple(game for game in GAMES if spiral_envs.find_game(game).discrete is not None)


@pytest.fixture
def stones(monkeypatch):
    """Registers the game of stones, and forgets it again."""
    monkeypatch.setattr("spiral_envs.registry._specs", dict(_specs))
    spiral_envs.register(STONES_SPEC)


def first_moves(views: Sequence[spiral_envs.View]) -> list[str]:
    """Returns the first legal move of every view."""
    return [view.legal_moves[0] for view in views if view.legal_moves]


def facts(episode):
    """Returns an episode without its place in the order of starts."""
    return episode.game, episode.seed, episode.turns, episode.outcome


def test_a_reset_returns_the_view_of_the_seat_to_move_in_every_match():
    batch = MatchBatch("kuhn_poker_v0", 3, seed=7)

    views = batch.reset()

    assert views == [spiral_envs.make_match("kuhn_poker_v0", seed=match_seed(7, k)).view(0) for k in range(3)]
    assert [match.seed for match in batch.matches] == [match_seed(7, k) for k in range(3)]


def test_a_step_plays_one_reply_in_every_match():
    batch = MatchBatch("tic_tac_toe_v0", 2, seed=0)
    batch.reset()

    step = batch.step(["[4]", "thinking \\boxed{0}"])

    assert step.finished == {}
    assert [view.observation for view in step.views] == [
        "Board:\n 0 1 2\n 3 X 5\n 6 7 8\nYou play O. It is your turn.",
        "Board:\n X 1 2\n 3 4 5\n 6 7 8\nYou play O. It is your turn.",
    ]


def test_a_finished_match_is_reported_by_its_place_and_replaced_by_the_next():
    batch = MatchBatch("tic_tac_toe_v0", 3, seed=5)
    batch.reset()

    views, finished = batch.step(["[4]", "nonsense", "[0]"])

    assert list(finished) == [1]
    episode = finished[1]
    assert (episode.index, episode.seed, episode.agents) == (1, match_seed(5, 1), ("external", "external"))
    assert (episode.outcome.returns, episode.outcome.fault) == ((-1.0, 1.0), Fault.MALFORMED)
    assert [(view.seat, view.turn) for view in views] == [(1, 1), (0, 0), (1, 1)]
    assert batch.matches[1].seed == match_seed(5, 3)


def test_a_limit_lets_the_batch_run_out():
    batch = MatchBatch("tic_tac_toe_v0", 3, seed=0, limit=4)
    views = batch.reset()
    episodes = []
    sizes = []

    while views:
        sizes.append(len(views))
        views, finished = batch.step(["nonsense" if view.turn == 2 else first_moves([view])[0] for view in views])
        episodes += finished.values()

    assert sizes == [3, 3, 3, 1, 1, 1]
    assert [episode.index for episode in episodes] == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match=r"no match is running: call reset\(\)"):
        batch.step([])


def test_a_limit_below_the_size_starts_fewer_matches():
    assert len(MatchBatch("tic_tac_toe_v0", 8, seed=0, limit=2).reset()) == 2


@pytest.mark.parametrize("game", GAMES)
def test_the_matches_are_the_same_whatever_the_size_of_the_batch(game):
    def episodes(size):
        batch = MatchBatch(game, size, seed=3, limit=6)
        views = batch.reset()
        found = {}
        while views:
            # A reply that depends on nothing but the view.
            views, finished = batch.step([random.Random(view.text).choice(view.legal_moves or ("",)) for view in views])
            found |= {episode.index: episode for episode in finished.values()}
        return [found[index] for index in range(6)]

    assert episodes(1) == episodes(4)


def test_a_reset_goes_on_with_new_matches_and_a_seed_starts_again():
    batch = MatchBatch("kuhn_poker_v0", 4, seed=1)

    batch.reset()
    first = [match.seed for match in batch.matches]
    batch.reset()
    second = [match.seed for match in batch.matches]
    batch.reset(seed=1)
    again = [match.seed for match in batch.matches]
    batch.reset(seed=2)
    other = [match.seed for match in batch.matches]

    assert again == first
    assert len({*first, *second, *other}) == 12


@pytest.mark.parametrize("seed", [-1, -(2**70)])
def test_a_negative_seed_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed is {seed}: expected an integer from 0"):
        MatchBatch("kuhn_poker_v0", 1, seed=seed)


def test_seeds_of_numpy_give_the_same_matches():
    plain, numpy = MatchBatch("kuhn_poker_v0", 2, seed=2**62), MatchBatch("kuhn_poker_v0", 2, seed=np.int64(2**62))  # pyright: ignore[reportArgumentType] - what a vector of seeds holds

    assert plain.reset() == numpy.reset()


@pytest.mark.parametrize(
    ("replies", "error", "message"),
    [
        (["[4]"], ValueError, "got 1 replies: expected 2, one for each running match"),
        (["[4]", 4], TypeError, "reply 1 is 4: expected a text"),
    ],
)
def test_wrong_replies_change_nothing(replies, error, message):
    batch = MatchBatch("tic_tac_toe_v0", 2, seed=0)
    batch.reset()

    with pytest.raises(error, match=message):
        batch.step(replies)

    assert [match.turns for match in batch.matches] == [(), ()]


@pytest.mark.parametrize("kind", [MatchBatch, DiscreteMatchBatch])
def test_wrong_arguments_are_refused_at_once(kind):
    with pytest.raises(ValueError, match="num_matches is 0: expected at least 1"):
        kind("tic_tac_toe_v0", 0, seed=0)
    with pytest.raises(UnknownNameError, match="unknown invalid_move policy 'forfit': did you mean forfeit"):
        kind("tic_tac_toe_v0", 1, seed=0, invalid_move="forfit")
    with pytest.raises(UnknownNameError, match="unknown game 'tictactoe_v0'"):
        kind("tictactoe_v0", 1, seed=0)
    with pytest.raises(ValueError, match="option rows of tic_tac_toe is 2"):
        kind("tic_tac_toe_v0", 1, seed=0, rows=2)
    with pytest.raises(ValueError, match="limit is 0: expected at least 1, or None"):
        MatchBatch("tic_tac_toe_v0", 1, seed=0, limit=0)


@pytest.mark.parametrize("kind", [MatchBatch, DiscreteMatchBatch])
def test_a_step_before_the_first_reset_is_an_error(kind):
    with pytest.raises(RuntimeError, match=r"no match is running: call reset\(\)"):
        kind("tic_tac_toe_v0", 1, seed=0).step([0])


def test_a_fault_can_cost_a_random_move_instead():
    batch = MatchBatch("tic_tac_toe_v0", 1, seed=0, invalid_move="random")
    batch.reset()

    [view], finished = batch.step(["nonsense"])

    assert (view.turn, finished) == (1, {})


class Ended(Stones):
    """Stones of which none are on the table."""

    def initial_state(self):
        """Returns the table after the last stone."""
        return Table(0, 0)


class Dropped(Stones):
    """Stones that fall down when the last two are taken at once."""

    def next_state(self, state, move):
        """Returns the table, or raises an error of the game's own."""
        if (state.left, move) == (2, 2):
            raise ZeroDivisionError("the stones are gone")
        return super().next_state(state, move)


@pytest.mark.parametrize("kind", [MatchBatch, DiscreteMatchBatch])
def test_a_game_that_is_over_at_its_start_is_refused_at_once(stones, kind):
    spiral_envs.register(replace(STONES_SPEC, version=1, game=Ended()))

    with pytest.raises(ValueError, match=r"^the match of stones_v1 with seed 0 is over at its start: a batch needs"):
        kind("stones_v1", 2, seed=0)


def test_a_bridged_game_that_is_over_at_its_start_is_refused_at_once():
    pytest.importorskip("pyspiel")
    with pytest.raises(ValueError, match="is over at its start"):
        MatchBatch("openspiel:oshi_zumo(coins=0)", 2, seed=0)


@pytest.mark.parametrize(("kind", "one", "two"), [(MatchBatch, "[1]", "[2]"), (DiscreteMatchBatch, 0, 1)])
def test_an_error_of_the_game_in_a_step_loses_no_match(stones, kind, one, two):
    spiral_envs.register(replace(STONES_SPEC, version=2, game=Dropped()))
    batch = kind("stones_v2", 4, seed=0)
    batch.reset()
    # One stone is left in the first match, two in each other.
    for replies in ([two] * 4, [two] * 4, [two, one, one, one]):
        batch.step(replies)
    before = [match for _, match in batch._running]

    # The first ends, the second goes on, the third fails, the fourth is not reached.
    with pytest.raises(ZeroDivisionError):
        batch.step([one, one, two, one])

    after = [match for _, match in batch._running]
    assert all(match is kept for match, kept in zip(after, before, strict=True))
    assert [len(match.turns) for match in after] == [4, 4, 3, 3]
    batch.reset()
    assert [match.turns for _, match in batch._running] == [()] * 4


def test_arrays_say_who_moves_what_it_knows_and_what_it_may_do(stones):
    batch = DiscreteMatchBatch("stones_v0", 2, seed=0)
    assert (batch.num_matches, batch.num_seats, batch.num_actions, batch.shape) == (2, 3, 2, (2,))

    first = batch.reset()
    batch.step([1, 0])
    batch.step([1, 0])
    last = batch.step(np.array([1, 0]))

    assert first.seats.tolist() == [0, 0]
    assert first.observations.tolist() == [[7.0, 0.0], [7.0, 0.0]]
    assert first.rewards.tolist() == [[0.0] * 3] * 2
    assert first.dones.tolist() == [False, False]
    assert last.seats.tolist() == [0, 0]
    assert last.observations.tolist() == [[1.0, 0.0], [4.0, 0.0]]
    assert last.action_masks.tolist() == [[1, 0], [1, 1]]
    assert [array.dtype for array in last[:5]] == [np.float32, np.int8, np.int64, np.float32, np.bool_]


def test_a_row_that_is_done_holds_the_rewards_of_the_match_and_the_start_of_the_next(stones):
    batch = DiscreteMatchBatch("stones_v0", 2, seed=9)
    batch.reset()
    for _ in range(3):
        batch.step([1, 0])

    step = batch.step([0, 0])

    assert step.dones.tolist() == [True, False]
    assert step.rewards.tolist() == [[2.0, -1.0, -1.0], [0.0, 0.0, 0.0]]
    assert step.seats.tolist() == [0, 1]
    assert step.observations.tolist() == [[7.0, 0.0], [3.0, 0.0]]
    assert list(step.finished) == [0]
    assert (step.finished[0].index, step.finished[0].outcome.returns) == (0, (2.0, -1.0, -1.0))
    assert len(step.finished[0].turns) == 4


def test_an_action_that_is_not_legal_forfeits_the_match():
    batch = DiscreteMatchBatch("tic_tac_toe_v0", 2, seed=0)
    batch.reset()
    batch.step([4, 4])

    step = batch.step([4, 9])

    assert step.rewards.tolist() == [[1.0, -1.0], [1.0, -1.0]]
    assert [episode.outcome.fault for episode in step.finished.values()] == [Fault.ILLEGAL, Fault.MALFORMED]


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        ([4], ValueError, r"actions have the shape \(1,\): expected \(2,\)"),
        ([[4, 4]], ValueError, r"actions have the shape \(1, 2\)"),
        ([4.0, 4.0], TypeError, "actions are of type float64: expected integers"),
        (["4", "4"], TypeError, "expected integers"),
    ],
)
def test_wrong_actions_are_refused(actions, error, message):
    batch = DiscreteMatchBatch("tic_tac_toe_v0", 2, seed=0)
    batch.reset()

    with pytest.raises(error, match=message):
        batch.step(actions)


def test_arrays_of_earlier_steps_stay_as_they_were():
    batch = DiscreteMatchBatch("tic_tac_toe_v0", 1, seed=0)
    first = batch.reset()
    first.observations[:] = 7
    first.action_masks[:] = 7

    second = batch.step([4])
    batch.reset()

    assert second.action_masks.tolist() == [[1, 1, 1, 1, 0, 1, 1, 1, 1]]
    assert first.observations.min() == 7
    assert batch.reset().observations.max() == 1


@pytest.mark.parametrize("game", DISCRETE_GAMES)
def test_both_batches_play_the_same_matches(game):
    spec = spiral_envs.find_game(game)
    assert spec.discrete is not None
    texts = [spec.codec.format_move(move) for move in spec.discrete.moves]
    rng = np.random.default_rng(0)
    arrays, batch = DiscreteMatchBatch(game, 3, seed=4), MatchBatch(game, 3, seed=4)
    step, views = arrays.reset(), batch.reset()
    for _ in range(40):
        assert [view.seat for view in views] == step.seats.tolist()
        for view, mask in zip(views, step.action_masks, strict=True):
            assert set(view.legal_moves or ()) == {texts[action] for action in np.flatnonzero(mask)}
        actions = (rng.random(step.action_masks.shape) * step.action_masks).argmax(axis=1)
        step = arrays.step(actions)
        views, finished = batch.step([texts[action] for action in actions])
        assert {row: facts(episode) for row, episode in finished.items()} == {
            row: facts(episode) for row, episode in step.finished.items()
        }
        assert all(episode.outcome.termination is Termination.FINISHED for episode in finished.values())


def test_a_game_without_a_fixed_list_of_moves_has_no_arrays():
    with pytest.raises(ValueError, match="simple_negotiation_v0 has no discrete actions, only text"):
        DiscreteMatchBatch("simple_negotiation_v0", 1, seed=0)
