"""CSV with path, start, end, label: what is written is read back, whatever the names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.datasets.annotations.intervals_csv import read_intervals_csv, write_intervals_csv
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError

NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=8)
SECONDS = st.none() | st.floats(-1e6, 1e6)


@st.composite
def any_mark(draw: st.DrawFn) -> Mark:
    bounds = [draw(SECONDS), draw(SECONDS)]
    if None not in bounds:
        bounds.sort()
    extra = draw(st.dictionaries(st.sampled_from(["note", "who saw it"]), NAMES))
    subject = draw(st.just("") | NAMES)
    return Mark(draw(NAMES), *bounds, draw(NAMES), subject, draw(st.just("") | NAMES), extra)


def read(folder: Path, text: str) -> Marks:
    file = folder / "labels.csv"
    file.write_text(text, encoding="utf-8")
    return read_intervals_csv(file, ReadOptions())


@given(marks=st.lists(any_mark(), max_size=6))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, marks: list[Mark]
) -> None:
    file = tmp_path_factory.mktemp("csv") / "labels.csv"
    assert write_intervals_csv(Marks(file, "any", tuple(marks)), file) == ()
    assert read_intervals_csv(file, ReadOptions()).marks == tuple(marks)


def test_subject_and_tier_are_the_mark_s_and_other_columns_stay(tmp_path: Path) -> None:
    text = "path,start,end,label,subject,tier,weather\na.mp4,1,2.5,run,ann,left,rain\n"
    (mark,) = read(tmp_path, text).marks
    assert mark == Mark("run", 1, 2.5, "a.mp4", "ann", "left", {"weather": "rain"})
    assert mark.where == "line 2"


def test_a_row_without_a_length_is_a_point(tmp_path: Path) -> None:
    (mark,) = read(tmp_path, "path,start,end,label\na.mp4,3,3,jump\n").marks
    assert mark.is_point


def test_subjects_are_chosen_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("path,start,end,label,subject\na,0,1,run,ann\na,0,1,run,bob\n")
    (mark,) = read_intervals_csv(file, ReadOptions(subjects=("bob",))).marks
    assert mark.subject == "bob"
    with pytest.raises(DatasetError, match="has no subject 'eve'; there are ann, bob"):
        read_intervals_csv(file, ReadOptions(subjects=("eve",)))


def test_where_somebody_looked_is_not_lost_in_silence(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    marks = Marks(file, "any", (Mark("run", 0, 1, "a"),), {"a": ((0.0, 9.0),)})
    (note,) = write_intervals_csv(marks, file)
    assert "data.unlabelled" in note


@pytest.mark.parametrize("heading", ["start,duration", "from,to", "t0,t1", "end,length", "a,b"])
def test_start_and_end_must_both_be_there(tmp_path: Path, heading: str) -> None:
    """A mark without an end would last as long as its video."""
    with pytest.raises(DatasetError, match=r"has the columns .* and no (start|end)"):
        read(tmp_path, f"path,label,{heading}\na.mp4,run,1,2\n")


def test_words_that_mean_something_here_are_kept_and_mean_nothing(tmp_path: Path) -> None:
    extra = dict.fromkeys(("group", "split", "label", "Start", "subject", "path"), "x")
    file = tmp_path / "labels.csv"
    marks = Marks(file, "a tool", (Mark("run", 0, 1, "a.mp4", "ann", extra=extra),))
    write_intervals_csv(marks, file)
    (found,) = read_intervals_csv(file, ReadOptions()).marks
    assert (found.label, found.start_seconds, found.subject) == ("run", 0, "ann")
    assert found.extra == {f"{name} (of the file)": "x" for name in extra}


# Decimal commas, as spreadsheets write them.


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read_where_no_comma_separates(tmp_path: Path, separator: str) -> None:
    rows = ["path,start,end,label,weather", "a.mp4,1~5,2~25,run,rain", "a.mp4,3,,walk,7~5"]
    text = "\r\n".join(rows).replace(",", separator).replace("~", ",")
    found = read(tmp_path, text)
    assert [(one.start_seconds, one.end_seconds) for one in found.marks] == [(1.5, 2.25), (3, None)]
    assert [one.extra["weather"] for one in found.marks] == ["rain", "7,5"]
    assert found.notes == ("seconds are written with decimal commas",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "path;start;end;label\na.mp4;1,5;2;run\na.mp4;2.5;3;run\n",
            "decimal commas and points, start '1,5' in line 2 and start '2.5' in line 3; write all",
        ),
        ("path;start;end;label\na.mp4;0;1.234,5;run\n", "end '1.234,5' in line 2 and"),
        ("path;start;end;label\na.mp4;0;1,234,567;run\n", "end '1,234,567' must be a number"),
        ('path,start,end,label\na.mp4,"1,5",3,run\n', "start '1,5' must be .*; write a point"),
        ("path,start,end,label\na.mp4,1,5,3,run\n", "has more cells than the header; .*a point"),
        ("path,start,end,label\na.mp4,1_5,30,run\n", "start '1_5' must be a number of seconds$"),
    ],
)
def test_numbers_that_may_be_two_things_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
