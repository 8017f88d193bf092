import copy
import os
import pickle
import random
import re
import threading

import numpy as np
import pytest

import spiral_envs
from spiral_envs.bridges import pettingzoo as bridge
from spiral_envs.bridges.global_random import GlobalRandom
from spiral_envs.bridges.pettingzoo import UNTESTED_LAWS, PettingZooMatch, find_source, game_statuses
from spiral_envs.errors import MissingExtraError, UnknownNameError
from spiral_envs.hostile import hostile_replies
from spiral_envs.match import Fault, InvalidMove, Reply, Termination

STATUSES = {status.name: status for status in game_statuses()}

SMALL = (
    "tictactoe_v3",
    "connect_four_v3",
    "rps_v2(max_cycles=3)",
    "chess_v6",
    "go_v5(board_size=3)",
    "hanabi_v5(max_life_tokens=20)",
    "leduc_holdem_v4",
    "texas_holdem_v4(num_players=3)",
    "texas_holdem_no_limit_v6",
)


def start(game, *, seed=0, **options):
    """Returns a match, or skips where what the environment needs is not installed."""
    name = game.partition("(")[0]
    if not STATUSES[name].works:
        pytest.skip(STATUSES[name].reason)
    match = spiral_envs.make_match(f"pettingzoo:{game}", seed=seed, **options)
    assert isinstance(match, PettingZooMatch)
    return match


def mover(match):
    assert match.seat_to_move is not None
    return match.seat_to_move


def legal_of(match):
    legal = match.view(mover(match)).legal_moves
    assert legal is not None
    return legal


def range_of(match):
    return find_source(match.game).return_range


def play(match, rng, *, max_turns=40):
    """Yields before every turn of random legal moves."""
    for _ in range(max_turns):
        if match.seat_to_move is None:
            return
        yield
        match.submit(rng.choice(legal_of(match)))


def told(match):
    seats = range(len(match.roles))
    return [match.view(seat) for seat in seats], match.seat_to_move, match.outcome


def global_state():
    return pickle.dumps((random.getstate(), np.random.get_state()))


def test_statuses_name_every_environment():
    assert set(STATUSES) == {
        *(game.partition("(")[0] for game in SMALL),
        "gin_rummy_v4",
    }
    assert all(status.works == (not status.reason) for status in STATUSES.values())
    assert STATUSES["rps_v2"].simultaneous
    assert not STATUSES["hanabi_v5"].zero_sum
    assert STATUSES["leduc_holdem_v4"].hidden_information
    assert not STATUSES["chess_v6"].hidden_information
    assert UNTESTED_LAWS


@pytest.mark.parametrize(
    ("game", "options", "error", "message"),
    [
        ("connect_for_v3", {}, UnknownNameError, "did you mean connect_four_v3"),
        ("go_v5(size=9)", {}, UnknownNameError, "unknown option of pettingzoo:go_v5 'size'"),
        ("go_v5(board_size=20)", {}, ValueError, "^option board_size of .* is 20: expected an integer from 2 to 19$"),
        ("go_v5", {"board_size": True}, ValueError, "is True: expected an integer"),
        ("go_v5", {"komi": "half"}, ValueError, "is 'half': expected a number"),
        ("rps_v2", {"num_actions": 4}, ValueError, "is 4: expected an odd integer from 3 to 99"),
        ("hanabi_v5", {"observation_type": "all"}, ValueError, "is 'all': expected minimal, card_knowledge or seer"),
        ("hanabi_v5", {"random_start_player": True}, UnknownNameError, "unknown option of pettingzoo:hanabi_v5"),
        (
            "hanabi_v5(players=3,colors=2)",
            {},
            ValueError,
            "^options of pettingzoo:hanabi_v5: players is 3 and colors is 2: expected at most as many players as",
        ),
        (
            # Twice five colours of 3 + 1 cards against five hands of five.
            "hanabi_v5(players=5,colors=5,ranks=2)",
            {},
            ValueError,
            "players is 5 and hand_size is 5: expected at most 20 cards in all hands, as many as there are of 5 colors",
        ),
        ("hanabi_v5(players=5)", {"ranks": 2}, ValueError, "expected at most 20 cards"),
        ("hanabi_v5(players=3,ranks=3,hand_size=4)", {"colors": 3, "players": 5}, ValueError, "as many players as"),
        ("gin_rummy_v4", {}, ValueError, "cannot work here: PettingZoo 1.27 does not have it any more"),
    ],
)
def test_what_cannot_be_played_is_refused(game, options, error, message):
    with pytest.raises(error, match=message):
        find_source(f"pettingzoo:{game}", **options)


