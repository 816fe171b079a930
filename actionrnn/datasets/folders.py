"""Labelled videos in class folders: what the folders above a clip say of its class and side."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actionrnn.config import LabelLevel
from actionrnn.datasets.grouping import group_of
from actionrnn.datasets.recordings import SIDE_NAMES, Dataset, Recording, Side
from actionrnn.errors import DatasetError, VideoError
from actionrnn.files import as_path
from actionrnn.video.finding import FoundVideos, clip_key, clip_keys, find_videos

Folders = tuple[str, ...]
"""The folders between the data set's root and a clip, from the outermost on."""

_SIDE_NAME = re.compile(
    rf"({'|'.join(SIDE_NAMES)})([-_. ]?(set|split|data|videos?|clips?|frames?|\d+))*", re.IGNORECASE
)


@dataclass(frozen=True)
class FolderLabels:
    """What the folders above some clips say, for each clip in the given order."""

    labels: tuple[str, ...]
    sides: tuple[Side | None, ...]
    notes: tuple[str, ...]
    class_depth: int | None
    """How many folders deep the class folders are; None: the class is the folder of the clip."""


def open_folder(
    root: str | Path, group_pattern: str | None = None, label_level: LabelLevel | None = None
) -> Dataset:
    """One folder per class: `<root>/<label>/**/<video>`, or `<root>/train/<label>/**/<video>`.

    Args:
        group_pattern: searched in each file's name; its first bracket is the group.
            None: each clip is its own group, together with files that differ in the ending alone.
        label_level: which of the folders above a clip is its class (`data.label_level`).

    Raises:
        DatasetError: the folder is missing, has no videos in class folders, it is not clear
            which folders are the classes, one of them has no video, or a name does not match
            the pattern.
    """
    root = as_path(root)
    found = find_labelled_videos(root)
    loose = [path for path in found.paths if path.parent == root]
    if loose:
        raise DatasetError(f"{loose[0]}: is not in a class folder; put it into {root}/<label>/")
    above = [path.parent.relative_to(root).parts for path in found.paths]
    read = read_folders(root, above, label_level)
    notes = notes_unless_class_lost(found, read.class_depth)
    groups = [group_of(path.name, clip_key(path, root), group_pattern) for path in found.paths]
    keys = clip_keys(found.paths, root)
    recordings = map(Recording.trimmed, found.paths, keys, read.labels, groups, read.sides)
    return Dataset(root, tuple(recordings), (*read.notes, *notes))


def open_stored(
    root: Path,
    keys: Sequence[str],
    group_pattern: str | None = None,
    label_level: LabelLevel | None = None,
) -> Dataset:
    """The clips of a store's entries `<label>/<name>`, where the videos are elsewhere.

    Raises:
        DatasetError: an entry has no label, it is not clear which part of it is the label, or
            its name does not match the pattern.
    """
    for key in keys:
        if "/" not in key:
            raise DatasetError(
                f"{root}: the entry {key!r} has no label; import features as <label>/<name>, or "
                "give a manifest: data.layout=manifest data.root=FILE.csv"
            )
    read = read_folders(root, [tuple(key.split("/")[:-1]) for key in keys], label_level)
    paths = [root / key for key in keys]
    groups = [group_of(Path(key).name, key, group_pattern) for key in keys]
    recordings = map(Recording.trimmed, paths, keys, read.labels, groups, read.sides)
    return Dataset(root, tuple(recordings), read.notes)


def find_labelled_videos(root: Path) -> FoundVideos:
    """The videos below `data.root`.

    Raises:
        DatasetError: the folder is missing, may not be read, or holds no video.
    """
    try:
        return find_videos(root)
    except VideoError as error:
        raise DatasetError(f"{error} (data.root)") from None


