"""The frozen CNN: always in eval mode, never a gradient.

Names: `efficientnet_lite0` (bundled), `torchvision/<name>`, `timm/<name>`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import BackboneConfig
from actionrnn.errors import BackboneError
from actionrnn.features.engines import int8, onnx, openvino
from actionrnn.features.engines.engine import Engine, Job
from actionrnn.features.known import INT8, Known, find_known, is_imported
from actionrnn.features.machine import cpu_precision, is_cpu, num_cores, num_workers
from actionrnn.features.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Backbone:
    """A frozen network and all that is needed to feed it."""

    config: BackboneConfig
    preprocessing: Preprocessing
    weights_sha256: str
    """Of the weights as tensors: the same however they were stored."""
    view_size: int
    """Features of one picture."""
    device: str
    """As torch names it."""
    precision: str
    """Of the computation: `float32`, `bfloat16`, `float16` or `int8`."""
    engine: Engine
    """What computes, with the network's weights: torch, OpenVINO or ONNX Runtime."""
    network: nn.Module | None = None
    """In torch; None where an engine has it converted, and nobody needed torch."""

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
        return num_workers(self.device)

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
        on_cpu = self.device == "cpu"
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
        if self.runtime == "torch" and self.device == "cpu":
            from actionrnn.features.engines.torch import set_own_threads

            set_own_threads(max(1, num_cores() // self.num_workers))

    def _encode_part(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(frames)
        if count < self.batch_frames:  # a full batch takes the same arithmetic every time
            padding = ((0, self.batch_frames - count), (0, 0), (0, 0), (0, 0))
            frames = np.pad(frames, padding)
        return self.encode_batch(np.ascontiguousarray(frames))[:count]


def load_backbone(
    config: BackboneConfig | str | None = None, trained_with: Known | None = None
) -> Backbone:
    """Load a frozen backbone with its weights and its own preprocessing.

    Where it was converted for OpenVINO or ONNX Runtime before, that is all that is read: neither
    its weights' file nor torch is needed then.

    Args:
        config: a `BackboneConfig`, or just the backbone's name.
        trained_with: what a model's own backbone is; it must be that of `config`.

    Raises:
        BackboneError: the name is unknown, the weights are missing or do not fit,
            or the device or the runtime is missing.
    """
    if not isinstance(config, BackboneConfig):
        config = BackboneConfig(name=config) if config else BackboneConfig()
    if is_imported(config.name):
        return _absent(config)
    known = find_known(config, trained_with)
    converted = None if known is None else _open_converted(config, known)
    if converted is not None:
        return converted
    from actionrnn.features import torch_backbone  # which takes seconds to import

    loaded = torch_backbone.load(config)
    return _made(config, loaded.job, loaded.engine, loaded.view_size, loaded.network)


def _open_converted(config: BackboneConfig, known: Known) -> Backbone | None:
    """A backbone whose network was converted before; None: torch has to load it."""
    if config.runtime == "torch" or not is_cpu(config):
        return None
    job = Job(
        config.name,
        known.preprocessing,
        known.weights_sha256,
        device="cpu",
        precision=cpu_precision(config),
        num_workers=num_workers("cpu"),
        num_cores=num_cores(),
    )
    if job.precision == INT8:
        engine = int8.open_converted(config.runtime, job)
    else:
        engine = (onnx if config.runtime == "onnx" else openvino).open_converted(job)
    if engine is None:
        return None
    return _made(config, job, engine, engine.view_size)


def _made(
    config: BackboneConfig,
    job: Job,
    engine: Engine,
    view_size: int,
    network: nn.Module | None = None,
) -> Backbone:
    return Backbone(
        config,
        job.preprocessing,
        job.weights_sha256,
        view_size,
        job.device,
        job.precision,
        engine,
        network,
    )


class _Absent:
    """In the place of what computed imported features; it raises when it is used."""

    name, batch_frames = "torch", 8

    def __init__(self, backbone: str) -> None:
        self._backbone = backbone

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise BackboneError(
            f"{self._backbone}: the model was trained on imported features and has no backbone "
            "that sees videos; use `actionrnn evaluate MODEL data.features=STORE`"
        )


def _absent(config: BackboneConfig) -> Backbone:
    preprocessing = Preprocessing(1, 1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Backbone(config, preprocessing, "", 1, "cpu", "float32", _Absent(config.name))
