"""The terminal view: live where it can be, plain lines where it cannot, whole in any width."""

# Fakes and libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import io
import json
import random
import re
from types import SimpleNamespace

import pytest
from rich.console import Console
from synthetic_run import KUHN, TIC, metrics_record
from transformers import TrainerControl, TrainerState

from spiral_trl.progress import UPDATES_A_SECOND, ProgressCallback, make_progress
from spiral_trl.run_files import Alarm
from spiral_trl.run_view import GameLine, RunView, Snapshot, plain_line

GAME = GameLine("tic_tac_toe", "X", 0.25, 0.5, 123.4, 0.6)


class Run:
    """A training loop without training, whose clock stands still between steps."""

    def __init__(self, console, folder, *, num_steps=100, is_main=True):
        self.now = 1000.0
        self.callback = ProgressCallback(console, clock=lambda: self.now)
        self.args = SimpleNamespace(output_dir=str(folder))
        self.state = TrainerState()
        self.state.max_steps = num_steps
        self.state.is_world_process_zero = is_main
        self.control = TrainerControl()
        self.alarms = folder / "alarms.jsonl"

    def begin(self, step=0):
        self.state.global_step = step
        self.callback.on_train_begin(self.args, self.state, self.control)

    def log(self, logs, *, seconds=10.0):
        self.now += seconds
        self.callback.on_log(self.args, self.state, self.control, logs=logs)

    def step(self, *, seconds=10.0, **figures):
        self.state.global_step += 1
        self.log({"loss": 0.1, **figures}, seconds=seconds)

    def alarm(self, name, *, torn=""):
        record = {"step": self.state.global_step, "name": name, "message": "seen"}
        with self.alarms.open("a") as file:
            file.write(torn or json.dumps(record) + "\n")


def plain_console(width=100):
    return Console(width=width, file=io.StringIO())


def terminal(width=100, height=40):
    return Console(width=width, height=height, file=io.StringIO(), force_terminal=True, record=True)


def drawn(view, width=100, height=40):
    console = terminal(width, height)
    console.print(view)
    lines = console.export_text().splitlines()
    assert all(len(line) <= width for line in lines)
    return lines


def figures(step=60):
    record = metrics_record(step, 100, random.Random(0))
    return {name: value for name, value in record.items() if name not in ("step", "loss")}


def test_without_a_terminal_every_logged_step_is_one_plain_line(tmp_path):
    console = plain_console(width=40)
    run = Run(console, tmp_path)
    run.begin()
    game = {f"{TIC}/turns": 5, f"{TIC}/X/return": 0.25, f"{TIC}/O/return": -0.25, f"{TIC}/faults": 0.5}
    run.step(**game, **{f"{TIC}/reply_tokens": 123.4, "play_tokens_per_s": 2500.0})
    run.step()
    run.log({"train_runtime": 20.0})
    run.callback.on_train_end(run.args, run.state, run.control)
    assert console.file.getvalue() == (
        "step 1/100 | tic_tac_toe: X +0.250 0.50 faults/game 123 tokens | 2,500 tokens/s"
        " | elapsed 0:00:10 | left 0:16:30\n"
        "step 2/100 | elapsed 0:00:20 | left 0:16:20\n"
    )


def test_plain_output_has_alarms_and_measurements_once_and_no_control_codes(tmp_path):
    console = plain_console()
    run = Run(console, tmp_path)
    run.begin()
    run.alarm("[bold]draws\x1b[2J")
    run.step(**{f"nash_conv/{KUHN}": 0.5, f"nash_conv/{KUHN}/other": 0.01})
    # The trainer logs an evaluation by itself, after the step, with the prefix of transformers.
    shares = {"win_rate": 0.31, "low": 0.27, "high": 0.36}
    run.log({f"eval_{TIC} vs random/{name}": share for name, share in shares.items()})
    text = console.file.getvalue()
    assert text.count("alarm at step 0: [bold]draws‹U+001B›[2J: seen\n") == 1
    assert text.count("NashConv 0.500 at step 1: kuhn_poker\n") == 1
    assert text.count("wins 31% [27%, 36%] at step 1: tic_tac_toe vs random\n") == 1
    assert len(text.splitlines()) == 4, text
    assert "\x1b" not in text
    assert "\r" not in text


def test_alarms_from_before_a_resume_and_torn_ones_are_not_shown(tmp_path):
    console = plain_console()
    run = Run(console, tmp_path)
    run.alarm("old")
    run.begin(step=5)
    run.alarm("", torn='{"step": 5, "na')
    run.step()
    assert "alarm" not in console.file.getvalue()
    run.alarm("", torn='me": "mended", "message": "m"}\n')
    run.step()
    assert console.file.getvalue().endswith("alarm at step 5: mended: m\n")


def test_the_time_left_comes_from_the_last_steps(tmp_path):
    console = plain_console()
    run = Run(console, tmp_path, num_steps=200)
    # A run that goes on at step 100 has done nothing yet in this process.
    run.begin(step=100)
    run.step(seconds=500)
    assert "elapsed 0:08:20 | left 13:45:00\n" in console.file.getvalue()
    for _ in range(25):
        run.step(seconds=2)
    # 74 steps of 2 s, without the slow start.
    assert console.file.getvalue().endswith("left 0:02:28\n")


