"""Kinetics' CSV: one clip a row, in whole seconds of the video on YouTube.

https://github.com/activitynet/ActivityNet/tree/master/Crawler/Kinetics. Clips that were cut out by
these times begin at 0 and are named otherwise (`<id>_000038_000048`): they are not these videos.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions, without_reversed
from actionrnn.datasets.annotations.text import read_text
from actionrnn.datasets.tables import seconds_in
from actionrnn.errors import DatasetError

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def is_kinetics(text: str) -> bool:
    """Whether a text begins with the header of Kinetics' CSV with labels."""
    header = text.partition("\n")[0].strip().split(",")
    return set(_COLUMNS) <= set(header)


def read_kinetics(file: Path, options: ReadOptions) -> Marks:
    """The label of each clip; the video is its id on YouTube, `extra["split"]` its subset.

    Raises:
        DatasetError: it cannot be read, lacks a column, or a cell is empty or not valid.
    """
    text = read_text(file)
    if not is_kinetics(text):
        raise DatasetError(f"{file}: is not of Kinetics' form ({', '.join(_COLUMNS)})")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    marks = []
    try:
        for row in reader:
            marks.append(_mark(row, file, f"line {reader.line_num}"))
    except csv.Error as error:
        raise DatasetError(f"{file}, line {reader.line_num}: {error}") from None
    kept, notes = without_reversed(marks)
    return Marks(file, "Kinetics", kept, notes=notes, has_sides=True).chosen(options)


def _mark(row: dict[str, str], file: Path, where: str) -> Mark:
    empty = next((column for column in _COLUMNS if not row.get(column)), None)
    if empty is not None:
        raise DatasetError(f"{file}, {where}: {empty} is empty")
    try:
        start, end = (seconds_in(row[column], column) for column in ("time_start", "time_end"))
    except DatasetError as error:
        raise DatasetError(f"{file}, {where}: {error}") from None
    extra = {"split": row["split"]} if row.get("split") else {}
    return Mark(row["label"], start, end, video=row["youtube_id"], extra=extra, where=where)
