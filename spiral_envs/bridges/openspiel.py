"""The bridge to OpenSpiel: its games as `GameSpec`, for every law, solver, agent and shell of this package.

Games: `openspiel:NAME` or `openspiel:NAME(PARAMETER=VALUE,...)`, as OpenSpiel itself reads it, with games inside games:
    `openspiel:misere(game=tic_tac_toe())`. Parameters may also be given by name: `make("openspiel:leduc_poker",
    players=3)`. `game_statuses` says of every game whether it works here, and why not.
Rules: OpenSpiel's. A game in which players move at the same time is played turn by turn, without the later ones seeing
    the moves of the earlier ones. Chance is explicit; a game that draws its own random numbers is refused.
Texts: with perfect information OpenSpiel's text of the state, otherwise that of the seat's information state. Where
    OpenSpiel has none that tells all that the seat has seen, its observations are listed, with the seat's moves.
Moves: OpenSpiel's names of the actions in square brackets, without the mark of the player: `[Pass]`, `[e4]`. A name
    that two legal actions share is followed by the number of the action: `[Pass #7]`.
Returns: OpenSpiel's. Where they always sum to the same number, an equal part of it is taken off every seat's, so that
    they sum to 0.
Numbers: a game whose actions are named alike in all its states has a discrete form, with OpenSpiel's tensors.
Source: Lanctot et al., OpenSpiel: a framework for reinforcement learning in games (arXiv 1908.09453); version 2.0.2.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from spiral_envs.bridges.openspiel_game import Memory, SpielCodec, SpielGame, SpielState, game_of, load_pyspiel
from spiral_envs.bridges.openspiel_names import SIDES, first_decision, inner_names
from spiral_envs.bridges.openspiel_probe import UNKNOWN_GAME
from spiral_envs.bridges.openspiel_statuses import REFUSED, GameStatus, game_statuses
from spiral_envs.errors import UnknownNameError
from spiral_envs.game import DiscreteForm, GameSpec, Player

__all__ = ["UNTESTED_LAWS", "GameStatus", "find_game", "game_statuses"]

UNTESTED_LAWS: Final[Mapping[str, str]] = {
    "law 4 (information)": "Whether a text of OpenSpiel's shows more than its player may know, nobody here can say: the"
    " laws compare the texts, and the games are OpenSpiel's. In games that deal the whole deck check_game cannot change"
    " one card to see that the text hides it; the test of the bridge exchanges two instead.",
    "law 0 (sound rules)": "The games of up to thousands of moves are tested on parts of random games; game_statuses"
    " names them.",
}
"""What `check_game` cannot show of the games here, and why."""

VERSION: Final = 0
"""The version of all these games: raised when the texts of the bridge change."""

MAX_DISCRETE_MOVES: Final = 30_000
"""A game with more actions has no discrete form."""

_PREFIX: Final = "openspiel:"

_PROBE: Final = Path(__file__).with_name("openspiel_probe.py")

_PROBE_TIMEOUT_S: Final = 60.0


def find_game(game: str, /, **options: Any) -> GameSpec:
    """Returns a game of OpenSpiel.

    Args:
        game: `openspiel:NAME` or `openspiel:NAME(PARAMETER=VALUE,...)`; the version may follow the name, as in the
            spec's own label.
        options: More parameters; they win over those in `game`. A game as a parameter is a text.

    Raises:
        MissingExtraError: OpenSpiel is not installed.
        UnknownNameError: OpenSpiel has no such game, or the game no such parameter.
        ValueError: `game` cannot be read, a value is not what OpenSpiel accepts, or the game cannot work here.
    """
    pyspiel = load_pyspiel()
    name, asked = _read(pyspiel, game, options)
    text = _written(pyspiel, name, asked)
    return _spec_of(text)


@lru_cache(maxsize=1024)
def _spec_of(text: str) -> GameSpec:
    pyspiel = load_pyspiel()
    name = text.partition("(")[0]
    for inner in sorted(inner_names(text)):
        if inner in REFUSED:
            raise _refusal(text, REFUSED[inner])
    if "(" in text or name not in _safe_names():
        _probe(text)
    try:
        kind: Any = pyspiel.load_game(text).get_type()
        reason = _unsupported(pyspiel, kind)
        if reason:
            raise _refusal(text, reason)
        rules = game_of(text)
        rules.initial_state()
    except pyspiel.SpielError as error:
        raise ValueError(f"cannot load openspiel:{text}: {_one_line(error)}") from error
    return _spec(pyspiel, text, rules)


def _spec(pyspiel: Any, text: str, rules: SpielGame) -> GameSpec:
    name = text.partition("(")[0]
    low, high = _return_range(rules)
    return GameSpec(
        name=f"{_PREFIX}{name}",
        version=VERSION,
        game=rules,
        codec=SpielCodec(rules, rules=tuple(_rules(rules, seat, (low, high)) for seat in range(rules.num_players))),
        roles=tuple(f"Player {seat}" for seat in range(rules.num_players)),
        return_range=(low, high),
        zero_sum=rules.is_constant_sum,
        perfect_information=rules.memory is Memory.POSITION,
        discrete=_discrete(rules),
        options=_parameters(pyspiel, text),
    )


def _read(pyspiel: Any, game: str, options: Mapping[str, object]) -> tuple[str, dict[str, Any]]:
    """Returns the name and the parameters that `game` and `options` ask for.

    Raises:
        UnknownNameError: There is no such game or parameter.
        ValueError: `game` cannot be read, or a value is of another type than OpenSpiel's.
    """
    body = game.strip().removeprefix(_PREFIX).strip()
    name, parenthesis, rest = body.partition("(")
    name = name.strip().removesuffix(f"_v{VERSION}")
    if name not in pyspiel.registered_names():
        raise UnknownNameError("game of OpenSpiel", name, pyspiel.registered_names())
    rest = "(" + re.sub(r"\s*([=,()])\s*", r"\1", rest.strip()) if parenthesis else "()"
    if not _is_balanced(rest):
        raise ValueError(f"cannot read game {game!r}: expected {_PREFIX}name or {_PREFIX}name(parameter=value,...)")
    try:
        asked: dict[str, Any] = pyspiel.game_parameters_from_string(name + rest)
    except (pyspiel.SpielError, IndexError) as error:
        raise ValueError(f"cannot read game {game!r}: {_one_line(error)}") from error
    del asked["name"]
    accepted = _accepted(pyspiel, name)
    asked.update(options)
    for option, value in asked.items():
        if option not in accepted:
            raise UnknownNameError(f"option of {_PREFIX}{name}", option, accepted)
        asked[option] = _value(pyspiel, name, option, value, accepted[option])
    return name, asked


def _value(pyspiel: Any, name: str, option: str, value: object, default: object) -> Any:
    """Returns `value` as OpenSpiel takes it, `default` being one that it takes.

    Raises:
        ValueError: It is of another type.
    """
    if isinstance(default, dict):
        return _inner_game(pyspiel, name, option, value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, str) and type(value) in {int, float}:
        return str(value)
    if type(value) is not type(default):
        kind = type(default).__name__
        raise ValueError(f"option {option} of {_PREFIX}{name} is {value!r}: expected a value of type {kind}")
    return value


def _inner_game(pyspiel: Any, name: str, option: str, value: Any) -> dict[str, Any]:
    """Returns a game inside a game: OpenSpiel has read those in parentheses, and others come as a text."""
    if isinstance(value, dict):
        return value  # pyright: ignore[reportUnknownVariableType] - of names and parameters
    if not isinstance(value, str) or not value:
        raise ValueError(f"option {option} of {_PREFIX}{name} is {value!r}: expected the name of a game")
    inner, asked = _read(pyspiel, value, {})
    return {"name": inner, **asked}


def _written(pyspiel: Any, name: str, asked: Mapping[str, Any]) -> str:
    """Returns the name with the parameters that differ from their default, as OpenSpiel reads it."""
    accepted = _accepted(pyspiel, name)
    # What OpenSpiel lists as the default of a parameter that must be given is none.
    keeps_all = name in _not_loadable_alone()
    changed = {option: value for option, value in asked.items() if keeps_all or value != accepted[option]}
    text: str = pyspiel.game_parameters_to_string({"name": name, **changed})
    return text.removesuffix("()")


def _parameters(pyspiel: Any, text: str) -> dict[str, object]:
    parameters: dict[str, Any] = pyspiel.game_parameters_from_string(text)
    return {
        option: pyspiel.game_parameters_to_string(value) if isinstance(value, dict) else value
        for option, value in parameters.items()
        if option != "name"
    }


def _accepted(pyspiel: Any, name: str) -> dict[str, object]:
    """Returns the default of every parameter of a game."""
    return _specifications(pyspiel)[name]


@lru_cache(maxsize=1)
def _specifications(pyspiel: Any) -> dict[str, dict[str, object]]:
    return {kind.short_name: dict(kind.parameter_specification) for kind in pyspiel.registered_games()}


@lru_cache(maxsize=1)
def _not_loadable_alone() -> frozenset[str]:
    return frozenset(kind.short_name for kind in load_pyspiel().registered_games() if not kind.default_loadable)


def _is_balanced(text: str) -> bool:
    """Whether `text` is one pair of parentheses, with others closed inside."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth <= 0:
            return depth == 0 and index == len(text) - 1
    return False


