"""The server's page and the timeline page in a real browser: headless Chromium, real clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from actionrnn.apps.timeline_page import write_page
from actionrnn.model.none_of_these import KINDS, NoneOfThese, Patterns
from actionrnn.model.recognizer import Recognizer
from actionrnn.options import SegmentRule
from actionrnn.video.decode import iter_frames
from tests.apps.browsing import bars, encode, wait_for
from tests.apps.serving import Running, running
from tests.apps.test_multi_label import several

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOW, CURVES = "#timeline .now", "#timeline .curves"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture
def page(browser: Browser, server: Running) -> Iterator[Page]:
    """The page, which may load nothing foreign and log no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((server.address, "blob:", "data:"))
            else problems.append(request.url)
        ),
    )
    opened.goto(server.address)
    yield opened
    context.close()
    assert problems == []


def upload(page: Page, file: Path) -> None:
    page.set_input_files("#file", file)


def click_curves(page: Page, part: float) -> None:
    box = page.locator(CURVES).bounding_box()
    assert box is not None
    page.locator(CURVES).click(position={"x": part * box["width"], "y": 60})


def test_a_video_is_played_and_scored(
    page: Page, model: Recognizer, walk: Path, tmp_path: Path
) -> None:
    video = encode(walk, tmp_path / "denis <b>walk.mp4", "libx264", "yuv420p")
    upload(page, video)
    page.wait_for_selector("#result:not([hidden])")
    wait_for(page, "document.getElementById('video').readyState >= 2")
    answer = model.classify(video)
    assert page.inner_text("#name") == "denis <b>walk.mp4"
    shown = {label: float(text.removesuffix(" %")) for label, text in bars(page, "#best").items()}
    assert shown.keys() == set(answer.labels)
    for label, score in zip(answer.labels, answer.scores, strict=True):
        assert shown[label] == pytest.approx(100 * score, abs=2.5)  # bfloat16, frame by frame
    assert page.locator("#timeline tbody tr").count() >= 1

    click_curves(page, 0.75)
    wait_for(page, "document.getElementById('video').currentTime > 1")
    duration = page.evaluate("document.getElementById('video').duration")
    there = page.evaluate("document.getElementById('video').currentTime")
    assert there == pytest.approx(0.75 * duration, abs=0.15)
    before = page.inner_text(NOW)
    page.focus(CURVES)
    page.keyboard.press("ArrowLeft")
    wait_for(page, f"document.getElementById('video').currentTime < {there} - 0.3")
    assert page.inner_text(NOW) != before

    page.evaluate("document.getElementById('video').currentTime = 0")
    page.evaluate("document.getElementById('video').play()")
    wait_for(page, f"parseFloat(document.querySelector('{NOW}').textContent.slice(2)) > 0.4")

    for kind, begin in {"json": '{"path"', "srt": "1\n", "vtt": "WEBVTT", "csv": "pts_"}.items():
        with page.expect_download() as download:
            page.click(f"#save-{kind}")
        saved = tmp_path / download.value.suggested_filename
        download.value.save_as(saved)
        assert saved.suffix == f".{kind}"
        assert saved.read_text(encoding="utf-8").startswith(begin)


# Keys faster than the video seeks: to a moment, to another and back again, within one seek.
HASTE = """async ([curves, rounds]) => {
  const video = document.getElementById("video"), canvas = document.querySelector(curves);
  const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
  for (let round = 0; round < rounds; round++) {
    const [there, back] = round % 2 ? ["ArrowRight", "ArrowLeft"] : ["ArrowLeft", "ArrowRight"];
    for (const key of [there, there, back]) press(key);
    const end = performance.now() + 5000;
    while (video.seeking) {
      if (performance.now() > end) return `seek ${round} never ends`;
      await new Promise(requestAnimationFrame);
    }
  }
  return "";
}"""


def test_keys_are_faster_than_the_video_seeks(page: Page, walk: Path, tmp_path: Path) -> None:
    upload(page, encode(walk, tmp_path / "walk.mp4", "libx264", "yuv420p"))
    page.wait_for_selector("#result:not([hidden])")
    wait_for(page, "document.getElementById('video').readyState >= 2")
    click_curves(page, 0.5)
    wait_for(page, "document.getElementById('video').currentTime > 1")
    there = page.evaluate("document.getElementById('video').currentTime")
    assert page.evaluate(HASTE, [CURVES, 12]) == ""
    wait_for(page, f"Math.abs(document.getElementById('video').currentTime - {there}) < 0.01")
    page.evaluate("document.getElementById('video').play()")
    wait_for(page, f"document.getElementById('video').currentTime > {there + 0.5}")


def test_a_video_that_the_browser_cannot_play_is_converted(page: Page, walk: Path) -> None:
    upload(page, walk)  # an .avi
    page.wait_for_selector("#result:not([hidden])")
    wait_for(page, "document.getElementById('video').readyState >= 2")
    assert page.inner_text("#unplayable") == "Converted for this browser, without sound."
    click_curves(page, 0.75)
    wait_for(page, "document.getElementById('video').currentTime > 1")


