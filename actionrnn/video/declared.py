"""Where a video says that it begins and ends.

What it says may be wrong: a truncated file keeps its length. `last_frame` has what proves it.
"""

from __future__ import annotations

import contextlib
import re

import av
from av.video.stream import VideoStream

from actionrnn.video.frame_index import time_base_of
from actionrnn.video.source import (
    Source,
    VideoSource,
    container_of,
    locate,
    open_stream,
    video_streams,
)


def declared_span(path: VideoSource | Source) -> tuple[float, float | None]:
    """The start and the length, in seconds, that a video declares; None: no length is declared.

    An MP4 file whose last frames come after the end that it declares (B-frames at a variable rate)
    ends with them.

    Args:
        path: of a source with several video streams, the length goes to the end of that which is
            read, where this declares one.

    Raises:
        VideoError: the source is missing, empty, not a video, or has sound only, or no such stream.
    """
    source = locate(path)
    with open_stream(source) as video:
        container = container_of(video)
        start, length = container.start_time or 0, container.duration
        if length and container.format.name.startswith("matroska"):
            length -= start  # it counts from time 0, not from its first picture
        begin = start / av.time_base
        end = begin + length / av.time_base if length else None
        if len(video_streams(container)) > 1:
            end = _end_of_stream(video) or end
        if end is not None and _may_end_later(video) and not source.is_address:
            end = max(end, _last_frame_from(video, end))
    return begin, None if end is None else end - begin


def declared_seconds(stream: VideoStream) -> float | None:
    """The length of a stream, in seconds, or of its file; None: neither is declared."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if (end := _end_of_stream(stream)) is not None:
        return end - float((stream.start_time or 0) * time_base_of(stream))
    container_ticks = container_of(stream).duration
    return container_ticks / av.time_base if container_ticks else None


def _end_of_stream(video: VideoStream) -> float | None:
    """When a stream ends, in seconds on its clock, as it declares itself; None: it does not."""
    if video.duration and video.time_base:
        return float(((video.start_time or 0) + video.duration) * video.time_base)
    # Matroska's, which counts from time 0: 00:00:09.040000000
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", video.metadata.get("DURATION", ""))
    return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3]) if tag else None


def _may_end_later(video: VideoStream) -> bool:
    """Whether what it declares is the end of decoding, not that of showing."""
    return container_of(video).format.name.startswith("mov") and video.codec_context.has_b_frames


def _last_frame_from(video: VideoStream, seconds: float) -> float:
    """The time of the last frame, read from the key frame before a time on."""
    container, last = container_of(video), seconds
    with contextlib.suppress(av.FFmpegError, OSError):
        container.seek(int(seconds * av.time_base))
        for packet in container.demux(video):
            if packet.size and packet.pts is not None and not packet.is_discard:
                last = max(last, float(packet.pts * (packet.time_base or 0)))
    return last
