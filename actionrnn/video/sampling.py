"""Which frames are sampled: `choose_frames` of a whole video, `FrameSampler` of a stream."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import ConfigError, VideoError

Indices = NDArray[np.intp]
Times = NDArray[np.float64]
Mask = NDArray[np.bool_]
Item = TypeVar("Item")

# Times are sums of fractions such as 1/30: a frame this close to a tick is on it.
TICK_TOLERANCE_SECONDS = 1e-4

# More frames than any memory holds; only damaged times ask for this many.
MAX_CHOSEN_FRAMES = 10**7

# A frame that would be sampled more often than this in a stream means that its clock is broken.
MOST_TICKS_OF_A_FRAME = 10**5


def choose_frames(
    pts_seconds: Times, sampling: Sampling, is_keyframe: Mask | None = None
) -> Indices:
    """Indices of the frames that `sampling` asks for, non-decreasing, (n,).

    First the clip is cut to `start_seconds` and `end_seconds`, then reduced to its key
    frames if only they are wanted; then `num_frames` or `rate_fps` chooses among what is left.

    Args:
        pts_seconds: the times of all frames, ascending, (T,).
        is_keyframe: which of them are key frames, (T,); None: all of them.

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
    """Indices of the frames whose time is at least the start and less than the end.

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
    """Indices of the middle frames of `num_frames` equal parts; frames repeat in shorter clips.

    >>> uniform_frames(10, 5)
    array([1, 3, 5, 7, 9])
    >>> uniform_frames(2, 4)
    array([0, 0, 1, 1])
    """
    _require_count(num_frames)
    # integers: floor((i + 1/2) * frame_count / num_frames)
    return (2 * np.arange(num_frames) + 1) * frame_count // (2 * num_frames)


def constant_rate_frames(pts_seconds: Times, rate_fps: float) -> Indices:
    """Index of the frame that is shown at each tick of the rate, from the first frame's time on.

    Frame i is shown from its time until the next frame's. A rate above the
    video's own repeats frames, as a player does.

    >>> constant_rate_frames(np.array([0.0, 0.1, 0.2, 0.3, 0.4]), rate_fps=5)
    array([0, 2, 4])
    >>> constant_rate_frames(np.array([7.0, 7.5, 7.6]), rate_fps=4)
    array([0, 0, 1])
    """
    first, last = float(pts_seconds[0]), float(pts_seconds[-1])
    tick_count = _num_ticks(last - first, rate_fps)
    _require_count(tick_count)
    ticks = first + np.arange(tick_count) / rate_fps
    shown = np.searchsorted(pts_seconds, ticks + TICK_TOLERANCE_SECONDS, side="right") - 1
    return np.clip(shown, 0, len(pts_seconds) - 1)


@dataclass
class SamplerState:
    """What a sampler remembers of the times, as plain numbers that can be stored."""

    first_seconds: float | None = None
    """The time of tick 0; None before the first frame."""
    next_tick: int = 0
    """The number of the first tick whose frame is not known yet."""
    held_seconds: float = -math.inf
    """The newest frame's time."""


