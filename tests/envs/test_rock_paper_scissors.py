"""Rock paper scissors by hand, against OpenSpiel and against its known equilibrium."""

import itertools

import pyspiel
import pytest

from spiral_envs import (
    TERMINAL,
    IllegalMoveError,
    MalformedMoveError,
    UnknownNameError,
    check_game,
    find_game,
    make_match,
    solve,
)
from spiral_envs.games.rock_paper_scissors import RpsState, Shape
from spiral_envs.tree import count_nodes

ROCK, PAPER, SCISSORS = Shape

ONE = find_game("rock_paper_scissors_v0")
THREE = find_game("rock_paper_scissors_v0", rounds=3)

BEATEN_BY = {ROCK: PAPER, PAPER: SCISSORS, SCISSORS: ROCK}


def after(spec, *moves):
    """Returns the state after `moves`, seat 0's and seat 1's in turn."""
    state = spec.game.initial_state()
    for move in moves:
        state = spec.game.next_state(state, move)
    return state


def form():
    """Returns the game in numbers."""
    assert THREE.discrete is not None
    return THREE.discrete


@pytest.mark.parametrize("shape", Shape)
def test_each_shape_loses_to_one_and_beats_the_other(shape):
    assert ONE.game.returns(after(ONE, shape, shape)) == (0.0, 0.0)
    assert ONE.game.returns(after(ONE, shape, BEATEN_BY[shape])) == (-1.0, 1.0)
    assert ONE.game.returns(after(ONE, BEATEN_BY[shape], shape)) == (1.0, -1.0)


def test_one_round_pays_like_openspiels_matrix_game():
    theirs = pyspiel.load_matrix_game("matrix_rps")
    order = ("Rock", "Paper", "Scissors")
    names = [theirs.row_action_name(action) for action in range(3)]
    for mine, other in itertools.product(Shape, Shape):
        row, column = names.index(order[mine]), names.index(order[other])
        expected = (theirs.row_utility(row, column), theirs.col_utility(row, column))
        assert ONE.game.returns(after(ONE, mine, other)) == expected


def test_both_seats_choose_in_every_round():
    moves = (ROCK, PAPER, ROCK, ROCK, SCISSORS, PAPER)
    movers = [THREE.game.to_move(after(THREE, *moves[:ply])) for ply in range(7)]
    assert movers == [0, 1, 0, 1, 0, 1, TERMINAL]


def test_more_rounds_win_the_match():
    # Seat 1 wins round 1, nobody round 2, seat 0 rounds 3 and 4.
    four = find_game("rock_paper_scissors_v0", rounds=4)
    moves = (ROCK, PAPER, ROCK, ROCK, SCISSORS, PAPER, ROCK, SCISSORS)
    assert after(four, *moves).lead == 1
    assert four.game.returns(after(four, *moves)) == (1.0, -1.0)
    assert four.game.returns(after(four, *moves[:-1])) == (0.0, 0.0)
    assert THREE.game.returns(after(THREE, *moves[:-2])) == (0.0, 0.0)


def test_points_pay_every_round():
    spec = find_game("rock_paper_scissors_v0", rounds=3, payoff="points")
    assert spec.return_range == (-3.0, 3.0)
    assert spec.game.returns(after(spec, *(ROCK, PAPER) * 3)) == (-3.0, 3.0)
    assert spec.game.returns(after(spec, ROCK, SCISSORS, ROCK, SCISSORS, ROCK, PAPER)) == (1.0, -1.0)


def test_all_rounds_are_played_even_when_the_match_is_decided():
    state = after(THREE, ROCK, SCISSORS, ROCK, SCISSORS)
    assert THREE.game.to_move(state) == 0
    assert THREE.game.legal_moves(state) == (ROCK, PAPER, SCISSORS)


def test_nobody_moves_after_the_end():
    state = after(ONE, ROCK, ROCK)
    assert ONE.game.legal_moves(state) == ()
    with pytest.raises(IllegalMoveError, match="illegal move \\[rock\\] in rock_paper_scissors after the last round"):
        ONE.game.next_state(state, ROCK)
    with pytest.raises(IllegalMoveError, match="illegal move 3 in rock_paper_scissors: expected \\[rock\\]"):
        ONE.game.next_state(after(ONE), 3)


@pytest.mark.parametrize("past", [(), (ROCK, PAPER), (ROCK, PAPER, SCISSORS, SCISSORS)])
def test_seat_1_learns_nothing_of_the_choice_before_its_own(past):
    chosen = [after(THREE, *past, shape) for shape in Shape]
    assert len({THREE.codec.observe(state, 1) for state in chosen}) == 1
    assert len({form().features(state, 1) for state in chosen}) == 1
    assert all(THREE.known_to(1, state) is None for state in chosen)
    # Seat 0 knows what it did.
    assert len({THREE.codec.observe(state, 0) for state in chosen}) == 3


@pytest.mark.parametrize("text", ["[rock]", "[paper]", "[scissors]"])
def test_a_match_shows_seat_1_nothing_of_a_choice(text):
    match = make_match("rock_paper_scissors_v0", seed=0)
    match.submit(f"I take {text}")
    view = match.view(1)
    assert view.observation == "Round 1 of 1. It is your turn."
    assert view.state is None
    assert view.legal_moves == ("[rock]", "[paper]", "[scissors]")


def test_a_finished_round_is_shown_to_both():
    state = after(THREE, ROCK, PAPER, SCISSORS)
    assert THREE.codec.observe(state, 0) == (
        "Round 1: you [rock], the other [paper]. You lost.\nRound 2 of 3. You have chosen [scissors]. You wait."
    )
    assert THREE.codec.observe(state, 1) == (
        "Round 1: you [paper], the other [rock]. You won.\nRound 2 of 3. It is your turn."
    )
    assert THREE.codec.observe(after(THREE), 1) == "Round 1 of 3. You wait."


