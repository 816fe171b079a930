"""Praat's TextGrid in its long form, its short form, and with everything that Praat ignores."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionrnn.datasets.annotations.marks import Mark, ReadOptions
from actionrnn.datasets.annotations.textgrid import is_textgrid, read_textgrid
from actionrnn.errors import DatasetError

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5
tiers? <exists>
size = 2
item []:
    item[1]:
        class = "IntervalTier"
        name = "Hand ""left"""
        xmin = 0.5
        xmax = 2.5
        intervals: size = 3
        intervals [1]
            xmin = 0.5
            xmax = 1.25
            text = "říkej ""ahoj"""
        intervals [2]:
            xmin = 1.25
            xmax = 2
            text = ""
        intervals [3]:
            xmin = 2
            xmax = 2.5
            text = "walk"
    item [2]:
        class = "TextTier"
        name = "bell"
        xmin = 0
        xmax = 2.5
        points: size = 1
        points [1]:
            number = 0.9
            mark = "ding"
'''
SHORT = '''File type = "ooTextFile"
Object class = "TextGrid"
0
2.5
<exists>
2
"IntervalTier"
"Hand ""left"""
0.5
2.5
3
0.5
1.25
"říkej ""ahoj"""
1.25
2
""
2
2.5
"walk"
"TextTier"
"bell"
0
2.5
1
0.9
"ding"
'''
FREE = '''"ooTextFile" "TextGrid"
! 7 is in a comment, and so is "this
0  2.5s  <exists>  2 tiers
"IntervalTier" "Hand ""left""" 0.5 2.5!touching 8
3 intervals of item7 0.5 1.25 "říkej ""ahoj""" 1.25 2 "" [4] 2 25e-1 "walk"
"TextTier" "bell" 0. 2.5 1 9e-1 "ding"
and more "TextTier" 3
'''


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "clip7.TextGrid"
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize("text", [LONG, SHORT, FREE, LONG.replace("\n", "\r\n")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_form_says_the_same(tmp_path: Path, text: str, encoding: str) -> None:
    marks = read_textgrid(write(tmp_path, text, encoding))
    assert marks.marks == (
        Mark('říkej "ahoj"', 0.5, 1.25, "clip7", tier='Hand "left"'),
        Mark("walk", 2.0, 2.5, "clip7", tier='Hand "left"'),
        Mark("ding", 0.9, 0.9, "clip7", tier="bell"),
    )
    assert marks.marks[-1].is_point


def test_tiers_are_chosen(tmp_path: Path) -> None:
    file = write(tmp_path, LONG)
    assert [m.label for m in read_textgrid(file, ReadOptions(tiers=("bell",))).marks] == ["ding"]
    with pytest.raises(DatasetError, match="no tier 'ball'"):
        read_textgrid(file, ReadOptions(tiers=("ball",)))


def test_a_file_without_tiers_has_no_marks(tmp_path: Path) -> None:
    head = SHORT.partition("<exists>")[0]
    assert read_textgrid(write(tmp_path, f"{head}<absent>\n")).marks == ()
    assert read_textgrid(write(tmp_path, f"{head}<exists> -3")).marks == ()


def test_an_interval_that_ends_before_it_begins_is_dropped_with_a_note(tmp_path: Path) -> None:
    marks = read_textgrid(write(tmp_path, SHORT.replace("0.5\n1.25\n", "1.5\n1.25\n")))
    assert [mark.label for mark in marks.marks] == ["walk", "ding"]
    assert marks.notes[0].startswith("1 marks end before they begin")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"TextTier"', '"PitchTier"', "the tier 'bell' is a 'PitchTier'"),
        ('0.9\n"ding"\n', "0.9\n", "ends where a text is expected; is it whole"),
        ('2.5\n"walk"', '"walk"', 'line 19: "walk" where a number is expected'),
        ("0.9", "1e999", "holds the number 1e999"),
        ("3\n0.5", "1e999\n0.5", "holds the number 1e999"),
        ('"TextGrid"', '"Pitch"', "does not begin as a TextGrid"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SHORT
    file = write(tmp_path, SHORT.replace(old, new))
    with pytest.raises(DatasetError, match=message) as error:
        read_textgrid(file)
    assert str(error.value).startswith(str(file))


def test_the_format_is_told_by_its_head(tmp_path: Path) -> None:
    assert all(is_textgrid(tmp_path, text) for text in (LONG, SHORT, FREE))
    for other in ("", '"ooTextFile" "Pitch 1"', "a,b\n", '{"TextGrid": "ooTextFile"}'):
        assert not is_textgrid(tmp_path, other)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "intervals", "points"),
    [
        ("Mary_John_bell", 0, 0),
        ("act_speakers_long_format", 16, 0),
        ("elan", 2, 0),
        ("hard-to-parse", 3, 2),
        ("nested-intervals", 13, 0),
        ("points", 0, 3),
        ("quoted", 4, 2),
        ("short", 0, 0),
        ("utf_16_be", 1, 0),
    ],
)
def test_files_that_people_wrote(real_data: Path, name: str, intervals: int, points: int) -> None:
    file = real_data / "annotations" / "other" / "textgrid" / f"{name}.TextGrid"
    marks = read_textgrid(file).marks
    assert sum(mark.is_point for mark in marks) == points
    assert len(marks) == intervals + points