@pytest.mark.parametrize(
    ("options", "num_left"),
    [
        # Of three colours of 3 + 2 + 1 cards, 18 in all, three hands take 15 or 12.
        ("players=3,colors=3,ranks=3", 3),
        ("players=3,colors=3,ranks=3,hand_size=4", 6),
        # The last two combinations that can be dealt before the cards run out.
        ("players=4,colors=5,ranks=2", 0),
        ("players=5,colors=5,ranks=2,hand_size=4", 0),
    ],
)
def test_hanabi_is_dealt_as_long_as_there_are_cards(options, num_left):
    match = start(f"hanabi_v5({options})")

    assert f"Deck size: {num_left}\n" in match.view(0).observation
    for _ in play(match, random.Random(0), max_turns=1000):
        pass
    assert match.outcome is not None


def test_a_seat_that_is_to_move_without_a_legal_move_is_an_error_of_the_program():
    start("hanabi_v5")
    # With this option PettingZoo names player_0 first, whoever starts.
    game = bridge._Game("hanabi_v5", (("random_start_player", True),))
    # In half of the matches the other player starts.
    with pytest.raises(AssertionError, match="a seat that is to move has a legal move"):
        _ = [PettingZooMatch(game, seed=seed) for seed in range(32)]


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(bridge, "find_spec", lambda _: None)
    with pytest.raises(
        MissingExtraError, match=r"pettingzoo:chess_v6 \(pygame, chess\) .*spiral-selfplay\[pettingzoo\]"
    ):
        find_source("pettingzoo:chess_v6")
    assert "packages are missing: pygame" in {status.reason for status in game_statuses()}


def test_the_source_says_what_its_matches_are():
    start("go_v5")
    source = find_source("pettingzoo:go_v5(board_size=9)", komi=5)
    assert source.id == "pettingzoo:go_v5"
    assert source.label == "pettingzoo:go_v5(board_size=9,komi=5)"
    assert source.roles == ("Black", "White")
    assert (source.zero_sum, source.return_range, source.spec) == (True, (-1.0, 1.0), None)
    assert find_source(source.label) is source
    # A value that is the default changes nothing.
    assert find_source("pettingzoo:go_v5(board_size=19)") is find_source("pettingzoo:go_v5")


@pytest.mark.parametrize("game", SMALL)
def test_random_matches_end_within_the_laws(game):
    low, high = range_of(start(game))
    rng = random.Random(0)
    for seed in range(3):
        match = start(game, seed=seed)
        before = global_state()
        for _ in play(match, rng, max_turns=120 if game != "chess_v6" else 30):
            view = match.view(mover(match))
            assert view.text == f"{view.rules}\n\n{view.observation}"
            assert view.legal_moves
            assert len(set(view.legal_moves)) == len(view.legal_moves)
            assert all(match.view(seat).legal_moves == () for seat in range(len(match.roles)) if seat != view.seat)
            assert view.observation.endswith("It is your turn.")
        assert global_state() == before
        if match.outcome is not None:
            returns = match.outcome.returns
            assert low <= min(returns) <= max(returns) <= high
            assert not match.zero_sum or sum(returns) == 0
            with pytest.raises(RuntimeError, match="is over"):
                match.submit("[0]")


@pytest.mark.parametrize("game", SMALL)
def test_the_same_seed_and_replies_give_the_same_match_whatever_else_runs(game):
    seen = []
    match = start(game, seed=5)
    # What is told is wanted as it was before each turn, not as it is at the end.
    seen.extend(told(match) for _ in play(match, random.Random(1), max_turns=12))
    replies = [turn.response for turn in match.turns]
    seen.append(told(match))
    random.seed(1)
    np.random.seed(1)
    again = start(game, seed=5)
    other = play(start(game, seed=6), random.Random(2))
    assert told(again) == seen[0]
    for reply, expected in zip(replies, seen[1:], strict=False):
        next(other, None)
        again.submit(reply)
        assert told(again)[1:] == expected[1:]
    assert told(again) == seen[-1]


@pytest.mark.parametrize("game", SMALL)
def test_copies_go_on_like_the_match_and_leave_it_alone(game):
    match = start(game, seed=3)
    for _ in play(match, random.Random(3), max_turns=3):
        pass
    before = told(match)
    copies = copy.deepcopy(match), pickle.loads(pickle.dumps(match))
    ends = []
    for clone in copies:
        assert told(clone) == before
        for _ in play(clone, random.Random(4), max_turns=10):
            pass
        ends.append(told(clone))
    assert told(match) == before
    for _ in play(match, random.Random(4), max_turns=10):
        pass
    assert ends == [told(match)] * 2


