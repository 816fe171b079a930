"""Frames that a decoder gives in any order are paired with the frame before them."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W, 3)."""
FramePair = tuple[slice, Pixels, Pixels | None]
"""The places of a frame, the frame, and what is shown before it; None: nothing, it is the first."""


class FramePairs:
    """Holds a frame until its neighbours have come: of frames in order, only the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, Pixels] = {}
        """Frames whose successor has not come, by the place behind them."""
        self._waiting: dict[int, tuple[slice, Pixels]] = {}
        """Frames whose predecessor has not come, by their first place."""

    def add(self, places: slice, frame: Pixels) -> list[FramePair]:
        """Take a frame with its places, which lie side by side; the pairs that it completes.

        A frame with several places comes twice: after another frame, and after itself.
        """
        frame = frame.copy()  # the decoder may write its next frame over it
        done: list[FramePair] = []
        with self._lock:
            if places.start == 0:
                done += _pairs(places, frame, None)
            elif places.start in self._ends:
                done += _pairs(places, frame, self._ends.pop(places.start))
            else:
                self._waiting[places.start] = places, frame
            if places.stop in self._waiting:
                done += _pairs(*self._waiting.pop(places.stop), frame)
            else:
                self._ends[places.stop] = frame
        return done


def _pairs(places: slice, frame: Pixels, before: Pixels | None) -> list[FramePair]:
    first, stop = places.start, places.stop
    pairs: list[FramePair] = [(slice(first, first + 1), frame, before)]
    if stop > first + 1:
        pairs.append((slice(first + 1, stop), frame, frame))
    return pairs
