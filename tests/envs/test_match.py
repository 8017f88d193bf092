"""One match: turns, faults, endings, randomness, and what reading and copying change."""

import copy
import pickle
import random

import numpy as np
import pytest

from spiral_envs import (
    TERMINAL,
    Fault,
    GameMatch,
    GameSpec,
    IllegalMoveError,
    Outcome,
    Reply,
    Termination,
    UnknownNameError,
    find_game,
    make_agent,
    make_match,
    play,
)
from spiral_envs.extraction import Rule
from spiral_envs.games.tic_tac_toe import TicTacToe
from spiral_envs.games.truth_and_deception import Say
from spiral_envs.match import _MAX_SIZE, _positions, forfeit_returns, make_view

GAMES = (
    "tic_tac_toe_v0",
    "kuhn_poker_v0",
    "kuhn_poker_v0(hands=1,payoff=chips)",
    "simple_negotiation_v0(values=drawn)",
)


def legal(match):
    """Returns the legal moves of the seat to move."""
    assert match.seat_to_move is not None
    moves = match.view(match.seat_to_move).legal_moves
    assert moves
    return moves


def ending(match):
    """Returns how a match that is over ended."""
    assert match.outcome is not None
    return match.outcome


def play_randomly(match, seed):
    """Plays legal moves drawn from `seed` until the match is over."""
    rng = random.Random(seed)
    while match.seat_to_move is not None:
        match.submit(rng.choice(legal(match)))
    return match


def test_a_finished_match_records_every_turn():
    match = make_match("tic_tac_toe_v0", seed=0)
    for reply in ("[0]", "I take \\boxed{3}", "\\boxed{[1]}", "the middle: [4]", "[2]"):
        assert match.outcome is None
        match.submit(reply)
    assert match.seat_to_move is None
    assert match.outcome == Outcome((1.0, -1.0), Termination.FINISHED)
    assert [turn.seat for turn in match.turns] == [0, 1, 0, 1, 0]
    assert [turn.move for turn in match.turns] == ["[0]", "[3]", "[1]", "[4]", "[2]"]
    assert [turn.rule for turn in match.turns] == [
        Rule.OWN_TEXT,
        Rule.BOXED,
        Rule.BOXED,
        Rule.BRACKETED,
        Rule.OWN_TEXT,
    ]
    assert match.turns[1].response == "I take \\boxed{3}"
    assert match.turns[1].observation == "Board:\n X 1 2\n 3 4 5\n 6 7 8\nYou play O. It is your turn."
    assert all(turn.fault is None and turn.reason == "" and turn.trainable for turn in match.turns)


def test_a_reply_after_the_end_raises():
    match = play_randomly(make_match("tic_tac_toe_v0", seed=0), 1)
    outcome, turns = match.outcome, match.turns
    with pytest.raises(RuntimeError, match="this match of tic_tac_toe_v0 is over"):
        match.submit("[0]")
    assert (match.outcome, match.turns) == (outcome, turns)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("offender", [0, 1])
@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("", Fault.MALFORMED),
        ("nonsense", Fault.MALFORMED),
        ("\\boxed{nonsense}", Fault.MALFORMED),
        (Reply("[0]", Fault.TRUNCATED), Fault.TRUNCATED),
        (Reply(fault=Fault.PROMPT_TOO_LONG), Fault.PROMPT_TOO_LONG),
    ],
)
def test_a_forfeit_costs_the_offender_the_lowest_return_and_sums_to_zero(game, offender, reply, fault):
    # SPIRAL's release pays -1.5 and +0.5.
    match = make_match(game, seed=2)
    while match.seat_to_move != offender:
        match.submit(legal(match)[0])
    match.submit(reply)
    low, high = find_game(game).return_range
    outcome = ending(match)
    assert outcome.returns == ((low, high) if offender == 0 else (high, low))
    assert sum(outcome.returns) == 0
    assert (outcome.termination, outcome.offender, outcome.fault) == (Termination.FORFEIT, offender, fault)
    assert outcome.reason.startswith(f"{match.roles[offender]} forfeits: ")
    assert match.seat_to_move is None
    assert (match.turns[-1].fault, match.turns[-1].move) == (fault, None)
    assert match.turns[-1].response == reply


