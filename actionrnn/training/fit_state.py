"""All that a fit needs to go on after an epoch: one safetensors file, whole or not there."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from actionrnn.errors import ModelError
from actionrnn.files import atomic_path, utf8_path
from actionrnn.recurrent.heads import Head


@dataclass
class FitState:
    """What changes from epoch to epoch, beside the head's weights and the optimiser."""

    average: Head
    """The moving average of the weights: what is validated and saved."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def save_fit_state(
    file: Path, head: Head, optimiser: torch.optim.Optimizer, state: FitState
) -> None:
    """Write weights, moments and curve after an epoch."""
    tensors = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best_weights.items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in values.items()}
    described = {
        "curve": state.curve,
        "best_epoch": state.best_epoch,
        "best_loss": state.best_loss if state.best_epoch else None,
    }
    on_cpu = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(file) as temporary:
        save_file(on_cpu, temporary, metadata={"actionrnn": json.dumps(described)})


def load_fit_state(
    file: Path, head: Head, optimiser: torch.optim.Optimizer, state: FitState
) -> None:
    """Bring head, optimiser and state to where `save_fit_state` was called.

    Raises:
        ModelError: the file is damaged, or of another head.
    """
    try:
        with (
            utf8_path(file) as named,
            safe_open(named, framework="pt", device=str(head.mean.device)) as opened,
        ):
            described = json.loads(opened.metadata()["actionrnn"])
            parts: dict[str, dict[str, Tensor]] = {}
            for name in opened.keys():  # noqa: SIM118
                part, _, rest = name.partition(".")
                parts.setdefault(part, {})[rest] = opened.get_tensor(name)
        head.load_state_dict(parts["head"])
        state.average.load_state_dict(parts["average"])
        _load_moments(optimiser, parts.get("optimiser", {}))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{file}: cannot be resumed ({reason}); delete it to start again"
        ) from None
    state.curve = described["curve"]
    state.best_epoch = described["best_epoch"]
    state.best_loss = math.inf if described["best_loss"] is None else described["best_loss"]
    state.best_weights = parts.get("best", {})


def _load_moments(optimiser: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    described = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in moments.items():
        index, _, part = name.partition(".")
        # the step counter lives on the CPU
        state.setdefault(int(index), {})[part] = tensor.cpu() if part == "step" else tensor
    optimiser.load_state_dict({**described, "state": state})
