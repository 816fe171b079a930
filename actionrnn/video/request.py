"""Which frames of a video are wanted, in which form, and who takes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.video.convert import Scale
from actionrnn.video.frame import Frames
from actionrnn.video.frame_index import FrameIndex, Ticks, seconds_of

Pixels = NDArray[np.uint8]


class FrameSink(Protocol):
    """Takes frames as they are decoded, in any order, from several threads at once."""

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        """The times (T,) of the frames that will come; a second call starts anew."""

    def add(self, places: slice, pixels: Pixels) -> None:
        """A frame's pixels, valid during the call, and its places among the T.

        A frame that is wanted several times comes once; its places lie side by side.
        """


def _unchanged(rgb: Pixels) -> Pixels:
    return rgb


@dataclass(frozen=True)
class FrameRequest:
    """What is wanted of a video."""

    sampling: Sampling
    sink: FrameSink
    scale: Scale | None = None
    """Sizes of the RGB pixels; None: as they are shown."""
    transform: Callable[[Pixels], Pixels] = _unchanged
    """Makes of RGB pixels (H, W, 3) what the sink takes; runs in the decoders' threads."""
    num_threads: int = 0
    """That decode; 0 takes as many as the work is worth."""


class WantedFrames:
    """The wanted frames of one video, each handed to the sink once, and which are missing."""

    def __init__(self, index: FrameIndex, ticks: Ticks, request: FrameRequest) -> None:
        self.index = index
        self.request = request
        distinct, first, count = np.unique(ticks, return_index=True, return_counts=True)
        stop = first + count
        self._missing = {
            tick: slice(*places)
            for tick, *places in zip(distinct.tolist(), first.tolist(), stop.tolist(), strict=True)
        }
        request.sink.begin(seconds_of(ticks, index.time_base))

    @property
    def is_complete(self) -> bool:
        """Whether every frame came."""
        return not self._missing

    def missing_ticks(self) -> Ticks:
        """The ticks of the frames that have not come, rising."""
        return np.array(sorted(self._missing), np.int64)

    def wants(self, tick: int) -> bool:
        """Whether the frame of this tick is wanted and has not come."""
        return tick in self._missing

    def add(self, tick: int, rgb: Pixels) -> None:
        """Transform the frame (H, W, 3) of a wanted tick, and hand it to the sink."""
        places = self._missing.pop(tick)
        self.request.sink.add(places, self.request.transform(rgb))


class FrameCollector:
    """A sink that keeps the frames in one array.

    Args:
        name: of the video, as errors call it.
        max_bytes_held: the most that all frames together may take.
    """

    def __init__(self, name: str, max_bytes_held: int) -> None:
        self._name = name
        self._max_bytes_held = max_bytes_held
        self._times: NDArray[np.float64] = np.empty(0)
        self._data: Pixels | None = None
        self._lock = threading.Lock()

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        """Forget what came before."""
        self._times, self._data = pts_seconds, None

    def add(self, places: slice, pixels: Pixels) -> None:
        """Copy a frame (H, W, 3) to its places.

        Raises:
            VideoError: all frames together are larger than the limits, or this one has another
                size than the others.
        """
        with self._lock:
            if self._data is None:
                self._data = self._allocate(pixels)
        if pixels.shape != self._data.shape[1:]:
            raise VideoError(f"{self._name}: turns within the video; re-encode it")
        self._data[places] = pixels

    def frames(self) -> Frames:
        """All of them, after the last came."""
        assert self._data is not None
        return Frames(self._data, self._times)

    def _allocate(self, pixels: Pixels) -> Pixels:
        size_bytes = len(self._times) * pixels.nbytes
        most = self._max_bytes_held
        if size_bytes > most:
            height, width = pixels.shape[:2]
            raise VideoError(
                f"{self._name}: is too large: {len(self._times)} frames of {width} x "
                f"{height} take {size_bytes / 2**30:.1f} GiB, at most {most / 2**30:.1f} are held; "
                "sample fewer, scale them, or take them one by one with iter_frames"
            )
        return np.empty((len(self._times), *pixels.shape), np.uint8)
