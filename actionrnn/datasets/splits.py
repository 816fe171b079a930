"""Which clips are for training and which for testing: whole groups, never parts of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actionrnn.config import DataConfig
from actionrnn.datasets.clips import Clip, Dataset
from actionrnn.datasets.folder import open_folder, open_manifest, open_stored
from actionrnn.datasets.rendered import render_dataset
from actionrnn.datasets.ucf101 import (
    NUM_CLASSES,
    NUM_CLIPS,
    NUM_SPLITS,
    official_test_groups,
    open_ucf101,
)
from actionrnn.errors import DatasetError
from actionrnn.features.imported import imported_store
from actionrnn.privacy import hashed_group

HOLDOUT = "holdout"
HOLDOUT_SEED = 0
"""Not the training's: several seeds are tested on the same clips."""


@dataclass(frozen=True)
class Fold:
    """One division of a data set."""

    name: str
    train: tuple[Clip, ...]
    test: tuple[Clip, ...]


def open_dataset(config: DataConfig) -> Dataset:
    """Find the labelled videos that the configuration names; render the built-in ones.

    Where `data.features` were imported, the entries `<label>/<name>` are the clips.

    Raises:
        DatasetError: there are none, or they are not laid out as said.
    """
    store = imported_store(config.features)
    if store is not None and config.layout == "folder":
        return open_stored(store.root, store.keys(), config.group_pattern)
    if config.root is None:
        raise DatasetError("data.root is not set; add data.root=FOLDER")
    if config.layout == "manifest":
        return open_manifest(config.root, config.group_pattern)
    if config.layout == "folder":
        return open_folder(config.root, config.group_pattern)
    if config.layout == "rendered":
        render_dataset(config.root)
    return open_ucf101(config.root)


def make_folds(
    dataset: Dataset, config: DataConfig, *, seed: int = HOLDOUT_SEED, training: bool = True
) -> list[Fold]:
    """The folds that `data.split` and `data.fold` choose.

    Args:
        seed: of the holdout.
        training: False where there is nothing to train: the training sides may then lack
            classes, or be empty.

    Raises:
        DatasetError: there is one class only, a class has too few groups to stand on both
            sides, a group stands on both sides (and `data.allow_group_leak` is off), or there
            is no such fold.
    """
    if training and len(dataset.labels) < 2:
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
            _require_every_class(fold, dataset)
    return folds


def describe_split(
    dataset: Dataset, config: DataConfig, folds: Sequence[Fold], *, num_skipped: int = 0
) -> str:
    """What was tested, for a title; `UCF101 split k` for the official ones of all of UCF101 alone.

    Args:
        num_skipped: videos of the data set that could not be used.
    """
    name = f"{Path(dataset.root).stem}: "
    one = None if config.fold == "all" else folds[0].name
    if config.split == "official":
        whole = len(dataset.labels) == NUM_CLASSES and len(dataset.clips) + num_skipped == NUM_CLIPS
        if config.layout != "ucf101" or not whole:
            return (
                f"{name}official test groups, on {len(dataset.labels)} of {NUM_CLASSES} classes "
                f"and {len(dataset.clips)} of {NUM_CLIPS:,} clips of UCF101"
            )
        return "UCF101 splits 1 to 3" if one is None else f"UCF101 {one}"
    if config.split == "leave_one_group_out":
        return name + ("each group left out in turn" if one is None else f"group {one} left out")
    if config.split == "manifest":
        return name + "test clips of the manifest"
    return name + ("a holdout of its groups" if config.split == HOLDOUT else "every clip")


def _all_folds(dataset: Dataset, config: DataConfig, seed: int, training: bool) -> list[Fold]:
    if config.split == "none":
        return [Fold("every clip", dataset.clips, dataset.clips)]
    if config.split == "manifest":
        return [_manifest_fold(dataset)]
    if training:
        _require_groups(dataset)
    if config.split == "leave_one_group_out":
        return [_by_groups(group, dataset, {group}) for group in dataset.groups]
    if config.split == "official":
        return [
            _by_groups(f"split {split}", dataset, official_test_groups(split))
            for split in range(1, NUM_SPLITS + 1)
        ]
    return [_by_groups(HOLDOUT, dataset, holdout_groups(dataset.clips, config.test_fraction, seed))]


def _by_groups(name: str, dataset: Dataset, test_groups: Iterable[str]) -> Fold:
    held_out = frozenset(test_groups)
    return Fold(
        name,
        train=tuple(clip for clip in dataset.clips if clip.group not in held_out),
        test=tuple(clip for clip in dataset.clips if clip.group in held_out),
    )


def hold_back(
    clips: Sequence[Clip], fraction: float, seed: int
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Divide training clips into those that train and those that validate, by whole groups.

    Each class keeps clips that train; where too few groups are there to hold any back,
    nothing is.
    """
    held_back = holdout_groups(clips, fraction, seed) if fraction else set()
    return (
        tuple(clip for clip in clips if clip.group not in held_back),
        tuple(clip for clip in clips if clip.group in held_back),
    )


def holdout_groups(clips: Sequence[Clip], fraction: float, seed: int) -> set[str]:
    """Take groups in a seeded order until every class has its part."""
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


def _manifest_fold(dataset: Dataset) -> Fold:
    without = [clip for clip in dataset.clips if clip.split is None]
    if without:
        raise DatasetError(
            f"{dataset.root}: {without[0].key} has no split; fill the column split with "
            "train or test, or use data.split=holdout"
        )
    sides = {
        side: tuple(clip for clip in dataset.clips if clip.split == side)
        for side in ("train", "test")
    }
    return Fold("manifest", sides["train"], sides["test"])


def _choose_fold(folds: list[Fold], wanted: int | str) -> Fold:
    by_number = dict(enumerate(folds, start=1))
    by_name = {fold.name: fold for fold in folds}
    by_hash = {hashed_group(fold.name): fold for fold in folds}  # as a model names it
    for known in (by_number, by_name, by_hash):
        if wanted in known:
            return known[wanted]  # type: ignore[index]
    if str(wanted) in by_name:  # a group that is called 17
        return by_name[str(wanted)]
    names = ", ".join(fold.name for fold in folds)
    raise DatasetError(
        f"data.fold={wanted}: no such fold; there are 1 ... {len(folds)} ({names}), and all"
    )


def _require_groups(dataset: Dataset) -> None:
    for label in dataset.labels:
        groups = {clip.group for clip in dataset.clips if clip.label == label}
        if len(groups) < 2:
            raise DatasetError(
                f"{dataset.root}: class {label!r} has one group only ({groups.pop()}), so it "
                "cannot stand in training and test; add clips of another group, or use "
                "data.split=none"
            )


def _require_whole_groups(fold: Fold) -> None:
    if fold.train is fold.test:  # every clip on both sides, as it was asked for
        return
    trained = {clip.group: clip for clip in reversed(fold.train)}
    leaking = [clip for clip in fold.test if clip.group in trained]
    if not leaking:
        return
    first = min(leaking, key=lambda clip: (clip.group, clip.key))
    number = len({clip.group for clip in leaking})
    raise DatasetError(
        f"fold {fold.name}: group {first.group!r} stands in training "
        f"({trained[first.group].key}) and test ({first.key}), {number} groups in all, so the "
        "score would be too good; put each group on one side, or accept that with "
        "--allow-group-leak"
    )


def _require_every_class(fold: Fold, dataset: Dataset) -> None:
    untested = set(dataset.labels) - {clip.label for clip in fold.test}
    if untested and fold.name == HOLDOUT:
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
