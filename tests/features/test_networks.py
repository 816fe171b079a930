"""The list of backbones says the truth about each; other libraries are kept quiet meanwhile."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from actionrnn.config import BackboneConfig
from actionrnn.features import networks
from actionrnn.features.backbone import load_backbone
from actionrnn.features.networks import (
    HERE,
    TO_FETCH,
    UNTRAINED,
    BackboneEntry,
    list_backbones,
    quietly,
)


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


@pytest.mark.usefixtures("empty_caches")
def test_the_bundled_backbone_is_here() -> None:
    (entry, *others) = list_backbones("lite0")
    assert entry == BackboneEntry("efficientnet_lite0", 1280, HERE)
    assert any(other.name.startswith("timm/tf_efficientnet_lite0") for other in others)


@pytest.mark.usefixtures("empty_caches")
def test_a_search_finds_parts_of_names_in_any_library() -> None:
    names = [entry.name for entry in list_backbones("MobileNet_v3_s*")]
    assert names == ["torchvision/mobilenet_v3_small"]


@pytest.mark.usefixtures("empty_caches")
def test_torchvision_weights_are_here_once_they_are_cached(tmp_path: Path) -> None:
    (entry,) = list_backbones("torchvision/mobilenet_v3_small")
    assert entry.weights == TO_FETCH
    cached = tmp_path / "hub" / "checkpoints" / "mobilenet_v3_small-047dcff4.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    (entry,) = list_backbones("torchvision/mobilenet_v3_small")
    assert entry.weights == HERE


@pytest.mark.usefixtures("empty_caches")
def test_names_and_sizes_are_those_that_load() -> None:
    entries = [*list_backbones("torchvision/mobilenet"), *list_backbones("timm/lcnet_0")]
    assert len(entries) > 4
    for entry in entries:
        config = BackboneConfig(name=entry.name, weights="none", device="cpu", runtime="torch")
        backbone = load_backbone(config)
        assert backbone.feature_size == entry.feature_size, entry.name


@pytest.mark.usefixtures("empty_caches")
def test_the_list_of_timm_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "MOST_TIMM_NAMES", 3)
    entries = list(list_backbones("timm/lcnet"))
    assert len(entries) == 3
    assert {entry.weights for entry in entries} <= {HERE, TO_FETCH, UNTRAINED}


def test_nothing_matches_nothing() -> None:
    assert list(list_backbones("no-such-network")) == []


def process_state() -> tuple[Any, ...]:
    return sys.stdout, sys.stderr, logging.root.manager.disable, [*warnings.filters]


def test_nothing_is_heard_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    with quietly(errors_too=True):
        print("printed")
        print("printed", file=sys.stderr)
        logging.getLogger("some library").warning("logged")
        warnings.warn("warned", stacklevel=1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_two_threads_at_once_leave_everything_as_it_was(error: type[Exception] | None) -> None:
    before, both_want = process_state(), threading.Event()

    def first() -> None:
        with quietly(errors_too=True):
            both_want.wait(0.3)  # the second one would be within by then
            if error is not None:
                raise error

    def second() -> None:
        with quietly(logging.ERROR):
            both_want.set()
            running[0].exception(60)  # it leaves after the first

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(first)]
        running.append(pool.submit(second))
    assert [type(one.exception()) for one in running] == [error or type(None), type(None)]
    assert process_state() == before
