"""Before a request is read: may this visitor come in, is there a place, is it small enough?"""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import parse_qs

import anyio
from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.serving.names import Names

OPEN_PATHS = ("/", "/health")
PAGE_PREFIX = "/page/"
RETRY_SECONDS = 5
_HANG_UP = {"connection": "close"}  # what still comes is not waited for
# close codes of RFC 6455 and its registry
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013
_MOST_REASON_BYTES = 123

HEADERS = {
    "content-security-policy": "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the address may hold the token
    "cache-control": "no-cache",
}
"""Of every answer."""


class Guard:
    """Wraps the application; counts the visitors inside."""

    def __init__(self, app: ASGIApp, limits: ServeLimits, token: str | None, names: Names) -> None:
        self.app, self.limits, self.token, self.names = app, limits, token, names
        self.num_inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or say why not."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        problem = self._problem(scope)
        if problem is not None:
            await _refuse(scope, receive, send, *problem)
            return
        if not _takes_a_place(scope):
            await self.app(scope, receive, send)
            return
        self.num_inside += 1
        try:
            bounded = self._bounded(receive) if scope["type"] == "http" else receive
            await self.app(scope, bounded, send)
        finally:
            self.num_inside -= 1

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        headers, path = Headers(scope=scope), scope["path"]
        problem = self.names.problem(headers)
        if problem is not None:
            return problem
        if path in OPEN_PATHS or path.startswith(PAGE_PREFIX):
            return None
        if not self._is_known(scope, headers):
            return (
                401,
                "a token is needed: open ?token=TOKEN, or send it as `Authorization: Bearer`",
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.limits.upload_bytes:
            return 413, self._too_large()
        if _takes_a_place(scope) and self.num_inside >= self.limits.visitors:
            return 503, f"all {self.limits.visitors} places are taken; try again in a moment"
        return None

    def _is_known(self, scope: Scope, headers: Headers) -> bool:
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            given = query.get("token", [""])[0]
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _bounded(self, receive: Receive) -> Receive:
        """Counts the bytes as they come, and the time until the last."""
        received = 0
        is_whole = False
        deadline = anyio.current_time() + self.limits.upload_seconds

        async def bounded() -> Message:
            nonlocal received, is_whole
            if is_whole:  # then it is asked whether the visitor is still there
                return await receive()
            with anyio.move_on_after(deadline - anyio.current_time()):
                message = await receive()
                received += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if received > self.limits.upload_bytes:
                    raise HTTPException(413, self._too_large(), _HANG_UP)
                return message
            raise HTTPException(
                408, f"the upload took over {self.limits.upload_seconds:g} s", _HANG_UP
            )

        return bounded

    def _too_large(self) -> str:
        return f"the upload is larger than {self.limits.upload_mb:g} MB; cut or convert the video"


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _takes_a_place(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope.get("method") == "POST"


async def _refuse(scope: Scope, receive: Receive, send: Send, code: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # the visitor's wish to connect
        await send({"type": "websocket.accept"})
        close = TRY_AGAIN_LATER if code == 503 else POLICY_VIOLATION
        short = reason.encode()[:_MOST_REASON_BYTES].decode(errors="ignore")
        await send({"type": "websocket.close", "code": close, "reason": short})
        return
    headers: dict[str, Any] = dict(_HANG_UP)
    headers |= {"retry-after": str(RETRY_SECONDS)} if code == 503 else {}
    headers |= {"www-authenticate": "Bearer"} if code == 401 else {}
    await JSONResponse({"error": reason}, code, headers)(scope, receive, send)
