"""Exports of a model, each made in a process of its own while its visitor waits."""

from __future__ import annotations

import threading
from typing import Any

from actionrnn.apps.studio.jobs import Job, Kind
from actionrnn.apps.studio.worker import Task, Worker


class Exports:
    """Makes one export at a time: each takes the memory of torch, and all cores for a minute."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._jobs: dict[Worker, Job] = {}

    def close(self) -> None:
        """End what is being made; whoever waits for it is told."""
        for worker in list(self._jobs):
            worker.close()

    def make(self, kind: Kind, task: Task, *arguments: Any) -> None:
        """Make one; returns when it is there.

        Args:
            kind: which one it is, for the page.
            task: see `Task`.
            *arguments: of it.

        Raises:
            WorkFailedError: with the task's reason.
            WorkerDiedError: its process or the studio ended.
        """
        worker = Worker(task)

        def report(progress: float, text: str = "") -> None:
            self._jobs[worker] = Job(kind, None, progress, f"export: {text}")

        report(0.0, "waiting for another one")
        try:
            with self._turn:
                report(0.0, "starting")
                worker.run(task, *arguments, stop=threading.Event(), report=report)
        finally:
            worker.close()
            del self._jobs[worker]

    def jobs(self) -> list[Job]:
        """Those that wait or are in work."""
        return list(self._jobs.values())
