"""Numbers that were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from actionrnn.evaluation.metrics import (
    ClassResult,
    ReliabilityBin,
    class_results,
    confusion_matrix,
    expected_calibration_error,
    mean_class_accuracy,
    mean_influence,
    reliability,
    steps_observed,
    steps_of_half_influence,
    top_k_hits,
)

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
    assert top_k_hits(SCORES, TARGETS, k).sum() == right


def test_top_1_is_the_default() -> None:
    assert top_k_hits(SCORES, TARGETS).tolist() == [True, False, True, True, False, False]


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
    assert top_k_hits(scores, targets).sum() == 1
    assert np.trace(confusion_matrix(scores, targets, 3)) == 1


def test_each_class_has_recall_precision_and_its_worst_mistake() -> None:
    confusion = np.array([[3, 1, 0], [0, 0, 2], [0, 0, 0]])
    assert class_results(confusion, ("a", "b", "c")) == (
        ClassResult("a", 4, 3 / 4, 1.0, "b", 1),
        ClassResult("b", 2, 0.0, 0.0, "c", 2),
        ClassResult("c", 0, None, 0.0, None, 0),
    )


def test_reliability_puts_clips_of_like_confidence_together() -> None:
    """Bins ((m - 1) / M, m / M] with M = 4: 0.5 belongs to the second, 0.51 to the third."""
    confidence = np.array([0.3, 0.5, 0.51, 1.0, 0.9], np.float32)
    hits = np.array([True, False, True, True, True])
    bins = reliability(confidence, hits, 4)
    assert [part.num_clips for part in bins] == [2, 1, 2]
    assert [part.accuracy for part in bins] == [0.5, 1, 1]
    assert [part.confidence for part in bins] == pytest.approx([0.4, 0.51, 0.95])


def test_the_calibration_error_is_the_mean_gap_weighted_by_clips() -> None:
    bins = [ReliabilityBin(3, 0.9, 2 / 3), ReliabilityBin(1, 0.2, 1.0)]
    assert expected_calibration_error(bins) == pytest.approx(
        3 / 4 * abs(2 / 3 - 0.9) + 1 / 4 * abs(1 - 0.2)
    )


def test_scores_that_keep_their_promise_have_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1, 50_000).astype(np.float32)
    hits = rng.random(50_000) < confidence
    assert expected_calibration_error(reliability(confidence, hits)) < 0.01
    assert expected_calibration_error(reliability(confidence, hits & False)) == pytest.approx(
        confidence.mean(), abs=1e-5
    )


@pytest.mark.parametrize(
    ("num_steps", "last"),
    [
        (1, [0] * 10),
        (10, list(range(10))),
        (30, [2, 5, 8, 11, 14, 17, 20, 23, 26, 29]),
        (7, [0, 1, 2, 2, 3, 4, 4, 5, 6, 6]),
    ],
)
def test_a_part_of_a_clip_is_rounded_up_to_whole_steps(num_steps: int, last: list[int]) -> None:
    assert steps_observed(num_steps) == last


def test_influence_is_relative_to_the_newest_input_of_the_same_clips() -> None:
    norms = [np.array([2.0, 1.0, 0.5]), np.array([4.0, 2.0]), np.array([1.0])]
    # lag 1: clips 1 and 2, (1 + 2) / 2 over (2 + 4) / 2; lag 2 is reached by one of three
    assert mean_influence(norms) == pytest.approx([1, 0.5])


def test_half_of_a_plain_means_influence_is_half_the_clip() -> None:
    assert steps_of_half_influence([np.ones(8), np.ones(4)]) == (4 + 2) / 2
    assert steps_of_half_influence([np.array([1.0, 0.1, 0.1])]) == 1
