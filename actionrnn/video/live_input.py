"""How a live source is read: a camera, a network stream, a list of segments, a pipe, a file.

What could be read faster than it is shown, a file or a list of segments, is played in real time.
Of all else frames are taken as they come.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.format import Flags
from av.video.stream import VideoStream

from actionrnn.errors import VideoError
from actionrnn.files import as_path
from actionrnn.options import LiveOptions, VideoLimits
from actionrnn.video.convert import Converter
from actionrnn.video.frame import Frame
from actionrnn.video.frame_index import frame_ticks, time_base_of
from actionrnn.video.live_clocks import LagGuard, Pace
from actionrnn.video.source import (
    Source,
    container_of,
    decode_packet,
    is_path,
    is_pipe,
    locate,
    open_stream,
)

_CAMERA = re.compile(r"camera:(\d+)")

# How much of a live stream is examined before decoding begins; FFmpeg's 5 s are a long wait.
_PROBE = {"analyzeduration": "1000000"}

# Lists of segments (HLS), which come in bursts: the next one may be this long in coming.
_LISTS = ("hls",)
_LIST_ENDINGS = (".m3u8", ".m3u")
_SEGMENT_SECONDS = 30.0

_RTSP_TRANSPORTS = {"tcp": "tcp", "udp": "udp", "multicast": "udp_multicast"}

# A list that is opened again begins with what it held already; older times are of a new clock.
_SEEN_SECONDS = 120.0


def live_input(address: str) -> LiveInput:
    """What reads an address."""
    if camera := _CAMERA.fullmatch(address):
        return _Camera(int(camera[1]))
    if address == "-":
        return _Stream(Source("standard input", "pipe:0", False, VideoLimits(), 0))
    if is_path(address) and is_pipe(path := as_path(address)):
        return _Stream(Source(str(path), f"file:{path}", False, VideoLimits(), 0))
    return _Stream(locate(address))


class LiveInput(Protocol):
    """A source that can be opened, again and again where its end is not final."""

    name: str
    is_final: bool
    """Whether it is over when a connection ends."""

    def read(self, options: LiveOptions, stop: threading.Event) -> Iterator[Frame]:
        """The frames of one connection.

        Raises:
            VideoError: it cannot be opened, or was interrupted.
        """


class _Camera:
    is_final = False

    def __init__(self, number: int) -> None:
        self._number, self.name = number, f"camera:{number}"

    def read(self, options: LiveOptions, stop: threading.Event) -> Iterator[Frame]:
        import cv2

        capture: Any = cv2.VideoCapture(self._number)
        try:
            if not capture.isOpened():
                here = ", ".join(map(str, sorted(Path("/dev").glob("video*")))) or "none"
                raise VideoError(
                    f"{self.name}: no such camera, or another program uses it (here: {here})"
                )
            while not stop.is_set():
                came, bgr = capture.read()
                if not came:
                    raise VideoError(f"{self.name}: gives no more pictures; is it unplugged?")
                yield Frame(time.monotonic(), partial(np.ascontiguousarray, bgr[..., ::-1]))
        finally:
            capture.release()


class _Stream:
    """A file, a pipe or an address."""

    def __init__(self, source: Source) -> None:
        self._source, self.name = source, source.name
        self.is_final = not source.is_address
        self._played_seconds: float | None = None
        """Of a list of segments: the newest time that was played."""

    def read(self, options: LiveOptions, stop: threading.Event) -> Iterator[Frame]:
        with self._open(options) as stream:
            container = container_of(stream)
            is_list = container.format.name in _LISTS
            is_file = not is_list and (self._source.size_bytes or container.size or 0) > 0
            self.is_final = is_file or not self._source.is_address
            stream.thread_type = "SLICE"  # frame threads would hold frames back
            is_timed = Flags.no_timestamps not in Flags(container.format.flags)
            if is_file or is_list:
                frames = self._paced(stream, is_list, options, stop)
            else:
                frames = self._as_they_come(stream, is_timed, options, stop)
            came = False
            for frame in frames:
                came = True
                yield frame
        if stop.is_set():
            return
        if self.is_final and not came:
            raise VideoError(
                f"{self.name}: ended without a picture; see that it is a video, and begins with a "
                "key frame"
            )
        if is_list:
            self.is_final = self._list_has_ended(options)

    def _open(self, options: LiveOptions) -> AbstractContextManager[VideoStream]:
        target, given = str(self._source.target).lower(), dict(options.input_options)
        timeout_seconds = options.stall_seconds
        if not self._source.size_bytes:
            given = _PROBE | given
        if target.startswith("rtsp"):
            given = {"rtsp_transport": _RTSP_TRANSPORTS[options.transport]} | given
        if target.startswith("http"):
            given = {"reconnect": "1"} | given  # in the middle of a file, where it was cut off
            if target.partition("?")[0].endswith(_LIST_ENDINGS):
                timeout_seconds = max(timeout_seconds, _SEGMENT_SECONDS)
        return open_stream(self._source, timeout_seconds=timeout_seconds, options=given)

    def _list_has_ended(self, options: LiveOptions) -> bool:
        """Whether a list says so; else its server does not answer, and may come back."""
        with contextlib.suppress(VideoError), self._open(options) as stream:
            return container_of(stream).duration is not None
        return False

    def _as_they_come(
        self, stream: VideoStream, is_timed: bool, options: LiveOptions, stop: threading.Event
    ) -> Iterator[Frame]:
        guard, lag = LagGuard(options.max_lag_seconds), 0.0
        convert, times = _Converters(self._source, stream), _Times(self._source, stream)
        for packet in _packets(self._source, stream):
            arrived = time.monotonic()
            if stop.is_set():
                return
            stream.codec_context.skip_frame = guard.level(lag, bool(packet.is_keyframe))
            for picture in decode_packet(self._source, stream, packet):
                pts_seconds = times.of(picture) if is_timed else arrived
                lag = guard.lag(pts_seconds, time.monotonic())
                yield convert.frame(picture, pts_seconds)

    def _paced(
        self, stream: VideoStream, is_list: bool, options: LiveOptions, stop: threading.Event
    ) -> Iterator[Frame]:
        guard, lag, pace = LagGuard(options.max_lag_seconds), 0.0, Pace()
        convert, times = _Converters(self._source, stream), _Times(self._source, stream)
        played, waited = self._played_seconds if is_list else None, 0.0
        packets = _packets(self._source, stream)
        while True:
            asked = time.monotonic()
            packet = next(packets, None)
            waited += time.monotonic() - asked
            if packet is None or stop.is_set():
                return
            stream.codec_context.skip_frame = guard.level(lag, bool(packet.is_keyframe))
            for picture in decode_packet(self._source, stream, packet):
                pts_seconds = times.of(picture)
                if played is not None and played - _SEEN_SECONDS < pts_seconds <= played:
                    continue  # the list was opened again, and this was shown before
                due = pace.due(pts_seconds, time.monotonic(), waited)
                waited = 0.0
                stop.wait(max(0.0, due - time.monotonic()))
                lag = guard.lag(due, time.monotonic())
                self._played_seconds = pts_seconds
                yield convert.frame(picture, pts_seconds)


class _Converters:
    """A converter scales to the first size it sees: a live stream may change it for good."""

    def __init__(self, source: Source, stream: VideoStream) -> None:
        self._source, self._stream = source, stream
        self._size = (0, 0)

    def frame(self, picture: av.VideoFrame, pts_seconds: float) -> Frame:
        if self._size != (picture.width, picture.height):
            self._size = (picture.width, picture.height)
            self._converter = Converter(self._source, self._stream, takes_first_size=True)
        return self._converter.frame(picture, pts_seconds)


class _Times:
    """When pictures are shown; if nothing says it, a step of the declared rate after the last."""

    def __init__(self, source: Source, stream: VideoStream) -> None:
        self._time_base = time_base_of(stream)
        self._step = float(frame_ticks(source, stream) * self._time_base)
        self._are_counted = source.raw_rate.counted(stream) is not None
        self._last = -self._step

    def of(self, picture: av.VideoFrame) -> float:
        tick = picture.dts if picture.pts is None else picture.pts
        if tick is None or self._are_counted:
            self._last += self._step
        else:
            self._last = float(tick * self._time_base)
        return self._last


def _packets(source: Source, stream: VideoStream) -> Iterator[Any]:
    try:
        yield from container_of(stream).demux(stream)
    except (av.FFmpegError, OSError) as error:
        reason = "no data" if isinstance(error, av.ExitError) else error.strerror
        raise VideoError(f"{source.name}: was interrupted ({reason})") from None
