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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.features.backbone import Backbone
from actionrnn.features.decoding import Decode, decode_here
from actionrnn.features.frame_pairs import FramePair, FramePairs

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class FeatureBlock:
    """The features of some consecutive steps of a file."""

    first_step: int
    """How many steps came before. 0 a second time: the file promised frames that do not come,
    and is read anew; forget the blocks before."""
    values: NDArray[np.float32]
    """(n, D)."""
    pts_seconds: NDArray[np.float64]
    """(n,)."""


def read_blocks(
    path: Path,
    backbone: Backbone,
    sampling: Sampling,
    *,
    decode: Decode = decode_here,
    one_by_one: bool = False,
) -> Generator[FeatureBlock, None, None]:
    """The features of a file's sampled frames, in the order of time.

    Args:
        decode: in this process, or within the bounds of an `Isolation`.
        one_by_one: encode each frame by itself, and decode hardly ahead: for a caller who stops
            early. Otherwise the backbone is given full batches, which is many times faster.

    Raises:
        VideoError: the video cannot be used.
    """
    # a batch for each lane of the backbone
    pictures = backbone.batch_frames * backbone.num_lanes
    block_frames = 1 if one_by_one else max(1, pictures // backbone.preprocessing.num_views)
    most_waiting = 1 if one_by_one else max(block_frames, backbone.config.frames_ahead)
    num_threads = 1 if one_by_one else 0  # several jump to key frames at once, far ahead
    squares = _SquaresInOrder(most_waiting)

    def read() -> None:
        try:
            decode(path, sampling, squares, backbone.preprocessing, num_threads)
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

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        """The times (T,) of the frames that will come; what came before is forgotten."""
        with self._changed:
            self._pts_seconds, self._next_step = pts_seconds, 0
            self._waiting.clear()

    def add(self, places: slice, pixels: Pixels) -> None:
        """Keep a square until it is its turn.

        Args:
            places: the steps that show it.
        """
        with self._changed:
            self._changed.wait_for(self._may_add)
            if self._closed:
                raise _ClosedError
            self._waiting[places.start] = places, pixels.copy()
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
    preprocessing = backbone.preprocessing
    pairs, block = FramePairs(), _Block()
    for steps, square, times in squares:
        if steps.start == 0:  # the first square, or the first again: the decoder began anew
            pairs, block = FramePairs(), _Block()
        block.pts_seconds.append(times)
        if preprocessing.modality == "rgb":
            block.pairs.append((steps, square, None))
        else:
            block.pairs += pairs.add(steps, square)
        if len(block.pairs) >= block_frames:
            yield block.encoded(backbone, padded=padded)
            block = _Block()
    if block.pairs:
        yield block.encoded(backbone, padded=padded)


class _Block:
    """Squares that are encoded together."""

    def __init__(self) -> None:
        self.pts_seconds: list[NDArray[np.float64]] = []
        self.pairs: list[FramePair] = []

    def encoded(self, backbone: Backbone, *, padded: bool) -> FeatureBlock:
        views = [backbone.preprocessing.views(square[None], last) for _, square, last in self.pairs]
        values = backbone.encode(np.concatenate(views), padded=padded)
        # a frame that several steps show is encoded once
        repeats = [steps.stop - steps.start for steps, _, _ in self.pairs]
        return FeatureBlock(
            first_step=self.pairs[0][0].start,
            values=np.repeat(values, repeats, axis=0),
            pts_seconds=np.concatenate(self.pts_seconds),
        )
