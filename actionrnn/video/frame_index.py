"""When each frame of a video is shown, from its packets, in ticks of the stream's time base."""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
from av.format import Flags
from av.video.stream import VideoStream
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.video.raw import are_numbers, declared_rate, is_raw
from actionrnn.video.source import Source, container_of, decode_packet

Ticks = NDArray[np.int64]
Packet: TypeAlias = "av.Packet[VideoStream]"

# AVI files with packed B-frames give adjacent frames swapped times, though the decoder returns
# the frames in the right order. The smallest of this many times belongs to the first frame.
REORDER_DEPTH_FRAMES = 4

# A decoding time that falls by more than this is a new clock (a joined MPEG-TS), not disorder.
JUMP_BACK_SECONDS = 1.0

# The packets of a file that take less are kept from the index on, so that it is read once.
MAX_KEPT_BYTES = 8 << 20
_PACKET_BYTES = 1 << 10  # what one takes besides its content

# For streams that do not say how long a tick or a frame is.
_TICK_SECONDS = Fraction(1, 1000)
_RATE_FPS = 25
_LAST_TICK = 2**62


class AssumedRateWarning(UserWarning):
    """Nothing says when the frames of a video are shown, or what does is overruled."""


@dataclass(frozen=True)
class FrameIndex:
    """When each of the T frames of a video is shown, in the order of display."""

    ticks: Ticks
    """(T,), in units of `time_base`, non-decreasing."""
    is_keyframe: NDArray[np.bool_]
    """(T,): whether decoding can begin at the frame."""
    time_base: Fraction
    """Seconds a tick."""
    is_exact: bool
    """Whether every packet carries the display time of its frame, so that a frame can be
    identified by its time, wherever decoding begins."""
    is_one_by_one: bool = False
    """Whether packet n makes the decoder return frame n - 1 (MPEG-4 with B-frames in AVI,
    which stores no display times). False if `is_exact`."""
    packets: list[Packet] | None = None
    """All of them, in the file's order; None: they are too many to be kept."""

    @functools.cached_property
    def places(self) -> dict[int | None, int]:
        """Where in `packets` the frame of a tick is."""
        return {packet.pts: place for place, packet in enumerate(self.packets or [])}

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def pts_seconds(self) -> NDArray[np.float64]:
        """(T,), each correctly rounded."""
        return self.ticks.astype(np.float64) * self.time_base.numerator / self.time_base.denominator


def read_frame_index(source: Source, stream: VideoStream) -> FrameIndex:
    """The frames that the packets promise, up to where a truncated file ends; decodes nothing.

    None of raw video whose frames are counted and may refer to each other.
    """
    if source.raw_rate.counted(stream):
        return make_frame_index(stream, _counted_packets(stream))
    clock = Clock(time_base_of(stream), frame_ticks(source, stream))
    found: list[tuple[int, bool]] = []
    kept: list[Packet] = []
    room_bytes = MAX_KEPT_BYTES
    num_packets, have_pts = 0, True
    with contextlib.suppress(av.FFmpegError, OSError):
        for packet in container_of(stream).demux(stream):
            size_bytes = packet.size
            if not size_bytes:
                continue
            room_bytes -= size_bytes + _PACKET_BYTES
            if room_bytes >= 0:
                kept.append(packet)
            else:
                kept.clear()
            if packet.is_discard:  # cut off by an edit list
                continue
            num_packets += 1
            have_pts &= packet.pts is not None
            shift = clock.shift(packet.dts)
            tick = packet.pts if packet.pts is not None else packet.dts
            if tick is not None:
                found.append((tick + shift, packet.is_keyframe))
    context = stream.codec_context
    depth = context.reorder_depth
    ticks = [tick for tick, _ in found]
    is_exact = (
        have_pts
        and not clock.jumped
        and len(set(ticks)) == len(ticks)
        and (_stores_display_times(stream) or (depth == 0 and ticks == sorted(ticks)))
    )
    is_one_by_one = (
        not is_exact
        and (context.name, depth) == ("mpeg4", 1)
        and not clock.jumped
        and len(found) == num_packets
    )
    index = make_frame_index(stream, found, is_exact=is_exact, is_one_by_one=is_one_by_one)
    return replace(index, packets=kept if room_bytes >= 0 else None)


def _counted_packets(stream: VideoStream) -> list[tuple[int, bool]]:
    """One frame for each packet, where each holds one; else none, as only decoding tells."""
    if not stream.codec_context.codec.intra_only:
        return []
    count = 0
    with contextlib.suppress(av.FFmpegError, OSError):
        for packet in container_of(stream).demux(stream):
            count += packet.size > 0
    return [(number, True) for number in range(count)]


def decode_frame_index(source: Source, stream: VideoStream) -> FrameIndex:
    """The frames that really can be decoded; decodes everything.

    Raises:
        VideoError: a frame is larger than the limits.
    """
    found = [(tick, bool(picture.key_frame)) for picture, tick in timed_frames(source, stream)]
    return make_frame_index(stream, found)


