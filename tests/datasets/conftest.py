"""A web server on this machine that misbehaves as told, and a small UCF101."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from actionrnn.datasets import ucf101, ucf101_prepare


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
def make_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Site]]:
    """Start servers of one file each; they stop with the test."""
    monkeypatch.setenv("no_proxy", "*")
    with contextlib.ExitStack() as servers:
        yield lambda content: servers.enter_context(serve(content))


@pytest.fixture
def site(make_site: Callable[[bytes], Site]) -> Site:
    """A server of 300,000 bytes."""
    return make_site(bytes(index * index % 251 for index in range(300_000)))


@contextlib.contextmanager
def serve(content: bytes) -> Iterator[Site]:
    site = Site(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.handle(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


CLASSES = {"HandstandPushups": "HandStandPushups", "YoYo": "YoYo"}
"""Folder: how its files write it."""


@dataclass
class Miniature:
    """UCF101 with 2 of its classes, 25 groups each and 4 clips a group, in its real naming."""

    names: list[str]
    """`<Class>/v_<Class>_gNN_cNN.avi`."""

    @staticmethod
    def content(name: str) -> bytes:
        """A file that says of itself how long it is; nothing in it can be decoded."""
        content = b"AVI " + name.encode()
        return b"RIFF" + len(content).to_bytes(4, "little") + content

    def lists(self) -> dict[str, str]:
        """The published files, by name, with CRLF line ends."""
        number = {label: index for index, label in enumerate(CLASSES, start=1)}
        files = {"classInd.txt": "".join(f"{n} {label}\r\n" for label, n in number.items())}
        for split in (1, 2, 3):
            tested = {f"_g{group:02d}_" for group in range(7 * split - 6, 7 * split + 1)}
            test = [name for name in self.names if any(group in name for group in tested)]
            train = [name for name in self.names if name not in test]
            files[f"testlist{split:02d}.txt"] = "".join(f"{name}\r\n" for name in test)
            files[f"trainlist{split:02d}.txt"] = "".join(
                f"{name} {number[name.partition('/')[0]]}\r\n" for name in train
            )
        return files

    def write_videos(self, root: Path) -> None:
        for name in self.names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(self.content(name))

    def write_lists(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.lists().items():
            (folder / name).write_bytes(text.encode())


@pytest.fixture
def miniature(monkeypatch: pytest.MonkeyPatch) -> Miniature:
    """What UCF101 is taken to be in this test."""
    names = [
        f"{folder}/v_{label}_g{group:02d}_c{clip:02d}.avi"
        for folder, label in CLASSES.items()
        for group in range(1, 26)
        for clip in range(1, 5)
    ]
    monkeypatch.setattr(ucf101_prepare, "NUM_CLASSES", len(CLASSES))
    monkeypatch.setattr(ucf101_prepare, "NUM_CLIPS", len(names))
    monkeypatch.setattr(ucf101, "NUM_CLIPS", len(names))
    return Miniature(names)
