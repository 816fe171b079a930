"""A report on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actionrnn.text import printable

if TYPE_CHECKING:
    from actionrnn.evaluation.report import FoldResult, Report, SeedResult

MOST_SKIPPED_SHOWN = 10
MOST_GROUPS_SHOWN = 5
FEW_UNITS = 10
"""With fewer groups a bootstrap interval is a rough guess."""


def render_report(report: Report) -> RenderableType:
    """A table of the folds, the worst confusions, and what else must be known."""
    warnings = [Text(printable(line), style="bold") for line in warnings_of(report)]
    notes = [Text(f"note: {printable(note)}") for note in report.notes]
    return Group(*warnings, *notes, _table(report), *_worst(report), _notes(report))


def head_name(report: Report) -> str:
    """`gru`; `head` where a search chose for each fold."""
    if report.trials:
        return "head"
    return str(report.config.get("head", {}).get("kind", "head"))


def warnings_of(report: Report) -> list[str]:
    """What makes the score too good, in one line each; for every output."""
    lines = []
    if report.seen_in_training:
        is_all = report.seen_in_training == report.num_clips
        verdict = "this is no test" if is_all else "the score is too good"
        lines.append(
            f"NOTE: the model was trained on {report.seen_in_training} of these "
            f"{report.num_clips} clips; {verdict}"
        )
    if report.leaked_clips:
        names = ", ".join(report.leaked_groups[:MOST_GROUPS_SHOWN])
        more = ", ..." if len(report.leaked_groups) > MOST_GROUPS_SHOWN else ""
        lines.append(
            f"GROUP LEAK: {report.leaked_clips} of these {report.num_clips} clips are of groups "
            f"that the model was trained on ({names}{more}); the score is too good"
        )
    return lines


def percent(value: float | None) -> str:
    """`86.7%`, or a dash."""
    return "-" if value is None else f"{value:.1%}"


def interval_text(report: Report, name: str) -> str:
    """`(78.9 to 93.3)`, in per cent; empty where there is none."""
    bounds = report.intervals.get(name)
    return "" if bounds is None else f"({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"


def seeds_text(report: Report) -> str:
    """Mean and standard deviation over the seeds, of head and baseline."""
    parts = []
    rows = [
        {f"{head_name(report)} top-1": seed.top1, **baselines_of(report, seed)}
        for seed in report.seeds
    ]
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        known = [100 * value for value in values if value is not None]
        if known:
            parts.append(f"{name} {np.mean(known):.1f} ± {np.std(known, ddof=1):.1f} %")
    return ", ".join(parts)


def baselines_of(report: Report, row: FoldResult | SeedResult | Report) -> dict[str, float | None]:
    """The baselines that a report has, with the accuracy of one of its rows."""
    found = {"mean-pool": row.baseline_mean_pool_top1}
    if report.baseline_mean_pool_motion_top1 is not None:
        found["mean-pool + motion"] = row.baseline_mean_pool_motion_top1
    return found


def searched(report: Report) -> list[str]:
    """What a search chose, a line for each fold."""
    lines = []
    for trial in report.trials:
        if trial["chosen"]:
            tried = sum(other["fold"] == trial["fold"] for other in report.trials)
            given = report.config.get("head", {})
            changed = [f"{k} {v}" for k, v in trial["head"].items() if given.get(k) != v]
            lines.append(
                f"{trial['fold']}: best of {tried} settings on validation: "
                f"{', '.join(changed) or 'the given ones'}"
            )
    return lines


def interval_note(report: Report) -> str:
    """What the intervals are."""
    if report.num_units < 2:
        return "no 95 % intervals: one group alone says nothing of others"
    few = f" (fewer than {FEW_UNITS}: a rough guess)" if report.num_units < FEW_UNITS else ""
    return f"95 % bootstrap intervals over {report.num_units} {report.resampled}{few}"


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
    table = Table(
        title=Text(printable(report.title)) if report.title else None, title_justify="left"
    )
    table.add_column("test on")
    for heading in ("clips", f"{head_name(report)} top-1", *baselines_of(report, report)):
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


def _worst(report: Report) -> list[Text]:
    worst = worst_confusions(report)[:3]
    if not worst:
        return []
    pairs = ", ".join(
        f"{report.labels[true]} taken for {report.labels[given]} ({count})"
        for count, true, given in worst
    )
    return [Text(printable(f"most confused: {pairs}"))]


def _notes(report: Report) -> Text:
    def number(title: str, name: str) -> str:
        value = percent(getattr(report, name))
        return f"{title} {value} {interval_text(report, name)}".rstrip()

    lines = [
        ", ".join(
            [
                number("top-1", "top1"),
                number("top-5", "top5"),
                number("mean class accuracy", "mean_class_accuracy"),
            ]
        )
    ]
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
    lines.append(
        f"in brackets: {interval_note(report)}" if report.num_units > 1 else interval_note(report)
    )
    if report.fold_mean_top1 is not None and report.fold_std_top1 is not None:
        mean, std = 100 * report.fold_mean_top1, 100 * report.fold_std_top1
        lines.append(f"over {len(report.folds)} folds: {mean:.1f} ± {std:.1f} %")
    if len(report.seeds) > 1:
        lines.append(f"over {len(report.seeds)} seeds: {seeds_text(report)}")
    lines += searched(report)
    if report.skipped:
        lines.append(f"left out: {len(report.skipped)} videos that cannot be used:")
        lines += [f"  {skipped['reason']}" for skipped in report.skipped[:MOST_SKIPPED_SHOWN]]
    return Text(printable("\n".join(lines)))
