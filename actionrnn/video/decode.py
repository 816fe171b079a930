"""Reads a video as frames, each with the time at which it is shown.

Times come from the stream's time stamps and time base, never from index / frame rate.
A frame goes from here to its consumer in two steps: `WantedFrames.add` knows its place among the
sampled ones and transforms it, and the request's sink takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.files import as_path
from actionrnn.options import VideoLimits
from actionrnn.video.convert import Converter, Scale
from actionrnn.video.frame import Frame, Frames
from actionrnn.video.frame_index import (
    FrameIndex,
    decode_frame_index,
    frame_ticks,
    make_frame_index,
    read_frame_index,
    require_times,
    time_base_of,
    timed_frames,
    warn_if_rate_is_assumed,
)
from actionrnn.video.image_folder import (
    folder_corrections,
    is_folder,
    is_folder_read_as_before,
    iter_frame_folder,
    visit_frame_folder,
)
from actionrnn.video.last_frame import shown_until
from actionrnn.video.raw import RawRate, declared_rate
from actionrnn.video.request import FrameCollector, FrameRequest, WantedFrames
from actionrnn.video.seeking import decode_by_counting, decode_by_seeking, threads_for
from actionrnn.video.source import (
    Source,
    VideoSource,
    as_sampled,
    container_of,
    end_of_stream,
    locate,
    open_stream,
    require_pixels,
    video_streams,
)

# A damaged video is used if at least this part of the frames that it declares can be decoded.
LEAST_DECODABLE_FRACTION = 0.5


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
    num_frames = _count_frames(source)
    with open_stream(source) as opened:  # again, as reading the index has moved to the end
        first = next(timed_frames(source, opened), None)
        if first is None:
            raise _nothing_decodable(source)
        converter = Converter(source, opened)
        width, height = converter.shown_size(first[0])
        return VideoInfo(
            path=Path(source.name),
            container=container_of(opened).format.name,
            codec=opened.codec_context.name,
            width=width,
            height=height,
            rate_fps=float(rate) if (rate := declared_rate(opened)) else None,
            duration_seconds=_declared_seconds(opened),
            num_frames=num_frames,
            size_bytes=source.size_bytes,
            corrections=converter.corrections(first[0]),
            stream=opened.index,
            streams=tuple(map(_stream_info, video_streams(container_of(opened)))),
        )


def _count_frames(source: Source) -> int:
    """The frames that the packets promise, 0 for a source without an end; decodes them only where
    they are too few for the length that is declared.

    Raises:
        VideoError: too few can be decoded, or all have one time.
    """
    with open_stream(source) as opened:
        if _is_live(opened):
            return 0
        index, declared = read_frame_index(source, opened), _Declared.of(source, opened)
    says_length = declared.num_frames or declared.end_seconds
    if says_length and not (declared.enough(index) or declared.stands_still(source, index)):
        with open_stream(source, num_threads=1) as opened:
            index = decode_frame_index(source, opened)
        declared.require_enough(source, index)
    require_times(source.name, index)
    return len(index)


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
        if _Declared.of(source, stream).enough(index):
            return index.pts_seconds
    with open_stream(source) as stream:
        index = decode_frame_index(source, stream)
    if not len(index):
        raise _nothing_decodable(source)
    return index.pts_seconds


def read_frames(
    path: VideoSource,
    sampling: Sampling | None = None,
    *,
    scale: Scale | None = None,
    num_threads: int = 0,
    limits: VideoLimits | None = None,
) -> Frames:
    """The frames of a video that `sampling` chooses (default: every frame).

    Args:
        path: a video file, a folder of pictures, an http(s) or rtsp address, an open binary
            file, bytes, or "-" for standard input.
        sampling: which part of the video, and which frames of it.
        scale: maps the shown width and height to the wanted ones; scaling is part of the
            colour conversion and costs next to nothing.
        num_threads: threads that decode; 0: as many as the work is worth.
        limits: the largest frame, the most bytes held, and which containers are opened.

    Returns:
        `Frames`, RGB uint8 (T, H, W, 3) with `pts_seconds` (T,).

    Raises:
        VideoError: the source is missing, empty, not a video, too large, has sound only, has no
            frame where `sampling` looks, or so little of it can be decoded that the frames
            would not represent the clip.
    """
    limits = limits or VideoLimits()
    found = path if is_folder(path) else locate(path, limits)
    name = found.name if isinstance(found, Source) else str(found)
    collector = FrameCollector(name, limits.max_bytes_held)
    request = FrameRequest(sampling or Sampling(), collector, scale, num_threads=num_threads)
    visit_frames(found, request, limits)
    return collector.frames()


def visit_frames(
    path: VideoSource | Source, request: FrameRequest, limits: VideoLimits | None = None
) -> None:
    """Pass the frames that `read_frames` would return to the request's sink, in constant memory.

    Frames come in any order, and from several threads at once if `request.num_threads` is not 1.
    If a fast way of decoding fails, the sink's `begin` is called again, and the frames come anew.

    Raises:
        VideoError: as in `read_frames`.
    """
    if is_folder(path):
        visit_frame_folder(as_path(path), request, limits or VideoLimits())
    else:
        _visit(as_sampled(path, request.sampling, limits), request)


def iter_frames(
    path: VideoSource,
    *,
    scale: Scale | None = None,
    num_threads: int = 0,
    limits: VideoLimits | None = None,
    frame_folder_fps: float = Sampling.frame_folder_fps,
    overrules_stated_rate: bool = False,
    stream: int | None = None,
) -> Iterator[Frame]:
    """Every frame of a video, one at a time, in constant memory.

    A frame's pixels are made when its `rgb` is first read, which may raise a VideoError, too;
    frames that you pass over cost their decoding only.

    Args:
        path: what `read_frames` takes; an address or a pipe may have no end.
        scale: as in `read_frames`.
        num_threads: threads of the decoder; 0: the decoder chooses.
        limits: the largest frame, and which containers are opened.
        frame_folder_fps: as `Sampling.frame_folder_fps`.
        overrules_stated_rate: as `Sampling.overrules_stated_rate`.
        stream: as `Sampling.stream`.

    Raises:
        VideoError: the source is missing, empty, not a video, too large, has sound only, or no
            frame of it can be decoded.
    """
    limits = limits or VideoLimits()
    if is_folder(path):
        yield from iter_frame_folder(as_path(path), frame_folder_fps, scale, limits)
        return
    rate = RawRate(frame_folder_fps, overrules_stated_rate)
    source = replace(locate(path, limits), stream=stream, raw_rate=rate)
    with open_stream(source, num_threads) as opened:
        time_base = time_base_of(opened)
        converter = Converter(source, opened, scale)
        num_came = 0
        for picture, tick in timed_frames(source, opened):
            num_came += 1
            if num_came == 2:
                warn_if_rate_is_assumed(source, opened, num_came)
            # now, not when the pixels are needed: too large a frame may be passed over
            require_pixels(picture.width, picture.height, source)
            yield converter.frame(picture, float(tick * time_base))
        if num_came == 0:
            raise _nothing_decodable(source)


def _visit(source: Source, request: FrameRequest) -> None:
    """Decode by the first of three ways that finds every frame: seeking, counting, in order."""
    with open_stream(source) as stream:
        if _is_live(stream):
            _collect(source, stream, request)
            return
        declared = _Declared.of(source, stream)
        index = read_frame_index(source, stream)
        warn_if_rate_is_assumed(source, stream, len(index))
        promises_enough = declared.enough(index) or declared.stands_still(source, index)
        if promises_enough and (index.is_exact or index.is_one_by_one):
            decode = decode_by_seeking if index.is_exact else decode_by_counting
            if decode(source, stream, WantedFrames(source.name, index, request)):
                return
            # What a decoder puts in the place of damaged parts depends on the number of its
            # threads, and with several differs from run to run.
            request = replace(request, num_threads=1)
    # If a fast way is in doubt about one frame, those that it has already passed on may be wrong,
    # too: the sink starts over, and all are decoded in order.
    if promises_enough and _decode_in_order(source, index, request):
        return
    # The packets promised frames that do not come: choose among those that really do.
    request = replace(request, num_threads=1)
    with open_stream(source, request.num_threads) as stream:
        index = decode_frame_index(source, stream)
        warn_if_rate_is_assumed(source, stream, len(index))
    declared.require_enough(source, index)
    if not _decode_in_order(source, index, request):
        raise VideoError(
            f"{source.name}: decodes differently each time; re-encode it or leave it out"
        )


def _decode_in_order(source: Source, index: FrameIndex, request: FrameRequest) -> bool:
    """Decode from the first frame to the last wanted one; whether all of them came."""
    wanted = WantedFrames(source.name, index, request)
    with open_stream(source) as stream:
        convert = Converter(source, stream, request.scale)
        threads = threads_for(request.num_threads, len(index), stream)
        stream.codec_context.thread_count = threads
        due = iter(wanted.missing_ticks().tolist())
        for picture, tick in timed_frames(source, stream):
            if wanted.wants(tick):
                if tick != next(due):
                    return False  # an earlier one did not come: nothing waits for it in vain
                wanted.add(tick, convert(picture))
            if wanted.is_complete:
                return True
    return False


def _is_live(stream: VideoStream) -> bool:
    """Whether the source cannot be read twice: a stream of unknown length."""
    return (container_of(stream).size or 0) <= 0


def _collect(source: Source, stream: VideoStream, request: FrameRequest) -> None:
    """Keep every frame until `end_seconds`, then choose among them."""
    convert = Converter(source, stream, request.scale)
    time_base, sampling = time_base_of(stream), request.sampling
    found: list[tuple[int, bool]] = []
    kept = []
    size_bytes = 0
    for picture, tick in timed_frames(source, stream):
        seconds = float(tick * time_base)
        if sampling.end_seconds is not None and seconds >= sampling.end_seconds:
            break
        found.append((tick, bool(picture.key_frame)))
        kept.append(convert(picture).copy())
        size_bytes += kept[-1].nbytes
        if size_bytes > source.limits.max_bytes_held:
            raise VideoError(
                f"{source.name}: is too large: has no end within {seconds:.1f} s and "
                f"{size_bytes} bytes of frames; set sampling.end_seconds, or use iter_frames"
            )
    if not found:
        raise _nothing_decodable(source)
    warn_if_rate_is_assumed(source, stream, len(found))
    wanted = WantedFrames(source.name, make_frame_index(stream, found), request)
    for tick, rgb in zip(wanted.index.ticks.tolist(), kept, strict=True):
        if wanted.wants(tick):
            wanted.add(tick, rgb)


@dataclass(frozen=True)
class _Declared:
    """What a file declares about its length, to tell how much of it can be decoded."""

    num_frames: int
    """0: not declared."""
    end_seconds: float
    """0: not declared."""
    frame_seconds: float
    """How long a frame is shown."""
    container: str

    @classmethod
    def of(cls, source: Source, stream: VideoStream) -> _Declared:
        return cls(
            int(stream.frames or 0),
            _declared_seconds(stream) or 0.0,
            float(frame_ticks(source, stream) * time_base_of(stream)),
            container_of(stream).format.name,
        )

    def enough(self, index: FrameIndex) -> bool:
        """Whether these frames represent the whole clip."""
        if len(index) == 0:
            return False
        if self.num_frames:
            return len(index) >= LEAST_DECODABLE_FRACTION * self.num_frames
        last_ends = float(index.pts_seconds[-1]) + self.frame_seconds
        return last_ends >= LEAST_DECODABLE_FRACTION * self.end_seconds or self.end_seconds < 0.1

    def stands_still(self, source: Source, index: FrameIndex) -> bool:
        """Whether the declared end is that of a last frame which stands still, or near it."""
        if len(index) == 0 or self.num_frames:
            return False
        end = shown_until(source, float(index.pts_seconds[-1]))
        return end is not None and end >= LEAST_DECODABLE_FRACTION * self.end_seconds

    def require_enough(self, source: Source, index: FrameIndex) -> None:
        """Raise a VideoError that says how much can be decoded, if that is too little."""
        if len(index) == 0:
            raise _nothing_decodable(source)
        if self.enough(index) or self.stands_still(source, index):
            return
        if self.container == "gif" and len(index) == 1:
            raise VideoError(
                f"{source.name}: does not say how long its {self.num_frames} frames are shown, and "
                "such a GIF cannot be taken apart here; write it with a time for each frame "
                "(Pillow: duration=40)"
            )
        found = f"{len(index)} of {self.num_frames} frames"
        if not self.num_frames:
            found = f"{float(index.pts_seconds[-1]):.2f} of {self.end_seconds:.2f} s"
        remedy = "download it, and give the file" if source.is_address else "get the whole file"
        raise VideoError(
            f"{source.name}: is truncated or damaged: {found} can be decoded "
            f"(at least {LEAST_DECODABLE_FRACTION:.0%} are needed); {remedy}"
        )


def _nothing_decodable(source: Source) -> VideoError:
    remedy = "re-encode it or leave it out"
    if source.is_address:  # an index at the end, and a server that cannot jump there
        remedy = "download it, and give the file"
    return VideoError(f"{source.name}: no frame can be decoded; {remedy}")


def _declared_seconds(stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if (end := end_of_stream(stream)) is not None:
        return end - float((stream.start_time or 0) * time_base_of(stream))
    container_ticks = container_of(stream).duration
    return container_ticks / av.time_base if container_ticks else None
