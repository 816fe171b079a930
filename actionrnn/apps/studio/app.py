"""The routes of the studio: one project, as JSON, and the files of its page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from actionrnn import __version__
from actionrnn.apps.serving.access import LOOPBACK
from actionrnn.apps.serving.guarded import OneFileRoute, guarded_app
from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.studio import mark_routes, video_routes
from actionrnn.apps.studio.jobs import Jobs
from actionrnn.apps.studio.session import Session, client_of
from actionrnn.apps.studio.standin import Project
from actionrnn.apps.timeline_page import PAGES
from actionrnn.errors import ActionrnnError

STUDIO_PAGE = Path(__file__).with_name("page")


def make_studio(
    project: Project,
    limits: ServeLimits | None = None,
    *,
    token: str | None = None,
    hosts: Iterable[str] = LOOPBACK,
    origins: Iterable[str] = (),
) -> FastAPI:
    """The application with the page and the API of one project.

    Args:
        project: open; it stays so when the application ends.
        limits: the bounds of uploads and webcams; None: the defaults.
        token, hosts, origins: see `guarded_app`.
    """
    limits = limits or ServeLimits()
    session = Session(project, limits, Jobs())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        session.jobs.close()

    app = guarded_app(
        limits,
        token=token,
        hosts=hosts,
        origins=origins,
        title="actionrnn studio",
        lifespan=lifespan,
    )
    app.add_exception_handler(ActionrnnError, _refused)
    app.mount("/page/shared", StaticFiles(directory=PAGES), name="shared")
    app.mount("/page", StaticFiles(directory=STUDIO_PAGE), name="page")
    for router in (_routes(session), video_routes.routes(session), mark_routes.routes(session)):
        app.include_router(router)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


def _routes(session: Session) -> APIRouter:
    """Of the project as a whole."""
    router, project = APIRouter(route_class=OneFileRoute), session.project

    @router.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STUDIO_PAGE / "index.html")

    @router.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @router.get("/api/project")
    def described() -> dict[str, Any]:
        return session.described()

    @router.get("/api/status", response_model=None)
    def status(revision: Annotated[int, Query()] = -1) -> Response | dict[str, Any]:
        described = session.described()
        return Response(status_code=204) if described["revision"] == revision else described

    @router.put("/api/labels")
    def labels(request: Request, labels: Annotated[list[dict[str, Any]], Body()]) -> dict[str, Any]:
        project.set_labels(labels, client_of(request).annotator)
        return session.described()

    @router.put("/api/settings")
    def settings(request: Request, settings: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        project.set_settings(settings, client_of(request).annotator)
        return session.described()

    @router.get("/api/scores")
    def scores() -> None:
        return None

    return router
