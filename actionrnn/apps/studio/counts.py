"""What is counted in recordings that were left out, and the one number that is made of it.

The number is the mean over labels of the part of each label's time that is recognised (the balanced
accuracy of Brodersen, Ong, Stephan and Buhmann, ICPR 2010), so that much background does not hide
that nothing else is found. Of labels that may be on together, it is the mean over labels of F1 over
the steps. A label of one group alone is left out of it: where that group is tested, nobody has
taught the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.recordings import IGNORE, Dataset
from actionrnn.evaluation.bootstrap import Interval, bootstrap_ratio
from actionrnn.evaluation.segment_metrics import class_hits
from actionrnn.evaluation.step_predictions import StepPredictions, true_lanes
from actionrnn.evaluation.step_scores import mean_ratio
from actionrnn.model.segments import ON

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Of N tested recordings and C labels."""

    right: Floats
    """(N, C), in steps."""
    whole: Floats
    """(N, C), of how many; the value is the mean over labels of their ratio."""
    groups: tuple[str, ...]
    """(N,)."""

    @property
    def value(self) -> float | None:
        """0 to 1; None: nothing was counted."""
        return mean_ratio(self.right, self.whole)

    @property
    def interval(self) -> Interval | None:
        """95 %, by the bootstrap over groups; None with fewer than two."""
        return bootstrap_ratio(self.right, self.whole, self.groups)

    def of_groups(self, groups: Sequence[str]) -> Counts:
        """Those of the recordings of these groups alone."""
        rows = [row for row, group in enumerate(self.groups) if group in groups]
        return Counts(self.right[rows], self.whole[rows], tuple(self.groups[row] for row in rows))


def counts_of(predictions: Sequence[StepPredictions], model: str, dataset: Dataset) -> Counts:
    """Of one model's answers.

    Args:
        model: its name in `StepPredictions.scores`.
    """
    columns = [dataset.labels.index(label) for label in scored_labels(dataset)]
    counted = [_counted(one, one.scores[model]) for one in predictions]
    right, whole = (
        np.array([one[part][columns] for one in counted], np.float64).reshape(-1, len(columns))
        for part in (0, 1)
    )
    return Counts(right, whole, tuple(one.group for one in predictions))


def scored_labels(dataset: Dataset) -> tuple[str, ...]:
    """The labels of several groups: what is taught by some can be tested in others."""
    groups: dict[str, set[str]] = {}
    for clip in dataset.clips:
        groups.setdefault(clip.label, set()).add(clip.group)
    return tuple(label for label in dataset.labels if len(groups[label]) > 1)


def _counted(
    one: StepPredictions, scores: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What is right, and of how many, (K,) each."""
    if one.label_sets is None:
        return class_hits(scores.argmax(axis=1).astype(np.int64), one.targets, scores.shape[1])
    known = one.targets != IGNORE
    true, found = true_lanes(one)[known], (scores >= ON)[known]
    both = (true & found).sum(axis=0)
    return 2 * both, true.sum(axis=0) + found.sum(axis=0)
