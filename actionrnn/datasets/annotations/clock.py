"""From the times and frame numbers of a file of annotations to seconds on the video's clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.datasets.video_names import VideoNames
from actionrnn.errors import DatasetError, VideoError
from actionrnn.progress import progress_bar
from actionrnn.text import plain
from actionrnn.video.declared import declared_span
from actionrnn.video.probe import read_frame_times

LEAST_LINES = 0.95
"""Of a video's frames: where fewer have a line, the file is of another rate or video."""
FEW_FRAMES = 5
_SAY_THE_RATE = "say the frames a second (--rate-fps, data.annotation_rate_fps)"


class FrameClock:
    """When the frames of a file's videos are shown: by a given rate, or as the videos say.

    A rate is never guessed: it is given, or each frame's own time is read from the video, which
    may well be of a variable rate.
    """

    def __init__(self, file: Path, options: ReadOptions) -> None:
        if options.rate_fps is not None and not 0 < options.rate_fps < math.inf:
            raise DatasetError(f"rate_fps is {options.rate_fps:g}; it must be above 0")
        self._file, self._rate_fps = file, options.rate_fps
        self._videos = VideoNames(options.videos or file.parent, elsewhere=True)
        self._times: dict[str, NDArray[np.float64]] = {}

    def seconds(self, video: str, frame: int) -> float:
        """When a frame begins; frames count from 0. The number of frames: when the last one ends.

        Raises:
            DatasetError: no rate is given and the video is not found, or it has fewer frames.
            VideoError: the video cannot be read.
        """
        if self._rate_fps is not None:
            return frame / self._rate_fps
        times = self._frame_times(video)
        if not 0 <= frame < len(times):
            raise DatasetError(
                f"{self._file}: marks frame {frame} of {video}, which has {len(times) - 1} frames; "
                f"is it another video, or counted at another rate? {_SAY_THE_RATE}"
            )
        return float(times[frame])

    def require_count(self, video: str, count: int) -> tuple[str, ...]:
        """Check that a file with a line for each frame has about as many as the video.

        Returns:
            a note if a few are missing, as where features were cut to the shorter of two.

        Raises:
            DatasetError: no rate is given, and many frames have no line.
        """
        if self._rate_fps is not None:
            return ()
        frames = len(self._frame_times(video)) - 1
        if count < LEAST_LINES * frames and frames - count > FEW_FRAMES:
            raise DatasetError(
                f"{self._file}: has {count} lines, and {video} has {frames} frames; were they "
                f"counted at another rate? {_SAY_THE_RATE}"
            )
        return (f"{frames - count} of {frames} frames have no line",) if count < frames else ()

    def _frame_times(self, video: str) -> NDArray[np.float64]:
        """(frames + 1,): when each begins, and when the last ends."""
        if video not in self._times:
            if not (video and self._videos.has(video)):
                raise DatasetError(
                    f"{self._file}: counts frames, and there is no {video or 'video'} in "
                    f"{self._videos.folder} to tell when they are shown; say where the videos "
                    f"are (--videos, data.videos), or {_SAY_THE_RATE}"
                )
            times = read_frame_times(self._videos.find(video)[0])
            last_gap = times[-1] - times[-2] if len(times) > 1 else 0.0
            self._times[video] = np.append(times, times[-1] + last_gap)
        return self._times[video]


LATE_SECONDS = 1.0
"""A video's clock that begins at this time or later is not what a tool shows."""


def to_video_clock(marks: Marks, videos: VideoNames) -> Marks:
    """Times that a tool counted from the first frame, on the clocks of videos that begin late.

    Transport streams and recordings of cameras may begin at any time; players, and the tools built
    on them, show 0 there. Videos that are not found are taken to begin at 0.
    """
    begins = {} if marks.is_on_video_clock else _late_beginnings(marks, videos)
    if not begins:
        return marks
    first = next(iter(begins))
    note = (
        f"{len(begins)} videos have a clock that begins late (the first: {plain(first)}, at "
        f"{begins[first]:g} s), which is added to the times"
    )
    return replace(_moved(marks, begins), notes=(*marks.notes, note))


def from_video_clock(marks: Marks, videos: VideoNames) -> Marks:
    """Times as a tool counts them, from the first frame; the opposite of `to_video_clock`."""
    begins = _late_beginnings(marks, videos)
    return _moved(marks, {video: -begin for video, begin in begins.items()})


def span_of(name: str, videos: VideoNames) -> tuple[float, float | None] | None:
    """From when until when a video goes, as it declares.

    Returns:
        None if it is not there, cannot be read, or is a folder of pictures; the second is None if
        the video does not declare it.
    """
    if not (name and videos.has(name)) or not (path := videos.find(name)[0]).is_file():
        return None
    try:
        begin, length = declared_span(path)
    except VideoError:  # which is told where its frames are needed
        return None
    return begin, None if length is None else begin + length


def spans_of_videos(marks: Marks, videos: VideoNames) -> dict[str, tuple[float, float | None]]:
    """By name: `span_of` each video that is found."""
    found = {}
    with progress_bar("reading the clocks of videos", len(marks.videos)) as advance:
        for name in marks.videos:
            if span := span_of(name, videos):
                found[name] = span
            advance()
    return found


def _late_beginnings(marks: Marks, videos: VideoNames) -> dict[str, float]:
    """By video, where its clock begins, if that is so late that no player counts from there."""
    spans = spans_of_videos(marks, videos)
    return {name: begin for name, (begin, _) in spans.items() if begin >= LATE_SECONDS}


def _moved(marks: Marks, seconds_of: Mapping[str, float]) -> Marks:
    """All times of each video later by so many seconds."""

    def moved(seconds: float | None, video: str) -> float | None:
        return None if seconds is None else seconds + seconds_of.get(video, 0.0)

    def moved_mark(mark: Mark) -> Mark:
        start, end = (moved(one, mark.video) for one in (mark.start_seconds, mark.end_seconds))
        return replace(mark, start_seconds=start, end_seconds=end)

    return replace(
        marks,
        marks=tuple(map(moved_mark, marks.marks)),
        looked_at={
            video: tuple((begin + late, end + late) for begin, end in spans)
            for video, spans in marks.looked_at.items()
            for late in [seconds_of.get(video, 0.0)]
        },
        duration_seconds={
            video: seconds + seconds_of.get(video, 0.0)
            for video, seconds in marks.duration_seconds.items()
        },
    )
