"""The studio's step Label in a real browser, on a joined recording."""

from __future__ import annotations

import contextlib
import csv
import shutil
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
import httpx
import pytest

from actionrnn.apps.studio.project import Project
from actionrnn.apps.studio.project_file import Label
from actionrnn.video.decode import iter_frames
from tests.apps.serving import PATIENT
from tests.apps.studio.page_steps import serious, wait_for
from tests.apps.studio.studios import Studio, studio_of
from tests.apps.test_pages import encode

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from tests.apps.browsing import Browsers

COLOURS: tuple[Literal["light", "dark"], ...] = ("light", "dark")
RATE_FPS, CLIP_FRAMES, GAP_FRAMES = 25, 60, 125
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
LABELS = (Label("walk", "1", "#0072b2"), Label("wave <b>", "2", "#e69f00"))


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[str]:
    """The studio of a folder; its address."""
    with Project.open(folder) as project, studio_of(project, port=port) as studio:
        yield studio.address


def project_of(folder: Path, video: Path) -> Path:
    """A project of one video and two labels."""
    Project.create(folder, labels=LABELS).close()
    shutil.copy(video, folder / "videos")
    return folder


def join(real_data: Path, target: Path, *people: str) -> Path:
    """Two clips of each one after another, five seconds of nothing after each clip."""
    clips = [
        real_data / "weizmann" / action / f"{person}_{action}.avi"
        for person in people
        for action in ("walk", "wave1")
    ]
    pts = 0
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_FPS)
        stream.width, stream.height, stream.pix_fmt = 180, 144, "yuv420p"
        for clip in clips:
            frames = ([frame.data for frame in iter_frames(clip)] * 2)[:CLIP_FRAMES]
            for data in frames + [frames[-1] // 2] * GAP_FRAMES:
                frame = av.VideoFrame.from_ndarray(data, format="rgb24")
                frame.pts, frame.time_base = pts, Fraction(1, RATE_FPS)
                container.mux(stream.encode(frame))
                pts += 1
        container.mux(stream.encode(None))
    return target


@pytest.fixture(scope="module")
def joined(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute."""
    return join(real_data, tmp_path_factory.mktemp("joined") / "joined.mp4", "denis", "ido")


@pytest.fixture(scope="module")
def browser(browsers: Browsers) -> Browser:
    return browsers()


@pytest.fixture
def folder(joined: Path, tmp_path: Path) -> Path:
    return project_of(tmp_path / "project", joined)


@pytest.fixture(scope="module")
def shared_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Of a project of two labels, with the video of one test at a time."""
    folder = tmp_path_factory.mktemp("studio") / "project"
    with Project.create(folder, labels=LABELS) as project, studio_of(project) as studio:
        yield studio


@pytest.fixture
def studio(shared_studio: Studio, joined: Path, request: pytest.FixtureRequest) -> str:
    """Its address; there is one video, which nobody has seen yet."""
    for video in shared_studio.project.videos():  # the page of the test before is closed now
        shared_studio.project.remove_video(video.id, "")
    settings = {"multi_label": False}
    shared_studio.client.put("/api/settings", json=settings).raise_for_status()
    name = f"{request.session.items.index(request.node)}.mp4"
    shared_studio.post("/api/videos", files={"file": (name, joined.read_bytes())})
    return shared_studio.address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may load nothing foreign and raise no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "request", lambda request: None if is_own(request.url) else problems.append(request.url)
    )
    yield opened
    opened.unroute_all(behavior="ignoreErrors")
    context.close()
    assert problems == []


def is_own(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "blob:", "data:"))


def get(studio: str, path: str) -> Any:
    return httpx.get(f"{studio}/api/{path}", **PATIENT).raise_for_status().json()


def get_marks(studio: str) -> Any:
    return get(studio, f"videos/{video_id(studio)}/marks")


def video_id(studio: str) -> str:
    return str(get(studio, "project")["videos"][0]["id"])


def marks_of(studio: str) -> list[tuple[str, float, float]]:
    """What the server has: label, start and end."""
    found = get_marks(studio)["marks"]
    return [(mark["label"], mark["start"], mark["end"]) for mark in found]


