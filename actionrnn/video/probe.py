"""What a video is, and when its frames are shown: as much as is known without decoding it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from actionrnn.files import as_path
from actionrnn.options import VideoLimits
from actionrnn.video.convert import Converter
from actionrnn.video.declared import declared_seconds
from actionrnn.video.decodable import DeclaredLength, nothing_decodable
from actionrnn.video.frame_index import (
    FrameIndex,
    decode_frame_index,
    read_frame_index,
    require_times,
    timed_frames,
)
from actionrnn.video.image_folder import folder_corrections, is_folder, is_folder_read_as_before
from actionrnn.video.raw import declared_rate, is_raw_mpeg4
from actionrnn.video.source import (
    Source,
    VideoSource,
    container_of,
    is_live,
    locate,
    open_stream,
    video_streams,
)

_ROUNDED_TICKS = 0.01  # of a picture: the container's clock may be another


@dataclass(frozen=True)
class StreamInfo:
    """One of a file's video streams, as its header describes it."""

    number: int
    """For `Sampling.stream`."""
    codec: str
    """Empty: there is no decoder for it."""
    width: int
    """Pixels, as stored."""
    height: int


@dataclass(frozen=True)
class VideoInfo:
    """What a file declares about its video; only its first frame is decoded."""

    path: Path
    container: str
    codec: str
    width: int
    """Pixels, as shown: square and rotated."""
    height: int
    rate_fps: float | None
    """The average; None: not declared."""
    duration_seconds: float | None
    """None: not declared."""
    num_frames: int
    """Counted by the packets; 0: it has no known end."""
    size_bytes: int
    """0: not known."""
    corrections: tuple[str, ...]
    """What is done to its pictures besides their conversion to RGB, such as `deinterlaced`."""
    stream: int
    """The number of the video stream that this is."""
    streams: tuple[StreamInfo, ...]
    """All video streams of the file."""


def probe_video(
    path: VideoSource | Source, *, limits: VideoLimits | None = None, stream: int | None = None
) -> VideoInfo:
    """Codec, size, rate and length of a video.

    Args:
        path: what `read_frames` takes, except for a folder of pictures.
        limits: the largest frame, and which containers are opened.
        stream: as `Sampling.stream`.

    Raises:
        VideoError: the source is missing, empty, not a video, too large, or has sound only.
    """
    source = replace(locate(path, limits), stream=stream)
    index = _index(source)
    with open_stream(source) as opened:  # again, as reading the index has moved to the end
        first = next(timed_frames(source, opened), None)
        if first is None:
            raise nothing_decodable(source)
        converter = Converter(source, opened)
        width, height = converter.shown_size(first[0])
        return VideoInfo(
            path=Path(source.name),
            container=container_of(opened).format.name,
            codec=opened.codec_context.name,
            width=width,
            height=height,
            rate_fps=_rate(opened, index),
            duration_seconds=declared_seconds(opened),
            num_frames=0 if index is None else len(index),
            size_bytes=source.size_bytes,
            corrections=converter.corrections(first[0]),
            stream=opened.index,
            streams=tuple(map(_stream_info, video_streams(container_of(opened)))),
        )


def _index(source: Source) -> FrameIndex | None:
    """The frames that the packets promise, None for a source without an end; decodes them only
    where they are too few for the length that is declared.

    Raises:
        VideoError: too few can be decoded, or all have one time.
    """
    with open_stream(source) as opened:
        if is_live(opened):
            return None
        index, declared = read_frame_index(source, opened), DeclaredLength.of(source, opened)
    says_length = declared.num_frames or declared.end_seconds
    if says_length and not declared.enough(source, index):
        with open_stream(source, num_threads=1) as opened:
            index = decode_frame_index(source, opened)
        declared.require_enough(source, index)
    require_times(source.name, index)
    return index


def _rate(stream: VideoStream, index: FrameIndex | None) -> float | None:
    """The rate that is declared.

    Raw MPEG-4 declares the ticks of a clock in a second, of which each picture may take several:
    there it is that of the pictures, on the average.
    """
    rate = declared_rate(stream)
    if rate is None or index is None or len(index) < 2 or not is_raw_mpeg4(stream):
        return float(rate) if rate else None
    span = int(index.ticks[-1] - index.ticks[0]) * index.time_base
    ticks = rate * span / (len(index) - 1)
    whole = max(1, round(ticks))
    return float(rate / (whole if abs(ticks - whole) < _ROUNDED_TICKS else ticks))


def _stream_info(stream: VideoStream) -> StreamInfo:
    context = stream.codec_context
    if context is None:
        return StreamInfo(stream.index, "", 0, 0)
    return StreamInfo(stream.index, context.name, context.width, context.height)


def read_corrections(
    path: VideoSource, *, limits: VideoLimits | None = None, stream: int | None = None
) -> tuple[str, ...]:
    """`VideoInfo.corrections` alone, for which little more than the first frame is read.

    Raises:
        VideoError: the source is missing, empty, not a video, too large, or has sound only.
    """
    if is_folder(path):
        return folder_corrections(as_path(path))
    source = replace(locate(path, limits), stream=stream)
    with open_stream(source, num_threads=1) as opened:
        first = next(timed_frames(source, opened), None)
        return () if first is None else Converter(source, opened).corrections(first[0])


def is_read_as_before(path: VideoSource, *, stream: int | None = None) -> bool:
    """Whether versions that corrected nothing, and took the stream that FFmpeg ranks best, gave
    the same pixels.

    Raises:
        VideoError: as `read_corrections`.
    """
    if is_folder(path):
        return is_folder_read_as_before(as_path(path))
    with open_stream(replace(locate(path), stream=stream)) as opened:
        best = container_of(opened).streams.best("video")
        if best is None or best.index != opened.index:
            return False
    return not read_corrections(path, stream=stream)


def read_frame_times(path: VideoSource | Source) -> NDArray[np.float64]:
    """When each of the T frames of a video is shown, (T,), in seconds on the video's clock.

    Read from the packets; a video is decoded for it only where they do not tell.

    Raises:
        VideoError: the source is missing, empty, not a video, has sound only, or no frame.
    """
    source = locate(path)
    with open_stream(source) as stream:
        index = read_frame_index(source, stream)
        if DeclaredLength.of(source, stream).enough(source, index):
            return index.pts_seconds
    with open_stream(source) as stream:
        index = decode_frame_index(source, stream)
    if not len(index):
        raise nothing_decodable(source)
    return index.pts_seconds
