"""The tables of small tournaments, worked out by hand."""

import math

import numpy as np
import pytest

from spiral_envs.arena.ratings import ELO_PER_LOGIT
from spiral_envs.arena.records import GameRecord, game_records
from spiral_envs.arena.standings import score_interval, standings
from spiral_envs.intervals import win_rate_interval


def game(first, second, score, *, pair=0, label="kuhn_poker_v0", offender=None, fault="", num_faults=(0, 0)):
    """A game in which the agent in seat 0 wins (1), draws (0.5) or loses (0)."""
    return GameRecord(
        id=f"{label}/{first}/{second}/{pair}",
        game=label,
        pair=pair,
        agents=(first, second),
        roles=("first", "second"),
        returns=(2 * score - 1, 1 - 2 * score),
        offender=offender,
        fault=fault,
        num_turns=3,
        num_faults=num_faults,
    )


def both(first, second, from_seat_0, from_seat_1, **options):
    """A pair in which `first` wins that many points from either seat."""
    return [game(first, second, from_seat_0, **options), game(second, first, 1 - from_seat_1, **options)]


def many(first, second, results, **options):
    return [each for pair, result in enumerate(results) for each in both(first, second, *result, pair=pair, **options)]


def matchup(tables, first, second, label=None):
    (found,) = (each for each in tables.matchups if (each.first, each.second, each.game) == (first, second, label))
    return found


@pytest.fixture(scope="module")
def three():
    """Three agents in two games: a beats b, b beats c, and a meets c in one of the games only."""
    games = many("a", "b", [(1, 1), (1, 0.5), (1, 0), (0, 1)])
    games += many("a", "b", [(1, 1)], label="nim_v0")
    games += many("b", "c", [(1, 1), (1, 1), (0.5, 0.5), (1, 0)])
    games += many("a", "c", [(1, 1), (1, 1)], label="nim_v0")
    return standings(games, resamples=200)


def test_games_are_counted_by_agent(three):
    by_agent = {each.agent: each for each in three.ratings}
    # a: 8 against b in Kuhn poker (5 won, 1 drawn, 2 lost), 2 and 4 in Nim, all won.
    a = by_agent["a"]
    assert (a.games, a.wins, a.draws, a.losses, a.faults) == (14, 11, 1, 2, 0)
    # 5.5 of 8 in one game, 6 of 6 in the other; both count the same.
    assert a.score == pytest.approx((5.5 / 8 + 1) / 2)
    # c: 8 against b in Kuhn poker: 1 won, 2 drawn; 4 in Nim, all lost.
    c = by_agent["c"]
    assert (c.games, c.wins, c.draws, c.losses) == (12, 1, 2, 9)
    assert [each.agent for each in three.ratings] == ["a", "b", "c"]
    assert sum(each.rating for each in three.ratings) == pytest.approx(0, abs=1e-6)
    assert all(each.interval.low < each.rating < each.interval.high for each in three.ratings)


def test_a_matchup_in_one_game(three):
    found = matchup(three, "a", "b", "kuhn_poker_v0")
    assert (found.pairs, found.games, found.wins, found.draws, found.losses) == (4, 8, 5, 1, 2)
    assert found.score == pytest.approx(5.5 / 8)
    assert found.interval == pytest.approx(win_rate_interval([1, 0.75, 0.5, 0.5]))


def test_a_matchup_over_all_games_counts_every_game_the_same(three):
    found = matchup(three, "a", "b")
    assert (found.pairs, found.games, found.wins, found.draws, found.losses) == (5, 10, 7, 1, 2)
    assert found.score == pytest.approx((5.5 / 8 + 1) / 2)
    assert found.interval.low < found.score < found.interval.high


