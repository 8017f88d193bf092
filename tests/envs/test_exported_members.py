"""The public surface: what other people's code calls."""

import inspect
import subprocess
import sys

import gymnasium
import pettingzoo
import pytest

import spiral_envs
from spiral_envs import solve

PUBLIC = {
    # The front door.
    "game_ids", "make", "make_match", "make_agent", "play", "register", "check_game", "find_game", "solve",
    # Games as modules.
    "kuhn_poker_v0", "tic_tac_toe_v0", "simple_negotiation_v0",
    # Rules and text.
    "Game", "Codec", "GameSpec", "CHANCE", "TERMINAL",
    # Matches, agents and records.
    "Match", "GameMatch", "View", "Reply", "Turn", "Outcome", "Termination", "Fault", "InvalidMove", "Agent", "Episode",
    # Errors.
    "MoveError", "MalformedMoveError", "IllegalMoveError", "UnknownNameError", "MissingExtraError", "BrokenLawError",
    "__version__",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_there(name):
    assert hasattr(spiral_envs, name)


@pytest.mark.parametrize("name", ["kuhn_poker_v0", "tic_tac_toe_v0", "simple_negotiation_v0"])
def test_a_game_module_builds_environments(name):
    module = getattr(spiral_envs, name)
    for builder in ("env", "raw_env", "parallel_env"):
        assert callable(getattr(module, builder))


def test_the_front_door_has_its_signatures():
    def parameters(function):
        return [
            (name, parameter.kind.name, parameter.default)
            for name, parameter in inspect.signature(function).parameters.items()
        ]

    empty = inspect.Parameter.empty
    assert parameters(spiral_envs.make_match) == [
        ("game_id", "POSITIONAL_OR_KEYWORD", empty),
        ("seed", "KEYWORD_ONLY", empty),
        ("invalid_move", "KEYWORD_ONLY", "forfeit"),
        ("game_options", "VAR_KEYWORD", empty),
    ]
    assert parameters(spiral_envs.make_agent) == [
        ("agent_string", "POSITIONAL_OR_KEYWORD", empty),
        ("seed", "KEYWORD_ONLY", 0),
    ]
    assert [name for name, _, _ in parameters(spiral_envs.play)][:2] == ["matches", "agents_by_seat"]
    assert parameters(solve.exploitability) == [
        ("game_id", "POSITIONAL_OR_KEYWORD", empty),
        ("policy", "POSITIONAL_OR_KEYWORD", empty),
        ("options", "VAR_KEYWORD", empty),
    ]


def test_the_result_of_exploitability_has_its_members():
    result = solve.exploitability(
        "kuhn_poker_v0",
        lambda view: dict.fromkeys(view.legal_moves or (), 0.5),
        hands=1,
        payoff="chips",
    )
    assert isinstance(result.nash_conv, float)
    assert len(result.best_response_values) == len(result.on_policy_values) == 2
    assert result.exploitability == result.nash_conv / 2


def test_gymnasium_and_pettingzoo_know_the_games():
    for name in ("TicTacToe", "KuhnPoker", "SimpleNegotiation"):
        assert f"spiral_envs/{name}-v0" in gymnasium.registry
    for game_id in ("tic_tac_toe_v0", "kuhn_poker_v0", "simple_negotiation_v0"):
        assert pettingzoo.make("aec", f"spiral_envs/{game_id}").possible_agents == ["player_0", "player_1"]


def test_solve_comes_with_the_package():
    # In a fresh interpreter, where nothing else has imported the module.
    code = "import spiral_envs; print(spiral_envs.solve.exploitability.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "exploitability", done.stderr


def test_importing_the_package_loads_no_heavy_dependency():
    heavy = "torch trl transformers vllm datasets textarena pyspiel"
    code = f"import spiral_envs, sys; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
