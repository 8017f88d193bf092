"""Colonel Blotto by hand and against OpenSpiel."""

import itertools
import pickle

import pyspiel
import pytest

from spiral_envs import TERMINAL, IllegalMoveError, MalformedMoveError, check_game, find_game, make_match, solve
from spiral_envs.games.colonel_blotto import BlottoState
from spiral_envs.tree import count_nodes

SPEC = find_game("colonel_blotto_v0")
THREE_ROUNDS = find_game("colonel_blotto_v0", rounds=3)


def after(spec, *moves):
    """Returns the state after `moves`, seat 0's and seat 1's in turn."""
    state = spec.game.initial_state()
    for move in moves:
        state = spec.game.next_state(state, move)
    return state


def form():
    """Returns the game in numbers."""
    assert THREE_ROUNDS.discrete is not None
    return THREE_ROUNDS.discrete


@pytest.mark.parametrize(
    ("mine", "theirs", "won"),
    [
        ((4, 3, 3), (4, 3, 3), 0),
        # A is level, B is won, C is lost.
        ((4, 4, 2), (4, 3, 3), 0),
        # A and B are won by 1, C is lost by 8: sizes do not count.
        ((5, 5, 0), (4, 4, 2), 1),
        ((10, 0, 0), (0, 5, 5), -1),
        # One field is won and two are level.
        ((10, 0, 0), (10, 0, 0), 0),
        ((0, 0, 10), (10, 0, 0), 0),
        ((6, 4, 0), (10, 0, 0), 0),
        ((1, 4, 5), (2, 4, 4), 0),
        ((3, 3, 4), (2, 2, 6), 1),
    ],
)
def test_whoever_takes_more_fields_wins(mine, theirs, won):
    assert SPEC.game.returns(after(SPEC, mine, theirs)) == (won, -won)
    assert SPEC.game.returns(after(SPEC, theirs, mine)) == (-won, won)


@pytest.mark.parametrize(("fields", "units"), [(3, 10), (3, 4), (4, 5), (5, 3), (6, 2)])
def test_openspiel_agrees_on_every_pair_of_allocations(fields, units):
    spec = find_game("colonel_blotto_v0", fields=fields, units=units)
    theirs = pyspiel.load_game(f"blotto(coins={units},fields={fields})")
    root = theirs.new_initial_state()
    legal = spec.game.legal_moves(spec.game.initial_state())
    names = [root.action_to_string(0, action) for action in root.legal_actions(0)]
    assert [f"[{','.join(map(str, allocation))}]" for allocation in legal] == names
    game = spec.game
    for action, mine in enumerate(legal):
        chosen = game.next_state(game.initial_state(), mine)
        for other_action, other in enumerate(legal):
            state = root.clone()
            state.apply_actions([action, other_action])
            assert list(game.returns(game.next_state(chosen, other))) == state.returns()


@pytest.mark.parametrize(
    ("fields", "units", "number"), [(3, 10, 66), (3, 20, 231), (4, 10, 286), (6, 10, 3003), (3, 87, 3916)]
)
def test_every_division_of_the_units_is_a_move(fields, units, number):
    # units + fields - 1 over fields - 1.
    spec = find_game("colonel_blotto_v0", fields=fields, units=units)
    legal = spec.game.legal_moves(spec.game.initial_state())
    assert len(legal) == len(set(legal)) == number
    assert all(len(move) == fields and sum(move) == units and min(move) >= 0 for move in legal)
    assert list(legal) == sorted(legal)


def test_all_positions_share_one_list_of_moves():
    first = THREE_ROUNDS.game.legal_moves(after(THREE_ROUNDS))
    assert THREE_ROUNDS.game.legal_moves(after(THREE_ROUNDS, (10, 0, 0))) is first
    assert THREE_ROUNDS.game.legal_moves(after(THREE_ROUNDS, (10, 0, 0), (0, 10, 0))) is first


