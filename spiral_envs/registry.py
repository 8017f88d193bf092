"""The registered games: one line a game, imported when first asked for."""

from __future__ import annotations

import ast
import copyreg
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from spiral_envs.errors import UnknownNameError
from spiral_envs.game import GameSpec

_MODULES: Final = {
    "tic_tac_toe_v0": "spiral_envs.games.tic_tac_toe",
    "kuhn_poker_v0": "spiral_envs.games.kuhn_poker",
    "simple_negotiation_v0": "spiral_envs.games.simple_negotiation",
    "connect_four_v0": "spiral_envs.games.connect_four",
    "breakthrough_v0": "spiral_envs.games.breakthrough",
    "nim_v0": "spiral_envs.games.nim",
    "leduc_poker_v0": "spiral_envs.games.leduc_poker",
    "liars_dice_v0": "spiral_envs.games.liars_dice",
    "pig_dice_v0": "spiral_envs.games.pig_dice",
    "snake_v0": "spiral_envs.games.snake",
    "colonel_blotto_v0": "spiral_envs.games.colonel_blotto",
    "rock_paper_scissors_v0": "spiral_envs.games.rock_paper_scissors",
    "truth_and_deception_v0": "spiral_envs.games.truth_and_deception",
    "adversarial_taboo_v0": "spiral_envs.games.adversarial_taboo",
}

_READABLE_BRIDGES: Final = {"openspiel": "spiral_envs.bridges.openspiel"}
"""The bridges to packages whose rules can be read, by what comes before the colon: `find_game(name) -> GameSpec`."""

_specs: Final[dict[str, GameSpec]] = {}
_configured: Final[dict[str, GameSpec]] = {}

_MAX_CONFIGURED: Final = 512
"""Configurations that are remembered, by every way in which they were asked for."""


def game_ids() -> tuple[str, ...]:
    """Returns the ids of all registered games, the package's own first."""
    return (*_MODULES, *(game_id for game_id in _specs if game_id not in _MODULES))


def register(spec: GameSpec) -> None:
    """Adds a game under `spec.id`, so that `make`, the trainer and the arena find it.

    Raises:
        ValueError: Another game has that id, or its name is not made of lower-case words.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", spec.name):
        raise ValueError(f"the name of a game is {spec.name!r}: expected lower-case letters, digits and underscores")
    if spec.id in _MODULES or _specs.get(spec.id, spec) is not spec:
        raise ValueError(f"game {spec.id!r} is registered already: raise its version or choose another name")
    _specs[spec.id] = spec


def find_game(game: str, /, **options: object) -> GameSpec:
    """Returns the game that `game` names, with its options set.

    Args:
        game: An id such as `kuhn_poker_v0`, or an id with options: `kuhn_poker_v0(hands=1,payoff=chips)`; or a game of
            OpenSpiel, `openspiel:leduc_poker(players=3)`.
        options: More options; they win over those in `game`.

    Raises:
        UnknownNameError: No such game or option.
        ValueError: `game` cannot be read, or the value of an option is out of its range.
    """
    # Whoever starts many matches asks for the same game again and again. The values are told apart by what they print,
    # so that a 5.0 or a True is never taken for the 5 or the 1 that it equals.
    asked_for = f"{game} with {options!r}" if options else game
    known = _specs.get(asked_for) or _configured.get(asked_for)
    if known is not None:
        return known
    bridge, colon, _ = game.partition(":")
    if colon and bridge in _READABLE_BRIDGES:
        bridged: GameSpec = import_module(_READABLE_BRIDGES[bridge]).find_game(game, **options)
        return _remember(bridged, asked_for)
    game_id, parsed = parse_game(game)
    spec = _specs.get(game_id)
    if spec is None:
        if game_id not in _MODULES:
            raise UnknownNameError("game", game_id, game_ids())
        spec = import_module(_MODULES[game_id]).SPEC
        _specs[game_id] = spec
    asked = {**parsed, **options}
    if not asked:
        return spec
    configured = spec.with_options(asked)
    return _remember(configured, asked_for)


def packaged_name(spec: GameSpec) -> str | None:
    """Returns the name by which every process finds the game; None for a game that a user has made or registered."""
    is_packaged = spec.id in _MODULES or spec.label.partition(":")[0] in _READABLE_BRIDGES
    return spec.label if is_packaged and spec in (_specs.get(spec.label), _configured.get(spec.label)) else None


def _remember(spec: GameSpec, asked_for: str) -> GameSpec:
    """Returns one object a configuration, so that its matches share their caches; the oldest ones are forgotten."""
    spec = _configured[asked_for] = _configured.setdefault(spec.label, spec)
    while len(_configured) > _MAX_CONFIGURED:
        del _configured[next(iter(_configured))]
    return spec


def _reduce(spec: GameSpec) -> Any:
    """Returns how to pickle a game: by its name where every process knows it."""
    name = packaged_name(spec)
    return object.__reduce_ex__(spec, 2) if name is None else (find_game, (name,))


# A specification knows no registry.
copyreg.pickle(GameSpec, _reduce)


def parse_game(game: str) -> tuple[str, Mapping[str, object]]:
    """Returns the id and the options in `game`; values are Python literals, or else plain words.

    Raises:
        ValueError: The parentheses or the `name=value` pairs are malformed.
    """
    game_id, parenthesis, rest = game.strip().partition("(")
    if not parenthesis:
        return game_id, {}
    if not rest.endswith(")"):
        raise ValueError(f"cannot read game {game!r}: expected name or name(option=value,...)")
    options: dict[str, object] = {}
    for pair in filter(None, (part.strip() for part in rest[:-1].split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name.isidentifier():
            raise ValueError(f"cannot read option {pair!r} of game {game!r}: expected option=value")
        if name in options:
            raise ValueError(f"option {name} stands twice in game {game!r}")
        options[name] = _literal(value)
    return game_id, options


def _literal(text: str) -> object:
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        # A text that is no literal, or nested too deep to be read as one.
        return text
    return value
