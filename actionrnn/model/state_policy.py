"""What becomes of a head's state in a long recording: kept, restarted, faded.

A stream has one row of state, or two where a second one grows up beside the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn.config import StatePolicy
from actionrnn.features.provenance import Features
from actionrnn.model.heads import Head, State

KEEP = StatePolicy(kind="keep")


@dataclass
class LongState:
    """The state of one stream under a policy."""

    rows: State | None = None
    """Of `births` rows; None before the first step."""
    births: list[float] = field(default_factory=list)
    """When each row began, in seconds."""


def prepare(state: LongState, policy: StatePolicy, head: Head, pts_seconds: float) -> State:
    """The rows that make the next step; `state` changes, too."""
    if policy.kind == "forget" and state.rows is not None:
        state.rows = _faded(state.rows, 0.5 ** (1 / policy.half_life_steps))
    if not state.births or (policy.kind == "restart" and _is_time(state, policy, pts_seconds)):
        _add_row(state, head, pts_seconds)
    assert state.rows is not None
    return state.rows


def most_confident(logits: torch.Tensor) -> torch.Tensor:
    """Of the answers (n, K) of all rows the one (K,) with the highest probability."""
    if len(logits) == 1:
        return logits[0]
    return logits[logits.softmax(dim=-1).amax(dim=-1).argmax()]


@torch.inference_mode()
def long_scores(head: Head, features: Features, policy: StatePolicy) -> NDArray[np.float32]:
    """Probabilities at every step under a policy: (T, D) -> (T, K)."""
    head.eval()
    state, logits = LongState(), []
    values = torch.from_numpy(np.ascontiguousarray(features.values)).to(head.mean.device)
    for seconds, value in zip(features.pts_seconds.tolist(), values, strict=True):
        rows = prepare(state, policy, head, seconds)
        answers, state.rows = head.step(value.expand(len(rows["steps"]), -1), rows)
        logits.append(most_confident(answers))
    scores: NDArray[np.float32] = torch.stack(logits).softmax(dim=-1).cpu().numpy()
    return scores


def with_period(policy: StatePolicy, clip_seconds: float) -> StatePolicy:
    """The policy for a head that was trained on clips of this length."""
    if policy.period_seconds is not None:
        return policy
    return replace(policy, period_seconds=clip_seconds / 2)


def _is_time(state: LongState, policy: StatePolicy, pts_seconds: float) -> bool:
    """Whether the next row is due: the first is alone for as long as it saw in training."""
    assert policy.period_seconds is not None
    wait = policy.period_seconds * (2 if len(state.births) == 1 else 0.5)
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
