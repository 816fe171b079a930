"""A model watches a file from its first frame on, in constant memory, and may stop early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.model.stream import Stream
from actionrnn.video.decode import iter_frames

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
    frames, came = iter_frames(path, frame_folder_fps=stream.sampling.frame_folder_fps), False
    for first in frames:
        # handed over one by one, so that the stream alone holds them, and lets each go once cut
        scores = stream.push(chain([first], islice(frames, frames_together - 1)))
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
