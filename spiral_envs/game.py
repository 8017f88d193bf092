"""What a game is: rules as pure functions on frozen values, a codec for its text, and their joint description."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from spiral_envs.errors import UnknownNameError

Player: TypeAlias = int
"""A seat, 0..n-1, or one of `CHANCE` and `TERMINAL`."""

CHANCE: Final[Player] = -1
"""`Game.to_move` of a state in which chance moves."""

TERMINAL: Final[Player] = -2
"""`Game.to_move` of a finished game."""

StateT = TypeVar("StateT")
MoveT = TypeVar("MoveT")
StateT_contra = TypeVar("StateT_contra", contravariant=True)
_TupleT = TypeVar("_TupleT", bound=tuple[Any, ...])


class _NewTuple(Protocol):
    def __call__(self, kind: type[_TupleT], fields: tuple[Any, ...], /) -> _TupleT: ...


new_tuple: Final[_NewTuple] = tuple.__new__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
"""Builds a named tuple from all its fields, in a third of its constructor's time: for what is built every turn."""


class Game(Protocol[StateT, MoveT]):
    """The rules of a game: no text, no random numbers, no hidden state.

    States and moves are hashable, immutable values. A simultaneous choice is modelled as two moves
    in a row, the first of which the second player cannot see.
    """

    @property
    def num_players(self) -> int:
        """The number of seats."""
        ...

    @property
    def max_plies(self) -> int:
        """The most decisions (moves of players, not of chance) that a game can take."""
        ...

    def initial_state(self) -> StateT:
        """Returns the state before anything has happened."""
        ...

    def to_move(self, state: StateT) -> Player:
        """Returns the seat whose move it is, `CHANCE` or `TERMINAL`."""
        ...

    def legal_moves(self, state: StateT) -> tuple[MoveT, ...]:
        """Returns the moves of the seat to move in a fixed order; empty at chance and terminal states."""
        ...

    def chance_outcomes(self, state: StateT) -> tuple[tuple[MoveT, float], ...]:
        """Returns chance's moves with their probabilities, which sum to 1; empty elsewhere."""
        ...

    def next_state(self, state: StateT, move: MoveT) -> StateT:
        """Returns the state after `move`.

        Raises:
            IllegalMoveError: `move` is not legal in `state`.
        """
        ...

    def returns(self, state: StateT) -> tuple[float, ...]:
        """Returns the payoff of every seat; all zeros before the end."""
        ...


class Codec(Protocol[StateT_contra, MoveT]):
    """The text of a game: the only place where its English and its move syntax live."""

    def rules(self, seat: Player) -> str:
        """Returns what `seat` is told before the game: what it is, what it wants, how it moves."""
        ...

    def observe(self, state: StateT_contra, seat: Player) -> str:
        """Returns what `seat` knows about `state`, and nothing that it may not know."""
        ...

    def format_move(self, move: MoveT) -> str:
        """Returns the text of a player's move, such as `[4]`."""
        ...

    def parse_move(self, state: StateT_contra, text: str) -> MoveT:
        """Returns the legal move that `text` says; its square brackets may be missing.

        Raises:
            MalformedMoveError: `text` is not a move in any state.
            IllegalMoveError: it is a move, but not legal in `state`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DiscreteForm:
    """A game in numbers, for learners that read no text: a fixed list of moves, and what a seat knows as numbers.

    Attributes:
        moves: Every move of a player that is legal somewhere, once; its place is the number of the action.
        shape: The shape of an observation.
        features: Returns what a seat knows of a state, no more than the text says and enough to play by: as many
            numbers as `shape` has places, the last axis running fastest.
    """

    # A registry holds games of every state and move type, which only Any can say.
    moves: tuple[Any, ...]
    shape: tuple[int, ...]
    features: Callable[[Any, Player], Sequence[float]]

    @property
    def num_features(self) -> int:
        """How many numbers an observation has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class GameSpec:
    """A registered game: rules, text and the facts that are true of every match.

    Attributes:
        name: Lower-case name without the version, such as `kuhn_poker`.
        version: Raised whenever the rules or the wording change.
        game: The rules.
        codec: The text.
        roles: What the rules give each seat, one short name a seat (`X`, `Player 1`).
        zero_sum: Whether the returns of every match sum to 0.
        return_range: The lowest and the highest return by the rules; with more than two seats a forfeit may cost more,
            see `spiral_envs.match.forfeit_returns`.
        perfect_information: Whether every player sees the whole state.
        knowledge: What a seat knows of a state that matters to its play, as a value for search agents; None when the
            game says it only in words, and unused with perfect information.
        talk: Whether a move may carry words of the player's own; `Game.legal_moves` then lists samples, and more texts
            are legal than it lists.
        discrete: The game in numbers; None for a game without a fixed list of moves.
        options: The options that differ from their default, by name.
        configure: Builds the same game with other options; None for a game without options.
        id: The id without options, such as `kuhn_poker_v0`.
        label: The id with the options that differ from their default, such as `kuhn_poker_v0(hands=1)`.
    """

    name: str
    version: int
    # A registry holds games of every state and move type, which only Any can say.
    game: Game[Any, Any]
    codec: Codec[Any, Any]
    roles: tuple[str, ...]
    return_range: tuple[float, float]
    zero_sum: bool = True
    perfect_information: bool = False
    knowledge: Callable[[Any, Player], object] | None = None
    talk: bool = False
    discrete: DiscreteForm | None = None
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    configure: Callable[..., GameSpec] | None = None
    id: str = field(init=False)
    label: str = field(init=False)

    def __post_init__(self) -> None:
        """Sets `id` and `label`, and checks that the parts fit together.

        Raises:
            ValueError: They do not.
        """
        game_id = f"{self.name}_v{self.version}"
        options = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        object.__setattr__(self, "id", game_id)
        object.__setattr__(self, "label", f"{game_id}({options})" if options else game_id)
        if len(self.roles) != self.game.num_players:
            raise ValueError(f"{self.id}: expected {self.game.num_players} roles, got {self.roles!r}")
        low, high = self.return_range
        if low > high or (self.zero_sum and self.game.num_players == 2 and low != -high):
            raise ValueError(f"{self.id}: return_range {self.return_range!r} does not fit a zero-sum game of two")

    def __deepcopy__(self, memo: object) -> GameSpec:
        """Returns itself: a spec is immutable, so that copies of matches share it."""
        return self

    def known_to(self, seat: Player, state: Any) -> Any:
        """Returns what `seat` knows of `state` as a value: all of it with perfect information; None if unsaid."""
        if self.perfect_information:
            return state
        return None if self.knowledge is None else self.knowledge(state, seat)

    def with_options(self, options: Mapping[str, object]) -> GameSpec:
        """Returns the same game with `options` in place of its defaults.

        Raises:
            UnknownNameError: The game has no such option.
            ValueError: A value is out of its range.
        """
        if not options:
            return self
        defaults: dict[str, object] = {}
        if self.configure is not None:
            defaults = {name: option.default for name, option in inspect.signature(self.configure).parameters.items()}
        for name in options:
            if name not in defaults:
                raise UnknownNameError(f"option of {self.id}", name, defaults)
        assert self.configure is not None, "a game without options has no known option"
        # Every value is checked, those that equal their default included: 5.0 is no number of hands.
        configured = self.configure(**options)
        changed = {name: value for name, value in options.items() if value != defaults[name]}
        return replace(configured, options=changed, configure=self.configure) if changed else self
