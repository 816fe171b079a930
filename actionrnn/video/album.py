"""Where the wanted pictures go: one array, each picture copied into it once."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.video.frames import Frames
from actionrnn.video.opening import Source
from actionrnn.video.timetable import Ticks, Timetable, seconds_of


class Album:
    """The pictures that are shown at the wanted ticks; several readers may fill it."""

    def __init__(self, source: Source, table: Timetable, wanted: Ticks) -> None:
        self._source = source
        self._table = table
        self._wanted = wanted  # (T,), never falling; a picture may be wanted twice
        self._missing: dict[int, list[int]] = {}  # tick -> its places in the array
        for place, tick in enumerate(wanted.tolist()):
            self._missing.setdefault(tick, []).append(place)
        self._data: NDArray[np.uint8] | None = None
        self._lock = threading.Lock()

    @property
    def missing(self) -> frozenset[int]:
        """The wanted ticks whose pictures are not here yet."""
        return frozenset(self._missing)

    def wants(self, tick: int) -> bool:
        """Whether the picture of this tick is wanted and not here yet."""
        return tick in self._missing

    def add(self, tick: int, picture: NDArray[np.uint8]) -> None:
        """Copy a picture (H, W, 3) to its places.

        Raises:
            VideoError: all pictures together are larger than the limits, or this one
                is turned otherwise than the others.
        """
        with self._lock:
            if self._data is None:
                self._data = self._allocate(picture)
        if picture.shape != self._data.shape[1:]:
            raise VideoError(f"{self._source.name}: turns within the video; re-encode it")
        for place in self._missing.pop(tick):
            self._data[place] = picture

    def frames(self) -> Frames:
        """All of it; nothing may be missing."""
        assert self._data is not None and not self._missing
        return Frames(self._data, seconds_of(self._wanted, self._table.time_base))

    def _allocate(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size_bytes = len(self._wanted) * picture.nbytes
        most = self._source.limits.max_bytes_held
        if size_bytes > most:
            height, width = picture.shape[:2]
            raise VideoError(
                f"{self._source.name}: is too large: {len(self._wanted)} frames of {width} x "
                f"{height} take {size_bytes / 2**30:.1f} GiB, at most {most / 2**30:.1f} are held; "
                "sample fewer, scale them, or take them one by one with iter_frames"
            )
        return np.empty((len(self._wanted), *picture.shape), np.uint8)
