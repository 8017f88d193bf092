"""Single requests to a real vLLM engine in this process."""

# Libraries are typed in part only.
# pyright: reportMissingImports=false, reportOptionalSubscript=false

import gc
import os
import time

import pytest

pytest.importorskip("vllm")

import torch
import vllm_cpu
from test_trainer import token_logprobs
from transformers import AutoModelForCausalLM
from vllm_cpu import vllm_on_cpu
from vllm_server import free_port

from spiral_trl.requests import EngineRequests, ReplyParameters
from spiral_trl.sampling import GenerationError

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    # vLLM's own, on building an engine.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

LENGTH = 24

PROMPTS = ["kuhn_poker bets none.\n", "tic_tac_toe free\n", "kuhn_poker the other bet.\n"]


@pytest.fixture(scope="module")
def engine(warm_folder):
    """An engine as TRL builds it in colocate mode."""
    with vllm_on_cpu():
        # As TRL does; the context takes it back.
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        yield vllm_cpu.build_cpu_engine(
            model=str(warm_folder),
            max_model_len=128,
            max_num_seqs=8,
            distributed_executor_backend="external_launcher",
            logprobs_mode="processed_logprobs",
            seed=0,
        )
        gc.collect()


def test_requests_that_come_while_others_run_get_the_model_s_replies(engine, warm_folder, tokenizer):
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in PROMPTS]
    end = tokenizer.eos_token_id
    backend = EngineRequests(engine, ReplyParameters(max_tokens=LENGTH).for_engine())
    samples, waiting = {}, list(range(40))
    for key in waiting[:12]:
        backend.submit(key, prompts[key % 3])
    del waiting[:12]
    num_calls = 0
    while done := backend.finished():
        num_calls += 1
        for key, sample in done:
            assert key not in samples
            samples[key] = sample
            if waiting:
                backend.submit(waiting[0], prompts[waiting[0] % 3])
                del waiting[0]
    assert sorted(samples) == list(range(40))
    assert num_calls > 5, "they are not all done at once"

    model = AutoModelForCausalLM.from_pretrained(warm_folder)
    for key, sample in samples.items():
        assert sample.is_finished == (sample.token_ids[-1] == end)
        assert sample.is_finished or len(sample.token_ids) == LENGTH
        assert end not in sample.token_ids[:-1]
        expected = token_logprobs(model, prompts[key % 3], sample.token_ids)
        torch.testing.assert_close(torch.tensor(sample.logprobs), expected, atol=1e-4, rtol=1e-3)
    assert {sample.is_finished for sample in samples.values()} == {True, False}
    assert len({sample.token_ids for sample in samples.values()}) > 20, "they are sampled one by one"


def test_the_parameters_reach_the_engine(engine, warm_folder, tokenizer):
    prompt = tokenizer(PROMPTS[0], add_special_tokens=False)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(warm_folder)
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1]
    likeliest = logits.argsort(descending=True)[:3].tolist()

    backend = EngineRequests(engine, ReplyParameters(max_tokens=1, top_k=3, temperature=2.0).for_engine())
    for key in range(60):
        backend.submit(key, prompt)
    firsts = {}
    while done := backend.finished():
        firsts |= {sample.token_ids[0]: sample.logprobs[0] for _, sample in done}
    assert set(firsts) == set(likeliest)
    # The log-probabilities are those of the distribution that was sampled from: tempered, of three tokens.
    expected = (logits[likeliest] / 2.0).log_softmax(dim=0)
    assert [firsts[token] for token in likeliest] == pytest.approx(expected.tolist(), abs=1e-4)

    backend = EngineRequests(engine, ReplyParameters(max_tokens=8, regex="no").for_engine())
    backend.submit(0, prompt)
    [(_, sample)] = backend.finished()
    assert tokenizer.decode(sample.token_ids, skip_special_tokens=True) == "no"
    assert sample.is_finished


def test_a_prompt_beyond_the_context_is_refused_when_it_is_submitted(engine):
    from vllm.exceptions import VLLMValidationError

    backend = EngineRequests(engine, ReplyParameters(max_tokens=LENGTH).for_engine())
    with pytest.raises(VLLMValidationError, match="length 129"):
        backend.submit(0, [5] * 129)
    assert backend.finished() == []


def test_a_batch_after_another_finds_an_empty_engine_and_a_time_limit_is_kept(engine):
    backend = EngineRequests(engine, ReplyParameters(max_tokens=100, options={"ignore_eos": True}).for_engine())
    backend.submit(0, [5, 6])
    started = time.monotonic()
    assert backend.finished(0.0) == []
    assert time.monotonic() - started < 5
    [(key, sample)] = backend.finished()
    assert (key, len(sample.token_ids), sample.is_finished) == (0, 100, False)
    assert not engine.llm_engine.has_unfinished_requests()


def test_the_death_of_an_engine_in_another_process_ends_in_one_sentence(engine, monkeypatch):
    from vllm.v1.engine.exceptions import EngineDeadError

    def die():
        raise EngineDeadError

    backend = EngineRequests(engine, ReplyParameters(max_tokens=4).for_engine())
    backend.submit(0, [5, 6])
    with monkeypatch.context() as patch:
        patch.setattr(engine.llm_engine, "step", die)
        with pytest.raises(GenerationError, match="the vLLM engine has died"):
            backend.finished()
    backend.finished()
