"""Live sources: a webcam, a network stream, a pipe, or a file played in real time.

One thread reads and decodes; the consumer takes the frames from a queue that is bounded in
time: a frame that has waited too long is dropped, so that a slow consumer gets fewer frames,
never old ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import numpy as np
from av.video.stream import VideoStream

from actionrnn.config import LiveOptions, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.video.convert import Converter
from actionrnn.video.frame import Frame
from actionrnn.video.source import Source, container_of, decode_packet, locate, open_stream

SkipFrame = Literal["DEFAULT", "NONREF", "NONKEY"]

Opener = Callable[[LiveOptions, threading.Event], Iterator[Frame]]

_CAMERA = re.compile(r"camera:(\d+)")

# How much of a live stream is examined before decoding begins; FFmpeg's 5 s are a long wait.
_PROBE = {"analyzeduration": "1000000", "fflags": "nobuffer"}

# A clock that falls or leaps by more than this has been set anew.
_FALL_SECONDS = 0.2
_LEAP_SECONDS = 10.0
_USUAL_STEP_SECONDS = 0.04


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
    `give_up_seconds`. The end of a file or pipe is final.

    Args:
        address: `camera:0`, an address (rtsp://, http://, tcp://, udp://, ...), `-` for
            standard input, or a file, which is played in real time.
        options: the waits above, and how old a frame may be.
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
        self._open, self._is_finite, self.name = _opener_of(address)
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
            if self._is_finite:
                self._error = VideoError(problem) if problem else None
                return
            if self.counts.frames > num_before:
                wait_seconds = options.first_wait_seconds  # it worked: this is a new interruption
            silent = time.monotonic() - self._last_arrival
            reason = problem or "ended"
            if silent + wait_seconds > options.give_up_seconds:
                self._error = VideoError(
                    f"{self.name}: no picture for {silent:.0f} s ({reason.removeprefix(self.name)}"
                    "); check the source, or wait longer with --give-up-seconds"
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
            for frame in self._open(self.options, self._stop):
                self._add(replace(frame, pts_seconds=clock.steady(frame.pts_seconds)))
        except VideoError as error:
            return str(error)
        except Exception as error:  # an error that ends a thread would be lost
            return f"{type(error).__name__}: {error}"
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


class SteadyClock:
    """Shifts times so that they neither fall nor leap, over interruptions and new clocks."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._step = _USUAL_STEP_SECONDS
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


def _opener_of(address: str) -> tuple[Opener, bool, str]:
    """What reads an address, whether its end is final, and its name for messages."""
    if camera := _CAMERA.fullmatch(address):
        number = int(camera[1])
        return (lambda options, stop: _read_camera(number, stop)), False, address
    if address == "-":
        source = Source("standard input", "pipe:0", False, VideoLimits(), 0)
    elif _is_pipe(address):
        source = Source(address, f"file:{address}", False, VideoLimits(), 0)
    else:
        source = locate(address)
    return partial(_read_stream, source), not source.is_address, source.name


def _is_pipe(address: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        path = Path(address)
        is_other = path.exists() and not path.is_file() and not path.is_dir()
        return is_other and os.access(path, os.R_OK)
    return False


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
            yield Frame(time.monotonic(), partial(np.ascontiguousarray, bgr[..., ::-1]))
    finally:
        capture.release()


def _read_stream(source: Source, options: LiveOptions, stop: threading.Event) -> Iterator[Frame]:
    is_file = source.size_bytes > 0
    probe = {} if is_file else _PROBE
    with open_stream(source, timeout_seconds=options.stall_seconds, options=probe) as stream:
        stream.thread_type = "SLICE"  # frame threads would hold frames back
        converter, size = Converter(source, stream, takes_first_size=True), (0, 0)
        guard, lag = LagGuard(options.max_lag_seconds), 0.0
        begin: float | None = None  # time.monotonic() at the file's time 0
        for packet in _packets(source, stream):
            if stop.is_set():
                return
            stream.codec_context.skip_frame = guard.level(lag, bool(packet.is_keyframe))
            for picture in decode_packet(source, stream, packet):
                pts_seconds = picture.time
                if pts_seconds is None:
                    continue
                # a converter scales to the first size: a live stream may change it for good
                if size != (picture.width, picture.height):
                    converter = Converter(source, stream, takes_first_size=True)
                    size = picture.width, picture.height
                if is_file:  # it could be read faster than it is shown
                    ahead = 0.0 if begin is None else begin + pts_seconds - time.monotonic()
                    if begin is None or ahead > _LEAP_SECONDS:
                        begin, ahead = time.monotonic() - pts_seconds, 0.0
                    stop.wait(max(0.0, ahead))
                lag = guard.lag(pts_seconds, time.monotonic())
                yield converter.frame(picture, float(pts_seconds))


def _packets(source: Source, stream: VideoStream) -> Iterator[Any]:
    try:
        yield from container_of(stream).demux(stream)
    except (av.FFmpegError, OSError) as error:
        reason = "no data" if isinstance(error, av.ExitError) else error.strerror
        raise VideoError(f"{source.name}: was interrupted ({reason})") from None
