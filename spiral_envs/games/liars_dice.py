"""Liar's dice: bids about hidden dice that must rise, until somebody calls liar.

Rules: every player rolls its dice in secret. From seat 0 on the players in turn bid that at least so many of all the
    dice show a face, or call the last bid a lie, which ends the game. A bid must be higher than the last: more dice of
    any face, or as many of a higher face. The highest face is wild: it counts as every face. If at least as many dice
    as were bid show the face, its bidder wins and the caller loses; otherwise the caller wins and the bidder loses.
Players: Player 0, Player 1 and so on.
Moves: a bid such as `[2 x 5]`, two dice that show 5, also with the sign of multiplication for the x; `[liar]`.
Options: `players` (default 2), from 2 to 6; `dice` (default 1), each player's, from 1 to 6; `sides` (default 6), the
    faces of a die, from 2 to 12.
Returns: +1 for the winner, -1 for the loser; 0 for everyone else, since two settle the bid and the others neither win
    nor lose by it. An invalid move of one of more than two players may cost it more, see
    `spiral_envs.match.forfeit_returns`.
Length: 2 plies to one more than there are bids, which are players · dice · sides.
Known values: uniform random play has NashConv 1.310119 with two players and one die of four sides each, where there are
    1,024 information sets; with six sides 1.561489 and 24,576.
Source of the rules: Lisy, Lanctot and Bowling, Online Monte Carlo counterfactual regret minimization for search in
    imperfect information games, 2015; OpenSpiel's liars_dice, which is for two players only. The payoffs of more than
    two are our own.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from itertools import cycle
from operator import getitem
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

MAX_PLAYERS: Final = 6

MAX_DICE: Final = 6

MAX_SIDES: Final = 12


class Roll(NamedTuple):
    """The chance move that rolls a die.

    Attributes:
        face: From 1 to the number of sides.
    """

    face: int


class Bid(NamedTuple):
    """The claim that at least so many dice show a face.

    Attributes:
        quantity: From 1 to the number of all dice.
        face: From 1 to the number of sides.
    """

    quantity: int
    face: int


class Call(Enum):
    """What ends the game."""

    LIAR = "liar"
    """The last bid is not true."""


LiarsMove: TypeAlias = Roll | Bid | Call


class LiarsState(NamedTuple):
    """A game in progress.

    Attributes:
        dice: The dice rolled so far, seat 0's first.
        bids: The bids so far.
        is_called: Whether the last bid was called a lie, which ends the game.
        player: The seat to move, `CHANCE` or `TERMINAL`, which follows from the rest.
    """

    dice: tuple[int, ...] = ()
    bids: tuple[Bid, ...] = ()
    is_called: bool = False
    player: Player = CHANCE


class LiarsSituation(NamedTuple):
    """What a seat knows.

    Attributes:
        dice: Its own dice, lowest first.
        bids: The bids so far.
    """

    dice: tuple[int, ...]
    bids: tuple[Bid, ...]


class Size(NamedTuple):
    """The options.

    Attributes:
        players: How many play.
        dice: How many dice each of them has.
        sides: How many faces a die has.
    """

    players: int
    dice: int
    sides: int

    @property
    def num_dice(self) -> int:
        """The number of all dice."""
        return self.players * self.dice


class LiarsDice:
    """The rules."""

    def __init__(self, size: Size) -> None:
        """Sets the numbers of players, of each player's dice, and of a die's sides."""
        self.num_players = size.players
        self.size = size
        self.num_dice = size.num_dice
        self.max_plies = size.num_dice * size.sides + 1
        self._nothing = (0.0,) * size.players
        self._rolls: tuple[tuple[LiarsMove, float], ...] = tuple(
            (Roll(face), 1 / size.sides) for face in range(1, size.sides + 1)
        )
        bids = _all_bids(size)
        self._opening: tuple[LiarsMove, ...] = bids
        self._moves_after: dict[Bid, tuple[LiarsMove, ...]] = {
            bid: (*bids[index:], Call.LIAR) for index, bid in enumerate(bids, start=1)
        }

    def initial_state(self) -> LiarsState:
        """Returns the state before the first roll."""
        return _START

    def to_move(self, state: LiarsState) -> Player:
        """Returns the seat to move, `CHANCE` while dice are rolled, or `TERMINAL`."""
        return state[3]

    def legal_moves(self, state: LiarsState) -> tuple[LiarsMove, ...]:
        """Returns the higher bids in rising order, and then the call when there is a bid to call."""
        _, bids, _, player = state
        if player < 0:
            return ()
        return self._moves_after[bids[-1]] if bids else self._opening

    def chance_outcomes(self, state: LiarsState) -> tuple[tuple[LiarsMove, float], ...]:
        """Returns the faces, equally likely: seat 0's dice are rolled first."""
        return self._rolls if state[3] == CHANCE else ()

    def next_state(self, state: LiarsState, move: LiarsMove) -> LiarsState:
        """Returns the state after a die is rolled or a player moves."""
        dice, bids, _, player = state
        if isinstance(move, Roll):
            if player != CHANCE or not 1 <= move[0] <= self.size.sides:
                raise IllegalMoveError(f"illegal roll {move.face} in liars_dice: dice rolled are {dice}")
            dice = (*dice, move[0])
            return new_tuple(LiarsState, (dice, bids, False, CHANCE if len(dice) < self.num_dice else 0))
        if isinstance(move, Bid):
            if player < 0 or move not in self._moves_after or (bids and move <= bids[-1]):
                raise _illegal(state, move, self.size)
            following = player + 1
            return new_tuple(
                LiarsState, (dice, (*bids, move), False, 0 if following == self.num_players else following)
            )
        if player < 0 or not bids:
            raise _illegal(state, move, self.size)
        return new_tuple(LiarsState, (dice, bids, True, TERMINAL))

    def returns(self, state: LiarsState) -> tuple[float, ...]:
        """Returns +1 for the winner and -1 for the loser; zeros for the others and before the end."""
        if not state.is_called:
            return self._nothing
        winner, loser = _winner_and_loser(state, self.size)
        returns = list(self._nothing)
        returns[winner], returns[loser] = 1.0, -1.0
        return tuple(returns)

    def situation(self, state: LiarsState, seat: Player) -> LiarsSituation:
        """Returns what `seat` knows."""
        return new_tuple(LiarsSituation, (self._dice_of(state, seat), state.bids))

    def features(self, state: LiarsState, seat: Player) -> tuple[float, ...]:
        """Returns what `seat` knows in numbers.

        These are: the seat, each of its dice, lowest first, both one-hot; for every bid whether it was made, in rising
        order, so that who made it follows; and whether the last bid was called a lie.
        """
        return _features(self._dice_of(state, seat), state.bids, state.is_called, seat, self.size)

    def _dice_of(self, state: LiarsState, seat: Player) -> tuple[int, ...]:
        each = self.size.dice
        return _in_order(state[0][seat * each : (seat + 1) * each])


