import copy
import math
import pickle
import random
import subprocess
import sys
import time
from collections import Counter

import pytest

import spiral_envs
from spiral_envs.bridges import openspiel
from spiral_envs.bridges.openspiel import UNTESTED_LAWS, find_game, game_statuses
from spiral_envs.bridges.openspiel_game import game_of
from spiral_envs.bridges.openspiel_names import SIDES
from spiral_envs.check import check_game
from spiral_envs.errors import IllegalMoveError, MalformedMoveError, MissingExtraError, UnknownNameError
from spiral_envs.game import CHANCE, TERMINAL
from spiral_envs.solve import equilibrium, exploitability
from spiral_envs.tree import count_nodes

pyspiel = pytest.importorskip("pyspiel")

STATUSES = game_statuses()
WORKING = [status for status in STATUSES if status.works]

QUICK = (
    "kuhn_poker",
    "kuhn_poker(players=3)",
    "leduc_poker",
    "tic_tac_toe",
    "misere(game=tic_tac_toe())",
    "matrix_rps",
    "matrix_pd",
    "repeated_game(num_repetitions=3,stage_game=matrix_rps())",
    "goofspiel(num_cards=3,imp_info=True)",
    "liars_dice(dice_sides=2)",
    "phantom_ttt",
    "tiny_hanabi",
    "sheriff",
    "markov_soccer(horizon=4)",
    "quoridor(board_size=3)",
)


def uniform(view):
    return dict.fromkeys(view.legal_moves, 1 / len(view.legal_moves))


@pytest.mark.parametrize("game", QUICK)
def test_the_laws_hold(game):
    check_game(f"openspiel:{game}", num_matches=3)


def test_uniform_kuhn_poker_has_the_nash_conv_of_the_literature():
    result = exploitability("openspiel:kuhn_poker", uniform)
    # 11/12, and +1/8 for the first player: OpenSpiel, exact rationals.
    assert result.nash_conv == pytest.approx(11 / 12, abs=1e-12)
    assert result.on_policy_values == pytest.approx((1 / 8, -1 / 8), abs=1e-12)


def test_uniform_leduc_poker_has_the_nash_conv_that_openspiel_computes_itself():
    through_the_bridge = exploitability("openspiel:leduc_poker", uniform).nash_conv
    native = pyspiel.load_game("leduc_poker")
    assert through_the_bridge == pytest.approx(4.747222, abs=1e-6)
    assert through_the_bridge == pytest.approx(pyspiel.nash_conv(native, pyspiel.UniformRandomPolicy(native), True))


def test_the_equilibrium_of_kuhn_poker_is_worth_minus_one_eighteenth():
    assert equilibrium("openspiel:kuhn_poker").result.on_policy_values[0] == pytest.approx(-1 / 18, abs=1e-3)


@pytest.mark.parametrize(
    ("game", "counts"),
    [
        # chance, decision and terminal nodes and information sets: OpenSpiel's own api_test and facts of the literature
        ("openspiel:kuhn_poker", (4, 24, 30, 12)),
        ("openspiel:leduc_poker", (157, 3780, 5520, 936)),
    ],
)
def test_trees_have_the_known_numbers_of_nodes(game, counts):
    found = count_nodes(game)
    assert (found.chance, found.decision, found.terminal, found.information_sets) == counts


def test_the_native_and_the_bridged_tic_tac_toe_pay_the_same_in_random_games():
    native, bridged = spiral_envs.find_game("tic_tac_toe_v0"), find_game("openspiel:tic_tac_toe")
    rng = random.Random(0)
    for _ in range(30):
        ours, theirs = native.game.initial_state(), bridged.game.initial_state()
        while native.game.to_move(ours) != TERMINAL:
            cells = native.game.legal_moves(ours)
            assert bridged.game.legal_moves(theirs) == tuple(f"[({cell // 3},{cell % 3})]" for cell in cells)
            cell = rng.choice(cells)
            ours = native.game.next_state(ours, cell)
            theirs = bridged.game.next_state(theirs, f"[({cell // 3},{cell % 3})]")
        assert bridged.game.to_move(theirs) == TERMINAL
        assert bridged.game.returns(theirs) == native.game.returns(ours)


