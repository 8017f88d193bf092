"""Where a trainer's replies come from: calls that all processes make together, engines that sleep, snapshots."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import threading
from types import SimpleNamespace

import pytest
import torch
from scripted import SETTINGS, ScriptedSampler, legal_reply, make_tiny_model

from spiral_trl import SelfPlayConfig, SelfPlayTrainer
from spiral_trl.generation import CollectiveSampler, TrainerGeneration, load_snapshot
from spiral_trl.sampling import Sample


class Meeting:
    """What processes gather: every call waits for all of them, as a collective does."""

    def __init__(self, num_processes):
        self.barrier = threading.Barrier(num_processes, timeout=10)
        self.numbers = {}

    def gatherer(self, rank):
        def sizes(number):
            self.numbers[rank] = number
            self.barrier.wait()
            gathered = [self.numbers[each] for each in sorted(self.numbers)]
            self.barrier.wait()
            return gathered

        return sizes


class CountingSampler:
    def __init__(self):
        self.calls = []

    def sample(self, prompts):
        self.calls.append([tuple(prompt) for prompt in prompts])
        return [Sample((prompt[0], 9), None, True) for prompt in prompts]


def test_every_process_calls_equally_often_with_equally_many_prompts():
    # The first process has three waves, the second one, the third none.
    waves = [[[[1], [2], [3]], [[4]], [[5], [6]]], [[[7]]], []]
    meeting = Meeting(3)
    samplers = [CountingSampler() for _ in waves]
    answers = [[] for _ in waves]

    def play(rank):
        sampler = CollectiveSampler(samplers[rank], meeting.gatherer(rank), filler=[0])
        for prompts in waves[rank]:
            answers[rank].append(sampler.sample(prompts))
        sampler.finish()

    threads = [threading.Thread(target=play, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert [[len(call) for call in sampler.calls] for sampler in samplers] == [[3, 1, 2]] * 3
    assert samplers[1].calls[0] == [(7,), (0,), (0,)]
    assert [[sample.token_ids[0] for sample in wave] for wave in answers[0]] == [[1, 2, 3], [4], [5, 6]]
    assert [[sample.token_ids[0] for sample in wave] for wave in answers[1]] == [[7]]


class FakeEngine:
    def __init__(self, log):
        self.log = log

    def wake_up(self, tags):
        self.log.append(f"wake {tags[0]}")

    def sleep(self, level):
        self.log.append(f"sleep {level}")


class FakeTrainer:
    """As much of a trainer with a colocated vLLM as a phase touches."""

    use_vllm = True
    is_sharded = False
    eos_token_ids = (7,)

    def __init__(self, *, sleeps):
        self.log = []
        self.vllm_generation = SimpleNamespace(
            mode="colocate",
            tensor_parallel_size=1,
            enable_sleep_mode=sleeps,
            _llm_weights_sleeping=sleeps,
            llm=FakeEngine(self.log),
        )

    def sync_generation(self, *, is_needed):
        self.log.append(f"sync {is_needed}")

    def generate_ids(self, prompts):
        assert not self.vllm_generation.enable_sleep_mode, "TRL would put the engine to sleep after this wave"
        self.log.append("generate")
        return [[7] for _ in prompts], None


def test_an_engine_that_may_sleep_is_awake_for_a_whole_phase_and_asleep_outside_of_it():
    trainer = FakeTrainer(sleeps=True)
    generation = TrainerGeneration(trainer)
    with generation.phase():
        generation.sampler.sample([[1]])
        generation.sampler.sample([[2]])
    assert trainer.log == ["sync True", "wake kv_cache", "generate", "generate", "sleep 2"]
    assert trainer.vllm_generation.enable_sleep_mode
    assert trainer.vllm_generation._llm_weights_sleeping

    with pytest.raises(RuntimeError, match="mid-game"), generation.phase():
        raise RuntimeError("mid-game")
    assert trainer.log[-1] == "sleep 2"
    assert trainer.vllm_generation.enable_sleep_mode


def test_an_engine_that_does_not_sleep_gets_the_weights_once_a_phase():
    trainer = FakeTrainer(sleeps=False)
    generation = TrainerGeneration(trainer)
    with generation.phase():
        generation.sampler.sample([[1]])
    assert trainer.log == ["sync False", "generate"]


def test_a_snapshot_on_the_learners_engine_leaves_the_learners_weights_there(tmp_path, tokenizer):
    make_tiny_model(tokenizer, seed=4).save_pretrained(tmp_path)
    learner = make_tiny_model(tokenizer)
    held = []
    vllm = SimpleNamespace(mode="colocate", tensor_parallel_size=1, enable_sleep_mode=False, model=learner)
    vllm.sync_weights = lambda: held.append(vllm.model)
    trainer = SimpleNamespace(
        use_vllm=True,
        is_sharded=False,
        vllm_generation=vllm,
        eos_token_ids=(7,),
        policy=learner,
        args=SimpleNamespace(bf16=False),
        generate_ids=lambda prompts: ([[held.index(held[-1]), 7] for _ in prompts], None),
    )
    generation = TrainerGeneration(trainer)
    assert generation.can_swap
    sampler = generation.snapshot_sampler(tmp_path)
    (sample,) = sampler.sample([[1]])
    snapshot, after = held
    assert held[sample.token_ids[0]] is snapshot, "what the engine held while it generated"
    assert after is learner
    for name, tensor in make_tiny_model(tokenizer, seed=4).state_dict().items():
        assert torch.equal(snapshot.state_dict()[name], tensor)


def test_loading_a_snapshot_leaves_the_random_numbers_alone(tmp_path, tokenizer):
    make_tiny_model(tokenizer, seed=4).save_pretrained(tmp_path)
    state = torch.get_rng_state()
    load_snapshot(tmp_path, dtype=torch.float32, device=torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)


def test_transformers_on_one_process_needs_no_collective_and_takes_no_requests(tmp_path, tokenizer):
    args = SelfPlayConfig(output_dir=str(tmp_path), **SETTINGS)
    trainer = SelfPlayTrainer(model=make_tiny_model(tokenizer), args=args, processing_class=tokenizer)
    generation = TrainerGeneration(trainer)
    assert not isinstance(generation.sampler, CollectiveSampler)
    assert (generation.plays_on_main, generation.takes_requests, generation.can_swap) == (False, False, False)
    given = ScriptedSampler(tokenizer, legal_reply)
    assert TrainerGeneration(trainer, given).sampler is given
