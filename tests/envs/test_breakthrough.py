"""Breakthrough by hand, by known values of small boards and against OpenSpiel."""

import pickle
import random

import pyspiel
import pytest

from spiral_envs import TERMINAL, IllegalMoveError, MalformedMoveError, check_game, find_game, make_match
from spiral_envs.agents.minimax import optimal_moves
from spiral_envs.games.breakthrough import PIECES, SPEC, BreakthroughState, configure

GAME, CODEC = SPEC.game, SPEC.codec

SMALL = configure(rows=5, columns=3)


def drawn(*rows, player):
    """Returns the position that `rows` draw, the highest first."""
    pieces = [0, 0]
    squares = "".join(reversed(rows))
    for square, piece in enumerate(squares):
        if piece != ".":
            pieces[PIECES.index(piece)] |= 1 << square
    return BreakthroughState(pieces[0], pieces[1], player)


def moves_of(spec, state):
    """Returns the legal moves as a player writes them."""
    return {spec.codec.format_move(move)[1:-1] for move in spec.game.legal_moves(state)}


def play(spec, state, *moves):
    """Returns the position after `moves` from `state`."""
    for move in moves:
        state = spec.game.next_state(state, spec.codec.parse_move(state, move))
    return state


def mirrored(move, rows):
    """Returns a move on the board turned upside down, which is how OpenSpiel lets its first player start at the top."""
    return "".join(letter if letter.isalpha() else str(rows + 1 - int(letter)) for letter in move)


def test_both_sides_start_with_two_full_rows():
    assert SMALL.game.initial_state() == drawn("BBB", "BBB", "...", "WWW", "WWW", player=0)
    assert moves_of(SMALL, SMALL.game.initial_state()) == {"a2a3", "a2b3", "b2a3", "b2b3", "b2c3", "c2b3", "c2c3"}


def test_a_piece_goes_forward_to_empty_squares():
    state = drawn("B..", "...", ".W.", "...", "...", player=0)
    assert moves_of(SMALL, state) == {"b3a4", "b3b4", "b3c4"}
    state = drawn("...", "...", ".B.", "...", "W..", player=1)
    assert moves_of(SMALL, state) == {"b3a2", "b3b2", "b3c2"}


def test_a_piece_takes_diagonally_but_not_straight_ahead():
    state = drawn("...", "BBB", ".W.", "...", "...", player=0)
    assert moves_of(SMALL, state) == {"b3a4", "b3c4"}
    assert play(SMALL, state, "b3a4") == drawn("...", "WBB", "...", "...", "...", player=1)
    state = drawn("...", "...", ".B.", "WWW", "...", player=1)
    assert moves_of(SMALL, state) == {"b3a2", "b3c2"}
    assert play(SMALL, state, "b3c2") == drawn("...", "...", "...", "WWB", "...", player=0)


def test_a_piece_does_not_take_its_own_side():
    state = drawn("BBB", "...", ".W.", "W..", "...", player=0)
    assert moves_of(SMALL, state) == {"b3a4", "b3b4", "b3c4", "a2a3"}


def test_taking_is_not_compulsory():
    state = drawn("...", "B..", ".W.", "...", "...", player=0)
    assert moves_of(SMALL, state) == {"b3a4", "b3b4", "b3c4"}


def test_a_drawn_position_is_the_same_as_one_that_was_played_to():
    played = play(SMALL, SMALL.game.initial_state(), "b2a3", "b4a3")
    by_hand = drawn("BBB", "B.B", "B..", "W.W", "WWW", player=0)
    assert played == by_hand
    assert not played != by_hand  # noqa: SIM202 - a tuple answers this apart from equality
    assert hash(played) == hash(by_hand)
    assert played != by_hand._replace(player=1)
    assert played != tuple(by_hand)
    assert pickle.loads(pickle.dumps(played)) == played
    board = "Board:\n5 B B B\n4 B . B\n3 B . .\n2 W . W\n1 W W W\n  a b c\n"
    for state in (played, by_hand):
        assert SMALL.codec.observe(state, 0) == f"{board}You play White (W). It is your turn."
    after_both = [SMALL.codec.observe(play(SMALL, state, "c2c3"), 1) for state in (played, by_hand)]
    assert after_both[0] == after_both[1]


