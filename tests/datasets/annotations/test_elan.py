"""ELAN's files: times that stand elsewhere than in the annotation, and tiers that count twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from actionrnn.datasets.annotations.elan import is_elan, read_elan
from actionrnn.datasets.annotations.marks import Mark, ReadOptions
from actionrnn.errors import DatasetError

VIDEO = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///home/ann/a.mp4" MIME_TYPE="video/mp4"/>'


def aligned(name: str, begin: str, end: str, text: str | None = "walk") -> str:
    value = (
        "<ANNOTATION_VALUE/>" if text is None else f"<ANNOTATION_VALUE>{text}</ANNOTATION_VALUE>"
    )
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{name}" TIME_SLOT_REF1="{begin}" '
        f'TIME_SLOT_REF2="{end}">{value}</ALIGNABLE_ANNOTATION></ANNOTATION>'
    )


def child(name: str, parent: str, text: str, previous: str = "") -> str:
    before = f' PREVIOUS_ANNOTATION="{previous}"' if previous else ""
    return (
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{name}" ANNOTATION_REF="{parent}"{before}>'
        f"<ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
    )


def tier(name: str, *annotations: str, parent: str = "", subject: str = "") -> str:
    attributes = {"TIER_ID": name, "PARENT_REF": parent, "PARTICIPANT": subject}
    shown = " ".join(f"{key}={quoteattr(text)}" for key, text in attributes.items() if text)
    return f'<TIER LINGUISTIC_TYPE_REF="default-lt" {shown}>{"".join(annotations)}</TIER>'


def write_eaf(
    folder: Path,
    *tiers: str,
    slots: Iterable[int | None] = (0, 1000, 2000, 3000),
    media: str = VIDEO,
    units: str = "milliseconds",
) -> Path:
    """Slots are called ts1, ts2, ... ; None has no time."""
    times = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="ts{i}"' + ("/>" if ms is None else f' TIME_VALUE="{ms}"/>')
        for i, ms in enumerate(slots, start=1)
    )
    file = folder / "labels.eaf"
    file.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT FORMAT="2.7">'
        f'<HEADER TIME_UNITS="{units}">{media}</HEADER><TIME_ORDER>{times}</TIME_ORDER>'
        f"{''.join(tiers)}</ANNOTATION_DOCUMENT>",
        encoding="utf-8",
    )
    return file


def spans(marks: Iterable[Mark]) -> list[tuple[str, float | None, float | None]]:
    return [(mark.label, mark.start_seconds, mark.end_seconds) for mark in marks]


def test_a_mark_says_who_does_what_when_on_which_video(tmp_path: Path) -> None:
    file = write_eaf(tmp_path, tier("Gesture", aligned("a1", "ts2", "ts4", "beat"), subject="S033"))
    marks = read_elan(file)
    assert marks.marks == (
        Mark("beat", 1.0, 3.0, "/home/ann/a.mp4", subject="S033", tier="Gesture"),
    )
    assert marks.format == "ELAN, format 2.7"
    assert marks.notes == ()


def test_annotations_that_share_a_slot_touch_and_keep_the_order_of_the_file(tmp_path: Path) -> None:
    file = write_eaf(
        tmp_path, tier("T", aligned("a2", "ts2", "ts3", "run"), aligned("a1", "ts1", "ts2", "walk"))
    )
    assert spans(read_elan(file).marks) == [("run", 1, 2), ("walk", 0, 1)]


def test_a_slot_without_a_time_lies_between_its_neighbours_in_the_tier(tmp_path: Path) -> None:
    """As in ELAN's own example: ts3 and ts4 stand in between, but belong to another tier."""
    file = write_eaf(
        tmp_path,
        tier("Other", aligned("b1", "ts4", "ts5", "other")),
        tier(
            "Words",
            aligned("a1", "ts1", "ts2", "one"),
            aligned("a2", "ts2", "ts3", "two"),
            aligned("a3", "ts3", "ts6", "three"),
        ),
        slots=(0, None, None, 100, 200, 3000),
    )
    marks = read_elan(file)
    assert spans(marks.marks)[1:] == [("one", 0, 1), ("two", 1, 2), ("three", 2, 3)]
    assert marks.notes == ("2 time slots have no time and lie between their neighbours",)


