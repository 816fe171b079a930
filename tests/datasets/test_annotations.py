"""Recordings with annotations: rows become parts, and each step gets the label of its moment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actionrnn.config import BackboneConfig, Config
from actionrnn.config_reading import parse_config
from actionrnn.datasets.annotations.dataset import make_dataset
from actionrnn.datasets.annotations.formats import read_annotations
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.datasets.parts import load_parts
from actionrnn.datasets.recordings import (
    BACKGROUND,
    IGNORE,
    UNLABELLED,
    Annotation,
    Dataset,
    Recording,
)
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import describe_split, make_folds, open_dataset
from actionrnn.datasets.stored import load_features, require_no_class_lost
from actionrnn.datasets.video_names import VideoNames
from actionrnn.errors import ConfigError, DatasetError, FeatureError
from actionrnn.features.imported import import_features
from actionrnn.features.provenance import Failure, Features
from actionrnn.features.store import FeatureStore
from tests.tiny import make_tiny_backbone, tiny_provenance, write_recording

HEADINGS = "path,start,end,label"


def write_rows(folder: Path, *rows: str, headings: str = HEADINGS) -> Path:
    file = folder / "labels.csv"
    file.write_text("\n".join([headings, *rows, ""]), encoding="utf-8")
    return file


def write_entries(folder: Path, **times: Sequence[float]) -> FeatureStore:
    """A store of recordings by their keys; the value of a step is its number."""
    store = FeatureStore.create(folder, tiny_provenance())
    for key, pts in times.items():
        values = np.arange(len(pts), dtype=np.float32)[:, None]
        store.write(key, Features(values, np.array(pts, np.float64), store.provenance))
    return store


def config_of(file: Path, **data: Any) -> Config:
    sections = {"data": {"layout": "annotations", "root": str(file), **data}}
    return replace(parse_config(sections), backbone=BackboneConfig(name="tiny"))


def open_annotations(
    file: Path, group_pattern: str | None = None, *, background: bool = False
) -> Dataset:
    """The recordings, of which none has to exist."""
    marks = read_annotations(file, ReadOptions())
    videos = VideoNames(file.parent)
    return make_dataset(marks, videos, group_pattern, background=background)


def load(config: Config, folder: Path) -> tuple[Dataset, Sequences, list[Failure]]:
    """The features of a data set, by a backbone that gives the mean colour of each frame."""
    return load_features(open_dataset(config.data), make_tiny_backbone(1), config, folder)


def labels_of_steps(dataset: Dataset, sequences: Sequences, key: str) -> list[tuple[float, str]]:
    """(time, label) of each step of a recording, in the order of its parts."""
    found = []
    for index in sequences.recordings[key]:
        target = int(sequences.targets[index])
        label = UNLABELLED if target == IGNORE else dataset.labels[target]
        assert sequences.clips[index].label == label
        found += [(float(time), label) for time in sequences.pts_seconds[index]]
    return found


# Rows become recordings.


def test_rows_of_a_video_are_the_parts_of_one_recording(tmp_path: Path) -> None:
    rows = ["v/1.mp4,3,5.5,run,x", "v/1.mp4,1,3,walk,y", "w.mp4,,2,run,z", "w.mp4,8,,run,z"]
    dataset = open_annotations(write_rows(tmp_path, *rows, headings=HEADINGS + ",who"))
    assert dataset.continuous
    assert [clip.key for clip in dataset.clips] == ["v/1@1-3", "v/1@3-5.5", "w@-2", "w@8-"]
    assert [one.group for one in dataset.recordings] == ["v/1", "w"]
    assert [[(part.label, part.suffix) for part in one.parts] for one in dataset.recordings] == [
        [(UNLABELLED, "@-1"), ("walk", "@1-3"), ("run", "@3-5.5"), (UNLABELLED, "@5.5-")],
        [("run", "@-2"), (UNLABELLED, "@2-8"), ("run", "@8-")],
    ]
    assert dataset.notes == ()


def test_group_and_split_are_the_recording_s(tmp_path: Path) -> None:
    rows = ["a.mp4,0,1,run,ann,train", "a.mp4,1,2,walk,ann,train", "b.mp4,0,1,run,bob,test"]
    file = write_rows(tmp_path, *rows, headings=HEADINGS + ",group,split")
    found = [(one.key, one.group, one.split) for one in open_annotations(file).recordings]
    assert found == [("a", "ann", "train"), ("b", "bob", "test")]


def test_the_pattern_finds_the_group_of_a_recording(tmp_path: Path) -> None:
    file = write_rows(tmp_path, "ann_1.mp4,0,1,run", "ann_2.mp4,0,1,run")
    assert open_annotations(file, "^([a-z]+)_").groups == ("ann",)


def test_a_row_that_is_there_again_counts_once(tmp_path: Path) -> None:
    dataset = open_annotations(write_rows(tmp_path, "a.mp4,0,1,run", "a.mp4,0,1.0,run"))
    assert len(dataset.clips) == 1
    assert "1 marks are there again" in dataset.notes[0]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            ["a.mp4,0,5,run", "b.mp4,4,6,run", "a.mp4,4.5,9,walk"],
            r"line 2 and line 4: a@0-5 \('run'\) and a@4\.5-9 \('walk'\) overlap; a moment has one",
        ),
        (["a.mp4,6,9,run", "a.mp4,0,7,run"], r"line 3 and line 2: a@0-7 .*'run'.* overlap"),
        (["a.mp4,,9,run", "a.mp4,,7,walk"], r"a@-9 .* and a@-7 .* overlap"),
        (["a.mp4,2,,run", "a.mp4,7,8,walk"], r"a@2- .* and a@7-8 .* overlap"),
        (["a.mp4,,,run", "a.mp4,7,8,walk"], r"a \('run'\) and a@7-8 \('walk'\) overlap"),
        (["a.mp4,0,9,run", "a.mp4,2,3,run", "a.mp4,9,10,run"], "line 2 and line 3"),
        (
            ["a.mp4,0,1,run", "a.mp4,0,1,walk"],
            r"line 2 and line 3: a@0-1 \('run'\) and a@0-1 \('walk'\) overlap",
        ),
        (["a.mp4,4,3,run"], r"line 2: start \(4\) must not be after end \(3\)"),
        (["a.mp4,0:03,9,run"], "line 2: start '0:03' must be a number of seconds"),
        (["a.mp4,0,1,"], "line 2: path and label must not be empty"),
    ],
)
def test_rows_that_cannot_be_are_refused_with_their_lines(
    tmp_path: Path, rows: list[str], reason: str
) -> None:
    with pytest.raises(DatasetError, match=rf"labels\.csv, {reason}|labels\.csv.*{reason}"):
        open_annotations(write_rows(tmp_path, *rows))


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (("ann,train", "bob,train"), "a has two groups, 'ann' and 'bob'; a recording is used as"),
        (("ann,train", "ann,test"), "a has two splits, 'train' and 'test'; a recording is used"),
    ],
)
def test_a_recording_stands_on_one_side(
    tmp_path: Path, cells: tuple[str, str], reason: str
) -> None:
    rows = [f"a.mp4,{i},{i + 1},run,{cell}" for i, cell in enumerate(cells)]
    file = write_rows(tmp_path, *rows, headings=HEADINGS + ",group,split")
    with pytest.raises(DatasetError, match=f"line 2 and line 3: {reason}"):
        open_annotations(file)


def test_two_recordings_have_two_names(tmp_path: Path) -> None:
    """Their parts differ, and their entries in a store would be one."""
    for name in ("a.mp4", "a.mkv"):
        (tmp_path / name).touch()
    with pytest.raises(DatasetError, match="share the name 'a'; rename one"):
        open_annotations(write_rows(tmp_path, "a.mp4,0,1,run", "a.mkv,1,2,walk"))


def test_background_is_all_time_without_a_label(tmp_path: Path) -> None:
    file = write_rows(tmp_path, "a.mp4,1,2,run", f"a.mp4,4,5,{BACKGROUND}", "b.mp4,,,walk")
    dataset = open_annotations(file, background=True)
    assert dataset.labels == (BACKGROUND, "run", "walk")
    assert [(clip.key, clip.label) for clip in dataset.clips if clip.label != "walk"] == [
        ("a@-1", BACKGROUND),
        ("a@1-2", "run"),
        ("a@2-4", BACKGROUND),
        ("a@4-5", BACKGROUND),
        ("a@5-", BACKGROUND),
    ]


# Each step gets the label of its moment.

EIGHTHS = st.integers(0, 80)


@st.composite
def recordings_with_rows(draw: st.DrawFn) -> tuple[list[float], list[tuple[str, float, float]]]:
    """The times of a recording's steps, and rows (label, start, end) in any order."""
    times = sorted(draw(st.lists(EIGHTHS, min_size=1, max_size=30)))
    cuts = sorted(draw(st.sets(EIGHTHS, min_size=2, max_size=8)))
    labels = draw(st.lists(st.sampled_from(["", "a", "b"]), min_size=8, max_size=8))
    rows = [
        (label, start / 8, end / 8)
        for label, start, end in zip(labels, cuts, cuts[1:], strict=False)
        if label
    ]
    return [time / 8 for time in times], draw(st.permutations(rows))


