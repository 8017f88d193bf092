"""Observations and actions in numbers, in the PettingZoo view."""

import copy
import pickle
import random
from dataclasses import replace

import numpy as np
import pettingzoo
import pytest
from gymnasium.spaces import Discrete
from pettingzoo_own import api_test, parallel_api_test, render_test, seed_test
from stones import STONES_SPEC

import spiral_envs
from spiral_envs import Fault, Termination, tic_tac_toe_v0
from spiral_envs.discrete import DiscreteGame, discrete_game, discrete_game_of
from spiral_envs.registry import _specs

GAMES = tuple(game for game in spiral_envs.game_ids() if spiral_envs.find_game(game).discrete is not None)

KINDS = ("env", "raw_env")

pytestmark = [
    # PettingZoo's test of an observation says these of its own classic games, whose names it knows.
    pytest.mark.filterwarnings("ignore:Observation is not a NumPy array"),
    pytest.mark.filterwarnings("ignore:Observation space for each agent probably should be"),
    # At the end nobody has an action, and nobody may know anything.
    pytest.mark.filterwarnings("ignore:Action mask numpy array is all zeros"),
    pytest.mark.filterwarnings("ignore:Observation numpy array is all zeros"),
    # It takes any array of two axes for a picture.
    pytest.mark.filterwarnings("ignore:The observation contains negative numbers and is in the shape of a graphical"),
]


@pytest.fixture(autouse=True)
def stones(monkeypatch):
    """Registers the game of stones, and forgets it again."""
    monkeypatch.setattr("spiral_envs.registry._specs", dict(_specs))
    spiral_envs.register(STONES_SPEC)


def builder(game, kind):
    module = getattr(spiral_envs, game)

    def make_env(**options):
        return getattr(module, kind)(actions="discrete", **options)

    return make_env


def started(game="tic_tac_toe_v0", seed=0, **options):
    env = getattr(spiral_envs, game).raw_env(actions="discrete", **options)
    env.reset(seed=seed)
    return env


def random_actions(env, rng):
    """Plays the match to its end with legal actions, and returns them."""
    actions = []
    while not env.terminations[env.agent_selection]:
        legal = np.flatnonzero(env.observe(env.agent_selection)["action_mask"])
        actions.append(int(rng.choice(legal)))
        env.step(actions[-1])
    return actions


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("game", [*GAMES, "stones_v0"])
def test_pettingzoos_own_tests_pass(game, kind):
    make_env = builder(game, kind)

    api_test(make_env(), num_cycles=50)
    seed_test(make_env, num_cycles=20)


@pytest.mark.parametrize("game", [*GAMES, "stones_v0"])
def test_pettingzoos_parallel_test_passes(game):
    parallel_api_test(builder(game, "parallel_env")(), num_cycles=50)


@pytest.mark.parametrize("game", GAMES)
def test_pettingzoos_render_test_passes(game, capsys):
    render_test(builder(game, "env"))

    assert capsys.readouterr().out.count(" sees:\n") > 1


def test_an_observation_of_tic_tac_toe_is_its_planes_and_the_empty_cells():
    env = started()
    env.step(4)
    env.step(0)

    observation = env.observe("player_0")

    mine, theirs, empty, turn = np.zeros((4, 3, 3), np.float32)
    mine[1, 1] = theirs[0, 0] = 1
    empty[:] = 1 - mine - theirs
    turn[:] = 1
    assert observation["observation"].dtype == np.float32
    assert np.array_equal(observation["observation"], [mine, theirs, empty, turn])
    assert observation["action_mask"].dtype == np.int8
    assert observation["action_mask"].tolist() == [0, 1, 1, 1, 0, 1, 1, 1, 1]


