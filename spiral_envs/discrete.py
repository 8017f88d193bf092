"""A game in arrays: what learners that read no text are shown and choose from, in every environment of the game."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from numpy.typing import NDArray

from spiral_envs.game import GameSpec, Player
from spiral_envs.match import Fault, GameMatch, MatchSource, Reply
from spiral_envs.registry import find_game, game_ids

_MAX_CACHED_TABLES: Final = 1024

_MAX_CACHED_ARRAYS: Final = 8192

_MAX_CACHED_NUMBERS: Final = 2**20
"""The most numbers in the arrays that are kept for one game."""

FloatArray: TypeAlias = NDArray[np.float32]

MaskArray: TypeAlias = NDArray[np.int8]


class ArrayObservation(TypedDict):
    """What a seat is shown, as the environments of PettingZoo's classic games show it.

    Attributes:
        observation: What the seat knows, an array of `DiscreteForm.shape`.
        action_mask: 1 for every action that is legal now, else 0; all 0 when the seat is not to move.
    """

    observation: FloatArray
    action_mask: MaskArray


class LegalActions(NamedTuple):
    """The legal actions of a position.

    Attributes:
        mask: 1 for a legal action, 0 for another [number of actions]; shared, so copy it before you hand it out.
        moves: The moves, kept so that the id of the tuple stays taken.
    """

    mask: MaskArray
    moves: tuple[Any, ...]


class DiscreteGame:
    """A game with a fixed list of moves as spaces and arrays; its matches share what is computed here.

    Attributes:
        spec: The game.
        num_actions: The number of actions: the place of a move in `DiscreteForm.moves` is its action.
        shape: The shape of an observation.
        no_actions: The legal actions of a seat that is not to move.
    """

    def __init__(self, spec: GameSpec) -> None:
        """Numbers the moves.

        Raises:
            ValueError: The game has no fixed list of moves.
        """
        if spec.discrete is None:
            raise _formless(spec.id)
        self.spec = spec
        self.shape = spec.discrete.shape
        self.num_actions = len(spec.discrete.moves)
        self.no_actions = LegalActions(np.zeros(self.num_actions, np.int8), ())
        self._texts = tuple(map(spec.codec.format_move, spec.discrete.moves))
        self._actions = {move: action for action, move in enumerate(spec.discrete.moves)}
        self._features = spec.discrete.features
        # By the identity of a tuple, which is kept so that its id stays taken: a game that remembers its tuples of
        # legal moves pays once for their masks.
        self._legal: dict[int, LegalActions] = {}
        # By the state and the seat, up to a number of them: the states that come most often come first, and to replace
        # those that do not come again takes longer than to build their arrays.
        self._arrays: dict[tuple[Any, Player], FloatArray] = {}
        self._max_arrays = min(_MAX_CACHED_ARRAYS, max(1, _MAX_CACHED_NUMBERS // spec.discrete.num_features))

    def __reduce__(self) -> tuple[Callable[[GameSpec], DiscreteGame], tuple[GameSpec]]:
        """Returns how to find it again: copies of environments share it."""
        return discrete_game, (self.spec,)

    def observation_space(self) -> Dict:
        """Returns a new space of observations, of which every `ArrayObservation` of the game is an element."""
        return Dict(
            {
                "observation": Box(-np.inf, np.inf, self.shape, np.float32),
                "action_mask": Box(0, 1, (self.num_actions,), np.int8),
            }
        )

    def action_space(self) -> Discrete:
        """Returns a new space of actions; its `sample(mask)` with an `action_mask` draws a legal one."""
        return Discrete(self.num_actions)

    def legal(self, match: GameMatch) -> LegalActions:
        """Returns the legal actions of the seat to move; none when the match is over."""
        if match.seat_to_move is None:
            return self.no_actions
        moves = self.spec.game.legal_moves(match.state)
        found = self._legal.get(id(moves))
        if found is None:
            found = self._number(moves)
            if len(self._legal) >= _MAX_CACHED_TABLES:
                self._legal.clear()
            self._legal[id(moves)] = found
        return found

    def features(self, match: GameMatch, seat: Player) -> FloatArray:
        """Returns what `seat` knows, as an array of `shape`; shared, so copy it before you hand it out."""
        key = (match.state, seat)
        found = self._arrays.get(key)
        if found is None:
            numbers = self._features(*key)
            found = np.fromiter(numbers, np.float32, len(numbers)).reshape(self.shape)
            if len(self._arrays) < self._max_arrays:
                self._arrays[key] = found
        return found

    def observe(self, match: GameMatch, seat: Player, legal: LegalActions) -> ArrayObservation:
        """Returns what `seat` is shown, as new arrays; `legal` are the actions that it has now."""
        return {"observation": self.features(match, seat).copy(), "action_mask": legal.mask.copy()}

    def reply(self, action: Any, legal: LegalActions) -> str:
        """Returns what to submit for an action: the text of its move, or a fault when it is not in `legal`.

        Raises:
            TypeError: `action` is not an integer.
        """
        try:
            # numpy's integers and arrays of one integer count; 3.0 does not.
            number = operator.index(action)
        except TypeError:
            raise TypeError(f"action is {action!r}: expected an integer from 0 to {self.num_actions - 1}") from None
        if not 0 <= number < self.num_actions:
            return Reply(str(number), Fault.MALFORMED)
        text = self._texts[number]
        return text if legal.mask[number] else Reply(text, Fault.ILLEGAL)

    def _number(self, moves: tuple[Any, ...]) -> LegalActions:
        mask = np.zeros(self.num_actions, np.int8)
        mask[[self._actions[move] for move in moves]] = 1
        return LegalActions(mask, moves)


@lru_cache(maxsize=256)
def discrete_game(spec: GameSpec) -> DiscreteGame:
    """Returns a game as spaces and arrays, one object a game.

    Raises:
        ValueError: The game has no fixed list of moves.
    """
    return DiscreteGame(spec)


def discrete_game_of(source: MatchSource) -> DiscreteGame:
    """Returns the game of a source as spaces and arrays.

    Raises:
        ValueError: The game has no fixed list of moves, or its rules are not here.
    """
    if source.spec is None:
        raise _formless(source.id)
    return discrete_game(source.spec)


def _formless(game_id: str) -> ValueError:
    known = ", ".join(known for known in game_ids() if find_game(known).discrete is not None)
    return ValueError(f"{game_id} has no discrete actions, only text: the games with a fixed list of moves are {known}")
