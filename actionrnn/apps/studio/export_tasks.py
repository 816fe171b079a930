"""Exports of a model as tasks of a worker: they need torch, which the server does without."""

from __future__ import annotations

import threading
from pathlib import Path

from actionrnn.apps.export import export
from actionrnn.apps.studio.worker import Report
from actionrnn.errors import ModelError


def onnx(model: Path, folder: Path, *, stop: threading.Event, report: Report) -> None:
    """`actionrnn export MODEL`."""
    export(model, folder)


def web(model: Path, folder: Path, *, stop: threading.Event, report: Report) -> None:
    """`actionrnn export MODEL --web`."""
    raise ModelError("this version cannot make a static page yet")
