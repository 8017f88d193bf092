"""The Gymnasium view of one seat."""

import subprocess
import sys
from collections.abc import Sequence

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete, flatten
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics
from stones import STONES_SPEC

import spiral_envs
from spiral_envs import Fault, Reply, SeatEnv, Termination, UnknownNameError, View
from spiral_envs.gym import gymnasium_id
from spiral_envs.registry import _specs

GAMES = spiral_envs.game_ids()

DISCRETE_GAMES = tuple(game for game in GAMES if spiral_envs.find_game(game).discrete is not None)


class Scripted:
    """Gives its replies in order, and keeps what it was shown."""

    name = "scripted"

    def __init__(self, *replies):
        self.replies = list(replies)
        self.views = []

    def act(self, views):
        self.views += views
        return [self.replies.pop(0) for _ in views]


@pytest.fixture
def stones(monkeypatch):
    """Registers the game of stones, and forgets it again."""
    monkeypatch.setattr("spiral_envs.registry._specs", dict(_specs))
    spiral_envs.register(STONES_SPEC)


class Taker:
    """Takes the given number of stones, and keeps in which seats it was asked."""

    def __init__(self, name: str, reply: str):
        self.name = name
        self.reply = reply
        self.seats: list[int] = []

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns the reply to every view."""
        self.seats += [view.seat for view in views]
        return [self.reply for _ in views]


@pytest.mark.parametrize(
    ("game", "env_id"),
    [
        ("tic_tac_toe_v0", "spiral_envs/TicTacToe-v0"),
        ("kuhn_poker_v0", "spiral_envs/KuhnPoker-v0"),
        ("simple_negotiation_v0", "spiral_envs/SimpleNegotiation-v0"),
    ],
)
def test_the_ids_are_those_of_the_games(game, env_id):
    assert gymnasium_id(game) == env_id


def test_gymnasium_knows_every_game():
    assert [game for game in GAMES if gymnasium_id(game) not in gymnasium.registry] == []


@pytest.mark.parametrize("seat", [0, 1, "random"])
@pytest.mark.parametrize("game", GAMES)
def test_gymnasiums_checker_passes(game, seat, capsys):
    check_env(gymnasium.make(gymnasium_id(game), seat=seat).unwrapped)

    assert capsys.readouterr().out


# Features may be any numbers.
@pytest.mark.filterwarnings("ignore:.*A Box observation space m..imum value is -?infinity")
@pytest.mark.parametrize("game", DISCRETE_GAMES)
def test_gymnasiums_checker_passes_with_discrete_actions(game):
    check_env(gymnasium.make(gymnasium_id(game), actions="discrete").unwrapped, skip_render_check=True)


@pytest.mark.parametrize("seat", [0, 1])
@pytest.mark.parametrize("game", GAMES)
def test_sampled_actions_play_whole_games_without_a_fault(game, seat):
    env = gymnasium.make(gymnasium_id(game), seat=seat)
    env.action_space.seed(0)
    for seed in range(5):
        _, info = env.reset(seed=seed)
        terminated = False
        while not terminated:
            assert info["seat"] == seat
            _, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert not truncated
            assert terminated or reward == 0
        assert info["outcome"].termination is Termination.FINISHED
        assert reward == info["outcome"].returns[seat]


def test_the_learner_wins_from_the_second_seat_against_a_scripted_opponent():
    opponent = Scripted("[0]", "thinking \\boxed{1}", "[8]")
    env = gymnasium.make("spiral_envs/TicTacToe-v0", opponent=opponent, seat=1)

    observation, info = env.reset(seed=0)
    assert observation.endswith("Board:\n X 1 2\n 3 4 5\n 6 7 8\nYou play O. It is your turn.")
    assert info == {
        "legal_moves": ("[1]", "[2]", "[3]", "[4]", "[5]", "[6]", "[7]", "[8]"),
        "role": "O",
        "seat": 1,
        "turn": 1,
    }
    assert env.step("[3]")[1:4] == (0.0, False, False)
    assert env.step("[4]")[1:4] == (0.0, False, False)
    observation, reward, terminated, truncated, info = env.step("[5]")

    assert observation.endswith("Board:\n X X 2\n O O O\n 6 7 X\nYou play O. You have won.")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["legal_moves"] == ()
    assert info["outcome"].returns == (-1.0, 1.0)
    assert [view.seat for view in opponent.views] == [0, 0, 0]


def test_the_learner_may_move_twice_in_a_row():
    # Seat 1 ends hand 1 with its fold and opens hand 2, so the opponent is asked once for two moves of the learner.
    opponent = Scripted("[bet]", "[call]")
    env = gymnasium.make("spiral_envs/KuhnPoker-v0", opponent=opponent, seat=1, hands=2, payoff="chips")
    env.reset(seed=0)

    assert env.step("[fold]")[4]["turn"] == 2
    _, reward, terminated, _, info = env.step("[bet]")

    assert terminated
    assert [view.turn for view in opponent.views] == [0, 3]
    assert reward in (1.0, -3.0), "one chip is lost by the fold, two are won or lost by the call"
    assert info["turn"] == 4


def test_a_fault_of_the_learner_costs_the_lowest_return():
    env = gymnasium.make("spiral_envs/KuhnPoker-v0", seat=0, hands=1, payoff="chips")
    for reply, fault in (("nonsense", Fault.MALFORMED), (Reply(fault=Fault.TRUNCATED), Fault.TRUNCATED)):
        env.reset(seed=0)
        _, reward, terminated, truncated, info = env.step(reply)
        assert (reward, terminated, truncated) == (-2.0, True, False)
        assert info["outcome"].fault is fault


def test_a_fault_of_the_opponent_pays_the_learner():
    env = gymnasium.make("spiral_envs/TicTacToe-v0", opponent=Scripted("nonsense"), seat=0)
    env.reset(seed=0)

    _, reward, terminated, _, info = env.step("[4]")

    assert (reward, terminated, info["outcome"].offender) == (1.0, True, 1)


def test_an_opponent_that_forfeits_before_the_learners_first_turn_loses_in_the_first_step():
    env = gymnasium.make("spiral_envs/TicTacToe-v0", opponent=Scripted("nonsense"), seat=1)

    _, info = env.reset(seed=0)
    assert info["outcome"].offender == 0
    _, reward, terminated, _, _ = env.step("[4]")

    assert (reward, terminated) == (1.0, True)


def test_three_seats_are_filled_by_one_opponent_or_by_one_each(stones):
    both = Taker("both", "[1]")
    env = SeatEnv("stones_v0", opponent=both, seat=1)
    _, info = env.reset(seed=0)
    # 7, 6 (the learner), 4, 3, 2 (the learner), 0.
    assert info["turn"] == 1
    assert env.step("[2]")[4]["turn"] == 4
    _, reward, terminated, _, _ = env.step("[2]")
    assert (reward, terminated) == (2.0, True)
    assert both.seats == [0, 2, 0]

    for seat, others in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        first, second = Taker("first", "[1]"), Taker("second", "[2]")
        env = SeatEnv("stones_v0", opponent=[first, second], seat=seat)
        env.reset(seed=0)
        while not env.step("[1]")[2]:
            pass
        assert (set(first.seats), set(second.seats)) == ({others[0]}, {others[1]})


def test_two_opponents_of_the_same_kind_have_their_own_random_numbers(stones):
    env = SeatEnv("stones_v0", opponent=("random", "random"), seat=2)
    pairs = []
    for seed in range(60):
        env.reset(seed=seed)
        pairs.append(tuple(turn.response for turn in env._match.turns))

    assert {pair: pairs.count(pair) > 5 for pair in pairs} == {
        (first, second): True for first in ("[1]", "[2]") for second in ("[1]", "[2]")
    }


def test_unseeded_environments_draw_their_own_opponents(stones):
    replies = []
    for _ in range(2):
        env = SeatEnv("stones_v0", opponent="random", seat=2)
        run = []
        for _ in range(40):
            env.reset()
            run += [turn.response for turn in env._match.turns]
        replies.append(run)

    assert replies[0] != replies[1]


def test_a_match_that_ends_before_the_learners_first_turn_is_reported_in_the_first_step(stones):
    env = SeatEnv("stones_v0", opponent=[Taker("first", "[3]"), Taker("second", "[1]")], seat=2, actions="discrete")

    observation, info = env.reset(seed=0)
    assert observation["action_mask"].tolist() == [0, 0]
    assert info["outcome"].offender == 0
    _, reward, terminated, _, _ = env.step(0)

    assert (reward, terminated) == (1.0, True), "the others share the loss of at least 1 in whole numbers"


def test_discrete_actions_win_from_the_second_seat():
    opponent = Scripted("[0]", "thinking \\boxed{1}", "[8]")
    env = gymnasium.make("spiral_envs/TicTacToe-v0", opponent=opponent, seat=1, actions="discrete")

    observation, info = env.reset(seed=0)

    assert env.action_space == Discrete(9)
    assert observation in env.observation_space
    assert observation["action_mask"].tolist() == info["action_mask"].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 1]
    # The planes are the learner's marks, the opponent's, the empty cells and whose turn it is.
    assert observation["observation"].sum(axis=(1, 2)).tolist() == [0, 1, 8, 9]
    assert observation["observation"][1, 0, 0] == 1
    assert (info["role"], info["seat"], info["turn"], info["legal_moves"][0]) == ("O", 1, 1, "[1]")
    masks = env.get_wrapper_attr("action_masks")()
    assert masks.dtype == np.bool_
    assert masks.tolist() == [False] + [True] * 8
    assert env.step(np.int64(3))[1:4] == (0.0, False, False)
    assert env.step(4)[1:4] == (0.0, False, False)
    observation, reward, terminated, truncated, info = env.step(5)

    assert (reward, terminated, truncated) == (1.0, True, False)
    assert observation["action_mask"].tolist() == info["action_mask"].tolist() == [0] * 9
    assert info["outcome"].returns == (-1.0, 1.0)
    assert [view.text.startswith("You play X") for view in opponent.views] == [True] * 3


@pytest.mark.parametrize(("action", "fault"), [(4, Fault.ILLEGAL), (9, Fault.MALFORMED), (-1, Fault.MALFORMED)])
def test_a_discrete_action_that_is_not_legal_is_a_fault(action, fault):
    env = SeatEnv("tic_tac_toe_v0", opponent=Scripted("[4]"), seat=1, actions="discrete")
    env.reset(seed=0)

    _, reward, terminated, truncated, info = env.step(action)

    assert (reward, terminated, truncated) == (-1.0, True, False)
    assert info["outcome"].fault is fault


def test_a_discrete_action_that_is_no_integer_is_an_error_of_the_program():
    env = SeatEnv("tic_tac_toe_v0", seat=0, actions="discrete")
    env.reset(seed=0)

    with pytest.raises(TypeError, match="action is '4': expected an integer from 0 to 8"):
        env.step("[4]"[1])


def test_texts_have_no_action_masks():
    env = SeatEnv("tic_tac_toe_v0", seat=0)
    env.reset(seed=0)

    with pytest.raises(ValueError, match="make the environment with actions='discrete'"):
        env.action_masks()


@pytest.mark.parametrize("game", DISCRETE_GAMES)
def test_masked_samples_play_whole_games_without_a_fault(game):
    env = gymnasium.make(gymnasium_id(game), actions="discrete")
    env.action_space.seed(0)
    for seed in range(5):
        _, info = env.reset(seed=seed)
        terminated = False
        while not terminated:
            _, _, terminated, _, info = env.step(env.action_space.sample(info["action_mask"]))
        assert info["outcome"].termination is Termination.FINISHED


def test_a_step_after_the_end_is_an_error():
    env = SeatEnv("tic_tac_toe_v0", seat=0)
    with pytest.raises(RuntimeError, match=r"no match of tic_tac_toe_v0 is in progress: call reset\(\)"):
        env.step("[0]")
    env.reset(seed=0)
    env.step("nonsense")

    with pytest.raises(RuntimeError, match=r"no match of tic_tac_toe_v0 is in progress: call reset\(\)"):
        env.step("[0]")


def test_an_action_that_is_no_text_is_an_error_of_the_program():
    env = SeatEnv("tic_tac_toe_v0", seat=0)
    env.reset(seed=0)

    with pytest.raises(TypeError, match=r"action is 4: expected a text"):
        env.step(4)


def test_a_random_seat_is_each_seat_half_of_the_time():
    env = gymnasium.make("spiral_envs/TicTacToe-v0", seat="random")
    env.reset(seed=0)

    seats = [env.reset()[1]["seat"] for _ in range(400)]

    assert 160 <= sum(seats) <= 240, "four standard deviations around 200"


def test_a_seed_decides_seat_cards_and_opponent():
    def run(env):
        log = []
        for seed in (5, None, None):
            observation, info = env.reset(seed=seed)
            terminated = False
            while not terminated:
                log.append(observation)
                observation, _, terminated, _, info = env.step(info["legal_moves"][0])
            log.append(observation)
        return log

    env = gymnasium.make("spiral_envs/KuhnPoker-v0")
    first = run(env)
    env.reset(seed=6)

    assert run(env) == first
    assert run(gymnasium.make("spiral_envs/KuhnPoker-v0")) == first


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"opponent": "randm"}, UnknownNameError, "unknown agent 'randm': did you mean random"),
        ({"seat": 2}, ValueError, "seat is 2: expected 0 to 1 or 'random'"),
        ({"seat": True}, ValueError, "seat is True: expected 0 to 1 or 'random'"),
        ({"seat": np.int64(-1)}, ValueError, r"seat is np.int64\(-1\): expected 0 to 1 or 'random'"),
        ({"seat": np.True_}, ValueError, "seat is np.True_: expected 0 to 1 or 'random'"),
        ({"seat": 1.0}, ValueError, "seat is 1.0: expected 0 to 1 or 'random'"),
        ({"seat": "first"}, ValueError, "seat is 'first': expected 0 to 1 or 'random'"),
        ({"hnds": 1}, UnknownNameError, "unknown option of kuhn_poker_v0 'hnds': did you mean hands"),
        ({"invalid_move": "forfit"}, UnknownNameError, "did you mean forfeit"),
        ({"actions": "discreet"}, UnknownNameError, "unknown form of actions 'discreet': did you mean discrete"),
        ({"opponent": ["random", "random"]}, ValueError, "opponent lists 2 agents: expected 1, one for each other"),
    ],
)
def test_a_wrong_option_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        gymnasium.make("spiral_envs/KuhnPoker-v0", **options)


@pytest.mark.parametrize("seat", [0, 1])
def test_integers_of_numpy_are_seats(seat):
    env = SeatEnv("tic_tac_toe_v0", seat=np.int64(seat))

    _, info = env.reset(seed=0)

    assert info["seat"] == seat
    assert type(info["seat"]) is int


def test_rendering_shows_every_seat_to_the_operator():
    env = gymnasium.make("spiral_envs/TicTacToe-v0", seat=0, render_mode="ansi")
    env.reset(seed=0)

    assert env.render() == (
        "X sees:\nBoard:\n 0 1 2\n 3 4 5\n 6 7 8\nYou play X. It is your turn.\n\n"
        "O sees:\nBoard:\n 0 1 2\n 3 4 5\n 6 7 8\nYou play O. X is to move."
    )


def test_human_mode_prints_every_step(capsys):
    env = gymnasium.make("spiral_envs/TicTacToe-v0", opponent=Scripted("[0]"), seat=0, render_mode="human")
    env.reset(seed=0)
    env.step("[4]")

    assert capsys.readouterr().out.count("X sees:") == 2


def test_gymnasiums_wrappers_and_vectors_work():
    env = RecordEpisodeStatistics(gymnasium.make("spiral_envs/TicTacToe-v0", seat=0))
    env.reset(seed=0)
    assert env.step("nonsense")[4]["episode"]["r"] == -1.0

    envs = gymnasium.make_vec("spiral_envs/TicTacToe-v0", num_envs=3, vectorization_mode="sync", seat=0)
    observations, infos = envs.reset(seed=0)
    assert [text.startswith("You play X") for text in observations] == [True, True, True]
    assert infos["turn"].tolist() == [0, 0, 0]
    _, rewards, terminations, _, _ = envs.step(("[4]", "nonsense", "[0]"))
    assert rewards.tolist() == [0.0, -1.0, 0.0]
    assert terminations.tolist() == [False, True, False]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vectors_of_discrete_environments_stack_their_arrays(mode):
    envs = gymnasium.make_vec(
        "spiral_envs/TicTacToe-v0", num_envs=3, vectorization_mode=mode, actions="discrete", seat=0
    )
    observations, infos = envs.reset(seed=0)
    assert observations["observation"].shape == (3, 4, 3, 3)
    assert observations["action_mask"].tolist() == infos["action_mask"].tolist() == [[1] * 9] * 3

    observations, rewards, terminations, _, infos = envs.step(np.array([4, 9, 0]))

    assert observations["action_mask"].sum(axis=1).tolist() == [7, 0, 7]
    assert rewards.tolist() == [0.0, -1.0, 0.0]
    assert terminations.tolist() == [False, True, False]
    assert infos["turn"].tolist() == [2, 1, 2]
    envs.close()


def test_asynchronous_vectors_of_texts_need_memory_of_their_own():
    envs = gymnasium.make_vec(
        "spiral_envs/TicTacToe-v0",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"shared_memory": False},
        seat=0,
    )
    observations, _ = envs.reset(seed=0)
    assert [text.startswith("You play X") for text in observations] == [True, True]
    _, rewards, terminations, _, infos = envs.step(("[4]", "nonsense"))
    assert rewards.tolist() == [0.0, -1.0]
    assert terminations.tolist() == [False, True]
    assert infos["outcome"][1].fault is Fault.MALFORMED
    envs.close()

    # What shared memory would do with them.
    with pytest.raises(ValueError, match="'shared_memory': False"):
        flatten(envs.single_observation_space, "You play X")


def test_the_seed_of_a_vector_decides_every_match_in_it():
    def run():
        envs = gymnasium.make_vec("spiral_envs/KuhnPoker-v0", num_envs=3, vectorization_mode="sync", actions="discrete")
        observations, infos = envs.reset(seed=3)
        log = [(observations["observation"].tolist(), infos["seat"].tolist())]
        for _ in range(30):
            observations, rewards, *_ = envs.step(observations["action_mask"].argmax(axis=1))
            log.append((observations["observation"].tolist(), rewards.tolist()))
        return log

    assert run() == run()


def test_gymnasium_imports_the_package_by_the_name_in_the_id():
    program = (
        "import gymnasium\n"
        "env = gymnasium.make('spiral_envs:spiral_envs/KuhnPoker-v0', seat=0, hands=1)\n"
        "print(env.reset(seed=0)[1]['role'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "Player 0"
