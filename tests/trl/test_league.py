"""The league: which snapshots stay, which one is played, and what a kill leaves, against numbers worked by hand."""

import json
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiral_envs.chance import uniform
from spiral_envs.errors import UnknownNameError
from spiral_trl.checkpoints import RestoreError
from spiral_trl.league import League, LeagueRow, LeagueSettings, NoRoomError, Selection, find_selection, steps_in


def league(folder, selection="uniform", *, size=4, disk_bytes=None, snapshot_steps=10):
    return League(
        LeagueSettings(
            snapshot_steps=snapshot_steps, size=size, disk_bytes=disk_bytes, selection=find_selection(selection)
        ),
        folder,
    )


def save(path):
    (path / "weights.bin").write_bytes(b"w" * 100)
    (path / "tokenizer").mkdir()
    (path / "tokenizer" / "vocabulary.json").write_text("{}", encoding="utf-8")


def filled(folder, steps, selection="uniform", **bounds):
    made = league(folder, selection, **bounds)
    for step in steps:
        made.add(step, made.write(step, save))
    return made


# -- which snapshots stay --------------------------------------------------------------------------------------------


def test_a_snapshot_is_due_at_the_start_and_every_so_many_steps_and_once_only(tmp_path):
    made = league(tmp_path)
    due = []
    for step in range(31):
        if made.is_due(step):
            due.append(step)
            made.add(step, 1)
            assert not made.is_due(step)
    assert due == [0, 10, 20, 30]


def test_a_league_that_starts_within_a_run_takes_its_first_snapshot_at_once(tmp_path):
    made = league(tmp_path)
    for step in range(37, 61):
        if made.is_due(step):
            made.add(step, 1)
    assert made.steps == (37, 40, 50, 60)


@pytest.mark.parametrize(
    ("steps_a_batch", "snapshot_steps", "expected"),
    [
        # 5 and 15 lie within a batch.
        (2, 5, [0, 6, 10, 16, 20]),
        # The multiples 50 and 100 are passed within the batches that end at 64 and 112.
        (16, 50, [0, 64, 112]),
        # Two multiples within one batch are one snapshot.
        (16, 5, [0, 16, 32, 48, 64, 80, 96, 112]),
    ],
)
def test_a_snapshot_is_not_missed_where_its_step_lies_within_a_batch(tmp_path, steps_a_batch, snapshot_steps, expected):
    made = league(tmp_path, size=20, snapshot_steps=snapshot_steps)
    for step in range(0, max(expected) + 1, steps_a_batch):
        if made.is_due(step):
            made.add(step, 1)
    assert list(made.steps) == expected


@pytest.mark.parametrize(
    ("selection", "size", "expected"),
    [
        ("latest", 3, (30, 40, 50)),
        ("latest", 1, (50,)),
        # 0 10 20 30 loses 10, whose neighbours are as close as those of 20; 0 20 30 40 loses 30, whose neighbours are
        # 20 apart against 30; 0 20 40 50 loses 40, 30 against 40.
        ("uniform", 3, (0, 20, 50)),
        ("prioritised", 3, (0, 20, 50)),
        ("uniform", 2, (0, 50)),
        ("uniform", 1, (50,)),
        # 0 10 20 30 40 loses 10; 0 20 30 40 50 loses 30, both of whose neighbours are as close as those of 40.
        ("uniform", 4, (0, 20, 40, 50)),
        ("uniform", 6, (0, 10, 20, 30, 40, 50)),
    ],
)
def test_who_stays_in_a_full_league(tmp_path, selection, size, expected):
    made = league(tmp_path, selection, size=size)
    for step in range(0, 60, 10):
        made.add(step, 1)
    assert made.steps == expected


@pytest.mark.parametrize(
    ("selection", "expected"), [("latest", (20, 30)), ("uniform", (0, 30)), ("prioritised", (0, 30))]
)
def test_the_disk_bound_makes_room_as_well(tmp_path, selection, expected):
    made = league(tmp_path, selection, size=9, disk_bytes=250)
    for step in range(0, 40, 10):
        made.add(step, 100)
    assert made.steps == expected