def test_other_processes_show_nothing(tmp_path):
    console = plain_console()
    run = Run(console, tmp_path, is_main=False)
    run.begin()
    run.step()
    run.callback.stop()
    assert console.file.getvalue() == ""


def test_a_terminal_gets_a_live_view_that_ends_when_it_is_stopped(tmp_path):
    console = terminal()
    run = Run(console, tmp_path)
    run.begin()
    run.step(**figures())
    run.callback.stop()
    run.callback.stop()
    text = console.export_text()
    assert "1/100" in text
    assert re.search(r"kuhn_poker +Player 0 +\+0\.\d{3}", text)
    assert console.file.getvalue().count("\x1b[?25h") == 1, "the cursor is back"


def test_the_live_view_is_drawn_no_more_than_a_few_times_a_second(tmp_path):
    console = terminal()
    run = Run(console, tmp_path)
    run.begin()
    for _ in range(300):
        run.step(seconds=0.001, **{f"{TIC}/turns": 5})
    run.callback.stop()
    # Drawn at the start, at the end, and by the clock in between.
    assert console.file.getvalue().count("/100") <= 2 + 3 * UPDATES_A_SECOND
    assert UPDATES_A_SECOND <= 4


def test_the_view_shows_games_league_measurements_and_alarms():
    snapshot = Snapshot(
        step=30,
        num_steps=100,
        elapsed_s=3725,
        left_s=60,
        games=(GAME,),
        league=(("step 20", "12", "63%", "100%"),),
        strength=("NashConv 0.500 at step 30: kuhn",),
        tokens_per_s=2500,
        step_time_s=31,
        alarms=(Alarm(30, "draw_flood", "many"),),
    )
    lines = drawn(RunView(snapshot))
    assert re.fullmatch(r"self-play \S+ +30/100 left 0:01:00 elapsed 1:02:05 2,500 tokens/s 31.0 s/step *", lines[0])
    assert lines[1].split() == ["game", "role", "return", "faults/game", "tokens/reply", "turns"]
    assert lines[2].split() == ["tic_tac_toe", "X", "+0.250", "0.50", "123", "60%"]
    assert lines[4].split() == ["step", "20", "12", "63%", "100%"]
    assert lines[5].strip() == "NashConv 0.500 at step 30: kuhn"
    assert lines[6].strip() == "alarm at step 30: draw_flood: many"


@pytest.mark.parametrize("width", [28, 40, 63, 64, 200])
def test_the_view_fits_into_any_width(width):
    hostile = GameLine("x" * 300 + "[red]\x1b[2J", "y" * 90, -0.5, 12.0, 4096.0, 1.0)
    snapshot = Snapshot(123_456, 1_000_000, 1e6, 1e6, (hostile, GAME), strength=("z" * 500,), tokens_per_s=1e6)
    lines = drawn(RunView(snapshot), width=width)
    assert not any("\x1b" in line for line in lines)
    assert any("-0.500" in line for line in lines), "the figures stay, the names are cut"
    assert len(lines) <= 6


def test_many_games_fit_into_the_height():
    games = tuple(GameLine(f"game_{number}", "X", 0.0, 0.0, 9.0, 0.02) for number in range(50))
    lines = drawn(RunView(Snapshot(1, 2, 3.0, None, games)), height=20)
    assert len(lines) <= 20
    assert lines[-1].strip() == "and 40 more"


def test_measurements_stay_until_they_are_made_anew(tmp_path):
    run = Run(plain_console(), tmp_path)
    run.begin()
    run.step(**{"nash_conv/a": 0.5, "league/0/weight": 1.0})
    run.step(**{"nash_conv/b": 0.25})
    view = run.callback._view()
    assert view.snapshot.strength == ("NashConv 0.500 at step 1: a", "NashConv 0.250 at step 2: b")
    assert view.snapshot.league == (("step 0", "", "", "100%"),)
    run.log({"nash_conv/a": 0.125})
    run.step()
    assert run.callback._view().snapshot.strength[0] == "NashConv 0.125 at step 2: a"


def test_the_times_go_on_between_two_steps(tmp_path):
    run = Run(plain_console(), tmp_path, num_steps=3)
    run.begin()
    run.step(seconds=10)
    run.now += 15
    snapshot = run.callback._view().snapshot
    assert (snapshot.elapsed_s, snapshot.left_s) == (25.0, 5.0)
    run.now += 15
    assert run.callback._view().snapshot.left_s == 0.0


def test_a_line_of_a_snapshot_leaves_out_what_is_not_known():
    assert plain_line(Snapshot(0, 10, 0.0, None)) == "step 0/10 | elapsed 0:00:00"
    bare = GameLine("g", "", None, None, 5.0, None)
    assert plain_line(Snapshot(1, 10, 1.0, None, (bare,))) == "step 1/10 | g: 5 tokens | elapsed 0:00:01"


@pytest.mark.parametrize("width", [40, 120])
def test_figures_of_a_bar_are_no_markup(width):
    console = terminal(width)
    with make_progress(console) as progress:
        progress.add_task("[x/]", total=2, figures="kuhn[/red]")
    assert "[x/]" in console.export_text()
