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
from spiral_envs.extraction import MAX_MOVE_CHARS, Rule, extract
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player, new_tuple

_MAX_CACHED_TABLES: Final = 1024

_MAX_SIZE: Final = 24_000_000
"""How much is remembered of the positions of a game, in characters: all of tic-tac-toe, some tens of megabytes."""

_POSITION_SIZE: Final = 2000
"""What a position takes beside what its player observes, in characters: the rules in its view, and its objects."""


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


FAULT_REASONS: Final = {
    Fault.MALFORMED: "the reply holds no move",
    Fault.ILLEGAL: "the move is not allowed here",
    Fault.TRUNCATED: "the reply was cut by the length limit",
    Fault.PROMPT_TOO_LONG: "the prompt leaves no room for a reply",
}
"""What is said of a fault that a reply brings along."""


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
        talk: Whether the player's own words are legal as well, so that `legal_moves` are samples.
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
    talk: bool = False


class Usage(NamedTuple):
    """What a reply took, as the server that wrote it counts, which is what it charges for.

    Attributes:
        prompt_tokens: What the model read.
        completion_tokens: What it wrote, hidden reasoning included.
    """

    prompt_tokens: int
    completion_tokens: int


class Reply(str):
    """A reply that carries what its agent knows about it beyond the text.

    Attributes:
        fault: Set by an agent that knows the reply to be unusable (cut by the length limit, or never
            generated); the match then charges the fault without reading the text.
        usage: What it took; None where nobody counted.
    """

    fault: Fault | None
    usage: Usage | None

    def __new__(cls, text: str = "", fault: Fault | None = None, *, usage: Usage | None = None) -> Self:
        """Returns `text` as a reply, with the fault that makes it unusable, if any, and what it took."""
        reply = super().__new__(cls, text)
        reply.fault = fault
        reply.usage = usage
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
        return_range: The lowest and the highest return by the rules; with more than two seats a forfeit may cost more,
            see `forfeit_returns`.
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


def check_start(seed: SupportsIndex, invalid_move: str) -> tuple[int, InvalidMove]:
    """Returns the arguments of a match as it keeps them.

    Raises:
        UnknownNameError: `invalid_move` is no value of `InvalidMove`.
        ValueError: `seed` is negative.
    """
    policy = _POLICIES.get(invalid_move)
    if policy is None:
        raise UnknownNameError("invalid_move policy", invalid_move, _POLICIES)
    number = operator.index(seed)
    if number < 0:
        raise ValueError(f"seed is {number}: expected an integer from 0")
    return number, policy


def forfeit(
    offender: Player,
    fault: Fault,
    reason: str,
    *,
    roles: tuple[str, ...],
    return_range: tuple[float, float],
    zero_sum: bool,
) -> Outcome:
    """Returns how a match ended that a fault of `offender` ended."""
    returns = forfeit_returns(offender, num_seats=len(roles), return_range=return_range, zero_sum=zero_sum)
    return Outcome(returns, Termination.FORFEIT, offender, fault, f"{roles[offender]} forfeits: {reason}")


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
    legal = _positions(spec).moves_of(state).texts if spec.game.to_move(state) == seat else ()
    return _view(spec, state, seat, spec.codec.observe(state, seat), legal, turn)


