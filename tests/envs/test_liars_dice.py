"""Liar's dice by hand and against OpenSpiel."""

import random

import pyspiel
import pytest

from spiral_envs import CHANCE, TERMINAL, IllegalMoveError, MalformedMoveError, check_game, find_game, make_match, solve
from spiral_envs.games.liars_dice import Bid, Call, LiarsSituation, Roll
from spiral_envs.tree import count_nodes, walk

LIAR = Call.LIAR

SIX_SIDES = find_game("liars_dice_v0")
THREE_PLAYERS = find_game("liars_dice_v0", players=3)
TWO_DICE = find_game("liars_dice_v0", dice=2)


def after(spec, dice, *moves):
    """Returns the state after the dice are rolled, seat 0's first, and `moves`."""
    state = spec.game.initial_state()
    for move in (*map(Roll, dice), *moves):
        state = spec.game.next_state(state, move)
    return state


def uniform(view):
    return {move: 1 / len(view.legal_moves) for move in view.legal_moves}


@pytest.mark.parametrize(
    ("dice", "bids", "returns"),
    [
        # The caller is seat 1 after one bid and seat 0 after two.
        ((3, 5), [(1, 3)], (1, -1)),
        ((3, 5), [(1, 4)], (-1, 1)),
        ((3, 5), [(1, 5)], (1, -1)),
        ((3, 5), [(1, 3), (1, 5)], (-1, 1)),
        ((3, 3), [(2, 3)], (1, -1)),
        ((3, 5), [(2, 3)], (-1, 1)),
        # A six is wild, but no other face is a six.
        ((3, 6), [(2, 3)], (1, -1)),
        ((6, 6), [(2, 1)], (1, -1)),
        ((3, 5), [(1, 6)], (-1, 1)),
        ((5, 6), [(2, 6)], (-1, 1)),
        # More dice than were bid are as good.
        ((4, 4), [(1, 2), (1, 4)], (-1, 1)),
    ],
)
def test_a_call_is_settled_by_the_dice(dice, bids, returns):
    state = after(SIX_SIDES, dice, *(Bid(*bid) for bid in bids), LIAR)
    assert SIX_SIDES.game.to_move(state) == TERMINAL
    assert SIX_SIDES.game.returns(state) == returns
    assert SIX_SIDES.game.legal_moves(state) == SIX_SIDES.game.chance_outcomes(state) == ()


@pytest.mark.parametrize(
    ("bids", "returns"),
    [
        ([(1, 2)], (1, -1, 0)),
        ([(1, 2), (3, 2)], (0, -1, 1)),
        ([(1, 2), (2, 2), (2, 6)], (1, 0, -1)),
        # Seats 0 and 2 have a five and a six.
        ([(1, 2), (2, 2), (2, 4), (2, 5)], (1, -1, 0)),
    ],
)
def test_of_three_only_the_bidder_and_the_caller_win_or_lose(bids, returns):
    state = after(THREE_PLAYERS, (5, 2, 6), *(Bid(*bid) for bid in bids), LIAR)
    assert THREE_PLAYERS.game.returns(state) == returns


def test_bids_rise_by_quantity_and_then_by_face():
    game = SIX_SIDES.game
    every = tuple(Bid(quantity, face) for quantity in (1, 2) for face in range(1, 7))
    assert game.legal_moves(after(SIX_SIDES, (3, 5))) == every
    assert game.legal_moves(after(SIX_SIDES, (3, 5), Bid(1, 5))) == (*every[5:], LIAR)
    assert game.legal_moves(after(SIX_SIDES, (3, 5), Bid(1, 5), Bid(2, 1))) == (*every[7:], LIAR)
    assert game.legal_moves(after(SIX_SIDES, (3, 5), Bid(2, 6))) == (LIAR,)


