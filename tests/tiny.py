"""A backbone that costs nothing."""

from __future__ import annotations

import torch
from torch import nn

from actionrnn.config import BackboneConfig
from actionrnn.features.backbone import Backbone
from actionrnn.features.engines.torch import TorchEngine
from actionrnn.features.preprocess import Preprocessing


def make_tiny_backbone(grid: int) -> Backbone:
    """The colours of a frame in a `grid` x `grid` raster: 3 * grid**2 features."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(grid), nn.Flatten()).eval()
    preprocessing = Preprocessing(32, 24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    cpu = torch.device("cpu")
    return Backbone(
        config=BackboneConfig(name="tiny"),
        network=network,
        preprocessing=preprocessing,
        weights_sha256="0" * 64,
        view_size=3 * grid**2,
        device=cpu,
        dtype=torch.float32,
        engine=TorchEngine(network, preprocessing, cpu),
    )
