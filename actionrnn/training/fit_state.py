"""What an interrupted training is resumed from.

After each epoch a fit's whole state is written as one safetensors file, which says whose state
it is (`FitTask.identity`); no other fit can be resumed from it. Beside these files lie the
settings of the training.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from actionrnn import __version__
from actionrnn.config import Config, HeadConfig, TrainConfig
from actionrnn.datasets.sequences import Sequences
from actionrnn.errors import ActionrnnError, ConfigError, ModelError, first_line
from actionrnn.features.provenance import TRAINED_ON
from actionrnn.files import write_text
from actionrnn.model.heads import Head
from actionrnn.tensor_file import read_description, read_metadata, read_tensors, write_tensors
from actionrnn.training import parallel

STATES = "unfinished"
"""Where a training keeps the states of its fits, below its output."""
NOTE = "config.json"
"""Beside the states: the settings of the training."""

_NOTE = TypeAdapter(dict[str, dict[str, Any]])
_ROW = {"epoch", "learning_rate", "train_loss", "validation_loss", "validation_top1"}

Identity = dict[str, Any]
"""What must be the same for a state to be a fit's own: names of parts, plain JSON values."""


@dataclass(frozen=True)
class FitTask:
    """One head to train: all that decides its bits."""

    sequences: Sequences
    """The training clips."""
    num_classes: int
    head: HeadConfig
    config: TrainConfig
    validation: Sequences | None = None
    """Clips of other groups of the training side: the epoch with the lowest loss on them is
    taken. None: the last epoch."""
    name: str = "fit"
    """In the state and in errors; each fit of a training has its own."""

    def __post_init__(self) -> None:
        if self.validation is not None:
            trained_on, where = self.sequences.provenance, f"{self.name}, validation"
            self.validation.provenance.require_same(trained_on, where, TRAINED_ON)

    def identity(self) -> Identity:
        """What the state of this fit says of itself; reads all features, once."""
        sides = [side for side in (self.sequences, self.validation) if side is not None]
        described = {
            "name": self.name,
            "clips": _sha256(
                [[[clip.key for clip in side.clips], side.targets.tolist()] for side in sides]
            ),
            "features": _sha256([_digests(side) for side in sides]),
            "feature size": self.sequences.values[0].shape[1],
            "number of classes": self.num_classes,
            "head settings": asdict(self.head),
            "training settings": asdict(self.config),
            "version of actionrnn": __version__,
        }
        identity: Identity = json.loads(json.dumps(described))
        return identity


@dataclass
class FitState:
    """All that changes from epoch to epoch."""

    head: Head
    optimiser: torch.optim.Optimizer
    average: AveragedModel
    """The moving average of the head's weights: what is validated and saved."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def averaged_head(self) -> Head:
        """A head with the averaged weights."""
        return cast(Head, self.average.module)


def file_name(name: str) -> str:
    """A name for a fit's file or folder that no other fit shares.

    Names that differ in case, punctuation or letters outside of ASCII alone stay different,
    on disks that ignore case, too.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}-{digest[:12]}"


def save_fit_state(file: Path, identity: Identity, state: FitState) -> None:
    """Write weights, moments and curve after an epoch."""
    average = state.averaged_head.state_dict()
    tensors = {f"head.{name}": tensor for name, tensor in state.head.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best_weights.items()}
    for index, values in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in values.items()}
    described = {
        "identity": identity,
        "curve": state.curve,
        "best_epoch": state.best_epoch,
        "best_loss": state.best_loss if state.best_epoch else None,
    }
    checksum = _checksum(described, tensors)
    write_tensors(file, tensors, {"actionrnn": described, "sha256": checksum})


def load_fit_state(file: Path, identity: Identity, state: FitState) -> None:
    """Bring a state to where `save_fit_state` was called.

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
            parts.setdefault(part, {})[rest] = tensor.to(state.head.mean.device)
        state.head.load_state_dict(parts["head"])
        state.averaged_head.load_state_dict(parts["average"])
        _load_moments(state.optimiser, parts.get("optimiser", {}))
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


@contextmanager
def resumable(config: Config, output: Path, resume: bool) -> Iterator[None]:
    """Keep the states of unfinished fits below `output` until everything is done.

    What is interrupted in the block can be resumed, even before the first state is written.

    Raises:
        ConfigError: there is nothing to resume, or it was started with other settings.
        ActionrnnError: a folder of that name holds something else.
    """
    folder, note = output / STATES, output / STATES / NOTE
    wanted = json.dumps(config.to_dict(), indent=1)
    if resume:
        _require_same_settings(note, wanted)
    if parallel.is_first() and not resume:
        _remove_states(folder)
        write_text(note, wanted)
    parallel.wait_for_all()
    try:
        yield
    except ActionrnnError:
        if parallel.is_first() and not resume and list(folder.iterdir()) == [note]:
            shutil.rmtree(folder, ignore_errors=True)  # nothing to resume from
        raise
    parallel.wait_for_all()
    if parallel.is_first():
        shutil.rmtree(folder, ignore_errors=True)


def can_resume(output: Path) -> bool:
    """Whether an unfinished training was left in `output`."""
    return (output / STATES / NOTE).exists()


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


def _remove_states(folder: Path) -> None:
    """Of an earlier training; a folder without a training's note is left alone."""
    if folder.exists() and not (folder / NOTE).exists() and any(folder.iterdir()):
        raise ActionrnnError(
            f"{folder}: is there, and is not of an unfinished training; choose another --output, "
            "or move it away"
        )
    shutil.rmtree(folder, ignore_errors=True)


def _require_same_settings(note: Path, wanted: str) -> None:
    if not note.exists():
        raise ConfigError(f"{note.parent.parent}: holds no unfinished training; leave --resume out")
    try:
        started = _NOTE.validate_json(note.read_bytes())
    except (OSError, ValidationError):
        raise ConfigError(f"{note}: is damaged; leave --resume out to start again") from None
    for section, values in json.loads(wanted).items():
        for key, value in values.items():
            before = started.get(section, {}).get(key)
            if before != value:
                raise ConfigError(
                    f"{section}.{key} ({value}): the training was started with {before}; "
                    "resume with the same settings, or leave --resume out"
                )
