"""The scores of a timeline become segments: from when to when which action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrnn.stream_config import SegmentRule

NOTHING = -1

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
) -> list[Segment]:
    """The segments in the order of time; what is nothing is left out.

    Args:
        scores: probabilities, (T, K), in the order of `labels`.
        pts_seconds: (T,), never falling; each step lasts until the next.
    """
    rule = rule or SegmentRule()
    if len(scores) == 0:
        return []
    smooth = smooth_scores(scores, pts_seconds, rule.smooth_seconds)
    best = smooth.argmax(axis=1)
    best[smooth.max(axis=1) < rule.threshold] = NOTHING
    ends = step_ends(pts_seconds)
    runs = _absorb_short(_runs_of(best), smooth, pts_seconds, ends, rule.min_seconds)
    return [
        Segment(
            label=labels[which],
            start_seconds=float(pts_seconds[first]),
            end_seconds=float(ends[stop - 1]),
            score=float(scores[first:stop, which].mean()),
        )
        for first, stop, which in runs
        if which != NOTHING
    ]


def step_ends(pts_seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """When each step gives way to the next, (T,); the last lasts as long as is usual."""
    usual = float(np.median(np.diff(pts_seconds))) if len(pts_seconds) > 1 else 0.0
    return np.append(pts_seconds[1:], pts_seconds[-1] + usual)


def smooth_scores(
    scores: NDArray[np.float32], pts_seconds: NDArray[np.float64], window_seconds: float
) -> NDArray[np.float64]:
    """The mean of the scores within half a window before and behind each step, (T, K)."""
    begins = np.searchsorted(pts_seconds, pts_seconds - window_seconds / 2, side="left")
    stops = np.searchsorted(pts_seconds, pts_seconds + window_seconds / 2, side="right")
    sums = np.concatenate([np.zeros((1, scores.shape[1])), scores.cumsum(axis=0, dtype=np.float64)])
    means: NDArray[np.float64] = (sums[stops] - sums[begins]) / (stops - begins)[:, None]
    return means


def _runs_of(best: NDArray[np.intp]) -> Runs:
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
    """Give the shortest run to the better of its neighbours until none is too short."""

    def seconds(run: tuple[int, int, int]) -> float:
        return float(ends[run[1] - 1] - starts[run[0]])

    while len(runs) > 1:
        place = min(range(len(runs)), key=lambda index: seconds(runs[index]))
        first, stop, _ = runs[place]
        if seconds(runs[place]) >= min_seconds:
            break
        beside = [runs[index][2] for index in (place - 1, place + 1) if 0 <= index < len(runs)]
        heir = max(
            beside, key=lambda c: -1.0 if c == NOTHING else float(smooth[first:stop, c].mean())
        )
        runs[place] = (first, stop, heir)
        runs = _joined(runs)
    return runs


def _joined(runs: Runs) -> Runs:
    joined: Runs = []
    for first, stop, which in runs:
        if joined and joined[-1][2] == which:
            joined[-1] = (joined[-1][0], stop, which)
        else:
            joined.append((first, stop, which))
    return joined
