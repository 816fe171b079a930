"""A model watches a file from its first frame on, in constant memory, and may stop early."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.model.stream import Stream
from actionrnn.video.following import follow_frames
from actionrnn.video.image_folder import is_folder
from actionrnn.video.reading import iter_frames

# Frames pushed together, so that the backbone gets several at once.
FRAMES_TOGETHER = 32


@dataclass(frozen=True)
class Step:
    """What a model says at one moment."""

    pts_seconds: float
    scores: NDArray[np.float32]
    """Probabilities, (K,)."""


def watch(
    stream: Stream, path: str | Path, *, frames_together: int = FRAMES_TOGETHER
) -> Iterator[Step]:
    """The scores at every step of a file; no more of it is decoded than the caller asks for.

    Args:
        stream: a new one.
        frames_together: pushed at once: more cost less each, and are decoded ahead.

    Raises:
        VideoError: the video cannot be used.
    """
    frames, came = _frames_of(path, stream.sampling.frame_folder_fps), False
    while chunk := list(islice(frames, frames_together)):
        scores = stream.push([frame for frame, _ in chunk], [seconds for _, seconds in chunk])
        for seconds, row in zip(stream.pts_seconds.tolist(), scores, strict=True):
            came = True
            yield Step(seconds, row)
    if not came:
        raise VideoError(f"{path}: {stream.sampling} chooses nothing")


def until_confident(steps: Iterable[Step], confidence: float) -> Iterator[Step]:
    """The steps up to the first whose best score is at least `confidence`."""
    for step in steps:
        yield step
        if step.scores.max() >= confidence:
            return


def _frames_of(
    path: str | Path, folder_fps: float
) -> Iterator[tuple[Callable[[], NDArray[np.uint8]], float]]:
    if is_folder(path):
        for number, frame in enumerate(iter_frames(path)):
            yield (lambda data=frame.data: data), number / folder_fps  # type: ignore[misc]
        return
    for decoded in follow_frames(path):
        yield decoded, decoded.pts_seconds
