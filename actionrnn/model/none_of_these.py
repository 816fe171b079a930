"""Whether an answer looks like those for the classes at all, or like none of these.

A head that sees something else still shares its scores among its classes, but in another pattern
than it has for any of them. The pattern of an answer is log p_1 ... log p_K. Its distance is that
of Mahalanobis to the nearest class's mean pattern in the training, under one covariance (Lee, Lee,
Lee and Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples", NeurIPS 2018,
do so for the features of an image). Its typicality is the part of the answers for held-out clips of
the classes that are at least as far away, counting itself: a conformal p-value (Vovk, Gammerman and
Shafer, "Algorithmic Learning in a Random World", 2005). 'None of these' where it is below a rate is
said wrongly of about that part of the classes' own steps, in groups like those held out; how much
of other things is found so, nothing promises.

It needs the scores alone, so it goes with a timeline, a stream or an exported model.
`benchmarks/none_of_these.py` compares it with other scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actionrnn.model.segments import smooth_scores

Scores = NDArray[np.float32]
Values = NDArray[np.float64]
Kind = Literal["step", "stretch", "clip"]
"""What is answered for: a single step; the half second around it; a whole clip."""

KINDS: tuple[Kind, ...] = ("step", "stretch", "clip")
STRETCH_SECONDS = 0.5
"""Models hold distances of such stretches; another length would need another name."""
MOST_KEPT = 1000
"""Held-out distances of a kind; of more, evenly spread quantiles are kept."""
SHRINKAGE = 0.1
"""Of the covariance towards a multiple of the identity: steps of few clips are not independent."""
SMALLEST = float(np.finfo(np.float32).tiny)
"""A probability below it is taken for it: its logarithm must be finite."""

_PREFIX = "none_of_these."  # of its tensors in a model file


@dataclass(frozen=True)
class Patterns:
    """What the answers for each class look like."""

    means: Scores
    """(C, K): a row for each class that was trained on."""
    whitening: Scores
    """(K, K): in patterns times this, the Euclidean distance is that of Mahalanobis."""

    @classmethod
    def of(cls, scores: Scores, targets: NDArray[np.int64]) -> Patterns:
        """Those of a head's answers for steps that it was trained on.

        Args:
            scores: probabilities of now, (T, K).
            targets: (T,), each the index of a class.

        Raises:
            ValueError: there are no steps, or only one class, which has no pattern.
        """
        if len(scores) == 0 or scores.shape[1] < 2:
            raise ValueError(f"patterns need steps of several classes, not scores {scores.shape}")
        found = log_scores(scores)
        classes, place = np.unique(targets, return_inverse=True)
        means = np.stack([found[targets == which].mean(axis=0) for which in classes])
        rest = found - means[place]
        covariance = rest.T @ rest / len(rest)
        # answers that never vary have no scale; any will do
        scale = float(np.trace(covariance)) / len(covariance) or 1.0
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * scale * np.eye(len(covariance))
        whitening = np.linalg.cholesky(np.linalg.inv(covariance))
        return cls(means.astype(np.float32), whitening.astype(np.float32))

    def distances(self, scores: Scores) -> Values:
        """The squared distance of answers (T, K) to the nearest class, (T,)."""
        found, whitening = log_scores(scores), self.whitening.astype(np.float64)
        squares = [(((found - mean) @ whitening) ** 2).sum(axis=1) for mean in self.means]
        nearest: Values = np.min(squares, axis=0)
        return nearest


@dataclass(frozen=True)
class NoneOfThese:
    """The patterns of a model's classes, and how far held-out clips of them are away."""

    patterns: Patterns
    held_out: Mapping[Kind, Values]
    """The distances of answers for clips that were not trained on, in rising order, (N,) each.
    A kind may be missing: there are no stretches without a sampling rate."""

    def of_clip(self, scores: Scores) -> float:
        """The typicality of the answer for a clip, (K,): its last scores so far."""
        return float(self._typicality("clip", self.patterns.distances(scores[None]))[0])

    def of_steps(self, scores: Scores) -> Values | None:
        """The typicality of each step's scores of now alone, (T, K) -> (T,): for a stream.

        None: the model does not know that of steps.
        """
        if "step" not in self.held_out:
            return None
        return self._typicality("step", self.patterns.distances(scores))

    def of_recording(self, scores: Scores, pts_seconds: Values) -> Values | None:
        """The typicality of the half second around each step, (T,), which tells more.

        None: the model does not know that of steps.

        Args:
            scores: of now, (T, K).
            pts_seconds: (T,), never falling.
        """
        if "stretch" not in self.held_out:
            return None
        distances = self.patterns.distances(scores)
        return self._typicality("stretch", of_stretches(distances, pts_seconds))

    def farthest(self, kind: Kind, rate: float) -> float:
        """The distance beyond which, and only there, the typicality is below a rate.

        It serves where the held-out distances are not at hand, as in an exported model. Infinite if
        so few are held out that no typicality is below the rate.

        Raises:
            KeyError: the model does not know that of this kind.
        """
        known = self.held_out[kind]
        if rate <= 1 / (len(known) + 1):
            return math.inf
        return float(known[self._typicality(kind, known) >= rate].max())  # the nearest's is 1

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """As a model file holds them."""
        found = {"means": self.patterns.means, "whitening": self.patterns.whitening}
        found |= {kind: values.astype(np.float32) for kind, values in self.held_out.items()}
        return {_PREFIX + name: values for name, values in found.items()}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, NDArray[np.float32]], num_classes: int
    ) -> NoneOfThese | None:
        """Those of a model file, among others; None: it has none.

        Raises:
            ValueError: one is missing, or is not as it must be.
        """
        own = {n.removeprefix(_PREFIX): v for n, v in tensors.items() if n.startswith(_PREFIX)}
        if not own:
            return None
        needed = {"means", "whitening", "clip"}
        if not needed <= own.keys() <= needed | set(KINDS):
            raise ValueError(f"{_PREFIX}* has {', '.join(sorted(own))}")
        expected: dict[str, tuple[int, ...]] = {
            "means": (own["means"].size // num_classes, num_classes),
            "whitening": (num_classes, num_classes),
        }
        expected |= {kind: (own[kind].size,) for kind in KINDS if kind in own}
        for name, values in own.items():
            if values.shape != expected[name] or not values.size:
                raise ValueError(f"{_PREFIX}{name} should have the shape {list(expected[name])}")
            if not (np.issubdtype(values.dtype, np.floating) and np.isfinite(values).all()):
                raise ValueError(f"{_PREFIX}{name} must be finite numbers")
        held_out = {kind: np.sort(own[kind]).astype(np.float64) for kind in KINDS if kind in own}
        return cls(Patterns(own["means"], own["whitening"]), held_out)

    def _typicality(self, kind: Kind, distances: Values) -> Values:
        known = self.held_out[kind]
        at_least_as_far = len(known) - np.searchsorted(known, distances, side="left")
        part: Values = (at_least_as_far + 1) / (len(known) + 1)
        return part


def keep_some(distances: Values) -> Values:
    """Distances in rising order, thinned out to evenly spread quantiles."""
    if len(distances) <= MOST_KEPT:
        return np.sort(distances)
    places = (np.arange(MOST_KEPT) + 0.5) / MOST_KEPT
    found: Values = np.quantile(distances, places)
    return found


def of_stretches(distances: Values, pts_seconds: Values) -> Values:
    """The mean over the half second around each step, (T,)."""
    return smooth_scores(distances[:, None], pts_seconds, STRETCH_SECONDS)[:, 0]


def log_scores(scores: Scores) -> Values:
    """The pattern of each answer, (T, K)."""
    return np.log(np.maximum(scores, SMALLEST).astype(np.float64))


def is_own(tensor: str) -> bool:
    """Whether a model file's tensor is one of these, not the head's."""
    return tensor.startswith(_PREFIX)
