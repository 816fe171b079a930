"""Labelled videos in class folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actionrnn.datasets.clips import Clip, Dataset, group_of, unique_clips
from actionrnn.errors import DatasetError, VideoError
from actionrnn.video.reading import find_videos


def open_folder(root: str | Path, group_pattern: str | None = None) -> Dataset:
    """One folder per class: `<root>/<label>/**/<video>`.

    Args:
        group_pattern: searched in each file's name; its first bracket is the group.
            None: each clip is a group of its own.

    Raises:
        DatasetError: the folder is missing, has no videos in class folders, or a name
            does not match the pattern.
    """
    root = Path(root)
    try:
        videos = find_videos(root)
    except VideoError as error:
        raise DatasetError(f"{error} (data.root)") from None
    loose = [path for path in videos if path.parent == root]
    if loose:
        raise DatasetError(f"{loose[0]}: lies in no class folder; put it into {root}/<label>/")
    clips = []
    for path in videos:
        relative = path.relative_to(root)
        key = relative.with_suffix("").as_posix()
        clips.append(Clip(path, key, relative.parts[0], group_of(path.name, key, group_pattern)))
    return Dataset(root, unique_clips(clips))


def open_stored(root: Path, keys: Sequence[str], group_pattern: str | None = None) -> Dataset:
    """The clips behind the entries `<label>/<name>` of a store whose videos are not here.

    Raises:
        DatasetError: an entry has no label, or its name does not match the pattern.
    """
    clips = []
    for key in keys:
        label, slash, _ = key.partition("/")
        if not slash:
            raise DatasetError(
                f"{root}: the entry {key!r} has no label; import features as <label>/<name>, or "
                "give a manifest: data.layout=manifest data.root=FILE.csv"
            )
        clips.append(Clip(root / key, key, label, group_of(Path(key).name, key, group_pattern)))
    return Dataset(root, unique_clips(clips))
