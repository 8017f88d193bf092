"""Leduc poker by hand and against OpenSpiel."""

import inspect
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
    make_agent,
    make_match,
    play,
    solve,
)
from spiral_envs.games import leduc_poker
from spiral_envs.games.leduc_poker import Bet, Card, LeducSituation, Rank, Suit
from spiral_envs.tree import count_nodes, walk

FOLD, CHECK, CALL, BET, RAISE = Bet
JS, JH, QS, QH, KS, KH = (Card(rank, suit) for rank in (Rank.J, Rank.Q, Rank.K) for suit in Suit)
TENS = Card(Rank.TEN, Suit.SPADES)

LEDUC = find_game("leduc_poker_v0")
THREE_PLAYERS = find_game("leduc_poker_v0", players=3)
TWO_HANDS = find_game("leduc_poker_v0", hands=2)


def after(spec, *moves):
    """Returns the state after `moves`, cards included."""
    state = spec.game.initial_state()
    for move in moves:
        state = spec.game.next_state(state, move)
    return state


def uniform(view):
    return {move: 1 / len(view.legal_moves) for move in view.legal_moves}


@pytest.mark.parametrize(
    ("moves", "chips"),
    [
        # A fold costs what was put in: the ante, with a bet of 2, with a bet of 4 in round 2, or all but the last call.
        ((JS, QS, BET, FOLD), 1),
        ((JS, QS, CHECK, BET, FOLD), -1),
        ((JS, QS, BET, RAISE, FOLD), -3),
        ((JS, QS, CHECK, BET, RAISE, FOLD), 3),
        ((JS, QS, CHECK, CHECK, KS, BET, FOLD), 1),
        ((JS, QS, BET, CALL, KS, BET, RAISE, FOLD), -7),
        ((JS, QS, BET, RAISE, CALL, KS, CHECK, BET, RAISE, FOLD), 9),
        # The higher card wins a showdown, unless the other pairs the public card.
        ((KS, QS, CHECK, CHECK, JS, CHECK, CHECK), 1),
        ((KS, QS, CHECK, CHECK, QH, CHECK, CHECK), -1),
        ((JS, KS, BET, CALL, JH, BET, CALL), 7),
        ((JS, KS, BET, RAISE, CALL, QS, BET, RAISE, CALL), -13),
        # Suits do not matter: equal ranks split the pot.
        ((JS, JH, BET, RAISE, CALL, KS, BET, RAISE, CALL), 0),
        ((JH, JS, CHECK, CHECK, QS, CHECK, CHECK), 0),
    ],
)
def test_a_hand_pays_its_chips(moves, chips):
    state = after(LEDUC, *moves)
    assert LEDUC.game.to_move(state) == TERMINAL
    assert LEDUC.game.returns(state) == (chips, -chips)
    assert LEDUC.game.legal_moves(state) == LEDUC.game.chance_outcomes(state) == ()


@pytest.mark.parametrize(
    ("moves", "seat", "legal"),
    [
        ((), 0, (CHECK, BET)),
        ((CHECK,), 1, (CHECK, BET)),
        ((BET,), 1, (FOLD, CALL, RAISE)),
        ((BET, RAISE), 0, (FOLD, CALL)),
        ((CHECK, BET, RAISE), 1, (FOLD, CALL)),
        # Seat 0 begins round 2 whoever bet last, and may bet anew.
        ((CHECK, BET, RAISE, CALL, KS), 0, (CHECK, BET)),
        ((CHECK, CHECK, KS, CHECK, BET), 0, (FOLD, CALL, RAISE)),
    ],
)
def test_a_round_has_at_most_one_bet_and_one_raise(moves, seat, legal):
    state = after(LEDUC, JS, QS, *moves)
    assert LEDUC.game.to_move(state) == seat
    assert LEDUC.game.legal_moves(state) == legal
    for move in set(Bet) - set(legal):
        with pytest.raises(IllegalMoveError):
            LEDUC.game.next_state(state, move)


