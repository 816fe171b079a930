"""Which clips are for training and which for testing: whole groups, never parts of one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from actionrnn.config import DataConfig, Split
from actionrnn.datasets.annotations.dataset import make_dataset
from actionrnn.datasets.annotations.formats import read_annotations, videos_of
from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.datasets.folders import open_folder, open_stored
from actionrnn.datasets.grouping import (
    Copies,
    describe_copies,
    describe_names,
    find_copies,
    join_groups,
)
from actionrnn.datasets.manifest import note_missing_videos, open_manifest
from actionrnn.datasets.recordings import BACKGROUND, SIDES, Clip, Dataset, Side
from actionrnn.datasets.ucf101 import (
    NUM_CLASSES,
    NUM_CLIPS,
    NUM_SPLITS,
    official_test_groups,
    open_ucf101,
)
from actionrnn.errors import DatasetError
from actionrnn.features.imported import imported_store
from actionrnn.features.store import FeatureStore
from actionrnn.files import as_path
from actionrnn.model.privacy import hashed_group
from actionrnn.text import plain, readable

HOLDOUT: Split = "holdout"
GIVEN: Split = "given"
OLD_GIVEN = "manifest"  # the given fold's name in models of version 0.1
UNEQUAL_RATIO = 3  # largest class to smallest; above it the accuracy is mostly the largest's
HOLDOUT_SEED = 0  # not the training's: every training seed is tested on the same clips


@dataclass(frozen=True)
class Fold:
    """One split of a data set into training, test and validation clips."""

    name: str
    train: tuple[Clip, ...]
    test: tuple[Clip, ...]
    validation: tuple[Clip, ...] = ()
    """Choose the epoch, where the data itself names them; else a part of the training clips
    does."""

    @property
    def known(self) -> tuple[Clip, ...]:
        """The clips that take part in the training, to learn from or to choose the epoch."""
        return self.train + self.validation


def open_dataset(config: DataConfig, *, multi_label: bool = False) -> Dataset:
    """Find the labelled videos that the configuration names; nothing is written.

    The built-in data set must have been rendered (`render_dataset`). With imported features
    (`data.features`) and the layout `folder`, the store's entries `<label>/<name>` are the clips.

    Args:
        multi_label: for such a head (`head.multi_label`): annotations may overlap.

    Raises:
        DatasetError: there are none, or they are not laid out as the configuration says.
    """
    store = imported_store(config.features)
    dataset = _open_layout(config, store, multi_label)
    copies = find_copies(dataset, store)
    split = chosen_split(dataset, config)
    tested_side = _tested_side(dataset) if split == GIVEN else None
    if tested_side is not None and not config.allow_group_leak:
        _require_copies_on_one_side(copies, tested_side)
    ungrouped = all(one.group == readable(one.key) for one in dataset.recordings)
    grouped = len(dataset.groups) < len({recording.key for recording in dataset.recordings})
    join = split != "official"  # the official sides follow from the groups' numbers
    notes = (
        *dataset.notes,
        *_given_split_notes(dataset, config),
        *describe_copies(copies, dataset, joined=join),
        *(describe_names(dataset.clips, tested_side) if ungrouped and split != "none" else ()),
        *_class_notes(dataset),
    )
    recordings = join_groups(dataset.recordings, copies) if join else dataset.recordings
    return replace(dataset, recordings=recordings, notes=notes, grouped=grouped)


def chosen_split(dataset: Dataset, config: DataConfig) -> Split:
    """`data.split`, with `auto` resolved for this data set."""
    if config.split != "auto":
        return config.split
    return GIVEN if any(clip.split for clip in dataset.clips) else HOLDOUT


def _open_layout(config: DataConfig, store: FeatureStore | None, multi_label: bool) -> Dataset:
    if store is not None and config.layout == "folder":
        return open_stored(store.root, store.keys(), config.group_pattern, config.label_level)
    if config.root is None:
        raise DatasetError("data.root is not set; add data.root=FOLDER")
    if config.layout in ("manifest", "annotations"):
        is_manifest = config.layout == "manifest"
        listed = (
            open_manifest(config.root, config.group_pattern)
            if is_manifest
            else _open_annotated(config.root, config, multi_label)
        )
        return listed if store is not None else note_missing_videos(listed)
    if config.layout == "folder":
        return open_folder(config.root, config.group_pattern, config.label_level)
    return open_ucf101(config.root)


def _open_annotated(root: str, config: DataConfig, multi_label: bool) -> Dataset:
    path, videos = as_path(root), as_path(config.videos) if config.videos else None
    options = ReadOptions(
        config.annotation_rate_fps,
        videos,
        config.tiers,
        config.subjects,
        config.labels,
        annotators=config.annotators,
    )
    marks = read_annotations(path, options)
    return make_dataset(
        marks,
        videos_of(marks, videos),
        config.group_pattern,
        background=config.unlabelled == "background",
        multi_label=multi_label,
    )


def _given_split_notes(dataset: Dataset, config: DataConfig) -> Iterator[str]:
    """Where the sides that the data names are not what is trained and tested on."""
    count = Counter(clip.split for clip in dataset.clips if clip.split)
    if not count:
        return
    if chosen_split(dataset, config) != GIVEN:
        sides = ", ".join(f"{count[side]} {side}" for side in SIDES if count[side])
        yield (
            f"the data's own split ({sides}) is not used, as data.split={config.split} says; "
            "data.split=given uses it"
        )
    elif count["validation"] and not count["test"]:
        yield (
            f"the data names {count['validation']} validation {dataset.clips_name} and no test "
            f"{dataset.clips_name}: they are the test, and choose no epoch"
        )


def _class_notes(dataset: Dataset) -> Iterator[str]:
    count = Counter(clip.label for clip in dataset.clips if clip.label in dataset.labels)
    if not count:
        return
    (largest, most), (smallest, fewest) = count.most_common()[0], count.most_common()[-1]
    if most >= UNEQUAL_RATIO * fewest:
        fair = "mean average precision" if dataset.multi_label else "mean class accuracy"
        yield (
            f"the classes are of unequal size ({plain(largest)} has {most} "
            f"{dataset.clips_name}, {plain(smallest)} {fewest}): look at the {fair}; "
            "train.class_weights=balanced trains on them as if they were equal"
        )


def make_folds(
    dataset: Dataset, config: DataConfig, *, seed: int = HOLDOUT_SEED, training: bool = True
) -> list[Fold]:
    """The folds that `data.split` and `data.fold` choose.

    Args:
        seed: of the holdout.
        training: False if no head is trained: the training sides may then lack classes, or be
            empty.

    Raises:
        DatasetError: there is only one class, a class has too few groups to be on both sides, a
            group is on both sides (and `data.allow_group_leak` is off), or the fold does not
            exist.
    """
    if training and dataset.multi_label and not dataset.labels:
        raise DatasetError(f"{dataset.root}: holds no label but {BACKGROUND}; label some actions")
    if training and not dataset.multi_label and len(dataset.labels) < 2:
        raise DatasetError(
            f"{dataset.root}: holds one class only ({dataset.labels[0]}); at least 2 are needed"
        )
    folds = _all_folds(dataset, config, seed, training)
    if config.fold != "all":
        folds = [_choose_fold(folds, config.fold)]
    for fold in folds:
        if not fold.test:
            raise DatasetError(
                f"fold {fold.name}: has no clip for testing; choose another data.split"
            )
        if not config.allow_group_leak:
            _require_whole_groups(fold)
        if training:
            _require_every_class(fold, dataset, chosen_split(dataset, config))
    return folds


def describe_split(
    dataset: Dataset, config: DataConfig, folds: Sequence[Fold], *, num_skipped: int = 0
) -> str:
    """What was tested, for a title; `UCF101 split k` only for the official splits of all of UCF101.

    Args:
        num_skipped: videos of the data set that could not be used.
    """
    name = f"{Path(dataset.root).stem}: "
    one = None if config.fold == "all" else folds[0].name
    split = chosen_split(dataset, config)
    if split == "official":
        whole = len(dataset.labels) == NUM_CLASSES and len(dataset.clips) + num_skipped == NUM_CLIPS
        if config.layout != "ucf101" or not whole:
            return (
                f"{name}official test groups, on {len(dataset.labels)} of {NUM_CLASSES} classes "
                f"and {len(dataset.clips)} of {NUM_CLIPS:,} clips of UCF101"
            )
        return "UCF101 splits 1 to 3" if one is None else f"UCF101 {one}"
    unit = "group"
    if not dataset.grouped:
        unit = "video" if any(clip.video_key != clip.key for clip in dataset.clips) else "clip"
    if split == "leave_one_group_out":
        return name + (f"each {unit} left out in turn" if one is None else f"{unit} {one} left out")
    if split == GIVEN:
        return f"{name}its own {_tested_side(dataset)} clips"
    if split == "none":
        return f"{name}every clip"
    return name + (
        "a holdout of its groups" if unit == "group" else f"a random holdout of its {unit}s"
    )


def _all_folds(dataset: Dataset, config: DataConfig, seed: int, training: bool) -> list[Fold]:
    split = chosen_split(dataset, config)
    if split == "none":
        return [Fold("every clip", dataset.clips, dataset.clips)]
    if split == GIVEN:
        return [_given_fold(dataset)]
    if training:
        _require_groups(dataset)
    if split == "leave_one_group_out":
        held_out = {group: {group} for group in dataset.groups}
    elif split == "official":
        numbers = range(1, NUM_SPLITS + 1)
        held_out = {f"split {number}": _official_groups(dataset, number) for number in numbers}
    else:
        held_out = {HOLDOUT: holdout_groups(dataset.clips, config.test_fraction, seed)}
    return [Fold(name, *_divide(dataset.clips, groups)) for name, groups in held_out.items()]


def _official_groups(dataset: Dataset, split: int) -> set[str]:
    """A group of one class, `<Class>/g01`, goes by its last part."""
    wanted = official_test_groups(split)
    return {group for group in dataset.groups if group.rpartition("/")[2] in wanted}


def train_val_split(
    clips: Sequence[Clip], fraction: float, seed: int
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Divide training clips into those that train and those that validate, by whole groups.

    Each class keeps clips that train; with too few groups, none is held back.
    """
    return _divide(clips, holdout_groups(clips, fraction, seed) if fraction else set())


