"""Where the matches of a game come from: the registered games, and bridges to the games of other packages."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from importlib import import_module
from typing import Final

from spiral_envs.errors import UnknownNameError
from spiral_envs.game import GameSpec
from spiral_envs.match import GameMatch, MatchSource
from spiral_envs.registry import find_game

_BRIDGES: Final = {
    "textarena": "spiral_envs.bridges.textarena",
    "pettingzoo": "spiral_envs.bridges.pettingzoo",
}
"""The bridges to environments, by what comes before the colon: `find_source(game, **options) -> MatchSource`."""

BRIDGES: Final = (*_BRIDGES, "openspiel")
"""What may come before the colon."""

_MAX_KNOWN: Final = 1024

_known: Final[dict[str, MatchSource]] = {}


def find_source(game: str, /, **options: object) -> MatchSource:
    """Returns where the matches of `game` come from.

    Args:
        game: A registered id, with options in parentheses if you like, `openspiel:NAME(PARAMETERS)`, `textarena:ID` or
            `pettingzoo:NAME`.
        options: More options; they win over those in `game`.

    Raises:
        MissingExtraError: The bridge's package is not installed.
        UnknownNameError: No such game or option.
        ValueError: The game cannot work here, for the reason that is given, or an option is out of its range.
    """
    # Whoever starts many matches asks for the same game again and again.
    known = None if options else _known.get(game)
    if known is not None:
        return known
    bridge, colon, _ = game.partition(":")
    if colon and bridge in _BRIDGES:
        find: Callable[..., MatchSource] = import_module(_BRIDGES[bridge]).find_source
        return find(game, **options)
    if colon and bridge not in BRIDGES:
        raise UnknownNameError("bridge", bridge, BRIDGES)
    source = source_of(find_game(game, **options))
    if not options and len(_known) < _MAX_KNOWN:
        _known[game] = source
    return source


@lru_cache(maxsize=1024)
def source_of(spec: GameSpec) -> MatchSource:
    """Returns the source of the matches of a game whose rules are here, registered or not."""
    return MatchSource(
        id=spec.id,
        label=spec.label,
        roles=spec.roles,
        zero_sum=spec.zero_sum,
        return_range=spec.return_range,
        start=partial(GameMatch, spec),
        spec=spec,
    )
