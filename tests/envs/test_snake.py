"""Snake by hand and against OpenSpiel."""

import pickle
import random

import pyspiel
import pytest

from spiral_envs import (
    CHANCE,
    TERMINAL,
    IllegalMoveError,
    MalformedMoveError,
    check_game,
    find_game,
    make_match,
    solve,
)
from spiral_envs.games.snake import Apple, Direction, Fate, SnakeState
from spiral_envs.tree import count_nodes

UP, DOWN, LEFT, RIGHT = Direction
ALIVE, WALL, HEADS, BODY = Fate

SPEC = find_game("snake_v0")
GAME, CODEC = SPEC.game, SPEC.codec

FAR_APPLE = (6, 6)
"""Where an apple is in nobody's way."""


def at(row, column):
    """Returns the number of a cell of the grid of 7 by 7."""
    return 7 * row + column


def position(first, second, *, apples=(FAR_APPLE,), scores=(0, 0)):
    """Returns a position before a round, from the (row, column) of every cell, heads first."""
    bodies = (tuple(at(*cell) for cell in first), tuple(at(*cell) for cell in second))
    cells = tuple(at(*cell) for cell in apples)
    return SnakeState(bodies, cells, falls=tuple((0, cell) for cell in cells), scores=scores)


def play(state, *rounds, game=GAME):
    """Returns the state after rounds of two directions each."""
    for pair in rounds:
        for direction in pair:
            state = game.next_state(state, direction)
    return state


def form():
    """Returns the game in numbers."""
    assert SPEC.discrete is not None
    return SPEC.discrete


def check_end(state, fates, returns):
    """Asserts how a round ended, and the same for the seats and the grid's sides changed."""
    assert state.fates == fates
    assert GAME.to_move(state) == TERMINAL
    assert GAME.legal_moves(state) == GAME.chance_outcomes(state) == ()
    assert GAME.returns(state) == returns


def test_the_snakes_start_in_the_middle_row_one_cell_from_the_edge():
    assert GAME.initial_state().bodies == ((at(3, 1),), (at(3, 5),))
    tall = find_game("snake_v0", width=5, height=8).game
    assert tall.initial_state().bodies == ((4 * 5 + 1,), (4 * 5 + 3,))


def test_the_first_apple_falls_on_any_free_cell_before_round_1():
    state = GAME.initial_state()
    assert GAME.to_move(state) == CHANCE
    assert GAME.legal_moves(state) == ()
    outcomes = GAME.chance_outcomes(state)
    assert [apple.cell for apple, _ in outcomes] == [cell for cell in range(49) if cell not in (at(3, 1), at(3, 5))]
    assert {chance for _, chance in outcomes} == {1 / 47}
    fallen = GAME.next_state(state, Apple(at(0, 2)))
    assert fallen.apples == (at(0, 2),)
    assert GAME.to_move(fallen) == 0
    assert GAME.chance_outcomes(fallen) == ()


@pytest.mark.parametrize(
    ("direction", "cell"), [(UP, (2, 1)), (DOWN, (4, 1)), (LEFT, (3, 0)), (RIGHT, (3, 2))], ids=str
)
def test_a_head_moves_one_cell(direction, cell):
    state = play(position([(3, 1)], [(0, 5)]), (direction, RIGHT))
    assert state.bodies == ((at(*cell),), (at(0, 6),))
    assert state.fates == (ALIVE, ALIVE)
    assert GAME.to_move(state) == 0


def test_a_body_follows_its_head():
    state = play(position([(3, 3), (3, 2), (4, 2)], [(0, 5)]), (UP, RIGHT), (LEFT, DOWN))
    assert state.bodies[0] == (at(2, 2), at(2, 3), at(3, 3))


@pytest.mark.parametrize(
    ("head", "direction"), [((0, 3), UP), ((6, 3), DOWN), ((3, 0), LEFT), ((3, 6), RIGHT)], ids=str
)
def test_a_head_that_leaves_the_grid_dies(head, direction):
    inner = (RIGHT, LEFT)[direction == RIGHT]
    other = [(5, 4)]
    check_end(play(position([head], other), (direction, inner)), (WALL, ALIVE), (-1.0, 1.0))
    check_end(play(position(other, [head]), (inner, direction)), (ALIVE, WALL), (1.0, -1.0))


