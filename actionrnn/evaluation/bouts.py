"""Two annotations of the same time side by side: which bouts match, how well they agree.

A bout is one stretch of one class. The second annotation is a prediction or another person's; the
first is taken for the truth. Classes may overlap in time.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from actionrnn.evaluation.bootstrap import sum_by_unit
from actionrnn.evaluation.segment_metrics import Labels

IOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""The intersections over union at which segments are scored, as on THUMOS'14."""
BOUT_IOU = 0.5
"""A bout that overlaps a true one of its class by at least this much is right."""

_EXACT = 1e-9  # of an overlap: what rounding may cost at a threshold

Floats = NDArray[np.float64]


def matches(
    found: NDArray[np.number],
    scores: Floats,
    true: NDArray[np.number],
    ious: tuple[float, ...] = IOUS,
) -> NDArray[np.bool_]:
    """Which of P predicted segments match one of S true ones, all of one class and recording.

    In the order of falling score each takes, of the true ones that are not taken yet, the one that
    it overlaps best, if their intersection over union is at least the threshold. So each true
    segment is found once, and what finds it again is wrong. As ActivityNet is evaluated (Caba
    Heilbron, Escorcia, Ghanem and Niebles, CVPR 2015). Of equal scores the first comes first.

    Args:
        found: (P, 2), begins and ends, in seconds or steps.
        scores: (P,).
        true: (S, 2).

    Returns:
        (P, len(ious)).
    """
    hits = np.zeros((len(found), len(ious)), np.bool_)
    true = true[np.argsort(true[:, 0], kind="stable")]
    begins, ends = true[:, 0], true[:, 1]
    reach = np.maximum.accumulate(ends)  # the latest end so far: they need not be in order
    lows = np.searchsorted(reach, found[:, 0], side="right").tolist()
    highs = np.searchsorted(begins, found[:, 1], side="left").tolist()
    taken = np.zeros((len(ious), len(true)), np.bool_)
    for one in np.argsort(-scores, kind="stable").tolist():
        if lows[one] >= highs[one]:
            continue
        near = slice(lows[one], highs[one])
        begin, end = found[one]
        both = np.minimum(ends[near], end) - np.maximum(begins[near], begin)
        either = np.maximum(ends[near], end) - np.minimum(begins[near], begin)
        overlaps = np.maximum(both, 0) / np.maximum(either, np.finfo(np.float64).tiny)
        for which, iou in enumerate(ious):
            free = np.where(taken[which, near], -1, overlaps)
            best = int(free.argmax())
            if free[best] >= iou - _EXACT:
                taken[which, near.start + best] = hits[one, which] = True
    return hits


@dataclass(frozen=True)
class Bouts:
    """The predicted bouts of one recording, P, beside the true ones; K classes."""

    labels: Labels
    """(P,)."""
    scores: Floats
    """(P,)."""
    hits: NDArray[np.bool_]
    """(P, len(IOUS)): whether each matches a true one of its class."""
    num_true: Labels
    """(K,)."""

    @property
    def num_found(self) -> Labels:
        """(K,)."""
        return np.bincount(self.labels, minlength=len(self.num_true))

    @property
    def num_matched(self) -> Labels:
        """At `BOUT_IOU`, (K,)."""
        right = self.hits[:, IOUS.index(BOUT_IOU)]
        return np.bincount(self.labels[right], minlength=len(self.num_true))


def match_bouts(
    found: NDArray[np.number], scores: Floats, true: NDArray[np.number], num_classes: int
) -> Bouts:
    """Match the bouts of one recording, class by class.

    Args:
        found: (P, 3): begin, end and class of each, see `segment_metrics.segments_of`.
        scores: (P,).
        true: (S, 3).
    """
    hits = np.zeros((len(found), len(IOUS)), np.bool_)
    for which in np.intersect1d(found[:, 2], true[:, 2]):
        ours, theirs = found[:, 2] == which, true[:, 2] == which
        hits[ours] = matches(found[ours, :2], scores[ours], true[theirs, :2])
    num_true = np.bincount(true[:, 2].astype(np.int64), minlength=num_classes)
    return Bouts(found[:, 2].astype(np.int64), scores, hits, num_true)


