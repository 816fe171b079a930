"""Small videos, and a backbone that costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from actionrnn.config import BackboneConfig
from actionrnn.features.backbone import Backbone, load_backbone
from tests.tiny import make_tiny_backbone


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Encode `count` blurred random pictures, 25 per second, into a file below tmp_path."""

    def make(name: str, seed: int = 0, count: int = 20) -> Path:
        path = tmp_path / name
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

    return make


@pytest.fixture(scope="session")
def tiny_backbone() -> Backbone:
    """The colours of a frame in a 4 x 4 grid: 48 features."""
    return make_tiny_backbone(4)


@pytest.fixture(scope="session")
def bundled() -> Backbone:
    """The bundled backbone on the CPU, with its weights, as it comes."""
    return load_backbone(BackboneConfig(device="cpu"))


@pytest.fixture(scope="session")
def bundled_float32() -> Backbone:
    """The bundled backbone on the CPU in float32."""
    return load_backbone(BackboneConfig(device="cpu", precision="float32"))
