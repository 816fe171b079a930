"""The studio from the first take to the live answer, and through kills: the real command."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from actionrnn.apps.studio.project import Project
from actionrnn.apps.studio.project_file import Label
from tests.apps.studio.page_steps import (
    camera_file,
    clip_of,
    name_labels,
    open_recorder,
    open_step,
    opened,
    playable_file,
    serious,
    wait_for,
)
from tests.apps.studio.studio_process import StudioProcess

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute

    from tests.apps.browsing import Browsers

ACTIONS, PEOPLE, THIRD = ("bend", "jack"), ("daria", "denis"), "ido"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[StudioProcess]:
    """The server of a project that is still to be made."""
    with StudioProcess(tmp_path / "project") as process:
        yield process


def record_takes(page: Page, action: str, person: str, times: int, seconds: int) -> None:
    """From the webcam, in the step Videos."""
    if page.locator("#record").count() == 0:
        open_recorder(page)
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


def longest_answer(page: Page, seconds: float) -> str:
    """The label that is shown for most of the time, from the first answer on."""
    wait_for(page, "document.querySelectorAll('#live-best .label').length > 0")
    said: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        said.append(page.inner_text("#live-best .label >> nth=0"))
        page.wait_for_timeout(100)
    return max(set(said), key=said.count)


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_two_people_teach_two_actions_and_a_third_is_recognised(
    browsers: Browsers, studio: StudioProcess, real_data: Path, tmp_path: Path, times: int
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
                studio.wait(lambda project: all(v["state"] == "ready" for v in project["videos"]))
                train(page)
            open_step(page, "watch")
            page.click("#watch-webcam")
            assert longest_answer(page, seconds=4) == action
            page.click("#watch-stop")
            assert page.locator("#watch-webcam").is_enabled()


@pytest.fixture(scope="module")
def studio_of_marked(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StudioProcess]:
    """The server of a project of four clips, each marked from end to end."""
    folder = tmp_path_factory.mktemp("marked") / "project"
    labels = [Label(name, str(key), "#0072b2") for key, name in enumerate(ACTIONS, 1)]
    with Project.create(folder, labels=labels) as project:
        for action in ACTIONS:
            for person in PEOPLE:
                clip = clip_of(real_data, action, person)
                video = project.add_video(clip, clip.name, person)
                whole = {"start": video.begin, "end": video.end}
                project.change(video.id, [{"op": "add", "label": action} | whole], "ann")
    with StudioProcess(folder) as process:
        yield process


@pytest.fixture(scope="module")
def studio_of_taught(studio_of_marked: StudioProcess) -> StudioProcess:
    """The same with a model."""
    studio = studio_of_marked
    if studio.get("project")["model"] is None:
        studio.wait(lambda project: all(v["state"] == "ready" for v in project["videos"]))
        httpx.post(f"{studio.address}/api/train").raise_for_status()
        studio.wait(lambda project: project["model"] is not None)
    end_scoring(studio)
    return studio


def end_scoring(studio: StudioProcess) -> None:
    """The scores are not needed."""
    httpx.delete(f"{studio.address}/api/train").raise_for_status()
    studio.wait(lambda project: not any(j["kind"] == "score" for j in project["jobs"]))


def marks_of(studio: StudioProcess) -> dict[str, list[tuple[str, float, float]]]:
    """By the video's name."""
    found = {}
    for video in studio.get("project")["videos"]:
        marks = studio.get(f"videos/{video['id']}/marks")["marks"]
        found[video["name"]] = [(mark["label"], mark["start"], mark["end"]) for mark in marks]
    return found


def test_nothing_is_lost_when_the_server_dies_while_labelling(
    browsers: Browsers, studio_of_marked: StudioProcess, real_data: Path, tmp_path: Path
) -> None:
    studio = studio_of_marked
    video = playable_file(clip_of(real_data, "bend", "daria"), tmp_path / "bend.mp4")
    with opened(browsers(), studio.address) as page:
        page.set_input_files("#file", str(video))
        page.click(".list tbody a:has-text('bend.mp4')")
        page.wait_for_selector("#step.step-label video")
        wait_for(page, "document.querySelector('#step video').readyState >= 2")
        page.click("body", position={"x": 5, "y": 5})  # no field has the focus

        def has_marks(count: int) -> Callable[[dict[str, Any]], bool]:
            return lambda project: (
                ("bend.mp4", count)
                in [(one["name"], one["num_marks"]) for one in project["videos"]]
            )

        def mark(key: str, frames: int) -> None:
            page.keyboard.press(key)
            for _ in range(frames):
                page.keyboard.press("ArrowRight")
            page.keyboard.press(key)

        mark("1", 10)
        page.keyboard.press("ArrowRight")
        studio.wait(has_marks(1))
        studio.kill()
        mark("2", 10)  # nobody takes it now
        page.wait_for_selector("#problem:not([hidden])")
        assert "The server does not answer" in page.inner_text("#problem")
        studio.start()
        page.reload()
        studio.wait(has_marks(2))
        assert page.locator("#problem").is_hidden()
        assert [label for label, _, _ in marks_of(studio)["bend.mp4"]] == ["bend", "jack"]
        [new] = [one["id"] for one in studio.get("project")["videos"] if one["name"] == "bend.mp4"]
        headers = {"X-Client": page.evaluate("sessionStorage.getItem('client')")}  # it has the lock
        httpx.delete(f"{studio.address}/api/videos/{new}", headers=headers).raise_for_status()


