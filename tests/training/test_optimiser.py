"""The optimiser against torch's own, and the averaged weights against their formula."""

from __future__ import annotations

import copy

import pytest
import torch

from actionrnn.config import HeadConfig, TrainConfig
from actionrnn.model.heads import Head
from actionrnn.training.optimiser import (
    adamw_moments,
    adamw_step,
    average_decay,
    averaged,
    follow,
)
from tests.training.test_fit import KINDS, SIZE, same


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_that_of_torchs_adamw(kind: str) -> None:
    torch.manual_seed(0)
    config = TrainConfig(weight_decay=0.1)
    head = Head(HeadConfig(kind=kind, hidden_size=4, dropout=0.0), SIZE, 2)
    other = copy.deepcopy(head)
    optimiser = torch.optim.AdamW(other.parameters(), fused=True)
    moments = adamw_moments(head)
    for rate in (1e-2, 1e-3, 5e-2):
        values = torch.randn(3, 5, SIZE)
        for one in (head, other):
            one.zero_grad()
            one(values).square().sum().backward()
        adamw_step(head, moments, rate, config)
        optimiser.param_groups[0].update(lr=rate, weight_decay=0.1)
        optimiser.step()
        assert same(head, other)


def test_the_decay_of_the_average_rises() -> None:
    assert [average_decay(step, 0.999) for step in (1, 8)] == [2 / 11, 9 / 18]
    assert average_decay(10**6, 0.999) == 0.999
    assert average_decay(10**6, 0) == 0


def test_the_average_is_the_written_recurrence() -> None:
    torch.manual_seed(0)
    head = Head(HeadConfig(hidden_size=4), SIZE, 2)
    average = averaged(head)
    expected: list[torch.Tensor] = []
    for step in range(12):
        with torch.no_grad():
            for weight in head.parameters():
                weight.add_(torch.randn_like(weight))
        follow(average, head, average_decay(step, 0.5))
        decay = min(0.5, (1 + step) / (10 + step)) if step else 0
        before = expected or [weight.detach() for weight in head.parameters()]
        expected = [
            old.lerp(weight.detach(), 1 - decay)
            for old, weight in zip(before, head.parameters(), strict=True)
        ]
    assert all(map(torch.equal, average.parameters(), expected))
