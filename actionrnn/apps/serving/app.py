"""The routes of the page and of the HTTP API."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, UploadFile, WebSocket
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles

from actionrnn import __version__
from actionrnn.apps.serving.access import LOOPBACK
from actionrnn.apps.serving.analysis import Upload, analyse, make_playable
from actionrnn.apps.serving.guarded import guarded_app
from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.serving.webcam import serve_webcam
from actionrnn.apps.timeline_files import FORMATS
from actionrnn.apps.timeline_page import PAGES, none_stretches
from actionrnn.errors import VideoError
from actionrnn.model.recognizer import Recognizer
from actionrnn.options import SegmentRule
from actionrnn.processes import prepare
from actionrnn.text import plain

_POLL_SECONDS = 0.2
_MEDIA_TYPES = {"csv": "text/csv", "srt": "application/x-subrip", "vtt": "text/vtt"}

_Result = TypeVar("_Result")
TimelineFormat = Literal["json", "csv", "srt", "vtt", "all"]


@dataclass
class UploadPool:
    """Runs jobs on uploaded videos: `limits.at_once` at a time, the others wait in a queue."""

    limits: ServeLimits
    threads: ThreadPoolExecutor = field(init=False)
    stop_events: set[threading.Event] = field(default_factory=set)
    """Of the uploads that are waiting or running; setting one ends its job."""

    def __post_init__(self) -> None:
        self.threads = ThreadPoolExecutor(self.limits.at_once, "analyse")

    async def run(
        self, request: Request, file: UploadFile, job: Callable[[Upload], _Result]
    ) -> _Result:
        """Return the result of a job on an upload; it is stopped when the client disconnects.

        Raises:
            HTTPException: status 422, the video cannot be used.
        """
        stop = threading.Event()
        self.stop_events.add(stop)
        name = plain(Path(file.filename or "").name) or "video"
        try:
            with tempfile.TemporaryDirectory(prefix="actionrnn-") as folder:
                upload = Upload(Path(folder, "video"), name, self.limits, stop)
                await asyncio.to_thread(_copy, file, upload.path)
                return await self._watch(request, upload, job)
        except VideoError as error:
            raise HTTPException(422, str(error)) from None
        finally:
            self.stop_events.discard(stop)

    async def _watch(
        self, request: Request, upload: Upload, job: Callable[[Upload], _Result]
    ) -> _Result:
        running = asyncio.get_running_loop().run_in_executor(self.threads, job, upload)
        try:
            while not running.done():
                await asyncio.wait([running], timeout=_POLL_SECONDS)
                if await request.is_disconnected():
                    upload.stop.set()
        finally:
            upload.stop.set()  # the job reads the upload, whose folder is deleted next
            await asyncio.wait([running])
        return running.result()

    def close(self) -> None:
        """Stop all jobs and wait for them."""
        for stop in tuple(self.stop_events):
            stop.set()
        self.threads.shutdown(cancel_futures=True)


def make_app(
    model: Recognizer,
    limits: ServeLimits | None = None,
    *,
    token: str | None = None,
    hosts: Iterable[str] = LOOPBACK,
    origins: Iterable[str] = (),
    none_rate: float | None = None,
) -> FastAPI:
    """The application with the page and the API of one model.

    Args:
        model: what answers; one without a fixed number of frames also follows webcams.
        limits: the bounds of uploads and webcams; None: the defaults.
        token, hosts, origins: see `guarded_app`.
        none_rate: answers also say 'none of these', wrongly of this part of the classes' own; None:
            they do not.

    Raises:
        ConfigError: a name is not a host, or not an origin.
        ModelError: `none_rate` is given, and the model was trained without.
    """
    limits = limits or ServeLimits()
    if none_rate is not None:
        model.require_none_of_these(none_rate, of_steps=False)
    prepare()
    pool = UploadPool(limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        pool.close()

    app = guarded_app(
        limits,
        token=token,
        hosts=hosts,
        origins=origins,
        title="actionrnn",
        description="Video action recognition.",
        lifespan=lifespan,
    )
    app.mount("/page", StaticFiles(directory=PAGES), name="page")
    _add_routes(app, model, pool, none_rate)
    return app


def _add_routes(app: FastAPI, model: Recognizer, pool: UploadPool, none_rate: float | None) -> None:
    limits = pool.limits

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGES / "index.html")

    @app.get("/health")
    def health() -> dict[str, str]:
        """That the server runs, and its version."""
        return {"status": "ok", "version": __version__}

    @app.get("/labels")
    def labels() -> dict[str, Any]:
        """The labels in the order of the scores, the model's frame rate, and the upload limits.

        `rate_fps` is null if the model uses every frame; `can_stream` is false if it needs the
        whole clip and so cannot follow a webcam; a webcam's step is answered when `delay_steps`
        further ones were seen. With `multi_label` each score is that of its label alone: several
        may be on at once. With a `none_rate` answers also say `none_of_these`, wrongly of this part
        of the labels' own.
        """
        sampling = model.config.sampling
        return {
            "labels": model.labels,
            "rate_fps": sampling.rate_fps,
            "can_stream": sampling.num_frames is None,
            "delay_steps": model.head.delay_steps,
            "multi_label": model.multi_label,
            "none_rate": none_rate,
            "limits": {"upload_mb": limits.upload_mb, "video_seconds": limits.video_seconds},
        }

    @app.post("/classify")
    async def classify(
        request: Request, file: UploadFile, top: Annotated[int, Query(ge=1)] = 5
    ) -> JSONResponse:
        """The action of one video: `label`, and the best labels with their scores."""
        answer = await pool.run(request, file, partial(analyse, model=model))
        return JSONResponse(answer.summary(top, none_rate))

    @app.post("/timeline")
    async def timeline(
        request: Request,
        file: UploadFile,
        format: TimelineFormat = "json",
        top: Annotated[int, Query(ge=1)] = 5,
    ) -> Response:
        """When which action happens: segments, and the scores at every step.

        `all` is the JSON with three more keys: `prediction`, the answer for the whole video,
        `none_of_these`, the stretches of which the server says so, and `files`, the texts of the
        other formats.
        """
        job = partial(_timeline, model=model, format=format, top=top, none_rate=none_rate)
        text = await pool.run(request, file, job)
        return PlainTextResponse(text, media_type=_MEDIA_TYPES.get(format, "application/json"))

    @app.post("/playable", response_class=Response)
    async def playable(request: Request, file: UploadFile) -> Response:
        """The video as an .mp4 file that browsers play, without its sound."""
        content = await pool.run(request, file, make_playable)
        return Response(content, media_type="video/mp4")

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await serve_webcam(websocket, model, limits, none_rate)


def _timeline(
    upload: Upload,
    model: Recognizer,
    format: TimelineFormat,
    top: int,
    none_rate: float | None,
) -> str:
    """The job of `/timeline`: also writes the text, which takes long for a long video."""
    answer, rule = analyse(upload, model), SegmentRule(none_rate=none_rate or 0.0)
    timeline, segments = answer.timeline, answer.timeline.segments(rule)
    if format != "all":
        return FORMATS[f".{format}"](timeline, segments)
    files = {kind: FORMATS[f".{kind}"](timeline, segments) for kind in _MEDIA_TYPES}
    whole = json.loads(FORMATS[".json"](timeline, segments))
    whole["prediction"] = answer.summary(top, none_rate)
    whole["none_of_these"] = none_stretches(timeline, rule.none_rate)
    return json.dumps(whole | {"files": files})


def _copy(file: UploadFile, path: Path) -> None:
    with path.open("wb") as copy:
        shutil.copyfileobj(file.file, copy, 2**20)
    file.file.close()
