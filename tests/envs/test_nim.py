"""Nim by hand, by Bouton's theorem and against OpenSpiel."""

import itertools
import random
from functools import reduce
from operator import xor

import pyspiel
import pytest

from spiral_envs import TERMINAL, IllegalMoveError, MalformedMoveError, check_game, find_game, make_match
from spiral_envs.agents.minimax import optimal_moves
from spiral_envs.games.nim import SPEC, NimState, Take, configure
from spiral_envs.tree import count_nodes

GAME, CODEC = SPEC.game, SPEC.codec

NORMAL = configure(piles="1-2")
MISERE = configure(piles="1-2", misere=True)


def after(spec, *moves):
    """Returns the position after `moves`, each a pile counted from 1 and a number."""
    state = spec.game.initial_state()
    for pile, number in moves:
        state = spec.game.next_state(state, Take(pile - 1, number))
    return state


# Every line of play with piles of 1 and 2: whoever takes last is named.
LINES = {
    ((1, 1), (2, 1), (2, 1)): 0,
    ((1, 1), (2, 2)): 1,
    ((2, 1), (1, 1), (2, 1)): 0,
    ((2, 1), (2, 1), (1, 1)): 0,
    ((2, 2), (1, 1)): 1,
}


@pytest.mark.parametrize("line", LINES, ids=str)
def test_who_takes_last_wins_normal_play_and_loses_misere_play(line):
    last = LINES[line]
    won, lost = ((1.0, -1.0), (-1.0, 1.0)) if last == 0 else ((-1.0, 1.0), (1.0, -1.0))
    assert NORMAL.game.to_move(after(NORMAL, *line)) == TERMINAL
    assert NORMAL.game.returns(after(NORMAL, *line)) == won
    assert MISERE.game.returns(after(MISERE, *line)) == lost


def test_those_are_all_lines_of_play():
    def lines(state, line):
        if NORMAL.game.to_move(state) == TERMINAL:
            return {line}
        moves = NORMAL.game.legal_moves(state)
        return set().union(
            *(lines(NORMAL.game.next_state(state, move), (*line, (move.pile + 1, move.number))) for move in moves)
        )

    assert lines(NORMAL.game.initial_state(), ()) == set(LINES)


def test_normal_play_is_the_default():
    assert SPEC.game.initial_state() == NimState((1, 3, 5, 7), 0)
    assert "Whoever takes the last object of all wins." in CODEC.rules(0)
    assert "Whoever takes the last object of all loses" in MISERE.codec.rules(0)


def test_players_move_in_turn():
    assert [GAME.to_move(after(SPEC, *[(4, 1)] * plies)) for plies in range(5)] == [0, 1, 0, 1, 0]


def test_nobody_moves_and_nobody_has_won_at_the_wrong_time():
    over = after(NORMAL, (1, 1), (2, 2))
    assert NORMAL.game.legal_moves(over) == ()
    with pytest.raises(IllegalMoveError):
        NORMAL.game.next_state(over, Take(0, 1))
    assert NORMAL.game.returns(after(NORMAL, (1, 1))) == (0.0, 0.0)


def test_moves_are_listed_pile_by_pile():
    assert NORMAL.game.legal_moves(after(NORMAL)) == (Take(0, 1), Take(1, 1), Take(1, 2))
    assert NORMAL.game.legal_moves(after(NORMAL, (1, 1))) == (Take(1, 1), Take(1, 2))
    assert len(GAME.legal_moves(GAME.initial_state())) == 16


def mover_wins(piles, *, misere):
    """Whether the player to move wins (Bouton 1901)."""
    if misere and max(piles) <= 1:
        return sum(piles) % 2 == 0
    return reduce(xor, piles) != 0


