"""The optimiser of a training: AdamW, its learning rate over the steps, the averaged weights."""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from actionrnn.config import TrainConfig
from actionrnn.model.heads import Head


def warmup_cosine(step: int, num_steps: int, warmup_fraction: float) -> float:
    """The factor of the learning rate: it rises linearly, then falls as a cosine."""
    warmup = max(1, round(warmup_fraction * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def adamw_moments(head: Head) -> dict[str, Tensor]:
    """AdamW's state before the first step: for each parameter two moments and a step counter."""
    moments = {}
    for index, parameter in enumerate(head.parameters()):
        moments[f"{index}.step"] = torch.zeros(())  # on the CPU: the GPU is not waited for
        moments[f"{index}.exp_avg"] = torch.zeros_like(parameter)
        moments[f"{index}.exp_avg_sq"] = torch.zeros_like(parameter)
    return moments


@torch.no_grad()
def adamw_step(
    head: Head, moments: dict[str, Tensor], learning_rate: float, config: TrainConfig
) -> None:
    """Move the weights along their gradients, as `torch.optim.AdamW` with its defaults.

    That class imports torch's compiler when it is made, 4 seconds of CPU time in each training;
    the function behind it does not.
    """
    parameters: list[Tensor] = list(head.parameters())
    steps, averages, squares = (
        [moments[f"{index}.{name}"] for index in range(len(parameters))]
        for name in ("step", "exp_avg", "exp_avg_sq")
    )
    adamw(
        parameters,
        # every parameter of a head takes part in its output, so none lacks a gradient
        [cast(Tensor, parameter.grad) for parameter in parameters],
        averages,
        squares,
        [],  # the maxima of AMSGrad
        steps,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=learning_rate,
        weight_decay=config.weight_decay,
        eps=1e-8,
        maximize=False,
        # one pass instead of ten; on a GPU it would have to wait for the step counters
        fused=True if head.mean.device.type == "cpu" else None,
    )


def averaged(head: Head) -> Head:
    """A moving average of a head's weights, before its first step; see `follow`."""
    average = copy.deepcopy(head).requires_grad_(False)
    if average.core is not None:
        average.core.flatten_parameters()  # a copy's weights are scattered, which cuDNN warns of
    return average


@torch.no_grad()
def follow(average: Head, head: Head, decay: float) -> None:
    """average_t = d average_(t-1) + (1 - d) weights_t, with d = `decay`."""
    for mean, weight in zip(average.parameters(), head.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)


def average_decay(step: int, decay: float) -> float:
    """The part of the old average that is kept at a step, from 0: it rises to `decay`.

    min(decay, (1 + t) / (10 + t)), the warm-up of TensorFlow's ExponentialMovingAverage; at step 0
    nothing is kept, as the weights of the start are random.
    """
    return min(decay, (1 + step) / (10 + step)) if step else 0.0
