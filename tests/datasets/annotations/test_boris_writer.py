"""What is written for BORIS: the same marks when they are read again, or a word about it."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.datasets.annotations.boris import read_boris
from actionrnn.datasets.annotations.boris_writer import write_boris
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError

names = st.text(
    st.one_of(st.sampled_from(",;\t\"'|\n\r #:é日🦊"), st.characters(codec="utf-8")), max_size=8
).filter(lambda text: "\0" not in text)
labels = names.filter(str.strip)
modifiers = st.lists(st.sampled_from(["m1", "None", "a,b", "ü"]), max_size=3).map("|".join)


@st.composite
def some_marks(draw: st.DrawFn) -> tuple[Mark, ...]:
    """Marks whose states of one kind follow each other, with gaps of 2 ms or more."""
    of_point = {label: draw(st.booleans()) for label in draw(st.sets(labels, min_size=1))}
    tiers = {label: draw(names) for label in of_point}
    clocks: dict[object, int] = defaultdict(int)
    marks = []
    for number in range(draw(st.integers(0, 12))):
        label = draw(st.sampled_from(sorted(of_point)))
        video, subject = draw(st.sampled_from(["", "a.mp4", "C:\\x;y\\ü, b.avi"])), draw(names)
        extra = {
            "observation": f"of {video}",
            "modifiers": draw(modifiers),
            "comment": draw(names),
            "age": "7",
        }
        start = clocks[video] + draw(st.integers(2, 5000))
        end = start if of_point[label] else start + draw(st.integers(1, 9000))
        clocks[video] = end
        if not of_point[label]:
            extra["comment stop"] = f"end {number}"
        kept = {key: value for key, value in extra.items() if value}
        marks.append(Mark(label, start / 1000, end / 1000, video, subject, tiers[label], kept))
    return tuple(marks)


@given(marks=some_marks(), suffix=st.sampled_from([".csv", ".tsv", ".boris"]))
def test_what_is_written_is_read_again(marks: tuple[Mark, ...], suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"out{suffix}")
        lengths = {"a.mp4": 61.5} if any(mark.video == "a.mp4" for mark in marks) else {}
        written = Marks(Path("in"), "", marks, duration_seconds=lengths)
        assert write_boris(written, file) == ()
        again = read_boris(file, ReadOptions())
    key = (lambda mark: (mark.video, mark.start_seconds)) if suffix == ".boris" else (lambda _: 0)
    assert sorted(again.marks, key=key) == sorted(marks, key=key)  # type: ignore[arg-type]
    assert again.duration_seconds == lengths


def test_times_are_whole_milliseconds(tmp_path: Path) -> None:
    marks = Marks(
        Path("in"),
        "",
        (Mark("sit", 0.12345, 1.00051, "x/a.mp4"), Mark("sit", 2.0, 2.0001, "x/a.mp4")),
    )
    for name in ("a.csv", "a.boris"):
        assert write_boris(marks, tmp_path / name) == (
            "1 marks are shorter than a millisecond and last one",
        )
        again = read_boris(tmp_path / name, ReadOptions()).marks
        assert [(mark.start_seconds, mark.end_seconds) for mark in again] == [
            (0.123, 1.001),
            (2.0, 2.001),
        ]
        assert again[0].extra == {"observation": "a"}  # an observation has a name


def test_a_bound_that_is_the_videos_own(tmp_path: Path) -> None:
    marks = Marks(Path("in"), "", (Mark("sit", None, None, "a.mp4"),))
    with pytest.raises(DatasetError, match=r"sit lasts to the end of 'a\.mp4', and nothing says"):
        write_boris(marks, tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()
    write_boris(replace(marks, duration_seconds={"a.mp4": 9.5}), tmp_path / "a.csv")
    (mark,) = read_boris(tmp_path / "a.csv", ReadOptions()).marks
    assert (mark.start_seconds, mark.end_seconds) == (0.0, 9.5)


def test_what_only_a_table_can_hold(tmp_path: Path) -> None:
    overlap = Mark("sit", 1.0, 3.0, "a.mp4"), Mark("sit", 2.0, 4.0, "a.mp4")
    both = Mark("sit", 1.0, 3.0, "a.mp4"), Mark("sit", 5.0, 5.0, "a.mp4")
    for marks, message in (
        (overlap, r"sit at 1\.000 and at 2\.000 s in 'a\.mp4' overlap.*write \.csv"),
        (both, r"sit has a length in one mark and none in another.*write \.csv"),
    ):
        with pytest.raises(DatasetError, match=message):
            write_boris(Marks(Path("in"), "", marks), tmp_path / "a.boris")
        assert write_boris(Marks(Path("in"), "", marks), tmp_path / "a.tsv") == ()
        again = read_boris(tmp_path / "a.tsv", ReadOptions()).marks
        assert [(one.start_seconds, one.end_seconds) for one in again] == [
            (one.start_seconds, one.end_seconds) for one in marks
        ]


def test_states_that_touch_are_held_by_a_project(tmp_path: Path) -> None:
    marks = Mark("sit", 1.0, 2.0, "a.mp4"), Mark("sit", 2.0, 3.0, "a.mp4")
    write_boris(Marks(Path("in"), "", marks), tmp_path / "a.boris")
    again = read_boris(tmp_path / "a.boris", ReadOptions()).marks
    assert [(mark.start_seconds, mark.end_seconds) for mark in again] == [(1.0, 2.0), (2.0, 3.0)]


def test_what_a_project_loses_is_told(tmp_path: Path) -> None:
    marks = (
        Mark("sit", 1.0, 2.0, "a.mp4", tier="left", extra={"age": "7"}),
        Mark("sit", 3.0, 4.0, "a.mp4", tier="right"),
        Mark("", 3.0, 4.0, "a.mp4"),
        Mark("sit", 9.0, 8.0, "a.mp4"),
    )
    notes = write_boris(Marks(Path("in"), "", marks), tmp_path / "a.boris")
    assert [note.split(" ", 1)[1][:22] for note in notes] == [
        "marks end before they b"[:22],
        "marks have no label and"[:22],
        "labels are in several t"[:22],
        "'a': columns differ bet"[:22],
    ]


def test_where_somebody_looked_is_the_interval_of_a_project(tmp_path: Path) -> None:
    looked_at = {"a.mp4": ((1.0, 5.5),), "empty.mp4": ((0.0, 9.0),)}
    marks = Marks(Path("in"), "", (Mark("sit", 2.0, 3.0, "a.mp4"),), looked_at)
    assert write_boris(marks, tmp_path / "a.boris") == ()
    assert read_boris(tmp_path / "a.boris", ReadOptions()).looked_at == looked_at
    assert write_boris(marks, tmp_path / "a.csv") == (
        "where somebody looked is not written; a project (.boris) holds an interval",
    )


def test_a_project_has_what_boris_needs_to_open_it(tmp_path: Path) -> None:
    marks = Mark("sit", 1.0, 2.0, "x/a.mp4", "ann", "posture"), Mark("call", 3.0, 3.0, "x/a.mp4")
    write_boris(Marks(Path("in"), "", marks), tmp_path / "day 1.boris")
    project = json.loads((tmp_path / "day 1.boris").read_text("utf-8"))
    assert project["project_format_version"] == "7.0"
    assert [
        (one["code"], one["type"], one["category"], one["key"])
        for one in project["behaviors_conf"].values()
    ] == [("sit", "State event", "posture", "a"), ("call", "Point event", "", "b")]
    assert [one["name"] for one in project["subjects_conf"].values()] == ["ann"]
    assert project["behavioral_categories"] == ["posture"]
    (observation,) = project["observations"].values()
    assert observation["file"] == {"1": ["x/a.mp4"]}
    assert observation["events"] == [
        [1.0, "ann", "sit", "", ""],
        [2.0, "ann", "sit", "", ""],
        [3.0, "", "call", "", ""],
    ]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"name it \.boris \(a project\), \.csv or \.tsv"):
        write_boris(Marks(Path("in"), "", ()), tmp_path / "a.xlsx")


@pytest.mark.realdata
def test_real_files_go_round(real_data: Path, tmp_path: Path) -> None:
    read = 0
    for file in sorted((real_data / "annotations" / "boris").iterdir()):
        try:
            marks = read_boris(file, ReadOptions())
        except DatasetError:
            continue
        read += 1
        write_boris(marks, tmp_path / "a.csv")
        assert read_boris(tmp_path / "a.csv", ReadOptions()).marks == marks.marks
        write_boris(marks, tmp_path / "a.boris")
        again = read_boris(tmp_path / "a.boris", ReadOptions()).marks
        assert sorted(map(shown, again)) == sorted(map(shown, marks.marks))
    assert read == 16


def shown(mark: Mark) -> str:
    """All but the observation's name, which has to be unique in a project, and the columns."""
    own = {key: mark.extra.get(key) for key in ("modifiers", "comment", "comment stop")}
    return repr(replace(mark, extra=own, where=""))
