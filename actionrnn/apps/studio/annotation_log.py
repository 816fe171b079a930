"""What was marked in the videos of a project: changes that can be undone, and the log of them.

A change is a list of operations on one video. It is a line of JSON in the log, and on the disk
before it counts; the same operations, read from the log in order, give the same marks again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from actionrnn.apps.studio.operations import ConflictError, Op, require_length
from actionrnn.datasets.annotations.marks import Span, united, without
from actionrnn.errors import ProjectError
from actionrnn.files import sync_folder


@dataclass(frozen=True)
class Mark:
    """A label from start to end, half open, in seconds on the video's own clock."""

    id: str
    label: str
    start: float
    end: float
    note: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    """Columns of annotations.csv that the studio does not know, by their headings."""


@dataclass(frozen=True)
class Refused:
    """A proposal that a person has refused: it is not this label from start to end."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class VideoMarks:
    """All that is known of one video."""

    revision: int
    """Grows with each change of this video."""
    marks: tuple[Mark, ...]
    """By start, end and label."""
    looked: tuple[Span, ...]
    """Where somebody looked, the marks included: what is unmarked here is background."""
    can_undo: bool
    can_redo: bool

    @property
    def marked_seconds(self) -> float:
        """How much time is marked, that of several labels once."""
        return _length(united((mark.start, mark.end) for mark in self.marks))

    @property
    def looked_seconds(self) -> float:
        """How much was looked at, what is marked included."""
        return _length(self.looked)


def _length(spans: Iterable[Span]) -> float:
    return sum(end - start for start, end in spans)


@dataclass(frozen=True)
class _Part:
    """What a change touches, before it or after it."""

    marks: Mapping[str, Mark | None]
    """By id; None: there is none."""
    looked: tuple[Span, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True)
class Step:
    """A change that fits the marks as they are."""

    before: _Part
    after: _Part

    @property
    def changed(self) -> list[Mark]:
        """The marks that it makes or alters, as they are after it."""
        return [mark for mark in self.after.marks.values() if mark is not None]


class History:
    """The marks of one video, and the changes that led to them."""

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        self.looked: tuple[Span, ...] = ()
        """Where somebody looked, as it was said: a mark that lies elsewhere is not in it."""
        self.refused: tuple[Refused, ...] = ()
        self.group = ""
        """Empty: the video is its own. A change of it is no step for undo."""
        self.revision = 0
        self._done: list[Step] = []
        self._undone: list[Step] = []

    @property
    def view(self) -> VideoMarks:
        """The state for others."""
        marks = tuple(sorted(self.marks.values(), key=lambda m: (m.start, m.end, m.label, m.id)))
        looked = united((*self.looked, *((mark.start, mark.end) for mark in marks)))
        return VideoMarks(self.revision, marks, looked, bool(self._done), bool(self._undone))

    def step(self, ops: Sequence[Op]) -> Step:
        """The change that operations in the form of `checked_ops` make, not made yet.

        Raises:
            ProjectError: there is no such mark, or a mark would end before it begins.
        """
        touched: dict[str, Mark | None] = {}
        looked, refused = self.looked, self.refused
        for op in ops:
            kind = op["op"]
            if kind == "add":
                if self._mark(op["id"], touched) is not None:
                    raise ConflictError(f"mark {op['id']!r}: is there already")
                touched[op["id"]] = Mark(**{k: v for k, v in op.items() if k != "op"})
            elif kind == "edit":
                changes = {k: v for k, v in op.items() if k not in ("op", "id")}
                mark = replace(self._required(op["id"], touched), **changes)
                require_length(mark.start, mark.end)
                touched[op["id"]] = mark
            elif kind == "remove":
                self._required(op["id"], touched)
                touched[op["id"]] = None
            elif kind == "look":
                looked = united((*looked, (op["start"], op["end"])))
            elif kind == "unlook":
                looked = without(looked, [(op["start"], op["end"])])
            else:
                one = Refused(op["label"], op["start"], op["end"])
                refused = refused if one in refused else (*refused, one)
        before = {one: self.marks.get(one) for one in touched}
        return Step(_Part(before, self.looked, self.refused), _Part(touched, looked, refused))

    def do(self, step: Step) -> None:
        """Make a change; what was undone before cannot be done again."""
        self._become(step.after)
        self._done.append(step)
        self._undone.clear()

    def undo(self) -> None:
        """Take the last change back.

        Raises:
            ProjectError: there is none.
        """
        if not self._done:
            raise ProjectError("there is nothing to undo")
        step = self._done.pop()
        self._become(step.before)
        self._undone.append(step)

    def redo(self) -> None:
        """Make the change again that was taken back last.

        Raises:
            ProjectError: there is none.
        """
        if not self._undone:
            raise ProjectError("there is nothing to redo")
        step = self._undone.pop()
        self._become(step.after)
        self._done.append(step)

    def set_group(self, group: str) -> None:
        """Say who or what is in the video."""
        self.group = group
        self.revision += 1

    def begin_anew(self, marks: Iterable[Mark], looked: Iterable[Span]) -> None:
        """Take what somebody else has written; what was before cannot be brought back by undo."""
        self.marks, self.looked = {mark.id: mark for mark in marks}, united(looked)
        self._done, self._undone = [], []
        self.revision += 1

    def rename(self, names: Mapping[str, str]) -> None:
        """Give labels other names, also in what undo and redo bring back."""

        def part(one: _Part) -> _Part:
            marks = {key: mark and renamed(mark) for key, mark in one.marks.items()}
            return _Part(marks, one.looked, tuple(map(renamed, one.refused)))

        def renamed(one: Any) -> Any:
            return replace(one, label=names[one.label]) if one.label in names else one

        self.marks = {key: renamed(mark) for key, mark in self.marks.items()}
        self.refused = tuple(map(renamed, self.refused))
        self._done = [Step(part(one.before), part(one.after)) for one in self._done]
        self._undone = [Step(part(one.before), part(one.after)) for one in self._undone]
        self.revision += 1

    def _mark(self, mark_id: str, touched: Mapping[str, Mark | None]) -> Mark | None:
        return touched[mark_id] if mark_id in touched else self.marks.get(mark_id)

    def _required(self, mark_id: str, touched: Mapping[str, Mark | None]) -> Mark:
        mark = self._mark(mark_id, touched)
        if mark is None:
            raise ProjectError(f"mark {mark_id!r}: is not there any more; load the marks again")
        return mark

    def _become(self, part: _Part) -> None:
        for mark_id, mark in part.marks.items():
            if mark is None:
                self.marks.pop(mark_id, None)
            else:
                self.marks[mark_id] = mark
        self.looked, self.refused = part.looked, part.refused
        self.revision += 1


_BEGINNING = b'{"time": "'
"""Of each line of the log."""


@dataclass
class AnnotationLog:
    """The changes of all videos of a project, a line each in a file that only grows.

    A line holds `time`, `who`, `video` (its path; null: all), `change`, and `csv`: which
    annotations.csv was there before the change. `change` is a list of operations, `undo`, `redo`,
    `removed`, or an object: `{"group": name}`, `{"renamed": {old: new}}`, or `{"read": {path:
    {marks, looked, group}}}` for what somebody else wrote into annotations.csv.
    """

    file: Path
    histories: dict[str, History] = field(default_factory=dict)
    """By path."""
    csv: str = ""
    """`csv` of the last line."""

    @classmethod
    def open(cls, file: Path, *, read_only: bool = False) -> AnnotationLog:
        """Read a log; a file that does not exist is an empty one.

        Args:
            file: the log.
            read_only: leave a line that has no end, which another process may be writing; else
                a killed process began it, nobody was told of it, and it is cut off.

        Raises:
            ProjectError: it cannot be read, or is damaged.
        """
        log = cls(file)
        try:
            content = file.read_bytes() if file.exists() else b""
        except OSError as error:
            raise ProjectError(f"{file}: cannot be read ({error.strerror})") from None
        *lines, rest = content.split(b"\n")
        if not rest.startswith(_BEGINNING[: len(rest)]):
            lines.append(rest)  # of no line that was begun here: said to be damaged
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                log.apply(entry["video"], entry["change"])
                log.csv = entry["csv"]
            except (ValueError, KeyError, TypeError, AttributeError, ProjectError) as error:
                reason = str(error) if isinstance(error, ProjectError) else type(error).__name__
                raise ProjectError(
                    f"{file}, line {number}: is damaged ({reason}); move the log away: the marks "
                    "are in annotations.csv, too, and only undo is lost"
                ) from None
        if rest and not read_only:
            try:
                os.truncate(file, len(content) - len(rest))
            except OSError as error:
                raise ProjectError(f"{file}: cannot be written ({error.strerror})") from None
        return log

    def of(self, video: str) -> History:
        """The history of a video."""
        return self.histories.setdefault(video, History())

    def write(self, video: str | None, change: Any, who: str, csv: str) -> None:
        """Put a change on the disk, then make it.

        Raises:
            ProjectError: it does not fit the marks, or cannot be written; then nothing is changed.
        """
        self._require_fit(video, change)
        time = datetime.now(timezone.utc).isoformat(timespec="seconds")
        entry = {"time": time, "who": who, "video": video, "change": change, "csv": csv}
        try:
            _append(self.file, json.dumps(entry) + "\n")
        except OSError as error:
            raise ProjectError(
                f"{self.file}: cannot be written ({error.strerror}); the change was not made"
            ) from None
        self.apply(video, change)
        self.csv = csv

    def _require_fit(self, video: str | None, change: Any) -> None:
        if isinstance(change, list) and video is not None:
            self.of(video).step(change)
        if change in ("undo", "redo") and video is not None:
            view = self.of(video).view
            if not (view.can_undo if change == "undo" else view.can_redo):
                raise ProjectError(f"there is nothing to {change}")

    def apply(self, video: str | None, change: Any) -> None:
        """Make a change as the log has it."""
        if video is None:
            for path, read in change.get("read", {}).items():
                marks, looked, self.of(path).group = _read(read)
                self.of(path).begin_anew(marks, looked)
            if "renamed" in change:
                for history in self.histories.values():
                    history.rename(change["renamed"])
        elif isinstance(change, list):
            self.of(video).do(self.of(video).step(change))
        elif change == "undo":
            self.of(video).undo()
        elif change == "redo":
            self.of(video).redo()
        elif change == "removed":
            self.histories.pop(video, None)
        else:
            self.of(video).set_group(change["group"])


def as_read(marks: Iterable[Mark], looked: Iterable[Span], group: str) -> dict[str, Any]:
    """A video as annotations.csv has it, in the form of the log."""
    listed = []
    for mark in marks:
        row = {name: getattr(mark, name) for name in ("id", "label", "start", "end")}
        row |= {"note": mark.note} if mark.note else {}
        listed.append(row | ({"extra": dict(mark.extra)} if mark.extra else {}))
    return {"marks": listed, "looked": [list(span) for span in looked], "group": group}


def _read(read: Mapping[str, Any]) -> tuple[list[Mark], list[Span], str]:
    marks = [Mark(**{**row, "extra": tuple(row.get("extra", {}).items())}) for row in read["marks"]]
    return marks, [(start, end) for start, end in read["looked"]], read["group"]


def _append(file: Path, line: str) -> None:
    """Write a whole line, on the disk when it returns, or nothing."""
    is_new = not file.exists()
    with file.open("ab", buffering=0) as opened:  # a buffer would be written again when it closes
        size_bytes = opened.tell()
        try:
            rest = line.encode()
            while rest:
                rest = rest[opened.write(rest) :]
            os.fsync(opened.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(file, size_bytes)
            raise
    if is_new:
        sync_folder(file.parent)
