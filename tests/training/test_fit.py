"""The training loop: deterministic, and able to learn what only order tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actionrnn.config import HeadConfig, TrainConfig
from actionrnn.datasets.sequences import Sequences
from actionrnn.errors import ModelError
from actionrnn.recurrent.heads import Head
from actionrnn.recurrent.recognizer import clip_scores
from actionrnn.training.fit import Epoch, choose_steps, fit_head, shuffled_batches

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
    return fit_head(sequences, 2, head, config).head


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
    fitted = fit_head(make_sequences(*order_task(seed=1, count=64)), 2, head, config).head
    assert accuracy(fitted, *order_task(seed=2, count=100)) == 1


def test_the_mean_head_cannot_learn_order(make_sequences: MakeSequences) -> None:
    config = TrainConfig(epochs=30, batch_size=16, learning_rate=0.01)
    values, targets = order_task(seed=2, count=100)
    both = values + [clip[::-1].copy() for clip in values]  # each clip, and its reverse
    head = HeadConfig(kind="mean", dropout=0.0)
    fitted = fit_head(make_sequences(*order_task(seed=1, count=64)), 2, head, config).head
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
    fitted = fit_head(make_sequences(values, targets), 3, HeadConfig(kind="mean"), config).head
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
    fit_head(
        sequences,
        2,
        HeadConfig(hidden_size=16),
        config,
        on_epoch=lambda epoch: losses.append(epoch.train_loss),
    )
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
        ("crop_fraction", 0.5),
        ("keep_fraction", 0.5),
        ("ema_decay", 0.9),
        ("precision", "bfloat16"),
    ],
)
def test_every_option_has_its_effect(sequences: Sequences, option: str, value: Any) -> None:
    assert not same(fit(sequences), fit(sequences, **{option: value}))


def test_the_head_is_given_ready_for_use(sequences: Sequences) -> None:
    head = fit(sequences)
    assert not head.training
    assert (head.feature_size, head.num_classes) == (SIZE, 2)


class KilledError(Exception):
    """Stands for a process that is gone."""


@pytest.mark.parametrize("kind", ["mean", "lstm"])
@pytest.mark.parametrize("last_epoch", [1, 4, 7])
def test_a_resumed_fit_ends_in_the_same_bits(
    sequences: Sequences, make_sequences: MakeSequences, tmp_path: Path, kind: str, last_epoch: int
) -> None:
    head = HeadConfig(kind=kind, hidden_size=8, num_layers=2, dropout=0.3)
    config = TrainConfig(
        epochs=8, batch_size=5, ema_decay=0.8, crop_fraction=0.6, keep_fraction=0.8
    )
    options = {"validation": make_sequences(*order_task(seed=3, count=6))}
    whole = fit_head(sequences, 2, head, config, **options)

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == last_epoch:
            raise KilledError

    file = tmp_path / "state.safetensors"
    with pytest.raises(KilledError):
        fit_head(sequences, 2, head, config, **options, state_file=file, on_epoch=stop)
    told: list[Epoch] = []
    resumed = fit_head(sequences, 2, head, config, **options, state_file=file, on_epoch=told.append)
    assert same(resumed.head, whole.head)
    assert resumed.curve == whole.curve == tuple(told)
    assert resumed.best_epoch == whole.best_epoch


def test_a_damaged_state_is_one_line(sequences: Sequences, tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    file.write_bytes(b"half a file")
    with pytest.raises(ModelError, match=r"cannot be resumed .* delete it to start again"):
        fit_head(sequences, 2, HeadConfig(), TrainConfig(epochs=1), state_file=file)


def test_the_epoch_with_the_lowest_validation_loss_is_taken(
    sequences: Sequences, make_sequences: MakeSequences
) -> None:
    wrong = make_sequences(*order_task(seed=3, count=8))
    wrong.targets[:] = 1 - wrong.targets  # the better the fit, the worse
    config = TrainConfig(epochs=12, batch_size=5, learning_rate=0.01)
    head = HeadConfig(hidden_size=8, dropout=0.0)
    fit = fit_head(sequences, 2, head, config, validation=wrong)
    losses = [epoch.validation_loss for epoch in fit.curve]
    assert fit.best_epoch == 1 + int(np.argmin(losses)) < 12
    short = fit_head(
        sequences, 2, head, dataclasses.replace(config, patience_epochs=3), validation=wrong
    )
    assert len(short.curve) == fit.best_epoch + 3
    assert same(short.head, fit.head)


def test_without_validation_the_last_epoch_is_taken(sequences: Sequences) -> None:
    fit = fit_head(sequences, 2, HeadConfig(hidden_size=8), TrainConfig(epochs=3))
    assert (fit.best_epoch, fit.curve[-1].validation_loss) == (3, None)


def test_chosen_steps_rise_and_keep_their_part() -> None:
    rng = np.random.default_rng(0)
    config = TrainConfig(crop_fraction=0.5, keep_fraction=0.5)
    for length in (1, 2, 7, 40):
        for _ in range(50):
            steps = choose_steps(length, config, rng)
            assert (np.diff(steps) > 0).all()
            assert 0 <= steps[0] <= steps[-1] < length
            assert len(steps) >= max(1, length // 4 - 1)
    assert choose_steps(9, TrainConfig(), rng).tolist() == list(range(9))


def test_batches_are_of_similar_lengths_and_hold_every_clip_once() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 1000)
    batches = shuffled_batches(lengths, 32, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == list(range(1000))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.6 * lengths.sum()  # random batches: twice the sum
    again = shuffled_batches(lengths, 32, np.random.default_rng(1))
    assert not np.array_equal(np.sort(batches[0]), np.sort(again[0]))
