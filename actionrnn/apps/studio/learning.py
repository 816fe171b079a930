"""A model from what is marked so far, at once.

`teach` trains one head on all that is marked and writes the model, which is what a person waits
for; `scores.score` says how good it is while one works on. Both take the road of `actionrnn train`:
the same experiment, the same fits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import yaml

from actionrnn.config import Config
from actionrnn.datasets.parts import load_parts
from actionrnn.datasets.recordings import BACKGROUND, Clip, Dataset
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold, open_dataset
from actionrnn.errors import ActionrnnError, DatasetError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.provenance import Provenance
from actionrnn.features.store import MANIFEST, FeatureStore
from actionrnn.files import CONFIG_FILE, MODEL_FILE, write_text
from actionrnn.model.heads import Head
from actionrnn.progress import OnProgress
from actionrnn.results import replacing, results_folder
from actionrnn.training.experiment import Experiment, FitSpec, Heads
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import Epoch
from actionrnn.training.train import OUTPUTS

NOTHING_READ = "no marked video has been read yet; wait until one has"


class StoppedError(ActionrnnError):
    """Somebody stopped the training."""


class TaughtProject(Protocol):
    """What of a project is needed here."""

    def config(self) -> Config:
        """What `actionrnn train` trains the project with."""

    def next_run(self) -> Path:
        """The folder of the next training."""


@dataclass(frozen=True)
class Taught:
    """A model that can be used, and what it was made of."""

    model_path: Path
    labels: tuple[str, ...]
    seconds: float
    """From the press of the button to the model."""
    labelled_seconds: float
    """Of the recordings, from which it has learned."""
    notes: tuple[str, ...]
    """What took no part, and what else one must know, in one line each."""
    experiment: Experiment
    backbone: Backbone
    heads: Heads
    """The model's alone."""

    @property
    def run(self) -> str:
        """The name of its folder."""
        return self.model_path.parent.name

    def to_dict(self) -> dict[str, Any]:
        """What a page shows, in plain JSON types."""
        return {
            "run": self.run,
            "labels": list(self.labels),
            "seconds": self.seconds,
            "labelled_seconds": self.labelled_seconds,
            "notes": list(self.notes),
        }


def teach(
    project: TaughtProject,
    stop: threading.Event,
    on_progress: OnProgress,
    backbone: Backbone | None = None,
) -> Taught:
    """Train a model on all that is marked, and write it to the next of the project's `runs/`.

    Args:
        stop: ends the training after the epoch; nothing is written then.
        backbone: the project's, if it is loaded already.

    Raises:
        DatasetError: nothing is marked, in videos whose features are there; or one label only.
        StoppedError: `stop` was set.
    """
    started = time.perf_counter()
    config = project.config()
    backbone = backbone or load_backbone(config.backbone)
    dataset, sequences = load_marked(config, backbone)
    experiment = make_experiment(config, dataset, sequences, project.next_run(), backbone.device)
    return learn(experiment, backbone, stop, on_progress, started)


def load_marked(config: Config, backbone: Backbone) -> tuple[Dataset, Sequences]:
    """What is marked in the videos whose features are there; a note counts the others.

    Raises:
        DatasetError: there is nothing to learn from.
        FeatureError: the features are those of other settings.
    """
    dataset = open_dataset(config.data, multi_label=config.head.multi_label)
    folder = Path(str(config.data.features))
    if not (folder / MANIFEST).exists():
        raise DatasetError(NOTHING_READ)
    store = FeatureStore.open(folder)
    wanted = Provenance.of(backbone, config.sampling)
    wanted.require_same(store.provenance, str(folder), "wait until the videos are read again")
    files = {recording.key: recording.path for recording in dataset.recordings}
    # of a file that another one has taken the place of there are features, too
    there = {key for key, file in files.items() if store.presence(key, file) == "whole"}
    usable = [clip for clip in dataset.clips if clip.video_key in there]
    waiting = {clip.video_key for clip in dataset.clips} - there
    if not usable:
        raise DatasetError(NOTHING_READ)
    if waiting:
        note = f"marked videos that have not been read yet, and take no part: {len(waiting)}"
        dataset = replace(dataset.keep(usable), notes=(*dataset.notes, note))
    return load_parts(store, dataset)


