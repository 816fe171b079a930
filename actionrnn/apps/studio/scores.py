"""How good what was taught is, told while one works on.

Each group of recordings is left out in turn, and tested once: the score, the baseline, the
confusions. Then the model is written again, with its report and with what tells it that none of its
labels is seen. Then come the learning curve and the takes that do harm, see `advice.py`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.apps.studio.advice import (
    HEAD,
    CurvePoint,
    Harm,
    enough,
    harmful_takes,
    learning_curve,
)
from actionrnn.apps.studio.counts import counts_of, scored_labels
from actionrnn.apps.studio.learning import Taught, fit
from actionrnn.apps.studio.models import SCORES_FILE
from actionrnn.datasets.recordings import IGNORE, Recording
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold, make_folds
from actionrnn.errors import DatasetError
from actionrnn.evaluation.metrics import confusion_matrix
from actionrnn.evaluation.predict import MEAN_POOL, predict_steps, versions
from actionrnn.evaluation.step_predictions import StepPredictions, true_lanes
from actionrnn.evaluation.step_scores import step_report
from actionrnn.files import write_text
from actionrnn.model.heads import Head
from actionrnn.model.segments import ON
from actionrnn.progress import OnProgress
from actionrnn.results import replacing, results_folder
from actionrnn.training.experiment import Experiment, Purpose
from actionrnn.training.train import OUTPUTS, TrainingRun, save_run


@dataclass(frozen=True)
class StepsScore:
    """How much of the time of recordings that were left out is recognised."""

    value: float
    low: float | None
    """The 95 % bootstrap interval over groups."""
    high: float | None
    baseline: float | None
    """Of mean-pool over a sliding window, which has no memory."""
    num_recordings: int
    unit: str
    """What `value` is a part of."""
    f1_at_50: float | None
    """Of the timeline's segments: right with an intersection over union of at least one half."""
    f1_at_50_low: float | None
    f1_at_50_high: float | None


@dataclass(frozen=True)
class LabelScore:
    """One label in the recordings that were left out."""

    label: str
    precision: float | None
    """The part of the time that is given the label in which it is right; None: it never is."""
    recall: float | None
    """The part of the label's time that is given it."""
    num: int
    """The label's takes."""


@dataclass(frozen=True)
class Confusion:
    """Steps of each true label (row) that were given each label (column)."""

    labels: tuple[str, ...]
    counts: list[list[int]]


