"""Runs side by side, over the clips that both tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.bootstrap import Interval, bootstrap_mean, mcnemar
from actionrnn.evaluation.metrics import percent
from actionrnn.evaluation.report import ClipResult, Report, clip_unit, read_report
from actionrnn.evaluation.report_text import interval_text
from actionrnn.text import printable, readable


@dataclass(frozen=True)
class PairedTest:
    """One run against the first, clip by clip."""

    num_clips: int
    """Clips that both runs tested."""
    gain: float
    """Its top-1 less that of the first, mean over the seeds of each."""
    interval: Interval | None
    """95 % bootstrap interval of the gain, over groups."""
    only_first: int
    """Clips that only the first run got right (first seeds)."""
    only_this: int
    """Clips that only this run got right."""
    p_value: float
    """Exact McNemar test (first seeds)."""


@dataclass(frozen=True)
class Comparison:
    """Reports side by side, each compared with the first."""

    names: tuple[str, ...]
    reports: tuple[Report, ...]
    tests: tuple[PairedTest | None, ...]
    """None for the first run."""

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain JSON types: one entry a run."""
        return [
            {
                "run": name,
                "title": report.title,
                "head": report.head_name,
                "num_clips": report.num_clips,
                "top1": report.top1,
                "interval": report.intervals.get("top1"),
                "baseline_mean_pool_top1": report.baseline_mean_pool_top1,
                "warnings": report.warnings,
                "against_first": None if test is None else asdict(test),
            }
            for name, report, test in zip(self.names, self.reports, self.tests, strict=True)
        ]

    def __rich__(self) -> RenderableType:
        table = Table(title="runs, each against the first", title_justify="left")
        table.add_column("run")
        accuracy = self.reports[0].accuracy_name
        headings = ("head", self._clips, f"{accuracy} (95 %)", "mean-pool", "difference (95 %)")
        for heading in (*headings, "right alone", "p"):
            table.add_column(heading, justify="right")
        for name, report, test in zip(self.names, self.reports, self.tests, strict=True):
            table.add_row(
                Text(printable(name)),
                Text(report.head_name),
                str(report.num_clips),
                f"{percent(report.top1)} {interval_text(report, 'top1')}".rstrip(),
                percent(report.baseline_mean_pool_top1),
                *_test_cells(test),
            )
        return Group(table, Text(printable("\n".join(self._notes()))))

    @property
    def _clips(self) -> str:
        """What the runs were tested on, in the plural."""
        return f"{self.reports[0].clip_name}s"

    def _notes(self) -> list[str]:
        lines = [
            f"{name}: {warning}"
            for name, report in zip(self.names, self.reports, strict=True)
            for warning in report.warnings
        ]
        first, *roots = (report.config.get("data", {}).get("root") for report in self.reports)
        for name, root in zip(self.names[1:], roots, strict=True):
            if root != first:
                lines.append(
                    f"{name}: tested {self._clips} below {root}, {self.names[0]} below {first}: "
                    "they are paired by their names alone"
                )
        for name, report, test in zip(self.names, self.reports, self.tests, strict=True):
            if test and test.num_clips < max(report.num_clips, self.reports[0].num_clips):
                shared = f"{test.num_clips} {self._clips}"
                lines.append(f"{name}: compared over the {shared} that both tested")
        lines.append(
            f"p: exact McNemar test over {self._clips}, first seeds; below 0.05 the difference is "
            "hardly luck. Those of one group are alike: trust the interval, which draws groups, "
            "first."
        )
        if len(self.tests) > 2:
            lines.append("Several comparisons: divide 0.05 by their number (Bonferroni).")
        return lines


def compare_runs(runs: Sequence[str | Path]) -> Comparison:
    """Compare runs (folders, or their report.json) with the first of them.

    Raises:
        ActionrnnError: a report cannot be read, or two runs tested no clip in common.
    """
    names = tuple(map(str, runs))
    reports = tuple(read_report(run) for run in runs)
    for name, report in zip(names, reports, strict=True):
        if not report.clips:
            raise ActionrnnError(f"{name}: its report lists no clips; evaluate the model again")
    tests = [
        paired_test(reports[0], report, names[0], name)
        for name, report in zip(names[1:], reports[1:], strict=True)
    ]
    return Comparison(names, reports, (None, *tests))


def paired_test(first: Report, this: Report, first_name: str, name: str) -> PairedTest:
    """Compare two reports over the clips that both tested.

    Raises:
        ActionrnnError: no clip is in both.
    """
    before = {_identity(clip): clip for clip in first.clips}
    pairs = [(before[_identity(clip)], clip) for clip in this.clips if _identity(clip) in before]
    if not pairs:
        raise ActionrnnError(
            f"{name} ({this.clips[0].key}, ...) and {first_name} ({first.clips[0].key}, ...) "
            "tested no clip in common; compare runs on the same clips"
        )
    gains = np.array([np.mean(b.right_by_seed) - np.mean(a.right_by_seed) for a, b in pairs])
    right = np.array([(a.right_by_seed[0], b.right_by_seed[0]) for a, b in pairs])
    only_first, only_this = (int((right[:, i] & ~right[:, 1 - i]).sum()) for i in (0, 1))
    return PairedTest(
        num_clips=len(pairs),
        gain=float(gains.mean()),
        interval=bootstrap_mean(gains, [clip_unit(a, first.config) for a, _ in pairs], lowest=-1),
        only_first=only_first,
        only_this=only_this,
        p_value=mcnemar(only_first, only_this),
    )


def _identity(clip: ClipResult) -> tuple[str, str]:
    return clip.key, readable(clip.label)


def _test_cells(test: PairedTest | None) -> tuple[str, str, str]:
    if test is None:
        return "", "", ""
    bounds = test.interval
    between = "" if bounds is None else f" ({100 * bounds[0]:+.1f} to {100 * bounds[1]:+.1f})"
    alone = f"{test.only_this} : {test.only_first}"
    return f"{100 * test.gain:+.1f}{between}", alone, f"{test.p_value:.3g}"
