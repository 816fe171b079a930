"""train(config) -> a report and a model: find clips, extract, fit per fold, test, save."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from actionrnn.config import Config, HeadConfig
from actionrnn.datasets.clips import Dataset
from actionrnn.datasets.rendered import render_dataset
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import (
    Fold,
    chosen_split,
    describe_split,
    make_folds,
    open_dataset,
)
from actionrnn.datasets.stored import (
    for_imported_features,
    load_features,
    require_no_class_lost,
)
from actionrnn.errors import DatasetError
from actionrnn.evaluation.predict import (
    MEAN_POOL,
    MEAN_POOL_MOTION,
    Scored,
    score_fold,
    versions,
)
from actionrnn.evaluation.report import CURVE_FILE, REPORT_FILE, Report, read_curves
from actionrnn.evaluation.report_page import PAGE_FILE, write_report
from actionrnn.evaluation.summary import make_report, seed_result
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.files import (
    CONFIG_FILE,
    MODEL_FILE,
    as_path,
    replacing,
    results_folder,
    write_text,
)
from actionrnn.model.heads import Head
from actionrnn.model.privacy import EVERY_CLIP, public_training
from actionrnn.model.recognizer import Recognizer
from actionrnn.text import printable
from actionrnn.training import parallel
from actionrnn.training.curve_log import curve_log
from actionrnn.training.runs import FitSpec, Purpose, resumable, run_fits
from actionrnn.training.search import Trial, search_heads

OUTPUTS = (MODEL_FILE, CONFIG_FILE, CURVE_FILE, REPORT_FILE, PAGE_FILE)


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
            training curves, and the features, where `data.features` names no other place. Those
            of an earlier training there are replaced, other files never.
        resume: go on with a training of the same settings that was interrupted; it ends in
            the same bits as an uninterrupted one.
        tensorboard: write the curves for TensorBoard, too.

    Raises:
        DatasetError: the clips or their splits cannot be used.
        BackboneError: the backbone or its weights are not here.
        FeatureError: the stored features are damaged or of another origin.
        ConfigError: there is nothing to resume, or TensorBoard is not installed.
        ActionrnnError: another training writes into `output`, or it holds files of others.
    """
    output = as_path(output)
    seconds: dict[str, float] = {}
    config = for_imported_features(config)
    with parallel.process_group(), _for_itself(output), curve_log(output, tensorboard) as log:
        with _timed(seconds, "finding clips"), parallel.first_then_others():
            if config.data.layout == "rendered" and config.data.root is not None:
                render_dataset(config.data.root)
            dataset = open_dataset(config.data)
            _say(dataset.notes)
            # an impossible split shows before the extraction
            _require_free_name(make_folds(dataset, config.data), config)
        with resumable(config, output, resume):
            with _timed(seconds, "features"), parallel.first_then_others():
                backbone = load_backbone(config.backbone)
                found = dataset
                dataset, sequences, skipped = load_features(found, backbone, config, output)
                require_no_class_lost(found, dataset, skipped)
            folds = make_folds(dataset, config.data)
            trials: list[Trial] = []
            if config.train.search:
                with _timed(seconds, "search"):
                    trials = search_heads(
                        _trained_folds(folds, dataset),
                        sequences,
                        len(dataset.labels),
                        config,
                        output,
                        device=backbone.device,
                        resume=resume,
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
                    resume=resume,
                    log=log,
                )
            heads = {_slot(spec): fit.head for spec, fit in zip(specs, fits, strict=True) if fit}
            report = _report(
                folds, heads, sequences, dataset, config, skipped, seconds, trials, backbone
            )
            report = replace(report, curves=read_curves(output / CURVE_FILE))
            model = _model(folds, heads, sequences, dataset, config, report, backbone)
            if parallel.is_first():
                with replacing(output / MODEL_FILE):
                    model.save(output / MODEL_FILE)
                with replacing(output / CONFIG_FILE):
                    text = yaml.safe_dump(config.to_dict(), sort_keys=False)
                    write_text(output / CONFIG_FILE, text)
                write_report(report, output)
    return TrainingRun(report, model, output, tuple(folds))


def _say(notes: Sequence[str]) -> None:
    """Before the work, as it may take hours."""
    if parallel.is_first():
        for note in notes:
            print(f"note: {printable(note)}", file=sys.stderr)


Slot = tuple[str, Purpose, int]
"""Fold, purpose, seed."""


def _slot(spec: FitSpec) -> Slot:
    return spec.fold, spec.purpose, spec.seed


def _trained_folds(folds: list[Fold], dataset: Dataset) -> list[Fold]:
    """All that is trained on: each fold's training side; with several, every clip, too."""
    return folds if len(folds) == 1 else [*folds, Fold(EVERY_CLIP, dataset.clips, ())]


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
        FitSpec(
            fold.name,
            fold.train,
            chosen.get(fold.name, config.head),
            seed,
            validation=fold.validation,
        )
        for seed in _seeds(config)
        for fold in _trained_folds(folds, dataset)
        if len(folds) == 1 or fold.name != EVERY_CLIP or seed == config.train.seed
    ]
    mean = HeadConfig(kind="mean", dropout=config.head.dropout)
    # a baseline that cannot see order must not see which frame came before
    frames_alone = backbone.view_size if config.backbone.streams == "both" else None
    for seed in _seeds(config):
        for fold in folds:
            blind = FitSpec(
                fold.name, fold.train, mean, seed, "mean-pool", validation=fold.validation
            )
            specs.append(replace(blind, num_features=frames_alone))
            if frames_alone is not None:
                specs.append(replace(blind, purpose="mean-pool + motion"))
    return specs


def _require_free_name(folds: list[Fold], config: Config) -> None:
    """The model that is trained on all clips has a name among the folds'."""
    if config.data.split != "none" and any(fold.name == EVERY_CLIP for fold in folds):
        raise DatasetError(
            f"group {EVERY_CLIP!r}: is what the model of all clips is called; rename the group"
        )


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
        notes=dataset.notes,
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
        known_videos=sequences.subset(fold.known).fingerprints,
        known_groups=[clip.group for clip in fold.known],
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
    split = chosen_split(dataset, config.data)
    training = public_training(_describe(fold, split, sequences, config, report))
    config = replace(config, head=head.config)  # a search may have chosen another
    return Recognizer(backbone, head, dataset.labels, config, training)


def _describe(
    fold: Fold, split: str, sequences: Sequences, config: Config, report: Report
) -> dict[str, Any]:
    """What the model file says of its training."""
    return {
        "data": str(config.data.root or config.data.features),
        "split": split,
        "fold": fold.name,
        "num_clips": len(fold.known),
        "clip_seconds": _median_seconds(sequences.subset(fold.train), config.sampling.rate_fps),
        "groups": sorted({clip.group for clip in fold.known}),
        "fingerprints": sorted(sequences.subset(fold.known).fingerprints),
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
def _for_itself(output: Path) -> Iterator[None]:
    """Keep other trainings out of a folder while this one runs: the first process does."""
    if not parallel.is_first():
        yield
        return
    with results_folder(output, OUTPUTS):
        yield


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
