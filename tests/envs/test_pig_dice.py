"""Pig by hand, against OpenSpiel and against its known values."""

import random
from fractions import Fraction
from functools import cache

import numpy as np
import pyspiel
import pytest

from spiral_envs import CHANCE, TERMINAL, IllegalMoveError, MalformedMoveError, check_game, find_game
from spiral_envs.games.pig_dice import Choice, PigState

ROLL, HOLD = Choice

SPEC = find_game("pig_dice_v0")
SHORT = find_game("pig_dice_v0", target=10, max_turns=4)


def after(spec, *moves):
    """Returns the state after `moves`, faces of the die included."""
    state = spec.game.initial_state()
    for move in moves:
        state = spec.game.next_state(state, move)
    return state


def form():
    """Returns the game in numbers."""
    assert SPEC.discrete is not None
    return SPEC.discrete


def test_a_roll_adds_to_the_turn_total_and_the_turn_goes_on():
    state = after(SPEC, ROLL, 4, ROLL, 6, ROLL, 2)
    assert state == PigState(banked=(0, 0), total=12, turn=0)
    assert SPEC.game.to_move(state) == 0
    assert SPEC.game.legal_moves(state) == (ROLL, HOLD)


def test_a_one_loses_the_turn_total_but_not_what_is_banked():
    state = after(SPEC, ROLL, 5, HOLD, ROLL, 3, HOLD, ROLL, 6, ROLL, 1)
    assert state == PigState(banked=(5, 3), total=0, turn=3)
    assert SPEC.game.to_move(state) == 1


def test_holding_banks_the_turn_total_and_ends_the_turn():
    state = after(SPEC, ROLL, 4, ROLL, 6, HOLD)
    assert state == PigState(banked=(10, 0), total=0, turn=1)
    assert SPEC.game.to_move(state) == 1
    assert after(SPEC, ROLL, 4, ROLL, 6, HOLD, ROLL, 3, HOLD).banked == (10, 3)


def test_holding_without_a_roll_passes():
    assert after(SPEC, HOLD) == PigState(turn=1)
    assert after(SPEC, HOLD, HOLD) == PigState(turn=2)


def test_the_faces_are_equally_likely():
    state = after(SPEC, ROLL)
    assert SPEC.game.to_move(state) == CHANCE
    assert SPEC.game.legal_moves(state) == ()
    assert SPEC.game.chance_outcomes(state) == tuple((face, 1 / 6) for face in (1, 2, 3, 4, 5, 6))
    assert SPEC.game.chance_outcomes(after(SPEC)) == ()


def test_the_target_in_reach_can_only_be_held():
    state = after(SHORT, ROLL, 6, ROLL, 4)
    assert SHORT.game.legal_moves(state) == (HOLD,)
    # 9 points are not yet 10.
    assert SHORT.game.legal_moves(after(SHORT, ROLL, 6, ROLL, 3)) == (ROLL, HOLD)
    banked = after(SHORT, ROLL, 6, HOLD, HOLD, ROLL, 4)
    assert SHORT.game.legal_moves(banked) == (HOLD,)
    with pytest.raises(IllegalMoveError) as error:
        SHORT.game.next_state(state, ROLL)
    assert str(error.value) == "illegal move [roll] in pig_dice with the target in reach: expected [hold]"


@pytest.mark.parametrize(("last", "winner"), [((ROLL, 6, ROLL, 4, HOLD), 0), ((HOLD, ROLL, 6, ROLL, 5, HOLD), 1)])
def test_banking_the_target_wins_at_once(last, winner):
    state = after(SHORT, *last)
    assert SHORT.game.to_move(state) == TERMINAL
    assert SHORT.game.legal_moves(state) == ()
    assert SHORT.game.returns(state) == ((1.0, -1.0), (-1.0, 1.0))[winner]
    assert SHORT.game.returns(after(SHORT, *last[:-1])) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("moves", "returns"),
    [
        ((ROLL, 3, HOLD, ROLL, 2, HOLD, ROLL, 1, HOLD), (1.0, -1.0)),
        ((ROLL, 3, HOLD, ROLL, 2, HOLD, HOLD, ROLL, 2, HOLD), (-1.0, 1.0)),
        ((ROLL, 3, HOLD, ROLL, 2, HOLD, ROLL, 2, HOLD, ROLL, 3, HOLD), (0.0, 0.0)),
        # What is not banked when the last turn ends does not count.
        ((ROLL, 3, HOLD, ROLL, 2, HOLD, HOLD, ROLL, 6, ROLL, 1), (1.0, -1.0)),
    ],
)
def test_after_the_last_turn_more_banked_points_win(moves, returns):
    state = after(SHORT, *moves)
    assert state.turn == 4
    assert SHORT.game.to_move(state) == TERMINAL
    assert SHORT.game.returns(state) == returns
    assert SHORT.game.to_move(after(SHORT, *moves[:-1])) != TERMINAL


