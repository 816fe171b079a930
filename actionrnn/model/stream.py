"""Streams: frames are pushed one by one, scores are returned, and the memory never grows.

Each frame that the model's sampling wants is encoded once; the recurrent state, kept from the first
step on, carries the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import ModelError
from actionrnn.features.backbone import Backbone
from actionrnn.features.provenance import Provenance
from actionrnn.files import as_path
from actionrnn.model.scoring import Logits, Readouts, last_answers, num_known, step_together
from actionrnn.model.stream_memory import Square, StreamMemory, rebuilt, require_kept, saved
from actionrnn.model.trained_head import TrainedHead
from actionrnn.tensor_file import read_description, read_tensors, write_tensors
from actionrnn.video.frame import Frame
from actionrnn.video.sampling import FrameSampler

Step = tuple[Square, float]
"""What the backbone sees of a frame, and the frame's time in seconds."""
Scores = NDArray[np.float32]

FILE_FORMAT = "actionrnn stream"


class Stream:
    """One running recording: owns the recurrent state, and answers at every step.

    Several threads may push to streams of one model at once, to one stream one after the other.

    Args:
        backbone: encodes the frames; many streams may share it, and so the head.
        head: for the backbone's features.
        sampling: which of the frames make steps.

    Raises:
        ConfigError: the sampling needs the whole clip.
    """

    def __init__(self, backbone: Backbone, head: TrainedHead, sampling: Sampling) -> None:
        self.backbone, self.head, self.sampling = backbone, head, sampling
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if no frame had been pushed."""
        start = self.head.initial_state()
        self._memory = StreamMemory(FrameSampler(self.sampling), start)
        self.pts_seconds: NDArray[np.float64] = np.empty(0)
        """(m,), the times of the frames that the last push's scores are for."""
        self.so_far: Scores = np.empty((0, self.head.num_classes), np.float32)
        """(m, K), beside the last push's scores: the probabilities of the recording so far."""

    def push(self, frames: Frame | Iterable[Frame]) -> Scores:
        """Take one or many frames; those that the sampling wants make steps.

        Args:
            frames: of any size, their times never falling; `Frame.from_array` makes one of an
                array. The pixels are made only of frames that are wanted.

        Returns:
            The probabilities (m, K) of what happens at each step whose answer is now known; m
            is often 0. The times of these steps are in `pts_seconds`, and what is said of the
            whole recording up to each of them in `so_far`. With `head.delay_steps` they are that
            many steps before the newest; `finish` gives the rest.

        Raises:
            VideoError: a frame that is wanted cannot be made, or the times fall. The stream is
                then where it was before the push, but that a frame of an earlier push that
                cannot be made is forgotten.
            TypeError: something else than frames was given.
        """
        [scores] = advance([self], [_listed(frames)])
        return scores

    def finish(self) -> Scores:
        """The recording has ended: answer for the steps that wait; then begin anew, as `reset`.

        Returns:
            The probabilities (m, K) for the last `head.delay_steps` steps, or for all if there
            were fewer: none without a delay. `pts_seconds` and `so_far` are those beside them.
        """
        memory = self._memory
        logits = last_answers(self.head, memory.state, len(memory.unanswered))
        found = Readouts.of(logits, self.head)
        self.reset()
        self.pts_seconds = np.array(memory.unanswered, np.float64)
        self.so_far = found.so_far
        return found.now

    def save(self, path: str | Path) -> None:
        """Write `state_dict` as one safetensors file, whole or not at all.

        Raises:
            ModelError: the file cannot be written.
        """
        state = self.state_dict()
        tensors = {name: v for name, v in state.items() if isinstance(v, np.ndarray)}
        plain = {"format": FILE_FORMAT} | {k: v for k, v in state.items() if k not in tensors}
        try:
            write_tensors(as_path(path), tensors, {"stream": plain})
        except OSError as error:
            raise ModelError(f"{path}: cannot be written ({error.strerror})") from None

    def restore(self, path: str | Path) -> Stream:
        """Continue where a stream of the same model was saved.

        Raises:
            ModelError: the file does not exist, is not a stream, or is that of another model.
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
        """All that is remembered: arrays, and values that JSON can hold.

        The same in size after a second and after a day; `save` writes it.
        """
        return saved(self._memory, self.backbone.preprocessing) | {"identity": self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the stream of `state_dict` was; if it is refused, nothing has changed.

        Raises:
            ModelError: it is that of another backbone, head or sampling, or of a version whose
                streams restarted their state or let it fade.
            KeyError, TypeError, ValueError: it is damaged.
        """
        given, own = dict(state["identity"]), self._identity()
        head, policy = given.pop("head_sha256"), given.pop("policy", None)
        difference = Provenance.from_json(given).difference(self.provenance)
        if not difference and head != own["head_sha256"]:
            difference = f"head_sha256 {head}, wanted is {own['head_sha256']}"
        if difference:
            raise ModelError(
                f"was saved with {difference}; restore it into a stream of the same model"
            )
        require_kept(policy)
        memory = rebuilt(state, self.sampling, self.head)
        self.reset()
        self._memory = memory

    @property
    def provenance(self) -> Provenance:
        """Of the features that the steps are made of."""
        return Provenance.of(self.backbone, self.sampling).for_head()

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a state to mean the same, as JSON gives it back."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.head.tensors.items()):
            digest.update(f"{name} {tensor.shape};".encode())
            digest.update(tensor.tobytes())
        if self.head.delay_steps:  # it has no tensor of its own
            digest.update(f"delay_steps {self.head.delay_steps};".encode())
        if self.head.config.multi_label:  # nor has this
            digest.update(b"multi_label;")
        return self.provenance.to_json() | {"head_sha256": digest.hexdigest()}


