"""Colonel Blotto: both players divide their units among the same fields at the same time.

Rules: in each round both players allocate all their units to the fields in secret, then both allocations are shown. A
    field goes to whoever has more units there and to nobody when equal; whoever takes more fields wins the round. All
    rounds are played, each with all units. Seat 0 is asked first, and seat 1 is not shown its allocation until it has
    made its own.
Players: Player 0 and Player 1, whose positions are the same.
Moves: the units of every field, which are named A, B, C and so on: `[A4 B3 C3]`. Fields may come in any order, and one
    that is left out gets no units.
Options: `fields` (default 3), from 3 to 6: with 2 every round would be a draw; `units` (default 10), from 2 to a limit
    that keeps the list of moves below 4,000: 87, 26, 15 and 10 with 3, 4, 5 and 6 fields; `rounds` (default 1), from 1
    to 100.
Returns: +1 for the player who has won more rounds, -1 for the other, 0 each when equal.
Length: 2 plies a round.
Known values: the game is symmetric and worth 0; 3 fields and 10 units have 66 allocations. With 3 fields and 2 units,
    allocating to two fields never loses, and putting both units on one field loses to the other two, so that always
    doing so has NashConv 2 (by hand).
Source of the rules: Borel, La théorie du jeu et les équations intégrales à noyau symétrique, 1921; Gross and Wagner, A
    continuous Colonel Blotto game, 1950; winning most fields as in OpenSpiel's `blotto`.

Version history:
    v0: first release.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from string import ascii_uppercase
from typing import Final, NamedTuple, Self, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

MIN_FIELDS: Final = 3
MAX_FIELDS: Final = 6

MIN_UNITS: Final = 2

MAX_ALLOCATIONS: Final = 4000

MAX_ROUNDS: Final = 100

Allocation: TypeAlias = tuple[int, ...]
"""The units on every field, field A first."""


class _Fields(NamedTuple):
    finished: tuple[tuple[Allocation, Allocation], ...]
    chosen: Allocation | None
    lead: int
    past: tuple[str, str]


class BlottoState(_Fields):
    """A match in progress.

    Attributes:
        finished: The allocations of the finished rounds, seat 0's first.
        chosen: Seat 0's allocation in the round in progress, which seat 1 may not see; None before it.
        lead: The rounds that seat 0 has won less those that it has lost.
        past: What each seat reads of `finished`: it grows by a line a round, and would take long to write anew.
    """

    __slots__ = ()

    def __new__(
        cls,
        finished: tuple[tuple[Allocation, Allocation], ...] = (),
        chosen: Allocation | None = None,
        lead: int = 0,
        past: tuple[str, str] | None = None,
    ) -> Self:
        """Returns a state; `past` follows from `finished` and need not be given."""
        return super().__new__(cls, finished, chosen, lead, _past(finished) if past is None else past)


class ColonelBlotto:
    """The rules."""

    num_players = 2

    def __init__(self, *, fields: int, units: int, rounds: int) -> None:
        """Sets the numbers of fields, of units to allocate in each round, and of rounds."""
        self.fields = fields
        self.units = units
        self.rounds = rounds
        self.max_plies = 2 * rounds
        self.allocations = _allocations(fields, units)
        self._shares = {allocation: tuple([number / units for number in allocation]) for allocation in self.allocations}

    def initial_state(self) -> BlottoState:
        """Returns the state before the first allocation."""
        return _START

    def to_move(self, state: BlottoState) -> Player:
        """Returns seat 0, then seat 1, in every round; `TERMINAL` after the last."""
        if len(state.finished) == self.rounds:
            return TERMINAL
        return 0 if state.chosen is None else 1

    def legal_moves(self, state: BlottoState) -> tuple[Allocation, ...]:
        """Returns all allocations of all units, fewest on field A first; none at the end."""
        return _NOTHING if len(state.finished) == self.rounds else self.allocations

    def chance_outcomes(self, state: BlottoState) -> tuple[tuple[Allocation, float], ...]:
        """Returns nothing: there is no chance in the game."""
        return ()

    def next_state(self, state: BlottoState, move: Allocation) -> BlottoState:
        """Returns the state after an allocation; seat 1's ends the round."""
        finished, chosen, lead, past = state
        if len(finished) == self.rounds or move not in self._shares:
            raise self.illegal(move)
        if chosen is None:
            return new_tuple(BlottoState, (finished, move, lead, past))
        mine, theirs = won = _fields_won(chosen, move)
        if mine != theirs:
            lead += 1 if mine > theirs else -1
        past = _with_round(past, len(finished) + 1, (chosen, move), won)
        return new_tuple(BlottoState, ((*finished, (chosen, move)), None, lead, past))

    def returns(self, state: BlottoState) -> tuple[float, ...]:
        """Returns +1 to the seat that has won more rounds and -1 to the other; zeros when equal or before the end."""
        lead = state.lead
        if lead == 0 or len(state.finished) < self.rounds:
            return (0.0, 0.0)
        return (1.0, -1.0) if lead > 0 else (-1.0, 1.0)

    def features(self, state: BlottoState, seat: Player) -> tuple[float, ...]:
        """Returns, round by round, the share of the units on each field, own first; zeros until known."""
        shares = self._shares
        numbers: list[float] = []
        for pair in state.finished:
            numbers += shares[pair[seat]]
            numbers += shares[pair[1 - seat]]
        if state.chosen is not None and seat == 0:
            numbers += shares[state.chosen]
        numbers += [0.0] * (2 * self.fields * self.rounds - len(numbers))
        return tuple(numbers)

    def illegal(self, move: Allocation) -> IllegalMoveError:
        """Returns the error that says why `move` cannot be made."""
        where = f"illegal move {_text(move)} in colonel_blotto"
        if move in self._shares:
            return IllegalMoveError(f"{where} after the last round: expected no move")
        return IllegalMoveError(
            f"{where}: it has {sum(move)} units on {len(move)} fields, expected {self.units} on {self.fields}"
        )


