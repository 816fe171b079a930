"""What every engine is, and the cache that OpenVINO and ONNX Runtime share.

Each file beside this one has `load(job, network) -> Engine`, and those two
`open_converted(job) -> Engine | None`, which needs no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import zlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from actionrnn import __version__
from actionrnn.features.preprocess import Preprocessing
from actionrnn.files import atomic_path, caches

Parts = dict[str, NDArray[np.uint8]]
"""A converted network as bytes, by the names of its parts."""


class Engine(Protocol):
    """Computes features of normalised frames; threads may call it at once."""

    name: str
    """As in `backbone.runtime`: torch, openvino or onnx."""
    batch_frames: int
    """N of a full batch, for which it is fastest. Other N are possible, and give features that
    differ in the last bits: libraries choose other arithmetic for other sizes."""

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (N, crop, crop, 3) -> (N, D)."""


@dataclass(frozen=True)
class Job:
    """A frozen network, and where and how exactly it shall be computed."""

    name: str
    """As in the configuration."""
    preprocessing: Preprocessing
    weights_sha256: str
    device: str
    """As torch names it."""
    precision: str
    """Of the computation, as in the provenance; features are float32 in any case."""
    num_workers: int
    """Threads that call the engine at once."""
    num_cores: int
    """Threads that compute, for all of them together."""


def cache_file(engine: str, job: Job, **more: Any) -> Path:
    """Where a converted network is kept; it may be deleted at any time.

    Args:
        more: what else the conversion depends on, in JSON's types; the library's version, say.
    """
    preprocessing = job.preprocessing
    identity = {
        "weights_sha256": job.weights_sha256,
        "network": job.name,
        "preprocessing": [preprocessing.crop, *preprocessing.mean, *preprocessing.std],
        "versions": _versions(job.name),
        **more,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9]+", "-", job.name)
    return caches() / engine / f"{readable}-{digest[:20]}.safetensors"


def _versions(name: str) -> list[str]:
    """Of what makes the network of a backbone."""
    library = name.partition("/")[0]
    packages = ["torch", *([library] if library in ("timm", "torchvision") else [])]
    return [__version__, *map(metadata.version, packages)]


def write_cache(file: Path, parts: Parts) -> None:
    """Keep a converted network; a cache that cannot be written costs time only."""
    with contextlib.suppress(OSError, SafetensorError), atomic_path(file) as temporary:
        save_file(parts, temporary, metadata={"crc32": checksum(parts)})


def read_cache(file: Path) -> Parts | None:
    """A converted network as it was written; None if it is missing or damaged."""
    try:
        with safe_open(file, framework="np") as cached:
            parts = {name: cached.get_tensor(name) for name in cached.keys()}  # noqa: SIM118
            return parts if cached.metadata()["crc32"] == checksum(parts) else None
    except (OSError, KeyError, TypeError, SafetensorError):
        return None


def checksum(parts: Parts) -> str:
    """Against damage alone: the file lies in the user's own folder, and is read at each start."""
    found = 0
    for name in sorted(parts):
        found = zlib.crc32(parts[name].data, found)
    return f"{found:08x}"
