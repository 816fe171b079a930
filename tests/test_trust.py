"""Files from strangers: nothing in them runs, leaves its folder, fills the memory or is obeyed."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import save_file

import actionrnn
from actionrnn.apps import cli
from actionrnn.config import Sampling
from actionrnn.config_reading import load_config, parse_config
from actionrnn.datasets.folders import open_folder
from actionrnn.errors import ActionrnnError, ConfigError, DatasetError, FeatureError, ModelError
from actionrnn.features.imported import import_features
from actionrnn.features.provenance import Features
from actionrnn.features.store import FeatureStore, verify_store
from actionrnn.text import is_harmless, printable
from actionrnn.training.train import TrainingRun
from tests.tiny import tiny_provenance

Edit = Callable[[dict[str, Any]], object]
MOST_GROWTH_MIB = 300

PROVENANCE = tiny_provenance()

MEASURE = """
import contextlib, io, json, resource, sys
from actionrnn.apps import cli
from actionrnn.features import imported
from actionrnn.model import recognizer as checkpoint
checkpoint.load(sys.argv[1])
for command in json.loads(sys.argv[2]):
    before, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            cli.main(command)
        except SystemExit as ended:
            code = ended.code
    growth_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(json.dumps([code, growth_mib, said.getvalue()]))
"""


class Attack:
    """Unpickling it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (open, (str(self.file), "w"))


