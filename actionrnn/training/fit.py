"""The training loop: sequences in, a trained head out.

Read it from the top: `fit_head` runs the epochs, `_Loop.train_epoch` is one of them, and the
functions below are its parts. All randomness is derived from (seed, epoch), so that a fit that is
resumed after an epoch ends with the same bits as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actionrnn.config import TrainConfig
from actionrnn.datasets.passages import (
    draw_passages,
    num_batches,
    num_steps_of,
    shuffled_batches,
    whole_passages,
)
from actionrnn.datasets.recordings import IGNORE
from actionrnn.datasets.sequences import Passage, Sequences
from actionrnn.errors import ConfigError, FeatureError
from actionrnn.model.heads import Head
from actionrnn.training import parallel
from actionrnn.training.fit_state import Epoch, FitState, FitTask, load_fit_state, save_fit_state
from actionrnn.training.losses import TargetTable, piece_losses
from actionrnn.training.optimiser import (
    adamw_moments,
    adamw_step,
    average_decay,
    averaged,
    follow,
    warmup_cosine,
)

VALIDATION_BATCH = 256
"""Clips in a batch without gradients; recordings are run one by one."""
STATISTICS_STEPS = 512
"""At least so many are joined for the statistics: few calls, whose tensors stay in the cache."""


@dataclass(frozen=True)
class Fit:
    """A trained head, and how it was found."""

    head: Head
    """In evaluation mode, on the device of the training."""
    curve: tuple[Epoch, ...]
    best_epoch: int
    """The epoch whose weights were taken: the best on validation, else the last."""


class DivergedError(ConfigError):
    """A loss or a weight of a fit is not finite."""


def fit_head(
    task: FitTask,
    device: torch.device | str = "cpu",
    *,
    state_file: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Epoch, bool], None] = lambda epoch, is_new: None,
) -> Fit:
    """Train one head; the same task gives the same head, bit for bit on the same machine.

    The caller's random generators are left as they were.

    Args:
        device: where the head is trained and left.
        state_file: written after each epoch; None: the fit cannot be resumed.
        resume: start after the last epoch in `state_file`, if that file exists.
        on_epoch: called after each epoch, with True; a resumed fit first calls it for the epochs
            before, with False.

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
        for row in state.curve:
            on_epoch(row, False)
        for epoch in range(len(state.curve) + 1, task.config.epochs + 1):
            if loop.is_out_of_patience():
                break
            row = loop.finish_epoch(epoch, *loop.train_epoch(epoch))
            if state_file is not None and parallel.is_first():
                save_fit_state(state_file, identity, state)
            # Only now: whoever interrupts in `on_epoch` can resume after this epoch.
            on_epoch(row, True)
    chosen = state.average
    if state.best_weights:
        chosen.load_state_dict(state.best_weights)
    best_epoch = state.best_epoch or len(state.curve)
    return Fit(chosen.eval(), tuple(state.curve), best_epoch)


