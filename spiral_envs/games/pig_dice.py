"""Pig: roll a die and bank what you have, or risk it for more.

Rules: players take turns. In a turn a player rolls a die as often as it likes: a 2 to 6 adds to its turn total, a 1
    loses the turn total and ends the turn. Holding banks the turn total and ends the turn. Whoever first has banked the
    target wins. Once banked points and turn total together reach the target, the only move is to hold. A player may
    hold without having rolled. After `max_turns` turns in all, more banked points win.
Players: Player 0, who takes the first turn, and Player 1.
Moves: `[roll]`, `[hold]`.
Options: `target` (default 100), the points to bank, from 2 to 500; `max_turns` (default 100), the most turns of both
    players together, from 1 to 1000: two players who hold at 20 need more about once in a million million games.
Returns: +1 for the winner, -1 for the loser, 0 each when the turns are used up with equal points.
Length: at most (target - 1) // 2 + 1 plies a turn, and one more in the turn that wins.
Known values: with best play and no limit of turns the first player wins with probability 0.5306 at target 100
    (Neller and Presser 2004) and, by hand, 6/7 at target 2.
Source of the rules: Neller and Presser, Optimal play of the dice game Pig, The UMAP Journal 25.1, 2004; who must hold,
    and that one may hold at once, as in OpenSpiel's `pig`; the limit of turns as in TextArena's PigDice.

Version history:
    v0: first release.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

FACES: Final = 6

MAX_TARGET: Final = 500

MAX_MAX_TURNS: Final = 1000


class Choice(IntEnum):
    """What a player can do; no number is a face of the die, which is chance's move."""

    ROLL = 10
    """Roll the die."""

    HOLD = 11
    """Bank the turn total and end the turn."""


Face: TypeAlias = int
"""What the die shows, 1 to 6."""

PigMove: TypeAlias = Choice | Face


class PigState(NamedTuple):
    """A game in progress.

    Attributes:
        banked: The points that each seat has banked.
        total: The turn total.
        turn: How many turns are over; seat 0 takes the even ones.
        is_rolling: Whether the die is in the air.
    """

    banked: tuple[int, int] = (0, 0)
    total: int = 0
    turn: int = 0
    is_rolling: bool = False