def test_a_snapshot_that_grew_pushes_the_first_out_rather_than_itself(tmp_path):
    made = league(tmp_path, disk_bytes=250)
    made.add(0, 100)
    made.add(10, 200)
    assert made.steps == (10,)


def test_a_snapshot_larger_than_all_may_be_is_refused_with_both_numbers(tmp_path):
    made = league(tmp_path, disk_bytes=1500)
    made.add(0, 1500)
    with pytest.raises(NoRoomError, match="step 10 alone takes 1,501 bytes, all together may take 1,500"):
        made.add(10, 1501)
    assert made.steps == (0,)


def test_snapshots_come_in_the_order_of_their_steps(tmp_path):
    made = league(tmp_path)
    made.add(10, 1)
    with pytest.raises(ValueError, match="the league has a snapshot of step 10: 10 is not after it"):
        made.add(10, 1)


@given(count=st.integers(1, 80), size=st.integers(3, 12))
def test_what_stays_covers_the_run_evenly(count, size):
    made = league(Path("unused"), size=size)
    for step in range(count):
        made.add(step, 1)
    steps = made.steps
    assert (steps[0], steps[-1], len(steps)) == (0, count - 1, min(count, size))
    # A gap that was merged was the smallest sum of two neighbouring ones, and of the gaps between size + 1 snapshots
    # size // 2 such pairs are disjoint.
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    assert all(gap == 1 or gap * (size // 2) <= count - 1 for gap in gaps)


# -- which one is played ---------------------------------------------------------------------------------------------


def beaten(folder, results, selection="prioritised"):
    """A league in which the learner played each snapshot as `results`, scores by step, say."""
    made = league(folder, selection, size=9)
    for step, scores in results.items():
        made.add(step, 1)
        for score in scores:
            made.record(step, score)
    return made


def test_prioritised_weights_are_those_worked_by_hand(tmp_path):
    # Smoothed by a win and a loss: 0: (1 + 1) / (1 + 2) = 2/3; 10: 1/3; 20: 1/2. (1 - p)^2 = 1/9, 4/9, 1/4, in
    # thirty-sixths 4, 16, 9.
    made = beaten(tmp_path, {0: [1], 10: [0], 20: []})
    assert made.weights() == pytest.approx({0: 4 / 29, 10: 16 / 29, 20: 9 / 29}, abs=1e-15)


def test_old_results_fade(tmp_path):
    made = beaten(tmp_path, {0: [0, 1, 1], 10: []})
    # 0.99^2, 0.99 and 1 games: 2.9701, of which 1.99 were won; p = 2.99 / 4.9701.
    weight = (1 - 2.99 / 4.9701) ** 2
    oldest = made.table()[1]
    assert (oldest.step, oldest.games) == (0, 3)
    assert oldest.score == pytest.approx(1.99 / 2.9701, abs=1e-15)
    assert oldest.weight == pytest.approx(weight / (weight + 0.25), abs=1e-15)
    # In the other order the losses are what is remembered.
    other = beaten(tmp_path, {0: [1, 1, 0], 10: []})
    assert other.table()[1].score == pytest.approx((0.9801 + 0.99) / 2.9701)


def test_a_snapshot_that_is_always_beaten_keeps_a_small_weight_however_many_games_there_were(tmp_path):
    made = beaten(tmp_path, {0: [1.0] * 3000, 10: [0.0] * 3000})
    # A hundred games are remembered at most: p = 101 / 102 and 1 / 102.
    assert made.weights() == pytest.approx({0: 1 / 10202, 10: 10201 / 10202}, rel=1e-9)


def test_latest_plays_the_newest_and_uniform_all_alike(tmp_path):
    results = {0: [1], 10: [0], 20: [], 30: [1]}
    assert beaten(tmp_path, results, "latest").weights() == {0: 0.0, 10: 0.0, 20: 0.0, 30: 1.0}
    assert beaten(tmp_path, results, "uniform").weights() == dict.fromkeys(results, 0.25)
    assert {beaten(tmp_path, results, "latest").draw(3, number) for number in range(300)} == {30}


@pytest.mark.parametrize("selection", ["uniform", "prioritised"])
@pytest.mark.parametrize("seed", [0, 1, 2**70])
def test_draws_have_their_probabilities_and_are_those_of_their_number(tmp_path, selection, seed):
    made = beaten(tmp_path, {0: [1], 10: [0], 20: []}, selection)
    drawn = [made.draw(seed, number) for number in range(6000)]
    counts, weights = Counter(drawn), made.weights()
    # The 99.9 % quantile of chi square for 2 degrees of freedom.
    assert sum((counts[step] - 6000 * weight) ** 2 / (6000 * weight) for step, weight in weights.items()) < 13.82
    assert [made.draw(seed, number) for number in (5999, 17, 0)] == [drawn[5999], drawn[17], drawn[0]]


def test_draws_depend_neither_on_the_seed_next_door_nor_on_the_match(tmp_path):
    made = league(tmp_path)
    made.add(0, 1)
    made.add(10, 1)
    first, second = ([made.draw(seed, number) == 0 for number in range(8000)] for seed in (0, 1))
    # The match of game `number` in a run with seed 0 has the seed `number`.
    starts_low = [uniform(number, 0) < 0.5 for number in range(8000)]
    first_match = [uniform(0, number) < 0.5 for number in range(8000)]
    for other in (second, starts_low, first_match):
        counts = Counter(zip(first, other, strict=True))
        assert len(counts) == 4
        # The 99.9 % quantile for 3 degrees of freedom.
        assert sum((count - 2000) ** 2 / 2000 for count in counts.values()) < 16.27


def test_nothing_can_be_drawn_from_an_empty_league(tmp_path):
    with pytest.raises(ValueError, match="the league has no snapshot to play against"):
        league(tmp_path).draw(0, 0)
    assert league(tmp_path).weights() == {}
    assert league(tmp_path).metrics() == {}


def test_results_of_a_snapshot_that_left_are_ignored(tmp_path):
    made = league(tmp_path, "latest", size=1)
    made.add(0, 1)
    made.add(10, 1)
    made.record(0, 1)
    made.record(10, 0.5)
    assert made.table() == [LeagueRow(10, 1, 0.5, 1.0)]


@pytest.mark.parametrize("score", [-1, 1.5, float("nan")])
def test_a_score_that_is_none_is_refused(tmp_path, score):
    made = league(tmp_path)
    made.add(0, 1)
    with pytest.raises(ValueError, match=r"the score against the snapshot of step 0 is .*: expected 0 to 1"):
        made.record(0, score)


def test_the_table_is_newest_first_and_its_figures_have_their_names(tmp_path):
    made = beaten(tmp_path, {0: [0.5], 10: []}, "uniform")
    assert made.table() == [LeagueRow(10, 0, None, 0.5), LeagueRow(0, 1, 0.5, 0.5)]
    assert made.metrics() == {
        "league/10/games": 0,
        "league/10/weight": 0.5,
        "league/0/games": 1,
        "league/0/score": 0.5,
        "league/0/weight": 0.5,
    }


# -- files -----------------------------------------------------------------------------------------------------------


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_written_snapshot_is_whole_and_measured_and_in_no_league_yet(tmp_path):
    made = league(tmp_path / "league")
    assert made.write(0, save) == 102
    assert made.steps == ()
    assert names(tmp_path / "league") == ["step-0"]
    assert made.folder_of(0) == tmp_path / "league" / "step-0"
    assert (made.folder_of(0) / "weights.bin").read_bytes() == b"w" * 100
    sizes = json.loads((made.folder_of(0) / "files.json").read_text(encoding="utf-8"))
    assert sizes == {"tokenizer/vocabulary.json": 2, "weights.bin": 100}


def test_a_process_that_writes_nothing_keeps_the_same_league(tmp_path):
    writer = league(tmp_path / "league", "prioritised", size=3)
    other = league(tmp_path / "nowhere", "prioritised", size=3)
    for step in range(0, 70, 10):
        num_bytes = writer.write(step, save)
        for each in (writer, other):
            each.add(step, num_bytes)
            each.record(step, 0.5)
    assert other.state_dict() == writer.state_dict()
    assert [other.draw(1, number) for number in range(100)] == [writer.draw(1, number) for number in range(100)]
    assert not (tmp_path / "nowhere").exists()


class Killed(BaseException):
    """Ends a process where it stands."""


def save_half(path):
    (path / "weights.bin").write_bytes(b"w" * 50)
    raise Killed


def test_a_kill_while_saving_leaves_a_league_that_can_be_used(tmp_path):
    made = filled(tmp_path, (0, 10))
    saved = made.state_dict()
    with pytest.raises(Killed):
        made.write(20, save_half)
    assert names(tmp_path) == ["step-0", "step-10", "step-20.tmp"]
    resumed = league(tmp_path)
    resumed.load_state_dict(saved)
    assert resumed.steps == (0, 10)
    # The step is trained anew, and nothing of the torn files is left.
    resumed.add(20, resumed.write(20, save))
    assert names(tmp_path) == ["step-0", "step-10", "step-20"]
    assert names(resumed.folder_of(20)) == ["files.json", "tokenizer", "weights.bin"]


def test_a_kill_between_the_files_and_their_name_leaves_a_league_that_can_be_used(tmp_path):
    made = filled(tmp_path, (0,))
    unnamed = tmp_path / "step-10.tmp"
    unnamed.mkdir()
    save(unnamed)
    resumed = league(tmp_path)
    resumed.load_state_dict(made.state_dict())
    assert resumed.draw(1, 1) == 0
    assert resumed.prune([10]) == (unnamed,)
    resumed.add(10, resumed.write(10, save))
    assert names(tmp_path) == ["step-0", "step-10"]


def test_the_files_are_on_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    flushed = []
    flush = os.fsync

    def watched(descriptor):
        flushed.append((os.fstat(descriptor).st_ino, names(tmp_path)))
        flush(descriptor)

    # What the disk holds cannot be seen from here; what is asked of it can.
    monkeypatch.setattr(os, "fsync", watched)
    made = league(tmp_path)
    made.write(0, save)
    folder = made.folder_of(0)
    written = [
        folder / "files.json",
        folder / "tokenizer",
        folder / "tokenizer" / "vocabulary.json",
        folder / "weights.bin",
        folder,
    ]
    assert flushed == [
        *((path.stat().st_ino, ["step-0.tmp"]) for path in written),
        (tmp_path.stat().st_ino, ["step-0"]),
    ]


def test_a_snapshot_of_steps_that_are_trained_anew_is_replaced(tmp_path):
    made = filled(tmp_path, (0, 10))

    def save_other(path):
        (path / "other.bin").write_bytes(b"123")

    resumed = league(tmp_path)
    resumed.add(0, 102)
    assert resumed.write(10, save_other) == 3
    assert names(made.folder_of(10)) == ["files.json", "other.bin"]


def test_pruning_keeps_members_and_what_checkpoints_need(tmp_path):
    made = filled(tmp_path, range(0, 60, 10), "latest", size=2)
    assert made.steps == (40, 50)
    assert [path.name for path in made.prune(iter([20]))] == ["step-0", "step-10", "step-30"]
    assert names(tmp_path) == ["step-20", "step-40", "step-50"]
    assert made.prune([20]) == ()


def test_pruning_never_deletes_what_is_no_snapshot_of_its_own(tmp_path):
    folder = tmp_path / "league"
    made = filled(folder, (0, 10), "latest", size=1)
    outside = tmp_path / "step-3"
    foreign = [
        "step-07",
        "step-",
        "step-1.bak",
        "step-1.tmp.tmp",
        "step-x",
        "step--1",
        "step-１",
        "Step-2",
        "checkpoint-4",
        "step-5 ",
    ]
    for name in foreign:
        (folder / name).mkdir()
    outside.mkdir()
    (outside / "kept").write_text("kept", encoding="utf-8")
    (folder / "step-6").write_text("a file", encoding="utf-8")
    (folder / "step-8.tmp").write_text("a file", encoding="utf-8")
    (folder / "step-9").symlink_to(outside, target_is_directory=True)
    (folder / "step-11.tmp").mkdir()
    assert [path.name for path in made.prune([])] == ["step-0", "step-11.tmp"]
    assert names(folder) == sorted([*foreign, "step-10", "step-6", "step-8.tmp", "step-9"])
    assert (outside / "kept").read_text(encoding="utf-8") == "kept"


def test_pruning_where_nothing_was_written_does_nothing(tmp_path):
    assert league(tmp_path / "nowhere").prune([]) == ()


# -- checkpoints -----------------------------------------------------------------------------------------------------


def test_the_state_survives_json_to_the_last_bit(tmp_path):
    made = filled(tmp_path, range(0, 60, 10), "prioritised")
    for number in range(300):
        made.record(made.draw(5, number), (0, 0.5, 1)[number % 7 % 3])
    text = json.dumps(made.state_dict())
    restored = league(tmp_path, "prioritised")
    restored.load_state_dict(json.loads(text))
    assert restored.state_dict() == made.state_dict()
    assert restored.table() == made.table()
    assert steps_in(json.loads(text)) == made.steps
    for number in range(300, 400):
        step = made.draw(5, number)
        assert restored.draw(5, number) == step
        for each in (made, restored):
            each.record(step, 1)
    assert [weight.hex() for weight in restored.weights().values()] == [
        weight.hex() for weight in made.weights().values()
    ]
    # What was saved is not what goes on.
    assert json.dumps(json.loads(text)) == text


def test_a_missing_snapshot_is_named_and_nothing_is_loaded(tmp_path):
    saved = filled(tmp_path / "old", (0, 10)).state_dict()
    made = filled(tmp_path / "new", (0,))
    made.record(0, 1)
    with pytest.raises(RestoreError, match=r"new/step-10 of the saved league is missing"):
        made.load_state_dict(saved)
    assert made.table()[0].games == 1


@pytest.mark.parametrize(
    ("name", "content", "damage"),
    [
        ("weights.bin", None, "weights.bin is missing"),
        ("weights.bin", b"w" * 99, "weights.bin has 99 bytes instead of 100"),
        ("weights.bin", b"", "weights.bin has 0 bytes instead of 100"),
        ("tokenizer/vocabulary.json", None, "tokenizer/vocabulary.json is missing"),
        ("files.json", None, "files.json is missing"),
        ("files.json", b'{"weights.bin": 1', "files.json is cut short"),
    ],
)
def test_a_damaged_snapshot_is_named_with_its_file_and_nothing_is_loaded(tmp_path, name, content, damage):
    made = filled(tmp_path, (0, 10))
    saved = made.state_dict()
    made.record(0, 1)
    path = made.folder_of(10) / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RestoreError, match=f"step-10 of the saved league is damaged: {damage}"):
        made.load_state_dict(saved)
    assert made.table()[1].games == 1


def test_smaller_bounds_apply_to_a_restored_league_at_once(tmp_path):
    saved = filled(tmp_path, range(0, 40, 10)).state_dict()
    made = league(tmp_path, size=2)
    made.load_state_dict(saved)
    assert made.steps == (0, 30)
    assert len(steps_in(saved)) == 4


# -- bad settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "a league with no room: size is 0, expected at least 1"),
        ({"disk_bytes": 0}, "a league with no room: disk_bytes is 0, expected at least 1"),
        ({"disk_bytes": -5}, "a league with no room: disk_bytes is -5"),
        ({"snapshot_steps": 0}, "the league has snapshot_steps 0: expected at least 1"),
    ],
    ids=str,
)
def test_a_league_with_no_room_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LeagueSettings(**{"snapshot_steps": 10, "size": 4, **settings})


def test_selections_have_their_names():
    assert [find_selection(name) for name in ("latest", "uniform", "prioritised")] == list(Selection)
    with pytest.raises(
        UnknownNameError, match="unknown selection of the league 'prioritized': did you mean prioritised"
    ):
        find_selection("prioritized")
