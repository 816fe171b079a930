"""train(config) -> a report and a model: find clips, extract, fit per fold, test, save."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from actionrnn.config import Config, HeadConfig
from actionrnn.datasets.clips import Dataset
from actionrnn.datasets.sequences import Sequences, load_sequences
from actionrnn.datasets.splits import Fold, make_folds, open_dataset
from actionrnn.errors import DatasetError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.extract import Source, extract_missing, provenance_of
from actionrnn.features.store import FeatureStore
from actionrnn.files import write_text
from actionrnn.progress import progress_bar
from actionrnn.recurrent.heads import Head
from actionrnn.recurrent.recognizer import Recognizer, clip_scores
from actionrnn.training.fit import fit_head
from actionrnn.training.report import Report, Scored, make_report

MODEL_FILE = "model.safetensors"
REPORT_FILE = "report.json"
CONFIG_FILE = "config.yaml"
EVERY_CLIP = "every clip"


@dataclass(frozen=True)
class TrainingRun:
    """What a training gave, also written below `output`."""

    report: Report
    model: Recognizer
    output: Path
    folds: tuple[Fold, ...]


def train(config: Config, output: str | Path) -> TrainingRun:
    """Train and test one head per fold, beside the mean-pool baseline; save model and report.

    With one fold the model is that fold's; with several, the folds give the score and
    the model is trained on every clip. Missing features are extracted first.

    Raises:
        DatasetError: the clips or their splits cannot be used.
        BackboneError: the backbone or its weights are not here.
        FeatureError: the stored features are damaged or of another origin.
    """
    output = Path(output)
    seconds: dict[str, float] = {}
    with _timed(seconds, "finding clips"):
        dataset = open_dataset(config.data)
        make_folds(dataset, config.data)  # an impossible split shows before hours of extraction
    with _timed(seconds, "features"):
        backbone = load_backbone(config.backbone)
        dataset, sequences, skipped = load_features(dataset, backbone, config, output)
    folds = make_folds(dataset, config.data)
    with _timed(seconds, "training"):
        results, head = _fit_folds(folds, sequences, dataset.labels, config, backbone)
    report = make_report(
        dataset.labels,
        results,
        title=f"{Path(str(config.data.root)).name}, {config.data.split}",
        seen_in_training=len(dataset.clips) if config.data.split == "none" else 0,
        skipped=skipped,
        config=config.to_dict(),
        seconds={stage: round(value, 1) for stage, value in seconds.items()},
    )
    fold = folds[0] if len(folds) == 1 else Fold(EVERY_CLIP, dataset.clips, ())
    training = _describe(fold, sequences, config, report)
    model = Recognizer(backbone, head, dataset.labels, config, training)
    model.save(output / MODEL_FILE)
    report.write(output / REPORT_FILE)
    write_text(output / CONFIG_FILE, yaml.safe_dump(config.to_dict(), sort_keys=False))
    return TrainingRun(report, model, output, tuple(folds))


def load_features(
    dataset: Dataset, backbone: Backbone, config: Config, output: Path
) -> tuple[Dataset, Sequences, list[dict[str, str]]]:
    """Extract what is missing; the usable clips, their features, and what was left out.

    Raises:
        DatasetError: no video can be used.
    """
    provenance = provenance_of(backbone, config.sampling)
    folder = config.data.features or default_store(config, provenance, output)
    store = FeatureStore.create(folder, provenance)
    sources = [
        Source(clip.key, clip.path, clip.start_seconds, clip.end_seconds) for clip in dataset.clips
    ]
    failures = extract_missing(sources, store, backbone, config.sampling).failures
    failed = {failure["key"] for failure in failures}
    usable = tuple(clip for clip in dataset.clips if clip.key not in failed)
    if not usable:
        reason = failures[0]["reason"]
        raise DatasetError(f"{dataset.root}: no video can be used (the first: {reason})")
    dataset = replace(dataset, clips=usable)
    return dataset, load_sequences(store, usable, dataset.labels), failures


def default_store(config: Config, provenance: dict[str, Any], output: Path) -> Path:
    """Where features go by default: beside the run, one folder per data set and provenance."""
    root = Path(str(config.data.root)).resolve()
    compared = {key: value for key, value in provenance.items() if key != "actionrnn_version"}
    identity = json.dumps([str(root), compared], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    backbone = config.backbone.name.replace("/", "-")
    return output.parent / "features" / f"{root.stem}-{backbone}-{digest}"


def _fit_folds(
    folds: list[Fold],
    sequences: Sequences,
    labels: tuple[str, ...],
    config: Config,
    backbone: Backbone,
) -> tuple[list[Scored], Head]:
    baseline = HeadConfig(kind="mean", dropout=config.head.dropout)
    fits = 2 * len(folds) + (len(folds) > 1)
    with progress_bar("training", fits * config.train.epochs) as advance:

        def fit(clips: Any, head_config: HeadConfig, name: str) -> Head:
            return fit_head(
                sequences.subset(clips),
                len(labels),
                head_config,
                config.train,
                device=backbone.device,
                on_epoch=lambda loss: advance(note=f"{name}: loss {loss:.3f}"),
            )

        results = []
        for fold in folds:
            head = fit(fold.train, config.head, f"{fold.name}, {config.head.kind}")
            mean_pool = fit(fold.train, baseline, f"{fold.name}, mean-pool")
            test = sequences.subset(fold.test)
            results.append(
                Scored(
                    fold.name,
                    clip_scores(head, test.values),
                    test.targets,
                    clip_scores(mean_pool, test.values),
                )
            )
        if len(folds) > 1:
            head = fit(sequences.clips, config.head, f"{EVERY_CLIP}, {config.head.kind}")
    return results, head


def _describe(fold: Fold, sequences: Sequences, config: Config, report: Report) -> dict[str, Any]:
    """What the model file says of its training."""
    return {
        "data": str(config.data.root),
        "split": config.data.split,
        "fold": fold.name,
        "num_clips": len(fold.train),
        "groups": sorted({clip.group for clip in fold.train}),
        "fingerprints": sorted(sequences.subset(fold.train).fingerprints),
        "scores": {
            "tested_on": [result.group for result in report.folds],
            "num_clips": report.num_clips,
            "top1": report.top1,
            "mean_class_accuracy": report.mean_class_accuracy,
            "baseline_mean_pool_top1": report.baseline_mean_pool_top1,
        },
    }


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