def _unsupported(pyspiel: Any, kind: Any) -> str:
    """Returns why a game of this kind cannot work here; empty when it can."""
    types = pyspiel.GameType
    if kind.dynamics == types.Dynamics.MEAN_FIELD:
        return "it is a mean-field game, which has no number of players"
    if kind.chance_mode == types.ChanceMode.SAMPLED_STOCHASTIC:
        return "it draws its own random numbers, so that its chance has no probabilities"
    if not kind.provides_information_state_string and not kind.provides_observation_string:
        return "it has no text for a player"
    return ""


def _refusal(text: str, reason: str) -> ValueError:
    return ValueError(f"{_PREFIX}{text} cannot work here: {reason}")


def _safe_names() -> frozenset[str]:
    """Returns the games whose default is known not to end the process."""
    return frozenset(status.name for status in game_statuses() if status.works)


def _probe(text: str) -> None:
    """Returns when `text` could be loaded and played in another process, which OpenSpiel may end.

    Raises:
        ValueError: It could not.
    """
    try:
        tried = subprocess.run(
            [sys.executable, "-P", str(_PROBE), text],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _refusal(text, f"OpenSpiel did not play it in {_PROBE_TIMEOUT_S:g} seconds") from None
    if tried.returncode in {0, UNKNOWN_GAME}:
        # A game that only this process knows was written in Python, which raises rather than ends the process.
        return
    said = tried.stdout.strip() or (tried.stderr.strip().splitlines() or [""])[-1]
    if tried.returncode < 0:
        raise _refusal(text, f"OpenSpiel ends the process{': ' + said if said else ''}")
    raise ValueError(f"cannot load {_PREFIX}{text}: {_one_line(said)}")


def _one_line(error: object) -> str:
    """Returns what an error of OpenSpiel says, on one line and without the place in its source."""
    return re.sub(r"\S*/open_spiel/\S+:[0-9]+ ", "", " ".join(str(error).split()))[:300]


def _return_range(rules: SpielGame) -> tuple[float, float]:
    low = float(rules.game.min_utility()) - rules.centre
    high = float(rules.game.max_utility()) - rules.centre
    if rules.is_constant_sum and rules.num_players == 2:
        bound = max(abs(low), abs(high))
        return -bound, bound
    # Before its end a game pays 0, which is within the range too.
    return min(low, 0.0), max(high, 0.0)


def _discrete(rules: SpielGame) -> DiscreteForm | None:
    """Returns the game in numbers, or None for one without a fixed list of moves or without a tensor."""
    kind = rules.game.get_type()
    if rules.names.table is None or len(rules.names.numbers) > MAX_DISCRETE_MOVES:
        return None
    if kind.provides_information_state_tensor and rules.memory is not Memory.POSITION:
        shape = rules.game.information_state_tensor_shape()
    elif kind.provides_observation_tensor:
        shape = rules.game.observation_tensor_shape()
    else:
        return None
    moves = tuple(dict.fromkeys(name for table in rules.names.table for name in table))
    return DiscreteForm(moves=moves, shape=tuple(map(int, shape)), features=rules.features)


def _rules(rules: SpielGame, seat: Player, return_range: tuple[float, float]) -> str:
    kind = rules.game.get_type()
    long_name = str(kind.long_name).removeprefix("Turn-based ") if rules.is_simultaneous else str(kind.long_name)
    low, high = return_range
    sums = " The returns of all players sum to 0." if rules.is_constant_sum and rules.num_players > 1 else ""
    together = (
        " All players choose at the same time: nobody sees what the others choose before they have chosen too."
        if rules.is_simultaneous and rules.num_players > 1
        else ""
    )
    others = "the only player" if rules.num_players == 1 else f"one of {rules.num_players} players"
    sides = [SIDES[name] for name in inner_names(rules.text) if name in SIDES]
    side = f" You play {sides[0][seat]}." if sides else ""
    examples = _first_moves(rules, seat)
    return (
        f"You are Player {seat}, {others}, in a game of {long_name} (OpenSpiel's {rules.text})."
        f"{side}{together}\n{_payoffs(rules)}"
        f"At the end you get a return from {low:g} to {high:g}; you want it to be as high as possible.{sums}\n"
        f"Your move is the name of one of the game's moves in square brackets, such as {examples}."
    )


def _first_moves(rules: SpielGame, seat: Player) -> str:
    """Returns some of the moves where `seat` first moves when all take their first move: examples, not advice."""
    moves = rules.legal_moves(SpielState(rules, first_decision(rules.game, seat), ()))
    return " or ".join(moves[:3])


def _payoffs(rules: SpielGame) -> str:
    """Returns the payoffs of a matrix game as text; empty for others, whose rules OpenSpiel does not say in words."""
    matrix = rules.matrix
    if matrix is None:
        return ""
    lines = ["Returns of Player 0 and Player 1, by their moves:"]
    for row in range(matrix.num_rows()):
        for column in range(matrix.num_cols()):
            first = matrix.player_utility(0, row, column) - rules.centre
            second = matrix.player_utility(1, row, column) - rules.centre
            lines.append(
                f"  {matrix.row_action_name(row)} against {matrix.col_action_name(column)}: {first:g} and {second:g}"
            )
    return "\n".join((*lines, ""))
