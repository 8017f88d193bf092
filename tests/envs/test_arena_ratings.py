"""Ratings by hand, against an independent fit, and by how often their intervals hold the truth."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize

from benchmarks.rating_coverage import SETTINGS, Setting, measure, simulate
from spiral_envs.arena.ratings import ELO_PER_LOGIT, PairResult, estimate_interval, holm, p_value, rate

STRONG_SEATS = next(setting for setting in SETTINGS if setting.name == "six agents, three games, few pairs")


def pair(first, second, from_seat_0, from_seat_1, game="game"):
    return PairResult(game, (first, second), (from_seat_0, from_seat_1), (1, 1))


def skills(fit):
    return dict(zip(fit.agents, fit.skills, strict=True))


def test_400_points_are_ten_to_one():
    assert ELO_PER_LOGIT * math.log(10) == pytest.approx(400)


@pytest.mark.parametrize(("won", "lost", "logit"), [(3, 1, math.log(3)), (9, 1, math.log(9)), (2, 2, 0.0)])
def test_without_a_seat_effect_the_ratings_of_two_approach_the_logit_of_the_share(won, lost, logit):
    # Won from both seats `won` times and lost from both `lost` times, so that the seat term is 0, and so often that the
    # ridge is next to nothing.
    pairs = [pair("a", "b", 1, 1)] * (won * 10_000) + [pair("a", "b", 0, 0)] * (lost * 10_000)
    fit = rate(pairs, resamples=0)
    first, second = fit.skills
    assert first - second == pytest.approx(logit * ELO_PER_LOGIT, abs=0.03)
    assert first + second == pytest.approx(0, abs=1e-9)
    assert fit.seat_terms[0] == pytest.approx(0, abs=1e-9)


def test_two_draws_are_a_win_and_a_loss():
    drawn = rate([pair("a", "b", 0.5, 1), pair("a", "b", 0.5, 1)], resamples=0)
    decided = rate([pair("a", "b", 0, 1), pair("a", "b", 1, 1)], resamples=0)
    assert np.array_equal(drawn.skills, decided.skills)
    assert drawn.skills[0] > 50
    assert rate([pair("a", "b", 0.5, 0.5)], resamples=0).skills == pytest.approx([0, 0], abs=1e-9)


def test_an_agent_that_always_sat_first_is_not_taken_for_a_strong_one():
    # Seat 0 takes three of four games whoever sits there. `first` only ever played from seat 0.
    unpaired = [PairResult("game", ("first", "b"), (float(won), 0.0), (1, 0)) for won in (1, 1, 1, 0) * 2000]
    paired = [pair("b", "c", *result) for result in ((1, 0), (1, 0), (1, 1), (0, 0)) * 2000]
    fit = rate(unpaired + paired, resamples=0)
    assert fit.skills == pytest.approx([0, 0, 0], abs=0.5)
    # Without the term it would seem log 3 logits, 191 Elo points, better than b, whom it equals.
    assert fit.seat_terms[0] == pytest.approx(math.log(3) * ELO_PER_LOGIT, abs=0.5)


def test_the_order_of_the_pairs_and_of_their_agents_does_not_matter():
    pairs = simulate(STRONG_SEATS, np.random.default_rng(1))
    shuffled = [pairs[place] for place in np.random.default_rng(2).permutation(len(pairs))]
    turned = [
        PairResult(each.game, each.agents[::-1], (1 - each.points[1], 1 - each.points[0]), each.games)
        for each in shuffled
    ]
    expected, fit = rate(pairs, resamples=20), rate(turned, resamples=20)
    assert np.array_equal(fit.skills, expected.skills)
    assert np.array_equal(fit.resampled_skills, expected.resampled_skills)
    assert np.array_equal(fit.seat_terms, expected.seat_terms)


def test_other_names_give_the_same_ratings():
    pairs = simulate(STRONG_SEATS, np.random.default_rng(1))
    renamed = {f"agent {number}": f"agent {5 - number}" for number in range(6)}
    fit = rate(
        [each._replace(agents=(renamed[each.agents[0]], renamed[each.agents[1]])) for each in pairs], resamples=0
    )
    expected = skills(rate(pairs, resamples=0))
    assert skills(fit) == pytest.approx({renamed[agent]: skill for agent, skill in expected.items()}, abs=1e-7)


def test_the_same_seed_gives_the_same_resamples_and_another_one_others():
    pairs = simulate(STRONG_SEATS, np.random.default_rng(1))
    first, again, other = (rate(pairs, resamples=10, seed=seed).resampled_skills for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.any(first == other)


def test_a_game_with_ten_times_as_many_pairs_counts_no_more():
    # a is as much better in one game as b is in the other, so that they are equal, however many pairs show it.
    pairs = [pair("a", "b", *result, game="x") for result in ((1, 1), (1, 1), (1, 1), (0, 0)) * 10]
    pairs += [pair("a", "b", *result, game="y") for result in ((0, 0), (0, 0), (0, 0), (1, 1)) * 100]
    assert rate(pairs, resamples=0).skills == pytest.approx([0, 0], abs=1e-7)


def test_the_fit_is_that_of_an_independent_optimiser():
    pairs = simulate(STRONG_SEATS, np.random.default_rng(5))
    agents, games = [f"agent {number}" for number in range(6)], [f"game {number}" for number in range(3)]

    def cost(terms):
        skill, seat = dict(zip(agents, terms[:6], strict=True)), dict(zip(games, terms[6:], strict=True))
        total = 0.005 * np.sum(terms**2) + np.sum(np.logaddexp(0, terms) - terms / 2)
        for game, (first, second), points, _ in pairs:
            for won, sign in zip(points, (1, -1), strict=True):
                logit = skill[first] - skill[second] + sign * seat[game]
                total += np.logaddexp(0, logit) - won * logit
        return total

    found = optimize.minimize(cost, np.zeros(9), method="BFGS", options={"gtol": 1e-6}).x
    fit = rate(pairs, resamples=0)
    assert fit.skills / ELO_PER_LOGIT == pytest.approx(found[:6] - found[:6].mean(), abs=1e-5)
    assert fit.seat_terms / ELO_PER_LOGIT == pytest.approx(found[6:], abs=1e-5)


def test_the_anchor_is_0_and_shifts_the_others_alone():
    pairs = simulate(STRONG_SEATS, np.random.default_rng(1))
    fit, anchored = rate(pairs, resamples=10), rate(pairs, resamples=10, anchor="agent 0")
    assert anchored.skills == pytest.approx(fit.skills - fit.skills[0])
    assert np.all(anchored.resampled_skills[:, 0] == 0)
    assert estimate_interval(anchored.skills[0], anchored.resampled_skills[:, 0]) == (0, 0)


@pytest.mark.parametrize("number", [1, 10, 100_000])
def test_an_agent_that_won_everything_has_a_finite_rating_and_a_wide_interval(number):
    fit = rate([pair("a", "b", 1, 1)] * number, resamples=200)
    assert 0 < fit.skills[0] < 3000
    assert np.all(np.isfinite(fit.resampled_skills))
    low, high = estimate_interval(fit.skills[0], fit.resampled_skills[:, 0])
    # Each of the two is given half of the gap, and 400 points are ten to one: no bound above at all is shown.
    assert high - low > 150


def test_what_every_game_shows_moves_the_rating_of_a_winner_of_all():
    ratings = [rate([pair("a", "b", 1, 1)] * number, resamples=0).skills[0] for number in (1, 10, 100, 1000)]
    assert ratings == sorted(ratings)
    assert ratings[3] > ratings[0] + 300


def test_a_seat_that_always_wins_says_nothing_about_skill():
    fit = rate([pair("a", "b", 1, 0)] * 1000, resamples=100)
    assert fit.skills == pytest.approx([0, 0], abs=1e-6)
    assert fit.seat_terms[0] > 800


def test_agents_that_no_chain_of_games_links_are_in_groups_of_their_own():
    pairs = [pair("a", "b", 1, 1), pair("b", "c", 1, 0), pair("x", "y", 0, 1), pair("x", "y", 1, 1)]
    fit = rate(pairs, resamples=5)
    assert dict(zip(fit.agents, fit.groups, strict=True)) == {"a": 0, "b": 0, "c": 0, "x": 1, "y": 1}
    assert fit.skills[:3].sum() == pytest.approx(0, abs=1e-9)
    assert fit.skills[3:].sum() == pytest.approx(0, abs=1e-9)
    anchored = skills(rate(pairs, resamples=0, anchor="c"))
    assert anchored["c"] == 0
    assert anchored["x"] == pytest.approx(skills(fit)["x"])


def test_resamples_of_pairs_keep_every_matchup_at_its_size():
    # Both games of a pair are alike, so the ratings of ten pairs are less sure than those of twenty such games apart.
    alike = rate([pair("a", "b", 1, 1), pair("a", "b", 0, 0)] * 5, resamples=1000)
    mixed = rate([pair("a", "b", 1, 0), pair("a", "b", 0, 1)] * 5, resamples=1000)
    assert alike.skills == pytest.approx(mixed.skills, abs=1e-6)
    # By the delta method the deviation of a's skill is 1/2 · 4 · sqrt(1/4 / 9) = 1/3 logit for ten pairs that were won
    # or lost whole, beside the ridge; pairs of one win and one loss leave the ridge's own.
    assert 0.25 < np.std(alike.resampled_skills[:, 0]) / ELO_PER_LOGIT < 0.45
    assert np.std(mixed.resampled_skills[:, 0]) / ELO_PER_LOGIT < 0.1


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([], {}, "at least one finished game"),
        ([PairResult("game", ("a", "b"), (0, 0), (0, 0))], {}, "at least one finished game"),
        ([pair("a", "a", 1, 0)], {}, "'a' against itself"),
        ([pair("a", "b", 1, 0)], {"anchor": "c"}, "'c' played no game: expected one of a, b"),
        ([pair("a", "b", 1, 0)], {"resamples": -1}, "resamples is -1: expected at least 0"),
    ],
)
def test_what_cannot_be_rated_is_refused(pairs, options, message):
    with pytest.raises(ValueError, match=message):
        rate(pairs, **options)


def test_a_p_value_is_below_five_percent_where_the_interval_excludes_0():
    resampled = np.array([-1.0, 1.0])  # a standard deviation of sqrt 2
    for estimate in (1.95996 * math.sqrt(2), 1.95997 * math.sqrt(2)):
        low, _ = estimate_interval(estimate, resampled)
        assert (p_value(estimate, resampled) < 0.05) == (low > 0)
    # P(|Z| > 1) of a standard normal Z.
    assert p_value(math.sqrt(2), resampled) == pytest.approx(0.3173105, abs=1e-7)
    assert p_value(-math.sqrt(2), resampled) == p_value(math.sqrt(2), resampled)
    assert p_value(0.0, np.zeros(5)) == 1.0


def test_holms_correction_by_hand():
    # Sorted: 0.01 · 4, 0.02 · 3, 0.03 · 2, 0.04 · 1, each at least the one before.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    "setting",
    [
        Setting("few pairs", (-0.5, 0.0, 0.5), (0.2,), (5,)),
        Setting("two games, strong seats", (-1.0, -0.2, 0.2, 1.0), (2.0, -0.5), (10, 10), correlation=0.5),
        Setting("near-perfect", (-2.0, -1.0, 3.0), (0.5,), (20,)),
    ],
    ids=lambda setting: setting.name,
)
def test_intervals_hold_known_strengths(setting):
    # Of 100 intervals that hold the truth with 95 %, 88 or more do so with a probability of 99.8 % (binomial). These
    # are means over several values, which vary less.
    for row in measure(setting, tournaments=100, resamples=150, seed=8):
        assert row.coverage >= 0.88, row


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_intervals_hold_known_strengths_in_every_setting_that_was_measured(setting):
    # Of 200 with 94 %: 176 or more with a probability of 99.9 %. Where the games have unequal numbers the stated
    # coverage is 87 %: 156 or more with the same probability.
    bound = 0.88 if len(set(setting.pairs)) == 1 else 0.78
    for row in measure(setting, tournaments=200, resamples=200, seed=9):
        assert row.coverage >= bound, row


def test_many_games_give_the_true_ratings():
    setting = Setting("many", (-1.5, -0.5, 0.5, 1.5), (1.0, -0.5), (5000, 5000), draws=0.4, correlation=0.5)
    fit = rate(simulate(setting, np.random.default_rng(0)), resamples=0)
    # 20,000 games of each two: a deviation of about 3 Elo points.
    assert fit.skills == pytest.approx(np.array(setting.skills) * ELO_PER_LOGIT, abs=10)
    assert fit.seat_terms == pytest.approx(np.array(setting.seats) * ELO_PER_LOGIT, abs=10)


def test_a_tournament_of_twelve_agents_converges_whatever_came_out():
    rng = np.random.default_rng(0)
    for extreme in (0.0, 1.0):
        pairs = [
            pair(f"agent {low:02}", f"agent {high:02}", extreme, extreme if rng.random() < 0.5 else 1 - extreme)
            for low, high in itertools.combinations(range(12), 2)
        ]
        assert np.all(np.isfinite(rate(pairs, resamples=50).resampled_skills))
