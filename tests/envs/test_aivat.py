"""Returns less luck: without bias whatever the players do, by enumeration; and the values of deals by hand."""

import math
import statistics

import numpy as np
import pytest

from spiral_envs import find_game, make_agent, make_match, play
from spiral_envs.agents.cfr import CfrAgent
from spiral_envs.arena.aivat import (
    ChanceValues,
    Reference,
    chance_moves,
    corrected_matchups,
    corrected_returns,
    is_correctable,
    matchup_table,
)
from spiral_envs.best_response import GameTree
from spiral_envs.episode import Episode
from spiral_envs.game import CHANCE, TERMINAL
from spiral_envs.match import GameMatch, forfeit_returns

KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"


def uniform(view):
    return {move: 1 / len(view.legal_moves) for move in view.legal_moves}


def endings(spec, values, policy, *, faults=0.0):
    """Yields every way a game ends: its probability, the return of seat 0, and how lucky seat 0 was.

    Args:
        policy: From a seat and what it observes to probabilities of its moves in the game's order.
        faults: The probability that a player forfeits instead of moving.
    """
    game = spec.game
    pending = [(game.initial_state(), 1.0, 0.0)]
    while pending:
        state, chance, luck = pending.pop()
        player = game.to_move(state)
        if player == TERMINAL:
            yield chance, game.returns(state)[0], luck
        elif player == CHANCE:
            for move, probability in game.chance_outcomes(state):
                following = game.next_state(state, move)
                pending.append((following, chance * probability, luck + values.luck(state, following)[0]))
        else:
            if faults:
                forfeited = forfeit_returns(player, num_seats=2, return_range=spec.return_range, zero_sum=True)
                yield chance * faults, forfeited[0], luck
            probabilities = policy(player, spec.codec.observe(state, player))
            for move, probability in zip(game.legal_moves(state), probabilities, strict=True):
                pending.append((game.next_state(state, move), chance * (1 - faults) * probability, luck))


def random_policy(seed, num_moves):
    """Returns a policy with random probabilities, another one in every situation."""
    known = {}
    rng = np.random.default_rng(seed)

    def policy(player, observation):
        if (player, observation) not in known:
            known[player, observation] = rng.dirichlet(np.ones(num_moves(observation)))
        return known[player, observation]

    return policy


def always_first(player, observation):
    return (1.0, 0.0)


def moments(found):
    """Returns the mean of the returns, of the luck and of the difference, and both variances."""
    found = list(found)
    raw = math.fsum(chance * value for chance, value, _ in found)
    luck = math.fsum(chance * luck for chance, _, luck in found)
    variance = math.fsum(chance * (value - raw) ** 2 for chance, value, _ in found)
    corrected = math.fsum(chance * (value - luck) for chance, value, luck in found)
    less = math.fsum(chance * (value - luck - corrected) ** 2 for chance, value, luck in found)
    assert math.fsum(chance for chance, _, _ in found) == pytest.approx(1, abs=1e-12)
    return raw, luck, corrected, variance, less


@pytest.mark.parametrize("reference", Reference)
@pytest.mark.parametrize("faults", [0.0, 0.3])
@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_over_all_of_kuhns_tree_the_correction_has_expectation_0(reference, faults, seed):
    spec = find_game(KUHN)
    policy = always_first if seed is None else random_policy(seed, lambda observation: 2)
    raw, luck, corrected, _, _ = moments(endings(spec, ChanceValues(spec, reference), policy, faults=faults))
    assert luck == pytest.approx(0, abs=1e-12)
    assert corrected == pytest.approx(raw, abs=1e-12)


def test_over_all_of_leducs_tree_it_takes_variance_without_bias():
    spec = find_game("leduc_poker_v0")
    tree = GameTree(spec)
    policy = random_policy(5, lambda observation: len(tree.texts(tree.numbers[owner[observation], observation])))
    owner = {observation: seat for seat, observation in tree.information_sets}
    raw, luck, corrected, variance, less = moments(endings(spec, ChanceValues(spec, Reference.UNIFORM), policy))
    assert luck == pytest.approx(0, abs=1e-12)
    assert corrected == pytest.approx(raw, abs=1e-12)
    assert less < 0.7 * variance


@pytest.mark.slow
@pytest.mark.parametrize("reference", Reference)
def test_half_of_the_variance_of_leduc_is_luck(reference):
    spec = find_game("leduc_poker_v0")
    tree = GameTree(spec)
    cfr = CfrAgent(seed=0)

    def policy(player, observation):
        view = tree.views[tree.numbers[player, observation]]
        # An equilibrium against a random player.
        if player == 0:
            return tuple(cfr.policy(view).values())
        return tuple(uniform(view).values())

    raw, luck, corrected, variance, less = moments(endings(spec, ChanceValues(spec, reference), policy))
    assert luck == pytest.approx(0, abs=1e-12)
    assert corrected == pytest.approx(raw, abs=1e-12)
    assert less < 0.55 * variance


