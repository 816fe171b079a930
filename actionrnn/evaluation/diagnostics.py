"""How a trained head uses its frames: their order, their number, and those long ago."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actionrnn.config import HeadKind
from actionrnn.datasets.sequences import pad
from actionrnn.evaluation.metrics import answers_of
from actionrnn.model.heads import Head
from actionrnn.progress import progress_bar

NUM_SHUFFLES = 5
MOST_GRADIENT_CLIPS = 200
"""Clips whose gradients are taken: the test's, thinned out evenly."""
MOST_STEPS = 4000
"""Rows x steps of one batch: what bounds the memory."""
FRESH_KINDS: tuple[HeadKind, ...] = ("rnn_tanh", "lstm", "gru")

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Diagnostics:
    """Measurements of the heads of one fold beyond their final scores, over N test clips."""

    observed: dict[str, NDArray[np.int64]]
    """By head: its answers so far (`answers_of`) after 10, 20, ... 100 % of each clip, (N, 10)."""
    observed_now: dict[str, NDArray[np.int64]]
    """The same for its answers of now."""
    shuffled: NDArray[np.int64]
    """The first head's answers to each clip with its frames in S random orders, (S, N)."""
    influence: dict[str, list[NDArray[np.float64]]]
    """By head, untrained ones included, and clip: the gradient's norm by lag, (T,)."""


def diagnose(
    heads: Mapping[str, Head],
    sequences: Sequence[Values],
    observed: dict[str, NDArray[np.int64]],
    observed_now: dict[str, NDArray[np.int64]],
    label_sets: NDArray[np.bool_] | None = None,
) -> Diagnostics:
    """Shuffle the clips' frames for the first head; compute the gradients of all heads.

    Args:
        heads: by name; one with a smaller feature size sees only the first features.
        sequences: N of (T, D).
        observed: see `Diagnostics`.
        observed_now: see `Diagnostics`.
        label_sets: (C, K), of multi-label heads; see `answers_of`.
    """
    head = next(iter(heads.values()))
    some = spread_evenly(sequences)
    untrained = {f"untrained {kind}": one for kind, one in fresh_heads(head, some).items()}
    with progress_bar("shuffling frames, taking gradients", None):
        return Diagnostics(
            observed=observed,
            observed_now=observed_now,
            shuffled=shuffled_answers(head, sequences, label_sets=label_sets),
            influence={
                name: influence(one, [values[:, : one.feature_size] for values in some])
                for name, one in ({**heads, **untrained}).items()
            },
        )


@torch.inference_mode()
def shuffled_answers(
    head: Head,
    sequences: Sequence[Values],
    num_shuffles: int = NUM_SHUFFLES,
    seed: int = 0,
    label_sets: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """The answers of a trained head to the same clips, their frames in a random order.

    Args:
        sequences: N of (T, D).
        seed: of the orders; the same seed gives the same ones.
        label_sets: (C, K), of a multi-label head; see `answers_of`.

    Returns:
        answers, (num_shuffles, N).
    """
    rng = np.random.default_rng(seed)
    head.eval()
    orders = [[rng.permutation(len(clip)) for _ in range(num_shuffles)] for clip in sequences]
    shuffled = [
        clip[order] for clip, several in zip(sequences, orders, strict=True) for order in several
    ]
    answers = [
        answers_of(
            head.scores(head.clip_logits(head(values, lengths), lengths)).cpu().numpy(), label_sets
        )
        for values, lengths in _batches(head, shuffled)
    ]
    by_order: NDArray[np.int64]
    by_order = np.concatenate(answers).reshape(len(sequences), num_shuffles).transpose()
    return by_order


def influence(head: Head, sequences: Sequence[Values]) -> list[NDArray[np.float64]]:
    """How much the winning logit at the last step T depends on the input k steps before.

    Args:
        sequences: N of (T, D).

    Returns:
        per clip (T,): |d y_T / d x_(T-k)| at lag k = 0 ... T - 1, with each feature in units of
        its standard deviation in the training set.
    """
    head.eval()
    norms: list[NDArray[np.float64]] = []
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradient in eval mode
        for values, lengths in _batches(head, sequences):
            # of what the head standardises: the root of a feature has no gradient at 0
            inputs = head.standardise(values).requires_grad_()
            winners = head.clip_logits(head.run(inputs, lengths), lengths).amax(dim=1)
            (gradient,) = torch.autograd.grad(winners.sum(), inputs)  # each row of its own winner
            by_step = gradient.norm(dim=2).double().cpu().numpy()
            norms += [row[:length][::-1] for row, length in zip(by_step, lengths, strict=True)]
    return norms


def _batches(head: Head, sequences: Sequence[Values]) -> Iterator[tuple[Tensor, Tensor]]:
    """Padded values (B, T, D) and lengths (B,) of consecutive clips, as many as fit."""
    batch: list[Values] = []
    longest = 0
    for one in sequences:
        longest = max(longest, len(one))
        if batch and longest * (len(batch) + 1) > MOST_STEPS:
            yield _on_device(head, batch)
            batch, longest = [], len(one)
        batch.append(one)
    if batch:
        yield _on_device(head, batch)


def _on_device(head: Head, batch: Sequence[Values]) -> tuple[Tensor, Tensor]:
    values, lengths = pad([[one] for one in batch])
    return values.to(head.mean.device), lengths.to(head.mean.device)


def spread_evenly(sequences: Sequence[Values], most: int = MOST_GRADIENT_CLIPS) -> list[Values]:
    """At most `most` of the clips, evenly spread over all."""
    indices = np.linspace(0, len(sequences) - 1, min(most, len(sequences))).round().astype(int)
    return [sequences[index] for index in indices]


def fresh_heads(head: Head, sequences: Sequence[Values]) -> dict[str, Head]:
    """An untrained RNN, LSTM and GRU of the same sizes, whose answer is their last state."""
    frames = head.rescale(torch.from_numpy(np.concatenate(sequences)))
    mean, std = frames.mean(dim=0), frames.std(dim=0, correction=0)
    heads: dict[str, Head] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for kind in FRESH_KINDS:
            config = dataclasses.replace(
                head.config, kind=kind, temporal_pooling="last", residual=False
            )
            fresh = Head(config, head.feature_size, head.num_classes)
            fresh.set_normalisation(mean, std)
            heads[kind] = fresh.to(head.mean.device)
    return heads