def test_more_rounds_win_the_match():
    win, loss = ((5, 5, 0), (4, 4, 2)), ((10, 0, 0), (0, 5, 5))
    game = THREE_ROUNDS.game
    assert game.returns(after(THREE_ROUNDS, *win, *loss, *win)) == (1.0, -1.0)
    assert game.returns(after(THREE_ROUNDS, *loss, *win, *loss)) == (-1.0, 1.0)
    # Neither the first nor the last round decides alone.
    assert game.returns(after(THREE_ROUNDS, *win, *win, *loss)) == (1.0, -1.0)
    assert game.returns(after(THREE_ROUNDS, *win, *loss, *loss)) == (-1.0, 1.0)
    assert game.returns(after(THREE_ROUNDS, *win, *loss, (4, 3, 3), (4, 3, 3))) == (0.0, 0.0)
    assert game.returns(after(THREE_ROUNDS, *win, *win)) == (0.0, 0.0)
    assert game.to_move(after(THREE_ROUNDS, *win, *win)) == 0


def test_both_seats_allocate_in_every_round():
    moves = ((4, 3, 3),) * 6
    movers = [THREE_ROUNDS.game.to_move(after(THREE_ROUNDS, *moves[:ply])) for ply in range(7)]
    assert movers == [0, 1, 0, 1, 0, 1, TERMINAL]


def test_nobody_moves_after_the_end():
    state = after(SPEC, (4, 3, 3), (4, 3, 3))
    assert SPEC.game.legal_moves(state) == ()
    with pytest.raises(IllegalMoveError) as error:
        SPEC.game.next_state(state, (4, 3, 3))
    assert str(error.value) == "illegal move [A4 B3 C3] in colonel_blotto after the last round: expected no move"


@pytest.mark.parametrize("past", [(), ((5, 5, 0), (4, 4, 2))])
def test_seat_1_learns_nothing_of_the_allocation_before_its_own(past):
    game, codec = THREE_ROUNDS.game, THREE_ROUNDS.codec
    before = after(THREE_ROUNDS, *past)
    chosen = [game.next_state(before, move) for move in game.legal_moves(before)]
    assert len({codec.observe(state, 1) for state in chosen}) == 1
    assert len({form().features(state, 1) for state in chosen}) == 1
    assert all(THREE_ROUNDS.known_to(1, state) is None for state in chosen)
    # Seat 0 knows what it did.
    assert len({codec.observe(state, 0) for state in chosen}) == 66


def test_a_match_shows_seat_1_nothing_of_an_allocation():
    seen = set()
    for text in ("[A4 B3 C3]", "[A0 B0 C10]", "[A10 B0 C0]"):
        match = make_match("colonel_blotto_v0", seed=0)
        match.submit(f"I take {text}")
        assert match.turns[0].move == text
        assert match.view(1).state is None
        seen.add(match.view(1).text)
    assert len(seen) == 1
    assert seen.pop().endswith("\n\nRound 1 of 1. It is your turn.")


def test_a_finished_round_is_shown_to_both():
    state = after(THREE_ROUNDS, (5, 5, 0), (4, 4, 2), (4, 3, 3))
    assert THREE_ROUNDS.codec.observe(state, 0) == (
        "Round 1: you [A5 B5 C0], the other [A4 B4 C2]. You won, 2 to 1 fields.\n"
        "Round 2 of 3. You have chosen [A4 B3 C3]. You wait."
    )
    assert THREE_ROUNDS.codec.observe(state, 1) == (
        "Round 1: you [A4 B4 C2], the other [A5 B5 C0]. You lost, 1 to 2 fields.\nRound 2 of 3. It is your turn."
    )
    assert THREE_ROUNDS.codec.observe(after(THREE_ROUNDS), 1) == "Round 1 of 3. You wait."


def test_the_end_says_who_has_won():
    state = after(SPEC, (5, 5, 0), (4, 4, 2))
    assert SPEC.codec.observe(state, 0).endswith("\nThe match is over: you have won by 1 round.")
    assert SPEC.codec.observe(state, 1).endswith("\nThe match is over: you have lost by 1 round.")
    level = after(SPEC, (10, 0, 0), (10, 0, 0))
    assert SPEC.codec.observe(level, 0) == (
        "Round 1: you [A10 B0 C0], the other [A10 B0 C0]. Nobody won, 0 to 0 fields.\nThe match is over: it is a draw."
    )


def test_the_tree_has_the_size_of_its_choices():
    counts = count_nodes("colonel_blotto_v0")
    # 66 allocations each: 1 and 66 decisions, 66 times 66 ends.
    assert (counts.chance, counts.decision, counts.terminal, counts.information_sets) == (0, 67, 4356, 2)


