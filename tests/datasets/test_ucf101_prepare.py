"""UCF101 from nothing: a small one, from a server that drops the connection."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actionrnn.datasets import download, ucf101_prepare
from actionrnn.datasets.download import RemoteFile
from actionrnn.datasets.ucf101 import open_ucf101
from actionrnn.datasets.ucf101_prepare import prepare_ucf101
from actionrnn.errors import DatasetError

if TYPE_CHECKING:
    from tests.datasets.conftest import Miniature, Site


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def packed_videos(miniature: Miniature, above: str = "UCF-101/") -> bytes:
    return packed({f"{above}{name}": miniature.content(name) for name in miniature.names})


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def archive(miniature: Miniature, tmp_path: Path) -> Path:
    """The videos as UCF101.rar has them, in a zip file."""
    file = tmp_path / "elsewhere" / "videos.zip"
    file.parent.mkdir()
    file.write_bytes(packed_videos(miniature))
    return file


@pytest.fixture
def served(
    miniature: Miniature, make_site: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[Site, Site]:
    """The data set's site: the videos and the lists; nobody waits between tries."""
    lists = {f"ucfTrainTestlist/{name}": text.encode() for name, text in miniature.lists().items()}
    sites = make_site(packed_videos(miniature)), make_site(packed(lists))
    for name, site in zip(("VIDEOS", "LISTS"), sites, strict=True):
        remote = RemoteFile(f"{site.url}/{name}.rar", size_bytes=len(site.content))
        monkeypatch.setattr(ucf101_prepare, name, remote)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(ucf101_prepare, "require_rar_program", lambda: None)
    return sites


def test_everything_comes_from_the_site_through_dropped_connections(
    served: tuple[Site, Site], tmp_path: Path
) -> None:
    videos, lists = served
    videos.cut_after, lists.cut_after = [5_000, 7_000], [300]
    folder = tmp_path / "ucf101"
    check = prepare_ucf101(folder, fetch=True)
    assert check.is_complete
    assert check.root == folder / "UCF-101"
    assert check.lists is not None
    assert [len(site.requests) for site in served] == [3, 2]
    assert sorted(path.name for path in folder.iterdir()) == [
        "LISTS.rar",
        "UCF-101",
        "VIDEOS.rar",
        "ucfTrainTestlist",
    ]
    dataset = open_ucf101(check.root)
    assert (len(dataset.clips), dataset.labels) == (200, ("HandstandPushups", "YoYo"))


def test_a_second_run_asks_for_nothing_and_writes_nothing(
    served: tuple[Site, Site], tmp_path: Path
) -> None:
    prepare_ucf101(tmp_path / "ucf101", fetch=True)
    before = times(tmp_path)
    assert prepare_ucf101(tmp_path / "ucf101", fetch=True).is_complete
    assert [len(site.requests) for site in served] == [1, 1]
    assert times(tmp_path) == before


def test_lost_clips_come_back_from_the_archive_that_is_here(
    served: tuple[Site, Site], tmp_path: Path
) -> None:
    folder = tmp_path / "ucf101"
    prepare_ucf101(folder, fetch=True)
    shutil.rmtree(folder / "UCF-101" / "YoYo")
    (folder / "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi").write_bytes(b"")
    assert prepare_ucf101(folder).is_complete
    assert [len(site.requests) for site in served] == [1, 1]


def test_clips_and_lists_that_are_there_are_not_written_over(
    served: tuple[Site, Site], miniature: Miniature, tmp_path: Path
) -> None:
    mine = tmp_path / "UCF-101" / "YoYo" / "v_YoYo_g01_c01.avi"
    broken = tmp_path / "UCF-101" / "YoYo" / "v_YoYo_g01_c02.avi"
    listed = tmp_path / "ucfTrainTestlist" / "classInd.txt"
    others = {
        mine: miniature.content("encoded again"),
        broken: miniature.content("encoded again")[:-1],
        listed: b"1 YoYo\n",
        tmp_path / ".unpacking" / "a.txt": b"mine",
        tmp_path / "VIDEOS.rar.part": b"a browser's",
    }
    for path, content in others.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert prepare_ucf101(tmp_path, fetch=True).is_complete
    found = {path: path.read_bytes() for path in others}
    whole = miniature.content("YoYo/v_YoYo_g01_c02.avi")
    assert found == {**others, broken: whole}


