"""A pool of single requests plays the games that waves play, and one long reply holds up only its own game."""

import random

import pytest
from scripted import KUHN, TIC_TAC_TOE, ScriptedSampler, legal_reply, scripted_agent

from spiral_envs import make_agent
from spiral_envs.chance import match_seed
from spiral_trl.collector import in_order, play_pool, play_waves, set_table
from spiral_trl.sampling import GenerationError


class ScriptedRequests:
    """Answers requests by a scripted sampler: one or a few at a time, in an order of its own.

    Attributes:
        most: The most requests that waited at once.
    """

    def __init__(self, sampler, *, seed=0, late=()):
        self.sampler = sampler
        self.late = late
        self.most = 0
        self._rng = random.Random(seed)
        self._waiting = []

    def submit(self, key, prompt):
        self._waiting.append((key, tuple(prompt)))
        self.most = max(self.most, len(self._waiting))

    def finished(self, timeout_s=None):
        ready = [each for each in self._waiting if each[0] not in self.late] or self._waiting
        chosen = self._rng.sample(ready, min(len(ready), self._rng.randint(1, 3)))
        self._waiting = [each for each in self._waiting if each not in chosen]
        samples = self.sampler.sample([prompt for _, prompt in chosen])
        return [(key, sample) for (key, _), sample in zip(chosen, samples, strict=True)]


def tables(agents, *, num_games=12):
    games = [TIC_TAC_TOE, KUHN]
    return (set_table(number, games[number % 2], match_seed(5, number), agents) for number in range(num_games))


def records(episodes):
    return [episode.to_json() for episode in in_order(episodes)]


@pytest.mark.parametrize("concurrency", [1, 4, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_pool_and_waves_play_the_same_games(tokenizer, concurrency, seed):
    model = scripted_agent(ScriptedSampler(tokenizer, legal_reply))
    waves = records(play_waves(tables((model, model)), concurrency=concurrency))
    requests = ScriptedRequests(ScriptedSampler(tokenizer, legal_reply), seed=seed)
    pool = records(play_pool(tables((model, model)), model, requests, concurrency=concurrency))
    assert pool == waves
    assert [record["index"] for record in pool] == list(range(12))
    assert requests.most == min(concurrency, 12)


def test_agents_beside_the_model_answer_in_a_pool_as_in_waves(tokenizer):
    model = scripted_agent(ScriptedSampler(tokenizer, legal_reply))
    opponents = [make_agent("first"), make_agent("minimax", seed=1)]
    games = [TIC_TAC_TOE] * 6

    def mixed():
        return (
            set_table(number, game, number, (model, opponents[number % 2])[:: 1 if number % 3 else -1])
            for number, game in enumerate(games)
        )

    # The first agent has no draws of its own; minimax draws, so its games are compared by how they end.
    waves = records(play_waves(mixed()))
    pool = records(play_pool(mixed(), model, ScriptedRequests(ScriptedSampler(tokenizer, legal_reply))))
    assert pool[0::2] == waves[0::2]
    for record in pool[1::2]:
        seat = record["agents"].index("minimax")
        assert record["returns"][seat] >= 0, "minimax never loses"


def test_one_long_reply_holds_up_only_its_own_game(tokenizer):
    model = scripted_agent(ScriptedSampler(tokenizer, legal_reply))
    requests = ScriptedRequests(ScriptedSampler(tokenizer, legal_reply), late={0})
    finished = [
        episode.index for episode in play_pool(tables((model, model), num_games=20), model, requests, concurrency=4)
    ]
    assert finished[-1] == 0
    assert sorted(finished) == list(range(20))


def test_a_prompt_that_is_too_long_is_a_fault_in_a_pool_too(tokenizer):
    model = scripted_agent(ScriptedSampler(tokenizer, legal_reply), max_prompt_length=3)
    requests = ScriptedRequests(ScriptedSampler(tokenizer, legal_reply))
    episodes = list(play_pool(tables((model, model)), model, requests, concurrency=3))
    assert len(episodes) == 12
    assert {episode.outcome.fault for episode in episodes} == {"prompt_too_long"}
    assert requests.most == 0


class Gone:
    def submit(self, key, prompt):
        pass

    def finished(self, timeout_s=None):
        raise GenerationError("the server is gone")


class Broken:
    name = "broken"

    def act(self, views):
        raise RuntimeError("no reply today")


def test_what_goes_wrong_in_a_backend_or_in_another_agent_ends_the_pool(tokenizer):
    model = scripted_agent(ScriptedSampler(tokenizer, legal_reply))
    with pytest.raises(GenerationError, match="the server is gone"):
        list(play_pool(tables((model, model)), model, Gone()))
    requests = ScriptedRequests(ScriptedSampler(tokenizer, legal_reply))
    with pytest.raises(RuntimeError, match="no reply today"):
        list(play_pool(tables((Broken(), model)), model, requests))


def test_another_number_of_replies_than_turns_is_refused(tokenizer):
    class Short:
        name = "short"

        def act(self, views):
            return ["1"] * (len(views) - 1)

    with pytest.raises(ValueError, match="agent 'short' returned 11 replies to 12 views"):
        list(play_waves(tables((Short(), Short()))))


def test_a_table_has_as_many_agents_as_the_game_has_seats():
    agent = make_agent("first")
    with pytest.raises(ValueError, match="kuhn_poker_v0 has 2 seats, but 3 agents sit down"):
        set_table(0, "kuhn_poker_v0", 0, (agent, agent, agent))
