"""The agents without a model: random, first, minimax of whole games, cfr, and functions."""

from collections import Counter

import pytest

from spiral_envs import TERMINAL, UnknownNameError, find_game, make_agent, make_match, play, solve
from spiral_envs.agents import ScriptedAgent, agent_names
from spiral_envs.agents.cfr import CfrAgent, _solve_hand
from spiral_envs.agents.minimax import MinimaxAgent, move_values, optimal_moves
from spiral_envs.games.kuhn_poker import KuhnPoker
from spiral_envs.match import make_view
from spiral_envs.tree import walk

TIC_TAC_TOE = find_game("tic_tac_toe_v0")
KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"


def after(*cells):
    state = TIC_TAC_TOE.game.initial_state()
    for cell in cells:
        state = TIC_TAC_TOE.game.next_state(state, cell)
    return state


def view_after(*cells):
    state = after(*cells)
    return make_view(TIC_TAC_TOE, state, TIC_TAC_TOE.game.to_move(state), turn=len(cells))


def test_the_built_in_agents_are_found_by_name():
    assert agent_names()[:8] == ("random", "greedy", "minimax", "cfr", "first", "mcts", "human", "openai")
    names = (
        "random",
        "greedy",
        "minimax",
        "cfr",
        "first",
        "human",
        "minimax:4",
        "mcts:50",
        "openai:m@http://127.0.0.1:9/v1",
    )
    assert [make_agent(name).name for name in names] == list(names)


def test_an_unknown_agent_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown agent 'minmax': did you mean minimax"):
        make_agent("minmax")


@pytest.mark.parametrize("text", ["random:3", "greedy:1", "cfr:", "first:1", "human:me"])
def test_an_argument_to_an_agent_that_takes_none_is_refused(text):
    kind = text.partition(":")[0]
    with pytest.raises(ValueError, match=f"agent '{kind}' takes no argument, got '{text}'"):
        make_agent(text)


def test_first_plays_the_first_legal_move():
    assert make_agent("first").act([view_after(), view_after(0, 2)]) == ["[0]", "[1]"]
    with pytest.raises(ValueError, match="the first agent needs a list of legal moves; tic_tac_toe_v0 gave None"):
        make_agent("first").act([view_after()._replace(legal_moves=None)])


def test_a_function_is_an_agent():
    def last_legal_move(view):
        return view.legal_moves[-1]

    agent = ScriptedAgent(last_legal_move, name="last")
    assert agent.act([view_after(), view_after(8)]) == ["[8]", "[7]"]
    (episode,) = play([make_match("tic_tac_toe_v0", seed=0)], [agent, ScriptedAgent(last_legal_move)])
    assert episode.agents == ("last", "scripted")
    assert [turn.move for turn in episode.turns] == ["[8]", "[7]", "[6]", "[5]", "[4]", "[3]", "[2]"]


def test_random_moves_are_uniform():
    view = view_after()
    replies = Counter(make_agent("random", seed=5).act([view] * 9000))
    # 1000 expected of each, standard deviation 30.
    assert set(replies) == {f"[{cell}]" for cell in range(9)}
    assert all(880 < count < 1120 for count in replies.values())


@pytest.mark.parametrize("name", ["random", "greedy", "minimax", "cfr"])
def test_an_agent_repeats_itself_from_its_seed_and_no_two_seeds_agree(name):
    views = [view_after()] * 50 if name != "cfr" else list(solve.information_sets(KUHN).values()) * 5
    assert make_agent(name, seed=1).act(views) == make_agent(name, seed=1).act(views)
    assert make_agent(name, seed=1).act(views) != make_agent(name, seed=2).act(views)


def test_a_batch_is_answered_as_its_views_one_by_one():
    views = [view_after(), view_after(4), view_after(4, 0)]
    one_by_one = make_agent("random", seed=3)
    assert make_agent("random", seed=3).act(views) == [reply for view in views for reply in one_by_one.act([view])]
    assert make_agent("random").act([]) == []


@pytest.mark.parametrize("legal", [(), None])
def test_the_random_agent_needs_legal_moves(legal):
    with pytest.raises(ValueError, match="needs a list of legal moves; tic_tac_toe_v0 gave"):
        make_agent("random").act([view_after()._replace(legal_moves=legal)])