@dataclass(frozen=True)
class Tally:
    """What is counted of two annotations; a row is a recording, a group of them, or a resample.

    N rows, K classes. All that follows is a ratio of these sums, so that groups can be drawn.
    """

    seconds: Floats
    """(N,), the time that counts."""
    both: Floats
    """(N, K), the seconds in which both have the class."""
    true: Floats
    """(N, K), the seconds of the first."""
    found: Floats
    """(N, K), the seconds of the second."""
    num_true: Floats
    """(N, K), bouts."""
    num_found: Floats
    """(N, K), bouts."""
    num_matched: Floats
    """(N, K), bouts of the second that match one of the first, at `BOUT_IOU`."""
    agreed: Floats
    """(N,), the seconds in which both say the same of all classes."""
    true_states: Floats
    """(N, C), the seconds in which the first says each of the C things that are said of all
    classes at once; where classes exclude each other, a class or none."""
    found_states: Floats
    """(N, C), of the second."""

    def drawn(self, times: Floats) -> Tally:
        """The sums with each row as often as each of R resamples has it, (R, N)."""
        return Tally(*(times @ getattr(self, one.name) for one in fields(self)))

    def by_unit(self, units: Sequence[Hashable]) -> Tally:
        """The sums over the rows of each group."""
        return Tally(*(sum_by_unit(getattr(self, one.name), units) for one in fields(self)))


def stacked(rows: Sequence[Tally]) -> Tally:
    """Rows one below another."""
    return Tally(
        *(np.concatenate([getattr(row, one.name) for row in rows]) for one in fields(Tally))
    )


def ratio(parts: Floats, wholes: Floats) -> Floats:
    """NaN where there is nothing to count."""
    parts, wholes = np.broadcast_arrays(parts, wholes)
    found: Floats = np.full(parts.shape, np.nan)
    np.divide(parts, wholes, out=found, where=wholes > 0)
    return found


def kappa_of(agreed: Floats, chance: Floats, seconds: Floats) -> Floats:
    """How much more two agree than by chance: (p_o - p_e) / (1 - p_e), from -1 to 1.

    Cohen, "A coefficient of agreement for nominal scales", 1960, over time: the time-based kappa
    of Bakeman, Quera and Gnisci, "Observer agreement for timed-event sequential data", Behavior
    Research Methods 2009, without tolerance, of time units that get ever shorter.

    Args:
        agreed: p_o times T, the seconds in which they agree.
        chance: p_e times T squared, the sum over what is said of the product of both's seconds.
        seconds: T.

    Returns:
        NaN where chance alone makes them agree everywhere: both say one thing all the time.
    """
    left = seconds**2 - chance
    known = left > _EXACT * seconds**2
    kappa: Floats = np.full(left.shape, np.nan)
    np.divide(agreed * seconds - chance, left, out=kappa, where=known)
    return np.clip(kappa, -1, 1, out=kappa)


def overall_kappa(tally: Tally) -> Floats:
    """Cohen's kappa over all classes at once, (N,).

    Where classes overlap, each set of classes that is seen at once is a thing that can be said.
    """
    chance = (tally.true_states * tally.found_states).sum(axis=1)
    return kappa_of(tally.agreed, chance, tally.seconds)


def class_kappas(tally: Tally) -> Floats:
    """Cohen's kappa of each class against all else, (N, K)."""
    seconds = np.broadcast_to(tally.seconds[:, None], tally.both.shape)
    neither = seconds - tally.true - tally.found + tally.both
    chance = tally.true * tally.found + (seconds - tally.true) * (seconds - tally.found)
    return kappa_of(tally.both + neither, chance, seconds)
