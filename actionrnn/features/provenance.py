"""What features are, where they come from, and why a video has none."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from actionrnn.config import Sampling
from actionrnn.config_parsing import OLD_PREPROCESSING, first_problem
from actionrnn.errors import FeatureError
from actionrnn.features.known import INT8
from actionrnn.features.preprocess import Preprocessing

if TYPE_CHECKING:
    from actionrnn.features.backbone import Backbone

_RECORDED = ("precision", "runtime")
TRAINED_ON = "give the model features of the kind that it was trained on"
"""The remedy where a head gets others."""
_OTHER_FOLDER = "choose another folder, or delete this one (extract: --overwrite)"


@dataclass(frozen=True)
class Provenance:
    """What computed features, and from which frames.

    Two sets of features may be mixed, and a head may score features, if all fields but
    `precision` and `runtime` are equal: bfloat16 and float32, torch and OpenVINO differ by less
    than a head can tell. int8 is another network: its features fit each other alone.
    """

    backbone: str
    """As in the configuration; `imported/<name>`: computed elsewhere."""
    weights_sha256: str
    """Of the backbone's weights as tensors; empty for imported features."""
    preprocessing: Preprocessing
    sampling: Sampling
    precision: str = ""
    """`float32`, `bfloat16`, `float16` or `int8`; empty where it was not recorded: not int8."""
    runtime: str = ""
    """`torch`, `openvino` or `onnx`; empty where it was not recorded."""

    @classmethod
    def of(cls, backbone: Backbone, sampling: Sampling) -> Provenance:
        """Of the features that this backbone computes of frames chosen by this sampling."""
        return cls(
            backbone=backbone.name,
            weights_sha256=backbone.weights_sha256,
            preprocessing=backbone.preprocessing,
            sampling=sampling,
            precision=backbone.precision,
            runtime=backbone.runtime,
        )

    @classmethod
    def from_json(cls, value: Any, sampling: Sampling | None = None) -> Provenance:
        """Read what `to_json` gave, now or in version 0.1.

        Args:
            sampling: for a file that describes it elsewhere (a model of version 0.1).

        Raises:
            ValueError: a field is missing, unknown, or has a wrong value.
        """
        known: dict[str, Any] = dict.fromkeys(_RECORDED, "")
        if sampling is not None:
            known["sampling"] = asdict(sampling)
        given = known | value if isinstance(value, dict) else value
        _require_fields(cls, given, "provenance")
        renamed = _with_new_names(given["preprocessing"])
        _require_fields(Preprocessing, renamed, "preprocessing")
        chosen = given["sampling"]
        if isinstance(chosen, dict):
            chosen = {"stream": None, "overrules_stated_rate": False} | chosen  # as left out
        _require_fields(Sampling, chosen, "sampling")
        try:
            return _PROVENANCE.validate_python(
                given | {"preprocessing": renamed, "sampling": chosen}
            )
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, the fields in their order; what was not recorded is left out."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if self.sampling.stream is None:
            del plain["sampling"]["stream"]  # the file's default is read
        if not self.sampling.overrules_stated_rate:
            del plain["sampling"]["overrules_stated_rate"]
        return {name: value for name, value in plain.items() if value or name not in _RECORDED}

    def to_json_of_0_1(self) -> dict[str, Any]:
        """As version 0.1 wrote it, whose stores are named after a checksum of this."""
        plain = self.to_json()
        renamed = dict(plain["preprocessing"])
        for old, (new, values) in OLD_PREPROCESSING.items():
            old_value = {value: name for name, value in values.items()}
            value = renamed.pop(new)
            renamed[old] = old_value.get(value, value)
        return plain | {"preprocessing": renamed}

    def for_head(self) -> Provenance:
        """The same for a head, which takes features of any runtime, int8 ones alone or none.

        How a video's times were found is nothing to it, either.
        """
        return replace(
            self,
            sampling=sampling_for_head(self.sampling),
            precision=INT8 if self.precision == INT8 else "",
            runtime="",
        )

    def difference(self, other: Provenance) -> str:
        """Each part that must be equal and is not, with both values; empty if there is none."""
        if self == other:
            return ""
        mine, others = _flat(self), _flat(other)
        return ", and ".join(
            f"{name} {value}, wanted is {others[name]}"
            for name, value in mine.items()
            if value != others[name]
        )

    def require_same(self, wanted: Provenance, where: str, remedy: str = _OTHER_FOLDER) -> None:
        """Refuse to mix features of different origin, or to score them with a head for others.

        Args:
            where: the features of this provenance lie; begins the error.
            remedy: ends the error.

        Raises:
            FeatureError: backbone, weights, preprocessing or sampling differ, or one alone is int8.
        """
        if difference := self.difference(wanted):
            raise FeatureError(f"{where}: its features have {difference}; {remedy}")