def test_a_piece_at_the_edge_does_not_leave_the_board():
    state = drawn("...", ".B.", "W.W", "...", "...", player=0)
    assert moves_of(SMALL, state) == {"a3a4", "a3b4", "c3b4", "c3c4"}
    state = drawn("...", "...", "B.B", ".W.", "...", player=1)
    assert moves_of(SMALL, state) == {"a3a2", "a3b2", "c3b2", "c3c2"}


def test_whoever_reaches_the_last_row_wins_at_once():
    state = drawn("..B", "W..", "...", "..B", "W..", player=0)
    won = play(SMALL, state, "a4a5")
    assert SMALL.game.to_move(won) == TERMINAL
    assert SMALL.game.legal_moves(won) == ()
    assert SMALL.game.returns(won) == (1.0, -1.0)
    lost = play(SMALL, state._replace(player=1), "c2c1")
    assert SMALL.game.to_move(lost) == TERMINAL
    assert SMALL.game.returns(lost) == (-1.0, 1.0)


def test_a_piece_on_the_last_row_may_have_been_taken_for_it():
    state = drawn(".B.", "W..", "...", "B..", "...", player=0)
    assert SMALL.game.returns(play(SMALL, state, "a4b5")) == (1.0, -1.0)


def test_whoever_takes_the_last_piece_wins():
    state = drawn("...", "...", "B..", ".W.", "...", player=0)
    won = play(SMALL, state, "b2a3")
    assert won == drawn("...", "...", "W..", "...", "...", player=TERMINAL)
    assert SMALL.game.returns(won) == (1.0, -1.0)
    lost = play(SMALL, state._replace(player=1), "a3b2")
    assert SMALL.game.returns(lost) == (-1.0, 1.0)


def test_nobody_has_won_before_the_end():
    assert SMALL.game.returns(SMALL.game.initial_state()) == (0.0, 0.0)
    # A piece on its own last row is no win for it.
    assert SMALL.game.to_move(play(SMALL, SMALL.game.initial_state(), "a2a3")) == 1


def test_moves_are_listed_in_a_fixed_order():
    texts = [SMALL.codec.format_move(move) for move in SMALL.game.legal_moves(SMALL.game.initial_state())]
    # To the left, straight ahead, to the right; each by the square that they end on.
    assert texts == ["[b2a3]", "[c2b3]", "[a2a3]", "[b2b3]", "[c2c3]", "[a2b3]", "[b2c3]"]
    assert SMALL.game.legal_moves(SMALL.game.initial_state()) is SMALL.game.legal_moves(SMALL.game.initial_state())


def num_histories(game, state, plies):
    """Returns the number of histories after so many plies."""
    if plies == 1:
        return len(game.legal_moves(state))
    return sum(num_histories(game, game.next_state(state, move), plies - 1) for move in game.legal_moves(state))


@pytest.mark.parametrize(
    ("rows", "columns", "known"),
    # Counted with OpenSpiel 2.0.2.
    [
        (8, 8, (22, 484, 11_132)),
        (6, 6, (16, 256, 4_308)),
        (6, 3, (7, 49, 375, 2_763, 22_102)),
        (6, 2, (4, 16, 72, 308, 1_376, 5_676, 24_204)),
    ],
)
def test_openspiel_counts_as_many_histories(rows, columns, known):
    game = configure(rows=rows, columns=columns).game
    counts = tuple(num_histories(game, game.initial_state(), plies) for plies in range(1, len(known) + 1))
    assert counts == known


@pytest.mark.parametrize(
    ("rows", "columns", "num_games"), [(8, 8, 40), (6, 6, 60), (7, 3, 100), (6, 2, 100), (4, 5, 100)]
)
def test_openspiel_agrees_on_random_games(rows, columns, num_games):
    spec = configure(rows=rows, columns=columns)
    theirs_game = pyspiel.load_game(f"breakthrough(rows={rows},columns={columns})")
    assert spec.game.max_plies <= theirs_game.max_game_length() or rows < 6
    start = spec.game.initial_state()
    if rows < 6:
        # On fewer than six rows OpenSpiel gives each side only one row of pieces.
        full = (1 << columns) - 1
        start = BreakthroughState(full, full << (rows - 1) * columns, 0)
    rng = random.Random(0)
    for _ in range(num_games):
        state, theirs = start, theirs_game.new_initial_state()
        while not theirs.is_terminal():
            # OpenSpiel marks captures with a star.
            actions = {theirs.action_to_string(action).rstrip("*"): action for action in theirs.legal_actions()}
            assert {mirrored(move, rows) for move in moves_of(spec, state)} == actions.keys()
            assert spec.game.to_move(state) == theirs.current_player()
            assert spec.game.returns(state) == (0.0, 0.0)
            chosen = rng.choice(sorted(actions))
            state = play(spec, state, mirrored(chosen, rows))
            theirs.apply_action(actions[chosen])
        assert spec.game.to_move(state) == TERMINAL
        assert list(spec.game.returns(state)) == theirs.returns()