def test_a_child_begins_in_the_slot_that_its_parent_gets(tmp_path: Path) -> None:
    """The child's own chain ends in a slot without a time; the parent's tier tells it."""
    file = write_eaf(
        tmp_path,
        tier("Child", aligned("c1", "ts1", "ts4", "a"), aligned("c2", "ts4", "ts2"), parent="P"),
        tier("P", aligned("a1", "ts1", "ts2"), aligned("a2", "ts2", "ts3")),
        slots=(0, None, 4000, None),
    )
    marks = read_elan(file, ReadOptions(tiers=("Child",)))
    assert spans(marks.marks) == [("a", 0, 1), ("walk", 1, 2)]


def test_a_slot_that_nothing_tells_the_time_of_is_refused(tmp_path: Path) -> None:
    circle = [aligned("a1", "ts1", "ts2"), aligned("a2", "ts2", "ts3"), aligned("a3", "ts3", "ts2")]
    for chain in ([aligned("a1", "ts1", "ts2")], circle):
        file = write_eaf(tmp_path, tier("T", *chain), slots=(0, None, None))
        with pytest.raises(DatasetError, match=r"'a1' refers to the time slot .* has no time"):
            read_elan(file)


def test_references_are_followed_three_tiers_up_and_share_in_their_order(tmp_path: Path) -> None:
    file = write_eaf(
        tmp_path,
        tier("Gloss", child("g2", "m2", "IN"), child("g1", "m1", "HOUSE"), parent="Morph"),
        tier("Morph", child("m2", "w1", "en", "m1"), child("m1", "w1", "ev"), parent="Word"),
        tier("Word", child("w2", "a1", "gel", "w1"), child("w1", "a1", "even"), parent="Speech"),
        tier("Speech", aligned("a1", "ts2", "ts4", "even gel")),
    )
    marks = read_elan(file, ReadOptions(tiers=("Gloss", "Morph", "Word")))
    assert sorted(spans(marks.marks)) == [
        ("HOUSE", 1, 1.5),
        ("IN", 1.5, 2),
        ("en", 1.5, 2),
        ("ev", 1, 1.5),
        ("even", 1, 2),
        ("gel", 2, 3),
    ]
    assert marks.notes == ("4 annotations have no time and share their parent's equally",)


@pytest.mark.parametrize("previous", ["", "w1", "w3"])  # none, itself, none that is there
def test_parts_of_unknown_order_are_refused(tmp_path: Path, previous: str) -> None:
    file = write_eaf(
        tmp_path,
        tier("Word", child("w1", "a1", "a", previous), child("w2", "a1", "b"), parent="Speech"),
        tier("Speech", aligned("a1", "ts2", "ts4")),
    )
    with pytest.raises(DatasetError, match=r"2 annotations divide 'a1', and .* their order"):
        read_elan(file)


def test_child_tiers_are_left_out_by_name_and_taken_when_asked_for(tmp_path: Path) -> None:
    file = write_eaf(
        tmp_path,
        tier("Empty"),
        tier("Speech", aligned("a1", "ts2", "ts4", "so you go")),
        tier("Words", child("w1", "a1", "so"), child("w2", "a1", "you", "w1"), parent="Speech"),
        tier("Nothing", parent="Speech"),
    )
    marks = read_elan(file)
    assert [mark.label for mark in marks.marks] == ["so you go"]
    (note,) = marks.notes
    assert note.endswith("left out, unless asked for by name: Words (2)")
    asked = read_elan(file, ReadOptions(tiers=("Words",)))
    assert [mark.label for mark in asked.marks] == ["so", "you"]
    with pytest.raises(DatasetError, match="no tier 'Word'; there are Speech, Words"):
        read_elan(file, ReadOptions(tiers=("Word",)))


def test_subjects_and_labels_are_chosen(tmp_path: Path) -> None:
    file = write_eaf(
        tmp_path,
        tier("T1", aligned("a1", "ts1", "ts2", "walk"), subject="ann"),
        tier("T2", aligned("a2", "ts1", "ts2", "run"), subject="bob"),
    )
    assert [m.label for m in read_elan(file, ReadOptions(subjects=("bob",))).marks] == ["run"]
    assert [m.subject for m in read_elan(file, ReadOptions(labels=("walk",))).marks] == ["ann"]
    with pytest.raises(DatasetError, match="no label 'fly'"):
        read_elan(file, ReadOptions(labels=("fly",)))


