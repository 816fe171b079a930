"""The scores of a timeline become segments: from when to when which action."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrnn.options import SegmentRule

NOTHING = -1
ON = 0.5
"""From this score on a label of a multi-label model is on, unless a rule says otherwise."""

ALONE_SECONDS = 1.0
"""What one moment lasts where nothing says it: a video of one frame."""

_ONE = 2**32  # of a score, as a whole number

Runs = list[tuple[int, int, int]]
"""(first step, step behind the last, class or NOTHING), without gaps."""


@dataclass(frozen=True)
class Segment:
    """A stretch of time with one label."""

    label: str
    start_seconds: float
    end_seconds: float
    score: float
    """The label's mean probability within."""


def find_segments(
    labels: tuple[str, ...],
    scores: NDArray[np.float32],
    pts_seconds: NDArray[np.float64],
    rule: SegmentRule | None = None,
    typicality: NDArray[np.float64] | None = None,
    end_seconds: float | None = None,
) -> list[Segment]:
    """The segments in the order of time; stretches below the threshold are left out.

    Args:
        scores: probabilities, (T, K), in the order of `labels`.
        pts_seconds: (T,), never falling; each step lasts until the next.
        typicality: of the steps, (T,); where it is below the rule's `none_rate`, there is no
            segment.
        end_seconds: when the last step ends; None: after the median time of a step.
    """
    if len(scores) == 0:
        return []
    shown = shown_labels(scores, pts_seconds, rule, typicality, end_seconds)
    return _segments(labels, scores, pts_seconds, shown, end_seconds)


def find_lane_segments(
    labels: tuple[str, ...],
    scores: NDArray[np.float32],
    pts_seconds: NDArray[np.float64],
    rule: SegmentRule | None = None,
    end_seconds: float | None = None,
) -> list[Segment]:
    """Those of a multi-label model, where several labels may be on: each label has its own.

    Args:
        scores: probabilities, (T, K), in the order of `labels`.
        pts_seconds: (T,), never falling; each step lasts until the next.
        end_seconds: see `find_segments`.

    Returns:
        the segments by their begin, those that begin together in the order of `labels`.
    """
    if len(scores) == 0:
        return []
    lanes = shown_lanes(scores, pts_seconds, rule, end_seconds)
    found = [
        segment
        for which in range(len(labels))
        for segment in _segments(
            labels, scores, pts_seconds, np.where(lanes[:, which], which, NOTHING), end_seconds
        )
    ]
    return sorted(found, key=lambda segment: segment.start_seconds)


def _segments(
    labels: tuple[str, ...],
    scores: NDArray[np.float32],
    pts_seconds: NDArray[np.float64],
    shown: NDArray[np.int64],
    end_seconds: float | None,
) -> list[Segment]:
    """A segment for each run of a class in what is shown at each step, (T,)."""
    ends = step_ends(pts_seconds, end_seconds)
    return [
        Segment(
            label=labels[which],
            start_seconds=float(pts_seconds[first]),
            end_seconds=float(ends[stop - 1]),
            score=float(scores[first:stop, which].mean()),
        )
        for first, stop, which in _runs_of(shown)
        if which != NOTHING
    ]


def shown_labels(
    scores: NDArray[np.float32],
    pts_seconds: NDArray[np.float64],
    rule: SegmentRule | None = None,
    typicality: NDArray[np.float64] | None = None,
    end_seconds: float | None = None,
) -> NDArray[np.int64]:
    """The class of the segment that each step belongs to, (T,); NOTHING outside of segments.

    Args:
        scores: probabilities, (T, K).
        pts_seconds: (T,), never falling; each step lasts until the next.
        typicality, end_seconds: see `find_segments`.
    """
    rule = rule or SegmentRule()
    if len(scores) == 0:
        return np.empty(0, np.int64)
    smooth = smooth_scores(scores, pts_seconds, rule.smooth_seconds)
    best = smooth.argmax(axis=1)
    best[smooth.max(axis=1) < (rule.threshold or 0.0)] = NOTHING
    if typicality is not None:
        best[typicality < rule.none_rate] = NOTHING
    ends = step_ends(pts_seconds, end_seconds)
    return _long_enough(best, smooth, pts_seconds, ends, rule)


def shown_lanes(
    scores: NDArray[np.float32],
    pts_seconds: NDArray[np.float64],
    rule: SegmentRule | None = None,
    end_seconds: float | None = None,
) -> NDArray[np.bool_]:
    """Whether each step belongs to a segment of each class of a multi-label model, (T, K).

    Args:
        scores: probabilities, (T, K).
        pts_seconds: (T,), never falling; each step lasts until the next.
        end_seconds: see `find_segments`.
    """
    rule = rule or SegmentRule()
    if len(scores) == 0:
        return np.empty(scores.shape, bool)
    smooth = smooth_scores(scores, pts_seconds, rule.smooth_seconds)
    threshold = ON if rule.threshold is None else rule.threshold
    lanes, ends = np.empty(scores.shape, bool), step_ends(pts_seconds, end_seconds)
    for which, lane in enumerate(smooth.T):
        is_on = np.where(lane >= threshold, 0, NOTHING)  # class 0 of this lane
        lanes[:, which] = _long_enough(is_on, lane[:, None], pts_seconds, ends, rule) == 0
    return lanes