class LiarsCodec:
    """The text."""

    def __init__(self, size: Size) -> None:
        """Sets the options that the rules mention."""
        self._size = size
        self._each = size.dice
        players = range(size.players)
        self._rules = tuple(_rules(seat, size) for seat in players)
        self._turns = tuple(tuple(_turn(mover, seat, size.players) for mover in players) for seat in players)
        self._said = tuple(
            tuple(
                {bid: f" {_called(bidder, seat, size.players)} {_move_text(bid)}" for bid in _all_bids(size)}
                for bidder in players
            )
            for seat in players
        )

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player `seat`."""
        return self._rules[seat]

    def observe(self, state: LiarsState, seat: Player) -> str:
        """Returns the seat's own dice and all bids; all dice at the end."""
        dice, bids, is_called, _ = state
        own = _own_line(dice[seat * self._each : (seat + 1) * self._each])
        if is_called:
            return f"{own}{self._bids_text(bids, seat)}{_final_text(state, seat, self._size)}"
        turn = self._turns[seat][len(bids) % self._size.players]
        return f"{own}{self._bids_text(bids, seat) if bids else ' none yet'}. {turn}"

    def format_move(self, move: LiarsMove) -> str:
        """Returns `[2 x 5]` or `[liar]`."""
        return f"[{move.face}]" if isinstance(move, Roll) else f"[{_move_text(move)}]"

    def parse_move(self, state: LiarsState, text: str) -> LiarsMove:
        """Returns the bid that `[2 x 5]` or `2x5` names, or the call, in any case of letters."""
        words = unbracketed(text).lower()
        bid = _BID.fullmatch(words)
        if bid is None and words != Call.LIAR.value:
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in liars_dice: expected a bid such as [2 x 5], or [liar]"
            )
        move = Call.LIAR if bid is None else Bid(int(bid[1]), int(bid[2]))
        if not _is_legal(state, move, self._size):
            raise _illegal(state, move, self._size)
        return move

    def _bids_text(self, bids: tuple[Bid, ...], seat: Player) -> str:
        """Returns the bids with their bidders."""
        return ",".join(map(getitem, cycle(self._said[seat]), bids))


