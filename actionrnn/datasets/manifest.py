"""Labelled videos in a CSV manifest."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from actionrnn.datasets.clips import Clip, Dataset, group_of, unique_clips
from actionrnn.errors import DatasetError

MANIFEST_COLUMNS = ("path", "label", "group", "split", "start", "end")


def open_manifest(file: str | Path, group_pattern: str | None = None) -> Dataset:
    """A CSV file with the columns path, label and, if wanted, group, split, start and end.

    Paths are relative to the file's folder. `start` and `end`, in seconds, say which part of a
    video is the clip; several parts of one video are several clips, and of one group.

    Raises:
        DatasetError: the file is missing, has other columns, an empty cell, names a split
            other than train and test, or a part that ends before it begins.
    """
    file = Path(file)
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
    path = Path(name) if Path(name).is_absolute() else file.parent / name
    key = Path(name).with_suffix("").as_posix().lstrip("/").replace("../", "")
    group = (row.get("group") or "").strip() or group_of(path.name, key, group_pattern)
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
