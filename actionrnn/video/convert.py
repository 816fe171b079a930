"""Converts a decoded picture to RGB as it is shown, and scales it in the same step.

Unscaled pictures go through FFmpeg's scale filter, so the pixels are those of the ffmpeg command,
bit for bit. Swscale called directly gives others for 10- and 12-bit 4:2:0 video that says where
its chroma samples lie. Scaled pictures have no such reference, and go through swscale: on real
clips the features are then nearer to those of the official transform.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.video.frame import Frame
from actionrnn.video.source import Source, require_pixels

Scale = Callable[[int, int], tuple[int, int]]
"""Maps the width and height of the video, as shown, to those of the converted frames."""

# Unscaled, the ffmpeg command's own flags; scaled, colours rounded as exactly as FFmpeg can.
_PLAIN = "bicubic"
# (ACCURATE_RND and FULL_CHR_H_INT, which older PyAV has no names for)
_EXACT = int(Interpolation.BICUBIC) | 0x40000 | 0x2000


class Converter:
    """Makes RGB (H, W, 3) of a decoder's pictures: rotated as declared, and all in one size.

    `frame` may be called from any thread, a direct call only from one at a time: swscale's
    context and the filter graph hold one picture. So each reader makes its own converter.

    Args:
        source: for errors, and the largest frame.
        stream: whose declared size all frames get, before `scale`: later pictures of another
            size are scaled to it. None: the size of the first picture.
        scale: None: frames keep that size.
    """

    def __init__(
        self, source: Source, stream: VideoStream | None = None, scale: Scale | None = None
    ) -> None:
        self._source = source
        self._scale = scale
        self._stored = (0, 0)  # pixels, before rotation
        if stream is not None:
            self._stored = stream.codec_context.width, stream.codec_context.height
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame
        self._graph: Graph | None = None
        self._graph_is_for: tuple[object, ...] = ()
        self._lock = threading.Lock()

    def __call__(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """Convert one picture to (H, W, 3) uint8: a view, which keeps its memory alive.

        Raises:
            VideoError: the picture is too large, or has a format that cannot be converted.
        """
        require_pixels(picture.width, picture.height, self._source)
        matrix = display_matrix(picture)
        width, height = self._wanted_size(picture, is_transposed(matrix))
        try:
            # one thread each: several readers or videos are converted at the same time
            if (width, height) == (picture.width, picture.height):
                rgb = self._convert(picture)
            else:
                rgb = self._reformatter.reformat(
                    picture, width, height, "rgb24", interpolation=_EXACT, threads=1
                )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(
                f"{self._source.name}: frames of the format {picture.format.name} cannot be "
                f"converted to {width} x {height} RGB ({error}); re-encode it"
            ) from None
        plane = rgb.planes[0]
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return _oriented(lines[:height, : 3 * width].reshape(height, width, 3), matrix)

    def frame(self, picture: av.VideoFrame, pts_seconds: float) -> Frame:
        """A frame that converts the picture when its pixels are needed, in any thread."""

        def make() -> NDArray[np.uint8]:
            with self._lock:
                return np.array(self(picture), order="C")

        return Frame(pts_seconds, make)

    def _wanted_size(self, picture: av.VideoFrame, transposed: bool) -> tuple[int, int]:
        """Width and height before rotation."""
        if min(self._stored) <= 0:
            self._stored = picture.width, picture.height
        width, height = self._stored
        if self._scale is None:
            return width, height
        shown = self._scale(height, width) if transposed else self._scale(width, height)
        return shown[::-1] if transposed else shown

    def _convert(self, picture: av.VideoFrame) -> av.VideoFrame:
        # a graph is configured for one kind of picture, and kept while that stays the same
        is_for = (
            *(picture.width, picture.height, picture.format.name),
            *(int(picture.colorspace), int(picture.color_range)),
        )
        if self._graph is None or is_for != self._graph_is_for:
            self._graph, self._graph_is_for = _make_graph(picture), is_for
        self._graph.push(picture)
        rgb = self._graph.pull()
        assert isinstance(rgb, av.VideoFrame)
        return rgb


def _make_graph(picture: av.VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    filters = [
        graph.add(
            "buffer",
            f"video_size={picture.width}x{picture.height}:pix_fmt={picture.format.name}:"
            f"time_base=1/1000:colorspace={int(picture.colorspace)}:"
            f"range={int(picture.color_range)}",
        ),
        graph.add("scale", f"flags={_PLAIN}"),
        graph.add("format", "pix_fmts=rgb24"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*filters).configure()
    return graph


Matrix = tuple[int, int, int, int]
"""The signs of a, b, c, d: a stored point (x, y) is shown at (ax + cy, bx + dy)."""
_UPRIGHT: Matrix = (1, 0, 0, 1)


def display_matrix(picture: av.VideoFrame) -> Matrix:
    """How a picture is rotated or mirrored for display; other angles than 90 degrees count as 0."""
    side_data: Mapping[Any, Any] = picture.side_data
    data = side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return _UPRIGHT
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    largest = max(abs(a), abs(b), abs(c), abs(d))
    if largest == 0:
        return _UPRIGHT
    a, b, c, d = (round(value / largest) for value in (a, b, c, d))
    is_quarter_turn = abs(a * d - b * c) == 1 and abs(a) + abs(b) == 1 == abs(c) + abs(d)
    return (a, b, c, d) if is_quarter_turn else _UPRIGHT


def is_transposed(matrix: Matrix) -> bool:
    """Whether a rotation exchanges width and height."""
    return matrix[0] == 0


def _oriented(pixels: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    """The pixels as they are shown: a view, no copy."""
    a, b, c, d = matrix
    if is_transposed(matrix):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return pixels[::d, ::a]
