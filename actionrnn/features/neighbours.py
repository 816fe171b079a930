"""Frames that a decoder gives in any order find the frame before them."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3)."""


class Neighbours:
    """Holds a frame until its neighbours have come: of frames in order, only the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, Picture] = {}
        """Frames whose successor has not come, by the place behind them."""
        self._waiting: dict[int, tuple[slice, Picture]] = {}
        """Frames whose predecessor has not come, by their first place."""

    def add(self, places: slice, frame: Picture) -> list[tuple[slice, Picture, Picture | None]]:
        """Take a frame; the (places, frame, frame before) that it completes, two at most."""
        frame = frame.copy()  # the decoder may write its next frame over it
        done: list[tuple[slice, Picture, Picture | None]] = []
        with self._lock:
            if places.start == 0:
                done.append((places, frame, None))
            elif places.start in self._ends:
                done.append((places, frame, self._ends.pop(places.start)))
            else:
                self._waiting[places.start] = places, frame
            if places.stop in self._waiting:
                done.append((*self._waiting.pop(places.stop), frame))
            else:
                self._ends[places.stop] = frame
        return done
