"""What is done in the background, as the page shows it.

Everything that is kept is on the disk: what was interrupted, by Ctrl-C or by a kill, is taken up
again when the project is opened the next time. Features are kept video by video; a training begins
anew, as it takes seconds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from actionrnn.apps.studio.extraction import EXTRACT
from actionrnn.apps.studio.worker import Task

Kind = Literal["extract", "train", "score", "convert"]


@dataclass(frozen=True)
class Tasks:
    """What the studio has done by processes beside it."""

    extract: Task = EXTRACT
    """Computes features, as `extraction.extract`."""
    prepare: Task = "actionrnn.apps.studio.teaching:prepare"
    """Loads what the first training would wait for."""
    teach: Task = "actionrnn.apps.studio.teaching:teach"
    """Trains and scores, as `teaching.teach`."""


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


@dataclass
class Notices:
    """What happened in the background and should be read: by number, the newest last."""

    said: list[dict[str, Any]] = field(default_factory=list)
    _number: int = 0

    def add(self, text: str, *, is_problem: bool = False) -> None:
        """Say something; the oldest is forgotten."""
        self._number += 1
        new = {"id": self._number, "text": text, "is_problem": is_problem}
        self.said = [*self.said, new][-5:]
