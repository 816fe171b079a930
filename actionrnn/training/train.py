"""train(config) -> a report and a model: find clips, extract, fit per fold, test, save."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from actionrnn.config import BackboneConfig, Config, HeadConfig, Sampling
from actionrnn.datasets.clips import Clip, Dataset
from actionrnn.datasets.sequences import Sequences, load_sequences
from actionrnn.datasets.splits import Fold, describe_split, make_folds, open_dataset
from actionrnn.errors import DatasetError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.extract import Source, extract_missing, provenance_of
from actionrnn.features.imported import imported_store
from actionrnn.features.store import MANIFEST, FeatureStore
from actionrnn.files import MODEL_FILE, as_path, write_text
from actionrnn.recurrent.heads import Head
from actionrnn.recurrent.recognizer import Recognizer
from actionrnn.training import parallel
from actionrnn.training.curve_log import curve_log
from actionrnn.training.curves import read_curves
from actionrnn.training.report import Report
from actionrnn.training.report_page import write_report
from actionrnn.training.runs import CURVE_FILE, FitSpec, Purpose, resumable, run_fits
from actionrnn.training.scoring import (
    MEAN_POOL,
    MEAN_POOL_MOTION,
    Scored,
    score_fold,
    versions,
)
from actionrnn.training.search import Trial, search_heads
from actionrnn.training.summary import make_report, seed_result

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
        output: gets the model, the report (JSON and a page), the configuration and the
            training curves, and the features, where `data.features` names no other place.
        resume: go on with a training of the same settings that was interrupted; it ends in
            the same bits as an uninterrupted one.
        tensorboard: write the curves for TensorBoard, too.

    Raises:
        DatasetError: the clips or their splits cannot be used.
        BackboneError: the backbone or its weights are not here.
        FeatureError: the stored features are damaged or of another origin.
        ConfigError: there is nothing to resume, or TensorBoard is not installed.
    """
    output = as_path(output)
    seconds: dict[str, float] = {}
    config = _for_imported_features(config)
    with parallel.process_group(), curve_log(output, tensorboard) as log:
        with _timed(seconds, "finding clips"), parallel.first_then_others():
            dataset = open_dataset(config.data)
            make_folds(dataset, config.data)  # an impossible split shows before the extraction
        with _timed(seconds, "features"), parallel.first_then_others():
            backbone = load_backbone(config.backbone)
            found = dataset
            dataset, sequences, skipped = load_features(found, backbone, config, output)
            _require_no_class_lost(found, dataset, skipped)
        folds = make_folds(dataset, config.data)
        with resumable(config, output, resume):
            trials: list[Trial] = []
            if config.train.search:
                with _timed(seconds, "search"):
                    trials = search_heads(
                        _sides(folds, dataset),
                        sequences,
                        len(dataset.labels),
                        config,
                        output,
                        device=backbone.device,
                        log=log,
                    )
            specs = _fit_specs(folds, dataset, config, backbone, trials)
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
            report = _report(
                folds, heads, sequences, dataset, config, skipped, seconds, trials, backbone
            )
            report = replace(report, curves=read_curves(output / CURVE_FILE))
            model = _model(folds, heads, sequences, dataset, config, report, backbone)
            if parallel.is_first():
                model.save(output / MODEL_FILE)
                text = yaml.safe_dump(config.to_dict(), sort_keys=False)
                write_text(output / CONFIG_FILE, text)
                write_report(report, output)
    return TrainingRun(report, model, output, tuple(folds))


def load_features(
    dataset: Dataset, backbone: Backbone, config: Config, output: Path
) -> tuple[Dataset, Sequences, list[dict[str, str]]]:
    """Extract what is missing; the usable clips, their features, and what was left out.

    Raises:
        DatasetError: no video can be used.
    """
    if (store := imported_store(config.data.features)) is not None:
        return _load_imported(dataset, store)
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


def _for_imported_features(config: Config) -> Config:
    """Imported features say themselves what they are."""
    store = imported_store(config.data.features)
    if store is None:
        return config
    backbone = BackboneConfig(name=store.provenance["backbone"])
    return replace(config, backbone=backbone, sampling=Sampling(**store.provenance["sampling"]))


def _load_imported(
    dataset: Dataset, store: FeatureStore
) -> tuple[Dataset, Sequences, list[dict[str, str]]]:
    there = set(store.keys())
    usable = tuple(clip for clip in dataset.clips if clip.key in there)
    absent = [
        {"key": clip.key, "path": str(clip.path), "reason": f"{clip.key}: has no entry"}
        for clip in dataset.clips
        if clip.key not in there
    ]
    if not usable:
        raise DatasetError(
            f"{store.root}: no clip has features (the first: {absent[0]['reason']}; the store's "
            f"first: {min(there, default='none')})"
        )
    return replace(dataset, clips=usable), load_sequences(store, usable, dataset.labels), absent


def _require_no_class_lost(found: Dataset, usable: Dataset, failures: list[dict[str, str]]) -> None:
    lost = sorted(set(found.labels) - set(usable.labels))
    if lost:
        raise DatasetError(
            f"{found.root}: class {lost[0]!r} has no video that can be used "
            f"(the first failure: {failures[0]['reason']}); replace its videos, or take it out"
        )


