"""Label Studio's timelines: frames from 1, both ends included, at a rate that somebody says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.datasets.annotations.label_studio import read_label_studio, write_label_studio
from actionrnn.datasets.annotations.label_studio_tasks import is_label_studio
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError

AT_10 = ReadOptions(rate_fps=10)
SETUP = (
    '<View><Video name="video" value="$clip" {}/><TimelineLabels name="t" toName="video"/></View>'
)


def region(start: Any, end: Any, *labels: str, **others: Any) -> dict[str, Any]:
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": list(labels or ["run"])}
    return {
        "from_name": "t",
        "to_name": "video",
        "type": "timelinelabels",
        "value": value,
    } | others


def rectangle(*keys: tuple[int, bool], rate: float | None = None, **value: Any) -> dict[str, Any]:
    sequence: list[dict[str, Any]] = [{"frame": f, "enabled": e, "x": 1.0} for f, e in keys]
    for key in sequence:
        if rate is not None:
            key["time"] = key["frame"] / rate
    return {"type": "videorectangle", "value": {"labels": ["cat"], "sequence": sequence} | value}


def answer(*regions: Any, by: Any = 1, **others: Any) -> dict[str, Any]:
    return {"completed_by": by, "result": list(regions), **others}


def task(*answers: Any, video: str = "a.mp4", **others: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"video": video}, "annotations": list(answers), **others}


def write(folder: Path, content: Any) -> Path:
    file = folder / "export.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def read(folder: Path, content: Any, options: ReadOptions = AT_10) -> Marks:
    assert is_label_studio(content)
    return read_label_studio(write(folder, content), options)


def spans(marks: Marks) -> list[tuple[str, float | None, float | None]]:
    return [(mark.label, mark.start_seconds, mark.end_seconds) for mark in marks.marks]


# Frames


def test_frames_count_from_1_and_the_last_is_included(tmp_path: Path) -> None:
    marks = read(tmp_path, [task(answer(region(1, 10), region(5, 5, "jump")))])
    assert spans(marks) == [("run", 0.0, 1.0), ("jump", 0.4, 0.5)]
    assert [mark.video for mark in marks.marks] == ["a.mp4", "a.mp4"]
    assert marks.marks[0].tier == "t"
    assert marks.marks[0].extra == {"annotator": "1"}
    assert marks.notes == ()


def test_a_start_of_0_counts_the_whole_file_from_0_without_the_end(tmp_path: Path) -> None:
    marks = read(tmp_path, [task(answer(region(0, 10), region(10, 20)))])
    assert spans(marks) == [("run", 0.0, 1.0), ("run", 1.0, 2.0)]
    assert "counted from 0 and do not include the last one" in marks.notes[0]


def test_a_single_frame_counted_from_0_includes_the_end(tmp_path: Path) -> None:
    marks = read(tmp_path, [task(answer(region(0, 9), region(10, 10)))])
    assert spans(marks) == [("run", 0.0, 1.0), ("run", 1.0, 1.1)]
    assert "counted from 0 and include the last one" in marks.notes[0]


def test_several_labels_and_ranges_are_a_mark_each(tmp_path: Path) -> None:
    both = region(1, 10, "run", "shout")
    both["value"]["ranges"].append({"start": 21, "end": 30})
    assert spans(read(tmp_path, [task(answer(both))])) == [
        ("run", 0.0, 1.0),
        ("shout", 0.0, 1.0),
        ("run", 2.0, 3.0),
        ("shout", 2.0, 3.0),
    ]


def test_regions_of_the_wrong_type_name_are_read_by_their_content(tmp_path: Path) -> None:
    marks = read(tmp_path, [task(answer(region(1, 10) | {"type": "timeserieslabels"}))])
    assert spans(marks) == [("run", 0.0, 1.0)]


def test_open_reversed_and_nameless_regions_are_dropped_and_counted(tmp_path: Path) -> None:
    nameless = region(1, 2)
    nameless["value"]["timelinelabels"] = []
    regions = [region(3, None), region(None, 4), region(10, 9), nameless, region(1, 10)]
    marks = read(tmp_path, [task(answer(*regions))])
    assert spans(marks) == [("run", 0.0, 1.0)]
    notes = " | ".join(marks.notes)
    assert "2 ranges without a start or an end, 1 ranges that end before they start" in notes
    assert "1 regions have no label and are dropped" in notes


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (1.5, 3, r"region 1 of task 7: start is 1.5; it must be a whole number"),
        ("1", 3, r"start is '1'; it must be a number"),
        (True, 3, r"start is True; it must be a number"),
        (1, math.nan, r"end is nan; it must be a number"),
        (-1, 3, r"starts at frame -1"),
    ],
)
def test_frames_that_are_none_are_refused(
    tmp_path: Path, start: Any, end: Any, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, [task(answer(region(start, end)))])


# The rate


def webhook(setup: str, **data: Any) -> dict[str, Any]:
    clip = {"clip": "v.mp4", "other": "w.mp4", **data}
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": answer(region(1, 50)),
        "project": {"id": 1, "label_config": SETUP.format(setup)},
        "task": {"id": 3, "data": clip},
    }


def test_the_rate_is_never_guessed(tmp_path: Path) -> None:
    message = r"24 unless somebody changed it, whatever the video has; say it by rate_fps$"
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, [task(answer(region(1, 10)))], ReadOptions())


def test_a_set_up_without_a_rate_does_not_tell_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="24 unless somebody changed it"):
        read(tmp_path, webhook(""), ReadOptions())


@pytest.mark.parametrize(
    ("setup", "seconds"),
    [
        ('frameRate="25"', 2.0),
        ('framerate="25.0"', 2.0),
        ('frameRate="0.04"', 2.0),  # seconds a frame
        ('frameRate="$fps"', 1.0),
    ],
)
def test_the_set_up_in_the_file_tells_the_rate(tmp_path: Path, setup: str, seconds: float) -> None:
    marks = read(tmp_path, webhook(setup, fps=50), ReadOptions())
    assert spans(marks) == [("run", 0.0, pytest.approx(seconds))]
    assert marks.marks[0].video == "v.mp4"  # the set-up says which of two
    assert marks.notes[0].startswith("frames are counted at")


def test_a_given_rate_counts_and_a_different_one_in_the_file_is_told(tmp_path: Path) -> None:
    marks = read(tmp_path, webhook('frameRate="25"'), AT_10)
    assert spans(marks) == [("run", 0.0, 5.0)]
    assert "10 a second as given; the file says 25" in marks.notes[0]
    same = read(tmp_path, webhook('frameRate="29.97"'), ReadOptions(rate_fps=30000 / 1001))
    assert same.notes == ()


def test_tasks_hint_at_a_rate_and_do_not_tell_it(tmp_path: Path) -> None:
    item = task(answer(region(1, 10)))
    item["data"]["fps"] = 30
    with pytest.raises(DatasetError, match=r"rate_fps \(a task says fps = 30\)"):
        read(tmp_path, [item], ReadOptions())


# Rectangles and audio


def test_a_rectangle_is_there_from_its_first_key_to_the_one_that_disables_it(
    tmp_path: Path,
) -> None:
    keys = [(11, True), (15, True), (20, False), (31, True), (40, False), (45, False)]
    marks = read(tmp_path, [task(answer(rectangle(*keys)))])
    assert spans(marks) == [("cat", 1.0, 2.0), ("cat", 3.0, 4.0)]
    assert "2 marks are the times at which a rectangle is there" in marks.notes[0]


def test_a_rectangle_that_stays_lasts_to_the_end_of_the_video(tmp_path: Path) -> None:
    open_end = read(tmp_path, [task(answer(rectangle((11, True))))])
    assert spans(open_end) == [("cat", 1.0, None)]
    counted = read(tmp_path, [task(answer(rectangle((11, True), framesCount=50, duration=5.0)))])
    assert spans(counted) == [("cat", 1.0, 5.0)]
    assert counted.duration_seconds == {"a.mp4": 5.0}


def test_key_frames_tell_the_rate_by_their_times(tmp_path: Path) -> None:
    keys = rectangle((25, True), (50, True), (100, False), rate=25)
    assert spans(read(tmp_path, [task(answer(keys))], ReadOptions())) == [("cat", 0.96, 4.0)]
    for shifted in keys["value"]["sequence"]:
        shifted["time"] -= 1 / 25  # of another program: the ratio is no rate
    with pytest.raises(DatasetError, match="say it by rate_fps"):
        read(tmp_path, [task(answer(keys))], ReadOptions())
    with pytest.raises(DatasetError, match="say it by rate_fps"):  # one key frame proves nothing
        read(tmp_path, [task(answer(rectangle((25, True), rate=25)))], ReadOptions())


@pytest.mark.parametrize("time", [10**400, 0, True, None, "1"])
def test_key_frames_without_a_time_tell_no_rate(tmp_path: Path, time: Any) -> None:
    keys = rectangle((25, True), (100, False), rate=25)
    keys["value"]["sequence"][1]["time"] = time
    with pytest.raises(DatasetError, match="say it by rate_fps"):
        read(tmp_path, [task(answer(keys))], ReadOptions())


def test_two_rates_in_one_answer_are_refused(tmp_path: Path) -> None:
    both = [rectangle((1, True), (9, False), rate=rate) for rate in (24, 25)]
    with pytest.raises(DatasetError, match="says 24 and 25 frames a second; choose by rate_fps"):
        read(tmp_path, [task(answer(*both))], ReadOptions())


def test_key_frames_count_from_1(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has key frame 0; Label Studio counts from 1"):
        read(tmp_path, [task(answer(rectangle((0, True), (5, False))))])


def test_labels_of_an_audio_track_are_in_seconds(tmp_path: Path) -> None:
    value = {"start": 1.25, "end": 3.5, "channel": 0, "labels": ["talk"]}
    audio = {"type": "labels", "from_name": "tag", "value": value, "original_length": 8.0}
    marks = read(tmp_path, [task(answer(audio))], ReadOptions())
    assert spans(marks) == [("talk", 1.25, 3.5)]
    assert marks.duration_seconds == {"a.mp4": 8.0}


def test_an_end_after_the_video_makes_the_rate_suspect(tmp_path: Path) -> None:
    short = rectangle((1, True), (5, False), duration=2.0)
    marks = read(tmp_path, [task(answer(short, region(1, 20), region(1, 30, "late")))])
    assert "1 marks end after their video (the first: late until 3 s of 2)" in marks.notes[-1]


def test_other_results_are_counted(tmp_path: Path) -> None:
    choice = {"type": "choices", "from_name": "c", "value": {"choices": ["x"]}}
    words = {"type": "labels", "value": {"start": 1, "end": 5, "text": "abc", "labels": ["noun"]}}
    marks = read(tmp_path, [task(answer(region(1, 10), choice, words))])
    assert spans(marks) == [("run", 0.0, 1.0)]
    assert marks.notes == ("left out: 1 results of type choices, 1 results of type labels",)
    with pytest.raises(DatasetError, match="no label with a begin and an end, but 1 results of"):
        read(tmp_path, [task(answer(choice))])


# Tasks, annotators, predictions


def test_several_annotators_of_a_task_are_named_and_chosen(tmp_path: Path) -> None:
    content = [
        task(answer(region(1, 10)), answer(region(1, 20), by={"id": 12, "email": "b@x.org"})),
    ]
    with pytest.raises(DatasetError, match="task 7 has 2 answers, by 1, 12; choose one by annot"):
        read(tmp_path, content)
    chosen = read(tmp_path, content, ReadOptions(rate_fps=10, annotators=("12",)))
    assert spans(chosen) == [("run", 0.0, 2.0)]
    assert chosen.marks[0].extra == {"annotator": "12"}
    assert chosen.notes == ("1 answers of other annotators are left out",)
    both = read(tmp_path, content, ReadOptions(rate_fps=10, annotators=("1", "12")))
    assert [mark.extra["annotator"] for mark in both.marks] == ["1", "12"]
    with pytest.raises(DatasetError, match="has no annotator '3'; there are 1, 12"):
        read(tmp_path, content, ReadOptions(rate_fps=10, annotators=("3",)))


def test_annotators_of_different_tasks_need_no_choice(tmp_path: Path) -> None:
    first = task(answer(region(1, 10)))
    second = task(answer(region(1, 10), by=2), video="b.mp4") | {"id": 8}
    marks = read(tmp_path, [first, second])
    assert [(mark.video, mark.extra["annotator"]) for mark in marks.marks] == [
        ("a.mp4", "1"),
        ("b.mp4", "2"),
    ]


def test_two_answers_of_one_annotator_are_refused(tmp_path: Path) -> None:
    content = [task(answer(region(1, 10)), answer(region(1, 20)))]
    with pytest.raises(DatasetError, match="has 2 answers by 1; delete all but one"):
        read(tmp_path, content)


def test_cancelled_annotations_are_left_out(tmp_path: Path) -> None:
    cancelled = answer(region(1, 20), by=2, was_cancelled=True)
    marks = read(tmp_path, [task(answer(region(1, 10)), cancelled)])
    assert spans(marks) == [("run", 0.0, 1.0)]
    assert marks.notes == ("1 cancelled annotations are left out",)


def test_predictions_count_only_where_there_are_no_annotations(tmp_path: Path) -> None:
    predicted = {"model_version": "m1", "result": [region(1, 30, score=0.5)]}
    marks = read(tmp_path, [task(answer(region(1, 10)), predictions=[predicted])])
    assert spans(marks) == [("run", 0.0, 1.0)]
    assert marks.notes == ("1 predictions are left out: there are annotations",)
    alone = read(tmp_path, [task(predictions=[predicted])])
    assert spans(alone) == [("run", 0.0, 3.0)]
    assert alone.marks[0].extra == {"annotator": "m1", "score": "0.5"}
    assert alone.format == "Label Studio, predictions"
    assert alone.notes == ("there are no annotations: 1 predictions are read",)


def test_tasks_without_a_label_are_unknown(tmp_path: Path) -> None:
    empty = [task(video="b.mp4") | {"id": 8}, task(answer(), video="c.mp4") | {"id": 9}]
    marks = read(tmp_path, [task(answer(region(1, 10))), *empty])
    assert marks.videos == ("a.mp4",)
    assert marks.notes == ("2 tasks without a label in time are unknown, not background",)


def test_comments_are_kept(tmp_path: Path) -> None:
    marks = read(tmp_path, [task(answer(region(1, 10, meta={"text": ["unclear", "dark"]})))])
    assert marks.marks[0].extra["comment"] == "unclear; dark"


def test_a_single_task_old_completions_and_bare_predictions_are_read(tmp_path: Path) -> None:
    assert spans(read(tmp_path, task(answer(region(1, 10))))) == [("run", 0.0, 1.0)]
    old = {"id": 1, "data": {"video": "a.mp4"}, "completions": [answer(region(1, 10))]}
    assert spans(read(tmp_path, [old])) == [("run", 0.0, 1.0)]
    bare = read(tmp_path, [{"model_version": "m", "result": [region(1, 10)]}])
    assert [(mark.video, mark.label) for mark in bare.marks] == [("export", "run")]


def test_json_min_has_a_row_for_each_annotation(tmp_path: Path) -> None:
    value = [{"ranges": [{"start": 1, "end": 10}], "timelinelabels": ["run"]}]
    row = {"id": 5, "video": "/data/upload/1/3d3ad63e-a.mp4", "annotator": 2, "lead_time": 3.5}
    rows = [row | {"events": value, "annotation_id": 1}, row | {"id": 6, "annotation_id": 2}]
    marks = read(tmp_path, rows)
    assert spans(marks) == [("run", 0.0, 1.0)]
    mark = marks.marks[0]
    assert (mark.video, mark.tier, mark.extra) == ("a.mp4", "events", {"annotator": "2"})
    with pytest.raises(DatasetError, match="task 5 has 2 answers, by 2, 3"):
        read(tmp_path, [rows[0], rows[0] | {"annotator": 3}])


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/1/3d3ad63e-my%20clip.mp4", "my clip.mp4"),
        ("https://host/data/upload/8/1fd99634-a.mp4", "a.mp4"),
        ("/data/upload/1fd99634-a.mp4", "a.mp4"),
        ("/data/upload/1/plain-a.mp4", "plain-a.mp4"),
        ("/data/local-files/?d=day%201/a.mp4", "day 1/a.mp4"),
        ("s3://bucket/day/a.mp4", "s3://bucket/day/a.mp4"),
        ("https://host/day/a.mp4?token=x", "/day/a.mp4"),
        ("C:\\day\\a.mp4", "C:\\day\\a.mp4"),
        ("deadbeef-a.mp4", "deadbeef-a.mp4"),  # its own name: only an upload has a prefix
    ],
)
def test_the_video_has_its_own_name(tmp_path: Path, address: str, name: str) -> None:
    assert read(tmp_path, [task(answer(region(1, 2)), video=address)]).marks[0].video == name


def test_the_video_is_found_beside_other_data(tmp_path: Path) -> None:
    data = {"note": "morning", "videoSource": "/data/upload/1/3d3ad63e-a.mp4"}
    item = task(answer(region(1, 2))) | {"data": data | {"video": "<video src='x'/>"}}
    assert read(tmp_path, [item]).marks[0].video == "a.mp4"


# Damage


@pytest.mark.parametrize(
    "content",
    [[], {}, "text", [1], [{}], [{"data": {}}], {"annotations": [{"id": 1}], "images": []}],
)
def test_other_json_is_not_taken_for_it(tmp_path: Path, content: Any) -> None:
    assert not is_label_studio(content)
    with pytest.raises(DatasetError, match="is not of Label Studio's form"):
        read_label_studio(write(tmp_path, content), AT_10)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"value": 1}, "value is 1; it must be an object"),
        ({"value": {"ranges": 5}}, "ranges is 5; it must be a list"),
        ({"value": {"ranges": [5]}}, "a range is 5; it must be an object"),
        ({"value": {"sequence": [{"frame": None}]}}, "frame is None; it must be a number"),
        ("text", "region 1 of task 7 is 'text'; it must be an object"),
        (region(1, 2, "") | {}, "a label is ''; it must be a text"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, bad: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        read(tmp_path, [task(answer(bad))])
    assert "export.json" in str(error.value)


def test_a_file_that_is_cut_off_is_one_line(tmp_path: Path) -> None:
    file = write(tmp_path, [task(answer(region(1, 10)))])
    file.write_text(file.read_text()[:-20])
    with pytest.raises(DatasetError, match=r"is not JSON \(.*\); is it cut off\?"):
        read_label_studio(file, AT_10)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_label_studio(tmp_path / "missing.json", AT_10)


# Writing

LABELS = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12)
MARKS = st.tuples(
    LABELS, st.sampled_from(["a.mp4", "b c.mp4"]), st.integers(0, 5000), st.integers(1, 500)
)


@given(st.lists(MARKS, max_size=8), st.sampled_from([24.0, 25.0, 30000 / 1001, 12.5]))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, str, int, int]], rate: float
) -> None:
    file = tmp_path_factory.mktemp("round") / "tasks.json"
    marks = tuple(
        Mark(label, first / rate, (first + length) / rate, video, tier="t")
        for label, video, first, length in drawn
    )
    assert write_label_studio(Marks(file, "test", marks), file, rate) == ()
    if not marks:
        assert json.loads(file.read_text()) == []
        return
    back = read_label_studio(file, ReadOptions(rate_fps=rate))
    order = sorted(marks, key=lambda mark: marks[0].video != mark.video)
    assert list(back.marks) == order


def test_a_prediction_is_written_to_be_corrected(tmp_path: Path) -> None:
    file = tmp_path / "tasks.json"
    marks = (
        Mark("run", 0.0, 1.0, "a.mp4", subject="ann", extra={"score": "0.75", "x": "y"}),
        Mark("hit", 2.0, 2.0, "a.mp4"),
        Mark("rest", 3.0, None, "a.mp4"),
    )
    source = Marks(file, "test", marks, {"a.mp4": ((0, 5),)}, duration_seconds={"a.mp4": 5.0})
    notes = write_label_studio(source, file, 10, model_version="m1")
    assert notes == (
        "not written: the subjects of 1 marks",
        "not written: further columns of 1 marks",
        "not written: where somebody looked, in 1 videos",
        "1 points and marks shorter than a frame are written as one frame",
    )
    back = read_label_studio(file, AT_10)
    assert back.format == "Label Studio, predictions"
    assert spans(back) == [("run", 0.0, 1.0), ("hit", 2.0, 2.1), ("rest", 3.0, 5.0)]
    assert back.marks[0].extra == {"annotator": "m1", "score": "0.75"}
    assert {mark.tier for mark in back.marks} == {"videoLabels"}
    assert json.loads(file.read_text())[0]["data"] == {"video": "a.mp4", "fps": 10}


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tasks.json"
    with pytest.raises(DatasetError, match=r"lasts until the end of a\.mp4, whose length is not"):
        write_label_studio(Marks(file, "test", (Mark("a", 1.0, None, "a.mp4"),)), file, 10)
    with pytest.raises(DatasetError, match="rate_fps is 0; it must be above 0"):
        write_label_studio(Marks(file, "test", ()), file, 0)
    assert not file.exists()


@pytest.mark.realdata
def test_real_files(real_data: Path) -> None:
    folder = real_data / "annotations" / "label_studio"
    webhook = read_label_studio(folder / "timelinelabels_webhook_task.json", ReadOptions())
    assert spans(webhook) == [("Car", 0.0, 0.4), ("croquet_ball", 0.16, 0.6)]
    assert webhook.videos == ("tests/opossum_snow_short.mp4",)
    predicted = folder / "timelinelabels_predictions_from_test.json"
    with pytest.raises(DatasetError, match="24 unless"):
        read_label_studio(predicted, ReadOptions())
    marks = read_label_studio(predicted, ReadOptions(rate_fps=25))
    assert spans(marks)[0] == ("Car", 0.0, 0.6)
    assert spans(marks)[4] == ("Car", 1.32, 1.36)  # one frame, 34-34
    keys = read_label_studio(folder / "videorectangle_keyframes_task.json", ReadOptions())
    assert spans(keys) == [("Possum", 768 / 24, 882 / 24)]
    assert keys.videos == ("video_a.mp4",)
    dense = read_label_studio(folder / "videorectangle_predictions.json", ReadOptions())
    assert len(dense.marks) == 6
    assert max(mark.end_seconds or 0 for mark in dense.marks) == pytest.approx(35 / 29.97, 1e-4)