def test_the_edge_of_a_row_does_not_lead_to_the_next_row():
    check_end(play(position([(2, 6)], [(5, 0)]), (RIGHT, LEFT)), (WALL, WALL), (0.0, 0.0))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_heads_that_meet_in_one_cell_both_die(length):
    first = [(3, 2 - index) for index in range(min(length, 3))]
    second = [(3, 4 + index) for index in range(min(length, 3))]
    check_end(play(position(first, second), (RIGHT, LEFT)), (HEADS, HEADS), (0.0, 0.0))


@pytest.mark.parametrize(("one", "two"), [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_heads_that_change_places_both_die(one, two):
    first = [(3, 2 - index) for index in range(one)]
    second = [(3, 3 + index) for index in range(two)]
    check_end(play(position(first, second), (RIGHT, LEFT)), (HEADS, HEADS), (0.0, 0.0))


def test_a_head_on_its_own_body_dies():
    # The tail is at (4,2), so that (3,2) stays taken.
    first = [(2, 2), (2, 3), (3, 3), (3, 2), (4, 2)]
    check_end(play(position(first, [(0, 5)]), (DOWN, LEFT)), (BODY, ALIVE), (-1.0, 1.0))


def test_a_head_may_take_the_cell_that_its_own_tail_leaves():
    state = play(position([(2, 2), (2, 3), (3, 3), (3, 2)], [(0, 5)]), (DOWN, LEFT))
    assert state.fates == (ALIVE, ALIVE)
    assert state.bodies[0] == (at(3, 2), at(2, 2), at(2, 3), at(3, 3))


def test_two_cells_can_turn_back_and_three_cannot():
    turned = play(position([(3, 3), (3, 2)], [(0, 5)]), (LEFT, LEFT))
    assert turned.bodies[0] == (at(3, 2), at(3, 3))
    check_end(play(position([(3, 3), (3, 2), (3, 1)], [(0, 5)]), (LEFT, LEFT)), (BODY, ALIVE), (-1.0, 1.0))


def test_a_head_on_the_others_body_dies():
    second = [(2, 4), (3, 4), (4, 4)]
    check_end(play(position([(3, 3)], second), (RIGHT, UP)), (BODY, ALIVE), (-1.0, 1.0))
    check_end(play(position(second, [(3, 3)]), (UP, RIGHT)), (ALIVE, BODY), (1.0, -1.0))


def test_the_cell_that_the_others_head_leaves_is_its_body_unless_it_has_one_cell():
    check_end(play(position([(3, 3)], [(3, 4), (4, 4)]), (RIGHT, UP)), (BODY, ALIVE), (-1.0, 1.0))
    state = play(position([(3, 3)], [(3, 4)]), (RIGHT, UP))
    assert state.bodies == ((at(3, 4),), (at(2, 4),))


def test_a_head_may_take_the_cell_that_the_others_tail_leaves():
    state = play(position([(4, 3)], [(2, 4), (3, 4), (4, 4)]), (RIGHT, UP))
    assert state.fates == (ALIVE, ALIVE)
    assert state.bodies == ((at(4, 4),), (at(1, 4), at(2, 4), at(3, 4)))


def test_the_tail_of_a_snake_that_eats_stays_in_the_way():
    state = position([(4, 3)], [(2, 4), (3, 4), (4, 4)], apples=[(1, 4)])
    end = play(state, (RIGHT, UP))
    check_end(end, (BODY, ALIVE), (-1.0, 1.0))
    assert end.scores == (0, 1)


def test_two_heads_can_run_into_two_bodies_at_once():
    # Each head goes to a cell of the other's that no tail leaves.
    first, second = [(2, 2), (3, 2), (4, 2)], [(4, 3), (3, 3), (2, 3)]
    state = position([*first, (5, 2)], [*second, (1, 3)])
    check_end(play(state, (RIGHT, LEFT)), (BODY, BODY), (0.0, 0.0))


def test_a_snake_that_hits_the_wall_is_in_nobodys_way():
    # Seat 1 goes to (1,3), which seat 0's body would still hold.
    first = [(0, 3), (1, 3), (2, 3)]
    check_end(play(position(first, [(1, 4)]), (UP, LEFT)), (WALL, ALIVE), (-1.0, 1.0))
    check_end(play(position([(1, 4)], first), (LEFT, UP)), (ALIVE, WALL), (1.0, -1.0))


def test_a_snake_that_runs_into_a_body_still_is_in_the_way():
    # One turns back into itself while the other runs into it: OpenSpiel's snake lets seat 1 live then, but not seat 0.
    long = [(3, 3), (3, 2), (3, 1), (3, 0)]
    check_end(play(position(long, [(2, 1)]), (LEFT, DOWN)), (BODY, BODY), (0.0, 0.0))
    check_end(play(position([(2, 1)], long), (DOWN, LEFT)), (BODY, BODY), (0.0, 0.0))


@pytest.mark.parametrize(
    ("moves", "fates"), [((UP, UP), (WALL, WALL)), ((RIGHT, LEFT), (HEADS, HEADS)), ((UP, DOWN), (WALL, ALIVE))]
)
@pytest.mark.parametrize("scores", [(2, 1), (1, 2), (1, 1)])
def test_when_both_die_more_apples_win(moves, fates, scores):
    state = position([(0, 2)], [(0, 4)], scores=scores)
    lead = (scores[0] > scores[1]) - (scores[0] < scores[1])
    # Who lives wins, whatever has been eaten.
    returns = (-1.0, 1.0) if fates == (WALL, ALIVE) else (lead, -lead)
    check_end(play(state, moves), fates, returns)


@pytest.mark.parametrize(("apples", "returns"), [([(3, 2)], (1.0, -1.0)), ([(3, 4)], (-1.0, 1.0)), ([], (0.0, 0.0))])
def test_after_the_last_round_more_apples_win(apples, returns):
    game = find_game("snake_v0", rounds=2).game
    apples = apples or [FAR_APPLE]
    state = play(position([(3, 1)], [(3, 5)], apples=apples), (RIGHT, LEFT), game=game)
    assert game.returns(state) == (0.0, 0.0)
    if game.to_move(state) == CHANCE:
        state = game.next_state(state, Apple(at(6, 6)))
    state = play(state, (UP, UP), game=game)
    assert game.to_move(state) == TERMINAL
    assert state.fates == (ALIVE, ALIVE)
    assert game.returns(state) == returns


def test_an_apple_grows_its_eater_and_another_falls():
    state = play(position([(3, 1)], [(3, 5)], apples=[(3, 2)]), (RIGHT, UP))
    assert state.bodies == ((at(3, 2), at(3, 1)), (at(2, 5),))
    assert (state.scores, state.apples) == ((1, 0), ())
    assert GAME.to_move(state) == CHANCE
    taken = {at(3, 2), at(3, 1), at(2, 5)}
    assert [apple.cell for apple, _ in GAME.chance_outcomes(state)] == [c for c in range(49) if c not in taken]
    assert {chance for _, chance in GAME.chance_outcomes(state)} == {1 / 46}
    state = GAME.next_state(state, Apple(at(0, 0)))
    assert state.falls[-1] == (1, at(0, 0))
    assert play(state, (RIGHT, UP)).bodies[0] == (at(3, 3), at(3, 2))


def test_heads_that_meet_on_an_apple_do_not_eat_it():
    end = play(position([(3, 2)], [(3, 4)], apples=[(3, 3)]), (RIGHT, LEFT))
    assert (end.scores, end.apples) == ((0, 0), (at(3, 3),))
    check_end(end, (HEADS, HEADS), (0.0, 0.0))


def test_one_apple_falls_between_two_rounds_until_there_are_enough():
    game = find_game("snake_v0", apples=2).game
    state = game.next_state(game.initial_state(), Apple(at(0, 0)))
    assert game.to_move(state) == 0
    state = play(state, (UP, UP), game=game)
    assert game.to_move(state) == CHANCE
    assert Apple(at(0, 0)) not in [apple for apple, _ in game.chance_outcomes(state)]
    state = play(game.next_state(state, Apple(at(6, 0))), (UP, UP), game=game)
    assert state.apples == (at(0, 0), at(6, 0))
    assert game.to_move(state) == 0


def test_no_apple_falls_on_a_full_grid():
    game = find_game("snake_v0", width=4, height=4).game
    # Seat 0 goes round in rows 0 and 1, seat 1 in rows 2 and 3; both follow their own tails.
    first = (4, 0, 1, 2, 3, 7, 6, 5)
    full = SnakeState((first, (14, 13, 12, 8, 9, 10, 11, 15)))
    assert game.to_move(full) == 0
    assert game.chance_outcomes(full) == ()
    moved = play(full, (RIGHT, RIGHT), game=game)
    assert moved.fates == (ALIVE, ALIVE)
    assert game.to_move(moved) == 0
    # One free cell is enough.
    assert game.chance_outcomes(SnakeState((first, (14, 13, 12, 8, 9, 10, 11)))) == ((Apple(15), 1.0),)


@pytest.mark.parametrize(
    ("state", "move"),
    [
        (GAME.initial_state(), UP),
        (GAME.initial_state(), Apple(at(3, 1))),
        (GAME.initial_state(), Apple(49)),
        (GAME.initial_state(), Apple(-1)),
        (position([(3, 1)], [(3, 5)]), Apple(0)),
        (position([(3, 1)], [(3, 5)]), 4),
        (play(position([(0, 1)], [(3, 5)]), (UP, UP)), UP),
        (play(position([(0, 1)], [(3, 5)]), (UP, UP)), Apple(0)),
    ],
)
def test_nothing_moves_out_of_turn(state, move):
    with pytest.raises(IllegalMoveError, match="in snake"):
        GAME.next_state(state, move)


# A round changes the distance of the heads by an even number: an even one never lets them change places, an odd one
# never lets them meet in one cell.
@pytest.mark.parametrize(("width", "height", "meets"), [(5, 6, True), (6, 5, False)])
def test_openspiel_agrees_on_random_games(width, height, meets):
    # There snakes can change places while they have one cell, and seat 0 is taken off the grid before seat 1 is looked
    # at, so that seat 1 lives when longer ones change places, and often when both run into bodies. Such a round ends
    # the comparison of a game.
    order = {UP: 0, RIGHT: 1, DOWN: 2, LEFT: 3}
    rounds = 15
    game = find_game("snake_v0", width=width, height=height, rounds=rounds).game
    theirs = pyspiel.load_game(f"snake(rows={height},columns={width},horizon={rounds})")
    rng = random.Random(0)
    ends, most_eaten, left_out = set(), 0, 0

    def drawn(state):
        grid = ["."] * (width * height)
        for seat, body in enumerate(state.bodies):
            for index, cell in enumerate(body):
                grid[cell] = "ab"[seat] if index else str(seat)
        for cell in state.apples:
            grid[cell] = "*"
        scores = [
            f"p{at}={n}{'(dead)' if fate else ''}"
            for at, n, fate in zip((0, 1), state.scores, state.fates, strict=True)
        ]
        rows = ["".join(grid[start : start + width]) for start in range(0, width * height, width)]
        return "\n".join([*rows, f"Scores: {' '.join(scores)}", ""])

    for _ in range(600):
        state, other = game.initial_state(), theirs.new_initial_state()
        while True:
            if not other.is_terminal() and other.is_chance_node():
                outcomes = game.chance_outcomes(state)
                # Its outcomes are the numbers of the free cells, row by row.
                assert [(i, chance) for i, (_, chance) in enumerate(outcomes)] == other.chance_outcomes()
                index = rng.randrange(len(outcomes))
                state = game.next_state(state, outcomes[index][0])
                other.apply_action(index)
            assert drawn(state) == str(other)
            assert (game.to_move(state) == TERMINAL) == other.is_terminal()
            if other.is_terminal():
                ends.add(state.fates)
                break
            directions = [_some_direction(rng, state, seat, width, height) for seat in (0, 1)]
            following = play(state, directions, game=game)
            heads = [state.bodies[seat][0] for seat in (0, 1)]
            steps = {UP: -width, DOWN: width, LEFT: -1, RIGHT: 1}
            swaps = heads[0] + steps[directions[0]] == heads[1] and heads[1] + steps[directions[1]] == heads[0]
            if swaps or following.fates == (BODY, BODY):
                left_out += 1
                break
            other.apply_actions([order[direction] for direction in directions])
            state = following
        most_eaten = max(most_eaten, *state.scores)
    assert {(WALL, ALIVE), (ALIVE, BODY), (BODY, ALIVE), (ALIVE, ALIVE)} <= ends
    assert ((HEADS, HEADS) in ends) == meets
    assert most_eaten >= 4
    # An odd distance brings many changes of places.
    assert left_out < (60 if meets else 300)


def _some_direction(rng, state, seat, width, height):
    """Returns a direction that mostly stays on the grid and often goes towards the apple."""
    row, column = divmod(state.bodies[seat][0], width)
    inside = [
        direction
        for direction, stays in (
            (UP, row > 0),
            (DOWN, row < height - 1),
            (LEFT, column > 0),
            (RIGHT, column < width - 1),
        )
        if stays
    ]
    if state.apples and rng.random() < 0.5:
        apple_row, apple_column = divmod(state.apples[0], width)
        if apple_row != row:
            return UP if apple_row < row else DOWN
        return LEFT if apple_column < column else RIGHT
    return rng.choice(inside) if rng.random() < 0.97 else rng.choice(list(Direction))


def test_mirrored_play_ends_mirrored():
    mirrored = {UP: UP, DOWN: DOWN, LEFT: RIGHT, RIGHT: LEFT}
    rng = random.Random(1)
    returns = set()
    for _ in range(100):
        state = mirror = GAME.initial_state()
        while (player := GAME.to_move(state)) != TERMINAL:
            assert GAME.to_move(mirror) == player
            if player == CHANCE:
                row, column = divmod(rng.choice(GAME.chance_outcomes(state))[0].cell, 7)
                state = GAME.next_state(state, Apple(at(row, column)))
                mirror = GAME.next_state(mirror, Apple(at(row, 6 - column)))
                continue
            first, second = (_some_direction(rng, state, seat, 7, 7) for seat in (0, 1))
            state = play(state, (first, second))
            mirror = play(mirror, (mirrored[second], mirrored[first]))
        assert mirror.fates == state.fates[::-1]
        assert mirror.scores == state.scores[::-1]
        assert GAME.returns(mirror) == GAME.returns(state)[::-1]
        returns.add(GAME.returns(state))
    assert returns >= {(1.0, -1.0), (-1.0, 1.0)}


@pytest.mark.parametrize(
    "before",
    [
        position([(3, 1)], [(3, 5)]),
        play(position([(3, 1)], [(3, 5)], apples=[FAR_APPLE]), (UP, LEFT), (RIGHT, LEFT)),
        # Some of seat 0's directions end the game, some eat.
        position([(0, 0)], [(3, 5)], apples=[(0, 1)]),
    ],
)
def test_seat_1_learns_nothing_of_the_direction_before_its_own(before):
    chosen = [GAME.next_state(before, direction) for direction in Direction]
    assert [GAME.to_move(state) for state in chosen] == [1] * 4
    assert len({CODEC.observe(state, 1) for state in chosen}) == 1
    assert len({form().features(state, 1) for state in chosen}) == 1
    assert len({GAME.legal_moves(state) for state in chosen}) == 1
    assert all(SPEC.known_to(1, state) is None for state in chosen)
    # Seat 0 knows what it did.
    assert len({CODEC.observe(state, 0) for state in chosen}) == 4


def test_a_match_shows_seat_1_nothing_of_a_direction():
    seen = set()
    for text in ("[up]", "[down]", "[left]", "[right]"):
        match = make_match("snake_v0", seed=5)
        match.submit(f"I go {text}")
        assert match.turns[0].move == text
        assert match.view(1).state is None
        seen.add(match.view(1))
    assert len(seen) == 1


def test_the_observation_draws_the_grid_from_the_seats_own_side():
    state = GAME.next_state(GAME.initial_state(), Apple(at(3, 2)))
    state = play(state, (RIGHT, UP))
    state = GAME.next_state(state, Apple(at(0, 6)))
    lines = CODEC.observe(state, 0).splitlines()
    assert lines == [
        "Round 2 of 30. Apples eaten: you 1, the other 0.",
        "  0 1 2 3 4 5 6",
        "0 . . . . . . A",
        "1 . . . . . . .",
        "2 . . . . . O .",
        "3 . h H . . . .",
        "4 . . . . . . .",
        "5 . . . . . . .",
        "6 . . . . . . .",
        "Snakes from head to tail: you (3,2)(3,1), the other (2,5).",
        "Apples fell: (3,2) before round 1, (0,6) before round 2.",
        "Moves so far: you right; the other up.",
        "It is your turn.",
    ]
    theirs = CODEC.observe(state, 1).splitlines()
    assert theirs[0] == "Round 2 of 30. Apples eaten: you 0, the other 1."
    assert theirs[4:6] == ["2 . . . . . H .", "3 . o O . . . ."]
    assert theirs[9] == "Snakes from head to tail: you (2,5), the other (3,2)(3,1)."
    assert theirs[11:] == ["Moves so far: you up; the other right.", "You wait."]
    assert CODEC.observe(GAME.next_state(state, UP), 0).splitlines()[-1] == "You have chosen [up]. You wait."


def test_a_wide_grid_keeps_its_columns_in_line():
    spec = find_game("snake_v0", width=12, height=5)
    state = spec.game.next_state(spec.game.initial_state(), Apple(11))
    lines = spec.codec.observe(state, 1).splitlines()[1:7]
    assert lines[0] == "    0  1  2  3  4  5  6  7  8  9 10 11"
    assert lines[1] == " 0  .  .  .  .  .  .  .  .  .  .  .  A"
    assert lines[3] == " 2  .  O  .  .  .  .  .  .  .  .  H  ."


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        (
            play(position([(0, 2)], [(3, 5)]), (UP, UP)),
            (
                "The game is over: you hit the wall, the other lived. You have lost.",
                "The game is over: you lived, the other hit the wall. You have won.",
            ),
        ),
        (
            play(position([(3, 2)], [(3, 4)], scores=(2, 1)), (RIGHT, LEFT)),
            (
                "The game is over: you died head to head, the other died head to head. You have won.",
                "The game is over: you died head to head, the other died head to head. You have lost.",
            ),
        ),
        (
            play(position([(3, 3), (3, 2), (3, 1), (3, 0)], [(2, 1)]), (LEFT, DOWN)),
            ("The game is over: you ran into a body, the other ran into a body. It is a draw.",) * 2,
        ),
    ],
)
def test_the_end_says_who_has_won_and_why(state, ends):
    assert tuple(CODEC.observe(state, seat).splitlines()[-1] for seat in (0, 1)) == ends


