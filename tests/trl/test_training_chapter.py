"""Every command of docs/training.md that needs no GPU and no download runs, shortened, in the order of the page."""

import shlex

import pytest
from documents import ROOT, commands_of

from spiral_trl.report_command import main as report
from spiral_trl.run import run
from spiral_trl.sft_run import run_sft

COMMANDS = commands_of((ROOT / "docs" / "training.md").read_text(encoding="utf-8"))

TRAININGS = [line for line in COMMANDS if line.startswith("spiral-train --config kuhn")]

IMITATIONS = [line for line in COMMANDS if line.startswith("spiral-train sft")]

SHORT = {
    "--max_steps": "2",
    "--games_per_batch": "8",
    "--per_device_train_batch_size": "32",
    "--eval_steps": "1",
    "--eval_pairs": "2",
    "--league_snapshot_steps": "1",
    "--nash_conv_steps": "2",
    "--save_steps": "1",
    "--max_completion_length": "24",
}
"""What makes a command short; only the options that it names itself, and those of a batch."""

ALWAYS = (
    "--max_steps",
    "--games_per_batch",
    "--per_device_train_batch_size",
    "--max_completion_length",
    "--save_steps",
)


def shortened(line, model):
    """The words of a command that trains for two steps from a model that exists."""
    words = shlex.split(line)[1:]
    options = {name: value for name, value in SHORT.items() if name in ALWAYS or name in words}
    if "--resume" in words and "--max_steps" in words:
        options["--max_steps"] = "4"
    return [*words, "--model_name_or_path", str(model), *(part for pair in options.items() for part in pair)]


@pytest.mark.slow
@pytest.mark.timeout(600)
# TensorBoard's own, on its first import.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_commands_of_the_chapter_run(tmp_path, warm_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in TRAININGS:
        assert run(shortened(line, warm_folder)) == 0, line
    assert len(TRAININGS) > 15
    for line in IMITATIONS:
        words = shlex.split(line)[2:]
        assert run_sft([*words, "--num_games", "12", "--max_steps", "2", "--max_completion_length", "8"]) == 0, line
    reports = [line for line in COMMANDS if line.startswith("spiral-report")]
    for line in reports:
        words = shlex.split(line)[1:]
        report([word for word in words if word not in ("--steps", "10-")])
    assert len(reports) == 2
    assert len(IMITATIONS) == 2
    expected = {"kuhn", "league", "prioritised", "fixed", "mix", "mix_turns", "global", "none", "group", "shaped"}
    expected |= {"entropy", "moving", "conversation", "saved", "watched", "nash", "logged", "lora", "sft", "sft_wins"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == expected
    for name in expected:
        assert (tmp_path / "runs" / name / "final").is_dir(), name
    assert (tmp_path / "watched.html").stat().st_size > 10_000
    assert list((tmp_path / "runs" / "league" / "league").glob("step-*"))
