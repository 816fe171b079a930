"""A model watches a file from its first frame on, in constant memory, and may stop early."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import StatePolicy
from actionrnn.errors import VideoError
from actionrnn.model.state_policy import KEEP
from actionrnn.model.stream import Stream
from actionrnn.video.following import follow_frames
from actionrnn.video.image_folder import is_folder
from actionrnn.video.reading import iter_frames

if TYPE_CHECKING:
    from actionrnn.model.recognizer import Recognizer

# Frames pushed together, so that the backbone gets several at once.
FRAMES_TOGETHER = 32


@dataclass(frozen=True)
class Step:
    """What a model says at one moment."""

    pts_seconds: float
    scores: NDArray[np.float32]
    """Probabilities, (K,)."""


def watch(
    model: Recognizer,
    path: str | Path,
    policy: StatePolicy = KEEP,
    *,
    frames_together: int = FRAMES_TOGETHER,
) -> Iterator[Step]:
    """The scores at every step of a file, as far as somebody asks for them.

    Raises:
        VideoError: the video cannot be used.
        ConfigError: the model's sampling needs the whole clip.
    """
    stream, frames = Stream(model, policy), _frames_of(model, path)
    came = False
    while chunk := list(islice(frames, frames_together)):
        scores = stream.push([frame for frame, _ in chunk], [seconds for _, seconds in chunk])
        for seconds, row in zip(stream.pts_seconds.tolist(), scores, strict=True):
            came = True
            yield Step(seconds, row)
    if not came:
        raise VideoError(f"{path}: {model.config.sampling} chooses nothing")


def until_confident(steps: Iterable[Step], confidence: float) -> Iterator[Step]:
    """The steps up to the first whose best score is at least `confidence`."""
    for step in steps:
        yield step
        if step.scores.max() >= confidence:
            return


def _frames_of(
    model: Recognizer, path: str | Path
) -> Iterator[tuple[Callable[[], NDArray[np.uint8]], float]]:
    if is_folder(path):
        fps = model.config.sampling.frame_folder_fps
        for number, frame in enumerate(iter_frames(path)):
            yield (lambda data=frame.data: data), number / fps  # type: ignore[misc]
        return
    for decoded in follow_frames(path):
        yield decoded, decoded.pts_seconds
