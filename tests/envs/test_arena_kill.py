"""A tournament whose process is killed at any moment goes on where it was, with nothing lost or played twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from stub_openai_server import completion, serving

from spiral_envs.json_lines import JsonLines

ROOT = Path(__file__).parents[2]

TIC = "tic_tac_toe_v0"


def command(folder, *arguments):
    return [sys.executable, "-m", "spiral_envs.arena.command", "run", "--quiet", "--out", str(folder), *arguments]


def start(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if "PROXY" not in name.upper()}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
    return subprocess.Popen(command(folder, *arguments), env=environment, stderr=subprocess.PIPE, text=True)


def run(folder, *arguments):
    process = start(folder, *arguments)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 0, said


def kill_at(folder, process, size):
    """Kills the process as soon as its files together have so many bytes, or after it has ended by itself."""
    while process.poll() is None:
        if sum(file.stat().st_size for file in folder.glob("*.jsonl")) >= size:
            process.kill()
        time.sleep(0.001)
    process.communicate()
    return process.returncode


def games_in(folder):
    lines = [json.loads(line) for line in (folder / "games.jsonl").read_text().splitlines()]
    games = {line.pop("id"): line for line in lines}
    assert len(games) == len(lines), "no game is played twice"
    for line in games.values():
        del line["time_s"]
    return games


@pytest.mark.slow
def test_after_many_kills_the_games_are_those_of_a_run_that_nobody_killed(tmp_path):
    arguments = ["--agents", "random", "first", "mcts:20", "--games", TIC, "nim_v0", "--pairs", "100"]
    run(tmp_path / "whole", *arguments)
    whole = games_in(tmp_path / "whole")
    assert len(whole) == 1200
    size = (tmp_path / "whole" / "games.jsonl").stat().st_size
    rng = random.Random(5)
    folder = tmp_path / "killed"
    codes = []
    for kill in range(6):
        # Anywhere in the first part of what is left, so that there is something to kill the next time.
        share = (kill + rng.random()) / 7
        codes.append(kill_at(folder, start(folder, *arguments), share * size))
    assert codes.count(-signal.SIGKILL) >= 4, codes
    before = JsonLines(folder / "games.jsonl").read()
    assert 0 < len(before) < 1200
    run(folder, *arguments)
    assert games_in(folder) == whole


@pytest.mark.slow
def test_no_reply_that_is_on_the_disk_is_asked_for_again(tmp_path):
    asked = Counter()

    def answer(request, number):
        prompt = request["messages"][0]["content"]
        asked[request["seed"]] += 1
        time.sleep(0.005)
        board = prompt.partition("Board:")[2]
        cell = next(cell for cell in "012345678" if f" {cell}" in board)
        return completion(f"\\boxed{{[{cell}]}}", usage=(100, 10))

    with serving(answer) as stub:
        agent = f"openai:m@{stub.url}?concurrency=4"
        arguments = ["--agents", agent, "random", "--games", TIC, "--pairs", "25"]
        kept = 0
        for size in (8_000, 20_000, 40_000):
            kill_at(tmp_path, start(tmp_path, *arguments), size)
            replies = JsonLines(tmp_path / "replies.jsonl").read()
            assert len(replies) >= kept
            kept = len(replies)
            # What was under way at a kill is lost: at most as many as are asked at once.
            assert sum(asked.values()) - kept <= 4 * 3
        run(tmp_path, *arguments)
    games = games_in(tmp_path)
    assert len(games) == 50
    num_turns = sum("openai" in game["agents"][turn["seat"]] for game in games.values() for turn in game["turns"])
    replies = JsonLines(tmp_path / "replies.jsonl").read()
    # Every reply that a game has was kept once, and asked for once but for what a kill interrupted.
    assert len(replies) == len({(reply["game"], reply["ply"]) for reply in replies}) == num_turns
    assert sum(asked.values()) - num_turns <= 4 * 3
    assert len(asked) == num_turns


def test_ctrl_c_keeps_the_reply_under_way(tmp_path):
    with serving(lambda request, number: (time.sleep(0.5), completion("\\boxed{[bet]}", usage=(9, 1)))[1]) as stub:
        arguments = ["--agents", f"openai:m@{stub.url}?concurrency=1", "first", "--games", "kuhn_poker_v0(hands=1)"]
        process = start(tmp_path, *arguments)
        while not stub.requests:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert said == "\nspiral-arena: stopped; the same command goes on\n"
        assert len(stub.requests) == len(JsonLines(tmp_path / "replies.jsonl").read()) == 1
