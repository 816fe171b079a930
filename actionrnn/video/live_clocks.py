"""The clocks of live sources: times that never fall, when a frame is due, what a late one costs."""

from __future__ import annotations

from typing import Literal

SkipFrame = Literal["DEFAULT", "NONREF", "NONKEY"]

# A clock that falls or leaps by more than this has been set anew.
_FALL_SECONDS = 0.2
_LEAP_SECONDS = 10.0
USUAL_STEP_SECONDS = 0.04


class SteadyClock:
    """Shifts times so that they neither fall nor leap, over interruptions and new clocks."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._step = USUAL_STEP_SECONDS
        self._shift: float | None = 0.0

    def restart(self) -> None:
        """The next time is of another connection: it becomes one step after the last one."""
        if self._last is not None:
            self._shift = None

    def steady(self, pts_seconds: float) -> float:
        """The shifted time, at least that of the call before."""
        last = self._last
        if last is None:
            self._last = pts_seconds
            return pts_seconds
        if self._shift is None:
            self._shift = last + self._step - pts_seconds
        now = pts_seconds + self._shift
        if now < last - _FALL_SECONDS or now > last + _LEAP_SECONDS:
            self._shift += last + self._step - now
            now = last + self._step
        elif now > last:
            self._step = min(now - last, 1.0)
        self._last = max(now, last)  # a small fall is disorder: the time stays as it is
        return self._last


class Pace:
    """When each frame of a source that could be read faster is shown: in real time from the first.

    What the source itself is late, as a list whose next segment is not there yet, moves all later
    frames: no decoder could make up for it.
    """

    def __init__(self) -> None:
        self._begin: float | None = None
        """The caller's clock at the source's time 0."""

    def due(self, pts_seconds: float, now: float, source_waited: float) -> float:
        """When the frame is to be shown, on the clock of `now`.

        Args:
            source_waited: seconds since the frame before for which the source gave nothing.
        """
        late = 0.0 if self._begin is None else now - self._begin - pts_seconds
        if self._begin is None or abs(late) > _LEAP_SECONDS + source_waited:
            self._begin = now - pts_seconds  # the first frame, or the source's clock was set anew
        elif late > 0:
            self._begin += min(late, source_waited)
        return self._begin + pts_seconds


class LagGuard:
    """Says which frames the decoder may skip while it is too slow for the stream."""

    def __init__(self, max_lag_seconds: float) -> None:
        self._most = max_lag_seconds
        self._least_delay: float | None = None
        self._level: SkipFrame = "DEFAULT"

    def lag(self, pts_seconds: float, now: float) -> float:
        """How much later this frame comes than the most punctual so far, in seconds."""
        delay = now - pts_seconds
        # a minute's delay is not the decoder's fault: the source's clock was set anew
        if self._least_delay is None or delay < self._least_delay or delay > self._least_delay + 60:
            self._least_delay = delay
        return delay - self._least_delay

    def level(self, lag_seconds: float, before_key_frame: bool) -> SkipFrame:
        """FFmpeg's `skip_frame` for the next packet.

        Non-reference frames are skipped first, as no other frame needs them. If that is not
        enough, only key frames are decoded; then all again from a key frame on, since the
        frames before it refer to skipped ones.
        """
        if lag_seconds > 3 * self._most:
            self._level = "NONKEY"
        elif self._level != "NONKEY" or (before_key_frame and lag_seconds < self._most):
            self._level = "NONREF" if lag_seconds > self._most else "DEFAULT"
        return self._level