class ColonelBlottoCodec:
    """The text."""

    def __init__(self, game: ColonelBlotto) -> None:
        """Takes the rules, whose options the text mentions."""
        self._game = game
        self._rules = tuple(_rules(seat, game) for seat in range(2))
        self._rounds = tuple(f"Round {number} of {game.rounds}." for number in range(1, game.rounds + 1))
        self._turns = tuple(f"{line} It is your turn." for line in self._rounds)
        self._waits = tuple(f"{line} You wait." for line in self._rounds)

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player 0 or Player 1."""
        return self._rules[seat]

    def observe(self, state: BlottoState, seat: Player) -> str:
        """Returns the finished rounds and how the round stands; the other's units only when the round is over."""
        finished, chosen, lead, past = state
        number = len(finished)
        if number == self._game.rounds:
            return past[seat] + _result(lead if seat == 0 else -lead)
        if seat == 0 and chosen is not None:
            return f"{past[0]}{self._rounds[number]} You have chosen {_text(chosen)}. You wait."
        is_mover = (chosen is None) == (seat == 0)
        return past[seat] + (self._turns if is_mover else self._waits)[number]

    def format_move(self, move: Allocation) -> str:
        """Returns `[A4 B3 C3]` for 4, 3 and 3 units."""
        return _text(move)

    def parse_move(self, state: BlottoState, text: str) -> Allocation:
        """Returns the allocation that `[A4 B3 C3]` says; commas, colons and small letters are read as well."""
        game = self._game
        plain = " ".join(unbracketed(text).replace(",", " ").replace(":", " ").split())
        if not _ALLOCATION.fullmatch(plain):
            example = _text(game.allocations[len(game.allocations) // 2])
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in colonel_blotto: expected the units of every field, such as {example}"
            )
        units = [0] * game.fields
        seen: set[str] = set()
        for letter, number in _FIELD.findall(plain.upper()):
            if letter in seen or letter not in ascii_uppercase[: game.fields]:
                why = "comes twice" if letter in seen else f"is not one of {_names(game.fields)}"
                raise IllegalMoveError(f"illegal move [{plain[:60]}] in colonel_blotto: field {letter} {why}")
            seen.add(letter)
            units[ascii_uppercase.index(letter)] = int(number)
        allocation = tuple(units)
        if allocation not in game.legal_moves(state):
            raise game.illegal(allocation)
        return allocation


_START: Final = BlottoState(past=("", ""))

_NOTHING: Final[tuple[Allocation, ...]] = ()

_RESULTS: Final = tuple(
    tuple(
        f"{'You won' if mine > theirs else 'You lost' if mine < theirs else 'Nobody won'}, {mine} to {theirs} fields.\n"
        for theirs in range(MAX_FIELDS + 1)
    )
    for mine in range(MAX_FIELDS + 1)
)
"""How a round ended, by the fields that the reader has won and by those that the other has won."""

# The letter that starts a field leaves no choice of where it starts, so that matching takes linear time.
_ALLOCATION: Final = re.compile("(?:[A-Za-z] ?[0-9]{1,4} ?)+")

_FIELD: Final = re.compile("([A-Z]) ?([0-9]+)")


@lru_cache(maxsize=64)
def _allocations(fields: int, units: int) -> tuple[Allocation, ...]:
    """Returns all ways to divide `units` among `fields`, in rising order."""
    if fields == 1:
        return ((units,),)
    return tuple((first, *rest) for first in range(units + 1) for rest in _allocations(fields - 1, units - first))


def _max_units(fields: int) -> int:
    """Returns the most units of which there are no more than `MAX_ALLOCATIONS` allocations."""
    units = MIN_UNITS
    while math.comb(units + fields, fields - 1) <= MAX_ALLOCATIONS:
        units += 1
    return units


def _fields_won(mine: Allocation, theirs: Allocation) -> tuple[int, int]:
    won = lost = 0
    for own, other in zip(mine, theirs, strict=True):
        if own > other:
            won += 1
        elif own < other:
            lost += 1
    return won, lost


@lru_cache(maxsize=8192)
def _text(allocation: Allocation) -> str:
    return f"[{' '.join(f'{name}{units}' for name, units in zip(ascii_uppercase, allocation, strict=False))}]"


def _past(finished: tuple[tuple[Allocation, Allocation], ...]) -> tuple[str, str]:
    past = ("", "")
    for number, pair in enumerate(finished, 1):
        past = _with_round(past, number, pair, _fields_won(*pair))
    return past


def _with_round(
    past: tuple[str, str], number: int, pair: tuple[Allocation, Allocation], won: tuple[int, int]
) -> tuple[str, str]:
    """Returns `past` with the line of one more round, in which the seats have won so many fields."""
    first, second = _text(pair[0]), _text(pair[1])
    mine, theirs = won
    return (
        f"{past[0]}Round {number}: you {first}, the other {second}. {_RESULTS[mine][theirs]}",
        f"{past[1]}Round {number}: you {second}, the other {first}. {_RESULTS[theirs][mine]}",
    )


def _result(lead: int) -> str:
    if lead == 0:
        return "The match is over: it is a draw."
    rounds = "1 round" if abs(lead) == 1 else f"{abs(lead)} rounds"
    return f"The match is over: you have {'won' if lead > 0 else 'lost'} by {rounds}."


def _names(fields: int) -> str:
    return ", ".join(ascii_uppercase[:fields])


def _rules(seat: Player, game: ColonelBlotto) -> str:
    if game.rounds == 1:
        length, aim = "one round", "You want to win the round."
    else:
        length = f"{game.rounds} rounds"
        aim = "Every round starts with all units. Whoever has won more rounds after the last wins; equal is a draw."
    share, rest = divmod(game.units, game.fields)
    example = _text((share + rest, *(share,) * (game.fields - 1)))
    return (
        f"You are Player {seat} in a match of Colonel Blotto of {length}, against Player {1 - seat}.\n"
        f"In each round both players divide {game.units} units among the fields {_names(game.fields)} in secret; then"
        f" both allocations are shown. A field goes to the player with more units there, and to nobody when equal."
        f" Whoever takes more fields wins the round.\n"
        f"{aim}\n"
        f"Your move is the units of every field in square brackets, {game.units} in all, such as {example}."
    )


def configure(*, fields: int = 3, units: int = 10, rounds: int = 1) -> GameSpec:
    """Returns Colonel Blotto with `units` on `fields` for `rounds` rounds.

    Raises:
        ValueError: A value is not an integer in its range, or there are more than `MAX_ALLOCATIONS` allocations.
    """
    # The value may come from a configuration file, where its type is not checked; True is an int as well.
    if type(fields) is not int or not MIN_FIELDS <= fields <= MAX_FIELDS:
        raise ValueError(
            f"option fields of colonel_blotto is {fields!r}: expected an integer from {MIN_FIELDS} to {MAX_FIELDS}"
        )
    most = _max_units(fields)
    if type(units) is not int or not MIN_UNITS <= units <= most:
        raise ValueError(
            f"option units of colonel_blotto is {units!r}: expected an integer from {MIN_UNITS} to {most} with {fields}"
            " fields"
        )
    if type(rounds) is not int or not 1 <= rounds <= MAX_ROUNDS:
        raise ValueError(f"option rounds of colonel_blotto is {rounds!r}: expected an integer from 1 to {MAX_ROUNDS}")
    game = ColonelBlotto(fields=fields, units=units, rounds=rounds)
    return GameSpec(
        name="colonel_blotto",
        version=0,
        game=game,
        codec=ColonelBlottoCodec(game),
        roles=("Player 0", "Player 1"),
        return_range=(-1.0, 1.0),
        discrete=DiscreteForm(moves=game.allocations, shape=(rounds, 2, fields), features=game.features),
        configure=configure,
    )


SPEC: Final = configure()
