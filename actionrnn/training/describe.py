"""What a model file says of its training: what it was trained on, and how well it did."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from actionrnn.config import Config
from actionrnn.datasets.recordings import Dataset
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold, chosen_split
from actionrnn.evaluation.report import Report


def describe_training(
    config: Config,
    dataset: Dataset,
    sequences: Sequences,
    fold: Fold,
    report: Report | None,
    window_steps: int,
) -> dict[str, Any]:
    """The plain dictionary `Recognizer.training`.

    Args:
        sequences: the features of the data set's clips.
        fold: what the model was trained on.
        report: None: it was not tested.
        window_steps: the median length of what it learned from.
    """
    known = sequences.subset(fold.known)
    described = {
        "data": str(config.data.root or config.data.features),
        "split": chosen_split(dataset, config.data),
        "fold": fold.name,
        "num_clips": len(known),
        "window_steps": window_steps,
        "groups": sorted({clip.group for clip in fold.known}),
        "fingerprints": sorted({*known.fingerprints}),
    }
    if report is None:
        return described
    return described | _temperature(report) | _event_rule(report) | {"scores": _scores(report)}


def _scores(report: Report) -> dict[str, Any]:
    step_numbers, step_intervals = _of_steps(report)
    return {
        "tested_on": [result.group for result in report.folds],
        "seen_in_training": report.seen_in_training,
        "leaked_clips": report.leaked_clips,
        "leaked_groups": list(report.leaked_groups),
        "num_clips": report.num_clips,
        "top1": report.top1,
        "mean_class_accuracy": report.mean_class_accuracy,
        "baseline_mean_pool_top1": report.baseline_mean_pool_top1,
        **step_numbers,
        "intervals": report.intervals | step_intervals,
        "intervals_over": f"{report.num_units} {report.resampled}",
    }


def _of_steps(report: Report) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers of whole recordings that a model keeps, and their intervals."""
    numbers: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    steps, events = report.steps, report.events
    if steps is not None and (report.multi_label or not steps.joined):
        scores = next(iter(steps.models.values()))
        numbers["frame_map"] = scores.frame_map
        intervals["frame_map"] = scores.intervals.get("frame_map")
    if events is not None:
        for name in ("recall", "false_alarms_per_hour"):
            numbers[f"event_{name}"] = getattr(events, name)
            intervals[f"event_{name}"] = events.intervals.get(name)
    return {name: value for name, value in numbers.items() if value is not None}, intervals


def _temperature(report: Report) -> dict[str, float]:
    """What the logits of the model were divided by."""
    found = report.calibration
    return {} if found is None or not found.applied else {"temperature": found.temperature}


def _event_rule(report: Report) -> dict[str, Any]:
    """By what the model's events begin and end."""
    return {} if report.events is None else {"event_rule": asdict(report.events.rule)}
