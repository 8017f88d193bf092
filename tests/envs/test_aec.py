"""The PettingZoo view."""

import copy
import pickle
import random
from dataclasses import replace

import numpy as np
import pettingzoo
import pytest
from pettingzoo_own import api_test, parallel_api_test, render_test, seed_test

import spiral_envs
from spiral_envs import Fault, Reply, Termination, UnknownNameError, kuhn_poker_v0, tic_tac_toe_v0
from spiral_envs.aec import Observation
from spiral_envs.registry import _specs
from spiral_envs.spaces import MAX_CHARS, OBSERVATIONS, MoveText

GAMES = spiral_envs.game_ids()

KINDS = ("env", "raw_env")

# What PettingZoo says about any environment that is not made of numbers.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Observation is not a NumPy array"),
    pytest.mark.filterwarnings("ignore:(Observation|Action) space for each agent probably should be"),
]


def builder(game, kind):
    return getattr(getattr(spiral_envs, game), kind)


def global_random_state():
    return random.getstate(), pickle.dumps(np.random.get_state())


def play_through(env, replies):
    for reply in replies:
        env.step(reply)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("game", GAMES)
def test_pettingzoos_own_tests_pass(game, kind):
    make_env = builder(game, kind)

    api_test(make_env(), num_cycles=100)
    seed_test(make_env, num_cycles=20)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("game", GAMES)
def test_pettingzoos_render_test_passes(game, kind, capsys):
    render_test(builder(game, kind))

    assert capsys.readouterr().out.count(" sees:\n") > 10


@pytest.mark.parametrize("game", GAMES)
def test_pettingzoos_parallel_test_passes(game):
    parallel_api_test(builder(game, "parallel_env")(), num_cycles=50)


@pytest.mark.parametrize("game", GAMES)
def test_sampled_actions_play_whole_games_without_a_fault(game):
    env = builder(game, "raw_env")()
    for seed in range(5):
        env.reset(seed=seed)
        for seat, agent in enumerate(env.agents):
            env.action_space(agent).seed(10 * seed + seat)
        outcome = None
        for agent in env.agent_iter():
            *_, terminated, _, info = env.last()
            outcome = info.get("outcome")
            env.step(None if terminated else env.action_space(agent).sample())
        assert outcome is not None
        assert outcome.termination is Termination.FINISHED


def test_a_seeded_reset_starts_the_match_of_that_seed():
    env = kuhn_poker_v0.raw_env()
    match = spiral_envs.make_match("kuhn_poker_v0", seed=11)

    env.reset(seed=11)

    assert env.observe("player_0") == match.view(0).text
    assert env.observe("player_1") == match.view(1).text


def test_resets_without_a_seed_go_on_from_the_last_seed_and_differ():
    env = kuhn_poker_v0.raw_env(hands=1)
    runs = []
    for _ in range(2):
        env.reset(seed=np.int64(3))  # pyright: ignore[reportArgumentType] - what a vector of seeds holds
        run = [(env.observe("player_0"), env.observe("player_1"))]
        for _ in range(20):
            env.reset()
            run.append((env.observe("player_0"), env.observe("player_1")))
        runs.append(run)

    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 6, "there are six deals"


@pytest.mark.parametrize("seed", [1.5, "1"])
def test_a_seed_that_is_no_integer_is_an_error_of_the_program(seed):
    env = kuhn_poker_v0.raw_env()

    with pytest.raises(TypeError, match="integer"):
        env.reset(seed=seed)


def test_an_environment_that_was_never_seeded_leaves_the_global_random_numbers_alone():
    before = global_random_state()

    env = kuhn_poker_v0.env()
    env.reset()
    env.step("[bet]")

    assert global_random_state() == before


def test_two_environments_that_were_never_seeded_differ():
    texts = []
    for _ in range(2):
        env = kuhn_poker_v0.raw_env(hands=1)
        deals = []
        for _ in range(40):
            env.reset()
            deals.append(env.observe("player_0"))
        texts.append(deals)

    assert texts[0] != texts[1]


