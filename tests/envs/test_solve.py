"""Exact values against published ones."""

import sys

import pytest

from spiral_envs import MissingExtraError, UnknownNameError, find_game, make_match, solve
from spiral_envs.games.kuhn_poker import Bet
from spiral_envs.tree import MAX_NODES, count_nodes

KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"


def uniform(view):
    return {move: 1 / len(view.legal_moves) for move in view.legal_moves}


def always(*wanted):
    """Returns the policy that makes the first of these moves that is legal."""
    return lambda view: {next(move for move in wanted if move in view.legal_moves): 1.0}


def kuhn_nash(bluff, *, greedy=False):
    """Returns Kuhn's equilibrium in which seat 0 bets J with probability `bluff`, at most 1/3 (Kuhn 1950)."""
    chances = {
        # Own card and whether there is a bet: the probability of betting or calling.
        0: {("J", False): bluff, ("Q", False): 0.0, ("K", False): 3 * bluff,
            ("J", True): 0.0, ("Q", True): bluff + 1 / 3, ("K", True): 1.0},
        1: {("J", False): 1 / 3, ("Q", False): 0.0, ("K", False): 1.0,
            ("J", True): 0.0, ("Q", True): 1 / 3, ("K", True): 1.0},
    }  # fmt: skip

    cards = {}
    for seat in (0, 1):
        for card in "JQK":
            for view in solve.information_sets(KUHN).values():
                if view.seat == seat and f"your card is {card}" in view.observation:
                    cards[seat, view.observation] = card

    def policy(view):
        faces_bet = "[call]" in view.legal_moves
        chance = chances[view.seat][cards[view.seat, view.observation], faces_bet]
        if greedy:
            chance = float(chance > 0.5)
        bold, timid = ("[call]", "[fold]") if faces_bet else ("[bet]", "[check]")
        return {bold: chance, timid: 1 - chance}

    return policy


def test_uniform_play_in_kuhn_has_its_known_values():
    # OpenSpiel 2.0.2, exact rationals: NashConv 11/12, gains 3/8 and 13/24, value 1/8 to the first player.
    result = solve.exploitability("kuhn_poker_v0", uniform, hands=1, payoff="chips")
    assert result.nash_conv == pytest.approx(11 / 12, abs=1e-12)
    assert result.exploitability == pytest.approx(11 / 24, abs=1e-12)
    assert result.on_policy_values == pytest.approx((1 / 8, -1 / 8), abs=1e-12)
    assert result.best_response_values == pytest.approx((1 / 8 + 3 / 8, -1 / 8 + 13 / 24), abs=1e-12)


@pytest.mark.parametrize(
    ("policy", "nash_conv"), [(always("[check]", "[fold]"), 2.0), (always("[bet]", "[call]"), 2 / 3)]
)
def test_always_passing_and_always_betting_have_their_known_nash_conv(policy, nash_conv):
    # OpenSpiel 2.0.2.
    assert solve.exploitability(KUHN, policy).nash_conv == pytest.approx(nash_conv, abs=1e-12)


@pytest.mark.parametrize("bluff", [0.0, 0.1, 1 / 3])
def test_every_member_of_kuhns_family_is_an_equilibrium(bluff):
    result = solve.exploitability(KUHN, kuhn_nash(bluff))
    assert result.nash_conv == pytest.approx(0, abs=1e-12)
    # Kuhn 1950: the first player loses 1/18 a hand.
    assert result.on_policy_values == pytest.approx((-1 / 18, 1 / 18), abs=1e-12)


def test_an_equilibrium_played_greedily_is_exploitable():
    # CFR+: NashConv 1/3 for the greedy version.
    assert solve.exploitability(KUHN, kuhn_nash(0.1, greedy=True)).nash_conv == pytest.approx(1 / 3, abs=1e-12)


def test_cfr_finds_an_equilibrium_of_kuhn():
    solved = solve.equilibrium(KUHN)
    assert 0 <= solved.result.nash_conv < 1e-3
    assert solved.result.on_policy_values[0] == pytest.approx(-1 / 18, abs=1e-3)
    assert len(solved.policy) == 12
    assert solve.exploitability(
        KUHN, lambda view: solved.policy[view.seat, view.observation]
    ).nash_conv == pytest.approx(solved.result.nash_conv, abs=1e-9)
    assert solve.equilibrium("kuhn_poker_v0", payoff="chips", hands=1) is solved


def test_a_policy_is_asked_once_about_every_information_set():
    asked = []
    solve.exploitability(KUHN, lambda view: asked.append(view) or uniform(view))
    views = solve.information_sets(KUHN)
    assert asked == list(views.values())
    assert len(views) == 12
    assert all(where == (view.seat, view.observation) for where, view in views.items())


def test_information_sets_show_what_a_match_shows():
    views = solve.information_sets(KUHN)
    seen = set()
    for seed in range(30):
        for replies in (("[check]", "[bet]", "[call]"), ("[bet]", "[fold]"), ("[check]", "[check]")):
            match = make_match(KUHN, seed=seed)
            for reply in replies:
                assert match.seat_to_move is not None
                view = match.view(match.seat_to_move)
                assert views[view.seat, view.observation] == view
                seen.add((view.seat, view.observation))
                match.submit(reply)
    assert seen == set(views)


def test_positions_of_tic_tac_toe_are_its_information_sets():
    views = solve.information_sets("tic_tac_toe_v0")
    assert len(views) == 4_520
    assert all(view.state is not None and view.legal_moves for view in views.values())


