"""How good a head and its baselines are at every step of whole recordings.

Accuracy and delay are those of the answer of now itself, the class of the highest score. F1 and
edit score are those of the segments that a timeline shows (`SegmentRule` by default), because
these are what a user gets. `segment_metrics` has the definitions.

A multi-label head is scored label by label, as is usual for overlapping actions: per-frame average
precision, the segments of each label for themselves. Its accuracy is exact match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat
from rich.table import Table
from rich.text import Text

from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.datasets.sequences import IGNORE
from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.bootstrap import (
    Interval,
    bootstrap_median,
    bootstrap_ratio,
    intervals_note,
)
from actionrnn.evaluation.metrics import Rate, answers_of, average_precision, percent
from actionrnn.evaluation.segment_metrics import (
    OVERLAP_PERCENTS,
    Labels,
    class_hits,
    delays,
    edit_score,
    matched_segments,
    segments_of,
)
from actionrnn.model.segments import NOTHING, ON, shown_labels, shown_lanes, step_ends
from actionrnn.text import printable

MOST_RECORDINGS = 12
MOST_RUNS = 600

Run = tuple[int, FiniteFloat, FiniteFloat]
"""The index of a label or NOTHING, start and end in seconds."""


@dataclass(frozen=True)
class StepPredictions:
    """One test recording with the answers at its T steps."""

    name: str
    group: str
    pts_seconds: NDArray[np.float64]
    """(T,), never falling; each step lasts until the next."""
    targets: NDArray[np.int64]
    """(T,): class indices, with `label_sets` its rows, or IGNORE where nobody labelled the step."""
    scores: Mapping[str, NDArray[np.float32]]
    """By model, the probabilities of now, (T, K): first the tested head, then its baselines."""
    delay_steps: Mapping[str, int] = field(default_factory=dict)
    """By model, how many further steps are seen before a step is answered; default: none."""
    label_sets: NDArray[np.bool_] | None = None
    """(C, K), of multi-label heads: the classes that each target stands for."""


@dataclass(frozen=True)
class StepScores:
    """One model's scores; a number is None where there is nothing to count."""

    accuracy: Rate
    """The part of the steps whose answer of now is right; of a multi-label head, at which exactly
    the true classes are on."""
    mean_class_accuracy: Rate | None
    """The mean over classes of each class's part; classes without steps do not count. None, as the
    edit score, of a multi-label head."""
    f1_at_10: Rate | None
    f1_at_25: Rate | None
    f1_at_50: Rate | None
    edit: Rate | None
    """The mean over recordings."""
    delay_seconds: FiniteFloat | None
    """From an action's begin to the first right answer: the median over the true segments that
    have one."""
    missed: Rate | None
    """The part of the true segments that have none."""
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat] | None]
    """95 % bootstrap intervals over groups, by the number's name; None with fewer than two."""
    mean_average_precision: Rate | None = None
    """Of a multi-label head: the mean over the classes that occur of `average_precisions`."""
    average_precisions: dict[str, Rate] = field(default_factory=dict)
    """Of a multi-label head, by label: how well its score of now ranks the labelled steps of all
    recordings (`metrics.average_precision`). Labels that never occur have none."""


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


@dataclass(frozen=True)
class StepResults:
    """The scores of the steps of whole test recordings."""

    num_recordings: int
    num_steps: int
    """Those that are labelled."""
    num_unlabelled_steps: int
    """Further ones, which do not count."""
    num_segments: int
    """The true ones, without those of the background."""
    num_groups: int
    background: str | None
    """The label that is no action: it counts in the accuracies alone."""
    models: dict[str, StepScores]
    """By name: first the tested head, then its baselines."""
    recordings: tuple[RecordingBars, ...]
    """Some, spread evenly over all."""
    joined: bool = False
    """They are clips, joined one after another."""
    multi_label: bool = False
    """Several classes may be on at once."""


@dataclass(frozen=True)
class _Counts:
    """Of one model in one recording."""

    hits: Labels
    """Of each class, (K,); of a multi-label head of all steps, (1,), as `steps`."""
    steps: Labels
    """(K,)."""
    matched: Labels
    """At each threshold."""
    num_found: int
    edit: float | None
    delays: NDArray[np.float64]
    """Of each true segment, NaN where it was missed."""


