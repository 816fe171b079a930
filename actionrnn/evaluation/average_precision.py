"""Average precision of steps and of segments, over everything or over resampled groups.

What is ranked is a step (is it of this class?) or a predicted segment (does it match a true one?).
Equal scores are taken together, so that the order in which things are given means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_THRESHOLDS = 64
"""Of a ranking that is resampled; see `Ranking.coarse`."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """What G groups have of one class, between each threshold of the score and the next.

    The B thresholds fall; they are the scores of what is right, because only there precision is
    taken. All arrays are counts.
    """

    right: Floats
    """(G, B)."""
    wrong: Floats
    """(G, B)."""
    num_true: Floats
    """(G,), what there is to be found."""
    num_wrong: Floats
    """(G,), those below the last threshold as well."""

    @property
    def everything(self) -> Floats:
        """Each group once, (1, G): for the number itself."""
        return np.ones((1, len(self.num_true)))

    def coarse(self, most: int = MOST_THRESHOLDS) -> Ranking:
        """With at most so many thresholds, each with about as much that is right.

        Average precision falls a little, by about the same in every resample.
        """
        num = self.right.sum(axis=0).cumsum()  # (B,), rising
        if len(num) <= most:
            return self
        wanted = np.linspace(num[-1] / most, num[-1], most)
        stops = np.unique(np.searchsorted(num, wanted - 0.5))
        firsts = np.append(0, stops[:-1] + 1)
        right, wrong = (np.add.reduceat(what, firsts, axis=1) for what in (self.right, self.wrong))
        return Ranking(right, wrong, self.num_true, self.num_wrong)


def rank(
    scores: NDArray[np.floating],
    right: NDArray[np.bool_],
    groups: NDArray[np.intp] | None = None,
    num_groups: int = 1,
    num_true: Floats | None = None,
) -> Ranking:
    """Rank N steps or segments by their score of one class.

    Args:
        scores: (N,).
        right: (N,).
        groups: (N,), the number of each one's group; None: there is one group.
        num_true: (G,), how many there are to be found; None: those that are right, as every step
            of a class is ranked, but not every true segment is found.
    """
    groups = np.zeros(len(scores), np.intp) if groups is None else groups
    thresholds = np.unique(scores[right])  # rising
    place = len(thresholds) - np.searchsorted(thresholds, scores, side="right")
    size = len(thresholds) + 1  # the last: below every threshold

    def counts(chosen: NDArray[np.bool_]) -> Floats:
        cells = groups[chosen] * size + place[chosen]
        found = np.bincount(cells, minlength=num_groups * size)
        return found.reshape(num_groups, size).astype(np.float64)

    rights, wrongs = counts(right), counts(~right)
    return Ranking(
        right=rights[:, :-1],
        wrong=wrongs[:, :-1],
        num_true=rights.sum(axis=1) if num_true is None else num_true,
        num_wrong=wrongs.sum(axis=1),
    )


def average_precision(ranking: Ranking, drawn: Floats | None = None) -> Floats:
    """The mean over what is true of the precision at its score, plain and calibrated, (R, 2).

    AP = sum over thresholds n of (R_n - R_(n-1)) P_n, with recall R and precision P, without
    interpolation; over the steps of a class, the per-frame AP of online action detection.

    Calibrated, precision is w TP / (w TP + FP), with w the number of wrong ones over that of true
    ones, so that a rare class scores like a frequent one; scores that know nothing have about 0.5.
    De Geest, Gavves, Ghodrati, Li, Snoek and Tuytelaars, "Online Action Detection", ECCV 2016.

    Args:
        drawn: (R, G), how often each of R resamples has each group; None: each once, R = 1.

    Returns:
        NaN where nothing is true.
    """
    drawn = ranking.everything if drawn is None else drawn
    right, hits, misses = _counted(ranking, drawn)
    wrong, true = drawn @ ranking.num_wrong, drawn @ ranking.num_true
    # where nothing can be wrong, precision is 1 whatever the weight
    weight = np.where(wrong > 0, wrong, 1) / np.where(true > 0, true, 1)
    plain = _mean(right * _precision(hits, misses), true)
    calibrated = _mean(right * _precision(weight[:, None] * hits, misses), true)
    return np.stack([plain, calibrated], axis=1)


def interpolated_average_precision(ranking: Ranking, drawn: Floats | None = None) -> Floats:
    """The same, plain, with the best precision at any recall as high or higher, (R,).

    That is the area under the curve at all its points, as in Pascal VOC from 2010 and, for
    segments, in the evaluation of ActivityNet (Caba Heilbron, Escorcia, Ghanem and Niebles, CVPR
    2015), with which THUMOS'14 is scored too.
    """
    drawn = ranking.everything if drawn is None else drawn
    right, hits, misses = _counted(ranking, drawn)
    # a threshold with nothing that is right in a resample has no better precision than the one
    # before, and so changes nothing
    best = np.maximum.accumulate(_precision(hits, misses)[:, ::-1], axis=1)[:, ::-1]
    return _mean(right * best, drawn @ ranking.num_true)


def _counted(ranking: Ranking, drawn: Floats) -> tuple[Floats, Floats, Floats]:
    """What is right at each threshold alone, and right and wrong down to it, (R, B) each."""
    right = drawn @ ranking.right
    return right, right.cumsum(axis=1), (drawn @ ranking.wrong).cumsum(axis=1)


def _precision(hits: Floats, misses: Floats) -> Floats:
    precision: Floats = hits / np.maximum(hits + misses, np.finfo(np.float64).tiny)
    return precision


def _mean(parts: Floats, num_true: Floats) -> Floats:
    sums = parts.sum(axis=1)
    found: Floats = np.full(len(sums), np.nan)
    np.divide(sums, num_true, out=found, where=num_true > 0)
    return np.minimum(found, 1)
