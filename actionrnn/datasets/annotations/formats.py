"""Annotations in whatever format they are: which one a file is, its content says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from actionrnn.datasets.annotations.intervals_csv import read_intervals_csv
from actionrnn.datasets.annotations.marks import Marks, ReadOptions
from actionrnn.errors import DatasetError
from actionrnn.text import plain

SUFFIXES = (".csv", ".tsv", ".txt", ".boris", ".eaf", ".json", ".xml", ".textgrid")
"""Of the files in a folder that are looked at, in lower case."""


def read_annotations(path: Path, options: ReadOptions) -> Marks:
    """What a file of annotations says, or all such files of a folder together.

    Args:
        path: a file in one of the formats of `docs/annotations.md`, or a folder of files in one
            format.

    Raises:
        DatasetError: it is missing, of no known format, damaged, or needs an option.
        VideoError: a video that must tell the times of its frames cannot be read.
    """
    if not path.is_dir():
        return read_file(path, options).chosen(options)
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
    files = [file for file in files if file.is_file()]
    if not files:
        raise DatasetError(
            f"{path}: holds no file of annotations; their names end in {', '.join(SUFFIXES)}"
        )
    return _joined(path, [read_file(file, options) for file in files]).chosen(options)


def _joined(folder: Path, found: list[Marks]) -> Marks:
    formats = list(dict.fromkeys(marks.format for marks in found))
    if len(formats) > 1:
        raise DatasetError(
            f"{folder}: holds files of several formats ({' and '.join(formats)}); give each its "
            "own folder, or convert them to one"
        )
    looked_at = {video: spans for marks in found for video, spans in marks.looked_at.items()}
    seconds = {name: value for marks in found for name, value in marks.duration_seconds.items()}
    notes = (f"{plain(marks.file.name)}: {note}" for marks in found for note in marks.notes)
    together = tuple(
        replace(mark, where=f"{marks.file.name} {mark.where}".strip())
        for marks in found
        for mark in marks.marks
    )
    return Marks(folder, formats[0], together, looked_at, seconds, tuple(notes))


def read_file(file: Path, options: ReadOptions) -> Marks:
    """One file, whose format its content says."""
    return read_intervals_csv(file, options)