_START: Final = LiarsState()

_LIAR: Final = f"[{Call.LIAR.value}]"

# Models also write the sign of multiplication.
_BID: Final = re.compile("([0-9]{1,3}) *[x\u00d7] *([0-9]{1,3})")


@lru_cache(maxsize=64)
def _all_bids(size: Size) -> tuple[Bid, ...]:
    """Returns every bid, lowest first."""
    return tuple(Bid(quantity, face) for quantity in range(1, size.num_dice + 1) for face in range(1, size.sides + 1))


def _is_legal(state: LiarsState, move: Bid | Call, size: Size) -> bool:
    _, bids, _, player = state
    if player < 0:
        return False
    if isinstance(move, Call):
        return bool(bids)
    quantity, face = move
    players, dice, sides = size
    return 1 <= quantity <= players * dice and 1 <= face <= sides and (not bids or move > bids[-1])


def _illegal(state: LiarsState, move: Bid | Call, size: Size) -> IllegalMoveError:
    written = f"[{_move_text(move)}]"
    where = f"illegal move {written} in liars_dice"
    if state.is_called:
        return IllegalMoveError(f"{where}: the game is over")
    if len(state.dice) < size.num_dice:
        return IllegalMoveError(f"{where}: the dice are not rolled yet")
    if not state.bids and isinstance(move, Call):
        return IllegalMoveError(f"{where} before the first bid: expected a bid such as [1 x 1]")
    if isinstance(move, Call) or not (1 <= move.quantity <= size.num_dice and 1 <= move.face <= size.sides):
        return IllegalMoveError(f"{where}: bids are [1 x 1] to [{size.num_dice} x {size.sides}]")
    return IllegalMoveError(f"{where} after [{_move_text(state.bids[-1])}]: expected a higher bid or {_LIAR}")


def _winner_and_loser(state: LiarsState, size: Size) -> tuple[Player, Player]:
    bids = state.bids
    bidder, caller = (len(bids) - 1) % size.players, len(bids) % size.players
    is_true = _count(state.dice, bids[-1].face, size.sides) >= bids[-1].quantity
    return (bidder, caller) if is_true else (caller, bidder)


def _count(dice: tuple[int, ...], face: int, sides: int) -> int:
    """Returns how many dice show the face or the highest, which is wild."""
    return dice.count(sides) if face == sides else dice.count(face) + dice.count(sides)


@lru_cache(maxsize=16384)
def _in_order(dice: tuple[int, ...]) -> tuple[int, ...]:
    """Returns a seat's dice, lowest first: the order in which they were rolled means nothing."""
    return tuple(sorted(dice))


@lru_cache(maxsize=4096)
def _move_text(move: Bid | Call) -> str:
    return f"{move.quantity} x {move.face}" if isinstance(move, Bid) else move.value


def _called(seat: Player, viewer: Player, players: int) -> str:
    if seat == viewer:
        return "you"
    return "the other" if players == 2 else f"Player {seat}"


def _listed(dice: tuple[int, ...]) -> str:
    return " ".join(map(str, dice)) or "not rolled yet"


@lru_cache(maxsize=16384)
def _own_line(dice: tuple[int, ...]) -> str:
    """Returns how an observation begins, given the seat's dice."""
    return f"Your dice: {_listed(_in_order(dice))}.\nBids:"


