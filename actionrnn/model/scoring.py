"""Features become scores step after step; one state is kept from the first step to the last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn.features.backbone import set_own_threads
from actionrnn.model.heads import Head, State


@dataclass(frozen=True)
class Readouts:
    """What a head says after each of n steps: probabilities, in the order of its labels."""

    now: NDArray[np.float32]
    """(n, K)."""
    so_far: NDArray[np.float32]
    """(n, K), of all steps of the recording up to each."""

    @classmethod
    def of(cls, logits: Sequence[tuple[torch.Tensor, torch.Tensor]], num_classes: int) -> Readouts:
        """From the logits of now and of so far, (K,) each, of n steps; n may be 0."""
        if not logits:
            return cls(*(np.empty((0, num_classes), np.float32) for _ in range(2)))
        parts = zip(*logits, strict=True)
        now, so_far = (
            torch.stack(part).softmax(dim=-1, dtype=torch.float32).cpu().numpy() for part in parts
        )
        return cls(now, so_far)


class Scorer:
    """The answers at every step of one recording, block after block, in constant memory."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._state = head.initial_state(1, head.mean.device)

    @torch.inference_mode()
    def push(self, values: NDArray[np.float32]) -> Readouts:
        """The answers after each of the next n steps, of features (n, D)."""
        logits: list[tuple[torch.Tensor, torch.Tensor]] = []
        with one_thread():
            for value in values:
                [(now, self._state)] = step_together(self._head, [self._state], value[None])
                logits.append((now, self._state["so_far"][0]))
        return Readouts.of(logits, self._head.num_classes)


def step_together(
    head: Head, states: Sequence[State], values: NDArray[np.float32]
) -> list[tuple[torch.Tensor, State]]:
    """One step of each of B recordings, in one call of the head.

    Args:
        states: of each recording, of one row.
        values: features, (B, D).

    Returns:
        The logits of now (K,) and the new state of each; the states given stay as they are.
    """
    joined = {name: torch.cat([state[name] for state in states]) for name in states[0]}
    logits, new = head.step(torch.tensor(values, device=head.mean.device), joined)
    parts = {name: torch.split(value, 1) for name, value in new.items()}
    # clones: a view would keep the whole batch alive
    rows = ({name: part[row].clone() for name, part in parts.items()} for row in range(len(states)))
    return list(zip(logits, rows, strict=True))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For work so small that waking other threads for it takes longer than doing it."""
    before = set_own_threads(1)
    try:
        yield
    finally:
        set_own_threads(before, others=before)
