"""DeepEthogram's CSV: behaviours overlap, and -1 is not background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.datasets.annotations.deepethogram import (
    is_deepethogram,
    read_deepethogram,
    write_deepethogram,
)
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError

AT_10 = ReadOptions(rate_fps=10)


def write(folder: Path, *rows: str, header: str = ",background,swim,turn") -> Path:
    file = folder / "fish_labels.csv"
    lines = [header, *(f"{index},{row}" for index, row in enumerate(rows))]
    file.write_bytes("\r\n".join(lines).encode())
    return file


def spans(marks: Marks) -> list[tuple[str, float | None, float | None]]:
    return [(mark.label, mark.start_seconds, mark.end_seconds) for mark in marks.marks]


def test_behaviours_overlap_and_background_is_no_mark(tmp_path: Path) -> None:
    file = write(tmp_path, "1,0,0", "0,1,0", "0,1,1", "0,0,1", "1,0,0")
    assert is_deepethogram(file, file.read_bytes().decode())
    marks = read_deepethogram(file, AT_10)
    assert spans(marks) == [("swim", 0.1, 0.3), ("turn", 0.2, 0.4)]
    assert marks.marks[0].video == "fish"
    assert marks.marks[0].where == "frames 1-2"
    assert marks.looked_at == {"fish": ((0.0, 0.5),)}
    assert marks.notes == ("2 frames of background are no marks: it is what no behaviour holds",)


def test_frames_that_nobody_looked_at_are_neither_background_nor_marks(tmp_path: Path) -> None:
    rows = ["-1,-1,-1", "0,1,0", "0,1,0", "-1,1,-1", "0,1,0", "-1,-1,-1"]
    marks = read_deepethogram(write(tmp_path, *rows), AT_10)
    assert spans(marks) == [("swim", 0.1, 0.3), ("swim", 0.4, 0.5)]
    assert marks.looked_at == {"fish": ((0.1, 0.3), (0.4, 0.5))}
    assert "3 of 6 frames were not looked at (-1)" in marks.notes
    assert "1 of these have a behaviour beside the -1, which is dropped" in marks.notes


def test_a_file_that_nobody_filled_in_was_not_looked_at(tmp_path: Path) -> None:
    marks = read_deepethogram(write(tmp_path, *["-1,-1,-1"] * 3), AT_10)
    assert (marks.marks, marks.looked_at) == ((), {"fish": ()})


def test_a_background_that_does_not_fit_and_short_gaps_are_told(tmp_path: Path) -> None:
    rows = ["0,0,0", "1,1,0", "0,0,1", "0,1,0"]
    marks = read_deepethogram(write(tmp_path, *rows), AT_10)
    assert spans(marks) == [("swim", 0.1, 0.2), ("turn", 0.2, 0.3), ("swim", 0.3, 0.4)]
    assert marks.notes[1].startswith("2 frames have background and a behaviour, or neither")
    assert marks.notes[2] == "1 gaps of a single frame divide a behaviour; they are kept"


def test_labels_are_chosen_and_other_spellings_are_read(tmp_path: Path) -> None:
    header = 'Unnamed: 0,"swim, slowly",background,turn'
    file = write(tmp_path, "1.0,0.0,0.0", "0,0,1", header=header)
    marks = read_deepethogram(file, ReadOptions(rate_fps=10, labels=("swim, slowly",)))
    assert spans(marks) == [("swim, slowly", 0.0, 0.1)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0,1,0", "0,0.5,1"], r"line 3: swim is '0\.5'; 1 \(present\), 0 \(absent\) or -1"),
        (["0,1,0", "0,1"], "line 3: has 3 cells, the header 4"),
        (["0,1,0", "0,,1"], "swim is ''"),
        (["0,1,0", "0,nan,1"], "swim is 'nan'"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_deepethogram(write(tmp_path, *rows), AT_10)


def test_missing_frames_names_and_rows_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "0,1,0", "0,1,0")
    file.write_text(file.read_text().replace("\n1,", "\n2,"))
    with pytest.raises(DatasetError, match="line 3: is frame '2'; 1 is expected"):
        read_deepethogram(file, AT_10)
    twice = write(tmp_path, "0,1,0", header=",background,swim,swim")
    with pytest.raises(DatasetError, match="two columns have one name"):
        read_deepethogram(twice, AT_10)
    with pytest.raises(DatasetError, match="holds no frame below its header"):
        read_deepethogram(write(tmp_path), AT_10)
    with pytest.raises(DatasetError, match="there is no fish in"):
        read_deepethogram(write(tmp_path, "0,1,0"), ReadOptions())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "path,start,end,label\na,0,1,b\n",
        "Time,Light,Behaviour\n0,,\n",
        ",swim,turn\n0,1,0\n",
        ",background,swim\n0,yes,no\n",
        ",background\n0,1\n",
    ],
)
def test_other_tables_are_not_taken_for_it(tmp_path: Path, text: str) -> None:
    assert not is_deepethogram(tmp_path / "a.csv", text)
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(DatasetError, match="is not of DeepEthogram's form"):
        read_deepethogram(file, AT_10)


NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)


@given(
    st.lists(NAMES.filter(lambda name: name != "background"), min_size=1, max_size=4, unique=True),
    st.integers(0, 2**32 - 1),
    st.sampled_from([10.0, 29.97]),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], seed: int, rate: float
) -> None:
    rng = np.random.default_rng(seed)
    marks, frames = [], int(rng.integers(20, 60))
    seen = (int(rng.integers(0, 5)), int(rng.integers(15, frames + 1)))
    for name in names:
        edges = np.sort(rng.choice(np.arange(seen[0], seen[1] + 1), 4, replace=False)) / rate
        marks += [Mark(name, float(a), float(b), "fish") for a, b in edges.reshape(2, 2)]
    marks.sort(key=lambda mark: mark.start_seconds or 0)
    file = tmp_path_factory.mktemp("round") / "fish_labels.csv"
    looked_at = {"fish": ((seen[0] / rate, seen[1] / rate),)}
    source = Marks(file, "test", tuple(marks), looked_at)
    assert write_deepethogram(source, file, rate, frames / rate) == ()
    back = read_deepethogram(file, ReadOptions(rate_fps=rate))
    assert sorted(back.marks, key=repr) == sorted(marks, key=repr)
    assert back.looked_at == looked_at


def test_what_the_table_cannot_hold_is_told_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "fish_labels.csv"
    marks = (
        Mark("swim", 0.0, 0.2, "fish", subject="A"),
        Mark("background", 0.2, 0.3, "fish"),
        Mark("turn", 0.3, 0.3, "fish"),
    )
    source = Marks(file, "test", marks, duration_seconds={"fish": 0.4})
    assert write_deepethogram(source, file, 10) == (
        "not written: the subjects of 1 marks",
        "not written: 1 points, which have no length",
        "1 marks of background are written as what no behaviour holds",
        "2 frames have no label and are written as background: nobody said where they looked",
    )
    header, first, *_, last = file.read_text().split()
    assert (header, first, last) == (",background,swim,turn", "0,0,1,0", "3,1,0,0")
    nameless = Marks(file, "test", (Mark("", 0.0, 1.0, "a"),), duration_seconds={"a": 1.0})
    with pytest.raises(DatasetError, match="a label is empty; a column needs a name"):
        write_deepethogram(nameless, file, 10)


def test_labels_where_nobody_looked_are_told(tmp_path: Path) -> None:
    file = tmp_path / "fish_labels.csv"
    source = Marks(file, "test", (Mark("swim", 0.0, 0.4, "fish"),), {"fish": ((0.0, 0.2),)})
    notes = write_deepethogram(source, file, 10, 0.4)
    assert notes == ("not written: 2 frames with a label where nobody looked (-1)",)
    assert file.read_text().split()[-1] == "3,-1,-1"


@pytest.mark.realdata
def test_a_real_file(real_data: Path) -> None:
    folder = real_data / "annotations" / "deepethogram"
    file = folder / "deep_ethogram_labels_first300.csv"
    marks = read_deepethogram(file, ReadOptions(rate_fps=30))
    assert len(marks.marks) == 26
    assert marks.looked_at == {file.stem: ((0.0, 10.0),)}
    assert [note.split()[0] for note in marks.notes] == ["2", "3"]
    assert {(mark.label, mark.start_seconds) for mark in marks.marks} >= {
        ("Swim", 0.0),
        ("Turn", 0.0),
        ("VerticalSwimming", 0.0),
    }
