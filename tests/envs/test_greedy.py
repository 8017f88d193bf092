"""The greedy agent: positions worked out by hand, and best responses to random play against known values."""

import math
from collections import Counter

import pytest

from spiral_envs import CHANCE, TERMINAL, MissingExtraError, find_game, make_agent, make_match, play, solve
from spiral_envs.agents import greedy
from spiral_envs.agents.greedy import best_moves, look_ahead
from spiral_envs.agents.registry import check_agent
from spiral_envs.games.pig_dice import PigState
from spiral_envs.match import make_view

KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"


def greedy_after(game, *moves):
    """Returns the texts, without brackets, of the moves that are equally good after `moves`."""
    spec = find_game(game)
    state = spec.game.initial_state()
    for move in moves:
        state = spec.game.next_state(state, spec.codec.parse_move(state, f"[{move}]"))
    return {spec.codec.format_move(move)[1:-1] for move in look_ahead(spec, state)}


@pytest.mark.parametrize(
    ("cells", "moves"),
    [
        # X completes the top row rather than block O's second one.
        ("0314", "2"),
        # X wins at once in any of three ways.
        ("031546", "278"),
        # O must block the top row.
        ("041", "2"),
        # O makes one threat or none, and the last move made one: X has to answer it.
        ("0481", "7"),
        # Both X's 0-1-2 and its 0-3-6 are open: every move of O loses. Those on one of the two lines leave X two
        # replies in three that do not win, after one of which O completes its own line; the others leave it one.
        ("04286", "13"),
        # X cannot win at once. Cells 4 and 8 threaten in two ways, so that no reply saves O; 2 and 7 in one way.
        ("0163", "48"),
        # Nobody can win before two more moves: nothing that greedy sees tells the moves apart.
        ("", "012345678"),
        ("0", "12345678"),
    ],
)
def test_it_wins_blocks_and_threatens_in_tic_tac_toe(cells, moves):
    assert greedy_after("tic_tac_toe_v0", *cells) == set(moves)


def test_it_walks_into_what_lies_deeper():
    # After a corner only the middle holds the draw, which takes more than two plies to see.
    assert greedy_after("tic_tac_toe_v0", 0) > {"4"}


@pytest.mark.parametrize(
    ("game", "moves"),
    [
        # Whoever takes the last object wins.
        ("nim_v0(piles=3)", {"pile 1: take 3"}),
        # To empty a pile hands the other the win. After (1, 1) every reply lets greedy win, after (2, 1) two of three.
        ("nim_v0(piles=3-1)", {"pile 1: take 2"}),
        # Whoever takes the last object loses.
        ("nim_v0(piles=2,misere=True)", {"pile 1: take 1"}),
        ("nim_v0(piles=3-1,misere=True)", {"pile 1: take 3"}),
    ],
)
def test_it_takes_the_last_object_and_leaves_none_to_take_in_nim(game, moves):
    assert greedy_after(game) == moves


def test_it_weighs_what_the_die_may_bring():
    spec = find_game("pig_dice_v0(target=3)")
    # After a roll it can win with probability 5/6, after a hold not at all at its next turn.
    (roll,) = look_ahead(spec, PigState(total=2))
    assert spec.codec.format_move(roll) == "[roll]"


def test_a_position_with_too_many_replies_is_judged_by_its_safety_alone(monkeypatch):
    monkeypatch.setattr(greedy, "MAX_POSITIONS", 10)
    assert greedy_after("tic_tac_toe_v0", *"0163") == set("24578")
    assert greedy_after("tic_tac_toe_v0", *"041") == {"2"}


def test_it_needs_a_player_to_move():
    spec = find_game("nim_v0(piles=1)")
    state = spec.game.next_state(spec.game.initial_state(), spec.game.legal_moves(spec.game.initial_state())[0])
    with pytest.raises(ValueError, match="no player is to move in this state of nim_v0"):
        look_ahead(spec, state)


def value_against_uniform(game, seat):
    """Returns what greedy in `seat` gets on average from uniformly random others, by the whole tree."""
    spec = find_game(game)

    def value(state, turn):
        player = spec.game.to_move(state)
        if player == TERMINAL:
            return spec.game.returns(state)[seat]
        if player == CHANCE:
            chances = dict(spec.game.chance_outcomes(state))
        elif player == seat:
            texts = best_moves(make_view(spec, state, seat, turn=turn))
            chances = {spec.codec.parse_move(state, text): 1 / len(texts) for text in texts}
        else:
            legal = spec.game.legal_moves(state)
            chances = {move: 1 / len(legal) for move in legal}
        following = turn + (player != CHANCE)
        return math.fsum(
            chance * value(spec.game.next_state(state, move), following) for move, chance in chances.items()
        )

    return value(spec.game.initial_state(), 0)


