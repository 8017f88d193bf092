"""The supervised baseline: what it refuses, what it learns, what it writes, and how it goes on after Ctrl-C."""

# Fakes and libraries are typed in part only.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from scripted import KUHN, TIC_TAC_TOE
from transformers import AutoModelForCausalLM
from trl import ModelConfig

from spiral_envs.sources import find_source
from spiral_trl.agents import make_hf_agent
from spiral_trl.records import JsonLines
from spiral_trl.sft import Row
from spiral_trl.sft_config import ImitationConfig, parse_sft, sft_config_names
from spiral_trl.sft_run import Task, make_trainer
from spiral_trl.train import main

FAST = [
    *("--experts", "random", "--games", KUHN, TIC_TAC_TOE, "--num_games", "20"),
    *("--use_cpu", "--gradient_checkpointing", "false", "--per_device_train_batch_size", "8"),
    *("--max_steps", "2", "--learning_rate", "1e-3", "--lr_scheduler_type", "constant"),
]


def run(capsys, *argv):
    """Returns the exit code of the command, and what it wrote to the two streams."""
    with pytest.raises(SystemExit) as exit_info:
        main(["sft", *map(str, argv)])
    written = capsys.readouterr()
    return exit_info.value.code, written.out, written.err


def assert_refused(capsys, argv, message):
    code, _, err = run(capsys, *argv)
    assert code == 2
    assert err.startswith("spiral-train: ")
    assert err.count("\n") == 1, err
    assert message in err


