"""The backbone in torch: on any device, in any precision that it has."""

from __future__ import annotations

import copy
import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrnn.features.engines.engine import Engine, Job
from actionrnn.features.networks import float32_layers
from actionrnn.features.preprocess import Preprocessing

# On a CPU larger batches gained nothing.
BATCH_FRAMES = {"cpu": 8, "cuda": 128}

_counting = threading.Lock()


class TorchEngine:
    """A network that computes as it is, on the device and in the precision of its weights."""

    name = "torch"

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, device: torch.device
    ) -> None:
        self._network, self._preprocessing, self._device = network, preprocessing, device
        self.batch_frames = BATCH_FRAMES.get(device.type, BATCH_FRAMES["cuda"])

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (N, crop, crop, 3) -> (N, D)."""
        if self._device.type != "cuda":
            return self._encode(frames)
        return _thread_of(self._device).submit(self._encode, frames).result()

    @torch.inference_mode()
    def _encode(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(frames)
        if self._device.type == "cuda":
            pixels = pixels.pin_memory()
        return self._forward(pixels.to(self._device)).float().cpu().numpy()

    def _forward(self, pixels: Tensor) -> Tensor:
        first = next(self._network.parameters(), None)
        dtype = torch.float32 if first is None else first.dtype
        features: Tensor = self._network(self._preprocessing.normalise(pixels).to(dtype))
        return features


def load(job: Job, network: nn.Module) -> Engine:
    """Move the network itself to its device, and convert all layers but those kept exact."""
    exact = float32_layers(network)
    states = [copy.deepcopy(layer.state_dict()) for layer in exact]
    network = network.to(device=job.device, dtype=getattr(torch, job.precision))
    for layer, state in zip(exact, states, strict=True):
        layer.to(torch.float32).load_state_dict(state)
    network = network.to(memory_format=torch.channels_last)
    device = torch.device(job.device)
    if device.type == "cuda" and device.index is None:  # which one is meant, each thread decides
        device = torch.device("cuda", torch.cuda.current_device())
    if device.type == "cuda":
        _thread_of(device)  # before threads ask for it at once
    return TorchEngine(network, job.preprocessing, device)


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


@functools.cache
def _thread_of(device: torch.device) -> ThreadPoolExecutor:
    """The one that computes on a GPU: each further one would set up cuDNN anew, 1.7 seconds."""
    return ThreadPoolExecutor(1, str(device))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_thread_of.cache_clear)  # the thread is not there