def test_a_dead_snake_is_gone_from_the_grid():
    end = play(position([(0, 2), (1, 2)], [(3, 5)]), (UP, UP))
    text = CODEC.observe(end, 1)
    assert "Snakes from head to tail: you (2,5), the other gone." in text
    assert "O" not in "".join(text.splitlines()[2:9])
    assert text.startswith("Round 1 of 30.")


def test_the_tree_of_one_round_has_its_known_size_and_worth():
    counts = count_nodes("snake_v0", width=4, height=4, rounds=1)
    # 14 free cells for the apple, then 1 and 4 decisions and 16 ends for each.
    assert (counts.chance, counts.decision, counts.terminal, counts.information_sets) == (1, 70, 224, 28)
    # Both seats are equal.
    found = solve.equilibrium("snake_v0", width=4, height=4, rounds=1)
    assert found.result.on_policy_values == pytest.approx((0, 0), abs=solve.TARGET_NASH_CONV)


@pytest.mark.parametrize("text", ["[left]", "left", "LEFT", "[Left]", " [ left ] "])
def test_a_move_is_read_in_any_case_with_or_without_brackets(text):
    assert CODEC.parse_move(position([(3, 1)], [(3, 5)]), text) is LEFT


@pytest.mark.parametrize("text", ["", "[]", "[north]", "[up up]", "[[up]]", "up]", "[up", "[w]", "[0]", "[(3,1)]"])
def test_another_word_is_malformed(text):
    with pytest.raises(MalformedMoveError, match="expected \\[up\\], \\[down\\], \\[left\\] or \\[right\\]"):
        CODEC.parse_move(position([(3, 1)], [(3, 5)]), text)


