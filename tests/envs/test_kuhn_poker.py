"""Kuhn poker by hand and against OpenSpiel."""

import inspect
import itertools
import random
import sys

import pyspiel
import pytest

from spiral_envs import (
    CHANCE,
    TERMINAL,
    IllegalMoveError,
    MalformedMoveError,
    UnknownNameError,
    check_game,
    find_game,
    make_match,
    solve,
)
from spiral_envs.games import kuhn_poker
from spiral_envs.games.kuhn_poker import Bet, Card, Hand, KuhnPoker, KuhnSituation, KuhnState
from spiral_envs.tree import count_nodes, walk

J, Q, K = Card.J, Card.Q, Card.K
TEN = Card.TEN
CHECK, BET, CALL, FOLD = Bet

ONE_HAND = find_game("kuhn_poker_v0", hands=1, payoff="chips")
FIVE_HANDS = find_game("kuhn_poker_v0")
THREE_PLAYERS = find_game("kuhn_poker_v0", hands=1, payoff="chips", players=3)

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
    assert state.chips == (chips, -chips)


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


def compare(game, state, theirs, rng=None):
    """Compares all histories, or with `rng` a random one, and returns how many nodes were seen."""
    deck = [card for card, _ in game.chance_outcomes(game.initial_state())]
    if theirs.is_terminal():
        assert game.to_move(state) == TERMINAL
        assert list(game.returns(state)) == theirs.returns()
        return 1
    if theirs.is_chance_node():
        outcomes = game.chance_outcomes(state)
        moves = [card for card, _ in outcomes]
        action_of = {card: deck.index(card) for card in moves}
        assert list(action_of.values()) == [card for card, _ in theirs.chance_outcomes()]
        assert [p for _, p in outcomes] == pytest.approx([p for _, p in theirs.chance_outcomes()], abs=1e-12)
    else:
        assert game.to_move(state) == theirs.current_player()
        moves = list(game.legal_moves(state))
        action_of = {CHECK: 0, FOLD: 0, BET: 1, CALL: 1}
        assert sorted(action_of[move] for move in moves) == theirs.legal_actions()
    assert not any(game.returns(state))
    if rng is not None:
        moves = [rng.choice(moves)]
    return 1 + sum(compare(game, game.next_state(state, move), theirs.child(action_of[move]), rng) for move in moves)


# 4 + 24 + 30 nodes (OpenSpiel's integration_tests/api_test.py). With three players: 1 + 4 + 12 chance nodes, and for
# each of the 24 deals 12 decisions and 13 ends.
@pytest.mark.parametrize(("players", "nodes"), [(2, 58), (3, 17 + 24 * (12 + 13))])
def test_one_hand_agrees_with_openspiel_on_every_history(players, nodes):
    game = find_game("kuhn_poker_v0", hands=1, payoff="chips", players=players).game
    theirs = pyspiel.load_game(f"kuhn_poker(players={players})").new_initial_state()
    assert compare(game, game.initial_state(), theirs) == nodes


@pytest.mark.parametrize("players", [4, 10])
def test_random_hands_of_many_players_agree_with_openspiel(players):
    game = find_game("kuhn_poker_v0", hands=1, payoff="chips", players=players).game
    theirs, rng = pyspiel.load_game(f"kuhn_poker(players={players})"), random.Random(1)
    for _ in range(100):
        assert compare(game, game.initial_state(), theirs.new_initial_state(), rng) > 2 * players


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
    assert after(FIVE_HANDS, J, Q, BET, FOLD).chips == (1, -1)
    assert after(FIVE_HANDS, J, Q, BET, FOLD, J, Q, BET, FOLD).chips == (0, 0)


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
    assert after(FIVE_HANDS, K, J, CHECK, CHECK).chips == (1, -1)
    assert after(FIVE_HANDS, K, J, BET, CALL).chips == (2, -2)
    assert after(FIVE_HANDS, J, K, CHECK, BET, CALL).chips == (-2, 2)