def test_the_end_says_who_has_won():
    state = after(THREE, ROCK, PAPER, ROCK, ROCK, ROCK, PAPER)
    assert THREE.codec.observe(state, 0).splitlines()[1:] == [
        "Round 2: you [rock], the other [rock]. Nobody won.",
        "Round 3: you [rock], the other [paper]. You lost.",
        "The match is over: you have lost by 2 rounds.",
    ]
    assert THREE.codec.observe(state, 1).endswith("you have won by 2 rounds.")
    assert ONE.codec.observe(after(ONE, ROCK, PAPER), 1).endswith("you have won by 1 round.")
    assert ONE.codec.observe(after(ONE, ROCK, ROCK), 0).endswith("it is a draw.")


def test_the_tree_has_the_size_of_its_choices():
    one = count_nodes("rock_paper_scissors_v0")
    # 1 and 3 decisions, 9 ends; neither seat knows anything.
    assert (one.chance, one.decision, one.terminal, one.information_sets) == (0, 4, 9, 2)
    two = count_nodes("rock_paper_scissors_v0", rounds=2)
    # After each of 9 first rounds the same again; each seat then knows which of the 9 it was.
    assert (two.chance, two.decision, two.terminal, two.information_sets) == (0, 40, 81, 20)


def test_uniform_play_is_an_equilibrium():
    def uniform(view):
        return dict.fromkeys(view.legal_moves, 1 / 3)

    for options in ({}, {"rounds": 2}, {"rounds": 2, "payoff": "points"}):
        result = solve.exploitability("rock_paper_scissors_v0", uniform, **options)
        assert result.nash_conv == pytest.approx(0, abs=1e-12)
        assert result.on_policy_values == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.parametrize("text", ["[rock]", "[paper]", "[scissors]"])
def test_playing_the_same_every_time_loses_one_to_each_best_response(text):
    result = solve.exploitability("rock_paper_scissors_v0", lambda view: {text: 1.0})
    assert result.nash_conv == pytest.approx(2, abs=1e-12)
    assert result.best_response_values == pytest.approx((1, 1), abs=1e-12)


def test_the_equilibrium_that_is_found_is_the_uniform_one():
    found = solve.equilibrium("rock_paper_scissors_v0")
    assert len(found.policy) == 2
    for probabilities in found.policy.values():
        assert list(probabilities.values()) == pytest.approx([1 / 3] * 3, abs=1e-3)


@pytest.mark.parametrize("text", ["[rock]", "rock", "ROCK", "[Rock]", " [ rock ] "])
def test_a_move_is_read_in_any_case_with_or_without_brackets(text):
    assert ONE.codec.parse_move(after(ONE), text) is ROCK


@pytest.mark.parametrize("text", ["", "[]", "[stone]", "[rock paper]", "[[rock]]", "rock]", "[rock", "r", "[0]"])
def test_another_word_is_malformed(text):
    with pytest.raises(MalformedMoveError, match="expected \\[rock\\], \\[paper\\] or \\[scissors\\]"):
        ONE.codec.parse_move(after(ONE), text)


@pytest.mark.parametrize("rounds", [0, -1, 101, 1.0, "5", True, None])
def test_a_number_of_rounds_out_of_range_is_refused(rounds):
    with pytest.raises(ValueError, match=r"rock_paper_scissors is .*: expected an integer from 1 to 100"):
        find_game("rock_paper_scissors_v0", rounds=rounds)


def test_an_unknown_payoff_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean points"):
        find_game("rock_paper_scissors_v0", payoff="point")


def test_the_rules_name_the_seat_and_the_aim():
    assert ONE.codec.rules(0).startswith(
        "You are Player 0 in a match of rock paper scissors of one round, against Player 1."
    )
    assert "of 3 rounds, against Player 0." in THREE.codec.rules(1)
    assert "Whoever has won more rounds after the last wins the match" in THREE.codec.rules(0)
    points = find_game("rock_paper_scissors_v0", rounds=3, payoff="points")
    assert "as many rounds as you can" in points.codec.rules(0)


def test_the_numbers_tell_the_finished_rounds_and_the_own_choice():
    assert form().moves == (ROCK, PAPER, SCISSORS)
    assert form().shape == (3, 6)
    state = after(THREE, ROCK, PAPER, SCISSORS)
    # Seat 0: own rock and other's paper, then own scissors and nothing; round 3 is empty.
    assert form().features(state, 0) == (1, 0, 0, 0, 1, 0, 0, 0, 1, *[0] * 9)
    assert form().features(state, 1) == (0, 1, 0, 1, 0, 0, *[0] * 12)
    texts, numbers = set(), set()
    for moves in itertools.product(Shape, repeat=4):
        state = after(THREE, *moves)
        texts.add(THREE.codec.observe(state, 0))
        numbers.add(form().features(state, 0))
    assert len(texts) == len(numbers) == 81


@pytest.mark.parametrize("options", ["(rounds=3,payoff=points)", "(rounds=5)"])
def test_no_law_is_broken_with_other_options(options):
    check_game(f"rock_paper_scissors_v0{options}", num_matches=30)


def test_states_are_values():
    assert after(THREE, ROCK, PAPER, SCISSORS) == RpsState(((ROCK, PAPER),), SCISSORS, -1)
    assert hash(after(THREE, ROCK, PAPER)) == hash(after(THREE, ROCK, PAPER))
