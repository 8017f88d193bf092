"""Kuhn poker: one card each, one bet, several hands.

Rules: each hand every player antes 1 chip and gets one card, no card twice. The players move in turn: each checks, or
    bets 1 chip; once somebody has bet, each of the others in turn calls it (1 chip) or folds, and there is no other
    bet. Without a bet all show their cards, otherwise those who bet or called do, and the highest card takes the pot;
    whoever is left alone by the others' folds takes it without showing. Seat 0 moves first in hand 1; in each hand
    after it the next seat does.
Players: Player 0, Player 1 and so on.
Moves: `[check]`, `[bet]`, `[call]`, `[fold]`.
Options: `hands` (default 5), the number of hands; `payoff`: with `win` (default) the players are ranked by the chips
    that they have won after the last hand, and each gets the number of players behind it less the number ahead of it:
    of two, +1 for the winner and -1 for the loser, 0 each when equal; with `chips` the return is the chips won or lost.
    `players` (default 2), from 2 to 10; `cards` (default None: one more than players), at most 13: the deck is the
    ranks that end in K, so that three cards are J, Q, K and four 10, J, Q, K; thirteen are 2 to A, where A is the
    highest. `hands=1, payoff="chips"` is the game of the literature.
Returns: with two players {-1, 0, 1}, with n players the integers from -(n - 1) to n - 1; with `payoff="chips"` the
    integers from -2·hands to 2·(n - 1)·hands. There an invalid move of one of more than two players may cost it more,
    see `spiral_envs.match.forfeit_returns`.
Length: n to 2n - 1 plies a hand.
Known values: one hand is worth -1/18 to the first player; uniform random play has NashConv 11/12; the tree of one hand
    has 4 chance, 24 decision and 30 terminal nodes and 12 information sets; with three players 17 chance, 288 decision
    and 312 terminal nodes and 48 information sets.
Source of the rules: Kuhn, A simplified two-person poker, 1950; the match of several hands follows SPIRAL
    (arXiv 2506.24119), decided by chips as its paper means it; more players follow OpenSpiel's kuhn_poker, larger decks
    SPIRAL's harder variants.

Version history:
    v0: first release.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from operator import add
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError, UnknownNameError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

MAX_HANDS: Final = 100

MAX_PLAYERS: Final = 10

MAX_CARDS: Final = 13


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


class Card(IntEnum):
    """The cards, lowest first. A card is also the chance move that deals it.

    They are numbered after the moves of `Bet`, since a card that equals a bet would be the same move to a cache.
    """

    TWO = 4
    THREE = 5
    FOUR = 6
    FIVE = 7
    SIX = 8
    SEVEN = 9
    EIGHT = 10
    NINE = 11
    TEN = 12
    J = 13
    Q = 14
    K = 15
    A = 16


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
        chips: The net winnings of every seat in the finished hands.
    """

    finished: tuple[Hand, ...] = ()
    hand: Hand = Hand()
    chips: tuple[int, ...] = (0, 0)


class KuhnSituation(NamedTuple):
    """What a seat knows that matters to its play.

    Attributes:
        hands_left: The hands that are not over, the one in progress included.
        first_mover: The seat that moves first in the hand in progress.
        chips: The net winnings of every seat in the finished hands.
        card: The seat's own card; None when it has none.
        bets: The moves in the hand in progress, the hand's first mover's first.
    """

    hands_left: int
    first_mover: Player
    chips: tuple[int, ...]
    card: Card | None
    bets: tuple[Bet, ...]


_OPENING: Final = (Bet.CHECK, Bet.BET)
_FACING_BET: Final = (Bet.CALL, Bet.FOLD)
_OVER: Final = ()