def test_two_perfect_players_draw():
    assert optimal_moves(TIC_TAC_TOE, after()) == (0.0, tuple(range(9)))
    agents = [make_agent("minimax", seed=1), make_agent("minimax", seed=2)]
    episodes = list(play((make_match("tic_tac_toe_v0", seed=seed) for seed in range(50)), agents))
    assert {episode.outcome.returns for episode in episodes} == {(0.0, 0.0)}
    # The games vary, since there are many optimal moves.
    assert len({tuple(turn.move for turn in episode.turns) for episode in episodes}) > 20


@pytest.mark.parametrize(
    ("cells", "value", "moves"),
    [
        # X has two in a row and wins at once.
        ((0, 3, 1, 4), 1.0, (2,)),
        # O must block, and then holds the draw.
        ((4, 0, 2), 0.0, (6,)),
        # A corner opening is held only in the middle.
        ((0,), 0.0, (4,)),
        # The middle opening is held only in the corners.
        ((4,), 0.0, (0, 2, 6, 8)),
        # O answered a corner on the edge: X wins.
        ((0, 1), 1.0, (3, 4, 6)),
        # X threatens twice: every move of O loses.
        ((0, 8, 6, 3, 2), -1.0, (1, 4, 5, 7)),
    ],
)
def test_optimal_moves_are_the_known_ones(cells, value, moves):
    assert optimal_moves(TIC_TAC_TOE, after(*cells)) == (value, moves)


def test_move_values_are_those_of_the_seat_to_move():
    assert move_values(TIC_TAC_TOE, after(0)) == {cell: 0.0 if cell == 4 else -1.0 for cell in range(1, 9)}
    assert move_values(TIC_TAC_TOE, after(0, 3, 1, 4))[2] == 1.0
    assert move_values(TIC_TAC_TOE, after(0, 3, 1, 4, 8))[5] == 1.0


@pytest.mark.parametrize("seat", [0, 1])
def test_minimax_never_loses_against_any_line_of_play(seat):
    game = TIC_TAC_TOE.game
    pending, seen = [game.initial_state()], set()
    agent = MinimaxAgent(seed=0)
    while pending:
        state = pending.pop()
        if state in seen:
            continue
        seen.add(state)
        if game.to_move(state) == TERMINAL:
            assert game.returns(state)[seat] >= 0
            continue
        moves = game.legal_moves(state)
        if game.to_move(state) == seat:
            _, moves = optimal_moves(TIC_TAC_TOE, state)
            (reply,) = agent.act([make_view(TIC_TAC_TOE, state, seat, turn=0)])
            assert reply in {f"[{move}]" for move in moves}
        pending.extend(game.next_state(state, move) for move in moves)


def test_minimax_beats_random_as_often_as_perfect_play_can():
    # A best response to random play gets 0.9948 as X and 0.9249 as O; perfect play cannot get more, and does not lose.
    for seats in ((0, 1), (1, 0)):
        agents = [make_agent("minimax", seed=1), make_agent("random", seed=2)]
        episodes = play(
            (make_match("tic_tac_toe_v0", seed=seed) for seed in range(400)), [agents[seat] for seat in seats]
        )
        returns = [episode.outcome.returns[seats.index(0)] for episode in episodes]
        assert min(returns) >= 0
        assert sum(returns) / 400 > 0.75


@pytest.mark.parametrize("game", ["kuhn_poker_v0", "simple_negotiation_v0"])
def test_minimax_refuses_a_game_that_it_cannot_play(game):
    with pytest.raises(ValueError, match=r"the minimax agent cannot play .* it needs two players, perfect information"):
        make_agent("minimax").act([make_match(game, seed=0).view(0)])
    spec = find_game(game)
    with pytest.raises(ValueError, match=f"cannot play {game}"):
        optimal_moves(spec, spec.game.initial_state())


def test_minimax_values_need_a_player_to_move():
    with pytest.raises(ValueError, match="no player is to move in this state of tic_tac_toe_v0"):
        optimal_moves(TIC_TAC_TOE, after(0, 3, 1, 4, 2))


def test_cfr_plays_kuhns_equilibrium():
    result = solve.exploitability(KUHN, CfrAgent(seed=0).policy)
    assert result.nash_conv < 1e-3
    assert result.on_policy_values[0] == pytest.approx(-1 / 18, abs=1e-3)


