"""Labelled videos in class folders. No video is opened: the files are empty."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.config import DataConfig, LabelLevel
from actionrnn.datasets.folders import open_folder, open_stored, read_folders
from actionrnn.datasets.recordings import Dataset
from actionrnn.datasets.splits import make_folds, open_dataset
from actionrnn.datasets.ucf101 import open_ucf101
from actionrnn.errors import DatasetError


def touch(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def tree(root: Path, *sides: str, classes: Iterable[str] = ("bend", "run")) -> Path:
    return touch(root, [f"{side}/{name}/{side[:2]}.avi" for side in sides for name in classes])


def seen(dataset: Dataset) -> list[tuple[str, str, str | None]]:
    return [(clip.key, clip.label, clip.split) for clip in dataset.clips]


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


# --- folders that are a split


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "valid", "eval"),
        ("train_256", "dev", "test_256"),
        ("trainset", "val-set", "test set"),
    ],
)
def test_folders_called_train_val_and_test_are_the_split(
    tmp_path: Path, train: str, validation: str, test: str
) -> None:
    dataset = open_folder(tree(tmp_path, train, validation, test))
    assert dataset.labels == ("bend", "run")
    sides = {clip.path.parts[-3]: clip.split for clip in dataset.clips}
    assert sides == {train: "train", validation: "validation", test: "test"}
    assert all(
        clip.key == f"{clip.path.parts[-3]}/{clip.label}/{clip.path.stem}" for clip in dataset.clips
    )
    (note,) = dataset.notes
    assert all(f"{name} 2" in note for name in sides)


def test_without_test_the_validation_is_tested_on_as_kinetics_is(tmp_path: Path) -> None:
    root = tree(tmp_path, "train", "val")
    dataset = open_dataset(DataConfig(root=str(root)))
    [fold] = make_folds(dataset, DataConfig(root=str(root)))
    assert {clip.split for clip in fold.test} == {"validation"} and fold.validation == ()
    assert "validation clips and no test clips: they are the test" in " ".join(dataset.notes)


def test_folders_of_pictures_are_divided_too(tmp_path: Path) -> None:
    names = [
        f"{side}/{name}/a/{i}.jpg" for side in ("train", "test") for name in "xy" for i in "12"
    ]
    assert seen(open_folder(touch(tmp_path, names))) == [
        ("test/x/a", "x", "test"),
        ("test/y/a", "y", "test"),
        ("train/x/a", "x", "train"),
        ("train/y/a", "y", "train"),
    ]


def test_entries_of_a_store_are_divided_as_their_videos_would_be(tmp_path: Path) -> None:
    keys = ["test/run/b", "train/bend/c", "train/run/a"]
    assert seen(open_stored(tmp_path, keys)) == [
        ("test/run/b", "run", "test"),
        ("train/bend/c", "bend", "train"),
        ("train/run/a", "run", "train"),
    ]


def test_one_such_name_among_others_is_a_class(tmp_path: Path) -> None:
    """Vehicles: a train among them."""
    names = ["train/1.avi", "plane/1.avi", "car/1.avi"]
    dataset = open_folder(touch(tmp_path, names))
    assert dataset.labels == ("car", "plane", "train")
    assert {clip.split for clip in dataset.clips} == {None}
    assert dataset.notes == ()


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["train/1.avi", "test/2.avi"], "test holds videos in no class folder"),
        (["train/run/1.avi", "train/bend/1.avi", "test/2.avi"], "test holds videos in no class"),
        (["train/run/1.avi", "test/run/2.avi", "extra/run/3.avi"], "extra beside them does not"),
    ],
)
def test_what_is_half_a_split_is_asked_about(tmp_path: Path, names: list[str], reason: str) -> None:
    touch(tmp_path, names)
    with pytest.raises(DatasetError, match=reason) as caught:
        open_folder(tmp_path)
    assert "data.label_level=1" in str(caught.value)
    with pytest.raises(DatasetError, match=reason):
        open_folder(tmp_path, label_level="last")
    dataset = open_folder(tmp_path, label_level=1)
    assert dataset.labels == tuple(sorted({name.partition("/")[0] for name in names}))
    assert {clip.split for clip in dataset.clips} == {None}


def test_one_side_alone_names_the_folder_that_is_meant(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"data\.root={tmp_path}/train for what is in it"):
        open_folder(tree(tmp_path, "train"))


def test_a_side_that_lost_a_class_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "train", "test")
    (tmp_path / "test" / "walk").mkdir()
    with pytest.raises(DatasetError, match="test/walk: is empty; its class would be missing"):
        open_folder(tmp_path)


# --- UCF101


def test_ucf101_in_folders_train_val_test_keeps_its_classes(tmp_path: Path) -> None:
    """The subset on the hub; `g01` of two classes are two scenes."""
    names = {
        "train": "YoYo/v_YoYo_g01_c01",
        "val": "YoYo/v_YoYo_g02_c01",
        "test": "Run/v_Run_g01_c01",
    }
    dataset = open_ucf101(touch(tmp_path, [f"{side}/{name}.avi" for side, name in names.items()]))
    assert [(clip.key, clip.label, clip.group, clip.split) for clip in dataset.clips] == [
        ("test/Run/v_Run_g01_c01", "Run", "Run/g01", "test"),
        ("train/YoYo/v_YoYo_g01_c01", "YoYo", "YoYo/g01", "train"),
        ("val/YoYo/v_YoYo_g02_c01", "YoYo", "YoYo/g02", "validation"),
    ]
    assert "test 1, train 1, val 1" in dataset.notes[0]


def test_ucf101_files_need_no_class_folder_in_a_split(tmp_path: Path) -> None:
    dataset = open_ucf101(touch(tmp_path, ["train/v_YoYo_g01_c01.avi", "test/v_Run_g01_c01.avi"]))
    assert [(clip.label, clip.split) for clip in dataset.clips] == [
        ("Run", "test"),
        ("YoYo", "train"),
    ]


def test_the_official_split_of_a_divided_ucf101_goes_by_its_groups(tmp_path: Path) -> None:
    names = [f"{side}/Run/v_Run_g{g:02d}_c01.avi" for side, g in (("train", 1), ("test", 9))]
    names += [f"{side}/YoYo/v_YoYo_g{g:02d}_c01.avi" for side, g in (("train", 9), ("test", 1))]
    root = touch(tmp_path, names)
    config = DataConfig(layout="ucf101", root=str(root), split="official", fold=1)
    [fold] = make_folds(open_dataset(config), config)
    assert {clip.path.name for clip in fold.test} == {"v_Run_g01_c01.avi", "v_YoYo_g01_c01.avi"}


@pytest.mark.parametrize("folder", ["Run", "train", "train/Run"])
def test_a_ucf101_file_in_another_class_s_folder_names_both(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, [f"{folder}/v_YoYo_g01_c01.avi", "Jump/v_Jump_g01_c01.avi"])
    last = folder.rpartition("/")[2]
    with pytest.raises(DatasetError, match=rf"its name says YoYo, its folder {last}; move or"):
        open_ucf101(tmp_path)


@pytest.mark.parametrize("folder", ["UCF-101/YoYo", "yoyo", "YoYo/more"])
def test_a_ucf101_file_agrees_with_one_of_its_folders(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, [f"{folder}/v_YoYo_g01_c01.avi"])
    assert open_ucf101(tmp_path).labels == ("YoYo",)


@pytest.mark.parametrize("folder", ["HandstandPushups", "HandStandPushups"])
def test_the_class_that_is_written_in_two_ways_is_one(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, [f"{folder}/v_HandStandPushups_g01_c01.avi"])
    assert open_ucf101(tmp_path).labels == ("HandstandPushups",)


# --- deeper trees

SPORTS = ["music/piano/1.avi", "sports/archery/1.avi", "sports/golf/2.avi"]


@pytest.mark.parametrize(
    ("level", "labels"),
    [
        (1, ("music", "sports")),
        (2, ("archery", "golf", "piano")),
        ("last", ("archery", "golf", "piano")),
    ],
)
def test_a_deeper_tree_asks_which_level_is_the_class(
    tmp_path: Path, level: LabelLevel, labels: tuple[str, ...]
) -> None:
    touch(tmp_path, SPORTS)
    config = DataConfig(root=str(tmp_path))
    with pytest.raises(
        DatasetError, match=r"the classes sports, \.\.\. or archery, golf"
    ) as caught:
        open_dataset(config)
    assert "data.label_level=1" in str(caught.value)
    assert "data.label_level=last" in str(caught.value)
    config = DataConfig(root=str(tmp_path), label_level=level)
    dataset = open_dataset(config)
    assert dataset.labels == labels
    assert [clip.key for clip in dataset.clips] == [name.removesuffix(".avi") for name in SPORTS]


def test_levels_are_counted_below_a_split(tmp_path: Path) -> None:
    names = [f"{side}/{name}" for side in ("train", "test") for name in SPORTS]
    touch(tmp_path, names)
    with pytest.raises(DatasetError, match=r"data\.label_level=last"):
        open_folder(tmp_path)
    assert open_folder(tmp_path, label_level=1).labels == ("music", "sports")
    assert open_folder(tmp_path, label_level=2).labels == ("archery", "golf", "piano")
    assert {clip.split for clip in open_folder(tmp_path, label_level=2).clips} == {"train", "test"}


@pytest.mark.parametrize(
    "names",
    [
        ["run/1.avi", "run/2020/2.avi", "run/2021/3.avi"],  # directly in the folder, too
        ["run/videos/1.avi", "bend/videos/2.avi"],  # one folder each: the same classes
        ["run/a/1.jpg", "run/b/1.jpg"],  # clips
    ],
)
def test_where_only_one_reading_makes_sense_the_first_folder_is_the_class(
    tmp_path: Path, names: list[str]
) -> None:
    dataset = open_folder(touch(tmp_path, names))
    assert dataset.labels == tuple(sorted({name.partition("/")[0] for name in names}))


def test_a_clip_without_a_folder_at_that_level_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["run/1.avi", "sports/golf/2.avi"])
    with pytest.raises(DatasetError, match=r"run: holds videos, but no class folder as data.label"):
        open_folder(tmp_path, label_level=2)


FOLDERS = st.lists(st.sampled_from(("train", "Test", "val", "run", "a")), min_size=1, max_size=4)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.lists(FOLDERS.map(tuple), min_size=1, max_size=6))
def test_a_side_is_never_a_label_beside_another_side(clips: list[tuple[str, ...]]) -> None:
    """Whatever the tree: it is read in one way, or asked about."""
    try:
        places = read_folders(Path("root"), clips, None)
    except DatasetError as error:
        assert "data.label_level=1" in str(error)
        return
    tops = {folders[0] for folders in clips}
    depth = 1 if len(tops & {"train", "Test", "val"}) > 1 else 0
    assert places.labels == tuple(folders[depth] for folders in clips)
    assert all((side is not None) == (depth == 1) for side in places.sides)


# --- nothing vanishes


@pytest.mark.parametrize("opens", [open_folder, open_ucf101])
@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["Run/1.xyz"], "Run: holds no video, only .xyz; its class would be missing"),
        (["Run/a/b/.hidden"], "Run: is empty; its class"),
        (["Run/ann.jpg", "Run/bob.jpg"], "Run: holds pictures, but beside videos only"),
    ],
)
def test_a_class_without_a_video_is_refused(
    tmp_path: Path, opens: Callable[[Path], Dataset], names: list[str], reason: str
) -> None:
    touch(tmp_path, ["YoYo/v_YoYo_g01_c01.avi", *names])
    with pytest.raises(DatasetError, match=reason):
        opens(tmp_path)


def test_what_lies_beside_the_classes_is_named(tmp_path: Path) -> None:
    touch(
        tmp_path, ["run/1.avi", "bend/1.avi", "lists/train.txt", "thumbs/run/1.jpg", "bend/2.xyz"]
    )
    dataset = open_folder(tmp_path)
    assert dataset.labels == ("bend", "run")
    assert dataset.notes == (
        "left out: folders of pictures taken for previews: 1 (thumbs/run)",
        "left out: files not known to be videos: 1 .xyz",
        f"left out: {tmp_path}/lists (holds .txt)",
        f"left out: {tmp_path}/thumbs (holds previews)",
    )


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_class_folders_may_be_links_but_not_of_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, ["elsewhere/1.avi", "root/bend/1.avi"])
    (tmp_path / "root" / "run").symlink_to(tmp_path / "elsewhere")
    assert open_folder(tmp_path / "root").labels == ("bend", "run")
    (tmp_path / "root" / "jog").symlink_to(tmp_path / "root" / "bend")
    with pytest.raises(
        DatasetError, match=r"jog: is .*/root/bend, which is read already; its class"
    ):
        open_folder(tmp_path / "root")


def test_a_class_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, ["run/1.avi", "bend/1.avi"])
    scan = os.scandir

    def refuse(path: os.PathLike[str]) -> object:
        if Path(path).name == "run":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        DatasetError, match=r"run: cannot be read \(Permission denied\); change its"
    ):
        open_folder(tmp_path)


# --- two files of one name


def test_two_files_of_one_name_are_two_clips_of_one_group(tmp_path: Path) -> None:
    """Most likely the same recording: it must not stand in training and test."""
    dataset = open_folder(touch(tmp_path, ["run/1.avi", "run/1.mp4", "run/2.avi", "bend/1.avi"]))
    assert [(clip.key, clip.group) for clip in dataset.clips] == [
        ("bend/1", "bend/1"),
        ("run/1.avi", "run/1"),
        ("run/1.mp4", "run/1"),
        ("run/2", "run/2"),
    ]


def test_a_folder_of_pictures_keeps_its_whole_name(tmp_path: Path) -> None:
    names = ["run/2024-05-01 10.15.30/1.jpg", "run/2024-05-01 10.15.45/1.jpg"]
    keys = [clip.key for clip in open_folder(touch(tmp_path, names)).clips]
    assert keys == ["run/2024-05-01 10.15.30", "run/2024-05-01 10.15.45"]


def test_a_split_below_the_first_level_is_not_left_out_without_a_word(tmp_path: Path) -> None:
    names = [
        f"data/{side}/{name}/{i}.avi" for side in ("train", "test") for name in "xy" for i in "12"
    ]
    root = touch(tmp_path, names)
    dataset = open_folder(root, label_level="last")
    assert dataset.labels == ("x", "y")
    assert any("test and train are not used as a split" in note for note in dataset.notes)