def test_every_shell_finds_a_bridged_game():
    env = spiral_envs.make("openspiel:leduc_poker", players=3)
    env.reset(seed=1)
    assert env.possible_agents == ["player_0", "player_1", "player_2"]
    match = spiral_envs.make_match("openspiel:leduc_poker(players=3)", seed=1)
    assert match.game == "openspiel:leduc_poker_v0(players=3)"
    agent = spiral_envs.make_agent("random", seed=0)
    while match.seat_to_move is not None:
        match.submit(agent.act([match.view(match.seat_to_move)])[0])
    assert match.outcome is not None
    assert sum(match.outcome.returns) == 0


def test_agents_that_search_play_bridged_games():
    match = spiral_envs.make_match("openspiel:tic_tac_toe", seed=0)
    agents = [spiral_envs.make_agent("minimax", seed=seed) for seed in range(2)]
    # A line of five plies first, as the whole tree of histories takes long.
    for move in ("[(0,0)]", "[(1,1)]", "[(2,2)]", "[(0,2)]", "[(2,0)]"):
        match.submit(move)
    # X threatens the left column and the bottom row: one of them cannot be stopped.
    while match.seat_to_move is not None:
        match.submit(agents[match.seat_to_move].act([match.view(match.seat_to_move)])[0])
    assert match.outcome is not None
    assert match.outcome.returns == (1.0, -1.0)


def test_the_label_of_a_game_finds_the_same_game_again():
    for game in ("openspiel:leduc_poker(players=3)", "openspiel:misere(game=tic_tac_toe())", "openspiel:kuhn_poker"):
        spec = find_game(game)
        assert find_game(spec.label) is spec


@pytest.mark.parametrize(
    ("game", "options", "label"),
    [
        ("openspiel:leduc_poker", {"players": 2}, "openspiel:leduc_poker_v0"),
        ("openspiel:leduc_poker(players=4)", {"players": 3}, "openspiel:leduc_poker_v0(players=3)"),
        ("openspiel: leduc_poker ( players = 3 )", {}, "openspiel:leduc_poker_v0(players=3)"),
        ("openspiel:misere", {"game": "tic_tac_toe"}, "openspiel:misere_v0(game=tic_tac_toe())"),
        ("openspiel:misere", {"game": "openspiel:mnk(m=3,n=3,k=3)"}, "openspiel:misere_v0(game=mnk(k=3,m=3,n=3))"),
        (
            "openspiel:repeated_game(stage_game=matrix_rps(),num_repetitions=10)",
            {},
            "openspiel:repeated_game_v0(num_repetitions=10,stage_game=matrix_rps())",
        ),
        ("openspiel:go(board_size=5)", {"komi": 5}, "openspiel:go_v0(board_size=5,komi=5.0)"),
    ],
)
def test_parameters_are_read_as_openspiel_reads_them(game, options, label):
    assert find_game(game, **options).label == label


