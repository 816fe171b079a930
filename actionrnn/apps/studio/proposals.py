"""What a model proposes where nobody has looked yet, and where to look next.

A proposal is a segment of the model's timeline, less the time that somebody has looked at. The next
place to look at is the stretch of some seconds in which the model is least sure, see `doubt_of`.
(Uncertainty sampling: Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR
1994.) `benchmarks/proposals.py` measures what it brings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrnn.apps.studio.annotation_log import Refused
from actionrnn.datasets.annotations.marks import Span, without
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.evaluation.report_plots import percent_text
from actionrnn.model.segments import ON, Segment, step_ends
from actionrnn.model.timeline import Timeline
from actionrnn.options import SegmentRule

LEAST_SECONDS = 0.5
"""Of a proposal: less of a segment that was looked at for the most part is not worth a key."""
REFUSED_PART = 0.5
"""A proposal comes again with other edges after each training; it is one that was refused if
refusals of its label cover this part of it."""
NONE_RATE = 0.05
"""Below this typicality a step looks like none of the labels (`Timeline.typicality`)."""
LOOK_SECONDS = 10.0
"""How much there is to look at in one place."""
TINY = 1e-7
"""A score this close to 0 or 1 is sure."""
ROUNDING = 1e-6
"""Seconds by which times may differ that are the same."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Proposal:
    """An interval that the model would mark, in seconds on the video's own clock."""

    id: str
    """Of its label and its edges: the same proposal has the same."""
    label: str
    start: float
    end: float
    score: float
    """The label's mean probability in the segment."""


@dataclass(frozen=True)
class Place:
    """Where to look next: these seconds of a video."""

    video: str
    seconds: float
    end: float
    why: str
    """What the model wavers between there, as a phrase."""
    doubt: float
    """0: the model is sure; 1: it knows nothing; the mean over the place."""


def propose(
    timeline: Timeline,
    looked: Sequence[Span],
    refused: Sequence[Refused] = (),
    labels: Collection[str] | None = None,
    rule: SegmentRule | None = None,
) -> list[Proposal]:
    """The model's intervals where nobody has looked, in the order of time.

    Args:
        timeline: of one video.
        looked: what was looked at, marks included (`VideoMarks.looked`).
        refused: proposals that were refused; none of them comes again.
        labels: only these; None: all of the model's. The background is no proposal.
        rule: how segments are made; None: the default, with `NONE_RATE` if the model knows what
            looks like none of its labels.
    """
    known = set(timeline.labels if labels is None else labels) - {BACKGROUND}
    if rule is None:
        rule = SegmentRule(none_rate=0.0 if timeline.none_of_these is None else NONE_RATE)
    refusals: dict[str, list[Span]] = {}
    for one in refused:
        refusals.setdefault(one.label, []).append((one.start, one.end))
    return [
        _proposal(segment, start, end)
        for segment in timeline.segments(rule)
        if segment.label in known
        for start, end in without([(segment.start_seconds, segment.end_seconds)], looked)
        if end - start >= LEAST_SECONDS
        and _covered(start, end, refusals.get(segment.label, ())) < REFUSED_PART * (end - start)
    ]


def next_place(
    timelines: Mapping[str, Timeline],
    looked: Mapping[str, Sequence[Span]],
    seconds: float = LOOK_SECONDS,
) -> Place | None:
    """The stretch that nobody has looked at in which the model is least sure.

    Args:
        timelines: by video.
        looked: by video what was looked at, marks included; a video without an entry is new.
        seconds: the length of the place. Less where less is left between what was looked at: the
            doubt there counts as if the rest were sure, so that a moment of doubt does not come
            before several seconds of it.

    Returns:
        of equally doubtful places the first; None: everything was looked at.
    """
    places = [
        place
        for video, timeline in timelines.items()
        if (place := _least_sure(video, timeline, looked.get(video, ()), seconds))
    ]
    return max(places, key=lambda place: place.doubt, default=None)


def doubt_of(timeline: Timeline) -> Values:
    """How unsure the model is at each step, (T,): from 0, sure, to 1.

    The entropy of the scores over that of equal ones; of a multi-label model that of the label
    which it is least sure of. 1 where the model knows that the step looks like none of its labels.
    """
    scores = np.clip(timeline.scores.astype(np.float64), TINY, 1 - TINY)
    if timeline.multi_label:
        doubt: Values = -(scores * np.log2(scores) + (1 - scores) * np.log2(1 - scores))
        doubt = doubt.max(axis=1)
    else:
        doubt = -(scores * np.log(scores)).sum(axis=1) / np.log(max(2, scores.shape[1]))
    is_none = timeline.is_none_of_these(NONE_RATE)
    return doubt if is_none is None else np.where(is_none, 1.0, doubt)


def _proposal(segment: Segment, start: float, end: float) -> Proposal:
    start, end = round(start, 3), round(end, 3)
    name = f"{segment.label}\n{start:.3f}\n{end:.3f}"
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return Proposal(digest[:12], segment.label, start, end, segment.score)


def _covered(start: float, end: float, spans: Sequence[Span]) -> float:
    """How much of start to end the spans cover, in seconds."""
    return end - start - sum(stop - begin for begin, stop in without([(start, end)], spans))


def _least_sure(
    video: str, timeline: Timeline, seen: Sequence[Span], seconds: float
) -> Place | None:
    times = timeline.pts_seconds
    if len(times) == 0:
        return None
    ends = step_ends(times, timeline.end_seconds)
    doubt = doubt_of(timeline) * (ends - times)
    sums = np.concatenate([[0.0], doubt.cumsum()])
    best: tuple[float, int, int] | None = None
    for begin, end in without([(float(times[0]), float(ends[-1]))], seen):
        # whole steps alone: half of the others was looked at
        first = int(np.searchsorted(times, begin - ROUNDING))
        behind = int(np.searchsorted(ends, end + ROUNDING, side="right"))
        if behind <= first or ends[behind - 1] - times[first] < LEAST_SECONDS:
            continue
        begins = np.arange(first, behind)
        last = np.searchsorted(ends, times[begins] + seconds + ROUNDING, side="right")
        stops = np.minimum(np.maximum(last, begins + 1), behind)
        found = sums[stops] - sums[begins]
        place = int(found.argmax())
        if best is None or found[place] > best[0] + ROUNDING:
            best = float(found[place]), int(begins[place]), int(stops[place])
    if best is None:
        return None
    total, first, behind = best
    return Place(
        video,
        float(times[first]),
        float(ends[behind - 1]),
        _why(timeline, first, behind),
        min(1.0, total / seconds),
    )


def _why(timeline: Timeline, first: int, behind: int) -> str:
    is_none = timeline.is_none_of_these(NONE_RATE)
    if is_none is not None and is_none[first:behind].mean() > 0.5:
        return "looks like none of the labels"
    scores = timeline.scores[first:behind]
    if timeline.multi_label:
        unsure = int(np.abs(scores - ON).mean(axis=0).argmin())
        return f"cannot tell whether there is {timeline.labels[unsure]}"
    mean = scores.mean(axis=0)
    best = np.argsort(-mean, kind="stable")[:2].tolist()
    if len(best) < 2:
        return f"looks like {timeline.labels[best[0]]}"
    one, other = (f"{timeline.labels[which]} ({percent_text(mean[which])})" for which in best)
    return f"wavers between {one} and {other}"