@settings(max_examples=60)
@given(recordings_with_rows(), st.booleans())
def test_parts_hold_each_step_once_with_the_label_that_covers_it(
    drawn: tuple[list[float], list[tuple[str, float, float]]], background: bool
) -> None:
    times, rows = drawn
    other = BACKGROUND if background else UNLABELLED

    def label_at(time: float) -> str:
        return next((label for label, start, end in rows if start <= time < end), other)

    expected = [(time, label_at(time)) for time in times]
    with tempfile.TemporaryDirectory() as folder:
        # a second recording, so that one step has a label in any case
        lines = [f"v.mkv,{start},{end},{label}" for label, start, end in rows]
        file = write_rows(Path(folder), *lines, "w.mkv,,,c")
        store = write_entries(Path(folder) / "store", v=times, w=[0.0])
        dataset, sequences = load_parts(store, open_annotations(file, background=background))
        if not rows or not any(label for _, label in expected):  # nobody labelled a step of it
            assert list(sequences.recordings) == ["w"]
            return
        assert labels_of_steps(dataset, sequences, "v") == expected
        steps = [sequences.values[index][:, 0] for index in sequences.recordings["v"]]
        assert np.concatenate(steps).tolist() == list(range(len(times)))
        labelled = {clip.key for clip in sequences.clips if clip.label}
        assert {clip.key for clip in dataset.clips} == labelled
        assert [clip.key for clip in sequences.subset(dataset.clips).clips] == sorted(labelled)
        assert len(sequences.side(dataset.clips)) == len(sequences)


