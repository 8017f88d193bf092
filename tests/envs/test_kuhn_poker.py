"""Kuhn poker by hand and against OpenSpiel."""

import itertools

import pyspiel
import pytest

from spiral_envs import CHANCE, TERMINAL, IllegalMoveError, MalformedMoveError, UnknownNameError, find_game, make_match
from spiral_envs.games.kuhn_poker import Bet, Card, Hand, KuhnPoker, KuhnSituation, KuhnState
from spiral_envs.tree import count_nodes, walk

J, Q, K = Card
CHECK, BET, CALL, FOLD = Bet

ONE_HAND = find_game("kuhn_poker_v0", hands=1, payoff="chips")
FIVE_HANDS = find_game("kuhn_poker_v0")

DEALS = ((J, Q), (J, K), (Q, J), (Q, K), (K, J), (K, Q))
"""Seat 0's card first."""

CHIPS = {
    (CHECK, CHECK): (-1, -1, +1, -1, +1, +1),
    (BET, FOLD): (+1, +1, +1, +1, +1, +1),
    (BET, CALL): (-2, -2, +2, -2, +2, +2),
    (CHECK, BET, FOLD): (-1, -1, -1, -1, -1, -1),
    (CHECK, BET, CALL): (-2, -2, +2, -2, +2, +2),
}
"""What the first mover wins by every line of play, deal by deal."""


def after(spec, *moves):
    """Returns the state after `moves`, cards included."""
    state = spec.game.initial_state()
    for move in moves:
        state = spec.game.next_state(state, move)
    return state


@pytest.mark.parametrize("bets", CHIPS, ids=lambda bets: "-".join(bet.name for bet in bets))
@pytest.mark.parametrize("deal", range(6), ids=lambda deal: "".join(card.name for card in DEALS[deal]))
def test_every_line_of_one_hand_pays_its_chips(bets, deal):
    state = after(ONE_HAND, *DEALS[deal], *bets)
    chips = CHIPS[bets][deal]
    assert ONE_HAND.game.to_move(state) == TERMINAL
    assert ONE_HAND.game.returns(state) == (chips, -chips)
    assert state.chips == chips


def test_players_move_in_turn_within_a_hand():
    game = ONE_HAND.game
    assert game.to_move(after(ONE_HAND)) == CHANCE
    assert game.to_move(after(ONE_HAND, J)) == CHANCE
    assert game.to_move(after(ONE_HAND, J, Q)) == 0
    assert game.to_move(after(ONE_HAND, J, Q, CHECK)) == 1
    assert game.to_move(after(ONE_HAND, J, Q, CHECK, BET)) == 0
    assert game.to_move(after(ONE_HAND, J, Q, BET)) == 1


@pytest.mark.parametrize(
    ("bets", "legal"),
    [((), (CHECK, BET)), ((CHECK,), (CHECK, BET)), ((BET,), (CALL, FOLD)), ((CHECK, BET), (CALL, FOLD))],
)
def test_a_bet_can_only_be_called_or_folded(bets, legal):
    state = after(ONE_HAND, J, Q, *bets)
    assert ONE_HAND.game.legal_moves(state) == legal
    for move in set(Bet) - set(legal):
        with pytest.raises(IllegalMoveError):
            ONE_HAND.game.next_state(state, move)


def test_nobody_moves_before_the_deal_or_after_the_end():
    for state in (after(ONE_HAND), after(ONE_HAND, J), after(ONE_HAND, J, Q, BET, FOLD)):
        assert ONE_HAND.game.legal_moves(state) == ()
        with pytest.raises(IllegalMoveError):
            ONE_HAND.game.next_state(state, CHECK)


def test_each_card_is_dealt_once_and_equally_likely():
    assert ONE_HAND.game.chance_outcomes(after(ONE_HAND)) == ((J, 1 / 3), (Q, 1 / 3), (K, 1 / 3))
    assert ONE_HAND.game.chance_outcomes(after(ONE_HAND, Q)) == ((J, 1 / 2), (K, 1 / 2))
    assert ONE_HAND.game.chance_outcomes(after(ONE_HAND, Q, J)) == ()
    with pytest.raises(IllegalMoveError, match="illegal deal Q"):
        ONE_HAND.game.next_state(after(ONE_HAND, Q), Q)
    with pytest.raises(IllegalMoveError, match="illegal deal K"):
        ONE_HAND.game.next_state(after(ONE_HAND, Q, J), K)


