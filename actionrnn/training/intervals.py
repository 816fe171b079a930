"""How sure a number is: bootstrap intervals over groups, and paired tests of two runs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 2000
LEVEL = 0.95

Interval = tuple[float, float]


def bootstrap_mean(
    values: NDArray[np.float64], units: Sequence[Hashable], *, seed: int = 0
) -> Interval | None:
    """The 95 % percentile interval of a mean over clips, resampling whole groups.

    Clips of one group (person, scene) are alike, so groups are drawn with replacement and
    bring all their clips along (Efron and Tibshirani, "An Introduction to the Bootstrap",
    1993, chapter 13; Field and Welsh, "Bootstrapping clustered data", 2007).

    Args:
        values: (N,): hits, or differences of hits.
        units: (N,): each clip's group.

    Returns:
        lower and upper bound; None with fewer than two groups, which say nothing of others.
        Where all values are 0 or all are 1, resampling shows no spread: the bound is then
        that of Clopper and Pearson (1934) with the groups as trials.
    """
    return _interval(values[:, None], np.ones((len(values), 1)), units, seed)


def bootstrap_class_mean(
    hits: NDArray[np.bool_],
    targets: NDArray[np.int64],
    units: Sequence[Hashable],
    *,
    seed: int = 0,
) -> Interval | None:
    """The same for the mean over classes of each class's accuracy; hits (N,), targets (N,)."""
    classes = np.unique(targets)
    member = (targets[:, None] == classes).astype(np.float64)  # (N, C)
    return _interval(member * hits[:, None], member, units, seed)


def _interval(
    values: NDArray[np.float64],
    counts: NDArray[np.float64],
    units: Sequence[Hashable],
    seed: int,
) -> Interval | None:
    """Of the mean over columns of (sum of values / sum of counts); (N, C) each."""
    number = {unit: index for index, unit in enumerate(dict.fromkeys(units))}
    if len(number) < 2:
        return None
    unit_of = np.array([number[unit] for unit in units])
    sums, totals = np.zeros((2, len(number), values.shape[1]))
    np.add.at(sums, unit_of, values)
    np.add.at(totals, unit_of, counts)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(number), np.full(len(number), 1 / len(number)), NUM_RESAMPLES)
    with np.errstate(invalid="ignore"):  # a class that a resample leaves out does not count
        means = np.nanmean((drawn @ sums) / (drawn @ totals), axis=1)
    tail = (1 - LEVEL) / 2
    low, high = (float(bound) for bound in np.quantile(means, [tail, 1 - tail]))
    blind = tail ** (1 / len(number))
    if (values == counts).all():
        return blind, 1.0
    if not values.any():
        return 0.0, 1 - blind
    return low, high


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value that two runs are equally good, from where they differ.

    Under equality each clip that one run alone got right is a fair coin:
    p = min(1, 2 sum_(i <= min(b, c)) C(b + c, i) / 2^(b + c)).
    McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 1947; the exact form of Dietterich, Neural Computation 1998.

    Args:
        only_first: b, the clips that the first run alone got right.
        only_second: c, those that the second alone got right.
    """
    differ = only_first + only_second
    tail = sum(math.comb(differ, i) for i in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * tail / 2**differ))