def words(text):
    """Returns a text without the line breaks that a narrow terminal makes."""
    return " ".join(text.split())


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no expert is named"),
        (["--experts", "random"], "no game is named"),
        ([*FAST, "--experts", "minmax"], "unknown agent 'minmax': did you mean minimax?"),
        ([*FAST, "--experts", "human"], "a human cannot be recorded"),
        ([*FAST, "--experts", "mcts:none"], "expected mcts:N with N an integer from 1"),
        ([*FAST, "--games", "tictactoe"], "unknown game 'tictactoe': did you mean tic_tac_toe_v0?"),
        ([*FAST, "--num_games", "0"], "num_games is 0: expected at least 1"),
        ([*FAST, "--max_concurrent_games", "0"], "max_concurrent_games is 0: expected at least 1"),
        ([*FAST, "--keep", "losses"], "unknown value of keep 'losses': known: all, wins, wins_and_draws"),
        ([*FAST, "--prompt_style", "boxed"], "unknown prompt style 'boxed': did you mean boxed_cot?"),
        ([*FAST, "--save_total_limit", "1"], "save_total_limit must be at least 2"),
        ([*FAST, "--learning_rat", "1"], "unknown option '--learning_rat': did you mean --learning_rate?"),
        (["--config", "quikstart"], "unknown config 'quikstart': did you mean quickstart?"),
        ([*FAST, "--model_name_or_path", "/no/such/folder"], "cannot load model '/no/such/folder'"),
        ([*FAST, "--prompt_style", "boxed_cot"], "the embedded model has no chat template"),
        ([*FAST, "--experts", "minimax"], "the minimax agent cannot play kuhn_poker_v0"),
        (
            [*FAST, "--experts", "minimax", "--games", TIC_TAC_TOE, "--keep", "wins"],
            "no example is left: none of the 20 games has a turn to learn from with keep=wins",
        ),
        ([*FAST, "--max_length", "5"], "no example is left: all"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_in_one_line_with_exit_code_2(capsys, tmp_path, argv, message):
    model = [] if "--model_name_or_path" in argv else ["--model_name_or_path", "embedded"]
    assert_refused(capsys, [*model, *argv, "--output_dir", tmp_path / "run"], message)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_run_without_a_model_is_refused_before_anything_is_recorded(capsys, tmp_path):
    assert_refused(capsys, [*FAST, "--output_dir", tmp_path / "run"], "name a model with --model_name_or_path")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_another_recording_is_refused(capsys, tmp_path, warm_folder):
    argv = ["--model_name_or_path", warm_folder, *FAST, "--output_dir", tmp_path / "run", "--keep", "wins"]
    assert_refused(capsys, [*argv, "--max_length", "5"], "no example is left")
    before = (tmp_path / "run" / "experts.jsonl").read_bytes()
    assert_refused(capsys, [*argv, "--seed", "7"], "experts.jsonl holds another recording")
    assert (tmp_path / "run" / "experts.jsonl").read_bytes() == before


def test_a_server_that_does_not_answer_ends_the_recording_in_one_line(capsys, tmp_path, warm_folder):
    pytest.importorskip("openai")
    # Nobody listens on the discard port.
    silent = "openai:nobody@http://127.0.0.1:9/v1?retries=0"
    argv = ["--model_name_or_path", warm_folder, *FAST, "--experts", "random", silent, "--output_dir", tmp_path / "run"]
    assert_refused(capsys, argv, "the games recorded so far are kept, and the same command goes on")


def test_help_lists_the_options(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for option in ("--experts", "--games", "--num_games", "--keep", "--resume", "--learning_rate", "--use_peft"):
        assert option in out


def test_the_packaged_config_parses():
    assert sft_config_names() == ("quickstart",)
    arguments, args, model_args = parse_sft(["--config", "quickstart", "--max_steps", "7"])
    assert (arguments.experts, arguments.games, arguments.num_games) == (["minimax"], ["tic_tac_toe_v0"], 300)
    assert (args.max_steps, args.learning_rate, model_args.model_name_or_path) == (7, 3e-3, "embedded")


# -- the loss ----------------------------------------------------------------------------------------------------------


def rows_of(tokenizer):
    pairs = [("kuhn Player 1\n", "\\boxed{[bet]}"), ("tic X\nBoard: 0 1 2\n", "win none. \\boxed{[2]}"), ("O", "[4]")]
    rows: list[Row] = []
    for prompt, reply in pairs:
        first = tokenizer(prompt)["input_ids"]
        second = [*tokenizer(reply)["input_ids"], tokenizer.eos_token_id]
        rows.append({"input_ids": first + second, "completion_mask": [0] * len(first) + [1] * len(second)})
    return rows


def test_loss_and_accuracy_are_those_of_the_replies_alone(tmp_path, tokenizer, warm_folder):
    rows = rows_of(tokenizer)
    task = Task(tokenizer, None, rows, [], rows, num_left_out=0, longest=1024)
    args = ImitationConfig(
        str(tmp_path), use_cpu=True, gradient_checkpointing=False, disable_tqdm=True, per_device_eval_batch_size=3
    )
    figures = make_trainer(str(warm_folder), task, args, ModelConfig()).evaluate()

    model = AutoModelForCausalLM.from_pretrained(warm_folder)
    logprobs, right = [], []
    for row in rows:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            distribution = model(input_ids=ids).logits[0].log_softmax(-1)
        for at in range(row["completion_mask"].index(1), len(row["input_ids"])):
            logprobs.append(distribution[at - 1, ids[0, at]].item())
            right.append(distribution[at - 1].argmax().item() == ids[0, at].item())
    assert len(logprobs) == sum(sum(row["completion_mask"]) for row in rows)
    assert figures["eval_loss"] == pytest.approx(-sum(logprobs) / len(logprobs), rel=1e-5)
    assert figures["eval_mean_token_accuracy"] == pytest.approx(sum(right) / len(right))
    assert 0 < sum(right) < len(right)


# -- a whole run -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory, warm_folder):
    """The folder of a run of four steps."""
    output = tmp_path_factory.mktemp("sft") / "run"
    argv = ["sft", "--model_name_or_path", str(warm_folder), *FAST, "--output_dir", str(output)]
    with pytest.raises(SystemExit) as exit_info:
        main([*argv, "--max_steps", "4", "--save_steps", "4"])
    assert exit_info.value.code == 0
    return output


def test_a_run_writes_its_games_figures_and_model(finished):
    games = JsonLines(finished / "experts.jsonl").read()
    assert sorted(game["number"] for game in games) == list(range(20))
    assert {(game["game"], tuple(game["experts"])) for game in games} == {
        (KUHN, ("random", "random")),
        (TIC_TAC_TOE, ("random", "random")),
    }
    steps = JsonLines(finished / "metrics.jsonl").read()
    assert [step["step"] for step in steps] == [1, 2, 3, 4]
    assert all({"loss", "mean_token_accuracy", "grad_norm", "learning_rate"} <= set(step) for step in steps)
    assert (finished / "checkpoint-4" / "trainer_state.json").exists()


def test_the_figures_on_held_out_games_are_kept(finished):
    figures = json.loads((finished / "held_out.json").read_text())
    assert set(figures["before"]) == {"loss", "token_accuracy", "legal_greedy", "legal_sampled"}
    # The warm model plays legal moves, but reasons before its box; the experts here only answer.
    assert figures["after"]["loss"] < figures["before"]["loss"]
    assert all(0 <= value <= 1 for name, value in figures["after"].items() if name != "loss")
    assert figures["settings"]["experts"] == ["random"]


def test_the_trained_model_plays_as_an_agent(finished):
    agent = make_hf_agent(str(finished / "final"), seed=0)
    (reply,) = agent.act([find_source(TIC_TAC_TOE).start(seed=0).view(0)])
    assert "boxed" in reply


@pytest.mark.slow
def test_self_play_starts_from_the_trained_model(finished, tmp_path):
    argv = [
        *("--model_name_or_path", str(finished / "final"), "--output_dir", str(tmp_path / "run")),
        *("--games", KUHN, "--prompt_style", "plain", "--max_completion_length", "16", "--max_steps", "1"),
        *("--use_cpu", "--gradient_checkpointing", "false", "--per_device_train_batch_size", "12"),
        *("--gradient_accumulation_steps", "2"),
    ]
    with pytest.raises(SystemExit) as exit_info:
        main(argv)
    assert exit_info.value.code == 0
    assert [step["step"] for step in JsonLines(tmp_path / "run" / "metrics.jsonl").read()] == [1]


def test_a_finished_run_is_not_overwritten(finished, capsys, warm_folder):
    before = (finished / "metrics.jsonl").read_bytes()
    argv = ["--model_name_or_path", warm_folder, *FAST, "--output_dir", finished]
    assert_refused(capsys, argv, "holds a run already: go on with --resume, or start another with --output_dir")
    assert_refused(capsys, [*argv, "--resume", "--keep", "wins"], "cannot resume with keep 'wins': the run was started")
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_two_steps_and_two_more_are_four_steps(finished, capsys, tmp_path, warm_folder):
    output = tmp_path / "run"
    argv = ["--model_name_or_path", warm_folder, *FAST, "--output_dir", output, "--save_steps", "2"]
    assert run(capsys, *argv, "--max_steps", "2")[0] == 0
    code, out, err = run(capsys, *argv, "--max_steps", "4", "--resume")
    assert code == 0, err
    assert [step["step"] for step in JsonLines(output / "metrics.jsonl").read()] == [1, 2, 3, 4]
    straight = AutoModelForCausalLM.from_pretrained(finished / "final").state_dict()
    resumed = AutoModelForCausalLM.from_pretrained(output / "final").state_dict()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    kept, again = (json.loads((folder / "held_out.json").read_text()) for folder in (finished, output))
    assert kept["before"] == again["before"]
    assert "legal replies, temperature 1" in words(out)


@pytest.mark.slow
def test_a_random_embedded_model_learns_from_nothing_but_the_experts(capsys, tmp_path):
    argv = ["--model_name_or_path", "embedded", *FAST, "--games", KUHN, "--experts", "cfr", "--num_games", "100"]
    argv += [
        "--max_steps",
        "30",
        "--learning_rate",
        "4e-3",
        "--per_device_train_batch_size",
        "32",
        "--output_dir",
        str(tmp_path / "run"),
    ]
    code, out, err = run(capsys, *argv)
    assert code == 0, err
    figures = json.loads((tmp_path / "run" / "held_out.json").read_text())
    assert (figures["before"]["legal_greedy"], figures["before"]["legal_sampled"]) == (0.0, 0.0)
    assert figures["after"]["legal_greedy"] > 0.9
    assert "100 games with" in words(out)
    assert (tmp_path / "run" / "start" / "tokenizer.json").exists()
    assert not (tmp_path / "run" / "warmup").exists()


@pytest.mark.slow
def test_adapters_are_merged_into_the_final_model(capsys, tmp_path, warm_folder):
    pytest.importorskip("peft")
    output = tmp_path / "run"
    argv = ["--model_name_or_path", warm_folder, *FAST, "--output_dir", output, "--use_peft", "--lora_r", "4"]
    code, _, err = run(capsys, *argv, "--learning_rate", "1e-1")
    assert code == 0, err
    assert (output / "adapter" / "adapter_model.safetensors").exists()
    before = AutoModelForCausalLM.from_pretrained(warm_folder).state_dict()
    after = AutoModelForCausalLM.from_pretrained(output / "final").state_dict()
    assert before.keys() == after.keys()
    assert not torch.equal(
        before["model.layers.0.self_attn.q_proj.weight"], after["model.layers.0.self_attn.q_proj.weight"]
    )
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])