def test_a_matchup_mirrors_itself(three):
    found, mirrored = matchup(three, "a", "b"), matchup(three, "b", "a")
    assert mirrored.score == pytest.approx(1 - found.score)
    assert mirrored.interval == pytest.approx((1 - found.interval.high, 1 - found.interval.low))
    assert (mirrored.wins, mirrored.losses) == (found.losses, found.wins)
    assert matchup(three, "a", "c", "nim_v0").games == 4
    assert not [
        each for each in three.matchups if {each.first, each.second} == {"a", "c"} and each.game == "kuhn_poker_v0"
    ]


def test_the_interval_of_one_game_is_that_of_its_pairs():
    for scores in ([1.0], [0.0, 1.0, 0.5], [0.25] * 30):
        assert score_interval([scores]) == pytest.approx(win_rate_interval(scores))
    # As many pairs of every game: as if they were of one.
    assert score_interval([[1.0, 0.5], [0.0, 0.5]]) == pytest.approx(win_rate_interval([1.0, 0.5, 0.0, 0.5]))


def test_the_interval_of_unequal_games_by_hand():
    # Weights 1/16 eight times and 1/8 four times: 1 / (8/256 + 4/64) = 32/3 pairs; the mean is (3/4 + 1/2) / 2 = 5/8.
    n = 32 / 3
    centre = (n * 5 / 8 + 1) / (n + 2)
    squares = n * (1 / 4 * (1 - centre) ** 2 + 3 / 4 * (1 / 2 - centre) ** 2) + centre**2 + (1 - centre) ** 2
    half = 2.200985 * math.sqrt(squares / (n + 1) / (n + 2))  # Student's t with 11 degrees of freedom
    found = score_interval([[1.0, 0.5] * 4, [0.5] * 4])
    assert found == pytest.approx((centre - half, centre + half), abs=1e-4)


@pytest.mark.parametrize("scores", [[], [[]], [[1.0], []]])
def test_an_interval_without_pairs_is_refused(scores):
    with pytest.raises(ValueError, match="at least one game, and a pair of each"):
        score_interval(scores)


def test_results_by_seat(three):
    found = {(each.agent, each.game, each.seat): each for each in three.seats}
    first, second = found["a", "kuhn_poker_v0", 0], found["a", "kuhn_poker_v0", 1]
    assert (first.role, first.games, first.wins, first.draws, first.losses) == ("first", 4, 3, 0, 1)
    assert (second.role, second.games, second.wins, second.draws, second.losses) == ("second", 4, 2, 1, 1)
    assert sum(each.games for each in three.seats) == 2 * (8 + 2 + 8 + 4)


def test_seat_terms_name_the_first_role():
    # Seat 0 wins three of four games, whoever sits there.
    games = many("a", "b", [(1, 0), (1, 0), (1, 1), (0, 0)] * 500)
    (term,) = standings(games, resamples=50).seat_terms
    assert (term.game, term.first_role) == ("kuhn_poker_v0", "first")
    assert term.effect == pytest.approx(math.log(3) * ELO_PER_LOGIT, abs=1)
    assert term.interval.low < term.effect < term.interval.high


def test_faults_are_counted_by_agent_game_and_kind():
    games = [
        game("a", "b", 0, offender=0, fault="malformed", num_faults=(1, 0)),
        game("b", "a", 1, offender=1, fault="malformed", num_faults=(2, 3), pair=1)._replace(
            fault_kinds=(("illegal", "malformed"), ("truncated", "malformed", "malformed"))
        ),
        game("a", "b", 0, offender=0, fault="illegal", num_faults=(1, 0), pair=2),
        game("a", "b", 1, num_faults=(0, 1), pair=3),
        game("a", "b", 1, pair=4, label="nim_v0"),
    ]
    tables = standings(games, resamples=10)
    assert [(each.agent, each.game, each.fault, each.turns, each.games, each.played) for each in tables.faults] == [
        ("a", "kuhn_poker_v0", "illegal", 1, 1, 4),
        ("a", "kuhn_poker_v0", "malformed", 2, 2, 4),
        ("a", "kuhn_poker_v0", None, 2, 1, 4),
        ("b", "kuhn_poker_v0", None, 3, 2, 4),
    ]
    # What ended the game is not among them; of pair 3 the kind is not known.
    assert [each.kinds for each in tables.faults] == [
        (),
        (),
        (("malformed", 1), ("truncated", 1)),
        (("illegal", 1), ("malformed", 1)),
    ]
    assert {each.agent: each.faults for each in tables.ratings} == {"a": 3, "b": 0}
    assert any("3 of 5 games (60.0%) were decided by a fault" in note for note in tables.notes)


