"""Labelled videos in class folders. No video is opened: empty files do."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from actionrnn.datasets.folders import open_folder
from actionrnn.errors import DatasetError


def touch(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_the_first_folder_is_the_class(tmp_path: Path) -> None:
    touch(tmp_path, ["run/daria.avi", "run/deep/er/ido.mp4", "bend/daria.avi", "bend/notes.txt"])
    dataset = open_folder(tmp_path)
    found = [(clip.key, clip.label, clip.group, clip.split) for clip in dataset.clips]
    assert found == [
        ("bend/daria", "bend", "bend/daria", None),
        ("run/daria", "run", "run/daria", None),
        ("run/deep/er/ido", "run", "run/deep/er/ido", None),
    ]
    assert [clip.path.name for clip in dataset.clips] == ["daria.avi", "daria.avi", "ido.mp4"]
    assert all(clip.path.is_file() for clip in dataset.clips)
    assert dataset.labels == ("bend", "run")


def test_the_first_bracket_of_the_pattern_is_the_group(tmp_path: Path) -> None:
    touch(tmp_path, ["run/daria_run1.avi", "run/daria_run2.avi", "bend/ido_bend.avi"])
    dataset = open_folder(tmp_path, r"^([a-z]+)_([a-z]+)")
    assert [clip.group for clip in dataset.clips] == ["ido", "daria", "daria"]
    assert dataset.groups == ("daria", "ido")


def test_without_a_pattern_each_clip_is_its_own_group(tmp_path: Path) -> None:
    touch(tmp_path, ["run/1.avi", "bend/1.avi"])
    assert open_folder(tmp_path).groups == ("bend/1", "run/1")


@pytest.mark.parametrize("pattern", [r"^(\d+)_", r"^(\d*)"])
def test_a_name_without_a_group_is_refused_with_name_and_pattern(
    tmp_path: Path, pattern: str
) -> None:
    touch(tmp_path, ["run/daria_run.avi", "bend/7_bend.avi"])
    with pytest.raises(DatasetError, match=r"daria_run\.avi: does not match data\.group_pattern"):
        open_folder(tmp_path, pattern)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "holds no video"),
        (["run/1.avi", "bend/1.avi", "loose.avi"], r"loose\.avi: is not in a class folder"),
    ],
)
def test_a_folder_of_another_form_is_refused(tmp_path: Path, names: list[str], reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        open_folder(touch(tmp_path, names))


def test_a_missing_folder_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: no such folder \(data\.root\)"):
        open_folder(tmp_path / "nowhere")


HMDB51_NAMES = {  # file: the film that it is from
    "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi": "April_09",
    "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_1.avi": "April_09",
    "sword_exercise/Blade_Of_Fury_-_Scene_1_sword_exercise_f_cm_np1_ri_med_3.avi": (
        "Blade_Of_Fury_-_Scene_1"
    ),
    "run/my_film_run_f_cm_np1_ba_med_0.avi": "my_film",
    "brush_hair/my_film_brush_hair_u_nm_np2_le_bad_1.avi": "my_film",
    "run/20060723sfjffbartsinger_run_f_cm_np1_fr_bad_0.avi": "20060723sfjffbartsinger",
}


def test_hmdb51_is_class_folders_with_the_documented_pattern(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    found = re.search(r"data\.group_pattern=\"(.+?)\"'", page)
    assert found is not None
    dataset = open_folder(touch(tmp_path, HMDB51_NAMES), found[1])
    assert dataset.labels == ("brush_hair", "run", "sword_exercise")
    groups = {clip.path.relative_to(tmp_path).as_posix(): clip.group for clip in dataset.clips}
    assert groups == HMDB51_NAMES


def test_a_folder_of_pictures_is_a_clip(tmp_path: Path) -> None:
    frames = ["run/ann_1/f1.jpg", "run/ann_1/f2.jpg", "bend/bob_2/1.png", "bend/bob_2/2.png"]
    touch(tmp_path, [*frames, "bend/bob_1.avi"])
    dataset = open_folder(tmp_path, "^([a-z]+)_")
    assert [(clip.key, clip.group) for clip in dataset.clips] == [
        ("bend/bob_1", "bob"),
        ("bend/bob_2", "bob"),
        ("run/ann_1", "ann"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take both for one name")
def test_a_class_and_a_group_have_one_spelling(tmp_path: Path) -> None:
    for label, group in [("caf\u00e9", "Zoe\u0308"), ("cafe\u0301", "Zo\u00eb")]:
        (tmp_path / label).mkdir()
        (tmp_path / label / f"{group}_1.avi").touch()
    data = open_folder(tmp_path, "^(.+)_")
    assert data.labels == ("caf\u00e9",)
    assert data.groups == ("Zo\u00eb",)
    assert len({clip.key for clip in data.clips}) == 2
    assert all(clip.path.is_file() for clip in data.clips)
