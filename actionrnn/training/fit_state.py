"""All that a fit needs to go on after an epoch: one safetensors file, whole or not there.

It says whose state it is (`fit_identity`), and no other fit goes on from it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from actionrnn import __version__
from actionrnn.config import HeadConfig, TrainConfig
from actionrnn.datasets.sequences import Sequences
from actionrnn.errors import ModelError, first_line
from actionrnn.model.heads import Head
from actionrnn.tensor_file import read_description, read_metadata, read_tensors, write_tensors

_ROW = {"epoch", "learning_rate", "train_loss", "validation_loss", "validation_top1"}


@dataclass
class FitState:
    """What changes from epoch to epoch, beside the head's weights and the optimiser."""

    average: Head
    """The moving average of the weights: what is validated and saved."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)


Identity = dict[str, Any]
"""What must be the same for a state to be a fit's own: names of parts, plain JSON values."""


def file_name(name: str) -> str:
    """A name for a fit's file or folder that no other fit shares.

    Names that differ in case, punctuation or letters outside of ASCII alone stay different,
    on disks that ignore case, too.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}-{digest[:12]}"


def fit_identity(
    name: str,
    training: Sequences,
    validation: Sequences | None,
    num_classes: int,
    head: HeadConfig,
    config: TrainConfig,
) -> Identity:
    """All that decides the bits of a fit: its name, clips in their order, features, settings."""
    sides = [side for side in (training, validation) if side is not None]
    described = {
        "name": name,
        "clips": _sha256(
            [[[clip.key for clip in side.clips], side.targets.tolist()] for side in sides]
        ),
        "features": _sha256([_digests(side) for side in sides]),
        "feature size": training.values[0].shape[1],
        "number of classes": num_classes,
        "head settings": asdict(head),
        "training settings": asdict(config),
        "version of actionrnn": __version__,
    }
    identity: Identity = json.loads(json.dumps(described))
    return identity


def save_fit_state(
    file: Path,
    identity: Identity,
    head: Head,
    optimiser: torch.optim.Optimizer,
    state: FitState,
) -> None:
    """Write weights, moments and curve after an epoch."""
    tensors = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best_weights.items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in values.items()}
    described = {
        "identity": identity,
        "curve": state.curve,
        "best_epoch": state.best_epoch,
        "best_loss": state.best_loss if state.best_epoch else None,
    }
    checksum = _checksum(described, tensors)
    write_tensors(file, tensors, {"actionrnn": described, "sha256": checksum})


def load_fit_state(
    file: Path,
    identity: Identity,
    head: Head,
    optimiser: torch.optim.Optimizer,
    state: FitState,
) -> None:
    """Bring head, optimiser and state to where `save_fit_state` was called.

    Raises:
        ModelError: the file is damaged, or the state of another fit, of other clips, features
            or settings.
    """
    try:
        described, tensors = read_description(file, "actionrnn"), read_tensors(file)
        if _checksum(described, tensors) != read_metadata(file)["sha256"]:
            raise ValueError("its bytes are not those that were written")
        _require_same(file, described["identity"], identity)
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = tensor.to(head.mean.device)
        head.load_state_dict(parts["head"])
        state.average.load_state_dict(parts["average"])
        _load_moments(optimiser, parts.get("optimiser", {}))
        state.curve = [dict(row) for row in described["curve"]]
        if any(row.keys() != _ROW for row in state.curve):
            raise ValueError("its curve is damaged")
        state.best_epoch, loss = int(described["best_epoch"]), described["best_loss"]
        state.best_loss = math.inf if loss is None else float(loss)
        state.best_weights = parts.get("best", {})
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{file}: cannot be resumed ({first_line(error)}); delete it to start again"
        ) from None


def _require_same(file: Path, saved: Identity, wanted: Identity) -> None:
    other = [part for part, value in wanted.items() if saved.get(part) != value]
    if other:
        raise ModelError(
            f"{file}: cannot be resumed (it differs from this training in: {', '.join(other)}); "
            "leave --resume out to start again"
        )


def _checksum(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(described).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digests(sequences: Sequences) -> Iterable[str]:
    by_hand = (hashlib.sha256(values.tobytes()).hexdigest() for values in sequences.values)
    return sequences.digests or tuple(by_hand)


def _sha256(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def _load_moments(optimiser: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    described = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in moments.items():
        index, _, part = name.partition(".")
        # the step counter lives on the CPU
        state.setdefault(int(index), {})[part] = tensor.cpu() if part == "step" else tensor
    optimiser.load_state_dict({**described, "state": state})
