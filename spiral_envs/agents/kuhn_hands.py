"""A match of Kuhn poker of two hand by hand: each is a game of its own, whose outcomes are worth what they lead to.

The tree of a whole match is too large, but once a hand is over only the hands left and the chips matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from spiral_envs.game import GameSpec, Player
from spiral_envs.games.kuhn_poker import Hand, KuhnPoker, KuhnSituation, KuhnState, configure

OUTCOMES: Final = (-2, -1, 1, 2)
"""The chips that the first mover of a hand can win."""


def continued_hand(worth: Mapping[int, float], *, num_cards: int) -> GameSpec:
    """Returns the game of one hand whose first mover, in seat 0, gets `worth` of the chips that it wins."""
    return replace(one_hand(num_cards), game=_ContinuedHand(worth, num_cards=num_cards))


@cache
def one_hand(num_cards: int) -> GameSpec:
    """Returns the game of one hand for chips."""
    return configure(hands=1, payoff="chips", cards=num_cards)


def place_in_hand(situation: KuhnSituation, *, num_cards: int) -> tuple[Player, str]:
    """Returns the seat that the player to move has in the game of this hand alone, and what it observes there."""
    card, bets = situation.card, situation.bets
    assert card is not None, "the seat to move has a card"
    spec = one_hand(num_cards)
    # The hand's first mover is seat 0 there. What the other holds is not seen, so that any card will do.
    seat = len(bets) % 2
    hidden = next(other for other, _ in spec.game.chance_outcomes(KuhnState()) if other != card)
    cards = (card, hidden) if seat == 0 else (hidden, card)
    return seat, spec.codec.observe(KuhnState(hand=Hand(cards, bets)), seat)


class _ContinuedHand(KuhnPoker):
    """One hand whose outcomes are worth what the match is worth after them."""

    def __init__(self, worth: Mapping[int, float], *, num_cards: int) -> None:
        """Sets what the hand's first mover gets for the chips that it wins."""
        super().__init__(hands=1, pays_chips=True, cards=num_cards)
        self._worth = worth

    def returns(self, state: KuhnState) -> tuple[float, ...]:
        """Returns the worth of the chips won; zeros before the end."""
        worth = self._worth.get(state.chips[0], 0.0)
        return (worth, -worth)
