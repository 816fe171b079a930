"""The list of backbones says the truth about each."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionrnn.config import BackboneConfig
from actionrnn.features import catalogue
from actionrnn.features.backbone import load_backbone
from actionrnn.features.catalogue import (
    HERE,
    TO_FETCH,
    UNTRAINED,
    BackboneEntry,
    list_backbones,
)


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def test_the_bundled_backbone_is_here() -> None:
    (entry, *others) = list_backbones("lite0")
    assert entry == BackboneEntry("efficientnet_lite0", 1280, HERE)
    assert any(other.name.startswith("timm/tf_efficientnet_lite0") for other in others)


def test_a_search_finds_parts_of_names_in_any_library() -> None:
    names = [entry.name for entry in list_backbones("MobileNet_v3_s*")]
    assert names == ["torchvision/mobilenet_v3_small"]


def test_torchvision_weights_are_here_once_they_are_cached(tmp_path: Path) -> None:
    (entry,) = list_backbones("torchvision/mobilenet_v3_small")
    assert entry.weights == TO_FETCH
    cached = tmp_path / "hub" / "checkpoints" / "mobilenet_v3_small-047dcff4.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    (entry,) = list_backbones("torchvision/mobilenet_v3_small")
    assert entry.weights == HERE


def test_names_and_sizes_are_those_that_load() -> None:
    entries = [*list_backbones("torchvision/mobilenet"), *list_backbones("timm/lcnet_0")]
    assert len(entries) > 4
    for entry in entries:
        config = BackboneConfig(name=entry.name, weights="none", device="cpu", runtime="torch")
        backbone = load_backbone(config)
        assert backbone.feature_size == entry.feature_size, entry.name


def test_the_list_of_timm_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MOST_TIMM_NAMES", 3)
    entries = list(list_backbones("timm/lcnet"))
    assert len(entries) == 3
    assert {entry.weights for entry in entries} <= {HERE, TO_FETCH, UNTRAINED}


def test_nothing_matches_nothing() -> None:
    assert list(list_backbones("no-such-network")) == []
