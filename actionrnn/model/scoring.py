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
    """What a head says of each of n steps: `Head.scores`, in the order of its labels."""

    now: NDArray[np.float32]
    """(n, K)."""
    so_far: NDArray[np.float32]
    """(n, K), of all steps of the recording up to each."""

    @classmethod
    def of(cls, logits: Sequence[tuple[torch.Tensor, torch.Tensor]], head: Head) -> Readouts:
        """From a head's logits of now and of so far, (K,) each, of n steps; n may be 0."""
        if not logits:
            return cls(*(np.empty((0, head.num_classes), np.float32) for _ in range(2)))
        parts = zip(*logits, strict=True)
        now, so_far = (head.scores(torch.stack(part)).cpu().numpy() for part in parts)
        return cls(now, so_far)

    @classmethod
    def joined(cls, parts: Sequence[Readouts]) -> Readouts:
        """Those of consecutive steps, one after the other."""
        return cls(
            np.concatenate([part.now for part in parts]),
            np.concatenate([part.so_far for part in parts]),
        )


class Scorer:
    """The answers for every step of one recording, block after block, in constant memory."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._state = head.initial_state(1, head.mean.device)
        self._unanswered = 0

    @torch.inference_mode()
    def push(self, values: NDArray[np.float32]) -> Readouts:
        """The answers that the next n steps make known, of features (n, D).

        They are those for the next steps that have none: for each step once, in order. With
        `head.delay_steps` the first answers come that much later, the last ones with `finish`.
        """
        with one_thread():
            logits, self._state = steps_alone(self._head, self._state, values)
        known = num_known(self._head, self._unanswered, len(values))
        self._unanswered += len(values) - known
        return Readouts.of(logits[len(logits) - known :], self._head)

    @torch.inference_mode()
    def finish(self) -> Readouts:
        """The answers for the last `delay_steps` steps, of a recording that has ended."""
        with one_thread():
            logits = last_answers(self._head, self._state, self._unanswered)
        self._unanswered = 0
        return Readouts.of(logits, self._head)


@torch.inference_mode()
def read_out(head: Head, values: NDArray[np.float32]) -> Readouts:
    """The answers for every step of one sequence of features (T, D)."""
    head.eval()
    logits = head(torch.from_numpy(np.ascontiguousarray(values))[None].to(head.mean.device))
    now, so_far = (head.scores(part)[0].cpu().numpy() for part in (logits, head.so_far(logits)))
    return Readouts(now, so_far)


def num_known(head: Head, unanswered: int, new: int) -> int:
    """How many answers become known with `new` steps, `unanswered` ones being before them."""
    return max(0, unanswered + new - head.delay_steps)


def last_answers(
    head: Head, state: State, unanswered: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The logits, as of `Readouts.of`, for the last steps of a recording that has ended here.

    Args:
        state: of one row; it stays as it is.
        unanswered: the number of those steps.
    """
    if not unanswered:
        return []
    repeated = state["previous"].expand(head.delay_steps, -1).cpu().numpy()
    return steps_alone(head, state, repeated)[0][-unanswered:]


def steps_alone(
    head: Head, state: State, values: NDArray[np.float32]
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], State]:
    """The logits of now and of so far after each step of one recording, and its new state.

    Args:
        state: of one row.
        values: features, (n, D).
    """
    logits = []
    for value in values:
        [(now, state)] = step_together(head, [state], value[None])
        logits.append((now, state["so_far"][0]))
    return logits, state


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
