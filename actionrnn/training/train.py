"""train(config) -> a report and a model: find clips, extract features, fit, test, save.

`train` is the whole road. What is fitted and tested is `experiment.Experiment`, one fit is
`fit.fit_head`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from actionrnn.config import Config
from actionrnn.datasets.recordings import Dataset
from actionrnn.datasets.rendered import render_dataset
from actionrnn.datasets.splits import Fold, make_folds, open_dataset
from actionrnn.datasets.stored import for_imported_features, load_features, require_no_class_lost
from actionrnn.errors import ConfigError, DatasetError
from actionrnn.evaluation.bout_scores import BOUTS_FILE
from actionrnn.evaluation.predict import versions
from actionrnn.evaluation.report import CURVE_FILE, REPORT_FILE, Report, read_curves
from actionrnn.evaluation.report_page import PAGE_FILE, write_report
from actionrnn.evaluation.score_table import SCORES_FILE
from actionrnn.features.backbone import load_backbone
from actionrnn.files import CONFIG_FILE, MODEL_FILE, as_path, write_text
from actionrnn.model.privacy import EVERY_CLIP
from actionrnn.model.recognizer import Recognizer
from actionrnn.results import replacing, results_folder
from actionrnn.text import plain, printable
from actionrnn.training import parallel
from actionrnn.training.experiment import Experiment, Log
from actionrnn.training.fit_state import Epoch, file_name, resumable
from actionrnn.training.held_out import require_held_out
from actionrnn.training.search import search_heads

OUTPUTS = (
    *(MODEL_FILE, CONFIG_FILE, CURVE_FILE),
    *(REPORT_FILE, PAGE_FILE, SCORES_FILE, BOUTS_FILE),
)
TENSORBOARD_FOLDER = "tensorboard"


@dataclass(frozen=True)
class TrainingRun:
    """The result of a training, which is also written below `output`."""

    report: Report
    model: Recognizer
    output: Path
    folds: tuple[Fold, ...]


def train(
    config: Config, output: str | Path, *, resume: bool = False, tensorboard: bool = False
) -> TrainingRun:
    """Train and test one head per fold and seed, next to the mean-pool baseline; save them.

    With one fold the model is that fold's; with several, the folds give the score and the model
    is trained on every clip. Missing features are extracted first.

    Args:
        output: gets the model, the report (JSON and a page), the configuration and the training
            curves, and the features unless `data.features` names a folder. These files of an
            earlier training are replaced there, other files never.
        resume: continue an interrupted training of the same settings; it ends with the same bits
            as an uninterrupted one.
        tensorboard: also write the curves for TensorBoard.

    Raises:
        DatasetError: the clips or their splits cannot be used.
        BackboneError: the backbone or its weights cannot be loaded.
        FeatureError: the stored features are damaged or of another origin.
        ConfigError: there is nothing to resume, a fit diverged, or TensorBoard is not installed.
        ModelError: the state of an interrupted fit is damaged, or of other clips or features.
        ActionrnnError: another training writes into `output`, or it holds other files under the
            names of a training's.
    """
    output = as_path(output)
    config = for_imported_features(config)
    seconds: dict[str, float] = {}
    # torchrun starts several processes. The first one alone extracts and writes, and holds the
    # lock, which comes first: two trainings must not share a folder even while they look for clips.
    lock = results_folder(output, OUTPUTS) if parallel.is_first() else nullcontext()
    with parallel.process_group(), lock, _curve_log(output, tensorboard) as log:
        with _timed(seconds, "finding clips"), parallel.first_then_others():
            found = _find_clips(config)
        with resumable(config, output, resume):
            with _timed(seconds, "features"), parallel.first_then_others():
                backbone = load_backbone(config.backbone)
                dataset, sequences, skipped = load_features(found, backbone, config, output)
                require_no_class_lost(found, dataset, skipped)
                _print_notes(dataset.notes[len(found.notes) :])
            folds = make_folds(dataset, config.data)  # again: videos may have been left out
            experiment = Experiment(
                config,
                dataset,
                folds,
                sequences,
                torch.device(backbone.device),
                output,
                resume,
                log,
            )
            trials = []
            if config.train.search:
                with _timed(seconds, "search"):
                    trials = search_heads(experiment)
            with _timed(seconds, "training"):
                heads = experiment.fit({trial.fold: trial.head for trial in trials if trial.chosen})
            report = experiment.report(
                heads,
                skipped=skipped,
                trials=tuple(asdict(trial) for trial in trials),
                curves=read_curves(output / CURVE_FILE),
                versions=versions(backbone),
                seconds={stage: round(value, 1) for stage, value in seconds.items()},
            )
            model = experiment.model(heads, report, backbone)
            run = TrainingRun(report, model, output, tuple(folds))
            if parallel.is_first():
                save_run(run, config)
    return run


def _find_clips(config: Config) -> Dataset:
    """The data set. Refuses now what cannot be trained on: the extraction may take hours."""
    if config.data.layout == "rendered" and config.data.root is not None:
        render_dataset(config.data.root)
    dataset = open_dataset(config.data, multi_label=config.head.multi_label)
    _print_notes(dataset.notes)
    folds = make_folds(dataset, config.data)
    if config.data.split != "none" and any(fold.name == EVERY_CLIP for fold in folds):
        raise DatasetError(
            f"group {EVERY_CLIP!r}: is what the model of all clips is called; rename the group"
        )
    require_held_out(config, folds, dataset.labels)
    return dataset


def _print_notes(notes: Sequence[str]) -> None:
    if parallel.is_first():
        for note in notes:
            print(f"note: {printable(note)}", file=sys.stderr)


def save_run(run: TrainingRun, config: Config) -> None:
    """Write the model, the configuration and the report, within a `results_folder`."""
    with replacing(run.output / MODEL_FILE):
        run.model.save(run.output / MODEL_FILE)
    with replacing(run.output / CONFIG_FILE):
        text = yaml.safe_dump(_with_whole_paths(config).to_dict(), sort_keys=False)
        write_text(run.output / CONFIG_FILE, text)
    write_report(run.report, run.output)


def _with_whole_paths(config: Config) -> Config:
    """With absolute paths, so that the run can be evaluated from any folder."""
    data, weights = config.data, config.backbone.weights
    root, videos, features = (
        path and str(Path(path).absolute()) for path in (data.root, data.videos, data.features)
    )
    if Path(weights).is_file():
        weights = str(Path(weights).absolute())
    return replace(
        config,
        data=replace(data, root=root, videos=videos, features=features),
        backbone=replace(config.backbone, weights=weights),
    )


@contextmanager
def _curve_log(output: Path, tensorboard: bool) -> Iterator[Log]:
    """Yield a function that takes a fit's name and one row of its curve.

    Each fit has its own folder, where the curve of an earlier training is hidden.

    Raises:
        ConfigError: TensorBoard is wanted and not installed.
    """
    if not tensorboard or not parallel.is_first():
        yield lambda name, epoch: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("--tensorboard: is not installed; pip install tensorboard") from None
    writers: dict[str, Any] = {}

    def log(name: str, epoch: Epoch) -> None:
        if name not in writers:
            folder = output / TENSORBOARD_FOLDER / file_name(name)
            writers[name] = SummaryWriter(str(folder), purge_step=0)
            writers[name].add_text("fit", plain(name))
        values = asdict(epoch)
        step = values.pop("epoch")
        for tag, value in values.items():
            if value is not None:
                writers[name].add_scalar(tag, value, step)

    try:
        yield log
    finally:
        for writer in writers.values():
            writer.close()


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