def _divide(clips: Sequence[Clip], held_out: Set[str]) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """The clips of the other groups, and those of the groups that are held out."""
    return (
        tuple(clip for clip in clips if clip.group not in held_out),
        tuple(clip for clip in clips if clip.group in held_out),
    )


def holdout_groups(clips: Sequence[Clip], fraction: float, seed: int) -> set[str]:
    """Hold out groups, in a seeded order, until each class has `fraction` of its groups there.

    A group is held out only if each of its classes keeps another group for training.
    """
    groups_of: dict[str, set[str]] = defaultdict(set)
    labels_of: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        groups_of[clip.label].add(clip.group)
        labels_of[clip.group].add(clip.label)
    wanted = {label: max(1, round(fraction * len(groups))) for label, groups in groups_of.items()}
    taken: dict[str, int] = defaultdict(int)
    chosen: set[str] = set()
    for group in np.random.default_rng(seed).permutation(sorted(labels_of)).tolist():
        labels = labels_of[group]
        needed = any(taken[label] < wanted[label] for label in labels)
        spare = all(taken[label] + 1 < len(groups_of[label]) for label in labels)
        if needed and spare:
            chosen.add(group)
            for label in labels:
                taken[label] += 1
    return chosen


def _given_fold(dataset: Dataset) -> Fold:
    without = [clip for clip in dataset.clips if clip.split is None]
    if without:
        number = len(without)
        others = "" if number == len(dataset.clips) else f" ({number} of {len(dataset.clips)} lack)"
        raise DatasetError(
            f"{dataset.root}: {without[0].key} has no split{others}; say train, validation or "
            "test of every clip, or use data.split=holdout"
        )
    train, validation, test = (
        tuple(clip for clip in dataset.clips if clip.split == side) for side in SIDES
    )
    if _tested_side(dataset) == "validation":  # tested clips must not choose the epoch
        return Fold(GIVEN, train, validation)
    return Fold(GIVEN, train, test, validation)


