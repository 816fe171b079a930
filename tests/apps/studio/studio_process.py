"""`actionrnn studio` as a process of its own, which can be killed and started again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.apps.serving import PATIENT


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class StudioProcess:
    """The command on one folder; `options` such as `--videos DIR`."""

    folder: Path
    options: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    def __enter__(self) -> StudioProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it serves."""
        command = [sys.executable, "-m", "actionrnn", "studio", str(self.folder), "--no-browser"]
        command += ["--port", str(self.port), *self.options]
        root = Path(__file__).parents[3]
        environment = os.environ | {"PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if re.search(r"http://\S+", line):
                return
        self._wait()
        raise AssertionError("".join(said))

    def kill(self) -> None:
        """As a lost machine would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        self._wait()

    def _wait(self) -> None:
        assert self.process is not None
        with self.process:  # closes its pipe, and waits
            pass

    def get(self, path: str) -> Any:
        """A route's answer."""
        return httpx.get(f"{self.address}/api/{path}", **PATIENT).raise_for_status().json()

    def wait(self, holds: Callable[[dict[str, Any]], bool], seconds: float = 120) -> None:
        """Until something is true of the project."""
        end = time.monotonic() + seconds
        while not holds(project := self.get("project")):
            assert time.monotonic() < end, project
            time.sleep(0.05)
