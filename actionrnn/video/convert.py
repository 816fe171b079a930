"""Converts a decoded picture to RGB as a player shows it, and scales it in the same step.

Pixels that are not square become square; of interlaced pictures one field is shown; HDR becomes
a standard picture; what the stream or the picture says about its rotation is applied. All this
needs one picture alone, so that it does not matter how the decoder came to it.

Unscaled pictures go through FFmpeg's scale filter, so the pixels are those of the ffmpeg command,
bit for bit. Swscale called directly gives others for 10- and 12-bit 4:2:0 video that says where
its chroma samples lie. Scaled pictures have no such reference, and go through swscale: on real
clips the features are then nearer to those of the official transform.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.video.frame import Frame
from actionrnn.video.source import Source, require_pixels
from actionrnn.video.tone_map import HDR_NAMES, tone_mapped

Scale = Callable[[int, int], tuple[int, int]]
"""Maps the width and height of the video, as shown, to those of the converted frames."""

# Unscaled, the ffmpeg command's own flags; scaled, colours rounded as exactly as FFmpeg can.
_PLAIN = "bicubic"
# (ACCURATE_RND and FULL_CHR_H_INT, which older PyAV has no names for)
_EXACT = int(Interpolation.BICUBIC) | 0x40000 | 0x2000

# Encoders that round a size to even numbers write pixels as nearly square: they are left alone.
LEAST_PIXEL_ASPECT_CHANGE = 0.01
# Of a shape beyond this no pixel is: the number is damaged.
MOST_PIXEL_ASPECT = 16

# Decoders that do not mark a picture as interlaced: what the container says counts.
_UNMARKED_CODECS = {"rawvideo", "ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "v210"}
_INTERLACED = (2, 3, 4, 5)  # AVFieldOrder: top or bottom first, in code and in display

# ITU-T H.273's numbers that swscale converts; a picture with others counts as unspecified.
_UNSPECIFIED = 2
_KNOWN_MATRICES = {0, 1, 2, 4, 5, 6, 7, 9}
_KNOWN_TRANSFERS = {1, 2, 4, 5, 6, 7, 8, *range(11, 19)}
_KNOWN_PRIMARIES = {1, 2, *range(4, 13), 22}

_MOST_SIDE_DATA_KINDS = 64  # FFmpeg 8 has 32


class Converter:
    """Makes RGB (H, W, 3) of a decoder's pictures: as they are shown, and all in one size.

    `frame` may be called from any thread, a direct call only from one at a time: swscale's
    context and the filter graph hold one picture. So each reader makes its own converter.

    Args:
        source: for errors and warnings, and the largest frame.
        stream: says what its pictures do not: the shape of a pixel, and for some codecs whether
            they are interlaced. Its declared size is that of all frames, before `scale`: later
            pictures of another size are scaled to it. None: nothing is known of it.
        scale: None: frames keep that size.
        takes_first_size: the first picture's size counts, not the declared one, which a live
            stream may have changed.
    """

    def __init__(
        self,
        source: Source,
        stream: VideoStream | None = None,
        scale: Scale | None = None,
        *,
        takes_first_size: bool = False,
    ) -> None:
        self._source = source
        self._scale = scale
        self._stored = (0, 0)  # pixels, before rotation
        self._pixel_aspect = Fraction(1)
        self._stream_is_interlaced, self._gives_fields = False, False
        if stream is not None:
            context = stream.codec_context
            self._pixel_aspect = pixel_aspect_of(stream)
            self._stream_is_interlaced = _is_said_interlaced(stream)
            self._gives_fields = context.name == "hevc"  # a picture is one field already
            if not takes_first_size:
                self._stored = context.width, context.height
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame
        self._conversion: _Conversion | None = None
        self._graph: Graph | None = None  # for this conversion
        self._lock = threading.Lock()

    def __call__(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """Convert one picture to (H, W, 3) uint8: a view, which keeps its memory alive.

        Raises:
            VideoError: the picture is too large, or has a format that cannot be converted.
        """
        matrix = display_matrix(picture)
        kind = (
            *(picture.width, picture.height, picture.format.name, picture.interlaced_frame),
            *(int(picture.colorspace), int(picture.color_range)),
            *(int(picture.color_trc), int(picture.color_primaries), matrix),
        )
        conversion = self._conversion
        if conversion is None or conversion.kind != kind:
            conversion, self._graph = self._conversion_of(picture, kind, matrix), None
            self._conversion = conversion
        if dropped := drop_unknown_tags(picture):
            warnings.warn(
                f"{self._source.name}: {dropped} not known here, its colours are converted as "
                "unspecified ones and may be off; convert it to BT.709",
                stacklevel=1,  # one place, so that it is said once
            )
        try:
            rgb = self._convert(picture, conversion)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(
                f"{self._source.name}: frames of the format {picture.format.name} cannot be "
                f"converted to {conversion.width} x {conversion.height} RGB ({error}); re-encode it"
            ) from None
        if conversion.hdr_tags is None:
            return _oriented(_pixels_of(rgb, np.uint8), matrix)
        return _oriented(tone_mapped(_pixels_of(rgb, np.uint16), *conversion.hdr_tags), matrix)

    def frame(self, picture: av.VideoFrame, pts_seconds: float) -> Frame:
        """A frame that converts the picture when its pixels are needed, in any thread."""

        def make() -> NDArray[np.uint8]:
            with self._lock:
                return np.array(self(picture), order="C")

        return Frame(pts_seconds, make)

    def shown_size(self, picture: av.VideoFrame) -> tuple[int, int]:
        """Width and height of a picture with square pixels, rotated, before `scale`.

        Raises:
            VideoError: it is larger than the limits.
        """
        if min(self._stored) <= 0:
            self._stored = picture.width, picture.height
        width, height = self._stored
        if self._is_one_field(picture):
            height *= 2
        width, height = with_square_pixels(width, height, self._pixel_aspect)
        require_pixels(width, height, self._source)
        return (height, width) if is_transposed(display_matrix(picture)) else (width, height)

    def is_interlaced(self, picture: av.VideoFrame) -> bool:
        """Whether a picture is woven of two fields, of which one is shown."""
        is_said = picture.interlaced_frame or self._stream_is_interlaced
        return is_said and not self._gives_fields and picture.height > 1

    def _is_one_field(self, picture: av.VideoFrame) -> bool:
        """Whether a picture holds every other line of what is shown."""
        return bool(self._gives_fields and picture.interlaced_frame)

    def corrections(self, picture: av.VideoFrame) -> tuple[str, ...]:
        """What is done to a picture besides its conversion to RGB, for people and provenance."""
        aspect = self._pixel_aspect
        found = []
        if aspect != 1:
            found.append(f"pixels {aspect.numerator}:{aspect.denominator} made square")
        if self.is_interlaced(picture):
            found.append("deinterlaced")
        if self._is_one_field(picture):
            found.append("single fields shown in full height")
        if name := HDR_NAMES.get(int(picture.color_trc)):
            found.append(f"HDR ({name}) tone-mapped")
        return tuple(found)

    def _conversion_of(
        self, picture: av.VideoFrame, kind: tuple[object, ...], matrix: Matrix
    ) -> _Conversion:
        require_pixels(picture.width, picture.height, self._source)
        shown = self.shown_size(picture)
        wanted = shown if self._scale is None else self._scale(*shown)
        transfer, primaries = int(picture.color_trc), int(picture.color_primaries)
        return _Conversion(
            kind,
            *(wanted[::-1] if is_transposed(matrix) else wanted),
            is_interlaced=self.is_interlaced(picture),
            hdr_tags=(transfer, primaries) if transfer in HDR_NAMES else None,
        )

    def _convert(self, picture: av.VideoFrame, conversion: _Conversion) -> av.VideoFrame:
        # one thread each: several readers or videos are converted at the same time
        size = conversion.width, conversion.height
        pixel_format = "rgb24" if conversion.hdr_tags is None else "rgb48le"
        if not conversion.is_interlaced and size != (picture.width, picture.height):
            return self._reformatter.reformat(
                picture, *size, pixel_format, interpolation=_EXACT, threads=1
            )
        if self._graph is None:
            self._graph = _make_graph(
                picture, size if conversion.is_interlaced else None, pixel_format
            )
        self._graph.push(picture)
        rgb = self._graph.pull()
        assert isinstance(rgb, av.VideoFrame)
        return rgb


@dataclass(frozen=True)
class _Conversion:
    """How pictures of one kind are converted; it is found once, as most videos have one kind."""

    kind: tuple[object, ...]
    width: int
    """After the conversion, before it is rotated."""
    height: int
    is_interlaced: bool
    hdr_tags: tuple[int, int] | None
    """The numbers of the transfer and the primaries that `tone_mapped` takes; None: no HDR."""


def _make_graph(picture: av.VideoFrame, field_to: tuple[int, int] | None, to: str) -> Graph:
    """What converts pictures like this one.

    Args:
        field_to: the size to which the upper field is scaled; None: the whole picture is taken
            as it is.
        to: the pixel format.
    """
    graph = Graph()
    graph.threads = 1
    filters = [
        graph.add("buffer", _buffer_options(picture)),
    ]
    if field_to is None:
        filters.append(graph.add("scale", f"flags={_PLAIN}"))
    else:
        width, height = field_to
        filters.append(graph.add("field", "type=top"))
        filters.append(graph.add("scale", f"w={width}:h={height}:flags={_EXACT}"))
    filters += [graph.add("format", f"pix_fmts={to}"), graph.add("buffersink")]
    graph.link_nodes(*filters).configure()
    return graph


def _buffer_options(picture: av.VideoFrame) -> str:
    """What a filter graph is told of the pictures that it is given."""
    return (
        f"video_size={picture.width}x{picture.height}:pix_fmt={picture.format.name}:"
        f"time_base=1/1000:colorspace={int(picture.colorspace)}:"
        f"range={int(picture.color_range)}"
    )


def _pixels_of(rgb: av.VideoFrame, kind: type[Any]) -> NDArray[Any]:
    """The pixels (H, W, 3) of a packed RGB picture: a view."""
    plane, size_bytes = rgb.planes[0], np.dtype(kind).itemsize
    strides = (plane.line_size, 3 * size_bytes, size_bytes)
    shape, buffer = (rgb.height, rgb.width, 3), memoryview(plane)
    pixels: NDArray[Any] = np.ndarray(shape, kind, buffer, strides=strides)
    return pixels


def pixel_aspect_of(stream: VideoStream) -> Fraction:
    """Width of a pixel by its height; 1 where it is not said, impossible, or hardly another."""
    said = stream.sample_aspect_ratio
    if not said or said <= 0:
        return Fraction(1)
    change = max(said, 1 / said)
    if change > MOST_PIXEL_ASPECT or change - 1 < LEAST_PIXEL_ASPECT_CHANGE:
        return Fraction(1)
    return Fraction(said)


def with_square_pixels(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """The size as shown: as browsers do it, one side grows and none shrinks.

    >>> with_square_pixels(720, 576, Fraction(64, 45)), with_square_pixels(720, 480, Fraction(8, 9))
    ((1024, 576), (720, 540))
    """
    if pixel_aspect >= 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


def drop_unknown_tags(picture: av.VideoFrame) -> str:
    """Mark colour tags that are not known as unspecified; which these were, for a sentence."""
    known = {
        "colorspace": _KNOWN_MATRICES,
        "color_trc": _KNOWN_TRANSFERS,
        "color_primaries": _KNOWN_PRIMARIES,
    }
    dropped = []
    for name, numbers in known.items():
        number = int(getattr(picture, name))
        if number not in numbers:
            setattr(picture, name, _UNSPECIFIED)
            dropped.append(f"{name} {number}")
    # 0 and 3 are reserved: they say nothing
    told = [tag for tag in dropped if not tag.endswith((" 0", " 3"))]
    return f"{', '.join(told)} (ITU-T H.273) {'are' if len(told) > 1 else 'is'}" if told else ""


def _is_said_interlaced(stream: VideoStream) -> bool:
    context = stream.codec_context
    return context.name in _UNMARKED_CODECS and getattr(context, "field_order", 0) in _INTERLACED


Matrix = tuple[int, int, int, int]
"""The signs of a, b, c, d: a stored point (x, y) is shown at (ax + cy, bx + dy)."""
_UPRIGHT: Matrix = (1, 0, 0, 1)


def display_matrix(picture: av.VideoFrame) -> Matrix:
    """How a picture is rotated or mirrored for display; other angles than 90 degrees count as 0."""
    side_data: Mapping[Any, Any] = _side_data_of(picture)
    data = side_data.get(Type.DISPLAYMATRIX) if side_data else None
    if data is None:
        return _UPRIGHT
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    largest = max(abs(a), abs(b), abs(c), abs(d))
    if largest == 0:
        return _UPRIGHT
    a, b, c, d = (round(value / largest) for value in (a, b, c, d))
    is_quarter_turn = abs(a * d - b * c) == 1 and abs(a) + abs(b) == 1 == abs(c) + abs(d)
    return (a, b, c, d) if is_quarter_turn else _UPRIGHT


def _side_data_of(picture: av.VideoFrame) -> Any:
    """What comes with a picture, as far as PyAV has names for it; it has none for EXIF."""
    # not `picture.side_data`: a picture that keeps what keeps it is freed by the garbage collector
    # alone, which counts objects, not bytes, so that a gigabyte of pictures would lie about
    try:
        return SideDataContainer(picture)  # type: ignore[call-arg]  # its stub has no __init__
    except ValueError:
        graph = Graph()
        unnamed = set(range(_MOST_SIDE_DATA_KINDS)).difference(kind.value for kind in Type)
        filters = [
            graph.add("buffer", _buffer_options(picture)),
            *(graph.add("sidedata", f"mode=delete:type={kind}") for kind in sorted(unnamed)),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*filters).configure()
        graph.push(picture)
        return SideDataContainer(graph.pull())  # type: ignore[call-arg]


def is_transposed(matrix: Matrix) -> bool:
    """Whether a rotation exchanges width and height."""
    return matrix[0] == 0


def _oriented(pixels: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    """The pixels as they are shown: a view, no copy."""
    a, b, c, d = matrix
    if is_transposed(matrix):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return pixels[::d, ::a]