@pytest.fixture
def model(run: TrainingRun, tmp_path: Path) -> Path:
    """A model file of one's own."""
    path = tmp_path / "model.safetensors"
    run.model.save(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with one entry, `run/ann`."""
    made = FeatureStore.create(tmp_path / "store", PROVENANCE)
    made.write("run/ann", Features(np.ones((3, 4), np.float32), np.arange(3) / 4, PROVENANCE))
    return made


def rewrite(
    path: Path, edit: Edit, tensors: Callable[[dict[str, Any]], object] = lambda _: None
) -> None:
    """Change what a model says of itself, and its tensors."""
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["actionrnn"])
        values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    edit(described)
    tensors(values)
    save_file(values, path, metadata={"actionrnn": json.dumps(described)})


# Models


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d["config"]["head"].update(hidden_size=10**6),
        lambda d: d["config"]["head"].update(hidden_size=11_000),
        lambda d: d["config"]["head"].update(hidden_size=10**30),
        lambda d: d["config"]["head"].update(num_layers=2**20),
        lambda d: d["config"]["head"].update(num_layers=5000),
        lambda d: d.update(feature_size=10**12),
        lambda d: d.update(feature_size=2**62),
        lambda d: d.update(labels=[str(number) for number in range(200_000)]),
    ],
    ids=["hidden", "hidden 11,000", "no int", "layers", "5,000 layers", "size", "2^62", "labels"],
)
def test_a_huge_declared_model_is_refused(model: Path, run: TrainingRun, edit: Edit) -> None:
    rewrite(model, edit)
    with pytest.raises(ModelError, match=r"model\.safetensors: its (description|tensors)") as seen:
        actionrnn.load(model)
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize("size_bytes", [2**40, 2**63, 2**64 - 1, 99_000_000])
def test_a_huge_head_of_a_file_is_refused(tmp_path: Path, size_bytes: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(size_bytes.to_bytes(8, "little") + b"{}" * 100)
    with pytest.raises(ModelError, match="is not an actionrnn model"):
        actionrnn.load(path)


def test_a_model_that_is_a_pickle_is_not_unpickled(tmp_path: Path) -> None:
    victim = tmp_path / "was here"
    for write in (pickle_to, save_with_torch):
        write(Attack(victim), tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match="is not an actionrnn model"):
            actionrnn.load(tmp_path / "model.safetensors")
    assert not victim.exists()


def pickle_to(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def save_with_torch(content: object, path: Path) -> None:
    torch.save(content, path)


def test_the_attack_would_work(tmp_path: Path) -> None:
    victim = tmp_path / "was here"
    pickle.loads(pickle.dumps(Attack(victim))).close()
    assert victim.exists()


@pytest.mark.parametrize("ending", [".pth", ".pt", ".safetensors"])
def test_foreign_weights_are_not_unpickled(clips: Path, tmp_path: Path, ending: str) -> None:
    victim, weights = tmp_path / "was here", tmp_path / f"weights{ending}"
    torch.save({"stem": Attack(victim)}, weights)
    done = CliRunner().invoke(
        cli.main, ["extract", str(clips), "-o", str(tmp_path / "out"), "--weights", str(weights)]
    )
    assert done.exit_code == 1 and str(weights) in done.output
    assert not victim.exists() and not (tmp_path / "out").exists()


def test_a_deeply_nested_description_is_refused(model: Path) -> None:
    nested = '{"a":' * 100_000 + "1" + "}" * 100_000
    save_file({"x": torch.zeros(1)}, model, metadata={"actionrnn": nested})
    with pytest.raises(ModelError, match="is not an actionrnn model"):
        actionrnn.load(model)


@pytest.mark.parametrize(
    "label", ["\x1b]0;owned\x07", "run\x1b[2J", "a\nb", "\u202egnp.exe", 7, None, ["run"], {}]
)
def test_labels_that_act_on_a_terminal_are_refused(model: Path, label: object) -> None:
    rewrite(model, lambda d: d["labels"].__setitem__(0, label))
    done = CliRunner().invoke(cli.main, ["info", str(model)])
    assert done.exit_code == 1
    assert done.output.count("\n") == 1 and is_harmless(done.output.rstrip("\n"))


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "[red]x[/]", "{{7*7}}", "[/b]"])
def test_labels_that_hold_markup_are_shown_as_they_are(
    model: Path, clips: Path, tmp_path: Path, label: str
) -> None:
    sampling = asdict(Sampling(rate_fps=4.0))
    rewrite(
        model,
        lambda d: d.update(
            labels=[label, *d["labels"][1:]],
            config=d["config"] | {"sampling": sampling},
            backbone=d["backbone"] | {"sampling": sampling},
        ),
    )
    clip = next(clips.rglob("*.avi"))
    done = CliRunner().invoke(cli.main, ["classify", str(clip), "--model", str(model)])
    assert done.exit_code == 0 and label in done.output
    page = tmp_path / "timeline.html"
    done = CliRunner().invoke(
        cli.main, ["timeline", str(clip), "--model", str(model), "-o", str(page)]
    )
    assert done.exit_code == 0, done.output
    assert "<script>alert" not in page.read_text(encoding="utf-8")


# Stores and features


@pytest.mark.parametrize("key", ["../out", "/out", "a/../../out", "a/./b", "", "a//b"])
def test_a_key_never_leads_out_of_a_store(store: FeatureStore, key: str) -> None:
    features = store.read("run/ann")
    with pytest.raises(FeatureError, match="is not a name"):
        store.write(key, features)
    with pytest.raises(FeatureError, match="is not a name"):
        store.read(key)


def test_a_link_in_a_store_is_not_written_through(store: FeatureStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (store.root / "walk").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(FeatureError, match="leads out of"):
        store.write("walk/ann", store.read("run/ann"))
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["_store.json", "_keys.json", "_failures.json"])
@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[[]]", "{}", "7", '[{"key": 7}]', '{"format": "actionrnn features"}', "\xff"],
)
def test_a_damaged_list_of_a_store_is_one_line(store: FeatureStore, name: str, text: str) -> None:
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    assert (store.root / "_store.json") in before
    (store.root / name).write_text(text, encoding="latin-1")
    try:
        opened = FeatureStore.open(store.root)
        for finding in verify_store(opened):
            assert is_harmless(finding.problem)
        opened.failures()
    except ActionrnnError as error:
        assert "\n" not in str(error)


def test_an_entry_with_a_huge_head_is_damaged(store: FeatureStore) -> None:
    store.path_of("run/ann").write_bytes((2**33).to_bytes(8, "little") + b" " * 100)
    with pytest.raises(FeatureError, match="is damaged"):
        store.layout("run/ann")
    with pytest.raises(FeatureError, match="is damaged"):
        store.read("run/ann")
    (finding,) = verify_store(store)
    assert "is damaged" in finding.problem


def write_npz_bomb(path: Path) -> None:
    """Two megabytes that would become 512."""
    shape = (2**17, 2**10)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("clip.npy", "w") as member,
    ):
        member.write(head.getvalue())
        for _ in range(shape[0] * shape[1] * 4 // 2**24):
            member.write(bytes(2**24))


def write_npz_liar(path: Path) -> None:
    """A few bytes whose head says that they are a terabyte."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (2**28, 2**10)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip.npy", head.getvalue())


