"""How good a head and its baselines are at every step of whole recordings.

Accuracy and delay are those of the answer of now itself, the class of the highest score. F1 and
edit score are those of the segments that a timeline shows (`SegmentRule` by default), because
these are what a user gets. `segment_metrics` has the definitions.

A multi-label head is scored label by label, as is usual for overlapping actions (Yeung et al.,
"Every Moment Counts", IJCV 2018): the steps and the segments of each label for themselves. Its
accuracy is exact match.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat, NonNegativeFloat

from actionrnn.datasets.recordings import BACKGROUND, IGNORE
from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.bootstrap import bootstrap_median, bootstrap_ratio
from actionrnn.evaluation.bout_scores import (
    BoutScores,
    Kappa,
    bout_scores,
    false_alarms,
    overall,
)
from actionrnn.evaluation.bouts import Bouts, Tally, match_bouts, stacked
from actionrnn.evaluation.detection_scores import Answers, Precisions, precisions
from actionrnn.evaluation.metrics import Rate, answers_of, rows_of
from actionrnn.evaluation.recording_bars import RecordingBars, bars_of
from actionrnn.evaluation.segment_metrics import (
    OVERLAP_PERCENTS,
    Labels,
    class_hits,
    delays,
    edit_score,
    lane_segments,
    matched_segments,
    segments_of,
)
from actionrnn.evaluation.step_predictions import StepPredictions, true_lanes
from actionrnn.model.segments import NOTHING, ON, shown_labels, shown_lanes, step_ends

MOST_RECORDINGS = 12


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
    frame_map: Rate | None = None
    """Average precision over the steps, mean over the classes without the background."""
    calibrated_frame_map: Rate | None = None
    """The same with precision weighed as if half of the steps were of the class."""
    segment_map_at_30: Rate | None = None
    """Average precision of the segments at an intersection over union of 0.3, mean over the
    same classes."""
    segment_map_at_40: Rate | None = None
    segment_map_at_50: Rate | None = None
    segment_map_at_60: Rate | None = None
    segment_map_at_70: Rate | None = None
    segment_map: Rate | None = None
    """The mean of these five."""
    kappa: Kappa | None = None
    """Cohen's, of truth and timeline over the labelled time, the background included."""
    false_alarms_per_hour: NonNegativeFloat | None = None
    """Predicted bouts that match no true one, see `bout_scores.false_alarms`; None without
    background, see `StepResults.no_false_alarms`."""


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
    classes: tuple[BoutScores, ...] = ()
    """The tested head's, in the order of the labels."""
    no_false_alarms: str = ""
    """Why false alarms cannot be counted; empty where they are."""
    multi_label: bool = False
    """Several classes may be on at once."""


@dataclass(frozen=True)
class _Counts:
    """Of one model in one recording."""

    num_right: int
    num_steps: int
    """Those that are labelled."""
    hits: Labels
    """Of each class, (K,); zeros, as `steps`, of a multi-label head."""
    steps: Labels
    """(K,)."""
    matched: Labels
    """At each threshold."""
    num_found: int
    edit: float | None
    delays: NDArray[np.float64]
    """Of each true segment, NaN where it was missed."""
    answers: Answers
    tally: Tally
    """One row."""


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
        _require_shapes(one, len(labels), recordings[0])
    known = sum(int((one.targets != IGNORE).sum()) for one in recordings)
    if known == 0:
        raise ActionrnnError(
            f"none of the {len(recordings)} test recordings has a labelled step; label some"
        )
    label_sets = recordings[0].label_sets
    nothing = background_of(labels, recordings, background)
    count = _count_lanes if label_sets is not None else partial(_count, background=nothing)
    models = list(recordings[0].scores)
    labelled = [one for one in recordings if (one.targets != IGNORE).any()]
    units = [one.group for one in labelled]
    counts = {name: [count(one, name) for one in labelled] for name in models}
    tallies = {
        name: stacked([one.tally for one in ours]).by_unit(units) for name, ours in counts.items()
    }
    found = {
        name: precisions([one.answers for one in ours], units, nothing, label_sets)
        for name, ours in counts.items()
    }
    why_not = why_no_false_alarms(labels, recordings, background)
    chosen = np.linspace(0, len(recordings) - 1, min(MOST_RECORDINGS, len(recordings)))
    return StepResults(
        num_recordings=len(recordings),
        num_steps=known,
        num_unlabelled_steps=sum(len(one.targets) for one in recordings) - known,
        num_segments=sum(len(one.delays) for one in counts[models[0]]),
        num_groups=len({one.group for one in recordings}),
        background=None if nothing is None else background,
        models={
            name: _scores(ours, units, found[name], tallies[name], not why_not)
            for name, ours in counts.items()
        },
        recordings=tuple(bars_of(recordings[place]) for place in chosen.round().astype(int)),
        joined=joined,
        classes=bout_scores(
            labels,
            tallies[models[0]],
            background=nothing,
            with_false_alarms=not why_not,
            more=found[models[0]].by_class,
        ),
        no_false_alarms=why_not,
        multi_label=label_sets is not None,
    )