@pytest.mark.parametrize(("seat", "chips"), [(0, 1 / 2), (1, 5 / 12)])
def test_it_wins_all_there_is_to_win_from_a_random_player_in_kuhn_poker(seat, chips):
    assert value_against_uniform(KUHN, seat) == pytest.approx(chips, abs=1e-12)


@pytest.mark.parametrize(
    "game",
    [
        # Taken hand by hand, while OpenSpiel knows the whole match.
        "kuhn_poker_v0(hands=2)",
        "kuhn_poker_v0(hands=2,payoff=chips)",
        "kuhn_poker_v0(hands=1,cards=5)",
        "kuhn_poker_v0(hands=1,players=3,payoff=chips)",
        "leduc_poker_v0",
        "rock_paper_scissors_v0(rounds=2)",
    ],
)
def test_it_wins_as_much_from_random_players_as_openspiel_says_can_be_won(game):
    pytest.importorskip("pyspiel")

    def uniform(view):
        return dict.fromkeys(view.legal_moves, 1 / len(view.legal_moves))

    best = solve.exploitability(game, uniform).best_response_values
    assert [value_against_uniform(game, seat) for seat in range(len(best))] == pytest.approx(best, abs=1e-9)


def test_it_beats_random_in_the_default_match_of_five_hands():
    agents = [make_agent("greedy", seed=1), make_agent("random", seed=2)]
    for seats in ((0, 1), (1, 0)):
        episodes = play(
            (make_match("kuhn_poker_v0", seed=seed) for seed in range(400)), [agents[seat] for seat in seats]
        )
        returns = [episode.outcome.returns[seats.index(0)] for episode in episodes]
        # 0.57 and 0.55 expected, with a standard error of 0.04.
        assert 0.4 < sum(returns) / 400 < 0.7


@pytest.mark.parametrize("game", ["tic_tac_toe_v0", "rock_paper_scissors_v0"])
def test_equals_are_drawn_evenly_and_from_the_seed(game):
    match = make_match(game, seed=0)
    assert match.seat_to_move is not None
    view = match.view(match.seat_to_move)
    assert view.legal_moves is not None
    agent = make_agent("greedy", seed=3)
    drawn = agent.act([view] * 4500)
    assert drawn == make_agent("greedy", seed=3).act([view] * 4500)
    assert drawn != make_agent("greedy", seed=4).act([view] * 4500)
    assert isinstance(agent, greedy.GreedyAgent)
    agent.reseed(3)
    assert agent.act([view] * 4500) == drawn
    # 500 expected of nine moves and 1500 of three, with a standard deviation of 21 and 32.
    expected = 4500 / len(view.legal_moves)
    counts = Counter(drawn)
    assert set(counts) == set(view.legal_moves)
    assert all(abs(count - expected) < 4 * math.sqrt(expected) for count in counts.values())


@pytest.mark.parametrize(
    ("game", "said"),
    [
        ("simple_negotiation_v0", "players may say words of their own"),
        ("snake_v0", "is too large to walk"),
        ("liars_dice_v0(dice=2)", "is too large to walk"),
    ],
)
def test_it_refuses_a_game_that_it_cannot_play(game, said, monkeypatch):
    monkeypatch.setattr("spiral_envs.tree.MAX_NODES", 1_000)
    with pytest.raises(ValueError, match=rf"the greedy agent cannot play .*{said}"):
        make_agent("greedy").act([make_match(game, seed=0).view(0)])
    with pytest.raises(ValueError, match=rf"the greedy agent cannot play .*{said}"):
        check_agent("greedy", [game])


def test_it_refuses_a_game_whose_rules_are_not_here():
    try:
        with pytest.raises(ValueError, match="cannot play pettingzoo:connect_four_v3: its rules are not here"):
            check_agent("greedy", ["pettingzoo:connect_four_v3"])
    except MissingExtraError:
        pytest.skip("the games of PettingZoo are not installed")


def test_it_refuses_a_view_that_it_does_not_know():
    view = make_match("leduc_poker_v0", seed=0).view(0)
    with pytest.raises(ValueError, match=r"the greedy agent cannot play leduc_poker_v0: .*no such view: 'changed'"):
        make_agent("greedy").act([view._replace(observation="changed")])


@pytest.mark.parametrize("game", ["tic_tac_toe_v0", "connect_four_v0", "kuhn_poker_v0", "leduc_poker_v0"])
def test_a_game_that_it_can_play_passes_the_check(game):
    check_agent("greedy", [game])
    with pytest.raises(ValueError, match="agent 'greedy' takes no argument, got 'greedy:2'"):
        check_agent("greedy:2", [game])
