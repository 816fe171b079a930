"""The tables that BORIS exports: aggregated and tabular events, of all versions since 2018."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
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
from actionrnn.datasets.annotations.boris_rows import (
    AGGREGATED,
    LIVE,
    NOT_AVAILABLE,
    WITH_HEADER_LINES,
    Row,
    Table,
    number,
    number_or_none,
    read_rows,
)
from actionrnn.errors import DatasetError
from actionrnn.text import plain


def read_boris_table(file: Path, text: str) -> Coded:
    """Read what BORIS exports as aggregated or as tabular events.

    Raises:
        DatasetError: it is another table, a cell is not valid, or observations are of pictures.
    """
    table = read_rows(file, text)
    if not table.rows:
        return Coded(table.format, (), table.notes)
    if table.layout is WITH_HEADER_LINES:
        observation, notes = _observation_above(file, table)
        observations = [observation] * len(table.rows)
    else:
        observations, notes = _observations_of(file, table)
    notes = [*table.notes, *notes]
    if table.layout is AGGREGATED:
        bouts = [_aggregated(row, one) for row, one in zip(table.rows, observations, strict=True)]
        return Coded(table.format, bouts, notes)
    status = "Status" if table.layout is WITH_HEADER_LINES else "Behavior type"
    presses = [_press(row, one, status) for row, one in zip(table.rows, observations, strict=True)]
    bouts, alone = pair(presses)
    return Coded(table.format, bouts, [*notes, *alone])


def _aggregated(row: Row, observation: Observation) -> Bout:
    kind = row.get("Behavior type")
    if kind not in ("STATE", POINT):
        raise DatasetError(f"{row.where}: Behavior type is {plain(kind)!r}, not STATE or POINT")
    start, end = row.number("Start (s)"), row.number("Stop (s)")
    if kind == POINT and start != end:
        raise DatasetError(f"{row.where}: a POINT lasts from {start:g} to {end:g} s")
    return row.bout(observation, start, end, row.get("Comment start"))


def _press(row: Row, observation: Observation, status: str) -> Press:
    kind = row.get(status)
    if kind not in (START, STOP, POINT):
        raise DatasetError(f"{row.where}: {status} is {plain(kind)!r}, not START, STOP or POINT")
    time = row.number("Time")
    return Press(row.bout(observation, time, time, row.get("Comment")), kind)


# Which videos an observation plays.


def _observation_above(file: Path, table: Table) -> tuple[Observation, list[str]]:
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
    total = number_or_none(table.rows[0].get("Total length"))
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


def _observations_of(file: Path, table: Table) -> tuple[list[Observation], list[str]]:
    """The observation of each row, and notes."""
    columns = table.rows[0].cells
    notes: list[str] = []
    if "Time offset (s)" not in columns:
        notes.append("this layout does not say the observation's time offset; 0 is assumed")
    if "Source" not in columns:
        time = "Start (s)" if table.layout is AGGREGATED else "Time"
        observations, told = _by_named_files(file, table.rows, time)
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
    row: Row, name: str, kind: str, source: str, durations: str, offset: str
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
        Observation(name, files, tuple(map(number_or_none, parts)), seconds),
        _other_players(name, names),
    )


def _by_named_files(
    file: Path, rows: Sequence[Row], time: str
) -> tuple[list[Observation], list[str]]:
    """The observations of BORIS 7 and older, whose rows name the file that plays at their start."""
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row.get("Observation id")].append(row)
    found = {}
    for name, of_name in by_name.items():
        ordered = sorted(of_name, key=lambda row: row.number(time))
        files = tuple(one for one, _ in groupby(row.named_file for row in ordered))
        if len({*files}) < len(files) or ("" in files and len(files) > 1):
            raise DatasetError(
                f"{file}: observation {plain(name)!r} plays {', '.join(map(repr, files))} in turns;"
                " read the project (.boris), or export by BORIS 8 or newer"
            )
        total = number_or_none(of_name[0].get("Total length"))
        live = not files[0] and of_name[0].is_live
        if not files[0] and not live:
            raise DatasetError(
                f"{of_name[0].where}: names no media file; read the project (.boris)"
            )
        files = () if live else files
        found[name] = Observation(name, files, (None,) * len(files), total_seconds=total)
    of_one = sum(len(one.files) == 1 for one in found.values())
    assumed = [
        f"{of_one} observations name one media file, whose clock is taken for theirs; this layout "
        "does not say whether others were queued before it"
    ]
    return [found[row.get("Observation id")] for row in rows], assumed if of_one else []


def _other_players(name: str, players: Mapping[str, str]) -> list[str]:
    if len(players) < 2:
        return []
    first, *others = players
    shown = ", ".join(f"{key} {plain(players[key])!r}" for key in others)
    return [
        f"observation {plain(name)!r} also plays {shown}; the marks are on the clock of {first}"
    ]


def _offset(cell: str, where: object) -> float:
    if cell.strip() in ("", NOT_AVAILABLE):
        return 0.0
    try:
        return number(cell)
    except ValueError:
        raise DatasetError(
            f"{where}: Time offset (s) is {plain(cell)!r}, which is no number of seconds"
        ) from None
