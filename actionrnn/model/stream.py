"""Streams: frames go in one by one, scores come out, and what is kept never grows.

Each frame that the model's sampling wants is encoded once; the recurrent state carries the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn.config import Sampling, StatePolicy
from actionrnn.errors import ModelError, VideoError
from actionrnn.features.backbone import Backbone, set_own_threads
from actionrnn.features.provenance import Provenance
from actionrnn.files import as_path
from actionrnn.model.heads import Head, State
from actionrnn.model.state_policy import KEEP, LongState, most_confident, prepare
from actionrnn.tensor_file import read_description, read_tensors, write_tensors
from actionrnn.video.frame import Frame
from actionrnn.video.sampling import FrameSampler, SamplerState

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]

FILE_FORMAT = "actionrnn stream"


class Stream:
    """One running recording: owns the recurrent state, and answers at every step.

    Several threads may push to streams of one model at once, to one stream one after the other.

    Args:
        backbone: encodes the frames; many streams may share it, and so the head.
        head: for the backbone's features.
        sampling: which of the frames make steps.
        policy: what becomes of the state in a long recording; one that restarts has its
            `period_seconds` (`Recognizer.stream` takes it from the training's clips).

    Raises:
        ConfigError: the sampling needs the whole clip.
        ValueError: the policy restarts and has no period.
    """

    def __init__(
        self, backbone: Backbone, head: Head, sampling: Sampling, policy: StatePolicy = KEEP
    ) -> None:
        if policy.kind == "restart" and policy.period_seconds is None:
            raise ValueError("a policy that restarts needs its period_seconds")
        self.backbone, self.head = backbone, head
        self.sampling, self.policy = sampling, policy
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if no frame had been pushed."""
        self._steps = StreamSteps(FrameSampler(self.sampling))
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
        """Write `state_dict` as one safetensors file, whole or not at all.

        Raises:
            ModelError: the file cannot be written.
        """
        state = self.state_dict()
        tensors = {name: v for name, v in state.items() if isinstance(v, torch.Tensor)}
        plain = {"format": FILE_FORMAT} | {k: v for k, v in state.items() if k not in tensors}
        try:
            write_tensors(as_path(path), tensors, {"stream": plain})
        except OSError as error:
            raise ModelError(f"{path}: cannot be written ({error.strerror})") from None

    def restore(self, path: str | Path) -> Stream:
        """Continue where a stream of the same model and policy was saved.

        Raises:
            ModelError: the file is missing, not a stream, or one of another model.
        """
        file = as_path(path)
        if not file.is_file():
            raise ModelError(f"{path}: no such stream file; write one with Stream.save")
        try:
            plain = read_description(file, "stream")
            if plain["format"] != FILE_FORMAT:
                raise KeyError("format")
            self.load_state_dict(plain | read_tensors(file))
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        except (OSError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise ModelError(f"{path}: is not a whole stream file ({error})") from None
        return self

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered: tensors, and values that JSON can hold.

        The same in size after a second and after a day; `save` writes it.
        """
        memory, cut = self._steps, self.backbone.preprocessing.square
        last, held = memory.last, memory.sampler.held
        arrays = {
            "picture.held": None if held is None or held is last else held.cut(cut),
            "picture.last": None if last is None else last.cut(cut),
            "features.last": memory.last_features,
        }
        rows = memory.state.rows or {}
        return {
            **{name: torch.from_numpy(v) for name, v in arrays.items() if v is not None},
            **{f"state.{name}": value for name, value in rows.items()},
            "identity": self._identity(),
            "clock": {  # JSON has no infinity
                name: None if value in (np.inf, -np.inf) else value
                for name, value in asdict(memory.sampler.state).items()
            },
            "births": memory.state.births,
            "held_is_last": held is last,
            "last_repeats": memory.last_repeats,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the stream of `state_dict` was; if it is refused, nothing has changed.

        Raises:
            ModelError: it is that of another backbone, head, sampling or policy.
            KeyError, TypeError, ValueError: it is damaged.
        """
        saved, own = dict(state["identity"]), self._identity()
        head, policy = saved.pop("head_sha256"), _without_cuts(saved.pop("policy"))
        difference = Provenance.from_json(saved).difference(self.provenance)
        if not difference and head != own["head_sha256"]:
            difference = f"head_sha256 {head}, wanted is {own['head_sha256']}"
        if not difference and policy != own["policy"]:
            difference = f"policy {policy}, wanted is {own['policy']}"
        if difference:
            raise ModelError(
                f"was saved with {difference}; restore it into a stream of the same model and "
                "policy"
            )
        steps = _rebuilt(state, self.sampling, self.head.mean.device)
        self.reset()
        self._steps = steps

    @property
    def provenance(self) -> Provenance:
        """Of the features that the steps are made of."""
        return Provenance.of(self.backbone, self.sampling).for_head()

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a state to mean the same, as JSON gives it back."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.head.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)};".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        own = {"head_sha256": digest.hexdigest(), "policy": asdict(self.policy)}
        return self.provenance.to_json() | own


class StreamBatch:
    """Several streams that share each call of the backbone and of the head.

    Each place is one stream; one that joins takes a free place, or that of one that
    left, after `reset(place)`.

    Args:
        streams: of one backbone and one head; a place each.

    Raises:
        ValueError: no stream is given.
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        if not streams:
            raise ValueError("a batch needs at least one stream")
        self.streams = tuple(streams)

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
                raise VideoError(
                    f"a frame: {error}; use resize_mode squash, or leave it out"
                ) from None
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
    backbone, head = streams[0].backbone, streams[0].head
    memories = [stream._steps.copy() for stream in streams]
    for memory, squares in zip(memories, given, strict=True):
        memory.sampler.check(seconds for _, seconds in squares)
    picked = [_pick(memory, squares) for memory, squares in zip(memories, given, strict=True)]
    logits: list[list[torch.Tensor]] = [[] for _ in streams]
    _cut(streams, picked)
    for memory, squares in zip(memories, given, strict=True):
        if squares and memory.sampler.held is not None:
            memory.sampler.held.own()
    features = _encode(backbone, memories, picked)
    with _one_thread():
        for step in range(max(map(len, picked))):
            active = [place for place, steps in enumerate(picked) if step < len(steps)]
            rows = [
                prepare(memories[place].state, streams[place].policy, head, picked[place][step][1])
                for place in active
            ]
            now = [features[place][step] for place in active]
            moving = [memories[place] for place in active]
            for place, row in zip(active, _step(head, moving, rows, now), strict=True):
                logits[place].append(row)
    scores = [_probabilities(rows, head.num_classes) for rows in logits]
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
            sampler, cut = stream._steps.sampler, stream.backbone.preprocessing.square
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
            if repeats and (preprocessing.modality == "rgb" or memory.last_repeats):
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


def _step(
    head: Head,
    memories: list[StreamSteps],
    rows: list[State],
    features: list[NDArray[np.float32]],
) -> list[torch.Tensor]:
    """One step for all rows of some streams; the answer (K,) of each stream."""
    sizes = [len(state["steps"]) for state in rows]
    inputs = np.repeat(np.stack(features), sizes, axis=0)
    joined = {name: torch.cat([state[name] for state in rows]) for name in rows[0]}
    logits, new = head.step(torch.from_numpy(inputs).to(head.mean.device), joined)
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


def _rebuilt(state: dict[str, Any], sampling: Sampling, device: torch.device) -> StreamSteps:
    """What a stream remembered, from `Stream.state_dict`."""
    arrays = {name: value.numpy() for name, value in state.items() if name.endswith(".last")}
    last = _square(state.get("picture.last"))
    sampler: FrameSampler[Square] = FrameSampler(sampling)
    clock = state["clock"]
    first, held = clock["first_seconds"], clock["held_seconds"]
    sampler.restore(
        SamplerState(
            first_seconds=None if first is None else _seconds(first),
            next_tick=int(clock["next_tick"]),
            held_seconds=-np.inf if held is None else _seconds(held),
        )
    )
    sampler.held = last if state["held_is_last"] else _square(state.get("picture.held"))
    rows = {
        name.removeprefix("state."): value.to(device)
        for name, value in state.items()
        if name.startswith("state.")
    }
    if "summary" in rows:  # of version 0.1
        rows["pooled"] = rows.pop("summary")
    births = [_seconds(birth) for birth in state["births"]]
    memory = LongState(rows=rows or None, births=births)
    repeats = bool(state["last_repeats"])
    return StreamSteps(sampler, memory, last, repeats, arrays.get("features.last"))


def _without_cuts(policy: dict[str, Any]) -> dict[str, Any]:
    """Version 0.1 could begin anew at cuts; a stream that did not has the state of today."""
    policy = dict(policy)
    if policy.get("reset_at_cuts") is False:
        del policy["reset_at_cuts"], policy["cut_threshold"]
    return policy


def _square(pixels: torch.Tensor | None) -> Square | None:
    return None if pixels is None else Square(pixels=pixels.numpy())


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not np.isfinite(seconds):
        raise ValueError(f"{value} is not a time")
    return seconds