def _turn(mover: Player, seat: Player, players: int) -> str:
    if mover == seat:
        return "It is your turn."
    return "You wait." if players == 2 else f"Player {mover} is to move."


def _final_text(state: LiarsState, seat: Player, size: Size) -> str:
    """Returns what follows the bids when the game is over."""
    dice, bids, _, _ = state
    players = size.players
    caller = _called(len(bids) % players, seat, players)
    all_dice = "; ".join(
        f"{_called(other, seat, players)} {_listed(_in_order(dice[other * size.dice : (other + 1) * size.dice]))}"
        for other in range(players)
    )
    count = _count(dice, bids[-1].face, size.sides)
    verdict = "it was true" if count >= bids[-1].quantity else "it was a lie"
    winner, loser = _winner_and_loser(state, size)
    if seat in (winner, loser):
        result = "You have won." if seat == winner else "You have lost."
    else:
        result = f"Player {winner} has won and Player {loser} has lost."
    return (
        f"; {caller} called liar.\n"
        f"All dice: {all_dice}. The number that counts for {_move_text(bids[-1])} is {count}: {verdict}. {result}"
    )


def _features(
    dice: tuple[int, ...], bids: tuple[Bid, ...], is_called: bool, seat: Player, size: Size
) -> tuple[float, ...]:
    players, each, sides = size
    numbers = [0.0] * _num_features(size)
    numbers[seat] = 1.0
    for place, face in enumerate(dice):
        numbers[players + place * sides + face - 1] = 1.0
    start = players + each * sides
    for quantity, face in bids:
        numbers[start + (quantity - 1) * sides + face - 1] = 1.0
    if is_called:
        numbers[-1] = 1.0
    return tuple(numbers)


def _num_features(size: Size) -> int:
    return size.players + size.dice * size.sides + size.num_dice * size.sides + 1


def _rules(seat: Player, size: Size) -> str:
    players, each, sides = size
    others = [f"Player {other}" for other in range(players) if other != seat]
    against = " and ".join(filter(None, (", ".join(others[:-1]), others[-1])))
    dice = "one die" if each == 1 else f"{each} dice"
    rest = "" if players == 2 else "; the other players neither win nor lose"
    return (
        f"You are Player {seat} in a game of liar's dice, against {against}. Player 0 moves first.\n"
        f"Every player has rolled {dice} with the faces 1 to {sides}, and sees only its own. The players take turns, in"
        f" the order of their numbers. A move is a bid, that at least so many of all {size.num_dice} dice show a face,"
        f" or a call that the last bid is a lie. A bid must be higher than the last: more dice of any face, or as many"
        f" dice of a higher face. The face {sides} is wild and counts as every face.\n"
        f"After a call all dice are shown. If at least as many dice as were bid show the face, the player who bid wins"
        f" and the player who called loses; otherwise the caller wins and the bidder loses{rest}.\n"
        f"Your move is a bid such as [1 x {min(5, sides)}], one die that shows {min(5, sides)}, or {_LIAR}."
    )


def configure(*, players: int = 2, dice: int = 1, sides: int = 6) -> GameSpec:
    """Returns liar's dice for `players` players with `dice` dice each of `sides` sides.

    Raises:
        ValueError: A number is out of its range.
    """
    _check_integer("players", players, 2, MAX_PLAYERS)
    _check_integer("dice", dice, 1, MAX_DICE)
    _check_integer("sides", sides, 2, MAX_SIDES)
    size = Size(players, dice, sides)
    game = LiarsDice(size)
    return GameSpec(
        name="liars_dice",
        version=0,
        game=game,
        codec=LiarsCodec(size),
        roles=tuple(f"Player {seat}" for seat in range(players)),
        return_range=(-1.0, 1.0),
        knowledge=game.situation,
        discrete=DiscreteForm(
            moves=(*_all_bids(size), Call.LIAR), shape=(_num_features(size),), features=game.features
        ),
        configure=configure,
    )


def _check_integer(option: str, value: object, low: int, high: int) -> None:
    # The value may come from a configuration file, where its type is not checked; True is an int as well.
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"option {option} of liars_dice is {value!r}: expected an integer from {low} to {high}")


SPEC: Final = configure()
