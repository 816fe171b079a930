"""How good a head and its baselines are at every step of whole recordings.

Accuracy and delay are those of the answer of now itself, the class of the highest score. F1 and
edit score are those of the segments that a timeline shows (`SegmentRule` by default), because
these are what a user gets. `segment_metrics` has the definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat, NonNegativeFloat

from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.datasets.sequences import IGNORE
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
from actionrnn.evaluation.metrics import Rate
from actionrnn.evaluation.segment_metrics import (
    OVERLAP_PERCENTS,
    Labels,
    class_hits,
    delays,
    edit_score,
    matched_segments,
    segments_of,
)
from actionrnn.model.segments import NOTHING, shown_labels, step_ends

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
    """(T,): class indices, or IGNORE where nobody labelled the step."""
    scores: Mapping[str, NDArray[np.float32]]
    """By model, the probabilities of now, (T, K): first the tested head, then its baselines."""
    delay_steps: Mapping[str, int] = field(default_factory=dict)
    """By model, how many further steps are seen before a step is answered; default: none."""


@dataclass(frozen=True)
class StepScores:
    """One model's scores; a number is None where there is nothing to count."""

    accuracy: Rate
    """The part of the steps whose answer of now is right."""
    mean_class_accuracy: Rate
    """The mean over classes of each class's part; classes without steps do not count."""
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


@dataclass(frozen=True)
class _Counts:
    """Of one model in one recording."""

    hits: Labels
    """Of each class, (K,)."""
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
        _require_shapes(one, len(labels), list(recordings[0].scores))
    known = sum(int((one.targets != IGNORE).sum()) for one in recordings)
    if known == 0:
        raise ActionrnnError(
            f"none of the {len(recordings)} test recordings has a labelled step; label some"
        )
    nothing = list(labels).index(background) if background in labels else None
    models = list(recordings[0].scores)
    labelled = [one for one in recordings if (one.targets != IGNORE).any()]
    units = [one.group for one in labelled]
    counts = {name: [_count(one, name, nothing) for one in labelled] for name in models}
    tallies = {
        name: stacked([one.tally for one in ours]).by_unit(units) for name, ours in counts.items()
    }
    found = {
        name: precisions([one.answers for one in ours], units, nothing)
        for name, ours in counts.items()
    }
    why_not = _why_no_false_alarms(tallies[models[0]], nothing, background)
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
        recordings=tuple(_bars(recordings[place]) for place in chosen.round().astype(int)),
        joined=joined,
        classes=bout_scores(
            labels,
            tallies[models[0]],
            background=nothing,
            with_false_alarms=not why_not,
            more=found[models[0]].by_class,
        ),
        no_false_alarms=why_not,
    )


def _why_no_false_alarms(tally: Tally, nothing: int | None, background: str) -> str:
    if nothing is None:
        return f"there is no class {background}: nobody says where none of the classes is seen"
    if not tally.true[:, nothing].any():
        return f"no step of the test recordings is {background}"
    return ""


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
    if len(known) and not (known.min() >= 0 and known.max() < num_labels):
        raise ValueError(f"{one.name}: targets must be IGNORE or in 0 ... {num_labels - 1}")


def _count(one: StepPredictions, name: str, background: int | None) -> _Counts:
    scores = one.scores[name]
    answers: Labels = scores.argmax(axis=1)
    shown = shown_labels(scores, one.pts_seconds)
    found, true = (segments_of(what, one.targets, background) for what in (shown, one.targets))
    hits, steps = class_hits(answers, one.targets, scores.shape[1])
    known = one.targets != IGNORE
    means = [scores[first:stop, which].mean(dtype=np.float64) for first, stop, which in found]
    bouts = match_bouts(found, np.array(means, np.float64), true, scores.shape[1])
    return _Counts(
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


def _tally(one: StepPredictions, shown: Labels, bouts: Bouts) -> Tally:
    """Truth and timeline, over the labelled steps."""
    seconds = step_ends(one.pts_seconds) - one.pts_seconds
    known = one.targets != IGNORE

    def by_class(labels: Labels, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        sums = np.bincount(labels[chosen], seconds[chosen], minlength=len(bouts.num_true))
        return sums[None].astype(np.float64)  # where nothing is chosen they are whole numbers

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


def _rounded(start: float, end: float) -> tuple[float, float]:
    """To a millisecond."""
    return round(float(start), 3), round(float(end), 3)
