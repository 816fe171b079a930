"""ActivityNet's JSON, which THUMOS14 and most detectors of actions use, too: segments in seconds.

`{"database": {video: {"subset", "duration", "annotations": [{"segment": [s, e], "label"}]}}}`,
also under `GT` or without a root, also with `duration_second`. Predictions are
`{"results": {video: [{"segment", "label", "score"}]}}`. See
http://activity-net.org/challenges/2016/evaluation.html.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actionrnn.datasets.annotations.json_values import (
    load_json,
    mapping,
    number,
    sequence,
    shown,
    text,
)
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions, Span
from actionrnn.datasets.annotations.writing import bounds, marks_by_video, what_is_lost
from actionrnn.errors import DatasetError
from actionrnn.files import write_text
from actionrnn.text import plain

_ROOTS = ("database", "GT")
_DURATIONS = ("duration", "duration_second")
_MOST_NAMED = 3


def is_activitynet(data: object) -> bool:
    """Whether the content of a JSON file is annotations or results of ActivityNet's form."""
    if not isinstance(data, dict):
        return False
    results = data.get("results")
    if isinstance(results, dict) and results:
        return all(isinstance(segments, list) for segments in results.values())
    videos = _database(data)
    told = () if videos is not data else (*_DURATIONS, "subset")  # without a root, more is asked
    return isinstance(videos, dict) and any(
        isinstance(video, dict)
        and isinstance(video.get("annotations"), list)
        and (not told or any(name in video for name in told))
        for video in videos.values()
    )


def read_activitynet(file: Path, options: ReadOptions) -> Marks:
    """The segments of all videos of a file, annotated or predicted.

    Segments are half open, on the video's clock. What a segment claims outside of its video is cut
    off; segments that end before or where they begin are dropped. One segment under two labels
    stays twice. A video without annotations is unknown, not background: it is named in a note.
    `extra["split"]` is the subset of its video; `extra["score"]` that of a prediction.

    Raises:
        DatasetError: it cannot be read, is of another form, or a value is none.
    """
    data = load_json(file)
    if not is_activitynet(data):
        raise DatasetError(f"{file}: is not of ActivityNet's form (videos with annotations)")
    if "results" in data:
        videos = {name: {"annotations": found} for name, found in data["results"].items()}
        layout = "ActivityNet, results (predictions)"
    else:
        videos, layout = _database(data), "ActivityNet, annotations"
    marks: list[Mark] = []
    durations: dict[str, float] = {}
    empty: list[str] = []
    changed: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in videos.items():
        where = f"{file}: video {plain(name)}"
        video = mapping(value, where)
        duration = _duration(video, where)
        if duration is not None:
            durations[name] = duration
        split = {"split": str(video["subset"])} if video.get("subset") else {}
        annotations = sequence(video.get("annotations"), f"{where}: annotations")
        before = len(marks)
        for index, item in enumerate(annotations, start=1):
            place = f"{where}: annotation {index}"
            annotation = mapping(item, place)
            label = text(annotation.get("label"), f"{place}: label")
            segment, change = _clipped(_segment(annotation, place), duration)
            if change:
                changed[change].append(_shown(name, annotation, duration))
            if segment is not None:
                extra = split | _score(annotation, place)
                mark = Mark(label, *segment, name, extra=extra, where=f"annotation {index}")
                marks.append(mark)
        if len(marks) == before:
            empty.append(name)
    notes = [
        f"{len(places)} segments {what} (the first: {places[0]})"
        for what, places in changed.items()
    ]
    if empty:
        shown_names = ", ".join(plain(name) for name in empty[:_MOST_NAMED])
        more = ", ..." if len(empty) > _MOST_NAMED else ""
        notes.append(
            f"{len(empty)} videos without a segment are unknown, not background, and are left out: "
            f"{shown_names}{more}"
        )
    twice = Counter((mark.video, mark.start_seconds, mark.end_seconds) for mark in marks)
    repeated = sum(count - 1 for count in twice.values())
    if repeated:
        notes.append(f"{repeated} segments repeat another one, under a second label; all are kept")
    return Marks(
        file,
        layout,
        tuple(marks),
        duration_seconds=durations,
        notes=tuple(notes),
        has_sides=True,
    ).chosen(options)