@pytest.mark.parametrize(
    ("moves", "move", "message"),
    [
        ((), LIAR, "illegal move [liar] in liars_dice before the first bid: expected a bid such as [1 x 1]"),
        ((), Bid(3, 1), "illegal move [3 x 1] in liars_dice: bids are [1 x 1] to [2 x 6]"),
        ((), Bid(1, 7), "illegal move [1 x 7] in liars_dice: bids are [1 x 1] to [2 x 6]"),
        ((), Bid(0, 2), "illegal move [0 x 2] in liars_dice: bids are [1 x 1] to [2 x 6]"),
        (
            (Bid(1, 4),),
            Bid(1, 4),
            "illegal move [1 x 4] in liars_dice after [1 x 4]: expected a higher bid or [liar]",
        ),
        (
            (Bid(2, 2),),
            Bid(1, 6),
            "illegal move [1 x 6] in liars_dice after [2 x 2]: expected a higher bid or [liar]",
        ),
        ((Bid(2, 2), LIAR), Bid(2, 3), "illegal move [2 x 3] in liars_dice: the game is over"),
    ],
)
def test_an_illegal_move_says_what_was_expected(moves, move, message):
    state = after(SIX_SIDES, (3, 5), *moves)
    with pytest.raises(IllegalMoveError) as error:
        SIX_SIDES.game.next_state(state, move)
    assert str(error.value) == message
    with pytest.raises(IllegalMoveError) as error:
        SIX_SIDES.codec.parse_move(state, SIX_SIDES.codec.format_move(move))
    assert str(error.value) == message


def test_dice_are_rolled_before_the_first_bid_and_only_then():
    game = SIX_SIDES.game
    assert game.to_move(after(SIX_SIDES, (3,))) == CHANCE
    assert game.chance_outcomes(after(SIX_SIDES, (3,))) == tuple((Roll(face), 1 / 6) for face in range(1, 7))
    assert game.chance_outcomes(after(SIX_SIDES, (3, 5))) == ()
    with pytest.raises(IllegalMoveError, match="the dice are not rolled yet"):
        game.next_state(after(SIX_SIDES, (3,)), Bid(1, 1))
    for dice, face in (((3, 5), 1), ((3,), 7), ((3,), 0)):
        with pytest.raises(IllegalMoveError, match=f"illegal roll {face}"):
            game.next_state(after(SIX_SIDES, dice), Roll(face))


def compare(spec, state, theirs, rng=None):
    """Compares all histories, or with `rng` a random one, and returns how many nodes were seen."""
    game = spec.game
    bids = spec.discrete.moves
    if theirs.is_terminal():
        assert game.to_move(state) == TERMINAL
        assert list(game.returns(state)) == theirs.returns()
        return 1
    if theirs.is_chance_node():
        outcomes = game.chance_outcomes(state)
        assert [(roll.face - 1, p) for roll, p in outcomes] == theirs.chance_outcomes()
        actions = {roll: roll.face - 1 for roll, _ in outcomes}
    else:
        assert game.to_move(state) == theirs.current_player()
        actions = {move: bids.index(move) for move in game.legal_moves(state)}
        assert list(actions.values()) == theirs.legal_actions()
    assert not any(game.returns(state))
    moves = list(actions) if rng is None else [rng.choice(list(actions))]
    return 1 + sum(compare(spec, game.next_state(state, move), theirs.child(actions[move]), rng) for move in moves)


# By d dice of s sides in all there are b = d * s bids: every set of them may be made, and all but the empty one called.
@pytest.mark.parametrize(
    ("dice", "sides", "nodes"), [(1, 2, 1 + 2 + 4 * (16 + 15)), (1, 3, 1 + 3 + 9 * (64 + 63)), (2, 2, 15 + 16 * 511)]
)
def test_small_games_agree_with_openspiel_on_every_history(dice, sides, nodes):
    spec = find_game("liars_dice_v0", dice=dice, sides=sides)
    theirs = pyspiel.load_game(f"liars_dice(numdice={dice},dice_sides={sides})").new_initial_state()
    assert compare(spec, spec.game.initial_state(), theirs) == nodes


@pytest.mark.parametrize(("dice", "sides"), [(1, 6), (2, 6), (5, 6)])
def test_random_games_agree_with_openspiel(dice, sides):
    spec = find_game("liars_dice_v0", dice=dice, sides=sides)
    theirs, rng = pyspiel.load_game(f"liars_dice(numdice={dice},dice_sides={sides})"), random.Random(dice)
    for _ in range(100):
        assert compare(spec, spec.game.initial_state(), theirs.new_initial_state(), rng) >= 2 * dice + 3


