"""The play loop: batches, order, concurrency, records."""

import json

import pytest

from spiral_envs import Fault, Reply, Termination, make_agent, make_match, play


class Recorder:
    """Plays the first legal move, and remembers the matches' seats and turns of every batch."""

    def __init__(self, name="recorder"):
        self.name = name
        self.batches = []

    def act(self, views):
        self.batches.append([(view.seat, view.turn) for view in views])
        return [view.legal_moves[0] for view in views]


def matches(number, game="tic_tac_toe_v0", **options):
    return (make_match(game, seed=seed, **options) for seed in range(number))


def test_an_agent_gets_all_its_turns_of_a_round_as_one_batch():
    first, second = Recorder(), Recorder()
    episodes = list(play(matches(10), [first, second]))
    # The first free cell in turn: X wins with 2, 4, 6 at ply 7.
    assert len(episodes) == 10
    assert first.batches == [[(0, turn)] * 10 for turn in (0, 2, 4, 6)]
    assert second.batches == [[(1, turn)] * 10 for turn in (1, 3, 5)]


def test_an_agent_in_both_seats_gets_both_seats_turns_in_one_batch():
    agent = Recorder()
    episodes = list(play(matches(6, "kuhn_poker_v0"), [agent, agent]))
    assert len(episodes) == 6
    assert all(len(batch) == 6 for batch in agent.batches)
    # Everybody checks: five hands of two turns, the first mover alternating.
    assert [batch[0][0] for batch in agent.batches] == [0, 1, 1, 0, 0, 1, 1, 0, 0, 1]


def test_agents_of_one_name_are_still_two_agents():
    agents = [Recorder("same"), Recorder("same")]
    episodes = list(play(matches(2), agents))
    assert episodes[0].agents == ("same", "same")
    assert {seat for batch in agents[0].batches for seat, _ in batch} == {0}


def test_no_more_matches_run_than_asked_for():
    agent = Recorder()
    episodes = list(play(matches(10), [agent, agent], concurrency=4))
    assert sorted(episode.index for episode in episodes) == list(range(10))
    assert max(map(len, agent.batches)) == 4
    # Matches of equal length start together: 4, 4 and 2, of 7 turns each.
    assert [len(batch) for batch in agent.batches] == [4] * 14 + [2] * 7


def test_matches_are_started_only_when_there_is_room():
    started = []

    def lazily():
        for seed in range(6):
            started.append(seed)
            yield make_match("tic_tac_toe_v0", seed=seed)

    episodes = play(lazily(), [Recorder(), Recorder()], concurrency=2)
    assert started == []
    next(episodes)
    assert started == [0, 1]


def test_episodes_come_as_they_finish_with_the_index_of_their_start():
    class ForfeitsOddSeeds:
        name = "forfeits"

        def __init__(self):
            self.calls = 0

        def act(self, views):
            self.calls += 1
            return ["nonsense" if self.calls == 1 and at % 2 else view.legal_moves[0] for at, view in enumerate(views)]

    agent = ForfeitsOddSeeds()
    episodes = list(play(matches(4), [agent, agent]))
    assert [episode.index for episode in episodes] == [1, 3, 0, 2]
    assert [episode.seed for episode in episodes] == [1, 3, 0, 2]
    assert [episode.outcome.termination for episode in episodes] == [Termination.FORFEIT] * 2 + [
        Termination.FINISHED
    ] * 2


def test_a_free_place_is_filled_with_the_next_match():
    class ForfeitsAtOnce(Recorder):
        def act(self, views):
            super().act(views)
            return ["nonsense"] * len(views)

    agent = ForfeitsAtOnce()
    assert len(list(play(matches(5), [agent, agent], concurrency=2))) == 5
    assert [len(batch) for batch in agent.batches] == [2, 2, 1]


@pytest.mark.parametrize("replies", [[], ["[0]"], ["[0]", "[0]", "[0]"]])
def test_a_wrong_number_of_replies_raises(replies):
    class Miscounts:
        name = "miscounts"

        def act(self, views):
            return replies

    agent = Miscounts()
    with pytest.raises(ValueError, match=f"agent 'miscounts' returned {len(replies)} replies to 2 views"):
        list(play(matches(2), [agent, agent]))


def test_a_wrong_number_of_agents_raises():
    with pytest.raises(ValueError, match="tic_tac_toe_v0 has 2 seats, but 1 agents sit down"):
        list(play(matches(1), [Recorder()]))


@pytest.mark.parametrize("concurrency", [0, -3])
def test_no_room_at_all_raises(concurrency):
    with pytest.raises(ValueError, match="expected at least 1"):
        list(play(matches(1), [Recorder(), Recorder()], concurrency=concurrency))


def test_no_matches_give_no_episodes():
    assert list(play([], [Recorder(), Recorder()])) == []


def test_a_match_that_is_over_already_is_only_recorded():
    match = make_match("tic_tac_toe_v0", seed=0)
    match.submit("nonsense")
    agent = Recorder()
    (episode,) = play([match], [agent, agent])
    assert episode.outcome.offender == 0
    assert agent.batches == []


def test_different_games_play_together():
    agent = Recorder()
    both = [make_match("tic_tac_toe_v0", seed=0), make_match("kuhn_poker_v0", seed=0, hands=1)]
    assert {episode.game for episode in play(both, [agent, agent])} == {"tic_tac_toe_v0", "kuhn_poker_v0(hands=1)"}


def test_the_schedule_depends_on_nothing_but_matches_and_replies():
    def turns(concurrency):
        # One agent a match and seat, so that the batches do not share random numbers.
        episodes = play(matches(50, "kuhn_poker_v0"), [Recorder(), Recorder()], concurrency=concurrency)
        return {episode.index: episode.turns for episode in episodes}

    assert turns(1) == turns(7) == turns(512)


def test_hundreds_of_matches_repeat_from_their_seeds():
    def run():
        agents = [make_agent("random", seed=1), make_agent("random", seed=2)]
        return [(episode.index, episode.outcome.returns) for episode in play(matches(300, "kuhn_poker_v0"), agents)]

    assert run() == run()


def test_an_episode_holds_what_happened():
    class Truncated(Recorder):
        def act(self, views):
            return [Reply("[4", Fault.TRUNCATED)] * len(views)

    (episode,) = play(matches(1), [Recorder("alice"), Truncated("bob")])
    assert (episode.index, episode.game, episode.seed) == (0, "tic_tac_toe_v0", 0)
    assert (episode.roles, episode.agents) == (("X", "O"), ("alice", "bob"))
    assert [turn.seat for turn in episode.turns] == [0, 1]
    assert episode.outcome.fault is Fault.TRUNCATED
    assert json.loads(json.dumps(episode.to_json())) == {
        "index": 0,
        "game": "tic_tac_toe_v0",
        "seed": 0,
        "roles": ["X", "O"],
        "agents": ["alice", "bob"],
        "returns": [1.0, -1.0],
        "termination": "forfeit",
        "offender": 1,
        "fault": "truncated",
        "reason": "O forfeits: the reply was cut by the length limit",
        "turns": [
            {
                "seat": 0,
                "observation": "Board:\n 0 1 2\n 3 4 5\n 6 7 8\nYou play X. It is your turn.",
                "response": "[0]",
                "move": "[0]",
                "rule": "own_text",
                "fault": None,
                "reason": "",
            },
            {
                "seat": 1,
                "observation": "Board:\n X 1 2\n 3 4 5\n 6 7 8\nYou play O. It is your turn.",
                "response": "[4",
                "move": None,
                "rule": "none",
                "fault": "truncated",
                "reason": "the reply was cut by the length limit",
            },
        ],
    }
