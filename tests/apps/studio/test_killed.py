"""`actionrnn studio` as a person starts it: killed in the middle of work, it loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from tests.apps.serving import PATIENT
from tests.apps.studio.studios import make_project
from tests.apps.test_cli import run_command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@dataclass
class Server:
    """`actionrnn studio` in a process."""

    process: subprocess.Popen[str]
    client: httpx.Client

    def project(self) -> dict[str, Any]:
        """As the page gets it."""
        return dict(self.client.get("/api/project").raise_for_status().json())

    def wait(self, holds: Callable[[dict[str, Any]], Any], seconds: float = 180) -> dict[str, Any]:
        """The project, once something is true of it."""
        end = time.monotonic() + seconds
        while not holds(project := self.project()):
            assert time.monotonic() < end, project
            time.sleep(0.03)
        return project

    def kill(self) -> None:
        """SIGKILL; the processes beside it end by themselves."""
        beside = _children(self.process.pid)
        assert beside
        self.process.kill()
        self.process.wait(30)
        end = time.monotonic() + 30
        while any(map(_is_running, beside)):
            assert time.monotonic() < end, "a process went on alone"
            time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [
        int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in _read(task / "children")
    ]


def _read(file: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return file.read_text().split()
    return []


def _is_running(pid: int) -> bool:
    status = _read(Path(f"/proc/{pid}/stat"))
    return bool(status) and status[2] != "Z"


@contextlib.contextmanager
def served(folder: Path, *options: str) -> Iterator[Server]:
    """Start it for the block; what is left of it then is killed."""
    command = [sys.executable, "-m", "actionrnn", "studio", str(folder), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*command, "--no-browser", *options], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("serving on http"), said
        with httpx.Client(base_url=said.split()[2], **PATIENT) as client:
            yield Server(process, client)
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def encode_long(path: Path, seconds: int) -> None:
    """Noise of 12 pictures a second."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for _ in range(12 * seconds):
            picture = rng.integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def states(project: dict[str, Any]) -> dict[str, str]:
    return {video["name"]: video["state"] for video in project["videos"]}


def test_killed_while_it_extracts_and_while_it_trains(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    make_project(folder, clips).close()
    encode_long(folder / "videos" / "long.avi", 80)

    with served(folder) as server:
        some_ready = lambda p: "ready" in states(p).values()  # noqa: E731
        killed_at = states(server.wait(some_ready))
        assert killed_at["long.avi"] != "ready"
        server.kill()
    kept = {path: path.stat().st_mtime_ns for path in (folder / "features").rglob("*.safetensors")}
    assert kept

    with served(folder) as server:
        project = server.wait(lambda p: p["notices"])
        assert "were not done when the server ended" in project["notices"][0]["text"]
        server.wait(lambda p: set(states(p).values()) == {"ready"})
        assert {path: path.stat().st_mtime_ns for path in kept} == kept
        ops, marks = [], {}
        for video in project["videos"]:
            label = "red" if "red" in video["name"] else "blue"
            ops = [{"op": "add", "label": label, "start": 0.0, "end": 1.0}]
            answer = server.client.post(f"/api/videos/{video['id']}/changes", json={"ops": ops})
            marks[video["id"]] = answer.raise_for_status().json()["marks"]
        assert server.client.post("/api/train").status_code == 202
        server.wait(lambda p: [j for j in p["jobs"] if j["kind"] == "train" and j["progress"] > 0])
        server.kill()

    with served(folder) as server:
        project = server.wait(lambda p: p["notices"])
        assert project["notices"][0]["text"] == (
            "the training was interrupted when the server ended; it begins anew"
        )
        assert set(states(server.wait(lambda p: p["model"])).values()) == {"ready"}
        for video_id, before in marks.items():
            assert server.client.get(f"/api/videos/{video_id}/marks").json()["marks"] == before
        assert server.project()["model"]["labels"] == ["blue", "red"]
        timeline = server.client.get(f"/api/videos/{video_id}/timeline").raise_for_status().json()
        assert len(timeline["times"]) == len(timeline["scores"][0]) > 0
        # the server answers all of this without torch
        assert "libtorch" not in Path(f"/proc/{server.process.pid}/maps").read_text()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
    with served(folder) as server:  # what Ctrl-C ended was a scoring: nothing begins anew
        assert server.project()["notices"] == [] and server.project()["model"]


def test_a_project_is_open_once(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    with served(folder):
        assert (folder / "project.yaml").exists()
        second = run_command("studio", folder, "--port", "0", "--no-browser")
        assert second.exit_code == 1
        assert second.stderr == (
            f"error: {folder}: is open in another studio; use that one, or end it first\n"
        )


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--videos", "nosuch"], "nosuch"),
        (["--upload-mb", "-1"], "upload_mb"),
        (["--token", ""], "--token is empty"),
        (["--allow-origin", "x"], "is not an origin"),
    ],
)
def test_options_are_checked_before_anything_starts(
    tmp_path: Path, options: list[str], part: str
) -> None:
    answer = run_command("studio", tmp_path / "p", "--no-browser", "--port", "0", *options)
    assert answer.exit_code in (1, 2) and part in answer.stderr
    assert "Traceback" not in answer.stderr