def test_four_sides_have_their_known_size_and_nash_conv():
    game = "liars_dice_v0(sides=4)"
    counts = count_nodes(game)
    # OpenSpiel 2.0.2: 1,024 information sets, uniform NashConv 1.310119.
    assert counts.information_sets == 1024
    assert (counts.chance, counts.decision, counts.terminal) == (1 + 4, 16 * 256, 16 * 255)
    assert solve.exploitability(game, uniform).nash_conv == pytest.approx(1.310119, abs=1e-6)


@pytest.mark.slow
def test_six_sides_have_their_known_size_and_nash_conv():
    # Takes 5 seconds. OpenSpiel 2.0.2.
    asked = []
    result = solve.exploitability("liars_dice_v0", lambda view: asked.append(view.seat) or uniform(view))
    assert result.nash_conv == pytest.approx(1.561489, abs=1e-6)
    assert len(asked) == 24_576


def test_cfr_plays_a_small_game():
    game = "liars_dice_v0(sides=3)"
    solved = solve.equilibrium(game)
    theirs = pyspiel.load_game("liars_dice(dice_sides=3)")
    solver = pyspiel.CFRPlusSolver(theirs)
    for _ in range(300):
        solver.evaluate_and_update_policy()
    value, _ = pyspiel.expected_returns(theirs.new_initial_state(), solver.average_policy(), -1, True)
    assert solved.result.nash_conv <= 1e-4
    assert solved.result.on_policy_values[0] == pytest.approx(value, abs=1e-3)


def test_the_observation_says_dice_and_bids():
    assert SIX_SIDES.codec.observe(after(SIX_SIDES, (3, 5)), 0) == ("Your dice: 3.\nBids: none yet. It is your turn.")
    state = after(TWO_DICE, (6, 2, 5, 1), Bid(1, 2), Bid(2, 5))
    assert TWO_DICE.codec.observe(state, 0) == ("Your dice: 2 6.\nBids: you 1 x 2, the other 2 x 5. It is your turn.")
    assert TWO_DICE.codec.observe(state, 1) == "Your dice: 1 5.\nBids: the other 1 x 2, you 2 x 5. You wait."
    assert TWO_DICE.codec.observe(TWO_DICE.game.next_state(state, LIAR), 1) == (
        "Your dice: 1 5.\n"
        "Bids: the other 1 x 2, you 2 x 5; the other called liar.\n"
        "All dice: the other 2 6; you 1 5. The number that counts for 2 x 5 is 2: it was true. You have won."
    )


def test_many_players_are_named():
    state = after(THREE_PLAYERS, (5, 2, 6), Bid(1, 2))
    assert THREE_PLAYERS.codec.observe(state, 2) == "Your dice: 6.\nBids: Player 0 1 x 2. Player 1 is to move."
    state = after(THREE_PLAYERS, (5, 2, 6), Bid(1, 2), Bid(3, 2), LIAR)
    assert THREE_PLAYERS.codec.observe(state, 0) == (
        "Your dice: 5.\n"
        "Bids: you 1 x 2, Player 1 3 x 2; Player 2 called liar.\n"
        "All dice: you 5; Player 1 2; Player 2 6. The number that counts for 3 x 2 is 2: it was a lie."
        " Player 2 has won and Player 1 has lost."
    )
    assert "You have lost." in THREE_PLAYERS.codec.observe(state, 1)


def test_no_observation_depends_on_hidden_dice_or_the_order_of_ones_own():
    spec = find_game("liars_dice_v0", dice=2, sides=2)
    seen = {}
    for state, player, _ in walk(spec):
        if player >= 0:
            own = tuple(sorted(state.dice[2 * player : 2 * player + 2]))
            seen.setdefault((player, own, state.bids), set()).add(spec.codec.observe(state, player))
    # Three hands and 2^8 sets of bids, each with its own mover.
    assert len(seen) == 3 * 256
    assert all(len(texts) == 1 for texts in seen.values())


@pytest.mark.parametrize(
    "text", ["[2 x 5]", "2 x 5", "[2x5]", "2X5", " [ 2 x 5 ] ", "[2 x  5]", "02 x 05", "[2 \u00d7 5]", "2\u00d75"]
)
def test_a_bid_is_read_with_or_without_spaces_and_brackets(text):
    assert SIX_SIDES.codec.parse_move(after(SIX_SIDES, (3, 5)), text) == Bid(2, 5)


