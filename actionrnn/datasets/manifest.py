"""Labelled videos in a table of text: a CSV manifest, a list of `path label`, annotations.

What its form may be, `tables.py` says.
"""

from __future__ import annotations

import itertools
import os
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from actionrnn.datasets.grouping import group_of
from actionrnn.datasets.recordings import (
    SIDE_NAMES,
    Annotation,
    Clip,
    Dataset,
    Recording,
    Side,
    begin_of,
    end_of,
)
from actionrnn.datasets.tables import (
    READ,
    Table,
    cells_by_column,
    read_table,
    read_text,
    seconds_in,
)
from actionrnn.errors import DatasetError
from actionrnn.files import as_path, at_home
from actionrnn.text import plain
from actionrnn.video.finding import VIDEO_SUFFIXES, clip_key

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


def open_annotations(
    file: str | Path, group_pattern: str | None = None, *, background: bool = False
) -> Dataset:
    """The rows of a table as `open_manifest` reads them: what happens when in whole recordings.

    Args:
        background: what no row covers is the class `BACKGROUND`; else it is unlabelled.

    Raises:
        DatasetError: as `open_manifest`; or rows of one video overlap, or give it several groups
            or splits.
    """
    file = as_path(file)
    rows, notes = _read_clips(file, group_pattern)
    by_video: dict[Path, list[_Read]] = defaultdict(list)
    for row in rows:
        by_video[row[1].path].append(row)
    for of_video in by_video.values():
        _require_one_side(of_video, file)
        _require_no_overlap(of_video, file)
    recordings = _merge([clip for _, clip in rows])
    if background:
        recordings = tuple(recording.with_background() for recording in recordings)
    return Dataset(file, recordings, notes, continuous=True)


def _read_clips(file: Path, group_pattern: str | None) -> tuple[list[_Read], tuple[str, ...]]:
    """The rows that are not repetitions of others, and notes."""
    videos = _Videos(file.parent)
    table = read_table(file, read_text(file), videos.has)
    first_of: dict[tuple[Path, float | None, float | None], _Read] = {}
    repeated: list[str] = []
    for line, cells in table.rows:
        try:
            clip = _read_row(cells_by_column(cells, table), videos, group_pattern)
        except DatasetError as error:
            raise DatasetError(f"{file}, line {line}: {error}") from None
        part = clip.path, clip.start_seconds, clip.end_seconds
        first_line, first = first_of.setdefault(part, (line, clip))
        if first_line != line:
            _require_same(first, clip, f"{file}, lines {first_line} and {line}")
            repeated.append(f"line {line}: {plain(first.key)}")
    return list(first_of.values()), tuple(_row_notes(table, repeated, group_pattern))


def _require_one_side(rows: Sequence[_Read], file: Path) -> None:
    """Refuse rows of one video that do not agree on its group and split."""
    first_line, first = rows[0]
    for line, clip in rows[1:]:
        for what in ("group", "split"):
            one, other = getattr(first, what), getattr(clip, what)
            if one != other:
                raise DatasetError(
                    f"{file}, lines {first_line} and {line}: {clip.video_key} has two {what}s, "
                    f"{one!r} and {other!r}; a recording is used as a whole: give it one"
                )


def _require_no_overlap(rows: Sequence[_Read], file: Path) -> None:
    """Refuse rows of one video that label the same time."""
    ordered = sorted(rows, key=lambda row: begin_of(row[1].annotation))
    for (line, one), (other_line, other) in itertools.pairwise(ordered):
        if end_of(one.annotation) > begin_of(other.annotation):
            raise DatasetError(
                f"{file}, lines {line} and {other_line}: {one.key} ({one.label!r}) and {other.key} "
                f"({other.label!r}) overlap; a moment has one label: end one where the other "
                "begins, or take one out"
            )


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
    missing = [one for one in used if not _exists(one.path)]
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


def _read_row(row: dict[str, str], videos: _Videos, group_pattern: str | None) -> Clip:
    """The annotation of a row, in a recording without annotations."""
    name, label = row["path"], row["label"]
    if not name or not label:
        raise DatasetError("path and label must not be empty")
    if not _names_a_file(name):
        raise DatasetError(f"path {name!r} does not name a file")
    path, key = videos.find(name)
    start, end = (seconds_in(row.get(column, ""), column) for column in ("start", "end"))
    if start is not None and end is not None and start >= end:
        raise DatasetError(f"start ({start:g}) must be less than end ({end:g})")
    group = row.get("group") or group_of(path.name, key, group_pattern)
    recording = Recording(path, key, group, _side(row.get("split", "")))
    return Clip(recording, Annotation(label, start, end))


class _Videos:
    """Finds the videos that a manifest names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_stem: dict[Path, dict[str, list[str]]] = {}
        self._found: dict[Path, tuple[Path, str]] = {}

    def find(self, name: str) -> tuple[Path, str]:
        """The video's path and key, whether or not it exists; the same for every spelling of it.

        Raises:
            DatasetError: the name has no ending, and several files begin with it.
        """
        name = at_home(name)
        path = self._folder / name
        if "\\" in name and not _exists(path):  # written on Windows
            path = self._folder / name.replace("\\", "/")
            name = name.replace("\\", "/")
        key = posixpath.normpath(Path(name).as_posix()).lstrip("/").replace("../", "")
        complete = None if _exists(path) else self._complete(path)
        if complete is not None:
            path = complete
        else:
            key = clip_key(Path(key), Path())
        real = Path(os.path.realpath(path.parent), path.name)
        return self._found.setdefault(real, (path, key))

    def has(self, name: str) -> bool:
        """Whether the name is that of a video that exists."""
        return _names_a_file(name) and _exists(self.find(name)[0])

    def _complete(self, path: Path) -> Path | None:
        """The one video with this name and an ending."""
        if path.parent not in self._by_stem:
            self._by_stem[path.parent] = _videos_by_stem(path.parent)
        found = self._by_stem[path.parent].get(path.name, [])
        if len(found) > 1:
            raise DatasetError(f"{path.name!r} may be {' or '.join(found)}; write the ending")
        return path.with_name(found[0]) if found else None


def _videos_by_stem(folder: Path) -> dict[str, list[str]]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return {}
    by_stem: dict[str, list[str]] = {}
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            by_stem.setdefault(path.stem, []).append(path.name)
    return by_stem


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long for a file
        return False


def _names_a_file(name: str) -> bool:
    return posixpath.basename(posixpath.normpath(name.replace("\\", "/"))) not in ("", ".", "..")


def _require_same(first: Clip, second: Clip, where: str) -> None:
    for what in ("label", "group", "split"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            raise DatasetError(
                f"{where}: {first.key} has two {what}s, {one!r} and {other!r}; keep one of the rows"
            )


def _side(cell: str) -> Side | None:
    if not cell:
        return None
    side = SIDE_NAMES.get(cell.casefold())
    if side is None:
        raise DatasetError(f"split {cell!r} must be train, validation or test")
    return side
