"""Temperatures: found where they are known, finite where nothing is wrong, exact in a head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actionrnn.config import HeadConfig
from actionrnn.model.calibration import (
    at_temperature,
    calibrated,
    fit_label_temperature,
    fit_temperature,
)
from actionrnn.model.heads import Head, read_out


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 5) whose softmax is exactly how likely each class is, and targets drawn so."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(count, 5))
    chosen = softmax(logits).astype(np.float64).cumsum(axis=1) > rng.uniform(size=(count, 1))
    return logits, chosen.argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_scores_were_spoiled_with_is_found(temperature: float) -> None:
    logits, targets = drawn(20_000)
    found = fit_temperature(softmax(logits / temperature), targets)
    assert found == pytest.approx(1 / temperature, rel=0.05)


def test_the_fitted_temperature_has_the_least_loss() -> None:
    logits, targets = drawn(200)
    count, classes = logits.shape
    truth = np.full((count, classes), 1 / (count + 2) / (classes - 1))
    truth[np.arange(count), targets] = (count + 1) / (count + 2)

    def loss(temperature: float) -> float:
        return float(-(truth * np.log(softmax(logits / temperature).astype(np.float64))).sum())

    best = fit_temperature(softmax(logits), targets)
    assert loss(best) < min(loss(best * 1.02), loss(best / 1.02))


@pytest.mark.parametrize("count", [1, 10, 100])
def test_answers_that_are_all_right_are_as_sure_as_their_number_allows(count: int) -> None:
    scores = np.full((count, 4), 0.2, np.float32)
    scores[:, 1] = 0.4
    targets = np.ones(count, np.int64)
    best = at_temperature(scores, fit_temperature(scores, targets)).max(axis=1)
    assert best == pytest.approx((count + 1) / (count + 2), rel=1e-4)


def test_scores_of_zero_have_a_temperature() -> None:
    scores = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    temperature = fit_temperature(scores, np.array([0, 1, 2]))
    assert temperature > 10  # two of three are wrong
    assert np.isfinite(at_temperature(scores, temperature)).all()


def test_temperature_1_changes_nothing_and_another_no_order() -> None:
    scores = softmax(drawn(50)[0])
    assert np.allclose(at_temperature(scores, 1.0), scores, atol=1e-6)
    order = scores.argsort(axis=1)
    assert np.array_equal(at_temperature(scores, 2.5).argsort(axis=1), order)


@pytest.mark.parametrize("shape", [(0, 3), (3, 1)])
def test_nothing_to_fit_on_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="needs answers and classes"):
        fit_temperature(np.ones(shape, np.float32), np.zeros(shape[0], np.int64))


@pytest.mark.parametrize(
    "config",
    [
        HeadConfig(hidden_size=6),
        HeadConfig(hidden_size=6, residual=False, delay_steps=2),
        HeadConfig(kind="lstm", hidden_size=6, delay_steps=1),
        HeadConfig(kind="mean"),
        HeadConfig(hidden_size=6, multi_label=True),
    ],
    ids=str,
)
def test_a_calibrated_head_answers_now_and_so_far_at_its_temperature(config: HeadConfig) -> None:
    torch.manual_seed(0)
    head = Head(config, 3, 4).eval()
    if head.residual is not None:
        torch.nn.init.normal_(head.residual.weight)
    values = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    plain, scaled = read_out(head, values), read_out(calibrated(head, 0.4), values)
    for before_it, after in ((plain.now, scaled.now), (plain.so_far, scaled.so_far)):
        expected = at_temperature(before_it, 0.4, multi_label=config.multi_label)
        assert np.allclose(after, expected, atol=1e-5)
    assert not np.allclose(scaled.now, plain.now, atol=1e-3)
    assert all(torch.equal(before[name], now) for name, now in head.state_dict().items())


# Several labels: a sigmoid each.


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_labels_that_were_drawn_by_it_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(20_000, 4))
    is_on = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    scores = (1 / (1 + np.exp(-logits * temperature))).astype(np.float32)
    assert fit_label_temperature(scores, is_on) == pytest.approx(temperature, rel=0.03)


def test_labels_that_are_all_right_have_no_temperature_of_0() -> None:
    is_on = np.random.default_rng(0).random((10, 3)) < 0.5
    scores = np.where(is_on, 0.8, 0.2).astype(np.float32)
    found = at_temperature(scores, fit_label_temperature(scores, is_on), multi_label=True)
    assert np.allclose(np.where(is_on, found, 1 - found), 11 / 12, atol=1e-4)  # (N + 1) / (N + 2)


def test_certain_labels_stay_finite_and_in_order() -> None:
    scores = np.array([[0.0, 1e-30, 0.3, 0.5, 0.7, 1.0]], np.float32)
    assert np.allclose(at_temperature(scores, 1.0, multi_label=True), scores, atol=1e-6)
    [found] = at_temperature(scores, 2.0, multi_label=True)
    assert (np.diff(found) > 0).all()
    assert found[3] == 0.5  # what is on stays on


def test_no_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="needs answers"):
        fit_label_temperature(np.ones((0, 3), np.float32), np.ones((0, 3), bool))
