"""Training and scoring, in the background."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actionrnn.apps.studio.jobs import Job, Kind, Notices, Tasks
from actionrnn.apps.studio.worker import Worker, WorkerDiedError, WorkFailedError
from actionrnn.files import write_text

TRAINING_MARK = ".cache/training"
"""Of the project: a training has begun and has not ended."""
_BEFORE_TRAINING = "the training begins"


class Training:
    """Trains when it is asked to, and scores afterwards, in a thread and a warm process.

    Args:
        folder: of the project.
        tasks: `teach` makes a run, and from its first report of the kind `score` on there is a
            new model; `prepare` is called ahead of it.
        arguments: of both.
        notices: is told of failures, and of a training that is begun anew.
    """

    def __init__(
        self, folder: Path, tasks: Tasks, arguments: Sequence[Any], notices: Notices
    ) -> None:
        self._tasks, self._arguments, self._notices = tasks, arguments, notices
        self._worker = Worker(tasks.teach)
        self._mark = folder / TRAINING_MARK
        self._job: Job | None = None
        self._is_wanted = self._is_closing = False
        self._stop, self._wake = threading.Event(), threading.Event()
        self._mutex = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)

    def start(self) -> None:
        """Import what training needs, ahead of the first; begin an interrupted one anew."""
        if self._mark.exists():
            self._notices.add("the training was interrupted when the server ended; it begins anew")
            self.train()
        self._thread.start()

    def close(self) -> None:
        """Stop now; what is not done begins anew at the next start."""
        self._is_closing = True
        self._stop.set()
        self._wake.set()
        self._worker.close()
        if self._thread.ident is not None:
            self._thread.join()

    def train(self) -> Job:
        """Train with the marks of now; a scoring that is under way ends."""
        with self._mutex:
            job = self._job
            if job is not None and job.kind == "train" and not self._stop.is_set():
                return job
            with contextlib.suppress(OSError):  # a full disk: the training itself will say it
                write_text(self._mark, "")
            self._is_wanted = True
            if job is not None:
                self._stop.set()
            self._job = job = Job("train", text=_BEFORE_TRAINING)
        self._wake.set()
        return job

    def stop(self) -> None:
        """Give up the training or the scoring; the models so far stay."""
        with self._mutex:
            self._is_wanted = False
            self._mark.unlink(missing_ok=True)
            if self._job is not None:
                self._stop.set()

    def jobs(self) -> list[Job]:
        """The one that is in work."""
        job = self._job
        return [] if job is None else [job]

    def _run(self) -> None:
        with contextlib.suppress(WorkFailedError, WorkerDiedError):  # the first training says so
            task, never = self._tasks.prepare, threading.Event()
            self._worker.run(task, *self._arguments, stop=never, report=lambda **_: None)
        while not self._is_closing:
            with self._mutex:
                is_wanted, self._is_wanted = self._is_wanted, False
                self._stop.clear()
                self._job = Job("train", text=_BEFORE_TRAINING) if is_wanted else None
            if is_wanted:
                self._train()
            else:
                self._wake.wait()
                self._wake.clear()

    def _train(self) -> None:
        try:
            self._worker.run(
                self._tasks.teach, *self._arguments, stop=self._stop, report=self._report
            )
        except (WorkFailedError, WorkerDiedError) as error:
            if not self._stop.is_set():
                self._notices.add(f"the training: {error}", is_problem=True)
        self._end_training()

    def _report(self, progress: float, text: str = "", kind: Kind = "train") -> None:
        if kind == "score":
            self._end_training()
        with self._mutex:
            if not self._is_wanted:
                self._job = Job(kind, None, progress, text)

    def _end_training(self) -> None:
        with self._mutex:
            if not (self._is_closing or self._is_wanted):
                self._mark.unlink(missing_ok=True)