def test_parts_of_a_recording_without_annotations_are_one() -> None:
    assert Recording(Path("a"), "a", "a").parts == (Annotation(UNLABELLED),)


def test_a_rounded_bound_chooses_the_frames_that_it_chooses_of_a_clip(tmp_path: Path) -> None:
    """A third of a second is written as 0.3334: its frame begins the part all the same."""
    file = write_rows(tmp_path, "v.mkv,0.3334,0.6667,run", "w.mkv,0.6,0.7,walk")
    store = write_entries(tmp_path / "store", v=[0, 1 / 3, 2 / 3], w=[0, 0.6])
    dataset, sequences = load_parts(store, open_annotations(file))
    assert [label for _, label in labels_of_steps(dataset, sequences, "v")] == ["", "run", ""]


def test_each_part_has_the_fingerprint_of_its_recording(tmp_path: Path) -> None:
    for seed, name in enumerate("vw"):
        write_recording(tmp_path / f"{name}.mkv", ["red"] * 8, seed=seed)
    file = write_rows(tmp_path, "v.mkv,0,0.5,run", "v.mkv,0.5,0.75,walk", "w.mkv,0,1,run")
    _, sequences, _ = load(config_of(file), tmp_path / "run")
    by_recording = {
        key: {(sequences.fingerprints[i], sequences.digests[i]) for i in parts}
        for key, parts in sequences.recordings.items()
    }
    assert [len(found) for found in by_recording.values()] == [1, 1]
    assert not by_recording["v"] & by_recording["w"]


