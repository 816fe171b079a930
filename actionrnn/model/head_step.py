"""One step of a head, written once: for NumPy, which answers, and for torch, which is exported.

The formulas are those at the top of `heads.py`, with the gates as PyTorch has them: an RNN adds
both biases, an LSTM's gates are in the order i, f, g, o, and a GRU's r multiplies what the state
gives, its bias included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from actionrnn.config import HeadConfig

Array = Any
"""Of NumPy or of torch; the operations below mean the same in both."""
State = dict[str, Array]
"""What a head remembers between steps; each array has the batch in its first dimension."""


class Parts(Protocol):
    """A head as the formulas need it."""

    @property
    def config(self) -> HeadConfig:
        """Its settings."""

    @property
    def tensors(self) -> Mapping[str, Array]:
        """By the names of `Head.state_dict`."""

    @property
    def xp(self) -> Any:
        """The library of the arrays: `numpy` or `torch`."""

    def linear(self, x: Array, weight: str, bias: str | None = None) -> Array:
        """X W^T + b, (B, I) -> (B, O), by the names of W and b."""


def delay_steps(config: HeadConfig) -> int:
    """How many further steps are seen before a step is answered; without a state: none."""
    return 0 if config.kind == "mean" else config.delay_steps


def step(head: Parts, features: Array, state: State) -> tuple[Array, State]:
    """The logits of now (B, K) and the new state, for features (B, D); see `Head.step`."""
    inputs = _inputs(head, features, state)
    new: State = {"steps": state["steps"] + 1, "previous": features}
    hidden = inputs
    if head.config.kind != "mean":
        hidden = _core(head, _projected(head, inputs), state, new)
    logits = head.linear(hidden, "classifier.weight", "classifier.bias")
    if "residual.weight" in head.tensors:
        logits = logits + _residual(head, inputs, state, new)
    new["so_far"] = _so_far(head, logits, state, new)
    return logits, new


def state_shapes(head: Parts) -> dict[str, tuple[int, ...]]:
    """Of one row's state, by name. `EXACT` ones are in float64, where the device has it."""
    config, tensors = head.config, head.tensors
    num_classes, feature_size = len(tensors["classifier.bias"]), len(tensors["mean"])
    shapes: dict[str, tuple[int, ...]] = {
        "steps": (1,),
        "previous": (feature_size,),
        "so_far": (num_classes,),
    }
    if config.kind != "mean":
        shapes["hidden"] = (config.num_layers, config.hidden_size)
    if config.kind == "lstm":
        shapes["cell"] = (config.num_layers, config.hidden_size)
    if "residual.weight" in tensors and delay_steps(config):
        shapes["residual"] = (delay_steps(config), num_classes)
    return shapes


EXACT = ("steps", "so_far")
"""The count of steps and the mean over them: in float32 both would stand still after 2^24 steps, a
week at 25 a second."""


def rescaled(xp: Any, config: HeadConfig, features: Array) -> Array:
    """What is standardised: features (..., D) after `head.input_scaling`."""
    if config.input_scaling == "l2":
        length = xp.sqrt((features * features).sum(-1)[..., None])
        return features / xp.clip(length, 1e-12, None)
    if config.input_scaling == "sqrt":
        return xp.sign(features) * xp.sqrt(xp.abs(features))
    return features


def scores(xp: Any, config: HeadConfig, logits: Array) -> Array:
    """Probabilities from logits, (..., K) -> (..., K); see `Head.scores`."""
    if config.multi_label:
        return _sigmoid(xp, logits)
    raised = xp.exp(logits - xp.amax(logits, -1)[..., None])
    return raised / raised.sum(-1)[..., None]


def so_far_step(xp: Any, config: HeadConfig, logits: Array, so_far: Array, steps: Array) -> Array:
    """The logits of so far after one more answer; `steps` (B, 1) counts it already."""
    pooling = "running_mean" if config.kind == "mean" else config.temporal_pooling
    if pooling == "last":
        return logits + 0 * so_far  # in its precision
    if pooling == "running_mean":
        return so_far + (logits - so_far) / steps
    # weights decay^age, normalised to 1: no bias towards the zeros of the start
    decay = config.pooling_decay
    log_decay = math.log(decay) if decay > 0 else -math.inf
    total = -xp.expm1(steps * log_decay)  # 1 - decay^steps, exact near 0
    return so_far + (logits - so_far) * ((1 - decay) / total)


