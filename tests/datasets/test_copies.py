"""The same video under several names stays on one side of every split."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from actionrnn.config import DataConfig
from actionrnn.datasets.grouping import join_groups
from actionrnn.datasets.recordings import Recording
from actionrnn.datasets.splits import make_folds, open_dataset
from actionrnn.errors import DatasetError
from actionrnn.features.imported import import_features
from tests.conftest import encode_square

LABELS = ("bend", "run")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "1.avi"
    encode_square(path, "blue", "ann")
    return path.read_bytes()


@pytest.fixture
def root(tmp_path: Path, video: bytes) -> Path:
    """Videos of one size, eight a class; no two files alike."""
    for label in LABELS:
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(8):
            path = tmp_path / "videos" / label / f"{number}.avi"
            path.write_bytes(video + f"{label:>8}{number:>8}".encode())
    return tmp_path / "videos"


def copy(root: Path, old: str, new: str) -> None:
    shutil.copyfile(root / old, root / new)


def copies_said(config: DataConfig) -> list[str]:
    return [note for note in open_dataset(config).notes if "copies" in note]


def test_copies_stay_on_one_side_of_every_split(root: Path) -> None:
    for number in range(5):
        copy(root, f"run/{number}.avi", f"run/copy{number}.avi")
    copy(root, "run/0.avi", "run/again0.avi")
    for split, seed in [("holdout", seed) for seed in range(20)] + [("leave_one_group_out", 0)]:
        config = DataConfig(root=str(root), split=split)  # type: ignore[arg-type]
        for fold in make_folds(open_dataset(config), config, seed=seed):
            sides = ({clip.path.read_bytes() for clip in part} for part in (fold.train, fold.test))
            assert not set.intersection(*sides)
    (note,) = copies_said(config)
    assert note == (
        "6 of 22 clips are copies of others (run/0 and run/again0 are one video); "
        "they are of one group"
    )


def test_videos_of_one_size_are_not_yet_copies(root: Path) -> None:
    config = DataConfig(root=str(root))
    assert copies_said(config) == []
    assert len(open_dataset(config).groups) == 16


@pytest.mark.parametrize("content", ["", "<html>Video unavailable</html>"])
def test_files_that_are_no_videos_are_no_copies(root: Path, content: str) -> None:
    """They will be left out, and must not join the groups that they lie in."""
    for name in ("bend/x.avi", "run/y.avi"):
        (root / name).write_text(content)
    assert copies_said(DataConfig(root=str(root))) == []


def test_a_copy_with_another_label_is_named(root: Path) -> None:
    copy(root, "run/3.avi", "bend/walk3.avi")
    note = (
        "copies disagree on their label, 1 in all (bend/walk3 is bend, run/3 is run); correct "
        "them, or take them out"
    )
    assert note in copies_said(DataConfig(root=str(root)))


def test_folders_of_the_same_pictures_are_copies(root: Path) -> None:
    for name in ("a", "b"):
        (root / "run" / name).mkdir()
        for number in range(3):
            Image.new("RGB", (16, 16), (80 * number, 0, 0)).save(
                root / "run" / name / f"frame{number}.jpg"
            )
    (note,) = copies_said(DataConfig(root=str(root)))
    assert "run/a and run/b are one video" in note


def write_list(root: Path, rows: list[str]) -> DataConfig:
    file = root / "clips.csv"
    file.write_text("\n".join(["path,label,split,start,end", *rows]))
    return DataConfig(layout="manifest", root=str(file))


def test_parts_of_a_video_are_no_copies_but_their_copies_are(root: Path) -> None:
    rows = [
        f"{label}/{n}.avi,{label},,{part}"
        for label in LABELS
        for n in "01"
        for part in ("0,1", "1,2")
    ]
    config = write_list(root, rows)
    assert copies_said(config) == []
    copy(root, "run/0.avi", "run/x.avi")
    config = write_list(root, [*rows, "run/x.avi,run,,5,6"])
    dataset = open_dataset(config)
    groups = {clip.key: clip.group for clip in dataset.clips}
    assert groups["run/x@5-6"] == groups["run/0@0-1"] == groups["run/0@1-2"] != groups["run/1@0-1"]
    assert not any("cop" in note for note in dataset.notes)  # no part of it is there twice
    config = write_list(root, [*rows, "run/x.avi,run,,0,1", "run/x.avi,run,,1,2"])
    (note,) = copies_said(config)
    assert note.startswith("2 of 10 clips are copies of others (run/0@0-1 and run/x@0-1 are one")


@pytest.mark.parametrize("tested", ["test", "val"])
def test_a_given_split_with_a_copy_on_both_sides_is_refused(root: Path, tested: str) -> None:
    copy(root, "run/0.avi", "run/x.avi")
    rows = [f"{label}/{n}.avi,{label},train,," for label in LABELS for n in range(8)]
    config = write_list(root, [*rows, f"run/x.avi,run,{tested},,"])
    with pytest.raises(
        DatasetError, match=r"run/0 \(train\) and run/x \((test|validation)\) are the"
    ):
        open_dataset(config)
    config = DataConfig(layout="manifest", root=config.root, allow_group_leak=True)
    (fold,) = make_folds(open_dataset(config), config)
    assert [clip.key for clip in fold.test] == ["run/x"]


def test_the_official_split_stays_what_it_is(tmp_path: Path, video: bytes) -> None:
    for label in LABELS:
        (tmp_path / label).mkdir()
        for group in range(1, 26):
            name = f"{label}/v_{label}_g{group:02d}_c01.avi"
            (tmp_path / name).write_bytes(video + f"{label:>8}{group:>8}".encode())
    copy(tmp_path, "run/v_run_g01_c01.avi", "run/v_run_g09_c01.avi")
    config = DataConfig(layout="ucf101", root=str(tmp_path), split="official", fold=1)
    (fold,) = make_folds(open_dataset(config), config)
    assert {clip.group for clip in fold.test} == {f"g{group:02d}" for group in range(1, 8)}
    (note,) = copies_said(config)
    assert "the official split may part them" in note


def test_imported_features_are_compared_themselves(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in LABELS:
        for number in range(4):
            path = tmp_path / "theirs" / label / f"{number}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, rng.normal(size=(3, 4)).astype(np.float32))
    copy(tmp_path / "theirs", "run/1.npy", "run/x.npy")
    store = import_features(tmp_path / "theirs", tmp_path / "store")
    config = DataConfig(features=str(store.root))
    dataset = open_dataset(config)
    assert {clip.group for clip in dataset.clips if clip.key in ("run/1", "run/x")} == {"run/1"}
    (note,) = copies_said(config)
    assert note.startswith("1 of 9 clips are copies of others (run/1 and run/x are one video)")


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    groups=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12),
    data=st.data(),
)
def test_joined_groups_are_the_unions_and_nothing_else(groups: list[str], data: Any) -> None:
    """Against a plain search over what is linked."""
    clips = [
        Recording.trimmed(Path(str(n)), str(n), "run", group).clips[0]
        for n, group in enumerate(groups)
    ]
    subsets = st.lists(st.sampled_from(clips), min_size=2, max_size=3, unique=True)
    copies = data.draw(st.lists(subsets, max_size=5)) if len(clips) > 1 else []
    joined = join_groups([clip.recording for clip in clips], [tuple(same) for same in copies])

    def linked(group: str) -> set[str]:
        found = {group}
        while True:
            more = {
                clip.group
                for same in copies
                if found & {clip.group for clip in same}
                for clip in same
            }
            if more <= found:
                return found
            found |= more

    assert [recording.group for recording in joined] == [min(linked(clip.group)) for clip in clips]