def test_a_line_of_games_tells_the_faults_of_each_seat_by_kind():
    turns = [{"seat": seat, "fault": fault} for seat, fault in ((0, "illegal"), (1, ""), (0, "malformed"), (1, None))]
    line = {"id": "1", "game": "nim_v0", "pair": 0, "agents": ["a", "b"], "roles": ["first", "second"], "turns": turns}
    (record,) = game_records([{**line, "returns": [-1, 1], "offender": 0, "fault": "malformed"}])
    assert record.fault_kinds == (("illegal", "malformed"), ())
    assert record.num_faults == (2, 0)


def test_ratings_by_game_are_those_of_the_game_alone():
    kuhn = many("a", "b", [(1, 1), (0, 1), (1, 0), (0.5, 1)]) + many("b", "c", [(1, 1), (0, 0)])
    nim = many("a", "b", [(0, 0), (0, 1)], label="nim_v0") + many("x", "y", [(1, 0)], label="nim_v0")
    tables = standings([*kuhn, *nim], resamples=50, seed=3, anchor="c")
    assert [each.game for each in tables.game_ratings] == ["kuhn_poker_v0", "nim_v0"]
    for found, own, anchor in zip(tables.game_ratings, (kuhn, nim), ("c", None), strict=True):
        assert found.ratings == standings(own, resamples=50, seed=3, anchor=anchor).ratings
    in_kuhn, in_nim = ({each.agent: each for each in found.ratings} for found in tables.game_ratings)
    # Who is ahead differs from game to game.
    assert in_kuhn["a"].rating > in_kuhn["b"].rating
    assert in_nim["a"].rating < in_nim["b"].rating
    assert in_kuhn["c"].rating == 0
    assert {agent: each.group for agent, each in in_nim.items()} == {"a": 0, "b": 0, "x": 1, "y": 1}
    assert (in_nim["a"].games, in_nim["a"].wins, in_nim["a"].losses) == (4, 1, 3)


def test_a_note_says_when_agents_played_different_games():
    cards, board = many("a", "b", [(1, 0)]), many("b", "c", [(1, 0)], label="nim_v0")
    start = "the overall rating compares agents that played different games"
    assert any(note.startswith(start) for note in standings([*cards, *board], resamples=10).notes)
    same = [*cards, *many("a", "b", [(1, 0)], label="nim_v0")]
    assert not any(note.startswith(start) for note in standings(same, resamples=10).notes)


def test_aborted_games_are_apart_and_those_that_were_finished_later_do_not_count():
    finished = many("a", "b", [(1, 1)])
    lines = [
        {"id": "x", "game": "nim_v0", "pair": 0, "agents": ["a", "c"], "reason": "timeout"},
        {"id": "x", "game": "nim_v0", "pair": 0, "agents": ["a", "c"], "reason": "no\nanswer"},
        {"id": "y", "game": "nim_v0", "pair": 1, "agents": ["a", "c"], "reason": "no answer"},
        {"id": finished[0].id, "game": "kuhn_poker_v0", "pair": 0, "agents": ["a", "b"], "reason": "timeout"},
        {"id": "torn"},
    ]
    tables = standings(finished, aborted=lines, resamples=10)
    assert [(each.agent, each.count, each.reason) for each in tables.aborted] == [
        ("a", 2, "no answer"),
        ("c", 2, "no answer"),
    ]
    assert {each.agent for each in tables.ratings} == {"a", "b"}


