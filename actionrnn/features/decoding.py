"""One video file becomes the squares that a backbone sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import VideoFile
from actionrnn.files import FileState, file_sha256, file_state
from actionrnn.video.decode import visit_frames
from actionrnn.video.request import FrameRequest, FrameSink

Decode = Callable[[Path, Sampling, FrameSink, Preprocessing, int], VideoFile]
"""Gives a sink the squares of a video, decoded in so many threads, and describes the file.

Raises VideoError if it cannot be used."""


@dataclass(frozen=True)
class VideoPart:
    """A video, or a part of one, that is encoded, and the name of its entry in a store."""

    key: str
    path: Path
    start_seconds: float | None = None
    end_seconds: float | None = None
    """The part that is the clip; None: from the first frame, to the last."""
    problem: str = ""
    """Why it cannot be used, if that is known already."""

    def sampling(self, sampling: Sampling) -> Sampling:
        """Where to look in the video: in the clip's part, if it is only a part."""
        if self.start_seconds is None and self.end_seconds is None:
            return sampling
        return replace(sampling, start_seconds=self.start_seconds, end_seconds=self.end_seconds)


def decode_here(
    path: Path,
    sampling: Sampling,
    squares: FrameSink,
    preprocessing: Preprocessing,
    num_threads: int,
    limits: VideoLimits | None = None,
) -> VideoFile:
    """Decode a video in this process; its name, size and sha256.

    Raises:
        VideoError: it cannot be used, or it changed meanwhile.
    """

    def square(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        try:
            return preprocessing.square(rgb)
        except VideoError as error:
            raise VideoError(f"{path}: {error}") from None

    state = _state_of(path)
    request = FrameRequest(sampling, squares, transform=square, num_threads=num_threads)
    visit_frames(path, request, limits)
    return _described(path, state)


def _state_of(path: Path) -> FileState:
    try:
        return file_state(path)
    except FileNotFoundError:
        raise VideoError(f"{path}: no such file or folder; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(
            f"{path}: cannot be read ({reason}); check the path and the permissions"
        ) from None


def _described(path: Path, before: FileState) -> VideoFile:
    """The source as it is stored with the features; it must be what was decoded."""
    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise VideoError(f"{path}: vanished while it was read ({error.strerror})") from None
    if _state_of(path) != before:
        raise VideoError(f"{path}: changed while it was read; extract it again")
    return VideoFile(path.name, before.size_bytes, sha256)