def test_the_public_card_is_dealt_between_the_rounds():
    state = after(LEDUC, JS, QS, BET, CALL)
    assert LEDUC.game.to_move(state) == CHANCE
    assert LEDUC.game.chance_outcomes(state) == tuple((card, 1 / 4) for card in (JH, QH, KS, KH))
    for card in (JS, QS, TENS):
        with pytest.raises(IllegalMoveError, match=r"illegal deal .* cards dealt are J of spades, Q of spades"):
            LEDUC.game.next_state(state, card)
    for moves in ((JS, QS), (JS, QS, BET), (JS, QS, CHECK, CHECK, KS)):
        with pytest.raises(IllegalMoveError, match="illegal deal"):
            LEDUC.game.next_state(after(LEDUC, *moves), KH)


def compare(game, state, theirs, rng=None):
    """Compares all histories, or with `rng` a random one, and returns how many nodes were seen."""
    deck = [card for card, _ in game.chance_outcomes(game.initial_state())]
    if theirs.is_terminal():
        assert game.to_move(state) == TERMINAL
        assert list(game.returns(state)) == theirs.returns()
        return 1
    if theirs.is_chance_node():
        assert game.to_move(state) == CHANCE
        outcomes = game.chance_outcomes(state)
        moves = [card for card, _ in outcomes]
        action_of = {card: deck.index(card) for card in moves}
        assert list(action_of.values()) == [card for card, _ in theirs.chance_outcomes()]
        assert [p for _, p in outcomes] == pytest.approx([p for _, p in theirs.chance_outcomes()], abs=1e-12)
    else:
        assert game.to_move(state) == theirs.current_player()
        moves = list(game.legal_moves(state))
        action_of = {FOLD: 0, CHECK: 1, CALL: 1, BET: 2, RAISE: 2}
        assert [action_of[move] for move in moves] == theirs.legal_actions()
    if rng is not None:
        moves = [rng.choice(moves)]
    return 1 + sum(compare(game, game.next_state(state, move), theirs.child(action_of[move]), rng) for move in moves)


def test_one_hand_agrees_with_openspiel_on_every_history():
    theirs = pyspiel.load_game("leduc_poker").new_initial_state()
    assert compare(LEDUC.game, LEDUC.game.initial_state(), theirs) == 157 + 3780 + 5520


@pytest.mark.parametrize("players", [3, 4, 10])
def test_random_hands_of_many_players_agree_with_openspiel(players):
    game = find_game("leduc_poker_v0", players=players).game
    theirs, rng = pyspiel.load_game(f"leduc_poker(players={players})"), random.Random(players)
    for _ in range(200):
        seen = compare(game, game.initial_state(), theirs.new_initial_state(), rng)
        assert seen <= players + 1 + game.max_plies + 1


def test_the_tree_has_its_known_size():
    # OpenSpiel's integration_tests/api_test.py; information sets as in its leduc_poker.h.
    counts = count_nodes("leduc_poker_v0")
    assert (counts.chance, counts.decision, counts.terminal, counts.information_sets) == (157, 3780, 5520, 936)


def test_uniform_play_has_its_known_nash_conv():
    # OpenSpiel 2.0.2.
    assert solve.exploitability("leduc_poker_v0", uniform).nash_conv == pytest.approx(4.747222, abs=1e-6)


