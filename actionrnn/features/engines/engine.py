"""What every engine is, and what OpenVINO and ONNX Runtime share: normalisation and cache.

Each file beside this one has `load(job) -> Engine`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn

from actionrnn import __version__
from actionrnn.features.efficientnet_lite0 import EfficientNetLite0
from actionrnn.features.preprocess import Preprocessing
from actionrnn.files import atomic_path

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
    """A frozen float32 network, and where and how exactly it shall be computed."""

    network: nn.Module
    """In eval mode, without gradients."""
    preprocessing: Preprocessing
    weights_sha256: str
    device: torch.device
    dtype: torch.dtype
    """Of the computation; features are float32 in any case."""
    num_workers: int
    """Threads that call the engine at once."""
    num_cores: int
    """Threads that compute, for all of them together."""

    def float32_layers(self) -> tuple[nn.Module, ...]:
        """The layers that stay in float32 where the rest does not."""
        network = self.network
        return network.float32_layers() if isinstance(network, EfficientNetLite0) else ()


class Normalised(nn.Module):
    """Normalisation and network in one."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, frames: Tensor) -> Tensor:
        """RGB uint8 (N, crop, crop, 3) -> (N, D)."""
        features: Tensor = self.network(self.preprocessing.normalise(frames))
        return features


def cache_file(engine: str, job: Job, **more: Any) -> Path:
    """Where a converted network is kept; it may be deleted at any time.

    Args:
        more: what else the conversion depends on, in JSON's types; the library's version, say.
    """
    preprocessing = job.preprocessing
    identity = {
        "weights_sha256": job.weights_sha256,
        "network": type(job.network).__name__,
        "preprocessing": [preprocessing.crop, *preprocessing.mean, *preprocessing.std],
        "versions": [__version__, torch.__version__],
        **more,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "actionrnn" / engine / f"{identity['network']}-{digest[:20]}.safetensors"


def write_cache(file: Path, parts: Parts) -> None:
    """Keep a converted network; a cache that cannot be written costs time only."""
    with contextlib.suppress(OSError), atomic_path(file) as temporary:
        save_file(parts, temporary, metadata={"sha256": _digest(parts)})


def read_cache(file: Path) -> Parts | None:
    """A converted network as it was written; None if it is missing or damaged."""
    try:
        with safe_open(file, framework="np") as cached:
            parts = {name: cached.get_tensor(name) for name in cached.keys()}  # noqa: SIM118
            return parts if cached.metadata()["sha256"] == _digest(parts) else None
    except (OSError, KeyError, TypeError, SafetensorError):
        return None


def _digest(parts: Parts) -> str:
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(parts[name].data)
    return digest.hexdigest()
