"""Decoding and the backbone at the same time, on many videos, in bounded memory.

    decoders, a video each        workers, a batch each        the caller
    decode -> scale and cut  ──►  batch  ──►  backbone  ──►  (video, features)

A picture is handed over three times on its way from the decoder to the batch: `WantedFrames.add`
has it scaled and cut, `_Video.add` makes of it what the backbone sees, `Pipeline.add` copies that
into the batch.

Frames of many videos share a batch, and a bounded number of batches waits: then decoders wait,
too. What is kept of a video is its features, so that its length costs (T, D) numbers.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import BackboneError, VideoError, first_line
from actionrnn.features.backbone import Backbone
from actionrnn.features.machine import num_cores
from actionrnn.features.provenance import Features, Provenance, VideoFile
from actionrnn.features.video_parts import VideoPart
from actionrnn.features.worker import Decode, FrameSpec, decode_video
from actionrnn.options import VideoLimits

MOST_DECODERS = 32

# Videos whose features wait for the caller: when its disk is slow, the backbone waits.
FINISHED_AHEAD = 64

_POLL_SECONDS = 0.2

_T = TypeVar("_T")

Pixels = NDArray[np.uint8]
"""(H, W, 3)."""
FramePair = tuple[slice, Pixels, Pixels | None]
"""Rows of the features, the frame, and the one shown before it; None: it is the first."""


@dataclass
class Pace:
    """How fast the work is, and who waits for whom."""

    started: float = field(default_factory=time.perf_counter)
    num_frames: int = 0
    """Frames that the backbone has seen."""
    decoding_waited: float = 0.0
    """Seconds in which no decoder could hand on its frames, as the backbone had enough, or in
    which all were decoded and the backbone had some left."""
    workers_waited: float = 0.0
    """Seconds in which a thread that encodes had no frames, on average."""
    seconds_in_all: float | None = None
    """None until the end."""

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
        """What bounds the run: the side that waits less. A slow disk holds up either."""
        return "decoding" if self.workers_waited > self.decoding_waited else "the backbone"

    def end(self) -> None:
        """Stop the clock."""
        self.seconds_in_all = self.seconds

    def __str__(self) -> str:
        return (
            f"{self.num_frames} frames in {self.seconds:.1f} s, "
            f"{self.frames_per_second:.0f} frames/s, bounded by {self.bound}"
        )


class FramePairs:
    """Pairs frames, which come in any order, with the frame before; of frames in order it holds
    only the last.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, Pixels] = {}
        """Frames whose successor has not come, by the row behind them."""
        self._waiting: dict[int, tuple[slice, Pixels]] = {}
        """Frames whose predecessor has not come, by their first row."""

    def add(self, rows: slice, frame: Pixels) -> list[FramePair]:
        """Take a frame with its rows, which lie side by side; the pairs that it completes.

        A frame with several rows comes twice: after another frame, and after itself.
        """
        frame = frame.copy()  # the decoder may write its next frame over it
        done: list[FramePair] = []
        with self._lock:
            if rows.start == 0:
                done += _pairs(rows, frame, None)
            elif rows.start in self._ends:
                done += _pairs(rows, frame, self._ends.pop(rows.start))
            else:
                self._waiting[rows.start] = rows, frame
            if rows.stop in self._waiting:
                done += _pairs(*self._waiting.pop(rows.stop), frame)
            else:
                self._ends[rows.stop] = frame
        return done


def _pairs(rows: slice, frame: Pixels, before: Pixels | None) -> list[FramePair]:
    first, stop = rows.start, rows.stop
    pairs: list[FramePair] = [(slice(first, first + 1), frame, before)]
    if stop > first + 1:
        pairs.append((slice(first + 1, stop), frame, frame))
    return pairs


class _AbortedError(Exception):
    """Ends a thread whose work is not wanted any more."""


