"""One uploaded video becomes scores, or a file that browsers play, within the server's bounds."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.apps.render import rewrite
from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.features.worker import Isolation
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.timeline import Timeline
from actionrnn.options import VideoLimits
from actionrnn.video.declared import declared_span
from actionrnn.video.frame import Frame
from actionrnn.video.last_frame import end_of
from actionrnn.video.source import as_sampled, locate


@dataclass(frozen=True)
class Answer:
    """What is known of one video."""

    timeline: Timeline
    took_seconds: float

    def summary(self, top: int, none_rate: float | None = None) -> dict[str, Any]:
        """Plain JSON types, as of `classify --json`, and the time that it took."""
        took = {"took_seconds": round(self.took_seconds, 3)}
        return self.timeline.prediction().top(top).to_dict(none_rate) | took


@dataclass(frozen=True)
class Upload:
    """A video on the server's disk, and what its visitor calls it."""

    path: Path
    name: str
    limits: ServeLimits
    stop: threading.Event
    """Set when the visitor has left."""

    def isolation(self) -> Isolation:
        """The bounds within which it is decoded."""
        return Isolation(
            most_seconds=self.limits.request_seconds,
            most_video_seconds=self.limits.video_seconds,
            limits=self.limits.video_limits(),
            most_memory_bytes=int(self.limits.decode_mb * 1e6),
            stop=self.stop,
        )

    def problem(self, error: VideoError) -> VideoError:
        """The same error without the server's folders."""
        text = str(error).replace(str(self.path), self.name)
        return VideoError(text.replace(f"{self.path.parent}{os.sep}", ""))


def analyse(upload: Upload, model: Recognizer) -> Answer:
    """Decode in a separate process, encode, and score.

    Raises:
        VideoError: it cannot be used, exceeds a bound, or the visitor has left.
    """
    start = time.perf_counter()
    try:
        timeline = model.timeline(upload.path, decode=upload.isolation().decode)
        begin, end = _span_of(upload, timeline.pts_seconds, model.config.sampling)
    except VideoError as error:
        raise upload.problem(error) from None
    took_seconds = time.perf_counter() - start
    timeline = replace(timeline, path=upload.name, start_seconds=begin, end_seconds=end)
    return Answer(timeline.on_clock("player"), took_seconds)


def _span_of(
    upload: Upload, pts_seconds: NDArray[np.float64], sampling: Sampling
) -> tuple[float, float | None]:
    """When a video begins by its own clock, 0 if it says nonsense; and when its last step ends."""
    *_, (_, content) = upload.isolation().messages(_span, upload.path, pts_seconds, sampling)
    begin, end = content.get("begin_seconds"), content.get("end_seconds")
    if not (isinstance(begin, float) and math.isfinite(begin)):
        begin = 0.0
    longest = float(pts_seconds[0]) + upload.limits.video_seconds
    is_whole = sampling.end_seconds is None
    is_end = is_whole and isinstance(end, float) and float(pts_seconds[-1]) < end <= longest
    return begin, end if is_end else None


def _span(
    path: Path, pts_seconds: NDArray[np.float64], sampling: Sampling, limits: VideoLimits
) -> Iterator[tuple[str, Any]]:
    source = as_sampled(path, sampling, limits)
    begin, _ = declared_span(source)
    yield "end", {"begin_seconds": begin, "end_seconds": end_of(source, pts_seconds)}


def make_playable(upload: Upload) -> bytes:
    """The video as an .mp4 file that browsers play, without its sound.

    Raises:
        VideoError: as `analyse`.
    """
    target = upload.path.with_suffix(".mp4")
    seconds = upload.limits.video_seconds
    try:
        for _ in upload.isolation().messages(_rewrite, upload.path, target, seconds):
            continue
    except VideoError as error:
        raise upload.problem(error) from None
    size_bytes, most = target.stat().st_size, upload.limits.upload_bytes
    if size_bytes > most:
        raise VideoError(
            f"{upload.name}: has {size_bytes / 1e6:.0f} MB as .mp4, {most / 1e6:g} MB are sent; "
            "cut it, or scale it down"
        )
    return target.read_bytes()


def _rewrite(
    path: Path, target: Path, most_video_seconds: float, limits: VideoLimits
) -> Iterator[tuple[str, Any]]:
    begin, seconds = declared_span(locate(path, limits))
    _require_short(path, seconds or 0.0, most_video_seconds)

    def draw(frame: Frame) -> NDArray[np.uint8]:
        _require_short(path, frame.pts_seconds - begin, most_video_seconds)
        return frame.rgb

    rewrite(path, target, draw, sound=False, limits=limits)
    yield "end", {}


def _require_short(path: Path, seconds: float, most_seconds: float) -> None:
    if seconds > most_seconds:
        raise VideoError(f"{path}: is {seconds:.0f} s long, {most_seconds:g} s are read; cut it")
