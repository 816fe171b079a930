"""A video with the scores drawn on it; the times of its frames and its sound are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from actionrnn.config import Sampling, StatePolicy, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.files import atomic_path
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.stream import Scores
from actionrnn.progress import progress_bar
from actionrnn.text import plain
from actionrnn.video.convert import Converter
from actionrnn.video.drawing import Panel, draw_panel, make_panel
from actionrnn.video.frame import Frame
from actionrnn.video.frame_index import time_base_of, timed_frames
from actionrnn.video.image_folder import is_folder, iter_frame_folder
from actionrnn.video.sampling import TICK_TOLERANCE_SECONDS
from actionrnn.video.source import Source, container_of, locate, open_stream
from actionrnn.video.writer import CONTAINERS, VideoWriter


class ScoreOverlay:
    """Draws the newest scores; the panel is made again only when they or the size change."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = [plain(label) for label in labels]
        self.rows: list[tuple[str, float]] = []
        """The best labels and their scores, best first."""
        self._panel: Panel | None = None
        self._is_for: tuple[object, ...] = ()

    def update(self, scores: Scores) -> None:
        """Take the probabilities (n, K) of new steps; the last one is shown."""
        if len(scores):
            best = np.argsort(-scores[-1], kind="stable")[:3]
            self.rows = [(self._labels[i], float(scores[-1][i])) for i in best]
            self._panel = None

    def draw(self, frame: np.ndarray, note: str = "") -> np.ndarray:
        """A copy of a frame (H, W, 3) with the scores on it."""
        is_for = (frame.shape, note)
        if self._panel is None or is_for != self._is_for:
            self._panel = make_panel(self.rows, frame.shape[1], frame.shape[0], note)
            self._is_for = is_for
        return draw_panel(frame, self._panel)


def render(
    model: Recognizer, path: Path, output: Path, policy: StatePolicy, *, sound: bool = True
) -> int:
    """Write `path` with the scores of each moment drawn on it; returns the number of frames.

    Args:
        path: a video file, or a folder of pictures.

    Raises:
        VideoError: the video cannot be used, or the output cannot hold it.
    """
    container_format(output)  # before the work that it takes
    timeline, overlay = model.timeline(path, policy), ScoreOverlay(model.labels)
    steps = timeline.pts_seconds
    drawn = 0

    def draw(frame: Frame) -> np.ndarray:
        nonlocal drawn
        known = int(np.searchsorted(steps, frame.pts_seconds + TICK_TOLERANCE_SECONDS))
        overlay.update(timeline.scores[drawn:known])
        drawn = max(drawn, known)
        return overlay.draw(frame.rgb)

    rate_fps = model.config.sampling.frame_folder_fps
    return rewrite(path, output, draw, sound=sound, frame_folder_fps=rate_fps)


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
    path: Path,
    output: Path,
    draw: Callable[[Frame], np.ndarray],
    *,
    sound: bool = True,
    limits: VideoLimits | None = None,
    frame_folder_fps: float = Sampling.frame_folder_fps,
) -> int:
    """Write a video again with each frame as `draw` makes it, times and sound kept.

    Args:
        path: a video file, or a folder of pictures.
        draw: is given every frame, in order, and gives RGB (H, W, 3).
        sound: copy it, too.
        limits: of the frames, and of what may be opened.
        frame_folder_fps: pictures a second, for a folder of pictures.

    Returns:
        The number of frames.

    Raises:
        VideoError: the video cannot be used, or the output cannot hold it.
    """
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(output))
        source: Source | None = None
        frames: Iterator[tuple[Frame, int]]
        if is_folder(path):
            time_base, seconds = 1 / Fraction(frame_folder_fps).limit_denominator(1001), 0
            rate_fps = 1 / time_base
            pictures = iter_frame_folder(path, rate_fps=frame_folder_fps, limits=limits)
            frames = ((frame, tick) for tick, frame in enumerate(pictures))
        else:
            source = locate(path, limits)
            stream = stack.enter_context(open_stream(source))
            time_base, rate_fps = time_base_of(stream), stream.average_rate or Fraction(25)
            seconds = round((container_of(stream).duration or 0) / av.time_base)
            frames = _frames_of(source, stream)
        writer = stack.enter_context(
            VideoWriter(
                temporary,
                time_base=time_base,
                rate_fps=rate_fps,
                sound=source if sound else None,
                container=container_format(output),
            )
        )
        advance = stack.enter_context(progress_bar(output.name, seconds or None))
        count = shown = 0
        for frame, tick in frames:
            writer.write(draw(frame), tick)
            count += 1
            if int(frame.pts_seconds) > shown:
                advance(int(frame.pts_seconds) - shown)
                shown = int(frame.pts_seconds)
        if count == 0:
            raise VideoError(f"{path}: no frame can be decoded; re-encode it or leave it out")
    return count


def _frames_of(source: Source, stream: VideoStream) -> Iterator[tuple[Frame, int]]:
    """Every frame of an open stream, and its time in ticks, which the written file keeps."""
    convert, time_base = Converter.of(source, stream), time_base_of(stream)
    for picture, tick in timed_frames(source, stream):
        yield convert.frame(picture, float(tick * time_base)), tick