def test_differences_are_significant_only_after_holms_correction():
    # a takes 17 of 20 pairs from b, b and c are about equal.
    games = many("a", "b", [(1, 1)] * 17 + [(0, 0)] * 3)
    games += many("b", "c", [(1, 1)] * 10 + [(0, 0)] * 10)
    games += many("a", "c", [(1, 1)] * 14 + [(0, 0)] * 6)
    tables = standings(games, resamples=1000)
    found = {frozenset((each.better, each.worse)): each for each in tables.differences}
    ratings = {each.agent: each.rating for each in tables.ratings}
    assert len(found) == 3
    first = found[frozenset("ab")]
    assert first.better == "a"
    assert first.difference == pytest.approx(ratings["a"] - ratings["b"])
    assert first.is_significant
    equal = found[frozenset("bc")]
    assert not equal.is_significant
    assert equal.interval.low < 0 < equal.interval.high
    p_values = [each.p_value for each in tables.differences]
    assert p_values == sorted(p_values)
    # Holm: the smallest of three times 3, the next times 2, each at least the one before.
    corrected = [each.corrected_p_value for each in tables.differences]
    assert corrected[0] == pytest.approx(3 * p_values[0])
    assert corrected[1] == pytest.approx(max(corrected[0], 2 * p_values[1]))
    assert corrected[2] == pytest.approx(max(corrected[1], p_values[2]))
    for each in tables.differences:
        assert (each.p_value < 0.05) == (each.interval.low > 0)


def test_rock_paper_scissors_agents_are_an_intransitive_triple():
    wins = [(1, 1)] * 20
    games = [each for pairing in ("sr", "ps", "rp") for each in many(pairing[1], pairing[0], wins)]
    tables = standings(games, resamples=50)
    # r beats s, s beats p, p beats r.
    (triple,) = tables.triples
    assert triple.agents in {("p", "r", "s"), ("r", "s", "p"), ("s", "p", "r")}
    assert triple.scores == (1, 1, 1)
    assert triple.is_significant
    assert [each.rating for each in tables.ratings] == pytest.approx([0, 0, 0], abs=1e-6)
    assert not any(each.is_significant for each in tables.differences)


def test_the_triple_names_who_beats_whom():
    games = many("rock", "scissors", [(1, 1)] * 3) + many("scissors", "paper", [(1, 1)] * 3)
    games += many("paper", "rock", [(1, 1), (1, 0), (1, 0)])
    (triple,) = standings(games, resamples=10).triples
    assert triple.agents == ("paper", "rock", "scissors")
    assert triple.scores == pytest.approx((2 / 3, 1, 1))
    assert not triple.is_significant


def test_scores_over_different_games_are_no_triple():
    # A circle only because c beats a in another game than those in which a beats b, and b beats c.
    games = many("a", "b", [(1, 1)] * 20) + many("b", "c", [(1, 1)] * 20)
    apart = many("c", "a", [(1, 1)] * 20, label="nim_v0")
    assert standings([*games, *apart], resamples=10).triples == ()
    assert len(standings([*games, *many("c", "a", [(1, 1)] * 20)], resamples=10).triples) == 1


def test_a_transitive_chain_and_equal_agents_are_no_triple():
    games = many("a", "b", [(1, 1)]) + many("b", "c", [(1, 1)]) + many("a", "c", [(1, 1)])
    games += many("d", "e", [(1, 0)]) + many("e", "f", [(1, 0)]) + many("d", "f", [(1, 0)])
    assert standings(games, resamples=10).triples == ()