@dataclass(frozen=True)
class Scores:
    """What is known so far of a model that was taught."""

    run: str
    steps: StepsScore | None = None
    """None: `why_not` says why there is no number."""
    why_not: str = ""
    per_label: tuple[LabelScore, ...] = ()
    confusion: Confusion | None = None
    """None where several labels may be on at once."""
    curve: tuple[CurvePoint, ...] = ()
    enough: str = ""
    """Whether more recordings would help; empty: not known yet."""
    harmful: tuple[Harm, ...] = ()
    notes: tuple[str, ...] = ()
    complete: bool = False
    """Nothing more comes."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def score(
    taught: Taught,
    stop: threading.Event,
    on_progress: OnProgress,
    video_ids: Mapping[str, str] | None = None,
) -> Iterator[Scores]:
    """Test what was taught; each result says more than the one before.

    Each is written beside the model. After the first the model itself is replaced, by the same one
    that also knows how good it is, and what looks like none of its labels.

    Args:
        stop: ends it after an epoch; what was written stays.
        video_ids: what the project calls a recording, by its key; default: by its key.

    Raises:
        StoppedError: `stop` was set.
    """
    experiment, noun = taught.experiment, noun_of(taught.experiment)
    scores = Scores(taught.run, notes=_notes(taught))
    num_groups = len(experiment.dataset.groups)
    if num_groups < 2 or not scored_labels(experiment.dataset):
        scores = replace(
            scores, why_not=_why_not(experiment, noun), enough=enough(None, num_groups, noun)
        )
        yield _written(replace(scores, complete=True), taught)
        return
    heads = _held_out_heads(experiment, stop, on_progress)
    predictions = [one for fold in experiment.folds for one in _answers(experiment, heads, fold)]
    scores = replace(scores, **_measured(experiment, predictions))
    yield _written(scores, taught)
    on_progress("writing the report", 0.4)
    _write_report(taught, heads)
    whole = counts_of(predictions, HEAD, experiment.dataset)
    curve = learning_curve(experiment, whole, stop, _part(on_progress, "is this enough?", 0.4, 0.7))
    points = () if curve is None else curve.points()
    scores = replace(scores, curve=points, enough=enough(curve, num_groups, noun))
    yield _written(scores, taught)
    tell = _part(on_progress, "looking for takes that do harm", 0.7, 1.0)
    for harm in harmful_takes(experiment, predictions, stop, tell):
        video = (video_ids or {}).get(harm.video, harm.video)
        scores = replace(scores, harmful=(*scores.harmful, replace(harm, video=video)))
        yield _written(scores, taught)
    on_progress("done", 1.0)
    yield _written(replace(scores, complete=True), taught)


def noun_of(experiment: Experiment) -> str:
    """What its groups are called."""
    return "groups" if experiment.dataset.grouped else "recordings"


def _why_not(experiment: Experiment, noun: str) -> str:
    if len(experiment.dataset.groups) < 2:
        one = "group" if noun == "groups" else "recording"
        return f"a second {one} is needed: a score of what was learned from would be too good"
    return f"each label is in one of the {noun} alone; mark one of them in a second"


def _notes(taught: Taught) -> tuple[str, ...]:
    dataset = taught.experiment.dataset
    if len(dataset.groups) < 2:
        return taught.notes
    tested, noun, notes = scored_labels(dataset), noun_of(taught.experiment), [*taught.notes]
    if alone := [label for label in dataset.labels if label not in tested]:
        notes.append(
            f"{', '.join(alone)}: in one of the {noun} alone, so that the score leaves it out"
        )
    notes += [
        f"{', '.join(names)}: copies of one file in several {noun}, so that the score is too good; "
        "give them one group"
        for names in _copies(taught.experiment.sequences)
    ]
    notes += [
        f"groups {' and '.join(names)}: the same person or place? Then the score is too good; give "
        "their videos one spelling"
        for names in _alike(dataset.groups)
    ]
    return tuple(notes)


def _alike(groups: Iterable[str]) -> list[list[str]]:
    """The names that differ in case and spaces alone."""
    spellings: dict[str, list[str]] = {}
    for group in groups:
        spellings.setdefault("".join(group.casefold().split()), []).append(group)
    return [names for names in spellings.values() if len(names) > 1]


def _copies(sequences: Sequences) -> list[list[str]]:
    """The names of files with the same bytes that are in different groups."""
    recordings: dict[str, dict[str, Recording]] = {}
    for clip, fingerprint in zip(sequences.clips, sequences.fingerprints, strict=True):
        if fingerprint:
            recordings.setdefault(fingerprint, {})[clip.video_key] = clip.recording
    return [
        [recording.path.name for recording in same.values()]
        for same in recordings.values()
        if len({recording.group for recording in same.values()}) > 1
    ]


def _held_out_heads(
    experiment: Experiment, stop: threading.Event, on_progress: OnProgress
) -> dict[tuple[str, Purpose, int], Head]:
    """Head and baselines of each group that is left out."""
    specs = [spec for spec in experiment.specs({}) if spec.fold in experiment.folds]
    heads = {}
    for number, spec in enumerate(specs):
        on_progress(f"testing without {spec.fold.name}", 0.4 * number / len(specs))
        heads[spec.fold.name, spec.purpose, spec.seed] = fit(experiment, spec, stop)
    return heads


def _answers(
    experiment: Experiment, heads: Mapping[tuple[str, Purpose, int], Head], fold: Fold
) -> list[StepPredictions]:
    """Of a fold's head and its baseline, at each step of what the fold leaves out."""
    seed = experiment.config.train.seed
    tested = {
        HEAD: heads[fold.name, "head", seed],
        MEAN_POOL: heads[fold.name, MEAN_POOL, seed],
    }
    return predict_steps(experiment.sequences.side(fold.test), tested, experiment.window_steps)