class KuhnPoker:
    """The rules."""

    def __init__(self, *, hands: int, pays_chips: bool, players: int = 2, cards: int = 3) -> None:
        """Sets the numbers of hands, players and cards, and whether chips or only the ranks count."""
        self.num_players = players
        self.hands = hands
        self.pays_chips = pays_chips
        self.num_cards = cards
        self.max_plies = (2 * players - 1) * hands
        self._nothing = (0.0,) * players

    def initial_state(self) -> KuhnState:
        """Returns the state before the first card."""
        return _start(self.num_players)

    def to_move(self, state: KuhnState) -> Player:
        """Returns the seat to move, `CHANCE` while cards are dealt, or `TERMINAL`."""
        finished, hand, _ = state
        if len(finished) == self.hands:
            return TERMINAL
        cards, bets = hand
        players = self.num_players
        if len(cards) < players:
            return CHANCE
        return (len(finished) + len(bets)) % players

    def legal_moves(self, state: KuhnState) -> tuple[KuhnMove, ...]:
        """Returns check and bet, or call and fold when facing a bet."""
        cards, bets = state.hand
        players = self.num_players
        return _moves_after(bets, players) if len(cards) == players else _OVER

    def chance_outcomes(self, state: KuhnState) -> tuple[tuple[KuhnMove, float], ...]:
        """Returns the cards left in the deck, equally likely: seat 0's card is dealt first."""
        cards, _ = state.hand
        return _deals(cards, self.num_cards) if len(cards) < self.num_players else _OVER

    def next_state(self, state: KuhnState, move: KuhnMove) -> KuhnState:
        """Returns the state after a card is dealt or a player moves; a hand that ends is settled at once."""
        finished, hand, chips = state
        players = self.num_players
        hand, won = _hand_after(hand, move, len(finished) % players, players, self.num_cards)
        if not won:
            return new_tuple(KuhnState, (finished, hand, chips))
        finished = (*finished, hand)
        shown = hand if len(finished) == self.hands else _NO_CARDS
        return new_tuple(KuhnState, (finished, shown, _added(chips, won)))

    def returns(self, state: KuhnState) -> tuple[float, ...]:
        """Returns the chips won, or how many players are behind each less those ahead; zeros before the end."""
        if len(state.finished) < self.hands:
            return self._nothing
        return tuple(map(float, state.chips)) if self.pays_chips else _ranked(state.chips)

    def situation(self, state: KuhnState, seat: Player) -> KuhnSituation:
        """Returns what `seat` knows that matters: finished hands count only by their chips."""
        finished, (cards, bets), chips = state
        card = cards[seat] if len(cards) > seat else None
        num_finished = len(finished)
        return new_tuple(KuhnSituation, (self.hands - num_finished, num_finished % self.num_players, chips, card, bets))

    def features(self, state: KuhnState, seat: Player) -> tuple[float, ...]:
        """Returns what `situation` says in numbers, every seat counted from the hand's first mover or from `seat`.

        These are: the seat's place in the order of the hand's moves (one-hot), its card (one-hot), and for every move
        of a hand whether it checked or folded, and whether it bet or called. When the match has more than one hand,
        they go on with the share of hands that are left and the chips won by the seat itself and by those after it,
        as a share of 2 chips a hand.
        """
        finished, (cards, bets), chips = state
        players, hands = self.num_players, self.hands
        # When the match is over its last hand is still shown.
        index = min(len(finished), hands - 1)
        card = cards[seat] if len(cards) > seat else None
        now = _hand_features((seat - index) % players, card, bets, players, self.num_cards)
        if hands == 1:
            return now
        stakes = 2 * hands
        ordered = chips[seat:] + chips[:seat]
        return (*now, (hands - len(finished)) / hands, *[won / stakes for won in ordered])


class KuhnCodec:
    """The text."""

    def __init__(self, *, hands: int, pays_chips: bool, players: int, cards: int) -> None:
        """Sets the options that the rules mention."""
        self._hands = hands
        self._players = players
        self._rules = tuple(
            _rules(seat, hands=hands, pays_chips=pays_chips, players=players, cards=cards) for seat in range(players)
        )

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player `seat`."""
        return self._rules[seat]

    def observe(self, state: KuhnState, seat: Player) -> str:
        """Returns the seat's own view of all hands; other cards only after a showdown."""
        finished, hand, chips = state
        players = self._players
        if not finished:
            return _current_line(0, hand, seat, players)
        is_over = len(finished) == self._hands
        # Whole matches rarely recur, so that they are not remembered.
        past = _lines(finished, seat) if is_over else _past(finished, seat)
        if self._hands > 1:
            past += _chips_line(chips, seat)
        return past[:-1] if is_over else past + _current_line(len(finished), hand, seat, players)

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
        legal = _legal_moves(state.hand, self._players)
        if move not in legal:
            raise _illegal(state.hand, move, legal)
        return move


_NO_CARDS: Final = Hand()

_CARDS: Final = tuple(Card)

