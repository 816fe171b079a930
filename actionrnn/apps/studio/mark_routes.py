"""The routes of labelling: marks, changes, undo, locks, and what the model says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Query, Request

from actionrnn.apps.serving.guarded import OneFileRoute
from actionrnn.apps.studio.annotation_log import VideoMarks
from actionrnn.apps.studio.models import timeline_json
from actionrnn.apps.studio.proposals import next_place, propose
from actionrnn.apps.studio.session import Session, client_of
from actionrnn.errors import FeatureError, ModelError


def routes(session: Session) -> APIRouter:
    """Of the marks of one video each, and of the place where to look next."""
    router, project = APIRouter(prefix="/api", route_class=OneFileRoute), session.project
    of_video = "/videos/{video_id}"

    def who_may(video_id: str, request: Request) -> str:
        """The name of whoever changes a video that nobody else has."""
        client = client_of(request)
        session.require_free(session.video(video_id), client)
        return client.annotator

    @router.get(of_video + "/marks")
    def marks(video_id: str) -> dict[str, Any]:
        return marks_json(project.marks(session.video(video_id).id))

    @router.post(of_video + "/changes")
    def changes(
        video_id: str,
        request: Request,
        ops: Annotated[list[Any], Body()],
        base_revision: Annotated[int | None, Body()] = None,
    ) -> dict[str, Any]:
        who = who_may(video_id, request)
        return marks_json(project.change(video_id, ops, who, base_revision))

    @router.post(of_video + "/undo")
    def undo(video_id: str, request: Request) -> dict[str, Any]:
        return marks_json(project.undo(video_id, who_may(video_id, request)))

    @router.post(of_video + "/redo")
    def redo(video_id: str, request: Request) -> dict[str, Any]:
        return marks_json(project.redo(video_id, who_may(video_id, request)))

    def locked(video_id: str, *, mine: bool) -> dict[str, Any]:
        holder = session.locks.holder(video_id)
        return {"mine": mine, "locked_by": holder.annotator if holder else None}

    @router.post(of_video + "/lock")
    def lock(video_id: str, request: Request) -> dict[str, Any]:
        session.video(video_id)
        return locked(video_id, mine=session.locks.take(video_id, client_of(request)))

    @router.delete(of_video + "/lock")
    def unlock(video_id: str, request: Request) -> dict[str, Any]:
        session.locks.free(video_id, client_of(request))
        return locked(video_id, mine=False)

    @router.get(of_video + "/timeline")
    def timeline(
        video_id: str, points: Annotated[int, Query(ge=2, le=20_000)] = 2000
    ) -> dict[str, Any]:
        try:
            found = session.models.timeline(session.video(video_id))
        except (ModelError, FeatureError) as error:
            raise HTTPException(404, str(error)) from None
        return timeline_json(found, points)

    @router.get(of_video + "/proposals")
    def proposals(video_id: str) -> dict[str, Any]:
        video = session.video(video_id)
        looked = project.marks(video.id).looked
        try:
            found = session.models.timeline(video)
        except (ModelError, FeatureError):  # nothing can be proposed yet
            return {"proposals": []}
        names = [label.name for label in project.labels]
        proposed = propose(found, looked, project.refused(video.id), names)
        return {"proposals": [asdict(one) for one in proposed]}

    @router.get("/next")
    def look_next(request: Request) -> dict[str, Any] | None:
        client, timelines, looked = client_of(request), {}, {}
        for video in project.videos():
            if session.locks.other(video.id, client):  # two are not sent to one place
                continue
            try:
                timelines[video.id] = session.models.timeline(video)
            except (ModelError, FeatureError):  # no model, or no features yet
                continue
            looked[video.id] = project.marks(video.id).looked
        place = next_place(timelines, looked)
        return None if place is None else asdict(place)

    return router


def marks_json(marks: VideoMarks) -> dict[str, Any]:
    """The marks of one video."""
    return {
        "revision": marks.revision,
        "marks": [
            {
                "id": mark.id,
                "label": mark.label,
                "start": mark.start,
                "end": mark.end,
                "note": mark.note,
            }
            for mark in marks.marks
        ],
        "looked": [list(span) for span in marks.looked],
        "can_undo": marks.can_undo,
        "can_redo": marks.can_redo,
    }
