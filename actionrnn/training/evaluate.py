"""A trained model and labelled videos give a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actionrnn.config import Config, override_config
from actionrnn.datasets.clips import Dataset
from actionrnn.datasets.splits import describe_split, make_folds, open_dataset
from actionrnn.errors import ConfigError, DatasetError
from actionrnn.recurrent.checkpoint import load, model_file
from actionrnn.recurrent.hub import is_address
from actionrnn.recurrent.recognizer import Recognizer
from actionrnn.training.curves import read_curves
from actionrnn.training.report import Report
from actionrnn.training.runs import CURVE_FILE
from actionrnn.training.scoring import score_fold, versions
from actionrnn.training.summary import make_report
from actionrnn.training.train import EVERY_CLIP, load_features


def evaluate(
    model: str | Path, overrides: Sequence[str] = (), *, weights: str | None = None
) -> Report:
    """Test a model on the test clips of its own data set, or of another one.

    Args:
        model: a model file, or the folder of a run.
        overrides: `section.key=value`, above all `data.root=...`, `data.split=...` and
            `data.fold=...`. Without a split of the model's own fold, every clip is used.
        weights: where the backbone's weights are, if not where they were.

    Raises:
        ModelError: the file is no model.
        ConfigError: an override is wrong, or would change the model itself.
        DatasetError: the clips cannot be used, or have labels that the model does not know.
    """
    name, model = model, model_file(model)
    if is_address(name) and not any(override.startswith("data.root=") for override in overrides):
        raise ConfigError(f"{name}: say on which clips it shall be tested: data.root=DIR")
    recognizer = load(model, weights=weights)
    config = _choose_clips(recognizer, overrides)
    dataset = open_dataset(config.data)
    _require_known_labels(dataset, recognizer)
    folder = Path() if is_address(name) else model.parent
    make_folds(dataset, config.data, training=False)  # before the extraction
    dataset, sequences, skipped = load_features(dataset, recognizer.backbone, config, folder)
    folds = make_folds(dataset, config.data, training=False)
    index_of = {label: index for index, label in enumerate(recognizer.labels)}
    training = recognizer.training
    same_data = str(config.data.root) == training.get("data")
    results = []
    for fold in folds:
        test = sequences.subset(fold.test)
        results.append(
            score_fold(
                fold.name,
                test,
                np.array([index_of[clip.label] for clip in test.clips], np.int64),
                recognizer.head,
                known_videos=training.get("fingerprints", ()),
                known_groups=training.get("groups", ()) if same_data else (),
            )
        )
    split = describe_split(dataset, config.data, folds, num_skipped=len(skipped))
    return make_report(
        recognizer.labels,
        results,
        title=f"{model} on {split}",
        skipped=skipped,
        config=config.to_dict(),
        versions=versions(recognizer.backbone),
        curves=read_curves(model.parent / CURVE_FILE),
    )


def _choose_clips(recognizer: Recognizer, overrides: Sequence[str]) -> Config:
    """The model's configuration with overrides; by default the fold that it was tested on."""
    for override in overrides:
        if not override.startswith("data."):
            raise ConfigError(
                f"{override}: only data.* can be chosen here; the rest is the model's own"
            )
    fold = recognizer.training.get("fold", EVERY_CLIP)
    default = ["data.split=none"] if fold == EVERY_CLIP else [f"data.fold='{fold}'"]
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
