"""Which frames: pure functions from the times of all frames to the chosen indices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling

Indices = NDArray[np.intp]
Times = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Times are sums of fractions such as 1/30: a frame this close to a tick is on it.
TICK_TOLERANCE_SECONDS = 1e-4

# More indices than any memory holds frames; only damaged times ask for so many.
MAX_CHOSEN_FRAMES = 10**7


def choose_frames(
    pts_seconds: Times, sampling: Sampling, is_keyframe: Mask | None = None
) -> Indices:
    """Indices of the frames that `sampling` asks for, never falling, (n,).

    First the clip is cut to `start_seconds` and `end_seconds`, then thinned to its key
    frames if only they are wanted; the rule then chooses among what is left.

    Args:
        pts_seconds: the times of all frames, rising, (T,).
        is_keyframe: which of them are key frames, (T,); needed for `keyframes`.

    Raises:
        ValueError: more than `MAX_CHOSEN_FRAMES` would be chosen.

    >>> times = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    >>> choose_frames(times, Sampling(num_frames=2, start_seconds=0.5))
    array([2, 4])
    >>> choose_frames(times, Sampling(rate_fps=1, end_seconds=2.0))
    array([0, 2])
    >>> is_keyframe = np.array([True, False, False, True, False])
    >>> choose_frames(times, Sampling(keyframes=True), is_keyframe)
    array([0, 3])
    """
    within = frames_between(pts_seconds, sampling.start_seconds, sampling.end_seconds)
    if sampling.keyframes and is_keyframe is not None:
        within = within[is_keyframe[within]]
    if len(within) == 0:
        return within
    if sampling.num_frames is not None:
        return within[uniform_frames(len(within), sampling.num_frames)]
    if sampling.rate_fps is not None:
        return within[constant_rate_frames(pts_seconds[within], sampling.rate_fps)]
    return within


def frames_between(
    pts_seconds: Times, start_seconds: float | None = None, end_seconds: float | None = None
) -> Indices:
    """The frames whose time is at least the start and less than the end.

    >>> frames_between(np.array([7.0, 7.5, 8.0, 8.5]), 7.5, 8.5)
    array([1, 2])
    >>> frames_between(np.array([7.0, 7.5]), start_seconds=9.0)
    array([], dtype=int64)
    """
    start = -math.inf if start_seconds is None else start_seconds
    end = math.inf if end_seconds is None else end_seconds
    edges = np.array([start, end]) - TICK_TOLERANCE_SECONDS
    first, stop = np.searchsorted(pts_seconds, edges, side="left")
    return np.arange(first, stop)


def uniform_frames(frame_count: int, num_frames: int) -> Indices:
    """The middle frames of `num_frames` equal parts; frames repeat in shorter clips.

    >>> uniform_frames(10, 5)
    array([1, 3, 5, 7, 9])
    >>> uniform_frames(2, 4)
    array([0, 0, 1, 1])
    """
    _require_count(num_frames)
    # integers: floor((i + 1/2) * frame_count / num_frames)
    return (2 * np.arange(num_frames) + 1) * frame_count // (2 * num_frames)


def constant_rate_frames(pts_seconds: Times, rate_fps: float) -> Indices:
    """The frame that is shown at each tick, from the first frame's time on.

    Frame i is shown from its time until the next frame's. A rate above the
    video's own shows some frames at two ticks, as a player would.

    >>> constant_rate_frames(np.array([0.0, 0.1, 0.2, 0.3, 0.4]), rate_fps=5)
    array([0, 2, 4])
    >>> constant_rate_frames(np.array([7.0, 7.5, 7.6]), rate_fps=4)
    array([0, 0, 1])
    """
    first, last = float(pts_seconds[0]), float(pts_seconds[-1])
    tick_count = math.floor((last - first + TICK_TOLERANCE_SECONDS) * rate_fps) + 1
    _require_count(tick_count)
    ticks = first + np.arange(tick_count) / rate_fps
    shown = np.searchsorted(pts_seconds, ticks + TICK_TOLERANCE_SECONDS, side="right") - 1
    return np.clip(shown, 0, len(pts_seconds) - 1)


def _require_count(count: int) -> None:
    if count > MAX_CHOSEN_FRAMES:
        raise ValueError(f"{count} frames would be chosen, at most {MAX_CHOSEN_FRAMES} are")
