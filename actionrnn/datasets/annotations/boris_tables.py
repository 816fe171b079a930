"""The tables that BORIS exports: aggregated and tabular events, of all versions since 2018.

Columns are found by their exact names, never by place; only independent variables, which may have
any name, are what stands between the columns FPS and Subject. The layouts are those that BORIS
2.9 to 9.15 write (export_observation.py).
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path

from actionrnn.datasets.annotations.boris_events import (
    POINT,
    START,
    STOP,
    Bout,
    Coded,
    Observation,
    Press,
    pair,
)
from actionrnn.errors import DatasetError
from actionrnn.text import plain

NOT_AVAILABLE = "NA"
NO_SUBJECT = "No focal subject"
NO_CATEGORY = "Not defined"
LIVE = "Live observation"

_AGGREGATED = {"Subject", "Behavior", "Behavior type", "Start (s)", "Stop (s)"}
_FLAT = {"Observation id", "Subject", "Behavior", "Behavior type", "Time"}
_WITH_HEADER_LINES = {"Time", "Media file path", "Subject", "Behavior", "Status"}
_OBSERVATIONS_LIST = {"Observation id", "Subjects", "Media files/Live observation"}
_LAYOUTS = {
    "BORIS, aggregated events": _AGGREGATED,
    "BORIS, tabular events": _FLAT,
    "BORIS, tabular events with header lines": _WITH_HEADER_LINES,
    "BORIS, list of observations": _OBSERVATIONS_LIST,
}
_DELIMITERS = (",", "\t", ";")
_MODIFIERS = re.compile(r"Modifiers|Modifier #?\d+")
_FILE_OF_ROW = ("Media file name", "Media file path", "Media file")
_NO_FILE = ("", NOT_AVAILABLE, "Not found", "LIVE")
_MOST_HEADER_LINES = 300  # one for each media file and independent variable


@dataclass(frozen=True)
class _Row:
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
        try:
            return number(self.get(name))
        except ValueError:
            raise DatasetError(
                f"{self.where}: {name} is {plain(self.get(name))!r}, which is no number of seconds"
            ) from None

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}"

    @property
    def named_file(self) -> str:
        """The media file that the row names, played at its start; empty: none."""
        name = self.get(*_FILE_OF_ROW)
        return "" if name in _NO_FILE else name

    def bout(self, observation: Observation, start: float, end: float, comment: str) -> Bout:
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
class _Table:
    layout: set[str]
    format: str
    above: Sequence[Sequence[str]]
    """The lines above the header."""
    rows: Sequence[_Row]
    notes: Sequence[str] = ()


def is_boris_table(text: str) -> bool:
    """Whether a text is one of BORIS's tables, those that `read_boris_table` refuses included."""
    try:
        return _find_header(text) is not None or _is_headerless(text)
    except csv.Error:
        return False


def read_boris_table(file: Path, text: str) -> Coded:
    """Read what BORIS exports as aggregated or as tabular events.

    Raises:
        DatasetError: it is another table, a cell is not valid, or observations are of pictures.
    """
    table = _read_table(file, text)
    if not table.rows:
        return Coded(table.format, (), table.notes)
    if table.layout is _WITH_HEADER_LINES:
        observation, notes = _observation_above(file, table)
        observations = [observation] * len(table.rows)
    else:
        observations, notes = _observations_of(file, table)
    notes = [*table.notes, *notes]
    if table.layout is _AGGREGATED:
        bouts = [_aggregated(row, one) for row, one in zip(table.rows, observations, strict=True)]
        return Coded(table.format, bouts, notes)
    status = "Status" if table.layout is _WITH_HEADER_LINES else "Behavior type"
    presses = [_press(row, one, status) for row, one in zip(table.rows, observations, strict=True)]
    bouts, alone = pair(presses)
    return Coded(table.format, bouts, [*notes, *alone])


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


