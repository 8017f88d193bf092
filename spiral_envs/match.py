"""One game in progress: whose turn it is, who may see what, what a reply does, and how it ended."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol, Self, SupportsIndex

from spiral_envs.chance import uniform
from spiral_envs.errors import IllegalMoveError, MalformedMoveError, MoveError, UnknownNameError
from spiral_envs.extraction import Rule, extract
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player, new_tuple

_MAX_CACHED_TABLES: Final = 1024


class Fault(StrEnum):
    """What a player did wrong. An error of the program is none of these: it raises."""

    MALFORMED = "malformed"
    """The reply holds no move."""

    ILLEGAL = "illegal"
    """The reply holds a move that is not allowed here."""

    TRUNCATED = "truncated"
    """The reply was cut by the length limit."""

    PROMPT_TOO_LONG = "prompt_too_long"
    """The prompt left no room for a reply in the context."""


class InvalidMove(StrEnum):
    """What a fault costs."""

    FORFEIT = "forfeit"
    """The offender gets the lowest return of the game, and the others share what it loses; see `forfeit_returns`."""

    RANDOM = "random"
    """A legal move drawn uniformly from the match's own random numbers is played instead."""


class Termination(StrEnum):
    """Why a match ended."""

    FINISHED = "finished"
    """The rules ended the game."""

    FORFEIT = "forfeit"
    """A player's fault ended it."""


class View(NamedTuple):
    """What one player is shown.

    Attributes:
        text: Everything the player needs in order to move: the rules for its role, then the observation.
        role: What the rules give this seat (`X`, `Player 1`).
        seat: 0..n-1.
        legal_moves: The texts of the legal moves, in the game's order; empty when it is not this
            seat's turn; None when the game cannot list them.
        turn: How many turns the players have taken so far.
        rules: The first part of `text`.
        observation: The second part of `text`, which changes from turn to turn.
        game: The game's label, with its options.
        state: What the seat knows of the game's state, as a value for search agents: with perfect information the
            state itself; None when the game says it only in words.
    """

    text: str
    role: str
    seat: Player
    legal_moves: tuple[str, ...] | None
    turn: int
    rules: str
    observation: str
    game: str
    # The type of a state belongs to the game; only an agent that knows the game reads it.
    state: Any = None


class Reply(str):
    """A reply that carries what its agent knows about it beyond the text.

    Attributes:
        fault: Set by an agent that knows the reply to be unusable (cut by the length limit, or never
            generated); the match then charges the fault without reading the text.
    """

    fault: Fault | None

    def __new__(cls, text: str = "", fault: Fault | None = None) -> Self:
        """Returns `text` as a reply, with the fault that makes it unusable, if any."""
        reply = super().__new__(cls, text)
        reply.fault = fault
        return reply


