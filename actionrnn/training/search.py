"""Which head suits the data: settings are tried on groups held back from the training groups.

Random search (Bergstra and Bengio, JMLR 2012) over what matters for a head on frozen features.
The test groups take no part in it: each fold searches within its own training side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actionrnn.config import HeadConfig
from actionrnn.datasets.splits import train_val_split
from actionrnn.errors import ConfigError, DatasetError
from actionrnn.training.experiment import Experiment, FitSpec

SPACE: dict[str, tuple[Any, ...]] = {
    "kind": ("gru", "lstm"),
    "hidden_size": (64, 128, 256, 512),
    "dropout": (0.3, 0.5, 0.7),
    "residual": (True, False),
    "projection": (True, False),
    "input_scaling": ("sqrt", "l2", "none"),
    "temporal_differences": (False, True),
}

LEAST_VALIDATION_FRACTION = 0.25
"""Held back for a search even if the configuration holds back less: it must be judged on it."""


@dataclass(frozen=True)
class Trial:
    """One setting, and how it did on the groups that were held back."""

    fold: str
    head: HeadConfig
    validation_loss: float | None
    """None, like its top-1, if the fit diverged."""
    validation_top1: float | None
    chosen: bool


def search_heads(experiment: Experiment) -> list[Trial]:
    """Try `train.search` settings on the training side of each fold that is trained on.

    A fold's validation clips judge them; if it has none, groups held back from training do.

    Returns:
        all trials; in each fold, the one with the lowest validation loss is chosen.

    Raises:
        DatasetError: a fold has too few groups to hold any back.
        ConfigError: all trials of a fold diverged.
    """
    config, folds = experiment.config, experiment.trained_folds
    fraction = max(config.train.validation_fraction, LEAST_VALIDATION_FRACTION)
    train = replace(config.train, validation_fraction=fraction)
    for fold in folds:
        if not (fold.validation or train_val_split(fold.train, fraction, train.seed)[1]):
            raise DatasetError(
                f"fold {fold.name}: has too few groups to hold any back for train.search "
                f"({config.train.search}); give more groups, or use train.search=0"
            )
    heads = candidates(config.head, config.train.search, train.seed)
    specs = [
        FitSpec(fold, head, train.seed, trial=number)
        for fold in folds
        for number, head in enumerate(heads, start=1)
    ]
    fits = replace(experiment, config=replace(config, train=train)).run(specs)
    trials = []
    for spec, fit in zip(specs, fits, strict=True):
        best = fit.curve[fit.best_epoch - 1] if fit else None
        loss, top1 = (best.validation_loss, best.validation_top1) if best else (None, None)
        trials.append(Trial(spec.fold.name, spec.head, loss, top1, False))
    return _mark_best(trials)


def candidates(given: HeadConfig, count: int, seed: int) -> list[HeadConfig]:
    """The given settings, then random ones from `SPACE`, all different; at most `count`."""
    rng = np.random.default_rng(seed)
    heads = {given: None}
    for _ in range(100 * count):  # `SPACE` may hold fewer than `count`
        if len(heads) == count:
            break
        drawn = {name: values[rng.integers(len(values))] for name, values in SPACE.items()}
        heads[replace(given, **drawn)] = None
    return list(heads)[:count]


def _mark_best(trials: list[Trial]) -> list[Trial]:
    best: dict[str, tuple[float, Trial]] = {}
    for trial in trials:
        loss = trial.validation_loss
        if loss is not None and (trial.fold not in best or loss < best[trial.fold][0]):
            best[trial.fold] = loss, trial
    for trial in trials:
        if trial.fold not in best:
            raise ConfigError(
                f"fold {trial.fold}: no trial of train.search has a finite loss; "
                "lower train.learning_rate"
            )
    return [replace(trial, chosen=trial is best[trial.fold][1]) for trial in trials]