@pytest.mark.parametrize(
    ("state", "move"),
    [
        (PigState(), 4),
        (PigState(is_rolling=True), 0),
        (PigState(is_rolling=True), 7),
        (PigState(is_rolling=True), ROLL),
        (PigState(is_rolling=True), HOLD),
        (PigState(turn=100), ROLL),
        (PigState(banked=(100, 0), turn=9), HOLD),
    ],
)
def test_nobody_moves_out_of_turn(state, move):
    with pytest.raises(IllegalMoveError, match=r"illegal .* in pig_dice"):
        SPEC.game.next_state(state, move)


@pytest.mark.parametrize(("target", "games"), [(10, 300), (100, 40)])
def test_openspiel_agrees_on_random_games(target, games):
    spec = find_game("pig_dice_v0", target=target, max_turns=1000)
    game = spec.game
    theirs = pyspiel.load_game(f"pig(winscore={target},horizon=100000)")
    rng = random.Random(0)
    ends = []
    for _ in range(games):
        state, other = game.initial_state(), theirs.new_initial_state()
        while not other.is_terminal():
            assert game.returns(state) == (0, 0)
            if other.is_chance_node():
                outcomes = game.chance_outcomes(state)
                # Its outcomes count from 0.
                assert [(face - 1, chance) for face, chance in outcomes] == other.chance_outcomes()
                move = rng.choice(outcomes)[0]
                action = move - 1
            else:
                assert game.to_move(state) == other.current_player()
                legal = game.legal_moves(state)
                assert [int(move is HOLD) for move in legal] == other.legal_actions()
                # Mostly rolls, so that games end.
                move = legal[0] if rng.random() < 0.7 else legal[-1]
                action = int(move is HOLD)
            state = game.next_state(state, move)
            other.apply_action(action)
        assert game.to_move(state) == TERMINAL
        assert list(game.returns(state)) == other.returns()
        ends.append(other.returns()[0])
    assert set(ends) == {1.0, -1.0}


def value_of_best_play(spec):
    """Returns what the game is worth to seat 0, over every position."""
    game = spec.game

    @cache
    def value(state):
        player = game.to_move(state)
        if player == TERMINAL:
            return game.returns(state)[0]
        if player == CHANCE:
            return sum(chance * value(game.next_state(state, move)) for move, chance in game.chance_outcomes(state))
        values = [value(game.next_state(state, move)) for move in game.legal_moves(state)]
        return max(values) if player == 0 else min(values)

    return value(game.initial_state())


@pytest.mark.parametrize("max_turns", [1, 2, 3, 4, 30])
def test_a_target_of_two_has_the_value_computed_by_hand(max_turns):
    # Every roll but a 1 wins: 5/6, and after a 1 the other has what is left. Without a limit that is 5/7.
    value = Fraction(0)
    for _ in range(max_turns):
        value = Fraction(5, 6) - Fraction(1, 6) * value
    assert value_of_best_play(find_game("pig_dice_v0", target=2, max_turns=max_turns)) == pytest.approx(float(value))
    if max_turns == 30:
        assert float(value) == pytest.approx(5 / 7, abs=1e-12)


def first_players_chance(target):
    """Returns with what probability the first player wins without a limit of turns, by value iteration.

    The equations are those of Neller and Presser 2004: P[i, j, k] for own and other points and the turn total.
    """
    wins = np.zeros((target, target, target + 6))
    own = np.arange(target)[:, None, None]
    total = np.arange(target + 6)[None, None, :]
    reached = np.broadcast_to(own + total >= target, wins.shape)
    wins[reached] = 1
    change = 1.0
    while change > 1e-9:
        before = wins[:, :, 0].copy()
        other = 1 - wins[:, :, 0].T
        for k in range(target - 1, -1, -1):
            roll = (other + sum(wins[:, :, k + face] for face in range(2, 7))) / 6
            hold = np.zeros((target, target))
            hold[: target - k] = other[k:]
            wins[:, :, k] = np.where(reached[:, :, k], 1, np.maximum(roll, hold))
        change = float(np.abs(wins[:, :, 0] - before).max())
    return float(wins[0, 0, 0])


def test_the_value_agrees_with_the_published_equations():
    # Neller and Presser 2004: 0.5306 for 100 points.
    assert first_players_chance(100) == pytest.approx(0.5306, abs=5e-5)
    assert first_players_chance(2) == pytest.approx(6 / 7, abs=1e-8)
    # With 60 turns a game to 12 points is hardly ever left without a winner.
    chance = first_players_chance(12)
    value = value_of_best_play(find_game("pig_dice_v0", target=12, max_turns=60))
    assert value == pytest.approx(2 * chance - 1, abs=1e-6)


def test_the_longest_game_takes_max_plies():
    # Turns of 2, 2, 2, 2 and 1, the last one 2, 2, 2, 2, 2 and hold.
    lost = (ROLL, 2, ROLL, 2, ROLL, 2, ROLL, 2, ROLL, 1)
    state = after(SHORT, *lost * 3, *(ROLL, 2) * 5, HOLD)
    assert SHORT.game.returns(state) == (-1.0, 1.0)
    assert SHORT.game.max_plies == 3 * 5 + 6


