"""ActivityNet's JSON: segments in seconds; videos without any are unknown, not background."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.datasets.annotations.activitynet import (
    is_activitynet,
    read_activitynet,
    write_activitynet,
)
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError

ANY = ReadOptions()


def segment(start: Any, end: Any, label: Any = "run", **others: Any) -> dict[str, Any]:
    return {"segment": [start, end], "label": label, **others}


def video(*segments: Any, duration: Any = 10.0, **others: Any) -> dict[str, Any]:
    return {"duration": duration, "annotations": list(segments), **others}


def read(folder: Path, content: Any, options: ReadOptions = ANY) -> Marks:
    file = folder / "labels.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return read_activitynet(file, options)


def spans(marks: Marks) -> list[tuple[str, str, float | None, float | None]]:
    return [(mark.video, mark.label, mark.start_seconds, mark.end_seconds) for mark in marks.marks]


@pytest.mark.parametrize("root", ["database", "GT", None])
@pytest.mark.parametrize("duration", ["duration", "duration_second"])
def test_each_form_of_the_file_is_read(tmp_path: Path, root: str | None, duration: str) -> None:
    one = {duration: 10, "subset": "training", "annotations": [segment(1.5, 4)]}
    content = {"v_a": one} if root is None else {"version": "1.3", root: {"v_a": one}}
    assert is_activitynet(content)
    marks = read(tmp_path, content)
    assert spans(marks) == [("v_a", "run", 1.5, 4.0)]
    assert marks.marks[0].extra == {"split": "training"}
    assert marks.marks[0].where == "annotation 1"
    assert marks.duration_seconds == {"v_a": 10.0}
    assert (marks.notes, marks.looked_at) == ((), {})


def test_predictions_have_scores_and_say_what_they_are(tmp_path: Path) -> None:
    results = {"version": "1.3", "results": {"a": [segment(1, 2, score=0.25)], "b": []}}
    assert is_activitynet(results)
    marks = read(tmp_path, results)
    assert marks.format == "ActivityNet, results (predictions)"
    assert marks.marks[0].extra == {"score": "0.25"}


def test_what_is_outside_of_the_video_is_cut_off_and_counted(tmp_path: Path) -> None:
    segments = [segment(8, 12), segment(9, 10.1), segment(-1, 2), segment(10, 12), segment(-3, -1)]
    marks = read(tmp_path, {"database": {"a": video(*segments)}})
    assert spans(marks) == [
        ("a", "run", 8.0, 10.0),
        ("a", "run", 9.0, 10.0),
        ("a", "run", 0.0, 2.0),
    ]
    assert marks.notes == (
        "2 segments end after their videos and are cut there (the first: run 8-12 s of 10 in a)",
        "1 segments begin before 0 and are cut there (the first: run -1-2 s of 10 in a)",
        "2 segments lie outside of their videos and are dropped "
        "(the first: run 10-12 s of 10 in a)",
    )


def test_empty_and_reversed_segments_are_dropped_and_counted(tmp_path: Path) -> None:
    marks = read(tmp_path, {"a": video(segment(0, 0), segment(5, 4), segment(1, 2))})
    assert spans(marks) == [("a", "run", 1.0, 2.0)]
    assert marks.notes[0].startswith("2 segments end before or where they begin and are dropped")


def test_videos_without_a_segment_are_unknown(tmp_path: Path) -> None:
    content = {"a": video(segment(1, 2)), "b": video(), "c": video(segment(0, 0))}
    marks = read(tmp_path, content)
    assert marks.videos == ("a",)
    note = "2 videos without a segment are unknown, not background, and are left out: b, c"
    assert marks.notes[-1] == note


def test_one_segment_under_two_labels_stays_twice(tmp_path: Path) -> None:
    both = [segment(1, 2, "Diving"), segment(1, 2, "CliffDiving")]
    marks = read(tmp_path, {"a": video(*both)})
    assert [mark.label for mark in marks.marks] == ["Diving", "CliffDiving"]
    assert marks.notes == ("1 segments repeat another one, under a second label; all are kept",)


def test_labels_are_chosen(tmp_path: Path) -> None:
    content = {"a": video(segment(1, 2), segment(2, 3, "Mooping floor"))}
    marks = read(tmp_path, content, ReadOptions(labels=("Mooping floor",)))
    assert spans(marks) == [("a", "Mooping floor", 2.0, 3.0)]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (video(segment("1", 2)), r"video a: annotation 1: start is '1'; it must be a number"),
        (video(segment(1, float("nan"))), "end is nan; it must be a number"),
        (video({"segment": [1], "label": "x"}), r"segment is \[1\]; it must be \[start, end\]"),
        (video({"label": "x"}), "segment is None; it must be a list"),
        (video(segment(1, 2, None)), "label is None; it must be a text"),
        (video(segment(1, 2, score="high")), "score is 'high'; it must be a number"),
        (video(segment(1, 2), duration=0), "duration is 0; it must be above 0"),
        (video(segment(1, 2), duration="10"), "duration is '10'; it must be a number"),
        (video("text"), "annotation 1 is 'text'; it must be an object"),
        (video(segment(1, 10**400)), "end is 1000.*; it must be a number"),
        ("text", "video a is 'text'; it must be an object"),
        ({"duration": 3, "annotations": None}, "annotations is None; it must be a list"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, one: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        read(tmp_path, {"database": {"b": video(segment(1, 2)), "a": one}})
    assert "labels.json: video a" in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        "text",
        {"database": []},
        {"results": {}},
        {"a": {"annotations": []}},
        {"images": [], "annotations": []},
        {"observations": {"a": {"events": []}}},
        [{"data": {"video": "a"}, "annotations": []}],
    ],
)
def test_other_json_is_not_taken_for_it(tmp_path: Path, content: Any) -> None:
    assert not is_activitynet(content)
    with pytest.raises(DatasetError, match="is not of ActivityNet's form"):
        read(tmp_path, content)


TIMES = st.floats(0, 1e5, allow_subnormal=False)
DRAWN = st.tuples(st.text(min_size=1), st.sampled_from(["a", "b/ü.mp4", ""]), TIMES, TIMES)


@given(
    st.lists(DRAWN, max_size=8),
    st.dictionaries(st.sampled_from(["a", "c"]), st.just(2e5)),
    st.sampled_from([{}, {"split": "validation"}]),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[str, str, float, float]],
    durations: dict[str, float],
    extra: dict[str, str],
) -> None:
    file = tmp_path_factory.mktemp("round") / "labels.json"
    marks = tuple(
        Mark(label, min(times), max(times), name, extra=extra)
        for label, name, *times in drawn
        if times[0] != times[1]
    )
    write_activitynet(Marks(file, "test", marks, duration_seconds=durations), file)
    if not marks and not durations:
        return
    back = read_activitynet(file, ANY)
    names = list(dict.fromkeys(mark.video for mark in marks))
    assert list(back.marks) == sorted(marks, key=lambda mark: names.index(mark.video))
    assert back.duration_seconds == durations


def test_what_the_form_cannot_hold_is_told_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    marks = (
        Mark("run", None, None, "a", subject="ann", tier="t"),
        Mark("hit", 1.0, 1.0, "a", extra={"comment": "x"}),
    )
    source = Marks(file, "test", marks, {"b": ((0.0, 9.0),)}, duration_seconds={"a": 5.0})
    assert write_activitynet(source, file) == (
        "not written: the subjects of 1 marks",
        "not written: the tiers of 1 marks",
        "not written: further columns of 1 marks",
        "not written: 1 points, which have no length",
        "not written: where somebody looked, in 1 videos",
        "1 videos without marks are unknown in this form, not background",
    )
    assert spans(read_activitynet(file, ANY)) == [("a", "run", 0.0, 5.0)]
    with pytest.raises(DatasetError, match="whose length is not known; give it an end"):
        write_activitynet(Marks(file, "test", (Mark("run", 0.0, None, "a"),)), file)
    torn = tuple(Mark("run", 0.0, 1.0, "a", extra={"split": side}) for side in ("test", "train"))
    with pytest.raises(DatasetError, match="a is in test and train; a video is in one split"):
        write_activitynet(Marks(file, "test", torn), file)


@pytest.mark.realdata
def test_real_files(real_data: Path) -> None:
    folder = real_data / "annotations" / "activitynet_thumos"
    thumos = read_activitynet(folder / "thumos14_actionformer_cut.json", ANY)
    assert (len(thumos.marks), len(thumos.videos)) == (274 - 28, 24)
    assert [note.split()[0] for note in thumos.notes] == ["28", "19"]
    bsn = read_activitynet(folder / "bsn_anet_anno_no_root_cut.json", ANY)
    assert (len(bsn.marks), len(bsn.duration_seconds)) == (40, 43)
    assert [note.split()[0] for note in bsn.notes] == ["6", "12", "16"]
    own = read_activitynet(folder / "custom_gt_root_key_GT.json", ANY)
    assert (len(own.marks), own.notes) == (6, ())
    results = read_activitynet(folder / "activitynet_results_first30.json", ANY)
    assert (len(results.marks), len(results.videos)) == (48, 30)
