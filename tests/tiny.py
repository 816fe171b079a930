"""A backbone that costs nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.features.backbone import Backbone
from actionrnn.features.engines.torch import TorchEngine
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import Provenance


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


def tiny_provenance(**changes: Any) -> Provenance:
    """Of features of that backbone, four a second.

    Args:
        changes: fields of another value.
    """
    return replace(Provenance.of(make_tiny_backbone(2), Sampling(rate_fps=4.0)), **changes)
