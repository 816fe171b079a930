"""Labelled videos in a table of text: a CSV manifest, or a list of `path label` lines.

The table may come from any spreadsheet or script. What tells its form is decided by rules that
can be said in a sentence, never guessed: see `_read_table` and `_columns_of`.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actionrnn.datasets.clips import (
    SIDE_NAMES,
    Clip,
    Dataset,
    Side,
    group_of,
    part_name,
    unique_clips,
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
"""What others call these columns, without capitals, blanks, `_` and `-`."""
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
"""Its line, as an editor counts, and its cells."""


@dataclass(frozen=True)
class _Table:
    """The rows of a file, and which column is what."""

    rows: list[_Row]
    places: dict[str, int]
    """Where each of `COLUMNS` is, as far as it is there."""
    width: int
    ignored: tuple[str, ...] = ()
    """The headings of columns that mean nothing here."""


def open_manifest(file: str | Path, group_pattern: str | None = None) -> Dataset:
    """The rows of a table with the columns path, label and, if wanted, group, split, start, end.

    The cells stand between commas, semicolons, tabs or blanks, in UTF-8 or UTF-16; without a
    header a row is `path label`. Paths are relative to the file's folder, and may lack their
    ending. `start` and `end`, in seconds, say which part of a video is the clip; several parts
    of one video are several clips, and of one group. A clip that is listed twice is one.

    Raises:
        DatasetError: the file is missing or cannot be read, its columns are not known, a cell
            is empty or says what it cannot, or one clip has two labels, groups or sides.
    """
    file = as_path(file)
    videos = _Videos(file.parent)
    table = _read_table(file, _read_text(file), videos)
    clips: dict[tuple[Path, float | None, float | None], tuple[int, Clip]] = {}
    twice: list[str] = []
    for line, cells in table.rows:
        clip = _clip_of(line, cells, table, file, videos, group_pattern)
        part = clip.path, clip.start_seconds, clip.end_seconds
        before, first = clips.setdefault(part, (line, clip))
        if before != line:
            _require_same(first, clip, f"{file}, lines {before} and {line}")
            twice.append(f"line {line}: {plain(first.key)}")
    found = unique_clips(clip for _, clip in clips.values())
    return Dataset(file, found, tuple(_notes(table, twice, group_pattern)))


def note_missing_videos(dataset: Dataset) -> Dataset:
    """The same clips, and a note if there are no files behind some of them.

    Raises:
        DatasetError: no clip has a file.
    """
    missing = [clip for clip in dataset.clips if not _is_there(clip.path)]
    if not missing:
        return dataset
    first, number = missing[0], len(dataset.clips)
    if len(missing) == number:
        raise DatasetError(
            f"{dataset.root}: no video of its {number} clips is there (the first: {first.path}); "
            "write paths relative to the manifest's folder, or absolute ones"
        )
    left_out = f"{len(missing)} of {number} clips are left out, as their files are not there"
    return replace(dataset, notes=(*dataset.notes, f"{left_out} (the first: {plain(first.key)})"))


def _notes(table: _Table, twice: Sequence[str], group_pattern: str | None) -> Iterator[str]:
    place = table.places.get("group")
    if place is not None and group_pattern is None:
        empty = sum(
            not cells[place : place + 1] or not cells[place].strip() for _, cells in table.rows
        )
        if 0 < empty < len(table.rows):
            yield f"{empty} of {len(table.rows)} rows have no group: each is a group of its own"
    if table.ignored:
        names = ", ".join(map(plain, table.ignored))
        yield f"the manifest's columns {names} are not used; read are {_READ}"
    if twice:
        yield f"{len(twice)} rows list a clip again, which counts once (the first: {twice[0]})"


def _read_text(file: Path) -> str:
    try:
        content = file.read_bytes()
        marks = (name for mark, name in _ENCODINGS.items() if content.startswith(mark))
        text = content.decode(next(marks, "utf-8"))
    except (OSError, UnicodeError) as error:
        reason = f"{error}; save it as UTF-8" if isinstance(error, UnicodeError) else error.strerror
        raise DatasetError(f"{file}: cannot be read as a CSV manifest ({reason})") from None
    if "\0" in text:
        raise DatasetError(f"{file}: cannot be read as a CSV manifest (no text; save it as UTF-8)")
    return text


def _read_table(file: Path, text: str, videos: _Videos) -> _Table:
    """A header says what is what: its cells are told apart by the delimiter that finds most names.

    Without one, the first delimiter that is there divides each row into path and label.
    """
    lines = io.StringIO(text, newline="")
    first = next((line.strip("\r\n") for line in lines if line.strip()), "")
    headers = {delimiter: _headings(first, delimiter) for delimiter in DELIMITERS}
    best = max(headers, key=lambda delimiter: sum(map(_is_known, headers[delimiter])))
    if any(map(_is_known, headers[best])):
        rows = _rows_of(file, text, best)
        header = [cell.strip() for cell in rows[0][1]]
        places, ignored = _columns_of(header, file)
        return _Table(rows[1:], places, len(header), ignored)
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
    """The column that a heading may stand for."""
    folded = _folded(heading)
    if folded in COLUMNS:
        return folded
    return next((column for column, names in _OTHER_NAMES.items() if folded in names), None)


def _is_known(heading: str) -> bool:
    return _meaning(heading) is not None


def _columns_of(header: Sequence[str], file: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Which column is what, and the headings that mean nothing here.

    A column's own name goes before the names that others have for it, of which one may be there.
    """
    shown = f"{file}: has the columns {', '.join(map(plain, header))}"
    places: dict[str, int] = {}
    for column in COLUMNS:
        meant = [place for place, name in enumerate(header) if _meaning(name) == column]
        own = [place for place in meant if _folded(header[place]) == column]
        if len(own or meant) > 1:
            first, second = (header[place] for place in (own or meant)[:2])
            raise DatasetError(
                f"{shown}; {first!r} and {second!r} may both be the {column}: "
                f"write {column} over one column only"
            )
        if meant:
            places[column] = (own or meant)[0]
    if not {"path", "label"} <= places.keys():
        raise DatasetError(
            f"{shown}; needed are path and label, possible are group, split, start and end"
        )
    rest = [
        name
        for place, name in enumerate(header)
        if place not in places.values() and not _ROW_NUMBERS.fullmatch(_folded(name))
    ]
    twice = next((name for name in rest if rest.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"{shown}; {twice!r} is there twice: give each column its own name")
    part = next((name for name in rest if _MAYBE_A_PART.search(_folded(name))), None)
    if part is not None:
        raise DatasetError(
            f"{shown}; {part!r} may say which part of a video is the clip: write start and end "
            "over seconds, or take the column out"
        )
    return places, tuple(rest)


def _are_paths_and_labels(rows: Sequence[_Row], videos: _Videos) -> bool:
    """Whether each row has two cells, the first of which is that of a video."""
    if any(len(cells) != 2 for _, cells in rows):
        return False
    path, label = (cell.strip() for cell in rows[0][1])
    return _looks_like_a_path(path, videos) and not _looks_like_a_path(label, videos)


def _looks_like_a_path(cell: str, videos: _Videos) -> bool:
    has_ending = posixpath.splitext(cell)[1].lower() in VIDEO_SUFFIXES
    return has_ending or "/" in cell or "\\" in cell or videos.has(cell)


def _clip_of(
    line: int,
    cells: Sequence[str],
    table: _Table,
    file: Path,
    videos: _Videos,
    group_pattern: str | None,
) -> Clip:
    where = f"{file}, line {line}"
    if any(cell.strip() for cell in cells[table.width :]):
        raise DatasetError(
            f"{where}: has more cells than the header; put quotes around a cell with a comma"
        )
    row = {
        column: cells[place].strip() if place < len(cells) else ""
        for column, place in table.places.items()
    }
    name, label = row["path"], row["label"]
    if not name or not label:
        raise DatasetError(f"{where}: path and label must not be empty")
    if not _names_a_file(name):
        raise DatasetError(f"{where}: path {name!r} names no file")
    try:
        path, key = videos.find(name)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from None
    start, end = (_seconds(row.get(column, ""), where, column) for column in ("start", "end"))
    if start is not None and end is not None and start >= end:
        raise DatasetError(f"{where}: start ({start:g}) must be less than end ({end:g})")
    group = row.get("group") or group_of(path.name, key, group_pattern)
    side = _side(row.get("split", ""), where)
    return Clip(path, key + part_name(start, end), label, group, side, start, end)


class _Videos:
    """The videos that the names in a manifest mean."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_stem: dict[Path, dict[str, list[str]]] = {}
        self._found: dict[Path, tuple[Path, str]] = {}

    def find(self, name: str) -> tuple[Path, str]:
        """The video and its key, as it was first written; or what they would be, if it were there.

        Raises:
            DatasetError: the name has no ending, and several files begin like it.
        """
        name = at_home(name)
        path = self._folder / name
        if "\\" in name and not _is_there(path):  # written on Windows
            path = self._folder / name.replace("\\", "/")
            name = name.replace("\\", "/")
        key = posixpath.normpath(Path(name).as_posix()).lstrip("/").replace("../", "")
        complete = None if _is_there(path) else self._complete(path)
        if complete is not None:
            path = complete
        else:
            key = clip_key(Path(key), Path())
        real = Path(os.path.realpath(path.parent), path.name)
        return self._found.setdefault(real, (path, key))

    def has(self, name: str) -> bool:
        """Whether the name means a video that is there."""
        return _names_a_file(name) and _is_there(self.find(name)[0])

    def _complete(self, path: Path) -> Path | None:
        """The one video that is named like this, but with an ending."""
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


def _is_there(path: Path) -> bool:
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


def _side(cell: str, where: str) -> Side | None:
    if not cell:
        return None
    side = SIDE_NAMES.get(cell.casefold())
    if side is None:
        raise DatasetError(f"{where}: split {cell!r} must be train, validation or test")
    return side


def _seconds(cell: str, where: str, column: str) -> float | None:
    if not cell:
        return None
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise DatasetError(f"{where}: {column} {cell!r} must be a number of seconds")
    return seconds
