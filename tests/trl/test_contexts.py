"""What a model reads at its turn: fresh prompts, or its conversation, whose rows may be joined; and regularisation."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportGeneralTypeIssues=false

from itertools import pairwise

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from scripted import KUHN, SETTINGS, TIC_TAC_TOE, ScriptedSampler, legal_reply
from test_trainer import Recorder, RecordingTrainer, StopAt, assert_identical, make_trainer, trainer_from
from transformers import AutoModelForCausalLM, AutoTokenizer

from spiral_envs import make_match
from spiral_envs.prompts import find_next, find_style
from spiral_trl import SelfPlayConfig, SelfPlayTrainer
from spiral_trl.batching import episode_rows, turn_rows
from spiral_trl.checkpoints import STATE_FILE
from spiral_trl.collector import collect
from spiral_trl.sampling import Context, ModelAgent, PromptEncoder, Sample, SampledReply

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def conversation_agent(sampler):
    encoder = PromptEncoder(
        sampler.tokenizer, find_style("plain"), use_chat_template=False, following=find_next("plain")
    )
    return ModelAgent(
        sampler, encoder, sampler.tokenizer, max_prompt_length=900, name="self", context=Context.CONVERSATION
    )


def last_board_reply(prompt):
    """A legal move for what stands last in the prompt."""
    start = prompt.rfind("Board:\n")
    return legal_reply(prompt[start:] if start >= 0 else prompt)


def test_a_conversation_goes_on_token_by_token_where_the_last_reply_ended(tokenizer):
    agent = conversation_agent(ScriptedSampler(tokenizer, last_board_reply))
    episodes = collect([TIC_TAC_TOE], (agent, agent), num_games=4, seed=1)
    joined = 0
    for episode in episodes:
        assert episode.outcome.fault is None
        for seat in (0, 1):
            replies = [turn.response for turn in episode.turns if turn.seat == seat]
            for before, after in pairwise(replies):
                said = (*before.prompt_ids, *before.token_ids)
                assert after.prompt_ids[: len(said)] == said
                joined += 1
        observed = [turn.observation for turn in episode.turns if turn.seat == 0]
        last = tokenizer.decode([turn.response for turn in episode.turns if turn.seat == 0][-1].prompt_ids)
        assert all(observation in last for observation in observed)
        assert len(episode_rows(episode, (1.0, -1.0), learner_seats=(0, 1))) == 2
    assert joined > 8


def test_a_chat_template_ends_a_reply_once_and_begins_the_next_message(tokenizer):
    tokenizer.chat_template = CHATML
    try:
        encoder = PromptEncoder(
            tokenizer, find_style("boxed_cot"), use_chat_template=True, following=find_next("boxed_cot")
        )
        view = make_match(KUHN, seed=0).view(0)
        prompt = encoder.encode(view)
        before, after = encoder._seams
        end = before[0]
        reply = SampledReply.of("[bet]", None, prompt, Sample((5, 6, end), None, True))
        cut = SampledReply.of("[bet]", None, prompt, Sample((5, 6), None, False))
        following = encoder.encode_next(view, reply)
        assert following == encoder.encode_next(view, cut), "the end of the reply is written once"
        assert following[: len(prompt) + 3] == [*prompt, 5, 6, end]
        assert following[-len(after) :] == after
        message = find_next("boxed_cot")(view)
        assert message in tokenizer.decode(following)
        assert view.rules not in message
    finally:
        tokenizer.chat_template = None


def test_a_template_that_forgets_is_refused_and_its_options_reach_it(tokenizer):
    style, following = find_style("boxed_cot"), find_next("boxed_cot")
    tokenizer.chat_template = "{{ messages[-1].content }}{% if quiet is defined %}quiet{% endif %}"
    try:
        forgetful = PromptEncoder(tokenizer, style, use_chat_template=True, following=following)
        with pytest.raises(ValueError, match="leaves out earlier messages of a conversation: use context='turn'"):
            forgetful.check_conversation()
        view = make_match(KUHN, seed=0).view(0)
        quiet = PromptEncoder(tokenizer, style, use_chat_template=True, template_options={"quiet": True})
        assert tokenizer.decode(quiet.encode(view)) == tokenizer.decode(forgetful.encode(view)) + "quiet"
    finally:
        tokenizer.chat_template = None


@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_rows_of_turns_and_of_episodes_give_the_same_gradient(tmp_path, tokenizer, gamma):
    gradients, losses, rows = {}, {}, {}
    for unit in ("turn", "episode"):
        recorder = Recorder()
        trainer = make_trainer(
            tmp_path / unit,
            tokenizer,
            sampler=ScriptedSampler(tokenizer, last_board_reply),
            callbacks=[recorder],
            kind=RecordingTrainer,
            rows=unit,
            context="conversation",
            gamma=gamma,
            max_steps=1,
            max_grad_norm=0.0,
            per_device_train_batch_size=20,
        )
        fit = trainer._fit
        trainer._fit = lambda given, unit=unit, fit=fit: rows.update({unit: len(given)}) or fit(given)
        trainer.train()
        gradients[unit], losses[unit] = recorder.gradients[0], sum(trainer.losses)
    assert rows["episode"] < rows["turn"]
    assert losses["turn"] == pytest.approx(losses["episode"], rel=1e-5)
    for name, gradient in gradients["turn"].items():
        torch.testing.assert_close(gradients["episode"][name], gradient, rtol=1e-4, atol=2e-6)
    assert max(gradient.abs().max() for gradient in gradients["turn"].values()) > 1e-3


def test_the_discount_counts_a_players_own_turns(tmp_path, tokenizer):
    agent = conversation_agent(ScriptedSampler(tokenizer, last_board_reply))
    (episode,) = collect([TIC_TAC_TOE], (agent, agent), num_games=1, seed=1)
    own = [turn for turn in episode.turns if turn.seat == 0]
    rows = turn_rows(episode, (2.0, 0.0), learner_seats=(0,), gamma=0.5)
    assert [row.advantages[0] for row in rows] == [2.0 * 0.5 ** (len(own) - 1 - index) for index in range(len(own))]


# -- regularisation ----------------------------------------------------------------------------------------------------


def test_an_entropy_bonus_raises_the_entropy(tmp_path, warm_folder):
    entropies = {}
    for coefficient in (0.0, 0.5):
        trainer = trainer_from(
            warm_folder,
            tmp_path / str(coefficient),
            entropy_coef=coefficient,
            advantage_estimator="none",
            learning_rate=3e-3,
            max_steps=8,
        )
        trainer.train()
        entropies[coefficient] = [record for record in trainer.state.log_history if "games" in record][-1]["entropy"]
    assert entropies[0.5] > 1.5 * entropies[0.0]


def test_a_moving_reference_moves_and_a_resumed_run_has_it(tmp_path, warm_folder):
    settings = {
        "beta": 0.2,
        "sync_ref_model": True,
        "ref_model_sync_steps": 2,
        "ref_model_mixup_alpha": 0.5,
        "save_strategy": "steps",
        "save_steps": 3,
        "max_steps": 6,
        "save_total_limit": 3,
        "learning_rate": 1e-2,
    }
    straight = trainer_from(warm_folder, tmp_path / "straight", **settings)
    straight.train()
    trainer_from(warm_folder, tmp_path / "resumed", callbacks=[StopAt(3)], **settings).train()
    resumed = trainer_from(warm_folder, tmp_path / "resumed", **settings)
    resumed.train(resume_from_checkpoint=True)
    one, other = tmp_path / "straight" / "checkpoint-6", tmp_path / "resumed" / "checkpoint-6"
    assert_identical(load_file(one / "model.safetensors"), load_file(other / "model.safetensors"))
    assert (one / STATE_FILE).read_bytes() == (other / STATE_FILE).read_bytes()
    assert_identical(dict(straight.ref_model.state_dict()), dict(resumed.ref_model.state_dict()))
    first = AutoModelForCausalLM.from_pretrained(warm_folder).state_dict()
    moved = [name for name, each in straight.ref_model.state_dict().items() if not torch.equal(each, first[name])]
    assert moved


# -- adapters ----------------------------------------------------------------------------------------------------------

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}


def lora_trainer(folder, output, **settings):
    args = SelfPlayConfig(output_dir=str(output), **{**SETTINGS, **settings})
    return SelfPlayTrainer(model=str(folder), args=args, peft_config=LoraConfig(**LORA))


def test_an_adapter_trains_alone_and_its_reference_is_the_model_without_it(tmp_path, warm_folder):
    trainer = lora_trainer(warm_folder, tmp_path / "run", beta=0.3, max_steps=3, learning_rate=1e-2)
    before = {name: each.detach().clone() for name, each in trainer.model.named_parameters()}
    trainer.train()
    changed = [name for name, each in trainer.model.named_parameters() if not torch.equal(each, before[name])]
    assert changed
    assert all("lora_" in name for name in changed)
    kls = [record["kl"] for record in trainer.state.log_history if "kl" in record]
    # An adapter begins as no change at all.
    assert kls[0] == pytest.approx(0.0, abs=1e-7)
    assert kls[-1] > 1e-6


def test_the_reference_of_an_adapter_that_was_trained_before_is_its_copy(tmp_path, warm_folder):
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(warm_folder), LoraConfig(**LORA))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.3)
    args = SelfPlayConfig(output_dir=str(tmp_path), **{**SETTINGS, "beta": 0.3, "max_steps": 1})
    tokenizer = AutoTokenizer.from_pretrained(warm_folder, padding_side="left")
    trainer = SelfPlayTrainer(model=adapted, args=args, processing_class=tokenizer)
    trainer.train()
    assert next(record["kl"] for record in trainer.state.log_history if "kl" in record) == pytest.approx(0, abs=1e-7)


def test_an_adapter_plays_against_its_snapshots_and_resumes_bit_for_bit(tmp_path, warm_folder):
    settings = {
        "opponents": {"self": 0.5, "league": 0.5},
        "league_snapshot_steps": 1,
        "league_selection": "latest",
        "save_strategy": "steps",
        "save_steps": 2,
        "max_steps": 4,
        "save_total_limit": 3,
        "learning_rate": 1e-2,
        "games_per_batch": 4,
    }
    straight = lora_trainer(warm_folder, tmp_path / "straight", **settings)
    straight.train()
    stopped = lora_trainer(warm_folder, tmp_path / "resumed", **settings)
    stopped.add_callback(StopAt(2))
    stopped.train()
    resumed = lora_trainer(warm_folder, tmp_path / "resumed", **settings)
    resumed.train(resume_from_checkpoint=True)
    one, other = tmp_path / "straight" / "checkpoint-4", tmp_path / "resumed" / "checkpoint-4"
    assert_identical(load_file(one / "adapter_model.safetensors"), load_file(other / "adapter_model.safetensors"))
    assert (tmp_path / "straight" / "games.jsonl").read_bytes() == (tmp_path / "resumed" / "games.jsonl").read_bytes()
    step, agent = straight._playing._snapshot
    snapshot = agent._sampler._model
    merged = load_file(tmp_path / "straight" / "league" / f"step-{step}" / "adapter_model.safetensors")
    assert any(each.any() for name, each in merged.items() if "lora_B" in name)
    base = AutoModelForCausalLM.from_pretrained(warm_folder)
    assert not torch.equal(
        snapshot.model.layers[0].self_attn.q_proj.weight, base.model.layers[0].self_attn.q_proj.weight
    )


def test_rows_of_episodes_without_a_conversation_are_refused():
    with pytest.raises(ValueError, match="rows='episode' needs context='conversation'"):
        SelfPlayConfig(output_dir="unused", **{**SETTINGS, "rows": "episode"})


def test_a_conversation_without_a_following_message_is_refused(tokenizer):
    encoder = PromptEncoder(tokenizer, find_style("plain"), use_chat_template=False)
    reply = SampledReply.of("", None, (1,), Sample((2,), None, True))
    with pytest.raises(ValueError, match="made for single turns"):
        encoder.encode_next(make_match(KUHN, seed=0).view(0), reply)
