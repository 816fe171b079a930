"""Small reports, and what is shown of them on a terminal."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from actionrnn.evaluation.predict import FoldPredictions
from actionrnn.evaluation.report import Report
from actionrnn.evaluation.report_text import render_text

LABELS = ("clap", "jump", "wave")


def scored(
    name: str, answers: list[int], targets: list[int], baseline: list[int] | None = None
) -> FoldPredictions:
    one_hot = np.eye(3, dtype=np.float32)
    return FoldPredictions(
        name,
        one_hot[answers],
        np.array(targets),
        None if baseline is None else one_hot[baseline],
    )


def shown(report: Report) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(render_text(report))
    text = console.file.getvalue()
    return "\n".join(" ".join(line.replace("│", " ").split()) for line in text.splitlines())
