"""Leduc poker: one card each, a public card, two rounds of betting.

Rules: the deck has two cards, one of spades and one of hearts, of each of as many ranks as there are players and one
    more, the ranks that end in K: J, Q, K for two players. Each hand every player antes 1 chip and gets one card.
    There are two rounds of betting, and after the first a public card is dealt. A round has at most one bet and one
    raise, each of which adds 2 chips in round 1 and 4 in round 2 to what everyone has to put in. With nothing to call
    a player checks or bets; otherwise it folds, calls, or raises the bet. A round ends when everyone who is left has
    put in the same and has moved. After round 2 those who are left show their cards: a card of the public card's rank
    wins, otherwise the highest rank does, whatever the suit, and equal ranks split the pot. Whoever is left alone by
    the others' folds takes the pot without showing. Seat 0 moves first in both rounds of hand 1, or the next seat that
    has not folded; in each hand after it the next seat does.
Players: Player 0, Player 1 and so on.
Moves: `[check]` and `[bet]` with nothing to call, otherwise `[fold]`, `[call]` and, after a bet, `[raise]`.
Options: `players` (default 2), from 2 to 10; `hands` (default 1), the number of hands; `payoff`: with `chips` (default)
    the return is the chips won or lost; with `win` the players are ranked by the chips that they have won after the
    last hand, and each gets the number of players behind it less the number ahead of it: of two, +1 for the winner
    and -1 for the loser, 0 each when equal. The defaults are the game of the literature.
Returns: from -13·hands to 13·(n - 1)·hands for n players, in halves since pots are split; with `payoff="win"` the
    integers from -(n - 1) to n - 1. With `chips` an invalid move of one of more than two players may cost it more, see
    `spiral_envs.match.forfeit_returns`.
Length: 2 to 8 plies a hand with two players, at most 6n - 4 with n.
Known values: one hand is worth -0.085603 to the first player; uniform random play has NashConv 4.747222; the tree of
    one hand has 157 chance, 3,780 decision and 5,520 terminal nodes and 936 information sets.
Source of the rules: Southey and others, Bayes' bluff, 2005 (arXiv 1207.1411); more players follow OpenSpiel's
    leduc_poker.

Version history:
    v0: first release.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from functools import lru_cache
from operator import add
from typing import Final, NamedTuple, TypeAlias

from spiral_envs.errors import IllegalMoveError, MalformedMoveError, UnknownNameError
from spiral_envs.extraction import unbracketed
from spiral_envs.game import CHANCE, TERMINAL, DiscreteForm, GameSpec, Player, new_tuple

MAX_HANDS: Final = 100

MAX_PLAYERS: Final = 10

RAISES: Final = (2, 4)
"""What a bet or a raise adds in each round."""

MOST_RAISES: Final = 2
"""How many bets and raises a round may have, the bet included."""

MOST_PAID: Final = 1 + MOST_RAISES * sum(RAISES)
"""The most chips that a player can put in."""


class Bet(IntEnum):
    """What a player can do."""

    FOLD = 0
    """Give up the pot."""

    CHECK = 1
    """Pass, when there is nothing to call."""

    CALL = 2
    """Put in as much as the others."""

    BET = 3
    """Put in more, when there is nothing to call."""

    RAISE = 4
    """Put in more than is to be called."""


class Rank(IntEnum):
    """The ranks, lowest first."""

    THREE = 3
    FOUR = 4
    FIVE = 5
    SIX = 6
    SEVEN = 7
    EIGHT = 8
    NINE = 9
    TEN = 10
    J = 11
    Q = 12
    K = 13


class Suit(IntEnum):
    """The suits, which only tell two cards of a rank apart."""

    SPADES = 0
    HEARTS = 1


class Card(NamedTuple):
    """A card, which is also the chance move that deals it."""

    rank: Rank
    suit: Suit


LeducMove: TypeAlias = Card | Bet


class Hand(NamedTuple):
    """One hand, in progress or finished.

    Attributes:
        cards: The players' cards dealt so far, seat 0's first.
        first: The moves of round 1.
        board: The public card; None before it is dealt.
        second: The moves of round 2.
    """

    cards: tuple[Card, ...] = ()
    first: tuple[Bet, ...] = ()
    board: Card | None = None
    second: tuple[Bet, ...] = ()


class LeducState(NamedTuple):
    """A match in progress.

    Attributes:
        finished: The hands that are over.
        hand: The hand in progress; the last finished one again when the match is over.
        chips: The net winnings of every seat in the finished hands, in halves.
        player: The seat to move, `CHANCE` or `TERMINAL`, which follows from the rest.
    """

    finished: tuple[Hand, ...] = ()
    hand: Hand = Hand()
    chips: tuple[float, ...] = (0.0, 0.0)
    player: Player = CHANCE


class LeducSituation(NamedTuple):
    """What a seat knows that matters to its play.

    Attributes:
        hands_left: The hands that are not over, the one in progress included.
        first_mover: The seat that moves first in the hand in progress.
        chips: The net winnings of every seat in the finished hands.
        card: The seat's own card; None when it has none.
        first: The moves of round 1 in the hand in progress.
        board: The public card; None before it is dealt.
        second: The moves of round 2.
    """

    hands_left: int
    first_mover: Player
    chips: tuple[float, ...]
    card: Card | None
    first: tuple[Bet, ...]
    board: Card | None
    second: tuple[Bet, ...]


class _Betting(NamedTuple):
    """Where the betting of a hand stands; players are counted from the hand's first mover.

    Attributes:
        movers: By ply, who made each move so far.
        waiting: Who is still to move in the round, in order; nobody when it has ended.
        left: Who has not folded, in the order of moving.
        paid: The chips that each player has put in.
        legal: The moves of the first of `waiting`; none when the round has ended.
    """

    movers: tuple[int, ...]
    waiting: tuple[int, ...]
    left: tuple[int, ...]
    paid: tuple[int, ...]
    legal: tuple[Bet, ...]


_MOVES_AFTER: Final = ((Bet.CHECK, Bet.BET), (Bet.FOLD, Bet.CALL, Bet.RAISE), (Bet.FOLD, Bet.CALL))
"""The legal moves by the number of bets and raises in the round."""

_OVER: Final = ()


class LeducPoker:
    """The rules."""

    def __init__(self, *, hands: int, pays_chips: bool, players: int) -> None:
        """Sets the numbers of hands and players, and whether chips or only the ranks count."""
        self.num_players = players
        self.hands = hands
        self.pays_chips = pays_chips
        self.max_plies = 2 * _most_plies(players) * hands
        self._nothing = (0.0,) * players

    def initial_state(self) -> LeducState:
        """Returns the state before the first card."""
        return LeducState(chips=self._nothing)

    def to_move(self, state: LeducState) -> Player:
        """Returns the seat to move, `CHANCE` while cards are dealt, or `TERMINAL`."""
        return state[3]

    def legal_moves(self, state: LeducState) -> tuple[LeducMove, ...]:
        """Returns check and bet, or what can be done about a bet: fold, call and raise."""
        _, hand, _, player = state
        return _legal_moves(hand, self.num_players) if player >= 0 else _OVER

    def chance_outcomes(self, state: LeducState) -> tuple[tuple[LeducMove, float], ...]:
        """Returns the cards left in the deck, equally likely: seat 0's card is dealt first, the public card last."""
        return _deals(state.hand.cards, self.num_players) if state[3] == CHANCE else _OVER

    def next_state(self, state: LeducState, move: LeducMove) -> LeducState:
        """Returns the state after a card is dealt or a player moves; a hand that ends is settled at once."""
        finished, hand, chips, _ = state
        players = self.num_players
        index = len(finished)
        hand, won, player = _hand_after(hand, move, index % players, players)
        if not won:
            return new_tuple(LeducState, (finished, hand, chips, player))
        shown, player = (hand, TERMINAL) if index + 1 == self.hands else (_NO_CARDS, CHANCE)
        return new_tuple(LeducState, ((*finished, hand), shown, tuple(map(add, chips, won)), player))

    def returns(self, state: LeducState) -> tuple[float, ...]:
        """Returns the chips won, or how many players are behind each less those ahead; zeros before the end."""
        if len(state.finished) < self.hands:
            return self._nothing
        return state.chips if self.pays_chips else _ranked(state.chips)

    def situation(self, state: LeducState, seat: Player) -> LeducSituation:
        """Returns what `seat` knows that matters: finished hands count only by their chips."""
        finished, (cards, first, board, second), chips, _ = state
        card = cards[seat] if len(cards) > seat else None
        num_finished = len(finished)
        first_mover = num_finished % self.num_players
        return new_tuple(LeducSituation, (self.hands - num_finished, first_mover, chips, card, first, board, second))

    def features(self, state: LeducState, seat: Player) -> tuple[float, ...]:
        """Returns what `situation` says in numbers, every seat counted from the hand's first mover or from `seat`.

        These are: the seat's place in the order of the hand's moves, its card and the public card, all one-hot, and
        for every move of both rounds whether it folded, whether it checked or called, and whether it bet or raised.
        When the match has more than one hand, they go on with the share of hands that are left and the chips won by
        the seat itself and by those after it, as a share of 13 chips a hand.
        """
        finished, (cards, first, board, second), chips, _ = state
        players, hands = self.num_players, self.hands
        # When the match is over its last hand is still shown.
        place = (seat - min(len(finished), hands - 1)) % players
        now = _hand_features(place, cards[seat] if len(cards) > seat else None, first, board, second, players)
        if hands == 1:
            return now
        stakes = MOST_PAID * hands
        ordered = chips[seat:] + chips[:seat]
        return (*now, (hands - len(finished)) / hands, *[won / stakes for won in ordered])


