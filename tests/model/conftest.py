"""Backbones, and a small model with the bundled one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from actionrnn.config import BackboneConfig, Config, HeadConfig, Sampling
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
from tests.tiny import make_tiny_backbone

LABELS = ("clap", "jump", "wave")


@pytest.fixture(scope="session")
def tiny_backbone() -> Backbone:
    """The colours of a frame in a 2 x 2 grid: 12 features."""
    return make_tiny_backbone(2)


@pytest.fixture
def tiny_model(tiny_backbone: Backbone) -> Recognizer:
    """An untrained head on the tiny backbone, four frames a clip."""
    return _model(tiny_backbone, Config(sampling=Sampling(num_frames=4)))


@pytest.fixture(scope="session")
def bundled_model() -> Recognizer:
    """An untrained head on the bundled backbone."""
    backbone = BackboneConfig(device="cpu")
    config = Config(backbone=backbone, head=HeadConfig(kind="lstm", hidden_size=8))
    return _model(load_backbone(backbone), config)


@pytest.fixture
def saved(bundled_model: Recognizer, tmp_path: Path) -> Path:
    """The file of `bundled_model`."""
    path = tmp_path / "model.safetensors"
    bundled_model.save(path)
    return path


@pytest.fixture
def redescribe() -> Callable[..., None]:
    """Change what a model file says of itself; its tensors stay as they are."""

    def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
        with safe_open(path, framework="pt") as file:
            described = json.loads(file.metadata()["actionrnn"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        edit(described)
        save_file(tensors, path, metadata={"actionrnn": json.dumps(described)})

    return change


def _model(backbone: Backbone, config: Config) -> Recognizer:
    torch.manual_seed(0)
    head = Head(config.head, backbone.feature_size, len(LABELS)).eval()
    return Recognizer(
        backbone, head.trained(), LABELS, config, {"data": "clips", "fold": "holdout"}
    )
