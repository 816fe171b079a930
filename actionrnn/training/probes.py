"""What a trained head does with its frames: in another order, too few of them, long ago."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn.config import HeadKind
from actionrnn.recurrent.heads import Head

NUM_SHUFFLES = 5
MOST_PROBED = 200
"""Clips whose gradients are taken, evenly over all."""
FRESH_KINDS: tuple[HeadKind, ...] = ("rnn_tanh", "lstm", "gru")

Values = NDArray[np.float32]


@torch.inference_mode()
def shuffled_answers(
    head: Head, sequences: Sequence[Values], num_shuffles: int = NUM_SHUFFLES, seed: int = 0
) -> NDArray[np.int64]:
    """The answers of a trained head to the same clips, their frames in a random order.

    Args:
        sequences: N of (T, D).
        seed: of the orders; the same seed gives the same ones.

    Returns:
        class indices, (num_shuffles, N).
    """
    rng = np.random.default_rng(seed)
    head.eval()
    answers = np.empty((num_shuffles, len(sequences)), np.int64)
    for index, values in enumerate(sequences):
        orders = [rng.permutation(len(values)) for _ in range(num_shuffles)]
        batch = torch.from_numpy(np.stack([values[order] for order in orders]))  # (S, T, D)
        logits = head(batch.to(head.mean.device))[:, -1]
        answers[:, index] = logits.argmax(dim=1).cpu().numpy()
    return answers


def influence(head: Head, sequences: Sequence[Values]) -> list[NDArray[np.float64]]:
    """How much the winning logit at the last step T depends on the input k steps before.

    Args:
        sequences: N of (T, D).

    Returns:
        per clip (T,): |d y_T / d x_(T-k)| at lag k = 0 ... T - 1, with each feature in units of
        its standard deviation over all these frames.
    """
    head.eval()
    device = head.mean.device
    scale = torch.from_numpy(np.concatenate(sequences).std(axis=0)).to(device)
    norms = []
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradient in eval mode
        for values in sequences:
            inputs = torch.from_numpy(np.ascontiguousarray(values))[None].to(device)
            inputs.requires_grad_()
            winner = head(inputs)[0, -1].max()
            (gradient,) = torch.autograd.grad(winner, inputs)
            norm = (gradient[0] * scale).norm(dim=1).flip(0)
            norms.append(norm.double().cpu().numpy())
    return norms


def spread_evenly(sequences: Sequence[Values], most: int = MOST_PROBED) -> list[Values]:
    """At most so many of the clips, evenly over all."""
    places = np.linspace(0, len(sequences) - 1, min(most, len(sequences))).round().astype(int)
    return [sequences[place] for place in places]


def fresh_heads(head: Head, sequences: Sequence[Values], seed: int = 0) -> dict[str, Head]:
    """An untrained RNN, LSTM and GRU of the same sizes, whose answer is their last state."""
    frames = np.concatenate(sequences)
    mean, std = (torch.from_numpy(part) for part in (frames.mean(axis=0), frames.std(axis=0)))
    heads: dict[str, Head] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for kind in FRESH_KINDS:
            config = dataclasses.replace(head.config, kind=kind, summary="last")
            fresh = Head(config, head.feature_size, head.num_classes)
            fresh.set_normalisation(mean, std)
            heads[kind] = fresh.to(head.mean.device)
    return heads
