"""Labelled videos in class folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actionrnn.config import LabelLevel
from actionrnn.datasets.class_folders import read_places, require_no_class_lost
from actionrnn.datasets.clips import Clip, Dataset, group_of, unique_clips
from actionrnn.errors import DatasetError, VideoError
from actionrnn.files import as_path
from actionrnn.video.finding import clip_key, clip_keys, find_videos


def open_folder(
    root: str | Path, group_pattern: str | None = None, label_level: LabelLevel | None = None
) -> Dataset:
    """One folder per class: `<root>/<label>/**/<video>`, or `<root>/train/<label>/**/<video>`.

    Args:
        group_pattern: searched in each file's name; its first bracket is the group.
            None: each clip is a group of its own, together with files of its name and another
            ending.
        label_level: which of the folders above a clip is its class (`data.label_level`).

    Raises:
        DatasetError: the folder is missing, has no videos in class folders, it is not clear
            which folders are the classes, one of them has no video, or a name does not match
            the pattern.
    """
    root = as_path(root)
    try:
        found = find_videos(root)
    except VideoError as error:
        raise DatasetError(f"{error} (data.root)") from None
    loose = [path for path in found.paths if path.parent == root]
    if loose:
        raise DatasetError(f"{loose[0]}: lies in no class folder; put it into {root}/<label>/")
    folders = [path.parent.relative_to(root).parts for path in found.paths]
    places = read_places(root, folders, label_level)
    notes = require_no_class_lost(found, places.class_depth)
    clips = [
        Clip(path, key, label, group_of(path.name, clip_key(path, root), group_pattern), side)
        for path, key, label, side in zip(
            found.paths, clip_keys(found.paths, root), places.labels, places.sides, strict=True
        )
    ]
    return Dataset(root, unique_clips(clips), (*places.notes, *notes))


def open_stored(
    root: Path,
    keys: Sequence[str],
    group_pattern: str | None = None,
    label_level: LabelLevel | None = None,
) -> Dataset:
    """The clips behind the entries `<label>/<name>` of a store whose videos are not here.

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
    places = read_places(root, [tuple(key.split("/")[:-1]) for key in keys], label_level)
    clips = [
        Clip(root / key, key, label, group_of(Path(key).name, key, group_pattern), side)
        for key, label, side in zip(keys, places.labels, places.sides, strict=True)
    ]
    return Dataset(root, unique_clips(clips), places.notes)
