"""Training with a real `vllm serve` on the CPU: single requests, weights that follow, and servers that go away."""

# Libraries are typed in part only.
# pyright: reportMissingImports=false, reportOptionalSubscript=false, reportOptionalMemberAccess=false

import threading
import time

import pytest

pytest.importorskip("vllm")

import torch
from scripted import SETTINGS
from test_trainer import token_logprobs
from transformers import AutoModelForCausalLM
from trl.generation.vllm_client import VLLMClient
from vllm_server import ServerRow, weights_through_a_file

from spiral_trl import SelfPlayConfig, SelfPlayTrainer
from spiral_trl.records import JsonLines
from spiral_trl.requests import ReplyParameters, ServerRequests
from spiral_trl.sampling import GenerationError
from spiral_trl.serving import ServerFacts, WeightMark, check_server

pytestmark = [
    pytest.mark.vllm,
    # A server needs a minute or two to start where cores are few.
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

CONTEXT = 1024

LENGTH = 24

PROMPTS = ["kuhn_poker bets none.\n", "tic_tac_toe free\n", "kuhn_poker the other bet.\n"]


@pytest.fixture(scope="module")
def servers(warm_folder, tmp_path_factory):
    """Servers of the warm model, and TRL's client as they need it."""
    weights = tmp_path_factory.mktemp("weights")
    with weights_through_a_file(weights), ServerRow(warm_folder, max_model_len=CONTEXT) as servers:
        yield servers


@pytest.fixture
def server(servers):
    """A running server, which has whatever weights the tests before have given it."""
    return servers.current()


def make_trainer(folder, output, server, **settings):
    args = SelfPlayConfig(
        output_dir=str(output),
        **{
            **SETTINGS,
            "use_vllm": True,
            "vllm_mode": "server",
            "vllm_server_base_url": server.base_url,
            "vllm_server_timeout": 5.0,
            "learning_rate": 1e-2,
            **settings,
        },
    )
    return SelfPlayTrainer(model=str(folder), args=args)


def figures_of(trainer):
    return [record for record in trainer.state.log_history if "games" in record]


def requests_to(server, tokenizer, **settings):
    """Returns a client and the requests through it."""
    client = VLLMClient(base_url=server.base_url)
    client.init_communicator()
    parameters = ReplyParameters(max_tokens=LENGTH)
    given = {"end_ids": [tokenizer.eos_token_id], "max_in_flight": 8, "pauses_s": (0.1,), **settings}
    return client, ServerRequests(client, given.pop("parameters", parameters), **given)


def drain(backend):
    samples = {}
    while done := backend.finished():
        assert not samples.keys() & dict(done).keys()
        samples |= dict(done)
    return samples


def test_single_requests_get_the_replies_of_the_weights_that_the_server_was_given(server, warm_folder, tokenizer):
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in PROMPTS]
    model = AutoModelForCausalLM.from_pretrained(warm_folder)
    mark = WeightMark(server.base_url)
    client, backend = requests_to(server, tokenizer, check=mark.check)
    for round_number in range(2):
        # The second time the server has weights that no file had when it started.
        if round_number:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1.1)
        client.update_model_params(model)
        client.reset_prefix_cache()
        for key in range(30):
            backend.submit(key, prompts[key % 3])
        samples = drain(backend)
        assert sorted(samples) == list(range(30))
        for key, sample in samples.items():
            assert sample.is_finished == (sample.token_ids[-1] == tokenizer.eos_token_id)
            assert sample.is_finished or len(sample.token_ids) == LENGTH
            expected = token_logprobs(model, prompts[key % 3], sample.token_ids)
            torch.testing.assert_close(torch.tensor(sample.logprobs), expected, atol=1e-4, rtol=1e-3)
    mark.check()


def test_a_prompt_that_the_server_has_no_room_for_is_refused_in_one_sentence(server, tokenizer):
    _, backend = requests_to(server, tokenizer)
    backend.submit(0, [5] * (CONTEXT - LENGTH + 1))
    with pytest.raises(GenerationError, match="refused a request: Request failed: 400"):
        backend.finished()


