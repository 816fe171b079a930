"""Label Studio's JSON: the video timeline, and what else in it has a begin and an end.

Read: exports (JSON and JSON-MIN), single tasks, bodies of webhooks, predictions alone; timeline
labels in frames, labels of an audio track in seconds, and rectangles as long as they are there. See
https://labelstud.io/tags/timelinelabels and https://labelstud.io/guide/task_format.

Label Studio counts frames from 1 and includes the last one, at the `frameRate` of its <Video> tag:
24 unless somebody set it, whatever rate the video has. Exports do not hold it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from actionrnn.datasets.annotations.json_values import (
    is_positive,
    load_json,
    mapping,
    number,
    sequence,
    shown,
    text,
    whole_number,
)
from actionrnn.datasets.annotations.label_studio_rates import Rates
from actionrnn.datasets.annotations.label_studio_tasks import (
    Answer,
    address_of,
    answers_in,
    chosen_answers,
    is_label_studio,
    number_of_tasks,
    video_of,
)
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.datasets.annotations.writing import (
    bounds,
    marks_by_video,
    require_rate,
    what_is_lost,
)
from actionrnn.errors import DatasetError
from actionrnn.files import write_text
from actionrnn.text import plain

CONTROL = "videoLabels"
"""The name of the <TimelineLabels> tag in whose lane marks without a tier are written."""
_LABELS = ("timelinelabels", "timeserieslabels", "labels")
"""Where the labels of a region stand; the second in files that were made by hand."""
_MUCH_LATER = 1.001  # times the length of the video


@dataclass(frozen=True)
class _Part:
    """From when to when a region is, as the file counts."""

    answer: Answer
    region: Mapping[str, Any]
    unit: Literal["range", "keys", "seconds"]
    start: float
    end: float | None
    """None: until the video's end."""
    where: str = ""


def read_label_studio(file: Path, options: ReadOptions) -> Marks:
    """The labelled parts of the timelines in a file of Label Studio.

    Frames s to e, counted from 1 and both included, are [s - 1, e) / rate in seconds. A file with a
    timeline label that starts at frame 0 counts from 0, which Label Studio itself never does: then
    e is not included, as in an early version of its own converter, unless a label would be empty.
    The rate is `options.rate_fps`, that of the set-up where the file holds it, or that of a
    rectangle's key frames, which have a number and a time; never that of the video, and never 24.

    A rectangle (`videorectangle`) is a mark each time that it is there: from an enabled key frame
    to the next disabled one, which still shows it (`isInLifespan` in Label Studio's source), or to
    the video's last frame. Labels of an audio track that is in step with the video are in seconds.

    `tier` is the control's name; `extra` has the `annotator` (his id, or the model's version), the
    `score` and the `comment`. Where a task has several answers, `options.annotators` chooses.

    Raises:
        DatasetError: it cannot be read, is of another form, holds nothing with a begin and an end,
            or needs a rate or the choice of an annotator.
    """
    data = load_json(file)
    if not is_label_studio(data):
        raise DatasetError(f"{file}: is not of Label Studio's form (tasks with annotations)")
    answers, notes = chosen_answers(answers_in(data, file), options, file)
    others: Counter[str] = Counter()
    parts: list[_Part] = []
    for answer in answers:
        for index, item in enumerate(answer.regions, start=1):
            where = f"region {index} of task {answer.task or '(none)'}"
            region = mapping(item, f"{file}: {where}")
            found = _parts(region, answer, f"{file}: {where}", others)
            parts += [replace(part, where=where) for part in found]
    if others and not parts:
        raise DatasetError(f"{file}: holds no label with a begin and an end, but {_counts(others)}")
    _require_own_names(parts, file)
    rates = Rates(file, options)
    marks = _marks(parts, rates, file, notes)
    durations = dict(_durations(answers, file))
    notes += [*rates.notes, *_late(marks, durations)]
    if others:
        notes.append(f"left out: {_counts(others)}")
    unlabelled = number_of_tasks(data) - len({part.answer.task for part in parts})
    if unlabelled > 0:
        notes.append(f"{unlabelled} tasks without a label in time are unknown, not background")
    layout = "Label Studio, predictions" if _are_predictions(answers) else "Label Studio"
    return Marks(file, layout, marks, duration_seconds=durations, notes=tuple(notes)).chosen(
        options
    )


