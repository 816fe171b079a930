"""Average precision against cases worked out by hand and loops over all thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.evaluation.average_precision import (
    average_precision,
    interpolated_average_precision,
    rank,
)

quick = settings(max_examples=80, deadline=None, derandomize=True)
RANKED = st.lists(
    st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 2)), min_size=1, max_size=40
)
"""Score, whether it is right, group."""


def scored(
    scores: list[float], right: list[int], num_true: float | None = None
) -> tuple[float, float, float]:
    """Plain, calibrated, interpolated."""
    wanted = None if num_true is None else np.array([num_true])
    ranking = rank(np.array(scores), np.array(right, bool), num_true=wanted)
    plain, calibrated = average_precision(ranking)[0]
    return float(plain), float(calibrated), float(interpolated_average_precision(ranking)[0])


def by_definition(
    scores: list[int], right: list[bool], num_true: int
) -> tuple[float, float, float]:
    """The same by a loop over all thresholds; precision and recall at each."""
    wrong = len(right) - sum(right)
    points = []
    for threshold in sorted(set(scores), reverse=True):
        taken = [ours for score, ours in zip(scores, right, strict=True) if score >= threshold]
        hits = sum(taken)
        weight = wrong / sum(right) if wrong and sum(right) else 1
        misses = len(taken) - hits
        weighed = weight * hits / (weight * hits + misses) if hits else 0
        points.append((hits / num_true, hits / len(taken), weighed))
    plain = calibrated = interpolated = before = 0.0
    for place, (recall, precision, weighed) in enumerate(points):
        plain += (recall - before) * precision
        calibrated += (recall - before) * weighed
        interpolated += (recall - before) * max(other for _, other, _ in points[place:])
        before = recall
    return plain, calibrated, interpolated


def test_a_ranking_worked_out_by_hand() -> None:
    """Right at ranks 1 and 3 of 5. Precisions 1 and 2/3; with w = 3/2, 1 and 3/(3 + 1)."""
    found = scored([0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 0, 0])
    assert found == pytest.approx(((1 + 2 / 3) / 2, (1 + 3 / 4) / 2, (1 + 2 / 3) / 2))


def test_interpolation_takes_the_best_precision_behind() -> None:
    """Right at ranks 2 and 3, and two of the four true ones are never found."""
    plain, _, interpolated = scored([3, 2, 1], [0, 1, 1], 4)
    assert plain == pytest.approx((1 / 2 + 2 / 3) / 4)
    assert interpolated == pytest.approx((2 / 3 + 2 / 3) / 4)


def test_calibration_makes_a_rare_class_score_like_a_frequent_one() -> None:
    """Nine times as many wrong ones, ranked alike: plain AP falls, calibrated AP stays."""
    scores, right = [4.0, 3.0, 2.0, 1.0], [1, 0, 1, 0]
    rare = [score for score in scores for _ in range(1 if score in (4, 2) else 9)]
    rights = [int(score in (4, 2)) for score in rare]
    plain, calibrated, _ = scored(scores, right)
    assert scored(rare, rights)[1] == pytest.approx(calibrated)
    assert scored(rare, rights)[0] < plain - 0.1


def test_scores_that_know_nothing_have_the_base_rate_and_a_half() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(20_000) < 0.1
    plain, calibrated, _ = scored(rng.random(20_000).tolist(), right.tolist())
    assert plain == pytest.approx(right.mean(), abs=0.01)
    assert calibrated == pytest.approx(0.5, abs=0.02)


def test_where_all_is_right_precision_is_one_and_where_nothing_is_there_is_no_number() -> None:
    assert scored([1, 2, 3], [1, 1, 1]) == (1, 1, 1)
    assert np.isnan(scored([1, 2, 3], [0, 0, 0])).all()
    assert scored([1, 2], [0, 0], 3) == (0, 0, 0)
    assert scored([], [], 2) == (0, 0, 0)


@quick
@given(RANKED, st.integers(0, 5))
def test_it_is_that_of_a_loop_over_all_thresholds(
    ranked: list[tuple[int, bool, int]], unseen: int
) -> None:
    scores, right, _ = (list(column) for column in zip(*ranked, strict=True))
    num_true = sum(right) + unseen
    if not num_true:
        return
    plain, calibrated, interpolated = by_definition(scores, right, num_true)
    found = scored(scores, right, num_true)
    assert (found[0], found[2]) == pytest.approx((plain, interpolated))
    if not unseen:  # as for steps: every true one is ranked
        assert found[1] == pytest.approx(calibrated)


@quick
@given(RANKED, st.permutations(range(40)))
def test_the_order_in_which_equal_scores_are_given_means_nothing(
    ranked: list[tuple[int, bool, int]], order: list[int]
) -> None:
    shuffled = [ranked[place] for place in order if place < len(ranked)]
    one, other = (
        scored([score for score, _, _ in some], [right for _, right, _ in some], 50)
        for some in (ranked, shuffled)
    )
    assert one == pytest.approx(other)


@quick
@given(RANKED, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_groups_that_are_drawn_count_as_often(
    ranked: list[tuple[int, bool, int]], times: list[int]
) -> None:
    scores, right, groups = (np.array(column) for column in zip(*ranked, strict=True))
    ranking = rank(scores, right, groups, 3)
    drawn = np.array([times], np.float64)
    repeated = np.repeat(np.arange(len(ranked)), np.array(times)[groups])
    alone = rank(scores[repeated], right[repeated])
    np.testing.assert_allclose(average_precision(ranking, drawn), average_precision(alone))
    np.testing.assert_allclose(
        interpolated_average_precision(ranking, drawn), interpolated_average_precision(alone)
    )


def test_fewer_thresholds_change_little_and_alike_in_each_resample() -> None:
    rng = np.random.default_rng(1)
    right = rng.random(6000) < 0.3
    scores = rng.normal(size=6000) + 1.5 * right
    ranking = rank(scores, right, np.arange(6000) % 10, 10)
    coarse = ranking.coarse()
    assert coarse.right.shape[1] == 64
    assert (coarse.right.sum(), coarse.num_wrong.sum()) == (right.sum(), (~right).sum())
    drawn = rng.multinomial(10, [0.1] * 10, 100).astype(np.float64)
    lost = average_precision(ranking, drawn) - average_precision(coarse, drawn)
    assert 0 <= lost.min() <= lost.max() < 0.01
    assert np.ptp(lost, axis=0).max() < 0.002
    few = rank(scores[:50], right[:50])
    assert few.coarse() is few
