"""A model in a folder as an agent."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false

import pytest

from spiral_envs import make_agent, make_match, play
from spiral_trl.agents import make_hf_agent, model_agent
from spiral_trl.sampling import Sample

KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"


class Silent:
    def sample(self, prompts):
        return [Sample((), None, True) for _ in prompts]


def episodes(agent, number=12):
    return list(play((make_match(KUHN, seed=seed) for seed in range(number)), (agent, agent)))


def test_a_folder_is_an_agent_by_its_agent_string(warm_folder):
    agent = make_agent(f"hf:{warm_folder}", seed=1)
    assert agent.name == f"hf:{warm_folder}"
    played = episodes(agent)
    assert len(played) == 12
    assert {episode.agents for episode in played} == {(agent.name, agent.name)}
    finished = sum(episode.outcome.fault is None for episode in played)
    assert finished >= 6, "the warm model mostly plays legal moves"


def test_the_same_seed_plays_the_same_games(warm_folder):
    first, second, other = (
        [each.to_json() for each in episodes(make_hf_agent(str(warm_folder), seed=seed))] for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


def test_a_kind_without_a_model_is_refused():
    with pytest.raises(ValueError, match="agent 'hf' needs a model: hf:PATH_OR_ID"):
        make_hf_agent("", seed=0)


def test_a_model_without_a_chat_template_is_prompted_in_the_plain_style(tokenizer):
    agent = model_agent(Silent(), tokenizer, max_prompt_length=100, name="silent")
    view = make_match(KUHN, seed=0).view(0)
    (reply,) = agent.act([view])
    assert tokenizer.decode(reply.prompt_ids) == f"kuhn_poker Player 0\n{view.observation}\n"
