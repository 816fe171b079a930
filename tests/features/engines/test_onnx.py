"""ONNX Runtime: the same features, converted once, and a cache that may be lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from actionrnn.config import BackboneConfig
from actionrnn.errors import BackboneError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.engines import onnx_export
from actionrnn.features.engines.engine import Job
from actionrnn.features.preprocess import Preprocessing

pytest.importorskip("onnxruntime")

PREPROCESSING = Preprocessing(32, 24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TINY = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()
FRAMES = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), np.uint8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "actionrnn" / "onnx"


def tiny_features() -> np.ndarray:
    job = Job("tiny", PREPROCESSING, "0" * 64, "cpu", "float32", 1, 1)
    return onnx_export.load(job, TINY)(FRAMES)


def test_it_is_converted_once_and_a_damaged_cache_is_made_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = TINY(PREPROCESSING.normalise(torch.from_numpy(FRAMES))).numpy()
    np.testing.assert_allclose(tiny_features(), wanted, atol=1e-5)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    np.testing.assert_allclose(tiny_features(), wanted, atol=1e-5)
    assert len(file.read_bytes()) == len(content)

    def fail(*_: object) -> bytes:
        raise AssertionError("converted again")

    monkeypatch.setattr(onnx_export, "network_to_onnx", fail)
    np.testing.assert_allclose(tiny_features(), wanted, atol=1e-5)


def test_features_of_the_bundled_backbone_are_those_of_torch(bundled_float32: Backbone) -> None:
    backbone = load_backbone(BackboneConfig(device="cpu", runtime="onnx"))
    assert backbone.runtime == "onnx"
    frames = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), np.uint8)
    np.testing.assert_allclose(
        backbone.encode(frames), bundled_float32.encode(frames), rtol=1e-3, atol=1e-3
    )


def test_another_precision_is_refused() -> None:
    config = BackboneConfig(device="cpu", runtime="onnx", precision="bfloat16")
    with pytest.raises(BackboneError, match=r"on the cpu in float32.*bfloat16; use runtime torch"):
        load_backbone(config)


def test_a_network_that_onnx_cannot_express_is_one_error() -> None:
    class Sorted(nn.Module):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svd(frames)[1]

    with pytest.raises(BackboneError, match="use runtime torch"):
        onnx_export.to_onnx(Sorted(), {"frames": torch.zeros(2, 3, 4)}, ["out"], {"frames": {}})