def test_an_annotation_of_1_ms_is_an_event(tmp_path: Path) -> None:
    file = write_eaf(
        tmp_path,
        tier("T", aligned("a1", "ts1", "ts2"), aligned("a2", "ts2", "ts3", "clap")),
        slots=(0, 95372, 95373),
    )
    marks = read_elan(file)
    assert spans(marks.marks) == [("walk", 0, 95.372), ("clap", 95.372, 95.372)]
    assert [mark.is_point for mark in marks.marks] == [False, True]
    assert marks.notes == ("1 annotations of at most 1 ms are read as events without a length",)


def test_a_tier_without_any_text_names_its_annotations(tmp_path: Path) -> None:
    file = write_eaf(
        tmp_path,
        tier("Look", aligned("a1", "ts1", "ts2", None), aligned("a2", "ts2", "ts3", " \n ")),
        tier("Hands", aligned("a3", "ts1", "ts2", " clap "), aligned("a4", "ts3", "ts4", None)),
    )
    marks = read_elan(file)
    assert spans(marks.marks) == [("Look", 0, 1), ("Look", 1, 2), ("clap", 0, 1)]
    assert marks.notes == (
        "1 annotations (Hands) have no text and are dropped",
        "2 annotations (Look) have no text and are labelled by their tier",
        "1 labels have blanks around them, which are removed",
    )


def media(url: str, mime: str, more: str = "") -> str:
    return f'<MEDIA_DESCRIPTOR MEDIA_URL="{url}" MIME_TYPE="{mime}" {more}/>'


WAV = media("file:///D:/a.wav", "audio/x-wav", 'TIME_ORIGIN="77"')


@pytest.mark.parametrize(
    ("descriptors", "video", "note"),
    [
        (WAV + media("file:///D:/My films/b.mpg", "video/mpeg"), "D:/My films/b.mpg", None),
        (
            WAV + media("file:///D:/b.mpg", "video/mpeg") + media("file:///D:/c.mpg", "video/*"),
            "D:/b.mpg",
            "of 2 videos, b.mpg is taken, not c.mpg",
        ),
        (media("file:///D:/b.MKV", "unknown"), "D:/b.MKV", None),
        (media("", "video/mp4", 'RELATIVE_MEDIA_URL="file:/./b.mp4"'), "b.mp4", None),
        (media("file://server/films/b.mp4", "video/mp4"), "//server/films/b.mp4", None),
        (WAV, "labels", "no video is named, only a.wav; it is taken to be labels"),
        ("", "labels", None),
    ],
)
def test_the_video_is_chosen_by_its_type(
    tmp_path: Path, descriptors: str, video: str, note: str | None
) -> None:
    file = write_eaf(tmp_path, tier("T", aligned("a1", "ts1", "ts2")), media=descriptors)
    marks = read_elan(file)
    assert marks.marks == (Mark("walk", 0.0, 1.0, video, tier="T"),)
    assert marks.notes == (() if note is None else (note,))


@pytest.mark.parametrize("origin_ms", [1500, -250])
def test_the_origin_of_the_video_is_added(tmp_path: Path, origin_ms: int) -> None:
    descriptor = media("file:///a.mp4", "video/mp4", f'TIME_ORIGIN="{origin_ms}"')
    file = write_eaf(tmp_path, tier("T", aligned("a1", "ts2", "ts3")), media=WAV + descriptor)
    marks = read_elan(file)
    assert spans(marks.marks) == [("walk", 1 + origin_ms / 1000, 2 + origin_ms / 1000)]
    assert marks.notes == (f"{origin_ms} ms are added to all times: the video's TIME_ORIGIN",)


@pytest.mark.parametrize(
    ("units", "seconds"), [("NTSC-frames", 1001.0), ("PAL-frames", 1200.0), ("milliseconds", 30.0)]
)
def test_units_of_time_are_converted(tmp_path: Path, units: str, seconds: float) -> None:
    file = write_eaf(
        tmp_path, tier("T", aligned("a1", "ts1", "ts2")), slots=(0, 30000), units=units
    )
    assert read_elan(file).marks[0].end_seconds == seconds


