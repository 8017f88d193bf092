"""A script that tries one game of OpenSpiel, run in a process of its own: some settings end the process that asks.

    python openspiel_probe.py "universal_poker(numPlayers=3)"

It plays random games for a moment and reads all that the bridge reads. Its exit status is 0 when that works, and 3 when
this process does not know the game; otherwise the last line of its output says what is wrong.
"""

from __future__ import annotations

import random
import sys
import time
from importlib import import_module
from typing import Any, Final

UNKNOWN_GAME: Final = 3

_TRY_S: Final = 0.5

_MAX_PLIES: Final = 400


def main(text: str) -> int:
    """Returns the exit status for the game that `text` names."""
    pyspiel: Any = import_module("pyspiel")
    if text.partition("(")[0] not in pyspiel.registered_names():
        return UNKNOWN_GAME
    game = pyspiel.load_game(text)
    dynamics, chance = game.get_type().dynamics, game.get_type().chance_mode
    if dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        game = pyspiel.convert_to_turn_based(game)
    if (
        dynamics == pyspiel.GameType.Dynamics.MEAN_FIELD
        or chance == pyspiel.GameType.ChanceMode.SAMPLED_STOCHASTIC
        or text.partition("(")[0] == "crossword"
    ):
        # The bridge refuses these by what they say about themselves.
        return 0
    rng = random.Random(0)
    until = time.monotonic() + _TRY_S
    for _ in range(20):
        _play(game, rng, until)
        if time.monotonic() > until:
            break
    return 0


def _play(game: Any, rng: random.Random, until: float) -> None:
    kind = game.get_type()
    state = game.new_initial_state()
    for ply in range(_MAX_PLIES):
        if state.is_terminal() or (ply > 1 and time.monotonic() > until):
            break
        if state.is_chance_node():
            actions = [action for action, _ in state.chance_outcomes()]
        else:
            _read(game, kind, state)
            player, actions = state.current_player(), state.legal_actions()
            for action in actions[:200]:
                state.action_to_string(player, action)
        state = state.clone()
        state.apply_action(rng.choice(actions))
    if state.is_terminal():
        state.returns()
        _read(game, kind, state)


def _read(game: Any, kind: Any, state: Any) -> None:
    str(state)
    for seat in range(game.num_players()):
        if kind.provides_information_state_string:
            state.information_state_string(seat)
        if kind.provides_observation_string:
            state.observation_string(seat)
        if kind.provides_information_state_tensor:
            state.information_state_tensor(seat)
        elif kind.provides_observation_tensor:
            state.observation_tensor(seat)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        print(" ".join(str(error).split()) or repr(error))  # noqa: T201
        sys.exit(1)
