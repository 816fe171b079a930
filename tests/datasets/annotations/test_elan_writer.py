"""What is written for ELAN is read back, and what ELAN cannot hold is told."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.datasets.annotations.elan import is_elan, read_elan
from actionrnn.datasets.annotations.elan_writer import write_elan
from actionrnn.datasets.annotations.marks import Mark, Marks
from actionrnn.errors import DatasetError

VIDEO = "a.mp4"


def marks_of(*marks: Mark, **more: object) -> Marks:
    return replace(Marks(Path("labels.csv"), "any", marks), **more)  # type: ignore[arg-type]


def spans_of_tiers(file: Path) -> dict[str, list[tuple[float, float]]]:
    """By tier its annotations' times, from the file itself."""
    root = ElementTree.parse(file).getroot()
    slots = {s.get("TIME_SLOT_ID"): float(s.get("TIME_VALUE", "")) for s in root.iter("TIME_SLOT")}
    return {
        tier.get("TIER_ID", ""): [
            (slots[a.get("TIME_SLOT_REF1")], slots[a.get("TIME_SLOT_REF2")])
            for a in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        for tier in root.iter("TIER")
    }


def without_tiers(marks: Iterable[Mark]) -> list[tuple[object, ...]]:
    return sorted(
        (mark.start_seconds, mark.end_seconds, mark.label, mark.subject, mark.video)
        for mark in marks
    )


WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n,;\"'<>&"),
    min_size=1,
    max_size=12,
)
LABELS = WORDS.filter(lambda text: text == text.strip())


@st.composite
def any_marks(draw: st.DrawFn) -> list[Mark]:
    start_ms = draw(st.lists(st.integers(0, 10_000_000), max_size=12))
    length_ms = st.just(0) | st.integers(2, 5000)
    names = draw(st.lists(WORDS, min_size=1, max_size=2))
    return [
        Mark(
            draw(LABELS),
            start / 1000,
            (start + draw(length_ms)) / 1000,
            VIDEO,
            subject=draw(st.sampled_from(["", *names])),
            tier=draw(st.sampled_from(["", *names])),
        )
        for start in start_ms
    ]


