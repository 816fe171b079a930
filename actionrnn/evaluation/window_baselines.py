"""Baselines of a kept state at the steps of a recording: only the last steps are looked at.

They say what a window costs or brings beside one state that is kept for ever.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn.model.heads import Head

MOST_STEPS = 4000
"""Windows x steps of one batch: what bounds the memory."""

Values = NDArray[np.float32]


@torch.inference_mode()
def sliding_mean_pool(head: Head, values: Values, window: int) -> Values:
    """A head without a state: the scores of the mean of its logits over the last steps.

    Args:
        head: of the kind `mean`.
        values: the features of one recording, (T, D).
        window: the number of steps, from 1; the first steps have fewer before them.

    Returns:
        the probabilities at each step, (T, K).

    Raises:
        ValueError: the head has a state, which remembers more than the window; or the window
            has no steps.
    """
    _require_steps(window)
    if head.core is not None:
        raise ValueError(f"sliding_mean_pool: a {head.config.kind} head has a state; use mean")
    head.eval()
    logits = head(torch.from_numpy(np.ascontiguousarray(values))[None].to(head.mean.device))[0]
    # in double precision: the differences of an hour's sums stay exact enough
    sums = torch.cat([torch.zeros_like(logits[:1]), logits]).double().cumsum(dim=0)
    stops = torch.arange(1, len(values) + 1, device=sums.device)
    begins = (stops - window).clamp(min=0)
    means = (sums[stops] - sums[begins]) / (stops - begins)[:, None]
    scores: Values = head.scores(means).cpu().numpy()
    return scores


@torch.inference_mode()
def restarted_per_window(head: Head, values: Values, window: int) -> Values:
    """The answer so far of a head that starts anew in each window of the last steps.

    It costs `window` times as much as a kept state. This is how a classifier of clips is run
    over a recording where its state is thrown away.

    Args:
        head: of any kind.
        values: the features of one recording, (T, D).
        window: the number of steps, from 1; the first windows are shorter.

    Returns:
        the probabilities at each window's end, (T, K).

    Raises:
        ValueError: the window has no steps.
    """
    _require_steps(window)
    head.eval()
    answers = []
    for batch, lengths in _windows(values, window):
        whole, known = (torch.from_numpy(part).to(head.mean.device) for part in (batch, lengths))
        answers.append(head.clip_logits(head(whole, known), known))
    scores: Values = head.scores(torch.cat(answers)).cpu().numpy()
    return scores


def _windows(values: Values, window: int) -> Iterator[tuple[Values, NDArray[np.int64]]]:
    """The window that ends with each step, as batches (B, window, D) in the order of time.

    With their lengths (B,): the first windows are shorter.
    """
    window = min(window, len(values))
    rows = max(1, MOST_STEPS // window)
    for begin in range(0, len(values), rows):
        stops = np.arange(begin, min(begin + rows, len(values))) + 1
        firsts = np.maximum(stops - window, 0)
        yield np.stack([values[first : first + window] for first in firsts]), stops - firsts


def _require_steps(window: int) -> None:
    if window < 1:
        raise ValueError(f"a window must have at least one step, got {window}")
