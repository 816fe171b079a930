"""A server in a thread, as uvicorn runs it; it ends with the tests."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from actionrnn.apps.serving.app import make_app
from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.serving.server import make_server, open_port
from actionrnn.model.recognizer import Recognizer

PATIENT: dict[str, Any] = {"timeout": 60, "verify": False}
"""Of requests; to read certificates, which loopback has none of, takes longer than an answer."""


@dataclass(frozen=True)
class Running:
    """A server on loopback."""

    address: str
    app: Any

    def post(self, path: str, file: Path, **kwargs: Any) -> httpx.Response:
        """Upload a file."""
        with file.open("rb") as opened:
            files = {"file": (file.name, opened)}
            return httpx.post(f"{self.address}{path}", files=files, **PATIENT, **kwargs)

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        """Ask."""
        return httpx.get(f"{self.address}{path}", **PATIENT, **kwargs)


@contextlib.contextmanager
def running(
    model: Recognizer,
    limits: ServeLimits | None = None,
    token: str | None = None,
    **names: Any,
) -> Iterator[Running]:
    """Serve a model for the block."""
    limits = limits or ServeLimits()
    with open_port("127.0.0.1", 0) as opened:
        app = make_app(model, limits, token=token, **names)
        server = make_server(app, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield Running(f"http://127.0.0.1:{opened.getsockname()[1]}", app)
        finally:
            server.should_exit = True
            thread.join()
