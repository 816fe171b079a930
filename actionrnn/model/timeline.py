"""What a model says of a video: step by step (`Timeline`), and as a whole (`Prediction`)."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.model.events import Event, find_events
from actionrnn.model.none_of_these import NoneOfThese
from actionrnn.model.segments import Segment, find_lane_segments, find_segments
from actionrnn.options import Clock, EventRule, SegmentRule
from actionrnn.text import printable


@dataclass(frozen=True)
class Prediction:
    """The answer for one clip."""

    labels: tuple[str, ...]
    """Best first."""
    scores: tuple[float, ...]
    """Their probabilities, summing to 1 over all classes; of a multi-label model, each that of its
    class alone."""
    pts_seconds: float
    """The time of the last frame that the answer rests on."""
    path: str = ""
    typicality: float | None = None
    """The part of held-out clips of the model's classes whose answers are at least as unusual: a
    low one says that the video shows none of these. None: the model does not know."""

    @property
    def label(self) -> str:
        """The best label."""
        return self.labels[0]

    def top(self, count: int) -> Prediction:
        """The same, with the best `count` labels only."""
        return replace(self, labels=self.labels[:count], scores=self.scores[:count])

    def is_none_of_these(self, none_rate: float) -> bool:
        """Whether the video looks like none of the classes.

        Args:
            none_rate: the part of clips of the classes of which this may be said wrongly.
        """
        return self.typicality is not None and self.typicality < none_rate

    def to_dict(self, none_rate: float | None = None) -> dict[str, Any]:
        """Plain JSON types; `typicality` where the model knows it.

        Args:
            none_rate: also say with `none_of_these` what `is_none_of_these` says at this rate.
        """
        known: dict[str, Any] = {}
        if self.typicality is not None:
            known["typicality"] = round(self.typicality, 6)
        if none_rate is not None:
            known["none_of_these"] = self.is_none_of_these(none_rate)
        return known | {
            "path": self.path,
            "label": self.label,
            "labels": list(self.labels),
            "scores": [round(score, 6) for score in self.scores],
            "pts_seconds": round(self.pts_seconds, 6),
        }

    def __str__(self) -> str:
        width = max(map(len, self.labels))
        rows = [
            f"  {label:<{width}}  {score:6.1%}  {'#' * round(30 * score)}".rstrip()
            for label, score in zip(self.labels, self.scores, strict=True)
        ]
        return "\n".join([printable(self.path or "prediction"), *rows])


@dataclass(frozen=True)
class Timeline:
    """What a model says at every step of a video: of that moment, and of the video so far."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    """Probabilities of now, (T, K), in the order of `labels`: what happens at each step."""
    so_far: NDArray[np.float32]
    """Probabilities of the whole video up to each step, (T, K): `Head.scores` of the mean of the
    logits of now. The last row is the video's answer."""
    pts_seconds: NDArray[np.float64]
    """(T,)."""
    path: str = ""
    seen_seconds: float | None = None
    """The time of the last frame that the last answer rests on; None: that of the last step. It
    is later where the video was not read to its end, and the head has a delay."""
    end_seconds: float | None = None
    """When the last step ends, where the video says it and was read to its end; None: after the
    usual time of a step."""
    start_seconds: float = 0.0
    """When the video begins, on the clock of these times; players show 0 there. The clocks of
    transport streams and cameras may begin anywhere."""
    multi_label: bool = False
    """Whether several labels may be on at once: then segments of different labels overlap."""
    none_of_these: NoneOfThese | None = None
    """The model's."""
    event_rule: EventRule | None = None
    """The model's; see `Recognizer.event_rule`."""

    def on_clock(self, clock: Clock) -> Timeline:
        """The same with times by a player's clock, which is 0 where the video begins.

        Args:
            clock: file: unchanged.
        """
        if clock == "file" or self.start_seconds == 0:
            return self
        seen, end = self.seen_seconds, self.end_seconds
        return replace(
            self,
            pts_seconds=self.pts_seconds - self.start_seconds,
            seen_seconds=None if seen is None else seen - self.start_seconds,
            end_seconds=None if end is None else end - self.start_seconds,
            start_seconds=0.0,
        )

    @functools.cached_property
    def typicality(self) -> NDArray[np.float64] | None:
        """How usual the half second around each step is for the model's classes, (T,).

        The part of held-out half seconds of these that are at least as unusual; None: the model
        does not know.
        """
        if self.none_of_these is None:
            return None
        return self.none_of_these.of_recording(self.scores, self.pts_seconds)

    def is_none_of_these(self, none_rate: float) -> NDArray[np.bool_] | None:
        """Whether the half second around each step looks like none of the classes, (T,).

        None: the model does not know.

        Args:
            none_rate: the part of the classes' own time of which this may be said wrongly.
        """
        return None if self.typicality is None else self.typicality < none_rate

    def segments(self, rule: SegmentRule | None = None) -> list[Segment]:
        """From when to when which action; see `SegmentRule`."""
        if self.multi_label:
            return find_lane_segments(
                self.labels, self.scores, self.pts_seconds, rule, self.end_seconds
            )
        is_asked = rule is not None and rule.none_rate > 0
        typicality = self.typicality if is_asked else None
        return find_segments(
            self.labels, self.scores, self.pts_seconds, rule, typicality, self.end_seconds
        )

    def events(
        self,
        rule: EventRule | None = None,
        *,
        ignored: Collection[str] = (),
        none_rate: float | None = None,
    ) -> list[Event]:
        """What began and what ended, as an `EventDetector` of a stream says it; see `EventRule`.

        Args:
            rule: None: the model's, or the default rule if it has none.
            ignored: labels that are no actions, such as the background.
            none_rate: nothing begins at steps that look like none of the classes, each by its own
                scores, as a stream knows them; this part of the classes' own steps is lost so.
        """
        rule = rule or self.event_rule
        is_none = None
        if none_rate is not None and self.none_of_these is not None:
            typicality = self.none_of_these.of_steps(self.scores)
            is_none = None if typicality is None else typicality < none_rate
        return find_events(
            self.labels, self.scores, self.pts_seconds, rule, ignored, is_none, self.end_seconds
        )

    def prediction(self) -> Prediction:
        """The answer for the whole video."""
        answer = self.so_far[-1]
        order = np.argsort(-answer, kind="stable")
        seen_seconds = self.pts_seconds[-1] if self.seen_seconds is None else self.seen_seconds
        return Prediction(
            labels=tuple(self.labels[index] for index in order),
            scores=tuple(float(answer[index]) for index in order),
            pts_seconds=float(seen_seconds),
            path=self.path,
            typicality=None if self.none_of_these is None else self.none_of_these.of_clip(answer),
        )

    def __repr__(self) -> str:
        return f"Timeline(scores={self.scores.shape}, path={self.path!r})"