@pytest.mark.parametrize("misere", [False, True])
def test_perfect_play_is_boutons_from_every_position(misere):
    spec = configure(piles="5-4-3-2", misere=misere)
    for piles in itertools.product(range(6), range(5), range(4), range(3)):
        if not any(piles):
            continue
        for player in (0, 1):
            state = NimState(piles, player)
            value, moves = optimal_moves(spec, state)
            assert value == (1.0 if mover_wins(piles, misere=misere) else -1.0), piles
            if value == 1.0:
                # The winning moves are those that leave the other a lost position.
                following = [spec.game.next_state(state, move).piles for move in spec.game.legal_moves(state)]
                lost = [not mover_wins(left, misere=misere) if any(left) else not misere for left in following]
                assert moves == tuple(itertools.compress(spec.game.legal_moves(state), lost)), piles


@pytest.mark.parametrize("misere", [False, True])
@pytest.mark.parametrize(("piles", "value"), [("1-3-5-7", -1.0), ("3-4-5", 1.0)])
def test_piles_that_are_won_either_way(piles, value, misere):
    spec = configure(piles=piles, misere=misere)
    assert optimal_moves(spec, spec.game.initial_state())[0] == value


def test_the_tree_of_one_and_two_has_its_size():
    counts = count_nodes("nim_v0", piles="1-2")
    # By hand: 5 lines of play; inner nodes are the start, 3 after one ply and 3 after two.
    assert (counts.chance, counts.decision, counts.terminal) == (0, 7, 5)


@pytest.mark.parametrize("misere", [False, True])
@pytest.mark.parametrize("piles", ["1-3-5-7", "2-2", "10-1-4"])
def test_openspiel_agrees_on_random_games(piles, misere):
    spec = configure(piles=piles, misere=misere)
    name = f"nim(pile_sizes={piles.replace('-', ';')},is_misere={misere})"
    theirs_game = pyspiel.load_game(name)
    assert theirs_game.max_game_length() == spec.game.max_plies
    rng = random.Random(0)
    for _ in range(100):
        state, theirs = spec.game.initial_state(), theirs_game.new_initial_state()
        while not theirs.is_terminal():
            actions = {theirs.action_to_string(action): action for action in theirs.legal_actions()}
            moves = {f"pile:{move.pile + 1}, take:{move.number};": move for move in spec.game.legal_moves(state)}
            assert moves.keys() == actions.keys()
            assert spec.game.to_move(state) == theirs.current_player()
            chosen = rng.choice(sorted(moves))
            state = spec.game.next_state(state, moves[chosen])
            theirs.apply_action(actions[chosen])
        assert spec.game.to_move(state) == TERMINAL
        assert list(spec.game.returns(state)) == theirs.returns()


def test_the_piles_are_listed_with_whose_turn_it_is():
    state = after(SPEC, (3, 4))
    piles = "Pile 1: 1\nPile 2: 3\nPile 3: 1\nPile 4: 7\n"
    assert CODEC.observe(state, 1) == f"{piles}It is your turn."
    assert CODEC.observe(state, 0) == f"{piles}You wait."


def test_the_end_is_told_to_each_seat():
    line = ((1, 1), (2, 2))
    assert NORMAL.codec.observe(after(NORMAL, *line), 1) == "Pile 1: 0\nPile 2: 0\nYou have won."
    assert NORMAL.codec.observe(after(NORMAL, *line), 0) == "Pile 1: 0\nPile 2: 0\nYou have lost."
    assert MISERE.codec.observe(after(MISERE, *line), 0).endswith("You have won.")


def test_the_rules_name_the_seat_and_the_number_of_piles():
    assert CODEC.rules(0).startswith("You are Player 0 in a game of nim against Player 1. You move first.")
    assert CODEC.rules(1).startswith("You are Player 1 in a game of nim against Player 0. You move second.")
    assert "There are 4 piles of objects, numbered from 1." in CODEC.rules(0)
    assert "There is one pile of objects." in configure(piles="9").codec.rules(0)


