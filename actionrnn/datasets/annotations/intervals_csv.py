"""CSV with the columns path, start, end, label: the toolkit's own form of annotations.

start <= t < end in seconds, on the video's own clock; an empty bound is the video's own. Further
columns stay what they are: `subject` and `tier` are a mark's, all others are kept by their name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.datasets.annotations.text import read_text
from actionrnn.datasets.tables import (
    cells_by_column,
    columns_named_in,
    is_own_name,
    read_table,
    seconds_in,
    side_in,
)
from actionrnn.errors import DatasetError
from actionrnn.files import write_text
from actionrnn.text import plain

COLUMNS = ("path", "start", "end", "label")
INTERVALS_CSV = "CSV of intervals"
"""The name of the format."""
_OWN = ("subject", "tier")
"""Further columns that a mark has a place for."""
FurtherColumns = tuple[tuple[str, ...], tuple[str, ...]]
"""Those of `_OWN`, and those that are names in a mark's `extra`, as a file has them."""


def is_intervals_csv(text: str) -> bool:
    """Whether the first line names a path and a label."""
    return {"path", "label"} <= columns_named_in(text)


def read_intervals_csv(file: Path, options: ReadOptions) -> Marks:
    """Read CSV with the columns path and label, and start and end where parts are meant.

    The delimiter, the encoding and other names of the columns are found as for a manifest. Between
    other cells than those with commas, `1,5` is a number, too; a note says so.

    Raises:
        DatasetError: the file cannot be read, its columns are not known, or a cell is not valid.
    """
    table = read_table(file, read_text(file), lambda name: False)
    missing = [name for name in ("start", "end") if name not in table.columns]
    if missing:
        shown = ", ".join([*table.columns, *(plain(name) for name, _ in table.others)])
        raise DatasetError(
            f"{file}: has the columns {shown}, and no {' and no '.join(missing)}; write both over "
            "seconds, with empty cells where a video is meant from its begin or to its end"
        )
    marks = []
    for line, cells in table.rows:
        try:
            row = cells_by_column(cells, table)
            start, end = (
                seconds_in(row.get(column, ""), column, decimal_comma=table.decimal_comma)
                for column in ("start", "end")
            )
            if not row["path"] or not row["label"]:
                raise DatasetError("path and label must not be empty")
            if start is not None and end is not None and start > end:
                raise DatasetError(f"start ({start:g}) must not be after end ({end:g})")
            side_in(row.get("split", ""))
        except DatasetError as error:
            raise DatasetError(f"{file}, line {line}: {error}") from None
        extra = {name: row[name] for name in ("group", "split") if row.get(name)}
        extra |= {name: cells[index] for name, index in table.others if index < len(cells)}
        subject, tier = (extra.pop(name, "").strip() for name in _OWN)
        extra = {name: value for name, value in extra.items() if value}
        mark = Mark(row["label"], start, end, row["path"], subject, tier, extra, f"line {line}")
        marks.append(mark)
    notes = ("seconds are written with decimal commas",) if table.decimal_comma else ()
    return Marks(
        file, INTERVALS_CSV, tuple(marks), notes=notes, has_sides=True, is_on_video_clock=True
    ).chosen(options)


def _heading(name: str) -> str:
    """A column's heading that is not read back as one of those that mean something here."""
    is_taken = is_own_name(name) or name in _OWN
    return f"{name} (of the file)" if is_taken else name


def write_intervals_csv(marks: Marks, file: Path) -> tuple[str, ...]:
    """Write what `read_intervals_csv` reads back; nothing of a mark is lost, times are exact.

    Where somebody looked (`Marks.looked_at`) has no place in the rows.

    Returns:
        what could not be written, one line each.

    Raises:
        OSError: the file cannot be written.
    """
    of_videos = [mark for mark in marks.marks if mark.video]
    columns = further_columns(of_videos)
    heading = interval_heading(columns, has_sides=marks.has_sides)
    write_text(file, heading + interval_lines(of_videos, columns))
    notes = []
    if len(of_videos) < len(marks.marks):
        notes.append(f"not written: {len(marks.marks) - len(of_videos)} marks of no video")
    if marks.looked_at:
        notes.append("where somebody looked is not written; say data.unlabelled when you train")
    return tuple(notes)


def further_columns(marks: Sequence[Mark]) -> FurtherColumns:
    """What some of these marks have besides `COLUMNS`."""
    own = tuple(name for name in _OWN if any(getattr(mark, name) for mark in marks))
    return own, tuple(dict.fromkeys(name for mark in marks for name in mark.extra))


def interval_heading(columns: FurtherColumns, *, has_sides: bool) -> str:
    """The first line of a file with these columns.

    Args:
        columns: besides `COLUMNS`.
        has_sides: as `Marks.has_sides`.
    """
    own, extra = columns
    kept = ("group", "split") if has_sides else ()
    headings = [name if name in kept else _heading(name) for name in extra]
    return _lines([[*COLUMNS, *own, *headings]])


def interval_lines(marks: Iterable[Mark], columns: FurtherColumns) -> str:
    """A line for each mark, below `interval_heading` of the same columns."""
    own, extra = columns
    rows = []
    for mark in marks:
        bounds = ["" if b is None else repr(b) for b in (mark.start_seconds, mark.end_seconds)]
        others = [*(getattr(mark, name) for name in own), *(mark.extra.get(n, "") for n in extra)]
        rows.append([mark.video, *bounds, mark.label, *others])
    return _lines(rows)


def _lines(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
