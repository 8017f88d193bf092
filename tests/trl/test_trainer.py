"""The trainer: its loss and gradient, a few steps on a tiny model, resuming, and what happens to a killed run."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

import json
import math
import shutil
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from scripted import KUHN, SETTINGS, TIC_TAC_TOE, ScriptedSampler, legal_reply, make_tiny_model, scripted_agent
from transformers import TrainerCallback

from spiral_envs.registry import find_game
from spiral_envs.sources import find_source
from spiral_trl import SelfPlayConfig, SelfPlayTrainer
from spiral_trl.batching import TurnRow, collate, turn_rows
from spiral_trl.collector import collect
from spiral_trl.records import JsonLines
from spiral_trl.trainer import STATE_FILE, TrainerSampler, last_complete_checkpoint

LENGTH = SETTINGS["max_completion_length"]
ROWS = SETTINGS["per_device_train_batch_size"] * SETTINGS["gradient_accumulation_steps"]


class Recorder(TrainerCallback):
    """Remembers the weights and the gradients of every optimizer step."""

    def __init__(self):
        self.weights = []
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model, **_):
        self.weights.append({name: tensor.detach().clone() for name, tensor in model.named_parameters()})
        self.gradients.append({name: tensor.grad.clone() for name, tensor in model.named_parameters()})


class RecordingTrainer(SelfPlayTrainer):
    """Remembers the loss of every micro-batch."""

    def compute_loss(self, *args, **kwargs):
        self.losses = getattr(self, "losses", [])
        loss = super().compute_loss(*args, **kwargs)
        self.losses.append(loss.item())
        return loss


def make_trainer(tmp_path, tokenizer, model=None, *, sampler=None, callbacks=(), kind=SelfPlayTrainer, **settings):
    args = SelfPlayConfig(output_dir=str(tmp_path / "run"), **{**SETTINGS, **settings})
    return kind(
        model=make_tiny_model(tokenizer) if model is None else model,
        args=args,
        processing_class=tokenizer,
        sampler=sampler,
        callbacks=list(callbacks),
    )


def trainer_from(folder, output, *, callbacks=(), **settings):
    args = SelfPlayConfig(output_dir=str(output), **{**SETTINGS, **settings})
    return SelfPlayTrainer(model=str(folder), args=args, callbacks=list(callbacks))


def plain_advantages(episodes, decay=0.95):
    """The advantages by seat of every episode, by the formula of the paper, scored before the update."""
    averages = {}
    advantages = []
    for episode in episodes:
        seats = []
        for role, episode_return in zip(episode.roles, episode.outcome.returns, strict=True):
            average = averages.get((episode.game, role), 0.0)
            seats.append(episode_return - average)
            averages[episode.game, role] = decay * average + (1 - decay) * episode_return
        advantages.append(seats)
    return advantages


def scripted_turns(tokenizer, *, num_games, seed=SETTINGS["seed"], first_game=0):
    """The turns of the games that a trainer with `legal_reply` plays, as (prompt ids, reply ids, advantage)."""
    agent = scripted_agent(ScriptedSampler(tokenizer, legal_reply))
    episodes = collect(
        SETTINGS["games"], (agent, agent), first_game=first_game, num_games=num_games, seed=seed, concurrency=num_games
    )
    return [
        (turn.response.prompt_ids, turn.response.token_ids, advantages[turn.seat])
        for episode, advantages in zip(episodes, plain_advantages(episodes), strict=True)
        for turn in episode.turns
    ]


def token_logprobs(model, prompt, reply):
    """The log-probability of every token of `reply` after `prompt`: one unpadded row, nothing of TRL."""
    logits = model(input_ids=torch.tensor([[*prompt, *reply]])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)[range(len(reply)), list(reply)]


def with_weights(tokenizer, weights):
    model = make_tiny_model(tokenizer)
    model.load_state_dict(weights, strict=False)
    model.tie_weights()
    return model


def assert_same_gradients(model, gradients, *, atol=2e-6):
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            gradients[name], parameter.grad, rtol=1e-4, atol=atol, msg=lambda text, n=name: f"{n}: {text}"
        )


# -- (a) loss and gradient ---------------------------------------------------------------------------------------------


def test_the_loss_and_its_gradient_are_those_of_a_plain_computation(tmp_path, tokenizer):
    recorder = Recorder()
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
        callbacks=[recorder],
        kind=RecordingTrainer,
        max_steps=1,
        max_grad_norm=0.0,
    )
    trainer.train()

    turns = scripted_turns(tokenizer, num_games=4)
    assert 8 <= len(turns) < ROWS, "the batch has padding rows, and two micro-batches of turns"
    assert len({len(reply) for _, reply, _ in turns}) > 2
    model = make_tiny_model(tokenizer)
    surrogate = torch.tensor(0.0)
    value = 0.0
    for prompt, reply, advantage in turns:
        surrogate = surrogate - advantage * token_logprobs(model, prompt, reply).sum() / (ROWS * LENGTH)
        # At the policy that sampled it the probability ratio is 1, so that every token adds -A.
        value -= advantage * len(reply) / (ROWS * LENGTH)
    surrogate.backward()
    assert sum(trainer.losses) == pytest.approx(value, abs=1e-7)
    assert len(trainer.losses) == 2
    assert_same_gradients(model, recorder.gradients[0])
    assert max(gradient.abs().max() for gradient in recorder.gradients[0].values()) > 1e-2


def test_the_loss_with_kl_is_that_of_a_plain_computation(tmp_path, tokenizer):
    reference = tmp_path / "reference"
    make_tiny_model(tokenizer).save_pretrained(reference)
    tokenizer.save_pretrained(reference)
    recorder = Recorder()
    beta = 0.7
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        str(reference),
        sampler=ScriptedSampler(tokenizer, legal_reply),
        callbacks=[recorder],
        kind=RecordingTrainer,
        max_steps=1,
        max_grad_norm=0.0,
        beta=beta,
    )
    # Away from the reference, where the KL has a value and a gradient.
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    trainer.train()

    model, fixed = with_weights(tokenizer, recorder.weights[0]), make_tiny_model(tokenizer)
    total, kl_total = torch.tensor(0.0), 0.0
    for prompt, reply, advantage in scripted_turns(tokenizer, num_games=4):
        logprobs = token_logprobs(model, prompt, reply)
        gap = token_logprobs(fixed, prompt, reply).detach() - logprobs
        kl = gap.exp() - gap - 1
        kl_total += kl.sum().item()
        # TRL weighs the KL by the probability ratio as well: its gradient is that of the KL, not of the estimate.
        ratio = (logprobs - logprobs.detach()).exp()
        total = total + (-advantage * ratio + beta * kl * ratio).sum() / (ROWS * LENGTH)
    total.backward()
    assert kl_total > 1.0
    assert sum(trainer.losses) == pytest.approx(total.item(), rel=1e-5)
    assert_same_gradients(model, recorder.gradients[0])


def test_a_second_iteration_on_the_same_batch_is_clipped_against_the_first_policy(tmp_path, tokenizer):
    recorder = Recorder()
    sampler = ScriptedSampler(tokenizer, legal_reply)
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=sampler,
        callbacks=[recorder],
        max_steps=2,
        num_iterations=2,
        learning_rate=5e-3,
        lr_scheduler_type="constant",
        epsilon=0.2,
        max_grad_norm=0.0,
    )
    trainer.train()
    assert len(JsonLines(tmp_path / "run" / "games.jsonl").read()) == 4, "two steps on one batch of games"

    old, model = (with_weights(tokenizer, weights) for weights in recorder.weights)
    total = torch.tensor(0.0)
    num_clipped = num_tokens = 0
    for prompt, reply, advantage in scripted_turns(tokenizer, num_games=4):
        ratio = (token_logprobs(model, prompt, reply) - token_logprobs(old, prompt, reply).detach()).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        total = total - gain.sum() / (ROWS * LENGTH)
        num_clipped += int(((ratio > 1.2) & (advantage > 0) | (ratio < 0.8) & (advantage < 0)).sum())
        num_tokens += len(reply)
    total.backward()
    assert 0 < num_clipped < num_tokens
    assert_same_gradients(model, recorder.gradients[1])


def test_the_logged_entropy_is_the_mean_over_the_tokens_of_the_batch(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
        max_steps=1,
        # Far more rows than turns: most micro-batches are padding only.
        games_per_batch=2,
        gradient_accumulation_steps=6,
        per_device_train_batch_size=4,
    )
    trainer.train()
    model = make_tiny_model(tokenizer)
    entropies = []
    for prompt, reply, _ in scripted_turns(tokenizer, num_games=2):
        logprobs = model(input_ids=torch.tensor([[*prompt, *reply]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        entropies += (-(logprobs.exp() * logprobs).sum(-1)).tolist()
    # Micro-batches weigh alike in TRL's mean, so the figure may differ a little from the mean over tokens.
    assert logged(trainer)["entropy"] == pytest.approx(math.fsum(entropies) / len(entropies), rel=0.02)


def test_a_logprob_that_vllm_could_not_give_gets_no_correction_and_no_crash(tmp_path, tokenizer):
    # TRL hands on None for a log-probability that vLLM reports as NaN.
    generating = SimpleNamespace(
        generate_ids=lambda prompts: ([[5, 6, 7] for _ in prompts], [[-0.5, None, -2.0] for _ in prompts]),
        eos_token_ids=[7],
    )
    (sample,) = TrainerSampler(generating).sample([[1, 2]])
    assert (sample.token_ids, sample.is_finished) == ((5, 6, 7), True)
    row = TurnRow((1, 2), sample.token_ids, sample.logprobs, (1, 1, 1), (1.0, 1.0, 1.0))
    batch = collate([row], num_rows=2, pad_token_id=tokenizer.pad_token_id)
    trainer = make_trainer(tmp_path, tokenizer)
    trained = torch.tensor([[-0.5 + math.log(2), -1.0, -2.0 + math.log(9)], [-1.0, 0.0, 0.0]])
    ratio = trainer._sampler_ratio(trained, batch.sampling_logprobs, {"tool_mask": batch.loss_mask})
    # The last is truncated at TRL's 3; padding has no correction.
    torch.testing.assert_close(ratio, torch.tensor([[2.0, 1.0, 3.0], [1.0, 1.0, 1.0]]))


def logged(trainer):
    """The last figures of a step."""
    return [record for record in trainer.state.log_history if "games" in record][-1]


# -- (e) more turns than rows ------------------------------------------------------------------------------------------


def test_turns_left_out_at_random_leave_the_expected_gradient_unchanged(tmp_path, tokenizer):
    """Every choice of 4 of 6 turns is taken in turn: the mean of their gradients is that of all 6."""
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
        games=[KUHN],
        games_per_batch=6,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
    )
    trainer.current_gradient_accumulation_steps = 1
    agent = scripted_agent(ScriptedSampler(tokenizer, legal_reply))
    episodes = collect([KUHN], (agent, agent), first_game=0, num_games=6, seed=0, concurrency=6)
    scores = plain_advantages(episodes)
    rows = [
        row
        for episode, score in zip(episodes, scores, strict=True)
        for row in turn_rows(episode, score, learner_seats=(0, 1))
    ][:6]

    choices = list(combinations(rows, 4))
    trainer.model.zero_grad()
    for choice in choices:
        batch = collate(choice, num_rows=4, pad_token_id=tokenizer.pad_token_id)
        inputs = trainer._loss_inputs(batch, row_weight=6 / 4)
        (trainer.compute_loss(trainer.model, inputs) / len(choices)).backward()

    model = make_tiny_model(tokenizer)
    for row in rows:
        (-row.advantages[0] * token_logprobs(model, row.prompt_ids, row.token_ids).sum() / (4 * LENGTH)).backward()
    assert_same_gradients(model, {name: each.grad for name, each in trainer.model.named_parameters()})


def test_every_turn_is_equally_likely_to_be_left_out(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        games=[KUHN],
        games_per_batch=6,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
    )
    torch.manual_seed(0)
    rows = list(range(6))
    counts = dict.fromkeys(rows, 0)
    for _ in range(3000):
        kept = trainer._fit(rows)
        assert len(kept) == len(set(kept)) == 4
        for row in kept:
            counts[row] += 1
    # Each is kept 2000 times in the mean, with a standard deviation of 26.
    assert all(abs(count - 2000) < 130 for count in counts.values())
    assert trainer._metrics["train"]["turns_left_out"] == [2] * 3000
    assert trainer._fit(rows[:4]) == rows[:4]


def test_a_batch_with_too_many_turns_trains_on_a_full_batch_and_says_how_many_it_left_out(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
        kind=RecordingTrainer,
        games=[KUHN],
        games_per_batch=20,
        max_steps=1,
    )
    trainer.train()
    num_turns = sum(len(game["turns"]) for game in JsonLines(tmp_path / "run" / "games.jsonl").read())
    assert num_turns > ROWS
    assert logged(trainer)["turns_left_out"] == num_turns - ROWS
    assert logged(trainer)["turns"] == num_turns


def test_a_batch_in_which_nobody_wrote_anything_trains_nothing(tmp_path, tokenizer):
    recorder = Recorder()
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
        callbacks=[recorder],
        kind=RecordingTrainer,
        max_prompt_length=3,
        max_steps=1,
    )
    trainer.train()
    assert trainer.losses == [0.0, 0.0]
    assert all(not gradient.any() for gradient in recorder.gradients[0].values())
    games = JsonLines(tmp_path / "run" / "games.jsonl").read()
    assert {(game["fault"], len(game["turns"])) for game in games} == {("prompt_too_long", 1)}
    assert logged(trainer)[f"{TIC_TAC_TOE}/faults/prompt_too_long"] == 1.0


# -- (b) a few steps ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("game", ["openspiel:kuhn_poker", "pettingzoo:tictactoe_v3", "textarena:Nim-v0"])
def test_games_of_other_packages_train(tmp_path, tokenizer, game):
    trainer = make_trainer(
        tmp_path, tokenizer, games=[game], games_per_batch=3, per_device_train_batch_size=24, max_steps=1
    )
    trainer.train()

    games = JsonLines(tmp_path / "run" / "games.jsonl").read()
    assert [record["game"] for record in games] == [find_source(game).label] * 3
    assert all(sum(record["returns"]) == 0 for record in games)
    assert trainer.state.global_step == 1


def test_a_few_steps_change_every_parameter_and_record_every_game_once(tmp_path, warm_folder):
    recorder = Recorder()
    trainer = trainer_from(warm_folder, tmp_path / "run", callbacks=[recorder], max_steps=3, temperature=1.0)
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    unchanged = [name for name, parameter in trainer.model.named_parameters() if torch.equal(parameter, before[name])]
    assert unchanged == []
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())

    games = JsonLines(tmp_path / "run" / "games.jsonl").read()
    assert [game["number"] for game in games] == list(range(12))
    assert [game["step"] for game in games] == [1] * 4 + [2] * 4 + [3] * 4
    labels = [find_game(game).label for game in SETTINGS["games"]]
    assert [game["game"] for game in games] == labels * 6
    assert len({game["seed"] for game in games}) == 12
    assert any(len(game["turns"]) > 1 for game in games), "the warm model makes legal moves"
    assert trainer.games_started == 12

    # The baselines again, from the records alone.
    averages, counts = {}, {}
    for game in games:
        for role, episode_return in zip(game["roles"], game["returns"], strict=True):
            key = (game["game"], role, "self")
            averages[key] = 0.95 * averages.get(key, 0.0) + (1 - 0.95) * episode_return
            counts[key] = counts.get(key, 0) + 1
    assert sorted(trainer.baseline.keys()) == sorted(averages)
    assert {key: trainer.baseline.value(key) for key in averages} == averages
    assert {key: trainer.baseline.count(key) for key in averages} == counts
    assert len(averages) == 4

    figures = logged(trainer)
    for label in labels:
        played = [game for game in games if game["step"] == 3 and game["game"] == label]
        faults = sum(turn["fault"] is not None for game in played for turn in game["turns"])
        assert figures[f"{label}/faults"] == faults / len(played)
        for seat, role in enumerate(played[0]["roles"]):
            returns = [game["returns"][seat] for game in played]
            assert figures[f"{label}/{role}/return"] == pytest.approx(sum(returns) / len(returns))
            assert figures[f"{label}/{role}/baseline"] == averages[label, role, "self"]
            assert figures[f"{label}/{role}/baseline_count"] == 6
            assert {f"{label}/{role}/{figure}" for figure in ("win", "draw", "loss", "advantage_std")} <= set(figures)
        assert figures[f"{label}/reply_tokens"] > 1
    assert {"loss", "grad_norm", "entropy", "play_time_s", "play_tokens_per_s", "turns", "turns_left_out"} <= set(
        figures
    )


# -- (c), (d), (g) checkpoints -----------------------------------------------------------------------------------------


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == self.step


TIMED = (
    "play_time_s",
    "play_tokens_per_s",
    "step_time",
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
)


def untimed(log_history):
    """The figures that do not depend on the clock, with NaN as a word, which unlike NaN equals itself."""
    return [
        {
            name: "nan" if math.isnan(value) else value
            for name, value in record.items()
            if name not in TIMED and "time" not in name
        }
        for record in log_history
        if "games" in record
    ]


def assert_identical(left, right):
    """Two nested structures are equal, tensors to the last bit."""
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_identical(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_identical(one, other)
    else:
        assert left == right


def assert_same_run(folder, other_folder, *, step):
    """Two runs ended with the same weights, optimizer, schedule, state and games, to the last bit."""
    one, other = folder / f"checkpoint-{step}", other_folder / f"checkpoint-{step}"
    assert_identical(load_file(one / "model.safetensors"), load_file(other / "model.safetensors"))
    for name in ("optimizer.pt", "scheduler.pt"):
        assert_identical(torch.load(one / name, weights_only=True), torch.load(other / name, weights_only=True))
    assert (one / STATE_FILE).read_bytes() == (other / STATE_FILE).read_bytes()
    assert (folder / "games.jsonl").read_bytes() == (other_folder / "games.jsonl").read_bytes()


CHECKPOINTS = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "save_total_limit": 3}


@pytest.mark.parametrize(
    "extra", [{"beta": 0.1}, {"num_iterations": 2, "games_per_batch": 14}], ids=["kl", "two-iterations"]
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, warm_folder, extra):
    settings = {**CHECKPOINTS, **extra}
    straight = trainer_from(warm_folder, tmp_path / "straight", **settings)
    straight.train()

    first = trainer_from(warm_folder, tmp_path / "resumed", callbacks=[StopAt(2)], **settings)
    first.train()
    torch.rand(17)  # another state of the global random numbers
    resumed = trainer_from(warm_folder, tmp_path / "resumed", **settings)
    resumed.train(resume_from_checkpoint=str(last_complete_checkpoint(tmp_path / "resumed")))

    assert resumed.state.global_step == 4
    assert_same_run(tmp_path / "straight", tmp_path / "resumed", step=4)
    assert untimed(straight.state.log_history) == untimed(resumed.state.log_history)
    assert not list((tmp_path / "resumed").glob("*abandoned*"))


def test_a_resumed_run_takes_its_records_back_to_the_checkpoint(tmp_path, warm_folder):
    output = tmp_path / "run"
    trainer_from(warm_folder, output, callbacks=[StopAt(3)], **CHECKPOINTS).train()
    # The last of three steps was stopped with a checkpoint of its own; without it, as after a kill:
    for folder in output.glob("checkpoint-3"):
        shutil.rmtree(folder)
    played = JsonLines(output / "games.jsonl").read()
    assert [game["number"] for game in played] == list(range(12))
    resumed = trainer_from(warm_folder, output, **CHECKPOINTS)
    resumed.train(resume_from_checkpoint=str(output / "checkpoint-2"))
    games = JsonLines(output / "games.jsonl").read()
    assert [game["number"] for game in games] == list(range(16))
    assert games[:8] == played[:8]
    assert JsonLines(output / "games.abandoned.jsonl").read() == played[8:]
    # Bit for bit the same weights and random numbers: the third step is played as it was.
    assert games[8:12] == played[8:]


def test_resuming_from_a_torn_checkpoint_is_refused_with_the_missing_file(tmp_path, warm_folder):
    settings = {**CHECKPOINTS, "save_steps": 1, "max_steps": 1}
    trainer_from(warm_folder, tmp_path / "run", **settings).train()
    checkpoint = tmp_path / "run" / "checkpoint-1"
    (checkpoint / STATE_FILE).unlink()
    with pytest.raises(ValueError, match=f"no whole self-play checkpoint: {STATE_FILE} is missing"):
        trainer_from(warm_folder, tmp_path / "run", **{**settings, "max_steps": 2}).train(
            resume_from_checkpoint=str(checkpoint)
        )


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from scripted import SETTINGS
from transformers import TrainerCallback
from spiral_trl import SelfPlayConfig, SelfPlayTrainer

class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

args = SelfPlayConfig(output_dir={output!r}, **{{**SETTINGS, **{settings!r}}})
SelfPlayTrainer(model={model!r}, args=args, callbacks=[Kill()]).train()
"""


