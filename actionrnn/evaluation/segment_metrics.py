"""How good the answers at the steps of a recording are: steps, segments, their order, the delay.

A recording has one true label and one answer a step, as class indices (T,). Steps that nobody
labelled (target `IGNORE`) do not count: segments are made within each labelled stretch, so that
an unlabelled step ends the true and the predicted segment, and what is predicted outside of the
stretches counts for nothing. Overlaps are counted in steps, not in seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.recordings import IGNORE
from actionrnn.model.segments import NOTHING

OVERLAP_PERCENTS = (10, 25, 50)
"""Of F1@10, F1@25 and F1@50."""

Labels = NDArray[np.int64]


def class_hits(answers: Labels, targets: Labels, num_classes: int) -> tuple[Labels, Labels]:
    """Of each class, its steps with the right answer and all its steps, (K,) each.

    The sum of the first over that of the second is the accuracy of the steps. The mean over
    the classes that have steps, of the one over the other, is their mean class accuracy, the
    balanced accuracy of Brodersen, Ong, Stephan and Buhmann, ICPR 2010.

    Args:
        answers: (T,).
        targets: (T,), with IGNORE.
    """
    known = targets != IGNORE
    right = known & (answers == targets)
    hits, steps = (np.bincount(targets[mask], minlength=num_classes) for mask in (right, known))
    return hits, steps


def segments_of(labels: Labels, targets: Labels, background: int | None = None) -> Labels:
    """The runs of one label within each labelled stretch, in the order of time.

    Args:
        labels: (T,), whose runs are wanted: the answers, or `targets` itself.
        targets: (T,), with IGNORE.
        background: a class whose runs are no segments, as NOTHING's are none.

    Returns:
        (S, 3): first step, step behind the last, label.
    """
    known = targets != IGNORE
    edges = np.flatnonzero((np.diff(labels) != 0) | np.diff(known)) + 1
    firsts = np.concatenate([np.zeros(min(1, len(labels)), np.int64), edges])
    stops = np.append(firsts[1:], len(labels)) if len(labels) else firsts
    runs = np.stack([firsts, stops, labels[firsts]], axis=1)
    nothing = [NOTHING] if background is None else [NOTHING, background]
    segments: Labels = runs[known[firsts] & ~np.isin(runs[:, 2], nothing)]
    return segments


def lane_segments(lanes: NDArray[np.bool_], targets: Labels) -> Labels:
    """Those of classes that may overlap, class by class, (S, 3); see `segments_of`.

    Args:
        lanes: whether each class is on at each step, (T, K).
        targets: (T,), with IGNORE.
    """
    return np.concatenate(
        [segments_of(np.where(lane, which, NOTHING), targets) for which, lane in enumerate(lanes.T)]
    )


def matched_segments(
    found: Labels, true: Labels, percents: tuple[int, ...] = OVERLAP_PERCENTS
) -> Labels:
    """How many predicted segments are right, at each threshold: the true positives of F1@k.

    A predicted segment is right if the true segment of its label that it overlaps best has an
    intersection over union of at least k % with it and has not been matched before; so it is
    the number of true segments that are matched. With P predicted and S true segments,
    F1 = 2 hits / (P + S), over all classes and recordings together. Lea, Flynn, Vidal, Reiter
    and Hager, "Temporal Convolutional Networks for Action Segmentation and Detection",
    CVPR 2017; pooled over recordings as by Abu Farha and Gall, "MS-TCN", CVPR 2019.

    Args:
        found: (P, 3), see `segments_of`.
        true: (S, 3).
        percents: the thresholds k, from 1 to 100.

    Returns:
        (len(percents),).
    """
    matched = [set[int]() for _ in percents]
    for first, stop, label in found:
        same = np.flatnonzero(true[:, 2] == label)
        if len(same) == 0:
            continue
        firsts, stops = true[same, 0], true[same, 1]
        both = np.minimum(stops, stop) - np.maximum(firsts, first)
        either = np.maximum(stops, stop) - np.minimum(firsts, first)
        best = int((both / either).argmax())
        for percent, hits in zip(percents, matched, strict=True):
            if 100 * both[best] >= percent * either[best]:  # whole numbers: exact at the threshold
                hits.add(int(same[best]))
    return np.array([len(hits) for hits in matched], np.int64)


def edit_score(found: Labels, true: Labels) -> float | None:
    """How alike two orders of segments are, whenever they happen: 1 - distance / longer length.

    The distance is Levenshtein's, between the sequences of the segments' labels. Lea, Reiter,
    Vidal and Hager, "Segmental Spatiotemporal CNNs for Fine-Grained Action Segmentation",
    ECCV 2016, where it is given times 100, as the mean over recordings.

    Args:
        found: the predicted segments of one recording, (P, 3), see `segments_of`.
        true: its true ones, (S, 3).

    Returns:
        0 to 1; None if there are no segments in either.
    """
    longer = max(len(found), len(true))
    return 1 - edit_distance(found[:, 2], true[:, 2]) / longer if longer else None


def edit_distance(one: Labels, other: Labels) -> int:
    """The fewest insertions, deletions and replacements that make one sequence the other.

    Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals", 1966.
    """
    columns = np.arange(len(other) + 1)
    row = columns.copy()  # the distances from nothing to the beginnings of `other`
    for label in one:
        replaced = row[:-1] + (other != label)
        row = row + 1
        row[1:] = np.minimum(row[1:], replaced)
        # an insertion costs 1 a column: the best place to have inserted from, of all before
        row = np.minimum.accumulate(row - columns) + columns
    return int(row[-1])


def delays(
    answers: Labels,
    targets: Labels,
    pts_seconds: NDArray[np.float64],
    background: int | None = None,
    delay_steps: int = 0,
) -> NDArray[np.float64]:
    """The seconds from each true segment's begin to its first step with the right answer, (S,).

    NaN: no step of the segment has the right answer, it was missed. Hoai and De la Torre,
    "Max-Margin Early Event Detectors", IJCV 2014, give the time to detection as a part of the
    event's length; here it is in seconds.

    Args:
        answers: (T,).
        targets: (T,), with IGNORE.
        pts_seconds: (T,).
        background: a class whose segments do not count.
        delay_steps: how many further steps are seen before a step is answered: they count too.
    """
    found = []
    for first, stop, label in segments_of(targets, targets, background):
        right = np.flatnonzero(answers[first:stop] == label)
        if len(right) == 0:
            found.append(np.nan)
            continue
        known = min(first + right[0] + delay_steps, len(pts_seconds) - 1)  # all are, at the end
        found.append(pts_seconds[known] - pts_seconds[first])
    return np.array(found, np.float64)
