"""All that a stream remembers between two pushes, and how it is saved."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import ModelError
from actionrnn.features.preprocess import Preprocessing
from actionrnn.model.trained_head import State, TrainedHead
from actionrnn.video.frame import Frame
from actionrnn.video.sampling import FrameSampler, SamplerState

Pixels = NDArray[np.uint8]


@dataclass(eq=False)
class Square:
    """What the backbone sees of a frame, cut when it is first needed; the frame is then let go."""

    frame: Frame | None = None
    pixels: Pixels | None = None
    """(crop, crop, 3)."""

    def cut(self, preprocessing: Preprocessing) -> Pixels:
        """The pixels, (crop, crop, 3).

        Raises:
            VideoError: the frame cannot be made, or no square can be cut from it.
        """
        if self.pixels is None:
            assert self.frame is not None
            self.pixels = np.array(preprocessing.square(self.frame.rgb), order="C")
            self.frame = None
        return self.pixels

    def own(self) -> None:
        """Hold pixels that the caller cannot change after the push."""
        if self.frame is not None:
            self.frame = self.frame.copy()


@dataclass
class StreamMemory:
    """All that a stream remembers."""

    sampler: FrameSampler[Square]
    state: State
    last: Square | None = None
    """Of the last step."""
    last_repeats: bool = False
    """Whether the step before showed the same frame."""
    last_features: NDArray[np.float32] | None = None
    """(D,)."""
    unanswered: tuple[float, ...] = ()
    """The times of the last steps, at most `head.delay_steps`, whose answers are not known yet."""

    def copy(self) -> StreamMemory:
        """One that moves on while this one stays; what both hold is replaced, never changed."""
        return replace(self, sampler=self.sampler.copy())

    def views(self, square: Square, preprocessing: Preprocessing) -> Pixels | None:
        """What is encoded for the next step, (num_views, crop, crop, 3).

        None: the step has the features of the one before, as it shows the same frame.
        """
        last, repeats = self.last, square is self.last
        # where changes are encoded, the first repetition is one: from moving to standing still
        is_known = repeats and (preprocessing.modality == "rgb" or self.last_repeats)
        self.last, self.last_repeats = square, repeats
        if is_known:
            return None
        previous = None if last is None else last.cut(preprocessing)
        return preprocessing.views(square.cut(preprocessing)[None], previous)


def saved(memory: StreamMemory, preprocessing: Preprocessing) -> dict[str, Any]:
    """What `rebuilt` makes it of again: arrays, and values that JSON can hold."""
    last, held = memory.last, memory.sampler.held
    arrays = {
        "picture.held": None if held is None or held is last else held.cut(preprocessing),
        "picture.last": None if last is None else last.cut(preprocessing),
        "features.last": memory.last_features,
    }
    return {
        **{name: v for name, v in arrays.items() if v is not None},
        **{f"state.{name}": value for name, value in memory.state.items()},
        "clock": {  # JSON has no infinity
            name: None if value in (np.inf, -np.inf) else value
            for name, value in asdict(memory.sampler.state).items()
        },
        "held_is_last": held is last,
        "last_repeats": memory.last_repeats,
        "unanswered_seconds": list(memory.unanswered),
    }


def rebuilt(state: dict[str, Any], sampling: Sampling, head: TrainedHead) -> StreamMemory:
    """What a stream remembered, from `Stream.state_dict`.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
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
    last, features = _square(state.get("picture.last")), state.get("features.last")
    sampler.held = last if state["held_is_last"] else _square(state.get("picture.held"))
    head_state = _head_state(state, head)
    return StreamMemory(
        sampler,
        head_state,
        last=last,
        last_repeats=bool(state["last_repeats"]),
        last_features=features,
        unanswered=_unanswered(state, head_state, head.delay_steps),
    )


def _unanswered(state: dict[str, Any], head_state: State, delay_steps: int) -> tuple[float, ...]:
    """The times of the steps that wait for their answers, from `Stream.state_dict`.

    Raises:
        ValueError: they are not as many as the delay leaves, or their times fall.
    """
    saved = state.get("unanswered_seconds", ())  # older streams had no delay
    times = tuple(map(_seconds, saved))
    expected = int(min(head_state["steps"].item(), delay_steps))
    if len(times) != expected or sorted(times) != list(times):
        raise ValueError(f"{list(times)} should be the times of {expected} steps")
    return times


def _head_state(state: dict[str, Any], head: TrainedHead) -> State:
    """The head's part of `Stream.state_dict`, for the head's device.

    Raises:
        KeyError, ValueError: a tensor of it is missing, or is not one of this head.
    """
    start = head.initial_state()
    saved = {n.removeprefix("state."): v for n, v in state.items() if n.startswith("state.")}
    if not saved and state["births"] == []:  # of version 0.1, before the first step
        return start
    if "summary" in saved:  # of version 0.1, which pooled the states, not their logits
        saved["so_far"] = head.linear(saved["summary"], "classifier.weight", "classifier.bias")
    if wrong := [name for name in start if saved[name].shape != start[name].shape]:
        raise ValueError(f"the shape of {', '.join(wrong)}")
    return {name: saved[name].astype(value.dtype) for name, value in start.items()}


def require_kept(policy: dict[str, Any] | None) -> None:
    """Refuse the state of an older stream that restarted it, or let it fade.

    Args:
        policy: of the saved stream; None: it was saved since all streams keep their state.

    Raises:
        ModelError: the state is not what has been kept since the first step.
    """
    if policy is None or (policy["kind"] == "keep" and not policy.get("reset_at_cuts")):
        return
    how = "restart at cuts" if policy["kind"] == "keep" else policy["kind"]
    raise ModelError(
        f"was saved with the state policy {how!r}, which is gone; begin a new stream: it keeps one "
        "state for the whole recording"
    )


def _square(pixels: Pixels | None) -> Square | None:
    return None if pixels is None else Square(pixels=pixels)


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not np.isfinite(seconds):
        raise ValueError(f"{value} is not a time")
    return seconds
