"""The predictions of all folds become one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.recordings import name_of
from actionrnn.evaluation.bootstrap import Interval, bootstrap_class_mean, bootstrap_mean
from actionrnn.evaluation.metrics import (
    answers_of,
    class_results,
    confusion_matrix,
    expected_calibration_error,
    label_results,
    mean_class_accuracy,
    mean_influence,
    reliability_of,
    steps_of_half_influence,
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
from actionrnn.model.segments import ON

Folds = Sequence[FoldPredictions]


def make_report(
    labels: tuple[str, ...],
    folds: Folds,
    *,
    by_seed: Mapping[int, Folds] | None = None,
    **rest: Any,
) -> Report:
    """Pool the folds' clips, N in all, and measure them.

    Args:
        labels: of the scores' K columns.
        folds: what the report is about; with several seeds, the first seed's predictions.
        by_seed: the predictions of every seed, for `Report.seeds` and `ClipResult.right_by_seed`;
            None: only `folds` is known.
        rest: further fields of `Report`.
    """
    scores = np.concatenate([fold.scores for fold in folds])  # (N, K)
    targets = np.concatenate([fold.targets for fold in folds])  # (N,)
    top1, mean_pool_top1, motion_top1 = _accuracies(folds)
    label_sets = folds[0].label_sets
    hits = answers_of(scores, label_sets) == targets
    baseline = _joined(folds, "baseline_scores")
    measured = [fold.diagnostics for fold in folds if fold.diagnostics]
    shuffled = None  # each clip's mean over the random orders, (N,)
    if measured:
        answers = np.concatenate([one.shuffled for one in measured], axis=1)  # (S, N)
        shuffled = (answers == targets).mean(axis=0)
    units = _units(folds, rest.get("config", {}))
    intervals = _intervals(
        {
            "top1": hits,
            "baseline_mean_pool_top1": None
            if baseline is None
            else answers_of(baseline, label_sets) == targets,
            "baseline_shuffled_frames_top1": shuffled,
        },
        units,
    )
    if label_sets is None:
        of_classes, further = _of_classes(labels, scores, targets, units)
        intervals |= further
    else:
        of_classes = _of_label_sets(labels, scores, label_sets[targets])
    bins = reliability_of(scores, targets, label_sets)
    results = tuple(
        FoldResult(fold.name, len(fold.targets), *_accuracies([fold])) for fold in folds
    )
    of_folds = [result.top1 for result in results]
    clips = _clip_results(labels, folds, list((by_seed or {0: folds}).values()))
    leaked = [
        clip.group
        for fold in folds
        for clip, known in zip(fold.clips, fold.leaked, strict=True)
        if known
    ]
    return Report(
        labels=labels,
        num_clips=len(targets),
        top1=top1,
        baseline_mean_pool_top1=mean_pool_top1,
        baseline_mean_pool_motion_top1=motion_top1,
        folds=results,
        fold_mean_top1=float(np.mean(of_folds)) if len(folds) > 1 else None,
        fold_std_top1=float(np.std(of_folds, ddof=1)) if len(folds) > 1 else None,
        seeds=tuple(SeedResult(seed, *_accuracies(one)) for seed, one in (by_seed or {}).items()),
        seen_in_training=sum(sum(fold.seen) for fold in folds),
        leaked_clips=len(leaked),
        leaked_groups=tuple(sorted(set(leaked))),
        baseline_shuffled_frames_top1=None if shuffled is None else float(shuffled.mean()),
        intervals=intervals,
        resampled="groups" if len(set(units)) < len(units) else "clips",
        num_units=len(set(units)),
        observed={
            name: _top1_by_part([one.observed[name] for one in measured], targets)
            for name in (measured[0].observed if measured else ())
        },
        observed_now={
            name: _top1_by_part([one.observed_now[name] for one in measured], targets)
            for name in (measured[0].observed_now if measured else ())
        },
        horizon={
            name: _horizon([norms for one in measured for norms in one.influence[name]])
            for name in (measured[0].influence if measured else ())
        },
        ece=expected_calibration_error(bins),
        reliability=bins,
        clips=clips,
        **of_classes,
        **rest,
    )


def _of_classes(
    labels: tuple[str, ...],
    scores: NDArray[np.float32],
    targets: NDArray[np.int64],
    units: list[tuple[str, ...]],
) -> tuple[dict[str, Any], dict[str, Interval | None]]:
    """The fields of `Report` that suppose one class a clip, and the intervals of two of them."""
    confusion = confusion_matrix(scores, targets, len(labels))
    hits, hits5 = top_k_hits(scores, targets), top_k_hits(scores, targets, 5)
    intervals = _intervals({"top5": hits5}, units)
    intervals["mean_class_accuracy"] = bootstrap_class_mean(hits, targets, units)
    fields = {
        "top5": float(hits5.mean()),
        "mean_class_accuracy": mean_class_accuracy(confusion),
        "confusion": confusion.tolist(),
        "classes": class_results(confusion, labels),
    }
    return fields, intervals


def _of_label_sets(
    labels: tuple[str, ...], scores: NDArray[np.float32], is_on: NDArray[np.bool_]
) -> dict[str, Any]:
    """These fields where clips have several classes or none: what supposes one is left out."""
    return {
        "multi_label": True,
        "top5": None,
        "mean_class_accuracy": None,
        "confusion": [],
        "classes": label_results(scores, is_on, labels),
    }


def _accuracies(folds: Folds) -> tuple[float, float | None, float | None]:
    """The part of right answers of the head and of its two baselines, over the clips of folds."""
    targets, label_sets = np.concatenate([fold.targets for fold in folds]), folds[0].label_sets

    def accuracy(scores: NDArray[np.float32]) -> float:
        return float((answers_of(scores, label_sets) == targets).mean())

    mean_pool, motion = (
        None if joined is None else accuracy(joined)
        for joined in (
            _joined(folds, "baseline_scores"),
            _joined(folds, "motion_baseline_scores"),
        )
    )
    return accuracy(np.concatenate([fold.scores for fold in folds])), mean_pool, motion


def _joined(folds: Folds, name: str) -> NDArray[np.float32] | None:
    """A baseline's scores over all folds, (N, K); None where it was not trained."""
    known = [scores for fold in folds if (scores := getattr(fold, name)) is not None]
    return np.concatenate(known) if known else None


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


