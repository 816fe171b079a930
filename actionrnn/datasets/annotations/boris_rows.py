"""From the text of one of BORIS's tables to its rows of events.

Columns are found by their exact names, never by place; only independent variables, which may have
any name, are what stands between the columns FPS and Subject. The layouts are those that BORIS
of 2016 to 9.15 writes (export_observation.py).
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from actionrnn.datasets.annotations.boris_events import POINT, START, STOP, Bout, Observation
from actionrnn.errors import DatasetError
from actionrnn.text import plain

NOT_AVAILABLE = "NA"
NO_SUBJECT = "No focal subject"
NO_CATEGORY = "Not defined"
LIVE = "Live observation"

AGGREGATED = {"Subject", "Behavior", "Behavior type", "Start (s)", "Stop (s)"}
_FLAT = {"Observation id", "Subject", "Behavior", "Behavior type", "Time"}
WITH_HEADER_LINES = {"Time", "Media file path", "Subject", "Behavior", "Status"}
_OBSERVATIONS_LIST = {"Observation id", "Subjects", "Media files/Live observation"}
_LAYOUTS = {
    "BORIS, aggregated events": AGGREGATED,
    "BORIS, tabular events": _FLAT,
    "BORIS, tabular events with header lines": WITH_HEADER_LINES,
    "BORIS, list of observations": _OBSERVATIONS_LIST,
}
_DELIMITERS = (",", "\t", ";")
_MODIFIERS = re.compile(r"Modifiers|Modifier #?\d+")
_FILE_OF_ROW = ("Media file name", "Media file path", "Media file")
_NO_FILE = ("", NOT_AVAILABLE, "Not found", "LIVE")
_MOST_HEADER_LINES = 300  # one for each media file and independent variable


@dataclass(frozen=True)
class Row:
    """A row of events."""

    file: Path
    line: int
    cells: Mapping[str, str]
    """By the names of BORIS's own columns."""
    modifiers: str
    variables: Mapping[str, str]

    def get(self, *names: str) -> str:
        """The cell of the first of these columns that the table has; empty: of none."""
        return next((self.cells[name] for name in names if name in self.cells), "")

    def number(self, name: str) -> float:
        """The number of seconds in a column.

        Raises:
            DatasetError: it is none.
        """
        try:
            return number(self.get(name))
        except ValueError:
            raise DatasetError(
                f"{self.where}: {name} is {plain(self.get(name))!r}, which is no number of seconds"
            ) from None

    @property
    def where(self) -> str:
        """The file and the line, for messages."""
        return f"{self.file}, line {self.line}"

    @property
    def named_file(self) -> str:
        """The media file that the row names, played at its start; empty: none."""
        name = self.get(*_FILE_OF_ROW)
        return "" if name in _NO_FILE else name

    @property
    def is_live(self) -> bool:
        """Whether nothing was played, as BORIS 7 and older say it."""
        return self.get(*_FILE_OF_ROW) == "LIVE"

    def bout(self, observation: Observation, start: float, end: float, comment: str) -> Bout:
        """What the row says happened.

        Raises:
            DatasetError: it names no behaviour.
        """
        label, subject, tier = (
            self.get(name) for name in ("Behavior", "Subject", "Behavioral category")
        )
        if not label.strip():
            raise DatasetError(f"{self.where}: Behavior is empty")
        extra = {**self.variables, "modifiers": self.modifiers, "comment": comment}
        extra["comment stop"] = self.get("Comment stop")
        return Bout(
            observation,
            label,
            start,
            end,
            self.get("Behavior type") == POINT,
            "" if subject == NO_SUBJECT else subject,
            "" if tier == NO_CATEGORY else tier,
            {name: value for name, value in extra.items() if value},
            f"line {self.line}",
        )


@dataclass(frozen=True)
class Table:
    """The events of a file, whose columns are known."""

    layout: set[str]
    """The headings that tell it: `AGGREGATED`, ..."""
    format: str
    """For people."""
    above: Sequence[Sequence[str]]
    """The lines above the header."""
    rows: Sequence[Row]
    notes: Sequence[str] = ()


def is_boris_table(text: str) -> bool:
    """Whether a text is one of BORIS's tables, those that `read_boris_table` refuses included."""
    try:
        return _find_header(text) is not None or _is_headerless(text)
    except csv.Error:
        return False


