"""A trained head in NumPy: what answers for files, recordings and streams, without torch.

It is small, and it is asked step by step: NumPy takes less time for a step than torch takes to
begin one. `Head` is the same in torch, for training, and for whole sequences at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import HeadConfig
from actionrnn.model import head_step

Values = NDArray[np.float32]
State = dict[str, NDArray[np.floating]]
"""What a head remembers between steps; each array has the batch in its first dimension."""

_LARGEST_PRODUCT = 9000
"""Multiplications up to which OpenBLAS takes one thread for a matrix and a vector. More would wake
others: they take the cores from the decoder and the backbone, and gain nothing here."""


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """The weights of a head, and a step of it. Nothing in it changes."""

    config: HeadConfig
    tensors: Mapping[str, Values]
    """By the names of `Head.state_dict`, as in the model file."""

    xp: ModuleType = np
    """The formulas' library; see `head_step`."""

    @property
    def feature_size(self) -> int:
        """D."""
        return len(self.tensors["mean"])

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.tensors["classifier.bias"])

    @property
    def delay_steps(self) -> int:
        """How many further steps are seen before a step is answered; without a state: none."""
        return head_step.delay_steps(self.config)

    def step(self, features: Values, state: State | None = None) -> tuple[Values, State]:
        """The logits of now after one more frame.

        With `delay_steps` they are those of that many steps before, and mean nothing until more
        steps than that were seen. At a recording's end further steps with the state's `previous`
        give what is still missing. A row's numbers do not depend on the rows beside it.

        Args:
            features: (B, D), one frame of each row.
            state: of the step before; None at the start. It stays as it is.

        Returns:
            logits (B, K) and the new state, whose `so_far` (B, K) are the logits of so far,
            in float64: the mean over the steps that are answered.
        """
        state = self.initial_state(len(features)) if state is None else state
        return head_step.step(self, features, state)

    def initial_state(self, batch_size: int = 1) -> State:
        """The state before the first frame: zeros."""
        return {
            name: np.zeros((batch_size, *shape), np.float64 if exact else np.float32)
            for name, shape in head_step.state_shapes(self).items()
            for exact in [name in head_step.EXACT]
        }

    def scores(self, logits: NDArray[np.floating]) -> Values:
        """Probabilities from logits, of now or of so far: (..., K) -> (..., K); `Head.scores`."""
        found: Values = head_step.scores(np, self.config, logits.astype(np.float32))
        return found

    def linear(self, x: Values, weight: str, bias: str | None = None) -> Values:
        """X W^T + b, (B, I) -> (B, O), by the names of W and b."""
        parts, size = self._parts[weight]
        found: Values = np.matmul(parts, x[:, None, :, None]).reshape(len(x), -1)[:, :size]
        return found if bias is None else found + self.tensors[bias]

    @cached_property
    def _parts(self) -> dict[str, tuple[Values, int]]:
        """Each matrix as parts of a few rows each, (parts, rows, I), and its number of rows."""
        return {name: _in_parts(m) for name, m in self.tensors.items() if m.ndim == 2}


def _in_parts(matrix: Values) -> tuple[Values, int]:
    size, width = matrix.shape
    rows = max(1, _LARGEST_PRODUCT // width)
    num_parts = -(-size // rows)
    padded = np.zeros((num_parts * rows, width), np.float32)
    padded[:size] = matrix
    return padded.reshape(num_parts, rows, width), size


def tensor_shapes(
    config: HeadConfig, feature_size: int, num_classes: int
) -> dict[str, tuple[int, ...]]:
    """Of the tensors of a head, by the names of `Head.state_dict`."""
    input_size = feature_size * (2 if config.temporal_differences else 1)
    found: dict[str, tuple[int, ...]] = {"mean": (feature_size,), "std": (feature_size,)}
    hidden = config.hidden_size
    core_size, output_size = input_size, input_size
    if config.kind != "mean":
        output_size = hidden
    if config.kind != "mean" and config.projection:
        core_size = hidden
        found |= {"projection.0.weight": (hidden, input_size), "projection.0.bias": (hidden,)}
        found |= {"projection.1.weight": (hidden,), "projection.1.bias": (hidden,)}
    if config.kind != "mean":
        rows = {"lstm": 4, "gru": 3}.get(config.kind, 1) * hidden
        for layer in range(config.num_layers):
            found[f"core.weight_ih_l{layer}"] = rows, core_size if layer == 0 else hidden
            found[f"core.weight_hh_l{layer}"] = rows, hidden
            found |= {f"core.bias_{name}_l{layer}": (rows,) for name in ("ih", "hh")}
    found |= {"classifier.weight": (num_classes, output_size), "classifier.bias": (num_classes,)}
    if config.kind != "mean" and config.residual:
        found["residual.weight"] = num_classes, input_size
    return found
