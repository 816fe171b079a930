"""The frozen CNN: always in eval mode, never a gradient.

Names: `efficientnet_lite0` (bundled), `torchvision/<name>`, `timm/<name>`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from actionrnn.config import BackboneConfig, Runtime
from actionrnn.errors import BackboneError, first_line
from actionrnn.features.engines.engine import Engine, Job
from actionrnn.features.engines.int8 import load as load_int8
from actionrnn.features.engines.onnx import load as load_onnx
from actionrnn.features.engines.openvino import can_run as openvino_can_run
from actionrnn.features.engines.openvino import load as load_openvino
from actionrnn.features.engines.torch import TorchEngine
from actionrnn.features.engines.torch import load as load_torch
from actionrnn.features.networks import absent_network, is_imported, load_network
from actionrnn.features.preprocess import Preprocessing

# Batches at once on a CPU, each in a few threads: that beats all threads in one batch by a fifth.
# On a GPU one: a second thread gains 15 %, and each new one sets up cuDNN anew, 1.7 seconds.
MOST_CPU_WORKERS = 8

_counting, _seeding = threading.Lock(), threading.Lock()


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Backbone:
    """A frozen network and all that is needed to feed it."""

    config: BackboneConfig
    network: nn.Module
    preprocessing: Preprocessing
    weights_sha256: str
    """Of the weights as tensors: the same however they were stored."""
    view_size: int
    """Features of one picture."""
    device: torch.device
    dtype: torch.dtype
    engine: Engine
    """What computes, with the network's weights: torch, OpenVINO or ONNX Runtime."""

    @property
    def name(self) -> str:
        """As in the configuration."""
        return self.config.name

    @property
    def feature_size(self) -> int:
        """D, the features of a frame: those of all its views."""
        return self.view_size * self.preprocessing.num_views

    @property
    def runtime(self) -> str:
        """What computes: `openvino`, `onnx` or `torch`."""
        return self.engine.name

    @property
    def batch_frames(self) -> int:
        """The number of frames that are computed together.

        Every batch has exactly this size, so that a clip's features do not depend on the clips
        that share its batch.
        """
        return self.engine.batch_frames

    @property
    def num_workers(self) -> int:
        """How many threads should call `encode_batch` at once."""
        return _num_workers(self.device)

    def encode(self, frames: NDArray[np.uint8], *, padded: bool = True) -> NDArray[np.float32]:
        """Features of pictures that `preprocessing` has scaled, cut and made views of.

        Args:
            frames: RGB uint8 (N, crop, crop, 3): the `num_views` of each frame in turn.
            padded: compute full batches only, so that a frame's features do not depend on
                their number; a stream does not, as its single frames would cost a batch each.

        Returns:
            float32 (N / num_views, D).
        """
        if not padded and len(frames):
            return self._encode_now(frames)
        size = self.batch_frames
        parts = [frames[start : start + size] for start in range(0, len(frames), size)]
        on_cpu = self.device.type == "cpu"
        # torch rounds by how many threads it has: even one batch takes those of a worker
        by_threads = self.runtime == "torch" and on_cpu
        if not on_cpu or not parts or (len(parts) == 1 and not by_threads):
            encoded = [self._encode_part(part) for part in parts]
        else:
            with ThreadPoolExecutor(
                min(self.num_workers, len(parts)), "encode", initializer=self.limit_threads
            ) as pool:
                encoded = list(pool.map(self._encode_part, parts))
        values = np.concatenate([np.empty((0, self.view_size), np.float32), *encoded])
        return values.reshape(-1, self.feature_size)

    def encode_batch(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of one full batch: uint8 (batch_frames, crop, crop, 3) -> (batch_frames, D).

        Threads may call it at once.
        """
        return self.engine(frames)

    def _encode_now(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        num_full = len(frames) - len(frames) % self.batch_frames
        rest = np.ascontiguousarray(frames[num_full:])
        values = [self.encode_batch(rest)] if len(rest) else []
        full = self.encode(frames[:num_full]).reshape(-1, self.view_size)
        return np.concatenate([full, *values]).reshape(-1, self.feature_size)

    def limit_threads(self) -> None:
        """Give the calling thread, which must be one of ours, its share of the cores."""
        if self.device.type == "cpu":
            set_own_threads(max(1, num_cores() // self.num_workers))

    def _encode_part(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(frames)
        if count < self.batch_frames:  # a full batch takes the same arithmetic every time
            padding = ((0, self.batch_frames - count), (0, 0), (0, 0), (0, 0))
            frames = np.pad(frames, padding)
        return self.encode_batch(np.ascontiguousarray(frames))[:count]


def set_own_threads(count: int, others: int | None = None) -> int:
    """Set the number of threads for what torch computes in the calling thread; return the old one.

    `torch.set_num_threads` decides for all threads that have not used torch yet, too. One of those
    takes that back at once: none of ours, and none that begins later, is left with our number.

    Args:
        others: for threads to come; None: as many as worked for the calling thread before.
    """
    with _counting:
        before = torch.get_num_threads()
        if count != before:
            torch.set_num_threads(count)
            if others != count:
                given = [before if others is None else others]
                later = threading.Thread(target=torch.set_num_threads, args=given)
                later.start()
                later.join()
    return before


def load_backbone(config: BackboneConfig | str | None = None) -> Backbone:
    """Load a frozen backbone with its weights and its own preprocessing.

    Args:
        config: a `BackboneConfig`, or just the backbone's name.

    Raises:
        BackboneError: the name is unknown, the weights are missing or do not fit,
            or the device or the runtime is missing.
    """
    if not isinstance(config, BackboneConfig):
        config = BackboneConfig(name=config) if config else BackboneConfig()
    if is_imported(config.name):
        absent = absent_network(config.name)
        cpu = torch.device("cpu")
        return Backbone(config, *absent, "", 1, cpu, torch.float32, TorchEngine(*absent, cpu))
    with _seeding, torch.random.fork_rng(devices=[]):  # the generator is the whole process's
        torch.manual_seed(0)  # weights `none` are random, but the same every time
        network, preprocessing = load_network(config.name, config.weights)
    preprocessing = replace(preprocessing, resize_mode=config.resize_mode, modality=config.modality)
    device = _device(config)
    job = Job(
        network=network.eval().requires_grad_(False),
        preprocessing=preprocessing,
        weights_sha256=_hash_tensors(network),
        device=device,
        dtype=_dtype(config, device),
        num_workers=_num_workers(device),
        num_cores=num_cores(),
    )
    return Backbone(
        config=config,
        network=network,
        preprocessing=preprocessing,
        weights_sha256=job.weights_sha256,
        view_size=_view_size(network, preprocessing),  # before an engine moves the network
        device=device,
        dtype=job.dtype,
        engine=_load_engine(config.runtime, job),
    )


def _load_engine(runtime: Runtime, job: Job) -> Engine:
    if job.dtype == torch.int8:
        return load_int8(runtime, job)
    if runtime == "onnx":
        return load_onnx(job)
    if runtime == "openvino":
        return load_openvino(job)
    if runtime == "auto" and openvino_can_run(job):
        with contextlib.suppress(BackboneError):  # what OpenVINO cannot convert, torch runs
            return load_openvino(job)
    return load_torch(job)


def _num_workers(device: torch.device) -> int:
    return min(MOST_CPU_WORKERS, num_cores()) if device.type == "cpu" else 1


def _device(config: BackboneConfig) -> torch.device:
    name = config.device
    if name == "auto" and (config.runtime == "onnx" or config.precision == "int8"):
        return torch.device("cpu")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise BackboneError(f"device {name!r} cannot be used ({reason}); use auto or cpu") from None
    return device


def _dtype(config: BackboneConfig, device: torch.device) -> torch.dtype:
    precision = config.precision
    if precision != "auto":
        return {
            "float32": torch.float32,
            "bfloat16": torch.bfloat16,
            "float16": torch.float16,
            "int8": torch.int8,
        }[precision]
    if config.runtime == "onnx":
        return torch.float32
    if device.type == "cuda":
        major = torch.cuda.get_device_capability(device)[0]
        return torch.bfloat16 if major >= 8 else torch.float16 if major >= 7 else torch.float32
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32
    return torch.float32


def _hash_tensors(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def _view_size(network: nn.Module, preprocessing: Preprocessing) -> int:
    side = preprocessing.crop
    features = network(torch.zeros(1, 3, side, side))
    if features.ndim != 2:
        raise BackboneError(f"{type(network).__name__}: gives {tuple(features.shape)}, not (N, D)")
    return int(features.shape[1])
