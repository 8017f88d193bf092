"""The measurement of training steps: that it times what it says, and that a comparison of different work is void."""

import json
from dataclasses import replace

import pytest
import torch

import spiral_envs
from benchmarks import throughput, throughput_train, trainer_pair, training_steps
from benchmarks.trainer_pair import Comparison, Row, Side
from spiral_envs.episode import Episode
from spiral_trl.embedded import build_model, build_tokenizer
from spiral_trl.sampling import Sample, SampledReply

KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"

SIDE = Side(seconds=[2.0, 3.0], positions=100, loss=[0.5, 0.5], grad_norm=[2.0, 2.0], peak_mib=300, idle_mib=200)
SAME = Comparison(rows=4, tokens=75, ours=SIDE, theirs=replace(SIDE, seconds=[4.0, 4.0]), gradient_distance=1e-6)


def played(*replies):
    """A game of Kuhn poker in which the model wrote every reply as tokens, as many as it has letters."""
    match = spiral_envs.make_match(KUHN, seed=0)
    for reply in replies:
        match.submit(SampledReply.of(reply, None, (1, 2), Sample(tuple(map(ord, reply)), None, True)))
    return Episode.of(match, index=0, agents=("self", "self"))


def test_games_are_cut_to_the_rows_that_are_wanted():
    games = [played("[check]", "[check]"), played("[bet]", "[call]"), played("[check]", "[bet]", "[fold]")]

    kept = trainer_pair.with_rows(games, 3)

    assert [[str(turn.response) for turn in game.turns] for game in kept] == [["[check]", "[check]"], ["[bet]"]]


def test_turns_in_which_nothing_was_written_are_no_rows():
    match = spiral_envs.make_match(KUHN, seed=0)
    match.submit("[bet]")
    match.submit(SampledReply.of("[bet]", None, (1,), Sample((9,), None, True)))
    game = Episode.of(match, index=0, agents=("random", "self"))

    assert trainer_pair.num_rows([game]) == 1
    assert trainer_pair.with_rows([game], 1) == [game]


@pytest.mark.parametrize(("parts", "rows_of_each"), [(1, 6), (2, 3), (3, 2), (4, 1)])
def test_micro_batches_are_full_and_the_rows_even_in_number(parts, rows_of_each):
    settings = training_steps.StepSettings("model", [KUHN], 8, parts, 8, beta=0.0, seed=0)
    games = [played("[check]", "[check]"), played("[bet]", "[call]"), played("[check]", "[bet]", "[fold]")]

    kept, settings = throughput_train.comparable(games, settings)

    assert settings.rows == rows_of_each
    assert trainer_pair.num_rows(kept) == parts * rows_of_each


def test_too_few_rows_are_refused():
    settings = training_steps.StepSettings("model", [KUHN], 8, 8, 8, beta=0.0, seed=0)

    with pytest.raises(ValueError, match="too few rows for 8 micro-batches"):
        throughput_train.comparable([played("[check]", "[check]")], settings)


def test_the_rows_of_a_batch_are_read_without_padding():
    batch = {
        "prompt_ids": torch.tensor([[0, 5], [6, 7], [0, 0]]),
        "prompt_mask": torch.tensor([[0, 1], [1, 1], [0, 1]]),
        "completion_ids": torch.tensor([[8, 9], [8, 0], [0, 0]]),
        "completion_mask": torch.tensor([[1, 1], [1, 0], [1, 0]]),
        "tool_mask": torch.tensor([[1, 1], [1, 0], [0, 0]]),
        "advantages": torch.tensor([[0.5, 0.5], [-1.0, 0.0], [0.0, 0.0]]),
    }

    assert trainer_pair.rows_of(batch) == [Row((5,), (8, 9), 0.5), Row((6, 7), (8,), -1.0)]


def test_time_goes_to_the_innermost_part(monkeypatch):
    now_s = iter([10.0, 11.0, 13.0, 17.0, 25.0, 26.0])
    monkeypatch.setattr(training_steps, "clock", lambda: next(now_s))
    timers = training_steps.Timers()

    timers.begin_step()
    timers.timed("outer", timers.timed("inner", lambda: None))()
    timers.begin_step()

    # From 10 to 11 and from 25 to 26 the rest, from 11 to 13 and from 17 to 25 the outer, in between the inner.
    assert timers.steps == [{training_steps.REST: 2.0, "outer": 10.0, "inner": 4.0}]


@pytest.mark.parametrize(
    "other",
    [
        replace(SAME, gradient_distance=0.2),
        replace(SAME, ours=replace(SIDE, loss=[0.5, 0.6])),
        replace(SAME, ours=replace(SIDE, grad_norm=[2.5, 2.0])),
    ],
)
def test_a_comparison_of_different_work_is_void(other):
    assert SAME.is_valid
    assert not other.is_valid
    assert throughput_train.agreement(other).startswith("VOID")


def test_the_report_has_the_ratios_of_the_rounds_the_padding_and_the_memory(capsys):
    throughput_train.print_report([{"forward": 3.0, training_steps.REST: 1.0}], SAME, {"code": "x"})

    lines = [" ".join(line.replace("|", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert "seconds 2.500 [2.000–3.000] 4.000 [4.000–4.000] 0.62 [0.50–0.75]" in lines
    assert "computed positions that are padding 25.0% 25.0%" in lines
    assert "peak memory, MiB 300 300 1.00" in lines
    assert "forward 3.000 75.0%" in lines
    assert "Aim: time of a step at most 1 times that of GRPOTrainer; it is 0.62: reached." in lines


def test_a_count_of_nothing_is_refused(capsys):
    assert throughput.main(["train", "--rounds", "0"]) == 2
    assert capsys.readouterr().err == "error: --rounds must be at least 1\n"


@pytest.mark.slow
def test_both_trainers_compute_the_same_on_the_rows_of_games(tmp_path, capsys):
    tokenizer = build_tokenizer(["[check] [bet] Kuhn poker\n"], vocab_size=300)
    build_model(tokenizer, seed=0, hidden_size=32, num_layers=1).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    counts = {"num_games": 8, "rows": 8, "parts": 2, "max_new_tokens": 6, "rounds": 2, "steps": 1, "beta": 0.1}
    chosen = [word for name, value in counts.items() for word in (f"--{name}", str(value))]

    status = throughput.main(
        ["train", "--model", str(tmp_path / "model"), "--games", KUHN, *chosen, "--out", str(tmp_path / "out.json")]
    )

    assert status == 0
    assert "The same was computed" in capsys.readouterr().out
    report = json.loads((tmp_path / "out.json").read_text())
    # A random model writes no move, so that every game is one turn.
    assert report["comparison"]["rows"] == 8
    assert len(report["comparison"]["ours"]["seconds"]) == len(report["comparison"]["theirs"]["seconds"]) == 2
    assert report["comparison"]["ours"]["peak_mib"] > report["comparison"]["ours"]["idle_mib"] > 0
    assert report["steps_of_self_play"][0][training_steps.GENERATION] > 0