def _aggregated(row: _Row, observation: Observation) -> Bout:
    kind = row.get("Behavior type")
    if kind not in ("STATE", POINT):
        raise DatasetError(f"{row.where}: Behavior type is {plain(kind)!r}, not STATE or POINT")
    start, end = row.number("Start (s)"), row.number("Stop (s)")
    if kind == POINT and start != end:
        raise DatasetError(f"{row.where}: a POINT lasts from {start:g} to {end:g} s")
    return row.bout(observation, start, end, row.get("Comment start"))


def _press(row: _Row, observation: Observation, status: str) -> Press:
    kind = row.get(status)
    if kind not in (START, STOP, POINT):
        raise DatasetError(f"{row.where}: {status} is {plain(kind)!r}, not START, STOP or POINT")
    time = row.number("Time")
    return Press(row.bout(observation, time, time, row.get("Comment")), kind)


# Which videos an observation plays.


def _observation_above(file: Path, table: _Table) -> tuple[Observation, list[str]]:
    """The one observation of a table with header lines, which tell its players."""
    above: dict[str, list[str]] = defaultdict(list)
    for cells in table.above:
        if cells[0] == "independent variables":
            break  # their names may be those of the lines before
        above[cells[0]] += cells[1:2]
    name = next(iter(above["Observation id"]), "")
    offset = next(iter(above["Time offset (s)"]), "")
    players = {key: names for key, names in above.items() if key.startswith("Player #")}
    files = tuple(filter(None, next(iter(players.values()), ())))
    notes = _other_players(name, {key: ", ".join(names) for key, names in players.items()})
    named = dict.fromkeys(row.named_file for row in table.rows if row.named_file)
    others = [one for one in named if one not in files]
    if others and (len(named) > 1 or len(files) > 1):
        raise DatasetError(
            f"{file}: the rows name {others[0]!r}, which no player plays; correct the lines Player"
        )
    if others:
        if files:
            notes.append(
                f"the rows name {others[0]!r}, the line of the player {files[0]!r}; that of the "
                "rows is taken"
            )
        files = tuple(others)
    elif len(named) == 1 and files[:1] == tuple(named):
        files = files[:1]  # no press falls into the files behind it
    total = _length(table.rows[0].get("Total length"))
    is_alone = len(files) == 1 and sum(map(len, players.values())) <= 1
    return (
        Observation(
            name,
            files,
            (total,) if is_alone else (None,) * len(files),
            _offset(offset, file),
            total if len(files) > 1 and len(players) == 1 else None,
        ),
        notes,
    )


def _observations_of(file: Path, table: _Table) -> tuple[list[Observation], list[str]]:
    """The observation of each row, and notes."""
    columns = table.rows[0].cells
    notes: list[str] = []
    if "Time offset (s)" not in columns:
        notes.append("this layout does not say the observation's time offset; 0 is assumed")
    if "Source" not in columns:
        observations, told = _by_named_files(file, table.rows)
        return observations, [*notes, *told]
    found: dict[tuple[str, ...], Observation] = {}
    per_row = []
    for row in table.rows:
        cells = tuple(
            row.get(name)
            for name in (
                "Observation id",
                "Observation type",
                "Source",
                "Media duration (s)",
                "Time offset (s)",
            )
        )
        if cells not in found:
            found[cells], told = _from_source(row, *cells)
            notes += told
        per_row.append(found[cells])
    return per_row, notes


