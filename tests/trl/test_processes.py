"""Several processes: the same baselines everywhere, whoever is late, and a killed run goes on as if nothing was.

The runs are those of `process_run.py`, on the CPU and over gloo.
"""

# Libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file
from scripted import KUHN, SETTINGS
from test_trainer import LENGTH, ROWS, assert_identical, scripted_turns, token_logprobs, untimed
from transformers import AutoModelForCausalLM

from spiral_envs.errors import UnknownNameError
from spiral_trl import RoleBaseline
from spiral_trl.launch import accelerate_config_names, accelerate_config_path
from spiral_trl.records import JsonLines
from spiral_trl.trainer import last_complete_checkpoint

SCRIPT = Path(__file__).with_name("process_run.py")
TEN_STEPS = {**SETTINGS, "max_steps": 10, "save_strategy": "steps", "save_steps": 5, "save_total_limit": 3}
LEAGUE = {"opponents": {"self": 0.5, "league": 0.5}, "league_snapshot_steps": 3}
FEW_GAMES = {**LEAGUE, "games": [KUHN], "games_per_batch": 1, "max_steps": 4, "save_strategy": "no"}
"""One game a process and step, so that spread weights have nothing to fill waves up with before it has ended."""

UNEVEN = {
    "games_per_batch": 1,
    "per_device_train_batch_size": ROWS // 4,
    "gradient_accumulation_steps": 4,
    "max_steps": 1,
}
"""The first process plays a hand of poker, the other one a long game of tic-tac-toe, both in four micro-batches."""

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}

END_S = 280
"""Within it everything that is started has ended, on two busy cores."""


