"""The thresholds of a training's events: chosen for few false alarms, tested on other groups.

Of many pairs of thresholds the one that finds most of the true bouts is taken, among those whose
false alarms on recordings that were not trained on are at most so many an hour. As with the
temperature (`training.calibrate`), no fold is tested by thresholds that its own test groups chose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from actionrnn.config import Config
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import ConfigError
from actionrnn.evaluation.event_scores import (
    EventCounts,
    EventScores,
    RuleChoice,
    count_events,
    event_scores,
)
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import background_of, why_no_false_alarms
from actionrnn.options import EventRule


def _probability(logit: float) -> float:
    return round(1 / (1 + math.exp(-logit)), 4)


BEGINS = [_probability(quarters / 4) for quarters in range(-8, 37)]  # 0.1192 ... 0.9999
ENDS = [_probability(logit) for logit in range(-4, 4)]  # 0.018 ... 0.9526
RULES = tuple(EventRule(begin, end) for begin in BEGINS for end in ENDS if end <= begin)
"""Those that are tried: evenly spread logits, so close together where scores are near 1."""

_SLACK = 1e-9  # of a rate: what rounding may cost


def choose_rule(counts: Sequence[EventCounts], most_per_hour: float) -> EventRule | None:
    """The rule with the highest recall, of those with at most so many false alarms an hour.

    Of equal ones those with the fewest false alarms, and of these the middle one: it is the
    furthest from missing an action, and from a false alarm.

    Args:
        counts: of recordings, by each of `RULES`.

    Returns:
        None: none of them finds anything within that rate.
    """
    found, right = (
        np.sum([getattr(one, name) for one in counts], axis=0)
        for name in ("num_found", "num_matched")
    )
    wrong = found - right
    allowed = most_per_hour * sum(one.hours for one in counts) + _SLACK
    good = np.flatnonzero((wrong <= allowed) & (right > 0))
    if len(good) == 0:
        return None
    good = good[right[good] == right[good].max()]
    good = good[wrong[good] == wrong[good].min()]
    return RULES[int(good[len(good) // 2])]


def choose_and_test(
    labels: Sequence[str],
    folds: Sequence[Sequence[StepPredictions]],
    validation: Sequence[StepPredictions],
    most_per_hour: float,
) -> tuple[EventScores | None, str]:
    """Choose the thresholds of each fold and of the model, and test the folds by theirs.

    Args:
        folds: the test recordings of each, answered by its own head.
        validation: of a single fold, by which its thresholds are chosen, answered likewise.
        most_per_hour: the false alarms.

    Returns:
        the scores, with the model's thresholds; or None, and why there are none.
    """
    held_out = [one for fold in folds for one in fold] if len(folds) > 1 else list(validation)
    if why_not := why_no_false_alarms(labels, held_out):
        return None, why_not
    background = background_of(labels, held_out)
    counts = [[count_events(one, RULES, background) for one in fold] for fold in folds]
    pool = [one for fold in counts for one in fold]
    others = [
        [one for number, fold in enumerate(counts) if number != which for one in fold]
        for which in range(len(folds))
    ]
    chosen_on = "test recordings of all folds"
    if len(folds) == 1:
        pool = [count_events(one, RULES, background) for one in validation]
        others, chosen_on = [pool], "validation recordings"
    rule, *rules = (choose_rule(some, most_per_hour) for some in [pool, *others])
    known = [one for one in rules if one is not None]
    if rule is None or len(known) < len(rules):
        return None, (
            f"no thresholds find anything with at most {most_per_hour:g} false alarms an hour in "
            f"the {sum(one.hours for one in pool):.2g} hours of the {chosen_on}"
        )
    there = event_scores([_by(one, rule) for one in pool], rule)
    tested = [_by(one, own) for fold, own in zip(counts, known, strict=True) for one in fold]
    choice = RuleChoice(
        most_per_hour=most_per_hour,
        chosen_on=chosen_on,
        hours=there.hours,
        num_groups=there.num_groups,
        recall=there.recall,
        false_alarms_per_hour=there.false_alarms_per_hour or 0.0,
    )
    test = [one for fold in folds for one in fold]
    return event_scores(
        tested,
        rule,
        known,
        no_false_alarms=why_no_false_alarms(labels, test),
        choice=choice,
    ), ""


def _by(counts: EventCounts, rule: EventRule) -> EventCounts:
    """What was counted by one of `RULES`."""
    which = slice(RULES.index(rule), RULES.index(rule) + 1)
    return replace(counts, num_found=counts.num_found[which], num_matched=counts.num_matched[which])


def require_background(config: Config, labels: Sequence[str]) -> None:
    """Refuse thresholds of events where no false alarm could be counted.

    Raises:
        ConfigError: there is no class `background`, or no rate at which recordings are sampled.
    """
    if not config.head.multi_label and BACKGROUND not in labels:
        raise ConfigError(
            f"train.event_thresholds: false alarms need a class {BACKGROUND}, and there are "
            f"{', '.join(labels[:5])}; annotate where none of them is seen (or set "
            "data.unlabelled=background if all of them are annotated everywhere)"
        )
    if config.sampling.rate_fps is None and config.data.layout != "annotations":
        raise ConfigError(
            "train.event_thresholds: joined clips need a rate of steps; set sampling.rate_fps"
        )