def _units(folds: Folds, config: dict[str, Any]) -> list[tuple[str, ...]]:
    """Each clip's unit; where the clips are not known, each row is one."""
    units = [clip_unit(clip, config) for fold in folds for clip in fold.clips]
    return units or [(fold.name, str(row)) for fold in folds for row in range(len(fold.targets))]


def _top1_by_part(
    answers: Sequence[NDArray[np.int64]], targets: NDArray[np.int64]
) -> tuple[float, ...]:
    """Top-1 after the first 10, 20, ... 100 % of each clip, from each fold's (n, 10) answers."""
    right = np.concatenate(answers) == targets[:, None]
    return tuple(right.mean(axis=0).tolist())


def _horizon(norms: Sequence[NDArray[np.float64]]) -> Horizon:
    mean_steps = float(np.mean([len(norm) for norm in norms]))
    curve = tuple(mean_influence(norms))
    return Horizon(curve, steps_of_half_influence(norms), mean_steps, len(norms))


def _clip_results(
    labels: Sequence[str], folds: Folds, seeds: Sequence[Folds]
) -> tuple[ClipResult, ...]:
    results = []
    for number, fold in enumerate(folds):
        right = np.stack([one[number].right for one in seeds], axis=1)  # (n, S)
        # a fold whose clips are not known has scores alone, and lists none
        for row, (clip, scores) in enumerate(zip(fold.clips, fold.scores, strict=False)):
            baseline = fold.baseline_scores
            answer, score, label_score = _answer(labels, fold, row, scores)
            results.append(
                ClipResult(
                    key=clip.key,
                    path=str(clip.path),
                    label=clip.label,
                    group=clip.group,
                    fold=fold.name,
                    answer=answer,
                    score=round(score, 6),
                    label_score=round(label_score, 6),
                    baseline_answer=None
                    if baseline is None
                    else _answer(labels, fold, row, baseline[row])[0],
                    right_by_seed=tuple(right[row].tolist()),
                    start_seconds=clip.start_seconds,
                    end_seconds=clip.end_seconds,
                    seen=fold.seen[row],
                    leaked=fold.leaked[row],
                )
            )
    return tuple(results)


def _answer(
    labels: Sequence[str], fold: FoldPredictions, row: int, scores: NDArray[np.float32]
) -> tuple[str, float, float]:
    """The answer of one clip's scores (K,), its probability, and that of the truth.

    That of several classes is the product of their scores, as if each came for itself.
    """
    target = fold.targets[row]
    if fold.label_sets is None:
        best = int(scores.argmax())
        return labels[best], float(scores[best]), float(scores[target])
    is_on = scores >= ON
    score, label_score = (
        float(np.where(on, scores, 1 - scores).prod()) for on in (is_on, fold.label_sets[target])
    )
    return name_of(labels[which] for which in np.flatnonzero(is_on).tolist()), score, label_score
