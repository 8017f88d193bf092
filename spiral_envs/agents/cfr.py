"""The agent that plays an equilibrium of a game with hidden information, found by CFR+.

Kuhn poker of several hands has too large a tree, but once a hand is over only the hands left and the chips matter.
So it is solved backwards, hand by hand: each is a game of one hand whose outcomes are worth what they lead to.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from spiral_envs.games.kuhn_poker import Card, Hand, KuhnPoker, KuhnSituation, KuhnState, configure
from spiral_envs.match import View
from spiral_envs.registry import find_game
from spiral_envs.solve import Equilibrium, equilibrium, equilibrium_of


class CfrAgent:
    """Replies with a move drawn from an equilibrium policy.

    It plays Kuhn poker with any options, and every game that `solve.equilibrium` can solve.
    """

    name = "cfr"

    def __init__(self, *, seed: int) -> None:
        """Starts the agent's own random numbers."""
        self._rng = random.Random(seed)

    def act(self, views: Sequence[View]) -> list[str]:
        """Returns a move a view.

        Raises:
            MissingExtraError: OpenSpiel is not installed.
            ValueError: The agent cannot play the game.
        """
        return [self._draw(self.policy(view)) for view in views]

    def policy(self, view: View) -> Mapping[str, float]:
        """Returns the probability of every legal move, as `solve.exploitability` asks for it."""
        if isinstance(view.state, KuhnSituation):
            return _kuhn_policy(view.game, view.state)
        try:
            return equilibrium(view.game).policy[view.seat, view.observation]
        except KeyError:
            raise ValueError(f"the cfr agent knows no such view of {view.game}: {view.observation!r}") from None

    def _draw(self, policy: Mapping[str, float]) -> str:
        return self._rng.choices(list(policy), list(policy.values()))[0]


class _ContinuedHand(KuhnPoker):
    """One hand whose outcomes are worth what the match is worth after them."""

    def __init__(self, worth: Mapping[int, float]) -> None:
        """Sets what the hand's first mover gets for the chips that it wins."""
        super().__init__(hands=1, pays_chips=True)
        self._worth = worth

    def returns(self, state: KuhnState) -> tuple[float, ...]:
        """Returns the worth of the chips won; zeros before the end."""
        worth = self._worth.get(state.chips, 0.0)
        return (worth, -worth)


_OUTCOMES: Final = (-2, -1, 1, 2)
"""The chips that the first mover of a hand can win."""


def _kuhn_policy(game: str, situation: KuhnSituation) -> Mapping[str, float]:
    """Returns the equilibrium policy of the seat to move, read off the hand in progress."""
    card = situation.card
    assert card is not None, "the seat to move has a card"
    seat = len(situation.bets) % 2
    lead = situation.lead if seat == 0 else -situation.lead
    rules = find_game(game).game
    assert isinstance(rules, KuhnPoker), "only Kuhn poker has such situations"
    # When chips are paid, the other hands change nothing.
    solved = _solve_hand(1, 0, True) if rules.pays_chips else _solve_hand(situation.hands_left, lead, False)
    hidden = Card.K if card is Card.J else Card.J
    cards = (card, hidden) if seat == 0 else (hidden, card)
    observation = _ONE_HAND.codec.observe(KuhnState(hand=Hand(cards, situation.bets)), seat)
    return solved.policy[seat, observation]


@cache
def _solve_hand(hands_left: int, lead: int, pays_chips: bool) -> Equilibrium:
    """Returns the equilibrium of the next hand for its first mover, who leads by `lead` chips, in seat 0."""
    worth = {chips: _value_after(hands_left - 1, lead + chips, pays_chips) for chips in _OUTCOMES}
    return equilibrium_of(replace(_ONE_HAND, game=_ContinuedHand(worth)))


def _value_after(hands_left: int, lead: int, pays_chips: bool) -> float:
    """Returns what the match is worth to the first mover of the hand that has ended."""
    if hands_left > 0:
        # The other player moves first in the next hand.
        return -_solve_hand(hands_left, -lead, pays_chips).result.on_policy_values[0]
    return float(lead if pays_chips else (lead > 0) - (lead < 0))


_ONE_HAND: Final = configure(hands=1, payoff="chips")