def test_rewards_come_at_the_end_as_the_returns():
    env = tic_tac_toe_v0.env()
    env.reset(seed=0)

    for reply in ("[0]", "[3]", "[1]", "[4]"):
        env.step(reply)
        assert env.rewards == {"player_0": 0, "player_1": 0}
    env.step("[2]")

    assert env.rewards == {"player_0": 1.0, "player_1": -1.0}
    assert env.terminations == {"player_0": True, "player_1": True}
    assert env.truncations == {"player_0": False, "player_1": False}
    ends = []
    for _ in env.agent_iter():
        observation, reward, terminated, _, info = env.last()
        assert terminated
        ends.append((str(observation).splitlines()[-1], reward, info["outcome"].returns))
        env.step(None)
    assert ends == [
        ("You play X. You have won.", 1.0, (1.0, -1.0)),
        ("You play O. You have lost.", -1.0, (1.0, -1.0)),
    ]
    assert env.agents == []


def test_the_player_who_folds_to_a_bet_pays_one_chip():
    env = kuhn_poker_v0.raw_env(hands=1, payoff="chips")
    env.reset(seed=0)

    play_through(env, ["[bet]", "I give up: \\boxed{fold}"])

    assert env.rewards == {"player_0": 1.0, "player_1": -1.0}


def test_infos_tell_each_agent_its_seat_role_turn_and_moves():
    env = tic_tac_toe_v0.raw_env()
    env.reset(seed=0)

    env.step("[4]")

    assert env.infos == {
        "player_0": {"legal_moves": (), "role": "X", "seat": 0, "turn": 1},
        "player_1": {
            "legal_moves": ("[0]", "[1]", "[2]", "[3]", "[5]", "[6]", "[7]", "[8]"),
            "role": "O",
            "seat": 1,
            "turn": 1,
        },
    }


def test_infos_of_earlier_turns_stay_as_they_were():
    env = tic_tac_toe_v0.raw_env()
    env.reset(seed=0)
    earlier = env.last()[4]

    play_through(env, ["[4]", "[0]"])

    assert earlier["turn"] == 0
    assert len(earlier["legal_moves"]) == 9


@pytest.mark.parametrize("actions", ["text", "discrete"])
@pytest.mark.parametrize("game", ["tic_tac_toe_v0", "kuhn_poker_v0"])
def test_what_a_user_writes_into_an_environment_does_not_outlive_the_match(game, actions):
    def played(env, write):
        """Returns what is told in a match that ends by a fault in its second turn; writes into it where it is told."""
        env.reset(seed=4)
        told = []
        for reply in (0, -1, None) if actions == "discrete" else (None, "nonsense", None):
            by_agents = (env.rewards, env._cumulative_rewards, env.terminations, env.truncations)
            told.append(copy.deepcopy((by_agents, env.infos, env.last()[1:])))
            moves = env.infos[env.agent_selection].get("legal_moves")
            if write:
                for info in env.infos.values():
                    info.clear()
                    info["note"] = "mine"
                for by_agent in by_agents:
                    by_agent.update(dict.fromkeys(by_agent, "mine"))
            env.step(moves[0] if moves and reply is None else reply)
        return told

    env = builder(game, "raw_env")(actions=actions)
    other = builder(game, "raw_env")(actions=actions)
    expected = played(env, write=False)
    played(env, write=True)

    assert played(env, write=False) == expected
    assert played(other, write=False) == expected


def test_an_info_is_one_object_for_a_turn_however_it_is_read():
    env = tic_tac_toe_v0.raw_env()
    for first in ("last", "infos"):
        env.reset(seed=0)
        if first == "last":
            env.last()
        infos = env.infos
        assert env.last()[4] is infos["player_0"] is env.infos["player_0"]
        assert list(infos) == ["player_0", "player_1"]
        env.last()[4]["note"] = "mine"
        assert env.infos["player_0"]["note"] == "mine"

        env.step("[4]")
        assert env.last()[4] is env.infos["player_1"]
        assert list(env.infos) == ["player_0", "player_1"]
        assert env.infos is not infos
        assert infos["player_1"]["turn"] == 0


