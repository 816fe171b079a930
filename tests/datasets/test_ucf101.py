"""UCF101's layout and official splits, the splits checked against the published lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionrnn.config import DataConfig
from actionrnn.datasets.splits import make_folds
from actionrnn.datasets.ucf101 import NAME_PATTERN, official_test_groups, open_ucf101
from actionrnn.errors import DatasetError

SIZES = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}


def read_list(real_data: Path, name: str) -> list[str]:
    """`<Class>/<file>` of one published list; the training lists have a class number behind."""
    text = (real_data / "ucf101_splits" / name).read_text(encoding="ascii")
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def group_of(name: str) -> str:
    match = NAME_PATTERN.match(name.rpartition("/")[2])
    assert match is not None, name
    return f"g{int(match['group']):02d}"


@pytest.mark.realdata
@pytest.mark.parametrize("split", [1, 2, 3])
def test_official_groups_divide_the_clips_as_the_published_lists(
    real_data: Path, split: int
) -> None:
    train = read_list(real_data, f"trainlist{split:02d}.txt")
    test = read_list(real_data, f"testlist{split:02d}.txt")
    assert (len(train), len(test)) == SIZES[split]
    held_out = official_test_groups(split)
    assert {group_of(name) for name in test} == held_out
    assert not {group_of(name) for name in train} & held_out


@pytest.mark.realdata
def test_a_whole_tree_gives_the_published_folds(real_data: Path, tmp_path: Path) -> None:
    """All 13,320 names, three classes of them as a tree of empty files."""
    kept = ("HandstandPushups", "YoYo", "ApplyEyeMakeup")
    lists = {
        (side, split): {
            name
            for name in read_list(real_data, f"{side}list{split:02d}.txt")
            if name.startswith(kept)
        }
        for side in ("train", "test")
        for split in SIZES
    }
    for name in lists["train", 1] | lists["test", 1]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folds = make_folds(open_ucf101(tmp_path), DataConfig(layout="ucf101", split="official"))
    assert [fold.name for fold in folds] == ["split 1", "split 2", "split 3"]
    for split, fold in enumerate(folds, start=1):
        assert {f"{clip.key}.avi" for clip in fold.train} == lists["train", split]
        assert {f"{clip.key}.avi" for clip in fold.test} == lists["test", split]


def test_the_official_test_groups_are_seven_each_and_disjoint() -> None:
    groups = [official_test_groups(split) for split in SIZES]
    assert [min(group) for group in groups] == ["g01", "g08", "g15"]
    assert [max(group) for group in groups] == ["g07", "g14", "g21"]
    assert len(frozenset.union(*groups)) == 21


@pytest.mark.parametrize("split", [0, 4, -1])
def test_there_are_three_official_splits(split: int) -> None:
    with pytest.raises(DatasetError, match="official splits 1, 2 and 3"):
        official_test_groups(split)


def make_tree(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return root


def test_names_give_groups_and_folders_give_classes(tmp_path: Path) -> None:
    names = ["YoYo/v_YoYo_g01_c02.avi", "YoYo/v_YoYo_g25_c01.avi", "Run/v_Run_g1_c1.mp4"]
    dataset = open_ucf101(make_tree(tmp_path, names))
    assert [(clip.label, clip.group) for clip in dataset.clips] == [
        ("Run", "g01"),
        ("YoYo", "g01"),
        ("YoYo", "g25"),
    ]


def test_folders_of_pictures_are_clips(tmp_path: Path) -> None:
    make_tree(tmp_path, ["YoYo/v_YoYo_g01_c02.avi", "Run/v_Run_g02_c01.avi"])
    folder = tmp_path / "YoYo" / "v_YoYo_g03_c01"
    folder.mkdir()
    (folder / "frame0001.jpg").touch()
    (folder / "frame0002.jpg").touch()
    dataset = open_ucf101(tmp_path)
    assert [(clip.key, clip.group) for clip in dataset.clips] == [
        ("Run/v_Run_g02_c01", "g02"),
        ("YoYo/v_YoYo_g01_c02", "g01"),
        ("YoYo/v_YoYo_g03_c01", "g03"),
    ]


@pytest.mark.parametrize("folder", ["HandstandPushups/", ""])
def test_a_class_has_one_name_with_and_without_folders(tmp_path: Path, folder: str) -> None:
    make_tree(tmp_path, [f"{folder}v_HandStandPushups_g01_c01.avi", "YoYo/v_YoYo_g01_c01.avi"])
    assert open_ucf101(tmp_path).labels == ("HandstandPushups", "YoYo")


def test_handstand_pushups_are_one_class_though_their_files_say_hand_stand(tmp_path: Path) -> None:
    """UCF101 itself: the folder is HandstandPushups, the files v_HandStandPushups_*."""
    names = ["HandstandPushups/v_HandStandPushups_g01_c01.avi", "YoYo/v_YoYo_g01_c01.avi"]
    dataset = open_ucf101(make_tree(tmp_path, names))
    assert dataset.labels == ("HandstandPushups", "YoYo")
    assert dataset.clips[0].key == "HandstandPushups/v_HandStandPushups_g01_c01"


@pytest.mark.parametrize("name", ["daria_run.avi", "v_Run_g01.avi", "v_Run_gXX_c01.avi"])
def test_a_name_of_another_form_is_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    make_tree(tmp_path, [f"Run/{name}", "YoYo/v_YoYo_g01_c01.avi"])
    with pytest.raises(DatasetError, match=r"is not named v_<Class>_gNN_cNN.*data\.layout=folder"):
        open_ucf101(tmp_path)
