"""Splits: whole groups on one side, every class on both, the same each time."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actionrnn.config import DataConfig
from actionrnn.datasets import rendered
from actionrnn.datasets.recordings import Clip, Dataset, Recording, Side
from actionrnn.datasets.splits import Fold, describe_split, make_folds, open_dataset
from actionrnn.errors import DatasetError


def make_dataset(members: dict[str, str], split: dict[str, Side] | None = None) -> Dataset:
    """A data set in which label L has one clip of each letter in `members[L]`, its group."""
    recordings = []
    for label, groups in members.items():
        for number, group in enumerate(groups):
            key = f"{label}/{group}_{number}"
            side = (split or {}).get(group)
            recordings.append(Recording.trimmed(Path(key), key, label, group, side))
    return Dataset(Path("videos"), tuple(recordings))


def rename_groups(dataset: Dataset, names: dict[str, str]) -> Dataset:
    renamed = (replace(one, group=names.get(one.group, one.group)) for one in dataset.recordings)
    return replace(dataset, recordings=tuple(renamed))


def groups(clips: tuple[Clip, ...]) -> set[str]:
    return {clip.group for clip in clips}


def labels(clips: tuple[Clip, ...]) -> set[str]:
    return {clip.label for clip in clips}


def assert_sound(fold: Fold, dataset: Dataset) -> None:
    """Every clip on one side, no group on both, every class to be trained on."""
    assert sorted(clip.key for clip in fold.train + fold.test) == [c.key for c in dataset.clips]
    assert not groups(fold.train) & groups(fold.test)
    assert labels(fold.train) == set(dataset.labels)


PEOPLE = make_dataset({"run": "aabbccdd", "walk": "abcd", "jump": "abcd"})
SCENES = make_dataset({"run": "abcd", "walk": "efghijkl", "jump": "mn"})
MIXED = make_dataset({"run": "abcdef", "walk": "cdefgh", "jump": "efghab"})


def test_leave_one_group_out_holds_out_each_group_once() -> None:
    folds = make_folds(PEOPLE, DataConfig(split="leave_one_group_out"))
    assert [fold.name for fold in folds] == ["a", "b", "c", "d"]
    for fold in folds:
        assert groups(fold.test) == {fold.name}
        assert_sound(fold, PEOPLE)
    tested = [clip.key for fold in folds for clip in fold.test]
    assert sorted(tested) == [clip.key for clip in PEOPLE.clips]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("test_fraction", [0.01, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("dataset", [PEOPLE, SCENES, MIXED], ids=["people", "scenes", "mixed"])
def test_a_holdout_has_every_class_on_both_sides(
    dataset: Dataset, test_fraction: float, seed: int
) -> None:
    config = DataConfig(split="holdout", test_fraction=test_fraction)
    (fold,) = make_folds(dataset, config, seed=seed)
    assert_sound(fold, dataset)
    assert labels(fold.test) == set(dataset.labels)


def test_a_holdout_of_any_data_set_is_sound_or_refused() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        letters = "abcdef"[: rng.integers(3, 7)]
        members = {
            label: "".join(rng.permutation(list(letters))[: rng.integers(2, len(letters))])
            for label in ("run", "walk", "jump")
        }
        dataset = make_dataset(members)
        try:
            (fold,) = make_folds(dataset, DataConfig(split="holdout"), seed=seed)
        except DatasetError:
            continue
        assert_sound(fold, dataset)
        assert labels(fold.test) == set(dataset.labels), members


def test_a_holdout_that_cannot_test_every_class_is_refused() -> None:
    """Any one group leaves a class untested, any two leave a class untrained."""
    dataset = make_dataset({"run": "ab", "walk": "ac", "jump": "bc"})
    with pytest.raises(DatasetError, match=r"run|walk|jump"):
        make_folds(dataset, DataConfig(split="holdout"))


def test_a_holdout_takes_its_part_of_the_groups() -> None:
    dataset = make_dataset({"run": "abcdefgh", "walk": "abcdefgh"})
    for test_fraction, count in [(0.125, 1), (0.25, 2), (0.5, 4)]:
        config = DataConfig(split="holdout", test_fraction=test_fraction)
        assert len(groups(make_folds(dataset, config)[0].test)) == count


def test_a_holdout_depends_on_the_seed_alone() -> None:
    dataset = make_dataset({"run": "abcdefgh", "walk": "abcdefgh"})
    config = DataConfig(split="holdout")
    once = [make_folds(dataset, config, seed=seed) for seed in range(10)]
    again = [make_folds(dataset, config, seed=seed) for seed in range(10)]
    assert once == again
    assert len({fold.test for (fold,) in once}) > 1


@pytest.mark.parametrize("split", ["holdout", "leave_one_group_out", "official"])
def test_a_class_of_one_group_cannot_be_split(split: str) -> None:
    dataset = make_dataset({"run": "abc", "walk": "bbb"})
    with pytest.raises(DatasetError, match=r"'walk' has one group only \(b\).*data\.split=none"):
        make_folds(dataset, DataConfig(split=split))  # type: ignore[arg-type]


@pytest.mark.parametrize("split", ["auto", "given", "manifest"])
def test_the_split_that_the_data_gives_is_used(split: str) -> None:
    """`manifest` is what `given` was called in 0.1."""
    sides: dict[str, Side] = {"a": "train", "b": "test", "c": "validation"}
    dataset = make_dataset({"run": "abc", "walk": "abc"}, sides)
    config = DataConfig(split=split)  # type: ignore[arg-type]
    assert config.split != "manifest"
    (fold,) = make_folds(dataset, config)
    assert [groups(side) for side in (fold.train, fold.validation, fold.test)] == [
        {"a"},
        {"c"},
        {"b"},
    ]
    assert describe_split(dataset, config, [fold]) == "videos: its own test clips"


def test_a_filled_column_is_never_ignored_without_a_word(tmp_path: Path) -> None:
    """A row that is marked `train` was tested on."""
    rows = [
        f"{n}.avi,{'run' if n % 2 else 'walk'},{n},{'test' if n > 8 else 'train'}"
        for n in range(12)
    ]
    file = manifest_of(tmp_path, rows).root
    config = DataConfig(layout="manifest", root=str(file))
    dataset = open_dataset(config)
    assert dataset.notes == ()
    (fold,) = make_folds(dataset, config)
    assert {clip.split for clip in fold.train} == {"train"}
    assert {clip.split for clip in fold.test} == {"test"}
    note = (
        "the data's own split (9 train, 3 test) is not used, as data.split=holdout says; "
        "data.split=given uses it"
    )
    assert note in open_dataset(replace(config, split="holdout")).notes


def test_a_column_that_is_filled_in_part_is_an_error(tmp_path: Path) -> None:
    rows = ["1.avi,run,a,train", "2.avi,walk,b,train", "3.avi,run,c,", "4.avi,walk,d,test"]
    config = DataConfig(layout="manifest", root=str(manifest_of(tmp_path, rows).root))
    with pytest.raises(
        DatasetError, match=r"3 has no split \(1 of 4 lack\); say train, validation"
    ):
        make_folds(open_dataset(config), config)
    config = replace(config, split="leave_one_group_out", fold="c")
    dataset = open_dataset(config)
    make_folds(dataset, config, training=False)
    assert any("(2 train, 1 test) is not used" in note for note in dataset.notes)


def test_validation_alone_is_the_test_and_chooses_nothing(tmp_path: Path) -> None:
    rows = ["1.avi,run,a,train", "2.avi,walk,b,train", "3.avi,run,c,val", "4.avi,walk,d,val"]
    config = DataConfig(layout="manifest", root=str(manifest_of(tmp_path, rows).root))
    dataset = open_dataset(config)
    (fold,) = make_folds(dataset, config)
    assert (groups(fold.test), fold.validation) == ({"c", "d"}, ())
    assert describe_split(dataset, config, [fold]) == "clips: its own validation clips"
    assert dataset.notes == (
        "the data names 2 validation clips and no test clips: they are the test, and choose "
        "no epoch",
    )


def test_a_group_in_validation_and_test_is_a_leak(tmp_path: Path) -> None:
    rows = ["1.avi,run,a,train", "2.avi,walk,b,train", "3.avi,run,c,val", "4.avi,walk,c,test"]
    dataset = manifest_of(tmp_path, rows)
    with pytest.raises(DatasetError, match=r"group 'c' is in validation \(3\) and test \(4\)"):
        make_folds(dataset, DataConfig())
    (fold,) = make_folds(dataset, DataConfig(allow_group_leak=True))
    assert len(fold.validation) == 1


def test_a_fold_s_name_goes_before_its_number() -> None:
    """Groups 3, 4, 5: fold 3 is the group 3, not the group 5."""
    dataset = make_dataset({"run": "345", "walk": "345"})
    for fold, name in ((3, "3"), ("3", "3"), (1, "3"), ("2", "4")):
        config = DataConfig(split="leave_one_group_out", fold=fold)  # type: ignore[arg-type]
        assert [one.name for one in make_folds(dataset, config)] == [name]


def test_the_fold_of_an_old_model_is_found() -> None:
    dataset = make_dataset({"run": "ab", "walk": "ab"}, {"a": "train", "b": "test"})
    (fold,) = make_folds(dataset, DataConfig(split="given", fold="manifest"))
    assert groups(fold.test) == {"b"}


def test_groups_may_be_called_like_folds() -> None:
    dataset = make_dataset({"run": "ab", "walk": "ab"})
    dataset = rename_groups(dataset, {"a": "given", "b": "manifest"})
    for name in ("given", "manifest"):
        config = DataConfig(split="leave_one_group_out", fold=name)
        assert [fold.name for fold in make_folds(dataset, config)] == [name]


def test_a_group_called_holdout_may_lack_a_class() -> None:
    dataset = make_dataset({"run": "abc", "walk": "ab"})
    dataset = rename_groups(dataset, {"c": "holdout"})
    folds = make_folds(dataset, DataConfig(split="leave_one_group_out"))
    assert [fold.name for fold in folds] == ["a", "b", "holdout"]


def manifest_of(folder: Path, rows: list[str]) -> Dataset:
    file = folder / "clips.csv"
    file.write_text("\n".join(["path,label,group,split", *rows]), encoding="utf-8")
    for row in rows:
        (folder / row.partition(",")[0]).write_text(row)
    return open_dataset(DataConfig(layout="manifest", root=str(file), split="manifest"))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            ["1.avi,run,a,train", "2.avi,walk,b,train", "3.avi,run,a,test"],
            r"group 'a' is in training \(1\) and test \(3\), 1 groups in all.*"
            "put each group on one side, or accept that with --allow-group-leak",
        ),
        (["1.avi,run,a,train", "2.avi,run,b,test"], r"holds one class only \(run\)"),
        (["1.avi,run,a,train", "2.avi,walk,b,train", "3.avi,run,c,"], "3 has no split"),
        (["1.avi,run,a,train", "2.avi,walk,b,train"], "has no clip for testing"),
        (["1.avi,run,a,train", "2.avi,walk,b,test"], "'walk' has no clip for training"),
        (["1.avi,run,a,test", "2.avi,walk,b,test"], "has no clip for training"),
    ],
)
def test_a_manifest_with_an_unsound_split_is_refused(
    tmp_path: Path, rows: list[str], reason: str
) -> None:
    with pytest.raises(DatasetError, match=reason):
        make_folds(manifest_of(tmp_path, rows), DataConfig(split="manifest"))


def test_split_none_uses_every_clip_even_of_one_group() -> None:
    dataset = make_dataset({"run": "a", "walk": "a"})
    (fold,) = make_folds(dataset, DataConfig(split="none"))
    assert fold.train == fold.test == dataset.clips


@pytest.mark.parametrize(("wanted", "name"), [(1, "a"), (4, "d"), ("c", "c")])
def test_one_fold_is_chosen_by_number_or_name(wanted: int | str, name: str) -> None:
    config = DataConfig(split="leave_one_group_out", fold=wanted)
    assert [fold.name for fold in make_folds(PEOPLE, config)] == [name]


@pytest.mark.parametrize("wanted", [5, "zoe"])
def test_a_fold_that_is_not_there_is_answered_with_those_that_are(wanted: int | str) -> None:
    config = DataConfig(split="leave_one_group_out", fold=wanted)
    with pytest.raises(DatasetError, match=rf"data\.fold={wanted}.* 1 \.\.\. 4 \(a, b, c, d\)"):
        make_folds(PEOPLE, config)


def test_only_the_chosen_fold_has_to_be_sound() -> None:
    recordings = [
        Recording.trimmed(Path(label, group), f"{label}/{group}", label, group)
        for label in ("run", "walk")
        for group in ("g01", "g25")
    ]
    dataset = Dataset(Path("videos"), tuple(recordings))
    (fold,) = make_folds(dataset, DataConfig(split="official", fold=1))
    assert (groups(fold.train), groups(fold.test)) == ({"g25"}, {"g01"})
    with pytest.raises(DatasetError, match="split 2: has no clip for testing"):
        make_folds(dataset, DataConfig(split="official", fold=2))


@pytest.mark.parametrize("layout", ["folder", "ucf101", "manifest", "rendered"])
def test_every_layout_needs_a_root(layout: str) -> None:
    with pytest.raises(DatasetError, match=r"data\.root is not set; add data\.root=FOLDER"):
        open_dataset(DataConfig(layout=layout))  # type: ignore[arg-type]


def test_the_layout_decides_how_a_folder_is_read(tmp_path: Path) -> None:
    for label in ("Run", "YoYo"):
        (tmp_path / label).mkdir()
        (tmp_path / label / f"v_{label}_g01_c01.avi").touch()
    root = str(tmp_path)
    as_folder = open_dataset(DataConfig(layout="folder", root=root))
    as_ucf101 = open_dataset(DataConfig(layout="ucf101", root=root))
    with_pattern = open_dataset(DataConfig(layout="folder", root=root, group_pattern="_(c.*)[.]"))
    assert as_folder.groups == ("Run/v_Run_g01_c01", "YoYo/v_YoYo_g01_c01")
    assert as_ucf101.groups == ("g01",)
    assert with_pattern.groups == ("c01",)


def test_the_rendered_layout_is_opened_and_never_drawn(tmp_path: Path) -> None:
    config = DataConfig(layout="rendered", root=str(tmp_path))
    with pytest.raises(DatasetError, match="holds no video"):
        open_dataset(config)
    assert list(tmp_path.iterdir()) == []
    for label in ("SitDown", "StandUp"):
        (tmp_path / label).mkdir()
        (tmp_path / label / f"v_{label}_g01_c01.avi").touch()
    assert open_dataset(config).labels == ("SitDown", "StandUp")
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_the_rendered_pairs_have_distinct_labels() -> None:
    names = [name for pair in rendered.PAIRS for name in pair]
    assert len(names) == len(set(names)) == 8


def test_a_leaking_split_can_be_accepted(tmp_path: Path) -> None:
    rows = ["1.avi,run,a,train", "2.avi,walk,a,train", "3.avi,run,a,test"]
    config = DataConfig(split="manifest", allow_group_leak=True)
    (fold,) = make_folds(manifest_of(tmp_path, rows), config)
    assert (len(fold.train), len(fold.test)) == (2, 1)


@pytest.mark.parametrize(
    "rows",
    [
        ["1.avi,run,a,test", "2.avi,walk,b,test"],
        ["1.avi,run,a,train", "2.avi,walk,b,test"],
        ["1.avi,run,a,test"],
    ],
)
def test_where_nothing_is_trained_no_class_is_missed(tmp_path: Path, rows: list[str]) -> None:
    (fold,) = make_folds(manifest_of(tmp_path, rows), DataConfig(split="manifest"), training=False)
    assert len(fold.test) == sum(row.endswith("test") for row in rows)


@functools.cache
def ucf101_of(num_classes: int, num_clips: int) -> Dataset:
    recordings = (
        Recording.trimmed(
            Path(str(index)), str(index), f"C{index % num_classes:03d}", f"g{index % 25 + 1:02d}"
        )
        for index in range(num_clips)
    )
    return Dataset(Path("UCF-101"), tuple(recordings))


@pytest.mark.parametrize(
    ("size", "config", "title"),
    [
        ((101, 13_320), DataConfig(split="official", fold=2), "UCF101 split 2"),
        ((101, 13_320), DataConfig(split="official"), "UCF101 splits 1 to 3"),
        (
            (14, 500),
            DataConfig(split="official", fold=1),
            "UCF-101: official test groups, on 14 of 101 classes and 500 of 13,320 clips of UCF101",
        ),
        ((101, 13_320), DataConfig(split="holdout"), "UCF-101: a holdout of its groups"),
        (
            (101, 13_320),
            DataConfig(split="leave_one_group_out", fold=1),
            "UCF-101: group g01 left out",
        ),
        ((101, 13_320), DataConfig(split="none"), "UCF-101: every clip"),
    ],
)
def test_only_the_official_splits_of_all_of_ucf101_are_called_so(
    size: tuple[int, int], config: DataConfig, title: str
) -> None:
    dataset = ucf101_of(*size)
    config = replace(config, layout="ucf101")
    folds = make_folds(dataset, config)
    assert describe_split(dataset, config, folds) == title
    assert ("UCF101 split" in title) == (config.split == "official" and len(dataset.labels) == 101)


def test_a_clip_that_cannot_be_used_takes_no_name_away() -> None:
    dataset, config = ucf101_of(101, 13_318), DataConfig(layout="ucf101", split="official", fold=1)
    folds = make_folds(dataset, config)
    assert describe_split(dataset, config, folds, num_skipped=2) == "UCF101 split 1"
    assert "UCF101 split" not in describe_split(dataset, config, folds)
