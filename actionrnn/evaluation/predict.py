"""A trained head and its baseline answer the test clips of one fold."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn import __version__
from actionrnn.datasets.clips import Clip
from actionrnn.datasets.sequences import Sequences
from actionrnn.evaluation.diagnostics import fresh_heads, influence, shuffled_answers, spread_evenly
from actionrnn.evaluation.metrics import steps_observed, top_k_hits
from actionrnn.features.backbone import Backbone
from actionrnn.model.heads import Head
from actionrnn.model.privacy import hashed_group
from actionrnn.model.recognizer import step_scores
from actionrnn.progress import progress_bar

MEAN_POOL: Final = "mean-pool"
MEAN_POOL_MOTION: Final = "mean-pool + motion"


@dataclass(frozen=True)
class Probed:
    """What goes beyond the scores: see `evaluation/diagnostics.py`."""

    observed: dict[str, NDArray[np.int64]]
    """Per model the answers after 10, 20, ... 100 % of each clip, (N, 10)."""
    shuffled: NDArray[np.int64]
    """The head's answers to each clip with its frames in random orders, (S, N)."""
    influence: dict[str, list[NDArray[np.float64]]]
    """Per model and probed clip (T,), the gradient's norm by lag."""


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
    clips: tuple[Clip, ...] = ()
    seen: tuple[bool, ...] = ()
    """Whether the model was trained on the clip's very video."""
    leaked: tuple[bool, ...] = ()
    """Whether it was trained on other clips of the clip's group."""
    probed: Probed | None = None

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each clip's answer is its class, (N,)."""
        return top_k_hits(self.scores, self.targets)


def score_fold(
    name: str,
    test: Sequences,
    targets: NDArray[np.int64],
    head: Head,
    baselines: Mapping[str, Head] | None = None,
    *,
    head_name: str | None = None,
    probe: bool = True,
    known_videos: Iterable[str] = (),
    known_groups: Iterable[str] = (),
) -> Scored:
    """Let the heads answer, and look into them.

    Args:
        test: the test clips.
        targets: their class indices among the head's classes, (N,).
        baselines: `MEAN_POOL` and `MEAN_POOL_MOTION`, as far as they were trained.
        head_name: the head's in the report; None: its kind.
        probe: take frames away, shuffle them, and follow the gradient back, too.
        known_videos: the fingerprints of the videos that the model was trained on.
        known_groups: the groups that it was trained on, by their names or hashed.
    """
    videos, groups = set(known_videos) - {""}, set(map(hashed_group, known_groups))
    head_name = head_name or head.config.kind
    models = {head_name: head, **(baselines or {})}
    answers = {kind: np.empty((len(test), len(steps_observed(1))), np.int64) for kind in models}
    scores = {
        kind: np.empty((len(test), one.num_classes), np.float32) for kind, one in models.items()
    }
    with progress_bar(f"testing {name}", len(test)) as advance:
        for index, values in enumerate(test.values):
            for kind, model in models.items():
                # a baseline may see the first features alone; the head never does
                known = values if model is head else values[:, : model.feature_size]
                steps = step_scores(model, known)  # (T, K)
                scores[kind][index] = steps[-1]
                answers[kind][index] = steps[steps_observed(len(values))].argmax(axis=1)
            advance()
    seen = tuple(fingerprint in videos for fingerprint in test.fingerprints)
    return Scored(
        name=name,
        scores=scores[head_name],
        targets=targets,
        baseline_scores=scores.get(MEAN_POOL),
        motion_baseline_scores=scores.get(MEAN_POOL_MOTION),
        clips=test.clips,
        seen=seen,
        leaked=tuple(
            hashed_group(clip.group) in groups and not known
            for clip, known in zip(test.clips, seen, strict=True)
        ),
        probed=_probe(test, models, answers) if probe else None,
    )


def _probe(
    test: Sequences, models: dict[str, Head], observed: dict[str, NDArray[np.int64]]
) -> Probed:
    head = next(iter(models.values()))
    some = spread_evenly(test.values)
    fresh = {f"untrained {kind}": one for kind, one in fresh_heads(head, some).items()}
    return Probed(
        observed=observed,
        shuffled=shuffled_answers(head, test.values),
        influence={
            name: influence(one, [values[:, : one.feature_size] for values in some])
            for name, one in (models | fresh).items()
        },
    )


def versions(backbone: Backbone) -> dict[str, str]:
    """What computed the numbers."""
    return {
        "actionrnn": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": str(backbone.device),
        "backbone's weights": f"sha256 {backbone.weights_sha256}",
    }
