"""Takes docs/figures/studio.png: `python docs/figures/studio.py`.

Rendered figures act in front of a studio that was taught by three of them, and by the first half of
the fourth; what is shown of the other half are the model's proposals.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from page import join, photographed, started_browser

from actionrnn.apps.studio.project import Project
from actionrnn.apps.studio.project_file import Label
from actionrnn.datasets.rendered import RATE_FPS, render_dataset
from actionrnn.video.decode import iter_frames

COLOURS = {
    "StandUp": "#0072b2",
    "RaiseArms": "#e69f00",
    "LowerArms": "#009e73",
    "SitDown": "#cc79a7",
}
ROUNDS = 4
FIGURES = (3, 5, 8, 10)


def make_project(folder: Path, data: Path) -> str:
    """All that the figures do is marked, but for the last one's second half; the last one's id."""
    labels = tuple(
        Label(name, str(key), colour) for key, (name, colour) in enumerate(COLOURS.items(), 1)
    )
    with Project.create(folder, labels=labels) as project:
        project.set_settings(modality="both")
        order = random.Random(1)
        for figure in FIGURES:
            actions = [
                name for _ in range(ROUNDS) for name in order.sample(list(COLOURS), len(COLOURS))
            ]
            clips = [
                sorted((data / name).glob(f"*_g{figure:02}_*"))[number % 2]
                for number, name in enumerate(actions)
            ]
            file = folder.parent / f"figure {figure}.mp4"
            join(clips, file)
            video = project.add_video(file, file.name, group=f"figure {figure}")
            begin, marks = 0.0, []
            for name, clip in zip(actions, clips, strict=True):
                end = begin + sum(1 for _ in iter_frames(clip)) / RATE_FPS
                marks.append({"op": "add", "label": name, "start": begin, "end": end})
                begin = end
            kept = marks[: len(marks) // 2] if figure == FIGURES[-1] else marks
            project.change(video.id, kept, "")
        return video.id


def answer(address: str, path: str, method: str = "GET") -> Any:
    """The server's JSON."""
    request = urllib.request.Request(f"{address}/api/{path}", b"{}" if method == "POST" else None)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def teach(address: str) -> None:
    """Until there is a model and its scores."""
    while any(video["state"] != "ready" for video in answer(address, "project")["videos"]):
        time.sleep(0.5)
    answer(address, "train", "POST")
    while answer(address, "project")["model"] is None or answer(address, "project")["jobs"]:
        time.sleep(0.5)


def main() -> None:
    """Render, teach, photograph."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "Figures")
        video = make_project(folder, render_dataset(Path(temporary, "data"), seed=0))
        command = [
            sys.executable,
            "-m",
            "actionrnn",
            "studio",
            str(folder),
            "--port",
            "0",
            "--no-browser",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                address = next(word for word in server.stdout.readline().split() if "://" in word)
                teach(address.rstrip("/"))
                with started_browser() as browser:
                    page = browser.new_page(viewport={"width": 1200, "height": 800})
                    page.goto(f"{address}#label/{video}")
                    page.wait_for_selector(".mark-rows .proposed")
                    page.keyboard.press("g")
                    page.wait_for_timeout(1500)
                    photographed(page, Path(__file__).with_suffix(".png"))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
