"""How long the last frame of a video stands.

Screen recordings write a frame only when something changes: their last one may stand for most of
the file. A length that a file declares is no proof, as a truncated file keeps it; the last frame's
own duration is, and so is sound that goes on.
"""

from __future__ import annotations

import contextlib
from typing import Any

import av
import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

from actionrnn.video.declared import declared_span
from actionrnn.video.frame_index import frame_ticks, time_base_of
from actionrnn.video.raw import is_raw
from actionrnn.video.source import (
    Source,
    VideoSource,
    container_of,
    is_live,
    locate,
    open_stream,
    video_streams,
)

FROZEN_SECONDS = 1.0
"""A last frame that stands longer than this stands still; up to it, it may be any rate's."""


def end_of(path: VideoSource | Source, pts_seconds: NDArray[np.float64]) -> float | None:
    """When the last of some steps ends, (T,) from the first frame on; None: it is not known.

    That is the declared end if it comes within a step and `FROZEN_SECONDS` of the last step: more
    may be sound that goes on, or what a truncated file has lost, so it needs the proof of
    `shown_until`. So it does where that end is one of several streams' own, and there is sound.

    Raises:
        VideoError: the source is missing, empty, not a video, or has sound only.
    """
    last = float(pts_seconds[-1])
    usual = float(np.median(np.diff(pts_seconds))) if len(pts_seconds) > 1 else 0.0
    begin, length = declared_span(path)
    if length is None and (end_of_raw := _end_of_raw(locate(path), last, usual)) is not None:
        return end_of_raw
    end = begin + (length or 0.0)
    is_near = last < end <= last + usual + FROZEN_SECONDS
    if is_near and not _ends_before_sound(path):
        return end
    return shown_until(path, last) or (end if is_near else None)


def _ends_before_sound(path: VideoSource | Source) -> bool:
    """Whether sound may go on behind the declared end: of several video streams it is one's own."""
    with open_stream(path) as video:
        container = container_of(video)
        return len(video_streams(container)) > 1 and len(container.streams.audio) > 0


def _end_of_raw(source: Source, last: float, usual: float) -> float | None:
    """When the last frame of raw video ends; None: it is none, or has no known end.

    Its packets are counted. Where they are more than the frames, as fields are, the last step is
    taken for the last frame.
    """
    with open_stream(source) as video:
        container = container_of(video)
        if not is_raw(video) or is_live(video):
            return None
        frame_seconds = float(frame_ticks(source, video) * time_base_of(video))
        count = 0
        with contextlib.suppress(av.FFmpegError, OSError):  # a truncated file ends
            for packet in container.demux(video):
                count += packet.size > 0
    end = count * frame_seconds
    is_end = last < end < last + usual + 2.5 * frame_seconds  # steps show the frame before
    return end if is_end else last + frame_seconds


def shown_until(path: VideoSource | Source, last_seconds: float) -> float | None:
    """When a last frame that stands still is taken away; None: it does not stand still.

    Reads the packets, but not of a file that says that it ends near the last frame, unless that
    end is one of several streams' own, and there is sound.

    Args:
        last_seconds: the time of the last frame that was read.

    Raises:
        VideoError: the source is missing, empty, not a video, or has sound only.
    """
    source = locate(path)
    begin, length = declared_span(source)
    is_near = length and begin + length <= last_seconds + FROZEN_SECONDS
    if is_near and not _ends_before_sound(source):
        return None
    with open_stream(source) as video:
        container = container_of(video)
        if is_live(video) or source.raw_rate.counted(video):
            return None  # a stream without an end, or without times
        last, end = last_seconds, last_seconds
        with contextlib.suppress(av.FFmpegError, OSError):  # a truncated file ends
            for packet in container.demux(video, *container.streams.audio):
                if not packet.size or packet.pts is None or packet.is_discard:
                    continue
                begins, ends = _seconds(packet, float(time_base_of(video)))
                end = max(end, ends)
                if packet.stream.index == video.index:
                    last = max(last, begins)
    # a frame behind the last that was read proves it as well: until then that one stood
    stands = max(end - last, last - last_seconds)
    return end if stands > FROZEN_SECONDS else None


def _seconds(packet: Packet[Any], usual_time_base: float) -> tuple[float, float]:
    time_base = float(packet.time_base or usual_time_base)
    begins = (packet.pts or 0) * time_base
    return begins, begins + (packet.duration or 0) * time_base
