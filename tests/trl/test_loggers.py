"""The loggers that `report_to` names: our figures arrive in their files under their own names, without a network."""

# The loggers are typed in part only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
from scripted import KUHN, TIC_TAC_TOE

pytestmark = pytest.mark.slow

LOGGERS = ("tensorboard", "trackio", "wandb")

ODD = f"eval/{KUHN} vs openai:org/model-1.5@http://127.0.0.1:8000/v1/win_rate"
"""As odd a name as a run can have."""

# A run of two steps in a process of its own, since the loggers take their folders from the environment on import and
# leave threads behind. Whoever connects anywhere but to this machine is noted.
RUN = """
import json, sys
outside = []
def watch(event, details):
    if event == "socket.getaddrinfo" and details[0] not in (None, "localhost", "127.0.0.1", "0.0.0.0", "::1"):
        outside.append(str(details[0]))
    if event == "socket.connect" and isinstance(details[1], tuple) and details[1][0] not in ("127.0.0.1", "::1"):
        outside.append(str(details[1]))
sys.addaudithook(watch)
from scripted import SETTINGS, ScriptedSampler, legal_reply, make_tiny_model, make_tokenizer
from spiral_trl import SelfPlayConfig, SelfPlayTrainer

output, odd, loggers = sys.argv[1], sys.argv[2], sys.argv[3:]

class Trainer(SelfPlayTrainer):
    def log(self, logs, start_time=None):
        super().log({**logs, odd: 0.25}, start_time)

tokenizer = make_tokenizer()
args = SelfPlayConfig(output_dir=output, **{**SETTINGS, "max_steps": 2, "report_to": loggers, "run_name": "test"})
trainer = Trainer(
    make_tiny_model(tokenizer), args, processing_class=tokenizer, sampler=ScriptedSampler(tokenizer, legal_reply)
)
trainer.train()
print(json.dumps({"history": trainer.state.log_history, "outside": outside}))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run, its history as the trainer logged it, and the addresses that were asked for."""
    folder = tmp_path_factory.mktemp("loggers")
    loggers = [name for name in LOGGERS if find_spec(name)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard"),
        "TRACKIO_DIR": str(folder / "trackio"),
        "WANDB_DIR": str(folder),
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder / "run"), ODD, *loggers],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"history"'))
    return folder, told


def logged_steps(run):
    """The figures of the two steps, as the loggers should have them."""
    steps = [figures for figures in run[1]["history"] if "loss" in figures]
    assert [figures["step"] for figures in steps] == [1, 2]
    for figures in steps:
        assert figures[ODD] == 0.25
        assert -2.0 <= figures[f"{KUHN}/Player 0/return"] <= 2.0
        assert -1.0 <= figures[f"{TIC_TAC_TOE}/X/return"] <= 1.0
    return steps


def expected(figures):
    """The names that transformers gives to its loggers: all of ours, after `train/`."""
    return {f"train/{name}": value for name, value in figures.items() if name != "step" and value is not None}


def test_a_run_with_loggers_asks_for_no_address_outside(run):
    assert run[1]["outside"] == []


def test_tensorboard_gets_every_figure(run):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run[0] / "tensorboard"))
    events.Reload()
    for figures in logged_steps(run):
        for name, value in expected(figures).items():
            found = [event.value for event in events.Scalars(name) if event.step == figures["step"]]
            # Stored with single precision; the line that ends a run is of the last step too.
            assert pytest.approx(value, rel=1e-6, abs=1e-30) in found, name


def test_trackio_gets_every_figure(run):
    pytest.importorskip("trackio")
    (file,) = (run[0] / "trackio").glob("*.db")
    with closing(sqlite3.connect(file)) as connection:
        rows = [json.loads(row) for (row,) in connection.execute("SELECT metrics FROM metrics")]
    for figures in logged_steps(run):
        (row,) = [each for each in rows if each.get("train/global_step") == figures["step"] and "train/loss" in each]
        for name, value in expected(figures).items():
            assert row[name] == value, name


def wandb_records(data):
    """The records of a wandb file: after 7 bytes, LevelDB's log format with its blocks of 32 KiB."""
    at, record = 7, b""
    while len(data) - at >= 7:
        if 0x8000 - at % 0x8000 < 7:
            at += 0x8000 - at % 0x8000
            continue
        # A checksum of 4 bytes, the length, and the kind: whole, first, middle or last.
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def test_wandb_gets_every_figure(run):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    (file,) = (run[0] / "wandb").glob("offline-run-*/*.wandb")
    rows = []
    for record in wandb_records(file.read_bytes()):
        items = wandb_internal_pb2.Record.FromString(record).history.item
        rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    for figures in logged_steps(run):
        (row,) = [each for each in rows if each.get("train/global_step") == figures["step"] and "train/loss" in each]
        for name, value in expected(figures).items():
            assert row[name] == value, name
