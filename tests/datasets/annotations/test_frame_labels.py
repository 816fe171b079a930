"""One label a line: runs of equal labels are half open, by a rate or the video's own times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.datasets.annotations.frame_labels import (
    is_frame_labels,
    read_frame_labels,
    read_mapping,
    write_frame_labels,
)
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError
from actionrnn.video.writer import VideoWriter

AT_10 = ReadOptions(rate_fps=10)
LINES = ["SIL", "SIL", "pour_milk", "pour_milk", "pour_milk", "SIL"]


def write(folder: Path, text: str, name: str = "P1_milk.txt") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
    return file


def spans(marks: Marks) -> list[tuple[str, float | None, float | None]]:
    return [(mark.label, mark.start_seconds, mark.end_seconds) for mark in marks.marks]


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
@pytest.mark.parametrize("between", ["\n", "\r\n", "\r"])
def test_the_last_line_counts_with_and_without_its_end(
    tmp_path: Path, between: str, end: str
) -> None:
    file = write(tmp_path, between.join(LINES) + end.replace("\n", between))
    assert is_frame_labels(file, file.read_bytes().decode())
    marks = read_frame_labels(file, AT_10)
    assert spans(marks) == [("SIL", 0.0, 0.2), ("pour_milk", 0.2, 0.5), ("SIL", 0.5, 0.6)]
    assert {mark.video for mark in marks.marks} == {"P1_milk"}
    assert marks.looked_at == {"P1_milk": ((0.0, 0.6),)}
    assert [mark.where for mark in marks.marks] == ["lines 1-2", "lines 3-5", "lines 6-6"]
    assert marks.notes == ()


def test_without_a_rate_the_video_tells_the_times(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "P1_milk.mp4", time_base=Fraction(1, 1000)) as writer:
        for time_ms in (0, 100, 150, 400):
            writer.write(np.zeros((32, 48, 3), np.uint8), time_ms)
    marks = read_frame_labels(write(tmp_path, "a\na\nb\n"), ReadOptions())
    assert spans(marks) == [
        ("a", 0.0, pytest.approx(0.15)),
        ("b", pytest.approx(0.15), pytest.approx(0.4)),
    ]
    assert marks.looked_at["P1_milk"][0][1] == pytest.approx(0.4)  # the video is longer
    with pytest.raises(DatasetError, match="marks frame 5 of P1_milk, which has 4 frames"):
        read_frame_labels(write(tmp_path, "a\na\nb\nb\nb"), ReadOptions())
    with pytest.raises(DatasetError, match="counts frames, and there is no P2"):
        read_frame_labels(write(tmp_path, "a\na", "P2.txt"), ReadOptions())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; one label a frame is expected"),
        ("a\n\nb\n", "line 2: is ''; one label without blanks is expected"),
        ("a\n0 SIL\n", "line 2: is '0 SIL'; one label"),
        ("a\0b", "is not text; save it as UTF-8"),
    ],
)
def test_what_is_no_label_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_frame_labels(write(tmp_path, text), AT_10)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mapping.txt", "0 SIL\n1 pour\n"),
        ("classes.txt", "SIL\npour\nstir\n"),  # a list repeats nothing
        ("split.txt", "#bundle\n./a.txt\n./b.txt\n"),
        ("a.csv", "a\na\n"),
        ("table.txt", "a,1\na,1\n"),
        ("salads.txt", "1 2 cut\n1 2 cut\n"),
        ("empty.txt", ""),
    ],
)
def test_other_text_is_not_taken_for_it(name: str, text: str) -> None:
    assert not is_frame_labels(Path(name), text)


def test_a_mapping_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, "0 SIL\r\n1 pour_milk", "mapping.txt")
    assert read_mapping(file) == {"SIL": 0, "pour_milk": 1}


@pytest.mark.parametrize("line", ["pour_milk", "one pour", "1 pour milk", "0 pour", "2 SIL", "² x"])
def test_a_mapping_of_another_form_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(DatasetError, match=r"mapping\.txt, line 2"):
        read_mapping(write(tmp_path, f"0 SIL\n{line}\n", "mapping.txt"))


@pytest.mark.parametrize("place", ["mapping.txt", "groundTruth/mapping.txt"])
def test_labels_that_the_mapping_beside_it_lacks_are_told(tmp_path: Path, place: str) -> None:
    write(tmp_path, "0 SIL\n1 stir\n", place)
    file = write(tmp_path, "\n".join(LINES), "groundTruth/P1.txt")
    (note,) = read_frame_labels(file, AT_10).notes
    assert note == f"labels that {tmp_path / place} lacks: pour_milk (3 frames)"
    write(tmp_path, "SIL\n", place)
    (note,) = read_frame_labels(file, AT_10).notes
    assert note.startswith("not compared with a mapping")


WORDS = st.text(st.characters(exclude_categories=("Cs", "Z", "Cc")), min_size=1, max_size=8)


@given(st.lists(WORDS, min_size=1, max_size=30), st.sampled_from([10.0, 15.0, 30000 / 1001]))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], rate: float
) -> None:
    file = write(tmp_path_factory.mktemp("round"), "\n".join(labels))
    options = ReadOptions(rate_fps=rate)
    marks = read_frame_labels(file, options)
    copy = file.with_name("copy") / file.name
    assert write_frame_labels(marks, copy, rate, len(labels) / rate) == ()
    back = read_frame_labels(copy, options)
    assert (back.marks, back.looked_at) == (marks.marks, marks.looked_at)


def marks_of(*marks: Mark, duration: float | None = 1.0) -> Marks:
    known = {} if duration is None else {"a.mp4": duration}
    return Marks(Path("in.csv"), "test", marks, duration_seconds=known)


def test_frames_without_a_label_are_filled_and_told(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    marks = marks_of(
        Mark("run", None, 0.2, "a.mp4", tier="t"),
        Mark("run", 0.52, 2.0, "a.mp4"),
        Mark("hit", 0.3, 0.3, "a.mp4"),
        Mark("hit", 0.31, 0.32, "a.mp4"),
    )
    assert write_frame_labels(marks, file, 10, filler="none") == (
        "not written: the tiers of 1 marks",
        "not written: 1 points, which have no length",
        "not written: 1 marks that hold no frame at 10 a second",
        "1 marks end after the video (1 s) and are cut there",
        "3 of 10 frames have no label and are written as none",
    )
    assert file.read_text().split("\n") == [*["run"] * 2, *["none"] * 3, *["run"] * 5, ""]


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (
            marks_of(Mark("run", 0.0, 0.5, "a.mp4"), Mark("jump", 0.3, 0.6, "a.mp4")),
            r"jump and run overlap at 0\.3 s, and a frame has one label",
        ),
        (marks_of(Mark("run fast", 0.0, 0.5, "a.mp4")), "'run fast' is not one word"),
        (marks_of(Mark("", 0.0, 0.5, "a.mp4")), "the label '' is not one word"),
        (
            marks_of(Mark("run", 0.0, 0.5, "a.mp4"), Mark("run", 0.0, 0.5, "b.mp4")),
            r"marks 2 videos \(a\.mp4, b\.mp4\); this format holds one a file",
        ),
        (
            marks_of(Mark("run", 0.0, 0.5, "a.mp4"), duration=None),
            r"the length of a\.mp4 is not known; .*say where the video is",
        ),
        (marks_of(Mark("run", 0.0, 0.5, "a.mp4"), duration=-1.0), r"a\.mp4 is -1 s"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, marks: Marks, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        write_frame_labels(marks, tmp_path / "a.txt", 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.realdata
def test_real_files(real_data: Path) -> None:
    folder = real_data / "annotations" / "mstcn_frames"
    known = read_mapping(folder / "breakfast" / "mapping.txt")
    assert (len(known), known["SIL"]) == (48, 0)
    frames = {}
    for file in sorted((folder / "breakfast" / "groundTruth").iterdir()):
        marks = read_frame_labels(file, ReadOptions(rate_fps=15))
        assert marks.notes == ()
        assert {mark.label for mark in marks.marks} <= set(known)
        frames[file.stem] = round(marks.looked_at[file.stem][0][1] * 15)
    assert list(frames.values()) == [544, 884, 362, 130]
    for file in sorted((folder / "havid_polyphony").iterdir()):
        marks = read_frame_labels(file, ReadOptions(rate_fps=1))
        assert marks.looked_at == {file.stem: ((0.0, 2300.0),)}
