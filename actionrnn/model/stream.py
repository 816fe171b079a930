"""Streams: frames go in one by one, scores come out, and what is kept never grows.

Each frame that the model's sampling wants is encoded once; the recurrent state carries the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn.errors import VideoError
from actionrnn.features.backbone import Backbone, set_own_threads
from actionrnn.files import as_path
from actionrnn.model.heads import State
from actionrnn.model.state_policy import KEEP, LongState, most_confident, prepare, with_period
from actionrnn.stream_config import StatePolicy
from actionrnn.video.picking import FramePicker

if TYPE_CHECKING:
    from actionrnn.model.recognizer import Recognizer

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]

LazyFrame = Callable[[], Pixels]
"""A frame (H, W, 3) that is made only if it is wanted."""


class Stream:
    """One running recording: owns the recurrent state, and answers at every step.

    Several threads may push to streams of one model at once, to one stream one after the other.

    Args:
        model: the recogniser; many streams may share it.
        policy: what becomes of the state in a long recording.

    Raises:
        ConfigError: the model's sampling needs the whole clip.
    """

    def __init__(self, model: Recognizer, policy: StatePolicy = KEEP) -> None:
        self.model = model
        self.policy = with_period(policy, model.clip_seconds)
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if no frame had been pushed."""
        self._steps = StreamSteps(FramePicker(self.model.config.sampling))
        self.pts_seconds: NDArray[np.float64] = np.empty(0)
        """(n,), the times of the frames behind the last push's scores."""

    def push(
        self,
        frames: Pixels | LazyFrame | Sequence[LazyFrame],
        pts_seconds: float | Sequence[float] | NDArray[np.float64],
    ) -> Scores:
        """Take one or many frames; those that the sampling wants make steps.

        Args:
            frames: RGB uint8 of any size, (H, W, 3) or (n, H, W, 3); or a function, or
                several, that gives a frame, called later and only if the frame is wanted.
            pts_seconds: when it is shown, or (n,); never falling.

        Returns:
            The probabilities (m, K) after each step that is now known; m is often 0. The
            times of the steps are in `pts_seconds`.

        Raises:
            VideoError: the frames are no pictures, one that is wanted cannot be made, or their
                times fall. The stream is then where it was before the push, but that a frame of
                an earlier push that cannot be made is forgotten.
        """
        [scores] = advance([self], [_listed(frames, pts_seconds)])
        return scores

    def save(self, path: str | Path) -> None:
        """Write all that is remembered, whole or not at all; `restore` goes on from it.

        Raises:
            ModelError: the file cannot be written.
        """
        from actionrnn.model.stream_file import save_stream

        save_stream(self, as_path(path))

    def restore(self, path: str | Path) -> Stream:
        """Go on where a stream of the same model and policy was saved.

        Raises:
            ModelError: there is no such file, it is no stream, or one of another model.
        """
        from actionrnn.model.stream_file import restore_stream

        restore_stream(self, as_path(path))
        return self


class StreamBatch:
    """Several streams that share each call of the backbone and of the head.

    Each place is a stream of its own; one that joins takes a free place, or that of one that
    left, after `reset(place)`.

    Args:
        num_streams: places.
    """

    def __init__(self, model: Recognizer, num_streams: int, policy: StatePolicy = KEEP) -> None:
        if num_streams < 1:
            raise ValueError(f"num_streams ({num_streams}) must be > 0")
        self.streams = tuple(Stream(model, policy) for _ in range(num_streams))

    def push(
        self,
        frames: Sequence[Pixels | LazyFrame | None],
        pts_seconds: Sequence[float | NDArray[np.float64] | None],
    ) -> list[Scores]:
        """Take what each stream has now, or None; see `Stream.push`.

        Returns:
            For each place the probabilities (m, K) of its new steps.

        Raises:
            VideoError: as `Stream.push`; then no stream has moved on.
        """
        if not len(frames) == len(pts_seconds) == len(self.streams):
            raise ValueError(
                f"{len(frames)} frames and {len(pts_seconds)} times for {len(self.streams)} "
                "streams; give None where a stream has nothing"
            )
        given = [
            [] if pictures is None or times is None else _listed(pictures, times)
            for pictures, times in zip(frames, pts_seconds, strict=True)
        ]
        return advance(self.streams, given)

    def reset(self, place: int) -> None:
        """Free a place: the next frame pushed there begins a new recording."""
        self.streams[place].reset()