def make_experiment(
    config: Config, dataset: Dataset, sequences: Sequences, output: Path, device: str = "cpu"
) -> Experiment:
    """What is trained and tested: each group is left out in turn, if there are several.

    Raises:
        DatasetError: there is one label only, or none.
    """
    if not dataset.labels:
        raise DatasetError("no action is marked; mark some time as one")
    if len(dataset.labels) < 2 and not config.head.multi_label:
        [label] = dataset.labels
        other = "some time without it as looked at" if label != BACKGROUND else "an action"
        raise DatasetError(f"only {label} is marked; mark another label, or {other}")
    data = replace(config.data, split="leave_one_group_out", fold="all")
    groups = dataset.groups if len(dataset.groups) > 1 else ()
    train = replace(
        config.train,
        # what looks like none of them is known by what was left out; several labels say it alone
        none_of_these=bool(groups) and not config.head.multi_label,
        seeds=1,
        search=0,
        validation_fraction=0.0,
    )
    folds = [Fold(group, *_divided(dataset.clips, group)) for group in groups]
    config = replace(config, data=data, train=train)
    return Experiment(config, dataset, folds, sequences, torch.device(device), output)


def learn(
    experiment: Experiment,
    backbone: Backbone,
    stop: threading.Event,
    on_progress: OnProgress,
    started: float | None = None,
) -> Taught:
    """Train the model's head, and write it; see `teach`."""
    started = time.perf_counter() if started is None else started
    # a model of this first moment is not tested, and nothing is held out that it could know by
    train = replace(experiment.config.train, none_of_these=False, calibrate=False)
    plain = replace(experiment, config=replace(experiment.config, train=train))
    spec = model_spec(experiment)
    head = fit(experiment, spec, stop, lambda part: on_progress("training", part))
    heads: Heads = {(spec.fold.name, "head", spec.seed): head}
    model = plain.model(heads, None, backbone)
    file = experiment.output / MODEL_FILE
    with results_folder(experiment.output, OUTPUTS):
        with replacing(file):
            model.save(file)
        with replacing(experiment.output / CONFIG_FILE):
            text = yaml.safe_dump(experiment.config.to_dict(), sort_keys=False)
            write_text(experiment.output / CONFIG_FILE, text)
    on_progress("the model is ready", 1.0)
    num_steps = len(experiment.sequences.counted_targets)
    rate_fps = experiment.config.sampling.rate_fps
    assert rate_fps is not None  # recordings are sampled at a rate
    return Taught(
        file,
        experiment.dataset.labels,
        round(time.perf_counter() - started, 3),
        num_steps / rate_fps,
        experiment.dataset.notes,
        experiment,
        backbone,
        heads,
    )


def model_spec(experiment: Experiment) -> FitSpec:
    """The fit of the model: on all that is marked."""
    return FitSpec(experiment.model_fold, experiment.config.head, experiment.config.train.seed)


def fit(
    experiment: Experiment,
    spec: FitSpec,
    stop: threading.Event,
    on_part: Callable[[float], None] = lambda part: None,
) -> Head:
    """Train one head.

    Args:
        on_part: gets the part that is done, after each epoch.

    Raises:
        StoppedError: `stop` was set.
    """

    def on_epoch(epoch: Epoch, is_new: bool) -> None:
        if stop.is_set():
            raise StoppedError("the training was stopped")
        on_part(epoch.epoch / experiment.config.train.epochs)

    return fit_head(experiment.task(spec), experiment.device, on_epoch=on_epoch).head


def _divided(clips: Sequence[Clip], group: str) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """The clips of the other groups, and those of this one."""
    return (
        tuple(clip for clip in clips if clip.group != group),
        tuple(clip for clip in clips if clip.group == group),
    )