def always(*texts):
    return lambda view: dict.fromkeys(texts, 1 / len(texts))


def test_with_two_units_spreading_them_is_an_equilibrium():
    # By hand: (1,1,0) beats (0,0,2), which takes only C, and ties with the other five allocations.
    result = solve.exploitability("colonel_blotto_v0", always("[A1 B1 C0]"), units=2)
    assert result.nash_conv == pytest.approx(0, abs=1e-12)
    assert result.on_policy_values == pytest.approx((0, 0), abs=1e-12)


def test_with_two_units_all_on_one_field_loses():
    # By hand: (0,1,1) takes two fields of (2,0,0), and ties with (0,2,0) and (0,0,2).
    one = solve.exploitability("colonel_blotto_v0", always("[A2 B0 C0]"), units=2)
    assert one.best_response_values == pytest.approx((1, 1), abs=1e-12)
    assert one.nash_conv == pytest.approx(2, abs=1e-12)
    any_one = solve.exploitability("colonel_blotto_v0", always("[A2 B0 C0]", "[A0 B2 C0]", "[A0 B0 C2]"), units=2)
    assert any_one.nash_conv == pytest.approx(2 / 3, abs=1e-12)


def test_the_game_is_worth_nothing_to_either_seat():
    # It is symmetric.
    found = solve.equilibrium("colonel_blotto_v0", units=5)
    assert found.result.nash_conv <= solve.TARGET_NASH_CONV
    assert found.result.on_policy_values == pytest.approx((0, 0), abs=solve.TARGET_NASH_CONV)


@pytest.mark.parametrize(
    "text",
    ["[A4 B3 C3]", "A4 B3 C3", "[a4 b3 c3]", "[C3 A4 B3]", "[A4, B3, C3]", "[A: 4, B: 3, C: 3]", "[A4B3C3]",
     "[A 4  B 3  C 3]", "[A04 B3 C3]", " [ A4 B3 C3 ] "],
)  # fmt: skip
def test_an_allocation_is_read_in_many_forms(text):
    assert SPEC.codec.parse_move(after(SPEC), text) == (4, 3, 3)


def test_a_field_that_is_left_out_gets_no_units():
    assert SPEC.codec.parse_move(after(SPEC), "[B10]") == (0, 10, 0)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[4 3 3]", "[A B C]", "[A4 B3 C]", "[A4 B3 C3", "[A4 B3 C-3]", "[A4 B3 C3.0]", "[A4 B3 C٣]", "[AA4 B6]",
     "[A4; B3; C3]", "[A99999 B1]", "[4A 3B 3C]", "[Ä4 B6]", "[[A4 B3 C3]]"],
)  # fmt: skip
def test_other_text_is_malformed(text):
    with pytest.raises(MalformedMoveError, match="expected the units of every field, such as \\[A"):
        SPEC.codec.parse_move(after(SPEC), text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[A4 B3 C2]", "illegal move [A4 B3 C2] in colonel_blotto: it has 9 units on 3 fields, expected 10 on 3"),
        (
            "[A9999 B1]",
            "illegal move [A9999 B1 C0] in colonel_blotto: it has 10000 units on 3 fields, expected 10 on 3",
        ),
        ("[A5 B3 D2]", "illegal move [A5 B3 D2] in colonel_blotto: field D is not one of A, B, C"),
        ("[A5 B3 a2]", "illegal move [A5 B3 a2] in colonel_blotto: field A comes twice"),
    ],
)
def test_a_wrong_division_is_illegal_and_says_why(text, why):
    with pytest.raises(IllegalMoveError) as error:
        SPEC.codec.parse_move(after(SPEC), text)
    assert str(error.value) == why


@pytest.mark.parametrize("move", [(4, 3, 2), (10, 0), (5, 5, 0, 0), (-1, 6, 5)])
def test_the_rules_refuse_a_wrong_division(move):
    with pytest.raises(IllegalMoveError, match="expected 10 on 3"):
        SPEC.game.next_state(after(SPEC), move)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        *[({"fields": value}, "expected an integer from 3 to 6") for value in (2, 7, 3.0, "3", True, None)],
        *[({"units": value}, "expected an integer from 2 to 87 with 3 fields") for value in (1, 88, 10.0, "9", True)],
        ({"fields": 4, "units": 27}, "expected an integer from 2 to 26 with 4 fields"),
        ({"fields": 5, "units": 16}, "expected an integer from 2 to 15 with 5 fields"),
        ({"fields": 6, "units": 11}, "expected an integer from 2 to 10 with 6 fields"),
        *[({"rounds": value}, "expected an integer from 1 to 100") for value in (0, 101, 1.0, "1", True)],
    ],
)
def test_an_option_out_of_range_is_refused(options, why):
    with pytest.raises(ValueError, match=f"of colonel_blotto is .*: {why}"):
        find_game("colonel_blotto_v0", **options)


