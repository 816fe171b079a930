"""The loss, of one class at a time and of several at once, and how much each class counts in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from actionrnn.config import HeadConfig, TrainConfig
from actionrnn.datasets.sequences import Sequences
from actionrnn.training.fit import fit_head, validate
from actionrnn.training.fit_state import FitTask
from actionrnn.training.losses import TargetTable, class_weights, on_off_weights


def test_the_weights_of_the_clips_are_1_on_average() -> None:
    targets = np.repeat([0, 1, 3], [48, 6, 6])
    weights = class_weights(targets, 4, "balanced")
    assert weights[[0, 1, 3]].tolist() == pytest.approx([60 / (3 * 48), 60 / 18, 60 / 18])
    assert float(weights[targets].mean()) == pytest.approx(1)
    assert weights.isfinite().all()  # of the class without a clip, too
    assert class_weights(targets, 4, "none").tolist() == [1, 1, 1, 1]


def sequences_of(
    make_sequences: Callable[..., Sequences], label_sets: NDArray[np.bool_] | None
) -> Sequences:
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(4, 5)).astype(np.float32) for _ in range(12)]
    targets = [index % 4 for index in range(12)]
    return replace(make_sequences(values, targets), label_sets=label_sets)


SETS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], bool)


def table_of(sequences: Sequences, config: TrainConfig) -> TargetTable:
    return TargetTable.of(FitTask(sequences, 3, HeadConfig(multi_label=True), config))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_over_classes_of_binary_cross_entropy(
    make_sequences: Callable[..., Sequences], smoothing: float
) -> None:
    table = table_of(sequences_of(make_sequences, SETS), TrainConfig())
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 1, 2, 3, 2, 0])
    wanted = torch.from_numpy(SETS[targets.numpy()]).float() * (1 - smoothing) + smoothing / 2
    p = logits.sigmoid()
    expected = -(wanted * p.log() + (1 - wanted) * (1 - p).log()).mean(dim=1)
    torch.testing.assert_close(table.losses(logits, targets, smoothing), expected)


def test_balanced_weights_make_on_and_off_weigh_alike() -> None:
    targets = np.array([0, 0, 0, 1, 1, 2, 0, 0])
    weights = on_off_weights(SETS, targets, "balanced").numpy()
    is_on = SETS[targets]
    for which in range(2):
        off, on = weights[:, which]
        assert on * is_on[:, which].sum() == pytest.approx(len(targets) / 2)
        assert off * (~is_on[:, which]).sum() == pytest.approx(len(targets) / 2)
    assert weights[:, 2].tolist() == [1, 1]  # a class that is never on has nothing to balance
    assert on_off_weights(SETS, targets, "none").tolist() == [[1] * 3] * 2


def test_balanced_weights_reach_the_loss_and_not_the_validation(
    make_sequences: Callable[..., Sequences],
) -> None:
    label_sets = SETS[[0, 0, 0, 1]]  # the first class is on in a quarter
    sequences = sequences_of(make_sequences, label_sets)
    plain, balanced = TrainConfig(), TrainConfig(class_weights="balanced")
    logits, targets = torch.zeros(4, 3), torch.arange(4)
    off, on = 12 / (2 * 9) * np.log(2), 12 / (2 * 3) * np.log(2)
    found = table_of(sequences, balanced).losses(logits, targets, 0.0)
    expected = [(first + 2 * np.log(2)) / 3 for first in (off, off, off, on)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    task = FitTask(sequences, 3, HeadConfig(hidden_size=4, multi_label=True), plain)
    head = fit_head(replace(task, config=replace(plain, epochs=1))).head
    assert validate(head, sequences, plain) == validate(head, sequences, balanced)


def test_validation_counts_exact_matches(make_sequences: Callable[..., Sequences]) -> None:
    sequences = sequences_of(make_sequences, SETS)
    head = fit_head(
        FitTask(sequences, 3, HeadConfig(hidden_size=4, multi_label=True), TrainConfig(epochs=2))
    ).head
    loss, right = validate(head, sequences, TrainConfig())
    with torch.inference_mode():
        values = torch.from_numpy(np.stack(sequences.values))
        logits = head(values)
        answers = head.clip_logits(logits, torch.full((12,), 4))
    truth = torch.from_numpy(SETS[sequences.targets])
    assert right == pytest.approx(float(((answers >= 0) == truth).all(dim=1).float().mean()))
    of_clips = F.binary_cross_entropy_with_logits(answers, truth.float())
    of_steps = F.binary_cross_entropy_with_logits(logits, truth[:, None].expand(-1, 4, -1).float())
    assert loss == pytest.approx(float(0.5 * of_clips + 0.5 * of_steps), abs=1e-5)


def test_the_sets_are_part_of_what_a_fit_is(make_sequences: Callable[..., Sequences]) -> None:
    tasks = [
        FitTask(sequences_of(make_sequences, sets), 3, HeadConfig(multi_label=True), TrainConfig())
        for sets in (SETS, SETS[::-1].copy(), SETS)
    ]
    one, other, same = (task.identity() for task in tasks)
    assert one == same
    assert one["clips"] != other["clips"]
