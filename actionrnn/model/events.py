"""Scores become events: an action begins, an action ends, as soon as the scores show it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import ModelError
from actionrnn.options import EventRule

EventKind = Literal["begin", "end"]

_SLACK_SECONDS = 1e-6  # 0.7 - 0.4 is less than 0.3


@dataclass(frozen=True)
class Event:
    """An action of one label begins or ends."""

    kind: EventKind
    label: str
    pts_seconds: float
    """When it began or ended: the time of a step, by the video's clock."""
    score: float
    """The label's mean probability over the steps of this action that are known by now."""
    count: int
    """How many actions of this label began so far, this one included: its number."""
    duration_seconds: float | None = None
    """Of an end: how long the action lasted."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        described = {
            "event": self.kind,
            "label": self.label,
            "seconds": round(self.pts_seconds, 6),
            "score": round(self.score, 6),
            "count": self.count,
        }
        if self.duration_seconds is not None:
            described["duration_seconds"] = round(self.duration_seconds, 6)
        return described


@dataclass
class _Memory:
    """Of each label what must be remembered, (K,) each."""

    counts: NDArray[np.int64]
    """Its actions that were reported."""
    is_on: NDArray[np.bool_]
    """Whether one goes on now; the rest is of that one."""
    is_reported: NDArray[np.bool_]
    begun_seconds: NDArray[np.float64]
    score_sums: NDArray[np.float64]
    num_steps: NDArray[np.int64]

    @classmethod
    def of_none(cls, num_labels: int) -> _Memory:
        """Before the first step."""
        whole, no, real = (np.zeros(num_labels, kind) for kind in (np.int64, bool, np.float64))
        return cls(whole, no, no.copy(), real, real.copy(), whole.copy())


class EventDetector:
    """Takes the scores of one recording step by step, and says what began and what ended.

    Each label is followed alone: several actions may go on at once, and the scores of a step need
    not sum to 1. Pushed in any pieces, the same scores give the same events. What is remembered
    does not grow.

    Args:
        labels: of the model.
        rule: the thresholds; None: the default rule.
        ignored: labels that are no actions, such as the background; names that the model does
            not have change nothing.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        rule: EventRule | None = None,
        ignored: Collection[str] = (),
    ) -> None:
        self.labels, self.rule = labels, rule or EventRule()
        self._watched = np.array([label not in ignored for label in labels], bool)  # (K,)
        self._memory = _Memory.of_none(len(labels))
        self._last_seconds: float | None = None
        self._step_seconds = 0.0

    def push(
        self,
        scores: NDArray[np.float32],
        pts_seconds: NDArray[np.float64],
        is_none: NDArray[np.bool_] | None = None,
    ) -> list[Event]:
        """Take the scores of the next steps; what `Stream.push` gives fits, no step as well.

        Args:
            scores: probabilities, (n, K), in the order of the labels.
            pts_seconds: (n,), never falling; of a model with a delay the times of the steps that
                are answered.
            is_none: (n,), steps that look like none of the labels: there nothing begins. What goes
                on ends by its scores alone; None: no step does.

        Returns:
            The events that are known by now, in the order in which they became known.
        """
        none = np.zeros(len(scores), bool) if is_none is None else is_none
        steps = zip(pts_seconds.tolist(), scores.astype(np.float64), none.tolist(), strict=True)
        return [event for step in steps for event in self._step(*step)]

    def close(self, end_seconds: float | None = None) -> list[Event]:
        """The recording has ended, and so has what is going on; the counts stay.

        What is pushed next is of a new recording.

        Args:
            end_seconds: when it ended; None: the last step is as long as the one before it.
        """
        if self._last_seconds is None:
            return []
        if end_seconds is None:
            end_seconds = self._last_seconds + self._step_seconds
        events = self._until(end_seconds, self._memory.is_on.copy())
        self._last_seconds, self._step_seconds = None, 0.0
        return events

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered, as JSON can hold it; keep it beside `Stream.save`."""
        memory = {name: values.tolist() for name, values in vars(self._memory).items()}
        clock = {"last_seconds": self._last_seconds, "step_seconds": self._step_seconds}
        return self._identity() | memory | clock

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the detector of `state_dict` was; if it is refused, nothing has changed.

        Raises:
            ModelError: it had other labels, another rule, or ignored other labels.
            KeyError, TypeError, ValueError: it is damaged.
        """
        for name, own in self._identity().items():
            if state[name] != own:
                raise ModelError(
                    f"the events were saved with {name} {state[name]}, wanted is {own}; restore "
                    "them into a detector of the same model and rule"
                )
        saved = {name: np.array(state[name], own.dtype) for name, own in vars(self._memory).items()}
        if wrong := [name for name, values in saved.items() if values.shape != (len(self.labels),)]:
            raise ValueError(f"the shape of {', '.join(wrong)}")
        last, step_seconds = state["last_seconds"], float(state["step_seconds"])
        self._last_seconds = None if last is None else float(last)
        self._memory, self._step_seconds = _Memory(**saved), step_seconds

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a state to mean the same, as JSON gives it back."""
        ignored = [n for n, watched in zip(self.labels, self._watched, strict=True) if not watched]
        return {"labels": list(self.labels), "rule": asdict(self.rule), "ignored": ignored}

    def _step(self, seconds: float, scores: NDArray[np.float64], is_none: bool) -> list[Event]:
        """The events that one step makes known, of the scores (K,)."""
        memory = self._memory
        events = self._until(seconds, memory.is_on & (scores < self.rule.end_threshold))
        begins = self._watched & ~memory.is_on & (scores >= self.rule.begin_threshold)
        begins &= not is_none
        memory.is_on |= begins
        memory.begun_seconds[begins] = seconds
        memory.score_sums[begins], memory.num_steps[begins] = 0.0, 0
        memory.score_sums[memory.is_on] += scores[memory.is_on]
        memory.num_steps += memory.is_on
        if self._last_seconds is not None:
            self._step_seconds = seconds - self._last_seconds
        self._last_seconds = seconds
        return events + self._known_begins(seconds)  # without min_seconds those of this step

    def _until(self, seconds: float, ends: NDArray[np.bool_]) -> list[Event]:
        """What is on has lasted until now, and ends here where `ends` (K,) says so."""
        memory = self._memory
        events = self._known_begins(seconds)
        events += [self._event("end", which, seconds) for which in _each(ends & memory.is_reported)]
        memory.is_on &= ~ends
        memory.is_reported &= ~ends
        return events

    def _known_begins(self, seconds: float) -> list[Event]:
        """The begins not yet reported of what has lasted long enough by now."""
        memory = self._memory
        lasted = seconds - memory.begun_seconds >= self.rule.min_seconds - _SLACK_SECONDS
        known = memory.is_on & ~memory.is_reported & lasted
        memory.counts += known
        memory.is_reported |= known
        return [self._event("begin", which, seconds) for which in _each(known)]

    def _event(self, kind: EventKind, which: int, seconds: float) -> Event:
        memory = self._memory
        begun_seconds = float(memory.begun_seconds[which])
        is_end = kind == "end"
        return Event(
            kind=kind,
            label=self.labels[which],
            pts_seconds=seconds if is_end else begun_seconds,
            score=float(memory.score_sums[which] / memory.num_steps[which]),
            count=int(memory.counts[which]),
            duration_seconds=seconds - begun_seconds if is_end else None,
        )


def find_events(
    labels: tuple[str, ...],
    scores: NDArray[np.float32],
    pts_seconds: NDArray[np.float64],
    rule: EventRule | None = None,
    ignored: Collection[str] = (),
    is_none: NDArray[np.bool_] | None = None,
    end_seconds: float | None = None,
) -> list[Event]:
    """The events of a whole recording: those that a stream of it gives, to its end.

    Args:
        labels: of the model.
        scores: probabilities, (T, K), in the order of `labels`.
        pts_seconds: (T,), never falling.
        rule: the thresholds; None: the default rule.
        ignored: labels that are no actions.
        is_none: see `EventDetector.push`.
        end_seconds: see `EventDetector.close`.
    """
    detector = EventDetector(labels, rule, ignored)
    return detector.push(scores, pts_seconds, is_none) + detector.close(end_seconds)


def event_lanes(
    scores: NDArray[np.float32], pts_seconds: NDArray[np.float64], rule: EventRule | None = None
) -> NDArray[np.bool_]:
    """Whether an event of each label goes on at each step, (T, K), as `find_events` says it.

    An event lasts from the step of its begin to the one before its end. For many rules this is
    faster.

    Args:
        scores: probabilities, (T, K).
        pts_seconds: (T,), never falling.
        rule: the thresholds; None: the default rule.
    """
    rule = rule or EventRule()
    exact = scores.astype(np.float64)  # as a detector compares them
    steps = np.arange(len(exact))[:, None]
    begun, ended = (
        np.maximum.accumulate(np.where(crossed, steps, -1), axis=0)
        for crossed in (exact >= rule.begin_threshold, exact < rule.end_threshold)
    )
    lanes: NDArray[np.bool_] = begun > ended
    if rule.min_seconds > 0 and len(lanes):
        last_seconds = pts_seconds[-1] - pts_seconds[-2] if len(lanes) > 1 else 0.0
        edges = np.append(pts_seconds, pts_seconds[-1] + last_seconds)
        for lane in lanes.T:  # a view each
            bounds = np.flatnonzero(np.diff(lane, prepend=False, append=False)).reshape(-1, 2)
            for first, stop in bounds.tolist():
                if edges[stop] - edges[first] < rule.min_seconds - _SLACK_SECONDS:
                    lane[first:stop] = False
    return lanes


def _each(chosen: NDArray[np.bool_]) -> list[int]:
    found: list[int] = np.flatnonzero(chosen).tolist()
    return found
