"""`check_game` names the law that a deliberately broken game breaks."""

import pickle
import random
from dataclasses import replace

import numpy as np
import pytest

from spiral_envs import (
    BrokenLawError,
    DiscreteForm,
    GameSpec,
    IllegalMoveError,
    MalformedMoveError,
    UnknownNameError,
    check_game,
)
from spiral_envs.extraction import unbracketed
from spiral_envs.games import kuhn_poker, simple_negotiation, tic_tac_toe
from spiral_envs.games.kuhn_poker import Bet, Card, KuhnCodec, KuhnPoker, KuhnState
from spiral_envs.games.simple_negotiation import NegotiationCodec
from spiral_envs.games.tic_tac_toe import TicTacToe, TicTacToeCodec


def kuhn(*, game=KuhnPoker, codec=KuhnCodec, hands=1, **changes) -> GameSpec:
    """Returns Kuhn poker, paid in chips, with parts of it exchanged."""
    spec = kuhn_poker.configure(hands=hands, payoff="chips")
    options = {"hands": hands, "pays_chips": True, "players": 2, "cards": 3}
    return replace(spec, name="broken", game=game(**options), codec=codec(**options), configure=None, **changes)


def global_random_state():
    return random.getstate(), pickle.dumps(np.random.get_state())


class LostProbability(KuhnPoker):
    def chance_outcomes(self, state):
        return tuple((card, 0.3) for card, _ in super().chance_outcomes(state))


class SameMoveTwice(KuhnPoker):
    def legal_moves(self, state):
        legal = super().legal_moves(state)
        return legal + legal[:1]


class TooFewPlies(KuhnPoker):
    def __init__(self, **options):
        super().__init__(**options)
        self.max_plies = 2


class PaysDuringPlay(KuhnPoker):
    def returns(self, state):
        return super().returns(state) if state.finished else (1.0, -1.0)


@pytest.mark.parametrize("game", [LostProbability, SameMoveTwice, TooFewPlies, PaysDuringPlay])
def test_rules_that_contradict_themselves_break_law_0(game):
    with pytest.raises(BrokenLawError, match=r"law 0 \(sound rules\)"):
        check_game(kuhn(game=game))


class PaysTheWinnerTwice(KuhnPoker):
    def returns(self, state):
        return tuple(2 * value if value > 0 else value for value in super().returns(state))


class PaysInexactly(KuhnPoker):
    def returns(self, state):
        won, _ = super().returns(state)
        return (won * 0.1 + 0.2, -(won * 0.1) - 0.2 - 1e-12) if won else (0.0, 0.0)


@pytest.mark.parametrize("game", [PaysTheWinnerTwice, PaysInexactly])
def test_returns_that_do_not_sum_to_zero_break_law_1(game):
    with pytest.raises(BrokenLawError, match=r"law 1 \(zero sum\)"):
        check_game(kuhn(game=game))


def test_a_lost_call_that_costs_more_than_a_forfeit_breaks_law_2():
    with pytest.raises(BrokenLawError, match=r"law 2 \(no free fault\).*-2"):
        check_game(kuhn(return_range=(-1.0, 1.0)))


class RandomGreeting(KuhnCodec):
    def observe(self, state, seat):
        return random.choice(("Hello. ", "Good day. ")) + super().observe(state, seat)


class NumpyGreeting(KuhnCodec):
    def observe(self, state, seat):
        return ("Hello. ", "Good day. ")[np.random.randint(2)] + super().observe(state, seat)


class RandomDeck(KuhnPoker):
    def chance_outcomes(self, state):
        outcomes = list(super().chance_outcomes(state))
        random.shuffle(outcomes)
        return tuple(outcomes)


class SeedsTheWorld(KuhnPoker):
    def initial_state(self):
        random.seed(0)
        return super().initial_state()


@pytest.mark.parametrize(
    "parts", [{"codec": RandomGreeting}, {"codec": NumpyGreeting}, {"game": RandomDeck}, {"game": SeedsTheWorld}]
)
def test_use_of_the_global_random_numbers_breaks_law_3(parts):
    with pytest.raises(BrokenLawError, match=r"law 3 \(determinism\)"):
        check_game(kuhn(**parts))


