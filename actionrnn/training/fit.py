"""The training loop: sequences in, a trained head out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from actionrnn.config import HeadConfig, TrainConfig
from actionrnn.datasets.sequences import Sequences
from actionrnn.recurrent.heads import Head, last_step


def fit_head(
    sequences: Sequences,
    num_classes: int,
    head_config: HeadConfig,
    config: TrainConfig,
    *,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[float], None] = lambda loss: None,
) -> Head:
    """Train one head; the same seed gives the same head.

    Args:
        sequences: the training clips.
        on_epoch: called after each epoch with its mean loss.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        order = np.random.default_rng(config.seed)
        head = Head(head_config, sequences.values[0].shape[1], num_classes)
        head.set_normalisation(*_statistics(sequences))
        head = head.to(device).train()
        optimiser = torch.optim.AdamW(
            head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        batches = math.ceil(len(sequences) / config.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, _warmup_cosine(config.epochs * batches, config.warmup_fraction)
        )
        for _ in range(config.epochs):
            losses = []
            for indices in np.array_split(order.permutation(len(sequences)), batches):
                values, lengths, targets = (t.to(device) for t in sequences.batch(indices.tolist()))
                logits = last_step(head(values, lengths), lengths)  # (B, K)
                loss = F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
            on_epoch(sum(losses) / len(losses))
    return head.eval()


def _statistics(sequences: Sequences) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each feature over all training frames, (D,) each."""
    count = sum(len(values) for values in sequences.values)
    mean = sum(values.sum(0, dtype=np.float64) for values in sequences.values) / count
    squares = sum(np.square(values - mean).sum(0) for values in sequences.values) / count
    return torch.from_numpy(mean).float(), torch.from_numpy(np.sqrt(squares)).float()


def _warmup_cosine(num_steps: int, warmup_fraction: float) -> Callable[[int], float]:
    warmup = max(1, round(warmup_fraction * num_steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))

    return factor