def test_a_hundred_iterations_come_near_the_known_value(monkeypatch, tmp_path):
    monkeypatch.setattr(solve, "MAX_ITERATIONS", 100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = solve.equilibrium_of(LEDUC).result
    # The value to the first player is -0.085603 (OpenSpiel, CFR+); each seat is within NashConv of it.
    assert 0 < result.nash_conv < 0.05
    assert result.on_policy_values[0] == pytest.approx(-0.085603, abs=result.nash_conv)


@pytest.mark.slow
def test_cfr_plays_an_equilibrium_and_one_hand_of_many_as_if_it_were_the_only_one(monkeypatch, tmp_path):
    # Takes 10 seconds.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    agent = make_agent("cfr", seed=1)
    result = solve.equilibrium("leduc_poker_v0").result
    assert result.nash_conv <= 1e-4
    assert result.on_policy_values[0] == pytest.approx(-0.085603, abs=5e-5)
    games = (make_match("leduc_poker_v0(hands=2)", seed=seed) for seed in range(300))
    returns = [episode.outcome.returns[0] for episode in play(games, [agent, make_agent("random", seed=2)])]
    # The standard error is 0.3; uniform play would get 0, and about -1.4 from these two hands.
    assert sum(returns) / 300 > 0.5


def test_three_players_go_on_until_all_have_answered():
    game = THREE_PLAYERS.game
    state = after(THREE_PLAYERS, TENS, JS, QS)
    for seat, move in ((0, CHECK), (1, BET), (2, RAISE), (0, FOLD), (1, CALL)):
        assert game.to_move(state) == seat
        state = game.next_state(state, move)
    assert game.to_move(state) == CHANCE
    state = game.next_state(state, KS)
    # Seat 0 has folded, so that seat 1 begins.
    for seat, move in ((1, BET), (2, CALL)):
        assert game.to_move(state) == seat
        state = game.next_state(state, move)
    # Seats 1 and 2 have put in 1 + 4 + 4 chips each, seat 0 its ante.
    assert game.returns(state) == (-1, -9, 10)


def test_two_of_three_split_an_odd_pot_in_halves():
    state = after(THREE_PLAYERS, JS, QS, JH, BET, CALL, CALL, QH, CHECK, CHECK, CHECK)
    assert THREE_PLAYERS.game.returns(state) == (-3, 6, -3)
    split = after(THREE_PLAYERS, JS, QS, QH, BET, CALL, CALL, KS, CHECK, CHECK, CHECK)
    assert THREE_PLAYERS.game.returns(split) == (-3, 1.5, 1.5)


def test_returns_stay_in_their_range():
    best = after(THREE_PLAYERS, KS, QS, QH, BET, RAISE, CALL, CALL, KH, BET, RAISE, CALL, CALL)
    assert THREE_PLAYERS.game.returns(best) == (26, -13, -13)
    assert THREE_PLAYERS.return_range == (-13, 26)
    assert find_game("leduc_poker_v0", hands=5).return_range == (-65, 65)
    assert find_game("leduc_poker_v0", payoff="win", players=4).return_range == (-3, 3)


def test_the_first_mover_alternates_and_chips_add_up():
    state = after(TWO_HANDS, JS, QS, BET, FOLD)
    assert TWO_HANDS.game.returns(state) == (0, 0)
    state = after(TWO_HANDS, JS, QS, BET, FOLD, JS, QS)
    assert TWO_HANDS.game.to_move(state) == 1
    state = after(TWO_HANDS, JS, QS, BET, FOLD, JS, QS, CHECK, CHECK, KS)
    assert TWO_HANDS.game.to_move(state) == 1
    state = after(TWO_HANDS, JS, QS, BET, FOLD, JS, QS, CHECK, CHECK, KS, BET, CALL)
    assert TWO_HANDS.game.returns(state) == (-4, 4)
    assert TWO_HANDS.game.to_move(state) == TERMINAL


def test_winning_can_be_all_that_counts():
    spec = find_game("leduc_poker_v0", hands=2, payoff="win")
    assert spec.game.returns(after(spec, JS, QS, BET, FOLD, JS, QS, CHECK, CHECK, KS, BET, CALL)) == (-1, 1)
    assert spec.game.returns(after(spec, JS, QS, BET, FOLD, JS, QS, BET, FOLD)) == (0, 0)
    three = find_game("leduc_poker_v0", players=3, payoff="win")
    # Chips -1, -9, +10.
    moves = (TENS, JS, QS, CHECK, BET, RAISE, FOLD, CALL, KS, BET, CALL)
    assert three.game.returns(after(three, *moves)) == (0, -2, 2)


def test_the_observation_says_cards_betting_and_pot():
    assert LEDUC.codec.observe(after(LEDUC, JS, QH), 0) == (
        "Hand 1: your card is J of spades; no bets yet. The pot has 2 chips, 1 of them yours. It is your turn."
    )
    state = after(LEDUC, JS, QH, BET, RAISE, CALL, KS, CHECK)
    assert LEDUC.codec.observe(state, 1) == (
        "Hand 1: your card is Q of hearts; the other bet, you raised, the other called; the public card is K of spades;"
        " the other checked. The pot has 10 chips, 5 of them yours. It is your turn."
    )
    assert LEDUC.codec.observe(state, 0).endswith("; you checked. The pot has 10 chips, 5 of them yours. You wait.")
    state = after(LEDUC, JS, QH, BET, RAISE, CALL, KS, CHECK, BET, FOLD)
    assert LEDUC.codec.observe(state, 0) == (
        "Hand 1: you had J of spades; you bet, the other raised, you called; the public card was K of spades;"
        " you checked, the other bet, you folded. The other won the pot. -5 chips."
    )
    state = after(LEDUC, JS, JH, CHECK, CHECK, KS, CHECK, CHECK)
    assert LEDUC.codec.observe(state, 1) == (
        "Hand 1: you had J of hearts; the other checked, you checked; the public card was K of spades; the other"
        " checked, you checked. The other had J of spades. The other and you split the pot. +0 chips."
    )


def test_many_players_are_named():
    spec = find_game("leduc_poker_v0", players=3, hands=2)
    moves = (TENS, JS, QS, CHECK, BET, RAISE, FOLD, CALL, KS, BET, CALL)
    assert spec.codec.observe(after(spec, *moves, JS, QS, KS, CHECK), 0) == (
        "Hand 1: you had 10 of spades; you checked, Player 1 bet, Player 2 raised, you folded, Player 1 called;"
        " the public card was K of spades; Player 1 bet, Player 2 called. Player 1 had J of spades."
        " Player 2 had Q of spades. Player 2 won the pot. -1 chips.\n"
        "Chips so far: you -1, Player 1 -9, Player 2 +10.\n"
        "Hand 2: your card is J of spades; Player 1 checked. The pot has 3 chips, 1 of them yours."
        " Player 2 is to move."
    )


def test_a_hundred_hands_are_shown_in_a_deep_call_stack():
    spec = find_game("leduc_poker_v0", hands=100)
    state = after(spec, *(JS, KS, BET, FOLD, JH, QS, BET, FOLD) * 49, JS, QS, BET, FOLD, KH, QH)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 60)
    try:
        lines = spec.codec.observe(state, 0).splitlines()
    finally:
        sys.setrecursionlimit(limit)
    assert [line.split(":")[0] for line in lines[:99]] == [f"Hand {number}" for number in range(1, 100)]
    assert lines[98] == "Hand 99: you had J of spades; you bet, the other folded. You won the pot. +1 chips."
    assert lines[99:] == [
        "Your chips so far: +1.",
        "Hand 100: your card is K of hearts; no bets yet. The pot has 2 chips, 1 of them yours. You wait.",
    ]