def test_cfr_plays_as_often_as_kuhn_says():
    agent = CfrAgent(seed=7)
    chances = {}
    for view in solve.information_sets(KUHN).values():
        replies = Counter(agent.act([view] * 4000))
        for move, probability in agent.policy(view).items():
            # The standard deviation is at most 0.008.
            assert replies[move] / 4000 == pytest.approx(probability, abs=0.03)
        bold = "[call]" if "[call]" in agent.policy(view) else "[bet]"
        card = view.observation.partition("your card is ")[2][0]
        chances[view.seat, card, bold] = agent.policy(view)[bold]
    # Kuhn 1950: seat 1 is bound to these, seat 0 chooses its bluff from 0 to 1/3.
    bound = {("J", "[bet]"): 1 / 3, ("Q", "[bet]"): 0, ("K", "[bet]"): 1}
    bound |= {("J", "[call]"): 0, ("Q", "[call]"): 1 / 3, ("K", "[call]"): 1}
    for (card, bold), chance in bound.items():
        assert chances[1, card, bold] == pytest.approx(chance, abs=0.02)
    bluff = chances[0, "J", "[bet]"]
    assert -0.01 < bluff < 1 / 3 + 0.01
    assert chances[0, "K", "[bet]"] == pytest.approx(3 * bluff, abs=0.03)
    assert chances[0, "Q", "[call]"] == pytest.approx(bluff + 1 / 3, abs=0.03)
    assert chances[0, "Q", "[bet]"] == pytest.approx(0, abs=0.01)
    assert chances[0, "J", "[call]"] == pytest.approx(0, abs=0.01)
    assert chances[0, "K", "[call]"] == pytest.approx(1, abs=0.01)


def policy_by_situation(game):
    """Returns the cfr agent's policy, told the situation that every view of `game` belongs to."""
    spec = find_game(game)
    rules = spec.game
    assert isinstance(rules, KuhnPoker)
    situations = {
        (player, spec.codec.observe(state, player)): rules.situation(state, player)
        for state, player, _ in walk(spec)
        if player >= 0
    }
    agent = CfrAgent(seed=0)
    return lambda view: agent.policy(view._replace(state=situations[view.seat, view.observation]))


@pytest.mark.parametrize(
    ("game", "value"),
    [
        ("kuhn_poker_v0(hands=1)", 0.0),
        ("kuhn_poker_v0(hands=2)", 0.0),
        # The seats move first equally often, and lose 1/18 as such.
        ("kuhn_poker_v0(hands=2,payoff=chips)", 0.0),
        ("kuhn_poker_v0(hands=3,payoff=chips)", -1 / 18),
    ],
)
def test_several_hands_solved_one_by_one_are_an_equilibrium_of_the_whole_match(game, value):
    result = solve.exploitability(game, policy_by_situation(game))
    assert result.nash_conv < 1e-3
    assert result.on_policy_values[0] == pytest.approx(value, abs=1e-3)


def test_cfr_plays_the_default_match_of_five_hands():
    agents = [make_agent("cfr", seed=1), make_agent("random", seed=2)]
    for seats in ((0, 1), (1, 0)):
        episodes = play(
            (make_match("kuhn_poker_v0", seed=seed) for seed in range(400)), [agents[seat] for seat in seats]
        )
        returns = [episode.outcome.returns[seats.index(0)] for episode in episodes]
        # The standard error is 0.05.
        assert sum(returns) / 400 > 0.2


def test_five_hands_are_worth_their_known_value():
    # 0.0069 by backward induction over 540 information sets. It is seat 1 that is better off, since seat 0 moves first
    # in three of the five hands, and whoever moves first is worse off.
    solved = _solve_hand(5, 0, False, 3)
    assert solved.result.on_policy_values[0] == pytest.approx(-0.0069, abs=2e-4)


@pytest.mark.parametrize("game", ["simple_negotiation_v0", "tic_tac_toe_v0"])
def test_cfr_refuses_a_game_that_it_cannot_play(game, monkeypatch):
    monkeypatch.setattr("spiral_envs.tree.MAX_NODES", 10_000)
    with pytest.raises(ValueError, match=game):
        make_agent("cfr").act([make_match(game, seed=0).view(0)])


def test_cfr_refuses_a_view_that_it_does_not_know():
    view = make_match(KUHN, seed=0).view(0)
    with pytest.raises(ValueError, match=r"the cfr agent knows no such view of kuhn_poker_v0.*'changed'"):
        make_agent("cfr").act([view._replace(observation="changed", state=None)])
