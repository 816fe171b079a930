"""A video file becomes features step by step, in the order of time and in constant memory.

    decoding threads                   the caller's thread
    decode -> scale and cut  ──►  squares in order  ──►  backbone  ──►  blocks of features

Frames are chosen, decoded and cut by the functions that extraction uses, so that both refuse the
same files. What waits between the threads is bounded, so that a day of video takes the memory of
a minute, and decoding ends where the caller stops asking.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import BackboneError, first_line
from actionrnn.features.backbone import Backbone
from actionrnn.features.pipeline import FramePair, FramePairs
from actionrnn.features.worker import Decode, FrameSpec, decode_video
from actionrnn.video.source import Located

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class FeatureBlock:
    """The features of some consecutive steps of a file."""

    first_step: int
    """The number of steps before. 0 once more: frames that the file promised do not come, so it
    is read again; forget the earlier blocks."""
    values: NDArray[np.float32]
    """(n, D)."""
    pts_seconds: NDArray[np.float64]
    """(n,)."""
    num_steps: int
    """Of the whole file."""


def read_blocks(
    path: Located,
    backbone: Backbone,
    sampling: Sampling,
    *,
    decode: Decode = decode_video,
    one_by_one: bool = False,
) -> Generator[FeatureBlock, None, None]:
    """The features of a video's sampled frames, in the order of time.

    Args:
        decode: in this process, or within the bounds of an `Isolation`.
        one_by_one: encode each frame by itself, and decode hardly ahead: for a caller who stops
            early. Otherwise the backbone is given full batches, which is many times faster.

    Raises:
        VideoError: the video cannot be used.
        BackboneError: the backbone fails, as where its device's memory is full.
    """
    # a batch for each worker of the backbone
    pictures = backbone.batch_frames * backbone.num_workers
    block_frames = 1 if one_by_one else max(1, pictures // backbone.preprocessing.num_views)
    most_waiting = 1 if one_by_one else max(block_frames, backbone.config.frames_ahead)
    num_threads = 1 if one_by_one else 0  # several jump to key frames at once, far ahead
    spec = FrameSpec(sampling, backbone.preprocessing, num_threads)
    squares = _SquaresInOrder(most_waiting)

    def read() -> None:
        try:
            decode(path, spec, squares)
            squares.end(None)
        except _ClosedError:
            pass
        except BaseException as error:  # the caller's thread raises it
            squares.end(error)

    thread = threading.Thread(target=read, name="decode")
    thread.start()
    try:
        yield from _encode(squares, backbone, block_frames, padded=not one_by_one)
    finally:
        squares.close()
        thread.join()


class _ClosedError(Exception):
    """Ends a decoder whose squares are not wanted any more."""


class _SquaresInOrder:
    """A frame sink: takes squares in any order from several threads, and gives them in order.

    Args:
        most_waiting: squares that may wait for a consumer who is slower than the decoders.
    """

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._pts_seconds: NDArray[np.float64] = np.empty(0)
        self._waiting: dict[int, tuple[slice, Pixels]] = {}  # by their first step
        self._next_step = 0
        self._ended = self._closed = False
        self._error: BaseException | None = None

    @property
    def num_steps(self) -> int:
        """T, of the whole file."""
        return len(self._pts_seconds)

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        """The times (T,) of the frames that will come; what came before is forgotten."""
        with self._changed:
            self._pts_seconds, self._next_step = pts_seconds, 0
            self._waiting.clear()

    def add(self, steps: slice, pixels: Pixels) -> None:
        """Keep a square until it is its turn.

        Args:
            steps: the steps that show it.
        """
        with self._changed:
            self._changed.wait_for(self._may_add)
            if self._closed:
                raise _ClosedError
            self._waiting[steps.start] = steps, pixels.copy()
            self._changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        """All squares came, or none comes any more because of an error."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """No square is wanted any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _may_add(self) -> bool:
        # while the next square is missing, none is kept out: it may be the one. Several threads
        # decode stretches side by side, so that those that wait for the next one are few
        is_missing = self._next_step not in self._waiting
        return self._closed or is_missing or len(self._waiting) < self._most_waiting

    def __iter__(self) -> Iterator[tuple[slice, Pixels, NDArray[np.float64]]]:
        """Each square in order, with the steps that show it and their times."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next_step in self._waiting or self._ended)
                if self._error is not None:
                    raise self._error
                if self._next_step not in self._waiting:
                    return
                steps, square = self._waiting.pop(self._next_step)
                self._next_step = steps.stop
                times = self._pts_seconds[steps]
                self._changed.notify_all()
            yield steps, square, times


def _encode(
    squares: _SquaresInOrder, backbone: Backbone, block_frames: int, *, padded: bool
) -> Iterator[FeatureBlock]:
    def block() -> FeatureBlock:
        values = _encode_pairs(backbone, waiting, padded=padded)
        return FeatureBlock(waiting[0][0].start, values, np.concatenate(times), squares.num_steps)

    preprocessing = backbone.preprocessing
    pairs = FramePairs()
    waiting: list[FramePair] = []
    times: list[NDArray[np.float64]] = []
    for steps, square, pts_seconds in squares:
        if steps.start == 0:  # the first square, or the first once more: decoding started over
            pairs, waiting, times = FramePairs(), [], []
        times.append(pts_seconds)
        if preprocessing.modality == "rgb":
            waiting.append((steps, square, None))
        else:
            waiting += pairs.add(steps, square)
        if len(waiting) >= block_frames:
            yield block()
            waiting, times = [], []
    if waiting:
        yield block()


def _encode_pairs(
    backbone: Backbone, pairs: list[FramePair], *, padded: bool
) -> NDArray[np.float32]:
    """The features of consecutive steps, (n, D)."""
    views = [backbone.preprocessing.views(square[None], last) for _, square, last in pairs]
    try:
        values = backbone.encode(np.concatenate(views), padded=padded)
    except RuntimeError as error:  # the device's memory is full, or worse
        raise BackboneError(
            f"{backbone.name}: failed on {len(views)} frames ({first_line(error)}); free the "
            "device's memory, or use another device"
        ) from error
    # a frame that several steps show is encoded once
    repeats = [steps.stop - steps.start for steps, _, _ in pairs]
    return np.repeat(values, repeats, axis=0)
