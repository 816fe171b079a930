"""The training loop: sequences in, a trained head out.

Everything random is drawn anew from (seed, epoch), so that a fit that is resumed after an epoch
ends in the same bits as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from actionrnn.config import ClassWeights, TrainConfig
from actionrnn.datasets.sequences import Sequences
from actionrnn.errors import ConfigError, FeatureError
from actionrnn.model.heads import Head, last_step
from actionrnn.training import parallel
from actionrnn.training.fit_state import FitState, FitTask, load_fit_state, save_fit_state


@dataclass(frozen=True)
class Epoch:
    """One row of the training curve."""

    epoch: int
    """From 1."""
    learning_rate: float
    train_loss: float
    validation_loss: float | None = None
    validation_top1: float | None = None


@dataclass(frozen=True)
class Fit:
    """A trained head, and how it came about."""

    head: Head
    curve: tuple[Epoch, ...]
    best_epoch: int
    """The epoch whose weights were taken: the best on validation, else the last."""


class DivergedError(ConfigError):
    """A fit whose loss or weights are not finite."""


def fit_head(
    task: FitTask,
    device: torch.device | str = "cpu",
    *,
    state_file: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Fit:
    """Train one head; the same task gives the same head, bit for bit on the same machine.

    Args:
        device: where it is trained, and where the head is left.
        state_file: written after each epoch; None: the fit cannot be resumed.
        resume: begin after the last epoch in `state_file`, if that file exists.
        on_epoch: called after each epoch; on resuming first with the epochs before.

    Raises:
        ModelError: the state is damaged, or of another fit, other clips, features or settings.
        DivergedError: a loss or a weight is not finite; that epoch's state is not written.
    """
    device = torch.device(device)
    identity = task.identity() if state_file is not None else {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        loop = _Loop(task, device)
        state = loop.state
        if resume and state_file is not None and state_file.exists():
            load_fit_state(state_file, identity, state)
        for saved in state.curve:
            on_epoch(Epoch(**saved))
        for epoch in range(len(state.curve) + 1, task.config.epochs + 1):
            if loop.is_out_of_patience():
                break
            row = loop.finish_epoch(epoch, loop.train_epoch(epoch))
            loop.require_finite(row)
            if state_file is not None and parallel.is_first():
                save_fit_state(state_file, identity, state)
            on_epoch(row)
    chosen = state.averaged_head
    if state.best_weights:
        chosen.load_state_dict(state.best_weights)
    best_epoch = state.best_epoch or len(state.curve)
    return Fit(chosen.eval(), tuple(Epoch(**row) for row in state.curve), best_epoch)


class _Loop:
    """A task while it is trained: its head, optimiser and average, epoch after epoch."""

    def __init__(self, task: FitTask, device: torch.device) -> None:
        self.task, self.device = task, device
        self.lengths = np.array([len(values) for values in task.sequences.values])
        torch.manual_seed(task.config.seed)  # the initial weights
        head = Head(task.head, task.sequences.feature_size, task.num_classes)
        head.set_normalisation(*_statistics(head, task.sequences))
        head = head.to(device)
        optimiser = torch.optim.AdamW(
            head.parameters(), lr=task.config.learning_rate, weight_decay=task.config.weight_decay
        )
        self.state = FitState(head, optimiser, averaged(head, task.config.ema_decay))
        self.class_weights = class_weights(
            task.sequences.targets, task.num_classes, task.config.class_weights
        ).to(device)  # (K,)

    def train_epoch(self, epoch: int) -> float:
        """One pass over the clips; returns the mean loss."""
        config, head, optimiser = self.task.config, self.state.head, self.state.optimiser
        # Order, crops and dropout depend on the seed and the epoch alone: no generator has to be
        # saved. All processes draw the same order and crops; dropout differs between them, since
        # each sees other clips.
        rng = np.random.default_rng([config.seed, epoch])
        torch.manual_seed(int(rng.integers(2**62)) + parallel.rank())
        head.train()
        batches = shuffled_batches(self.lengths, config.batch_size, rng)
        first_step = (epoch - 1) * len(batches)
        # The average counts its steps to warm up; a resumed fit must not begin again at 0.
        self.state.average.n_averaged.fill_(first_step)
        total = 0.0
        for step, indices in enumerate(batches, start=first_step):
            # The schedule runs over the steps of all epochs, so that it does not depend on where
            # the fit was interrupted, nor on whether it will stop early.
            rate = warmup_cosine(step, config.epochs * len(batches), config.warmup_fraction)
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * rate
            # Drawn for the whole batch before it is shared out, which keeps the processes'
            # generators in step.
            chosen = [
                (index, choose_steps(int(self.lengths[index]), config, rng)) for index in indices
            ]
            loss = self.loss(parallel.share(chosen), len(indices))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            # Each share's loss is divided by the size of the whole batch: gradients add up to
            # the batch's. Only then they are clipped, as a recurrence over hundreds of steps
            # now and then gives a gradient that would undo the training.
            parallel.add_gradients(head)
            torch.nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
            optimiser.step()
            self.state.average.update_parameters(head)
            total += parallel.add(loss.detach()).item()
        return total / len(batches)

    def loss(self, chosen: list[tuple[int, NDArray[np.intp]]], count: int) -> Tensor:
        """The part of some clips in the mean loss over a batch.

        Args:
            chosen: indices of the clips, and which of their steps.
            count: clips in the whole batch.
        """
        head, config = self.state.head, self.task.config
        if not chosen:  # more processes than clips: a gradient of zeros
            zero = torch.zeros((), device=self.device)
            return sum((p.sum() * 0 for p in head.parameters()), zero)
        values, lengths, targets = (
            tensor.to(self.device, non_blocking=True)
            for tensor in self.task.sequences.batch(*zip(*chosen, strict=True))
        )
        with autocast(self.device, config.precision):
            logits = last_step(head(values, lengths), lengths)  # (B, K)
        losses = F.cross_entropy(  # in float32: the sum of exponentials needs its digits
            logits.float(), targets, label_smoothing=config.label_smoothing, reduction="none"
        )
        return (self.class_weights[targets] * losses).sum() / count

    def finish_epoch(self, epoch: int, train_loss: float) -> Epoch:
        """Validate the averaged weights, keep them if they are the best, extend the curve."""
        state = self.state
        rate = float(state.optimiser.param_groups[0]["lr"])
        row = Epoch(epoch, rate, train_loss)
        if self.task.validation is not None:
            loss, top1 = validate(state.averaged_head, self.task.validation)
            row = Epoch(epoch, rate, train_loss, loss, top1)
            if loss < state.best_loss:
                state.best_loss, state.best_epoch = loss, epoch
                state.best_weights = copy.deepcopy(state.averaged_head.state_dict())
        state.curve.append(asdict(row))
        return row

    def require_finite(self, row: Epoch) -> None:
        """Refuse an epoch after which the weights are of no use.

        Raises:
            DivergedError: the loss, the validation loss or a weight is not finite.
        """
        config = self.task.config
        weights = self.state.averaged_head.parameters()
        finite = all(bool(weight.isfinite().all()) for weight in weights)
        losses = {"loss": row.train_loss, "validation loss": row.validation_loss}
        bad = [f"{name} is {loss}" for name, loss in losses.items() if not math.isfinite(loss or 0)]
        if bad or not finite:
            raise DivergedError(
                f"{self.task.name}: the {(bad or ['weights are not finite'])[0]} after epoch "
                f"{row.epoch}; lower train.learning_rate ({config.learning_rate:g}) or "
                f"train.clip_norm ({config.clip_norm:g}), and check that the features are finite"
            )

    def is_out_of_patience(self) -> bool:
        """Whether the validation loss has not fallen for `patience_epochs`."""
        patience, best_epoch = self.task.config.patience_epochs, self.state.best_epoch
        if patience is None or not best_epoch:
            return False
        return len(self.state.curve) - best_epoch >= patience


@torch.inference_mode()
def validate(head: Head, sequences: Sequences, batch_size: int = 256) -> tuple[float, float]:
    """Mean cross-entropy and top-1 of a head on some clips."""
    head.eval()
    total, right = 0.0, 0
    for start in range(0, len(sequences), batch_size):
        indices = range(start, min(start + batch_size, len(sequences)))
        values, lengths, targets = (t.to(head.mean.device) for t in sequences.batch(indices))
        logits = last_step(head(values, lengths), lengths)
        total += F.cross_entropy(logits, targets, reduction="sum").item()
        right += int((logits.argmax(dim=1) == targets).sum())
    return total / len(sequences), right / len(sequences)


def shuffled_batches(
    lengths: NDArray[np.intp], batch_size: int, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """All indices in random batches of nearly equal size, each of clips of similar length.

    Lengths are compared with up to 30 % of noise, so that batches differ between epochs and
    little of them is padding; clips of one length are shuffled freely.
    """
    order = np.argsort(lengths * rng.uniform(0.7, 1.3, len(lengths)))
    batches = np.array_split(order, math.ceil(len(lengths) / batch_size))
    return [batches[index] for index in rng.permutation(len(batches))]


def choose_steps(length: int, config: TrainConfig, rng: np.random.Generator) -> NDArray[np.intp]:
    """Augmentation in time: a random crop of a clip's steps, and a random subset of that.

    Returns:
        rising indices below `length`; all of them where both fractions are 1.
    """
    if config.crop_fraction == 1 and config.keep_fraction == 1:
        return np.arange(length)
    kept = max(1, round(length * rng.uniform(config.crop_fraction, 1)))
    start = int(rng.integers(0, length - kept + 1))
    count = max(1, round(kept * rng.uniform(config.keep_fraction, 1)))
    return start + np.sort(rng.choice(kept, count, replace=False))


def warmup_cosine(step: int, num_steps: int, warmup_fraction: float) -> float:
    """The factor of the learning rate: it rises linearly, then falls as a cosine."""
    warmup = max(1, round(warmup_fraction * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def averaged(head: Head, decay: float) -> AveragedModel:
    """A moving average of a head's weights, which follows each `update_parameters(head)`.

    The first update copies the weights, as those of the start are random; from then on
    average_t = d_t average_(t-1) + (1 - d_t) weights_t, with d_t = `average_decay(t, decay)`.
    """

    def update(averages: PARAM_LIST, weights: PARAM_LIST, num_averaged: Tensor | int) -> None:
        now = average_decay(int(num_averaged), decay)
        get_ema_multi_avg_fn(now)(averages, weights, num_averaged)  # type: ignore[no-untyped-call]

    return AveragedModel(head, multi_avg_fn=update).requires_grad_(False)


def average_decay(step: int, decay: float) -> float:
    """The part of the old average that stays at a step, from 0: it rises to `decay`.

    min(decay, (1 + t) / (10 + t)), the warm-up of TensorFlow's ExponentialMovingAverage.
    """
    return min(decay, (1 + step) / (10 + step))


def class_weights(targets: NDArray[np.int64], num_classes: int, kind: ClassWeights) -> Tensor:
    """How much a clip of each class counts in the training loss, (K,); 1 as a mean over clips.

    `balanced`: N / (C n_k), with n_k of N clips in class k and C classes that have any.
    """
    if kind == "none":
        return torch.ones(num_classes)
    counts = np.bincount(targets, minlength=num_classes)
    weights = len(targets) / ((counts > 0).sum() * np.maximum(counts, 1))
    return torch.from_numpy(weights).float()


@contextlib.contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """bfloat16 where it pays: on a GPU that has it, or where it is asked for."""
    wanted = precision == "bfloat16" or (
        precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    )
    with torch.autocast(device.type, torch.bfloat16, enabled=wanted):
        yield


def _statistics(head: Head, sequences: Sequences) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of what the head standardises, over all frames, (D,) each.

    Clip by clip, from deviations: a sum of squares loses the digits of a feature that is large
    and varies little (Chan, Golub and LeVeque, The American Statistician 37, 1983).
    """
    count, mean, deviations = 0, torch.zeros(()), torch.zeros(())
    for values in sequences.values:
        rescaled = head.rescale(torch.from_numpy(values)).double()
        of_clip, before = rescaled.mean(0), count
        count += len(rescaled)
        shift = of_clip - mean
        mean = mean + shift * (len(rescaled) / count)
        deviations = deviations + (rescaled - of_clip).square().sum(0)
        deviations = deviations + shift.square() * (before * len(rescaled) / count)
    if not bool(deviations.any()):
        raise FeatureError(
            f"{count} steps of {len(sequences)} clips have the same features, so there is nothing "
            "to learn from them; extract or import them again"
        )
    return mean.float(), (deviations / count).sqrt().float()