class Turn(NamedTuple):
    """One turn that was taken.

    Attributes:
        seat: Who took it.
        observation: What the player saw, without the rules.
        response: The reply as submitted, reasoning included; only `move` reaches the other players.
        move: The text of the move that was played; None where the match ended on a fault.
        rule: How the move was found in the reply.
        fault: What was wrong with the reply, or None.
        reason: The fault in words; empty without one.
        trainable: Whether a learner may learn from this turn.
    """

    seat: Player
    observation: str
    response: str
    move: str | None
    rule: Rule
    fault: Fault | None
    reason: str
    trainable: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a match ended: facts, from which rewards are computed elsewhere.

    Attributes:
        returns: The payoff of every seat.
        termination: Why it ended.
        offender: The seat whose fault ended it, or None.
        fault: That fault, or None.
        reason: One sentence.
    """

    returns: tuple[float, ...]
    termination: Termination
    offender: Player | None = None
    fault: Fault | None = None
    reason: str = ""


class Match(Protocol):
    """One game in progress, wherever its rules come from."""

    @property
    def game(self) -> str:
        """The game's label, with its options."""
        ...

    @property
    def roles(self) -> tuple[str, ...]:
        """The role of every seat."""
        ...

    @property
    def seed(self) -> int:
        """The seed of the match's random numbers."""
        ...

    @property
    def zero_sum(self) -> bool:
        """Whether the returns sum to 0."""
        ...

    @property
    def seat_to_move(self) -> Player | None:
        """The seat that must reply; None when the match is over."""
        ...

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None before the end."""
        ...

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns taken so far."""
        ...

    def view(self, seat: Player) -> View:
        """Returns what `seat` is shown now; reading changes nothing."""
        ...

    def submit(self, response: str) -> None:
        """Plays the reply of the seat to move, or applies the invalid-move policy to it.

        Raises:
            RuntimeError: The match is over.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchSource:
    """Where matches of one game come from: its rules here, or a bridge to another package.

    Attributes:
        id: The id without options.
        label: The id with the options that differ from their default.
        roles: What the rules give each seat.
        zero_sum: Whether the returns of every match sum to 0.
        return_range: The lowest and the highest return that a seat can get.
        start: Starts a match, given `seed` and `invalid_move` by name; raises UnknownNameError for a policy that does
            not exist, and ValueError for one that the source cannot keep.
        spec: The rules; None where they cannot be read, as in a bridge to an environment.
    """

    id: str
    label: str
    roles: tuple[str, ...]
    zero_sum: bool
    return_range: tuple[float, float]
    start: StartMatch
    spec: GameSpec | None = None


class StartMatch(Protocol):
    """Starts a match of a source."""

    def __call__(self, *, seed: SupportsIndex, invalid_move: str = InvalidMove.FORFEIT) -> Match:
        """Returns a new match."""
        ...


def forfeit_returns(
    offender: Player, *, num_seats: int, return_range: tuple[float, float], zero_sum: bool
) -> tuple[float, ...]:
    """Returns the payoffs of a match that the fault of `offender` ended.

    In a zero-sum game of two the offender gets the lowest return and the other its negative. With more players the
    others share the offender's loss, which is rounded up to a multiple of their number, so that the sum is exactly 0.
    In other games the others get 0, or the return nearest to it.
    """
    low, high = return_range
    if not zero_sum:
        others = min(max(0.0, low), high)
    elif num_seats == 2:
        others = -low
    else:
        others = float(math.ceil(-low / (num_seats - 1)))
        low = -others * (num_seats - 1)
    return tuple(low if seat == offender else others for seat in range(num_seats))


def make_view(spec: GameSpec, state: Any, seat: Player, *, turn: int) -> View:
    """Returns what `seat` is shown of `state` after `turn` turns, as a match would show it."""
    legal = _move_texts(spec).of(state).texts if spec.game.to_move(state) == seat else ()
    return _view(spec, state, seat, spec.codec.observe(state, seat), legal, turn)


class GameMatch:
    """A match of a native game: `Match` over a `GameSpec`.

    The same seed and the same replies give the same match, whatever else runs in the process. The random numbers are
    those of `spiral_envs.chance`: a match holds its seed and how many numbers it has drawn.
    """

    __slots__ = (
        "_draws",
        "_legal",
        "_move_texts",
        "_observation",
        "_policy",
        "_state",
        "_turns",
        "outcome",
        "seat_to_move",
        "seed",
        "spec",
    )

    def __init__(self, spec: GameSpec, *, seed: SupportsIndex, invalid_move: str = InvalidMove.FORFEIT) -> None:
        """Starts a match.

        Args:
            spec: The game.
            seed: Decides every chance move: an integer from 0, of any size.
            invalid_move: A value of `InvalidMove`.

        Raises:
            UnknownNameError: `invalid_move` is no such value.
            ValueError: `seed` is negative.
        """
        policy = _POLICIES.get(invalid_move)
        if policy is None:
            raise UnknownNameError("invalid_move policy", invalid_move, _POLICIES)
        self.spec = spec
        self.seed = operator.index(seed)
        self.outcome: Outcome | None = None
        self.seat_to_move: Player | None = None
        self._policy = policy
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: expected an integer from 0")
        self._draws = 0
        self._turns: list[Turn] = []
        self._move_texts = _move_texts(spec)
        self._settle(spec.game.initial_state())

    def __getstate__(self) -> tuple[Any, ...]:
        """Returns everything but what follows from it; the turns as a value, so that copies do not share them."""
        turns = tuple(self._turns)
        return (self.spec, self.seed, self.outcome, self.seat_to_move, self._policy, self._draws, turns, self._state)

    def __setstate__(self, kept: tuple[Any, ...]) -> None:
        """Restores what `__getstate__` returned."""
        self.spec, self.seed, self.outcome, self.seat_to_move, self._policy, self._draws, turns, self._state = kept
        self._turns = list(turns)
        self._move_texts = _move_texts(self.spec)
        self._legal, self._observation = _NO_MOVES, ""
        if self.seat_to_move is not None:
            self._legal = self._move_texts.of(self._state)
            self._observation = self.spec.codec.observe(self._state, self.seat_to_move)

    @property
    def game(self) -> str:
        """The game's label, with its options."""
        return self.spec.label

    @property
    def roles(self) -> tuple[str, ...]:
        """The role of every seat."""
        return self.spec.roles

    @property
    def zero_sum(self) -> bool:
        """Whether the returns sum to 0."""
        return self.spec.zero_sum

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns taken so far."""
        return tuple(self._turns)

    def view(self, seat: Player) -> View:
        """Returns what `seat` is shown now.

        Raises:
            ValueError: There is no such seat.
        """
        spec = self.spec
        if seat == self.seat_to_move:
            return _view(spec, self._state, seat, self._observation, self._legal.texts, len(self._turns))
        if not 0 <= seat < len(spec.roles):
            raise ValueError(f"{spec.label} has seats 0 to {len(spec.roles) - 1}, not {seat!r}")
        return _view(spec, self._state, seat, spec.codec.observe(self._state, seat), (), len(self._turns))

    def submit(self, response: str) -> None:
        """Plays the reply of the seat to move, or applies the invalid-move policy to it.

        Raises:
            RuntimeError: The match is over.
        """
        if self.seat_to_move is None:
            raise RuntimeError(f"this match of {self.game} is over: start another")
        if isinstance(response, Reply) and response.fault is not None:
            self._charge(response, Rule.NONE, response.fault, _FAULT_REASONS[response.fault])
            return
        legal = self._legal
        # A longer reply is no move's own text, and looking it up would mean to hash it.
        move = legal.by_text.get(response) if len(response) <= legal.max_chars else None
        if move is None:
            self._read(response)
        else:
            self._play(response, move, response, _OWN_TEXT)

    def _read(self, response: str) -> None:
        """Plays the move that stands somewhere in `response`, or charges the fault."""
        by_text = self._legal.by_text
        stripped = response.strip()
        own = by_text.get(stripped) if len(stripped) <= self._legal.max_chars else None
        if own is not None:
            self._play(response, own, stripped, Rule.OWN_TEXT)
            return
        rule, answer, reason = extract(response, self._is_move_syntax)
        if rule is Rule.NONE:
            self._charge(response, rule, Fault.MALFORMED, reason)
            return
        for text in (answer, f"[{answer}]"):
            move = by_text.get(text)
            if move is not None:
                self._play(response, move, text, rule)
                return
        codec = self.spec.codec
        try:
            move = codec.parse_move(self._state, answer)
        except MoveError as error:
            fault = Fault.ILLEGAL if isinstance(error, IllegalMoveError) else Fault.MALFORMED
            self._charge(response, rule, fault, str(error))
            return
        self._play(response, move, codec.format_move(move), rule)

    def _is_move_syntax(self, token: str) -> bool:
        try:
            self.spec.codec.parse_move(self._state, token)
        except MalformedMoveError:
            return False
        except IllegalMoveError:
            return True
        return True

    def _play(
        self, response: str, move: Any, text: str, rule: Rule, fault: Fault | None = None, reason: str = ""
    ) -> None:
        seat = self.seat_to_move
        assert seat is not None, "checked by submit"
        turn = new_tuple(Turn, (seat, self._observation, response, text, rule, fault, reason, True))
        self._settle(self.spec.game.next_state(self._state, move))
        self._turns.append(turn)

    def _charge(self, response: str, rule: Rule, fault: Fault, reason: str) -> None:
        offender = self.seat_to_move
        assert offender is not None, "checked by submit"
        if self._policy is InvalidMove.RANDOM:
            legal = self._legal
            index = int(uniform(self.seed, self._draws) * len(legal.moves))
            self._draws += 1
            self._play(response, legal.moves[index], legal.texts[index], rule, fault, reason)
            return
        self._turns.append(Turn(offender, self._observation, response, None, rule, fault, reason))
        spec = self.spec
        returns = forfeit_returns(
            offender, num_seats=len(spec.roles), return_range=spec.return_range, zero_sum=spec.zero_sum
        )
        self.outcome = Outcome(
            returns, Termination.FORFEIT, offender, fault, f"{self.roles[offender]} forfeits: {reason}"
        )
        self.seat_to_move = None

    def _settle(self, state: Any) -> None:
        """Goes on from `state`: plays chance moves until a player is to move or the game is over.

        Everything is computed before anything changes, so that an error of the game leaves the match as it was.
        """
        spec, draws = self.spec, self._draws
        game = spec.game
        player = game.to_move(state)
        while player == CHANCE:
            state = game.next_state(state, _pick(game.chance_outcomes(state), uniform(self.seed, draws)))
            draws += 1
            player = game.to_move(state)
        if player == TERMINAL:
            self.outcome = _finished(game.returns(state))
            self.seat_to_move, self._legal, self._observation = None, _NO_MOVES, ""
        else:
            legal, observation = self._move_texts.of(state), spec.codec.observe(state, player)
            self.seat_to_move, self._legal, self._observation = player, legal, observation
        self._state, self._draws = state, draws


class _Moves(NamedTuple):
    """The legal moves of a position.

    Attributes:
        moves: The moves, kept so that the id of the tuple stays taken.
        texts: Their texts.
        by_text: The moves by their texts.
        max_chars: The length of the longest text.
    """

    moves: tuple[Any, ...]
    texts: tuple[str, ...]
    by_text: dict[str, Any]
    max_chars: int


class _MoveTexts:
    """The texts of a game's moves, which all its matches share.

    They are remembered by the identity of the tuple of legal moves: a game that returns the same tuple for the same
    position pays for its texts once.
    """

    __slots__ = ("_known", "_spec")

    def __init__(self, spec: GameSpec) -> None:
        """Remembers nothing yet."""
        self._spec = spec
        self._known: dict[int, _Moves] = {}

    def of(self, state: Any) -> _Moves:
        """Returns the legal moves of `state`."""
        moves = self._spec.game.legal_moves(state)
        found = self._known.get(id(moves))
        if found is None:
            texts = tuple(map(self._spec.codec.format_move, moves))
            found = _Moves(moves, texts, dict(zip(texts, moves, strict=True)), max(map(len, texts), default=0))
            if len(self._known) >= _MAX_CACHED_TABLES:
                self._known.clear()
            self._known[id(moves)] = found
        return found


@lru_cache(maxsize=256)
def _move_texts(spec: GameSpec) -> _MoveTexts:
    return _MoveTexts(spec)


@lru_cache(maxsize=1024)
def _rules(spec: GameSpec, seat: Player) -> tuple[str, str]:
    """Returns the rules, and how the text of a view begins."""
    rules = spec.codec.rules(seat)
    return rules, f"{rules}\n\n"


def _view(spec: GameSpec, state: Any, seat: Player, observation: str, legal_moves: tuple[str, ...], turn: int) -> View:
    rules, opening = _rules(spec, seat)
    known = state if spec.perfect_information else spec.known_to(seat, state)
    role, label = spec.roles[seat], spec.label
    return new_tuple(View, (opening + observation, role, seat, legal_moves, turn, rules, observation, label, known))


def _pick(outcomes: tuple[tuple[Any, float], ...], threshold: float) -> Any:
    """Returns the outcome at which the cumulative probability first exceeds `threshold`."""
    for move, probability in outcomes:
        threshold -= probability
        if threshold < 0:
            return move
    return outcomes[-1][0]


@lru_cache(maxsize=1024)
def _finished(returns: tuple[float, ...]) -> Outcome:
    return Outcome(returns, Termination.FINISHED)


# Looking a member up in its enumeration takes as long as building a turn.
_OWN_TEXT: Final = Rule.OWN_TEXT

_NO_MOVES: Final = _Moves((), (), {}, 0)

_POLICIES: Final = {policy.value: policy for policy in InvalidMove}

_FAULT_REASONS: Final = {
    Fault.MALFORMED: "the reply holds no move",
    Fault.ILLEGAL: "the move is not allowed here",
    Fault.TRUNCATED: "the reply was cut by the length limit",
    Fault.PROMPT_TOO_LONG: "the prompt leaves no room for a reply",
}
