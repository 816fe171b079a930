"""What the writers of annotations share: bounds in seconds or frames, and notes of what is lost."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from actionrnn.datasets.annotations.marks import Mark, Marks, Span
from actionrnn.errors import DatasetError
from actionrnn.text import plain

_LOST = {
    "subject": "the subjects of {} marks",
    "tier": "the tiers of {} marks",
    "extra": "further columns of {} marks",
    "point": "{} points, which have no length",
    "looked_at": "where somebody looked, in {} videos",
}


def bounds(mark: Mark, marks: Marks) -> Span:
    """From and until in seconds: 0, and the video's end, where the mark has no bound of its own.

    Raises:
        DatasetError: it lasts until the end of a video whose length is not known.
    """
    start = 0.0 if mark.start_seconds is None else mark.start_seconds
    if mark.end_seconds is not None:
        return start, mark.end_seconds
    if mark.video not in marks.duration_seconds:
        raise DatasetError(
            f"{marks.file}: {plain(mark.label)!r} from {start:g} s lasts until the end of "
            f"{plain(mark.video) or 'its video'}, whose length is not known; give it an end"
        )
    return start, marks.duration_seconds[mark.video]


def marks_by_video(marks: Marks) -> dict[str, list[Mark]]:
    """The marks of each video, videos without one included."""
    found: dict[str, list[Mark]] = {name: [] for name in (*marks.videos, *marks.duration_seconds)}
    for mark in marks.marks:
        found[mark.video].append(mark)
    return found


def what_is_lost(marks: Marks, *fields: str, kept: Collection[str] = ()) -> list[str]:
    """A note for each of these fields of `Mark` that some mark has, and a format cannot hold.

    Args:
        fields: subject, tier, extra, point; or looked_at, of the videos.
        kept: names in `extra` that the format holds.
    """
    number = {
        "subject": sum(bool(mark.subject) for mark in marks.marks),
        "tier": sum(bool(mark.tier) for mark in marks.marks),
        "extra": sum(bool(set(mark.extra) - set(kept)) for mark in marks.marks),
        "point": sum(mark.is_point for mark in marks.marks),
        "looked_at": len(marks.looked_at),
    }
    return [f"not written: {_LOST[name].format(number[name])}" for name in fields if number[name]]


def require_rate(rate_fps: float) -> None:
    """Refuse a rate that is none."""
    if not 0 < rate_fps < math.inf:
        raise DatasetError(f"rate_fps is {rate_fps:g}; it must be above 0")


@dataclass(frozen=True)
class Run:
    """A label from its first frame up to, not including, `stop`; frames count from 0."""

    label: str
    first: int
    stop: int


@dataclass(frozen=True)
class FrameRuns:
    """The marks of one video on its frames."""

    video: str
    num_frames: int
    runs: tuple[Run, ...]
    """In the order of the marks; they may overlap."""
    notes: tuple[str, ...]

    def frames_of(self, spans: Sequence[Span], rate_fps: float) -> list[tuple[int, int]]:
        """(first, stop) of each span of the video that has a frame."""
        frames = [_frames(span, rate_fps, self.num_frames) for span in spans]
        return [(first, stop) for first, stop in frames if first < stop]


def frame_runs(marks: Marks, rate_fps: float, duration_seconds: float | None) -> FrameRuns:
    """The marks at a rate; each bound goes to the nearest frame.

    Points, and intervals that have no frame then, are left out with a note.

    Args:
        duration_seconds: of the video; None: what the marks tell.

    Raises:
        DatasetError: marks of several videos, no duration, or a rate that is none.
    """
    require_rate(rate_fps)
    video = _only_video(marks)
    if duration_seconds is None:
        duration_seconds = marks.duration_seconds.get(video)
    if duration_seconds is None or not 0 < duration_seconds < math.inf:
        told = "not known" if duration_seconds is None else f"{duration_seconds:g} s"
        raise DatasetError(
            f"{marks.file}: the length of {plain(video) or 'the video'} is {told}; a format with a "
            "line a frame needs it: say where the video is (--videos)"
        )
    num_frames = max(1, round(duration_seconds * rate_fps))
    runs, short, late = [], 0, 0
    for mark in marks.marks:
        if mark.is_point:
            continue
        start, end = bounds(mark, marks)
        first, stop = _frames((start, end), rate_fps, num_frames)
        late += round(end * rate_fps) > num_frames
        short += first >= stop
        if first < stop:
            runs.append(Run(mark.label, first, stop))
    notes = what_is_lost(marks, "subject", "tier", "extra", "point")
    if short:
        notes.append(f"not written: {short} marks that hold no frame at {rate_fps:g} a second")
    if late:
        notes.append(f"{late} marks end after the video ({duration_seconds:g} s) and are cut there")
    return FrameRuns(video, num_frames, tuple(runs), tuple(notes))


def _frames(span: Span, rate_fps: float, num_frames: int) -> tuple[int, int]:
    start, end = span
    return max(0, round(start * rate_fps)), min(num_frames, round(end * rate_fps))


def _only_video(marks: Marks) -> str:
    videos = marks.videos or tuple(marks.duration_seconds)
    if len(videos) > 1:
        names = ", ".join(plain(video) for video in videos[:3])
        raise DatasetError(
            f"{marks.file}: marks {len(videos)} videos ({names}{', ...' * (len(videos) > 3)}); "
            "this format holds one a file"
        )
    return videos[0] if videos else ""
