"""A trained head and its baselines answer the test clips of one fold, and their single steps."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn import __version__
from actionrnn.datasets.passages import whole_recordings
from actionrnn.datasets.recordings import Clip
from actionrnn.datasets.sequences import Sequences
from actionrnn.evaluation.diagnostics import Diagnostics, diagnose
from actionrnn.evaluation.metrics import answers_of, steps_observed
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.window_baselines import restarted_per_window, sliding_mean_pool
from actionrnn.features.backbone import Backbone
from actionrnn.features.provenance import TRAINED_ON, Provenance
from actionrnn.model.heads import Head, read_out
from actionrnn.model.privacy import hashed_group
from actionrnn.model.scoring import Readouts
from actionrnn.progress import progress_bar

MEAN_POOL: Final = "mean-pool"
MEAN_POOL_MOTION: Final = "mean-pool + motion"


@dataclass(frozen=True)
class TrainedOn:
    """The features and clips that a head has learned from."""

    provenance: Provenance
    """Of the features: others are not scored."""
    videos: Collection[str] = ()
    """Fingerprints of the videos: a test on them says little."""
    groups: Collection[str] = ()
    """Their groups, by name or hashed."""


@dataclass(frozen=True)
class FoldPredictions:
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
    clips: tuple[Clip, ...] = ()
    seen: tuple[bool, ...] = ()
    """Whether the model was trained on the clip's very video."""
    leaked: tuple[bool, ...] = ()
    """Whether it was trained on other clips of the clip's group."""
    diagnostics: Diagnostics | None = None
    label_sets: NDArray[np.bool_] | None = None
    """(C, K), of multi-label heads: the classes that each target stands for."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each clip's answer is its class, or exactly its classes, (N,)."""
        hits: NDArray[np.bool_] = answers_of(self.scores, self.label_sets) == self.targets
        return hits


def predict_fold(
    name: str,
    test: Sequences,
    heads: Mapping[str, Head],
    trained_on: TrainedOn,
    *,
    diagnostics: bool = True,
) -> FoldPredictions:
    """Score the clips with each head.

    Args:
        name: the fold's.
        test: the test clips; `targets` are indices of the heads' classes.
        heads: by their names in the report: first the head that is tested, then its baselines
            `MEAN_POOL` and `MEAN_POOL_MOTION`, as far as they were trained.
        trained_on: by the heads; marks the test clips that they have seen, or others of whose
            group.
        diagnostics: also shuffle the frames and compute the gradients (`diagnose`), which takes
            several times as long as the scores alone.

    Raises:
        FeatureError: the features of the test clips are not of the kind that the heads were
            trained on.
    """
    test.provenance.require_same(trained_on.provenance, name, TRAINED_ON)
    videos, groups = set(trained_on.videos) - {""}, set(map(hashed_group, trained_on.groups))
    head_name, head = next(iter(heads.items()))
    label_sets = _label_sets(head, test)
    so_far, now = (
        {kind: np.empty((len(test), len(steps_observed(1))), np.int64) for kind in heads}
        for _ in range(2)
    )
    scores = {
        kind: np.empty((len(test), one.num_classes), np.float32) for kind, one in heads.items()
    }
    with progress_bar(f"testing {name}", len(test)) as advance:
        for index, values in enumerate(test.values):
            for kind, one in heads.items():
                # a baseline may see only the first features; the tested head sees all
                known = values if one is head else values[:, : one.feature_size]
                answers = _observed(one, known)
                scores[kind][index] = answers.so_far[-1]
                so_far[kind][index] = answers_of(answers.so_far, label_sets)
                now[kind][index] = answers_of(answers.now, label_sets)
            advance()
    seen = tuple(fingerprint in videos for fingerprint in test.fingerprints)
    return FoldPredictions(
        name=name,
        scores=scores[head_name],
        targets=test.targets,
        baseline_scores=scores.get(MEAN_POOL),
        motion_baseline_scores=scores.get(MEAN_POOL_MOTION),
        clips=test.clips,
        seen=seen,
        leaked=tuple(
            hashed_group(clip.group) in groups and not known
            for clip, known in zip(test.clips, seen, strict=True)
        ),
        diagnostics=diagnose(heads, test.values, so_far, now, label_sets) if diagnostics else None,
        label_sets=label_sets,
    )


def _label_sets(head: Head, test: Sequences) -> NDArray[np.bool_] | None:
    """What the targets stand for, (C, K), where the heads may answer several classes."""
    return test.sets(head.num_classes) if head.config.multi_label else None


def _observed(head: Head, values: NDArray[np.float32]) -> Readouts:
    """The answers after the first 10, 20, ... 100 % of a clip (T, D), of nothing behind them."""
    steps = steps_observed(len(values))
    if head.delay_steps == 0:
        whole = read_out(head, values)
        return Readouts(whole.now[steps], whole.so_far[steps])
    # what is answered for a step of the whole clip has seen later ones
    parts = [read_out(head, values[: step + 1]) for step in steps]
    return Readouts.joined([Readouts(part.now[-1:], part.so_far[-1:]) for part in parts])


def predict_steps(test: Sequences, heads: Mapping[str, Head], window: int) -> list[StepPredictions]:
    """The answers of now at every step of whole recordings, each with one kept state.

    Args:
        test: recordings; or trimmed clips, of which those of one group are joined, in a random
            order, to one recording.
        heads: as of `predict_fold`.
        window: in steps: beside the kept state, the tested head starts anew in each window, and
            the baselines are averaged over it.

    Returns:
        none for clips that were not sampled at a rate: joined, their steps would not be of equal
        length.
    """
    if not test.continuous and test.provenance.sampling.rate_fps is None:
        return []
    passages = whole_recordings(test)
    found = []
    with progress_bar("testing steps", len(passages)) as advance:
        for name, passage in passages.items():
            values = test.batch([passage]).values[0].numpy()  # (T, D)
            lengths = [len(piece.steps) for piece in passage]
            indices = [piece.index for piece in passage]
            found.append(
                StepPredictions(
                    name=name,
                    group=test.clips[indices[0]].group if test.continuous else name,
                    pts_seconds=_times(test, indices, len(values)),
                    targets=np.repeat(test.targets[indices], lengths),
                    scores=_step_scores(heads, values, window),
                    label_sets=_label_sets(next(iter(heads.values())), test),
                    delay_steps={name: head.delay_steps for name, head in heads.items()},
                )
            )
            advance()
    return found


def _times(test: Sequences, indices: Sequence[int], num_steps: int) -> NDArray[np.float64]:
    """Of the steps of a recording's parts, or of joined clips, in seconds, (T,)."""
    if test.continuous:
        return np.concatenate([test.pts_seconds[index] for index in indices])
    rate_fps = test.provenance.sampling.rate_fps
    assert rate_fps is not None
    return np.arange(num_steps) / rate_fps


def _step_scores(
    heads: Mapping[str, Head], values: NDArray[np.float32], window: int
) -> dict[str, NDArray[np.float32]]:
    (name, head), *baselines = heads.items()
    scores = {
        name: read_out(head, values).now,
        f"{name}, window {window}": restarted_per_window(head, values, window),
    }
    for name, one in baselines:
        known = values[:, : one.feature_size]
        scores[f"{name}, window {window}"] = sliding_mean_pool(one, known, window)
    return scores


def versions(backbone: Backbone) -> dict[str, str]:
    """The software, device and weights that computed the numbers."""
    return {
        "actionrnn": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": backbone.device,
        "backbone's weights": f"sha256 {backbone.weights_sha256}",
    }
