"""What a game costs before its first turn: a fresh interpreter imports the package, starts matches and tells.

`python -m benchmarks.throughput_start spiral_envs kuhn_poker_v0` prints three numbers as JSON: the CPU time of the
import, that from then to the first text that a player is shown, and the memory of a thousand matches after three turns.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

NUM_MATCHES: Final = 5000
"""Matches that are weighed."""

WARM_UP: Final = 100
"""Matches that are dropped before: what they leave behind is the cost of the game, not of a match. More of them would
leave room in the memory of the process, in which the others would weigh nothing."""

TURNS: Final = 3
"""Turns that are taken in every match before it is weighed, where it lasts that long."""


@dataclass(frozen=True, slots=True)
class Start:
    """What was measured, each the median of some fresh interpreters.

    Attributes:
        import_s: CPU seconds of the import.
        first_turn_s: CPU seconds from then to the first text that a player is shown.
        mib_per_thousand: MiB that a thousand matches in progress keep.
    """

    import_s: float
    first_turn_s: float
    mib_per_thousand: float


def measure_start(library: str, game: str, *, repeats: int) -> Start:
    """Returns what a game costs in fresh interpreters.

    Args:
        library: A key of `LIBRARIES`.
        game: Its name there, and for TextArena the function that moves after a comma.
        repeats: The number of interpreters.
    """
    command = [sys.executable, "-m", "benchmarks.throughput_start", library, game]
    runs: list[list[float]] = []
    for _ in range(repeats):
        done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    return Start(*map(median, zip(*runs, strict=True)))


def _spiral_envs(game: str) -> Callable[[int], Any]:
    import spiral_envs

    def start(seed: int) -> Any:
        rng = random.Random(seed)
        match = spiral_envs.make_match(game, seed=seed)
        for _ in range(TURNS):
            if match.seat_to_move is not None:
                legal = match.view(match.seat_to_move).legal_moves
                assert legal, "the games that are measured list their moves"
                match.submit(rng.choice(legal))
        return match

    return start


def _textarena(game: str) -> Callable[[int], Any]:
    import textarena

    from benchmarks import throughput_textarena

    env_id, _, move = game.partition(",")
    choose_move = getattr(throughput_textarena, move)

    def start(seed: int) -> Any:
        rng = random.Random(seed)
        env = textarena.make(env_id)
        env.reset(num_players=2)
        is_done = False
        for _ in range(TURNS):
            if not is_done:
                env.get_observation()
                is_done, _info = env.step(choose_move(env.state, rng.random))
        return env

    return start


def _open_spiel(game: str) -> Callable[[int], Any]:
    import pyspiel

    loaded = pyspiel.load_game_as_turn_based(game)

    def start(seed: int) -> Any:
        rng = random.Random(seed)
        state = loaded.new_initial_state()
        turns = 0
        while turns < TURNS and not state.is_terminal():
            turns += not state.is_chance_node()
            state.apply_action(rng.choice(state.legal_actions()))
        return state

    return start


def _pettingzoo(game: str) -> Callable[[int], Any]:
    from importlib import import_module

    module = import_module(f"pettingzoo.classic.{game}")

    def start(seed: int) -> Any:
        env = module.raw_env()
        env.reset(seed=seed)
        env.last()
        return env

    return start


LIBRARIES: Final[dict[str, Callable[[str], Callable[[int], Any]]]] = {
    "spiral_envs": _spiral_envs,
    "textarena": _textarena,
    "open_spiel": _open_spiel,
    "pettingzoo": _pettingzoo,
}


def main(library: str, game: str) -> None:
    """Prints the three numbers of `Start`, measured in this interpreter."""
    begun_s = time.process_time()
    start = LIBRARIES[library](game)
    imported_s = time.process_time()
    start(0)
    shown_s = time.process_time()
    dropped = [start(seed) for seed in range(WARM_UP)]
    del dropped
    before = _resident_mib()
    kept = [start(WARM_UP + seed) for seed in range(NUM_MATCHES)]
    grown = _resident_mib() - before
    assert len(kept) == NUM_MATCHES, "alive while they are weighed"
    print(json.dumps([imported_s - begun_s, shown_s - imported_s, 1000 * grown / NUM_MATCHES]))


def _resident_mib() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    main(*sys.argv[1:])