def test_a_direction_after_the_end_is_illegal():
    with pytest.raises(IllegalMoveError, match="illegal move \\[up\\] in snake with no player to move"):
        CODEC.parse_move(play(position([(0, 1)], [(3, 5)]), (UP, UP)), "[up]")


@pytest.mark.parametrize(
    ("name", "low", "high"), [("width", 4, 15), ("height", 4, 15), ("apples", 1, 10), ("rounds", 1, 200)]
)
def test_an_option_out_of_range_is_refused(name, low, high):
    for value in (low - 1, high + 1, float(low), str(low), True, None):
        with pytest.raises(ValueError, match=f"option {name} of snake is .*: expected an integer from {low} to {high}"):
            find_game("snake_v0", **{name: value})
    for value in (low, high):
        find_game("snake_v0", **{name: value})


def test_the_rules_name_the_seat_and_the_options():
    spec = find_game("snake_v0", width=8, height=5, apples=3, rounds=9)
    rules = spec.codec.rules(1)
    assert rules.startswith("You are Player 1 in a game of Snake against Player 0, on a grid of 5 rows and 8 columns.")
    assert "You start on the right." in rules
    assert "a round that starts with fewer than 3 apples" in rules
    assert "both live after round 9" in rules
    assert "You start on the left." in CODEC.rules(0)
    assert "a round that starts with no apple" in CODEC.rules(0)