@pytest.mark.parametrize("game", GAMES)
def test_no_finished_game_is_worse_than_a_forfeit(game):
    low, high = find_game(game).return_range
    for seed in range(30):
        returns = ending(play_randomly(make_match(game, seed=seed), seed)).returns
        assert sum(returns) == 0
        assert all(low <= value <= high for value in returns)


def test_an_illegal_move_is_not_malformed():
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit("[4]")
    match.submit("\\boxed{4}")
    assert ending(match).fault is Fault.ILLEGAL
    assert ending(match).reason == "O forfeits: illegal move [4] in tic_tac_toe: X is there"
    assert match.turns[1].reason == "illegal move [4] in tic_tac_toe: X is there"
    assert match.turns[1].rule is Rule.BOXED


def test_a_faulty_reply_is_charged_without_being_read():
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit(Reply("[4]", Fault.TRUNCATED))
    assert ending(match).fault is Fault.TRUNCATED
    assert match.turns[0].rule is Rule.NONE
    assert ending(match).reason == "X forfeits: the reply was cut by the length limit"


def test_a_reply_without_a_fault_is_an_ordinary_text():
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit(Reply("[4]"))
    assert match.turns[0].move == "[4]"
    assert match.turns[0].fault is None


def test_a_random_move_takes_the_place_of_a_fault():
    moves = set()
    for seed in range(200):
        match = make_match("tic_tac_toe_v0", seed=seed, invalid_move="random")
        match.submit("nonsense")
        turn = match.turns[0]
        assert (turn.fault, turn.reason) == (Fault.MALFORMED, "no \\boxed{} and no bracketed move")
        assert match.outcome is None
        assert match.seat_to_move == 1
        moves.add(turn.move)
    assert moves == {f"[{cell}]" for cell in range(9)}


@pytest.mark.parametrize("game", GAMES)
def test_nonsense_alone_finishes_a_match_of_random_moves(game):
    match = make_match(game, seed=7, invalid_move="random")
    while match.seat_to_move is not None:
        match.submit("nonsense")
    assert ending(match).termination is Termination.FINISHED
    assert all(turn.fault is Fault.MALFORMED and turn.move is not None for turn in match.turns)


def test_an_unknown_policy_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown invalid_move policy 'forfiet': did you mean forfeit\\?"):
        make_match("tic_tac_toe_v0", seed=0, invalid_move="forfiet")


def test_a_fault_of_the_program_raises_and_costs_nobody_the_game():
    class Broken(TicTacToe):
        def next_state(self, state, move):
            raise ZeroDivisionError

    spec = find_game("tic_tac_toe_v0")

    broken = GameSpec(
        name="broken", version=0, game=Broken(), codec=spec.codec, roles=("X", "O"), return_range=(-1.0, 1.0)
    )
    match = GameMatch(broken, seed=0)
    with pytest.raises(ZeroDivisionError):
        match.submit("[4]")
    assert match.outcome is None
    assert match.seat_to_move == 0


@pytest.mark.parametrize("game", GAMES)
def test_the_same_seed_and_replies_give_the_same_match(game):
    first = play_randomly(make_match(game, seed=11), 5)
    again = play_randomly(make_match(game, seed=11), 5)
    assert first.turns == again.turns
    assert first.outcome == again.outcome


def test_another_seed_deals_other_cards():
    texts = {make_match("kuhn_poker_v0", seed=seed).view(0).observation for seed in range(50)}
    assert len(texts) == 3


def test_cards_are_dealt_uniformly():
    deals = [
        tuple(make_match("kuhn_poker_v0", seed=seed).view(seat).observation[21] for seat in (0, 1))
        for seed in range(6000)
    ]
    for deal in ("JQ", "JK", "QJ", "QK", "KJ", "KQ"):
        # 1000 expected, standard deviation 29.
        assert 880 < deals.count(tuple(deal)) < 1120