def is_lost(game, state, plies, known):
    """Whether the player to move loses within `plies` plies, however it plays."""
    if plies <= 0:
        return False
    key = (state, plies)
    if key not in known:
        known[key] = all(
            following.player != TERMINAL and is_won(game, following, plies - 1, known)
            for following in (game.next_state(state, move) for move in game.legal_moves(state))
        )
    return known[key]


def is_won(game, state, plies, known):
    """Whether the player to move can win within `plies` plies."""
    if plies <= 0:
        return False
    following = [game.next_state(state, move) for move in game.legal_moves(state)]
    # Only the player that moves can end the game.
    if any(state.player == TERMINAL for state in following):
        return True
    return any(is_lost(game, state, plies - 1, known) for state in following)


def test_the_second_player_wins_four_by_four_in_fourteen_plies():
    # Breakthrough forum of Little Golem, "Breakthrough on small boards", 2006, two authors independently.
    game = configure(rows=4, columns=4).game
    start, known = game.initial_state(), {}
    assert is_lost(game, start, 14, known)
    assert not is_lost(game, start, 13, known)


def test_the_first_player_wins_four_by_four_with_one_row_each_in_eleven_plies():
    # The same.
    game = configure(rows=4, columns=4).game
    start, known = drawn("BBBB", "....", "....", "WWWW", player=0), {}
    assert is_won(game, start, 11, known)
    assert not is_won(game, start, 10, known)


def test_black_must_take_back_on_the_smallest_board():
    spec = find_game("breakthrough_v0", rows=4, columns=2)
    start = spec.game.initial_state()
    # White cannot but take; unless Black takes the piece on b3, it goes on to row 4 and wins.
    assert moves_of(spec, start) == {"a2b3", "b2a3"}
    value, moves = optimal_moves(spec, play(spec, start, "a2b3"))
    assert value == 1
    assert [spec.codec.format_move(move) for move in moves] == ["[a4b3]"]
    # Another search agrees that Black wins then.
    assert is_lost(spec.game, start, spec.game.max_plies, {})


def test_the_longest_game_fits_max_plies():
    # The bound holds on the board that can be searched whole.
    game = configure(rows=4, columns=3).game

    def longest(state, known):
        if state not in known:
            following = [longest(game.next_state(state, move), known) for move in game.legal_moves(state)]
            known[state] = 1 + max(following) if following else 0
        return known[state]

    assert longest(game.initial_state(), {}) <= game.max_plies == 19


def test_the_board_is_drawn_with_the_names_of_rows_and_columns():
    state = play(SMALL, SMALL.game.initial_state(), "b2c3")
    board = "Board:\n5 B B B\n4 B B B\n3 . . W\n2 W . W\n1 W W W\n  a b c\n"
    assert SMALL.codec.observe(state, 1) == f"{board}You play Black (B). It is your turn."
    assert SMALL.codec.observe(state, 0) == f"{board}You play White (W). Black is to move."


def test_the_end_is_told_to_each_seat():
    won = play(SMALL, drawn("..B", "W..", "...", "...", "...", player=0), "a4b5")
    assert SMALL.codec.observe(won, 0).endswith("You play White (W). You have won.")
    assert SMALL.codec.observe(won, 1).endswith("You play Black (B). You have lost.")


def test_the_rules_tell_each_side_where_it_goes():
    white, black = SMALL.codec.rules(0), SMALL.codec.rules(1)
    assert white.startswith("You play White (W) in a game of breakthrough against Black (B). White moves first, so you")
    assert "columns a to c from the left and rows 1 to 5 from the bottom" in white
    assert "Your pieces start on rows 1 and 2 and move up." in white
    assert "a piece of yours reaches row 5" in white
    assert "you lose if Black reaches row 1 " in white
    assert "so you move second." in black
    assert "Your pieces start on rows 4 and 5 and move down." in black
    assert "a piece of yours reaches row 1" in black
    assert "you lose if White reaches row 5 " in black