class RemembersTheLastDeal(KuhnPoker):
    """Deals the cards of one match according to what was dealt in another."""

    last_deal = Card.J

    def next_state(self, state, move):
        if isinstance(move, Card) and not state.hand.cards:
            move, RemembersTheLastDeal.last_deal = RemembersTheLastDeal.last_deal, move
        return super().next_state(state, move)


def test_a_match_that_depends_on_the_match_before_breaks_law_3():
    with pytest.raises(BrokenLawError, match=r"law 3 \(determinism\)"):
        check_game(kuhn(game=RemembersTheLastDeal))


class OpenCards(KuhnCodec):
    def observe(self, state, seat):
        cards = " and ".join(card.name for hand in (*state.finished, state.hand) for card in hand.cards)
        return f"The cards were {cards}.\n{super().observe(state, seat)}"


class ShowsTheCardsToWhoWaits(KuhnCodec):
    def observe(self, state, seat):
        text = super().observe(state, seat)
        if "You wait." in text and len(state.hand.cards) == 2:
            text += f" The other has {state.hand.cards[1 - seat].name}."
        return text


class HidesTheBetting(KuhnCodec):
    def observe(self, state, seat):
        return super().observe(state._replace(hand=state.hand._replace(bets=())), seat)


class HidesEarlierHands(KuhnCodec):
    def observe(self, state, seat):
        return super().observe(state, seat).splitlines()[-1]


@pytest.mark.parametrize(
    ("codec", "hands", "why"),
    [
        (OpenCards, 1, "gives away all that is hidden"),
        (OpenCards, 5, "gives away all that is hidden"),
        (ShowsTheCardsToWhoWaits, 1, "other texts before it"),
        (HidesTheBetting, 1, "other (legal moves|texts before it)"),
        (HidesEarlierHands, 2, "other (texts|moves of its own) before it"),
    ],
)
def test_texts_that_show_too_much_or_too_little_break_law_4(codec, hands, why):
    with pytest.raises(BrokenLawError, match=rf"law 4 \(information\): .*{why}"):
        check_game(kuhn(codec=codec, hands=hands))


class EveryCellLooksEmpty(TicTacToeCodec):
    def observe(self, state, seat):
        return f"It is your turn, {seat}."


def test_a_board_that_does_not_show_the_taken_cells_breaks_law_4():
    with pytest.raises(BrokenLawError, match=r"law 4 \(information\): .*other legal moves"):
        check_game(replace(tic_tac_toe.SPEC, name="broken", codec=EveryCellLooksEmpty()))


class WritesBetAsRaise(KuhnCodec):
    def format_move(self, move):
        return super().format_move(move).replace("bet", "raise")


class OneTextForTwoMoves(KuhnCodec):
    def format_move(self, move):
        return "[check]" if move is Bet.BET else super().format_move(move)


class NeedsBrackets(KuhnCodec):
    def parse_move(self, state, text):
        if not text.startswith("["):
            raise MalformedMoveError("no bracket")
        return super().parse_move(state, text)


class BraceInTheText(KuhnCodec):
    def format_move(self, move):
        return super().format_move(move).replace("[", "[}")

    def parse_move(self, state, text):
        return super().parse_move(state, text.replace("}", ""))


@pytest.mark.parametrize("codec", [WritesBetAsRaise, OneTextForTwoMoves, NeedsBrackets, BraceInTheText])
def test_a_move_that_is_not_read_as_it_is_written_breaks_law_5(codec):
    with pytest.raises(BrokenLawError, match=r"law 5 \(round trip\)"):
        check_game(kuhn(codec=codec))


class QuotesNonsense(KuhnCodec):
    """Shows the players the last text that it could not read."""

    nonsense = ""

    def parse_move(self, state, text):
        try:
            return super().parse_move(state, text)
        except MalformedMoveError:
            self.nonsense = text
            raise

    def observe(self, state, seat):
        return f"{self.nonsense}\n{super().observe(state, seat)}"


class RawRemarks(NegotiationCodec):
    """Shows a remark as it was written."""

    def parse_move(self, state, text):
        remark = unbracketed(text).partition("|")[2].strip()
        return super().parse_move(state, text)._replace(remark=remark)


def test_a_game_that_shows_reasoning_breaks_law_6():
    with pytest.raises(BrokenLawError, match=r"law 6 \(only moves\): the players are shown the reasoning"):
        check_game(kuhn(codec=QuotesNonsense))


