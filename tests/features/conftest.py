"""Small videos, and a backbone that costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actionrnn.config import BackboneConfig
from actionrnn.features.backbone import Backbone, load_backbone
from tests.tiny import make_tiny_backbone, write_video


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """`write_video` into a file below tmp_path."""

    def make(name: str, seed: int = 0, count: int = 20) -> Path:
        return write_video(tmp_path / name, count, seed)

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