def step_report(
    labels: Sequence[str],
    recordings: Sequence[StepPredictions],
    background: str = BACKGROUND,
    *,
    joined: bool = False,
) -> StepResults:
    """Score each model over all recordings.

    Args:
        labels: of the scores' K columns.
        recordings: with the same models in the same order.
        background: a label that makes no segment, if there is such a class.
        joined: the recordings are clips, one after another; the report says so.

    Raises:
        ActionrnnError: no step is labelled.
        ValueError: a recording does not fit the labels, the models or itself.
    """
    for one in recordings:
        _require_shapes(one, len(labels), list(recordings[0].scores))
    known = sum(int((one.targets != IGNORE).sum()) for one in recordings)
    if known == 0:
        raise ActionrnnError(
            f"none of the {len(recordings)} test recordings has a labelled step; label some"
        )
    nothing = list(labels).index(background) if background in labels else None
    models = list(recordings[0].scores)
    units = [one.group for one in recordings]
    multi_label = recordings[0].label_sets is not None
    if multi_label:
        nothing = None  # that no class is on is no class
        counts = {name: [_count_lanes(one, name) for one in recordings] for name in models}
    else:
        counts = {name: [_count(one, name, nothing) for one in recordings] for name in models}
    chosen = np.linspace(0, len(recordings) - 1, min(MOST_RECORDINGS, len(recordings)))
    return StepResults(
        num_recordings=len(recordings),
        num_steps=known,
        num_unlabelled_steps=sum(len(one.targets) for one in recordings) - known,
        num_segments=sum(len(one.delays) for one in counts[models[0]]),
        num_groups=len(set(units)),
        background=None if nothing is None else background,
        models={
            name: replace(_scores(ours, units), **_ranked(labels, recordings, name))
            for name, ours in counts.items()
        },
        recordings=tuple(
            (_lane_bars if multi_label else _bars)(recordings[place])
            for place in chosen.round().astype(int)
        ),
        joined=joined,
        multi_label=multi_label,
    )


def _require_shapes(one: StepPredictions, num_labels: int, models: list[str]) -> None:
    num_steps = len(one.targets)
    if num_steps == 0:
        raise ValueError(f"{one.name}: has no steps")
    shapes = {scores.shape for scores in one.scores.values()}
    if one.pts_seconds.shape != (num_steps,) or shapes != {(num_steps, num_labels)}:
        raise ValueError(
            f"{one.name}: {num_steps} targets need as many times, and scores of shape "
            f"({num_steps}, {num_labels}); got {one.pts_seconds.shape} and {sorted(shapes)}"
        )
    if list(one.scores) != models:
        raise ValueError(f"{one.name}: has scores of {list(one.scores)}, the first of {models}")
    if not all(np.isfinite(scores).all() for scores in one.scores.values()):
        raise ValueError(f"{one.name}: has scores that are no numbers")
    known = one.targets[one.targets != IGNORE]
    most = num_labels if one.label_sets is None else len(one.label_sets)
    if len(known) and not (known.min() >= 0 and known.max() < most):
        raise ValueError(f"{one.name}: targets must be IGNORE or in 0 ... {most - 1}")
    if one.label_sets is not None and one.label_sets.shape[1] != num_labels:
        raise ValueError(f"{one.name}: its label sets must have {num_labels} columns")


def _count(one: StepPredictions, name: str, background: int | None) -> _Counts:
    scores = one.scores[name]
    answers: Labels = scores.argmax(axis=1)
    shown = shown_labels(scores, one.pts_seconds)
    found, true = (segments_of(what, one.targets, background) for what in (shown, one.targets))
    hits, steps = class_hits(answers, one.targets, scores.shape[1])
    return _Counts(
        hits=hits,
        steps=steps,
        matched=matched_segments(found, true),
        num_found=len(found),
        edit=edit_score(found, true),
        delays=delays(
            answers, one.targets, one.pts_seconds, background, one.delay_steps.get(name, 0)
        ),
    )


