"""Recordings to be drawn: truth and timeline as runs over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from actionrnn.datasets.recordings import IGNORE
from actionrnn.evaluation.metrics import Rate, answers_of
from actionrnn.evaluation.segment_metrics import Labels
from actionrnn.evaluation.step_predictions import StepPredictions, true_lanes
from actionrnn.model.segments import NOTHING, shown_labels, shown_lanes, step_ends

MOST_RUNS = 600

Run = tuple[int, FiniteFloat, FiniteFloat]
"""The index of a label or NOTHING, start and end in seconds."""


@dataclass(frozen=True)
class RecordingBars:
    """One recording to be drawn: what was true and what the tested head's timeline shows."""

    name: str
    group: str
    accuracy: Rate | None
    """The part of its labelled steps that are right; None if it has none."""
    end_seconds: FiniteFloat
    """Of the recording; the runs may end earlier, after `MOST_RUNS`."""
    truth: tuple[Run, ...]
    """From begin to end; NOTHING where nobody labelled it."""
    prediction: tuple[Run, ...]
    """Over the same time."""
    span: tuple[FiniteFloat, FiniteFloat] | None = None
    """With `lanes`: from when to when these runs are drawn."""
    lanes: tuple[int, ...] = ()
    """Of a multi-label head: the classes that occur, each in a lane of its own, where its runs say
    when it is on. Empty: all runs are in one lane, without gaps."""


def bars_of(one: StepPredictions) -> RecordingBars:
    """Truth and the first model's timeline; of a multi-label model, a lane for each class."""
    return _bars(one) if one.label_sets is None else _lane_bars(one)


def _bars(one: StepPredictions) -> RecordingBars:
    scores = next(iter(one.scores.values()))
    known = one.targets != IGNORE
    truth = np.where(known, one.targets, NOTHING)
    shown = shown_labels(scores, one.pts_seconds)
    ends = step_ends(one.pts_seconds)
    edges = [np.flatnonzero(np.diff(what)) + 1 for what in (truth, shown)]
    stop = min((int(some[MOST_RUNS - 1]) for some in edges if len(some) >= MOST_RUNS), default=None)

    def runs(what: Labels) -> tuple[Run, ...]:
        firsts = [0, *(np.flatnonzero(np.diff(what)) + 1).tolist()]
        return tuple(
            (int(what[first]), *_rounded(one.pts_seconds[first], ends[behind - 1]))
            for first, behind in zip(firsts, [*firsts[1:], len(what)], strict=True)
        )

    right = scores.argmax(axis=1)[known] == one.targets[known]
    return RecordingBars(
        name=one.name,
        group=one.group,
        accuracy=float(right.mean()) if len(right) else None,
        end_seconds=round(float(ends[-1]), 3),
        truth=runs(truth[:stop]),
        prediction=runs(shown[:stop]),
    )


def _lane_bars(one: StepPredictions) -> RecordingBars:
    """Of a multi-label model: the runs at which each class is on, class by class."""
    scores, known = next(iter(one.scores.values())), one.targets != IGNORE
    truth, shown = true_lanes(one), shown_lanes(scores, one.pts_seconds)
    ends = step_ends(one.pts_seconds)
    changes = [(np.diff(lanes, axis=0).sum(axis=1)).cumsum() for lanes in (truth, shown)]
    stop = min(1 + int(np.searchsorted(some, MOST_RUNS)) for some in changes)

    def runs(is_on: NDArray[np.bool_], which: int) -> list[Run]:
        edges = np.flatnonzero(np.diff(np.concatenate([[False], is_on[:stop], [False]])))
        return [
            (which, *_rounded(one.pts_seconds[first], ends[behind - 1]))
            for first, behind in edges.reshape(-1, 2)
        ]

    lanes = np.flatnonzero((truth | shown)[:stop].any(axis=0)).tolist()
    right = answers_of(scores, one.label_sets)[known] == one.targets[known]
    return RecordingBars(
        name=one.name,
        group=one.group,
        accuracy=float(right.mean()) if len(right) else None,
        end_seconds=round(float(ends[-1]), 3),
        truth=(
            *runs(~known, NOTHING),
            *(run for which in lanes for run in runs(truth[:, which], which)),
        ),
        prediction=tuple(run for which in lanes for run in runs(shown[:, which], which)),
        span=_rounded(one.pts_seconds[0], ends[stop - 1]),
        lanes=tuple(lanes),
    )


def _rounded(start: float, end: float) -> tuple[float, float]:
    """To a millisecond."""
    return round(float(start), 3), round(float(end), 3)
