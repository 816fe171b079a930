"""Features on disk: a folder that describes itself.

    STORE/_store.json               what the features are: backbone, weights, sampling, ...
    STORE/_failures.json            the videos that could not be used, with the reasons
    STORE/<folder>/<clip>.safetensors
        tensors    features (T, D) float16, pts_seconds (T,) float64
        metadata   "actionrnn": JSON with the provenance and the source's size and hash

With format `npy` a clip is `<clip>.npy` and `<clip>.json` instead. Every file is written
under a temporary name and renamed, so that what is there is whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from actionrnn import __version__
from actionrnn.errors import FeatureError
from actionrnn.features.types import Features
from actionrnn.files import atomic_path, file_sha256, file_state, write_text

FORMAT_VERSION = 1
# a clip named `store` has a `store.json` of its own in the format npy
MANIFEST = "_store.json"
FAILURES = "_failures.json"

Format = Literal["safetensors", "npy"]

# What must be equal for two sets of features to be mixed. The precision is recorded, not
# compared: bfloat16 and float32 features differ by less than the head can tell.
IDENTITY = ("backbone", "weights_sha256", "preprocessing", "sampling")


@dataclass(frozen=True)
class FeatureStore:
    """A folder of stored features; `create` makes or continues one, `open` reads one."""

    root: Path
    provenance: dict[str, Any]
    format: Format = "safetensors"

    @classmethod
    def create(
        cls, root: str | Path, provenance: dict[str, Any], format: Format = "safetensors"
    ) -> FeatureStore:
        """Start a store, or go on with the one that is there.

        Raises:
            FeatureError: the store holds features of another backbone, other weights,
                preprocessing or sampling, or another format; the folder cannot be written.
        """
        store = cls(Path(root), provenance, format)
        if (store.root / MANIFEST).exists():
            present = cls.open(root)
            require_same(present.provenance, provenance, str(root))
            if present.format != format:
                raise FeatureError(
                    f"{root}: holds .{present.format} features, not .{format}; "
                    "choose another folder"
                )
            return store
        manifest = {
            "format": "actionrnn features",
            "format_version": FORMAT_VERSION,
            "actionrnn_version": __version__,
            "entries": format,
            "provenance": provenance,
        }
        try:
            write_text(store.root / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        except OSError as error:
            raise FeatureError(f"{root}: cannot be written ({error.strerror})") from None
        return store

    @classmethod
    def open(cls, root: str | Path) -> FeatureStore:
        """Read the manifest of a store.

        Raises:
            FeatureError: there is no store, or its manifest cannot be read.
        """
        file = Path(root) / MANIFEST
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            version, entries = manifest["format_version"], manifest["entries"]
            provenance = manifest["provenance"]
        except FileNotFoundError:
            raise FeatureError(
                f"{root}: is no feature store ({MANIFEST} is missing); make one with "
                "`actionrnn extract VIDEOS --output STORE`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FeatureError(f"{file}: is damaged ({error}); delete it, extract again") from None
        if version != FORMAT_VERSION or entries not in get_args(Format):
            raise FeatureError(f"{file}: format version {version} ({entries}) is not known here")
        return cls(Path(root), provenance, entries)

    def keys(self) -> list[str]:
        """The names of all entries: their paths below the store, without the ending."""
        suffix = f".{self.format}"
        files = self.root.rglob(f"*{suffix}")
        return sorted(
            file.relative_to(self.root).as_posix().removesuffix(suffix)
            for file in files
            if not file.name.startswith(".")
        )

    def write(self, key: str, features: Features) -> None:
        """Store the features of one clip, whole or not at all.

        Raises:
            FeatureError: the values are not finite or too large for float16, or the
                folder cannot be written.
        """
        with np.errstate(over="ignore"):
            values = features.values.astype(np.float16)
        if not np.isfinite(values).all():
            raise FeatureError(
                f"{key}: features are not finite in float16 "
                f"(largest {np.abs(features.values).max():g}); use another backbone or weights"
            )
        try:
            if self.format == "npy":
                self._write_npy(key, values, features)
            else:
                self._write_safetensors(key, values, features)
        except OSError as error:
            raise FeatureError(f"{self.root}: cannot be written ({error.strerror})") from None

    def read(self, key: str) -> Features:
        """Load the features of one clip, values as float32.

        Raises:
            FeatureError: the entry is missing or damaged.
        """
        file = self.path_of(key)
        if not file.is_file():
            raise FeatureError(f"{file}: no such entry; run the extraction again")
        try:
            values, times, provenance = self._read(file)
            return Features(values.astype(np.float32), times, provenance)
        except (OSError, EOFError, TypeError, ValueError, KeyError, SafetensorError) as error:
            raise FeatureError(
                f"{file}: is damaged ({error}); delete it and extract again"
            ) from None

    def remove(self, key: str) -> None:
        """Delete one entry, if it is there."""
        self.path_of(key).unlink(missing_ok=True)
        if self.format == "npy":
            self.path_of(key).with_name(f"{self.path_of(key).stem}.json").unlink(missing_ok=True)

    def holds(self, key: str, source: Path) -> bool:
        """Whether a whole entry is there that was computed from this very source."""
        try:
            provenance = self.read(key).provenance
        except FeatureError:
            return False
        if any(provenance.get(part) != self.provenance.get(part) for part in IDENTITY):
            return False
        known, now = provenance.get("source", {}), file_state(source)
        if known.get("size_bytes") != now.size_bytes:
            return False
        if known.get("mtime_ns") == now.mtime_ns:
            return True
        return bool(known.get("sha256") == file_sha256(source))

    def path_of(self, key: str) -> Path:
        """The file of one entry."""
        return self.root / f"{key}.{self.format}"

    def failures(self) -> list[dict[str, str]]:
        """The videos that could not be used: `key`, `path` and `reason` of each."""
        file = self.root / FAILURES
        if not file.exists():
            return []
        try:
            failures: list[dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FeatureError(f"{file}: is damaged ({error}); delete it") from None
        return failures

    def write_failures(self, failures: list[dict[str, str]]) -> None:
        """Replace the list of failures; an empty one removes the file."""
        file = self.root / FAILURES
        if failures:
            write_text(file, json.dumps(failures, indent=2) + "\n")
        else:
            file.unlink(missing_ok=True)

    def _write_safetensors(self, key: str, values: NDArray[Any], features: Features) -> None:
        tensors = {"features": values, "pts_seconds": features.pts_seconds}
        metadata = {"actionrnn": json.dumps(features.provenance)}
        with atomic_path(self.path_of(key)) as temporary:
            save_file(tensors, temporary, metadata=metadata)

    def _write_npy(self, key: str, values: NDArray[Any], features: Features) -> None:
        described = {**features.provenance, "pts_seconds": features.pts_seconds.tolist()}
        file = self.path_of(key)
        write_text(file.with_name(f"{file.stem}.json"), json.dumps(described) + "\n")
        with atomic_path(file) as temporary, temporary.open("wb") as opened:
            np.save(opened, values)

    def _read(self, file: Path) -> tuple[NDArray[Any], NDArray[np.float64], dict[str, Any]]:
        if self.format == "npy":
            described = json.loads(file.with_name(f"{file.stem}.json").read_text("utf-8"))
            times = np.array(described.pop("pts_seconds"), np.float64)
            return np.load(file, allow_pickle=False), times, described
        with safe_open(file, framework="np") as entry:
            provenance = json.loads(entry.metadata()["actionrnn"])
            return entry.get_tensor("features"), entry.get_tensor("pts_seconds"), provenance


def require_same(present: dict[str, Any], wanted: dict[str, Any], where: str) -> None:
    """Refuse to mix features of different origin.

    Raises:
        FeatureError: backbone, weights, preprocessing or sampling differ; both are named.
    """
    for part in IDENTITY:
        if present.get(part) != wanted.get(part):
            raise FeatureError(
                f"{where}: its features have {part} {present.get(part)}, wanted is "
                f"{wanted.get(part)}; choose another folder, or delete this one"
            )
