"""A game in arrays: what learners that read no text are shown and choose from, in every environment of the game."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import lru_cache
from sys import getrefcount
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from numpy.typing import NDArray

from spiral_envs.game import GameSpec, Player
from spiral_envs.match import Fault, GameMatch, MatchSource, Reply
from spiral_envs.registry import find_game, game_ids

_MAX_CACHED_TABLES: Final = 1024

_MAX_CACHED_NUMBERS: Final = 2**20
"""The most numbers of observations that are kept for one game."""

_HELD_HERE: Final = 2
"""What `sys.getrefcount` says of a tuple that nobody but its caller holds."""

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
        texts: The texts of their moves, by action.
        moves: The moves, kept so that the id of the tuple stays taken.
    """

    mask: MaskArray
    texts: dict[int, str]
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
        self.no_actions = LegalActions(np.zeros(self.num_actions, np.int8), {}, ())
        self._moves = spec.discrete.moves
        self._features = spec.discrete.features
        self._actions = {move: action for action, move in enumerate(self._moves)}
        # By the identity of a tuple, which is kept so that its id stays taken: a game that remembers its tuples of
        # legal moves and features pays once for their arrays.
        self._legal: dict[int, LegalActions] = {}
        self._arrays: dict[int, tuple[Sequence[float], FloatArray]] = {}
        self._max_arrays = max(1, _MAX_CACHED_NUMBERS // spec.discrete.num_features)

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
        numbers = self._features(match.state, seat)
        found = self._arrays.get(id(numbers))
        if found is not None:
            return found[1]
        new = np.array(numbers, np.float32).reshape(self.shape)
        # A tuple that the game does not keep will not come again.
        if getrefcount(numbers) > _HELD_HERE:
            if len(self._arrays) >= self._max_arrays:
                self._arrays.clear()
            self._arrays[id(numbers)] = (numbers, new)
        return new

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
        text = legal.texts.get(number)
        if text is not None:
            return text
        if 0 <= number < self.num_actions:
            return Reply(self.spec.codec.format_move(self._moves[number]), Fault.ILLEGAL)
        return Reply(str(number), Fault.MALFORMED)

    def _number(self, moves: tuple[Any, ...]) -> LegalActions:
        format_move = self.spec.codec.format_move
        texts = {self._actions[move]: format_move(move) for move in moves}
        mask = np.zeros(self.num_actions, np.int8)
        mask[list(texts)] = 1
        return LegalActions(mask, texts, moves)


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