class PigDice:
    """The rules."""

    num_players = 2

    def __init__(self, *, target: int, max_turns: int) -> None:
        """Sets the points to bank and the limit of turns."""
        self.target = target
        self.max_turns = max_turns
        # The longest turn adds a 2 at a time, and is lost just before it reaches the target; the last one gets there.
        self.max_plies = max_turns * ((target - 1) // 2 + 1) + 1

    def initial_state(self) -> PigState:
        """Returns the state before the first roll."""
        return _START

    def to_move(self, state: PigState) -> Player:
        """Returns the seat whose turn it is, `CHANCE` while the die rolls, or `TERMINAL`."""
        (first, second), _, turn, is_rolling = state
        if turn == self.max_turns or first >= self.target or second >= self.target:
            return TERMINAL
        return CHANCE if is_rolling else turn % 2

    def legal_moves(self, state: PigState) -> tuple[PigMove, ...]:
        """Returns roll and hold, or hold alone where it wins."""
        (first, second), total, turn, is_rolling = state
        target = self.target
        if is_rolling or turn == self.max_turns or first >= target or second >= target:
            return _NOTHING
        return _HOLD_ONLY if (second if turn % 2 else first) + total >= target else _BOTH

    def chance_outcomes(self, state: PigState) -> tuple[tuple[PigMove, float], ...]:
        """Returns the faces of the die, equally likely, after a roll."""
        return _DIE if state.is_rolling else ()

    def next_state(self, state: PigState, move: PigMove) -> PigState:
        """Returns the state after a player decides or the die falls."""
        banked, total, turn, is_rolling = state
        if is_rolling and not isinstance(move, Choice) and 1 <= move <= FACES:
            following = (banked, 0, turn + 1, False) if move == 1 else (banked, total + move, turn, False)
            return new_tuple(PigState, following)
        legal = self.legal_moves(state)
        if move not in legal:
            raise _illegal(move, legal)
        if move == _ROLL:
            return new_tuple(PigState, (banked, total, turn, True))
        first, second = banked
        banked = (first + total, second) if turn % 2 == 0 else (first, second + total)
        return new_tuple(PigState, (banked, 0, turn + 1, False))

    def returns(self, state: PigState) -> tuple[float, ...]:
        """Returns +1 to the seat with more points and -1 to the other at the end; zeros before it or when equal."""
        first, second = state.banked
        if first == second or self.to_move(state) != TERMINAL:
            return (0.0, 0.0)
        return (1.0, -1.0) if first > second else (-1.0, 1.0)

    def features(self, state: PigState, seat: Player) -> tuple[float, ...]:
        """Returns own and other points and the turn total over the target, turns over their limit, and whose turn."""
        banked, total, turn, _ = state
        target = self.target
        return (
            banked[seat] / target,
            banked[1 - seat] / target,
            total / target,
            turn / self.max_turns,
            float(turn % 2 == seat),
        )


class PigDiceCodec:
    """The text."""

    def __init__(self, game: PigDice) -> None:
        """Takes the rules, whose options the text mentions."""
        self._game = game
        self._rules = tuple(_rules(seat, target=game.target, max_turns=game.max_turns) for seat in range(2))
        # The pieces of the text, by the numbers in them. The last roll may lead beyond the target.
        points = range(game.target + FACES)
        turns = range(1, game.max_turns + 1)
        self._mine = tuple(f"Banked: you {number}, the other " for number in points)
        self._theirs = tuple(f"{number}; the target is {game.target}.\n" for number in points)
        self._own_turns = tuple(f"Turn {turn} of {game.max_turns}: your turn total is " for turn in turns)
        self._other_turns = tuple(f"Turn {turn} of {game.max_turns}: the other's turn total is " for turn in turns)
        self._own_totals = tuple(f"{number}. It is your turn." for number in points)
        self._other_totals = tuple(f"{number}. You wait." for number in points)

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player 0 or Player 1."""
        return self._rules[seat]

    def observe(self, state: PigState, seat: Player) -> str:
        """Returns the points of both, and how the turn stands."""
        (mine, theirs), total, turn, _ = state
        target = self._game.target
        if seat:
            mine, theirs = theirs, mine
        points = self._mine[mine] + self._theirs[theirs]
        if mine >= target or theirs >= target or turn == self._game.max_turns:
            return f"{points}The game is over after turn {turn}. {_result(mine, theirs)}"
        if turn % 2 == seat:
            return points + self._own_turns[turn] + self._own_totals[total]
        return points + self._other_turns[turn] + self._other_totals[total]

    def format_move(self, move: PigMove) -> str:
        """Returns `[roll]` or `[hold]`."""
        return _TEXTS[move]

    def parse_move(self, state: PigState, text: str) -> PigMove:
        """Returns the move that `[roll]` or `roll` names, in any case of letters."""
        move = _WORDS.get(unbracketed(text).lower())
        if move is None:
            raise MalformedMoveError(f"malformed move {text[:60]!r} in pig_dice: expected [roll] or [hold]")
        legal = self._game.legal_moves(state)
        if move not in legal:
            raise _illegal(move, legal)
        return move


_START: Final = PigState()

_ROLL: Final = Choice.ROLL

_BOTH: Final[tuple[PigMove, ...]] = tuple(Choice)
_HOLD_ONLY: Final[tuple[PigMove, ...]] = (Choice.HOLD,)
_NOTHING: Final[tuple[PigMove, ...]] = ()

_DIE: Final[tuple[tuple[PigMove, float], ...]] = tuple((face, 1 / FACES) for face in range(1, FACES + 1))

_TEXTS: Final[dict[PigMove, str]] = {choice: f"[{choice.name.lower()}]" for choice in Choice}

_WORDS: Final = {choice.name.lower(): choice for choice in Choice}


def _illegal(move: PigMove, legal: tuple[PigMove, ...]) -> IllegalMoveError:
    if not isinstance(move, Choice):
        return IllegalMoveError(f"illegal roll {move!r} in pig_dice: expected 1 to {FACES} after [roll]")
    where = "with the target in reach" if legal else "with no player to move"
    return IllegalMoveError(f"illegal move {_TEXTS[move]} in pig_dice {where}: expected {_expected(legal)}")


def _expected(legal: tuple[PigMove, ...]) -> str:
    return " or ".join(_TEXTS[move] for move in legal) or "no move"


def _result(mine: int, theirs: int) -> str:
    if mine == theirs:
        return "It is a draw."
    return "You have won." if mine > theirs else "You have lost."


def _rules(seat: Player, *, target: int, max_turns: int) -> str:
    order = "first" if seat == 0 else "second"
    return (
        f"You are Player {seat} in a game of Pig against Player {1 - seat}. You take the {order} turn.\n"
        f"In a turn a player rolls a die with six faces as often as it likes: a 2 to 6 adds to its turn total, a 1"
        f" loses the turn total and ends the turn. Holding banks the turn total and ends the turn.\n"
        f"Whoever first has banked {target} points wins; a player whose banked points and turn total together reach"
        f" {target} can only hold. If nobody has won after {max_turns} turns of both players together, whoever has"
        f" banked more wins; equal points are a draw.\n"
        f"Your move is [roll] or [hold]."
    )


def configure(*, target: int = 100, max_turns: int = 100) -> GameSpec:
    """Returns Pig to `target` points in at most `max_turns` turns.

    Raises:
        ValueError: `target` is not an integer from 2 to 500, or `max_turns` not one from 1 to 1000.
    """
    # The value may come from a configuration file, where its type is not checked; True is an int as well.
    if type(target) is not int or not 2 <= target <= MAX_TARGET:
        raise ValueError(f"option target of pig_dice is {target!r}: expected an integer from 2 to {MAX_TARGET}")
    if type(max_turns) is not int or not 1 <= max_turns <= MAX_MAX_TURNS:
        raise ValueError(
            f"option max_turns of pig_dice is {max_turns!r}: expected an integer from 1 to {MAX_MAX_TURNS}"
        )
    game = PigDice(target=target, max_turns=max_turns)
    return GameSpec(
        name="pig_dice",
        version=0,
        game=game,
        codec=PigDiceCodec(game),
        roles=("Player 0", "Player 1"),
        return_range=(-1.0, 1.0),
        perfect_information=True,
        discrete=DiscreteForm(moves=_BOTH, shape=(5,), features=game.features),
        configure=configure,
    )


SPEC: Final = configure()