class LeducCodec:
    """The text."""

    def __init__(self, *, hands: int, pays_chips: bool, players: int) -> None:
        """Sets the options that the rules mention."""
        self._hands = hands
        self._players = players
        self._rules = tuple(
            _rules(seat, hands=hands, pays_chips=pays_chips, players=players) for seat in range(players)
        )

    def rules(self, seat: Player) -> str:
        """Returns the rules for Player `seat`."""
        return self._rules[seat]

    def observe(self, state: LeducState, seat: Player) -> str:
        """Returns the seat's own view of all hands; other cards only after a showdown."""
        finished, hand, chips, _ = state
        if not finished:
            return _current_line(0, hand, seat, self._players)
        is_over = len(finished) == self._hands
        # Whole matches rarely recur, so that they are not remembered.
        past = _lines(finished, seat) if is_over else _past(finished, seat)
        if self._hands > 1:
            past += _chips_line(chips, seat)
        return past[:-1] if is_over else past + _current_line(len(finished), hand, seat, self._players)

    def format_move(self, move: LeducMove) -> str:
        """Returns `[check]`, `[bet]`, `[fold]`, `[call]` or `[raise]`."""
        return f"[{move.name.lower()}]" if isinstance(move, Bet) else _card_name(move)

    def parse_move(self, state: LeducState, text: str) -> LeducMove:
        """Returns the move that `[bet]` or `bet` names, in any case of letters."""
        move = _BETS.get(unbracketed(text).lower())
        if move is None:
            raise MalformedMoveError(
                f"malformed move {text[:60]!r} in leduc_poker: expected [check], [bet], [fold], [call] or [raise]"
            )
        legal = _legal_moves(state.hand, self._players)
        if move not in legal:
            raise _illegal(state.hand, move, legal)
        return move


