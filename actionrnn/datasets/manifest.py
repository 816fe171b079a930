"""Labelled videos in a table of text: a CSV manifest, a list of `path label`, annotations.

What its form may be, `tables.py` says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from actionrnn.datasets.annotations.text import read_text
from actionrnn.datasets.grouping import group_of
from actionrnn.datasets.recordings import (
    Annotation,
    Clip,
    Dataset,
    Recording,
)
from actionrnn.datasets.tables import (
    READ,
    Table,
    cells_by_column,
    read_table,
    seconds_in,
    side_in,
)
from actionrnn.datasets.video_names import VideoNames, exists, names_a_file
from actionrnn.errors import DatasetError
from actionrnn.files import as_path
from actionrnn.text import plain

_Read = tuple[int, Clip]
"""The line number, and what the row says."""


def open_manifest(file: str | Path, group_pattern: str | None = None) -> Dataset:
    """The rows of a table with the columns path, label and, if wanted, group, split, start, end.

    The cells are separated by commas, semicolons, tabs or blanks, in UTF-8 or UTF-16; without a
    header a row is `path label`. Paths are relative to the file's folder, and may lack their
    ending. Rows of one video are annotations of one recording, from `start` to `end` in seconds
    (half open); without a group they share one. A row that repeats an annotation counts once.
    Rows that give one video several groups or splits make a recording for each: a note tells
    several groups, and `make_folds` refuses a group on both sides.

    Raises:
        DatasetError: the file is missing or cannot be read, its columns are not known, a cell
            is empty or invalid, or an annotation has two labels, groups or splits.
    """
    file = as_path(file)
    rows, notes = _read_clips(file, group_pattern)
    recordings = _merge([clip for _, clip in rows])
    return Dataset(file, recordings, (*notes, *_group_notes(recordings)))


def _read_clips(file: Path, group_pattern: str | None) -> tuple[list[_Read], tuple[str, ...]]:
    """The rows that are not repetitions of others, and notes."""
    videos = VideoNames(file.parent)
    table = read_table(file, read_text(file), videos.has)
    first_of: dict[tuple[Path, float | None, float | None], _Read] = {}
    repeated: list[str] = []
    for line, cells in table.rows:
        try:
            row = cells_by_column(cells, table)
            clip = _read_row(row, videos, group_pattern, table.decimal_comma)
        except DatasetError as error:
            raise DatasetError(f"{file}, line {line}: {error}") from None
        part = clip.path, clip.start_seconds, clip.end_seconds
        first_line, first = first_of.setdefault(part, (line, clip))
        if first_line != line:
            _require_same(first, clip, f"{file}, lines {first_line} and {line}")
            repeated.append(f"line {line}: {plain(first.key)}")
    return list(first_of.values()), tuple(_row_notes(table, repeated, group_pattern))


def _merge(clips: Sequence[Clip]) -> tuple[Recording, ...]:
    """One recording for all annotations of a video that agree on its group and split."""
    annotations: dict[Recording, list[Annotation]] = {}
    for clip in clips:
        annotations.setdefault(clip.recording, []).append(clip.annotation)
    return tuple(
        replace(recording, annotations=tuple(found)) for recording, found in annotations.items()
    )


def note_missing_videos(dataset: Dataset) -> Dataset:
    """The same data set, with a note if some of its files do not exist.

    Raises:
        DatasetError: no file exists.
    """
    used = dataset.recordings if dataset.continuous else dataset.clips
    noun = "recordings" if dataset.continuous else "clips"
    missing = [one for one in used if not exists(one.path)]
    if not missing:
        return dataset
    first, number = missing[0], len(used)
    if len(missing) == number:
        raise DatasetError(
            f"{dataset.root}: none of the videos of its {number} {noun} exists (the first: "
            f"{first.path}); write paths relative to the manifest's folder, or absolute ones"
        )
    left_out = f"{len(missing)} of {number} {noun} are left out, as their files do not exist"
    return replace(dataset, notes=(*dataset.notes, f"{left_out} (the first: {plain(first.key)})"))


def _group_notes(recordings: Sequence[Recording]) -> Iterator[str]:
    groups: dict[str, set[str]] = defaultdict(set)
    for recording in recordings:
        groups[recording.key].add(recording.group)
    several = [key for key, found in groups.items() if len(found) > 1]
    if several:
        yield (
            f"{len(several)} videos have rows of several groups (the first: {plain(several[0])}), "
            "so parts of one recording may be on both sides of a split"
        )


def _row_notes(table: Table, repeated: Sequence[str], group_pattern: str | None) -> Iterator[str]:
    if "group" in table.columns and group_pattern is None:
        number = len(table.rows)
        empty = sum(not cells_by_column(cells, table)["group"] for _, cells in table.rows)
        if 0 < empty < number:
            yield f"{empty} of {number} rows have no group: each is its own group"
    if table.others:
        names = ", ".join(plain(name) for name, _ in table.others)
        yield f"the manifest's columns {names} are not used; read are {READ}"
    if repeated:
        number = len(repeated)
        yield f"{number} rows list a clip again, which counts once (the first: {repeated[0]})"


def _read_row(
    row: dict[str, str], videos: VideoNames, group_pattern: str | None, decimal_comma: bool
) -> Clip:
    """The annotation of a row, in a recording without annotations."""
    name, label = row["path"], row["label"]
    if not name or not label:
        raise DatasetError("path and label must not be empty")
    if not names_a_file(name):
        raise DatasetError(f"path {name!r} does not name a file")
    path, key = videos.find(name)
    start, end = (
        seconds_in(row.get(column, ""), column, decimal_comma=decimal_comma)
        for column in ("start", "end")
    )
    if start is not None and end is not None and start >= end:
        raise DatasetError(f"start ({start:g}) must be less than end ({end:g})")
    group = row.get("group") or group_of(path.name, key, group_pattern)
    recording = Recording(path, key, group, side_in(row.get("split", "")))
    return Clip(recording, Annotation(label, start, end))


def _require_same(first: Clip, second: Clip, where: str) -> None:
    for what in ("label", "group", "split"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            raise DatasetError(
                f"{where}: {first.key} has two {what}s, {one!r} and {other!r}; keep one of the rows"
            )
