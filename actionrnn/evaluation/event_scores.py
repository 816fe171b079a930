"""How many actions the events of a stream find, and how often they are wrong an hour.

An alarm need not begin and end with the action. So an event is right if its middle lies in a true
bout of its label, and one alone of several in a bout: that is how events and truth are aligned in
NIST's "2008 TRECVid Event Detection Evaluation Plan", here without its tolerance. What is left over
is a false alarm. Events are cut where nobody labelled a step, as segments are; middles are counted
in steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveFloat

from actionrnn.datasets.recordings import IGNORE
from actionrnn.evaluation.bootstrap import bootstrap_ratio, measured_rates, sum_by_unit
from actionrnn.evaluation.metrics import Rate
from actionrnn.evaluation.segment_metrics import Labels, lane_segments, segments_of
from actionrnn.evaluation.step_predictions import StepPredictions, true_lanes
from actionrnn.model.events import event_lanes
from actionrnn.model.segments import step_ends
from actionrnn.options import EventRule


@dataclass(frozen=True)
class EventCounts:
    """Of one recording, by each of R rules."""

    group: str
    hours: float
    """The labelled time."""
    num_true: int
    num_found: Labels
    """(R,)."""
    num_matched: Labels
    """(R,): the events that are right, as many as bouts are found."""


def count_events(
    one: StepPredictions, rules: Sequence[EventRule], background: int | None
) -> EventCounts:
    """Count the events of the first model, the tested one.

    Args:
        background: the class that is no action; None: there is none.
    """
    scores, targets = next(iter(one.scores.values())), one.targets
    true = (
        segments_of(targets, targets, background)
        if one.label_sets is None
        else lane_segments(true_lanes(one), targets)
    )
    counts = np.zeros((len(rules), 2), np.int64)
    for row, rule in zip(counts, rules, strict=True):
        lanes = event_lanes(scores, one.pts_seconds, rule)
        if background is not None:
            lanes[:, background] = False
        found = lane_segments(lanes, targets)
        row[:] = len(found), _num_matched(found, true, len(targets))
    seconds = step_ends(one.pts_seconds) - one.pts_seconds
    return EventCounts(
        group=one.group,
        hours=float(seconds[targets != IGNORE].sum()) / 3600,
        num_true=len(true),
        num_found=counts[:, 0],
        num_matched=counts[:, 1],
    )


def _num_matched(found: Labels, true: Labels, num_steps: int) -> int:
    """How many true bouts (S, 3) have the middle of an event of (P, 3) in them."""
    begins, ends = (true[:, 2] * num_steps + true[:, which] for which in (0, 1))
    order = np.argsort(begins)  # the bouts of a label do not overlap, those of two lie apart now
    middles = found[:, 2] * num_steps + (found[:, 0] + found[:, 1]) / 2
    before = np.searchsorted(begins[order], middles, side="right") - 1
    bouts = order[before[before >= 0]]
    return len(np.unique(bouts[middles[before >= 0] < ends[bouts]]))


@dataclass(frozen=True)
class RuleChoice:
    """How a model's thresholds of events were chosen."""

    most_per_hour: PositiveFloat
    """The false alarms that they may bring (`train.false_alarms_per_hour`)."""
    chosen_on: str
    """Which recordings, none of which the head was trained on. Several folds: the test recordings
    of the others, for each fold anew (the model's: of all folds); one: its validation recordings,
    which may have chosen the epoch."""
    hours: NonNegativeFloat
    """Their labelled time."""
    num_groups: NonNegativeInt
    recall: Rate | None
    """There: what was made as high as possible."""
    false_alarms_per_hour: NonNegativeFloat


@dataclass(frozen=True)
class EventScores:
    """How good events are by thresholds in whose choice the tested groups took no part.

    A number is None where there is nothing to count.
    """

    rule: EventRule
    """The model's."""
    tested_rules: tuple[EventRule, ...]
    """Those by which the numbers below were counted: one, or one for each fold."""
    num_true: NonNegativeInt
    """Bouts of the test recordings, of all classes but the background."""
    num_events: NonNegativeInt
    num_right: NonNegativeInt
    hours: NonNegativeFloat
    """The labelled time of the test recordings."""
    num_groups: NonNegativeInt
    recall: Rate | None
    """The part of the true bouts that an event finds."""
    precision: Rate | None
    """The part of the events that are right."""
    false_alarms_per_hour: NonNegativeFloat | None
    """Events that are not; None: `no_false_alarms`."""
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat] | None] = field(default_factory=dict)
    """95 % bootstrap intervals over groups, by the number's name; None with fewer than two."""
    no_false_alarms: str = ""
    """Why false alarms cannot be counted; empty where they are."""
    choice: RuleChoice | None = None
    """How the model's rule was chosen; None: by an earlier training."""


def event_scores(
    counts: Sequence[EventCounts],
    rule: EventRule,
    tested_rules: Sequence[EventRule] = (),
    *,
    no_false_alarms: str = "",
    choice: RuleChoice | None = None,
) -> EventScores:
    """Pool what was counted in test recordings.

    Args:
        counts: of each recording, by the one rule that it is tested with.
        rule: the model's.
        tested_rules: see `EventScores`; none: the model's.
        no_false_alarms: why they cannot be counted, if they cannot.
        choice: see `EventScores`.
    """
    units = [one.group for one in counts]
    found, right = (
        np.array([getattr(one, name) for one in counts], np.float64).reshape(-1, 1)
        for name in ("num_found", "num_matched")
    )
    true, hours = (
        np.array([[getattr(one, name)] for one in counts], np.float64)
        for name in ("num_true", "hours")
    )
    wrong, whole = (sum_by_unit(values, units) for values in (found - right, hours))
    [(rate, bounds)] = measured_rates(wrong, whole[:, 0])
    intervals = {
        "recall": bootstrap_ratio(right, true, units),
        "precision": bootstrap_ratio(right, found, units),
    }
    return EventScores(
        rule=rule,
        tested_rules=tuple(tested_rules) or (rule,),
        num_true=int(true.sum()),
        num_events=int(found.sum()),
        num_right=int(right.sum()),
        hours=float(hours.sum()),
        num_groups=len(set(units)),
        recall=float(right.sum() / true.sum()) if true.any() else None,
        precision=float(right.sum() / found.sum()) if found.any() else None,
        false_alarms_per_hour=None if no_false_alarms else rate,
        intervals=intervals | ({} if no_false_alarms else {"false_alarms_per_hour": bounds}),
        no_false_alarms=no_false_alarms,
        choice=choice,
    )
