"""Intervals against formulas and coverage; the exact test against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from actionrnn.training.intervals import bootstrap_class_mean, bootstrap_mean, mcnemar


def test_where_each_clip_is_its_own_group_it_is_the_standard_error() -> None:
    values = np.random.default_rng(1).random(400) < 0.7
    low, high = bootstrap_mean(values.astype(float), range(400)) or (0, 0)
    error = 1.96 * np.sqrt(values.mean() * (1 - values.mean()) / 400)
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.01)


def test_clips_that_are_alike_count_once() -> None:
    """Ten copies of each clip say no more than the clip; as clips they seem to."""
    values = (np.random.default_rng(2).random(30) < 0.6).astype(float)
    once = bootstrap_mean(values, range(30))
    copies = bootstrap_mean(np.repeat(values, 10), np.repeat(np.arange(30), 10).tolist())
    alone = bootstrap_mean(np.repeat(values, 10), range(300))
    assert copies == pytest.approx(once)
    assert once is not None and alone is not None
    assert alone[1] - alone[0] < 0.5 * (once[1] - once[0])


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(25), 8)
    inside = 0
    for _ in range(200):
        skill = rng.beta(4, 2, 25)  # mean 2 / 3; groups differ
        bounds = bootstrap_mean((rng.random(200) < skill[groups]).astype(float), groups.tolist())
        assert bounds is not None
        inside += bounds[0] <= 2 / 3 <= bounds[1]
    assert 0.87 <= inside / 200 <= 0.99


def test_the_mean_over_classes_weighs_classes_alike() -> None:
    targets = np.array([0] * 90 + [1] * 10)
    hits = np.array([True] * 90 + [True, False] * 5)
    low, high = bootstrap_class_mean(hits, targets, range(100)) or (0, 0)
    assert low < 0.75 < high
    assert 0.2 < high - low < 0.45  # ten clips make half of it; over clips it would be 0.1


def test_one_group_has_no_interval() -> None:
    assert bootstrap_mean(np.array([0.0, 1.0]), ["ann", "ann"]) is None


@pytest.mark.parametrize("num_groups", [2, 9, 50])
def test_a_perfect_score_is_not_called_certain(num_groups: int) -> None:
    """Clopper and Pearson: the chance of n of n at the lower bound is 2.5 %."""
    low, high = bootstrap_mean(np.ones(num_groups), range(num_groups)) or (0, 0)
    assert (low**num_groups, high) == pytest.approx((0.025, 1))
    low, high = bootstrap_mean(np.zeros(num_groups), range(num_groups)) or (1, 1)
    assert (low, (1 - high) ** num_groups) == pytest.approx((0, 0.025))


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (1, 1, 1.0),
        (0, 5, 2 / 32),
        (5, 0, 2 / 32),
        (1, 9, 2 * (1 + 10) / 1024),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (4, 6, 2 * (1 + 10 + 45 + 120 + 210) / 1024),
    ],
)
def test_mcnemar_is_the_binomial_tail_on_both_sides(
    only_first: int, only_second: int, p: float
) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p)


def test_mcnemar_of_thousands_of_clips() -> None:
    assert mcnemar(1000, 2000) < 1e-70
    assert mcnemar(1500, 1500) == 1