def test_one_hand_agrees_with_openspiel_on_every_history():
    game = ONE_HAND.game
    action_of = {J: 0, Q: 1, K: 2, CHECK: 0, FOLD: 0, BET: 1, CALL: 1}

    def compare(state, theirs):
        if theirs.is_terminal():
            assert game.to_move(state) == TERMINAL
            assert list(game.returns(state)) == theirs.returns()
            return 1
        if theirs.is_chance_node():
            outcomes = game.chance_outcomes(state)
            assert [action_of[card] for card, _ in outcomes] == [card for card, _ in theirs.chance_outcomes()]
            assert [p for _, p in outcomes] == pytest.approx([p for _, p in theirs.chance_outcomes()], abs=1e-12)
            moves = [card for card, _ in outcomes]
        else:
            assert game.to_move(state) == theirs.current_player()
            moves = list(game.legal_moves(state))
            assert sorted(action_of[move] for move in moves) == theirs.legal_actions()
        assert game.returns(state) == (0, 0)
        return 1 + sum(compare(game.next_state(state, move), theirs.child(action_of[move])) for move in moves)

    # 4 chance, 24 decision and 30 terminal nodes (OpenSpiel's integration_tests/api_test.py).
    assert compare(game.initial_state(), pyspiel.load_game("kuhn_poker").new_initial_state()) == 58


def test_the_tree_of_one_hand_has_its_known_size():
    counts = count_nodes("kuhn_poker_v0", hands=1, payoff="chips")
    # OpenSpiel's integration_tests/api_test.py.
    assert (counts.chance, counts.decision, counts.terminal, counts.information_sets) == (4, 24, 30, 12)


def test_the_first_mover_alternates_from_hand_to_hand():
    hand = (J, Q, CHECK, CHECK)
    for index in range(5):
        state = after(FIVE_HANDS, *hand * index, J, Q)
        assert FIVE_HANDS.game.to_move(state) == index % 2


def test_the_seat_that_bets_first_in_hand_two_wins_its_fold():
    assert after(FIVE_HANDS, J, Q, BET, FOLD).chips == 1
    assert after(FIVE_HANDS, J, Q, BET, FOLD, J, Q, BET, FOLD).chips == 0


def test_a_player_may_move_twice_in_a_row_between_hands():
    # Seat 1 closes hand 1 with its check and opens hand 2: spiral-rl 0.2.0 calls that an illegal move.
    match = make_match("kuhn_poker_v0", seed=3)
    match.submit("[check]")
    assert match.seat_to_move == 1
    match.submit("[check]")
    assert match.seat_to_move == 1
    match.submit("[bet]")
    assert match.seat_to_move == 0
    assert [turn.seat for turn in match.turns] == [0, 1, 1]
    assert [turn.fault for turn in match.turns] == [None] * 3


def test_betting_moves_chips():
    # TextArena 0.7.4 and SPIRAL's release leave the pot at 2 chips whatever is bet.
    assert after(FIVE_HANDS, K, J, CHECK, CHECK).chips == 1
    assert after(FIVE_HANDS, K, J, BET, CALL).chips == 2
    assert after(FIVE_HANDS, J, K, CHECK, BET, CALL).chips == -2


def test_chips_decide_the_match_and_not_the_last_hand():
    # Seat 0 wins 2 in hand 1 and 1 in hand 2, and loses 1 in each of hands 3 to 5, the last by a showdown.
    moves = (K, J, BET, CALL, Q, J, CHECK, CHECK, J, Q, CHECK, CHECK, J, Q, CHECK, CHECK)
    level = after(FIVE_HANDS, *moves, J, Q, CHECK, CHECK)
    assert level.chips == 0
    assert FIVE_HANDS.game.returns(level) == (0.0, 0.0)
    ahead = after(FIVE_HANDS, K, J, BET, CALL, K, J, BET, CALL, *(J, Q, CHECK, CHECK) * 3)
    assert ahead.chips == 1
    assert FIVE_HANDS.game.returns(ahead) == (1.0, -1.0)
    behind = after(FIVE_HANDS, *(J, Q, CHECK, CHECK) * 4, K, J, BET, CALL)
    assert behind.chips == -2
    assert FIVE_HANDS.game.returns(behind) == (-1.0, 1.0)


def test_no_ante_is_charged_after_the_last_hand():
    spec = find_game("kuhn_poker_v0", hands=2, payoff="chips")
    state = after(spec, K, Q, CHECK, CHECK, K, Q, CHECK, CHECK)
    assert spec.game.returns(state) == (2.0, -2.0)
    assert "+2" in spec.codec.observe(state, 0)
    assert "-2" in spec.codec.observe(state, 1)


def test_returns_of_many_chip_hands_stay_in_their_range():
    for hands in (1, 5):
        spec = find_game("kuhn_poker_v0", hands=hands, payoff="chips")
        assert spec.return_range == (-2.0 * hands, 2.0 * hands)
        best = after(spec, *itertools.chain(*[(K, J, BET, CALL)] * hands))
        assert spec.game.returns(best) == (2 * hands, -2 * hands)
    assert FIVE_HANDS.return_range == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("options", "lost"), [({"hands": 1, "payoff": "chips"}, 2), ({"hands": 5, "payoff": "chips"}, 10), ({}, 1)]
)
@pytest.mark.parametrize("offender", [0, 1])
def test_nonsense_is_never_a_cheap_fold(options, lost, offender):
    # In prime-rl's Kuhn a forfeit costs 1 chip, less than a lost call.
    match = make_match("kuhn_poker_v0", seed=0, **options)
    if offender == 1:
        match.submit("[check]")
    match.submit("banana")
    assert match.outcome is not None
    assert match.outcome.returns == ((-lost, lost) if offender == 0 else (lost, -lost))
    assert match.outcome.offender == offender


