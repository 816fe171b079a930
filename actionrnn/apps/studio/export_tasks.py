"""Exports of a model as tasks of a worker: they need torch, which the server does without."""

from __future__ import annotations

import threading
from pathlib import Path

from actionrnn.apps.export import export
from actionrnn.apps.export_web import export_web
from actionrnn.apps.studio.worker import Report, telling


def onnx(
    model: Path, folder: Path, none_rate: float | None, *, stop: threading.Event, report: Report
) -> None:
    """`actionrnn export MODEL`."""
    export(model, folder, none_rate=none_rate, on_progress=telling(report))


def web(
    model: Path, folder: Path, none_rate: float | None, *, stop: threading.Event, report: Report
) -> None:
    """`actionrnn export MODEL --web`."""
    export_web(model, folder, none_rate=none_rate, on_progress=telling(report))
