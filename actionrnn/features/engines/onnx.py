"""The backbone in ONNX Runtime on a CPU (the extra `onnx`)."""

from __future__ import annotations

import contextlib
import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import BackboneError, first_line
from actionrnn.features.engines.engine import (
    Job,
    cache_file,
    read_cache,
)

# More frames at once gained nothing: small ones stay in the processor's cache.
BATCH_FRAMES = 4

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def is_installed() -> bool:
    """Whether the extra is installed; imports nothing."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


def require_installed() -> None:
    """Raise a BackboneError, with what to install, if the extra is missing."""
    if not is_installed():
        raise BackboneError(
            "ONNX is not installed; run: pip install 'actionrnn[onnx]' (for --runtime onnx, "
            "runtime auto does without)"
        )


class OnnxEngine:
    """A network with its normalisation in ONNX Runtime; threads may call it at once."""

    name = "onnx"
    batch_frames = BATCH_FRAMES

    def __init__(self, content: bytes, num_threads: int) -> None:
        self._session = open_session(content, num_threads)

    @property
    def view_size(self) -> int:
        """D."""
        return int(self._session.get_outputs()[0].shape[1])

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (N, crop, crop, 3) -> (N, D)."""
        [features] = self._session.run(None, {"frames": frames})
        values: NDArray[np.float32] = features
        return values


def open_session(model: bytes | Path, num_threads: int = 0) -> Any:
    """A session on the CPU for an ONNX model; 0 threads: one for each core.

    Raises:
        BackboneError: ONNX Runtime cannot run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(model) if isinstance(model, Path) else model
    try:
        return onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"])
    except Exception as error:  # its own errors have no common parent
        raise refused(error) from None


def open_converted(job: Job) -> OnnxEngine | None:
    """The network as it was exported before; None: it was not, or ONNX Runtime is not for this."""
    cached = read_cache(cached_network(job)) if is_installed() and fits(job) else None
    if cached is None:
        return None
    with contextlib.suppress(BackboneError, KeyError):  # whole, but of something else
        return OnnxEngine(cached["model"].tobytes(), num_threads(job))
    return None


def fits(job: Job) -> bool:
    """Whether it knows the device and the precision."""
    return job.device == "cpu" and job.precision == "float32"


def cached_network(job: Job) -> Path:
    """Where the exported network is kept."""
    return cache_file("onnx", job, onnx=versions())


def num_threads(job: Job) -> int:
    """Of one caller."""
    return max(1, job.num_cores // job.num_workers)


def refused(error: BaseException) -> BackboneError:
    """The error for a network that ONNX cannot express or run."""
    error = error.__cause__ or error  # torch's own says only at which step it was
    return BackboneError(f"ONNX cannot run this network ({first_line(error)}); use runtime torch")


def versions() -> dict[str, str]:
    """Of what makes and runs ONNX files."""
    return {name: metadata.version(name) for name in ("torch", *_PACKAGES)}
