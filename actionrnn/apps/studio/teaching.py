"""Training and scoring as a task of a worker; importing it takes seconds, as it imports torch."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actionrnn.apps.studio.extraction import key_of, loaded_backbone
from actionrnn.apps.studio.learning import OnProgress
from actionrnn.apps.studio.learning import teach as learn_marks
from actionrnn.apps.studio.models import TAUGHT_FILE
from actionrnn.apps.studio.project_file import ANNOTATIONS_FILE, project_config
from actionrnn.apps.studio.scores import score
from actionrnn.apps.studio.videos import video_id
from actionrnn.apps.studio.worker import Report
from actionrnn.config import Config
from actionrnn.datasets.annotations.intervals_csv import read_intervals_csv
from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.files import write_text


@dataclass(frozen=True)
class _Project:
    """What training needs of a project, read from its files: the server alone has it open."""

    folder: Path

    def config(self) -> Config:
        return project_config(self.folder)


def teach(folder: Path, *, stop: threading.Event, report: Report) -> str:
    """Train a model with a project's marks, then score it; a task of a `Worker`.

    From the first report of the kind `score` on the model is there.

    Returns:
        The name of the run.

    Raises:
        ActionrnnError: it cannot be trained, or `stop` was set.
    """
    project = _Project(folder)
    config = project.config()
    taught = learn_marks(project, stop, _telling(report), loaded_backbone(config.backbone))
    described = {"seconds": taught.seconds, "notes": taught.notes}
    write_text(taught.model_path.with_name(TAUGHT_FILE), json.dumps(described))
    report(0.0, kind="score")
    names = read_intervals_csv(folder / ANNOTATIONS_FILE, ReadOptions()).videos
    ids = {key_of(folder, name): video_id(name) for name in names}
    for _ in score(taught, stop, _telling(functools.partial(report, kind="score")), ids):
        continue
    return taught.run


def _telling(report: Callable[..., None]) -> OnProgress:
    def tell(text: str, progress: float) -> None:
        report(progress, text)

    return tell
