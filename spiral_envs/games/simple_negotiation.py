"""Simple negotiation: two traders swap Wood and Gold that they value differently.

Rules: both players start with 10 Wood and 10 Gold. In turn, each makes an offer, or answers the offer that stands:
    accepting carries it out, denying or offering something else ends it. An offer gives some units of one resource
    for some units of the other; the proposer must own what it gives when the offer is made, and both must own their
    side when it is accepted. Nobody can accept their own offer. After 10 turns in all, the player whose
    holdings have gained more, in that player's own values, wins.
Players: Player 0 (moves first) and Player 1.
Moves: `[Offer: 3 Wood -> 2 Gold]` gives 3 Wood for 2 Gold; `[Accept]`; `[Deny]`. Each may carry a public remark:
    `[Deny | that is too little for me]`. Remarks are cleaned and shown as quotations; they change nothing else.
Options: `values`: with `fixed` (default) a unit of Wood and Gold is worth 5 and 15 to Player 0, 15 and 5 to Player 1;
    with `drawn` chance draws each of the four values from 5, 10, 15, 20, 25. Values are private.
    `turns` (default 10), the number of turns in all.
Returns: +1 for the larger gain, -1 for the smaller, 0 each when equal.
Length: exactly `turns` plies.
Source of the rules: SPIRAL (arXiv 2506.24119), with the parsing and affordability rules as its paper means them.

Version history:
    v0: first release.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache
from itertools import count
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError, UnknownNameError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player, new_tuple
from spiral_envs.public_message import clean_message

START: Final = 10
"""Units of each resource that each player starts with."""

SUPPLY: Final = 2 * START
"""Units of each resource in the game; no offer can ask for more."""

MAX_TURNS: Final = 100

DRAWN_VALUES: Final = (5, 10, 15, 20, 25)


class Resource(IntEnum):
    """What is traded."""

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
        gives: The resource that the proposer gives; the other one is asked for. WOOD unless `act` is OFFER.
        give: Units given; 0 unless `act` is OFFER.
        get: Units asked for; 0 unless `act` is OFFER.
        remark: The public remark, as `clean_message` returns it; empty for none.
    """

    act: Act
    gives: Resource = Resource.WOOD
    give: int = 0
    get: int = 0
    remark: str = ""


class DrawnValue(NamedTuple):
    """Chance's move: the next private value."""

    value: int


NegotiationMove: TypeAlias = Trade | DrawnValue

Holdings: TypeAlias = tuple[int, int]
"""Units of Wood and of Gold."""


class NegotiationState(NamedTuple):
    """A match in progress.

    Attributes:
        holdings: Each seat's units.
        values: Private values of a unit, in the order (seat 0 Wood, seat 0 Gold, seat 1 Wood, seat 1 Gold);
            shorter while chance is drawing them.
        log: The moves so far; the seats alternate, seat 0 first.
    """

    holdings: tuple[Holdings, Holdings]
    values: tuple[int, ...]
    log: tuple[Trade, ...] = ()


class SimpleNegotiation:
    """The rules."""

    num_players = 2

    def __init__(self, *, turns: int, fixed_values: tuple[int, ...]) -> None:
        """Sets the number of turns and the values that are not left to chance."""
        self.max_plies = turns
        self._fixed_values = fixed_values

    def initial_state(self) -> NegotiationState:
        """Returns the state before any value is drawn."""
        return NegotiationState(((START, START), (START, START)), self._fixed_values)

    def to_move(self, state: NegotiationState) -> Player:
        """Returns the seat to move, `CHANCE` while values are drawn, or `TERMINAL`."""
        if len(state.values) < 4:
            return CHANCE
        plies = len(state.log)
        return TERMINAL if plies == self.max_plies else plies % 2

    def legal_moves(self, state: NegotiationState) -> tuple[NegotiationMove, ...]:
        """Returns the answers to the standing offer, if any, then every offer that the mover can afford."""
        player = self.to_move(state)
        if player < 0:
            return ()
        holdings, _, log = state
        offer = _standing_offer(log)
        can_accept = offer is not None and _can_accept(holdings, offer, player)
        return _moves(holdings[player], offer is not None, can_accept)

    def chance_outcomes(self, state: NegotiationState) -> tuple[tuple[NegotiationMove, float], ...]:
        """Returns the possible private values, equally likely."""
        return _DRAWS if len(state.values) < 4 else ()

    def next_state(self, state: NegotiationState, move: NegotiationMove) -> NegotiationState:
        """Returns the state after a value is drawn, or after an offer, an acceptance or a denial."""
        player = self.to_move(state)
        if isinstance(move, DrawnValue):
            if player != CHANCE or move.value not in DRAWN_VALUES:
                raise IllegalMoveError(f"illegal draw {move.value} in simple_negotiation: no value is drawn here")
            return NegotiationState(state.holdings, (*state.values, move.value))
        if player < 0:
            raise IllegalMoveError(f"illegal move {_format(move)} in simple_negotiation: no player is to move")
        _check(state, move, player)
        holdings, values, log = state
        if move.act is Act.ACCEPT:
            offer = _standing_offer(log)
            assert offer is not None, "checked above"
            holdings = _carry_out(holdings, offer, proposer=1 - player)
        return new_tuple(NegotiationState, (holdings, values, (*log, move)))

    def returns(self, state: NegotiationState) -> tuple[float, ...]:
        """Returns +1 to the larger gain and -1 to the smaller; zeros before the end or when equal."""
        if self.to_move(state) != TERMINAL:
            return (0.0, 0.0)
        lead = gain(state, 0) - gain(state, 1)
        sign = (lead > 0) - (lead < 0)
        return (float(sign), float(-sign))


