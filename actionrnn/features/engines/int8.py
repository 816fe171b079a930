"""The backbone in 8-bit integers on a CPU, computed by OpenVINO or ONNX Runtime.

A network is quantised once for each of its weights and kept in the user's cache folder. Drawn
pictures calibrate it, so the same weights become the same int8 network on every machine.
"""

from __future__ import annotations

from pathlib import Path

from actionrnn.config import Runtime
from actionrnn.features.engines import onnx, openvino
from actionrnn.features.engines.engine import Job, cache_file, read_cache


def open_converted(runtime: Runtime, job: Job) -> openvino.OpenVinoEngine | onnx.OnnxEngine | None:
    """The network as it was quantised before; None: it was not, or this runtime has no int8."""
    if runtime == "torch" or job.device != "cpu" or not onnx.is_installed():
        return None
    cached = read_cache(cached_network(job))
    if cached is None or "model" not in cached:
        return None
    return open_quantised(cached["model"].tobytes(), runtime, job)


def open_quantised(
    content: bytes, runtime: Runtime, job: Job
) -> openvino.OpenVinoEngine | onnx.OnnxEngine:
    """An engine for a quantised network.

    Args:
        runtime: auto: OpenVINO where it is installed, else ONNX Runtime.

    Raises:
        BackboneError: the runtime cannot run it.
    """
    if runtime == "onnx" or (runtime == "auto" and not openvino.is_installed()):
        return onnx.OnnxEngine(content, onnx.num_threads(job))
    return openvino.open_onnx(content, job)


def cached_network(job: Job) -> Path:
    """Where the quantised network is kept."""
    return cache_file("int8", job, onnx=onnx.versions(), modality=job.preprocessing.modality)
