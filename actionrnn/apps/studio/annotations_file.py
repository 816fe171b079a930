"""annotations.csv of a project: the marks of its videos, and whatever else people write there.

Where somebody looked and marked nothing is a row labelled `background`. Rows of other videos,
points, and columns that the studio does not know are kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from actionrnn.apps.studio.annotation_log import History, Mark
from actionrnn.apps.studio.operations import checked_label, require_length
from actionrnn.datasets.annotations.intervals_csv import (
    FurtherColumns,
    further_columns,
    interval_heading,
    interval_lines,
    read_intervals_csv,
)
from actionrnn.datasets.annotations.marks import Mark as Row
from actionrnn.datasets.annotations.marks import ReadOptions, Span, united, without
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import DatasetError, ProjectError
from actionrnn.files import write_text

Extra = tuple[tuple[str, str], ...]
GROUP, NOTE, SPLIT = "group", "note", "split"
_OF_A_ROW = ("subject", "tier")
"""Columns for which a row has a place of its own."""
Place = Callable[[str], tuple[str, Span | None] | None]
"""The path of a video of the project, and from when to when it goes (None: it is not there), by
what a row calls it."""


@dataclass
class VideoRows:
    """What the file says of one video."""

    marks: list[Mark] = field(default_factory=list)
    """Without ids."""
    background: tuple[Span, ...] = ()
    """Where somebody looked and marked nothing."""
    group: str = ""

    def are_of(self, history: History) -> bool:
        """Whether these are the rows that a history gives."""
        marks = list(history.marks.values())
        return (
            Counter(map(_content, self.marks)) == Counter(map(_content, marks))
            and self.background == _background(history.looked, marks)
            and (self.group == history.group or not (self.marks or self.background))
        )

    def looked(self) -> tuple[Span, ...]:
        """The background, joined with the marks that touch it."""
        spans = [(mark.start, mark.end) for mark in self.marks]
        joined = united((*self.background, *spans))
        begins = [begin for begin, _ in self.background]
        return tuple((a, b) for a, b in joined if any(a <= begin < b for begin in begins))


@dataclass
class _Written:
    """The rows of a video at a revision."""

    history: History
    revision: int
    rows: list[Row]
    columns: FurtherColumns
    _lines: tuple[FurtherColumns, str] | None = None

    def lines(self, columns: FurtherColumns) -> str:
        """As a file with these columns has them."""
        if self._lines is None or self._lines[0] != columns:
            self._lines = columns, interval_lines(self.rows, columns)
        return self._lines[1]


def _joined(many: Iterable[FurtherColumns]) -> FurtherColumns:
    owns, extras = zip(*many, strict=True)
    own, extra = (tuple(dict.fromkeys(chain.from_iterable(names))) for names in (owns, extras))
    return own, extra


@dataclass
class AnnotationsFile:
    """The content of the file."""

    videos: dict[str, VideoRows] = field(default_factory=dict)
    """By path."""
    others: list[Row] = field(default_factory=list)
    """Rows that are no marks of the project: of other videos, and points."""
    background_extra: dict[tuple[str, Span], Extra] = field(default_factory=dict)
    """Columns of rows of background, for as long as these stay what they are."""
    splits: dict[str, str] = field(default_factory=dict)
    """By path: the side that people gave a video, which all of its rows must have."""
    sha256: str = ""
    """Of its bytes; empty: there is no file."""
    _written: dict[str, _Written] = field(default_factory=dict)
    """What was written of each video."""

    @classmethod
    def read(cls, file: Path, place: Place) -> AnnotationsFile:
        """Read it; a file that does not exist, or is empty, has no rows.

        Raises:
            ProjectError: it cannot be read, or a row is not valid.
        """
        sha256 = sha256_of(file)
        if not sha256:
            return cls()
        found = cls(sha256=sha256)
        try:
            rows = read_intervals_csv(file, ReadOptions()).marks
        except DatasetError as error:
            raise ProjectError(str(error)) from None
        background: dict[str, list[Span]] = defaultdict(list)
        groups: dict[str, tuple[str, Row]] = {}
        for row in rows:
            try:
                found._take(row, place, background, groups)
            except (DatasetError, ProjectError) as error:
                raise ProjectError(f"{file}, {row.where}: {error}") from None
        for path, video in found.videos.items():
            video.background = _background(background[path], video.marks)
            video.group = groups[path][0]
        return found

    def _take(
        self,
        row: Row,
        place: Place,
        background: dict[str, list[Span]],
        groups: dict[str, tuple[str, Row]],
    ) -> None:
        placed = place(row.video)
        if placed is None or row.is_point:
            self.others.append(row)
            return
        path, span = placed
        bounds = _bounds(row, span)
        if bounds is None:
            self.others.append(row)
            return
        require_length(*bounds)
        group = row.extra.get(GROUP, "")
        first, first_row = groups.setdefault(path, (group, row))
        if first != group:
            raise ProjectError(
                f"{path} has the group {group!r}, and {first!r} in {first_row.where}; a video has "
                "one"
            )
        if side := row.extra.get(SPLIT):
            self.splits[path] = side
        video = self.videos.setdefault(path, VideoRows())
        note, extra = row.extra.get(NOTE, "").strip(), _extra_of(row)
        if row.label == BACKGROUND:
            background[path].append(bounds)
            self.background_extra[path, bounds] = (*extra, (NOTE, note)) if note else extra
        else:
            video.marks.append(Mark("", checked_label(row.label), *bounds, note, extra))

    def write(self, file: Path, histories: Mapping[str, History]) -> None:
        """Write the file anew, whole; it is on the disk then.

        Args:
            file: annotations.csv.
            histories: of the videos of the project, by path.

        Raises:
            ProjectError: it cannot be written.
        """
        written = [self._written_of(path, histories[path]) for path in sorted(histories)]
        others = further_columns(self.others)
        columns = _joined([*(one.columns for one in written), others])
        text = "".join(
            [
                interval_heading(columns, has_sides=True),
                *(one.lines(columns) for one in written),
                interval_lines(self.others, columns),
            ]
        )
        try:
            write_text(file, text, durable=True)
        except OSError as error:
            raise ProjectError(
                f"{file}: cannot be written ({error.strerror}); the change is in the log, and "
                "is written here with the next one"
            ) from None
        self.sha256 = sha256_of(file)

    def forget(self, path: str) -> None:
        """Keep nothing of a video that is taken out: another one may get its name."""
        self.splits.pop(path, None)
        self._written.pop(path, None)
        extra = self.background_extra.items()
        self.background_extra = {row: cells for row, cells in extra if row[0] != path}

    def _written_of(self, path: str, history: History) -> _Written:
        """The rows of a video, made anew if it changed since the last time."""
        known = self._written.get(path)
        if known is None or known.history is not history or known.revision != history.revision:
            rows = self._rows(path, history)
            known = _Written(history, history.revision, rows, further_columns(rows))
            self._written[path] = known
        return known

    def _rows(self, path: str, history: History) -> list[Row]:
        marks = list(history.marks.values())
        found = [*marks]
        for span in _background(history.looked, marks):
            extra = self.background_extra.get((path, span), ())
            found.append(Mark("", BACKGROUND, *span, "", extra))
        of_video = {GROUP: history.group}
        if path in self.splits:
            of_video[SPLIT] = self.splits[path]
        found.sort(key=lambda mark: (mark.start, mark.end, mark.label))
        return [_row(path, mark, of_video) for mark in found]


def with_ids(marks: Iterable[Mark], known: Iterable[Mark], new_id: Callable[[], str]) -> list[Mark]:
    """Marks of the file with the ids of the same ones that are known, and new ones for the rest."""
    ids: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for mark in known:
        ids[_content(mark)].append(mark.id)
    found = []
    for mark in marks:
        same = ids[_content(mark)]
        found.append(Mark(same.pop() if same else new_id(), *_content(mark)))  # type: ignore[arg-type]
    return found


def sha256_of(file: Path) -> str:
    """Of the file's bytes; empty if there are none.

    Raises:
        ProjectError: it cannot be read.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ProjectError(f"{file}: cannot be read ({error.strerror})") from None
    return hashlib.sha256(content).hexdigest() if content else ""