@pytest.mark.parametrize("game", GAMES)
def test_the_global_random_numbers_are_neither_read_nor_changed(game):
    results = []
    for global_seed in (1, 2):
        random.seed(global_seed)
        np.random.seed(global_seed)
        before = random.getstate(), pickle.dumps(np.random.get_state())
        match = make_match(game, seed=3, invalid_move="random")
        while match.seat_to_move is not None:
            match.submit("nonsense")
        assert (random.getstate(), pickle.dumps(np.random.get_state())) == before
        results.append(match.turns)
    assert results[0] == results[1]


@pytest.mark.parametrize("game", GAMES)
def test_matches_in_progress_at_once_do_not_touch_each_other(game):
    alone = [play_randomly(make_match(game, seed=seed), seed).turns for seed in range(20)]
    together = [make_match(game, seed=seed) for seed in range(20)]
    rngs = [random.Random(seed) for seed in range(20)]
    while any(match.seat_to_move is not None for match in together):
        for match, rng in zip(together, rngs, strict=True):
            if match.seat_to_move is not None:
                match.submit(rng.choice(legal(match)))
    assert [match.turns for match in together] == alone


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda match: pickle.loads(pickle.dumps(match))])
def test_a_copy_in_the_middle_goes_on_like_the_original(game, copied):
    match = make_match(game, seed=4, invalid_move="random")
    match.submit("nonsense")
    match.submit("nonsense")
    twin = copied(match)
    assert twin.turns == match.turns
    while match.seat_to_move is not None:
        assert twin.view(twin.seat_to_move)[:7] == match.view(match.seat_to_move)[:7]
        match.submit("nonsense")
        twin.submit("nonsense")
    assert twin.turns == match.turns
    assert twin.outcome == match.outcome


@pytest.mark.parametrize("game", GAMES)
def test_a_copy_does_not_move_the_original(game):
    match = make_match(game, seed=4)
    twin = copy.deepcopy(match)
    twin.submit("nonsense")
    assert match.outcome is None
    assert match.turns == ()


@pytest.mark.parametrize("game", GAMES)
def test_looking_changes_nothing(game):
    looked, plain = make_match(game, seed=8), make_match(game, seed=8)
    rng, same = random.Random(0), random.Random(0)
    while looked.seat_to_move is not None:
        for seat in (0, 1, 0):
            assert looked.view(seat) == looked.view(seat)
        looked.submit(rng.choice(legal(looked)))
        plain.submit(same.choice(legal(plain)))
    assert looked.turns == plain.turns


def test_a_view_says_rules_observation_role_seat_moves_and_turn():
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit("[4]")
    view = match.view(1)
    assert view.text == f"{view.rules}\n\n{view.observation}"
    assert view.rules.startswith("You play O")
    assert view.observation.startswith("Board:\n 0 1 2\n 3 X 5")
    assert (view.role, view.seat, view.turn, view.game) == ("O", 1, 1, "tic_tac_toe_v0")
    assert view.legal_moves == ("[0]", "[1]", "[2]", "[3]", "[5]", "[6]", "[7]", "[8]")
    assert view.state.board[4] == 0
    assert match.view(0).legal_moves == ()


@pytest.mark.parametrize("seat", [-1, 2])
def test_a_view_of_no_seat_is_refused(seat):
    with pytest.raises(ValueError, match="has seats 0 to 1"):
        make_match("tic_tac_toe_v0", seed=0).view(seat)


@pytest.mark.parametrize("game", GAMES)
def test_make_view_shows_what_the_match_shows(game):
    spec = find_game(game)
    match = GameMatch(spec, seed=6)
    rng = random.Random(0)
    while match.seat_to_move is not None:
        for seat in (0, 1):
            assert make_view(spec, match.state, seat, turn=len(match.turns)) == match.view(seat)
        match.submit(rng.choice(legal(match)))
    assert spec.game.to_move(match.state) == TERMINAL


