"""What becomes of the state in a long recording."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from actionrnn.config import HeadConfig, StatePolicy
from actionrnn.model.heads import Head
from actionrnn.model.state_policy import LongState, Scorer, advance_states, with_period

PARTS = ("now", "so_far")


@pytest.fixture
def head() -> Head:
    torch.manual_seed(0)
    return Head(HeadConfig(kind="lstm", hidden_size=4), 6, 3).eval()


@torch.inference_mode()
def run(
    head: Head,
    policy: StatePolicy,
    features: torch.Tensor,
    times: np.ndarray,
    part: str = "now",
) -> tuple[np.ndarray, list[list[float]]]:
    """The logits (T, K), and when each row of the state began, at every step."""
    state, logits, births = LongState(policy), [], []
    for value, seconds in zip(features.numpy(), times, strict=True):
        [answers] = advance_states(head, [state], value[None], [float(seconds)])
        births.append(list(state.births))
        logits.append(answers[PARTS.index(part)].numpy())
    return np.stack(logits), births


@torch.inference_mode()
def whole(head: Head, features: torch.Tensor) -> np.ndarray:
    return head(features[None])[0].numpy()


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(60, 6, generator=torch.Generator().manual_seed(1))


def test_kept_it_is_the_whole_clip(head: Head, features: torch.Tensor) -> None:
    answers, births = run(head, StatePolicy(kind="keep"), features, np.arange(60) / 10)
    np.testing.assert_allclose(answers, whole(head, features), atol=1e-5)
    assert births == [[0.0]] * 60


def test_restarted_the_more_confident_of_two_overlapping_states_answers(
    head: Head, features: torch.Tensor
) -> None:
    times = np.arange(60) / 10
    policy = StatePolicy(kind="restart", period_seconds=1.0)
    answers, births = run(head, policy, features, times)
    young_answers = 0
    for place, (seconds, begins) in enumerate(zip(times, births, strict=True)):
        if seconds >= 2.5:  # no blind gap: one is always at least half a period old
            assert 0.5 - 1e-9 <= seconds - begins[0] < 1.0 + 1e-9
        rows = [
            whole(head, features[int(np.searchsorted(times, begin - 1e-9)) : place + 1])[-1]
            for begin in begins
        ]
        best = int(np.argmax([np.exp(row).max() / np.exp(row).sum() for row in rows]))
        np.testing.assert_allclose(answers[place], rows[best], atol=1e-5)
        young_answers += best
    assert {len(begins) for begins in births} == {1, 2}
    assert young_answers > 0


def test_the_first_state_is_alone_for_two_periods(head: Head, features: torch.Tensor) -> None:
    policy = StatePolicy(kind="restart", period_seconds=1.0)
    answers, births = run(head, policy, features, np.arange(60) / 10)
    assert births[:20] == [[0.0]] * 20
    assert births[20] == [0.0, 2.0]
    np.testing.assert_allclose(answers[:20], whole(head, features)[:20], atol=1e-5)


def test_by_default_the_first_state_is_alone_for_a_clip_of_the_training() -> None:
    assert with_period(StatePolicy(), clip_seconds=7.0).period_seconds == 3.5
    assert with_period(StatePolicy(period_seconds=2.0), clip_seconds=7.0).period_seconds == 2.0


def test_what_is_forgotten_no_longer_matters(head: Head, features: torch.Tensor) -> None:
    """Two different pasts, then the same present: the answers meet at the half-life's pace."""
    times, other = np.arange(60) / 10, features.clone()
    other[:20] = torch.randn(20, 6)

    def gap(policy: StatePolicy) -> np.ndarray:
        ours, theirs = (run(head, policy, past, times, "so_far")[0] for past in (features, other))
        return np.abs(ours - theirs).max(axis=1)

    forgetting = gap(StatePolicy(kind="forget", half_life_steps=2))
    assert forgetting[19] > 1e-2
    assert forgetting[-1] < 1e-4
    assert gap(StatePolicy(kind="keep"))[-1] > 1e-2


def test_a_very_long_memory_forgets_nothing(head: Head, features: torch.Tensor) -> None:
    policy = StatePolicy(kind="forget", half_life_steps=1e9)
    answers, _ = run(head, policy, features, np.arange(60) / 10)
    np.testing.assert_allclose(answers, whole(head, features), atol=1e-5)


@pytest.mark.parametrize("kind", ["keep", "restart", "forget"])
@pytest.mark.parametrize("block", [1, 7, 60])
def test_blocks_of_any_size_score_as_single_steps(
    head: Head, features: torch.Tensor, kind: Any, block: int
) -> None:
    times = np.arange(60) / 10
    policy = StatePolicy(kind=kind, period_seconds=1.0)
    answers, _ = run(head, policy, features, times)
    scorer, values = Scorer(head, policy), features.numpy()
    parts = [slice(first, first + block) for first in range(0, 60, block)]
    found = np.concatenate([scorer.push(values[part], times[part]).now for part in parts])
    expected = torch.from_numpy(answers).softmax(dim=-1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert scorer.push(values[:0], times[:0]).now.shape == (0, 3)


@pytest.mark.parametrize("block", [1, 7, 60])
def test_so_far_is_the_mean_of_what_was_said_at_each_step(
    head: Head, features: torch.Tensor, block: int
) -> None:
    scorer, times = Scorer(head, StatePolicy(kind="keep")), np.arange(60) / 10
    blocks = [
        scorer.push(features.numpy()[first : first + block], times[first : first + block])
        for first in range(0, 60, block)
    ]
    now, so_far = (np.concatenate([getattr(one, part) for one in blocks]) for part in PARTS)
    mean = np.log(now).cumsum(axis=0) / np.arange(1, 61)[:, None]
    expected = torch.from_numpy(mean).softmax(dim=-1).numpy()
    np.testing.assert_allclose(so_far, expected, atol=1e-5)
