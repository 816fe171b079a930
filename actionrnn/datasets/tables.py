"""A table of text as any spreadsheet or script may write it: which delimiter, which column is what.

Its form is decided by rules that fit in a sentence, never guessed: see `read_table` and
`_columns_of`.
"""

from __future__ import annotations

import csv
import io
import math
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actionrnn.datasets.recordings import SIDE_NAMES, Side
from actionrnn.errors import DatasetError
from actionrnn.text import plain
from actionrnn.video.finding import VIDEO_SUFFIXES

COLUMNS = ("path", "label", "group", "split", "start", "end")
READ = "path, label, group, split, start and end"
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
Row = tuple[int, list[str]]
"""The line number, as an editor counts, and the cells."""


@dataclass(frozen=True)
class Table:
    """The rows of a file, and which column is what."""

    rows: list[Row]
    columns: dict[str, int]
    """The index of each of `COLUMNS` that the file has."""
    width: int
    others: tuple[tuple[str, int], ...] = ()
    """The headings and indices of all other columns but numbers of rows."""
    decimal_comma: bool = False
    """Whether seconds are written as `1,5`: never where commas separate the cells."""


def read_table(file: Path, text: str, is_video: Callable[[str], bool]) -> Table:
    """Split the text into rows, and find out which column is what.

    The delimiter that finds most known headings in the first line is taken. Without a heading,
    the first of `DELIMITERS` in that line divides each row into path and label.

    Args:
        is_video: whether a name is that of a video that exists.

    Raises:
        DatasetError: the columns are not known, or may be several things.
    """
    first, headers, best = _first_line(text)
    if any(map(_is_known, headers[best])):
        rows = _rows_of(file, text, best)
        header = [cell.strip() for cell in rows[0][1]]
        columns, others = _columns_of(header, file)
        decimal_comma = best != "," and _has_decimal_commas(file, rows[1:], columns)
        return Table(rows[1:], columns, len(header), others, decimal_comma)
    delimiter = next((one for one in DELIMITERS if one in first.strip()), ",")
    rows = _rows_of(file, text, delimiter)
    if not rows or not _are_paths_and_labels(rows, is_video):
        shown = ", ".join(plain(cell) for cell in headers[delimiter]) or "none"
        raise DatasetError(
            f"{file}: has the columns {shown}; needed are path and label, possible are group, "
            "split, start and end: write them as the first line"
        )
    return Table(rows, {"path": 0, "label": 1}, 2)


def columns_named_in(text: str) -> set[str]:
    """Which of `COLUMNS` the first line names."""
    _, headers, best = _first_line(text)
    return {column for column in map(_meaning, headers[best]) if column}


def _first_line(text: str) -> tuple[str, dict[str, list[str]], str]:
    """The first line, its headings by delimiter, and the delimiter that finds the most."""
    lines = io.StringIO(text, newline="")
    first = next((line.strip("\r\n") for line in lines if line.strip()), "")
    headers = {delimiter: _headings(first, delimiter) for delimiter in DELIMITERS}
    return first, headers, max(headers, key=lambda one: sum(map(_is_known, headers[one])))


def _rows_of(file: Path, text: str, delimiter: str) -> list[Row]:
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


def is_own_name(heading: str) -> bool:
    """Whether a heading is one of `COLUMNS` itself, not another name of it."""
    return _folded(heading) in COLUMNS


def _is_known(heading: str) -> bool:
    """Whether a heading names one of `COLUMNS`."""
    return _meaning(heading) is not None


def _columns_of(
    header: Sequence[str], file: Path
) -> tuple[dict[str, int], tuple[tuple[str, int], ...]]:
    """The index of each known column, and the other headings with theirs.

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
    others = [
        (name, index)
        for index, name in enumerate(header)
        if index not in columns.values() and not _ROW_NUMBERS.fullmatch(_folded(name))
    ]
    unused = [name for name, _ in others]
    twice = next((name for name in unused if unused.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"{shown}; {twice!r} occurs twice: give each column its own name")
    part = next((name for name in unused if _MAYBE_A_PART.search(_folded(name))), None)
    if part is not None and not {"start", "end"} <= columns.keys():
        raise DatasetError(
            f"{shown}; {part!r} may say which part of a video is the clip: write start and end "
            "over seconds, or take the column out"
        )
    return columns, tuple(others)


def _are_paths_and_labels(rows: Sequence[Row], is_video: Callable[[str], bool]) -> bool:
    """Whether each row has two cells, the first of which names a video."""
    if any(len(cells) != 2 for _, cells in rows):
        return False
    path, label = (cell.strip() for cell in rows[0][1])
    return _looks_like_a_path(path, is_video) and not _looks_like_a_path(label, is_video)


def _looks_like_a_path(cell: str, is_video: Callable[[str], bool]) -> bool:
    has_ending = posixpath.splitext(cell)[1].lower() in VIDEO_SUFFIXES
    return has_ending or "/" in cell or "\\" in cell or is_video(cell)


def _has_decimal_commas(file: Path, rows: Sequence[Row], columns: dict[str, int]) -> bool:
    """Whether start and end are written as `1,5`, as spreadsheets in much of Europe do.

    Raises:
        DatasetError: some are, and others have a point: a comma may then divide thousands.
    """
    found: dict[str, str] = {}
    for line, cells in rows:
        for column in ("start", "end"):
            cell = cells[columns[column]] if columns.get(column, len(cells)) < len(cells) else ""
            for sign in ",.":
                if sign in cell:
                    found.setdefault(sign, f"{column} {cell.strip()!r} in line {line}")
    if len(found) > 1:
        raise DatasetError(
            f"{file}: has decimal commas and points, {found[',']} and {found['.']}; write all "
            "seconds in one way"
        )
    return "," in found


def cells_by_column(cells: Sequence[str], table: Table) -> dict[str, str]:
    """Cells that a short row lacks are empty."""
    if any(cell.strip() for cell in cells[table.width :]):
        raise DatasetError(
            "has more cells than the header; put quotes around a cell with a comma, and write "
            "seconds with a point (1.5)"
        )
    return {
        column: cells[index].strip() if index < len(cells) else ""
        for column, index in table.columns.items()
    }


def seconds_in(cell: str, column: str, *, decimal_comma: bool = False) -> float | None:
    """The number in a cell; None if it is empty."""
    if not cell:
        return None
    try:
        seconds = float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or "_" in cell:
        remedy = "" if decimal_comma or "," not in cell else "; write a point, as in 1.5"
        raise DatasetError(f"{column} {cell!r} must be a number of seconds{remedy}")
    return seconds


def side_in(cell: str) -> Side | None:
    """The side of the split that a cell names; None if it is empty."""
    if not cell:
        return None
    side = SIDE_NAMES.get(cell.casefold())
    if side is None:
        raise DatasetError(f"split {cell!r} must be train, validation or test")
    return side