class GameMatch:
    """A match of a game whose rules are here: `Match` over a `GameSpec`.

    The same seed and the same replies give the same match, whatever else runs in the process. The random numbers are
    those of `spiral_envs.chance`: a match holds its seed and how many numbers it has drawn.
    """

    __slots__ = ("_draws", "_policy", "_position", "_positions", "_turns", "outcome", "seat_to_move", "seed", "spec")

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
        self.seed, self._policy = check_start(seed, invalid_move)
        self.spec = spec
        self._draws = 0
        self._turns: list[Turn] = []
        self._positions = _positions(spec)
        self.outcome: Outcome | None = None
        self.seat_to_move: Player | None = None
        self._position = position = self._positions.root
        if position.player < 0:
            self._settle(position)
        else:
            self.seat_to_move = position.player

    def __deepcopy__(self, memo: object) -> GameMatch:
        """Returns a match that goes on from here on its own: what both share is immutable."""
        copied = object.__new__(GameMatch)
        copied.spec, copied.seed, copied._policy = self.spec, self.seed, self._policy
        copied.outcome, copied.seat_to_move = self.outcome, self.seat_to_move
        copied._draws, copied._turns = self._draws, self._turns.copy()
        copied._positions, copied._position = self._positions, self._position
        return copied

    def __getstate__(self) -> tuple[Any, ...]:
        """Returns everything but what follows from it; the turns as a value, so that copies do not share them."""
        turns, state = tuple(self._turns), self._position.state
        return (self.spec, self.seed, self.outcome, self.seat_to_move, self._policy, self._draws, turns, state)

    def __setstate__(self, kept: tuple[Any, ...]) -> None:
        """Restores what `__getstate__` returned."""
        self.spec, self.seed, self.outcome, self.seat_to_move, self._policy, self._draws, turns, state = kept
        self._turns = list(turns)
        self._positions = _positions(self.spec)
        num_turns = len(turns) - (self.outcome is not None and self.outcome.termination is Termination.FORFEIT)
        self._position = _Position(self._positions, state, num_turns)

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

    @property
    def state(self) -> Any:
        """The whole state of the game, for whoever runs the match: a player may know less."""
        return self._position.state

    def view(self, seat: Player) -> View:
        """Returns what `seat` is shown now.

        Raises:
            ValueError: There is no such seat.
        """
        position = self._position
        if seat == self.seat_to_move:
            return position.view or position.make_view(self.spec)
        spec = self.spec
        if not 0 <= seat < len(spec.roles):
            raise ValueError(f"{spec.label} has seats 0 to {len(spec.roles) - 1}, not {seat!r}")
        if self.outcome is None or self.outcome.offender is None:
            return position.view_of(spec, seat)
        # The game does not know. What was wrong quotes the reply, of which nobody is shown more than a move.
        end = f"The game is over: {spec.roles[self.outcome.offender]} made an invalid move and forfeits."
        observation = f"{spec.codec.observe(position.state, seat)}\n{end}"
        return _view(spec, position.state, seat, observation, (), len(self._turns))

    def submit(self, response: str) -> None:
        """Plays the reply of the seat to move, or applies the invalid-move policy to it.

        Raises:
            RuntimeError: The match is over.
        """
        if self.seat_to_move is None:
            raise RuntimeError(f"this match of {self.game} is over: start another")
        position = self._position
        # A longer reply is no move's own text, and looking it up would mean to hash it. Other kinds of text than str
        # carry more than their characters.
        if type(response) is str and len(response) <= MAX_MOVE_CHARS:
            step = position.steps.get(response)
            if step is None and response in position.legal.known_texts:
                step = self._positions.step(position, response)
            if step is not None:
                self._go_on(*step)
                return
        if isinstance(response, Reply) and response.fault is not None:
            self._charge(response, Rule.NONE, response.fault, FAULT_REASONS[response.fault])
            return
        self._read(response)

    def play(self, move: Any) -> None:
        """Plays a move of the game itself, as if its text had been submitted.

        Raises:
            IllegalMoveError: `move` is not legal now.
            RuntimeError: The match is over.
        """
        if self.seat_to_move is None:
            raise RuntimeError(f"this match of {self.game} is over: start another")
        # Raises before anything has changed.
        self.spec.game.next_state(self._position.state, move)
        self.submit(self.spec.codec.format_move(move))

    def _read(self, response: str) -> None:
        """Plays the move that stands somewhere in `response`, or charges the fault."""
        legal = self._position.legal
        stripped = response.strip()
        if len(stripped) <= MAX_MOVE_CHARS and stripped in legal.known_texts:
            self._play(response, stripped, Rule.OWN_TEXT)
            return
        rule, answer, reason = extract(response, self._is_move_syntax)
        if rule is _NONE:
            self._charge(response, rule, Fault.MALFORMED, reason)
            return
        if answer not in legal.known_texts:
            bracketed = f"[{answer}]"
            if bracketed not in legal.known_texts:
                self._parse(response, rule, answer)
                return
            answer = bracketed
        self._play(response, answer, rule)

    def _parse(self, response: str, rule: Rule, answer: str) -> None:
        """Plays a move that is written in another way than those listed, or charges the fault."""
        codec = self.spec.codec
        try:
            move = codec.parse_move(self._position.state, answer)
        except MoveError as error:
            fault = Fault.ILLEGAL if isinstance(error, IllegalMoveError) else Fault.MALFORMED
            self._charge(response, rule, fault, str(error))
            return
        self._play_unlisted(response, move, rule)

    def _is_move_syntax(self, token: str) -> bool:
        try:
            self.spec.codec.parse_move(self._position.state, token)
        except MalformedMoveError:
            return False
        except IllegalMoveError:
            return True
        return True

    def _play(self, response: str, text: str, rule: Rule, fault: Fault | None = None, reason: str = "") -> None:
        """Plays the listed move with this text."""
        position = self._position
        _, following = position.steps.get(text) or self._positions.step(position, text)
        self._go_on(self._turn(response, text, rule, fault, reason), following)

    def _play_unlisted(self, response: str, move: Any, rule: Rule) -> None:
        """Plays a legal move that may not be among those listed, such as one with a remark."""
        spec, position = self.spec, self._position
        following = _Position(self._positions, spec.game.next_state(position.state, move), position.turn + 1)
        self._go_on(self._turn(response, spec.codec.format_move(move), rule), following)

    def _turn(self, response: str, text: str, rule: Rule, fault: Fault | None = None, reason: str = "") -> Turn:
        position = self._position
        return new_tuple(Turn, (position.player, position.observation, response, text, rule, fault, reason, True))

    def _charge(self, response: str, rule: Rule, fault: Fault, reason: str) -> None:
        position = self._position
        if self._policy is InvalidMove.RANDOM:
            texts = position.legal.texts
            index = int(uniform(self.seed, self._draws) * len(texts))
            self._draws += 1
            self._play(response, texts[index], rule, fault, reason)
            return
        spec, offender = self.spec, position.player
        self._turns.append(Turn(offender, position.observation, response, None, rule, fault, reason))
        self.outcome = forfeit(
            offender, fault, reason, roles=spec.roles, return_range=spec.return_range, zero_sum=spec.zero_sum
        )
        self.seat_to_move = None

    def _go_on(self, turn: Turn, position: _Position) -> None:
        """Records `turn`, which leads to `position`.

        Everything is computed before anything changes, so that an error of the game leaves the match as it was.
        """
        if position.player < 0:
            self._settle(position)
        else:
            self._position, self.seat_to_move = position, position.player
        self._turns.append(turn)

    def _settle(self, position: _Position) -> None:
        """Plays chance moves until a player is to move or the game is over."""
        draws, seed, positions = self._draws, self.seed, self._positions
        while position.player == CHANCE:
            if position.was_left or positions.has_room:
                position = positions.drawn(position, uniform(seed, draws))
                draws += 1
            else:
                position.was_left = True
                position, draws = positions.drawn_once(position, seed, draws)
        self._draws, self._position = draws, position
        if position.player == TERMINAL:
            self.outcome, self.seat_to_move = position.outcome, None
        else:
            self.seat_to_move = position.player