_CARD_NAMES: Final = {card: card.name if card >= Card.J else str(number) for number, card in enumerate(_CARDS, start=2)}

_BETS: Final = {bet.name.lower(): bet for bet in Bet}

_DONE: Final = {Bet.CHECK: "checked", Bet.BET: "bet", Bet.CALL: "called", Bet.FOLD: "folded"}

_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@lru_cache(maxsize=MAX_PLAYERS)
def _start(players: int) -> KuhnState:
    return KuhnState(chips=(0,) * players)


@lru_cache(maxsize=MAX_CARDS)
def _deck(num_cards: int) -> tuple[Card, ...]:
    """Returns the ranks that end in K, or all of them."""
    return _CARDS if num_cards == MAX_CARDS else _CARDS[MAX_CARDS - 1 - num_cards : MAX_CARDS - 1]


@lru_cache(maxsize=16384)
def _deals(dealt: tuple[Card, ...], num_cards: int) -> tuple[tuple[KuhnMove, float], ...]:
    return tuple((card, 1 / (num_cards - len(dealt))) for card in _deck(num_cards) if card not in dealt)


def _legal_moves(hand: Hand, players: int) -> tuple[Bet, ...]:
    cards, bets = hand
    return _moves_after(bets, players) if len(cards) == players else _OVER


@lru_cache(maxsize=16384)
def _moves_after(bets: tuple[Bet, ...], players: int) -> tuple[Bet, ...]:
    if Bet.BET not in bets:
        return _OPENING if len(bets) < players else _OVER
    return _FACING_BET if len(bets) < bets.index(Bet.BET) + players else _OVER


@lru_cache(maxsize=16384)
def _hand_after(
    hand: Hand, move: KuhnMove, first_mover: Player, players: int, num_cards: int
) -> tuple[Hand, tuple[int, ...]]:
    """Returns the hand after `move`, and the chips that every seat wins by it: nothing while it goes on."""
    cards, bets = hand
    if isinstance(move, Card):
        if len(cards) == players or move in cards or move not in _deck(num_cards):
            raise IllegalMoveError(f"illegal deal {_CARD_NAMES[move]} in kuhn_poker: cards dealt are {_names(cards)}")
        return Hand((*cards, move)), ()
    legal = _legal_moves(hand, players)
    if move not in legal:
        raise _illegal(hand, move, legal)
    following = Hand(cards, (*bets, move))
    is_over = not _moves_after(following.bets, players)
    return following, _winnings(following, first_mover) if is_over else ()


def _winnings(hand: Hand, first_mover: Player) -> tuple[int, ...]:
    """Returns the net winnings of every seat in a finished hand."""
    cards, bets = hand
    contenders = _contenders(hand, first_mover)
    stake = 2 if Bet.BET in bets else 1
    paid = [stake if seat in contenders else 1 for seat in range(len(cards))]
    winner = _winner(hand, first_mover)
    return tuple(sum(paid) - chips if seat == winner else -chips for seat, chips in enumerate(paid))


def _winner(hand: Hand, first_mover: Player) -> Player:
    return max(_contenders(hand, first_mover), key=hand.cards.__getitem__)


def _contenders(hand: Hand, first_mover: Player) -> list[Player]:
    """Returns who has a claim to the pot of a finished hand: whoever bet or called, or all when nobody did."""
    cards, bets = hand
    players = len(cards)
    bold = {(first_mover + ply) % players for ply, bet in enumerate(bets) if bet in (Bet.BET, Bet.CALL)}
    return sorted(bold) or list(range(players))


@lru_cache(maxsize=16384)
def _added(chips: tuple[int, ...], won: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(add, chips, won))


@lru_cache(maxsize=16384)
def _ranked(chips: tuple[int, ...]) -> tuple[float, ...]:
    """Returns for every seat how many others have won fewer chips, less how many have won more."""
    return tuple(float(sum((own > other) - (own < other) for other in chips)) for own in chips)


def _illegal(hand: Hand, move: Bet, legal: tuple[KuhnMove, ...]) -> IllegalMoveError:
    after = " ".join(f"[{bet.name.lower()}]" for bet in hand.bets) or "the deal"
    expected = " or ".join(f"[{bet.name.lower()}]" for bet in legal) or "no move"
    return IllegalMoveError(f"illegal move [{move.name.lower()}] in kuhn_poker after {after}: expected {expected}")