def _database(data: Mapping[str, Any]) -> Any:
    return next((data[root] for root in _ROOTS if root in data), data)


def _duration(video: Mapping[str, Any], where: str) -> float | None:
    found = next((name for name in _DURATIONS if video.get(name) is not None), None)
    if found is None:
        return None
    seconds = number(video[found], f"{where}: {found}")
    if seconds <= 0:
        raise DatasetError(f"{where}: {found} is {seconds:g}; it must be above 0")
    return seconds


def _segment(annotation: Mapping[str, Any], where: str) -> Span:
    segment = sequence(annotation.get("segment"), f"{where}: segment")
    if len(segment) != 2:
        raise DatasetError(f"{where}: segment is {shown(segment)}; it must be [start, end]")
    return number(segment[0], f"{where}: start"), number(segment[1], f"{where}: end")


def _clipped(segment: Span, duration: float | None) -> tuple[Span | None, str]:
    """The part of a segment that is in its video, and what was changed."""
    start, end = segment
    if end <= start:
        return None, "end before or where they begin and are dropped"
    if end <= 0 or (duration is not None and start >= duration):
        return None, "lie outside of their videos and are dropped"
    if duration is not None and end > duration:
        return (max(0.0, start), duration), "end after their videos and are cut there"
    if start < 0:
        return (0.0, end), "begin before 0 and are cut there"
    return segment, ""


def _shown(video: str, annotation: Mapping[str, Any], duration: float | None) -> str:
    start, end = annotation["segment"]
    of = "" if duration is None else f" of {duration:g}"
    return f"{plain(annotation['label'])} {start:g}-{end:g} s{of} in {plain(video)}"


def _score(annotation: Mapping[str, Any], where: str) -> dict[str, str]:
    score = annotation.get("score")
    return {} if score is None else {"score": repr(number(score, f"{where}: score"))}


def write_activitynet(marks: Marks, file: Path) -> tuple[str, ...]:
    """Write the marks as a database of ActivityNet's form, with durations where they are known.

    Times are kept to the last bit; `extra["split"]` becomes the subset. A video in which nobody
    marked anything reads as unknown there.

    Returns:
        What the form cannot hold.

    Raises:
        DatasetError: a mark lasts until the end of a video whose length is not known.
        OSError: it cannot be written.
    """
    database: dict[str, dict[str, Any]] = {
        name: {
            **_told("subset", _split_of(name, found, marks.file)),
            **_told("duration", marks.duration_seconds.get(name)),
            "annotations": [
                {"segment": list(bounds(mark, marks)), "label": mark.label}
                for mark in found
                if not mark.is_point
            ],
        }
        for name, found in marks_by_video(marks).items()
    }
    content = {"version": "", "database": database, "taxonomy": []}
    write_text(file, json.dumps(content, indent=1))
    notes = what_is_lost(marks, "subject", "tier", "extra", "point", "looked_at", kept=("split",))
    empty = sum(not video["annotations"] for video in database.values())
    if empty:
        notes.append(f"{empty} videos without marks are unknown in this form, not background")
    return tuple(notes)


def _told(name: str, value: object) -> dict[str, Any]:
    return {} if value is None else {name: value}


def _split_of(video: str, marks: list[Mark], file: Path) -> str | None:
    found = {mark.extra["split"] for mark in marks if "split" in mark.extra}
    if len(found) > 1:
        names = " and ".join(plain(name) for name in sorted(found))
        raise DatasetError(f"{file}: {plain(video)} is in {names}; a video is in one split")
    return next(iter(found), None)
