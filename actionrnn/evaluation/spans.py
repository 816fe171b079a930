"""Stretches of time, half open, in order and apart from each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Spans = NDArray[np.float64]
"""(N, 2), begins and ends in seconds."""


def spans_of(pairs: Iterable[tuple[float, float]]) -> Spans:
    """In order, overlapping and touching ones joined, empty ones left out."""
    joined: list[list[float]] = []
    for start, end in sorted(pairs):
        if end <= start:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return np.array(joined, np.float64).reshape(-1, 2)


def common_spans(one: Spans, other: Spans) -> Spans:
    """Where both are."""
    starts = np.maximum(one[:, None, 0], other[None, :, 0]).ravel()
    ends = np.minimum(one[:, None, 1], other[None, :, 1]).ravel()
    return spans_of(zip(starts.tolist(), ends.tolist(), strict=True))


def length_of(spans: Spans) -> float:
    """In seconds, of all together."""
    return float((spans[:, 1] - spans[:, 0]).sum())
