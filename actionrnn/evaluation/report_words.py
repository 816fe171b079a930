"""What a report's page says in sentences: the verdict, order, early answers, calibration."""

from __future__ import annotations

from actionrnn.evaluation.bootstrap import FEW_UNITS
from actionrnn.evaluation.metrics import PERCENTS_OBSERVED, percent
from actionrnn.evaluation.predict import MEAN_POOL
from actionrnn.evaluation.report import Report
from actionrnn.evaluation.report_text import temperature_text
from actionrnn.evaluation.step_tables import FRAME_MAP


def verdict_words(report: Report) -> str:
    """What the recurrent head brought over a mean over frames."""
    if report.baseline_mean_pool_top1 is None:
        return ""
    head, gain = report.head_name, 100 * (report.top1 - report.baseline_mean_pool_top1)
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
    excludes_zero = bounds[0] > 0 or bounds[1] < 0
    sure = f"{probably}more than luck" if excludes_zero else "which may be luck"
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
    values = report.observed.get(report.head_name)
    if not values:
        return ""
    enough = next(
        percent
        for percent, value in zip(PERCENTS_OBSERVED, values, strict=True)
        if value >= 0.9 * values[-1]
    )
    return (
        f"After the first {enough} % of the video the {report.head_name} has reached nine tenths "
        f"of its final accuracy; after the first 10 %, {values[0]:.1%} are right."
    )


def step_words(report: Report) -> str:
    """How often the answer of now is right, beside the baselines."""
    if report.steps is None:
        return ""
    (head, scores), *others = report.steps.models.items()
    if report.steps.multi_label:
        said = f"The {head} ranks the steps at which a class is on with a mean average precision of"
        said += f" {percent(scores.frame_map)}"
        name_of_number = FRAME_MAP.name
    else:
        said = f"At {scores.accuracy:.1%} of the steps the {head}'s answer of that moment is right"
        name_of_number = "accuracy"
    beside = "; ".join(
        f"{name} {percent(getattr(other, name_of_number))}" for name, other in others
    )
    return f"{said}. Beside it: {beside}." if beside else f"{said}."


def calibration_words(report: Report) -> str:
    """Whether the scores promise too much or too little."""
    if not report.reliability or report.ece is None:
        return ""
    total = sum(part.num_clips for part in report.reliability)
    promised, kept = (
        sum(part.num_clips * getattr(part, name) for part in report.reliability) / total
        for name in ("confidence", "accuracy")
    )
    if report.multi_label:
        side = "are too high" if promised > kept else "could be higher"
        said = f"On average a class has the score {promised:.1%}, and {kept:.1%} are on: "
        said += f"the scores {side}"
    else:
        side = "too sure of itself" if promised > kept else "less sure than it could be"
        said = f"On average an answer has the score {promised:.1%}, and {kept:.1%} are right: "
        said += f"the model is {side}"
    scaled = "" if report.calibration is None else f" ({temperature_text(report.calibration)})"
    note = f" {report.calibration_note}" if report.calibration_note else ""
    return f"{said}. Expected calibration error: {report.ece:.1%}{scaled}.{note}"


def horizon_words(report: Report) -> str:
    """How far back the answer reaches."""
    one = report.horizon.get(report.head_name)
    if one is None:
        return ""
    rate = report.config.get("sampling", {}).get("rate_fps")
    seconds = f" ({one.half_steps / rate:.1f} s)" if rate else ""
    mean = report.horizon.get(MEAN_POOL)
    beside = "" if mean is None else f"; for a mean over frames it is {mean.half_steps:.1f}"
    return (
        f"Half of all influence on the {report.head_name}'s answer comes from the newest "
        f"{one.half_steps:.1f} of {one.mean_steps:.1f} steps{seconds}{beside}."
    )