def test_the_other_card_is_seen_only_in_a_showdown():
    folded = [after(FIVE_HANDS, Q, other, BET, FOLD) for other in (J, K)]
    assert FIVE_HANDS.codec.observe(folded[0], 0) == FIVE_HANDS.codec.observe(folded[1], 0)
    shown = [after(FIVE_HANDS, Q, other, CHECK, CHECK) for other in (J, K)]
    assert "The other had J." in FIVE_HANDS.codec.observe(shown[0], 0)
    assert "The other had K." in FIVE_HANDS.codec.observe(shown[1], 0)
    for state in shown:
        assert "The other had Q." in FIVE_HANDS.codec.observe(state, 1)


def test_no_observation_depends_on_the_hidden_card():
    seen = {}
    for state, player, _ in walk(ONE_HAND):
        if player >= 0:
            mine, theirs = state.hand.cards[player], state.hand.cards[1 - player]
            where = (player, mine, state.hand.bets)
            seen.setdefault(where, {})[theirs] = ONE_HAND.codec.observe(state, player)
    assert len(seen) == 12
    for by_hidden_card in seen.values():
        assert len(by_hidden_card) == 2
        assert len(set(by_hidden_card.values())) == 1
    assert len({(where[0], *texts.values()) for where, texts in seen.items()}) == 12


def test_the_observation_says_card_betting_and_chips():
    state = after(FIVE_HANDS, K, J, CHECK, BET, CALL, Q, J, BET)
    assert FIVE_HANDS.codec.observe(state, 0) == (
        "Hand 1: you had K; you checked, the other bet, you called. The other had J. +2 chips.\n"
        "Your chips so far: +2.\n"
        "Hand 2: your card is Q; the other bet. It is your turn."
    )
    assert FIVE_HANDS.codec.observe(state, 1) == (
        "Hand 1: you had J; the other checked, you bet, the other called. The other had K. -2 chips.\n"
        "Your chips so far: -2.\n"
        "Hand 2: your card is J; you bet. You wait."
    )


def test_the_rules_name_the_seat():
    assert FIVE_HANDS.codec.rules(0).startswith(
        "You are Player 0 in a game of Kuhn poker of 5 hands, against Player 1."
    )
    assert FIVE_HANDS.codec.rules(1).startswith(
        "You are Player 1 in a game of Kuhn poker of 5 hands, against Player 0."
    )
    assert "as many chips as you can" in ONE_HAND.codec.rules(0)


@pytest.mark.parametrize("text", ["[bet]", "bet", "BET", "[Bet]", " [ bet ] "])
def test_a_move_is_read_in_any_case_with_or_without_brackets(text):
    assert ONE_HAND.codec.parse_move(after(ONE_HAND, J, Q), text) is BET


@pytest.mark.parametrize("text", ["", "[]", "[raise]", "[bet 2]", "[[bet]]", "bet]", "[bet", "pass", "[4]"])
def test_another_word_is_malformed(text):
    with pytest.raises(MalformedMoveError, match="expected \\[check\\], \\[bet\\], \\[call\\] or \\[fold\\]"):
        ONE_HAND.codec.parse_move(after(ONE_HAND, J, Q), text)


def test_an_illegal_move_says_what_was_expected():
    with pytest.raises(IllegalMoveError) as error:
        ONE_HAND.codec.parse_move(after(ONE_HAND, J, Q, BET), "[check]")
    assert str(error.value) == "illegal move [check] in kuhn_poker after [bet]: expected [call] or [fold]"


@pytest.mark.parametrize("hands", [0, -1, 101, 2.0, "5", True, None])
def test_a_number_of_hands_out_of_range_is_refused(hands):
    with pytest.raises(ValueError, match="expected an integer from 1 to 100"):
        find_game("kuhn_poker_v0", hands=hands)


def test_an_unknown_payoff_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean chips"):
        find_game("kuhn_poker_v0", payoff="chip")


def test_a_situation_holds_what_matters_to_a_seat():
    state = after(FIVE_HANDS, K, J, BET, CALL, Q, J, BET)
    game = KuhnPoker(hands=5, pays_chips=False)
    assert game.situation(state, 0) == KuhnSituation(hands_left=4, lead=2, card=Q, bets=(BET,))
    assert game.situation(state, 1) == KuhnSituation(hands_left=4, lead=-2, card=J, bets=(BET,))
    assert game.situation(after(FIVE_HANDS, K), 1).card is None


def test_states_are_values():
    assert after(FIVE_HANDS, K, J, BET) == KuhnState(hand=Hand((K, J), (BET,)))
    assert hash(after(FIVE_HANDS, K, J, BET)) == hash(after(FIVE_HANDS, K, J, BET))
