"""A folder of pictures as a video: `<clip>/frame0001.jpg`, `frame0002.jpg`, ...

Pictures have no presentation times; picture i is shown at i / rate seconds.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import warnings
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.files import as_path
from actionrnn.options import VideoLimits
from actionrnn.video.convert import Scale
from actionrnn.video.frame import Frame
from actionrnn.video.frame_index import FrameIndex
from actionrnn.video.picture_names import in_order
from actionrnn.video.request import FrameRequest, WantedFrames
from actionrnn.video.source import why_unreadable

if TYPE_CHECKING:  # exported models read videos without Pillow
    from PIL import Image

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_TIFF_BITS = 258  # the tag BitsPerSample: Pillow opens 12 bits as if they were 16


def is_picture(name: str) -> bool:
    """Whether a file's name ends as a picture's does, and is not hidden."""
    ending = os.path.splitext(name)[1]  # noqa: PTH122 - once for each of many files
    return ending.lower() in PICTURE_SUFFIXES and not name.startswith(".")


def is_folder(path: object) -> TypeGuard[str | Path]:
    """Whether it is the path of an existing folder; False for a name that cannot exist."""
    try:
        return isinstance(path, str | Path) and path != "" and as_path(path).is_dir()
    except (OSError, ValueError):
        return False


def picture_names(folder: Path) -> list[str]:
    """The names of the pictures in a folder, in any order.

    Raises:
        VideoError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            # a broken link is listed too, so that reading it fails instead of a frame missing
            return [e.name for e in entries if is_picture(e.name) and not e.is_dir()]
    except OSError as error:
        raise VideoError(f"{folder}: {why_unreadable(error)}") from None


def find_pictures(folder: Path) -> list[Path]:
    """The pictures that are a clip's frames, in their order; see `in_order`.

    Raises:
        VideoError: the folder cannot be read, or holds no pictures, or several series of them.
    """
    names = picture_names(folder)
    if not names:
        known = " ".join(sorted(PICTURE_SUFFIXES))
        raise VideoError(
            f"{folder}: is a folder, not a video file, and holds no pictures ({known})"
        )
    try:
        frames, left_out = in_order(names)
    except VideoError as error:
        raise VideoError(f"{folder}: {error}") from None
    if left_out:
        warnings.warn(
            f"{folder}: left out beside the frames: {', '.join(left_out)}",
            stacklevel=1,  # one place, so that it is said once
        )
    return [folder / name for name in frames]


def folder_seconds(folder: Path, rate_fps: float) -> float:
    """The length of a folder of pictures.

    Raises:
        VideoError: as `find_pictures`.
    """
    return len(find_pictures(folder)) / rate_fps


def folder_corrections(folder: Path) -> tuple[str, ...]:
    """What is done to the first picture of a folder besides its conversion to RGB of 8 bits.

    Raises:
        VideoError: the folder has no pictures that are a clip, or the first cannot be read.
    """
    with _opened(find_pictures(folder)[0]) as picture:
        is_turned = _turn_of(picture) is not None
        has_16_bits = _has_16_bits(picture)
    found = {"turned as its EXIF data says": is_turned, "16 bits scaled to 8": has_16_bits}
    return tuple(name for name, is_done in found.items() if is_done)


def is_folder_read_as_before(folder: Path) -> bool:
    """Whether versions that counted each part of `0.25`, and took every picture for a frame, gave
    the same pixels in the same order.

    Raises:
        VideoError: as `folder_corrections`.
    """
    before = sorted(
        picture_names(folder),
        key=lambda name: ([int(digits) for digits in re.findall(r"\d+", name)], name),
    )
    frames = [path.name for path in find_pictures(folder)]
    return frames == before and not folder_corrections(folder)


