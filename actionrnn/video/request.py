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
from actionrnn.video.frame_index import FrameIndex, require_times
from actionrnn.video.sampling import choose_frames

Pixels = NDArray[np.uint8]


class FrameSink(Protocol):
    """Takes frames as they are decoded, in any order, from several threads at once."""

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        """Prepare for frames at these times (T,); a second call forgets the frames so far."""

    def add(self, steps: slice, pixels: Pixels) -> None:
        """Take one frame.

        Args:
            steps: its indices among the T: several, side by side, where a frame is sampled
                several times. Each frame comes once.
            pixels: what `FrameRequest.transform` returned; valid during the call only.
        """


def _unchanged(rgb: Pixels) -> Pixels:
    return rgb


@dataclass(frozen=True)
class FrameRequest:
    """What is wanted of a video."""

    sampling: Sampling
    sink: FrameSink
    scale: Scale | None = None
    """The size to which frames are converted; None: as they are shown."""
    transform: Callable[[Pixels], Pixels] = _unchanged
    """Maps RGB pixels (H, W, 3) to what the sink takes; runs in the decoding threads."""
    num_threads: int = 0
    """Threads that decode; 0: as many as the work is worth."""
    pick: Callable[[int], list[int]] | None = None
    """Given T, the number of sampled frames: those of them that are wanted, ascending. The sink
    is told of no others. None: all."""


class WantedFrames:
    """The frames that the sampling chooses, each passed to the request's sink once.

    Args:
        name: of the video, for errors.
        index: all frames of the video.
        request: its sampling chooses among them; its sink is told the chosen times at once.

    Raises:
        VideoError: the sampling chooses no frame, or too many.
    """

    def __init__(self, name: str, index: FrameIndex, request: FrameRequest) -> None:
        self.index = index
        self.request = request
        chosen = _choose(name, index, request.sampling)
        if request.pick is not None:
            chosen = chosen[request.pick(len(chosen))]
        request.sink.begin(index.pts_seconds[chosen])
        self._missing: dict[int, slice] = {}
        for step, tick in enumerate(index.ticks[chosen].tolist()):  # ascending
            begin = self._missing[tick].start if tick in self._missing else step
            self._missing[tick] = slice(begin, step + 1)

    @property
    def is_complete(self) -> bool:
        """Whether every frame came."""
        return not self._missing

    def missing_ticks(self) -> NDArray[np.int64]:
        """The ticks of the frames that have not come, ascending."""
        return np.array(sorted(self._missing), np.int64)

    def wants(self, tick: int) -> bool:
        """Whether the frame at this tick is wanted and has not come."""
        return tick in self._missing

    def add(self, tick: int, rgb: Pixels) -> None:
        """Transform the wanted frame at a tick, (H, W, 3), and pass it to the sink.

        Readers call this at the same time, each for ticks of its own span.
        """
        steps = self._missing.pop(tick)
        self.request.sink.add(steps, self.request.transform(rgb))


class FrameCollector:
    """A sink that keeps the frames in one array.

    Args:
        name: of the video, for errors.
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

    def add(self, steps: slice, pixels: Pixels) -> None:
        """Copy a frame (H, W, 3) to its steps.

        Raises:
            VideoError: all frames together exceed the limit, or this one has another size
                than the others.
        """
        with self._lock:  # the first frame of any reader decides the size of all
            if self._data is None:
                self._data = self._allocate(pixels)
        if pixels.shape != self._data.shape[1:]:
            raise VideoError(f"{self._name}: turns within the video; re-encode it")
        self._data[steps] = pixels  # readers write to different steps: no lock

    def frames(self) -> Frames:
        """All of them, after the last came."""
        assert self._data is not None
        return Frames(self._data, self._times)

    def _allocate(self, pixels: Pixels) -> Pixels:
        size_bytes, most = len(self._times) * pixels.nbytes, self._max_bytes_held
        if size_bytes > most:
            height, width = pixels.shape[:2]
            raise VideoError(
                f"{self._name}: is too large: {len(self._times)} frames of {width} x "
                f"{height} take {size_bytes / 2**30:.1f} GiB, at most {most / 2**30:.1f} are held; "
                "sample fewer, scale them, or take them one by one with iter_frames"
            )
        return np.empty((len(self._times), *pixels.shape), np.uint8)


def _choose(name: str, index: FrameIndex, sampling: Sampling) -> NDArray[np.intp]:
    require_times(name, index)
    times = index.pts_seconds
    span = f"its frames are at {times[0]:.3f} to {times[-1]:.3f} s"
    try:
        chosen = choose_frames(times, sampling, index.is_keyframe)
    except ValueError as error:
        raise VideoError(f"{name}: {error}; {span}") from None
    if len(chosen) == 0:
        raise VideoError(f"{name}: {sampling} chooses nothing; {span}")
    return chosen