def test_few_long_texts_are_remembered():
    assert leduc_poker._past.cache_parameters()["maxsize"] == 1024


def test_no_observation_depends_on_a_hidden_card():
    seen = {}
    for state, player, _ in walk(LEDUC):
        if player >= 0:
            cards, first, board, second = state.hand
            where = (player, cards[player], first, board, second)
            seen.setdefault(where, set()).add(LEDUC.codec.observe(state, player))
    assert len(seen) == 936
    assert all(len(texts) == 1 for texts in seen.values())
    folded = [after(LEDUC, QS, other, BET, FOLD) for other in (JS, KS)]
    assert LEDUC.codec.observe(folded[0], 0) == LEDUC.codec.observe(folded[1], 0)


def test_the_rules_name_the_ranks_and_the_aim():
    assert "of each of the ranks J, Q, K; K is the highest" in LEDUC.codec.rules(0)
    assert "round 2 begins with the player who moved first in round 1. When" in LEDUC.codec.rules(0)
    assert "first in round 1, or the next who has not folded. When" in THREE_PLAYERS.codec.rules(0)
    assert "ranks 3, 4, 5, 6, 7, 8, 9, 10, J, Q, K;" in find_game("leduc_poker_v0", players=10).codec.rules(9)
    assert "against Player 0 and Player 2. You move second." in THREE_PLAYERS.codec.rules(1)
    assert "as many chips as you can" in LEDUC.codec.rules(1)
    assert "you score 1 point" in find_game("leduc_poker_v0", players=3, payoff="win").codec.rules(1)
    assert "equal chips are a draw" in find_game("leduc_poker_v0", payoff="win").codec.rules(1)


@pytest.mark.parametrize("text", ["[bet]", "bet", "BET", "[Bet]", " [ bet ] "])
def test_a_move_is_read_in_any_case_with_or_without_brackets(text):
    assert LEDUC.codec.parse_move(after(LEDUC, JS, QS), text) is BET


