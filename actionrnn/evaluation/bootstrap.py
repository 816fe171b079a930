"""How certain a number is: bootstrap intervals over groups, and a paired test of two runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 2000
LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
NORMAL_TAIL = 1.959964
"""How many standard deviations of a normal distribution leave `TAIL` on a side."""
FEW_UNITS = 10
"""With fewer groups an interval is a rough guess."""
NO_SPREAD = 1e-9
"""Means that are closer differ only by rounding."""

Interval = tuple[float, float]

Measured = tuple[float | None, Interval | None]
"""A number, None where there is nothing to count, and its interval."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From (R, G), how often each of R resamples has each of G groups, to C numbers (R, C); NaN where
a resample has nothing to count, which then does not count itself."""


def bootstrap_mean(
    values: NDArray[np.float64], units: Sequence[Hashable], *, lowest: float = 0.0
) -> Interval | None:
    """The 95 % percentile interval of a mean over clips, resampling whole groups.

    Clips of one group (person, scene) are alike, so whole groups are drawn with replacement
    (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; Field and Welsh,
    "Bootstrapping clustered data", 2007).

    Args:
        values: (N,): hits, or differences of hits.
        units: (N,): each clip's group.
        lowest: the least that a value could be: 0 for hits, -1 for differences. The most is 1.

    Returns:
        lower and upper bound; None with fewer than two groups. If all groups score alike,
        resampling shows no spread, and the bounds are those of `_unseen_share`.
    """
    return _interval(values[:, None], np.ones((len(values), 1)), units, lowest)


def bootstrap_class_mean(
    hits: NDArray[np.bool_], targets: NDArray[np.int64], units: Sequence[Hashable]
) -> Interval | None:
    """The same for the mean over classes of each class's accuracy; hits (N,), targets (N,)."""
    classes = np.unique(targets)
    member = (targets[:, None] == classes).astype(np.float64)  # (N, C)
    return bootstrap_ratio(member * hits[:, None], member, units)


def bootstrap_ratio(
    parts: NDArray[np.float64], wholes: NDArray[np.float64], units: Sequence[Hashable]
) -> Interval | None:
    """The same for the mean over columns of (sum of the parts / sum of the wholes), in 0 ... 1.

    Args:
        parts: (N, C), what was right, from 0 to `wholes`: of each recording and class, say.
        wholes: (N, C), of how many. Groups and columns without any do not count, nor does a
            column in a resample that leaves it out.
        units: (N,): each row's group.
    """
    return _interval(parts, wholes, units, 0.0)


def bootstrap_median(values: NDArray[np.float64], units: Sequence[Hashable]) -> Interval | None:
    """The same for the median of values (N,); a single point if no resample moves it."""
    unit_of, num_units = numbered(units)
    if num_units < 2:
        return None
    # each value as often as its group was drawn
    medians = [np.median(np.repeat(values, times[unit_of])) for times in _draw(num_units)]
    return _middle(np.array(medians))


def bootstrap_numbers(
    statistic: Statistic, shares: NDArray[np.float64], *, lowest: float = 0.0
) -> list[Interval | None]:
    """The same for any C numbers that follow from how often each of G groups was drawn.

    Args:
        shares: (G, C), how much each group has of what a number counts, in any unit. With fewer
            than two groups that have any, the number gets no interval.
        lowest: the least that a number could be; the most is 1.
    """
    if len(shares) < 2:
        return [None] * shares.shape[1]
    resampled = statistic(_draw(len(shares)).astype(np.float64))
    return [
        _bounds(numbers[~np.isnan(numbers)], share[share > 0], lowest)
        for numbers, share in zip(resampled.T, shares.T, strict=True)
    ]


def measured(
    statistic: Statistic,
    shares: NDArray[np.float64],
    *,
    lowest: float = 0.0,
    exact: Statistic | None = None,
) -> list[Measured]:
    """C numbers over all groups, each once, with their intervals.

    Args:
        exact: for the numbers themselves, where `statistic` is a faster one; the intervals are
            moved by what the two differ.
    """
    everything = np.ones((1, len(shares)))
    numbers = (exact or statistic)(everything)[0]
    moved = numbers - statistic(everything)[0]

    def resampled(times: NDArray[np.float64]) -> NDArray[np.float64]:
        numbers: NDArray[np.float64] = np.clip(statistic(times) + moved, lowest, 1)
        return numbers

    intervals = bootstrap_numbers(resampled, shares, lowest=lowest)
    return [
        (None if math.isnan(number) else float(number), interval)
        for number, interval in zip(numbers, intervals, strict=True)
    ]


def measured_rates(events: NDArray[np.float64], wholes: NDArray[np.float64]) -> list[Measured]:
    """C rates over all groups with their intervals, see `bootstrap_rate`."""
    whole = float(wholes.sum())
    rates = [float(count) / whole if whole else None for count in events.sum(axis=0)]
    return list(zip(rates, bootstrap_rate(events, wholes), strict=True))