def test_a_remark_that_is_shown_as_written_breaks_law_6():
    codec = RawRemarks(turns=4, fixed_values=(5, 15, 15, 5))
    with pytest.raises(BrokenLawError, match=r"law 6 \(only moves\): a remark"):
        check_game(replace(simple_negotiation.configure(turns=4), name="broken", codec=codec, configure=None))


class CountsItsReaders(KuhnCodec):
    readings = 0

    def observe(self, state, seat):
        self.readings += 1
        return f"Reading {self.readings}.\n{super().observe(state, seat)}"


class ScratchState(KuhnState):
    """A state that can be written on."""

    scratches = 0

    def __eq__(self, other):
        return super().__eq__(other) and self.scratches == other.scratches

    def __ne__(self, other):
        return not self == other

    __hash__ = KuhnState.__hash__


class ChangesItsArgument(KuhnPoker):
    def initial_state(self):
        return ScratchState(*super().initial_state())

    def next_state(self, state, move):
        assert isinstance(state, ScratchState)
        state.scratches += 1
        return ScratchState(*super().next_state(state, move))


class Unpicklable(KuhnPoker):
    def __init__(self, **options):
        super().__init__(**options)
        self.log = lambda: None


@pytest.mark.parametrize("parts", [{"codec": CountsItsReaders}, {"game": ChangesItsArgument}, {"game": Unpicklable}])
def test_reading_that_changes_something_and_matches_that_cannot_be_copied_break_law_7(parts):
    with pytest.raises(BrokenLawError, match=r"law 7 \(pure reading\)"):
        check_game(kuhn(**parts))


class AcceptsEverything(TicTacToe):
    def next_state(self, state, move):
        if move in self.legal_moves(state):
            return super().next_state(state, move)
        return state


class CrashesOnIllegalMoves(TicTacToe):
    def next_state(self, state, move):
        if move in self.legal_moves(state):
            return super().next_state(state, move)
        raise KeyError(move)


@pytest.mark.parametrize("game", [AcceptsEverything, CrashesOnIllegalMoves])
def test_rules_that_do_not_refuse_an_illegal_move_break_law_8(game):
    with pytest.raises(BrokenLawError, match=r"law 8 \(faults\)"):
        check_game(replace(tic_tac_toe.SPEC, name="broken", game=game()))


class ReadsAnyDigit(TicTacToeCodec):
    """Takes `²` for a digit, which `int` does not."""

    def parse_move(self, state, text):
        digits = unbracketed(text)
        if not digits.isdigit():
            raise MalformedMoveError(digits)
        return super().parse_move(state, str(int(digits)))


class CallsIllegalMalformed(TicTacToeCodec):
    def parse_move(self, state, text):
        try:
            return super().parse_move(state, text)
        except IllegalMoveError as error:
            raise MalformedMoveError(str(error)) from error


@pytest.mark.parametrize("codec", [ReadsAnyDigit, CallsIllegalMalformed])
def test_a_codec_that_crashes_or_mistakes_a_fault_for_another_breaks_law_8(codec):
    with pytest.raises(BrokenLawError, match=r"law 8 \(faults\)"):
        check_game(replace(tic_tac_toe.SPEC, name="broken", codec=codec()))


def test_the_message_names_the_game_and_the_moves_that_break_the_law():
    with pytest.raises(BrokenLawError) as caught:
        check_game(kuhn(return_range=(-1.0, 1.0)))

    message = str(caught.value)
    assert message.startswith("broken_v0 breaks law 2 (no free fault): returns (")
    assert "chance <Card." in message
    assert "seat 1 <Bet.CALL: 2>" in message


def test_the_same_parts_unbroken_pass():
    check_game(kuhn(), num_matches=20)


def test_the_check_leaves_the_global_random_numbers_as_they_were():
    before = global_random_state()

    check_game("kuhn_poker_v0(hands=1)", num_matches=10)
    with pytest.raises(BrokenLawError):
        check_game(kuhn(codec=RandomGreeting))

    assert global_random_state() == before


def test_an_unknown_game_is_named_with_its_neighbours():
    with pytest.raises(UnknownNameError, match="did you mean kuhn_poker_v0"):
        check_game("kuhn_pokr_v0")


def cards_in_numbers(state, seat):
    return tuple(float(card) for card in state.hand.cards[seat : seat + 1]) or (0.0,)


