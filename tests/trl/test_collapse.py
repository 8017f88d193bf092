"""The collapse detector: silent on an ordinary run, and one alarm for every kind of trouble."""

# Fakes and libraries are typed in part only.
# pyright: reportArgumentType=false, reportOptionalMemberAccess=false

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from scripted import KUHN, SETTINGS, TIC_TAC_TOE, ScriptedSampler, legal_reply, make_tiny_model
from transformers import TrainerControl, TrainerState

from spiral_trl import SelfPlayConfig, SelfPlayTrainer
from spiral_trl.collapse import Alarm, CollapseAction, CollapseCallback, CollapseDetector, CollapseSettings
from spiral_trl.records import JsonLines

G = "g(hands=1,payoff=chips)"
HEALTHY = {
    "reply_tokens": 24.0,
    "empty_reasoning": 0.1,
    "faults": 0.1,
    "Player 0/win": 0.5,
    "Player 0/draw": 0.2,
    "Player 0/loss": 0.3,
    "Player 1/win": 0.3,
    "Player 1/draw": 0.2,
    "Player 1/loss": 0.5,
}


def metrics(*, entropy=0.5, **changed):
    """The figures of a logged step of a healthy run, with some of them changed; `_` in a name stands for `/`."""
    figures = HEALTHY | {name.replace("_0_", " 0/"): value for name, value in changed.items()}
    return {
        "loss": 0.001,
        "entropy": entropy,
        **{f"{G}/{name}": value for name, value in figures.items()},
        # None of these is of the games against itself.
        f"{G}/Player 0/vs random/win": 1.0,
        f"{G}/Player 0/vs openai:m@http://h/v1/draw": 1.0,
        f"{G}/Player 0/vs random/faults": 3.0,
        f"eval/{G} vs random/faults": 3.0,
        f"eval_{G} vs random/faults": 3.0,
        "league/5/score": 0.99,
        "sampling/logprob_gap_max": 9.0,
    }


def run(detector, *phases, first=1):
    """The alarms of a run in phases: how many steps, and the figures of each."""
    alarms, step = [], first
    for steps, figures in phases:
        for _ in range(steps):
            alarms += detector.update(step, figures)
            step += 1
    return alarms


TROUBLES = [
    # Early 24, so the limits are 12 and 96; a window is 10 steps, of which n at the new figure pass the limit:
    # (10 - n)·24 + n·4 < 240 - 20 n < 120, n = 7.
    ("short_replies", {"reply_tokens": 4.0}, 7, 10.0, 12.0),
    # 240 + 476 n > 960, n = 2.
    ("long_replies", {"reply_tokens": 500.0}, 2, 119.2, 96.0),
    # 1 + 0.9 n > 5, n = 5.
    ("empty_reasoning", {"empty_reasoning": 1.0}, 5, 0.55, 0.5),
    ("faults", {"faults": 1.0}, 5, 0.55, 0.5),
    # 2 + 0.8 n > 9.8, n = 10.
    ("draw_flood", {"Player_0_win": 0.0, "Player_0_loss": 0.0, "Player_0_draw": 1.0}, 10, 1.0, 0.98),
    # The lead was 0.2 and becomes -0.5: -0.7 n / 10 < -0.6, n = 9.
    ("seat_gap", {"Player_0_win": 0.25, "Player_0_loss": 0.75, "Player_0_draw": 0.0}, 9, -0.43, -0.4),
]


@pytest.mark.parametrize(("name", "changed", "steps", "figure", "limit"), TROUBLES)
def test_each_trouble_is_noticed_when_the_mean_of_the_window_passes_the_limit(name, changed, steps, figure, limit):
    alarms = run(CollapseDetector(), (30, metrics()), (15, metrics(**changed)))
    (alarm,) = [each for each in alarms if each.name == f"{G}/{name}"]
    assert (alarm.step, alarm.figure, alarm.limit) == (30 + steps, pytest.approx(figure), pytest.approx(limit))
    assert alarm.message.startswith(f"{G}: ")
    assert [each.name for each in alarms] == [alarm.name], "one trouble, one alarm"


def test_one_seat_that_wins_nearly_always_is_noticed_whichever_it_is():
    for win, loss, sign in ((1.0, 0.0, 1), (0.0, 1.0, -1)):
        settings = CollapseSettings(seat_gap=2.5)
        figures = metrics(Player_0_win=win, Player_0_loss=loss, Player_0_draw=0.0)
        (alarm,) = run(CollapseDetector(settings), (30, metrics()), (20, figures))
        # Ten steps at a lead of 1, and not nine: 0.2 + 9 = 9.2 < 9.4.
        assert (alarm.step, alarm.name, alarm.figure, alarm.limit) == (40, f"{G}/one_seat_wins", sign, sign * 0.94)


def test_entropy_that_vanishes_is_noticed():
    (alarm,) = run(CollapseDetector(), (30, metrics()), (20, metrics(entropy=0.0)))
    # 0.5 (10 - n) / 10 < 0.05, n = 10: at nine it is 0.05.
    assert (alarm.step, alarm.name, alarm.figure, alarm.limit) == (40, "entropy_collapse", 0.0, pytest.approx(0.05))