def _measured(experiment: Experiment, predictions: Sequence[StepPredictions]) -> dict[str, Any]:
    """The fields of `Scores` that held-out answers give."""
    dataset = experiment.dataset
    baseline = f"{MEAN_POOL}, window {experiment.window_steps}"
    counts = counts_of(predictions, HEAD, dataset)
    value = counts.value
    assert value is not None  # the labels that are tested have steps in each of their groups
    low, high = counts.interval or (None, None)
    segments = step_report(dataset.labels, predictions).models[HEAD]
    f1_low, f1_high = segments.intervals["f1_at_50"] or (None, None)
    multi_label = dataset.multi_label
    return {
        "steps": StepsScore(
            value=value,
            low=low,
            high=high,
            baseline=counts_of(predictions, baseline, dataset).value,
            num_recordings=len(predictions),
            unit="F1 of each label's time, mean over labels"
            if multi_label
            else "of each label's time, mean over labels",
            f1_at_50=segments.f1_at_50,
            f1_at_50_low=f1_low,
            f1_at_50_high=f1_high,
        ),
        "per_label": _per_label(experiment, predictions),
        "confusion": None if multi_label else Confusion(dataset.labels, _confusion(predictions)),
    }


def _per_label(
    experiment: Experiment, predictions: Sequence[StepPredictions]
) -> tuple[LabelScore, ...]:
    labels = experiment.dataset.labels
    true, found = (
        np.concatenate(parts)
        for parts in zip(*(_lanes(one, len(labels)) for one in predictions), strict=True)
    )
    right, is_true, is_found = ((true & found).sum(0), true.sum(0), found.sum(0))
    takes = [clip.label for clip in experiment.dataset.clips]
    return tuple(
        LabelScore(
            label,
            float(right[which] / is_found[which]) if is_found[which] else None,
            float(right[which] / is_true[which]) if is_true[which] else None,
            takes.count(label),
        )
        for which, label in enumerate(labels)
    )


def _lanes(one: StepPredictions, num_labels: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which labels are true and which are answered at the labelled steps, (T, K) each."""
    known = one.targets != IGNORE
    scores = one.scores[HEAD][known]
    if one.label_sets is not None:
        return true_lanes(one)[known], scores >= ON
    classes = np.arange(num_labels)
    return one.targets[known][:, None] == classes, scores.argmax(axis=1)[:, None] == classes


def _confusion(predictions: Sequence[StepPredictions]) -> list[list[int]]:
    scores = np.concatenate([one.scores[HEAD] for one in predictions])
    targets = np.concatenate([one.targets for one in predictions])
    known = targets != IGNORE
    counts: list[list[int]] = confusion_matrix(
        scores[known], targets[known], scores.shape[1]
    ).tolist()
    return counts


def _write_report(taught: Taught, heads: Mapping[tuple[str, Purpose, int], Head]) -> None:
    """Write the model again, as `actionrnn train` does: with its report, and with none-of-these."""
    experiment = taught.experiment
    known = {**taught.heads, **heads}
    try:
        make_folds(experiment.dataset, experiment.config.data)
    except DatasetError:  # a label of one group alone, which `actionrnn train` does not test
        report = None
    else:
        report = experiment.report(
            known, versions=versions(taught.backbone), seconds={"training": taught.seconds}
        )
    model = experiment.model(known, report, taught.backbone)
    with results_folder(experiment.output, OUTPUTS):
        if report is None:
            with replacing(taught.model_path):
                model.save(taught.model_path)
        else:
            run = TrainingRun(report, model, experiment.output, tuple(experiment.folds))
            save_run(run, experiment.config)


def _written(scores: Scores, taught: Taught) -> Scores:
    file = taught.model_path.parent / SCORES_FILE
    with replacing(file):
        write_text(file, json.dumps(scores.to_dict(), indent=1) + "\n")
    return scores


def _part(on_progress: OnProgress, text: str, start: float, end: float) -> Callable[[float], None]:
    """Tells of work that is a part of the whole."""
    return lambda part: on_progress(text, start + part * (end - start))
