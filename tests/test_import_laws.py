import subprocess
import sys

import pytest

HEAVY = {
    "accelerate",
    "datasets",
    "jinja2",
    "matplotlib",
    "open_spiel",
    "openai",
    "pyspiel",
    "rich",
    "scipy",
    "textarena",
    "torch",
    "transformers",
    "trl",
    "vllm",
}
"""What the base install lacks; the contract `light` of import-linter lists the same packages."""

PLAY_EVERY_GAME = """
import spiral_envs

random_agent = spiral_envs.make_agent("random")
for game_id in spiral_envs.game_ids():
    match = spiral_envs.make_match(game_id, seed=0)
    list(spiral_envs.play([match], [random_agent] * len(match.roles)))
    spiral_envs.make(game_id).reset(seed=0)
"""


def modules_loaded_by(program: str) -> set[str]:
    """Returns the top-level modules that a fresh interpreter has loaded after `program`."""
    listing = "\nimport sys\nprint(*{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", program + listing], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "program",
    ["import spiral_envs", "import spiral_envs.solve, spiral_envs.prompts", PLAY_EVERY_GAME],
    ids=["import", "import of the judging modules", "play"],
)
def test_spiral_envs_loads_nothing_beyond_the_base_install(program: str):
    loaded = modules_loaded_by(program)

    assert "spiral_envs" in loaded
    assert not loaded & HEAVY


def test_importing_spiral_trl_does_not_load_torch():
    loaded = modules_loaded_by("import spiral_trl")

    assert "spiral_trl" in loaded
    assert "torch" not in loaded


def test_importing_the_games_leaves_the_global_random_numbers_alone():
    program = """
import random, numpy
random.seed(7)
numpy.random.seed(7)
before = random.getstate(), numpy.random.get_state()[1].tolist()
import spiral_envs
spiral_envs.make_match("kuhn_poker_v0", seed=0)
print((random.getstate(), numpy.random.get_state()[1].tolist()) == before)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "True"
