"""Verification: every damaged byte is found, and extraction repairs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.features.backbone import Backbone
from actionrnn.features.entry import Entry, pack
from actionrnn.features.extract import Extraction, extract_to_store
from actionrnn.features.provenance import Features, VideoFile
from actionrnn.features.store import FeatureStore, verify_store
from tests.tiny import tiny_provenance

KEYS = ["a/0", "a/1", "b/2"]


@pytest.fixture
def extraction(
    tmp_path: Path,
    make_video: Callable[..., Path],
    tiny_backbone: Backbone,
) -> Callable[[], Extraction]:
    """Extracts three videos, and says what it did."""
    for seed, key in enumerate(KEYS):
        make_video(f"videos/{key}.avi", seed)

    def extract() -> Extraction:
        return extract_to_store(
            [tmp_path / "videos"],
            tmp_path / "store",
            backbone=tiny_backbone,
            sampling=Sampling(num_frames=4),
        )

    return extract


def found(store: FeatureStore) -> dict[str, str]:
    return {finding.key: finding.problem for finding in verify_store(store)}


def content(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_sound_store_has_no_findings(extraction: Callable[[], Extraction]) -> None:
    assert found(extraction().store) == {}


def delete(store: FeatureStore) -> None:
    store.remove("a/1")


def empty(store: FeatureStore) -> None:
    store.path_of("a/1").write_bytes(b"")


def shorten(store: FeatureStore) -> None:
    store.path_of("a/1").write_bytes(store.path_of("a/1").read_bytes()[:-3])


def lengthen(store: FeatureStore) -> None:
    store.path_of("a/1").write_bytes(store.path_of("a/1").read_bytes() + b"\0")


def replace_by_another(store: FeatureStore) -> None:
    store.path_of("a/1").write_bytes(store.path_of("b/2").read_bytes())


def change_the_origin(store: FeatureStore) -> None:
    features = store.read("a/1")
    other = tiny_provenance(backbone="timm/resnet18")
    entry = Entry("a/1", features.values.astype(np.float16), features.pts_seconds, other)
    store.path_of("a/1").write_bytes(pack(entry))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (delete, "is missing"),
        (empty, "is damaged"),
        (shorten, "is damaged"),
        (lengthen, "is damaged"),
        (replace_by_another, "it is the entry 'b/2'"),
        (change_the_origin, "have backbone timm/resnet18, wanted is tiny"),
    ],
)
def test_damage_is_found_and_repaired(
    extraction: Callable[[], Extraction], damage: Callable[[FeatureStore], None], reason: str
) -> None:
    store = extraction().store
    before = content(store.root)
    damage(store)
    findings = found(store)
    assert list(findings) == ["a/1"]
    assert str(store.path_of("a/1")) in findings["a/1"]
    assert reason in findings["a/1"]
    done = extraction()
    assert (done.num_extracted, done.num_skipped) == (1, 2)
    assert found(store) == {}
    assert content(store.root) == before


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    provenance = tiny_provenance()
    store = FeatureStore.create(tmp_path, provenance)
    values = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    video = VideoFile("a.avi", 1, "0" * 64)
    store.write("a", Features(values, np.arange(2.0), provenance, video))
    file = store.path_of("a")
    whole = file.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        file.write_bytes(flipped)
        assert list(found(store)) == ["a"], f"bit of byte {place}"
    file.write_bytes(whole)
    assert found(store) == {}


def test_a_video_that_failed_is_not_missing(
    tmp_path: Path, extraction: Callable[[], Extraction]
) -> None:
    (tmp_path / "videos" / "a" / "bad.avi").touch()
    done = extraction()
    assert [failure.key for failure in done.failures] == ["a/bad"]
    assert found(done.store) == {}
