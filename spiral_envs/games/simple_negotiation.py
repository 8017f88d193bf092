"""Simple negotiation: two traders swap resources, such as Wood and Gold, that they value differently.

Rules: both players start with 10 units of each resource. In turn, each makes an offer, or answers the offer that
    stands: accepting carries it out, denying or offering something else ends it. An offer gives some units of one
    resource for some units of another; the proposer must own what it gives when the offer is made, and both must own
    their side when it is accepted. Nobody can accept their own offer. After 10 turns in all, the player whose
    holdings have gained more, in that player's own values, wins.
Players: Player 0 (moves first) and Player 1.
Moves: `[Offer: 3 Wood -> 2 Gold]` gives 3 Wood for 2 Gold; `[Accept]`; `[Deny]`. Each may carry a public remark:
    `[Deny | that is too little for me]`. Remarks are cleaned, cut after 200 characters and shown as quotations; they
    change nothing else.
    With two resources `legal_moves` lists every move without a remark; with more, which have up to 22,400 offers, it
    lists the answers and the offers of 1 to 5 units for 1 to 5, and the others are legal as well.
Options: `resources` (default 2, up to 8), how many of Wood, Gold, Stone, Iron, Wheat, Cloth, Clay and Salt are traded.
    `values`: with `fixed` (default) a unit of Wood and Gold is worth 5 and 15 to Player 0, 15 and 5 to Player 1, and
    with more resources 5, 15, 25, ... to Player 0 and the same numbers in the reverse order to Player 1; with `drawn`
    chance draws each player's value of each resource from 5, 10, 15, 20, 25. Values are private.
    `turns` (default 10), the number of turns in all.
Returns: +1 for the larger gain, -1 for the smaller, 0 each when equal.
Length: exactly `turns` plies.
Source of the rules: SPIRAL (arXiv 2506.24119), with the parsing and affordability rules as its paper means them.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple, Self, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError, UnknownNameError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player, new_tuple
from spiral_envs.public_message import clean_message

START: Final = 10
"""Units of each resource that each player starts with."""

SUPPLY: Final = 2 * START
"""Units of each resource in the game; no offer can ask for more."""

NAMES: Final = ("Wood", "Gold", "Stone", "Iron", "Wheat", "Cloth", "Clay", "Salt")
"""The resources by number; a game has the first few."""

MAX_TURNS: Final = 100

DRAWN_VALUES: Final = (5, 10, 15, 20, 25)


class Resource(IntEnum):
    """The two resources of the default game; others are numbered on, as in `NAMES`."""

    WOOD = 0
    GOLD = 1


class Act(IntEnum):
    """The three kinds of move."""

    OFFER = 0
    ACCEPT = 1
    DENY = 2


class Trade(NamedTuple):
    """A player's move.

    Attributes:
        act: The kind.
        gives: The number of the resource that the proposer gives; WOOD unless `act` is OFFER.
        give: Units given; 0 unless `act` is OFFER.
        get: Units asked for; 0 unless `act` is OFFER.
        remark: The public remark, as `clean_message` returns it; empty for none.
        gets: The number of the resource that is asked for; None where it is the other one of two, and unless `act` is
            OFFER.
    """

    act: Act
    gives: int = Resource.WOOD
    give: int = 0
    get: int = 0
    remark: str = ""
    gets: int | None = None


class DrawnValue(NamedTuple):
    """Chance's move: the next private value."""

    value: int


NegotiationMove: TypeAlias = Trade | DrawnValue

Holdings: TypeAlias = tuple[int, ...]
"""Units of each resource, Wood and Gold first."""


class _Fields(NamedTuple):
    holdings: tuple[Holdings, Holdings]
    values: tuple[int, ...]
    log: tuple[Trade, ...]
    past: tuple[str, str]


class NegotiationState(_Fields):
    """A match in progress.

    Attributes:
        holdings: Each seat's units.
        values: Private values of a unit: seat 0's of every resource in order (Wood, Gold), then seat 1's; shorter
            while chance is drawing them.
        log: The moves so far; the seats alternate, seat 0 first.
        past: What each seat reads of `log`: it grows by a line a turn, and would take long to write anew.
    """

    __slots__ = ()

    def __new__(
        cls,
        holdings: tuple[Holdings, Holdings],
        values: tuple[int, ...],
        log: tuple[Trade, ...] = (),
        past: tuple[str, str] | None = None,
    ) -> Self:
        """Returns a state; `past` follows from `log` and need not be given."""
        return super().__new__(cls, holdings, values, log, _past(log) if past is None else past)


