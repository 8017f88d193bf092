"""Training against others than oneself: who sits where, which turns train, whose baselines move, and the league."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportGeneralTypeIssues=false

import pytest
import torch
from scripted import KUHN, TIC_TAC_TOE, ScriptedSampler, legal_reply
from test_trainer import StopAt, assert_identical, assert_same_run, make_trainer, trainer_from, untimed

from spiral_envs.agents import EndpointError
from spiral_trl.checkpoints import RestoreError, last_complete_checkpoint
from spiral_trl.collapse import Alarm
from spiral_trl.records import JsonLines
from spiral_trl.sampling import GenerationError

MIX = {"self": 0.5, "random": 0.25, "first": 0.25}


def games_of(folder):
    return JsonLines(folder / "games.jsonl").read()


def assert_same_weights(trainer, other):
    assert_identical(dict(trainer.model.state_dict()), dict(other.model.state_dict()))


def learner_turns(game):
    return [turn for turn in game["turns"] if turn["seat"] in game["learner_seats"]]


def test_only_the_learners_turns_train_and_seats_are_drawn(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
        opponents=MIX,
        games_per_batch=20,
        per_device_train_batch_size=90,
        max_steps=3,
    )
    rows = []
    fit = trainer._fit
    trainer._fit = lambda given: rows.append(given) or fit(given)
    trainer.train()
    games = games_of(tmp_path / "run")
    assert {game["opponent"] for game in games} == set(MIX)
    for game in games:
        if game["opponent"] == "self":
            assert (game["learner_seats"], game["agents"]) == ([0, 1], ["self", "self"])
        else:
            (seat,) = game["learner_seats"]
            assert game["agents"][seat] == "self"
            assert game["agents"][1 - seat] == game["opponent"]
            assert game["advantages"][1 - seat] == 0.0
    against_others = [game for game in games if game["opponent"] != "self"]
    assert {tuple(game["learner_seats"]) for game in against_others} == {(0,), (1,)}
    for step, batch in enumerate(rows, start=1):
        assert len(batch) == sum(len(learner_turns(game)) for game in games if game["step"] == step)
    assert len(rows) == 3


def test_games_against_others_move_only_the_baselines_of_their_own_kind(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
        opponents=MIX,
        games_per_batch=20,
        per_device_train_batch_size=90,
        max_steps=2,
    )
    trainer.train()
    averages = {}
    for game in games_of(tmp_path / "run"):
        for seat in game["learner_seats"]:
            key = (game["game"], game["roles"][seat], game["opponent"])
            assert game["advantages"][seat] == game["returns"][seat] - averages.get(key, 0.0)
            averages[key] = 0.95 * averages.get(key, 0.0) + (1 - 0.95) * game["returns"][seat]
    assert sorted(trainer.baseline.keys()) == sorted(averages)
    assert {key: trainer.baseline.value(key) for key in averages} == averages
    assert {key[2] for key in averages} == set(MIX)
    figures = [record for record in trainer.state.log_history if "games" in record][-1]
    assert sum(figures.get(f"{TIC_TAC_TOE}/{role}/vs random/games", 0) for role in "XO") == sum(
        game["opponent"] == "random" and game["game"] == TIC_TAC_TOE and game["step"] == 2
        for game in games_of(tmp_path / "run")
    )


def test_shares_of_games_are_honoured_in_turns_too(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
        game_weights=[0.5, 0.5],
        mix_by="turns",
        games_per_batch=16,
        per_device_train_batch_size=80,
        max_steps=6,
    )
    trainer.train()
    shares = trainer.schedule.shares()
    turns = {label: share for label, (_, share) in shares.items()}
    # A game of tic-tac-toe is 5 to 9 of several hundred turns.
    assert turns[TIC_TAC_TOE] == pytest.approx(0.5, abs=0.04)
    assert shares[TIC_TAC_TOE][0] < 0.4, "and so is played less often than the short hands of poker"


def test_replays_of_a_deal_are_compared_with_each_other(tmp_path, warm_folder):
    trainer = trainer_from(
        warm_folder,
        tmp_path / "run",
        advantage_estimator="group",
        replays_per_deal=3,
        games_per_batch=12,
        per_device_train_batch_size=60,
        reward="win",
        max_steps=2,
    )
    trainer.train()
    games = games_of(tmp_path / "run")
    assert len(games) == 24
    for first in range(0, 24, 3):
        deal = games[first : first + 3]
        assert len({(game["game"], game["seed"]) for game in deal}) == 1
        for seat in (0, 1):
            wins = [(game["returns"][seat] > 0) - (game["returns"][seat] < 0) for game in deal]
            expected = [win - sum(wins) / 3 for win in wins]
            assert [game["advantages"][seat] for game in deal] == pytest.approx(expected)
    assert len({game["seed"] for game in games}) == 8
    assert any(any(game["advantages"]) for game in games), "replays differ, because replies are sampled"
    assert trainer.baseline.keys() == ()


def test_a_fault_costs_the_penalty_beside_the_game(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, lambda prompt: "none"),
        games=[TIC_TAC_TOE],
        fault_penalty=0.5,
        advantage_estimator="none",
        games_per_batch=2,
        max_steps=1,
    )
    trainer.train()
    assert [game["advantages"] for game in games_of(tmp_path / "run")] == [[-1.5, 1.0]] * 2


# -- the league --------------------------------------------------------------------------------------------------------

LEAGUE = {
    "opponents": {"self": 0.5, "league": 0.5},
    "league_snapshot_steps": 2,
    "league_size": 2,
    "games_per_batch": 6,
    "per_device_train_batch_size": 40,
    "learning_rate": 1e-2,
}


def test_a_snapshot_plays_with_the_weights_of_its_step(tmp_path, warm_folder):
    seen = {}

    class Watching(StopAt):
        def on_step_end(self, args, state, control, model, **_):
            seen[state.global_step] = {name: each.detach().clone() for name, each in model.named_parameters()}

    trainer = trainer_from(
        warm_folder, tmp_path / "run", callbacks=[Watching(0)], **LEAGUE, league_selection="latest", max_steps=4
    )
    seen[0] = {name: each.detach().clone() for name, each in trainer.model.named_parameters()}
    trainer.train()
    step, agent = trainer._playing._snapshot
    assert step == 2
    playing = dict(agent._sampler._model.named_parameters())
    for name, weights in seen[2].items():
        assert torch.equal(playing[name], weights)
        assert not torch.equal(weights, seen[0][name])
    games = games_of(tmp_path / "run")
    names = {(game["step"], name) for game in games for name in game["agents"] if name != "self"}
    assert names == {(1, "league:0"), (2, "league:0"), (3, "league:2"), (4, "league:2")}
    figures = [record for record in trainer.state.log_history if "games" in record][-1]
    assert {name for name in figures if name.startswith("league/")} >= {"league/0/games", "league/2/weight"}
    against = [game for game in games if game["opponent"] == "league"]
    assert figures["league/0/games"] + figures["league/2/games"] == len(against)


@pytest.mark.parametrize("selection", ["latest", "uniform", "prioritised"])
def test_a_resumed_run_with_a_league_equals_an_uninterrupted_one_bit_for_bit(tmp_path, warm_folder, selection):
    settings = {
        **LEAGUE,
        "opponents": {"self": 0.4, "league": 0.4, "random": 0.2},
        "league_selection": selection,
        "save_strategy": "steps",
        "save_steps": 5,
        "max_steps": 10,
        "save_total_limit": 3,
    }
    straight = trainer_from(warm_folder, tmp_path / "straight", **settings)
    straight.train()
    trainer_from(warm_folder, tmp_path / "resumed", callbacks=[StopAt(5)], **settings).train()
    torch.rand(17)  # another state of the global random numbers
    resumed = trainer_from(warm_folder, tmp_path / "resumed", **settings)
    resumed.train(resume_from_checkpoint=True)

    assert_same_run(tmp_path / "straight", tmp_path / "resumed", step=10)
    assert untimed(straight.state.log_history) == untimed(resumed.state.log_history)
    assert straight.league.table() == resumed.league.table()
    assert not list((tmp_path / "straight" / "league").rglob("training_args.bin")), "it names the folder of its run"
    assert any(game["opponent"] == "league" for game in games_of(tmp_path / "resumed"))


def test_snapshots_that_no_checkpoint_needs_are_deleted_and_the_others_stay(tmp_path, warm_folder):
    settings = {**LEAGUE, "save_strategy": "steps", "save_steps": 2, "max_steps": 8, "save_total_limit": 2}
    trainer = trainer_from(warm_folder, tmp_path / "run", league_selection="latest", **settings)
    trainer.train()
    # The checkpoints of steps 6 and 8 know the snapshots 2 and 4, and 4 and 6.
    assert trainer.league.steps == (4, 6)
    assert sorted(path.name for path in (tmp_path / "run" / "league").iterdir()) == ["step-2", "step-4", "step-6"]
    older = trainer_from(warm_folder, tmp_path / "run", league_selection="latest", **settings)
    older.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-6"))
    assert older.league.steps == (4, 6)


def test_a_league_without_room_on_the_disk_is_refused_with_the_sizes(tmp_path, warm_folder):
    trainer = trainer_from(warm_folder, tmp_path / "run", **LEAGUE, league_disk_gb=1e-5)
    with pytest.raises(ValueError, match=r"a league with no room: the snapshot of step 0 alone takes [0-9,]+ bytes"):
        trainer.train()


# -- when something goes wrong -----------------------------------------------------------------------------------------


class GoneAfter:
    """A backend that is gone after some calls."""

    def __init__(self, sampler, calls):
        self.sampler = sampler
        self.calls = calls

    def sample(self, prompts):
        self.calls -= 1
        if self.calls < 0:
            raise GenerationError("the vLLM server does not answer any more")
        return self.sampler.sample(prompts)


def test_a_backend_that_is_gone_ends_the_run_with_a_checkpoint_that_loses_nothing(tmp_path, tokenizer):
    def trainer_at(folder, calls):
        sampler = GoneAfter(ScriptedSampler(tokenizer, legal_reply), calls)
        # The optimizer's schedule and the seeds are those of the whole run.
        return make_trainer(tmp_path / folder, tokenizer, sampler=sampler, max_steps=4)

    straight = trainer_at("straight", 10_000)
    straight.train()
    broken = trainer_at("broken", 25)
    with pytest.raises(GenerationError, match=r"does not answer any more; step \d is saved in checkpoint-\d"):
        broken.train()
    step = broken.state.global_step
    assert 0 < step < 4
    checkpoint = last_complete_checkpoint(tmp_path / "broken" / "run")
    assert checkpoint.name == f"checkpoint-{step}"
    resumed = trainer_at("broken", 10_000)
    resumed.train(resume_from_checkpoint=True)
    for (name, one), (_, other) in zip(
        straight.model.named_parameters(), resumed.model.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    assert games_of(tmp_path / "straight" / "run") == games_of(tmp_path / "broken" / "run")


def test_an_endpoint_that_does_not_answer_ends_the_run_with_a_checkpoint(tmp_path, tokenizer):
    class Silent:
        name = "silent"

        def act(self, views):
            raise EndpointError("no reply from http://localhost:1 after 6 attempts")

    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
        opponents={"self": 0.5, "first": 0.5},
        max_steps=3,
    )
    trainer._playing._opponents["first"] = Silent()
    with pytest.raises(
        GenerationError, match=r"an opponent does not answer: no reply .* step 0 is saved in checkpoint-0"
    ):
        trainer.train()
    assert last_complete_checkpoint(tmp_path / "run").name == "checkpoint-0"


def test_a_backend_that_is_gone_during_an_evaluation_ends_the_run_with_a_checkpoint(tmp_path, tokenizer):
    sampler = GoneAfter(ScriptedSampler(tokenizer, legal_reply), 10_000)
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        sampler=sampler,
        max_steps=4,
        eval_strategy="steps",
        eval_steps=2,
        eval_agents=["first"],
        eval_pairs=2,
    )
    evaluate = trainer.evaluate
    trainer.evaluate = lambda **given: setattr(sampler, "calls", 0) or evaluate(**given)
    with pytest.raises(GenerationError, match="step 2 is saved in checkpoint-2"):
        trainer.train()
    assert last_complete_checkpoint(tmp_path / "run").name == "checkpoint-2"


def test_a_run_stopped_by_a_sign_of_collapse_can_be_resumed(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path, tokenizer, sampler=ScriptedSampler(tokenizer, legal_reply), max_steps=5, collapse="stop"
    )
    alarm = Alarm(2, "faults", "all games end on a fault", 1.0, 0.5)
    trainer._collapse._detector.update = lambda step, metrics: [alarm] if step == 2 else []
    trainer.train()
    assert trainer.stop_reason == "all games end on a fault"
    assert trainer.state.global_step == 2
    assert last_complete_checkpoint(tmp_path / "run").name == "checkpoint-2"
    assert JsonLines(tmp_path / "run" / "alarms.jsonl").read()[0]["name"] == "faults"


def test_a_resumed_run_saves_and_logs_by_its_own_settings_and_says_what_it_changed(tmp_path, tokenizer, caplog):
    def trainer_with(**settings):
        sampler = ScriptedSampler(tokenizer, legal_reply)
        return make_trainer(tmp_path, tokenizer, sampler=sampler, save_strategy="steps", **settings)

    trainer_with(save_steps=2, max_steps=2).train()
    trainer_with(save_steps=1, max_steps=4, reward="win", save_total_limit=4).train(resume_from_checkpoint=True)
    found = sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*"))
    assert found == ["checkpoint-2", "checkpoint-3", "checkpoint-4"]
    assert "reward is 'win' and was 'score' before the checkpoint" in caplog.text


def test_a_run_of_other_games_cannot_be_gone_on_with(tmp_path, tokenizer):
    sampler = ScriptedSampler(tokenizer, legal_reply)
    settings = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    make_trainer(tmp_path, tokenizer, sampler=sampler, **settings).train()
    other = make_trainer(tmp_path, tokenizer, sampler=sampler, **{**settings, "max_steps": 2}, games=[KUHN])
    with pytest.raises(RestoreError, match=r"cannot go on from .*checkpoint-1: the saved schedule has games"):
        other.train(resume_from_checkpoint=True)


def test_a_loss_that_is_not_finite_stops_the_run_with_the_batch_saved_and_the_weights_unspoilt(tmp_path, tokenizer):
    from spiral_trl.trainer import NonFiniteLossError

    trainer = make_trainer(tmp_path, tokenizer, sampler=ScriptedSampler(tokenizer, legal_reply), max_steps=3)
    fit = trainer._fit
    trainer._fit = lambda rows: [
        row._replace(advantages=(float("nan"),) * len(row.advantages)) if trainer.state.global_step == 1 else row
        for row in fit(rows)
    ]
    with pytest.raises(NonFiniteLossError, match="the loss is not finite in step 2: the micro-batch is saved in"):
        trainer.train()
    saved = torch.load(tmp_path / "run" / "nonfinite_loss_step-2_rank-0.pt", weights_only=True)
    assert saved["advantages"].isnan().any()
    assert saved["completion_ids"].shape == saved["completion_mask"].shape
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


def test_a_gap_between_sampler_and_trainer_raises_the_alarm(tmp_path, tokenizer, caplog):
    trainer = make_trainer(tmp_path, tokenizer, logprob_gap_alarm=0.25)
    mask = torch.tensor([[1, 1, 0]])
    trainer._sampler_ratio(torch.tensor([[-1.0, -2.0, 0.0]]), torch.tensor([[-1.2, -2.2, -9.0]]), {"tool_mask": mask})
    assert not caplog.records
    trainer._sampler_ratio(torch.tensor([[-1.0, -2.0, 0.0]]), torch.tensor([[-1.0, -2.6, -9.0]]), {"tool_mask": mask})
    assert "the sampler's log-probabilities are 0.300 nats from the trainer's" in caplog.text
    (alarm,) = JsonLines(tmp_path / "run" / "alarms.jsonl").read()
    assert (alarm["step"], alarm["name"], alarm["limit"]) == (1, "logprob_gap", 0.25)
    metrics = trainer._metrics["train"]
    assert metrics["sampling/logprob_gap_mean"] == pytest.approx([0.2, 0.3])
    assert metrics["sampling/ratio_truncated"] == [0.0, 0.0]


def test_evaluations_leave_the_run_as_it_is(tmp_path, warm_folder):
    settings = {"games_per_batch": 4, "max_steps": 4}
    plain = trainer_from(warm_folder, tmp_path / "plain", **settings)
    plain.train()
    watched = trainer_from(
        warm_folder,
        tmp_path / "watched",
        **settings,
        eval_strategy="steps",
        eval_steps=2,
        eval_agents=["random", "first"],
        eval_on=[KUHN],
        eval_pairs=5,
        nash_conv_steps=2,
    )
    watched.train()
    assert_same_weights(plain, watched)
    assert games_of(tmp_path / "plain") == games_of(tmp_path / "watched")
    results = JsonLines(tmp_path / "watched" / "evaluations.jsonl").read()
    assert {result["step"] for result in results} == {2, 4}
    assert {result["opponent"] for result in results} == {"random", "first"}
    history = watched.state.log_history
    evaluated = [record for record in history if any(name.startswith("eval_") for name in record)]
    assert len(evaluated) == 2
    assert {f"eval_{KUHN} vs random/win_rate", f"eval_{KUHN} vs first/low"} <= set(evaluated[0])
    measured = [record["step"] for record in history if f"nash_conv/{KUHN}" in record]
    assert measured == [2, 4]
