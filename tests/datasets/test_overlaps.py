"""Overlapping annotations: recordings are cut at each begin and end; a part has a set of labels."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.config import DataConfig
from actionrnn.datasets.annotations.dataset import make_dataset
from actionrnn.datasets.annotations.formats import read_annotations
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.datasets.parts import load_parts
from actionrnn.datasets.recordings import BACKGROUND, IGNORE, Annotation, Dataset, Recording
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import make_folds, open_dataset
from actionrnn.datasets.video_names import VideoNames
from actionrnn.errors import DatasetError
from actionrnn.features.provenance import Features
from actionrnn.features.store import FeatureStore
from tests.tiny import tiny_provenance

Row = tuple[str, float | None, float | None]


def write_rows(folder: Path, *rows: str) -> Path:
    file = folder / "labels.csv"
    file.write_text("\n".join(["path,start,end,label", *rows, ""]), encoding="utf-8")
    return file


def open_annotations(file: Path, *, background: bool = False, multi_label: bool = False) -> Dataset:
    """The recordings, of which none has to exist."""
    marks = read_annotations(file, ReadOptions())
    videos = VideoNames(file.parent)
    return make_dataset(marks, videos, background=background, multi_label=multi_label)


def recording(*rows: Row) -> Recording:
    annotations = tuple(Annotation(*row) for row in rows)
    return Recording(Path("v.mkv"), "v", "v", None, annotations)


def load(folder: Path, dataset: Dataset, **times: list[float]) -> tuple[Dataset, Sequences]:
    store = FeatureStore.create(folder / "store", tiny_provenance())
    for key, pts in times.items():
        values = np.arange(len(pts), dtype=np.float32)[:, None]
        store.write(key, Features(values, np.array(pts, np.float64), store.provenance))
    return load_parts(store, dataset)


def said_at(
    dataset: Dataset, sequences: Sequences, key: str
) -> list[tuple[float, set[str] | None]]:
    """Time and labels of each step of a recording; None: nobody looked."""
    assert sequences.label_sets is not None
    found: list[tuple[float, set[str] | None]] = []
    for index in sequences.recordings[key]:
        labels, target = None, sequences.targets[index]
        if target != IGNORE:
            chosen = np.flatnonzero(sequences.label_sets[target])
            labels = {dataset.labels[which] for which in chosen}
        found += [(time, labels) for time in sequences.pts_seconds[index].tolist()]
    return found


def test_a_recording_is_cut_at_each_begin_and_end() -> None:
    parts = recording(("walk", None, 4.0), ("wave", 2.0, 6.0), ("hop", 8.0, None)).elementary_parts
    assert [(part.label, part.start_seconds, part.end_seconds) for part, _ in parts] == [
        ("walk", None, 2.0),
        ("walk + wave", 2.0, 4.0),
        ("wave", 4.0, 6.0),
        ("", 6.0, 8.0),
        ("hop", 8.0, None),
    ]
    assert parts[1][1] == {"walk", "wave"}


def test_background_says_that_somebody_looked_and_gives_way_to_labels() -> None:
    parts = recording((BACKGROUND, 0.0, 9.0), ("walk", 2.0, 4.0)).elementary_parts
    assert [(part.label, set(labels)) for part, labels in parts] == [
        ("", set()),
        (BACKGROUND, set()),
        ("walk", {"walk"}),
        (BACKGROUND, set()),
        ("", set()),
    ]


def test_the_same_label_twice_is_on_until_the_last_of_them_ends() -> None:
    parts = recording(("walk", 0.0, 5.0), ("walk", 1.0, 2.0)).elementary_parts
    assert [part.label for part, _ in parts] == ["", "walk", "walk", "walk", ""]


def test_a_recording_is_filled_around_overlapping_annotations() -> None:
    filled = recording(("a", 1.0, 5.0), ("b", 2.0, 3.0), ("c", 6.0, 7.0)).with_background()
    spans = [
        (one.start_seconds, one.end_seconds)
        for one in filled.annotations
        if one.label == BACKGROUND
    ]
    assert spans == [(None, 1.0), (5.0, 6.0), (7.0, None)]


TIMES = st.integers(0, 24)
ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", BACKGROUND]), TIMES, TIMES).filter(
        lambda row: row[1] < row[2]
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(ROWS, st.lists(TIMES, min_size=1, max_size=25), st.booleans())
def test_each_step_has_the_labels_that_cover_it(
    rows: list[tuple[str, int, int]], steps: list[int], filled: bool
) -> None:
    def labels_at(step: int) -> set[str] | None:
        covering = {label for label, start, end in rows if start <= step < end}
        return covering - {BACKGROUND} if covering or filled else None

    times = [step / 8 for step in sorted(steps)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [f"v.mkv,{start / 8},{end / 8},{label}" for label, start, end in rows]
        # a second recording, so that one step has a label in any case
        file = write_rows(folder, *dict.fromkeys(lines), "w.mkv,,,z")
        opened = open_annotations(file, background=filled, multi_label=True)
        assert opened.labels == tuple(
            sorted({label for label, *_ in rows if label != BACKGROUND} | {"z"})
        )
        dataset, sequences = load(folder, opened, v=times, w=[0.0])
        expected = [(time, labels_at(round(8 * time))) for time in times]
        if "v" not in {recording.key for recording in dataset.recordings}:
            assert all(labels is None for _, labels in expected)
            return
        assert said_at(dataset, sequences, "v") == expected
        known = sequences.subset([clip for clip in dataset.clips if clip.video_key == "v"])
        assert known.lengths.sum() == sum(labels is not None for _, labels in expected)
        assert IGNORE not in known.targets
        assert len({row.tobytes() for row in sequences.label_sets}) == len(sequences.label_sets)


def test_overlap_is_refused_for_a_head_of_one_class(tmp_path: Path) -> None:
    file = write_rows(tmp_path, "a.mp4,0,5,walk", "a.mp4,3,8,wave")
    with pytest.raises(
        DatasetError, match=r"line 2 and line 3: .* overlap.*head\.multi_label=true"
    ):
        open_annotations(file)
    assert open_annotations(file, multi_label=True).labels == ("walk", "wave")


def test_two_labels_of_the_same_time_are_two_rows(tmp_path: Path) -> None:
    rows = ["a.mp4,0,5,walk", "a.mp4,0,5,wave", "a.mp4,0,5,walk"]
    file = write_rows(tmp_path, *rows)
    dataset = open_annotations(file, multi_label=True)
    assert [(clip.key, clip.label) for clip in dataset.clips] == [
        ("a@0-5", "walk"),
        ("a@0-5", "wave"),
    ]
    assert any("1 marks are there again" in note for note in dataset.notes)
    with pytest.raises(DatasetError, match=r"line 2 and line 3: .*head\.multi_label=true"):
        open_annotations(file)
    wave = [clip for clip in dataset.clips if clip.label == "wave"]
    assert dataset.keep(wave).labels == ("wave",)


def test_it_is_noted_that_nothing_says_when_no_class_is_on(tmp_path: Path) -> None:
    file = write_rows(tmp_path, "a.mp4,0,5,walk", "a.mp4,3,8,wave")
    told = "nothing teaches that no class is on"
    assert any(told in note for note in open_annotations(file, multi_label=True).notes)
    for dataset in (
        open_annotations(file, multi_label=True, background=True),
        open_annotations(
            write_rows(tmp_path, "a.mp4,0,5,walk", f"a.mp4,5,9,{BACKGROUND}"), multi_label=True
        ),
    ):
        assert not any(told in note for note in dataset.notes)


def marks_of(*marks: Mark, **looked_at: tuple[tuple[float, float], ...]) -> Marks:
    return Marks(Path("marks"), "any", marks, {f"{k}.mp4": v for k, v in looked_at.items()})


def test_no_class_is_on_only_where_somebody_looked() -> None:
    marks = marks_of(
        Mark("walk", 2, 5, "a.mp4"),
        Mark("wave", 4, 6, "a.mp4"),
        a=((0, 4.5), (5.5, 8)),
        b=((1, 2),),
    )
    dataset = make_dataset(marks, VideoNames(Path()), background=True, multi_label=True)
    assert dataset.labels == ("walk", "wave")
    found = {
        one.key: [(part.label, part.suffix) for part, _ in one.elementary_parts]
        for one in dataset.recordings
    }
    assert found == {
        "a": [
            ("", "@-0"),
            (BACKGROUND, "@0-2"),
            ("walk", "@2-4"),
            ("walk + wave", "@4-5"),
            ("wave", "@5-6"),
            (BACKGROUND, "@6-8"),
            ("", "@8-"),
        ],
        "b": [("", "@-1"), (BACKGROUND, "@1-2"), ("", "@2-")],
    }


def test_subjects_that_act_at_once_count_together_and_are_noted() -> None:
    marks = marks_of(Mark("run", 0, 2, "a.mp4", "ann"), Mark("run", 1, 3, "a.mp4", "bob"))
    dataset = make_dataset(marks, VideoNames(Path()), background=True, multi_label=True)
    parts = dataset.recordings[0].elementary_parts
    assert [part.label for part, _ in parts] == [BACKGROUND, "run", "run", "run", BACKGROUND]
    assert dataset.notes == (
        "2 subjects (ann, bob) count together: a label is on while any of them has it; "
        "data.subjects chooses",
    )


def data_of(file: Path, **fields: str) -> DataConfig:
    return DataConfig(layout="annotations", root=str(file), **fields)  # type: ignore[arg-type]


def test_one_label_is_enough_to_train_on_and_none_is_not(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    config = data_of(write_rows(tmp_path, "a.mp4,0,5,walk", "b.mp4,0,5,walk"))
    [fold] = make_folds(open_dataset(config, multi_label=True), config)
    assert (len(fold.train), len(fold.test)) == (1, 1)
    with pytest.raises(DatasetError, match="one class only"):
        make_folds(open_dataset(config), config)
    rows = [f"{name}.mp4,0,5,{BACKGROUND}" for name in "ab"]
    config = data_of(write_rows(tmp_path, *rows))
    with pytest.raises(DatasetError, match=f"no label but {BACKGROUND}"):
        make_folds(open_dataset(config, multi_label=True), config)


def test_copies_with_the_same_labels_do_not_disagree(tmp_path: Path) -> None:
    from tests.tiny import write_video

    video = write_video(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(video)
    rows = [f"{name}.mp4,0,5,{label}" for name in "ab" for label in ("walk", "wave")]
    config = data_of(write_rows(tmp_path, *rows), split="none")
    notes = open_dataset(config, multi_label=True).notes
    assert any("2 of 4 annotations are copies of others" in note for note in notes)
    assert not any("disagree" in note for note in notes)
    config = data_of(write_rows(tmp_path, *rows[:-1]), split="none")
    assert any("disagree" in note for note in open_dataset(config, multi_label=True).notes)