def test_a_video_that_nobody_can_convert_is_scored_all_the_same(page: Page, walk: Path) -> None:
    page.route("**/playable", lambda route: route.abort())
    upload(page, walk)
    page.wait_for_selector("#result:not([hidden])")
    wait_for(
        page, "document.getElementById('unplayable').textContent.includes('cannot convert it')"
    )
    click_curves(page, 0.5)
    assert page.inner_text(NOW).startswith("0:01.")


def test_a_bad_file_is_said_and_the_page_lives_on(page: Page, walk: Path, tmp_path: Path) -> None:
    bad = tmp_path / "notes.mp4"
    bad.write_text("no video\n" * 100)
    upload(page, bad)
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem").startswith("notes.mp4: is not a readable video")
    assert page.locator("#working").is_hidden()
    upload(page, walk)
    page.wait_for_selector("#result:not([hidden])")
    assert page.locator("#problem").is_hidden()


def test_the_webcam_is_scored_live(page: Page, model: Recognizer) -> None:
    page.click("#webcam-tab")
    page.click("#start")
    wait_for(page, "document.querySelectorAll('#live-best .label').length > 0")
    wait_for(page, "document.getElementById('live-pace').textContent.includes('answers a second')")
    assert set(bars(page, "#live-best")) == set(model.labels)
    before = page.evaluate("document.getElementById('live-curves').toDataURL()")
    wait_for(page, f"document.getElementById('live-curves').toDataURL() !== {before!r}")
    page.click("#stop")
    assert page.locator("#start").is_visible()
    page.click("#start")  # again, with a new state
    page.wait_for_selector("#stop:not([hidden])")
    page.click("#file-tab")
    assert page.locator("#webcam-panel").is_hidden()


# The webcam is there when the test allows it; `window.streams` has each.
ASKING = """() => {
  const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
  window.streams = [];
  const allowed = new Promise((resolve) => { window.allow = resolve; });
  devices.getUserMedia = async (wanted) => {
    await allowed;
    const stream = await open(wanted);
    window.streams.push(stream);
    return stream;
  };
}"""


def test_a_webcam_that_is_left_before_it_is_allowed_is_turned_off(page: Page) -> None:
    page.evaluate(ASKING)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.click("#webcam-tab")
    page.click("#start")
    page.click("#start")  # twice: somebody is impatient
    page.click("#file-tab")
    page.evaluate("window.allow()")
    wait_for(page, "window.streams.length === 2")
    wait_for(page, "window.streams.every((one) => one.getTracks()[0].readyState === 'ended')")
    assert page.evaluate("document.getElementById('camera').srcObject") is None
    assert sockets == []


