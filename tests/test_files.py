"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.errors import ActionrnnError
from actionrnn.files import (
    LEDGER,
    atomic_folder,
    atomic_path,
    file_sha256,
    file_state,
    replacing,
    require_new,
    results_folder,
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


def test_a_name_that_is_taken_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    file, video = tmp_path / "scores.csv", tmp_path / "clip.mp4"
    require_new(file)
    file.write_text("mine")
    video.touch()
    (tmp_path / "link.mp4").symlink_to(video)
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    for path in (file, tmp_path / "broken"):
        with pytest.raises(ActionrnnError, match="choose another name, or add --overwrite"):
            require_new(path)
        require_new(path, overwrite=True)
    for path in (video, tmp_path / "link.mp4"):
        with pytest.raises(ActionrnnError, match="is the file that is read"):
            require_new(path, overwrite=True, source=video)
    with pytest.raises(ActionrnnError, match="is a folder; name a file"):
        require_new(tmp_path, overwrite=True)


WRITTEN, CHANGED, DELETED = "written by us", "written by somebody", "deleted"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([WRITTEN, CHANGED, DELETED]))))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_only_what_was_written_there_is_replaced(steps: list[tuple[str, str]]) -> None:
    """Whatever came before, what somebody else wrote last is there afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        owner: dict[str, str] = {}
        for number, (file, what) in enumerate(steps):
            path, text = folder / file, f"{what} {number}"
            if what == DELETED:
                path.unlink(missing_ok=True)
            elif what == CHANGED:
                path.write_text(text)
            elif owner.get(file) == CHANGED:
                before = path.read_text()
                with (
                    pytest.raises(ActionrnnError, match="is not what actionrnn wrote"),
                    replacing(path),
                ):
                    write_text(path, text)
                assert path.read_text() == before
                continue
            else:
                with replacing(path):
                    write_text(path, text)
                assert path.read_text() == text
            owner[file] = what


def test_a_write_that_failed_makes_nothing_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(OSError), replacing(path):
        raise OSError("no space left on device")
    path.write_text("somebody's")
    with pytest.raises(ActionrnnError, match="is not what actionrnn wrote"), replacing(path):
        pass


def test_a_folder_that_failed_before_anything_was_written_is_gone(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("new", "there"):
        with pytest.raises(RuntimeError), results_folder(tmp_path / name, ["file"]):
            raise RuntimeError
    assert names_in(tmp_path) == {"there"}
    assert names_in(tmp_path / "there") == set()


def test_a_folder_of_results_is_for_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with results_folder(folder, ["file"]):
        with (
            pytest.raises(ActionrnnError, match="another command is writing there"),
            results_folder(folder, ["file"]),
        ):
            pass
        with replacing(folder / "file"):
            write_text(folder / "file", "whole")
    with results_folder(folder, ["file"]):
        assert names_in(folder) == {"file", LEDGER}


def test_a_killed_process_leaves_the_folder_free_and_its_files_its_own(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from actionrnn.files import *\n"
        "folder = Path(sys.argv[1])\n"
        "with results_folder(folder, ['file']), replacing(folder / 'file'):\n"
        "    write_text(folder / 'file', 'whole'); print('there', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        with (
            pytest.raises(ActionrnnError, match="another command is writing there"),
            results_folder(tmp_path, ["file"]),
        ):
            pass
        process.send_signal(signal.SIGKILL)
    with results_folder(tmp_path, ["file"]), replacing(tmp_path / "file"):
        write_text(tmp_path / "file", "again")
    assert (tmp_path / "file").read_text() == "again"


@pytest.mark.parametrize("name", ["file", LEDGER])
def test_a_folder_under_the_name_of_a_result_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with (
        pytest.raises(ActionrnnError, match="choose another --output"),
        results_folder(tmp_path, ["file"]),
    ):
        pass
    assert names_in(tmp_path) == {name}


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