def _seed(seed: int, device: torch.device) -> None:
    """As `torch.manual_seed`, which prints the stack for each kind of GPU that is not there."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


class _Loop:
    """A task in training: its data, and the state that changes from epoch to epoch."""

    def __init__(self, task: FitTask, device: torch.device) -> None:
        self.task, self.device = task, device
        _seed(task.config.seed, device)  # the initial weights
        head = Head(task.head, task.sequences.feature_size, task.num_classes)
        head.set_normalisation(*_statistics(head, task.sequences))
        head = head.to(device)
        self.state = FitState(head, averaged(head), adamw_moments(head))
        self.targets = TargetTable.of(task).to(device)

    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """One pass over the clips; returns the mean loss over the batches, and the last rate."""
        config, head, state = self.task.config, self.state.head, self.state
        # First the seed of dropout, then the passages, then their order: always from the generator
        # of this epoch, so that no generator has to be saved. All processes draw the same passages
        # and order; dropout differs between them, since each sees other passages.
        rng = np.random.default_rng([config.seed, epoch])
        _seed(int(rng.integers(2**62)) + parallel.rank(), self.device)
        head.train()
        sequences = self.task.sequences
        passages = draw_passages(sequences, config, rng, head.delay_steps)
        # The last batch is not dropped: the passages are divided into batches of nearly equal
        # size, so that none is left out and none counts for much more than another.
        lengths = np.array([num_steps_of(passage) for passage in passages])
        count = num_batches(sequences, passages, config.batch_size)
        batches = shuffled_batches(lengths, count, rng)
        # of the epoch, not of each batch: batches hold as many passages, but not as many clips or
        # labelled steps, and each of those counts alike
        per_batch = num_counted(sequences, passages) / len(batches)
        first_step = (epoch - 1) * len(batches)
        total = rate = 0.0
        for step, indices in enumerate(batches, start=first_step):
            chosen = [passages[index] for index in indices]
            loss = self.loss(parallel.share(chosen), per_batch)
            head.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            # Each share's loss is divided by the same number, so the gradients add up to the
            # batch's. Clipping needs that sum, and has to come before the step: a
            # recurrence over hundreds of steps now and then gives a gradient so large that one
            # step would undo the training.
            parallel.add_gradients(head)
            torch.nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
            rate = self.learning_rate(step, len(batches))
            adamw_step(head, state.moments, rate, config)
            # The average follows each step. It is what is validated and saved: single steps at
            # a high rate jump around the weights that they approach.
            follow(state.average, head, average_decay(step, config.ema_decay))
            total += parallel.add(loss.detach()).item()
        return total / len(batches), rate

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """The rate at a step of the whole training, from 0.

        The schedule spans the steps of all epochs, so it depends neither on where the fit was
        interrupted nor on whether it will stop early.
        """
        config = self.task.config
        num_steps = config.epochs * steps_per_epoch
        return config.learning_rate * warmup_cosine(step, num_steps, config.warmup_fraction)

    def loss(self, chosen: list[Passage], count: float) -> Tensor:
        """What this process's passages add to the loss of a batch, a scalar.

        Args:
            chosen: a share of the batch.
            count: what counts in a batch on average, see `num_counted`.
        """
        head, config = self.state.head, self.task.config
        if not chosen:  # more processes than passages: a gradient of zeros
            zero = torch.zeros((), device=self.device)
            return sum((p.sum() * 0 for p in head.parameters()), zero)
        sequences = self.task.sequences
        batch = sequences.batch(chosen).to(self.device)
        with autocast(self.device, config.precision):
            # Shorter passages are padded at their end. The head runs forward in time, so the
            # padding cannot reach the output at the real steps, which are the ones that count.
            logits = head(batch.values, batch.lengths)  # (B, T, K)
        losses = piece_losses(head, logits.float(), batch, config, self.targets)  # (P,)
        if sequences.continuous:
            losses = losses * torch.bincount(batch.pieces[batch.pieces >= 0])
        return losses.sum() / count

    def finish_epoch(self, epoch: int, train_loss: float, rate: float) -> Epoch:
        """Validate the averaged weights, keep them if they are the best, extend the curve.

        Raises:
            DivergedError: a loss or a weight is not finite.
        """
        state, validation = self.state, self.task.validation
        loss = top1 = None
        if validation is not None:
            loss, top1 = validate(state.average, validation, self.task.config)
        row = Epoch(epoch, rate, train_loss, loss, top1)
        self.require_finite(row)
        if loss is not None and loss < state.best_loss:
            state.best_loss, state.best_epoch = loss, epoch
            state.best_weights = copy.deepcopy(state.average.state_dict())
        state.curve.append(row)
        return row

    def require_finite(self, row: Epoch) -> None:
        """Refuse an epoch after which the weights are of no use.

        Raises:
            DivergedError: the loss, the validation loss or a weight is not finite.
        """
        losses = {"loss": row.train_loss, "validation loss": row.validation_loss}
        bad = [f"{name} is {loss}" for name, loss in losses.items() if not math.isfinite(loss or 0)]
        if not all(bool(weight.isfinite().all()) for weight in self.state.average.parameters()):
            bad.append("weights are not finite")
        if bad:
            config = self.task.config
            raise DivergedError(
                f"{self.task.name}: the {bad[0]} after epoch {row.epoch}; "
                f"lower train.learning_rate ({config.learning_rate:g}) or "
                f"train.clip_norm ({config.clip_norm:g}), and check that the features are finite"
            )

    def is_out_of_patience(self) -> bool:
        """Whether the validation loss has not fallen for `patience_epochs`."""
        patience, best_epoch = self.task.config.patience_epochs, self.state.best_epoch
        if patience is None or not best_epoch:
            return False
        return len(self.state.curve) - best_epoch >= patience


def num_counted(sequences: Sequences, passages: Sequence[Passage]) -> int:
    """What counts in some passages: their clips, alike; of recordings their labelled steps."""
    pieces = [
        piece
        for passage in passages
        for piece in passage
        if piece.counted and sequences.targets[piece.index] != IGNORE
    ]
    return sum(len(piece.steps) for piece in pieces) if sequences.continuous else len(pieces)


@torch.inference_mode()
def validate(head: Head, sequences: Sequences, config: TrainConfig) -> tuple[float, float]:
    """Mean loss (without smoothing or class weights) and top-1 of a head's answers for clips.

    Of recordings: the mean over labelled steps, and the part of them whose answer is right. That
    of a multi-label head is right if exactly the classes that are true are on.
    """
    config = replace(config, label_smoothing=0.0)
    head.eval()
    task = FitTask(sequences, head.num_classes, head.config, config)
    table = TargetTable.of(task, weighted=False).to(head.mean.device)
    passages = whole_passages(sequences)
    size = 1 if sequences.continuous else VALIDATION_BATCH
    total, right, count = 0.0, 0, num_counted(sequences, passages)
    for start in range(0, len(passages), size):
        batch = sequences.batch(passages[start : start + size]).to(head.mean.device)
        logits = head(batch.values, batch.lengths)  # (B, T, K)
        losses = piece_losses(head, logits, batch, config, table)
        if sequences.continuous:
            counted = batch.pieces >= 0
            total += (losses * torch.bincount(batch.pieces[counted])).sum().item()
            right += table.num_right(logits[counted], batch.targets[counted])
        else:
            total += losses.sum().item()
            answers = head.clip_logits(logits, batch.lengths)
            right += table.num_right(answers, batch.piece_targets)
    return total / count, right / count


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

    Part by part, from deviations: a sum of squares loses the digits of a feature that is large
    and varies little (Chan, Golub and LeVeque, The American Statistician 37, 1983).
    """
    count, mean, deviations = 0, torch.zeros(()), torch.zeros(())
    for values in _joined(sequences.values, STATISTICS_STEPS):
        part, before = head.rescale(torch.from_numpy(values)), count
        count += len(part)
        centre = part.mean(0)
        # in single precision, where it is fast: what is left is small, and its mean, not quite 0
        rest = part.sub_(centre).mean(0).double()
        shift = centre + rest - mean
        mean = mean + shift * (len(part) / count)
        deviations = deviations + part.square_().sum(0) - len(part) * rest.square()
        deviations = deviations + shift.square() * (before * len(part) / count)
    if not bool(deviations.any()):
        raise FeatureError(
            f"{count} steps of {len(sequences)} clips have the same features, so there is nothing "
            "to learn from them; extract or import them again"
        )
    return mean.float(), (deviations / count).sqrt().float()


def _joined(sequences: Iterable[NDArray[np.float32]], least: int) -> Iterator[NDArray[np.float32]]:
    """Copies of sequences (T_i, D) one after another, in parts of `least` steps or more each."""
    part: list[NDArray[np.float32]] = []
    for values in sequences:
        part.append(values)
        if sum(map(len, part)) >= least:
            yield np.concatenate(part)
            part = []
    if part:
        yield np.concatenate(part)