def test_the_numbers_are_planes_of_the_grid():
    assert form().moves == (UP, DOWN, LEFT, RIGHT)
    assert form().shape == (6, 7, 7)
    state = play(position([(3, 1), (4, 1)], [(3, 5)], apples=[(0, 0)]), (UP, UP))
    for seat, (mine, theirs) in enumerate((((0, 49), (98, 147)), ((98, 147), (0, 49)))):
        numbers = form().features(state, seat)
        assert len(numbers) == form().num_features == 294
        assert {place: number for place, number in enumerate(numbers[:245]) if number} == {
            mine[0] + at(2, 1): 1,
            mine[1] + at(2, 1): 1,
            mine[1] + at(3, 1): 1 - 1 / 49,
            theirs[0] + at(2, 5): 1,
            theirs[1] + at(2, 5): 1,
            4 * 49 + at(0, 0): 1,
        }
        assert numbers[245:] == (1 - 1 / 30,) * 49


def test_different_positions_have_different_numbers():
    rng = random.Random(2)
    numbers, seen = set(), set()
    for _ in range(50):
        state = GAME.initial_state()
        while (player := GAME.to_move(state)) != TERMINAL:
            if player == 0:
                seen.add((state.bodies, state.apples, len(state.moves)))
                numbers.add(form().features(state, 0))
                state = play(state, [_some_direction(rng, state, seat, 7, 7) for seat in (0, 1)])
            else:
                state = GAME.next_state(state, rng.choice(GAME.chance_outcomes(state))[0])
    assert len(numbers) == len(seen) > 400


