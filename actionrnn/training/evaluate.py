"""A trained model and labelled videos give a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actionrnn.config import Config, override_config
from actionrnn.datasets.clips import Dataset
from actionrnn.datasets.splits import make_folds, open_dataset
from actionrnn.errors import ConfigError, DatasetError
from actionrnn.recurrent.checkpoint import load
from actionrnn.recurrent.recognizer import Recognizer, clip_scores
from actionrnn.training.report import Report, Scored, make_report
from actionrnn.training.train import EVERY_CLIP, load_features


def evaluate(
    model: str | Path, overrides: Sequence[str] = (), *, weights: str | None = None
) -> Report:
    """Test a model on the test clips of its own data set, or of another one.

    Args:
        model: a model file.
        overrides: `section.key=value`, above all `data.root=...`, `data.split=...` and
            `data.fold=...`. Without a split of the model's own fold, every clip is used.
        weights: where the backbone's weights are, if not where they were.

    Raises:
        ModelError: the file is no model.
        ConfigError: an override is wrong, or would change the model itself.
        DatasetError: the clips cannot be used, or have labels that the model does not know.
    """
    recognizer = load(model, weights=weights)
    config = _choose_clips(recognizer, overrides)
    dataset = open_dataset(config.data)
    _require_known_labels(dataset, recognizer)
    make_folds(dataset, config.data)
    dataset, sequences, skipped = load_features(
        dataset, recognizer.backbone, config, Path(model).parent
    )
    index_of = {label: index for index, label in enumerate(recognizer.labels)}
    known = set(recognizer.training.get("fingerprints", ()))
    results, seen = [], 0
    for fold in make_folds(dataset, config.data):
        test = sequences.subset(fold.test)
        targets = np.array([index_of[clip.label] for clip in test.clips], np.int64)
        results.append(Scored(fold.name, clip_scores(recognizer.head, test.values), targets))
        seen += sum(fingerprint in known for fingerprint in test.fingerprints)
    return make_report(
        recognizer.labels,
        results,
        title=f"{Path(model)} on {config.data.root}",
        seen_in_training=seen,
        skipped=skipped,
        config=config.to_dict(),
    )


def _choose_clips(recognizer: Recognizer, overrides: Sequence[str]) -> Config:
    """The model's configuration with overrides; by default the fold that it was tested on."""
    for override in overrides:
        if not override.startswith("data."):
            raise ConfigError(
                f"{override}: only data.* can be chosen here; the rest is the model's own"
            )
    fold = recognizer.training.get("fold", EVERY_CLIP)
    default = ["data.split=none"] if fold == EVERY_CLIP else [f"data.fold={json.dumps(fold)}"]
    other_data = any(override.startswith("data.root=") for override in overrides)
    if other_data:
        default = ["data.split=none", "data.fold=all", "data.features=null"]
        default += ["data.group_pattern=null"]
    return override_config(recognizer.config, [*default, *overrides])


def _require_known_labels(dataset: Dataset, recognizer: Recognizer) -> None:
    unknown = sorted(set(dataset.labels) - set(recognizer.labels))
    if unknown:
        raise DatasetError(
            f"{dataset.root}: has labels that the model does not know ({', '.join(unknown[:5])}); "
            f"it knows {', '.join(recognizer.labels[:8])}"
        )