def background_of(
    labels: Sequence[str], recordings: Sequence[StepPredictions], background: str = BACKGROUND
) -> int | None:
    """The class that is no action; None: there is none, or that no class is on is no class."""
    if recordings[0].label_sets is not None or background not in labels:
        return None
    return list(labels).index(background)


def why_no_false_alarms(
    labels: Sequence[str], recordings: Sequence[StepPredictions], background: str = BACKGROUND
) -> str:
    """Why false alarms cannot be counted in recordings; empty where they can."""
    seen = np.unique(np.concatenate([one.targets for one in recordings]))
    seen, label_sets = seen[seen != IGNORE], recordings[0].label_sets
    if label_sets is not None:
        if not label_sets[seen].any(axis=1).all():
            return ""
        return "at each labelled step some class is on: nobody says where none is seen"
    if background not in labels:
        return f"there is no class {background}: nobody says where none of the classes is seen"
    if list(labels).index(background) not in seen:
        return f"no labelled step of the test recordings is {background}"
    return ""


def _require_shapes(one: StepPredictions, num_labels: int, first: StepPredictions) -> None:
    num_steps, models = len(one.targets), list(first.scores)
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
    if not _same_sets(one.label_sets, first.label_sets):
        raise ValueError(f"{one.name}: its label sets are not those of {first.name}")