def test_the_infos_of_the_end_are_those_of_the_agents_that_have_not_left():
    env = tic_tac_toe_v0.raw_env()
    env.reset(seed=0)
    env.step("nonsense")
    second = env.infos["player_1"]

    assert [info["role"] for info in env.infos.values()] == ["X", "O"]
    env.step(None)
    assert list(env.infos) == ["player_1"]
    assert env.last()[4] is second
    assert second["legal_moves"] == ()
    assert (second["turn"], second["outcome"].offender) == (1, 0)
    env.step(None)
    assert env.infos == {}


def test_the_selected_agents_are_named_as_pettingzoo_names_them():
    env = tic_tac_toe_v0.raw_env()
    env.reset(seed=0)
    turns = env.agent_iter(3)
    named = []
    for reply, agent in zip(("[0]", "[1]", "[2]"), turns, strict=True):
        named.append(agent)
        env.step(reply)
    assert named == ["player_0", "player_1", "player_0"]
    assert [next(iter(turns)) for _ in range(2)] == ["player_1", "player_1"], "it can be started again"
    assert list(env.agent_iter(0)) == []

    env.step("nonsense")
    named = []
    for agent in env.agent_iter():
        named.append(agent)
        env.step(None)
    assert named == ["player_0", "player_1"]
    assert list(env.agent_iter()) == []


def test_last_looks_only_when_asked_to():
    env = kuhn_poker_v0.raw_env(hands=1)
    env.reset(seed=0)

    assert env.last(observe=False)[0] is None
    assert env.last(observe=False)[1:] == env.last()[1:]
    assert env.last()[0] == env.observe("player_0")


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("nonsense", Fault.MALFORMED),
        ("[call]", Fault.ILLEGAL),
        (Reply("[bet]", Fault.TRUNCATED), Fault.TRUNCATED),
        (Reply(fault=Fault.PROMPT_TOO_LONG), Fault.PROMPT_TOO_LONG),
    ],
)
def test_a_fault_forfeits_the_match(reply, fault):
    env = kuhn_poker_v0.env(hands=1, payoff="chips")
    env.reset(seed=0)

    env.step(reply)

    assert env.rewards == {"player_0": -2.0, "player_1": 2.0}
    outcome = env.infos["player_1"]["outcome"]
    assert (outcome.termination, outcome.offender, outcome.fault) == (Termination.FORFEIT, 0, fault)


def test_a_fault_can_cost_a_random_move_instead():
    env = tic_tac_toe_v0.env(invalid_move="random")
    env.reset(seed=0)

    env.step("nonsense")

    assert env.agent_selection == "player_1"
    assert len(env.infos["player_1"]["legal_moves"]) == 8


def test_an_action_that_is_no_text_is_an_error_of_the_program():
    env = tic_tac_toe_v0.raw_env()
    env.reset(seed=0)

    for action in (4, None):
        with pytest.raises(TypeError, match=rf"action of player_0 is {action}: expected a text"):
            env.step(action)

    assert env.observe("player_0").endswith("It is your turn.")


def test_a_player_whose_match_is_over_can_only_pass():
    env = tic_tac_toe_v0.raw_env()
    env.reset(seed=0)
    env.step("nonsense")

    with pytest.raises(ValueError, match="only valid action is None"):
        env.step("[0]")


def test_the_checked_environment_must_be_reset_first():
    env = tic_tac_toe_v0.env()

    with pytest.raises(AttributeError, match="cannot be accessed before reset"):
        env.agents  # noqa: B018
    assert type(env).__name__ == "OrderEnforcingWrapper"
    assert type(env.unwrapped).__name__ == "TextAECEnv"
    assert env.env is env.unwrapped  # pyright: ignore[reportAttributeAccessIssue] - a wrapper's own


