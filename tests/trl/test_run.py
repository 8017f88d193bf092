"""The training command: what it refuses in one line, what it writes, and how it goes on after Ctrl-C."""

# Fakes and libraries are typed in part only.
# pyright: reportArgumentType=false

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from scripted import KUHN, TIC_TAC_TOE
from transformers import Qwen3Config, Qwen3ForCausalLM

from spiral_envs.errors import UnknownNameError
from spiral_trl.records import JsonLines
from spiral_trl.run import RunArguments, config_names, parse
from spiral_trl.train import main
from spiral_trl.trainer import STATE_FILE

FAST = [
    "--use_cpu",
    "--gradient_checkpointing",
    "false",
    "--max_completion_length",
    "24",
    "--games",
    KUHN,
    TIC_TAC_TOE,
    "--prompt_style",
    "plain",
    "--per_device_train_batch_size",
    "12",
    "--gradient_accumulation_steps",
    "2",
    "--dataloader_pin_memory",
    "false",
]


def run(capsys, *argv):
    """Returns the exit code of the command, and what it wrote to the two streams."""
    with pytest.raises(SystemExit) as exit_info:
        main([str(word) for word in argv])
    written = capsys.readouterr()
    return exit_info.value.code, written.out, written.err


def assert_refused(capsys, argv, message):
    code, _, err = run(capsys, *argv)
    assert code == 2
    assert err.startswith("spiral-train: ")
    assert err.count("\n") == 1, err
    assert message in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name a config, --config kuhn or quickstart or qwen3_4b or smollm2, or a model with --model_name_or_path"),
        (["--config", "quikstart"], "unknown config 'quikstart': did you mean quickstart?"),
        (["--config=quikstart"], "unknown config 'quikstart': did you mean quickstart?"),
        (["--config", "quickstart", "--learning_rat", "1"], "'--learning_rat': did you mean --learning_rate"),
        (["--config", "quickstart", "--max-step=1"], "unknown option '--max-step': did you mean --max_steps"),
        (
            ["--config", "quickstart", "--games", "kuhn_pokr_v0"],
            "unknown game 'kuhn_pokr_v0': did you mean kuhn_poker_v0?",
        ),
        (
            ["--config", "quickstart", "--games", "kuhn_poker_v0(hand=1)"],
            "unknown option of kuhn_poker_v0 'hand': did you mean hands?",
        ),
        (
            ["--config", "quickstart", "--prompt_style", "boxed"],
            "unknown prompt style 'boxed': did you mean boxed_cot?",
        ),
        (["--config", "quickstart", "--save_total_limit", "1"], "save_total_limit must be at least 2"),
        (["--config", "quickstart", "--games_per_batch", "0"], "games_per_batch is 0: expected at least 1"),
        (["--model_name_or_path", "/no/such/folder", *FAST], "cannot load model '/no/such/folder': "),
        (["--config", "quickstart", "--games_per_batch", "x"], "argument --games_per_batch: invalid int value: 'x'"),
        (["--config", "quickstart", "--config", "smollm2"], "--config is given twice: name one config"),
        (["--config", "quickstart", "--resume_from_checkpoint", "a"], "is not read by this command: use --resume"),
        (["--config", "smollm2", "--logging_strategy", "no"], "logging_strategy is 'no': expected 'steps'"),
        (["--config", "quickstart", "--eval_games", "-1"], "eval_games is -1: expected at least 0"),
        (["--config", "quickstart", "--supervised_steps", "0"], "supervised_steps is 0: expected at least 1"),
        (["--config", "quickstart", "--supervised_steps", "-1"], "supervised_steps is -1: expected at least 1"),
        (["--config", "quickstart", "--opponents", '{"self": 1'], "opponents is '{\"self\": 1': expected JSON such"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_in_one_line_with_exit_code_2(capsys, tmp_path, argv, message):
    assert_refused(capsys, [*argv, "--output_dir", tmp_path / "run"] if argv else argv, message)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("value", ["abc", ""])
def test_a_value_of_the_wrong_type_ends_with_exit_code_2_and_names_the_option(capsys, tmp_path, value):
    code, _, err = run(capsys, "--config", "quickstart", "--max_steps", value, "--output_dir", tmp_path / "run")
    assert code == 2
    assert "max_steps" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_step: 3\n", "unknown key of config own.yaml 'max_step': did you mean max_steps"),
        ("- max_steps\n", "is not a mapping of options to values"),
        ("max_steps: [3\n", "cannot read config"),
        (
            "model_name_or_path: embedded\ngames: [tictactoe]\n",
            "unknown game 'tictactoe': did you mean tic_tac_toe_v0?",
        ),
        ("max_steps: 3\n", "name a model with --model_name_or_path"),
    ],
    ids=["unknown key", "no mapping", "no YAML", "unknown game", "no model"],
)
def test_a_bad_config_file_is_refused_in_one_line(capsys, tmp_path, text, message):
    (tmp_path / "own.yaml").write_text(text)
    argv = ["--config", tmp_path / "own.yaml", "--output_dir", tmp_path / "run", "--use_cpu"]
    # Enough rows for a game of each, where the test is about something else.
    assert_refused(capsys, [*argv, "--per_device_train_batch_size", "64", "--bf16", "false"], message)