class NegotiationCodec:
    """The text."""

    def __init__(self, *, turns: int, fixed_values: tuple[int, ...]) -> None:
        """Sets the options that the rules mention."""
        self._status = tuple(
            tuple(_status(seat, plies, turns=turns) for plies in range(turns + 1)) for seat in range(2)
        )
        self._rules = tuple(_rules(seat, turns=turns) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player 0 or Player 1."""
        return self._rules[seat]

    def observe(self, state: NegotiationState, seat: Player) -> str:
        """Returns the seat's own values, all holdings and the public history."""
        holdings, values, log = state
        holdings_line = _holdings_line(holdings, values, seat)
        return "\n".join((holdings_line, *map(_log_line, count(), log, _OWN_TURNS[seat]), self._status[seat][len(log)]))

    def format_move(self, move: NegotiationMove) -> str:
        """Returns the move as a player writes it, with its remark."""
        assert isinstance(move, Trade), "chance's moves are never written"
        return _format(move)

    def parse_move(self, state: NegotiationState, text: str) -> NegotiationMove:
        """Returns the move that `[Offer: 3 Wood -> 2 Gold]`, `[Accept]` or `[Deny]` says, in any case of letters."""
        move = _read(unbracketed(text))
        if move is None:
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in simple_negotiation:"
                " expected [Offer: 3 Wood -> 2 Gold], [Accept] or [Deny]"
            )
        player = len(state.log) % 2
        _check(state, move, player)
        return move


def gain(state: NegotiationState, seat: Player) -> int:
    """Returns how much the holdings of `seat` have gained since the start, in its own values."""
    wood, gold = state.holdings[seat]
    return (wood - START) * state.values[2 * seat] + (gold - START) * state.values[2 * seat + 1]


_NAMES: Final = ("Wood", "Gold")

# Looking a member up in its enumeration takes longer than most tests of it.
_OFFER: Final = Act.OFFER

_DRAWS: Final[tuple[tuple[NegotiationMove, float], ...]] = tuple(
    (DrawnValue(value), 1 / len(DRAWN_VALUES)) for value in DRAWN_VALUES
)

