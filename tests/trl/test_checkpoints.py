"""Which checkpoints are whole."""

import json
import logging

import pytest

from spiral_trl.checkpoints import (
    MANIFEST_FILE,
    STATE_FILE,
    begin,
    find_damage,
    finish,
    last_complete_checkpoint,
    read_state,
    rotate,
    set_aside_later,
    whole_checkpoints,
)


def make_checkpoint(output, step):
    folder = output / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * step)
    (folder / "global_step" / "part.pt").write_bytes(b"12345")
    finish(folder, {"games_started": step})
    return folder


def test_a_finished_checkpoint_is_whole_and_gives_its_state_back(tmp_path):
    folder = make_checkpoint(tmp_path, 3)
    assert find_damage(folder) is None
    assert read_state(folder) == {"games_started": 3}
    sizes = json.loads((folder / MANIFEST_FILE).read_text())
    assert sizes == {"model.safetensors": 21, "global_step/part.pt": 5}
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("tear", "damage"),
    [
        (lambda folder: (folder / STATE_FILE).unlink(), f"{STATE_FILE} is missing"),
        (lambda folder: (folder / STATE_FILE).write_text('{"games_sta'), f"{STATE_FILE} is cut short"),
        (lambda folder: (folder / MANIFEST_FILE).unlink(), f"{MANIFEST_FILE} is missing"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (
            lambda folder: (folder / "global_step" / "part.pt").write_bytes(b"123"),
            "global_step/part.pt has 3 bytes instead of 5",
        ),
        (begin, f"{STATE_FILE} is missing"),
    ],
    ids=["no-state", "cut-state", "no-list", "no-weights", "cut-part", "being-written-anew"],
)
def test_a_torn_checkpoint_is_refused_with_what_is_wrong_and_skipped_with_a_warning(tmp_path, caplog, tear, damage):
    whole, torn = make_checkpoint(tmp_path, 9), make_checkpoint(tmp_path, 10)
    tear(torn)
    assert find_damage(torn) == damage
    with pytest.raises(ValueError, match="is no whole self-play checkpoint"):
        read_state(torn)
    with caplog.at_level(logging.WARNING):
        assert last_complete_checkpoint(tmp_path) == whole
    assert f"checkpoint-10 is skipped, because it is torn: {damage}" in caplog.text
    assert whole_checkpoints(tmp_path) == [whole]


def test_the_newest_checkpoint_is_that_of_the_highest_step(tmp_path):
    for step in (2, 10, 9):
        make_checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-best").mkdir()
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert last_complete_checkpoint(tmp_path) is None
    assert last_complete_checkpoint(tmp_path / "nothing") is None


def names(output):
    return sorted(path.name for path in output.iterdir())


def test_room_is_made_by_whole_checkpoints_and_torn_ones_go_first(tmp_path):
    for step in (2, 4, 6):
        make_checkpoint(tmp_path, step)
    begin(make_checkpoint(tmp_path, 5))
    (tmp_path / "checkpoint-best").mkdir()
    rotate(tmp_path, 2)
    assert names(tmp_path) == ["checkpoint-4", "checkpoint-6", "checkpoint-best"]
    rotate(tmp_path, 1, kept=str(tmp_path / "checkpoint-4"))
    assert names(tmp_path) == ["checkpoint-4", "checkpoint-6", "checkpoint-best"]
    rotate(tmp_path, None)
    rotate(tmp_path, 5)
    assert names(tmp_path) == ["checkpoint-4", "checkpoint-6", "checkpoint-best"]


def test_checkpoints_of_steps_that_are_trained_anew_are_set_aside(tmp_path):
    for step in (2, 4, 6):
        make_checkpoint(tmp_path, step)
    set_aside_later(tmp_path, 2)
    assert names(tmp_path) == ["abandoned-checkpoint-4", "abandoned-checkpoint-6", "checkpoint-2"]
    make_checkpoint(tmp_path, 4)
    set_aside_later(tmp_path, 2)
    assert names(tmp_path) == ["abandoned-checkpoint-4", "abandoned-checkpoint-6", "checkpoint-2"]
