"""A video with the scores drawn on it: every frame at its own time, the sound as it was."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from actionrnn.apps.drawing import Panel, draw_panel, make_panel
from actionrnn.config import StatePolicy, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.files import atomic_path
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.stream import Scores
from actionrnn.progress import progress_bar
from actionrnn.text import plain
from actionrnn.video.convert import Converter
from actionrnn.video.frame import Frame
from actionrnn.video.frame_index import time_base_of, timed_frames
from actionrnn.video.source import container_of, locate, open_stream
from actionrnn.video.writer import CONTAINERS, VideoWriter


class ScoreOverlay:
    """Draws the newest scores; the panel is made anew only when they or the size change."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = [plain(label) for label in labels]
        self._rows: list[tuple[str, float]] = []
        self._panel: Panel | None = None
        self._is_for: tuple[object, ...] = ()

    def update(self, scores: Scores) -> None:
        """Take the probabilities (n, K) of new steps; the last one is shown."""
        if len(scores):
            best = np.argsort(-scores[-1], kind="stable")[:3]
            self._rows = [(self._labels[i], float(scores[-1][i])) for i in best]
            self._panel = None

    def draw(self, frame: np.ndarray, note: str = "") -> np.ndarray:
        """A copy of a frame (H, W, 3) with the scores on it."""
        is_for = (frame.shape, note)
        if self._panel is None or is_for != self._is_for:
            self._panel = make_panel(self._rows, frame.shape[1], frame.shape[0], note)
            self._is_for = is_for
        return draw_panel(frame, self._panel)


def render(
    model: Recognizer, path: Path, output: Path, policy: StatePolicy, *, sound: bool = True
) -> int:
    """Write `path` with the scores of each moment drawn on it; returns the number of frames.

    Raises:
        VideoError: the video cannot be used, or the output cannot hold it.
        ConfigError: the model's sampling needs the whole clip.
    """
    if output.suffix.lower() not in CONTAINERS:
        raise VideoError(f"{output}: must end in {', '.join(CONTAINERS)}")
    stream, overlay = model.stream(policy), ScoreOverlay(model.labels)

    def drawn(frame: Frame) -> np.ndarray:
        overlay.update(stream.push(frame))
        return overlay.draw(frame.rgb)

    return rewrite(path, output, drawn, sound=sound)


def rewrite(
    path: Path,
    output: Path,
    draw: Callable[[Frame], np.ndarray],
    *,
    sound: bool = True,
    limits: VideoLimits | None = None,
) -> int:
    """Write a video again with each frame as `draw` makes it, times and sound kept.

    Raises:
        VideoError: the video cannot be used, or the output cannot hold it.
    """
    source, count = locate(path, limits), 0
    with atomic_path(output) as temporary, open_stream(source) as stream:
        container, convert = container_of(stream), Converter(source, stream)
        time_base = time_base_of(stream)
        total = round((container.duration or 0) / av.time_base)
        with (
            VideoWriter(
                temporary,
                time_base=time_base,
                rate_fps=stream.average_rate or Fraction(25),
                sound=source if sound else None,
                container=CONTAINERS[output.suffix.lower()],
            ) as writer,
            progress_bar(output.name, total or None) as advance,
        ):
            shown = 0
            for picture, tick in timed_frames(source, stream):
                frame = convert.frame(picture, float(tick * time_base))
                writer.write(draw(frame), tick)
                count += 1
                if int(frame.pts_seconds) > shown:
                    advance(int(frame.pts_seconds) - shown)
                    shown = int(frame.pts_seconds)
        if count == 0:
            raise VideoError(f"{path}: no frame can be decoded; re-encode it or leave it out")
    return count
