"""A few frames out of a long video: jump to key frames, decode only what is needed from there."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import av
import numpy as np
from av.video.stream import VideoStream

from actionrnn.video.convert import Converter
from actionrnn.video.frame_index import FrameIndex, Ticks
from actionrnn.video.request import WantedFrames
from actionrnn.video.source import Source, container_of, open_stream

# Jumping to the next key frame costs about as much as decoding on over so many frames.
SEEK_COST_FRAMES = 4

# Below so many pixels to decode, threads cost more than they bring (about 20 ms of work).
PIXELS_WORTH_A_THREAD = 30_000_000

_PROGRESSIVE = (0, 1)  # AVFieldOrder: unknown, progressive


@dataclass(frozen=True)
class Span:
    """Frames that one reader decodes in one go."""

    key_tick: int
    """The key frame at which it begins."""
    ticks: frozenset[int]
    """The wanted ones; none before the key frame."""
    num_frames: int
    """From the key frame to the last wanted one."""


def plan_spans(index: FrameIndex, wanted: Ticks) -> list[Span]:
    """Begin at the last key frame before each wanted frame, or decode on where that is nearer.

    Key frames at 0, 10 and 20; wanted are 3, 9, 11 and 27: one span from 0 takes 3, 9 and 11
    (from 9 it is nearer to decode on than to jump to 10), another from 20 takes 27.
    """
    keys = np.union1d(0, np.flatnonzero(index.is_keyframe))
    places = np.unique(np.searchsorted(index.ticks, wanted))
    begins = keys[np.searchsorted(keys, places, side="right") - 1]
    spans: list[list[int]] = []  # [key, wanted, wanted, ...], places in the index
    for begin, place in zip(begins.tolist(), places.tolist(), strict=True):
        if spans and (begin <= spans[-1][0] or begin <= spans[-1][-1] + SEEK_COST_FRAMES):
            spans[-1].append(place)
        else:
            spans.append([begin, place])
    return [
        Span(
            int(index.ticks[key]),
            frozenset(int(index.ticks[place]) for place in members),
            members[-1] - key + 1,
        )
        for key, *members in spans
    ]


def threads_for(num_threads: int, num_frames: int, stream: VideoStream) -> int:
    """How many threads so much decoding is worth; `num_threads` if it is not 0."""
    pixels = num_frames * stream.codec_context.width * stream.codec_context.height
    worth = 1 + pixels // PIXELS_WORTH_A_THREAD
    return num_threads or min(os.cpu_count() or 1, worth)


def decode_by_seeking(source: Source, stream: VideoStream, wanted: WantedFrames) -> bool:
    """Decode from several places at once; whether every frame was found for certain.

    Raises:
        VideoError: the frames are too large, or cannot be converted.
    """
    spans = plan_spans(wanted.index, wanted.missing_ticks())
    num_frames = sum(span.num_frames for span in spans)
    threads = threads_for(wanted.request.num_threads, num_frames, stream)
    num_readers = min(threads, len(spans))
    queue = deque(spans)

    def read(own: VideoStream | None) -> bool:
        """Take spans from the queue until it is empty or one fails."""
        with contextlib.ExitStack() as stack:
            reader = own or stack.enter_context(open_stream(source))
            reader.codec_context.thread_count = threads // num_readers
            convert = Converter.of(source, reader, wanted.request.scale)
            while True:
                try:
                    span = queue.popleft()
                except IndexError:
                    return True
                if not _decode_span(reader, span, wanted, convert):
                    # the caller decodes everything in order: spare the other readers the rest
                    queue.clear()
                    return False

    if num_readers == 1:
        return read(stream)
    with ThreadPoolExecutor(num_readers, thread_name_prefix="reader") as pool:
        return all(list(pool.map(read, [stream] + [None] * (num_readers - 1))))


def decode_by_counting(source: Source, stream: VideoStream, wanted: WantedFrames) -> bool:
    """Decode a file whose packets do not say when their frames are shown.

    The decoder holds one frame back, so packet n (from 0) makes it give out frame n - 1 in
    the order of display, or nothing if that is a B-frame and skipped. It must work with one
    thread, as threads hold back more.

        packet       0:I  1:P  2:B  3:B  4:P
        frame out         0    1    2    3   and 4 at the end

    Packed B-frames reach the decoder a packet early and are lost if the one before them is
    skipped, so that one is decoded as well.
    """
    context = stream.codec_context
    context.thread_count = 1
    convert = Converter.of(source, stream, wanted.request.scale)
    ticks = wanted.index.ticks.tolist()
    last = max(place for place, tick in enumerate(ticks) if wanted.wants(tick))
    place = -1
    try:
        container_of(stream).seek(ticks[0], stream=stream)
        for packet in container_of(stream).demux(stream):
            if not packet.size:
                continue
            is_wanted = place >= 0 and wanted.wants(ticks[place])
            is_needed = is_wanted or wanted.wants(ticks[min(place + 1, last)])
            context.skip_frame = "DEFAULT" if is_needed else "NONREF"
            pictures = packet.decode()
            if is_wanted and len(pictures) == 1 and not pictures[0].is_corrupt:
                wanted.add(ticks[place], convert(pictures[0]))
            elif is_wanted or len(pictures) > (place >= 0):
                return False
            place += 1
            if place > last:
                return wanted.is_complete
        for picture in context.decode(None):
            if wanted.wants(ticks[-1]):
                wanted.add(ticks[-1], convert(picture))
    except (av.FFmpegError, OSError):
        return False
    return place == len(ticks) - 1 and wanted.is_complete


def _decode_span(stream: VideoStream, span: Span, wanted: WantedFrames, convert: Converter) -> bool:
    """Whether all wanted frames of the span were found, from an intact key frame on."""
    try:
        container_of(stream).seek(span.key_tick, stream=stream)
        reached_key, due = False, iter(sorted(span.ticks))
        for picture in _frames_of_span(stream, span.ticks):
            if picture.pts is None or picture.pts < span.key_tick:
                continue  # shown before the key frame: its references may be missing
            if not reached_key and not (picture.pts == span.key_tick and picture.key_frame):
                return False
            reached_key = True
            if picture.is_corrupt:
                return False
            if picture.pts in span.ticks and wanted.wants(picture.pts):
                if picture.pts != next(due):
                    return False  # an earlier one did not come: nothing waits for it in vain
                wanted.add(picture.pts, convert(picture))
    except (av.FFmpegError, OSError):
        return False
    return not any(map(wanted.wants, span.ticks))


def _frames_of_span(stream: VideoStream, ticks: frozenset[int]) -> Iterator[av.VideoFrame]:
    """Decode until each wanted packet went in; unwanted frames are skipped if none needs them."""
    context = stream.codec_context
    may_skip = context.has_b_frames and getattr(context, "field_order", None) in _PROGRESSIVE
    coming = set(ticks)
    for packet in container_of(stream).demux(stream):
        if not packet.size:
            continue
        tick = packet.pts
        if may_skip:
            context.skip_frame = "DEFAULT" if tick in coming else "NONREF"
        yield from packet.decode()
        coming.discard(tick)
        if not coming:
            break
    context.skip_frame = "DEFAULT"
    yield from context.decode(None)  # what the decoder still holds
