"""A video from its first frame to its last, each frame made RGB only if somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.video.convert import Converter, Scale
from actionrnn.video.frame_index import time_base_of, timed_frames
from actionrnn.video.source import Source, VideoSource, container_of, locate, open_stream


@dataclass(frozen=True)
class DecodedFrame:
    """A picture as the decoder gave it; called, it is RGB."""

    picture: av.VideoFrame
    pts_seconds: float
    convert: Converter

    def __call__(self) -> NDArray[np.uint8]:
        """RGB uint8 (H, W, 3), turned as it is shown and scaled as was asked.

        Raises:
            VideoError: the frame is too large, or has a format that cannot be converted.
        """
        return np.array(self.convert(self.picture), order="C")


def follow_frames(
    path: VideoSource | Source, *, scale: Scale | None = None, num_threads: int = 0
) -> Iterator[DecodedFrame]:
    """Every frame in the order of time, one at a time, in constant memory.

    Raises:
        VideoError: the video is missing, empty, no video, too large, has sound only, or no
            frame of it can be decoded.
    """
    source = locate(path)
    with open_stream(source, num_threads) as stream:
        time_base, context, came = time_base_of(stream), stream.codec_context, False
        convert = Converter(source, scale, context.width, context.height)
        for picture, tick in timed_frames(source, stream):
            came = True
            yield DecodedFrame(picture, float(tick * time_base), convert)
    if not came:
        raise VideoError(f"{source.name}: no frame can be decoded; re-encode it or leave it out")


def declared_span(path: VideoSource | Source) -> tuple[float, float | None]:
    """When a video says that it begins, and how long it says it is; None: it does not say.

    Raises:
        VideoError: it is missing, empty, no video, or has sound only.
    """
    with open_stream(path) as stream:
        container = container_of(stream)
        begin, length = container.start_time or 0, container.duration
    return begin / av.time_base, length / av.time_base if length else None
