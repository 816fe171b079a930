"""What is marked in a project: annotations.log and annotations.csv, which say the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actionrnn.apps.studio.annotation_log import AnnotationLog, History, Mark, Step, as_read
from actionrnn.apps.studio.annotations_file import (
    AnnotationsFile,
    Place,
    VideoRows,
    with_ids,
)
from actionrnn.apps.studio.operations import ConflictError, new_id
from actionrnn.apps.studio.project_config import ANNOTATIONS_FILE
from actionrnn.apps.studio.videos import ProjectVideo
from actionrnn.datasets.annotations.marks import TOLERATED_SECONDS, Span
from actionrnn.datasets.video_names import VideoNames, names_a_file
from actionrnn.errors import DatasetError, ProjectError
from actionrnn.files import FileState, state_if_there
from actionrnn.text import plain, readable

LOG_FILE = "annotations.log"
BY_HAND = ANNOTATIONS_FILE
"""Who wrote what was not written through the studio."""


class Annotations:
    """The marks of a project's videos, on the disk in both files before a change returns.

    Args:
        folder: of the project.
        find_spans: gives, by path of each video that is there, from when to when its clock goes.
        read_only: write nothing, and leave the marks as they were at the beginning.

    Raises:
        ProjectError: a file is damaged or cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        find_spans: Callable[[], Mapping[str, Span]],
        *,
        read_only: bool = False,
    ) -> None:
        self._folder, self._find_spans, self._read_only = folder, find_spans, read_only
        self._csv = folder / ANNOTATIONS_FILE
        self._log = AnnotationLog.open(folder / LOG_FILE, read_only=read_only)
        self._file = AnnotationsFile()
        self._file_state: FileState | None = None
        self._may_be_behind = True
        """What was written last did not come into the file, or nobody knows."""
        self._read()

    @property
    def histories(self) -> Mapping[str, History]:
        """By path, of the videos that were marked, are in a group, or were asked for."""
        return self._log.histories

    def of(self, path: str) -> History:
        """Of one video."""
        return self._log.of(path)

    def group(self, path: str) -> str:
        """Who or what is in a video; empty: it is its own."""
        return self.histories[path].group if path in self.histories else ""

    def named_videos(self) -> list[str]:
        """What all videos are called that are marked, in the project or not."""
        return [*self.histories, *(row.video for row in self._file.others)]

    def write(self, path: str | None, change: Any, who: str) -> None:
        """Put a change (`AnnotationLog`) into the log, then into annotations.csv.

        Raises:
            ProjectError: it does not fit the marks, or cannot be written.
        """
        self._log.write(path, change, plain(readable(who)), self._file.sha256)
        if change == "removed" and path is not None:
            self._file.forget(path)
        self._write_file()

    def write_aside(self, path: str, file: Path) -> None:
        """Write the rows of one video into a file of its own, if it has any.

        Raises:
            ProjectError: it cannot be written.
        """
        history = self.histories.get(path, History())
        if history.marks or history.looked:
            own, splits = self._file.background_extra, self._file.splits
            rows = AnnotationsFile(background_extra=own, splits=splits)
            rows.write(file, {path: history})

    def refresh(self) -> None:
        """Read annotations.csv again if somebody else has written it.

        Raises:
            ProjectError: it cannot be read, or a row is not valid.
        """
        if self._read_only:
            return
        if state_if_there(self._csv) != self._file_state:
            self._read()

    def _read(self) -> None:
        """Take what annotations.csv has and the log has not; or write what the log has more.

        The log is ahead of the file only by its last line, which says what the file was before.
        """
        place = _place(self._folder, self._find_spans(), self.histories)
        state = state_if_there(self._csv)  # before it is read: what is written since is read next
        file = AnnotationsFile.read(self._csv, place)
        if not (file.sha256 or self._may_be_behind) and self._csv.exists():
            raise ProjectError(  # what is written over it would be lost
                f"{self._csv}: is empty; if nobody is writing it now, delete it, and it is written "
                "again"
            )
        self._file = file
        behind = ("", self._log.csv) if self._may_be_behind else ("",)
        if self.histories and self._file.sha256 in behind:
            if not self._read_only:
                self._write_file()
            return
        rows = {path: VideoRows() for path in self.histories} | self._file.videos
        read = {
            path: self._as_read(path, one)
            for path, one in rows.items()
            if not one.are_of(self.of(path))
        }
        if read and self._read_only:
            self._log.apply(None, {"read": read})
        elif read:  # without a name for the file, which stays as it is
            self._log.write(None, {"read": read}, BY_HAND, "")
        self._file_state = state
        self._may_be_behind = False

    def _write_file(self) -> None:
        self._may_be_behind = True
        self._file.write(self._csv, self.histories)
        self._file_state = state_if_there(self._csv)
        self._may_be_behind = False

    def _as_read(self, path: str, rows: VideoRows) -> dict[str, Any]:
        history = self.of(path)
        marks = with_ids(rows.marks, history.marks.values(), new_id)
        group = rows.group if rows.marks or rows.background else history.group
        return as_read(marks, rows.looked(), group)