@pytest.mark.parametrize(("fields", "units"), [(4, 26), (5, 15)])
def test_the_largest_numbers_of_units_are_allowed(fields, units):
    spec = find_game("colonel_blotto_v0", fields=fields, units=units)
    assert len(spec.game.legal_moves(spec.game.initial_state())) <= 4000


def test_the_rules_name_the_seat_and_a_legal_example():
    rules = find_game("colonel_blotto_v0", fields=4, units=6, rounds=2).codec.rules(1)
    assert rules.startswith("You are Player 1 in a match of Colonel Blotto of 2 rounds, against Player 0.")
    assert "divide 6 units among the fields A, B, C, D in secret" in rules
    assert rules.endswith("6 in all, such as [A3 B1 C1 D1].")
    assert SPEC.codec.rules(0).endswith("10 in all, such as [A4 B3 C3].")


def test_the_numbers_tell_the_finished_rounds_and_the_own_choice():
    assert form().moves == SPEC.game.legal_moves(after(SPEC))
    assert form().shape == (3, 2, 3)
    state = after(THREE_ROUNDS, (5, 5, 0), (4, 4, 2), (0, 0, 10))
    assert form().features(state, 0) == (0.5, 0.5, 0, 0.4, 0.4, 0.2, 0, 0, 1, *[0] * 9)
    assert form().features(state, 1) == (0.4, 0.4, 0.2, 0.5, 0.5, 0, *[0] * 12)


def test_different_texts_have_different_numbers():
    spec = find_game("colonel_blotto_v0", units=2, rounds=2)
    numbers, legal = spec.discrete, spec.game.legal_moves(after(spec))
    assert numbers is not None
    for seat, num_moves in ((0, 2), (1, 3)):
        states = [after(spec, *moves) for moves in itertools.product(legal, repeat=num_moves)]
        assert len({spec.codec.observe(state, seat) for state in states}) == 36
        assert len({(spec.codec.observe(state, seat), numbers.features(state, seat)) for state in states}) == 36
        assert len({numbers.features(state, seat) for state in states}) == 36


@pytest.mark.parametrize("options", ["(units=2,rounds=2)", "(fields=6)", "(rounds=3)"])
def test_no_law_is_broken_with_other_options(options):
    check_game(f"colonel_blotto_v0{options}", num_matches=30)


def test_states_are_values():
    state = after(THREE_ROUNDS, (5, 5, 0), (4, 4, 2), (4, 3, 3))
    assert state == BlottoState((((5, 5, 0), (4, 4, 2)),), (4, 3, 3), 1)
    assert hash(state) == hash(after(THREE_ROUNDS, (5, 5, 0), (4, 4, 2), (4, 3, 3)))


def test_a_state_made_by_hand_tells_its_rounds():
    state = BlottoState((((5, 5, 0), (4, 4, 2)), ((4, 3, 3), (4, 3, 3))), None, 1)
    assert state == after(THREE_ROUNDS, (5, 5, 0), (4, 4, 2), (4, 3, 3), (4, 3, 3))
    assert THREE_ROUNDS.codec.observe(state, 1) == (
        "Round 1: you [A4 B4 C2], the other [A5 B5 C0]. You lost, 1 to 2 fields.\n"
        "Round 2: you [A4 B3 C3], the other [A4 B3 C3]. Nobody won, 0 to 0 fields.\n"
        "Round 3 of 3. You wait."
    )


def test_a_pickled_state_is_the_same_state():
    state = after(THREE_ROUNDS, (5, 5, 0), (4, 4, 2), (4, 3, 3))
    copied = pickle.loads(pickle.dumps(state))
    assert (type(copied), copied, hash(copied)) == (BlottoState, state, hash(state))