@pytest.mark.parametrize("text", ["[a2b3]", "a2b3", " [ A2B3 ] "])
def test_a_move_is_read_with_or_without_brackets(text):
    state = GAME.initial_state()
    assert CODEC.format_move(CODEC.parse_move(state, text)) == "[a2b3]"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[a2]", "[a2-a3]", "[a2 a3]", "[a2b3*]", "[a0a1]", "[a9a8]", "[i2i3]", "[a２a3]", "[[a2a3]]", "forward"],
)
def test_what_is_no_move_is_malformed(text):
    with pytest.raises(MalformedMoveError, match=r"in breakthrough: expected a step such as \[a2a3\]"):
        CODEC.parse_move(GAME.initial_state(), text)


@pytest.mark.parametrize(
    ("move", "why"),
    [
        ("[d4d5]", "squares are a1 to c5"),
        ("[a5a6]", "squares are a1 to c5"),
        ("[a3a4]", "White has no piece on a3"),
        ("[a5a4]", "White has no piece on a5"),
        ("[a2a4]", "White moves one square up, straight or diagonally"),
        ("[b3b2]", "White moves one square up, straight or diagonally"),
        ("[a2c3]", "White moves one square up, straight or diagonally"),
        ("[a2b3]", "White has a piece on b3"),
        ("[a1a2]", "White has a piece on a2"),
        ("[b3b4]", "a straight move takes no piece"),
    ],
)
def test_an_illegal_move_says_why(move, why):
    state = drawn("BBB", "BBB", ".W.", "W.W", "WWW", player=0)
    with pytest.raises(IllegalMoveError) as error:
        SMALL.codec.parse_move(state, move)
    assert str(error.value) == f"illegal move {move} in breakthrough: {why}"


def test_the_rules_refuse_what_is_not_legal():
    state = drawn("BBB", "BBB", ".W.", "W.W", "WWW", player=0)
    assert SMALL.discrete is not None
    legal = SMALL.game.legal_moves(state)
    for move in SMALL.discrete.moves:
        if move not in legal:
            with pytest.raises(IllegalMoveError):
                SMALL.game.next_state(state, move)


def test_nobody_moves_after_the_end():
    over = drawn("..W", "...", "...", "B..", "W..", player=TERMINAL)
    with pytest.raises(IllegalMoveError, match="the game is over"):
        SMALL.codec.parse_move(over, "[a1b2]")
    assert SMALL.discrete is not None
    with pytest.raises(IllegalMoveError, match="the game is over"):
        SMALL.game.next_state(over, SMALL.discrete.moves[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 3}, "option rows of breakthrough is 3: expected an integer from 4 to 8"),
        ({"rows": 9}, "option rows of breakthrough is 9: expected an integer from 4 to 8"),
        ({"columns": 1}, "option columns of breakthrough is 1: expected an integer from 2 to 8"),
        ({"columns": 8.0}, "option columns of breakthrough is 8.0: expected an integer from 2 to 8"),
        ({"columns": True}, "option columns of breakthrough is True: expected an integer from 2 to 8"),
    ],
)
def test_an_option_out_of_range_says_the_range(options, message):
    with pytest.raises(ValueError, match="option") as error:
        find_game("breakthrough_v0", **options)
    assert str(error.value) == message


def test_another_board_breaks_no_law():
    check_game(SMALL, num_matches=5)


def test_options_can_be_written_into_the_id():
    match = make_match("breakthrough_v0(rows=6,columns=5)", seed=0)
    assert match.game == "breakthrough_v0(columns=5,rows=6)"
    legal = match.view(0).legal_moves
    assert legal is not None
    assert len(legal) == 13


def test_the_discrete_form_lists_every_step_and_shows_the_board_from_above():
    form = SMALL.discrete
    assert form is not None
    # Each side: 12 squares with a row ahead, of which 3 columns have 2, 3 and 2 squares ahead; 4 * 7 steps.
    assert len(form.moves) == len(set(form.moves)) == 2 * 4 * 7
    assert form.shape == (4, 5, 3)
    state = drawn("..B", "...", ".W.", "...", "W..", player=1)
    white, black = (0,) * 7 + (1,) + (0,) * 4 + (1, 0, 0), (0, 0, 1) + (0,) * 12
    ones, zeros = (1,) * 15, (0,) * 15
    assert form.features(state, 0) == (*white, *black, *ones, *zeros)
    assert form.features(state, 1) == (*black, *white, *zeros, *ones)