def test_chips_decide_the_match_and_not_the_last_hand():
    # Seat 0 wins 2 in hand 1 and 1 in hand 2, and loses 1 in each of hands 3 to 5, the last by a showdown.
    moves = (K, J, BET, CALL, Q, J, CHECK, CHECK, J, Q, CHECK, CHECK, J, Q, CHECK, CHECK)
    level = after(FIVE_HANDS, *moves, J, Q, CHECK, CHECK)
    assert level.chips == (0, 0)
    assert FIVE_HANDS.game.returns(level) == (0.0, 0.0)
    ahead = after(FIVE_HANDS, K, J, BET, CALL, K, J, BET, CALL, *(J, Q, CHECK, CHECK) * 3)
    assert ahead.chips == (1, -1)
    assert FIVE_HANDS.game.returns(ahead) == (1.0, -1.0)
    behind = after(FIVE_HANDS, *(J, Q, CHECK, CHECK) * 4, K, J, BET, CALL)
    assert behind.chips == (-2, 2)
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


def test_a_hundred_hands_are_shown_in_a_deep_call_stack():
    spec = find_game("kuhn_poker_v0", hands=100)
    state = after(spec, *(J, Q, BET, FOLD, Q, K, BET, FOLD) * 49, J, K, BET, FOLD, Q, J)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 60)
    try:
        lines = spec.codec.observe(state, 0).splitlines()
    finally:
        sys.setrecursionlimit(limit)
    assert [line.split(":")[0] for line in lines[:99]] == [f"Hand {number}" for number in range(1, 100)]
    assert lines[97:] == [
        "Hand 98: you had Q; the other bet, you folded. -1 chips.",
        "Hand 99: you had J; you bet, the other folded. +1 chips.",
        "Your chips so far: +1.",
        "Hand 100: your card is Q; no bets yet. You wait.",
    ]


def test_few_long_texts_are_remembered():
    assert kuhn_poker._past.cache_parameters()["maxsize"] == 1024


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


def test_the_tree_of_three_players_has_its_size():
    counts = count_nodes("kuhn_poker_v0(hands=1,payoff=chips,players=3)")
    assert (counts.chance, counts.decision, counts.terminal) == (17, 24 * 12, 24 * 13)
    # 4 cards, and 4 betting sequences at which each seat moves.
    assert counts.information_sets == 3 * 4 * 4


def uniform(view):
    return {move: 1 / len(view.legal_moves) for move in view.legal_moves}


def test_uniform_play_of_three_is_as_exploitable_as_openspiel_says():
    theirs = pyspiel.load_game("kuhn_poker(players=3)")
    result = solve.exploitability("kuhn_poker_v0", uniform, hands=1, payoff="chips", players=3)
    assert result.nash_conv == pytest.approx(pyspiel.nash_conv(theirs, pyspiel.UniformRandomPolicy(theirs)), abs=1e-12)
    assert sum(result.on_policy_values) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("bets", "chips"),
    [
        ((CHECK, CHECK, CHECK), (-1, -1, 2)),
        ((BET, FOLD, FOLD), (2, -1, -1)),
        ((BET, CALL, FOLD), (-2, 3, -1)),
        ((BET, CALL, CALL), (-2, -2, 4)),
        ((CHECK, BET, FOLD, CALL), (-2, 3, -1)),
        ((CHECK, CHECK, BET, CALL, FOLD), (-2, -1, 3)),
        ((CHECK, CHECK, BET, FOLD, FOLD), (-1, -1, 2)),
    ],
)
def test_every_kind_of_hand_of_three_pays_its_chips(bets, chips):
    assert THREE_PLAYERS.game.returns(after(THREE_PLAYERS, TEN, J, K, *bets)) == chips


def test_everyone_answers_a_bet_once_and_then_the_hand_is_over():
    state = after(THREE_PLAYERS, TEN, J, K, CHECK)
    for seat, move, legal in ((1, BET, (CHECK, BET)), (2, CALL, (CALL, FOLD)), (0, FOLD, (CALL, FOLD))):
        assert THREE_PLAYERS.game.to_move(state) == seat
        assert THREE_PLAYERS.game.legal_moves(state) == legal
        state = THREE_PLAYERS.game.next_state(state, move)
    assert THREE_PLAYERS.game.to_move(state) == TERMINAL
    assert THREE_PLAYERS.game.legal_moves(state) == ()


