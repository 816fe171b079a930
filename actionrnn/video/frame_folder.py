"""A folder of pictures is a video too: `<clip>/frame0001.jpg`, `frame0002.jpg`, ...

Pictures do not say when they are shown; picture i is taken to be shown at i / rate seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.video.frames import Frame, Frames
from actionrnn.video.sampling import choose_frames

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})

Scale = Callable[[int, int], tuple[int, int]]
"""(width, height) of the source -> (width, height) wanted."""


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture, and not hidden."""
    return Path(name).suffix.lower() in PICTURE_SUFFIXES and not name.startswith(".")


def find_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of the numbers in their names; maybe none.

    `frame2.jpg` comes before `frame10.jpg`.
    """
    pictures = (path for path in folder.iterdir() if is_picture(path.name))
    return sorted(pictures, key=lambda path: (_numbers_in(path.name), path.name))


def read_frame_folder(folder: Path, sampling: Sampling, *, scale: Scale | None = None) -> Frames:
    """The pictures that `sampling` chooses, as `read_frames` gives those of a video.

    Raises:
        VideoError: there is no picture, none where `sampling` looks, one cannot be read, or
            they differ in size.
    """
    pictures = _require_pictures(folder)
    times = np.arange(len(pictures)) / sampling.frame_folder_fps  # (T,)
    chosen = choose_frames(times, sampling)
    if len(chosen) == 0:
        raise VideoError(
            f"{folder}: {sampling} chooses nothing; its frames are at 0.000 to {times[-1]:.3f} s"
        )
    unique, places = np.unique(chosen, return_inverse=True)
    read = [read_picture(pictures[index], scale) for index in unique]
    for index, pixels in zip(unique, read, strict=True):
        if pixels.shape != read[0].shape:
            raise VideoError(
                f"{pictures[index]}: is {pixels.shape[1]} x {pixels.shape[0]}, the first frame "
                f"{read[0].shape[1]} x {read[0].shape[0]}; a clip's frames have one size"
            )
    return Frames(np.stack(read)[places], times[chosen])


def iter_frame_folder(folder: Path, *, scale: Scale | None = None) -> Iterator[Frame]:
    """Every picture of a folder, one at a time.

    Raises:
        VideoError: there is no picture, or one cannot be read.
    """
    rate_fps = Sampling().frame_folder_fps
    for index, path in enumerate(_require_pictures(folder)):
        yield Frame(read_picture(path, scale), index / rate_fps)


def read_picture(path: Path, scale: Scale | None = None) -> NDArray[np.uint8]:
    """RGB (H, W, 3), scaled bicubically as video frames are.

    Raises:
        VideoError: the file is no picture, or damaged.
    """
    try:
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
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
    return pictures


def _numbers_in(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]