def test_observations_are_texts_that_name_their_type():
    env = tic_tac_toe_v0.raw_env()
    env.reset(seed=0)

    observation, *_ = env.last()

    assert isinstance(observation, Observation)
    assert observation.dtype is str
    assert observation.startswith("You play X")
    assert observation in env.observation_space("player_0")


def test_spaces_hold_any_text_and_are_the_same_on_every_call():
    env = tic_tac_toe_v0.raw_env()

    for agent in env.possible_agents:
        assert env.observation_space(agent) is OBSERVATIONS
        assert env.action_space(agent) is env.action_space(agent)
        for text in ("", "[4]", "🙂\n\x00", "a" * MAX_CHARS):
            assert text in env.action_space(agent)
        for other in ("a" * (MAX_CHARS + 1), 4, None):
            assert other not in env.action_space(agent)
    assert env.action_space("player_0") is not env.action_space("player_1")


@pytest.mark.parametrize("actions", ["text", "discrete"])
def test_agents_that_are_not_there_have_no_spaces(actions):
    env = tic_tac_toe_v0.raw_env(actions=actions)

    with pytest.raises(KeyError):
        env.observation_space("player_2")
    with pytest.raises(KeyError):
        env.action_space("player_2")


def test_only_the_agent_to_move_has_a_move_to_sample():
    env = tic_tac_toe_v0.raw_env()
    env.reset(seed=0)
    first, second = (env.action_space(agent) for agent in env.agents)
    first.seed(0)

    assert {first.sample() for _ in range(200)} == {f"[{cell}]" for cell in range(9)}
    assert second.sample() == ""
    assert second.sample(mask=("[7]",)) == "[7]"
    env.step("[4]")
    assert first.sample() == ""
    assert second.sample() != ""


def test_a_space_of_moves_repeats_its_samples_from_its_seed():
    samples = []
    for _ in range(2):
        space = MoveText()
        space.legal_moves = ("a", "b", "c", "d")
        space.seed(7)
        samples.append([space.sample() for _ in range(20)])

    assert samples[0] == samples[1]


def test_environments_side_by_side_do_not_touch_each_other():
    def run(env):
        yield
        rng = random.Random(0)
        for _ in range(3):
            env.reset()
            for agent in env.agent_iter():
                observation, reward, terminated, _, info = env.last()
                log.append((env.metadata["name"], agent, observation, reward, info["turn"]))
                env.step(None if terminated else rng.choice(info["legal_moves"]))
                yield

    def seeded(game):
        env = builder(game, "raw_env")()
        env.reset(seed=4)
        return run(env)

    log: list[tuple] = []
    for game in GAMES:
        list(seeded(game))
    alone, log = log, []
    running = [seeded(game) for game in GAMES]
    rng = random.Random(1)
    while running:
        chosen = rng.choice(running)
        if next(chosen, "over") == "over":
            running.remove(chosen)

    for game in GAMES:
        assert [line for line in log if line[0] == game] == [line for line in alone if line[0] == game]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("game", GAMES)
def test_a_copy_in_the_middle_goes_on_like_the_original(game, copied):
    env = builder(game, "raw_env")()
    env.reset(seed=2)
    env.action_space(env.agent_selection).seed(0)
    env.step(env.action_space(env.agent_selection).sample())
    clone = copied(env)

    while env.agents:
        action = None if env.terminations[env.agent_selection] else env.infos[env.agent_selection]["legal_moves"][0]
        env.step(action)
        before = str(env.last(observe=bool(env.agents))[0]) if env.agents else ""
        clone.step(action)
        assert clone.infos == env.infos
        assert clone.rewards == env.rewards
        assert not env.agents or str(clone.last()[0]) == before
    env.reset()
    clone.reset()
    assert clone.last()[0] == env.last()[0]


def test_rendering_shows_every_seat_and_the_end():
    env = tic_tac_toe_v0.env(render_mode="ansi")
    env.reset(seed=0)
    env.step("[4]")

    assert env.render() == (
        "X sees:\nBoard:\n 0 1 2\n 3 X 5\n 6 7 8\nYou play X. O is to move.\n\n"
        "O sees:\nBoard:\n 0 1 2\n 3 X 5\n 6 7 8\nYou play O. It is your turn."
    )
    env.step("[4]")
    assert str(env.render()).endswith("O forfeits: illegal move [4] in tic_tac_toe: X is there. Returns: X +1, O -1.")


