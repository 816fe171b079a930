"""The application of the studio: one project, as JSON, and the files of its page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
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
from actionrnn.apps.studio import extraction, mark_routes, takeaway, video_routes, watch
from actionrnn.apps.studio.jobs import Tasks, jobs_json
from actionrnn.apps.studio.models import SCORES_FILE
from actionrnn.apps.studio.project import Project
from actionrnn.apps.studio.project_file import Label
from actionrnn.apps.studio.session import Session, client_of, status_of
from actionrnn.apps.timeline_page import PAGES
from actionrnn.errors import ActionrnnError, ProjectError
from actionrnn.processes import prepare

STUDIO_PAGE = Path(__file__).with_name("page")


def make_studio(
    project: Project,
    limits: ServeLimits | None = None,
    *,
    token: str | None = None,
    hosts: Iterable[str] = LOOPBACK,
    origins: Iterable[str] = (),
    tasks: Tasks | None = None,
) -> FastAPI:
    """The application with the page and the API of one project.

    While it runs, features are extracted and models trained in processes beside it.

    Args:
        project: open; it stays so when the application ends.
        limits: the bounds of uploads and webcams; None: the defaults of `serve`.
        token, hosts, origins: see `guarded_app`.
        tasks: what is done in processes beside it; None: extraction and training.
    """
    limits = limits or ServeLimits()
    prepare(extraction.__name__)
    session = Session(project, limits, tasks or Tasks())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        session.start()
        yield
        session.close()

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
    for module in (video_routes, mark_routes, watch, takeaway):
        app.include_router(module.routes(session))
    app.include_router(_routes(session))
    return app


async def _refused(_: Request, error: Exception) -> Response:
    status = status_of(error) if isinstance(error, ProjectError) else 422
    return JSONResponse({"error": str(error)}, status)


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
    def labels(
        request: Request,
        labels: Annotated[list[dict[str, str]], Body()],
        base_revision: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        client, (new, renamed) = client_of(request), _labels_of(labels)
        session.require_free_marks(renamed.keys(), client)
        project.set_labels(new, client.annotator, renamed, base_revision)
        return session.described()

    @router.put("/api/settings")
    def settings(
        settings: Annotated[dict[str, Any], Body()],
        base_revision: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        project.set_settings(settings, base_revision)
        return session.described()

    @router.post("/api/train", status_code=202)
    def train() -> dict[str, Any]:
        return jobs_json([session.training.train()])[0]

    @router.delete("/api/train")
    def stop_training() -> dict[str, Any]:
        session.training.stop()
        return session.described()

    @router.get("/api/scores")
    def scores() -> Any:
        newest = session.models.newest()
        if newest is None:
            return None
        try:
            found = json.loads((newest.path.parent / SCORES_FILE).read_bytes())
        except (OSError, ValueError):  # trained elsewhere, or not scored yet
            return None
        return {"run": newest.run} | found

    return router


def _labels_of(given: Sequence[Mapping[str, str]]) -> tuple[list[Label], dict[str, str]]:
    """Labels, and the new names by the old ones of those that say what they were."""
    labels, renamed = [], {}
    for one in given:
        values = dict(one)
        was = values.pop("was", None)
        try:
            label = Label(**values)
        except (TypeError, ValueError):
            raise ProjectError("a label has a name, a key, a colour, and no more") from None
        labels.append(label)
        if was not in (None, label.name):
            renamed[was] = label.name
    return labels, renamed
