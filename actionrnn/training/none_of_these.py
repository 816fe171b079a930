"""What a model keeps to tell that none of its classes is seen; see `model.none_of_these`.

How far answers are from what was trained is measured on clips that were not trained on: each fold's
head has patterns of its own training clips, and the distances of its held-out clips from these are
those that the model's own head is expected to have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actionrnn.datasets.passages import whole_recordings
from actionrnn.datasets.recordings import IGNORE
from actionrnn.datasets.sequences import Sequences
from actionrnn.evaluation.predict import predict_steps
from actionrnn.model.heads import Head, read_out
from actionrnn.model.none_of_these import (
    Kind,
    NoneOfThese,
    Patterns,
    Values,
    keep_some,
    of_stretches,
)
from actionrnn.progress import progress_bar


@dataclass(frozen=True)
class HeldOut:
    """A head, what it was trained on, and clips of its classes that it was not trained on."""

    head: Head
    trained: Sequences
    clips: Sequences
    """Each for itself."""
    recordings: Sequences
    """The same with all steps of their recordings."""


def fit_none_of_these(head: Head, trained: Sequences, folds: Sequence[HeldOut]) -> NoneOfThese:
    """For a head and what it was trained on, from heads that were trained alike on other clips."""
    parts = [_distances(fold) for fold in folds]
    held_out: dict[Kind, Values] = {
        kind: keep_some(np.concatenate([part[kind] for part in parts])) for kind in parts[0]
    }
    return NoneOfThese(patterns_of(head, trained), held_out)


def patterns_of(head: Head, trained: Sequences) -> Patterns:
    """Of the steps that a head was trained on: one state for all clips of a group."""
    scores, targets = [], []
    passages = whole_recordings(trained).values()
    with progress_bar("learning what none of these is", len(passages)) as advance:
        for passage in passages:
            values = trained.batch([passage]).values[0].numpy()  # (T, D)
            scores.append(read_out(head, values).now)
            lengths = [len(piece.steps) for piece in passage]
            targets.append(np.repeat(trained.targets[[piece.index for piece in passage]], lengths))
            advance()
    all_targets = np.concatenate(targets)
    is_labelled = all_targets != IGNORE
    return Patterns.of(np.concatenate(scores)[is_labelled], all_targets[is_labelled])


def _distances(fold: HeldOut) -> dict[Kind, Values]:
    """Of a fold's held-out clips, stretches and steps, as far as there are such."""
    patterns = patterns_of(fold.head, fold.trained)
    answers = [read_out(fold.head, values).so_far[-1] for values in fold.clips.values]
    found: dict[Kind, Values] = {"clip": patterns.distances(np.stack(answers))}
    steps, stretches = [], []
    for recording in predict_steps(fold.recordings, {"head": fold.head}, window=1):
        is_labelled = recording.targets != IGNORE
        distances = patterns.distances(recording.scores["head"])
        steps.append(distances[is_labelled])
        stretches.append(of_stretches(distances, recording.pts_seconds)[is_labelled])
    if steps:
        found |= {"step": np.concatenate(steps), "stretch": np.concatenate(stretches)}
    return found