def test_groups_that_never_met_are_not_compared():
    games = many("a", "b", [(1, 1), (0, 1)]) + many("x", "y", [(1, 1), (1, 0)]) + many("b", "c", [(1, 1)])
    tables = standings(games, resamples=20, anchor="x")
    assert [(each.agent, each.group) for each in tables.ratings] == [("a", 0), ("b", 0), ("c", 0), ("x", 1), ("y", 1)]
    assert {(each.better, each.worse) for each in tables.differences if "x" in (each.better, each.worse)} == {
        ("x", "y")
    }
    assert tables.ratings[3].rating == 0
    assert any(note.startswith("not connected") and "a, b, c; x, y" in note for note in tables.notes)
    assert any(note.startswith("x is the 0 of its own group only") for note in tables.notes)


def test_notes_say_what_a_reader_should_know():
    games = [*many("a", "b", [(1, 1)] * 9), game("a", "b", 1, pair=9), *many("b", "c", [(1, 0)] * 10)]
    games += [game("a", "a", 1)]
    notes = standings(games, resamples=10).notes
    assert not any("connected" in note for note in notes)
    assert any(note.startswith("a won every game") for note in notes)
    assert any(note.startswith("1 pair without a game in the other seating") for note in notes)
    assert any(note.startswith("1 game of an agent against itself") for note in notes)
    # Ten pairs each, one of them incomplete.
    assert not any(note.startswith("fewer than 10 pairs") for note in notes)
    few = standings(games[:4] + many("b", "c", [(1, 0)] * 10), resamples=10).notes
    assert any(note.startswith("fewer than 10 pairs in 1 of 2 matchups") for note in few)
    clean = many("a", "b", [(1, 0), (1, 1)] * 5)
    assert standings(clean, resamples=10).notes == ()


def test_a_note_says_when_one_game_was_played_far_more_often_than_another():
    often = many("a", "b", [(1, 0), (1, 1)] * 15)
    for number, is_noted in ((5, True), (6, False)):
        seldom = many("a", "b", [(1, 0), (0, 0)] * number, label="nim_v0")
        notes = standings([*often, *seldom], resamples=10).notes
        expected = [f"games of unequal numbers count the same: {2 * number} pairs of one and 30 of another"]
        found = [note.rstrip(".") for note in notes if note.startswith("games of unequal numbers")]
        assert found == (expected if is_noted else [])


def test_intervals_are_called_too_narrow_only_where_few_pairs_weigh_much():
    often = many("a", "b", [(1, 0), (1, 1)] * 30)
    for number, is_narrow in ((4, True), (10, False)):
        seldom = many("a", "b", [(1, 0), (0, 0)] * (number // 2), label="nim_v0")
        (note,) = (each for each in standings([*often, *seldom], resamples=10).notes if "unequal numbers" in each)
        assert note.endswith("the intervals of ratings are too narrow then.") is is_narrow


def test_an_incomplete_pair_counts():
    games = [*many("a", "b", [(1, 1)]), game("b", "a", 1, pair=1)]
    found = matchup(standings(games, resamples=10), "a", "b", "kuhn_poker_v0")
    assert (found.pairs, found.games, found.wins, found.losses, found.score) == (2, 3, 2, 1, 0.5)


def test_the_order_of_the_games_does_not_matter(three):
    games = many("a", "b", [(1, 1), (1, 0.5), (1, 0), (0, 1)])
    games += many("a", "b", [(1, 1)], label="nim_v0")
    games += many("b", "c", [(1, 1), (1, 1), (0.5, 0.5), (1, 0)])
    games += many("a", "c", [(1, 1), (1, 1)], label="nim_v0")
    shuffled = [games[place] for place in np.random.default_rng(0).permutation(len(games))]
    assert standings(shuffled, resamples=200) == three


@pytest.mark.parametrize(
    ("games", "options", "message"),
    [
        ([], {}, "got none among 0 games"),
        ([game("a", "a", 1)], {}, "got none among 1 games"),
        ([game("a", "b", 1)], {"anchor": "c"}, "'c' played no game"),
        ([game("a", "b", 1)], {"resamples": 1}, "at least 2 resamples, got 1"),
    ],
)
def test_what_has_no_standings_is_refused(games, options, message):
    with pytest.raises(ValueError, match=message):
        standings(games, **options)