def visit_frame_folder(folder: Path, request: FrameRequest, limits: VideoLimits) -> None:
    """Pass the pictures that the sampling chooses to the request's sink, in order.

    Raises:
        VideoError: the folder has no pictures, none where `sampling` looks, one that cannot be
            read or exceeds the limits, or pictures of several sizes.
    """
    pictures = find_pictures(folder)
    index = FrameIndex(
        ticks=np.arange(len(pictures)),
        is_keyframe=np.ones(len(pictures), np.bool_),  # each can be read without the others
        time_base=1 / Fraction(request.sampling.frame_folder_fps),
        is_exact=True,
    )
    wanted = WantedFrames(str(folder), index, request)
    first_size = ""
    for number in wanted.missing_ticks().tolist():
        rgb = _read_picture(pictures[number], request.scale, limits)
        size = f"{rgb.shape[1]} x {rgb.shape[0]}"
        first_size = first_size or size
        if size != first_size:
            raise VideoError(
                f"{pictures[number]}: is {size}, the first frame {first_size}; "
                "a clip's frames have one size"
            )
        wanted.add(number, rgb)


def iter_frame_folder(
    folder: Path, rate_fps: float, scale: Scale | None, limits: VideoLimits
) -> Iterator[Frame]:
    """Every picture of a folder in order; each file is read when the frame's `rgb` is used.

    Raises:
        VideoError: the folder has no pictures.
    """
    for number, path in enumerate(find_pictures(folder)):
        yield Frame(number / rate_fps, partial(_read_picture, path, scale, limits))


def _read_picture(path: Path, scale: Scale | None, limits: VideoLimits) -> NDArray[np.uint8]:
    """One picture as RGB (H, W, 3), scaled bicubically as video frames are.

    Raises:
        VideoError: the file is not a picture, is damaged, holds several pictures, or exceeds
            the limits.
    """
    from PIL import Image

    with _opened(path) as picture:
        if picture.width * picture.height > limits.max_frame_pixels:
            raise VideoError(
                f"{path}: is too large: {picture.width} x {picture.height} pixels, at most "
                f"{limits.max_frame_pixels} are read"
            )
        _require_one_picture(picture, path)
        picture.load()  # which already turns TIFF files
        turn = _turn_of(picture)
        rgb = _of_8_bits(picture).convert("RGB")
        if turn is not None:
            rgb = rgb.transpose(turn)
    if scale is not None:
        rgb = rgb.resize(scale(*rgb.size), Image.Resampling.BICUBIC)
    return np.asarray(rgb)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An open picture; what fails while it is open is a VideoError, too."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            yield picture
    except PermissionError as error:
        raise VideoError(f"{path}: {why_unreadable(error)}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).replace(f" {str(path)!r}", "")
        raise VideoError(
            f"{path}: is not a readable picture ({reason}); replace it, or leave the clip out"
        ) from None


def _turn_of(picture: Image.Image) -> Image.Transpose | None:
    """How the EXIF data say that the picture is to be turned or mirrored; None: not at all."""
    from PIL import ExifTags, Image

    turns: dict[object, Image.Transpose] = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        return turns.get(picture.getexif().get(ExifTags.Base.Orientation))
    except (SyntaxError, ValueError, TypeError, struct.error):  # damaged: viewers ignore it, too
        return None


def _require_one_picture(picture: Image.Image, path: Path) -> None:
    count = getattr(picture, "n_frames", 1)
    if count > 1 and picture.format != "MPO":  # a phone's photo with a second view
        raise VideoError(
            f"{path}: holds {count} pictures, and a frame is one; write each to a separate file"
        )


def _has_16_bits(picture: Image.Image) -> bool:
    """Whether it is grey of 16 bits."""
    is_whole = picture.mode == "I" and picture.format in ("PNG", "PPM")
    return is_whole or picture.mode.startswith("I;16")


def _of_8_bits(picture: Image.Image) -> Image.Image:
    """16-bit pictures scaled to 8 bits as those of videos are; Pillow's own conversion clips."""
    from PIL import Image

    if _has_16_bits(picture):
        levels = np.asarray(picture, np.uint32)
        if getattr(picture, "tag_v2", {}).get(_TIFF_BITS) == (12,):
            levels <<= 4
        return Image.fromarray(np.minimum((levels + 128) >> 8, 255).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"its grey levels have no known range: mode {picture.mode}")
    return picture