def test_the_first_mover_rotates_among_three():
    spec = find_game("kuhn_poker_v0", players=3)
    for index in range(4):
        assert spec.game.to_move(after(spec, *(TEN, J, K, CHECK, CHECK, CHECK) * index, TEN, J, K)) == index % 3
    # Player 1 opens hand 2 with a bet that all fold to.
    assert after(spec, TEN, J, K, CHECK, CHECK, CHECK, TEN, J, K, BET, FOLD, FOLD).chips == (-2, 1, 1)


@pytest.mark.parametrize(
    ("bets", "returns"),
    [
        # Chips +2, -1, -1: the two losers are behind one player and level with each other.
        ((CHECK, CHECK, CHECK), (-1, -1, 2)),
        # Chips -2, -1, +3.
        ((CHECK, CHECK, BET, CALL, FOLD), (-2, 0, 2)),
    ],
)
def test_many_players_are_paid_by_rank(bets, returns):
    spec = find_game("kuhn_poker_v0", hands=1, players=3)
    assert spec.return_range == (-2, 2)
    assert spec.game.returns(after(spec, TEN, J, K, *bets)) == returns


def test_many_players_see_the_cards_of_those_who_stayed():
    spec = find_game("kuhn_poker_v0", hands=2, players=3)
    state = after(spec, TEN, J, K, CHECK, CHECK, BET, CALL, FOLD, TEN, Q, J, CHECK)
    assert spec.codec.observe(state, 1) == (
        "Hand 1: you had J; Player 0 checked, you checked, Player 2 bet, Player 0 called, you folded."
        " Player 0 had 10. Player 2 had K. Player 2 won the pot. -1 chips.\n"
        "Chips so far: Player 0 -2, you -1, Player 2 +3.\n"
        "Hand 2: your card is Q; you checked. Player 2 is to move."
    )
    folded = [after(spec, TEN, other, K, CHECK, CHECK, BET, CALL, FOLD) for other in (J, Q)]
    assert spec.codec.observe(folded[0], 0) == spec.codec.observe(folded[1], 0)
    unseen = [after(spec, TEN, other, K, BET, FOLD, FOLD) for other in (J, Q)]
    assert spec.codec.observe(unseen[0], 0) == spec.codec.observe(unseen[1], 0)
    assert "You won the pot. +2 chips." in spec.codec.observe(unseen[0], 0)


@pytest.mark.parametrize(
    ("cards", "listed"),
    [(3, "J, Q, K"), (4, "10, J, Q, K"), (5, "9, 10, J, Q, K"), (12, "2, 3, 4, 5, 6, 7, 8, 9, 10, J, Q, K")],
)
def test_a_deck_is_the_ranks_that_end_in_k(cards, listed):
    spec = find_game("kuhn_poker_v0", cards=cards)
    assert len(spec.game.chance_outcomes(spec.game.initial_state())) == cards
    assert f"one card of {listed}, where K is the highest" in spec.codec.rules(0)


def test_thirteen_cards_have_an_ace_on_top():
    spec = find_game("kuhn_poker_v0", cards=13, hands=1, payoff="chips")
    assert "Q, K, A, where A is the highest" in spec.codec.rules(0)
    assert spec.game.returns(after(spec, Card.A, K, BET, CALL)) == (2, -2)
    assert spec.game.returns(after(spec, Card.TWO, Card.THREE, CHECK, CHECK)) == (-1, 1)


def test_a_card_that_is_not_in_the_deck_is_not_dealt():
    with pytest.raises(IllegalMoveError, match="illegal deal 10"):
        ONE_HAND.game.next_state(after(ONE_HAND), TEN)


