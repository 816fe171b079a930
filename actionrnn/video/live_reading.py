"""A network stream, a pipe or a file in real time, frame by frame, with FFmpeg."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import av
from av.video.stream import VideoStream

from actionrnn.config import VideoLimits
from actionrnn.errors import VideoError
from actionrnn.stream_config import LiveOptions
from actionrnn.video.convert import Converter
from actionrnn.video.frame import Frame
from actionrnn.video.source import Source, container_of, decode_packet, locate, open_stream

# Look at so much of a live stream before decoding begins; FFmpeg's own 5 s are a long wait.
_PROBE = {"analyzeduration": "1000000", "fflags": "nobuffer"}

# A clock that falls by more, or leaps by more, is another clock.
_FALL_SECONDS = 0.2
_LEAP_SECONDS = 10.0
_USUAL_STEP_SECONDS = 0.04


SkipFrame = Literal["DEFAULT", "NONREF", "NONKEY"]


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


def read_live(
    address: str,
) -> tuple[Callable[[LiveOptions, threading.Event], Iterator[Frame]], bool, str]:
    """How to open a source, whether its end is the end, and its name in messages.

    The times of its frames are those of its own clock.

    Raises:
        VideoError: there is no such file.
    """
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
    convert, size = Converter(source, None, context.width, context.height), (0, 0)
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
