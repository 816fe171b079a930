"""Who may send requests, under which host names, from which pages, and how large."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.errors import ConfigError
from actionrnn.text import plain

LOOPBACK = ("127.0.0.1", "::1", "localhost")
ANY_HOST = "*"

RESPONSE_HEADERS = {
    "content-security-policy": "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the address may hold the token
    "cache-control": "no-cache",
}

_OPEN_PATHS = ("/", "/health")  # without a token, as all below the following
_OPEN_PREFIX = "/page/"
_RETRY_SECONDS = 5
_CLOSE_CONNECTION = {"connection": "close"}  # do not wait for the rest of the upload
_DEFAULT_PORTS = {"http": 80, "https": 443}

# close codes of RFC 6455 and its registry, and the longest reason that it allows
_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013
_MAX_REASON_BYTES = 123

Origin = tuple[str, str, int | None]
"""Scheme, host and port; the scheme's default port is filled in."""


@dataclass(frozen=True)
class AllowedNames:
    """What the `Host` and `Origin` headers of a request may be."""

    hosts: frozenset[str]
    """Normalised host names without a port; `ANY_HOST` allows every host."""
    origins: frozenset[Origin]
    """Of pages that may send requests, besides the pages of the request's own host."""

    @classmethod
    def parse(cls, hosts: Iterable[str], origins: Iterable[str] = ()) -> AllowedNames:
        """Read names as a person writes them.

        Args:
            hosts: such as `example.com`, `127.0.0.1` or `::1`, without a port; `*` for any.
            origins: such as `https://example.com` or `https://example.com:8443`.

        Raises:
            ConfigError: a name is not a host, or not an origin.
        """
        return cls(frozenset(map(_parse_host, hosts)), frozenset(map(_parse_origin, origins)))

    def refusal(self, headers: Headers) -> tuple[int, str] | None:
        """The HTTP status and the reason if a request is refused by its headers, else None."""
        host_header = headers.get("host", "")
        host_and_port = _split_host(host_header)
        host = host_and_port[0] if host_and_port else ""
        if ANY_HOST not in self.hosts and host not in self.hosts:
            remedy = f"; allow it with --allow-host {plain(host)}" if host else ""
            return 400, f"'{plain(host_header)}' is not a name of this server{remedy}"
        origin_header = headers.get("origin")
        if origin_header is None:
            return None
        origin = _split_origin(origin_header)
        if origin is not None:
            own = _fill_in_port(host_and_port, origin[0])
            if origin in self.origins or origin[1:] == own:
                return None
        remedy = f"; allow it with --allow-origin {plain(origin_header)}" if origin else ""
        reason = f"the page '{plain(origin_header)}' does not belong to this server"
        return 403, f"{reason}, '{plain(host_header)}'{remedy}"


def hosts_of(host: str, address: str) -> tuple[str, ...]:
    """The host names of a server that was told to listen on `host` and listens on `address`.

    On loopback only its own, so that a foreign page cannot reach it by a DNS name that resolves
    to loopback (DNS rebinding); on a network any.
    """
    if not ipaddress.ip_address(address).is_loopback:
        return (ANY_HOST,)
    return host, address, "localhost"


def _parse_host(text: str) -> str:
    is_bare_ipv6 = text.count(":") > 1 and "[" not in text
    found = _split_host(f"[{text}]" if is_bare_ipv6 else text)
    if found is None:
        raise ConfigError(f"--allow-host {text}: is not a host name; write example.com")
    return found[0]


def _parse_origin(text: str) -> Origin:
    origin = _split_origin(text.removesuffix("/"))
    if origin is None:
        raise ConfigError(f"--allow-origin {text}: is not an origin; write https://example.com")
    return origin


def _split_origin(text: str) -> Origin | None:
    """Scheme, host and port of an `Origin` header; None if it is not one."""
    scheme, separator, host = text.partition("://")
    found = _split_host(host)
    if not scheme or not separator or found is None:
        return None
    return scheme.lower(), *_fill_in_port(found, scheme.lower())