class StreamBatch:
    """Several streams that share each call of the backbone and of the head.

    A recording that joins takes a stream that is not used yet, or, after `reset`, that of a
    recording that has ended.

    Args:
        streams: of one backbone and one head.

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
            For each stream the probabilities (m, K) of its new steps.

        Raises:
            VideoError, TypeError: as `Stream.push`; then no stream has advanced.
            ValueError: there is not one item for each stream.
        """
        if len(frames) != len(self.streams):
            raise ValueError(
                f"{len(frames)} items for {len(self.streams)} streams; give None where a stream "
                "has nothing"
            )
        return advance(self.streams, [_listed(() if item is None else item) for item in frames])

    def reset(self, index: int) -> None:
        """The next frame pushed to this stream begins a new recording.

        With `head.delay_steps`, `streams[index].finish()` does so too, and gives the answers that
        wait.
        """
        self.streams[index].reset()


def advance(streams: Sequence[Stream], given: Sequence[list[Step]]) -> list[Scores]:
    """Push to many streams of one model; one call of the backbone, and one of the head a step.

    Either all streams advance, or none does.
    """
    backbone, head = streams[0].backbone, streams[0].head
    # everything is done on copies, so that a push that fails anywhere can be made again
    memories = [stream._memory.copy() for stream in streams]
    for memory, pushed in zip(memories, given, strict=True):
        memory.sampler.check(seconds for _, seconds in pushed)
    steps = [_sample(memory, pushed) for memory, pushed in zip(memories, given, strict=True)]
    if any(steps):
        _cut_squares(streams, steps)
    for memory, pushed in zip(memories, given, strict=True):
        if pushed and memory.sampler.held is not None:  # the caller may use its buffer again
            memory.sampler.held.own()
    logits: list[list[Logits]] = [[] for _ in streams]
    if any(steps):  # most frames of a live source make none, and must cost nothing
        features = _encode(backbone, memories, steps)
        # streams differ in their number of new steps: those with an n-th make it together
        for step in range(max(map(len, steps))):
            active = [row for row, mine in enumerate(steps) if step < len(mine)]
            answers = step_together(
                head,
                [memories[row].state for row in active],
                np.stack([features[row][step] for row in active]),
            )
            for row, (now, state) in zip(active, answers, strict=True):
                memories[row].state = state
                logits[row].append((now, state["so_far"][0]))
    known = [
        num_known(head, len(memory.unanswered), len(mine))
        for memory, mine in zip(memories, steps, strict=True)
    ]
    found = [
        Readouts.of(rows[len(rows) - count :], head)
        for rows, count in zip(logits, known, strict=True)
    ]
    for row, (stream, memory) in enumerate(zip(streams, memories, strict=True)):
        times = *memory.unanswered, *(seconds for _, seconds in steps[row])
        memory.unanswered = times[known[row] :]
        stream._memory = memory
        stream.pts_seconds = np.array(times[: known[row]], np.float64)
        stream.so_far = found[row].so_far
    return [readouts.now for readouts in found]


def _listed(frames: Frame | Iterable[Frame]) -> list[Step]:
    found = []
    for frame in [frames] if isinstance(frames, Frame) else frames:
        if not isinstance(frame, Frame):
            raise TypeError(
                f"push takes frames, not {type(frame).__name__}; make one of an array with "
                "Frame.from_array(rgb, pts_seconds)"
            )
        found.append((Square(frame), float(frame.pts_seconds)))
    return found


def _sample(memory: StreamMemory, pushed: list[Step]) -> list[Step]:
    return [step for square, seconds in pushed for step in memory.sampler.push(square, seconds)]


def _cut_squares(streams: Sequence[Stream], steps: Sequence[list[Step]]) -> None:
    """Make all squares that will be needed, before anything else is done."""
    for stream, mine in zip(streams, steps, strict=True):
        sampler = stream._memory.sampler
        for square, _ in mine:
            try:
                square.cut(stream.backbone.preprocessing)
            except Exception:
                # held since an earlier push, it would make every push to come fail
                if square is sampler.held:
                    sampler.held = None
                raise


def _encode(
    backbone: Backbone, memories: Sequence[StreamMemory], steps: Sequence[list[Step]]
) -> list[list[NDArray[np.float32]]]:
    """The features (D,) of each step of each stream."""
    views = [
        [memory.views(square, backbone.preprocessing) for square, _ in mine]
        for memory, mine in zip(memories, steps, strict=True)
    ]
    new = [view for mine in views for view in mine if view is not None]
    encoded = iter(backbone.encode(np.concatenate(new), padded=False) if new else ())
    features = []
    for memory, mine in zip(memories, views, strict=True):
        rows = []
        for view in mine:
            if view is not None:
                # a copy: what is remembered must not keep the whole batch alive
                memory.last_features = next(encoded).copy()
            assert memory.last_features is not None
            rows.append(memory.last_features)
        features.append(rows)
    return features
