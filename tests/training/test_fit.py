"""The training loop: deterministic, and able to learn what only order tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actionrnn.config import HeadConfig, TrainConfig
from actionrnn.datasets.sequences import Sequences
from actionrnn.recurrent.heads import Head
from actionrnn.recurrent.recognizer import clip_scores
from actionrnn.training.fit import fit_head

MakeSequences = Callable[..., Sequences]

KINDS = ("rnn_tanh", "rnn_relu", "lstm", "gru", "mean")
SIZE = 6


def order_task(seed: int, count: int) -> tuple[list[NDArray[np.float32]], list[int]]:
    """A then B is class 0, B then A is class 1: the same frames in another order."""
    rng = np.random.default_rng(seed)
    first, second = np.eye(SIZE, dtype=np.float32)[:2]
    values, targets = [], []
    for index in range(count):
        half = int(rng.integers(3, 7))
        clip = np.repeat([first, second], half, axis=0)
        clip += rng.normal(scale=0.1, size=clip.shape).astype(np.float32)
        values.append(clip if index % 2 == 0 else clip[::-1].copy())
        targets.append(index % 2)
    return values, targets


def accuracy(head: Head, values: list[NDArray[np.float32]], targets: list[int]) -> float:
    return float((clip_scores(head, values).argmax(axis=1) == targets).mean())


@pytest.fixture
def sequences(make_sequences: MakeSequences) -> Sequences:
    return make_sequences(*order_task(seed=0, count=12))


def fit(sequences: Sequences, kind: str = "gru", **options: Any) -> Head:
    head = HeadConfig(kind=kind, hidden_size=8, num_layers=2, dropout=0.3)
    config = TrainConfig(**{"epochs": 3, "batch_size": 5, **options})
    return fit_head(sequences, 2, head, config)


def same(one: Head, other: Head) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_every_bit(sequences: Sequences, kind: str) -> None:
    head = fit(sequences, kind, seed=1)
    torch.manual_seed(99)
    torch.rand(7)
    assert same(head, fit(sequences, kind, seed=1))
    assert not same(head, fit(sequences, kind, seed=2))


def test_the_callers_random_numbers_are_left_alone(sequences: Sequences) -> None:
    before, of_numpy = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    fit(sequences)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (np.random.get_state()[1] == of_numpy).all()


@pytest.mark.parametrize("kind", ["rnn_tanh", "lstm", "gru"])
def test_recurrent_heads_learn_the_order_of_new_clips(
    make_sequences: MakeSequences, kind: str
) -> None:
    config = TrainConfig(epochs=30, batch_size=16, learning_rate=0.01)
    head = HeadConfig(kind=kind, hidden_size=16, dropout=0.0, summary="last")
    fitted = fit_head(make_sequences(*order_task(seed=1, count=64)), 2, head, config)
    assert accuracy(fitted, *order_task(seed=2, count=100)) == 1


def test_the_mean_head_cannot_learn_order(make_sequences: MakeSequences) -> None:
    config = TrainConfig(epochs=30, batch_size=16, learning_rate=0.01)
    values, targets = order_task(seed=2, count=100)
    both = values + [clip[::-1].copy() for clip in values]  # each clip, and its reverse
    head = HeadConfig(kind="mean", dropout=0.0)
    fitted = fit_head(make_sequences(*order_task(seed=1, count=64)), 2, head, config)
    reversed_targets = [1 - target for target in targets]
    assert accuracy(fitted, both, targets + reversed_targets) == pytest.approx(0.5, abs=0.05)


def test_the_mean_head_learns_what_single_frames_tell(make_sequences: MakeSequences) -> None:
    rng = np.random.default_rng(0)
    targets = [0, 1, 2] * 6
    values = [
        (np.eye(SIZE)[target] + rng.normal(scale=0.1, size=(4, SIZE))).astype(np.float32)
        for target in targets
    ]
    config = TrainConfig(epochs=30, batch_size=6, learning_rate=0.01)
    fitted = fit_head(make_sequences(values, targets), 3, HeadConfig(kind="mean"), config)
    assert accuracy(fitted, values, targets) == 1


def test_statistics_are_those_of_all_frames(make_sequences: MakeSequences) -> None:
    rng = np.random.default_rng(0)
    values = [
        rng.normal(loc, 2, (steps, SIZE)).astype(np.float32) for loc, steps in [(5, 2), (0, 9)]
    ]
    head = fit(make_sequences(values, [0, 1]))
    frames = np.concatenate(values)
    np.testing.assert_allclose(head.mean, frames.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(head.std, frames.std(axis=0), atol=1e-5)


def test_a_feature_that_never_varies_does_no_harm(make_sequences: MakeSequences) -> None:
    values, targets = order_task(seed=0, count=8)
    for clip in values:
        clip[:, -1] = 3
    head = fit(make_sequences(values, targets))
    assert np.isfinite(clip_scores(head, values)).all()


def test_each_epochs_loss_is_told_and_falls(make_sequences: MakeSequences) -> None:
    losses: list[float] = []
    config = TrainConfig(epochs=12, batch_size=16, learning_rate=0.01)
    sequences = make_sequences(*order_task(seed=1, count=32))
    fit_head(sequences, 2, HeadConfig(hidden_size=16), config, on_epoch=losses.append)
    assert len(losses) == 12
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_any_batch_size_will_do(sequences: Sequences, batch_size: int) -> None:
    head = fit(sequences, batch_size=batch_size)
    assert all(parameter.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("learning_rate", 0.1),
        ("weight_decay", 0.5),
        ("warmup_fraction", 0.8),
        ("label_smoothing", 0.0),
        ("clip_norm", 1e-3),
    ],
)
def test_every_option_has_its_effect(sequences: Sequences, option: str, value: float) -> None:
    assert not same(fit(sequences), fit(sequences, **{option: value}))


def test_the_head_is_given_ready_for_use(sequences: Sequences) -> None:
    head = fit(sequences)
    assert not head.training
    assert (head.feature_size, head.num_classes) == (SIZE, 2)