def sampling_for_head(sampling: Sampling) -> Sampling:
    """What a head needs to know of a sampling: all but whether it overrules a stated rate."""
    return replace(sampling, overrules_stated_rate=False)


@dataclass(frozen=True)
class VideoFile:
    """The file from which features were computed (for imported features: their array)."""

    name: str
    """Without folders."""
    size_bytes: Annotated[int, Field(strict=True)]
    sha256: str
    """Of all bytes, in hexadecimal."""
    corrections: tuple[str, ...] | None = None
    """What was done to its pictures besides their conversion to RGB (`VideoInfo.corrections`);
    None: not recorded, as by older versions, which did nothing."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; what was not recorded is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: Any) -> VideoFile:
        """Read what `to_json` gave.

        Raises:
            ValueError: a field is missing, unknown, or has a wrong value.
        """
        given = {"corrections": None} | value if isinstance(value, dict) else value
        _require_fields(cls, given, "source")
        try:
            return _VIDEO_FILE.validate_python(given)
        except ValidationError as error:
            raise ValueError(f"source.{first_problem(error)}") from None


@dataclass(frozen=True)
class Features:
    """One feature vector for each sampled frame of one video."""

    values: NDArray[np.float32]
    """(T, D)."""
    pts_seconds: NDArray[np.float64]
    """(T,), the presentation times of the frames."""
    provenance: Provenance | None = None
    """None for features made by hand: a store refuses them, and a model has to trust them."""
    video: VideoFile | None = None
    """What they were computed from; None unless they come from a store, or go into one: nothing
    else needs a video's checksum, for which all of it is read again."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.pts_seconds.shape != self.values.shape[:1]:
            raise ValueError(
                f"values must be (T, D) with pts_seconds (T,), "
                f"got {self.values.shape} and {self.pts_seconds.shape}"
            )

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        backbone = "?" if self.provenance is None else self.provenance.backbone
        return f"Features(values={self.values.shape}, backbone={backbone!r})"


@dataclass(frozen=True)
class Failure:
    """A video that could not be used, or has no features."""

    key: str
    """Of the entry that it would have in a store."""
    path: str
    reason: str
    """One line, with what to do."""
    state: str | None = None
    """What the file was then, and the version that could not read it: it is tried again when
    that changes. Empty: it is tried again in any case; None: it was not tried."""

    def to_json(self) -> dict[str, str]:
        """Plain JSON types, as in a store and in a report."""
        return {name: value for name, value in asdict(self).items() if value is not None}


_PROVENANCE, _VIDEO_FILE = TypeAdapter(Provenance), TypeAdapter(VideoFile)


def _flat(provenance: Provenance) -> dict[str, Any]:
    """What must be equal, by names such as `sampling.rate_fps`."""
    found: dict[str, Any] = {}
    for name, value in asdict(provenance).items():
        if isinstance(value, dict):
            found |= {f"{name}.{part}": inner for part, inner in value.items()}
        elif name == "precision":
            found[name] = INT8 if value == INT8 else "floating point"
        elif name not in _RECORDED:
            found[name] = value
    return found


def _with_new_names(preprocessing: Any) -> Any:
    """Today's names and values for those of version 0.1."""
    if not isinstance(preprocessing, dict):
        return preprocessing
    found: dict[str, Any] = {}
    for name, value in preprocessing.items():
        new, values = OLD_PREPROCESSING.get(name, (name, {}))
        if new in found:
            raise ValueError(f"preprocessing has {new} twice, once as {name!r:.60}")
        found[new] = values.get(value, value) if isinstance(value, str) else value
    return found


def _require_fields(kind: type[Any], value: Any, name: str) -> None:
    """Nothing is missing or unknown: a default or a field left out could hide a difference."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} ({value!r:.60}) must be an object")
    known = [field.name for field in fields(kind)]
    for field in known:
        if field not in value:
            raise ValueError(f"{name} has no {field}")
    for field in value:
        if field not in known:
            raise ValueError(f"{name} has the unknown field {str(field)!r:.60}")
