"""The command `spiral-arena`: its output, its exit codes, and what it refuses before anything is played."""

import io
import json
import re
import sys

import pytest
from rich.console import Console
from stub_openai_server import completion, error, quick_and_alone, serving

from spiral_envs.arena import command
from spiral_envs.arena.run_view import STOPPING, RunView
from spiral_envs.arena.tournament import AbandonedError, Progress

KUHN = "kuhn_poker_v0(hands=1,payoff=chips)"

TIC = "tic_tac_toe_v0"


@pytest.fixture(autouse=True)
def alone_with_the_server(monkeypatch):
    """No long pauses, and neither a key nor a proxy of whoever runs the tests."""
    quick_and_alone(monkeypatch)


def run(capsys, *arguments):
    """Returns the exit code, the output and the errors of the command."""
    with pytest.raises(SystemExit) as ended:
        command.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_a_tournament_ends_with_scores_and_what_to_do_next(capsys, tmp_path):
    folder = tmp_path / "my arena"
    options = ("--games", TIC, KUHN, "--pairs", 2, "--out", folder)
    code, out, said = run(capsys, "run", "--agents", "minimax", "first", "random", *options)
    assert code == 0
    assert said.startswith("spiral-arena: note: minimax is left out: the minimax agent cannot play kuhn_poker_v0(")
    lines = out.splitlines()
    # 3 matchups of tic-tac-toe and 1 of poker, in 2 pairs.
    assert re.fullmatch(r"games 16/16 \| [\d,.]+ games/s \| left 0:00:00", lines[0])
    assert lines[2].split() == ["agent", "score", "games", "wins", "draws", "losses", "forfeits"]
    assert {line.split()[0] for line in lines[3:6]} == {"minimax", "first", "random"}
    best = lines[3].split()
    assert (best[0], best[2], best[5]) == ("minimax", "8", "0"), "it never loses tic-tac-toe"
    assert lines[6] == f"Next: spiral-arena report '{folder}'"
    settings = json.loads((folder / "tournament.json").read_text())
    assert settings == {
        "seed": 0,
        "invalid_move": "forfeit",
        "games": [TIC, KUHN],
        "agents": ["minimax", "first", "random"],
        "pairs": 2,
        "code": settings["code"],
    }
    # Once more: there is nothing left to be played.
    code, out, _ = run(capsys, "run", "--agents", "first", "random", *options)
    assert code == 0
    assert out.startswith("games 8/8\n")


