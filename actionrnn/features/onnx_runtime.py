"""Networks as ONNX files, and the backbone in ONNX Runtime on a CPU (the extra `onnx`)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import logging
import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrnn import __version__
from actionrnn.errors import BackboneError
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.quiet import quietly
from actionrnn.files import atomic_path

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


class OnnxNetwork:
    """A network with its normalisation in ONNX Runtime; threads may call it at once."""

    def __init__(self, content: bytes, num_threads: int) -> None:
        self._session = open_session(content, num_threads)

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, crop, crop, 3) -> float32 (N, D)."""
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


def load_onnx(
    network: nn.Module, preprocessing: Preprocessing, *, weights_sha256: str, num_threads: int
) -> OnnxNetwork:
    """Export a float32 network, or take the export from the cache, and open it.

    Args:
        num_threads: for each call.

    Raises:
        BackboneError: the extra is not installed, or ONNX cannot express or run the network.
    """
    require_installed()
    identity = {
        "weights_sha256": weights_sha256,
        "network": type(network).__name__,
        "preprocessing": [preprocessing.crop, *preprocessing.mean, *preprocessing.std],
        "versions": [versions(), __version__],
    }
    file = _cache_file(identity)
    with contextlib.suppress(OSError, BackboneError):  # not there, or not as it was written
        return OnnxNetwork(_unsealed(file.read_bytes()), num_threads)
    side = preprocessing.crop
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    content = to_onnx(
        _Normalised(network, preprocessing),
        {"frames": example},
        ["features"],
        {"frames": {0: torch.export.Dim("batch")}},
    )
    with contextlib.suppress(OSError), atomic_path(file) as temporary:  # else it costs time only
        temporary.write_bytes(hashlib.sha256(content).digest() + content)
    return OnnxNetwork(content, num_threads)


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


class _Normalised(nn.Module):
    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, frames: Tensor) -> Tensor:
        features: Tensor = self.network(self.preprocessing.normalise(frames))
        return features


def _refused(error: BaseException) -> BackboneError:
    error = error.__cause__ or error  # torch's own says only at which step it was
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return BackboneError(f"ONNX cannot run this network ({reason}); use runtime torch")


def versions() -> dict[str, str]:
    """Of what makes and runs ONNX files."""
    return {name: metadata.version(name) for name in ("torch", *_PACKAGES)}


def _cache_file(identity: dict[str, Any]) -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return caches / "actionrnn" / "onnx" / f"{identity['network']}-{digest[:20]}.onnx"


def _unsealed(content: bytes) -> bytes:
    digest, model = content[:32], content[32:]
    if hashlib.sha256(model).digest() != digest:
        raise OSError("not as it was written")
    return model