def _fill_in_port(found: tuple[str, int | None] | None, scheme: str) -> tuple[str, int | None]:
    host, port = found or ("", None)
    return host, _DEFAULT_PORTS.get(scheme) if port is None else port


def _split_host(text: str) -> tuple[str, int | None] | None:
    """`Example.com.:443` -> (`example.com`, 443); None if it is not a host and port."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.netloc != text or parts.username is not None:
        return None
    host = host.removesuffix(".")
    try:
        return ipaddress.ip_address(host).compressed, port
    except ValueError:  # a name, not an address
        return host, port


class Guard:
    """ASGI middleware: refuses requests before they are read, and bounds those that are read.

    Args:
        app: the application behind it.
        limits: the size and time of an upload, and the number of requests and webcams at once.
        token: what requests must carry, except for the page itself and `/health`; None: nothing.
        names: the hosts and origins that are allowed.
    """

    def __init__(
        self, app: ASGIApp, limits: ServeLimits, token: str | None, names: AllowedNames
    ) -> None:
        self.app, self.limits, self.token, self.names = app, limits, token, names
        self.num_active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with a reason."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
            return
        if not _is_counted(scope):
            await self.app(scope, receive, send)
            return
        self.num_active += 1
        try:
            bounded = self._bounded(receive) if scope["type"] == "http" else receive
            await self.app(scope, bounded, send)
        finally:
            self.num_active -= 1

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers, path = Headers(scope=scope), scope["path"]
        refusal = self.names.refusal(headers)
        if refusal is not None:
            return refusal
        if path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX):
            return None
        if not self._has_token(scope, headers):
            reason = "a token is needed: open ?token=TOKEN, or send it as `Authorization: Bearer`"
            return 401, reason
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.limits.upload_bytes:
            return 413, self._too_large()
        if _is_counted(scope) and self.num_active >= self.limits.visitors:
            most = self.limits.visitors
            return 503, f"the server is busy (requests and webcams: {most}); try again in a moment"
        return None

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            given = query.get("token", [""])[0]
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _bounded(self, receive: Receive) -> Receive:
        """`receive`, ended when the upload has too many bytes or takes too long."""
        num_bytes = 0
        is_complete = False
        deadline = anyio.current_time() + self.limits.upload_seconds

        async def bounded() -> Message:
            nonlocal num_bytes, is_complete
            if is_complete:  # from now on it only waits for the client to disconnect
                return await receive()
            with anyio.move_on_after(deadline - anyio.current_time()):
                message = await receive()
                num_bytes += len(message.get("body", b""))
                is_complete = not message.get("more_body", False)
                if num_bytes > self.limits.upload_bytes:
                    raise HTTPException(413, self._too_large(), _CLOSE_CONNECTION)
                return message
            reason = f"the upload took over {self.limits.upload_seconds:g} s"
            raise HTTPException(408, reason, _CLOSE_CONNECTION)

        return bounded

    def _too_large(self) -> str:
        return f"the upload is larger than {self.limits.upload_mb:g} MB; cut or convert the video"


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in RESPONSE_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _is_counted(scope: Scope) -> bool:
    """Whether it counts against `ServeLimits.visitors`: webcams do, and what may have a body."""
    return scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD")


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # the request to connect
        await send({"type": "websocket.accept"})  # else the browser does not see the reason
        code = _TRY_AGAIN_LATER if status == 503 else _POLICY_VIOLATION
        short = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        await send({"type": "websocket.close", "code": code, "reason": short})
        return
    headers: dict[str, Any] = dict(_CLOSE_CONNECTION)
    headers |= {"retry-after": str(_RETRY_SECONDS)} if status == 503 else {}
    headers |= {"www-authenticate": "Bearer"} if status == 401 else {}
    await JSONResponse({"error": reason}, status, headers)(scope, receive, send)
