"""Where features come from: compared part by part, and read in the form of version 0.1."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.errors import FeatureError
from actionrnn.features.backbone import Backbone
from actionrnn.features.entry import pack, unpack
from actionrnn.features.extract import extract_to_store
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import Features, Provenance, VideoFile
from actionrnn.features.store import FeatureStore, verify_store
from tests.old_files import in_old_form, rewrite_store
from tests.tiny import tiny_provenance

MADE = tiny_provenance()
PREPROCESSING, SAMPLING = MADE.preprocessing, MADE.sampling


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (MADE, ""),
        (replace(MADE, precision="bfloat16", runtime="onnx"), ""),
        (replace(MADE, precision="int8"), "precision int8, wanted is floating point"),
        (replace(MADE, backbone="timm/resnet18"), "backbone timm/resnet18, wanted is tiny"),
        (
            replace(MADE, weights_sha256="1" * 64),
            f"weights_sha256 {'1' * 64}, wanted is {'0' * 64}",
        ),
        (
            replace(MADE, preprocessing=replace(PREPROCESSING, resize_mode="squash")),
            "preprocessing.resize_mode squash, wanted is shortest",
        ),
        (
            replace(MADE, backbone="b", sampling=replace(SAMPLING, rate_fps=None)),
            "backbone b, wanted is tiny, and sampling.rate_fps None, wanted is 4.0",
        ),
    ],
)
def test_what_differs_is_named_with_both_values_and_nothing_else(
    other: Provenance, difference: str
) -> None:
    assert other.difference(MADE) == difference
    if not difference:
        other.require_same(MADE, "here")
        return
    with pytest.raises(FeatureError) as caught:
        other.require_same(MADE, "here", "go away")
    assert str(caught.value) == f"here: its features have {difference}; go away"


@pytest.mark.parametrize(
    ("precision", "of_head"), [("float32", ""), ("bfloat16", ""), ("", ""), ("int8", "int8")]
)
def test_a_head_takes_int8_alone_or_never(precision: str, of_head: str) -> None:
    made = replace(MADE, precision=precision, runtime="onnx")
    assert made.for_head() == replace(MADE, precision=of_head, runtime="")
    assert not made.difference(made.for_head())
    assert Provenance.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
@pytest.mark.parametrize("modality", ["rgb", "rgb_diff", "both"])
def test_the_names_of_0_1_are_read(resize_mode: Any, modality: Any) -> None:
    preprocessing = replace(PREPROCESSING, resize_mode=resize_mode, modality=modality)
    made = replace(MADE, preprocessing=preprocessing)
    old = in_old_form(made.to_json())
    assert {"fit", "streams"} < old["preprocessing"].keys()
    assert Provenance.from_json(json.loads(json.dumps(old))) == made
    assert Provenance.from_json(json.loads(json.dumps(made.to_json()))) == made


def change(path: str, value: Any) -> dict[str, Any]:
    """The JSON with one value changed, or taken out if it is `...`."""
    plain = MADE.to_json()
    *above, name = path.split(".")
    inner = plain[above[0]] if above else plain
    if value is ...:
        del inner[name]
    else:
        inner[name] = value
    return plain


@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        (None, r"provenance \(None\) must be an object"),
        ([], r"provenance \(\[\]\) must be an object"),
        ({}, "provenance has no backbone"),
        (change("weights_sha256", ...), "provenance has no weights_sha256"),
        (change("sampling", ...), "provenance has no sampling"),
        (change("sampling.keyframes", ...), "sampling has no keyframes"),
        (change("preprocessing.modality", ...), "preprocessing has no modality"),
        (change("grid", 4), "provenance has the unknown field 'grid'"),
        (change("sampling.grid", 4), "sampling has the unknown field 'grid'"),
        (change("preprocessing.grid", 4), "preprocessing has the unknown field 'grid'"),
        (change("preprocessing.fit", "squash"), "preprocessing has resize_mode twice"),
        (change("preprocessing.resize_mode", "crop"), r'resize_mode \("crop"\)'),
        (change("preprocessing.mean", [1]), "preprocessing.mean"),
        (change("preprocessing", 3), r"preprocessing \(3\) must be an object"),
        (change("sampling.rate_fps", -1), r"sampling.rate_fps \(-1\)"),
        (change("sampling.num_frames", 3), "exclude each other"),
        (change("backbone", 7), "backbone"),
    ],
)
def test_foreign_json_is_refused_in_one_line(
    tmp_path: Path, plain: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Provenance.from_json(plain)
    assert "\n" not in str(caught.value)
    store = FeatureStore.create(tmp_path, MADE)
    manifest = json.loads((tmp_path / "_store.json").read_text())
    (tmp_path / "_store.json").write_text(json.dumps({**manifest, "provenance": plain}))
    with pytest.raises(FeatureError, match=r"_store\.json: is damaged"):
        FeatureStore.open(store.root)


def test_a_video_file_is_read_strictly() -> None:
    plain = {"name": "a.avi", "size_bytes": 7, "sha256": "0" * 64}
    assert VideoFile.from_json(plain) == VideoFile("a.avi", 7, "0" * 64)
    for wrong in ({}, {**plain, "path": "a"}, {**plain, "size_bytes": "7"}, None):
        with pytest.raises(ValueError, match="source"):
            VideoFile.from_json(wrong)


def test_features_made_by_hand_have_no_provenance() -> None:
    features = Features(np.zeros((2, 3), np.float32), np.arange(2.0))
    assert (features.provenance, features.video) == (None, None)
    assert repr(features) == "Features(values=(2, 3), backbone='?')"


# --- stores of version 0.1


def test_a_store_of_0_1_is_read_and_resumed(
    tmp_path: Path, make_video: Callable[..., Path], tiny_backbone: Backbone
) -> None:
    for seed, name in enumerate(("a", "b")):
        make_video(f"videos/{name}.avi", seed)
    root, sampling = tmp_path / "store", Sampling(num_frames=4)

    def extract() -> tuple[int, int]:
        done = extract_to_store(
            [tmp_path / "videos"], root, backbone=tiny_backbone, sampling=sampling
        )
        return done.num_extracted, done.num_skipped

    assert extract() == (2, 0)
    new = FeatureStore.open(root)
    values = {key: new.read(key).values for key in new.keys()}  # noqa: SIM118
    rewrite_store(root)
    assert b"streams" in (root / "a.safetensors").read_bytes()
    old = FeatureStore.open(root)
    assert old == new
    assert list(verify_store(old)) == []
    for key, before in values.items():
        np.testing.assert_array_equal(old.read(key).values, before)
        assert old.read(key).provenance == new.provenance
        assert old.layout(key).provenance == new.provenance
    assert extract() == (0, 2)  # nothing is computed again
    make_video("videos/c.avi", 2)
    assert extract() == (1, 2)  # a mixture of both forms, of one origin
    assert list(verify_store(FeatureStore.open(root))) == []
    other = replace(tiny_backbone.preprocessing, resize_mode="squash")
    with pytest.raises(FeatureError, match="resize_mode shortest, wanted is squash"):
        extract_to_store(
            [tmp_path / "videos"], root,
            backbone=replace(tiny_backbone, preprocessing=other), sampling=sampling,
        )  # fmt: skip


def test_an_entry_keeps_its_form_when_it_is_packed(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, MADE)
    video = VideoFile("a.avi", 7, "0" * 64)
    store.write("a", Features(np.ones((2, 3), np.float32), np.arange(2.0), MADE, video))
    content = store.path_of("a").read_bytes()
    assert pack(unpack(content)) == content


def test_preprocessing_takes_what_json_gives() -> None:
    assert Preprocessing(4, 2, (0, 0, 0), (1, 1, 1)).mean == (0.0, 0.0, 0.0)


def test_features_at_an_overruled_rate_are_not_mixed_with_others(tiny_backbone: Backbone) -> None:
    assumed = Sampling(frame_folder_fps=12)
    made = Provenance.of(tiny_backbone, replace(assumed, overrules_stated_rate=True))
    assert Provenance.from_json(made.to_json()) == made
    plain = Provenance.of(tiny_backbone, assumed)
    assert "overrules_stated_rate" not in plain.to_json()["sampling"]  # as of older versions
    assert plain.difference(made) == "sampling.overrules_stated_rate False, wanted is True"
    assert made.for_head() == plain.for_head()  # a head is told the times