class _Moves:
    """The legal moves of a position.

    Attributes:
        moves: The moves, kept so that the id of the tuple stays taken.
        texts: Their texts.
        known_texts: The texts again; in a dictionary with the moves once they were asked for twice, since to build it
            takes as long as to look through dozens of texts.
    """

    __slots__ = ("known_texts", "moves", "texts")

    def __init__(self, moves: tuple[Any, ...], texts: tuple[str, ...]) -> None:
        """Keeps the moves as they are."""
        self.moves = moves
        self.texts = texts
        self.known_texts: tuple[str, ...] | dict[str, Any] = texts

    def index(self) -> None:
        """Builds the dictionary."""
        self.known_texts = dict(zip(self.texts, self.moves, strict=True))

    def move(self, text: str) -> Any:
        """Returns the move with this text, which is one of `texts`."""
        known = self.known_texts
        return known[text] if isinstance(known, dict) else self.moves[known.index(text)]


class _Position:
    """A state with what follows from it, computed once for all matches that come by.

    Attributes:
        state: The state.
        turn: How many turns the players have taken.
        player: Who moves.
        legal: The legal moves.
        observation: What the player to move observes.
        view: What the player to move is shown; None as long as nobody has looked.
        outcome: How the game ended; None before the end.
        outcomes: Chance's moves with their probabilities.
        steps: By the text of a move, the turn of a player who says nothing else, and where it leads.
        drawn: Where the moves of chance lead.
        others: What players who are not to move were shown, where the position is remembered.
        was_left: Whether a match has gone on from here.
        is_known: Whether the position is remembered.
    """

    # Most positions are seen once: what they do not need is left to the class.
    legal: _Moves = _Moves((), ())
    observation: str = ""
    view: View | None = None
    outcome: Outcome | None = None
    outcomes: tuple[tuple[Any, float], ...] = ()
    steps: dict[str, tuple[Turn, _Position]] = {}  # noqa: RUF012 - replaced, never written to
    drawn: dict[Any, _Position] = {}  # noqa: RUF012 - likewise
    others: dict[Player, View] = {}  # noqa: RUF012 - likewise
    was_left: bool = False
    is_known: bool = False

    def __init__(self, positions: _Positions, state: Any, turn: int) -> None:
        """Looks at `state` once."""
        self.state = state
        self.turn = turn
        self.player = player = positions.to_move(state)
        if player >= 0:
            self.legal = positions.moves_of(state)
            self.observation = positions.observe(state, player)
        elif player == TERMINAL:
            self.outcome = _finished(positions.game.returns(state))
        else:
            self.outcomes = positions.game.chance_outcomes(state)

    def make_view(self, spec: GameSpec) -> View:
        """Returns `view`, and remembers it."""
        self.view = view = _view(spec, self.state, self.player, self.observation, self.legal.texts, self.turn)
        return view

    def view_of(self, spec: GameSpec, seat: Player) -> View:
        """Returns what a player who is not to move is shown."""
        view = self.others.get(seat)
        if view is None:
            view = _view(spec, self.state, seat, spec.codec.observe(self.state, seat), (), self.turn)
            if self.is_known:
                self.others = {**self.others, seat: view}
        return view


