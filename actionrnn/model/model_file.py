"""One safetensors file that describes itself: no pickle, nothing else needed.

Tensors: the head's, and those of `NoneOfThese` if it was trained for that. Metadata `actionrnn`:
JSON with the format version, labels, config, feature size, backbone (the `Provenance` of its
features) and the training's data and scores, without the paths of a machine and the names of groups
(`privacy.py`). The run's own `config.yaml` beside the model says where data and weights are.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PlainValidator, TypeAdapter, ValidationError

from actionrnn.config import Config
from actionrnn.config_parsing import FiniteFloat, first_problem
from actionrnn.config_reading import load_config, parse_config
from actionrnn.errors import ConfigError, ModelError, first_line
from actionrnn.features.provenance import Provenance, sampling_for_head
from actionrnn.files import CONFIG_FILE, MODEL_FILE, as_path
from actionrnn.model import hub
from actionrnn.model.none_of_these import NoneOfThese, is_own
from actionrnn.model.privacy import belongs_to, public_config, public_training
from actionrnn.model.trained_head import TrainedHead, tensor_shapes
from actionrnn.options import EventRule
from actionrnn.tensor_file import (
    pack_tensors,
    read_description,
    read_shapes,
    read_tensors,
    write_tensors,
)
from actionrnn.text import is_harmless, readable
from actionrnn.video.address import masked

FORMAT_VERSION = 2
DESCRIPTION = "actionrnn"  # the metadata that holds it


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """All that a model file says of itself."""

    path: Path
    labels: tuple[str, ...]
    config: Config
    feature_size: int
    provenance: Provenance
    """Of the features that the head was trained on."""
    training: dict[str, Any]
    actionrnn_version: str


def write_model(
    info: ModelInfo, head: TrainedHead, none_of_these: NoneOfThese | None = None
) -> None:
    """Write a model whole or not at all, without the paths and groups that `info` may name.

    Raises:
        ModelError: the file cannot be written.
    """
    described = {
        "format": "actionrnn model",
        "format_version": FORMAT_VERSION,
        "actionrnn_version": info.actionrnn_version,
        "labels": info.labels,
        "config": public_config(info.config).to_dict(),
        "feature_size": info.feature_size,
        "backbone": info.provenance.to_json(),
        "training": public_training(info.training),
    }
    further = {} if none_of_these is None else none_of_these.tensors()
    tensors = {**head.tensors, **further}
    try:
        write_tensors(info.path, tensors, {DESCRIPTION: described})
    except OSError as error:
        raise ModelError(f"{info.path}: cannot be written ({error.strerror})") from None


def public_bytes(info: ModelInfo) -> bytes:
    """The model file for others; paths and group names that an older version wrote are left out.

    Raises:
        ModelError: the file cannot be read.
    """
    config, training = public_config(info.config), public_training(info.training)
    try:
        if (config, training) == (info.config, info.training):
            return info.path.read_bytes()
        described, tensors = read_description(info.path, DESCRIPTION), read_tensors(info.path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{info.path}: cannot be read ({error})") from None
    described |= {"config": config.to_dict(), "training": training}
    return pack_tensors(tensors, {DESCRIPTION: described})


def read_head(info: ModelInfo) -> TrainedHead:
    """The head of a model file.

    Raises:
        ModelError: the tensors do not fit the description.
    """
    try:
        _require_shapes(info)
        tensors = {n: _single(v) for n, v in read_tensors(info.path).items() if not is_own(n)}
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{info.path}: its tensors do not fit its description ({first_line(error)})"
        ) from None
    return TrainedHead(info.config.head, tensors)


def _single(tensor: NDArray[Any]) -> NDArray[np.float32]:
    if not np.issubdtype(tensor.dtype, np.floating):
        raise ValueError(f"a tensor of {tensor.dtype}")
    return tensor.astype(np.float32, copy=False)


def read_none_of_these(info: ModelInfo) -> NoneOfThese | None:
    """What tells that none of a model's classes is seen; None: it was trained without.

    Raises:
        ModelError: it is damaged.
    """
    try:
        own = {n: _single(v) for n, v in read_tensors(info.path).items() if is_own(n)}
        return NoneOfThese.from_tensors(own, len(info.labels))
    except (OSError, ValueError) as error:
        raise ModelError(f"{info.path}: is damaged ({first_line(error)})") from None


def with_own_paths(info: ModelInfo) -> Config:
    """The configuration with the paths of the run in whose folder the model lies, if it does."""
    try:
        own = load_config(info.path.with_name(CONFIG_FILE))
    except ConfigError:  # there is none, or it cannot be read
        return info.config
    if not belongs_to(own, info.config, str(info.training.get("data"))):
        return info.config
    return dataclasses.replace(info.config, data=own.data, backbone=own.backbone)


def _require_shapes(info: ModelInfo) -> None:
    """Compare the description with the tensors before it takes any memory."""
    found = {name: shape for name, shape in read_shapes(info.path).items() if not is_own(name)}
    if info.config.head.num_layers > len(found):
        raise ValueError(f"{len(found)} tensors for {info.config.head.num_layers} layers")
    wanted = tensor_shapes(info.config.head, info.feature_size, len(info.labels))
    if wrong := sorted(found.keys() ^ wanted.keys()):
        raise ValueError(f"{wrong[0]} is {'missing' if wrong[0] in wanted else 'not of this head'}")
    for name, shape in wanted.items():
        if found[name] != shape:
            raise ValueError(f"{name} should have the shape {list(shape)}")


def read_model_info(path: str | Path) -> ModelInfo:
    """The description inside a model file, without its weights or its backbone.

    Raises:
        ModelError: the file does not exist, or is not a model of this version.
    """
    given, path = path, model_file(path)
    if not path.is_file():
        raise ModelError(
            f"{masked(str(given))}: no such model file; train one with `actionrnn train` or "
            "`actionrnn demo`"
        )
    try:
        described = read_description(path, DESCRIPTION)
        if described["format"] != "actionrnn model":
            raise KeyError("format")
    except (OSError, KeyError, ValueError):
        raise ModelError(
            f"{path}: is not an actionrnn model; give the model.safetensors of a run"
        ) from None
    version = described.get("format_version")
    if version not in (1, FORMAT_VERSION):
        raise ModelError(
            f"{path}: has format version {version}, known is {FORMAT_VERSION}; update actionrnn"
        )
    try:
        if version == 1:  # its heads had no residual path
            described["config"]["head"]["residual"] = False
        head = described["config"]["head"]
        if not {"input_scaling", "l2_normalise"} & head.keys():  # older than both
            head["input_scaling"] = "none"
        head.setdefault("projection", False)  # older heads had none
        config = parse_config(described["config"], source=str(path))
        return ModelInfo(
            path=path,
            labels=_require_labels(described["labels"]),
            config=config,
            feature_size=_require_size(described["feature_size"]),
            provenance=_require_provenance(described["backbone"], config),
            training=_require_training(described["training"]),
            actionrnn_version=str(described["actionrnn_version"]),
        )
    except (KeyError, TypeError, ValueError, ConfigError, RecursionError) as error:
        raise ModelError(f"{path}: its description is damaged ({error})") from None


def model_file(path: str | Path) -> Path:
    """The file of a model that is given as a file, a run's folder or an address on the hub.

    Raises:
        ModelError: the hub does not give it.
    """
    if hub.is_address(path):
        return hub.fetch(str(path))
    path = as_path(path)
    return path / MODEL_FILE if path.is_dir() else path


def _require_labels(value: Any) -> tuple[str, ...]:
    for label in value:
        if not isinstance(label, str) or not is_harmless(readable(label)):
            raise ValueError(
                f"{label!r} is not a label: control characters could act on a terminal"
            )
    labels = tuple(map(readable, value))
    if len(set(labels)) < len(labels):
        raise ValueError("two of its labels are one, spelled in two ways; train it again")
    return labels


def _require_size(value: Any) -> int:
    size = int(value)
    if size < 1:
        raise ValueError(f"feature_size ({size}) must be > 0")
    return size


def _require_provenance(value: Any, config: Config) -> Provenance:
    provenance = Provenance.from_json(value, config.sampling)  # 0.1: in the configuration alone
    if provenance.sampling != sampling_for_head(config.sampling):
        raise ValueError(f"sampling ({provenance.sampling}) is another than its configuration's")
    return provenance


def _require_dict(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{name} ({value!r}) must be an object")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


_Text = Annotated[str, PlainValidator(_text)]
_Rate = Annotated[float, Field(ge=0, le=1, strict=True)]


@dataclasses.dataclass(frozen=True)
class _Scores:
    """The part of `training.scores` that is used; every field may be missing."""

    num_clips: int = 0
    top1: _Rate | None = None
    mean_class_accuracy: _Rate | None = None
    baseline_mean_pool_top1: _Rate | None = None
    frame_map: _Rate | None = None
    event_recall: _Rate | None = None
    event_false_alarms_per_hour: Annotated[FiniteFloat, Field(ge=0)] | None = None
    intervals: dict[_Text, tuple[FiniteFloat, FiniteFloat] | None] = dataclasses.field(
        default_factory=dict
    )
    leaked_groups: list[_Text] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Training:
    """The part of `training` that is used; every field may be missing."""

    num_clips: int = 0
    window_steps: Annotated[int, Field(ge=1)] | None = None
    groups: list[_Text] = dataclasses.field(default_factory=list)
    fingerprints: list[_Text] = dataclasses.field(default_factory=list)
    event_rule: EventRule | None = None
    scores: _Scores = _Scores()


def _require_training(value: Any) -> dict[str, Any]:
    training = _require_dict(value, "training")
    try:
        TypeAdapter(_Training).validate_python(training)
    except ValidationError as error:
        raise ValueError(f"training: {first_problem(error)}") from None
    return training