def _long_enough(
    shown: NDArray[np.int64],
    smooth: NDArray[np.float64],
    pts_seconds: NDArray[np.float64],
    ends: NDArray[np.float64],
    rule: SegmentRule,
) -> NDArray[np.int64]:
    """The class of each step, (T,), when runs that are too short have been merged."""
    runs = _absorb_short(_runs_of(shown), smooth, pts_seconds, ends, rule.min_seconds)
    # runs side by side differ, so that they are found again in the labels
    lengths = [stop - first for first, stop, _ in runs]
    return np.repeat(np.array([which for *_, which in runs], np.int64), lengths)


def labels_on(
    labels: Sequence[str], scores: NDArray[np.float32], threshold: float = ON
) -> list[tuple[str, float]]:
    """The labels of a multi-label model that are on, with their scores (of K), best first."""
    best = np.argsort(-scores, kind="stable").tolist()
    return [(labels[which], float(scores[which])) for which in best if scores[which] >= threshold]


def stretches_of(
    is_true: NDArray[np.bool_],
    pts_seconds: NDArray[np.float64],
    end_seconds: float | None = None,
) -> list[tuple[float, float]]:
    """From when to when something is true of the steps (T,), in seconds, see `step_ends`."""
    if len(is_true) == 0:
        return []
    ends = step_ends(pts_seconds, end_seconds)
    return [
        (float(pts_seconds[first]), float(ends[stop - 1]))
        for first, stop, is_so in _runs_of(is_true.astype(np.int64))
        if is_so
    ]


def step_ends(
    pts_seconds: NDArray[np.float64], end_seconds: float | None = None
) -> NDArray[np.float64]:
    """When each step ends, (T,): where the next begins.

    Args:
        pts_seconds: (T,), never falling.
        end_seconds: when the last ends; None: it has the median length, or `ALONE_SECONDS` if
            all are of one moment.
    """
    if end_seconds is not None:
        return np.append(pts_seconds[1:], end_seconds)
    gaps = np.diff(pts_seconds)
    gaps = gaps[gaps > 0]  # a frame that is sampled twice ends once
    usual = float(np.median(gaps)) if len(gaps) else ALONE_SECONDS
    return np.append(pts_seconds[1:], pts_seconds[-1] + usual)


def smooth_scores(
    scores: NDArray[np.float32] | NDArray[np.float64],
    pts_seconds: NDArray[np.float64],
    window_seconds: float,
) -> NDArray[np.float64]:
    """The mean of the scores within half a window before and after each step, (T, K)."""
    begins = np.searchsorted(pts_seconds, pts_seconds - window_seconds / 2, side="left")
    stops = np.searchsorted(pts_seconds, pts_seconds + window_seconds / 2, side="right")
    sums = np.concatenate([np.zeros((1, scores.shape[1])), scores.cumsum(axis=0, dtype=np.float64)])
    means: NDArray[np.float64] = (sums[stops] - sums[begins]) / (stops - begins)[:, None]
    return means


def _runs_of(best: NDArray[np.int64]) -> Runs:
    changes = np.flatnonzero(np.diff(best)) + 1
    begins, stops = [0, *changes.tolist()], [*changes.tolist(), len(best)]
    return [(first, stop, int(best[first])) for first, stop in zip(begins, stops, strict=True)]


def _absorb_short(
    runs: Runs,
    smooth: NDArray[np.float64],
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    min_seconds: float,
) -> Runs:
    """Merge the shortest run into the better of the runs beside it until none is too short.

    In n log n for n runs: the shortest is found in a heap, those beside it by their steps.
    """
    run_at = {first: (stop, which) for first, stop, which in runs}
    first_of = {stop: first for first, stop, _ in runs}
    sums = _exact_sums(smooth)

    def entry(first: int, stop: int) -> tuple[float, int, int]:
        return float(ends[stop - 1] - starts[first]), first, stop

    def share(first: int, stop: int, which: int) -> int:
        return -1 if which == NOTHING else int(sums[stop, which] - sums[first, which])

    heap = [entry(first, stop) for first, stop, _ in runs]
    heapq.heapify(heap)
    while len(run_at) > 1:
        seconds, first, stop = heapq.heappop(heap)
        if first not in run_at or run_at[first][0] != stop:
            continue  # it has grown since
        if seconds >= min_seconds:
            break
        before = first_of.get(first)
        beside = [run_at[place][1] for place in (before, stop) if place in run_at]
        heir = max(beside, key=lambda which: share(first, stop, which))
        begin, end = first, stop
        if before is not None and run_at[before][1] == heir:
            begin = before
        if stop in run_at and run_at[stop][1] == heir:
            end = run_at.pop(stop)[0]
        run_at.pop(first)
        run_at[begin], first_of[end] = (end, heir), begin
        heapq.heappush(heap, entry(begin, end))
    return [(first, *run_at[first]) for first in sorted(run_at)]


def _exact_sums(smooth: NDArray[np.float64]) -> NDArray[np.int64]:
    """The sums of the first n scores, (T + 1, K): whole numbers, so that equal ones are equal."""
    whole = np.rint(smooth * _ONE).astype(np.int64)
    return np.concatenate([np.zeros((1, smooth.shape[1]), np.int64), whole.cumsum(axis=0)])
