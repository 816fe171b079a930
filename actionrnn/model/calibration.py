"""Temperature scaling: scores that are right as often as they say.

A head's logits are divided by one number, the temperature, which leaves the order of the classes as
it is (Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017). It
is fitted on clips that the head was not trained on. A multi-label head has one, too, for the logits
of all its classes, under a sigmoid and binary cross-entropy.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn.model.heads import Head

COLDEST, HOTTEST = 1e-2, 1e2
HALVINGS = 60  # of their ratio, on a scale of logarithms: far below single precision
SMALLEST = float(np.finfo(np.float32).tiny)
"""A probability below it is taken for it: its logarithm must be finite."""
LARGEST = 1 - 2**-25
"""The same, above it, of a sigmoid: single precision rounds what lies between to 1."""

Logits = NDArray[np.float64]


def fit_temperature(scores: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """The temperature at which N answers are most likely.

    A target has not probability 1 but (N + 1) / (N + 2), and the other classes share the rest:
    Laplace's rule of succession for right and wrong. Otherwise the temperature would fall to 0 as
    soon as all of N answers are right, and the scores of other clips would be 1, right or wrong
    (Platt, "Probabilistic Outputs for Support Vector Machines", 1999, does so for two classes).

    Args:
        scores: probabilities at temperature 1, (N, K): their logarithms serve as logits.
        targets: (N,).

    Returns:
        a temperature from `COLDEST` to `HOTTEST`: above 1 the scores were too sure of themselves,
        below 1 not sure enough.

    Raises:
        ValueError: there are no answers, or only one class.
    """
    count, num_classes = scores.shape
    if count == 0 or num_classes < 2:
        raise ValueError(f"a temperature needs answers and classes, not {scores.shape}")
    truth = np.full(scores.shape, 1 / (count + 2) / (num_classes - 1))
    truth[np.arange(count), targets] = (count + 1) / (count + 2)
    return _most_likely(_logits(scores), truth, _softmax)


def fit_label_temperature(scores: NDArray[np.float32], is_on: NDArray[np.bool_]) -> float:
    """The temperature at which N answers of a multi-label head are most likely.

    Each class of each answer is a case of its own; what is on has probability (N + 1) / (N + 2),
    what is off 1 / (N + 2), for the reason of `fit_temperature`.

    Args:
        scores: probabilities at temperature 1, each of its class alone, (N, K).
        is_on: what is true, (N, K).

    Returns:
        as of `fit_temperature`.

    Raises:
        ValueError: there are no answers.
    """
    count = len(scores)
    if scores.size == 0:
        raise ValueError(f"a temperature needs answers, not {scores.shape}")
    truth = np.where(is_on, count + 1, 1) / (count + 2)
    return _most_likely(_label_logits(scores), truth, _sigmoid)


def at_temperature(
    scores: NDArray[np.float32], temperature: float, *, multi_label: bool = False
) -> NDArray[np.float32]:
    """What probabilities (N, K) at temperature 1 are at another.

    Args:
        multi_label: each is of its class alone. Those that were rounded to 1 are then taken for
            `LARGEST`.
    """
    if multi_label:
        return _sigmoid(_label_logits(scores) / temperature).astype(np.float32)
    return _softmax(_logits(scores) / temperature).astype(np.float32)


def calibrated(head: Head, temperature: float) -> Head:
    """A copy of a head whose logits are divided by the temperature.

    The logits are linear in the classifier and the residual path, and so are the logits of so far
    in them: these weights are divided, and nothing else needs to know of a temperature.
    """
    found = copy.deepcopy(head)
    with torch.no_grad():
        for layer in (found.classifier, found.residual):
            for weights in () if layer is None else layer.parameters():
                weights.div_(temperature)
    return found


def _most_likely(logits: Logits, truth: Logits, scores_of: Callable[[Logits], Logits]) -> float:
    """The temperature of the least cross-entropy, with a softmax or a sigmoid: (N, K) each."""
    wanted = (truth * logits).sum()
    # the loss is convex in 1 / T, and its slope there is sum (p - truth) logits
    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_sure = (scores_of(logits / math.exp(middle)) * logits).sum() > wanted
        low, high = (middle, high) if too_sure else (low, middle)
    return math.exp((low + high) / 2)


def _logits(scores: NDArray[np.float32]) -> Logits:
    return np.log(np.maximum(scores, SMALLEST).astype(np.float64))


def _label_logits(scores: NDArray[np.float32]) -> Logits:
    within = np.clip(scores.astype(np.float64), SMALLEST, LARGEST)
    found: Logits = np.log(within) - np.log1p(-within)
    return found


def _softmax(logits: Logits) -> Logits:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Logits = weights / weights.sum(axis=1, keepdims=True)
    return found


def _sigmoid(logits: Logits) -> Logits:
    found: Logits = np.exp(-np.logaddexp(0, -logits))  # without overflow
    return found