def test_hidden_information_stays_out_of_a_view():
    match = GameMatch(find_game("kuhn_poker_v0"), seed=0)
    state = match.state
    for seat in (0, 1):
        # Whatever a view carries besides its text belongs to the seat: the state itself is not handed out.
        assert match.view(seat).state is not state
        assert match.view(seat).text.count(f"your card is {state.hand.cards[seat].name}") == 1
        assert f"your card is {state.hand.cards[1 - seat].name}" not in match.view(seat).text


def test_reasoning_is_never_shown_to_the_other():
    match = make_match("kuhn_poker_v0", seed=0)
    match.submit("<think>I hold a secret</think> My secret plan: \\boxed{check}")
    assert "secret" not in match.view(1).text
    assert "the other checked" in match.view(1).text


@pytest.mark.parametrize(
    "reply", ["\ud800", "\x00" * 100, "[" * 100_000, "\\boxed{" * 20_000, "<|im_end|>\\boxed{[4]<|im_end|>}", "𝟜", "٤"]
)
def test_a_hostile_reply_is_a_fault_and_no_crash(reply):
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit(reply)
    assert ending(match).fault is Fault.MALFORMED
    assert len(ending(match).reason) < 200


def test_an_unpickled_match_shares_the_game_with_all_others():
    match = make_match("kuhn_poker_v0(hands=2,payoff=chips)", seed=3)

    copied = pickle.loads(pickle.dumps(match))

    assert isinstance(match, GameMatch)
    assert copied.spec is match.spec
    assert len(pickle.dumps(match)) < 1000


def test_play_takes_a_move_of_the_game_that_is_not_listed():
    match = GameMatch(find_game("truth_and_deception_v0"), seed=1)

    match.play(Say("hello there"))

    assert match.turns[0].move == "[Say: hello there]"


def test_play_refuses_an_illegal_move_and_changes_nothing():
    match = GameMatch(find_game("tic_tac_toe_v0"), seed=0)
    match.play(4)

    with pytest.raises(IllegalMoveError, match=r"illegal move \[4\]"):
        match.play(4)

    assert len(match.turns) == 1
    assert match.seat_to_move == 1


def test_a_view_says_whether_its_moves_are_samples():
    assert make_match("truth_and_deception_v0", seed=0).view(0).talk
    assert not make_match("tic_tac_toe_v0", seed=0).view(0).talk


def test_after_a_forfeit_everyone_is_told_and_nobody_reads_the_reply():
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit("my secret plan")

    for seat in (0, 1):
        last = match.view(seat).text.splitlines()[-1]
        assert last == "The game is over: X made an invalid move and forfeits."
        assert "secret" not in match.view(seat).text


def test_a_forfeit_of_one_of_several_is_shared_by_the_others_in_whole_numbers():
    assert forfeit_returns(1, num_seats=3, return_range=(-2.0, 4.0), zero_sum=True) == (1.0, -2.0, 1.0)
    assert forfeit_returns(0, num_seats=4, return_range=(-13.0, 39.0), zero_sum=True) == (-15.0, 5.0, 5.0, 5.0)
    assert forfeit_returns(0, num_seats=2, return_range=(-1.0, 3.0), zero_sum=False) == (-1.0, 0.0)
    assert forfeit_returns(0, num_seats=2, return_range=(2.0, 3.0), zero_sum=False) == (2.0, 2.0)


def test_long_texts_are_not_remembered_without_bound():
    game = "leduc_poker_v0(players=10,hands=40)"
    agent = make_agent("random")
    for seed in range(4):
        list(play([make_match(game, seed=seed)], [agent] * 10))

    positions = _positions(find_game(game))
    held = sum(len(position.observation) for position in positions._known.values())

    assert held < _MAX_SIZE
    assert positions._size <= _MAX_SIZE + 100_000