def _count_lanes(one: StepPredictions, name: str) -> _Counts:
    """Of a multi-label model: each class for itself, which is on or, as a background, off."""
    assert one.label_sets is not None
    scores, known = one.scores[name], one.targets != IGNORE
    is_on = _true_lanes(one)
    shown = shown_lanes(scores, one.pts_seconds)
    matched, num_found, late = np.zeros(len(OVERLAP_PERCENTS), np.int64), 0, []
    for which in range(scores.shape[1]):
        targets = np.where(known, is_on[:, which], IGNORE)
        found, true = (
            segments_of(lane.astype(np.int64), targets, background=0)
            for lane in (shown[:, which], is_on[:, which])
        )
        matched += matched_segments(found, true)
        num_found += len(found)
        answers = (scores[:, which] >= ON).astype(np.int64)
        delay_steps = one.delay_steps.get(name, 0)
        late.append(delays(answers, targets, one.pts_seconds, 0, delay_steps))
    right = (answers_of(scores, one.label_sets) == one.targets) & known
    return _Counts(
        hits=np.array([right.sum()]),
        steps=np.array([known.sum()]),
        matched=matched,
        num_found=num_found,
        edit=None,
        delays=np.concatenate(late),
    )


def _true_lanes(one: StepPredictions) -> NDArray[np.bool_]:
    """Which classes are on at each step, (T, K); none where nobody labelled it."""
    assert one.label_sets is not None
    known = one.targets != IGNORE
    is_on = np.zeros((len(known), one.label_sets.shape[1]), bool)
    is_on[known] = one.label_sets[one.targets[known]]
    return is_on


def _ranked(
    labels: Sequence[str], recordings: Sequence[StepPredictions], name: str
) -> dict[str, Any]:
    """The average precisions of a multi-label model, and what supposes one class a step."""
    if recordings[0].label_sets is None:
        return {}
    known = [one.targets != IGNORE for one in recordings]
    scores, is_on = (
        np.concatenate([values[mask] for values, mask in zip(of_each, known, strict=True)])
        for of_each in (
            [one.scores[name] for one in recordings],
            [_true_lanes(one) for one in recordings],
        )
    )
    found = {
        label: value
        for which, label in enumerate(labels)
        if (value := average_precision(scores[:, which], is_on[:, which])) is not None
    }
    mean = float(np.mean(list(found.values()))) if found else None
    return {
        "mean_class_accuracy": None,
        "mean_average_precision": mean,
        "average_precisions": found,
    }


def _scores(counts: Sequence[_Counts], units: Sequence[str]) -> StepScores:
    """Of one model, from its counts in N recordings and their groups."""

    def column(number: Callable[[_Counts], float]) -> NDArray[np.float64]:
        return np.array([[number(one)] for one in counts], np.float64)  # (N, 1)

    hits, steps = (
        np.array([getattr(one, name) for one in counts], np.float64) for name in ("hits", "steps")
    )  # (N, K)
    num_true = column(lambda one: len(one.delays))
    rates = {
        "accuracy": (hits.sum(axis=1, keepdims=True), steps.sum(axis=1, keepdims=True)),
        "mean_class_accuracy": (hits, steps),
        "edit": (column(lambda one: one.edit or 0), column(lambda one: one.edit is not None)),
        "missed": (column(lambda one: np.isnan(one.delays).sum()), num_true),
    }
    matched = np.array([one.matched for one in counts], np.float64)  # (N, thresholds)
    num_segments = num_true + column(lambda one: one.num_found)
    for place, percents in enumerate(OVERLAP_PERCENTS):
        rates[f"f1_at_{percents}"] = 2 * matched[:, [place]], num_segments
    late = np.concatenate([one.delays for one in counts])
    groups = np.repeat(units, [len(one.delays) for one in counts])
    was_found = ~np.isnan(late)
    intervals = {name: bootstrap_ratio(*rate, units) for name, rate in rates.items()}
    intervals["delay_seconds"] = bootstrap_median(late[was_found], groups[was_found].tolist())
    numbers: dict[str, Any] = {name: _ratio(*rate) for name, rate in rates.items()}
    return StepScores(
        **numbers,
        delay_seconds=float(np.median(late[was_found])) if was_found.any() else None,
        intervals=intervals,
    )


