"""Baselines that see a window alone, against a loop over windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actionrnn.config import HeadConfig
from actionrnn.evaluation import window_baselines
from actionrnn.evaluation.window_baselines import restarted_per_window, sliding_mean_pool
from actionrnn.model.heads import Head, read_out

T, D, K = 23, 5, 3


def make_head(**options: object) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = HeadConfig(**{"kind": "gru", "hidden_size": 4, **options})  # type: ignore[arg-type]
        head = Head(config, D, K)
        if head.residual is not None:
            torch.nn.init.normal_(head.residual.weight)
    return head


@pytest.fixture
def values() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(T, D)).astype(np.float32)


def close(one: NDArray[np.float32], other: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [1, 4, T, 100])
@pytest.mark.parametrize("changes", [False, True])
def test_the_mean_pool_slides(values: NDArray[np.float32], window: int, changes: bool) -> None:
    head = make_head(kind="mean", temporal_differences=changes)
    with torch.no_grad():
        logits = head.eval()(torch.from_numpy(values)[None])[0]
    slow = [logits[max(0, t + 1 - window) : t + 1].mean(dim=0).softmax(dim=0) for t in range(T)]
    close(sliding_mean_pool(head, values, window), torch.stack(slow).numpy())


@pytest.mark.parametrize("window", [1, 4, T, 100])
@pytest.mark.parametrize(
    "options",
    [
        {"kind": "gru", "residual": True, "temporal_differences": True},
        {"kind": "lstm", "num_layers": 2},
        {"kind": "rnn_tanh", "temporal_pooling": "last"},
        {"kind": "gru", "temporal_differences": True, "delay_steps": 3},
        {"kind": "mean"},
    ],
)
def test_the_head_starts_anew_in_each_window(
    values: NDArray[np.float32],
    window: int,
    options: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window_baselines, "MOST_STEPS", 30)  # several batches
    head = make_head(**options)
    slow = [read_out(head, values[max(0, t + 1 - window) : t + 1]).so_far[-1] for t in range(T)]
    close(restarted_per_window(head, values, window), np.stack(slow))


@pytest.mark.parametrize("answer", [sliding_mean_pool, restarted_per_window])
def test_later_frames_change_nothing(values: NDArray[np.float32], answer: object) -> None:
    head, other = make_head(kind="mean"), values.copy()
    other[10:] += 100
    assert callable(answer)
    first, second = (answer(head, one, 4) for one in (values, other))
    close(first[:10], second[:10])
    assert np.abs(first[10:] - second[10:]).max() > 0.01


def test_earlier_frames_than_the_window_change_nothing(values: NDArray[np.float32]) -> None:
    head, other = make_head(), values.copy()
    other[:10] += 100
    close(restarted_per_window(head, values, 4)[13:], restarted_per_window(head, other, 4)[13:])


def test_a_window_over_all_is_the_kept_state(values: NDArray[np.float32]) -> None:
    head = make_head()
    close(restarted_per_window(head, values, T), read_out(head, values).so_far)
    mean = make_head(kind="mean")
    close(sliding_mean_pool(mean, values, T), read_out(mean, values).so_far)
    close(sliding_mean_pool(mean, values, 1), read_out(mean, values).now)


def test_what_makes_no_window_is_refused(values: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="at least one step, got 0"):
        restarted_per_window(make_head(), values, 0)
    with pytest.raises(ValueError, match="at least one step, got -1"):
        sliding_mean_pool(make_head(kind="mean"), values, -1)
    with pytest.raises(ValueError, match="a gru head has a state; use mean"):
        sliding_mean_pool(make_head(), values, 4)
