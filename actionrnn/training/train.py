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
from actionrnn.recurrent.heads import Head
from actionrnn.recurrent.recognizer import Recognizer, clip_scores
from actionrnn.training import parallel
from actionrnn.training.curve_log import curve_log
from actionrnn.training.report import Report, Scored, make_report, seed_result
from actionrnn.training.runs import FitSpec, resumable, run_fits

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


def train(
    config: Config, output: str | Path, *, resume: bool = False, tensorboard: bool = False
) -> TrainingRun:
    """Train and test one head per fold and seed, beside the mean-pool baseline; save them.

    With one fold the model is that fold's; with several, the folds give the score and
    the model is trained on every clip. Missing features are extracted first.

    Args:
        output: gets the model, the report, the configuration and the training curves.
        resume: go on with a training of the same settings that was interrupted; it ends in
            the same bits as an uninterrupted one.
        tensorboard: write the curves for TensorBoard, too.

    Raises:
        DatasetError: the clips or their splits cannot be used.
        BackboneError: the backbone or its weights are not here.
        FeatureError: the stored features are damaged or of another origin.
        ConfigError: there is nothing to resume, or TensorBoard is not installed.
    """
    output = Path(output)
    seconds: dict[str, float] = {}
    with parallel.process_group(), curve_log(output, tensorboard) as log:
        with _timed(seconds, "finding clips"), parallel.first_then_others():
            dataset = open_dataset(config.data)
            make_folds(dataset, config.data)  # an impossible split shows before the extraction
        with _timed(seconds, "features"), parallel.first_then_others():
            backbone = load_backbone(config.backbone)
            dataset, sequences, skipped = load_features(dataset, backbone, config, output)
        folds = make_folds(dataset, config.data)
        specs = _fit_specs(folds, dataset, config)
        with resumable(config, output, resume):
            with _timed(seconds, "training"):
                fits = run_fits(
                    specs,
                    sequences,
                    len(dataset.labels),
                    config,
                    output,
                    device=backbone.device,
                    log=log,
                )
            heads = {_slot(spec): fit.head for spec, fit in zip(specs, fits, strict=True)}
            report = _report(folds, heads, sequences, dataset, config, skipped, seconds)
            model = _model(folds, heads, sequences, dataset, config, report, backbone)
            if parallel.is_first():
                model.save(output / MODEL_FILE)
                report.write(output / REPORT_FILE)
                text = yaml.safe_dump(config.to_dict(), sort_keys=False)
                write_text(output / CONFIG_FILE, text)
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
    lost = sorted(set(dataset.labels) - {clip.label for clip in usable})
    if lost:
        raise DatasetError(
            f"{dataset.root}: class {lost[0]!r} has no video that can be used "
            f"(the first failure: {failures[0]['reason']}); replace its videos, or take it out"
        )
    dataset = replace(dataset, clips=usable)
    return dataset, load_sequences(store, usable, dataset.labels), failures


def default_store(config: Config, provenance: dict[str, Any], output: Path) -> Path:
    """Where features go by default: beside the run, one folder per data set and provenance."""
    root = Path(str(config.data.root)).resolve()
    identity = json.dumps([str(root), provenance], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    backbone = config.backbone.name.replace("/", "-")
    return output.parent / "features" / f"{root.stem}-{backbone}-{digest}"


Slot = tuple[str, str, int]
"""Fold, kind of head, seed."""


def _slot(spec: FitSpec) -> Slot:
    return spec.fold, spec.head.kind, spec.seed


def _fit_specs(folds: list[Fold], dataset: Dataset, config: Config) -> list[FitSpec]:
    """Head and baseline for each seed and fold; and one for the model, if none of them is it."""
    baseline = HeadConfig(kind="mean", dropout=config.head.dropout)
    specs = [
        FitSpec(fold.name, fold.train, head, seed)
        for seed in _seeds(config)
        for fold in folds
        for head in dict.fromkeys((config.head, baseline))
    ]
    if len(folds) > 1:
        specs.append(FitSpec(EVERY_CLIP, dataset.clips, config.head, config.train.seed))
    return specs


def _seeds(config: Config) -> range:
    return range(config.train.seed, config.train.seed + config.train.seeds)


def _report(
    folds: list[Fold],
    heads: dict[Slot, Head],
    sequences: Sequences,
    dataset: Dataset,
    config: Config,
    skipped: list[dict[str, str]],
    seconds: dict[str, float],
) -> Report:
    """The first seed's answers, clip by clip, and every seed's accuracy."""
    by_seed = [
        [_scored(fold, heads, sequences, config, seed) for fold in folds] for seed in _seeds(config)
    ]
    return make_report(
        dataset.labels,
        by_seed[0],
        title=f"{Path(str(config.data.root)).name}, {config.data.split}",
        seen_in_training=len(dataset.clips) if config.data.split == "none" else 0,
        skipped=skipped,
        config=config.to_dict(),
        seconds={stage: round(value, 1) for stage, value in seconds.items()},
        seeds=tuple(
            seed_result(seed, scored) for seed, scored in zip(_seeds(config), by_seed, strict=True)
        ),
    )


def _scored(
    fold: Fold, heads: dict[Slot, Head], sequences: Sequences, config: Config, seed: int
) -> Scored:
    test = sequences.subset(fold.test)
    head, baseline = (heads[fold.name, kind, seed] for kind in (config.head.kind, "mean"))
    return Scored(
        fold.name,
        clip_scores(head, test.values),
        test.targets,
        clip_scores(baseline, test.values),
    )


def _model(
    folds: list[Fold],
    heads: dict[Slot, Head],
    sequences: Sequences,
    dataset: Dataset,
    config: Config,
    report: Report,
    backbone: Backbone,
) -> Recognizer:
    """The first seed's head of the only fold, or the one trained on every clip."""
    fold = folds[0] if len(folds) == 1 else Fold(EVERY_CLIP, dataset.clips, ())
    head = heads[fold.name, config.head.kind, config.train.seed]
    training = _describe(fold, sequences, config, report)
    return Recognizer(backbone, head, dataset.labels, config, training)


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
            "seen_in_training": report.seen_in_training,
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
