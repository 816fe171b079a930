"""When each frame of a video is shown, from its packets, in ticks of the stream's time base."""

from __future__ import annotations

import contextlib
import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.format import Flags
from av.video.stream import VideoStream
from numpy.typing import NDArray

from actionrnn.video.opening import container_of

Ticks = NDArray[np.int64]

# AVI files with packed B-frames give neighbouring frames swapped times; the decoder's order is
# right. The smallest of this many times in a row belongs to the first of the frames.
REORDER_DEPTH_FRAMES = 4

# A decoding time that falls by more than this is a new clock (a joined MPEG-TS), not disorder.
JUMP_BACK_SECONDS = 1.0

# Where a stream does not say how long a tick or a frame is.
_TICK_SECONDS = Fraction(1, 1000)
_RATE_FPS = 25
_LAST_TICK = 2**62


@dataclass(frozen=True)
class Timetable:
    """All frames that will be shown, in the order of time."""

    ticks: Ticks
    """(T,), never falling."""
    is_keyframe: NDArray[np.bool_]
    """(T,); decoding can begin here."""
    time_base: Fraction
    """Seconds a tick."""
    is_exact: bool
    """Whether each packet said itself when its frame is shown, so that a frame
    is known by its time wherever decoding begins."""

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def pts_seconds(self) -> NDArray[np.float64]:
        """(T,)."""
        return seconds_of(self.ticks, self.time_base)


def read_timetable(stream: VideoStream) -> Timetable:
    """The timetable of the packets; decodes nothing, and ends where a truncated file ends."""
    clock = Clock(stream)
    found, says_all = [], True
    for packet in packets_of(stream, clock):
        if packet.is_discard or not packet.size:
            continue
        tick = packet.pts if packet.pts is not None else packet.dts
        says_all = says_all and packet.pts is not None
        if tick is not None:
            found.append((tick, packet.is_keyframe))
    ticks = [tick for tick, _ in found]
    is_exact = (
        says_all
        and not clock.jumped
        and len(set(ticks)) == len(ticks)
        and (_stores_display_times(stream) or ticks == sorted(ticks))
    )
    return make_timetable(stream, found, is_exact=is_exact)


def decode_timetable(stream: VideoStream) -> Timetable:
    """The timetable of the frames that really come; decodes everything."""
    found = [(tick, bool(picture.key_frame)) for picture, tick in timed_frames(stream)]
    return make_timetable(stream, found, is_exact=False)


def make_timetable(
    stream: VideoStream, found: list[tuple[int, bool]], *, is_exact: bool
) -> Timetable:
    """From each frame's tick and whether it is a key frame, in any order."""
    found = sorted(found)
    ticks = np.array([tick for tick, _ in found], np.int64)
    is_keyframe = np.array([is_key for _, is_key in found], np.bool_)
    if len(found) and not is_keyframe.any():
        is_keyframe[0] = True
    return Timetable(ticks, is_keyframe, time_base_of(stream), is_exact)


def timed_frames(stream: VideoStream) -> Iterator[tuple[av.VideoFrame, int]]:
    """Decoded frames in the order of display, each with its time in ticks, never falling."""
    pending: deque[av.VideoFrame] = deque()
    ticks: list[int] = []
    step = frame_ticks(stream)
    newest, shown = -step, -_LAST_TICK
    for picture in _decoded(stream):
        known = picture.pts if picture.pts is not None else picture.dts
        newest = known if known is not None else newest + step
        pending.append(picture)
        heapq.heappush(ticks, newest)
        if len(pending) == REORDER_DEPTH_FRAMES:
            shown = max(shown, heapq.heappop(ticks))
            yield pending.popleft(), shown
    while pending:
        shown = max(shown, heapq.heappop(ticks))
        yield pending.popleft(), shown


class Clock:
    """Moves times on where a joined recording starts its clock again, so that they never fall."""

    def __init__(self, stream: VideoStream) -> None:
        self.jumped = False
        self._step = frame_ticks(stream)
        self._furthest_fall = max(1, int(JUMP_BACK_SECONDS / time_base_of(stream)))
        self._last: int | None = None
        self._shift = 0

    def correct(self, packet: av.Packet[VideoStream]) -> None:
        """Write the packet's times on the clock of the first packet."""
        if packet.dts is None:
            return
        dts = packet.dts + self._shift
        if self._last is not None and dts < self._last - self._furthest_fall:
            self.jumped = True
            self._shift += self._last + self._step - dts
            dts = self._last + self._step
        self._last = dts
        if self._shift:
            packet.dts = min(dts, _LAST_TICK)
            if packet.pts is not None:
                packet.pts = min(packet.pts + self._shift, _LAST_TICK)


def packets_of(stream: VideoStream, clock: Clock | None = None) -> Iterator[av.Packet[VideoStream]]:
    """The stream's packets, and an empty one that flushes; until a truncated file ends."""
    clock = clock or Clock(stream)
    packets = container_of(stream).demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError, OSError):
            return
        clock.correct(packet)
        yield packet


def time_base_of(stream: VideoStream) -> Fraction:
    """Seconds a tick."""
    time_base = stream.time_base
    return time_base if time_base and time_base > 0 else _TICK_SECONDS


def frame_ticks(stream: VideoStream) -> int:
    """How long a frame is shown, as far as the stream says, at least a tick."""
    rate = stream.average_rate or stream.guessed_rate or _RATE_FPS
    return max(1, round(1 / (rate * time_base_of(stream))))


def seconds_of(ticks: Ticks, time_base: Fraction) -> NDArray[np.float64]:
    """Ticks as seconds, correctly rounded."""
    return ticks.astype(np.float64) * time_base.numerator / time_base.denominator


def _stores_display_times(stream: VideoStream) -> bool:
    """Whether packets carry display times, not just their order of decoding."""
    container_format = container_of(stream).format
    return container_format.name != "avi" and Flags.no_timestamps not in Flags(
        container_format.flags
    )


def _decoded(stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Decode on past damaged packets; what the decoder holds comes out at the end."""
    for packet in packets_of(stream):
        if packet.size:
            with contextlib.suppress(av.FFmpegError, OSError):
                yield from packet.decode()
    with contextlib.suppress(av.FFmpegError, OSError):
        yield from stream.codec_context.decode(None)
