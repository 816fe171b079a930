"""Live sources: a webcam, a network stream, a pipe, or a file in real time.

One thread reads and decodes; who looks at the frames takes them from a queue that is short in
time. What waits too long is dropped, so that a slow consumer sees fewer frames, never old ones.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.stream_config import LiveOptions
from actionrnn.video.frame import Frame
from actionrnn.video.live_reading import SteadyClock, read_live

Opener = Callable[[LiveOptions, threading.Event], Iterator[Frame]]

_CAMERA = re.compile(r"camera:(\d+)")


class Arrival(NamedTuple):
    """A frame of a live source, and how it came."""

    frame: Frame
    """Its times never fall or leap, whatever the source's clock does."""
    arrived: float
    """`time.monotonic()` when it was decoded."""
    connection: int
    """Counts how often the source was opened; another number: there was an interruption."""


@dataclass
class LiveCounts:
    """What happened so far."""

    frames: int = 0
    """That were decoded."""
    dropped: int = 0
    """Of them, those that nobody looked at in time."""
    connections: int = 0


class LiveSource:
    """Follows a source from a thread of its own, and opens it anew when it is interrupted.

    Args:
        address: `camera:0`, an address (rtsp://, http://, tcp://, udp://, ...), `-` for
            standard input, or a file, which is played in real time.
        report: is told in one line about interruptions.

    Raises:
        VideoError: there is no such file.
    """

    def __init__(
        self,
        address: str,
        options: LiveOptions | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.options = options or LiveOptions()
        self.counts = LiveCounts()
        self._report = report
        self._open, self._is_finite, self.name = _opener_of(address)
        self._waiting: deque[Arrival] = deque()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._error: VideoError | None = None
        self._thread = threading.Thread(target=self._follow, name="live source", daemon=True)
        self._started = False

    def frames(self, tick_seconds: float = 0.1) -> Iterator[Arrival | None]:
        """The frames as they come; None after each `tick_seconds` without one.

        Raises:
            VideoError: the source was given up.
        """
        if not self._started:
            self._started = True
            self._thread.start()
        while True:
            with self._changed:
                if not self._waiting and not self._is_over():
                    self._changed.wait(tick_seconds)
                arrival = self._waiting.popleft() if self._waiting else None
                over = arrival is None and self._is_over()
            if over:
                break
            yield arrival
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop reading; `frames` ends. Safe in a signal handler."""
        self._stop.set()

    def close(self) -> None:
        """Stop, and wait until the source is closed."""
        self.stop()
        if self._started:
            self._thread.join(timeout=self.options.stall_seconds + 1)

    def _is_over(self) -> bool:
        return self._stop.is_set() or not self._thread.is_alive()

    def _follow(self) -> None:
        clock, wait = SteadyClock(), self.options.first_wait_seconds
        last_picture = time.monotonic()
        while not self._stop.is_set():
            self.counts.connections += 1
            clock.restart()
            reason = "ended"
            try:
                for frame in self._open(self.options, self._stop):
                    last_picture, wait = time.monotonic(), self.options.first_wait_seconds
                    self._add(replace(frame, pts_seconds=clock.steady(frame.pts_seconds)))
            except VideoError as error:
                reason = str(error)
            except Exception as error:  # a thread's error would be lost
                reason = f"{type(error).__name__}: {error}"
            if self._stop.is_set():
                return
            if self._is_finite:
                if reason != "ended":
                    self._error = VideoError(reason)
                return
            silent = time.monotonic() - last_picture
            if silent + wait > self.options.give_up_seconds:
                self._error = VideoError(
                    f"{self.name}: no picture for {silent:.0f} s ({reason.removeprefix(self.name)}"
                    "); check the source, or wait longer with --give-up-seconds"
                )
                return
            self._report(f"{reason}; opening it again in {wait:g} s")
            self._stop.wait(wait)
            wait = min(2 * wait, self.options.longest_wait_seconds)

    def _add(self, frame: Frame) -> None:
        newest = Arrival(frame, time.monotonic(), self.counts.connections)
        with self._changed:
            self.counts.frames += 1
            self._waiting.append(newest)
            while newest.arrived - self._waiting[0].arrived > self.options.max_lag_seconds:
                self._waiting.popleft()
                self.counts.dropped += 1
            self._changed.notify()


def _opener_of(address: str) -> tuple[Opener, bool, str]:
    """How to open it, whether its end is the end, and its name in messages."""
    if camera := _CAMERA.fullmatch(address):
        number = int(camera[1])
        return (lambda options, stop: _read_camera(number, stop)), False, address
    return read_live(address)


def _read_camera(number: int, stop: threading.Event) -> Iterator[Frame]:
    import cv2

    capture: Any = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            here = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*"))) or "none"
            raise VideoError(
                f"camera:{number}: no such camera, or another program uses it (here: {here})"
            )
        while not stop.is_set():
            came, bgr = capture.read()
            if not came:
                raise VideoError(f"camera:{number}: gives no more pictures; is it unplugged?")
            yield Frame(time.monotonic(), partial(_from_bgr, bgr))
    finally:
        capture.release()


def _from_bgr(bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(bgr[..., ::-1])