# Videos with clocks of their own.


def colours_of(values: NDArray[np.float32]) -> set[str]:
    """What the steps show: the backbone gives red, green and blue, about -1 to 1."""
    return {"red" if red > blue else "blue" for red, _, blue in values}


def test_a_variable_frame_rate_is_labelled_by_its_own_clock(tmp_path: Path) -> None:
    """The 3rd of 8 frames is shown in the middle of the time, not after a third of it."""
    times = [5.0, 5.125, 5.25, 6.5, 7.5, 7.625, 7.75, 7.875]
    colours = ["red"] * 3 + ["blue"] * 5
    write_recording(tmp_path / "v.mkv", colours, times)
    config = config_of(write_rows(tmp_path, "v.mkv,6.5,9,blue", "v.mkv,5,6.5,red"))
    dataset, sequences, _ = load(config, tmp_path / "run")
    assert len(sequences) == 2
    for clip, values in zip(sequences.clips, sequences.values, strict=True):
        assert colours_of(values) == {clip.label}
    steps = labels_of_steps(dataset, sequences, "v")
    assert len(steps) == 12  # 4 a second from 5 to 7.75
    assert {time for time, _ in steps} <= set(times)


@pytest.mark.realdata
def test_a_clock_that_does_not_begin_at_0_is_kept(real_data: Path, tmp_path: Path) -> None:
    video = shutil.copy(real_data / "odd_videos" / "test_non_zero_start.mp4", tmp_path)
    name = Path(video).name
    rows = [f"{name},8.4,8.6,late", f"{name},,8.4,early"]
    config = config_of(write_rows(tmp_path, *rows))
    config = replace(config, sampling=replace(config.sampling, rate_fps=30.0))
    dataset, sequences, _ = load(config, tmp_path / "run")
    steps = labels_of_steps(dataset, sequences, Path(name).stem)
    assert [label for _, label in steps] == ["early"] * 3 + ["late"] * 6 + [UNLABELLED] * 3
    assert steps[0][0] == pytest.approx(8.333, abs=1e-3)
    begun_at_0 = config_of(write_rows(tmp_path, f"{name},0,0.2,early", f"{name},0.2,0.4,late"))
    with pytest.raises(DatasetError, match=r"no step .* goes from 8\.33.* on the clock of the"):
        load(begun_at_0, tmp_path / "run")


# What does not fit is said.


def test_annotations_without_a_step_are_left_out_with_a_note(tmp_path: Path) -> None:
    file = write_rows(
        tmp_path, "v.mkv,0,2,run", "v.mkv,2.1,2.2,walk", "v.mkv,2.5,3,walk", "v.mkv,90,91,run"
    )
    store = write_entries(tmp_path / "store", v=np.arange(16) / 4)
    dataset, sequences = load_parts(store, open_annotations(file))
    assert [clip.key for clip in dataset.clips] == ["v@0-2", "v@2.5-3"]
    assert len(sequences) == 4
    left_out, late = dataset.notes
    assert left_out.startswith("2 of 4 annotations are left out (the first: v@2.1-2.2): no step")
    assert "shorter than a step (0.25 s)" in left_out
    assert late.startswith("1 annotations end after the last frame of their recording (the first:")
    assert "v@90-91; it ends before 4 s" in late


