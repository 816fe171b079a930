"""Which frames of a stream: `choose_frames` for a rate, one frame at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from actionrnn.config import Sampling
from actionrnn.errors import ConfigError, VideoError
from actionrnn.video.sampling import TICK_TOLERANCE_SECONDS

Picture = TypeVar("Picture")

# One frame that is shown at more ticks than this stands for a broken clock, not for a picture.
MOST_TICKS_OF_A_FRAME = 10**5


@dataclass
class PickerState:
    """What a picker remembers of the times, as plain numbers."""

    first_seconds: float | None = None
    """The first tick; None before the first frame."""
    next_tick: int = 0
    held_seconds: float = -math.inf
    """The newest frame's time."""


class FramePicker(Generic[Picture]):
    """The frame that is shown at each tick, as soon as a frame says so.

    A frame on a tick is picked when it comes, one between ticks when the next one shows that
    it was the last before the tick. After any frame, the picked ones are those that
    `choose_frames` takes of all frames so far (frames nearer to each other than
    `TICK_TOLERANCE_SECONDS` count as one).

    Args:
        sampling: a rate, or every frame.

    Raises:
        ConfigError: the sampling needs the whole clip.
    """

    def __init__(self, sampling: Sampling) -> None:
        require_streamable(sampling)
        self._sampling = sampling
        self.state = PickerState()
        self.held: Picture | None = None
        """The newest frame, which the next tick may show."""

    def restore(self, state: PickerState) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: its numbers do not belong together; ticks without end could follow.
        """
        next_tick, rate_fps = 0, self._sampling.rate_fps
        if state.first_seconds is not None and rate_fps is not None:
            next_tick = _num_ticks(state.held_seconds - state.first_seconds, rate_fps)
        if state.next_tick != next_tick or next_tick < 0:
            raise ValueError(f"the next tick cannot be {state.next_tick}")
        self.state = state

    def copy(self) -> FramePicker[Picture]:
        """One that remembers the same, and moves on by itself."""
        picker: FramePicker[Picture] = FramePicker(self._sampling)
        picker.state, picker.held = replace(self.state), self.held
        return picker

    def check(self, pts_seconds: Iterable[float]) -> None:
        """Whether `push` can take frames with these times, all of them.

        Raises:
            VideoError: one is no number, lies before the one before it, or so far behind it
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

    def push(self, picture: Picture, pts_seconds: float) -> list[tuple[Picture, float]]:
        """The pictures of the ticks that are now known, each with its own time.

        The time must be one that `check` lets through.
        """
        if not self._is_within(pts_seconds):
            return []
        if self._sampling.rate_fps is None:
            picked = [(picture, pts_seconds)]
        else:
            picked = self._shown(picture, pts_seconds, self._sampling.rate_fps)
        self.held, self.state.held_seconds = picture, pts_seconds
        return picked

    def _is_within(self, pts_seconds: float) -> bool:
        start, end = self._sampling.start_seconds, self._sampling.end_seconds
        after_start = start is None or pts_seconds >= start - TICK_TOLERANCE_SECONDS
        return after_start and (end is None or pts_seconds < end - TICK_TOLERANCE_SECONDS)

    def _shown(
        self, picture: Picture, pts_seconds: float, rate_fps: float
    ) -> list[tuple[Picture, float]]:
        state = self.state
        if state.first_seconds is None:
            state.first_seconds = pts_seconds
        num_ticks = _num_ticks(pts_seconds - state.first_seconds, rate_fps)
        picked: list[tuple[Picture, float]] = []
        for tick in range(state.next_tick, num_ticks):
            tick_seconds = state.first_seconds + tick / rate_fps
            if self.held is not None and tick_seconds + TICK_TOLERANCE_SECONDS < pts_seconds:
                picked.append((self.held, state.held_seconds))
            else:
                picked.append((picture, pts_seconds))
        state.next_tick = max(num_ticks, state.next_tick)
        return picked


def _num_ticks(elapsed_seconds: float, rate_fps: float) -> int:
    """The ticks up to a frame that comes so long after the first one."""
    return math.floor((elapsed_seconds + TICK_TOLERANCE_SECONDS) * rate_fps) + 1


def require_streamable(sampling: Sampling) -> None:
    """Raise a ConfigError for a sampling that needs the whole clip."""
    if sampling.num_frames is None and not sampling.keyframes:
        return
    raise ConfigError(
        f"sampling ({sampling}) cannot stream, as it needs the whole clip; train with "
        "sampling.num_frames=null sampling.keyframes=false sampling.rate_fps=4, as in "
        "configs/folder_example.yaml"
    )
