"""A real browser on the studio's page: Chromium, whose camera may be a real clip."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from axe_playwright_python.sync_playwright import Axe

from actionrnn.video.decode import iter_frames
from tests.apps import browsing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """The page, which may load nothing foreign and throw no error."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    page = context.new_page()
    page.set_default_timeout(60_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address, "blob:", "data:"))
            else problems.append(request.url)
        ),
    )
    page.goto(address)
    page.wait_for_selector("#step > *", state="attached")
    yield page
    context.close()
    assert problems == []


def wait_for(page: Page, expression: str, seconds: float = 60) -> Any:
    """As `browsing.wait_for`, longer: a model may be trained meanwhile."""
    return browsing.wait_for(page, expression, seconds)


def open_recorder(page: Page) -> None:
    """Allow the webcam, in the step Videos."""
    page.click("#recorder > button")
    wait_for(page, "!document.getElementById('record').disabled")


def open_step(page: Page, step: str) -> None:
    """By the address, as a link does."""
    page.evaluate(f"location.hash = '{step}'")
    page.wait_for_selector(f"#step.step-{step.partition('/')[0]} > *", state="attached")


def name_labels(page: Page, *names: str) -> None:
    """In the dialog, in a project without labels."""
    page.click("#edit-labels")
    rows = page.locator("dialog .label-row:not(.head)")
    for index, name in enumerate(names):
        if index == rows.count():
            page.click("dialog button:has-text('Add a label')")
        rows.nth(index).locator("input[aria-label='Name']").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="detached")


def add_files(page: Page, *files: Path, group: str = "") -> None:
    """In the step Videos."""
    page.fill("#new-group", group)
    before = page.locator(".list tbody tr").count()
    page.set_input_files("#file", [str(file) for file in files])
    wait_for(page, f"document.querySelectorAll('.list tbody tr').length === {before + len(files)}")


def serious(page: Page) -> list[str]:
    """What axe-core finds serious."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def clip_of(real_data: Path, action: str, person: str) -> Path:
    """One of the Weizmann data set."""
    return real_data / "weizmann" / action / f"{person}_{action}.avi"


def camera_file(clip: Path, target: Path) -> Path:
    """A real clip as the fake camera takes it: it is played at its own rate, again and again."""
    return _encoded(clip, target, "wrapped_avframe", "yuv4mpegpipe")


def playable_file(clip: Path, target: Path) -> Path:
    """A real clip as browsers play it."""
    return _encoded(clip, target, "libx264", "mp4")


def _encoded(clip: Path, target: Path, codec: str, container_format: str) -> Path:
    frames = [frame.data for frame in iter_frames(clip)]
    with av.open(str(target), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for index, data in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(data, format="rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return target