class SimpleNegotiation:
    """The rules."""

    num_players = 2

    def __init__(self, *, turns: int, fixed_values: tuple[int, ...], resources: int = 2) -> None:
        """Sets the number of turns, the values that are not left to chance, and the number of resources."""
        self.max_plies = turns
        self._num_values = 2 * resources
        holdings = (START,) * resources
        self._start = NegotiationState((holdings, holdings), fixed_values)

    def initial_state(self) -> NegotiationState:
        """Returns the state before any value is drawn."""
        return self._start

    def to_move(self, state: NegotiationState) -> Player:
        """Returns the seat to move, `CHANCE` while values are drawn, or `TERMINAL`."""
        if len(state.values) < self._num_values:
            return CHANCE
        plies = len(state.log)
        return TERMINAL if plies == self.max_plies else plies % 2

    def legal_moves(self, state: NegotiationState) -> tuple[NegotiationMove, ...]:
        """Returns the answers to the standing offer, if any, then the offers that the mover can afford.

        With more than two resources these are samples of the offers.
        """
        holdings, values, log, _ = state
        plies = len(log)
        if plies == self.max_plies or len(values) < self._num_values:
            return ()
        player = plies % 2
        if plies == 0 or log[-1].act is not _OFFER:
            return _moves(holdings[player], False, False)
        return _moves(holdings[player], True, _can_accept(holdings, log[-1], player))

    def chance_outcomes(self, state: NegotiationState) -> tuple[tuple[NegotiationMove, float], ...]:
        """Returns the possible private values, equally likely."""
        return _DRAWS if len(state.values) < self._num_values else ()

    def next_state(self, state: NegotiationState, move: NegotiationMove) -> NegotiationState:
        """Returns the state after a value is drawn, or after an offer, an acceptance or a denial."""
        if isinstance(move, DrawnValue):
            if self.to_move(state) != CHANCE or move.value not in DRAWN_VALUES:
                raise IllegalMoveError(f"illegal draw {move.value} in simple_negotiation: no value is drawn here")
            return NegotiationState(state.holdings, (*state.values, move.value))
        holdings, values, log, past = state
        plies = len(log)
        if plies == self.max_plies or len(values) < self._num_values:
            raise IllegalMoveError(f"illegal move {_format(move)} in simple_negotiation: no player is to move")
        player = plies % 2
        _check(state, move, player)
        if move.act is _ACCEPT:
            offer = _standing_offer(log)
            assert offer is not None, "checked above"
            holdings = _carry_out(holdings, offer, proposer=1 - player)
        return new_tuple(NegotiationState, (holdings, values, (*log, move), _with_turn(past, plies, move)))

    def returns(self, state: NegotiationState) -> tuple[float, ...]:
        """Returns +1 to the larger gain and -1 to the smaller; zeros before the end or when equal."""
        if self.to_move(state) != TERMINAL:
            return (0.0, 0.0)
        sign = _lead(state)
        return (float(sign), float(-sign))


