"""Labelled videos in a table of text: a CSV manifest, a list of `path label`, annotations.

The table may come from any spreadsheet or script. Its form is decided by rules that fit in a
sentence, never guessed: see `_read_table` and `_columns_of`.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import math
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actionrnn.datasets.grouping import group_of
from actionrnn.datasets.recordings import (
    BACKGROUND,
    SIDE_NAMES,
    Annotation,
    Clip,
    Dataset,
    Recording,
    Side,
    begin_of,
    end_of,
)
from actionrnn.errors import DatasetError
from actionrnn.files import as_path, at_home
from actionrnn.text import plain
from actionrnn.video.finding import VIDEO_SUFFIXES, clip_key

COLUMNS = ("path", "label", "group", "split", "start", "end")
_READ = "path, label, group, split, start and end"
_OTHER_NAMES = {
    "path": ("video", "videoname", "videopath", "file", "filename", "filepath", "name"),
    "label": ("class", "classname", "category"),
    "split": ("subset",),
    "start": ("starttime", "timestart", "startseconds"),
    "end": ("endtime", "timeend", "endseconds"),
}
"""Other names of these columns, without capitals, blanks, `_` and `-`."""
_ROW_NUMBERS = re.compile(r"|unnamed:\d+|id|index")
_MAYBE_A_PART = re.compile(
    r"begin|start|stop|onset|offset|^end|(frame|clip|seg|segment|time|s|seconds)end$"
)

DELIMITERS = (",", ";", "\t", " ")
_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

_Row = tuple[int, list[str]]
"""The line number, as an editor counts, and the cells."""
_Read = tuple[int, Clip]
"""The line number, and what the row says."""


@dataclass(frozen=True)
class _Table:
    """The rows of a file, and which column is what."""

    rows: list[_Row]
    columns: dict[str, int]
    """The index of each of `COLUMNS` that the file has."""
    width: int
    ignored: tuple[str, ...] = ()
    """The headings of columns that are not used."""


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
    file: str | Path,
    group_pattern: str | None = None,
    *,
    background: bool = False,
    multi_label: bool = False,
) -> Dataset:
    """The rows of a table as `open_manifest` reads them: what happens when in whole recordings.

    Args:
        background: what no row covers is the class `BACKGROUND`; else it is unlabelled.
        multi_label: rows of one video may overlap. `BACKGROUND` is then no class, but says that
            somebody looked and saw none of the classes.

    Raises:
        DatasetError: as `open_manifest`; or rows of one video overlap and may not, or give it
            several groups or splits.
    """
    file = as_path(file)
    rows, notes = _read_clips(file, group_pattern, may_overlap=True)
    by_video: dict[Path, list[_Read]] = defaultdict(list)
    for row in rows:
        by_video[row[1].path].append(row)
    for of_video in by_video.values():
        _require_one_side(of_video, file)
        if not multi_label:
            _require_no_overlap(of_video, file)
    recordings = _merge([clip for _, clip in rows])
    if background:
        recordings = tuple(recording.with_background() for recording in recordings)
    elif multi_label and not any(clip.label == BACKGROUND for _, clip in rows):
        notes = (
            *notes,
            "what no row covers counts as not looked at, so nothing teaches that no class is on; "
            f"data.unlabelled=background does, and so do rows of the label {BACKGROUND}",
        )
    return Dataset(file, recordings, notes, continuous=True, multi_label=multi_label)


def _read_clips(
    file: Path, group_pattern: str | None, *, may_overlap: bool = False
) -> tuple[list[_Read], tuple[str, ...]]:
    """The rows that are not repetitions of others, and notes.

    Args:
        may_overlap: rows of the same time with different labels do not repeat one another.
    """
    videos = _Videos(file.parent)
    table = _read_table(file, _read_text(file), videos)
    first_of: dict[tuple[Path, float | None, float | None, str | None], _Read] = {}
    repeated: list[str] = []
    for line, cells in table.rows:
        try:
            clip = _read_row(_cells_by_column(cells, table), videos, group_pattern)
        except DatasetError as error:
            raise DatasetError(f"{file}, line {line}: {error}") from None
        label = clip.label if may_overlap else None
        part = clip.path, clip.start_seconds, clip.end_seconds, label
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
                "begins, take one out, or train with head.multi_label=true, where both count"
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


def _row_notes(table: _Table, repeated: Sequence[str], group_pattern: str | None) -> Iterator[str]:
    if "group" in table.columns and group_pattern is None:
        number = len(table.rows)
        empty = sum(not _cells_by_column(cells, table)["group"] for _, cells in table.rows)
        if 0 < empty < number:
            yield f"{empty} of {number} rows have no group: each is its own group"
    if table.ignored:
        names = ", ".join(map(plain, table.ignored))
        yield f"the manifest's columns {names} are not used; read are {_READ}"
    if repeated:
        number = len(repeated)
        yield f"{number} rows list a clip again, which counts once (the first: {repeated[0]})"


def _read_text(file: Path) -> str:
    try:
        content = file.read_bytes()
        marks = (name for mark, name in _ENCODINGS.items() if content.startswith(mark))
        text = content.decode(next(marks, "utf-8"))
    except (OSError, UnicodeError) as error:
        reason = f"{error}; save it as UTF-8" if isinstance(error, UnicodeError) else error.strerror
        raise DatasetError(f"{file}: cannot be read as a CSV manifest ({reason})") from None
    if "\0" in text:
        raise DatasetError(f"{file}: cannot be read as a CSV manifest (not text; save it as UTF-8)")
    return text


def _read_table(file: Path, text: str, videos: _Videos) -> _Table:
    """Split the text into rows, and find out which column is what.

    The delimiter that finds most known headings in the first line is taken. Without a heading,
    the first of `DELIMITERS` in that line divides each row into path and label.
    """
    lines = io.StringIO(text, newline="")
    first = next((line.strip("\r\n") for line in lines if line.strip()), "")
    headers = {delimiter: _headings(first, delimiter) for delimiter in DELIMITERS}
    best = max(headers, key=lambda delimiter: sum(map(_is_known, headers[delimiter])))
    if any(map(_is_known, headers[best])):
        rows = _rows_of(file, text, best)
        header = [cell.strip() for cell in rows[0][1]]
        columns, ignored = _columns_of(header, file)
        return _Table(rows[1:], columns, len(header), ignored)
    delimiter = next((one for one in DELIMITERS if one in first.strip()), ",")
    rows = _rows_of(file, text, delimiter)
    if not rows or not _are_paths_and_labels(rows, videos):
        shown = ", ".join(plain(cell) for cell in headers[delimiter]) or "none"
        raise DatasetError(
            f"{file}: has the columns {shown}; needed are path and label, possible are group, "
            "split, start and end: write them as the first line"
        )
    return _Table(rows, {"path": 0, "label": 1}, 2)


def _rows_of(file: Path, text: str, delimiter: str) -> list[_Row]:
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    rows = []
    try:
        for cells in reader:
            if delimiter == " " and cells and not cells[-1]:  # a blank at the line's end
                del cells[-1]
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise DatasetError(
            f"{file}, line {reader.line_num}: cannot be read as a CSV manifest ({error})"
        ) from None
    return rows


def _headings(line: str, delimiter: str) -> list[str]:
    try:
        (cells,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    except (csv.Error, ValueError):
        return []
    return [cell.strip() for cell in cells]


def _folded(heading: str) -> str:
    """`Video_Path` is `videopath`."""
    return re.sub(r"[\s_-]", "", heading).casefold()


def _meaning(heading: str) -> str | None:
    """The column that a heading names, if any."""
    folded = _folded(heading)
    if folded in COLUMNS:
        return folded
    return next((column for column, names in _OTHER_NAMES.items() if folded in names), None)


def _is_known(heading: str) -> bool:
    return _meaning(heading) is not None


def _columns_of(header: Sequence[str], file: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """The index of each known column, and the headings that are not used.

    A column's own name goes before its other names, of which only one may be present.
    """
    shown = f"{file}: has the columns {', '.join(map(plain, header))}"
    columns: dict[str, int] = {}
    for column in COLUMNS:
        meant = [index for index, name in enumerate(header) if _meaning(name) == column]
        own = [index for index in meant if _folded(header[index]) == column]
        if len(own or meant) > 1:
            first, second = (header[index] for index in (own or meant)[:2])
            raise DatasetError(
                f"{shown}; {first!r} and {second!r} may both be the {column}: "
                f"write {column} over one column only"
            )
        if meant:
            columns[column] = (own or meant)[0]
    if not {"path", "label"} <= columns.keys():
        raise DatasetError(
            f"{shown}; needed are path and label, possible are group, split, start and end"
        )
    unused = [
        name
        for index, name in enumerate(header)
        if index not in columns.values() and not _ROW_NUMBERS.fullmatch(_folded(name))
    ]
    twice = next((name for name in unused if unused.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"{shown}; {twice!r} occurs twice: give each column its own name")
    part = next((name for name in unused if _MAYBE_A_PART.search(_folded(name))), None)
    if part is not None:
        raise DatasetError(
            f"{shown}; {part!r} may say which part of a video is the clip: write start and end "
            "over seconds, or take the column out"
        )
    return columns, tuple(unused)


def _are_paths_and_labels(rows: Sequence[_Row], videos: _Videos) -> bool:
    """Whether each row has two cells, the first of which names a video."""
    if any(len(cells) != 2 for _, cells in rows):
        return False
    path, label = (cell.strip() for cell in rows[0][1])
    return _looks_like_a_path(path, videos) and not _looks_like_a_path(label, videos)


def _looks_like_a_path(cell: str, videos: _Videos) -> bool:
    has_ending = posixpath.splitext(cell)[1].lower() in VIDEO_SUFFIXES
    return has_ending or "/" in cell or "\\" in cell or videos.has(cell)


def _cells_by_column(cells: Sequence[str], table: _Table) -> dict[str, str]:
    """Cells that a short row lacks are empty."""
    if any(cell.strip() for cell in cells[table.width :]):
        raise DatasetError("has more cells than the header; put quotes around a cell with a comma")
    return {
        column: cells[index].strip() if index < len(cells) else ""
        for column, index in table.columns.items()
    }


def _read_row(row: dict[str, str], videos: _Videos, group_pattern: str | None) -> Clip:
    """The annotation of a row, in a recording without annotations."""
    name, label = row["path"], row["label"]
    if not name or not label:
        raise DatasetError("path and label must not be empty")
    if not _names_a_file(name):
        raise DatasetError(f"path {name!r} does not name a file")
    path, key = videos.find(name)
    start, end = (_seconds(row.get(column, ""), column) for column in ("start", "end"))
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


def _seconds(cell: str, column: str) -> float | None:
    if not cell:
        return None
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise DatasetError(f"{column} {cell!r} must be a number of seconds")
    return seconds
