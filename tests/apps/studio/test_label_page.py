"""The studio's step Label in a real browser, on a joined recording."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.serving.server import make_server, open_port
from actionrnn.apps.studio.server import open_studio
from actionrnn.video.decode import iter_frames

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
RATE_FPS = 25
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
LABELS = [
    {"name": "walk", "key": "1", "colour": "#0072b2"},
    {"name": "wave <b>", "key": "2", "colour": "#e69f00"},
]


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[str]:
    """The studio of a folder; its address."""
    limits = ServeLimits()
    with open_studio(folder, [], limits) as build, open_port("127.0.0.1", port) as opened:
        server = make_server(build(), limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def joined(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips one after another, a second of nothing between them, as browsers play them."""
    clips = [
        real_data / "weizmann" / action / f"{person}_{action}.avi"
        for person in ("denis", "ido", "moshe", "shahar")
        for action in ("walk", "wave1")
    ]
    target = tmp_path_factory.mktemp("joined") / "joined.mp4"
    pts = 0
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_FPS)
        stream.width, stream.height, stream.pix_fmt = 180, 144, "yuv420p"
        for clip in clips:
            frames = [frame.data for frame in iter_frames(clip)][:60]
            for data in frames + [frames[-1] // 2] * RATE_FPS:
                frame = av.VideoFrame.from_ndarray(data, format="rgb24")
                frame.pts, frame.time_base = pts, Fraction(1, RATE_FPS)
                container.mux(stream.encode(frame))
                pts += 1
        container.mux(stream.encode(None))
    return target


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        if BROWSER is None and not Path(playwright.chromium.executable_path).exists():
            if os.environ.get("CI"):
                pytest.fail("no chromium, and CI promises one: apt-get install chromium")
            pytest.skip("no chromium here")
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()
