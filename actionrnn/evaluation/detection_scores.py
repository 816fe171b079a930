"""Average precision of one model's steps and segments over whole recordings, with intervals.

These are the scores of online action detection and of temporal action localisation: of all classes
but the background, whose steps are wrong for every class. Steps that nobody labelled count for
nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from actionrnn.evaluation.average_precision import (
    Ranking,
    average_precision,
    interpolated_average_precision,
    rank,
)
from actionrnn.evaluation.bootstrap import Measured, measured, numbered, sum_by_unit
from actionrnn.evaluation.bouts import IOUS, Bouts, Floats, ratio
from actionrnn.evaluation.segment_metrics import Labels


@dataclass(frozen=True)
class Answers:
    """One model's answers in one recording."""

    scores: NDArray[np.float32]
    """At the T labelled steps, (T, K)."""
    targets: Labels
    """Their classes, (T,); with label sets their rows."""
    bouts: Bouts


@dataclass(frozen=True)
class Precisions:
    """Average precisions of one model."""

    means: dict[str, Measured]
    """By name, the means over the classes of which something is true."""
    by_class: dict[str, list[Measured]]
    """By name, of each of K classes; the background has none."""


def segment_map_at(iou: float) -> str:
    """`segment_map_at_50`, the name of the mean average precision of segments at IoU 0.5."""
    return f"segment_map_at_{round(100 * iou)}"


def precisions(
    answers: Sequence[Answers],
    units: Sequence[Hashable],
    background: int | None,
    label_sets: NDArray[np.bool_] | None = None,
) -> Precisions:
    """Average precision over the steps, plain and calibrated, and of the segments at each IoU.

    Args:
        answers: in each recording.
        units: each recording's group.
        background: the class that is no action.
        label_sets: (C, K), the classes that each target stands for; None: one each.
    """
    num_classes = answers[0].scores.shape[1]
    sets = np.eye(num_classes, dtype=bool) if label_sets is None else label_sets
    classes = [which for which in range(num_classes) if which != background]
    if not classes:
        return Precisions({}, {})
    steps = _step_rankings(answers, units, classes, sets)
    shares = _with_mean(np.stack([one.num_true for one in steps], axis=1), of_shares=True)
    found = measured(
        partial(_of_steps, [one.coarse() for one in steps]),
        np.concatenate([shares, shares], axis=1),
        exact=partial(_of_steps, steps),
    )
    frame, calibrated = found[: len(classes) + 1], found[len(classes) + 1 :]
    segments = _segment_rankings(answers, units, classes)
    shares = _with_mean(np.stack([some[0].num_true for some in segments], axis=1), of_shares=True)
    found = measured(
        partial(_of_segments, [[one.coarse() for one in some] for some in segments]),
        np.concatenate([shares, *[shares[:, -1:]] * len(IOUS)], axis=1),
        exact=partial(_of_segments, segments),
    )
    segment, at_ious = found[: len(classes) + 1], found[len(classes) + 1 :]
    means = {"frame_map": frame[-1], "calibrated_frame_map": calibrated[-1]}
    means |= dict(zip(map(segment_map_at, IOUS), at_ious, strict=True))
    columns = {"frame_ap": frame, "calibrated_frame_ap": calibrated, "segment_ap": segment}
    nothing: Measured = (None, None)
    by_class = {
        name: [
            column[classes.index(which)] if which in classes else nothing
            for which in range(num_classes)
        ]
        for name, column in columns.items()
    }
    return Precisions({**means, "segment_map": segment[-1]}, by_class)


def _step_rankings(
    answers: Sequence[Answers],
    units: Sequence[Hashable],
    classes: Sequence[int],
    sets: NDArray[np.bool_],
) -> list[Ranking]:
    scores = np.concatenate([one.scores for one in answers])
    targets = np.concatenate([one.targets for one in answers])
    unit_of, num_units = numbered(units)
    groups = np.repeat(unit_of, [len(one.targets) for one in answers])
    return [rank(scores[:, which], sets[targets, which], groups, num_units) for which in classes]


def _segment_rankings(
    answers: Sequence[Answers], units: Sequence[Hashable], classes: Sequence[int]
) -> list[list[Ranking]]:
    """Of each class, at each IoU."""
    bouts = [one.bouts for one in answers]
    labels = np.concatenate([one.labels for one in bouts])
    scores = np.concatenate([one.scores for one in bouts])
    hits = np.concatenate([one.hits for one in bouts])
    unit_of, num_units = numbered(units)
    groups = np.repeat(unit_of, [len(one.labels) for one in bouts])
    num_true = sum_by_unit(np.array([one.num_true for one in bouts], np.float64), units)
    rankings = []
    for which in classes:
        ours = labels == which
        of_class = scores[ours], groups[ours], num_true[:, which]
        rankings.append(
            [
                rank(of_class[0], right, of_class[1], num_units, of_class[2])
                for right in hits[ours].T
            ]
        )
    return rankings


def _of_steps(rankings: Sequence[Ranking], times: Floats) -> Floats:
    """The classes and their mean, plain and then calibrated, (R, 2 K + 2)."""
    values = np.stack([average_precision(one, times) for one in rankings], axis=1)  # (R, K, 2)
    return np.concatenate([_with_mean(values[:, :, how]) for how in (0, 1)], axis=1)


def _of_segments(rankings: Sequence[Sequence[Ranking]], times: Floats) -> Floats:
    """The classes and their mean over the IoUs, and the means at each, (R, K + 1 + len(IOUS))."""
    values = np.stack(
        [
            np.stack([interpolated_average_precision(one, times) for one in some], axis=1)
            for some in rankings
        ],
        axis=1,
    )  # (R, K, len(IOUS))
    at_ious = [_with_mean(values[:, :, which])[:, -1:] for which in range(len(IOUS))]
    return np.concatenate([_with_mean(values.mean(axis=2)), *at_ious], axis=1)


def _with_mean(values: Floats, *, of_shares: bool = False) -> Floats:
    """The columns and behind them their mean without those that are NaN, (R, K + 1).

    Args:
        of_shares: the mean is of the columns' parts of their sums.
    """
    parts = ratio(values, values.sum(axis=0)) if of_shares else values
    known = ~np.isnan(parts)
    mean = ratio(np.where(known, parts, 0).sum(axis=1), known.sum(axis=1) * 1.0)
    return np.column_stack([values, np.nan_to_num(mean) if of_shares else mean])