@contextmanager
def process_group(command):
    """A process with its own group, of which nothing is left afterwards."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, **ENVIRONMENT},
    )
    try:
        yield process
    finally:
        # The launcher ends its workers, which have groups of their own, when it is asked to.
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run(*plans):
    """Makes the runs in one go."""
    with process_group([sys.executable, str(SCRIPT), json.dumps(plans)]) as process:
        output, _ = process.communicate(timeout=END_S)
    assert process.returncode == 0, output[-4000:]


def plan(model, output, *, processes=2, settings=(), **more):
    return {
        "model": str(model),
        "output": str(output),
        "processes": processes,
        "settings": {**TEN_STEPS, **dict(settings)},
        **more,
    }


@pytest.fixture(scope="module")
def runs(warm_folder, tmp_path_factory):
    """The folder of the runs that nobody kills."""
    folder = tmp_path_factory.mktemp("runs")

    def of(name, **more):
        return plan(warm_folder, folder / name, **more)

    run(
        of("two"),
        of("late", slow_rank=0),
        of("halves", stop_at=5),
        of("halves", resume=True),
        of("league", settings=LEAGUE),
        of("league-halves", settings=LEAGUE, stop_at=5),
        of("league-halves", settings=LEAGUE, resume=True),
        of("four", processes=4, settings={"max_steps": 4}),
        of("sharded", settings=FEW_GAMES, is_sharded=True),
        of("unsharded", settings=FEW_GAMES),
        of("scripted", settings=UNEVEN, is_scripted=True),
        of("one", processes=1),
        of("one-halves", processes=1, stop_at=5),
        of("one-halves", processes=1, resume=True),
        of("one-league", processes=1, settings=LEAGUE),
        of("one-league-halves", processes=1, settings=LEAGUE, stop_at=5),
        of("one-league-halves", processes=1, settings=LEAGUE, resume=True),
    )
    return folder


def ranks(run_folder):
    """What every process of a run has written, in the order of their ranks."""
    paths = sorted((run_folder / "ranks").iterdir())
    return [json.loads(path.read_text()) for path in paths]


def games_of(run_folder):
    return JsonLines(run_folder / "games.jsonl").read()


def exact(baseline):
    return [[list(key), value.hex(), count] for key, value, count in baseline.state_dict()["baselines"]]


# -- the baselines -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize(("name", "num_processes"), [("two", 2), ("four", 4), ("league", 2)])
def test_every_process_has_the_same_baselines_after_every_step_and_the_same_weights(runs, name, num_processes):
    first, *others = ranks(runs / name)
    assert first["num_processes"] == num_processes == 1 + len(others)
    assert (first["backend"], first["distribution"]) == ("gloo", "MULTI_CPU")
    for other in others:
        assert other["baselines"] == first["baselines"]
        assert other["weights"] == first["weights"]
        assert other["snapshots"] == first["snapshots"]
    assert list(first["baselines"]) == [
        str(step) for step in range(1, 1 + max(game["step"] for game in games_of(runs / name)))
    ]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("name", ["two", "four", "league"])
def test_the_baselines_are_those_of_one_process_that_scores_the_same_games(runs, name):
    """To the last bit, and the advantages as well."""
    games = games_of(runs / name)
    assert [game["number"] for game in games] == list(range(len(games)))
    baseline = RoleBaseline()
    after: dict[str, list] = {}
    for game in games:
        scores = [0.0, 0.0]
        for seat in game["learner_seats"]:
            key = (game["game"], game["roles"][seat], game["opponent"])
            scores[seat] = baseline.score(key, game["returns"][seat])
        assert game["advantages"] == scores
        after[str(game["step"])] = exact(baseline)
    assert ranks(runs / name)[0]["baselines"] == after
    assert len({value for _, value, _ in after["1"]} | {value for _, value, _ in after["4"]}) > 4, "they move"


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_process_that_is_late_changes_nothing(runs):
    assert ranks(runs / "late") == ranks(runs / "two")
    assert (runs / "late" / "games.jsonl").read_bytes() == (runs / "two" / "games.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_processes_play_different_games(runs):
    games = games_of(runs / "two")
    assert len({game["seed"] for game in games}) == len(games) == 80
    # Four games a process and step; the same deal of cards would be no reason for the same replies.
    replies = [[turn["response"] for turn in game["turns"]] for game in games if game["step"] == 1]
    assert replies[:4] != replies[4:]


# -- the gradient ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_the_gradient_is_that_of_the_turns_of_all_processes(runs, tokenizer, warm_folder):
    """Also where one has more turns than another, and micro-batches of padding alone."""
    games = games_of(runs / "scripted")
    of_first, of_second = (len(game["turns"]) for game in games)
    assert of_first < 4 < of_second
    (figures,) = JsonLines(runs / "scripted" / "metrics.jsonl").read()

    turns = scripted_turns(tokenizer, num_games=2)
    assert len(turns) == sum(len(game["turns"]) for game in games) == figures["turns"]
    model = AutoModelForCausalLM.from_pretrained(warm_folder)
    surrogate, value = torch.tensor(0.0), 0.0
    for prompt, reply, advantage in turns:
        surrogate = surrogate - advantage * token_logprobs(model, prompt, reply).sum() / (2 * ROWS * LENGTH)
        # At the policy that sampled it the probability ratio is 1, so that every token adds -A.
        value -= advantage * len(reply) / (2 * ROWS * LENGTH)
    surrogate.backward()
    norm = math.sqrt(sum(float(parameter.grad.square().sum()) for parameter in model.parameters()))
    assert figures["loss"] == pytest.approx(value, rel=1e-4)
    assert figures["grad_norm"] == pytest.approx(norm, rel=1e-4)


# -- resuming ----------------------------------------------------------------------------------------------------------


def assert_same_run(left, right, *, num_processes=2):
    """Two runs of ten steps ended in the same state, and their records say the same."""
    one, other = left / "checkpoint-10", right / "checkpoint-10"
    assert_identical(load_file(one / "model.safetensors"), load_file(other / "model.safetensors"))
    for name in ("optimizer.pt", "scheduler.pt"):
        assert_identical(torch.load(one / name, weights_only=True), torch.load(other / name, weights_only=True))
    for rank in range(num_processes):
        # numpy's state is an array, which only the full loader reads.
        name = f"rng_state_{rank}.pth" if num_processes > 1 else "rng_state.pth"
        assert_same_random_numbers(*(torch.load(each / name, weights_only=False) for each in (one, other)))
    states = [json.loads((each / "self_play_state.json").read_text()) for each in (one, other)]
    assert without_times(states[0]) == without_times(states[1])
    assert states[0]["games_started"] == 10 * 4 * num_processes
    assert (left / "games.jsonl").read_bytes() == (right / "games.jsonl").read_bytes()
    metrics = [untimed(JsonLines(each / "metrics.jsonl").read()) for each in (left, right)]
    assert metrics[0] == metrics[1]
    assert [line["step"] for line in metrics[0]] == list(range(1, 11))


def without_times(state):
    """The state of self-play without figures that depend on the clock and wait for their line of metrics."""
    return {**state, "metrics": [name for name in state["metrics"] if "time" not in name]}


def assert_same_random_numbers(left, right):
    assert left.keys() == right.keys() >= {"python", "numpy", "cpu"}
    for name, state in left.items():
        if isinstance(state, torch.Tensor):
            assert torch.equal(state, right[name])
        else:
            np.testing.assert_equal(state, right[name])


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize(
    ("straight", "halves", "num_processes"),
    [
        ("one", "one-halves", 1),
        ("one-league", "one-league-halves", 1),
        ("two", "halves", 2),
        ("league", "league-halves", 2),
    ],
)
def test_ten_steps_are_five_a_resume_and_five(runs, straight, halves, num_processes):
    assert_same_run(runs / straight, runs / halves, num_processes=num_processes)
    assert not list((runs / halves).glob("*abandoned*"))
    for whole, resumed in zip(ranks(runs / straight), ranks(runs / halves), strict=True):
        assert resumed["weights"] == whole["weights"]
        assert resumed["snapshots"] == whole["snapshots"]
        assert resumed["baselines"] == {step: whole["baselines"][step] for step in map(str, range(6, 11))}
    opponents = {game["opponent"] for game in games_of(runs / halves)}
    assert opponents == ({"self", "league"} if "league" in straight else {"self"})


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_process_that_is_killed_ends_the_run_and_resuming_loses_and_repeats_nothing(tmp_path, runs, warm_folder):
    output = tmp_path / "killed"
    killed = plan(warm_folder, output, kill={"rank": 1, "step": 8})
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(accelerate_config_path("ddp"))]
    options = ["--num_processes", "2", "--mixed_precision", "no", "--main_process_port", "0"]
    with process_group([*launcher, *options, str(SCRIPT), json.dumps([killed])]) as process:
        log, _ = process.communicate(timeout=END_S)
    assert process.returncode not in {0, None}
    assert "Signal 9 (SIGKILL)" in log
    # The seven steps before it are on record, and none of the games of the eighth.
    played = games_of(output)
    assert [game["number"] for game in played] == list(range(7 * 8))
    assert not (output / "ranks").exists()
    assert sorted(path.name for path in output.glob("checkpoint-*")) == ["checkpoint-5"]

    run(plan(warm_folder, output, resume=True))
    assert_same_run(runs / "two", output)
    # Steps 6 and 7 were played anew, as they had been.
    assert JsonLines(output / "games.abandoned.jsonl").read() == played[5 * 8 :]
    assert ranks(output)[1]["weights"] == ranks(runs / "two")[1]["weights"]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("name", ["rng_state_1.pth", "optimizer.pt", "model.safetensors"])
@pytest.mark.parametrize("tear", [Path.unlink, lambda path: os.truncate(path, 100)], ids=["missing", "cut"])
def test_a_checkpoint_that_lacks_a_part_of_any_process_is_skipped_with_a_warning(tmp_path, runs, caplog, name, tear):
    for step in (5, 10):
        shutil.copytree(runs / "two" / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not caplog.records
    tear(tmp_path / "checkpoint-10" / name)
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "checkpoint-10 is skipped, because it is torn" in record.getMessage()
    assert name in record.getMessage()


# -- weights that are spread over processes ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_weights_spread_over_processes_train_as_whole_ones_do(runs):
    first, second = ranks(runs / "sharded")
    assert first["distribution"] == "FSDP"
    assert first["baselines"] == second["baselines"]
    assert first["weights"] == second["weights"]
    # The first batch is played by the same weights with the same random numbers.
    games, figures = zip(*(first_step(runs / name) for name in ("sharded", "unsharded")), strict=True)
    assert games[0] == games[1]
    assert figures[0]["grad_norm"] > 1e-2
    for name in ("loss", "grad_norm", "entropy"):
        assert figures[0][name] == pytest.approx(figures[1][name], rel=1e-4, abs=1e-7)


def first_step(run_folder):
    return [game for game in games_of(run_folder) if game["step"] == 1], JsonLines(run_folder / "metrics.jsonl").read()[
        0
    ]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_every_process_plays_against_whole_snapshots(runs):
    first, second = ranks(runs / "sharded")
    assert list(first["snapshots"]) == ["0", "3"]
    assert first["snapshots"] == second["snapshots"]
    assert first["snapshots"]["0"] == ranks(runs / "unsharded")[0]["snapshots"]["0"]
    assert first["snapshots"]["0"] != first["snapshots"]["3"]


# -- the configurations of accelerate ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "distribution", "num_processes", "num_machines"),
    [("ddp", "MULTI_GPU", 8, 1), ("zero3", "DEEPSPEED", 8, 1), ("fsdp", "FSDP", 8, 1), ("multi_node", "FSDP", 16, 2)],
)
def test_accelerate_reads_the_packaged_configurations(name, distribution, num_processes, num_machines):
    config = load_config_from_file(str(accelerate_config_path(name)))
    assert config.distributed_type.value == distribution
    assert (config.num_processes, config.num_machines) == (num_processes, num_machines)
    assert config.mixed_precision == "bf16"


def test_every_packaged_configuration_is_known():
    assert accelerate_config_names() == ("ddp", "fsdp", "multi_node", "zero3")


def test_the_path_of_a_configuration_is_printed_and_an_unknown_name_gets_near_ones():
    command = [sys.executable, "-m", "spiral_trl.launch"]
    found = subprocess.run([*command, "zero3"], check=True, capture_output=True, text=True)
    assert found.stdout == f"{accelerate_config_path('zero3')}\n"
    missed = subprocess.run([*command, "zero"], check=False, capture_output=True, text=True)
    assert missed.returncode == 2
    assert missed.stderr == "python -m spiral_trl.launch: unknown accelerate config 'zero': did you mean zero3?\n"
    with pytest.raises(UnknownNameError, match="unknown accelerate config 'fsdp2': did you mean fsdp"):
        accelerate_config_path("fsdp2")
