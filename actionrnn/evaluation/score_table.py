"""The numbers of a report as one CSV file: a row a number, with its interval."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from actionrnn.evaluation.bootstrap import Interval
from actionrnn.evaluation.bout_scores import cell
from actionrnn.evaluation.event_scores import EventScores
from actionrnn.evaluation.predict import MEAN_POOL, MEAN_POOL_MOTION
from actionrnn.evaluation.report import Report
from actionrnn.evaluation.step_scores import StepScores
from actionrnn.files import write_text
from actionrnn.text import in_utf8

SCORES_FILE = "scores.csv"
COLUMNS = ("of", "model", "score", "value", "low", "high", "unit")

PART = "part"
UNITS = {"delay_seconds": "s", "false_alarms_per_hour": "1/h", "kappa": "-1 to 1"}
"""Of the scores that are no parts, from 0 to 1."""

Row = tuple[str, str, str, float, Interval | None]
"""What is scored, the model, the score, its value and interval."""


def write_scores(rows: Iterable[Row], path: Path) -> None:
    """A CSV file: a row for each number.

    `of` says what is counted: clips, steps (of whole recordings), events, or the time of two
    annotators. The scores are called as in `report.json`. `low` and `high` are the 95 % interval,
    empty without one.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for of, model, score, value, bounds in rows:
        low, high = bounds or (None, None)
        unit = UNITS.get(score, PART)
        writer.writerow([of, in_utf8(model), score, cell(value), cell(low), cell(high), unit])
    write_text(path, text.getvalue())


def rows_of_report(report: Report) -> Iterator[Row]:
    """A row for each number of the head and its baselines that there is."""
    yield from _of_clips(report)
    if report.steps is not None:
        for model, scores in report.steps.models.items():
            yield from rows_of_scores("steps", model, scores, scores.intervals)
    if report.events is not None:
        yield from rows_of_scores(
            "events", report.head_name, report.events, report.events.intervals
        )


def _of_clips(report: Report) -> Iterator[Row]:
    head = report.head_name
    names = {
        (head, "top1"): "top1",
        (head, "top5"): "top5",
        (head, "mean_class_accuracy"): "mean_class_accuracy",
        (head, "ece"): "ece",
        (f"{head}, shuffled frames", "top1"): "baseline_shuffled_frames_top1",
        (MEAN_POOL, "top1"): "baseline_mean_pool_top1",
        (MEAN_POOL_MOTION, "top1"): "baseline_mean_pool_motion_top1",
    }
    for (model, score), name in names.items():
        if (value := getattr(report, name)) is not None:
            yield "clips", model, score, value, report.intervals.get(name)


def rows_of_scores(
    of: str,
    model: str,
    scores: StepScores | EventScores,
    intervals: Mapping[str, Any],
) -> Iterator[Row]:
    """The numbers that may have an interval."""
    for one in fields(scores):
        value = getattr(scores, one.name)
        if one.name in intervals and value is not None:
            yield of, model, one.name, value, intervals[one.name]
