"""Fetches a few frames of a long video: jumps to key frames, decodes only what is needed there.

Both ways check what they decode, and return False where a frame is missing or in doubt. The
caller then decodes the file from its beginning, which is slow and depends on nothing that the
file says about itself.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import av
import numpy as np
from av.video.stream import VideoStream

from actionrnn.video.convert import Converter
from actionrnn.video.frame_index import FrameIndex, Packet, Ticks
from actionrnn.video.request import WantedFrames
from actionrnn.video.source import Source, container_of, open_stream

# A jump to the next key frame costs about as much as decoding this many frames; within packets that
# are kept it costs nothing, but also brings nothing where decoding on leads there anyway.
SEEK_COST_FRAMES = 4
KEPT_SEEK_COST_FRAMES = 1

# Several readers: decoding ends at the next key frame, though it is near, once it has cost as much
# as this many jumps and is this part of a reader's share, so that all end at about one time.
JUMPS_WORTH_A_SPAN = 8
PARTS_OF_A_SHARE = 4

# Pixels that a thread must decode (about 20 ms of work) to gain more than it costs, and those of
# a reader of packets that are kept, which opens the file, but needs no index (3 ms).
PIXELS_WORTH_A_THREAD = 30_000_000
PIXELS_WORTH_A_READER = 4_000_000

_NUM_CORES = os.cpu_count() or 1  # (asking costs a look into /sys)

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


def plan_spans(index: FrameIndex, wanted: Ticks, num_readers: int = 1) -> list[Span]:
    """Begin at the last key frame before each wanted frame, or decode on where that is nearer.

    Key frames at 0, 10 and 20; wanted are 3, 9, 11 and 27: one span from 0 takes 3, 9 and 11
    (from 9 it is nearer to decode on than to jump to 10), another from 20 takes 27.

    Args:
        num_readers: the most that there may be. Several share long spans, which end at key frames.
    """
    cost = SEEK_COST_FRAMES if index.packets is None else KEPT_SEEK_COST_FRAMES
    # (np.unique would import numpy.ma, 50 ms)
    keys = np.flatnonzero(np.append(True, index.is_keyframe[1:]))
    positions = sorted(set(np.searchsorted(index.ticks, wanted).tolist()))
    begins = keys[np.searchsorted(keys, positions, side="right") - 1].tolist()
    longest = len(index)
    if num_readers > 1 and positions:
        share = (positions[-1] - begins[0]) // num_readers
        longest = max(JUMPS_WORTH_A_SPAN * cost, share // PARTS_OF_A_SHARE)
    spans: list[list[int]] = []  # [key, wanted, wanted, ...], positions in the index
    for begin, position in zip(begins, positions, strict=True):
        if spans and (
            begin == spans[-1][0]
            or (begin <= spans[-1][-1] + cost and begin - spans[-1][0] < longest)
        ):
            spans[-1].append(position)
        else:
            spans.append([begin, position])
    ticks = index.ticks.tolist()
    return [
        Span(ticks[key], frozenset(ticks[position] for position in members), members[-1] - key + 1)
        for key, *members in spans
    ]


def threads_for(num_threads: int, num_frames: int, stream: VideoStream) -> int:
    """How many threads of a decoder this many frames are worth; `num_threads` if it is not 0."""
    worth = _worth(num_frames, stream, PIXELS_WORTH_A_THREAD)
    # one more than cores, as FFmpeg's own choice: none idles while a picture is converted
    return num_threads or (worth + 1 if worth > 1 else 1)


def readers_for(num_threads: int, num_frames: int, index: FrameIndex, stream: VideoStream) -> int:
    """How many decoders at once this many frames are worth; `num_threads` if it is not 0."""
    is_kept = index.packets is not None
    pixels = PIXELS_WORTH_A_READER if is_kept else PIXELS_WORTH_A_THREAD
    return num_threads or _worth(num_frames, stream, pixels)


def _worth(num_frames: int, stream: VideoStream, pixels_each: int) -> int:
    pixels = num_frames * stream.codec_context.width * stream.codec_context.height
    return min(_NUM_CORES, 1 + pixels // pixels_each)


def decode_by_seeking(source: Source, stream: VideoStream, wanted: WantedFrames) -> bool:
    """Decode from several key frames at once; whether every frame was found for certain.

    Raises:
        VideoError: the frames are too large, or cannot be converted.
    """
    given = wanted.request.num_threads
    spans = plan_spans(wanted.index, wanted.missing_ticks(), given or _NUM_CORES)
    num_frames = sum(span.num_frames for span in spans)
    num_readers = min(len(spans), readers_for(given, num_frames, wanted.index, stream))
    threads = threads_for(given, num_frames, stream)
    queue = deque(spans)

    def read(opened: VideoStream | None) -> bool:
        """Take spans from the queue until it is empty or one fails."""
        with contextlib.ExitStack() as stack:
            # where one fails, everything is decoded again, in order: the others are spared the rest
            stack.callback(queue.clear)
            # a demuxer has one position and a decoder one state: each reader opens its own
            reader = opened or stack.enter_context(open_stream(source))
            reader.codec_context.thread_count = max(1, threads // num_readers)
            convert = Converter(source, reader, wanted.request.scale)
            while True:
                try:
                    span = queue.popleft()
                except IndexError:
                    return True
                if not _decode_span(reader, span, wanted, convert):
                    return False

    if num_readers == 1:
        return read(stream)
    with ThreadPoolExecutor(num_readers - 1, thread_name_prefix="reader") as pool:
        others = [pool.submit(read, None) for _ in range(num_readers - 1)]
        found = read(stream)
        return all([found, *(other.result() for other in others)])


def decode_by_counting(source: Source, stream: VideoStream, wanted: WantedFrames) -> bool:
    """Decode a file whose packets do not say when their frames are shown.

    The decoder holds one frame back, so packet n (from 0) makes it return frame n - 1 in
    the order of display, or nothing if that is a B-frame and skipped.

        packet       0:I  1:P  2:B  3:B  4:P
        frame out         0    1    2    3   and 4 at the end

    Returns:
        Whether every frame was found for certain.

    Raises:
        VideoError: the frames are too large, or cannot be converted.
    """
    context = stream.codec_context
    context.thread_count = 1  # more threads hold more frames back
    convert = Converter(source, stream, wanted.request.scale)
    ticks = wanted.index.ticks.tolist()
    last = max(position for position, tick in enumerate(ticks) if wanted.wants(tick))
    position = -1  # of the frame that the next packet makes the decoder return
    try:
        for packet in _packets_from(stream, wanted.index, ticks[0]):
            is_wanted = position >= 0 and wanted.wants(ticks[position])
            # a packed B-frame reaches the decoder a packet early, and is lost if the packet
            # before it is skipped: so that one is decoded as well
            is_needed = is_wanted or wanted.wants(ticks[min(position + 1, last)])
            context.skip_frame = "DEFAULT" if is_needed else "NONREF"
            pictures = context.decode(packet)
            if is_wanted and len(pictures) == 1 and not pictures[0].is_corrupt:
                wanted.add(ticks[position], convert(pictures[0]))
            elif is_wanted or len(pictures) > (position >= 0):
                return False  # not one frame a packet: the count is wrong from here on
            position += 1
            if position > last:
                return wanted.is_complete
        for picture in context.decode(None):
            if wanted.wants(ticks[-1]):
                wanted.add(ticks[-1], convert(picture))
    except (av.FFmpegError, OSError):
        return False
    return position == len(ticks) - 1 and wanted.is_complete


def _decode_span(stream: VideoStream, span: Span, wanted: WantedFrames, convert: Converter) -> bool:
    """Whether all wanted frames of the span were found, from an intact key frame on."""
    try:
        reached_key, due = False, iter(sorted(span.ticks))
        packets = _packets_from(stream, wanted.index, span.key_tick)
        for picture in _frames_of_span(stream, packets, span.ticks):
            tick = picture.pts
            if tick is None or tick < span.key_tick:
                continue  # shown before the key frame: its references may be missing
            # The demuxer landed somewhere else, or the index was wrong about the key frame:
            # decoders show such frames with grey blocks, and do not mark them as corrupt.
            if not reached_key and not (tick == span.key_tick and picture.key_frame):
                return False
            reached_key = True
            if picture.is_corrupt:
                return False  # all that follows may refer to it
            if tick in span.ticks and wanted.wants(tick):
                if tick != next(due):
                    return False  # an earlier one did not come: nothing waits for it in vain
                wanted.add(tick, convert(picture))
    except (av.FFmpegError, OSError):
        return False
    return not any(map(wanted.wants, span.ticks))


def _packets_from(stream: VideoStream, index: FrameIndex, key_tick: int) -> Iterator[Packet]:
    """The packets from a key frame on, or a little earlier; the decoder forgets all before."""
    if index.packets is not None:
        stream.codec_context.flush_buffers()
        place = index.places[key_tick] if index.is_exact else 0
        return itertools.islice(index.packets, place, None)
    # To the key frame's own presentation time, not to the wanted frame's: many demuxers look for
    # the last key frame by decoding time, and a frame shown just before a key frame may be decoded
    # after it, so that they would land on that one.
    container = container_of(stream)
    container.seek(key_tick, stream=stream)
    # an empty packet would end the decoding
    return (packet for packet in container.demux(stream) if packet.size)


def _frames_of_span(
    stream: VideoStream, packets: Iterator[Packet], ticks: frozenset[int]
) -> Iterator[av.VideoFrame]:
    """Decode until each wanted packet went in."""
    context = stream.codec_context
    # No other frame refers to a non-reference frame (most B-frames), so skipping those that are
    # not wanted changes no pixel of the others. Interlaced pictures are decoded whole: the two
    # fields of one may come in two packets.
    may_skip = context.has_b_frames and getattr(context, "field_order", None) in _PROGRESSIVE
    coming = set(ticks)
    for packet in packets:
        tick = packet.pts
        if may_skip:
            context.skip_frame = "DEFAULT" if tick in coming else "NONREF"
        yield from context.decode(packet)
        coming.discard(tick)
        if not coming:
            break
    context.skip_frame = "DEFAULT"
    yield from context.decode(None)  # what the decoder still holds
