"""A video with the scores drawn on it; the times of its frames and its sound are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from actionrnn.apps.drawing import Panel, draw_panel, make_panel
from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.files import atomic_path
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.segments import ON
from actionrnn.model.stream import Scores
from actionrnn.options import Clock, VideoLimits
from actionrnn.progress import progress_bar
from actionrnn.text import plain
from actionrnn.video.convert import Converter
from actionrnn.video.frame import Frame
from actionrnn.video.frame_index import time_base_of, timed_frames
from actionrnn.video.image_folder import is_folder, iter_frame_folder
from actionrnn.video.last_frame import shown_until
from actionrnn.video.raw import declared_rate
from actionrnn.video.sampling import TICK_TOLERANCE_SECONDS
from actionrnn.video.source import (
    Located,
    Source,
    VideoSource,
    as_sampled,
    container_of,
    find_source,
    open_stream,
)
from actionrnn.video.writer import CONTAINERS, VideoWriter

_MOST_TICKS = 1_000_000  # of a second, and seconds of a frame: what containers can hold
NONE_OF_THESE = "none of these"


class ScoreOverlay:
    """Draws the newest scores; the panel is made again only when they or the size change."""

    def __init__(self, labels: tuple[str, ...], *, multi_label: bool = False) -> None:
        self._labels = [plain(label) for label in labels]
        self._multi_label = multi_label
        self.rows: list[tuple[str, float]] = []
        """The best labels and their scores, best first: three, and all that are on."""
        self._num_on: int | None = None
        self._is_none = False
        self._panel: Panel | None = None
        self._is_for: tuple[object, ...] = ()

    def update(self, scores: Scores, is_none: NDArray[np.bool_] | None = None) -> None:
        """Take the probabilities (n, K) of new steps; the last one is shown.

        Args:
            is_none: (n,), whether a step looks like none of the labels: then no label stands out.
        """
        if len(scores):
            newest = scores[-1]
            self._is_none = is_none is not None and bool(is_none[-1])
            if self._multi_label:
                self._num_on = int((newest >= ON).sum())
            best = np.argsort(-newest, kind="stable")[: max(3, self._num_on or 0)]
            self.rows = [(self._labels[i], float(newest[i])) for i in best]
            self._panel = None

    def draw(self, frame: np.ndarray, note: str = "") -> np.ndarray:
        """A copy of a frame (H, W, 3) with the scores on it."""
        is_for = (frame.shape, note)
        if self._panel is None or is_for != self._is_for:
            height, width = frame.shape[:2]
            num_on = 0 if self._is_none else self._num_on
            said = ", ".join(filter(None, (NONE_OF_THESE if self._is_none else "", note)))
            self._panel = make_panel(self.rows, width, height, said, num_on=num_on)
            self._is_for = is_for
        return draw_panel(frame, self._panel)


def render(
    model: Recognizer,
    path: VideoSource | Source,
    output: Path,
    *,
    sound: bool = True,
    none_rate: float | None = None,
    clock: Clock = "player",
) -> int:
    """Write `path` with the scores of each moment drawn on it; returns the number of frames.

    Args:
        path: what `read_frames` takes, but nothing that has no end.
        none_rate: also say where it looks like none of the labels, as a timeline does; wrongly of
            this part of the labels' own time.
        clock: as in `rewrite`.

    Raises:
        ModelError: `none_rate` is given, and the model was trained without.
        VideoError: the video cannot be used, or the output cannot hold it.
    """
    container_format(output)  # before the work that it takes
    if none_rate is not None:
        model.require_none_of_these(none_rate, of_steps=True)
    video = find_source(path)
    timeline = model.timeline(video, progress=True)
    is_none = None if none_rate is None else timeline.is_none_of_these(none_rate)
    overlay = ScoreOverlay(model.labels, multi_label=model.multi_label)
    steps = timeline.pts_seconds
    drawn = 0

    def draw(frame: Frame) -> np.ndarray:
        nonlocal drawn
        known = int(np.searchsorted(steps, frame.pts_seconds + TICK_TOLERANCE_SECONDS))
        new = slice(drawn, known)
        overlay.update(timeline.scores[new], None if is_none is None else is_none[new])
        drawn = max(drawn, known)
        return overlay.draw(frame.rgb)

    return rewrite(video, output, draw, sound=sound, clock=clock, sampling=model.config.sampling)


def container_format(output: Path) -> str:
    """FFmpeg's name of the format that a file's ending says.

    Raises:
        VideoError: none that can be written.
    """
    suffix = output.suffix.lower()
    if suffix not in CONTAINERS:
        raise VideoError(f"{output}: must end in {', '.join(CONTAINERS)}")
    return CONTAINERS[suffix]


def rewrite(
    path: Located,
    output: Path,
    draw: Callable[[Frame], np.ndarray],
    *,
    sound: bool = True,
    clock: Clock = "player",
    limits: VideoLimits | None = None,
    sampling: Sampling | None = None,
) -> int:
    """Write a video again with each frame as `draw` makes it, times and sound kept.

    A last frame that stands still is written once more, at its end.

    Args:
        path: the video; an address is read a second time for its sound.
        draw: is given every frame, in order, and gives RGB (H, W, 3).
        sound: write it, too.
        clock: player: the video begins at 0; file: at the file's own time, which .mkv holds as it
            is, while .mp4 and .mov show nothing until then.
        limits: of the frames, and of what may be opened.
        sampling: says the stream, and the rate of what states none; all frames are written.

    Returns:
        The number of frames.

    Raises:
        VideoError: the video cannot be used, or the output cannot hold it.
    """
    container, count, shown = container_format(output), 0, 0
    with (
        atomic_path(output) as temporary,
        _open(path, limits, sampling or Sampling()) as video,
        VideoWriter(
            temporary,
            time_base=video.time_base,
            begin_seconds=video.begin_seconds if clock == "player" else 0.0,
            rate_fps=video.rate_fps,
            sound=video.source if sound else None,
            container=container,
        ) as writer,
        progress_bar(f"writing {output.name}", video.num_seconds or None) as advance,
    ):
        for frame, tick in video.frames:
            drawn = draw(frame)
            writer.write(drawn, tick)
            count += 1
            if (now := int(frame.pts_seconds - video.begin_seconds)) > shown:
                advance(now - shown)
                shown = now
        if count == 0:
            raise VideoError(f"{path}: no frame can be decoded; re-encode it or leave it out")
        if (end := _end_of(video.source, frame.pts_seconds)) is not None:
            writer.write(drawn, round(end / video.time_base) - 1)
    return count


def _end_of(source: Source | None, last_seconds: float) -> float | None:
    return None if source is None else shown_until(source, last_seconds)


@dataclass(frozen=True)
class _OpenVideo:
    """All frames of a file or of a folder of pictures, and what a copy of it needs."""

    frames: Iterator[tuple[Frame, int]]
    """With their times in ticks."""
    time_base: Fraction
    """Seconds a tick."""
    rate_fps: Fraction
    begin_seconds: float
    """By its own clock."""
    num_seconds: int
    """0: not declared."""
    source: Source | None
    """The video; None: a folder, which has no sound."""


@contextlib.contextmanager
def _open(path: Located, limits: VideoLimits | None, sampling: Sampling) -> Iterator[_OpenVideo]:
    if is_folder(path) and isinstance(path, Path):
        frame_folder_fps = sampling.frame_folder_fps
        rate_fps = Fraction(frame_folder_fps).limit_denominator(_MOST_TICKS)
        if not 1 <= rate_fps * _MOST_TICKS <= _MOST_TICKS**2:
            raise VideoError(f"{path}: {frame_folder_fps:g} frames/s cannot be written")
        pictures = iter_frame_folder(path, frame_folder_fps, None, limits or VideoLimits())
        numbered = ((frame, tick) for tick, frame in enumerate(pictures))
        yield _OpenVideo(numbered, 1 / rate_fps, rate_fps, 0.0, 0, None)
        return
    source = as_sampled(path, sampling, limits)
    with open_stream(source) as stream:
        convert, time_base = Converter(source, stream), time_base_of(stream)
        timed = (
            (convert.frame(picture, float(tick * time_base)), tick)
            for picture, tick in timed_frames(source, stream)
        )
        rate_fps = (
            source.raw_rate.counted(stream)
            or declared_rate(stream)
            or stream.average_rate
            or source.raw_rate.exact
        )
        begin_seconds = (container_of(stream).start_time or 0) / av.time_base
        num_seconds = round((container_of(stream).duration or 0) / av.time_base)
        yield _OpenVideo(timed, time_base, rate_fps, begin_seconds, num_seconds, source)
