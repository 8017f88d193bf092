"""Solved policies on disk: found again, and never trusted."""

import json
import sys
from pathlib import Path

import pytest

from spiral_envs import find_game, solve
from spiral_envs.kept_policies import KeptPolicy, keep_policy, policy_folder, read_policy

KUHN = find_game("kuhn_poker_v0(hands=1,payoff=chips)")

POLICY = KeptPolicy(((0.25, 0.75), (1.0, 0.0)), 0.1)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Returns the folder of a user without policies, for whom every game is worth keeping."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(solve, "KEPT_INFORMATION_SETS", 1)
    return tmp_path / "spiral_envs" / "policies"


@pytest.fixture
def solver_calls(monkeypatch):
    """Returns a list that grows by one whenever a game is solved."""
    calls, solving = [], solve._solve

    def counted(*arguments):
        calls.append(arguments)
        return solving(*arguments)

    monkeypatch.setattr(solve, "_solve", counted)
    return calls


def test_a_game_is_solved_once_and_then_read_from_disk(kept, solver_calls):
    first = solve.equilibrium_of(KUHN)
    (file,) = kept.iterdir()
    assert file.name.startswith("kuhn_poker-")
    again = solve.equilibrium_of(KUHN)
    assert len(solver_calls) == 1
    assert again == first
    assert again.result.on_policy_values[0] == pytest.approx(-1 / 18, abs=1e-3)


def test_a_small_game_is_not_kept(kept, monkeypatch):
    monkeypatch.setattr(solve, "KEPT_INFORMATION_SETS", 13)
    solve.equilibrium_of(KUHN)
    assert not kept.exists()


def test_another_game_or_goal_is_another_file(kept, monkeypatch):
    solve.equilibrium_of(KUHN)
    solve.equilibrium_of(find_game("kuhn_poker_v0(hands=1)"))
    monkeypatch.setattr(solve, "MAX_ITERATIONS", 100)
    solve.equilibrium_of(KUHN)
    assert len(list(kept.iterdir())) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "\x00",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: json.dumps({"nash_conv": 0.0, "probabilities": []}),
        lambda text: json.dumps({**json.loads(text), "nash_conv": 1.0}),
        lambda text: json.dumps({**json.loads(text), "nash_conv": float("nan")}),
        lambda text: json.dumps({**json.loads(text), "probabilities": [[0.5, 0.5]] * 12}),
        lambda text: json.dumps({**json.loads(text), "probabilities": [[0.5, 0.6]] * 12}),
        lambda text: json.dumps({**json.loads(text), "probabilities": [[1.5, -0.5]] * 12}),
        lambda text: json.dumps({**json.loads(text), "probabilities": [[float("nan"), 0.5]] * 12}),
        lambda text: json.dumps({**json.loads(text), "probabilities": [[1.0]] * 12}),
        lambda text: json.dumps({**json.loads(text), "probabilities": [["0.5", "0.5"]] * 12}),
        lambda text: json.dumps({**json.loads(text), "probabilities": ["ab"] * 12}),
    ],
)
def test_a_damaged_file_is_solved_anew_and_replaced(kept, solver_calls, change):
    solved = solve.equilibrium_of(KUHN)
    (file,) = kept.iterdir()
    good = file.read_text(encoding="utf-8")
    file.write_text(change(good), encoding="utf-8")
    assert solve.equilibrium_of(KUHN) == solved
    assert len(solver_calls) == 2
    assert file.read_text(encoding="utf-8") == good
    assert list(kept.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_to_is_no_fault(kept, solver_calls):
    kept.parent.parent.joinpath("spiral_envs").write_text("a file where the folder should be", encoding="utf-8")
    assert solve.equilibrium_of(KUHN).result.nash_conv <= 1e-3
    assert solve.equilibrium_of(KUHN).result.nash_conv <= 1e-3
    assert len(solver_calls) == 2


def test_a_policy_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path):
    (tmp_path / "game.json").mkdir()
    keep_policy(tmp_path, "game", POLICY)
    assert [path.name for path in tmp_path.iterdir()] == ["game.json"]
    assert read_policy(tmp_path, "game") is None


def test_a_policy_is_read_as_it_was_kept(tmp_path):
    folder = tmp_path / "new" / "folder"
    assert read_policy(folder, "game") is None
    keep_policy(folder, "game", POLICY)
    assert read_policy(folder, "game") == POLICY
    assert [path.name for path in folder.iterdir()] == ["game.json"]


@pytest.mark.parametrize(
    ("platform", "folder"),
    [("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")],
)
def test_policies_are_where_the_platform_keeps_such_files(platform, folder, monkeypatch, tmp_path):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert policy_folder() == tmp_path / folder / "spiral_envs" / "policies"
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    chosen = tmp_path / ("local" if platform == "win32" else folder)
    assert policy_folder() == chosen / "spiral_envs" / "policies"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert policy_folder() == tmp_path / "xdg" / "spiral_envs" / "policies"


def test_a_user_without_a_home_keeps_nothing(monkeypatch, solver_calls):
    def no_home():
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(solve, "KEPT_INFORMATION_SETS", 1)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert policy_folder() is None
    assert solve.equilibrium_of(KUHN).result.nash_conv <= 1e-3
    assert len(solver_calls) == 1
