"""The scores of steps and segments of two annotators, exactly over time.

They are those of a model in `step_scores`, with stretches of time in place of its steps: between
two changes nobody says anything new, so that each such stretch is a step, and counts by its length.
Average precision needs scores to rank by, which people do not give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.recordings import IGNORE
from actionrnn.evaluation.bootstrap import bootstrap_median, bootstrap_ratio
from actionrnn.evaluation.bout_scores import false_alarms, overall
from actionrnn.evaluation.bouts import Floats, Tally
from actionrnn.evaluation.segment_metrics import (
    OVERLAP_PERCENTS,
    Labels,
    delays,
    edit_score,
    matched_segments,
    segments_of,
)
from actionrnn.evaluation.step_scores import StepScores
from actionrnn.model.segments import NOTHING

_TICKS = 1e6  # a second: overlaps are compared in whole microseconds


@dataclass(frozen=True)
class SaidOverTime:
    """What two people say of one video, E stretches between changes, L labels."""

    edges: Floats
    """(E + 1,), in seconds, rising."""
    counts: NDArray[np.bool_]
    """(E,): whether both looked there."""
    true: NDArray[np.bool_]
    """(L, E), of the first."""
    found: NDArray[np.bool_]
    """(L, E), of the second."""

    @property
    def overlaps(self) -> bool:
        """Whether one of them gives a moment several labels."""
        return any(bool((lanes.sum(axis=0) > 1).any()) for lanes in (self.true, self.found))


@dataclass(frozen=True)
class _Counts:
    """Of one video."""

    matched: Labels
    """True segments that are found, at each threshold."""
    num_found: int
    delays: Floats
    """Of each true segment, in seconds; NaN where it was missed."""
    edit: float | None


def time_scores(
    videos: Sequence[SaidOverTime],
    tally: Tally,
    units: Sequence[str],
    *,
    with_false_alarms: bool = False,
) -> StepScores:
    """The second's scores, with the first for the truth.

    The time at which none of the labels is seen counts in both accuracies, and makes no segment.
    Where labels overlap, accuracy is exact match, each label has segments of its own, and there is
    neither a mean over classes nor an edit score, as of multi-label models.

    Args:
        tally: a row for each video.
        units: the group of each video, which the intervals draw.
        with_false_alarms: somebody said where nothing happens; see `bout_scores.false_alarms`.
    """
    counts = [_count(one) for one in videos]
    exclusive = not any(one.overlaps for one in videos)
    late = np.concatenate([one.delays for one in counts])
    num_true = np.array([[len(one.delays)] for one in counts], np.float64)
    num_missed = np.array([[np.isnan(one.delays).sum()] for one in counts], np.float64)
    rates = {"accuracy": (tally.agreed[:, None], tally.seconds[:, None])}
    rates["missed"] = num_missed, num_true
    if exclusive:
        rates["mean_class_accuracy"] = _by_class(tally)
        edits = np.array([[one.edit or 0.0, one.edit is not None] for one in counts], np.float64)
        rates["edit"] = edits[:, :1], edits[:, 1:]
    matched = np.array([one.matched for one in counts], np.float64)  # (N, thresholds)
    num_segments = num_true + np.array([[one.num_found] for one in counts], np.float64)
    for place, percents in enumerate(OVERLAP_PERCENTS):
        rates[f"f1_at_{percents}"] = 2 * matched[:, [place]], num_segments
    numbers: dict[str, Any] = {"mean_class_accuracy": None, "edit": None}
    numbers |= {name: _ratio(*rate) for name, rate in rates.items()}
    intervals = {name: bootstrap_ratio(*rate, units) for name, rate in rates.items()}
    was_found = ~np.isnan(late)
    groups = np.repeat(units, [len(one.delays) for one in counts])
    intervals["delay_seconds"] = bootstrap_median(late[was_found], groups[was_found].tolist())
    by_unit = tally.by_unit(units)
    further = {"kappa": overall(by_unit)}
    if with_false_alarms:
        further["false_alarms_per_hour"] = false_alarms(by_unit)
    for name, (number, interval) in further.items():
        numbers[name], intervals[name] = number, interval
    return StepScores(
        **numbers,
        delay_seconds=float(np.median(late[was_found])) if was_found.any() else None,
        intervals=intervals,
    )


def _count(one: SaidOverTime) -> _Counts:
    known = np.where(one.counts, 0, IGNORE)
    true, found = (_segments(lanes, known) for lanes in (one.true, one.found))
    late = [
        delays(
            theirs.astype(np.int64),
            np.where(one.counts, ours, IGNORE),
            one.edges[:-1],
            background=0,
        )
        for ours, theirs in zip(one.true, one.found, strict=True)
    ]
    ticks = np.rint(one.edges * _TICKS).astype(np.int64)
    return _Counts(
        matched=matched_segments(_at(found, ticks), _at(true, ticks)),
        num_found=len(found),
        delays=np.concatenate(late),
        edit=None if one.overlaps else edit_score(found, true),
    )


def _segments(lanes: NDArray[np.bool_], known: Labels) -> Labels:
    """The runs of each label, (S, 3), in the order of time: see `segments_of`."""
    found = [segments_of(np.where(lane, which, NOTHING), known) for which, lane in enumerate(lanes)]
    together = np.concatenate(found)
    return together[np.argsort(together[:, 0], kind="stable")]


def _at(segments: Labels, ticks: Labels) -> Labels:
    """Segments with times in place of the numbers of stretches."""
    return np.stack([ticks[segments[:, 0]], ticks[segments[:, 1]], segments[:, 2]], axis=1)


def _by_class(tally: Tally) -> tuple[Floats, Floats]:
    """Of each label, and of none: the seconds at which the second says the same, and all."""
    none = tally.seconds - tally.true.sum(axis=1)
    both_none = tally.agreed - tally.both.sum(axis=1)
    return (
        np.column_stack([tally.both, both_none.clip(0)]),
        np.column_stack([tally.true, _without_rounding(none, tally.seconds)]),
    )


def _without_rounding(seconds: Floats, wholes: Floats) -> Floats:
    """A difference of sums that are equal but for their rounding is 0."""
    return np.where(seconds > 1e-9 * wholes, seconds, 0)


def _ratio(parts: Floats, wholes: Floats) -> float | None:
    """The mean over columns of (sum of the parts / sum of the wholes)."""
    sums, totals = parts.sum(axis=0), wholes.sum(axis=0)
    counted = totals > 0
    if not counted.any():
        return None
    return float(np.minimum(sums[counted] / totals[counted], 1).mean())
