"""Where the features of a run are: the stores of other runs are found, of version 0.1 as well."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actionrnn.config import BackboneConfig, Config
from actionrnn.config_reading import parse_config
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import open_dataset
from actionrnn.datasets.stored import load_features
from actionrnn.features.backbone import Backbone
from actionrnn.features.provenance import Provenance
from actionrnn.features.store import FeatureStore, verify_store
from tests.old_files import in_old_form, rewrite_store
from tests.tiny import make_tiny_backbone

Load = Callable[[str], tuple[Sequences, int]]


@pytest.fixture
def config(make_clips: Callable[..., Path]) -> Config:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    data = {"root": str(root), "group_pattern": "^([a-z]+)_"}
    return replace(parse_config({"data": data}), backbone=BackboneConfig(name="tiny"))


@pytest.fixture
def load(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """The features of a run, by its name, and how many frames were computed for it."""
    backbone, num_computed = make_tiny_backbone(2), 0
    encode = Backbone.encode_batch

    def count(self: Backbone, frames: np.ndarray) -> np.ndarray:
        nonlocal num_computed
        num_computed += 1
        return encode(self, frames)

    monkeypatch.setattr(Backbone, "encode_batch", count)

    def load(run: str) -> tuple[Sequences, int]:
        nonlocal num_computed
        num_computed = 0
        dataset = open_dataset(config.data)
        _, sequences, failures = load_features(dataset, backbone, config, tmp_path / run)
        assert failures == []
        values = tuple(sequences.values)  # while their files are there
        sequences = replace(sequences, values=values)
        assert sequences.provenance == Provenance.of(backbone, config.sampling)
        return sequences, num_computed

    return load


def stores_of(run: Path) -> list[Path]:
    return sorted(file.parent for file in run.glob("features/*/_store.json"))


def rewrite_run(run: Path, config: Config) -> None:
    """Make the store of a run what version 0.1 would have written, under its name."""
    (store,) = stores_of(run)
    provenance = in_old_form(FeatureStore.open(store).provenance.to_json())
    root = str(Path(str(config.data.root)).resolve())
    digest = hashlib.sha256(json.dumps([root, provenance], sort_keys=True).encode()).hexdigest()
    rewrite_store(store)
    old = store.with_name(f"{store.name[:-8]}{digest[:8]}")
    assert old != store
    store.rename(old)


def assert_equal(one: Sequences, other: Sequences) -> None:
    assert one.clips == other.clips
    assert one.fingerprints == other.fingerprints
    for a, b in zip(one.values, other.values, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("again", ["first", "second"])
def test_the_store_of_a_run_of_0_1_is_read_in_its_place(
    load: Load, config: Config, tmp_path: Path, again: str
) -> None:
    before, computed = load("first")
    assert computed > 0
    rewrite_run(tmp_path / "first", config)
    stores = stores_of(tmp_path / "first")
    after, computed = load(again)
    assert computed == 0
    assert_equal(before, after)
    assert stores_of(tmp_path / "first") == stores  # and nothing was written
    assert not stores_of(tmp_path / "second")


def test_what_a_run_of_0_1_lacks_is_extracted_beside_its_copies(
    load: Load, config: Config, tmp_path: Path
) -> None:
    before, _ = load("first")
    rewrite_run(tmp_path / "first", config)
    root = Path(str(config.data.root))
    shutil.copy(root / "red" / "ann_red.avi", root / "red" / "cid_red.avi")
    after, computed = load("second")
    assert computed > 0
    assert len(after) == len(before) + 1
    (store,) = stores_of(tmp_path / "second")
    assert list(verify_store(FeatureStore.open(store))) == []


def test_a_store_of_other_videos_in_a_folder_of_the_same_name_is_left_alone(
    load: Load, tmp_path: Path
) -> None:
    load("first")
    (store,) = stores_of(tmp_path / "first")
    store.rename(store.with_name(f"{store.name[:-8]}00000000"))
    _, computed = load("second")
    assert computed > 0
    assert stores_of(tmp_path / "second")


def test_features_survive_the_absence_of_their_video(config: Config, tmp_path: Path) -> None:
    """Its disk may be away: nothing is computed again when it is back."""
    root, backbone = Path(str(config.data.root)), make_tiny_backbone(2)
    videos = sorted(root.rglob("*.avi"))
    rows = [f"{path},{path.parent.name}" for path in videos]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    store = tmp_path / "store"
    data = {"layout": "manifest", "root": str(tmp_path / "list.csv"), "features": str(store)}
    listed = replace(config, data=parse_config({"data": data}).data)

    def load() -> tuple[int, int]:
        dataset = open_dataset(listed.data)
        _, sequences, failures = load_features(dataset, backbone, listed, tmp_path / "run")
        return len(sequences), len(failures)

    assert load() == (4, 0)
    before = {file: file.read_bytes() for file in store.rglob("*.safetensors")}
    videos[0].rename(tmp_path / "away.avi")
    assert load() == (3, 1)
    assert {file: file.read_bytes() for file in store.rglob("*.safetensors")} == before
    (tmp_path / "away.avi").rename(videos[0])
    assert load() == (4, 0)
    assert FeatureStore.open(store).failures() == []