def bootstrap_rate(
    events: NDArray[np.float64], wholes: NDArray[np.float64]
) -> list[Interval | None]:
    """The same for C rates, events over a whole that bounds them nowhere: false alarms an hour.

    If all groups have the same rate, none at all say, the bounds are those of a Poisson count: a
    rate of 0 in T hours may be one of up to 3.7 / T. By Byar's approximation, Breslow and Day,
    "Statistical Methods in Cancer Research II", 1987, page 69.

    Args:
        events: (G, C), of each group.
        wholes: (G,).
    """
    counted = wholes > 0
    events, wholes = events[counted], wholes[counted]
    if len(wholes) < 2:
        return [None] * events.shape[1]
    drawn = _draw(len(wholes)).astype(np.float64)
    rates = (drawn @ events) / (drawn @ wholes)[:, None]
    return [
        _poisson_bounds(float(count), float(wholes.sum()))
        if np.ptp(rate) <= NO_SPREAD * rate.max()
        else _middle(rate)
        for rate, count in zip(rates.T, events.sum(axis=0), strict=True)
    ]


def sum_by_unit(values: NDArray[np.float64], units: Sequence[Hashable]) -> NDArray[np.float64]:
    """The sums over the rows of each group, (N, ...) -> (G, ...), in the order of their first."""
    unit_of, num_units = numbered(units)
    sums = np.zeros((num_units, *values.shape[1:]))
    np.add.at(sums, unit_of, values)
    return sums


def intervals_note(num_units: int, units: str) -> str:
    """What the intervals over so many units, `groups` or `clips`, are worth."""
    if num_units < 2:
        return "no 95 % intervals: one group alone says nothing of others"
    few = f" (fewer than {FEW_UNITS}: a rough guess)" if num_units < FEW_UNITS else ""
    return f"95 % bootstrap intervals over {num_units} {units}{few}"


def numbered(units: Sequence[Hashable]) -> tuple[NDArray[np.intp], int]:
    """Each row's group as a number, (N,), and how many groups there are."""
    number = {unit: index for index, unit in enumerate(dict.fromkeys(units))}
    return np.array([number[unit] for unit in units], np.intp), len(number)


def _draw(num_units: int) -> NDArray[np.int64]:
    """How often each resample has each group, (NUM_RESAMPLES, num_units)."""
    rng = np.random.default_rng(0)  # the same report each time
    return rng.multinomial(num_units, np.full(num_units, 1 / num_units), NUM_RESAMPLES)


def _middle(resampled: NDArray[np.float64]) -> Interval:
    low, high = (float(bound) for bound in np.quantile(resampled, [TAIL, 1 - TAIL]))
    return low, high


def _interval(
    values: NDArray[np.float64],
    counts: NDArray[np.float64],
    units: Sequence[Hashable],
    lowest: float,
) -> Interval | None:
    """Of the mean over columns of (sum of values / sum of counts); (N, C) each."""
    sums, totals = sum_by_unit(values, units), sum_by_unit(counts, units)
    counted = np.ix_(totals.any(axis=1), totals.any(axis=0))
    sums, totals = sums[counted], totals[counted]
    if len(totals) < 2:
        return None

    def statistic(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):  # a class that a resample leaves out does not count
            means: NDArray[np.float64] = np.nanmean((drawn @ sums) / (drawn @ totals), axis=1)
        return means[:, None]

    share = (totals / totals.sum(axis=0)).mean(axis=1)
    return bootstrap_numbers(statistic, share[:, None], lowest=lowest)[0]


def _bounds(
    resampled: NDArray[np.float64], shares: NDArray[np.float64], lowest: float
) -> Interval | None:
    if len(shares) < 2 or len(resampled) == 0:
        return None
    low, high = _middle(resampled)
    if np.ptp(resampled) < NO_SPREAD:
        unseen = _unseen_share(shares / shares.sum())
        return low - unseen * (low - lowest), high + unseen * (1 - high)
    return low, high


def _poisson_bounds(count: float, whole: float) -> Interval:
    """Of a rate, from a count over a whole."""

    def byar(count: float, sign: int) -> float:
        return float(count * (1 - 1 / (9 * count) + sign * NORMAL_TAIL / (3 * count**0.5)) ** 3)

    return (byar(count, -1) if count else 0.0) / whole, byar(count + 1, 1) / whole


def _unseen_share(weights: NDArray[np.float64]) -> float:
    """The largest share of the mean that groups unlike all the seen ones could plausibly have.

    Plausibly: with a chance of 2.5 % that none of them was seen. With r_g the chance that a group
    is like those seen, it is the maximum of sum w_g (1 - r_g) where the product of the r_g is
    0.025. Lagrange: r_g = min(1, m / w_g). For n groups of one weight it is 1 - 0.025^(1/n),
    the bound of Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika
    1934; for zero numerators see Hanley and Lippman-Hand, "If nothing goes wrong, is
    everything all right?", JAMA 1983.

    Args:
        weights: w_g, each group's part of the mean, (G,); they add up to 1.
    """
    logs = np.log(np.sort(weights)[::-1])
    chosen = np.arange(1, len(logs) + 1)  # how many of the heaviest have r_g < 1
    log_m = (math.log(TAIL) + np.cumsum(logs)) / chosen
    last = int(np.argmax(log_m >= np.append(logs[1:], -np.inf)))
    heaviest = np.exp(logs[: last + 1])
    return float((heaviest - math.exp(log_m[last])).sum())


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
