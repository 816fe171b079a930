"""What every server here is made of: a guarded application whose errors are one line of JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as AnyHTTPException

from actionrnn import __version__
from actionrnn.apps.serving.access import LOOPBACK, RESPONSE_HEADERS, AllowedNames, Guard
from actionrnn.apps.serving.limits import ServeLimits

_MOST_JSON_BYTES = 4_000_000
_SEND_A_VIDEO = "; send the video as `-F file=@clip.mp4`"


def guarded_app(
    limits: ServeLimits,
    *,
    token: str | None = None,
    hosts: Iterable[str] = LOOPBACK,
    origins: Iterable[str] = (),
    **options: Any,
) -> FastAPI:
    """An application without routes, behind a `Guard`.

    A form has at most one file, a body that is no form at most 4 MB. An error is
    `{"error": "one line"}`.

    Args:
        limits: the bounds of uploads and webcams.
        token: what every request but the page's own files must carry; None: no token is needed.
        hosts: the `Host` names that it answers to, `*` for any. On loopback only its own, so
            that a foreign page cannot reach it by a DNS name that resolves to loopback.
        origins: of pages that may use it besides its own, such as `https://example.com`. Its own
            is needed here where a proxy passes another `Host` on than visitors see.
        **options: more of FastAPI's.

    Raises:
        ConfigError: a name is not a host, or not an origin.
    """
    app = FastAPI(
        version=__version__,
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        **options,
    )
    app.router.route_class = OneFileRoute
    names = AllowedNames.parse(hosts, origins)
    app.add_middleware(Guard, limits=limits, token=token, names=names)
    app.add_exception_handler(AnyHTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _server_error)
    return app


class _BoundedRequest(Request):
    """Its form holds at most one file, so that thousands of small ones do not fill the memory."""

    def form(self, **_: Any) -> Any:
        return super().form(max_files=1, max_fields=4, max_part_size=10_000)

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            content = bytearray()
            async for part in self.stream():
                content += part
                if len(content) > _MOST_JSON_BYTES:
                    most = _MOST_JSON_BYTES / 1e6
                    raise HTTPException(413, f"the request is larger than {most:g} MB")
            self._body = bytes(content)
        return self._body


class OneFileRoute(APIRoute):
    """Of a router whose forms hold at most one file."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given a bounded request."""
        handle = super().get_route_handler()

        async def handle_one_file(request: Request) -> Response:
            return await handle(_BoundedRequest(request.scope, request.receive))

        return handle_one_file


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field_name = ".".join(str(part) for part in first["loc"][1:])
    remedy = _SEND_A_VIDEO if field_name == "file" else ""
    return JSONResponse({"error": f"{field_name}: {first['msg']}{remedy}"}, 422)


async def _server_error(_: Request, error: Exception) -> Response:
    """Without the error's text, which is in the log and may name the server's files."""
    text = "the server failed on this request; its log says why"
    return JSONResponse({"error": text}, 500, RESPONSE_HEADERS)
