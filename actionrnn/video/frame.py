"""What a decoded video is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One picture and when it is shown."""

    data: NDArray[np.uint8]
    """RGB, (H, W, 3)."""
    pts_seconds: float
    """Its presentation time, in seconds from the stream's own zero."""

    def __repr__(self) -> str:
        return f"Frame(data={self.data.shape}, pts_seconds={self.pts_seconds:.3f})"


@dataclass(frozen=True)
class Frames:
    """Some pictures of one video, in the order of time."""

    data: NDArray[np.uint8]
    """RGB, (T, H, W, 3)."""
    pts_seconds: NDArray[np.float64]
    """(T,), never falling."""

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
        return f"Frames(data={self.data.shape}, pts_seconds={_span(self.pts_seconds)})"


def _span(times: NDArray[np.float64]) -> str:
    return f"[{times[0]:.3f} ... {times[-1]:.3f}]" if len(times) else "[]"
