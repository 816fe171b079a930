"""A receiver of webhooks on loopback."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came in, in its order."""

    port: int
    posts: list[Any] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?to=me"


@contextlib.contextmanager
def receiving(answer: Callable[[int], int] = lambda number: 200) -> Iterator[Receiver]:
    """Receive until the block ends.

    Args:
        answer: the status of the n-th post, from 1 on; it may wait.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            receiver.headers.append(self.headers)
            receiver.paths.append(self.path)
            status = answer(len(receiver.posts))
            with contextlib.suppress(OSError):  # the sender may have left
                self.send_response(status)
                self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
