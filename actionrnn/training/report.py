"""What an evaluation found: terminal table and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actionrnn.files import write_text
from actionrnn.training.metrics import confusion_matrix, mean_class_accuracy, top_k_accuracy

MOST_SKIPPED_SHOWN = 10


@dataclass(frozen=True)
class FoldResult:
    """One fold's test."""

    group: str
    """The fold's name: the held-out group, or `split 1`, `holdout`, ..."""
    num_clips: int
    top1: float
    baseline_mean_pool_top1: float | None = None
    baseline_mean_pool_motion_top1: float | None = None


@dataclass(frozen=True)
class SeedResult:
    """The same training with one seed."""

    seed: int
    top1: float
    baseline_mean_pool_top1: float | None = None
    baseline_mean_pool_motion_top1: float | None = None


@dataclass(frozen=True)
class Report:
    """An evaluation over the test clips of one or more folds."""

    labels: tuple[str, ...]
    num_clips: int
    top1: float
    top5: float
    mean_class_accuracy: float
    baseline_mean_pool_top1: float | None
    """Mean-pool + linear over the frames of the same clips, trained alike: it cannot see their
    order. None where it was not trained."""
    folds: tuple[FoldResult, ...]
    confusion: list[list[int]]
    """Rows: true class; columns: the answer; in the order of `labels`."""
    title: str = ""
    seen_in_training: int = 0
    """Test clips whose very video the model was trained on."""
    skipped: list[dict[str, str]] = field(default_factory=list)
    """Videos that could not be used: `path` and `reason`."""
    config: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """The wall time of each stage."""
    seeds: tuple[SeedResult, ...] = ()
    """The accuracy with each seed; all the other numbers are the first seed's."""
    baseline_mean_pool_motion_top1: float | None = None
    """The same with each frame's change beside it, where the head sees that (streams: both)."""
    trials: tuple[dict[str, Any], ...] = ()
    """What a search tried in each fold: settings, validation loss and top-1, whether chosen."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def write(self, path: str | Path) -> None:
        """Write the JSON file."""
        write_text(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")

    def __rich__(self) -> RenderableType:
        return Group(*[part for part in (self._table(), self._worst(), self._notes()) if part])

    def _table(self) -> Table:
        table = Table(title=Text(self.title) if self.title else None, title_justify="left")
        table.add_column("test on")
        for heading in ("clips", self._head_name(), *self._baselines(self)):
            table.add_column(heading, justify="right")
        for row in self.folds:
            table.add_row(Text(row.group), *self._cells(row))
        if len(self.folds) > 1:
            table.add_section()
            table.add_row("all", *self._cells(self), style="bold")
        return table

    def _cells(self, row: FoldResult | Report) -> list[str]:
        baselines = map(_percent, self._baselines(row).values())
        return [str(row.num_clips), _percent(row.top1), *baselines]

    def _baselines(self, row: FoldResult | SeedResult | Report) -> dict[str, float | None]:
        """The baselines that this report has, with the accuracy of one of its rows."""
        found = {"mean-pool": row.baseline_mean_pool_top1}
        if self.baseline_mean_pool_motion_top1 is not None:
            found["mean-pool + motion"] = row.baseline_mean_pool_motion_top1
        return found

    def _head_name(self) -> str:
        return f"{self.config.get('head', {}).get('kind', 'head')} top-1"

    def _spread(self) -> str:
        """Mean and standard deviation over the seeds, of head and baseline."""
        parts = []
        rows = [{self._head_name(): seed.top1, **self._baselines(seed)} for seed in self.seeds]
        for name in rows[0]:
            values = [row[name] for row in rows]
            known = [100 * value for value in values if value is not None]
            if known:
                parts.append(f"{name} {np.mean(known):.1f} ± {np.std(known, ddof=1):.1f} %")
        return ", ".join(parts)

    def _search(self) -> list[str]:
        lines = []
        for trial in self.trials:
            if trial["chosen"]:
                tried = sum(other["fold"] == trial["fold"] for other in self.trials)
                given = self.config.get("head", {})
                changed = [f"{k} {v}" for k, v in trial["head"].items() if given.get(k) != v]
                lines.append(
                    f"{trial['fold']}: best of {tried} settings on validation: "
                    f"{', '.join(changed) or 'the given ones'}"
                )
        return lines

    def _worst(self) -> Text | None:
        wrong = [
            (count, self.labels[true], self.labels[given])
            for true, row in enumerate(self.confusion)
            for given, count in enumerate(row)
            if count and true != given
        ]
        if not wrong:
            return None
        worst = sorted(wrong, key=lambda item: (-item[0], item[1:]))[:3]
        pairs = ", ".join(f"{true} taken for {given} ({count})" for count, true, given in worst)
        return Text(f"most confused: {pairs}")

    def _notes(self) -> Text:
        lines = [
            f"top-5 {_percent(self.top5)}, mean class accuracy {_percent(self.mean_class_accuracy)}"
        ]
        if len(self.seeds) > 1:
            lines.append(f"over {len(self.seeds)} seeds: {self._spread()}")
        lines += self._search()
        if self.seen_in_training:
            lines.append(
                f"NOTE: the model was trained on {self.seen_in_training} of these "
                f"{self.num_clips} clips; this is no test"
            )
        if self.skipped:
            lines.append(f"left out: {len(self.skipped)} videos that cannot be used:")
            lines += [f"  {skipped['reason']}" for skipped in self.skipped[:MOST_SKIPPED_SHOWN]]
        return Text("\n".join(lines))


@dataclass(frozen=True)
class Scored:
    """The test clips of one fold with their scores."""

    name: str
    scores: NDArray[np.float32]
    """(N, K)."""
    targets: NDArray[np.int64]
    """(N,)."""
    baseline_scores: NDArray[np.float32] | None = None
    """(N, K)."""
    motion_baseline_scores: NDArray[np.float32] | None = None
    """(N, K)."""


def make_report(labels: tuple[str, ...], folds: list[Scored], **rest: Any) -> Report:
    """Put the folds' clips together; `rest` are further fields of `Report`."""
    scores = np.concatenate([fold.scores for fold in folds])
    targets = np.concatenate([fold.targets for fold in folds])
    blind = _joined([fold.baseline_scores for fold in folds])
    motion = _joined([fold.motion_baseline_scores for fold in folds])
    confusion = confusion_matrix(scores, targets, len(labels))
    return Report(
        labels=labels,
        num_clips=len(targets),
        top1=top_k_accuracy(scores, targets),
        top5=top_k_accuracy(scores, targets, 5),
        mean_class_accuracy=mean_class_accuracy(confusion),
        baseline_mean_pool_top1=_top1(blind, targets),
        baseline_mean_pool_motion_top1=_top1(motion, targets),
        folds=tuple(_fold_result(fold) for fold in folds),
        confusion=confusion.tolist(),
        **rest,
    )


def seed_result(seed: int, folds: list[Scored]) -> SeedResult:
    """The accuracy over the clips of all folds."""
    report = make_report(tuple(map(str, range(folds[0].scores.shape[1]))), folds)
    return SeedResult(
        seed, report.top1, report.baseline_mean_pool_top1, report.baseline_mean_pool_motion_top1
    )


def _fold_result(fold: Scored) -> FoldResult:
    return FoldResult(
        group=fold.name,
        num_clips=len(fold.targets),
        top1=top_k_accuracy(fold.scores, fold.targets),
        baseline_mean_pool_top1=_top1(fold.baseline_scores, fold.targets),
        baseline_mean_pool_motion_top1=_top1(fold.motion_baseline_scores, fold.targets),
    )


def _joined(scores: list[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    known = [part for part in scores if part is not None]
    return np.concatenate(known) if known else None


def _top1(scores: NDArray[np.float32] | None, targets: NDArray[np.int64]) -> float | None:
    return None if scores is None else top_k_accuracy(scores, targets)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