@pytest.mark.parametrize("game", SMALL)
def test_moves_are_read_in_every_way_of_writing_them(game):
    match = start(game)
    for move in legal_of(match)[:6]:
        ways = (
            move,
            move[1:-1],
            f"\\boxed{{{move}}}",
            f"\\boxed{{{move[1:-1]}}}",
            f"I play {move} [at once]",
            move.upper(),
        )
        for reply in ways:
            clone = copy.deepcopy(match)
            clone.submit(reply if reply != move[1:-1] else f"\\boxed{{{reply}}}")
            assert (clone.turns[-1].move, clone.turns[-1].fault) == (move, None)


@pytest.mark.parametrize("game", SMALL)
@pytest.mark.parametrize("policy", list(InvalidMove))
def test_hostile_replies_are_moves_or_faults_and_never_reach_the_environment(game, policy):
    match = start(game, seed=1, invalid_move=policy)
    offender, legal = mover(match), legal_of(match)
    for reply in hostile_replies(legal[0]):
        clone = copy.deepcopy(match)
        clone.submit(reply)
        turn = clone.turns[-1]
        if isinstance(reply, Reply):
            assert turn.fault is reply.fault
        if turn.fault is None or policy is InvalidMove.RANDOM:
            assert turn.move in legal
        else:
            assert clone.outcome is not None
            assert (clone.outcome.termination, clone.outcome.offender) == (Termination.FORFEIT, offender)
            # With more than two seats the loss is rounded up to what the others can share.
            assert clone.outcome.returns[offender] <= range_of(match)[0]
            assert not clone.zero_sum or sum(clone.outcome.returns) == 0


def test_illegal_and_malformed_are_told_apart():
    match = start("tictactoe_v3")
    match.submit("[4]")
    taken, nonsense = copy.deepcopy(match), copy.deepcopy(match)
    taken.submit("[4]")
    assert taken.outcome is not None
    assert (taken.outcome.fault, taken.outcome.returns) == (Fault.ILLEGAL, (1.0, -1.0))
    assert taken.turns[-1].reason == (
        "illegal move [4] in pettingzoo:tictactoe_v3: expected [0] or [1] or [2] or [3] or [5] or [6] or [7] or [8]"
    )
    nonsense.submit("\\boxed{nine}")
    assert nonsense.outcome is not None
    assert nonsense.outcome.fault is Fault.MALFORMED


def test_three_marks_in_the_first_column_win():
    match = start("tictactoe_v3")
    for move in ("[0]", "[3]", "[1]", "[4]"):
        match.submit(move)
    # The cells are numbered column by column.
    assert match.view(0).observation == "Board:\n X O 6\n X O 7\n 2 5 8\nYou play X.\nIt is your turn."
    match.submit("[2]")
    assert match.outcome is not None
    assert match.outcome.returns == (1.0, -1.0)
    assert match.view(1).observation.endswith("The game is over. Your return is -1.")


def test_four_pieces_in_a_column_win():
    match = start("connect_four_v3")
    for move in ("[3]", "[0]") * 3:
        match.submit(move)
    assert " O . . X . . .\n O . . X . . .\n O . . X . . .\n 0 1 2 3 4 5 6\nYou play X." in match.view(0).observation
    match.submit("[3]")
    assert match.outcome is not None
    assert match.outcome.returns == (1.0, -1.0)


def test_a_full_column_is_not_legal():
    match = start("connect_four_v3")
    for _ in range(6):
        match.submit("[3]")
    assert legal_of(match) == ("[0]", "[1]", "[2]", "[4]", "[5]", "[6]")


def test_a_choice_does_not_show_before_both_have_chosen():
    shown = set()
    for choice in ("[rock]", "[paper]", "[scissors]"):
        match = start("rps_v2(max_cycles=2)")
        match.submit(choice)
        shown.add(match.view(1).text)
        assert f"You have chosen {choice} in this round." in match.view(0).observation
        assert "rock" not in match.view(1).observation
    assert len(shown) == 1
    match.submit("[rock]")
    # Scissors against rock.
    assert match.view(0).observation == (
        "Rounds played: 1 of 2.\nMoves so far: you [scissors], Player 1 [rock].\nIt is your turn."
    )
    match.submit("[paper]")
    match.submit("[rock]")
    assert match.outcome is not None
    assert match.outcome.returns == (0.0, 0.0)


