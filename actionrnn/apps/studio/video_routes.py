"""The routes of videos: adding, playing, removing."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Form, Request, UploadFile
from fastapi.responses import FileResponse

from actionrnn.apps.serving.guarded import OneFileRoute
from actionrnn.apps.studio.session import Session, client_of


def routes(session: Session) -> APIRouter:
    """Of the videos."""
    router, project = APIRouter(prefix="/api", route_class=OneFileRoute), session.project

    @router.post("/videos")
    def add(file: UploadFile, group: Annotated[str | None, Form()] = None) -> dict[str, Any]:
        return session.video_json(project.add_video(file.file, file.filename or "video", group))

    @router.post("/takes")
    def take(
        request: Request,
        file: UploadFile,
        label: Annotated[str, Form()],
        group: Annotated[str | None, Form()] = None,
    ) -> dict[str, Any]:
        video = project.add_video(file.file, file.filename or "take.webm", group)
        whole = {"start": 0.0, "end": video.seconds}
        ops = [{"op": "add", "label": label} | whole, {"op": "look"} | whole]
        project.change(video.id, ops, client_of(request).annotator)
        return session.video_json(video)

    @router.delete("/videos/{video_id}")
    def remove(video_id: str, request: Request) -> dict[str, Any]:
        project.remove_video(session.video(video_id).id, client_of(request).annotator)
        return session.described()

    @router.put("/videos/{video_id}")
    def change_group(
        video_id: str, request: Request, group: Annotated[str, Body(embed=True)]
    ) -> dict[str, Any]:
        project.set_group(session.video(video_id).id, group, client_of(request).annotator)
        return session.video_json(session.video(video_id))

    @router.get("/videos/{video_id}/media")
    def media(video_id: str) -> FileResponse:
        return FileResponse(session.video(video_id).file)

    return router
