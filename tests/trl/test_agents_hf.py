"""A model in a folder as an agent."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

import json
import re
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from spiral_envs import UnknownNameError, make_agent, make_match, play
from spiral_trl.agent_options import HfOptions, VllmOptions, find_model
from spiral_trl.agents import VllmSampler, make_hf_agent, make_vllm_agent, prompt_encoder
from spiral_trl.sampling import GenerationError, ModelAgent, Sample

KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"

VIEW = make_match(KUHN, seed=0).view(0)


class Silent:
    def sample(self, prompts):
        return [Sample((), None, True) for _ in prompts]


def silent(tokenizer, *, hints):
    encoder = prompt_encoder(tokenizer, style=None, hints=hints)
    return ModelAgent(Silent(), encoder, tokenizer, max_prompt_length=100, name="silent")


def episodes(agent, number=12):
    return list(play((make_match(KUHN, seed=seed) for seed in range(number)), (agent, agent)))


def replies(argument, *, seed=0, number=40):
    return make_hf_agent(argument, seed=seed).act([VIEW] * number)


@pytest.fixture(scope="module")
def run_folder(warm_folder, tmp_path_factory):
    """The folder of a training run: two checkpoints, one that was not finished, and no final model."""
    folder = tmp_path_factory.mktemp("run") / "kuhn"
    for step in (20, 100):
        shutil.copytree(warm_folder, folder / f"checkpoint-{step}")
    (folder / "checkpoint-120").mkdir()
    return folder


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


def test_a_model_without_a_chat_template_is_prompted_in_the_plain_style(tokenizer):
    agent = silent(tokenizer, hints=False)
    (reply,) = agent.act([VIEW])
    assert tokenizer.decode(reply.prompt_ids) == f"kuhn_poker Player 0\n{VIEW.observation}\n"


def test_hints_list_the_legal_moves(tokenizer):
    agent = silent(tokenizer, hints=True)
    (reply,) = agent.act([VIEW])
    assert tokenizer.decode(reply.prompt_ids).endswith("\nLegal moves: [check] [bet]\n")


def test_temperature_0_takes_the_most_probable_token(warm_folder):
    greedy = replies(f"{warm_folder}?temperature=0&max_tokens=6")
    assert set(greedy) == set(replies(f"{warm_folder}?temperature=0&max_tokens=6", seed=1))
    assert len(set(greedy)) == 1
    assert len(set(replies(f"{warm_folder}?temperature=5&max_tokens=6"))) > 10
    # However high the temperature, one token or next to no probability leaves the most probable one.
    assert set(replies(f"{warm_folder}?temperature=5&top_k=1&max_tokens=6")) == set(greedy)
    assert set(replies(f"{warm_folder}?temperature=5&top_p=0.000001&max_tokens=6")) == set(greedy)


def test_max_tokens_cuts_replies(warm_folder):
    cut = replies(f"{warm_folder}?max_tokens=1")
    assert {len(reply.token_ids) for reply in cut} == {1}
    whole = replies(f"{warm_folder}")
    assert max(len(reply.token_ids) for reply in whole) > 1
    with pytest.raises(ValueError, match=r"max_tokens=\d+ leaves agent 'hf:.*' no room for a prompt: its context has"):
        make_hf_agent(f"{warm_folder}?max_tokens=100000", seed=0)


def test_prompts_are_run_in_batches_of_the_size_that_is_asked_for(warm_folder, monkeypatch):
    sizes = []

    def generate(self, input_ids, **_):
        sizes.append(len(input_ids))
        return torch.cat([input_ids, torch.zeros_like(input_ids[:, :1])], dim=1)

    monkeypatch.setattr("transformers.GenerationMixin.generate", generate)
    replies(f"{warm_folder}?batch_size=3", number=8)
    assert sizes == [3, 3, 2]


def test_a_dtype_is_what_the_model_computes_with(warm_folder, monkeypatch):
    loaded = []

    def to(self, *_):
        loaded.append(self.dtype)
        return self

    monkeypatch.setattr("transformers.PreTrainedModel.to", to)
    make_hf_agent(f"{warm_folder}?dtype=bfloat16", seed=0)
    make_hf_agent(f"{warm_folder}", seed=0)
    assert loaded == [torch.bfloat16, torch.float32]


def test_a_step_names_a_checkpoint_of_a_run(run_folder, warm_folder):
    assert find_model(HfOptions.parse(f"{run_folder}?step=20")) == f"{run_folder}/checkpoint-20"
    assert find_model(VllmOptions.parse(f"{run_folder}?step=100")) == f"{run_folder}/checkpoint-100"
    assert find_model(HfOptions.parse(str(warm_folder))) == str(warm_folder)
    assert find_model(HfOptions.parse("Qwen/Qwen3-4B")) == "Qwen/Qwen3-4B"
    agent = make_hf_agent(f"{run_folder}?step=20&temperature=0.60", seed=0)
    assert agent.name == f"hf:{run_folder}?step=20&temperature=0.6"
    assert agent.act([VIEW]) == replies(f"{warm_folder}?temperature=0.6", number=1)


def test_a_run_without_a_step_is_its_final_model(run_folder, warm_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    shutil.copytree(warm_folder, tmp_path / "run" / "final")
    for argument in (f"{tmp_path}/run", f"{tmp_path}/run?step=final"):
        assert find_model(HfOptions.parse(argument)) == f"{tmp_path}/run/final"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "has no final model: there is step=20 or step=100"),
        ("?step=final", "has no final model: there is step=20 or step=100"),
        ("?step=21", "has no checkpoint of step 21: there is step=20 or step=100"),
        # It was not finished.
        ("?step=120", "has no checkpoint of step 120: there is step=20 or step=100"),
    ],
)
def test_a_step_that_is_not_there_is_refused_with_those_that_are(run_folder, query, said):
    with pytest.raises(ValueError, match=said):
        make_hf_agent(f"{run_folder}{query}", seed=0)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("", "agent 'hf' needs a model: hf:PATH_OR_ID"),
        ("?step=3", "agent 'hf' needs a model: hf:PATH_OR_ID"),
        ("/no/such/folder", "there is no folder '/no/such/folder'"),
        ("a b", "there is no folder 'a b'"),
        ("runs/kuhn?step=3", "there is no folder 'runs/kuhn'"),
        ("no/such", "cannot load model 'no/such': there is no such folder, and of the hub it is said: "),
        ("m?temprature=1", "unknown option of the hf agent 'temprature': did you mean temperature"),
        ("m?gpu_memory_utilization=0.5", "unknown option of the hf agent 'gpu_memory_utilization'"),
        ("m?step=last", "option step of the hf agent is 'last': expected the number of a step, or final"),
        ("m?step=07", "option step of the hf agent is '07': expected the number of a step, or final"),
        ("m?temperature=-1", "option temperature of the hf agent is -1.0: expected a finite number from 0"),
        ("m?temperature=1e999", "option temperature of the hf agent is inf: expected a finite number from 0"),
        ("m?top_p=0", "option top_p of the hf agent is 0.0: expected more than 0 and at most 1"),
        ("m?top_k=-1", "option top_k of the hf agent is -1: expected at least 0"),
        ("m?max_tokens=0", "option max_tokens of the hf agent is 0: expected at least 1"),
        ("m?style=poem", "option style of the hf agent is 'poem': expected boxed_cot or plain"),
        ("m?hints=yes", "option hints of the hf agent is 'yes': expected true or false"),
        ("m?dtype=int8", "option dtype of the hf agent is 'int8': expected float32 or bfloat16 or float16"),
        ("m?batch_size=0", "option batch_size of the hf agent is 0: expected at least 1"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(argument, said):
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        make_hf_agent(argument, seed=0)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, UnknownNameError) == said.startswith("unknown")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no model, nor checkpoints of a training run"):
        make_hf_agent(str(tmp_path), seed=0)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cannot load model '.*': \S"):
        make_hf_agent(str(tmp_path), seed=0)


def test_a_style_that_needs_a_chat_template_is_refused_without_one(warm_folder):
    with pytest.raises(ValueError, match="has no chat template"):
        make_hf_agent(f"{warm_folder}?style=boxed_cot", seed=0)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("m", HfOptions(path="m")),
        (
            "x?step=final&temperature=0.6&top_p=0.95&top_k=2&max_tokens=512&style=plain&hints=true&dtype=float16&batch_size=8",
            HfOptions(
                path="x",
                step="final",
                temperature=0.6,
                top_p=0.95,
                top_k=2,
                max_tokens=512,
                style="plain",
                hints=True,
                dtype="float16",
                batch_size=8,
            ),
        ),
        (
            "m?max_tokens=64&gpu_memory_utilization=0.3&max_model_len=4096&tensor_parallel_size=2",
            VllmOptions(
                path="m", max_tokens=64, gpu_memory_utilization=0.3, max_model_len=4096, tensor_parallel_size=2
            ),
        ),
    ],
)
def test_options_are_read_and_written(text, options):
    assert type(options).parse(text) == options
    assert options.name.partition(":")[2] == text


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("", "agent 'vllm' needs a model: vllm:PATH_OR_ID"),
        ("m?batch_size=3", "unknown option of the vllm agent 'batch_size'"),
        ("m?gpu_memory_utilization=0", "option gpu_memory_utilization of the vllm agent is 0.0: expected more than 0"),
        ("m?max_model_len=1", "option max_model_len of the vllm agent is 1: expected at least 2"),
        ("m?tensor_parallel_size=0", "option tensor_parallel_size of the vllm agent is 0: expected at least 1"),
        ("/no/such/folder", "there is no folder '/no/such/folder'"),
    ],
)
def test_bad_options_of_vllm_are_refused_before_it_is_looked_for(argument, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        make_vllm_agent(argument, seed=0)


def test_adapters_are_put_on_their_base_model(tmp_path, tokenizer, warm_folder):
    adapters = tmp_path / "checkpoint-5"
    base = AutoModelForCausalLM.from_pretrained(warm_folder)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=2.0)
    adapted.save_pretrained(adapters)
    # Saved by hand, adapters have no tokenizer of their own.
    played = replies(f"{tmp_path}?step=5&max_tokens=6")
    merged = adapted.merge_and_unload()
    merged.save_pretrained(tmp_path / "final")
    tokenizer.save_pretrained(tmp_path / "final")
    assert played == replies(f"{tmp_path}?step=final&max_tokens=6")
    assert played != replies(f"{warm_folder}?max_tokens=6")


def torn(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def short_of_a_layer(folder):
    settings = json.loads((folder / "config.json").read_text())
    settings["num_hidden_layers"] += 1
    settings.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(settings))


def without_tokenizer(folder):
    for path in folder.glob("token*"):
        path.unlink()


def with_an_empty_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (torn, "Error while deserializing header"),
        (short_of_a_layer, "its files lack [0-9]+ of its weights, such as model.layers"),
        (without_tokenizer, "."),
        (with_an_empty_tokenizer, "."),
    ],
)
def test_a_spoilt_model_is_refused_rather_than_played_with(warm_folder, tmp_path, spoil, said):
    folder = tmp_path / "model"
    shutil.copytree(warm_folder, folder)
    spoil(folder)
    with pytest.raises(ValueError, match=f"^cannot load model '{folder}': .*{said}"):
        make_hf_agent(str(folder), seed=0)


def test_an_engine_that_is_gone_is_an_error_of_the_backend():
    class EngineGoneError(Exception):
        pass

    class Engine:
        def generate(self, requests, parameters, **options):
            raise EngineGoneError("see above")

    sampler = VllmSampler(Engine(), object(), failures=(EngineGoneError,))
    with pytest.raises(GenerationError, match="the vLLM engine has failed: see above"):
        sampler.sample([[1]])


def test_vllm_is_handed_the_adapters():
    handed = {}

    class Engine:
        def generate(self, requests, parameters, **options):
            handed.update(options)
            return []

    assert VllmSampler(Engine(), object(), "adapter").sample([]) == []
    assert handed["lora_request"] == "adapter"
