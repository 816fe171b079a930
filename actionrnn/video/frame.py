"""Frames: one picture of a video with its time, or several in one array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import VideoError


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture, and when it is shown; its pixels are made when `rgb` is first read.

    `Frame.from_array(rgb, pts_seconds)` wraps pixels that you have.
    """

    pts_seconds: float
    """Presentation time in seconds, on the video's own clock."""
    make: Callable[[], NDArray[np.uint8]]
    """Returns the pixels; called once, by `rgb`."""
    _made: NDArray[np.uint8] | None = field(default=None, init=False)

    @classmethod
    def from_array(cls, rgb: NDArray[np.uint8], pts_seconds: float) -> Frame:
        """A frame of RGB pixels, uint8 (H, W, 3); the array is not copied.

        Raises:
            VideoError: the array has another type or shape, or no pixels.
        """
        frame = cls(float(pts_seconds), lambda: rgb)
        frame.rgb  # noqa: B018 - the pixels are known, so they are checked now
        return frame

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The pixels, (H, W, 3) uint8; kept as long as the frame is.

        Raises:
            VideoError: the decoder's picture cannot be converted, or is too large; the file of
                a picture cannot be read.
        """
        made = self._made
        if made is None:  # functools.cached_property: one lock for all frames, before Python 3.12
            made = _require_picture(np.asarray(self.make()))
            object.__setattr__(self, "_made", made)
        return made

    @property
    def data(self) -> NDArray[np.uint8]:
        """The same array as `rgb`."""
        return self.rgb

    def copy(self) -> Frame:
        """The same picture, sharing no pixels with this one: copied if made, else made anew."""
        if self._made is None:
            return replace(self)
        return Frame.from_array(self._made.copy(), self.pts_seconds)

    def __reduce__(self) -> tuple[Any, ...]:
        return Frame.from_array, (self.rgb, self.pts_seconds)  # `make` cannot be pickled

    def __repr__(self) -> str:
        return f"Frame(pts_seconds={self.pts_seconds:.3f})"


@dataclass(frozen=True)
class Frames:
    """T pictures of one video in the order of time, in one array.

    Raises:
        ValueError: the arrays have other types or shapes.
    """

    data: NDArray[np.uint8]
    """RGB, (T, H, W, 3) uint8."""
    pts_seconds: NDArray[np.float64]
    """(T,), non-decreasing."""

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or self.data.shape[3] != 3 or self.data.dtype != np.uint8:
            raise ValueError(
                f"data must be uint8 (T, H, W, 3), got {self.data.dtype} {self.data.shape}"
            )
        if self.pts_seconds.shape != self.data.shape[:1]:
            raise ValueError(
                f"pts_seconds {self.pts_seconds.shape} must have one time per frame "
                f"({len(self.data)})"
            )

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        times = self.pts_seconds
        span = f"[{times[0]:.3f} ... {times[-1]:.3f}]" if len(times) else "[]"
        return f"Frames(data={self.data.shape}, pts_seconds={span})"


def _require_picture(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[-1] != 3:
        raise VideoError(f"a frame must be RGB uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}")
    if rgb.size == 0:
        raise VideoError(f"a frame {rgb.shape} has no pixels")
    return rgb