class Picture:
    """A frame whose square is cut when it is first needed."""

    def __init__(self, frame: Pixels | LazyFrame) -> None:
        self.frame: Pixels | LazyFrame | None = frame
        self._square: Pixels | None = None

    @classmethod
    def of_square(cls, square: Pixels) -> Picture:
        """A picture that is cut already."""
        picture = cls(square)
        picture._square, picture.frame = square, None
        return picture

    def square(self, cut: Callable[[Pixels], Pixels]) -> Pixels:
        """What the backbone sees, (crop, crop, 3).

        Raises:
            VideoError: it is no picture, or one that no square can be cut from.
        """
        if self._square is None:
            assert self.frame is not None
            frame = np.asarray(self.frame() if callable(self.frame) else self.frame)
            _require_pictures(frame, ndims=(3,))
            try:
                self._square = np.array(cut(frame), order="C")
            except ValueError as error:
                raise VideoError(f"a frame: {error}; use fit squash, or leave it out") from None
            self.frame = None
        return self._square

    def own(self) -> None:
        """Copy the pixels, which the caller may change after the push."""
        if isinstance(self.frame, np.ndarray):
            self.frame = self.frame.copy()


@dataclass
class StreamSteps:
    """All that a stream remembers."""

    picker: FramePicker[Picture]
    state: LongState = field(default_factory=LongState)
    last: Picture | None = None
    """Of the last step."""
    last_repeats: bool = False
    """Whether the step before showed the same picture."""
    last_features: NDArray[np.float32] | None = None
    """(D,)."""

    def copy(self) -> StreamSteps:
        """One that moves on while this one stays; what both hold is replaced, never changed."""
        return replace(self, picker=self.picker.copy(), state=replace(self.state))


@torch.inference_mode()
def advance(
    streams: Sequence[Stream], given: Sequence[list[tuple[Picture, float]]]
) -> list[Scores]:
    """Push to many streams of one model; one call of the backbone, and one of the head a step.

    All streams move on at the end, or none does.
    """
    model = streams[0].model
    memories = [stream._steps.copy() for stream in streams]
    for memory, pictures in zip(memories, given, strict=True):
        memory.picker.check(seconds for _, seconds in pictures)
    picked = [_pick(memory, pictures) for memory, pictures in zip(memories, given, strict=True)]
    logits: list[list[torch.Tensor]] = [[] for _ in streams]
    _cut(streams, picked)
    features = _encode(model.backbone, memories, picked)
    with _one_thread():
        for step in range(max(map(len, picked))):
            active = [place for place, steps in enumerate(picked) if step < len(steps)]
            rows = [
                prepare(
                    memories[place].state, streams[place].policy, model.head, picked[place][step][1]
                )
                for place in active
            ]
            now = [features[place][step] for place in active]
            moving = [memories[place] for place in active]
            for place, row in zip(active, _step(model, moving, rows, now), strict=True):
                logits[place].append(row)
    scores = [_probabilities(rows, len(model.labels)) for rows in logits]
    for stream, memory, steps in zip(streams, memories, picked, strict=True):
        stream._steps = memory
        stream.pts_seconds = np.array([seconds for _, seconds in steps], np.float64)
    return scores


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """For work so small that waking other threads for it takes longer than doing it."""
    before = set_own_threads(1)
    try:
        yield
    finally:
        set_own_threads(before, others=before)


def _listed(
    frames: Pixels | LazyFrame | Sequence[LazyFrame],
    pts_seconds: float | Sequence[float] | NDArray[np.float64],
) -> list[tuple[Picture, float]]:
    times = np.asarray(pts_seconds, np.float64)
    pictures: list[Picture]
    shape: tuple[int, ...]
    if callable(frames):
        pictures, shape = [Picture(frames)], ()
    elif isinstance(frames, Sequence) and all(map(callable, frames)):
        pictures, shape = [Picture(frame) for frame in frames], (len(frames),)
    else:
        pixels = np.asarray(frames)
        _require_pictures(pixels)
        shape = pixels.shape[:-3]
        pictures = [Picture(frame) for frame in pixels.reshape(-1, *pixels.shape[-3:])]
    if times.shape != shape:
        raise VideoError(f"{len(pictures)} frames {shape} need times {shape}, not {times.shape}")
    return list(zip(pictures, times.ravel().tolist(), strict=True))