def test_an_annotation_that_ends_before_it_begins_is_dropped_with_a_note(tmp_path: Path) -> None:
    file = write_eaf(tmp_path, tier("T", aligned("a1", "ts2", "ts1"), aligned("a2", "ts1", "ts2")))
    marks = read_elan(file)
    assert spans(marks.marks) == [("walk", 0, 1)]
    assert marks.notes[0].startswith("1 marks end before they begin and are dropped")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</ANNOTATION_DOCUMENT>", "", "is no whole XML .* export it again"),
        ('TIME_VALUE="1000"', 'TIME_VALUE="1.5"', r"TIME_VALUE is '1.5' in <TIME_SLOT .*ts2"),
        ('TIME_VALUE="1000"', 'TIME_VALUE="nan"', "TIME_VALUE is 'nan'"),
        ('TIME_SLOT_REF2="ts2"', 'TIME_SLOT_REF2="ts9"', "'a1' refers to the time slot 'ts9'"),
        ('TIME_SLOT_REF2="ts2"', "", "ALIGNABLE_ANNOTATION.* has no TIME_SLOT_REF2"),
        ("milliseconds", "hours", "TIME_UNITS is 'hours'; known are milliseconds, NTSC-frames"),
        ('ANNOTATION_REF="a1"', 'ANNOTATION_REF="a7"', "'c1' belongs to 'a7'"),
        ('PARENT_REF="T"', 'PARENT_REF="X"', "the tier 'Child' hangs on 'X'"),
        ('PARENT_REF="T"', 'PARENT_REF="Child"', "the tier 'Child' hangs on 'Child'"),
        ('TIER_ID="Child"', 'TIER_ID="T"', "two tiers are called 'T'"),
        ('ANNOTATION_ID="c1"', 'ANNOTATION_ID="a1"', "two annotations have the id 'a1'"),
        ("ANNOTATION_DOCUMENT", "ANNOTATIONS", "outermost element is ANNOTATIONS, not ANNOTATION_"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = write_eaf(
        tmp_path,
        tier("T", aligned("a1", "ts1", "ts2")),
        tier("Child", child("c1", "a1", "x"), parent="T"),
    )
    text = file.read_text(encoding="utf-8")
    assert old in text
    read_elan(file)
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DatasetError, match=message) as error:
        read_elan(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


def test_the_format_is_told_by_the_outermost_element(tmp_path: Path) -> None:
    text = write_eaf(tmp_path, tier("T")).read_text(encoding="utf-8")
    assert is_elan(tmp_path, text)
    assert is_elan(tmp_path, text[: len(text) // 2])  # the reader will say that it is cut off
    for other in ("", "<annotations/>", "a,b\n1,2\n", '{"a": "<ANNOTATION_DOCUMENT>"}', "\0", "<"):
        assert not is_elan(tmp_path, other)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "number", "video", "first"),
    [
        ("cngt_sign_three_media_2.6", 58, "H:/Interactie/CNGT/CNGT0697_S034_b.mpg", 5.18),
        ("controlled_vocab_included_in_3.0", 11, "controlled_vocab_included_in_3.0", 1.04),
        ("gesture_speech_unaligned_slot_2.3", 24, "D:/Data/elan/elan-example1.mpg", 0.28),
        ("shared_slots_participants_2.7", 7, "shared_slots_participants_2.7", 0.0),
        ("sign_1ms_marks_2.7", 59, "//pyelan/templates/480.mp4", 95.372),
        ("symbolic_subdivision_utf8_2.6", 9, "symbolic_subdivision_utf8_2.6", 0.04),
    ],
)
def test_files_that_elan_wrote(
    real_data: Path, name: str, number: int, video: str, first: float
) -> None:
    marks = read_elan(real_data / "annotations" / "elan" / f"{name}.eaf")
    assert len(marks.marks) == number
    assert marks.videos == (video,)
    assert marks.marks[0].start_seconds == first


@pytest.mark.realdata
def test_child_tiers_that_elan_wrote(real_data: Path) -> None:
    folder = real_data / "annotations" / "elan"
    words = read_elan(
        folder / "gesture_speech_unaligned_slot_2.3.eaf", ReadOptions(tiers=("W-Words",))
    )
    between = [span for span in spans(words.marks) if 11.47 <= (span[1] or 0) < 11.94]
    assert between == [("you", 11.47, 11.705), ("follow", 11.705, 11.94)]
    glosses = read_elan(
        folder / "symbolic_subdivision_utf8_2.6.eaf",
        ReadOptions(tiers=("P-Word", "P-Morph", "P-Gloss")),
    )
    assert Counter(m.tier for m in glosses.marks) == {"P-Word": 60, "P-Morph": 126, "P-Gloss": 136}
    seconds = Counter[str]()
    for mark in glosses.marks:
        seconds[mark.tier] += (mark.end_seconds or 0) - (mark.start_seconds or 0)
    assert seconds["P-Gloss"] == pytest.approx(seconds["P-Morph"])  # a part of the whole each