def make_frame_index(
    stream: VideoStream,
    found: list[tuple[int, bool]],
    *,
    is_exact: bool = False,
    is_one_by_one: bool = False,
) -> FrameIndex:
    """An index of frames in any order, each given by its tick and whether it is a key frame."""
    found = sorted(found)
    ticks = np.array([tick for tick, _ in found], np.int64)
    is_keyframe = np.array([is_key for _, is_key in found], np.bool_)
    if len(found) and not is_keyframe.any():
        is_keyframe[0] = True  # decoding begins somewhere
    return FrameIndex(ticks, is_keyframe, time_base_of(stream), is_exact, is_one_by_one)


def timed_frames(source: Source, stream: VideoStream) -> Iterator[tuple[av.VideoFrame, int]]:
    """Decode every frame, in the order of display, each with its tick; ticks never fall.

    Damaged packets and what is missing at the end of a truncated file are passed over.

    Raises:
        VideoError: a frame is larger than the limits.
    """
    if source.raw_rate.counted(stream):
        yield from zip(_decoded(source, stream), itertools.count())
        return
    pending: deque[av.VideoFrame] = deque()
    ticks: list[int] = []
    step = frame_ticks(source, stream)
    newest, shown = -step, -_LAST_TICK
    for picture in _decoded(source, stream):
        known = picture.pts if picture.pts is not None else picture.dts
        newest = known if known is not None else newest + step
        pending.append(picture)
        heapq.heappush(ticks, newest)
        # the decoder's order is right, while times may be swapped: only the times are sorted
        if len(pending) == REORDER_DEPTH_FRAMES:
            shown = max(shown, heapq.heappop(ticks))
            yield pending.popleft(), shown
    while pending:
        shown = max(shown, heapq.heappop(ticks))
        yield pending.popleft(), shown


def require_times(name: str, index: FrameIndex) -> None:
    """Raise a VideoError if several frames have one time: any rate would choose one of them."""
    ticks = index.ticks
    if len(ticks) > 1 and ticks[0] == ticks[-1]:
        raise VideoError(
            f"{name}: all of its {len(ticks)} frames are at {index.pts_seconds[0]:.3f} s, so that "
            "nothing says when each is shown; write it again with a frame rate"
        )


class Clock:
    """Shifts the times of a recording whose clock starts again midway, so that they never fall.

    `jumped` says whether that happened so far.

    Args:
        time_base: seconds a tick.
        step: ticks from the last packet before to the first one after.
    """

    def __init__(self, time_base: Fraction, step: int) -> None:
        self.jumped = False
        self._step = step
        self._furthest_fall = max(1, int(JUMP_BACK_SECONDS / time_base))
        self._last: int | None = None
        self._shift = 0

    def shift(self, dts: int | None) -> int:
        """The ticks to add to the times of the next packet, given its decoding time."""
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
    """Seconds a tick, a millisecond where the stream does not say."""
    time_base = stream.time_base
    return time_base if time_base and time_base > 0 else _TICK_SECONDS


def frame_ticks(source: Source, stream: VideoStream) -> int:
    """How long a frame is shown at the stream's declared rate, at least one tick."""
    if are_numbers(stream) or source.raw_rate.counted(stream):
        return 1
    rate = declared_rate(stream) or stream.average_rate or stream.guessed_rate or _RATE_FPS
    return max(1, round(1 / (rate * time_base_of(stream))))


def warn_if_rate_is_assumed(source: Source, stream: VideoStream, num_frames: int) -> None:
    """Say that the rate of raw video with several frames is not one that it states."""
    if num_frames < 2 or not is_raw(stream):
        return
    stated, given = declared_rate(stream), source.raw_rate
    if stated is None and not given.overrules:
        warnings.warn(
            f"{source.name}: does not say the frame rate: {given.fps:g} frames/s assumed; "
            "--frame-rate (in Python frame_folder_fps) sets another",
            AssumedRateWarning,
            stacklevel=1,  # one place, so that it is said once
        )
    elif stated is not None and given.overrules and stated != given.exact:
        warnings.warn(
            f"{source.name}: states {float(stated):g} frames/s; {given.fps:g} are taken, as "
            "--frame-rate says",
            AssumedRateWarning,
            stacklevel=1,
        )


def _stores_display_times(stream: VideoStream) -> bool:
    """Whether packets carry display times, not only their order of decoding."""
    container_format = container_of(stream).format
    return container_format.name != "avi" and Flags.no_timestamps not in Flags(
        container_format.flags
    )


def _decoded(source: Source, stream: VideoStream) -> Iterator[av.VideoFrame]:
    clock = Clock(time_base_of(stream), frame_ticks(source, stream))
    with contextlib.suppress(av.FFmpegError, OSError):  # a truncated file ends
        for packet in container_of(stream).demux(stream):
            if not packet.size:
                continue  # an empty packet would end the decoding
            if shift := clock.shift(packet.dts):
                packet.pts = _shifted(packet.pts, shift)
                packet.dts = _shifted(packet.dts, shift)
            yield from decode_packet(source, stream, packet)
    yield from decode_packet(source, stream, None)  # what the decoder still holds


def _shifted(tick: int | None, shift: int) -> int | None:
    return None if tick is None else min(tick + shift, _LAST_TICK)
