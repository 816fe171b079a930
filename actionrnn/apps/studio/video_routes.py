"""The routes of videos: bringing them, playing them, taking them out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, Response

from actionrnn.apps.serving.guarded import OneFileRoute
from actionrnn.apps.studio.jobs import jobs_json
from actionrnn.apps.studio.session import Session, client_of
from actionrnn.apps.studio.videos import ProjectVideo, frame_times, kept_copy, sprite
from actionrnn.errors import ActionrnnError, ProjectError
from actionrnn.files import can_be_a_name
from actionrnn.text import is_harmless, plain
from actionrnn.video.finding import VIDEO_SUFFIXES

_MOST_ENTRIES = 2000
"""Of a folder that are shown."""


def routes(session: Session) -> APIRouter:
    """Of the videos."""
    router, project = APIRouter(prefix="/api", route_class=OneFileRoute), session.project

    def added(request: Request, file: UploadFile, group: str | None) -> ProjectVideo:
        """The video of an upload, which is now in the project."""
        who, isolation = client_of(request).annotator, session.isolation()
        name, group = file.filename or "", group or None
        video = project.add_video(file.file, name, group, who=who, isolation=isolation)
        session.features.wake()
        return video

    @router.post("/videos")
    def add(
        request: Request, file: UploadFile, group: Annotated[str | None, Form()] = None
    ) -> dict[str, Any]:
        return session.video_json(added(request, file, group))

    @router.post("/takes")
    def take(
        request: Request,
        file: UploadFile,
        label: Annotated[str, Form()],
        group: Annotated[str | None, Form()] = None,
    ) -> dict[str, Any]:
        if label not in {one.name for one in project.labels}:
            raise ProjectError(f"label {plain(label)!r}: is not one of the project's; add it")
        video = added(request, file, group)
        whole = {"start": video.begin, "end": video.end}
        ops = [{"op": "add", "label": label} | whole, {"op": "look"} | whole]
        project.change(video.id, ops, client_of(request).annotator)
        return session.video_json(video)

    @router.get("/browse")
    def browse(folder: str, path: str = "") -> dict[str, Any]:
        place = _below(session, folder, path)
        if not place.is_dir():
            raise ProjectError(f"{plain(path) or plain(folder)}: no such folder")
        return {"entries": _entries(place, session.folders()[folder])}

    @router.post("/videos/import")
    def import_videos(
        request: Request,
        folder: Annotated[str, Body()],
        paths: Annotated[list[str], Body()],
        group: Annotated[str | None, Body()] = None,
    ) -> dict[str, Any]:
        taken, failed = [], []
        for path in paths:
            try:
                file = _below(session, folder, path)
                video = project.import_video(file, group or None, client_of(request).annotator)
                taken.append(session.video_json(video))
            except ActionrnnError as error:
                failed.append({"path": path, "error": str(error)})
        session.features.wake()
        if failed and not taken:
            raise ProjectError(failed[0]["error"])
        return {"videos": taken, "failed": failed}

    @router.delete("/videos/{video_id}")
    def remove(video_id: str, request: Request) -> dict[str, Any]:
        video, client = session.video(video_id), client_of(request)
        session.require_free(video, client)
        project.remove_video(video.id, client.annotator)
        return session.described()

    @router.put("/videos/{video_id}")
    def change_group(
        video_id: str, request: Request, group: Annotated[str, Body(embed=True)]
    ) -> dict[str, Any]:
        video, client = session.video(video_id), client_of(request)
        session.require_free(video, client)
        return session.video_json(project.set_group(video.id, group, client.annotator))

    @router.get("/videos/{video_id}/media", response_model=None)
    def media(video_id: str, copy: Annotated[bool, Query()] = False) -> Response:
        """The file itself where browsers play it; else its copy, which is made if asked for."""
        video = session.video(video_id)
        wants_copy = copy or not video.playable
        if wants_copy and session.has_copy(video):
            return FileResponse(kept_copy(video, project.cache), media_type="video/mp4")
        if copy:
            return JSONResponse(jobs_json([session.copies.want(video.id)])[0], 202)
        return FileResponse(video.file)

    @router.get("/videos/{video_id}/frames")
    def frames(video_id: str) -> dict[str, Any]:
        video = session.video(video_id)
        with session.making(video):
            return {"times": frame_times(video, project.cache, session.isolation())}

    @router.get("/videos/{video_id}/sprite")
    def thumbnails(video_id: str) -> dict[str, Any]:
        video = session.video(video_id)
        with session.making(video):
            described = asdict(sprite(video, project.cache, session.isolation()))
        del described["file"]
        return described

    @router.get("/videos/{video_id}/sprite.jpg")
    def thumbnail_sheet(video_id: str) -> FileResponse:
        video = session.video(video_id)
        with session.making(video):
            return FileResponse(sprite(video, project.cache, session.isolation()).file)

    return router


def _below(session: Session, folder: str, path: str) -> Path:
    """A file or folder below one of those that may be looked into, links resolved.

    Raises:
        HTTPException: 404, there is no such folder.
        ProjectError: it lies elsewhere, or is not there.
    """
    base = session.folders().get(folder)
    if base is None:
        raise HTTPException(404, f"{plain(folder)!r} is no folder that was named with --videos")
    try:
        is_name = can_be_a_name(path) and is_harmless(path)
        place = base / path
        if is_name and place.resolve().is_relative_to(base.resolve()) and place.exists():
            return place
    except (OSError, RuntimeError):  # links in a circle, or a name that is too long
        pass
    raise ProjectError(f"{plain(path)!r}: is no file or folder below {plain(folder)}")


def _entries(place: Path, base: Path) -> list[dict[str, Any]]:
    """Folders and videos, without hidden ones and those that links lead out to."""
    real = base.resolve()
    found = []
    for entry in sorted(place.iterdir(), key=lambda path: path.name.casefold()):
        if entry.name.startswith(".") or not is_harmless(entry.name):
            continue
        try:
            is_folder = entry.is_dir()
            is_video = not is_folder and entry.suffix.lower() in VIDEO_SUFFIXES
            if not (is_folder or is_video) or not entry.resolve().is_relative_to(real):
                continue
            size_bytes = 0 if is_folder else entry.stat().st_size
        except (OSError, RuntimeError):  # a link to nothing, or in a circle
            continue
        kind = "folder" if is_folder else "video"
        found.append({"name": entry.name, "kind": kind, "size_bytes": size_bytes})
    return found[:_MOST_ENTRIES]