def default_store(config: Config, provenance: dict[str, Any], output: Path) -> Path:
    """Where features go by default: `<output>/features/`, one folder per data set and provenance.

    Where another run beside this one has the very same, they are shared.
    """
    root = Path(str(config.data.root)).resolve()
    identity = json.dumps([str(root), provenance], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    backbone = config.backbone.name.replace("/", "-")
    own = output / "features" / f"{root.stem}-{backbone}-{digest}"
    beside = output.resolve().parent.glob(f"*/features/*-{digest}/{MANIFEST}")
    shared = min((found.parent for found in beside if found.parent.name == own.name), default=own)
    return own if own.exists() else shared


Slot = tuple[str, Purpose, int]
"""Fold, purpose, seed."""


def _slot(spec: FitSpec) -> Slot:
    return spec.fold, spec.purpose, spec.seed


def _sides(folds: list[Fold], dataset: Dataset) -> dict[str, Sequence[Clip]]:
    """All that is trained on: each fold's training side; with several, every clip, too."""
    sides: dict[str, Sequence[Clip]] = {fold.name: fold.train for fold in folds}
    return sides if len(folds) == 1 else {**sides, EVERY_CLIP: dataset.clips}


def _fit_specs(
    folds: list[Fold],
    dataset: Dataset,
    config: Config,
    backbone: Backbone,
    trials: Sequence[Trial],
) -> list[FitSpec]:
    """Head and baselines for each seed and fold; and one for the model, if none of them is it."""
    chosen = {trial.fold: trial.head for trial in trials if trial.chosen}
    specs = [
        FitSpec(name, clips, chosen.get(name, config.head), seed)
        for seed in _seeds(config)
        for name, clips in _sides(folds, dataset).items()
        if name != EVERY_CLIP or seed == config.train.seed
    ]
    mean = HeadConfig(kind="mean", dropout=config.head.dropout)
    # a baseline that cannot see order must not see which frame came before
    frames_alone = backbone.view_size if config.backbone.streams == "both" else None
    for seed in _seeds(config):
        for fold in folds:
            blind = FitSpec(fold.name, fold.train, mean, seed, "mean-pool")
            specs.append(replace(blind, num_features=frames_alone))
            if frames_alone is not None:
                specs.append(replace(blind, purpose="mean-pool + motion"))
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
    trials: Sequence[Trial],
    backbone: Backbone,
) -> Report:
    """The first seed's answers, clip by clip, and every seed's accuracy."""
    by_seed = [
        [_scored(fold, heads, sequences, config, seed) for fold in folds] for seed in _seeds(config)
    ]
    right = [np.concatenate([fold.right for fold in scored]) for scored in by_seed]
    return make_report(
        dataset.labels,
        by_seed[0],
        right_by_seed=np.stack(right, axis=1),
        title=describe_split(dataset, config.data, folds, num_skipped=len(skipped)),
        skipped=skipped,
        config=config.to_dict(),
        versions=versions(backbone),
        seconds={stage: round(value, 1) for stage, value in seconds.items()},
        seeds=tuple(
            seed_result(seed, scored) for seed, scored in zip(_seeds(config), by_seed, strict=True)
        ),
        trials=tuple(trial.to_dict() for trial in trials),
    )


def _scored(
    fold: Fold, heads: dict[Slot, Head], sequences: Sequences, config: Config, seed: int
) -> Scored:
    test = sequences.subset(fold.test)
    purposes: tuple[Purpose, ...] = (MEAN_POOL, MEAN_POOL_MOTION)
    baselines: dict[str, Head] = {
        name: heads[fold.name, name, seed] for name in purposes if (fold.name, name, seed) in heads
    }
    return score_fold(
        fold.name,
        test,
        test.targets,
        heads[fold.name, "head", seed],
        baselines,
        head_name="head" if config.train.search else config.head.kind,
        probe=seed == config.train.seed,
        known_videos=sequences.subset(fold.train).fingerprints,
        known_groups=[clip.group for clip in fold.train],
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
    head = heads[fold.name, "head", config.train.seed]
    training = _describe(fold, sequences, config, report)
    config = replace(config, head=head.config)  # a search may have chosen another
    return Recognizer(backbone, head, dataset.labels, config, training)


def _describe(fold: Fold, sequences: Sequences, config: Config, report: Report) -> dict[str, Any]:
    """What the model file says of its training."""
    return {
        "data": str(config.data.root),
        "split": config.data.split,
        "fold": fold.name,
        "num_clips": len(fold.train),
        "clip_seconds": _median_seconds(sequences.subset(fold.train), config.sampling.rate_fps),
        "groups": sorted({clip.group for clip in fold.train}),
        "fingerprints": sorted(sequences.subset(fold.train).fingerprints),
        "scores": {
            "tested_on": [result.group for result in report.folds],
            "seen_in_training": report.seen_in_training,
            "leaked_clips": report.leaked_clips,
            "leaked_groups": list(report.leaked_groups),
            "num_clips": report.num_clips,
            "top1": report.top1,
            "mean_class_accuracy": report.mean_class_accuracy,
            "baseline_mean_pool_top1": report.baseline_mean_pool_top1,
            "intervals": report.intervals,
            "intervals_over": f"{report.num_units} {report.resampled}",
        },
    }


def _median_seconds(sequences: Sequences, rate_fps: float | None) -> float | None:
    """The median length of the clips; None where the sampling has no rate."""
    if rate_fps is None:
        return None
    return round(float(np.median([len(values) for values in sequences.values])) / rate_fps, 3)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
