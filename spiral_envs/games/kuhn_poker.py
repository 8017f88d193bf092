"""Kuhn poker: three cards, one bet, several hands.

Rules: each hand both players ante 1 chip and get one card of J < Q < K. The first mover checks or bets 1 chip; facing a
    bet a player calls it (1 chip) or folds; after a check the other may check or bet. Two checks or a call lead to a
    showdown, where the higher card takes the pot; a fold gives the pot to the other without showing cards.
    The first mover alternates from hand to hand, seat 0 first.
Players: Player 0 and Player 1.
Moves: `[check]`, `[bet]`, `[call]`, `[fold]`.
Options: `hands` (default 5), the number of hands; `payoff`: with `win` (default) whoever has won more chips after
    the last hand wins +1 and the other -1, 0 each when equal; with `chips` the return is the chips won or lost.
    `hands=1, payoff="chips"` is the game of the literature.
Returns: {-1, 0, 1}; with `payoff="chips"` the integers from -2·hands to 2·hands.
Length: 2 or 3 plies a hand.
Known values: one hand is worth -1/18 to the first player; uniform random play has NashConv 11/12; the tree of one hand
    has 4 chance, 24 decision and 30 terminal nodes and 12 information sets.
Source of the rules: Kuhn, A simplified two-person poker, 1950; the match of several hands follows SPIRAL
    (arXiv 2506.24119), decided by chips as its paper means it.

Version history:
    v0: first release.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError, UnknownNameError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player, new_tuple

MAX_HANDS: Final = 100


class Card(IntEnum):
    """The deck, lowest first. A card is also the chance move that deals it."""

    J = 10
    Q = 11
    K = 12


class Bet(IntEnum):
    """What a player can do."""

    CHECK = 0
    """Pass, when there is no bet."""

    BET = 1
    """Put in one more chip, when there is no bet."""

    CALL = 2
    """Match the bet."""

    FOLD = 3
    """Give up the pot to the bet."""


KuhnMove: TypeAlias = Card | Bet


class Hand(NamedTuple):
    """One hand, in progress or finished.

    Attributes:
        cards: The cards dealt so far, seat 0's first.
        bets: The moves so far, the hand's first mover's first.
    """

    cards: tuple[Card, ...] = ()
    bets: tuple[Bet, ...] = ()


class KuhnState(NamedTuple):
    """A match in progress.

    Attributes:
        finished: The hands that are over.
        hand: The hand in progress; the last finished one again when the match is over.
        chips: Seat 0's net winnings in the finished hands.
    """

    finished: tuple[Hand, ...] = ()
    hand: Hand = Hand()
    chips: int = 0


class KuhnSituation(NamedTuple):
    """What a seat knows that matters to its play.

    Attributes:
        hands_left: The hands that are not over, the one in progress included.
        lead: The seat's own net winnings in the finished hands.
        card: Its card; None when it has none.
        bets: The moves in the hand in progress, the hand's first mover's first.
    """

    hands_left: int
    lead: int
    card: Card | None
    bets: tuple[Bet, ...]


_OPENING: Final = (Bet.CHECK, Bet.BET)
_FACING_BET: Final = (Bet.CALL, Bet.FOLD)
_OVER: Final = ()

_MOVES_AFTER: Final[dict[tuple[Bet, ...], tuple[Bet, ...]]] = {
    (): _OPENING,
    (Bet.CHECK,): _OPENING,
    (Bet.BET,): _FACING_BET,
    (Bet.CHECK, Bet.BET): _FACING_BET,
    (Bet.CHECK, Bet.CHECK): _OVER,
    (Bet.BET, Bet.CALL): _OVER,
    (Bet.BET, Bet.FOLD): _OVER,
    (Bet.CHECK, Bet.BET, Bet.CALL): _OVER,
    (Bet.CHECK, Bet.BET, Bet.FOLD): _OVER,
}
"""The legal moves after every betting sequence of a hand."""


class KuhnPoker:
    """The rules."""

    num_players = 2

    def __init__(self, *, hands: int, pays_chips: bool) -> None:
        """Sets the number of hands, and whether chips or only the win count."""
        self.hands = hands
        self.pays_chips = pays_chips
        self.max_plies = 3 * hands

    def initial_state(self) -> KuhnState:
        """Returns the state before the first card."""
        return _START

    def to_move(self, state: KuhnState) -> Player:
        """Returns the seat to move, `CHANCE` while cards are dealt, or `TERMINAL`."""
        finished, hand, _ = state
        if len(finished) == self.hands:
            return TERMINAL
        if len(hand.cards) < 2:
            return CHANCE
        return (len(finished) + len(hand.bets)) % 2

    def legal_moves(self, state: KuhnState) -> tuple[KuhnMove, ...]:
        """Returns check and bet, or call and fold when facing a bet."""
        cards, bets = state.hand
        return _MOVES_AFTER[bets] if len(cards) == 2 else _OVER

    def chance_outcomes(self, state: KuhnState) -> tuple[tuple[KuhnMove, float], ...]:
        """Returns the cards left in the deck, equally likely: seat 0's card is dealt first."""
        return _DEALS.get(state.hand.cards, ())

    def next_state(self, state: KuhnState, move: KuhnMove) -> KuhnState:
        """Returns the state after a card is dealt or a player moves; a hand that ends is settled at once."""
        finished, hand, chips = state
        hand, won = _hand_after(hand, move, len(finished) % 2)
        if not won:
            return new_tuple(KuhnState, (finished, hand, chips))
        finished = (*finished, hand)
        return new_tuple(KuhnState, (finished, hand if len(finished) == self.hands else _NO_CARDS, chips + won))

    def returns(self, state: KuhnState) -> tuple[float, ...]:
        """Returns the chips won, or +1 and -1 for winning and losing the match; zeros before the end."""
        if len(state.finished) < self.hands:
            return (0.0, 0.0)
        chips = state.chips if self.pays_chips else (state.chips > 0) - (state.chips < 0)
        return (float(chips), float(-chips))

    def situation(self, state: KuhnState, seat: Player) -> KuhnSituation:
        """Returns what `seat` knows that matters: finished hands count only by their chips."""
        finished, (cards, bets), chips = state
        card = cards[seat] if len(cards) > seat else None
        return new_tuple(KuhnSituation, (self.hands - len(finished), chips if seat == 0 else -chips, card, bets))