class NegotiationCodec:
    """The text."""

    def __init__(self, *, turns: int, fixed_values: tuple[int, ...], resources: int = 2) -> None:
        """Sets the options that the rules mention."""
        self._num_resources = resources
        self._turns = turns
        self._offer_syntax = _offer_syntax(resources)
        self._status = tuple(
            tuple(f"\n{_status(seat, plies, turns=turns)}" for plies in range(turns)) for seat in range(2)
        )
        self._rules = tuple(_rules(seat, turns=turns, resources=resources) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player 0 or Player 1."""
        return self._rules[seat]

    def observe(self, state: NegotiationState, seat: Player) -> str:
        """Returns the seat's own values, all holdings and the public history; at the end, who has won."""
        holdings, values, log, past = state
        plies = len(log)
        status = self._status[seat][plies] if plies < self._turns else _result(state, seat)
        return f"{_holdings_line(holdings, values, seat)}{past[seat]}{status}"

    def format_move(self, move: NegotiationMove) -> str:
        """Returns the move as a player writes it, with its remark."""
        assert isinstance(move, Trade), "chance's moves are never written"
        return _format(move)

    def parse_move(self, state: NegotiationState, text: str) -> NegotiationMove:
        """Returns the move that `[Offer: 3 Wood -> 2 Gold]`, `[Accept]` or `[Deny]` says, in any case of letters."""
        move = self._read(unbracketed(text))
        if move is None:
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in simple_negotiation:"
                " expected [Offer: 3 Wood -> 2 Gold], [Accept] or [Deny]"
            )
        player = len(state.log) % 2
        _check(state, move, player)
        return move

    def _read(self, text: str) -> Trade | None:
        act, _, said = text.partition("|")
        act = act.strip()
        remark = clean_message(said)
        word = act.lower()
        if word == "accept":
            return Trade(Act.ACCEPT, remark=remark)
        if word == "deny":
            return Trade(Act.DENY, remark=remark)
        match = self._offer_syntax.fullmatch(act)
        if match is None:
            return None
        gives, gets = _NUMBERS[match[2].lower()], _NUMBERS[match[4].lower()]
        if gives == gets:
            return None
        return _offer(gives, int(match[1]), gets, int(match[3]), is_other=self._num_resources == 2, remark=remark)


def gain(state: NegotiationState, seat: Player) -> int:
    """Returns how much the holdings of `seat` have gained since the start, in its own values."""
    return _gain(state.holdings[seat], _own(state.values, state.holdings[seat], seat))


# Looking a member up in its enumeration takes longer than most tests of it.
_OFFER: Final = Act.OFFER
_ACCEPT: Final = Act.ACCEPT

_DRAWS: Final[tuple[tuple[NegotiationMove, float], ...]] = tuple(
    (DrawnValue(value), 1 / len(DRAWN_VALUES)) for value in DRAWN_VALUES
)

_SAMPLE_AMOUNTS: Final = range(1, 6)
"""Units given and asked for in the offers that are listed with more than two resources."""

_NUMBERS: Final = {name.lower(): number for number, name in enumerate(NAMES)}


def _offer(gives: int, give: int, gets: int, get: int, *, is_other: bool, remark: str = "") -> Trade:
    """Returns an offer as the game keeps it: where `gets` is the other one of two resources, it is not said."""
    if is_other:
        return Trade(Act.OFFER, Resource(gives), give, get, remark)
    return Trade(Act.OFFER, gives, give, get, remark, gets)


@lru_cache(maxsize=len(NAMES))
def _offers(num_resources: int) -> tuple[Trade, ...]:
    """Returns the offers that are listed where they can be afforded."""
    is_exact = num_resources == 2
    amounts = range(1, SUPPLY + 1) if is_exact else _SAMPLE_AMOUNTS
    return tuple(
        _offer(gives, give, gets, get, is_other=is_exact)
        for gives in range(num_resources)
        for gets in range(num_resources)
        if gets != gives
        for give in amounts
        for get in amounts
    )


@lru_cache(maxsize=len(NAMES))
def _offer_syntax(num_resources: int) -> re.Pattern[str]:
    # Possessive and bounded pieces only, so that matching is linear.
    resource = f"({'|'.join(NAMES[:num_resources])})"
    return re.compile(
        rf"offer\s{{0,3}}:\s{{0,3}}(\d{{1,3}})\s{{1,3}}{resource}\s{{0,3}}->\s{{0,3}}(\d{{1,3}})\s{{1,3}}{resource}",
        re.IGNORECASE | re.ASCII,
    )


@lru_cache(maxsize=512)
def _moves(own: Holdings, has_offer: bool, can_accept: bool) -> tuple[NegotiationMove, ...]:
    answers = ((Trade(Act.ACCEPT),) if can_accept else ()) + ((Trade(Act.DENY),) if has_offer else ())
    return answers + tuple(offer for offer in _offers(len(own)) if offer.give <= own[offer.gives])


def _standing_offer(log: tuple[Trade, ...]) -> Trade | None:
    return log[-1] if log and log[-1].act is _OFFER else None


def _asked(offer: Trade) -> int:
    """Returns the number of the resource that `offer` asks for."""
    gets = offer.gets
    return gets if gets is not None else 0 if offer.gives else 1