class _Positions:
    """The positions of a game that matches come by often, and the texts of its moves.

    Every position is remembered until a quarter of `_MAX_SIZE` is taken. From then on only those that follow one which
    another match has left before: each match adds about one, near the start of a large game, in the end all of a small
    one. When all of it is taken, all are forgotten, and matches in progress keep their own.

    The texts of moves are remembered by the identity of the tuple of legal moves: a game that returns the same tuple
    for the same moves pays for its texts once.

    Attributes:
        game: The rules. Their methods that every turn calls are attributes as well, and those of the codec.
        root: The start of the game.
        has_room: Whether every position is remembered.
    """

    __slots__ = (
        "_known",
        "_moves",
        "_size",
        "format_move",
        "game",
        "has_room",
        "legal_moves",
        "next_state",
        "observe",
        "root",
        "to_move",
    )

    def __init__(self, spec: GameSpec) -> None:
        """Remembers the start."""
        game, codec = spec.game, spec.codec
        self.game, self.to_move, self.legal_moves, self.next_state = (
            game,
            game.to_move,
            game.legal_moves,
            game.next_state,
        )
        self.observe, self.format_move = codec.observe, codec.format_move
        self._moves: dict[int, _Moves] = {}
        self._known: dict[tuple[int, Any], _Position] = {}
        self._size = 0
        self.has_room = True
        self.root = self._start()

    def step(self, position: _Position, text: str) -> tuple[Turn, _Position]:
        """Returns the turn of a player who says nothing but the text of this listed move, and where it leads."""
        turn = new_tuple(Turn, (position.player, position.observation, text, text, _OWN_TEXT, None, "", True))
        state = self.next_state(position.state, position.legal.move(text))
        if not position.was_left and not self.has_room:
            position.was_left = True
            return turn, _Position(self, state, position.turn + 1)
        if not position.steps:
            position.steps = {}
        step = position.steps[text] = (turn, self._remembered(state, position.turn + 1))
        return step

    def drawn(self, position: _Position, threshold: float) -> _Position:
        """Returns the position after the move of chance at which the cumulative probability exceeds `threshold`."""
        move = _pick(position.outcomes, threshold)
        following = position.drawn.get(move)
        if following is None:
            if not position.drawn:
                position.drawn = {}
            state = self.next_state(position.state, move)
            following = position.drawn[move] = self._remembered(state, position.turn)
        return following

    def drawn_once(self, position: _Position, seed: int, draws: int) -> tuple[_Position, int]:
        """Returns the position after all the moves of chance, of which nothing is remembered, and the new `draws`."""
        game, state, player = self.game, position.state, CHANCE
        while player == CHANCE:
            state = game.next_state(state, _pick(game.chance_outcomes(state), uniform(seed, draws)))
            draws += 1
            player = game.to_move(state)
        return _Position(self, state, position.turn), draws

    def moves_of(self, state: Any) -> _Moves:
        """Returns the legal moves of `state`."""
        moves = self.legal_moves(state)
        found = self._moves.get(id(moves))
        if found is None:
            found = _Moves(moves, tuple(map(self.format_move, moves)))
            if len(self._moves) >= _MAX_CACHED_TABLES:
                self._moves.clear()
            self._moves[id(moves)] = found
        elif found.known_texts is found.texts:
            found.index()
        return found

    def _remembered(self, state: Any, turn: int) -> _Position:
        key = (turn, state)
        position = self._known.get(key)
        if position is None:
            if self._size >= _MAX_SIZE:
                self._known.clear()
                self._size = 0
                self.root = self._start()
            position = self._known[key] = _Position(self, state, turn)
            position.is_known = True
            # The text stands in the view once more, and states may keep what was said so far for both seats.
            self._size += _POSITION_SIZE + 4 * len(position.observation)
            self.has_room = self._size < _MAX_SIZE // 4
        return position

    def _start(self) -> _Position:
        root = _Position(self, self.game.initial_state(), 0)
        root.was_left = True
        return root