def _ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> float | None:
    """The mean over columns of (sum of the parts / sum of the wholes), see `bootstrap_ratio`."""
    sums, totals = parts.sum(axis=0), wholes.sum(axis=0)
    counted = totals > 0
    return float((sums[counted] / totals[counted]).mean()) if counted.any() else None


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
    truth, shown = _true_lanes(one), shown_lanes(scores, one.pts_seconds)
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


def seconds_text(value: float | None) -> str:
    """`0.24 s`, or a dash."""
    return "-" if value is None else f"{value:.2f} s"


@dataclass(frozen=True)
class Column:
    """One number of the table of models, on the terminal and on the page."""

    heading: str
    name: str
    text: Callable[[float | None], str] = percent

    def cell(self, scores: StepScores) -> str:
        """`86.7%`."""
        return self.text(getattr(scores, self.name))

    def interval(self, scores: StepScores) -> str:
        """`81.2 to 90.5`, without the unit; empty without an interval."""
        bounds: Interval | None = scores.intervals.get(self.name)
        if bounds is None:
            return ""
        if self.text is seconds_text:
            return f"{bounds[0]:.2f} to {bounds[1]:.2f}"
        return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"


MEAN_AP = "mean_average_precision"

_F1 = tuple(Column(f"F1@{percents}", f"f1_at_{percents}") for percents in OVERLAP_PERCENTS)
_LATE = (Column("delay", "delay_seconds", seconds_text), Column("missed", "missed"))
COLUMNS = (
    Column("steps right", "accuracy"),
    Column("mean class", "mean_class_accuracy"),
    *_F1,
    Column("edit", "edit"),
    *_LATE,
)
LANE_COLUMNS = (Column("mAP", MEAN_AP), Column("exact match", "accuracy"), *_F1, *_LATE)
"""Of multi-label heads."""

ON_TERMINAL = (*(MEAN_AP, "accuracy", "mean_class_accuracy", "f1_at_50", "edit", "delay_seconds"),)


def columns_of(results: StepResults) -> tuple[Column, ...]:
    """The numbers that the models have."""
    return LANE_COLUMNS if results.multi_label else COLUMNS


def step_table(results: StepResults) -> Table:
    """A row a model, within 80 columns; the page has all numbers."""
    table = Table(title="step by step, answers of now", title_justify="left")
    table.add_column("model", overflow="fold")
    columns = [column for column in columns_of(results) if column.name in ON_TERMINAL]
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for name, scores in results.models.items():
        table.add_row(Text(printable(name)), *(column.cell(scores) for column in columns))
    return table


def step_lines(results: StepResults) -> list[str]:
    """On what the steps' scores are, and the tested head's intervals."""
    name, scores = next(iter(results.models.items()))
    bounds = {column.heading: column.interval(scores) for column in columns_of(results)}
    known = ", ".join(f"{heading} {text}" for heading, text in bounds.items() if text)
    beside = f"; {name}: {known}" if known else ""
    of_labels = ", ".join(
        f"{label} {percent(value)}" for label, value in scores.average_precisions.items()
    )
    return [
        step_sizes(results),
        step_interval_note(results) + beside,
        *([f"average precision of {name}: {of_labels}"] if of_labels else []),
    ]


def step_interval_note(results: StepResults) -> str:
    """What the steps' intervals are."""
    return intervals_note(results.num_groups, "groups")


def step_sizes(results: StepResults) -> str:
    """`9 recordings, 5400 labelled steps (120 unlabelled ones do not count), 96 true segments`."""
    plural = "" if results.num_recordings == 1 else "s"
    unlabelled = results.num_unlabelled_steps
    left_out = f" ({unlabelled} unlabelled ones do not count)" if unlabelled else ""
    background = "" if results.background is None else f" without {results.background}"
    of_clips = " of joined test clips" if results.joined else ""
    return (
        f"{results.num_recordings} recording{plural}{of_clips}, {results.num_steps} labelled steps"
        f"{left_out}, {results.num_segments} true segments{background}"
    )