def _can_accept(holdings: tuple[Holdings, Holdings], offer: Trade, player: Player) -> bool:
    """Whether `player` owns what `offer` asks for; the proposer's side cannot have changed since it was made."""
    return offer.get <= holdings[player][_asked(offer)]


def _check(state: NegotiationState, move: Trade, player: Player) -> None:
    """Raises IllegalMoveError unless `move` is legal for `player`."""
    own = state.holdings[player]
    if move.act is _OFFER:
        if move.gets is not None or len(own) > 2:
            _check_resources(move, len(own))
        owned = own[move.gives]
        if not 1 <= move.give <= SUPPLY or not 1 <= move.get <= SUPPLY:
            why = f"amounts are 1 to {SUPPLY}"
        elif move.give > owned:
            why = f"Player {player} has only {owned} {NAMES[move.gives]}"
        else:
            return
    elif (offer := _standing_offer(state.log)) is None:
        why = "no offer stands"
    elif move.act is _ACCEPT and not _can_accept(state.holdings, offer, player):
        asked = _asked(offer)
        why = f"Player {player} has only {own[asked]} {NAMES[asked]}"
    else:
        return
    raise IllegalMoveError(f"illegal move {_format(move._replace(remark=''))} in simple_negotiation: {why}")


def _check_resources(offer: Trade, num_resources: int) -> None:
    """Raises IllegalMoveError unless `offer` is of two different resources of the game, said in the game's one way."""
    gives, gets = offer.gives, offer.gets
    numbers = range(num_resources)
    if num_resources == 2 or gives not in numbers or gets not in numbers or gives == gets:
        raise IllegalMoveError(
            f"illegal offer of resource {gives} for {gets} in simple_negotiation: expected two different ones of"
            f" {', '.join(NAMES[:num_resources])} by number, with gets=None where there are only two"
        )


def _carry_out(holdings: tuple[Holdings, Holdings], offer: Trade, *, proposer: Player) -> tuple[Holdings, Holdings]:
    after = [list(holdings[0]), list(holdings[1])]
    asked = _asked(offer)
    for seat, sign in ((proposer, 1), (1 - proposer, -1)):
        after[seat][offer.gives] -= sign * offer.give
        after[seat][asked] += sign * offer.get
    return tuple(after[0]), tuple(after[1])


@lru_cache(maxsize=4096)
def _format(move: Trade) -> str:
    if move.act is _OFFER:
        act = f"Offer: {move.give} {NAMES[move.gives]} -> {move.get} {NAMES[_asked(move)]}"
    else:
        act = move.act.name.capitalize()
    return f"[{act} | {move.remark}]" if move.remark else f"[{act}]"


def _own(values: tuple[int, ...], holdings: Holdings, seat: Player) -> tuple[int, ...]:
    """Returns the values of `seat`."""
    return values[len(holdings) * seat : len(holdings) * (seat + 1)]


def _gain(holdings: Holdings, values: tuple[int, ...]) -> int:
    return sum((units - START) * value for units, value in zip(holdings, values, strict=True))


def _lead(state: NegotiationState) -> int:
    """Returns 1 where Player 0's gain is the larger one, -1 where Player 1's is, 0 where they are equal."""
    gains = gain(state, 0), gain(state, 1)
    return (gains[0] > gains[1]) - (gains[0] < gains[1])


