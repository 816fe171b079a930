"""The training loop: sequences in, a trained head out.

Everything random is drawn anew from (seed, epoch), so that a fit which goes on from a saved
epoch ends in the very bits of one that was never interrupted.
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

from actionrnn.config import ClassWeights, HeadConfig, TrainConfig
from actionrnn.datasets.sequences import Sequences
from actionrnn.errors import ConfigError, FeatureError
from actionrnn.model.heads import Head, last_step
from actionrnn.training import parallel
from actionrnn.training.fit_state import (
    FitState,
    Identity,
    fit_identity,
    load_fit_state,
    save_fit_state,
)


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
    sequences: Sequences,
    num_classes: int,
    head_config: HeadConfig,
    config: TrainConfig,
    *,
    name: str = "fit",
    validation: Sequences | None = None,
    device: torch.device | str = "cpu",
    state_file: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Fit:
    """Train one head; the same seed gives the same head.

    Args:
        sequences: the training clips.
        name: of the fit, in its state and in errors; of a training's fits each has its own.
        validation: clips of other groups of the training side; the epoch with the lowest
            loss on them is taken. None: the last epoch.
        state_file: written after each epoch.
        resume: go on from `state_file`, if it is there; else it is written anew.
        on_epoch: called after each epoch.

    Raises:
        ModelError: the state is damaged, or of another fit, other clips, features or settings.
        DivergedError: a loss or a weight is not finite; no state is written of that epoch.
    """
    device = torch.device(device)
    identity: Identity = {}
    if state_file is not None:
        identity = fit_identity(name, sequences, validation, num_classes, head_config, config)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        head = Head(head_config, sequences.values[0].shape[1], num_classes)
        head.set_normalisation(*_statistics(head, sequences))
        head = head.to(device)
        optimiser = torch.optim.AdamW(
            head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        weights = class_weights(sequences.targets, num_classes, config.class_weights).to(device)
        state = FitState(average=copy.deepcopy(head).requires_grad_(False))
        if resume and state_file is not None and state_file.exists():
            load_fit_state(state_file, identity, head, optimiser, state)
        for saved in state.curve:
            on_epoch(Epoch(**saved))
        for epoch in range(len(state.curve) + 1, config.epochs + 1):
            if _out_of_patience(state, config):
                break
            train_loss = _train_epoch(epoch, head, optimiser, state, sequences, weights, config)
            row = _end_of_epoch(epoch, optimiser, state, train_loss, validation)
            _require_finite(name, row, state.average, config)
            if state_file is not None and parallel.is_first():
                save_fit_state(state_file, identity, head, optimiser, state)
            on_epoch(row)
    chosen = state.average
    if state.best_weights:
        chosen.load_state_dict(state.best_weights)
    best_epoch = state.best_epoch or len(state.curve)
    return Fit(chosen.eval(), tuple(Epoch(**row) for row in state.curve), best_epoch)


def _train_epoch(
    epoch: int,
    head: Head,
    optimiser: torch.optim.Optimizer,
    state: FitState,
    sequences: Sequences,
    weights: Tensor,
    config: TrainConfig,
) -> float:
    """One pass over the clips; returns the mean loss."""
    rng = np.random.default_rng([config.seed, epoch])
    torch.manual_seed(int(rng.integers(2**62)) + parallel.rank())
    head.train()
    lengths = np.array([len(values) for values in sequences.values])
    batches = shuffled_batches(lengths, config.batch_size, rng)
    num_steps = config.epochs * len(batches)
    total = 0.0
    for number, indices in enumerate(batches):
        step = (epoch - 1) * len(batches) + number
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * warmup_cosine(
                step, num_steps, config.warmup_fraction
            )
        steps = [choose_steps(len(sequences.values[index]), config, rng) for index in indices]
        loss = _loss(
            head,
            sequences,
            parallel.share(list(zip(indices, steps, strict=True))),
            len(indices),
            weights,
            config,
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        parallel.add_gradients(head)
        torch.nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
        optimiser.step()
        _average(state.average, head, average_decay(step, config.ema_decay))
        total += parallel.add(loss.detach()).item()
    return total / len(batches)


def _loss(
    head: Head,
    sequences: Sequences,
    chosen: list[tuple[int, NDArray[np.intp]]],
    count: int,
    weights: Tensor,
    config: TrainConfig,
) -> Tensor:
    """The part of these clips in the mean loss over a batch of `count` clips; weights (K,)."""
    device = head.mean.device
    if not chosen:  # more processes than clips
        return sum((p.sum() * 0 for p in head.parameters()), torch.zeros((), device=device))
    values, lengths, targets = (
        tensor.to(device, non_blocking=True)
        for tensor in sequences.batch(*zip(*chosen, strict=True))
    )
    with autocast(device, config.precision):
        logits = last_step(head(values, lengths), lengths)  # (B, K)
    losses = F.cross_entropy(
        logits.float(), targets, label_smoothing=config.label_smoothing, reduction="none"
    )
    return (weights[targets] * losses).sum() / count


def _end_of_epoch(
    epoch: int,
    optimiser: torch.optim.Optimizer,
    state: FitState,
    train_loss: float,
    validation: Sequences | None,
) -> Epoch:
    rate = float(optimiser.param_groups[0]["lr"])
    row = Epoch(epoch, rate, train_loss)
    if validation is not None:
        loss, top1 = validate(state.average, validation)
        row = Epoch(epoch, rate, train_loss, loss, top1)
        if loss < state.best_loss:
            state.best_loss, state.best_epoch = loss, epoch
            state.best_weights = copy.deepcopy(state.average.state_dict())
    state.curve.append(asdict(row))
    return row


def _require_finite(name: str, row: Epoch, average: Head, config: TrainConfig) -> None:
    finite = all(bool(weight.isfinite().all()) for weight in average.parameters())
    losses = {"loss": row.train_loss, "validation loss": row.validation_loss}
    bad = [f"{which} is {loss}" for which, loss in losses.items() if not math.isfinite(loss or 0)]
    if bad or not finite:
        raise DivergedError(
            f"{name}: the {(bad or ['weights are not finite'])[0]} after epoch {row.epoch}; lower "
            f"train.learning_rate ({config.learning_rate:g}) or train.clip_norm "
            f"({config.clip_norm:g}), and check that the features are finite"
        )


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


def average_decay(step: int, decay: float) -> float:
    """The part of the old average that stays at a step, from 0: it rises to `decay`.

    At the first step nothing stays, as that would be the random weights of the start; then
    min(decay, (1 + t) / (10 + t)), the warm-up of TensorFlow's ExponentialMovingAverage.
    """
    return min(decay, (1 + step) / (10 + step)) if step else 0.0


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


@torch.no_grad()
def _average(average: Head, head: Head, decay: float) -> None:
    """One step of the moving average of the weights; decay 0 copies them."""
    for mean, now in zip(average.parameters(), head.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def _out_of_patience(state: FitState, config: TrainConfig) -> bool:
    if config.patience_epochs is None or not state.best_epoch:
        return False
    return len(state.curve) - state.best_epoch >= config.patience_epochs


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