class FrameSampler(Generic[Item]):
    """Samples a stream: the frame that is shown at each tick, as soon as it is known.

    A frame on a tick is sampled when it comes, a frame between ticks when the next one shows
    that it was the last before the tick. After any frame, the sampled ones are those that
    `choose_frames` takes of all frames so far (frames nearer to each other than
    `TICK_TOLERANCE_SECONDS` count as one).

    Args:
        sampling: a rate, or every frame; frames before its start or after its end are left out.

    Raises:
        ConfigError: the sampling needs the whole clip.
    """

    def __init__(self, sampling: Sampling) -> None:
        if sampling.num_frames is not None or sampling.keyframes:
            raise ConfigError(
                f"sampling ({sampling}) cannot stream, as it needs the whole clip; train with "
                "sampling.num_frames=null sampling.keyframes=false sampling.rate_fps=4, as in "
                "configs/folder_example.yaml"
            )
        self._sampling = sampling
        self.state = SamplerState()
        self.held: Item | None = None
        """The newest frame, which the next tick may show."""

    def restore(self, state: SamplerState) -> None:
        """Continue from a saved state; `held` must be set as well.

        Raises:
            ValueError: its numbers contradict each other, so that `push` could return ticks
                without end.
        """
        next_tick, rate_fps = 0, self._sampling.rate_fps
        if state.first_seconds is not None and rate_fps is not None:
            next_tick = _num_ticks(state.held_seconds - state.first_seconds, rate_fps)
        if state.next_tick != next_tick or next_tick < 0:
            raise ValueError(f"the next tick cannot be {state.next_tick}")
        self.state = state

    def copy(self) -> FrameSampler[Item]:
        """A sampler in the same state, independent of this one from now on."""
        sampler: FrameSampler[Item] = FrameSampler(self._sampling)
        sampler.state, sampler.held = replace(self.state), self.held
        return sampler

    def check(self, pts_seconds: Iterable[float]) -> None:
        """Check that `push` can take frames with these times, all of them.

        Raises:
            VideoError: one is not finite, earlier than the one before it, or so much later
                that the clock must be broken.
        """
        last = self.state.held_seconds
        longest = MOST_TICKS_OF_A_FRAME / (self._sampling.rate_fps or 1.0)
        for now in pts_seconds:
            if not math.isfinite(now):
                raise VideoError(f"a frame's time must be a number of seconds, not {now}")
            if now < last or (now - last > longest and last > -math.inf):
                raise VideoError(
                    f"a frame at {now:.3f} s came after one at {last:.3f} s; call reset() "
                    "where a new recording begins"
                )
            last = now

    def push(self, item: Item, pts_seconds: float) -> list[tuple[Item, float]]:
        """Take the next frame; the frames of the ticks that are now known, with their own times.

        Args:
            item: the frame, or whatever represents it.
            pts_seconds: its time, which `check` has accepted.
        """
        if not self._is_within(pts_seconds):
            return []
        if self._sampling.rate_fps is None:
            sampled = [(item, pts_seconds)]
        else:
            sampled = self._shown(item, pts_seconds, self._sampling.rate_fps)
        self.held, self.state.held_seconds = item, pts_seconds
        return sampled

    def _is_within(self, pts_seconds: float) -> bool:
        start, end = self._sampling.start_seconds, self._sampling.end_seconds
        after_start = start is None or pts_seconds >= start - TICK_TOLERANCE_SECONDS
        return after_start and (end is None or pts_seconds < end - TICK_TOLERANCE_SECONDS)

    def _shown(self, item: Item, pts_seconds: float, rate_fps: float) -> list[tuple[Item, float]]:
        state = self.state
        if state.first_seconds is None:
            state.first_seconds = pts_seconds
        num_ticks = _num_ticks(pts_seconds - state.first_seconds, rate_fps)
        sampled: list[tuple[Item, float]] = []
        for tick in range(state.next_tick, num_ticks):
            tick_seconds = state.first_seconds + tick / rate_fps
            # at a tick before the new frame's time, the frame before it was still shown
            if self.held is not None and tick_seconds + TICK_TOLERANCE_SECONDS < pts_seconds:
                sampled.append((self.held, state.held_seconds))
            else:
                sampled.append((item, pts_seconds))
        state.next_tick = max(num_ticks, state.next_tick)
        return sampled


def _num_ticks(elapsed_seconds: float, rate_fps: float) -> int:
    """The number of ticks up to a frame that comes this long after the first one."""
    return math.floor((elapsed_seconds + TICK_TOLERANCE_SECONDS) * rate_fps) + 1


def _require_count(count: int) -> None:
    if count > MAX_CHOSEN_FRAMES:
        raise ValueError(f"{count} frames would be chosen, at most {MAX_CHOSEN_FRAMES} are")