def read_folders(root: Path, clips: Sequence[Folders], level: LabelLevel | None) -> FolderLabels:
    """The class of each clip, and its side if the folders say one.

    Folders called train, val and test that hold class folders are a split. Below them, or
    below the root, the class is the folder at `level`. None: the first one, unless a class could
    as well be divided into several.

    Args:
        clips: the folders of each clip, at least one.

    Raises:
        DatasetError: it is not clear what is a class, or a clip has no folder at that level.
    """
    sides, notes = find_sides(root, clips, level)
    depth = 1 if sides else 0
    below = [folders[depth:] for folders in clips]
    if level is None:
        _require_one_reading(root, below)
    index = -1 if level == "last" else (level or 1) - 1
    for folders, inner in zip(clips, below, strict=True):
        if len(inner) <= index:
            raise DatasetError(
                f"{root.joinpath(*folders)}: holds videos, but no class folder as "
                f"data.label_level={level} says; choose another level, or move them"
            )
    return FolderLabels(
        labels=tuple(inner[index] for inner in below),
        sides=tuple(sides.get(folders[0]) for folders in clips),
        notes=(*notes, *_unused_sides(clips, depth)),
        class_depth=None if level == "last" else depth + index + 1,
    )


def find_sides(
    root: Path, clips: Sequence[Folders], level: LabelLevel | None = None, *, named: bool = False
) -> tuple[dict[str, Side], tuple[str, ...]]:
    """The side that each of the outermost folders is, and a note; empty if they are not a split.

    Args:
        named: the clips' names say their classes, so they need no class folders.

    Raises:
        DatasetError: some of the folders look like a split, but not all of them; and `level`
            does not say that the outermost folders are the classes.
    """
    count = Counter(folders[0] for folders in clips if folders)
    sides = {name: side for name in sorted(count) if (side := _side_of(name)) is not None}
    if len(set(sides.values())) < 2:
        return {}, ()
    others = sorted(count.keys() - sides.keys())
    bare = [] if named else sorted({folders[0] for folders in clips if len(folders) == 1})
    if not others and not bare and all(clips):
        numbers = ", ".join(f"{name} {count[name]}" for name in sides)
        return sides, (f"the folders of {root} are a split of its clips: {numbers}",)
    if level == 1:
        return {}, ()
    problem = f"{others[0]} beside them does not" if others else "a clip beside them does not"
    if bare:
        problem = f"{bare[0]} holds videos in no class folder"
    raise DatasetError(
        f"{root}: {' and '.join(sides)} look like a split, but {problem}; take it out, give a "
        "list (data.layout=manifest), or say with data.label_level=1 that these are classes"
    )


def notes_unless_class_lost(found: FoundVideos, class_depth: int | None) -> tuple[str, ...]:
    """Notes on folders that hold other things; those that could be a class are refused.

    Raises:
        DatasetError: a class folder has no video that is found.
    """
    notes = []
    for folder in found.without_videos:
        depth = len(folder.path.relative_to(found.root).parts)
        if class_depth is not None and depth > class_depth:
            continue
        if folder.may_hide_videos:
            raise DatasetError(
                f"{folder.path}: {folder.reason}; its class would be missing, so put videos "
                f"there, or take the folder out of {found.root}"
            )
        notes.append(f"left out: {folder.path} ({folder.reason})")
    return (*found.unreadable.values(), *found.notes, *notes)


def _side_of(folder: str) -> Side | None:
    match = _SIDE_NAME.fullmatch(folder)
    return SIDE_NAMES[match[1].lower()] if match else None


def _unused_sides(clips: Sequence[Folders], depth: int) -> Iterator[str]:
    """A line on deeper folders that are called like the sides of a split."""
    for level in range(depth, max(map(len, clips))):
        names = {folders[level] for folders in clips if len(folders) > level}
        named = sorted(name for name in names if _side_of(name) is not None)
        if len({_side_of(name) for name in named}) > 1:
            yield (
                f"folders called {' and '.join(named)} are not used as a split: only those "
                "right below data.root are; name that folder, or give a list"
            )


def _require_one_reading(root: Path, clips: Sequence[Folders]) -> None:
    """Refuse a class whose clips are all in folders below it, of which there are several."""
    inner: dict[str, set[str | None]] = defaultdict(set)
    for folders in clips:
        inner[folders[0]].add(folders[1] if len(folders) > 1 else None)
    for name in sorted(inner):
        parts = sorted(part for part in inner[name] if part is not None)
        if None in inner[name] or len(parts) < 2:
            continue
        alone = f", data.root={root / name} for what is in it" if len(inner) == 1 else ""
        raise DatasetError(
            f"{root}: are the classes {name}, ... or {parts[0]}, {parts[1]}, ...? {name} holds its "
            f"videos in folders; set data.label_level=1 for the first{alone}, or "
            "data.label_level=last for the folder that a clip lies in"
        )
