"""A folder of pictures as a video: `<clip>/frame0001.jpg`, `frame0002.jpg`, ...

Pictures have no presentation times; picture i is shown at i / rate seconds.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import VideoLimits
from actionrnn.errors import VideoError
from actionrnn.files import as_path
from actionrnn.video.convert import Scale
from actionrnn.video.frame import Frame
from actionrnn.video.frame_index import FrameIndex
from actionrnn.video.request import FrameRequest, WantedFrames
from actionrnn.video.source import why_unreadable

if TYPE_CHECKING:  # exported models read videos without Pillow
    from PIL import Image

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def is_picture(name: str) -> bool:
    """Whether a file's name ends as a picture's does, and is not hidden."""
    ending = os.path.splitext(name)[1]  # noqa: PTH122 - once for each of many files
    return ending.lower() in PICTURE_SUFFIXES and not name.startswith(".")


def is_folder(path: object) -> TypeGuard[str | Path]:
    """Whether it is the path of an existing folder; False for a name that cannot exist."""
    try:
        return isinstance(path, str | Path) and as_path(path).is_dir()
    except (OSError, ValueError):
        return False


def find_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by the numbers in their names; an empty list without any.

    `frame2.jpg` comes before `frame10.jpg`.

    Raises:
        VideoError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            # a broken link is listed too, so that reading it fails instead of a frame missing
            names = [e.name for e in entries if is_picture(e.name) and not e.is_dir()]
    except OSError as error:
        raise VideoError(f"{folder}: {why_unreadable(error)}") from None
    return [folder / name for name in sorted(names, key=lambda name: (_numbers_in(name), name))]


def are_numbered(names: Iterable[str]) -> bool:
    """Whether two or more names differ in one number only, as the frames of a clip do.

    >>> are_numbered(["frame_01.jpg", "frame_02.jpg"]), are_numbered(["ann.jpg", "bob.jpg"])
    (True, False)
    """
    names = list(names)
    if len(names) < 2 or len(_series(names)) > 1:
        return False
    columns = zip(*map(_numbers_in, names), strict=True)
    return sum(len(set(numbers)) > 1 for numbers in columns) == 1


def visit_frame_folder(folder: Path, request: FrameRequest, limits: VideoLimits) -> None:
    """Pass the pictures that the sampling chooses to the request's sink, in order.

    Raises:
        VideoError: the folder has no pictures, none where `sampling` looks, one that cannot be
            read or exceeds the limits, or pictures of several sizes.
    """
    pictures = _require_pictures(folder)
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
    for number, path in enumerate(_require_pictures(folder)):
        yield Frame(number / rate_fps, partial(_read_picture, path, scale, limits))


def _read_picture(path: Path, scale: Scale | None, limits: VideoLimits) -> NDArray[np.uint8]:
    """One picture as RGB (H, W, 3), scaled bicubically as video frames are.

    Raises:
        VideoError: the file is not a picture, is damaged, holds several pictures, or exceeds
            the limits.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > limits.max_frame_pixels:
                raise VideoError(
                    f"{path}: is too large: {picture.width} x {picture.height} pixels, at most "
                    f"{limits.max_frame_pixels} are read"
                )
            _require_one_picture(picture, path)
            rgb = _of_8_bits(picture).convert("RGB")
    except PermissionError as error:
        raise VideoError(f"{path}: {why_unreadable(error)}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).replace(f" {str(path)!r}", "")
        raise VideoError(
            f"{path}: is not a readable picture ({reason}); replace it, or leave the clip out"
        ) from None
    if scale is not None:
        rgb = rgb.resize(scale(*rgb.size), Image.Resampling.BICUBIC)
    return np.asarray(rgb)


def _require_pictures(folder: Path) -> list[Path]:
    pictures = find_pictures(folder)
    if not pictures:
        known = " ".join(sorted(PICTURE_SUFFIXES))
        raise VideoError(
            f"{folder}: is a folder, not a video file, and holds no pictures ({known})"
        )
    series = [name for name, count in _series(path.name for path in pictures).items() if count > 1]
    if len(series) > 1:
        raise VideoError(
            f"{folder}: holds several series of pictures ({', '.join(sorted(series)[:3])}); "
            "a clip is one of them, so put each into a separate folder"
        )
    return pictures


def _series(names: Iterable[str]) -> Counter[str]:
    """The number of names for each pattern: `{"frame_#.jpg": 16}`."""
    return Counter(re.sub(r"\d+", "#", name.lower()) for name in names)


def _numbers_in(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _require_one_picture(picture: Image.Image, path: Path) -> None:
    count = getattr(picture, "n_frames", 1)
    if count > 1 and picture.format != "MPO":  # a phone's photo with a second view
        raise VideoError(
            f"{path}: holds {count} pictures, and a frame is one; write each to a separate file"
        )


def _of_8_bits(picture: Image.Image) -> Image.Image:
    """16-bit pictures scaled to 8 bits; Pillow's own conversion would clip them to white."""
    from PIL import Image

    has_16_bits = picture.mode == "I" and picture.format in ("PNG", "PPM")
    if has_16_bits or picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture, np.uint32) * 255 // 65535).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"its grey levels have no known range: mode {picture.mode}")
    return picture
