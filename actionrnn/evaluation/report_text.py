"""What is said of a report: on the terminal, and where its page says the same."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actionrnn.evaluation.bootstrap import intervals_note
from actionrnn.evaluation.metrics import percent
from actionrnn.evaluation.report import Calibration, FoldResult, Report, SeedResult
from actionrnn.evaluation.step_tables import event_lines, step_lines, step_table
from actionrnn.text import printable

MOST_SKIPPED_SHOWN = 10


def render_text(report: Report) -> RenderableType:
    """The whole report, for a terminal; labels and paths are other people's, so all are escaped."""
    warnings = [Text(printable(line), style="bold") for line in report.warnings]
    notes = [Text(f"note: {printable(note)}") for note in report.notes]
    lines = [*_most_confused(report), *_numbers(report), *_left_out(report)]
    parts: list[RenderableType] = [*warnings, *notes, _table(report)]
    parts.append(Text(printable("\n".join(lines))))
    if report.steps is not None:
        parts += [step_table(report.steps), Text(printable("\n".join(step_lines(report.steps))))]
    parts += [Text(printable(line)) for line in event_lines(report.events, report.no_events)]
    return Group(*parts)


def interval_text(report: Report, name: str, form: str = "({:.1f} to {:.1f})") -> str:
    """`(78.9 to 93.3)`, in per cent; empty without an interval."""
    bounds = report.intervals.get(name)
    return "" if bounds is None else form.format(100 * bounds[0], 100 * bounds[1])


def interval_note(report: Report) -> str:
    """What the intervals are."""
    return intervals_note(report.num_units, report.resampled)


def headline(report: Report) -> dict[str, str]:
    """The accuracies that the report has: what each is called, and its field."""
    names = {
        report.accuracy_name: "top1",
        "top-5": "top5",
        "mean class accuracy": "mean_class_accuracy",
    }
    return {title: name for title, name in names.items() if getattr(report, name) is not None}


def temperature_text(calibration: Calibration) -> str:
    """What the temperature did, or would do, to the calibration error."""
    if calibration.applied:
        before = percent(calibration.ece_before)
        return f"at temperature {calibration.temperature:.2f}; {before} without it"
    after = percent(calibration.ece_after)
    helps = calibration.ece_after < calibration.ece_before
    advice = ": train.calibrate" if helps else ", which is no better"
    return f"{after} at temperature {calibration.temperature:.2f}{advice}"


def seeds_text(report: Report) -> str:
    """Mean and standard deviation over the seeds, of head and baselines; empty for one seed."""
    if len(report.seeds) < 2:
        return ""
    head = f"{report.head_name} {report.accuracy_name}"
    rows = [{head: seed.top1, **baselines_of(report, seed)} for seed in report.seeds]
    parts = []
    for name in rows[0]:
        known = [100 * value for row in rows if (value := row[name]) is not None]
        if len(known) > 1:
            parts.append(f"{name} {np.mean(known):.1f} ± {np.std(known, ddof=1):.1f} %")
    return ", ".join(parts)


def baselines_of(report: Report, row: FoldResult | SeedResult | Report) -> dict[str, float | None]:
    """The accuracy of each baseline that the report has, in one of its rows."""
    found = {"mean-pool": row.baseline_mean_pool_top1}
    if report.baseline_mean_pool_motion_top1 is not None:
        found["mean-pool + motion"] = row.baseline_mean_pool_motion_top1
    return found


def searched(report: Report) -> list[str]:
    """What a search chose, a line for each fold."""
    lines, given = [], report.config.get("head", {})
    for trial in report.trials:
        if not trial["chosen"]:
            continue
        tried = sum(other["fold"] == trial["fold"] for other in report.trials)
        changed = [f"{name} {v}" for name, v in trial["head"].items() if given.get(name) != v]
        lines.append(
            f"{trial['fold']}: best of {tried} settings on validation: "
            f"{', '.join(changed) or 'the given ones'}"
        )
    return lines


def worst_confusions(report: Report) -> list[tuple[int, int, int]]:
    """Clips, true class, answer: every wrong cell of the confusion matrix, fullest first."""
    wrong = [
        (count, true, given)
        for true, row in enumerate(report.confusion)
        for given, count in enumerate(row)
        if count and true != given
    ]
    return sorted(
        wrong, key=lambda cell: (-cell[0], report.labels[cell[1]], report.labels[cell[2]])
    )


def _table(report: Report) -> Table:
    title = Text(printable(report.title)) if report.title else None
    table = Table(title=title, title_justify="left")
    table.add_column("test on")
    head = f"{report.head_name} {report.accuracy_name}"
    for heading in (f"{report.clip_name}s", head, *baselines_of(report, report)):
        table.add_column(heading, justify="right")
    for fold in report.folds:
        table.add_row(Text(printable(fold.group)), *_cells(report, fold))
    if len(report.folds) > 1:
        table.add_section()
        table.add_row("all", *_cells(report, report), style="bold")
    return table


def _cells(report: Report, row: FoldResult | Report) -> list[str]:
    baselines = map(percent, baselines_of(report, row).values())
    return [str(row.num_clips), percent(row.top1), *baselines]


def _most_confused(report: Report) -> list[str]:
    pairs = [
        f"{report.labels[true]} taken for {report.labels[given]} ({count})"
        for count, true, given in worst_confusions(report)[:3]
    ]
    return [f"most confused: {', '.join(pairs)}"] if pairs else []


def _numbers(report: Report) -> list[str]:
    def number(title: str, name: str) -> str:
        value = percent(getattr(report, name))
        return f"{title} {value} {interval_text(report, name)}".rstrip()

    lines = [", ".join(number(title, name) for title, name in headline(report).items())]
    if report.baseline_mean_pool_top1 is not None:
        gain = 100 * (report.top1 - report.baseline_mean_pool_top1)
        bounds = interval_text(report, "gain_over_mean_pool")
        lines.append(f"against mean-pool {gain:+.1f} points {bounds}".rstrip())
    if report.baseline_mean_pool_motion_top1 is not None:
        lines.append(number("mean-pool + motion", "baseline_mean_pool_motion_top1"))
    if report.baseline_shuffled_frames_top1 is not None:
        lines.append(number("on shuffled frames", "baseline_shuffled_frames_top1"))
    if report.ece is not None:
        lines[-1] += f"; calibration error {percent(report.ece)}"
    if report.calibration is not None:
        lines[-1] += f" ({temperature_text(report.calibration)})"
    in_brackets = "in brackets: " if report.num_units > 1 else ""
    lines.append(in_brackets + interval_note(report))
    if report.fold_mean_top1 is not None and report.fold_std_top1 is not None:
        mean, std = 100 * report.fold_mean_top1, 100 * report.fold_std_top1
        lines.append(f"over {len(report.folds)} folds: {mean:.1f} ± {std:.1f} %")
    if seeds := seeds_text(report):
        lines.append(f"over {len(report.seeds)} seeds: {seeds}")
    return lines + searched(report)


def _left_out(report: Report) -> list[str]:
    if not report.skipped:
        return []
    reasons = [f"  {skipped.reason}" for skipped in report.skipped[:MOST_SKIPPED_SHOWN]]
    return [f"videos that cannot be used, left out: {len(report.skipped)}", *reasons]