def write_npy_liar(path: Path) -> None:
    """The same, not packed."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (2**28, 2**10)}
        )


def write_hdf5_bomb(path: Path) -> None:
    """A data set of a terabyte of which nothing is stored."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("clip", (2**28, 2**10), "f4", chunks=(1024, 1024), compression="gzip")


BOMBS: dict[str, Callable[[Path], None]] = {
    "bomb.npz": write_npz_bomb,
    "liar.npz": write_npz_liar,
    "liar.npy": write_npy_liar,
    "bomb.h5": write_hdf5_bomb,
}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does")
def test_what_would_fill_the_memory_is_refused_before_it_does(
    model: Path, run: TrainingRun, tmp_path: Path
) -> None:
    good, target = tmp_path / "good.safetensors", tmp_path / "imported"
    run.model.save(good)
    rewrite(model, lambda d: d["config"]["head"].update(hidden_size=11_000))
    commands = [["classify", "clip.avi", "--model", str(model)]]
    for name, write in BOMBS.items():
        write(tmp_path / name)
        commands.append(["store", "import", str(tmp_path / name), "-o", str(target)])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(good), json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    for command, line in zip(commands, done.stdout.splitlines(), strict=True):
        code, growth_mib, said = json.loads(line)
        assert code == 1 and said.startswith("error: ") and said.count("\n") == 1, (command, said)
        assert growth_mib < MOST_GROWTH_MIB, (command, said)
    assert not target.exists()


def test_features_are_not_unpickled(tmp_path: Path) -> None:
    victim = tmp_path / "was here"
    np.save(tmp_path / "a.npy", np.array([Attack(victim)], object))
    np.savez(tmp_path / "b.npz", clip=np.array([Attack(victim)], object))
    torch.save({"clip": Attack(victim)}, tmp_path / "c.pt")
    pickle_to({"clip": Attack(victim)}, tmp_path / "d.npy")
    for name in ("a.npy", "b.npz", "c.pt", "d.npy"):
        with pytest.raises(FeatureError, match="cannot be read"):
            import_features(tmp_path / name, tmp_path / "imported")
    assert not victim.exists()


# Configurations


@pytest.mark.parametrize(
    "text",
    [
        "data: !!python/object/apply:os.system ['touch was_here']",
        "data: !!python/name:os.system",
        "data: !!python/module:antigravity",
        "data: !<tag:yaml.org,2002:python/object/new:os.system> [touch was_here]",
        "a: &a [x, x]\nb: &b [*a, *a]\ndata: {root: *b}",
        "data: &d\n  root: *d",
        "[" * 50_000,
        "{a: " * 50_000,
        "train: {epochs: 1" + "0" * 5_000 + "}",
    ],
    ids=["apply", "name", "module", "new", "aliases", "loop", "lists", "maps", "digits"],
)
def test_a_hostile_config_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "hostile.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"hostile\.yaml"):
        load_config(file)
    done = CliRunner().invoke(cli.main, ["train", str(file)])
    assert done.exit_code == 1 and done.output.startswith("error: ")
    assert len(done.output) < 2_000
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.yaml"]


def test_an_override_is_plain_too() -> None:
    with pytest.raises(ConfigError):
        parse_config({}, ["train.epochs=!!python/name:os.system"])


def test_a_config_cannot_ask_for_a_model_that_fills_the_memory() -> None:
    with pytest.raises(ConfigError, match="must be at most"):
        parse_config({"head": {"hidden_size": 50_000, "num_layers": 8}})


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be there")
def test_class_folders_that_act_on_a_terminal_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run\x1b[2J").mkdir()
    (tmp_path / "run\x1b[2J" / "a.avi").touch()
    with pytest.raises(DatasetError) as seen:
        open_folder(tmp_path)
    assert "\x1b" not in str(seen.value).replace(str(tmp_path), "")


def test_a_file_name_in_an_error_cannot_act_on_a_terminal() -> None:
    done = CliRunner().invoke(cli.main, ["info", "no\x1b]0;owned\x07.mp4"])
    assert done.exit_code == 1
    assert done.output == "error: no\\x1b]0;owned\\x07.mp4: no such file or folder\n"
    assert printable("two\nlines") == "two\nlines"
