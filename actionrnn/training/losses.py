"""How wrong a head's answers are: the loss of each piece, and how much each class counts in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from actionrnn.config import ClassWeights, TrainConfig
from actionrnn.datasets.sequences import Batch
from actionrnn.model.heads import Head, segment_reduce
from actionrnn.model.segments import ON
from actionrnn.training.fit_state import FitTask


def piece_losses(
    head: Head, logits: Tensor, batch: Batch, config: TrainConfig, table: TargetTable
) -> Tensor:
    """The loss of each piece, (P,): of the answer for all of it, and of those at its steps.

    Args:
        logits: of now, (B, T, K), in float32: the sum of exponentials needs its digits.
        table: what the batch's targets mean.
    """
    smoothing = config.label_smoothing
    counted = batch.pieces >= 0
    steps = logits[counted]  # (N, K), one piece after another
    lengths = torch.bincount(batch.pieces[counted], minlength=len(batch.piece_targets))  # (P,)
    losses = torch.zeros(len(lengths), device=logits.device)
    if config.now_weight < 1:
        of_pieces = table.losses(head.pooled(steps, lengths), batch.piece_targets, smoothing)
        losses = losses + (1 - config.now_weight) * of_pieces
    if config.now_weight > 0:
        at_steps = table.losses(steps, batch.targets[counted], smoothing)  # (N,)
        # a mean over the piece's steps: how much a piece counts is decided by the caller
        losses = losses + config.now_weight * segment_reduce(at_steps, "mean", lengths)
    return losses


@dataclass(frozen=True)
class TargetTable:
    """What the targets of clips mean for the loss."""

    weights: Tensor
    """(K,), how much a clip of each class counts; of a multi-label head (2, K), how much it counts
    where each class is off, and where it is on."""
    label_sets: Tensor | None = None
    """(C, K) in float32, of a multi-label head: the classes that are on, for each target."""

    @classmethod
    def of(cls, task: FitTask, *, weighted: bool = True) -> TargetTable:
        """For a task's clips.

        Args:
            weighted: False: every class counts alike, as in validation.
        """
        targets, kind = task.sequences.counted_targets, task.config.class_weights
        kind = kind if weighted else "none"
        if not task.head.multi_label:
            return cls(class_weights(targets, task.num_classes, kind))
        sets = task.sequences.sets(task.num_classes)
        weights = on_off_weights(sets, targets, kind)
        return cls(weights, torch.from_numpy(sets).float())

    def to(self, device: torch.device) -> TargetTable:
        """On another device."""
        sets = None if self.label_sets is None else self.label_sets.to(device)
        return TargetTable(self.weights.to(device), sets)

    def losses(self, logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """The loss of each of N answers, (N,): logits (N, K), targets (N,).

        Cross-entropy; of a multi-label head binary cross-entropy, the mean over its classes.
        """
        if self.label_sets is None:
            losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
            return losses * self.weights[targets]
        is_on = self.label_sets[targets]  # (N, K)
        weights = torch.where(is_on > 0, self.weights[1], self.weights[0])
        smooth = is_on * (1 - smoothing) + smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits, smooth, weights, reduction="none")
        return losses.mean(dim=1)

    def num_right(self, logits: Tensor, targets: Tensor) -> int:
        """How many of N answers are right: logits (N, K), targets (N,)."""
        if self.label_sets is None:
            return int((logits.argmax(dim=1) == targets).sum())
        is_on = logits.sigmoid() >= ON
        return int((is_on == (self.label_sets[targets] > 0)).all(dim=1).sum())


def class_weights(targets: NDArray[np.int64], num_classes: int, kind: ClassWeights) -> Tensor:
    """How much a clip of each class counts in the training loss, (K,); 1 as a mean over clips.

    `balanced`: N / (C n_k), with n_k of N clips in class k and C classes that have any.
    """
    if kind == "none":
        return torch.ones(num_classes)
    counts = np.bincount(targets, minlength=num_classes)
    weights = len(targets) / ((counts > 0).sum() * np.maximum(counts, 1))
    return torch.from_numpy(weights).float()


def on_off_weights(
    label_sets: NDArray[np.bool_], targets: NDArray[np.int64], kind: ClassWeights
) -> Tensor:
    """How much an answer counts where each class is off and where it is on, (2, K).

    `balanced`: N / (2 n), with n of N answers where the class is off, or on.

    Args:
        label_sets: (C, K).
        targets: (N,), rows of `label_sets`.
    """
    num_classes = label_sets.shape[1]
    if kind == "none":
        return torch.ones(2, num_classes)
    counts = np.bincount(targets, minlength=len(label_sets))
    is_on = counts @ label_sets  # (K,)
    numbers = np.stack([len(targets) - is_on, is_on])
    # a class that is always on, or always off, has but one side: its answers count once
    weights = np.where(numbers.min(axis=0) > 0, len(targets) / (2 * np.maximum(numbers, 1)), 1.0)
    return torch.from_numpy(weights).float()