_NO_CARDS: Final = Hand()

_BETS: Final = {bet.name.lower(): bet for bet in Bet}

_DONE: Final = {
    Bet.FOLD: "folded",
    Bet.CHECK: "checked",
    Bet.CALL: "called",
    Bet.BET: "bet",
    Bet.RAISE: "raised",
}

_KINDS: Final = {Bet.FOLD: 0, Bet.CHECK: 1, Bet.CALL: 1, Bet.BET: 2, Bet.RAISE: 2}
"""The moves as learners without text see them: which word is meant follows from the moves before."""

_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def _most_plies(players: int) -> int:
    """Returns the most plies of a round: all others check, and then all answer the bet and the raise."""
    return 3 * players - 2


@lru_cache(maxsize=MAX_PLAYERS)
def _deck(players: int) -> tuple[Card, ...]:
    return tuple(Card(rank, suit) for rank in tuple(Rank)[-players - 1 :] for suit in Suit)


@lru_cache(maxsize=65536)
def _deals(dealt: tuple[Card, ...], players: int) -> tuple[tuple[LeducMove, float], ...]:
    left = [card for card in _deck(players) if card not in dealt]
    return tuple((card, 1 / len(left)) for card in left)


@lru_cache(maxsize=65536)
def _legal_moves(hand: Hand, players: int) -> tuple[Bet, ...]:
    cards, first, board, second = hand
    return _betting(first, second, board is None, players).legal if len(cards) == players else _OVER


@lru_cache(maxsize=65536)
def _betting(first: tuple[Bet, ...], second: tuple[Bet, ...], is_first: bool, players: int) -> _Betting:
    """Returns where the betting stands in round 1, or in round 2 unless `is_first`."""
    start = _Betting((), (), tuple(range(players)), (1,) * players, _OVER)
    after = _after_round(start, first, RAISES[0])
    return after if is_first or len(after.left) == 1 else _after_round(after, second, RAISES[1])


