"""Chromium without a network, whose camera shows a clip, and what is read from its pages."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest

from actionrnn.video.decode import iter_frames

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def launched(camera: Path) -> Iterator[Browser]:
    """The browser; only 127.0.0.1 has an address for it.

    Args:
        camera: .mjpeg, what its camera shows, again and again.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        if BROWSER is None and not Path(playwright.chromium.executable_path).exists():
            if os.environ.get("CI"):
                pytest.fail("no chromium, and CI promises one: apt-get install chromium")
            pytest.skip("no chromium here")
        started = playwright.chromium.launch(
            executable_path=BROWSER,
            args=[
                "--no-sandbox",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
            ],
        )
        yield started
        started.close()


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