def test_a_card_is_never_taken_for_a_bet():
    game = find_game("kuhn_poker_v0", cards=13).game
    assert not set(Card) & set(Bet)
    for card in Card:
        with pytest.raises(IllegalMoveError):
            game.next_state(after(find_game("kuhn_poker_v0", cards=13), J, Q), card)


@pytest.mark.parametrize(
    "game",
    [
        "kuhn_poker_v0(cards=13,hands=1)",
        "kuhn_poker_v0(players=3,hands=1)",
        "kuhn_poker_v0(players=3,hands=2,payoff=chips)",
        "kuhn_poker_v0(players=4,cards=13,hands=1,payoff=chips)",
    ],
)
def test_other_sizes_keep_the_laws(game):
    check_game(game, num_matches=4)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"players": 1}, "option players of kuhn_poker is 1: expected an integer from 2 to 10"),
        ({"players": 11}, "option players of kuhn_poker is 11: expected an integer from 2 to 10"),
        ({"cards": 2}, "option cards of kuhn_poker is 2: expected an integer from 3 to 13"),
        ({"cards": 14}, "option cards of kuhn_poker is 14: expected an integer from 3 to 13"),
        ({"cards": True}, "option cards of kuhn_poker is True: expected an integer from 3 to 13"),
        ({"players": 3, "cards": 3}, "option cards of kuhn_poker is 3: expected an integer from 4 to 13"),
    ],
)
def test_a_size_out_of_range_is_refused(options, why):
    with pytest.raises(ValueError, match=f"^{why}$"):
        find_game("kuhn_poker_v0", **options)


def test_features_are_place_card_and_betting():
    assert ONE_HAND.discrete is not None
    assert ONE_HAND.discrete.moves == (CHECK, BET, CALL, FOLD)
    assert ONE_HAND.discrete.shape == (2 + 3 + 2 * 3,)
    state = after(ONE_HAND, K, Q, CHECK, BET)
    checked, bet, nothing = (1, 0), (0, 1), (0, 0)
    assert ONE_HAND.discrete.features(state, 0) == (1, 0, 0, 0, 1, *checked, *bet, *nothing)
    assert ONE_HAND.discrete.features(state, 1) == (0, 1, 0, 1, 0, *checked, *bet, *nothing)


def test_features_of_several_hands_go_on_with_the_chips():
    assert FIVE_HANDS.discrete is not None
    state = after(FIVE_HANDS, K, J, BET, CALL, Q, J, BET)
    assert FIVE_HANDS.discrete.shape == (11 + 3,)
    # Seat 1 moves first in hand 2, of which 4 in 5 are left; seat 0 leads by 2 of 10 chips.
    assert FIVE_HANDS.discrete.features(state, 0) == (0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0.8, 0.2, -0.2)
    assert FIVE_HANDS.discrete.features(state, 1) == (1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0.8, -0.2, 0.2)


@pytest.mark.parametrize("options", [{"hands": 1}, {"hands": 1, "players": 3}, {"hands": 1, "cards": 5}])
def test_features_tell_apart_what_the_texts_tell_apart(options):
    spec = find_game("kuhn_poker_v0", **options)
    assert spec.discrete is not None
    seen = {
        (player, spec.codec.observe(state, player), spec.discrete.features(state, player))
        for state, player, _ in walk(spec)
        if player >= 0
    }
    assert len({text[:2] for text in seen}) == len({text[::2] for text in seen}) == len(seen)
    assert {len(features) for _, _, features in seen} == {spec.discrete.num_features}


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
    assert game.situation(state, 0) == KuhnSituation(4, first_mover=1, chips=(2, -2), card=Q, bets=(BET,))
    assert game.situation(state, 1) == KuhnSituation(4, first_mover=1, chips=(2, -2), card=J, bets=(BET,))
    assert game.situation(after(FIVE_HANDS, K), 1).card is None


def test_states_are_values():
    assert after(FIVE_HANDS, K, J, BET) == KuhnState(hand=Hand((K, J), (BET,)))
    assert hash(after(FIVE_HANDS, K, J, BET)) == hash(after(FIVE_HANDS, K, J, BET))
