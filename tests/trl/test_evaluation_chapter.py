"""Every command of docs/index.md and docs/evaluation.md that needs no download runs, shortened, in their order."""

import json
import shlex
import shutil

import pytest
from documents import ROOT, commands_of
from stub_openai_server import completion, quick_and_alone, serving

from benchmarks import exploitability, rating_coverage, reasoning, traces
from spiral_envs.arena.command import main as arena
from spiral_trl.report_command import main as report
from spiral_trl.run import run

PAGES = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("index.md", "evaluation.md")]

# A command that stands on both pages runs once.
COMMANDS = list(dict.fromkeys(line for page in PAGES for line in commands_of(page)))

LEFT_OUT = ("pip install", "spiral-train --config smollm2")
"""What installs the package, and what trains a model that has to be downloaded."""

URL = "http://127.0.0.1:8000/v1"
"""Where the pages have a server of the reader's own."""

TRAINING = shlex.split(
    "--max_steps 2 --games_per_batch 8 --per_device_train_batch_size 32 --max_completion_length 24 --save_steps 1"
    " --nash_conv_steps 2 --learning_rate 1e-6"
)

SHORT = {
    "benchmarks/exploitability.py": "--reasonings 1 --replicates 2 --games_per_seat 1 --lines 1",
    "benchmarks/rating_coverage.py": "--tournaments 1 --resamples 20",
    "benchmarks/traces.py": "",
}
"""What makes a script short; the last of two values counts."""


SMALL = {
    "leduc_poker_v0": "liars_dice_v0(sides=2)",
    "nim_v0": "nim_v0(piles=1-2)",
    "connect_four_v0": "connect_four_v0(rows=3,columns=3,in_a_row=3)",
}
"""What is measured instead of games in which a measure takes minutes."""


def answer(request, number):
    """What the server says to a player and to a judge."""
    asked = request["messages"][0]["content"]
    found = '{"case_by_case": false, "expected_value": false, "pattern": true}'
    return completion(found if "case_by_case" in asked else f"\\boxed{{[{number % 9}]}}", usage=(100, 10))


def shortened_tournament(words):
    """The words of a tournament of few games: a ladder makes many matchups, and plays out its own once."""
    if "--ladder" not in words:
        return [*words, "--pairs", "2"]
    against = [] if "runs/arena" in words else ["--against", "hf:runs/quickstart/final"]
    return [*words, "--pairs", "1", *against]


def run_arena(words):
    short = shortened_tournament(words) if words[0] == "run" else [*words, "--resamples", "20"]
    with pytest.raises(SystemExit) as ended:
        arena(short)
    return ended.value.code


def run_reasoning(words):
    if words[0] == "compare":
        return reasoning.main(words)
    short = {"reasoning_gym": "--families basic_arithmetic maze --per-family 2", "math": "--limit 2 --samples 2"}
    return reasoning.main([*words, "--max-tokens", "4", *shlex.split(short[words[words.index("--suite") + 1]])])


def run_script(script, words):
    if script == "benchmarks/reasoning.py":
        return run_reasoning(words)
    scripts = {
        "benchmarks/exploitability.py": exploitability,
        "benchmarks/rating_coverage.py": rating_coverage,
        "benchmarks/traces.py": traces,
    }
    samples = ["--samples", "2"] if "--samples" in words else []
    return scripts[script].main([*(SMALL.get(word, word) for word in words), *samples, *shlex.split(SHORT[script])])


def run_command(line, *, model):
    """Runs a command of the pages, shortened, and returns its exit status."""
    match shlex.split(line):
        case ["spiral-train", *words]:
            return run([*words, "--model_name_or_path", str(model), *TRAINING])
        case ["spiral-report", *words]:
            return report(words)
        case ["spiral-arena", *words]:
            return run_arena(words)
        case ["python", script, *words]:
            return run_script(script, words)
        case _:
            pytest.fail(f"no test knows how to run {line!r}")


def games_in(folder):
    return [json.loads(line) for line in (folder / "games.jsonl").read_text(encoding="utf-8").splitlines()]


def agents_of(folder):
    return {agent for game in games_in(folder) for agent in game["agents"]}


@pytest.mark.slow
@pytest.mark.timeout(600)
# Python's own, when it first compiles what reasoning-gym imports.
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_the_commands_of_the_pages_run(tmp_path, warm_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick_and_alone(monkeypatch)
    shutil.copytree(ROOT / "tests" / "fixtures" / "reasoning", "data")
    for folder in ("models/SmolLM2-135M-Instruct", "runs/smollm2/final", "runs/quickstart/warmup"):
        shutil.copytree(warm_folder, folder)
    with serving(answer) as server:
        for line in COMMANDS:
            if not line.startswith(LEFT_OUT):
                assert not run_command(line.replace(URL, server.url), model=warm_folder), line
                if line.startswith("spiral-train"):
                    # As after make train.
                    shutil.copytree("runs/kuhn", "runs/quickstart", dirs_exist_ok=True)

    runs = tmp_path / "runs"
    assert (runs / "kuhn" / "report.html").stat().st_size > 10_000
    sampling = "temperature=0.6&top_p=0.95"
    models = {f"hf:runs/quickstart/{name}?{sampling}" for name in ("warmup", "final")}
    ladder = {"random", "greedy", "mcts:100", "mcts:1000", "minimax"}
    assert agents_of(runs / "arena") == models | ladder
    assert len(games_in(runs / "arena")) == 7 * 6 // 2 * 2
    for folder in ("arena", "reference"):
        assert (runs / folder / "report" / "report.html").stat().st_size > 10_000
    steps = {"hf:runs/quickstart?step=1", "hf:runs/quickstart?step=2", "hf:runs/quickstart/final"}
    assert agents_of(runs / "steps") == steps | ladder
    assert len(agents_of(runs / "temperatures")) == 4
    assert "| `leduc_poker_v0` | `cfr` | `greedy` | 2 |" in (runs / "leduc" / "report" / "luck.md").read_text()
    assert len(agents_of(runs / "endpoint")) == 2 + len(ladder)
    (paid,) = (name for name in agents_of(runs / "paid") if name != "random")
    # Each request reads 100 tokens at 0.15 dollars a million and writes 10 at 0.60.
    spent = games_in(runs / "paid")[0]["usage"][paid]
    assert spent["cost"] == pytest.approx(spent["requests"] * 21e-6)
    assert json.loads((runs / "math.json").read_text())["settings"]["tasks"] == ["math500", "aime24"]
    assert {path.name for path in (runs / "traces").iterdir()} == {
        "judge_replies.jsonl",
        "traces.csv",
        "traces.json",
        "traces.png",
    }
