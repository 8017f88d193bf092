"""Rock paper scissors: both players choose at the same time, for one round or several.

Rules: in each round both players choose in secret, then both choices are shown. Rock beats scissors, scissors beat
    paper, paper beats rock; equal choices win for nobody. All rounds are played. Seat 0 is asked first, and seat 1 is
    not shown what it chose until it has chosen as well.
Players: Player 0 and Player 1, whose positions are the same.
Moves: `[rock]`, `[paper]`, `[scissors]`.
Options: `rounds` (default 1), from 1 to 100; `payoff`: with `win` (default) whoever has won more rounds wins +1 and the
    other -1, 0 each when equal; with `points` the return is the rounds won less the rounds lost.
Returns: {-1, 0, 1}; with `payoff="points"` the integers from -rounds to rounds.
Length: 2 plies a round.
Known values: the only equilibrium of one round chooses each with probability 1/3 and is worth 0; a player who always
    chooses the same loses every round to the best answer, so that its NashConv is 2.
Source of the rules: von Neumann and Morgenstern, Theory of games and economic behavior, 1944, where it is "Stone,
    Paper, Scissors"; the match of several rounds follows SPIRAL's other games, decided by all of its rounds.

Version history:
    v0: first release.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from spiral_envs.errors import IllegalMoveError, MalformedMoveError, UnknownNameError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

MAX_ROUNDS: Final = 100


class Shape(IntEnum):
    """What a hand can show; each is beaten by the next, and the last by the first."""

    ROCK = 0
    PAPER = 1
    SCISSORS = 2


class RpsState(NamedTuple):
    """A match in progress.

    Attributes:
        finished: The choices of the finished rounds, seat 0's first.
        chosen: Seat 0's choice in the round in progress, which seat 1 may not see; None before it.
        lead: The rounds that seat 0 has won less those that it has lost.
    """

    finished: tuple[tuple[Shape, Shape], ...] = ()
    chosen: Shape | None = None
    lead: int = 0


class RockPaperScissors:
    """The rules."""

    num_players = 2

    def __init__(self, *, rounds: int, pays_points: bool) -> None:
        """Sets the number of rounds, and whether every round counts or only who has won more."""
        self.rounds = rounds
        self.pays_points = pays_points
        self.max_plies = 2 * rounds

    def initial_state(self) -> RpsState:
        """Returns the state before the first choice."""
        return _START

    def to_move(self, state: RpsState) -> Player:
        """Returns seat 0, then seat 1, in every round; `TERMINAL` after the last."""
        if len(state.finished) == self.rounds:
            return TERMINAL
        return 0 if state.chosen is None else 1

    def legal_moves(self, state: RpsState) -> tuple[Shape, ...]:
        """Returns all three shapes; none at the end."""
        return _NOTHING if len(state.finished) == self.rounds else _SHAPES

    def chance_outcomes(self, state: RpsState) -> tuple[tuple[Shape, float], ...]:
        """Returns nothing: there is no chance in the game."""
        return ()

    def next_state(self, state: RpsState, move: Shape) -> RpsState:
        """Returns the state after a choice; seat 1's ends the round."""
        finished, chosen, lead = state
        if len(finished) == self.rounds or move not in _SHAPES:
            raise _illegal(move)
        if chosen is None:
            return new_tuple(RpsState, (finished, move, lead))
        return new_tuple(RpsState, ((*finished, (chosen, move)), None, lead + _WON[move - chosen]))

    def returns(self, state: RpsState) -> tuple[float, ...]:
        """Returns the lead, or +1 and -1 for winning and losing the match; zeros before the end."""
        if len(state.finished) < self.rounds:
            return (0.0, 0.0)
        lead = state.lead if self.pays_points else (state.lead > 0) - (state.lead < 0)
        return (float(lead), float(-lead))

    def features(self, state: RpsState, seat: Player) -> tuple[float, ...]:
        """Returns, round by round, a 1 for the shape that the seat chose and one for the other's; zeros until known."""
        finished, chosen, _ = state
        numbers: list[float] = []
        for shapes in finished:
            numbers += _ONE_HOT[shapes[seat]]
            numbers += _ONE_HOT[shapes[1 - seat]]
        if chosen is not None and seat == 0:
            numbers += _ONE_HOT[chosen]
        numbers += [0.0] * (6 * self.rounds - len(numbers))
        return tuple(numbers)


