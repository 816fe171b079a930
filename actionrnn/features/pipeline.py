"""Decoding and the backbone at the same time, on many videos, in bounded memory.

    decoders, a video each        lanes, a batch each          the caller
    decode -> scale and cut  ──►  batch  ──►  backbone  ──►  (video, features)

A frame gets into the batch in three steps: `WantedFrames.add` knows its places and has it scaled
and cut, `_Video.add` pairs it with the frame before it where changes are encoded, `Pipeline.add`
copies it into the batch.

Frames of many videos share a batch, and only so many batches wait: then decoders wait, too. What
is kept of a video is its features, so that its length costs (T, D) numbers and nothing else.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling, VideoLimits
from actionrnn.errors import BackboneError, VideoError, first_line
from actionrnn.features.backbone import Backbone, num_cores, set_own_threads
from actionrnn.features.decoding import Decode, VideoPart, decode_here
from actionrnn.features.frame_pairs import FramePair, FramePairs
from actionrnn.features.provenance import Features, Provenance, VideoFile

MOST_DECODERS = 32

# Videos whose features wait for the caller: when its disk is slow, the backbone waits.
FINISHED_AHEAD = 64

_POLL_SECONDS = 0.2

_T = TypeVar("_T")

Places = tuple[slice, slice]
"""Rows (frames) and columns (a view's features) of the values (T, D)."""


@dataclass
class Pace:
    """How fast it goes, and who waits for whom."""

    started: float = field(default_factory=time.perf_counter)
    num_frames: int = 0
    """Frames that the backbone has seen."""
    decoders_waited: float = 0.0
    """Seconds, of all decoders together."""
    lanes_waited: float = 0.0
    seconds_in_all: float | None = None
    """None while it goes on."""

    @property
    def seconds(self) -> float:
        """Since the start."""
        if self.seconds_in_all is not None:
            return self.seconds_in_all
        return time.perf_counter() - self.started

    @property
    def frames_per_second(self) -> float:
        """On average so far."""
        return self.num_frames / max(self.seconds, 1e-9)

    @property
    def bound(self) -> str:
        """What bounds the run: the side that waits less."""
        return "decoding" if self.lanes_waited > self.decoders_waited else "the backbone"

    def end(self) -> None:
        """Stop the clock."""
        self.seconds_in_all = self.seconds

    def __str__(self) -> str:
        return (
            f"{self.num_frames} frames in {self.seconds:.1f} s, "
            f"{self.frames_per_second:.0f} frames/s, bounded by {self.bound}"
        )


class _AbortedError(Exception):
    """Ends a thread whose work nobody wants any more."""


@dataclass
class _Sheet:
    """The features of one video while they come in."""

    times: NDArray[np.float64]
    values: NDArray[np.float32]
    num_missing: int = 1
    """Pictures that the backbone still has, and one for the decoder until it is done."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self) -> None:
        with self.lock:
            self.num_missing += 1

    def is_done_after(self, places: Places | None, values: NDArray[np.float32] | None) -> bool:
        """Write a picture's features to its places; whether nothing is missing any more."""
        if places is not None:
            self.values[places] = values
        with self.lock:
            self.num_missing -= 1
            return self.num_missing == 0


@dataclass
class _Batch:
    """Frames of several videos, and where their features go."""

    frames: NDArray[np.uint8]
    """(batch_frames, crop, crop, 3)."""
    owners: list[tuple[_Video, _Sheet, Places]] = field(default_factory=list)


class Pipeline:
    """The threads and the queues between them; `run` yields what comes out."""

    def __init__(
        self,
        sources: Sequence[VideoPart],
        backbone: Backbone,
        sampling: Sampling,
        stop: threading.Event | None = None,
        decode: Decode | None = None,
        num_decoders: int | None = None,
    ) -> None:
        self.decode = decode or decode_here
        self.backbone = backbone
        self.sampling = sampling
        self.provenance = Provenance.of(backbone, sampling)
        self.pace = Pace()
        self._stop = stop or threading.Event()
        self._abort = threading.Event()
        self._lock = threading.Lock()  # of the decoders: one may hold it while it waits
        self._lanes_lock = threading.Lock()
        self._sources = iter(sources)
        at_once = num_decoders or min(MOST_DECODERS, num_cores())
        self._num_decoders = min(at_once, max(1, len(sources)))
        self.threads_a_video = 0 if len(sources) == 1 else 1
        self._decoders_left = self._num_decoders
        self._batch: _Batch | None = None
        most_batches = max(2, backbone.config.frames_ahead // backbone.batch_frames)
        self._batches: queue.Queue[_Batch | None] = queue.Queue(most_batches)
        self._lanes_left = backbone.num_lanes
        self._finished: queue.Queue[
            tuple[VideoPart, Features | VideoError] | BaseException | None
        ] = queue.Queue(FINISHED_AHEAD)

    def run(self) -> Generator[tuple[VideoPart, Features | VideoError] | None, None, None]:
        """Each video's features or why there are none, as they are done; None while waiting."""
        jobs = [self._decode] * self._num_decoders + [self._encode] * self.backbone.num_lanes
        threads = [threading.Thread(target=self._guarded, args=[job]) for job in jobs]
        try:
            for thread in threads:
                thread.start()
            while True:
                try:
                    result = self._finished.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    yield None
                    continue
                if result is None:
                    return
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            self._abort.set()
            self.pace.end()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def add(self, video: _Video, sheet: _Sheet, places: Places, square: NDArray[np.uint8]) -> None:
        """Put one picture into the batch that is filling up."""
        started = time.perf_counter()
        with self._lock:
            if self._batch is None:
                self._batch = _Batch(
                    np.zeros((self.backbone.batch_frames, *square.shape), np.uint8)
                )
            self._batch.frames[len(self._batch.owners)] = square
            self._batch.owners.append((video, sheet, places))
            if len(self._batch.owners) == self.backbone.batch_frames:
                self._hand_on()
            self.pace.decoders_waited += time.perf_counter() - started

    def finish(self, source: VideoPart, result: Features | VideoError) -> None:
        """Give one video's result to the caller."""
        self._put(self._finished, (source, result))

    def _hand_on(self) -> None:
        if self._batch is not None:
            self._put(self._batches, self._batch)
            self._batch = None

    def _put(self, target: queue.Queue[_T], item: _T) -> None:
        while True:
            if self._abort.is_set():
                raise _AbortedError
            try:
                target.put(item, timeout=_POLL_SECONDS)
                return
            except queue.Full:
                continue

    def _guarded(self, job: Any) -> None:
        try:
            job()
        except _AbortedError:
            pass
        except BaseException as error:  # the caller's thread raises it
            while not self._abort.is_set():
                try:
                    self._finished.put(error, timeout=_POLL_SECONDS)
                    return
                except queue.Full:
                    continue

    def _decode(self) -> None:
        set_own_threads(1)
        while not self._stop.is_set():
            with self._lock:
                source = next(self._sources, None)
            if source is None:
                break
            _Video(source, self).decode()
        with self._lock:
            self._decoders_left -= 1
            if self._decoders_left:
                return
            self._hand_on()
        for _ in range(self.backbone.num_lanes):
            self._put(self._batches, None)

    def _encode(self) -> None:
        self.backbone.enter_lane()
        while True:
            started = time.perf_counter()
            batch = self._next_batch()
            waited = time.perf_counter() - started
            if batch is None:
                break
            values = self._encoded(batch.frames)
            with self._lanes_lock:
                self.pace.lanes_waited += waited
                self.pace.num_frames += len(batch.owners)
            for (video, sheet, places), row in zip(batch.owners, values, strict=False):
                if sheet.is_done_after(places, row):
                    video.finish(sheet)
        with self._lanes_lock:
            self._lanes_left -= 1
            is_last = self._lanes_left == 0
        if is_last:
            self._put(self._finished, None)

    def _encoded(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            return self.backbone.encode_batch(frames)
        except RuntimeError as error:  # the device's memory is full, or worse
            reason = first_line(error)
            raise BackboneError(
                f"{self.backbone.name}: failed on {len(frames)} frames ({reason}); free the "
                "device's memory, or use another device"
            ) from error

    def _next_batch(self) -> _Batch | None:
        while True:
            if self._abort.is_set():
                raise _AbortedError
            try:
                return self._batches.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue


class _Video:
    """One video on its way: takes frames as they are decoded, and gives features."""

    def __init__(self, source: VideoPart, pipeline: Pipeline) -> None:
        self._source = source
        self._pipeline = pipeline
        self._sheet: _Sheet | None = None
        self._file: VideoFile | None = None
        self._pairs = FramePairs()

    def decode(self) -> None:
        """Decode the whole video; what cannot be used is a result, too."""
        source, pipeline = self._source, self._pipeline
        try:
            if source.problem:
                raise VideoError(source.problem)
            sampling = source.sampling(pipeline.sampling)
            self._file = pipeline.decode(
                source.path,
                sampling,
                self,
                pipeline.backbone.preprocessing,
                pipeline.threads_a_video,
            )
        except VideoError as error:
            pipeline.finish(source, error)
            return
        assert self._sheet is not None
        if self._sheet.is_done_after(None, None):
            self.finish(self._sheet)

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        """The times (T,) of the frames that will come; what came before is forgotten."""
        shape = (len(pts_seconds), self._pipeline.backbone.feature_size)
        most = VideoLimits().max_bytes_held
        if 4 * shape[0] * shape[1] > most:
            raise VideoError(
                f"{self._source.path}: {shape[0]} frames would be sampled, and their features take "
                f"{4 * shape[0] * shape[1] / 2**30:.1f} GiB, at most {most / 2**30:.1f} are held; "
                "sample fewer, or cut the video"
            )
        self._sheet = _Sheet(pts_seconds, np.empty(shape, np.float32))
        self._pairs = FramePairs()

    def add(self, places: slice, square: NDArray[np.uint8]) -> None:
        """Put what the backbone sees of a frame (crop, crop, 3) into the batch.

        Args:
            places: of the frame among the T.
        """
        assert self._sheet is not None
        backbone = self._pipeline.backbone
        for rows, frame, before in self._with_previous(places, square):
            for number, view in enumerate(backbone.preprocessing.views(frame[None], before)):
                columns = slice(number * backbone.view_size, (number + 1) * backbone.view_size)
                self._sheet.expect()
                self._pipeline.add(self, self._sheet, (rows, columns), view)

    def _with_previous(self, places: slice, square: NDArray[np.uint8]) -> Iterable[FramePair]:
        """The frames whose predecessors are now known; rgb alone needs none."""
        if self._pipeline.backbone.preprocessing.modality == "rgb":
            return [(places, square, None)]
        return self._pairs.add(places, square)

    def finish(self, sheet: _Sheet) -> None:
        """Everything came: give the features to the caller."""
        features = Features(sheet.values, sheet.times, self._pipeline.provenance, self._file)
        self._pipeline.finish(self._source, features)