@pytest.mark.parametrize("text", ["[liar]", "liar", "LIAR", " [ Liar ] "])
def test_the_call_is_read_in_any_case(text):
    assert SIX_SIDES.codec.parse_move(after(SIX_SIDES, (3, 5), Bid(1, 1)), text) is LIAR


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "2 5",
        "[2]",
        "2 x 5 x 1",
        "[[2 x 5]]",
        "2 * 5",
        "2 \u2715 5",
        "٢ x ٥",
        "-1 x 5",
        "1000 x 1",
        "liar!",
        "2\nx 5",
    ],
)
def test_other_text_is_malformed(text):
    with pytest.raises(MalformedMoveError, match=r"in liars_dice: expected a bid such as \[2 x 5\], or \[liar\]"):
        SIX_SIDES.codec.parse_move(after(SIX_SIDES, (3, 5), Bid(1, 1)), text)


def test_the_rules_name_dice_faces_and_players():
    assert "rolled one die with the faces 1 to 6" in SIX_SIDES.codec.rules(0)
    assert "of all 2 dice" in SIX_SIDES.codec.rules(0)
    assert "The face 6 is wild" in SIX_SIDES.codec.rules(1)
    assert "against Player 0 and Player 2" in THREE_PLAYERS.codec.rules(1)
    assert "neither win nor lose" in THREE_PLAYERS.codec.rules(1)
    assert "such as [1 x 3]" in find_game("liars_dice_v0", sides=3).codec.rules(0)


@pytest.mark.parametrize(
    ("option", "low", "high", "value"),
    [
        ("players", 2, 6, 1),
        ("players", 2, 6, 7),
        ("players", 2, 6, "2"),
        ("dice", 1, 6, 0),
        ("dice", 1, 6, 7),
        ("dice", 1, 6, True),
        ("sides", 2, 12, 1),
        ("sides", 2, 12, 13),
        ("sides", 2, 12, 6.0),
    ],
)
def test_a_number_out_of_range_is_refused(option, low, high, value):
    with pytest.raises(ValueError, match="expected an integer") as error:
        find_game("liars_dice_v0", **{option: value})
    assert str(error.value) == f"option {option} of liars_dice is {value!r}: expected an integer from {low} to {high}"


def test_a_situation_is_ones_own_dice_and_the_bids():
    state = after(TWO_DICE, (6, 2, 5, 1), Bid(1, 2))
    assert TWO_DICE.known_to(0, state) == LiarsSituation((2, 6), (Bid(1, 2),))
    assert TWO_DICE.known_to(1, state) == LiarsSituation((1, 5), (Bid(1, 2),))


def test_features_are_seat_dice_and_bids():
    spec = find_game("liars_dice_v0", dice=2, sides=2)
    form = spec.discrete
    assert form is not None
    assert form.moves == (*(Bid(quantity, face) for quantity in (1, 2, 3, 4) for face in (1, 2)), LIAR)
    assert form.shape == (2 + 2 * 2 + 8 + 1,)
    state = after(spec, (2, 1, 2, 2), Bid(1, 2), Bid(3, 1))
    assert form.features(state, 0) == (1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0)
    called = spec.game.next_state(state, LIAR)
    assert form.features(called, 1) == (0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 1)


def test_features_tell_apart_what_the_texts_tell_apart():
    spec = find_game("liars_dice_v0", dice=2, sides=2)
    form = spec.discrete
    assert form is not None
    seen = {
        (player, spec.codec.observe(state, player), form.features(state, player))
        for state, player, _ in walk(spec)
        if player >= 0
    }
    assert len(seen) == len({text[:2] for text in seen}) == len({text[::2] for text in seen}) == 3 * 256
    assert {len(features) for _, _, features in seen} == {form.num_features}


@pytest.mark.parametrize(
    "game", ["liars_dice_v0", "liars_dice_v0(dice=2,sides=2)", "liars_dice_v0(players=6,dice=6,sides=12)"]
)
def test_the_laws_hold(game):
    check_game(game, num_matches=10)


@pytest.mark.parametrize("players", [2, 3])
def test_a_fault_loses_at_least_what_a_lie_does(players):
    match = make_match("liars_dice_v0", seed=0, players=players)
    match.submit("[liar]")
    assert match.outcome is not None
    assert match.outcome.returns == (1 - players, *(1,) * (players - 1))