def _place(folder: Path, there: Mapping[str, Span], known: Iterable[str]) -> Place:
    """Find a project's video by what a row calls it, however it is spelled.

    Args:
        folder: of the project.
        there: the videos that are there, with the spans of their clocks.
        known: the paths of others that were marked before.
    """
    names = VideoNames(folder)
    spans: dict[str, Span | None] = {**dict.fromkeys(known), **there}
    real = {os.path.realpath(folder / path): path for path in spans}

    def place(name: str) -> tuple[str, Span | None] | None:
        if not names_a_file(name):
            raise DatasetError(f"{name!r} does not name a video")
        path = name if name in spans else real.get(os.path.realpath(names.find(name)[0]))
        return None if path is None else (path, spans[path])

    return place


def require_valid(
    step: Step,
    history: History,
    video: ProjectVideo,
    labels: Collection[str],
    *,
    multi_label: bool,
) -> None:
    """Refuse a change that makes a mark which cannot be.

    Args:
        step: the change.
        history: of the video, before it.
        video: whose marks these are.
        labels: the names that a mark may have.
        multi_label: marks of different labels may overlap.

    Raises:
        ConflictError: two marks overlap and may not.
        ProjectError: a mark has another label, or lies outside of the video.
    """
    there = [mark for key, mark in history.marks.items() if key not in step.after.marks]
    for mark in step.changed:
        if mark.label not in labels:
            raise ProjectError(f"label {mark.label!r}: is not one of the project's; add it")
        if not (
            video.begin - TOLERATED_SECONDS <= mark.start
            and mark.end <= video.end + TOLERATED_SECONDS
        ):
            raise ProjectError(
                f"{mark.label} {mark.start:g}-{mark.end:g} s: lies outside of {video.path}, "
                f"which goes from {video.begin:g} to {video.end:g} s"
            )
        for other in there:
            overlap = mark.start < other.end and other.start < mark.end
            if overlap and not (multi_label and mark.label != other.label):
                raise _overlap(mark, other, video.path)
        there.append(mark)


def require_kept_apart(
    histories: Mapping[str, History], renamed: Mapping[str, str], kept: Collection[str]
) -> None:
    """Refuse labels that lose marks, or mix them up, which nothing takes apart again.

    Args:
        histories: by path.
        renamed: new names of labels by old ones.
        kept: the labels that there will be, by their new names.

    Raises:
        ProjectError: they do.
    """
    for path, history in histories.items():
        for label in sorted({mark.label for mark in history.marks.values()}):
            if (name := renamed.get(label, label)) not in kept:
                raise ProjectError(
                    f"label {name!r}: {path} has marks of it; rename it, or remove them"
                )
            if label not in renamed and label in renamed.values():
                raise ProjectError(
                    f"label {label!r}: {path} has marks of it, and another label cannot get its "
                    "name; choose another"
                )


def require_apart(marks: Sequence[Mark], path: str) -> None:
    """Refuse marks that overlap.

    Args:
        marks: of a video, by start.
        path: of the video.

    Raises:
        ConflictError: two of them do.
    """
    furthest: Mark | None = None
    for mark in marks:
        if furthest is not None and mark.start < furthest.end:
            raise _overlap(furthest, mark, path)
        if furthest is None or mark.end > furthest.end:
            furthest = mark


def _overlap(one: Mark, other: Mark, path: str) -> ConflictError:
    first, second = sorted((one, other), key=lambda mark: mark.start)
    remedy = "join them"
    if one.label != other.label:
        remedy = "end one where the other begins, or set multi_label, where both count"
    return ConflictError(
        f"{path}: {plain(first.label)} {first.start:g}-{first.end:g} s and {plain(second.label)} "
        f"{second.start:g}-{second.end:g} s overlap; {remedy}"
    )
