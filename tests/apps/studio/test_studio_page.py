"""The studio's page in a real browser, on the real server: videos, takes, training, watching."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest
from axe_playwright_python.sync_playwright import Axe

from actionrnn.video.decode import iter_frames
from tests.apps.studio.studio_process import StudioProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
STEPS = ("videos", "label", "train", "watch", "takeaway")
ACTIONS, PEOPLE, THIRD = ("bend", "jack"), ("daria", "denis"), "ido"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


def wait_for(page: Page, expression: str, seconds: float = 60) -> Any:
    """The page's own policy forbids `wait_for_function`, which evaluates texts inside it."""
    end = time.monotonic() + seconds
    while not (found := page.evaluate(expression)):
        assert time.monotonic() < end, f"never: {expression[:100]}"
        page.wait_for_timeout(50)
    return found


def camera_file(clip: Path, target: Path) -> Path:
    """A real clip as the fake camera takes it: it is played at its own rate, again and again."""
    frames = [frame.data for frame in iter_frames(clip)]
    with av.open(str(target), "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("wrapped_avframe", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for index, data in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(data, format="rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return target


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        if BROWSER is None and not Path(started.chromium.executable_path).exists():
            if os.environ.get("CI"):
                pytest.fail("no chromium, and CI promises one: apt-get install chromium")
            pytest.skip("no chromium here")
        yield started


@pytest.fixture
def browsers(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """Starts a browser, whose camera may be a file; the one before ends."""
    started: list[Browser] = []

    def start(camera: Path | None = None) -> Browser:
        while started:
            started.pop().close()
        fake = () if camera is None else (f"--use-file-for-fake-video-capture={camera}",)
        options = ("--no-sandbox", "--use-fake-ui-for-media-stream")
        browser = playwright.chromium.launch(
            executable_path=BROWSER,
            args=[*options, "--use-fake-device-for-media-stream", *fake],
        )
        started.append(browser)
        return browser

    yield start
    while started:
        started.pop().close()


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[StudioProcess]:
    """The server of an empty project."""
    process = StudioProcess(tmp_path / "project")
    process.start()
    yield process
    process.stop()


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


def name_labels(page: Page, *names: str) -> None:
    """By keyboard, in the dialog of an empty project."""
    page.click("#edit-labels")
    rows = page.locator("dialog .label-row:not(.head)")
    for index, name in enumerate(names):
        if index == rows.count():
            page.click("dialog button:has-text('Add a label')")
        rows.nth(index).locator("input[aria-label='Name']").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="detached")


def open_step(page: Page, step: str) -> None:
    page.evaluate(f"location.hash = '{step}'")
    page.wait_for_selector(f"#step.step-{step.partition('/')[0]} > *", state="attached")


def add_files(page: Page, *files: Path, group: str = "") -> None:
    page.fill("#new-group", group)
    before = page.locator(".list tbody tr").count()
    page.set_input_files("#file", [str(file) for file in files])
    wait_for(page, f"document.querySelectorAll('.list tbody tr').length === {before + len(files)}")


def wait_until_ready(page: Page) -> None:
    said = "[...document.querySelectorAll('.list .state span')].map((cell) => cell.textContent)"
    wait_for(page, f"{said}.every((text) => text === 'ready')", 180)


def clip_of(real_data: Path, action: str, person: str) -> Path:
    return real_data / "weizmann" / action / f"{person}_{action}.avi"


# The first minutes


def test_an_empty_project_says_what_to_do_first(
    browsers: Callable[..., Browser], studio: StudioProcess
) -> None:
    with opened(browsers(), studio.address) as page:
        said = page.locator(".first li strong").all_inner_texts()
        assert said == ["Name the actions", "Bring videos", "Train, watch, correct"]
        name_labels(page, "bend", "<b>jack", "wave")
        wait_for(page, "document.querySelector('.first li').textContent.includes('Done.')")
        labels = studio.get("project")["labels"]
        assert [(label["name"], label["key"]) for label in labels] == [
            ("bend", "1"),
            ("<b>jack", "2"),
            ("wave", "3"),
        ]
        assert len({label["colour"] for label in labels}) == 3


def test_labels_are_renamed_and_refused_in_one_line(
    browsers: Callable[..., Browser], studio: StudioProcess
) -> None:
    with opened(browsers(), studio.address) as page:
        name_labels(page, "bend", "jack")
        page.click("#edit-labels")
        names = page.locator("dialog input[aria-label='Name']")
        names.nth(1).fill("bend")
        page.keyboard.press("Enter")
        wait_for(page, "document.querySelector('dialog .problem').textContent !== ''")
        assert page.inner_text("dialog .problem") == "bend is there twice."
        names.nth(1).fill("jump")
        page.fill("dialog input[aria-label='Key of jack']", "L")
        page.keyboard.press("Enter")
        wait_for(page, "document.querySelector('dialog .problem').textContent.includes('command')")
        page.fill("dialog input[aria-label='Key of jack']", "7")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog", state="detached")
        labels = studio.get("project")["labels"]
        assert [(label["name"], label["key"]) for label in labels] == [("bend", "1"), ("jump", "7")]


def test_files_come_in_with_their_group_and_go(
    browsers: Callable[..., Browser], studio: StudioProcess, real_data: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "a <b>bend & 'more'.avi"
    shutil.copy(clip_of(real_data, "bend", "daria"), odd)
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video\n" * 100)
    with opened(browsers(), studio.address) as page:
        add_files(page, clip_of(real_data, "bend", "denis"), odd, group="anna")
        videos = studio.get("project")["videos"]
        assert [video["group"] for video in videos] == ["anna", "anna"]
        names = page.locator(".list tbody a").all_inner_texts()
        assert names == [video["name"] for video in videos]
        assert any("<b>bend" in name or "bbend" in name or "_b_bend" in name for name in names)

        page.set_input_files("#file", str(notes))
        page.wait_for_selector(".notice.bad")
        assert "notes.mp4" in page.inner_text(".notice.bad")
        assert page.locator(".list tbody tr").count() == 2

        page.locator(".list tbody input").first.fill("bo")
        page.keyboard.press("Enter")
        wait_for(page, "document.querySelectorAll('#groups option').length === 2")
        assert studio.get("project")["videos"][0]["group"] == "bo"

        page.on("dialog", lambda dialog: dialog.accept())
        page.locator(".list td.does button").first.click()
        wait_for(page, "document.querySelectorAll('.list tbody tr').length === 1")
        assert len(studio.get("project")["videos"]) == 1


def test_videos_of_a_server_folder_are_chosen_in_a_dialog(
    browsers: Callable[..., Browser], real_data: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    (disk / "inner").mkdir(parents=True)
    shutil.copy(clip_of(real_data, "bend", "daria"), disk / "inner" / "a.avi")
    shutil.copy(clip_of(real_data, "jack", "daria"), disk / "inner" / "b.avi")
    studio = StudioProcess(tmp_path / "project", ("--videos", str(disk)))
    studio.start()
    try:
        with opened(browsers(), studio.address) as page:
            page.click('button:has-text("From the server\'s folders")')
            page.click("dialog button:has-text('inner/')")
            page.click("dialog label:has-text('b.avi')")
            page.click("dialog button:has-text('Add 1 video')")
            page.wait_for_selector("dialog", state="detached")
            wait_for(page, "document.querySelectorAll('.list tbody tr').length === 1")
            assert page.locator(".list tbody a").all_inner_texts() == ["b.avi"]
    finally:
        studio.stop()


# What is known of a model

SCORES = {
    "run": "3",
    "steps": {
        **{"value": 0.875, "low": 0.62, "high": 0.97, "baseline": 0.75, "num_recordings": 16},
        **{"unit": "of each label's time, mean over labels", "f1_at_50": 0.8},
        **{"f1_at_50_low": None, "f1_at_50_high": None},
    },
    "why_not": "",
    "per_label": [
        {"label": "<b>bend", "precision": 1.0, "recall": 0.75, "num": 8},
        {"label": "jack", "precision": 0.8, "recall": 1.0, "num": 8},
    ],
    "confusion": {"labels": ["<b>bend", "jack"], "counts": [[6, 2], [0, 8]]},
    "curve": [
        {"recordings": count, "value": value, "low": value - 0.2, "high": value + 0.1}
        for count, value in ((2, 0.5), (4, 0.7), (8, 0.8), (15, 0.875))
    ],
    "enough": "More recordings still help: 8 instead of 15 cost 7 points.",
    "harmful": [
        {
            **{"video": "0123456789ab", "name": "a <i>take.webm", "label": "jack"},
            **{"start": 3.2, "end": 5.0, "gain": 0.06},
        }
    ],
    "notes": [],
    "complete": True,
}
UNKNOWN = {
    **{"run": "3", "steps": None, "why_not": "a second recording is needed", "per_label": []},
    **{"confusion": None, "curve": [], "enough": "", "harmful": [], "notes": ["1 take of nothing"]},
    "complete": True,
}


def show_scores(page: Page, scores: Any) -> None:
    page.route("**/api/scores", lambda route: route.fulfill(json=scores))
    open_step(page, "train")


def test_scores_are_shown_beside_their_baseline_with_curve_confusions_and_harmful_takes(
    browsers: Callable[..., Browser], studio: StudioProcess
) -> None:
    with opened(browsers(), studio.address) as page:
        show_scores(page, SCORES)
        page.wait_for_selector("#scores .figure")
        assert page.inner_text("#scores .figure") == "88 %"
        said = page.inner_text("#scores")
        assert "62 % to 97 % (95 % interval)" in said
        assert "75 % by the average picture of a window alone" in said
        assert "(16, left out in turn)" in said
        assert page.inner_text("#enough") == SCORES["enough"]
        assert page.locator("svg[role=img] circle").count() == 4
        assert "15: 88 % (68 % to 98 %)" in str(
            page.locator("svg[role=img]").get_attribute("aria-label")
        )
        cells = page.locator("table.confusion td").all_inner_texts()
        assert cells == ["6", "2", "0", "8"]
        assert page.locator("#harmful td").all_inner_texts() == [
            "a <i>take.webm at 0:03.2",
            "jack",
            "+6.0 %",
        ]
        assert page.locator("#harmful a").get_attribute("href") == "#label/0123456789ab"


def test_a_score_that_cannot_be_given_says_why(
    browsers: Callable[..., Browser], studio: StudioProcess
) -> None:
    with opened(browsers(), studio.address) as page:
        show_scores(page, UNKNOWN)
        page.wait_for_selector("#scores section")
        said = page.inner_text("#scores")
        assert "No score: a second recording is needed." in said
        assert "1 take of nothing" in said
        assert page.locator("#scores svg").count() == 0


def serious(page: Page) -> list[str]:
    """What axe-core finds serious."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_step_is_accessible_and_fits_a_phone(
    browsers: Callable[..., Browser], studio: StudioProcess, real_data: Path, scheme: Any
) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    with opened(browsers(), studio.address, **phone) as page:
        assert serious(page) == []  # with nothing in it
        name_labels(page, *ACTIONS)
        add_files(page, clip_of(real_data, "bend", "daria"))
        page.route("**/api/scores", lambda route: route.fulfill(json=SCORES))
        for step in STEPS:
            open_step(page, step)
            page.wait_for_timeout(300)
            assert serious(page) == [], step
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, step
        page.click("#edit-labels")
        assert serious(page) == []


# The whole way


def record_takes(page: Page, action: str, person: str, times: int, seconds: int) -> None:
    """From the webcam, in the step Videos."""
    open_step(page, "videos")
    if page.locator("#record").count() == 0:
        page.click("#recorder > button")
    wait_for(page, "!document.getElementById('record').disabled")
    page.select_option("#take-label", action)
    page.fill("#take-person", person)
    page.select_option("#take-countdown", "1")
    page.select_option("#take-seconds", str(seconds))
    page.select_option("#take-series", str(times))
    page.click("#record")
    wait_for(page, f"document.querySelectorAll('.takes li').length >= {times}", 60 + 10 * times)
    wait_for(page, "!document.getElementById('record').disabled")


def train(page: Page) -> None:
    open_step(page, "train")
    wait_for(page, "!document.getElementById('train').disabled")
    page.click("#train")
    wait_for(page, "document.getElementById('model-said').textContent.includes('knows')", 180)


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_two_people_teach_two_actions_and_a_third_is_recognised(
    browsers: Callable[..., Browser],
    studio: StudioProcess,
    real_data: Path,
    tmp_path: Path,
    times: int,
) -> None:
    cameras = {
        (action, person): camera_file(
            clip_of(real_data, action, person), tmp_path / f"{action}_{person}.y4m"
        )
        for action in ACTIONS
        for person in (*PEOPLE, THIRD)
    }
    for person in PEOPLE:
        for action in ACTIONS:
            with opened(browsers(cameras[action, person]), studio.address) as page:
                if not studio.get("project")["labels"]:
                    name_labels(page, *ACTIONS)
                record_takes(page, action, person, times, seconds=3)
    videos = studio.get("project")["videos"]
    assert len(videos) == 4 * times
    assert {video["group"] for video in videos} == set(PEOPLE)
    for video in videos:
        assert 2.5 < video["seconds"] < 4.5
        assert video["marked_seconds"] == pytest.approx(video["seconds"], abs=0.1)

    for action in ACTIONS:
        with opened(browsers(cameras[action, THIRD]), studio.address) as page:
            if action == ACTIONS[0]:
                wait_until_ready(page)
                train(page)
            open_step(page, "watch")
            page.click("#watch-webcam")
            assert longest_answer(page, seconds=6) == action
            page.click("#watch-stop")
            assert page.locator("#watch-webcam").is_enabled()


def longest_answer(page: Page, seconds: float) -> str:
    """The label that is shown for most of the time, from the first answer on."""
    wait_for(page, "document.querySelectorAll('#bars .label').length > 0")
    said: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        said.append(page.inner_text("#bars .label >> nth=0"))
        page.wait_for_timeout(100)
    return max(set(said), key=said.count)