def test_a_hub_id_without_a_network_is_refused_in_one_line(capsys, tmp_path):
    argv = ["--model_name_or_path", "nobody/nothing", "--output_dir", tmp_path / "run", *FAST]
    assert_refused(capsys, argv, "nobody/nothing")


def test_a_model_without_a_chat_template_is_refused_with_the_plain_style(capsys, tmp_path, warm_folder):
    argv = ["--model_name_or_path", warm_folder, "--output_dir", tmp_path / "run", *FAST, "--prompt_style", "boxed_cot"]
    assert_refused(capsys, argv, "has no chat template: use a chat model, or --prompt_style plain")


def test_a_config_without_a_name_is_refused(capsys):
    assert_refused(capsys, ["--config"], "--config names no config: expected a file or ")


def test_generation_on_vllm_without_vllm_is_refused_before_anything_is_loaded(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    # There is no such model, which would be said first.
    argv = ["--model_name_or_path", "/no/such/folder", "--output_dir", tmp_path / "run", *FAST, "--use_vllm"]
    assert_refused(capsys, argv, "generation on vLLM needs packages that are not installed")


def test_an_output_folder_that_cannot_be_made_is_refused(capsys, tmp_path, warm_folder):
    (tmp_path / "file").touch()
    argv = ["--model_name_or_path", warm_folder, "--output_dir", tmp_path / "file" / "run", *FAST]
    assert_refused(capsys, argv, f"cannot write to output_dir {tmp_path / 'file' / 'run'}: ")


def test_a_context_without_room_keeps_its_own_message(capsys, tmp_path, warm_folder):
    argv = ["--model_name_or_path", warm_folder, "--output_dir", tmp_path / "run", *FAST]
    code, _, err = run(capsys, *argv, "--max_completion_length", "100000")
    assert code == 2
    assert err.startswith("spiral-train: max_completion_length 100000 leaves no room for a prompt in a context of ")


def test_torn_weights_are_refused_in_one_line(capsys, tmp_path, warm_folder):
    shutil.copytree(warm_folder, tmp_path / "torn")
    weights = tmp_path / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    argv = ["--model_name_or_path", tmp_path / "torn", "--output_dir", tmp_path / "run", *FAST]
    assert_refused(capsys, argv, f"cannot load model '{tmp_path / 'torn'}': ")


def test_a_run_of_other_games_is_not_gone_on_with(capsys, tmp_path, warm_folder):
    output = tmp_path / "run"
    argv = ["--model_name_or_path", warm_folder, "--output_dir", output, *FAST, "--save_steps", "1"]
    assert run(capsys, *argv, "--max_steps", "1")[0] == 0
    other = [*argv, "--max_steps", "2", "--resume", "--games", TIC_TAC_TOE]
    code, _, err = run(capsys, *other)
    assert code == 2, err
    assert "Traceback" not in err
    assert "games" in err.splitlines()[-1]
    # What was there is as it was.
    assert [step["step"] for step in JsonLines(output / "metrics.jsonl").read()] == [1]


def test_ctrl_c_while_settings_are_read_ends_without_a_traceback(capsys, monkeypatch):
    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("spiral_trl.run.run", interrupted)
    code, _, err = run(capsys, "--config", "quickstart")
    assert code == 130
    assert err == "spiral-train: stopped\n"


def test_a_folder_that_holds_a_run_is_refused_with_what_to_do(capsys, tmp_path, warm_folder):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1}\n')
    argv = ["--model_name_or_path", warm_folder, "--output_dir", tmp_path / "run", *FAST]
    assert_refused(capsys, argv, "holds a run already: go on with --resume, or start another with --output_dir")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_help_lists_the_options_of_self_play(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "quickstart, qwen3_4b, smollm2" in out
    assert "spiral-train sft" in out
    assert "--adam_beta2" not in out, "options of TRL and transformers are behind --help all"
    assert len(out.splitlines()) < 120
    for option in (
        "--games",
        "--resume",
        "--baseline_decay",
        "--eval_games",
        "--model_name_or_path",
        "--learning_rate",
    ):
        assert option in out


def test_help_all_lists_the_options_of_trl_as_well(capsys):
    code, out, _ = run(capsys, "--help", "all")
    assert code == 0
    for option in ("--games", "--adam_beta2", "--loss_type"):
        assert option in out


def test_help_of_the_supervised_command_lists_its_own_options(capsys):
    code, out, _ = run(capsys, "sft", "--help")
    assert code == 0
    assert "--experts" in out
    assert "spiral-train sft --help all" in out


# -- the packaged configs ----------------------------------------------------------------------------------------------


def test_the_packaged_configs_are_the_four_documented_ones():
    assert config_names() == ("kuhn", "quickstart", "qwen3_4b", "smollm2")


@pytest.mark.parametrize("name", ["kuhn", "quickstart", "qwen3_4b", "smollm2"])
def test_a_packaged_config_parses_and_every_value_arrives(name, tmp_path):
    # Without a GPU, bf16 and vLLM settings are taken as they are; nothing is loaded.
    extra = ["--bf16", "false"] if name == "qwen3_4b" else []
    arguments, args, model_args = parse(["--config", name, "--output_dir", str(tmp_path), "--use_cpu", *extra])
    text = Path(sys.modules["spiral_trl.run"].__file__).with_name("configs").joinpath(f"{name}.yaml").read_text()
    config = yaml.safe_load(text)
    for key, value in config.items():
        if key in ("output_dir", "bf16", "use_cpu"):
            continue
        holder = next(each for each in (arguments, args, model_args) if hasattr(each, key))
        assert getattr(holder, key) == value, key
    assert arguments.resume is False


def test_the_command_line_wins_over_the_config():
    _, args, _ = parse(["--config", "quickstart", "--max_steps", "7", "--games", "tic_tac_toe_v0"])
    assert args.max_steps == 7
    assert args.games == ["tic_tac_toe_v0"]


def test_the_paper_config_has_the_hyperparameters_of_the_paper():
    _, args, _ = parse(["--config", "qwen3_4b", "--use_cpu", "--bf16", "false"])
    assert (args.learning_rate, args.adam_beta1, args.adam_beta2) == (1e-6, 0.9, 0.95)
    assert (args.max_completion_length, args.temperature, args.top_p) == (4096, 1.0, 1.0)
    assert (args.baseline_decay, args.max_grad_norm, args.beta, args.epsilon) == (0.95, 1.0, 0.0, 0.2)
    # 400 iterations of two optimizer steps each.
    assert args.max_steps == 400 * args.num_iterations
    assert args.num_iterations == 2
    assert (args.loss_type, args.use_vllm, args.vllm_mode) == ("dr_grpo", True, "colocate")


def test_an_unknown_name_is_a_value_error_for_callers_of_parse():
    with pytest.raises(UnknownNameError, match="did you mean --nash_conv_steps"):
        parse(["--config", "quickstart", "--nash_conv_step", "3"])


def test_the_paper_config_trains_a_step_on_a_tiny_model_of_its_architecture(capsys, tmp_path, tokenizer):
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    Qwen3ForCausalLM(config).save_pretrained(tmp_path / "qwen3")
    chat = type(tokenizer).from_pretrained(save(tokenizer, tmp_path / "qwen3"))
    chat.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    chat.save_pretrained(tmp_path / "qwen3")
    code, out, err = run(
        capsys,
        *("--config", "qwen3_4b", "--model_name_or_path", tmp_path / "qwen3", "--output_dir", tmp_path / "run"),
        *("--use_cpu", "--bf16", "false", "--use_vllm", "false", "--vllm_enable_sleep_mode", "false"),
        *("--max_completion_length", "8", "--gradient_checkpointing", "false", "--dataloader_pin_memory", "false"),
        *("--max_steps", "2", "--save_steps", "2"),
    )
    assert code == 0, err
    steps = JsonLines(tmp_path / "run" / "metrics.jsonl").read()
    assert [step["step"] for step in steps] == [1, 2]
    games = JsonLines(tmp_path / "run" / "games.jsonl").read()
    # Two optimizer steps on one batch of games.
    assert {game["step"] for game in games} == {1}
    assert (tmp_path / "run" / "checkpoint-2" / STATE_FILE).exists()
    assert "report:" in out


def save(tokenizer, folder):
    tokenizer.save_pretrained(folder)
    return folder


# -- a whole run -------------------------------------------------------------------------------------------------------


def quickstart(output, *extra):
    return [
        *("--config", "quickstart", "--output_dir", str(output), "--max_steps", "2", "--save_steps", "1"),
        *("--supervised_steps", "2", "--eval_games", "2", "--nash_conv_steps", "1", "--max_completion_length", "16"),
        *("--per_device_train_batch_size", "24", "--gradient_accumulation_steps", "2", *extra),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a two-step quickstart."""
    output = tmp_path_factory.mktemp("quickstart") / "run"
    with pytest.raises(SystemExit) as exit_info:
        main(quickstart(output))
    assert exit_info.value.code == 0
    return output


def test_a_quickstart_writes_everything_it_promises(finished):
    for name in ("metrics.jsonl", "games.jsonl", "curves.png", "report.html", "before.json", "after.json"):
        assert (finished / name).stat().st_size > 0, name
    for step in (1, 2):
        assert (finished / f"checkpoint-{step}" / STATE_FILE).exists()
        assert (finished / f"checkpoint-{step}" / "model.safetensors").exists()
    for folder in ("final", "warmup"):
        assert (finished / folder / "model.safetensors").exists()
        assert (finished / folder / "tokenizer.json").exists()
    assert not list(finished.glob("*.tmp"))
    assert not list(finished.glob("*abandoned*"))
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_quickstart_logs_every_step_once_with_its_figures(finished):
    steps = JsonLines(finished / "metrics.jsonl").read()
    assert [step["step"] for step in steps] == [1, 2]
    for step in steps:
        assert {
            "loss",
            "entropy",
            "kl",
            "games",
            "turns",
            "nash_conv/kuhn_poker_v0(hands=1,payoff=chips)",
            "tic_tac_toe_v0/faults",
        } <= set(step)
        assert 0 <= step["nash_conv/kuhn_poker_v0(hands=1,payoff=chips)"] <= 4
    games = JsonLines(finished / "games.jsonl").read()
    assert [game["number"] for game in games] == list(range(len(games)))
    assert sum(step["games"] for step in steps) == len(games)


def test_the_report_says_what_the_warm_up_was_and_shows_before_and_after(finished):
    page = (finished / "report.html").read_text()
    assert "Before self-play it was warmed up" in page
    assert "Before and after self-play" in page
    assert "NashConv" in page
    assert "v random" in page
    assert "v minimax" in page


def test_the_report_says_what_the_run_was(finished):
    about = json.loads((finished / "about.json").read_text())[1]
    assert "Self-play: 2 steps, seed 42, learning rate 0.0008, KL weight 0.3." in about
    assert "Games: 2 x tic_tac_toe_v0, 5 x kuhn_poker_v0(hands=1,payoff=chips), 2 x simple_negotiation_v0" in about
    assert "Opponents: itself only." in about
    assert (
        "It learns from the score of a game, taken against the average of the role, with decay 0.95; gamma 1." in about
    )


def test_the_settings_that_are_not_the_defaults_are_kept(finished):
    settings = json.loads((finished / "settings.json").read_text())
    assert settings["max_steps"] == 2
    assert settings["games"].count("tic_tac_toe_v0") == 2
    assert settings["model_name_or_path"] == "embedded"
    assert settings["supervised_steps"] == 2
    # Defaults, and what transformers makes of them.
    for name in ("baseline_decay", "report_to", "opponents", "accelerator_config", "hub_token"):
        assert name not in settings


def test_a_finished_run_is_not_overwritten(finished, capsys):
    before = (finished / "games.jsonl").read_bytes()
    assert_refused(capsys, quickstart(finished), "holds a run already: go on with --resume")
    assert (finished / "games.jsonl").read_bytes() == before


def test_resume_of_a_folder_without_a_checkpoint_starts_from_the_beginning(capsys, tmp_path, warm_folder):
    output = tmp_path / "run"
    JsonLines(output / "games.jsonl").append([{"step": 1, "number": 0, "game": "old"}])
    JsonLines(output / "metrics.jsonl").append([{"step": 1}])
    argv = ["--model_name_or_path", warm_folder, "--output_dir", output, *FAST, "--max_steps", "1", "--resume"]
    code, _, err = run(capsys, *argv)
    assert code == 0, err
    assert [step["step"] for step in JsonLines(output / "metrics.jsonl").read()] == [1]
    assert [game["number"] for game in JsonLines(output / "games.jsonl").read()] == [0, 1, 2, 3]
    # What was there is kept beside it.
    assert JsonLines(output / "games.abandoned.jsonl").read()[0]["game"] == "old"


def test_resume_goes_on_where_a_shorter_run_ended(capsys, tmp_path, warm_folder):
    output = tmp_path / "run"
    argv = ["--model_name_or_path", warm_folder, "--output_dir", output, *FAST, "--save_steps", "1"]
    assert run(capsys, *argv, "--max_steps", "1")[0] == 0
    assert run(capsys, *argv, "--max_steps", "3", "--resume")[0] == 0
    assert [step["step"] for step in JsonLines(output / "metrics.jsonl").read()] == [1, 2, 3]
    assert [game["number"] for game in JsonLines(output / "games.jsonl").read()] == list(range(12))
    state = json.loads((output / "checkpoint-3" / STATE_FILE).read_text())
    assert state["games_started"] == 12


@pytest.mark.slow
def test_ctrl_c_stops_with_a_sentence_and_resume_goes_on(tmp_path, warm_folder):
    output = tmp_path / "run"
    argv = [sys.executable, "-m", "spiral_trl.train", "--model_name_or_path", str(warm_folder)]
    argv += ["--output_dir", str(output), *FAST, "--save_steps", "2"]
    process = subprocess.Popen(
        [*argv, "--max_steps", "5000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs with SIGINT ignored, which would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 120
    while (
        not list(output.glob(f"checkpoint-*/{STATE_FILE}")) and time.monotonic() < deadline and process.poll() is None
    ):
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped; the last checkpoint is checkpoint-" in " ".join(out.split())
    assert "--resume goes on" in " ".join(out.split())
    assert "Traceback" not in err

    games = JsonLines(output / "games.jsonl").read()
    last = max(game["step"] for game in games)
    more = [*argv, "--max_steps", str(last + 2), "--resume"]
    resumed = subprocess.run(more, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    numbers = [game["number"] for game in JsonLines(output / "games.jsonl").read()]
    assert numbers == list(range(4 * (last + 2)))
    assert [step["step"] for step in JsonLines(output / "metrics.jsonl").read()] == list(range(1, last + 3))


def test_defaults_evaluate_nothing():
    assert RunArguments().eval_games == 0
