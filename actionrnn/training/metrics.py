"""Numbers that say how good the scores are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top_k_accuracy(scores: NDArray[np.float32], targets: NDArray[np.int64], k: int = 1) -> float:
    """The part of the clips whose true class is among the k best: scores (N, K), targets (N,)."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((best == targets[:, None]).any(axis=1).mean())


def confusion_matrix(
    scores: NDArray[np.float32], targets: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    """Clips of true class (row) that were given each class (column), (K, K)."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (targets, scores.argmax(axis=1)), 1)
    return matrix


def mean_class_accuracy(confusion: NDArray[np.int64]) -> float:
    """The mean over classes of each class's accuracy; classes without clips do not count."""
    clips = confusion.sum(axis=1)
    present = clips > 0
    return float((np.diag(confusion)[present] / clips[present]).mean())
