"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.files import (
    as_path,
    as_written,
    atomic_folder,
    atomic_path,
    caches,
    file_sha256,
    file_state,
    remove_leftovers,
    write_text,
)


def test_a_file_appears_with_its_folders_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "atomic", "text")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_so_has_one_that_another_library_put_there(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "atomic") as temporary:
        (tmp_path / "theirs").touch(mode=0o600)
        (tmp_path / "theirs").replace(temporary)
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_long_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)
    write_text(path, "text")
    assert path.read_text() == "text"


@pytest.mark.parametrize("content", [b"", b"abc", b"x" * (3 << 20)])
def test_the_sha256_is_that_of_the_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()


def test_a_folder_changes_when_one_of_its_files_does(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").write_bytes(b"345")
    state, sha256 = file_state(tmp_path), file_sha256(tmp_path)
    assert state.size_bytes == 5
    assert sha256 == hashlib.sha256(b"12345").hexdigest()
    os.utime(tmp_path / "a", ns=(1, state.mtime_ns + 5))
    assert file_state(tmp_path).mtime_ns == state.mtime_ns + 5
    assert file_state(tmp_path / "b").size_bytes == 3
    (tmp_path / "b").write_bytes(b"346")
    assert file_sha256(tmp_path) != sha256


def test_caches_lie_where_the_user_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert caches() == tmp_path / ".cache" / "actionrnn"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert caches() == tmp_path / "mine" / "actionrnn"


def test_without_a_home_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", without_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(OSError), atomic_path(caches() / "file"):
        pass


def test_what_killed_processes_left_goes_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / ".notes.tmp", "the user's own")
    write_text(tmp_path / "deep" / ".clip.0123abcd.tmp", "half")
    remove_leftovers(tmp_path)
    assert names_in(tmp_path / "deep") == {".notes.tmp"}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_folder_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    folder = tmp_path / "folder"
    with atomic_folder(folder) as temporary:
        (temporary / "old").touch()
    with pytest.raises(error), atomic_folder(folder, replace=True) as temporary:
        (temporary / "half").touch()
        raise error
    assert names_in(folder) == {"old"}
    assert names_in(tmp_path) == {"folder"}
    with pytest.raises(OSError), atomic_folder(folder):
        pass
    with atomic_folder(folder, replace=True) as temporary:
        (temporary / "new").touch()
    assert names_in(folder) == {"new"}


def test_the_umask_of_the_process_is_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread that makes a file at that moment would make it writable for everybody."""

    def touched(_: int) -> int:
        raise AssertionError("os.umask was called")

    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", touched)
        write_text(tmp_path / "file", "text")
        with atomic_folder(tmp_path / "folder"):
            pass
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("text", "path", "path_on_windows"),
    [
        ("file:///data/a%20b.mp4", "/data/a b.mp4", "/data/a b.mp4"),
        ("FILE://localhost/data/%C3%A4%23.mp4", "/data/ä#.mp4", "/data/ä#.mp4"),
        ("file:/data/a.mp4", "/data/a.mp4", "/data/a.mp4"),
        ("file:///C:/films/a.mp4", "/C:/films/a.mp4", "C:/films/a.mp4"),
        ("file://server/films/a.mp4", "//server/films/a.mp4", "//server/films/a.mp4"),
        ("file.mp4", "file.mp4", "file.mp4"),
        ("file:a%20.mp4", "file:a%20.mp4", "file:a%20.mp4"),
        ("/data/a%20b.mp4", "/data/a%20b.mp4", "/data/a%20b.mp4"),
    ],
)
def test_the_address_of_a_file_is_its_path(text: str, path: str, path_on_windows: str) -> None:
    assert as_written(text, on_windows=False) == path
    assert as_written(text, on_windows=True) == path_on_windows


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_every_file_has_an_address(name: str) -> None:
    path = Path("/data") / name
    assert as_written(path.as_uri(), on_windows=False) == str(path)


def test_a_path_made_of_the_address_of_a_file_is_that_file() -> None:
    assert as_path(Path("file:///a/b%20c.mp4")) == Path("/a/b c.mp4")
    assert as_path(Path("~/file:/a")) == Path("~/file:/a")