class KuhnCodec:
    """The text."""

    def __init__(self, *, hands: int, pays_chips: bool) -> None:
        """Sets the options that the rules mention."""
        self._hands = hands
        self._rules = tuple(_rules(seat, hands=hands, pays_chips=pays_chips) for seat in range(2))

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player 0 or Player 1."""
        return self._rules[seat]

    def observe(self, state: KuhnState, seat: Player) -> str:
        """Returns the seat's own view of all hands; the other's card only after a showdown."""
        finished, hand, chips = state
        if not finished:
            return _current_line(0, hand, seat)
        is_over = len(finished) == self._hands
        # Whole matches rarely recur, so that they are not remembered.
        past = _lines(finished, seat) if is_over else _past(finished, seat)
        if self._hands > 1:
            past += f"Your chips so far: {chips if seat == 0 else -chips:+d}.\n"
        return past[:-1] if is_over else past + _current_line(len(finished), hand, seat)

    def format_move(self, move: KuhnMove) -> str:
        """Returns `[check]`, `[bet]`, `[call]` or `[fold]`."""
        return f"[{move.name.lower()}]"

    def parse_move(self, state: KuhnState, text: str) -> KuhnMove:
        """Returns the move that `[bet]` or `bet` names, in any case of letters."""
        word = unbracketed(text)
        move = _BETS.get(word.lower())
        if move is None:
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in kuhn_poker: expected [check], [bet], [call] or [fold]"
            )
        legal = _MOVES_AFTER[state.hand.bets] if len(state.hand.cards) == 2 else _OVER
        if move not in legal:
            raise _illegal(state.hand, move, legal)
        return move


_NO_CARDS: Final = Hand()

_START: Final = KuhnState()

_DECK: Final = tuple(Card)

_DEALS: Final[dict[tuple[Card, ...], tuple[tuple[KuhnMove, float], ...]]] = {
    dealt: tuple((card, 1 / (3 - len(dealt))) for card in _DECK if card not in dealt)
    for dealt in ((), *((card,) for card in _DECK))
}

_BETS: Final = {bet.name.lower(): bet for bet in Bet}

_PAST: Final = {
    Bet.CHECK: ("you checked", "the other checked"),
    Bet.BET: ("you bet", "the other bet"),
    Bet.CALL: ("you called", "the other called"),
    Bet.FOLD: ("you folded", "the other folded"),
}


@lru_cache(maxsize=1024)
def _hand_after(hand: Hand, move: KuhnMove, first_mover: Player) -> tuple[Hand, int]:
    """Returns the hand after `move`, and the chips that seat 0 wins by it, which are 0 while it goes on."""
    cards, bets = hand
    if isinstance(move, Card):
        if len(cards) == 2 or move in cards:
            raise IllegalMoveError(f"illegal deal {move.name} in kuhn_poker: cards dealt are {_names(cards)}")
        return Hand((*cards, move)), 0
    legal = _MOVES_AFTER[bets] if len(cards) == 2 else _OVER
    if move not in legal:
        raise _illegal(hand, move, legal)
    following = Hand(cards, (*bets, move))
    is_over = not _MOVES_AFTER[following.bets]
    return following, _chips_to_seat_0(following, first_mover=first_mover) if is_over else 0


def _chips_to_seat_0(hand: Hand, *, first_mover: Player) -> int:
    last = hand.bets[-1]
    if last is Bet.FOLD:
        folder = (first_mover + len(hand.bets) - 1) % 2
        return 1 if folder == 1 else -1
    stake = 2 if last is Bet.CALL else 1
    return stake if hand.cards[0] > hand.cards[1] else -stake


def _illegal(hand: Hand, move: Bet, legal: tuple[KuhnMove, ...]) -> IllegalMoveError:
    after = " ".join(f"[{bet.name.lower()}]" for bet in hand.bets) or "the deal"
    expected = " or ".join(f"[{bet.name.lower()}]" for bet in legal) or "no move"
    return IllegalMoveError(f"illegal move [{move.name.lower()}] in kuhn_poker after {after}: expected {expected}")


def _names(cards: tuple[Card, ...]) -> str:
    return " ".join(card.name for card in cards) or "none"


@lru_cache(maxsize=4096)
def _betting(bets: tuple[Bet, ...], first_mover: Player, seat: Player) -> str:
    return ", ".join(_PAST[bet][(first_mover + ply + seat) % 2] for ply, bet in enumerate(bets))


@lru_cache(maxsize=4096)
def _past(finished: tuple[Hand, ...], seat: Player) -> str:
    return _lines(finished, seat) if finished else ""


def _lines(finished: tuple[Hand, ...], seat: Player) -> str:
    """Returns the lines of the finished hands; those before the last are usually known from earlier turns."""
    return f"{_past(finished[:-1], seat)}{_finished_line(len(finished) - 1, finished[-1], seat)}\n"


@lru_cache(maxsize=65536)
def _finished_line(index: int, hand: Hand, seat: Player) -> str:
    first_mover = index % 2
    chips = _chips_to_seat_0(hand, first_mover=first_mover)
    shown = "" if hand.bets[-1] is Bet.FOLD else f" The other had {hand.cards[1 - seat].name}."
    won = f"{chips if seat == 0 else -chips:+d} chips"
    return f"Hand {index + 1}: you had {hand.cards[seat].name}; {_betting(hand.bets, first_mover, seat)}.{shown} {won}."


@lru_cache(maxsize=65536)
def _current_line(index: int, hand: Hand, seat: Player) -> str:
    dealing = len(hand.cards) < 2
    card = hand.cards[seat].name if len(hand.cards) > seat else "not dealt yet"
    betting = _betting(hand.bets, index % 2, seat) or "no bets yet"
    is_mover = not dealing and (index + len(hand.bets)) % 2 == seat
    turn = "It is your turn." if is_mover else "You wait."
    return f"Hand {index + 1}: your card is {card}; {betting}. {turn}"


def _rules(seat: Player, *, hands: int, pays_chips: bool) -> str:
    order = "first" if seat == 0 else "second"
    if hands == 1:
        length, goal = "one hand", f"You move {order}."
    else:
        length = f"{hands} hands"
        goal = f"The player to move first alternates from hand to hand; you move {order} in hand 1."
    if pays_chips:
        aim = "You want to win as many chips as you can."
    elif hands == 1:
        aim = "You want to win the hand."
    else:
        aim = "Whoever has won more chips after the last hand wins the match; equal chips are a draw."
    return (
        f"You are Player {seat} in a game of Kuhn poker of {length}, against Player {1 - seat}. {goal}\n"
        f"In each hand both players put 1 chip into the pot and get one card of J, Q, K, where K is the highest and no"
        f" card is dealt twice. You see only your own card. The first player may check or bet 1 chip. After a check the"
        f" other player may check or bet 1 chip. A player who faces a bet may call it with 1 chip or fold. Two checks"
        f" or a call lead to a showdown, where the higher card takes the pot; a fold gives the pot to the other"
        f" player.\n"
        f"{aim}\n"
        f"Your move is [check] or [bet] when there is no bet, and [call] or [fold] when you face one."
    )


def configure(*, hands: int = 5, payoff: str = "win") -> GameSpec:
    """Returns Kuhn poker of `hands` hands, paid by `payoff`: "win" or "chips".

    Raises:
        ValueError: `hands` is not an integer from 1 to 100.
        UnknownNameError: No such payoff.
    """
    # The value may come from a configuration file, where its type is not checked; True is an int as well.
    if type(hands) is not int or not 1 <= hands <= MAX_HANDS:
        raise ValueError(f"option hands of kuhn_poker is {hands!r}: expected an integer from 1 to {MAX_HANDS}")
    if payoff not in ("win", "chips"):
        raise UnknownNameError("payoff of kuhn_poker", str(payoff), ("win", "chips"))
    pays_chips = payoff == "chips"
    highest = 2.0 * hands if pays_chips else 1.0
    game = KuhnPoker(hands=hands, pays_chips=pays_chips)
    return GameSpec(
        name="kuhn_poker",
        version=0,
        game=game,
        codec=KuhnCodec(hands=hands, pays_chips=pays_chips),
        roles=("Player 0", "Player 1"),
        return_range=(-highest, highest),
        knowledge=game.situation,
        configure=configure,
    )


SPEC: Final = configure()