@pytest.mark.parametrize(
    ("first_step", "start", "told"),
    [(0, -3, True), (0, -0.2, True), (0, -0.05, False), (8.5, 8.3, False), (8.5, 0, True)],
)
def test_an_annotation_that_begins_before_its_recording_is_named(
    tmp_path: Path, first_step: float, start: float, told: bool
) -> None:
    store = write_entries(tmp_path / "store", v=first_step + np.arange(16) / 4)
    dataset = open_annotations(write_rows(tmp_path, f"v.mkv,{start},{first_step + 2},run"))
    assert [note for note in load_parts(store, dataset)[0].notes if "before the first" in note] == [
        f"1 annotations begin before the first frame of their recording (the first: "
        f"v@{start}-{first_step + 2}; it begins at {first_step:g} s): they count from there; write "
        "seconds on the clock of the video"
    ] * told


def test_an_annotation_may_end_where_the_last_frame_does(tmp_path: Path) -> None:
    """The last step is up to a step old when the video ends, and rounding adds a little."""
    store = write_entries(tmp_path / "store", v=np.arange(16) / 4)
    for end, notes in ((4.25, 0), (4.26, 1)):
        dataset = open_annotations(write_rows(tmp_path, f"v.mkv,0,{end},run"))
        assert len(load_parts(store, dataset)[0].notes) == notes


def test_gaps_without_a_step_are_not_worth_a_note(tmp_path: Path) -> None:
    """Background before the first frame, between touching rows, and behind the end."""
    file = write_rows(tmp_path, "v.mkv,0,2.1,run", "v.mkv,2.2,8.2,walk")
    store = write_entries(tmp_path / "store", v=np.arange(33) / 4)
    found = open_annotations(file, background=True)
    dataset, sequences = load_parts(store, found)
    assert dataset.labels == ("run", "walk")
    assert sequences.targets.tolist() == [0, 1]
    assert dataset.notes == ()
    require_no_class_lost(found, dataset, [])


def test_a_class_without_a_step_is_refused(tmp_path: Path) -> None:
    file = write_rows(tmp_path, "v.mkv,0,2,run", "v.mkv,2.1,2.2,walk")
    store = write_entries(tmp_path / "store", v=np.arange(16) / 4)
    found = open_annotations(file)
    with pytest.raises(DatasetError, match="no step falls into an annotation of class 'walk'"):
        require_no_class_lost(found, load_parts(store, found)[0], [])


@pytest.mark.parametrize("times", [[0.0, 1.0, 0.5], [0.0, np.nan, 1.0]])
def test_times_that_do_not_rise_are_refused(tmp_path: Path, times: list[float]) -> None:
    store = write_entries(tmp_path / "store", v=times)
    dataset = open_annotations(write_rows(tmp_path, "v.mkv,0,2,run"))
    with pytest.raises(FeatureError, match="the times of its steps do not rise"):
        load_parts(store, dataset)


@pytest.mark.parametrize(
    ("sampling", "shown"),
    [
        ({"num_frames": 16, "rate_fps": None}, "16 frames evenly"),
        ({"rate_fps": None}, "every frame"),
        ({"rate_fps": 4.0, "keyframes": True}, "4 key frames/s"),
    ],
)
def test_a_sampling_without_a_rate_is_refused(
    tmp_path: Path, sampling: dict[str, Any], shown: str
) -> None:
    write_recording(tmp_path / "v.mkv", ["red"] * 8)
    config = config_of(write_rows(tmp_path, "v.mkv,0,1,run"))
    config = replace(config, sampling=replace(config.sampling, **sampling))
    with pytest.raises(ConfigError, match=rf"annotations: .* is {shown}; set sampling\.rate_fps=4"):
        load(config, tmp_path / "run")