def card_of_the_other(state, seat):
    return cards_in_numbers(state, 1 - seat)


def no_number(state, seat):
    return (float("nan"),)


BETS = tuple(Bet)


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (DiscreteForm(moves=(*BETS, Bet.FOLD), shape=(1,), features=cards_in_numbers), "listed twice"),
        (DiscreteForm(moves=BETS[:3], shape=(1,), features=cards_in_numbers), "is legal but not listed"),
        (DiscreteForm(moves=BETS, shape=(2,), features=cards_in_numbers), "does not fit"),
        (DiscreteForm(moves=BETS, shape=(1,), features=no_number), "does not fit"),
        (
            DiscreteForm(moves=BETS, shape=(1,), features=card_of_the_other),
            "the same text with other features",
        ),
    ],
)
def test_a_discrete_form_that_lacks_moves_or_shows_more_than_the_text_breaks_law_9(form, why):
    with pytest.raises(BrokenLawError, match=rf"law 9 \(discrete form\): .*{why}"):
        check_game(kuhn(discrete=form))


def test_a_sound_discrete_form_passes():
    check_game(kuhn(discrete=DiscreteForm(moves=BETS, shape=(1,), features=cards_in_numbers)))


class OneOutcomeTwice(KuhnPoker):
    def chance_outcomes(self, state):
        outcomes = super().chance_outcomes(state)
        return outcomes and tuple((card, p / 2) for card, p in outcomes for _ in range(2))


class NegativeProbability(KuhnPoker):
    def chance_outcomes(self, state):
        outcomes = super().chance_outcomes(state)
        return outcomes and ((outcomes[0][0], 1.5), (outcomes[1][0], -0.5))


class NanProbability(KuhnPoker):
    def chance_outcomes(self, state):
        return tuple((card, float("nan")) for card, _ in super().chance_outcomes(state))


class ReturnsAList(KuhnPoker):
    def returns(self, state):
        return list(super().returns(state))


class ReturnsNan(KuhnPoker):
    def returns(self, state):
        return tuple(value * float("nan") for value in super().returns(state)) if state.finished else (0.0, 0.0)


class ThirdOfTwo(KuhnPoker):
    def to_move(self, state):
        player = super().to_move(state)
        return 2 if player == 1 else player


class MutableState(KuhnPoker):
    def initial_state(self):
        return [super().initial_state()]


@pytest.mark.parametrize(
    "game",
    [OneOutcomeTwice, NegativeProbability, NanProbability, ReturnsAList, ReturnsNan, ThirdOfTwo, MutableState],
)
def test_rules_that_do_not_keep_their_types_and_ranges_break_law_0(game):
    with pytest.raises(BrokenLawError, match=r"law 0 \(sound rules\).* after"):
        check_game(kuhn(game=game))


class ObserveRaises(KuhnCodec):
    def observe(self, state, seat):
        return {}[state.hand.bets]


class ObserveGivesNothing(KuhnCodec):
    def observe(self, state, seat):
        return None


class RulesRaise(KuhnCodec):
    def rules(self, seat):
        raise KeyError(seat)


@pytest.mark.parametrize("codec", [ObserveRaises, ObserveGivesNothing, RulesRaise])
def test_an_error_of_the_text_is_told_with_the_history(codec):
    with pytest.raises(BrokenLawError, match=r"law 0 \(sound rules\).*Error.* after"):
        check_game(kuhn(codec=codec))


class ParsesWithoutCare(KuhnCodec):
    def parse_move(self, state, text):
        return list(Bet)[["check", "bet", "call", "fold"].index(unbracketed(text).lower())]


def test_a_parser_that_raises_another_error_breaks_law_8():
    with pytest.raises(BrokenLawError, match=r"law 8 \(faults\)"):
        check_game(kuhn(codec=ParsesWithoutCare))


def all_of_it(state, seat):
    return state


def test_knowledge_of_what_is_hidden_breaks_law_4():
    with pytest.raises(BrokenLawError, match=r"law 4 \(information\): .*other knowledge in View.state"):
        check_game(kuhn(knowledge=all_of_it))


def test_a_game_of_cards_that_claims_perfect_information_breaks_law_4():
    with pytest.raises(BrokenLawError, match=r"law 4 \(information\): .*perfect information"):
        check_game(kuhn(perfect_information=True))