@dataclass
class _Rows:
    """The features of one video while they come in."""

    pts_seconds: NDArray[np.float64]
    """(T,)."""
    values: NDArray[np.float32]
    """(T, D)."""
    num_missing: int = 1
    """Pictures that the backbone still has, and one for the decoder until it is done."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def expect_one(self) -> None:
        """One more picture was handed to the backbone."""
        with self.lock:
            self.num_missing += 1

    def one_came(self) -> bool:
        """One picture's features are written, or the decoder is done; whether all is done."""
        with self.lock:
            self.num_missing -= 1
            return self.num_missing == 0


@dataclass(frozen=True)
class _Target:
    """Where the features of one picture go."""

    video: _Video
    into: _Rows
    rows: slice
    """Of the T; a frame that is shown several times has several."""
    columns: slice
    """Of the D: those of one view of the frame."""

    def write(self, features: NDArray[np.float32]) -> None:
        """Take a picture's features; after the last of a video it is finished."""
        self.into.values[self.rows, self.columns] = features
        if self.into.one_came():
            self.video.finish(self.into)


@dataclass
class _Batch:
    """Pictures of several videos, and where their features go."""

    pictures: NDArray[np.uint8]
    """(batch_frames, crop, crop, 3)."""
    targets: list[_Target] = field(default_factory=list)


