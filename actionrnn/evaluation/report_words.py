"""What a report's numbers mean, in one plain sentence each."""

from __future__ import annotations

from actionrnn.evaluation.bootstrap import Interval
from actionrnn.evaluation.metrics import PERCENTS_OBSERVED
from actionrnn.evaluation.predict import MEAN_POOL
from actionrnn.evaluation.report import Report
from actionrnn.evaluation.report_table import FEW_UNITS, head_name


def interval_words(report: Report, name: str) -> str:
    """`78.9 to 93.3 %`; empty where there is none."""
    bounds = report.intervals.get(name)
    return "" if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"


def verdict_words(report: Report) -> str:
    """What the recurrent head brought over a mean over frames."""
    if report.baseline_mean_pool_top1 is None:
        return ""
    head, gain = head_name(report), 100 * (report.top1 - report.baseline_mean_pool_top1)
    if head == "mean":
        return "The head is itself the mean over frames: it cannot see order."
    if gain == 0:
        return f"The {head} is as good as a mean over frames: order brought nothing here."
    better = "better" if gain > 0 else "worse"
    bounds = report.intervals.get("gain_over_mean_pool")
    if bounds is None:
        return f"The {head} is {abs(gain):.1f} points {better} than a mean over frames."
    between = f"95 % interval {100 * bounds[0]:+.1f} to {100 * bounds[1]:+.1f}"
    probably = "probably " if report.num_units < FEW_UNITS else ""
    sure = f"{probably}more than luck" if _excludes_zero(bounds) else "which may be luck"
    than = f"The {head} is {abs(gain):.1f} points {better} than a mean over frames"
    return f"{than} ({between}): {sure}."


def order_words(report: Report) -> str:
    """Whether the head uses the order of the frames."""
    shuffled = report.baseline_shuffled_frames_top1
    if shuffled is None:
        return ""
    lost = 100 * (report.top1 - shuffled)
    if lost < 1:
        return f"It does not need the frames' order: shuffled, it scores {-lost:+.1f} points."
    return f"It uses the frames' order: shuffling the test clips' frames costs {lost:.1f} points."


def early_words(report: Report) -> str:
    """How soon the answer is nearly as good as at the end."""
    values = report.observed.get(head_name(report))
    if not values:
        return ""
    enough = next(
        percent
        for percent, value in zip(PERCENTS_OBSERVED, values, strict=True)
        if value >= 0.9 * values[-1]
    )
    return (
        f"After the first {enough} % of the video the {head_name(report)} has reached nine tenths "
        f"of its final accuracy; after the first 10 %, {values[0]:.1%} are right."
    )


def calibration_words(report: Report) -> str:
    """Whether the scores promise too much or too little."""
    if not report.reliability or report.ece is None:
        return ""
    promised = sum(part.num_clips * part.confidence for part in report.reliability)
    promised /= report.num_clips
    side = "too sure of itself" if promised > report.top1 else "less sure than it could be"
    return (
        f"On average an answer has the score {promised:.1%}, and {report.top1:.1%} are right: the "
        f"model is {side}. Expected calibration error: {report.ece:.1%}."
    )


def horizon_words(report: Report) -> str:
    """How far back the answer reaches."""
    one = report.horizon.get(head_name(report))
    if one is None:
        return ""
    rate = report.config.get("sampling", {}).get("rate_fps")
    seconds = f" ({one.half_steps / rate:.1f} s)" if rate else ""
    mean = report.horizon.get(MEAN_POOL)
    beside = "" if mean is None else f"; for a mean over frames it is {mean.half_steps:.1f}"
    return (
        f"Half of all influence on the {head_name(report)}'s answer comes from the newest "
        f"{one.half_steps:.1f} of {one.mean_steps:.1f} steps{seconds}{beside}."
    )


def _excludes_zero(bounds: Interval) -> bool:
    return bounds[0] > 0 or bounds[1] < 0
