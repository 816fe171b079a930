"""The scores of steps on the terminal, and the columns of their tables on the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from actionrnn.evaluation.bootstrap import Interval, intervals_note
from actionrnn.evaluation.bout_scores import BoutScores
from actionrnn.evaluation.bouts import IOUS
from actionrnn.evaluation.detection_scores import segment_map_at
from actionrnn.evaluation.event_scores import EventScores
from actionrnn.evaluation.metrics import percent
from actionrnn.evaluation.segment_metrics import OVERLAP_PERCENTS
from actionrnn.evaluation.step_scores import StepResults, StepScores
from actionrnn.text import plain, printable


def seconds_text(value: float | None) -> str:
    """`0.24 s`, or a dash."""
    return "-" if value is None else f"{value:.2f} s"


def kappa_text(value: float | None) -> str:
    """`0.71`, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def rate_text(value: float | None) -> str:
    """`3.2`, or a dash."""
    return "-" if value is None else f"{value:.1f}"


def count_text(value: float | None) -> str:
    """`96`, or a dash."""
    return "-" if value is None else f"{value:.0f}"


Scores = StepScores | BoutScores | EventScores


@dataclass(frozen=True)
class Column:
    """One number of the table of models or of classes, on the terminal and on the page."""

    heading: str
    name: str
    text: Callable[[float | None], str] = percent

    def value(self, scores: Scores) -> float | None:
        """The number itself."""
        number: float | None = getattr(scores, self.name)
        return number

    def cell(self, scores: Scores) -> str:
        """`86.7%`."""
        return self.text(self.value(scores))

    def interval(self, scores: Scores) -> str:
        """`81.2 to 90.5`, without the unit; empty without an interval."""
        bounds: Interval | None = scores.intervals.get(self.name)
        if bounds is None:
            return ""
        low, high = (self.text(bound).removesuffix("%").removesuffix(" s") for bound in bounds)
        return f"{low} to {high}"


FRAME_MAP = Column("mAP of steps", "frame_map")
_F1 = tuple(Column(f"F1@{percents}", f"f1_at_{percents}") for percents in OVERLAP_PERCENTS)
_LATE = (Column("delay", "delay_seconds", seconds_text), Column("missed", "missed"))
COLUMNS = (
    Column("steps right", "accuracy"),
    Column("mean class", "mean_class_accuracy"),
    *_F1,
    Column("edit", "edit"),
    *_LATE,
)
"""Of the models."""
LANE_COLUMNS = (FRAME_MAP, Column("exact match", "accuracy"), *_F1, *_LATE)
"""Of multi-label models."""

DETECTION_COLUMNS = (
    FRAME_MAP,
    Column("calibrated", "calibrated_frame_map"),
    *(Column(f"mAP@{iou}", segment_map_at(iou)) for iou in IOUS),
    Column("mean mAP", "segment_map"),
    Column("kappa", "kappa", kappa_text),
    Column("false alarms/h", "false_alarms_per_hour", rate_text),
)
"""Of the models, too."""

CLASS_COLUMNS = (
    Column("true bouts", "num_true", count_text),
    Column("predicted", "num_predicted", count_text),
    Column("precision", "precision"),
    Column("recall", "recall"),
    Column("F1", "f1"),
    Column("time true", "true_share"),
    Column("time predicted", "predicted_share"),
    Column("kappa", "kappa", kappa_text),
    Column("false alarms/h", "false_alarms_per_hour", rate_text),
    Column("AP of steps", "frame_ap"),
    Column("calibrated", "calibrated_frame_ap"),
    Column("AP of bouts", "segment_ap"),
)

EVENT_COLUMNS = (
    Column("recall", "recall"),
    Column("precision", "precision"),
    Column("false alarms/h", "false_alarms_per_hour", rate_text),
)

_IN_A_LINE = ("frame_map", "calibrated_frame_map", "segment_map", "kappa", "false_alarms_per_hour")
ON_TERMINAL = (
    *("frame_map", "accuracy", "mean_class_accuracy"),
    *("f1_at_50", "edit", "delay_seconds"),
)


def columns_of(results: StepResults) -> tuple[Column, ...]:
    """The numbers of the models, for the first table."""
    return LANE_COLUMNS if results.multi_label else COLUMNS


def detection_columns_of(results: StepResults) -> tuple[Column, ...]:
    """Those for the second."""
    return tuple(column for column in DETECTION_COLUMNS if column not in columns_of(results))


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
    lines = [step_sizes(results), step_interval_note(results) + beside]
    further = [column for column in detection_columns_of(results) if column.name in _IN_A_LINE]
    shown = [_named(column, scores) for column in further]
    if any(shown):
        lines.append(f"{name}: {', '.join(filter(None, shown))}")
    if results.multi_label:
        known_aps = [one for one in results.classes if one.frame_ap is not None]
        of_labels = ", ".join(f"{plain(one.label)} {percent(one.frame_ap)}" for one in known_aps)
        lines += [f"{name}: AP of steps of {of_labels}"] if of_labels else []
    if results.no_false_alarms:
        lines.append(f"false alarms are not counted: {results.no_false_alarms}")
    return lines


def event_lines(events: EventScores | None, no_events: str = "") -> list[str]:
    """What events by the model's thresholds find, and how these were chosen; none without them."""
    if no_events:
        return [f"no thresholds of events were chosen: {no_events}"]
    if events is None:
        return []
    found = filter(None, [_named(column, events) for column in EVENT_COLUMNS])
    lines = [
        f"events by {_thresholds(events)} in {hours_text(events.hours)}: {', '.join(found)}"
        if events.num_events
        else f"events by {_thresholds(events)} in {hours_text(events.hours)}: none"
    ]
    if events.no_false_alarms:
        lines.append(f"false alarms of events are not counted: {events.no_false_alarms}")
    if (choice := events.choice) is None:
        return lines
    most, hours = rate_text(choice.most_per_hour), hours_text(choice.hours)
    lines.append(
        f"the model's thresholds, begin {events.rule.begin_threshold:g}, end "
        f"{events.rule.end_threshold:g}, were chosen for at most {most} false alarms/h on the "
        f"{choice.chosen_on}: recall {percent(choice.recall)} with "
        f"{rate_text(choice.false_alarms_per_hour)} false alarms/h in {hours}"
    )
    if choice.hours * choice.most_per_hour < 1:
        lines.append(
            f"in {hours} one false alarm is more than {most} an hour: the thresholds had to bring "
            "none there, and on longer recordings the rate may be another"
        )
    return lines


def _thresholds(events: EventScores) -> str:
    """`the model's thresholds`, or those of the folds."""
    return (
        "the thresholds of the other folds"
        if len(events.tested_rules) > 1
        else f"begin {events.rule.begin_threshold:g}, end {events.rule.end_threshold:g}"
    )


def hours_text(hours: float) -> str:
    """`2.3 h`, or `4.1 min`."""
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _named(column: Column, scores: Scores) -> str:
    """`kappa 0.71 (0.62 to 0.80)`; empty where there is no number."""
    if column.value(scores) is None:
        return ""
    interval = column.interval(scores)
    return f"{column.heading} {column.cell(scores)}" + (f" ({interval})" if interval else "")


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