def test_a_recording_that_cannot_be_read_is_left_out_whole(tmp_path: Path) -> None:
    write_recording(tmp_path / "v.mkv", ["red"] * 16)
    (tmp_path / "w.mkv").write_text("This is not a video.\n" * 100)
    rows = ["v.mkv,0,1,run", "w.mkv,0,1,run", "w.mkv,1,2,walk"]
    config = config_of(write_rows(tmp_path, *rows))
    dataset, sequences, failures = load(config, tmp_path / "run")
    assert [failure.key for failure in failures] == ["w"]
    assert [clip.key for clip in sequences.clips] == ["v@0-1", "v@1-"]
    with pytest.raises(DatasetError, match=r"class 'walk' has no video .*w\.mkv"):
        require_no_class_lost(open_dataset(config.data), dataset, failures)


# Stores.


def test_a_store_of_clips_and_one_of_recordings_are_not_mixed_up(tmp_path: Path) -> None:
    """The same file read as a manifest and as annotations: each finds its own entries."""
    write_recording(tmp_path / "v.mkv", ["red"] * 8 + ["blue"] * 8)
    file = write_rows(tmp_path, "v.mkv,0.125,1,red", "v.mkv,1,2,blue")
    as_parts = config_of(file, features=str(tmp_path / "store"))
    as_clips = config_of(file, features=str(tmp_path / "store"), layout="manifest")
    for config in (as_parts, as_clips, as_parts, as_clips):
        dataset, sequences, _ = load(config, tmp_path / "run")
        first = sequences.subset(dataset.clips[:1]).values[0]
        # a clip begins with its first frame, a recording's steps lie between
        assert (dataset.clips[0].key, len(first)) == ("v@0.125-1", 3 + (config is as_clips))
    keys = FeatureStore.open(tmp_path / "store").keys()
    assert keys == ["v", "v@0.125-1", "v@1-2"]


def test_imported_features_of_recordings_are_found_by_their_names(tmp_path: Path) -> None:
    arrays = {name: np.arange(8 * 2).reshape(8, 2) for name in ("v", "w")}
    np.savez(tmp_path / "features.npz", **arrays)
    rows = ["v.mkv,0,1,run", "v.mkv,1.5,2,walk", "x.mkv,0,1,run", "w.mkv,0,2,walk"]
    config = config_of(write_rows(tmp_path, *rows), features=str(tmp_path / "store"))
    import_features(tmp_path / "features.npz", tmp_path / "store", rate_fps=4.0)
    dataset, sequences, absent = load(config, tmp_path / "run")
    assert [failure.reason for failure in absent] == ["x: has no entry"]
    assert labels_of_steps(dataset, sequences, "v") == [
        (step / 4, label)
        for step, label in enumerate(["run"] * 4 + [UNLABELLED] * 2 + ["walk"] * 2)
    ]
    assert "v and w are one video" not in str(dataset.notes)  # they are labelled differently
    assert dataset.groups == ("v",)  # and are the same features all the same


def test_imported_features_without_a_rate_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "features.npz", v=np.arange(8.0).reshape(4, 2))
    import_features(tmp_path / "features.npz", tmp_path / "store")
    file = write_rows(tmp_path, "v.mkv,0,1,run")
    config = config_of(file, features=str(tmp_path / "store"))
    imported = FeatureStore.open(tmp_path / "store").provenance
    backbone = BackboneConfig(name=imported.backbone)
    config = replace(config, backbone=backbone, sampling=imported.sampling)
    with pytest.raises(ConfigError, match="import the features again with --rate-fps"):
        load(config, tmp_path / "run")


# Groups and folds.