def _listed(words: Iterable[str]) -> str:
    """Returns `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}"


@lru_cache(maxsize=8192)
def _holdings_line(holdings: tuple[Holdings, Holdings], values: tuple[int, ...], seat: Player) -> str:
    mine, theirs = holdings[seat], holdings[1 - seat]
    owned = f"You have {_listed(_units(mine))}; the other has {_listed(_units(theirs))}."
    own = _own(values, mine, seat)
    if len(own) < len(mine):
        return owned
    first, *others = (f"{'an' if name == 'Iron' else 'a'} {name}" for name in NAMES[: len(own)])
    worth = [f"{first} is worth {own[0]}", *map("{} {}".format, others, own[1:])]
    return f"{owned}\nTo you {_listed(worth)}; your gain so far is {_gain(mine, own):+d}."


def _units(holdings: Holdings) -> tuple[str, ...]:
    return tuple(f"{units} {name}" for units, name in zip(holdings, NAMES, strict=False))


def _past(log: tuple[Trade, ...]) -> tuple[str, str]:
    past = ("", "")
    for ply, move in enumerate(log):
        past = _with_turn(past, ply, move)
    return past


def _with_turn(past: tuple[str, str], ply: int, move: Trade) -> tuple[str, str]:
    """Returns `past` with the line of one more turn."""
    own, other = _log_lines(ply, move)
    return (past[0] + other, past[1] + own) if ply % 2 else (past[0] + own, past[1] + other)


@lru_cache(maxsize=32768)
def _log_lines(ply: int, move: Trade) -> tuple[str, str]:
    """Returns what the player who has moved reads of its turn, and what the other reads."""
    said = f', saying "{move.remark}"' if move.remark else ""
    what = f"{_format(move._replace(remark=''))}{said}"
    return f"\nTurn {ply + 1}: you {what}", f"\nTurn {ply + 1}: the other {what}"


_RESULTS: Final = {1: "You have won.", -1: "You have lost.", 0: "It is a draw."}
"""By whether the reader is ahead."""


def _result(state: NegotiationState, seat: Player) -> str:
    """Returns how an observation ends when the game is over: of the other's values it tells only who has won."""
    lead = _lead(state)
    return f"\nThe game is over. {_RESULTS[-lead if seat else lead]}"


def _status(seat: Player, plies: int, *, turns: int) -> str:
    return f"Turn {plies + 1} of {turns}. {'It is your turn.' if plies % 2 == seat else 'You wait.'}"


def _rules(seat: Player, *, turns: int, resources: int) -> str:
    order = "first" if seat == 0 else "second"
    others = "likewise from Gold to Wood" if resources == 2 else "likewise between any two resources"
    return (
        f"You are Player {seat} in a negotiation game against Player {1 - seat}. You move {order}.\n"
        f"Both players start with {_listed(_units((START,) * resources))}, and value them differently; each knows only"
        f" its own values. Players take turns, {turns} in all. In your turn you make an offer, or answer the other's"
        f" offer if one stands: accept it, deny it, or make an offer of your own, which denies it. You can only offer"
        f" what you have, and only accept if you have what is asked. At the end, the player whose holdings have gained"
        f" more, each counted in its own values, wins; equal gains are a draw.\n"
        f"Your move is [Offer: 3 Wood -> 2 Gold] to give 3 Wood and get 2 Gold ({others}), [Accept]"
        f" or [Deny]. You may add a public remark after a bar: [Deny | too little]."
    )


def _fixed_values(num_resources: int) -> tuple[int, ...]:
    """Returns 5, 15, 25, ... for Player 0 and the reverse for Player 1: what one likes least the other likes most."""
    values = tuple(range(5, 10 * num_resources, 10))
    return (*values, *reversed(values))


def configure(*, values: str = "fixed", turns: int = 10, resources: int = 2) -> GameSpec:
    """Returns simple negotiation with `values` "fixed" or "drawn", over `turns` turns in all, of `resources` resources.

    Raises:
        ValueError: `turns` is not an even integer from 2 to 100, or `resources` no integer from 2 to 8.
        UnknownNameError: No such kind of values.
    """
    if type(turns) is not int or not 2 <= turns <= MAX_TURNS or turns % 2:
        raise ValueError(
            f"option turns of simple_negotiation is {turns!r}: expected an even integer from 2 to {MAX_TURNS}"
        )
    if type(resources) is not int or not 2 <= resources <= len(NAMES):
        raise ValueError(
            f"option resources of simple_negotiation is {resources!r}: expected an integer from 2 to {len(NAMES)}"
        )
    if values not in ("fixed", "drawn"):
        raise UnknownNameError("values of simple_negotiation", str(values), ("fixed", "drawn"))
    fixed = _fixed_values(resources) if values == "fixed" else ()
    return GameSpec(
        name="simple_negotiation",
        version=0,
        game=SimpleNegotiation(turns=turns, fixed_values=fixed, resources=resources),
        codec=NegotiationCodec(turns=turns, fixed_values=fixed, resources=resources),
        roles=("Player 0", "Player 1"),
        return_range=(-1.0, 1.0),
        talk=True,
        configure=configure,
    )


SPEC: Final = configure()