_OWN_TURNS: Final = ((True, False) * (MAX_TURNS // 2), (False, True) * (MAX_TURNS // 2))
"""By seat, which turns are its own."""

_OFFERS: Final = tuple(
    Trade(Act.OFFER, resource, give, get)
    for resource in Resource
    for give in range(1, SUPPLY + 1)
    for get in range(1, SUPPLY + 1)
)

# Possessive and bounded pieces only, so that matching is linear.
_OFFER_SYNTAX: Final = re.compile(
    r"offer\s{0,3}:\s{0,3}(\d{1,3})\s{1,3}(wood|gold)\s{0,3}->\s{0,3}(\d{1,3})\s{1,3}(wood|gold)",
    re.IGNORECASE | re.ASCII,
)


@lru_cache(maxsize=512)
def _moves(own: Holdings, has_offer: bool, can_accept: bool) -> tuple[NegotiationMove, ...]:
    answers = ((Trade(Act.ACCEPT),) if can_accept else ()) + ((Trade(Act.DENY),) if has_offer else ())
    return answers + tuple(offer for offer in _OFFERS if offer.give <= own[offer.gives])


def _standing_offer(log: tuple[Trade, ...]) -> Trade | None:
    return log[-1] if log and log[-1].act is _OFFER else None


def _can_accept(holdings: tuple[Holdings, Holdings], offer: Trade, player: Player) -> bool:
    """Whether `player` owns what `offer` asks for; the proposer's side cannot have changed since it was made."""
    return offer.get <= holdings[player][1 - offer.gives]


def _check(state: NegotiationState, move: Trade, player: Player) -> None:
    """Raises IllegalMoveError unless `move` is legal for `player`."""
    if move.act is _OFFER:
        owned = state.holdings[player][move.gives]
        if not 1 <= move.give <= SUPPLY or not 1 <= move.get <= SUPPLY:
            why = f"amounts are 1 to {SUPPLY}"
        elif move.give > owned:
            why = f"Player {player} has only {owned} {_NAMES[move.gives]}"
        else:
            return
    elif (offer := _standing_offer(state.log)) is None:
        why = "no offer stands"
    elif move.act is Act.ACCEPT and not _can_accept(state.holdings, offer, player):
        asked = Resource(1 - offer.gives)
        why = f"Player {player} has only {state.holdings[player][asked]} {_NAMES[asked]}"
    else:
        return
    raise IllegalMoveError(f"illegal move {_format(move._replace(remark=''))} in simple_negotiation: {why}")


def _carry_out(holdings: tuple[Holdings, Holdings], offer: Trade, *, proposer: Player) -> tuple[Holdings, Holdings]:
    given, received = (offer.give, offer.get) if offer.gives is Resource.WOOD else (-offer.get, -offer.give)
    changes = (-given, received) if proposer == 0 else (given, -received)
    (wood_0, gold_0), (wood_1, gold_1) = holdings
    return (wood_0 + changes[0], gold_0 + changes[1]), (wood_1 - changes[0], gold_1 - changes[1])


@lru_cache(maxsize=4096)
def _format(move: Trade) -> str:
    if move.act is Act.OFFER:
        act = f"Offer: {move.give} {_NAMES[move.gives]} -> {move.get} {_NAMES[1 - move.gives]}"
    else:
        act = move.act.name.capitalize()
    return f"[{act} | {move.remark}]" if move.remark else f"[{act}]"


def _read(text: str) -> Trade | None:
    act, _, said = text.partition("|")
    act = act.strip()
    remark = clean_message(said)
    word = act.lower()
    if word == "accept":
        return Trade(Act.ACCEPT, remark=remark)
    if word == "deny":
        return Trade(Act.DENY, remark=remark)
    match = _OFFER_SYNTAX.fullmatch(act)
    if match is None or match[2].lower() == match[4].lower():
        return None
    gives = Resource.WOOD if match[2].lower() == "wood" else Resource.GOLD
    return Trade(Act.OFFER, gives, int(match[1]), int(match[3]), remark)


@lru_cache(maxsize=8192)
def _holdings_line(holdings: tuple[Holdings, Holdings], values: tuple[int, ...], seat: Player) -> str:
    mine, theirs = holdings[seat], holdings[1 - seat]
    owned = f"You have {mine[0]} Wood and {mine[1]} Gold; the other has {theirs[0]} Wood and {theirs[1]} Gold."
    own = values[2 * seat : 2 * seat + 2]
    if len(own) < 2:
        return owned
    gained = (mine[0] - START) * own[0] + (mine[1] - START) * own[1]
    return f"{owned}\nTo you a Wood is worth {own[0]} and a Gold {own[1]}; your gain so far is {gained:+d}."


@lru_cache(maxsize=65536)
def _log_line(ply: int, move: Trade, is_own: bool) -> str:
    said = f', saying "{move.remark}"' if move.remark else ""
    return f"Turn {ply + 1}: {'you' if is_own else 'the other'} {_format(move._replace(remark=''))}{said}"


def _status(seat: Player, plies: int, *, turns: int) -> str:
    if plies == turns:
        return "The game is over."
    return f"Turn {plies + 1} of {turns}. {'It is your turn.' if plies % 2 == seat else 'You wait.'}"


def _rules(seat: Player, *, turns: int) -> str:
    order = "first" if seat == 0 else "second"
    return (
        f"You are Player {seat} in a negotiation game against Player {1 - seat}. You move {order}.\n"
        f"Both players start with {START} Wood and {START} Gold, and value them differently; each knows only its own"
        f" values. Players take turns, {turns} in all. In your turn you make an offer, or answer the other's offer if"
        f" one stands: accept it, deny it, or make an offer of your own, which denies it. You can only offer what you"
        f" have, and only accept if you have what is asked. At the end, the player whose holdings have gained more,"
        f" each counted in its own values, wins; equal gains are a draw.\n"
        f"Your move is [Offer: 3 Wood -> 2 Gold] to give 3 Wood and get 2 Gold (likewise from Gold to Wood), [Accept]"
        f" or [Deny]. You may add a public remark after a bar: [Deny | too little]."
    )


_FIXED_VALUES: Final = (5, 15, 15, 5)


def configure(*, values: str = "fixed", turns: int = 10) -> GameSpec:
    """Returns simple negotiation with `values` "fixed" or "drawn", over `turns` turns in all.

    Raises:
        ValueError: `turns` is not an even integer from 2 to 100.
        UnknownNameError: No such kind of values.
    """
    if type(turns) is not int or not 2 <= turns <= MAX_TURNS or turns % 2:
        raise ValueError(
            f"option turns of simple_negotiation is {turns!r}: expected an even integer from 2 to {MAX_TURNS}"
        )
    if values not in ("fixed", "drawn"):
        raise UnknownNameError("values of simple_negotiation", str(values), ("fixed", "drawn"))
    fixed = _FIXED_VALUES if values == "fixed" else ()
    return GameSpec(
        name="simple_negotiation",
        version=0,
        game=SimpleNegotiation(turns=turns, fixed_values=fixed),
        codec=NegotiationCodec(turns=turns, fixed_values=fixed),
        roles=("Player 0", "Player 1"),
        return_range=(-1.0, 1.0),
        configure=configure,
    )


SPEC: Final = configure()