def _names(cards: tuple[Card, ...]) -> str:
    return " ".join(_CARD_NAMES[card] for card in cards) or "none"


def _called(seat: Player, viewer: Player, players: int) -> str:
    if seat == viewer:
        return "you"
    return "the other" if players == 2 else f"Player {seat}"


@lru_cache(maxsize=16384)
def _betting(bets: tuple[Bet, ...], first_mover: Player, seat: Player, players: int) -> str:
    return ", ".join(
        f"{_called((first_mover + ply) % players, seat, players)} {_DONE[bet]}" for ply, bet in enumerate(bets)
    )


# A text of many hands may take 25 kB, so that not many are remembered.
@lru_cache(maxsize=1024)
def _past(finished: tuple[Hand, ...], seat: Player) -> str:
    return _lines(finished, seat)


def _lines(finished: tuple[Hand, ...], seat: Player) -> str:
    """Returns the lines of the finished hands; those of earlier tens of them are usually known from earlier turns."""
    known = max(len(finished) - 1, 0) // 10 * 10
    lines = [f"{_finished_line(index, hand, seat)}\n" for index, hand in enumerate(finished[known:], known)]
    return "".join((_past(finished[:known], seat), *lines)) if known else "".join(lines)


@lru_cache(maxsize=65536)
def _finished_line(index: int, hand: Hand, seat: Player) -> str:
    cards, bets = hand
    players = len(cards)
    first_mover = index % players
    contenders = _contenders(hand, first_mover)
    # Nobody shows a card to those who have all folded.
    showing = [other for other in contenders if other != seat] if len(contenders) > 1 else []
    said = [f"{_called(other, seat, players)} had {_CARD_NAMES[cards[other]]}." for other in showing]
    if players > 2:
        said.append(f"{_called(_winner(hand, first_mover), seat, players)} won the pot.")
    outcome = "".join(f" {sentence[0].upper()}{sentence[1:]}" for sentence in said)
    won = f"{_winnings(hand, first_mover)[seat]:+d} chips"
    betting = _betting(bets, first_mover, seat, players)
    return f"Hand {index + 1}: you had {_CARD_NAMES[cards[seat]]}; {betting}.{outcome} {won}."


@lru_cache(maxsize=65536)
def _current_line(index: int, hand: Hand, seat: Player, players: int) -> str:
    cards, bets = hand
    card = _CARD_NAMES[cards[seat]] if len(cards) > seat else "not dealt yet"
    betting = _betting(bets, index % players, seat, players) or "no bets yet"
    mover = (index + len(bets)) % players
    if len(cards) < players:
        turn = "You wait."
    elif mover == seat:
        turn = "It is your turn."
    else:
        turn = "You wait." if players == 2 else f"Player {mover} is to move."
    return f"Hand {index + 1}: your card is {card}; {betting}. {turn}"


@lru_cache(maxsize=16384)
def _chips_line(chips: tuple[int, ...], seat: Player) -> str:
    if len(chips) == 2:
        return f"Your chips so far: {chips[seat]:+d}.\n"
    listed = ", ".join(f"{_called(other, seat, len(chips))} {won:+d}" for other, won in enumerate(chips))
    return f"Chips so far: {listed}.\n"


@lru_cache(maxsize=65536)
def _hand_features(
    place: int, card: Card | None, bets: tuple[Bet, ...], players: int, num_cards: int
) -> tuple[float, ...]:
    deck = _deck(num_cards)
    numbers = [0.0] * _num_hand_features(players, num_cards)
    numbers[place] = 1.0
    if card is not None:
        numbers[players + deck.index(card)] = 1.0
    for ply, bet in enumerate(bets):
        numbers[players + num_cards + 2 * ply + (bet in (Bet.BET, Bet.CALL))] = 1.0
    return tuple(numbers)


def _num_hand_features(players: int, num_cards: int) -> int:
    return players + num_cards + 2 * (2 * players - 1)


def _rules(seat: Player, *, hands: int, pays_chips: bool, players: int, cards: int) -> str:
    deck = _deck(cards)
    words = _rules_for_two if players == 2 else _rules_for_many
    ranks = ", ".join(_CARD_NAMES[card] for card in deck)
    return words(
        seat,
        players=players,
        hands=hands,
        pays_chips=pays_chips,
        deck=f"{ranks}, where {_CARD_NAMES[deck[-1]]} is the highest and no card is dealt twice",
    )


