"""What models answered at the steps of test recordings, and what was true there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.recordings import IGNORE


@dataclass(frozen=True)
class StepPredictions:
    """One test recording with the answers at its T steps."""

    name: str
    group: str
    pts_seconds: NDArray[np.float64]
    """(T,), never falling; each step lasts until the next."""
    targets: NDArray[np.int64]
    """(T,): class indices, with `label_sets` its rows, or IGNORE where nobody labelled the step."""
    scores: Mapping[str, NDArray[np.float32]]
    """By model, the probabilities of now, (T, K): first the tested head, then its baselines."""
    delay_steps: Mapping[str, int] = field(default_factory=dict)
    """By model, how many further steps are seen before a step is answered; default: none."""
    label_sets: NDArray[np.bool_] | None = None
    """(C, K), of multi-label heads: the classes that each target stands for."""


def true_lanes(one: StepPredictions) -> NDArray[np.bool_]:
    """Which classes are on at each step, (T, K); none where nobody labelled it."""
    assert one.label_sets is not None
    known = one.targets != IGNORE
    is_on = np.zeros((len(known), one.label_sets.shape[1]), bool)
    is_on[known] = one.label_sets[one.targets[known]]
    return is_on
