"""The backbone in int8: close to float32, quantised once, and refused where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.errors import BackboneError, FeatureError
from actionrnn.features import quantise, torch_backbone
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.drawn_frames import drawn_frames
from actionrnn.features.engines import onnx, openvino
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import Features, Provenance
from actionrnn.features.quantise import cosines
from actionrnn.features.store import FeatureStore

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PREPROCESSING = Preprocessing(40, 32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


@pytest.fixture
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that these tests share."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


@pytest.fixture(autouse=True)
def _small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone that is converted in no time."""

    def network(*_: str) -> tuple[nn.Module, Preprocessing]:
        layers = nn.Conv2d(3, 16, 3), nn.ReLU6(), nn.Conv2d(16, 32, 3), nn.ReLU6()
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()), PREPROCESSING

    monkeypatch.setattr(torch_backbone, "load_network", network)


def load(**fields: Any) -> Backbone:
    return load_backbone(BackboneConfig(**{"precision": "int8", **fields}))


def features_of(backbone: Backbone) -> np.ndarray[Any, Any]:
    return backbone.encode(drawn_frames(PREPROCESSING, 70)[64:])  # none that calibrates


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_features_are_close_to_those_of_float32(cache: None, runtime: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(runtime, runtime))
    backbone = load(runtime=runtime)
    assert (backbone.runtime, backbone.device) == (runtime, "cpu")
    exact = features_of(load(runtime="torch", precision="float32", device="cpu"))
    values = features_of(backbone)
    assert cosines(values, exact).min() > 0.98
    assert (values != exact).any()
    alone = np.concatenate(
        [backbone.encode(one[None], padded=False) for one in drawn_frames(PREPROCESSING, 2)]
    )
    assert cosines(alone, backbone.encode(drawn_frames(PREPROCESSING, 2))).min() > 0.999


def test_it_is_quantised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: None) -> None:
    expected = features_of(load(runtime="onnx"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    np.testing.assert_array_equal(features_of(load(runtime="onnx")), expected)  # alike anywhere
    (file,) = (tmp_path / "actionrnn" / "int8").iterdir()
    with monkeypatch.context() as inner:
        inner.delattr(torch_backbone, "quantise")
        np.testing.assert_array_equal(features_of(load(runtime="onnx")), expected)
    file.write_bytes(file.read_bytes()[:-1])  # damaged: it is made again
    np.testing.assert_array_equal(features_of(load(runtime="onnx")), expected)


def test_auto_is_never_int8() -> None:
    auto = load_backbone(BackboneConfig(precision="auto", device="cpu", runtime="torch"))
    assert auto.precision in ("float32", "bfloat16")


def test_auto_takes_openvino_and_does_without(cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    assert load().runtime == "openvino"
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    assert load().runtime == "onnx"
    with pytest.raises(BackboneError, match=r"run: pip install 'actionrnn\[openvino\]'"):
        load(runtime="openvino")


def test_what_has_no_int8_is_refused_with_the_remedy(
    cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackboneError, match="not on torch; use device cpu and runtime auto"):
        load(runtime="torch")
    with pytest.raises(BackboneError, match="not on meta; use device cpu"):
        load(device="meta")
    monkeypatch.setattr(onnx, "is_installed", lambda: False)
    with pytest.raises(BackboneError, match=r"int8 needs ONNX; run: pip install 'actionrnn\[onnx"):
        load()


def test_a_network_that_int8_changes_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(quantise, "LEAST_COSINE", 1.01)
    with pytest.raises(BackboneError, match="even with half of the layers in float32; leave int8"):
        load()
    assert not list(tmp_path.iterdir())


def test_its_features_do_not_mix_with_others(cache: None, tmp_path: Path) -> None:
    sampling = Sampling(num_frames=2)
    less = load(runtime="onnx")
    full = load(runtime="torch", precision="float32", device="cpu")
    assert less.weights_sha256 == full.weights_sha256
    store = FeatureStore.create(tmp_path / "store", Provenance.of(full, sampling))
    made = Provenance.of(less, sampling)
    features = Features(np.ones((2, 128), np.float32), np.arange(2.0), made)
    with pytest.raises(FeatureError, match="have precision int8, wanted is floating point"):
        store.write("a", features)
    with pytest.raises(FeatureError, match="have precision floating point, wanted is int8"):
        FeatureStore.create(tmp_path / "store", made)