def test_human_mode_prints_every_step(capsys):
    env = tic_tac_toe_v0.env(render_mode="human")
    env.reset(seed=0)
    env.step("[4]")

    assert capsys.readouterr().out.count("O sees:") == 2
    assert env.render() is None


def test_rendering_without_a_mode_warns():
    env = tic_tac_toe_v0.env()
    env.reset(seed=0)

    with pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None


def test_the_metadata_name_the_game():
    env = kuhn_poker_v0.env(hands=1)

    assert env.metadata == {"name": "kuhn_poker_v0", "render_modes": ["ansi", "human"], "is_parallelizable": False}
    env.reset(seed=0)
    assert str(env) == "kuhn_poker_v0"


@pytest.mark.parametrize(
    ("game", "options", "message"),
    [
        ("kuhn_pokr_v0", {}, "unknown game 'kuhn_pokr_v0': did you mean kuhn_poker_v0"),
        ("kuhn_poker_v0", {"hnds": 1}, "unknown option of kuhn_poker_v0 'hnds': did you mean hands"),
        ("kuhn_poker_v0", {"invalid_move": "forfit"}, "unknown invalid_move policy 'forfit': did you mean forfeit"),
        ("kuhn_poker_v0", {"actions": "txet"}, "unknown form of actions 'txet': did you mean text"),
        ("kuhn_poker_v0", {"render_mode": "rgb_array"}, "unknown render mode 'rgb_array': known: ansi, human"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(game, options, message):
    with pytest.raises(UnknownNameError, match=message):
        spiral_envs.make(game, **options)


def test_a_policy_that_the_game_cannot_follow_is_refused_at_once():
    pytest.importorskip("textarena")
    with pytest.raises(ValueError, match="invalid_move 'random' needs legal moves, which textarena:Nim-v0 does not"):
        spiral_envs.make("textarena:Nim-v0", invalid_move="random")


def test_options_can_stand_in_the_id():
    env = spiral_envs.make("kuhn_poker_v0(hands=1, payoff=chips)")
    env.reset(seed=0)

    play_through(env, ["[bet]", "[fold]"])

    assert env.rewards == {"player_0": 1.0, "player_1": -1.0}


def test_pettingzoo_makes_the_games_by_name():
    env = pettingzoo.make("aec", "spiral_envs/kuhn_poker_v0", hands=1, payoff="chips")
    env.reset(seed=0)
    env.step("nonsense")
    assert env.rewards == {"player_0": -2.0, "player_1": 2.0}

    parallel = pettingzoo.make("parallel", "spiral_envs/tic_tac_toe_v0")
    observations, infos = parallel.reset(seed=0)
    assert set(observations) == set(infos) == {"player_0", "player_1"}
    _, rewards, terminations, _, _ = parallel.step({"player_0": "nonsense", "player_1": "[4]"})
    assert rewards == {"player_0": -1.0, "player_1": 1.0}
    assert terminations == {"player_0": True, "player_1": True}


def test_a_game_that_is_registered_later_has_its_environments(monkeypatch):
    spec = replace(spiral_envs.find_game("tic_tac_toe_v0"), name="noughts")
    monkeypatch.setattr("spiral_envs.registry._specs", dict(_specs))

    spiral_envs.register(spec)

    env = spiral_envs.noughts_v0.env()
    env.reset(seed=0)
    assert str(env.observe("player_0")).startswith("You play X")
    assert "noughts_v0" in dir(spiral_envs)
    assert pettingzoo.make("aec", "spiral_envs/noughts_v0").metadata["name"] == "noughts_v0"


def test_the_package_has_no_other_attributes():
    with pytest.raises(AttributeError, match="has no attribute 'kuhn_poker_v7'"):
        spiral_envs.kuhn_poker_v7  # noqa: B018
