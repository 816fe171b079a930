"""Live sources: a webcam, a network stream, a pipe, or a file in real time.

One thread reads and decodes; the consumer takes the frames from a queue that is short in
time. What waits too long is dropped, so that a slow consumer sees fewer frames, never old ones.
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
from numpy.typing import NDArray

from actionrnn.config import LiveOptions, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.video.convert import Converter
from actionrnn.video.frame import Frame
from actionrnn.video.source import Source, container_of, decode_packet, locate, open_stream

SkipFrame = Literal["DEFAULT", "NONREF", "NONKEY"]

Opener = Callable[[LiveOptions, threading.Event], Iterator[Frame]]

_CAMERA = re.compile(r"camera:(\d+)")

# Look at so much of a live stream before decoding begins; FFmpeg's own 5 s are a long wait.
_PROBE = {"analyzeduration": "1000000", "fflags": "nobuffer"}

# A clock that falls by more, or leaps by more, is another clock.
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
    """Counts how often the source was opened; another number: there was an interruption."""


@dataclass
class LiveCounts:
    """What happened so far."""

    frames: int = 0
    """That were decoded."""
    dropped: int = 0
    """Of them, those that waited too long and were thrown away."""
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


class SteadyClock:
    """Moves times on so that they neither fall nor leap: over interruptions and new clocks."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._step = _USUAL_STEP_SECONDS
        self._shift: float | None = 0.0

    def restart(self) -> None:
        """The next time is that of another connection: it follows on the last one."""
        if self._last is not None:
            self._shift = None

    def steady(self, pts_seconds: float) -> float:
        """The time to go on with."""
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
        self._last = max(now, last)
        return self._last


class LagGuard:
    """Lets the decoder leave frames out while it is behind the time."""

    def __init__(self, max_lag_seconds: float) -> None:
        self._most = max_lag_seconds
        self._least_delay: float | None = None
        self._level: SkipFrame = "DEFAULT"

    def lag(self, pts_seconds: float, now: float) -> float:
        """How much later this frame comes than the most punctual so far."""
        delay = now - pts_seconds
        if self._least_delay is None or delay < self._least_delay or delay > self._least_delay + 60:
            self._least_delay = delay
        return delay - self._least_delay

    def level(self, lag_seconds: float, before_key_frame: bool) -> SkipFrame:
        """FFmpeg's `skip_frame` for the next packet; after key frames alone, whole from one on."""
        if lag_seconds > 3 * self._most:
            self._level = "NONKEY"
        elif self._level != "NONKEY" or (before_key_frame and lag_seconds < self._most):
            self._level = "NONREF" if lag_seconds > self._most else "DEFAULT"
        return self._level


def _opener_of(address: str) -> tuple[Opener, bool, str]:
    """How to open it, whether its end is the end, and its name in messages."""
    if camera := _CAMERA.fullmatch(address):
        number = int(camera[1])
        return (lambda options, stop: _read_camera(number, stop)), False, address
    return _read_address(address)


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


def _read_address(address: str) -> tuple[Opener, bool, str]:
    if address == "-":
        source, is_finite = Source("standard input", "pipe:0", False, VideoLimits(), 0), True
    elif _is_pipe(address):
        source, is_finite = Source(address, f"file:{address}", False, VideoLimits(), 0), True
    else:
        source = locate(address)
        is_finite = not source.is_address
    paced = source.size_bytes > 0

    def read(options: LiveOptions, stop: threading.Event) -> Iterator[Frame]:
        probe = {} if paced else _PROBE
        with open_stream(source, timeout_seconds=options.stall_seconds, options=probe) as stream:
            stream.thread_type = "SLICE"  # frame threads would hold frames back
            yield from _decode_live(source, stream, options, stop, paced)

    return read, is_finite, source.name


def _decode_live(
    source: Source,
    stream: VideoStream,
    options: LiveOptions,
    stop: threading.Event,
    paced: bool,
) -> Iterator[Frame]:
    context, guard = stream.codec_context, LagGuard(options.max_lag_seconds)
    convert, size = Converter.of(source, stream), (0, 0)
    begin: float | None = None
    lag = 0.0
    for packet in _packets(source, stream):
        if stop.is_set():
            return
        context.skip_frame = guard.level(lag, bool(packet.is_keyframe))
        for picture in decode_packet(source, stream, packet):
            pts_seconds = picture.time
            if pts_seconds is None:
                continue
            if size != (picture.width, picture.height):  # it changes its resolution midway
                size = picture.width, picture.height
                convert = Converter(source, None, *size)
            if paced:
                ahead = 0.0 if begin is None else begin + pts_seconds - time.monotonic()
                if begin is None or ahead > _LEAP_SECONDS:
                    begin, ahead = time.monotonic() - pts_seconds, 0.0
                stop.wait(max(0.0, ahead))
            lag = guard.lag(pts_seconds, time.monotonic())
            yield convert.frame(picture, float(pts_seconds))


def _packets(source: Source, stream: VideoStream) -> Iterator[Any]:
    try:
        yield from container_of(stream).demux(stream)
    except (av.FFmpegError, OSError) as error:
        reason = "no data" if isinstance(error, av.ExitError) else error.strerror
        raise VideoError(f"{source.name}: was interrupted ({reason})") from None


def _is_pipe(address: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        path = Path(address)
        return (
            path.exists() and not path.is_file() and not path.is_dir() and os.access(path, os.R_OK)
        )
    return False
