"""Temperature scaling: scores that are right as often as they say.

A head's logits are divided by one number, the temperature, which leaves the order of the classes as
it is (Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017). It
is fitted on clips that the head was not trained on.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn.model.heads import Head

COLDEST, HOTTEST = 1e-2, 1e2
HALVINGS = 60  # of their ratio, on a scale of logarithms: far below single precision
SMALLEST = float(np.finfo(np.float32).tiny)
"""A probability below it is taken for it: its logarithm must be finite."""


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
    logits = _logits(scores)
    truth = np.full(scores.shape, 1 / (count + 2) / (num_classes - 1))
    truth[np.arange(count), targets] = (count + 1) / (count + 2)
    wanted = (truth * logits).sum()
    # the loss is convex in 1 / T, and its slope there is sum (p - truth) logits
    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_sure = (_softmax(logits / math.exp(middle)) * logits).sum() > wanted
        low, high = (middle, high) if too_sure else (low, middle)
    return math.exp((low + high) / 2)


def at_temperature(scores: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """What probabilities (N, K) at temperature 1 are at another."""
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


def _logits(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.log(np.maximum(scores, SMALLEST).astype(np.float64))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return found
