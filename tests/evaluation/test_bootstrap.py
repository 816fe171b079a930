"""Intervals against formulas and coverage; the exact test against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.evaluation.bootstrap import (
    bootstrap_class_mean,
    bootstrap_mean,
    bootstrap_median,
    bootstrap_rate,
    bootstrap_ratio,
    mcnemar,
    measured,
    measured_rates,
    sum_by_unit,
)


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


@pytest.mark.parametrize("num_groups", [2, 9, 50])
def test_where_nothing_differs_a_difference_may_be_of_either_sign(num_groups: int) -> None:
    """The groups that 2.5 % would leave unseen could gain all, or lose all."""
    unseen = 1 - 0.025 ** (1 / num_groups)
    bounds = bootstrap_mean(np.zeros(num_groups), range(num_groups), lowest=-1)
    assert bounds == pytest.approx((-unseen, unseen))


def test_a_difference_that_is_the_same_in_all_groups_is_not_called_certain() -> None:
    unseen = 1 - 0.025 ** (1 / 8)
    for gain in (-1, -0.25, 0.5, 1):
        bounds = bootstrap_mean(np.full(16, float(gain)), [*range(8)] * 2, lowest=-1)
        expected = gain - unseen * (gain + 1), gain + unseen * (1 - gain)
        assert bounds == pytest.approx(expected)


def test_groups_that_are_all_half_right_are_not_called_certain() -> None:
    low, high = bootstrap_mean(np.array([0.0, 1.0] * 8), np.repeat(range(8), 2).tolist()) or (0, 0)
    unseen = 1 - 0.025 ** (1 / 8)
    assert (low, high) == pytest.approx((0.5 - 0.5 * unseen, 0.5 + 0.5 * unseen))


def test_a_perfect_rare_class_says_less_than_its_share_of_the_clips() -> None:
    """48 : 6 : 6 clips, all right: of the rare classes 12 trials in all are known, not 60."""
    targets = np.repeat([0, 1, 2], [48, 6, 6])
    low, high = bootstrap_class_mean(np.ones(60, bool), targets, range(60)) or (0, 0)
    rare = 0.025 ** (1 / 12)  # both with this accuracy, the frequent one with 1
    assert (low, high) == pytest.approx(((1 + 2 * rare) / 3, 1))


def test_perfect_classes_of_the_same_groups_are_bound_as_the_clips_are() -> None:
    """Nine persons, each in all of four classes, are nine trials."""
    groups, targets = np.repeat(range(9), 4).tolist(), np.tile(range(4), 9)
    right = np.ones(36, bool)
    low, _ = bootstrap_class_mean(right, targets, groups) or (0, 0)
    assert low == pytest.approx(0.025 ** (1 / 9))
    assert bootstrap_mean(right.astype(float), groups) == pytest.approx((low, 1))


def test_a_ratio_of_ones_is_a_mean_and_its_sums_are_all_that_counts() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat(range(12), 10)
    hits = (rng.random(120) < 0.7).astype(float)
    whole = bootstrap_mean(hits, groups.tolist())
    assert bootstrap_ratio(hits[:, None], np.ones((120, 1)), groups.tolist()) == whole
    summed = hits.reshape(12, 10).sum(axis=1, keepdims=True)
    assert bootstrap_ratio(summed, np.full((12, 1), 10.0), range(12)) == whole


def test_groups_and_columns_without_anything_do_not_count() -> None:
    parts = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    wholes = np.array([[2.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    alone = bootstrap_ratio(parts[:, :1], wholes[:, :1], "abc")
    assert alone is not None
    assert bootstrap_ratio(parts, wholes, "abc") == alone
    nothing = np.zeros((2, 2))
    more = np.concatenate([parts, nothing]), np.concatenate([wholes, nothing])
    assert bootstrap_ratio(*more, "abcde") == alone
    assert bootstrap_ratio(*more, "aaade") is None  # one group has all
    assert bootstrap_ratio(nothing, nothing, "ab") is None


def test_the_interval_of_a_median_is_that_of_order_statistics() -> None:
    """Of 101 groups of one value: the ranks 50 -+ 1.96 sqrt(101) / 2, about 40 and 60."""
    low, high = bootstrap_median(np.arange(101.0), range(101)) or (0, 0)
    assert low == pytest.approx(40, abs=1.5)
    assert high == pytest.approx(60, abs=1.5)
    copies = bootstrap_median(np.repeat(np.arange(101.0), 3), np.repeat(range(101), 3).tolist())
    assert copies == (low, high)
    assert bootstrap_median(np.arange(3.0), "aaa") is None
    assert bootstrap_median(np.empty(0), "") is None


def test_numbers_of_sums_have_the_intervals_of_ratios() -> None:
    rng = np.random.default_rng(6)
    parts, wholes = rng.random((9, 2)), np.full((9, 2), 2.0)

    def ratios(times: np.ndarray) -> np.ndarray:
        return (times @ parts) / (times @ wholes)

    found = measured(ratios, wholes)
    for which, (number, interval) in enumerate(found):
        assert number == pytest.approx(parts[:, which].mean() / 2)
        column = [which]
        assert interval == pytest.approx(
            bootstrap_ratio(parts[:, column], wholes[:, column], range(9))
        )


def test_a_number_that_no_resample_moves_is_not_called_certain() -> None:
    ones = np.ones((5, 1))
    [(number, interval)] = measured(lambda times: np.ones((len(times), 1)), ones)
    assert (number, interval) == (1, pytest.approx((0.025 ** (1 / 5), 1)))
    [(_, interval)] = measured(lambda times: np.ones((len(times), 1)), ones[:1])
    assert interval is None  # one group
    [(_, interval)] = measured(
        lambda times: np.ones((len(times), 1)), ones * [[1], [0], [0], [0], [0]]
    )
    assert interval is None  # one group has all of it


def test_a_faster_statistic_moves_the_interval_to_the_exact_number() -> None:
    values = np.random.default_rng(7).random(20)

    def exact(times: np.ndarray) -> np.ndarray:
        return (times @ values / times.sum(axis=1))[:, None]

    shares = np.ones((20, 1))
    [(number, interval)] = measured(lambda times: exact(times) - 0.1, shares, exact=exact)
    assert number == pytest.approx(values.mean())
    assert interval == pytest.approx(measured(exact, shares)[0][1])


def test_the_interval_of_a_rate_is_that_of_its_counts() -> None:
    """Poisson counts in 200 groups of 2 hours: 1.96 standard errors on both sides."""
    events = np.random.default_rng(8).poisson(6.0, (200, 1)).astype(float)
    hours = np.full(200, 2.0)
    [(rate, interval)] = measured_rates(events, hours)
    assert rate == pytest.approx(events.mean() / 2)
    error = 1.96 * np.sqrt(events.sum()) / 400
    assert interval == pytest.approx((rate - error, rate + error), abs=0.03)


def test_no_false_alarm_at_all_is_no_proof_that_there_is_never_one() -> None:
    """The exact upper bound is -ln(0.025) / hours = 3.69 / 10; of 8 events in 8 groups 15.8 / 8."""
    [bounds] = bootstrap_rate(np.zeros((5, 1)), np.full(5, 2.0))
    assert bounds == pytest.approx((0, 0.369), abs=0.003)
    [bounds] = bootstrap_rate(np.ones((8, 1)), np.ones(8))
    assert bounds == pytest.approx((0.432, 1.970), abs=0.01)  # Garwood: 3.454 / 8, 15.763 / 8
    assert bootstrap_rate(np.ones((2, 1)), np.array([1.0, 0.0])) == [None]
    assert measured_rates(np.ones((1, 1)), np.zeros(1)) == [(None, None)]


def test_rows_are_summed_by_group() -> None:
    values = np.array([[1.0, 2], [3, 4], [5, 6]])
    assert sum_by_unit(values, ["b", "a", "b"]).tolist() == [[6, 8], [3, 4]]


@given(
    st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=2, max_size=12),
    st.integers(1, 4),
    st.sampled_from([0.0, -1.0]),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_an_interval_holds_the_mean_and_stays_in_its_range(
    values: list[float], clips_a_group: int, lowest: float
) -> None:
    array = np.repeat(np.clip(values, lowest, 1), clips_a_group)
    units = np.repeat(np.arange(len(values)), clips_a_group).tolist()
    low, high = bootstrap_mean(array, units, lowest=lowest) or (1, 0)
    assert lowest - 1e-9 <= low <= array.mean() + 1e-9
    assert array.mean() - 1e-9 <= high <= 1 + 1e-9
    assert low < high


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
