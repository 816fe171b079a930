"""The routes: a video in, an answer out."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, UploadFile, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from actionrnn import __version__
from actionrnn.apps.serving.analysis import Upload, analyse, make_playable
from actionrnn.apps.serving.guard import HEADERS, Guard
from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.serving.names import Names
from actionrnn.apps.serving.webcam import follow_webcam
from actionrnn.apps.timeline_files import FORMATS
from actionrnn.errors import VideoError
from actionrnn.features import worker
from actionrnn.model.recognizer import Recognizer
from actionrnn.text import plain

PAGE = Path(__file__).with_name("page")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_POLL_SECONDS = 0.2
_KINDS = {"csv": "text/csv", "srt": "application/x-subrip", "vtt": "text/vtt"}

_Result = TypeVar("_Result")
TimelineFormat = Literal["json", "csv", "srt", "vtt", "all"]


@dataclass
class Desk:
    """Who works on the videos, and whose work can be stopped."""

    model: Recognizer
    limits: ServeLimits
    workers: ThreadPoolExecutor = field(init=False)
    stops: set[threading.Event] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.workers = ThreadPoolExecutor(self.limits.at_once, "analyse")

    async def work(
        self, request: Request, file: UploadFile, job: Callable[..., _Result], *arguments: Any
    ) -> _Result:
        """What `job` makes of an upload; given up if its visitor goes away.

        Raises:
            HTTPException: the video cannot be used.
        """
        stop = threading.Event()
        self.stops.add(stop)
        name = plain(Path(file.filename or "").name) or "video"
        try:
            with tempfile.TemporaryDirectory(prefix="actionrnn-") as folder:
                upload = Upload(Path(folder, "video"), name, self.limits, stop)
                await asyncio.to_thread(_copy, file, upload.path)
                return await self._watched(request, stop, job, upload, *arguments)
        except VideoError as error:
            raise HTTPException(422, str(error)) from None
        finally:
            self.stops.discard(stop)

    async def _watched(
        self, request: Request, stop: threading.Event, job: Callable[..., _Result], *arguments: Any
    ) -> _Result:
        running = asyncio.get_running_loop().run_in_executor(self.workers, job, *arguments)
        try:
            while not running.done():
                await asyncio.wait([running], timeout=_POLL_SECONDS)
                if await request.is_disconnected():
                    stop.set()
        finally:
            stop.set()  # before the folder goes
            await asyncio.wait([running])
        return running.result()

    def close(self) -> None:
        """Stop all work."""
        for stop in tuple(self.stops):
            stop.set()
        self.workers.shutdown(cancel_futures=True)


def make_app(
    model: Recognizer,
    limits: ServeLimits | None = None,
    *,
    token: str | None = None,
    hosts: Iterable[str] = LOOPBACK,
    origins: Iterable[str] = (),
) -> FastAPI:
    """The page and the API of one model.

    Args:
        token: visitors must give it; None: anybody may come in.
        hosts: the names under which it answers (`*`: any), so that no foreign page can reach a
            server on loopback by a name of its own.
        origins: of pages that may use it beside its own, as `https://example.com`: its own,
            where a proxy hands on another `Host` than its visitors see.

    Raises:
        ConfigError: a host or an origin is none.
    """
    limits = limits or ServeLimits()
    worker.prepare()
    desk = Desk(model, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title="actionrnn",
        version=__version__,
        description="Video action recognition.",
        docs_url=None,  # its page would come from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.router.route_class = _OneFileRoute
    app.add_middleware(Guard, limits=limits, token=token, names=Names.of(hosts, origins))
    app.add_exception_handler(AnyHTTPException, _say)
    app.add_exception_handler(RequestValidationError, _say_invalid)
    app.add_exception_handler(Exception, _say_broken)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    _add_routes(app, desk)
    return app


class _OneFileRequest(Request):
    """Reads one file, and not a thousand small ones into memory."""

    def form(self, **_: Any) -> Any:
        return super().form(max_files=1, max_fields=4, max_part_size=10_000)


class _OneFileRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_one_file(request: Request) -> Response:
            return await handle(_OneFileRequest(request.scope, request.receive))

        return handle_one_file


def _add_routes(app: FastAPI, desk: Desk) -> None:
    model, limits = desk.model, desk.limits

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/health")
    def health() -> dict[str, str]:
        """Whether it runs, and which version."""
        return {"status": "ok", "version": __version__}

    @app.get("/labels")
    def labels() -> dict[str, Any]:
        """The labels, in the order of the scores, and how often a webcam's pictures are looked at.

        `rate_fps` is null where the model sees every frame; `can_stream` is false where it needs
        the whole clip.
        """
        sampling = model.config.sampling
        return {
            "labels": model.labels,
            "rate_fps": sampling.rate_fps,
            "can_stream": sampling.num_frames is None,
            "limits": {"upload_mb": limits.upload_mb, "video_seconds": limits.video_seconds},
        }

    @app.post("/classify")
    async def classify(
        request: Request, file: UploadFile, top: Annotated[int, Query(ge=1)] = 5
    ) -> JSONResponse:
        """The action of one video: `label`, and the best labels with their scores."""
        return JSONResponse((await desk.work(request, file, analyse, model)).summary(top))

    @app.post("/timeline")
    async def timeline(
        request: Request,
        file: UploadFile,
        format: TimelineFormat = "json",
        top: Annotated[int, Query(ge=1)] = 5,
    ) -> Response:
        """When which action happens: segments, and the scores at every step.

        `all` is JSON with the answer for the whole video (`prediction`) and the other formats as
        texts (`files`) beside it.
        """
        text = await desk.work(request, file, _timeline, model, format, top)
        return PlainTextResponse(text, media_type=_KINDS.get(format, "application/json"))

    @app.post("/playable", response_class=Response)
    async def playable(request: Request, file: UploadFile) -> Response:
        """The video as an .mp4 file that browsers play, without its sound."""
        content = await desk.work(request, file, make_playable)
        return Response(content, media_type="video/mp4")

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await follow_webcam(websocket, model, limits)


def _timeline(upload: Upload, model: Recognizer, format: TimelineFormat, top: int) -> str:
    """In the formats of files; among the videos in work until it is written."""
    answer = analyse(upload, model)
    found = answer.timeline
    segments = found.segments()
    if format != "all":
        return FORMATS[f".{format}"](found, segments)
    files = {kind: FORMATS[f".{kind}"](found, segments) for kind in _KINDS}
    whole = json.loads(FORMATS[".json"](found, segments))
    return json.dumps(whole | {"prediction": answer.summary(top), "files": files})


def _copy(file: UploadFile, path: Path) -> None:
    with path.open("wb") as copy:
        shutil.copyfileobj(file.file, copy, 2**20)
    file.file.close()


async def _say(_: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _say_broken(_: Request, error: Exception) -> Response:
    """What the log tells in full."""
    text = "the server failed on this request; its log says why"
    return JSONResponse({"error": text}, 500, HEADERS)


async def _say_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    text = f"{place}: {first['msg']}; send the video as `-F file=@clip.mp4`"
    return JSONResponse({"error": text}, 422)