def test_the_luck_of_a_deal_in_kuhn_is_the_showdown():
    # By hand: where both move at random, the first player gets +1 or -1 for the higher card, and 1/8 in any case.
    spec = find_game(KUHN)
    values = ChanceValues(spec, Reference.UNIFORM)
    start = spec.game.initial_state()
    assert values.value(start) == pytest.approx((1 / 8, -1 / 8), abs=1e-12)
    cards = {move.name: move for move, _ in spec.game.chance_outcomes(start)}
    for card, expected in (("J", -1), ("Q", 0), ("K", 1)):
        after = spec.game.next_state(start, cards[card])
        assert values.luck(start, after) == pytest.approx((expected, -expected), abs=1e-12)
    queen = spec.game.next_state(start, cards["Q"])
    assert values.luck(queen, spec.game.next_state(queen, cards["J"])) == pytest.approx((1, -1), abs=1e-12)


def record_of(game, seed, replies, *, invalid_move="forfeit", agents=("a", "b"), pair=0):
    match = GameMatch(find_game(game), seed=seed, invalid_move=invalid_move)
    for reply in replies:
        if match.seat_to_move is None:
            break
        match.submit(reply)
    return {**Episode.of(match, index=0, agents=agents).to_json(), "id": f"{seed}", "pair": pair}, match


@pytest.mark.parametrize("seed", range(6))
def test_a_replayed_game_gives_up_the_luck_of_its_cards(seed):
    record, match = record_of(KUHN, seed, ["[bet]", "I \\boxed{call}"])
    first, second = match.state.hand.cards
    won = 1 if first > second else -1
    assert len(chance_moves(record)) == 2
    # By hand: 2 chips of the showdown, less the luck of 1.
    assert corrected_returns(record, reference=Reference.UNIFORM) == pytest.approx((won, -won), abs=1e-12)


def test_a_forfeited_game_is_corrected_for_the_deals_that_happened():
    record, match = record_of(KUHN, 3, ["[check]", "nonsense"])
    first, second = match.state.hand.cards
    won = 1 if first > second else -1
    assert record["returns"] == [2, -2]
    assert corrected_returns(record, reference=Reference.UNIFORM) == pytest.approx((2 - won, won - 2), abs=1e-12)


def test_a_fault_that_a_random_move_replaced_replays():
    replies = ["nonsense", "[jump]", "nonsense"] * 5
    for seed in range(5):
        record, match = record_of("kuhn_poker_v0", seed, replies, invalid_move="random")
        moves = chance_moves(record)
        assert len(moves) == 10
        assert moves[-1].after.finished == match.state.finished[:-1]


def test_five_hands_for_chips_give_up_the_luck_of_every_hand():
    replies = ["[check]", "[bet]", "[call]"] * 5
    for seed in range(4):
        record, match = record_of("kuhn_poker_v0(payoff=chips)", seed, replies)
        lucky = sum(1 if hand.cards[0] > hand.cards[1] else -1 for hand in match.state.finished)
        got = corrected_returns(record, reference=Reference.UNIFORM)
        assert got == pytest.approx((record["returns"][0] - lucky, record["returns"][1] + lucky), abs=1e-9)


def test_the_worth_of_a_match_of_hands_is_that_of_the_cfr_agent():
    spec = find_game("kuhn_poker_v0(hands=3)")
    value = ChanceValues(spec, Reference.EQUILIBRIUM).value(spec.game.initial_state())
    assert value[0] == -value[1]
    one = ChanceValues(find_game(KUHN), Reference.EQUILIBRIUM).value(find_game(KUHN).game.initial_state())
    # Kuhn 1950.
    assert one == pytest.approx((-1 / 18, 1 / 18), abs=1e-3)


def test_a_record_of_other_rules_is_refused():
    record, _ = record_of(KUHN, 1, ["[bet]", "[call]"])
    turns = [
        {**turn, "observation": turn["observation"].replace("your card is", "you hold")} for turn in record["turns"]
    ]
    with pytest.raises(ValueError, match="does not replay from its seed 1: it was recorded by another version"):
        corrected_returns({**record, "turns": turns})
    with pytest.raises(ValueError, match="does not replay"):
        corrected_returns({**record, "returns": [0.0, 0.0]})


def played_pairs(game, num_pairs):
    agents = make_agent("cfr", seed=1), make_agent("random", seed=2)
    records = []
    for seats in (agents, agents[::-1]):
        matches = (make_match(game, seed=7000 + number) for number in range(num_pairs))
        for episode in play(matches, seats):
            names = "-".join(agent.name for agent in seats)
            records.append({**episode.to_json(), "id": f"{names}-{episode.index}", "pair": episode.index})
    return records


