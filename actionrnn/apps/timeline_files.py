"""A timeline as a file: CSV and JSON for other programs, SRT and WebVTT for video players."""

from __future__ import annotations

import csv
import html
import io
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actionrnn.datasets.annotations.marks import Mark, Marks
from actionrnn.files import write_text
from actionrnn.model.segments import Segment
from actionrnn.model.timeline import Timeline
from actionrnn.options import SegmentRule
from actionrnn.text import plain

_FORMULA = ("=", "+", "-", "@")  # a spreadsheet would evaluate such a cell


def write_timeline(timeline: Timeline, path: Path, rule: SegmentRule | None = None) -> None:
    """Write a timeline in the format of the path's suffix.

    Args:
        timeline: the scores.
        path: the file, with a suffix of `FORMATS`; an existing file is replaced.
        rule: how the segments are made from the scores; None: the default rule.

    Raises:
        KeyError: the suffix is not one of `FORMATS`.
        OSError: the file cannot be written.
    """
    write_text(path, FORMATS[path.suffix.lower()](timeline, timeline.segments(rule)))


def as_marks(timeline: Timeline, rule: SegmentRule | None = None) -> Marks:
    """The segments as marks of the video, for the tools in which people correct them.

    A mark keeps its segment's score in `extra`.
    """
    found = tuple(
        Mark(
            segment.label,
            round(segment.start_seconds, 6),
            round(segment.end_seconds, 6),
            timeline.path,
            extra={"score": f"{segment.score:.4f}"},
        )
        for segment in timeline.segments(rule)
    )
    return Marks(Path(timeline.path), "timeline", found, is_on_video_clock=True)


def as_csv(timeline: Timeline, segments: list[Segment]) -> str:
    """A row per step: its time, the segment's label (empty outside segments), all probabilities.

    Where several labels are on at once, they stand beside each other: `walk + wave`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["pts_seconds", "segment", *map(_cell, timeline.labels)])
    waiting = deque(segments)
    current: list[Segment] = []
    for seconds, row in zip(timeline.pts_seconds.tolist(), timeline.scores, strict=True):
        while waiting and seconds >= waiting[0].start_seconds:
            current.append(waiting.popleft())
        current = [segment for segment in current if seconds < segment.end_seconds]
        label = _cell(" + ".join(segment.label for segment in current))
        writer.writerow([f"{seconds:.6f}", label, *(f"{score:.6f}" for score in row)])
    return out.getvalue()


def as_json(timeline: Timeline, segments: list[Segment]) -> str:
    """`path`, `labels`, `segments` and `steps` with the scores in the order of `labels`.

    `start_seconds` is when the video begins, on the clock of all times in it.
    The segments of a multi-label model overlap. With the steps' `typicality`, where the model knows
    it.
    """
    described: dict[str, Any] = {
        "path": timeline.path,
        "labels": timeline.labels,
        "start_seconds": round(timeline.start_seconds, 6),
        "segments": [
            {
                "label": segment.label,
                "start_seconds": round(segment.start_seconds, 6),
                "end_seconds": round(segment.end_seconds, 6),
                "score": round(segment.score, 6),
            }
            for segment in segments
        ],
        "steps": [
            {"pts_seconds": round(seconds, 6), "scores": [round(float(s), 6) for s in row]}
            for seconds, row in zip(timeline.pts_seconds.tolist(), timeline.scores, strict=True)
        ],
    }
    if timeline.typicality is not None:
        for step, typicality in zip(described["steps"], timeline.typicality.tolist(), strict=True):
            step["typicality"] = round(typicality, 6)
    return json.dumps(described) + "\n"


def as_srt(timeline: Timeline, segments: list[Segment]) -> str:
    """SubRip subtitles, as of `subtitles`: a segment's label and score."""
    return subtitles(segments, _caption)


def subtitles(segments: list[Segment], caption: Callable[[Segment], str]) -> str:
    """SubRip subtitles, one per segment; where segments overlap, a line for each of them.

    Args:
        segments: by their begin.
        caption: what is shown of one.
    """
    cues = [
        f"{number}\n{_clock(cue.start_seconds, ',')} --> {_clock(cue.end_seconds, ',')}\n"
        + "".join(f"{caption(segment).translate(_NO_TAGS)}\n" for segment in cue.segments)
        for number, cue in enumerate(_cues(segments), start=1)
    ]
    return "\n".join(cues)


def as_vtt(timeline: Timeline, segments: list[Segment]) -> str:
    """WebVTT subtitles (W3C WebVTT, section 4), as of `as_srt`."""
    cues = [
        f"{_clock(cue.start_seconds, '.')} --> {_clock(cue.end_seconds, '.')}\n"
        + "".join(f"{html.escape(_caption(segment), quote=False)}\n" for segment in cue.segments)
        for cue in _cues(segments)
    ]
    return "\n".join(["WEBVTT\n", *cues])


FORMATS: dict[str, Callable[[Timeline, list[Segment]], str]] = {
    ".csv": as_csv,
    ".json": as_json,
    ".srt": as_srt,
    ".vtt": as_vtt,
}
"""Writers by suffix."""

_NO_TAGS = str.maketrans({"<": "(", ">": ")", "{": "(", "}": ")"})  # SubRip has no escapes


@dataclass(frozen=True)
class _Cue:
    """What a player shows at one time: the segments that run then, in their order."""

    start_seconds: float
    end_seconds: float
    segments: list[Segment]


def _cues(segments: list[Segment]) -> Iterator[_Cue]:
    """Stretches between two changes in which something runs, in the order of time.

    Players show one cue at a time, or hide parts of those that overlap: so none do.
    """
    changes = sorted({one for s in segments for one in (s.start_seconds, s.end_seconds)})
    waiting, current = deque(segments), list[Segment]()
    for start, end in itertools.pairwise(changes):
        while waiting and start >= waiting[0].start_seconds:
            current.append(waiting.popleft())
        current = [segment for segment in current if start < segment.end_seconds]
        if current:
            yield _Cue(start, end, current)


def _caption(segment: Segment) -> str:
    return f"{plain(segment.label)} {segment.score:.0%}"


def _cell(label: str) -> str:
    text = plain(label)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _clock(seconds: float, point: str) -> str:
    """Hours:minutes:seconds and milliseconds; subtitles cannot start before 0.

    >>> _clock(3725.5, ",")
    '01:02:05,500'
    """
    milliseconds = max(0, round(1000 * seconds))
    minutes, rest = divmod(milliseconds, 60_000)
    whole, fraction = divmod(rest, 1000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{whole:02}{point}{fraction:03}"
