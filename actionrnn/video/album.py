"""Who gets the wanted pictures: each is decoded once, and given to all its places."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.video.frame import Frames
from actionrnn.video.frame_index import Ticks, Timetable, seconds_of
from actionrnn.video.source import Source

Places = slice
"""Places of one picture among the T wanted ones: they lie side by side, as times never fall."""


class Visitor(Protocol):
    """What takes pictures as they are decoded, in any order, from several threads at once."""

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        """The times (T,) of the pictures that will come; a second call starts anew."""

    def add(self, places: Places, picture: NDArray[np.uint8]) -> None:
        """A picture (H, W, 3), valid during the call, and its places among the T."""


class Wanted:
    """The wanted ticks, and which of their pictures are still missing."""

    def __init__(self, table: Timetable, ticks: Ticks, visitor: Visitor) -> None:
        self._visitor = visitor
        distinct, first, count = np.unique(ticks, return_index=True, return_counts=True)
        stop = first + count
        self._missing = {
            tick: slice(*places)
            for tick, *places in zip(distinct.tolist(), first.tolist(), stop.tolist(), strict=True)
        }
        visitor.begin(seconds_of(ticks, table.time_base))

    @property
    def is_complete(self) -> bool:
        """Whether every picture came."""
        return not self._missing

    def missing_ticks(self) -> Ticks:
        """The ticks of the pictures that are not here yet, rising."""
        return np.array(sorted(self._missing), np.int64)

    def wants(self, tick: int) -> bool:
        """Whether the picture of this tick is wanted and not here yet."""
        return tick in self._missing

    def add(self, tick: int, picture: NDArray[np.uint8]) -> None:
        """Hand a picture (H, W, 3) to its places."""
        self._visitor.add(self._missing.pop(tick), picture)


class Album:
    """A visitor that keeps the pictures in one array."""

    def __init__(self, name: str, max_bytes_held: int) -> None:
        self._name = name
        self._max_bytes_held = max_bytes_held
        self._times: NDArray[np.float64] = np.empty(0)
        self._data: NDArray[np.uint8] | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, source: Source) -> Album:
        """For one source, within its limits."""
        return cls(source.name, source.limits.max_bytes_held)

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        """Forget what is here."""
        self._times, self._data = pts_seconds, None

    def add(self, places: Places, picture: NDArray[np.uint8]) -> None:
        """Copy a picture (H, W, 3) to its places.

        Raises:
            VideoError: all pictures together are larger than the limits, or this one
                has another size than the others.
        """
        with self._lock:
            if self._data is None:
                self._data = self._allocate(picture)
        if picture.shape != self._data.shape[1:]:
            raise VideoError(f"{self._name}: turns within the video; re-encode it")
        self._data[places] = picture

    def frames(self) -> Frames:
        """All of it; nothing may be missing."""
        assert self._data is not None
        return Frames(self._data, self._times)

    def _allocate(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size_bytes = len(self._times) * picture.nbytes
        most = self._max_bytes_held
        if size_bytes > most:
            height, width = picture.shape[:2]
            raise VideoError(
                f"{self._name}: is too large: {len(self._times)} frames of {width} x "
                f"{height} take {size_bytes / 2**30:.1f} GiB, at most {most / 2**30:.1f} are held; "
                "sample fewer, scale them, or take them one by one with iter_frames"
            )
        return np.empty((len(self._times), *picture.shape), np.uint8)
