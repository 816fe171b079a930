"""A web server on this machine that misbehaves as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Site:
    """One file on a server, and what happens to each request for it, in order."""

    content: bytes
    etag: str | None = '"v1"'
    cut_after: list[int] = field(default_factory=list)
    """The next responses end after so many bytes of their body."""
    statuses: list[int] = field(default_factory=list)
    """The next requests are answered with these."""
    knows_ranges: bool = True
    honours_if_range: bool = True
    tells_length: bool = True
    requests: list[tuple[str | None, str | None]] = field(default_factory=list)
    """Range and If-Range of each request."""
    url: str = ""

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        wanted, condition = request.headers.get("Range"), request.headers.get("If-Range")
        self.requests.append((wanted, condition))
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        begin = 0
        same = condition == self.etag or not self.honours_if_range
        if wanted and self.knows_ranges and same:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if begin and begin >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.end_headers()
            return
        body = self.content[begin:]
        request.send_response(206 if begin else 200)
        if self.tells_length:
            request.send_header("Content-Length", str(len(body)))
        if begin:
            end = len(self.content) - 1
            request.send_header("Content-Range", f"bytes {begin}-{end}/{len(self.content)}")
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        request.wfile.write(body[: self.cut_after.pop(0)] if self.cut_after else body)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server of 300,000 bytes at `site.url`; it stops with the test."""
    monkeypatch.setenv("no_proxy", "*")
    site = Site(content=bytes(index * index % 251 for index in range(300_000)))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.handle(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/file.bin"
    yield site
    server.shutdown()
    server.server_close()
    thread.join()