@pytest.mark.parametrize(
    ("game", "units"),
    [
        (KUHN, 0.5),
        pytest.param("leduc_poker_v0", 0.7, marks=pytest.mark.slow),
        # A die says little there: both roll alike in a third of the games.
        ("liars_dice_v0(sides=3)", 1.0),
    ],
)
def test_the_mean_of_many_games_holds_the_exact_value(game, units):
    (matchup,) = corrected_matchups(played_pairs(game, 400), reference=Reference.UNIFORM)
    tree = GameTree(find_game(game))
    cfr = CfrAgent(seed=0)
    perfect = tree.row(cfr.policy)
    even = tree.row(uniform)
    exact = np.mean([tree.values(np.where(tree.owner == seat, perfect, even)[None])[0, seat] for seat in (0, 1)])
    assert (matchup.first, matchup.second, matchup.pairs) == ("cfr", "random", 400)
    for estimate in (matchup.raw, matchup.duplicate, matchup.corrected, matchup.both):
        # 3.5 standard errors: this seed or any other.
        assert estimate.standard_error is not None
        assert abs(estimate.mean - exact) < 3.5 * estimate.standard_error
    assert matchup.units(matchup.raw) == 1
    share = matchup.units(matchup.both)
    assert share is not None
    assert share < units


def test_a_matchup_is_that_of_its_complete_pairs():
    records = played_pairs(KUHN, 12)
    (whole,) = corrected_matchups(records)
    returns = {
        (record["pair"], record["agents"][0]): record["returns"][record["agents"].index("cfr")] for record in records
    }
    pairs = [statistics.fmean([returns[pair, "cfr"], returns[pair, "random"]]) for pair in range(12)]
    assert whole.raw.mean == pytest.approx(statistics.fmean(pairs))
    assert whole.duplicate.mean == pytest.approx(statistics.fmean(pairs))
    error = statistics.stdev(pairs) / math.sqrt(12)
    assert whole.duplicate.standard_error == pytest.approx(error)
    # Student's t with 11 degrees of freedom, from a table.
    assert whole.duplicate.high == pytest.approx(whole.duplicate.mean + 2.201 * error, abs=1e-3 * error)
    # A line that stands twice, a pair without its other half, self-play and a game without chance change nothing.
    half = [record for record in records if record["pair"] == 5 and record["agents"][0] == "cfr"]
    alone = [{**half[0], "pair": 99, "id": "alone"}, {**half[0], "agents": ["cfr", "cfr"], "id": "self"}]
    board, _ = record_of("tic_tac_toe_v0", 0, ["[0]", "nonsense"], agents=("cfr", "random"))
    assert corrected_matchups([*records, *half, *alone, board, {"id": "no game"}]) == (whole,)
    assert corrected_matchups(alone) == ()


def test_the_order_of_the_lines_changes_nothing():
    records = [*played_pairs(KUHN, 6), *played_pairs("kuhn_poker_v0", 5)]
    found = corrected_matchups(records, reference=Reference.UNIFORM)
    assert [each.pairs for each in found] == [5, 6]
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(records))
        assert corrected_matchups([records[place] for place in order], reference=Reference.UNIFORM) == found


@pytest.mark.parametrize("invalid_move", ["forfeit", "random"])
@pytest.mark.parametrize("reference", Reference)
@pytest.mark.parametrize("game", ["kuhn_poker_v0", "kuhn_poker_v0(hands=3,payoff=chips)", "liars_dice_v0(sides=3)"])
def test_wherever_chance_moved_its_outcomes_weigh_up(game, reference, invalid_move):
    # Whatever was played before, faults and their random moves included, nobody is lucky on average.
    spec = find_game(game)
    values = ChanceValues(spec, reference)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        replies = [str(rng.choice(["[check]", "[bet]", "[call]", "[fold]", "nonsense"])) for _ in range(30)]
        record, _ = record_of(game, seed, replies, invalid_move=invalid_move)
        moves = chance_moves(record)
        assert moves
        for move in moves:
            outcomes = spec.game.chance_outcomes(move.before)
            assert move.after in [spec.game.next_state(move.before, each) for each, _ in outcomes]
            for seat in (0, 1):
                lucks = [
                    chance * values.luck(move.before, spec.game.next_state(move.before, each))[seat]
                    for each, chance in outcomes
                ]
                assert math.fsum(lucks) == pytest.approx(0, abs=1e-12)


def test_the_table_states_the_means_and_the_shares_of_the_variance():
    records = played_pairs(KUHN, 4)
    matchups = corrected_matchups(records)
    table = matchup_table(matchups).splitlines()
    (matchup,) = matchups
    assert table[2].startswith(f"| `{KUHN}` | `cfr` | `random` | 4 | {matchup.raw.mean:+.3f} [")
    assert f"| {matchup.units(matchup.both):.2f} |" in table[2]
    assert "Below 10 pairs an interval says little." in table
    one = matchup_table(corrected_matchups([record for record in records if record["pair"] == 0])).splitlines()[2]
    assert one.count("[") == 0


@pytest.mark.parametrize(
    ("game", "can"),
    [
        ("kuhn_poker_v0", True),
        (KUHN, True),
        ("kuhn_poker_v0(players=3)", False),
        ("tic_tac_toe_v0", False),
        ("pig_dice_v0", False),
        ("rock_paper_scissors_v0", False),
        ("textarena:KuhnPoker-v0", False),
    ],
)
def test_luck_is_told_in_games_of_two_with_chance_and_hidden_information(game, can):
    assert is_correctable(game, reference=Reference.UNIFORM) is can
