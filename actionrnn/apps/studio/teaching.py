"""Training and scoring as a task of a worker; importing it takes seconds, as it imports torch."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import torch

from actionrnn.apps.studio import learning
from actionrnn.apps.studio.extraction import key_of, loaded_backbone
from actionrnn.apps.studio.models import TAUGHT_FILE
from actionrnn.apps.studio.project import Project
from actionrnn.apps.studio.scores import score
from actionrnn.apps.studio.worker import Report, telling
from actionrnn.files import write_text


def teach(
    folder: Path, videos_folders: Sequence[Path], *, stop: threading.Event, report: Report
) -> str:
    """Train a model with a project's marks, then score it; a task of a `Worker`.

    From the first report of the kind `score` on the model is there.

    Args:
        folder: of the project, which the server has open.
        videos_folders: see `Project.open`.
        stop: ends it; what was written stays.
        report: how far it is, as `report(progress, text, kind="train" or "score")`.

    Returns:
        The name of the run.

    Raises:
        ActionrnnError: it cannot be trained, or `stop` was set.
    """
    # of a small head's small batches: 2.7 s for ten minutes, where two threads, which wait for each
    # other at every step, take 4.5; the other cores are the server's
    torch.set_num_threads(1)
    with Project.open(folder, videos_folders, read_only=True) as project:
        backbone = loaded_backbone(project.config().backbone)
        taught = learning.teach(project, stop, telling(report), backbone)
        ids = {key_of(folder, video.path): video.id for video in project.videos()}
    write_text(taught.model_path.with_name(TAUGHT_FILE), json.dumps(taught.to_dict()))
    report(0.0, kind="score")
    for _ in score(taught, stop, telling(functools.partial(report, kind="score")), ids):
        continue
    return taught.run


def prepare(
    folder: Path, videos_folders: Sequence[Path], *, stop: threading.Event, report: Report
) -> None:
    """Load the project's backbone, so that the first training does not wait for it."""
    with Project.open(folder, videos_folders, read_only=True) as project:
        loaded_backbone(project.config().backbone)
