"""What becomes of the state in a long recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actionrnn.config import HeadConfig
from actionrnn.recurrent.heads import Head
from actionrnn.recurrent.state_policy import LongState, prepare
from actionrnn.stream_config import StatePolicy

BLANK = np.zeros((16, 16, 3), np.uint8)
WHITE = np.full((16, 16, 3), 255, np.uint8)


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
    squares: list[np.ndarray] | None = None,
) -> tuple[np.ndarray, list[list[float]]]:
    """The answers (T, K), and when each row of the state began, at every step."""
    state, logits, births = LongState(), [], []
    for place, seconds in enumerate(times):
        square = BLANK if squares is None else squares[place]
        rows = prepare(state, policy, head, float(seconds), square)
        births.append(list(state.births))
        repeated = features[place].repeat(len(rows["steps"]), 1)
        answers, state.rows = head.step(repeated, rows)
        logits.append(answers[0].numpy())
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


def test_restarted_each_answer_is_that_of_a_state_of_half_to_a_whole_period(
    head: Head, features: torch.Tensor
) -> None:
    times = np.arange(60) / 10
    policy = StatePolicy(kind="restart", period_seconds=2.0)
    answers, births = run(head, policy, features, times)
    for place, (seconds, begins) in enumerate(zip(times, births, strict=True)):
        age = seconds - begins[0]
        assert age < 2.0 + 1e-9
        assert age >= 1.0 - 1e-9 or seconds < 1.0  # no blind gap: never younger
        first = int(np.searchsorted(times, begins[0] - 1e-9))
        expected = whole(head, features[first : place + 1])[-1]
        np.testing.assert_allclose(answers[place], expected, atol=1e-5)
    assert max(map(len, births)) == 2


def test_before_the_first_period_ends_nothing_is_lost(head: Head, features: torch.Tensor) -> None:
    answers, _ = run(head, StatePolicy(kind="restart", period_seconds=100), features, np.arange(60))
    np.testing.assert_allclose(answers[:100], whole(head, features), atol=1e-5)


def test_what_is_forgotten_no_longer_matters(head: Head, features: torch.Tensor) -> None:
    """Two different pasts, then the same present: the answers meet at the half-life's pace."""
    times, other = np.arange(60) / 10, features.clone()
    other[:20] = torch.randn(20, 6)

    def gap(policy: StatePolicy) -> np.ndarray:
        ours, theirs = (run(head, policy, past, times)[0] for past in (features, other))
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
def test_a_cut_begins_anew(head: Head, features: torch.Tensor, kind: str) -> None:
    policy = StatePolicy(kind=kind, period_seconds=100, half_life_steps=1e9, reset_at_cuts=True)
    squares = [BLANK] * 25 + [WHITE] * 35
    answers, births = run(head, policy, features, np.arange(60) / 10, squares)
    expected = np.concatenate([whole(head, features[:25]), whole(head, features[25:])])
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    assert births[24][0] == 0.0
    assert births[25] == [2.5]


def test_motion_is_no_cut(head: Head, features: torch.Tensor) -> None:
    """A square wanders over a gradient; then the picture turns into its negative."""
    background = np.linspace(0, 200, 64).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    squares = []
    for step in range(60):
        picture = background.copy()
        picture[20:40, step // 2 : step // 2 + 20] = (220, 40, 40)
        squares.append(picture if step < 40 else 255 - picture)
    policy = StatePolicy(kind="keep", reset_at_cuts=True)
    _, births = run(head, policy, features, np.arange(60) / 10, squares)
    assert [begins[0] for begins in births] == [0.0] * 40 + [4.0] * 20
