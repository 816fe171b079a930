"""How good the scores of a test are; `bootstrap` computes how certain these numbers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from actionrnn.model.segments import NOTHING, ON

Rate = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole; checked where a report is read."""

NUM_BINS = 15
"""Of the calibration, as in Guo et al. 2017."""

PERCENTS_OBSERVED = tuple(range(10, 101, 10))


def percent(value: float | None) -> str:
    """`86.7%`, or a dash."""
    return "-" if value is None else f"{value:.1%}"


def answers_of(
    scores: NDArray[np.float32], label_sets: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """What N scores (N, K) say, (N,): the best class of each; ties go to the lower index.

    Args:
        label_sets: (C, K), of a multi-label head: the answer is then the row that holds exactly the
            classes from `ON` on, or NOTHING if there is no such row. It is right if it is the
            target's row: exact match, or subset accuracy (Zhang and Zhou, "A Review on Multi-Label
            Learning Algorithms", IEEE TKDE 2014).
    """
    if label_sets is None:
        best: NDArray[np.int64] = scores.argmax(axis=1)
        return best
    return rows_of(scores >= ON, label_sets)


def rows_of(is_on: NDArray[np.bool_], label_sets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which row of the sets (C, K) holds exactly the classes that are on, (N, K) -> (N,).

    NOTHING where there is no such row.
    """
    row_of = {row.tobytes(): index for index, row in enumerate(np.ascontiguousarray(label_sets))}
    found = [row_of.get(row.tobytes(), NOTHING) for row in np.ascontiguousarray(is_on)]
    return np.array(found, np.int64)


def top_k_hits(
    scores: NDArray[np.float32], targets: NDArray[np.int64], k: int = 1
) -> NDArray[np.bool_]:
    """Whether each clip's true class is among the k best, (N,); ties go to the lower index."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    hits: NDArray[np.bool_] = (best == targets[:, None]).any(axis=1)
    return hits


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


@dataclass(frozen=True)
class ClassResult:
    """One class of the test."""

    label: str
    num_clips: int
    recall: float | None
    """The part of its clips that were recognised; None without clips."""
    precision: float | None
    """The part of the clips given this answer that are of this class; None if never given."""
    confused_with: str | None
    """The wrong answer that its clips were given most often."""
    confused_clips: int = 0


def label_results(
    scores: NDArray[np.float32], is_on: NDArray[np.bool_], labels: Sequence[str]
) -> tuple[ClassResult, ...]:
    """Recall and precision of each label of a multi-label head, at the score `ON`.

    Args:
        scores: (N, K).
        is_on: what is true, (N, K).
    """
    given = scores >= ON
    right, true, said = ((one.sum(axis=0)).tolist() for one in (given & is_on, is_on, given))
    return tuple(
        ClassResult(
            label=label,
            num_clips=true[index],
            recall=right[index] / true[index] if true[index] else None,
            precision=right[index] / said[index] if said[index] else None,
            confused_with=None,
        )
        for index, label in enumerate(labels)
    )


def class_results(confusion: NDArray[np.int64], labels: Sequence[str]) -> tuple[ClassResult, ...]:
    """Recall, precision and the most frequent mistake of each class: confusion (K, K)."""
    results = []
    for index, label in enumerate(labels):
        right = int(confusion[index, index])
        clips, given = int(confusion[index].sum()), int(confusion[:, index].sum())
        wrong = confusion[index].copy()
        wrong[index] = 0
        worst = int(wrong.argmax())
        results.append(
            ClassResult(
                label=label,
                num_clips=clips,
                recall=right / clips if clips else None,
                precision=right / given if given else None,
                confused_with=labels[worst] if wrong[worst] else None,
                confused_clips=int(wrong[worst]),
            )
        )
    return tuple(results)


@dataclass(frozen=True)
class ReliabilityBin:
    """The clips whose best score lies in one interval; of multi-label heads, the classes of all
    clips whose score does.
    """

    num_clips: int
    """Of multi-label heads: of such classes."""
    confidence: float
    """The mean of these scores."""
    accuracy: float
    """The part of them that is right; of multi-label heads, that is on."""


def reliability(
    confidence: NDArray[np.float32], hits: NDArray[np.bool_], num_bins: int = NUM_BINS
) -> tuple[ReliabilityBin, ...]:
    """Confidence beside accuracy, in bins ((m - 1) / M, m / M]; empty bins are left out.

    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.

    Args:
        confidence: each clip's best score, (N,).
        hits: whether that answer was right, (N,).
    """
    bin_of = np.clip(np.ceil(confidence.astype(np.float64) * num_bins) - 1, 0, num_bins - 1)
    bins = []
    for index in range(num_bins):
        inside = bin_of == index
        if inside.any():
            mean = float(confidence[inside].mean(dtype=np.float64))
            bins.append(ReliabilityBin(int(inside.sum()), mean, float(hits[inside].mean())))
    return tuple(bins)


def reliability_of(
    scores: NDArray[np.float32], targets: NDArray[np.int64], label_sets: NDArray[np.bool_] | None
) -> tuple[ReliabilityBin, ...]:
    """`reliability` of the best answers; of multi-label heads, of each class of each clip.

    Args:
        scores: (N, K).
        targets: (N,).
        label_sets: see `answers_of`.
    """
    if label_sets is None:
        return reliability(scores.max(axis=1), top_k_hits(scores, targets))
    return reliability(scores.ravel(), label_sets[targets].ravel())


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """ECE = sum over bins of (clips in bin / all clips) |accuracy - confidence|.

    Equation 3 of Guo et al. 2017 (see `reliability`). 0: a score of 0.8 is right in 80 %.
    """
    total = sum(part.num_clips for part in bins)
    return sum(part.num_clips / total * abs(part.accuracy - part.confidence) for part in bins)


def steps_observed(num_steps: int) -> list[int]:
    """The last step of the first 10, 20, ... 100 % of a clip, rounded up: at least one frame.

    >>> steps_observed(4)
    [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    """
    return [-(-percent * num_steps // 100) - 1 for percent in PERCENTS_OBSERVED]


def mean_influence(norms: Sequence[NDArray[np.float64]]) -> list[float]:
    """How strongly an input k steps ago still moves the score, relative to the newest input.

    At lag k: the mean of |d y_T / d x_(T-k)| over the mean of |d y_T / d x_T|, both over the
    clips that are longer than k, as far as at least half of the clips reach. 1 at every lag is
    a plain mean over frames; a fast fall is the vanishing gradient (Bengio, Simard and
    Frasconi, "Learning long-term dependencies with gradient descent is difficult", 1994).

    Args:
        norms: per clip (T,), the norm at lag 0, 1, ..., T - 1.
    """
    lengths = sorted(len(clip) for clip in norms)
    curve = []
    for lag in range(lengths[len(lengths) // 2]):
        reached = [clip for clip in norms if len(clip) > lag]
        newest = np.mean([clip[0] for clip in reached])
        curve.append(float(np.mean([clip[lag] for clip in reached]) / max(newest, 1e-30)))
    return curve


def steps_of_half_influence(norms: Sequence[NDArray[np.float64]]) -> float:
    """How many of the newest inputs hold half of all influence, mean over clips.

    Half the clip's length for a plain mean over frames; 1 for a model that forgets at once.

    Args:
        norms: as of `mean_influence`.
    """
    counts = [np.searchsorted(np.cumsum(clip), clip.sum() / 2 * (1 - 1e-9)) + 1 for clip in norms]
    return float(np.mean(counts))
