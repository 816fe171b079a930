"""Stored features: whole, self-describing, and never mixed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from actionrnn.errors import FeatureError
from actionrnn.features.entry import Entry, pack
from actionrnn.features.provenance import Failure, Features, VideoFile
from actionrnn.features.store import MANIFEST, EntryError, FeatureStore, verify_store
from tests.tiny import tiny_provenance

PROVENANCE = tiny_provenance()
BAD = Failure("bad", "bad.avi", "broken")


def make_features(length: int = 3, video: VideoFile | None = None) -> Features:
    values = np.random.default_rng(length).normal(size=(length, 5)).astype(np.float32)
    return Features(values, np.arange(length) / 3, PROVENANCE, video)


def files_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_what_is_written_is_read_back_in_half_precision(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    features = make_features()
    store.write("run/daria", features)
    found = FeatureStore.open(tmp_path).read("run/daria")
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, features.values.astype(np.float16))
    np.testing.assert_array_equal(found.pts_seconds, features.pts_seconds)  # times stay exact
    assert found.provenance == PROVENANCE


def test_a_safetensors_entry_is_laid_out_as_documented(tmp_path: Path) -> None:
    FeatureStore.create(tmp_path, PROVENANCE).write("run/daria", make_features())
    with safe_open(tmp_path / "run" / "daria.safetensors", framework="np") as entry:
        assert set(entry.keys()) == {"features", "pts_seconds"}
        assert entry.get_tensor("features").dtype == np.float16
        assert entry.get_tensor("pts_seconds").dtype == np.float64
        described = json.loads(entry.metadata()["actionrnn"])
    assert len(described.pop("sha256")) == 64
    assert described == {"key": "run/daria", **PROVENANCE.to_json()}


def test_keys_mirror_the_folders_in_order(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    keys = ["b", "a/v1.2", "a/b/c", "with space"]
    for key in keys:
        store.write(key, make_features())
    assert store.keys() == sorted(keys)
    assert all(store.path_of(key).is_file() for key in keys)
    assert len(store.read("a/v1.2")) == 3


@pytest.mark.parametrize("key", ["store", "failures"])
def test_a_clip_named_like_the_stores_own_files_harms_nothing(tmp_path: Path, key: str) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.write(key, make_features())
    store.update_failures({"bad": BAD})
    again = FeatureStore.open(tmp_path)
    assert again.provenance == PROVENANCE
    assert len(again.read(key)) == 3
    assert again.failures() == [BAD]


def test_a_store_goes_on_with_the_same_provenance(tmp_path: Path) -> None:
    FeatureStore.create(tmp_path, PROVENANCE).write("a", make_features())
    again = FeatureStore.create(tmp_path, PROVENANCE)
    assert again.keys() == ["a"]


def test_features_of_another_origin_are_refused_naming_both(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    other = tiny_provenance(backbone="timm/resnet18")
    with pytest.raises(FeatureError) as caught:
        FeatureStore.create(tmp_path, other)
    assert str(caught.value) == (
        f"{tmp_path}: its features have backbone tiny, wanted is timm/resnet18; choose another "
        "folder, or delete this one (extract: --overwrite)"
    )
    with pytest.raises(FeatureError, match="a: its features have backbone timm/resnet18, wanted"):
        store.write("a", replace(make_features(), provenance=other))
    with pytest.raises(FeatureError, match="a: its features have no provenance"):
        store.write("a", replace(make_features(), provenance=None))
    assert files_below(tmp_path) == ["_store.json"]


def test_another_precision_may_be_mixed(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    other = tiny_provenance(precision="bfloat16", runtime="openvino")
    FeatureStore.create(tmp_path, other).write("a", replace(make_features(), provenance=other))
    assert store.read("a").provenance == other
    assert store.provenance == PROVENANCE


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (None, "is not a feature store .*actionrnn extract"),
        ("", r"store\.json: is damaged"),
        ("{half", r"store\.json: is damaged"),
        ("[]", r"store\.json: is damaged"),
        ('{"format_version": 2}', r"store\.json: is damaged"),
        (
            '{"format_version": 99, "entries": "safetensors", "provenance": {}}',
            "format version 99 .*is not known",
        ),
        ('{"format_version": 2, "entries": "hdf5", "provenance": {}}', "hdf5.* is not known"),
        (
            '{"format_version": 2, "entries": "npy", "provenance": {}}',
            "has the format npy of version 0.1; .*`actionrnn store import .* --output NEW`",
        ),
        (
            '{"format_version": 2, "entries": "safetensors", "provenance": {"backbone": "b"}}',
            r"store\.json: is damaged \(provenance has no weights_sha256\)",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(
    tmp_path: Path, manifest: str | None, reason: str
) -> None:
    if manifest is not None:
        (tmp_path / "_store.json").write_text(manifest)
    with pytest.raises(FeatureError, match=reason):
        FeatureStore.open(tmp_path)


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    with pytest.raises(FeatureError, match=r"daria\.safetensors: no such entry"):
        store.read("run/daria")


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.98])
def test_a_truncated_entry_is_refused(tmp_path: Path, keep: float) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.write("a", make_features(100))
    content = store.path_of("a").read_bytes()
    store.path_of("a").write_bytes(content[: int(keep * len(content))])
    with pytest.raises(FeatureError, match=r"a\.safetensors: is damaged .*extract again"):
        store.read("a")


def test_a_safetensors_file_of_something_else_is_refused(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    save_file({"weights": np.zeros(3)}, store.path_of("a"))
    with pytest.raises(FeatureError, match=r"a\.safetensors: is damaged"):
        store.read("a")


@pytest.mark.parametrize("value", [1e5, -7e4, np.inf, np.nan])
def test_values_that_half_precision_cannot_hold_are_refused(tmp_path: Path, value: float) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    values = np.ones((2, 5), np.float32)
    values[1, 2] = value
    with pytest.raises(FeatureError, match="run/a: features are not finite in float16"):
        store.write("run/a", Features(values, np.arange(2.0), PROVENANCE))
    assert files_below(tmp_path) == ["_store.json"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.write("a", make_features(3))
    monkeypatch.setattr(Path, "write_bytes", fail)
    expected = FeatureError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="No space left" if expected is FeatureError else None):
        store.write("b", make_features(4))
    assert store.keys() == ["a"]
    assert not [name for name in files_below(tmp_path) if name.endswith(".tmp")]
    assert len(store.read("a")) == 3


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FeatureError, match="cannot be written"):
        FeatureStore.create(tmp_path / "file" / "store", PROVENANCE)


def write_source(folder: Path, content: bytes = b"a video") -> tuple[Path, VideoFile]:
    """A video, and its description beside the features that were computed from it."""
    source = folder / "a.avi"
    source.write_bytes(content)
    return source, VideoFile(source.name, len(content), hashlib.sha256(content).hexdigest())


def test_an_entry_is_whole_for_its_own_source_only(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "store", PROVENANCE)
    source, video = write_source(tmp_path)
    assert store.presence("a", source) == "absent"
    store.write("a", make_features(3, video))
    assert store.presence("a", source) == "whole"
    os.utime(source)
    assert store.presence("a", source) == "whole"  # another time, the same bytes
    source.write_bytes(b"A VIDEO")
    os.utime(source, ns=(1, 1))
    assert store.presence("a", source) == "changed"  # the same size, made to look old
    source.write_bytes(b"a longer video")
    assert store.presence("a", source) == "changed"
    source.unlink()
    assert store.presence("a", source) == "absent"


def test_a_source_that_did_not_change_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore.create(tmp_path / "store", PROVENANCE)
    source, video = write_source(tmp_path)
    store.write("a", make_features(3, video))
    soon = source.stat().st_ctime_ns + 1_000_000_000
    os.utime(store.path_of("a"), ns=(soon, soon))
    monkeypatch.setattr("actionrnn.features.store.file_sha256", None)  # a call would fail
    assert store.presence("a", source) == "whole"


def test_an_entry_of_another_origin_does_not_count(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "store", PROVENANCE)
    source, video = write_source(tmp_path)
    other = tiny_provenance(backbone="timm/resnet18")
    values = np.zeros((3, 5), np.float16)
    store.path_of("a").write_bytes(pack(Entry("a", values, np.arange(3.0), other, video)))
    assert store.presence("a", source) == "absent"


def test_failures_are_written_and_cleared(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    worse = Failure("a/worse", "worse.avi", "empty", state="0 bytes")
    assert store.failures() == []
    store.update_failures({"bad": BAD})
    store.update_failures({"a/worse": worse})
    assert json.loads((tmp_path / "_failures.json").read_text()) == [
        {"key": "a/worse", "path": "worse.avi", "reason": "empty", "state": "0 bytes"},
        {"key": "bad", "path": "bad.avi", "reason": "broken"},
    ]
    assert store.failures() == [worse, BAD]
    store.update_failures({"bad": None, "a/worse": None, "c": None})
    assert files_below(tmp_path) == ["_store.json"]


def test_a_damaged_list_of_failures_is_refused(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    (tmp_path / "_failures.json").write_text("{half")
    with pytest.raises(FeatureError, match=r"failures\.json: is damaged"):
        store.failures()


def test_the_keys_that_are_expected_are_those_of_every_call(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    assert store.expected_keys() == []
    store.expect(["b", "a"])
    store.expect(["c", "a"])
    assert store.expected_keys() == ["a", "b", "c"]


def test_overwriting_deletes_what_is_of_another_origin_only(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.write("a", make_features())
    store.expect(["a"])
    store.update_failures({"bad": BAD})
    assert FeatureStore.create(tmp_path, PROVENANCE, overwrite=True).keys() == ["a"]
    other = tiny_provenance(backbone="timm/resnet18")
    again = FeatureStore.create(tmp_path, other, overwrite=True)
    assert (again.keys(), again.failures(), again.expected_keys()) == ([], [], [])
    assert files_below(tmp_path) == ["_store.json"]
    assert FeatureStore.open(tmp_path).provenance == other


def test_features_need_one_time_for_each_vector() -> None:
    with pytest.raises(ValueError, match=r"values must be \(T, D\) with pts_seconds \(T,\)"):
        Features(np.zeros((2, 5), np.float32), np.zeros(3))


def test_the_documented_lines_of_numpy_read_an_entry(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")
    namespace: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], namespace)
    store = FeatureStore.create(tmp_path, PROVENANCE)
    features = make_features(7)
    store.write("a", features)
    values, pts_seconds = namespace["read_entry"](store.path_of("a"))
    np.testing.assert_array_equal(values, features.values.astype(np.float16))
    np.testing.assert_array_equal(pts_seconds, features.pts_seconds)


def test_the_checksum_is_the_documented_one(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.write("a", make_features())
    content = store.path_of("a").read_bytes()
    with safe_open(store.path_of("a"), "np") as opened:
        said = json.loads(opened.metadata()["actionrnn"])["sha256"]
    blanked = content.replace(said.encode(), b"0" * 64, 1)
    assert hashlib.sha256(blanked).hexdigest() == said


@pytest.mark.parametrize("name", ["a.json", "sub/a.safetensors", "a.txt"])
def test_a_folder_with_files_of_others_becomes_no_store(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(FeatureError, match=f"holds {name} and is not a feature store"):
        FeatureStore.create(tmp_path, PROVENANCE)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


def test_no_store_begins_inside_of_another(tmp_path: Path) -> None:
    FeatureStore.create(tmp_path / "store", PROVENANCE)
    with pytest.raises(FeatureError, match=r"lies in the feature store .*store; choose a folder"):
        FeatureStore.create(tmp_path / "store" / "deep" / "inner", PROVENANCE)
    assert not (tmp_path / "store" / "deep").exists()


def test_a_store_whose_manifest_was_deleted_goes_on(tmp_path: Path) -> None:
    """As its error advises where the manifest is damaged."""
    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.expect(["a"])
    (tmp_path / "a.safetensors").touch()
    (tmp_path / MANIFEST).unlink()
    assert FeatureStore.create(tmp_path, PROVENANCE).keys() == ["a"]


# --- names


NAMES = (
    st.binary(min_size=1, max_size=255)
    .filter(lambda name: not set(b"/\0") & set(name) and not name.startswith(b"."))
    .map(os.fsdecode)
)
KEYS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@settings(deadline=None, derandomize=True, max_examples=20)
@given(keys=st.sets(KEYS, min_size=1, max_size=4))
def test_any_name_of_a_file_comes_back_as_it_was(keys: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore.create(folder, PROVENANCE)
        failures = {key: Failure(key, f"{key}.avi", "broken") for key in keys}
        store.expect(keys)
        store.update_failures(failures)
        for place, key in enumerate(sorted(keys)):
            store.write(key, make_features(place + 1))
        again = FeatureStore.open(folder)
        assert again.keys() == again.expected_keys() == sorted(keys)
        assert [len(again.read(key)) for key in again.keys()] == [*range(1, len(keys) + 1)]  # noqa: SIM118
        assert {failure.key: failure for failure in again.failures()} == failures
        assert list(verify_store(again)) == []
        layouts, _ = again.map(sorted(keys))
        assert [layout.key for layout in layouts] == sorted(keys)
        for key in keys:
            again.remove(key)
        assert again.keys() == []


def test_long_names_that_begin_alike_are_two_entries(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    keys = ["é" * 125 + "1", "é" * 125 + "2", "x" * 243, "x" * 244]
    for place, key in enumerate(keys):
        store.write(key, make_features(place + 1))
    assert store.keys() == sorted(keys)
    assert [len(store.read(key)) for key in keys] == [1, 2, 3, 4]
    assert (tmp_path / ("x" * 243 + ".safetensors")).is_file()  # as ever


def test_names_that_are_not_utf_8_are_read_from_the_lists_of_earlier_versions(
    tmp_path: Path,
) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    (tmp_path / "_keys.json").write_text('[\n"caf\\udce9"\n]\n')
    (tmp_path / "_failures.json").write_text(json.dumps([{**BAD.to_json(), "key": "caf\udce9"}]))
    assert store.expected_keys() == ["caf\udce9"]
    assert store.failures()[0].key == "caf\udce9"


@pytest.mark.parametrize("key", ["_store", "_keys", "_failures", "_Store"])
def test_a_clip_has_the_name_of_one_of_the_stores_own_files(tmp_path: Path, key: str) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.expect([key, "other"])
    store.update_failures({"bad": BAD})
    store.write(key, make_features())
    again = FeatureStore.open(tmp_path)
    assert (again.keys(), again.provenance) == ([key], PROVENANCE)
    assert (again.expected_keys(), again.failures()) == ([key, "other"], [BAD])
    assert len(again.read(key)) == 3


def test_an_entry_is_not_written_over_another_where_a_disk_takes_both_names_for_one(
    tmp_path: Path,
) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.write("Ann", make_features(3))
    for file in [*tmp_path.glob("Ann.*")]:  # as a disk has it that does not tell them apart
        file.with_name(file.name.lower()).hardlink_to(file)
    with pytest.raises(EntryError, match=r"is the entry 'Ann', as this disk takes both"):
        store.write("ann", make_features(4))
    with pytest.raises(FeatureError, match=r"it is the entry 'Ann'"):
        store.map(["ann"])
    assert len(store.read("Ann")) == 3


def test_nothing_is_deleted_behind_a_link_that_leads_out_of_the_store(tmp_path: Path) -> None:
    other = FeatureStore.create(tmp_path / "other", PROVENANCE)
    other.write("run/ann", make_features())
    store = FeatureStore.create(tmp_path / "store", PROVENANCE)
    (tmp_path / "store" / "run").symlink_to(tmp_path / "other" / "run")
    store.remove("run/ann")
    assert other.keys() == ["run/ann"]


def test_a_hidden_clip_is_listed_like_any_other(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.write(".hidden", make_features())
    store.expect([".hidden"])
    assert list(verify_store(store)) == []


def test_to_begin_anew_deletes_entries_and_nothing_else(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path, PROVENANCE)
    store.expect(["a"])
    store.write("a", make_features())
    (tmp_path / "model.safetensors").write_bytes(b"somebody's model")
    FeatureStore.create(tmp_path, tiny_provenance(backbone="other"), overwrite=True)
    assert not (tmp_path / "a.safetensors").exists()
    assert (tmp_path / "model.safetensors").read_bytes() == b"somebody's model"
