"""Takes docs/figures/page.png: `python docs/figures/page.py RUN`, with the run of a demo.

Four clips of one rendered figure are joined, uploaded to the page, and photographed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from PIL import Image
from playwright.sync_api import sync_playwright

from actionrnn.datasets.rendered import RATE_FPS
from actionrnn.video.decode import iter_frames

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ACTIONS = ("StandUp", "RaiseArms", "LowerArms", "SitDown")


def join(clips: Sequence[Path], target: Path) -> None:
    """Rendered clips, one after the other."""
    with av.open(str(target), "w") as container:
        stream, number = container.add_stream("libx264", rate=RATE_FPS), 0
        stream.pix_fmt = "yuv420p"
        for clip in clips:
            for frame in iter_frames(clip):
                if number == 0:
                    stream.height, stream.width = frame.data.shape[:2]
                made = av.VideoFrame.from_ndarray(frame.data, format="rgb24")
                made.pts, made.time_base = number, Fraction(1, RATE_FPS)
                container.mux(stream.encode(made))
                number += 1
        container.mux(stream.encode(None))


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Chromium."""
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )


def photographed(page: Page, target: Path) -> None:
    """The whole page, as a small file."""
    page.screenshot(path=target, full_page=True)
    few = Image.open(target).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
    few.save(target, optimize=True)


def main() -> None:
    """Serve, upload, photograph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    command = [sys.executable, "-m", "actionrnn", "serve", "--model", str(run), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[2]
        with tempfile.TemporaryDirectory() as folder, started_browser() as browser:
            clip = Path(folder, "four actions.mp4")
            join([sorted((run / "data" / one).glob("*_g03_*"))[0] for one in ACTIONS], clip)
            page = browser.new_page(viewport={"width": 960, "height": 1100})
            page.goto(address)
            page.set_input_files("#file", clip)
            page.wait_for_selector("#result:not([hidden])")
            page.wait_for_timeout(1500)
            box = page.locator("#timeline .curves").bounding_box()
            assert box is not None
            page.mouse.click(box["x"] + 0.43 * box["width"], box["y"] + 60)
            page.wait_for_timeout(500)
            photographed(page, Path(__file__).with_suffix(".png"))
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
