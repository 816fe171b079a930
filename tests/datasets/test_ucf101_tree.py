"""Whether a folder is UCF101, by the published lists and without them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actionrnn.datasets import ucf101_prepare
from actionrnn.datasets.ucf101 import find_lists
from actionrnn.datasets.ucf101_prepare import TreeCheck, check_tree
from actionrnn.errors import DatasetError

if TYPE_CHECKING:
    from tests.datasets.conftest import Miniature

YOYO = "YoYo/v_YoYo_g07_c02"


@pytest.fixture(params=["with lists", "without lists"])
def tree(request: pytest.FixtureRequest, miniature: Miniature, tmp_path: Path) -> Path:
    """A folder with the whole miniature in `UCF-101`."""
    miniature.write_videos(tmp_path / "UCF-101")
    if request.param == "with lists":
        miniature.write_lists(tmp_path / "ucfTrainTestlist")
    return tmp_path


def check(tree: Path, *, decode_videos: bool = False) -> TreeCheck:
    return check_tree(tree / "UCF-101", find_lists(tree), decode_videos=decode_videos)


def test_a_whole_tree_is_complete(tree: Path) -> None:
    found = check(tree)
    assert found.is_complete
    assert (found.num_classes, found.num_clips) == (2, 200)
    assert "200 of 200 clips, 2 of 2 classes" in str(found)


def test_a_missing_clip_is_named(tree: Path) -> None:
    (tree / "UCF-101" / f"{YOYO}.avi").unlink()
    found = check(tree)
    assert found.missing == (YOYO,)
    assert found.lacks_clips
    assert not found.is_complete
    assert f"missing: {YOYO}" in str(found).splitlines()


def test_a_missing_group_is_named(tree: Path) -> None:
    for path in (tree / "UCF-101" / "YoYo").glob("*_g07_*"):
        path.unlink()
    missing = check(tree).missing
    assert missing in (
        ("YoYo/v_YoYo_g07_*",),
        tuple(f"YoYo/v_YoYo_g07_c{clip:02d}" for clip in range(1, 5)),
    )


def test_a_missing_class_is_one_line(tree: Path) -> None:
    shutil.rmtree(tree / "UCF-101" / "HandstandPushups")
    missing = check(tree).missing
    assert missing in (("1 of 2 classes",), ("HandstandPushups/* (all 100 clips)",))


def test_a_long_list_is_cut_short(tree: Path) -> None:
    for path in (tree / "UCF-101" / "YoYo").glob("*_c01.avi"):
        path.unlink()
    lines = str(check(tree)).splitlines()
    assert sum(line.startswith("missing: YoYo/") for line in lines) == 20
    assert lines[-1] == "missing: ... and 5 more"


def test_without_lists_a_lost_last_clip_shows_in_the_number(
    miniature: Miniature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Had a group five clips, the names of the first four would not tell."""
    monkeypatch.setattr(ucf101_prepare, "NUM_CLIPS", 201)
    miniature.write_videos(tmp_path)
    found = check_tree(tmp_path)
    assert found.missing == ()
    assert found.lacks_clips
    assert not found.is_complete


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("YoYo/thing.avi", "is not named v_<Class>_gNN_cNN"),
        ("Run/v_YoYo_g07_c02.avi", "is in another class's folder"),
        ("YoYo/more/v_YoYo_g07_c02.avi", "occurs twice"),
    ],
)
def test_what_does_not_belong_is_named(tree: Path, name: str, reason: str) -> None:
    place = tree / "UCF-101" / name
    place.parent.mkdir(exist_ok=True)
    shutil.copyfile(tree / "UCF-101" / f"{YOYO}.avi", place)
    found = check(tree)
    assert len(found.extra) == 1
    assert reason in found.extra[0]
    assert not found.is_complete
    assert not found.lacks_clips  # no archive would help


def test_a_clip_that_no_list_has_is_extra(miniature: Miniature, tmp_path: Path) -> None:
    miniature.write_lists(tmp_path / "ucfTrainTestlist")
    miniature.names.append("YoYo/v_YoYo_g07_c05.avi")
    miniature.write_videos(tmp_path / "UCF-101")
    assert check(tmp_path).extra == ("YoYo/v_YoYo_g07_c05.avi (is in no list)",)


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (b"", "empty", f"{YOYO}.avi"),
        (b"RIFF\x40\0\0\0AVI too short", "unreadable", f"{YOYO}.avi (21 of 72 bytes)"),
        (b"<html>404 Not Found</html>", "unreadable", f"{YOYO}.avi (is not an AVI file)"),
    ],
)
def test_a_file_that_is_not_whole_is_seen_by_its_header(
    tree: Path, content: bytes, kind: str, reason: str
) -> None:
    (tree / "UCF-101" / f"{YOYO}.avi").write_bytes(content)
    found = check(tree)
    assert getattr(found, kind) == (reason,)
    assert found.lacks_clips
    assert f"{kind}: {reason}" in str(found).splitlines()


