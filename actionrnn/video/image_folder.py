"""A folder of pictures is a video too: `<clip>/frame0001.jpg`, `frame0002.jpg`, ...

Pictures do not say when they are shown; picture i is taken to be shown at i / rate seconds.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actionrnn.config import Sampling, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.files import as_path
from actionrnn.video.convert import Scale
from actionrnn.video.frame import Frame
from actionrnn.video.request import FrameRequest
from actionrnn.video.sampling import choose_frames
from actionrnn.video.source import why_unreadable

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture, and not hidden."""
    ending = os.path.splitext(name)[1]  # noqa: PTH122 - once for each of many files
    return ending.lower() in PICTURE_SUFFIXES and not name.startswith(".")


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder; an impossible name is none."""
    try:
        return as_path(path).is_dir()
    except (OSError, ValueError):
        return False


def find_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of the numbers in their names; maybe none.

    `frame2.jpg` comes before `frame10.jpg`.

    Raises:
        VideoError: the folder may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if is_picture(entry.name) and _is_file(entry)]
    except OSError as error:
        raise VideoError(f"{folder}: {why_unreadable(error)}") from None
    return [folder / name for name in sorted(names, key=lambda name: (_numbers_in(name), name))]


def are_numbered(names: Iterable[str]) -> bool:
    """Whether files are two or more that differ in one number alone, as the frames of a clip do.

    >>> are_numbered(["frame_01.jpg", "frame_02.jpg"]), are_numbered(["ann.jpg", "bob.jpg"])
    (True, False)
    """
    names = list(names)
    if len(names) < 2 or len(_series(names)) > 1:
        return False
    places = zip(*map(_numbers_in, names), strict=True)
    return sum(len(set(numbers)) > 1 for numbers in places) == 1


def visit_frame_folder(folder: Path, request: FrameRequest, limits: VideoLimits) -> None:
    """Give the pictures that the sampling chooses to the request's sink, one by one.

    Raises:
        VideoError: there is no picture, none where `sampling` looks, one cannot be read, they
            differ in size, or one is larger than the limits.
    """
    sampling = request.sampling
    pictures = _require_pictures(folder)
    times = np.arange(len(pictures)) / sampling.frame_folder_fps  # (T,)
    chosen = _choose(folder, times, sampling)
    request.sink.begin(times[chosen])
    first_size = ""
    for index, first, count in zip(
        *np.unique(chosen, return_index=True, return_counts=True), strict=True
    ):
        rgb = read_picture(pictures[index], request.scale, limits)
        first_size = first_size or _size(rgb)
        if _size(rgb) != first_size:
            raise VideoError(
                f"{pictures[index]}: is {_size(rgb)}, the first frame {first_size}; "
                "a clip's frames have one size"
            )
        places = slice(int(first), int(first + count))
        request.sink.add(places, request.transform(rgb))


def iter_frame_folder(
    folder: Path,
    *,
    rate_fps: float,
    scale: Scale | None = None,
    limits: VideoLimits | None = None,
) -> Iterator[Frame]:
    """Every picture of a folder, one at a time; its file is read when its `rgb` is needed.

    Raises:
        VideoError: there is no picture.
    """
    limits = limits or VideoLimits()
    for index, path in enumerate(_require_pictures(folder)):
        yield Frame(index / rate_fps, partial(read_picture, path, scale, limits))


def read_picture(path: Path, scale: Scale | None, limits: VideoLimits) -> NDArray[np.uint8]:
    """RGB (H, W, 3), scaled bicubically as video frames are.

    Raises:
        VideoError: the file is no picture, damaged, or larger than the limits.
    """
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


def _choose(folder: Path, times: NDArray[np.float64], sampling: Sampling) -> NDArray[np.intp]:
    span = f"its frames are at {times[0]:.3f} to {times[-1]:.3f} s"
    try:
        chosen = choose_frames(times, sampling)
    except ValueError as error:
        raise VideoError(f"{folder}: {error}; {span}") from None
    if len(chosen) == 0:
        raise VideoError(f"{folder}: {sampling} chooses nothing; {span}")
    return chosen


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


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
            "a clip is one of them, so put each into a folder of its own"
        )
    return pictures


def _series(names: Iterable[str]) -> Counter[str]:
    """How many names differ in their numbers alone: `{"frame_#.jpg": 16}`."""
    return Counter(re.sub(r"\d+", "#", name.lower()) for name in names)


def _numbers_in(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is, or may be, a file: a link that leads nowhere fails when it is read."""
    return not entry.is_dir()


def _require_one_picture(picture: Image.Image, path: Path) -> None:
    count = getattr(picture, "n_frames", 1)
    if count > 1 and picture.format != "MPO":  # a phone's photo with a second view
        raise VideoError(
            f"{path}: holds {count} pictures, and a frame is one; write each to a file of its own"
        )


def _of_8_bits(picture: Image.Image) -> Image.Image:
    """Pictures of 16 bits scaled to 8, which Pillow would clip to white."""
    has_16_bits = picture.mode == "I" and picture.format in ("PNG", "PPM")
    if has_16_bits or picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture, np.uint32) * 255 // 65535).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"its grey levels have no known range: mode {picture.mode}")
    return picture
