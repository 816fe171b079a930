"""BORIS's tables: what every version writes becomes marks on each video's own clock."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from actionrnn.datasets.annotations.boris import is_boris, read_boris
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError
from actionrnn.video.writer import VideoWriter

AGGREGATED_7 = (
    "Observation id,Observation date,Description,Media file,Total length,FPS,{variables}Subject,"
    "Behavior,Behavioral category,Modifiers,Behavior type,Start (s),Stop (s),Duration (s),"
    "Comment start,Comment stop"
)
AGGREGATED_9 = (
    "Observation id,Observation date,Description,Observation type,Source,Time offset (s),"
    "Coding duration,Media duration (s),FPS (frame/s),{variables}Subject,"
    "Observation duration by subject by observation,Behavior,Behavioral category,{modifiers}"
    "Behavior type,Start (s),Stop (s),Duration (s),Media file name,Image index start,"
    "Image index stop,Image file path start,Image file path stop,Comment start,Comment stop"
)
FLAT_9 = (
    "Observation id,Observation date,Description,Observation duration,Observation type,Source,"
    "Time offset (s),Media duration (s),FPS,Subject,Behavior,Behavioral category,Modifier #1,"
    "Behavior type,Time,Media file name,Image index,Image file path,Comment"
)
ABOVE = """Observation id,one
,
Media file(s),
Player #1,a.mp4
Observation date,2016-11-27 01:57:26
Description,
Time offset (s),{offset}
independent variables,
variable,value
Time,morning
Player #2,left
"""


def state(
    start: str,
    stop: str,
    label: str = "sit",
    *,
    subject: str = "No focal subject",
    source: str = "player #1:a.mp4",
    lengths: str = "60.000",
    offset: str = "0.0",
    kind: str = "STATE",
    tier: str = "Not defined",
    observation: str = "one",
) -> str:
    """A row of aggregated events as BORIS 9 writes it."""
    return (
        f"{observation},2026-01-01 10:00:00,,Media file,{source},{offset},9.0,{lengths},25.000,"
        f"{subject},9.0,{label},{tier},{kind},{start},{stop},NA,a.mp4,NA,NA,,,,"
    )


def aggregated(*rows: str, variables: str = "", modifiers: str = "") -> str:
    return "\r\n".join([AGGREGATED_9.format(variables=variables, modifiers=modifiers), *rows, ""])


def press(
    kind: str,
    time: str,
    label: str = "sit",
    modifier: str = "",
    subject: str = "",
    comment: str = "",
) -> str:
    """A row of tabular events as BORIS 9 writes it."""
    return (
        f"one,2026-01-01 10:00:00,,9.0,Media file(s),player #1:a.mp4,0.0,60.000,25.000,{subject},"
        f"{label},posture,{modifier},{kind},{time},a.mp4,NA,NA,{comment}"
    )


def read(folder: Path, text: str, name: str = "events.csv", **options: object) -> Marks:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return read_boris(folder / name, ReadOptions(**options))  # type: ignore[arg-type]


def spans(marks: Marks) -> list[tuple[str, str, float | None, float | None]]:
    return [(one.video, one.label, one.start_seconds, one.end_seconds) for one in marks.marks]


# Layouts.


def test_aggregated_events_of_boris_9(tmp_path: Path) -> None:
    rows = [
        "one,d,,Media file,player #1:a.mp4,0.0,9,60.000,25.000,ann,9,sit,posture,m1,None,STATE,"
        "1.500,4.250,2.750,a.mp4,NA,NA,,,begin,end",
        "one,d,,Media file,player #1:a.mp4,0.0,9,60.000,25.000,No focal subject,9,call,"
        "Not defined,,,POINT,2.000,2.000,NA,a.mp4,NA,NA,,,,",
    ]
    marks = read(tmp_path, aggregated(*rows, modifiers="Modifier #1,Modifier #2,"))
    extra = {
        "observation": "one",
        "modifiers": "m1|None",
        "comment": "begin",
        "comment stop": "end",
    }
    assert marks.marks == (
        Mark("sit", 1.5, 4.25, "a.mp4", "ann", "posture", extra),
        Mark("call", 2.0, 2.0, "a.mp4", extra={"observation": "one"}),
    )
    assert [mark.is_point for mark in marks.marks] == [False, True]
    assert [mark.where for mark in marks.marks] == ["line 2", "line 3"]
    assert marks.duration_seconds == {"a.mp4": 60.0}
    assert marks.notes == ()


def test_independent_variables_may_have_the_names_of_columns(tmp_path: Path) -> None:
    header = AGGREGATED_7.format(variables="Start time,Start (s),Subject,Comment start,Duration,")
    row = "one,d,,C:/x/a.mp4,99.0,25.0,1999,7,blue,none,,ann,sit,,,STATE,1.0,2.0,1.0,said,"
    marks = read(tmp_path, f"{header}\r\n{row}\r\n")
    (mark,) = marks.marks
    assert (mark.subject, mark.start_seconds, mark.end_seconds) == ("ann", 1.0, 2.0)
    assert mark.extra["comment"] == "said"
    assert mark.extra["Start time"] == "1999"
    assert mark.extra["Start (s)"] == "7"
    assert mark.video == "C:/x/a.mp4"
    assert marks.duration_seconds == {}  # `Total length` is that of all queued files
    assert any("does not say the observation's time offset" in note for note in marks.notes)
    assert any("1 observations name one media file" in note for note in marks.notes)


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("Behavior,Behavioral category,Comment,Status", "sit,posture,{},{}"),
        ("Behavior,Comment,Status,", "sit,posture,{},{}"),  # of 2018: one column short
        ("Behavior,Behavioral category,Modifier 1,Comment,Status", "sit,posture,,{},{}"),
    ],
)
def test_tabular_events_under_header_lines(tmp_path: Path, header: str, cells: str) -> None:
    """A variable may be called like the column Time, or like a line above it."""
    table = [f"Time,Media file path,Total length,FPS,Subject,{header}"]
    for time, comment, kind in (("3.3", "first", "START"), ("7.75", "last", "STOP")):
        table.append(f"{time},a.mp4,60.000,25.0,ann," + cells.format(comment, kind))
    marks = read(tmp_path, ABOVE.format(offset="0.0") + "\n".join(table))
    extra = {
        "observation": "one",
        "Time": "morning",
        "Player #2": "left",
        "comment": "first",
        "comment stop": "last",
    }
    assert marks.marks == (Mark("sit", 3.3, 7.75, "a.mp4", "ann", "posture", extra),)
    assert marks.duration_seconds == {"a.mp4": 60.0}
    is_short = header.endswith(",")
    assert [*marks.notes] == (
        ["the header is one column short, as BORIS of 2018 wrote it; Status is by it"]
        if is_short
        else []
    )


def test_a_table_that_excel_saved_again(tmp_path: Path) -> None:
    """Semicolons, decimal commas, lost zeros, rows as wide as the widest."""
    text = ABOVE.format(offset="1,5").replace(",morning", ";morning")
    text = "\n".join(line.replace(",", ";", 1) for line in text.splitlines())
    text += "\nTime;Media file path;Total length;FPS;Subject;Behavior;Behavioral category;Comment;"
    text += "Status;\n2;a.mp4;60;25;;sit;;;START;\n4,25;a.mp4;60;25;;sit;;;STOP;\n;;;;;;;;;\n"
    marks = read(tmp_path, text)
    assert spans(marks) == [("a.mp4", "sit", 0.5, 2.75)]  # the offset is subtracted


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiters_and_encodings(tmp_path: Path, delimiter: str, encoding: str) -> None:
    text = aggregated(state("1.0", "2.0", label="größer")).replace(",", delimiter)
    file = tmp_path / "events.txt"
    file.write_bytes(text.encode(encoding))
    assert spans(read_boris(file, ReadOptions())) == [("a.mp4", "größer", 1.0, 2.0)]


def test_flat_events_name_the_video_the_subject_and_the_category(tmp_path: Path) -> None:
    rows = [
        press("START", "1.0", subject="ann", comment="x"),
        press("POINT", "1.5", "call", '"a,b"'),
        press("STOP", "3.0", subject="ann"),
    ]
    marks = read(tmp_path, "\n".join([FLAT_9, *rows]))
    assert marks.marks == (
        Mark("sit", 1.0, 3.0, "a.mp4", "ann", "posture", {"observation": "one", "comment": "x"}),
        Mark("call", 1.5, 1.5, "a.mp4", "", "posture", {"observation": "one", "modifiers": "a,b"}),
    )


# Clocks.


def test_queued_files_have_their_own_clocks_and_cut_what_runs_over(tmp_path: Path) -> None:
    queue = {"source": "player #1:a.mp4;b.mp4;c.mp4", "lengths": "10.0009;20.000;5.000"}
    rows = [
        state("1.0", "2.0", **queue),
        state("8.0", "33.5", "walk", **queue),  # the first file ends at 10.000, not 10.0009
        state("10.0", "10.0", "call", kind="POINT", **queue),
        state("30.0", "31.0", **queue),
        state("34.0", "36.0", **queue),  # after the end of the last: nothing is invented
    ]
    marks = read(tmp_path, aggregated(*rows))
    assert spans(marks) == [
        ("a.mp4", "sit", 1.0, 2.0),
        ("a.mp4", "walk", 8.0, 10.0),
        ("b.mp4", "walk", 0.0, 20.0),
        ("c.mp4", "walk", 0.0, 3.5),
        ("b.mp4", "call", 0.0, 0.0),
        ("c.mp4", "sit", 0.0, 1.0),
        ("c.mp4", "sit", 4.0, 6.0),
    ]
    assert marks.duration_seconds == {"a.mp4": 10.0009, "b.mp4": 20.0, "c.mp4": 5.0}
    assert marks.notes == (
        "1 states run over the border of two queued files and are cut there (the first: walk at "
        "8.000 s of observation 'one')",
    )


def test_the_time_offset_is_subtracted_before_the_file_is_found(tmp_path: Path) -> None:
    queue = {"source": "player #1:a.mp4;b.mp4", "lengths": "10.000;20.000", "offset": "100.5"}
    marks = read(tmp_path, aggregated(state("109.5", "113.5", **queue)))
    assert spans(marks) == [("a.mp4", "sit", 9.0, 10.0), ("b.mp4", "sit", 0.0, 3.0)]


def test_the_first_player_is_the_video_and_the_others_are_told(tmp_path: Path) -> None:
    source = "player #1:a.mp4|player #2:left;right.mp4"
    marks = read(tmp_path, aggregated(state("1", "2", source=source, lengths="60|30;30")))
    assert spans(marks) == [("a.mp4", "sit", 1.0, 2.0)]
    assert marks.notes == (
        "observation 'one' also plays player #2 'left;right.mp4'; the marks are on the clock of "
        "player #1",
    )


def write_video(path: Path, seconds: float) -> None:
    with VideoWriter(path, time_base=Fraction(1, 1000)) as writer:
        for milliseconds in (0, round(1000 * seconds) - 80, round(1000 * seconds) - 40):
            writer.write(np.zeros((16, 16, 3), np.uint8), milliseconds)


def old_queue(total: str) -> str:
    header = AGGREGATED_7.format(variables="")
    rows = [
        f"one,d,,{name},{total},25.0,ann,sit,,,STATE,{start},{stop},1.0,,"
        for name, start, stop in (("a.mp4", "1.0", "2.0"), ("b.mp4", "12.0", "13.0"))
    ]
    return "\n".join([header, *rows])


def test_queued_files_of_unknown_length_need_the_videos(tmp_path: Path) -> None:
    """BORIS 7 tells how long all files are together, and no more."""
    with pytest.raises(DatasetError, match=r"over 2 files and does not say how long 'a\.mp4' is"):
        read(tmp_path, old_queue("15.0"))
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "a.mp4", 10.0)
    write_video(folder / "b.mp4", 5.0)
    marks = read(tmp_path, old_queue("15.0"), videos=folder)
    assert [(video, label) for video, label, *_ in spans(marks)] == [
        ("a.mp4", "sit"),
        ("b.mp4", "sit"),
    ]
    assert marks.marks[0].start_seconds == 1.0
    assert marks.marks[1].start_seconds == pytest.approx(2.0, abs=0.05)
    assert any("the videos in" in note for note in marks.notes)
    with pytest.raises(DatasetError, match=r"that last 40 s together, but a\.mp4, b\.mp4 in"):
        read(tmp_path, old_queue("40.0"), videos=folder)  # a third was queued


def test_a_date_as_clock_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"sit at 1600000000\.000 s .* is a date, not a time"):
        read(tmp_path, aggregated(state("1600000000", "1600000001")))
    marks = read(tmp_path, aggregated(state("1600000000", "1600000001", offset="1599999990")))
    assert spans(marks) == [("a.mp4", "sit", 10.0, 11.0)]


def test_a_live_observation_has_no_video(tmp_path: Path) -> None:
    row = state("1", "2").replace("Media file,player #1:a.mp4", "Live observation,NA")
    marks = read(tmp_path, aggregated(row.replace("60.000,25.000", "NA,NA")))
    assert spans(marks) == [("", "sit", 1.0, 2.0)]
    assert marks.notes == ("1 marks of 1 live observations have no video (the first: 'one')",)
    old = AGGREGATED_7.format(variables="") + "\none,d,,LIVE,26.007,NA,ann,sit,,,STATE,1,2,1,,"
    assert spans(read(tmp_path, old)) == [("", "sit", 1.0, 2.0)]


# States.


def test_gaps_of_a_millisecond_between_exclusive_states_are_closed(tmp_path: Path) -> None:
    rows = [
        state("1.0", "1.999"),
        state("2.000", "2.998", "stand"),
        state("3.000", "3.5", "lie"),  # two milliseconds: somebody wanted them
        state("1.999", "1.999", "call", kind="POINT"),
        state("5.0", "5.999", subject="ann"),
        state("6.000", "7.0", "stand"),  # another subject
        state("8.0", "8.999"),
        state("9.0", "9.0", "call", kind="POINT"),  # a point is no state
        state("5.0", "6.999", observation="two", subject="ann"),
        state("7.0", "8.0", "stand", observation="three", subject="ann"),
    ]
    marks = read(tmp_path, aggregated(*rows))
    assert [mark.end_seconds for mark in marks.marks] == [
        *(2.0, 2.998, 3.5, 1.999, 5.999, 7.0, 8.999, 9.0, 6.999, 8.0),
    ]
    assert marks.notes == ("1 gaps of 1 ms, which BORIS leaves between exclusive states, closed",)


def test_states_without_a_length_or_backwards_are_dropped(tmp_path: Path) -> None:
    marks = read(tmp_path, aggregated(state("1", "1"), state("3", "2"), state("4", "5")))
    assert spans(marks) == [("a.mp4", "sit", 4.0, 5.0)]
    assert marks.notes[0].startswith("2 states end where they begin or before, and are dropped")


def test_presses_pair_by_subject_behaviour_and_modifiers_in_time(tmp_path: Path) -> None:
    rows = [
        press("START", "1.0", modifier="left"),
        press("START", "2.0", modifier="right"),  # they overlap, and may
        press("START", "2.5", subject="ann"),
        press("STOP", "3.0", modifier="left"),
        press("STOP", "4.0", modifier="right"),
        press("STOP", "9.0"),  # without a START
        press("STOP", "5.0", subject="ann"),
        press("START", "7.0", "stand"),  # without a STOP
        press("STOP", "5.5", "lie"),  # not in the order of time
        press("START", "5.0", "lie"),
    ]
    marks = read(tmp_path, "\n".join([FLAT_9, *rows]))
    assert [
        (one.subject, one.label, one.extra.get("modifiers"), one.start_seconds, one.end_seconds)
        for one in marks.marks
    ] == [
        ("", "sit", "left", 1.0, 3.0),
        ("", "sit", "right", 2.0, 4.0),
        ("ann", "sit", None, 2.5, 5.0),
        ("", "lie", None, 5.0, 5.5),
    ]
    assert marks.notes == (
        "2 presses have no START or no STOP to go with them and are dropped, as BORIS does with "
        "what it calls not paired (the first: stand at 7.000 s of observation 'one')",
    )


def test_grouped_observations_pair_on_their_own(tmp_path: Path) -> None:
    rows = [press("START", "1.0"), press("STOP", "3.0")]
    rows += [row.replace("one,", "two,", 1).replace("a.mp4", "b.mp4") for row in rows]
    marks = read(tmp_path, "\n".join([FLAT_9, rows[0], rows[2], rows[1], rows[3]]))
    assert spans(marks) == [("a.mp4", "sit", 1.0, 3.0), ("b.mp4", "sit", 1.0, 3.0)]


def test_subjects_categories_and_behaviours_are_chosen(tmp_path: Path) -> None:
    rows = [
        state("1", "2", tier="posture", subject="ann"),
        state("1", "2", "eat", tier="feeding", subject="ann"),
        state("1", "2", "eat", tier="feeding"),
    ]
    text = aggregated(*rows)
    assert len(read(tmp_path, text, tiers=("posture",)).marks) == 1
    assert len(read(tmp_path, text, labels=("eat",), subjects=("",)).marks) == 1
    with pytest.raises(DatasetError, match=r"has no subject 'bob'; there are ann, \(none\)"):
        read(tmp_path, text, subjects=("bob",))


# What is refused.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (aggregated(state("x", "2")), r"line 2: Start \(s\) is 'x', which is no number"),
        (aggregated(state("1", "nan")), r"line 2: Stop \(s\) is 'nan', which is no number"),
        (aggregated(state("1", "NA")), r"line 2: Stop \(s\) is 'NA', which is no number"),
        (aggregated(state("1", "2", "")), "line 2: Behavior is empty"),
        (aggregated(state("1", "2", kind="START")), "Behavior type is 'START', not STATE or"),
        (aggregated(state("1", "2", kind="POINT")), "a POINT lasts from 1 to 2 s"),
        (aggregated(state("1", "2")[:-12]), r"line 2: has \d+ cells under 24 headings"),
        (aggregated(state("1", "2") + "a,b"), r"line 2: has \d+ cells under 24 headings"),
        (aggregated('"' + state("1", "2")), "is not a table of text"),
        (aggregated(state("1", "2", offset="?")), r"Time offset \(s\) is '\?'"),
        (aggregated(state("1", "2", lengths="1;2")), "Source names 1 queued files"),
        (
            aggregated(state("1", "2").replace("Media file,", "From pictures,")),
            "observation 'one' is coded on pictures, which have no clock",
        ),
        ("\n".join([FLAT_9, press("STATE", "1")]), "Behavior type is 'STATE', not START, STOP"),
        (
            "Observation id\tDate\tDescription\tSubjects\tMedia files/Live observation\n",
            "is BORIS's list of observations, without events",
        ),
        (
            "one\td\ta.mp4\t60\t25.0\tann\tsit\t\t\tSTATE\t1.0\t2.0\t1.0\t\t\n",
            "aggregated events without the row of headings",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    assert is_boris(text) or "not a table" in message
    with pytest.raises(DatasetError, match=message) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_table_of_another_tool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no headings of BORIS's events"):
        read(tmp_path, "path,start,end,label\na.mp4,1,2,sit\n")


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(aggregated(state("1", "2", "größer")).encode("latin-1"))
    with pytest.raises(DatasetError, match="save it as UTF-8"):
        read_boris(tmp_path / "a.csv", ReadOptions())


@pytest.mark.parametrize(
    "text",
    ["", "path,start,end,label\na.mp4,1,2,sit\n", '{"database": {}}', "sit\nsit\n", '"', "<a/>"],
)
def test_other_texts_are_not_of_boris(text: str) -> None:
    assert not is_boris(text)


# Real files.


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "labels", "points", "seconds"),
    [
        ("aggregated_v9_modifiers.tsv", {"q": 3, "r": 2}, 3, 19.175),
        ("aggregated_v9_two_media.csv", {"s": 10, "p": 8}, 8, 92.225),
        ("tabular_2018_shifted_header.csv", {"s": 4}, 0, 24.55),
        ("tabular_old_ethome_multiple_behaviors.csv", {"mount": 2, "interact": 15}, 0, 43.87),
        ("tabular_old_ethome_one_behavior.csv", {"interact": 8}, 0, 9.1),
        ("tabular_old_excel_resaved_two_players.csv", {"attack": 3, "sniffing": 2}, 0, 11.051),
        ("tabular_old_header_lines.csv", {"s": 4}, 0, 24.55),
        ("tabular_old_header_lines.tsv", {"s": 4}, 0, 24.55),
        ("tabular_v8_no_time_offset_cut.csv", {"behavior1": 11, "behavior2": 15}, 0, 27.209),
        ("tabular_v9_modifiers.tsv", {"q": 3, "r": 2}, 3, 19.175),
        ("tabular_v9_observation1.csv", {"s": 4}, 0, 24.55),
        ("project_live_modifiers_spaces.boris", {"p": 4}, 4, 0.0),
        ("project_test.boris", {"p": 47, "s": 39, "q": 3, "r": 2}, 50, 563.447),
        ("project_without_media_paths.boris", {"p": 25, "s": 20, "q": 3, "r": 2}, 28, 177.23),
    ],
)
def test_real_files_hold_what_was_counted(
    real_data: Path, name: str, labels: dict[str, int], points: int, seconds: float
) -> None:
    marks = read_boris(real_data / "annotations" / "boris" / name, ReadOptions()).marks
    assert Counter(mark.label for mark in marks) == labels
    assert sum(mark.is_point for mark in marks) == points
    length = sum((mark.end_seconds or 0) - (mark.start_seconds or 0) for mark in marks)
    assert length == pytest.approx(seconds)


@pytest.mark.realdata
def test_a_real_file_with_149_transitions_has_no_holes(real_data: Path) -> None:
    file = real_data / "annotations/boris/aggregated_v7_points_states_indep_vars.csv"
    marks = read_boris(file, ReadOptions())
    assert len(marks.marks) == 266
    assert any(note.startswith("149 gaps of 1 ms") for note in marks.notes)
    affect = [mark for mark in marks.marks if mark.tier == "Affect"]
    for one, other in itertools.pairwise(affect):
        assert one.end_seconds == other.start_seconds


@pytest.mark.realdata
def test_three_layouts_of_one_real_observation_agree(real_data: Path, tmp_path: Path) -> None:
    """BORIS 7 does not say how long the two files are: two videos of these lengths do."""
    write_video(tmp_path / "video_test_25fps_180s.mp4", 179.96)
    write_video(tmp_path / "video_test_25fps_360s.mp4", 359.96)
    folder = real_data / "annotations" / "boris"
    old = read_boris(folder / "aggregated_v7_multi_media.tsv", ReadOptions(videos=tmp_path))
    new = read_boris(folder / "aggregated_v9_two_media.csv", ReadOptions())
    project = read_boris(folder / "project_test.boris", ReadOptions())
    of_project = [one for one in project.marks if one.extra["observation"] == "observation #2"]
    assert sorted(spans(new)) == sorted(spans(Marks(new.file, "", tuple(of_project))))
    assert len(old.marks) == len(new.marks) == 18
    for one, other in zip(spans(old), spans(new), strict=True):
        assert one[:2] == other[:2]
        assert one[2:] == pytest.approx(other[2:], abs=0.05)
    assert spans(new)[6] == ("video_test_25fps_360s.mp4", "s", 47.805, 73.53)


@pytest.mark.realdata
def test_boris_is_told_from_all_other_real_files(real_data: Path) -> None:
    for file in (real_data / "annotations").rglob("*"):
        if file.suffix in (".TextGrid", "") or not file.is_file():
            continue
        assert is_boris(file.read_text("utf-8")) == (file.parent.name == "boris"), file