@given(any_marks())
def test_all_marks_are_read_back_to_the_millisecond(marks: list[Mark]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.eaf"
        write_elan(marks_of(*marks), file)
        assert is_elan(file, file.read_text(encoding="utf-8"))
        assert without_tiers(read_elan(file).marks) == without_tiers(marks)
        for spans in spans_of_tiers(file).values():
            assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


def test_tiers_without_overlaps_are_kept_as_they_are(tmp_path: Path) -> None:
    marks = [
        Mark("walk", 0.5, 1.25, VIDEO, "ann", "Gait"),
        Mark("run", 1.25, 2.0, VIDEO, "ann", "Gait"),
        Mark("left", 1.0, 1.5, VIDEO, "bob", "Hand 2"),
    ]
    in_another_order = (marks[1], marks[0], marks[2])
    assert write_elan(marks_of(*in_another_order), tmp_path / "a.eaf") == ()
    read = read_elan(tmp_path / "a.eaf")
    assert read.marks == tuple(marks)
    assert read.notes == ()


def test_overlaps_and_other_subjects_get_tiers_of_their_own(tmp_path: Path) -> None:
    marks = [
        Mark("walk", 0, 2, VIDEO),
        Mark("wave", 1, 3, VIDEO),
        Mark("run", 2, 4, VIDEO),
        Mark("walk", 5, 6, VIDEO, subject="bob"),
        Mark("left", 0, 1, VIDEO, tier="labels 2"),
    ]
    notes = write_elan(marks_of(*marks), tmp_path / "a.eaf")
    read = read_elan(tmp_path / "a.eaf").marks
    assert {(mark.label, mark.tier, mark.subject) for mark in read} == {
        ("walk", "labels", ""),
        ("run", "labels", ""),
        ("wave", "labels 3", ""),
        ("walk", "labels 4", "bob"),
        ("left", "labels 2", ""),
    }
    assert notes == (
        "2 marks overlap others of their tier, or are of another subject, and stand on tiers of "
        "their own: labels 3, labels 4",
    )


def test_events_become_annotations_of_1_ms(tmp_path: Path) -> None:
    marks = [Mark("clap", 1.5, 1.5, VIDEO), Mark("blink", 2.0, 2.0007, VIDEO)]
    notes = write_elan(marks_of(*marks), tmp_path / "a.eaf")
    assert spans_of_tiers(tmp_path / "a.eaf") == {"labels": [(1500, 1501), (2000, 2001)]}
    assert notes == (
        "1 events without a length are written as annotations of 1 ms",
        "1 marks are at most 1 ms long and read back as events without a length",
    )
    read = read_elan(tmp_path / "a.eaf").marks
    assert [mark.start_seconds for mark in read if mark.is_point] == [1.5, 2.0]


@pytest.mark.parametrize(
    ("video", "url", "mime", "back"),
    [
        ("films/a b.mp4", "file:///./films/a b.mp4", "video/mp4", "films/a b.mp4"),
        ("/films/a.MPG", "file:///films/a.MPG", "video/mpeg", "/films/a.MPG"),
        (r"C:\films\a.mov", "file:///C:/films/a.mov", "video/quicktime", "C:/films/a.mov"),
        (r"\\disk\a.mkv", "file://disk/a.mkv", "video/*", "//disk/a.mkv"),
        ("another", "file:///./another", "video/*", "another"),
        ("labels", None, None, "labels"),
        ("", None, None, "labels"),
    ],
)
def test_the_video_is_named_with_its_type(
    tmp_path: Path, video: str, url: str | None, mime: str | None, back: str
) -> None:
    file = tmp_path / "labels.eaf"
    write_elan(marks_of(Mark("walk", 0, 1, video)), file)
    found = ElementTree.parse(file).getroot().find("HEADER/MEDIA_DESCRIPTOR")
    assert (url, mime) == (
        (None, None) if found is None else (found.get("MEDIA_URL"), found.get("MIME_TYPE"))
    )
    assert read_elan(file).videos == (back,)


def test_a_mark_until_the_end_of_the_video_ends_there(tmp_path: Path) -> None:
    marks = marks_of(Mark("walk", None, None, VIDEO), duration_seconds={VIDEO: 4.0})
    write_elan(marks, tmp_path / "a.eaf")
    assert read_elan(tmp_path / "a.eaf").marks == (Mark("walk", 0, 4, VIDEO, tier="labels"),)


def test_what_has_no_place_is_told(tmp_path: Path) -> None:
    mark = Mark(" walk", 0, 1, VIDEO, extra={"Comment": "fast", "Modifier": "x"})
    notes = write_elan(marks_of(mark, looked_at={VIDEO: ((0.0, 2.0),)}), tmp_path / "a.eaf")
    assert notes == (
        "1 labels have blanks around them, which are not read back",
        "not written, for ELAN has no place for it: Comment, Modifier",
        "not written, for ELAN has no place for it: where somebody looked",
    )


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ([Mark("a", 0, 1, "a.mp4"), Mark("a", 0, 1, "b.mp4")], "one video a file.* a.mp4 and b"),
        ([Mark("a", 0, None, VIDEO)], "'a' from 0 s lasts until the end .* give it an end"),
        ([Mark("a", -1, 1, VIDEO)], "'a' goes from -1 to 1 s"),
        ([Mark("a", 2, 1, VIDEO)], "'a' goes from 2 to 1 s"),
        ([Mark("a", 0, float("nan"), VIDEO)], "'a' goes from 0 to nan s"),
        ([Mark("a", 0, float("inf"), VIDEO)], "'a' goes from 0 to inf s"),
        ([Mark(" ", 3, 4, VIDEO)], "a mark at 3 s has no label"),
        ([Mark("a\x1b", 0, 1, VIDEO)], r"'a' holds the character '\\x1b'"),
        ([Mark("a", 0, 1, VIDEO, tier="b\udce9")], r"holds the character '\\udce9'"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_and_nothing_written(
    tmp_path: Path, marks: list[Mark], message: str
) -> None:
    file = tmp_path / "a.eaf"
    with pytest.raises(DatasetError, match=message):
        write_elan(marks_of(*marks), file)
    assert not file.exists()


@pytest.mark.realdata
@pytest.mark.parametrize("number", range(6))
def test_files_that_elan_wrote_go_round_trip(real_data: Path, tmp_path: Path, number: int) -> None:
    file = sorted((real_data / "annotations" / "elan").glob("*.eaf"))[number]
    marks = read_elan(file)
    assert not [note for note in write_elan(marks, tmp_path / file.name) if "of their own" in note]
    again = read_elan(tmp_path / file.name)
    assert sorted(map(str, again.marks)) == sorted(map(str, marks.marks))