@pytest.mark.parametrize(
    ("game", "options", "error", "message"),
    [
        ("openspiel:kuhn", {}, UnknownNameError, r"unknown game of OpenSpiel 'kuhn': did you mean .*kuhn_poker"),
        (
            "openspiel:leduc_poker(playrs=3)",
            {},
            UnknownNameError,
            r"option of openspiel:leduc_poker 'playrs': .*players",
        ),
        (
            "openspiel:leduc_poker",
            {"stack": 3},
            UnknownNameError,
            r"option of openspiel:leduc_poker 'stack': known: act",
        ),
        ("openspiel:leduc_poker", {"players": 2.5}, ValueError, r"players of .* is 2\.5: expected a value of type int"),
        ("openspiel:leduc_poker(players=x)", {}, ValueError, r"players of .* is 'x': expected a value of type int"),
        ("openspiel:leduc_poker", {"players": True}, ValueError, r"is True: expected a value of type int"),
        ("openspiel:misere", {"game": 3}, ValueError, r"is 3: expected the name of a game"),
        ("openspiel:misere", {}, ValueError, r"cannot load openspiel:misere: Missing parameter game"),
        (
            "openspiel:leduc_poker",
            {"players": 99},
            ValueError,
            r"^cannot load openspiel:leduc_poker\(players=99\): num_pl",
        ),
        ("openspiel:leduc_poker(players=", {}, ValueError, r"^cannot read game"),
        ("openspiel:leduc_poker()()", {}, ValueError, r"^cannot read game"),
        ("openspiel:efg_game", {}, ValueError, r"cannot work here: it needs a file"),
        ("openspiel:misere(game=crossword())", {}, ValueError, r"cannot work here: its actions are structures"),
        ("openspiel:negotiation", {}, ValueError, r"cannot work here: it draws its own random numbers"),
        ("openspiel:mfg_crowd_modelling", {}, ValueError, r"cannot work here: it is a mean-field game"),
        ("openspiel:liars_dice_ir", {}, ValueError, r"cannot work here: its players forget .* play liars_dice"),
        ("openspiel:hex(board_size=-3)", {}, ValueError, r"^cannot load openspiel:hex"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(game, options, error, message):
    with pytest.raises(error, match=message) as caught:
        find_game(game, **options)
    assert "\n" not in str(caught.value)
    assert "/open_spiel/" not in str(caught.value)


def test_parameters_that_would_end_the_process_are_refused_before_it():
    # OpenSpiel 2.0.2 dies of a segmentation fault on it: the default has the blinds of two players.
    with pytest.raises(ValueError, match=r"OpenSpiel ends the process"):
        find_game("openspiel:universal_poker(numPlayers=3,betting=limit)")


def test_openspiel_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspiel", None)
    with pytest.raises(MissingExtraError, match=r"spiral-selfplay\[openspiel\]"):
        find_game("openspiel:kuhn_poker")


def test_the_package_is_imported_without_openspiel():
    code = "import sys, spiral_envs; spiral_envs.game_ids(); sys.exit('pyspiel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_moves_have_no_mark_of_the_player_and_are_read_with_and_without_brackets():
    spec = find_game("openspiel:universal_poker")
    state = first_decision(spec)
    # OpenSpiel writes player=0 move=Call.
    assert "[Call]" in spec.game.legal_moves(state)
    for text in ("[Call]", "Call", "call", " [ CALL ] ", "player=0 move=Call"):
        assert spec.codec.parse_move(state, text) == "[Call]"


def test_brackets_inside_a_name_are_parentheses():
    spec = find_game("openspiel:blotto")
    assert spec.game.legal_moves(spec.game.initial_state())[0] == "[0,0,10]"
    spec = find_game("openspiel:goofspiel(num_cards=3)")
    assert spec.game.legal_moves(first_decision(spec)) == ("[1]", "[2]", "[3]")


def test_illegal_and_malformed_moves_are_told_apart():
    spec = find_game("openspiel:chess")
    state = spec.game.initial_state()
    with pytest.raises(IllegalMoveError, match=r"^illegal move \[Ke2\] in openspiel:chess: expected \[a3\] or"):
        spec.codec.parse_move(state, "[Ke2]")
    for text in ("[xqzsecret]", "[]", "", "[INST]", "[e9]", "x" * 10_000):
        with pytest.raises(MalformedMoveError, match=r"^malformed move"):
            spec.codec.parse_move(state, text)
    with pytest.raises(IllegalMoveError):
        spec.game.next_state(state, "[Ke2]")


def test_a_move_of_chance_must_be_one_of_its_outcomes():
    game = find_game("openspiel:kuhn_poker").game
    with pytest.raises(IllegalMoveError, match=r"^illegal move 7 in"):
        game.next_state(game.initial_state(), 7)


def test_states_are_values():
    game = find_game("openspiel:kuhn_poker").game
    state = game.initial_state()
    for move in (1, 0, "[Pass]"):
        following = game.next_state(state, move)
        assert game.next_state(state, move) == following
        assert hash(game.next_state(state, move)) == hash(following)
        assert following != state
        state = following
    assert copy.deepcopy(state) is state
    read = pickle.loads(pickle.dumps(state))
    assert read == state
    assert str(read.spiel) == str(state.spiel)
    other = find_game("openspiel:kuhn_poker(players=3)").game.initial_state()
    assert other != game.initial_state()


def test_the_second_of_two_simultaneous_choices_is_made_without_seeing_the_first():
    spec = find_game("openspiel:matrix_rps")
    start = spec.game.initial_state()
    texts = {spec.codec.observe(spec.game.next_state(start, move), 1) for move in spec.game.legal_moves(start)}
    assert len(texts) == 1
    own = {spec.codec.observe(spec.game.next_state(start, move), 0) for move in spec.game.legal_moves(start)}
    assert len(own) == 3
    assert not spec.perfect_information
    assert "Rock against Paper: -1 and 1" in spec.codec.rules(0)
    assert "All players choose at the same time" in spec.codec.rules(1)


def test_returns_of_a_constant_sum_are_centred():
    # Every penny that one player has the other has not: 1 and 0 become one half and its negative.
    spec = find_game("openspiel:zerosum(game=matrix_bos())")
    state = spec.game.initial_state()
    for move in ("[Bach]", "[Bach]"):
        state = spec.game.next_state(state, move)
    # 3 and 2 in OpenSpiel's game; its zero-sum form takes half their sum off each.
    assert spec.game.returns(state) == (0.5, -0.5)
    assert spec.zero_sum


def test_a_general_sum_game_is_not_zero_sum():
    spec = find_game("openspiel:matrix_pd")
    assert not spec.zero_sum
    assert spec.return_range == (0.0, 10.0)


def test_the_rules_say_who_one_is_and_how_to_reply():
    rules = find_game("openspiel:leduc_poker").codec.rules(1)
    assert "You are Player 1, one of 2 players, in a game of Leduc Poker (OpenSpiel's leduc_poker)." in rules
    assert "from -13 to 13" in rules
    assert "[Call]" in rules


@pytest.mark.parametrize("game", ["amazons", "breakthrough", "checkers", "clobber", "connect_four", "havannah", "hex",
                                  "mnk", "pentago", "phantom_ttt", "y"])  # fmt: skip
def test_the_rules_say_which_pieces_are_whose(game):
    spec = find_game(f"openspiel:{game}")
    rng, new = random.Random(0), [Counter(), Counter()]
    for _ in range(10):
        state = spec.game.initial_state()
        for _ in range(6):
            player, before = spec.game.to_move(state), str(state.spiel)
            state = spec.game.next_state(state, rng.choice(spec.game.legal_moves(state)))
            new[player].update(now for was, now in zip(before, str(state.spiel), strict=False) if was != now)
    for seat in range(2):
        mine, theirs = SIDES[game][seat], SIDES[game][1 - seat]
        assert new[seat][mine] > new[seat][theirs]
        assert f"You play {mine}." in spec.codec.rules(seat)


def test_white_is_player_1_and_moves_first_in_openspiels_chess():
    spec = find_game("openspiel:chess")
    state = spec.game.initial_state()
    assert spec.game.to_move(state) == 1
    assert " w KQkq" in spec.codec.observe(state, 1)
    assert "You play White, the capitals." in spec.codec.rules(1)
    assert "You play Black, the small letters." in spec.codec.rules(0)


def test_no_text_has_colours_for_terminals():
    spec = find_game("openspiel:twixt")
    assert "\x1b" in str(spec.game.initial_state().spiel)
    assert "\x1b" not in spec.codec.observe(spec.game.initial_state(), 0)


def test_observations_without_memory_are_preceded_by_those_before_them():
    spec = find_game("openspiel:markov_soccer(horizon=4)")
    state = first_decision(spec)
    state = spec.game.next_state(spec.game.next_state(state, "[stand]"), "[up]")
    while spec.game.to_move(state) == CHANCE:
        state = spec.game.next_state(state, spec.game.chance_outcomes(state)[0][0])
    shown = spec.codec.observe(state, 0)
    assert shown.startswith("What you saw and did before:\n- ")
    assert "  you played [stand]\n" in shown
    assert "[up]" not in shown


def test_discrete_forms_number_openspiels_actions_and_use_its_tensors():
    spec = find_game("openspiel:kuhn_poker")
    form = spec.discrete
    assert form is not None
    assert (form.moves, form.shape) == (("[Pass]", "[Bet]"), (11,))
    state = first_decision(spec)
    assert form.features(state, 0) == tuple(state.spiel.information_state_tensor(0))
    assert form.num_features == len(form.features(state, 1))
    board = find_game("openspiel:connect_four").discrete
    assert board is not None
    assert board.moves == tuple(f"[{column}]" for column in range(7))
    # A name of chess is another action elsewhere.
    assert find_game("openspiel:chess").discrete is None


def test_statuses_cover_every_game_that_openspiel_registers():
    if not set(pyspiel.registered_names()) >= {status.name for status in STATUSES}:
        pytest.skip("another version of OpenSpiel")
    ours = {status.name for status in STATUSES}
    assert {name for name in pyspiel.registered_names() if not name.startswith("python_")} == ours
    assert all((status.reason == "") == status.works for status in STATUSES)
    assert len(WORKING) == 110
    assert UNTESTED_LAWS


@pytest.mark.parametrize("status", [status for status in STATUSES if not status.works], ids=lambda status: status.name)
def test_refused_games_are_refused_for_their_reason(status):
    with pytest.raises(ValueError, match="cannot ") as caught:
        find_game(f"openspiel:{status.name}")
    assert str(caught.value).endswith(status.reason) or "Missing parameter" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("status", WORKING, ids=lambda status: status.name)
def test_every_game_plays_within_the_laws(status):
    """Plays a part of random games of every game that works; `test_the_laws_hold` tests all laws on small ones."""
    spec = find_game(f"openspiel:{status.example}")
    rules = game_of(status.example)
    assert spec.game is rules
    facts = (len(spec.roles), spec.zero_sum, not spec.perfect_information, rules.is_simultaneous)
    assert facts == (status.players, status.zero_sum, status.hidden_information, status.simultaneous)
    rng = random.Random(0)
    until = time.process_time() + 0.12
    texts: dict[tuple[int, str], tuple[object, ...]] = {}
    for number in range(10):
        play_a_part(spec, rng, until, texts)
        # The double dummy solver of bridge takes a second a game.
        if time.process_time() > until or (number and status.name == "bridge"):
            break


def play_a_part(spec, rng, until, texts):
    game, codec, form = spec.game, spec.codec, spec.discrete
    state, seen, plies = game.initial_state(), [()] * len(spec.roles), 0
    while game.to_move(state) != TERMINAL:
        player = game.to_move(state)
        assert not any(game.returns(state))
        if player == CHANCE:
            outcomes = game.chance_outcomes(state)
            assert math.fsum(probability for _, probability in outcomes) == pytest.approx(1)
            state = game.next_state(state, rng.choices(*zip(*outcomes, strict=True))[0])
            continue
        moves = game.legal_moves(state)
        assert len(set(moves)) == len(moves) > 0
        for move in rng.sample(moves, min(3, len(moves))):
            assert codec.parse_move(state, codec.format_move(move)) == move
            assert codec.parse_move(state, move[1:-1]) == move
        if game.names.table is not None:
            raw = [state.spiel.action_to_string(player, action) for action in state.spiel.legal_actions()]
            assert [game.names.written(name) for name in raw[:50]] == [re_numbered(move) for move in moves[:50]]
        shown = [codec.observe(state, seat) for seat in range(len(spec.roles))]
        seen = [past if past and past[-1] == text else (*past, text) for past, text in zip(seen, shown, strict=True)]
        known = (moves, None if spec.perfect_information else seen[player])
        assert texts.setdefault((player, shown[player]), known) == known
        if form is not None:
            assert set(moves) <= set(form.moves)
            assert len(form.features(state, player)) == form.num_features
        state = game.next_state(state, rng.choice(moves))
        plies += 1
        assert plies <= game.max_plies
        if plies > 1 and time.process_time() > until:
            return
    returns = game.returns(state)
    assert not spec.zero_sum or sum(returns) == 0
    assert spec.return_range[0] <= min(returns) <= max(returns) <= spec.return_range[1]
    assert all(codec.observe(state, seat) for seat in range(len(spec.roles)))


def re_numbered(move):
    """Returns a move without the number that tells it from another of the same name."""
    name, number, digits = move[1:-1].rpartition(" #")
    return f"[{name}]" if number and digits.isdigit() else move


@pytest.mark.parametrize("game", ["tiny_bridge_4p", "skat", "hearts", "spades", "kuhn_poker"])
def test_hidden_cards_do_not_show(game):
    """Exchanges two hidden cards of others before the first turn; whoever is to move must be shown the same text."""
    spec = find_game(f"openspiel:{game}")
    rules, rng = spec.game, random.Random(3)
    alike = 0
    for _ in range(20):
        dealt = []
        state = rules.initial_state()
        while rules.to_move(state) == CHANCE:
            dealt.append(rng.choice(rules.chance_outcomes(state))[0])
            state = rules.next_state(state, dealt[-1])
        player = rules.to_move(state)
        first, second = rng.sample(range(len(dealt)), 2)
        dealt[first], dealt[second] = dealt[second], dealt[first]
        twin = rules.initial_state()
        for card in dealt:
            if card not in dict(rules.chance_outcomes(twin)):
                break
            twin = rules.next_state(twin, card)
        else:
            if rules.to_move(twin) == player:
                alike += spec.codec.observe(twin, player) == spec.codec.observe(state, player)
    if game == "kuhn_poker":
        # With two cards of which the player sees one, an exchange always shows.
        assert alike == 0
    else:
        assert alike > 0


def test_a_bridged_game_is_loaded_once():
    assert game_of("kuhn_poker") is game_of("kuhn_poker")
    assert openspiel.find_game("openspiel:kuhn_poker") is openspiel.find_game("openspiel:kuhn_poker")


def first_decision(spec):
    state = spec.game.initial_state()
    while spec.game.to_move(state) == CHANCE:
        state = spec.game.next_state(state, spec.game.chance_outcomes(state)[0][0])
    return state
