"""What an evaluation found: numbers for the terminal, JSON and the HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from rich.console import RenderableType

from actionrnn.datasets.clips import Clip
from actionrnn.errors import ActionrnnError
from actionrnn.files import write_text
from actionrnn.training.curves import Curve
from actionrnn.training.intervals import Interval, bootstrap_class_mean, bootstrap_mean
from actionrnn.training.metrics import (
    ClassResult,
    ReliabilityBin,
    class_results,
    confusion_matrix,
    expected_calibration_error,
    mean_class_accuracy,
    mean_influence,
    reliability,
    steps_of_half_influence,
    top_k_accuracy,
    top_k_hits,
)
from actionrnn.training.report_table import render_report
from actionrnn.training.scoring import Scored

REPORT_FILE = "report.json"


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
class ClipResult:
    """One test clip."""

    key: str
    """Its name within the data set."""
    path: str
    label: str
    group: str
    fold: str
    answer: str
    score: float
    """The answer's probability."""
    label_score: float
    """The true class's probability."""
    baseline_answer: str | None = None
    right_by_seed: tuple[bool, ...] = ()
    """Whether each seed's head was right; the first is the report's."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    seen: bool = False
    """The model was trained on this very video."""
    leaked: bool = False
    """The model was trained on other clips of its group."""


@dataclass(frozen=True)
class Horizon:
    """How far back the answer depends on the input; see `metrics.mean_influence`."""

    curve: tuple[float, ...]
    """By lag in steps: the influence relative to that of the newest input."""
    half_steps: float
    """The newest inputs that hold half of all influence, mean over clips."""
    mean_steps: float
    """The clips' length."""
    num_clips: int


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
    leaked_clips: int = 0
    """Further test clips of whose group the model was trained on other clips."""
    leaked_groups: tuple[str, ...] = ()
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
    baseline_shuffled_frames_top1: float | None = None
    """The same trained head on the clips' frames in random orders, mean over orders."""
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    """95 % bootstrap intervals, by the number's name; `gain_over_mean_pool` is a difference."""
    resampled: str = "clips"
    """What the bootstrap drew: `groups`, or `clips` where each clip is a group of its own."""
    num_units: int = 0
    """How many of those there are."""
    classes: tuple[ClassResult, ...] = ()
    observed: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """By model: top-1 after the first 10, 20, ... 100 % of each clip."""
    ece: float | None = None
    """Expected calibration error, in 15 bins."""
    reliability: tuple[ReliabilityBin, ...] = ()
    horizon: dict[str, Horizon] = field(default_factory=dict)
    """By model: the memory horizon."""
    curves: tuple[Curve, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    clips: tuple[ClipResult, ...] = ()
    """Every test clip; what `actionrnn compare` pairs."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def write(self, path: str | Path) -> None:
        """Write the JSON file: one line for each number, and for each row of a list."""
        rows = (f"  {json.dumps(key)}: {_rows(value)}" for key, value in self.to_dict().items())
        write_text(Path(path), "{\n" + ",\n".join(rows) + "\n}\n")

    def __rich__(self) -> RenderableType:
        return render_report(self)


def read_report(path: str | Path) -> Report:
    """Read a report back: its JSON file, or the folder of a run.

    Raises:
        ActionrnnError: there is none, or it is damaged or of another version.
    """
    path = Path(path)
    file = path / REPORT_FILE if path.is_dir() else path
    try:
        return TypeAdapter(Report).validate_json(file.read_bytes())
    except OSError as error:
        raise ActionrnnError(
            f"{file}: cannot be read ({error.strerror}); give a run's folder or its {REPORT_FILE}"
        ) from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ActionrnnError(
            f"{file}: is no report of this version ({where}: {problem['msg']}); "
            "evaluate the model again"
        ) from None


def make_report(
    labels: tuple[str, ...],
    folds: list[Scored],
    *,
    right_by_seed: NDArray[np.bool_] | None = None,
    **rest: Any,
) -> Report:
    """Put the folds' clips together.

    Args:
        labels: of the scores' columns.
        folds: with the first seed.
        right_by_seed: (N, S), where several seeds were trained.
        rest: further fields of `Report`.
    """
    scores = np.concatenate([fold.scores for fold in folds])
    targets = np.concatenate([fold.targets for fold in folds])
    baseline = _joined([fold.baseline_scores for fold in folds])
    motion = _joined([fold.motion_baseline_scores for fold in folds])
    confusion = confusion_matrix(scores, targets, len(labels))
    hits, hits5 = top_k_hits(scores, targets), top_k_hits(scores, targets, 5)
    baseline_hits = None if baseline is None else top_k_hits(baseline, targets)
    shuffled = _shuffled_hits(folds, targets)
    bins = reliability(scores.max(axis=1), hits)
    units = _units(folds, rest.get("config", {}))
    by_clip: dict[str, NDArray[Any]] = {"top1": hits, "top5": hits5}
    if baseline_hits is not None:
        by_clip["baseline_mean_pool_top1"] = baseline_hits
        by_clip["gain_over_mean_pool"] = hits.astype(float) - baseline_hits
    if motion is not None:
        by_clip["baseline_mean_pool_motion_top1"] = top_k_hits(motion, targets)
    if shuffled is not None:
        by_clip["baseline_shuffled_frames_top1"] = shuffled
    intervals = {name: bootstrap_mean(one.astype(float), units) for name, one in by_clip.items()}
    intervals["mean_class_accuracy"] = bootstrap_class_mean(hits, targets, units)
    leaked = [
        clip.group
        for fold in folds
        for clip, known in zip(fold.clips, fold.leaked, strict=True)
        if known
    ]
    return Report(
        labels=labels,
        num_clips=len(targets),
        top1=float(hits.mean()),
        top5=float(hits5.mean()),
        mean_class_accuracy=mean_class_accuracy(confusion),
        baseline_mean_pool_top1=_top1(baseline, targets),
        baseline_mean_pool_motion_top1=_top1(motion, targets),
        folds=tuple(_fold_result(fold) for fold in folds),
        confusion=confusion.tolist(),
        seen_in_training=sum(sum(fold.seen) for fold in folds),
        leaked_clips=len(leaked),
        leaked_groups=tuple(sorted(set(leaked))),
        baseline_shuffled_frames_top1=None if shuffled is None else float(shuffled.mean()),
        intervals=intervals,
        resampled="groups" if len(set(units)) < len(units) else "clips",
        num_units=len(set(units)),
        classes=class_results(confusion, labels),
        observed=_observed(folds, targets),
        ece=expected_calibration_error(bins),
        reliability=bins,
        horizon=_horizons(folds),
        clips=_clip_results(labels, folds, right_by_seed),
        **rest,
    )


def seed_result(seed: int, folds: list[Scored]) -> SeedResult:
    """The accuracy over the clips of all folds."""
    targets = np.concatenate([fold.targets for fold in folds])
    scores = np.concatenate([fold.scores for fold in folds])
    return SeedResult(
        seed,
        top_k_accuracy(scores, targets),
        _top1(_joined([fold.baseline_scores for fold in folds]), targets),
        _top1(_joined([fold.motion_baseline_scores for fold in folds]), targets),
    )


def _fold_result(fold: Scored) -> FoldResult:
    result = seed_result(0, [fold])
    return FoldResult(
        fold.name,
        len(fold.targets),
        result.top1,
        result.baseline_mean_pool_top1,
        result.baseline_mean_pool_motion_top1,
    )


def _joined(scores: list[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    known = [part for part in scores if part is not None]
    return np.concatenate(known) if known else None


def _top1(scores: NDArray[np.float32] | None, targets: NDArray[np.int64]) -> float | None:
    return None if scores is None else top_k_accuracy(scores, targets)


def clip_unit(clip: Clip | ClipResult, config: dict[str, Any]) -> tuple[str, ...]:
    """What is independent of the rest: a clip's group; UCF101 numbers its groups in each class."""
    if config.get("data", {}).get("layout") == "ucf101":
        return clip.label, clip.group
    return (clip.group,)


def _units(folds: list[Scored], config: dict[str, Any]) -> list[tuple[str, ...]]:
    """Each clip's unit; where the clips are not known, each row is one."""
    units = [clip_unit(clip, config) for fold in folds for clip in fold.clips]
    rows: list[tuple[str, ...]] = [
        (fold.name, str(row)) for fold in folds for row in range(len(fold.targets))
    ]
    return units or rows


def _shuffled_hits(folds: list[Scored], targets: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Each clip's mean over the random orders, (N,)."""
    answers = [fold.probed.shuffled for fold in folds if fold.probed]
    if not answers:
        return None
    hits: NDArray[np.float64] = (np.concatenate(answers, axis=1) == targets).mean(axis=0)
    return hits


def _observed(folds: list[Scored], targets: NDArray[np.int64]) -> dict[str, tuple[float, ...]]:
    probed = [fold.probed for fold in folds if fold.probed]
    found = {}
    for name in probed[0].observed if probed else ():
        answers = np.concatenate([one.observed[name] for one in probed])  # (N, 10)
        found[name] = tuple((answers == targets[:, None]).mean(axis=0).tolist())
    return found


def _horizons(folds: list[Scored]) -> dict[str, Horizon]:
    probed = [fold.probed for fold in folds if fold.probed]
    found = {}
    for name in probed[0].influence if probed else ():
        norms = [norm for one in probed for norm in one.influence[name]]
        curve = tuple(mean_influence(norms))
        mean_steps = float(np.mean([len(norm) for norm in norms]))
        found[name] = Horizon(curve, steps_of_half_influence(norms), mean_steps, len(norms))
    return found


def _clip_results(
    labels: Sequence[str], folds: list[Scored], right_by_seed: NDArray[np.bool_] | None
) -> tuple[ClipResult, ...]:
    results: list[ClipResult] = []
    for fold in folds:
        for row, (clip, scores) in enumerate(zip(fold.clips, fold.scores, strict=False)):
            answer = int(scores.argmax())
            right = [answer == fold.targets[row]]
            if right_by_seed is not None:
                right = right_by_seed[len(results)].tolist()
            baseline = fold.baseline_scores
            results.append(
                ClipResult(
                    key=clip.key,
                    path=str(clip.path),
                    label=clip.label,
                    group=clip.group,
                    fold=fold.name,
                    answer=labels[answer],
                    score=round(float(scores[answer]), 6),
                    label_score=round(float(scores[fold.targets[row]]), 6),
                    baseline_answer=None
                    if baseline is None
                    else labels[int(baseline[row].argmax())],
                    right_by_seed=tuple(map(bool, right)),
                    start_seconds=clip.start_seconds,
                    end_seconds=clip.end_seconds,
                    seen=fold.seen[row],
                    leaked=fold.leaked[row],
                )
            )
    return tuple(results)


def _rows(value: Any) -> str:
    """A list with one row a line."""
    if not isinstance(value, list | tuple) or not value:
        return json.dumps(value)
    return "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]"
