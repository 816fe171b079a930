"""A video is found by what somebody wrote, wherever that was."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionrnn.datasets.video_names import VideoNames
from actionrnn.errors import DatasetError


@pytest.mark.parametrize(
    "name", ["a/b.mp4", "b.mp4", "b", "a/b", "C:\\home\\a\\b.mp4", "/elsewhere/a/b.avi", "b.wmv"]
)
def test_a_video_is_found_wherever_it_was_annotated(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    for folder in (tmp_path, tmp_path / "a"):
        (folder / "b.mp4").touch()
    inside = "a" in name.replace("\\", "/").split("/")
    path, key = VideoNames(tmp_path, elsewhere=True).find(name)
    assert path == (tmp_path / "a" / "b.mp4" if inside else tmp_path / "b.mp4")
    assert key == ("a/b" if inside else "b")


def test_a_path_that_is_given_here_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "b.mp4").touch()
    names = VideoNames(tmp_path)
    assert not names.has("a/b.mp4")
    assert names.find("a/b.mp4") == (tmp_path / "a" / "b.mp4", "a/b")
    assert VideoNames(tmp_path, elsewhere=True).has("a/b.mp4")


def test_a_name_that_two_videos_have_is_refused(tmp_path: Path) -> None:
    for ending in ("mp4", "avi"):
        (tmp_path / f"b.{ending}").touch()
    names = VideoNames(tmp_path, elsewhere=True)
    assert names.find("x/b.avi")[0] == tmp_path / "b.avi"
    for name in ("b", "x/b", "x/b.mov"):
        with pytest.raises(DatasetError, match=r"'b' may be b\.avi or b\.mp4"):
            names.find(name)
    assert not names.has("c")


# Paths of several machines.

ANNA, BEN = "C:\\Anna\\rec.mp4", "/home/ben/rec.mp4"


def test_paths_of_two_machines_are_one_video_where_there_is_no_other(tmp_path: Path) -> None:
    (tmp_path / "rec.mp4").touch()
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "rec.csv").touch()
    names = VideoNames(tmp_path, elsewhere=True)
    assert names.find(ANNA) == names.find(BEN) == (tmp_path / "rec.mp4", "rec")
    assert names.several_paths == {tmp_path / "rec.mp4": ("C:/Anna/rec.mp4", BEN)}
    assert not VideoNames(tmp_path, elsewhere=True).several_paths


@pytest.mark.parametrize("other", ["x/rec.mp4", "x/y/rec.avi"])
def test_paths_of_two_machines_are_refused_where_they_may_be_two(
    tmp_path: Path, other: str
) -> None:
    (tmp_path / "rec.mp4").touch()
    (tmp_path / other).parent.mkdir(parents=True)
    (tmp_path / other).touch()
    names = VideoNames(tmp_path, elsewhere=True)
    names.find(ANNA)
    with pytest.raises(DatasetError, match=r"there are 2 videos of that name in .*put them into"):
        names.find(BEN)


def test_a_video_that_has_its_own_folder_is_found_there(tmp_path: Path) -> None:
    for folder in ("Anna", "ben"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rec.mp4").touch()
    names = VideoNames(tmp_path, elsewhere=True)
    assert names.find(ANNA)[0] == tmp_path / "Anna" / "rec.mp4"
    assert names.find(BEN)[0] == tmp_path / "ben" / "rec.mp4"


# A folder beside a file.


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_folder_beside_a_video_of_its_name(tmp_path: Path, elsewhere: bool) -> None:
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec.mp4").touch()
    names = VideoNames(tmp_path, elsewhere=elsewhere)
    assert names.find("rec.mp4")[0] == tmp_path / "rec.mp4"
    assert names.find("rec/")[0] == tmp_path / "rec"
    with pytest.raises(DatasetError, match=r"'rec' may be rec\.mp4 or the folder rec/; write rec"):
        names.find("rec")
    if elsewhere:
        assert names.find("C:\\x\\rec.avi")[0] == tmp_path / "rec.mp4"
        assert names.find("C:\\x\\rec\\")[0] == tmp_path / "rec"
        with pytest.raises(DatasetError, match="or the folder"):
            names.find("/x/rec")


def test_a_folder_alone_is_meant_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    for name in ("rec", "rec/"):
        assert VideoNames(tmp_path).find(name) == (tmp_path / "rec", "rec")


# Files of features.


@pytest.mark.parametrize("name", ["tennis26.npy", "x/tennis26.NPY", "tennis26.mp4.npz"])
def test_a_list_of_features_names_the_videos_by_their_stems(tmp_path: Path, name: str) -> None:
    (tmp_path / "tennis26.mp4").touch()
    (tmp_path / "tennis26.npy").touch()
    found = VideoNames(tmp_path, elsewhere=True).find(name)
    assert found == (tmp_path / "tennis26.mp4", "tennis26")
    path, key = VideoNames(tmp_path, elsewhere=True).find("absent.npy")
    assert (path.exists(), key) == (False, "absent")
