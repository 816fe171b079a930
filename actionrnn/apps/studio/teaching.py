"""Training and scoring as a task of a worker; importing it takes seconds, as it imports torch."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path

from actionrnn.apps.studio import learning
from actionrnn.apps.studio.project import Project
from actionrnn.apps.studio.worker import Report


def teach(
    folder: Path, videos_folders: Sequence[Path], *, stop: threading.Event, report: Report
) -> str:
    """Train a model with a project's marks, then score it; a task of a `Worker`.

    From the first report of the kind `score` on the model is there.

    Returns:
        The name of the run.

    Raises:
        ActionrnnError: it cannot be trained, or `stop` was set.
    """
    with Project.open(folder, videos_folders, read_only=True) as project:
        taught = learning.teach(project, stop, report)
        scoring = functools.partial(report, kind="score")
        scoring(0.0, "")
        for _ in learning.score(taught, stop, scoring):
            continue
    return taught.model_path.parent.name