def test_nothing_is_lost_when_the_server_dies_while_training(
    browsers: Browsers, studio_of_marked: StudioProcess
) -> None:
    studio = studio_of_marked
    before = marks_of(studio)
    assert studio.get("project")["model"] is None
    studio.wait(lambda project: all(v["state"] == "ready" for v in project["videos"]))
    with opened(browsers(), studio.address) as page:
        open_step(page, "train")
        wait_for(page, "!document.getElementById('train').disabled")
        page.click("#train")
        studio.wait(lambda project: any(job["kind"] == "train" for job in project["jobs"]))
        studio.kill()
        page.wait_for_selector("#problem:not([hidden])")
        studio.start()
        page.reload()
        open_step(page, "train")
        # the training that was cut off is begun anew, without a word of the visitor
        wait_for(page, "document.getElementById('model-said').textContent.includes('knows')", 180)
        assert marks_of(studio) == before
    end_scoring(studio)


def test_two_browsers_label_two_videos_of_one_project(
    browsers: Browsers, studio_of_marked: StudioProcess
) -> None:
    studio, browser = studio_of_marked, browsers()
    first, second = [video["id"] for video in studio.get("project")["videos"]][:2]
    with opened(browser, studio.address) as ann, opened(browser, studio.address) as bob:
        for page, name in ((ann, "Ann <b>"), (bob, "Bob")):
            page.fill("#annotator", name)
            page.keyboard.press("Enter")
        open_step(ann, f"label/{first}")
        wait_for(bob, f"document.querySelector('#video-{first}').textContent.includes('Ann <b>')")
        open_step(bob, f"label/{first}")
        wait_for(bob, "document.getElementById('step').textContent.includes('Ann <b>')")
        open_step(bob, f"label/{second}")
        bob.evaluate("document.activeElement.blur()")
        bob.keyboard.press("u")
        open_step(ann, "videos")
        wait_for(ann, f"document.querySelector('#video-{second}').textContent.includes('Bob')")
        bob.close()


def test_a_video_that_the_browser_cannot_play_is_converted(
    browsers: Browsers, studio_of_marked: StudioProcess
) -> None:
    with opened(browsers(), studio_of_marked.address) as page:  # .avi files
        page.click(".list tbody a >> nth=0")
        page.wait_for_selector("#step.step-label video", state="attached")
        wait_for(page, "document.querySelector('#step video').readyState >= 2", 120)


def test_a_file_is_watched_as_it_plays(
    browsers: Browsers, studio_of_taught: StudioProcess, real_data: Path, tmp_path: Path
) -> None:
    video = playable_file(clip_of(real_data, "jack", THIRD), tmp_path / "jack.mp4")
    with opened(browsers(), studio_of_taught.address) as page:
        open_step(page, "watch")
        page.set_input_files("#watch-file", str(video))
        assert longest_answer(page, seconds=1) == "jack"
        page.wait_for_selector("#watch-webcam:not([disabled])")  # at the file's end it stops
        page.set_input_files("#watch-file", str(clip_of(real_data, "jack", THIRD)))
        page.wait_for_selector(".notice.bad")
        assert "This browser cannot play ido_jack.avi" in page.inner_text(".notice.bad")


def test_none_of_these_is_an_answer_and_events_are_listed(
    browsers: Browsers, studio_of_taught: StudioProcess
) -> None:
    answers: list[dict[str, Any]] = [
        {"events": [], "counts": {"bend": 0, "jack": 0}},
        {"events": [{"label": "jack", "start": 0.5}], "counts": {"bend": 0, "jack": 1}},
        {"events": [{"label": "jack", "start": 0.5, "end": 1.5}], "counts": {"bend": 0, "jack": 1}},
        {"events": [{"label": "jack", "start": 2.0}], "counts": {"bend": 0, "jack": 2}},
    ]

    def answer(socket: WebSocketRoute) -> None:
        sent = iter(range(1000))

        def reply(_: str | bytes) -> None:
            number = next(sent)
            step = {"pts_seconds": number / 4, "scores": [0.25, 0.75], "none_of_these": number > 2}
            socket.send(json.dumps({"steps": [step]} | answers[min(number, 3)]))

        socket.on_message(reply)

    with opened(browsers(), studio_of_taught.address, color_scheme="dark") as page:
        page.route_web_socket("**/api/watch*", answer)
        open_step(page, "watch")
        page.click("#watch-webcam")
        wait_for(page, "document.querySelectorAll('#events tr').length === 2")
        assert page.locator("#events td").all_inner_texts() == [
            *("0:02.0", "...", "jack"),
            *("0:00.5", "0:01.5", "jack"),
        ]
        assert page.locator("#counts li").all_inner_texts() == ["bend 0", "jack 2"]
        wait_for(
            page, "document.getElementById('live-label').textContent.startsWith('none of these')"
        )
        assert page.inner_text("#live-label") == "none of these? jack 75 %"
        assert serious(page) == []


def test_models_and_marks_are_taken_away(
    browsers: Browsers, studio_of_taught: StudioProcess, tmp_path: Path
) -> None:
    with opened(browsers(), studio_of_taught.address) as page:
        open_step(page, "takeaway")
        assert serious(page) == []

        def saved(kind: str) -> Path:
            with page.expect_download(timeout=120_000) as download:
                page.click(f"#export-{kind}")
            file = tmp_path / download.value.suggested_filename
            download.value.save_as(file)
            return file

        assert saved("model").suffix == ".safetensors"
        with saved("csv").open(encoding="utf-8", newline="") as file:
            assert {row["label"] for row in csv.DictReader(file)} == set(ACTIONS)
        assert saved("elan").suffix == ".zip"
        name = page.locator("#export-video option >> nth=1").inner_text()
        page.select_option("#export-video", index=1)
        subtitles = saved("srt")
        assert subtitles.name == f"{Path(name).stem}.srt"
        assert " --> " in subtitles.read_text(encoding="utf-8")