@lru_cache(maxsize=32)
def _positions(spec: GameSpec) -> _Positions:
    return _Positions(spec)


def _pick(outcomes: tuple[tuple[Any, float], ...], threshold: float) -> Any:
    """Returns the outcome at which the cumulative probability first exceeds `threshold`."""
    for move, probability in outcomes:
        threshold -= probability
        if threshold < 0:
            return move
    return outcomes[-1][0]


@lru_cache(maxsize=1024)
def _rules(spec: GameSpec, seat: Player) -> tuple[str, str]:
    """Returns the rules, and how the text of a view begins."""
    rules = spec.codec.rules(seat)
    return rules, f"{rules}\n\n"


def _view(spec: GameSpec, state: Any, seat: Player, observation: str, legal_moves: tuple[str, ...], turn: int) -> View:
    rules, opening = _rules(spec, seat)
    known = state if spec.perfect_information else spec.known_to(seat, state)
    text, role, label = opening + observation, spec.roles[seat], spec.label
    return new_tuple(View, (text, role, seat, legal_moves, turn, rules, observation, label, known, spec.talk))


@lru_cache(maxsize=1024)
def _finished(returns: tuple[float, ...]) -> Outcome:
    return Outcome(returns, Termination.FINISHED)


# Looking a member up in its enumeration takes as long as building a turn.
_OWN_TEXT: Final = Rule.OWN_TEXT

_NONE: Final = Rule.NONE

_POLICIES: Final = {policy.value: policy for policy in InvalidMove}