def test_the_server_says_what_it_is(server, warm_folder):
    facts = check_server(server.base_url, timeout_s=0)
    assert facts == ServerFacts(version="0.31.0", model=str(warm_folder), max_model_len=CONTEXT)
    with pytest.raises(ValueError, match=r"is version 0\.31\.0, this environment has 0\.30\.2"):
        check_server(server.base_url, timeout_s=0, installed_version="0.30.2")


def test_the_server_follows_the_trained_weights(server, warm_folder, tmp_path):
    trainer = make_trainer(warm_folder, tmp_path, server, max_steps=3)
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    figures = figures_of(trainer)
    assert len(figures) == 3
    for step in figures:
        assert step["sampling/logprob_gap_mean"] < 0.01
        assert step["sampling/logprob_gap_max"] < 0.1
    assert all(not torch.equal(each, before[name]) for name, each in trainer.model.named_parameters())

    # The server has the weights of step 2 until it is synced; they differ, so the figures above are none of theirs.
    assert trainer._last_loaded_step == 2
    games = JsonLines(tmp_path / "games.jsonl").read()
    assert [game["number"] for game in games] == list(range(12))


def test_a_run_whose_server_dies_ends_with_a_checkpoint_and_goes_on_with_another_server(
    servers, server, warm_folder, tmp_path
):
    settings = {"save_strategy": "steps", "save_steps": 100, "max_steps": 3}
    trainer = make_trainer(warm_folder, tmp_path / "run", server, **settings)
    late = make_trainer(warm_folder, tmp_path / "late", server, **settings)
    generate = trainer.vllm_generation.vllm_client.generate

    def generate_until_killed(*args, **kwargs):
        if trainer.state.global_step == 1:
            server.kill()
        return generate(*args, **kwargs)

    trainer.vllm_generation.vllm_client.generate = generate_until_killed
    servers.prepare_next()
    started = time.monotonic()
    with pytest.raises(GenerationError, match=r"does not answer any more: .*; step 1 is saved in checkpoint-1"):
        trainer.train()
    # All pauses, then no more.
    assert 22 <= time.monotonic() - started < 120
    # Here sending the weights fails, before any game.
    with pytest.raises(GenerationError, match=r"does not answer any more: .*; step 0 is saved in checkpoint-0"):
        late.train()
    with pytest.raises(ConnectionError, match="no vLLM server answers at"):
        make_trainer(warm_folder, tmp_path / "run", server, **settings, vllm_server_timeout=0)

    # The next server has the weights of the folder until the first step of a resumed run.
    second = servers.current()
    assert second.base_url != server.base_url
    for name in ("run", "late"):
        resumed = make_trainer(warm_folder, tmp_path / name, second, **settings)
        resumed.train(resume_from_checkpoint=True)
        assert [step["step"] for step in figures_of(resumed)] == [1, 2, 3]
        assert all(step["sampling/logprob_gap_mean"] < 0.01 for step in figures_of(resumed))
        games = JsonLines(tmp_path / name / "games.jsonl").read()
        assert [game["number"] for game in games] == list(range(12))
        assert [game["step"] for game in games] == [step for step in (1, 2, 3) for _ in range(4)]


def test_a_server_that_is_shut_down_passes_no_cut_reply_off_as_a_long_one(server, tokenizer):
    parameters = ReplyParameters(max_tokens=1000, options={"ignore_eos": True})
    _, backend = requests_to(server, tokenizer, parameters=parameters, health_every_s=1.0)
    backend.submit(0, [5, 6])
    threading.Timer(0.5, server.ask_to_stop).start()
    # vLLM answers with the tokens that there are, as a reply like any other, or never.
    with pytest.raises(GenerationError, match="does not answer any more"):
        backend.finished()
    # Its end may take a while, and no other test shall get it.
    server.kill()