def read_rows(file: Path, text: str) -> Table:
    """Find the header, and what each row has under it.

    Raises:
        DatasetError: there is none, it is that of a list of observations, or rows do not fit.
    """
    try:
        found = _find_header(text)
        if found is None and not _is_headerless(text):
            raise DatasetError(
                f"{file}: has no headings of BORIS's events (Subject, Behavior, ...); export "
                "'Aggregated events' as CSV or TSV"
            )
        if found is None:
            raise DatasetError(
                f"{file}: has BORIS's aggregated events without the row of headings, so that "
                "independent variables cannot be told from the rest; export it again, or put "
                "`Observation id,...,Subject,Behavior,...` above it"
            )
        format_, delimiter, index = found
        lines = [*_lines(text, delimiter)]
    except csv.Error as error:
        raise DatasetError(f"{file}: is not a table of text ({error}); export it again") from None
    layout = _LAYOUTS[format_]
    if layout is _OBSERVATIONS_LIST:
        raise DatasetError(
            f"{file}: is BORIS's list of observations, without events; export 'Aggregated events'"
        )
    header = lines[index][1]
    above = [cells for _, cells in lines[:index]]
    body = lines[index + 1 :]
    notes = []
    if layout is WITH_HEADER_LINES and _is_shifted(header, body):
        header = _with_category(header)
        notes.append("the header is one column short, as BORIS of 2018 wrote it; Status is by it")
    rows = [*_rows_of(file, header, body)]
    if layout is WITH_HEADER_LINES:
        variables = _variables_above(above)
        rows = [replace(row, variables=variables) for row in rows]
    return Table(layout, format_, above, rows, notes)


def _find_header(text: str) -> tuple[str, str, int] | None:
    """The layout, the delimiter, and which of the lines that are not blank is the header."""
    for delimiter in _DELIMITERS:
        # with a wrong delimiter, a quote may seem to stand at the begin of a cell
        with contextlib.suppress(csv.Error):
            lines = islice(_lines(text, delimiter), _MOST_HEADER_LINES)
            for index, (_, cells) in enumerate(lines):
                names = {*cells}
                for format_, layout in _LAYOUTS.items():
                    if layout <= names and (index == 0 or layout is WITH_HEADER_LINES):
                        return format_, delimiter, index
    return None


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _rows_of(
    file: Path, header: Sequence[str], body: Sequence[tuple[int, list[str]]]
) -> Iterator[Row]:
    """The rows by the header's names; a variable that is called like a column is none."""
    subject = max(index for index, name in enumerate(header) if name == "Subject")
    rates = [index for index, name in enumerate(header[:subject]) if name.startswith("FPS")]
    begin = rates[0] + 1 if rates else subject
    columns = {name: index for index, name in reversed([*enumerate(header[:begin])])}
    columns |= {name: index + subject for index, name in enumerate(header[subject:]) if name}
    modifiers = [index for name, index in columns.items() if _MODIFIERS.fullmatch(name)]
    width = max(columns.values()) + 1
    for line, cells in body:
        if len(cells) < width or any(cell.strip() for cell in cells[len(header) :]):
            raise DatasetError(
                f"{file}, line {line}: has {len(cells)} cells under {len(header)} headings; "
                "is it cut off, or a delimiter in a cell without quotes?"
            )
        yield Row(
            file,
            line,
            {name: cells[index] for name, index in columns.items()},
            _joined(cells[index] for index in modifiers),
            {header[i]: cells[i] for i in range(begin, subject) if header[i] and cells[i]},
        )


def _joined(cells: Iterator[str]) -> str:
    """The modifiers as BORIS writes them in one cell, without the blanks around each."""
    sets = "|".join(cells).split("|")
    return "|".join(one.strip() for one in sets).rstrip("|")


def _variables_above(above: Sequence[Sequence[str]]) -> dict[str, str]:
    """The independent variables, which follow on the line `variable,value`."""
    begin = next((i + 1 for i, cells in enumerate(above) if cells[:2] == ["variable", "value"]), 0)
    return {cells[0]: cells[1] for cells in above[begin:] if begin and cells[0] and cells[1]}


def _is_shifted(header: Sequence[str], body: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether what the column Status says stands in the one behind it, in every row."""
    status = header.index("Status")
    return bool(body) and all(
        len(cells) > status + 1
        and cells[status] not in (START, STOP, POINT)
        and cells[status + 1] in (START, STOP, POINT)
        for _, cells in body
    )


def _with_category(header: Sequence[str]) -> list[str]:
    """The header with the name that it lacks."""
    after = header.index("Behavior") + 1
    return [*header[:after], "Behavioral category", *header[after:]]


def _is_headerless(text: str) -> bool:
    """Whether the first row ends as aggregated events do: a kind, its times, two comments."""
    for delimiter in _DELIMITERS:
        _, cells = next(_lines(text, delimiter), (0, []))
        if len(cells) < 15 or cells[-6] not in ("STATE", POINT):
            continue
        return all(number_or_none(cell) is not None for cell in cells[-5:-3])
    return False


def number(cell: str) -> float:
    """A cell's number, with a decimal point or comma.

    Raises:
        ValueError: it is none, or not finite.
    """
    text = cell.strip()
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    value = float(text)
    if not math.isfinite(value) or "_" in text:
        raise ValueError(cell)
    return value


def number_or_none(cell: str) -> float | None:
    """A cell's number; None: it has none, such as `NA`."""
    try:
        return number(cell)
    except ValueError:
        return None
