"""The routes of labelling: marks, changes, undo, and who works on which video."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request

from actionrnn.apps.serving.guarded import OneFileRoute
from actionrnn.apps.studio.locks import Client
from actionrnn.apps.studio.session import Session, client_of, marks_json
from actionrnn.apps.studio.standin import ProjectError


def routes(session: Session) -> APIRouter:
    """Of the marks of one video each."""
    router = APIRouter(prefix="/api/videos/{video_id}", route_class=OneFileRoute)
    project = session.project

    def editing(video_id: str, request: Request) -> Client:
        session.video(video_id)
        client = client_of(request)
        session.require_free(video_id, client)
        return client

    @router.get("/marks")
    def marks(video_id: str) -> dict[str, Any]:
        session.video(video_id)
        return marks_json(project.marks(video_id))

    @router.post("/changes")
    def changes(
        video_id: str,
        request: Request,
        ops: Annotated[list[dict[str, Any]], Body()],
        base_revision: Annotated[int | None, Body()] = None,
    ) -> dict[str, Any]:
        client = editing(video_id, request)
        try:
            return marks_json(project.change(video_id, ops, client.annotator, base_revision))
        except ProjectError as error:
            raise HTTPException(409, str(error)) from None

    @router.post("/undo")
    def undo(video_id: str, request: Request) -> dict[str, Any]:
        client = editing(video_id, request)
        try:
            return marks_json(project.undo(video_id, client.annotator))
        except ProjectError as error:
            raise HTTPException(409, str(error)) from None

    @router.post("/redo")
    def redo(video_id: str, request: Request) -> dict[str, Any]:
        client = editing(video_id, request)
        try:
            return marks_json(project.redo(video_id, client.annotator))
        except ProjectError as error:
            raise HTTPException(409, str(error)) from None

    @router.post("/lock")
    def lock(video_id: str, request: Request) -> dict[str, Any]:
        session.video(video_id)
        mine = session.locks.take(video_id, client_of(request))
        holder = session.locks.holder(video_id)
        return {"mine": mine, "locked_by": holder.annotator if holder else None}

    @router.delete("/lock")
    def unlock(video_id: str, request: Request) -> dict[str, Any]:
        session.locks.free(video_id, client_of(request))
        return {"mine": False, "locked_by": None}

    @router.get("/proposals")
    def proposals(video_id: str) -> dict[str, Any]:
        session.video(video_id)
        return {"proposals": [], "looked_free": 0.0}

    @router.get("/timeline")
    def timeline(video_id: str) -> dict[str, Any]:
        session.video(video_id)
        raise HTTPException(404, "there is no model yet; train one")

    return router
