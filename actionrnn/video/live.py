"""Live sources: a webcam, a network stream, a pipe, or a file played in real time.

One thread reads and decodes; the consumer takes the frames from a queue that is bounded in
time: a frame that has waited too long is dropped, so that a slow consumer gets fewer frames,
never old ones.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from actionrnn.errors import VideoError
from actionrnn.options import LiveOptions
from actionrnn.video.frame import Frame
from actionrnn.video.live_clocks import SteadyClock
from actionrnn.video.live_input import live_input


class Arrival(NamedTuple):
    """A frame of a live source, and how it came."""

    frame: Frame
    """Its times never fall or leap, whatever the source's clock does."""
    arrived: float
    """`time.monotonic()` when it was decoded."""
    connection: int
    """How often the source had been opened by then; a new number: it was interrupted before."""


@dataclass
class LiveCounts:
    """What happened so far."""

    frames: int = 0
    """Decoded frames."""
    dropped: int = 0
    """Those among them that waited too long and were dropped."""
    connections: int = 0
    """How often the source was opened."""


class LiveSource:
    """Reads a source in a separate thread, and opens it again when it is interrupted.

    A camera or an address is opened again after `first_wait_seconds`, then after twice that
    time and so on up to `longest_wait_seconds`, and given up when it has sent no frame for
    `give_up_seconds`. The end of a file or pipe is final, and so is that of a file on a server and
    of a list of segments (HLS) that says that it is over.

    Files, here or on a server, and lists of segments are played in real time; of all else frames
    are taken as they come. Where nothing tells their times (raw H.264, MJPEG), a frame's time is
    that of its arrival, by `time.monotonic()`.

    Args:
        address: `camera:0`, an address (rtsp://, http://, tcp://, udp://, srt://, ...), `-` for
            standard input, a named pipe, or a file.
        options: the waits above, how old a frame may be, and what FFmpeg is told.
        report: is called with one line about each interruption, in the reading thread.

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
        self._input = live_input(address)
        self.name = self._input.name
        self._waiting: deque[Arrival] = deque()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._error: VideoError | None = None
        self._thread = threading.Thread(target=self._follow, name="live source", daemon=True)
        self._started = False
        self._last_arrival = 0.0

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
                # what is still in the queue when the source ends is returned first
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
        """Read until the source ends or is given up: what the thread does."""
        options, clock = self.options, SteadyClock()
        wait_seconds = options.first_wait_seconds
        self._last_arrival = time.monotonic()
        while not self._stop.is_set():
            num_before = self.counts.frames
            problem = self._read(clock)
            if self._stop.is_set():
                return
            if self._input.is_final:
                self._error = VideoError(problem) if problem else None
                return
            if self.counts.frames > num_before:
                wait_seconds = options.first_wait_seconds  # it worked: this is a new interruption
            silent = time.monotonic() - self._last_arrival
            reason = problem or "ended"
            if silent + wait_seconds > options.give_up_seconds:
                self._error = VideoError(
                    f"{self.name}: no picture for {silent:.0f} s "
                    f"({reason.removeprefix(f'{self.name}: ')}); check the source, or wait longer "
                    "with --give-up-seconds"
                )
                return
            self._report(f"{reason}; opening it again in {wait_seconds:g} s")
            self._stop.wait(wait_seconds)
            # back off: a short interruption is over soon, a long one needs no hundred attempts
            wait_seconds = min(2 * wait_seconds, options.longest_wait_seconds)

    def _read(self, clock: SteadyClock) -> str:
        """Open the source and queue its frames; why that ended, "" if the source just ended."""
        self.counts.connections += 1
        clock.restart()
        try:
            for frame in self._input.read(self.options, self._stop):
                self._add(replace(frame, pts_seconds=clock.steady(frame.pts_seconds)))
        except VideoError as error:
            return str(error)
        except Exception as error:  # an error that ends a thread would be lost
            return f"{self.name}: failed ({type(error).__name__})"
        return ""

    def _add(self, frame: Frame) -> None:
        self._last_arrival = time.monotonic()
        newest = Arrival(frame, self._last_arrival, self.counts.connections)
        with self._changed:
            self.counts.frames += 1
            self._waiting.append(newest)
            # The oldest are dropped, not the newest: what the consumer takes next is then at
            # most max_lag_seconds behind, however slow it is. They were never made RGB.
            while newest.arrived - self._waiting[0].arrived > self.options.max_lag_seconds:
                self._waiting.popleft()
                self.counts.dropped += 1
            self._changed.notify()