@pytest.mark.slow
def test_a_killed_run_keeps_its_games_and_resumes_with_each_game_once(tmp_path, warm_folder):
    output = tmp_path / "run"
    script = KILLED.format(
        tests=str(Path(__file__).parent), output=str(output), settings=CHECKPOINTS, model=str(warm_folder)
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    played = JsonLines(output / "games.jsonl").read()
    assert [game["number"] for game in played] == list(range(12))
    # What a kill while writing leaves.
    with (output / "games.jsonl").open("a") as file:
        file.write(json.dumps(played[-1])[:40])

    checkpoint = last_complete_checkpoint(output)
    assert checkpoint == output / "checkpoint-2"
    resumed = trainer_from(warm_folder, output, **CHECKPOINTS)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    games = JsonLines(output / "games.jsonl").read()
    assert [game["number"] for game in games] == list(range(16))
    assert games[:12] == played
    assert JsonLines(output / "games.abandoned.jsonl").read() == played[8:]


# -- (f) no leakage ----------------------------------------------------------------------------------------------------


def test_a_reply_comes_from_its_own_prompt_alone_however_many_games_run_at_once(tmp_path, tokenizer):
    def play(concurrency):
        sampler = ScriptedSampler(tokenizer, legal_reply)
        trainer = make_trainer(
            tmp_path / str(concurrency),
            tokenizer,
            sampler=sampler,
            games_per_batch=12,
            max_concurrent_games=concurrency,
            per_device_train_batch_size=64,
        )
        return sampler, trainer.play(trainer.schedule.plan(0, 12))

    sampler, together = play(512)
    _, alone = play(1)
    assert [episode.to_json() for episode in together] == [episode.to_json() for episode in alone]
    assert max(map(len, sampler.calls)) == 12
    for episode in together:
        for turn in episode.turns:
            prompt = tokenizer.decode(turn.response.prompt_ids)
            assert turn.observation in prompt
            assert str(turn.response) == legal_reply(prompt)
            assert tokenizer.decode(turn.response.token_ids, skip_special_tokens=True) == legal_reply(prompt)


def test_a_context_without_room_for_a_prompt_is_refused(tmp_path, tokenizer):
    with pytest.raises(ValueError, match="max_completion_length 1024 leaves no room for a prompt in a context of 1024"):
        make_trainer(tmp_path, tokenizer, max_completion_length=1024)


def test_a_model_without_a_chat_template_is_refused_unless_the_style_is_plain(tmp_path, tokenizer):
    with pytest.raises(ValueError, match="has no chat template: use a chat model, or --prompt_style plain"):
        make_trainer(tmp_path, tokenizer, prompt_style="boxed_cot")
