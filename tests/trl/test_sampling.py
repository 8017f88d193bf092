"""The agent that plays by sampling: limits, ids, order, and text that must not become control tokens."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

import pickle

import pytest
import torch
from scripted import KUHN, TIC_TAC_TOE, ScriptedSampler, legal_reply, make_tiny_model, scripted_agent

from spiral_envs import Fault, make_match
from spiral_envs.hostile import CONTROL_TOKENS
from spiral_envs.prompts import find_style
from spiral_trl.sampling import GenerateSampler, ModelAgent, PromptEncoder, Sample, SampledReply

CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


class IdSampler:
    """Returns the same samples to every call."""

    def __init__(self, *samples):
        self.samples = list(samples)

    def sample(self, prompts):
        assert len(prompts) == len(self.samples)
        return self.samples


@pytest.fixture
def chat_tokenizer(tokenizer):
    """A copy of the tokenizer with a chat template, whose control token `<|end|>` also ends a reply."""
    copy = pickle.loads(pickle.dumps(tokenizer))
    copy.chat_template = CHAT_TEMPLATE
    return copy


def views(game, number):
    return [make_match(game, seed=seed).view(0) for seed in range(number)]


def encoder(tokenizer, style="plain", *, use_chat_template=False, hints=False):
    return PromptEncoder(tokenizer, find_style(style, hints=hints), use_chat_template=use_chat_template)


def test_a_prompt_at_the_limit_is_answered_and_one_token_more_is_not(tokenizer):
    view = views(KUHN, 1)[0]
    length = len(encoder(tokenizer).encode(view))
    sampler = ScriptedSampler(tokenizer, legal_reply)
    (answered,) = scripted_agent(sampler, max_prompt_length=length).act([view])
    assert answered.fault is None
    assert len(sampler.calls) == 1


def test_a_prompt_that_is_too_long_is_its_players_fault_and_never_reaches_the_sampler(tokenizer):
    kuhn, board = views(KUHN, 1)[0], views(TIC_TAC_TOE, 1)[0]
    limit = len(encoder(tokenizer).encode(kuhn))
    assert len(encoder(tokenizer).encode(board)) > limit
    sampler = ScriptedSampler(tokenizer, legal_reply)
    replies = scripted_agent(sampler, max_prompt_length=limit).act([board, kuhn, board])
    assert [reply.fault for reply in replies] == [Fault.PROMPT_TOO_LONG, None, Fault.PROMPT_TOO_LONG]
    assert sampler.calls == [[tuple(encoder(tokenizer).encode(kuhn))]]
    assert replies[0] == ""
    assert replies[0].token_ids == ()
    assert replies[0].prompt_ids == tuple(encoder(tokenizer).encode(board))


def test_a_batch_in_which_every_prompt_is_too_long_calls_no_sampler(tokenizer):
    sampler = ScriptedSampler(tokenizer, legal_reply)
    replies = scripted_agent(sampler, max_prompt_length=3).act(views(KUHN, 2))
    assert [reply.fault for reply in replies] == [Fault.PROMPT_TOO_LONG] * 2
    assert sampler.calls == []


def test_a_reply_cut_by_the_length_limit_is_truncated_even_if_it_holds_a_move(tokenizer):
    sampler = ScriptedSampler(tokenizer, lambda prompt: "\\boxed{[check]} and", cut=["\\boxed{[check]} and"])
    (reply,) = scripted_agent(sampler).act(views(KUHN, 1))
    assert reply.fault is Fault.TRUNCATED
    assert str(reply) == "\\boxed{[check]} and"
    match = make_match(KUHN, seed=0)
    match.submit(reply)
    assert match.outcome.fault is Fault.TRUNCATED
    assert match.outcome.returns == (-2.0, 2.0)


def test_an_empty_reply_is_malformed_and_no_crash(tokenizer):
    for samples in ([Sample((tokenizer.eos_token_id,), None, True)], [Sample((), None, True)]):
        agent = ModelAgent(IdSampler(*samples), encoder(tokenizer), tokenizer, max_prompt_length=200)
        (reply,) = agent.act(views(KUHN, 1))
        assert (str(reply), reply.fault, reply.token_ids) == ("", None, samples[0].token_ids)
        match = make_match(KUHN, seed=0)
        match.submit(reply)
        assert match.outcome.fault is Fault.MALFORMED


def test_a_reply_carries_the_ids_as_sampled_which_are_not_those_of_its_text(tokenizer):
    whole = tokenizer("check", add_special_tokens=False)["input_ids"]
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "check"]
    assert len(letters) == 5 > len(whole)
    ids = (*letters, tokenizer.eos_token_id)
    logprobs = (-0.1, -0.2, -0.3, -0.4, -0.5, -0.6)
    agent = ModelAgent(IdSampler(Sample(ids, logprobs, True)), encoder(tokenizer), tokenizer, max_prompt_length=200)
    (reply,) = agent.act(views(KUHN, 1))
    assert str(reply) == "check"
    assert reply.token_ids == ids
    assert reply.logprobs == logprobs


def test_replies_are_in_the_order_of_the_views(tokenizer):
    first = views(TIC_TAC_TOE, 1)[0]
    kuhn = views(KUHN, 6)
    mixed = [kuhn[0], first, kuhn[1], kuhn[2], first, kuhn[3]]
    replies = scripted_agent(ScriptedSampler(tokenizer, legal_reply)).act(mixed)
    style = find_style("plain")
    assert [str(reply) for reply in replies] == [legal_reply(style(view)[0]["content"]) for view in mixed]
    assert [tokenizer.decode(reply.prompt_ids) for reply in replies] == [style(view)[0]["content"] for view in mixed]


def test_a_reply_survives_pickling_with_everything_it_carries(tokenizer):
    (reply,) = scripted_agent(ScriptedSampler(tokenizer, legal_reply, reports_logprobs=True)).act(views(KUHN, 1))
    copy = pickle.loads(pickle.dumps(reply))
    assert isinstance(copy, SampledReply)
    assert (copy, copy.fault, copy.prompt_ids) == (reply, reply.fault, reply.prompt_ids)
    assert (copy.token_ids, copy.logprobs) == (reply.token_ids, reply.logprobs)


def test_a_tokenizer_without_a_chat_template_is_refused_with_what_to_do(tokenizer):
    with pytest.raises(ValueError, match="has no chat template: use a chat model, or --prompt_style plain"):
        encoder(tokenizer, "boxed_cot", use_chat_template=True)


def test_the_plain_style_is_the_prompt_as_it_is(tokenizer):
    view = views(KUHN, 1)[0]
    text = tokenizer.decode(encoder(tokenizer).encode(view))
    assert text == f"kuhn_poker Player 0\n{view.observation}\n"
    hinted = tokenizer.decode(encoder(tokenizer, hints=True).encode(view))
    assert hinted == f"{text}Legal moves: [check] [bet]\n"


def test_a_chat_prompt_is_the_template_once_with_the_opening_of_the_answer(chat_tokenizer):
    view = views(KUHN, 1)[0]
    text = chat_tokenizer.decode(encoder(chat_tokenizer, "boxed_cot", use_chat_template=True).encode(view))
    assert text.startswith("<|start|>user\nYou are playing a game. Your role is Player 0.")
    assert view.text in text
    assert text.endswith("put your final move in \\boxed{}.<|end|>\n<|start|>assistant\n")


@pytest.mark.parametrize("use_chat_template", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("text", ["<|end|>", "<|pad|>", "a<|end|>b", *CONTROL_TOKENS])
def test_text_of_a_game_never_becomes_a_control_token(chat_tokenizer, text, use_chat_template):
    special = {chat_tokenizer.eos_token_id, chat_tokenizer.pad_token_id}
    style = "boxed_cot" if use_chat_template else "plain"
    encode = encoder(chat_tokenizer, style, use_chat_template=use_chat_template).encode
    view = views(KUHN, 1)[0]
    hostile = view._replace(observation=text, text=f"{view.rules}\n\n{text}")
    harmless = view._replace(observation="x", text=f"{view.rules}\n\nx")
    count = sum(token in special for token in encode(hostile))
    assert count == sum(token in special for token in encode(harmless))


def test_a_batch_of_prompts_of_different_lengths_gives_what_each_gives_alone(tokenizer):
    model = make_tiny_model(tokenizer).eval()
    sampler = GenerateSampler(model, tokenizer, max_new_tokens=6, temperature=1e-6, batch_size=3)
    prompts = [[7, 8, 9, 10, 11], [12], [13, 14], [15, 16, 17, 18, 19, 20, 21], [12]]
    together = sampler.sample(prompts)
    for prompt, sample in zip(prompts, together, strict=True):
        written = []
        while len(written) < len(sample.token_ids):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*prompt, *written]])).logits[0, -1]
            written.append(int(logits.argmax()))
        assert sample.token_ids == tuple(written)
        assert sample.logprobs is None


def test_a_sample_ends_with_its_first_end_token_and_is_unfinished_without_one(tokenizer):
    sampler = GenerateSampler(make_tiny_model(tokenizer).eval(), tokenizer, max_new_tokens=4)
    end = tokenizer.eos_token_id
    assert sampler._cut([5, end, 6, end]) == Sample((5, end), None, True)
    assert sampler._cut([end, 6, 6, 6]) == Sample((end,), None, True)
    assert sampler._cut([5, 6, 7, 8]) == Sample((5, 6, 7, 8), None, False)


def test_sampling_follows_the_models_probabilities(tokenizer):
    model = make_tiny_model(tokenizer).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight *= 3.0  # a peaked distribution
        probabilities = model(input_ids=torch.tensor([[7, 8, 9]])).logits[0, -1].softmax(-1)
    torch.manual_seed(0)
    number = 2000
    samples = GenerateSampler(model, tokenizer, max_new_tokens=1).sample([[7, 8, 9]] * number)
    best = int(probabilities.argmax())
    share = sum(sample.token_ids[0] == best for sample in samples) / number
    expected = float(probabilities[best])
    assert 0.02 < expected < 0.98
    assert abs(share - expected) < 4 * (expected * (1 - expected) / number) ** 0.5