def test_quiet_says_nothing_when_all_is_done(capsys, tmp_path):
    options = ("--games", TIC, "--pairs", 1, "--out", tmp_path, "--quiet")
    assert run(capsys, "run", "--agents", "first", "random", *options) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--agents", "random", "rnd", "--games", TIC), "unknown agent 'rnd': did you mean random?"),
        (("--agents", "random", "random", "--games", TIC), "agent 'random' is given twice: each agent takes part once"),
        (("--agents", "random", "human", "--games", TIC), "agent 'human' cannot take part in a tournament"),
        (("--agents", "random", "first", "--games", "ttt"), "unknown game 'ttt'"),
        (("--agents", "random", "first", "--games", "kuhn_poker_v0(players=3)"), "expected a game of 2, got 3 seats"),
        (("--agents", "random", "--games", TIC), "nothing to play"),
        (("--agents", "hf:no/run?step=all", "--games", TIC), "cannot expand 'hf:no/run?step=all'"),
        (("--agents", "random", "first", "--games", TIC, "--pairs", "0"), "expected an integer from 1, got '0'"),
        (("--agents", "random", "first", "--games", TIC, "--pairs", "²"), "expected an integer from 1, got '²'"),
        (("--agents", "random", "first", "--games", TIC, "--seed", "-1"), "argument --seed: expected"),
        (("--agents", "random", "first", "--games", TIC, "--models-in-memory", "1"), "an integer from 2"),
        (("--agents", "random", "first", "--games", TIC, "--max-hours", "nan"), "expected a number above 0, got 'nan'"),
        (("--agents", "random", "first", "--games", TIC, "--price", "random"), "expected AGENT=IN,OUT"),
        (("--agents", "random", "first", "--games", TIC, "--price", "random=1"), "cannot read the price '1'"),
        (("--agents", "random", "first", "--games", TIC, "--price", "minimax=1,1"), "which does not take part"),
        (
            ("--agents", "random", "openai:m@http://h/v1", "--games", TIC, "--max-cost", "1"),
            "--max-cost needs the price of every endpoint: --price openai:m@http://h/v1=IN,OUT",
        ),
        (("--agents", "random", "openai:gpt", "--games", TIC), "agent 'openai:gpt' needs a key in OPENAI_API_KEY"),
        (("--agents", "random", "first"), "the following arguments are required: --games"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_played(capsys, tmp_path, arguments, said):
    folder = tmp_path / "arena"
    code, out, errors = run(capsys, "run", "--out", folder, *arguments)
    assert (code, out) == (2, "")
    assert errors.startswith("spiral-arena: ")
    assert said in errors
    assert errors.count("\n") == 1
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_named(capsys, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "arena"
    code, _, said = run(capsys, "run", "--agents", "random", "first", "--games", TIC, "--out", folder)
    assert code == 2
    assert said == f"spiral-arena: cannot read or write {folder}: Not a directory\n"


def test_another_seed_is_refused_in_one_line(capsys, tmp_path):
    options = ("--agents", "random", "first", "--games", TIC, "--pairs", 1, "--out", tmp_path)
    assert run(capsys, "run", *options)[0] == 0
    code, _, said = run(capsys, "run", *options, "--seed", 7)
    assert code == 2
    assert said == (
        f"spiral-arena: the tournament in '{tmp_path}' has --seed 0, got 7: give the same, or choose another --out\n"
    )


def test_games_that_cannot_be_played_are_left_and_said_so(capsys, tmp_path):
    with serving([error(401, "no key")]) as stub:
        agent = f"openai:m@{stub.url}?concurrency=1"
        options = ("--games", KUHN, "--pairs", 2, "--out", tmp_path)
        code, _, said = run(capsys, "run", "--agents", agent, "first", "random", *options)
        assert code == 1
        first, second = said.splitlines()
        assert first.startswith(f"spiral-arena: openai:m@{stub.url} was set aside after 3 games in a row")
        assert "no key" in first
        assert second == ("spiral-arena: 8 of 12 games are left, 3 of them aborted; the same command tries them again")
        assert len(stub.requests) == 3
        stub.answer = lambda request, number: completion("\\boxed{[bet]}")
        assert run(capsys, "run", "--agents", agent, "first", "random", *options)[0] == 0


def test_a_spent_budget_is_exit_code_3_and_a_higher_one_goes_on(capsys, tmp_path):
    with serving([completion("\\boxed{[bet]}", usage=(900, 100))]) as stub:
        agent = f"openai:m@{stub.url}?temperature=0.5&concurrency=1"
        # $1 x 900 / 10^6 + $6 x 100 / 10^6 = $0.0015 a request, and a request a game.
        options = ("--agents", agent, "first", "--games", KUHN, "--pairs", 3, "--price", f"{agent}=1,6")
        code, out, said = run(capsys, "run", *options, "--out", tmp_path, "--max-cost", 0.003)
        assert code == 3
        assert re.fullmatch(
            r"spiral-arena: [45] of 6 games are left: the budget of \$0\.003 is spent \(\$0\.0030\);"
            r" a higher --max-cost goes on\n",
            said,
        )
        assert len(stub.requests) == 2
        assert "2,000 tokens | $0.0030" in out
        code, out, _ = run(capsys, "run", *options, "--out", tmp_path, "--max-cost", 1)
        assert (code, len(stub.requests)) == (0, 6)
        assert "6,000 tokens | $0.0090" in out


def test_another_concurrency_is_the_same_agent(capsys, tmp_path):
    with serving([completion("\\boxed{[bet]}")]) as stub:
        options = ("first", "--games", KUHN, "--pairs", 1, "--out", tmp_path)
        for concurrency in (1, 8):
            agent = f"openai:m@{stub.url}?concurrency={concurrency}"
            assert run(capsys, "run", "--agents", agent, *options)[0] == 0
        assert len(stub.requests) == 2


def test_ctrl_c_is_exit_code_130(capsys, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "play_tournament", interrupted)
    options = ("--agents", "random", "first", "--games", TIC, "--out", tmp_path)
    code, _, said = run(capsys, "run", *options)
    assert (code, said) == (130, "\nspiral-arena: stopped; the same command goes on\n")


def test_a_second_ctrl_c_waits_for_nothing(capsys, tmp_path, monkeypatch):
    def abandoned(*arguments, **options):
        raise AbandonedError

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(command, "play_tournament", abandoned)
    monkeypatch.setattr(command.os, "_exit", leave)
    code, _, said = run(capsys, "run", "--agents", "random", "first", "--games", TIC, "--out", tmp_path)
    assert (code, said) == (130, "\nspiral-arena: stopped without the replies that were under way\n")


def test_the_extra_that_the_view_needs_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "spiral_envs.arena.run_view")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    options = ("--agents", "random", "first", "--games", TIC, "--pairs", 1, "--out", tmp_path)
    code, _, said = run(capsys, "run", *options)
    assert code == 2
    assert "pip install 'spiral-selfplay[arena]'" in said
    assert run(capsys, "run", *options, "--quiet") == (0, "", "")


def test_a_report_needs_a_tournament(capsys, tmp_path):
    code, _, said = run(capsys, "report", tmp_path)
    assert code == 2
    assert said == (
        f"spiral-arena: no tournament in '{tmp_path}': expected a folder that spiral-arena run has written\n"
    )


def test_a_report_is_made_of_a_tournament(capsys, tmp_path):
    options = ("--agents", "random", "first", "--games", TIC, "--pairs", 2, "--out", tmp_path)
    assert run(capsys, "run", *options)[0] == 0
    code, out, said = run(capsys, "report", tmp_path)
    assert (code, said) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["agent", "Elo", "95", "%", "interval", "games"]
    assert {line.split()[0] for line in lines[1:3]} == {"random", "first"}
    assert re.fullmatch(r"\w+ +[+-]\d+ +[+-]\d+ to [+-]\d+ +4", lines[1])
    assert any(line.startswith("note: ") and "10 pairs" in line for line in lines)
    assert lines[-1] == f"report: {tmp_path / 'report' / 'report.html'}"
    code, _, said = run(capsys, "report", tmp_path, "--anchor", "nobody")
    assert code == 2
    assert "nobody" in said


def test_a_command_is_needed(capsys):
    assert run(capsys)[0] == 2
    code, out, _ = run(capsys, "run", "--help")
    assert code == 0
    assert "--models-in-memory" in out


class Clock:
    """A clock that stands still until it is told the time."""

    now = 100.0

    def __call__(self):
        return self.now


def progress(done, *, played=None, total=200, **figures):
    empty = {"forfeits": 0, "aborted": 0, "tokens": 0, "cost": None}
    return Progress(total=total, done=done, played=done if played is None else played, **{**empty, **figures})


def test_without_a_terminal_there_is_a_line_every_ten_seconds_and_at_the_end():
    output, clock = io.StringIO(), Clock()
    console = Console(width=40, file=output)
    with RunView(console, clock=clock) as view:
        for seconds, done in ((1, 10), (11, 50), (12, 60), (20, 100)):
            clock.now = 100.0 + seconds
            view.show(progress(done))
        # 80 games of this run in 40 seconds, and 60 are left.
        clock.now = 140.0
        view.show(progress(140, played=80, forfeits=3, aborted=1, tokens=12_345, cost=0.5))
        clock.now = 141.0
        view.show(progress(140, played=80, is_stopping=True))
        view.show(progress(140, played=80, is_stopping=True))
    assert output.getvalue() == (
        "games 50/200 | 4.5 games/s | left 0:00:33\n"
        "games 140/200 | 2.0 games/s | 3 forfeits | 1 aborted | 12,345 tokens | $0.5000 | left 0:00:30\n"
        f"{STOPPING}\n"
        "games 140/200 | 2.0 games/s | left 0:00:31\n"
    )


@pytest.mark.parametrize("width", [50, 140])
def test_a_terminal_gets_a_bar_that_is_closed(width):
    output = io.StringIO()
    console = Console(width=width, file=output, force_terminal=True, record=True)
    with RunView(console) as view:
        view.show(progress(20, played=0))
        view.show(progress(50, played=30, cost=0.25))
    text = console.export_text()
    assert "50/200" in text
    assert output.getvalue().count("\x1b[?25h") == 1, "the cursor is back"
    if width > 100:
        assert "$0.2500" in text


def test_an_agent_that_is_set_aside_is_told_of_at_once_and_once():
    output = io.StringIO()
    with RunView(Console(width=40, file=output), clock=Clock()) as view:
        for _ in range(2):
            view.show(progress(0, set_aside={"hf:typo": "cannot load\nmodel 'typo'"}))
        assert output.getvalue() == "hf:typo is set aside: cannot load model 'typo'\n"


def test_a_run_that_fails_early_shows_no_figures():
    output = io.StringIO()
    with pytest.raises(OSError, match="full"), RunView(Console(file=output)):
        raise OSError("full")
    assert output.getvalue() == ""
