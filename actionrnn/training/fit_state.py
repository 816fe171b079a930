"""One fit's task and state, and the files from which an interrupted training is resumed.

After each epoch a fit writes its whole state as one safetensors file. The file names the task
that it belongs to (`FitTask.identity`), and no other task can be resumed from it. The folder of
these files also holds the training's settings.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from actionrnn import __version__
from actionrnn.config import Config, HeadConfig, TrainConfig
from actionrnn.config_reading import parse_config
from actionrnn.datasets.sequences import Sequences
from actionrnn.errors import ActionrnnError, ConfigError, ModelError, first_line
from actionrnn.features.provenance import TRAINED_ON
from actionrnn.files import write_text
from actionrnn.model.heads import Head
from actionrnn.tensor_file import read_description, read_metadata, read_tensors, write_tensors
from actionrnn.training import parallel

STATES = "unfinished"
"""The folder of the fits' states, below a training's output."""
NOTE = "config.json"
"""The training's settings, in that folder."""

_OWN_FILE = re.compile(r"-[0-9a-f]+\.safetensors$|^\.")
"""A state (in version 0.1 its name ended with a number), or what a killed process left of one."""
_NOTE = TypeAdapter(dict[str, dict[str, Any]])


@dataclass(frozen=True)
class FitTask:
    """One head to train: everything that decides its weights."""

    sequences: Sequences
    """The training clips."""
    num_classes: int
    head: HeadConfig
    config: TrainConfig
    validation: Sequences | None = None
    """Clips of other groups of the training side: the epoch with the lowest loss on them is
    taken. None: the last epoch is taken."""
    name: str = "fit"
    """Appears in the state and in errors; unique within a training."""

    def __post_init__(self) -> None:
        if self.validation is not None:
            trained_on, where = self.sequences.provenance, f"{self.name}, validation"
            self.validation.provenance.require_same(trained_on, where, TRAINED_ON)

    def identity(self) -> dict[str, Any]:
        """What must be equal for a state to belong to this task; hashes all features.

        Returns:
            plain JSON values by the name that an error message calls them.
        """
        sides = [side for side in (self.sequences, self.validation) if side is not None]
        # groups decide which clips are joined
        clips = [
            [
                [[clip.key, clip.group] for clip in side.clips],
                side.targets.tolist(),
                *([] if side.label_sets is None else [side.label_sets.tolist()]),
            ]
            for side in sides
        ]
        features = [
            side.digests or [hashlib.sha256(values.tobytes()).hexdigest() for values in side.values]
            for side in sides
        ]
        return {
            "name": self.name,
            "clips": _sha256(clips),
            "features": _sha256(features),
            "feature size": self.sequences.feature_size,
            "number of classes": self.num_classes,
            "head settings": asdict(self.head),
            "training settings": asdict(self.config),
            "version of actionrnn": __version__,
        }


@dataclass(frozen=True)
class Epoch:
    """One row of the training curve."""

    epoch: int
    """From 1."""
    learning_rate: float
    """At the epoch's last step."""
    train_loss: float
    validation_loss: float | None = None
    validation_top1: float | None = None


@dataclass
class FitState:
    """Everything that changes from epoch to epoch."""

    head: Head
    average: Head
    """The moving average of the head's weights: what is validated and saved."""
    moments: dict[str, Tensor]
    """Of the optimiser; see `optimiser.adamw_moments`."""
    curve: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    """From 1; 0 before the first validation."""
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by `part.name`."""
        parts = {
            "head": self.head.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best_weights,
            "optimiser": self.moments,
        }
        return {
            f"{part}.{name}": tensor
            for part, tensors in parts.items()
            for name, tensor in tensors.items()
        }


def file_name(name: str) -> str:
    """A file or folder name for a fit, different for every fit.

    Names that differ only in case, punctuation or non-ASCII letters get different file names,
    also on disks that ignore case.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}-{digest[:12]}"


def save_fit_state(file: Path, identity: Mapping[str, Any], state: FitState) -> None:
    """Write weights, moments and curve after an epoch, whole or not at all."""
    described = {
        "identity": identity,
        "curve": [asdict(row) for row in state.curve],
        "best_epoch": state.best_epoch,
        "best_loss": state.best_loss if state.best_epoch else None,
    }
    tensors = state.tensors()
    checksum = _checksum(described, tensors)
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    write_tensors(file, arrays, {"actionrnn": described, "sha256": checksum})


