"""Features of others come in, a head learns from them; and ours go out again."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from actionrnn.apps.cli import main
from actionrnn.errors import FeatureError
from actionrnn.features.imported import import_features
from actionrnn.features.provenance import Features, VideoFile
from actionrnn.features.store import FeatureStore, verify_store
from tests.old_files import in_old_form
from tests.tiny import tiny_provenance

CLIPS = [f"{label}/{label}{number}" for label in ("falls", "rises") for number in range(8)]


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def values_of(key: str) -> np.ndarray:
    """(T, 4): the first feature rises or falls; the same values in either order."""
    number = int(key[-1])
    ramp = np.linspace(-1, 1, 6 + number % 3, dtype=np.float32)
    noise = np.random.default_rng(number).normal(size=(len(ramp), 3)).astype(np.float32) / 10
    return np.column_stack([ramp if "rises" in key else ramp[::-1], noise])


def write_folder(folder: Path, ending: str) -> Path:
    for key in CLIPS:
        path = folder / f"{key}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if ending == ".npy":
            np.save(path, values_of(key))
        elif ending == ".npz":
            np.savez(path, features=values_of(key), pts_seconds=np.arange(len(values_of(key))) / 4)
        else:
            torch.save(torch.from_numpy(values_of(key).copy()), path)
    return folder


def write_one_file(path: Path) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **{key: values_of(key) for key in CLIPS})
    elif path.suffix == ".pt":
        torch.save({key: torch.from_numpy(values_of(key).copy()) for key in CLIPS}, path)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as opened:
            for key in CLIPS:
                opened[key] = values_of(key)
    return path


def assert_all_there(store: FeatureStore) -> None:
    assert store.keys() == sorted(CLIPS)
    for key in CLIPS:
        expected = values_of(key).astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(store.read(key).values, expected)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".pt"])
def test_a_folder_of_files_comes_in(tmp_path: Path, ending: str) -> None:
    source = write_folder(tmp_path / "theirs", ending)
    store = import_features(source, tmp_path / "store", rate_fps=4)
    assert_all_there(store)
    times = store.read(CLIPS[0]).pts_seconds
    np.testing.assert_allclose(times, np.arange(len(times)) / 4)


@pytest.mark.parametrize("name", ["all.npz", "all.pt", "all.h5"])
def test_one_file_with_an_array_a_clip_comes_in(tmp_path: Path, name: str) -> None:
    assert_all_there(import_features(write_one_file(tmp_path / name), tmp_path / "store"))


def test_one_array_with_names_comes_in(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    np.save(tmp_path / "all.npy", array)
    (tmp_path / "names.txt").write_text("a/x.avi\na/y.avi\nb/z.mp4\n")
    store = import_features(tmp_path / "all.npy", tmp_path / "store", names=tmp_path / "names.txt")
    assert store.keys() == ["a/x", "a/y", "b/z"]
    np.testing.assert_allclose(store.read("b/z").values, array[2], atol=2e-3)


def test_a_head_learns_from_imported_features(tmp_path: Path) -> None:
    """Order alone tells the classes apart; then the model is tested on the very store."""
    source, store = write_folder(tmp_path / "theirs", ".npy"), tmp_path / "store"
    result = run_command("store", "import", source, "-o", store, "--name", "i3d", "--rate-fps", 4)
    assert result.exit_code == 0, result.output
    assert "16 entries" in result.output
    settings = [f"data.features={store}", "head.temporal_pooling=last"]
    result = run_command("train", "folder_example", *settings, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["top1"] == 1.0
    assert report["config"]["backbone"]["name"] == "imported/i3d"
    result = run_command("evaluate", tmp_path / "run", f"data.features={store}")
    assert result.exit_code == 0, result.output
    result = run_command("extract", tmp_path, "-o", store)
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_a_model_of_imported_features_sees_no_video(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    import_features(write_folder(tmp_path / "theirs", ".npy"), tmp_path / "store", name="i3d")
    settings = [f"data.features={tmp_path / 'store'}", "train.epochs=1"]
    assert run_command("train", "folder_example", *settings, "-o", tmp_path / "run").exit_code == 0
    video = make_video("clip.avi")
    result = run_command("classify", video, "--model", tmp_path / "run")
    assert result.exit_code == 1
    assert "trained on imported features" in result.output


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.npy", lambda p: np.save(p, np.array([{}], object)), "cannot be read"),
        ("a.pt", lambda p: torch.save({"a": pytest.Item}, p), "cannot be read"),
        ("a.npy", lambda p: p.write_bytes(b"no"), "cannot be read"),
        ("a.npy", lambda p: np.save(p, np.zeros((2, 3, 4))), "--names FILE"),
        ("a.npz", lambda p: np.savez(p, x=np.zeros((2, 3)), y=np.zeros((2, 4))), "4 features"),
        ("a.npz", lambda p: np.savez(p, x=np.full((2, 3), np.nan)), "not finite"),
        ("a.npz", lambda p: np.savez(p, x=np.array([["a"]])), "needed are numbers"),
        ("a.txt", lambda p: p.write_text("1 2"), "is not a .npy"),
    ],
)
def test_what_is_no_feature_file_is_one_line(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(FeatureError, match=re.escape(message)) as raised:
        import_features(tmp_path / name, tmp_path / "store")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["../../out", "/out", "a/../../../out", "..", "....//out"])
def test_a_name_never_leads_out_of_the_store(tmp_path: Path, name: str) -> None:
    torch.save({name: torch.ones(2, 3), "good": torch.ones(2, 3)}, tmp_path / "all.pt")
    inside = tmp_path / "deep" / "store"
    if name == "..":
        with pytest.raises(FeatureError, match="is not a name"):
            import_features(tmp_path / "all.pt", inside)
    else:
        import_features(tmp_path / "all.pt", inside)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - {tmp_path / "all.pt"}
    assert all(path.is_relative_to(inside) for path in written)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return import_features(write_folder(tmp_path / "in", ".npy"), tmp_path / "store", rate_fps=4)


@pytest.mark.parametrize("target", ["npy", "hdf5"])
def test_what_goes_out_comes_in_the_same(store: FeatureStore, tmp_path: Path, target: str) -> None:
    if target == "hdf5":
        pytest.importorskip("h5py")
    out = tmp_path / ("out" if target == "npy" else "out.h5")
    result = run_command("store", "export", store.root, "--to", target, "-o", out)
    assert result.exit_code == 0, result.output
    assert_all_there(import_features(out, tmp_path / "again", rate_fps=4))
    assert run_command("store", "export", store.root, "--to", target, "-o", out).exit_code == 1


def test_parquet_holds_every_value(store: FeatureStore, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    result = run_command("store", "export", store.root, "--to", "parquet", "-o", tmp_path / "a.pq")
    assert result.exit_code == 0, result.output
    table = parquet.read_table(tmp_path / "a.pq")
    for key, values, times in zip(
        *(table[name].to_pylist() for name in ("key", "features", "pts_seconds")), strict=True
    ):
        features = store.read(key)
        np.testing.assert_array_equal(np.array(values, np.float32), features.values)
        np.testing.assert_array_equal(times, features.pts_seconds)
    assert json.loads(table.schema.metadata[b"provenance"]) == store.provenance.to_json()


def test_shards_hold_every_clip(store: FeatureStore, tmp_path: Path) -> None:
    result = run_command("store", "export", store.root, "--to", "webdataset", "-o", tmp_path / "w")
    assert result.exit_code == 0, result.output
    [shard] = (tmp_path / "w").iterdir()
    with tarfile.open(shard) as tar:
        names = tar.getnames()
        for array, described in zip(names[::2], names[1::2], strict=True):
            key = json.loads(tar.extractfile(described).read())["key"]  # type: ignore[union-attr]
            content = tar.extractfile(array).read()  # type: ignore[union-attr]
            np.testing.assert_array_equal(np.load(io.BytesIO(content)), store.read(key).values)
    assert len(names) == 2 * len(CLIPS)


@pytest.mark.parametrize(("size", "offset"), [(1e-8, 0.0), (0.5, 3000.0)])
def test_features_that_half_precision_would_make_constant_are_refused(
    tmp_path: Path, size: float, offset: float
) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", size * rng.normal(size=(6, 4)) + offset)
    with pytest.raises(FeatureError, match="subtract their mean and divide by their deviation"):
        import_features(tmp_path, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((6, 4), complex))
    with pytest.raises(FeatureError, match="holds complex128, needed are numbers"):
        import_features(tmp_path, tmp_path / "store")


# --- stores of version 0.1 in the format npy


MADE = tiny_provenance()
VIDEO = {"name": "a.avi", "size_bytes": 7, "sha256": "1" * 64}


def write_npy_store(root: Path, values: dict[str, np.ndarray]) -> Path:
    """As version 0.1 did with `extract --format npy`."""
    manifest = {"format_version": 2, "entries": "npy", "provenance": in_old_form(MADE.to_json())}
    made = manifest["provenance"]
    for key, array in values.items():
        file = root / f"{key}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array)
        times = (np.arange(len(array)) / 3).tolist()
        described = {"sha256": "0" * 64, "key": key, **made, "source": VIDEO}
        blank = json.dumps({**described, "pts_seconds": times}).encode() + b"\n"
        sha256 = hashlib.sha256(blank + file.read_bytes()).hexdigest()
        file.with_suffix(".json").write_bytes(blank.replace(b"0" * 64, sha256.encode(), 1))
    (root / "_store.json").write_text(json.dumps(manifest))
    (root / "_keys.json").write_text(json.dumps(sorted([*values, "bad"])))
    failure = {"key": "bad", "path": "bad.avi", "reason": "is empty"}
    (root / "_failures.json").write_text(json.dumps([failure]))
    return root


def test_a_store_of_0_1_in_the_format_npy_is_refused_with_the_way_to_keep_it(
    tmp_path: Path,
) -> None:
    values = {
        key: rng.normal(size=(3, 4)).astype(np.float16)
        for rng in [np.random.default_rng(0)]
        for key in ("run/a", "walk/b.c")
    }
    old = write_npy_store(tmp_path / "old", values)
    with pytest.raises(FeatureError, match=r"format npy of version 0\.1.*store import .*old --out"):
        FeatureStore.open(old)
    store = import_features(old, tmp_path / "new")
    assert store == FeatureStore.open(tmp_path / "new")
    assert (store.provenance, store.keys()) == (MADE, sorted(values))
    assert store.expected_keys() == ["bad", *values]
    assert [failure.key for failure in store.failures()] == ["bad"]
    for key, array in values.items():
        found = store.read(key)
        np.testing.assert_array_equal(found.values, array)
        np.testing.assert_array_equal(found.pts_seconds, np.arange(3) / 3)
        assert (found.provenance, found.video) == (MADE, VideoFile(**VIDEO))
    assert list(verify_store(store)) == []


@pytest.mark.parametrize("name", ["a.npy", "a.json"])
def test_a_damaged_entry_of_a_store_of_0_1_is_refused(tmp_path: Path, name: str) -> None:
    old = write_npy_store(tmp_path / "old", {"a": np.ones((2, 3), np.float16)})
    content = bytearray((old / name).read_bytes())
    content[-3] ^= 1
    (old / name).write_bytes(content)
    with pytest.raises(FeatureError, match=r"a\.npy: is damaged"):
        import_features(old, tmp_path / "new")


def test_a_store_of_0_1_is_not_imported_over_features_of_other_videos(tmp_path: Path) -> None:
    old = write_npy_store(tmp_path / "old", {"a": np.ones((2, 3), np.float16)})
    video = VideoFile("a.avi", 8, "2" * 64)
    mine = Features(np.zeros((4, 3), np.float32), np.arange(4.0), MADE, video)
    store = FeatureStore.create(tmp_path / "new", MADE)
    store.write("a", mine)
    with pytest.raises(FeatureError, match="has other features of 'a'; choose another"):
        import_features(old, tmp_path / "new")
    assert store.read("a").video == video


def test_features_of_others_are_not_written_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder, size in (("one", 4), ("other", 4), ("larger", 6)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a.npy", rng.normal(size=(5, size)))
    before = import_features(tmp_path / "one", tmp_path / "store").read("a").values
    for folder in ("other", "larger"):
        with pytest.raises(FeatureError, match="has other features of 'a'; choose another"):
            import_features(tmp_path / folder, tmp_path / "store")
    again = import_features(tmp_path / "one", tmp_path / "store")  # the same once more
    np.testing.assert_array_equal(again.read("a").values, before)
