"""A backbone from its weights, loaded by torch, and converted for a faster engine where one is."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from actionrnn.config import BackboneConfig, Runtime
from actionrnn.errors import BackboneError, first_line
from actionrnn.features.drawn_frames import drawn_frames
from actionrnn.features.engines import int8, onnx
from actionrnn.features.engines.engine import Engine, Job, write_cache
from actionrnn.features.engines.onnx_export import load as load_onnx
from actionrnn.features.engines.onnx_export import network_to_onnx
from actionrnn.features.engines.openvino import can_run as openvino_can_run
from actionrnn.features.engines.openvino import load as load_openvino
from actionrnn.features.engines.torch import load as load_torch
from actionrnn.features.known import INT8, recorded_sha256
from actionrnn.features.machine import cpu_precision, num_cores, num_workers
from actionrnn.features.networks import load_network
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.quantise import quantise

_seeding = threading.Lock()


class Loaded(NamedTuple):
    """The parts of a backbone."""

    job: Job
    engine: Engine
    view_size: int
    """Features of one picture."""
    network: nn.Module


def load(config: BackboneConfig) -> Loaded:
    """See `backbone.load_backbone`."""
    with _seeding, torch.random.fork_rng(devices=[]):  # the generator is the whole process's
        torch.manual_seed(0)  # weights `none` are random, but the same every time
        network, preprocessing = load_network(config.name, config.weights)
    network = network.eval().requires_grad_(False)
    preprocessing = replace(preprocessing, resize_mode=config.resize_mode, modality=config.modality)
    device = _device(config)
    job = Job(
        name=config.name,
        preprocessing=preprocessing,
        weights_sha256=recorded_sha256(hash_tensors(network)),
        device=str(device),
        precision=_precision(config, device),
        num_workers=num_workers(device.type),
        num_cores=num_cores(),
    )
    view_size = _view_size(network, preprocessing)  # before an engine moves the network
    return Loaded(job, _load_engine(config.runtime, job, network), view_size, network)


def _load_engine(runtime: Runtime, job: Job, network: nn.Module) -> Engine:
    if job.precision == INT8:
        return _load_int8(runtime, job, network)
    if runtime == "onnx":
        return load_onnx(job, network)
    if runtime == "openvino":
        return load_openvino(job, network)
    if runtime == "auto" and openvino_can_run(job):
        with contextlib.suppress(BackboneError):  # what OpenVINO cannot convert, torch runs
            return load_openvino(job, network)
    return load_torch(job, network)


def _load_int8(runtime: Runtime, job: Job, network: nn.Module) -> Engine:
    """Quantise the network, or take what was quantised from the cache, and open it.

    Raises:
        BackboneError: the runtime or the device has no int8, the extra `onnx` is not installed, or
            the features are too far from those in float32.
    """
    if job.device != "cpu" or runtime == "torch":
        where = job.device if job.device != "cpu" else "torch"
        raise BackboneError(
            f"precision int8 runs on the cpu in OpenVINO or ONNX Runtime, not on {where}; use "
            "device cpu and runtime auto, or leave int8 out"
        )
    if not onnx.is_installed():
        raise BackboneError(
            "precision int8 needs ONNX; run: pip install 'actionrnn[onnx]', or leave int8 out"
        )
    if (found := int8.open_converted(runtime, job)) is not None:
        return found
    feeds = [{"frames": frame[None]} for frame in drawn_frames(job.preprocessing)]
    small = quantise(network_to_onnx(network, job.preprocessing), feeds)
    write_cache(int8.cached_network(job), {"model": np.frombuffer(small.content, np.uint8)})
    return int8.open_quantised(small.content, runtime, job)


def _device(config: BackboneConfig) -> torch.device:
    name = config.device
    if name == "auto" and (config.runtime == "onnx" or config.precision == INT8):
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


def _precision(config: BackboneConfig, device: torch.device) -> str:
    if device.type == "cpu" or config.precision != "auto":
        return cpu_precision(config)
    if device.type != "cuda" or config.runtime == "onnx":
        return "float32"
    major = torch.cuda.get_device_capability(device)[0]
    return "bfloat16" if major >= 8 else "float16" if major >= 7 else "float32"


def hash_tensors(network: nn.Module) -> str:
    """The sha256 of all tensors of a network, with their names."""
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
