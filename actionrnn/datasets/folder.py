"""Labelled videos in class folders, or in a CSV manifest."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

from actionrnn.datasets.clips import Clip, Dataset, unique_clips
from actionrnn.errors import DatasetError, VideoError
from actionrnn.files import as_path, at_home
from actionrnn.video.reading import find_videos

MANIFEST_COLUMNS = ("path", "label", "group", "split", "start", "end")


def open_folder(root: str | Path, group_pattern: str | None = None) -> Dataset:
    """One folder per class: `<root>/<label>/**/<video>`.

    Args:
        group_pattern: searched in each file's name; its first bracket is the group.
            None: each clip is a group of its own.

    Raises:
        DatasetError: the folder is missing, has no videos in class folders, or a name
            does not match the pattern.
    """
    root = as_path(root)
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
        clips.append(Clip(path, key, relative.parts[0], _group(path.name, key, group_pattern)))
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
        clips.append(Clip(root / key, key, label, _group(Path(key).name, key, group_pattern)))
    return Dataset(root, unique_clips(clips))


def open_manifest(file: str | Path, group_pattern: str | None = None) -> Dataset:
    """A CSV file with the columns path, label and, if wanted, group, split, start and end.

    Paths are relative to the file's folder. `start` and `end`, in seconds, say which part of a
    video is the clip; several parts of one video are several clips, and of one group.

    Raises:
        DatasetError: the file is missing, has other columns, an empty cell, names a split
            other than train and test, or a part that ends before it begins.
    """
    file = as_path(file)
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file}: cannot be read as a CSV manifest ({error})") from None
    unknown = [column for column in columns if column not in MANIFEST_COLUMNS]
    if unknown or not {"path", "label"} <= set(columns):
        raise DatasetError(
            f"{file}: has the columns {', '.join(columns) or 'none'}; "
            "needed are path and label, possible are group, split, start and end"
        )
    clips = [_manifest_clip(row, file, line, group_pattern) for line, row in rows]
    return Dataset(file, unique_clips(clips))


def _manifest_clip(
    row: dict[str, str | None], file: Path, line: int, group_pattern: str | None
) -> Clip:
    if None in row:
        raise DatasetError(
            f"{file}, line {line}: has more cells than the header; put quotes around a comma"
        )
    name, label, split = ((row.get(c) or "").strip() for c in ("path", "label", "split"))
    if not name or not label:
        raise DatasetError(f"{file}, line {line}: path and label must not be empty")
    if split not in ("", "train", "test"):
        raise DatasetError(f"{file}, line {line}: split {split!r} must be train or test")
    name = at_home(name)
    path = Path(name) if Path(name).is_absolute() else file.parent / name
    key = Path(name).with_suffix("").as_posix().lstrip("/").replace("../", "")
    group = (row.get("group") or "").strip() or _group(path.name, key, group_pattern)
    start, end = (_seconds(row.get(column), file, line, column) for column in ("start", "end"))
    if start is not None and end is not None and start >= end:
        raise DatasetError(
            f"{file}, line {line}: start ({start:g}) must be less than end ({end:g})"
        )
    return Clip(path, key + _part(start, end), label, group, split or None, start, end)


def _seconds(cell: str | None, file: Path, line: int, column: str) -> float | None:
    text = (cell or "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise DatasetError(f"{file}, line {line}: {column} {text!r} must be a number of seconds")
    return seconds


def _part(start: float | None, end: float | None) -> str:
    """What tells the parts of one video apart.

    >>> _part(10.0, 20.5)
    '@10-20.5'
    """
    if start is None and end is None:
        return ""
    texts = ("" if seconds is None else format(seconds, ".15g") for seconds in (start, end))
    return "@" + "-".join(texts)


def _group(name: str, key: str, pattern: str | None) -> str:
    if pattern is None:
        return key
    match = re.search(pattern, name)
    if match is None or not match[1]:
        raise DatasetError(
            f"{name}: does not match data.group_pattern {pattern!r}; "
            "its first bracket must find the clip's group"
        )
    return match[1]
