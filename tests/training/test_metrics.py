"""Numbers that were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from actionrnn.training.metrics import confusion_matrix, mean_class_accuracy, top_k_accuracy

# answers: 0, 0, 1, 2, 2, 0; right: the first, third and fourth of six
SCORES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.5, 0.1, 0.4],
        [0.1, 0.8, 0.1],
        [0.2, 0.3, 0.5],
        [0.1, 0.3, 0.6],
        [0.6, 0.1, 0.3],
    ],
    np.float32,
)
TARGETS = np.array([0, 2, 1, 2, 1, 1])


@pytest.mark.parametrize(("k", "right"), [(1, 3), (2, 5), (3, 6), (5, 6)])
def test_top_k(k: int, right: int) -> None:
    assert top_k_accuracy(SCORES, TARGETS, k) == pytest.approx(right / 6)


def test_top_1_is_the_default() -> None:
    assert top_k_accuracy(SCORES, TARGETS) == 0.5


def test_confusion_has_the_truth_in_rows() -> None:
    matrix = confusion_matrix(SCORES, TARGETS, 3)
    assert matrix.tolist() == [[1, 0, 0], [1, 1, 1], [1, 0, 1]]


def test_mean_class_accuracy_weighs_classes_alike() -> None:
    confusion = confusion_matrix(SCORES, TARGETS, 3)
    assert mean_class_accuracy(confusion) == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)


def test_classes_without_clips_do_not_count() -> None:
    confusion = confusion_matrix(SCORES[:1], TARGETS[:1], 4)
    assert confusion.shape == (4, 4)
    assert mean_class_accuracy(confusion) == 1


def test_equal_scores_are_no_lucky_hit() -> None:
    scores = np.full((3, 3), 1 / 3, np.float32)
    targets = np.array([0, 1, 2])
    assert top_k_accuracy(scores, targets) == pytest.approx(1 / 3)
    assert np.trace(confusion_matrix(scores, targets, 3)) == 1