def _from_source(
    row: _Row, name: str, kind: str, source: str, durations: str, offset: str
) -> tuple[Observation, list[str]]:
    """An observation by the cells of BORIS 8 and 9; the first player is the video."""
    if kind.startswith("From "):
        raise DatasetError(
            f"{row.where}: observation {plain(name)!r} is coded on pictures, which have no clock; "
            "write path, start, end and label as CSV"
        )
    seconds = _offset(offset, row.where)
    if kind == LIVE:
        return Observation(name, offset_seconds=seconds), []
    players = re.split(r"\|?(player #\d+):", source)[1:]
    names = dict(zip(players[::2], players[1::2], strict=True))
    lengths = [*filter(None, durations.split("|"))][:1] or [""]
    first = next(iter(names.values()), "") or row.named_file
    if not first:
        raise DatasetError(f"{row.where}: Source {plain(source)!r} names no media file")
    parts = lengths[0].split(";")
    files = (first,) if len(parts) == 1 else tuple(first.split(";"))  # a name may hold a `;`
    if len(files) != len(parts):
        raise DatasetError(
            f"{row.where}: Source names {len(files)} queued files, and Media duration (s) "
            f"{plain(durations)!r} is of {len(parts)}"
        )
    return (
        Observation(name, files, tuple(map(_length, parts)), seconds),
        _other_players(name, names),
    )


def _by_named_files(file: Path, rows: Sequence[_Row]) -> tuple[list[Observation], list[str]]:
    """The observations of BORIS 7 and older, whose rows name the file that plays at their start."""
    by_name: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_name[row.get("Observation id")].append(row)
    found = {}
    for name, of_name in by_name.items():
        ordered = sorted(of_name, key=lambda row: row.number("Start (s)"))
        files = tuple(one for one, _ in groupby(row.named_file for row in ordered))
        if len({*files}) < len(files) or ("" in files and len(files) > 1):
            raise DatasetError(
                f"{file}: observation {plain(name)!r} plays {', '.join(map(repr, files))} in turns;"
                " read the project (.boris), or export by BORIS 8 or newer"
            )
        total = _length(of_name[0].get("Total length"))
        live = not files[0] and of_name[0].get(*_FILE_OF_ROW) == "LIVE"
        if not files[0] and not live:
            raise DatasetError(
                f"{of_name[0].where}: names no media file; read the project (.boris)"
            )
        files = () if live else files
        found[name] = Observation(name, files, (None,) * len(files), total_seconds=total)
    return [found[row.get("Observation id")] for row in rows], [
        f"{sum(len(one.files) == 1 for one in found.values())} observations name one media file, "
        "whose clock is taken for theirs; this layout does not say whether others were queued "
        "before it"
    ]


def _other_players(name: str, players: Mapping[str, str]) -> list[str]:
    if len(players) < 2:
        return []
    first, *others = players
    shown = ", ".join(f"{key} {plain(players[key])!r}" for key in others)
    return [
        f"observation {plain(name)!r} also plays {shown}; the marks are on the clock of {first}"
    ]


def _length(cell: str) -> float | None:
    try:
        return number(cell)
    except ValueError:
        return None


def _offset(cell: str, where: object) -> float:
    if cell.strip() in ("", NOT_AVAILABLE):
        return 0.0
    try:
        return number(cell)
    except ValueError:
        raise DatasetError(
            f"{where}: Time offset (s) is {plain(cell)!r}, which is no number of seconds"
        ) from None


# From the text to rows.


def _read_table(file: Path, text: str) -> _Table:
    try:
        found = _find_header(text)
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
    if layout is _WITH_HEADER_LINES and _is_shifted(header, body):
        header = _with_category(header)
        notes.append("the header is one column short, as BORIS of 2018 wrote it; Status is by it")
    rows = [*_rows_of(file, header, body)]
    if layout is _WITH_HEADER_LINES:
        variables = _variables_above(above)
        rows = [replace(row, variables=variables) for row in rows]
    return _Table(layout, format_, above, rows, notes)


def _find_header(text: str) -> tuple[str, str, int] | None:
    """The layout, the delimiter, and which of the lines that are not blank is the header."""
    for delimiter in _DELIMITERS:
        for index, (_, cells) in enumerate(islice(_lines(text, delimiter), _MOST_HEADER_LINES)):
            names = {*cells}
            for format_, layout in _LAYOUTS.items():
                if layout <= names and (index == 0 or layout is _WITH_HEADER_LINES):
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
) -> Iterator[_Row]:
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
        yield _Row(
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
        return all(_length(cell) is not None for cell in cells[-5:-3])
    return False