@pytest.mark.slow
def test_random_play_in_tic_tac_toe_has_its_known_best_responses():
    # Takes 11 seconds and 1 GB. Exact values: 0.9948 for the first player, 0.9249 for the second.
    result = solve.exploitability("tic_tac_toe_v0", uniform)
    assert result.best_response_values == pytest.approx((0.9948, 0.9249), abs=5e-5)
    assert result.on_policy_values[0] == pytest.approx(737 / 1260 - 121 / 420, abs=1e-9)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"[check]": 0.5, "[bet]": 0.4}, "the probabilities sum to 0.9, expected 1"),
        ({"[check]": 1.0, "[bet]": 0.1}, "the probabilities sum to 1.1, expected 1"),
        ({"[check]": 0.5, "[bet]": 0.5, "[fold]": 0.1}, "'[fold]' is not legal, expected [check] or [bet]"),
        ({"[check]": 0.5, "[bet]": 0.4, "[raise]": 0.1}, "'[raise]' is not legal, expected [check] or [bet]"),
        ({"check": 1.0}, "'check' is not legal, expected [check] or [bet]"),
        ({"[check]": 1.5, "[bet]": -0.5}, "the probability of [check] is 1.5"),
        ({"[check]": -0.5, "[bet]": 1.5}, "the probability of [check] is -0.5"),
        ({"[check]": float("nan"), "[bet]": 1.0}, "the probability of [check] is nan"),
        ({}, "the probabilities sum to 0.0, expected 1"),
    ],
)
def test_what_is_no_distribution_over_legal_moves_is_refused(bad, why):
    def policy(view):
        return bad if "[check]" in view.legal_moves else uniform(view)

    with pytest.raises(ValueError, match="policy of kuhn_poker_v0") as error:
        solve.exploitability(KUHN, policy)
    assert str(error.value).endswith(why)
    assert "\n" not in str(error.value)
    assert "Player 0, at 'Hand 1: your card is J; no bets yet. It is your turn.'" in str(error.value)


def test_a_move_left_out_has_probability_zero_and_rounding_is_forgiven():
    exact = solve.exploitability(KUHN, always("[bet]", "[call]")).nash_conv
    rounded = solve.exploitability(
        KUHN, lambda view: {move: p + 1e-8 for move, p in always("[bet]", "[call]")(view).items()}
    ).nash_conv
    assert rounded == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("game", ["kuhn_poker_v0", "connect_four_v0"])
def test_a_game_too_large_to_walk_is_refused_with_its_size(game, monkeypatch):
    monkeypatch.setattr("spiral_envs.tree.MAX_NODES", 10_000)
    for call in (lambda: solve.exploitability(game, uniform), lambda: solve.information_sets(game)):
        with pytest.raises(ValueError, match="too large to walk: it has more than 10,000 nodes") as error:
            call()
        assert "kuhn_poker_v0(hands=1)" in str(error.value)


def test_tic_tac_toe_fits_the_limit():
    assert MAX_NODES >= 549_946


def test_equilibria_are_for_hidden_information_games_of_two():
    with pytest.raises(
        ValueError, match="CFR\\+ cannot solve tic_tac_toe_v0: it needs two players, hidden information"
    ):
        solve.equilibrium("tic_tac_toe_v0")


def test_unknown_names_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean kuhn_poker_v0"):
        solve.exploitability("kuhn_poker", uniform)
    with pytest.raises(UnknownNameError, match="did you mean hands"):
        solve.equilibrium("kuhn_poker_v0", hand=1)


def test_a_missing_openspiel_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspiel", None)
    with pytest.raises(MissingExtraError, match=r"exact solving needs .*pip install 'spiral-selfplay\[openspiel\]'"):
        solve.exploitability(KUHN, uniform)
    assert len(solve.information_sets(KUHN)) == 12
    assert count_nodes(KUHN).decision == 24


def test_two_hands_for_chips_are_worth_nothing_to_either_seat(monkeypatch):
    # Each seat moves first once, and loses 1/18 as such.
    monkeypatch.setattr(solve, "MAX_ITERATIONS", 500)
    result = solve.equilibrium_of(find_game("kuhn_poker_v0(hands=2,payoff=chips)")).result
    assert result.nash_conv < 1e-3
    assert result.on_policy_values == pytest.approx((0, 0), abs=1e-3)


def test_three_seats_are_measured_but_not_solved():
    three = "kuhn_poker_v0(players=3,hands=1,payoff=chips)"
    result = solve.exploitability(three, uniform)
    assert len(result.best_response_values) == 3
    assert result.exploitability == pytest.approx(result.nash_conv / 3, abs=1e-12)
    with pytest.raises(ValueError, match=r"CFR\+ cannot solve kuhn_poker_v0\(.*players=3\): it needs two players"):
        solve.equilibrium(three)


def test_moves_of_the_policy_are_the_games_own_moves():
    spec = find_game(KUHN)
    texts = {spec.codec.format_move(bet) for bet in Bet}
    assert {move for moves in solve.equilibrium(KUHN).policy.values() for move in moves} == texts


@pytest.mark.parametrize("game", ["truth_and_deception_v0(turns=2)", "adversarial_taboo_v0(turns=1)"])
def test_a_game_of_talk_is_refused_because_its_list_of_moves_is_not_whole(game):
    for call in (lambda: solve.exploitability(game, uniform), lambda: solve.equilibrium(game)):
        with pytest.raises(ValueError, match="players may say words of their own"):
            call()
