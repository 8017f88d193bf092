"""What the players of a recorded game saw when it was over, which its record does not hold.

The last observation in a record is from before the last move. A game whose rules are here is played once more from its
seed to find the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spiral_envs.errors import MissingExtraError, UnknownNameError
from spiral_envs.match import Fault, GameMatch, InvalidMove, Reply
from spiral_envs.registry import find_game


def final_views(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what each seat saw at the end of a game; empty where it cannot be known.

    It cannot where the rules are not here, or where they do not lead to what is recorded: the record is of another
    version of the game, or was changed.

    Args:
        record: A line of `games.jsonl`, as `Episode.to_json` writes it. Nothing in it is believed.
    """
    try:
        match = _replayed(record)
        if match is None or match.outcome is None or list(match.outcome.returns) != list(record["returns"]):
            return ()
    # What a record holds is anybody's text, and its values may be of any kind.
    except (MissingExtraError, UnknownNameError, ValueError, TypeError, KeyError, OverflowError):
        return ()
    return tuple(match.view(seat).observation for seat in range(len(match.roles)))


def _replayed(record: Mapping[str, Any]) -> GameMatch | None:
    """Returns the match after all recorded moves; None where one of them is not what the rules make of it."""
    turns = record["turns"]
    # A fault with a move was replaced by a random one, which took a random number of the match.
    is_replaced = any(turn["fault"] and turn["move"] is not None for turn in turns)
    policy = InvalidMove.RANDOM if is_replaced else InvalidMove.FORFEIT
    match = GameMatch(find_game(str(record["game"])), seed=int(record["seed"]), invalid_move=policy)
    for turn in turns:
        seat = match.seat_to_move
        if seat is None or seat != turn["seat"] or match.view(seat).observation != turn["observation"]:
            return None
        match.submit(Reply("", Fault(turn["fault"])) if turn["fault"] else str(turn["move"]))
        if match.turns[-1].move != turn["move"]:
            return None
    return match
