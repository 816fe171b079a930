"""When each frame of a video is shown, from its packets, in ticks of the stream's time base."""

from __future__ import annotations

import contextlib
import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy as np
from av.format import Flags
from av.video.stream import VideoStream
from numpy.typing import NDArray

from actionrnn.video.source import Source, container_of, decode_packet

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
class FrameIndex:
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
    is_one_by_one: bool = False
    """Whether the n-th packet makes the decoder give out frame n - 1 (MPEG-4 with
    B-frames in AVI, which stores no display times)."""

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def pts_seconds(self) -> NDArray[np.float64]:
        """(T,)."""
        return seconds_of(self.ticks, self.time_base)


def read_frame_index(stream: VideoStream) -> FrameIndex:
    """The index of the packets; decodes nothing, and ends where a truncated file ends."""
    packets = []
    with contextlib.suppress(av.FFmpegError, OSError):
        for packet in container_of(stream).demux(stream):
            if packet.size and not packet.is_discard:
                packets.append((packet.pts, packet.dts, packet.is_keyframe))
    clock = Clock(stream)
    found = []
    for pts, dts, is_keyframe in packets:
        shift = clock.shift(dts)
        tick = pts if pts is not None else dts
        if tick is not None:
            found.append((tick + shift, is_keyframe))
    ticks = [tick for tick, _ in found]
    context = stream.codec_context
    depth = context.reorder_depth
    is_exact = (
        all(pts is not None for pts, _, _ in packets)
        and not clock.jumped
        and len(set(ticks)) == len(ticks)
        and (_stores_display_times(stream) or (depth == 0 and ticks == sorted(ticks)))
    )
    is_one_by_one = (
        not is_exact
        and (context.name, depth) == ("mpeg4", 1)
        and not clock.jumped
        and len(found) == len(packets)
    )
    index = make_frame_index(stream, found, is_exact=is_exact)
    return replace(index, is_one_by_one=is_one_by_one)


def decode_frame_index(source: Source, stream: VideoStream) -> FrameIndex:
    """The index of the frames that really come; decodes everything.

    Raises:
        VideoError: as `timed_frames`.
    """
    found = [(tick, bool(picture.key_frame)) for picture, tick in timed_frames(source, stream)]
    return make_frame_index(stream, found, is_exact=False)


def make_frame_index(
    stream: VideoStream, found: list[tuple[int, bool]], *, is_exact: bool
) -> FrameIndex:
    """From each frame's tick and whether it is a key frame, in any order."""
    found = sorted(found)
    ticks = np.array([tick for tick, _ in found], np.int64)
    is_keyframe = np.array([is_key for _, is_key in found], np.bool_)
    if len(found) and not is_keyframe.any():
        is_keyframe[0] = True
    return FrameIndex(ticks, is_keyframe, time_base_of(stream), is_exact)


def timed_frames(source: Source, stream: VideoStream) -> Iterator[tuple[av.VideoFrame, int]]:
    """Decoded frames in the order of display, each with its time in ticks, never falling.

    Raises:
        VideoError: a frame is larger than the limits.
    """
    pending: deque[av.VideoFrame] = deque()
    ticks: list[int] = []
    step = frame_ticks(stream)
    newest, shown = -step, -_LAST_TICK
    for picture in _decoded(source, stream):
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

    def shift(self, dts: int | None) -> int:
        """What to add to the times of the next packet, whose decoding time this is."""
        if dts is None:
            return self._shift
        last, now = self._last, dts + self._shift
        if last is not None and now < last - self._furthest_fall:
            self.jumped = True
            self._shift += last + self._step - now
            now = last + self._step
        self._last = now
        return self._shift


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


def _decoded(source: Source, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Decode on past damaged packets; what the decoder holds comes out at the end."""
    for packet in _packets_on_one_clock(stream):
        if packet.size:  # an empty one would end the decoding
            yield from decode_packet(source, stream, packet)
    yield from decode_packet(source, stream, None)


def _packets_on_one_clock(stream: VideoStream) -> Iterator[av.Packet[VideoStream]]:
    """The stream's packets, until a truncated file ends."""
    clock = Clock(stream)
    with contextlib.suppress(av.FFmpegError, OSError):
        for packet in container_of(stream).demux(stream):
            if shift := clock.shift(packet.dts):
                packet.pts = _shifted(packet.pts, shift)
                packet.dts = _shifted(packet.dts, shift)
            yield packet


def _shifted(tick: int | None, shift: int) -> int | None:
    return None if tick is None else min(tick + shift, _LAST_TICK)
