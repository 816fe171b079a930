"""What is done in the background, as the page shows it.

Everything that is kept is on the disk: what was interrupted, by Ctrl-C or by a kill, is taken up
again when the project is opened the next time. Features are kept video by video; a training begins
anew, as it takes seconds.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from actionrnn.apps.studio.extraction import EXTRACT
from actionrnn.apps.studio.worker import Task

Kind = Literal["extract", "train", "score", "convert", "onnx", "web"]
MOST_NOTICES = 5
"""That are kept: a page asks each second, and shows all of them when it is opened."""


@dataclass(frozen=True)
class Tasks:
    """What the studio has done by processes beside it."""

    extract: Task = EXTRACT
    """Computes features, as `extraction.extract`."""
    prepare: Task = "actionrnn.apps.studio.teaching:prepare"
    """Loads what the first training would wait for."""
    teach: Task = "actionrnn.apps.studio.teaching:teach"
    """Trains and scores, as `teaching.teach`."""
    onnx: Task = "actionrnn.apps.studio.export_tasks:onnx"
    web: Task = "actionrnn.apps.studio.export_tasks:web"
    """Export a model, as `export_tasks.web`."""


@dataclass(frozen=True)
class Job:
    """Something that is done now, as the page shows it."""

    kind: Kind
    video: str | None = None
    """The id of the video that it is about."""
    progress: float = 0.0
    text: str = ""


def jobs_json(jobs: list[Job]) -> list[dict[str, Any]]:
    """As the page gets them."""
    return [asdict(replace(job, progress=round(job.progress, 3))) for job in jobs]


class Notices:
    """What happened in the background and should be read; threads may say it at once."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._number = 0
        self._said: tuple[dict[str, Any], ...] = ()

    @property
    def said(self) -> list[dict[str, Any]]:
        """By number, the newest last."""
        return list(self._said)

    def add(self, text: str, *, is_problem: bool = False) -> None:
        """Say something; the oldest is forgotten."""
        with self._mutex:
            self._number += 1
            new = {"id": self._number, "text": text, "is_problem": is_problem}
            self._said = (*self._said, new)[-MOST_NOTICES:]