@pytest.mark.parametrize(
    "text", ["[pile 2: take 3]", "pile 2: take 3", "[Pile 2 : Take 3]", "[PILE2:TAKE3]", " [ pile 02: take 003 ] "]
)
def test_a_move_is_read_in_any_case_and_spacing(text):
    assert CODEC.parse_move(after(SPEC), text) == Take(1, 3)
    assert CODEC.format_move(Take(1, 3)) == "[pile 2: take 3]"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[2]", "[2 3]", "[take 3]", "[pile 2]", "[pile -2: take 3]", "[pile 2: take 3.0]", "[pile ２: take 3]",
     "[pile 2: take three]", "[pile 2; take 3]", "[pile 2: take 1000]", "[[pile 2: take 3]]"],
)  # fmt: skip
def test_what_is_no_move_is_malformed(text):
    with pytest.raises(MalformedMoveError, match=r"in nim: expected a move such as \[pile 2: take 3\]"):
        CODEC.parse_move(after(SPEC), text)


@pytest.mark.parametrize(
    ("move", "why"),
    [
        ("[pile 0: take 1]", "piles are 1 to 4"),
        ("[pile 5: take 1]", "piles are 1 to 4"),
        ("[pile 4: take 0]", "a move takes at least 1"),
        ("[pile 4: take 8]", "pile 4 has only 7"),
        ("[pile 1: take 1]", "pile 1 has only 0"),
    ],
)
def test_an_illegal_move_says_why(move, why):
    state = after(SPEC, (1, 1))
    with pytest.raises(IllegalMoveError) as error:
        CODEC.parse_move(state, move)
    assert str(error.value) == f"illegal move {move} in nim: {why}"
    pile, number = (int(word.strip(":]")) for word in move.split()[1::2])
    with pytest.raises(IllegalMoveError) as error:
        GAME.next_state(state, Take(pile - 1, number))
    assert str(error.value) == f"illegal move {move} in nim: {why}"


@pytest.mark.parametrize(
    "piles",
    [
        "",
        "0-3",
        "03-4",
        "3-21",
        "3,4,5",
        "3--4",
        "-3",
        "3-4-",
        "1-1-1-1-1-1-1-1-1-1-1",
        (3, 4),
        True,
        0,
        3.0,
        "３",
        None,
    ],
)
def test_piles_out_of_range_say_the_range(piles):
    with pytest.raises(ValueError, match="option piles of nim") as error:
        find_game("nim_v0", piles=piles)
    assert str(error.value) == (
        f"option piles of nim is {piles!r}: expected 1 to 10 numbers from 1 to 20 with hyphens between them, such as"
        " 3-4-5"
    )


@pytest.mark.parametrize("misere", [1, "True", None])
def test_misere_is_a_bool(misere):
    with pytest.raises(ValueError, match=r"option misere of nim is .*: expected True or False"):
        find_game("nim_v0", misere=misere)


@pytest.mark.parametrize(
    ("game", "piles", "label"),
    [
        ("nim_v0(piles=3-4-5,misere=True)", (3, 4, 5), "nim_v0(misere=True,piles=3-4-5)"),
        ("nim_v0(piles=7)", (7,), "nim_v0(piles=7)"),
        ("nim_v0(piles=1-3-5-7)", (1, 3, 5, 7), "nim_v0"),
    ],
)
def test_options_can_be_written_into_the_id(game, piles, label):
    assert find_game(game).game.initial_state().piles == piles
    assert make_match(game, seed=0).game == label
    # Agents find the game again by its label.
    assert find_game(label).game.initial_state().piles == piles


@pytest.mark.parametrize("options", [{"piles": "3-4-5", "misere": True}, {"piles": 20}])
def test_other_piles_break_no_law(options):
    check_game(configure(**options), num_matches=10)


def test_the_discrete_form_counts_every_pile():
    form = NORMAL.discrete
    assert form is not None
    assert form.moves == (Take(0, 1), Take(1, 1), Take(1, 2))
    assert form.shape == (3, 3)
    start = after(NORMAL)
    assert form.features(start, 0) == (0, 1, 0, 0, 0, 1, 1, 1, 1)
    assert form.features(start, 1) == (0, 1, 0, 0, 0, 1, 0, 0, 0)
    assert form.features(after(NORMAL, (1, 1)), 1) == (1, 0, 0, 0, 0, 1, 1, 1, 1)