def test_folds_hold_whole_recordings(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.mkv").touch()
    rows = [f"{n}.mkv,{i},{i + 1},{'rw'[i % 2]}" for n in "abc" for i in range(6)]
    config = config_of(write_rows(tmp_path, *rows), split="leave_one_group_out")
    dataset = open_dataset(config.data)
    assert not dataset.grouped
    folds = make_folds(dataset, config.data)
    assert [fold.name for fold in folds] == ["a", "b", "c"]
    for fold in folds:
        assert {clip.video_key for clip in fold.test} == {fold.name}
        assert len(fold.test) == 6
        assert len(fold.train) == 12
    assert describe_split(dataset, config.data, folds) == "labels: each video left out in turn"


def test_copies_of_a_recording_are_one_group(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.mkv", ["red"] * 8)
    shutil.copy(tmp_path / "a.mkv", tmp_path / "b.mkv")
    write_recording(tmp_path / "c.mkv", ["blue"] * 8)
    rows = ["a.mkv,0,1,run", "b.mkv,0,1,run", "b.mkv,1,2,walk", "c.mkv,0,1,run"]
    dataset = open_dataset(config_of(write_rows(tmp_path, *rows)).data)
    assert dataset.continuous
    assert [one.group for one in dataset.recordings] == ["a", "a", "c"]
    assert "1 of 4 clips are copies of others (a@0-1 and b@0-1 are one video)" in dataset.notes[0]


def test_missing_recordings_are_named(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.mkv", ["red"] * 8)
    file = write_rows(tmp_path, "a.mkv,0,1,run", "b.mkv,0,1,run")
    notes = open_dataset(config_of(file, unlabelled="background").data).notes
    assert any(
        "1 of 2 recordings are left out, as their files do not exist" in note for note in notes
    )


# Marks of other tools.


def marks_of(*marks: Mark, **looked_at: tuple[tuple[float, float], ...]) -> Marks:
    return Marks(Path("marks"), "any", marks, {f"{k}.mp4": v for k, v in looked_at.items()})


def dataset_of(marks: Marks, *, background: bool = False) -> Dataset:
    return make_dataset(marks, VideoNames(Path()), background=background)


def test_background_is_only_where_somebody_looked() -> None:
    marks = marks_of(
        Mark("run", 2, 3, "a.mp4"), Mark("run", 1, 2, "b.mp4"), a=((0, 2.5), (4, 6)), c=((1, 2),)
    )
    found = {
        one.key: [(part.label, part.suffix) for part in one.parts]
        for one in dataset_of(marks, background=True).recordings
    }
    assert found == {
        "a": [
            (UNLABELLED, "@-0"),
            (BACKGROUND, "@0-2"),
            ("run", "@2-3"),
            (UNLABELLED, "@3-4"),
            (BACKGROUND, "@4-6"),
            (UNLABELLED, "@6-"),
        ],
        "b": [(BACKGROUND, "@-1"), ("run", "@1-2"), (BACKGROUND, "@2-")],
        "c": [(UNLABELLED, "@-1"), (BACKGROUND, "@1-2"), (UNLABELLED, "@2-")],
    }


def test_points_take_no_part_and_are_counted() -> None:
    dataset = dataset_of(marks_of(Mark("run", 0, 1, "a.mp4"), Mark("hop", 4, 4, "a.mp4")))
    assert dataset.labels == ("run",)
    assert dataset.notes == (
        "1 marks are points without a length, and take no part (the first: hop at 4 s)",
    )


def test_subjects_that_act_at_once_are_to_be_chosen() -> None:
    marks = marks_of(Mark("run", 0, 2, "a.mp4", "ann"), Mark("sit", 1, 3, "a.mp4", "bob"))
    with pytest.raises(DatasetError, match=r"'run', subject ann\).*'sit', subject bob\) overlap"):
        dataset_of(marks)


def test_only_points_are_no_data_set() -> None:
    with pytest.raises(DatasetError, match="holds no interval with a label"):
        dataset_of(marks_of(Mark("hop", 4, 4, "a.mp4")))
