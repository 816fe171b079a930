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
