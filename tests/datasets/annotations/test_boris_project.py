"""BORIS's projects: presses that alternate become marks on each video's own clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actionrnn.datasets.annotations.boris import is_boris, read_boris
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError

ETHOGRAM = {
    "0": {"code": "sit", "type": "State event", "category": "posture"},
    "1": {"code": "call", "type": "Point event", "category": ""},
    "2": {"code": "walk", "type": "State event with coding map"},
}


def observation(*events: object, **other: Any) -> dict[str, Any]:
    return {
        "type": "MEDIA",
        "file": {"1": ["a.mp4"], "2": []},
        "time offset": 0.0,
        "events": list(events),
        "media_info": {"length": {"a.mp4": 60.0}, "offset": {"1": 0.0}},
        **other,
    }


def project_of(**observations: Any) -> dict[str, Any]:
    return {
        "project_format_version": "7.0",
        "subjects_conf": {},
        "behaviors_conf": ETHOGRAM,
        "observations": observations,
    }


def read(folder: Path, project: dict[str, Any]) -> Marks:
    file = folder / "all.boris"
    file.write_text(json.dumps(project), encoding="utf-8")
    return read_boris(file, ReadOptions())


def spans(marks: Marks) -> list[tuple[str, str, float | None, float | None]]:
    return [(one.video, one.label, one.start_seconds, one.end_seconds) for one in marks.marks]


def test_presses_alternate_whether_they_have_5_or_6_items(tmp_path: Path) -> None:
    events = [
        [1.0, "ann", "sit", "a |None", "begin"],
        [2.0, "", "call", "", "", "NA"],
        [3.0, "", "sit", "", "", 75],
        [4.0, "ann", "sit", "a |None", "end", 100],
        [5.5, "", "sit", "", ""],
    ]
    marks = read(tmp_path, project_of(one=observation(*events, independent_variables={"a": "7"})))
    of_ann = {
        "observation": "one",
        "a": "7",
        "modifiers": "a|None",
        "comment": "begin",
        "comment stop": "end",
    }
    assert marks.marks == (
        Mark("sit", 1.0, 4.0, "a.mp4", "ann", "posture", of_ann),
        Mark("call", 2.0, 2.0, "a.mp4", extra={"observation": "one", "a": "7"}),
        Mark("sit", 3.0, 5.5, "a.mp4", "", "posture", {"observation": "one", "a": "7"}),
    )
    assert marks.duration_seconds == {"a.mp4": 60.0}
    assert marks.marks[0].where == "observation 'one', event 1"


def test_a_queue_an_offset_a_second_player_and_a_live_observation(tmp_path: Path) -> None:
    queue = observation(
        [108.0, "", "walk", "", ""],
        [113.0, "", "walk", "", ""],
        file={"1": ["a.mp4", "b.mp4"], "2": ["c.mp4"]},
        media_info={"length": {"a.mp4": 10.0}, "offset": {"1": 0.0, "2": -20.0}},
    )
    queue["time offset"] = 100.0
    live = observation([1, "", "sit", "", ""], [2, "", "sit", "", ""], type="LIVE", file=[])
    marks = read(tmp_path, project_of(queue=queue, live=live))
    assert spans(marks) == [
        ("a.mp4", "walk", 8.0, 10.0),
        ("b.mp4", "walk", 0.0, 3.0),
        ("", "sit", 1.0, 2.0),
    ]
    assert marks.notes == (
        "observation 'queue' also plays player #2 'c.mp4' (offset -20.0 s); the marks are on the "
        "clock of player #1",
        "1 states run over the border of two queued files and are cut there (the first: walk at "
        "108.000 s of observation 'queue')",
        "1 marks of 1 live observations have no video (the first: 'live')",
    )


def test_the_date_of_the_video_is_subtracted(tmp_path: Path) -> None:
    events = [1.6e9 + 1, "", "sit", "", ""], [1.6e9 + 2.5, "", "sit", "", ""]
    info = {"length": {"a.mp4": 60.0}, "media_creation_time": {"/x/a.mp4": 1600000000}}
    dated = observation(*events, media_creation_date_as_offset=True, media_info=info)
    assert spans(read(tmp_path, project_of(one=dated))) == [("a.mp4", "sit", 1.0, 2.5)]
    dated["file"] = {"1": ["a.mp4", "b.mp4"]}
    with pytest.raises(DatasetError, match="counts time from the creation of each of 2 media"):
        read(tmp_path, project_of(one=dated))


def test_what_is_not_paired_or_not_defined_is_dropped_with_a_note(tmp_path: Path) -> None:
    events = [[1, "", "sit", "", ""], [2, "", "sit", "", ""], [3, "", "sit", "", ""]]
    marks = read(tmp_path, project_of(one=observation(*events, [4, "", "fly", "", ""])))
    assert spans(marks) == [("a.mp4", "sit", 1.0, 2.0)]
    assert marks.notes[0].startswith("1 events of 1 behaviours that the project does not define")
    assert "1 presses have no START or no STOP" in marks.notes[1]
    assert "(the first: sit at 3.000 s of observation 'one')" in marks.notes[1]


def test_a_gap_of_a_millisecond_is_closed(tmp_path: Path) -> None:
    times = (1.0, "sit"), (4.115, "sit"), (4.116, "walk"), (6.0, "walk")
    events = [[time, "", label, "", ""] for time, label in times]
    marks = read(tmp_path, project_of(one=observation(*events)))
    assert spans(marks) == [("a.mp4", "sit", 1.0, 4.116), ("a.mp4", "walk", 4.116, 6.0)]


def test_an_interval_that_was_to_be_coded_is_where_somebody_looked(tmp_path: Path) -> None:
    events = [5, "", "call", "", ""]
    part = observation(events, **{"observation time interval": [2, 20.5]})
    other = observation(**{"observation time interval": [0, 0]}, file={"1": ["b.mp4"]})
    marks = read(tmp_path, project_of(one=part, two=part, three=other))
    assert marks.looked_at == {"a.mp4": ((2.0, 20.5),)}


def test_pictures_are_left_out_or_refused(tmp_path: Path) -> None:
    pictures = {"type": "IMAGES", "events": [[None, "", "sit", "", "", 1, "a.png"]]}
    marks = read(tmp_path, project_of(one=observation(), two=pictures))
    assert marks.notes == ("1 observations are coded on pictures, without a clock: left out",)
    with pytest.raises(DatasetError, match="is coded on pictures, which have no clock"):
        read(tmp_path, project_of(two=pictures))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"events": [["x", "", "sit", "", ""]]}, "event 1: 'x' is no number of seconds"),
        ({"events": [[float("nan"), "", "sit", "", ""]]}, "event 1: 'nan' is no number"),
        ({"events": [[1, "", "sit"]]}, r"event 1: .* is not \[time, subject, behaviour"),
        ({"events": None}, "observation 'one' has no list of events"),
        ({"file": []}, "is of type 'MEDIA' with the media"),
        ({"file": {"1": "a.mp4"}}, "is of type 'MEDIA' with the media"),
        ({"file": {"1": []}}, "plays no media file"),
        ({"type": "VIDEO"}, "is of type 'VIDEO'.* open it in BORIS 7"),
        ({"time offset": "late"}, "'late' is no number of seconds"),
        (
            {"file": {"1": ["b.mp4", "a.mp4"]}},
            "over 2 files and does not say how long 'b.mp4' is",
        ),
        ({"media_info": {"length": {"a.mp4": "long"}}}, "length of a.mp4: 'long' is no number"),
    ],
)
def test_damaged_observations_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    one = {**observation([1, "", "call", "", ""]), **change}
    with pytest.raises(DatasetError, match=message) as error:
        read(tmp_path, project_of(one=one))
    assert "\n" not in str(error.value)


def test_damaged_json_is_refused(tmp_path: Path) -> None:
    whole = json.dumps(project_of(one=observation()))
    file = tmp_path / "a.boris"
    for text, message in (
        (whole[:-9], "is not valid JSON"),
        (whole.replace('"State event"', "7"), "a behaviour has the type 7, not a text"),
        (whole.replace('"code": "sit"', '"code": null'), "a behaviour has the code None"),
        (whole.replace('"observations": {', '"observations": [], "x": {'), "no 'observations'"),
    ):
        file.write_text(text)
        assert is_boris(text)
        with pytest.raises(DatasetError, match=message):
            read_boris(file, ReadOptions())