def test_decoding_sees_what_no_header_tells(tree: Path) -> None:
    assert check(tree).is_complete
    found = check(tree, decode_videos=True)
    assert len(found.unreadable) == 200
    assert found.unreadable[0].startswith("HandstandPushups/v_HandStandPushups_g01_c01.avi (")


def test_an_empty_folder_lacks_everything(miniature: Miniature, tmp_path: Path) -> None:
    found = check_tree(tmp_path / "nowhere")
    assert (found.num_classes, found.num_clips) == (0, 0)
    assert found.missing == ("2 of 2 classes",)


@pytest.mark.parametrize("folder", ["HandStandPushups", "handstandpushups"])
def test_the_class_that_is_written_in_two_ways_is_one(tree: Path, folder: str) -> None:
    (tree / "UCF-101" / "HandstandPushups").rename(tree / "UCF-101" / folder)
    assert check(tree).is_complete


def test_clips_without_class_folders_are_complete_too(tree: Path) -> None:
    for path in list((tree / "UCF-101").rglob("*.avi")):
        path.rename(tree / "UCF-101" / path.name)
    assert check(tree).is_complete


def test_a_list_against_the_group_rule_is_named(miniature: Miniature, tmp_path: Path) -> None:
    miniature.write_videos(tmp_path / "UCF-101")
    miniature.write_lists(tmp_path)
    test, train = tmp_path / "testlist02.txt", tmp_path / "trainlist02.txt"
    moved = test.read_text().splitlines()[0]  # of group 8
    test.write_text(test.read_text().replace(f"{moved}\n", ""))
    train.write_text(f"{train.read_text()}{moved} 1\n")
    found = check(tmp_path)
    stem = moved.removesuffix(".avi")
    assert found.misplaced == (f"split 2: {stem} is not listed as its group says",)
    assert not found.is_complete


def test_a_list_that_lost_a_line_is_named(miniature: Miniature, tmp_path: Path) -> None:
    miniature.write_lists(tmp_path)
    file = tmp_path / "trainlist03.txt"
    file.write_text("\n".join(file.read_text().splitlines()[1:]))
    lists = find_lists(tmp_path)
    assert lists is not None
    (line,) = lists.disagreements()
    assert line.startswith("split 3: HandstandPushups/v_HandStandPushups_g01_c01 is not")


def test_a_list_of_something_else_is_refused(miniature: Miniature, tmp_path: Path) -> None:
    miniature.write_lists(tmp_path)
    (tmp_path / "trainlist03.txt").write_text("YoYo/v_YoYo_g01_c01.avi 2\n\n<html>\n")
    with pytest.raises(DatasetError, match=r"trainlist03\.txt, line 3: '<html>' is not <Class>/v_"):
        find_lists(tmp_path)


def test_some_of_the_lists_are_none(miniature: Miniature, tmp_path: Path) -> None:
    miniature.write_lists(tmp_path)
    (tmp_path / "trainlist03.txt").unlink()
    assert find_lists(tmp_path) is None


@pytest.mark.realdata
def test_the_published_lists_agree_with_the_group_rule(real_data: Path) -> None:
    lists = find_lists(real_data / "ucf101_splits")
    assert lists is not None
    assert len(lists.clips) == 13_320
    assert lists.disagreements() == []
    assert lists.sizes() == "9537/3783, 9586/3734, 9624/3696"


@pytest.mark.realdata
def test_the_names_alone_tell_the_whole_of_ucf101(real_data: Path, tmp_path: Path) -> None:
    """All 13,320 names, as empty files."""
    lists = find_lists(real_data / "ucf101_splits")
    assert lists is not None
    for name in lists.clips:
        file = tmp_path / f"{name}.avi"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    for known in (lists, None):
        found = check_tree(tmp_path, known)
        assert (found.num_classes, found.num_clips) == (101, 13_320)
        assert found.missing == found.extra == ()
        assert len(found.empty) == 13_320


@pytest.mark.realdata
def test_real_clips_are_as_long_as_they_say(
    real_data: Path, miniature: Miniature, tmp_path: Path
) -> None:
    found = check_tree(real_data / "ucf101_clips", decode_videos=True)
    assert found.num_clips == 4
    assert found.unreadable == found.empty == found.extra == ()
    clip = real_data / "ucf101_clips" / "v_Basketball_g01_c01.avi"
    (tmp_path / clip.name).write_bytes(clip.read_bytes()[:-1000])
    assert "bytes" in check_tree(tmp_path).unreadable[0]