def _rules_for_two(seat: Player, *, players: int, hands: int, pays_chips: bool, deck: str) -> str:
    order = _ORDINALS[seat]
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
        f"You are Player {seat} in a game of Kuhn poker of {length}, against Player {players - 1 - seat}. {goal}\n"
        f"In each hand both players put 1 chip into the pot and get one card of {deck}. You see only your own card."
        f" The first player may check or bet 1 chip. After a check the"
        f" other player may check or bet 1 chip. A player who faces a bet may call it with 1 chip or fold. Two checks"
        f" or a call lead to a showdown, where the higher card takes the pot; a fold gives the pot to the other"
        f" player.\n"
        f"{aim}\n"
        f"{_HOW_TO_MOVE}"
    )


def _rules_for_many(seat: Player, *, players: int, hands: int, pays_chips: bool, deck: str) -> str:
    others = [f"Player {other}" for other in range(players) if other != seat]
    against = f"{', '.join(others[:-1])} and {others[-1]}"
    order = _ORDINALS[seat]
    if hands == 1:
        length, goal = "one hand", f"You move {order}."
    else:
        length = f"{hands} hands"
        goal = f"You move {order} in hand 1; in each hand after it the next player in turn moves first."
    aim = (
        "You want to win as many chips as you can."
        if pays_chips
        else "At the end the players are ranked by the chips that they have won: you score 1 point for every player"
        " behind you and lose 1 point for every player ahead of you."
    )
    return (
        f"You are Player {seat} in a game of Kuhn poker of {length}, against {against}. {goal}\n"
        f"In each hand every player puts 1 chip into the pot and gets one card of {deck}. You see only your own card."
        f" The players move in the order of their numbers, Player 0 after Player {players - 1}. Each may check or bet"
        f" 1 chip, until one has bet; then each of the others may call the bet with 1 chip or fold, and nobody bets"
        f" again. If nobody bets, all show their cards; otherwise those who have bet or called do. The highest card"
        f" shown takes the pot. If all others fold, the player who bet takes the pot without showing.\n"
        f"{aim}\n"
        f"{_HOW_TO_MOVE}"
    )


_HOW_TO_MOVE: Final = "Your move is [check] or [bet] when there is no bet, and [call] or [fold] when you face one."


def configure(*, hands: int = 5, payoff: str = "win", players: int = 2, cards: int | None = None) -> GameSpec:
    """Returns Kuhn poker of `hands` hands for `players` players, paid by `payoff`: "win" or "chips".

    Args:
        hands: How many hands are played.
        payoff: What the returns are.
        players: How many play.
        cards: How many cards the deck has; None for one more than there are players.

    Raises:
        ValueError: A number is out of its range.
        UnknownNameError: No such payoff.
    """
    _check_integer("hands", hands, 1, MAX_HANDS)
    _check_integer("players", players, 2, MAX_PLAYERS)
    num_cards = players + 1 if cards is None else cards
    _check_integer("cards", num_cards, players + 1, MAX_CARDS)
    if payoff not in ("win", "chips"):
        raise UnknownNameError("payoff of kuhn_poker", str(payoff), ("win", "chips"))
    pays_chips = payoff == "chips"
    game = KuhnPoker(hands=hands, pays_chips=pays_chips, players=players, cards=num_cards)
    others = players - 1
    match_features = 1 + players if hands > 1 else 0
    return GameSpec(
        name="kuhn_poker",
        version=0,
        game=game,
        codec=KuhnCodec(hands=hands, pays_chips=pays_chips, players=players, cards=num_cards),
        roles=tuple(f"Player {seat}" for seat in range(players)),
        return_range=(-2.0 * hands, 2.0 * hands * others) if pays_chips else (-float(others), float(others)),
        knowledge=game.situation,
        discrete=DiscreteForm(
            moves=tuple(Bet),
            shape=(_num_hand_features(players, num_cards) + match_features,),
            features=game.features,
        ),
        configure=configure,
    )


def _check_integer(option: str, value: object, low: int, high: int) -> None:
    # The value may come from a configuration file, where its type is not checked; True is an int as well.
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"option {option} of kuhn_poker is {value!r}: expected an integer from {low} to {high}")


SPEC: Final = configure()
