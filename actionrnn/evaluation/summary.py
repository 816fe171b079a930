"""The predictions of all folds become one report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.evaluation.bootstrap import Interval, bootstrap_class_mean, bootstrap_mean
from actionrnn.evaluation.metrics import (
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
from actionrnn.evaluation.predict import FoldPredictions
from actionrnn.evaluation.report import (
    ClipResult,
    FoldResult,
    Horizon,
    Report,
    SeedResult,
    clip_unit,
)


def make_report(
    labels: tuple[str, ...],
    folds: list[FoldPredictions],
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
    per_clip: dict[str, NDArray[Any] | None]
    per_clip = {"top1": hits, "top5": hits5, "baseline_mean_pool_top1": baseline_hits}
    per_clip["baseline_shuffled_frames_top1"] = shuffled
    intervals = _intervals(per_clip, units)
    intervals["mean_class_accuracy"] = bootstrap_class_mean(hits, targets, units)
    results = tuple(_fold_result(fold) for fold in folds)
    by_fold = [result.top1 for result in results]
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
        folds=results,
        fold_mean_top1=float(np.mean(by_fold)) if len(folds) > 1 else None,
        fold_std_top1=float(np.std(by_fold, ddof=1)) if len(folds) > 1 else None,
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


def _intervals(
    per_clip: dict[str, NDArray[Any] | None], units: list[tuple[str, ...]]
) -> dict[str, Interval | None]:
    """Of each number's values, (N,), and of the paired gain over the baseline."""
    known = {name: one.astype(float) for name, one in per_clip.items() if one is not None}
    found = {name: bootstrap_mean(values, units) for name, values in known.items()}
    if "baseline_mean_pool_top1" in known:
        gain = known["top1"] - known["baseline_mean_pool_top1"]
        found["gain_over_mean_pool"] = bootstrap_mean(gain, units, lowest=-1)
    return found


def seed_result(seed: int, folds: list[FoldPredictions]) -> SeedResult:
    """The accuracy over the clips of all folds."""
    targets = np.concatenate([fold.targets for fold in folds])
    scores = np.concatenate([fold.scores for fold in folds])
    return SeedResult(
        seed,
        top_k_accuracy(scores, targets),
        _top1(_joined([fold.baseline_scores for fold in folds]), targets),
        _top1(_joined([fold.motion_baseline_scores for fold in folds]), targets),
    )


def _fold_result(fold: FoldPredictions) -> FoldResult:
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


def _units(folds: list[FoldPredictions], config: dict[str, Any]) -> list[tuple[str, ...]]:
    """Each clip's unit; where the clips are not known, each row is one."""
    units = [clip_unit(clip, config) for fold in folds for clip in fold.clips]
    rows: list[tuple[str, ...]] = [
        (fold.name, str(row)) for fold in folds for row in range(len(fold.targets))
    ]
    return units or rows


def _shuffled_hits(
    folds: list[FoldPredictions], targets: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Each clip's mean over the random orders, (N,)."""
    answers = [fold.diagnostics.shuffled for fold in folds if fold.diagnostics]
    if not answers:
        return None
    hits: NDArray[np.float64] = (np.concatenate(answers, axis=1) == targets).mean(axis=0)
    return hits


def _observed(
    folds: list[FoldPredictions], targets: NDArray[np.int64]
) -> dict[str, tuple[float, ...]]:
    measured = [fold.diagnostics for fold in folds if fold.diagnostics]
    found = {}
    for name in measured[0].observed if measured else ():
        answers = np.concatenate([one.observed[name] for one in measured])  # (N, 10)
        found[name] = tuple((answers == targets[:, None]).mean(axis=0).tolist())
    return found


def _horizons(folds: list[FoldPredictions]) -> dict[str, Horizon]:
    measured = [fold.diagnostics for fold in folds if fold.diagnostics]
    found = {}
    for name in measured[0].influence if measured else ():
        norms = [norm for one in measured for norm in one.influence[name]]
        curve = tuple(mean_influence(norms))
        mean_steps = float(np.mean([len(norm) for norm in norms]))
        found[name] = Horizon(curve, steps_of_half_influence(norms), mean_steps, len(norms))
    return found


def _clip_results(
    labels: Sequence[str], folds: list[FoldPredictions], right_by_seed: NDArray[np.bool_] | None
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