def _require_own_names(parts: Sequence[_Part], file: Path) -> None:
    """Refuse two uploads that have one name without the digits that Label Studio puts before it."""
    seen: dict[str, str] = {}
    for part in parts:
        to_name = part.region.get("to_name")
        name, address = video_of(part.answer, to_name), address_of(part.answer, to_name)
        first = seen.setdefault(name, address)
        if first != address:
            raise DatasetError(
                f"{file}: {plain(first)} and {plain(address)} are two videos of the name "
                f"{plain(name)}; export them apart, and read each beside its own video"
            )


def _parts(
    region: Mapping[str, Any], answer: Answer, where: str, others: Counter[str]
) -> Iterator[_Part]:
    """When a region is; counts in `others` what is no label in time."""
    value = region.get("value")
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: value is {shown(value)}; it must be an object")
    if "ranges" in value:
        for span in sequence(value["ranges"], f"{where}: ranges"):
            found = mapping(span, f"{where}: a range")
            if found.get("start") is None or found.get("end") is None:
                others["ranges without a start or an end"] += 1
                continue
            start = whole_number(found["start"], f"{where}: start")
            end = whole_number(found["end"], f"{where}: end")
            if start < 0:
                raise DatasetError(f"{where}: starts at frame {start}; frames count from 1")
            if end < start:
                others["ranges that end before they start"] += 1
            else:
                yield _Part(answer, region, "range", start, end)
    elif "sequence" in value:
        yield from (
            _Part(answer, region, "keys", start, end) for start, end in _lifespans(value, where)
        )
    elif "channel" in value or "original_length" in region:
        start_seconds = number(value.get("start"), f"{where}: start")
        end_seconds = number(value.get("end"), f"{where}: end")
        if end_seconds < start_seconds:
            others["regions that end before they start"] += 1
        else:
            yield _Part(answer, region, "seconds", start_seconds, end_seconds)
    else:
        others[f"results of type {plain(str(region.get('type') or 'unknown'))}"] += 1


def _lifespans(value: Mapping[str, Any], where: str) -> Iterator[tuple[int, int | None]]:
    """The first and the last frame of each time that a rectangle is there; they count from 1."""
    keys = []
    for item in sequence(value["sequence"], f"{where}: sequence"):
        key = mapping(item, f"{where}: a key frame")
        frame = whole_number(key.get("frame"), f"{where}: frame")
        if frame < 1:
            raise DatasetError(f"{where}: has key frame {frame}; Label Studio counts from 1")
        keys.append((frame, bool(key.get("enabled", True))))
    first = None
    for frame, is_enabled in sorted(keys):
        if is_enabled and first is None:
            first = frame
        elif not is_enabled and first is not None:
            yield first, frame
            first = None
    if first is not None:
        last = value.get("framesCount")
        yield first, None if last is None else whole_number(last, f"{where}: framesCount")


def _marks(parts: Sequence[_Part], rates: Rates, file: Path, notes: list[str]) -> tuple[Mark, ...]:
    ranges = [part for part in parts if part.unit == "range"]
    from_0 = any(part.start == 0 for part in ranges)
    with_end = not from_0 or any(part.start == part.end for part in ranges)
    if from_0:
        ends = "include" if with_end else "do not include"
        notes.append(
            f"a label starts at frame 0, so frames are counted from 0 and {ends} the last one; "
            "Label Studio itself counts from 1"
        )
    marks, nameless = [], 0
    for part in parts:
        start, end = part.start, part.end
        if part.unit != "seconds":
            is_range = part.unit == "range"
            clock = rates.clock(part.answer)
            start = clock.seconds("", int(start) - (0 if from_0 and is_range else 1))
            if end is not None:
                end = clock.seconds("", int(end) + (1 if is_range and from_0 and with_end else 0))
        labels = _labels(part.region, file)
        nameless += not labels
        video = video_of(part.answer, part.region.get("to_name")) or file.stem
        tier, extra = str(part.region.get("from_name") or ""), _extra(part)
        marks += [Mark(n, start, end, video, "", tier, extra, part.where) for n in labels]
    if nameless:
        notes.append(f"{nameless} regions have no label and are dropped")
    rectangles = sum(part.unit == "keys" for part in parts)
    if rectangles:
        notes.append(
            f"{rectangles} marks are the times at which a rectangle is there; where it is, is "
            "left out"
        )
    return tuple(marks)


