"""Streams: frames go in one by one, scores come out, and what is kept never grows.

Each frame that the model's sampling wants is encoded once; the recurrent state carries the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from actionrnn.video.frame import Frame
from actionrnn.video.sampling import FrameSampler

if TYPE_CHECKING:
    from actionrnn.model.recognizer import Recognizer

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]


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
        self._steps = StreamSteps(FrameSampler(self.model.config.sampling))
        self.pts_seconds: NDArray[np.float64] = np.empty(0)
        """(n,), the times of the frames behind the last push's scores."""

    def push(self, frames: Frame | Iterable[Frame]) -> Scores:
        """Take one or many frames; those that the sampling wants make steps.

        Args:
            frames: of any size, their times never falling; `Frame.from_array` makes one of an
                array. The pixels are made only of frames that are wanted.

        Returns:
            The probabilities (m, K) after each step that is now known; m is often 0. The
            times of the steps are in `pts_seconds`.

        Raises:
            VideoError: a frame that is wanted cannot be made, or the times fall. The stream is
                then where it was before the push, but that a frame of an earlier push that
                cannot be made is forgotten.
            TypeError: something else than frames was given.
        """
        [scores] = advance([self], [_listed(frames)])
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

    def push(self, frames: Sequence[Frame | Iterable[Frame] | None]) -> list[Scores]:
        """Take what each stream has now: None, a frame, or several; see `Stream.push`.

        Returns:
            For each place the probabilities (m, K) of its new steps.

        Raises:
            VideoError, TypeError: as `Stream.push`; then no stream has moved on.
            ValueError: there is not one item for each place.
        """
        if len(frames) != len(self.streams):
            raise ValueError(
                f"{len(frames)} items for {len(self.streams)} streams; give None where a stream "
                "has nothing"
            )
        return advance(self.streams, [_listed(() if item is None else item) for item in frames])

    def reset(self, place: int) -> None:
        """Free a place: the next frame pushed there begins a new recording."""
        self.streams[place].reset()


@dataclass(eq=False)
class Square:
    """What the backbone sees of a frame, cut when it is first needed; the frame is then let go."""

    frame: Frame | None = None
    pixels: Pixels | None = None
    """(crop, crop, 3)."""

    def cut(self, cut: Callable[[Pixels], Pixels]) -> Pixels:
        """The pixels, (crop, crop, 3).

        Raises:
            VideoError: the frame cannot be made, or no square can be cut from it.
        """
        if self.pixels is None:
            assert self.frame is not None
            rgb = self.frame.rgb
            try:
                self.pixels = np.array(cut(rgb), order="C")
            except ValueError as error:
                raise VideoError(f"a frame: {error}; use fit squash, or leave it out") from None
            self.frame = None
        return self.pixels

    def own(self) -> None:
        """Hold pixels that the caller cannot change after the push."""
        if self.frame is not None:
            self.frame = self.frame.copy()


@dataclass
class StreamSteps:
    """All that a stream remembers."""

    sampler: FrameSampler[Square]
    state: LongState = field(default_factory=LongState)
    last: Square | None = None
    """Of the last step."""
    last_repeats: bool = False
    """Whether the step before showed the same frame."""
    last_features: NDArray[np.float32] | None = None
    """(D,)."""

    def copy(self) -> StreamSteps:
        """One that moves on while this one stays; what both hold is replaced, never changed."""
        return replace(self, sampler=self.sampler.copy(), state=replace(self.state))


@torch.inference_mode()
def advance(streams: Sequence[Stream], given: Sequence[list[tuple[Square, float]]]) -> list[Scores]:
    """Push to many streams of one model; one call of the backbone, and one of the head a step.

    All streams move on at the end, or none does.
    """
    model = streams[0].model
    memories = [stream._steps.copy() for stream in streams]
    for memory, squares in zip(memories, given, strict=True):
        memory.sampler.check(seconds for _, seconds in squares)
    picked = [_pick(memory, squares) for memory, squares in zip(memories, given, strict=True)]
    logits: list[list[torch.Tensor]] = [[] for _ in streams]
    _cut(streams, picked)
    for memory, squares in zip(memories, given, strict=True):
        if squares and memory.sampler.held is not None:
            memory.sampler.held.own()
    features = _encode(model.backbone, memories, picked)
    with _one_thread():
        for step in range(max(map(len, picked))):
            active = [place for place, steps in enumerate(picked) if step < len(steps)]
            rows = [
                _rows_for(streams[place], memories[place], *picked[place][step]) for place in active
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


def _listed(frames: Frame | Iterable[Frame]) -> list[tuple[Square, float]]:
    found = []
    for frame in [frames] if isinstance(frames, Frame) else frames:
        if not isinstance(frame, Frame):
            raise TypeError(
                f"push takes frames, not {type(frame).__name__}; make one of an array with "
                "Frame.from_array(rgb, pts_seconds)"
            )
        found.append((Square(frame), float(frame.pts_seconds)))
    return found


def _pick(memory: StreamSteps, squares: list[tuple[Square, float]]) -> list[tuple[Square, float]]:
    return [step for square, seconds in squares for step in memory.sampler.push(square, seconds)]


def _cut(streams: Sequence[Stream], picked: Sequence[list[tuple[Square, float]]]) -> None:
    """Make all squares that will be needed, before anything else is done."""
    with _one_thread():
        for stream, steps in zip(streams, picked, strict=True):
            sampler, cut = stream._steps.sampler, stream.model.backbone.preprocessing.square
            for square, _ in steps:
                try:
                    square.cut(cut)
                except Exception:
                    if square is sampler.held:  # or every push to come would fail of it
                        sampler.held = None
                    raise


def _encode(
    backbone: Backbone,
    memories: Sequence[StreamSteps],
    picked: Sequence[list[tuple[Square, float]]],
) -> list[list[NDArray[np.float32]]]:
    """The features (D,) of each step of each stream; a frame shown again is not encoded again."""
    preprocessing = backbone.preprocessing
    views: list[Pixels] = []
    places: list[
        list[int | None]
    ] = []  # of each step's features among the encoded; None: as before
    for memory, steps in zip(memories, picked, strict=True):
        mine: list[int | None] = []
        for square, _ in steps:
            repeats = square is memory.last
            # in motion, the first repetition is a change: to standing still
            if repeats and (preprocessing.streams == "appearance" or memory.last_repeats):
                mine.append(None)
            else:
                last, cut = memory.last, preprocessing.square
                previous = None if last is None else last.cut(cut)
                mine.append(len(views))
                views.append(preprocessing.views(square.cut(cut)[None], previous))
            memory.last, memory.last_repeats = square, repeats
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


def _rows_for(stream: Stream, memory: StreamSteps, square: Square, pts_seconds: float) -> State:
    model = stream.model
    pixels = square.cut(model.backbone.preprocessing.square)
    return prepare(memory.state, stream.policy, model.head, pts_seconds, pixels)


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