def _standardised(head: Parts, features: Array) -> Array:
    return (rescaled(head.xp, head.config, features) - head.tensors["mean"]) / head.tensors["std"]


def _inputs(head: Parts, features: Array, state: State) -> Array:
    normal = _standardised(head, features)
    if not head.config.temporal_differences:
        return normal
    difference = normal - _standardised(head, state["previous"])
    known = head.xp.where(state["steps"] > 0, difference, 0 * difference)
    return head.xp.concatenate([normal, known], -1)


def _projected(head: Parts, inputs: Array) -> Array:
    """What the recurrent layer reads, (B, H), or the inputs themselves."""
    if "projection.0.weight" not in head.tensors:
        return inputs
    values = head.linear(inputs, "projection.0.weight", "projection.0.bias")
    centred = values - values.mean(-1)[..., None]
    variance = (centred * centred).mean(-1)[..., None]
    normal = centred / head.xp.sqrt(variance + LAYER_NORM_EPSILON)
    return normal * head.tensors["projection.1.weight"] + head.tensors["projection.1.bias"]


LAYER_NORM_EPSILON = 1e-5


def _core(head: Parts, inputs: Array, state: State, new: State) -> Array:
    hidden, cells, below = [], [], inputs
    for layer in range(head.config.num_layers):
        before = state["hidden"][:, layer]
        given, own = (
            head.linear(x, f"core.weight_{name}_l{layer}", f"core.bias_{name}_l{layer}")
            for x, name in ((below, "ih"), (before, "hh"))
        )
        if head.config.kind == "lstm":
            below, cell = _lstm(head.xp, given + own, state["cell"][:, layer])
            cells.append(cell)
        elif head.config.kind == "gru":
            below = _gru(head.xp, given, own, before)
        else:
            below = _rnn(head, given + own)
        hidden.append(below)
    new["hidden"] = head.xp.stack(hidden, 1)
    if cells:
        new["cell"] = head.xp.stack(cells, 1)
    return below


def _rnn(head: Parts, raised: Array) -> Array:
    if head.config.kind == "rnn_tanh":
        return head.xp.tanh(raised)
    return head.xp.clip(raised, 0, None)


def _gru(xp: Any, given: Array, own: Array, before: Array) -> Array:
    size = before.shape[-1]
    gates = _sigmoid(xp, given[:, : 2 * size] + own[:, : 2 * size])
    reset, update = gates[:, :size], gates[:, size:]
    new = xp.tanh(given[:, 2 * size :] + reset * own[:, 2 * size :])
    return new + update * (before - new)


def _lstm(xp: Any, raised: Array, cell: Array) -> tuple[Array, Array]:
    size = cell.shape[-1]
    take, keep = (_sigmoid(xp, raised[:, part * size : (part + 1) * size]) for part in (0, 1))
    new, show = xp.tanh(raised[:, 2 * size : 3 * size]), _sigmoid(xp, raised[:, 3 * size :])
    cell = keep * cell + take * new
    return show * xp.tanh(cell), cell


def _sigmoid(xp: Any, x: Array) -> Array:
    return 1 / (1 + xp.exp(xp.clip(-x, None, 88)))  # e^89 is no single precision any more


def _residual(head: Parts, inputs: Array, state: State, new: State) -> Array:
    """What the residual path says of the frame that is answered, (B, K).

    What it said of the frames since then waits in the state, oldest first: V x_t, K numbers a
    step, not x_t itself.
    """
    direct = head.linear(inputs, "residual.weight")
    if not delay_steps(head.config):
        return direct
    waiting = head.xp.concatenate([state["residual"], direct[:, None]], 1)  # (B, d + 1, K)
    new["residual"] = waiting[:, 1:]
    return waiting[:, 0]


def _so_far(head: Parts, logits: Array, state: State, new: State) -> Array:
    xp, config = head.xp, head.config
    if not delay_steps(config):
        return so_far_step(xp, config, logits, state["so_far"], new["steps"])
    answered = new["steps"] - delay_steps(config)  # (B, 1), below 1 before the first answer
    pooled = so_far_step(xp, config, logits, state["so_far"], xp.clip(answered, 1, None))
    return xp.where(answered > 0, pooled, state["so_far"])