def _labels(region: Mapping[str, Any], file: Path) -> list[str]:
    value = region["value"]
    names = (*_LABELS, region.get("type"))
    found: list[object] = next((value[n] for n in names if isinstance(value.get(n), list)), [])
    return [text(label, f"{file}: a label") for label in found]


def _extra(part: _Part) -> dict[str, str]:
    extra = {"annotator": part.answer.by} if part.answer.by else {}
    if is_positive(part.region.get("score")):
        extra["score"] = repr(part.region["score"])
    meta = part.region.get("meta")
    comment = meta.get("text") if isinstance(meta, dict) else None
    lines = comment if isinstance(comment, list) else [comment] if comment else []
    return extra | ({"comment": "; ".join(map(str, lines))} if lines else {})


def _durations(answers: Sequence[Answer], file: Path) -> Iterator[tuple[str, float]]:
    """By video, where a rectangle or the label of an audio track tells it."""
    for answer in answers:
        for region in answer.regions:
            for seconds in (region.get("original_length"), region["value"].get("duration")):
                if is_positive(seconds):
                    yield video_of(answer, region.get("to_name")) or file.stem, float(seconds)


def _late(marks: Sequence[Mark], durations: Mapping[str, float]) -> list[str]:
    late = [
        mark
        for mark in marks
        if mark.end_seconds is not None
        and mark.end_seconds > durations.get(mark.video, math.inf) * _MUCH_LATER
    ]
    if not late:
        return []
    first = late[0]
    return [
        f"{len(late)} marks end after their video (the first: {plain(first.label)} until "
        f"{first.end_seconds:g} s of {durations[first.video]:g}); is the frame rate right?"
    ]


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counted.items())


def _are_predictions(answers: Sequence[Answer]) -> bool:
    return bool(answers) and all(answer.is_prediction for answer in answers)


def write_label_studio(
    marks: Marks, file: Path, rate_fps: float, model_version: str = ""
) -> tuple[str, ...]:
    """Write a task for each video, to be imported into a project of Label Studio.

    Bounds go to the nearest frame: times are kept to 1 / (2 rate_fps) seconds; a point, and what is
    shorter than a frame, becomes one frame. Each task's data hold `video` and `fps`: the project's
    set-up needs `<Video name="video" value="$video" frameRate="$fps"/>`, and a `<TimelineLabels>`
    of the name of each tier (`videoLabels` for marks without one).

    Args:
        rate_fps: of the video, as Label Studio is to count its frames.
        model_version: of the model whose answers these are, to be corrected: they are imported as
            predictions; empty: as annotations.

    Returns:
        What the format cannot hold, or was rounded.

    Raises:
        DatasetError: a mark lasts until the end of a video whose length is not known.
        OSError: it cannot be written.
    """
    require_rate(rate_fps)
    tasks, short, early = [], 0, 0
    for video, found in marks_by_video(marks).items():
        regions = []
        for index, mark in enumerate(found):
            start, end = (round(seconds * rate_fps) for seconds in bounds(mark, marks))
            early += start < 0
            start, end = max(start, 0), max(end, 0)
            short += start == end
            regions.append(_region(f"{index}", mark, start + 1, max(start + 1, end)))
        answer: dict[str, Any] = {"result": regions}
        if model_version:
            answer = {"model_version": model_version, **answer}
        kind = "predictions" if model_version else "annotations"
        tasks.append({"data": {"video": video, "fps": rate_fps}, kind: [answer]})
    write_text(file, json.dumps(tasks, indent=1))
    notes = what_is_lost(marks, "subject", "extra", "looked_at", kept=("score",))
    if early:
        notes.append(f"{early} marks begin before 0 s and are written from there")
    if short:
        notes.append(f"{short} points and marks shorter than a frame are written as one frame")
    return tuple(notes)


def _region(name: str, mark: Mark, first: int, last: int) -> dict[str, Any]:
    region = {
        "id": name,
        "from_name": mark.tier or CONTROL,
        "to_name": "video",
        "type": "timelinelabels",
        "value": {"ranges": [{"start": first, "end": last}], "timelinelabels": [mark.label]},
    }
    try:
        return region | {"score": float(mark.extra["score"])}
    except (KeyError, ValueError):
        return region
