"""Class by class: bouts, time budget, agreement, each with its interval; as CSV too."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, FiniteFloat, NonNegativeFloat, NonNegativeInt

from actionrnn.evaluation.bootstrap import Measured, measured, measured_rates
from actionrnn.evaluation.bouts import Floats, Tally, class_kappas, overall_kappa, ratio
from actionrnn.evaluation.metrics import Rate
from actionrnn.files import write_text
from actionrnn.text import in_utf8

BOUTS_FILE = "bouts.csv"

Kappa = Annotated[float, Field(ge=-1, le=1)]


@dataclass(frozen=True)
class BoutScores:
    """One class; a number is None where there is nothing to count.

    What is predicted is what a timeline shows. Of two annotators the first stands for the truth,
    the second for the prediction.
    """

    label: str
    num_true: NonNegativeInt | None
    """Bouts; None for the background, which makes none."""
    num_predicted: NonNegativeInt | None
    num_matched: NonNegativeInt | None
    """The predicted bouts that match a true one: `bouts.matches`, at `bouts.BOUT_IOU`."""
    true_seconds: NonNegativeFloat
    predicted_seconds: NonNegativeFloat
    true_share: Rate | None
    """The time budget: the part of the time that counts in which it is true."""
    predicted_share: Rate | None
    kappa: Kappa | None
    """Cohen's, of this class against all else, over time."""
    precision: Rate | None
    """The part of the predicted bouts that match."""
    recall: Rate | None
    """The part of the true bouts that are matched."""
    f1: Rate | None
    """2 matched / (predicted + true)."""
    false_alarms_per_hour: NonNegativeFloat | None = None
    """Predicted bouts that match no true one, for each hour of the time that counts."""
    frame_ap: Rate | None = None
    """Average precision over the steps."""
    calibrated_frame_ap: Rate | None = None
    segment_ap: Rate | None = None
    """Average precision of the segments, mean over `bouts.IOUS`."""
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat] | None] = field(default_factory=dict)
    """95 % bootstrap intervals over groups, by the number's name; None with fewer than two."""


COUNTS = ("num_true", "num_predicted", "num_matched", "true_seconds", "predicted_seconds")
NUMBERS = (
    *("true_share", "predicted_share", "kappa", "precision", "recall", "f1"),
    *("false_alarms_per_hour", "frame_ap", "calibrated_frame_ap", "segment_ap"),
)
"""Those that have intervals."""
_OF_BOUTS = ("precision", "recall", "f1", "false_alarms_per_hour")


def bout_scores(
    labels: Sequence[str],
    tally: Tally,
    *,
    background: int | None = None,
    with_false_alarms: bool = False,
    more: Mapping[str, Sequence[Measured]] | None = None,
) -> tuple[BoutScores, ...]:
    """The numbers of each of K classes.

    Args:
        tally: a row for each group that a resample draws.
        background: the class that makes no bouts: it has a time budget and a kappa alone.
        with_false_alarms: also count them an hour; see `false_alarms`.
        more: further numbers, by name and class.
    """
    numbers: dict[str, Sequence[Measured]] = {**_ratios(tally), **_kappas(tally), **(more or {})}
    if with_false_alarms:
        wrong = tally.num_found - tally.num_matched
        numbers["false_alarms_per_hour"] = measured_rates(wrong, tally.seconds / 3600)
    sums = tally.drawn(np.ones((1, len(tally.seconds))))

    def of_class(which: int, label: str) -> BoutScores:
        values: dict[str, Any] = {
            "num_true": int(sums.num_true[0, which]),
            "num_predicted": int(sums.num_found[0, which]),
            "num_matched": int(sums.num_matched[0, which]),
        }
        known = {name: column[which] for name, column in numbers.items()}
        values |= {name: value for name, (value, _) in known.items()}
        intervals = {name: interval for name, (_, interval) in known.items()}
        if which == background:
            values |= dict.fromkeys(("num_true", "num_predicted", "num_matched", *_OF_BOUTS))
            intervals |= {name: None for name in _OF_BOUTS if name in intervals}
        return BoutScores(
            label=label,
            true_seconds=round(float(sums.true[0, which]), 3),
            predicted_seconds=round(float(sums.found[0, which]), 3),
            **values,
            intervals=intervals,
        )

    return tuple(of_class(which, label) for which, label in enumerate(labels))


def overall(tally: Tally) -> Measured:
    """Cohen's kappa over all classes at once."""
    shares = tally.seconds[:, None]
    found = measured(lambda times: overall_kappa(tally.drawn(times))[:, None], shares, lowest=-1)
    return found[0]


def false_alarms(tally: Tally) -> Measured:
    """Of all classes, the predicted bouts that match no true one, for each hour that counts.

    A bout that overlaps a true one of its class by less than `bouts.BOUT_IOU`, or that finds it
    again, is one too. The rate of false alarms of NIST's "2008 TRECVid Event Detection Evaluation
    Plan": what is left over when each true instance is aligned with one predicted one at most, an
    hour. It is a number only for time in which somebody looked for every class: what was not
    annotated may be right.
    """
    wrong = (tally.num_found - tally.num_matched).sum(axis=1, keepdims=True)
    return measured_rates(wrong, tally.seconds / 3600)[0]


def _ratios(tally: Tally) -> dict[str, list[Measured]]:
    def of(some: Tally) -> dict[str, tuple[Floats, Floats]]:
        seconds = some.seconds[:, None]
        return {
            "true_share": (some.true, seconds),
            "predicted_share": (some.found, seconds),
            "precision": (some.num_matched, some.num_found),
            "recall": (some.num_matched, some.num_true),
            "f1": (2 * some.num_matched, some.num_true + some.num_found),
        }

    def statistic(times: Floats) -> Floats:
        # a share may be above 1 by a rounding of the sums
        parts = [ratio(*pair) for pair in of(tally.drawn(times)).values()]
        return np.minimum(np.concatenate(parts, axis=1), 1)

    size = tally.both.shape
    wholes = [np.broadcast_to(whole, size) for _, whole in of(tally).values()]
    found = measured(statistic, np.concatenate(wholes, axis=1))
    return {
        name: found[place * size[1] : (place + 1) * size[1]] for place, name in enumerate(of(tally))
    }


def _kappas(tally: Tally) -> dict[str, list[Measured]]:
    shares = np.broadcast_to(tally.seconds[:, None], tally.both.shape)
    return {"kappa": measured(lambda times: class_kappas(tally.drawn(times)), shares, lowest=-1)}


def write_bouts(scores: Sequence[BoutScores], path: Path) -> None:
    """A CSV file: a row a class; empty where there is nothing to count.

    Behind each number that has one, `_low` and `_high` are its interval.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = [(name, f"{name}_low", f"{name}_high") for name in NUMBERS]
    writer.writerow(["label", *COUNTS, *(heading for three in bounds for heading in three)])
    for one in scores:
        row: list[object] = [in_utf8(one.label), *(getattr(one, name) for name in COUNTS)]
        for name in NUMBERS:
            row += [cell(getattr(one, name))]
            row += [cell(bound) for bound in one.intervals.get(name) or (None, None)]
        writer.writerow(row)
    write_text(path, text.getvalue())


def cell(value: float | None) -> str:
    """A number of a table of scores: six digits, or empty."""
    return "" if value is None else f"{value:.6g}"