def test_the_observation_says_points_turn_and_turn_total():
    state = after(SPEC, ROLL, 4, ROLL, 6, HOLD, ROLL, 3)
    assert SPEC.codec.observe(state, 0) == (
        "Banked: you 10, the other 0; the target is 100.\nTurn 2 of 100: the other's turn total is 3. You wait."
    )
    assert SPEC.codec.observe(state, 1) == (
        "Banked: you 0, the other 10; the target is 100.\nTurn 2 of 100: your turn total is 3. It is your turn."
    )


def test_the_end_says_who_has_won():
    state = after(SHORT, ROLL, 6, ROLL, 4, HOLD)
    assert SHORT.codec.observe(state, 0).endswith("The game is over after turn 1. You have won.")
    assert SHORT.codec.observe(state, 1).endswith("The game is over after turn 1. You have lost.")
    assert SHORT.codec.observe(after(SHORT, *[HOLD] * 4), 0).endswith("after turn 4. It is a draw.")


def test_the_rules_name_the_seat_and_the_options():
    assert SPEC.codec.rules(0).startswith(
        "You are Player 0 in a game of Pig against Player 1. You take the first turn."
    )
    assert "You take the second turn." in SPEC.codec.rules(1)
    assert "banked 10 points wins" in SHORT.codec.rules(0)
    assert "after 4 turns of both players together" in SHORT.codec.rules(0)


@pytest.mark.parametrize("text", ["[roll]", "roll", "ROLL", "[Roll]", " [ roll ] "])
def test_a_move_is_read_in_any_case_with_or_without_brackets(text):
    assert SPEC.codec.parse_move(after(SPEC), text) is ROLL


@pytest.mark.parametrize("text", ["", "[]", "[roll 2]", "[stop]", "[[roll]]", "roll]", "[roll", "[6]", "[10]"])
def test_another_word_is_malformed(text):
    with pytest.raises(MalformedMoveError, match="expected \\[roll\\] or \\[hold\\]"):
        SPEC.codec.parse_move(after(SPEC), text)


def test_rolling_on_with_the_target_in_reach_is_illegal():
    with pytest.raises(IllegalMoveError, match=r"expected \[hold\]$"):
        SHORT.codec.parse_move(after(SHORT, ROLL, 6, ROLL, 4), "[roll]")


@pytest.mark.parametrize("target", [1, 0, 501, 100.0, "100", True, None])
def test_a_target_out_of_range_is_refused(target):
    with pytest.raises(ValueError, match=r"option target of pig_dice is .*: expected an integer from 2 to 500"):
        find_game("pig_dice_v0", target=target)


@pytest.mark.parametrize("max_turns", [0, 1001, 10.0, "10", True, None])
def test_a_limit_of_turns_out_of_range_is_refused(max_turns):
    with pytest.raises(ValueError, match=r"option max_turns of pig_dice is .*: expected an integer from 1 to 1000"):
        find_game("pig_dice_v0", max_turns=max_turns)


def test_the_numbers_say_what_the_text_says():
    assert form().moves == (ROLL, HOLD)
    assert form().shape == (5,)
    state = after(SPEC, ROLL, 4, ROLL, 6, HOLD, ROLL, 5)
    assert form().features(state, 0) == (0.1, 0.0, 0.05, 0.01, 0.0)
    assert form().features(state, 1) == (0.0, 0.1, 0.05, 0.01, 1.0)


def test_different_texts_have_different_numbers():
    rng = random.Random(0)
    texts, numbers, pairs = set(), set(), set()
    for _ in range(20):
        state = SPEC.game.initial_state()
        while (player := SPEC.game.to_move(state)) != TERMINAL:
            if player != CHANCE:
                text, features = SPEC.codec.observe(state, player), form().features(state, player)
                texts.add((player, text))
                numbers.add((player, features))
                pairs.add((player, text, features))
            moves = [face for face, _ in SPEC.game.chance_outcomes(state)] or SPEC.game.legal_moves(state)
            state = SPEC.game.next_state(state, rng.choice(moves))
    assert len(texts) == len(numbers) == len(pairs) > 1000


@pytest.mark.parametrize("options", ["(target=10)", "(target=20,max_turns=3)"])
def test_no_law_is_broken_with_other_options(options):
    check_game(f"pig_dice_v0{options}", num_matches=30)


def test_states_are_values():
    assert hash(after(SPEC, ROLL, 4, HOLD)) == hash(after(SPEC, ROLL, 4, HOLD))


def test_the_last_roll_may_lead_beyond_the_target():
    state = after(SHORT, ROLL, 5, ROLL, 4, ROLL, 6)
    assert SHORT.codec.observe(state, 0) == (
        "Banked: you 0, the other 0; the target is 10.\nTurn 1 of 4: your turn total is 15. It is your turn."
    )
    assert SHORT.codec.observe(after(SHORT, ROLL, 5, ROLL, 4, ROLL, 6, HOLD), 1) == (
        "Banked: you 0, the other 15; the target is 10.\nThe game is over after turn 1. You have lost."
    )
