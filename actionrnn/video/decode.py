"""Reads a video as frames, each with the time at which it is shown.

Times come from the stream's time stamps and time base, never from index / frame rate.
A frame goes from here to its consumer in two steps: `WantedFrames.add` knows its place among the
sampled ones and transforms it, and the request's sink takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from av.video.stream import VideoStream

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.files import as_path
from actionrnn.options import VideoLimits
from actionrnn.video.convert import Converter, Scale
from actionrnn.video.decodable import DeclaredLength, nothing_decodable
from actionrnn.video.frame import Frame, Frames
from actionrnn.video.frame_index import (
    FrameIndex,
    decode_frame_index,
    make_frame_index,
    read_frame_index,
    time_base_of,
    timed_frames,
    warn_if_rate_is_assumed,
)
from actionrnn.video.image_folder import is_folder, iter_frame_folder, visit_frame_folder
from actionrnn.video.raw import RawRate
from actionrnn.video.request import FrameCollector, FrameRequest, WantedFrames
from actionrnn.video.seeking import decode_by_counting, decode_by_seeking, threads_for
from actionrnn.video.source import (
    Source,
    VideoSource,
    as_sampled,
    is_live,
    locate,
    open_stream,
    require_pixels,
)


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
            raise nothing_decodable(source)


def _visit(source: Source, request: FrameRequest) -> None:
    """Decode by the first of three ways that finds every frame: seeking, counting, in order."""
    with open_stream(source) as stream:
        if is_live(stream):
            _collect(source, stream, request)
            return
        declared = DeclaredLength.of(source, stream)
        index = read_frame_index(source, stream)
        warn_if_rate_is_assumed(source, stream, len(index))
        promises_enough = declared.enough(source, index)
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
        raise nothing_decodable(source)
    warn_if_rate_is_assumed(source, stream, len(found))
    wanted = WantedFrames(source.name, make_frame_index(stream, found), request)
    for tick, rgb in zip(wanted.index.ticks.tolist(), kept, strict=True):
        if wanted.wants(tick):
            wanted.add(tick, rgb)