# -- other processes ---------------------------------------------------------------------------------------------------


def stopped(argv, until, *, patience_s=120):
    """Starts the command, sends Ctrl-C as soon as `until()`, and returns its exit code and what it wrote."""
    process = subprocess.Popen(
        [sys.executable, "-m", "spiral_trl.train", "sft", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs with SIGINT ignored, which would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + patience_s
    while not until() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, words(out), err


@pytest.mark.slow
def test_ctrl_c_while_recording_keeps_the_games_and_the_same_command_goes_on(tmp_path, warm_folder):
    output = tmp_path / "run"
    argv = ["--model_name_or_path", warm_folder, *FAST, "--output_dir", output, "--experts", "mcts:50"]
    argv += ["--games", TIC_TAC_TOE, "--num_games", "10000"]
    code, out, err = stopped(argv, lambda: len(JsonLines(output / "experts.jsonl").read()) > 0)
    assert code == 130, err
    assert "there is no checkpoint yet; the same command goes on" in out
    assert "Traceback" not in err
    kept = (output / "experts.jsonl").read_bytes()
    num_kept = len(JsonLines(output / "experts.jsonl").read())
    assert f"stopped; {num_kept} games are recorded" in out
    more = [*argv, "--num_games", str(num_kept + 3)]
    again = subprocess.run(
        [sys.executable, "-m", "spiral_trl.train", "sft", *map(str, more)], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert (output / "experts.jsonl").read_bytes().startswith(kept)
    numbers = [game["number"] for game in JsonLines(output / "experts.jsonl").read()]
    assert sorted(numbers) == list(range(num_kept + 3))


@pytest.mark.slow
def test_ctrl_c_while_training_stops_with_a_sentence(tmp_path, warm_folder):
    output = tmp_path / "run"
    argv = ["--model_name_or_path", warm_folder, *FAST, "--output_dir", output, "--max_steps", "100000"]
    argv += ["--save_steps", "5"]
    code, out, err = stopped(argv, lambda: any(output.glob("checkpoint-*/trainer_state.json")))
    assert code == 130, err
    assert "stopped; the last checkpoint is checkpoint-" in out
    assert "the same command with --resume goes on" in out
    assert "Traceback" not in err


@pytest.mark.slow
def test_two_processes_record_once_and_train_together(tmp_path, warm_folder):
    output = tmp_path / "run"
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", "0"]
    argv = ["-m", "spiral_trl.train", "sft", "--model_name_or_path", warm_folder, *FAST, "--output_dir", output]
    done = subprocess.run([sys.executable, *launch, *map(str, argv)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(game["number"] for game in JsonLines(output / "experts.jsonl").read()) == list(range(20))
    assert [step["step"] for step in JsonLines(output / "metrics.jsonl").read()] == [1, 2]
    assert (output / "final" / "model.safetensors").exists()
    assert json.loads((output / "held_out.json").read_text())["after"]["legal_sampled"] is not None