def test_only_the_agent_to_move_has_legal_actions():
    env = started("stones_v0")

    masks = [[env.observe(agent)["action_mask"].tolist() for agent in env.possible_agents]]
    for action in (1, 1, 1):
        env.step(action)
        masks.append([env.observe(agent)["action_mask"].tolist() for agent in env.possible_agents])
    env.step(0)

    assert masks == [
        [[1, 1], [0, 0], [0, 0]],
        [[0, 0], [1, 1], [0, 0]],
        [[0, 0], [0, 0], [1, 1]],
        [[1, 0], [0, 0], [0, 0]],
    ]
    assert [env.observe(agent)["action_mask"].tolist() for agent in env.possible_agents] == [[0, 0]] * 3
    assert env.rewards == {"player_0": 2.0, "player_1": -1.0, "player_2": -1.0}


def test_each_agent_is_shown_what_its_own_seat_knows():
    env = started("stones_v0")
    env.step(1)

    assert [env.observe(agent)["observation"].tolist() for agent in env.agents] == [[5.0, 2.0], [5.0, 0.0], [5.0, 1.0]]


@pytest.mark.parametrize("game", GAMES)
def test_the_same_moves_give_the_same_match_as_text(game):
    spec = spiral_envs.find_game(game)
    assert spec.discrete is not None
    texts = [spec.codec.format_move(move) for move in spec.discrete.moves]
    rng = random.Random(5)
    for seed in range(5):
        env = started(game, seed)
        actions = random_actions(env, rng)
        match = spiral_envs.make_match(game, seed=seed)
        for action in actions:
            match.submit(texts[action])

        outcome = env.infos["player_0"]["outcome"]
        assert outcome.termination is Termination.FINISHED
        assert outcome == match.outcome
        assert tuple(env.rewards.values()) == outcome.returns


@pytest.mark.parametrize("game", GAMES)
def test_every_observation_lies_in_its_space(game):
    env = started(game)
    rng = random.Random(1)
    for _ in range(3):
        env.reset()
        for agent in env.agent_iter():
            observation, _, terminated, _, _ = env.last()
            for other in env.possible_agents:
                assert env.observe(other) in env.observation_space(other)
            action = None if terminated else rng.choice(np.flatnonzero(observation["action_mask"]))
            assert action is None or action in env.action_space(agent)
            env.step(action)


def test_spaces_are_the_same_objects_on_every_call():
    env = started()

    for agent in env.possible_agents:
        assert env.observation_space(agent) is env.observation_space(agent)
        assert env.action_space(agent) is env.action_space(agent)
        assert env.action_space(agent) == Discrete(9)
    assert env.action_space("player_0") is not env.action_space("player_1")


def test_a_masked_sample_is_a_legal_action():
    env = started()
    env.step(4)
    space = env.action_space("player_1")
    space.seed(0)

    samples = {int(space.sample(env.observe("player_1")["action_mask"])) for _ in range(200)}

    assert samples == {0, 1, 2, 3, 5, 6, 7, 8}


@pytest.mark.parametrize(
    ("action", "fault", "reason"),
    [
        (4, Fault.ILLEGAL, "the move is not allowed here"),
        (9, Fault.MALFORMED, "the reply holds no move"),
        (-1, Fault.MALFORMED, "the reply holds no move"),
        (10**30, Fault.MALFORMED, "the reply holds no move"),
    ],
)
def test_an_action_that_is_not_legal_forfeits_the_match(action, fault, reason):
    env = started()
    env.step(4)

    env.step(action)

    assert env.rewards == {"player_0": 1.0, "player_1": -1.0}
    assert env.terminations == {"player_0": True, "player_1": True}
    outcome = env.infos["player_0"]["outcome"]
    assert (outcome.termination, outcome.offender, outcome.fault) == (Termination.FORFEIT, 1, fault)
    assert outcome.reason == f"O forfeits: {reason}"
    assert not env.observe("player_1")["action_mask"].any()


def test_an_action_that_is_not_legal_can_cost_a_random_move_instead():
    env = started(invalid_move="random")
    env.step(4)

    env.step(4)

    assert env.agent_selection == "player_0"
    assert env.observe("player_0")["action_mask"].sum() == 7