def _require_pictures(frames: NDArray[np.uint8], ndims: tuple[int, ...] = (3, 4)) -> None:
    if frames.dtype != np.uint8 or frames.ndim not in ndims or frames.shape[-1] != 3:
        raise VideoError(
            f"frames must be RGB uint8 (H, W, 3) or (n, H, W, 3), got {frames.dtype} {frames.shape}"
        )
    if min(frames.shape[-3:-1]) == 0:
        raise VideoError(f"frames {frames.shape} have no pixels")


def _pick(
    memory: StreamSteps, pictures: list[tuple[Picture, float]]
) -> list[tuple[Picture, float]]:
    picker = memory.picker
    picked = [step for picture, seconds in pictures for step in picker.push(picture, seconds)]
    if picker.held is not None:
        picker.held.own()
    return picked


def _cut(streams: Sequence[Stream], picked: Sequence[list[tuple[Picture, float]]]) -> None:
    """Make all squares that will be needed, before anything else is done."""
    with _one_thread():
        for stream, steps in zip(streams, picked, strict=True):
            picker, cut = stream._steps.picker, stream.model.backbone.preprocessing.square
            for picture, _ in steps:
                try:
                    picture.square(cut)
                except Exception:
                    if picture is picker.held:  # or every push to come would fail of it
                        picker.held = None
                    raise


def _encode(
    backbone: Backbone,
    memories: Sequence[StreamSteps],
    picked: Sequence[list[tuple[Picture, float]]],
) -> list[list[NDArray[np.float32]]]:
    """The features (D,) of each step of each stream; a picture shown again is not encoded again."""
    preprocessing = backbone.preprocessing
    views: list[Pixels] = []
    places: list[
        list[int | None]
    ] = []  # of each step's features among the encoded; None: as before
    for memory, steps in zip(memories, picked, strict=True):
        mine: list[int | None] = []
        for picture, _ in steps:
            repeats = picture is memory.last
            # in motion, the first repetition is a change: to standing still
            if repeats and (preprocessing.streams == "appearance" or memory.last_repeats):
                mine.append(None)
            else:
                last, cut = memory.last, preprocessing.square
                previous = None if last is None else last.square(cut)
                mine.append(len(views))
                views.append(preprocessing.views(picture.square(cut)[None], previous))
            memory.last, memory.last_repeats = picture, repeats
        places.append(mine)
    encoded = backbone.encode(np.concatenate(views), padded=False) if views else None
    features = []
    for memory, mine in zip(memories, places, strict=True):
        row, rows = memory.last_features, []
        for place in mine:
            if place is not None:
                assert encoded is not None
                row = encoded[place]
            assert row is not None
            rows.append(row)
        memory.last_features = None if row is None else row.copy()
        features.append(rows)
    return features


def _step(
    model: Recognizer,
    memories: list[StreamSteps],
    rows: list[State],
    features: list[NDArray[np.float32]],
) -> list[torch.Tensor]:
    """One step for all rows of some streams; the answer (K,) of each stream."""
    sizes = [len(state["steps"]) for state in rows]
    inputs = np.repeat(np.stack(features), sizes, axis=0)
    joined = {name: torch.cat([state[name] for state in rows]) for name in rows[0]}
    logits, new = model.head.step(torch.from_numpy(inputs).to(model.head.mean.device), joined)
    parts = {name: torch.split(value, sizes) for name, value in new.items()}
    for number, memory in enumerate(memories):
        # clones: a view would keep the whole batch alive
        memory.state.rows = {name: value[number].clone() for name, value in parts.items()}
    return [most_confident(part) for part in torch.split(logits, sizes)]


def _probabilities(logits: list[torch.Tensor], num_classes: int) -> Scores:
    if not logits:
        return np.empty((0, num_classes), np.float32)
    scores: Scores = torch.stack(logits).softmax(dim=-1).cpu().numpy()
    return scores
