"""Scaling of pictures as Pillow does it, and the libraries that a network's own transform uses.

Each pixel of the scaled picture is a weighted mean of pixels of the given one, first along its
rows, then along its columns, rounded to whole levels in between. The filter is stretched where the
picture becomes smaller, so that it averages (antialiasing). The weights are whole numbers of 16
bits, as in torchvision's scaling of uint8, and come out as its pixels do.

Neighbouring pixels have neighbouring means, so an axis is scaled in blocks, each a product with a
small matrix: that takes a few milliseconds for a large frame, on one core and without torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Interpolation = Literal["bicubic", "bilinear"]

_RADIUS = {"bicubic": 2.0, "bilinear": 1.0}
_CUBIC_A = -0.5  # Keys, "Cubic convolution interpolation", 1981; Pillow's and torchvision's
_MOST_DIGITS = 22  # of a weight behind the binary point
_LARGEST_PRODUCT = 2**18
"""Multiplications up to which OpenBLAS takes one thread. More of them would wait for each other
where all cores decode, and, awake, take these from whatever works beside them."""
_BLOCK = 16  # pixels; a larger one has more weights that are zero, more of them more calls


@dataclass(frozen=True)
class _Axis:
    """How one side of a picture is scaled."""

    begin: int
    """The first pixel of the given side that has a weight."""
    end: int
    """Behind the last one."""
    blocks: tuple[tuple[int, int, NDArray[np.float32]], ...]
    """The scaled side, `_BLOCK` pixels at a time: the first of them, from which pixel of the given
    side on, counted from `begin`, and with which weights (block, pixels) they are means."""

    @property
    def scaled_size(self) -> int:
        """How many pixels it makes."""
        last, _, weights = self.blocks[-1]
        return last + len(weights)

    @property
    def lines_at_once(self) -> int:
        """How many lines make one product with a block's weights."""
        return max(1, _LARGEST_PRODUCT // max(weights.size for _, _, weights in self.blocks))


def scaled(
    picture: NDArray[np.uint8],
    size: tuple[int, int],
    interpolation: Interpolation,
    cut: tuple[slice, slice] = (slice(None), slice(None)),
) -> NDArray[np.uint8]:
    """A picture in another size, or a part of it.

    Args:
        picture: (H, W, 3).
        size: width and height of the whole scaled picture.
        cut: rows and columns of the scaled picture that are wanted: only these are computed.

    Returns:
        (h, w, 3), of the rows and columns of `cut`.
    """
    height, width = picture.shape[:2]
    rows = _axis(height, size[1], *_bounds(cut[0], size[1]), interpolation)
    columns = _axis(width, size[0], *_bounds(cut[1], size[0]), interpolation)
    wanted = picture[rows.begin : rows.end, columns.begin : columns.end]
    # colours become planes: otherwise the weights would be repeated for each of them
    narrow = _along_rows(np.moveaxis(wanted, 2, 0), columns)  # (3, H, w)
    found: NDArray[np.uint8] = np.moveaxis(_along_columns(narrow, rows), 0, 2).astype(np.uint8)
    return found


def _along_rows(pixels: NDArray[np.uint8], axis: _Axis) -> NDArray[np.float32]:
    """Each row scaled, in whole levels: (3, H, n) -> (3, H, w)."""
    height, part = pixels.shape[1], axis.lines_at_once
    found = np.empty((3, height, axis.scaled_size), np.float32)
    strip = np.empty((3, min(part, height), pixels.shape[2]), np.float32)
    for top in range(0, height, part):  # so few that they stay in the processor's cache
        lines = slice(top, min(top + part, height))
        given = strip[:, : lines.stop - top]
        given[:] = pixels[:, lines]
        for done, begin, weights in axis.blocks:
            window = given[..., begin : begin + weights.shape[1]]
            np.matmul(window, weights.T, out=found[:, lines, done : done + len(weights)])
        _to_levels(found[:, lines])
    return found


def _along_columns(pixels: NDArray[np.float32], axis: _Axis) -> NDArray[np.float32]:
    """Each column scaled, in whole levels: (3, n, w) -> (3, h, w)."""
    width, part = pixels.shape[2], axis.lines_at_once
    found = np.empty((3, axis.scaled_size, width), np.float32)
    for left in range(0, width, part):
        lines = slice(left, left + part)
        for done, begin, weights in axis.blocks:
            window = pixels[:, begin : begin + weights.shape[1], lines]
            np.matmul(weights, window, out=found[:, done : done + len(weights), lines])
    _to_levels(found)
    return found


def _to_levels(means: NDArray[np.float32]) -> None:
    """Round to whole levels, from 0 to 255, in place."""
    means += 0.5
    np.floor(means, out=means)
    np.clip(means, 0, 255, out=means)


def _bounds(part: slice, size: int) -> tuple[int, int]:
    start, stop, _ = part.indices(size)
    return start, stop


@lru_cache(maxsize=64)  # of videos of so many sizes
def _axis(
    size: int, scaled_size: int, start: int, stop: int, interpolation: Interpolation
) -> _Axis:
    """The weights for pixels start ... stop of an axis of `size` that becomes `scaled_size`."""
    step = size / scaled_size
    spread = max(step, 1.0)
    radius = _RADIUS[interpolation] * spread
    centres = (np.arange(scaled_size) + 0.5) * step
    first = np.maximum(np.floor(centres - radius + 0.5), 0).astype(np.int64)
    behind = np.minimum(np.floor(centres + radius + 0.5), size).astype(np.int64)
    taps = int((behind - first).max())
    pixels = first[:, None] + np.arange(taps)
    distance = np.abs((pixels + 0.5 - centres[:, None]) / spread)
    weights = _filter(distance, interpolation) * (pixels < behind[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    digits = min(math.floor(math.log2((2**15 - 0.5) / weights.max())), _MOST_DIGITS)
    weights = np.floor(weights * 2**digits + 0.5) / 2**digits
    begin, end = int(first[start]), int(behind[stop - 1])
    blocks = []
    for low in range(start, stop, _BLOCK):
        high = min(low + _BLOCK, stop)
        inner = int(first[low])
        block = np.zeros((high - low, int(behind[low:high].max()) - inner), np.float32)
        for row, one in enumerate(range(low, high)):
            used = slice(first[one] - inner, behind[one] - inner)
            block[row, used] = weights[one, : behind[one] - first[one]]
        blocks.append((low - start, inner - begin, block))
    return _Axis(begin, end, tuple(blocks))


def _filter(distance: NDArray[np.float64], interpolation: Interpolation) -> NDArray[np.float64]:
    if interpolation == "bilinear":
        return np.maximum(1 - distance, 0)
    a, x = _CUBIC_A, distance
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
