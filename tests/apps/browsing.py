"""Chromium without a network, whose camera shows a clip, and what is read from its pages."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest

from actionrnn.video.decode import iter_frames

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

Browsers = Callable[..., "Browser"]
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")  # the first starts fastest
_EXECUTABLE = next(filter(None, map(shutil.which, _NAMES)), None)
_OPTIONS = (
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)


@contextlib.contextmanager
def playing() -> Iterator[Playwright]:
    """Playwright, with a browser that it can start."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        if _EXECUTABLE is None and not Path(started.chromium.executable_path).exists():
            if os.environ.get("CI"):
                pytest.fail("no chromium, and CI promises one: apt-get install chromium")
            pytest.skip("no chromium here")
        yield started


@contextlib.contextmanager
def starting(playwright: Playwright) -> Iterator[Browsers]:
    """Gives the browser whose camera is this file (.mjpeg, shown again and again), or none.

    One of another camera ends. Only this machine has an address for it.
    """
    started: dict[Path | None, Browser] = {}

    def start(camera: Path | None = None) -> Browser:
        if camera not in started:
            end()
            fake = [] if camera is None else [f"--use-file-for-fake-video-capture={camera}"]
            started[camera] = playwright.chromium.launch(
                executable_path=_EXECUTABLE, args=[*_OPTIONS, *fake]
            )
        return started[camera]

    def end() -> None:
        while started:
            started.popitem()[1].close()

    yield start
    end()


def encode(
    clip: Path,
    target: Path,
    codec: str,
    pix_fmt: str,
    *,
    times: int = 1,
    start_seconds: int = 0,
    **options: str,
) -> Path:
    """A real clip as a browser plays it, or as its fake camera takes it.

    Args:
        options: of the encoder.
    """
    frames = [frame.data for frame in iter_frames(clip)]
    if "lossless" in options:  # the same pixels ten times faster
        options = {"deadline": "realtime", "cpu-used": "8"} | options
    with av.open(str(target), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames[0].shape[0], frames[0].shape[1]
        stream.pix_fmt = pix_fmt
        for index, data in enumerate(frames * times):
            frame = av.VideoFrame.from_ndarray(data, format="rgb24")
            frame.pts, frame.time_base = index + 25 * start_seconds, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target


def wait_for(page: Page, expression: str, seconds: float = 20) -> Any:
    """What the expression is, once it is something.

    The page's own policy forbids `wait_for_function`, which evaluates texts inside it.
    """
    found = page.evaluate(
        f"""async (seconds) => {{
          for (const end = performance.now() + 1000 * seconds; performance.now() < end;) {{
            const found = {expression};
            if (found) return found;
            await new Promise((done) => setTimeout(done, 20));
          }}
        }}""",
        seconds,
    )
    assert found, f"never: {expression[:100]}"
    return found


def bars(page: Page, home: str) -> dict[str, str]:
    labels = page.locator(f"{home} .label").all_inner_texts()
    return dict(zip(labels, page.locator(f"{home} .score").all_inner_texts(), strict=True))
