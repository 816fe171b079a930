"""Networks as ONNX files, and the backbone in ONNX Runtime on a CPU (the extra `onnx`)."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from actionrnn.errors import BackboneError
from actionrnn.features.engines.engine import (
    Engine,
    Job,
    Normalised,
    cache_file,
    read_cache,
    write_cache,
)
from actionrnn.features.quiet import quietly

# More frames at once gained nothing: small ones stay in the processor's cache.
BATCH_FRAMES = 4

OPSET = 18
"""Operations that every ONNX Runtime since 1.14 knows."""

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def is_installed() -> bool:
    """Whether the extra is here; imports nothing."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


def require_installed() -> None:
    """Raise a BackboneError, with what to install, if the extra is not here."""
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
        raise _refused(error) from None


def load(job: Job) -> Engine:
    """Export the network, or take the export from the cache, and open it.

    Raises:
        BackboneError: the extra is not installed, or ONNX cannot express or run the network.
    """
    if job.device.type != "cpu" or job.dtype != torch.float32:
        raise BackboneError(
            f"runtime onnx runs on the cpu in float32, not on {job.device} in "
            f"{str(job.dtype).removeprefix('torch.')}; use runtime torch"
        )
    require_installed()
    num_threads = max(1, job.num_cores // job.num_lanes)
    file = cache_file("onnx", job, onnx=versions())
    cached = read_cache(file)
    if cached is not None:
        with contextlib.suppress(BackboneError, KeyError):  # whole, but of something else
            return OnnxEngine(cached["model"].tobytes(), num_threads)
    crop = job.preprocessing.crop
    content = to_onnx(
        Normalised(job.network, job.preprocessing),
        {"frames": torch.zeros(2, crop, crop, 3, dtype=torch.uint8)},
        ["features"],
        {"frames": {0: torch.export.Dim("batch")}},
    )
    write_cache(file, {"model": np.frombuffer(content, np.uint8)})
    return OnnxEngine(content, num_threads)


@torch.inference_mode()
def to_onnx(
    module: nn.Module, inputs: dict[str, Any], outputs: Sequence[str], dynamic: dict[str, Any]
) -> bytes:
    """A module as an ONNX file's bytes.

    Args:
        inputs: an example of each argument by its name, or a dictionary of such.
        outputs: the names of the results.
        dynamic: which dimensions of each argument may vary, as `torch.export` takes it.

    Raises:
        BackboneError: ONNX cannot express it.
    """
    names = [name for given in inputs.items() for name in _leaf_names(*given)]
    buffer = io.BytesIO()
    # it tells of its progress, and warns of what its own parts will lose one day
    with quietly(logging.ERROR, errors_too=True):
        try:
            program = torch.onnx.export(
                module.eval(),
                kwargs=inputs,
                input_names=names,
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=dynamic,
                verbose=False,
            )
            assert program is not None
            program.save(buffer)  # type: ignore[arg-type]
        except Exception as error:  # torch has a dozen kinds of them
            raise _refused(error) from None
    return _without_notes(buffer.getvalue())


def _without_notes(content: bytes) -> bytes:
    """Without what the exporter notes of each operation: the files, on this machine, it is from."""
    import onnx

    model = onnx.load_from_string(content)
    noted = [model, model.graph, *model.functions, *model.graph.node, *model.graph.initializer]
    noted += [*model.graph.input, *model.graph.output, *model.graph.value_info]
    noted += [node for function in model.functions for node in function.node]
    for part in noted:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    stripped: bytes = model.SerializeToString()
    return stripped


def _leaf_names(name: str, example: Any) -> list[str]:
    return list(example) if isinstance(example, dict) else [name]


def _refused(error: BaseException) -> BackboneError:
    error = error.__cause__ or error  # torch's own says only at which step it was
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return BackboneError(f"ONNX cannot run this network ({reason}); use runtime torch")


def versions() -> dict[str, str]:
    """Of what makes and runs ONNX files."""
    return {name: metadata.version(name) for name in ("torch", *_PACKAGES)}
