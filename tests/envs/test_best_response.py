"""Best responses to many policies at once, against OpenSpiel and against values worked out by hand."""

import numpy as np
import pytest

from spiral_envs import find_game, solve
from spiral_envs.best_response import GameTree

KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"


def uniform(view):
    return {move: 1 / len(view.legal_moves) for move in view.legal_moves}


def timid(view):
    return {"[check]" if "[check]" in view.legal_moves else "[fold]": 1.0}


def random_rows(tree, number, *, seed):
    rows = np.random.default_rng(seed).random((number, tree.num_moves))
    return rows / np.repeat(tree.per_set(rows), np.diff(tree.first_move), axis=1)


@pytest.mark.parametrize(
    "game",
    [KUHN, "kuhn_poker_v0(players=3,hands=1,payoff=chips)", "leduc_poker_v0", "liars_dice_v0(sides=3)"],
)
def test_values_are_those_of_openspiel(game):
    tree = GameTree(find_game(game))
    rows = random_rows(tree, 3, seed=1)
    values, best, nash_conv = tree.values(rows), tree.best_responses(rows).values, tree.nash_conv(rows)
    for at in (0, 2):
        row = rows[at]

        def policy(view, row=row):
            return tree.probabilities(row, tree.numbers[view.seat, view.observation])

        theirs = solve.exploitability(game, policy)
        assert values[at] == pytest.approx(theirs.on_policy_values, abs=1e-12)
        assert best[at] == pytest.approx(theirs.best_response_values, abs=1e-12)
        assert nash_conv[at] == pytest.approx(theirs.nash_conv, abs=1e-12)


def test_uniform_kuhn_has_its_known_nash_conv():
    tree = GameTree(find_game(KUHN))
    # OpenSpiel 2.0.2, exact rationals.
    assert tree.nash_conv(tree.row(uniform)[None]) == pytest.approx([11 / 12], abs=1e-12)
    assert len(tree.players) == 4 + 24 + 30


def test_a_best_response_to_folding_bets_every_card_that_does_not_win_anyway():
    tree = GameTree(find_game(KUHN))
    responses = tree.best_responses(tree.row(timid)[None])
    bets = {}
    for at, (seat, observation) in enumerate(tree.information_sets):
        if "[bet]" in tree.texts(at):
            card = observation.split("your card is ")[1][0]
            bets[seat, card] = tree.probabilities(responses.moves[0], at)["[bet]"]
            worth = tree.probabilities(responses.move_values[0], at)
            # The opponent folds every bet: 1 chip. A check leads to a showdown: K wins, J loses, Q wins half. Each card
            # comes in a third of the deals.
            assert worth["[bet]"] == pytest.approx(1 / 3)
            assert worth["[check]"] == pytest.approx({"J": -1, "Q": 0, "K": 1}[card] / 3)
    assert bets[0, "J"] == bets[0, "Q"] == bets[1, "J"] == bets[1, "Q"] == 1.0
    assert responses.values[0].tolist() == pytest.approx([1, 1])


def test_of_equally_good_moves_the_first_is_the_response():
    tree = GameTree(find_game(KUHN))
    moves = tree.best_responses(tree.row(timid)[None]).moves[0]
    king = next(
        at for at, (seat, text) in enumerate(tree.information_sets) if seat == 0 and "card is K; no bets" in text
    )
    assert tree.probabilities(moves, king) == {"[check]": 1.0, "[bet]": 0.0}
    assert tree.per_set(moves).tolist() == [1.0] * 12


def test_what_is_missing_to_a_distribution_forfeits_the_game():
    tree = GameTree(find_game(KUHN))
    never = np.zeros((1, tree.num_moves))
    # Player 0 never answers and pays the lowest return, 2 chips, at once.
    assert tree.values(never)[0].tolist() == [-2, 2]
    # As a best responder it answers, and then Player 1 forfeits.
    assert tree.best_responses(never).values[0].tolist() == [2, 2]
    half = 0.5 * tree.row(timid)[None]
    # Player 0 forfeits in half of the games, Player 1 in half of the others, and the rest are showdowns worth 0.
    assert tree.values(half)[0].tolist() == pytest.approx([-0.5 * 2 + 0.25 * 2, 0.5 * 2 - 0.25 * 2])
    # A bet is folded or forfeited.
    assert tree.best_responses(half).values[0, 0] == pytest.approx(0.5 * 1 + 0.5 * 2)


def test_reach_is_the_probability_of_a_history():
    tree = GameTree(find_game(KUHN))
    row = tree.row(uniform)[None]
    ends = tree.players == -2
    assert tree.reach(row)[0, ends].sum() == pytest.approx(1)
    # Without seat 0's own part every deal counts each of its lines in full.
    first_decisions = (tree.players == 0) & (tree.parents < tree.levels[2] + 6)
    assert tree.reach(row, without=0)[0, first_decisions].max() == pytest.approx(1 / 6)


def test_a_policy_that_is_none_is_refused():
    tree = GameTree(find_game(KUHN))
    with pytest.raises(ValueError, match=r"'\[jump\]' has 1.0"):
        tree.row(lambda view: {"[jump]": 1.0})
    with pytest.raises(ValueError, match="has nan"):
        tree.row(lambda view: dict.fromkeys(uniform(view), float("nan")))


@pytest.mark.parametrize(
    ("game", "reason"),
    [
        ("tic_tac_toe_v0", "every player sees the whole state"),
        ("truth_and_deception_v0", "words of their own"),
    ],
)
def test_games_without_such_a_tree_are_refused(game, reason):
    with pytest.raises(ValueError, match=reason):
        GameTree(find_game(game))
