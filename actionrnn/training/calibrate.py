"""The temperature of a training's scores: on which clips it is fitted, and what it brings.

`model.calibration` fits one temperature; here no fold's scores are changed by one that was fitted
on its own test clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.sequences import Sequences
from actionrnn.evaluation.metrics import expected_calibration_error, reliability_of
from actionrnn.evaluation.predict import FoldPredictions
from actionrnn.evaluation.report import Calibration
from actionrnn.model.calibration import at_temperature, fit_label_temperature, fit_temperature
from actionrnn.model.heads import Head, read_out


@dataclass(frozen=True)
class Temperatures:
    """Of one training."""

    model: float
    folds: tuple[float, ...]
    """Of each fold's test clips."""
    fitted_on: str
    num_clips: int
    """On how many clips the model's was fitted."""
    helps: bool = True
    """Whether each fold's lower the calibration error of its own clips, by which they were not
    fitted. A few answers that are sure and wrong weigh much in the likelihood, and little in that
    error. Of one fold nothing says so, and its temperature is taken to help."""

    def apply(self, predictions: Sequence[FoldPredictions]) -> list[FoldPredictions]:
        """The folds' predictions at their temperatures; their baselines stay."""
        return [
            replace(fold, scores=_scaled(fold, temperature))
            for fold, temperature in zip(predictions, self.folds, strict=True)
        ]

    def describe(self, predictions: Sequence[FoldPredictions], *, applied: bool) -> Calibration:
        """What they do to the folds' predictions, which are at temperature 1."""
        return Calibration(
            temperature=self.model,
            fitted_on=self.fitted_on,
            num_clips=self.num_clips,
            ece_before=_calibration_error(predictions),
            ece_after=_calibration_error(self.apply(predictions)),
            applied=applied,
        )


def from_other_folds(predictions: Sequence[FoldPredictions]) -> Temperatures:
    """Each fold's is fitted on the test clips of the others, the model's on those of all.

    Args:
        predictions: of at least two folds, at temperature 1.
    """
    found = Temperatures(
        model=_fit(predictions),
        folds=tuple(
            _fit([*predictions[:index], *predictions[index + 1 :]])
            for index in range(len(predictions))
        ),
        fitted_on="test clips of the other folds",
        num_clips=sum(len(fold.targets) for fold in predictions),
    )
    after, before = _calibration_error(found.apply(predictions)), _calibration_error(predictions)
    return replace(found, helps=after < before)


def from_validation(head: Head, validation: Sequences) -> Temperatures:
    """One for a single fold and its model, from the clips that were held back from the training."""
    scores = np.stack([read_out(head, values).so_far[-1] for values in validation.values])
    label_sets = validation.sets(head.num_classes) if head.config.multi_label else None
    held_out = FoldPredictions("validation", scores, validation.targets, label_sets=label_sets)
    temperature = _fit([held_out])
    return Temperatures(temperature, (temperature,), "validation clips", len(scores))


def _scaled(fold: FoldPredictions, temperature: float) -> NDArray[np.float32]:
    multi_label = fold.label_sets is not None
    return at_temperature(fold.scores, temperature, multi_label=multi_label)


def _fit(predictions: Sequence[FoldPredictions]) -> float:
    scores, targets, label_sets = _joined(predictions)
    if label_sets is None:
        return fit_temperature(scores, targets)
    return fit_label_temperature(scores, label_sets[targets])


def _calibration_error(predictions: Sequence[FoldPredictions]) -> float:
    return expected_calibration_error(reliability_of(*_joined(predictions)))


def _joined(
    predictions: Sequence[FoldPredictions],
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_] | None]:
    """Scores (N, K), targets (N,), and of multi-label heads what these stand for, (C, K)."""
    scores = np.concatenate([fold.scores for fold in predictions])
    targets = np.concatenate([fold.targets for fold in predictions])
    return scores, targets, predictions[0].label_sets
