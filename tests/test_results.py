"""A command writes over what a command wrote there, and over nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.errors import ActionrnnError
from actionrnn.files import write_text
from actionrnn.results import CHECKSUMS_FILE, replacing, require_new, results_folder


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


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
        assert names_in(folder) == {"file", CHECKSUMS_FILE}


def test_a_killed_process_leaves_the_folder_free_and_its_files_its_own(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from actionrnn.files import *\n"
        "from actionrnn.results import *\n"
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


@pytest.mark.parametrize("name", ["file", CHECKSUMS_FILE])
def test_a_folder_under_the_name_of_a_result_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with (
        pytest.raises(ActionrnnError, match="choose another --output"),
        results_folder(tmp_path, ["file"]),
    ):
        pass
    assert names_in(tmp_path) == {name}