def _bounds(row: Row, span: Span | None) -> Span | None:
    """From when to when it goes; None: to the bound of a video that is not there."""
    start, stop = row.start_seconds, row.end_seconds
    if start is not None and stop is not None:
        return start, stop
    if span is None:
        return None
    return span[0] if start is None else start, span[1] if stop is None else stop


def _content(mark: Mark) -> tuple[object, ...]:
    """All of a mark but its id."""
    return mark.label, mark.start, mark.end, mark.note, mark.extra


def _background(looked: Iterable[Span], marks: Sequence[Mark]) -> tuple[Span, ...]:
    return without(looked, ((mark.start, mark.end) for mark in marks))


def _extra_of(row: Row) -> Extra:
    cells = {"subject": row.subject, "tier": row.tier, **row.extra}
    return tuple(
        (name, cell.strip())
        for name, cell in sorted(cells.items())
        if cell.strip() and name not in (GROUP, NOTE, SPLIT)
    )


def _row(path: str, mark: Mark, of_video: Mapping[str, str]) -> Row:
    extra = dict(mark.extra)
    subject, tier = (extra.pop(name, "") for name in _OF_A_ROW)
    note = {NOTE: mark.note or extra.pop(NOTE, "")}
    columns = {**of_video, **note, **extra}
    return Row(mark.label, mark.start, mark.end, path, subject, tier, columns)