def test_too_small_a_disk_is_seen_before_the_download(
    served: tuple[Site, Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_ucf101(tmp_path, fetch=True)
    shutil.rmtree(tmp_path / "UCF-101")
    (tmp_path / "VIDEOS.rar").unlink()
    usage = type("Usage", (), {"free": len(served[0].content) + 1000})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DatasetError, match="GB free"):
        prepare_ucf101(tmp_path, fetch=True)
    assert len(served[0].requests) == 1


def test_without_an_unpacking_program_nothing_is_downloaded(
    served: tuple[Site, Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatasetError, match="install unar"):
        ucf101_prepare._fetch_videos(tmp_path / "VIDEOS.rar")
    assert served[0].requests == []


def test_a_given_archive_is_unpacked_without_the_site(archive: Path, tmp_path: Path) -> None:
    check = prepare_ucf101(tmp_path / "ucf101", archive=archive)
    assert check.is_complete
    assert check.lists is None
    assert [path.name for path in (tmp_path / "ucf101").iterdir()] == ["UCF-101"]


def test_without_archive_and_site_it_only_looks(miniature: Miniature, tmp_path: Path) -> None:
    check = prepare_ucf101(tmp_path / "ucf101")
    assert check.num_clips == 0
    assert not (tmp_path / "ucf101").exists()


@pytest.mark.parametrize("above", ["", "UCF101/UCF-101/"])
def test_clips_go_to_their_class_however_the_archive_is_laid_out(
    miniature: Miniature, tmp_path: Path, above: str
) -> None:
    flat = {f"{above}{name.partition('/')[2]}": miniature.content(name) for name in miniature.names}
    archive = tmp_path / "flat.zip"
    archive.write_bytes(packed(flat))
    check = prepare_ucf101(tmp_path / "ucf101", archive=archive)
    assert check.is_complete
    folders = sorted(path.name for path in check.root.iterdir())
    assert folders == ["HandstandPushups", "YoYo"]


def test_a_folder_that_is_the_tree_itself_stays_so(
    miniature: Miniature, archive: Path, tmp_path: Path
) -> None:
    root = tmp_path / "videos"
    miniature.write_videos(root)
    (root / "YoYo/v_YoYo_g01_c01.avi").unlink()
    check = prepare_ucf101(root, archive=archive)
    assert check.is_complete
    assert check.root == root


def test_an_archive_of_something_else_is_refused(miniature: Miniature, tmp_path: Path) -> None:
    archive = tmp_path / "other.zip"
    archive.write_bytes(packed({"readme.txt": b"hello", "a/film.avi": miniature.content("a")}))
    with pytest.raises(DatasetError, match=r"other\.zip: holds no v_<Class>_gNN_cNN video"):
        prepare_ucf101(tmp_path / "ucf101", archive=archive)
    assert list((tmp_path / "ucf101").iterdir()) == []


@pytest.mark.parametrize("name", ["../YoYo/v_YoYo_g01_c01.avi", "/elsewhere/v_YoYo_g01_c01.avi"])
def test_an_archive_that_reaches_outside_is_refused(
    miniature: Miniature, tmp_path: Path, name: str
) -> None:
    archive = tmp_path / "bad.zip"
    archive.write_bytes(packed({name: miniature.content(name)}))
    with pytest.raises(DatasetError, match="would land outside"):
        prepare_ucf101(tmp_path / "ucf101", archive=archive)
    assert list((tmp_path / "ucf101").iterdir()) == []


def test_an_archive_that_lacks_clips_is_told_by_the_check(
    miniature: Miniature, tmp_path: Path
) -> None:
    some = replace(miniature, names=miniature.names[:-2])
    archive = tmp_path / "some.zip"
    archive.write_bytes(packed_videos(some))
    check = prepare_ucf101(tmp_path / "ucf101", archive=archive)
    assert check.num_clips == 198
    assert check.missing == ("YoYo/v_YoYo_g25_c03", "YoYo/v_YoYo_g25_c04")


def test_what_a_killed_run_left_is_cleared(
    miniature: Miniature, archive: Path, tmp_path: Path
) -> None:
    left = tmp_path / "ucf101" / ucf101_prepare.UNPACKING_FOLDER / "YoYo"
    left.mkdir(parents=True)
    (left / "v_YoYo_g01_c01.avi").write_bytes(b"half")
    assert prepare_ucf101(tmp_path / "ucf101", archive=archive).is_complete
    assert not left.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(
    miniature: Miniature, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(DatasetError, match="cannot be written"):
        prepare_ucf101(tmp_path / "closed" / "ucf101", archive=archive)