class RockPaperScissorsCodec:
    """The text."""

    def __init__(self, *, rounds: int, pays_points: bool) -> None:
        """Sets the options that the text mentions."""
        self._rounds = rounds
        self._rules = tuple(_rules(seat, rounds=rounds, pays_points=pays_points) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player 0 or Player 1."""
        return self._rules[seat]

    def observe(self, state: RpsState, seat: Player) -> str:
        """Returns the finished rounds and how the round stands; the other's choice only when the round is over."""
        finished, chosen, lead = state
        past = "".join([_line(index, shapes[seat], shapes[1 - seat]) for index, shapes in enumerate(finished)])
        if len(finished) == self._rounds:
            return past + _result(lead if seat == 0 else -lead)
        if seat == 0 and chosen is not None:
            return f"{past}Round {len(finished) + 1} of {self._rounds}. You have chosen {_TEXTS[chosen]}. You wait."
        is_mover = (chosen is None) == (seat == 0)
        turn = "It is your turn." if is_mover else "You wait."
        return f"{past}Round {len(finished) + 1} of {self._rounds}. {turn}"

    def format_move(self, move: Shape) -> str:
        """Returns `[rock]`, `[paper]` or `[scissors]`."""
        return _TEXTS[move]

    def parse_move(self, state: RpsState, text: str) -> Shape:
        """Returns the shape that `[rock]` or `rock` names, in any case of letters."""
        move = _WORDS.get(unbracketed(text).lower())
        if move is None:
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in rock_paper_scissors: expected [rock], [paper] or [scissors]"
            )
        if len(state.finished) == self._rounds:
            raise _illegal(move)
        return move


_START: Final = RpsState()

_SHAPES: Final = tuple(Shape)
_NOTHING: Final = ()

_TEXTS: Final = {shape: f"[{shape.name.lower()}]" for shape in Shape}

_WORDS: Final = {shape.name.lower(): shape for shape in Shape}

_ONE_HOT: Final = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

_WON: Final = {0: 0, 1: -1, 2: 1, -1: 1, -2: -1}
"""What seat 0 wins, by seat 1's shape less its own: each shape is beaten by the next."""


@lru_cache(maxsize=9 * MAX_ROUNDS)
def _line(index: int, mine: Shape, theirs: Shape) -> str:
    won = _WON[theirs - mine]
    result = "You won." if won > 0 else "You lost." if won < 0 else "Nobody won."
    return f"Round {index + 1}: you {_TEXTS[mine]}, the other {_TEXTS[theirs]}. {result}\n"


def _result(lead: int) -> str:
    if lead == 0:
        return "The match is over: it is a draw."
    rounds = "1 round" if abs(lead) == 1 else f"{abs(lead)} rounds"
    return f"The match is over: you have {'won' if lead > 0 else 'lost'} by {rounds}."


def _illegal(move: Shape) -> IllegalMoveError:
    if move not in _SHAPES:
        return IllegalMoveError(f"illegal move {move!r} in rock_paper_scissors: expected [rock], [paper] or [scissors]")
    return IllegalMoveError(
        f"illegal move {_TEXTS[move]} in rock_paper_scissors after the last round: expected no move"
    )


def _rules(seat: Player, *, rounds: int, pays_points: bool) -> str:
    if rounds == 1:
        length, aim = "one round", "You want to win the round."
    elif pays_points:
        length, aim = f"{rounds} rounds", "You want to win as many rounds as you can, and to lose as few."
    else:
        length, aim = f"{rounds} rounds", "Whoever has won more rounds after the last wins the match; equal is a draw."
    return (
        f"You are Player {seat} in a match of rock paper scissors of {length}, against Player {1 - seat}.\n"
        f"In each round both players choose in secret; then both choices are shown. Rock beats scissors, scissors beat"
        f" paper, paper beats rock; with equal choices nobody wins the round.\n"
        f"{aim}\n"
        f"Your move is [rock], [paper] or [scissors]."
    )


def configure(*, rounds: int = 1, payoff: str = "win") -> GameSpec:
    """Returns rock paper scissors of `rounds` rounds, paid by `payoff`: "win" or "points".

    Raises:
        ValueError: `rounds` is not an integer from 1 to 100.
        UnknownNameError: No such payoff.
    """
    # The value may come from a configuration file, where its type is not checked; True is an int as well.
    if type(rounds) is not int or not 1 <= rounds <= MAX_ROUNDS:
        raise ValueError(
            f"option rounds of rock_paper_scissors is {rounds!r}: expected an integer from 1 to {MAX_ROUNDS}"
        )
    if payoff not in ("win", "points"):
        raise UnknownNameError("payoff of rock_paper_scissors", str(payoff), ("win", "points"))
    pays_points = payoff == "points"
    highest = float(rounds) if pays_points else 1.0
    game = RockPaperScissors(rounds=rounds, pays_points=pays_points)
    return GameSpec(
        name="rock_paper_scissors",
        version=0,
        game=game,
        codec=RockPaperScissorsCodec(rounds=rounds, pays_points=pays_points),
        roles=("Player 0", "Player 1"),
        return_range=(-highest, highest),
        discrete=DiscreteForm(moves=_SHAPES, shape=(rounds, 6), features=game.features),
        configure=configure,
    )


SPEC: Final = configure()
