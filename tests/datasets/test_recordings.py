"""Recordings with annotations, and the clips that training sees of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from actionrnn.config import DataConfig
from actionrnn.datasets.manifest import open_manifest
from actionrnn.datasets.recordings import Annotation, Dataset, Recording
from actionrnn.datasets.splits import make_folds
from actionrnn.errors import DatasetError

DAY = Recording(
    Path("day.mp4"),
    "day",
    "ann",
    "train",
    (Annotation("run", 20.0), Annotation("bend", 1.5, 20.0), Annotation("run", None, 1.5)),
)
(TRIMMED,) = Recording.trimmed(Path("a.mp4"), "a", "bend", "bob", "test").clips


def open_rows(folder: Path, *rows: str) -> Dataset:
    file = folder / "rows.csv"
    file.write_text("\n".join(["path,label,group,split,start,end", *rows]))
    return open_manifest(file)


def test_a_trimmed_clip_is_a_recording_with_one_annotation_over_all_of_it() -> None:
    assert TRIMMED.recording.annotations == (Annotation("bend"),)
    assert TRIMMED.recording.clips == (TRIMMED,)
    assert (TRIMMED.key, TRIMMED.video_key, TRIMMED.label) == ("a", "a", "bend")
    assert (TRIMMED.group, TRIMMED.split) == ("bob", "test")
    assert (TRIMMED.start_seconds, TRIMMED.end_seconds) == (None, None)


def test_clips_are_sorted_by_key() -> None:
    dataset = Dataset(Path("videos"), (DAY, TRIMMED.recording))
    assert [annotation.label for annotation in DAY.annotations] == ["run", "bend", "run"]
    assert [clip.key for clip in dataset.clips] == ["a", "day@-1.5", "day@1.5-20", "day@20-"]
    assert {clip.video_key for clip in dataset.clips} == {"a", "day"}
    assert (dataset.labels, dataset.groups) == (("bend", "run"), ("ann", "bob"))


def test_rows_of_one_video_are_one_recording(tmp_path: Path) -> None:
    rows = ["v.mp4,run,ann,train,10,20", "w.mp4,run,bob,test,,", "v.mp4,bend,ann,train,0,10"]
    first, second = open_rows(tmp_path, *rows).recordings
    assert first == Recording(
        tmp_path / "v.mp4",
        "v",
        "ann",
        "train",
        (Annotation("run", 10.0, 20.0), Annotation("bend", 0.0, 10.0)),
    )
    assert (second.key, second.annotations) == ("w", (Annotation("run"),))


def test_rows_of_one_video_on_both_sides_are_refused_as_one_group(tmp_path: Path) -> None:
    rows = ["v.mp4,run,,train,0,10", "w.mp4,bend,,train,,", "v.mp4,run,,test,10,20"]
    dataset = open_rows(tmp_path, *rows)
    assert [(one.key, one.split) for one in dataset.recordings] == [
        ("v", "train"),
        ("v", "test"),
        ("w", "train"),
    ]
    with pytest.raises(DatasetError, match="group 'v' is in training"):
        make_folds(dataset, DataConfig(split="given"))


def test_rows_that_name_two_groups_of_one_video_keep_them_and_a_note_says_so(
    tmp_path: Path,
) -> None:
    dataset = open_rows(tmp_path, "v.mp4,run,ann,,0,10", "v.mp4,run,bob,,10,20")
    assert [(clip.key, clip.group) for clip in dataset.clips] == [
        ("v@0-10", "ann"),
        ("v@10-20", "bob"),
    ]
    (note,) = dataset.notes
    assert "1 videos have rows of several groups (the first: v)" in note


def test_a_data_set_can_keep_some_clips_alone() -> None:
    dataset = Dataset(Path("videos"), (DAY, TRIMMED.recording), notes=("a note",))
    kept = dataset.keep(clip for clip in dataset.clips if clip.key in ("day@-1.5", "day@20-"))
    assert [clip.key for clip in kept.clips] == ["day@-1.5", "day@20-"]
    assert [recording.key for recording in kept.recordings] == ["day"]
    assert (kept.labels, kept.notes) == (("run",), ("a note",))
    with pytest.raises(DatasetError, match="holds no labelled video"):
        dataset.keep([])


def test_two_clips_of_one_key_are_refused() -> None:
    other = dataclasses.replace(TRIMMED.recording, path=Path("b.mp4"))
    with pytest.raises(DatasetError, match=r"a\.mp4 and b\.mp4 share the name 'a'; rename one"):
        Dataset(Path("videos"), (TRIMMED.recording, other))
