"""Labelled videos in class folders and CSV manifests. No video is opened: empty files do."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from actionrnn.datasets.folder import open_folder, open_manifest
from actionrnn.errors import DatasetError


def touch(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_manifest(folder: Path, text: str) -> Path:
    file = folder / "clips.csv"
    file.write_text(text, encoding="utf-8")
    return file


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
        (["run/1.avi", "bend/1.avi", "loose.avi"], r"loose\.avi: lies in no class folder"),
        (["run/1.avi", "run/1.mp4", "bend/1.avi"], r"share the name 'run/1'; rename one"),
    ],
)
def test_a_folder_of_another_form_is_refused(tmp_path: Path, names: list[str], reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        open_folder(touch(tmp_path, names))


def test_a_missing_folder_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: no such folder \(data\.root\)"):
        open_folder(tmp_path / "nowhere")


def test_a_manifest_names_path_label_group_and_split(tmp_path: Path) -> None:
    rows = "path,label,group,split\nb/2.avi,run, daria ,test\na/1.avi,bend,ido,train\n"
    dataset = open_manifest(write_manifest(tmp_path, rows))
    found = [(c.path, c.key, c.label, c.group, c.split) for c in dataset.clips]
    assert found == [
        (tmp_path / "a/1.avi", "a/1", "bend", "ido", "train"),
        (tmp_path / "b/2.avi", "b/2", "run", "daria", "test"),
    ]


def test_parts_of_a_video_are_clips_of_one_group(tmp_path: Path) -> None:
    """Kinetics: the same ten seconds must not stand in training and test."""
    parts = ["v/1.mp4,run,0,10.5", "v/1.mp4,bend,10.5,", "v/1.mp4,run,,3", "w.mp4,run,,"]
    rows = "\n".join(["path,label,start,end", *parts])
    clips = open_manifest(write_manifest(tmp_path, rows)).clips
    assert [(c.key, c.group, c.start_seconds, c.end_seconds) for c in clips] == [
        ("v/1@-3", "v/1", None, 3.0),
        ("v/1@0-10.5", "v/1", 0.0, 10.5),
        ("v/1@10.5-", "v/1", 10.5, None),
        ("w", "w", None, None),
    ]
    assert len({clip.path for clip in clips}) == 2


def test_the_pattern_sees_the_name_of_a_part_s_video(tmp_path: Path) -> None:
    rows = "path,label,start,end\nann_1.mp4,a,0,1\nann_1.mp4,b,1,2\n"
    clips = open_manifest(write_manifest(tmp_path, rows), "^([a-z]+)_").clips
    assert {clip.group for clip in clips} == {"ann"}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("2,1", r"line 2: start \(2\) must be less than end \(1\)"),
        ("2,2", r"line 2: start \(2\) must be less than end \(2\)"),
        ("0:10,", "line 2: start '0:10' must be a number of seconds"),
        (",nan", "line 2: end 'nan' must be a number of seconds"),
        (",inf", "line 2: end 'inf' must be a number of seconds"),
    ],
)
def test_an_impossible_part_is_refused(tmp_path: Path, cells: str, reason: str) -> None:
    rows = f"path,label,start,end\n1.mp4,a,{cells}\n2.mp4,b,,\n"
    with pytest.raises(DatasetError, match=reason):
        open_manifest(write_manifest(tmp_path, rows))


def test_the_same_part_twice_is_refused(tmp_path: Path) -> None:
    rows = "path,label,start,end\n1.mp4,a,1,2\n1.mp4,b,1.0,2.0\n"
    with pytest.raises(DatasetError, match="share the name '1@1-2'"):
        open_manifest(write_manifest(tmp_path, rows))


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
    touch(tmp_path, ["run/ann_1/f1.jpg", "run/ann_1/f2.jpg", "bend/bob_1.avi", "bend/bob_2/f.png"])
    dataset = open_folder(tmp_path, "^([a-z]+)_")
    assert [(clip.key, clip.group) for clip in dataset.clips] == [
        ("bend/bob_1", "bob"),
        ("bend/bob_2", "bob"),
        ("run/ann_1", "ann"),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_manifest_from_a_spreadsheet_is_read(tmp_path: Path, newline: str, mark: str) -> None:
    rows = [mark + "label,path", '"walk, then run",1.avi', "bend,2.avi", ""]
    file = tmp_path / "clips.csv"
    file.write_bytes(newline.join(rows).encode())
    assert open_manifest(file).labels == ("bend", "walk, then run")


def test_a_manifest_without_groups_takes_the_pattern_or_the_clip(tmp_path: Path) -> None:
    file = write_manifest(tmp_path, "path,label,group\nx_1.avi,a,\ny_1.avi,b,own\n")
    assert [clip.group for clip in open_manifest(file).clips] == ["x_1", "own"]
    assert [clip.group for clip in open_manifest(file, "^([a-z])_").clips] == ["x", "own"]


def test_a_manifest_may_point_elsewhere_but_its_keys_stay_inside(tmp_path: Path) -> None:
    """A key names a file below the feature store."""
    elsewhere = tmp_path / "elsewhere" / "1.avi"
    file = write_manifest(tmp_path, f"path,label\n{elsewhere},a\n../../up/2.avi,b\n./3.avi,b\n")
    clips = open_manifest(file).clips
    assert elsewhere in [clip.path for clip in clips]
    for clip in clips:
        assert not Path(clip.key).is_absolute()
        assert ".." not in Path(clip.key).parts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has the columns none; needed are path and label"),
        ("path\n1.avi\n", "has the columns path; needed are path and label"),
        (
            "path,label,colour\n1.avi,a,red\n",
            "path, label, colour; .* possible are group, split, start and end",
        ),
        ("path,label\n1.avi,a\n,b\n", "line 3: path and label must not be empty"),
        ("path,label\n1.avi,\n", "line 2: path and label must not be empty"),
        ("path,label\n1.avi\n", "line 2: path and label must not be empty"),
        ("path,label,split\n1.avi,a,validation\n", "line 2: split 'validation' must be train or"),
        ("path,label\n", "holds no labelled video"),
        ("path,label\n1.avi,a\n1.mp4,b\n", "share the name '1'; rename one"),
        ("path,label\n1.avi,a\n1.avi,b\n", "share the name '1'; rename one"),
    ],
)
def test_a_manifest_of_another_form_is_refused_in_one_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        open_manifest(write_manifest(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_row_with_too_many_cells_is_refused(tmp_path: Path) -> None:
    """A name with a comma and no quotes must not be cut without a word."""
    rows = "path,label\n1.avi,walk, then run\n2.avi,bend\n"
    with pytest.raises(DatasetError, match="line 2"):
        open_manifest(write_manifest(tmp_path, rows))


def test_a_line_is_counted_as_an_editor_counts_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 4: path and label"):
        open_manifest(write_manifest(tmp_path, "path,label\n1.avi,a\n\n,b\n"))


@pytest.mark.parametrize("content", [b"path,label\n\xff\xfe,a\n", None])
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "clips.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"clips\.csv: cannot be read as a CSV manifest"):
        open_manifest(file)


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