@pytest.mark.parametrize(
    ("first", "second", "result"),
    # The fifth and fourth sign: the environment's own table of five.
    [
        ("spock", "scissors", 1),
        ("spock", "rock", 1),
        ("lizard", "spock", 1),
        ("lizard", "paper", 1),
        ("rock", "lizard", 1),
    ],
)
def test_the_rules_of_five_signs_are_what_is_played(first, second, result):
    match = start("rps_v2(num_actions=5,max_cycles=1)")
    rules = match.view(0).rules
    beaten = re.search(rf"\b{first} beats ([a-z ]+)", rules)
    assert beaten is not None
    assert second in beaten[1].split(" and ")
    match.submit(f"[{first}]")
    match.submit(f"[{second}]")
    assert match.outcome is not None
    assert match.outcome.returns == (result, -result)


def test_fools_mate():
    match = start("chess_v6")
    for move in ("[f2f3]", "[e7e5]", "[g2g4]"):
        match.submit(move)
    assert "FEN: rnbqkbnr/pppp1ppp/8/4p3/6P1/5P2/PPPPP2P/RNBQKBNR b KQkq - 0 2" in match.view(1).observation
    assert "7 p p p p . p p p" in match.view(1).observation
    assert "[d8h4]" in legal_of(match)
    match.submit("[d8h4]")
    assert match.outcome is not None
    assert match.outcome.returns == (-1.0, 1.0)


def test_a_pawn_promotes_to_what_its_move_says():
    match = start("chess_v6")
    for move in ("[a2a4]", "[b7b5]", "[a4b5]", "[h7h6]", "[b5b6]", "[h6h5]", "[b6c7]", "[h5h4]"):
        match.submit(move)
    legal = legal_of(match)
    assert {"[c7b8q]", "[c7b8n]", "[c7d8q]", "[c7d8r]"} <= set(legal)
    match.submit("[c7b8n]")
    assert "8 r N b q k b n r" in match.view(1).observation


def test_go_counts_area_and_matches_of_other_sizes_do_not_disturb_each_other():
    small, large = start("go_v5(board_size=3,komi=0.5)"), start("go_v5")
    assert len(legal_of(small)) == 10
    assert len(legal_of(large)) == 362
    small.submit("[B2]")
    large.submit("[K10]")
    assert "Board:\n 3 . . .\n 2 . X .\n 1 . . .\n   A B C\nYou play White, O." in small.view(1).observation
    for match in (small, large):
        while match.seat_to_move is not None:
            match.submit("[pass]")
        assert match.outcome is not None
        # One stone of Black's alone on the board owns all of it.
        assert match.outcome.returns == (1.0, -1.0)


def test_the_cards_of_the_others_do_not_show():
    for seed in range(20):
        match = start("leduc_holdem_v4", seed=seed)
        raw = match._table._env.env
        hands = [raw.game.players[seat].hand.get_index() for seat in range(2)]
        names = [bridge.ENVIRONMENTS["leduc_holdem_v4"].text.observe(match._table._env, seat) for seat in range(2)]
        for seat in range(2):
            mine, theirs = (f"{hand[1]}{'♠' if hand[0] == 'S' else '♥'}" for hand in (hands[seat], hands[1 - seat]))
            assert f"Your cards: {mine}." in names[seat]
            assert theirs not in match.view(seat).text
    match = start("hanabi_v5")
    assert match.view(0).observation.count("XX ||") == 5
    assert match.view(0).observation != match.view(1).observation


def test_a_fold_pays_what_is_in_the_pot():
    match = start("leduc_holdem_v4", seed=0)
    blinds = dict(re.findall(r"Player ([01]) (\d)", match.view(0).observation.split("Chips put in: ")[1]))
    seat = mover(match)
    # The small blind of 1 chip moves first; half a big blind is lost.
    assert blinds[str(seat)] == "1"
    match.submit("[fold]")
    assert match.outcome is not None
    assert match.outcome.returns[seat] == -0.5


def test_hanabi_pays_the_score_to_everybody():
    best = 0.0
    for seed in range(4):
        match = start("hanabi_v5(max_life_tokens=20,colors=2)", seed=seed)
        rng = random.Random(seed)
        while match.seat_to_move is not None:
            legal = legal_of(match)
            plays = [move for move in legal if move.startswith("[Play")]
            state = match._table._env.hanabi_env.game_state
            match.submit(rng.choice(plays or legal))
        assert match.outcome is not None
        assert match.outcome.returns == tuple(state.returns())
        best = max(best, *match.outcome.returns)
    assert best > 0