def _same_sets(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _count(one: StepPredictions, name: str, background: int | None) -> _Counts:
    scores = one.scores[name]
    answers: Labels = scores.argmax(axis=1)
    shown = shown_labels(scores, one.pts_seconds)
    found, true = (segments_of(what, one.targets, background) for what in (shown, one.targets))
    hits, steps = class_hits(answers, one.targets, scores.shape[1])
    known = one.targets != IGNORE
    bouts = match_bouts(found, _means(found, scores), true, scores.shape[1])
    return _Counts(
        num_right=int(hits.sum()),
        num_steps=int(steps.sum()),
        hits=hits,
        steps=steps,
        matched=matched_segments(found, true),
        num_found=len(found),
        edit=edit_score(found, true),
        delays=delays(
            answers, one.targets, one.pts_seconds, background, one.delay_steps.get(name, 0)
        ),
        answers=Answers(scores[known], one.targets[known], bouts),
        tally=_tally(one, shown, bouts),
    )


def _count_lanes(one: StepPredictions, name: str) -> _Counts:
    """Of a multi-label model: each class for itself, which is on or, as a background, off."""
    assert one.label_sets is not None
    scores, known = one.scores[name], one.targets != IGNORE
    truth, shown = true_lanes(one), shown_lanes(scores, one.pts_seconds)
    found, true = (lane_segments(lanes, one.targets) for lanes in (shown, truth))
    bouts = match_bouts(found, _means(found, scores), true, scores.shape[1])
    late = [
        delays(
            (scores[:, which] >= ON).astype(np.int64),
            np.where(known, truth[:, which], IGNORE),
            one.pts_seconds,
            background=0,
            delay_steps=one.delay_steps.get(name, 0),
        )
        for which in range(scores.shape[1])
    ]
    no_steps = np.zeros(scores.shape[1], np.int64)
    return _Counts(
        num_right=int((answers_of(scores, one.label_sets) == one.targets)[known].sum()),
        num_steps=int(known.sum()),
        hits=no_steps,
        steps=no_steps,
        matched=matched_segments(found, true),
        num_found=len(found),
        edit=None,
        delays=np.concatenate(late),
        answers=Answers(scores[known], one.targets[known], bouts),
        tally=_lane_tally(one, truth, shown, bouts),
    )


def _means(found: Labels, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean score of each segment's class in it, (P,)."""
    means = [scores[first:stop, which].mean(dtype=np.float64) for first, stop, which in found]
    return np.array(means, np.float64)


def _tally(one: StepPredictions, shown: Labels, bouts: Bouts) -> Tally:
    """Truth and timeline, over the labelled steps."""
    seconds = step_ends(one.pts_seconds) - one.pts_seconds
    known = one.targets != IGNORE

    def by_class(labels: Labels, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        return _sums(labels[chosen], seconds[chosen], len(bouts.num_true))

    both = by_class(one.targets, known & (shown == one.targets))
    true, found = by_class(one.targets, known), by_class(shown, known & (shown != NOTHING))
    return Tally(
        seconds=seconds[known].sum(keepdims=True),
        both=both,
        true=true,
        found=found,
        num_true=bouts.num_true[None].astype(np.float64),
        num_found=bouts.num_found[None].astype(np.float64),
        num_matched=bouts.num_matched[None].astype(np.float64),
        agreed=both.sum(axis=1),
        true_states=true,
        found_states=found,  # the time of NOTHING adds nothing to chance: it is never true
    )


def _lane_tally(
    one: StepPredictions, truth: NDArray[np.bool_], shown: NDArray[np.bool_], bouts: Bouts
) -> Tally:
    """The same of lanes, (T, K); what is said of all classes at once is a row of the sets."""
    assert one.label_sets is not None
    seconds = step_ends(one.pts_seconds) - one.pts_seconds
    known, said = one.targets != IGNORE, rows_of(shown, one.label_sets)
    both, true, found = (
        np.where(lanes[known], seconds[known, None], 0).sum(axis=0, keepdims=True)
        for lanes in (truth & shown, truth, shown)
    )
    is_row = known & (said != NOTHING)  # other sets are never true
    agreed = known & (said == one.targets)
    size = len(one.label_sets)
    return Tally(
        seconds=seconds[known].sum(keepdims=True),
        both=both,
        true=true,
        found=found,
        num_true=bouts.num_true[None].astype(np.float64),
        num_found=bouts.num_found[None].astype(np.float64),
        num_matched=bouts.num_matched[None].astype(np.float64),
        agreed=seconds[agreed].sum(keepdims=True),
        true_states=_sums(one.targets[known], seconds[known], size),
        found_states=_sums(said[is_row], seconds[is_row], size),
    )


def _sums(labels: Labels, seconds: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The seconds of each label, (1, size)."""
    sums = np.bincount(labels, seconds, minlength=size)
    return sums[None].astype(np.float64)  # of no labels they are whole numbers


def _scores(
    counts: Sequence[_Counts],
    units: Sequence[str],
    found: Precisions,
    tally: Tally,
    with_false_alarms: bool,
) -> StepScores:
    """Of one model, from its counts in N recordings and their groups."""

    def column(number: Callable[[_Counts], float]) -> NDArray[np.float64]:
        return np.array([[number(one)] for one in counts], np.float64)  # (N, 1)

    hits, steps = (
        np.array([getattr(one, name) for one in counts], np.float64) for name in ("hits", "steps")
    )  # (N, K)
    num_true = column(lambda one: len(one.delays))
    rates = {
        "accuracy": (column(lambda one: one.num_right), column(lambda one: one.num_steps)),
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
    numbers: dict[str, Any] = {name: mean_ratio(*rate) for name, rate in rates.items()}
    further = {**found.means, "kappa": overall(tally)}
    if with_false_alarms:
        further["false_alarms_per_hour"] = false_alarms(tally)
    for name, (number, interval) in further.items():
        numbers[name], intervals[name] = number, interval
    return StepScores(
        **numbers,
        delay_seconds=float(np.median(late[was_found])) if was_found.any() else None,
        intervals=intervals,
    )


def mean_ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> float | None:
    """The mean over columns of (sum of the parts / sum of the wholes), see `bootstrap_ratio`."""
    sums, totals = parts.sum(axis=0), wholes.sum(axis=0)
    counted = totals > 0
    return float((sums[counted] / totals[counted]).mean()) if counted.any() else None