@pytest.mark.parametrize("action", ["4", 4.0, None, np.float32(4), np.array([4]), [4]])
def test_an_action_that_is_no_integer_is_an_error_of_the_program(action):
    env = started()

    with pytest.raises(TypeError, match="expected an integer from 0 to 8"):
        env.step(action)

    assert env.observe("player_0")["action_mask"].all()


@pytest.mark.parametrize("integer", [int, np.int64, np.int8, np.array])
def test_integers_of_numpy_are_actions(integer):
    env = started()

    env.step(integer(4))

    assert env.observe("player_1")["action_mask"].tolist() == [1, 1, 1, 1, 0, 1, 1, 1, 1]


def test_a_player_whose_match_is_over_can_only_pass():
    env = started()
    env.step(-1)

    with pytest.raises(ValueError, match="only valid action is None"):
        env.step(0)


def test_observations_belong_to_the_caller():
    env = started()
    before = env.observe("player_0")
    for array in before.values():
        array[:] = 7

    again = env.observe("player_0")

    assert again["action_mask"].tolist() == [1] * 9
    assert again["observation"].max() == 1
    env.step(4)
    assert before["action_mask"].tolist() == [7] * 9


def test_infos_are_empty_until_the_outcome():
    env = started()
    early = env.infos["player_0"]
    for action in (0, 3, 1, 4):
        env.step(action)
        assert env.infos == {"player_0": {}, "player_1": {}}
    env.step(2)

    assert early == {}
    assert env.infos["player_0"]["outcome"].returns == (1.0, -1.0)
    assert list(env.infos["player_1"]) == ["outcome"]
    env.reset(seed=0)
    assert env.infos == {"player_0": {}, "player_1": {}}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("game", GAMES)
def test_a_copy_in_the_middle_goes_on_like_the_original(game, copied):
    env = started(game, seed=2)
    env.step(int(np.flatnonzero(env.observe(env.agent_selection)["action_mask"])[0]))
    clone = copied(env)

    actions = random_actions(env, random.Random(3))
    for action in actions:
        assert clone.observe(clone.agent_selection)["action_mask"][action] == 1
        clone.step(action)

    assert clone.rewards == env.rewards
    for agent in env.possible_agents:
        assert np.array_equal(clone.observe(agent)["observation"], env.observe(agent)["observation"])


def test_a_parallel_step_takes_the_action_of_the_agent_to_move():
    env = tic_tac_toe_v0.parallel_env(actions="discrete")
    observations, _ = env.reset(seed=0)
    assert [observations[agent]["action_mask"].sum() for agent in env.agents] == [9, 0]

    for ours, theirs in ((0, 0), (5, 3), (1, 1), (7, 4)):
        observations, rewards, terminations, _, _ = env.step({"player_0": ours, "player_1": theirs})
        assert not any(terminations.values())
    observations, rewards, terminations, _, infos = env.step({"player_0": 2, "player_1": 2})

    assert rewards == {"player_0": 1.0, "player_1": -1.0}
    assert all(terminations.values())
    assert infos["player_1"]["outcome"].returns == (1.0, -1.0)
    assert env.agents == []


def test_pettingzoo_makes_the_discrete_form_by_name():
    env = pettingzoo.make("aec", "spiral_envs/tic_tac_toe_v0", actions="discrete")
    env.reset(seed=0)
    env.step(4)
    observation, *_ = env.last()
    assert observation is not None
    assert observation["action_mask"].sum() == 8

    parallel = pettingzoo.make("parallel", "spiral_envs/tic_tac_toe_v0", actions="discrete")
    observations, _ = parallel.reset(seed=0)
    assert observations["player_0"]["observation"].shape == (4, 3, 3)


def test_options_of_the_game_change_its_arrays():
    env = started("tic_tac_toe_v0", rows=4, columns=5)

    observation = env.observe("player_0")

    assert observation["observation"].shape == (4, 4, 5)
    assert observation["action_mask"].shape == (20,)


def test_rendering_shows_the_text():
    env = started(render_mode="ansi")
    env.step(4)

    assert "O sees:\nBoard:\n 0 1 2\n 3 X 5\n 6 7 8\n" in str(env.render())