def rows_of(folder: Path) -> list[tuple[str, float, float, str]]:
    """What the project's file has, without what is background."""
    with (folder / "annotations.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (row["label"], float(row["start"]), float(row["end"]), row["note"])
        for row in rows
        if row["label"] != "background"
    ]


def wait_until(page: Page, is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end, "never"
        page.wait_for_timeout(50)


def open_label(page: Page, studio: str) -> None:
    page.goto(f"{studio}/#label")
    page.wait_for_selector(".tracks-top")
    wait_for(page, "document.querySelector('.screen video').readyState >= 2")
    wait_for(page, "document.querySelector('.saved').textContent === 'Saved'")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def said(page: Page) -> str:
    return page.inner_text(".said")


def frame(page: Page) -> int:
    """The frame that the page says is shown, counted from 0."""
    return int(page.inner_text(".position").split("frame ")[1].split(" of")[0]) - 1


def shown_frame(begin: float = 0) -> str:
    """An expression for the frame that the video stands at, whose first is at a player's time."""
    return f"Math.floor((document.querySelector('video').currentTime - {begin}) * {RATE_FPS})"


def saved(page: Page) -> None:
    wait_for(page, "document.querySelector('.saved').textContent === 'Saved'")


def place(page: Page, seconds: float, lane: int) -> tuple[float, float]:
    """Where a moment of a lane is on the screen; the whole video is in view."""
    box = page.locator(".tracks-top").bounding_box()
    assert box is not None
    names = 120
    height = page.evaluate("document.querySelector('.tracks').clientHeight")
    top = height - 22 - 4 - 26 * len(LABELS)
    part = seconds / page.evaluate("+document.querySelector('.tracks-top').ariaValueMax")
    return box["x"] + names + part * (box["width"] - names), box["y"] + top + 26 * lane + 12


def label_eight(page: Page) -> list[tuple[str, float, float]]:
    """The eight clips of the recording by keys alone; what they are."""
    truth = []
    for clip in range(8):
        label = LABELS[clip % 2]
        press(page, label.key, *["Shift+ArrowRight"] * 2, *["ArrowRight"] * 10, label.key)
        press(page, *["Shift+ArrowRight"] * 5)
        start = clip * (CLIP_FRAMES + GAP_FRAMES)
        truth.append((label.name, start / RATE_FPS, (start + CLIP_FRAMES) / RATE_FPS))
    return truth


def test_a_recording_is_labelled_by_keys_alone(page: Page, real_data: Path, tmp_path: Path) -> None:
    people = "denis", "ido", "moshe", "shahar"
    minute = join(real_data, tmp_path / "joined.mp4", *people)
    folder = project_of(tmp_path / "project", minute)
    with serving(folder) as studio:
        require_labelling_by_keys(page, studio, folder)


def require_labelling_by_keys(page: Page, studio: str, folder: Path) -> None:
    open_label(page, studio)
    began = time.monotonic()
    truth = label_eight(page)
    press(page, "u")
    saved(page)
    took = time.monotonic() - began
    print(f"a minute with eight intervals: {took:.1f} s by keys")
    assert took < 60
    assert [row[:3] for row in rows_of(folder)] == truth
    assert page.locator(".mark-rows tbody tr").count() == 8
    answer = get_marks(studio)
    assert answer["looked"] == [[0.0, 8 * (CLIP_FRAMES + GAP_FRAMES) / RATE_FPS]]

    press(page, "c")  # a note at the last mark, whose text is no command
    page.keyboard.type("a label, 1 of 2: <b>u</b>")
    press(page, "Enter")
    wait_until(page, lambda: rows_of(folder)[-1][3] == "a label, 1 of 2: <b>u</b>")
    assert len(rows_of(folder)) == 8
    page.reload()
    open_label(page, studio)
    assert page.locator(".mark-rows tbody tr").count() == 8


def test_undo_and_redo(page: Page, studio: str) -> None:
    open_label(page, studio)
    press(page, "1", "Shift+ArrowRight", "1", "Shift+ArrowRight", "2", "Shift+ArrowRight", "2")
    saved(page)
    both = marks_of(studio)
    assert [mark[0] for mark in both] == ["walk", "wave <b>"]
    press(page, "Delete")
    wait_until(page, lambda: marks_of(studio) == both[:1])
    press(page, "Control+z")
    wait_until(page, lambda: marks_of(studio) == both)
    press(page, "Control+z")
    wait_until(page, lambda: marks_of(studio) == both[:1])
    saved(page)
    press(page, "Control+Shift+z")
    wait_until(page, lambda: marks_of(studio) == both)
    saved(page)
    assert page.locator(".mark-rows tbody tr").count() == 2


def test_a_selection_is_marked_and_edges_are_set_by_keys(page: Page, studio: str) -> None:
    open_label(page, studio)
    press(page, "Shift+ArrowRight", "i", "Shift+ArrowRight", "o", "1")
    saved(page)
    assert marks_of(studio) == [("walk", 1.0, 2.0)]
    press(page, "ArrowRight", "Shift+O")  # of the mark that was just made
    wait_until(page, lambda: marks_of(studio) == [("walk", 1.0, 2.04)])
    press(page, "e", "Control+a")
    page.keyboard.type("0:00.5")
    press(page, "Enter")
    wait_until(page, lambda: marks_of(studio) == [("walk", 0.5, 2.04)])
    press(page, "e", "Control+a")
    page.keyboard.type("soon")
    press(page, "Enter")
    assert said(page) == "soon: write a time as 75.2 or 1:15.2"
    press(page, "e", "Control+a")
    page.keyboard.type("3")
    press(page, "Enter")
    assert said(page) == "The end, 0:02.040, must be after the begin, 0:03.000."
    assert marks_of(studio) == [("walk", 0.5, 2.04)]


def test_another_label_ends_what_was_begun_where_one_is_on_at_a_time(
    page: Page, studio: str
) -> None:
    open_label(page, studio)
    press(page, "1", "Shift+ArrowRight", "2", "Shift+ArrowRight", "2")
    saved(page)
    assert marks_of(studio) == [("walk", 0.0, 1.0), ("wave <b>", 1.0, 2.0)]
    press(page, "ArrowLeft", "1", "Shift+ArrowRight", "1")
    assert said(page) == "walk 0:01.960 to 0:02.960 overlaps wave <b> 0:01.000 to 0:02.000."
    assert len(marks_of(studio)) == 2
    press(page, "Escape")
    httpx.put(f"{studio}/api/settings", json={"multi_label": True}).raise_for_status()
    wait_until(page, lambda: get(studio, "project")["settings"]["multi_label"])
    page.reload()
    open_label(page, studio)
    press(page, "Shift+ArrowRight", "1", "Shift+ArrowRight", "1")
    saved(page)
    assert ("walk", 1.0, 2.0) in marks_of(studio)
    press(page, "1", "ArrowRight", "1")
    assert ("walk", 2.0, 2.04) in marks_of(studio)


def test_an_edge_is_dragged(page: Page, studio: str) -> None:
    open_label(page, studio)
    press(page, "1", "Shift+ArrowRight", "Shift+ArrowRight", "1")
    saved(page)
    page.mouse.move(*place(page, 2.0, 0))
    page.mouse.down()
    for seconds in (2.5, 4.0, 3.0):
        page.mouse.move(*place(page, seconds, 0))
    page.mouse.up()
    wait_until(page, lambda: marks_of(studio)[0][2] > 2.5)
    label, start, end = marks_of(studio)[0]
    assert (label, start) == ("walk", 0.0)
    assert end == pytest.approx(3.0, abs=0.1)
    assert end * RATE_FPS == pytest.approx(round(end * RATE_FPS), abs=1e-3)  # a frame's time
    # over nothing: a selection of the lane, which Enter marks
    page.mouse.move(*place(page, 6.0, 1))
    page.mouse.down()
    page.mouse.move(*place(page, 7.0, 1))
    page.mouse.move(*place(page, 8.0, 1))
    page.mouse.up()
    press(page, "Enter")
    wait_until(page, lambda: len(marks_of(studio)) == 2)
    label, start, end = marks_of(studio)[1]
    assert label == "wave <b>"
    assert (start, end) == pytest.approx((6.0, 8.0), abs=0.1)


def test_frames_are_stepped_by_their_own_times(page: Page, studio: str) -> None:
    open_label(page, studio)
    press(page, *["ArrowRight"] * 7, "ArrowLeft")
    assert frame(page) == 6
    wait_for(page, f"{shown_frame()} === 6")
    press(page, " ")
    wait_for(page, "parseFloat(document.querySelector('.position').textContent.slice(2)) > 0.8")
    press(page, " ")
    stopped = frame(page)
    wait_for(page, "document.querySelector('video').paused")
    page.wait_for_timeout(200)
    assert abs(frame(page) - stopped) <= 1
    press(page, "f")
    assert page.evaluate("document.querySelector('video').playbackRate") == 1.5
    press(page, "i", *["ArrowRight"] * 5, "o", "l", " ")
    page.wait_for_timeout(1500)
    press(page, " ")
    assert stopped - 1 <= frame(page) <= stopped + 8  # it went round and round


# Keys faster than the video seeks: to a frame, to the next and back again, within one seek.
HASTE = """async (rounds) => {
  const video = document.querySelector("video");
  const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
  for (let round = 0; round < rounds; round++) {
    for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft"]) press(key);
    const end = performance.now() + 5000;
    while (video.seeking) {
      if (performance.now() > end) return `seek ${round} never ends`;
      await new Promise(requestAnimationFrame);
    }
  }
  return "";
}"""


def test_frames_are_stepped_faster_than_the_video_seeks(page: Page, studio: str) -> None:
    open_label(page, studio)
    rounds = 12
    assert page.evaluate(HASTE, rounds) == ""
    assert frame(page) == rounds
    wait_for(page, f"{shown_frame()} === {rounds}")
    press(page, " ")
    wait_for(page, "parseFloat(document.querySelector('.position').textContent.slice(2)) > 1.2")


PROPOSALS = [
    {"id": "p1", "label": "walk", "start": 12.0, "end": 14.0, "score": 0.83},
    {"id": "p2", "label": "wave <b>", "start": 16.0, "end": 18.0, "score": 0.61},
    {"id": "p3", "label": "walk", "start": 20.0, "end": 21.0, "score": 0.55},
]


def let_a_model_speak(
    page: Page,
    studio: str,
    proposals: list[dict[str, Any]],
    state: Callable[[], str] = lambda: "ready",
) -> None:
    """Answers as of a trained model; what was accepted or refused is not proposed again.

    Args:
        state: of the video, of which the model says nothing until it is read.
    """
    answered: list[tuple[str, float, float]] = []
    model = {"run": "1", "trained_at": "", "seconds": 9, "labels": [], "can_stream": True}

    def describe(route: Route) -> None:
        project = get(studio, "project")
        videos = [video | {"state": state()} for video in project["videos"]]
        route.fulfill(json=project | {"model": model | {"none_rate": None}, "videos": videos})

    def propose(route: Route) -> None:
        if state() != "ready":
            route.fulfill(json={"proposals": []})
            return
        left = [p for p in proposals if (p["label"], p["start"], p["end"]) not in answered]
        marked = marks_of(studio)
        left = [p for p in left if all(p["end"] <= m[1] or m[2] <= p["start"] for m in marked)]
        route.fulfill(json={"proposals": left})

    def change(route: Route) -> None:
        for op in route.request.post_data_json["ops"]:
            if op["op"] == "refuse":
                answered.append((op["label"], op["start"], op["end"]))
        route.continue_()

    steps = [count / 4 for count in range(100)]
    curves = {"times": steps, "labels": ["walk", "wave <b>"]}
    scores = [[(count % 8) / 8 for count in range(100)]] * 2
    page.route("**/api/project", describe)
    page.route("**/api/status?*", describe)
    page.route("**/timeline?*", lambda route: route.fulfill(json=curves | {"scores": scores}))
    page.route("**/proposals", propose)
    page.route("**/changes", change)
    where = {"video": video_id(studio), "seconds": 16.5, "why": "least sure"}
    page.route("**/api/next", lambda route: route.fulfill(json=where))


def proposed(page: Page) -> int:
    return page.locator(".mark-rows .proposed").count()


def test_proposals_are_accepted_corrected_and_refused(page: Page, studio: str) -> None:
    let_a_model_speak(page, studio, PROPOSALS)
    open_label(page, studio)
    wait_until(page, lambda: proposed(page) == 3)
    press(page, ".", "Enter")
    wait_until(page, lambda: marks_of(studio) == [("walk", 12.0, 14.0)])
    answer = get_marks(studio)
    assert [12.0, 14.0] in answer["looked"]
    assert frame(page) == 16 * RATE_FPS  # on to the next
    press(page, "n")
    wait_until(page, lambda: proposed(page) == 1)
    saved(page)
    assert marks_of(studio) == [("walk", 12.0, 14.0)]
    press(page, "e", "Shift+ArrowRight", "o", "Shift+ArrowLeft", "ArrowRight", "i", "2", "Enter")
    wait_until(page, lambda: len(marks_of(studio)) == 2)
    assert marks_of(studio)[1] == ("wave <b>", 20.04, 21.0)
    wait_until(page, lambda: proposed(page) == 0)
    press(page, "Enter")
    assert said(page) == "No proposal is here: G goes to the next place."


def test_a_video_that_is_read_while_it_is_open_gets_its_proposals(page: Page, studio: str) -> None:
    states = ["extracting"]
    let_a_model_speak(page, studio, PROPOSALS, lambda: states[-1])
    open_label(page, studio)
    page.wait_for_timeout(1500)  # the page has asked
    assert proposed(page) == 0
    states.append("ready")
    wait_until(page, lambda: proposed(page) == 3)
    states.append("waiting")  # of other settings now
    wait_until(page, lambda: proposed(page) == 0)


def test_the_next_place_is_gone_to(page: Page, studio: str) -> None:
    let_a_model_speak(page, studio, PROPOSALS)
    open_label(page, studio)
    wait_until(page, lambda: proposed(page) == 3)
    press(page, "g")
    wait_until(page, lambda: said(page) == "0:16.500: least sure")
    press(page, "Enter")
    wait_until(page, lambda: marks_of(studio) == [("wave <b>", 16.0, 18.0)])


def test_only_what_was_watched_is_looked_at(page: Page, studio: str) -> None:
    open_label(page, studio)
    x, y = place(page, 10.0, 0)
    page.mouse.click(x, y - 30)  # a jump
    press(page, "u")
    assert said(page).startswith("Play or step to where you have looked")
    here = frame(page) / RATE_FPS
    press(page, "Shift+ArrowRight", "Shift+ArrowRight", "u")
    saved(page)
    (looked,) = get_marks(studio)["looked"]
    assert looked == pytest.approx([here, here + 2], abs=1e-3)


def test_nothing_is_lost_without_a_connection(page: Page, folder: Path) -> None:
    with serving(folder) as studio:
        port = int(studio.rpartition(":")[2])
        open_label(page, studio)
        # taken, but the answer is lost
        page.route("**/changes", lambda route: (route.fetch(), route.abort()))
        press(page, "1", "Shift+ArrowRight", "1")
        wait_for(
            page, "document.querySelector('.saved').textContent.startsWith('No connection: 1')"
        )
        page.unroute("**/changes")
        saved(page)
        assert marks_of(studio) == [("walk", 0.0, 1.0)]
        page.route("**/api/**", lambda route: route.abort())
        press(page, "2", "Shift+ArrowRight", "2", "1", "Shift+ArrowRight", "1")
        wait_for(
            page, "document.querySelector('.saved').textContent.startsWith('No connection: 2')"
        )
        assert page.locator(".mark-rows tbody tr").count() == 3
        page.unroute("**/api/**")
        page.goto("about:blank")  # in the middle
    with serving(folder, port) as studio:
        open_label(page, studio)
        assert marks_of(studio) == [
            ("walk", 0.0, 1.0),
            ("wave <b>", 1.0, 2.0),
            ("walk", 2.0, 3.0),
        ]


def test_what_the_server_refuses_is_kept_and_said(page: Page, studio: str) -> None:
    open_label(page, studio)
    refusal = {"error": "the disk is full; nothing changed"}
    page.route("**/changes", lambda route: route.fulfill(status=409, json=refusal))
    press(page, "1", "Shift+ArrowRight", "1")
    page.wait_for_selector(".refusals p")
    assert page.inner_text(".refusals span") == (
        "Not saved (mark walk from 0:00.000 to 0:01.000): the disk is full; nothing changed"
    )
    assert page.locator(".mark-rows tbody tr").count() == 0
    page.unroute("**/changes")
    page.click("text=Try again")
    wait_until(page, lambda: marks_of(studio) == [("walk", 0.0, 1.0)])
    assert page.locator(".refusals p").count() == 0


def test_a_video_that_somebody_else_labels_is_not_changed(
    browser: Browser, page: Page, studio: str
) -> None:
    context = browser.new_context()
    other = context.new_page()
    other.goto(studio)
    other.fill("#annotator", "Ann")
    other.press("#annotator", "Tab")  # else its keys are the field's
    open_label(other, studio)
    page.goto(f"{studio}/#label")
    wait_for(page, "document.querySelector('.saved')?.textContent.startsWith('Ann is labelling')")
    press(page, "1", "Shift+ArrowRight", "1")
    assert said(page).startswith("Ann is labelling this video now")
    press(other, "1", "Shift+ArrowRight", "1")
    saved(other)
    wait_until(page, lambda: page.locator(".mark-rows tbody tr").count() == 1)
    assert len(marks_of(studio)) == 1
    context.close()  # frees it


def test_keys_are_shown_and_leave_fields_and_buttons_alone(page: Page, studio: str) -> None:
    open_label(page, studio)
    press(page, "?")
    assert "Play or stop" in page.inner_text("dialog")
    press(page, "1", "Escape")
    wait_until(page, lambda: page.locator("dialog").count() == 0)
    assert page.locator(".labels [aria-pressed=true]").count() == 0
    page.focus("#annotator")
    page.keyboard.type("1 Lou")
    assert page.locator(".labels [aria-pressed=true]").count() == 0
    page.focus(".labels button")
    press(page, " ")  # presses the button, and does not play
    wait_until(page, lambda: page.locator(".labels [aria-pressed=true]").count() == 1)
    assert page.evaluate("document.querySelector('video').paused")


def test_marks_are_reached_by_keyboard_beside_the_canvas(page: Page, studio: str) -> None:
    open_label(page, studio)
    press(page, "1", "Shift+ArrowRight", "1", "2", "Shift+ArrowRight", "2")
    saved(page)
    page.focus(".mark-rows tbody button")
    press(page, "Enter")
    assert frame(page) == 0
    page.focus(".mark-editor .end input")
    press(page, "Control+a")
    page.keyboard.type("0.8")
    press(page, "Enter")
    wait_until(page, lambda: marks_of(studio)[0] == ("walk", 0.0, 0.8))
    page.select_option(".mark-editor select", "wave <b>")
    wait_until(page, lambda: marks_of(studio)[0][0] == "wave <b>")
    slider = page.locator(".tracks-top")
    assert slider.get_attribute("aria-valuetext") == "0:00.000, frame 1, wave <b>"


def require_accessible_in_both_colours(page: Page) -> None:
    for scheme in COLOURS:
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == [], scheme


@pytest.mark.parametrize("width", [390, 1920])
def test_it_fits_and_can_be_used_by_everyone(browser: Browser, studio: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844})
    page = context.new_page()
    let_a_model_speak(page, studio, PROPOSALS)
    open_label(page, studio)
    press(page, "1", "Shift+ArrowRight", "1", "Shift+ArrowRight", "2")
    wait_until(page, lambda: proposed(page) == 3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    require_accessible_in_both_colours(page)
    press(page, "?")
    require_accessible_in_both_colours(page)
    page.unroute_all(behavior="ignoreErrors")
    context.close()


def test_thousands_of_intervals_stay_fluent(page: Page, studio: str) -> None:
    count, length = 5000, 0.004
    many = [
        {"id": f"m{n:05}", "label": LABELS[n % 2].name, "start": 0.005 * n, "note": ""}
        for n in range(count)
    ]
    marks = [mark | {"end": float(mark["start"]) + length} for mark in many]
    answer = {"revision": 1, "marks": marks, "looked": [], "can_undo": False, "can_redo": False}
    page.route("**/marks", lambda route: route.fulfill(json=answer))
    let_a_model_speak(page, studio, [])
    open_label(page, studio)
    wait_for(page, "document.querySelector('.marks h2').textContent === '5000 marks'")
    assert page.locator(".mark-rows tbody tr").count() == 150
    page.evaluate("document.querySelector('.tracks-top').timings.length = 0")
    page.evaluate("window.kept = [...document.querySelectorAll('.mark-rows tbody tr')]")
    for key in ["+"] * 6 + ["-"] * 6 + ["ArrowRight"] * 20 + ["."] * 10:
        press(page, key)
        page.wait_for_timeout(20)
    assert page.evaluate("window.kept.some((row) => row.isConnected)")  # not made anew
    press(page, " ")
    page.wait_for_timeout(1000)
    press(page, " ")
    timings = sorted(page.evaluate("document.querySelector('.tracks-top').timings"))
    middle, worst = timings[len(timings) // 2], timings[-1]
    print(
        f"{len(timings)} redraws of {count} marks: median {middle:.1f} ms, longest {worst:.1f} ms"
    )
    assert len(timings) > 40
    assert middle < 16
    press(page, ".")
    assert page.locator(".mark-rows tr.on").count() == 1


def test_a_video_that_browsers_do_not_play_is_labelled_by_its_copy(
    page: Page, real_data: Path, tmp_path: Path
) -> None:
    clip = real_data / "weizmann" / "walk" / "denis_walk.avi"
    with serving(project_of(tmp_path / "project", clip)) as studio:
        open_label(page, studio)
        press(page, "1", *["ArrowRight"] * 10, "1")
        saved(page)
        assert frame(page) == 10
        wait_for(page, f"{shown_frame()} === 10")
        assert marks_of(studio) == [("walk", 0.0, 0.4)]


def test_changes_of_another_tab_are_not_overwritten(page: Page, studio: str) -> None:
    open_label(page, studio)
    press(page, "1", "Shift+ArrowRight", "1")
    saved(page)
    headers = {"X-Client": page.evaluate("sessionStorage.getItem('client')")}  # it has the lock
    note = {"op": "add", "label": "wave <b>", "start": 3.0, "end": 4.0}
    path = f"{studio}/api/videos/{video_id(studio)}/changes"
    httpx.post(path, json={"ops": [note]}, headers=headers).raise_for_status()
    press(page, "Shift+ArrowRight", "2", "Shift+ArrowRight", "2")  # upon what is old
    saved(page)
    assert len(marks_of(studio)) == 3
    wait_until(page, lambda: page.locator(".mark-rows tbody tr").count() == 3)
    press(page, "Shift+ArrowRight")
    httpx.post(
        path, json={"ops": [note | {"start": 4.5, "end": 6.0}]}, headers=headers
    ).raise_for_status()
    press(page, "1", "Shift+ArrowRight", "Shift+ArrowRight", "1")
    page.wait_for_selector(".refusals p")
    assert "overlap" in page.inner_text(".refusals span")
    assert len(marks_of(studio)) == 4


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_page_that_dies_while_it_sends_sends_nothing_twice(
    page: Page, studio: str, is_taken: bool
) -> None:
    open_label(page, studio)
    press(page, "1", "Shift+ArrowRight", "1", "1", "Shift+ArrowRight", "1")
    saved(page)
    assert len(marks_of(studio)) == 2

    def take(route: Route) -> None:  # or do not take it; there is no answer
        if is_taken:
            route.fetch()

    page.route("**/undo", take)
    press(page, "Control+z")
    if is_taken:
        wait_until(page, lambda: len(marks_of(studio)) == 1)
    page.goto("about:blank")
    page.unroute_all(behavior="ignoreErrors")
    open_label(page, studio)
    assert marks_of(studio) == [("walk", 0.0, 1.0)]
    assert page.locator(".refusals p").count() == 0


@pytest.mark.parametrize(("name", "codec"), [("late.webm", "libvpx"), ("late.mp4", "libx264")])
def test_marks_are_on_the_clock_of_a_video_that_begins_late(
    page: Page, real_data: Path, tmp_path: Path, name: str, codec: str
) -> None:
    clip = real_data / "weizmann" / "walk" / "denis_walk.avi"
    late = encode(clip, tmp_path / name, codec, "yuv420p", start_seconds=3)
    with serving(project_of(tmp_path / "project", late)) as studio:
        open_label(page, studio)
        assert page.inner_text(".position").startswith("0:03.000")
        begin = page.evaluate("document.querySelector('video').currentTime")
        press(page, "1", *["ArrowRight"] * 10, "1")
        saved(page)
        wait_for(page, f"{shown_frame(begin)} === 10")
        ((label, start, end),) = marks_of(studio)
        assert (label, start, end) == ("walk", pytest.approx(3.0), pytest.approx(3.4))
