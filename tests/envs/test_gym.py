"""The Gymnasium view of one seat."""

import subprocess
import sys

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics

import spiral_envs
from spiral_envs import Fault, Reply, SeatEnv, Termination, UnknownNameError
from spiral_envs.gym import gymnasium_id

IDS = ("spiral_envs/TicTacToe-v0", "spiral_envs/KuhnPoker-v0", "spiral_envs/SimpleNegotiation-v0")


class Scripted:
    """Gives its replies in order, and keeps what it was shown."""

    name = "scripted"

    def __init__(self, *replies):
        self.replies = list(replies)
        self.views = []

    def act(self, views):
        self.views += views
        return [self.replies.pop(0) for _ in views]


def test_the_ids_are_those_of_the_games():
    assert tuple(map(gymnasium_id, spiral_envs.game_ids())) == IDS


@pytest.mark.parametrize("seat", [0, 1, "random"])
@pytest.mark.parametrize("env_id", IDS)
def test_gymnasiums_checker_passes(env_id, seat, capsys):
    check_env(gymnasium.make(env_id, seat=seat).unwrapped)

    assert capsys.readouterr().out


@pytest.mark.parametrize("seat", [0, 1])
@pytest.mark.parametrize("env_id", IDS)
def test_sampled_actions_play_whole_games_without_a_fault(env_id, seat):
    env = gymnasium.make(env_id, seat=seat)
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
        env.step(4)  # pyright: ignore[reportArgumentType] - a mistake


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
        ({"seat": "first"}, ValueError, "seat is 'first': expected 0 to 1 or 'random'"),
        ({"hnds": 1}, UnknownNameError, "unknown option of kuhn_poker_v0 'hnds': did you mean hands"),
        ({"invalid_move": "forfit"}, UnknownNameError, "did you mean forfeit"),
    ],
)
def test_a_wrong_option_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        gymnasium.make("spiral_envs/KuhnPoker-v0", **options)


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


def test_gymnasium_imports_the_package_by_the_name_in_the_id():
    program = (
        "import gymnasium\n"
        "env = gymnasium.make('spiral_envs:spiral_envs/KuhnPoker-v0', seat=0, hands=1)\n"
        "print(env.reset(seed=0)[1]['role'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "Player 0"
