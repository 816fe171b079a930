"""A backbone that costs nothing, and a video to encode with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import nn

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.features.backbone import Backbone
from actionrnn.features.engines.torch import TorchEngine
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import Provenance


def small_network(seed: int = 0) -> nn.Sequential:
    """A network (N, 3, H, W) -> (N, 128) with random weights, which is converted in no time."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 32, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()


def make_tiny_backbone(grid: int) -> Backbone:
    """The colours of a frame in a `grid` x `grid` raster: 3 * grid**2 features."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(grid), nn.Flatten()).eval()
    preprocessing = Preprocessing(32, 24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Backbone(
        config=BackboneConfig(name="tiny"),
        preprocessing=preprocessing,
        weights_sha256="0" * 64,
        view_size=3 * grid**2,
        device="cpu",
        precision="float32",
        engine=TorchEngine(network, preprocessing, torch.device("cpu")),
        network=network,
    )


def tiny_provenance(**changes: Any) -> Provenance:
    """Of features of that backbone, four a second.

    Args:
        changes: fields of another value.
    """
    return replace(Provenance.of(make_tiny_backbone(2), Sampling(rate_fps=4.0)), **changes)


def write_video(path: Path, count: int = 20, seed: int = 0) -> Path:
    """Encode `count` blurred random pictures of 64 x 48, 25 per second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index, picture in enumerate(coarse):
            pixels = picture.repeat(8, axis=0).repeat(8, axis=1)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def empty(folder: Path) -> Path:
    """A file of no bytes, named as a video."""
    path = folder / "empty.avi"
    path.touch()
    return path


def text(folder: Path) -> Path:
    """A file of words, named as a video."""
    path = folder / "text.avi"
    path.write_text("This is not a video.\n" * 200)
    return path


COLOURS = {
    "red": (220, 30, 40),
    "blue": (30, 40, 220),
    "purple": (220, 40, 220),
    "grey": (128, 128, 128),
}


def write_recording(
    path: Path, colours: Sequence[str], times: Sequence[float] | None = None, seed: int = 0
) -> Path:
    """Encode a picture of 64 x 48 for each colour, with noise, at these times; else 8 a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = [index / 8 for index in range(len(colours))] if times is None else times
    noise = np.random.default_rng(seed).integers(-25, 26, (len(colours), 48, 64, 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for colour, seconds, grain in zip(colours, times, noise, strict=True):
            picture = (COLOURS[colour] + grain).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