def test_the_shells_play_an_environment():
    start("tictactoe_v3")
    env = spiral_envs.make("pettingzoo:tictactoe_v3")
    env.reset(seed=1)
    for agent in env.agent_iter():
        *_, terminated, _, info = env.last()
        env.step(None if terminated else info["legal_moves"][0])
        assert agent in ("player_0", "player_1")
    episode = next(
        iter(spiral_envs.play([start("rps_v2")], [spiral_envs.make_agent("random", seed=s) for s in (0, 1)]))
    )
    assert sum(episode.outcome.returns) == 0


def test_pygame_is_imported_quietly():
    start("tictactoe_v3")
    before = os.environ.get("PYGAME_HIDE_SUPPORT_PROMPT")
    bridge._module.cache_clear()
    bridge._module("tictactoe_v3")
    assert os.environ.get("PYGAME_HIDE_SUPPORT_PROMPT") == before


def test_policies_and_seeds_are_checked():
    start("tictactoe_v3")
    source = find_source("pettingzoo:tictactoe_v3")
    with pytest.raises(UnknownNameError, match="unknown invalid_move policy 'ignore'"):
        source.start(seed=0, invalid_move="ignore")
    with pytest.raises(ValueError, match="seed is -1: expected an integer from 0"):
        source.start(seed=-1)
    with pytest.raises(ValueError, match="has seats 0 to 1, not 2"):
        source.start(seed=2**70).view(2)


def test_borrowed_random_numbers_are_those_of_their_seed_and_leave_the_others_alone():
    random.seed(7)
    np.random.seed(7)
    # An odd number of normal numbers leaves the half of a pair behind.
    np.random.randn()
    before = global_state()
    mine, drawn = GlobalRandom(5), []
    for index in range(6):
        if index == 3:
            mine, twin = pickle.loads(pickle.dumps(mine)), copy.deepcopy(mine)
        with mine.borrowed():
            drawn.append((random.random(), np.random.rand(), np.random.randn()))
    assert global_state() == before
    with twin.borrowed():
        assert (random.random(), np.random.rand(), np.random.randn()) == drawn[3]
    random.seed(5)
    np.random.seed(5)
    assert drawn == [(random.random(), np.random.rand(), np.random.randn()) for _ in range(6)]


def test_an_error_inside_gives_the_random_numbers_back():
    before = global_state()
    with pytest.raises(KeyError), GlobalRandom(1).borrowed():
        {}[random.random()]
    assert global_state() == before


def test_threads_borrow_one_after_the_other():
    def draw(seed, found):
        mine = GlobalRandom(seed)
        for _ in range(50):
            with mine.borrowed():
                found.append(random.random())

    alone, together = [], [[], []]
    draw(0, alone)
    threads = [threading.Thread(target=draw, args=(0, found)) for found in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [alone, alone]


@pytest.mark.parametrize("game", ["texas_holdem_v4", "texas_holdem_no_limit_v6", "hanabi_v5"])
def test_seeds_that_differ_above_their_lowest_bits_deal_other_cards(game):
    shown = {start(game, seed=seed << 40).view(1).observation for seed in range(20)}

    assert len(shown) >= 19


@pytest.mark.parametrize("bit", [31, 32, 40, 64, 1000])
def test_every_bit_of_a_seed_counts_for_borrowed_random_numbers(bit):
    drawn = set()
    for seed in (5, 5 + (1 << bit), 5 + (3 << bit)):
        with GlobalRandom(seed).borrowed():
            drawn.add((random.random(), np.random.rand()))

    assert len({python for python, _ in drawn}) == 3
    assert len({numpy for _, numpy in drawn}) == 3


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_seeds_that_numpy_takes_are_given_to_it_as_they_are(seed):
    np.random.seed(seed)
    expected = np.random.rand()

    with GlobalRandom(seed).borrowed():
        assert np.random.rand() == expected


@pytest.mark.parametrize("seed", [2**31, 2**32 - 1, 2**70])
def test_seeds_may_be_of_any_size(seed):
    pytest.importorskip("shimmy")
    match = spiral_envs.make_match("pettingzoo:hanabi_v5", seed=seed)

    assert match.seat_to_move is not None
    assert match.seed == seed