def _tested_side(dataset: Dataset) -> Side:
    """The side of a given split that is tested; some name their test clips validation."""
    return "test" if any(clip.split == "test" for clip in dataset.clips) else "validation"


def _choose_fold(folds: list[Fold], wanted: int | str) -> Fold:
    """By name, else by number, from 1: a group that is called 17 need not be the 17th."""
    named = {fold.name: fold for fold in folds}
    if list(named) == [GIVEN]:
        named[OLD_GIVEN] = named[GIVEN]
    numbered = {str(number): fold for number, fold in enumerate(folds, start=1)}
    hashed = {hashed_group(fold.name): fold for fold in folds}  # as a model names it
    for known in (named, numbered, hashed):
        if str(wanted) in known:
            return known[str(wanted)]
    names = ", ".join(fold.name for fold in folds)
    raise DatasetError(
        f"data.fold={wanted}: no such fold; there are 1 ... {len(folds)} ({names}), and all"
    )


def _require_groups(dataset: Dataset) -> None:
    for label in dataset.labels:
        groups = {clip.group for clip in dataset.clips if clip.label == label}
        if len(groups) < 2:
            other = "data.split=none"
            if dataset.continuous and label == BACKGROUND:
                other = "data.unlabelled=ignore"
            raise DatasetError(
                f"{dataset.root}: class {label!r} has one group only ({groups.pop()}), so it "
                f"cannot be in training and test; add clips of another group, or use {other}"
            )