class Pipeline:
    """The threads and the queues between them; `run` yields what comes out.

    Args:
        sources: the videos.
        backbone: encodes their frames.
        sampling: which frames; a source that is a part of a video has these of that part.
        decode: gives the squares of a video; features go into a store only with
            `decode_and_hash`, which says of which file they are.
        num_decoders: threads that call it; None: one for each core.
    """

    def __init__(
        self,
        sources: Sequence[VideoPart],
        backbone: Backbone,
        sampling: Sampling,
        decode: Decode = decode_video,
        num_decoders: int | None = None,
    ) -> None:
        self.backbone, self.sampling, self.decode = backbone, sampling, decode
        self.provenance = Provenance.of(backbone, sampling)
        self.pace = Pace()
        self.stop = threading.Event()
        """Set it to end after the videos that are in work."""
        self.threads_a_video = 0 if len(sources) == 1 else 1
        self._abort = threading.Event()
        self._fill_lock = threading.Lock()  # of the decoders: one may hold it while it waits
        self._pace_lock = threading.Lock()
        self._sources = iter(sources)
        most = num_decoders or min(MOST_DECODERS, num_cores())
        self._num_decoders = self._decoders_left = min(most, max(1, len(sources)))
        self._num_workers = self._workers_left = backbone.num_workers
        self._all_decoded = 0.0  # when, by the clock of `Pace`
        self._batch: _Batch | None = None
        most_batches = max(2, backbone.config.frames_ahead // backbone.batch_frames)
        self._batches: queue.Queue[_Batch | None] = queue.Queue(most_batches)
        self._finished: queue.Queue[
            tuple[VideoPart, Features | VideoError] | BaseException | None
        ] = queue.Queue(FINISHED_AHEAD)

    def run(self) -> Generator[tuple[VideoPart, Features | VideoError] | None, None, None]:
        """Each video's features or why there are none, as they are done; None while waiting."""
        jobs = [self._decode] * self._num_decoders + [self._encode] * self._num_workers
        threads = [threading.Thread(target=self._guarded, args=[job]) for job in jobs]
        try:
            for thread in threads:
                thread.start()
            while True:
                try:
                    result = self._finished.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    yield None  # the caller may show its progress, or stop
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

    def add(self, picture: Pixels, target: _Target) -> None:
        """Copy one picture into the batch that is filling up."""
        with self._fill_lock:
            if self._batch is None:
                shape = (self.backbone.batch_frames, *picture.shape)
                self._batch = _Batch(np.zeros(shape, np.uint8))
            self._batch.pictures[len(self._batch.targets)] = picture
            self._batch.targets.append(target)
            if len(self._batch.targets) == self.backbone.batch_frames:
                self._hand_on()

    def finish(self, source: VideoPart, result: Features | VideoError) -> None:
        """Give one video's result to the caller."""
        self._put(self._finished, (source, result))

    def _hand_on(self) -> None:
        """Under the lock: while one decoder waits here, all do."""
        if self._batch is None:
            return
        started = time.perf_counter()
        self._put(self._batches, self._batch)
        self.pace.decoding_waited += time.perf_counter() - started
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

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except _AbortedError:
            pass
        except BaseException as error:  # the caller's thread raises it
            with contextlib.suppress(_AbortedError):
                self._put(self._finished, error)

    def _decode(self) -> None:
        while not self.stop.is_set():
            with self._fill_lock:
                source = next(self._sources, None)
            if source is None:
                break
            _Video(source, self).decode()
        with self._fill_lock:
            self._decoders_left -= 1
            if self._decoders_left:
                return
            self._hand_on()  # the last batch is not full
        self._all_decoded = time.perf_counter()
        for _ in range(self._num_workers):
            self._put(self._batches, None)

    def _encode(self) -> None:
        self.backbone.limit_threads()
        while True:
            started = time.perf_counter()
            batch = self._next_batch()
            waited = time.perf_counter() - started
            with self._pace_lock:
                self.pace.workers_waited += waited / self._num_workers
            if batch is None:
                break
            values = self._encoded(batch.pictures)
            with self._pace_lock:
                self.pace.num_frames += len(batch.targets)
            for target, features in zip(batch.targets, values, strict=False):
                target.write(features)
        with self._pace_lock:
            self._workers_left -= 1
            is_last = self._workers_left == 0
        if is_last:
            self.pace.decoding_waited += time.perf_counter() - self._all_decoded
            self._put(self._finished, None)

    def _encoded(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            return self.backbone.encode_batch(pictures)
        except RuntimeError as error:  # the device's memory is full, or worse
            reason = first_line(error)
            raise BackboneError(
                f"{self.backbone.name}: failed on {len(pictures)} frames ({reason}); free the "
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
        self._into: _Rows | None = None
        self._pairs = FramePairs()
        self._file: VideoFile | None = None

    def decode(self) -> None:
        """Decode the whole video; what cannot be used is a result, too."""
        source, pipeline = self._source, self._pipeline
        spec = FrameSpec(
            source.sampling(pipeline.sampling),
            pipeline.backbone.preprocessing,
            pipeline.threads_a_video,
        )
        try:
            if source.problem:
                raise VideoError(source.problem)
            self._file = pipeline.decode(source.path, spec, self)
        except VideoError as error:
            pipeline.finish(source, error)
            return
        assert self._into is not None
        if self._into.one_came():  # else the backbone still has some, and finishes the video
            self.finish(self._into)

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
        self._into = _Rows(pts_seconds, np.empty(shape, np.float32))
        self._pairs = FramePairs()

    def add(self, steps: slice, pixels: Pixels) -> None:
        """Put what the backbone sees of a frame, cut to (crop, crop, 3), into the batch.

        Args:
            steps: of the frame among the T: rows of the features.
        """
        into, backbone = self._into, self._pipeline.backbone
        assert into is not None
        pairs: list[FramePair] = [(steps, pixels, None)]
        if backbone.preprocessing.modality != "rgb":  # a change needs the frame before
            pairs = self._pairs.add(steps, pixels)
        for rows, frame, before in pairs:
            for number, view in enumerate(backbone.preprocessing.views(frame[None], before)):
                columns = slice(number * backbone.view_size, (number + 1) * backbone.view_size)
                into.expect_one()
                self._pipeline.add(view, _Target(self, into, rows, columns))

    def finish(self, rows: _Rows) -> None:
        """Everything came: give the features to the caller."""
        made = self._pipeline.provenance
        features = Features(rows.values, rows.pts_seconds, made, self._file)
        self._pipeline.finish(self._source, features)