def test_a_game_without_a_fixed_list_of_moves_says_which_have_one():
    spiral_envs.register(replace(STONES_SPEC, name="pebbles", discrete=None))

    for make in (spiral_envs.make, spiral_envs.pebbles_v0.raw_env, spiral_envs.pebbles_v0.parallel_env):
        arguments = ("pebbles_v0",) if make is spiral_envs.make else ()
        with pytest.raises(
            ValueError,
            match=r"^pebbles_v0 has no discrete actions, only text: the games with a fixed list .* tic_tac_toe_v0, .*",
        ) as error:
            make(*arguments, actions="discrete")
        assert str(error.value).endswith(", stones_v0")


def test_a_bridge_to_a_package_without_readable_rules_has_no_discrete_actions():
    source = replace(spiral_envs.find_source("tic_tac_toe_v0"), id="elsewhere:Game", spec=None)

    with pytest.raises(ValueError, match="elsewhere:Game has no discrete actions, only text"):
        discrete_game_of(source)


def test_an_unknown_form_of_actions_is_refused():
    with pytest.raises(spiral_envs.UnknownNameError, match="unknown form of actions 'discreet': did you mean discrete"):
        spiral_envs.make("tic_tac_toe_v0", actions="discreet")


@pytest.mark.parametrize("game", GAMES)
def test_an_array_is_remembered_by_its_state_and_seat(game):
    numbered = discrete_game(spiral_envs.find_game(game))
    first, second = (spiral_envs.make_match(game, seed=0) for _ in range(2))
    assert isinstance(first, spiral_envs.GameMatch)
    assert isinstance(second, spiral_envs.GameMatch)

    assert numbered.features(first, 0) is numbered.features(second, 0)
    assert numbered.features(first, 0) is not numbered.features(first, 1)


def test_features_of_another_length_than_the_shape_are_an_error_of_the_program():
    assert STONES_SPEC.discrete is not None
    for numbers in ((1.0,), (1.0, 2.0, 3.0)):
        form = replace(STONES_SPEC.discrete, features=lambda state, seat, numbers=numbers: numbers)
        match = spiral_envs.GameMatch(STONES_SPEC, seed=0)

        with pytest.raises(ValueError, match="cannot reshape"):
            DiscreteGame(replace(STONES_SPEC, discrete=form)).features(match, 0)


def test_what_is_remembered_stays_within_bounds(monkeypatch):
    monkeypatch.setattr("spiral_envs.discrete._MAX_CACHED_TABLES", 4)
    monkeypatch.setattr("spiral_envs.discrete._MAX_CACHED_ARRAYS", 5)
    monkeypatch.setattr("spiral_envs.discrete._MAX_CACHED_NUMBERS", 2 * 36)
    stones, board = DiscreteGame(STONES_SPEC), DiscreteGame(spiral_envs.find_game("tic_tac_toe_v0"))
    match = spiral_envs.GameMatch(STONES_SPEC, seed=0)
    for left in range(7, 0, -1):
        waits = [stones.features(match, seat).tolist() for seat in range(3)]
        assert sorted(waits) == [[left, 0], [left, 1], [left, 2]]
        assert waits[match.seat_to_move or 0] == [left, 0]
        match.submit("[1]")
    assert len(stones._arrays) == 5

    match = spiral_envs.GameMatch(board.spec, seed=0)
    for cell in range(7):
        assert board.legal(match).mask.tolist() == [0] * cell + [1] * (9 - cell)
        assert board.features(match, 0)[2].sum() == 9 - cell
        match.submit(f"[{cell}]")
        assert len(board._legal) <= 4
        assert len(board._arrays) == min(cell + 1, 2)


def test_environments_of_a_game_share_what_is_computed_for_it():
    assert discrete_game(STONES_SPEC) is discrete_game(STONES_SPEC)
    assert copy.deepcopy(discrete_game(STONES_SPEC)) is discrete_game(STONES_SPEC)