def load_fit_state(file: Path, identity: Mapping[str, Any], state: FitState) -> None:
    """Set a new fit's state to the saved one.

    Raises:
        ModelError: the file is damaged, or is the state of another fit, of other clips, features
            or settings.
    """
    try:
        described = read_description(file, "actionrnn")
        tensors = {name: torch.from_numpy(v) for name, v in read_tensors(file).items()}
        # safetensors has no checksum, and a flipped bit in a weight would go unnoticed
        if _checksum(described, tensors) != read_metadata(file)["sha256"]:
            raise ValueError("its bytes are not those that were written")
        saved = described["identity"]
        different = [part for part, value in identity.items() if saved.get(part) != value]
        if different:
            raise ModelError(
                f"{file}: cannot be resumed (it differs from this training in: "
                f"{', '.join(different)}); leave --resume out to start again"
            )
        device = state.head.mean.device
        state.best_weights = {
            name.removeprefix("best."): tensor.to(device)
            for name, tensor in tensors.items()
            if name.startswith("best.")
        }
        for name, tensor in state.tensors().items():
            tensor.copy_(tensors[name])  # in place: the training loop holds these tensors
        state.curve = [Epoch(**row) for row in described["curve"]]
        state.best_epoch, loss = int(described["best_epoch"]), described["best_loss"]
        state.best_loss = math.inf if loss is None else float(loss)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{file}: cannot be resumed ({first_line(error)}); delete it to start again"
        ) from None


@contextmanager
def resumable(config: Config, output: Path, resume: bool) -> Iterator[None]:
    """Keep the states of unfinished fits below `output` until the block has ended.

    The settings are written first, so that a training that is interrupted in the block can be
    resumed even before it has written a state.

    Raises:
        ConfigError: there is nothing to resume, or it was started with other settings.
        ActionrnnError: a folder of that name holds something else.
    """
    folder, note = output / STATES, output / STATES / NOTE
    wanted = json.dumps(config.to_dict(), indent=1)
    if resume:
        _require_same_settings(note, wanted)
    elif parallel.is_first():
        _remove_states(folder)
        write_text(note, wanted)
    parallel.wait_for_all()
    try:
        yield
    except ActionrnnError:
        # A training that failed before its first state has nothing to resume. An interrupt
        # (KeyboardInterrupt) leaves the folder, and so does an error after the first state.
        if parallel.is_first() and not resume and list(folder.iterdir()) == [note]:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    parallel.wait_for_all()  # no process may still be reading a state
    if parallel.is_first():
        shutil.rmtree(folder, ignore_errors=True)


def can_resume(output: Path) -> bool:
    """Whether `output` holds an unfinished training."""
    return (output / STATES / NOTE).exists()


def _checksum(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(described).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _sha256(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def _remove_states(folder: Path) -> None:
    """Delete the states of an earlier training; refuse a folder that a training did not write."""
    names = {file.name for file in folder.iterdir()} if folder.exists() else set()
    others = [name for name in names - {NOTE} if not _OWN_FILE.search(name)]
    if names and (NOTE not in names or others):
        raise ActionrnnError(
            f"{folder}: exists, and is not of an unfinished training; choose another --output, "
            "or move it away"
        )
    shutil.rmtree(folder, ignore_errors=True)


def _require_same_settings(note: Path, wanted: str) -> None:
    if not note.exists():
        raise ConfigError(f"{note.parent.parent}: holds no unfinished training; leave --resume out")
    try:
        # through the parser, which knows the names of version 0.1
        started = parse_config(_NOTE.validate_json(note.read_bytes()), source=str(note)).to_dict()
    except (OSError, ValidationError, ConfigError):
        raise ConfigError(f"{note}: is damaged; leave --resume out to start again") from None
    for section, values in json.loads(wanted).items():
        for key, value in values.items():
            before = started[section][key]
            if before != value:
                raise ConfigError(
                    f"{section}.{key} ({value}): the training was started with {before}; "
                    "resume with the same settings, or leave --resume out"
                )
