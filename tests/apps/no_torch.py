"""Answers by every road in a process of its own; run beside a `torch` that cannot be imported.

    python -m tests.apps.no_torch MODEL VIDEO FOLDER

One JSON object: what each road says. Files are written into FOLDER.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

import actionrnn
from actionrnn.apps.cli import main
from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.serving.server import load_model
from actionrnn.features.worker import Isolation
from tests.apps.serving import running


def asked(*arguments: Any) -> str:
    """What a command prints."""
    done = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def answers(model: Path, video: Path, folder: Path) -> dict[str, Any]:
    """By road: lists of numbers, or the text of a page."""
    given = "-m", model
    asked("timeline", video, *given, "-o", folder / "scores.csv", "--html", folder / "page.html")
    recognizer = load_model(str(model), None)
    limits = ServeLimits()
    isolation = Isolation(60, 60, limits.video_limits(), int(limits.decode_mb * 1e6))
    with running(recognizer) as server:
        uploaded = server.post("/classify", video).json()
    batch = recognizer.stream_batch(2)
    frame = next(actionrnn.iter_frames(video))
    return {
        "classify": json.loads(asked("classify", video, *given, "--json"))["scores"],
        "early": json.loads(
            asked("classify", video, *given, "--json", "--stop-at-confidence", 0.01)
        )["scores"],
        "csv": (folder / "scores.csv").read_text(encoding="utf-8"),
        "page": len((folder / "page.html").read_text(encoding="utf-8")),
        "stream": [
            json.loads(line)
            for line in asked("stream", video, *given, "--json").split("\n")
            if line
        ],
        "isolated": recognizer.timeline(video, decode=isolation.decode).scores.tolist(),
        "served": uploaded["scores"],
        "batch": [scores.tolist() for scores in batch.push([frame, frame])],
        "has torch": any(name.split(".")[0] == "torch" for name in sys.modules),
    }


if __name__ == "__main__":
    json.dump(answers(*map(Path, sys.argv[1:])), sys.stdout)