def test_it_fits_a_phone(browser: Browser, server: Running, walk: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(server.address)
    upload(page, walk)
    page.wait_for_selector("#result:not([hidden])")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, scheme
    context.close()


def test_the_page_hands_its_token_on(browser: Browser, model: Recognizer, walk: Path) -> None:
    with running(model, token="s3cret") as server:
        page = browser.new_page()
        page.goto(server.address)
        page.wait_for_selector("#problem:not([hidden])")
        assert "a token is needed" in page.inner_text("#problem")
        page.goto(f"{server.address}/?token=s3cret")
        upload(page, walk)
        page.wait_for_selector("#result:not([hidden])")
        page.click("#webcam-tab")
        page.click("#start")
        wait_for(page, "document.querySelectorAll('#live-best .label').length > 0")
        page.close()


@pytest.fixture
def open_file(browser: Browser) -> Iterator[Callable[[Path], Page]]:
    """Opens a page from disk, which may load nothing else and log no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    problems: list[str] = []

    def open_page(path: Path) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: problems.append(request.url[:100]))
        page.goto(path.as_uri())
        return page

    yield open_page
    context.close()
    assert [text for text in problems if not text.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("start_seconds", [0, 3])
def test_the_timeline_page_follows_its_video(
    open_file: Callable[[Path], Page],
    model: Recognizer,
    walk: Path,
    tmp_path: Path,
    start_seconds: int,
) -> None:
    video = encode(walk, tmp_path / "a.webm", "libvpx", "yuv420p", start_seconds=start_seconds)
    timeline = model.timeline(video)
    labels = ("</script><b>run", *timeline.labels[1:])
    write_page(replace(timeline, labels=labels), video, tmp_path / "a.html", SegmentRule())
    page = open_file(tmp_path / "a.html")
    wait_for(page, "document.getElementById('video').readyState >= 2")
    assert page.inner_text(NOW).startswith(f"0:0{start_seconds}.0 ")
    assert labels[0] in page.locator(".legend span").all_inner_texts()
    click_curves(page, 0.5)
    wait_for(page, f"document.getElementById('video').currentTime > {start_seconds + 0.5}")
    there = page.evaluate("document.getElementById('video').currentTime")
    assert float(page.inner_text(NOW)[2:6]) == pytest.approx(there, abs=0.051)
    page.focus(CURVES)
    page.keyboard.press("Home")
    wait_for(page, f"document.getElementById('video').currentTime === {start_seconds}")
    assert page.locator(CURVES).get_attribute("aria-valuenow") == "0.00"
    assert page.locator("tbody tr").count() == len(timeline.segments())
    assert page.locator("tr.on").count() == 1


def test_the_timeline_page_of_a_folder_of_pictures_has_no_video(
    open_file: Callable[[Path], Page], model: Recognizer, walk: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, frame in enumerate(iter_frames(walk)):
        Image.fromarray(frame.data).save(folder / f"{index:03}.jpg")
    write_page(model.timeline(folder), folder, tmp_path / "a.html", SegmentRule())
    page = open_file(tmp_path / "a.html")
    assert page.locator("#video").is_hidden()
    before = page.inner_text(NOW)
    click_curves(page, 0.5)
    assert page.inner_text(NOW) != before


def test_labels_that_are_on_together_have_lanes_of_their_own(
    open_file: Callable[[Path], Page], model: Recognizer, walk: Path, tmp_path: Path
) -> None:
    video = encode(walk, tmp_path / "a.webm", "libvpx", "yuv420p")
    timeline = model.timeline(video)
    halves = np.arange(len(timeline.pts_seconds)) / len(timeline.pts_seconds)
    scores = np.stack([halves < 0.75, halves >= 0.25, halves < 0], axis=1).astype(np.float32)
    overlapping = replace(timeline, scores=scores, so_far=scores, multi_label=True)
    rule = SegmentRule(smooth_seconds=0, min_seconds=0)
    heights, rows_on = [], []
    for shown in (overlapping, replace(overlapping, multi_label=False)):
        write_page(shown, video, tmp_path / "a.html", rule)
        page = open_file(tmp_path / "a.html")
        wait_for(page, "document.getElementById('video').readyState >= 2")
        click_curves(page, 0.5)
        wait_for(page, "document.getElementById('video').currentTime > 0.5")
        wait_for(page, "document.querySelectorAll('tr.on').length > 0")
        box = page.locator("#timeline .strip").bounding_box()
        assert box is not None
        heights.append(box["height"])
        rows_on.append(page.locator("tr.on td:nth-child(3)").all_inner_texts())
    assert [len(rows) for rows in rows_on] == [2, 1]
    assert rows_on[0] == list(timeline.labels[:2])
    assert heights == [40, 26]


def test_a_webcam_shows_all_labels_that_are_on(browser: Browser, model: Recognizer) -> None:
    with running(several(model)) as server:
        page = browser.new_page()
        page.goto(server.address)
        page.click("#webcam-tab")
        wait_for(page, "document.getElementById('model').textContent !== ''")
        page.click("#start")
        wait_for(page, "document.querySelectorAll('#live-best .label').length > 0")
        page.click("#stop")
        shown = bars(page, "#live-best")
        on = [label for label, text in shown.items() if float(text.removesuffix(" %")) >= 50]
        said = page.inner_text("#live-label")
        assert said == (", ".join(f"{label} {shown[label]}" for label in on) or "none")
        page.close()


def surprised(model: Recognizer) -> Recognizer:
    """The same, to which everything is unusual."""
    count = len(model.labels)
    patterns = Patterns(np.zeros((1, count), np.float32), np.eye(count, dtype=np.float32))
    return replace(
        model, none_of_these=NoneOfThese(patterns, dict.fromkeys(KINDS, np.full(99, 0.0)))
    )


def test_none_of_these_is_said_of_files_and_webcams(
    browser: Browser, model: Recognizer, walk: Path
) -> None:
    for rate, is_said in ((0.05, True), (None, False)):
        with running(surprised(model), none_rate=rate) as server:
            page = browser.new_page()
            page.goto(server.address)
            upload(page, walk)
            page.wait_for_selector("#result:not([hidden])")
            assert page.locator("#none").is_visible() == is_said
            if is_said:
                assert page.inner_text("#none") == (
                    "None of these: 1.0 % of their clips are as unusual."
                )
            assert ("none of these?" in page.inner_text(NOW)) == is_said
            assert (page.locator("#timeline tbody tr").count() == 0) == is_said
            assert ("looks like none" in page.inner_text("#timeline")) == is_said
            page.click("#webcam-tab")
            page.click("#start")
            wait_for(page, "document.querySelectorAll('#live-best .label').length > 0")
            assert page.inner_text("#live-label").startswith("none of these?") == is_said
            page.close()


def test_the_timeline_page_shows_what_is_none_of_these(
    open_file: Callable[[Path], Page], model: Recognizer, walk: Path, tmp_path: Path
) -> None:
    video = encode(walk, tmp_path / "a.webm", "libvpx", "yuv420p")
    found = surprised(model).timeline(video)
    strips = []
    for rate in (0.05, 0.0):
        write_page(found, video, tmp_path / "a.html", SegmentRule(none_rate=rate))
        page = open_file(tmp_path / "a.html")
        wait_for(page, "document.getElementById('video').readyState >= 2")
        click_curves(page, 0.5)
        wait_for(page, "document.getElementById('video').currentTime > 0.5")
        assert ("none of these?" in page.inner_text(NOW)) == (rate > 0)
        strips.append(page.locator("#timeline .strip").screenshot())
    assert strips[0] != strips[1]
