"""Features become scores step after step; one state is kept from the first step to the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrnn.model.trained_head import State, TrainedHead, Values

Logits = tuple[Values, NDArray[np.float64]]
"""Of now and of so far, (K,) each."""


@dataclass(frozen=True)
class Readouts:
    """What a head says of each of n steps: `Head.scores`, in the order of its labels."""

    now: NDArray[np.float32]
    """(n, K)."""
    so_far: NDArray[np.float32]
    """(n, K), of all steps of the recording up to each."""

    @classmethod
    def of(cls, logits: Sequence[Logits], head: TrainedHead) -> Readouts:
        """From a head's logits of now and of so far, (K,) each, of n steps; n may be 0."""
        if not logits:
            return cls(*(np.empty((0, head.num_classes), np.float32) for _ in range(2)))
        parts = zip(*logits, strict=True)
        now, so_far = (head.scores(np.stack(part)) for part in parts)
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

    def __init__(self, head: TrainedHead) -> None:
        self._head = head
        self._state = head.initial_state()
        self._unanswered = 0

    def push(self, values: NDArray[np.float32]) -> Readouts:
        """The answers that the next n steps make known, of features (n, D).

        They are those for the next steps that have none: for each step once, in order. With
        `head.delay_steps` the first answers come that much later, the last ones with `finish`.
        """
        logits, self._state = steps_alone(self._head, self._state, values)
        known = num_known(self._head, self._unanswered, len(values))
        self._unanswered += len(values) - known
        return Readouts.of(logits[len(logits) - known :], self._head)

    def finish(self) -> Readouts:
        """The answers for the last `delay_steps` steps, of a recording that has ended."""
        logits = last_answers(self._head, self._state, self._unanswered)
        self._unanswered = 0
        return Readouts.of(logits, self._head)


def score_sequence(head: TrainedHead, values: Values) -> Readouts:
    """The answers for every step of one whole recording, of features (T, D)."""
    scorer = Scorer(head)
    return Readouts.joined([scorer.push(values), scorer.finish()])


def num_known(head: TrainedHead, unanswered: int, new: int) -> int:
    """How many answers become known with `new` steps, `unanswered` ones being before them."""
    return max(0, unanswered + new - head.delay_steps)


def last_answers(head: TrainedHead, state: State, unanswered: int) -> list[Logits]:
    """The logits, as of `Readouts.of`, for the last steps of a recording that has ended here.

    Args:
        state: of one row; it stays as it is.
        unanswered: the number of those steps.
    """
    if not unanswered:
        return []
    repeated = np.repeat(state["previous"], head.delay_steps, axis=0)
    return steps_alone(head, state, repeated)[0][-unanswered:]


def steps_alone(
    head: TrainedHead, state: State, values: NDArray[np.float32]
) -> tuple[list[Logits], State]:
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
    head: TrainedHead, states: Sequence[State], values: NDArray[np.float32]
) -> list[tuple[Values, State]]:
    """One step of each of B recordings, in one call of the head.

    Args:
        states: of each recording, of one row.
        values: features, (B, D).

    Returns:
        The logits of now (K,) and the new state of each; the states given stay as they are.
    """
    joined = {name: np.concatenate([state[name] for state in states]) for name in states[0]}
    logits, new = head.step(values, joined)
    # copies: a view would keep the whole batch alive
    rows = ({name: part[[row]] for name, part in new.items()} for row in range(len(states)))
    return list(zip(logits, rows, strict=True))