def test_an_ordinary_run_raises_no_alarm():
    # Figures as in a run of the packaged quickstart, each a share of 34 or 85 games or a mean of replies.
    rng = np.random.default_rng(0)
    rates = {
        TIC_TAC_TOE: (34, 24.0, 0.10, (0.55, 0.14, 0.31)),
        KUHN: (85, 13.1, 0.01, (0.49, 0.0, 0.51)),
        "simple_negotiation_v0": (34, 20.2, 0.03, (0.10, 0.73, 0.17)),
    }
    detector = CollapseDetector()
    for step in range(1, 401):
        figures = {"loss": 0.0, "entropy": 0.12 - 0.01 * step / 400 + rng.normal(0, 0.003)}
        for game, (games, length, faults, shares) in rates.items():
            win, draw, loss = rng.multinomial(games, shares) / games
            figures |= {
                f"{game}/reply_tokens": length + rng.normal(0, 0.5),
                f"{game}/faults": rng.binomial(games, faults) / games,
                f"{game}/Player 0/win": win,
                f"{game}/Player 0/draw": draw,
                f"{game}/Player 0/loss": loss,
            }
        assert detector.update(step, figures) == []


def test_a_single_odd_step_raises_no_alarm():
    odd = metrics(faults=1.0, reply_tokens=2.0, empty_reasoning=1.0, Player_0_win=0.0, Player_0_loss=1.0, entropy=0.0)
    assert run(CollapseDetector(), (30, metrics()), (1, odd), (30, metrics())) == []


def test_an_alarm_is_raised_once_and_again_only_after_the_figure_has_come_back():
    trouble = metrics(faults=1.0)
    alarms = run(CollapseDetector(), (20, metrics()), (200, trouble))
    assert [alarm.step for alarm in alarms] == [25]
    # Around the limit of 0.5, never below 0.4: the same trouble.
    alarms = run(CollapseDetector(), (20, metrics()), *[(10, metrics(faults=faults)) for faults in (0.6, 0.45) * 5])
    assert len(alarms) == 1
    # Back to 0.1: another one.
    alarms = run(CollapseDetector(), (20, metrics()), (20, trouble), (20, metrics()), (20, trouble))
    assert [alarm.step for alarm in alarms] == [25, 65]


@pytest.mark.parametrize(
    "changed",
    [
        {"empty_reasoning": 1.0},
        {"faults": 0.9},
        {"Player_0_draw": 1.0, "Player_0_win": 0.0, "Player_0_loss": 0.0},
        {"Player_0_win": 1.0, "Player_0_draw": 0.0, "Player_0_loss": 0.0},
    ],
)
def test_a_run_that_starts_that_way_has_not_collapsed(changed):
    assert run(CollapseDetector(), (100, metrics(**changed))) == []


def test_a_collapse_in_the_first_steps_is_noticed():
    # Well over half a window, then trouble: 0.5 + 1 n of n + 5 steps, above 0.5 at the first full window.
    (alarm,) = run(CollapseDetector(), (5, metrics()), (30, metrics(faults=1.0)))
    assert (alarm.step, alarm.name) == (10, f"{G}/faults")


def test_games_that_are_not_played_in_a_step_are_passed_over():
    detector = CollapseDetector()
    assert run(detector, (20, metrics()), (50, {"loss": 0.1, "entropy": 0.5})) == []
    assert [each.name for each in run(detector, (10, metrics(faults=1.0)), first=71)] == [f"{G}/faults"]


def test_figures_that_are_not_finite_are_passed_over():
    detector = CollapseDetector()
    broken = dict.fromkeys(metrics(), float("nan")) | {"loss": float("inf")}
    assert run(detector, (20, metrics()), (30, broken)) == []
    assert json.loads(json.dumps(detector.state_dict())) == detector.state_dict()


def test_going_on_from_a_saved_state_gives_the_same_alarms():
    rng = np.random.default_rng(1)
    history = [
        metrics(
            faults=rng.random(),
            reply_tokens=float(rng.choice([2.0, 24.0, 400.0])),
            empty_reasoning=rng.random(),
            entropy=rng.random() ** 4,
            Player_0_win=(win := rng.random()),
            Player_0_loss=1 - win,
        )
        for _ in range(120)
    ]
    settings = CollapseSettings(window=3, early=5, slack=0.05)
    straight = CollapseDetector(settings)
    expected = [straight.update(step, figures) for step, figures in enumerate(history)]
    assert sum(map(len, expected)) > 20
    for cut in (0, 3, 7, 60, 119):
        first, second = CollapseDetector(settings), CollapseDetector(settings)
        alarms = [first.update(step, figures) for step, figures in enumerate(history[:cut])]
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        alarms += [second.update(step, figures) for step, figures in enumerate(history[cut:], start=cut)]
        assert alarms == expected
        assert second.state_dict() == straight.state_dict()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": 0}, "window is 0: expected more than 0"),
        ({"faults": -0.5}, "faults is -0.5: expected more than 0"),
        ({"short_replies": 1.5}, "short_replies is 1.5: expected a share below 1"),
        ({"slack": 1.0}, "slack is 1.0: expected a share below 1"),
        ({"long_replies": 0.9}, "long_replies is 0.9: expected a multiple above 1"),
    ],
)
def test_settings_out_of_their_range_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(CollapseSettings(), **changed)


