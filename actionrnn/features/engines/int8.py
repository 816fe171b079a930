"""The backbone in 8-bit integers on a CPU, computed by OpenVINO or ONNX Runtime.

A network is quantised once for each of its weights and kept in the user's cache folder. Drawn
pictures calibrate it, so the same weights become the same int8 network on every machine.
"""

from __future__ import annotations

import numpy as np

from actionrnn.config import Runtime
from actionrnn.errors import BackboneError
from actionrnn.features.drawn_frames import drawn_frames
from actionrnn.features.engines import onnx, openvino
from actionrnn.features.engines.engine import Engine, Job, cache_file, read_cache, write_cache
from actionrnn.features.quantise import quantise


def load(runtime: Runtime, job: Job) -> Engine:
    """Quantise the network, or take what was quantised from the cache, and open it.

    Args:
        runtime: auto: OpenVINO where it is installed, else ONNX Runtime.

    Raises:
        BackboneError: the runtime or the device has no int8, the extra `onnx` is not installed, or
            the features are too far from those in float32.
    """
    if job.device.type != "cpu" or runtime == "torch":
        where = job.device if job.device.type != "cpu" else "torch"
        raise BackboneError(
            f"precision int8 runs on the cpu in OpenVINO or ONNX Runtime, not on {where}; use "
            "device cpu and runtime auto, or leave int8 out"
        )
    if not onnx.is_installed():
        raise BackboneError(
            "precision int8 needs ONNX; run: pip install 'actionrnn[onnx]', or leave int8 out"
        )
    content = _network(job)
    if runtime == "onnx" or (runtime == "auto" and not openvino.is_installed()):
        return onnx.open_engine(content, job)
    return openvino.open_onnx(content, job)


def _network(job: Job) -> bytes:
    """The quantised network as an ONNX file."""
    file = cache_file("int8", job, onnx=onnx.versions(), modality=job.preprocessing.modality)
    cached = read_cache(file)
    if cached is not None and "model" in cached:
        return cached["model"].tobytes()
    frames = drawn_frames(job.preprocessing)
    feeds = [{"frames": frame[None]} for frame in frames]
    small = quantise(onnx.normalised_to_onnx(job), feeds)
    write_cache(file, {"model": np.frombuffer(small.content, np.uint8)})
    return small.content