@pytest.mark.parametrize("text", ["", "[]", "[raises]", "[bet 2]", "[[bet]]", "bet]", "[bet", "pass", "[4]"])
def test_another_word_is_malformed(text):
    with pytest.raises(MalformedMoveError, match=r"expected \[check\], \[bet\], \[fold\], \[call\] or \[raise\]$"):
        LEDUC.codec.parse_move(after(LEDUC, JS, QS), text)


@pytest.mark.parametrize(
    ("moves", "text", "message"),
    [
        ((), "[call]", "illegal move [call] in leduc_poker after the deal: expected [check] or [bet]"),
        ((), "[raise]", "illegal move [raise] in leduc_poker after the deal: expected [check] or [bet]"),
        ((BET,), "[bet]", "illegal move [bet] in leduc_poker after [bet]: expected [fold] or [call] or [raise]"),
        ((BET, RAISE), "raise", "illegal move [raise] in leduc_poker after [bet] [raise]: expected [fold] or [call]"),
        ((BET, FOLD), "bet", "illegal move [bet] in leduc_poker after [bet] [fold]: expected no move"),
    ],
)
def test_each_situation_has_one_word_a_move(moves, text, message):
    with pytest.raises(IllegalMoveError) as error:
        LEDUC.codec.parse_move(after(LEDUC, JS, QS, *moves), text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"players": 1}, "option players of leduc_poker is 1: expected an integer from 2 to 10"),
        ({"players": 11}, "option players of leduc_poker is 11: expected an integer from 2 to 10"),
        ({"players": 2.0}, "option players of leduc_poker is 2.0: expected an integer from 2 to 10"),
        ({"hands": 0}, "option hands of leduc_poker is 0: expected an integer from 1 to 100"),
        ({"hands": True}, "option hands of leduc_poker is True: expected an integer from 1 to 100"),
    ],
)
def test_a_number_out_of_range_is_refused(options, why):
    with pytest.raises(ValueError, match=f"^{why}$"):
        find_game("leduc_poker_v0", **options)


def test_an_unknown_payoff_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean chips"):
        find_game("leduc_poker_v0", payoff="chip")


def test_a_situation_holds_what_matters_to_a_seat():
    state = after(TWO_HANDS, JS, QS, BET, FOLD, QS, KS, BET, CALL, KH, CHECK)
    assert TWO_HANDS.known_to(0, state) == LeducSituation(1, 1, (1, -1), QS, (BET, CALL), KH, (CHECK,))
    assert TWO_HANDS.known_to(1, state).card == KS


def test_features_are_place_cards_and_betting():
    form = LEDUC.discrete
    assert form is not None
    assert form.moves == (FOLD, CHECK, CALL, BET, RAISE)
    assert form.shape == (2 + 6 + 6 + 3 * 4 * 2,)
    fold, call, bet, nothing = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)
    state = after(LEDUC, JH, KS, CHECK, BET, CALL, QS, BET, RAISE)
    cards = (0, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0)
    rounds = (*call, *bet, *call, *nothing, *bet, *bet, *nothing, *nothing)
    assert form.features(state, 0) == (1, 0, *cards[0], *cards[1], *rounds)
    folded = LEDUC.game.next_state(state, FOLD)
    assert form.features(folded, 1)[14:] == (*call, *bet, *call, *nothing, *bet, *bet, *fold, *nothing)


def test_features_tell_apart_what_the_texts_tell_apart():
    form = LEDUC.discrete
    assert form is not None
    seen = {
        (player, LEDUC.codec.observe(state, player), form.features(state, player))
        for state, player, _ in walk(LEDUC)
        if player >= 0
    }
    assert len(seen) == len({text[:2] for text in seen}) == len({text[::2] for text in seen}) == 936
    assert {len(features) for _, _, features in seen} == {form.num_features}


@pytest.mark.parametrize("game", ["leduc_poker_v0", "leduc_poker_v0(hands=2,payoff=win)", "leduc_poker_v0(players=3)"])
def test_the_laws_hold(game):
    check_game(game, num_matches=4)


@pytest.mark.parametrize("players", [2, 5])
def test_nonsense_is_never_a_cheap_fold(players):
    match = make_match("leduc_poker_v0", seed=0, players=players)
    match.submit("banana")
    assert match.outcome is not None
    assert match.outcome.returns[0] <= -13
    assert sum(match.outcome.returns) == 0
