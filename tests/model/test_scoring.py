"""One state, kept from the first step to the last: in any blocks the numbers of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actionrnn.config import HeadConfig, HeadKind
from actionrnn.model.heads import Head, read_out
from actionrnn.model.scoring import Readouts, Scorer, step_together

PARTS = ("now", "so_far")


def make_head(kind: HeadKind = "lstm") -> Head:
    torch.manual_seed(0)
    head = Head(HeadConfig(kind=kind, hidden_size=4), 6, 3).eval()
    if head.residual is not None:  # it starts as zeros
        torch.nn.init.normal_(head.residual.weight, std=0.3)
    return head


def features(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def in_blocks(head: Head, values: np.ndarray, ends: list[int]) -> Readouts:
    scorer = Scorer(head.trained())
    found = [scorer.push(block) for block in np.split(values, ends)]
    return Readouts(*(np.concatenate([getattr(one, part) for one in found]) for part in PARTS))


@pytest.mark.parametrize("ends", [[], [7, 7, 30, 59], list(range(60))])
def test_blocks_of_any_size_score_as_the_whole(ends: list[int]) -> None:
    head, values = make_head(), features(60)
    found, whole = in_blocks(head, values, ends), read_out(head, values)
    for part in PARTS:
        np.testing.assert_allclose(getattr(found, part), getattr(whole, part), atol=1e-5)
        assert getattr(found, part).dtype == np.float32


def test_after_very_many_steps_too() -> None:
    """Half of one scene and half of another, so that what is said so far goes on to move."""
    head, values = make_head("gru"), features(20_000)
    values[10_000:] += 1
    ends = np.sort(np.random.default_rng(2).integers(0, len(values), 30)).tolist()
    found, whole = in_blocks(head, values, ends), read_out(head, values)
    for part in PARTS:
        np.testing.assert_allclose(getattr(found, part), getattr(whole, part), atol=1e-4)


def test_so_far_is_the_mean_of_what_was_said_at_each_step() -> None:
    found = in_blocks(make_head(), features(60), [10, 20])
    mean = np.log(found.now).cumsum(axis=0) / np.arange(1, 61)[:, None]
    expected = torch.from_numpy(mean).softmax(dim=-1).numpy()
    np.testing.assert_allclose(found.so_far, expected, atol=1e-5)


def test_recordings_that_step_together_do_not_touch_each_other() -> None:
    head, values = make_head(), np.stack([features(9, seed) for seed in range(3)])
    trained = head.trained()
    states = [trained.initial_state() for _ in values]
    start = [{name: value.copy() for name, value in state.items()} for state in states]
    before, now = states, []
    for step in range(9):
        answers = step_together(trained, states, values[:, step])
        states = [state for _, state in answers]
        now.append(trained.scores(np.stack([logits for logits, _ in answers])))
    for row, mine in enumerate(values):
        expected = read_out(head, mine).now
        np.testing.assert_allclose(np.stack(now)[:, row], expected, atol=1e-5)
    for state, unchanged in zip(before, start, strict=True):
        assert state.keys() == unchanged.keys()
        for name, value in state.items():
            np.testing.assert_array_equal(value, unchanged[name])


def test_the_features_given_may_be_overwritten() -> None:
    torch.manual_seed(0)
    head = Head(HeadConfig(hidden_size=4, temporal_differences=True), 6, 3).eval()
    values, scorer, found = features(20), Scorer(head.trained()), []
    for block in np.split(values, 4):
        buffer = block.copy()
        found.append(scorer.push(buffer).now)
        buffer[:] = 0
    np.testing.assert_allclose(np.concatenate(found), read_out(head, values).now, atol=1e-5)
