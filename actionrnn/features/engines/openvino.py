"""The backbone in OpenVINO: several times faster on a CPU (the extra `openvino`).

A network is converted once for each of its weights and kept in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import BackboneError, first_line
from actionrnn.features.engines.engine import (
    Engine,
    Job,
    Parts,
    cache_file,
    checksum,
    read_cache,
    write_cache,
)

if TYPE_CHECKING:
    from torch import nn

# More frames at once leave the processor's cache: in float32 4 are 8 % slower than 2.
BATCH_FRAMES = {"float32": 2, "bfloat16": 4, "int8": 4}

_core_lock = threading.Lock()

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
_BESIDE_INT8 = "f32"  # of the layers that are not quantised
_OF_A_CPU = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
"""OpenVINO's properties that tell for which CPUs a network is compiled."""


def is_installed() -> bool:
    """Whether the extra is installed; imports nothing."""
    return importlib.util.find_spec("openvino") is not None


def can_run(job: Job) -> bool:
    """Whether the extra is installed, and knows the device and the precision."""
    return is_installed() and _fits(job)


class OpenVinoEngine:
    """A converted network with its normalisation; threads may call it at once."""

    name = "openvino"

    def __init__(self, compile_for: Callable[[int], Any], batch_frames: int) -> None:
        self.batch_frames = batch_frames
        self._compile_for = compile_for  # a number of frames
        self._compiled = {batch_frames: compile_for(batch_frames)}
        self._compiling = threading.Lock()
        self._own = threading.local()

    @property
    def view_size(self) -> int:
        """D."""
        return int(self._compiled[self.batch_frames].output(0).shape[1])

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (N, crop, crop, 3) -> (N, D)."""
        size = len(frames)
        if size not in (1, self.batch_frames):  # each size would be compiled for itself
            return np.concatenate([self(frame[None]) for frame in frames])
        requests = self._own.__dict__.setdefault("requests", {})
        if size not in requests:
            with self._compiling:  # single frames: a stream's, compiled when the first comes
                if size not in self._compiled:
                    self._compiled[size] = self._compile_for(size)
            requests[size] = self._compiled[size].create_infer_request()
        requests[size].infer({0: frames}, share_inputs=True)
        features: NDArray[np.float32] = requests[size].get_output_tensor(0).data.copy()
        return features


def load(job: Job, network: nn.Module) -> Engine:
    """Convert the network, or take the conversion from the cache, and compile it.

    Raises:
        BackboneError: OpenVINO is not installed, or cannot convert or run the network.
    """
    if not _fits(job):
        raise BackboneError(
            f"runtime openvino runs on the cpu in float32 or bfloat16, not on {job.device} in "
            f"{job.precision}; use runtime torch"
        )
    _require_installed()
    try:
        if (found := open_converted(job)) is not None:
            return found
        parts = _convert(job, network)
        write_cache(_cache_file(job), parts)
        return _engine(job, checksum(parts), lambda: _read(parts))
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        raise BackboneError(
            f"OpenVINO cannot run this backbone ({first_line(error)}); use runtime torch"
        ) from None


def open_onnx(content: bytes, job: Job) -> OpenVinoEngine:
    """An engine for a network, with its normalisation, that is an ONNX file.

    Raises:
        BackboneError: OpenVINO is not installed, or cannot run it.
    """
    _require_installed()
    try:
        source = checksum({"onnx": np.frombuffer(content, np.uint8)})
        return _engine(job, source, lambda: _core().read_model(content))
    except RuntimeError as error:
        raise BackboneError(
            f"OpenVINO cannot run this backbone ({first_line(error)}); use runtime onnx"
        ) from None


def open_converted(job: Job) -> OpenVinoEngine | None:
    """The network as it was converted before; None: it was not, or OpenVINO is not for this."""
    cached = read_cache(_cache_file(job)) if can_run(job) else None
    if cached is None:
        return None
    with contextlib.suppress(RuntimeError, KeyError):  # whole, but of something else
        return _engine(job, checksum(cached), lambda: _read(cached))
    return None


def _require_installed() -> None:
    if not is_installed():
        raise BackboneError(
            "runtime openvino is not installed; run: pip install 'actionrnn[openvino]', "
            "or use runtime auto"
        )


def _fits(job: Job) -> bool:
    return job.device == "cpu" and job.precision in PRECISIONS


def _cache_file(job: Job) -> Path:
    version, batch = _import_openvino().__version__, BATCH_FRAMES[job.precision]
    return cache_file("openvino", job, batch_frames=batch, openvino=version)


def _engine(job: Job, source: str, read: Callable[[], Any]) -> OpenVinoEngine:
    """An engine for a network.

    Args:
        source: the checksum of the network.
        read: gives it, if it was not compiled before.
    """
    network = functools.cache(read)
    engine = OpenVinoEngine(
        lambda num_frames: _compile(job, source, network, num_frames), BATCH_FRAMES[job.precision]
    )
    # Its Python binding makes its tables at the first call, and two first calls at once wait for
    # each other for ever: one holds the table and wants the interpreter, the other the reverse.
    crop = job.preprocessing.crop
    engine(np.zeros((engine.batch_frames, crop, crop, 3), np.uint8))
    return engine


def _compile(job: Job, source: str, network: Callable[[], Any], num_frames: int) -> Any:
    """The network for batches of so many frames; kept, as its CPU compiles it.

    We keep it ourselves: OpenVINO's own cache (CACHE_DIR) does not see when its files are damaged.
    """
    # a stream's single frame is answered by all cores: somebody waits for it
    streams = 1 if num_frames == 1 else job.num_workers
    options = {
        "INFERENCE_PRECISION_HINT": PRECISIONS.get(job.precision, _BESIDE_INT8),
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": str(job.num_cores),
    }
    core, version = _core(), _import_openvino().__version__
    cpu = [core.get_property("CPU", name) for name in _OF_A_CPU]
    made_for = {"frames": num_frames, "options": options, "cpu": cpu, "openvino": version}
    file = cache_file("openvino-compiled", job, source=source, **made_for)
    if (kept := read_cache(file)) is not None:
        with contextlib.suppress(RuntimeError, KeyError):  # whole, but of something else
            return core.import_model(kept["compiled"].tobytes(), "CPU", options)
    model, crop = network(), job.preprocessing.crop
    model.reshape([num_frames, crop, crop, 3])
    compiled = core.compile_model(model, "CPU", options)
    content = np.frombuffer(compiled.export_model().getvalue(), np.uint8)
    write_cache(file, {"compiled": content})
    return compiled


def _read(parts: Parts) -> Any:
    weights = _import_openvino().Tensor(parts["weights"])
    return _core().read_model(parts["xml"].tobytes(), weights)


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


def _convert(job: Job, network: nn.Module) -> Parts:
    """The description of the converted network (`xml`) and its `weights`."""
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    from actionrnn.features.networks import Normalised, float32_layers, quietly

    exact = {*float32_layers(network)}
    scopes = [f"__module.network.{n}/" for n, layer in network.named_modules() if layer in exact]
    crop = job.preprocessing.crop
    shape = (BATCH_FRAMES[job.precision], crop, crop, 3)
    # tracing warns that it is old, and that padding is now fixed, as it is
    with quietly(), torch.inference_mode():
        whole = Normalised(network, job.preprocessing).eval()
        blank = torch.zeros(shape, dtype=torch.uint8)
        traced = torch.jit.trace(whole, blank, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # must live until the conversion is done
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(shape))
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        _import_openvino().serialize(model, xml, weights)
        _keep_float32(xml, scopes)
        return {"xml": np.fromfile(xml, np.uint8), "weights": np.fromfile(weights, np.uint8)}


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