def _after_round(before: _Betting, bets: tuple[Bet, ...], size: int) -> _Betting:
    """Returns where the betting stands after the moves of a round, in which a bet or a raise adds `size` chips."""
    left, paid, movers = list(before.left), list(before.paid), list(before.movers)
    waiting = deque(left)
    stake = max(paid)
    num_raises = 0
    for bet in bets:
        mover = waiting.popleft()
        movers.append(mover)
        if bet in (Bet.BET, Bet.RAISE):
            stake += size
            num_raises += 1
            place = left.index(mover)
            # All others have to answer, those after the mover first.
            waiting = deque(left[place + 1 :] + left[:place])
        if bet is Bet.FOLD:
            left.remove(mover)
        else:
            paid[mover] = stake
    legal = _MOVES_AFTER[num_raises] if waiting else _OVER
    return _Betting(tuple(movers), tuple(waiting), tuple(left), tuple(paid), legal)


@lru_cache(maxsize=65536)
def _hand_after(
    hand: Hand, move: LeducMove, first_mover: Player, players: int
) -> tuple[Hand, tuple[float, ...], Player]:
    """Returns the hand after `move`, the chips that every seat wins by it, and who moves then.

    While the hand goes on nobody wins anything; after it nobody moves in it, which is said as `CHANCE`.
    """
    cards, first, board, second = hand
    won: tuple[float, ...] = ()
    if isinstance(move, Card):
        following = _hand_after_deal(hand, move, players)
        betting = _betting(first, second, following.board is None, players)
    else:
        legal = _legal_moves(hand, players)
        if move not in legal:
            raise _illegal(hand, move, legal)
        following = Hand(cards, (*first, move)) if board is None else Hand(cards, first, board, (*second, move))
        betting = _betting(following.first, following.second, board is None, players)
        if len(betting.left) == 1 or (board is not None and not betting.waiting):
            won = _winnings(following, first_mover)
    is_dealing = won or len(following.cards) < players or not betting.waiting
    return following, won, CHANCE if is_dealing else (first_mover + betting.waiting[0]) % players


def _hand_after_deal(hand: Hand, card: Card, players: int) -> Hand:
    cards, first, board, _ = hand
    is_due = board is None and (len(cards) < players or not _betting(first, (), True, players).waiting)
    if not is_due or card in cards or card not in _deck(players):
        dealt = ", ".join(map(_card_name, cards)) or "none"
        raise IllegalMoveError(f"illegal deal {_card_name(card)} in leduc_poker: cards dealt are {dealt}")
    return Hand((*cards, card)) if len(cards) < players else Hand(cards, first, card)


def _final_betting(hand: Hand) -> _Betting:
    return _betting(hand.first, hand.second, hand.board is None, len(hand.cards))


def _winnings(hand: Hand, first_mover: Player) -> tuple[float, ...]:
    """Returns the net winnings of every seat in a finished hand."""
    players = len(hand.cards)
    paid = _final_betting(hand).paid
    winners = _winners(hand, first_mover)
    # At most two have equal ranks, so that a split pot is in halves, which floats hold exactly.
    share = sum(paid) / len(winners)
    chips = [float(-paid[(seat - first_mover) % players]) for seat in range(players)]
    for seat in winners:
        chips[seat] += share
    return tuple(chips)


def _winners(hand: Hand, first_mover: Player) -> list[Player]:
    """Returns who takes or splits the pot of a finished hand."""
    contenders = _contenders(hand, first_mover)
    board = hand.board
    if len(contenders) == 1 or board is None:
        return contenders
    strengths = {seat: (hand.cards[seat].rank == board.rank, hand.cards[seat].rank) for seat in contenders}
    best = max(strengths.values())
    return [seat for seat in contenders if strengths[seat] == best]


def _contenders(hand: Hand, first_mover: Player) -> list[Player]:
    """Returns who has not folded in a finished hand."""
    return sorted((first_mover + place) % len(hand.cards) for place in _final_betting(hand).left)


@lru_cache(maxsize=16384)
def _ranked(chips: tuple[float, ...]) -> tuple[float, ...]:
    """Returns for every seat how many others have won fewer chips, less how many have won more."""
    return tuple(float(sum((own > other) - (own < other) for other in chips)) for own in chips)