def _require_whole_groups(fold: Fold) -> None:
    if fold.train is fold.test:  # data.split=none asks for every clip on both sides
        return
    known = {clip.group: clip for clip in reversed(fold.known)}
    leaking = [clip for clip in fold.test if clip.group in known]
    if not leaking:
        return
    first = min(leaking, key=lambda clip: (clip.group, clip.key))
    number = len({clip.group for clip in leaking})
    other = known[first.group]
    side = "training" if other in fold.train else "validation"
    raise DatasetError(
        f"fold {fold.name}: group {first.group!r} is in {side} "
        f"({other.key}) and test ({first.key}), {number} groups in all, so the "
        "score would be too good; put each group on one side, or accept that with "
        "--allow-group-leak"
    )


def _require_copies_on_one_side(copies: Copies, tested_side: Side) -> None:
    for same in copies:
        tested = next((clip for clip in same if clip.split == tested_side), None)
        other = next((clip for clip in same if clip.split not in (tested_side, None)), None)
        if tested is not None and other is not None:
            raise DatasetError(
                f"{other.key} ({other.split}) and {tested.key} ({tested_side}) are the same video, "
                "so the score would be too good; take one out, or accept that with "
                "--allow-group-leak"
            )


def _require_every_class(fold: Fold, dataset: Dataset, split: Split) -> None:
    untested = set(dataset.labels) - {clip.label for clip in fold.test}
    if untested and split == HOLDOUT:
        raise DatasetError(
            f"fold {fold.name}: class {min(untested)!r} has no clip for testing, because its "
            "groups hold other classes too; add groups, or try another data.test_fraction"
        )
    missing = set(dataset.labels) - {clip.label for clip in fold.train}
    if missing:
        raise DatasetError(
            f"fold {fold.name}: class {min(missing)!r} has no clip for training; "
            "add clips of other groups"
        )
