"""What a person takes away: the model in several forms, and the marks in those of other tools."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast, get_args

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from actionrnn.apps.serving.guarded import OneFileRoute
from actionrnn.apps.studio.models import none_rate_of
from actionrnn.apps.studio.project import Project
from actionrnn.apps.studio.project_config import ANNOTATIONS_FILE
from actionrnn.apps.studio.session import Session
from actionrnn.apps.studio.videos import ProjectVideo
from actionrnn.apps.timeline_files import subtitles
from actionrnn.datasets.annotations.formats import Format, write_annotations
from actionrnn.datasets.annotations.intervals_csv import read_intervals_csv
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.datasets.video_names import VideoNames
from actionrnn.errors import ProjectError
from actionrnn.files import write_text
from actionrnn.model.segments import Segment
from actionrnn.text import plain

Kind = Literal["model", "onnx", "web", "csv", "boris", "elan", "label-studio", "srt"]
NOTES_FILE = "notes.txt"
"""In an archive: what a format cannot hold."""

_SUFFIXES = {
    "csv": ".csv",
    "boris": ".boris",
    "elan": ".eaf",
    "label-studio": ".json",
    "srt": ".srt",
}
_NOTHING_MARKED = "nothing is marked here yet; mark something in the step Label"
_ALL_IN_ONE = ("csv", "boris")
"""Formats of which one file holds all videos."""


def routes(session: Session) -> APIRouter:
    """`/api/export/KIND`."""
    router, project = APIRouter(route_class=OneFileRoute), session.project

    @router.get("/api/export/{kind}")
    def export(kind: str, video: str | None = None) -> FileResponse:
        if kind not in get_args(Kind):
            raise HTTPException(404, f"{plain(kind)!r}: is none of {', '.join(get_args(Kind))}")
        if kind == "model":
            model = session.models.require_newest().path
            return FileResponse(model, filename=f"{project.name}.safetensors")
        chosen = project.videos() if video is None else (session.video(video),)
        place = Path(tempfile.mkdtemp(prefix="actionrnn-"))
        try:
            if kind in ("onnx", "web"):
                form = cast(Literal["onnx", "web"], kind)
                made = [_exported_model(session, form, place / project.name)]
            else:
                made = _mark_files(_marks_of(project), kind, chosen, place, project.name)
            is_file = len(made) == 1 and made[0].is_file()
            file = made[0] if is_file else _zipped(made, place, f"{project.name}-{kind}")
        except BaseException:
            shutil.rmtree(place)
            raise
        removal = BackgroundTask(shutil.rmtree, place)
        return FileResponse(file, filename=file.name, background=removal)

    return router


def _exported_model(session: Session, kind: Literal["onnx", "web"], folder: Path) -> Path:
    """The newest model in that form."""
    model = session.models.require_newest()
    task = session.tasks.onnx if kind == "onnx" else session.tasks.web
    none_rate = none_rate_of(model.none_of_these, "step", "clip")
    session.exports.make(kind, task, model.path, folder, none_rate)
    return folder


def _marks_of(project: Project) -> Marks:
    """All of annotations.csv, with the project's own paths: by hand others are written, too.

    Raises:
        ProjectError: there is none.
        DatasetError: it cannot be read.
    """
    file, names = project.folder / ANNOTATIONS_FILE, VideoNames(project.folder)
    if not file.exists():
        raise ProjectError(_NOTHING_MARKED)
    found = read_intervals_csv(file, ReadOptions())
    own = {os.path.realpath(video.file): video.path for video in project.videos()}
    path_of = {
        name: own.get(os.path.realpath(names.find(name)[0]), name)
        for name in {mark.video for mark in found.marks}
    }
    return replace(
        found, marks=tuple(replace(mark, video=path_of[mark.video]) for mark in found.marks)
    )


def _mark_files(
    marks: Marks, kind: str, videos: Sequence[ProjectVideo], place: Path, name: str
) -> list[Path]:
    """The marks of some videos in a format; a file for all, or for each that has marks.

    Raises:
        ProjectError: none has marks.
        DatasetError: the format cannot hold them.
    """
    of_video = {video.path: [m for m in marks.marks if m.video == video.path] for video in videos}
    marked = [video for video in videos if of_video[video.path]]
    if not marked:
        raise ProjectError(_NOTHING_MARKED)
    together = [marked] if kind in _ALL_IN_ONE else [[video] for video in marked]
    made: list[Path] = []
    notes: list[str] = []
    for some in together:
        chosen = tuple(mark for video in some for mark in of_video[video.path])
        stem = Path(some[0].path).stem if len(videos) == 1 or len(some) == 1 else name
        file = _free(place / f"{stem}{_SUFFIXES[kind]}", made)
        for note in _write(kind, replace(marks, marks=chosen), file, some[0]):
            notes.append(f"{file.name}: {note}")
        made.append(file)
    if notes:
        write_text(place / NOTES_FILE, "\n".join(notes) + "\n")
        made.append(place / NOTES_FILE)
    return made


def _write(kind: str, marks: Marks, file: Path, video: ProjectVideo) -> tuple[str, ...]:
    """Write one file; what it cannot hold. `video` is the only one where it has to be."""
    if kind == "srt":
        return _write_subtitles(marks.marks, file, video)
    format_name = cast(Format, kind)
    rate_fps = video.rate_fps if kind == "label-studio" else None
    return write_annotations(marks, file, format_name, rate_fps=rate_fps)


def _write_subtitles(marks: Sequence[Mark], file: Path, video: ProjectVideo) -> tuple[str, ...]:
    """Labels as subtitles, by the player's clock; that nothing happened is not shown."""
    segments = [
        Segment(
            mark.label,
            (video.begin if mark.start_seconds is None else mark.start_seconds) - video.begin,
            (video.end if mark.end_seconds is None else mark.end_seconds) - video.begin,
            1.0,
        )
        for mark in marks
        if mark.label != BACKGROUND
    ]
    segments.sort(key=lambda segment: segment.start_seconds)
    write_text(file, subtitles(segments, lambda segment: plain(segment.label)))
    return ()


def _free(file: Path, taken: Sequence[Path]) -> Path:
    """A name that no other file has: videos of two folders may share one."""
    found, number = file, 1
    while found in taken:
        number += 1
        found = file.with_stem(f"{file.stem}-{number}")
    return found


def _zipped(made: Sequence[Path], place: Path, name: str) -> Path:
    """Files, or a folder with all that it holds, as one archive."""
    archive = place / f"{name}.zip"
    with zipfile.ZipFile(archive, "x", zipfile.ZIP_DEFLATED) as written:
        for top in made:
            for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
                if file.is_file():
                    written.write(file, file.relative_to(place))
    return archive