@pytest.mark.parametrize("options", ["(apples=3)", "(height=4,rounds=5,width=4)", "(apples=10,height=6,width=5)"])
def test_no_law_is_broken_with_other_options(options):
    check_game(f"snake_v0{options}", num_matches=30)


def test_states_are_values():
    state = play(position([(3, 1)], [(3, 5)]), (UP, DOWN))
    assert state == play(position([(3, 1)], [(3, 5)]), (UP, DOWN))
    assert hash(state) == hash(play(position([(3, 1)], [(3, 5)]), (UP, DOWN)))


def test_a_state_made_by_hand_tells_its_moves():
    played = play(position([(3, 1)], [(3, 5)]), (UP, LEFT), (RIGHT, LEFT))
    by_hand = SnakeState(played.bodies, played.apples, ((UP, LEFT), (RIGHT, LEFT)), played.falls)
    assert by_hand == played
    assert "Moves so far: you up right; the other left left.\n" in CODEC.observe(by_hand, 0)
    assert "Moves so far: you left left; the other up right.\n" in CODEC.observe(by_hand, 1)


def test_a_pickled_state_is_the_same_state():
    state = play(position([(3, 1)], [(3, 5)]), (UP, DOWN))
    copied = pickle.loads(pickle.dumps(state))
    assert (type(copied), copied, hash(copied)) == (SnakeState, state, hash(state))
