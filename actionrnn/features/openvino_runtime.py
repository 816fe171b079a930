"""The backbone in OpenVINO: several times faster on a CPU (the extra `openvino`).

A network is converted once for each of its weights and kept in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn

from actionrnn import __version__
from actionrnn.errors import BackboneError
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.quiet import quietly
from actionrnn.files import atomic_path

# More frames at once gained nothing: small ones stay in the processor's cache.
BATCH_FRAMES = 4

_core_lock = threading.Lock()

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}


def is_installed() -> bool:
    """Whether the extra is here; imports nothing."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoNetwork:
    """A converted network with its normalisation; threads may call it at once."""

    def __init__(self, compile_for: Callable[[int], Any]) -> None:
        self._compile_for = compile_for  # a number of frames
        self._compiled = {BATCH_FRAMES: compile_for(BATCH_FRAMES)}
        self._compiling = threading.Lock()
        self._own = threading.local()

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, crop, crop, 3) -> float32 (N, D), for N = BATCH_FRAMES or 1."""
        size = len(frames)
        requests = self._own.__dict__.setdefault("requests", {})
        if size not in requests:
            with self._compiling:  # single frames: a stream's, compiled when the first comes
                if size not in self._compiled:
                    self._compiled[size] = self._compile_for(size)
            requests[size] = self._compiled[size].create_infer_request()
        requests[size].infer({0: frames}, share_inputs=True)
        features: NDArray[np.float32] = requests[size].get_output_tensor(0).data.copy()
        return features


def load_openvino(
    network: nn.Module,
    preprocessing: Preprocessing,
    dtype: torch.dtype,
    *,
    weights_sha256: str,
    float32_layers: list[str],
    num_streams: int,
    num_threads: int,
) -> OpenVinoNetwork:
    """Convert a float32 network, or take the conversion from the cache, and compile it.

    Args:
        float32_layers: names of the layers that keep float32 where the rest does not.
        num_streams: how many threads call at once.
        num_threads: that work for all streams together.

    Raises:
        BackboneError: OpenVINO is not installed, or cannot convert or run the network.
    """
    if not is_installed():
        raise BackboneError(
            "runtime openvino is not installed; run: pip install 'actionrnn[openvino]', "
            "or use runtime auto"
        )
    openvino = _import_openvino()
    identity = {
        "weights_sha256": weights_sha256,
        "network": type(network).__name__,
        "preprocessing": [preprocessing.crop, *preprocessing.mean, *preprocessing.std],
        "batch_frames": BATCH_FRAMES,
        "float32_layers": float32_layers,
        "versions": [openvino.__version__, torch.__version__, __version__],
    }
    options = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "NUM_STREAMS": str(num_streams),
        "INFERENCE_NUM_THREADS": str(num_threads),
    }
    try:
        core = _core()
        model = _read_cached(core, _cache_file(identity))
        if model is None:
            xml, weights = _convert(openvino, network, preprocessing, float32_layers)
            with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
                _write_cached(_cache_file(identity), xml, weights)
            model = core.read_model(xml.tobytes(), openvino.Tensor(weights))

        def compile_for(num_frames: int) -> Any:
            model.reshape([num_frames, preprocessing.crop, preprocessing.crop, 3])
            few = {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(max(1, num_threads // 2))}
            return core.compile_model(model, "CPU", options | (few if num_frames == 1 else {}))

        return OpenVinoNetwork(compile_for)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackboneError(
            f"OpenVINO cannot run this backbone ({reason}); use runtime torch"
        ) from None


def cache_folder() -> Path:
    """Where converted networks are kept; may be deleted at any time."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "actionrnn" / "openvino"


def _import_openvino() -> Any:
    """Import it without its reports over the network: with their package absent it makes none."""
    reporter = "openvino_telemetry"
    if "openvino" not in sys.modules and reporter not in sys.modules:
        sys.modules[reporter] = None  # type: ignore[assignment]
    import openvino

    return openvino


def _core() -> Any:
    """One for the whole process, never freed, whoever asks first.

    Its CPU plugin gives the thread a stack for signals and takes that memory back when the last
    core goes, with the thread still pointing at it: then Ctrl-C would be a crash.
    """
    with _core_lock:
        return _only_core()


@functools.cache
def _only_core() -> Any:
    return _import_openvino().Core()


class _Whole(nn.Module):
    """Normalisation and network in one."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing

    def forward(self, frames: Tensor) -> Tensor:
        features: Tensor = self.network(self.preprocessing.normalise(frames))
        return features


@torch.inference_mode()
def _convert(
    openvino: Any, network: nn.Module, preprocessing: Preprocessing, float32_layers: list[str]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The description of the converted network (XML) and its weights, as bytes."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    shape = (BATCH_FRAMES, preprocessing.crop, preprocessing.crop, 3)
    with quietly():  # tracing warns that it is old, and that padding is now fixed, as it is
        whole = _Whole(network, preprocessing).eval()
        blank = torch.zeros(shape, dtype=torch.uint8)
        traced = torch.jit.trace(whole, blank, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # must live until the conversion is done
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(shape))
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        openvino.serialize(model, xml, weights)
        _keep_float32(xml, [f"__module.network.{name}/" for name in float32_layers])
        return np.fromfile(xml, np.uint8), np.fromfile(weights, np.uint8)


def _keep_float32(file: Path, scopes: list[str]) -> None:
    """Mark the operations of some layers, so that no precision hint reaches them."""
    tree = ElementTree.parse(file)
    for layer in tree.iter("layer"):
        if layer.get("type") != "Const" and layer.get("name", "").startswith(tuple(scopes)):
            info = layer.find("rt_info")
            if info is None:
                info = ElementTree.SubElement(layer, "rt_info")
            ElementTree.SubElement(info, "attribute", name="precise", version="0")
    tree.write(file)


def _cache_file(identity: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_folder() / f"{identity['network']}-{digest[:20]}.safetensors"


def _write_cached(file: Path, xml: NDArray[np.uint8], weights: NDArray[np.uint8]) -> None:
    with atomic_path(file) as temporary:
        save_file(
            {"xml": xml, "weights": weights},
            temporary,
            metadata={"sha256": _digest(xml, weights)},
        )


def is_whole(file: Path) -> bool:
    """Whether a cached conversion is there, and as it was written."""
    return _cached(file) is not None


def _read_cached(core: Any, file: Path) -> Any | None:
    """The converted network; None if it is not there, or not as it was written."""
    from openvino import Tensor as OpenVinoTensor

    cached = _cached(file)
    if cached is None:
        return None
    try:
        return core.read_model(cached[0].tobytes(), OpenVinoTensor(cached[1]))
    except RuntimeError:
        return None


def _cached(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    try:
        with safe_open(file, framework="np") as cached:
            xml, weights = cached.get_tensor("xml"), cached.get_tensor("weights")
            return (xml, weights) if cached.metadata()["sha256"] == _digest(xml, weights) else None
    except (OSError, KeyError, TypeError, SafetensorError):
        return None


def _digest(xml: NDArray[np.uint8], weights: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(xml.tobytes())
    digest.update(weights.tobytes())
    return digest.hexdigest()
