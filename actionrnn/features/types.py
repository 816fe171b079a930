"""What extraction gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Features:
    """One feature vector for each sampled frame of one video."""

    values: NDArray[np.float32]
    """(T, D)."""
    pts_seconds: NDArray[np.float64]
    """(T,), the presentation times of the frames."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Backbone, weights, preprocessing and sampling, and the source's size and hash."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.pts_seconds.shape != self.values.shape[:1]:
            raise ValueError(
                f"values must be (T, D) with pts_seconds (T,), "
                f"got {self.values.shape} and {self.pts_seconds.shape}"
            )

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        backbone = self.provenance.get("backbone", "?")
        return f"Features(values={self.values.shape}, backbone={backbone!r})"
