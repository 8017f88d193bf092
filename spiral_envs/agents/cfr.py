"""The agent that plays an equilibrium of a game with hidden information, found by CFR+.

Poker of several hands has too large a tree. Kuhn poker is solved backwards, hand by hand. Where chips are paid, each
hand is played as if it were the only one, in Leduc poker too.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache

from spiral_envs.agents.kuhn_hands import OUTCOMES, continued_hand, place_in_hand
from spiral_envs.games import leduc_poker
from spiral_envs.games.kuhn_poker import KuhnPoker, KuhnSituation
from spiral_envs.games.leduc_poker import LeducPoker, LeducSituation, LeducState
from spiral_envs.match import View
from spiral_envs.registry import find_game
from spiral_envs.solve import Equilibrium, equilibrium, equilibrium_of


class CfrAgent:
    """Replies with a move drawn from an equilibrium policy.

    It plays Kuhn poker of two with any options, and every game that `solve.equilibrium` can solve. That of a large game
    takes seconds to minutes, once: it is kept on disk.
    """

    name = "cfr"

    def __init__(self, *, seed: int) -> None:
        """Starts the agent's own random numbers."""
        self._rng = random.Random(seed)

    def reseed(self, seed: int) -> None:
        """Makes the agent draw as a new one with `seed` would."""
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
        policy = _policy_of_a_hand(view.game, view.state)
        if policy is not None:
            return policy
        try:
            return equilibrium(view.game).policy[view.seat, view.observation]
        except KeyError:
            raise ValueError(f"the cfr agent knows no such view of {view.game}: {view.observation!r}") from None

    def _draw(self, policy: Mapping[str, float]) -> str:
        return self._rng.choices(list(policy), list(policy.values()))[0]


def _policy_of_a_hand(game: str, situation: object) -> Mapping[str, float] | None:
    """Returns the equilibrium policy of the seat to move in poker of two, read off the hand in progress.

    It is None where the whole game has to be solved instead.
    """
    if isinstance(situation, KuhnSituation) and len(situation.chips) == 2:
        return _kuhn_policy(game, situation)
    if isinstance(situation, LeducSituation) and len(situation.chips) == 2:
        return _leduc_policy(game, situation)
    return None


def _kuhn_policy(game: str, situation: KuhnSituation) -> Mapping[str, float]:
    rules = find_game(game).game
    assert isinstance(rules, KuhnPoker), "only Kuhn poker has such situations"
    lead = situation.chips[situation.first_mover]
    hands_left, lead = (1, 0) if rules.pays_chips else (situation.hands_left, lead)
    solved = _solve_hand(hands_left, lead, rules.pays_chips, rules.num_cards)
    return solved.policy[place_in_hand(situation, num_cards=rules.num_cards)]


def _leduc_policy(game: str, situation: LeducSituation) -> Mapping[str, float] | None:
    _, _, _, card, first, board, second = situation
    assert card is not None, "the seat to move has a card"
    rules = find_game(game).game
    assert isinstance(rules, LeducPoker), "only Leduc poker has such situations"
    if rules.hands == 1 or not rules.pays_chips:
        return None
    seat = len(first if board is None else second) % 2
    deck = leduc_poker.SPEC.game.chance_outcomes(LeducState())
    hidden = next(other for other, _ in deck if other not in (card, board))
    cards = (card, hidden) if seat == 0 else (hidden, card)
    state = LeducState(hand=leduc_poker.Hand(cards, first, board, second))
    return equilibrium(leduc_poker.SPEC.id).policy[seat, leduc_poker.SPEC.codec.observe(state, seat)]


@cache
def _solve_hand(hands_left: int, lead: int, pays_chips: bool, num_cards: int) -> Equilibrium:
    """Returns the equilibrium of the next hand for its first mover, who leads by `lead` chips, in seat 0."""
    worth = {chips: _value_after(hands_left - 1, lead + chips, pays_chips, num_cards) for chips in OUTCOMES}
    return equilibrium_of(continued_hand(worth, num_cards=num_cards))


def _value_after(hands_left: int, lead: int, pays_chips: bool, num_cards: int) -> float:
    """Returns what the match is worth to the first mover of the hand that has ended."""
    if hands_left > 0:
        # The other player moves first in the next hand.
        return -_solve_hand(hands_left, -lead, pays_chips, num_cards).result.on_policy_values[0]
    return float(lead if pays_chips else (lead > 0) - (lead < 0))
