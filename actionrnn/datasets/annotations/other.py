"""Formats that are known and not read: one line says which it is and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from actionrnn.errors import DatasetError

_Test = Callable[[Path, str], bool]


def _begins(*starts: str) -> _Test:
    return lambda file, text: text.lstrip().startswith(starts)


def _has_columns(*names: str) -> _Test:
    def test(file: Path, text: str) -> bool:
        header = re.split(r"[,;\t]", text.partition("\n")[0].strip())
        return set(names) <= {name.strip().strip('"') for name in header}

    return test


def _all_lines(pattern: str) -> _Test:
    line_of = re.compile(pattern)

    def test(file: Path, text: str) -> bool:
        lines = text.split("\n")
        return bool(text.strip()) and all(
            line_of.fullmatch(line.strip()) for line in lines if line.strip()
        )

    return test


_NUMBER = r"-?\d+(\.\d+)?(e-?\d+)?"
_FORMATS: tuple[tuple[_Test, str, str], ...] = (
    (
        _begins("Bento annotation file"),
        "a Bento annotation file",
        "start = Start - 1 / framerate and end = Stop: it counts frames from 1, the last included",
    ),
    (
        _has_columns("video_id", "start_timestamp", "stop_timestamp", "verb"),
        "annotations of EPIC-KITCHENS",
        "start and end are the timestamps in seconds, label is the verb, the noun, or both",
    ),
    (
        _has_columns("id", "actions", "length"),
        "annotations of Charades",
        "a row for each 'class start end' of its column actions",
    ),
    (
        _all_lines(rf"[^,]+,{_NUMBER}(,{_NUMBER}){{4}},(\d+)?,(\d+)?"),
        "annotations of AVA",
        "its rows are moments, a second apart: say from when to when each lasts",
    ),
    (
        _begins("FirstLineOfData="),
        "a JWatcher data file",
        "its times are in milliseconds, a state lasts until the next key, and the .fmf file names "
        "the keys",
    ),
    (
        _has_columns("Time", "Behaviour"),
        "a Solomon Coder sheet",
        "a row for each run of equal cells of one column",
    ),
    (
        lambda file, text: "CSV_HEADER = metadata_id" in text[:5000] or '"_via_' in text[:5000],
        "a project of the VGG Image Annotator (VIA)",
        "a row for each pair of temporal_coordinates, with the name of its option",
    ),
    (
        _all_lines(r"\d+ \d+ \S+"),
        "50Salads' original annotations",
        "its times are ticks of the camera, which its files of timestamps turn into seconds; or "
        "take its per-frame text",
    ),
)
"""How to know a file of a format, its name, and how to make the rows of a CSV of it."""
_LISTS: tuple[tuple[_Test, str, str], ...] = (
    (
        _has_columns("video_id", "duration", "fps"),
        "a list of videos",
        "take the file of annotations",
    ),
    (
        _has_columns("youtube_id", "time_start", "time_end"),
        "a list of Kinetics' clips without labels",
        "take the file that has a column label",
    ),
    (
        _all_lines(r"\d+\s+\S+"),
        "a mapping from numbers to labels",
        "take the files of labels beside it",
    ),
    (
        _all_lines(r"#bundle|\S+\.txt"),
        "a list of files (a bundle)",
        "take the files that it names",
    ),
    (
        _all_lines(r"\S+\.txt\s+\S+"),
        "a list of files and their activities",
        "take the files that it names",
    ),
    (
        _all_lines(r"\S+ [^\s,]+(,[^\s,]+)+"),
        "a list of activities and their labels",
        "take the files of annotations",
    ),
)
"""How to know a file that lies beside annotations, its name, and what to take instead."""


def refusal(file: Path, text: str) -> DatasetError:
    """Why a file is not read: its format and the CSV to write, or what to take instead.

    To be asked last: for a file that no reader takes.
    """
    wanted = "write CSV with the columns path, start, end, label in seconds (start <= t < end)"
    for is_it, name, rows in _FORMATS:
        if is_it(file, text):
            return DatasetError(f"{file}: is {name}, which is not read; {wanted}: {rows}")
    for is_it, name, instead in _LISTS:
        if is_it(file, text):
            return DatasetError(f"{file}: is {name}; it does not say what happens when; {instead}")
    return DatasetError(f"{file}: is not of a format that is read here; {wanted}")