# -- the callback ------------------------------------------------------------------------------------------------------

QUICK = CollapseSettings(early=2, window=2)


def follow(callback, *steps, is_main=True):
    """Logs the figures of some steps, and returns at which of them training was told to stop."""
    stops = []
    for step, figures in enumerate(steps, start=1):
        control = TrainerControl()
        state = TrainerState(global_step=step, is_world_process_zero=is_main)
        callback.on_log(None, state, control, logs=figures)
        stops += [step] * control.should_training_stop
    return stops


def test_a_warning_is_logged_and_written_and_training_goes_on(tmp_path, caplog):
    file = JsonLines(tmp_path / "alarms.jsonl")
    callback = CollapseCallback(CollapseDetector(QUICK), file, CollapseAction.WARN)
    trouble = metrics(faults=1.0)
    with caplog.at_level(logging.WARNING):
        assert follow(callback, metrics(), metrics(), trouble, trouble) == []
    (record,) = file.read()
    assert Alarm(**record) == Alarm(3, f"{G}/faults", record["message"], pytest.approx(0.55), 0.5)
    assert caplog.messages == [f"step 3: {record['message']}"]
    assert record["message"] == (
        f"{G}: many games end on a fault: faults is 0.55 over the last 2 logged steps, with the limit at 0.5;"
        " it was 0.1 over the first 2"
    )
    assert callback.reason is None


def test_stopping_is_decided_alike_on_every_process_and_written_by_the_main_one(tmp_path, caplog):
    steps = [metrics(), metrics(), metrics(faults=1.0), metrics(faults=1.0)]
    for is_main in (True, False):
        file = JsonLines(tmp_path / f"{is_main}.jsonl")
        callback = CollapseCallback(CollapseDetector(QUICK), file, CollapseAction.STOP)
        assert follow(callback, *steps, is_main=is_main) == [3]
        assert callback.reason.startswith(f"{G}: many games end on a fault")
        assert len(file.read()) == is_main
    assert len(caplog.messages) == 1


def test_nothing_is_looked_at_when_it_is_off_or_no_step_of_training(tmp_path):
    file = JsonLines(tmp_path / "alarms.jsonl")
    steps = [metrics(), metrics(), metrics(faults=1.0), metrics(faults=1.0)]
    assert follow(CollapseCallback(CollapseDetector(QUICK), file, CollapseAction("off")), *steps) == []
    other = [{name: value for name, value in figures.items() if name != "loss"} for figures in steps]
    callback = CollapseCallback(CollapseDetector(QUICK), file, CollapseAction("stop"))
    assert follow(callback, *other, None, {}) == []
    assert callback.state_dict() == CollapseDetector().state_dict()
    assert not file.path.exists()


def test_the_callback_goes_on_from_its_state(tmp_path):
    file = JsonLines(tmp_path / "alarms.jsonl")
    first = CollapseCallback(CollapseDetector(QUICK), file, CollapseAction.STOP)
    follow(first, metrics(), metrics())
    second = CollapseCallback(CollapseDetector(QUICK), file, CollapseAction.STOP)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert follow(second, metrics(faults=1.0)) == [1]


def test_a_run_whose_players_fall_silent_is_stopped(tokenizer, tmp_path):
    class Tiring(ScriptedSampler):
        """Writes nothing at all once it has been asked often enough."""

        def _sample(self, prompt):
            self.reply = legal_reply if len(self.calls) < 30 else lambda _: ""
            return super()._sample(prompt)

    file = JsonLines(tmp_path / "alarms.jsonl")
    # Two games a step say nothing about seats and draws: above 2 and 1 no figure comes.
    settings = replace(QUICK, seat_gap=2.5, one_seat_wins=1.5, draws=1.5)
    callback = CollapseCallback(CollapseDetector(settings), file, CollapseAction.STOP)
    trainer = SelfPlayTrainer(
        model=make_tiny_model(tokenizer),
        args=SelfPlayConfig(output_dir=str(tmp_path), **{**SETTINGS, "max_steps": 20}),
        processing_class=tokenizer,
        sampler=Tiring(tokenizer, legal_reply),
        callbacks=[callback],
    )
    trainer.train()
    alarms = file.read()
    assert trainer.state.global_step == alarms[0]["step"] < 20
    assert {alarm["step"] for alarm in alarms} == {trainer.state.global_step}
    assert f"{TIC_TAC_TOE}/faults" in [alarm["name"] for alarm in alarms]
    assert callback.reason == alarms[0]["message"]
