"""A studio in a thread, on a project of the squares' videos."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.serving.server import make_server, open_port
from actionrnn.apps.studio.app import make_studio
from actionrnn.apps.studio.jobs import Tasks
from actionrnn.apps.studio.project import Project
from actionrnn.apps.studio.project_file import Label
from tests.apps.serving import PATIENT

HERE = "tests.apps.studio.tasks:"
NO_WORK = Tasks(f"{HERE}extract_nothing", f"{HERE}prepare", f"{HERE}teach_nothing")
LABELS = (Label("red", "1", "#cc0000"), Label("blue", "2", "#0000cc"))


@dataclass(frozen=True)
class Studio:
    """A running one, and a client of it."""

    address: str
    project: Project
    client: httpx.Client

    def get(self, path: str, **kwargs: Any) -> Any:
        """The JSON of an answer that is no error."""
        return self._answer("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> Any:
        """Likewise."""
        return self._answer("POST", path, json=json, **kwargs)

    def _answer(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self.client.request(method, path, **kwargs)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def videos(self) -> dict[str, dict[str, Any]]:
        """By name."""
        return {video["name"]: video for video in self.get("/api/project")["videos"]}

    def wait(self, holds: Callable[[dict[str, Any]], bool], seconds: float = 90) -> dict[str, Any]:
        """The project, once something is true of it."""
        end = time.monotonic() + seconds
        while not holds(project := self.get("/api/project")):
            assert time.monotonic() < end, json.dumps(project, indent=1)
            time.sleep(0.05)
        return dict(project)

    def wait_ready(self) -> dict[str, Any]:
        """The project, once all features are there."""
        return self.wait(lambda p: all(v["state"] == "ready" for v in p["videos"]))


def make_project(folder: Path, clips: Path, names: tuple[str, ...] = ("red", "blue")) -> Project:
    """A project of the clips of some colours, with nothing marked."""
    project = Project.create(folder, labels=LABELS)
    for name in names:
        for clip in sorted((clips / name).iterdir()):
            shutil.copy(clip, folder / "videos" / clip.name)
    return project


@contextlib.contextmanager
def studio_of(
    project: Project,
    limits: ServeLimits | None = None,
    token: str | None = None,
    tasks: Tasks = NO_WORK,
    port: int = 0,
) -> Iterator[Studio]:
    """Serve a project for the block; on any port, or on one that a page knows."""
    limits = limits or ServeLimits()
    with open_port("127.0.0.1", port) as opened:
        app = make_studio(project, limits, token=token, tasks=tasks)
        server = make_server(app, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        address = f"http://127.0.0.1:{opened.getsockname()[1]}"
        try:
            while not server.started:
                time.sleep(0.01)
            with httpx.Client(base_url=address, **PATIENT) as client:
                yield Studio(address, project, client)
        finally:
            server.should_exit = True
            thread.join()
