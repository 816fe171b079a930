"""How a head's state is carried through a long recording: kept, restarted or faded.

A recording has one row of state, or two where a second one grows up beside the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn.config import StatePolicy
from actionrnn.features.backbone import set_own_threads
from actionrnn.model.heads import Head, State

KEEP = StatePolicy(kind="keep")


@dataclass
class LongState:
    """The state of one recording under a policy."""

    policy: StatePolicy
    """One that restarts has its `period_seconds`."""
    rows: State | None = None
    """Of `births` rows; None before the first step."""
    births: list[float] = field(default_factory=list)
    """When each row began, in seconds."""


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
        now, so_far = (torch.stack(part).softmax(dim=-1).cpu().numpy() for part in parts)
        return cls(now, so_far)


class Scorer:
    """The answers at every step of one recording, block after block.

    Args:
        policy: of the state; one that restarts has its `period_seconds`.
    """

    def __init__(self, head: Head, policy: StatePolicy) -> None:
        self._head = head
        self._state = LongState(policy)

    @torch.inference_mode()
    def push(self, values: NDArray[np.float32], pts_seconds: NDArray[np.float64]) -> Readouts:
        """The answers after each of the next n steps.

        Args:
            values: features, (n, D).
            pts_seconds: (n,), never falling, those of earlier blocks included.
        """
        logits: list[tuple[torch.Tensor, torch.Tensor]] = []
        with one_thread():
            for value, seconds in zip(values, pts_seconds.tolist(), strict=True):
                logits += advance_states(self._head, [self._state], value[None], [seconds])
        return Readouts.of(logits, self._head.num_classes)


def advance_states(
    head: Head,
    states: Sequence[LongState],
    values: NDArray[np.float32],
    pts_seconds: Sequence[float],
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """One step of several recordings, in one call of the head; the states change.

    Args:
        values: features, (B, D), one row for each state.
        pts_seconds: the time of each.

    Returns:
        The logits of now and of so far, (K,) each, of each recording.
    """
    rows = [_prepare(*each, head) for each in zip(states, pts_seconds, strict=True)]
    sizes = [len(state["steps"]) for state in rows]
    inputs = torch.from_numpy(np.repeat(values, sizes, axis=0)).to(head.mean.device)
    joined = {name: torch.cat([state[name] for state in rows]) for name in rows[0]}
    logits, new = head.step(inputs, joined)
    parts = {name: torch.split(value, sizes) for name, value in new.items()}
    for number, state in enumerate(states):
        # clones: a view would keep the whole batch alive
        state.rows = {name: value[number].clone() for name, value in parts.items()}
    so_far = torch.split(new["so_far"], sizes)
    # the oldest row has seen the most
    return [
        (_most_confident(part), rows[0])
        for part, rows in zip(torch.split(logits, sizes), so_far, strict=True)
    ]


def with_period(policy: StatePolicy, clip_seconds: float) -> StatePolicy:
    """The policy for a head that was trained on clips of this length."""
    if policy.period_seconds is not None:
        return policy
    return replace(policy, period_seconds=clip_seconds / 2)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For work so small that waking other threads for it takes longer than doing it."""
    before = set_own_threads(1)
    try:
        yield
    finally:
        set_own_threads(before, others=before)


def _prepare(state: LongState, pts_seconds: float, head: Head) -> State:
    """The rows that make the next step; `state` changes, too."""
    policy = state.policy
    if policy.kind == "forget" and state.rows is not None:
        state.rows = _faded(state.rows, 0.5 ** (1 / policy.half_life_steps))
    if not state.births or (policy.kind == "restart" and _is_time(state, pts_seconds)):
        _add_row(state, head, pts_seconds)
    assert state.rows is not None
    return state.rows


def _most_confident(logits: torch.Tensor) -> torch.Tensor:
    """Of the answers (n, K) of all rows the one (K,) with the highest probability."""
    if len(logits) == 1:
        return logits[0]
    return logits[logits.softmax(dim=-1).amax(dim=-1).argmax()]


def _is_time(state: LongState, pts_seconds: float) -> bool:
    """Whether the next row is due: the first is alone for as long as it saw in training."""
    assert state.policy.period_seconds is not None
    wait = state.policy.period_seconds * (2 if len(state.births) == 1 else 0.5)
    return pts_seconds - state.births[-1] >= wait - 1e-9


def _faded(rows: State, factor: float) -> State:
    """Count the steps so far less, and take the recurrent state towards its beginning."""
    fading = ("steps", "hidden", "cell")
    return {name: value * factor if name in fading else value for name, value in rows.items()}


def _add_row(state: LongState, head: Head, pts_seconds: float) -> None:
    """One more row at the end; of three the oldest goes."""
    new = head.initial_state(1, head.mean.device)
    kept = state.births[-1:]
    if state.rows is None:
        state.rows = new
    else:
        rows = {name: value[-len(kept) :] for name, value in state.rows.items()}
        state.rows = {name: torch.cat([rows[name], new[name]]) for name in new}
    state.births = [*kept, pts_seconds]
