"""The trainer with a real vLLM engine in colocate mode: weights, log-probabilities, faults."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportMissingImports=false
# pyright: reportGeneralTypeIssues=false, reportIncompatibleMethodOverride=false

import gc

import pytest

pytest.importorskip("vllm")

import torch
from scripted import KUHN, SETTINGS, TIC_TAC_TOE
from test_trainer import LENGTH, ROWS, Recorder, plain_advantages, token_logprobs
from transformers import AutoModelForCausalLM, TrainerCallback
from vllm_cpu import vllm_on_cpu

from spiral_envs import make_agent, make_match, play
from spiral_envs.arena.plan import Asking, Entrant, make_plan, read_entrant
from spiral_envs.arena.records import game_records
from spiral_envs.arena.tournament import Settings, play_tournament
from spiral_envs.match import InvalidMove
from spiral_trl import SelfPlayConfig, SelfPlayTrainer
from spiral_trl.batching import collate, turn_rows
from spiral_trl.records import JsonLines
from spiral_trl.trainer import last_complete_checkpoint

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    # vLLM's own, on building an engine.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

ENGINE = {"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": 128}


@pytest.fixture(autouse=True)
def _no_engine_outlives_its_test():
    """An engine that is collected later closes the process group of the engine that is then in use."""
    yield
    gc.collect()


class RecordingTrainer(SelfPlayTrainer):
    """Remembers the games of the last batch and the loss of every micro-batch."""

    losses = ()
    episodes = ()

    def play(self, plans):
        self.episodes = super().play(plans)
        return self.episodes

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        self.losses = (*self.losses, loss.item())
        return loss


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == self.step


def make_trainer(folder, output, *, callbacks=(), **settings):
    args = SelfPlayConfig(output_dir=str(output), **{**SETTINGS, **ENGINE, **settings})
    return RecordingTrainer(model=str(folder), args=args, callbacks=list(callbacks))


def logprob_gap(trainer):
    """The mean distance of vLLM's log-probabilities from the trainer's, over the tokens of a batch of games."""
    episodes = trainer.play(trainer.schedule.plan(trainer.games_started, 4))
    rows = [row for episode in episodes for row in turn_rows(episode, (1.0, -1.0), learner_seats=(0, 1))]
    batch = collate(rows, num_rows=len(rows), pad_token_id=trainer._tokenizer.pad_token_id)
    trainer._loss_inputs(batch, row_weight=1.0)
    return trainer._metrics["train"]["sampling/logprob_gap_mean"][-1]


def steps(trainer):
    return [record for record in trainer.state.log_history if "games" in record]


def test_vllm_follows_the_trained_weights_through_steps_and_a_resumed_run(tmp_path, warm_folder):
    settings = {"learning_rate": 1e-2, "save_strategy": "steps", "save_steps": 3, "max_steps": 5}
    with vllm_on_cpu():
        trainer = make_trainer(warm_folder, tmp_path / "run", callbacks=[StopAt(3)], **settings)
        before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
        trainer.train()
        figures = steps(trainer)
        assert len(figures) == 3
        for step in figures:
            assert step["sampling/logprob_gap_mean"] < 0.01
            assert step["sampling/logprob_gap_max"] < 0.1
            assert step["sampling/ratio_mean"] == pytest.approx(1.0, abs=0.01)
        unchanged = [name for name, each in trainer.model.named_parameters() if torch.equal(each, before[name])]
        assert unchanged == []

        # The engine has the weights of step 2 until it is synced: a trainer that skipped the sync would see this gap.
        assert trainer._last_loaded_step == 2
        trainer._last_loaded_step = 3
        stale = logprob_gap(trainer)
        trainer._last_loaded_step = -1
        synced = logprob_gap(trainer)
        assert synced < 0.01
        assert stale > 5 * synced
        assert stale > 0.02

    with vllm_on_cpu():
        resumed = make_trainer(warm_folder, tmp_path / "run", **settings)
        resumed.train(resume_from_checkpoint=str(last_complete_checkpoint(tmp_path / "run")))
        assert resumed.state.global_step == 5
        assert all(step["sampling/logprob_gap_mean"] < 0.01 for step in steps(resumed))
    games = JsonLines(tmp_path / "run" / "games.jsonl").read()
    assert [game["number"] for game in games] == list(range(20))
    assert [game["step"] for game in games] == [step for step in range(1, 6) for _ in range(4)]


def test_the_loss_with_the_sampler_correction_is_that_of_a_plain_computation(tmp_path, warm_folder):
    recorder = Recorder()
    with vllm_on_cpu():
        trainer = make_trainer(
            warm_folder, tmp_path / "run", callbacks=[recorder], max_steps=1, max_grad_norm=0.0, games_per_batch=6
        )
        # The engine keeps the weights of the folder, the trainer moves away from them: ratios far from 1.
        trainer._last_loaded_step = 0
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        trainer.train()
    sampler = AutoModelForCausalLM.from_pretrained(warm_folder)
    model = AutoModelForCausalLM.from_pretrained(warm_folder)
    model.load_state_dict(recorder.weights[0], strict=False)
    model.tie_weights()

    surrogate, value, ratios = torch.tensor(0.0), 0.0, []
    episodes = trainer.episodes
    turns = [
        (turn.response, advantages[turn.seat])
        for episode, advantages in zip(episodes, plain_advantages(episodes), strict=True)
        for turn in episode.turns
    ]
    assert 6 <= len(turns) <= ROWS
    for reply, advantage in turns:
        logprobs = token_logprobs(model, reply.prompt_ids, reply.token_ids)
        sampled = torch.tensor(reply.logprobs)
        with torch.no_grad():
            # vLLM's own figures are those of the weights that it has.
            torch.testing.assert_close(
                sampled, token_logprobs(sampler, reply.prompt_ids, reply.token_ids), atol=0.01, rtol=0.01
            )
            ratio = (logprobs - sampled).exp().clamp(max=3.0)
        ratios += ratio.tolist()
        surrogate = surrogate - advantage * (ratio * logprobs).sum() / (ROWS * LENGTH)
        value -= advantage * ratio.sum().item() / (ROWS * LENGTH)
    surrogate.backward()
    assert max(ratios) == 3.0, "some are truncated"
    assert min(ratios) < 0.9
    assert sum(trainer.losses) == pytest.approx(value, rel=1e-4, abs=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(recorder.gradients[0][name], parameter.grad, rtol=1e-3, atol=5e-6)


def test_prompts_over_the_engines_length_and_truncated_replies_are_recorded_faults(tmp_path, warm_folder, tokenizer):
    first_prompt = make_match(KUHN, seed=0).view(0)
    text = f"kuhn_poker {first_prompt.role}\n{first_prompt.observation}\n"
    longest = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    with vllm_on_cpu():
        trainer = make_trainer(
            warm_folder,
            tmp_path / "run",
            max_completion_length=5,
            # Exactly the prompt and the reply fit; a board is longer.
            vllm_max_model_length=longest + 5,
            max_steps=1,
            per_device_train_batch_size=24,
        )
        assert trainer.max_prompt_length == longest
        trainer.train()
    games = JsonLines(tmp_path / "run" / "games.jsonl").read()
    faults = {(game["game"].partition("(")[0], game["fault"]) for game in games}
    assert faults == {("kuhn_poker_v0", "truncated"), (TIC_TAC_TOE, "prompt_too_long")}
    assert steps(trainer)[0][f"{TIC_TAC_TOE}/faults/prompt_too_long"] == 1.0


def test_a_vllm_agent_plays_by_its_agent_string(warm_folder, monkeypatch):
    with vllm_on_cpu():
        # The agent builds its own engine with vLLM's defaults: in this process and without compilation by environment.
        monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        monkeypatch.setenv("VLLM_USE_AOT_COMPILE", "0")
        monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        agent = make_agent(f"vllm:{warm_folder}", seed=1)
        assert agent.name == f"vllm:{warm_folder}"
        episodes = list(play((make_match(KUHN, seed=seed) for seed in range(8)), (agent, agent)))
    assert len(episodes) == 8
    replies = [turn.response for episode in episodes for turn in episode.turns]
    assert any(episode.outcome.fault is None for episode in episodes), "the warm model mostly plays legal moves"
    model = AutoModelForCausalLM.from_pretrained(warm_folder)
    for reply in replies:
        assert len(reply.logprobs) == len(reply.token_ids) > 0
        expected = token_logprobs(model, reply.prompt_ids, reply.token_ids)
        torch.testing.assert_close(torch.tensor(reply.logprobs), expected, atol=0.2, rtol=0.1)


def test_a_tournament_is_played_with_a_vllm_agent(warm_folder, monkeypatch, tmp_path):
    entrants = [Entrant(f"vllm:{warm_folder}", f"vllm:{warm_folder}", Asking.IN_BATCHES), read_entrant("random")]
    plan, notes = make_plan(entrants, [KUHN, TIC_TAC_TOE], pairs=6, seed=0, invalid_move=InvalidMove.FORFEIT)
    assert notes == []
    with vllm_on_cpu():
        monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        monkeypatch.setenv("VLLM_USE_AOT_COMPILE", "0")
        monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        ending = play_tournament(tmp_path, plan, Settings())
    assert (ending.progress.done, ending.progress.aborted, ending.set_aside) == (24, 0, {})
    games = game_records(JsonLines(tmp_path / "games.jsonl").read())
    assert len({game.id for game in games}) == 24
    by_the_rules = {game.game for game in games if game.offender is None}
    assert KUHN in by_the_rules, "the warm model mostly plays legal moves"


def test_waves_and_a_pool_train_and_a_league_plays_on_the_same_engine(tmp_path, warm_folder):
    settings = {"games_per_batch": 6, "per_device_train_batch_size": 40, "max_steps": 2, "learning_rate": 1e-2}
    with vllm_on_cpu():
        trainer = make_trainer(
            warm_folder,
            tmp_path / "run",
            **settings,
            opponents={"self": 0.4, "league": 0.4, "random": 0.2},
            league_snapshot_steps=1,
            league_selection="latest",
        )
        trainer.train()
        # After its snapshot the engine has the learner's weights again.
        assert all(step["sampling/logprob_gap_mean"] < 0.01 for step in steps(trainer))
        games = JsonLines(tmp_path / "run" / "games.jsonl").read()
        assert {game["opponent"] for game in games} == {"self", "league", "random"}
        snapshots = {name for game in games for name in game["agents"] if name.startswith("league")}
        assert snapshots == {"league:0", "league:1"}
        assert any(turn["fault"] is None for game in games for turn in game["turns"])

        plans = trainer.schedule.plan(trainer.games_started, 12)
        against_itself = [plan._replace(opponent="self", learner_seats=(0, 1)) for plan in plans]
        for collector in ("waves", "pool"):
            trainer.args.collector = collector
            episodes = trainer.play(against_itself)
            assert [episode.index for episode in episodes] == [plan.number for plan in plans]
            for turn in (turn for episode in episodes for turn in episode.turns):
                assert len(turn.response.logprobs) == len(turn.response.token_ids) > 0
                expected = token_logprobs(trainer.policy, turn.response.prompt_ids, turn.response.token_ids)
                torch.testing.assert_close(torch.tensor(turn.response.logprobs), expected, atol=0.02, rtol=0.02)