def _illegal(hand: Hand, move: Bet, legal: tuple[LeducMove, ...]) -> IllegalMoveError:
    bets = hand.first if hand.board is None else hand.second
    after = " ".join(f"[{bet.name.lower()}]" for bet in bets) or "the deal"
    expected = " or ".join(f"[{bet.name.lower()}]" for bet in legal if isinstance(bet, Bet)) or "no move"
    return IllegalMoveError(f"illegal move [{move.name.lower()}] in leduc_poker after {after}: expected {expected}")


@lru_cache(maxsize=128)
def _card_name(card: Card) -> str:
    return f"{_rank_name(card.rank)} of {card.suit.name.lower()}"


def _rank_name(rank: Rank) -> str:
    return rank.name if rank >= Rank.J else str(int(rank))


def _called(seat: Player, viewer: Player, players: int) -> str:
    if seat == viewer:
        return "you"
    return "the other" if players == 2 else f"Player {seat}"


@lru_cache(maxsize=65536)
def _betting_text(
    bets: tuple[Bet, ...], movers: tuple[int, ...], first_mover: Player, seat: Player, players: int
) -> str:
    return ", ".join(
        f"{_called((first_mover + place) % players, seat, players)} {_DONE[bet]}"
        for place, bet in zip(movers, bets, strict=True)
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
    cards = hand.cards
    players = len(cards)
    first_mover = index % players
    contenders, winners = _contenders(hand, first_mover), _winners(hand, first_mover)
    # Nobody shows a card to those who have all folded.
    showing = [other for other in contenders if other != seat] if len(contenders) > 1 else []
    said = [f"{_called(other, seat, players)} had {_card_name(cards[other])}." for other in showing]
    names = " and ".join(_called(winner, seat, players) for winner in winners)
    said.append(f"{names} {'split' if len(winners) > 1 else 'won'} the pot.")
    outcome = " ".join(sentence[0].upper() + sentence[1:] for sentence in said)
    story, second = _rounds(hand, first_mover, seat, players)
    if hand.board is not None:
        story += f"; the public card was {_card_name(hand.board)}; {second}"
    won = f"{_winnings(hand, first_mover)[seat]:+g} chips"
    return f"Hand {index + 1}: you had {_card_name(cards[seat])}; {story}. {outcome} {won}."


def _rounds(hand: Hand, first_mover: Player, seat: Player, players: int) -> tuple[str, str]:
    """Returns the moves of the two rounds in words."""
    _, first, board, second = hand
    movers = _betting(first, second, board is None, players).movers
    split = len(first)
    return (
        _betting_text(first, movers[:split], first_mover, seat, players),
        _betting_text(second, movers[split:], first_mover, seat, players),
    )


@lru_cache(maxsize=65536)
def _current_line(index: int, hand: Hand, seat: Player, players: int) -> str:
    cards, first, board, second = hand
    if len(cards) < players:
        card = _card_name(cards[seat]) if len(cards) > seat else "not dealt yet"
        return f"Hand {index + 1}: your card is {card}; no bets yet. You wait."
    first_mover = index % players
    before, after = _rounds(hand, first_mover, seat, players)
    story = before or "no bets yet"
    if board is not None:
        story += f"; the public card is {_card_name(board)}; {after or 'no bets yet'}"
    betting = _betting(first, second, board is None, players)
    own = betting.paid[(seat - first_mover) % players]
    pot = f"The pot has {sum(betting.paid)} chips, {own} of them yours."
    # Nobody is to move before the public card is dealt.
    mover = (first_mover + betting.waiting[0]) % players if betting.waiting else None
    if mover == seat:
        turn = "It is your turn."
    else:
        turn = "You wait." if players == 2 or mover is None else f"Player {mover} is to move."
    return f"Hand {index + 1}: your card is {_card_name(cards[seat])}; {story}. {pot} {turn}"


@lru_cache(maxsize=16384)
def _chips_line(chips: tuple[float, ...], seat: Player) -> str:
    if len(chips) == 2:
        return f"Your chips so far: {chips[seat]:+g}.\n"
    listed = ", ".join(f"{_called(other, seat, len(chips))} {won:+g}" for other, won in enumerate(chips))
    return f"Chips so far: {listed}.\n"


@lru_cache(maxsize=65536)
def _hand_features(
    place: int,
    card: Card | None,
    first: tuple[Bet, ...],
    board: Card | None,
    second: tuple[Bet, ...],
    players: int,
) -> tuple[float, ...]:
    deck = _deck(players)
    numbers = [0.0] * _num_hand_features(players)
    numbers[place] = 1.0
    if card is not None:
        numbers[players + deck.index(card)] = 1.0
    if board is not None:
        numbers[players + len(deck) + deck.index(board)] = 1.0
    start = players + 2 * len(deck)
    for bets in (first, second):
        for ply, bet in enumerate(bets):
            numbers[start + 3 * ply + _KINDS[bet]] = 1.0
        start += 3 * _most_plies(players)
    return tuple(numbers)


def _num_hand_features(players: int) -> int:
    return players + 2 * len(_deck(players)) + 2 * 3 * _most_plies(players)


def _rules(seat: Player, *, hands: int, pays_chips: bool, players: int) -> str:
    others = [f"Player {other}" for other in range(players) if other != seat]
    against = " and ".join(filter(None, (", ".join(others[:-1]), others[-1])))
    ranks = ", ".join(_rank_name(rank) for rank in tuple(Rank)[-players - 1 :])
    length = "one hand" if hands == 1 else f"{hands} hands"
    order = f"You move {_ORDINALS[seat]}"
    order += "." if hands == 1 else " in hand 1; in each hand after it the next player in turn moves first."
    if pays_chips:
        aim = "You want to win as many chips as you can."
    elif players == 2:
        aim = "Whoever has won more chips at the end wins; equal chips are a draw."
    else:
        aim = (
            "At the end the players are ranked by the chips that they have won: you score 1 point for every player"
            " behind you and lose 1 point for every player ahead of you."
        )
    next_left = "" if players == 2 else ", or the next who has not folded"
    return (
        f"You are Player {seat} in a game of Leduc poker of {length}, against {against}. {order}\n"
        f"The deck has two cards, one of spades and one of hearts, of each of the ranks {ranks}; K is the highest,"
        f" and suits do not matter. In each hand every player puts 1 chip into the pot and gets one card, which"
        f" only that player sees. There are two rounds of betting, and after the first a public card is dealt. The"
        f" players move in turn, in the order of their numbers, and round 2 begins with the player who moved first in"
        f" round 1{next_left}. When there is nothing to call, a player checks or"
        f" bets. A bet adds 2 chips in round 1 and 4 chips in round 2 to what everyone has to put in; it may be"
        f" raised once in the round, by as much again. Against a bet or a raise a player folds, calls by putting in"
        f" as much as the others, or raises if nobody has. After round 2 those who have not folded show their"
        f" cards. A card of the same rank as the public card wins the pot, otherwise the highest card does; equal"
        f" ranks split it. If all others fold, the player who is left takes the pot without showing.\n"
        f"{aim}\n"
        f"Your move is [check] or [bet] when there is nothing to call, [fold], [call] or [raise] against a bet, and"
        f" [fold] or [call] against a raise."
    )


def configure(*, players: int = 2, hands: int = 1, payoff: str = "chips") -> GameSpec:
    """Returns Leduc poker of `hands` hands for `players` players, paid by `payoff`: "chips" or "win".

    Raises:
        ValueError: A number is out of its range.
        UnknownNameError: No such payoff.
    """
    _check_integer("players", players, 2, MAX_PLAYERS)
    _check_integer("hands", hands, 1, MAX_HANDS)
    if payoff not in ("chips", "win"):
        raise UnknownNameError("payoff of leduc_poker", str(payoff), ("chips", "win"))
    pays_chips = payoff == "chips"
    game = LeducPoker(hands=hands, pays_chips=pays_chips, players=players)
    others = players - 1
    most = float(MOST_PAID * hands)
    match_features = 1 + players if hands > 1 else 0
    return GameSpec(
        name="leduc_poker",
        version=0,
        game=game,
        codec=LeducCodec(hands=hands, pays_chips=pays_chips, players=players),
        roles=tuple(f"Player {seat}" for seat in range(players)),
        return_range=(-most, most * others) if pays_chips else (-float(others), float(others)),
        knowledge=game.situation,
        discrete=DiscreteForm(
            moves=tuple(Bet),
            shape=(_num_hand_features(players) + match_features,),
            features=game.features,
        ),
        configure=configure,
    )


def _check_integer(option: str, value: object, low: int, high: int) -> None:
    # The value may come from a configuration file, where its type is not checked; True is an int as well.
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"option {option} of leduc_poker is {value!r}: expected an integer from {low} to {high}")


SPEC: Final = configure()
